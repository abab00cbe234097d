//! Heartbeats: keeping what one holds without touching the board, and finding out what others have not kept.
//!
//! Looking costs a fetch. So nobody looks as long as nothing has run out, by the board and by the heartbeats that this
//! clone remembers: one that was heard once counts for ever, and what has not run out by it needs no other. Guarantees:
//! what an operation lists as overdue was looked up after the operation's own time; a heartbeat that had arrived by
//! then counts, unless the server did not show it.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use super::board::Engine;
use super::error::EngineError;
use super::journal::Journal;
use super::pass::published;
use super::ports::Host;
use crate::domain::board::Board;
use crate::domain::claim::{Beats, Overdue};
use crate::domain::{Command, Fence, Grant, Holder, Refusal, Seconds, TaskId, TaskState, Timestamp, rules};
use crate::ledger::{Beat, Beating, Outcome as Published, Store, Version};

/// How old a heartbeat of a host that holds nothing any more is when others remove it.
const GONE_AFTER: Seconds = Seconds(86_400);
/// How often a heartbeat is tried that meets another in the name of the same host, as of a clone that was copied.
const ATTEMPTS_MAX: u32 = 5;

/// A grant with the time until which it is kept; `None`: as long as the train has it.
pub type Held = (Rc<Grant>, Option<Timestamp>);

/// What came of a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What the asker holds.
    pub held: Vec<Held>,
    /// Claims that are not the asker's any more.
    pub lost: Vec<LostClaim>,
}

/// A claim that was known to be somebody's, and is not any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostClaim {
    /// The task.
    pub task: TaskId,
    /// The fence of the claim that is over.
    pub fence: Fence,
    /// What became of the task.
    pub state: TaskState,
    /// Who has the task now, with their fence and the end of their lease, if anybody has.
    pub present: Option<(Holder, Fence, Option<Timestamp>)>,
}

/// When holders were last alive, by fence.
pub fn latest(beats: &[Beat]) -> Beats {
    let mut latest = Beats::new();
    for (fence, at_secs) in beats.iter().flat_map(|beat| &beat.alive) {
        let (at, known) = (Timestamp::from_secs(*at_secs), latest.entry(Fence(*fence)).or_default());
        *known = at.max(*known);
    }
    latest
}

/// Whether a host that sent this holds nothing of what stands, and has not for so long.
pub fn is_gone(beat: &Beat, standing: &BTreeSet<Fence>, now: Timestamp, after: Seconds) -> bool {
    let age = now.since(Timestamp::from_secs(beat.at_secs));
    age > after && !beat.alive.keys().any(|fence| standing.contains(&Fence(*fence)))
}

