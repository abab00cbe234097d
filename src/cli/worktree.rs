//! `git scrum worktree`

use clap::Subcommand;
use serde_json::{Value, json};

use super::claim::make_worktree;
use super::errors::{CliError, exit};
use super::output::Reply;
use super::{Context, tasks, view};
use crate::agent::{ClaimFile, Removed, Worktree, Worktrees};
use crate::domain::board::Board;
use crate::domain::claim::Claim;
use crate::domain::{Fence, Grant, Refusal, TaskId};
use crate::ledger::Fault;

/// Make, list and remove the worktrees of claims
#[derive(Subcommand)]
pub enum Verb {
    /// Make the worktree of a claim
    Add {
        /// The task
        id: String,
    },
    /// List the worktrees of this repository and the tasks they are for
    List,
    /// Remove the worktree of a task; what is in no commit or on no remote is saved first
    Remove {
        /// The task
        id: String,
    },
    /// Remove the worktrees of tasks that are closed or not claimed here any more; what is nowhere else is saved first
    Clean,
}

pub(super) fn run(verb: &Verb, context: &Context) -> Result<Reply, CliError> {
    match verb {
        Verb::Add { id } => add(context, &tasks::task_id(id)?),
        Verb::List => list(context),
        Verb::Remove { id } => {
            let id = tasks::task_id(id)?;
            let (file, worktree) = known(context, &id)?;
            let removed = context.session.worktrees()?.remove(&worktree, &id, file.fence)?;
            Ok(reply(&[(id, removed)]))
        }
        Verb::Clean => clean(context),
    }
}

fn add(context: &Context, id: &TaskId) -> Result<Reply, CliError> {
    context.session.worktrees()?.possible()?;
    let claim = current_claim(context, id)?;
    // Only whoever holds the claim works on it: the same test as for renewing it.
    let ours = match context.session.known_fence(id) {
        Some(fence) => fence == claim.fence,
        None => claim.holder == context.session.holder()?,
    };
    if !ours {
        let until = Grant::Claim(claim.clone()).until();
        return Err(Refusal::Held { task: id.clone(), holder: claim.holder, fence: claim.fence, until }.into());
    }
    let path = make_worktree(context, &claim)?;
    let data = json!({ "task": id.as_str(), "branch": claim.branch.as_str(), "path": path });
    Ok(Reply::new(data, view::clean(&format!("{id}: work in {path} on {}\n", claim.branch))))
}

fn current_claim(context: &Context, id: &TaskId) -> Result<Claim, CliError> {
    Ok(context.board()?.read(true, |board| {
        let task = board.task(id)?.ok_or_else(|| Refusal::NoSuchTask(id.clone()))?;
        match task.summary.claim.map(|fence| board.grant(fence)).transpose()?.flatten() {
            Some(Grant::Claim(claim)) => Ok(claim),
            _ => Err(Refusal::WrongState {
                task: id.clone(),
                state: task.summary.state,
                wanted: "get a worktree, for nobody holds it",
                reason: task.reason,
            }
            .into()),
        }
    })?)
}

/// The worktree this clone made for a task.
fn known(context: &Context, id: &TaskId) -> Result<(ClaimFile, Worktree), CliError> {
    let missing = || {
        let message = format!("this clone has no worktree for {id}");
        CliError::new(exit::NO, "no-worktree", message, "git scrum worktree list")
    };
    let file = context.session.claims.get(id).ok_or_else(missing)?;
    let worktree = context.session.worktrees()?.of_branch(&file.branch)?.ok_or_else(missing)?;
    Ok((file, worktree))
}

fn list(context: &Context) -> Result<Reply, CliError> {
    let known = context.session.claims.all();
    let mut rows: Vec<Value> = Vec::new();
    let mut text = String::new();
    for worktree in context.session.worktrees()?.list()? {
        let claim = known.iter().find(|(_, file)| Some(&file.branch) == worktree.branch.as_ref());
        let task = claim.map(|(task, _)| task.as_str());
        let fence: Option<Fence> = claim.map(|(_, file)| file.fence);
        let path = worktree.path.to_string_lossy().into_owned();
        let branch = worktree.branch.as_ref().map(|branch| branch.as_str());
        let head = worktree.head.as_ref().map(|id| id.as_str());
        text.push_str(&format!("{path}  {}  {}\n", branch.unwrap_or("(no branch)"), task.unwrap_or("-")));
        rows.push(json!({ "path": path, "branch": branch, "head": head, "task": task, "fence": fence.map(|f| f.0) }));
    }
    Ok(Reply::new(json!({ "worktrees": rows }), view::clean(&text)))
}

fn clean(context: &Context) -> Result<Reply, CliError> {
    let worktrees = context.session.worktrees()?;
    let mut removed = Vec::new();
    for (task, file) in context.session.claims.all() {
        let (stands, _) = context.read(|board| {
            let task = board.task(&task)?;
            Ok(task.is_some_and(|task| task.summary.claim == Some(file.fence)))
        })?;
        if stands {
            continue;
        }
        let gone = remove_of_old_claim(context, &worktrees, &task, &file)?;
        removed.extend(gone.map(|gone| (task, gone)));
    }
    Ok(reply(&removed))
}

/// Removes what there is here of a claim that is over; what is nowhere else is saved first.
pub(super) fn remove_of_old_claim(
    context: &Context,
    worktrees: &Worktrees,
    task: &TaskId,
    file: &ClaimFile,
) -> Result<Option<Removed>, Fault> {
    // A command that was killed may have removed the worktree and not have forgotten the claim.
    let worktree = worktrees.of_branch(&file.branch)?;
    let gone = worktree.map(|worktree| worktrees.remove(&worktree, task, file.fence)).transpose()?;
    context.session.claims.forget(task);
    Ok(gone)
}

fn reply(removed: &[(TaskId, Removed)]) -> Reply {
    let mut rows: Vec<Value> = Vec::new();
    let mut text = String::new();
    for (task, removed) in removed {
        let path = removed.path.to_string_lossy().into_owned();
        text.push_str(&format!("Removed {path}\n"));
        if let Some((name, commit)) = &removed.saved {
            text.push_str(&format!("  its unfinished work is saved as {commit} in {name}\n"));
        }
        let saved = removed.saved.as_ref().map(|(name, commit)| json!({ "ref": name, "commit": commit }));
        rows.push(json!({ "task": task.as_str(), "path": path, "saved": saved }));
    }
    if text.is_empty() {
        text.push_str("Nothing to remove.\n");
    }
    Reply::new(json!({ "removed": rows }), view::clean(&text))
}
