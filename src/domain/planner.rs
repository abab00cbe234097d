//! What a pass of the train does next: observe, then plan, then perform.
//!
//! [`plan`] is pure and total, and plans from scratch each time from the cars and what was observed. It may ask for a
//! candidate that nobody has built yet ([`Plan::wanted`]); the caller builds it and plans again.
//!
//! It speculates: each car of the window is tested as it would land if all those ahead of it did, all at the same time.
//! A car that fails behind others may owe that to them. So it steps aside, those behind it are tested without it at
//! once, and it is judged when everything that was in its candidate has landed or left (the rule of the nearest
//! non-failing car ahead, of Zuul's dependent pipelines). Only a car that fails on the tip of the target is ejected.
//! A window of one car is the serial train. Where runs are scarce, cars are tested in batches ([`batches`]).

mod batches;
mod line;
mod order;
mod preempt;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::command::EjectCause;
use super::holds::held_back;
use super::lanes::{Affected, parts};
use super::{Batch, Car, CarId, ObjectId, Priority, Run, Seconds, Timestamp, Train, Verdict, VerdictRecord};
use line::{Wanted, speculate};
pub use order::pairs_to_merge;

/// How often a test may end without a verdict before its car is ejected.
pub const INCONCLUSIVE_MAX: u32 = 3;

/// How many runs may be under way at once, whatever is configured: more would not fit into the record of a train.
pub const RUNS_MAX: usize = 128;

/// What was seen outside the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The tip of the target.
    pub base: ObjectId,
    /// The heads of the cars' branches; absent: the branch is gone.
    pub heads: BTreeMap<CarId, ObjectId>,
    /// Cars whose commit the target contains already.
    pub on_target: BTreeSet<CarId>,
    /// Cars whose claim is not the present one of their task.
    pub stale: BTreeSet<CarId>,
    /// Candidates that were built on `base`, by their cars in order; where there is one, also those with fewer of its
    /// cars from the first on.
    pub candidates: BTreeMap<Vec<CarId>, Candidate>,
    /// What is known of trees, of candidates and of batches, for the check that is configured now.
    pub verdicts: BTreeMap<ObjectId, Verdict>,
    /// Of how many cars at once it was found out that such a tree fails, where it was of several, and when.
    pub failed_together: BTreeMap<ObjectId, (u32, Timestamp)>,
    /// How long the verdict of a run is waited for, by its candidate, where that differs from what is configured.
    pub timeouts: BTreeMap<ObjectId, Seconds>,
    /// The candidates of runs that nobody carries on: a machine that tests by itself has died, or takes too long.
    pub lost: BTreeSet<ObjectId>,
    /// What each car affects; a car that is not here affects everything.
    pub affected: BTreeMap<CarId, Affected>,
    /// Trees of candidates, each with a tree that its cars were tested in: the two differ only where the cars affect
    /// nothing.
    pub same_as: BTreeMap<ObjectId, ObjectId>,
    /// Pairs of cars that do not merge with each other, as far as the order goes by that ([`pairs_to_merge`]).
    pub clashes: BTreeSet<(CarId, CarId)>,
    /// What time it is.
    pub now: Timestamp,
}

impl Observation {
    /// A target of which nothing else was seen yet.
    pub fn new(base: ObjectId, now: Timestamp) -> Observation {
        Observation {
            base,
            heads: BTreeMap::new(),
            on_target: BTreeSet::new(),
            stale: BTreeSet::new(),
            candidates: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            failed_together: BTreeMap::new(),
            timeouts: BTreeMap::new(),
            lost: BTreeSet::new(),
            affected: BTreeMap::new(),
            same_as: BTreeMap::new(),
            clashes: BTreeSet::new(),
            now,
        }
    }

    /// Notes what is known of a tree.
    pub fn note(&mut self, tree: &ObjectId, known: &VerdictRecord) {
        self.verdicts.insert(tree.clone(), known.verdict);
        if known.failed_with_more_than(1) {
            self.failed_together.insert(tree.clone(), (known.together, known.at));
        }
    }
}

