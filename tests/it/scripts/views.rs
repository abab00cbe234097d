//! What scripts print: outcomes and refusals with all their facts, and the records of the board.

use std::fmt::Display;

use git_scrum::domain::board::{Board, OpenTasks};
use git_scrum::domain::planner::in_order;
use git_scrum::domain::{
    Branch, Car, CarId, Changes, Grant, Operation, Outcome, Pattern, Priority, Refusal, Task, TaskId, Timestamp,
};

use super::World;

/// The day on which every script happens.
pub(super) const DAY: &str = "2026-01-05";
/// Its first second.
pub(super) const DAY_SECS: u64 = 1_767_571_200;

/// An accepted operation: the line of the log, and what came of it that the line does not say.
pub(super) fn accepted(operation: &Operation, changes: &Changes, outcome: &Outcome) -> Vec<String> {
    let mut lines = vec![if changes.is_empty() { "nothing changes".to_owned() } else { operation.line(outcome) }];
    match outcome {
        Outcome::Submitted { position, .. } => lines.push(format!("  position {position}")),
        Outcome::Finished { unblocked, .. } | Outcome::Landed { unblocked, .. } if !unblocked.is_empty() => {
            lines.push(format!("  unblocked {}", list(unblocked)));
        }
        Outcome::Verdict { applied: false } => lines.push("  of no use".to_owned()),
        _ => {}
    }
    lines
}

/// A refusal, with every fact it carries.
pub(super) fn refused(refusal: &Refusal) -> Vec<String> {
    let until = |until: &Option<Timestamp>| until.map_or("in the train".to_owned(), |until| format!("until {until}"));
    let line = match refusal {
        Refusal::NoBoard => "there is no board".to_owned(),
        Refusal::NoSuchTask(task) => format!("there is no task {task}"),
        Refusal::TaskExists(task) => format!("there is a task {task} already"),
        Refusal::NoSuchTeam(team) => format!("there is no team {team}"),
        Refusal::NoSuchCar(car) => format!("there is no car {car}"),
        Refusal::Cycle(tasks) => format!("a cycle: {}", list(tasks)),
        Refusal::WrongState { task, state, wanted, reason } => {
            format!("{task} is {state}{}; it cannot {wanted}", because(reason))
        }
        Refusal::Held { task, holder, fence, until: end } => {
            format!("{task} is held by {holder}, fence {fence}, {}", until(end))
        }
        Refusal::StaleFence { task, named, present: None } => {
            format!("fence {named} of {task} is stale, nobody holds it")
        }
        Refusal::StaleFence { task, named, present: Some((holder, fence, end)) } => {
            format!("fence {named} of {task} is stale, {holder} holds it, fence {fence}, {}", until(end))
        }
        Refusal::Locked { wanted, held, holder, task, until: end } => {
            let of = task.as_ref().map(|task| format!(" for {task}")).unwrap_or_default();
            format!("{wanted} meets {held}, locked by {holder}{of}, {}", until(end))
        }
        Refusal::NotLocked(pattern) => format!("{pattern} is not locked"),
        Refusal::AtCapacity { team, capacity } => format!("team {team} is at its capacity of {capacity}"),
        Refusal::NothingToClaim(_) => "nothing to claim".to_owned(),
        Refusal::TooLarge { what, size, size_max } => format!("{what}: {size}, at most {size_max}"),
        Refusal::BadText { what, rule } => format!("wrong {what}: {rule}"),
        Refusal::AlreadyLanded { car, commit } => format!("{car} has landed already with {commit}"),
        Refusal::OwnCar(car) => format!("{car} is the asker's own"),
        Refusal::TrainChanged(what) => format!("the train changed: {what}"),
    };
    let mut lines = vec![format!("refused: {line}")];
    if let Refusal::NothingToClaim(skipped) = refusal {
        lines.extend(skipped.iter().map(|skip| {
            let holder = skip.holder.as_ref().map(|holder| format!(" ({holder})")).unwrap_or_default();
            format!("  {}: {}{holder}", skip.task, skip.reason)
        }));
    }
    lines
}

/// One task with everything that is not empty.
pub(super) fn task(task: &Task) -> Vec<String> {
    let summary = &task.summary;
    let head = format!("{} {} {}{}", summary.id, summary.state, summary.priority, because(&task.reason));
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            facts.push(format!("{name} {value}"));
        }
    };
    fact("type", text(summary.kind.as_ref()));
    fact("size", text(summary.size));
    fact("labels", list(&summary.labels));
    fact("needs", list(&summary.needs));
    fact("needed by", list(&task.needed_by));
    fact("paths", list(&summary.paths));
    fact("fence", text(summary.claim));
    fact("grants", text((task.grants > 0).then_some(task.grants)));
    fact("failures", text((task.failures > 0).then_some(task.failures)));
    fact("held back", text(task.held_back.then_some("by a person")));
    fact("closed", text(task.closed_at));
    fact("landed as", text(task.landed_as.as_ref()));
    match facts.as_slice() {
        [] => vec![head],
        facts => vec![head, format!("  {}", facts.join(", "))],
    }
}

