//! What claims cost when many want them at once: real processes in real clones of one remote.
//!
//! `cargo bench --bench contention`; `-- --quick` for a short form, `-- --hosts N` (again for more) for other numbers
//! of hosts, `-- --seconds S` for another length of each run, `-- --ops N` to end each run after so many operations,
//! `-- --http` or `-- --file` for one of the two parts. Prints tables with the bars of the project beside what was
//! measured, and never fails because of them; it fails where two were told that they have the same task, or where the
//! board is not what its operations give.
//!
//! - Over smart HTTP, every host has a clone of its own, and the server is so far away that one `git fetch` takes
//!   0.4 s longer and one `git push` 0.8 s. Both are two requests that are waited for (`info/refs` and the listing of
//!   references; `info/refs` and the pack), which share that evenly, and each spends half of its part on its way
//!   there and half on its way back: the references that a push checks are read after a quarter of it, and moved
//!   after three quarters. Requests of several hosts do not wait for each other.
//! - On a file remote there is no such delay: sixteen workers share one clone, where they queue on a file, or have
//!   one each. The short form has eight, and no bars for them.
//! - Each mode works on its own copy of the same board, and one after the other; only the short form has all modes
//!   work against the far server at once, which leaves the processors idle most of the time. A run is over after
//!   some time: what is done by then counts for the throughput, and what was begun by then, however long it takes,
//!   for the latencies, the requests and the versions. The processors are those of this machine, for both sides.
//! - A push is counted when it asks for the references it is to move. It is *sent* when it then sends a pack, which
//!   it does not if it sees that it has lost. The bar on pushes is about all of them.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "starting programs, looking at the clock and printing tables is the purpose of this program"
)]

mod arena;
#[path = "../board.rs"]
mod board;
mod load;
#[path = "../measure.rs"]
mod measure;
#[path = "../../support/mod.rs"]
mod support;

use std::thread;
use std::time::Duration;

use arena::{Arena, Mode, Template};
use load::{Limit, Load};
use support::{RemoteKind, Requests, Sandbox};

/// How much longer a fetch and a push take where the server is far away.
const DISTANCE: (Duration, Duration) = (Duration::from_millis(400), Duration::from_millis(800));

struct Options {
    hosts: Vec<usize>,
    /// Of a run against a server that is far away, and of one on a file remote.
    seconds: (f64, f64),
    operations: usize,
    /// How many work on a file remote.
    local_workers: usize,
    kinds: Vec<RemoteKind>,
    quick: bool,
}

fn options() -> Options {
    let mut options = Options {
        hosts: Vec::new(),
        seconds: (60.0, 15.0),
        operations: usize::MAX,
        local_workers: 16,
        kinds: vec![RemoteKind::Http, RemoteKind::File],
        quick: false,
    };
    let mut usual = vec![1, 2, 4, 8, 16, 32];
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|n| n.parse::<u32>().ok()).unwrap_or_else(|| panic!("{arg} N"));
        match arg.as_str() {
            "--quick" => {
                (options.quick, options.seconds) = (true, (5.0, 2.0));
                (options.local_workers, usual) = (8, vec![1, 8]);
            }
            "--hosts" => options.hosts.push(number() as usize),
            "--seconds" => {
                let seconds = f64::from(number());
                options.seconds = (seconds, seconds);
            }
            "--ops" => options.operations = number() as usize,
            "--file" => options.kinds = vec![RemoteKind::File],
            "--http" => options.kinds = vec![RemoteKind::Http],
            // Cargo says so to every benchmark.
            "--bench" => {}
            other => panic!("{other}: use --quick, --hosts N, --seconds S, --ops N, --file, --http"),
        }
    }
    if options.hosts.is_empty() {
        options.hosts = usual;
    }
    options
}

fn main() {
    let options = options();
    let mut sandbox = Sandbox::new();
    let template = Template::new(&mut sandbox, if options.quick { 1_000 } else { 4_000 });
    println!("load when it begins: {}", measure::load());
    let limit = |seconds| Limit { time: Duration::from_secs_f64(seconds), operations: options.operations };
    if options.kinds.contains(&RemoteKind::Http) {
        println!("\n## A server that is far away: +{:?} a fetch, +{:?} a push\n", DISTANCE.0, DISTANCE.1);
        head();
        for hosts in &options.hosts {
            let arenas = [Mode::Combining, Mode::Plain, Mode::Bare].map(|mode| {
                let arena = Arena::new(&mut sandbox, &template, mode, RemoteKind::Http, *hosts, false);
                arena.set_distance(DISTANCE.0, DISTANCE.1);
                arena
            });
            let rows = measured(&sandbox, arenas, limit(options.seconds.0), options.quick);
            compare(&rows, &far(*hosts));
        }
    }
    if options.kinds.contains(&RemoteKind::File) {
        for (place, one_clone, least) in [("one clone", true, 4.0), ("a clone each", false, 2.0)] {
            println!("\n## A file remote, {} workers in {place}\n", options.local_workers);
            head();
            let arenas = [Mode::Combining, Mode::Plain].map(|mode| {
                Arena::new(&mut sandbox, &template, mode, RemoteKind::File, options.local_workers, one_clone)
            });
            let rows = measured(&sandbox, arenas, limit(options.seconds.1), false);
            let throughput_min = (options.local_workers == 16).then_some(least);
            compare(&rows, &Bars { throughput_min, ..Bars::default() });
        }
    }
    println!("\nload when it has ended: {}", measure::load());
}

