//! The `git` program, run safely: the only door through which this project starts it.
//!
//! Guarantees: a fixed locale, no prompt that waits for a person, no influence of configuration that would turn our
//! pushes and fetches into something else (GIT_FACTS 6, 7), bounded time. Knows nothing of ledgers, tasks or trains.

mod budget;
pub mod failure;
pub mod process;
pub mod transfer;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

pub use budget::PushBudget;
pub use failure::Cause;
pub use process::{Bounds, Keep, Output};

/// Variables that tie git to one repository (`git rev-parse --local-env-vars`), dropped before another is addressed.
pub const LOCAL_VARIABLES: &[&str] = &[
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_OBJECT_DIRECTORY",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_GRAFT_FILE",
    "GIT_INDEX_FILE",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_REPLACE_REF_BASE",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_COMMON_DIR",
];

/// The `git` program in one directory.
#[derive(Debug, Clone)]
pub struct Git {
    directory: PathBuf,
    own_environment: bool,
    variables: Vec<(String, String)>,
    /// How often it may push: settled once for all that were cloned from one.
    budget: Arc<OnceLock<PushBudget>>,
}

/// A git command that could not be started, or that failed.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The program is not there, or the system refused to start it.
    #[error("cannot run git: {0}")]
    Start(#[source] io::Error),
    /// The program ran and failed.
    #[error("git {verb} failed: {said}")]
    Failed {
        /// The subcommand.
        verb: String,
        /// What it said, its most telling line.
        said: String,
        /// The cause, where its words give one.
        cause: Cause,
        /// Its exit code, if it ended by itself.
        code: Option<i32>,
    },
}

impl Git {
    /// Git as the user started us: in their directory and with their environment.
    pub fn here(directory: impl Into<PathBuf>) -> Git {
        Git { directory: directory.into(), own_environment: true, variables: Vec::new(), budget: Arc::default() }
    }

    /// Git in another repository or worktree, free of variables that point at the user's own.
    pub fn at(directory: impl Into<PathBuf>) -> Git {
        Git { directory: directory.into(), own_environment: false, variables: Vec::new(), budget: Arc::default() }
    }

    /// Keeps to a budget of pushes from now on, as do all clones of this value. Only the first one counts.
    pub fn limit_pushes(&self, budget: PushBudget) {
        self.budget.get_or_init(|| budget);
    }

    /// The same git with one more environment variable.
    pub fn with_variable(mut self, name: &str, value: impl Into<String>) -> Git {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    /// The directory in which git is run.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A command with the safe environment, for callers that stream or add arguments themselves.
    #[expect(clippy::disallowed_methods, reason = "the one place that starts git")]
    pub fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.current_dir(&self.directory);
        if !self.own_environment {
            for name in LOCAL_VARIABLES {
                command.env_remove(name);
            }
        }
        // The index of the commit whose hook started us. No command of ours works on the user's index, and
        // `git worktree add` would check out into it.
        command.env_remove("GIT_INDEX_FILE");
        command
            .env("LC_ALL", "C")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_ADVICE", "0")
            .env("GIT_EDITOR", "true");
        if std::env::var_os("GIT_SSH_COMMAND").is_none() && std::env::var_os("GIT_SSH").is_none() {
            // Nobody is there to answer a question of ssh; an unreachable host must not hang a fleet.
            command.env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oConnectTimeout=20");
        }
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command
    }

    /// Runs git with `args` and gives its output, whatever its exit code.
    pub fn output<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Output, GitError> {
        self.output_with(args, None)
    }

    /// Like [`Git::output`], with `input` on standard input.
    pub fn output_with<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        input: Option<&[u8]>,
    ) -> Result<Output, GitError> {
        process::run(self.command().args(args), input, Bounds::default()).map_err(GitError::Start)
    }

    /// Runs git with `args` and gives its standard output without the final newline; a failing exit is an error.
    pub fn run(&self, args: &[&str]) -> Result<String, GitError> {
        self.run_with(args, None)
    }

    /// Like [`Git::run`], with `input` on standard input.
    pub fn run_with(&self, args: &[&str], input: Option<&[u8]>) -> Result<String, GitError> {
        let output = self.output_with(args, input)?;
        if output.success() {
            Ok(output.stdout_text().trim_end_matches('\n').to_owned())
        } else {
            Err(failed(args, &output))
        }
    }
}

/// The error that says how `git args` failed.
pub fn failed(args: &[&str], output: &Output) -> GitError {
    let said = output.stderr_text();
    GitError::Failed {
        verb: verb(args),
        said: if output.timed_out { "it took too long".to_owned() } else { failure::telling_line(&said) },
        cause: failure::cause(&said),
        code: output.code,
    }
}

/// The subcommand among `args`, past `-c name=value` pairs.
fn verb(args: &[&str]) -> String {
    let mut rest = args.iter();
    while let Some(argument) = rest.next() {
        match *argument {
            "-c" | "-C" => {
                rest.next();
            }
            word if word.starts_with('-') => {}
            word => return word.to_owned(),
        }
    }
    String::new()
}