/// The target with cars merged into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate {
    /// They merge.
    Clean {
        /// The commit that would land.
        commit: ObjectId,
        /// Its tree.
        tree: ObjectId,
    },
    /// The last of them does not.
    Conflict {
        /// Where.
        paths: Vec<String>,
    },
    /// The last of them merges, but its commits, put there one after the other, come to something else.
    Unlike {
        /// Where.
        paths: Vec<String>,
    },
    /// The last of them does not start where the others end, and the target moves only to the cars' own commits.
    Behind,
}

/// What a landed car looks like in the history of the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// A merge commit.
    #[default]
    Merge,
    /// One commit with all that it changes.
    Squash,
    /// Its commits, one after the other, put on the target anew.
    Rebase,
    /// Its very commits: they have to start where the target is.
    Ff,
}

/// How the train is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainPolicy {
    /// Whether verdicts come from outside, so that a test is asked for and waited for.
    pub external: bool,
    /// How long a verdict from outside is waited for.
    pub timeout: Seconds,
    /// How many cars are speculated on.
    pub window: WindowPolicy,
    /// How many runs may be under way at once; 0: any number.
    pub slots: u32,
    /// How cars are tested together.
    pub batch: BatchPolicy,
    /// How many approvals a car needs for its commit.
    pub approvals: u32,
    /// How many red verdicts of what contains a car are forgiven, as long as one behind it, which contains it, may
    /// still clear it.
    pub tolerate: u32,
    /// Whether a car that failed only together with others is tested alone before it is blamed.
    pub confirm: bool,
    /// After how many cars that failed, none landing in between, the train is paused; 0: never.
    pub breaker: u32,
    /// How many cars are waited for before any is tested, and how long at most.
    pub gather: (u32, Seconds),
    /// Whether tests of what is less urgent are given up where what is most urgent finds no slot.
    pub preempt: bool,
    /// Whether, of equally urgent cars, those go first that send the fewest others back; and how much later than one
    /// that it goes ahead of a car may have been submitted.
    pub sparing: Option<Seconds>,
}

impl TrainPolicy {
    /// Every car by itself, tested from outside, with whatever runs it takes, and nothing else that may be asked for.
    pub const PLAIN: TrainPolicy = TrainPolicy {
        external: true,
        timeout: Seconds(30 * 60),
        window: WindowPolicy::within(20, 3, 100),
        slots: 0,
        batch: BatchPolicy::SINGLE,
        approvals: 0,
        tolerate: 0,
        confirm: true,
        breaker: 0,
        gather: (1, Seconds(0)),
        preempt: false,
        sparing: None,
    };

    /// How many runs may be under way at once.
    fn runs_max(&self) -> usize {
        if self.slots == 0 { RUNS_MAX } else { (self.slots as usize).min(RUNS_MAX) }
    }

    /// Whether cars are tested together at all: where runs are free nothing is gained by it.
    pub fn tests_together(&self) -> bool {
        self.batch.cars_max != 1 && self.slots != 0
    }

    /// Whether what failed steps aside for those behind it, until it is known which car it was. One car by itself is
    /// known.
    fn may_be_overtaken(&self) -> bool {
        self.batch.relaxed && self.batch.cars_max != 1
    }
}

/// How cars are tested together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPolicy {
    /// How many at most; 0: what suits the queue, the slots and how many cars fail.
    pub cars_max: u32,
    /// Whether as many as may be are put together, whatever is known of how many fail.
    pub greedy: bool,
    /// Whether cars of a batch that failed stand aside for those behind them, until it is known which of them it was.
    pub relaxed: bool,
}

impl BatchPolicy {
    /// Every car by itself.
    pub const SINGLE: BatchPolicy = BatchPolicy { cars_max: 1, greedy: false, relaxed: true };

    /// How many cars may be together, whatever suits.
    fn allowed(self) -> usize {
        if self.cars_max == 0 { usize::MAX } else { self.cars_max as usize }
    }
}

