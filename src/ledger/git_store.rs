//! A ledger on a git ref, local or on a remote.
//!
//! With a remote, the remote's ref is the truth; `refs/scrum/remotes/<remote>/…` remembers the last version seen and
//! is never pushed. Fetches are never forced, so a remote ref that went backwards is noticed by git itself and
//! reported.
//! Only a tip that follows what was seen by way of a checkpoint is set by force, from exactly that.
//! Without a remote the local ref is the truth, and is updated durably.

#![expect(clippy::disallowed_methods, reason = "an adapter: it owns the files of the clone's state directory")]

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::beats::BeatRefs;
use super::hosts::{HostRefs, read_offer, write_offer};
use super::waiting::{Seat, WaitingRoom};
use super::{
    Author, Batch, Beat, Beating, Cache, ChainEntry, Fault, Intent, Key, Message, Objects, Offer, Offering, Outcome,
    Pending, Place, RefUpdate, Refs, Remembered, Store, Turn, VALUE_BYTES_MAX, Version, checkpoint,
};
use crate::failpoint;
use crate::git::transfer::{PushReport, RefOutcome};
use crate::git::{Cause, Git, Output, failure};

/// What the processes of one clone lock for their turns, and for their heartbeats.
const QUEUE: &str = "queue.lock";
const BEAT: &str = "beat.lock";
/// How long a ref that seems to have gone backwards is looked at again: a server behind which several machines answer
/// may for a moment show what was before our last push.
const BACKWARDS_WAITS: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1)];
/// How often a waiting process looks whether it was served, or whether it is its turn.
const TURN_POLL: Duration = Duration::from_millis(4);
/// How many settled offers are removed by one push.
const SWEPT_MAX: usize = 16;
/// How much is looked at of what a server says to a push.
const TRACE_BYTES_MAX: u64 = 4 << 20;
/// Beside how many versions, the last ones, numbers are kept.
const HINTS_MAX: usize = 4;
/// How many removed offers are remembered, each with a ref of the cache, before they are removed from it at once.
const SWEPT_KEPT_MAX: usize = 100;

/// Where the truth is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// The refs of this clone.
    Local,
    /// The refs of a remote.
    Remote {
        /// Its name in the configuration, or a name made from its address: part of ref names.
        name: String,
        /// The one address that is read and written.
        url: String,
    },
}

/// A ledger of one clone.
pub struct GitStore {
    pub(super) objects: Objects,
    pub(super) refs: Refs,
    pub(super) cache: Cache,
    pub(super) git: Git,
    pub(super) truth: Truth,
    pub(super) author: Author,
    pub(super) ref_name: String,
    tracking: String,
    state_dir: PathBuf,
    waiting: WaitingRoom,
    hosts: OnceCell<HostRefs>,
    remembered: Remembered,
    pub(super) beats: OnceCell<BeatRefs>,
    /// The heartbeats that the truth has shown to this process.
    pub(super) heard: RefCell<Vec<Beat>>,
}

impl GitStore {
    /// The ledger at `ref_name` (a full name, `refs/scrum/…`) of `truth`, seen from `place`.
    pub fn new(place: &Rc<Place>, git: Git, truth: Truth, author: Author, ref_name: &str) -> GitStore {
        GitStore {
            objects: Objects::new(Rc::clone(place)),
            refs: Refs::new(Rc::clone(place), git.clone()),
            cache: Cache::new(place, git.clone()),
            tracking: tracking_ref(&truth, ref_name),
            git,
            truth,
            author,
            ref_name: ref_name.to_owned(),
            state_dir: place.state_dir(),
            waiting: WaitingRoom::new(&place.state_dir()),
            hosts: OnceCell::new(),
            remembered: Remembered::default(),
            beats: OnceCell::new(),
            heard: RefCell::default(),
        }
    }

