//! Heartbeats as refs: `refs/scrum/beats/<id>` points to a commit that says what one host has been alive for, and when.
//!
//! They stand apart from offers, which make everybody who pushes ask first. A heartbeat is a fact: whoever has seen one
//! may rely on it for ever, also where the ref has moved on or is gone. So the refs of the cache are only ever added to
//! what was known before, and one push of one ref, which nobody else sets, is all that a heartbeat takes. Must not know
//! what the numbers are that hosts are alive for.

use std::collections::BTreeMap;

use super::{Author, Batch, Cache, Fault, GitStore, Objects, Outcome, RefUpdate, Store, Truth, Version, tracking_ref};
use crate::git::transfer::PushReport;

/// How many numbers of one host are looked at.
const ALIVE_MAX: usize = 4_096;
/// How many refs of others one push removes.
const SWEPT_MAX: usize = 16;
/// The trailer that names one number and the time, in seconds since 1970, at which the host was alive for it.
const ALIVE_TRAILER: &str = "Scrum-Alive: ";

/// What one host has been alive for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// The host's ref.
    pub ref_name: String,
    /// What the ref points to.
    pub version: Version,
    /// When it was written, in seconds since 1970, by that host's clock.
    pub at_secs: u64,
    /// Numbers whose meaning is the caller's, each with the last time the host was alive for it.
    pub alive: BTreeMap<u64, u64>,
}

/// What a host says with its next heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beating<'a> {
    /// What its ref is now, as far as it knows; `None`: there is none.
    pub old: Option<&'a Version>,
    /// What it is alive for; nothing: the ref is removed.
    pub alive: &'a BTreeMap<u64, u64>,
    /// When, in seconds since 1970.
    pub at_secs: u64,
    /// Heartbeats of hosts that are gone: removed in the same push, each where it still is what was seen.
    pub settled: &'a [Beat],
}

/// Where the hosts of a ledger leave their heartbeats.
pub(super) struct BeatRefs {
    /// Begins the name of every host's ref; ends with a slash.
    pub prefix: String,
    /// The ref of this host.
    pub own: String,
}

fn write(objects: &Objects, author: &Author, beating: &Beating<'_>) -> Result<String, Fault> {
    let mut message = format!("heartbeat {}\n\n", beating.alive.len());
    for (number, at_secs) in beating.alive {
        message.push_str(&format!("{ALIVE_TRAILER}{number} {at_secs}\n"));
    }
    let tree = objects.write_tree(None, &Batch::default())?;
    objects.write_commit(&tree, &[], author, &message, beating.at_secs)
}

/// Reads the heartbeat that `ref_name` points to. What cannot be read says nothing.
pub(super) fn read_beat(objects: &Objects, ref_name: String, commit: String) -> Beat {
    let version = Version(commit);
    let Some(entry) = objects.chain(&version.0, None, 1).ok().and_then(|mut chain| chain.pop()) else {
        return Beat { ref_name, version, at_secs: 0, alive: BTreeMap::new() };
    };
    let lines = entry.message.lines().filter_map(|line| line.strip_prefix(ALIVE_TRAILER)?.split_once(' '));
    let numbers = lines.filter_map(|(number, at_secs)| Some((number.parse().ok()?, at_secs.parse().ok()?)));
    Beat { ref_name, version, at_secs: entry.at_secs, alive: numbers.take(ALIVE_MAX).collect() }
}

impl GitStore {
    /// Sends and reads heartbeats from now on, as the host with this id, on refs that begin with `prefix`.
    pub fn beat_as(&self, prefix: &str, host: &str) {
        self.beats.get_or_init(|| BeatRefs { prefix: prefix.to_owned(), own: format!("{prefix}{host}") });
    }

    /// Those that the cache has.
    pub(super) fn cached_beats(&self) -> Result<Vec<Beat>, Fault> {
        let Some(BeatRefs { prefix, .. }) = self.beats.get() else { return Ok(Vec::new()) };
        let seen = tracking_ref(&self.truth, prefix);
        let name_there = |name: &str| format!("{prefix}{}", &name[seen.len()..]);
        let listed = self.refs.list(&seen)?.into_iter();
        Ok(listed.map(|(name, commit)| read_beat(&self.objects, name_there(&name), commit)).collect())
    }

    /// Asks the truth for the ledger and all heartbeats at once. One that was seen before and is not shown any more, as
    /// by a server that is behind, still counts.
    pub(super) fn fetch_beats(&self) -> Result<(Option<Version>, Vec<Beat>), Fault> {
        let Some(BeatRefs { prefix, .. }) = self.beats.get() else { return Ok((self.refresh()?, Vec::new())) };
        let mut beats = self.cached_beats()?;
        let version = self.fetch(&[format!("+{prefix}*:{}*", tracking_ref(&self.truth, prefix))])?;
        let heard = self.cached_beats()?;
        beats.extend(heard.iter().cloned());
        self.heard.replace(heard);
        Ok((version, beats))
    }

    /// The heartbeats that the truth has shown to this process; none where it was not asked.
    pub fn heard(&self) -> Vec<Beat> {
        self.heard.borrow().clone()
    }

    /// Replaces the heartbeat of this host from exactly what it was.
    pub(super) fn send_beat(&self, beating: &Beating<'_>) -> Result<Outcome, Fault> {
        let Some(BeatRefs { own, .. }) = self.beats.get() else { return Ok(Outcome::Applied) };
        let new = match beating.alive.is_empty() {
            true => None,
            false => Some(write(&self.objects, &self.author, beating)?),
        };
        let old = beating.old.map(|version| version.0.clone());
        if new == old {
            return Ok(Outcome::Applied);
        }
        let updates = [RefUpdate { name: own.clone(), old, new }];
        let settled = &beating.settled[..beating.settled.len().min(SWEPT_MAX)];
        let remove =
            |beat: &Beat| RefUpdate { name: beat.ref_name.clone(), old: Some(beat.version.0.clone()), new: None };
        let loose: Vec<RefUpdate> = settled.iter().map(remove).collect();
        let outcome = match &self.truth {
            Truth::Local => {
                updates[0].new.as_deref().map_or(Ok(()), |new| self.objects.sync(new))?;
                for update in &loose {
                    self.refs.transact(std::slice::from_ref(update))?;
                }
                self.refs.transact(&updates)?
            }
            Truth::Remote { url, .. } => {
                let seen_as = |name: &str| tracking_ref(&self.truth, name);
                let report = self.git.push_beside(url, &updates, false, &loose, seen_as);
                let report: PushReport = report.map_err(|error| Fault::io("pushing", error))?;
                let outcome = self.judge(&updates, &report)?;
                forget_gone(&self.cache, &loose, &outcome, own, seen_as)?;
                outcome
            }
        };
        Ok(outcome)
    }
}

/// Forgets what the cache has of refs that were removed, and of this host's own where it is not what the cache says:
/// the next look brings it again, if it is there.
fn forget_gone(
    cache: &Cache,
    removed: &[RefUpdate],
    outcome: &Outcome,
    own: &str,
    seen_as: impl Fn(&str) -> String,
) -> Result<(), Fault> {
    let mut gone: Vec<String> = removed.iter().map(|update| seen_as(&update.name)).collect();
    gone.extend(matches!(outcome, Outcome::Lost { .. }).then(|| seen_as(own)));
    // Naming one that is not there would be an error.
    gone.retain(|name| cache.read(name).is_ok_and(|found| found.is_some()));
    if gone.is_empty() { Ok(()) } else { cache.forget_all(&gone) }
}