/// How many cars from the head of the queue on are speculated on: some more for each that lands, a part for each that
/// fails (additive increase, multiplicative decrease, as in the flow control of TCP and in Zuul's gate).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowPolicy {
    /// How many at the start.
    pub start: u32,
    /// How many at least, whatever fails.
    pub min: u32,
    /// How many at most, whatever lands.
    pub max: u32,
    /// How many more for each car that lands.
    pub step: u32,
    /// By what they are divided for each car that fails.
    pub divisor: u32,
}

impl WindowPolicy {
    /// One car at a time, each tested on the tip that it would land on.
    pub const SERIAL: WindowPolicy = WindowPolicy::within(1, 1, 1);

    /// One more for each that lands, half as many for each that fails, within these bounds.
    pub const fn within(start: u32, min: u32, max: u32) -> WindowPolicy {
        WindowPolicy { start, min, max, step: 1, divisor: 2 }
    }

    /// The window of `train` now. A start below the minimum is one that somebody wants.
    pub fn of(&self, train: &Train) -> u32 {
        let min = self.min.min(self.start).max(1);
        train.window.unwrap_or(self.start).clamp(min, self.max.max(min))
    }

    /// The window after `count` cars landed.
    pub fn grown(&self, train: &Train, count: usize) -> u32 {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.of(train).saturating_add(count.saturating_mul(self.step)).min(self.max.max(1))
    }

    /// The window after a car failed.
    pub fn shrunk(&self, train: &Train) -> u32 {
        (self.of(train) / self.divisor.max(1)).max(self.min.min(self.start)).max(1)
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Have a candidate tested.
    StartRun {
        /// Its cars, in order.
        cars: Vec<CarId>,
        /// How many of them, from the first on, are tested by runs of their own: what is asked is whether the others
        /// may land after these.
        ahead: usize,
        /// The candidate.
        commit: ObjectId,
        /// Its tree.
        tree: ObjectId,
    },
    /// Wait no more for what a test says: nothing would be done about it.
    CancelRun {
        /// The cars of the candidate, in order.
        cars: Vec<CarId>,
        /// The candidate.
        commit: ObjectId,
        /// Its tree.
        tree: ObjectId,
    },
    /// Use what is known of a tree.
    ReuseVerdict {
        /// The cars of the candidate.
        cars: Vec<CarId>,
        /// The candidate.
        commit: ObjectId,
        /// Its tree.
        tree: ObjectId,
        /// What is known.
        verdict: Verdict,
    },
    /// Move the target.
    Land {
        /// The cars that land, in order.
        cars: Vec<CarId>,
        /// Where the target is.
        from: ObjectId,
        /// Where it goes.
        to: ObjectId,
        /// The tree that passed; `None` for a car that the target contains already.
        tree: Option<ObjectId>,
    },
    /// Take a car out.
    Eject {
        /// Which.
        car: CarId,
        /// Why, as a kind.
        cause: EjectCause,
        /// Why, in words.
        reason: String,
    },
    /// Do nothing with a car for now.
    Wait {
        /// Which.
        car: CarId,
        /// For what.
        reason: String,
    },
}

impl Action {
    /// Waits no more for `run`.
    pub fn cancel(run: &Run) -> Action {
        Action::CancelRun { cars: run.cars.clone(), commit: run.commit.clone(), tree: run.tree.clone() }
    }
}

/// What to do now, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do.
    pub actions: Vec<Action>,
    /// Which cars are tested together once that is done; `None` where that was not looked at.
    pub batches: Option<Vec<Batch>>,
    /// The candidate without which there is nothing more to say. It is built car by car, and so are those with fewer of
    /// them from the first on, as far as they merge.
    pub wanted: Option<Vec<CarId>>,
}