    /// Exchanges offers with other hosts from now on, as the host with this id, on refs that begin with `prefix`; and
    /// keeps the ref `landmark` for git to see what all have.
    pub fn take_part(&self, prefix: &str, host: &str, landmark: String) {
        if self.truth != Truth::Local {
            let (prefix, own) = (prefix.to_owned(), format!("{prefix}{host}"));
            self.hosts.get_or_init(|| HostRefs { prefix, own, landmark });
        }
    }

    /// The full name of the ledger's ref.
    pub fn ref_name(&self) -> &str {
        &self.ref_name
    }

    /// Whether `version` holds exactly what `batch` makes of `parent`.
    pub fn makes(&self, parent: Option<&Version>, batch: &Batch, version: &Version) -> Result<bool, Fault> {
        let parent = parent.map(|version| version.0.as_str());
        Ok(self.objects.write_tree(parent, batch)? == self.objects.tree_id(&version.0)?)
    }

    fn place_name(&self) -> &str {
        match &self.truth {
            Truth::Local => "this repository",
            Truth::Remote { name, .. } => name,
        }
    }

    fn contended_file(&self) -> PathBuf {
        self.state_dir.join(format!("contended-{}", self.ref_name.rsplit('/').next().unwrap_or("ledger")))
    }

    /// A line for each version: its id, and the number that is kept beside it.
    fn hints_file(&self) -> PathBuf {
        self.state_dir.join(format!("hints-{}", self.ref_name.rsplit('/').next().unwrap_or("ledger")))
    }

    fn ensure_state_dir(&self) -> Result<(), Fault> {
        failpoint::making(&self.state_dir);
        fs::create_dir_all(&self.state_dir)
            .map_err(|error| Fault::io(format!("cannot create {}", self.state_dir.display()), error))
    }

    /// A file of the state directory that one process at a time locks.
    fn lock_file(&self, name: &str) -> Result<File, Fault> {
        self.ensure_state_dir()?;
        let path = self.state_dir.join(name);
        failpoint::making(&path);
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        opened.map_err(|error| Fault::io(format!("cannot open {}", path.display()), error))
    }

    /// Runs `work` while no other process of this clone runs any under the same lock.
    fn alone<R>(&self, name: &str, work: impl FnOnce() -> R) -> Result<R, Fault> {
        let mut lock = fd_lock::RwLock::new(self.lock_file(name)?);
        let turn = lock.write().map_err(|error| Fault::io(format!("cannot lock {name} of this clone"), error))?;
        let result = work();
        drop(turn);
        Ok(result)
    }

    /// Holds the commit of what this host has offered last or left open, so that nobody has to look for it on every
    /// push.
    fn offered_file(&self) -> PathBuf {
        self.state_dir.join("offered")
    }

    fn own_update(&self, old: Option<&Version>, new: &Version) -> RefUpdate {
        RefUpdate { name: self.ref_name.clone(), old: old.map(|version| version.0.clone()), new: Some(new.0.clone()) }
    }

    /// The update that makes this host's offer ask for `intents`; `None` where it has none and is to have none. With
    /// those `kept` is noted.
    fn own_offer(&self, intents: &[Intent], kept: &[Intent], at_secs: u64) -> Result<Option<RefUpdate>, Fault> {
        let Some(hosts) = self.hosts.get() else { return Ok(None) };
        let marker = self.offered_file();
        let new = if intents.is_empty() {
            if !marker.exists() {
                return Ok(None);
            }
            None
        } else {
            let written = |intents: &[Intent]| write_offer(&self.objects, &self.author, intents, at_secs);
            let offer = written(intents)?;
            let noted = if kept.is_empty() { offer.clone() } else { written(&[intents, kept].concat())? };
            failpoint::reach("making an offer");
            // Before it is offered: an offer that nobody remembers would stay until somebody else removes it.
            fs::write(&marker, &noted)
                .map_err(|error| Fault::io(format!("cannot write {}", marker.display()), error))?;
            Some(offer)
        };
        // Nobody else sets this ref, so whatever it holds may be replaced.
        Ok(Some(RefUpdate { name: hosts.own.clone(), old: None, new }))
    }

