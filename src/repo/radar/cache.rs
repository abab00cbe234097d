//! Answers of earlier merges, by the pair of commits: what two commits make together never changes.
//!
//! One text file in the clone's state directory. Guarantees: an answer is only given under the circumstances it was
//! found in (settings, merge drivers, attributes, git itself); a file that is lost, torn, of another version or full of
//! garbage is as good as none; the file is bounded, and what was asked for last stays. Two processes that write at once
//! cost the answers of one.

#![expect(clippy::disallowed_methods, reason = "an adapter: it owns its file")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::merge::Pair;
use crate::domain::ObjectId;
use crate::engine::ports::Clash;
use crate::failpoint;

/// The file, among those of the clone.
const FILE: &str = "radar";
/// The first word of it: what has another is of another version.
const VERSION: &str = "radar-1";
/// The most pairs that are kept.
const PAIRS_MAX: usize = 20_000;
/// The most that is kept of a pair, in bytes: one of which more is to be said is merged again.
const PAIR_BYTES_MAX: usize = 16 * 1024;
/// The largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// Answers of earlier merges.
pub(super) struct Answers {
    state_dir: PathBuf,
    /// Under which circumstances they were found.
    circumstances: Circumstances,
    /// What each pair makes, `None` for a clean merge; and how it is written.
    known: BTreeMap<Pair, Option<Clash>>,
}

/// What the outcome of a merge depends on beside the two commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Circumstances {
    /// The target, whose attributes hold.
    pub target: ObjectId,
    /// What stands for these attributes.
    pub attributes: String,
    /// What stands for everything else.
    pub rest: String,
}

impl Answers {
    /// What is known of a target whose attributes nobody has looked at since it moved: those attributes, if the file is
    /// about the same target.
    pub fn attributes_of(state_dir: &Path, target: &ObjectId) -> Option<String> {
        let text = text(state_dir, FILE);
        let mut words = text.lines().next()?.split(' ');
        let about = words.next() == Some(VERSION) && words.next() == Some(target.as_str());
        words.next().filter(|_| about).map(str::to_owned)
    }

    /// The answers in the file, as far as they were found under the same circumstances.
    pub fn load(state_dir: &Path, circumstances: Circumstances) -> Answers {
        let text = text(state_dir, FILE);
        let mut lines = text.lines();
        let mut words = lines.next().unwrap_or_default().split(' ');
        let same = words.next() == Some(VERSION)
            && words.nth(1) == Some(&circumstances.attributes)
            && words.next() == Some(&circumstances.rest);
        let known = if same { lines.take(PAIRS_MAX).filter_map(read).collect() } else { BTreeMap::new() };
        Answers { state_dir: state_dir.to_owned(), circumstances, known }
    }

    /// What came of each of `pairs` when it was merged last, under whatever circumstances.
    pub fn last(state_dir: &Path, pairs: &[Pair]) -> Vec<Option<Clash>> {
        let asked: BTreeSet<String> = pairs.iter().map(|(ours, theirs)| format!("{ours} {theirs} ")).collect();
        let text = text(state_dir, FILE);
        let mut lines = text.lines();
        let ours = lines.next().is_some_and(|line| line.split(' ').next() == Some(VERSION));
        // Most lines are about something else, and clean merges say nothing.
        let is_asked = |line: &&str| line.find('[').is_some_and(|start| asked.contains(&line[..start]));
        let known: BTreeMap<Pair, Option<Clash>> =
            lines.take(if ours { PAIRS_MAX } else { 0 }).filter(is_asked).filter_map(read).collect();
        pairs.iter().map(|pair| known.get(pair).cloned().flatten()).collect()
    }

    /// What is known of a pair.
    pub fn get(&self, pair: &Pair) -> Option<&Option<Clash>> {
        self.known.get(pair)
    }

    /// Notes what a pair makes.
    pub fn put(&mut self, pair: Pair, answer: Option<Clash>) {
        self.known.insert(pair, answer);
    }

    /// Writes the file anew: what was asked for now before all else.
    pub fn save(&self, asked: &[Pair]) {
        let Circumstances { target, attributes, rest } = &self.circumstances;
        let mut text = format!("{VERSION} {target} {attributes} {rest}\n");
        let mut written = BTreeSet::new();
        let entries = asked.iter().filter_map(|pair| self.known.get_key_value(pair)).chain(&self.known);
        for (pair, answer) in entries {
            if written.len() < PAIRS_MAX && written.insert(pair) {
                text.extend(write(pair, answer.as_ref()));
            }
        }
        replace(&self.state_dir, FILE, &text);
    }
}

/// Puts `text` in the place of a file of the radar's. Losing it costs time and nothing else, so nobody is told.
pub(super) fn replace(state_dir: &Path, file: &str, text: &str) {
    let replace = || -> std::io::Result<()> {
        let under_way = state_dir.join("under-way");
        failpoint::making(&under_way);
        fs::create_dir_all(&under_way)?;
        failpoint::reach("an unnamed file");
        // Named like those that a later command removes when their process was killed.
        let new = tempfile::Builder::new().prefix(".new-").tempfile_in(&under_way)?;
        failpoint::reach("writing what was looked at");
        fs::write(new.path(), text)?;
        failpoint::reach("naming what was looked at");
        new.persist(state_dir.join(file))?;
        Ok(())
    };
    let _ = replace();
}

