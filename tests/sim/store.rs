//! A ledger as one process of one clone sees it, and as the checkers see it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use git_scrum::ledger::{
    Batch, Beat, Beating, ChainEntry, Fault, Intent, Key, Message, Offer, Offering, Outcome, Pending, RefUpdate,
    Remembered, Store, Turn, Version, archive_ref, follows, go_on, without_list,
};
use git_scrum::planted::{self, Bug};

use crate::process::{Cache, Process, Waiting};
use crate::trouble::Trouble;
use crate::world::{BEATS, BOARD, HOSTS, LedgerCommit, MEMORY, World};

/// How often a process looks whether it is its turn.
const TURN_POLL_MS: u64 = 4_000;

/// A ledger in the hands of a process.
pub struct SimStore<'p> {
    process: &'p Process<'p>,
    ref_name: &'static str,
}

impl<'p> SimStore<'p> {
    /// The board.
    pub fn board(process: &'p Process<'p>) -> Self {
        SimStore { process, ref_name: BOARD }
    }

    /// Project memory.
    pub fn memory(process: &'p Process<'p>) -> Self {
        SimStore { process, ref_name: MEMORY }
    }

    fn cache(&self) -> &Cache {
        if self.ref_name == BOARD { &self.process.machine.board } else { &self.process.machine.memory }
    }

    fn world(&self) -> &World {
        &self.process.world
    }

    /// Whether a version goes on from another, as a clone finds out: by its parents, as git does, or else by the
    /// program's own judgement of checkpoints.
    fn goes_on(&self, version: &Version, old: &Version) -> bool {
        let parent = |version: &Version| self.world().ledger_commit(version).ok()?.parent.clone();
        let mut parents = std::iter::successors(Some(version.clone()), parent);
        parents.any(|version| version == *old) || follows(self, version, old).unwrap_or(false)
    }

    /// Fails where `version` cannot be read in this clone.
    fn whole(&self, version: &Version) -> Result<(), Fault> {
        let torn = self.process.machine.torn.borrow();
        let until_ms = torn.as_ref().filter(|(torn, _)| torn == version).map_or(0, |(_, until_ms)| *until_ms);
        if until_ms > self.world().now_ms() && !self.world().calm.get() {
            return Err(Fault::integrity(format!("an object of {version} is torn")));
        }
        Ok(())
    }

    fn own_update(&self, old: Option<&Version>, new: &Version) -> RefUpdate {
        let (old, new) = (old.map(|version| version.0.clone()), Some(new.0.clone()));
        RefUpdate { name: self.ref_name.to_owned(), old, new }
    }

    fn own_offer(&self, intents: &[Intent], kept: &[Intent], at_secs: u64) -> Option<RefUpdate> {
        let name = format!("{HOSTS}{}", self.process.machine.name);
        let mut offered = self.process.machine.offered.borrow_mut();
        if intents.is_empty() {
            return offered.is_some().then_some(RefUpdate { name, old: None, new: None });
        }
        let text = format!("{at_secs} {intents:?}");
        let version = Version(crate::commits::hash(&[text.as_str()]).as_str().to_owned());
        let (new, intents) = (version.0.clone(), intents.to_vec());
        self.world().remote.borrow_mut().offers.insert(new.clone(), (at_secs, intents.clone()));
        let intents = [&intents, kept].concat();
        *offered = Some(Offer { ref_name: name.clone(), version, at_secs, intents });
        Some(RefUpdate { name, old: None, new: Some(new) })
    }
}

