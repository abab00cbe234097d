//! What people tell a train: to pause, to freeze what is less urgent, to go on, what goes first, and
//! what they approve of.

use std::collections::BTreeSet;

use super::cars::not_landing;
use super::runs::leave_batch;
use super::{Ruling, kept_reason};
use crate::domain::board::{Board, Draft};
use crate::domain::planner::in_order;
use crate::domain::train::{APPROVALS_MAX, Approval, Freeze};
use crate::domain::{Branch, Car, CarId, CarState, Command, Operation, Outcome, Priority, Refusal, Stop, Train};

/// Stops a train; or, with a priority, only what is less urgent than that. A pause that holds already keeps its reason.
pub(super) fn pause<B: Board>(
    draft: &mut Draft<'_, B>,
    target: &Branch,
    reason: &str,
    below: Option<Priority>,
) -> Ruling<B::Fault> {
    let mut train = draft.train(target)?.unwrap_or_else(|| Train::new(target.clone()));
    let reason = kept_reason(reason);
    let changed = match below {
        None => train.paused.is_none(),
        Some(below) => train.frozen.as_ref().is_none_or(|freeze| freeze.below != below),
    };
    if changed {
        match below {
            None => train.paused = Some(reason),
            Some(below) => train.frozen = Some(Freeze { below, reason }),
        }
        draft.put_train(train);
    }
    Ok(Outcome::Train { changed })
}

/// Lets a train go on, whatever it was that stopped it.
pub(super) fn resume<B: Board>(draft: &mut Draft<'_, B>, target: &Branch) -> Ruling<B::Fault> {
    let mut train = draft.train(target)?.unwrap_or_else(|| Train::new(target.clone()));
    let changed = train.paused.is_some() || train.frozen.is_some();
    if changed {
        (train.paused, train.frozen) = (None, None);
        draft.put_train(train);
    }
    Ok(Outcome::Train { changed })
}

/// Puts a car first, and the cars it needs before it.
pub(super) fn promote<B: Board>(draft: &mut Draft<'_, B>, target: &Branch, id: &CarId) -> Ruling<B::Fault> {
    let cars = draft.open_cars(target)?;
    if !cars.iter().any(|car| car.id == *id) {
        return Err(Stop::Refused(Refusal::NoSuchCar(id.clone())));
    }
    let needed = with_needed(&cars, id);
    let chosen: Vec<Car> = cars.iter().filter(|car| needed.contains(&car.id)).cloned().collect();
    let first: Vec<CarId> = in_order(&chosen).into_iter().map(|car| car.id.clone()).collect();
    let goes_first = in_order(&cars).into_iter().map(|car| &car.id).take(first.len()).eq(&first);
    // A pass may choose another order among those that nobody has put before others.
    let others = cars.iter().filter(|car| !first.contains(&car.id));
    let before = others.map(|car| car.promoted).max();
    let changed = !goes_first || before.is_some_and(|before| chosen.iter().any(|car| car.promoted <= before));
    if changed {
        let rank = before_all(&cars);
        for mut car in chosen {
            car.promoted = rank;
            draft.put_car(car);
        }
        if let Some(mut train) = draft.train(target)?.filter(|_| !goes_first) {
            first.iter().for_each(|id| leave_batch(&mut train, id));
            draft.put_train(train);
        }
        name_runs_anew(draft, target)?;
    }
    Ok(Outcome::Promoted { cars: first, changed })
}

/// What a car has to be promoted to, to go before all of `cars`.
pub(super) fn before_all(cars: &[Car]) -> u32 {
    cars.iter().map(|car| car.promoted).max().unwrap_or_default().saturating_add(1)
}

/// A car and all that it needs, near and far.
fn with_needed<'c>(cars: &'c [Car], id: &'c CarId) -> BTreeSet<&'c CarId> {
    let mut found = BTreeSet::new();
    let mut open = vec![id];
    while let Some(next) = open.pop() {
        if let Some(car) = cars.iter().find(|car| car.id == *next)
            && found.insert(&car.id)
        {
            open.extend(car.after.iter().chain(&car.together));
        }
    }
    found
}

/// Names the cars of each run in the order in which they land now. What is tested is a tree: where the cars make the
/// same one in the new order, the run is still of use, for the last of them. Where they do not, the next pass gives it
/// up.
fn name_runs_anew<B: Board>(draft: &mut Draft<'_, B>, target: &Branch) -> Result<(), Stop<B::Fault>> {
    let Some(mut train) = draft.train(target)?.filter(|train| !train.runs.is_empty()) else { return Ok(()) };
    let cars = draft.open_cars(target)?;
    let order: Vec<CarId> = in_order(&cars).into_iter().map(|car| car.id.clone()).collect();
    for run in &mut train.runs {
        run.cars.sort_by_key(|id| order.iter().position(|other| other == id));
    }
    for mut car in cars {
        let tested = train.runs.iter().any(|run| run.tested().contains(&car.id));
        let state = if tested { CarState::Testing } else { CarState::Queued };
        if state != car.state {
            car.state = state;
            draft.put_car(car);
        }
    }
    draft.put_train(train);
    Ok(())
}

/// Notes that somebody approves of a car, or does no more. Each has one say, and none on what they submitted, from
/// whichever of their clones.
pub(super) fn approve<B: Board>(draft: &mut Draft<'_, B>, operation: &Operation) -> Ruling<B::Fault> {
    let Command::Approve { target, car: id, commit, withdraw } = &operation.command else {
        unreachable!("BUG: only an approval is decided here")
    };
    let by = &operation.by;
    let refused = |refusal| Err(Stop::Refused(refusal));
    let Some(mut car) = draft.car(target, id)?.filter(|car| car.state.is_open()) else {
        return refused(Refusal::NoSuchCar(id.clone()));
    };
    if car.commit != *commit {
        return refused(Refusal::TrainChanged(format!("{id} was submitted again, as {}", car.commit)));
    }
    if *withdraw {
        not_landing(draft, target, id)?;
    } else if car.submitted_by.is_same_person(by) {
        return refused(Refusal::OwnCar(id.clone()));
    }
    let approves = car.approvals.iter().any(|approval| approval.by.is_same_person(by));
    let changed = approves == *withdraw;
    if changed {
        if *withdraw {
            car.approvals.retain(|approval| !approval.by.is_same_person(by));
        } else if car.approvals.len() >= APPROVALS_MAX {
            let (what, size) = ("approvals of one car", car.approvals.len() + 1);
            return refused(Refusal::TooLarge { what, size, size_max: APPROVALS_MAX });
        } else {
            car.approvals.push(Approval { by: by.clone(), commit: commit.clone(), at: operation.at });
        }
        draft.put_car(car.clone());
    }
    let approvals = u32::try_from(car.approved_by().count()).unwrap_or(u32::MAX);
    Ok(Outcome::Approved { approvals, changed })
}
