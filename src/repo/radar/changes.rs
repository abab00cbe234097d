//! What lines of work have changed since they parted from the target: a hint, for next to nothing or not at all.
//!
//! Guarantees: at most two processes, which only read, however many lines there are; bounded in time, commits, paths
//! and bytes, and what lies beyond counts as unchanged. What was found out is kept in one text file of the clone, as
//! long as neither the line nor the target moves; a file that is lost or full of garbage is as good as none. The paths
//! are those of every commit that only the line has, of merges none: more than what is left of them, where one commit
//! takes another back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use super::bits::Bits;
use super::cache::{replace, text};
use super::footprint::DIFFERENCES;
use crate::domain::ObjectId;
use crate::git::{Bounds, Git, process};

/// The file, among those of the clone, and the first word of it: what has another is of another version.
const FILE: &str = "radar-changes";
const VERSION: &str = "changes-1";
/// The most commits that are looked at, the newest first.
const COMMITS_MAX: usize = 2_000;
/// The most that git may list of them and of their paths, in bytes.
const LIST_BYTES_MAX: usize = 1 << 20;
/// The most paths of one line of work.
const PATHS_MAX: usize = 1_000;

/// What each of `tips` has changed since it parted from all `targets`, in the order of paths.
pub(super) fn changes(
    git: &Git,
    state_dir: &Path,
    targets: &[ObjectId],
    tips: &[ObjectId],
    within: Duration,
) -> Vec<Vec<String>> {
    let mut known = load(state_dir, targets, tips);
    let unknown: BTreeSet<&ObjectId> = tips.iter().filter(|tip| !known.contains_key(*tip)).collect();
    let unknown: Vec<ObjectId> = unknown.into_iter().cloned().collect();
    if !unknown.is_empty() {
        let mut found = look(git, targets, &unknown, within).unwrap_or_default();
        // What took too long counts as nothing until something moves: nobody waits for it twice.
        found.resize(unknown.len(), Vec::new());
        known.extend(unknown.into_iter().zip(found));
        let line = |(tip, paths)| Some(format!("{tip} {}\n", serde_json::to_string(paths).ok()?));
        let lines: String = known.iter().filter_map(line).collect();
        replace(state_dir, FILE, &format!("{}\n{lines}", first_line(targets)));
    }
    tips.iter().map(|tip| known.get(tip).cloned().unwrap_or_default()).collect()
}

/// What the file begins with that is about these targets.
fn first_line(targets: &[ObjectId]) -> String {
    let targets: Vec<&str> = targets.iter().map(ObjectId::as_str).collect();
    format!("{VERSION} {}", targets.join(" "))
}

/// What is known of `tips` beside these targets.
fn load(state_dir: &Path, targets: &[ObjectId], tips: &[ObjectId]) -> BTreeMap<ObjectId, Vec<String>> {
    let asked: BTreeSet<&str> = tips.iter().map(ObjectId::as_str).collect();
    let text = text(state_dir, FILE);
    let mut lines = text.lines();
    if lines.next() != Some(&first_line(targets)) {
        return BTreeMap::new();
    }
    let words = lines.filter_map(|line| line.split_once(' ')).filter(|(tip, _)| asked.contains(tip));
    let read = |(tip, paths)| Some((ObjectId::parse(tip).ok()?, serde_json::from_str(paths).ok()?));
    words.filter_map(read).collect()
}

/// Looks at the commits that only `tips` have. `None`: it could not be done, or not within the time.
fn look(git: &Git, targets: &[ObjectId], tips: &[ObjectId], within: Duration) -> Option<Vec<Vec<String>>> {
    let begun = Instant::now();
    let ask = |args: &[&str], input: &str| {
        let time_max = within.saturating_sub(begun.elapsed());
        let bounds = Bounds { time_max, keep_bytes_max: LIST_BYTES_MAX, ..Bounds::default() };
        let output = process::run(git.command().args(args), Some(input.as_bytes()), bounds).ok()?;
        output.success().then_some(output.stdout)
    };
    let count = format!("--max-count={COMMITS_MAX}");
    let from = tips.iter().map(|tip| format!("{tip}\n"));
    let wanted: String = from.chain(targets.iter().map(|target| format!("^{target}\n"))).collect();
    let list = ["rev-list", "--date-order", "--parents", &count, "--stdin"];
    let commits = String::from_utf8(ask(&list, &wanted)?).ok()?;
    // A commit with its parents in one line is what git takes for the question how it differs from them.
    let differences = if commits.is_empty() { Vec::new() } else { ask(DIFFERENCES, &commits)? };
    Some(read(tips, &commits, &differences))
}