/// Plans one step of `train`, whose open cars are `cars`.
pub fn plan(train: &Train, cars: &[Car], seen: &Observation, policy: &TrainPolicy) -> Plan {
    let mut plan = Plan::default();
    if let Some(reason) = &train.paused {
        let reason = format!("the train is paused: {reason}");
        plan.actions.extend(all_wait(cars, &reason));
        return plan;
    }
    for car in cars {
        plan.actions.extend(why_leave(car, seen));
    }
    if !plan.actions.is_empty() {
        // Those that leave may take others with them: what is left is planned with fresh eyes.
        return plan;
    }
    for car in in_order(cars).into_iter().filter(|car| seen.on_target.contains(&car.id) && car.after.is_empty()) {
        let (from, to) = (seen.base.clone(), seen.base.clone());
        plan.actions.push(Action::Land { cars: vec![car.id.clone()], from, to, tree: None });
    }
    if !plan.actions.is_empty() {
        return plan;
    }
    let held = held_back(train, cars, policy.approvals);
    let going: Vec<Car> = cars.iter().filter(|car| !held.contains_key(&car.id)).cloned().collect();
    if let Some(reason) = why_gather(train, &going, seen.now, policy) {
        let waits = going.iter().map(|car| (&car.id, reason.clone())).chain(held);
        plan.actions.extend(waits.map(|(car, reason)| Action::Wait { car: car.clone(), reason }));
        return plan;
    }
    let going = order::arranged(train, going, seen, policy);
    let plan_without = |train: &Train| in_lanes(train, &going, seen, policy);
    let planned = if policy.preempt && policy.external && policy.slots != 0 {
        preempt::plan_with_room(train, &going, plan_without)
    } else {
        plan_without(train)
    };
    match planned {
        Ok((mut actions, batches)) => {
            actions.extend(held.into_iter().map(|(car, reason)| Action::Wait { car: car.clone(), reason }));
            Plan { actions, batches: Some(batches), wanted: None }
        }
        Err(Wanted(cars)) => Plan { wanted: Some(cars), ..Plan::default() },
    }
}

/// Plans for a train on which nothing may happen for `reason`: what is under way is given up, and every car stays where
/// it is.
pub fn stand_still(train: &Train, cars: &[Car], reason: &str) -> Plan {
    let gives_up = train.runs.iter().map(Action::cancel);
    Plan { actions: gives_up.chain(all_wait(cars, reason)).collect(), ..Plan::default() }
}

fn all_wait(cars: &[Car], reason: &str) -> impl Iterator<Item = Action> {
    cars.iter().map(move |car| Action::Wait { car: car.id.clone(), reason: reason.to_owned() })
}

/// Why none of these is tested yet, if more are waited for: only before the first of them is, and unless one is most
/// urgent or was put first.
fn why_gather(train: &Train, cars: &[Car], now: Timestamp, policy: &TrainPolicy) -> Option<String> {
    let (least, wait) = policy.gather;
    let missing = (least as usize).checked_sub(cars.len()).filter(|missing| *missing > 0)?;
    let begun = |car: &Car| car.tested_tree.is_some() || car.priority == Priority::P0 || car.promoted > 0;
    let until = cars.iter().map(|car| car.submitted_at).min()?.plus(wait);
    let waits = train.runs.is_empty() && !cars.iter().any(begun) && now < until;
    waits.then(|| format!("{missing} more are waited for until {until}"))
}

/// Plans each part of the cars that can affect no other one as if it were a train of its own, with the runs that are
/// left by those before it.
fn in_lanes(
    train: &Train,
    cars: &[Car],
    seen: &Observation,
    policy: &TrainPolicy,
) -> Result<(Vec<Action>, Vec<Batch>), Wanted> {
    let parts = parts(&in_order(cars), &seen.affected);
    if parts.len() < 2 {
        return speculate(train, cars, seen, policy);
    }
    let (mut actions, mut batches) = (Vec::new(), Vec::new());
    let mut runs = train.runs.clone();
    let last = parts.len() - 1;
    for (nth, part) in parts.into_iter().enumerate() {
        let is_its = |run: &Run| nth == last || run.cars.iter().any(|id| part.iter().any(|car| car.id == *id));
        let (its, others): (Vec<Run>, Vec<Run>) = runs.into_iter().partition(is_its);
        runs = others;
        let part: Vec<Car> = part.into_iter().cloned().collect();
        let alone = Train { runs: its, ..train.clone() };
        let (planned, grouped) = speculate(&alone, &part, seen, policy)?;
        actions.extend(planned);
        batches.extend(grouped);
    }
    let cancelled = actions.iter().filter(|action| matches!(action, Action::CancelRun { .. })).count();
    let mut free = policy.runs_max().saturating_sub(train.runs.len() - cancelled);
    let allowed = |action: Action| match action {
        Action::StartRun { cars, ahead, .. } if free == 0 => {
            let reason = "no more runs at once, and other lanes go first";
            let waits = cars.into_iter().skip(ahead).map(|car| Action::Wait { car, reason: reason.to_owned() });
            waits.collect()
        }
        start @ Action::StartRun { .. } => {
            free -= 1;
            vec![start]
        }
        other => vec![other],
    };
    Ok((actions.into_iter().flat_map(allowed).collect(), batches))
}