impl<S: Store, H: Host, J: Journal> Engine<'_, S, H, J> {
    /// When holders were last alive, as far as this clone remembers.
    pub fn beats_seen(&self) -> Result<Beats, EngineError> {
        Ok(latest(&self.store.beats_seen()?))
    }

    /// What `command`, asked at `at`, may take back. Looks whether or not that seems to be needed, if it must.
    pub(super) fn overdue(&self, command: &Command, at: Timestamp, must: bool) -> Result<Vec<Overdue>, EngineError> {
        if !rules::recovers(command) {
            return Ok(Vec::new());
        }
        if let (false, Some(version)) = (must, self.store.cached()?) {
            // All grants are read once; the processes that come after need not, as long as their host's clock says so.
            if self.store.hint(&version).is_some_and(|calm_secs| at.as_secs() <= calm_secs) {
                return Ok(Vec::new());
            }
            let grants = self.grants_at(&version)?;
            self.store.keep_hint(&version, rules::calm_secs(grants.iter().map(Rc::as_ref)));
            let run_out = |beats: &Beats| !rules::overdue(&grants, beats, at, self.skew).is_empty();
            if !run_out(&Beats::new()) || !run_out(&self.beats_seen()?) {
                return Ok(Vec::new());
            }
        }
        let (Some(version), beats) = self.store.refresh_with_beats()? else { return Ok(Vec::new()) };
        Ok(rules::overdue(&self.grants_at(&version)?, &latest(&beats), at, self.skew))
    }

    /// Whether something had run out where a "no" was decided that nobody had looked at: it may have been in the way.
    /// That is `version`, or the one before it, where the "no" was recorded beside what took the place of that.
    pub(super) fn overlooked(&self, version: &Version, listed: &[Overdue], at: Timestamp) -> bool {
        let Ok(beats) = self.beats_seen() else { return false };
        let mut decided_on = vec![version.clone()];
        let entry = self.store.history(version, None, 1).ok().and_then(|mut entries| entries.pop());
        decided_on.extend(entry.and_then(|entry| entry.parent));
        decided_on.iter().any(|version| {
            let grants = self.grants_at(version).unwrap_or_default();
            let found = rules::overdue(&grants, &beats, at, self.skew);
            found.iter().any(|found| listed.iter().all(|listed| listed.fence != found.fence))
        })
    }

    /// A refusal with the end of the lease that is in the way as its holder keeps it: the rules know the board alone.
    pub(super) fn kept(&self, mut refusal: Refusal, version: Option<&Version>) -> Refusal {
        let kept = |in_the_way: &dyn Fn(&Grant) -> bool, until: &mut Option<Timestamp>| {
            let grants = version.map_or(Ok(Vec::new()), |version| self.grants_at(version));
            let (Ok(grants), Ok(beats)) = (grants, self.beats_seen()) else { return };
            if let Some(grant) = grants.iter().find(|grant| in_the_way(grant)) {
                *until = grant.kept_until(beats.get(&grant.fence()).copied());
            }
        };
        match &mut refusal {
            Refusal::Held { fence, until, .. } | Refusal::StaleFence { present: Some((_, fence, until)), .. } => {
                kept(&|grant| grant.fence() == *fence, until);
            }
            Refusal::Locked { holder, held, until, .. } => {
                kept(&|grant| grant.holder() == holder && grant.patterns().contains(held), until);
            }
            _ => {}
        }
        refusal
    }

    fn grants_at(&self, version: &Version) -> Result<Vec<Rc<Grant>>, EngineError> {
        self.read_at(version, |board| Ok(board.grants()?))
    }

    /// Keeps everything that the asker holds, by one push of a ref of this host's own; nothing of it is on the board.
    /// `known` are claims that the asker believes to have.
    pub fn beat(&self, known: &[(TaskId, Fence)]) -> Result<Kept, EngineError> {
        self.store.beating_alone(|| self.beat_alone(known))?
    }

    fn beat_alone(&self, known: &[(TaskId, Fence)]) -> Result<Kept, EngineError> {
        let Some(own_ref) = self.store.own_beat() else {
            return Err(EngineError::Impossible {
                what: "this clone has no name to send heartbeats under".to_owned(),
                hint: "git scrum renew ID; see whether .git/scrum can be written".to_owned(),
            });
        };
        for attempt in 1.. {
            let (version, beats) = self.store.refresh_with_beats()?;
            let version = version.ok_or(Refusal::NoBoard)?;
            let grants = self.grants_at(&version)?;
            let lost = self.lost(&version, &grants, &latest(&beats), known)?;
            let standing: BTreeSet<Fence> = grants.iter().map(|grant| grant.fence()).collect();
            let now = self.host.now();
            let (own, others): (Vec<Beat>, Vec<Beat>) = beats.into_iter().partition(|beat| beat.ref_name == own_ref);
            let (held, alive) = self.alive(&grants, latest(&own), now);
            // What the truth shows now comes last, after what was remembered.
            let others: BTreeMap<String, Beat> = others.into_iter().map(|beat| (beat.ref_name.clone(), beat)).collect();
            let settled: Vec<Beat> =
                others.into_values().filter(|beat| is_gone(beat, &standing, now, GONE_AFTER)).collect();
            let old = own.last().map(|beat| &beat.version);
            let beating = Beating { old, alive: &alive, at_secs: now.as_secs(), settled: &settled };
            match self.store.beat(&beating)? {
                Published::Applied => {
                    if old.is_some() || !alive.is_empty() {
                        self.journal.beaten();
                    }
                    return Ok(Kept { held, lost });
                }
                Published::Lost { .. } if attempt < ATTEMPTS_MAX => {
                    self.host.wait(Duration::from_millis(self.host.below(200)));
                }
                outcome => return Err(published(outcome)),
            }
        }
        unreachable!("BUG: the last attempt is answered")
    }

    /// What the asker holds, with until when; and what this host is alive for at `now`: all of that, and whatever other
    /// holders of the same host were alive for when they said so, which goes on being true.
    fn alive(&self, grants: &[Rc<Grant>], said: Beats, now: Timestamp) -> (Vec<Held>, BTreeMap<u64, u64>) {
        let (mut held, mut alive) = (Vec::new(), BTreeMap::new());
        for grant in grants {
            let said = said.get(&grant.fence()).copied();
            let own = *grant.holder() == self.who;
            // A clock that is behind must not shorten what was promised.
            let at = if own { Some(said.map_or(now, |said| said.max(now))) } else { said };
            // Also while the train has it: it may come back to be reworked, with a lease that began long ago.
            if let Some(at) = at {
                alive.insert(grant.fence().0, at.as_secs());
            }
            if own {
                held.push((Rc::clone(grant), grant.kept_until(at)));
            }
        }
        (held, alive)
    }

    /// Which of the claims that the asker believes to have are over, unless the work has landed or was finished.
    fn lost(
        &self,
        version: &Version,
        grants: &[Rc<Grant>],
        beats: &Beats,
        known: &[(TaskId, Fence)],
    ) -> Result<Vec<LostClaim>, EngineError> {
        let mut lost = Vec::new();
        for (id, fence) in known {
            let stands = |grant: &Rc<Grant>| grant.fence() == *fence && grant.task() == Some(id);
            if grants.iter().any(stands) {
                continue;
            }
            let Some(task) = self.read_at(version, |board| Ok(board.task(id)?))? else { continue };
            let present = grants.iter().find(|grant| Some(grant.fence()) == task.summary.claim);
            let until = |grant: &Grant| grant.kept_until(beats.get(&grant.fence()).copied());
            let present = present.map(|grant| (grant.holder().clone(), grant.fence(), until(grant)));
            let state = task.summary.state;
            if !state.satisfies() {
                lost.push(LostClaim { task: id.clone(), fence: *fence, state, present });
            }
        }
        Ok(lost)
    }
}
