//! The operations of a commit, kept in its tree: what was asked, by whom, when, and what came of it.

use serde::{Deserialize, Serialize};

use super::shelf::{Together, text_among};
use super::{decode, keys, versioned};
use crate::domain::{Operation, Outcome};
use crate::ledger::{Batch, Fault, Snapshot, Store, VALUE_BYTES_MAX};

/// An operation that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// What was asked.
    pub operation: Operation,
    /// What came of it.
    pub outcome: Outcome,
}

/// How much of a record operations may fill, with room for what every record has.
const OPERATIONS_BYTES_MAX: usize = VALUE_BYTES_MAX - 64;

/// Adds the operations to the batch of the commit that applies them, in place of those of the commit before it: as few
/// records as they fit into.
pub fn encode_operations<S: Store>(
    before: Option<&Snapshot<'_, S>>,
    applied: &[Recorded],
    batch: &mut Batch,
) -> Result<(), Fault> {
    let mut records: Vec<String> = Vec::new();
    for recorded in applied {
        let text = text_among(recorded)?;
        match records.last_mut().filter(|record| record.len() + text.len() <= OPERATIONS_BYTES_MAX) {
            Some(record) => *record = format!("{record}\n{text}"),
            None => records.push(text),
        }
    }
    for (nth, record) in records.iter().enumerate() {
        let key = keys::operations(nth);
        let value = versioned(key.as_str(), record)?;
        batch.put(key, value);
    }
    if let Some(before) = before {
        let mut nth = records.len();
        while before.get(&keys::operations(nth))?.is_some() {
            batch.delete(keys::operations(nth));
            nth += 1;
        }
    }
    Ok(())
}

/// The operations that the commit of `snapshot` applied, in order.
pub fn recorded_operations<S: Store>(snapshot: &Snapshot<'_, S>) -> Result<Vec<Recorded>, Fault> {
    let mut recorded = Vec::new();
    for nth in 0.. {
        let key = keys::operations(nth);
        let Some(value) = snapshot.get(&key)? else { break };
        let together: Together<Recorded> = decode(key.as_str(), &value)?;
        if together.record.is_empty() {
            return Err(Fault::integrity(format!("{key} holds nothing")));
        }
        recorded.extend(together.record);
    }
    Ok(recorded)
}