fn grant(grant: &Grant) -> String {
    let until = grant.until().map_or("in the train".to_owned(), |until| format!("until {until}"));
    match grant {
        Grant::Claim(claim) => {
            let team = claim.team.as_ref().map(|team| format!(" for {team}")).unwrap_or_default();
            let paths = paths(&claim.paths);
            format!("{} {} has {}{team} on {}{paths}, {until}", claim.fence, claim.holder, claim.task, claim.branch)
        }
        Grant::Lock(lock) => {
            let (patterns, mode) = (list(&lock.patterns), lock.mode.as_str());
            format!("{} {} locks {patterns}, {mode}, {until}{}", lock.fence, lock.holder, because(&lock.reason))
        }
    }
}

fn car(car: &Car) -> String {
    let mut line = format!("{} {} {} at {}, {}", car.id, car.state, car.priority, car.position, car.commit);
    if !car.approvals.is_empty() {
        let approved = car.approvals.iter().map(|approval| format!("{} of {}", approval.by, approval.commit));
        line.push_str(&format!(", approved by {}", approved.collect::<Vec<_>>().join(" and by ")));
    }
    if car.promoted > 0 {
        line.push_str(&format!(", promoted {}", car.promoted));
    }
    if let Some(of) = &car.task {
        line.push_str(&format!(", fence {}", of.fence));
    }
    if !car.after.is_empty() {
        line.push_str(&format!(", after {}", list(&car.after)));
    }
    if car.inconclusive > 0 {
        line.push_str(&format!(", inconclusive {}", car.inconclusive));
    }
    if let Some(landed) = &car.landed_as {
        line.push_str(&format!(", landed as {landed}"));
    }
    line + &because(&car.reason)
}

impl World {
    /// All open tasks: those that may be claimed in the order of claiming, then the others.
    pub(super) fn list(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for which in [OpenTasks::Queued, OpenTasks::Waiting] {
            for priority in Priority::ALL {
                let Ok(()) = self.board.visit_open(which, priority, &mut |task| {
                    lines.push(format!("{} {} {}: {}", task.id, task.state, task.priority, task.title));
                    std::ops::ControlFlow::Continue(())
                });
            }
        }
        or_nothing(lines, "no open tasks")
    }

    /// One task.
    pub(super) fn show(&self, id: &TaskId) -> Vec<String> {
        let Ok(found) = self.board.task(id);
        found.map_or_else(|| vec![format!("no task {id}")], |found| task(&found))
    }

    /// All grants.
    pub(super) fn grants(&self) -> Vec<String> {
        let Ok(grants) = self.board.grants();
        or_nothing(grants.iter().map(|held| grant(held)).collect(), "no grants")
    }

    /// A train: its own facts, its open cars in order, those that are gone, and its runs.
    pub(super) fn train(&self, target: &Branch) -> Vec<String> {
        let Ok(train) = self.board.train(target);
        let Some(train) = train else { return vec![format!("no train for {target}")] };
        let mut lines = Vec::new();
        lines.extend(train.paused.as_ref().map(|reason| format!("paused: {reason}")));
        lines.extend(train.frozen.as_ref().map(|freeze| format!("paused below {}: {}", freeze.below, freeze.reason)));
        lines.extend(train.landed_to.as_ref().map(|to| format!("landed to {to}")));
        lines.extend(train.landing.as_ref().map(|l| format!("landing {}, from {} to {}", list(&l.cars), l.from, l.to)));
        let Ok(open) = self.board.open_cars(target);
        lines.extend(in_order(&open).into_iter().map(car));
        let gone = self.board.cars().filter(|car| car.target == *target && !car.state.is_open());
        lines.extend(gone.map(car));
        lines.extend(train.runs.iter().map(|run| format!("run of {}: {}", list(&run.cars), run.commit)));
        or_nothing(lines, "no cars")
    }
}

/// `text` as people write it: times of the one day without the day, and seconds only where there are some.
pub(super) fn brief(text: &str) -> String {
    let day = format!("{DAY}T");
    let mut parts = text.split(&day);
    let mut brief = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (time, rest) = part.split_once('Z').unwrap_or((part, ""));
        brief.push_str(time.strip_suffix(":00").unwrap_or(time));
        brief.push_str(rest);
    }
    brief
}

pub(super) fn list<T: Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}

/// Names of cars joined as in a candidate.
pub(super) fn train_of(cars: &[CarId]) -> String {
    cars.iter().map(CarId::as_str).collect::<Vec<_>>().join("+")
}

fn paths(patterns: &[Pattern]) -> String {
    if patterns.is_empty() { String::new() } else { format!(", paths {}", list(patterns)) }
}

fn text<T: Display>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn because(reason: &Option<String>) -> String {
    reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
}

fn or_nothing(lines: Vec<String>, nothing: &str) -> Vec<String> {
    if lines.is_empty() { vec![nothing.to_owned()] } else { lines }
}
