//! A campaign of the simulator, as long as one likes.
//!
//! `cargo bench --bench campaign -- --seeds N` runs N seeds (10,000 unless it is said) from 1, or from `--start S`, on
//! every core, with the code of `tests/sim`. Prints how often what happened and went wrong, how much time was simulated
//! and how many seeds a second that were. Fails when a seed finds something.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "looking at the clock and printing is the purpose of this program"
)]

#[path = "../sim/agents.rs"]
mod agents;
#[path = "../sim/answers.rs"]
mod answers;
#[path = "../sim/campaign.rs"]
mod campaign;
#[path = "../sim/checker.rs"]
mod checker;
#[path = "../sim/code.rs"]
mod code;
#[path = "../sim/commits.rs"]
mod commits;
#[path = "../sim/harm.rs"]
mod harm;
#[path = "../sim/invocation.rs"]
mod invocation;
#[path = "../sim/network.rs"]
mod network;
#[path = "../sim/process.rs"]
mod process;
#[path = "../sim/promises.rs"]
mod promises;
#[path = "../sim/random.rs"]
mod random;
#[path = "../sim/simulation.rs"]
mod simulation;
#[path = "../sim/store.rs"]
mod store;
#[path = "../sim/trouble.rs"]
mod trouble;
#[path = "../sim/world.rs"]
mod world;

use std::time::Instant;

use campaign::Campaign;

/// A third of the time goes into small allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many seeds are run unless it is said.
const SEEDS: u64 = 10_000;

/// The number after a flag on the command line.
fn number_after(flag: &str) -> Option<u64> {
    let text = std::env::args().skip_while(|argument| argument != flag).nth(1)?;
    Some(text.parse().unwrap_or_else(|_| panic!("{flag} {text} is not a number")))
}

fn main() {
    let (start, count) = (number_after("--start").unwrap_or(1), number_after("--seeds").unwrap_or(SEEDS));
    let seeds: Vec<u64> = (start..start + count).collect();
    let began = Instant::now();
    let campaign = Campaign::run(&seeds, false);
    let secs = began.elapsed().as_secs_f64();
    campaign.print();
    println!("{} seeds in {secs:.0} s: {:.0} a second", campaign.runs, campaign.runs as f64 / secs);
    let missing = campaign.hardly_met();
    if !missing.is_empty() {
        println!("hardly struck: {missing:?}");
    }
    campaign.check();
}
