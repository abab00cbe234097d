//! `git scrum independent`

use serde_json::{Value, json};

use super::conflicts::{places, sweep};
use super::errors::CliError;
use super::output::Reply;
use super::{Context, tasks, view};
use crate::domain::independence::{Hindrance, Independence, Obstacle, Question};
use crate::domain::{Summary, TaskId};
use crate::engine::EngineError;
use crate::engine::ports::Clash;
use crate::engine::radar::Sweep;

/// Say which tasks can be worked on at the same time, and why others cannot
///
/// Looks at what they need, at the paths and interfaces they declare (an interface is a label such as
/// interface:orders), at the order of their cars, and at whether their branches collide. A task that declares no paths
/// is never taken for independent, nor is one that somebody has blocked. Exits with 1 unless they all are.
#[derive(clap::Args)]
pub struct Args {
    /// The tasks
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Reply, CliError> {
    let ids: Vec<TaskId> = tasks::parse_all(&args.ids)?;
    let target = context.session.target()?;
    let (mut question, current) =
        context.read(|board| Question::about(board, &target, &ids).map_err(EngineError::from))?;
    if question.tasks.iter().filter(|task| task.claim.is_some()).count() > 1 {
        // Only where two have begun there may be branches to compare.
        let among = |id: &TaskId| question.tasks.iter().any(|task| task.id == *id);
        let (seen, _) =
            sweep(context, &target, &[], false, |open| open.task.as_ref().is_some_and(|(id, _)| among(id)))?;
        question.conflicts = conflicts(&seen);
    }
    Ok(reply(&question, &question.answer(), current))
}

fn conflicts(seen: &Sweep) -> std::collections::BTreeMap<(TaskId, TaskId), Vec<String>> {
    let task = |nth: usize| seen.work[nth].open.task.as_ref().map(|(task, _)| task.clone());
    let pair = |(a, b, clash): &(usize, usize, Clash)| Some(((task(*a)?, task(*b)?), clash.paths.clone()));
    seen.pairs.iter().filter_map(pair).collect()
}

fn reply(question: &Question, answer: &Independence, current: bool) -> Reply {
    let ids = |ids: &[TaskId]| ids.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>();
    let item = |task: &Summary| {
        let blockers = answer.blockers(&task.id);
        json!({
            "id": task.id.as_str(),
            "title": task.title,
            "state": task.state.as_str(),
            "independent": answer.is_independent(&task.id),
            "can_parallel": answer.can_parallel(&task.id),
            "blocking_on": blockers.first().map(|id| id.as_str()),
            "blockers": ids(&blockers),
            "blocked": answer.held.get(&task.id),
        })
    };
    let independent = question.tasks.iter().all(|task| answer.is_independent(&task.id));
    let data = json!({
        "independent": independent,
        "items": question.tasks.iter().chain(&question.closed).map(item).collect::<Vec<_>>(),
        "groups": answer.groups.iter().map(|group| ids(group)).collect::<Vec<_>>(),
        "hindrances": answer.hindrances.iter().map(hindrance).collect::<Vec<_>>(),
        "current": current,
    });
    let mut text = String::new();
    for (nth, group) in answer.groups.iter().enumerate() {
        let when = if nth == 0 { "At the same time" } else { "After that" };
        text.push_str(&format!("{when}: {}\n", ids(group).join(", ")));
    }
    for (task, waits) in &answer.waits {
        text.push_str(&format!("{task} waits for {}\n", ids(waits).join(", ")));
    }
    for (task, reason) in &answer.held {
        text.push_str(&format!("{task} is blocked: {}\n", view::one_line(reason)));
    }
    for found in &answer.hindrances {
        text.push_str(&format!("{}\n", words(found)));
    }
    for task in &question.closed {
        text.push_str(&format!("{} is {}: there is nothing to do\n", task.id, task.state));
    }
    let reply = Reply::new(data, view::clean(&text));
    if independent { reply } else { reply.no() }
}

fn hindrance(found: &Hindrance) -> Value {
    let (kind, facts) = match &found.why {
        Obstacle::Needs(way) => ("needs", json!({ "by_way_of": way.iter().map(TaskId::as_str).collect::<Vec<_>>() })),
        Obstacle::Order => ("order", json!({})),
        Obstacle::Paths(ours, theirs) => ("paths", json!({ "paths": [ours.as_str(), theirs.as_str()] })),
        Obstacle::Interface(label) => ("interface", json!({ "interface": label.as_str() })),
        Obstacle::Conflict(paths) => ("conflict", json!({ "paths": paths })),
        Obstacle::Unknown(silent) => {
            ("unknown", json!({ "undeclared": silent.iter().map(TaskId::as_str).collect::<Vec<_>>() }))
        }
    };
    let mut value = json!({ "a": found.first.as_str(), "b": found.then.as_str(), "kind": kind, "why": words(found) });
    view::merge(&mut value, facts);
    value
}

fn words(found: &Hindrance) -> String {
    let Hindrance { first, then, why } = found;
    match why {
        Obstacle::Needs(way) if way.is_empty() => format!("{then} needs {first}"),
        Obstacle::Needs(way) => {
            let way: Vec<&str> = way.iter().map(TaskId::as_str).collect();
            format!("{then} needs {first}, by way of {}", way.join(", "))
        }
        Obstacle::Order => format!("{then} is to land after {first}"),
        Obstacle::Paths(ours, theirs) if ours == theirs => format!("{first} and {then} both change {ours}"),
        Obstacle::Paths(ours, theirs) => format!("{first} and {then}: {ours} meets {theirs}"),
        Obstacle::Interface(label) => format!("{first} and {then} both declare {label}"),
        Obstacle::Conflict(paths) => {
            format!("the branches of {first} and {then} collide: {}", places(paths))
        }
        Obstacle::Unknown(silent) => {
            let silent: Vec<&str> = silent.iter().map(TaskId::as_str).collect();
            format!("{first} and {then}, unknown: nothing declared by {}", silent.join(" or "))
        }
    }
}
