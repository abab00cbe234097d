//! Files of this clone that outlive a process: operations under way, and the fences of claims made here.
//!
//! A file of an operation is locked as long as its process lives, so that nobody else's live operation is ever taken
//! for a dead one. Both are conveniences of one clone: losing them loses no work and breaks no rule.

#![expect(clippy::disallowed_methods, reason = "an adapter: it owns the files of the clone's state directory")]

use std::cell::RefCell;
use std::fs::{self, DirEntry, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::spent::{Spent, SpentFile};
use crate::domain::{Branch, Claim, Fence, Holder, OperationId, TaskId};
use crate::engine::{Journal, Resumed};
use crate::failpoint;
use crate::ledger::{Fault, Version};

/// How long an operation of a process that is gone may be taken up by the same request: longer than any push takes,
/// and short enough that a request made anew much later is a new one.
const RESUME_WITHIN: Duration = Duration::from_secs(600);

#[derive(Serialize, Deserialize)]
struct UnderWay {
    base: Option<String>,
    request: String,
}

/// The directory, below a clone's state directory, of what is under way.
const UNDER_WAY: &str = "under-way";
/// How the names of files begin that are not whole yet.
const UNNAMED: &str = ".new-";

/// A file of the clone whose state directory this is, to be written and then named. They all begin where operations
/// under way are, so that one that its process was killed over is removed with those.
pub fn unnamed_file(state_dir: &Path) -> io::Result<NamedTempFile> {
    let directory = state_dir.join(UNDER_WAY);
    failpoint::making(&directory);
    fs::create_dir_all(&directory)?;
    failpoint::reach("an unnamed file");
    tempfile::Builder::new().prefix(UNNAMED).tempfile_in(&directory)
}

/// How long ago a file was written, where that can be told.
fn age(entry: &DirEntry) -> Option<Duration> {
    entry.metadata().ok()?.modified().ok()?.elapsed().ok()
}

/// Operations under way, as files in one directory.
pub struct FileJournal {
    state_dir: PathBuf,
    directory: PathBuf,
    begun: RefCell<Vec<(PathBuf, File)>>,
    spent: SpentFile,
}

impl FileJournal {
    /// The journal of a clone whose state directory this is.
    pub fn new(state_dir: &Path) -> FileJournal {
        let (state_dir, directory) = (state_dir.to_path_buf(), state_dir.join(UNDER_WAY));
        FileJournal { spent: SpentFile::new(&state_dir), state_dir, directory, begun: RefCell::new(Vec::new()) }
    }

    /// What this clone has spent so far.
    pub fn spent_so_far(&self) -> Spent {
        self.spent.read()
    }

    /// An operation with the same request whose process is gone, locked for this one.
    fn orphan(&self, request: &str) -> Option<(OperationId, Option<Version>, PathBuf, File)> {
        for entry in fs::read_dir(&self.directory).ok()?.flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            let too_old = age(&entry).is_some_and(|age| age >= RESUME_WITHIN);
            if name.starts_with(UNNAMED) && too_old {
                failpoint::reach("dropping an unnamed file");
                let _ = fs::remove_file(&path);
            }
            let (Ok(id), Ok(file)) = (OperationId::parse(&name), File::open(&path)) else { continue };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() || !path.exists() {
                continue;
            }
            let known: Option<UnderWay> = fs::read_to_string(&path).ok().and_then(|text| toml::from_str(&text).ok());
            match known {
                Some(known) if !too_old => {
                    if known.request == request {
                        return Some((id, known.base.map(Version), path, file));
                    }
                }
                // Written half, or too old for anybody to be waiting for it.
                _ => {
                    failpoint::reach("dropping a journal entry");
                    let _ = fs::remove_file(&path);
                }
            }
        }
        None
    }
}

impl Journal for FileJournal {
    fn begin(&self, id: &OperationId, request: &str, base: Option<&Version>) -> Result<Option<Resumed>, Fault> {
        if let Some((id, base, path, file)) = self.orphan(request) {
            self.begun.borrow_mut().push((path, file));
            return Ok(Some(Resumed { id, base }));
        }
        let failed = |error: std::io::Error| Fault::io(format!("cannot write to {}", self.directory.display()), error);
        let known = UnderWay { base: base.map(|version| version.0.clone()), request: request.to_owned() };
        let text = toml::to_string(&known).map_err(|error| Fault::io("noting an operation", error))?;
        // Locked and written before it gets the name under which others look for it.
        let file = unnamed_file(&self.state_dir).map_err(failed)?;
        flock(file.as_file(), FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| Fault::io("locking an operation of our own", error))?;
        failpoint::reach("writing a journal entry");
        fs::write(file.path(), text).map_err(failed)?;
        let path = self.directory.join(id.as_str());
        failpoint::reach("naming a journal entry");
        let file = file.persist(&path).map_err(|error| failed(error.error))?;
        self.begun.borrow_mut().push((path, file));
        Ok(None)
    }

    fn delivered(&self) {
        for (path, _locked) in self.begun.borrow_mut().drain(..) {
            // Left behind, it would be found and dropped by a later command.
            failpoint::reach("removing a journal entry");
            let _ = fs::remove_file(path);
        }
    }

    fn spent(&self, pushes: u32) {
        self.spent.add(Spent { operations: 1, pushes: u64::from(pushes), heartbeats: 0 });
    }