impl Store for SimStore<'_> {
    fn in_turn<R>(&self, work: impl FnOnce() -> R) -> Result<R, Fault> {
        let turn = &self.process.machine.turn;
        while turn.get().is_some() {
            self.world().struck(Trouble::Queueing);
            self.process.sleep_ms(self.world().between(1, TURN_POLL_MS));
        }
        // Should the process be killed meanwhile, its end gives the turn back, as the system does with a file lock.
        turn.set(Some(self.process.number));
        let result = work();
        turn.set(None);
        Ok(result)
    }

    fn cached(&self) -> Result<Option<Version>, Fault> {
        self.process.step(|| "reads its cache".to_owned());
        Ok(self.cache().seen.borrow().clone())
    }

    fn refresh(&self) -> Result<Option<Version>, Fault> {
        let before = self.cache().seen.borrow().clone();
        let fetched = self.process.fetch_ledger(self.ref_name, before.as_ref())?;
        let mut seen = self.cache().seen.borrow_mut();
        let backwards = |old: &Version| match &fetched {
            None => !planted::is(Bug::VanishedIsEmpty),
            Some(version) => !self.goes_on(version, old) && !planted::is(Bug::RewindUnnoticed),
        };
        let now = fetched.as_ref().map_or("nothing", |version| &version.0);
        if let Some(old) = before.as_ref().filter(|old| backwards(old)) {
            return Err(Fault::integrity(format!("{} went back from {old} to {now}", self.ref_name)));
        }
        match (&*seen, &fetched) {
            // Another process of this clone has fetched or pushed meanwhile: what it saw is newer.
            (Some(newer), Some(version)) if before.as_ref() != Some(newer) && self.world().descends(newer, version) => {
                self.world().trace(|| format!("saw {newer} meanwhile"));
            }
            (Some(newer), None) if before.is_none() => self.world().trace(|| format!("saw {newer} meanwhile")),
            (Some(old), _) if backwards(old) => {
                return Err(Fault::integrity(format!("{} went back from {old} to {now}", self.ref_name)));
            }
            _ => seen.clone_from(&fetched),
        }
        Ok(seen.clone())
    }

    fn get(&self, version: &Version, key: &Key) -> Result<Option<Vec<u8>>, Fault> {
        self.whole(version)?;
        get(self.world(), version, key)
    }

    fn names(&self, version: &Version, directory: &str) -> Result<Vec<String>, Fault> {
        self.whole(version)?;
        names(self.world(), version, directory)
    }

    fn scan(
        &self,
        version: &Version,
        prefix: &str,
        visit: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        self.whole(version)?;
        scan(self.world(), version, prefix, visit)
    }

    fn write(
        &self,
        parent: Option<&Version>,
        batch: &Batch,
        message: &Message,
        at_secs: u64,
    ) -> Result<Version, Fault> {
        self.process.fill_disk("writing objects")?;
        let mut tree = match parent {
            Some(parent) => self.world().ledger_commit(parent)?.tree.clone(),
            None => BTreeMap::new(),
        };
        without_list(&mut tree);
        for (key, value) in batch.iter() {
            match value {
                Some(value) => tree.insert(Rc::from(key.as_str()), Rc::from(value)),
                None => tree.remove(key.as_str()),
            };
        }
        let text = message.to_text();
        // A version is named by its content, as in git: only the nonce keeps equal attempts apart.
        let mut parts: Vec<&str> = vec![parent.map_or("", |parent| &parent.0), &text];
        for (key, value) in batch.iter() {
            parts.push(key.as_str());
            parts.push(value.map_or("", |value| std::str::from_utf8(value).expect("records are text")));
        }
        let version = Version(crate::commits::hash(&parts).as_str().to_owned());
        let commit = LedgerCommit { parent: parent.cloned(), message: text, at_secs, tree };
        self.world().remote.borrow_mut().ledger.insert(version.clone(), Rc::new(commit));
        self.process.step(|| format!("writes {}: {}", &version.0[..6], message.lines.join(" / ")));
        Ok(version)
    }

    fn publish(&self, old: Option<&Version>, new: &Version, also: &[RefUpdate]) -> Result<Outcome, Fault> {
        let updates: Vec<RefUpdate> = std::iter::once(self.own_update(old, new)).chain(also.iter().cloned()).collect();
        let outcome = self.process.push(&updates)?;
        if outcome == Outcome::Applied {
            *self.cache().seen.borrow_mut() = Some(new.clone());
        }
        Ok(outcome)
    }

    fn history(&self, tip: &Version, until: Option<&Version>, count_max: usize) -> Result<Vec<ChainEntry>, Fault> {
        self.whole(tip)?;
        history(self.world(), tip, until, count_max)
    }

    fn write_checkpoint(&self, tip: &Version, list: &Batch, message: &str, at_secs: u64) -> Result<Version, Fault> {
        self.process.fill_disk("writing objects")?;
        self.whole(tip)?;
        let mut tree = self.world().ledger_commit(tip)?.tree.clone();
        without_list(&mut tree);
        tree.extend(list.iter().filter_map(|(key, value)| Some((Rc::from(key.as_str()), Rc::from(value?)))));
        let version = Version(crate::commits::hash(&["", message]).as_str().to_owned());
        let commit = LedgerCommit { parent: None, message: message.to_owned(), at_secs, tree };
        self.world().remote.borrow_mut().ledger.insert(version.clone(), Rc::new(commit));
        self.process.step(|| format!("writes {}: {}", &version.0[..6], message.lines().next().unwrap_or_default()));
        Ok(version)
    }

    fn replace(&self, tip: &Version, checkpoint: &Version) -> Result<Outcome, Fault> {
        let (name, new) = (archive_ref(self.ref_name, tip), Some(tip.0.clone()));
        let archive = RefUpdate { name, old: None, new };
        match self.publish(Some(tip), checkpoint, std::slice::from_ref(&archive))? {
            Outcome::NotAtomic => {}
            outcome => return Ok(outcome),
        }
        match self.process.push(&[archive])? {
            Outcome::Applied => self.publish(Some(tip), checkpoint, &[]),
            outcome => Ok(outcome),
        }
    }

    fn bring(&self, replaced: &Version) -> Result<bool, Fault> {
        Ok(self.world().read_ref(&archive_ref(self.ref_name, replaced)).is_some())
    }

    fn contended(&self) -> bool {
        self.cache().contended.get()
    }

    fn set_contended(&self, contended: bool) {
        self.cache().contended.set(contended);
    }

    fn hint(&self, version: &Version) -> Option<u64> {
        self.cache().hints.borrow().get(version).copied()
    }

    fn keep_hint(&self, version: &Version, hint: u64) {
        self.cache().hints.borrow_mut().insert(version.clone(), hint);
    }

    fn remembered(&self) -> Option<&Remembered> {
        Some(&self.world().remembered)
    }

    fn in_turn_or_served<R>(&self, intent: &Intent, work: impl FnOnce(bool) -> R) -> Result<Turn<R>, Fault> {
        let machine = &self.process.machine;
        let served = || machine.waiting.borrow().get(&intent.id).and_then(|waiting| waiting.served.clone());
        let mut queued = false;
        while machine.turn.get().is_some() {
            if !queued {
                self.world().struck(Trouble::Queueing);
                let (intent, process) = (intent.clone(), self.process.number);
                let waiting = Waiting { intent, tried: false, served: None, process };
                machine.waiting.borrow_mut().insert(waiting.intent.id.clone(), waiting);
                queued = true;
            }
            if served().is_some() {
                break;
            }
            self.process.sleep_ms(self.world().between(1, TURN_POLL_MS));
        }
        let served = served();
        let waited = machine.waiting.borrow_mut().remove(&intent.id);
        if let Some(version) = served {
            self.world().count("turn: served by another process");
            return Ok(Turn::Served(version));
        }
        machine.turn.set(Some(self.process.number));
        let result = work(waited.is_some_and(|waiting| waiting.tried));
        machine.turn.set(None);
        Ok(Turn::Own(result))
    }

    fn waiting(&self) -> Result<Vec<Pending>, Fault> {
        self.process.step(|| "looks who waits".to_owned());
        let alive = self.world().alive.borrow();
        let mut waiting = self.process.machine.waiting.borrow_mut();
        waiting.retain(|_, waiting| alive.contains_key(&waiting.process));
        let unserved = waiting.values().filter(|waiting| waiting.served.is_none());
        let pending = |waiting: &Waiting| {
            let (intent, binding) = (waiting.intent.clone(), waiting.tried);
            Pending { intent, binding, earlier: false }
        };
        Ok(unserved.map(pending).collect())
    }

    fn try_for(&self, waiting: &[&str]) -> Result<(), Fault> {
        let mut seats = self.process.machine.waiting.borrow_mut();
        for id in waiting {
            seats.entry((*id).to_owned()).and_modify(|waiting| waiting.tried = true);
        }
        Ok(())
    }

    fn serve(&self, id: &str, version: &Version) {
        let mut seats = self.process.machine.waiting.borrow_mut();
        seats.entry(id.to_owned()).and_modify(|waiting| waiting.served = Some(version.clone()));
    }

    fn exchanges(&self) -> bool {
        self.ref_name == BOARD
    }

    fn gather(&self) -> Result<(Option<Version>, Vec<Offer>), Fault> {
        let offers = self.process.fetch_offers();
        Ok((self.refresh()?, offers))
    }

    fn publish_offering(
        &self,
        old: Option<&Version>,
        new: &Version,
        offering: &Offering<'_>,
    ) -> Result<Outcome, Fault> {
        let remove =
            |offer: &Offer| RefUpdate { name: offer.ref_name.clone(), old: Some(offer.version.0.clone()), new: None };
        self.world().count(if offering.intents.is_empty() { "push: alone" } else { "push: with an offer" });
        let mut loose: Vec<RefUpdate> = offering.settled.iter().map(remove).collect();
        loose.extend(self.own_offer(offering.intents, offering.kept, offering.at_secs));
        let outcome = self.process.push_beside(&[self.own_update(old, new)], &loose)?;
        if outcome == Outcome::Applied {
            *self.cache().seen.borrow_mut() = Some(new.clone());
            if offering.intents.is_empty() {
                self.process.machine.offered.replace(None);
            }
        }
        Ok(outcome)
    }

    fn leave_open(&self, intents: &[Intent], at_secs: u64) -> Result<(), Fault> {
        self.world().count("offer: left open");
        self.own_offer(intents, &[], at_secs);
        Ok(())
    }

    fn left_open(&self) -> Result<Option<Offer>, Fault> {
        Ok(self.process.machine.offered.borrow().clone().filter(|offer| !offer.intents.is_empty()))
    }

    fn close(&self) -> Result<(), Fault> {
        // What is offered is taken back by the next push.
        self.process.machine.offered.borrow_mut().iter_mut().for_each(|offer| offer.intents.clear());
        Ok(())
    }

    fn refresh_with_beats(&self) -> Result<(Option<Version>, Vec<Beat>), Fault> {
        let mut beats = self.beats_seen()?;
        let version = self.refresh()?;
        self.process.fetch_beats();
        beats.extend(self.beats_seen()?);
        Ok((version, beats))
    }

    fn beats_seen(&self) -> Result<Vec<Beat>, Fault> {
        let remote = self.world().remote.borrow();
        let beat = |(name, version): (&String, &String)| {
            let (at_secs, alive) = remote.beats[version].clone();
            Beat { ref_name: name.clone(), version: Version(version.clone()), at_secs, alive }
        };
        Ok(self.process.machine.beats.borrow().iter().map(beat).collect())
    }

    fn own_beat(&self) -> Option<String> {
        Some(format!("{BEATS}{}", self.process.machine.name))
    }

    fn beat(&self, beating: &Beating<'_>) -> Result<Outcome, Fault> {
        self.process.fill_disk("writing a heartbeat")?;
        let name = format!("{BEATS}{}", self.process.machine.name);
        let text = format!("{} {:?}", beating.at_secs, beating.alive);
        let version = crate::commits::hash(&["beat", text.as_str()]).as_str().to_owned();
        let new = (!beating.alive.is_empty()).then(|| version.clone());
        let old = beating.old.map(|version| version.0.clone());
        if new == old {
            return Ok(Outcome::Applied);
        }
        self.world().remote.borrow_mut().beats.insert(version, (beating.at_secs, beating.alive.clone()));
        let remove =
            |beat: &Beat| RefUpdate { name: beat.ref_name.clone(), old: Some(beat.version.0.clone()), new: None };
        let loose: Vec<RefUpdate> = beating.settled.iter().map(remove).collect();
        let outcome = self.process.push_beside(&[RefUpdate { name: name.clone(), old, new: new.clone() }], &loose)?;
        let mut seen = self.process.machine.beats.borrow_mut();
        match (&outcome, new) {
            (Outcome::Applied, Some(new)) => drop(seen.insert(name, new)),
            // What it was is not known any more: the next look shows it.
            (Outcome::Applied, None) | (Outcome::Lost { .. }, _) => drop(seen.remove(&name)),
            _ => {}
        }
        Ok(outcome)
    }

    fn offer(&self, intents: &[Intent], kept: &[Intent], at_secs: u64) -> Result<(), Fault> {
        let loose: Vec<RefUpdate> = self.own_offer(intents, kept, at_secs).into_iter().collect();
        self.world().count("push: an offer only");
        self.process.push_beside(&[], &loose).map(|_| ())
    }
}

