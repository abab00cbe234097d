//! Two hosts that run passes of one train at the same time, killed at any moment, until so many landings have happened.
//!
//! A third clone submits cars, so that there are always some: most are fine, some are red wherever they are, some come
//! in pairs of which only one merges. A fourth says what a CI system would of the candidates that the board names. The
//! hosts run one pass after the other; many are killed, alone or with all that they have started, and some pushes are
//! carried out without an answer. What came of it is read from the board, the target's reflog and the objects of all
//! repositories, for [`crate::landings`] to judge.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::arena::{PROGRAM, lock_files};
use crate::chain::{self, BOARD};
use crate::faults::{Faults, kill};
use crate::landings::{Evidence, Step};
use crate::random::Random;
use crate::support::{RemoteKind, Sandbox, TestRemote};

/// How trains are set up: every car by itself, and in batches.
pub const SETTINGS: [&str; 2] = ["batch = 1\n", "slots = 4\n"];

/// How many cars there are at once, as long as more are submitted.
const OPEN_CARS: usize = 10;
/// One car of so many is red, and one begins a pair that does not merge.
const RED_EVERY: usize = 9;
const PAIR_EVERY: usize = 14;
/// Of a thousand passes so many are killed, and before so many an answer is lost.
const KILLED: u32 = 300;
const UNANSWERED: u32 = 100;
/// How long a host rests between passes at most, and how long a test takes.
const REST_MS: u64 = 60;
const TEST_MS: u64 = 60;
/// How long nothing may happen.
const STILL_MAX: Duration = Duration::from_secs(180);

/// What happened to the hosts, in numbers.
#[derive(Debug, Default)]
pub struct Counts {
    /// Passes that came to their end, by host.
    pub passes: [AtomicUsize; 2],
    /// Passes that were killed, by host, and those among them whose children were killed, too.
    pub killed: [AtomicUsize; 2],
    pub killed_with_children: AtomicUsize,
    /// Passes that ended with exit 4, with exit 7, and because of a lock file.
    pub unknown: AtomicUsize,
    pub network: AtomicUsize,
    pub in_the_way: AtomicUsize,
    /// Pushes that were carried out without an answer, and pushes that were not carried out.
    pub unanswered: AtomicUsize,
    pub lost: AtomicUsize,
}

/// One remote, two hosts, and whoever else works with them.
pub struct Yard {
    sandbox: Sandbox,
    remote: TestRemote,
    faults: Faults,
    hosts: [PathBuf; 2],
    author: PathBuf,
    judge: PathBuf,
    over: AtomicBool,
    pub counts: Counts,
}

impl Yard {
    /// A board and an empty train with these settings.
    pub fn new(settings: &str) -> Yard {
        let mut sandbox = Sandbox::in_memory();
        let remote = TestRemote::new(&mut sandbox, RemoteKind::File, "yard").expect("a file remote can always be had");
        sandbox.git(remote.bare(), &["config", "core.logAllRefUpdates", "always"]);
        let faults = Faults::new(&sandbox, RemoteKind::File);
        let author = sandbox.clone(remote.url(), "author");
        sandbox.git(&author, &["checkout", "-q", "-B", "main"]);
        let config = format!("[train]\nci = \"external\"\n{settings}");
        sandbox.commit_file(&author, ".scrum.toml", config, "Configure the train");
        sandbox.git(&author, &["push", "-q", "origin", "main"]);
        let [first, second, judge] = ["first", "second", "judge"].map(|name| sandbox.clone(remote.url(), name));
        let (hosts, over, counts) = ([first, second], AtomicBool::new(false), Counts::default());
        let yard = Yard { sandbox, remote, faults, hosts, author, judge, over, counts };
        yard.ask(&yard.author, &["init"]);
        yard
    }

    /// Works until so many landings have happened and the train is empty, and gives what there is to be judged.
    ///
    /// # Panics
    /// Where nothing happens any more, where a command ends in a way that none may, and where anything is damaged.
    pub fn run(&self, seed: u64, landings: usize) -> Evidence {
        let submitted = thread::scope(|scope| {
            for host in 0..2 {
                scope.spawn(move || self.run_passes(host, &mut Random::new(seed + 1 + host as u64)));
            }
            scope.spawn(|| self.judge_runs(&mut Random::new(seed + 3)));
            let submitted = self.submit_cars(landings);
            self.until("the train is empty", || (self.open_cars() == 0).then_some(()));
            self.over.store(true, Ordering::SeqCst);
            submitted
        });
        self.faults.disarm(&self.remote);
        let (unanswered, lost) = self.faults.counts(&self.remote);
        self.counts.unanswered.store(unanswered, Ordering::Relaxed);
        self.counts.lost.store(lost, Ordering::Relaxed);
        self.is_whole();
        self.evidence(submitted)
    }

