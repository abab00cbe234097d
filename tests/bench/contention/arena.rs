//! One remote with the clones of everybody who works on it in one way, and whether what they were told is true.
//!
//! An arena is used once: it begins with a copy of the same board as every other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use crate::board::{self, BOARD};
use crate::load::{Attempt, Limit, Load, drive};
use crate::measure::git;
use crate::support::{RemoteKind, Requests, Sandbox, TestRemote};

const PROGRAM: &str = env!("CARGO_BIN_EXE_git-scrum");

/// Where a bare loop keeps what it has seen.
const SEEN: &str = "refs/bench/seen";

/// In what way everybody works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// The program, which applies what others have asked for together with its own.
    Combining,
    /// The program with `scrum.hosts.combine=false`: whoever loses asks again, and waits longer each time.
    Plain,
    /// `git fetch`, `git commit-tree` and `git push` in a loop without a pause, until the push has won.
    Bare,
}

impl Mode {
    /// What the tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Combining => "combining",
            Mode::Plain => "plain compare-and-swap",
            Mode::Bare => "bare git push loop",
        }
    }
}

/// What every arena begins with.
pub struct Template {
    bare: PathBuf,
    clone: PathBuf,
}

impl Template {
    /// A board of so many ready tasks, and a clone that has seen it.
    pub fn new(sandbox: &mut Sandbox, tasks: u64) -> Template {
        let remote = TestRemote::new(sandbox, RemoteKind::File, "template").expect("files need nothing installed");
        let bare = remote.bare().to_owned();
        let author = sandbox.clone(remote.url(), "author");
        sandbox.commit_file(&author, ".scrum.toml", "[train]\ncheck = [\"true\"]\n", "settings");
        sandbox.git(&author, &["push", "--quiet", "origin", "HEAD:refs/heads/main"]);
        board::write_ready(sandbox, &bare, tasks);
        // Housekeeping on the server would strike one mode and not the other.
        sandbox.git(&bare, &["config", "receive.autogc", "false"]);
        let clone = sandbox.clone(remote.url(), "template");
        sandbox.git(&clone, &["fetch", "--quiet", "origin", &format!("{BOARD}:refs/scrum/remotes/origin/board")]);
        Template { bare, clone }
    }
}

/// A claim, as whoever made it was told.
struct Told {
    task: String,
    fence: u64,
    holder: String,
}

/// Who works, and where.
pub struct Arena {
    /// In what way.
    pub mode: Mode,
    remote: TestRemote,
    /// One for each worker: the same one for all, or one of their own.
    clones: Vec<PathBuf>,
    directory: PathBuf,
    versions: u64,
    told: Mutex<Vec<Told>>,
}

impl Arena {
    /// An arena of `workers` workers, in one clone or in one clone each.
    pub fn new(
        sandbox: &mut Sandbox,
        template: &Template,
        mode: Mode,
        kind: RemoteKind,
        workers: usize,
        one_clone: bool,
    ) -> Arena {
        let name = format!("{mode:?}-{kind:?}-{workers}-{one_clone}").to_lowercase();
        let remote = TestRemote::new(sandbox, kind, &name).expect("files and HTTP need nothing installed");
        board::copy(&template.bare, remote.bare());
        let directory = sandbox.path(&name);
        let clone = |number: usize| {
            let clone = directory.join(format!("clone-{number}"));
            fs::create_dir_all(&clone).expect("the sandbox is writable");
            board::copy(&template.clone, &clone);
            sandbox.git(&clone, &["remote", "set-url", "origin", remote.url()]);
            if mode == Mode::Plain {
                sandbox.git(&clone, &["config", "scrum.hosts.combine", "false"]);
            }
            clone
        };
        let clones =
            if one_clone { vec![clone(1); workers] } else { (1..=workers).map(clone).collect::<Vec<PathBuf>>() };
        let versions = count(sandbox, remote.bare());
        Arena { mode, remote, clones, directory, versions, told: Mutex::default() }
    }

    /// Moves the server away (see [`crate::support::HttpServer::set_distance`]).
    pub fn set_distance(&self, fetch: Duration, push: Duration) {
        self.remote.http().expect("a server that is asked over HTTP").set_distance(fetch, push);
    }

    /// How many work.
    pub fn workers(&self) -> usize {
        self.clones.len()
    }

    /// Lets everybody work.
    pub fn run(&self, sandbox: &Sandbox, limit: Limit) -> Load {
        let workers = self.clones.iter().enumerate().map(|(number, clone)| {
            let git = git();
            let mut nth = 0_u64;
            move || match self.mode {
                Mode::Combining | Mode::Plain => self.claim(sandbox, clone, &format!("agent-{number}@bench")),
                Mode::Bare => {
                    nth += 1;
                    push_until_won(sandbox, &git, clone, &format!("operation {nth} of host {number}"))
                }
            }
        });
        drive(limit, workers.collect())
    }

