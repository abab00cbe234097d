//! Domain values as JSON and as text.

use serde_json::{Value, json};

use crate::domain::claim::Claim;
use crate::domain::planner::Action;
use crate::domain::{Car, Run, Summary, Task, Team, Train};

/// Text that is safe on a terminal: control characters and those that reorder text are escaped.
pub(super) fn clean(text: &str) -> String {
    let hidden = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut cleaned = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) {
            cleaned.extend(c.escape_unicode());
        } else {
            cleaned.push(c);
        }
    }
    cleaned
}

/// Text that is safe in one line of a terminal: line breaks and tabs are escaped, too.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\n' | '\t') { line.extend(c.escape_default()) } else { line.push(c) }
    }
    clean(&line)
}

/// A claim, as part of its task.
pub(super) fn claim(claim: &Claim) -> Value {
    json!({
        "fence": claim.fence.0,
        "holder": claim.holder.as_str(),
        "team": claim.team.as_ref().map(|team| team.as_str()),
        "lease_until": claim.lease.until().to_string(),
        "branch": claim.branch.as_str(),
        "submitted": claim.submitted,
    })
}

/// A task as lists show it.
pub(super) fn summary(task: &Summary, held: Option<&Claim>) -> Value {
    json!({
        "id": task.id.as_str(),
        "title": task.title,
        "state": task.state.as_str(),
        "priority": task.priority.as_str(),
        "type": task.kind.as_ref().map(|kind| kind.as_str()),
        "size": task.size.map(|size| size.as_str()),
        "labels": task.labels.iter().map(|label| label.as_str()).collect::<Vec<_>>(),
        "needs": task.needs.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        "paths": task.paths.iter().map(|path| path.as_str()).collect::<Vec<_>>(),
        "claim": held.map(claim),
    })
}

/// Everything about a task.
pub(super) fn task(task: &Task, held: Option<&Claim>) -> Value {
    let mut value = summary(&task.summary, held);
    let more = json!({
        "body": task.body,
        "needed_by": task.needed_by.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        "created_at": task.created_at.to_string(),
        "created_by": task.created_by.as_str(),
        "closed_at": task.closed_at.map(|at| at.to_string()),
        "failures": task.failures,
        "reason": task.reason,
        "landed_as": task.landed_as.as_ref().map(|id| id.as_str()),
    });
    merge(&mut value, more);
    value
}

/// Puts the fields of one object into another.
pub(super) fn merge(into: &mut Value, from: Value) {
    if let (Some(into), Value::Object(from)) = (into.as_object_mut(), from) {
        into.extend(from);
    }
}

/// A team.
pub(super) fn team(team: &Team) -> Value {
    json!({
        "name": team.name.as_str(),
        "labels": team.labels.iter().map(|label| label.as_str()).collect::<Vec<_>>(),
        "capacity": team.capacity,
        "size_max": team.size_max.map(|size| size.as_str()),
    })
}

/// A car.
pub(super) fn car(car: &Car) -> Value {
    json!({
        "id": car.id.as_str(),
        "position": car.position,
        "state": car.state.as_str(),
        "commit": car.commit.as_str(),
        "reason": car.reason,
        "branch": car.branch.as_str(),
        "title": car.title,
        "priority": car.priority.as_str(),
        "task": car.task.as_ref().map(|task| task.id.as_str()),
        "after": car.after.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        "together": car.together.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        "single": car.single,
        "promoted": car.promoted > 0,
        "approved_by": car.approved_by().map(|by| by.as_str()).collect::<Vec<_>>(),
        "landed_as": car.landed_as.as_ref().map(|id| id.as_str()),
    })
}

/// A car, with what it waits for now if nothing else is said of it.
pub(super) fn car_because(car: &Car, reason: Option<&String>) -> Value {
    let mut value = self::car(car);
    if car.state.is_open() {
        merge(&mut value, json!({ "reason": car.reason.as_ref().or(reason) }));
    }
    value
}

/// What a train holds back; null where it holds back nothing, or everything.
pub(super) fn freeze(train: &Train) -> Value {
    train
        .frozen
        .as_ref()
        .map_or(Value::Null, |freeze| json!({ "below": freeze.below.as_str(), "reason": freeze.reason }))
}

/// A run.
pub(super) fn run(run: &Run) -> Value {
    json!({
        "id": run.commit.as_str(),
        "commit": run.commit.as_str(),
        "tree": run.tree.as_str(),
        "cars": run.cars.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
        "state": run.state.as_str(),
        "started_at": run.started_at.to_string(),
    })
}

/// An action of the train.
pub(super) fn action(action: &Action) -> Value {
    let ids = |cars: &[crate::domain::CarId]| cars.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>();
    match action {
        Action::StartRun { cars, commit, tree, .. } => {
            json!({ "kind": "start-run", "cars": ids(cars), "commit": commit.as_str(), "tree": tree.as_str() })
        }
        Action::CancelRun { cars, commit, tree } => {
            json!({ "kind": "cancel-run", "cars": ids(cars), "commit": commit.as_str(), "tree": tree.as_str() })
        }
        Action::ReuseVerdict { cars, commit, tree, verdict } => json!({
            "kind": "reuse-verdict", "cars": ids(cars), "commit": commit.as_str(), "tree": tree.as_str(),
            "verdict": verdict.as_str(),
        }),
        Action::Land { cars, from, to, .. } => {
            json!({ "kind": "land", "cars": ids(cars), "from": from.as_str(), "to": to.as_str() })
        }
        Action::Eject { car, reason, .. } => json!({ "kind": "eject", "car": car.as_str(), "reason": reason }),
        Action::Wait { car, reason } => json!({ "kind": "wait", "car": car.as_str(), "reason": reason }),
    }
}

/// An action of the train, for people.
pub(super) fn action_line(action: &Action) -> String {
    let ids =
        |cars: &[crate::domain::CarId]| cars.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>().join(", ");
    match action {
        Action::StartRun { cars, commit, .. } => format!("test {} as {}", ids(cars), short(commit.as_str())),
        Action::CancelRun { cars, commit, .. } => {
            format!("no more test of {} as {}", ids(cars), short(commit.as_str()))
        }
        Action::ReuseVerdict { cars, verdict, .. } => format!("{}: this tree is known, {verdict}", ids(cars)),
        Action::Land { cars, to, .. } => format!("land {} as {}", ids(cars), short(to.as_str())),
        Action::Eject { car, reason, .. } => format!("eject {car}: {reason}"),
        Action::Wait { car, reason } => format!("{car} waits: {reason}"),
    }
}

/// The digits of an object id that people read.
pub(super) fn short(id: &str) -> &str {
    &id[..id.len().min(10)]
}

/// One line of a task, as lists show it.
pub(super) fn line(task: &Summary, held: Option<&Claim>) -> String {
    let mut notes = Vec::new();
    if let Some(size) = task.size {
        notes.push(size.as_str().to_owned());
    }
    notes.extend(task.labels.iter().map(|label| label.to_string()));
    if let Some(held) = held {
        notes.push(format!("by {}", held.holder));
    }
    if !task.needs.is_empty() {
        let needs: Vec<&str> = task.needs.iter().map(|id| id.as_str()).collect();
        notes.push(format!("needs {}", needs.join(" ")));
    }
    let notes = if notes.is_empty() { String::new() } else { format!("  [{}]", notes.join(", ")) };
    clean(&format!("{:<8} {} {:<9} {}{notes}", task.id.as_str(), task.priority, task.state, task.title)) + "\n"
}
