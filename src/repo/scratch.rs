//! A git directory for merges beside the repository's own: for objects that nobody keeps, in memory where the system
//! has a directory there, and without attributes that only this clone has (GIT_FACTS 33).
//!
//! Guarantees: what is written here is not in the repository, which is the alternate of this place, unless it is kept
//! expressly; the place is gone when it is dropped, and what a killed process left behind is removed by the next that
//! needs one.

#![expect(clippy::disallowed_methods, reason = "an adapter: it makes and removes directories")]

use std::env;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use crate::domain::ObjectId;
use crate::failpoint;
use crate::git::Git;
use crate::git::process::{self, Bounds};
use crate::ledger::{Fault, Objects, Place};

/// How the names of scratch places begin.
const PREFIX: &str = "git-scrum-merges-";
/// The file in one that its process has locked.
const LOCK: &str = "lock";
/// Nobody takes longer to make one.
const MADE_WITHIN: Duration = Duration::from_secs(600);
/// Where a system keeps files in memory.
const MEMORY: &str = "/dev/shm";
/// The most that is kept at once, in bytes: what merges bring beside what was merged.
const PACK_BYTES_MAX: usize = 1 << 30;
/// How much room must be there, in bytes.
const ROOM_BYTES_MIN: u64 = 256 << 20;

/// A scratch place.
pub(super) struct Scratch {
    /// Removed last of all.
    directory: TempDir,
    _lock: File,
    /// Whether git has to take this for the repository.
    instead: bool,
}

impl Scratch {
    /// Makes one beside `place`, the repository that `git` is in.
    pub fn new(git: &Git, place: &Place) -> Result<Scratch, Fault> {
        let failed = |error: &dyn std::fmt::Display| Fault::io("cannot make a scratch directory", error);
        let parent = parent();
        sweep(&parent);
        failpoint::reach("a scratch directory");
        let directory = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&parent).map_err(|error| failed(&error))?;
        let lock = File::create(directory.path().join(LOCK)).map_err(|error| failed(&error))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| failed(&error))?;
        // Where git is told to keep objects elsewhere, as it tells the hooks of a push, those are the repository's.
        let objects =
            env::var_os("GIT_OBJECT_DIRECTORY").map_or_else(|| place.common_dir().join("objects"), PathBuf::from);
        let objects = objects.canonicalize().map_err(|error| failed(&error))?;
        make(directory.path(), &objects, place.hex_len()).map_err(|error| failed(&error))?;
        let instead = has_attributes(place);
        let scratch = Scratch { directory, _lock: lock, instead };
        if instead {
            scratch.stand_in(git, place)?;
        }
        Ok(scratch)
    }

    /// Git that reads the repository and writes here.
    pub fn git(&self, git: &Git) -> Git {
        let objects = self.directory.path().join("objects");
        let git = git.clone().with_variable("GIT_OBJECT_DIRECTORY", objects.to_string_lossy());
        if !self.instead {
            return git;
        }
        let here = self.directory.path().to_string_lossy();
        git.with_variable("GIT_DIR", here.clone()).with_variable("GIT_COMMON_DIR", here)
    }

    /// Reads the repository and writes here, as git does.
    pub fn objects(&self) -> Result<Objects, Fault> {
        Ok(Objects::new(Rc::new(Place::open(self.directory.path())?)))
    }

    /// Keeps commits in the repository, which is that of `git`, with all that they have and `known` have not.
    pub fn keep(&self, git: &Git, commits: &[&ObjectId], known: &[&ObjectId]) -> Result<(), Fault> {
        let failed = |error: &dyn std::fmt::Display| Fault::io("cannot keep what was merged", error);
        let wanted = commits.iter().map(|id| format!("{id}\n"));
        let list: String = wanted.chain(known.iter().map(|id| format!("^{id}\n"))).collect();
        let args = ["pack-objects", "--revs", "--stdout", "--quiet", "--window=0"];
        let bounds = Bounds { keep_bytes_max: PACK_BYTES_MAX, ..Bounds::default() };
        let mut command = self.git(git).command();
        let packed = process::run(command.args(args), Some(list.as_bytes()), bounds).map_err(|error| failed(&error))?;
        if !packed.success() {
            return Err(failed(&crate::git::failed(&args, &packed)));
        }
        let args = ["-c", "core.fsync=loose-object", "unpack-objects", "-q"];
        git.run_with(&args, Some(&packed.stdout)).map(|_| ()).map_err(|error| failed(&error))
    }

    /// Tells this directory what git has to know of the repository to merge in its place: how its objects are named,
    /// what history it lacks and who has it, and its merge drivers, whatever file they are configured in.
    fn stand_in(&self, git: &Git, place: &Place) -> Result<(), Fault> {
        let failed = |error: &dyn std::fmt::Display| Fault::io("cannot set up a scratch directory", error);
        let config = self.directory.path().join("config");
        let wanted = r"^(merge\..*|extensions\.partialclone)$";
        let listed = git.output(["config", "-z", "--get-regexp", wanted]).map_err(|error| failed(&error))?;
        if !matches!(listed.code, Some(0 | 1)) {
            return Err(failed(&listed.stderr_text()));
        }
        let (listed, file) = (listed.stdout_text(), config.to_string_lossy());
        let include = place.common_dir().join("config");
        let include = ("include.path", include.to_string_lossy());
        let settings = listed.split('\0').filter_map(|pair| pair.split_once('\n'));
        for (key, value) in std::iter::once((include.0, &*include.1)).chain(settings) {
            git.run(&["config", "--file", &file, "--add", key, value]).map_err(|error| failed(&error))?;
        }
        let shallow = place.common_dir().join("shallow");
        if shallow.exists() {
            symlink(shallow, self.directory.path().join("shallow")).map_err(|error| failed(&error))?;
        }
        Ok(())
    }
}

/// Whether a clone gives attributes beside those in the tree: git reads them from nowhere but its own directory, and
/// puts them before all others.
pub(super) fn has_attributes(place: &Place) -> bool {
    let text = fs::read(place.common_dir().join("info/attributes")).unwrap_or_default();
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.any(|line| !line.is_empty() && !line.starts_with(b"#"))
}

/// Makes an empty git directory with `objects` for its alternate.
fn make(directory: &Path, objects: &Path, hex_len: usize) -> std::io::Result<()> {
    let info = directory.join("objects/info");
    fs::create_dir_all(&info)?;
    fs::create_dir_all(directory.join("refs"))?;
    fs::write(directory.join("HEAD"), "ref: refs/heads/none\n")?;
    let format = if hex_len == 64 { "sha256" } else { "sha1" };
    let extensions = format!("[extensions]\n\tobjectFormat = {format}\n");
    fs::write(directory.join("config"), format!("[core]\n\trepositoryformatversion = 1\n\tbare = true\n{extensions}"))?;
    let mut line = objects.as_os_str().to_owned();
    line.push("\n");
    fs::write(info.join("alternates"), line.as_encoded_bytes())
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
            // No step of this process: what is there to remove is up to all others of the machine, and who is killed
            // meanwhile leaves it to the next.
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
