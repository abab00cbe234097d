//! Why a car waits whatever its tests say: because people hold it back.
//!
//! Guarantees: pure and total; a car that needs one that is held back is held back itself, so that what is left can be
//! planned as if the others were not there. Must not know candidates, runs and verdicts.

use std::collections::BTreeMap;

use super::{Car, CarId, Train};

/// The cars that are held back, each with the reason.
///
/// `approvals`: how many a car needs for its commit.
pub fn held_back<'c>(train: &Train, cars: &'c [Car], approvals: u32) -> BTreeMap<&'c CarId, String> {
    let by_itself = |car: &'c Car| {
        let reason = why_held(train, car, approvals).or_else(|| why_incomplete(car, cars))?;
        Some((&car.id, reason))
    };
    let mut held: BTreeMap<&CarId, String> = cars.iter().filter_map(by_itself).collect();
    // Whoever needs one of them, or lands together with one, waits as well.
    loop {
        let with_others = |car: &'c Car| {
            let waits = |id: &&CarId| held.contains_key(id);
            let needed = car.after.iter().find(waits).map(|first| format!("{first}, which it needs, waits too"));
            let company = || car.together.iter().find(waits);
            let company = || company().map(|other| format!("{other}, with which it lands together, waits too"));
            Some((&car.id, needed.or_else(company)?))
        };
        let next = cars.iter().filter(|car| !held.contains_key(&car.id)).find_map(with_others);
        let Some((id, reason)) = next else { return held };
        held.insert(id, reason);
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
