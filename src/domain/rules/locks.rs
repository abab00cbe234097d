//! Locking paths without a task.

use std::collections::BTreeSet;

use super::{Ruling, counters, kept_reason};
use crate::domain::board::{Board, Draft};
use crate::domain::claim::{Fence, GRANT_PATTERN_BYTES_MAX, Grant, Lease, LockMode, PathLock};
use crate::domain::{Operation, Outcome, Pattern, Refusal, Seconds, Stop};

pub(super) fn lock<B: Board>(
    draft: &mut Draft<'_, B>,
    operation: &Operation,
    patterns: &[Pattern],
    mode: LockMode,
    lease: Seconds,
    reason: Option<&str>,
) -> Ruling<B::Fault> {
    let size = patterns.iter().map(|pattern| pattern.as_str().len() * 2 + 4).sum();
    if size > GRANT_PATTERN_BYTES_MAX {
        let what = "patterns of one lock in bytes";
        return Err(Stop::Refused(Refusal::TooLarge { what, size, size_max: GRANT_PATTERN_BYTES_MAX }));
    }
    for grant in draft.grants()? {
        // What one holds oneself, by a lock or by a claim, is not in one's own way.
        let own = *grant.holder() == operation.by;
        if let (false, Some((wanted, held))) = (own, grant.conflict(patterns, mode)) {
            return Err(Stop::Refused(Refusal::Locked {
                wanted,
                held,
                holder: grant.holder().clone(),
                task: grant.task().cloned(),
                until: grant.until(),
            }));
        }
    }
    let mut counters = counters(draft)?;
    counters.fence = Fence(counters.fence.0 + 1);
    let fence = counters.fence;
    let lease = Lease { renewed_at: operation.at, length: lease };
    draft.put_counters(counters);
    draft.put_grant(Grant::Lock(PathLock {
        fence,
        holder: operation.by.clone(),
        patterns: patterns.to_vec(),
        mode,
        lease,
        reason: reason.map(|reason| kept_reason(reason).chars().take(120).collect()),
    }));
    Ok(Outcome::Locked { fence, until: lease.until() })
}

pub(super) fn unlock<B: Board>(
    draft: &mut Draft<'_, B>,
    operation: &Operation,
    patterns: &[Pattern],
    force: bool,
) -> Ruling<B::Fault> {
    let mut wanted: BTreeSet<&str> = patterns.iter().map(Pattern::as_str).collect();
    let mut unlocked = Vec::new();
    let grants = draft.grants()?;
    for grant in grants.clone() {
        let Grant::Lock(mut lock) = (*grant).clone() else { continue };
        // Force is for patterns that are named: nobody means to unlock everything of everybody.
        if lock.holder != operation.by && (!force || patterns.is_empty()) {
            continue;
        }
        let (gone, kept): (Vec<Pattern>, Vec<Pattern>) =
            lock.patterns.into_iter().partition(|held| patterns.is_empty() || patterns.contains(held));
        if gone.is_empty() {
            continue;
        }
        for pattern in &gone {
            wanted.remove(pattern.as_str());
        }
        unlocked.extend(gone);
        if kept.is_empty() {
            draft.remove_grant(lock.fence);
        } else {
            lock.patterns = kept;
            draft.put_grant(Grant::Lock(lock));
        }
    }
    if let Some(missing) = patterns.iter().find(|pattern| wanted.contains(pattern.as_str())) {
        let theirs = grants.iter().find(|grant| grant.patterns().contains(missing));
        return Err(Stop::Refused(theirs.map_or_else(
            || Refusal::NotLocked(missing.clone()),
            |theirs| Refusal::Locked {
                wanted: missing.clone(),
                held: missing.clone(),
                holder: theirs.holder().clone(),
                task: theirs.task().cloned(),
                until: theirs.until(),
            },
        )));
    }
    Ok(Outcome::Unlocked { patterns: unlocked })
}
