//! Many small records in few values: a directory of leaves, each with the records of one range of keys, in order.
//!
//! The server of a remote looks at every entry of the tree that a push started from, and a reader opens every value
//! it needs. So records share values: a leaf is named by the least key it may hold, holds the records up to the
//! next leaf's name, is split when it has grown too large, joined with its neighbour when it has become small, and
//! is gone when it is empty. A change of one record reads one listing and one leaf, and writes one leaf.
//!
//! Guarantees: a record is found by its key alone; records are visited in the order of their keys; a leaf that is
//! not in order is an integrity fault; a leaf is decoded once to find, visit and edit its records. Knows nothing of
//! what the records mean.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{decode, versioned};
use crate::ledger::{Batch, Fault, Key, Snapshot, Store};

/// How large a shelf may be, in bytes, for all of it to be kept by whoever visits it: a small one is mostly edited
/// next, and a large one would fill the memory.
const KEPT_BYTES_MAX: usize = 512 * 1024;

/// A record that shares a leaf with others.
pub trait Shelved: Serialize + DeserializeOwned + Clone + 'static {
    /// Where it stands among the others. Up to the first dot it may become the name of a leaf; what follows tells
    /// apart records that must share one.
    fn shelf_key(&self) -> String;
}

/// What leaves are named by.
fn bound(key: &str) -> &str {
    key.split_once('.').map_or(key, |(bound, _)| bound)
}

/// A key for a record that is looked up by its id only: it spreads ids evenly, whatever they have in common. The
/// 64-bit FNV-1a hash (Fowler, Noll, Vo: <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>), whose high
/// bits hardly depend on the last letters, and the finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), which
/// mixes them.
pub fn spread(id: &str) -> String {
    let hash = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    format!("{:016x}.{id}", hash ^ (hash >> 31))
}

/// The largest number that keys keep in order.
pub const NUMBER_MAX: u64 = 0xff_ffff_ffff;

/// A key for a record that is visited by number.
pub fn numbered(number: u64) -> String {
    format!("{number:010x}")
}

/// One directory of leaves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shelf {
    directory: String,
    /// What the names of leaves end with. Git packs objects whose names end alike as differences to each other: records
    /// of one kind are alike, and those of another kind are in the way of whoever reads them.
    kind: &'static str,
    /// When a leaf is split, in bytes. A single record may be larger.
    leaf_bytes: usize,
}

/// New values of records, by key; `None` removes one.
pub type Edits<T> = BTreeMap<String, Option<T>>;

/// Edits of several shelves.
pub struct Shelves<T>(BTreeMap<Shelf, Edits<T>>);

impl<T> Default for Shelves<T> {
    fn default() -> Self {
        Shelves(BTreeMap::new())
    }
}

impl<T: Shelved> Shelves<T> {
    /// Sets the record at `key`, or removes it.
    pub fn edit(&mut self, shelf: Shelf, key: String, record: Option<T>) {
        self.0.entry(shelf).or_default().insert(key, record);
    }

    /// Adds to `batch` what makes these edits of the shelves in `snapshot`.
    pub fn write<S: Store>(self, snapshot: Option<&Snapshot<'_, S>>, batch: &mut Batch) -> Result<(), Fault> {
        self.0.into_iter().try_for_each(|(shelf, edits)| shelf.edit(snapshot, batch, edits))
    }
}

/// Records that share a value.
#[derive(Deserialize)]
pub struct Together<T> {
    /// The records, in order.
    pub record: Vec<T>,
}

/// One record among those that share a value: such texts one after the other are the body of the value.
pub fn text_among<T: Serialize>(record: &T) -> Result<String, Fault> {
    #[derive(Serialize)]
    struct Alone<'a, T> {
        record: [&'a T; 1],
    }
    super::text_of(&Alone { record: [record] })
}

/// The records of a leaf, by key.
type Records<T> = BTreeMap<String, T>;

/// The records of a leaf by key, each as its text has it.
type Texts = BTreeMap<String, String>;

/// A leaf while it is edited; not read yet where `texts` is `None`.
struct Leaf {
    name: String,
    texts: Option<Texts>,
}

impl Leaf {
    fn bytes(&self) -> usize {
        self.texts.iter().flat_map(BTreeMap::values).map(String::len).sum()
    }
}

impl Shelf {
    /// The shelf of records of one `kind` in `directory`, whose leaves are split when they have more than `leaf_bytes`.
    pub fn new(directory: impl Into<String>, kind: &'static str, leaf_bytes: usize) -> Shelf {
        Shelf { directory: directory.into(), kind, leaf_bytes }
    }

    /// What the leaves are named by, in order.
    fn bounds<S: Store>(&self, snapshot: &Snapshot<'_, S>) -> Result<Vec<String>, Fault> {
        let names = snapshot.names(&self.directory)?.into_iter();
        names
            .map(|name| match name.split_once('.') {
                Some((bound, kind)) if kind == self.kind => Ok(bound.to_owned()),
                _ => Err(Fault::integrity(format!("{}/{name} is not a record", self.directory))),
            })
            .collect()
    }

