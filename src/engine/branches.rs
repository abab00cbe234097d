//! What became of branches: whose work is done, and may go.
//!
//! Guarantees: a branch is called landed only while it is what landed, to the commit, and its target still has that;
//! nothing is said of branches that the board does not know. Must not remove anything.

use std::collections::BTreeSet;

use super::board::Engine;
use super::error::EngineError;
use super::journal::Journal;
use super::ports::{Code, Host};
use crate::domain::board::Board;
use crate::domain::{Branch, Car, CarId, CarState, Grant, ObjectId, TaskId};
use crate::ledger::Store;

/// What became of a branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Somebody works on it.
    Claimed,
    /// It waits in a train.
    InTrain,
    /// All of it has landed: nothing is lost with it.
    Landed,
    /// Something was added to it after it had landed.
    Grown,
    /// It had landed, and its target was moved back since: what it brought is not there any more.
    Lost,
    /// It has left its train without landing.
    Ejected,
    /// Its task is over, and it never was in a train.
    Over,
}

impl Fate {
    /// The word users read.
    pub fn as_str(self) -> &'static str {
        match self {
            Fate::Claimed => "claimed",
            Fate::InTrain => "in-train",
            Fate::Landed => "landed",
            Fate::Grown => "grown",
            Fate::Lost => "lost",
            Fate::Ejected => "ejected",
            Fate::Over => "over",
        }
    }

    /// Whether nobody needs it any more, as far as the board knows.
    pub fn is_stale(self) -> bool {
        !matches!(self, Fate::Claimed | Fate::InTrain)
    }
}

/// A branch that the board knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Which.
    pub branch: Branch,
    /// Its head.
    pub head: ObjectId,
    /// What became of it.
    pub fate: Fate,
    /// The target it landed on, or was to land on.
    pub target: Option<Branch>,
    /// The task it does.
    pub task: Option<TaskId>,
}

impl<S: Store, H: Host, J: Journal> Engine<'_, S, H, J> {
    /// What became of those of `branches` that the board knows. `task_of` finds the task that a branch is named after.
    pub fn fates(
        &self,
        branches: Vec<(Branch, ObjectId)>,
        task_of: impl Fn(&Branch) -> Option<TaskId>,
        code: &impl Code,
    ) -> Result<Vec<Known>, EngineError> {
        let found = self.read(true, |board| {
            let targets: Vec<Branch> = board.trains()?.into_iter().map(|train| train.target).collect();
            let claimed: Vec<Branch> = board.grants()?.iter().filter_map(|grant| branch_of(grant)).collect();
            let mut found = Vec::new();
            for (branch, head) in branches.into_iter().filter(|(branch, _)| !targets.contains(branch)) {
                let task = task_of(&branch);
                let cars = cars_of(board, &targets, &branch, task.as_ref())?;
                // What was asked for last counts, also where it came to nothing: a branch that is on one target may be
                // needed to get to another.
                let car = cars
                    .into_iter()
                    .max_by_key(|car| (car.state.is_open(), car.submitted_at, car.state == CarState::Ejected));
                let is_open = match &task {
                    Some(task) => board.task(task)?.map(|task| !task.summary.state.is_closed()),
                    None => None,
                };
                let fate = match (&car, is_open) {
                    (Some(car), _) if car.state.is_open() => Fate::InTrain,
                    _ if claimed.contains(&branch) => Fate::Claimed,
                    (Some(car), _) if car.state == CarState::Ejected => Fate::Ejected,
                    (Some(car), _) => {
                        if car.commit == head {
                            Fate::Landed
                        } else {
                            Fate::Grown
                        }
                    }
                    (None, Some(false)) => Fate::Over,
                    // Whoever claims its task next goes on with another branch, but may look at this one.
                    (None, Some(true)) => Fate::Ejected,
                    (None, None) => continue,
                };
                let target = car.as_ref().map(|car| car.target.clone());
                found.push((Known { branch, head, fate, target, task }, car));
            }
            Ok(found)
        })?;
        let landed = found.iter().filter(|(known, _)| known.fate == Fate::Landed);
        let targets: BTreeSet<Branch> = landed.filter_map(|(known, _)| known.target.clone()).collect();
        if !targets.is_empty() {
            code.refresh(&targets.into_iter().collect::<Vec<_>>())?;
        }
        let mut known = Vec::new();
        for (mut one, car) in found {
            if let Some(car) = car.filter(|_| one.fate == Fate::Landed)
                && !is_there(&car, code)?
            {
                one.fate = Fate::Lost;
            }
            known.push(one);
        }
        Ok(known)
    }
}

/// The cars that a branch is or was on the way to `targets` as, under its own name or that of the `task` it is named
/// after.
pub(super) fn cars_of<B: Board>(
    board: &B,
    targets: &[Branch],
    branch: &Branch,
    task: Option<&TaskId>,
) -> Result<Vec<Car>, B::Fault> {
    let mut cars = Vec::new();
    for target in targets {
        for id in [Some(CarId::from(branch)), task.map(CarId::from)].into_iter().flatten() {
            cars.extend(board.car(target, &id)?.filter(|found| found.branch == *branch));
        }
    }
    Ok(cars)
}

/// Whether the target of a car that landed has now what landed there.
fn is_there(car: &Car, code: &impl Code) -> Result<bool, EngineError> {
    let landed_as = car.landed_as.as_ref().unwrap_or(&car.commit);
    Ok(match code.head(&car.target)? {
        Some(tip) => code.contains(&tip, landed_as)?,
        None => false,
    })
}

fn branch_of(grant: &Grant) -> Option<Branch> {
    match grant {
        Grant::Claim(claim) => Some(claim.branch.clone()),
        Grant::Lock(_) => None,
    }
}