    fn claim(&self, sandbox: &Sandbox, clone: &Path, holder: &str) -> Attempt {
        let output =
            output(sandbox.command(PROGRAM).args(["claim", "--json"]).current_dir(clone).env("SCRUM_HOLDER", holder));
        let stdout = String::from_utf8_lossy(&output.stdout);
        let answer: Value = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        match output.status.code() {
            Some(0) => {
                let claims = answer["data"]["claims"].as_array().expect("a list of claims");
                let [claim] = &claims[..] else { panic!("one claim was asked for: {stdout}") };
                let word = |key: &str| claim[key].as_str().expect("a word").to_owned();
                let fence = claim["fence"].as_u64().expect("a number");
                let told = Told { task: word("task"), fence, holder: word("holder") };
                assert_eq!(told.holder, holder, "{stdout}");
                self.told.lock().expect("no worker has panicked").push(told);
                Attempt::Done
            }
            Some(1) => Attempt::Idle,
            code => {
                let code = code.map_or("no exit code".to_owned(), |code| format!("exit {code}"));
                Attempt::Failed(format!("{code}: {}", answer["error"]["message"].as_str().unwrap_or(&stdout)))
            }
        }
    }

    /// What the server was asked so far, if it counts.
    pub fn requests(&self) -> Option<Requests> {
        self.remote.http().map(|server| server.requests())
    }

    /// How many versions of the board this arena has made.
    pub fn versions(&self, sandbox: &Sandbox) -> u64 {
        count(sandbox, self.remote.bare()) - self.versions
    }

    /// Compares what everybody was told with the board, and has every version of the board worked out again.
    ///
    /// # Panics
    /// Where two were told that they have the same task or the same fence, where the board knows nothing of a claim,
    /// where it knows of more than can be explained by failures, or where a version is not what its operations give.
    pub fn check(&self, sandbox: &Sandbox, load: &Load) {
        let done = load.count();
        if self.mode == Mode::Bare {
            assert_eq!(self.versions(sandbox), done as u64, "every push that won is in the history");
            return;
        }
        let told = self.told.lock().expect("no worker has panicked");
        let tasks: BTreeSet<&str> = told.iter().map(|told| told.task.as_str()).collect();
        let fences: BTreeSet<u64> = told.iter().map(|told| told.fence).collect();
        assert_eq!((told.len(), tasks.len(), fences.len()), (done, done, done), "every claim is one worker's alone");
        let auditor = self.directory.join("auditor");
        let url = format!("file://{}", self.remote.bare().display());
        sandbox.git(sandbox.root(), &["clone", "--quiet", "--", &url, &auditor.to_string_lossy()]);
        let listed = ask(sandbox, &auditor, &["list", "--state", "claimed", "--json"]);
        let listed = listed["data"]["tasks"].as_array().expect("a list of tasks");
        let claims: BTreeMap<&str, &Value> =
            listed.iter().map(|task| (task["id"].as_str().expect("a word"), &task["claim"])).collect();
        for told in told.iter() {
            let claim = claims.get(told.task.as_str()).unwrap_or_else(|| panic!("nobody has {}", told.task));
            let (fence, holder) = (claim["fence"].as_u64(), claim["holder"].as_str());
            assert_eq!((fence, holder), (Some(told.fence), Some(&*told.holder)), "{} is somebody else's", told.task);
        }
        let untold = claims.len() - told.len();
        assert!(untold <= load.failures.len(), "{untold} claims that nobody was told of");
        ask(sandbox, &auditor, &["log", "--verify", "--json"]);
    }

    /// Makes room.
    pub fn remove(self) {
        for directory in [&self.directory, self.remote.bare()] {
            fs::remove_dir_all(directory).expect("the sandbox is writable");
        }
    }
}

/// Puts a commit of this message on the board's ref, as often as it takes.
fn push_until_won(sandbox: &Sandbox, git: &Path, clone: &Path, message: &str) -> Attempt {
    let run = |args: &[&str]| output(sandbox.command(git).args(["-c", "gc.auto=0"]).args(args).current_dir(clone));
    let text = |output: Output| String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    loop {
        let fetched =
            run(&["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "origin", &format!("+{BOARD}:{SEEN}")]);
        if !fetched.status.success() {
            return Attempt::Failed(first_line(&fetched));
        }
        let old = text(run(&["rev-parse", SEEN]));
        let new = text(run(&["commit-tree", &format!("{old}^{{tree}}"), "-p", &old, "-m", message]));
        let pushed = run(&[
            "push",
            "--quiet",
            "--atomic",
            &format!("--force-with-lease={BOARD}:{old}"),
            "origin",
            &format!("{new}:{BOARD}"),
        ]);
        if pushed.status.success() {
            return Attempt::Done;
        }
        let said = String::from_utf8_lossy(&pushed.stderr);
        if !["stale info", "failed to update ref", "cannot lock ref", "atomic"].iter().any(|word| said.contains(word)) {
            return Attempt::Failed(first_line(&pushed));
        }
    }
}

fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().expect("the program is there")
}

fn first_line(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    format!("{}: {}", output.status, said.lines().next().unwrap_or("nothing was said"))
}

/// The JSON that a command of the program prints, which must succeed.
fn ask(sandbox: &Sandbox, clone: &Path, args: &[&str]) -> Value {
    let output = output(sandbox.command(PROGRAM).args(args).current_dir(clone));
    assert!(output.status.success(), "{args:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}"))
}

/// How many versions the board has.
fn count(sandbox: &Sandbox, bare: &Path) -> u64 {
    sandbox.git(bare, &["rev-list", "--count", BOARD]).parse().expect("git counts commits")
}
