//! Claiming, renewing, giving back, failing and finishing.

use std::ops::ControlFlow;
use std::rc::Rc;

use super::{
    Ruling, become_state, cars, claim_of, close, counters, expiry, held, kept_reason, own_claim, return_to_queue, task,
    wrong_state,
};
use crate::domain::board::{Board, Draft, OpenTasks};
use crate::domain::claim::{Claim, Fence, Grant, Lease, LockMode};
use crate::domain::refusal::Skipped;
use crate::domain::task::{Summary, TaskState};
use crate::domain::{
    Branch, Command, Label, Operation, Outcome, Pattern, Priority, Refusal, Seconds, Stop, TaskId, Team, TeamName,
};

/// How many passed-over tasks are named when there is nothing to claim.
const SKIPPED_MAX: usize = 100;

pub(super) fn claim<B: Board>(
    draft: &mut Draft<'_, B>,
    operation: &Operation,
    expired: Vec<TaskId>,
) -> Ruling<B::Fault> {
    let Command::Claim { task, team, labels, count, lease, branch_template } = &operation.command else {
        unreachable!("BUG: only a claim is decided here")
    };
    let wanted = Wanted {
        team: team_record(draft, team.as_ref())?,
        labels,
        room: room(draft, team.as_ref())?,
        count: (*count).max(1) as usize,
    };
    let chosen = match task {
        Some(id) => vec![choose_named(draft, operation, id, &wanted)?],
        None => choose_best(draft, operation, &wanted)?,
    };
    let mut tasks = Vec::new();
    let mut fences = Vec::new();
    for id in chosen {
        let fence = grant(draft, operation, &id, team.as_ref(), *lease, branch_template)?;
        tasks.push(id);
        fences.push(fence);
    }
    Ok(Outcome::Claimed { tasks, fences, expired })
}

/// What a claim looks for.
struct Wanted<'a> {
    team: Option<Team>,
    labels: &'a [Label],
    /// How many more tasks the team takes; `Err`: none, and how many it has at most.
    room: Result<usize, u32>,
    count: usize,
}

fn team_record<B: Board>(draft: &Draft<'_, B>, name: Option<&TeamName>) -> Result<Option<Team>, Stop<B::Fault>> {
    let Some(name) = name else { return Ok(None) };
    Ok(Some(draft.team(name)?.unwrap_or_else(|| Team::generalist(name.clone()))))
}

/// How many more tasks the team may take.
fn room<B: Board>(draft: &Draft<'_, B>, name: Option<&TeamName>) -> Result<Result<usize, u32>, Stop<B::Fault>> {
    let Some(name) = name else { return Ok(Ok(usize::MAX)) };
    let Some(capacity) = draft.team(name)?.and_then(|team| team.capacity) else { return Ok(Ok(usize::MAX)) };
    let working = |grant: &Grant| matches!(grant, Grant::Claim(c) if c.team.as_ref() == Some(name) && !c.submitted);
    let load = draft.grants()?.iter().filter(|grant| working(grant)).count();
    let room = (capacity as usize).saturating_sub(load);
    Ok(if room == 0 { Err(capacity) } else { Ok(room) })
}

fn choose_named<B: Board>(
    draft: &Draft<'_, B>,
    operation: &Operation,
    id: &TaskId,
    wanted: &Wanted<'_>,
) -> Result<TaskId, Stop<B::Fault>> {
    let task = task(draft, id)?;
    let refusal = match (task.summary.state, claim_of(draft, &task)?, &wanted.room, &wanted.team) {
        (_, Some(claim), _, _) => held(&claim),
        (TaskState::Queued, None, Err(capacity), Some(team)) => {
            Refusal::AtCapacity { team: team.name.clone(), capacity: *capacity }
        }
        (TaskState::Queued, None, _, _) => {
            let grants = draft.grants()?;
            match obstacle(&grants, operation, &task.summary.paths) {
                None => return Ok(id.clone()),
                Some((grant, mine, theirs)) => Refusal::Locked {
                    wanted: mine,
                    held: theirs,
                    holder: grant.holder().clone(),
                    task: grant.task().cloned(),
                    until: grant.until(),
                },
            }
        }
        (_, None, _, _) => wrong_state(&task, "be claimed"),
    };
    Err(Stop::Refused(refusal))
}

