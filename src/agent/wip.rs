//! Saving work that is in no commit or on no remote, before anything is removed.

#![expect(clippy::disallowed_methods, reason = "an adapter: it owns a scratch index")]

use std::path::Path;

use crate::failpoint;
use crate::git::{Git, GitError};
use crate::ledger::{Author, Fault};

/// A snapshot of a worktree.
pub(super) struct Snapshot {
    /// The commit that holds it: the worktree's head, or a commit on top of it.
    pub commit: String,
    /// Whether there was anything in no commit.
    pub had_changes: bool,
}

/// Commits everything in `worktree` that is not ignored, tracked or not, on top of its head, without touching the
/// worktree, its index or any branch. `None` where nothing was ever committed and nothing is there.
pub(super) fn snapshot(worktree: &Path, author: &Author, message: &str) -> Result<Option<Snapshot>, Fault> {
    let failed = |error: GitError| Fault::io(format!("cannot save the work in {}", worktree.display()), error);
    let git = Git::at(worktree);
    let head = git.output(["rev-parse", "--verify", "--quiet", "HEAD"]).map_err(failed)?;
    let head = head.success().then(|| head.stdout_text().trim().to_owned());
    let changes = git.run(&["status", "--porcelain", "--untracked-files=normal"]).map_err(failed)?;
    if changes.is_empty() {
        return Ok(head.map(|commit| Snapshot { commit, had_changes: false }));
    }
    let own = worktree.join(git.run(&["rev-parse", "--git-path", "index"]).map_err(failed)?);
    // Beside the worktree's own index: what a killed process leaves there goes with the worktree.
    failpoint::reach("a scratch index");
    let scratch = tempfile::Builder::new().prefix("scrum-").tempdir_in(own.parent().unwrap_or(worktree));
    let scratch = scratch.map_err(|error| Fault::io("cannot make a scratch directory", error))?;
    let index = scratch.path().join("index");
    failpoint::reach("copying an index");
    // The worktree's own index gives the new one its knowledge of unchanged files; starting without is only slower.
    let _ = std::fs::copy(own, &index);
    let scratch_git = Git::at(worktree).with_variable("GIT_INDEX_FILE", index.to_string_lossy());
    scratch_git.run(&["-c", "core.fsync=loose-object", "add", "--all", "--ignore-errors", "."]).map_err(failed)?;
    let tree = scratch_git.run(&["write-tree"]).map_err(failed)?;
    let named = Git::at(worktree)
        .with_variable("GIT_AUTHOR_NAME", author.name.as_str())
        .with_variable("GIT_AUTHOR_EMAIL", author.email.as_str())
        .with_variable("GIT_COMMITTER_NAME", author.name.as_str())
        .with_variable("GIT_COMMITTER_EMAIL", author.email.as_str());
    let mut args = vec!["commit-tree", tree.as_str(), "-m", message];
    if let Some(head) = &head {
        args.extend(["-p", head]);
    }
    let commit = named.run(&args).map_err(failed)?;
    failpoint::reach("removing a scratch index");
    drop(scratch);
    Ok(Some(Snapshot { commit, had_changes: true }))
}
