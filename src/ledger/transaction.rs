//! Read, decide, write, publish; and again when somebody else was faster.
//!
//! Guarantees: what `decide` last saw is what the result is based on; an operation id is applied at most once, also
//! when an answer was lost; a "no" is never given on the strength of a stale cache; the number of attempts is bounded.

use std::time::Duration;

use super::{ATTEMPTS_MAX, Batch, Fault, Message, Outcome, RefUpdate, SEARCH_COMMITS_MAX, Snapshot, Store, Version};

/// What a decision wants done.
pub enum Decision<T> {
    /// Publish a new version; the value is the answer once that has happened.
    Commit {
        /// The changes.
        batch: Batch,
        /// One line for each operation.
        lines: Vec<String>,
        /// Refs that move in the same push, or nothing moves.
        also: Vec<RefUpdate>,
        /// The answer.
        value: T,
    },
    /// Nothing to write: this is the answer.
    Answer(T),
}

/// What one transaction is about.
pub struct Request<'a> {
    /// The ids of the operations it applies.
    pub operations: &'a [String],
    /// When it is applied, in seconds since 1970.
    pub at_secs: u64,
    /// Ask the truth before the first attempt, even when the cache looks good.
    pub fresh: bool,
    /// Where an earlier invocation may have published the same operations: they are looked for first, after this
    /// version, or in the whole chain (`Some(None)`).
    pub resumed_from: Option<Option<Version>>,
}

/// Waiting and randomness, which the caller owns.
pub trait Pace {
    /// Waits.
    fn wait(&self, duration: Duration);
    /// 128 random bits as 32 hexadecimal digits.
    fn nonce(&self) -> String;
    /// A random number below `bound`, which is not 0.
    fn below(&self, bound: u64) -> u64;
}

/// A finished transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed<T> {
    /// The answer.
    pub value: T,
    /// The version it holds in: the one that was published, or the one that was read.
    pub version: Option<Version>,
    /// How many times something was published, or tried to be.
    pub pushes: u32,
}

/// Why a transaction ended without an answer.
#[derive(Debug, thiserror::Error)]
pub enum TransactError<E> {
    /// The caller's own error, from `decide` or `recover`.
    #[error(transparent)]
    Decide(E),
    /// The ledger cannot be used.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Nobody knows whether it was applied. Running it again with the same operation ids is safe.
    #[error("nobody knows whether the change arrived: {reason}")]
    Unknown {
        /// What is known of why.
        reason: String,
    },
    /// The server will not have it.
    #[error("{ref_name} was refused: {reason}")]
    Refused {
        /// The ref that was refused.
        ref_name: String,
        /// The server's words.
        reason: String,
    },
    /// A lock file stays in the way.
    #[error("a lock file is in the way: {reason}")]
    Locked {
        /// What the server said of it.
        reason: String,
    },
    /// The server cannot move several refs as one; nothing was moved.
    #[error("the server cannot update several refs in one push")]
    NotAtomic,
    /// Another ref of the same push was moved by somebody else; the caller must look at it again.
    #[error("{ref_name} was moved by somebody else")]
    Moved {
        /// That ref.
        ref_name: String,
    },
    /// Others were faster every time.
    #[error("others were faster {attempts} times in a row")]
    Exhausted {
        /// How many attempts were made.
        attempts: u32,
    },
}

/// How many times a lock file is waited for: about three seconds in all.
const LOCKED_ATTEMPTS_MAX: u32 = 6;

/// How many attempts may end in doubt before nobody tries any more.
const DOUBTFUL_ATTEMPTS_MAX: u32 = 4;
/// How many attempts may be told that the ledger was moved when it was not.
const VAIN_ATTEMPTS_MAX: u32 = 8;

/// How long at most to wait after so many attempts, with full jitter (GIT_FACTS 23): not at all the first time, for
/// then it was mostly the cache that was behind; then wider each time, so that many who begin at once spread out; then
/// less and less, so that whoever lost often gets ahead of those who just won.
fn patience_ms(attempts: u32) -> u64 {
    match attempts {
        0 | 1 => 1,
        2..=5 => 25 << attempts.min(4),
        _ => (400 >> ((attempts - 4) / 2).min(6)).max(5),
    }
}