    /// Pushes, and notices whether others have offers out: a host that wins every race would never know that there are
    /// any, and they would wait for it to stop. The server names all its refs to every push, but git tells nobody but
    /// its trace. Where that cannot be read nothing is noticed, and nothing else is lost.
    fn watching_for_others<R>(&self, push: impl FnOnce(&Git) -> R) -> R {
        let trace = self.state_dir.join("push.trace");
        let wanted = std::env::var_os("GIT_TRACE_PACKET").is_none();
        let (Some(hosts), Some(path), true) = (self.hosts.get(), trace.to_str(), wanted) else {
            return push(&self.git);
        };
        let _ = fs::remove_file(&trace);
        let result = push(&self.git.clone().with_variable("GIT_TRACE_PACKET", path));
        let mut said = Vec::new();
        if let Ok(file) = File::open(&trace) {
            let _ = file.take(TRACE_BYTES_MAX).read_to_end(&mut said);
            let _ = fs::remove_file(&trace);
        }
        let said = String::from_utf8_lossy(&said);
        if said.split_ascii_whitespace().any(|word| word.starts_with(&hosts.prefix) && !word.starts_with(&hosts.own)) {
            self.set_contended(true);
        }
        result
    }

    /// What other hosts offered when they were last asked.
    fn offers_seen(&self) -> Result<Vec<Offer>, Fault> {
        let Some(HostRefs { prefix, own, .. }) = self.hosts.get() else { return Ok(Vec::new()) };
        let (seen, own) = (tracking_ref(&self.truth, prefix), tracking_ref(&self.truth, own));
        let swept = self.swept();
        let mut gone = Vec::new();
        let mut offers = Vec::new();
        for (name, commit) in self.refs.list(&seen)?.into_iter().filter(|(name, _)| *name != own) {
            let name_there = format!("{prefix}{}", &name[seen.len()..]);
            if swept.contains(&format!("{commit} {name_there}")) {
                gone.push(name);
            } else {
                offers.push(read_offer(&self.objects, name_there, commit));
            }
        }
        if gone.len() > SWEPT_KEPT_MAX {
            self.cache.forget_all(&gone)?;
            let _ = fs::remove_file(self.swept_file());
        }
        Ok(offers)
    }

    /// Remembers at which version the offers in the cache were there.
    fn gathered_file(&self) -> PathBuf {
        self.state_dir.join("gathered")
    }

    /// Offers that were removed, or found to be gone already: the cache goes on showing them.
    fn swept_file(&self) -> PathBuf {
        self.state_dir.join("swept")
    }