/// What a file of the radar's holds; nothing where it is none of ours.
pub(super) fn text(state_dir: &Path, file: &str) -> String {
    let mut text = String::new();
    let file = fs::File::open(state_dir.join(file));
    let read = file.and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text));
    read.map_or_else(|_| String::new(), |_| text)
}

/// A few digits that stand for what they were made of. Two that are alike are of one origin, but for a chance that is
/// too small to matter where a mistake costs a warning.
pub(super) fn digest(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    let mut hashers = [DefaultHasher::new(), DefaultHasher::new()];
    hashers[1].write_u8(1);
    for part in parts {
        for hasher in &mut hashers {
            hasher.write_usize(part.as_ref().len());
            hasher.write(part.as_ref());
        }
    }
    hashers.iter().map(|hasher| format!("{:016x}", hasher.finish())).collect()
}

/// A pair as a line: the two commits, and the paths in conflict as JSON where there is a conflict. `None` where they
/// are too many.
fn write((ours, theirs): &Pair, answer: Option<&Clash>) -> Option<String> {
    let Some(clash) = answer else { return Some(format!("{ours} {theirs}\n")) };
    let paths = serde_json::to_string(&clash.paths).ok().filter(|paths| paths.len() <= PAIR_BYTES_MAX)?;
    Some(format!("{ours} {theirs} {paths}\n"))
}

fn read(line: &str) -> Option<(Pair, Option<Clash>)> {
    let mut words = line.splitn(3, ' ');
    let pair = (ObjectId::parse(words.next()?).ok()?, ObjectId::parse(words.next()?).ok()?);
    let clash = match words.next() {
        None => None,
        Some(paths) => Some(Clash { paths: serde_json::from_str(paths).ok()? }),
    };
    Some((pair, clash))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(nth: usize) -> ObjectId {
        ObjectId::parse(&format!("{nth:040x}")).expect("an id")
    }

    fn circumstances(rest: &str) -> Circumstances {
        Circumstances { target: id(0), attributes: "a".to_owned(), rest: rest.to_owned() }
    }

    #[test]
    fn what_was_put_in_is_found_again_under_the_same_circumstances_only() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path();
        let clash = |count: usize| Some(Clash { paths: vec!["a b\n\u{1b}\"ü".to_owned(); count] });
        let mut answers = Answers::load(place, circumstances("x"));
        answers.put((id(1), id(2)), None);
        answers.put((id(2), id(1)), clash(2));
        answers.put((id(1), id(3)), clash(0));
        answers.put((id(1), id(4)), clash(PAIR_BYTES_MAX));
        answers.save(&[]);
        let again = Answers::load(place, circumstances("x"));
        assert_eq!(again.get(&(id(1), id(2))), Some(&None));
        assert_eq!(again.get(&(id(2), id(1))), Some(&clash(2)));
        assert_eq!(again.get(&(id(1), id(3))), Some(&clash(0)));
        assert_eq!(again.get(&(id(1), id(4))), None, "too long to keep");
        assert_eq!(Answers::load(place, circumstances("y")).get(&(id(1), id(2))), None);
        let last = Answers::last(place, &[(id(1), id(2)), (id(2), id(1)), (id(1), id(3)), (id(3), id(1))]);
        assert_eq!(last, [None, clash(2), clash(0), None]);
        assert_eq!(Answers::attributes_of(place, &id(0)), Some("a".to_owned()));
        assert_eq!(Answers::attributes_of(place, &id(1)), None);
    }

    #[test]
    fn garbage_is_no_answer() {
        let directory = tempfile::tempdir().expect("a directory");
        let good = format!("{} {}", id(1), id(2));
        for garbage in ["", "\n\n", "radar-1", "radar-0 x a x\n", "\u{0}\u{1}", &"x".repeat(100_000)] {
            fs::write(directory.path().join(FILE), format!("{garbage}{good} [\"a\"]\n")).expect("a write");
            assert_eq!(Answers::load(directory.path(), circumstances("x")).known.len(), 0, "{garbage:?}");
            assert_eq!(Answers::last(directory.path(), &[(id(1), id(2))]), [None], "{garbage:?}");
        }
        fs::write(directory.path().join(FILE), [0xff, 0xfe, b'\n']).expect("a write");
        assert_eq!(Answers::load(directory.path(), circumstances("x")).known.len(), 0);
        let torn = format!("radar-1 {} a x\nnonsense\n{good} [\"a\"\n{good} 7\n{} [\"a\"]\n", id(0), good);
        fs::write(directory.path().join(FILE), torn).expect("a write");
        assert_eq!(Answers::load(directory.path(), circumstances("x")).known.len(), 1);
    }

    #[test]
    fn the_file_is_bounded_and_keeps_what_was_asked_for_last() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut answers = Answers::load(directory.path(), circumstances("x"));
        (0..PAIRS_MAX + 100).for_each(|nth| answers.put((id(1), id(nth)), None));
        let last = (id(1), id(PAIRS_MAX + 99));
        answers.save(std::slice::from_ref(&last));
        let again = Answers::load(directory.path(), circumstances("x"));
        assert_eq!((again.known.len(), again.get(&last)), (PAIRS_MAX, Some(&None)));
    }
}
