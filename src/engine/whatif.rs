//! What a board's history says of a train, for the question how it would have fared under other settings.
//!
//! Guarantees: reads only what this clone has seen. Must not know what is made of it: `domain::whatif` does.

use crate::domain::board::Board;
use crate::domain::whatif::History;
use crate::domain::{Branch, Command, Operation};
use crate::ledger::{Fault, Snapshot, Store, in_person};
use crate::record::{LedgerBoard, recorded_operations};

/// The most versions that are looked at, the latest of all.
const VERSIONS_MAX: usize = 50_000;

/// The history of the train of `target`, as far as the versions of the board are there in person.
///
/// # Errors
/// Where a version cannot be read.
pub fn train_history<S: Store>(store: &S, target: &Branch) -> Result<History, Fault> {
    let chain = store.cached()?.map_or(Ok(Vec::new()), |tip| store.history(&tip, None, VERSIONS_MAX))?;
    let mut history = History::new(target.clone());
    for entry in chain[..in_person(&chain)].iter().rev() {
        let snapshot = Snapshot::new(store, entry.version.clone());
        for mut recorded in recorded_operations(&snapshot)? {
            complete(&mut recorded.operation, &LedgerBoard::new(Some(&snapshot)))?;
            history.note(&recorded.operation, &recorded.outcome);
        }
    }
    Ok(history)
}

/// A submission that names no priority has that of its task: the car in the version that it made has it.
fn complete<B: Board<Fault = Fault>>(operation: &mut Operation, board: &B) -> Result<(), Fault> {
    if let Command::Submit { target, car, priority: priority @ None, .. } = &mut operation.command {
        *priority = board.car(target, car)?.map(|car| car.priority);
    }
    Ok(())
}
