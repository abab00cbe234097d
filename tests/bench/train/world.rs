//! A target, a queue and some slots for tests, simulated; and what came of it.
//!
//! Guarantees: the target is never red, and nothing lands that was not tested as it lands: whatever a policy does
//! against that ends the program.

use std::collections::{BTreeMap, BTreeSet};

use crate::traces::{CarNo, Mix, Random, Trace};

/// A candidate, by all that is in it: what has landed, what was pushed past the train, and the cars.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tree {
    pub cars: BTreeSet<CarNo>,
    /// How many pushes past the train.
    pub outside: usize,
}

/// How long each test takes.
const RUN: f64 = 1.0;

/// Everything a policy sees, and what it does.
pub struct World<'t> {
    trace: &'t Trace,
    mix: &'t Mix,
    random: Random,
    pub now: f64,
    /// Cars that are to land, in order of arrival.
    pub queue: Vec<CarNo>,
    pub target: Tree,
    /// What tests have said.
    pub known: BTreeMap<Tree, bool>,
    /// Tests under way, with when they end.
    pub running: Vec<(Tree, f64)>,
    pub result: Totals,
}

/// What came of traces.
#[derive(Default)]
pub struct Totals {
    /// How long each car that landed took.
    pub landed: Vec<f64>,
    /// How long each hotfix that landed took.
    pub hotfixes: Vec<f64>,
    pub runs: usize,
    /// Cars that were thrown out although nothing was wrong with them on the target as it was then.
    pub innocents: usize,
}

impl Totals {
    pub fn add(&mut self, other: Totals) {
        self.landed.extend(other.landed);
        self.hotfixes.extend(other.hotfixes);
        self.runs += other.runs;
        self.innocents += other.innocents;
    }

    /// The run times within which this part of the cars that landed did.
    pub fn quantile(&self, part: f64) -> f64 {
        quantile(&self.landed, part)
    }

    pub fn hotfix_delay(&self) -> f64 {
        quantile(&self.hotfixes, 0.95)
    }

    pub fn runs_per_car(&self) -> f64 {
        self.runs as f64 / self.landed.len() as f64
    }
}

