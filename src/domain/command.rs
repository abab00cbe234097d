//! Commands: everything that may be asked of a board, and what came of it.
//!
//! A command holds every value its decision depends on, down to the limits that were configured where it was given, so
//! that it can be applied by anybody, later, and replayed from the history with the same result.

use serde::{Deserialize, Serialize};

use super::claim::Overdue;
use super::train::{Batch, CarTask, Run, VerdictRecord, is_zero};
use super::{
    Branch, CarId, CheckName, Fence, Holder, Label, LockMode, ObjectId, OperationId, Pattern, Priority, Seconds, Size,
    TaskId, Team, TeamName, Timestamp,
};

/// One command with what identifies and dates it. Applying it twice changes nothing the second time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Operation {
    /// Random, chosen once by whoever asked.
    pub id: OperationId,
    /// Who asked.
    pub by: Holder,
    /// When, by their clock.
    pub at: Timestamp,
    /// How far clocks may differ: a lease has run out only when it has by this much.
    pub skew: Seconds,
    /// Grants that its asker had looked at and found to have run out, also by the heartbeats of their holders; whoever
    /// applies it takes back these and no others. `None`: nobody looked, as before there were heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdue: Option<Vec<Overdue>>,
    /// What is asked.
    pub command: Command,
}

/// A task to be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NewTask {
    /// Its id; `None`: the next free number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<TaskId>,
    /// One line that says what it is.
    pub title: String,
    /// How urgent it is.
    pub priority: Priority,
    /// What kind of work it is.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Label>,
    /// How much work it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Its labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// Tasks that must be finished first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<TaskId>,
    /// Paths it is expected to change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Pattern>,
    /// What is to be done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

/// Changes to a task; what is `None` or empty stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TaskEdit {
    /// A new title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// A new priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// A new kind.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Label>,
    /// A new size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Labels to add.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_labels: Vec<Label>,
    /// Labels to remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove_labels: Vec<Label>,
    /// Needs to add.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_needs: Vec<TaskId>,
    /// Needs to remove.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove_needs: Vec<TaskId>,
    /// The paths it has from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<Pattern>>,
    /// A new body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// Why a car leaves the train without landing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EjectCause {
    /// Its candidate failed its check.
    Failed,
    /// It cannot be merged with what is ahead of it.
    Conflict,
    /// Its test gave no verdict, again and again, or in time.
    NoVerdict,
    /// Its branch was moved or removed after it was submitted.
    Moved,
    /// The claim it was submitted under is gone.
    Stale,
    /// A car it needs has left.
    Dependency,
    /// The server refuses to have it on the target.
    Refused,
    /// Somebody took it out.
    Withdrawn,
}

