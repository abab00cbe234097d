//! Worktrees of claims: made from the fresh target, found again, and removed without losing anything.

#![expect(clippy::disallowed_methods, reason = "an adapter: it makes and copies files of worktrees")]

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::wip;
use crate::domain::{Branch, Fence, ObjectId, TaskId};
use crate::failpoint;
use crate::git::transfer::RefOutcome;
use crate::git::{Git, GitError};
use crate::ledger::{Author, Fault, Outcome, Place, RefUpdate, Refs, Truth, tracking_ref, transfer_fault};
use crate::record::names::{RefNames, branch_ref};

/// A worktree of this repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worktree {
    /// Where it is.
    pub path: PathBuf,
    /// What it has checked out, if that is a branch.
    pub branch: Option<Branch>,
    /// Its head, if it has one.
    pub head: Option<ObjectId>,
}

/// What became of a removed worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Where it was.
    pub path: PathBuf,
    /// The ref and commit that hold what was nowhere else, if there was any.
    pub saved: Option<(String, String)>,
}

/// The worktrees of one repository.
pub struct Worktrees {
    place: Rc<Place>,
    git: Git,
    refs: Refs,
    truth: Truth,
    names: RefNames,
    author: Author,
    root: PathBuf,
    copy: Vec<String>,
}

impl Worktrees {
    /// The worktrees of `place`. New ones are made below `root`; work is saved at `truth`; `copy` names files that are
    /// in no commit and that every new worktree gets.
    pub fn new(
        place: &Rc<Place>,
        git: Git,
        truth: Truth,
        names: RefNames,
        author: Author,
        root: PathBuf,
        copy: Vec<String>,
    ) -> Worktrees {
        let refs = Refs::new(Rc::clone(place), git.clone());
        Worktrees { place: Rc::clone(place), git, refs, truth, names, author, root, copy }
    }

    /// All worktrees, the main one first.
    pub fn list(&self) -> Result<Vec<Worktree>, Fault> {
        let list = self.git.run(&["worktree", "list", "--porcelain", "-z"]);
        let list = list.map_err(|error| Fault::io("cannot list worktrees", error))?;
        let entries = list.split("\0\0").filter(|entry| !entry.trim_matches('\0').is_empty());
        Ok(entries.filter_map(parse_entry).collect())
    }

    /// The worktree that has `branch` checked out.
    pub fn of_branch(&self, branch: &Branch) -> Result<Option<Worktree>, Fault> {
        Ok(self.list()?.into_iter().find(|worktree| worktree.branch.as_ref() == Some(branch) && worktree.path.exists()))
    }

    /// Whether worktrees can be made here at all: a bare repository serves clones, which have theirs.
    pub fn possible(&self) -> Result<(), Fault> {
        if self.place.workdir().is_none() {
            let what = "this is a bare repository, which has no worktrees: work in a clone of it".to_owned();
            return Err(Fault::Environment { what });
        }
        Ok(())
    }

