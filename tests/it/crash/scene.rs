//! A prepared world that is played again and again, each time killed one step later.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::scrum::{CONFIG, PROGRAM, World};
use crate::support::{RemoteKind, Sandbox};

/// Where a story takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// Clones of a remote, refs in files.
    Files,
    /// Clones of a remote, refs in reftables on both sides.
    Reftable,
    /// One clone that is its own truth, refs in files.
    Alone,
    /// One clone that is its own truth, refs in reftables.
    AloneReftable,
}

impl Setting {
    fn has_remote(self) -> bool {
        matches!(self, Setting::Files | Setting::Reftable)
    }

    fn is_reftable(self) -> bool {
        matches!(self, Setting::Reftable | Setting::AloneReftable)
    }
}

/// One command of a story.
pub struct Verb {
    /// The task in whose worktree it is given; in the clone if there is none.
    pub at: Option<&'static str>,
    /// Who gives it, where it is not the usual one.
    pub by: Option<&'static str>,
    /// Its arguments; [`CANDIDATE`] stands for the commit that a CI system outside is to test.
    pub args: &'static [&'static str],
    /// Whether asking again may be answered with a no, where the killed process had finished but not said so.
    pub or_no: bool,
}

/// A command in the clone.
pub const fn verb(args: &'static [&'static str]) -> Verb {
    Verb { at: None, by: None, args, or_no: false }
}