    fn swept(&self) -> BTreeSet<String> {
        fs::read_to_string(self.swept_file()).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn remember_swept(&self, settled: &[Offer]) {
        let mut swept = if settled.is_empty() { return } else { self.swept() };
        swept.extend(settled.iter().map(|offer| format!("{} {}", offer.version, offer.ref_name)));
        // Forgotten, it is looked at again, and found settled again.
        let _ = fs::write(self.swept_file(), swept.into_iter().collect::<Vec<_>>().join("\n"));
    }

    /// Asks the truth for the ledger and, in the same breath, for whatever else `more` names.
    pub(super) fn fetch(&self, more: &[String]) -> Result<Option<Version>, Fault> {
        let Truth::Remote { name, url } = &self.truth else { return self.cached() };
        let seen = self.cached()?;
        // Without a plus sign: git refuses, and so reports, a ref that went backwards.
        let refspecs: Vec<String> =
            std::iter::once(format!("{}:{}", self.ref_name, self.tracking)).chain(more.iter().cloned()).collect();
        let backwards = |output: &Output| !output.success() && output.stderr_text().contains("rejected");
        let mut output = self.cache.fetch(url, &refspecs)?;
        for wait in BACKWARDS_WAITS {
            if !backwards(&output) {
                break;
            }
            if let Some(tip) = self.accept()? {
                return Ok(Some(tip));
            }
            std::thread::sleep(wait);
            output = self.cache.fetch(url, &refspecs)?;
        }
        if output.success() {
            return self.cached();
        }
        let said = output.stderr_text();
        if backwards(&output) {
            let seen = seen.map_or_else(String::new, |version| format!(" from {version}"));
            return Err(Fault::integrity(format!("{} on {name} went backwards{seen}", self.ref_name)));
        }
        match (failure::cause(&said), seen) {
            (Cause::NoSuchRef, None) => Ok(None),
            (Cause::NoSuchRef, Some(seen)) => {
                Err(Fault::integrity(format!("{} vanished from {name}; it was at {seen}", self.ref_name)))
            }
            (cause, _) => Err(transfer_fault(name, cause, &failure::telling_line(&said))),
        }
    }

    /// The version that the truth has, if it follows what this clone has seen by way of a checkpoint. It is the cached
    /// one from then on.
    fn accept(&self) -> Result<Option<Version>, Fault> {
        let (Some(seen), Some(there)) = (self.cached()?, self.there()?) else { return Ok(None) };
        if checkpoint::leads_to(&self.history(&seen, Some(&there), usize::MAX)?, &there) {
            // One that was seen already. There is no need to bring its archives here to know that.
            return Ok(None);
        }
        let tip = match checkpoint::follows(self, &there, &seen) {
            Ok(true) => there,
            // Whatever somebody has put there, it is no ledger that follows.
            Ok(false) | Err(Fault::Integrity { .. }) => return Ok(None),
            Err(fault) => return Err(fault),
        };
        // The replaced versions since then, too: whoever is in the middle of something may find its operation applied
        // in one of them, and reads there what came of it.
        for entry in self.history(&tip, Some(&seen), usize::MAX)? {
            let Some(replaced) = Message::replaced_in(&entry.message).map(|id| Version(id.to_owned())) else {
                continue;
            };
            if self.bring(&replaced)? && !self.holds_what_it_replaced(&entry.version, &replaced)? {
                let checkpoint = entry.version;
                return Err(Fault::integrity(format!("{checkpoint} does not hold what {replaced} held")));
            }
        }
        // Lost to another process of this clone, that has seen the same or more.
        self.cache.replace(&self.tracking, &seen.0, &tip.0)?;
        self.cached()
    }

    /// Whether a checkpoint holds what the version held that it replaced, but for its list.
    fn holds_what_it_replaced(&self, checkpoint: &Version, replaced: &Version) -> Result<bool, Fault> {
        let nothing = Batch::default();
        Ok(self.objects.write_tree(Some(&checkpoint.0), &nothing)?
            == self.objects.write_tree(Some(&replaced.0), &nothing)?)
    }

    /// What the truth has at this moment, brought here into no ref: it may be nobody's ledger, and must not be taken
    /// for what was seen.
    pub(super) fn there(&self) -> Result<Option<Version>, Fault> {
        let Truth::Remote { name, url } = &self.truth else { return self.cached() };
        let listed = self.git.list_remote(url, &[&self.ref_name]).map_err(|error| Fault::io("listing refs", error))?;
        let listed = listed.map_err(|(cause, said)| transfer_fault(name, cause, &said))?;
        let Some((_, there)) = listed.into_iter().find(|(found, _)| *found == self.ref_name) else { return Ok(None) };
        if !self.objects.has(&there) {
            let output = self.cache.fetch(url, std::slice::from_ref(&self.ref_name))?;
            if !output.success() {
                let said = output.stderr_text();
                return Err(transfer_fault(name, failure::cause(&said), &failure::telling_line(&said)));
            }
        }
        Ok(Some(Version(there)))
    }

    fn publish_to_remote(&self, url: &str, updates: &[RefUpdate]) -> Result<Outcome, Fault> {
        let seen_as = |name: &str| tracking_ref(&self.truth, name);
        let report = self.git.push(url, updates, updates.len() > 1, seen_as);
        self.judge(updates, &report.map_err(|error| Fault::io("pushing", error))?)
    }

    /// Moves refs of the truth that are not the ledger's own.
    pub(super) fn publish_updates(&self, updates: &[RefUpdate]) -> Result<Outcome, Fault> {
        match &self.truth {
            Truth::Local => self.refs.transact(updates),
            Truth::Remote { url, .. } => self.publish_to_remote(url, updates),
        }
    }

    /// One outcome for all of `updates`, which are one ref or were pushed as one.
    pub(super) fn judge(&self, updates: &[RefUpdate], report: &PushReport) -> Result<Outcome, Fault> {
        let refs = &report.refs;
        let named = |wanted: fn(&RefOutcome) -> bool| {
            refs.iter().position(wanted).map(|index| (updates[index].name.clone(), &refs[index]))
        };
        // "Up to date" is ours: the nonce makes our commit unlike anybody else's.
        if refs.iter().all(|outcome| matches!(outcome, RefOutcome::Applied | RefOutcome::UpToDate)) {
            return Ok(Outcome::Applied);
        }
        if let Some((ref_name, RefOutcome::Refused(reason))) = named(|o| matches!(o, RefOutcome::Refused(_))) {
            return Ok(Outcome::Refused { ref_name, reason: reason.clone() });
        }
        if let Some((_, RefOutcome::Locked(reason))) = named(|o| matches!(o, RefOutcome::Locked(_))) {
            return Ok(Outcome::Locked { reason: reason.clone() });
        }
        // The ledger's own ref comes first in `updates`, so it is the one that is named when several were lost.
        if let Some((ref_name, _)) = named(|o| matches!(o, RefOutcome::Lost)) {
            return Ok(Outcome::Lost { ref_name });
        }
        match report.cause {
            Cause::NoAtomicPush => Ok(Outcome::NotAtomic),
            // The update never left this machine.
            Cause::Unreachable | Cause::Authentication | Cause::NoRepository | Cause::RateLimited => {
                Err(transfer_fault(self.place_name(), report.cause, &report.said))
            }
            Cause::UnsafeRepository | Cause::ObjectFormat => {
                Err(transfer_fault(self.place_name(), report.cause, &report.said))
            }
            Cause::NoSuchRef | Cause::Unclear => Ok(Outcome::Unknown { reason: report.said.clone() }),
        }
    }
}

/// Where a version of the ledger at `ref_name` is kept that a checkpoint replaced, with all before it. Each has a ref
/// of its own: a commit that had all archives for its parents could only be made by whoever has downloaded them.
pub fn archive_ref(ref_name: &str, replaced: &Version) -> String {
    let (directory, ledger) = ref_name.rsplit_once('/').unwrap_or(("refs", ref_name));
    format!("{directory}/archive/{ledger}-{replaced}")
}

/// The ref of this clone that remembers what `ref_name` was at `truth`.
pub fn tracking_ref(truth: &Truth, ref_name: &str) -> String {
    match truth {
        Truth::Local => ref_name.to_owned(),
        Truth::Remote { name, .. } => {
            let short = ref_name.strip_prefix("refs/scrum/").or_else(|| ref_name.strip_prefix("refs/"));
            format!("refs/scrum/remotes/{name}/{}", short.unwrap_or(ref_name))
        }
    }
}

/// The fault that a failed transfer with `place` is.
pub fn transfer_fault(place: &str, cause: Cause, said: &str) -> Fault {
    let (place, said) = (place.to_owned(), said.to_owned());
    match cause {
        Cause::Authentication => Fault::Authentication { place, said },
        Cause::NoRepository => Fault::Environment { what: format!("{place} is not a git repository: {said}") },
        Cause::UnsafeRepository => Fault::Environment { what: said },
        Cause::ObjectFormat => Fault::Environment { what: format!("{place} has another object format: {said}") },
        Cause::Unreachable | Cause::RateLimited | Cause::NoSuchRef | Cause::NoAtomicPush | Cause::Unclear => {
            Fault::Network { place, said }
        }
    }
}

impl Store for GitStore {
    fn in_turn<R>(&self, work: impl FnOnce() -> R) -> Result<R, Fault> {
        self.alone(QUEUE, work)
    }