/// A ledger in the hands of a checker, who only reads.
pub struct Records<'w>(pub &'w World);

impl Store for Records<'_> {
    fn in_turn<R>(&self, work: impl FnOnce() -> R) -> Result<R, Fault> {
        Ok(work())
    }

    fn cached(&self) -> Result<Option<Version>, Fault> {
        unreachable!("checkers name the version")
    }

    fn refresh(&self) -> Result<Option<Version>, Fault> {
        unreachable!("checkers name the version")
    }

    fn get(&self, version: &Version, key: &Key) -> Result<Option<Vec<u8>>, Fault> {
        get(self.0, version, key)
    }

    fn names(&self, version: &Version, directory: &str) -> Result<Vec<String>, Fault> {
        names(self.0, version, directory)
    }

    fn scan(
        &self,
        version: &Version,
        prefix: &str,
        visit: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        scan(self.0, version, prefix, visit)
    }

    fn write(&self, _: Option<&Version>, _: &Batch, _: &Message, _: u64) -> Result<Version, Fault> {
        unreachable!("checkers do not write")
    }

    fn publish(&self, _: Option<&Version>, _: &Version, _: &[RefUpdate]) -> Result<Outcome, Fault> {
        unreachable!("checkers do not write")
    }

    fn history(&self, tip: &Version, until: Option<&Version>, count_max: usize) -> Result<Vec<ChainEntry>, Fault> {
        history(self.0, tip, until, count_max)
    }

    fn write_checkpoint(&self, _: &Version, _: &Batch, _: &str, _: u64) -> Result<Version, Fault> {
        unreachable!("checkers do not write")
    }

    fn replace(&self, _: &Version, _: &Version) -> Result<Outcome, Fault> {
        unreachable!("checkers do not write")
    }

    fn bring(&self, _: &Version) -> Result<bool, Fault> {
        unreachable!("checkers have every version")
    }

    fn contended(&self) -> bool {
        false
    }

    fn set_contended(&self, _: bool) {}

    fn remembered(&self) -> Option<&Remembered> {
        Some(&self.0.remembered)
    }
}

