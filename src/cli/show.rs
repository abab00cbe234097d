//! `git scrum show`

use serde_json::json;

use super::errors::CliError;
use super::output::Reply;
use super::{Context, tasks, view};
use crate::domain::board::Board;
use crate::domain::train::CheckVerdict;
use crate::domain::{Branch, Car, CarId, Grant, Refusal, Task, VerdictRecord};
use crate::engine::EngineError;
use crate::ledger::GitStore;
use crate::record::LedgerBoard;

/// Show a task, or a car that has none: who has it, what its check said
#[derive(clap::Args)]
pub struct Args {
    /// The task, or the branch of a car
    id: String,
}

struct Shown {
    task: Option<Task>,
    claim: Option<crate::domain::claim::Claim>,
    car: Option<Car>,
    verdict: Option<VerdictRecord>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Reply, CliError> {
    let car_id: CarId = tasks::parse(&args.id)?;
    let (shown, current) = context.read(|board| {
        let task = match args.id.parse() {
            Ok(id) => board.task(&id)?,
            Err(_) => None,
        };
        let grant = match task.as_ref().and_then(|task| task.summary.claim) {
            Some(fence) => context.grants(board)?.into_iter().find(|grant| grant.fence() == fence),
            None => None,
        };
        let claim = if let Some(Grant::Claim(claim)) = grant { Some(claim) } else { None };
        let car = find_car(board, &car_id)?;
        let tree = car.as_ref().and_then(|car| car.tested_tree.clone());
        let verdict = tree.map(|tree| board.verdict(&tree)).transpose()?.flatten();
        if task.is_none() && car.is_none() {
            return Err(match args.id.parse() {
                Ok(id) => Refusal::NoSuchTask(id).into(),
                Err(_) => Refusal::NoSuchCar(car_id.clone()).into(),
            });
        }
        Ok(Shown { task, claim, car, verdict })
    })?;
    Ok(reply(&shown, current))
}

/// The car of that name, in whichever train it is or was last.
fn find_car(board: &LedgerBoard<'_, '_, GitStore>, id: &CarId) -> Result<Option<Car>, EngineError> {
    let targets: Vec<Branch> = board.trains()?.into_iter().map(|train| train.target).collect();
    let mut latest: Option<Car> = None;
    for target in targets {
        if let Some(car) = board.car(&target, id)?
            && latest.as_ref().is_none_or(|known| known.submitted_at < car.submitted_at)
        {
            latest = Some(car);
        }
    }
    Ok(latest)
}

fn reply(shown: &Shown, current: bool) -> Reply {
    let mut data = json!({ "current": current });
    let mut text = String::new();
    let car = shown.car.as_ref().map(view::car);
    let check = shown.verdict.as_ref().map(verdict_json);
    if let Some(task) = &shown.task {
        let mut value = view::task(task, shown.claim.as_ref());
        view::merge(&mut value, json!({ "car": car, "check": check }));
        view::merge(&mut data, json!({ "task": value }));
        text.push_str(&task_text(task, shown));
    } else {
        view::merge(&mut data, json!({ "car": car, "check": check }));
    }
    if let Some(car) = &shown.car {
        if shown.task.is_some() {
            text.push('\n');
        } else {
            text.push_str(&format!("{} {}\n", car.branch, car.title));
        }
        text.push_str(&car_text(car));
    }
    if let Some(verdict) = &shown.verdict {
        text.push_str(&verdict_text(verdict));
    }
    Reply::new(data, view::clean(&text))
}

fn verdict_json(record: &VerdictRecord) -> serde_json::Value {
    json!({
        "verdict": record.verdict.as_str(),
        "commit": record.commit.as_str(),
        "tree": record.tree.as_str(),
        "check": record.check,
        "at": record.at.to_string(),
        "took_secs": record.took.map(|took| took.0),
        "url": record.url,
        "output": record.output,
        "checks": record.checks.iter().map(check_json).collect::<Vec<_>>(),
    })
}

fn check_json(check: &CheckVerdict) -> serde_json::Value {
    json!({
        "name": check.name.as_str(),
        "verdict": check.verdict.as_str(),
        "at": check.at.to_string(),
        "took_secs": check.took.map(|took| took.0),
        "url": check.url,
    })
}

fn task_text(task: &Task, shown: &Shown) -> String {
    let summary = &task.summary;
    let mut text = format!("{} {}\n", summary.id, summary.title);
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            text.push_str(&format!("  {name:<10} {value}\n"));
        }
    };
    field("state", summary.state.to_string());
    field("reason", task.reason.clone().unwrap_or_default());
    field("priority", summary.priority.to_string());
    field("type", summary.kind.as_ref().map(ToString::to_string).unwrap_or_default());
    field("size", summary.size.map(|size| size.to_string()).unwrap_or_default());
    field("labels", words(&summary.labels));
    field("needs", words(&summary.needs));
    field("needed by", words(&task.needed_by));
    field("paths", words(&summary.paths));
    field("added", format!("{} by {}", task.created_at, task.created_by));
    if let Some(claim) = &shown.claim {
        field("held by", format!("{} under fence {}", claim.holder, claim.fence));
        if !claim.submitted {
            field("until", claim.lease.until().to_string());
        }
        field("branch", claim.branch.to_string());
    }
    if task.failures > 0 {
        field("failures", task.failures.to_string());
    }
    if !task.body.is_empty() {
        text.push_str(&format!("\n{}\n", task.body.trim_end()));
    }
    text
}

fn car_text(car: &Car) -> String {
    let reason = car.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let landed = car.landed_as.as_ref().map(|id| format!(" as {id}")).unwrap_or_default();
    let approved = car.approved_by().map(|by| by.as_str()).collect::<Vec<_>>().join(", ");
    let approved = if approved.is_empty() { approved } else { format!("  approved   by {approved}\n") };
    format!("car {} for {}: {}{landed}{reason}\n  commit     {}\n{approved}", car.id, car.target, car.state, car.commit)
}

fn verdict_text(record: &VerdictRecord) -> String {
    let mut text = format!("\ncheck {} on {}\n", record.verdict, record.commit);
    if let Some(url) = &record.url {
        text.push_str(&format!("  see {url}\n"));
    }
    for check in &record.checks {
        let url = check.url.as_ref().map(|url| format!(", see {url}")).unwrap_or_default();
        text.push_str(&format!("  {} {}{url}\n", check.name, check.verdict));
    }
    for line in record.output.lines() {
        text.push_str(&format!("  | {line}\n"));
    }
    text
}

fn words<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
