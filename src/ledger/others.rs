//! What others wait for when an attempt is made: the other processes of this clone, the other hosts, and whoever asked
//! here before and has gone.
//!
//! Guarantees: whatever is pending was applied in no version up to the one looked at. Must not know what is asked, nor
//! what an attempt is.

use std::collections::BTreeMap;

use super::exchange::{Fate, Recent, SETTLED_SECS};
use super::{Fault, Intent, Offer, Pending, Store, Version};

/// For how long, in seconds, an offer is taken up by others. One that is older belongs to a host that is gone, or that
/// is not waiting any more.
pub(super) const OFFERED_SECS: u64 = 600;
/// How many operations of others one version applies at most.
const TAKEN_ALONG_MAX: usize = 500;
/// For how many versions the others heed somebody who asked to be let through: whoever lives has mostly got through.
const LET_THROUGH_AFTER: usize = 8;

/// What others wait for, as far as it concerns the next attempt.
#[derive(Default)]
pub(super) struct Others {
    /// Operations that nobody has applied: what this clone asked for before comes first, then by id.
    pub pending: Vec<Pending>,
    /// Offers that ask nothing any more.
    pub settled: Vec<Offer>,
    /// Whether somebody who cannot be helped asks to be let through.
    pub wants_through: bool,
    /// How many hosts wait, or did a moment ago.
    pub hosts: u64,
    /// Whether something is open that this clone asked for before.
    pub earlier: bool,
}

impl Others {
    /// What others than the owner of `operation` wait for at `tip`, by the `offers` of hosts and by what this clone
    /// asked for `earlier`. Processes of this clone whose operations are found applied are told so.
    pub fn at(
        store: &impl Store,
        tip: &Version,
        operation: &str,
        offers: &[Offer],
        earlier: &[Intent],
        now_secs: u64,
    ) -> Result<Others, Fault> {
        let mut others = Others::default();
        let mut recent = Recent::new(store, tip);
        let mut pending: BTreeMap<String, Pending> = BTreeMap::new();
        for waiting in store.waiting()? {
            match recent.fate(&waiting.intent)? {
                Fate::Open => drop(pending.insert(waiting.intent.id.clone(), waiting)),
                Fate::Applied(found) => store.serve(&waiting.intent.id, &found),
                Fate::Lapsed => {}
            }
        }
        for offer in offers {
            let age_secs = now_secs.saturating_sub(offer.at_secs);
            let mut open = 0;
            for intent in offer.intents.iter().filter(|intent| intent.id != operation) {
                if age_secs > OFFERED_SECS || recent.fate(intent)? != Fate::Open {
                    continue;
                }
                open += 1;
                if intent.payload.is_empty() {
                    others.wants_through |= recent.since(&intent.base)?.is_some_and(|since| since <= LET_THROUGH_AFTER);
                } else {
                    let known = pending.entry(intent.id.clone());
                    let new = || Pending { intent: intent.clone(), binding: true, earlier: false };
                    known.or_insert_with(new).binding = true;
                }
            }
            if open == 0 && age_secs > SETTLED_SECS {
                others.settled.push(offer.clone());
            } else {
                others.hosts += 1;
            }
        }
        for intent in earlier {
            // Whoever waits for it here is told what becomes of it.
            if pending.contains_key(&intent.id) || recent.fate(intent)? != Fate::Open {
                continue;
            }
            others.earlier = true;
            if !intent.payload.is_empty() {
                let earlier = Pending { intent: intent.clone(), binding: true, earlier: true };
                pending.insert(intent.id.clone(), earlier);
            }
        }
        others.pending = pending.into_values().collect();
        others.pending.sort_by_key(|pending| !pending.earlier);
        others.pending.truncate(TAKEN_ALONG_MAX);
        Ok(others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Batch, Key, MemoryClone, MemoryRemote, Message};

    #[test]
    fn what_was_asked_here_before_is_taken_along_however_many_wait() {
        let store = MemoryClone::new(MemoryRemote::new(), "refs/scrum/board");
        let mut batch = Batch::default();
        batch.put(Key::new("meta".to_owned()), b"1".to_vec());
        let message = Message { lines: Vec::new(), nonce: "1".to_owned(), operations: Vec::new() };
        let tip = store.write(None, &batch, &message, 0).expect("written");
        let intent = |nth: usize| Intent { id: format!("{nth:032x}"), base: tip.clone(), payload: b"asked".to_vec() };
        let offer = |of: std::ops::Range<usize>| Offer {
            ref_name: "refs/scrum/hosts/one".to_owned(),
            version: tip.clone(),
            at_secs: 0,
            intents: of.map(intent).collect(),
        };
        let offers = [offer(0..250), offer(250..500), offer(500..750)];
        let earlier = [intent(1_000), intent(999)];
        let others = Others::at(&store, &tip, "own", &offers, &earlier, 0).expect("nothing is out of reach");
        let ids: Vec<&str> = others.pending.iter().map(|pending| pending.intent.id.as_str()).collect();
        let expected: Vec<String> = [999, 1_000].into_iter().chain(0..498).map(|nth| intent(nth).id).collect();
        assert_eq!(ids, expected);
    }
}
