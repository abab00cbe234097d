//! One remote, six clones, sixteen workers, and what they were told.
//!
//! A worker is a thread that runs one `git scrum` process after the other in its own name. Every call and every return
//! gets a number from one sequence. A call that ends without a definite answer is repeated word for word until there is
//! one, so no operation is left undecided; faults strike a wish's first calls only, so that there is one.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::chain::{self, Entry};
use crate::faults::{Faults, kill};
use crate::history::{Answer, Ask, Moment, Operation};
use crate::model::SKEW;
use crate::support::{RemoteKind, Sandbox, TestRemote};
use crate::workload::{Slots, Worker};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_git-scrum");
pub const WORKERS: usize = 16;
pub const CLONES: usize = 6;

/// How many calls of one wish may meet a fault.
const FAULTY_CALLS_MAX: u32 = 3;
/// How often one wish is repeated: more means that it never gets through, and the run fails.
const CALLS_MAX: u32 = 60;

/// Before how many of a thousand wishes a worker folds the board.
const FOLDS: u32 = 30;

/// When workers stop beginning.
#[derive(Clone, Copy)]
pub enum Limit {
    /// Each after so many wishes.
    Wishes(u32),
    /// All after so long.
    Time(Duration),
}

/// What happened, in numbers.
#[derive(Debug, Default)]
pub struct Counts {
    pub calls: AtomicUsize,
    /// Processes that were killed, alone and with all that they had started.
    pub killed_alone: AtomicUsize,
    pub killed_with_children: AtomicUsize,
    /// Killed processes that had answered by then.
    pub killed_after_answer: AtomicUsize,
    /// Calls that ended with exit 4, with exit 7, and because of a lock file.
    pub unknown: AtomicUsize,
    pub network: AtomicUsize,
    pub in_the_way: AtomicUsize,
    /// Times that somebody folded the board.
    pub folds: AtomicUsize,
}

/// What a run leaves for the checker.
pub struct Record {
    pub history: Vec<Operation>,
    pub chain: Vec<Entry>,
    pub counts: Counts,
    pub answers_dropped: usize,
    pub not_carried_out: usize,
}

pub struct Arena {
    sandbox: Sandbox,
    remote: TestRemote,
    faults: Faults,
    clones: Vec<PathBuf>,
    start: Instant,
    /// What the clock said then.
    clock: Duration,
    sequence: AtomicU64,
    counts: Counts,
    /// How long a call takes, roughly, so that the moments of killing fall all over it.
    usual_micros: AtomicU64,
    history: Mutex<Vec<Operation>>,
    /// Where every call and return is written, as a line of JSON.
    journal: Option<Mutex<std::fs::File>>,
}

/// What became of a call.
enum Return {
    Definite(Answer),
    /// Answered in full by a process that was killed.
    Last(Answer),
    Open,
}

