//! Which cars are tested together.
//!
//! One run for many cars is cheap when all of them are good, and says little when it fails. So a batch that fails on
//! the target alone is split in two, and each half is tested by itself, apart from the line: nobody should count on a
//! car that is bad one time in two. A half that passes goes back in line, at its end, together with others. What comes
//! after a batch that may well fail is worth little, so only as many stand in line as are likely to pass together, and
//! runs that are left over test other batches apart, too, which says something about them in any case.
//!
//! When a batch fails, the tests of those behind it are of no use, and they leave the line. What has passed by itself
//! goes in again first: it lands where the target has not moved since, and nobody who may be bad stands before it. Then
//! those of whom nothing is known are grouped anew, two by two at least where they would take half of all runs: begun
//! at the same time, they would be done at the same time.
//!
//! The last car of a batch that failed may be left with a tree that is known to fail, though nobody has tested the car
//! alone. It is tested alone before it is blamed, but after those that were there when the batch failed: most likely it
//! is bad. Once somebody is to blame, nothing is held against the rest of the batch, and what nobody has tested of it
//! is tested together again ([`Batch::blame`]).
//!
//! The sizes are those at which group testing pays: the more cars fail, the smaller. Guarantees: a car is in one batch;
//! nobody joins a batch that is tested, or cars of one that failed; cars of one batch are equally urgent.

use std::cmp::Reverse;

use super::{BatchPolicy, TrainPolicy};
use crate::domain::{Batch, Car, CarId, Priority, Train};

/// How many cars a batch has at most, for each time that a car fails: twice that many fail more often than they pass.
const EXPECTED_FAILURES: f64 = 0.4;
/// How likely what stands in line has to pass, all of it, for anybody to be put behind it.
const WORTH_WAITING_FOR: f64 = 0.4;
/// How much of the failure rate is left for cars that have passed apart from those they are put behind.
const LEFT_AFTER_PASSING: f64 = 0.3;

/// The batches as they were, without cars that are gone, the most urgent first; or, in line, every car with those only
/// that it lands together with.
pub(super) fn standing(train: &Train, ordered: &[&Car], policy: &TrainPolicy) -> Vec<Batch> {
    if !policy.tests_together() {
        let units = ordered.chunk_by(|one, other| one.goes_with(other));
        let ids = |unit: &[&Car]| unit.iter().map(|car| car.id.clone()).collect();
        return units.map(|unit| Batch::untested(ids(unit), false)).collect();
    }
    let mut batches = train.batches.clone();
    Batch::keep_cars(&mut batches, |id| ordered.iter().any(|car| car.id == *id));
    batches.sort_by_key(|batch| urgency(ordered, &batch.cars[0]));
    batches
}

/// How urgent a car is; what is less goes first.
pub(super) type Urgency = (Reverse<u32>, Priority);

/// How urgent a car is by itself.
pub(super) fn own_urgency(car: &Car) -> Urgency {
    (Reverse(car.promoted), car.priority)
}

/// How urgent a car is where it stands: no more than what it needs, and so no more than those before it.
pub(super) fn urgency(ordered: &[&Car], id: &CarId) -> Urgency {
    let up_to = ordered.iter().position(|car| car.id == *id).map_or(0, |place| place + 1);
    let urgency = ordered[..up_to].iter().map(|car| own_urgency(car)).max();
    urgency.unwrap_or((Reverse(0), Priority::default()))
}

/// The batches as they have to be remembered: not at all where every car stands for itself, in line. But where cars may
/// be tested together, whoever comes meanwhile must not be put together with one that is being tested.
pub(super) fn remembered(ordered: &[&Car], batches: Vec<Batch>, policy: &TrainPolicy) -> Vec<Batch> {
    let is_plain = |batch: &Batch| !batch.apart && middle(ordered, batch) == 0;
    if !policy.tests_together() && batches.iter().all(is_plain) { Vec::new() } else { batches }
}

