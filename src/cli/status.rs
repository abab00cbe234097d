//! `git scrum status`

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_json::{Value, json};

use super::errors::CliError;
use super::output::Reply;
use super::{Context, view};
use crate::agent::Spent;
use crate::domain::board::{Board, OpenTasks};
use crate::domain::planner::in_order;
use crate::domain::{Grant, Priority, TaskState};
use crate::engine::ports::Host;

/// Show what is going on: tasks by state, who works on what, the trains, pushes
#[derive(clap::Args)]
pub struct Args {}

pub(super) fn run(_: &Args, context: &Context) -> Result<Reply, CliError> {
    let ((counts, grants, teams, trains), current) = context.read(|board| {
        let mut counts: BTreeMap<TaskState, u64> = BTreeMap::new();
        for which in [OpenTasks::Queued, OpenTasks::Waiting] {
            for priority in Priority::ALL {
                board.visit_open(which, priority, &mut |task| {
                    *counts.entry(task.state).or_default() += 1;
                    ControlFlow::Continue(())
                })?;
            }
        }
        let mut trains = Vec::new();
        for train in board.trains()? {
            let cars = board.open_cars(&train.target)?;
            trains.push((train, cars));
        }
        Ok((counts, context.grants(board)?, board.teams()?, trains))
    })?;
    let now = context.session.host.now();
    let skew = context.session.settings()?.tasks.skew;
    let mut text = String::new();
    let open: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    text.push_str(&format!("Tasks: {}\n", if open.is_empty() { "none open".to_owned() } else { open.join(", ") }));
    let mut claims = Vec::new();
    for grant in &grants {
        let Grant::Claim(claim) = grant else { continue };
        let expired = grant.has_run_out(None, now, skew);
        let team = claim.team.as_ref().map(|team| format!(" ({team})")).unwrap_or_default();
        let note = match (claim.submitted, expired) {
            (true, _) => "in the train".to_owned(),
            (false, true) => format!("lease ran out at {}", claim.lease.until()),
            (false, false) => format!("until {}", claim.lease.until()),
        };
        text.push_str(&format!("  {} by {}{team}, fence {}, {note}\n", claim.task, claim.holder, claim.fence));
        let mut value = view::claim(claim);
        view::merge(&mut value, json!({ "task": claim.task.as_str(), "expired": expired }));
        claims.push(value);
    }
    let mut shown_trains = Vec::new();
    for (train, cars) in &trains {
        let ordered = in_order(cars);
        let ids: Vec<&str> = ordered.iter().map(|car| car.id.as_str()).collect();
        let paused = match (&train.paused, &train.frozen) {
            (Some(reason), _) => format!(" (paused: {reason})"),
            (None, Some(freeze)) => format!(" (paused below {}: {})", freeze.below, freeze.reason),
            (None, None) => String::new(),
        };
        let waiting = if ids.is_empty() { "empty".to_owned() } else { ids.join(", ") };
        text.push_str(&format!("Train for {}{paused}: {waiting}\n", train.target));
        shown_trains.push(json!({
            "target": train.target.as_str(),
            "paused": train.paused,
            "frozen": view::freeze(train),
            "cars": ordered.iter().map(|car| view::car(car)).collect::<Vec<_>>(),
            "runs": train.runs.iter().map(view::run).collect::<Vec<_>>(),
        }));
    }
    let pushes = pushes(context, &mut text)?;
    let counts: serde_json::Map<String, serde_json::Value> =
        counts.iter().map(|(state, count)| (state.as_str().to_owned(), json!(count))).collect();
    let data = json!({
        "tasks": counts,
        "claims": claims,
        "teams": teams.iter().map(view::team).collect::<Vec<_>>(),
        "trains": shown_trains,
        "pushes": pushes,
        "holder": context.session.holder()?.as_str(),
        "current": current,
    });
    Ok(Reply::new(data, view::clean(&text)))
}

/// How many pushes the operations of this clone took, and how many it may make: pushes are what hosts limit.
fn pushes(context: &Context, text: &mut String) -> Result<Value, CliError> {
    let Spent { operations, pushes, heartbeats } = context.session.journal.spent_so_far();
    let per_minute_max = context.session.pushes_per_minute_max()?;
    // In hundredths: more digits would say no more.
    let hundredths = pushes.saturating_mul(100).checked_div(operations);
    let each = hundredths.map(|each| format!(" ({}.{:02} each)", each / 100, each % 100)).unwrap_or_default();
    let limit = per_minute_max.map_or_else(|| "no limit".to_owned(), |most| format!("at most {most} a minute"));
    text.push_str(&format!(
        "Pushes: {pushes} for {}{each}, {}, {limit}\n",
        count(operations, "operation"),
        count(heartbeats, "heartbeat")
    ));
    Ok(json!({
        "operations": operations,
        "pushes": pushes,
        "per_operation": hundredths.map(|each| each as f64 / 100.0),
        "heartbeats": heartbeats,
        "per_minute_max": per_minute_max,
    }))
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
