//! Merges for the sake of the answer: many pairs, by git's own merge, several processes at a time.
//!
//! Guarantees: an answer is what `git merge-tree --write-tree` gives for that pair, whatever happens to the process
//! that was asked for it and others: a pair that ends it is asked for by itself. Gits that take one pair at a time are
//! asked that way.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::domain::ObjectId;
use crate::engine::ports::Clash;
use crate::git::Git;
use crate::ledger::Fault;
use crate::repo::candidate::{SETTLED, not_merged, real_path};

/// The most pairs that one process is asked for: what makes it die, or take too long, is one of so many.
const BATCH_MAX: usize = 128;
/// The most paths of one pair that are kept, and the longest, in bytes. There are more where there are as many.
const PATHS_MAX: usize = 50;
const PATH_BYTES_MAX: usize = 4096;

/// Two commits: the one that is there, and the one that is merged into it.
pub(super) type Pair = (ObjectId, ObjectId);

/// The place of a batch, and what becomes of its pairs.
type Done = (usize, Vec<Option<Clash>>);

/// What becomes of each pair: `None` is a clean merge. `git` writes where it may.
pub(super) fn merge_all(git: &Git, pairs: &[Pair]) -> Result<Vec<Option<Clash>>, Fault> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let size = pairs.len().div_ceil(processors).clamp(1, BATCH_MAX);
    let batches: Vec<&[Pair]> = pairs.chunks(size).collect();
    let (next, one_by_one) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || {
        let mut done = Vec::new();
        while let Some(nth) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|nth| *nth < batches.len()) {
            done.push((nth, merge_batch(git, batches[nth], &one_by_one)?));
        }
        Ok(done)
    };
    let answers: Vec<Result<Vec<Done>, Fault>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..processors.min(batches.len())).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("BUG: merging panicked")).collect()
    });
    let mut done: Vec<Done> = Vec::new();
    for answer in answers {
        done.extend(answer?);
    }
    done.sort_by_key(|(nth, _)| *nth);
    Ok(done.into_iter().flat_map(|(_, answers)| answers).collect())
}

/// What becomes of a few pairs.
fn merge_batch(git: &Git, pairs: &[Pair], one_by_one: &AtomicBool) -> Result<Vec<Option<Clash>>, Fault> {
    let mut answers: Vec<Option<Clash>> = Vec::with_capacity(pairs.len());
    while let Some((next, _)) = pairs[answers.len()..].split_first() {
        if !one_by_one.load(Ordering::Relaxed) {
            let before = answers.len();
            let input: String = pairs[before..].iter().map(|(ours, theirs)| format!("{ours} {theirs}\n")).collect();
            let output = git.output_with(arguments(&["--stdin"]), Some(input.as_bytes()));
            let output = output.map_err(|error| Fault::io("merging", error))?;
            answers.extend(read(&output.stdout, &pairs[before..]));
            if answers.len() == pairs.len() {
                break;
            }
            if output.timed_out {
                return Err(Fault::io("merging", "git merge-tree takes more than five minutes: name fewer branches"));
            }
            if answers.len() == before && output.stderr_text().contains("usage: git merge-tree") {
                one_by_one.store(true, Ordering::Relaxed);
            }
            if answers.len() > before {
                continue;
            }
        }
        answers.push(merge_one(git, next)?);
    }
    Ok(answers)
}

/// What becomes of one pair, from a process of its own.
fn merge_one(git: &Git, pair: &Pair) -> Result<Option<Clash>, Fault> {
    let (ours, theirs) = pair;
    let output = git.output(arguments(&[ours.as_str(), theirs.as_str()]));
    let output = output.map_err(|error| Fault::io("merging", error))?;
    match output.code {
        Some(0) => Ok(None),
        Some(1) => Ok(Some(clash(fields(&output.stdout).skip(1), pair))),
        _ => Ok(Some(Clash { paths: vec![not_merged(git, &output.stderr_text(), ours, theirs)?.to_owned()] })),
    }
}

fn arguments<'a>(last: &[&'a str]) -> Vec<&'a str> {
    let mut args = SETTLED.to_vec();
    // What is thrown away need not survive a power cut, nor be small.
    args.extend(["-c", "core.fsync=none", "-c", "core.looseCompression=0"]);
    args.extend(["merge-tree", "--write-tree", "--no-messages", "--name-only", "-z"]);
    args.extend(last);
    args
}

fn fields(said: &[u8]) -> impl Iterator<Item = &[u8]> {
    said.split(|byte| *byte == 0)
}

/// Reads what `--stdin` gives: for each pair 1 or 0, the tree, the paths in conflict, and an empty field. What is not
/// whole is left out.
fn read(said: &[u8], pairs: &[Pair]) -> Vec<Option<Clash>> {
    let mut answers = Vec::new();
    let mut rest = said;
    for pair in pairs {
        let Some(end) = rest.windows(2).position(|two| two == b"\0\0") else { break };
        let mut answer = fields(&rest[..end]);
        match answer.next() {
            Some(b"1") => answers.push(None),
            Some(b"0") => answers.push(Some(clash(answer.skip(1), pair))),
            _ => break,
        }
        rest = &rest[end + 2..];
    }
    answers
}

/// The paths in conflict.
fn clash<'a>(paths: impl Iterator<Item = &'a [u8]>, (ours, theirs): &Pair) -> Clash {
    let mut clash = Clash { paths: Vec::new() };
    for path in paths.filter(|path| !path.is_empty()) {
        let path = String::from_utf8_lossy(&path[..path.len().min(PATH_BYTES_MAX)]);
        let path = real_path(&path, [ours, theirs]).to_owned();
        if !clash.paths.contains(&path) {
            clash.paths.push(path);
        }
        if clash.paths.len() >= PATHS_MAX {
            break;
        }
    }
    clash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(ours: char, theirs: char) -> Pair {
        let id = |digit: char| ObjectId::parse(&digit.to_string().repeat(40)).expect("an id");
        (id(ours), id(theirs))
    }

    #[test]
    fn answers_are_read_as_far_as_they_are_whole() {
        let pairs = [pair('a', 'b'), pair('a', 'c'), pair('b', 'c')];
        let beside = format!("dir~{}", "a".repeat(40));
        let said = format!("1@t@@0@t@x/y@{beside}@{beside}_0@dir/z@@0@t@x").replace('@', "\0");
        let paths = ["x/y", "dir", "dir/z"].map(str::to_owned).to_vec();
        assert_eq!(read(said.as_bytes(), &pairs), [None, Some(Clash { paths })]);
        assert_eq!(read(b"0\0t\0\0", &pairs[..1]), [Some(Clash { paths: Vec::new() })]);
        for torn in ["", "1", "1@t@", "0@t@x@", "error@t@@"] {
            assert_eq!(read(torn.replace('@', "\0").as_bytes(), &pairs), [], "{torn}");
        }
    }

    #[test]
    fn paths_are_bounded() {
        let names: Vec<Vec<u8>> = (0..500).map(|nth| format!("{nth}-{}", "x".repeat(9_000)).into_bytes()).collect();
        let clash = clash(names.iter().map(Vec::as_slice), &pair('a', 'b'));
        assert_eq!(clash.paths.len(), PATHS_MAX);
        assert!(clash.paths.iter().all(|path| path.len() == PATH_BYTES_MAX));
    }
}