/// Where a batch that failed is best split: in the middle, but not between cars that land together. 0: nowhere.
pub(super) fn middle(ordered: &[&Car], batch: &Batch) -> usize {
    let cars = &batch.cars;
    let may_split = |place: usize| !land_together(ordered, &cars[place - 1], &cars[place]);
    let half = cars.len() / 2;
    let places = (1..cars.len()).filter(|place| may_split(*place));
    places.min_by_key(|place| place.abs_diff(half)).unwrap_or(0)
}

/// Whether two cars land by the same move of the target in any case.
pub(super) fn land_together(ordered: &[&Car], one: &CarId, other: &CarId) -> bool {
    let car = |id: &CarId| ordered.iter().find(|car| car.id == *id);
    matches!((car(one), car(other)), (Some(one), Some(other)) if one.goes_with(other))
}

/// Batches whose candidate is not known to pass, as likely as they seem to.
pub(super) struct Odds {
    failure_rate: f64,
    /// That all that stand in line pass.
    line: f64,
}

impl Odds {
    pub(super) fn new(train: &Train) -> Odds {
        Odds { failure_rate: train.tally.failure_rate(), line: 1.0 }
    }

    /// Another batch stands in line.
    pub(super) fn behind(&mut self, batch: &Batch) {
        let left = if batch.tree.is_some() { LEFT_AFTER_PASSING } else { 1.0 };
        let cars = i32::try_from(batch.cars.len()).unwrap_or(i32::MAX);
        self.line *= (1.0 - left * self.failure_rate).powi(cars);
    }

    /// Whether more should be put behind what stands in line.
    pub(super) fn are_good(&self) -> bool {
        self.line >= WORTH_WAITING_FOR
    }

    /// How many cars to put together, of so many that wait for so many free runs.
    pub(super) fn size(&self, waiting: usize, free: usize, policy: BatchPolicy) -> usize {
        let allowed = policy.allowed();
        if policy.greedy {
            return waiting.min(allowed);
        }
        let free = free.max(1);
        // Some runs had better be left for what comes of the others.
        let size = if waiting > free { (3 * waiting).div_ceil(2 * free) } else { 1 };
        size.min(allowed).min(self.size_max())
    }

    fn size_max(&self) -> usize {
        ((EXPECTED_FAILURES / self.failure_rate).round() as usize).max(1)
    }

    /// Which of the batches that have passed apart go in line together: as many as are left runs for go by themselves.
    pub(super) fn together(&self, passed: &[(usize, usize)], free: usize, policy: BatchPolicy) -> Vec<usize> {
        let allowed = policy.allowed();
        let size_max = if policy.greedy { allowed } else { allowed.min(2 * self.size_max()) };
        let (mut chosen, mut size) = (Vec::new(), 0);
        for (index, cars) in passed {
            if chosen.is_empty() || (free < passed.len() && size + cars <= size_max) {
                size += cars;
                chosen.push(*index);
            }
        }
        chosen
    }
}

/// The next cars that are tested together: equally urgent, and of those that wait the first.
pub(super) fn next(ordered: &[&Car], waiting: &[&Car], size: usize) -> Vec<CarId> {
    let Some(first) = waiting.first() else { return Vec::new() };
    let urgency = |car: &Car| urgency(ordered, &car.id);
    let is_alone = |car: &Car| car.single || first.single;
    let fits = |car: &&&Car| car.goes_with(first) || (urgency(car) == urgency(first) && !is_alone(car));
    let alike: Vec<&&Car> = waiting.iter().take_while(fits).collect();
    // Who lands together is tested together.
    let last = alike.get(size.max(1) - 1).or(alike.last()).expect("BUG: there is a first");
    let count = alike.iter().rposition(|car| car.goes_with(last)).map_or(1, |place| place + 1);
    alike[..count].iter().map(|car| car.id.clone()).collect()
}
