//! Checks in a scratch worktree: a clean checkout of one commit, gone afterwards.

#![expect(clippy::disallowed_methods, reason = "an adapter: it owns its files and directories")]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use super::{analysis, guard};
use crate::domain::{Branch, ObjectId};
use crate::engine::ports::{Analyser, Change, CheckResult, Checks};
use crate::failpoint;
use crate::git::process::{self, Bounds, Keep, Output};
use crate::git::{Git, LOCAL_VARIABLES};
use crate::ledger::Fault;

/// How much of a check's output is handed on: of both streams together.
const OUTPUT_KEPT_BYTES_MAX: usize = 24 * 1024;
/// How much longer its output is waited for when a check has ended and left something behind that might write some.
const LINGER: Duration = Duration::from_secs(2);
/// How the names of scratch directories and of their notes begin, and what the worktree in one is called.
const SCRATCH_PREFIX: &str = "git-scrum-check-";
const NOTE_PREFIX: &str = "check-";
const WORKTREE: &str = "worktree";

/// Runs checks in worktrees under the system's directory for temporary files: outside the repository, so that a build
/// tool that looks for its configuration in directories above finds none.
///
/// Each scratch directory is noted in a file of the clone that is locked as long as its check runs: what a killed pass
/// left behind is removed by the next.
pub struct ScratchChecks {
    git: Git,
    state_dir: PathBuf,
    notes: PathBuf,
    program: PathBuf,
}

impl ScratchChecks {
    /// Checks of commits of the repository that `git` is in, and whose state directory this is. `program` is this very
    /// program, to be started as the guard of each.
    pub fn new(git: Git, state_dir: &Path, program: &Path) -> ScratchChecks {
        let (state_dir, program) = (state_dir.to_owned(), program.to_owned());
        ScratchChecks { git, notes: state_dir.join("scratch"), state_dir, program }
    }

    pub(super) fn git(&self) -> &Git {
        &self.git
    }

    pub(super) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// Does something in a scratch worktree of `commit`, which is gone afterwards.
    pub(super) fn in_worktree<T>(&self, commit: &ObjectId, work: impl FnOnce(&Path) -> T) -> Result<T, Fault> {
        self.sweep();
        let (scratch, _noted, note) = self.scratch()?;
        let path = scratch.path().join(WORKTREE);
        self.check_out(commit, &path)?;
        let done = work(&path);
        self.clean_up(&path);
        failpoint::reach("removing a scratch directory");
        drop(scratch);
        failpoint::reach("removing a check's note");
        let _ = fs::remove_file(note);
        Ok(done)
    }

    /// Runs a program of the repository's in a worktree of its own, told by `variables` what it is about.
    pub(super) fn run_in(
        &self,
        worktree: &Path,
        argv: &[String],
        variables: &[(&str, &str)],
        input: &[u8],
        bounds: Bounds,
    ) -> io::Result<Output> {
        let mut command = guard::command(&self.program, input.len(), argv);
        command.current_dir(worktree).envs(variables.iter().copied()).env("CI", "true");
        for name in LOCAL_VARIABLES {
            command.env_remove(name);
        }
        process::run_attached(&mut command, input, bounds)
    }

    /// Makes a scratch directory that is noted before it is there. The note holds as long as the file is open.
    fn scratch(&self) -> Result<(TempDir, File, PathBuf), Fault> {
        let failed = |error: &dyn std::fmt::Display| Fault::io("cannot make a scratch directory", error);
        failpoint::making(&self.notes);
        fs::create_dir_all(&self.notes).map_err(|error| failed(&error))?;
        failpoint::reach("a check's note");
        let file = tempfile::Builder::new().prefix(NOTE_PREFIX).tempfile_in(&self.notes);
        let (file, note) = file.and_then(|file| file.keep().map_err(Into::into)).map_err(|error| failed(&error))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| failed(&error))?;
        // Both end in the same random letters.
        let name = note.file_name().unwrap_or_default().to_string_lossy().replacen(NOTE_PREFIX, SCRATCH_PREFIX, 1);
        let path = std::env::temp_dir().join(&name);
        failpoint::reach("writing a check's note");
        fs::write(&note, path.to_string_lossy().as_bytes()).map_err(|error| failed(&error))?;
        failpoint::reach("a scratch directory");
        let scratch = tempfile::Builder::new().prefix(&name).rand_bytes(0).tempdir();
        Ok((scratch.map_err(|error| failed(&error))?, file, note))
    }

    /// Removes the scratch directories of passes that are gone.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.notes) else { return };
        for entry in entries.flatten() {
            let note = entry.path();
            let Ok(file) = File::open(&note) else { continue };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            let scratch = PathBuf::from(fs::read_to_string(&note).unwrap_or_default());
            let ours = scratch.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SCRATCH_PREFIX));
            if ours {
                self.clean_up(&scratch.join(WORKTREE));
                // What cannot be removed now is left to whoever cleans the directory for temporary files.
                failpoint::reach("sweeping a scratch directory");
                let _ = fs::remove_dir_all(&scratch);
            }
            failpoint::reach("sweeping a check's note");
            let _ = fs::remove_file(&note);
        }
    }

    /// The file that says which commit a process of this clone tests for the train of `target`: locked as long as it
    /// does.
    fn test_of(&self, target: &Branch) -> PathBuf {
        self.state_dir.join("tests").join(target.as_str().replace('/', "%"))
    }

    fn check_out(&self, commit: &ObjectId, path: &Path) -> Result<(), Fault> {
        let path = path.to_string_lossy();
        let args = ["-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "--detach", "--force", &path];
        // What is tested is what lands, whatever this clone shows in its place.
        let git = self.git.clone().with_variable("GIT_NO_REPLACE_OBJECTS", "1");
        let done = git.run(&[&args[..], &[commit.as_str()]].concat());
        done.map(|_| ()).map_err(|error| Fault::io("cannot check out a candidate", error))
    }

    fn clean_up(&self, path: &Path) {
        let shown = path.to_string_lossy();
        // What a killed pass left, and what cannot be removed now, `git worktree prune` takes away later.
        let _ = self.git.run(&["worktree", "remove", "--force", "--force", &shown]);
        let _ = self.git.run(&["worktree", "prune"]);
    }
}

