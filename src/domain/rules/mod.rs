//! What each command does to a board: one file for each group of commands.
//!
//! [`decide`] is the only door. It is pure: the same board and operation give the same changes, whoever asks and
//! however often.

mod cars;
mod claims;
mod controls;
mod expiry;
mod locks;
mod runs;
mod tasks;
mod teams;

pub use claims::ready;
pub use expiry::{OVERDUE_MAX, calm_secs, overdue, recovers, taken_back};

use super::board::{Board, Changes, Draft};
use super::claim::{Claim, Fence, Grant};
use super::id::is_unprintable;
use super::task::{REASON_BYTES_MAX, Task, TaskState};
use super::{Command, Counters, Operation, Outcome, Refusal, Stop, TaskId, Timestamp};
use crate::planted::{self, Bug};

/// What a rule gives.
type Ruling<F> = Result<Outcome, Stop<F>>;

/// Decides one operation on `board`: the changes to make and the outcome, or why not.
pub fn decide<B: Board>(board: &B, operation: &Operation) -> Result<(Changes, Outcome), Stop<B::Fault>> {
    let mut draft = Draft::new(board);
    let outcome = apply(&mut draft, operation)?;
    Ok((draft.into_changes(), outcome))
}

fn apply<B: Board>(draft: &mut Draft<'_, B>, operation: &Operation) -> Ruling<B::Fault> {
    if let Command::Init { target } = &operation.command {
        let created = draft.counters()?.is_none();
        if created {
            draft.put_counters(Counters { target: target.clone(), fence: Fence(0), seq: 0, numbered: 0 });
        }
        return Ok(Outcome::Board { created });
    }
    counters(draft)?;
    let expired = expiry::take_back(draft, operation)?;
    match &operation.command {
        Command::Init { .. } => unreachable!("BUG: init was decided above"),
        Command::Add(new) => tasks::add(draft, operation, new),
        Command::Edit { task, edit } => tasks::edit(draft, task, edit),
        Command::Cancel { task, reason } => tasks::cancel(draft, operation, task, reason.as_deref()),
        Command::Reopen { task } => tasks::reopen(draft, task),
        Command::Block { task, reason } => tasks::block(draft, task, reason),
        Command::Unblock { task } => tasks::unblock(draft, task),
        Command::Claim { .. } => claims::claim(draft, operation, expired),
        Command::Renew { task, fence, lease } => claims::renew(draft, operation, task, *fence, *lease),
        Command::Release { task, fence, reason, force } => {
            claims::release(draft, operation, task, *fence, reason.as_deref(), *force)
        }
        Command::Fail { task, fence, reason, retries_max } => {
            claims::fail(draft, operation, task, *fence, reason, *retries_max)
        }
        Command::Done { task, fence } => claims::done(draft, operation, task, *fence),
        Command::Lock { patterns, mode, lease, reason } => {
            locks::lock(draft, operation, patterns, *mode, *lease, reason.as_deref())
        }
        Command::Unlock { patterns, force } => locks::unlock(draft, operation, patterns, *force),
        Command::AddTeam(team) => teams::add(draft, team),
        Command::RemoveTeam { name } => teams::remove(draft, name),
        Command::Submit { .. } => cars::submit(draft, operation),
        Command::Eject { .. } => cars::eject(draft, operation),
        Command::Pause { target, reason, below } => controls::pause(draft, target, reason, *below),
        Command::Resume { target } => controls::resume(draft, target),
        Command::Approve { .. } => controls::approve(draft, operation),
        Command::Promote { target, car } => controls::promote(draft, target, car),
        Command::StartRun { target, run } => runs::start_run(draft, target, run),
        Command::ChangeRuns { .. } => runs::change_runs(draft, &operation.command),
        Command::Verdict { .. } => runs::verdict(draft, operation),
        Command::AnnounceLanding { .. } => cars::announce_landing(draft, operation),
        Command::AbandonLanding { target, to } => cars::abandon_landing(draft, target, to),
        Command::Land { .. } => cars::land(draft, operation),
    }
}

fn counters<B: Board>(draft: &Draft<'_, B>) -> Result<Counters, Stop<B::Fault>> {
    draft.counters()?.ok_or(Stop::Refused(Refusal::NoBoard))
}

fn task<B: Board>(draft: &Draft<'_, B>, id: &TaskId) -> Result<Task, Stop<B::Fault>> {
    draft.task(id)?.ok_or_else(|| Stop::Refused(Refusal::NoSuchTask(id.clone())))
}

/// The claim of `task`, if anybody has it.
fn claim_of<B: Board>(draft: &Draft<'_, B>, task: &Task) -> Result<Option<Claim>, Stop<B::Fault>> {
    let Some(fence) = task.summary.claim else { return Ok(None) };
    Ok(match draft.grant(fence)? {
        Some(Grant::Claim(claim)) => Some(claim),
        _ => None,
    })
}

