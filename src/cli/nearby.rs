//! What whoever claims a task is warned of: work under way that has changed the task's paths already.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::conflicts::{name_of, of, places};
use super::errors::CliError;
use super::{Context, view};
use crate::domain::claim::Claim;
use crate::domain::{Branch, TaskId};
use crate::engine::nearby::{Footprints, Nearby};
use crate::engine::ports::Host;
use crate::engine::radar::open_work;

/// The most lines of work that people are told of, for each task.
const TOLD_MAX: usize = 3;
/// Where there is more to learn.
const HINT: &str = "git scrum conflicts";

/// Tells people what is near the tasks of `claims`, and gives it as JSON.
pub(super) fn warnings(context: &Context, claims: &[Claim]) -> Vec<Value> {
    // It is a hint, and the claim is made: whatever is in its way is told to those who ask for more.
    let found = look(context, claims).unwrap_or_default();
    for (task, nearby) in &found {
        for near in nearby.iter().take(TOLD_MAX) {
            context.talk.tell(&format!("warning: {}", words(task, near)));
        }
        match nearby.len().saturating_sub(TOLD_MAX) {
            0 => {}
            1 => context.talk.tell("warning: so has one more"),
            more => context.talk.tell(&format!("warning: so have {more} more")),
        }
    }
    if !found.is_empty() {
        context.talk.tell(&format!("hint: {HINT}"));
    }
    found.iter().flat_map(|(task, nearby)| nearby.iter().map(|near| value(task, near))).collect()
}

/// What is near the tasks of `claims`, where anything is.
fn look(context: &Context, claims: &[Claim]) -> Result<Vec<(TaskId, Vec<Nearby>)>, CliError> {
    let (session, begun) = (&context.session, Instant::now());
    let settings = &session.settings()?.tasks;
    let within = Duration::from_secs(settings.warn_within.0);
    let Some(first) = claims.iter().find(|claim| !claim.paths.is_empty()).filter(|_| !within.is_zero()) else {
        return Ok(Vec::new());
    };
    let target = session.target_of(first.team.as_ref())?;
    let now = session.host.now();
    let mut open = context
        .board()?
        .read(false, |board| Ok(open_work(board, &target, &context.grants(board)?, now, settings.skew)?))?;
    open.retain(|open| !claims.iter().any(|claim| claim.branch == open.branch));
    let radar = session.radar();
    let Some(footprints) = Footprints::of(&radar, &target, open, within.saturating_sub(begun.elapsed()))? else {
        return Ok(Vec::new());
    };
    let in_time = claims.iter().take_while(|_| begun.elapsed() < within);
    let found = in_time.map(|claim| (claim.task.clone(), footprints.nearby(&radar, &claim.paths)));
    Ok(found.filter(|(_, nearby)| !nearby.is_empty()).collect())
}

fn value(task: &TaskId, near: &Nearby) -> Value {
    let mut work = of(&near.open);
    view::merge(&mut work, json!({ "saved": near.saved }));
    json!({
        "code": "work-under-way",
        "message": words(task, near),
        "hint": HINT,
        "task": task.as_str(),
        "work": work,
        "paths": near.paths,
        "collides_with": near.collides_with.iter().map(Branch::as_str).collect::<Vec<_>>(),
    })
}

fn words(task: &TaskId, near: &Nearby) -> String {
    let name = name_of(&near.open, near.saved);
    let branches: Vec<&str> = near.collides_with.iter().map(Branch::as_str).collect();
    let collides = match branches.as_slice() {
        [] => String::new(),
        branches => format!("; it collides there with {}", branches.join(", ")),
    };
    format!("{name} has changed what {task} is to change: {}{collides}", places(&near.paths))
}
