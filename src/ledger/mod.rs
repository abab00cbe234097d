//! A transactional key–value store on a git ref.
//!
//! A ledger is a ref whose commits form one linear chain. Each commit's tree is a snapshot: keys are paths, values are
//! small blobs. One batch of puts and deletes becomes one commit, published by compare-and-swap. The commit message
//! carries a line a person can read and, as trailers, the ids of the operations that the commit applied. A chain that
//! has become long is folded: a checkpoint takes the place of its versions.
//!
//! Guarantees: a batch is applied whole or not at all; a ledger never moves from anything but the version that was
//! read; a lost answer is found again by operation id; a ref that went backwards is an [`Fault::Integrity`], never an
//! empty ledger. Must not know what the values mean.

mod beats;
mod cache;
mod checkpoint;
mod exchange;
mod fold;
mod git_store;
mod hosts;
mod memory;
mod message;
mod objects;
mod others;
mod pace;
mod place;
mod refs;
mod remembered;
mod standing;
mod transaction;
mod truth_refs;
mod waiting;

pub use beats::{Beat, Beating};
pub use cache::Cache;
pub use checkpoint::{Keep, follows, go_on, in_person, list_of, without_list};
pub use exchange::{Intent, Offer, Offering, Pending, SETTLED_SECS, Turn};
pub use fold::{FoldRequest, Folded, fold};
pub use git_store::{GitStore, Truth, archive_ref, tracking_ref, transfer_fault};
pub use memory::{MemoryClone, MemoryRemote, names_in};
pub use message::{Message, OPERATION_TRAILER};
pub use objects::{Author, CommitCopy, CopiedMessage, Objects};
pub use pace::Pace;
pub use place::{Place, RefFormat};
pub use refs::Refs;
pub use remembered::Remembered;
pub use standing::{Side, Standing};
pub use transaction::{Committed, Decision, Request, Round, Sharing, TransactError, transact};
pub use truth_refs::TruthRefs;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;

pub use crate::git::transfer::RefUpdate;

/// The largest value a key may have, in bytes.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 4096;
/// How often one compare-and-swap is tried before the transaction gives up.
pub const ATTEMPTS_MAX: u32 = 64;
/// How many commits are searched for an operation whose outcome is unknown.
pub const SEARCH_COMMITS_MAX: usize = 10_000;

/// One version of a ledger: the hexadecimal id of its commit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub String);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A key: a relative path of components in `a-z 0-9 - _ . =`, safe in any tree on any file system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// A key from text that the program itself spells.
    ///
    /// # Panics
    /// When the text is not a key: keys are built by `record` from validated ids, so that is a bug.
    pub fn new(text: impl Into<String>) -> Key {
        let text = text.into();
        assert!(Key::is_valid(&text), "BUG: {text:?} is not a ledger key");
        Key(text)
    }

    /// Whether `text` may be a key.
    pub fn is_valid(text: &str) -> bool {
        text.len() <= KEY_BYTES_MAX
            && text.split('/').all(|part| {
                !part.is_empty()
                    && !part.starts_with('.')
                    && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'='))
            })
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Puts (`Some`) and deletes (`None`) that belong together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch(BTreeMap<Key, Option<Vec<u8>>>);

impl Batch {
    /// Sets `key` to `value`.
    pub fn put(&mut self, key: Key, value: impl Into<Vec<u8>>) {
        self.0.insert(key, Some(value.into()));
    }

    /// Removes `key`; removing an absent key changes nothing.
    pub fn delete(&mut self, key: Key) {
        self.0.insert(key, None);
    }

    /// What the batch says of `key`, if anything.
    pub fn get(&self, key: &Key) -> Option<Option<&[u8]>> {
        self.0.get(key).map(|value| value.as_deref())
    }

