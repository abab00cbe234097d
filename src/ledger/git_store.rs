//! A ledger on a git ref, local or on a remote.
//!
//! With a remote, the remote's ref is the truth; `refs/scrum/remotes/<remote>/…` remembers the last version seen and
//! is never pushed. Fetches are never forced, so a remote ref that went backwards is noticed by git itself and
//! reported.
//! Without a remote the local ref is the truth, and is updated durably.

#![expect(clippy::disallowed_methods, reason = "an adapter: it owns the files of the clone's state directory")]

use std::fs::{self, OpenOptions};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::{
    Author, Batch, Cache, ChainEntry, Fault, Key, Message, Objects, Outcome, Place, RefUpdate, Refs, Store,
    VALUE_BYTES_MAX, Version,
};
use crate::git::transfer::{PushReport, RefOutcome};
use crate::git::{Cause, Git, Output, failure};

/// How long a ref that seems to have gone backwards is looked at again: a server behind which several machines answer
/// may for a moment show what was before our last push.
const BACKWARDS_WAITS: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1)];

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
    objects: Objects,
    refs: Refs,
    cache: Cache,
    git: Git,
    truth: Truth,
    author: Author,
    ref_name: String,
    tracking: String,
    state_dir: PathBuf,
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

    fn ensure_state_dir(&self) -> Result<(), Fault> {
        fs::create_dir_all(&self.state_dir)
            .map_err(|error| Fault::io(format!("cannot create {}", self.state_dir.display()), error))
    }

    fn publish_to_remote(&self, url: &str, updates: &[RefUpdate]) -> Result<Outcome, Fault> {
        let seen_as = |name: &str| tracking_ref(&self.truth, name);
        let report = self.git.push(url, updates, updates.len() > 1, seen_as);
        self.judge(updates, &report.map_err(|error| Fault::io("pushing", error))?)
    }

    /// One outcome for the whole push: all refs share it, since the push is atomic or has one ref only.
    fn judge(&self, updates: &[RefUpdate], report: &PushReport) -> Result<Outcome, Fault> {
        let named = |wanted: fn(&RefOutcome) -> bool| {
            report.refs.iter().position(wanted).map(|index| (updates[index].name.clone(), &report.refs[index]))
        };
        // "Up to date" is ours: the nonce makes our commit unlike anybody else's.
        if report.refs.iter().all(|outcome| matches!(outcome, RefOutcome::Applied | RefOutcome::UpToDate)) {
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
        self.ensure_state_dir()?;
        let path = self.state_dir.join("queue.lock");
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = opened.map_err(|error| Fault::io(format!("cannot open {}", path.display()), error))?;
        let mut lock = fd_lock::RwLock::new(file);
        let turn = lock.write().map_err(|error| Fault::io(format!("cannot lock {}", path.display()), error))?;
        let result = work();
        drop(turn);
        Ok(result)
    }

    fn cached(&self) -> Result<Option<Version>, Fault> {
        Ok(self.refs.read(&self.tracking)?.map(Version))
    }

    fn refresh(&self) -> Result<Option<Version>, Fault> {
        let Truth::Remote { name, url } = &self.truth else { return self.cached() };
        let seen = self.cached()?;
        // Without a plus sign: git refuses, and so reports, a ref that went backwards.
        let refspecs = [format!("{}:{}", self.ref_name, self.tracking)];
        let backwards = |output: &Output| !output.success() && output.stderr_text().contains("rejected");
        let mut output = self.cache.fetch(url, &refspecs)?;
        for wait in BACKWARDS_WAITS {
            if !backwards(&output) {
                break;
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
        let own = RefUpdate {
            name: self.ref_name.clone(),
            old: old.map(|version| version.0.clone()),
            new: Some(new.0.clone()),
        };
        let updates: Vec<RefUpdate> = std::iter::once(own).chain(also.iter().cloned()).collect();
        match &self.truth {
            Truth::Local => {
                self.objects.sync(&new.0)?;
                self.refs.transact(&updates)
            }
            Truth::Remote { url, .. } => self.publish_to_remote(url, &updates),
        }
    }

    fn history(&self, tip: &Version, until: Option<&Version>, count_max: usize) -> Result<Vec<ChainEntry>, Fault> {
        self.objects.chain(&tip.0, until.map(|version| version.0.as_str()), count_max)
    }

    fn contended(&self) -> bool {
        self.truth != Truth::Local && self.contended_file().exists()
    }

    fn set_contended(&self, contended: bool) {
        let file = self.contended_file();
        // Only a hint for the next invocation: losing it costs one round trip.
        let _ = if contended { fs::write(file, b"") } else { fs::remove_file(file) };
    }
}
