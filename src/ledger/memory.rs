//! The reference implementation of [`Store`]: a remote and its clones in memory.
//!
//! It is small enough to be read and believed, and the conformance tests hold the real one against it. The simulator
//! wraps it with faults. Only one thread uses it.

use std::borrow::Borrow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::rc::Rc;

use super::{Batch, ChainEntry, Fault, Key, Message, Outcome, RefUpdate, Store, Version, archive_ref, checkpoint};

#[derive(Clone)]
struct Commit {
    parent: Option<Version>,
    message: String,
    at_secs: u64,
    tree: Rc<BTreeMap<String, Vec<u8>>>,
}

/// The truth: refs, and every object anybody wrote.
#[derive(Default)]
pub struct MemoryRemote {
    refs: RefCell<BTreeMap<String, String>>,
    commits: RefCell<BTreeMap<Version, Commit>>,
}

impl MemoryRemote {
    /// An empty remote.
    pub fn new() -> Rc<MemoryRemote> {
        Rc::new(MemoryRemote::default())
    }

    /// The value of a ref.
    pub fn read_ref(&self, name: &str) -> Option<String> {
        self.refs.borrow().get(name).cloned()
    }

    /// Sets a ref without asking, as a person with force would.
    pub fn force_ref(&self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.refs.borrow_mut().insert(name.to_owned(), value.to_owned()),
            None => self.refs.borrow_mut().remove(name),
        };
    }

    /// Moves all refs of `updates` if each has its expected value; otherwise names the first that has not.
    pub fn update(&self, updates: &[RefUpdate]) -> Result<(), String> {
        let mut refs = self.refs.borrow_mut();
        if let Some(lost) = updates.iter().find(|update| refs.get(&update.name) != update.old.as_ref()) {
            return Err(lost.name.clone());
        }
        for update in updates {
            match &update.new {
                Some(new) => refs.insert(update.name.clone(), new.clone()),
                None => refs.remove(&update.name),
            };
        }
        Ok(())
    }

    fn commit(&self, version: &Version) -> Result<Commit, Fault> {
        let found = self.commits.borrow().get(version).cloned();
        found.ok_or_else(|| Fault::integrity(format!("version {version} is missing")))
    }

    fn add(&self, version: Version, commit: Commit) -> Version {
        let known = self.commits.borrow_mut().insert(version.clone(), commit);
        // The nonce makes every attempt a version of its own, as the hash does in git.
        assert!(known.is_none(), "BUG: nonce {version} was used twice");
        version
    }
}

/// One clone's view of a ledger on a [`MemoryRemote`].
pub struct MemoryClone {
    remote: Rc<MemoryRemote>,
    ref_name: String,
    seen: RefCell<Option<Version>>,
    contended: Cell<bool>,
}

impl MemoryClone {
    /// A clone that has seen nothing yet.
    pub fn new(remote: Rc<MemoryRemote>, ref_name: &str) -> MemoryClone {
        MemoryClone { remote, ref_name: ref_name.to_owned(), seen: RefCell::new(None), contended: Cell::new(false) }
    }

    /// The remote this clone belongs to.
    pub fn remote(&self) -> &Rc<MemoryRemote> {
        &self.remote
    }
}

impl Store for MemoryClone {
    fn in_turn<R>(&self, work: impl FnOnce() -> R) -> Result<R, Fault> {
        Ok(work())
    }

    fn cached(&self) -> Result<Option<Version>, Fault> {
        Ok(self.seen.borrow().clone())
    }

    fn refresh(&self) -> Result<Option<Version>, Fault> {
        let tip = self.remote.read_ref(&self.ref_name).map(Version);
        let seen = self.seen.borrow().clone();
        match (&seen, &tip) {
            (Some(old), None) => {
                return Err(Fault::integrity(format!("{} vanished; it was at {old}", self.ref_name)));
            }
            (Some(old), Some(new)) if !checkpoint::follows(self, new, old)? => {
                return Err(Fault::integrity(format!("{} went back from {old} to {new}", self.ref_name)));
            }
            _ => {}
        }
        self.seen.borrow_mut().clone_from(&tip);
        Ok(tip)
    }