    fn in_turn_or_served<R>(&self, intent: &Intent, work: impl FnOnce(bool) -> R) -> Result<Turn<R>, Fault> {
        let mut lock = fd_lock::RwLock::new(self.lock_file(QUEUE)?);
        let mut seat: Option<Seat> = None;
        let turn = loop {
            match lock.try_write() {
                Ok(turn) => break turn,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Fault::io("cannot lock the queue of this clone", error)),
            }
            let waiting = match &seat {
                Some(seat) => seat,
                None => seat.insert(self.waiting.enter(intent)?),
            };
            if let Some(version) = waiting.served() {
                return Ok(Turn::Served(version));
            }
            std::thread::sleep(TURN_POLL);
        };
        if let Some(version) = seat.as_ref().and_then(Seat::served) {
            return Ok(Turn::Served(version));
        }
        let tried = seat.as_ref().is_some_and(Seat::was_tried);
        drop(seat);
        let result = work(tried);
        drop(turn);
        Ok(Turn::Own(result))
    }

    fn waiting(&self) -> Result<Vec<Pending>, Fault> {
        Ok(self.waiting.list())
    }

    fn try_for(&self, waiting: &[&str]) -> Result<(), Fault> {
        self.waiting.try_for(waiting)
    }

    fn serve(&self, id: &str, version: &Version) {
        self.waiting.serve(id, version);
    }

