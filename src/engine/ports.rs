//! What the engine needs from outside, as traits.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::domain::planner::{Candidate, Method};
use crate::domain::{Branch, Car, Fence, ObjectId, Seconds, TaskId, Timestamp, VerdictRecord};
use crate::ledger::{Fault, Outcome, Pace, RefUpdate};

/// The machine: its clock, its randomness, its patience.
pub trait Host: Pace {
    /// The present time.
    fn now(&self) -> Timestamp {
        Timestamp::from_secs(self.now_secs())
    }
}

/// The code of the repository: branches and commits, as opposed to the ledgers.
pub trait Code {
    /// Asks the truth for the heads of `branches`. Branches that do not exist are no error.
    fn refresh(&self, branches: &[Branch]) -> Result<(), Fault>;
    /// The head of a branch, as the truth had it when last asked.
    fn head(&self, branch: &Branch) -> Result<Option<ObjectId>, Fault>;
    /// The branches whose full names begin with `prefix`, which ends with a slash, and their heads: at the truth if
    /// that is to be asked, or else as this clone last set or saw them. What it saw and is not there any more is
    /// forgotten then.
    fn listed(&self, prefix: &str, ask: bool) -> Result<BTreeMap<String, ObjectId>, Fault>;
    /// The head of a branch in this clone.
    fn local_head(&self, branch: &Branch) -> Result<Option<ObjectId>, Fault>;
    /// Paths with changes that are in no commit, in the worktree that has `branch` checked out, if one has.
    fn uncommitted(&self, branch: &Branch) -> Result<Vec<String>, Fault>;
    /// The first line of a commit's message.
    fn subject(&self, commit: &ObjectId) -> Result<String, Fault>;
    /// Whether `commit` is an ancestor of `tip`, or `tip` itself.
    fn contains(&self, tip: &ObjectId, commit: &ObjectId) -> Result<bool, Fault>;
    /// Puts the car on `base` in the way of `method`, by git's own merge: into commits that are the same wherever they
    /// are built.
    fn candidate(&self, base: &ObjectId, car: &Car, method: Method) -> Result<Candidate, Fault>;
    /// Keeps candidates, with all that they have and `known` have not, as others will need them: up to then they are
    /// gone with the process that has built them.
    fn keep(&self, commits: &[&ObjectId], known: &[ObjectId]) -> Result<(), Fault>;
    /// A file of a commit, if there is one; [`Fault::TooLarge`] where it has more than `bytes_max` bytes.
    fn file(&self, commit: &ObjectId, path: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, Fault>;
    /// The paths in which two commits or trees differ; `None` where one of them is not here.
    fn differences(&self, one: &ObjectId, other: &ObjectId) -> Result<Option<Vec<String>>, Fault>;
    /// What `commit` changed since it parted from `base`; `None` where they have not parted at one place.
    fn changed_since(&self, base: &ObjectId, commit: &ObjectId) -> Result<Option<Change>, Fault>;
    /// A commit on `tip` that takes back what came between two commits, the older one first.
    fn undo(
        &self,
        tip: &ObjectId,
        between: (&ObjectId, &ObjectId),
        message: &str,
        at: Timestamp,
    ) -> Result<Undone, Fault>;
    /// The update that publishes the head of a branch of this clone: it goes along with the ledger's.
    fn branch_update(&self, branch: &Branch, commit: &ObjectId) -> Result<Option<RefUpdate>, Fault>;
    /// Whether the code and the ledger live on one remote that moves several refs in one push.
    fn lands_atomically(&self) -> bool;
    /// Remembers that it does not.
    fn set_not_atomic(&self);
    /// The full name of the ref that landing on `target` moves.
    fn target_ref(&self, target: &Branch) -> String;
    /// The branch at the truth for which there cannot be one of this name: a part of it, or one below it.
    fn in_the_way(&self, branch: &Branch) -> Result<Option<String>, Fault>;
    /// Moves refs of the code, each by itself, in one push.
    fn publish(&self, updates: &[RefUpdate]) -> Result<Outcome, Fault>;
    /// Moves a target by itself, and a worktree of this clone that has it checked out with it.
    fn move_target(&self, target: &Branch, from: &ObjectId, to: &ObjectId) -> Result<Outcome, Fault>;
    /// Attaches a verdict to the tested commit: the update of the notes' ref that goes along with the ledger's.
    fn note(&self, verdict: &VerdictRecord) -> Result<Option<RefUpdate>, Fault>;
    /// Learns that updates which went along with the ledger's were applied.
    fn applied(&self, updates: &[RefUpdate]) -> Result<(), Fault>;
}

/// A change from one commit to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What was there before it.
    pub from: ObjectId,
    /// What is there after it.
    pub to: ObjectId,
    /// The paths in which the two differ.
    pub paths: Vec<String>,
}

