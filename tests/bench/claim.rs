//! What a claim costs, and what else people wait for, on boards of three sizes.
//!
//! `cargo bench --bench claim`; `-- --quick` for a short form, `-- --rounds N` for another number of rounds, `-- --file`
//! or `-- --http` for one remote only. Prints tables with the bars of the project beside what was measured, and never
//! fails because of them: how long things take depends on the machine.
//!
//! - The floor is one bare `git push --atomic --force-with-lease` of one commit on a branch of its own, from the same
//!   clone to the same remote. Every round measures everything once on every board, floor first, so that whatever
//!   slows the machine down for a while slows all of it down.
//! - The boards are packed in the server and in the clones as a first fetch leaves them; what the rounds write is loose.
//! - The smart-HTTP server of `tests/support` runs in this process, `git http-backend` for each request.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "starting programs, looking at the clock and printing tables is the purpose of this program"
)]

mod board;
mod measure;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use board::{BOARD, Shape};
use measure::{Samples, Written, git, load, loose_objects, pack_bytes, peak_mb, time};
use support::{RemoteKind, Sandbox, TestRemote};

const PROGRAM: &str = env!("CARGO_BIN_EXE_git-scrum");

/// The smallest first: the others are compared with it.
const SHAPES: [Shape; 4] = [
    Shape { name: "100", open: 100, closed: 0, scattered: false },
    Shape { name: "10,000", open: 10_000, closed: 0, scattered: false },
    Shape { name: "10,000 + 100,000", open: 10_000, closed: 100_000, scattered: false },
    Shape { name: "the same, mixed", open: 10_000, closed: 100_000, scattered: true },
];

/// What is measured in every round.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Op {
    Floor,
    Claim,
    ClaimStaleKnown,
    ClaimStale,
    Renew,
    Release,
    FetchFloor,
    Show,
    Ready,
    List,
    Status,
}

impl Op {
    fn name(self) -> &'static str {
        match self {
            Op::Floor => "floor: bare git push",
            Op::Claim => "claim, tip current",
            Op::ClaimStaleKnown => "claim, tip stale, known contended",
            Op::ClaimStale => "claim, tip stale, unsuspecting",
            Op::Renew => "renew",
            Op::Release => "release",
            Op::FetchFloor => "floor: bare git fetch, nothing new",
            Op::Show => "show",
            Op::Ready => "ready",
            Op::List => "list",
            Op::Status => "status",
        }
    }

    /// At most how many floors.
    fn floors_max(self) -> Option<f64> {
        match self {
            Op::Claim => Some(1.5),
            Op::ClaimStale | Op::ClaimStaleKnown => Some(2.0),
            _ => None,
        }
    }

    /// At most how many times what it costs on the smallest board.
    fn growth_max(self) -> Option<f64> {
        matches!(self, Op::Claim | Op::ClaimStale | Op::ClaimStaleKnown | Op::Renew | Op::Release).then_some(1.5)
    }

    /// At most how many milliseconds.
    fn ms_max(self) -> Option<f64> {
        (self == Op::List).then_some(100.0)
    }
}

struct Options {
    rounds: usize,
    kinds: Vec<RemoteKind>,
    quick: bool,
}

fn options() -> Options {
    let mut options = Options { rounds: 30, kinds: vec![RemoteKind::File, RemoteKind::Http], quick: false };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => (options.rounds, options.quick) = (7, true),
            "--rounds" => options.rounds = args.next().and_then(|n| n.parse().ok()).expect("--rounds takes a number"),
            "--file" => options.kinds = vec![RemoteKind::File],
            "--http" => options.kinds = vec![RemoteKind::Http],
            // Cargo says so to every benchmark.
            "--bench" => {}
            other => panic!("{other}: use --quick, --rounds N, --file, --http"),
        }
    }
    options
}