    fn exchanges(&self) -> bool {
        self.hosts.get().is_some()
    }

    fn gather(&self) -> Result<(Option<Version>, Vec<Offer>), Fault> {
        let Some(HostRefs { prefix, .. }) = self.hosts.get() else { return Ok((self.refresh()?, Vec::new())) };
        let seen = tracking_ref(&self.truth, prefix);
        let version = self.fetch(&[format!("+{prefix}*:{seen}*")])?;
        let tip = version.as_ref().map_or("", |version| &version.0);
        // Only a hint: without it the next invocation asks again.
        let _ = fs::write(self.gathered_file(), tip);
        Ok((version, self.offers_seen()?))
    }

    fn gathered(&self) -> Result<Option<Vec<Offer>>, Fault> {
        let at = fs::read_to_string(self.gathered_file()).ok().map(Version);
        if at.is_some() && at == self.cached()? { self.offers_seen().map(Some) } else { Ok(None) }
    }

    fn publish_offering(
        &self,
        old: Option<&Version>,
        new: &Version,
        offering: &Offering<'_>,
    ) -> Result<Outcome, Fault> {
        let Truth::Remote { url, .. } = &self.truth else { return self.publish(old, new, &[]) };
        let settled = &offering.settled[..offering.settled.len().min(SWEPT_MAX)];
        let remove =
            |offer: &Offer| RefUpdate { name: offer.ref_name.clone(), old: Some(offer.version.0.clone()), new: None };
        let mut loose: Vec<RefUpdate> = settled.iter().map(remove).collect();
        loose.extend(self.own_offer(offering.intents, offering.kept, offering.at_secs)?);
        loose.extend(self.hosts.get().and_then(|hosts| hosts.move_landmark(old, new)));
        let updates = [self.own_update(old, new)];
        let push = |git: &Git| git.push_beside(url, &updates, false, &loose, |name| tracking_ref(&self.truth, name));
        let report = if self.contended() { push(&self.git) } else { self.watching_for_others(push) };
        let report = report.map_err(|error| Fault::io("pushing", error))?;
        self.remember_swept(settled);
        let outcome = self.judge(&updates, &report)?;
        if outcome == Outcome::Applied && offering.intents.is_empty() && self.offered_file().exists() {
            // Not before: a push that loses or stays unanswered has settled nothing.
            failpoint::reach("forgetting an offer");
            let _ = fs::remove_file(self.offered_file());
        }
        Ok(outcome)
    }