impl Arena {
    /// A fresh board; `None` only over ssh where OpenSSH is not installed.
    pub fn new(kind: RemoteKind, journal: Option<&Path>) -> Option<Arena> {
        let mut sandbox = Sandbox::in_memory();
        let remote = TestRemote::new(&mut sandbox, kind, "soak")?;
        let faults = Faults::new(&sandbox, kind);
        let author = sandbox.clone(remote.url(), "author");
        sandbox.commit_file(&author, "readme", "soak\n", "First commit");
        sandbox.git(&author, &["push", "--quiet", "origin", "HEAD:refs/heads/main"]);
        let clones: Vec<PathBuf> = (0..CLONES).map(|n| sandbox.clone(remote.url(), &format!("clone-{n}"))).collect();
        for clone in &clones {
            sandbox.git(clone, &["config", "scrum.tasks.skew", &format!("{SKEW}s")]);
        }
        let journal = journal.map(|path| {
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            Mutex::new(file.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        });
        let arena = Arena {
            sandbox,
            remote,
            faults,
            clones,
            start: Instant::now(),
            clock: SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970"),
            sequence: AtomicU64::new(1),
            counts: Counts::default(),
            usual_micros: AtomicU64::new(100_000),
            history: Mutex::default(),
            journal,
        };
        arena.ok(&arena.clones[0], &["init"]);
        Some(arena)
    }

    /// Lets everybody work, and gives what came of it once all is quiet.
    ///
    /// # Panics
    /// Where a wish never gets a definite answer or gets one that no command ever gives, where a repository or a file
    /// is left damaged, and where the program itself finds its board astray.
    pub fn run(mut self, seed: u64, limit: Limit) -> Record {
        let slots = Slots::default();
        let begun = Instant::now();
        thread::scope(|scope| {
            for number in 0..WORKERS {
                let (arena, slots) = (&self, &slots);
                scope.spawn(move || {
                    let mut worker = Worker::new(seed, number);
                    for wish in 0.. {
                        let goes_on = match limit {
                            Limit::Wishes(wishes) => wish < wishes,
                            Limit::Time(time) => begun.elapsed() < time,
                        };
                        if !goes_on {
                            break;
                        }
                        let clone = &arena.clones[number % CLONES];
                        if worker.random.chance(FOLDS) {
                            arena.fold(&worker, clone);
                        }
                        arena.fulfil(&mut worker, slots, clone);
                    }
                });
            }
        });
        self.faults.disarm(&self.remote);
        self.is_whole();
        let (answers_dropped, not_carried_out) = self.faults.counts(&self.remote);
        Record {
            history: std::mem::take(&mut self.history.lock().expect("no worker has panicked")),
            chain: chain::read(&self.sandbox, self.remote.bare()).unwrap_or_else(|error| panic!("{error}")),
            counts: std::mem::take(&mut self.counts),
            answers_dropped,
            not_carried_out,
        }
    }

    /// Folds the board, if it can: that is nothing anybody waits for.
    fn fold(&self, worker: &Worker, clone: &Path) {
        let mut command = self.sandbox.command(PROGRAM);
        command.args(["gc", "--force", "--json"]).env("SCRUM_HOLDER", &worker.holder).current_dir(clone);
        let output = command.output().expect("the program starts");
        if output.status.success() {
            self.counts.folds.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let code = serde_json::from_slice::<Value>(&output.stdout).map(|json| json["error"]["code"].clone());
        let code = code.unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let hindered = ["unknown-outcome", "network", "contention", "locked"].iter().any(|known| code == *known);
        assert!(hindered, "{output:?}");
    }

    /// One wish, until it is decided.
    fn fulfil(&self, worker: &mut Worker, slots: &Slots, clone: &Path) {
        let ask = worker.choose(slots);
        let begun = self.now();
        for calls in 1..=CALLS_MAX {
            let faulty = calls <= FAULTY_CALLS_MAX;
            if faulty && worker.random.chance(60) {
                self.faults.arm(&self.remote, &mut worker.random);
            }
            let answer = match self.call(worker, &ask, clone, faulty) {
                Return::Open => continue,
                Return::Definite(answer) => answer,
                Return::Last(answer) => {
                    worker.is_spent(&ask);
                    answer
                }
            };
            worker.learn(&ask, &answer, slots);
            let holder = worker.holder.clone();
            let operation = Operation { holder, ask, answer, begun, ended: self.now(), calls };
            self.history.lock().expect("no worker has panicked").push(operation);
            return;
        }
        panic!("{} never got an answer in {CALLS_MAX} calls: {ask:?}", worker.holder);
    }

    /// One call of the program, which may be killed at any moment, with or without what it has started.
    fn call(&self, worker: &mut Worker, ask: &Ask, clone: &Path, faulty: bool) -> Return {
        let argv = ask.argv();
        let usual = self.usual_micros.load(Ordering::Relaxed);
        let killed_after =
            (faulty && worker.random.chance(150)).then(|| Duration::from_micros(worker.random.below(usual * 5 / 4)));
        let with_children = worker.random.chance(500);
        let mut command = self.sandbox.command(PROGRAM);
        command.args(&argv).arg("--json").env("SCRUM_HOLDER", &worker.holder).current_dir(clone);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.note(json!({ "call": self.now().sequence, "by": worker.holder, "argv": argv }));
        self.counts.calls.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        let mut child = command.spawn().expect("the program starts");
        if let Some(after) = killed_after {
            // What it prints fits into the pipes.
            while begun.elapsed() < after && child.try_wait().expect("it is ours").is_none() {
                thread::sleep(Duration::from_millis(1));
            }
            kill(&mut child, with_children);
        }
        let output = child.wait_with_output().expect("it is ours");
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(usual);
        if killed_after.is_none() {
            self.usual_micros.store((usual * 15 + took) / 16, Ordering::Relaxed);
        }
        let stdout = String::from_utf8_lossy(&output.stdout);
        self.note(json!({ "return": self.now().sequence, "by": worker.holder, "exit": output.status.code(),
            "answer": stdout, "with_children": with_children, "stderr": String::from_utf8_lossy(&output.stderr) }));
        self.understood(ask, &output, with_children)
    }

    fn understood(&self, ask: &Ask, output: &Output, with_children: bool) -> Return {
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let json = serde_json::from_str::<Value>(&stdout).ok();
        let count = |counter: &AtomicUsize| {
            counter.fetch_add(1, Ordering::Relaxed);
            Return::Open
        };
        let code = json.as_ref().and_then(|json| json["error"]["code"].as_str()).unwrap_or_default();
        match (output.status.code(), &json) {
            (None, _) => {
                let killed = if with_children { &self.counts.killed_with_children } else { &self.counts.killed_alone };
                count(killed);
                // Only where the whole answer was there: half of one is none. What the exit code would have been is told
                // by what there is.
                let Some(json) = json else { return Return::Open };
                let exit = match (&json["error"], ask) {
                    (Value::Null, Ask::Claim { .. }) => {
                        i64::from(json["data"]["claims"].as_array().is_some_and(Vec::is_empty))
                    }
                    (Value::Null, _) => 0,
                    (error, _)
                        if ["unknown-outcome", "network", "contention"].iter().any(|code| error["code"] == *code) =>
                    {
                        return Return::Open;
                    }
                    _ => 1,
                };
                count(&self.counts.killed_after_answer);
                Answer::read(ask, exit, &json).map_or(Return::Open, Return::Last)
            }
            (Some(4), _) => count(&self.counts.unknown),
            (Some(7), _) => count(&self.counts.network),
            (Some(128), _) if code == "locked" => count(&self.counts.in_the_way),
            (Some(exit), Some(json)) => match Answer::read(ask, exit.into(), json) {
                Ok(answer) => Return::Definite(answer),
                Err(odd) => panic!("{ask:?}: {odd}\n{stderr}"),
            },
            (Some(exit), None) => panic!("{ask:?}: exit {exit}: {stdout}{stderr}"),
        }
    }

    fn now(&self) -> Moment {
        let sequence = self.sequence.fetch_add(1, Ordering::SeqCst);
        let clock = (self.clock + self.start.elapsed()).as_secs();
        Moment { sequence, clock: i64::try_from(clock).expect("a time of this era") }
    }

    fn note(&self, line: Value) {
        if let Some(journal) = &self.journal {
            writeln!(journal.lock().expect("no worker has panicked"), "{line}").expect("the record can be written");
        }
    }

    /// A command that must succeed, without faults; gives the data.
    fn ok(&self, clone: &Path, args: &[&str]) -> Value {
        let mut command = self.sandbox.command(PROGRAM);
        let output = command.args(args).arg("--json").current_dir(clone).output().expect("the program starts");
        assert!(output.status.success(), "{args:?}: {output:?}");
        serde_json::from_slice::<Value>(&output.stdout).expect("it answers in JSON")["data"].clone()
    }

    /// Nothing is left behind, and everything that was said of the board is still true of it.
    fn is_whole(&self) {
        let bare = self.remote.bare();
        for clone in &self.clones {
            // The first meets what a killed process of this clone left in the way, if it does.
            assert_eq!(self.ok(clone, &["locks"])["current"], true);
            self.sandbox.git(clone, &["fsck", "--no-dangling"]);
            let left = lock_files(&clone.join(".git"));
            assert!(left.is_empty(), "left behind in {}: {left:?}", clone.display());
        }
        let verified = self.ok(&self.clones[0], &["log", "--verify"]);
        let count = self.sandbox.git(bare, &["rev-list", "--count", chain::BOARD]);
        assert_eq!(verified["verified"].to_string(), count, "every version was worked out again");
        self.sandbox.git(bare, &["fsck", "--no-dangling"]);
        let left = lock_files(bare);
        assert!(left.is_empty(), "left behind on the remote: {left:?}");
        let offers = self.sandbox.git(bare, &["for-each-ref", "--format=%(refname)", "refs/scrum/hosts"]);
        assert!(offers.lines().count() <= CLONES, "more offers than clones:\n{offers}");
    }
}

/// The lock files of git's below a repository. What the program locks with are files that stay, and no lock files.
pub fn lock_files(repository: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![repository.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path == repository.join("scrum") {
                continue;
            }
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|end| end == "lock") {
                found.push(path);
            }
        }
    }
    found
}