fn main() {
    let options = options();
    let mut sandbox = Sandbox::new();
    // Short of the mixed board, which differs in `list` only.
    let shapes = if options.quick { &SHAPES[..3] } else { &SHAPES[..] };
    let mut arenas = Vec::new();
    for (nth, shape) in shapes.iter().enumerate() {
        let mut first: Option<PathBuf> = None;
        for kind in &options.kinds {
            arenas.push(Arena::new(&mut sandbox, *kind, *shape, nth, first.as_deref()));
            first = arenas.last().map(|arena| arena.remote.bare().to_owned());
        }
    }
    println!("\n{} rounds; load when they begin: {}", options.rounds, load());
    for round in 0..=options.rounds {
        for arena in &mut arenas {
            arena.round(&sandbox);
            if round == 0 {
                // To warm up.
                arena.samples.clear();
            }
        }
    }
    println!("load when they have ended: {}", load());
    for kind in &options.kinds {
        times(*kind, &arenas);
    }
    sizes(&sandbox, &mut arenas);
    if let Some(largest) = arenas.iter().rev().find(|arena| arena.shape.closed > 0) {
        memory(&sandbox, largest);
    }
}

/// One board on one remote, with two clones.
struct Arena {
    kind: RemoteKind,
    shape: Shape,
    remote: TestRemote,
    worker: PathBuf,
    other: PathBuf,
    floor_tip: String,
    samples: BTreeMap<Op, Samples>,
}

impl Arena {
    fn new(sandbox: &mut Sandbox, kind: RemoteKind, shape: Shape, nth: usize, copy_of: Option<&Path>) -> Arena {
        let name = format!("{kind:?}-{nth}").to_lowercase();
        let remote = TestRemote::new(sandbox, kind, &name).expect("files and HTTP need nothing installed");
        match copy_of {
            Some(original) => board::copy(original, remote.bare()),
            None => {
                let start = std::time::Instant::now();
                let author = sandbox.clone(remote.url(), &format!("{name}-author"));
                sandbox.commit_file(&author, ".scrum.toml", "[train]\ncheck = [\"true\"]\n", "settings");
                sandbox.git(&author, &["push", "--quiet", "origin", "main", "main:refs/heads/floor"]);
                board::write(sandbox, remote.bare(), shape);
                println!("built a board of {} in {:.1} s", shape.name, start.elapsed().as_secs_f64());
            }
        }
        let [worker, other] = ["worker", "other"].map(|who| {
            let clone = sandbox.clone(remote.url(), &format!("{name}-{who}"));
            // The first command fetches the board.
            scrum(sandbox, &clone, &["show", "1"]);
            clone
        });
        let floor_tip = sandbox.git(&worker, &["rev-parse", "refs/remotes/origin/floor"]);
        Arena { kind, shape, remote, worker, other, floor_tip, samples: BTreeMap::new() }
    }

    /// Measures everything once.
    fn round(&mut self, sandbox: &Sandbox) {
        let worker = self.worker.clone();
        self.floor(sandbox);
        self.show_any(sandbox);
        self.suspect(false);
        let task = self.claim(sandbox, Op::Claim);
        self.measured(sandbox, Op::Renew, &["renew", &task]);
        self.measured(sandbox, Op::Release, &["release", &task]);

        // Somebody else was there in between, and this clone has no reason to think so.
        self.floor(sandbox);
        let theirs = claimed(&scrum(sandbox, &self.other, &["claim"]));
        self.suspect(false);
        let task = self.claim(sandbox, Op::ClaimStale);
        scrum(sandbox, &worker, &["release", &task]);

        // Somebody else was there in between, as the last time.
        self.floor(sandbox);
        scrum(sandbox, &self.other, &["release", &theirs]);
        self.suspect(true);
        let task = self.claim(sandbox, Op::ClaimStaleKnown);
        scrum(sandbox, &worker, &["release", &task]);

        self.fetch_floor(sandbox);
        self.measured(sandbox, Op::Show, &["show", "7"]);
        self.measured(sandbox, Op::Ready, &["ready"]);
        self.measured(sandbox, Op::List, &["list"]);
        self.measured(sandbox, Op::Status, &["status"]);
    }

