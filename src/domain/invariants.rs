//! What must hold of every board, whatever happened to it. Checked by tests, by the simulator and by `doctor`.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::board::{Board, MemoryBoard};
use super::claim::{Claim, Fence, Grant};
use super::{Car, CarId, CarState, LockMode, Task, TaskId, TaskState, Train};

/// Everything that is wrong with `board`; empty when nothing is.
pub fn check_invariants(board: &MemoryBoard) -> Vec<String> {
    let mut broken = Vec::new();
    let Ok(counters) = board.counters();
    let Some(counters) = counters else {
        if board.tasks().next().is_some() {
            broken.push("there are tasks but no counters".to_owned());
        }
        return broken;
    };
    let Ok(grants) = board.grants();
    let tasks: BTreeMap<&TaskId, &Task> = board.tasks().map(|task| (&task.summary.id, task)).collect();
    let mut seqs = BTreeSet::new();
    for task in tasks.values() {
        if task.summary.seq > counters.seq || !seqs.insert(task.summary.seq) {
            broken.push(format!("task {} has sequence number {} of another", task.summary.id, task.summary.seq));
        }
        check_needs(task, &tasks, &mut broken);
        check_claim(task, &grants, &mut broken);
        check_ending(task, &mut broken);
    }
    check_grants(&grants, counters.fence, &tasks, &mut broken);
    check_cars(board, &tasks, &grants, &mut broken);
    let Ok(trains) = board.trains();
    for train in &trains {
        check_train(board, train, &mut broken);
    }
    broken
}

fn check_needs(task: &Task, tasks: &BTreeMap<&TaskId, &Task>, broken: &mut Vec<String>) {
    let id = &task.summary.id;
    let mut open = Vec::new();
    for needed in &task.summary.needs {
        match tasks.get(needed) {
            None => broken.push(format!("task {id} needs {needed}, which does not exist")),
            Some(needed) => {
                if !needed.needed_by.contains(id) {
                    broken.push(format!("task {} does not know that {id} needs it", needed.summary.id));
                }
                if !needed.summary.state.satisfies() {
                    open.push(&needed.summary.id);
                }
            }
        }
    }
    for dependant in &task.needed_by {
        if !tasks.get(dependant).is_some_and(|dependant| dependant.summary.needs.contains(id)) {
            broken.push(format!("task {id} is not needed by {dependant}"));
        }
    }
    match task.summary.state {
        TaskState::Queued if !open.is_empty() || task.held_back => {
            broken.push(format!("task {id} is queued but blocked by {open:?}"));
        }
        TaskState::Blocked if open.is_empty() && !task.held_back => {
            broken.push(format!("task {id} is blocked by nothing"));
        }
        TaskState::Landed if task.landed_as.is_none() => broken.push(format!("task {id} landed as nothing")),
        _ => {}
    }
    if reaches_itself(task, tasks) {
        broken.push(format!("task {id} needs itself in the end"));
    }
}

fn reaches_itself(task: &Task, tasks: &BTreeMap<&TaskId, &Task>) -> bool {
    let mut open: Vec<&TaskId> = task.summary.needs.iter().collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if *id == task.summary.id {
            return true;
        }
        if seen.insert(id) {
            open.extend(tasks.get(id).iter().flat_map(|task| task.summary.needs.iter()));
        }
    }
    false
}

fn claim_by(grants: &[Rc<Grant>], fence: Fence) -> Option<&Claim> {
    grants.iter().find_map(|grant| match &**grant {
        Grant::Claim(claim) if claim.fence == fence => Some(claim),
        _ => None,
    })
}

fn check_claim(task: &Task, grants: &[Rc<Grant>], broken: &mut Vec<String>) {
    let id = &task.summary.id;
    let state = task.summary.state;
    let held = matches!(state, TaskState::Claimed | TaskState::Submitted);
    match (held, task.summary.claim.map(|fence| (fence, claim_by(grants, fence)))) {
        (true, Some((_, Some(claim)))) => {
            if claim.task != *id {
                broken.push(format!("the claim of {id} is one of {}", claim.task));
            }
            if claim.submitted != (state == TaskState::Submitted) {
                broken.push(format!("task {id} is {state} but its claim says otherwise"));
            }
        }
        (true, _) => broken.push(format!("task {id} is {state} but nobody holds it")),
        (false, Some((fence, _))) => broken.push(format!("task {id} is {state} but has the claim {fence}")),
        (false, None) => {}
    }
}

fn check_ending(task: &Task, broken: &mut Vec<String>) {
    let (id, state) = (&task.summary.id, task.summary.state);
    if state.is_closed() != task.closed_at.is_some() {
        broken.push(format!("task {id} is {state}, closed at {:?}", task.closed_at));
    }
    if task.held_back && state != TaskState::Blocked {
        broken.push(format!("task {id} is {state}, but held back"));
    }
}

fn check_grants(grants: &[Rc<Grant>], last: Fence, tasks: &BTreeMap<&TaskId, &Task>, broken: &mut Vec<String>) {
    let mut branches = BTreeSet::new();
    for (index, grant) in grants.iter().enumerate() {
        if grant.fence() > last {
            broken.push(format!("fence {} was never granted", grant.fence()));
        }
        if let Grant::Claim(claim) = &**grant
            && tasks.get(&claim.task).is_none_or(|task| task.summary.claim != Some(claim.fence))
        {
            broken.push(format!("claim {} is not the claim of {}", claim.fence, claim.task));
        }
        if let Grant::Claim(claim) = &**grant
            && !branches.insert(&claim.branch)
        {
            broken.push(format!("two claims work on {}", claim.branch));
        }
        for other in &grants[index + 1..] {
            if grant.fence() == other.fence() {
                broken.push(format!("fence {} was granted twice", grant.fence()));
            }
            let own_lock = grant.holder() == other.holder()
                && (matches!(**grant, Grant::Lock(_)) || matches!(**other, Grant::Lock(_)));
            let both_shared = grant.mode() == LockMode::Shared && other.mode() == LockMode::Shared;
            if !own_lock
                && !both_shared
                && let Some((a, b)) = grant.conflict(other.patterns(), other.mode())
            {
                broken.push(format!("fences {} and {} both hold {a} and {b}", grant.fence(), other.fence()));
            }
        }
    }
}

fn check_cars(board: &MemoryBoard, tasks: &BTreeMap<&TaskId, &Task>, grants: &[Rc<Grant>], broken: &mut Vec<String>) {
    let open: Vec<&Car> = board.cars().filter(|car| car.state.is_open()).collect();
    for task in tasks.values().filter(|task| task.summary.state == TaskState::Submitted) {
        let id = &task.summary.id;
        let count = open.iter().filter(|car| car.task.as_ref().is_some_and(|of| of.id == *id)).count();
        if count != 1 {
            broken.push(format!("task {id} is submitted and has {count} cars in trains"));
        }
    }
    for car in open {
        if let Some(of) = &car.task {
            let current = claim_by(grants, of.fence).is_some_and(|claim| claim.task == of.id && claim.submitted);
            if !current {
                broken.push(format!("car {} is in the train under fence {}, which is gone", car.id, of.fence));
            }
        }
    }
}

fn check_train(board: &MemoryBoard, train: &Train, broken: &mut Vec<String>) {
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
        let in_a_run = train.runs.iter().any(|run| run.tested().contains(&car.id));
        if car.state == CarState::Testing && !in_a_run {
            broken.push(format!("car {} is in testing, but in no run", car.id));
        }
        if let Some(first) = car.after.iter().find(|first| !is_open(first)) {
            broken.push(format!("car {} waits for {first}, which is not on its way", car.id));
        }
    }
}
