//! Looking back: whether every version of the board is what its operations make of the version before it.
//!
//! Every version holds the operations it applied with their outcomes, and the rules are pure; so what a version ought
//! to be can be worked out again. Guarantees: a version whose operations do not give its content, whoever wrote it, is
//! found and named.

use crate::domain::board::Draft;
use crate::domain::{Outcome, Stop, rules};
use crate::ledger::{Batch, ChainEntry, Fault, Message, Snapshot, Store, Version};
use crate::record::{LedgerBoard, encode_changes, encode_operations, recorded_operations};

/// A version that is not what its operations give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Astray {
    /// The version.
    pub version: Version,
    /// What is wrong with it.
    pub what: String,
}

/// Checks every version that this clone has seen, the oldest first. Gives how many there are, and the first that is
/// astray. `makes` tells whether a version is what a batch makes of its parent, and nothing else.
///
/// # Errors
/// Only where a version before the first wrong one cannot be read for other reasons than its content.
pub fn verify<S: Store>(
    store: &S,
    makes: impl Fn(Option<&Version>, &Batch, &Version) -> Result<bool, Fault>,
) -> Result<(usize, Option<Astray>), Fault> {
    let chain = store.cached()?.map_or(Ok(Vec::new()), |tip| store.history(&tip, None, usize::MAX))?;
    for entry in chain.iter().rev() {
        let what = match verify_one(store, entry, &makes) {
            Ok(what) => what,
            Err(Fault::Integrity { what }) => Some(what),
            Err(fault) => return Err(fault),
        };
        if let Some(what) = what {
            return Ok((chain.len(), Some(Astray { version: entry.version.clone(), what })));
        }
    }
    Ok((chain.len(), None))
}

fn verify_one<S: Store>(
    store: &S,
    entry: &ChainEntry,
    makes: &impl Fn(Option<&Version>, &Batch, &Version) -> Result<bool, Fault>,
) -> Result<Option<String>, Fault> {
    let parent = entry.parent.clone().map(|parent| Snapshot::new(store, parent));
    let recorded = recorded_operations(&Snapshot::new(store, entry.version.clone()))?;
    let held = recorded.iter().map(|recorded| recorded.operation.id.as_str());
    if !held.eq(Message::operations_in(&entry.message)) {
        return Ok(Some("its message names other operations than it holds".to_owned()));
    }
    let board = LedgerBoard::new(parent.as_ref());
    let mut draft = Draft::new(&board);
    for recorded in &recorded {
        let id = &recorded.operation.id;
        match rules::decide(&draft, &recorded.operation) {
            Ok((changes, outcome)) if outcome == recorded.outcome => draft.absorb(changes),
            Err(Stop::Refused(_)) if recorded.outcome == Outcome::Refused => {}
            Ok((_, outcome)) => return Ok(Some(format!("operation {id} would have another outcome: {outcome:?}"))),
            Err(stop) => return Ok(Some(format!("the rules do not allow operation {id}: {stop:?}"))),
        }
    }
    let mut batch = encode_changes(&board, &draft.into_changes())?;
    encode_operations(parent.as_ref(), &recorded, &mut batch)?;
    let same = makes(entry.parent.as_ref(), &batch, &entry.version)?;
    Ok((!same).then(|| "its records are not what its operations give".to_owned()))
}
