//! What the simulator's silence is worth: bugs that are planted on purpose, each of which it has to find.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use git_scrum::planted::{Bug, plant};

use crate::simulation::simulate;
use crate::world::Tracing;

/// How many seeds a bug may hide in.
const SEEDS_MAX: u64 = 10_000;

/// The first seed that finds a bug, how many there were up to it, and what was found.
struct Found {
    seeds: u64,
    what: String,
}

/// Runs seeds on every core until one finds the bug.
fn search(bug: Bug) -> Option<Found> {
    let (next, found) = (AtomicU64::new(1), AtomicBool::new(false));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let finds = std::thread::scope(|scope| {
        let search = || {
            plant(Some(bug));
            while !found.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed > SEEDS_MAX {
                    break;
                }
                if let Err(failure) = simulate(seed, Tracing::Off) {
                    found.store(true, Ordering::Relaxed);
                    return Some(Found { seeds: seed, what: failure.what });
                }
            }
            None
        };
        let searches: Vec<_> = (0..threads).map(|_| scope.spawn(search)).collect();
        searches.into_iter().filter_map(|search| search.join().expect("no run panics outside")).collect::<Vec<_>>()
    });
    finds.into_iter().min_by_key(|found| found.seeds)
}

#[test]
fn every_planted_bug_is_found() {
    let mut hidden = Vec::new();
    for bug in Bug::ALL {
        match search(bug) {
            Some(found) => {
                let what: String = found.what.chars().take(160).collect();
                println!("{:>6}  {bug:?}: {what}", found.seeds);
            }
            None => hidden.push(bug),
        }
    }
    assert!(hidden.is_empty(), "no seed up to {SEEDS_MAX} finds {hidden:?}");
}
