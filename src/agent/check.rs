//! Checks in a scratch worktree: a clean checkout of one commit, gone afterwards.

#![expect(clippy::disallowed_methods, reason = "an adapter: it starts the check that the target branch configures")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::domain::ObjectId;
use crate::engine::ports::{CheckResult, Checks};
use crate::git::process::{self, Bounds};
use crate::git::{Git, LOCAL_VARIABLES};
use crate::ledger::Fault;

/// How much of each output stream of a check is read; what is kept of it is less.
const OUTPUT_READ_BYTES_MAX: usize = 8 << 20;
/// How much of a check's output is handed on.
const OUTPUT_KEPT_BYTES_MAX: usize = 24 * 1024;

/// Runs checks in worktrees under the system's directory for temporary files: outside the repository, so that a build
/// tool that looks for its configuration in directories above finds none.
pub struct ScratchChecks {
    git: Git,
}

impl ScratchChecks {
    /// Checks of commits of the repository that `git` is in.
    pub fn new(git: Git) -> ScratchChecks {
        ScratchChecks { git }
    }

    fn check_out(&self, commit: &ObjectId, path: &Path) -> Result<(), Fault> {
        let path = path.to_string_lossy();
        let args = ["-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "--detach", "--force", &path];
        let done = self.git.run(&[&args[..], &[commit.as_str()]].concat());
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
    fn run(&self, commit: &ObjectId, argv: &[String], timeout: Duration) -> Result<CheckResult, Fault> {
        let Some((program, args)) = argv.split_first() else {
            return Err(Fault::Environment { what: "the check is empty".to_owned() });
        };
        let scratch = tempfile::Builder::new().prefix("git-scrum-check-").tempdir();
        let scratch = scratch.map_err(|error| Fault::io("cannot make a scratch directory", error))?;
        let path = scratch.path().join("worktree");
        self.check_out(commit, &path)?;
        let mut command = Command::new(program);
        command.args(args).current_dir(&path).env("SCRUM_COMMIT", commit.as_str()).env("CI", "true");
        for name in LOCAL_VARIABLES {
            command.env_remove(name);
        }
        let begun = Instant::now();
        let bounds = Bounds { time_max: timeout, keep_bytes_max: OUTPUT_READ_BYTES_MAX };
        let ended = process::run(&mut command, None, bounds);
        let took = begun.elapsed();
        self.clean_up(&path);
        Ok(match ended {
            Ok(output) => {
                let text = format!("{}{}", output.stdout_text(), output.stderr_text());
                CheckResult { code: output.code, timed_out: output.timed_out, output: end_of(&text), took }
            }
            // The same as what a shell says of a program that is not there.
            Err(error) => {
                CheckResult { code: Some(127), timed_out: false, output: format!("{program}: {error}\n"), took }
            }
        })
    }
}

fn end_of(text: &str) -> String {
    let mut start = text.len().saturating_sub(OUTPUT_KEPT_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}
