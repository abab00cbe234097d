//! The code of the repository behind the engine's port: branches, merges, landings and notes, by the `git` program.
//!
//! Guarantees: what lands is merged by git itself; a candidate is byte for byte the same on every host that builds it;
//! a worktree that has the target checked out is moved with it or nothing moves; what is merged is written beside the
//! repository, and only what others are to see is kept in it; what would collide is found out by the same merges, which
//! leave nothing behind. Must not know tasks or the board.

mod candidate;
mod checkout;
mod notes;
mod radar;
mod scratch;

pub use radar::GitRadar;

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;

use scratch::Scratch;

use crate::domain::planner::{Candidate, Method};
use crate::domain::{Branch, Car, ObjectId, Timestamp, VerdictRecord};
use crate::engine::ports::{Change, Code, Undone};
use crate::failpoint;
use crate::git::transfer::RefOutcome;
use crate::git::{Cause, Git, GitError, failure};
use crate::ledger::{
    Author, Cache, Fault, Objects, Outcome, Place, RefUpdate, Refs, Truth, TruthRefs, tracking_ref, transfer_fault,
};
use crate::record::names::{VERDICT_NOTES, branch_ref};

/// The most paths that are named of a worktree with changes.
const PATHS_NAMED_MAX: usize = 20;

/// The code of one clone.
pub struct GitCode {
    git: Git,
    refs: Refs,
    cache: Cache,
    objects: Objects,
    truth: Truth,
    at_truth: TruthRefs,
    same_remote: bool,
    author: Author,
    state_dir: PathBuf,
    place: Rc<Place>,
    merging: OnceCell<Merging>,
}

/// What merges are made with: it writes beside the repository, and is gone with the process.
struct Merging {
    git: Git,
    objects: Objects,
    scratch: Scratch,
    /// What was kept by this process.
    kept: RefCell<BTreeSet<ObjectId>>,
}

impl GitCode {
    /// The code at `truth`, seen from `place`. `same_remote`: whether the board lives there too.
    pub fn new(place: &Rc<Place>, git: Git, truth: Truth, same_remote: bool, author: Author) -> GitCode {
        GitCode {
            refs: Refs::new(Rc::clone(place), git.clone()),
            cache: Cache::new(place, git.clone()),
            objects: Objects::new(Rc::clone(place)),
            at_truth: TruthRefs::new(place, git.clone(), truth.clone()),
            git: candidate::plain(git),
            truth,
            same_remote,
            author,
            state_dir: place.state_dir(),
            place: Rc::clone(place),
            merging: OnceCell::new(),
        }
    }

    fn merging(&self) -> Result<&Merging, Fault> {
        if self.merging.get().is_none() {
            let scratch = Scratch::new(&self.git, &self.place)?;
            let (git, objects) = (scratch.git(&self.git), scratch.objects()?);
            let _ = self.merging.set(Merging { git, objects, scratch, kept: RefCell::default() });
        }
        Ok(self.merging.get().expect("it was just set"))
    }

    /// What sees all that is in the repository, and what was merged here.
    fn reading(&self) -> (&Git, &Objects) {
        self.merging.get().map_or((&self.git, &self.objects), |merging| (&merging.git, &merging.objects))
    }

    fn not_atomic_file(&self) -> Option<PathBuf> {
        match &self.truth {
            Truth::Local => None,
            Truth::Remote { name, .. } => Some(self.state_dir.join(format!("not-atomic-{name}"))),
        }
    }

    /// Fetches full ref names that may not exist. Those that do not are forgotten here as well.
    fn fetch(&self, names: Vec<String>) -> Result<(), Fault> {
        let Truth::Remote { name: remote, url } = &self.truth else { return Ok(()) };
        let mut wanted = names;
        wanted.sort();
        wanted.dedup();
        while !wanted.is_empty() {
            let refspecs: Vec<String> =
                wanted.iter().map(|name| format!("+{name}:{}", tracking_ref(&self.truth, name))).collect();
            let output = self.cache.fetch(url, &refspecs)?;
            if output.success() {
                return Ok(());
            }
            let said = output.stderr_text();
            // Git gives up at the first ref that is not there and names it: the rest is asked for again.
            let missing = wanted.iter().position(|name| said.contains(&format!("remote ref {name}\n")));
            match (failure::cause(&said), missing) {
                (Cause::NoSuchRef, Some(index)) => {
                    let gone = wanted.remove(index);
                    self.cache.forget(&tracking_ref(&self.truth, &gone))?;
                }
                (cause, _) => return Err(transfer_fault(remote, cause, &failure::telling_line(&said))),
            }
        }
        Ok(())
    }

