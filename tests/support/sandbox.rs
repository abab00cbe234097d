//! A directory in which git behaves the same on every machine.
//!
//! Guarantees: a program started through [`Sandbox::command`] sees the caller's `PATH` and little else of the caller's
//! environment. No variable of git, no proxy, no ssh agent, no editor, no locale and no configuration of the user or
//! of the system reaches it, and it cannot discover a repository above the sandbox.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// What is kept of the caller's environment: finding programs and libraries, and reporting about the test itself.
const KEPT: [&str; 7] = [
    "PATH",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "LLVM_PROFILE_FILE",
    "RUST_BACKTRACE",
    "SCRUM_KEEP",
];

/// How much room a directory in memory must have.
const IN_MEMORY_ROOM_BYTES_MIN: u64 = 1 << 30;

const GITCONFIG: &str = "\
[user]
\tname = Ada Example
\temail = ada@example.test
[init]
\tdefaultBranch = main
[protocol \"file\"]
\tallow = always
";

/// A temporary directory with an isolated environment; removed on drop unless `SCRUM_KEEP` is set.
///
/// Layout: `home/` is the home directory and `gitconfig` the global configuration (write to it with
/// `git config --global`); everything else is named by the test.
pub struct Sandbox {
    root: PathBuf,
    extra: BTreeMap<OsString, OsString>,
    /// Removes the directory when the sandbox goes.
    _directory: TempDir,
}

impl Sandbox {
    /// Makes the directory, the home in it and the global git configuration.
    pub fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// Makes it in memory where the system keeps a directory there and has room: for a test that writes very much.
    pub fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        let room = rustix::fs::statvfs(memory).map_or(0, |system| system.f_bavail * system.f_frsize);
        if room < IN_MEMORY_ROOM_BYTES_MIN { Self::new() } else { Self::below(memory) }
    }

    fn below(directory: &Path) -> Self {
        let keep = std::env::var_os("SCRUM_KEEP").is_some();
        let directory = tempfile::Builder::new()
            .prefix("scrum-test-")
            .disable_cleanup(keep)
            .tempdir_in(directory)
            .expect("a temporary directory can be made");
        // Git prints resolved paths; where the temporary directory is behind a link, the two would differ.
        let root = directory.path().canonicalize().expect("the directory was just made");
        if keep {
            tell(&format!("SCRUM_KEEP: the sandbox stays at {}", root.display()));
        }
        fs::create_dir_all(home(&root).join(".config")).expect("the sandbox is writable");
        fs::write(gitconfig(&root), GITCONFIG).expect("the sandbox is writable");
        Self { root, extra: BTreeMap::new(), _directory: directory }
    }

    /// A `PATH` on which git does something else in some cases, each as the shell has them: `pattern) commands ;;`. A
    /// pattern is held against all arguments in one line.
    pub fn path_where_git(&self, cases: &str) -> OsString {
        let programs = self.path("programs");
        fs::create_dir_all(&programs).expect("the sandbox is writable");
        let path = std::env::var_os("PATH").expect("there is a PATH");
        let git = std::env::split_paths(&path).map(|dir| dir.join("git")).find(|file| file.is_file());
        let git = git.expect("git is installed");
        let script = format!("#!/bin/sh\ncase \"$*\" in\n{cases}\nesac\nexec '{}' \"$@\"\n", git.display());
        fs::write(programs.join("git"), script).expect("the sandbox is writable");
        fs::set_permissions(programs.join("git"), fs::Permissions::from_mode(0o755)).expect("it was just written");
        let path = std::env::join_paths([programs].into_iter().chain(std::env::split_paths(&path)));
        path.expect("it was one before")
    }

    /// The sandbox's directory, without symbolic links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A path in the sandbox; nothing is created.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// Adds or replaces a variable for all later commands.
    pub fn set_env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) {
        self.extra.insert(key.as_ref().to_owned(), value.as_ref().to_owned());
    }

    /// Fixes the author's and the committer's date of all later commits, for reproducible object ids.
    ///
    /// `date` is in any form git reads, for instance `2026-01-02T03:04:05Z`.
    pub fn set_date(&mut self, date: &str) {
        self.set_env("GIT_AUTHOR_DATE", date);
        self.set_env("GIT_COMMITTER_DATE", date);
    }

    /// A command with the sandbox's environment. Its directory is the caller's: set `current_dir`.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(environment(&self.root, &gitconfig(&self.root))).envs(&self.extra);
        command
    }

    /// Runs git in `dir` and returns what it printed, without the white space at the end.
    ///
    /// # Panics
    ///
    /// With git's output when git fails.
    #[track_caller]
    pub fn git(&self, dir: impl AsRef<Path>, args: &[&str]) -> String {
        let dir = dir.as_ref();
        let output = self.try_git(dir, args);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "git {args:?} in {} failed with {}\n--- stdout\n{stdout}\n--- stderr\n{}",
            dir.display(),
            output.status,
            String::from_utf8_lossy(&output.stderr),
        );
        stdout.trim_end().to_owned()
    }

    /// Runs git in `dir`, whatever comes of it. Standard input is empty.
    #[track_caller]
    pub fn try_git(&self, dir: impl AsRef<Path>, args: &[&str]) -> Output {
        self.command("git").current_dir(dir).args(args).output().expect("git is installed and the directory exists")
    }

    /// Makes a bare repository at `name`; `extra` goes to `git init`, for instance `--object-format=sha256`.
    #[track_caller]
    pub fn init_bare(&self, name: &str, extra: &[&str]) -> PathBuf {
        let path = self.path(name);
        let mut args = vec!["init", "--quiet", "--bare"];
        args.extend(extra);
        args.extend(["--", text(&path)]);
        self.git(&self.root, &args);
        path
    }

    /// Clones `url` to `name` in the sandbox and returns its path.
    #[track_caller]
    pub fn clone(&self, url: &str, name: &str) -> PathBuf {
        let path = self.path(name);
        self.git(&self.root, &["clone", "--quiet", "--", url, text(&path)]);
        path
    }

    /// Writes `path` in the worktree `repo`, commits what is then in the index, and returns the commit's id.
    #[track_caller]
    pub fn commit_file(&self, repo: impl AsRef<Path>, path: &str, content: impl AsRef<[u8]>, message: &str) -> String {
        let repo = repo.as_ref();
        let file = repo.join(path);
        let parent = file.parent().expect("a file in a repository has a parent");
        fs::create_dir_all(parent).expect("the worktree is writable");
        fs::write(&file, content).expect("the worktree is writable");
        self.git(repo, &["add", "--", path]);
        self.git(repo, &["commit", "--quiet", "--message", message]);
        self.git(repo, &["rev-parse", "HEAD"])
    }
}

