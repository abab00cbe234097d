//! Promoting: what has landed on one branch becomes a car for the branch above it.
//!
//! Guarantees: what is promoted is pinned by a branch of its own, so that work which lands below meanwhile does not
//! take the car out of the train above; a promotion that is under way is never replaced. Must not know how branches are
//! configured to feed each other.

use super::board::Engine;
use super::error::EngineError;
use super::journal::Journal;
use super::ports::{Code, Host};
use super::submit::Submitted;
use crate::domain::board::Board;
use crate::domain::{Branch, Car, CarId, CarState, Command, Outcome, Refusal, Seconds, Timestamp};
use crate::ledger::{RefUpdate, Store};
use crate::record::names::branch_ref;

/// How often it is tried again when the branch was moved meanwhile.
const ATTEMPTS: u32 = 5;

/// What came of promoting a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promoted {
    /// It is on its way to the branch above.
    OnItsWay(Submitted),
    /// The branch above has all of it already.
    NothingNew,
    /// There is no such branch any more.
    Gone,
}

impl<S: Store, H: Host, J: Journal> Engine<'_, S, H, J> {
    /// Submits the head of `source` to the train of `target`, under a branch of its own. While an earlier promotion of
    /// `source` is on its way there, that one is the answer.
    pub fn promote_branch(&self, source: &Branch, target: &Branch, code: &impl Code) -> Result<Promoted, EngineError> {
        for _ in 0..ATTEMPTS {
            match self.try_promote(source, target, code) {
                // Somebody promotes the same.
                Err(EngineError::Moved { .. }) => continue,
                // This very commit has landed, as another one: squashed, or put on the target anew.
                Err(EngineError::Refused(Refusal::AlreadyLanded { .. })) => return Ok(Promoted::NothingNew),
                done => return done,
            }
        }
        Err(EngineError::Exhausted { attempts: ATTEMPTS })
    }

    fn try_promote(&self, source: &Branch, target: &Branch, code: &impl Code) -> Result<Promoted, EngineError> {
        let branch = branch_of(source)?;
        let car = CarId::from(&branch);
        let known = self.read(true, |board| Ok(board.car(target, &car)?))?;
        if let Some(Car { commit, position, .. }) = known.filter(|known| known.state.is_open()) {
            return Ok(Promoted::OnItsWay(Submitted { car, commit, branch, position, again: true }));
        }
        code.refresh(&[source.clone(), target.clone(), branch.clone()])?;
        let Some(commit) = code.head(source)? else { return Ok(Promoted::Gone) };
        let tip = code.head(target)?.ok_or_else(|| EngineError::Impossible {
            what: format!("there is no branch {target}, which {source} is promoted to"),
            hint: "git branch --all".to_owned(),
        })?;
        if code.contains(&tip, &commit)? {
            return Ok(Promoted::NothingNew);
        }
        let old = code.head(&branch)?.map(String::from);
        if old.is_none() {
            self.check_name_is_free(&branch, code)?;
        }
        let name = branch_ref(&branch);
        let update = RefUpdate { name, old, new: Some(commit.as_str().to_owned()) };
        let command = Command::Submit {
            car: car.clone(),
            target: target.clone(),
            branch: branch.clone(),
            commit: commit.clone(),
            title: format!("Promote {source}"),
            task: None,
            priority: None,
            after: Vec::new(),
            together: Vec::new(),
            single: None,
            first: false,
        };
        let update = Some(update).filter(|update| update.old != update.new);
        let Outcome::Submitted { position, again, .. } = self.publish_together(command, update, code)?.outcome else {
            unreachable!("BUG: a submission has the outcome of one")
        };
        Ok(Promoted::OnItsWay(Submitted { car, commit, branch, position, again }))
    }

    /// Whether it is time to promote `source` to `target` again: `every` so often, counted from when it was last
    /// submitted, and never while that is on its way.
    pub fn is_due(
        &self,
        source: &Branch,
        target: &Branch,
        every: Seconds,
        now: Timestamp,
    ) -> Result<bool, EngineError> {
        let car = CarId::from(&branch_of(source)?);
        let known = self.read(false, |board| Ok(board.car(target, &car)?))?;
        Ok(known.is_none_or(|car| {
            matches!(car.state, CarState::Landed | CarState::Ejected) && car.submitted_at.plus(every) <= now
        }))
    }
}

/// The branch under which `source` is promoted.
fn branch_of(source: &Branch) -> Result<Branch, EngineError> {
    let name = format!("promote/{source}");
    Branch::parse(&name).map_err(|error| EngineError::Impossible {
        what: format!("no branch can be called {name}: {error}"),
        hint: "use a shorter name for the branch".to_owned(),
    })
}
