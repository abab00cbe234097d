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
        let reason = match (why_held(train, car, approvals), why_incomplete(car, cars), first) {
            (Some(reason), ..) | (None, Some(reason), _) => reason,
            (None, None, Some(first)) => format!("{first}, which it needs, waits too"),
            (None, None, None) => continue,
        };
        held.insert(&car.id, reason);
    }
    // Who lands together waits together.
    loop {
        let waits = |car: &&Car| held.keys().any(|id| car.together.contains(id) || car.after.contains(id));
        let Some(car) = cars.iter().filter(|car| !held.contains_key(&car.id)).find(waits) else { return held };
        let other = car.together.iter().chain(&car.after).find(|id| held.contains_key(id));
        held.insert(&car.id, format!("{}, without which it does not land, waits too", other.expect("BUG: it waits")));
    }
}

/// What a car waits for before those that it lands together with are all there, if it does.
fn why_incomplete(car: &Car, cars: &[Car]) -> Option<String> {
    let is_there = |id: &&CarId| cars.iter().any(|other| other.id == **id && other.goes_with(car));
    let missing = car.together.iter().find(|id| !is_there(id))?;
    Some(format!("{missing}, with which it lands together, has not been submitted with it"))
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
