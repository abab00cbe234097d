//! A deterministic simulation of many hosts that share one repository.
//!
//! The engine's own code (claims, submissions, passes of the train, memory) runs on simulated machines, against a
//! simulated server, under simulated clocks, with everything going wrong that the design says may go wrong: pushes
//! that are lost, late, doubled or unanswered, stale reads, killed and paused processes, wrong clocks, servers without
//! atomic pushes. One seed decides everything, so that every run can be had again.
//!
//! - `cargo test --test sim` runs the seeds of `seeds.txt` and a campaign: `SIM_SEEDS` seeds from `SIM_SEED_START`.
//! - `SIM_SEED=n cargo test --test sim campaign -- --nocapture` runs one seed and prints all of it.
//!
//! What is simulated and what not: refs that go backwards, vanish or lose objects are left to the conformance tests of
//! the ledger. A fetch may be stale, but never older than what its clone has seen.

mod agents;
mod answers;
mod checker;
mod code;
mod commits;
mod invocation;
mod network;
mod planted;
mod process;
mod promises;
mod random;
mod simulation;
mod store;
mod trouble;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use simulation::{Failure, Report, run};
use trouble::{Tally, Trouble};

/// How many seeds a campaign has: about twenty seconds on two cores.
const SEEDS: u64 = 600;
/// Seeds that once found something, each with what.
const REGRESSIONS: &str = include_str!("seeds.txt");

/// All runs of a campaign together.
#[derive(Default)]
struct Campaign {
    struck: BTreeMap<Trouble, u64>,
    tally: Tally,
    failures: Vec<Failure>,
    runs: u64,
}

impl Campaign {
    fn add(&mut self, seed: u64, result: Result<Report, Failure>) {
        self.runs += 1;
        match result {
            Ok(report) => {
                report
                    .struck
                    .into_iter()
                    .for_each(|(trouble, count)| *self.struck.entry(trouble).or_default() += count);
                report.tally.into_iter().for_each(|(what, count)| *self.tally.entry(what).or_default() += count);
            }
            Err(failure) => {
                assert_eq!(seed, failure.seed);
                self.failures.push(failure);
            }
        }
    }

    /// Runs seeds on every core; each run has a world of its own.
    fn run(seeds: &[u64], verbose: bool) -> Campaign {
        let next = AtomicU64::new(0);
        let campaign = Mutex::new(Campaign::default());
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                        let result = run(*seed, verbose);
                        campaign.lock().expect("no run panics outside").add(*seed, result);
                    }
                });
            }
        });
        let mut campaign = campaign.into_inner().expect("no run panics outside");
        campaign.failures.sort_by_key(|failure| failure.seed);
        campaign
    }

    fn check(&self) {
        let Some(first) = self.failures.first() else { return };
        let seeds: Vec<u64> = self.failures.iter().map(|failure| failure.seed).collect();
        println!("{}", first.trace.join("\n"));
        println!("\n{} of {} seeds fail: {seeds:?}", seeds.len(), self.runs);
        self.failures.iter().for_each(|failure| println!("{}: {}", failure.seed, failure.what));
        let seed = first.seed;
        panic!("seed {seed}: {}\nagain: SIM_SEED={seed} cargo test --test sim campaign -- --nocapture", first.what);
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place of the simulator that reads the environment")]
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// The seeds to run, and whether they are the default.
fn seeds() -> (Vec<u64>, bool) {
    if let Some(seed) = setting("SIM_SEED") {
        return (vec![seed], false);
    }
    let start = setting("SIM_SEED_START").unwrap_or(1);
    let count = setting("SIM_SEEDS").unwrap_or(SEEDS);
    ((start..start + count).collect(), count >= SEEDS)
}

/// The campaign, which all tests look at and which is run once.
fn campaign() -> &'static Campaign {
    static CAMPAIGN: OnceLock<Campaign> = OnceLock::new();
    CAMPAIGN.get_or_init(|| {
        let (seeds, _) = seeds();
        Campaign::run(&seeds, setting("SIM_SEED").is_some())
    })
}

#[test]
fn campaign_finds_nothing() {
    campaign().check();
}

#[test]
fn seeds_that_once_found_something_find_nothing() {
    let number = |line: &str| line.split('#').next().expect("one part").trim().parse::<u64>().ok();
    let seeds: Vec<u64> = REGRESSIONS.lines().filter_map(number).collect();
    Campaign::run(&seeds, false).check();
}

#[test]
fn a_seed_gives_the_same_run_again() {
    let last_lines = || run(7, false).map(|report| (report.struck, report.tally)).map_err(|failure| failure.trace);
    assert_eq!(last_lines(), last_lines());
}

#[test]
fn campaign_meets_every_trouble() {
    let campaign = campaign();
    println!("{} runs; what happened:", campaign.runs);
    campaign.tally.iter().for_each(|(what, count)| println!("{count:>9}  {what}"));
    println!("what went wrong:");
    campaign.struck.iter().for_each(|(trouble, count)| println!("{count:>9}  {trouble:?}"));
    let (_, whole) = seeds();
    let missing: Vec<Trouble> = Trouble::ALL
        .into_iter()
        .map(|(trouble, _)| trouble)
        .filter(|trouble| !campaign.struck.contains_key(trouble))
        .collect();
    assert!(!whole || missing.is_empty(), "never struck: {missing:?}");
}
