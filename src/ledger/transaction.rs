//! Read, decide, write, publish; and again when somebody else was faster.
//!
//! Whoever has lost a race says so on its host's ref, in the push of its next attempt, and whoever publishes next
//! applies the operations of all that wait: other hosts', and those of other processes of the same clone. So the number
//! of round trips that an operation takes does not grow with the number of hosts.
//!
//! Guarantees: what `decide` last saw is what the result is based on; an operation id is applied at most once, also
//! when an answer was lost, and whoever applies it; a "no" is never given on the strength of a stale cache, nor while
//! somebody else might still turn it into a yes; what somebody in this clone was told that nobody knows is settled
//! before they are told anything else; the number of attempts is bounded.

use std::time::Duration;

use super::exchange::{Fate, Recent};
use super::others::{OFFERED_SECS, Others};
use super::pace::{LOCKED_ATTEMPTS_MAX, Pace, patience_ms};
use super::{
    ATTEMPTS_MAX, Batch, Fault, Intent, Message, Offer, Offering, Outcome, Pending, RefUpdate, SEARCH_COMMITS_MAX,
    Snapshot, Store, Turn, Version, checkpoint,
};
use crate::planted::{self, Bug};

/// What a decision wants done.
pub enum Decision<T> {
    /// Publish a new version; the value is the answer once that has happened.
    Commit {
        /// The changes.
        batch: Batch,
        /// One line for each operation.
        lines: Vec<String>,
        /// The ids of the operations that the version applies: the request's own, and such of others as go along.
        operations: Vec<String>,
        /// Refs that move in the same push, or nothing moves.
        also: Vec<RefUpdate>,
        /// What is kept beside the version in this clone: see [`Store::keep_hint`].
        hint: Option<u64>,
        /// The answer. `None`: the request's own operation is not among them; it can only be decided once they are
        /// applied.
        value: Option<T>,
    },
    /// Nothing to write: this is the answer.
    Answer(T),
}

/// What one transaction is about.
pub struct Request<'a> {
    /// The id of the operation it applies.
    pub operation: &'a str,
    /// When it is applied, in seconds since 1970.
    pub at_secs: u64,
    /// Ask the truth before the first attempt, even when the cache looks good.
    pub fresh: bool,
    /// Where an earlier invocation may have published the same operation: it is looked for first, after this
    /// version, or in the whole chain (`Some(None)`).
    pub resumed_from: Option<Option<Version>>,
    /// How it goes together with others.
    pub sharing: Sharing,
}

/// How a transaction goes together with those of others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sharing {
    /// Not at all.
    Alone,
    /// It applies others' operations, and nobody can apply its own. When it has lost a race, it asks the others to let
    /// it through.
    Applies,
    /// Others may apply its operation, too: this is what they need to know.
    Shared(Vec<u8>),
}

/// What an attempt has to decide.
pub struct Round<'a> {
    /// Operations of others that nobody has applied yet, and that may go along.
    pub others: &'a [Pending],
    /// Whether a "no" to the request's own operation has to be recorded: see [`Pending::binding`].
    pub binding: bool,
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

/// How many attempts may end in doubt before nobody tries any more.
const DOUBTFUL_ATTEMPTS_MAX: u32 = 4;
/// How many attempts may be told that the ledger was moved when it was not.
const VAIN_ATTEMPTS_MAX: u32 = 8;
/// How often a transaction lets those through that asked for it.
const GIVES_WAY_MAX: u32 = 4;
/// Of all hosts that wait, so many try at once, on average.
const TRYING: u64 = 2;
/// How often in a row an attempt is left to others.
const LEFT_TO_OTHERS_MAX: u32 = 4;
/// For how long its own clone reckons that an offer may be taken up: the clocks of two hosts may be ten minutes wrong,
/// either way.
const OPEN_SECS: u64 = OFFERED_SECS + 1_200;