/// What became of taking something back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// This commit does it.
    Commit(ObjectId),
    /// There was nothing left of it.
    Nothing,
    /// What it changed was changed since.
    Conflict {
        /// Where.
        paths: Vec<String>,
    },
}

/// Looks at work that has not landed: where it is, and what of it would collide.
pub trait Radar {
    /// Where branches and the saved work of claims are: at the truth, whose commits are brought here, if that is to be
    /// asked; or else as it was last seen.
    fn look(&self, branches: &[Branch], claims: &[(TaskId, Fence)], ask: bool) -> Result<Sighted, Fault>;
    /// All branches where the code is, and their heads: as the truth has them, if that is to be asked; or else as an
    /// ordinary fetch has brought them.
    fn branches(&self, ask: bool) -> Result<Vec<(Branch, ObjectId)>, Fault>;
    /// Those of `branches` that hold what `base` has not, the newest first, and how many more there may be. What is not
    /// here yet counts for newest, and is brought here if the truth may be asked; so many branches at most.
    fn not_in(
        &self,
        base: &ObjectId,
        branches: Vec<(Branch, ObjectId)>,
        count_max: usize,
        ask: bool,
    ) -> Result<(Vec<(Branch, ObjectId)>, usize), Fault>;
    /// Whether a commit is here.
    fn has(&self, commit: &ObjectId) -> bool;
    /// What comes of merging the second commit of each pair into the first, by git's own merge, under the attributes of
    /// `target`. Nothing is written into the repository. All commits must be here.
    fn clashes(&self, target: &ObjectId, pairs: &[(ObjectId, ObjectId)]) -> Result<Clashes, Fault>;
    /// What came of each of `pairs` when this clone merged them last, whatever has been set otherwise since: a hint.
    /// `None` also where it has not.
    fn clashed(&self, pairs: &[(ObjectId, ObjectId)]) -> Vec<Option<Clash>>;
    /// The paths that each of `commits` has changed since it parted from all `targets`, in order: a hint. Those that
    /// are not found `within` a time, or are too many, are left out. All commits must be here.
    fn changes(&self, targets: &[ObjectId], commits: &[ObjectId], within: Duration) -> Vec<Vec<String>>;
}

/// Where work was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sighted {
    /// The heads of branches that are there.
    pub heads: BTreeMap<Branch, ObjectId>,
    /// Those that an ordinary fetch has brought, where the truth was not asked: nobody says which are newer.
    pub fetched: BTreeMap<Branch, ObjectId>,
    /// The heads of branches of this clone.
    pub local: BTreeMap<Branch, ObjectId>,
    /// The saved work of claims that have any.
    pub saved: BTreeMap<Fence, ObjectId>,
}

/// A merge that git would stop at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// Where; a bounded number of paths, in the order in which git names them. Git may name none.
    pub paths: Vec<String>,
}

/// What comes of merging pairs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clashes {
    /// For each pair how it clashes; `None` where it merges.
    pub answers: Vec<Option<Clash>>,
    /// How many were known from earlier.
    pub known: usize,
    /// How many cannot clash, by the paths they change.
    pub ruled_out: usize,
    /// How many were merged.
    pub merged: usize,
}

/// What a check said of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// The exit code; `None` when it was killed.
    pub code: Option<i32>,
    /// Whether it was killed because its time was up.
    pub timed_out: bool,
    /// The end of what it printed.
    pub output: String,
    /// How long it took.
    pub took: Duration,
}

/// A program of the repository's that says what a change affects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analyser {
    /// The program and its arguments.
    pub run: Vec<String>,
    /// How long it may take for one change.
    pub timeout: Seconds,
}

/// Runs checks, and what else a repository has to say by a program.
pub trait Checks {
    /// A test that this process has begun.
    type Test;

    /// Runs `argv` in a scratch worktree of `commit`. The worktree is gone afterwards.
    fn run(&self, commit: &ObjectId, argv: &[String], timeout: Duration) -> Result<CheckResult, Fault>;
    /// Notes in this clone that this process tests `commit` for the train of `target`, until [`Checks::end`]. A process
    /// that ends without leaves the test.
    fn begin(&self, target: &Branch, commit: &ObjectId) -> Result<Self::Test, Fault>;
    /// Notes that it does so no more.
    fn end(&self, test: Self::Test);
    /// Whether a process of this clone left its test of `commit` for the train of `target`.
    fn was_left(&self, target: &Branch, commit: &ObjectId) -> bool;
    /// What each of `changes` affects, as an analyser says in a scratch worktree of `trusted`; or why it says nothing
    /// that can be believed. It is asked once of each change; without `run`, what it was not asked stays unanswered.
    fn affected(
        &self,
        trusted: &ObjectId,
        analyser: &Analyser,
        changes: &[Change],
        run: bool,
    ) -> Vec<Result<BTreeSet<String>, String>>;
}
