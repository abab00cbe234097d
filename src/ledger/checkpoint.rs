//! Checkpoints: versions without a parent, each in the place of all versions before it.
//!
//! A checkpoint holds what the newest version it replaced held, and beside it, under `checkpoint/`, a list of the
//! newest versions that it replaced, with the operations they applied. The next version leaves the list out. Whoever
//! looks back comes to the checkpoint, goes on through its list, and finds what was applied when, as before.
//!
//! Guarantees: a chain that was folded, however often, leads back to the same versions as before, as far as the lists
//! go and, behind them, as far as replaced versions can be brought here; a list is cut off behind the newest versions
//! and all that an operation under way may look for, never before. A ledger follows a version when it leads back to it
//! in this way, and only then.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::{Batch, ChainEntry, Fault, Key, Message, Store, VALUE_BYTES_MAX, Version};
use crate::planted::{self, Bug};

/// Where the list is.
pub(super) const DIRECTORY: &str = "checkpoint";
/// What every value of the list begins with.
const HEADER: &str = "checkpoint 1\n\n";
/// How many versions a list names at most.
const LISTED_MAX: usize = 10_000;
/// How many operations it names at most: of a crowd that applies fifty a second, those of a quarter of an hour.
const LISTED_OPERATIONS_MAX: usize = 50_000;
/// How many values a list may have: more than the bounds above come to.
const VALUES_MAX: usize = 256;
/// How much is kept of what a version says, in characters.
const SUBJECT_CHARS_MAX: usize = 200;

/// Which of the versions that it replaces a checkpoint names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// So many of the newest.
    pub versions: usize,
    /// And all that were written since then, in seconds since 1970, as far as the bounds allow. It must lie before
    /// everything that may still be under way: who looks for an operation has begun it after that.
    pub since_secs: u64,
}

/// How many versions of a chain, the newest first, are in it in person: those up to its checkpoint, or all.
pub fn in_person(chain: &[ChainEntry]) -> usize {
    let checkpoint = chain.iter().position(|entry| Message::replaced_in(&entry.message).is_some());
    checkpoint.map_or(chain.len(), |index| index + 1)
}

/// Those of a chain that a checkpoint in its place names.
pub(super) fn listed<'c>(chain: &'c [ChainEntry], keep: &Keep) -> &'c [ChainEntry] {
    // A writer's clock that is behind must not cut off what others wrote before.
    let young = chain.iter().rposition(|entry| entry.at_secs >= keep.since_secs).map_or(0, |index| index + 1);
    let wanted = &chain[..young.max(keep.versions).min(LISTED_MAX).min(chain.len())];
    let mut operations = 0;
    let fits = wanted.iter().take_while(|entry| {
        operations += Message::operations_in(&entry.message).count();
        operations <= LISTED_OPERATIONS_MAX
    });
    &wanted[..fits.count()]
}

/// The list, as the values of a checkpoint.
pub(super) fn encode(listed: &[ChainEntry]) -> Result<Batch, Fault> {
    let mut values: Vec<String> = Vec::new();
    for entry in listed {
        let mut text = format!("{} {} {}\n", entry.version, entry.at_secs, subject(&entry.message));
        if !planted::is(Bug::FoldForgetsOperations) {
            Message::operations_in(&entry.message).for_each(|id| text.push_str(&format!("+{id}\n")));
        }
        match values.last_mut().filter(|value| value.len() + text.len() <= VALUE_BYTES_MAX) {
            Some(value) => value.push_str(&text),
            None => values.push(format!("{HEADER}{text}")),
        }
    }
    let mut batch = Batch::default();
    for (nth, value) in values.into_iter().enumerate() {
        let (key, size) = (key(nth), value.len());
        if size > VALUE_BYTES_MAX {
            return Err(Fault::TooLarge { what: key.to_string(), size });
        }
        batch.put(key, value);
    }
    Ok(batch)
}

/// What a checkpoint says.
pub(super) fn message(replaced: &Version, count: usize, nonce: String) -> String {
    let line = format!("checkpoint: replaces {count} versions up to {replaced}");
    let message = Message { lines: vec![line], operations: Vec::new(), nonce };
    message.to_text() + &Message::replaced_trailer(replaced)
}