/// Runs one transaction on `store`. `decide` is called once for every version tried (with `None` where there is no
/// ledger yet); `recover` gives the answer when the operation is found applied in a version that this call did not
/// publish itself.
pub fn transact<S: Store, T, E>(
    store: &S,
    pace: &(impl Pace + ?Sized),
    request: &Request<'_>,
    decide: impl FnMut(Option<&Snapshot<'_, S>>, &Round<'_>) -> Result<Decision<T>, E>,
    mut recover: impl FnMut(&Snapshot<'_, S>) -> Result<T, E>,
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
        gave_way: 0,
        left_to_others: 0,
        offered: false,
        lost: None,
        in_doubt: None,
        clear: None,
        earlier: Vec::new(),
        lent: Vec::new(),
        known_open: false,
        offers: Vec::new(),
        exposed: false,
        contended: false,
    };
    let work = |searched| {
        let result = run.finish(searched, decide, &mut recover);
        run.unless_in_doubt(result)
    };
    let searched = request.resumed_from.clone();
    let base = match &searched {
        Some(base) => base.clone(),
        None => store.cached()?,
    };
    let (Sharing::Shared(payload), Some(base)) = (&request.sharing, base) else {
        return store.in_turn(|| work(searched))?;
    };
    let intent = Intent { id: request.operation.to_owned(), base, payload: payload.clone() };
    let turn = store.in_turn_or_served(&intent, |tried| {
        let searched = searched.or_else(|| tried.then(|| Some(intent.base.clone())));
        work(searched)
    })?;
    match turn {
        Turn::Own(result) => result,
        Turn::Served(version) => {
            let value = recover(&Snapshot::new(store, version.clone())).map_err(TransactError::Decide)?;
            Ok(Committed { value, version: Some(version), pushes: 0 })
        }
    }
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
    /// How often others were let through.
    gave_way: u32,
    /// How often in a row the next attempt was left to others.
    left_to_others: u32,
    /// Whether the operation was offered to others by this call.
    offered: bool,
    /// The ledger's ref, when the last attempt was told that somebody had moved it.
    lost: Option<String>,
    /// An attempt that may still arrive.
    in_doubt: Option<Doubt>,
    /// The operation was applied in no version up to and including this one.
    clear: Option<Version>,
    /// What this clone offered or left open before this request: it may still happen, and nobody waits for it any more.
    /// What has no payload is only kept from happening.
    earlier: Vec<Intent>,
    /// What other processes of this clone wait for and this call has offered: others may have it in hand from then on.
    lent: Vec<Intent>,
    /// Whether the operation itself is among what was offered or left open before.
    known_open: bool,
    /// What other hosts asked for when the truth was last asked.
    offers: Vec<Offer>,
    /// Whether somebody else may apply the operation.
    exposed: bool,
    /// Whether others write at the same time.
    contended: bool,
}

/// An attempt whose outcome is unknown. It can arrive only as long as the ledger stands where it started from.
struct Doubt {
    base: Option<Version>,
    reason: String,
    /// Whether it is this call's own, not that of an earlier process.
    own: bool,
}

