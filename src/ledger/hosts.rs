//! Offers as refs: `refs/scrum/hosts/<id>` points to a commit that says what one host asks of the others; and the ref
//! that keeps pushes of them small.
//!
//! The commit has no parent. Its message has one trailer for each intent, with the version that is its base; the
//! payload lies beside it under the id. Guarantees: whatever anybody has put there is an offer or is left alone; no
//! more is read than an offer may hold.

use super::{Author, Batch, Fault, Intent, Key, Objects, Offer, RefUpdate, VALUE_BYTES_MAX, Version};

/// How many intents of one host are looked at.
const INTENTS_MAX: usize = 256;
/// The trailer that names one operation and the version it is based on.
const INTENT_TRAILER: &str = "Scrum-Intent: ";
/// One version in so many moves the landmark.
const LANDMARK_EVERY: u8 = 32;

/// Where the hosts of a ledger meet.
pub(super) struct HostRefs {
    /// Begins the name of every host's ref; ends with a slash.
    pub prefix: String,
    /// The ref of this host.
    pub own: String,
    /// The ref of a version of some time ago: see [`HostRefs::move_landmark`].
    pub landmark: String,
}

impl HostRefs {
    /// Has the landmark moved to `old`, now and then, where `new` is published in its place.
    ///
    /// A push whose ledger was moved meanwhile still brings its offer, and git sends with it what the ledger would have
    /// been, and all that came before, back to what the server names and the clone has. The ledger's tip is not among
    /// that, for somebody else has made it: each would send the whole history.
    pub fn move_landmark(&self, old: Option<&Version>, new: &Version) -> Option<RefUpdate> {
        let digits = new.0.get(new.0.len().checked_sub(2)?..)?;
        let is_next = u8::from_str_radix(digits, 16).is_ok_and(|byte| byte % LANDMARK_EVERY == 0);
        let old = old.filter(|_| is_next)?;
        Some(RefUpdate { name: self.landmark.clone(), old: None, new: Some(old.0.clone()) })
    }
}

/// Writes an offer. Gives its commit.
pub(super) fn write_offer(
    objects: &Objects,
    author: &Author,
    intents: &[Intent],
    at_secs: u64,
) -> Result<String, Fault> {
    let mut batch = Batch::default();
    let mut message = format!("offer {}\n\n", intents.len());
    for intent in intents {
        batch.put(Key::new(intent.id.clone()), intent.payload.clone());
        message.push_str(&format!("{INTENT_TRAILER}{} {}\n", intent.id, intent.base));
    }
    let tree = objects.write_tree(None, &batch)?;
    objects.write_commit(&tree, &[], author, &message, at_secs)
}

/// Reads the offer that `ref_name` points to. What cannot be read asks nothing.
pub(super) fn read_offer(objects: &Objects, ref_name: String, commit: String) -> Offer {
    let version = Version(commit);
    let Some(entry) = objects.chain(&version.0, None, 1).ok().and_then(|mut chain| chain.pop()) else {
        return Offer { ref_name, version, at_secs: 0, intents: Vec::new() };
    };
    let lines = entry.message.lines().filter_map(|line| line.strip_prefix(INTENT_TRAILER)?.split_once(' '));
    let intent = |(id, base): (&str, &str)| {
        let payload = objects.blob(&version.0, id, VALUE_BYTES_MAX).ok()??;
        Some(Intent { id: id.to_owned(), base: Version(base.to_owned()), payload })
    };
    let intents = lines.take(INTENTS_MAX).filter_map(intent).collect();
    Offer { ref_name, version, at_secs: entry.at_secs, intents }
}