/// The list of a checkpoint, as it is in its records.
pub fn list_of<S: Store>(store: &S, checkpoint: &Version) -> Result<Batch, Fault> {
    let mut list = Batch::default();
    store.scan(checkpoint, DIRECTORY, &mut |key, value| {
        list.put(Key::new(key), value);
        ControlFlow::Continue(())
    })?;
    Ok(list)
}

/// What a version holds, without a list. For whoever keeps a version as a map of its keys.
pub fn without_list<K: Borrow<str> + Ord, V>(tree: &mut BTreeMap<K, V>) {
    let directory = format!("{DIRECTORY}/");
    tree.retain(|key, _| !key.borrow().starts_with(&directory));
}

/// Goes on from the last of `entries` through the list of its checkpoint, if it is one. For [`Store::history`], whose
/// `until` and `count_max` these are; `value` reads the checkpoint.
pub fn go_on(
    entries: &mut Vec<ChainEntry>,
    until: Option<&Version>,
    count_max: usize,
    value: impl Fn(&Version, &Key) -> Result<Option<Vec<u8>>, Fault>,
) -> Result<(), Fault> {
    let Some(last) = entries.last_mut().filter(|last| last.parent.is_none()) else { return Ok(()) };
    let Some(replaced) = Message::replaced_in(&last.message).map(|id| Version(id.to_owned())) else { return Ok(()) };
    let checkpoint = last.version.clone();
    last.parent = Some(replaced.clone());
    let stops = |count: usize, next: &Version| count >= count_max || Some(next) == until;
    if stops(entries.len(), &replaced) {
        return Ok(());
    }
    let mut newest = Some(replaced);
    for nth in 0..VALUES_MAX {
        let key = key(nth);
        let Some(value) = value(&checkpoint, &key)? else { break };
        for listed in decode(&value, &key, &checkpoint)? {
            if newest.take().is_some_and(|newest| newest != listed.version) {
                return Err(Fault::integrity(format!("{key} of {checkpoint} does not begin with what it replaced")));
            }
            if let Some(last) = entries.last_mut() {
                last.parent = Some(listed.version.clone());
            }
            if stops(entries.len(), &listed.version) {
                return Ok(());
            }
            entries.push(listed);
        }
    }
    Ok(())
}

/// As [`Store::history`]; and where no list leads back to `until`, on through replaced versions themselves, as far as
/// they can be brought here.
pub(super) fn history_to<S: Store + ?Sized>(
    store: &S,
    tip: &Version,
    until: Option<&Version>,
    count_max: usize,
) -> Result<Vec<ChainEntry>, Fault> {
    let mut found = store.history(tip, until, count_max)?;
    let mut gone_through = 0;
    while let (Some(until), true) = (until, found.len() < count_max) {
        if leads_to(&found, until) {
            break;
        }
        let is_checkpoint = |entry: &ChainEntry| Message::replaced_in(&entry.message).is_some();
        let Some(index) = found.iter().skip(gone_through).position(is_checkpoint) else { break };
        let index = gone_through + index;
        let Some(replaced) = found[index].parent.clone() else { break };
        if !store.bring(&replaced)? {
            break;
        }
        gone_through = index + 1;
        found.truncate(gone_through);
        found.extend(store.history(&replaced, Some(until), count_max - found.len())?);
    }
    Ok(found)
}

