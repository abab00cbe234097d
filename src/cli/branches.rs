//! `git scrum branches`

use serde_json::json;

use super::errors::CliError;
use super::output::Reply;
use super::{Context, view};
use crate::domain::{Branch, ObjectId, TaskId};
use crate::engine::branches::{Fate, Known};
use crate::record::names::CANDIDATES;

/// Show which branches nobody needs any more, and remove those that have landed
#[derive(clap::Args)]
pub struct Args {
    /// Remove the branches at the remote of which all has landed
    #[arg(long)]
    sweep: bool,
    /// Show those that are in use, too
    #[arg(long)]
    all: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Reply, CliError> {
    let session = &context.session;
    let refs = session.code_truth_refs();
    let listed = refs.list("refs/heads/")?;
    let settings = session.settings()?;
    let branches = listed.iter().filter(|(name, _)| !name.starts_with(CANDIDATES)).filter_map(|(name, id)| {
        let branch = Branch::parse(name.strip_prefix("refs/heads/")?).ok()?;
        // What others land on stays, also when it was submitted itself.
        (!settings.is_landed_on(&branch)).then_some((branch, ObjectId::parse(id).ok()?))
    });
    let known =
        context.board()?.fates(branches.collect(), |branch| task_of(branch, &settings.tasks.branch), &session.code)?;
    let checked_out = session.code.checked_out()?;
    let name = |known: &Known| format!("refs/heads/{}", known.branch);
    let stays = |known: &Known| {
        let worktree = checked_out.get(&name(known)).filter(|_| known.fate == Fate::Landed)?;
        Some(format!("it is checked out in {}", worktree.display()))
    };
    let may_go = known.iter().filter(|known| known.fate == Fate::Landed && stays(known).is_none());
    let named: Vec<(String, String)> = may_go.map(|known| (name(known), known.head.as_str().to_owned())).collect();
    // Each only as long as it is what was looked at.
    let left = if args.sweep { refs.remove(&named)? } else { Vec::new() };
    let swept = |known: &Known| {
        let name = name(known);
        args.sweep && named.iter().any(|(named, _)| *named == name) && !left.contains(&name)
    };
    let shown: Vec<&Known> = known.iter().filter(|known| args.all || known.fate.is_stale()).collect();
    let mut text = String::new();
    for known in &shown {
        let to = known.target.as_ref().map(|target| format!(" ({target})")).unwrap_or_default();
        let what = match stays(known) {
            Some(why) => format!(", stays: {why}"),
            None if swept(known) => ", removed".to_owned(),
            None => String::new(),
        };
        text.push_str(&format!("{:<9} {}{to}{what}\n", known.fate.as_str(), known.branch));
    }
    if shown.is_empty() {
        text.push_str("No branch that the board knows is idle.\n");
    } else if !args.sweep && !named.is_empty() {
        text.push_str(&format!("{} landed: git scrum branches --sweep removes them\n", named.len()));
    }
    let branches = shown.iter().map(|known| {
        json!({
            "branch": known.branch.as_str(), "head": known.head.as_str(), "state": known.fate.as_str(),
            "target": known.target.as_ref().map(Branch::as_str), "task": known.task.as_ref().map(TaskId::as_str),
            "removed": swept(known), "stays": stays(known),
        })
    });
    Ok(Reply::new(json!({ "branches": branches.collect::<Vec<_>>() }), view::clean(&text)))
}

/// The task that a branch is named after, by the template for the branches of claims. What follows a dot says which
/// claim of the task it was.
pub(super) fn task_of(branch: &Branch, template: &str) -> Option<TaskId> {
    let (before, after) = template.split_once("{id}")?;
    // A team has a name of its own, so only what stands before the id and after it is known.
    let before = before.split_once("{team}").map_or(before, |(_, rest)| rest);
    let start = if before.is_empty() { 0 } else { branch.as_str().rfind(before)? + before.len() };
    let rest = &branch.as_str()[start..];
    let id = if after.is_empty() { rest } else { rest.split(after).next()? };
    TaskId::parse(id.split('.').next()?).ok()
}
