//! `git scrum status`

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_json::json;

use super::errors::CliError;
use super::output::Reply;
use super::{Context, view};
use crate::domain::board::{Board, OpenTasks};
use crate::domain::planner::in_order;
use crate::domain::{Grant, Priority, TaskState};
use crate::engine::ports::Host;

/// Show what is going on: tasks by state, who works on what, the trains
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
        Ok((counts, board.grants()?, board.teams()?, trains))
    })?;
    let now = context.session.host.now();
    let skew = context.session.settings()?.tasks.skew;
    let mut text = String::new();
    let open: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
    text.push_str(&format!("Tasks: {}\n", if open.is_empty() { "none open".to_owned() } else { open.join(", ") }));
    let mut claims = Vec::new();
    for grant in &grants {
        let Grant::Claim(claim) = &**grant else { continue };
        let expired = grant.has_run_out(now, skew);
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
        let paused = train.paused.as_ref().map(|reason| format!(" (paused: {reason})")).unwrap_or_default();
        let waiting = if ids.is_empty() { "empty".to_owned() } else { ids.join(", ") };
        text.push_str(&format!("Train for {}{paused}: {waiting}\n", train.target));
        shown_trains.push(json!({
            "target": train.target.as_str(),
            "paused": train.paused,
            "cars": ordered.iter().map(|car| view::car(car)).collect::<Vec<_>>(),
            "runs": train.runs.iter().map(view::run).collect::<Vec<_>>(),
        }));
    }
    let counts: serde_json::Map<String, serde_json::Value> =
        counts.iter().map(|(state, count)| (state.as_str().to_owned(), json!(count))).collect();
    let data = json!({
        "tasks": counts,
        "claims": claims,
        "teams": teams.iter().map(view::team).collect::<Vec<_>>(),
        "trains": shown_trains,
        "holder": context.session.holder()?.as_str(),
        "current": current,
    });
    Ok(Reply::new(data, view::clean(&text)))
}