    /// Waits until `look` gives something. Time only runs out where nothing moves.
    fn until<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        let (mut moved, mut tip) = (Instant::now(), String::new());
        loop {
            if let Some(found) = look() {
                return found;
            }
            let now = self.git(&["rev-parse", BOARD]);
            if now != tip {
                (moved, tip) = (Instant::now(), now);
            }
            if moved.elapsed() > STILL_MAX {
                self.over.store(true, Ordering::SeqCst);
                panic!("nothing moves, and {what} is not so: {:?}", self.counts);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Submits cars until so many landings have happened. Gives each with what becomes of it.
    fn submit_cars(&self, landings: usize) -> BTreeMap<String, Option<bool>> {
        let mut submitted = BTreeMap::new();
        let mut pair = None;
        for number in 0.. {
            let wait = || {
                let enough = self.landings() >= landings;
                (enough || self.open_cars() < OPEN_CARS).then_some(enough)
            };
            // A pair is submitted whole.
            if self.until("there is room in the train", wait) && pair.is_none() {
                break;
            }
            let name = format!("car-{number:05}");
            let (file, lands) = match pair.take() {
                Some(file) => (file, None),
                None if number % RED_EVERY == RED_EVERY / 2 => (format!("red/{name}"), Some(false)),
                None if number % PAIR_EVERY == PAIR_EVERY / 2 => {
                    let file = format!("pair/{name}");
                    pair = Some(file.clone());
                    (file, None)
                }
                None => (format!("fine/{name}"), Some(true)),
            };
            self.sandbox.git(&self.author, &["checkout", "-q", "-B", &name, "main"]);
            self.sandbox.commit_file(&self.author, &file, &name, &format!("Write {file}"));
            self.sandbox.git(&self.author, &["push", "-q", "origin", &name]);
            self.ask(&self.author, &["submit", "--branch", &name]);
            submitted.insert(name, lands);
        }
        submitted
    }

    /// Says of every run that the board names whether it passes, in any order.
    fn judge_runs(&self, random: &mut Random) {
        while !self.over.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(random.below(TEST_MS)));
            let Some(commit) = random.pick(&self.runs()).cloned() else { continue };
            let files = self.git(&["ls-tree", "-r", "--name-only", &commit]);
            let verdict = if files.lines().any(|file| file.starts_with("red/")) { "fail" } else { "pass" };
            self.ask(&self.judge, &["verdict", verdict, "--commit", &commit]);
        }
    }

