//! Drives the built program as users and agents do: in clones of a repository, as separate processes.

use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

use crate::support::{RemoteKind, Sandbox, TestRemote};

/// The built program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_git-scrum");

/// A check that fails where a file named `bad` is in the tree, and says so.
pub const CONFIG: &str = "[train]\ncheck = [\"sh\", \"-c\", \"test ! -e bad || { echo bad is here; exit 1; }\"]\n";

/// What one invocation answered.
#[derive(Debug)]
pub struct Answer {
    /// Its exit code; -1 when a signal ended it.
    pub exit: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Answer {
    /// The JSON object it printed.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The `data` of a success.
    pub fn data(&self) -> Value {
        assert_eq!(self.exit, 0, "{self:?}");
        self.json()["data"].clone()
    }

    /// The `error` of a failure with this exit code.
    pub fn error(&self, exit: i32) -> Value {
        assert_eq!(self.exit, exit, "{self:?}");
        self.json()["error"].clone()
    }
}

/// A repository with a first commit on `main` and a check, and whoever works on it.
pub struct World {
    /// Where everything is.
    pub sandbox: Sandbox,
    /// The shared remote; `None` in a world of one clone.
    pub remote: Option<TestRemote>,
}

impl World {
    /// A world around a remote of this kind; `None` where it cannot be had on this machine.
    pub fn new(kind: RemoteKind) -> Option<World> {
        World::with_config(kind, CONFIG)
    }

    /// A world around a remote whose `main` has this `.scrum.toml`.
    pub fn with_config(kind: RemoteKind, config: &str) -> Option<World> {
        World::in_sandbox(Sandbox::new(), kind, config)
    }

    /// The same, in a sandbox that was prepared for it.
    pub fn in_sandbox(mut sandbox: Sandbox, kind: RemoteKind, config: &str) -> Option<World> {
        let remote = TestRemote::new(&mut sandbox, kind, "project")?;
        let world = World { sandbox, remote: Some(remote) };
        let seed = world.clone("seed");
        world.sandbox.git(&seed, &["checkout", "-q", "-B", "main"]);
        world.sandbox.commit_file(&seed, ".scrum.toml", config, "Configure the train");
        world.sandbox.commit_file(&seed, "readme", "hello\n", "Say hello");
        world.sandbox.git(&seed, &["push", "-q", "origin", "main"]);
        Some(world)
    }

    /// A world around a file remote.
    pub fn file() -> World {
        World::new(RemoteKind::File).expect("a file remote can always be had")
    }

    /// A world of one clone, `main` checked out, without any remote.
    pub fn local() -> (World, PathBuf) {
        World::local_in_sandbox(Sandbox::new(), CONFIG)
    }

    /// The same with this `.scrum.toml`, in a sandbox that was prepared for it.
    pub fn local_in_sandbox(sandbox: Sandbox, config: &str) -> (World, PathBuf) {
        let world = World { sandbox, remote: None };
        let repo = world.sandbox.path("alone");
        world.sandbox.git(world.sandbox.root(), &["init", "-q", "-b", "main", "alone"]);
        world.sandbox.commit_file(&repo, ".scrum.toml", config, "Configure the train");
        (world, repo)
    }

    /// The shared remote.
    pub fn remote(&self) -> &TestRemote {
        self.remote.as_ref().expect("this world has a remote")
    }

    /// A new clone.
    pub fn clone(&self, name: &str) -> PathBuf {
        self.sandbox.clone(self.remote().url(), name)
    }

    /// A command that runs the program in `dir`.
    pub fn command(&self, dir: &Path, args: &[&str]) -> Command {
        let mut command = self.sandbox.command(PROGRAM);
        command.current_dir(dir).args(args);
        command
    }

    /// Runs the program with plain output.
    pub fn run(&self, dir: &Path, args: &[&str]) -> Answer {
        answer(&mut self.command(dir, args))
    }

    /// Runs the program with `--json`.
    pub fn ask(&self, dir: &Path, args: &[&str]) -> Answer {
        self.run(dir, &[args, &["--json"]].concat())
    }

    /// Runs the program with `--json` as if it were `now`.
    pub fn ask_at(&self, dir: &Path, now: &str, args: &[&str]) -> Answer {
        answer(self.command(dir, &[args, &["--json"]].concat()).env("SCRUM_NOW", now))
    }

    /// Runs the program with `--json`, which must succeed, and gives the `data`.
    pub fn ok(&self, dir: &Path, args: &[&str]) -> Value {
        self.ask(dir, args).data()
    }

    /// Starts the program with `--json` and leaves it running.
    pub fn start(&self, dir: &Path, args: &[&str]) -> Child {
        let mut command = self.command(dir, &[args, &["--json"]].concat());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the program starts")
    }

    /// Starts a verb that watches something, and looks every second.
    pub fn watch(&self, dir: &Path, args: &[&str]) -> Watcher {
        let mut command = self.command(dir, &[args, &["--watch", "--json"]].concat());
        command.env("SCRUM_TRAIN_INTERVAL", "1s").stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Watcher { child, lines }
    }

    /// A clone in which the board has been created.
    pub fn clone_with_board(&self, name: &str) -> PathBuf {
        let clone = self.clone(name);
        self.ok(&clone, &["init"]);
        clone
    }

    /// Commits a file in a worktree.
    pub fn commit(&self, worktree: &Path, path: &str, content: &str) -> String {
        self.sandbox.commit_file(worktree, path, content, &format!("Write {path}"))
    }

    /// What a ref of the remote is.
    pub fn remote_ref(&self, name: &str) -> String {
        self.sandbox.git(self.remote().bare(), &["rev-parse", name])
    }

    /// The files on the remote's `main`.
    pub fn landed_files(&self) -> Vec<String> {
        let listed = self.sandbox.git(self.remote().bare(), &["ls-tree", "-r", "--name-only", "main"]);
        listed.lines().map(str::to_owned).collect()
    }
}

/// A program that goes on telling what it sees.
pub struct Watcher {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watcher {
    /// The `data` of what it tells next.
    pub fn next(&mut self) -> Value {
        let line = self.lines.next().expect("it goes on").expect("text");
        serde_json::from_str::<Value>(&line).expect("one object a line")["data"].clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end.
pub fn answer(command: &mut Command) -> Answer {
    told(command.stdin(Stdio::null()).output().expect("the program starts"))
}

/// What a program that was started has answered when it ends.
pub fn ended(started: Child) -> Answer {
    told(started.wait_with_output().expect("it was started"))
}

fn told(output: Output) -> Answer {
    Answer {
        exit: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The strings in a JSON list, or those under `field` of its objects.
pub fn texts(list: &Value, field: Option<&str>) -> Vec<String> {
    let item = |value: &Value| field.map_or(value, |field| &value[field]).as_str().expect("a text").to_owned();
    list.as_array().expect("a list").iter().map(item).collect()
}

/// The path in a JSON text.
pub fn path(value: &Value) -> PathBuf {
    PathBuf::from(value.as_str().expect("a path"))
}
