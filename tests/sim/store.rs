//! A ledger as one process of one clone sees it, and as the checkers see it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use git_scrum::ledger::{Batch, ChainEntry, Fault, Key, Message, Outcome, RefUpdate, Store, Version};

use crate::process::{Cache, Process};
use crate::trouble::Trouble;
use crate::world::{BOARD, LedgerCommit, MEMORY, World};

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
        match (&*seen, &fetched) {
            // Another process of this clone has fetched or pushed meanwhile: what it saw is newer.
            (Some(newer), Some(version)) if self.world().descends(newer, version) => {}
            (Some(newer), None) if before.is_none() => self.world().trace(|| format!("saw {newer} meanwhile")),
            (Some(old), None) => return Err(Fault::integrity(format!("{} vanished; it was at {old}", self.ref_name))),
            (Some(old), Some(version)) if !self.world().descends(version, old) => {
                return Err(Fault::integrity(format!("{} went back from {old} to {version}", self.ref_name)));
            }
            _ => seen.clone_from(&fetched),
        }
        Ok(seen.clone())
    }

    fn get(&self, version: &Version, key: &Key) -> Result<Option<Vec<u8>>, Fault> {
        get(self.world(), version, key)
    }

    fn names(&self, version: &Version, directory: &str) -> Result<Vec<String>, Fault> {
        names(self.world(), version, directory)
    }

    fn scan(
        &self,
        version: &Version,
        prefix: &str,
        visit: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        scan(self.world(), version, prefix, visit)
    }

    fn write(
        &self,
        parent: Option<&Version>,
        batch: &Batch,
        message: &Message,
        at_secs: u64,
    ) -> Result<Version, Fault> {
        let mut tree = match parent {
            Some(parent) => (*self.world().ledger_commit(parent)?.tree).clone(),
            None => BTreeMap::new(),
        };
        for (key, value) in batch.iter() {
            match value {
                Some(value) => tree.insert(key.as_str().to_owned(), Rc::from(value)),
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
        let commit = LedgerCommit { parent: parent.cloned(), message: text, at_secs, tree: Rc::new(tree) };
        self.world().remote.borrow_mut().ledger.insert(version.clone(), commit);
        self.process.step(|| format!("writes {}: {}", &version.0[..6], message.lines.join(" / ")));
        Ok(version)
    }

    fn publish(&self, old: Option<&Version>, new: &Version, also: &[RefUpdate]) -> Result<Outcome, Fault> {
        let own = RefUpdate {
            name: self.ref_name.to_owned(),
            old: old.map(|version| version.0.clone()),
            new: Some(new.0.clone()),
        };
        let updates: Vec<RefUpdate> = std::iter::once(own).chain(also.iter().cloned()).collect();
        let outcome = self.process.push(&updates)?;
        if outcome == Outcome::Applied {
            *self.cache().seen.borrow_mut() = Some(new.clone());
        }
        Ok(outcome)
    }

    fn history(&self, tip: &Version, until: Option<&Version>, count_max: usize) -> Result<Vec<ChainEntry>, Fault> {
        history(self.world(), tip, until, count_max)
    }

    fn contended(&self) -> bool {
        self.cache().contended.get()
    }

    fn set_contended(&self, contended: bool) {
        self.cache().contended.set(contended);
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

    fn contended(&self) -> bool {
        false
    }

    fn set_contended(&self, _: bool) {}
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
    let tree = world.ledger_commit(version)?.tree;
    let start = format!("{prefix}/");
    for (key, value) in tree.range(start.clone()..).take_while(|(key, _)| key.starts_with(&start)) {
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
        let LedgerCommit { parent, message, at_secs, .. } = world.ledger_commit(&version)?;
        entries.push(ChainEntry { version, parent: parent.clone(), message, at_secs });
        at = parent;
    }
    Ok(entries)
}