fn quantile(times: &[f64], part: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// What decides.
pub trait Policy {
    /// One pass.
    fn pass(&mut self, world: &mut World<'_>);
}

/// Runs one trace to its end.
pub fn run(trace: &Trace, mix: &Mix, seed: u64, policy: &mut dyn Policy) -> Totals {
    let mut world = World {
        trace,
        mix,
        random: Random(seed ^ 0x5555_5555),
        now: 0.0,
        queue: Vec::new(),
        target: Tree { cars: BTreeSet::new(), outside: 0 },
        known: BTreeMap::new(),
        running: Vec::new(),
        result: Totals::default(),
    };
    let cars = trace.arrivals.len();
    let mut arrived = 0;
    let mut next_pass = 0.0;
    loop {
        world.finish_runs();
        while arrived < cars && trace.arrivals[arrived] <= world.now {
            world.queue.push(arrived as CarNo);
            arrived += 1;
        }
        while trace.outside.get(world.target.outside).is_some_and(|at| *at <= world.now) {
            world.target.outside += 1;
        }
        if world.now >= next_pass {
            policy.pass(&mut world);
            if mix.interval > 0.0 {
                next_pass = world.now + mix.interval;
            }
        }
        if arrived == cars && world.queue.is_empty() {
            break;
        }
        let arrival = trace.arrivals.get(arrived).copied();
        let outside = trace.outside.get(world.target.outside).copied();
        let pass = (next_pass > world.now).then_some(next_pass);
        let ends = world.running.iter().map(|(_, ends)| *ends);
        let next = ends.chain(arrival).chain(outside).chain(pass).fold(f64::INFINITY, f64::min);
        assert!(next.is_finite(), "nothing happens any more, and {:?} wait", world.queue);
        assert!(next < 1e6, "it takes for ever");
        world.now = next;
    }
    world.result
}

impl World<'_> {
    pub fn is_hotfix(&self, car: CarNo) -> bool {
        self.trace.hotfix[car as usize]
    }

    /// The queue, hotfixes first.
    pub fn ordered(&self) -> Vec<CarNo> {
        let mut queue = self.queue.clone();
        queue.sort_by_key(|car| (!self.is_hotfix(*car), *car));
        queue
    }

    /// The target with these cars.
    pub fn tree(&self, cars: &[CarNo]) -> Tree {
        let mut tree = self.target.clone();
        tree.cars.extend(cars);
        tree
    }

    pub fn is_running(&self, tree: &Tree) -> bool {
        self.running.iter().any(|(running, _)| running == tree)
    }

    /// Whether a tree is good in truth.
    pub fn is_good(&self, tree: &Tree) -> bool {
        let both = |pair: &(CarNo, CarNo)| tree.cars.contains(&pair.0) && tree.cars.contains(&pair.1);
        !tree.cars.iter().any(|car| self.trace.bad[*car as usize]) && !self.trace.conflicts.iter().any(both)
    }

    fn finish_runs(&mut self) {
        let (ended, running) = std::mem::take(&mut self.running).into_iter().partition(|(_, ends)| *ends <= self.now);
        self.running = running;
        for (tree, _) in Vec::<(Tree, f64)>::from_iter(ended) {
            let passes = self.is_good(&tree) && self.random.unit() >= self.mix.flake_rate;
            self.known.insert(tree, passes);
        }
    }

    /// Starts a test, if there is a slot for it and nothing is known or under way. Gives whether it did.
    pub fn start(&mut self, tree: Tree) -> bool {
        let starts = self.running.len() < self.mix.slots && !self.known.contains_key(&tree) && !self.is_running(&tree);
        if starts {
            self.running.push((tree, self.now + RUN));
            self.result.runs += 1;
        }
        starts
    }

    /// Frees the slots of all tests that are not among these.
    pub fn keep_only(&mut self, wanted: &[Tree]) {
        self.running.retain(|(tree, _)| wanted.contains(tree));
    }

    /// Moves the target.
    pub fn land(&mut self, cars: &[CarNo]) {
        let tree = self.tree(cars);
        assert_eq!(self.known.get(&tree), Some(&true), "{cars:?} were not tested as they land");
        self.land_untested(cars);
    }

    fn land_untested(&mut self, cars: &[CarNo]) {
        self.target = self.tree(cars);
        assert!(self.is_good(&self.target), "the target is red");
        for car in cars {
            let took = self.now - self.trace.arrivals[*car as usize];
            self.result.landed.push(took);
            if self.is_hotfix(*car) {
                self.result.hotfixes.push(took);
            }
        }
        self.queue.retain(|car| !cars.contains(car));
    }

    /// Throws a car out.
    pub fn eject(&mut self, car: CarNo) {
        if self.is_good(&self.tree(&[car])) {
            self.result.innocents += 1;
        }
        self.queue.retain(|other| *other != car);
    }
}

/// Knows what is bad, and tests what is good all together, at once.
pub struct Oracle;

impl Policy for Oracle {
    fn pass(&mut self, world: &mut World<'_>) {
        let mut together = Vec::new();
        for car in world.ordered() {
            together.push(car);
            if !world.is_good(&world.tree(&together)) {
                together.pop();
                // What fails together with one that may still be thrown out is looked at again.
                if !world.is_good(&world.tree(&[car])) {
                    world.eject(car);
                }
            }
        }
        let ready_at = |car: &CarNo| world.trace.arrivals[*car as usize] + RUN;
        // Whatever is good together is good without some of it.
        let (ready, left): (Vec<CarNo>, Vec<CarNo>) = together.iter().partition(|car| ready_at(car) <= world.now);
        let wake = left.iter().map(ready_at).fold(f64::INFINITY, f64::min);
        if !ready.is_empty() {
            world.result.runs += 1;
            world.land_untested(&ready);
            return self.pass(world);
        }
        world.running.clear();
        if wake.is_finite() {
            // So that it looks again.
            world.running.push((world.tree(&left), wake));
        }
    }
}