/// What combining must reach.
#[derive(Default)]
struct Bars {
    /// Times the throughput of plain compare-and-swap.
    throughput_min: Option<f64>,
    /// Times its 99th percentile.
    p99_max: Option<f64>,
    /// Pushes an operation.
    pushes_max: Option<f64>,
}

/// The bars for so many hosts.
fn far(hosts: usize) -> Bars {
    match hosts {
        // Not slower, but for what two runs of the same differ by.
        1 => Bars { throughput_min: Some(0.95), ..Bars::default() },
        16 => Bars { throughput_min: Some(4.0), p99_max: Some(0.125), pushes_max: Some(2.3) },
        32 => Bars { throughput_min: Some(7.0), ..Bars::default() },
        _ => Bars::default(),
    }
}

/// One mode's line of the table.
struct Row {
    mode: Mode,
    workers: usize,
    load: Load,
    requests: Option<Requests>,
    versions: u64,
}

/// Runs the arenas, one after the other or all at once, checks what came of each, and prints it.
fn measured<const N: usize>(sandbox: &Sandbox, arenas: [Arena; N], limit: Limit, at_once: bool) -> [Row; N] {
    if !at_once {
        return arenas.map(|arena| {
            let load = arena.run(sandbox, limit);
            settled(sandbox, arena, load)
        });
    }
    let runs = thread::scope(|scope| {
        let runs = arenas.map(|arena| {
            scope.spawn(move || {
                let load = arena.run(sandbox, limit);
                (arena, load)
            })
        });
        runs.map(|run| run.join().expect("an arena"))
    });
    runs.map(|(arena, load)| settled(sandbox, arena, load))
}

fn settled(sandbox: &Sandbox, arena: Arena, load: Load) -> Row {
    // Before the check, which asks for more.
    let requests = arena.requests();
    arena.check(sandbox, &load);
    let row = Row { mode: arena.mode, workers: arena.workers(), load, requests, versions: arena.versions(sandbox) };
    arena.remove();
    row.print();
    row
}

fn head() {
    println!(
        "{:<24}{:>8}{:>8}{:>8}{:>8}{:>10}{:>8}{:>8}{:>8}{:>8}{:>10}{:>7}{:>8}",
        "", "", "", "", "", "median", "p99", "pushes", "sent", "fetches", "versions", "", ""
    );
    println!(
        "{:<24}{:>8}{:>8}{:>8}{:>8}{:>10}{:>8}{:>8}{:>8}{:>8}{:>10}{:>7}{:>8}",
        "mode", "workers", "done", "late", "ops/s", "s", "s", "an op", "an op", "an op", "an op", "cpu %", "failed"
    );
}

impl Row {
    fn per_operation(&self, count: impl Fn(Requests) -> usize) -> Option<f64> {
        self.requests.map(|requests| count(requests) as f64 / self.load.count() as f64)
    }

    fn pushes(&self) -> Option<f64> {
        self.per_operation(|requests| requests.info_refs_of_pushes)
    }

    fn print(&self) {
        let load = &self.load;
        let or_dash = |number: Option<f64>| number.map_or("-".to_owned(), |number| format!("{number:.2}"));
        println!(
            "{:<24}{:>8}{:>8}{:>8}{:>8.2}{:>10.2}{:>8.2}{:>8}{:>8}{:>8}{:>10.2}{:>7.0}{:>8}",
            self.mode.name(),
            self.workers,
            load.count() - load.late(),
            load.late(),
            load.per_second(),
            load.quantile(0.5),
            load.quantile(0.99),
            or_dash(self.pushes()),
            or_dash(self.per_operation(|requests| requests.receive_pack)),
            or_dash(self.per_operation(|requests| requests.info_refs - requests.info_refs_of_pushes)),
            self.versions as f64 / load.count() as f64,
            load.cpu * 100.0,
            load.failures.len(),
        );
        if let Some(first) = load.failures.first() {
            println!("  the first that failed: {first}");
        }
        if load.idle {
            println!("  it was over when no task was left");
        }
    }
}

/// Prints how combining compares with plain compare-and-swap, the first two rows.
fn compare(rows: &[Row], bars: &Bars) {
    let [combining, plain, ..] = rows else { panic!("both are measured") };
    let throughput = combining.load.per_second() / plain.load.per_second();
    let p99 = combining.load.quantile(0.99) / plain.load.quantile(0.99);
    let judge = |passes: bool, words: String| format!(" {} ({words})", if passes { "PASS" } else { "FAIL" });
    let least = bars.throughput_min.map(|min| judge(throughput >= min, format!("at least {min} x")));
    let most = bars.p99_max.map(|max| judge(p99 <= max, format!("at most {max} x")));
    let (least, most) = (least.unwrap_or_default(), most.unwrap_or_default());
    print!("  combining to plain: throughput {throughput:.2} x{least}, p99 {p99:.3} x{most}");
    if let (Some(max), Some(pushes)) = (bars.pushes_max, combining.pushes()) {
        print!("; {pushes:.2} pushes an operation{}", judge(pushes <= max, format!("at most {max}")));
    }
    println!("\n");
}
