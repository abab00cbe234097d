//! Taking back what has landed: a commit that undoes what a car brought becomes a car of its own, first in line.
//!
//! Guarantees: nobody's checkout is touched, and the target moves only as it always does, by a candidate that passed;
//! what was taken back is not again, unless that was taken back. Must not know how commits are merged.

use super::board::Engine;
use super::error::EngineError;
use super::journal::Journal;
use super::ports::{Code, Host, Undone};
use super::submit::Submitted;
use crate::domain::board::Board;
use crate::domain::{Branch, Car, CarId, CarState, Command, ObjectId, Outcome, Priority, Refusal};
use crate::ledger::{RefUpdate, Store};
use crate::record::names::branch_ref;

/// How often it is tried again when the branch was moved meanwhile.
const ATTEMPTS: u32 = 5;

/// What was taken back, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reverted {
    /// The commit on the target that had brought it.
    pub landed_as: ObjectId,
    /// The car that takes it back.
    pub submitted: Submitted,
}

impl<S: Store, H: Host, J: Journal> Engine<'_, S, H, J> {
    /// Submits the opposite of what `car` brought to `target`, with the highest priority, before all others. Asking
    /// again gives the same car, for as long as it is on its way.
    pub fn revert(&self, car: &CarId, target: &Branch, code: &impl Code) -> Result<Reverted, EngineError> {
        for _ in 0..ATTEMPTS {
            match self.try_revert(car, target, code) {
                // Somebody takes back the same.
                Err(EngineError::Moved { .. }) => continue,
                done => return done,
            }
        }
        Err(EngineError::Exhausted { attempts: ATTEMPTS })
    }

    fn try_revert(&self, id: &CarId, target: &Branch, code: &impl Code) -> Result<Reverted, EngineError> {
        let impossible = |what: String, hint: String| Err(EngineError::Impossible { what, hint });
        let find = |fresh, id: &CarId| self.read(fresh, |board| Ok(board.car(target, id)?));
        let car = find(true, id)?.ok_or_else(|| Refusal::NoSuchCar(id.clone()))?;
        if car.state != CarState::Landed {
            let hint = if car.state.is_open() { "merge-train eject" } else { "show" };
            return impossible(
                format!("{id} is not on {target}: it is {}", car.state),
                format!("git scrum {hint} {id}"),
            );
        }
        code.refresh(std::slice::from_ref(target))?;
        let (Some(before), Some(landed_as)) = (car.landed_on.clone(), car.landed_as.clone()) else {
            let what = format!("{id} was put on {target} past the train, which does not know what it brought");
            return impossible(what, "git revert on a branch, then git scrum submit --branch".to_owned());
        };
        let branch = branch_of(&car, &landed_as)?;
        let reverts = CarId::from(&branch);
        let known = find(false, &reverts)?;
        match known.as_ref().map(|known| known.state) {
            Some(CarState::Queued | CarState::Testing) => {
                let Car { commit, position, .. } = known.expect("BUG: it was just found");
                let submitted = Submitted { car: reverts, commit, branch, position, again: true };
                return Ok(Reverted { landed_as, submitted });
            }
            Some(CarState::Landed) if !self.is_taken_back(known.as_ref().expect("BUG: it was just found"))? => {
                let what = format!("{id} was taken back already, by {reverts}");
                return impossible(what, format!("git scrum show {reverts}"));
            }
            // Whoever took it back had it taken back: it is on the target again.
            Some(CarState::Landed | CarState::Ejected) | None => {}
        }
        code.refresh(&[target.clone(), branch.clone()])?;
        let head = code.head(&branch)?;
        if head.is_none() {
            self.check_name_is_free(&branch, code)?;
        }
        let ours = |head: &ObjectId| known.as_ref().is_some_and(|known| known.commit == *head);
        let (commit, update) = match &head {
            // Of a killed process, or what somebody made of it: it is submitted as it is.
            Some(head) if !ours(head) => (head.clone(), None),
            _ => {
                let commit = self.undo(&car, target, (&before, &landed_as), code)?;
                let (name, old) = (branch_ref(&branch), head.map(String::from));
                let update = RefUpdate { name, old, new: Some(commit.as_str().to_owned()) };
                (commit, Some(update).filter(|update| update.old != update.new))
            }
        };
        let command = Command::Submit {
            car: reverts.clone(),
            target: target.clone(),
            branch: branch.clone(),
            commit: commit.clone(),
            title: code.subject(&commit)?,
            task: None,
            priority: Some(Priority::P0),
            after: Vec::new(),
            together: Vec::new(),
            single: None,
            first: true,
        };
        let Outcome::Submitted { position, again, .. } = self.publish_together(command, update, code)?.outcome else {
            unreachable!("BUG: a submission has the outcome of one")
        };
        Ok(Reverted { landed_as, submitted: Submitted { car: reverts, commit, branch, position, again } })
    }

    /// Whether what a car brought is not on its target any more, for it was taken back and that was not taken back.
    fn is_taken_back(&self, car: &Car) -> Result<bool, EngineError> {
        // What landed past the train, or would be called too long a name, is taken back by no car.
        let reverts = car.landed_as.as_ref().and_then(|landed_as| branch_of(car, landed_as).ok());
        let Some(reverts) = reverts else { return Ok(false) };
        let reverts = self.read(false, |board| Ok(board.car(&car.target, &CarId::from(&reverts))?))?;
        match reverts.filter(|reverts| reverts.state == CarState::Landed) {
            Some(reverts) => Ok(!self.is_taken_back(&reverts)?),
            None => Ok(false),
        }
    }

    /// The commit on the tip of `target` that undoes what came between two others.
    fn undo(
        &self,
        car: &Car,
        target: &Branch,
        (before, after): (&ObjectId, &ObjectId),
        code: &impl Code,
    ) -> Result<ObjectId, EngineError> {
        let tip = code.head(target)?.ok_or_else(|| EngineError::Impossible {
            what: format!("there is no branch {target} any more"),
            hint: "git branch --all".to_owned(),
        })?;
        let subject = format!("Revert \"{}\"", car.title);
        let body = format!("This takes back what {} brought to {target}, by commit {after}.", car.id);
        let message = format!("{subject}\n\n{body}\n\nScrum-Reverts: {after}\n");
        let id = &car.id;
        match code.undo(&tip, (before, after), &message, self.host.now())? {
            Undone::Commit(commit) => Ok(commit),
            Undone::Nothing => Err(EngineError::Impossible {
                what: format!("nothing that {id} brought is on {target} any more"),
                hint: format!("git log {before}..{target}"),
            }),
            Undone::Conflict { paths } => Err(EngineError::Conflict {
                what: format!("what {id} brought to {target} was changed since"),
                paths,
                hint: format!("git revert -m 1 {after} on a branch, then git scrum submit --branch"),
            }),
        }
    }
}

/// The branch on which what a car brought by `landed_as` is taken back.
fn branch_of(car: &Car, landed_as: &ObjectId) -> Result<Branch, EngineError> {
    let name = format!("revert/{}-{}", car.id, &landed_as.as_str()[..10]);
    Branch::parse(&name).map_err(|error| EngineError::Impossible {
        what: format!("no branch can be called {name}: {error}"),
        hint: "git revert on a branch, then git scrum submit --branch".to_owned(),
    })
}