/// The task and its claim, if the asker has it: by the fence they name, or else by their name.
fn own_claim<B: Board>(
    draft: &Draft<'_, B>,
    operation: &Operation,
    id: &TaskId,
    named: Option<Fence>,
) -> Result<(Task, Claim), Stop<B::Fault>> {
    let task = task(draft, id)?;
    let claim = claim_of(draft, &task)?;
    let submits = matches!(operation.command, Command::Submit { .. });
    let refusal = match (claim, named) {
        (Some(claim), _) if submits && planted::is(Bug::FenceUncheckedAtSubmit) => return Ok((task, claim)),
        (Some(claim), Some(named)) if claim.fence == named => return Ok((task, claim)),
        (Some(claim), None) if claim.holder == operation.by => return Ok((task, claim)),
        (Some(claim), None) => held(&claim),
        (claim, Some(named)) => {
            let until = |claim: &Claim| Grant::Claim(claim.clone()).until();
            let present = claim.map(|claim| (claim.holder.clone(), claim.fence, until(&claim)));
            Refusal::StaleFence { task: id.clone(), named, present }
        }
        (None, None) => wrong_state(&task, "be renewed, submitted, given back or failed, for nobody holds it"),
    };
    Err(Stop::Refused(refusal))
}

fn held(claim: &Claim) -> Refusal {
    Refusal::Held {
        task: claim.task.clone(),
        holder: claim.holder.clone(),
        fence: claim.fence,
        until: Grant::Claim(claim.clone()).until(),
    }
}

fn wrong_state(task: &Task, wanted: &'static str) -> Refusal {
    Refusal::WrongState {
        task: task.summary.id.clone(),
        state: task.summary.state,
        wanted,
        reason: task.reason.clone(),
    }
}

/// Moves a task to another state.
fn become_state(task: &mut Task, next: TaskState, reason: Option<String>) {
    let state = task.summary.state;
    assert!(state.may_become(next), "BUG: task {} cannot go from {state} to {next}", task.summary.id);
    task.summary.state = next;
    task.reason = reason;
    if !next.is_closed() {
        task.closed_at = None;
    }
}

/// The state of a task that nobody holds: queued, unless something is in its way, and then what.
fn waiting_state<B: Board>(draft: &Draft<'_, B>, task: &Task) -> Result<(TaskState, Option<String>), Stop<B::Fault>> {
    if task.held_back {
        return Ok((TaskState::Blocked, task.reason.clone()));
    }
    let mut open = Vec::new();
    for id in &task.summary.needs {
        if draft.task(id)?.is_none_or(|needed| !needed.summary.state.satisfies()) {
            open.push(id.as_str());
        }
    }
    Ok(match open.as_slice() {
        [] => (TaskState::Queued, None),
        open => (TaskState::Blocked, Some(format!("needs {}", open.join(", ")))),
    })
}

/// Gives a task that somebody held, or that was closed, back to those who wait for work.
fn return_to_queue<B: Board>(
    draft: &mut Draft<'_, B>,
    task: &mut Task,
    reason: Option<String>,
) -> Result<(), Stop<B::Fault>> {
    if let Some(fence) = task.summary.claim.take() {
        draft.remove_grant(fence);
    }
    let (state, waits_for) = waiting_state(draft, task)?;
    become_state(task, state, waits_for.or(reason));
    Ok(())
}

/// Closes a task: its claim and locks are gone, and tasks that waited only for it may start. Gives those.
fn close<B: Board>(
    draft: &mut Draft<'_, B>,
    mut task: Task,
    state: TaskState,
    reason: Option<String>,
    now: Timestamp,
) -> Result<Vec<TaskId>, Stop<B::Fault>> {
    if let Some(fence) = task.summary.claim.take() {
        draft.remove_grant(fence);
    }
    become_state(&mut task, state, reason);
    task.closed_at = Some(now);
    // Holding it back was about this round: a task that is reopened waits for nobody.
    task.held_back = false;
    let waiting = task.needed_by.clone();
    draft.put_task(task);
    let mut unblocked = Vec::new();
    if state.satisfies() {
        for id in waiting {
            if let Some(mut dependant) = draft.task(&id)?
                && dependant.summary.state == TaskState::Blocked
            {
                // One that goes on waiting waits for less: its reason says for what.
                if reconsider(draft, &mut dependant)? == TaskState::Queued {
                    unblocked.push(id);
                }
                draft.put_task(dependant);
            }
        }
    }
    Ok(unblocked)
}

/// Sets a queued or blocked task to the state it ought to have now. Gives that state.
fn reconsider<B: Board>(draft: &Draft<'_, B>, task: &mut Task) -> Result<TaskState, Stop<B::Fault>> {
    let (state, waits_for) = waiting_state(draft, task)?;
    if state == task.summary.state {
        task.reason = waits_for;
    } else {
        become_state(task, state, waits_for);
    }
    Ok(state)
}

/// An operation as it is kept: with its free texts cut to what the rules keep of them, for it is a record, too.
pub fn clipped(mut command: Command) -> Command {
    let clip = |text: &mut String| *text = kept_reason(text);
    match &mut command {
        Command::Cancel { reason: Some(reason), .. }
        | Command::Release { reason: Some(reason), .. }
        | Command::Lock { reason: Some(reason), .. }
        | Command::Block { reason, .. }
        | Command::Fail { reason, .. }
        | Command::Eject { reason, .. }
        | Command::Pause { reason, .. }
        | Command::Submit { title: reason, .. } => clip(reason),
        Command::Verdict { record, .. } => record.output = runs::end_of(&record.output),
        _ => {}
    }
    command
}

/// A reason that may be kept: bounded, and without characters that would change a terminal.
fn kept_reason(reason: &str) -> String {
    let mut kept = String::new();
    for c in reason.chars().map(|c| if is_unprintable(c) { ' ' } else { c }) {
        if kept.len() + c.len_utf8() > REASON_BYTES_MAX {
            break;
        }
        kept.push(c);
    }
    kept.trim().to_owned()
}
