//! A place for the objects that merges make and nobody keeps: in memory where the system has a directory there.
//!
//! Guarantees: nothing is written into the repository, which is the alternate of the scratch place; the place is gone
//! when it is dropped, and what a killed process left behind is removed by the next that needs one.

#![expect(clippy::disallowed_methods, reason = "an adapter: it makes and removes directories")]

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::failpoint;
use crate::git::Git;
use crate::ledger::Fault;

/// How the names of scratch places begin.
const PREFIX: &str = "git-scrum-merges-";
/// The file in one that its process has locked.
const LOCK: &str = "lock";
/// Nobody takes longer to make one.
const MADE_WITHIN: Duration = Duration::from_secs(600);
/// Where a system keeps files in memory.
const MEMORY: &str = "/dev/shm";
/// How much room must be there, in bytes.
const ROOM_BYTES_MIN: u64 = 256 << 20;

/// A scratch place for objects.
pub(super) struct Scratch {
    /// Removed last of all.
    directory: TempDir,
    _lock: File,
}

impl Scratch {
    /// Makes one beside the objects of the repository with this common directory.
    pub fn new(common_dir: &Path) -> Result<Scratch, Fault> {
        let failed = |error: &dyn std::fmt::Display| Fault::io("cannot make a scratch directory", error);
        let parent = parent();
        sweep(&parent);
        failpoint::reach("a scratch directory");
        let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&parent).map_err(|error| failed(&error))?;
        let lock = File::create(directory.path().join(LOCK)).map_err(|error| failed(&error))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| failed(&error))?;
        // Where git is told to keep objects elsewhere, as it tells the hooks of a push, those are the repository's.
        let objects = env::var_os("GIT_OBJECT_DIRECTORY").map_or_else(|| common_dir.join("objects"), PathBuf::from);
        let objects = objects.canonicalize().map_err(|error| failed(&error))?;
        let info = directory.path().join("objects/info");
        fs::create_dir_all(&info).map_err(|error| failed(&error))?;
        let mut line = objects.into_os_string();
        line.push("\n");
        let line = line.as_encoded_bytes();
        fs::write(info.join("alternates"), line).map_err(|error| failed(&error))?;
        Ok(Scratch { directory, _lock: lock })
    }

    /// Git that reads the repository and writes here.
    pub fn git(&self, git: &Git) -> Git {
        git.clone().with_variable("GIT_OBJECT_DIRECTORY", self.directory.path().join("objects").to_string_lossy())
    }
}

/// Where scratch places are made.
fn parent() -> PathBuf {
    let memory = Path::new(MEMORY);
    let room = rustix::fs::statvfs(memory).map_or(0, |system| system.f_bavail * system.f_frsize);
    let usable = room >= ROOM_BYTES_MIN && rustix::fs::access(memory, rustix::fs::Access::WRITE_OK).is_ok();
    if usable { memory.to_path_buf() } else { env::temp_dir() }
}

/// Removes the scratch places of processes that are gone.
fn sweep(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_one = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if !is_one || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let age = entry.metadata().and_then(|data| data.modified()).ok().and_then(|made| made.elapsed().ok());
        // One without a lock is just being made, unless its process died that moment. Somebody else's is not removed:
        // it cannot be.
        let dead = match File::open(entry.path().join(LOCK)) {
            Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok(),
            Err(_) => age.is_some_and(|age| age >= MADE_WITHIN),
        };
        if dead {
            failpoint::reach("sweeping a scratch directory");
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_goes_and_what_a_live_one_has_stays() {
        let parent = tempfile::tempdir().expect("a directory");
        let make = |name: &str| {
            let path = parent.path().join(name);
            fs::create_dir(&path).expect("a directory");
            path
        };
        let (left, used, just_made, other) = (
            make("git-scrum-merges-left"),
            make("git-scrum-merges-used"),
            make("git-scrum-merges-made"),
            make("somebody-else"),
        );
        for directory in [&left, &used, &other] {
            fs::write(directory.join(LOCK), "").expect("a file");
        }
        let lock = File::open(used.join(LOCK)).expect("it is there");
        flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("nobody has it");
        sweep(parent.path());
        assert_eq!([&left, &used, &just_made, &other].map(|path| path.exists()), [false, true, true, true]);
    }
}
