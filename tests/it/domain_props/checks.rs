//! What must hold of every board, and of every step from one board to the next, beside what the program itself checks.

use std::collections::{BTreeMap, BTreeSet};

use git_scrum::domain::board::{Board, MemoryBoard};
use git_scrum::domain::{
    Branch, CarId, CarState, Changes, Command, Counters, Fence, Grant, ObjectId, Operation, Outcome, TaskState, Train,
};

fn counters(board: &MemoryBoard) -> Counters {
    let Ok(counters) = board.counters();
    counters.unwrap_or(Counters {
        target: Branch::parse("main").expect("main is a branch"),
        fence: Fence(0),
        seq: 0,
        numbered: 0,
    })
}

/// What must hold of every board beside what `check_invariants` says.
pub(super) fn check_more(board: &MemoryBoard) -> Vec<String> {
    let mut broken = Vec::new();
    for task in board.tasks() {
        let (id, state) = (&task.summary.id, task.summary.state);
        if state.is_closed() != task.closed_at.is_some() {
            broken.push(format!("task {id} is {state}, closed at {:?}", task.closed_at));
        }
        if task.held_back && state != TaskState::Blocked {
            broken.push(format!("task {id} is {state}, but held back"));
        }
    }
    let Ok(grants) = board.grants();
    let mut branches = BTreeSet::new();
    for grant in &grants {
        if let Grant::Claim(claim) = grant
            && !branches.insert(&claim.branch)
        {
            broken.push(format!("two claims work on {}", claim.branch));
        }
    }
    let Ok(trains) = board.trains();
    for train in trains {
        broken.extend(check_train(board, &train));
    }
    broken
}

fn check_train(board: &MemoryBoard, train: &Train) -> Vec<String> {
    let mut broken = Vec::new();
    let Ok(open) = board.open_cars(&train.target);
    let is_open = |id: &CarId| open.iter().any(|car| car.id == *id);
    let mut positions = BTreeSet::new();
    for car in board.cars().filter(|car| car.target == train.target) {
        if car.position >= train.next_position || !positions.insert(car.position) {
            broken.push(format!("car {} is at position {}, like another, or like the next", car.id, car.position));
        }
        if (car.state == CarState::Landed) != car.landed_as.is_some() {
            broken.push(format!("car {} is {}, landed as {:?}", car.id, car.state, car.landed_as));
        }
    }
    for car in &open {
        let in_a_run = train.runs.iter().any(|run| run.cars.contains(&car.id));
        if car.state == CarState::Testing && !in_a_run {
            broken.push(format!("car {} is in testing, but in no run", car.id));
        }
        if let Some(first) = car.after.iter().find(|first| !is_open(first)) {
            broken.push(format!("car {} waits for {first}, which is not on its way", car.id));
        }
    }
    for run in &train.runs {
        if let Some(gone) = run.cars.iter().find(|id| !is_open(id)) {
            broken.push(format!("run {} has car {gone}, which has left", run.commit));
        }
    }
    broken
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
    match &operation.command {
        Command::Claim { .. } | Command::Lock { .. } => grant.has_run_out(operation.at, operation.skew),
        Command::Release { fence, force, .. } => *force || own || *fence == Some(grant.fence()),
        Command::Fail { fence, .. } | Command::Done { fence, .. } => own || *fence == Some(grant.fence()),
        Command::Unlock { patterns, force } => own || (*force && !patterns.is_empty()),
        Command::Cancel { task, .. } => grant.task() == Some(task),
        Command::Eject { .. } => matches!(outcome, Outcome::Ejected { cars } if !cars.is_empty()),
        Command::Land { .. } => matches!(outcome, Outcome::Landed { cars, .. } if !cars.is_empty()),
        _ => false,
    }
}