/// Cars in the order in which they land: those that were put first, the most urgent, then by position; but each after
/// those it needs, and those that land together one after the other, where the least urgent of them would be.
pub fn in_order(cars: &[Car]) -> Vec<&Car> {
    let mut left: Vec<&Car> = cars.iter().collect();
    left.sort_by_key(|car| (batches::own_urgency(car), car.position));
    let mut units: Vec<Vec<&Car>> = Vec::new();
    for car in left {
        match units.iter().position(|unit| unit[0].goes_with(car)) {
            Some(place) => {
                let mut unit = units.remove(place);
                unit.push(car);
                units.push(unit);
            }
            None => units.push(vec![car]),
        }
    }
    let mut ordered: Vec<&Car> = Vec::with_capacity(cars.len());
    while !units.is_empty() {
        let needs = |unit: &[&Car], others: &[&Car]| {
            unit.iter().any(|car| others.iter().any(|other| car.after.contains(&other.id)))
        };
        let waits = |nth: usize| (0..units.len()).any(|other| other != nth && needs(&units[nth], &units[other]));
        // Submission refuses cars that wait for each other; should a board hold some all the same, the first goes.
        let next = (0..units.len()).find(|nth| !waits(*nth)).unwrap_or(0);
        let mut unit = units.remove(next);
        unit.sort_by_key(|car| car.together.iter().position(|id| *id == car.id));
        while !unit.is_empty() {
            let next = (0..unit.len()).find(|nth| !needs(&unit[*nth..=*nth], &unit)).unwrap_or(0);
            ordered.push(unit.remove(next));
        }
    }
    ordered
}

/// What has to be tested together no more, in two, each of which is tested by itself; `None`: all of it lands together.
pub fn halves(cars: &[Car], together: &[CarId]) -> Option<[Batch; 2]> {
    let batch = Batch::untested(together.to_vec(), true);
    match batches::middle(&cars.iter().collect::<Vec<_>>(), &batch) {
        0 => None,
        middle => Some(batch.split(middle, true)),
    }
}

/// Whether a batch that stood in line was split between the one and the other: it failed on the target as it is. Once
/// the target has moved nothing tells of that any more, so it has to be noted before anything lands.
pub fn found_to_fail(before: &[Batch], after: &[Batch]) -> bool {
    let part = |of: &Batch, it: &Batch| it.apart && it.cars.len() < of.cars.len() && of.cars.contains(&it.cars[0]);
    before.iter().any(|batch| !batch.apart && after.iter().any(|other| part(batch, other)))
}

fn why_leave(car: &Car, seen: &Observation) -> Option<Action> {
    let eject = |cause, reason: String| Some(Action::Eject { car: car.id.clone(), cause, reason });
    if seen.on_target.contains(&car.id) {
        return None;
    }
    if seen.stale.contains(&car.id) {
        return eject(EjectCause::Stale, "the claim it was submitted under is not the present one".to_owned());
    }
    match seen.heads.get(&car.id) {
        Some(head) if *head == car.commit => None,
        Some(head) => {
            let reason = format!("the head of {} moved to {head} after it was submitted; submit it again", car.branch);
            eject(EjectCause::Moved, reason)
        }
        None => eject(EjectCause::Moved, format!("branch {} is gone", car.branch)),
    }
}
