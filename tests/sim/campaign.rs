//! Many seeds on every core, and what came of all of them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::simulation::{Failure, Report, run};
use crate::trouble::{Tally, Trouble};

/// All runs of a campaign together.
#[derive(Default)]
pub struct Campaign {
    struck: BTreeMap<Trouble, u64>,
    tally: Tally,
    failures: Vec<Failure>,
    /// How many seeds were run.
    pub runs: u64,
    /// How much time passed in all of them.
    pub lasted_ms: u64,
}

impl Campaign {
    fn add(&mut self, seed: u64, result: Result<Report, Failure>) {
        self.runs += 1;
        match result {
            Ok(report) => {
                self.lasted_ms += report.lasted_ms;
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
    pub fn run(seeds: &[u64], verbose: bool) -> Campaign {
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

    /// Fails with what the first seed found, and names the others.
    pub fn check(&self) {
        let Some(first) = self.failures.first() else { return };
        let seeds: Vec<u64> = self.failures.iter().map(|failure| failure.seed).collect();
        println!("{}", first.trace.join("\n"));
        println!("\n{} of {} seeds fail: {seeds:?}", seeds.len(), self.runs);
        self.failures.iter().for_each(|failure| println!("{}: {}", failure.seed, failure.what));
        let seed = first.seed;
        panic!("seed {seed}: {}\nagain: SIM_SEED={seed} cargo test --test sim campaign -- --nocapture", first.what);
    }

    /// Prints how often what happened.
    pub fn print(&self) {
        println!("{} runs of {} simulated hours; what happened:", self.runs, self.lasted_ms / 3_600_000);
        self.tally.iter().for_each(|(what, count)| println!("{count:>9}  {what}"));
        println!("what went wrong:");
        self.struck.iter().for_each(|(trouble, count)| println!("{count:>9}  {trouble:?}"));
    }

    /// Trouble that struck less than once in a hundred runs: whatever it would break is hardly tested.
    pub fn hardly_met(&self) -> Vec<Trouble> {
        let hardly = |trouble: &Trouble| self.struck.get(trouble).is_none_or(|count| count * 100 < self.runs);
        Trouble::ALL.into_iter().map(|(trouble, _)| trouble).filter(hardly).collect()
    }
}