/// Runs one transaction on `store`. `decide` is called once for every version tried (with `None` where there is no
/// ledger yet); `recover` gives the answer when the operations are found applied in a version that this call did not
/// publish itself.
pub fn transact<S: Store, T, E>(
    store: &S,
    pace: &(impl Pace + ?Sized),
    request: &Request<'_>,
    decide: impl FnMut(Option<&Snapshot<'_, S>>) -> Result<Decision<T>, E>,
    recover: impl FnMut(&Snapshot<'_, S>) -> Result<T, E>,
) -> Result<Committed<T>, TransactError<E>> {
    let mut run = Run {
        store,
        pace,
        request,
        tried: Vec::new(),
        pushes: 0,
        locked: 0,
        doubtful: 0,
        vain: 0,
        lost: None,
        in_doubt: None,
    };
    store.in_turn(|| {
        let result = run.finish(decide, recover);
        run.unless_in_doubt(result)
    })?
}

/// One transaction under way.
struct Run<'a, S, P: ?Sized, T> {
    store: &'a S,
    pace: &'a P,
    request: &'a Request<'a>,
    /// Versions that were written and pushed without being known to have won, with the answers they stand for.
    tried: Vec<(Version, T)>,
    pushes: u32,
    locked: u32,
    /// How many attempts ended in doubt.
    doubtful: u32,
    /// How many attempts were told that the ledger had been moved when it had not.
    vain: u32,
    /// The ledger's ref, when the last attempt was told that somebody had moved it.
    lost: Option<String>,
    /// An attempt that may still arrive.
    in_doubt: Option<Doubt>,
}

/// An attempt whose outcome is unknown. It can arrive only as long as the ledger stands where it started from.
struct Doubt {
    base: Option<Version>,
    reason: String,
    /// Whether it is this call's own, not that of an earlier process.
    own: bool,
}

impl<S: Store, P: Pace + ?Sized, T> Run<'_, S, P, T> {
    fn finish<E>(
        &mut self,
        mut decide: impl FnMut(Option<&Snapshot<'_, S>>) -> Result<Decision<T>, E>,
        mut recover: impl FnMut(&Snapshot<'_, S>) -> Result<T, E>,
    ) -> Result<Committed<T>, TransactError<E>> {
        let cached = self.store.cached()?;
        let contended = self.store.contended();
        let mut fresh = self.request.fresh || contended || cached.is_none() || self.request.resumed_from.is_some();
        let mut version = if fresh { self.store.refresh()? } else { cached.clone() };
        if contended && version == cached {
            self.store.set_contended(false);
        }
        // Our operations can only be in versions after this one.
        let mut searched = self.request.resumed_from.clone().flatten();
        if self.request.resumed_from.is_some() {
            let reason = "an earlier process was interrupted over it".to_owned();
            self.in_doubt = Some(Doubt { base: version.clone(), reason, own: false });
        }
        loop {
            let may_be_applied = self.request.resumed_from.is_some() || !self.tried.is_empty();
            if let (true, Some(tip)) = (may_be_applied, &version) {
                if let Some(found) = self.find(tip, searched.as_ref())? {
                    let value = match self.tried.iter().position(|(version, _)| *version == found) {
                        Some(index) => self.tried.swap_remove(index).1,
                        None => recover(&Snapshot::new(self.store, found.clone())).map_err(TransactError::Decide)?,
                    };
                    return Ok(self.committed(value, Some(found)));
                }
                searched = Some(tip.clone());
            }
            // What started from a version that was left behind, and is not in the chain, never will be.
            if self.in_doubt.take_if(|doubt| doubt.base != version).is_some() {
                self.doubtful = 0;
            }
            if let (true, Some(doubt)) = (self.doubtful >= DOUBTFUL_ATTEMPTS_MAX, &self.in_doubt) {
                return Err(TransactError::Unknown { reason: doubt.reason.clone() });
            }
            let snapshot = version.clone().map(|version| Snapshot::new(self.store, version));
            match decide(snapshot.as_ref()).map_err(TransactError::Decide)? {
                Decision::Commit { batch, lines, also, value } => {
                    let message =
                        Message { lines, operations: self.request.operations.to_vec(), nonce: self.pace.nonce() };
                    let new = self.store.write(version.as_ref(), &batch, &message, self.request.at_secs)?;
                    self.pushes += 1;
                    let outcome = self.store.publish(version.as_ref(), &new, &also)?;
                    if outcome == Outcome::Applied {
                        return Ok(self.committed(value, Some(new)));
                    }
                    self.tried.push((new, value));
                    self.after(outcome, version.as_ref(), &also)?;
                }
                // The cache may be behind: only the truth may say no.
                Decision::Answer(_) if !fresh => {}
                Decision::Answer(value) => return self.answer(value, version),
            }
            let lost = self.lost.take();
            let before = version;
            version = self.store.refresh()?;
            fresh = true;
            if version != before {
                self.store.set_contended(true);
                // Others get through, so no lock file stays, and nothing is hidden.
                self.vain = 0;
                self.locked = 0;
            } else if let Some(ref_name) = lost {
                self.vain += 1;
                if self.vain >= VAIN_ATTEMPTS_MAX {
                    // As where a server hides the ref from pushes only: git misses it and takes the lease for stale.
                    let reason = "it is said to have been moved, and was not: does the server hide it from pushes?";
                    return Err(TransactError::Refused { ref_name, reason: reason.to_owned() });
                }
            }
        }
    }

    /// The version between `tip` and `until` that applied one of our operations.
    fn find(&self, tip: &Version, until: Option<&Version>) -> Result<Option<Version>, Fault> {
        let chain = self.store.history(tip, until, SEARCH_COMMITS_MAX)?;
        let ours =
            |message: &str| Message::operations_in(message).any(|id| self.request.operations.iter().any(|o| o == id));
        Ok(chain.into_iter().find(|entry| ours(&entry.message)).map(|entry| entry.version))
    }

    /// Decides whether to go on after an attempt that is not known to have won, and waits as long as that needs.
    fn after<E>(
        &mut self,
        outcome: Outcome,
        base: Option<&Version>,
        also: &[RefUpdate],
    ) -> Result<(), TransactError<E>> {
        match outcome {
            Outcome::Applied => {}
            Outcome::Lost { ref_name } if also.iter().any(|update| update.name == ref_name) => {
                return Err(TransactError::Moved { ref_name });
            }
            Outcome::Lost { ref_name } => self.lost = Some(ref_name),
            Outcome::Locked { reason } => {
                self.locked += 1;
                if self.locked >= LOCKED_ATTEMPTS_MAX {
                    return Err(TransactError::Locked { reason });
                }
                self.pace.wait(Duration::from_millis(50 << self.locked));
            }
            Outcome::NotAtomic => return Err(TransactError::NotAtomic),
            Outcome::Refused { ref_name, reason } => return Err(TransactError::Refused { ref_name, reason }),
            Outcome::Unknown { reason } => {
                self.doubtful += 1;
                self.in_doubt = Some(Doubt { base: base.cloned(), reason, own: true });
            }
        }
        if self.pushes >= ATTEMPTS_MAX {
            return Err(TransactError::Exhausted { attempts: self.pushes });
        }
        self.pace.wait(Duration::from_millis(self.pace.below(patience_ms(self.pushes))));
        Ok(())
    }

    /// The answer of a transaction that has nothing to write, unless an attempt that is still on its way could yet
    /// contradict it.
    fn answer<E>(&mut self, value: T, version: Option<Version>) -> Result<Committed<T>, TransactError<E>> {
        // The same board says the same again: what an earlier process asked would have been answered so, too.
        match &self.in_doubt {
            Some(doubt) if doubt.own => Err(TransactError::Unknown { reason: doubt.reason.clone() }),
            _ => Ok(self.committed(value, version)),
        }
    }

    /// While an attempt may still arrive, no error is the last word.
    fn unless_in_doubt<E>(
        &self,
        result: Result<Committed<T>, TransactError<E>>,
    ) -> Result<Committed<T>, TransactError<E>> {
        match (result, &self.in_doubt) {
            (Err(_), Some(doubt)) => Err(TransactError::Unknown { reason: doubt.reason.clone() }),
            (result, _) => result,
        }
    }

    fn committed(&self, value: T, version: Option<Version>) -> Committed<T> {
        Committed { value, version, pushes: self.pushes }
    }
}
