//! Which operations of this clone are under way, so that one whose process was killed is found again.
//!
//! An operation whose answer never reached anybody may have been applied. The next invocation that asks the same takes
//! over its id, so that the operation is applied once and its answer is delivered after all. Beside that it counts what
//! operations cost.

use crate::domain::OperationId;
use crate::ledger::{Fault, Version};

/// An operation of a process that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumed {
    /// Its id.
    pub id: OperationId,
    /// The version before which it cannot have been applied, where that is known.
    pub base: Option<Version>,
}

/// Remembers operations under way. Entries outlive the process that made them, until they are delivered.
pub trait Journal {
    /// Notes that `id` is about to be tried on `base` to do what `request` says. Where an earlier process noted the
    /// same request and is gone, gives that operation to be resumed, in place of `id`.
    fn begin(&self, id: &OperationId, request: &str, base: Option<&Version>) -> Result<Option<Resumed>, Fault>;

    /// Forgets every operation that this process began: their answers have reached whoever asked.
    fn delivered(&self);

    /// Notes that an operation which came to an answer took so many pushes.
    fn spent(&self, pushes: u32) {
        let _ = pushes;
    }

    /// Notes that a heartbeat was sent.
    fn beaten(&self) {}
}

/// A journal that remembers nothing: for callers that live as long as what they ask.
pub struct NoJournal;

impl Journal for NoJournal {
    fn begin(&self, _: &OperationId, _: &str, _: Option<&Version>) -> Result<Option<Resumed>, Fault> {
        Ok(None)
    }

    fn delivered(&self) {}
}