    /// All changes, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, Option<&[u8]>)> {
        self.0.iter().map(|(key, value)| (key, value.as_deref()))
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One commit of the chain, as far as recovery and `log` need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainEntry {
    /// The commit.
    pub version: Version,
    /// The version before it: its parent, or what a checkpoint replaced. `None` for the first, and where a checkpoint
    /// names none that is older.
    pub parent: Option<Version>,
    /// Its message, unparsed; of a version that a checkpoint replaced, the first line and the operations.
    pub message: String,
    /// When it was written, in seconds since 1970, by its writer's clock.
    pub at_secs: u64,
}

/// What became of an attempt to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Every ref was moved.
    Applied,
    /// Nothing was moved, because this ref was not at the expected value.
    Lost {
        /// The ref that somebody else moved.
        ref_name: String,
    },
    /// Nothing was moved, because a lock file is in the way; it may go away.
    Locked {
        /// What the server said of the lock.
        reason: String,
    },
    /// Nothing was moved, and nothing will be the next time.
    Refused {
        /// The ref that was refused.
        ref_name: String,
        /// Why, in the words of the one who refused.
        reason: String,
    },
    /// Nothing was moved: the server cannot move several refs as one.
    NotAtomic,
    /// Nobody knows whether the refs were moved.
    Unknown {
        /// What is known of why.
        reason: String,
    },
}

/// Why a ledger cannot be read or written at all. Conflicts and refusals are not faults.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is no ledger yet at the truth, and none was ever seen.
    #[error("there is no {ref_name} on {place} yet")]
    Absent {
        /// The ref.
        ref_name: String,
        /// Where it was looked for.
        place: String,
    },
    /// The ref went backwards, vanished, or holds what no ledger holds.
    #[error("{what}")]
    Integrity {
        /// What was found, with the ref and versions.
        what: String,
    },
    /// The server wants another identity.
    #[error("{place} refused the credentials: {said}")]
    Authentication {
        /// The server.
        place: String,
        /// Its words.
        said: String,
    },
    /// The server was not reached, or asked for a pause.
    #[error("cannot reach {place}: {said}")]
    Network {
        /// The server.
        place: String,
        /// What failed.
        said: String,
    },
    /// There is no repository here.
    #[error("{what}")]
    NoRepository {
        /// Where none is, and why git says so.
        what: String,
    },
    /// This repository or remote cannot be used.
    #[error("{what}")]
    Environment {
        /// What is wrong, and with what.
        what: String,
    },
    /// A worktree has in it what was to be moved, and changes that this would overwrite.
    #[error("{what}")]
    InUse {
        /// Which worktree, and what it has.
        what: String,
    },
    /// A value would be larger than any may be; nothing was written.
    #[error("{what} would have {size} bytes")]
    TooLarge {
        /// The key.
        what: String,
        /// How large it would be, in bytes.
        size: usize,
    },
    /// A local file or process failed.
    #[error("{what}")]
    Io {
        /// What was tried, and what the system said.
        what: String,
    },
}

impl Fault {
    /// An [`Fault::Io`] from an error and what was being done.
    pub fn io(doing: impl fmt::Display, error: impl fmt::Display) -> Fault {
        Fault::Io { what: format!("{doing}: {error}") }
    }

    /// An [`Fault::Integrity`].
    pub fn integrity(what: impl Into<String>) -> Fault {
        Fault::Integrity { what: what.into() }
    }
}

/// Where a ledger lives: in memory, on a local ref, or on a remote that this clone pushes to.
///
/// Every method may fail with a [`Fault`]; none retries.
pub trait Store {
    /// Runs `work` while no other process of this clone runs any. Invocations of one clone queue here instead of
    /// racing each other over the network.
    fn in_turn<R>(&self, work: impl FnOnce() -> R) -> Result<R, Fault>;

    /// The last version this clone has seen, without asking anybody.
    fn cached(&self) -> Result<Option<Version>, Fault>;

    /// Asks the truth for its version. One that does not go on from the cached one, by its parents or by way of
    /// checkpoints, is an integrity fault.
    fn refresh(&self) -> Result<Option<Version>, Fault>;