    fn offer(&self, intents: &[Intent], kept: &[Intent], at_secs: u64) -> Result<(), Fault> {
        if let (Truth::Remote { url, .. }, Some(update)) = (&self.truth, self.own_offer(intents, kept, at_secs)?) {
            let pushed = self.git.push_beside(url, &[], false, &[update], str::to_owned);
            pushed.map_err(|error| Fault::io("pushing", error))?;
        }
        Ok(())
    }

    fn leave_open(&self, intents: &[Intent], at_secs: u64) -> Result<(), Fault> {
        self.own_offer(intents, &[], at_secs).map(|_| ())
    }

    fn left_open(&self) -> Result<Option<Offer>, Fault> {
        let Some(hosts) = self.hosts.get() else { return Ok(None) };
        let commit = fs::read_to_string(self.offered_file()).ok().filter(|commit| !commit.is_empty());
        Ok(commit.map(|commit| read_offer(&self.objects, hosts.own.clone(), commit)))
    }

    fn close(&self) -> Result<(), Fault> {
        let marker = self.offered_file();
        if !marker.exists() {
            return Ok(());
        }
        failpoint::reach("closing what was left open");
        // Empty, it still says that there may be an offer to take back.
        fs::write(&marker, "").map_err(|error| Fault::io(format!("cannot write {}", marker.display()), error))
    }

    fn refresh_with_beats(&self) -> Result<(Option<Version>, Vec<Beat>), Fault> {
        self.fetch_beats()
    }

    fn beats_seen(&self) -> Result<Vec<Beat>, Fault> {
        self.cached_beats()
    }

    fn own_beat(&self) -> Option<String> {
        self.beats.get().map(|beats| beats.own.clone())
    }

    fn beating_alone<R>(&self, work: impl FnOnce() -> R) -> Result<R, Fault> {
        self.alone(BEAT, work)
    }

    fn beat(&self, beating: &Beating<'_>) -> Result<Outcome, Fault> {
        self.send_beat(beating)
    }

    fn cached(&self) -> Result<Option<Version>, Fault> {
        Ok(self.refs.read(&self.tracking)?.map(Version))
    }

    fn refresh(&self) -> Result<Option<Version>, Fault> {
        self.fetch(&[])
    }

    fn get(&self, version: &Version, key: &Key) -> Result<Option<Vec<u8>>, Fault> {
        self.objects.blob(&version.0, key.as_str(), VALUE_BYTES_MAX)
    }

    fn names(&self, version: &Version, directory: &str) -> Result<Vec<String>, Fault> {
        self.objects.names(&version.0, directory)
    }

    fn scan(
        &self,
        version: &Version,
        prefix: &str,
        visit: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        self.objects.scan(&version.0, prefix, visit)
    }

    fn write(
        &self,
        parent: Option<&Version>,
        batch: &Batch,
        message: &Message,
        at_secs: u64,
    ) -> Result<Version, Fault> {
        let parent = parent.map(|version| version.0.as_str());
        let tree = self.objects.write_tree(parent, batch)?;
        let parents: Vec<&str> = parent.into_iter().collect();
        let commit = self.objects.write_commit(&tree, &parents, &self.author, &message.to_text(), at_secs)?;
        Ok(Version(commit))
    }

