//! Entries of project memory as records.

use std::ops::ControlFlow;

use super::{decode, encode, keys};
use crate::domain::OperationId;
use crate::domain::memory::Entry;
use crate::ledger::{Fault, Key, Snapshot, Store};

/// The key of an entry.
pub fn entry_key(id: &OperationId) -> Key {
    keys::entry(id)
}

/// The record of an entry.
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    encode("a memory entry", entry)
}

/// The entry of a record.
pub fn decode_entry(key: &str, bytes: &[u8]) -> Result<Entry, Fault> {
    decode(key, bytes)
}

/// Visits every entry of memory, by id.
pub fn for_each_entry<S: Store>(snapshot: &Snapshot<'_, S>, mut visit: impl FnMut(Entry)) -> Result<(), Fault> {
    let mut fault = None;
    snapshot.scan(keys::ENTRIES, &mut |key, value| match decode_entry(key, value) {
        Ok(entry) => {
            visit(entry);
            ControlFlow::Continue(())
        }
        Err(unreadable) => {
            fault = Some(unreadable);
            ControlFlow::Break(())
        }
    })?;
    fault.map_or(Ok(()), Err)
}
