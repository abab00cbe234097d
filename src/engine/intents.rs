//! Operations that others ask for: as the text in which they wait, and in the order in which they are decided.

use crate::domain::{Operation, rules};
use crate::ledger::{Pending, Round, Sharing};
use crate::record::{decode, encode};

/// What an intent is called where it cannot be read.
const WHAT: &str = "an intent";

/// The operation as others may apply it, unless it is too long to be passed round.
pub(super) fn shared(operation: &Operation) -> Sharing {
    encode(WHAT, operation).map_or(Sharing::Applies, Sharing::Shared)
}

/// An operation that is to be decided.
pub(super) struct Due {
    pub operation: Operation,
    /// Whether a "no" has to be recorded: see [`Pending::binding`].
    pub binding: bool,
    /// See [`Pending::earlier`].
    pub earlier: bool,
    /// Whether it is the request's own.
    pub own: bool,
}

/// The request's own operation and those of others that go along, in the order in which they were asked for: as far as
/// this clone knows, or else as clocks tell.
pub(super) fn in_order(own: &Operation, round: &Round<'_>) -> Vec<Due> {
    let mut all = vec![Due { operation: own.clone(), binding: round.binding, earlier: false, own: true }];
    // What cannot be read, or was written by a later version of the program, is left to whoever can.
    all.extend(round.others.iter().filter_map(|pending| {
        let &Pending { binding, earlier, .. } = pending;
        Some(Due { operation: read(pending)?, binding, earlier, own: false })
    }));
    all.sort_by(|a, b| {
        let key = |due: &Due| (!due.earlier, due.operation.at);
        key(a).cmp(&key(b)).then_with(|| a.operation.id.cmp(&b.operation.id))
    });
    all
}

fn read(pending: &Pending) -> Option<Operation> {
    let operation: Operation = decode(WHAT, &pending.intent.payload).ok()?;
    // As its owner would have asked it: whatever is written on a ref that anybody may write is not to be trusted.
    let clipped = rules::clipped(operation.command.clone());
    (operation.id.as_str() == pending.intent.id && clipped == operation.command).then_some(operation)
}
