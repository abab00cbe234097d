//! The long form of `tests/soak`: real processes over every kind of remote, for as long as is asked.
//!
//! `cargo bench --bench soak -- --minutes 60`; `--round-secs S` for the length of one round (100), `--seed N` for the
//! seed of the first, `--record FILE` to append every call and return to a file as lines of JSON, and any of `--file`,
//! `--http` and `--ssh` for these remotes only. A round is a fresh board over one kind of remote, the kinds in turn.
//! Its history is checked when it is over; the first that is wrong ends the run, with what is wrong with it.
//!
//! `cargo bench --bench soak -- --landings 1000` instead lets two hosts run passes of one train until so many landings
//! have happened, half of them with every car by itself and half in batches, and judges what they did together.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "starting programs, looking at the clock and printing tables is the purpose of this program"
)]
#![allow(dead_code, reason = "the short form uses the rest")]

#[path = "../soak/arena.rs"]
mod arena;
#[path = "../soak/chain.rs"]
mod chain;
#[path = "../soak/check.rs"]
mod check;
#[path = "../soak/faults.rs"]
mod faults;
#[path = "../soak/history.rs"]
mod history;
#[path = "../soak/landings.rs"]
mod landings;
#[path = "../soak/linear.rs"]
mod linear;
#[path = "../soak/model.rs"]
mod model;
#[path = "../sim/random.rs"]
#[allow(dead_code, reason = "the simulator uses more of it")]
mod random;
#[path = "../support/mod.rs"]
mod support;
#[path = "../soak/workload.rs"]
mod workload;
#[path = "../soak/yard.rs"]
mod yard;

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use arena::{Arena, Limit, Record};
use check::Verdict;
use support::RemoteKind;

struct Options {
    time: Duration,
    round: Duration,
    seed: u64,
    record: Option<PathBuf>,
    kinds: Vec<RemoteKind>,
    landings: Option<usize>,
}

fn options() -> Options {
    let minutes = |minutes| Duration::from_secs(60 * minutes);
    let round = Duration::from_secs(100);
    let mut options = Options { time: minutes(10), round, seed: 1, record: None, kinds: Vec::new(), landings: None };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut word = || args.next().unwrap_or_else(|| panic!("{arg} needs a value"));
        let number = |word: String| word.parse::<u64>().unwrap_or_else(|_| panic!("{arg} N"));
        match arg.as_str() {
            "--minutes" => options.time = minutes(number(word())),
            "--round-secs" => options.round = Duration::from_secs(number(word())),
            "--seed" => options.seed = number(word()),
            "--landings" => options.landings = Some(number(word()) as usize),
            "--record" => options.record = Some(word().into()),
            "--file" => options.kinds.push(RemoteKind::File),
            "--http" => options.kinds.push(RemoteKind::Http),
            "--ssh" => options.kinds.push(RemoteKind::Ssh),
            // Cargo says so to every benchmark.
            "--bench" => {}
            other => {
                panic!("{other}: use --minutes, --round-secs, --seed, --record, --file, --http, --ssh, or --landings")
            }
        }
    }
    if options.kinds.is_empty() {
        options.kinds = RemoteKind::ALL.to_vec();
    }
    options
}

/// What a row of the table counts.
const COLUMNS: [&str; 11] = [
    "operations",
    "calls",
    "applied",
    "killed",
    "with git",
    "answered",
    "dropped",
    "not done",
    "exit 4",
    "exit 7",
    "unheard",
];

fn numbers(record: &Record, verdict: &Verdict) -> [usize; COLUMNS.len()] {
    let counts = &record.counts;
    [
        record.history.len(),
        counts.calls.load(Relaxed),
        verdict.in_chain,
        counts.killed_alone.load(Relaxed),
        counts.killed_with_children.load(Relaxed),
        counts.killed_after_answer.load(Relaxed),
        record.answers_dropped,
        record.not_carried_out,
        counts.unknown.load(Relaxed),
        counts.network.load(Relaxed),
        verdict.unheard,
    ]
}

fn row(name: &str, numbers: &[usize], verdict: &str) {
    let cells: String = numbers.iter().map(|number| format!("{number:>11}")).collect();
    println!("{name:<12}{cells}  {verdict}");
}

/// Two hosts on one train, with each of the settings.
fn land(landings: usize, seed: u64) {
    for settings in yard::SETTINGS {
        let begun = Instant::now();
        let yard = yard::Yard::new(settings);
        let evidence = yard.run(seed, landings.div_ceil(yard::SETTINGS.len()));
        let account = landings::judge(&evidence).unwrap_or_else(|wrong| panic!("{settings} with seed {seed}: {wrong}"));
        println!("{settings}{account:#?}\n{:#?}\nas one host would have done it, {:.0?}", yard.counts, begun.elapsed());
    }
}

fn main() {
    let mut options = options();
    if let Some(landings) = options.landings {
        return land(landings, options.seed);
    }
    let begun = Instant::now();
    println!("{:<12}{}", "remote", COLUMNS.map(|column| format!("{column:>11}")).concat());
    let (mut totals, mut round) = ([0; COLUMNS.len()], 0);
    while begun.elapsed() < options.time {
        let kind = options.kinds[round % options.kinds.len()];
        let Some(arena) = Arena::new(kind, options.record.as_deref()) else {
            options.kinds.retain(|other| *other != kind);
            assert!(!options.kinds.is_empty(), "there is no remote to be tested");
            continue;
        };
        let seed = options.seed + 1_000 * round as u64;
        let record = arena.run(seed, Limit::Time(options.round.min(options.time.saturating_sub(begun.elapsed()))));
        let verdict = check::check(&record.history, &record.chain)
            .unwrap_or_else(|wrong| panic!("over {kind:?} with seed {seed}: {wrong}"));
        let numbers = numbers(&record, &verdict);
        let words = format!(
            "linearizable: {} tasks, {} taken over, seed {seed}, {} in the way",
            verdict.tasks,
            verdict.taken_over,
            record.counts.in_the_way.load(Relaxed)
        );
        row(&format!("{kind:?}").to_lowercase(), &numbers, &words);
        for (total, number) in totals.iter_mut().zip(numbers) {
            *total += number;
        }
        round += 1;
    }
    row("all", &totals, &format!("{round} rounds, no operation undecided, {:.0?}", begun.elapsed()));
}
