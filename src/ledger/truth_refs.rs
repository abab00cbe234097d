//! The refs at a truth as they are at this moment, beside the ledgers: what hosts, claims and trains have left there.
//!
//! Guarantees: looking sets no ref; a ref is removed only where it still is what was seen.

use std::rc::Rc;

use super::beats::read_beat;
use super::exchange::{Fate, Recent};
use super::git_store::transfer_fault;
use super::hosts::read_offer;
use super::{Beat, Cache, Fault, GitStore, Objects, Offer, Place, RefUpdate, Refs, Truth, Version};
use crate::git::{Git, failure};

/// How many refs one command names.
const NAMED_MAX: usize = 200;

/// The refs at one truth.
pub struct TruthRefs {
    objects: Objects,
    refs: Refs,
    cache: Cache,
    git: Git,
    truth: Truth,
}

impl TruthRefs {
    /// The refs at `truth`, seen from `place`.
    pub fn new(place: &Rc<Place>, git: Git, truth: Truth) -> TruthRefs {
        TruthRefs {
            objects: Objects::new(Rc::clone(place)),
            refs: Refs::new(Rc::clone(place), git.clone()),
            cache: Cache::new(place, git.clone()),
            git,
            truth,
        }
    }

    /// Those whose names begin with `prefix`, which ends with a slash, and what they point to.
    pub fn list(&self, prefix: &str) -> Result<Vec<(String, String)>, Fault> {
        let Truth::Remote { name, url } = &self.truth else { return self.refs.list(prefix) };
        let listed = self.git.list_remote(url, &[&format!("{prefix}*")]);
        let listed = listed.map_err(|error| Fault::io("listing refs", error))?;
        let mut listed = listed.map_err(|(cause, said)| transfer_fault(name, cause, &said))?;
        listed.retain(|(name, _)| name.starts_with(prefix));
        Ok(listed)
    }

    /// Brings the objects of these refs here, into no ref.
    pub fn bring(&self, refs: &[(String, String)]) -> Result<(), Fault> {
        let Truth::Remote { name, url } = &self.truth else { return Ok(()) };
        let missing: Vec<String> =
            refs.iter().filter(|(_, id)| !self.objects.has(id)).map(|(name, _)| name.clone()).collect();
        for some in missing.chunks(NAMED_MAX) {
            let output = self.cache.fetch(url, some)?;
            if !output.success() {
                let said = output.stderr_text();
                return Err(transfer_fault(name, failure::cause(&said), &failure::telling_line(&said)));
            }
        }
        Ok(())
    }

    /// Removes refs that still are what was seen, each by itself. Gives the names of those that are there all the same.
    pub fn remove(&self, refs: &[(String, String)]) -> Result<Vec<String>, Fault> {
        let update = |(name, id): &(String, String)| RefUpdate { name: name.clone(), old: Some(id.clone()), new: None };
        let mut left = Vec::new();
        for some in refs.chunks(NAMED_MAX) {
            let updates: Vec<RefUpdate> = some.iter().map(update).collect();
            let Truth::Remote { name, url } = &self.truth else {
                for update in updates {
                    self.refs.transact(std::slice::from_ref(&update))?;
                    left.extend(self.refs.read(&update.name)?.map(|_| update.name));
                }
                continue;
            };
            let pushed = self.git.push_beside(url, &[], false, &updates, str::to_owned);
            pushed.map_err(|error| Fault::io("pushing", error))?;
            // The report says nothing of such refs, so they are asked for.
            let names: Vec<&str> = some.iter().map(|(name, _)| name.as_str()).collect();
            let listed = self.git.list_remote(url, &names).map_err(|error| Fault::io("listing refs", error))?;
            let listed = listed.map_err(|(cause, said)| transfer_fault(name, cause, &said))?;
            left.extend(listed.into_iter().map(|(name, _)| name).filter(|name| names.contains(&name.as_str())));
        }
        Ok(left)
    }

    /// The heartbeats of hosts on refs that begin with `prefix`.
    pub fn beats(&self, prefix: &str) -> Result<Vec<Beat>, Fault> {
        let listed = self.list(prefix)?;
        self.bring(&listed)?;
        Ok(listed.into_iter().map(|(name, commit)| read_beat(&self.objects, name, commit)).collect())
    }

    /// What hosts have on offer on refs that begin with `prefix`, and how much of each is open: applied in no version
    /// up to `tip` of `ledger`.
    pub fn offers(&self, prefix: &str, ledger: &GitStore, tip: &Version) -> Result<Vec<(Offer, usize)>, Fault> {
        let listed = self.list(prefix)?;
        self.bring(&listed)?;
        let mut recent = Recent::new(ledger, tip);
        let mut offers = Vec::new();
        for (name, commit) in listed {
            let offer = read_offer(&self.objects, name, commit);
            let mut open = 0;
            for intent in &offer.intents {
                open += usize::from(recent.fate(intent)? == Fate::Open);
            }
            offers.push((offer, open));
        }
        Ok(offers)
    }
}
