//! Landing in a clone that is its own truth, where the target may be checked out.
//!
//! A branch that moves under a worktree makes the worktree look as if somebody had undone the landing. So the worktree
//! is moved along: refused beforehand when that would touch anybody's changes, and finished by the next command when
//! this one is killed in between.

#![expect(clippy::disallowed_methods, reason = "an adapter: it owns the files of the clone's state directory")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{GitCode, git_fault};
use crate::domain::{Branch, ObjectId};
use crate::failpoint;
use crate::git::Git;
use crate::ledger::{Fault, Outcome, RefUpdate, Truth};
use crate::record::names::branch_ref;

/// A worktree that is being moved.
#[derive(Serialize, Deserialize)]
struct Move {
    worktree: PathBuf,
    branch: Branch,
    from: ObjectId,
    to: ObjectId,
}

impl GitCode {
    /// The worktree of this repository that has `branch` checked out.
    pub(super) fn worktree_of(&self, branch: &Branch) -> Result<Option<PathBuf>, Fault> {
        Ok(self.worktrees()?.remove(&branch_ref(branch)).filter(|path| path.exists()))
    }

    /// Branches that must not be removed where the code is, for a worktree of this clone would be left without one;
    /// and that worktree. None at a remote.
    pub fn checked_out(&self) -> Result<BTreeMap<String, PathBuf>, Fault> {
        match &self.truth {
            // One that is not there now may be on a disk that is not.
            Truth::Local => self.worktrees(),
            Truth::Remote { .. } => Ok(BTreeMap::new()),
        }
    }

    /// The worktrees of this repository, by the full name of the branch that each has checked out.
    fn worktrees(&self) -> Result<BTreeMap<String, PathBuf>, Fault> {
        let list = self.git.run(&["worktree", "list", "--porcelain", "-z"]);
        let list = list.map_err(|error| git_fault("listing worktrees", error))?;
        let entries = list.split("\0\0").filter_map(|entry| {
            let field = |name: &str| entry.split('\0').find_map(|line| line.strip_prefix(name));
            Some((field("branch ")?.to_owned(), PathBuf::from(field("worktree ")?)))
        });
        Ok(entries.collect())
    }

    /// Moves a branch of this clone, and the worktree that has it checked out.
    pub(super) fn move_checked_out(
        &self,
        target: &Branch,
        from: &ObjectId,
        to: &ObjectId,
        update: &RefUpdate,
    ) -> Result<Outcome, Fault> {
        self.objects.sync(to.as_str())?;
        let Some(worktree) = self.worktree_of(target)? else {
            return self.refs.transact(std::slice::from_ref(update));
        };
        let git = Git::at(&worktree);
        let here = worktree.display();
        let status = git.run(&["status", "--porcelain", "--untracked-files=no"]);
        if !status.map_err(|error| git_fault("looking for changes", error))?.is_empty() {
            let what = format!("{target} is checked out in {here}, which has uncommitted changes");
            return Err(Fault::InUse { what });
        }
        if let Err(error) = git.run(&["read-tree", "-n", "-m", "-u", from.as_str(), to.as_str()]) {
            return Err(Fault::InUse { what: format!("{target} is checked out in {here}: {error}") });
        }
        let moving = Move { worktree: worktree.clone(), branch: target.clone(), from: from.clone(), to: to.clone() };
        let record = self.state_dir.join(format!("moving-{to}"));
        let text = toml::to_string(&moving).map_err(|error| Fault::io("noting a landing", error))?;
        failpoint::reach("noting a landing");
        fs::write(&record, text).map_err(|error| Fault::io(format!("cannot write {}", record.display()), error))?;
        let outcome = self.refs.transact(std::slice::from_ref(update))?;
        self.finish_checkout(&record)?;
        Ok(outcome)
    }

    /// Moves every worktree whose branch was moved by a command that was killed before it could.
    pub(super) fn finish_checkouts(&self) -> Result<(), Fault> {
        let Ok(entries) = fs::read_dir(&self.state_dir) else { return Ok(()) };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with("moving-") {
                self.finish_checkout(&entry.path())?;
            }
        }
        Ok(())
    }

    fn finish_checkout(&self, record: &Path) -> Result<(), Fault> {
        let text = fs::read_to_string(record).unwrap_or_default();
        if let Ok(moving) = toml::from_str::<Move>(&text) {
            let moved = self.read(&branch_ref(&moving.branch))?.as_ref() == Some(&moving.to);
            let git = Git::at(&moving.worktree);
            let untouched = git.output(["diff-index", "--cached", "--quiet", moving.from.as_str(), "--"]);
            if moved && untouched.is_ok_and(|output| output.success()) {
                let done = git.run(&["read-tree", "-m", "-u", moving.from.as_str(), moving.to.as_str()]);
                done.map_err(|error| git_fault("moving a worktree", error))?;
            }
        }
        failpoint::reach("removing the note of a landing");
        let removed = fs::remove_file(record);
        removed.map_err(|error| Fault::io(format!("cannot remove {}", record.display()), error))
    }
}
