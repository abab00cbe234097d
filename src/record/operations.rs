//! The operations of a commit, kept in its tree: what was asked, by whom, when, and what came of it.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::{decode, encode, keys};
use crate::domain::{Operation, Outcome};
use crate::ledger::{Batch, Fault, Key, Snapshot, Store};

/// An operation that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// What was asked.
    pub operation: Operation,
    /// What came of it.
    pub outcome: Outcome,
}

/// Adds the operations to the batch of the commit that applies them, in place of those of the commit before it.
pub fn encode_operations<S: Store>(
    before: Option<&Snapshot<'_, S>>,
    applied: &[Recorded],
    batch: &mut Batch,
) -> Result<(), Fault> {
    if let Some(before) = before {
        before.scan(keys::OPERATIONS, &mut |key, _| {
            batch.delete(Key::new(key));
            ControlFlow::Continue(())
        })?;
    }
    for (nth, recorded) in applied.iter().enumerate() {
        batch.put(keys::operation(nth), encode("an operation", recorded));
    }
    Ok(())
}

/// The operations that the commit of `snapshot` applied, in order.
pub fn recorded_operations<S: Store>(snapshot: &Snapshot<'_, S>) -> Result<Vec<Recorded>, Fault> {
    let mut recorded = Vec::new();
    let mut fault = None;
    snapshot.scan(keys::OPERATIONS, &mut |key, value| match decode(key, value) {
        Ok(operation) => {
            recorded.push(operation);
            ControlFlow::Continue(())
        }
        Err(unreadable) => {
            fault = Some(unreadable);
            ControlFlow::Break(())
        }
    })?;
    fault.map_or(Ok(recorded), Err)
}
