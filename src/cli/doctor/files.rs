//! What killed processes leave on the disk.

use std::time::Duration;

use super::super::errors::CliError;
use super::super::{Context, worktree};
use super::Args;
use crate::domain::board::Board;
use crate::engine::doctor::{self, Finding, LEFT_AFTER, Lock};
use crate::ledger::Store;

/// Lock files of this clone, and of a remote that is a directory here.
pub(super) fn locks(args: &Args, context: &Context) -> Result<Vec<Finding>, CliError> {
    let mut findings = Vec::new();
    for (files, at_remote) in context.session.lock_files() {
        let in_use = files.in_use();
        for file in files.find() {
            let path = file.path.to_string_lossy();
            let lock = Lock { path: &path, age: file.age, owner: &file.owner, in_use, at_remote };
            let finding = lock.judge();
            let asked = args.repair && (args.remote_locks || !at_remote);
            findings.push(if !(asked && lock.is_left()) {
                finding
            } else if files.remove(&file)? {
                finding.repaired("removed")
            } else {
                finding.not_repaired("somebody is at work")
            });
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("locks", "no lock file is in the way of a ref"));
    }
    Ok(findings)
}

/// Worktrees that are gone, half-made, or of claims that are over.
pub(super) fn worktrees(args: &Args, context: &Context) -> Result<Vec<Finding>, CliError> {
    let session = &context.session;
    let worktrees = session.worktrees()?;
    let listed = worktrees.list()?;
    let mut findings = Vec::new();
    let mut unfinished = Vec::new();
    // The first is the repository itself.
    for one in listed.iter().skip(1) {
        let path = one.path.to_string_lossy();
        if !one.path.exists() {
            let finding = doctor::missing_worktree(&path);
            findings.push(match args.repair.then(|| worktrees.prune()) {
                Some(Ok(())) => finding.repaired("forgotten"),
                Some(Err(fault)) => finding.not_repaired(&fault.to_string()),
                None => finding,
            });
        } else if worktrees.is_unfinished(one, Duration::from_secs(LEFT_AFTER.0)) {
            unfinished.push(&one.path);
            let finding = doctor::unfinished_worktree(&path);
            findings.push(match args.repair.then(|| worktrees.remove_unfinished(one)) {
                Some(Ok(())) => finding.repaired("removed"),
                Some(Err(fault)) => finding.not_repaired(&fault.to_string()),
                None => finding,
            });
        }
    }
    if session.store().cached()?.is_some() {
        for (task, file) in session.claims.all() {
            let of_claim = listed.iter().find(|one| one.branch.as_ref() == Some(&file.branch) && one.path.exists());
            let Some(one) = of_claim.filter(|one| !unfinished.contains(&&one.path)) else { continue };
            let stands = context
                .board()?
                .read(false, |board| Ok(board.task(&task)?.is_some_and(|task| task.summary.claim == Some(file.fence))));
            // Where the board cannot be read nothing is over; that has been found before.
            if stands.unwrap_or(true) {
                continue;
            }
            let finding = doctor::worktree_of_old_claim(&one.path.to_string_lossy(), &task, file.fence);
            findings.push(
                match args.repair.then(|| worktree::remove_of_old_claim(context, &worktrees, &task, &file)) {
                    Some(Ok(Some(removed))) => finding.repaired(&match removed.saved {
                        Some((name, _)) => format!("removed, and its unfinished work saved in {name}"),
                        None => "removed".to_owned(),
                    }),
                    Some(Ok(None)) => finding.repaired("it went by itself"),
                    Some(Err(fault)) => finding.not_repaired(&fault.to_string()),
                    None => finding,
                },
            );
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("worktrees", format!("{} beside the repository's own", listed.len().max(1) - 1)));
    }
    Ok(findings)
}