/// Picks the best tasks by priority and then age, passing over those that are not for the team or whose paths are
/// locked.
fn choose_best<B: Board>(
    draft: &Draft<'_, B>,
    operation: &Operation,
    wanted: &Wanted<'_>,
) -> Result<Vec<TaskId>, Stop<B::Fault>> {
    let count = match (wanted.room, &wanted.team) {
        (Ok(room), _) => wanted.count.min(room),
        (Err(capacity), Some(team)) => {
            return Err(Stop::Refused(Refusal::AtCapacity { team: team.name.clone(), capacity }));
        }
        (Err(_), None) => 0,
    };
    let grants = draft.grants()?;
    let mut chosen: Vec<Summary> = Vec::new();
    let mut skipped = Vec::new();
    for priority in Priority::ALL {
        if chosen.len() == count {
            break;
        }
        draft.visit_open(OpenTasks::Queued, priority, &mut |task| {
            match why_not(task, operation, wanted, &grants, &chosen) {
                None => chosen.push(task.clone()),
                Some(skip) if skipped.len() < SKIPPED_MAX => skipped.push(skip),
                Some(_) => {}
            }
            // At once, so that no record is read that is not needed.
            if chosen.len() == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
    }
    if chosen.is_empty() {
        for priority in Priority::ALL {
            draft.visit_open(OpenTasks::Waiting, priority, &mut |task| {
                if skipped.len() == SKIPPED_MAX {
                    return ControlFlow::Break(());
                }
                let holder = grants.iter().find(|grant| Some(grant.fence()) == task.claim).map(|g| g.holder().clone());
                skipped.push(Skipped { task: task.id.clone(), reason: task.state.to_string(), holder });
                ControlFlow::Continue(())
            })?;
        }
        return Err(Stop::Refused(Refusal::NothingToClaim(skipped)));
    }
    Ok(chosen.into_iter().map(|task| task.id).collect())
}

/// The queued tasks that could be claimed now, each by itself, in the order of claiming.
pub fn ready<B: Board>(
    board: &B,
    operation: &Operation,
    team: Option<&TeamName>,
) -> Result<Vec<Summary>, Stop<B::Fault>> {
    let mut draft = Draft::new(board);
    expiry::take_back(&mut draft, operation)?;
    let wanted = Wanted { team: team_record(&draft, team)?, labels: &[], room: Ok(usize::MAX), count: usize::MAX };
    let grants = draft.grants()?;
    let mut ready = Vec::new();
    for priority in Priority::ALL {
        draft.visit_open(OpenTasks::Queued, priority, &mut |task| {
            if why_not(task, operation, &wanted, &grants, &[]).is_none() {
                ready.push(task.clone());
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(ready)
}

/// Why `task` is passed over, if it is.
fn why_not(
    task: &Summary,
    operation: &Operation,
    wanted: &Wanted<'_>,
    grants: &[Rc<Grant>],
    chosen: &[Summary],
) -> Option<Skipped> {
    let skip = |reason: String, holder| Some(Skipped { task: task.id.clone(), reason, holder });
    if let Some(label) = wanted.labels.iter().find(|label| !task.labels.contains(label)) {
        return skip(format!("has no label {label}"), None);
    }
    if let Some(team) = &wanted.team
        && !team.can_do(task)
    {
        return skip(format!("is not for team {}", team.name), None);
    }
    if let Some((grant, mine, theirs)) = obstacle(grants, operation, &task.paths) {
        let of = grant.task().map(|task| format!(" for {task}")).unwrap_or_default();
        return skip(format!("{mine} meets {theirs}, locked by {}{of}", grant.holder()), Some(grant.holder().clone()));
    }
    let meets = |other: &&Summary| task.paths.iter().any(|a| other.paths.iter().any(|b| a.overlaps(b)));
    let other = chosen.iter().find(meets)?;
    skip(format!("its paths meet those of {}, claimed with it", other.id), Some(operation.by.clone()))
}

/// The grant that stands in the way of working on `paths`. A person's own lock is not in their own way; another claim
/// of theirs is, for it is another worktree.
fn obstacle<'g>(
    grants: &'g [Rc<Grant>],
    operation: &Operation,
    paths: &[Pattern],
) -> Option<(&'g Grant, Pattern, Pattern)> {
    grants.iter().find_map(|grant| {
        if matches!(&**grant, Grant::Lock(lock) if lock.holder == operation.by) {
            return None;
        }
        grant.conflict(paths, LockMode::Exclusive).map(|(mine, theirs)| (&**grant, mine, theirs))
    })
}

fn grant<B: Board>(
    draft: &mut Draft<'_, B>,
    operation: &Operation,
    id: &TaskId,
    team: Option<&TeamName>,
    lease: Seconds,
    branch_template: &str,
) -> Result<Fence, Stop<B::Fault>> {
    let mut counters = counters(draft)?;
    counters.fence = Fence(counters.fence.0 + 1);
    let mut task = task(draft, id)?;
    task.grants += 1;
    let branch = branch_for(branch_template, id, team, task.grants)
        .ok_or(Stop::Refused(Refusal::BadText { what: "branch template", rule: "it must give a branch name" }))?;
    let claim = Claim {
        fence: counters.fence,
        task: id.clone(),
        holder: operation.by.clone(),
        team: team.cloned(),
        branch,
        paths: task.summary.paths.clone(),
        lease: Lease { renewed_at: operation.at, length: lease },
        submitted: false,
    };
    become_state(&mut task, TaskState::Claimed, None);
    task.summary.claim = Some(claim.fence);
    let fence = counters.fence;
    draft.put_counters(counters);
    draft.put_grant(Grant::Claim(claim));
    draft.put_task(task);
    Ok(fence)
}

/// The branch for the `nth` grant of a task. From the second on it has a number, so that a holder who lost the task
/// and does not know it yet cannot push over the next one's work. It stands after a dot, which no task id has: the
/// second grant of `fix` must not meet the first of `fix-2`.
fn branch_for(template: &str, id: &TaskId, team: Option<&TeamName>, nth: u32) -> Option<Branch> {
    let filled = template.replace("{id}", id.as_str()).replace("{team}", team.map_or("any", TeamName::as_str));
    let name = if nth > 1 { format!("{filled}.{nth}") } else { filled };
    Branch::parse(&name).ok()
}

pub(super) fn renew<B: Board>(
    draft: &mut Draft<'_, B>,
    operation: &Operation,
    id: &TaskId,
    fence: Option<Fence>,
    lease: Option<Seconds>,
) -> Ruling<B::Fault> {
    let (_, mut claim) = own_claim(draft, operation, id, fence)?;
    // A clock that is behind must not shorten what was promised.
    let renewed_at = operation.at.max(claim.lease.renewed_at);
    claim.lease = Lease { renewed_at, length: lease.unwrap_or(claim.lease.length) };
    let (fence, until) = (claim.fence, claim.lease.until());
    draft.put_grant(Grant::Claim(claim));
    Ok(Outcome::Renewed { task: id.clone(), fence, until })
}

pub(super) fn release<B: Board>(
    draft: &mut Draft<'_, B>,
    operation: &Operation,
    id: &TaskId,
    fence: Option<Fence>,
    reason: Option<&str>,
    force: bool,
) -> Ruling<B::Fault> {
    let mut task = if force { task(draft, id)? } else { own_claim(draft, operation, id, fence)?.0 };
    if task.summary.claim.is_none() {
        return Err(Stop::Refused(wrong_state(&task, "be released, for nobody holds it")));
    }
    if task.summary.state == TaskState::Submitted {
        cars::withdraw_task(draft, operation, id, "its task was released")?;
    }
    return_to_queue(draft, &mut task, reason.map(kept_reason))?;
    draft.put_task(task);
    Ok(Outcome::Returned { task: id.clone(), given_up: false })
}

pub(super) fn fail<B: Board>(
    draft: &mut Draft<'_, B>,
    operation: &Operation,
    id: &TaskId,
    fence: Option<Fence>,
    reason: &str,
    retries_max: u32,
) -> Ruling<B::Fault> {
    let (mut task, _) = own_claim(draft, operation, id, fence)?;
    if task.summary.state == TaskState::Submitted {
        cars::withdraw_task(draft, operation, id, "its task was reported as failed")?;
    }
    task.failures += 1;
    let given_up = task.failures > retries_max;
    let reason = Some(kept_reason(reason));
    if given_up {
        close(draft, task, TaskState::Failed, reason, operation.at)?;
    } else {
        return_to_queue(draft, &mut task, reason)?;
        draft.put_task(task);
    }
    Ok(Outcome::Returned { task: id.clone(), given_up })
}

pub(super) fn done<B: Board>(
    draft: &mut Draft<'_, B>,
    operation: &Operation,
    id: &TaskId,
    fence: Option<Fence>,
) -> Ruling<B::Fault> {
    let task = task(draft, id)?;
    match task.summary.state {
        // Work that nobody had claimed may be found finished; a submitted task is the train's to finish.
        TaskState::Queued | TaskState::Blocked if fence.is_none() => {}
        TaskState::Claimed => {
            own_claim(draft, operation, id, fence)?;
        }
        // Whoever names a fence that is stale learns that before anything else.
        _ => {
            if fence.is_some() {
                own_claim(draft, operation, id, fence)?;
            }
            return Err(Stop::Refused(wrong_state(&task, "be finished by hand")));
        }
    }
    let unblocked = close(draft, task, TaskState::Done, None, operation.at)?;
    Ok(Outcome::Finished { task: id.clone(), unblocked })
}
