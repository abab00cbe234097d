//! What branches have changed, and which two of them cannot possibly be in each other's way.
//!
//! Guarantees: two lines of work that are ruled out merge without a conflict, whatever the merge makes of them: they
//! have one merge base, and of what either changed since then
//!
//! - no path is changed by both, so no content is merged, no merge driver runs, and no rename meets a change;
//! - no path of one lies below a path of the other, so no file meets a directory;
//! - where one may have renamed a directory (it has deleted something in it, and added something anywhere), the other
//!   has added nothing below it, so that nothing of it is moved along.
//!
//! A root directory is never renamed (git's own rule), and a rename is an addition and a deletion here. What differs
//! between two commits is among what differs between the first and any third and between that and the second; so a
//! footprint is put together from a few differences and may be larger than life, never smaller. Must not know branches.

use std::collections::BTreeMap;

use super::bits::Bits;
use super::history::History;
use crate::domain::ObjectId;
use crate::git::{Bounds, Git, process};
use crate::ledger::Fault;

/// The most paths, with the directories above them, of which footprints are kept apart.
const PATHS_MAX: usize = 200_000;
/// The most that git may list of them, in bytes.
const LIST_BYTES_MAX: usize = 64 << 20;

/// How git is asked for the differences of many commits. Nothing of the configuration may hide one.
pub(super) const DIFFERENCES: &[&str] = &[
    "diff-tree",
    "--stdin",
    "--raw",
    "-r",
    "-z",
    "--no-renames",
    "--no-relative",
    "--ignore-submodules=none",
    "-O/dev/null",
];

/// What was changed on the way from one commit to another: numbers of paths.
#[derive(Debug, Clone, Default)]
struct Footprint {
    /// Paths that differ.
    paths: Bits,
    /// Directories above these.
    above: Bits,
    /// Directories above paths that were deleted.
    above_deleted: Bits,
    /// Directories above paths that were added.
    above_added: Bits,
    deletes: bool,
    adds: bool,
}

impl Footprint {
    fn add(&mut self, other: &Footprint) {
        self.paths.add(&other.paths);
        self.above.add(&other.above);
        self.above_deleted.add(&other.above_deleted);
        self.above_added.add(&other.above_added);
        self.deletes |= other.deletes;
        self.adds |= other.adds;
    }

    fn may_rename(&self) -> bool {
        self.deletes && self.adds
    }

    /// Whether nobody can rule out that the two are in each other's way.
    fn meets(&self, other: &Footprint) -> bool {
        self.paths.meets(&other.paths)
            || self.paths.meets(&other.above)
            || self.above.meets(&other.paths)
            || (self.may_rename() && self.above_deleted.meets(&other.above_added))
            || (other.may_rename() && other.above_deleted.meets(&self.above_added))
    }
}

/// What each of several commits has changed, and where they parted.
pub(super) struct Footprints {
    history: History,
    /// The base with which each tip is compared, and what differs between the two.
    own: Vec<(usize, Footprint)>,
    /// What differs between each base and the next.
    steps: Vec<Footprint>,
    /// What differs between two bases, once it was asked for.
    between: BTreeMap<(usize, usize), Footprint>,
}

impl Footprints {
    /// Looks at what `tips` have changed since they parted. `None`: it is too much to look at.
    pub fn of(git: &Git, tips: &[ObjectId]) -> Result<Option<Footprints>, Fault> {
        let history = History::of(git, tips)?;
        let bases = history.bases();
        if bases.is_empty() {
            return Ok(None);
        }
        // Each tip is compared with the newest commit at which it parted from any other: of all bases that one differs
        // least from it.
        let newest = |tip: usize| (0..tips.len()).filter_map(|other| history.base(tip, other)).min();
        let compared: Vec<usize> = (0..tips.len()).map(|tip| newest(tip).unwrap_or(0)).collect();
        let own = tips.iter().zip(&compared).map(|(tip, base)| (tip, &bases[*base]));
        let steps = bases.windows(2).map(|two| (&two[0], &two[1]));
        let Some(mut prints) = differences(git, &own.chain(steps).collect::<Vec<_>>())? else { return Ok(None) };
        let steps = prints.split_off(tips.len());
        let own = compared.into_iter().zip(prints).collect();
        Ok(Some(Footprints { history, own, steps, between: BTreeMap::new() }))
    }

    /// Whether git has to be asked of two of the tips.
    pub fn may_clash(&mut self, a: usize, b: usize) -> bool {
        let Some(base) = self.history.base(a, b) else { return true };
        let drifted = [a, b].map(|tip| self.own[tip].0 != base);
        if drifted == [false, false] {
            return self.own[a].1.meets(&self.own[b].1);
        }
        let [ours, theirs] = [a, b].map(|tip| self.since(base, tip));
        ours.meets(&theirs)
    }

    /// What a tip has changed since `base`.
    fn since(&mut self, base: usize, tip: usize) -> Footprint {
        let (compared, own) = &self.own[tip];
        let (from, to) = (base.min(*compared), base.max(*compared));
        let steps = &self.steps[from..to];
        let between = self.between.entry((from, to)).or_insert_with(|| {
            let mut print = Footprint::default();
            steps.iter().for_each(|step| print.add(step));
            print
        });
        let mut print = own.clone();
        print.add(between);
        print
    }
}

