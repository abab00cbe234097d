//! What happens to a train: who submits what and when, and what of it is bad. The same for whatever decides.

use std::collections::BTreeSet;

use crate::domain::Priority;

/// A car, by its place in the order of arrival.
pub type CarNo = u32;

/// All that happens.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// The cars, in the order in which they arrive.
    pub cars: Vec<Arrival>,
    /// Pairs that fail together.
    pub conflicts: BTreeSet<(CarNo, CarNo)>,
    /// When somebody pushes to the target, past the train, in order.
    pub outside: Vec<f64>,
    /// The part of tests that fail although nothing is wrong.
    pub flake_rate: f64,
}

/// One car.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// When it is submitted.
    pub at: f64,
    /// How urgent it is.
    pub priority: Priority,
    /// Earlier cars that must land before it.
    pub after: Vec<CarNo>,
    /// Cars that land by one move, itself among them, in order; none where it goes by itself.
    pub together: Vec<CarNo>,
    /// Whether it is tested in no batch with others.
    pub single: bool,
    /// What is wrong with it by itself.
    pub flaw: Option<Flaw>,
    /// How long a test takes that is about it, or about cars of which it is the last.
    pub run_time: f64,
}

/// What may be wrong with a car.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Every test of a candidate with it fails.
    Fails,
    /// There is no candidate with it.
    DoesNotMerge,
}

/// When cars arrive, where that is made up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrivals {
    /// So many, all at once.
    Burst(usize),
    /// So many in the time of one run, on average, at random.
    Poisson(f64),
}

/// What made-up traces are made of. Time is counted in runs: 1 is what one test takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mix {
    /// When cars arrive.
    pub arrivals: Arrivals,
    /// The part of cars that fail by themselves.
    pub failure_rate: f64,
    /// Of two cars that were under way at the same time, the part that fails together.
    pub conflict_rate: f64,
    /// The part of tests that fail although nothing is wrong.
    pub flake_rate: f64,
    /// The part of cars with which somebody pushes to the target, past the train.
    pub outside_rate: f64,
    /// The part of cars that are hotfixes: of the highest priority.
    pub hotfix_rate: f64,
}

/// Cars that arrive one after the other were under way at the same time when no more than this many came in between.
const NEIGHBOURS: usize = 16;

impl Trace {
    /// Makes up a trace of so many cars.
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
        let bad: Vec<bool> = (0..cars).map(|_| random.unit() < mix.failure_rate).collect();
        let mut conflicts = BTreeSet::new();
        for later in 0..cars {
            for earlier in 0..later {
                let meet = matches!(mix.arrivals, Arrivals::Burst(_)) || later - earlier < NEIGHBOURS;
                if meet && random.unit() < mix.conflict_rate {
                    conflicts.insert((earlier as CarNo, later as CarNo));
                }
            }
        }
        let hotfix: Vec<bool> = (0..cars).map(|_| random.unit() < mix.hotfix_rate).collect();
        let mut outside = Vec::new();
        for at in &arrivals {
            // Some time in the run that begins when a car arrives.
            let after = random.unit();
            if random.unit() < mix.outside_rate {
                outside.push(at + after);
            }
        }
        outside.sort_by(f64::total_cmp);
        let car = |(nth, at): (usize, f64)| Arrival {
            at,
            priority: if hotfix[nth] { Priority::P0 } else { Priority::default() },
            after: Vec::new(),
            together: Vec::new(),
            single: false,
            flaw: bad[nth].then_some(Flaw::Fails),
            run_time: 1.0,
        };
        let cars = arrivals.into_iter().enumerate().map(car).collect();
        Trace { cars, conflicts, outside, flake_rate: mix.flake_rate }
    }

    /// The same, with every time so many times as long.
    pub fn stretched(mut self, times: f64) -> Trace {
        for car in &mut self.cars {
            car.at *= times;
            car.run_time *= times;
        }
        self.outside.iter_mut().for_each(|at| *at *= times);
        self
    }

    /// Whether a car goes before all others.
    pub fn is_hotfix(&self, car: CarNo) -> bool {
        self.cars[car as usize].priority == Priority::P0
    }
}

/// SplitMix64: whatever decides has to meet the same fate.
pub(super) struct Random(pub(super) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to below 1.
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