impl Checks for ScratchChecks {
    type Test = Option<File>;

    fn begin(&self, target: &Branch, commit: &ObjectId) -> Result<Option<File>, Fault> {
        let path = self.test_of(target);
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            failpoint::reach("noting a test");
            let mut file = File::options().create(true).truncate(false).write(true).open(&path)?;
            // Another process of this clone is at it: should that be killed, this is not known of this one.
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                return Ok(None);
            }
            file.set_len(0)?;
            file.write_all(commit.as_str().as_bytes())?;
            Ok(Some(file))
        };
        write().map_err(|error: io::Error| Fault::io(format!("cannot write {}", path.display()), error))
    }

    fn end(&self, test: Option<File>) {
        // Were it still there, somebody else's test of the same commit might be taken for a test that was left here.
        let _ = test.map(|file| file.set_len(0));
    }

    fn was_left(&self, target: &Branch, commit: &ObjectId) -> bool {
        let Ok(mut file) = File::open(self.test_of(target)) else { return false };
        let mut noted = String::new();
        let is_free = flock(&file, FlockOperation::NonBlockingLockShared).is_ok();
        is_free && file.read_to_string(&mut noted).is_ok() && noted == commit.as_str()
    }

    fn run(&self, commit: &ObjectId, argv: &[String], timeout: Duration) -> Result<CheckResult, Fault> {
        let Some(program) = argv.first() else {
            return Err(Fault::Environment { what: "the check is empty".to_owned() });
        };
        // Its exit code says all: nothing that it has left behind is waited for.
        let linger = Some(LINGER);
        let bounds = Bounds { time_max: timeout, keep_bytes_max: OUTPUT_KEPT_BYTES_MAX, keep: Keep::End, linger };
        self.in_worktree(commit, |path| {
            let begun = Instant::now();
            let ended = self.run_in(path, argv, &[("SCRUM_COMMIT", commit.as_str())], &[], bounds);
            let took = begun.elapsed();
            match ended {
                Ok(output) => {
                    let text = ends_of(&output.stdout_text(), &output.stderr_text());
                    CheckResult { code: output.code, timed_out: output.timed_out, output: text, took }
                }
                // The same as what a shell says of a program that is not there.
                Err(error) => {
                    CheckResult { code: Some(127), timed_out: false, output: format!("{program}: {error}\n"), took }
                }
            }
        })
    }

    fn affected(
        &self,
        trusted: &ObjectId,
        analyser: &Analyser,
        changes: &[Change],
        run: bool,
    ) -> Vec<Result<BTreeSet<String>, String>> {
        analysis::affected(self, trusted, analyser, changes, run)
    }
}

/// The ends of both streams: each gets half of the room, and what the other leaves of its own.
fn ends_of(stdout: &str, stderr: &str) -> String {
    let half = OUTPUT_KEPT_BYTES_MAX / 2;
    let room_beside = |other: &str| OUTPUT_KEPT_BYTES_MAX - other.len().min(half);
    format!("{}{}", end_of(stdout, room_beside(stderr)), end_of(stderr, room_beside(stdout)))
}

fn end_of(text: &str, bytes_max: usize) -> &str {
    let mut start = text.len().saturating_sub(bytes_max);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noisy_stream_leaves_room_for_what_the_other_says_last() {
        let (noise, half) = ("ä".repeat(OUTPUT_KEPT_BYTES_MAX), OUTPUT_KEPT_BYTES_MAX / 2);
        assert_eq!(ends_of("out\n", "err\n"), "out\nerr\n");
        let text = ends_of("1 failed\n", &noise);
        assert!(text.starts_with("1 failed\nä") && text.len() >= OUTPUT_KEPT_BYTES_MAX - 1, "{}", text.len());
        let text = ends_of(&noise, "warning\n");
        assert!(text.ends_with("äwarning\n") && text.len() >= OUTPUT_KEPT_BYTES_MAX - 1, "{}", text.len());
        let text = ends_of(&format!("{noise}out\n"), &format!("{noise}err\n"));
        assert!(text[..half].ends_with("out\n") && text.ends_with("err\n") && text.len() <= OUTPUT_KEPT_BYTES_MAX);
    }
}
