//! The scratch directory of the demo, and the processes that run in it.
//!
//! Guarantees: what is shown as a command is what was run, with the output it gave; processes see no variable of git or
//! of ours from the user's environment, and no git configuration but that of the scratch repositories; they are waited
//! for, so that none outlives the demo. Knows nothing of the story.

#![expect(clippy::disallowed_methods, reason = "sets the stage: starts this program again and writes scratch files")]

use std::cell::Cell;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use serde_json::Value;

use super::otherwise;
use crate::cli::errors::{CliError, exit};
use crate::cli::output::{Output, Talk};
use crate::cli::view;
use crate::git::Git;
use crate::git::process::{self, Bounds};

/// How long one command may take; generous, for a large repository on a slow disk.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(120);
/// How much of what a command prints is kept.
const OUTPUT_BYTES_MAX: usize = 1 << 20;

/// A repository of the user's, to be cloned.
pub(super) struct Source {
    /// Its git directory.
    git_dir: PathBuf,
    /// The branch that is checked out there.
    pub branch: String,
    /// A name that nothing at its top has.
    pub free_name: String,
}

/// Somebody who works somewhere.
#[derive(Clone)]
pub(super) struct Actor {
    /// How the story calls them.
    pub name: String,
    /// Where their commands run.
    pub directory: PathBuf,
}

/// The scratch directory, with the means to run and to tell.
pub(super) struct Stage<'a> {
    root: PathBuf,
    program: PathBuf,
    output: &'a Output,
    talk: Talk,
    json: bool,
    commands: Cell<u32>,
}

/// What a command answered.
struct Answer {
    exit: Option<i32>,
    stdout: String,
    stderr: String,
}

impl<'a> Stage<'a> {
    /// A stage at `root`, which exists and is empty.
    pub fn new(root: &Path, output: &'a Output, json: bool) -> Result<Stage<'a>, CliError> {
        let root = root.canonicalize().map_err(|error| environment("cannot find the scratch directory", &error))?;
        let program = env::current_exe().map_err(|error| environment("cannot find this program", &error))?;
        Ok(Stage { root, program, output, talk: output.talk(json), json, commands: Cell::new(0) })
    }

    /// The scratch directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The bare remote in it.
    pub fn remote(&self) -> PathBuf {
        self.root.join("remote.git")
    }

    /// How many commands were run.
    pub fn commands(&self) -> u32 {
        self.commands.get()
    }

    /// The directory of this program, unless git finds one of its name without help.
    pub fn directory_to_find(&self) -> Option<String> {
        let path = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&path).any(|directory| directory.join("git-scrum").is_file());
        if found { None } else { Some(self.program.parent()?.to_string_lossy().into_owned()) }
    }

    /// Tells one line.
    pub fn say(&self, line: &str) {
        if self.json {
            self.talk.say(line);
        } else {
            self.output.text(&format!("{}\n", view::clean(line)));
        }
    }

    /// Tells what an actor does that is no command.
    pub fn tell(&self, actor: &Actor, what: &str) {
        self.say(&format!("{} {what}", actor.name));
    }

    /// Runs a command before everybody's eyes; it must succeed.
    pub fn show(&self, actor: &Actor, words: &[&str]) -> Result<String, CliError> {
        self.show_some(actor, words, 0, |_| true)
    }

    /// Like [`Stage::show`], for a command that must end with the exit code `code`, of whose answer only the lines that
    /// are `wanted` are worth telling.
    pub fn show_some(
        &self,
        actor: &Actor,
        words: &[&str],
        code: i32,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String, CliError> {
        self.tell(actor, &format!("$ {}", line_of(words)));
        // What a command says along the way only repeats its answer.
        let answer = self.run(&actor.directory, words, code)?.stdout;
        for line in answer.lines().filter(|line| wanted(line)) {
            self.say(&format!("    {line}"));
        }
        Ok(answer)
    }

    /// Runs a command that the story does not tell of; it must succeed.
    pub fn quietly(&self, directory: &Path, words: &[&str]) -> Result<String, CliError> {
        Ok(self.run(directory, words, 0)?.stdout.trim_end().to_owned())
    }

    /// Asks this program something that the story does not tell of. Gives the `data` of its answer.
    pub fn ask(&self, actor: &Actor, words: &[&str]) -> Result<Value, CliError> {
        let words = [&["git", "scrum", "--json"], words].concat();
        let text = self.quietly(&actor.directory, &words)?;
        let mut value: Value = serde_json::from_str(&text)
            .map_err(|error| otherwise(format!("{} gave no JSON ({error}): {text}", line_of(&words))))?;
        Ok(value["data"].take())
    }

    /// Writes a file.
    pub fn write(&self, path: &Path, text: &str) -> Result<(), CliError> {
        let parent = path.parent().unwrap_or(&self.root);
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(path, text));
        written.map_err(|error| environment(&format!("cannot write {}", path.display()), &error))
    }