    fn read(&self, name: &str) -> Result<Option<ObjectId>, Fault> {
        self.refs.read(name)?.map(|id| parse(&id)).transpose()
    }
}

fn parse(id: &str) -> Result<ObjectId, Fault> {
    ObjectId::parse(id.trim()).map_err(|error| Fault::integrity(error.to_string()))
}

fn git_fault(doing: &str, error: GitError) -> Fault {
    Fault::io(doing, error)
}

impl Code for GitCode {
    fn refresh(&self, branches: &[Branch]) -> Result<(), Fault> {
        if self.truth == Truth::Local {
            return self.finish_checkouts();
        }
        self.fetch(branches.iter().map(branch_ref).collect())
    }

    fn head(&self, branch: &Branch) -> Result<Option<ObjectId>, Fault> {
        self.read(&tracking_ref(&self.truth, &branch_ref(branch)))
    }

    fn listed(&self, prefix: &str, ask: bool) -> Result<BTreeMap<String, ObjectId>, Fault> {
        let tracked = tracking_ref(&self.truth, prefix);
        let seen = self.refs.list(&tracked)?;
        let named = |(name, id): (String, String)| Ok((name.replacen(&tracked, prefix, 1), parse(&id)?));
        if !ask {
            return seen.into_iter().map(named).collect();
        }
        let there: BTreeMap<String, ObjectId> = self
            .at_truth
            .list(prefix)?
            .into_iter()
            .map(|(name, id)| Ok((name, parse(&id)?)))
            .collect::<Result<_, _>>()?;
        let is_gone = |name: &String| !there.contains_key(&name.replacen(&tracked, prefix, 1));
        let gone: Vec<String> = seen.into_iter().map(|(name, _)| name).filter(is_gone).collect();
        if !gone.is_empty() {
            self.cache.forget_all(&gone)?;
        }
        Ok(there)
    }

    fn local_head(&self, branch: &Branch) -> Result<Option<ObjectId>, Fault> {
        self.read(&branch_ref(branch))
    }

