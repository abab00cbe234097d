//! The processes of one clone that wait for their turn, and what they wait for: files in one directory.
//!
//! A process has one file, and what becomes of its operation is told by the file's name: files that are made and
//! removed cost more than anything else here (some file systems pass over what was removed a moment ago).
//!
//! Guarantees: a file that nobody has locked belongs to a process that is gone, and is nobody's intent; a process that
//! was served finds the version, whatever becomes of the one that served it.

#![expect(clippy::disallowed_methods, reason = "an adapter: it owns the files of the clone's state directory")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::{Fault, Intent, Pending, VALUE_BYTES_MAX, Version};
use crate::failpoint;

/// How many waiting operations are taken along at once.
const TAKEN_MAX: usize = 256;
/// How old a file is that its process was killed over before it had a name.
const UNNAMED_KEPT: Duration = Duration::from_secs(600);
/// The end of the name of an intent that somebody has tried to apply.
const TRIED: &str = ".tried";
/// In the name of an intent that was applied, what stands between the id and the version.
const SERVED: &str = ".served-";

/// The processes of one clone that wait.
pub(super) struct WaitingRoom {
    directory: PathBuf,
}

/// One of them: its file is removed when this is dropped.
pub(super) struct Seat {
    path: PathBuf,
    _locked: File,
}

impl WaitingRoom {
    /// The processes of the clone whose state directory this is.
    pub(super) fn new(state_dir: &Path) -> WaitingRoom {
        WaitingRoom { directory: state_dir.join("waiting") }
    }

    /// Makes it known that this process waits for `intent`.
    pub(super) fn enter(&self, intent: &Intent) -> Result<Seat, Fault> {
        let failed = |error: std::io::Error| Fault::io(format!("cannot write to {}", self.directory.display()), error);
        failpoint::making(&self.directory);
        fs::create_dir_all(&self.directory).map_err(failed)?;
        failpoint::reach("making a file of a process that waits");
        // Locked and written before it gets the name under which others look for it.
        let file = tempfile::NamedTempFile::new_in(&self.directory).map_err(failed)?;
        flock(file.as_file(), FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| Fault::io("locking an intent of our own", error))?;
        let text = [intent.base.0.as_bytes(), b"\n", &intent.payload].concat();
        fs::write(file.path(), text).map_err(failed)?;
        let path = self.directory.join(&intent.id);
        failpoint::reach("naming the file of a process that waits");
        let locked = file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(Seat { path, _locked: locked })
    }

    /// What live processes wait for. Removes what dead ones have left.
    pub(super) fn list(&self) -> Vec<Pending> {
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort_unstable();
        let mut waiting = Vec::new();
        for path in paths {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let id = name.split('.').next().unwrap_or_default();
            let Ok(file) = File::open(&path) else { continue };
            let Ok(data) = file.metadata() else { continue };
            // One that has no name yet may not be locked yet, either.
            let old = || data.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > UNNAMED_KEPT));
            if (is_id(id) || old()) && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
                let _ = fs::remove_file(&path);
                continue;
            }
            if is_id(id)
                && (name == id || name.ends_with(TRIED))
                && data.len() <= 2 * VALUE_BYTES_MAX as u64
                && waiting.len() < TAKEN_MAX
                && let Ok(text) = fs::read(&path)
                && let Some(end) = text.iter().position(|byte| *byte == b'\n')
                && let Ok(base) = std::str::from_utf8(&text[..end])
            {
                let base = Version(base.to_owned());
                let intent = Intent { id: id.to_owned(), base, payload: text[end + 1..].to_vec() };
                waiting.push(Pending { intent, binding: name.ends_with(TRIED), earlier: false });
            }
        }
        waiting
    }

    /// Notes that the intents with these ids are being tried.
    pub(super) fn try_for(&self, ids: &[&str]) -> Result<(), Fault> {
        for id in ids {
            let seat = self.directory.join(id);
            failpoint::reach("marking an intent as tried");
            match fs::rename(&seat, tried(&seat)) {
                // Tried before, or gone meanwhile.
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Fault::io(format!("cannot rename {}", seat.display()), error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Tells whoever waits for operation `id` that it was applied in `version`.
    pub(super) fn serve(&self, id: &str, version: &Version) {
        let (seat, served) = (self.directory.join(id), self.directory.join(format!("{id}{SERVED}{version}")));
        failpoint::reach("telling a process that waits");
        if fs::rename(tried(&seat), &served).is_err() {
            // If it cannot be told, it finds out by itself when its turn comes.
            let _ = fs::rename(&seat, &served);
        }
    }
}

impl Seat {
    /// The version that the operation was applied in, once somebody has told.
    pub(super) fn served(&self) -> Option<Version> {
        if self.path.exists() || self.was_tried() {
            return None;
        }
        let served = format!("{}{SERVED}", self.path.file_name()?.to_str()?);
        let names = fs::read_dir(self.path.parent()?).ok()?.flatten().map(|entry| entry.file_name());
        names.filter_map(|name| Some(Version(name.to_str()?.strip_prefix(&served)?.to_owned()))).next()
    }

    /// Whether anybody has tried to have it applied.
    pub(super) fn was_tried(&self) -> bool {
        tried(&self.path).exists()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // What stays is removed by the next to look.
        if let Some(version) = self.served() {
            let _ = fs::remove_file(self.path.with_extension(format!("{}{version}", &SERVED[1..])));
        } else if fs::remove_file(&self.path).is_err() {
            let _ = fs::remove_file(tried(&self.path));
        }
    }
}

fn tried(seat: &Path) -> PathBuf {
    seat.with_extension(&TRIED[1..])
}

/// Whether a name can be that of an operation: the names of files that are just being written are not.
fn is_id(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}