/// Brings a version here that the ledger at `tip` goes back to, from the archives of the checkpoints in between. Gives
/// whether it is here. Whoever saw a checkpoint before its archive was there has it not.
pub(super) fn reach<S: Store + ?Sized>(store: &S, tip: &Version, version: &Version) -> Result<bool, Fault> {
    if store.bring(version)? {
        return Ok(true);
    }
    for entry in store.history(tip, Some(version), usize::MAX)? {
        if let Some(replaced) = Message::replaced_in(&entry.message)
            && store.bring(&Version(replaced.to_owned()))?
            && store.bring(version)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the ledger at `tip` goes on from `seen`, by way of checkpoints or without.
pub fn follows<S: Store + ?Sized>(store: &S, tip: &Version, seen: &Version) -> Result<bool, Fault> {
    let chain = history_to(store, tip, Some(seen), usize::MAX)?;
    let folded = || chain.iter().any(|entry| Message::replaced_in(&entry.message).is_some());
    if planted::is(Bug::CheckpointUnchecked) && folded() {
        return Ok(true);
    }
    Ok(leads_to(&chain, seen))
}

/// Whether a chain that was read up to `until` leads there.
pub(super) fn leads_to(chain: &[ChainEntry], until: &Version) -> bool {
    chain.last().is_none_or(|last| last.parent.as_ref() == Some(until))
}

fn key(nth: usize) -> Key {
    Key::new(format!("{DIRECTORY}/{nth:04}"))
}

/// What a version did, in one line.
fn subject(message: &str) -> String {
    let mut lines = Message::lines_in(message);
    let first: String = lines.next().unwrap_or_default().chars().take(SUBJECT_CHARS_MAX).collect();
    match lines.count() {
        0 => first,
        more => format!("{first} (and {more} more)"),
    }
}

/// One value of a list. Whose parent each is follows from their order.
fn decode(value: &[u8], key: &Key, checkpoint: &Version) -> Result<Vec<ChainEntry>, Fault> {
    let broken = |what: &str| Fault::integrity(format!("{key} of {checkpoint} {what}"));
    let text = std::str::from_utf8(value).map_err(|_| broken("is not text"))?;
    let body = text.strip_prefix(HEADER).ok_or_else(|| broken("is no list of this version of git scrum"))?;
    let mut entries: Vec<ChainEntry> = Vec::new();
    for line in body.lines() {
        if let Some(id) = line.strip_prefix('+') {
            let entry = entries.last_mut().ok_or_else(|| broken("begins with an operation"))?;
            entry.message.push_str(&Message::operation_trailer(id));
            continue;
        }
        let mut words = line.splitn(3, ' ');
        let (Some(version), Some(at_secs), Some(subject)) = (words.next(), words.next(), words.next()) else {
            return Err(broken("has a line of too few words"));
        };
        let at_secs = at_secs.parse().map_err(|_| broken("has a version without a date"))?;
        let message = format!("{subject}\n\n");
        entries.push(ChainEntry { version: Version(version.to_owned()), parent: None, message, at_secs });
    }
    if entries.is_empty() {
        return Err(broken("holds nothing"));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of so many versions, the newest first, one a second up to `count`, each with two operations.
    fn chain(count: usize) -> Vec<ChainEntry> {
        let version = |n: usize| Version(format!("{n:040x}"));
        let entry = |n: usize| {
            let operations = vec![format!("{n:031x}a"), format!("{n:031x}b")];
            let lines = vec![format!("add {n} by ada: x"), format!("claim {n} by ada")];
            let message = Message { lines, operations, nonce: format!("{n:032x}") }.to_text();
            let parent = (n > 1).then(|| version(n - 1));
            ChainEntry { version: version(n), parent, message, at_secs: n as u64 }
        };
        (1..=count).rev().map(entry).collect()
    }

    /// What is read from a checkpoint that lists `listed`.
    fn read(listed: &[ChainEntry], until: Option<&Version>, count_max: usize) -> Vec<ChainEntry> {
        let batch = encode(listed).expect("it fits");
        let replaced = listed[0].version.clone();
        let root = ChainEntry {
            version: Version("f".repeat(40)),
            parent: None,
            message: message(&replaced, listed.len(), "0".repeat(32)),
            at_secs: 0,
        };
        let mut entries = vec![root];
        let value = |_: &Version, key: &Key| Ok(batch.get(key).flatten().map(<[u8]>::to_vec));
        go_on(&mut entries, until, count_max, value).expect("what was written can be read");
        entries
    }

    #[test]
    fn a_list_leads_back_like_the_chain_it_stands_for() {
        // More than one value.
        let chain = chain(2_000);
        assert!(encode(&chain).expect("it fits").iter().count() > 1);
        let found = read(&chain, None, usize::MAX);
        assert_eq!(found.len(), 2_001);
        assert_eq!(found[0].parent.as_ref(), Some(&chain[0].version));
        for (found, entry) in found[1..].iter().zip(&chain) {
            assert_eq!((&found.version, &found.parent, found.at_secs), (&entry.version, &entry.parent, entry.at_secs));
            assert!(Message::operations_in(&found.message).eq(Message::operations_in(&entry.message)));
            assert!(found.message.starts_with("add ") && found.message.contains(" (and 1 more)"));
        }
    }

    #[test]
    fn a_list_is_written_as_it_is_documented() {
        let operations = |digit: u8| vec![String::from(char::from(digit)).repeat(32)];
        let entry = |version: char, lines: &[&str], operations: Vec<String>, at_secs| {
            let lines = lines.iter().map(|&line| line.to_owned()).collect();
            let message = Message { lines, operations, nonce: "0".repeat(32) }.to_text();
            ChainEntry { version: Version(version.to_string().repeat(40)), parent: None, message, at_secs }
        };
        let listed = [
            entry(
                'b',
                &["add 2 by ada: Two", "claim 1 by bob"],
                [operations(b'4'), operations(b'3')].concat(),
                1_790_000_060,
            ),
            entry('a', &["add 1 by ada: One"], operations(b'2'), 1_790_000_000),
        ];
        let batch = encode(&listed).expect("it fits");
        let value = batch.get(&Key::new("checkpoint/0000")).flatten().expect("one value");
        let (b, a) = ("b".repeat(40), "a".repeat(40));
        let [two, three, four] = ["2", "3", "4"].map(|digit| digit.repeat(32));
        let text = format!(
            "checkpoint 1\n\n{b} 1790000060 add 2 by ada: Two (and 1 more)\n+{four}\n+{three}\n\
             {a} 1790000000 add 1 by ada: One\n+{two}\n"
        );
        assert_eq!(std::str::from_utf8(value), Ok(text.as_str()));
        let said = message(&listed[0].version, 7, "0".repeat(32));
        let nonce = "0".repeat(32);
        assert_eq!(
            said,
            format!("checkpoint: replaces 7 versions up to {b}\n\nScrum-Nonce: {nonce}\nScrum-Checkpoint: {b}\n")
        );
    }

    #[test]
    fn a_list_ends_where_it_is_told_to() {
        let chain = chain(50);
        assert_eq!(read(&chain, Some(&chain[0].version), usize::MAX).len(), 1);
        let some = read(&chain, Some(&chain[30].version), usize::MAX);
        assert_eq!((some.len(), some[30].parent.as_ref()), (31, Some(&chain[30].version)));
        let some = read(&chain, None, 10);
        assert_eq!((some.len(), some[9].parent.as_ref()), (10, Some(&chain[9].version)));
    }

    #[test]
    fn a_list_names_the_newest_and_the_young() {
        let mut chain = chain(50);
        let count = |chain: &[ChainEntry], versions, since_secs| listed(chain, &Keep { versions, since_secs }).len();
        assert_eq!(count(&chain, 10, 1_000), 10);
        assert_eq!(count(&chain, 10, 21), 30);
        assert_eq!(count(&chain, 100, 21), 50);
        // A clock that is behind cuts nothing off.
        chain[5].at_secs = 0;
        assert_eq!(count(&chain, 2, 21), 30);
    }

    #[test]
    fn a_list_that_was_tampered_with_is_noticed() {
        let checkpoint = Version("f".repeat(40));
        for value in
            ["", "checkpoint 2\n\na 1 x\n", "checkpoint 1\n\n", "checkpoint 1\n\n+a\n", "checkpoint 1\n\na b c\n"]
        {
            let read = decode(value.as_bytes(), &key(0), &checkpoint);
            assert!(matches!(read, Err(Fault::Integrity { .. })), "{value:?}: {read:?}");
        }
    }
}
