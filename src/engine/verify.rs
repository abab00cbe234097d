//! Looking back: whether every version of the board is what its operations make of the version before it.
//!
//! Every version holds the operations it applied with their outcomes, and the rules are pure; so what a version ought
//! to be can be worked out again, from the last checkpoint on. Guarantees: a version whose operations do not give its
//! content, whoever wrote it, is found and named; so is a checkpoint that does not hold what it replaced, or names
//! other versions, where those can still be had.

use crate::domain::board::Draft;
use crate::domain::{Outcome, Stop, rules};
use crate::ledger::{Batch, ChainEntry, Fault, Message, Snapshot, Store, Version, in_person, list_of};
use crate::record::{LedgerBoard, encode_changes, encode_operations, recorded_operations};

/// A version that is not what its operations give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Astray {
    /// The version.
    pub version: Version,
    /// What is wrong with it.
    pub what: String,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many versions were looked at.
    pub count: usize,
    /// Where they begin, if not with the first version of all.
    pub beginning: Option<Beginning>,
    /// The first that is astray.
    pub astray: Option<Astray>,
}

/// A checkpoint with which a board begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// The checkpoint.
    pub checkpoint: Version,
    /// What it replaced.
    pub replaced: Version,
    /// Whether that could be had, and the two were compared.
    pub compared: bool,
}

/// Checks every version that this clone has seen, the oldest first, up to the last checkpoint. `makes` tells whether a
/// version is what a batch makes of another, and nothing else.
///
/// # Errors
/// Only where a version before the first wrong one cannot be read for other reasons than its content.
pub fn verify<S: Store>(
    store: &S,
    makes: impl Fn(Option<&Version>, &Batch, &Version) -> Result<bool, Fault>,
) -> Result<Verified, Fault> {
    let chain = store.cached()?.map_or(Ok(Vec::new()), |tip| store.history(&tip, None, usize::MAX))?;
    let (chain, named) = chain.split_at(in_person(&chain));
    let mut verified = Verified { count: chain.len(), beginning: None, astray: None };
    if let Some(checkpoint) = chain.last().filter(|first| Message::replaced_in(&first.message).is_some())
        && let Some(replaced) = checkpoint.parent.clone()
    {
        // One that cannot be had is no fault: it may have been forgotten.
        let compared = store.bring(&replaced).unwrap_or(false);
        verified.beginning = Some(Beginning { checkpoint: checkpoint.version.clone(), replaced, compared });
    }
    for (nth, entry) in chain.iter().rev().enumerate() {
        let found = match &verified.beginning {
            Some(beginning) if nth == 0 => verify_checkpoint(store, beginning, named, &makes),
            _ => verify_one(store, entry, &makes),
        };
        let what = match found {
            Ok(what) => what,
            Err(Fault::Integrity { what }) => Some(what),
            Err(fault) => return Err(fault),
        };
        if let Some(what) = what {
            verified.astray = Some(Astray { version: entry.version.clone(), what });
            break;
        }
    }
    Ok(verified)
}

/// `named`: the versions that the checkpoint names, the newest first.
fn verify_checkpoint<S: Store>(
    store: &S,
    Beginning { checkpoint, replaced, compared }: &Beginning,
    named: &[ChainEntry],
    makes: &impl Fn(Option<&Version>, &Batch, &Version) -> Result<bool, Fault>,
) -> Result<Option<String>, Fault> {
    if !compared {
        return Ok(None);
    }
    if !makes(Some(replaced), &list_of(store, checkpoint)?, checkpoint)? {
        return Ok(Some(format!("it does not hold what {replaced} held")));
    }
    let chain = store.history(replaced, None, named.len())?;
    let same = |named: &ChainEntry, entry: &ChainEntry| {
        entry.version == named.version
            && Message::operations_in(&entry.message).eq(Message::operations_in(&named.message))
    };
    let astray = named.iter().enumerate().find(|(nth, named)| !chain.get(*nth).is_some_and(|entry| same(named, entry)));
    Ok(astray.map(|(_, named)| format!("it names {}, which was not replaced so", named.version)))
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