    /// Runs one pass after the other in one clone.
    fn run_passes(&self, host: usize, random: &mut Random) {
        let mut usual = Duration::from_millis(300);
        while !self.over.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(random.below(REST_MS)));
            if random.chance(UNANSWERED) {
                self.faults.arm(&self.remote, random);
            }
            let after = random.chance(KILLED).then(|| usual.mul_f64(random.below(1250) as f64 / 1000.0));
            let mut command = self.sandbox.command(PROGRAM);
            command.args(["merge-train", "--json"]).env("SCRUM_HOLDER", name_of(host)).current_dir(&self.hosts[host]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let begun = Instant::now();
            let mut child = command.spawn().expect("the program starts");
            let with_children = random.chance(500);
            if let Some(after) = after {
                // What it prints fits into the pipes.
                while begun.elapsed() < after && child.try_wait().expect("it is ours").is_none() {
                    thread::sleep(Duration::from_millis(1));
                }
                kill(&mut child, with_children);
            }
            let output = child.wait_with_output().expect("it is ours");
            if after.is_none() {
                usual = usual.mul_f64(0.9) + begun.elapsed().mul_f64(0.1);
            }
            let counter = match output.status.code() {
                Some(0) => &self.counts.passes[host],
                None => {
                    self.counts.killed_with_children.fetch_add(with_children.into(), Ordering::Relaxed);
                    &self.counts.killed[host]
                }
                Some(4) => &self.counts.unknown,
                Some(7) => &self.counts.network,
                Some(128) if String::from_utf8_lossy(&output.stdout).contains("\"locked\"") => &self.counts.in_the_way,
                Some(_) => {
                    self.over.store(true, Ordering::SeqCst);
                    panic!("a pass ends like this: {output:?}");
                }
            };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A command that is repeated until it has an answer, which has to be yes. Gives the data.
    fn ask(&self, clone: &Path, args: &[&str]) -> Value {
        loop {
            let mut command = self.sandbox.command(PROGRAM);
            let output = command.args(args).arg("--json").current_dir(clone).output().expect("the program starts");
            let json = serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default();
            match output.status.code() {
                Some(0) => return json["data"].clone(),
                Some(4 | 7) => {}
                Some(128) if json["error"]["code"] == "locked" => {}
                _ => {
                    self.over.store(true, Ordering::SeqCst);
                    panic!("{args:?}: {output:?}");
                }
            }
        }
    }

    fn git(&self, args: &[&str]) -> String {
        self.sandbox.git(self.remote.bare(), args)
    }

    /// What a key of the board holds, or is above; nothing where it is not.
    fn on_board(&self, verb: &[&str], key: &str) -> String {
        let output = self.sandbox.try_git(self.remote.bare(), &[verb, &[&format!("{BOARD}:{key}")]].concat());
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn open_cars(&self) -> usize {
        self.on_board(&["ls-tree", "--name-only"], "trains/main/cars").lines().count()
    }

    /// The candidates of the runs that the board names.
    fn runs(&self) -> Vec<String> {
        let train: toml::Table = self.on_board(&["cat-file", "blob"], "trains/main/train").parse().unwrap_or_default();
        let runs = train.get("runs").and_then(toml::Value::as_array).into_iter().flatten();
        runs.filter_map(|run| Some(run.get("commit")?.as_str()?.to_owned())).collect()
    }

    /// How often the target was moved since the first commit.
    fn landings(&self) -> usize {
        self.moves().len()
    }

    /// Every move of the target since the first commit: from where, and to where.
    fn moves(&self) -> Vec<(String, String)> {
        let log = std::fs::read_to_string(self.remote.bare().join("logs/refs/heads/main")).expect("it is logged");
        let moved = |line: &str| {
            let mut ids = line.split(' ').map(str::to_owned);
            (ids.next().unwrap_or_default(), ids.next().unwrap_or_default())
        };
        log.lines().skip(1).map(moved).collect()
    }

    /// Nothing is left behind, and every version of the board is what the one before it and its operations make.
    fn is_whole(&self) {
        let bare = self.remote.bare();
        for clone in self.hosts.iter().chain([&self.author, &self.judge]) {
            // The first meets what a killed process of this clone left in the way, if it does.
            self.ask(clone, &["locks"]);
            self.sandbox.git(clone, &["fsck", "--no-dangling"]);
            let left = lock_files(&clone.join(".git"));
            assert!(left.is_empty(), "left behind in {}: {left:?}", clone.display());
        }
        let verified = self.ask(&self.judge, &["log", "--verify"]);
        let count = self.git(&["rev-list", "--count", BOARD]);
        assert_eq!(verified["verified"].to_string(), count, "every version was worked out again");
        self.git(&["fsck", "--no-dangling"]);
        let left = lock_files(bare);
        assert!(left.is_empty(), "left behind on the remote: {left:?}");
    }

    /// Every merge that a repository has, of use or not: what it merges, its id and its tree.
    fn merges(&self, repository: &Path) -> Vec<(Vec<String>, String, String)> {
        let all = ["cat-file", "--batch-all-objects", "--batch-check=%(objecttype) %(objectname)"];
        let objects = self.sandbox.git(repository, &all);
        let commits: Vec<&str> = objects.lines().filter_map(|line| line.strip_prefix("commit ")).collect();
        let listing = self.sandbox.path("commits");
        std::fs::write(&listing, commits.join("\n")).expect("the sandbox is writable");
        let mut command = self.sandbox.command("git");
        command.args(["log", "--no-walk=unsorted", "--stdin", "--format=%H %T %P"]).current_dir(repository);
        command.stdin(std::fs::File::open(&listing).expect("it was just written"));
        let output = command.output().expect("git is installed");
        assert!(output.status.success(), "{output:?}");
        let merge = |line: &str| {
            let mut ids = line.split(' ').map(str::to_owned);
            let (id, tree) = (ids.next()?, ids.next()?);
            let parents: Vec<String> = ids.collect();
            (parents.len() == 2).then_some((parents, id, tree))
        };
        String::from_utf8_lossy(&output.stdout).lines().filter_map(merge).collect()
    }

    fn evidence(&self, submitted: BTreeMap<String, Option<bool>>) -> Evidence {
        let records = chain::recorded(&self.sandbox, self.remote.bare()).unwrap_or_else(|error| panic!("{error}"));
        let steps = records.iter().flat_map(|(_, record)| Step::of(record)).collect();
        let target = self.git(&["rev-list", "--first-parent", "--reverse", "main"]);
        let repositories = [self.remote.bare(), &self.hosts[0], &self.hosts[1]];
        let candidates = repositories.into_iter().flat_map(|repository| self.merges(repository)).collect();
        Evidence {
            submitted,
            steps,
            moves: self.moves(),
            target: target.lines().map(str::to_owned).collect(),
            files: self.git(&["ls-tree", "-r", "--name-only", "main"]).lines().map(str::to_owned).collect(),
            candidates,
        }
    }
}

/// In whose name a host runs passes.
pub fn name_of(host: usize) -> String {
    format!("host-{host}")
}
