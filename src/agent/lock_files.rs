//! Lock files that git leaves behind when it is killed, in this clone or in a remote that is a directory here.
//!
//! Git removes its lock files itself, unless it is killed; nobody else ever does. Guarantees: a file is removed only
//! while no command of this program is at work in that repository, and only if it is still the one that was found.

#![expect(clippy::disallowed_methods, reason = "an adapter: it looks for files and removes them")]

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::domain::Seconds;
use crate::failpoint;
use crate::ledger::{Fault, Place};

/// How deep below `refs/` is looked.
const DEPTH_MAX: usize = 32;
/// The files of ours that a command locks while it is at work. These are never left: the lock goes with the process.
const OURS: [&str; 3] = ["queue.lock", "cache.lock", "beat.lock"];

/// A lock file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockFile {
    /// Where it is.
    pub path: PathBuf,
    /// How long it has been there.
    pub age: Seconds,
    /// The name of the user who made it, or the number where that has no name here.
    pub owner: String,
    /// What tells it from another of the same name: its inode, and when it was written, in nanoseconds.
    identity: (u64, i64, i64),
}

/// The lock files of one repository that keep refs from moving.
#[derive(Debug, Clone)]
pub struct LockFiles {
    git_dir: PathBuf,
}

impl LockFiles {
    /// Those of a clone.
    pub fn of(place: &Place) -> LockFiles {
        LockFiles { git_dir: place.common_dir().to_path_buf() }
    }

    /// Those of a remote, if its address is that of a directory here; a relative one begins at `base`.
    pub fn at(url: &str, base: &Path) -> Option<LockFiles> {
        let path = base.join(url.strip_prefix("file://").unwrap_or(url));
        let suffixed = PathBuf::from(format!("{}.git", path.display()));
        // The order in which git itself tries them.
        let places = [path.join(".git"), path, suffixed.join(".git"), suffixed];
        let git_dir = places.into_iter().find(|dir| dir.join("HEAD").is_file() && dir.join("objects").is_dir())?;
        Some(LockFiles { git_dir })
    }

    /// All that are there, by path.
    pub fn find(&self) -> Vec<LockFile> {
        let mut paths = vec![self.git_dir.join("packed-refs.lock"), self.git_dir.join("reftable/tables.list.lock")];
        collect(&self.git_dir.join("refs"), DEPTH_MAX, &mut paths);
        let mut found: Vec<LockFile> = paths.into_iter().filter_map(look).collect();
        found.sort_by(|a, b| a.path.cmp(&b.path));
        found
    }

    /// Whether a command of this program is at work in the repository.
    pub fn in_use(&self) -> bool {
        self.hold().is_none()
    }

    /// Removes what [`LockFiles::find`] gave. Gives whether it did: not while somebody is at work, and not what is
    /// another file by now.
    pub fn remove(&self, lock: &LockFile) -> Result<bool, Fault> {
        let Some(_held) = self.hold() else { return Ok(false) };
        if look(lock.path.clone()).is_none_or(|present| present.identity != lock.identity) {
            return Ok(false);
        }
        failpoint::reach("removing a dead lock");
        let removed = fs::remove_file(&lock.path);
        removed.map_err(|error| Fault::io(format!("cannot remove {}", lock.path.display()), error))?;
        Ok(true)
    }

    /// Keeps commands of this program from working here, unless one is at work.
    fn hold(&self) -> Option<Vec<File>> {
        let files = OURS.iter().filter_map(|name| File::open(self.git_dir.join("scrum").join(name)).ok());
        files.map(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok().then_some(file)).collect()
    }
}

fn collect(directory: &Path, depth: usize, paths: &mut Vec<PathBuf>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&path, depth, paths);
        } else if path.extension().is_some_and(|end| end == "lock") {
            paths.push(path);
        }
    }
}

fn look(path: PathBuf) -> Option<LockFile> {
    let data = fs::symlink_metadata(&path).ok().filter(|data| data.is_file())?;
    let age = data.modified().ok()?.elapsed().unwrap_or_default();
    let identity = (data.ino(), data.mtime(), data.mtime_nsec());
    Some(LockFile { path, age: Seconds(age.as_secs()), owner: user(data.uid()), identity })
}

/// The name of a user, where the system's list of users has it.
fn user(id: u32) -> String {
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number == id.to_string()).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("user {id}"))
}
