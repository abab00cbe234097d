//! Folding a ledger: a checkpoint takes the place of its versions.
//!
//! Guarantees: a checkpoint replaces exactly the version it was made of, or nothing; that version stays at the truth in
//! an archive, and is there before the ledger is moved; whoever writes meanwhile wins or decides again, as after any
//! other version.

use std::time::Duration;

use super::pace::{LOCKED_ATTEMPTS_MAX, patience_ms};
use super::{ATTEMPTS_MAX, Fault, Intent, Keep, Outcome, Pace, Store, TransactError, Version, checkpoint};
use crate::planted::{self, Bug};

/// How many attempts may end in doubt before nobody tries any more.
const DOUBTFUL_ATTEMPTS_MAX: u32 = 4;

/// What is to be folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoldRequest {
    /// What the checkpoint names of what it replaces.
    pub keep: Keep,
    /// With fewer versions than this nothing is done.
    pub versions_min: usize,
    /// Look only.
    pub dry_run: bool,
    /// When, in seconds since 1970.
    pub at_secs: u64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// The version that was, or would be, replaced.
    pub from: Version,
    /// The checkpoint in its place; `None` where nothing was done.
    pub to: Option<Version>,
    /// How many versions there were, since the ledger began or was folded.
    pub versions: usize,
    /// How many the checkpoint names, or would.
    pub kept: usize,
    /// Whether there were enough of them.
    pub worth_it: bool,
}

/// Folds the ledger of `store`. `None` where there is no ledger yet.
pub fn fold<S: Store>(
    store: &S,
    pace: &(impl Pace + ?Sized),
    request: &FoldRequest,
) -> Result<Option<Folded>, TransactError<Fault>> {
    store.in_turn(|| {
        // A wish would take the place of what this clone has left open, which could happen unnoticed then.
        let may_ask = store.exchanges() && store.left_open()?.is_none();
        let mut asked = false;
        let folded = try_fold(store, pace, request, may_ask, &mut asked);
        if asked {
            // Whoever was let through takes the wish back. If that fails, others remove it.
            let _ = store.offer(&[], &[], request.at_secs);
        }
        folded
    })?
}

fn try_fold<S: Store>(
    store: &S,
    pace: &(impl Pace + ?Sized),
    request: &FoldRequest,
    may_ask: bool,
    asked: &mut bool,
) -> Result<Option<Folded>, TransactError<Fault>> {
    // Checkpoints that may have arrived, or may yet, with what they stand for.
    let mut tried: Vec<Folded> = Vec::new();
    let (mut locked, mut doubtful, mut doubt) = (0, 0, None);
    for attempt in 1..=ATTEMPTS_MAX {
        let Some(tip) = store.refresh()? else { return Ok(None) };
        let chain = store.history(&tip, None, usize::MAX)?;
        let arrived = |folded: &Folded| chain.iter().any(|entry| Some(&entry.version) == folded.to.as_ref());
        if let Some(index) = tried.iter().position(arrived) {
            return Ok(Some(tried.swap_remove(index)));
        }
        if let (true, Some(reason)) = (doubtful >= DOUBTFUL_ATTEMPTS_MAX, doubt.take()) {
            return Err(TransactError::Unknown { reason });
        }
        let versions = checkpoint::in_person(&chain);
        let listed = checkpoint::listed(&chain, &request.keep);
        let worth_it = versions >= request.versions_min;
        let would = Folded { from: tip.clone(), to: None, versions, kept: listed.len(), worth_it };
        if request.dry_run || !worth_it {
            return Ok(Some(would));
        }
        let text = checkpoint::message(&tip, versions, pace.nonce());
        let new = store.write_checkpoint(&tip, &checkpoint::encode(listed)?, &text, request.at_secs)?;
        let folded = Folded { to: Some(new.clone()), ..would };
        let old = if planted::is(Bug::FoldUnleased) { store.refresh()?.unwrap_or(tip) } else { tip };
        match store.replace(&old, &new)? {
            Outcome::Applied => return Ok(Some(folded)),
            Outcome::Lost { .. } if may_ask && !*asked => {
                // Others write, and this is nothing that they could do: they let it through, as they do a landing.
                *asked = true;
                let wish = Intent { id: pace.nonce(), base: old, payload: Vec::new() };
                store.offer(&[wish], &[], request.at_secs)?;
            }
            Outcome::Lost { .. } => {}
            Outcome::Locked { reason } => {
                locked += 1;
                if locked >= LOCKED_ATTEMPTS_MAX {
                    return Err(TransactError::Locked { reason });
                }
                pace.wait(Duration::from_millis(50 << locked));
            }
            Outcome::Refused { ref_name, reason } => return Err(TransactError::Refused { ref_name, reason }),
            Outcome::NotAtomic => return Err(TransactError::NotAtomic),
            Outcome::Unknown { reason } => {
                doubtful += 1;
                doubt = Some(reason);
                tried.push(folded);
            }
        }
        pace.wait(Duration::from_millis(pace.below(patience_ms(attempt))));
    }
    Err(TransactError::Exhausted { attempts: ATTEMPTS_MAX })
}