/// A command that somebody else gives in the same clone.
pub const fn verb_by(by: &'static str, args: &'static [&'static str]) -> Verb {
    Verb { at: None, by: Some(by), args, or_no: false }
}

/// A command in the worktree of a task.
pub const fn verb_at(task: &'static str, args: &'static [&'static str]) -> Verb {
    Verb { at: Some(task), by: None, args, or_no: false }
}

pub const CANDIDATE: &str = "<candidate>";

/// Who asks, who else is there, and when.
const SWEPT: &str = "ann";
const OTHER: &str = "bob";
const NOW: &str = "2026-01-02T03:04:05Z";

/// A world in a state to begin from.
pub struct Scene {
    pub world: World,
    setting: Setting,
    /// Whether refs move together.
    together: bool,
    /// Whether somebody else does something whenever the program was killed.
    among_others: bool,
    /// The state to begin from, once the preparations are over.
    pristine: tempfile::TempDir,
}

impl Scene {
    /// A world with a board, and whatever else `prepare` makes. `None`, and a line that says so, where this git has no
    /// reftables.
    pub fn new(setting: Setting, config: &str, prepare: impl FnOnce(&Scene)) -> Option<Scene> {
        let mut sandbox = Sandbox::in_memory();
        // The state is copied: what git remembers of files must not depend on their inodes. And often: what a kill
        // leaves is in the system's cache, on the disk or not.
        let minimal = [("core.checkStat", "minimal"), ("core.trustctime", "false"), ("init.templateDir", "")];
        for (key, value) in minimal.into_iter().chain([("core.fsync", "none")]) {
            sandbox.git(sandbox.root(), &["config", "--global", key, value]);
        }
        if setting.is_reftable() {
            let probe =
                sandbox.try_git(sandbox.root(), &["init", "-q", "--bare", "--ref-format=reftable", "probe.git"]);
            if !probe.status.success() {
                eprintln!("\n*** NOT TESTED with reftables: this git has none. Install git 2.45 or newer. ***\n");
                return None;
            }
            sandbox.set_env("GIT_DEFAULT_REF_FORMAT", "reftable");
        }
        fs::create_dir(sandbox.path("tmp")).expect("the sandbox is writable");
        sandbox.set_env("TMPDIR", sandbox.path("tmp"));
        sandbox.set_env("SCRUM_NOW", NOW);
        sandbox.set_env("SCRUM_HOLDER", SWEPT);
        sandbox.set_date(NOW);
        let world = if setting.has_remote() {
            World::in_sandbox(sandbox, RemoteKind::File, config).expect("a file remote can always be had")
        } else {
            World::local_in_sandbox(sandbox, config).0
        };
        let beside = world.sandbox.root().parent().expect("the sandbox is in a directory");
        let pristine = tempfile::Builder::new().prefix("scrum-pristine-").tempdir_in(beside);
        let pristine = pristine.expect("a directory can be made");
        let scene = Scene { world, setting, together: setting.has_remote(), among_others: false, pristine };
        if setting.has_remote() {
            scene.world.clone("a");
            scene.world.clone("b");
        }
        prepare(&scene);
        scene.copy(scene.root(), scene.pristine.path());
        Some(scene)
    }

    /// The same with the usual configuration.
    pub fn usual(setting: Setting, prepare: impl FnOnce(&Scene)) -> Option<Scene> {
        Scene::new(setting, CONFIG, prepare)
    }

    fn root(&self) -> &Path {
        self.world.sandbox.root()
    }

    /// The clone that is swept.
    pub fn clone(&self) -> PathBuf {
        self.root().join(if self.setting.has_remote() { "a" } else { "alone" })
    }

    /// Where the refs are that count.
    fn truth(&self) -> PathBuf {
        if self.setting.has_remote() { self.world.remote().bare().to_path_buf() } else { self.clone() }
    }

    /// Somebody else's clone.
    pub fn other(&self) -> PathBuf {
        self.root().join("b")
    }

    /// The worktree of a task.
    pub fn worktree(&self, task: &str) -> PathBuf {
        self.root().join(format!("{}-worktrees", name(&self.clone()))).join(task)
    }

    /// Runs a command of the preparations in the clone, which succeeds.
    pub fn ok(&self, args: &[&str]) -> Value {
        self.world.ok(&self.clone(), args)
    }

    /// A task that is claimed, and has a worktree with a commit of its own.
    pub fn work_on(&self, task: &str, file: &str) -> PathBuf {
        self.ok(&["add", &format!("Do {task}"), "--id", task]);
        self.ok(&["claim", task, "--worktree"]);
        let worktree = self.worktree(task);
        self.world.commit(&worktree, file, &format!("work on {task}\n"));
        worktree
    }

    /// A branch without a task at the remote.
    pub fn branch(&self, branch: &str, file: &str) {
        let clone = self.clone();
        if !self.world.sandbox.try_git(&clone, &["checkout", "-q", branch]).status.success() {
            self.world.sandbox.git(&clone, &["checkout", "-q", "-b", branch]);
        }
        self.world.commit(&clone, file, "work\n");
        self.world.sandbox.git(&clone, &["push", "-q", "origin", branch]);
        self.world.sandbox.git(&clone, &["checkout", "-q", "main"]);
    }

    fn copy(&self, from: &Path, to: &Path) {
        for entry in fs::read_dir(to).expect("it is there").flatten() {
            let path = entry.path();
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.expect("it can be removed");
        }
        let done = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status().expect("cp is there");
        assert!(done.success(), "the state can be copied");
    }

    /// The same with a remote that moves one ref after the other.
    pub fn one_by_one(self) -> Scene {
        Scene { together: false, ..self }
    }

    /// The same with somebody else who does something in another clone whenever the program was killed.
    pub fn among_others(self) -> Scene {
        Scene { among_others: true, ..self }
    }

    /// Plays `story` once undisturbed and then killed at every step, and holds each end to the undisturbed one.
    pub fn sweep(&self, story: &[Verb]) {
        self.sweep_from(story, "");
    }

    /// The same, but for what comes before the first step of this name, and is swept elsewhere.
    pub fn sweep_from(&self, story: &[Verb], from: &str) {
        let (mut begin, mut swept) = (usize::MAX, 0);
        let mut counts = Vec::new();
        for verb in story {
            let run = self.run(verb, None);
            assert!(run.exit == Some(0), "{:?}: {run:?}", verb.args);
            let named = run.steps.iter().position(|step| from.is_empty() || step == from);
            begin = begin.min(named.map_or(usize::MAX, |index| index + 1));
            counts.push(run.steps.len());
        }
        let expected = self.end();
        assert!(begin < usize::MAX, "there is no step named {from:?}");
        // To the last step of all, also where an interruption makes the way of a later command longer.
        for nth in begin.. {
            self.copy(self.pristine.path(), self.root());
            let mut killed = Vec::new();
            for (verb, count) in story.iter().zip(&counts) {
                match self.kill_and_repeat(verb, nth) {
                    Some(step) => killed.push(format!("{:?} at {step}", verb.args)),
                    // What others do makes a way longer, and then shifts its steps.
                    None => assert!(self.among_others || nth > *count, "{:?} has no step {nth}", verb.args),
                }
            }
            swept += killed.len();
            if killed.is_empty() {
                break;
            }
            let end = self.end();
            for (what, value) in &expected {
                let found = end.get(what).map_or("nothing", String::as_str);
                assert_eq!(found, value, "{what}, in {:?}, killed at step {nth}: {killed:#?}", self.setting);
            }
        }
        let others = if self.among_others { " among others" } else { "" };
        let mut table = format!("swept {swept} steps in {:?}{others}, from step {begin} of these on:", self.setting);
        for (verb, count) in story.iter().zip(&counts) {
            let _ = write!(table, "\n  {count:>3}  {}", verb.args.join(" "));
        }
        println!("{table}");
    }

    /// Kills one command at one step, and asks again as whoever lost the answer would. Gives the step, if it has one.
    fn kill_and_repeat(&self, verb: &Verb, nth: usize) -> Option<String> {
        let run = self.run(verb, Some(nth));
        let Some(signal) = run.killed else {
            assert!(run.exit == Some(0), "{:?} at step {nth}: {run:?}", verb.args);
            return None;
        };
        assert_eq!((signal, run.steps.len()), (9, nth), "{:?}: {run:?}", verb.args);
        let step = format!("step {nth}, {}", run.steps[nth - 1]);
        if self.among_others {
            let mut other = self.world.command(&self.other(), &["team", "add", "others", "--json"]);
            let other = other.env("SCRUM_HOLDER", OTHER).output().expect("the program starts");
            assert!(other.status.success(), "{:?} killed at {step} holds up others: {other:?}", verb.args);
        }
        // Where the whole answer had been given, that was it: nobody asks again.
        if serde_json::from_str::<Value>(&run.stdout).is_err() {
            let again = self.run(verb, None);
            let accepted = again.exit == Some(0) || (again.exit == Some(1) && verb.or_no);
            assert!(accepted, "{:?} after {step}: {again:?}", verb.args);
        }
        Some(step)
    }

    /// The commit that a CI system outside is to test.
    fn candidate(&self) -> String {
        self.world.sandbox.git(self.truth(), &["rev-parse", "refs/heads/scrum/train/main/1"])
    }

    fn run(&self, verb: &Verb, crash_at: Option<usize>) -> Run {
        let steps = self.pristine.path().with_extension("steps");
        let _ = fs::remove_file(&steps);
        let mut command = self.world.sandbox.command(PROGRAM);
        command.current_dir(verb.at.map_or_else(|| self.clone(), |task| self.worktree(task)));
        command
            .args(verb.args.iter().map(|word| if *word == CANDIDATE { self.candidate() } else { (*word).to_owned() }));
        command.arg("--json").stdin(Stdio::null());
        if creates_board(verb) {
            // Whoever comes first may have no name yet.
            command.env_remove("SCRUM_HOLDER");
        }
        if let Some(by) = verb.by {
            command.env("SCRUM_HOLDER", by);
        }
        command.env("GIT_SCRUM_STEPS", &steps);
        if let Some(nth) = crash_at {
            command.env("GIT_SCRUM_CRASH_AT", nth.to_string());
        }
        let output = command.output().expect("the program starts");
        let reached = fs::read_to_string(&steps).unwrap_or_default();
        let _ = fs::remove_file(&steps);
        Run {
            exit: output.status.code(),
            killed: output.status.signal(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            steps: reached.lines().map(str::to_owned).collect(),
        }
    }

    /// Everything that a story leaves, but for what is random in it.
    fn end(&self) -> BTreeMap<&'static str, String> {
        let (clone, truth) = (self.clone(), self.truth());
        let eyes = if self.setting.has_remote() { self.other() } else { clone.clone() };
        self.let_time_pass(&clone);
        let git = |dir: &Path, args: &[&str]| self.world.sandbox.git(dir, args);
        let mut end = BTreeMap::new();
        let mut say = |what, text: String| drop(end.insert(what, text));
        for (what, ledger) in [("what happened on the board", "board"), ("what happened in memory", "memory")] {
            let log =
                self.world.sandbox.try_git(&truth, &["log", "--format=%B", &format!("refs/scrum/{ledger}"), "--"]);
            let log = String::from_utf8_lossy(&log.stdout).into_owned();
            // Nothing is left of a check that was killed with its pass but that it is begun anew.
            let is_again = |line: &str| line.starts_with("runs of one on ") && line.ends_with(", 1 cancelled");
            let is_others = |line: &str| line.starts_with("Scrum-") || line.contains(&format!("by {OTHER}"));
            let ours = log.lines().filter(|line| !(line.is_empty() || is_others(line) || is_again(line)));
            say(what, ours.map(without_ids).collect::<Vec<_>>().join("\n"));
        }
        say("the versions", (self.world.ask(&eyes, &["log", "--verify"]).exit == 0).to_string());
        let records = git(&truth, &["ls-tree", "-r", "refs/scrum/board"]);
        let ours = |line: &&str| !["\toperations-", "\tteams/"].iter().any(|key| line.contains(key));
        say("the records of the board", records.lines().filter(ours).collect::<Vec<_>>().join("\n"));
        let refs = git(&truth, &["for-each-ref", "--format=%(refname) %(objectname)"]);
        // Where it cannot go along with the verdict, a note that a killed process did not write is not written.
        let elsewhere: &[&str] = match self.together {
            true => &["refs/scrum/board ", "refs/scrum/landmark ", "refs/scrum/memory ", "refs/scrum/hosts/"],
            false => {
                &["refs/scrum/board ", "refs/scrum/landmark ", "refs/scrum/memory ", "refs/scrum/hosts/", "refs/notes/"]
            }
        };
        let ours = |line: &&str| !elsewhere.iter().any(|name| line.starts_with(name));
        // What a fold replaced is kept under its own, random, id.
        let named = |line: &str| match line.strip_prefix("refs/scrum/archive/").and_then(|rest| rest.split_once('-')) {
            Some((ledger, _)) => format!("refs/scrum/archive/{ledger}"),
            None => line.to_owned(),
        };
        say("the refs", refs.lines().filter(ours).map(named).collect::<Vec<_>>().join("\n"));
        for (what, repository) in [("the clone is whole", &clone), ("the remote is whole", &truth)] {
            let checked = self.world.sandbox.try_git(repository, &["fsck", "--no-dangling", "--no-progress"]);
            say(what, format!("{} {}", checked.status, String::from_utf8_lossy(&checked.stderr)));
        }
        say("the worktrees", git(&clone, &["worktree", "list", "--porcelain"]));
        say("the state of the clone", git(&clone, &["status", "--porcelain"]));
        say("files that are in the way", files_below(self.root(), &is_in_the_way).join("\n"));
        // Whether others were met, what they asked for, what was spent, when something runs out: all are no more than
        // hints.
        let hints = ["contended-", "gathered", "hints-", "offered", "spent", "swept"];
        let lasting = |path: &str| !hints.iter().any(|hint| path.starts_with(hint));
        say("files of the clone's own", files_below(&clone.join(".git/scrum"), &lasting).join("\n"));
        say("temporary files", files_below(&self.root().join("tmp"), &|_| true).join("\n"));
        say("the files of worktrees", files_below(&self.worktree(""), &|_| true).join("\n"));
        end
    }

    /// What was noted for whoever asks again is dropped by any later command, once nobody can be waiting any more.
    fn let_time_pass(&self, clone: &Path) {
        let state = clone.join(".git/scrum");
        let left = files_below(&state.join("under-way"), &|_| true);
        for path in &left {
            let file = fs::File::options().write(true).open(state.join("under-way").join(path));
            let long_ago = SystemTime::now() - Duration::from_secs(3600);
            file.and_then(|file| file.set_modified(long_ago)).expect("it is a file of the clone");
        }
        if !left.is_empty() {
            let later = self.world.command(clone, &["team", "add", "later"]).env("SCRUM_HOLDER", OTHER).output();
            assert!(later.expect("the program starts").status.success(), "a later command succeeds");
        }
    }
}

/// What became of one invocation.
#[derive(Debug)]
struct Run {
    exit: Option<i32>,
    killed: Option<i32>,
    stdout: String,
    #[expect(dead_code, reason = "shown when a test fails")]
    stderr: String,
    steps: Vec<String>,
}

fn creates_board(verb: &Verb) -> bool {
    verb.args[0] == "init"
}

/// A line without the words that are random: ids of entries of memory and of versions, and the name of a clone that has
/// none.
fn without_ids(line: &str) -> String {
    let id = |word: &str| matches!(word.len(), 8 | 40) && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let words = line.split(' ').map(|word| if id(word) || word.contains('@') { "<random>" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8")
}

/// A lock file of git's own, for ours are locked by the system and stay; or something of ours beside git's files.
fn is_in_the_way(path: &str) -> bool {
    let ours = ["queue", "cache", "beat"].iter().any(|name| path.ends_with(&format!("/scrum/{name}.lock")));
    (path.ends_with(".lock") && !ours) || path.contains(".git/worktrees/") && path.contains("/scrum-")
}

/// The files and empty directories below `directory` that `wanted` picks, in order, as paths from there.
fn files_below(directory: &Path, wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(at) = open.pop() {
        let inner: Vec<PathBuf> = fs::read_dir(&at).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        if at != directory && (inner.is_empty() || !at.is_dir()) {
            found.push(at.strip_prefix(directory).expect("it is below").to_string_lossy().into_owned());
        }
        open.extend(inner);
    }
    found.retain(|path| wanted(path));
    found.sort();
    found
}
