//! What people tell a train: to pause, to freeze what is less urgent, to go on.

use super::{Ruling, kept_reason};
use crate::domain::board::{Board, Draft};
use crate::domain::train::Freeze;
use crate::domain::{Branch, Outcome, Priority, Train};

/// Stops a train; or, with a priority, only what is less urgent than that. A pause that holds already keeps its reason.
pub(super) fn pause<B: Board>(
    draft: &mut Draft<'_, B>,
    target: &Branch,
    reason: &str,
    below: Option<Priority>,
) -> Ruling<B::Fault> {
    let mut train = draft.train(target)?.unwrap_or_else(|| Train::new(target.clone()));
    let reason = kept_reason(reason);
    let changed = match below {
        None => train.paused.is_none(),
        Some(below) => train.frozen.as_ref().is_none_or(|freeze| freeze.below != below),
    };
    if changed {
        match below {
            None => train.paused = Some(reason),
            Some(below) => train.frozen = Some(Freeze { below, reason }),
        }
        draft.put_train(train);
    }
    Ok(Outcome::Train { changed })
}

/// Lets a train go on, whatever it was that stopped it.
pub(super) fn resume<B: Board>(draft: &mut Draft<'_, B>, target: &Branch) -> Ruling<B::Fault> {
    let mut train = draft.train(target)?.unwrap_or_else(|| Train::new(target.clone()));
    let changed = train.paused.is_some() || train.frozen.is_some();
    if changed {
        (train.paused, train.frozen) = (None, None);
        draft.put_train(train);
    }
    Ok(Outcome::Train { changed })
}