    /// The record at `key`.
    pub fn find<T: Shelved, S: Store>(&self, snapshot: &Snapshot<'_, S>, key: &str) -> Result<Option<T>, Fault> {
        let names = self.bounds(snapshot)?;
        let after = names.partition_point(|name| name.as_str() <= bound(key));
        let Some(name) = after.checked_sub(1).map(|nth| &names[nth]) else { return Ok(None) };
        let records = self.kept::<T, S>(snapshot, name, names.get(after).map(String::as_str))?;
        Ok(records.get(key).cloned())
    }

    /// Visits every record in the order of keys, until `visit` breaks.
    pub fn visit<T: Shelved, S: Store>(
        &self,
        snapshot: &Snapshot<'_, S>,
        mut visit: impl FnMut(T) -> Result<ControlFlow<()>, Fault>,
    ) -> Result<ControlFlow<()>, Fault> {
        let names = self.bounds(snapshot)?;
        let mut each = |record| match visit(record) {
            Ok(ControlFlow::Continue(())) => ControlFlow::Continue(()),
            Ok(ControlFlow::Break(())) => ControlFlow::Break(Ok(())),
            Err(fault) => ControlFlow::Break(Err(fault)),
        };
        for (nth, name) in names.iter().enumerate() {
            let next = names.get(nth + 1).map(String::as_str);
            let flow = if names.len() * self.leaf_bytes <= KEPT_BYTES_MAX {
                self.kept::<T, S>(snapshot, name, next)?.values().cloned().try_for_each(&mut each)
            } else {
                self.read::<T, S>(snapshot, name, next)?.into_values().try_for_each(&mut each)
            };
            match flow {
                ControlFlow::Continue(()) => {}
                ControlFlow::Break(result) => return result.map(ControlFlow::Break),
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Visits every record in the order of keys.
    pub fn each<T: Shelved, S: Store>(
        &self,
        snapshot: &Snapshot<'_, S>,
        mut visit: impl FnMut(T) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.visit(snapshot, |record| visit(record).map(ControlFlow::Continue)).map(|_| ())
    }

    fn key(&self, leaf: &str) -> Key {
        Key::new(format!("{}/{leaf}.{}", self.directory, self.kind))
    }

    /// As [`Shelf::read`], and remembered for the next who asks.
    fn kept<T: Shelved, S: Store>(
        &self,
        snapshot: &Snapshot<'_, S>,
        leaf: &str,
        next: Option<&str>,
    ) -> Result<Rc<Records<T>>, Fault> {
        let Some(remembered) = snapshot.remembered() else { return self.read(snapshot, leaf, next).map(Rc::new) };
        let key = self.key(leaf);
        let place = format!("{key} {}", next.unwrap_or_default());
        remembered.made(place, self.value(snapshot, &key)?, |value| records(&key, value, leaf, next))
    }

    /// The records of a leaf, which come before those of the `next` one.
    fn read<T: Shelved, S: Store>(
        &self,
        snapshot: &Snapshot<'_, S>,
        leaf: &str,
        next: Option<&str>,
    ) -> Result<Records<T>, Fault> {
        let key = self.key(leaf);
        records(&key, &self.value(snapshot, &key)?, leaf, next)
    }

    fn value<S: Store>(&self, snapshot: &Snapshot<'_, S>, key: &Key) -> Result<Vec<u8>, Fault> {
        snapshot.get(key)?.ok_or_else(|| Fault::integrity(format!("{key} is not a record")))
    }

    /// Reads the `nth` leaf, if that was not done yet.
    fn open<T: Shelved, S: Store>(
        &self,
        snapshot: Option<&Snapshot<'_, S>>,
        leaves: &mut [Leaf],
        nth: usize,
    ) -> Result<(), Fault> {
        let (None, Some(snapshot)) = (&leaves[nth].texts, snapshot) else { return Ok(()) };
        let next = leaves.get(nth + 1).map(|leaf| leaf.name.as_str());
        let records = self.kept::<T, S>(snapshot, &leaves[nth].name, next)?;
        let texts = records.iter().map(|(key, record)| Ok((key.clone(), text_among(record)?)));
        leaves[nth].texts = Some(texts.collect::<Result<Texts, Fault>>()?);
        Ok(())
    }

    /// Adds to `batch` what makes `edits` of the shelf in `snapshot`.
    pub fn edit<T: Shelved, S: Store>(
        &self,
        snapshot: Option<&Snapshot<'_, S>>,
        batch: &mut Batch,
        edits: Edits<T>,
    ) -> Result<(), Fault> {
        let names = snapshot.map_or(Ok(Vec::new()), |snapshot| self.bounds(snapshot))?;
        let mut leaves: Vec<Leaf> = names.into_iter().map(|name| Leaf { name, texts: None }).collect();
        // Records that come after all others, as new ones mostly do, leave full leaves behind them.
        let mut appending = false;
        for (key, record) in edits {
            let after = leaves.partition_point(|leaf| leaf.name.as_str() <= bound(&key));
            let at = after.saturating_sub(1);
            if leaves.is_empty() {
                leaves.push(Leaf { name: bound(&key).to_owned(), texts: Some(Texts::new()) });
            }
            let last = at + 1 == leaves.len();
            self.open::<T, S>(snapshot, &mut leaves, at)?;
            let texts = leaves[at].texts.get_or_insert_default();
            appending = last && record.is_some() && texts.last_key_value().is_none_or(|(last, _)| *last <= key);
            match record {
                Some(record) => texts.insert(key, text_among(&record)?),
                None => texts.remove(&key),
            };
        }
        self.join_small::<T, S>(snapshot, batch, &mut leaves)?;
        for (nth, leaf) in leaves.iter().enumerate() {
            if let Some(texts) = &leaf.texts {
                let appending = appending && nth + 1 == leaves.len();
                self.write(batch, &leaf.name, texts, appending)?;
            }
        }
        Ok(())
    }

    /// Joins edited leaves that have become small with the one that follows, or the one before.
    fn join_small<T: Shelved, S: Store>(
        &self,
        snapshot: Option<&Snapshot<'_, S>>,
        batch: &mut Batch,
        leaves: &mut Vec<Leaf>,
    ) -> Result<(), Fault> {
        let mut nth = 0;
        while nth < leaves.len() {
            let small = leaves[nth].texts.is_some() && leaves[nth].bytes() < self.leaf_bytes / 4;
            let pairs = [Some((nth, nth + 1)), nth.checked_sub(1).map(|before| (before, nth))];
            let mut joined = false;
            for (first, second) in pairs.into_iter().flatten().filter(|_| small) {
                joined = joined || self.join::<T, S>(snapshot, batch, leaves, first, second)?;
            }
            nth += usize::from(!joined);
        }
        Ok(())
    }

    /// Joins two neighbours, if there are two and they are small enough together.
    fn join<T: Shelved, S: Store>(
        &self,
        snapshot: Option<&Snapshot<'_, S>>,
        batch: &mut Batch,
        leaves: &mut Vec<Leaf>,
        first: usize,
        second: usize,
    ) -> Result<bool, Fault> {
        if second >= leaves.len() {
            return Ok(false);
        }
        self.open::<T, S>(snapshot, leaves, first)?;
        self.open::<T, S>(snapshot, leaves, second)?;
        if leaves[first].bytes() + leaves[second].bytes() > self.leaf_bytes / 2 {
            return Ok(false);
        }
        let gone = leaves.remove(second);
        batch.delete(self.key(&gone.name));
        leaves[first].texts.get_or_insert_default().extend(gone.texts.into_iter().flatten());
        Ok(true)
    }

    /// Writes one leaf as it is now, in as many leaves as it needs.
    fn write(&self, batch: &mut Batch, name: &str, texts: &Texts, appending: bool) -> Result<(), Fault> {
        let records: Vec<(&str, &str)> = texts.iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
        let mut parts = Vec::new();
        split(&records, self.leaf_bytes, appending, &mut parts);
        batch.delete(self.key(name));
        for (nth, part) in parts.into_iter().enumerate() {
            let first = bound(part[0].0);
            let name = if nth == 0 && name < first { name } else { first };
            let body: Vec<&str> = part.iter().map(|(_, text)| *text).collect();
            let key = self.key(name);
            let value = versioned(key.as_str(), &body.join("\n"))?;
            batch.put(key, value);
        }
        Ok(())
    }
}

/// The records in the value of `leaf` at `key`, which come before those of the `next` one.
fn records<T: Shelved>(key: &Key, value: &[u8], leaf: &str, next: Option<&str>) -> Result<Records<T>, Fault> {
    let read: Together<T> = decode(key.as_str(), value)?;
    let mut records = Records::new();
    for record in read.record {
        let at = record.shelf_key();
        let in_order = records.last_key_value().is_none_or(|(last, _)| *last < at);
        if !in_order || bound(&at) < leaf || next.is_some_and(|next| next <= bound(&at)) {
            return Err(Fault::integrity(format!("{key} holds a record out of its place")));
        }
        records.insert(at, record);
    }
    if records.is_empty() {
        return Err(Fault::integrity(format!("{key} holds nothing")));
    }
    Ok(records)
}

/// Cuts `records` into parts of at most `bytes_max`, as far as records may be parted.
fn split<'a>(
    records: &'a [(&'a str, &'a str)],
    bytes_max: usize,
    appending: bool,
    parts: &mut Vec<&'a [(&'a str, &'a str)]>,
) {
    let bytes: usize = records.iter().map(|(_, text)| text.len()).sum();
    let wanted = if appending { bytes_max } else { bytes / 2 };
    let mut before = 0;
    // The last place to cut before the wanted size, or the first one there is.
    let mut cut = None;
    for (nth, pair) in records.windows(2).enumerate() {
        before += pair[0].1.len();
        if bound(pair[0].0) != bound(pair[1].0) && (cut.is_none() || before <= wanted) {
            cut = Some(nth + 1);
        }
    }
    match cut.filter(|_| bytes > bytes_max) {
        Some(cut) => {
            split(&records[..cut], bytes_max, appending, parts);
            split(&records[cut..], bytes_max, appending, parts);
        }
        None if records.is_empty() => {}
        None => parts.push(records),
    }
}

#[cfg(test)]
mod tests;
