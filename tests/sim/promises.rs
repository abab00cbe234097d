//! What processes told whoever asked: the promises that the checkers hold the board to.

use git_scrum::domain::{Command, Fence, Holder, OperationId, Outcome};
use git_scrum::ledger::Version;

/// One answer that reached somebody.
pub enum Promise {
    /// It was done.
    Done {
        /// Who was told.
        by: Holder,
        /// The operations that may have done it.
        begun: Vec<OperationId>,
        /// The outcome they were told.
        outcome: Outcome,
        /// The version they were told it holds in, where they were told one.
        version: Option<Version>,
        /// Whether the board was not to be relied on all the while.
        blind: bool,
    },
    /// It was not done, and never will be by these operations.
    Denied {
        /// Who was told.
        by: Holder,
        /// The operations that must not be applied.
        begun: Vec<OperationId>,
        /// Why, as they were told.
        why: String,
        /// Whether the server was asked.
        asked: bool,
        /// As above.
        blind: bool,
    },
    /// An operation was done or refused, whichever it was.
    Settled {
        /// Who was told.
        by: Holder,
    },
    /// It is asked for again, and may be done again.
    TakenUp {
        /// The operation.
        id: OperationId,
    },
    /// Nobody knows whether it was done.
    Unknown {
        /// Who was told.
        by: Holder,
        /// The operation.
        id: OperationId,
    },
    /// A claim is over.
    Lost {
        /// Who was told.
        by: Holder,
        /// The fence of that claim.
        fence: Fence,
    },
    /// An entry is in memory.
    Remembered(OperationId),
}

/// The promises of a run.
#[derive(Default)]
pub struct Promises {
    /// Those that no checker has looked at yet.
    pub fresh: Vec<Promise>,
    /// Requests of killed processes that were too old to be taken up: asked again, they are new.
    pub forgotten: Vec<String>,
    /// Answers that nobody should ever get.
    pub broken: Vec<String>,
}

/// What a command is called in the tally.
pub fn verb(command: &Command) -> &'static str {
    match command {
        Command::Claim { task: Some(_), .. } => "claim by id",
        Command::Claim { count: 1, .. } => "claim",
        Command::Claim { .. } => "claim several",
        command => command.verb(),
    }
}
