//! What has run out, and what an operation takes back of it.
//!
//! Whether a grant has run out depends on heartbeats, which are not on the board. So whoever asks looks, and lists in
//! the operation what was found overdue; whoever applies it, then or later, goes by that list, and a replay does the
//! same. Guarantees: what is not listed is never taken back; what is listed is taken back only where it has run out on
//! the very board that the operation is applied to.

use std::rc::Rc;

use super::{return_to_queue, task};
use crate::domain::board::{Board, Changes, Draft};
use crate::domain::claim::{Beats, Grant, Overdue};
use crate::domain::{Command, Fence, Operation, Seconds, Stop, TaskId, Timestamp};
use crate::planted::{self, Bug};

/// The most grants that one operation lists: it has to fit into a record. The others are taken back by the next.
pub const OVERDUE_MAX: usize = 256;

/// The grants that have run out, also by the heartbeats of their holders, the oldest first.
pub fn overdue(grants: &[Rc<Grant>], beats: &Beats, now: Timestamp, skew: Seconds) -> Vec<Overdue> {
    let beat = |fence: Fence| beats.get(&fence).copied().filter(|_| !planted::is(Bug::HeartbeatIgnored));
    let listed = grants.iter().map(|grant| (grant, Overdue { fence: grant.fence(), beat: beat(grant.fence()) }));
    let listed = listed.filter(|(grant, overdue)| grant.has_run_out(overdue.beat, now, allowance(skew)));
    listed.map(|(_, overdue)| overdue).take(OVERDUE_MAX).collect()
}

/// Until when, in seconds since 1970, none of these grants runs out, whatever is known of heartbeats.
pub fn calm_secs<'a>(grants: impl IntoIterator<Item = &'a Grant>) -> u64 {
    grants.into_iter().filter_map(Grant::until).map(Timestamp::as_secs).min().unwrap_or(u64::MAX)
}

/// Whether a command takes back what has run out. What moves refs of the code in the same push does nothing else: it
/// may turn out to have nothing to say, and then it must not publish anything.
pub fn recovers(command: &Command) -> bool {
    !matches!(command, Command::Init { .. } | Command::Verdict { .. } | Command::Land { .. })
}

/// Takes back what has run out, so that it can be granted again. Gives the tasks.
pub(super) fn take_back<B: Board>(
    draft: &mut Draft<'_, B>,
    operation: &Operation,
) -> Result<Vec<TaskId>, Stop<B::Fault>> {
    let mut expired = Vec::new();
    for (grant, beat) in listed(draft, operation)? {
        if is_about(&operation.command, &grant) || !grant.has_run_out(beat, operation.at, allowance(operation.skew)) {
            continue;
        }
        match &*grant {
            Grant::Lock(lock) => draft.remove_grant(lock.fence),
            Grant::Claim(claim) => {
                let mut task = task(draft, &claim.task)?;
                let until = grant.kept_until(beat).unwrap_or(claim.lease.until());
                let reason = format!("the lease of {} ran out at {until}", claim.holder);
                return_to_queue(draft, &mut task, Some(reason))?;
                draft.put_task(task);
                expired.push(claim.task.clone());
            }
        }
    }
    Ok(expired)
}

/// The tasks that an operation has taken back beside its own business, by the changes it made of `board`.
pub fn taken_back<B: Board>(board: &B, operation: &Operation, changes: &Changes) -> Result<Vec<TaskId>, B::Fault> {
    let mut tasks = Vec::new();
    for overdue in operation.overdue.iter().flatten() {
        if let (Some(None), Some(grant)) = (changes.grants.get(&overdue.fence), board.grant(overdue.fence)?)
            && !is_about(&operation.command, &grant)
        {
            tasks.extend(grant.task().cloned());
        }
    }
    Ok(tasks)
}

/// A grant with the last heartbeat of its holder.
type Listed = (Rc<Grant>, Option<Timestamp>);

/// What an operation may take back, each with the last heartbeat of its holder. One that says nothing of heartbeats was
/// asked before there were any: it may take back everything, if it needs room for a grant.
fn listed<B: Board>(draft: &Draft<'_, B>, operation: &Operation) -> Result<Vec<Listed>, Stop<B::Fault>> {
    let listed = operation.overdue.as_ref().filter(|_| !planted::is(Bug::UnlistedTakenBack));
    let grants_something = matches!(operation.command, Command::Claim { .. } | Command::Lock { .. });
    match listed {
        Some(_) if !recovers(&operation.command) => Ok(Vec::new()),
        Some(listed) => {
            let mut grants = Vec::new();
            for overdue in listed.iter().take(OVERDUE_MAX) {
                grants.extend(draft.grant(overdue.fence)?.map(|grant| (Rc::new(grant), overdue.beat)));
            }
            Ok(grants)
        }
        None if grants_something => Ok(draft.grants()?.into_iter().map(|grant| (grant, None)).collect()),
        None => Ok(Vec::new()),
    }
}

/// Whether a command is about this very grant: as long as nobody has taken its holder's place they may go on with it.
fn is_about(command: &Command, grant: &Grant) -> bool {
    match command {
        Command::Renew { task, .. }
        | Command::Release { task, .. }
        | Command::Fail { task, .. }
        | Command::Done { task, .. } => grant.task() == Some(task),
        Command::Submit { task: Some(of), .. } => grant.task() == Some(&of.id),
        Command::Unlock { .. } => matches!(grant, Grant::Lock(_)),
        _ => false,
    }
}

fn allowance(skew: Seconds) -> Seconds {
    if planted::is(Bug::SkewIgnored) { Seconds(0) } else { skew }
}