impl<S: Store, P: Pace + ?Sized, T> Run<'_, S, P, T> {
    /// `searched`: where the operation may have been published already, the version after which to look for it.
    fn finish<E>(
        &mut self,
        searched: Option<Option<Version>>,
        mut decide: impl FnMut(Option<&Snapshot<'_, S>>, &Round<'_>) -> Result<Decision<T>, E>,
        mut recover: impl FnMut(&Snapshot<'_, S>) -> Result<T, E>,
    ) -> Result<Committed<T>, TransactError<E>> {
        let resumed = searched.is_some();
        // Before anything can fail: it may have been applied already.
        self.exposed |= resumed;
        // Our operation can only be in versions after this one.
        self.clear = searched.flatten();
        let left_open = self.left_open()?;
        self.known_open = left_open.iter().any(|intent| intent.id == self.request.operation);
        self.earlier = left_open.into_iter().filter(|intent| intent.id != self.request.operation).collect();
        let cached = self.store.cached()?;
        self.contended = self.store.contended();
        let mut fresh = self.request.fresh || cached.is_none() || resumed;
        if self.contended && !fresh && self.request.sharing != Sharing::Alone {
            // Whoever was just told what others want may as well go on from there. Not so whoever won: its cache is
            // the newest there is, and it would win again and again, without a thought for the others.
            match self.store.gathered()? {
                Some(offers) => self.offers = offers,
                None => fresh = true,
            }
        } else {
            fresh |= self.contended;
        }
        let mut version = if fresh { self.look()? } else { cached.clone() };
        if fresh && self.contended && version == cached {
            self.contended = false;
            self.store.set_contended(false);
        }
        if resumed {
            let reason = "an earlier process was interrupted over it".to_owned();
            self.in_doubt = Some(Doubt { base: version.clone(), reason, own: false });
        }
        loop {
            let may_be_applied = (self.exposed || !self.tried.is_empty()) && !planted::is(Bug::UnknownIsLost);
            if let (true, Some(tip)) = (may_be_applied, &version)
                && let Some(found) = self.find(tip)?
            {
                let value = match self.tried.iter().position(|(version, _)| *version == found) {
                    Some(index) => {
                        if self.request.sharing != Sharing::Alone {
                            self.close(tip)?;
                        }
                        self.tried.swap_remove(index).1
                    }
                    None => {
                        checkpoint::reach(self.store, tip, &found)?;
                        recover(&Snapshot::new(self.store, found.clone())).map_err(TransactError::Decide)?
                    }
                };
                return Ok(self.committed(value, Some(found)));
            }
            self.clear = version.clone().or(self.clear.take());
            // What started from a version that was left behind, and is not in the chain, never will be.
            if self.in_doubt.take_if(|doubt| doubt.base != version).is_some() {
                self.doubtful = 0;
            }
            if let (true, Some(doubt)) = (self.doubtful >= DOUBTFUL_ATTEMPTS_MAX, &self.in_doubt) {
                return Err(TransactError::Unknown { reason: doubt.reason.clone() });
            }
            let others = self.others(version.as_ref())?;
            if self.gives_way(&others, version.as_ref())? || self.leaves_it_to(&others, version.as_ref())? {
                version = self.look()?;
                fresh = true;
                continue;
            }
            let snapshot = version.clone().map(|version| Snapshot::new(self.store, version));
            // What was asked here before is settled by the version that comes next: there has to be one.
            let round = Round { others: &others.pending, binding: self.exposed || others.earlier };
            match decide(snapshot.as_ref(), &round).map_err(TransactError::Decide)? {
                Decision::Commit { batch, lines, operations, also, hint, value } => {
                    let message = Message { lines, nonce: planted::nonce(self.pace.nonce(), &operations), operations };
                    let new = self.store.write(version.as_ref(), &batch, &message, self.request.at_secs)?;
                    if let Some(hint) = hint {
                        self.store.keep_hint(&new, hint);
                    }
                    self.pushes += 1;
                    // Before anything leaves: should this process be killed, those it took along look for themselves.
                    let local = self.taken_along(&others, &message.operations);
                    if !planted::is(Bug::TriedUnnoted) {
                        self.store.try_for(&local.iter().map(|intent| intent.id.as_str()).collect::<Vec<_>>())?;
                    }
                    if planted::is(Bug::ServedTooEarly) {
                        self.serve(&message.operations, &new);
                    }
                    let outcome = if also.is_empty() {
                        self.publish(version.as_ref(), &new, &others, &local)?
                    } else {
                        self.store.publish(version.as_ref(), &new, &also)?
                    };
                    let trusted = planted::is(Bug::UnknownIsApplied) && matches!(outcome, Outcome::Unknown { .. });
                    if outcome == Outcome::Applied || trusted {
                        if planted::is(Bug::ServedWithoutOperation) {
                            others.pending.iter().for_each(|pending| self.store.serve(&pending.intent.id, &new));
                        }
                        self.serve(&message.operations, &new);
                        let Some(value) = value else {
                            version = Some(new);
                            continue;
                        };
                        return Ok(self.committed(value, Some(new)));
                    }
                    self.tried.extend(value.map(|value| (new, value)));
                    self.after(outcome, version.as_ref(), &also)?;
                }
                // The cache may be behind: only the truth may say no.
                Decision::Answer(_) if !fresh && !planted::is(Bug::NoOnStaleCache) => {}
                Decision::Answer(value) => return self.answer(value, version),
            }
            let lost = self.lost.take();
            let before = version;
            version = self.look()?;
            fresh = true;
            if version != before {
                self.contended = true;
                self.store.set_contended(true);
                // Others get through, so no lock file stays, and nothing is hidden.
                self.vain = 0;
                self.locked = 0;
            } else if let Some(ref_name) = lost {
                self.vain += 1;
                if self.vain >= VAIN_ATTEMPTS_MAX {
                    // As where a server hides the ref from pushes only: git misses it and takes the lease for stale.
                    let reason = "it is said to have been moved, and was not: does the server hide it from pushes?";
                    self.in_doubt = None;
                    return Err(TransactError::Refused { ref_name, reason: reason.to_owned() });
                }
                // As where it had vanished and was put back: a copy of the push, still under way, would be let in.
                let reason = format!("{ref_name} was said to have been moved, and stands where it was");
                self.in_doubt = Some(Doubt { base: version.clone(), reason, own: true });
            }
        }
    }

    /// Asks the truth; and where others write, too, what they ask for.
    fn look(&mut self) -> Result<Option<Version>, Fault> {
        let together = self.request.sharing != Sharing::Alone && (self.contended || self.pushes > 0);
        if !together || !self.store.exchanges() {
            return self.store.refresh();
        }
        let (version, offers) = self.store.gather()?;
        self.offers = offers;
        Ok(version)
    }

    /// What others wait for at `version`.
    fn others(&self, version: Option<&Version>) -> Result<Others, Fault> {
        match version {
            Some(tip) if self.request.sharing != Sharing::Alone => {
                let now_secs = self.pace.now_secs();
                Others::at(self.store, tip, self.request.operation, &self.offers, &self.earlier, now_secs)
            }
            _ => Ok(Others::default()),
        }
    }

    /// Lets those through that asked for it, unless that was done often enough: they take this operation along.
    fn gives_way(&mut self, others: &Others, version: Option<&Version>) -> Result<bool, Fault> {
        if !others.wants_through || self.gave_way >= GIVES_WAY_MAX || !self.offers_itself(version)? {
            return Ok(false);
        }
        self.gave_way += 1;
        self.pace.wait(Duration::from_millis(50 + self.pace.below(100)));
        Ok(true)
    }

    /// Leaves the next attempt to the others, who have the same chance to be the one who tries: of many who try only
    /// one succeeds, and that one is enough for all.
    fn leaves_it_to(&mut self, others: &Others, version: Option<&Version>) -> Result<bool, Fault> {
        let chosen = self.left_to_others >= LEFT_TO_OTHERS_MAX || self.pace.below(others.hosts + 1) < TRYING;
        if !self.contended || chosen || !self.offers_itself(version)? {
            self.left_to_others = 0;
            return Ok(false);
        }
        self.left_to_others += 1;
        Ok(true)
    }

    /// Has the operation offered to others, so that nothing but patience is needed. Not all operations can be.
    fn offers_itself(&mut self, version: Option<&Version>) -> Result<bool, Fault> {
        let Some(own) = self.own_intent(version) else { return Ok(false) };
        if !self.offered {
            (self.exposed, self.offered) = (true, true);
            self.pushes += 1;
            self.store.offer(&self.with_earlier(own), &self.kept(), self.pace.now_secs())?;
        }
        Ok(true)
    }

    /// What this clone asked for last. Somebody may have been told that nobody knows what became of it.
    fn left_open(&self) -> Result<Vec<Intent>, Fault> {
        let left = match self.request.sharing {
            _ if planted::is(Bug::EarlierLeftOpen) => None,
            Sharing::Alone => None,
            Sharing::Applies | Sharing::Shared(_) => self.store.left_open()?,
        };
        let Some(Offer { at_secs, mut intents, .. }) = left else { return Ok(Vec::new()) };
        if self.pace.now_secs().saturating_sub(at_secs) > OPEN_SECS {
            // The others would not do it any more, either.
            intents.iter_mut().for_each(|intent| intent.payload.clear());
        }
        Ok(intents)
    }

    /// Forgets what an attempt has settled whose answer was lost, and not what a later one has offered.
    fn close(&self, tip: &Version) -> Result<(), Fault> {
        let Some(Offer { at_secs, intents, .. }) = self.store.left_open()? else { return Ok(()) };
        let mut recent = Recent::new(self.store, tip);
        let mut open = Vec::new();
        for intent in intents.into_iter().filter(|intent| !intent.payload.is_empty()) {
            if recent.fate(&intent)? == Fate::Open {
                open.push(intent);
            }
        }
        if open.is_empty() { self.store.close() } else { self.store.leave_open(&open, at_secs) }
    }

    /// An intent together with all that has to stay offered: one offer replaces the other.
    fn with_earlier(&self, intent: Intent) -> Vec<Intent> {
        let wanted = self.earlier.iter().filter(|intent| !intent.payload.is_empty());
        std::iter::once(&intent).chain(wanted).chain(&self.lent).cloned().collect()
    }

    /// What was asked for before and can only arrive by itself: nobody is asked for it.
    fn kept(&self) -> Vec<Intent> {
        self.earlier.iter().filter(|intent| intent.payload.is_empty()).cloned().collect()
    }

    /// The request's own operation, which `version` and all before it have not applied, for others to apply.
    fn own_intent(&self, version: Option<&Version>) -> Option<Intent> {
        let Sharing::Shared(payload) = &self.request.sharing else { return None };
        let (true, Some(base)) = (self.store.exchanges(), version) else { return None };
        Some(Intent { id: self.request.operation.to_owned(), base: base.clone(), payload: payload.clone() })
    }

    /// Those of `operations` that other processes of this clone wait for, and nobody else knows of.
    fn taken_along<'o>(&self, others: &'o Others, operations: &[String]) -> Vec<&'o Intent> {
        let here = others.pending.iter().filter(|pending| !pending.earlier).map(|pending| &pending.intent);
        let local = here.filter(|intent| {
            let offered = self.offers.iter().flat_map(|offer| &offer.intents);
            operations.contains(&intent.id) && !offered.into_iter().any(|i| i.id == intent.id)
        });
        local.collect()
    }

    /// Publishes `new`; where others write, too, together with what this clone waits for: `local`.
    fn publish(
        &mut self,
        old: Option<&Version>,
        new: &Version,
        others: &Others,
        local: &[&Intent],
    ) -> Result<Outcome, Fault> {
        if self.request.sharing == Sharing::Alone {
            return self.store.publish(old, new, &[]);
        }
        let mut intents = Vec::new();
        if let Some(own) = self.own_intent(old).filter(|_| self.contended || self.pushes > 1) {
            (self.exposed, self.offered) = (true, true);
            let new = local.iter().filter(|local| self.lent.iter().all(|lent| lent.id != local.id));
            // Whatever was found open is open up to here.
            let new = new.map(|&intent| Intent { base: own.base.clone(), ..intent.clone() });
            self.lent.extend(new.collect::<Vec<_>>());
            intents = self.with_earlier(own);
        }
        let (kept, at_secs) = (self.kept(), self.pace.now_secs());
        let offering = Offering { intents: &intents, kept: &kept, at_secs, settled: &others.settled };
        self.store.publish_offering(old, new, &offering)
    }

    /// Tells the processes of this clone that wait for one of `operations`.
    fn serve(&self, operations: &[String], version: &Version) {
        for id in operations.iter().filter(|id| *id != self.request.operation) {
            self.store.serve(id, version);
        }
    }

    /// The version that applied the operation, if one up to `tip` did.
    fn find(&self, tip: &Version) -> Result<Option<Version>, Fault> {
        let count_max = if planted::is(Bug::SearchesTipOnly) { 1 } else { SEARCH_COMMITS_MAX };
        let chain = checkpoint::history_to(self.store, tip, self.clear.as_ref(), count_max)?;
        let ours = |message: &str| Message::operations_in(message).any(|id| id == self.request.operation);
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
            Outcome::Lost { ref_name } => {
                self.lost = Some(ref_name);
                self.ask_through(base)?;
            }
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

    /// Asks the others, once, to let an operation through that they cannot apply and that has lost more than chance.
    fn ask_through(&mut self, base: Option<&Version>) -> Result<(), Fault> {
        let (Sharing::Applies, 2, Some(base)) = (&self.request.sharing, self.pushes, base) else { return Ok(()) };
        let wish = Intent { id: self.request.operation.to_owned(), base: base.clone(), payload: Vec::new() };
        self.pushes += 1;
        self.store.offer(&self.with_earlier(wish), &self.kept(), self.pace.now_secs())
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

    /// While an attempt may still arrive, or somebody else may apply the operation, no error is the last word. It is
    /// left open then for the next request of this clone to settle.
    fn unless_in_doubt<E>(
        &self,
        result: Result<Committed<T>, TransactError<E>>,
    ) -> Result<Committed<T>, TransactError<E>> {
        let result = self.doubted(result);
        let noted = self.offered || self.known_open || self.request.sharing == Sharing::Alone;
        if let (Err(TransactError::Unknown { .. }), Some(base), false) = (&result, &self.clear, noted) {
            // Nobody else has to do it: it can only arrive by itself. Where it cannot be noted there is nothing better
            // to say.
            let own = Intent { id: self.request.operation.to_owned(), base: base.clone(), payload: Vec::new() };
            let open = [self.with_earlier(own), self.kept()].concat();
            let _ = self.store.leave_open(&open, self.pace.now_secs());
        }
        result
    }

    fn doubted<E>(&self, result: Result<Committed<T>, TransactError<E>>) -> Result<Committed<T>, TransactError<E>> {
        match (result, &self.in_doubt) {
            (result, _) if planted::is(Bug::ErrorIsFinal) => result,
            // That does not depend on what an earlier process did, and the caller knows another way.
            (Err(TransactError::NotAtomic), Some(doubt)) if !doubt.own => Err(TransactError::NotAtomic),
            (Err(_), Some(doubt)) => Err(TransactError::Unknown { reason: doubt.reason.clone() }),
            (Err(TransactError::Fault(fault)), None) if self.exposed => {
                Err(TransactError::Unknown { reason: fault.to_string() })
            }
            (Err(_), None) if self.exposed => {
                Err(TransactError::Unknown { reason: "it was offered to others, who may still apply it".to_owned() })
            }
            (result, _) => result,
        }
    }

    fn committed(&self, value: T, version: Option<Version>) -> Committed<T> {
        Committed { value, version, pushes: self.pushes }
    }
}
