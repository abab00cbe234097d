//! What processes and hosts ask of one another, so that one push serves many of them.
//!
//! An operation that has to wait is written down as an [`Intent`]: for the processes of one clone in its state
//! directory, for other hosts on a ref of the host's own. Whoever publishes next applies every intent it knows of.
//!
//! Guarantees: an intent is open only where the chain was searched back to a version that it cannot have been applied
//! in; so none is applied twice, however late or however often it arrives. Must not know what is asked.

use super::{ChainEntry, Fault, Message, Store, Version};
use crate::planted::{self, Bug};

/// How many versions an intent may be behind before it has lapsed: nobody applies it any more but its owner.
const LAPSED_AFTER: usize = 1_000;
/// How old an offer must be, in seconds, before somebody else removes it: its owner mostly has the next one ready.
pub const SETTLED_SECS: u64 = 60;
/// How many versions are read at first in search of the base of an intent.
const CHUNK: usize = 8;

/// An operation that whoever publishes next may apply in the place of the one who asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// The id of the operation.
    pub id: String,
    /// It was applied in no version up to and including this one.
    pub base: Version,
    /// What is asked, in words of the caller's. Empty: nothing that another could do. Its owner only asks to be let
    /// through.
    pub payload: Vec<u8>,
}

/// What one host asks of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The host's ref.
    pub ref_name: String,
    /// What the ref points to.
    pub version: Version,
    /// When it was made, in seconds since 1970, by that host's clock.
    pub at_secs: u64,
    /// What is asked.
    pub intents: Vec<Intent>,
}

/// What a push does to offers beside its own business.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offering<'a> {
    /// What this host asks from now on; nothing: its offer is taken back, if it has one.
    pub intents: &'a [Intent],
    /// What is noted with it in this clone, and not offered: see [`Store::left_open`](super::Store::left_open).
    pub kept: &'a [Intent],
    /// When, in seconds since 1970.
    pub at_secs: u64,
    /// Offers that ask nothing any more: removed, each where it still is what was seen.
    pub settled: &'a [Offer],
}

/// An open intent, ready to be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The intent.
    pub intent: Intent,
    /// Whether somebody else may apply it as well: then a "no" has to be recorded, too, or a later version could say
    /// yes to somebody who was told no.
    pub binding: bool,
    /// Whether this clone asked for it before the request's own, which goes after it then, whatever clocks say.
    pub earlier: bool,
}

/// How a process came to its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn<R> {
    /// It did the work itself.
    Own(R),
    /// Another process of this clone had its operation applied, in this version.
    Served(Version),
}

/// What became of an intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nobody has applied it.
    Open,
    /// It was applied in this version.
    Applied(Version),
    /// The chain does not lead back to its base, or not soon enough.
    Lapsed,
}

/// The newest part of a chain, read as far back as the questions go.
pub(super) struct Recent<'a, S: Store> {
    store: &'a S,
    tip: Version,
    /// The version behind the last of `entries`.
    next: Option<Version>,
    entries: Vec<ChainEntry>,
}

impl<'a, S: Store> Recent<'a, S> {
    /// The chain that ends with `tip`.
    pub(super) fn new(store: &'a S, tip: &Version) -> Self {
        Recent { store, tip: tip.clone(), next: Some(tip.clone()), entries: Vec::new() }
    }

    /// What became of an intent.
    pub(super) fn fate(&mut self, intent: &Intent) -> Result<Fate, Fault> {
        let Some(since) = self.since(&intent.base)? else {
            return Ok(if planted::is(Bug::BaseNotFound) { Fate::Open } else { Fate::Lapsed });
        };
        let names_it = |entry: &&ChainEntry| Message::operations_in(&entry.message).any(|id| id == intent.id);
        let applied = self.entries[..since].iter().find(names_it).filter(|_| !planted::is(Bug::FateUnasked));
        Ok(applied.map_or(Fate::Open, |entry| Fate::Applied(entry.version.clone())))
    }

    /// How many versions came after `base`; `None` where it is not among the recent ones.
    pub(super) fn since(&mut self, base: &Version) -> Result<Option<usize>, Fault> {
        let mut looked_at = 0;
        let lapsed_after = if planted::is(Bug::BaseNotFound) { CHUNK } else { LAPSED_AFTER };
        loop {
            if let Some(found) = self.entries[looked_at..].iter().position(|entry| entry.version == *base) {
                return Ok(Some(looked_at + found));
            }
            looked_at = self.entries.len();
            match self.next.take() {
                Some(next) if next == *base => {
                    self.next = Some(next);
                    return Ok(Some(looked_at));
                }
                Some(_) if looked_at < lapsed_after => {
                    // From the tip again, and twice as far: from a version that a checkpoint only names nothing leads
                    // on.
                    self.entries = self.store.history(&self.tip, None, CHUNK.max(2 * looked_at))?;
                    self.next = self.entries.last().and_then(|entry| entry.parent.clone());
                }
                next => {
                    self.next = next;
                    return Ok(None);
                }
            }
        }
    }
}
