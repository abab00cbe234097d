//! Why a car waits whatever its tests say: because people hold it back.
//!
//! Guarantees: pure and total; a car that needs one that is held back is held back itself, so that what is left can be
//! planned as if the others were not there. Must not know candidates, runs and verdicts.

use std::collections::BTreeMap;

use super::planner::in_order;
use super::{Car, CarId, Train};

/// The cars that are held back, each with the reason.
///
/// `approvals`: how many a car needs for its commit.
pub fn held_back<'c>(train: &Train, cars: &'c [Car], approvals: u32) -> BTreeMap<&'c CarId, String> {
    let mut held: BTreeMap<&CarId, String> = BTreeMap::new();
    // Those that a car needs come before it, so one look at each is enough.
    for car in in_order(cars) {
        let first = car.after.iter().find(|first| held.contains_key(first));
        let reason = match (why_held(train, car, approvals), first) {
            (Some(reason), _) => reason,
            (None, Some(first)) => format!("{first}, which it needs, waits too"),
            (None, None) => continue,
        };
        held.insert(&car.id, reason);
    }
    held
}

/// Why this car by itself is held back, if it is.
pub fn why_held(train: &Train, car: &Car, approvals: u32) -> Option<String> {
    if let Some(freeze) = train.frozen.as_ref().filter(|freeze| car.priority > freeze.below) {
        return Some(format!("everything below {} is frozen: {}", freeze.below, freeze.reason));
    }
    let has = car.approved_by().count();
    let lacks = has < approvals as usize;
    lacks.then(|| format!("it has {has} of the {approvals} approvals that {} needs", car.commit))
}