impl EjectCause {
    /// Whether it counts as a failed attempt at the task.
    pub fn counts_as_failure(self) -> bool {
        matches!(self, EjectCause::Failed | EjectCause::Conflict | EjectCause::NoVerdict)
    }
}

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Command {
    /// Create the board, unless there is one.
    Init {
        /// The branch that work lands on when nobody says otherwise.
        target: Branch,
    },
    /// Add a task.
    Add(NewTask),
    /// Change a task.
    Edit {
        /// Which.
        task: TaskId,
        /// How.
        edit: TaskEdit,
    },
    /// Decide that a task will not be done.
    Cancel {
        /// Which.
        task: TaskId,
        /// Why.
        reason: Option<String>,
    },
    /// Queue a failed or cancelled task again.
    Reopen {
        /// Which.
        task: TaskId,
    },
    /// Hold a task back until somebody unblocks it.
    Block {
        /// Which.
        task: TaskId,
        /// Why.
        reason: String,
    },
    /// Let a task go that was held back.
    Unblock {
        /// Which.
        task: TaskId,
    },
    /// Take a task, or several.
    Claim {
        /// Which; `None`: the best.
        task: Option<TaskId>,
        /// For which team.
        team: Option<TeamName>,
        /// Only tasks with all of these labels.
        #[serde(default)]
        labels: Vec<Label>,
        /// How many at most.
        count: u32,
        /// For how long, unless renewed.
        lease: Seconds,
        /// The branch to work on, with `{id}` and `{team}` to be filled in.
        branch_template: String,
    },
    /// Keep a claim.
    Renew {
        /// The task.
        task: TaskId,
        /// The fence of the claim; `None`: whichever the asker holds.
        fence: Option<Fence>,
        /// For how long from now; `None`: as long as before.
        lease: Option<Seconds>,
    },
    /// Give a task back.
    Release {
        /// The task.
        task: TaskId,
        /// The fence of the claim; `None`: whichever the asker holds.
        fence: Option<Fence>,
        /// Why.
        reason: Option<String>,
        /// Take it from whoever holds it.
        #[serde(default)]
        force: bool,
    },
    /// Report that work on a task failed.
    Fail {
        /// The task.
        task: TaskId,
        /// The fence of the claim; `None`: whichever the asker holds.
        fence: Option<Fence>,
        /// Why.
        reason: String,
        /// After how many failures more than this the task is given up.
        retries_max: u32,
    },
    /// Report that a task is finished without a commit to land.
    Done {
        /// The task.
        task: TaskId,
        /// The fence of the claim; `None`: whichever the asker holds.
        fence: Option<Fence>,
    },
    /// Lock paths without a task.
    Lock {
        /// Which.
        patterns: Vec<Pattern>,
        /// Whether others may hold them too.
        mode: LockMode,
        /// For how long.
        lease: Seconds,
        /// Why.
        reason: Option<String>,
    },
    /// Give locked paths back.
    Unlock {
        /// Which; empty: all that the asker has locked.
        patterns: Vec<Pattern>,
        /// Take them from whoever holds them.
        #[serde(default)]
        force: bool,
    },
    /// Describe a team.
    AddTeam(Team),
    /// Forget a team.
    RemoveTeam {
        /// Its name.
        name: TeamName,
    },
    /// Put a commit into the train.
    Submit {
        /// The car's name.
        car: CarId,
        /// Where it is to land.
        target: Branch,
        /// The branch the commit is the head of.
        branch: Branch,
        /// The commit.
        commit: ObjectId,
        /// One line that says what it is.
        title: String,
        /// The task it does, with the fence of its claim (`None`: whichever the asker holds).
        task: Option<SubmittedTask>,
        /// How urgent it is; `None`: as urgent as its task.
        priority: Option<Priority>,
        /// Cars that must land first.
        #[serde(default)]
        after: Vec<CarId>,
        /// Cars that land by one move of the target or not at all, this one among them, in order; empty: it stands for
        /// itself, or with those that it was submitted with before.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        together: Vec<CarId>,
        /// Whether no other car is put into a batch with it; `None`: as it was, and at first that they are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        single: Option<bool>,
        /// Put it before all others, unless it is in the train already.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        first: bool,
    },
    /// Take a car out of the train.
    Eject {
        /// The train.
        target: Branch,
        /// The car.
        car: CarId,
        /// The commit it was seen with: a car that was submitted again since stays.
        commit: Option<ObjectId>,
        /// Why, as a kind.
        cause: EjectCause,
        /// Why, in words.
        reason: String,
        /// How long its holder has to rework it.
        lease: Seconds,
        /// After how many failures more than this its task is given up.
        retries_max: u32,
        /// The window of the train from now on; `None`: as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<u32>,
        /// After how many cars that failed, none landing in between, the train is paused; 0: never.
        #[serde(default, skip_serializing_if = "is_zero")]
        breaker: u32,
    },
    /// Stop a train from starting and landing anything, or what is not urgent.
    Pause {
        /// The train.
        target: Branch,
        /// Why.
        reason: String,
        /// Stop only what is less urgent than this; `None`: everything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        below: Option<Priority>,
    },
    /// Let a train go on.
    Resume {
        /// The train.
        target: Branch,
    },
    /// Approve of a car, or think better of it.
    Approve {
        /// The train.
        target: Branch,
        /// The car.
        car: CarId,
        /// The commit that was looked at: a car that was submitted again since is another.
        commit: ObjectId,
        /// Take the approval back.
        #[serde(default)]
        withdraw: bool,
    },
    /// Put a car first, with the cars it needs.
    Promote {
        /// The train.
        target: Branch,
        /// The car.
        car: CarId,
    },
    /// Ask for a test.
    StartRun {
        /// The train.
        target: Branch,
        /// The test.
        run: Run,
    },
    /// Ask for tests, and wait no more for others.
    ChangeRuns {
        /// The train.
        target: Branch,
        /// Tests to ask for.
        #[serde(with = "super::run_list")]
        start: Vec<Run>,
        /// The candidates of tests that are wanted no more.
        cancel: Vec<ObjectId>,
        /// Tests that nobody carries on: given up only as long as they are recorded just so.
        #[serde(default, with = "super::run_list", skip_serializing_if = "Vec::is_empty")]
        lost: Vec<Run>,
        /// Which cars are tested together from now on; absent: nothing is changed about that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        batches: Option<Vec<Batch>>,
        /// The check that the tests are of: no tree is tested that it has said something of by now. Absent: nobody
        /// looks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        check: Option<String>,
        /// What was said of a tree before this is forgotten. Absent: nothing is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kept_since: Option<Timestamp>,
    },
    /// Record what a test said.
    Verdict {
        /// The train.
        target: Branch,
        /// What it said.
        record: VerdictRecord,
        /// The cars that were in the candidate.
        cars: Vec<CarId>,
        /// Whether it only counts where a run is waiting for it.
        asked: bool,
        /// Where there are several checks, those that have to pass; the record says what some of all have said.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        required: Vec<CheckName>,
        /// What was said of a tree before this is forgotten. Absent: nothing is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kept_since: Option<Timestamp>,
    },
    /// Announce that the target is about to be moved.
    AnnounceLanding {
        /// The train.
        target: Branch,
        /// The cars that land, in order.
        cars: Vec<CarId>,
        /// Their commits, in the same order: a car that was submitted again since is another.
        commits: Vec<ObjectId>,
        /// Where the target is.
        from: ObjectId,
        /// Where it goes.
        to: ObjectId,
        /// The tree of that commit.
        tree: ObjectId,
        /// Where the target is after each of the cars.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        steps: Vec<ObjectId>,
        /// How many approvals each car needs.
        #[serde(default, skip_serializing_if = "is_zero")]
        approvals: u32,
    },
    /// Take an announcement back, because the target went elsewhere.
    AbandonLanding {
        /// The train.
        target: Branch,
        /// Where the target was to go.
        to: ObjectId,
    },
    /// Record that cars have landed: published together with the target's move, or after it was announced.
    Land {
        /// The train.
        target: Branch,
        /// The cars, in order.
        cars: Vec<CarId>,
        /// Their commits, in the same order: a car that was submitted again since is another.
        commits: Vec<ObjectId>,
        /// Where the target was.
        from: ObjectId,
        /// Where it is.
        to: ObjectId,
        /// The tree that was tested; `None` for cars that were found on the target already.
        tree: Option<ObjectId>,
        /// Where the target was after each of the cars, in the same order; without it, all of them land as `to`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        steps: Vec<ObjectId>,
        /// How many approvals each car needs, unless it was found on the target already.
        #[serde(default, skip_serializing_if = "is_zero")]
        approvals: u32,
        /// The window of the train from now on; `None`: as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        window: Option<u32>,
    },
}