    fn file(&self, commit: &ObjectId, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, Fault> {
        self.reading().1.file(commit.as_str(), path, bytes_max)
    }

    fn uncommitted(&self, branch: &Branch) -> Result<Vec<String>, Fault> {
        let Some(worktree) = self.worktree_of(branch)? else { return Ok(Vec::new()) };
        let status =
            Git::at(worktree).run(&["status", "--porcelain", "--untracked-files=no", "--ignore-submodules=none"]);
        let status = status.map_err(|error| git_fault("looking for changes", error))?;
        Ok(status.lines().take(PATHS_NAMED_MAX).map(|line| line.get(3..).unwrap_or(line).to_owned()).collect())
    }

    fn subject(&self, commit: &ObjectId) -> Result<String, Fault> {
        let subject = self.git.run(&[
            "log",
            "-1",
            "--no-show-signature",
            "--no-color",
            "--encoding=UTF-8",
            "--format=%s",
            commit.as_str(),
            "--",
        ]);
        subject.map_err(|error| git_fault("reading a commit", error))
    }

    fn contains(&self, tip: &ObjectId, commit: &ObjectId) -> Result<bool, Fault> {
        if tip == commit {
            return Ok(true);
        }
        let (git, objects) = self.reading();
        if !objects.has(commit.as_str()) {
            // What the tip contains came with the tip.
            return Ok(false);
        }
        let output = git.output(["merge-base", "--is-ancestor", commit.as_str(), tip.as_str()]);
        let output = output.map_err(|error| git_fault("comparing commits", error))?;
        match output.code {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => Err(Fault::io("comparing commits", failure::telling_line(&output.stderr_text()))),
        }
    }

    fn candidate(&self, base: &ObjectId, car: &Car, method: Method) -> Result<Candidate, Fault> {
        let Merging { git, objects, .. } = self.merging()?;
        match method {
            Method::Merge => candidate::merged(git, objects, base, car),
            Method::Squash => candidate::squashed(git, objects, base, car),
            Method::Rebase => candidate::rebased(git, objects, base, car),
            Method::Ff if self.contains(&car.commit, base)? => {
                let tree = parse(&self.objects.tree_id(car.commit.as_str())?)?;
                Ok(Candidate::Clean { commit: car.commit.clone(), tree })
            }
            Method::Ff => Ok(Candidate::Behind),
        }
    }

    fn keep(&self, commits: &[&ObjectId], known: &[ObjectId]) -> Result<(), Fault> {
        let Some(merging) = self.merging.get() else { return Ok(()) };
        // Where the repository has it already, somebody may have been killed before its trees were there.
        let is_new = |id: &&&ObjectId| merging.objects.has(id.as_str()) && !merging.kept.borrow().contains(**id);
        let commits: Vec<&ObjectId> = commits.iter().filter(is_new).copied().collect();
        if commits.is_empty() {
            return Ok(());
        }
        // Where a car's commit is not here, nothing was merged with it.
        let known: Vec<&ObjectId> = known.iter().filter(|id| self.objects.has(id.as_str())).collect();
        merging.scratch.keep(&self.git, &commits, &known)?;
        merging.kept.borrow_mut().extend(commits.into_iter().cloned());
        Ok(())
    }

    fn differences(&self, one: &ObjectId, other: &ObjectId) -> Result<Option<Vec<String>>, Fault> {
        let (git, objects) = self.reading();
        if ![one, other].iter().all(|id| objects.has(id.as_str())) {
            // A candidate that another host has built.
            return Ok(None);
        }
        let args = ["diff-tree", "-r", "--no-renames", "--name-only", "-z", one.as_str(), other.as_str(), "--"];
        let listed = git.run(&args).map_err(|error| git_fault("comparing trees", error))?;
        Ok(Some(listed.split('\0').filter(|path| !path.is_empty()).map(str::to_owned).collect()))
    }

    fn changed_since(&self, base: &ObjectId, commit: &ObjectId) -> Result<Option<Change>, Fault> {
        let output = self.reading().0.output(["merge-base", "--all", base.as_str(), commit.as_str()]);
        let parted = output.map_err(|error| git_fault("comparing commits", error))?.stdout_text();
        let [parted] = parted.lines().collect::<Vec<_>>()[..] else { return Ok(None) };
        let (from, to) = (parse(parted)?, commit.clone());
        Ok(self.differences(&from, &to)?.map(|paths| Change { from, to, paths }))
    }

    fn undo(
        &self,
        tip: &ObjectId,
        between: (&ObjectId, &ObjectId),
        message: &str,
        at: Timestamp,
    ) -> Result<Undone, Fault> {
        let Merging { git, objects, .. } = self.merging()?;
        let undone = candidate::undo(git, objects, tip, between, (&self.author, message, at.as_secs()))?;
        if let Undone::Commit(commit) = &undone {
            self.keep(&[commit], &[tip.clone(), between.0.clone(), between.1.clone()])?;
        }
        Ok(undone)
    }

    fn branch_update(&self, branch: &Branch, commit: &ObjectId) -> Result<Option<RefUpdate>, Fault> {
        if self.truth == Truth::Local {
            return Ok(None);
        }
        let published = self.head(branch)?;
        if published.as_ref() == Some(commit) {
            return Ok(None);
        }
        if let Some(published) = &published
            && !self.contains(commit, published)?
            && !self.was_ours(branch, published)?
        {
            let what = format!("{branch} has commits at the remote that this clone's has not: merge {published} first");
            return Err(Fault::Environment { what });
        }
        Ok(Some(RefUpdate {
            name: branch_ref(branch),
            old: published.map(String::from),
            new: Some(commit.as_str().to_owned()),
        }))
    }

    fn lands_atomically(&self) -> bool {
        self.same_remote && self.not_atomic_file().is_some_and(|file| !file.exists())
    }

    #[expect(clippy::disallowed_methods, reason = "an adapter: it owns the files of the clone's state directory")]
    fn set_not_atomic(&self) {
        if let Some(file) = self.not_atomic_file() {
            // Only remembered to save a push that would be refused again.
            failpoint::reach("the mark of no atomic pushes");
            let _ = std::fs::write(file, b"");
        }
    }

    fn target_ref(&self, target: &Branch) -> String {
        branch_ref(target)
    }

    fn in_the_way(&self, branch: &Branch) -> Result<Option<String>, Fault> {
        let name = branch.as_str();
        let above: Vec<String> = name.match_indices('/').map(|(at, _)| format!("refs/heads/{}", &name[..at])).collect();
        let below = format!("refs/heads/{name}/");
        let there: Vec<String> = match &self.truth {
            Truth::Local => {
                let mut there: Vec<String> = self.refs.list(&below)?.into_iter().map(|(name, _)| name).collect();
                for name in &above {
                    there.extend(self.refs.read(name)?.map(|_| name.clone()));
                }
                there
            }
            Truth::Remote { name: remote, url } => {
                let all_below = format!("{below}*");
                let patterns: Vec<&str> = above.iter().chain([&all_below]).map(String::as_str).collect();
                let listed = self.git.list_remote(url, &patterns).map_err(|error| git_fault("listing refs", error))?;
                let listed = listed.map_err(|(cause, said)| transfer_fault(remote, cause, &said))?;
                listed.into_iter().map(|(name, _)| name).collect()
            }
        };
        // The server takes a pattern for the end of a name.
        let found = there.iter().find(|name| above.contains(name) || name.starts_with(&below));
        Ok(found.and_then(|name| name.strip_prefix("refs/heads/")).map(str::to_owned))
    }

    fn publish(&self, updates: &[RefUpdate]) -> Result<Outcome, Fault> {
        let Truth::Remote { name, url } = &self.truth else { return self.refs.transact(updates) };
        let report = self.git.push(url, updates, false, |name| tracking_ref(&self.truth, name));
        let report = report.map_err(|error| git_fault("pushing", error))?;
        for (update, outcome) in updates.iter().zip(&report.refs) {
            let ref_name = update.name.clone();
            match outcome {
                RefOutcome::Applied | RefOutcome::UpToDate => {}
                RefOutcome::Lost | RefOutcome::Skipped => return Ok(Outcome::Lost { ref_name }),
                RefOutcome::Locked(reason) => return Ok(Outcome::Locked { reason: reason.clone() }),
                RefOutcome::Refused(reason) => return Ok(Outcome::Refused { ref_name, reason: reason.clone() }),
                RefOutcome::Unknown if report.cause == Cause::Unclear => {
                    return Ok(Outcome::Unknown { reason: report.said.clone() });
                }
                RefOutcome::Unknown => return Err(transfer_fault(name, report.cause, &report.said)),
            }
        }
        self.applied(updates)?;
        Ok(Outcome::Applied)
    }

    fn move_target(&self, target: &Branch, from: &ObjectId, to: &ObjectId) -> Result<Outcome, Fault> {
        let update = RefUpdate {
            name: branch_ref(target),
            old: Some(from.as_str().to_owned()),
            new: Some(to.as_str().to_owned()),
        };
        match &self.truth {
            Truth::Local => self.move_checked_out(target, from, to, &update),
            Truth::Remote { .. } => self.publish(&[update]),
        }
    }

    fn note(&self, verdict: &VerdictRecord) -> Result<Option<RefUpdate>, Fault> {
        self.fetch(vec![VERDICT_NOTES.to_owned()])?;
        let old = self.refs.read(&tracking_ref(&self.truth, VERDICT_NOTES))?;
        let new = notes::write(&self.objects, &self.author, old.as_deref(), verdict)?;
        Ok(Some(RefUpdate { name: VERDICT_NOTES.to_owned(), old, new: Some(new) }))
    }

    fn applied(&self, updates: &[RefUpdate]) -> Result<(), Fault> {
        if self.truth == Truth::Local {
            return Ok(());
        }
        // So that `git log --notes=scrum/verdicts` shows them in this clone.
        match updates.iter().find(|update| update.name == VERDICT_NOTES).and_then(|update| update.new.as_ref()) {
            Some(new) => self.cache.set(VERDICT_NOTES, new),
            None => Ok(()),
        }
    }
}

impl GitCode {
    /// Whether this clone's branch once was at `commit`: then overwriting it loses nothing of anybody else's.
    fn was_ours(&self, branch: &Branch, commit: &ObjectId) -> Result<bool, Fault> {
        let output = self.git.output(["rev-list", "--walk-reflogs", &branch_ref(branch), "--"]);
        let output = output.map_err(|error| git_fault("reading a reflog", error))?;
        Ok(output.success() && output.stdout_text().lines().any(|line| line == commit.as_str()))
    }
}
