//! `git scrum renew`

use serde_json::{Value, json};

use super::claim::fence;
use super::errors::{CliError, exit, until_words};
use super::output::Reply;
use super::{Context, tasks, view};
use crate::domain::{Command, Grant, Outcome, Pattern, Seconds, Timestamp};
use crate::engine::LostClaim;

/// Keep a claim; or, without one, everything you hold: a heartbeat, which leaves the board alone
#[derive(clap::Args)]
pub struct Args {
    /// The task; all of your claims and locks if not given
    id: Option<String>,
    /// For how long from now; as long as before if not given
    #[arg(long, value_name = "30m", requires = "id")]
    lease: Option<Seconds>,
    /// The fence of the claim, where another clone made it
    #[arg(long, value_name = "N", requires = "id")]
    fence: Option<u64>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Reply, CliError> {
    let Some(id) = &args.id else { return heartbeat(context) };
    let task = tasks::task_id(id)?;
    let fence = fence(context, args.fence, &task);
    let asked = context.board()?.ask(Command::Renew { task, fence, lease: args.lease })?;
    let Outcome::Renewed { task, fence, until } = asked.outcome else { unreachable!("BUG: a renewal was asked for") };
    let data = json!({ "task": task.as_str(), "fence": fence.0, "lease_until": until.to_string() });
    Ok(Reply::new(data, format!("Renewed {task}, fence {fence}, until {until}\n")))
}

fn heartbeat(context: &Context) -> Result<Reply, CliError> {
    let session = &context.session;
    let kept = context.board()?.beat(&session.own_claims()?)?;
    let mut text = String::new();
    let mut renewed = Vec::new();
    for (grant, until) in &kept.held {
        renewed.push(held_json(grant, *until));
        text.push_str(&format!("Renewed {}, fence {}, {}\n", named(grant), grant.fence(), until_words(*until)));
    }
    let mut lost = Vec::new();
    for claim in &kept.lost {
        lost.push(lost_json(claim));
        text.push_str(&format!("Lost {}\n", lost_words(claim)));
        session.claim_is_over_once_told(&claim.task, claim.fence);
    }
    if text.is_empty() {
        text.push_str("You hold nothing.\n");
    }
    let reply = Reply::new(json!({ "renewed": renewed, "lost": lost }), view::clean(&text));
    Ok(if lost.is_empty() { reply } else { reply.exiting(exit::HELD) })
}

/// What a grant is for: a task, or patterns.
fn named(grant: &Grant) -> String {
    let patterns = || grant.patterns().iter().map(Pattern::as_str).collect::<Vec<_>>().join(" ");
    grant.task().map_or_else(patterns, ToString::to_string)
}

fn held_json(grant: &Grant, until: Option<Timestamp>) -> Value {
    let task = grant.task().map(|task| task.as_str());
    let patterns = grant.task().is_none().then(|| grant.patterns().iter().map(Pattern::as_str).collect::<Vec<_>>());
    let until = until.map(|until| until.to_string());
    json!({ "task": task, "patterns": patterns, "fence": grant.fence().0, "until": until })
}

fn lost_json(claim: &LostClaim) -> Value {
    let present = claim.present.as_ref();
    json!({
        "task": claim.task.as_str(),
        "fence": claim.fence.0,
        "state": claim.state.as_str(),
        "holder": present.map(|(holder, ..)| holder.as_str()),
        "holder_fence": present.map(|(_, fence, _)| fence.0),
        "until": present.and_then(|(.., until)| *until).map(|until| until.to_string()),
    })
}

fn lost_words(claim: &LostClaim) -> String {
    let LostClaim { task, fence, state, present } = claim;
    let now = match present {
        Some((holder, fence, until)) => format!("held by {holder} under fence {fence}, {}", until_words(*until)),
        None => format!("{state}, and nobody holds it"),
    };
    format!("{task}, fence {fence}: it is {now}; stop working on it")
}
