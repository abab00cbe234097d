//! The repository that a command was started in, whatever its shape.
//!
//! Found through gix with the user's environment, so that ownership checks, `GIT_DIR` in hooks, linked worktrees and
//! bare repositories mean what they mean to git. Everything of ours that is not a ref lives in one directory of the
//! common git directory, which all linked worktrees share.

use std::path::{Path, PathBuf};

use super::Fault;

/// How a repository stores its refs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefFormat {
    /// Loose files and `packed-refs`: gix reads them.
    Files,
    /// Reftable: only the `git` program reads them (GIT_FACTS 16).
    Reftable,
}

/// A discovered repository.
pub struct Place {
    repo: gix::Repository,
    common_dir: PathBuf,
    /// Where the command was started.
    pub started_in: PathBuf,
    /// How refs are stored.
    pub ref_format: RefFormat,
}

impl Place {
    /// Finds the repository that `directory` is in.
    ///
    /// # Errors
    /// [`Fault::NoRepository`] when there is none or it cannot be used.
    pub fn discover(directory: &Path) -> Result<Place, Fault> {
        let repo = gix::discover_with_environment_overrides(directory).map_err(|error| {
            let what = error.to_string();
            Fault::NoRepository { what: format!("{} is not in a usable git repository: {what}", directory.display()) }
        })?;
        Place::of(repo, directory)
    }

    fn of(mut repo: gix::Repository, directory: &Path) -> Result<Place, Fault> {
        // Reading a board walks the same few trees again and again.
        repo.object_cache_size_if_unset(8 << 20);
        // An object is what its id says, here as on every other host.
        repo.objects.ignore_replacements = true;
        let _ = repo.make_paths_absolute();
        // Of a linked worktree it is `…/.git/worktrees/x/../..`: the same directory, but not the same name.
        let common_dir = repo.common_dir().canonicalize();
        let common_dir = common_dir.map_err(|error| Fault::io("cannot resolve the git directory", error))?;
        let reftable = {
            let config = repo.config_snapshot();
            config.string("extensions.refStorage").is_some_and(|format| format.eq_ignore_ascii_case(b"reftable"))
        };
        let ref_format = if reftable { RefFormat::Reftable } else { RefFormat::Files };
        Ok(Place { repo, common_dir, started_in: directory.to_path_buf(), ref_format })
    }

    /// Opens a git directory that this program has made, whatever the environment says of another.
    ///
    /// # Errors
    /// [`Fault::NoRepository`] when it cannot be used.
    pub fn open(directory: &Path) -> Result<Place, Fault> {
        let options = gix::open::Options::isolated().with(gix::sec::Trust::Full).open_path_as_is(true);
        let repo = gix::open_opts(directory, options).map_err(|error| Fault::NoRepository {
            what: format!("{} is not a usable git directory: {error}", directory.display()),
        })?;
        Place::of(repo, directory)
    }

    pub(super) fn repository(&self) -> &gix::Repository {
        &self.repo
    }

    /// The git directory that all worktrees share.
    pub fn common_dir(&self) -> &Path {
        &self.common_dir
    }

    /// The directory for our own files: the queue's lock, caches, records of work under way.
    pub fn state_dir(&self) -> PathBuf {
        self.common_dir().join("scrum")
    }

    /// The root of the worktree the command was started in; `None` in a bare repository.
    pub fn workdir(&self) -> Option<&Path> {
        self.repo.workdir()
    }

    /// Whether the repository has no worktree.
    pub fn is_bare(&self) -> bool {
        self.repo.is_bare()
    }

    /// Whether git might refuse to use this repository: it is somebody else's, or bare. Nobody's own ordinary clone is
    /// asked about, for asking takes a process.
    pub fn may_be_off_limits(&self) -> bool {
        self.is_bare() || self.repo.git_dir_trust() != gix::sec::Trust::Full
    }

    /// The hexadecimal length of an object id here: 40 for SHA-1, 64 for SHA-256.
    pub fn hex_len(&self) -> usize {
        self.repo.object_hash().len_in_hex()
    }
}
