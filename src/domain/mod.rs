//! The rules: what tasks, claims, locks, teams, trains and memory are, and what may happen to them.
//!
//! Everything here is pure and total: no input or output, no clock, no randomness, no order that depends on hashing.
//! Time and ids come in as values. [`decide`](rules::decide) takes a board and a command and gives the changes and the
//! outcome, or a refusal with the facts behind it; nothing is written here. The same code runs in the program, in the
//! simulator and when a board's history is replayed.

pub mod board;
pub mod claim;
pub mod command;
pub mod holds;
pub mod id;
pub mod independence;
pub mod invariants;
pub mod lanes;
mod log_line;
pub mod memory;
pub mod pattern;
pub mod planner;
pub mod refusal;
pub mod rules;
mod run_list;
pub mod task;
pub mod team;
pub mod time;
pub mod train;
pub mod whatif;

pub use board::{Board, Changes, Counters, Draft};
pub use claim::{Beats, Claim, Fence, Grant, LockMode, Overdue, PathLock};
pub use command::{Command, Operation, Outcome};
pub use id::{Branch, CarId, CheckName, Holder, IdError, Label, ObjectId, OperationId, TaskId, TeamName};
pub use pattern::Pattern;
pub use refusal::{Refusal, Stop};
pub use task::{Priority, Size, Summary, Task, TaskState};
pub use team::Team;
pub use time::{Seconds, Timestamp};
pub use train::{Batch, Car, CarState, Run, RunState, Tally, Train, Verdict, VerdictRecord};