    fn get(&self, version: &Version, key: &Key) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.remote.commit(version)?.tree.get(key.as_str()).cloned())
    }

    fn names(&self, version: &Version, directory: &str) -> Result<Vec<String>, Fault> {
        Ok(names_in(&self.remote.commit(version)?.tree, directory))
    }

    fn scan(
        &self,
        version: &Version,
        prefix: &str,
        visit: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let commit = self.remote.commit(version)?;
        let start = format!("{prefix}/");
        for (key, value) in commit.tree.range(start.clone()..).take_while(|(key, _)| key.starts_with(&start)) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn write(
        &self,
        parent: Option<&Version>,
        batch: &Batch,
        message: &Message,
        at_secs: u64,
    ) -> Result<Version, Fault> {
        let mut tree = match parent {
            Some(parent) => (*self.remote.commit(parent)?.tree).clone(),
            None => BTreeMap::new(),
        };
        checkpoint::without_list(&mut tree);
        for (key, value) in batch.iter() {
            match value {
                Some(value) => tree.insert(key.as_str().to_owned(), value.to_vec()),
                None => tree.remove(key.as_str()),
            };
        }
        let commit = Commit { parent: parent.cloned(), message: message.to_text(), at_secs, tree: Rc::new(tree) };
        Ok(self.remote.add(Version(message.nonce.clone()), commit))
    }

    fn publish(&self, old: Option<&Version>, new: &Version, also: &[RefUpdate]) -> Result<Outcome, Fault> {
        let own = RefUpdate {
            name: self.ref_name.clone(),
            old: old.map(|version| version.0.clone()),
            new: Some(new.0.clone()),
        };
        let updates: Vec<RefUpdate> = std::iter::once(own).chain(also.iter().cloned()).collect();
        Ok(match self.remote.update(&updates) {
            Ok(()) => {
                *self.seen.borrow_mut() = Some(new.clone());
                Outcome::Applied
            }
            Err(ref_name) => Outcome::Lost { ref_name },
        })
    }

    fn history(&self, tip: &Version, until: Option<&Version>, count_max: usize) -> Result<Vec<ChainEntry>, Fault> {
        let mut entries = Vec::new();
        let mut at = Some(tip.clone());
        while let Some(version) = at {
            if Some(&version) == until || entries.len() == count_max {
                break;
            }
            let Commit { parent, message, at_secs, .. } = self.remote.commit(&version)?;
            entries.push(ChainEntry { version, parent: parent.clone(), message, at_secs });
            at = parent;
        }
        checkpoint::go_on(&mut entries, until, count_max, |version, key| self.get(version, key))?;
        Ok(entries)
    }

    fn write_checkpoint(&self, tip: &Version, list: &Batch, message: &str, at_secs: u64) -> Result<Version, Fault> {
        let mut tree = (*self.remote.commit(tip)?.tree).clone();
        checkpoint::without_list(&mut tree);
        let values = list.iter().filter_map(|(key, value)| Some((key.as_str().to_owned(), value?.to_vec())));
        tree.extend(values);
        let commit = Commit { parent: None, message: message.to_owned(), at_secs, tree: Rc::new(tree) };
        let nonce = Message::nonce_in(message).expect("BUG: a checkpoint has a nonce");
        Ok(self.remote.add(Version(nonce.to_owned()), commit))
    }

    fn replace(&self, tip: &Version, checkpoint: &Version) -> Result<Outcome, Fault> {
        let name = archive_ref(&self.ref_name, tip);
        let archive = RefUpdate { old: self.remote.read_ref(&name), new: Some(tip.0.clone()), name };
        self.publish(Some(tip), checkpoint, &[archive])
    }

    fn bring(&self, replaced: &Version) -> Result<bool, Fault> {
        Ok(self.remote.read_ref(&archive_ref(&self.ref_name, replaced)).is_some())
    }

    fn contended(&self) -> bool {
        self.contended.get()
    }

    fn set_contended(&self, contended: bool) {
        self.contended.set(contended);
    }
}

/// What [`Store::names`] gives, for whoever keeps a version as a map of its keys.
pub fn names_in<K: Borrow<str> + Ord, V>(tree: &BTreeMap<K, V>, directory: &str) -> Vec<String> {
    let start = format!("{directory}/");
    let from = (Bound::Included(start.as_str()), Bound::Unbounded);
    let below = tree.range::<str, _>(from).map_while(|(key, _)| key.borrow().strip_prefix(&start));
    let mut names: Vec<String> = below.map(|rest| rest.split('/').next().unwrap_or(rest).to_owned()).collect();
    names.dedup();
    names.sort_unstable();
    names
}