    fn publish(&self, old: Option<&Version>, new: &Version, also: &[RefUpdate]) -> Result<Outcome, Fault> {
        let updates: Vec<RefUpdate> = std::iter::once(self.own_update(old, new)).chain(also.iter().cloned()).collect();
        if self.truth == Truth::Local {
            self.objects.sync(&new.0)?;
        }
        self.publish_updates(&updates)
    }

    fn history(&self, tip: &Version, until: Option<&Version>, count_max: usize) -> Result<Vec<ChainEntry>, Fault> {
        let mut entries = self.objects.chain(&tip.0, until.map(|version| version.0.as_str()), count_max)?;
        checkpoint::go_on(&mut entries, until, count_max, |version, key| self.get(version, key))?;
        Ok(entries)
    }

    fn write_checkpoint(&self, tip: &Version, list: &Batch, message: &str, at_secs: u64) -> Result<Version, Fault> {
        let tree = self.objects.write_tree(Some(&tip.0), list)?;
        Ok(Version(self.objects.write_commit(&tree, &[], &self.author, message, at_secs)?))
    }

    fn replace(&self, tip: &Version, checkpoint: &Version) -> Result<Outcome, Fault> {
        let name = archive_ref(&self.ref_name, tip);
        let archive = RefUpdate { name, old: None, new: Some(tip.0.clone()) };
        if self.truth != Truth::Local {
            // One that is there already is left out by git, without a look at its lease.
            match self.publish(Some(tip), checkpoint, std::slice::from_ref(&archive))? {
                Outcome::NotAtomic => {}
                outcome => return Ok(outcome),
            }
        }
        // Refs that cannot move together: the archive first, or a kill in between could lose what it keeps.
        if self.truth != Truth::Local || self.refs.read(&archive.name)?.is_none() {
            match self.publish_updates(&[archive])? {
                Outcome::Applied => {}
                outcome => return Ok(outcome),
            }
        }
        self.publish(Some(tip), checkpoint, &[])
    }

    fn bring(&self, replaced: &Version) -> Result<bool, Fault> {
        let (Truth::Remote { name, url }, false) = (&self.truth, self.objects.has(&replaced.0)) else {
            return Ok(self.objects.has(&replaced.0));
        };
        let output = self.cache.fetch(url, &[archive_ref(&self.ref_name, replaced)])?;
        let said = output.stderr_text();
        match failure::cause(&said) {
            _ if output.success() => Ok(self.objects.has(&replaced.0)),
            Cause::NoSuchRef => Ok(false),
            cause => Err(transfer_fault(name, cause, &failure::telling_line(&said))),
        }
    }

    fn hint(&self, version: &Version) -> Option<u64> {
        let hints = fs::read_to_string(self.hints_file()).ok()?;
        hints.lines().find_map(|line| line.strip_prefix(&version.0)?.strip_prefix(' ')?.parse().ok())
    }

    fn keep_hint(&self, version: &Version, hint: u64) {
        let file = self.hints_file();
        let hints = fs::read_to_string(&file).unwrap_or_default();
        let kept = hints.lines().filter(|line| !line.starts_with(&version.0)).take(HINTS_MAX - 1);
        let lines: Vec<String> = std::iter::once(format!("{version} {hint}")).chain(kept.map(str::to_owned)).collect();
        failpoint::reach("keeping a hint");
        // Whoever reads it while it is written must not take half a number for a number.
        if let Ok(new) = tempfile::NamedTempFile::new_in(&self.state_dir)
            && fs::write(new.path(), lines.join("\n")).is_ok()
        {
            let _ = new.persist(file);
        }
    }

    fn remembered(&self) -> Option<&Remembered> {
        Some(&self.remembered)
    }

    fn contended(&self) -> bool {
        self.truth != Truth::Local && self.contended_file().exists()
    }

    fn set_contended(&self, contended: bool) {
        let file = self.contended_file();
        // Only a hint for the next invocation: losing it costs one round trip.
        failpoint::reach("the mark of contention");
        let _ = if contended { fs::write(file, b"") } else { fs::remove_file(file) };
    }
}