    /// Brings the worker's cache up to date.
    fn show_any(&self, sandbox: &Sandbox) {
        scrum(sandbox, &self.worker, &["show", "1"]);
    }

    /// Makes the worker believe that others write to the board, or that nobody does.
    fn suspect(&self, others: bool) {
        let file = self.worker.join(".git/scrum/contended-board");
        if others {
            fs::write(file, "").expect("the clone is writable");
        } else if file.exists() {
            fs::remove_file(file).expect("the clone is writable");
        }
    }

    fn claim(&mut self, sandbox: &Sandbox, op: Op) -> String {
        claimed(&self.measured(sandbox, op, &["claim"]))
    }

    fn measured(&mut self, sandbox: &Sandbox, op: Op, args: &[&str]) -> String {
        let mut command = sandbox.command(PROGRAM);
        let (cost, stdout) = time(command.args(args).current_dir(&self.worker), &[0]);
        self.samples.entry(op).or_default().add(cost);
        stdout
    }

    fn floor(&mut self, sandbox: &Sandbox) {
        let old = &self.floor_tip;
        let tree = format!("{old}^{{tree}}");
        let new = sandbox.git(&self.worker, &["commit-tree", &tree, "-p", old, "-m", "floor"]);
        let lease = format!("--force-with-lease=refs/heads/floor:{old}");
        let refspec = format!("{new}:refs/heads/floor");
        let mut push = sandbox.command(git());
        push.args(["push", "--quiet", "--atomic", &lease, "origin", &refspec]).current_dir(&self.worker);
        let (cost, _) = time(&mut push, &[0]);
        self.samples.entry(Op::Floor).or_default().add(cost);
        self.floor_tip = new;
    }

    fn fetch_floor(&mut self, sandbox: &Sandbox) {
        let refspec = format!("{BOARD}:refs/scrum/remotes/origin/board");
        let mut fetch = sandbox.command(git());
        fetch.args(["fetch", "--quiet", "--no-tags", "origin", &refspec]).current_dir(&self.worker);
        let (cost, _) = time(&mut fetch, &[0]);
        self.samples.entry(Op::FetchFloor).or_default().add(cost);
    }

    /// What one claim writes and sends.
    fn written(&mut self, sandbox: &Sandbox) -> Written {
        self.show_any(sandbox);
        let tip = || sandbox.git(&self.worker, &["rev-parse", "refs/scrum/remotes/origin/board"]);
        let (old, before) = (tip(), loose_objects(sandbox, &self.worker));
        let task = claimed(&scrum(sandbox, &self.worker, &["claim"]));
        let (new, after) = (tip(), loose_objects(sandbox, &self.worker));
        scrum(sandbox, &self.worker, &["release", &task]);
        let pushed_bytes = pack_bytes(sandbox, &self.worker, &old, &new);
        Written { objects: after - before, pushed_bytes }
    }
}

/// Runs a command of the program that is not measured.
#[track_caller]
fn scrum(sandbox: &Sandbox, clone: &Path, args: &[&str]) -> String {
    time(sandbox.command(PROGRAM).args(args).current_dir(clone), &[0]).1
}

/// The task that `git scrum claim` says it has claimed.
fn claimed(stdout: &str) -> String {
    let id = stdout.strip_prefix("Claimed ").and_then(|rest| rest.split(',').next());
    id.expect("there was something to claim").to_owned()
}

