//! Entries of project memory as records.

use super::keys;
use super::shelf::{Shelved, Shelves, spread};
use crate::domain::OperationId;
use crate::domain::memory::Entry;
use crate::ledger::{Batch, Fault, Snapshot, Store};

impl Shelved for Entry {
    fn shelf_key(&self) -> String {
        spread(self.id.as_str())
    }
}

/// The batch that adds or replaces entries.
pub fn put_entries<S: Store>(
    snapshot: Option<&Snapshot<'_, S>>,
    entries: impl IntoIterator<Item = Entry>,
) -> Result<Batch, Fault> {
    let mut shelves = Shelves::default();
    for entry in entries {
        shelves.edit(keys::entries().shelf(entry.id.as_str()), entry.shelf_key(), Some(entry));
    }
    let mut batch = Batch::default();
    shelves.write(snapshot, &mut batch)?;
    Ok(batch)
}

/// The entry with this id.
pub fn find_entry<S: Store>(snapshot: &Snapshot<'_, S>, id: &OperationId) -> Result<Option<Entry>, Fault> {
    keys::entries().shelf(id.as_str()).find(snapshot, &spread(id.as_str()))
}

/// Visits every entry of memory, in no order that means anything.
pub fn for_each_entry<S: Store>(snapshot: &Snapshot<'_, S>, mut visit: impl FnMut(Entry)) -> Result<(), Fault> {
    keys::entries().each(snapshot, |entry| {
        visit(entry);
        Ok(())
    })
}
