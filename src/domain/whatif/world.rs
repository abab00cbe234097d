//! A target, a queue and some slots for tests, simulated; and what came of it.
//!
//! Guarantees: the target is never red, and nothing lands that was not tested as it lands: a policy that does either
//! ends the program.

use std::collections::BTreeMap;

use super::load::{CarNo, Random, Trace};

/// A candidate, by all that is in it: what has landed, what was pushed past the train, and the cars.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tree {
    /// What has landed, and the cars, each once, in order of arrival.
    pub cars: Vec<CarNo>,
    /// How many pushes past the train.
    pub outside: usize,
}

/// What a train may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// How many tests go on at once.
    pub slots: usize,
    /// How long there is between two passes; 0: a pass whenever something happens.
    pub interval: f64,
    /// Whether a pass waits for its tests, as it does for those of its own machine: until they are over, there is no
    /// other.
    pub waits: bool,
}

/// Everything a policy sees, and what it does.
pub struct World<'t> {
    /// What happens.
    pub trace: &'t Trace,
    slots: usize,
    random: Random,
    /// What time it is.
    pub now: f64,
    /// Cars that are to land, in order of arrival.
    pub queue: Vec<CarNo>,
    /// What is on the target.
    pub target: Tree,
    /// What tests have said.
    pub known: BTreeMap<Tree, bool>,
    /// Tests under way, with when they end.
    pub running: Vec<(Tree, f64)>,
    /// When a pass is wanted although nothing else happens.
    pub wake: Option<f64>,
    /// What came of it so far.
    pub result: Totals,
}

/// What came of traces.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    /// How long each car that landed took.
    pub landed: Vec<f64>,
    /// How long each hotfix that landed took.
    pub hotfixes: Vec<f64>,
    /// Tests that were begun.
    pub runs: usize,
    /// Cars that left without landing.
    pub ejected: usize,
    /// Cars that were thrown out although nothing was wrong with them on the target as it was then.
    pub innocents: usize,
    /// Cars that waited still when nothing happened any more.
    pub waiting: usize,
}

impl Totals {
    /// Adds what came of another trace.
    pub fn add(&mut self, other: Totals) {
        self.landed.extend(other.landed);
        self.hotfixes.extend(other.hotfixes);
        self.runs += other.runs;
        self.ejected += other.ejected;
        self.innocents += other.innocents;
        self.waiting += other.waiting;
    }

    /// The time within which this part of the cars that landed did; not a number where none did.
    pub fn quantile(&self, part: f64) -> f64 {
        quantile(&self.landed, part)
    }

    /// The time within which nearly all hotfixes landed.
    pub fn hotfix_delay(&self) -> f64 {
        quantile(&self.hotfixes, 0.95)
    }

    /// Tests for each car that landed; not a number, or infinite, where none did.
    pub fn runs_per_car(&self) -> f64 {
        self.runs as f64 / self.landed.len() as f64
    }
}

