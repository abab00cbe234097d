//! The machine behind the engine's ports: its clock and randomness, its files, worktrees and processes.
//!
//! Guarantees: work that is in no commit is saved before its worktree is removed; a check leaves nothing behind, and
//! nothing of it outlives its time, or the pass; an operation whose process was killed is found by the next one.

mod analysis;
mod check;
pub mod guard;
mod host;
mod journal;
mod lock_files;
mod spent;
mod wip;
mod worktree;

pub use check::ScratchChecks;
pub use host::SystemHost;
pub use journal::{ClaimFile, FileJournal, KnownClaims, unnamed_file};
pub use lock_files::{LockFile, LockFiles};
pub use spent::Spent;
pub use worktree::{Removed, Worktree, Worktrees};