fn get(world: &World, version: &Version, key: &Key) -> Result<Option<Vec<u8>>, Fault> {
    Ok(world.ledger_commit(version)?.tree.get(key.as_str()).map(|value| value.to_vec()))
}

fn names(world: &World, version: &Version, directory: &str) -> Result<Vec<String>, Fault> {
    Ok(git_scrum::ledger::names_in(&world.ledger_commit(version)?.tree, directory))
}

fn scan(
    world: &World,
    version: &Version,
    prefix: &str,
    visit: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>,
) -> Result<(), Fault> {
    let commit = world.ledger_commit(version)?;
    let start = format!("{prefix}/");
    for (key, value) in commit.tree.range(Rc::from(start.as_str())..).take_while(|(key, _)| key.starts_with(&start)) {
        if visit(key, value).is_break() {
            break;
        }
    }
    Ok(())
}

fn history(world: &World, tip: &Version, until: Option<&Version>, count_max: usize) -> Result<Vec<ChainEntry>, Fault> {
    let mut entries = Vec::new();
    let mut at = Some(tip.clone());
    while let Some(version) = at {
        if Some(&version) == until || entries.len() == count_max {
            break;
        }
        let commit = world.ledger_commit(&version)?;
        let (parent, message) = (commit.parent.clone(), commit.message.clone());
        entries.push(ChainEntry { version, parent: parent.clone(), message, at_secs: commit.at_secs });
        at = parent;
    }
    go_on(&mut entries, until, count_max, |version, key| get(world, version, key))?;
    Ok(entries)
}