fn times(kind: RemoteKind, arenas: &[Arena]) {
    println!("\n## {kind:?} remote: wall time in ms, and mean processor time of all processes of both sides\n");
    println!(
        "{:<36}{:<20}{:>8}{:>8}{:>8}{:>8}{:>9}{:>10}  bars",
        "operation", "board", "least", "median", "p95", "cpu", "x floor", "x smallest"
    );
    let arenas: Vec<&Arena> = arenas.iter().filter(|arena| arena.kind == kind).collect();
    let ops: Vec<Op> = arenas[0].samples.keys().copied().collect();
    for op in ops {
        let smallest = arenas[0].samples[&op].median_ms();
        for arena in &arenas {
            let samples = &arena.samples[&op];
            let median = samples.median_ms();
            let floor = if op >= Op::FetchFloor { Op::FetchFloor } else { Op::Floor };
            let floors = median / arena.samples[&floor].median_ms();
            let growth = median / smallest;
            let mut bars = Vec::new();
            bars.extend(op.floors_max().map(|max| bar(floors, max, "x floor")));
            bars.extend(op.growth_max().filter(|_| arena.shape.open > 100).map(|max| bar(growth, max, "x smallest")));
            bars.extend(op.ms_max().map(|max| bar(median, max, "ms")));
            println!(
                "{:<36}{:<20}{:>8.1}{median:>8.1}{:>8.1}{:>8.1}{floors:>9.2}{growth:>10.2}  {}",
                op.name(),
                arena.shape.name,
                samples.quantile_ms(0.0),
                samples.quantile_ms(0.95),
                samples.cpu_ms(),
                bars.join(", "),
            );
        }
    }
}

fn bar(value: f64, max: f64, unit: &str) -> String {
    format!("{} (at most {max} {unit})", if value <= max { "PASS" } else { "FAIL" })
}

fn sizes(sandbox: &Sandbox, arenas: &mut [Arena]) {
    println!("\n## One claim\n");
    println!("{:<8}{:<20}{:>10}{:>16}  bars", "remote", "board", "objects", "bytes pushed");
    let mut smallest: Option<Written> = None;
    for arena in arenas {
        let written = arena.written(sandbox);
        let least = *smallest.get_or_insert(written);
        let objects = bar(written.objects as f64 / least.objects as f64, 1.5, "x smallest");
        let bytes = bar(written.pushed_bytes as f64 / least.pushed_bytes as f64, 1.5, "x smallest");
        println!(
            "{:<8}{:<20}{:>10}{:>16}  objects {objects}, bytes {bytes}",
            format!("{:?}", arena.kind).to_lowercase(),
            arena.shape.name,
            written.objects,
            written.pushed_bytes
        );
    }
}

fn memory(sandbox: &Sandbox, arena: &Arena) {
    println!("\n## Peak memory on a board of {}, in MB: of the program or of any git it starts\n", arena.shape.name);
    let say = |what: &str, peak: Option<f64>| match peak {
        Some(peak) => println!("{what:<36}{peak:>8.1}  {}", bar(peak, 100.0, "MB")),
        None => println!("{what:<36}not measured: GNU time is not installed"),
    };
    let fresh = sandbox.clone(arena.remote.url(), "memory-fresh");
    say("(the first fetch of the board)", peak_mb(sandbox, &fresh, &[PROGRAM, "show", "1"], &[0]));
    let task = arena.shape.closed + 17;
    let task = task.to_string();
    for args in [
        "show 1",
        "list",
        "list --json",
        "list --state claimed",
        "list --state landed",
        "list --state all",
        "list --state all --json",
        "ready",
        "ready --json",
        "status",
        "log",
        "locks",
        "add another-task",
        "claim",
        "claim ID",
        "renew ID",
        "release ID",
        "edit ID --priority p0",
        "done ID",
        "lock docs/**",
        "unlock docs/**",
        "merge-train --once",
    ] {
        let words: Vec<&str> = args.split(' ').map(|word| if word == "ID" { task.as_str() } else { word }).collect();
        let argv: Vec<&str> = std::iter::once(PROGRAM).chain(words).collect();
        say(args, peak_mb(sandbox, &arena.worker, &argv, &[0, 1, 3]));
    }
}
