//! What this clone remembers of the truth: refs under `refs/scrum/remotes/`, and the fetches that set them.
//!
//! Several processes of one clone set the same refs, and any of them may be killed while git or gix holds a lock file
//! on one. So all of it happens behind one lock of ours; whoever has that knows that a lock file on a cache ref which
//! stays belongs to nobody, and removes it. Losing a race here is harmless: the refs are a cache.

#![expect(clippy::disallowed_methods, reason = "an adapter: it owns the files of the clone's state directory")]

use std::fs::{self, OpenOptions};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use super::{Fault, Place, Refs};
use crate::git::{Git, Output};

/// How often a lock file in the way is waited for before it is taken for a dead process's, and for how long each time.
/// A live process holds one for a few milliseconds.
const LOCK_ATTEMPTS: u32 = 8;
const LOCK_WAIT: Duration = Duration::from_millis(100);

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
        self.alone(|| self.unstuck(&[name], || self.refs.set(name, new), Result::is_ok))?
    }

    /// Removes a cache ref, if it is there.
    pub fn forget(&self, name: &str) -> Result<(), Fault> {
        self.alone(|| self.unstuck(&[name], || self.refs.forget(name), Result::is_ok))?
    }

    /// Fetches `refspecs` from `url` into cache refs. A failing fetch is an output.
    pub fn fetch(&self, url: &str, refspecs: &[String]) -> Result<Output, Fault> {
        let set: Vec<&str> = refspecs.iter().filter_map(|refspec| Some(refspec.rsplit_once(':')?.1)).collect();
        let fetch = || self.git.fetch(url, refspecs).map_err(|error| Fault::io("fetching", error));
        self.alone(|| self.unstuck(&set, fetch, |result| result.as_ref().is_ok_and(Output::success)))?
    }

    /// Repeats `work` while it fails and there is a lock file on one of the cache refs it sets.
    fn unstuck<T>(
        &self,
        names: &[&str],
        work: impl Fn() -> Result<T, Fault>,
        done: impl Fn(&Result<T, Fault>) -> bool,
    ) -> Result<T, Fault> {
        let locks: Vec<PathBuf> = names.iter().map(|name| self.common_dir.join(format!("{name}.lock"))).collect();
        let mut result = work();
        for attempt in 1..=LOCK_ATTEMPTS {
            let Some(lock) = locks.iter().find(|lock| !done(&result) && lock.exists()) else { break };
            if attempt < LOCK_ATTEMPTS {
                std::thread::sleep(LOCK_WAIT);
            } else {
                // If it went away by itself there is nothing to remove.
                let _ = fs::remove_file(lock);
            }
            result = work();
        }
        result
    }

    /// Runs `work` while no other process of this clone touches the cache.
    fn alone<R>(&self, work: impl FnOnce() -> R) -> Result<R, Fault> {
        let path = self.state_dir.join("cache.lock");
        let failed = |error: std::io::Error| Fault::io(format!("cannot lock {}", path.display()), error);
        fs::create_dir_all(&self.state_dir).map_err(failed)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        let mut lock = fd_lock::RwLock::new(file);
        let turn = lock.write().map_err(failed)?;
        let result = work();
        drop(turn);
        Ok(result)
    }
}