    /// The value of `key` in `version`.
    fn get(&self, version: &Version, key: &Key) -> Result<Option<Vec<u8>>, Fault>;

    /// What stands directly in `directory`, keys and directories, by name.
    fn names(&self, version: &Version, directory: &str) -> Result<Vec<String>, Fault>;

    /// Visits every key below the directory `prefix` with its value, in key order, until `visit` breaks.
    fn scan(
        &self,
        version: &Version,
        prefix: &str,
        visit: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Fault>;

    /// Writes the version that follows `parent` by `batch`, without publishing it. `at_secs` dates it.
    fn write(&self, parent: Option<&Version>, batch: &Batch, message: &Message, at_secs: u64)
    -> Result<Version, Fault>;

    /// Moves the ledger from `old` to `new`, and the refs in `also` with it: all or none.
    fn publish(&self, old: Option<&Version>, new: &Version, also: &[RefUpdate]) -> Result<Outcome, Fault>;

    /// The chain from `tip` back to, and without, `until`; at most `count_max` entries, newest first. It goes on
    /// through the versions that a checkpoint names.
    fn history(&self, tip: &Version, until: Option<&Version>, count_max: usize) -> Result<Vec<ChainEntry>, Fault>;

    /// Writes the checkpoint that is to replace `tip`, without publishing it: a version without a parent that holds
    /// what `tip` holds, and `list`.
    fn write_checkpoint(&self, tip: &Version, list: &Batch, message: &str, at_secs: u64) -> Result<Version, Fault>;

    /// Moves the ledger from `tip` to the `checkpoint` made of it, once `tip` is kept in an archive at the truth.
    fn replace(&self, tip: &Version, checkpoint: &Version) -> Result<Outcome, Fault>;

    /// Makes a version that a checkpoint replaced, and those before it, readable here. Says whether it is.
    fn bring(&self, replaced: &Version) -> Result<bool, Fault>;

    /// Whether the last operation of this clone met somebody else's: then the next one had better ask first.
    fn contended(&self) -> bool;

    /// Remembers the answer to [`Store::contended`].
    fn set_contended(&self, contended: bool);

    /// The number that was kept beside `version`, if this clone still has it.
    fn hint(&self, version: &Version) -> Option<u64> {
        let _ = version;
        None
    }

    /// Keeps a number beside `version` for the next processes of this clone: what is costly to find out, and lost
    /// without harm.
    fn keep_hint(&self, version: &Version, hint: u64) {
        let _ = (version, hint);
    }

    /// Where readers remember what they made of values, so that nothing is decoded twice.
    fn remembered(&self) -> Option<&Remembered> {
        None
    }

    // What follows lets one push serve many. A store that leaves it out serves everybody by themselves.

    /// As [`Store::in_turn`], unless another process of this clone has `intent` applied while this one waits.
    /// `work` is told whether another process may have tried.
    fn in_turn_or_served<R>(&self, intent: &Intent, work: impl FnOnce(bool) -> R) -> Result<Turn<R>, Fault> {
        let _ = intent;
        self.in_turn(|| work(false)).map(Turn::Own)
    }

    /// What other processes of this clone wait for; in turn only.
    fn waiting(&self) -> Result<Vec<Pending>, Fault> {
        Ok(Vec::new())
    }

    /// Notes, before anything is published, that these of [`Store::waiting`] are being tried.
    fn try_for(&self, waiting: &[&str]) -> Result<(), Fault> {
        let _ = waiting;
        Ok(())
    }

    /// Tells the process that waits for operation `id` that `version` has it.
    fn serve(&self, id: &str, version: &Version) {
        let _ = (id, version);
    }

    /// Whether this store exchanges offers with other hosts.
    fn exchanges(&self) -> bool {
        false
    }

    /// As [`Store::refresh`], with what other hosts offer at the moment.
    fn gather(&self) -> Result<(Option<Version>, Vec<Offer>), Fault> {
        Ok((self.refresh()?, Vec::new()))
    }

    /// What other hosts offered when the truth was last asked for it, if that was when it gave the cached version.
    fn gathered(&self) -> Result<Option<Vec<Offer>>, Fault> {
        Ok(None)
    }

    /// As [`Store::publish`] without other refs; and in the same push, whatever becomes of the ledger, this host's
    /// offer is replaced, and others' are removed.
    fn publish_offering(
        &self,
        old: Option<&Version>,
        new: &Version,
        offering: &Offering<'_>,
    ) -> Result<Outcome, Fault> {
        let _ = offering;
        self.publish(old, new, &[])
    }

    /// Replaces this host's offer, and nothing else; `kept` is noted with it in this clone. That it arrives is not
    /// promised.
    fn offer(&self, intents: &[Intent], kept: &[Intent], at_secs: u64) -> Result<(), Fault> {
        let _ = (intents, kept, at_secs);
        Ok(())
    }

    /// Notes in this clone what may still be applied although nobody waits for it any more, as if it were offered.
    fn leave_open(&self, intents: &[Intent], at_secs: u64) -> Result<(), Fault> {
        let _ = (intents, at_secs);
        Ok(())
    }

    /// What this clone offered or left open last, unless it has published alone since. It may be settled long ago.
    fn left_open(&self) -> Result<Option<Offer>, Fault> {
        Ok(None)
    }

    /// Notes that nothing is open any more, because a version is there that was published alone or settled all of it.
    fn close(&self) -> Result<(), Fault> {
        Ok(())
    }

    // What follows says which hosts are alive, beside the ledger. A store that leaves it out hears of nobody.

    /// As [`Store::refresh`], with every heartbeat that this clone has ever heard of and still remembers.
    fn refresh_with_beats(&self) -> Result<(Option<Version>, Vec<Beat>), Fault> {
        Ok((self.refresh()?, Vec::new()))
    }

    /// The heartbeats that this clone remembers, without asking anybody.
    fn beats_seen(&self) -> Result<Vec<Beat>, Fault> {
        Ok(Vec::new())
    }

    /// The ref of this host's own heartbeat; `None` where it sends none.
    fn own_beat(&self) -> Option<String> {
        None
    }

    /// Runs `work` while no other process of this clone sends a heartbeat: that of one host speaks for all of them.
    fn beating_alone<R>(&self, work: impl FnOnce() -> R) -> Result<R, Fault> {
        Ok(work())
    }

    /// Sends this host's heartbeat. The ledger is not touched, and nobody who writes to it is in the way.
    fn beat(&self, beating: &Beating<'_>) -> Result<Outcome, Fault> {
        let _ = beating;
        Ok(Outcome::Applied)
    }
}

/// A readable version of a ledger.
pub struct Snapshot<'a, S: Store> {
    store: &'a S,
    version: Version,
}

impl<'a, S: Store> Snapshot<'a, S> {
    /// The snapshot of `version`.
    pub fn new(store: &'a S, version: Version) -> Self {
        Snapshot { store, version }
    }

    /// Which version this is.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The value of `key`.
    pub fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, Fault> {
        self.store.get(&self.version, key)
    }

    /// See [`Store::hint`].
    pub fn hint(&self) -> Option<u64> {
        self.store.hint(&self.version)
    }

    /// Where what was read is remembered, if the store does that.
    pub fn remembered(&self) -> Option<&'a Remembered> {
        self.store.remembered()
    }

    /// See [`Store::names`].
    pub fn names(&self, directory: &str) -> Result<Vec<String>, Fault> {
        self.store.names(&self.version, directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_safe_paths() {
        for good in ["meta", "tasks/3f/101", "trains/release=2f1.0/car"] {
            assert!(Key::is_valid(good), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "..", "a/../b", ".git", "A", "a b", "a\nb", "ü"] {
            assert!(!Key::is_valid(bad), "{bad}");
        }
    }
}
