//! What an analyser of the repository's says that changes affect: asked once of each, and remembered in the clone.
//!
//! It is a program as the target branch configures it, and runs in a scratch worktree of the target, never of a car:
//! what a car brings is looked at by it, and decides nothing about how. Guarantees: the same analyser is asked once of
//! the same two commits, and what it said is kept in one bounded file that may be lost or hold garbage, as long as
//! neither its words nor the files change that they name in the target; also that it said nothing of use, for a program
//! that hangs must not hang every pass. That there was no worktree to run it in is not kept.

#![expect(clippy::disallowed_methods, reason = "an adapter: it owns its file")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::check::ScratchChecks;
use super::unnamed_file;
use crate::domain::{ObjectId, lanes};
use crate::engine::ports::{Analyser, Change};
use crate::failpoint;
use crate::git::{Bounds, Git};

/// The file, among those of the clone.
const FILE: &str = "affected";
/// The most that is kept in it, and read of it, in bytes: what was asked last stays.
const FILE_BYTES_MAX: usize = 4 << 20;
/// How much is kept of what a failing analyser says, in characters.
const WORDS_MAX: usize = 200;

/// What is affected, or why nobody knows.
type Answer = Result<BTreeSet<String>, String>;

/// One line of the file, as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Line {
    /// What stands for the analyser.
    by: String,
    from: ObjectId,
    to: ObjectId,
    said: Answer,
}

/// What `analyser`, as it is in `trusted`, says of each of `changes`. Without `run` it is not started.
pub(super) fn affected(
    checks: &ScratchChecks,
    trusted: &ObjectId,
    analyser: &Analyser,
    changes: &[Change],
    run: bool,
) -> Vec<Answer> {
    let by = identity(checks.git(), trusted, &analyser.run);
    let file = checks.state_dir().join(FILE);
    let mut known = load(&file);
    let is_of = |line: &Line, change: &Change| line.from == change.from && line.to == change.to && line.by == by;
    let mut failed: BTreeMap<(&ObjectId, &ObjectId), String> = BTreeMap::new();
    for change in changes.iter().filter(|_| run) {
        if known.iter().any(|line| is_of(line, change)) || failed.contains_key(&(&change.from, &change.to)) {
            continue;
        }
        // A worktree for each: whatever it leaves there is not what the next one starts from.
        match checks.in_worktree(trusted, |path| ask(checks, path, analyser, change)) {
            Ok(said) => {
                known.insert(0, Line { by: by.clone(), from: change.from.clone(), to: change.to.clone(), said });
                // One by one, for the next may take as long again.
                save(checks.state_dir(), &file, &known);
            }
            Err(fault) => {
                failed.insert((&change.from, &change.to), fault.to_string());
            }
        }
    }
    let answer = |change: &Change| match known.iter().find(|line| is_of(line, change)) {
        Some(line) => line.said.clone(),
        None => Err(failed.get(&(&change.from, &change.to)).cloned().unwrap_or("it has not been asked yet".to_owned())),
    };
    changes.iter().map(answer).collect()
}

/// Asks it once.
fn ask(checks: &ScratchChecks, worktree: &Path, analyser: &Analyser, change: &Change) -> Answer {
    // A path is one line, or else it would say whatever it likes.
    if change.paths.iter().any(|path| path.contains(['\n', char::REPLACEMENT_CHARACTER])) {
        return Err("the name of a changed path cannot be told in a line of text".to_owned());
    }
    let input: String = change.paths.iter().map(|path| format!("{path}\n")).collect();
    let variables = [("SCRUM_BASE", change.from.as_str()), ("SCRUM_COMMIT", change.to.as_str())];
    let time_max = Duration::from_secs(analyser.timeout.0);
    let bounds = Bounds { time_max, keep_bytes_max: lanes::SAID_BYTES_MAX + 1, ..Bounds::default() };
    match checks.run_in(worktree, &analyser.run, &variables, input.as_bytes(), bounds) {
        Err(error) => Err(error.to_string()),
        Ok(output) if output.timed_out => Err(format!("it took longer than {}", analyser.timeout)),
        Ok(output) if output.success() => lanes::names(&output.stdout),
        Ok(output) => {
            let code = output.code.map_or_else(|| "was killed".to_owned(), |code| format!("ended with {code}"));
            let said = output.stderr_text();
            let last = said.lines().rev().find(|line| !line.trim().is_empty()).map(|line| format!(": {}", line.trim()));
            Err(format!("it {code}{}", last.unwrap_or_default().chars().take(WORDS_MAX).collect::<String>()))
        }
    }
}

/// What stands for an analyser: its words, and what those of them are in `trusted` that name files there.
fn identity(git: &Git, trusted: &ObjectId, words: &[String]) -> String {
    let may_be_file = |word: &&String| !word.is_empty() && !word.starts_with(['-', '/', ':']) && !word.contains("..");
    let names: Vec<&str> = words.iter().filter(may_be_file).map(String::as_str).collect();
    let args = [&["ls-tree", "--full-tree", trusted.as_str(), "--"][..], &names].concat();
    // Without any name, git would list everything.
    let listed = if names.is_empty() { String::new() } else { git.run(&args).unwrap_or_default() };
    serde_json::to_string(&(words, listed)).expect("strings are JSON")
}

fn load(file: &Path) -> Vec<Line> {
    let mut text = String::new();
    let read = File::open(file).and_then(|file| file.take(FILE_BYTES_MAX as u64).read_to_string(&mut text));
    let lines = read.is_ok().then_some(text.lines()).into_iter().flatten();
    lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn save(state_dir: &Path, file: &Path, known: &[Line]) {
    let mut text = String::new();
    for line in known.iter().filter_map(|line| serde_json::to_string(line).ok()) {
        if text.len() + line.len() >= FILE_BYTES_MAX {
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    // Losing it costs time and nothing else, so nobody is told.
    let Ok(new) = unnamed_file(state_dir) else { return };
    failpoint::reach("writing what is affected");
    if fs::write(new.path(), text).is_ok() {
        failpoint::reach("naming what is affected");
        let _ = new.persist(file);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded_and_garbage_is_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join(FILE);
        let id = |nth: usize| ObjectId::parse(&format!("{nth:040x}")).expect("an id");
        let line = |nth: usize, said: Answer| Line { by: "x".to_owned(), from: id(nth), to: id(0), said };
        let known = [line(1, Ok(["a".to_owned()].into())), line(2, Err("no\n".to_owned())), line(3, Ok([].into()))];
        save(directory.path(), &file, &known);
        let again = load(&file);
        let said = |lines: &[Line]| lines.iter().map(|line| line.said.clone()).collect::<Vec<_>>();
        assert_eq!(said(&again), said(&known));
        let long = line(9, Err("x".repeat(FILE_BYTES_MAX)));
        save(directory.path(), &file, &[known[0].clone(), long, known[1].clone()]);
        assert_eq!(load(&file).len(), 1);
        for garbage in
            [&b"{}\n[]\n"[..], b"\xff\n", b"", b"{\"by\":\"x\",\"from\":\"y\",\"to\":\"z\",\"said\":{\"Ok\":[]}}"]
        {
            fs::write(&file, garbage).expect("a write");
            assert_eq!(load(&file).len(), 0);
        }
    }
}