/// What differs between the commits of each pair. `None`: too much.
fn differences(git: &Git, pairs: &[(&ObjectId, &ObjectId)]) -> Result<Option<Vec<Footprint>>, Fault> {
    let input: String = pairs.iter().map(|(commit, base)| format!("{commit} {base}\n")).collect();
    // A second commit in a line stands for the parent of the first; `--always` names the first even where the two are
    // alike.
    let bounds = Bounds { keep_bytes_max: LIST_BYTES_MAX, ..Bounds::default() };
    let output = process::run(git.command().args(DIFFERENCES).arg("--always"), Some(input.as_bytes()), bounds);
    let output = output.map_err(|error| Fault::io("comparing commits", error))?;
    if !output.success() || output.stdout.len() >= LIST_BYTES_MAX {
        return Ok(None);
    }
    Ok(read(&output.stdout, pairs))
}

/// Reads what git lists: for each pair the first commit, then for each difference its modes, ids and kind, and its
/// path.
fn read(listed: &[u8], pairs: &[(&ObjectId, &ObjectId)]) -> Option<Vec<Footprint>> {
    let mut prints: Vec<Footprint> = Vec::with_capacity(pairs.len());
    let mut numbers = Numbers::default();
    let mut fields = listed.split(|byte| *byte == 0).filter(|field| !field.is_empty());
    while let Some(field) = fields.next() {
        if let Some(change) = field.strip_prefix(b":") {
            let kind = change.rsplit(|byte| *byte == b' ').next()?;
            numbers.note(prints.last_mut()?, *kind.first()?, fields.next()?);
        } else {
            // Anything else than the next commit, and nothing is known.
            let (commit, _) = pairs.get(prints.len())?;
            (field.trim_ascii() == commit.as_str().as_bytes()).then_some(())?;
            prints.push(Footprint::default());
        }
        if numbers.0.len() > PATHS_MAX {
            return None;
        }
    }
    (prints.len() == pairs.len()).then_some(prints)
}

/// Paths as numbers.
#[derive(Default)]
struct Numbers<'a>(BTreeMap<&'a [u8], usize>);

impl<'a> Numbers<'a> {
    fn of(&mut self, path: &'a [u8]) -> usize {
        let next = self.0.len();
        *self.0.entry(path).or_insert(next)
    }

    /// Notes a difference: `A` for added, `D` for deleted, anything else for changed.
    fn note(&mut self, print: &mut Footprint, kind: u8, path: &'a [u8]) {
        print.paths.insert(self.of(path));
        print.adds |= kind == b'A';
        print.deletes |= kind == b'D';
        let mut rest = path;
        while let Some(end) = rest.iter().rposition(|byte| *byte == b'/') {
            rest = &rest[..end];
            let number = self.of(rest);
            print.above.insert(number);
            if kind == b'A' {
                print.above_added.insert(number);
            }
            if kind == b'D' {
                print.above_deleted.insert(number);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether two lines of work meet, each given as kinds and paths.
    fn meet(ours: &[(u8, &'static str)], theirs: &[(u8, &'static str)]) -> bool {
        let mut numbers = Numbers::default();
        let mut print = |changes: &[(u8, &'static str)]| {
            let mut print = Footprint::default();
            changes.iter().for_each(|(kind, path)| numbers.note(&mut print, *kind, path.as_bytes()));
            print
        };
        let (ours, theirs) = (print(ours), print(theirs));
        assert_eq!(ours.meets(&theirs), theirs.meets(&ours), "it is the same from either side");
        ours.meets(&theirs)
    }

    #[test]
    fn changes_at_different_places_do_not_meet() {
        assert!(!meet(&[(b'M', "a/b"), (b'A', "a/c")], &[(b'M', "a/d"), (b'D', "a/e"), (b'M', "b")]));
        assert!(!meet(&[(b'M', "a")], &[(b'M', "a.rs"), (b'M', "ab/c")]));
        assert!(!meet(&[], &[(b'M', "a")]));
    }

    #[test]
    fn a_common_path_or_a_file_at_the_place_of_a_directory_meets() {
        assert!(meet(&[(b'M', "a/b")], &[(b'M', "x"), (b'M', "a/b")]));
        assert!(meet(&[(b'A', "a")], &[(b'A', "a/b/c")]));
        assert!(meet(&[(b'A', "a/b/c")], &[(b'T', "a/b")]));
    }

    #[test]
    fn a_directory_that_may_have_moved_meets_what_was_added_below_it() {
        let moved = [(b'D', "old/x/f"), (b'A', "new/f")];
        assert!(meet(&moved, &[(b'A', "old/x/y/g")]));
        assert!(meet(&moved, &[(b'A', "old/g")]), "the part of the path that has moved may be above the file");
        assert!(!meet(&moved, &[(b'M', "old/x/g"), (b'A', "other/g")]));
        assert!(!meet(&[(b'D', "old/f")], &[(b'A', "old/g")]), "what was only deleted has moved nowhere");
        assert!(!meet(&[(b'D', "f"), (b'A', "new/f")], &[(b'A', "g")]), "the root stays where it is");
    }

    #[test]
    fn a_list_that_is_not_what_was_asked_for_is_not_believed() {
        let [one, two] = ['1', '2'].map(|digit| ObjectId::parse(&digit.to_string().repeat(40)).expect("an id"));
        let pairs = [(&one, &two), (&two, &two)];
        let list = |text: String| read(text.replace('@', "\0").as_bytes(), &pairs).map(|prints| prints.len());
        assert_eq!(list(format!("{one}@:1 1 2 2 M@a/b@{two}@")), Some(2));
        assert_eq!(list(format!("{one}@:1 1 2 2 M@a/b@")), None, "a commit is missing");
        assert_eq!(list(format!("{two}@{one}@")), None);
        assert_eq!(list(format!("{one}@:1 1 2 2 M@")), None);
        assert_eq!(list(format!(":1 1 2 2 M@a@{one}@{two}@")), None);
    }
}
