//! The way to the server and back, where everything that can go wrong does: every push of a ledger or of the code, and
//! every fetch, goes through here.

use std::collections::BTreeMap;

use git_scrum::ledger::{Fault, Offer, Outcome, RefUpdate, Version};

use crate::process::Process;
use crate::trouble::Trouble;
use crate::world::{BEATS, HOSTS, TARGET_REF, spell};

impl Process<'_> {
    /// Pushes: all updates or none.
    pub fn push(&self, updates: &[RefUpdate]) -> Result<Outcome, Fault> {
        self.push_beside(updates, &[])
    }

    /// The same, and `loose` beside it, each by itself.
    pub fn push_beside(&self, updates: &[RefUpdate], loose: &[RefUpdate]) -> Result<Outcome, Fault> {
        let world = &self.world;
        self.step(|| format!("pushes {} beside {}", spell(updates), spell(loose)));
        if self.is_cut() || world.strikes(Trouble::NetworkInPush) {
            return Err(self.unreachable());
        }
        if updates.len() > 1 && !world.plan.atomic {
            world.struck(Trouble::NotAtomic);
            return Ok(Outcome::NotAtomic);
        }
        if !updates.is_empty() && world.strikes(Trouble::RefusedPush) {
            let refused = &updates[world.below(updates.len() as u64) as usize];
            return Ok(Outcome::Refused { ref_name: refused.name.clone(), reason: "declined by a hook".to_owned() });
        }
        if world.strikes(Trouble::LockedRef) {
            return Ok(Outcome::Locked { reason: "Unable to create x.lock: File exists".to_owned() });
        }
        self.pushing.set(true);
        let outcome = self.deliver(updates, loose);
        self.step(|| format!("hears of {}: {outcome:?}", spell(updates)));
        self.pushing.set(false);
        Ok(outcome)
    }

    /// Sends a push that leaves this machine.
    fn deliver(&self, updates: &[RefUpdate], loose: &[RefUpdate]) -> Outcome {
        let world = &self.world;
        let unknown = |why: &str| Outcome::Unknown { reason: why.to_owned() };
        // As git does, leave out what is there already, without a look at its lease (GIT_FACTS 1 and 2).
        let updates: Vec<RefUpdate> =
            updates.iter().filter(|update| world.read_ref(&update.name) != update.new).cloned().collect();
        let updates = updates.as_slice();
        if updates.is_empty() && loose.is_empty() {
            world.count("push: up to date");
            return Outcome::Applied;
        }
        if world.strikes(Trouble::LostPush) {
            return unknown("the connection was reset");
        }
        if world.strikes(Trouble::LatePush) {
            world.send_late(updates, loose, &self.who);
            return unknown("the server did not answer in time");
        }
        // Whether the sender is killed before or after it arrives is decided by where it is killed.
        self.step(|| "waits for the server".to_owned());
        // The server takes one ref after the other, in an order of its own.
        let offers_first = world.percent(50);
        if offers_first {
            world.carry_out_loose(loose);
        }
        let result = world.carry_out(updates, &self.who);
        if !offers_first {
            world.carry_out_loose(loose);
        }
        if world.strikes(Trouble::DoublePush) {
            world.send_late(updates, loose, &self.who);
        }
        if self.is_cut() || world.strikes(Trouble::LostAnswer) {
            return unknown("the connection was closed");
        }
        match result {
            Ok(()) => Outcome::Applied,
            // The ledger's own ref comes first in `updates`, and is named when several were lost.
            Err(astray) => Outcome::Lost { ref_name: astray[0].clone() },
        }
    }

    /// What other hosts offer, as far as the server shows it.
    pub fn fetch_offers(&self) -> Vec<Offer> {
        let own = format!("{HOSTS}{}", self.machine.name);
        let remote = self.world.remote.borrow();
        let hosts = remote.past.keys().filter(|name| name.starts_with(HOSTS) && **name != own && !self.is_cut());
        hosts
            .filter_map(|name| {
                let mut at = remote.refs.get(name).cloned();
                if self.world.strikes(Trouble::StaleOffer) {
                    let past = &remote.past[name];
                    at = past.iter().rev().nth(self.world.below(past.len().min(4) as u64) as usize).cloned();
                }
                let version = at?;
                let (at_secs, intents) = remote.offers[&version].clone();
                Some(Offer { ref_name: name.clone(), version: Version(version), at_secs, intents })
            })
            .collect()
    }

    /// Asks for all heartbeats, in the breath in which the ledger was asked for, and remembers what is shown.
    pub fn fetch_beats(&self) {
        let mut remote = self.world.remote.borrow_mut();
        let names: Vec<String> = remote.past.keys().filter(|name| name.starts_with(BEATS)).cloned().collect();
        for name in names {
            let mut shown = remote.refs.get(&name).cloned();
            if self.world.strikes(Trouble::StaleBeat) {
                let past = remote.past[&name].clone();
                let back = self.world.below(past.len().min(3) as u64 + 1) as usize;
                shown = past.iter().rev().nth(back).cloned();
                let hidden = past.iter().rev().take(back).map(|version| (self.machine.name.clone(), version.clone()));
                remote.hidden.extend(hidden);
            }
            if let Some(shown) = shown {
                self.machine.beats.borrow_mut().insert(name, shown);
            }
        }
    }

    /// Asks the server for the version of a ledger; `seen` is what this clone knows of it.
    pub fn fetch_ledger(&self, name: &str, seen: Option<&Version>) -> Result<Option<Version>, Fault> {
        self.step(|| format!("fetches {name}"));
        if self.is_cut() || self.world.strikes(Trouble::NetworkInFetch) {
            return Err(self.unreachable());
        }
        let mut tip = self.world.read_ref(name).map(Version);
        if let Some(present) = &tip
            && seen != Some(present)
            && self.world.strikes(Trouble::StaleLedger)
        {
            tip = self.older(present, seen);
        }
        if let Some(tip) = &tip
            && self.world.strikes(Trouble::TornObject)
        {
            let until_ms = self.world.now_ms() + self.world.between(1_000, 300_000);
            *self.machine.torn.borrow_mut() = Some((tip.clone(), until_ms));
        }
        self.step(|| format!("has fetched {name} at {}", tip.as_ref().map_or("-", |tip| &tip.0[..6])));
        self.asked.set(true);
        Ok(tip)
    }

    /// A version between what this clone has seen and what there is.
    fn older(&self, present: &Version, seen: Option<&Version>) -> Option<Version> {
        let mut between = vec![];
        let mut at = Some(present.clone());
        while let Some(version) = at {
            let is_seen = seen == Some(&version);
            at = self.world.before(&version);
            between.push(version);
            if is_seen {
                break;
            }
        }
        let back = self.world.below(between.len().min(6) as u64) as usize;
        Some(between.swap_remove(back))
    }

    /// Asks the server for refs of the code.
    pub fn fetch_refs(&self, names: &[String]) -> Result<(), Fault> {
        self.step(|| format!("fetches {}", names.join(", ")));
        if self.is_cut() || self.world.strikes(Trouble::NetworkInFetch) {
            return Err(self.unreachable());
        }
        let values: Vec<Option<String>> = names.iter().map(|name| self.world.read_ref(name)).collect();
        self.step(|| "has fetched".to_owned());
        for (name, mut value) in names.iter().zip(values) {
            if name == TARGET_REF && self.world.strikes(Trouble::StaleTarget) {
                let remote = self.world.remote.borrow();
                let past = &remote.past[name];
                value = past.iter().rev().nth(self.world.below(past.len().min(4) as u64) as usize).cloned();
            }
            let mut tracking = self.machine.tracking.borrow_mut();
            match value {
                Some(value) => tracking.insert(name.clone(), value),
                None => tracking.remove(name),
            };
        }
        Ok(())
    }

    /// The refs whose names begin with `prefix`, as the server has them.
    pub fn list_refs(&self, prefix: &str) -> Result<BTreeMap<String, String>, Fault> {
        self.step(|| format!("lists {prefix}"));
        if self.is_cut() || self.world.strikes(Trouble::NetworkInFetch) {
            return Err(self.unreachable());
        }
        let remote = self.world.remote.borrow();
        let under = remote.refs.iter().filter(|(name, _)| name.starts_with(prefix));
        Ok(under.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// Whether this machine does not reach the server.
    fn is_cut(&self) -> bool {
        !self.world.calm.get() && self.machine.cut_until_ms.get() > self.world.now_ms()
    }

    fn unreachable(&self) -> Fault {
        Fault::Network { place: "origin".to_owned(), said: "Could not resolve host".to_owned() }
    }
}