/// The whole environment of a program in the sandbox at `root`, with `gitconfig` as the global configuration.
///
/// For `Command::envs` after `Command::env_clear`: what is not in here must not be there. Servers use it with an empty
/// configuration, because a server does not read its client's.
pub(super) fn environment(root: &Path, gitconfig: &Path) -> Vec<(&'static str, OsString)> {
    let mut variables: Vec<_> =
        KEPT.into_iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value))).collect();
    let home = home(root);
    // Git does not look above the ceiling. The root itself may be a repository, so the ceiling is its parent.
    let ceiling = root.parent().unwrap_or(root);
    variables.extend([
        ("XDG_CONFIG_HOME", home.join(".config").into()),
        ("HOME", home.into()),
        ("GIT_CONFIG_NOSYSTEM", "1".into()),
        ("GIT_CONFIG_GLOBAL", gitconfig.into()),
        ("GIT_CEILING_DIRECTORIES", ceiling.into()),
        // A test must fail, not wait for somebody to type a password.
        ("GIT_TERMINAL_PROMPT", "0".into()),
        ("LC_ALL", "C".into()),
        ("TZ", "UTC".into()),
    ]);
    variables
}

/// Prints a line that is seen also when the test passes: what `eprintln` prints is then thrown away.
pub(super) fn tell(line: &str) {
    // Where standard error is closed there is nobody to tell.
    drop(writeln!(io::stderr(), "{line}"));
}

/// A path of the sandbox as text; git's arguments are text here.
pub(super) fn text(path: &Path) -> &str {
    path.to_str().expect("the temporary directory has a name in UTF-8")
}

fn home(root: &Path) -> PathBuf {
    root.join("home")
}

fn gitconfig(root: &Path) -> PathBuf {
    root.join("gitconfig")
}
