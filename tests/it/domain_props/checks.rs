//! What must hold of every step from one board to the next.

use std::collections::BTreeMap;

use git_scrum::domain::board::{Board, MemoryBoard};
use git_scrum::domain::rules::recovers;
use git_scrum::domain::{Branch, Changes, Command, Counters, Fence, Grant, ObjectId, Operation, Outcome, TaskState};

fn counters(board: &MemoryBoard) -> Counters {
    let Ok(counters) = board.counters();
    counters.unwrap_or(Counters {
        target: Branch::parse("main").expect("main is a branch"),
        fence: Fence(0),
        seq: 0,
        numbered: 0,
    })
}

/// What landed is what was tested: the candidate that landed a car was made of the car's commit.
pub(super) fn check_landed(board: &MemoryBoard, made_of: &BTreeMap<ObjectId, Vec<ObjectId>>) -> Vec<String> {
    let landed = board.cars().filter_map(|car| Some((car, made_of.get(car.landed_as.as_ref()?)?)));
    let lost = landed.filter(|(car, commits)| !commits.contains(&car.commit));
    lost.map(|(car, _)| format!("car {} landed, but {} is not on the target", car.id, car.commit)).collect()
}

/// What was changed is there to be read.
pub(super) fn check_written(board: &MemoryBoard, changes: &Changes) -> Vec<String> {
    let mut broken = Vec::new();
    for (id, written) in &changes.tasks {
        let Ok(found) = board.task(id);
        if found.as_ref() != Some(written) {
            broken.push(format!("task {id} was not written"));
        }
    }
    for (fence, written) in &changes.grants {
        let Ok(found) = board.grant(*fence);
        if found != *written {
            broken.push(format!("grant {fence} was not written"));
        }
    }
    for ((target, id), written) in &changes.cars {
        let Ok(found) = board.car(target, id);
        if found.as_ref() != Some(written) {
            broken.push(format!("car {id} was not written"));
        }
    }
    broken
}

/// What must hold of every step from one board to the next.
pub(super) fn check_step(
    before: &MemoryBoard,
    after: &MemoryBoard,
    operation: &Operation,
    outcome: &Outcome,
) -> Vec<String> {
    let mut broken = Vec::new();
    let (old, new) = (counters(before), counters(after));
    if new.fence < old.fence || new.seq < old.seq || new.numbered < old.numbered {
        broken.push("a counter went back".to_owned());
    }
    for task in before.tasks().filter(|task| matches!(task.summary.state, TaskState::Landed | TaskState::Done)) {
        let Ok(now) = after.task(&task.summary.id);
        if now.is_none_or(|now| now.summary.state != task.summary.state) {
            broken.push(format!("task {} was finished and is not any more", task.summary.id));
        }
    }
    let (Ok(grants), Ok(grants_now)) = (before.grants(), after.grants());
    for grant in &grants_now {
        let known = grants.iter().any(|known| known.fence() == grant.fence());
        if !known && grant.fence() <= old.fence {
            broken.push(format!("fence {} was granted again", grant.fence()));
        }
    }
    for grant in &grants {
        let gone = grants_now.iter().all(|now| now.fence() != grant.fence());
        if gone && !may_go(grant, operation, outcome) {
            broken.push(format!("fence {} of {} ended by {:?}", grant.fence(), grant.holder(), operation.command));
        }
    }
    broken
}

/// Whether a grant may end by an operation: nobody loses what they hold to somebody who merely asks.
fn may_go(grant: &Grant, operation: &Operation, outcome: &Outcome) -> bool {
    let own = *grant.holder() == operation.by;
    let listed = operation.overdue.as_ref().map(|listed| listed.iter().find(|listed| listed.fence == grant.fence()));
    let run_out = |beat| grant.has_run_out(beat, operation.at, operation.skew);
    if let Some(Some(listed)) = listed
        && recovers(&operation.command)
        && run_out(listed.beat)
    {
        return true;
    }
    match &operation.command {
        Command::Claim { .. } | Command::Lock { .. } => listed.is_none() && run_out(None),
        Command::Release { fence, force, .. } => *force || own || *fence == Some(grant.fence()),
        Command::Fail { fence, .. } | Command::Done { fence, .. } => own || *fence == Some(grant.fence()),
        Command::Unlock { patterns, force } => own || (*force && !patterns.is_empty()),
        Command::Cancel { task, .. } => grant.task() == Some(task),
        Command::Eject { .. } => matches!(outcome, Outcome::Ejected { cars } if !cars.is_empty()),
        Command::Land { .. } => matches!(outcome, Outcome::Landed { cars, .. } if !cars.is_empty()),
        _ => false,
    }
}