    fn beaten(&self) {
        self.spent.add(Spent { heartbeats: 1, ..Spent::default() });
    }
}

/// What this clone knows of a claim that was made in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimFile {
    /// The fence, which every later verb names.
    pub fence: Fence,
    /// In whose name it was made.
    pub holder: Holder,
    /// Its branch.
    pub branch: Branch,
    /// Its worktree, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worktree: Option<PathBuf>,
    /// Whether whoever made it knows that it is over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub over: bool,
    /// Others of this clone who had the task before, and do not know yet that they lost it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    displaced: Vec<Displaced>,
}

/// A claim that another of the same clone has taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Displaced {
    fence: Fence,
    holder: Holder,
}

/// How many who lost one task are remembered.
const DISPLACED_MAX: usize = 16;

impl ClaimFile {
    /// What is to be known of a claim.
    pub fn new(claim: &Claim, worktree: Option<PathBuf>) -> ClaimFile {
        let (fence, holder, branch) = (claim.fence, claim.holder.clone(), claim.branch.clone());
        ClaimFile { fence, holder, branch, worktree, over: false, displaced: Vec::new() }
    }

    /// The fences under which `holder` believes to have the task.
    fn of(&self, holder: &Holder) -> Vec<Fence> {
        let displaced = self.displaced.iter().filter(|displaced| displaced.holder == *holder);
        let own = (self.holder == *holder && !self.over).then_some(self.fence);
        displaced.map(|displaced| displaced.fence).chain(own).collect()
    }

    /// The same, with what was known before of whoever is displaced by it.
    fn after(mut self, before: ClaimFile) -> ClaimFile {
        self.displaced = before.displaced;
        if before.fence != self.fence && !before.over {
            self.displaced.push(Displaced { fence: before.fence, holder: before.holder });
        }
        self.displaced.retain(|displaced| displaced.holder != self.holder);
        let more = self.displaced.len().saturating_sub(DISPLACED_MAX);
        self.displaced.drain(..more);
        self
    }
}

/// The claims made in this clone, as files in one directory.
pub struct KnownClaims {
    state_dir: PathBuf,
    directory: PathBuf,
}

impl KnownClaims {
    /// The claims of a clone whose state directory this is.
    pub fn new(state_dir: &Path) -> KnownClaims {
        KnownClaims { state_dir: state_dir.to_path_buf(), directory: state_dir.join("claims") }
    }

    /// What is known of the claim of a task.
    pub fn get(&self, task: &TaskId) -> Option<ClaimFile> {
        toml::from_str(&fs::read_to_string(self.directory.join(task.as_str())).ok()?).ok()
    }

    /// Every claim that is known here, by task.
    pub fn all(&self) -> Vec<(TaskId, ClaimFile)> {
        let Ok(entries) = fs::read_dir(&self.directory) else { return Vec::new() };
        let tasks = entries.flatten().filter_map(|entry| TaskId::parse(&entry.file_name().to_string_lossy()).ok());
        let mut known: Vec<(TaskId, ClaimFile)> =
            tasks.filter_map(|task| Some((task.clone(), self.get(&task)?))).collect();
        known.sort_by(|a, b| a.0.cmp(&b.0));
        known
    }

    /// The claims that `holder` made here and does not know to be over.
    pub fn of(&self, holder: &Holder) -> Vec<(TaskId, Fence)> {
        let of =
            |(task, claim): (TaskId, ClaimFile)| claim.of(holder).into_iter().map(move |fence| (task.clone(), fence));
        self.all().into_iter().flat_map(of).collect()
    }

    /// Remembers a claim, and whom it displaces.
    pub fn put(&self, task: &TaskId, claim: ClaimFile) -> Result<(), Fault> {
        let claim = match self.get(task) {
            Some(before) => claim.after(before),
            None => claim,
        };
        self.write(task, &claim)
    }

    /// The file is replaced whole, so that a reader never sees half of it.
    fn write(&self, task: &TaskId, claim: &ClaimFile) -> Result<(), Fault> {
        let failed = |error: &dyn std::fmt::Display| Fault::io(format!("cannot remember the claim of {task}"), error);
        failpoint::making(&self.directory);
        fs::create_dir_all(&self.directory).map_err(|error| failed(&error))?;
        let text = toml::to_string(claim).map_err(|error| failed(&error))?;
        let file = unnamed_file(&self.state_dir).map_err(|error| failed(&error))?;
        failpoint::reach("writing a claim's file");
        fs::write(file.path(), text).map_err(|error| failed(&error))?;
        failpoint::reach("naming a claim's file");
        file.persist(self.directory.join(task.as_str())).map_err(|error| failed(&error))?;
        Ok(())
    }

    /// Notes that whoever made the claim knows that it is over. Its worktree may still be there.
    pub fn end(&self, task: &TaskId, fence: Fence) -> Result<(), Fault> {
        let Some(before) = self.get(task) else { return Ok(()) };
        let mut claim = before.clone();
        claim.over |= claim.fence == fence;
        claim.displaced.retain(|displaced| displaced.fence != fence);
        if claim == before { Ok(()) } else { self.write(task, &claim) }
    }

    /// Forgets the claim of a task.
    pub fn forget(&self, task: &TaskId) {
        // A file that stays names a fence that is stale: the board refuses it by name.
        failpoint::reach("forgetting a claim");
        let _ = fs::remove_file(self.directory.join(task.as_str()));
    }
}