    /// Clones the user's repository to the bare remote: one branch, and no object of it shared with the original.
    pub fn clone_source(&self, source: &Source) -> Result<(), CliError> {
        let (from, to) = (source.git_dir.to_string_lossy(), self.remote());
        let to = to.to_string_lossy();
        // With the user's own configuration, which may have to say that the repository is to be trusted.
        let config = ["-c", "protocol.file.allow=always", "-c", "core.hooksPath=/dev/null"];
        let options = ["clone", "--quiet", "--bare", "--template=", "--no-hardlinks", "--single-branch", "--no-tags"];
        let what = ["--branch", &source.branch, "--", &from, &to];
        let cloned = Git::at(&self.root).run(&[&config[..], &options[..], &what[..]].concat());
        self.count();
        cloned.map_err(|error| environment(&format!("cannot clone {from}"), &error))?;
        // Nothing in the scratch directory knows the way back.
        self.quietly(&self.remote(), &["git", "remote", "remove", "origin"])?;
        Ok(())
    }

    fn count(&self) {
        self.commands.set(self.commands.get() + 1);
    }

    fn run(&self, directory: &Path, words: &[&str], code: i32) -> Result<Answer, CliError> {
        self.count();
        let mut command = match words {
            ["git", "scrum", args @ ..] => {
                let mut command = Command::new(&self.program);
                command.args(args).current_dir(directory);
                command
            }
            ["git", args @ ..] => {
                let mut command = Git::at(directory).command();
                command.args(args);
                command
            }
            _ => unreachable!("BUG: the demo runs git and git scrum only"),
        };
        isolate(&mut command);
        let bounds = Bounds { time_max: COMMAND_TIME_MAX, keep_bytes_max: OUTPUT_BYTES_MAX, ..Bounds::default() };
        let ended = process::run(&mut command, None, bounds);
        let ended = ended.map_err(|error| environment(&format!("cannot run {}", line_of(words)), &error))?;
        let answer = Answer { exit: ended.code, stdout: ended.stdout_text(), stderr: ended.stderr_text() };
        if answer.exit == Some(code) && !ended.timed_out {
            return Ok(answer);
        }
        let how = match answer.exit {
            _ if ended.timed_out => "took too long".to_owned(),
            Some(exit) if code == 0 => format!("ended with exit code {exit}"),
            Some(exit) => format!("ended with exit code {exit}, not {code}"),
            None => "was killed".to_owned(),
        };
        let said = format!("{}{}", answer.stdout, answer.stderr);
        let what = format!("in {}: {} {how}\n{}", directory.display(), line_of(words), said.trim_end());
        Err(otherwise(what)
            .with("command", line_of(words))
            .with("directory", directory.to_string_lossy())
            .with("exit", answer.exit)
            .with("output", said))
    }
}

/// The user's repository at `path`.
pub(super) fn source(path: &Path) -> Result<Source, CliError> {
    let shown = path.display();
    let no = |what: String, hint: &str| CliError::new(exit::ENVIRONMENT, "environment", what, hint);
    if !path.is_dir() {
        return Err(no(format!("there is no directory {shown}"), "git scrum demo --repo PATH"));
    }
    let git = Git::at(path);
    let git_dir = git.run(&["rev-parse", "--path-format=absolute", "--git-common-dir"]);
    let git_dir =
        git_dir.map_err(|error| no(format!("{shown} is no repository: {error}"), "git scrum demo, without it"))?;
    let branch = git.run(&["symbolic-ref", "--quiet", "--short", "HEAD"]);
    let branch = branch.map_err(|_| no(format!("no branch is checked out in {shown}"), "git switch BRANCH, there"))?;
    let names = git.run(&["ls-tree", "--name-only", "--full-tree", "-z", "HEAD"]);
    let names = names.map_err(|error| no(format!("{shown} has no commit: {error}"), "git scrum demo, without it"))?;
    let names: Vec<String> = names.split('\0').map(str::to_lowercase).collect();
    let more = (2..).map(|number: u32| format!("git-scrum-demo-{number}"));
    let mut free = std::iter::once("git-scrum-demo".to_owned()).chain(more).filter(|name| !names.contains(name));
    let free_name = free.next().expect("numbers do not run out");
    Ok(Source { git_dir: PathBuf::from(git_dir), branch, free_name })
}

/// Something outside is not as it must be.
pub(super) fn environment(what: &str, error: &dyn std::fmt::Display) -> CliError {
    CliError::new(exit::ENVIRONMENT, "environment", format!("{what}: {error}"), "look at what the system says above")
}

/// Keeps the user's variables and configuration of git, and of this program, away from a command.
fn isolate(command: &mut Command) {
    // Where git's own programs are is no matter of taste.
    let ours = |name: &OsStr| {
        let name = name.to_string_lossy();
        (name.starts_with("GIT_") && name != "GIT_EXEC_PATH") || name.starts_with("SCRUM_")
    };
    for (name, _) in env::vars_os().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command.envs([
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ADVICE", "0"),
        ("GIT_EDITOR", "true"),
        ("LC_ALL", "C"),
    ]);
}

/// A command as one would type it.
fn line_of(words: &[&str]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@".contains(c);
    let quoted = |word: &&str| match *word {
        word if !word.is_empty() && word.chars().all(plain) => word.to_owned(),
        word if word.contains('\'') => format!("\"{word}\""),
        word => format!("'{word}'"),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}