/// What each of `tips` has changed: from the commits that only they have, each before its parents, and from how these
/// differ from their parents.
fn read(tips: &[ObjectId], commits: &str, differences: &[u8]) -> Vec<Vec<String>> {
    let rows: Vec<Vec<&str>> = commits.lines().map(|line| line.split(' ').collect()).collect();
    let place: BTreeMap<&[u8], usize> = rows.iter().enumerate().map(|(nth, row)| (row[0].as_bytes(), nth)).collect();
    let mut tips_with = vec![Bits::default(); rows.len()];
    for (tip, id) in tips.iter().enumerate() {
        if let Some(nth) = place.get(id.as_str().as_bytes()) {
            tips_with[*nth].insert(tip);
        }
    }
    for (nth, row) in rows.iter().enumerate() {
        let own = tips_with[nth].clone();
        for parent in row[1..].iter().filter_map(|parent| place.get(parent.as_bytes())) {
            tips_with[*parent].add(&own);
        }
    }
    let mut changed: Vec<BTreeSet<&[u8]>> = vec![BTreeSet::new(); tips.len()];
    // The last of a list that was cut off is not whole.
    let whole = differences.iter().rposition(|byte| *byte == 0).unwrap_or(0);
    let mut fields = differences[..whole].split(|byte| *byte == 0).filter(|field| !field.is_empty());
    let mut of: Option<&Bits> = None;
    while let Some(field) = fields.next() {
        if !field.starts_with(b":") {
            of = place.get(field.trim_ascii()).map(|nth| &tips_with[*nth]);
        } else if let (Some(of), Some(path)) = (of, fields.next()) {
            for tip in of.iter().filter(|tip| changed[*tip].len() < PATHS_MAX).collect::<Vec<_>>() {
                changed[tip].insert(path);
            }
        }
    }
    let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    changed.into_iter().map(|paths| paths.into_iter().map(text).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> ObjectId {
        ObjectId::parse(&digit.to_string().repeat(40)).expect("an id")
    }

    /// What 1 and 2 have changed: 1 is a merge of 3 and 4, 2 stands on 3, and 3 and 4 on what nobody looks at.
    fn changed(differences: &str) -> Vec<Vec<String>> {
        let [one, two, three, four, old] = ['1', '2', '3', '4', '5'].map(id);
        let commits = format!("{one} {three} {four}\n{two} {three}\n{three} {old}\n{four} {old}\n");
        let mut differences = differences.replace('@', "\0");
        for commit in [&one, &two, &three, &four] {
            differences = differences.replace(&format!("<{}>", &commit.as_str()[..1]), commit.as_str());
        }
        read(&[one, two], &commits, differences.as_bytes())
    }

    #[test]
    fn a_line_has_changed_what_its_commits_have() {
        let all = "<2>@:1 1 2 2 M@b@<3>@:1 1 2 2 A@c d@:1 1 2 2 M@:odd@<4>@:1 1 2 2 D@a@";
        assert_eq!(changed(all), [vec![":odd", "a", "c d"], vec![":odd", "b", "c d"]]);
        assert_eq!(changed(""), [vec![""; 0], vec![]]);
    }

    #[test]
    fn what_is_cut_off_or_was_not_asked_for_is_left_out() {
        assert_eq!(changed("<2>@:1 1 2 2 M@b@:1 1 2 2 M@cut of"), [vec![], vec!["b"]]);
        assert_eq!(changed("<2>@:1 1 2 2 M@b@:1 1 2"), [vec![], vec!["b"]]);
        assert_eq!(changed("nobody@:1 1 2 2 M@x@<2>@:1 1 2 2 M@b@"), [vec![], vec!["b"]]);
        let many: String = (0..PATHS_MAX + 5).map(|nth| format!(":1 1 2 2 M@{nth}@")).collect();
        assert_eq!(changed(&format!("<2>@{many}"))[1].len(), PATHS_MAX);
    }

    #[test]
    fn what_is_kept_holds_for_one_target_and_may_be_garbage() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = directory.path();
        let (tip, target, other) = (id('1'), id('9'), id('8'));
        let load = |target: &ObjectId| load(place, std::slice::from_ref(target), std::slice::from_ref(&tip));
        replace(place, FILE, &format!("{VERSION} {target}\n{tip} [\"a\\nb\"]\n{} [\"c\"]\n", id('2')));
        assert_eq!(load(&target), [(tip.clone(), vec!["a\nb".to_owned()])].into());
        assert_eq!(load(&other), BTreeMap::new());
        for garbage in [format!("{VERSION} {target}\n{tip}\n{tip} 7\n{tip} [7]\n{tip} [\"a\n"), "\u{0}\n".to_owned()] {
            replace(place, FILE, &garbage);
            assert_eq!(load(&target), BTreeMap::new(), "{garbage:?}");
        }
    }
}
