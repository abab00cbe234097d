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
//! A fetch may be stale, but never older than what its clone has seen, unless somebody set the board back: then every
//! host must say so, and none may write until it is restored. What git does to notice that is left to the conformance
//! tests of the ledger, for this one is the simulator's own. `planted` shows what all of this would find.

mod agents;
mod answers;
mod campaign;
mod checker;
mod code;
mod commits;
mod harm;
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

use std::sync::OnceLock;

use campaign::Campaign;
use simulation::run;
use trouble::Trouble;

/// How many seeds a campaign has: about twenty seconds on two cores.
const SEEDS: u64 = 600;
/// Seeds that once found something, each with what.
const REGRESSIONS: &str = include_str!("seeds.txt");

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
    campaign.print();
    let (_, whole) = seeds();
    let missing: Vec<Trouble> = campaign.hardly_met();
    assert!(!whole || missing.is_empty(), "hardly struck: {missing:?}");
}
