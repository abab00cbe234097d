//! What this clone remembers of the truth: refs under `refs/scrum/remotes/`, and the fetches that set them.
//!
//! Several processes of one clone set the same refs, and any of them may be killed while git holds a lock file on one.
//! So all fetches happen behind one lock of ours, and a push holds a ref of the cache for a moment only; a lock file on
//! a cache ref which stays belongs to nobody, and is removed. Losing a race here is harmless: the refs are a cache.

#![expect(clippy::disallowed_methods, reason = "an adapter: it owns the files of the clone's state directory")]

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::{Fault, Outcome, Place, RefUpdate, Refs};
use crate::failpoint;
use crate::git::{Git, Output};

/// How often a lock file in the way is waited for before it is taken for a dead process's, and for how long each time.
/// A live process holds one for a few milliseconds.
const LOCK_ATTEMPTS: u32 = 8;
const LOCK_WAIT: Duration = Duration::from_millis(100);
/// How often a fetch is repeated that met a ref just being removed: hosts take back what they offered all the time.
const VANISHED_ATTEMPTS: u32 = 5;

/// The cache refs of one clone.
#[derive(Clone)]
pub struct Cache {
    refs: Refs,
    git: Git,
    common_dir: PathBuf,
    state_dir: PathBuf,
}

impl Cache {
    /// The cache of `place`.
    pub fn new(place: &Rc<Place>, git: Git) -> Cache {
        Cache {
            refs: Refs::new(Rc::clone(place), git.clone()),
            git,
            common_dir: place.common_dir().to_path_buf(),
            state_dir: place.state_dir(),
        }
    }

    /// The value of a ref, of the cache or of the clone's own.
    pub fn read(&self, name: &str) -> Result<Option<String>, Fault> {
        self.refs.read(name)
    }

    /// Sets a cache ref, whatever it was.
    pub fn set(&self, name: &str, new: &str) -> Result<(), Fault> {
        self.alone(|| self.unstuck(&[name], || self.refs.set(name, new), |result| hindered(result.as_ref().err())))?
    }

    /// Sets a cache ref from `old` to `new`; where it is not at `old` any more, it stays what it is.
    pub fn replace(&self, name: &str, old: &str, new: &str) -> Result<(), Fault> {
        let update = RefUpdate { name: name.to_owned(), old: Some(old.to_owned()), new: Some(new.to_owned()) };
        let replace = || self.refs.transact(std::slice::from_ref(&update));
        let locked = |result: &Result<Outcome, Fault>| matches!(result, Ok(Outcome::Locked { .. }));
        match self.alone(|| self.unstuck(&[name], replace, locked))?? {
            Outcome::Applied | Outcome::Lost { .. } => Ok(()),
            other => Err(Fault::io(format!("cannot set {name}"), format!("{other:?}"))),
        }
    }

    /// Removes a cache ref, if it is there.
    pub fn forget(&self, name: &str) -> Result<(), Fault> {
        self.alone(|| self.unstuck(&[name], || self.refs.forget(name), |result| hindered(result.as_ref().err())))?
    }

    /// Removes cache refs that are there.
    pub fn forget_all(&self, names: &[String]) -> Result<(), Fault> {
        let locked: Vec<&str> = names.iter().map(String::as_str).collect();
        self.alone(|| self.unstuck(&locked, || self.refs.forget_all(names), |result| hindered(result.as_ref().err())))?
    }

    /// Fetches `refspecs` from `url` into cache refs. A failing fetch is an output.
    pub fn fetch(&self, url: &str, refspecs: &[String]) -> Result<Output, Fault> {
        let set: Vec<&str> = refspecs.iter().filter_map(|refspec| Some(refspec.rsplit_once(':')?.1)).collect();
        let once = || self.git.fetch(url, refspecs).map_err(|error| Fault::io("fetching", error));
        let fetch = || {
            let mut output = once()?;
            for _ in 0..VANISHED_ATTEMPTS {
                if output.success() || !names_a_vanished_ref(&output.stderr_text()) {
                    break;
                }
                output = once()?;
            }
            Ok(output)
        };
        let hindered = |result: &Result<Output, Fault>| {
            result.as_ref().is_ok_and(|output| !output.success() && names_a_lock(&output.stderr_text()))
        };
        self.alone(|| self.unstuck(&set, fetch, hindered))?
    }

    /// Repeats `work` while somebody else is at the cache refs `names` it sets, and in the end removes what stays.
    fn unstuck<T>(&self, names: &[&str], work: impl Fn() -> T, hindered: impl Fn(&T) -> bool) -> T {
        let mut result = work();
        for attempt in 1..=LOCK_ATTEMPTS {
            if !hindered(&result) {
                break;
            }
            if attempt < LOCK_ATTEMPTS {
                std::thread::sleep(LOCK_WAIT);
            } else {
                for lock in names.iter().flat_map(|name| self.locks_of(name)) {
                    // If it went away by itself there is nothing to remove.
                    failpoint::reach("removing a dead lock");
                    let _ = fs::remove_file(lock);
                }
            }
            result = work();
        }
        result
    }

    /// The lock files of the cache refs that `name` stands for: itself, or all that begin like it before its star.
    fn locks_of(&self, name: &str) -> Vec<PathBuf> {
        let Some(directory) = name.strip_suffix('*') else { return vec![self.common_dir.join(format!("{name}.lock"))] };
        let entries = fs::read_dir(self.common_dir.join(directory)).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "lock")).collect()
    }

    /// Runs `work` while no other process of this clone touches the cache.
    fn alone<R>(&self, work: impl FnOnce() -> R) -> Result<R, Fault> {
        let path = self.state_dir.join("cache.lock");
        let failed = |error: std::io::Error| Fault::io(format!("cannot lock {}", path.display()), error);
        failpoint::making(&self.state_dir);
        fs::create_dir_all(&self.state_dir).map_err(failed)?;
        failpoint::making(&path);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        let mut lock = fd_lock::RwLock::new(file);
        let turn = lock.write().map_err(failed)?;
        let result = work();
        drop(turn);
        Ok(result)
    }
}

fn hindered(fault: Option<&Fault>) -> bool {
    fault.is_some_and(|fault| names_a_lock(&fault.to_string()))
}

/// Whether git was offered a ref that was gone when it asked for it. Nothing was fetched.
fn names_a_vanished_ref(said: &str) -> bool {
    said.contains("upload-pack: not our ref")
}

/// Whether git failed because another process is at the same ref, or was killed over it.
fn names_a_lock(said: &str) -> bool {
    ["cannot lock ref", "unable to update local ref", ".lock': File exists"].iter().any(|words| said.contains(words))
}