    /// The worktree of a claim: the one its branch is checked out in already, or a new one, with the branch started at
    /// `start` unless it exists. A command that was killed half-way is finished by the next.
    pub fn add(&self, task: &TaskId, branch: &Branch, start: &ObjectId) -> Result<Worktree, Fault> {
        self.possible()?;
        let _ = self.git.run(&["worktree", "prune"]);
        if let Some(worktree) = self.of_branch(branch)? {
            if self.is_complete(&worktree) {
                self.copy_files(&worktree.path)?;
                return Ok(worktree);
            }
            self.remove_unfinished(&worktree)?;
        }
        let path = self.free_path(task);
        if let Some(parent) = path.parent() {
            failpoint::making(parent);
            let made = fs::create_dir_all(parent);
            made.map_err(|error| Fault::io(format!("cannot create {}", parent.display()), error))?;
        }
        let shown = path.to_string_lossy().into_owned();
        let exists = self.refs.read(&branch_ref(branch))?.is_some();
        let mut args = vec!["-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "--no-track"];
        if exists {
            args.retain(|word| *word != "--no-track");
            args.extend(["--", &shown, branch.as_str()]);
        } else {
            args.extend(["-b", branch.as_str(), "--", &shown, start.as_str()]);
        }
        let added = self.git.run(&args);
        added.map_err(|error| Fault::io(format!("cannot make a worktree for {task} at {shown}"), error))?;
        self.copy_files(&path)?;
        Ok(Worktree { path, branch: Some(branch.clone()), head: Some(start.clone()) })
    }

    /// Saves what is nowhere else, then removes the worktree. The branch stays.
    pub fn remove(&self, worktree: &Worktree, task: &TaskId, fence: Fence) -> Result<Removed, Fault> {
        let saved = self.save(&worktree.path, task, fence)?;
        let shown = worktree.path.to_string_lossy().into_owned();
        let removed = self.git.run(&["worktree", "remove", "--force", "--force", &shown]);
        removed.map_err(|error| Fault::io(format!("cannot remove {shown}"), error))?;
        Ok(Removed { path: worktree.path.clone(), saved })
    }

    /// Whether a worktree of ours was left half-made at least so long ago.
    pub fn is_unfinished(&self, worktree: &Worktree, since: Duration) -> bool {
        let root = self.root.canonicalize();
        let ours = root.is_ok_and(|root| worktree.path.starts_with(root));
        // Written first of all, and never again.
        let age = fs::metadata(worktree.path.join(".git")).and_then(|data| data.modified());
        let age = age.ok().and_then(|made| made.elapsed().ok());
        ours && age.is_some_and(|age| age >= since) && !self.is_complete(worktree)
    }

    /// Removes a worktree that is not whole. Only a command that was killed while git was checking out leaves one like
    /// that: there is no work in it.
    pub fn remove_unfinished(&self, worktree: &Worktree) -> Result<(), Fault> {
        let shown = worktree.path.to_string_lossy().into_owned();
        let removed = self.git.run(&["worktree", "remove", "--force", "--force", &shown]);
        removed.map(|_| ()).map_err(|error| Fault::io(format!("cannot remove the unfinished worktree {shown}"), error))
    }

    /// Makes git forget worktrees whose directories are gone.
    pub fn prune(&self) -> Result<(), Fault> {
        let pruned = self.git.run(&["worktree", "prune"]);
        pruned.map(|_| ()).map_err(|error| Fault::io("cannot prune worktrees", error))
    }

    /// Saves changes that are in no commit, and commits that are on no branch of the remote, under the claim's own ref.
    /// Gives the ref and the commit, if there was anything to save.
    pub fn save(&self, worktree: &Path, task: &TaskId, fence: Fence) -> Result<Option<(String, String)>, Fault> {
        let message = format!("Unfinished work on {task}, fence {fence}");
        let Some(snapshot) = wip::snapshot(worktree, &self.author, &message)? else { return Ok(None) };
        if !snapshot.had_changes && self.is_elsewhere(&snapshot.commit)? {
            return Ok(None);
        }
        let name = self.names.wip(task, fence);
        // The ref is the claim's own: what it had before is an older snapshot of the same work, or nothing.
        let old = self.current(&name)?;
        if old.as_deref() == Some(snapshot.commit.as_str()) {
            return Ok(Some((name, snapshot.commit)));
        }
        let update = RefUpdate { name: name.clone(), old, new: Some(snapshot.commit.clone()) };
        self.publish(&update)?;
        Ok(Some((name, snapshot.commit)))
    }

    fn is_complete(&self, worktree: &Worktree) -> bool {
        let git = Git::at(&worktree.path);
        let index = git.run(&["rev-parse", "--git-path", "index"]).map(|path| worktree.path.join(path));
        index.is_ok_and(|index| index.exists())
    }

    fn free_path(&self, task: &TaskId) -> PathBuf {
        let first = self.root.join(task.as_str());
        let more = (2..).map(|number: u32| self.root.join(format!("{task}-{number}")));
        std::iter::once(first).chain(more).find(|path| !path.exists()).expect("numbers do not run out")
    }

    fn copy_files(&self, worktree: &Path) -> Result<(), Fault> {
        let Some(main) = self.place.workdir() else { return Ok(()) };
        for name in &self.copy {
            let (from, to) = (main.join(name), worktree.join(name));
            if from.is_file() && !to.exists() {
                if let Some(parent) = to.parent() {
                    let made = fs::create_dir_all(parent);
                    made.map_err(|error| Fault::io(format!("cannot create {}", parent.display()), error))?;
                }
                failpoint::reach("copying a file");
                let copied = fs::copy(&from, &to);
                copied.map_err(|error| Fault::io(format!("cannot copy {name} into the worktree"), error))?;
            }
        }
        Ok(())
    }

    /// Whether the commit is on a branch that removing a worktree does not touch: of a remote, or, where this clone is
    /// the truth, of this clone.
    fn is_elsewhere(&self, commit: &str) -> Result<bool, Fault> {
        let places: &[&str] = match &self.truth {
            Truth::Local => &["refs/heads/"],
            Truth::Remote { .. } => &["refs/remotes/", "refs/scrum/remotes/"],
        };
        let mut args = vec!["for-each-ref", "--count=1", "--format=%(refname)", "--contains", commit];
        args.extend(places);
        let found = self.git.run(&args).map_err(|error| Fault::io("looking for a commit", error))?;
        Ok(!found.is_empty())
    }

    fn current(&self, name: &str) -> Result<Option<String>, Fault> {
        match &self.truth {
            Truth::Local => self.refs.read(name),
            Truth::Remote { name: remote, url } => {
                let output = self.git.output(["ls-remote", "--", url.as_str(), name]);
                let output = output.map_err(|error| Fault::io("asking for saved work", error))?;
                if !output.success() {
                    let said = output.stderr_text();
                    let cause = crate::git::failure::cause(&said);
                    return Err(transfer_fault(remote, cause, &crate::git::failure::telling_line(&said)));
                }
                Ok(output.stdout_text().split('\t').next().filter(|id| !id.is_empty()).map(str::to_owned))
            }
        }
    }

    fn publish(&self, update: &RefUpdate) -> Result<(), Fault> {
        let name = &update.name;
        let not_saved = |why: String| Fault::Io { what: format!("cannot save work as {name}: {why}") };
        match &self.truth {
            Truth::Local => match self.refs.transact(std::slice::from_ref(update))? {
                Outcome::Applied => Ok(()),
                other => Err(not_saved(format!("{other:?}"))),
            },
            Truth::Remote { name: remote, url } => {
                let seen_as = |name: &str| tracking_ref(&self.truth, name);
                let report = self.git.push(url, std::slice::from_ref(update), false, seen_as);
                let report = report.map_err(|error: GitError| Fault::io("saving work", error))?;
                match &report.refs[0] {
                    RefOutcome::Applied | RefOutcome::UpToDate => Ok(()),
                    RefOutcome::Refused(reason) | RefOutcome::Locked(reason) => Err(not_saved(reason.clone())),
                    RefOutcome::Lost | RefOutcome::Skipped => Err(not_saved("it was moved meanwhile".to_owned())),
                    RefOutcome::Unknown => Err(transfer_fault(remote, report.cause, &report.said)),
                }
            }
        }
    }
}

fn parse_entry(entry: &str) -> Option<Worktree> {
    let field = |name: &str| entry.split('\0').find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Some(Worktree {
        path: PathBuf::from(field("worktree")?),
        branch: field("branch").and_then(|name| Branch::parse(name.strip_prefix("refs/heads/")?).ok()),
        head: field("HEAD").and_then(|id| ObjectId::parse(id).ok()),
    })
}
