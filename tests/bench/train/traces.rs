//! What happens to a train: who submits what and when, and what of it is bad. The same for every policy.
//!
//! Time is counted in runs: 1 is what one test takes.

use std::collections::BTreeSet;

/// A car, by its place in the order of arrival.
pub type CarNo = u32;

/// When cars arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// So many, all at once.
    Burst(usize),
    /// So many in the time of one run, on average, at random.
    Poisson(f64),
}

impl Arrivals {
    pub fn name(self) -> String {
        match self {
            Arrivals::Burst(cars) => format!("burst of {cars}"),
            Arrivals::Poisson(rate) => format!("{rate} a run time"),
        }
    }
}

/// What traces are made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mix {
    pub arrivals: Arrivals,
    /// The part of cars that fail by themselves.
    pub failure_rate: f64,
    /// Of two cars that were under way at the same time, the part that fails together.
    pub conflict_rate: f64,
    /// The part of tests that fail although nothing is wrong.
    pub flake_rate: f64,
    /// How many tests go on at once.
    pub slots: usize,
    /// How long there is between two passes; 0: a pass whenever something happens.
    pub interval: f64,
    /// The part of cars with which somebody pushes to the target, past the train.
    pub outside_rate: f64,
    /// The part of cars that are hotfixes.
    pub hotfix_rate: f64,
}

/// So many cars at once conflict, any two of them, with this probability.
const CONFLICTS: (i32, f64) = (16, 0.4);
/// Cars that arrive one after the other were under way at the same time when no more than this many came in between.
const NEIGHBOURS: usize = 16;

impl Mix {
    /// The mix of the bars.
    pub fn usual(arrivals: Arrivals) -> Mix {
        let (cars, probability) = CONFLICTS;
        let pairs = f64::from(cars * (cars - 1) / 2);
        Mix {
            arrivals,
            failure_rate: 0.05,
            conflict_rate: 1.0 - (1.0 - probability).powf(1.0 / pairs),
            flake_rate: 0.0,
            slots: 8,
            interval: 0.0,
            outside_rate: 0.0,
            hotfix_rate: 0.0,
        }
    }
}

pub struct Trace {
    /// When each car arrives.
    pub arrivals: Vec<f64>,
    /// Cars that fail by themselves.
    pub bad: Vec<bool>,
    /// Cars that go before all others.
    pub hotfix: Vec<bool>,
    /// When somebody pushes past the train, in order.
    pub outside: Vec<f64>,
    /// Pairs that fail together.
    pub conflicts: BTreeSet<(CarNo, CarNo)>,
}

impl Trace {
    pub fn new(mix: &Mix, cars: usize, seed: u64) -> Trace {
        // Seeds that follow each other must not begin in the same sequence, one step apart.
        let mut random = Random(Random(seed).next());
        let mut now = 0.0;
        let mut arrivals = Vec::new();
        for _ in 0..cars {
            if let Arrivals::Poisson(rate) = mix.arrivals {
                now -= (1.0 - random.unit()).ln() / rate;
            }
            arrivals.push(now);
        }
        let bad = (0..cars).map(|_| random.unit() < mix.failure_rate).collect();
        let mut conflicts = BTreeSet::new();
        for later in 0..cars {
            for earlier in 0..later {
                let meet = matches!(mix.arrivals, Arrivals::Burst(_)) || later - earlier < NEIGHBOURS;
                if meet && random.unit() < mix.conflict_rate {
                    conflicts.insert((earlier as CarNo, later as CarNo));
                }
            }
        }
        let hotfix = (0..cars).map(|_| random.unit() < mix.hotfix_rate).collect();
        let mut outside = Vec::new();
        for at in &arrivals {
            // Some time in the run that begins when a car arrives.
            let after = random.unit();
            if random.unit() < mix.outside_rate {
                outside.push(at + after);
            }
        }
        outside.sort_by(f64::total_cmp);
        Trace { arrivals, bad, hotfix, outside, conflicts }
    }
}

/// Splitmix64: every policy has to meet the same fate.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
