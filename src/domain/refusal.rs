//! Refusals: the rules say no, with the facts that a person needs to understand it.

use super::{CarId, Fence, Holder, IdError, ObjectId, Pattern, TaskId, TaskState, TeamName, Timestamp};

/// Why the rules say no. Every variant carries the facts; how it is worded for users is the command line's business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no board yet.
    NoBoard,
    /// There is no such task.
    NoSuchTask(TaskId),
    /// The id is taken.
    TaskExists(TaskId),
    /// There is no such team.
    NoSuchTeam(TeamName),
    /// There is no such car in the train.
    NoSuchCar(CarId),
    /// These tasks would wait for each other: each needs the next, and the first is named again at the end.
    Cycle(Vec<TaskId>),
    /// The task is in a state in which this cannot be done.
    WrongState {
        /// The task.
        task: TaskId,
        /// Its state.
        state: TaskState,
        /// What was to be done with it.
        wanted: &'static str,
        /// Why it is in that state, or what it waits for.
        reason: Option<String>,
    },
    /// Somebody else holds it.
    Held {
        /// The task.
        task: TaskId,
        /// Who.
        holder: Holder,
        /// The fence of their claim.
        fence: Fence,
        /// Until when; `None` while it is in the train.
        until: Option<Timestamp>,
    },
    /// The fence that was named is not that of the present claim.
    StaleFence {
        /// The task.
        task: TaskId,
        /// The fence that was named.
        named: Fence,
        /// Who holds it now, with their fence, if anybody does.
        present: Option<(Holder, Fence, Option<Timestamp>)>,
    },
    /// Paths are locked by somebody else.
    Locked {
        /// The pattern that was wanted.
        wanted: Pattern,
        /// The pattern that stands in its way.
        held: Pattern,
        /// Whose it is.
        holder: Holder,
        /// The task it was locked for.
        task: Option<TaskId>,
        /// Until when; `None` while the task is in the train.
        until: Option<Timestamp>,
    },
    /// The holder has no lock on that pattern.
    NotLocked(Pattern),
    /// The team has as much work as it takes.
    AtCapacity {
        /// The team.
        team: TeamName,
        /// How many tasks it works on at once.
        capacity: u32,
    },
    /// There is nothing that may be claimed.
    NothingToClaim(Vec<Skipped>),
    /// A text or list is too long.
    TooLarge {
        /// What.
        what: &'static str,
        /// How long it is.
        size: usize,
        /// How long it may be.
        size_max: usize,
    },
    /// A text is not what it must be.
    BadText {
        /// What.
        what: &'static str,
        /// The rule it breaks.
        rule: &'static str,
    },
    /// The commit is on the target already.
    AlreadyLanded {
        /// The car.
        car: CarId,
        /// Its commit.
        commit: ObjectId,
    },
    /// Who submitted a car has nothing to say on whether it may land.
    OwnCar(CarId),
    /// The train is not what the caller saw: it must look again.
    TrainChanged(String),
}

/// A task that was passed over, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The task.
    pub task: TaskId,
    /// Why.
    pub reason: String,
    /// Who stands in the way, if anybody.
    pub holder: Option<Holder>,
}

/// Why a rule stopped: it says no, or the board could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop<F> {
    /// The rules say no.
    Refused(Refusal),
    /// The board could not be read.
    Fault(F),
}

impl<F> From<F> for Stop<F> {
    fn from(fault: F) -> Self {
        Stop::Fault(fault)
    }
}

impl From<&IdError> for Refusal {
    fn from(error: &IdError) -> Self {
        Refusal::BadText { what: error.what, rule: error.rule }
    }
}