/// The least of these that this part of them does not exceed.
pub(super) fn quantile(times: &[f64], part: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// What decides.
pub trait Policy {
    /// One pass. Where nothing has happened since the last one, it changes nothing.
    fn pass(&mut self, world: &mut World<'_>);
}

/// How many things may happen for each car of a trace before it is given up.
const EVENTS_PER_CAR_MAX: usize = 10_000;

/// Runs one trace to its end. `seed` says which tests fail although nothing is wrong.
pub fn run(trace: &Trace, limits: Limits, seed: u64, policy: &mut dyn Policy) -> Totals {
    let Limits { slots, interval, waits } = limits;
    let mut world = World {
        trace,
        slots,
        random: Random(seed ^ 0x5555_5555),
        now: 0.0,
        queue: Vec::new(),
        target: Tree::default(),
        known: BTreeMap::new(),
        running: Vec::new(),
        wake: None,
        result: Totals::default(),
    };
    let cars = trace.cars.len();
    let (mut arrived, mut next_pass, mut news) = (0, 0.0, true);
    for _ in 0..EVENTS_PER_CAR_MAX * (cars + 1) {
        news |= world.finish_runs();
        while arrived < cars && trace.cars[arrived].at <= world.now {
            world.queue.push(arrived as CarNo);
            (arrived, news) = (arrived + 1, true);
        }
        while trace.outside.get(world.target.outside).is_some_and(|at| *at <= world.now) {
            world.target.outside += 1;
            news = true;
        }
        news |= world.wake.take_if(|at| *at <= world.now).is_some();
        while interval > 0.0 && next_pass < world.now {
            next_pass += interval;
        }
        let may_pass = !waits || world.running.is_empty();
        if news && may_pass && world.now >= next_pass {
            policy.pass(&mut world);
            news = false;
            if interval > 0.0 {
                next_pass = world.now + interval;
            }
        }
        if arrived == cars && world.queue.is_empty() {
            break;
        }
        let arrival = trace.cars.get(arrived).map(|car| car.at);
        let outside = trace.outside.get(world.target.outside).copied();
        let pass = (news && may_pass && next_pass > world.now).then_some(next_pass);
        let ends = world.running.iter().map(|(_, ends)| *ends);
        let next = ends.chain(arrival).chain(outside).chain(pass).chain(world.wake).fold(f64::INFINITY, f64::min);
        if !next.is_finite() {
            break;
        }
        world.now = next;
    }
    world.result.waiting = world.queue.len();
    world.result
}

impl World<'_> {
    /// The queue, hotfixes first.
    pub fn ordered(&self) -> Vec<CarNo> {
        let mut queue = self.queue.clone();
        queue.sort_by_key(|car| (!self.trace.is_hotfix(*car), *car));
        queue
    }

    /// The target with these cars.
    pub fn tree(&self, cars: &[CarNo]) -> Tree {
        let mut tree = self.target.clone();
        tree.cars.extend(cars);
        tree.cars.sort_unstable();
        tree.cars.dedup();
        tree
    }

    /// Whether a tree is being tested.
    pub fn is_running(&self, tree: &Tree) -> bool {
        self.running.iter().any(|(running, _)| running == tree)
    }

    /// Whether a tree is good in truth.
    pub fn is_good(&self, tree: &Tree) -> bool {
        let has = |car: &CarNo| tree.cars.binary_search(car).is_ok();
        let both = |pair: &(CarNo, CarNo)| has(&pair.0) && has(&pair.1);
        let flawed = |car: &CarNo| self.trace.cars[*car as usize].flaw.is_some();
        !tree.cars.iter().any(flawed) && !self.trace.conflicts.iter().any(both)
    }

    /// Notes what tests have said that are over. Gives whether any are.
    fn finish_runs(&mut self) -> bool {
        let (ended, running): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.running).into_iter().partition(|(_, ends)| *ends <= self.now);
        self.running = running;
        let any = !ended.is_empty();
        for (tree, _) in ended {
            let passes = self.is_good(&tree) && self.random.unit() >= self.trace.flake_rate;
            self.known.insert(tree, passes);
        }
        any
    }

    /// Starts a test that takes so long, if there is a slot for it and nothing is known or under way. Gives whether it
    /// did.
    pub fn start(&mut self, tree: Tree, run_time: f64) -> bool {
        let starts = self.running.len() < self.slots && !self.known.contains_key(&tree) && !self.is_running(&tree);
        if starts {
            self.running.push((tree, self.now + run_time));
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
        assert_eq!(self.known.get(&tree), Some(&true), "BUG: {cars:?} were not tested as they land");
        self.land_untested(cars);
    }

    /// Moves the target, for who knows without a test that it stays good.
    pub fn land_untested(&mut self, cars: &[CarNo]) {
        self.target = self.tree(cars);
        assert!(self.is_good(&self.target), "BUG: the target is red");
        for car in cars {
            let took = self.now - self.trace.cars[*car as usize].at;
            self.result.landed.push(took);
            if self.trace.is_hotfix(*car) {
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
        self.leave(car);
    }

    /// Lets a car go because one that it needs has left.
    pub fn leave(&mut self, car: CarNo) {
        self.queue.retain(|other| *other != car);
        self.result.ejected += 1;
    }
}