/// The task that a submission does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SubmittedTask {
    /// Its id.
    pub id: TaskId,
    /// The fence of its claim; `None`: whichever the asker holds.
    pub fence: Option<Fence>,
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Outcome {
    /// The rules said no; why, they say again. Kept only where somebody else might have turned the no into a yes.
    Refused,
    /// The board exists; whether this operation created it.
    Board {
        /// Whether it was created just now.
        created: bool,
    },
    /// A task was added or changed.
    Task {
        /// Which.
        task: TaskId,
    },
    /// Tasks were claimed; the grants are on the board.
    Claimed {
        /// Which tasks.
        tasks: Vec<TaskId>,
        /// Under which fences.
        fences: Vec<Fence>,
        /// Tasks whose claims had run out and were taken back first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        expired: Vec<TaskId>,
    },
    /// A claim was renewed.
    Renewed {
        /// The task.
        task: TaskId,
        /// Its fence.
        fence: Fence,
        /// Until when.
        until: Timestamp,
    },
    /// A task went back to the queue, or was given up.
    Returned {
        /// The task.
        task: TaskId,
        /// Whether it was given up.
        given_up: bool,
    },
    /// A task was finished.
    Finished {
        /// The task.
        task: TaskId,
        /// Tasks that may start now.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unblocked: Vec<TaskId>,
    },
    /// Paths were locked.
    Locked {
        /// Under which fence.
        fence: Fence,
        /// Until when.
        until: Timestamp,
    },
    /// Paths were unlocked.
    Unlocked {
        /// Which.
        patterns: Vec<Pattern>,
    },
    /// A team was described or forgotten.
    Team {
        /// Which.
        name: TeamName,
    },
    /// A car is in the train.
    Submitted {
        /// Which.
        car: CarId,
        /// Its position.
        position: u64,
        /// Whether it was there already, with the same commit.
        again: bool,
    },
    /// Cars left the train.
    Ejected {
        /// Which: the one that was named, and those that need it.
        cars: Vec<CarId>,
    },
    /// A car has so many approvals.
    Approved {
        /// How many, for its present commit.
        approvals: u32,
        /// Whether anything changed.
        changed: bool,
    },
    /// Cars go first.
    Promoted {
        /// Which, in the order in which they land: those that the named one needs, and itself.
        cars: Vec<CarId>,
        /// Whether anything changed.
        changed: bool,
    },
    /// A train was changed, or was as asked already.
    Train {
        /// Whether anything changed.
        changed: bool,
    },
    /// Tests were asked for, and others are waited for no more.
    Runs {
        /// The candidates of those that were asked for, and were not before.
        started: Vec<ObjectId>,
        /// The candidates of those that were waited for until now.
        cancelled: Vec<ObjectId>,
    },
    /// A verdict was taken in, or was of no use.
    Verdict {
        /// Whether it was of use.
        applied: bool,
    },
    /// Cars landed.
    Landed {
        /// Which.
        cars: Vec<CarId>,
        /// Tasks that may start now.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unblocked: Vec<TaskId>,
    },
}

impl Outcome {
    /// What came of the same command twice, `first` and then this: whether either changed anything.
    pub fn after(self, first: &Outcome) -> Outcome {
        let did = match first {
            Outcome::Approved { changed, .. } | Outcome::Promoted { changed, .. } | Outcome::Train { changed } => {
                *changed
            }
            _ => false,
        };
        match self {
            Outcome::Approved { approvals, changed } => Outcome::Approved { approvals, changed: changed || did },
            Outcome::Promoted { cars, changed } => Outcome::Promoted { cars, changed: changed || did },
            Outcome::Train { changed } => Outcome::Train { changed: changed || did },
            other => other,
        }
    }
}

impl From<(&TaskId, Fence)> for CarTask {
    fn from((id, fence): (&TaskId, Fence)) -> CarTask {
        CarTask { id: id.clone(), fence }
    }
}
