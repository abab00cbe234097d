//! Submitting: the branch of a claim, or any branch, becomes a car in the train.

use super::board::{Asked, Engine, How};
use super::error::EngineError;
use super::journal::Journal;
use super::ports::{Code, Host};
use crate::domain::board::Board;
use crate::domain::claim::{Claim, Grant};
use crate::domain::command::SubmittedTask;
use crate::domain::{
    Branch, CarId, CarState, Command, Fence, ObjectId, Operation, OperationId, Outcome, Priority, TaskId, rules,
};
use crate::ledger::{RefUpdate, Store};

/// What is to be submitted.
#[derive(Debug, Clone)]
pub struct SubmitRequest {
    /// The task whose claim's branch it is; or else `branch` is given.
    pub task: Option<TaskId>,
    /// The fence of that claim, where this clone knows it.
    pub fence: Option<Fence>,
    /// A branch to submit: with a task, in place of the claim's own.
    pub branch: Option<Branch>,
    /// Where it is to land.
    pub target: Branch,
    /// How urgent it is; `None`: as its task.
    pub priority: Option<Priority>,
    /// Cars that must land first.
    pub after: Vec<CarId>,
    /// Cars that land by one move of the target or not at all, this one among them, in order; empty: it stands for
    /// itself.
    pub together: Vec<CarId>,
    /// Whether no other car is put into a batch with it; `None`: as it was.
    pub single: Option<bool>,
    /// Submit although there are changes in no commit.
    pub leave_uncommitted: bool,
}

/// What was submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submitted {
    /// The car.
    pub car: CarId,
    /// Its commit.
    pub commit: ObjectId,
    /// Its branch.
    pub branch: Branch,
    /// Its place in the queue.
    pub position: u64,
    /// Whether it was there already.
    pub again: bool,
}

/// What is about to be submitted.
struct Ready {
    car: CarId,
    commit: ObjectId,
    branch: Branch,
    target: Branch,
    command: Command,
    /// What publishes the branch, where only this clone has it.
    update: Option<RefUpdate>,
}

impl<S: Store, H: Host, J: Journal> Engine<'_, S, H, J> {
    /// Submits branches, one after the other; none where one of them cannot be. Work in a clone is published by the
    /// same push that puts it into the train.
    pub fn submit(&self, requests: &[SubmitRequest], code: &impl Code) -> Result<Vec<Submitted>, EngineError> {
        let ready: Vec<Ready> =
            requests.iter().map(|request| self.make_ready(request, code)).collect::<Result<_, _>>()?;
        ready.into_iter().map(|ready| self.submit_ready(ready, code)).collect()
    }

    /// Looks for what is to be submitted, and at whether it can be.
    fn make_ready(&self, request: &SubmitRequest, code: &impl Code) -> Result<Ready, EngineError> {
        let claim = match &request.task {
            Some(task) => Some(self.own_claim(task, request.fence)?),
            None => None,
        };
        let branch = match (&request.branch, &claim) {
            (Some(branch), _) => branch.clone(),
            (None, Some(claim)) => claim.branch.clone(),
            (None, None) => {
                return Err(EngineError::Impossible {
                    what: "neither a task nor a branch was named".to_owned(),
                    hint: "git scrum submit ID, or git scrum submit --branch BRANCH".to_owned(),
                });
            }
        };
        if branch == request.target {
            return Err(EngineError::Impossible {
                what: format!("{branch} is the branch to land on"),
                hint: "commit on another branch and submit that".to_owned(),
            });
        }
        code.refresh(&[branch.clone(), request.target.clone()])?;
        let (commit, update) = self.commit_of(request, &branch, code)?;
        let Some(tip) = code.head(&request.target)? else {
            return Err(EngineError::Impossible {
                what: format!("there is no branch {} to land on", request.target),
                hint: "git branch --all".to_owned(),
            });
        };
        if code.contains(&tip, &commit)? {
            return Err(EngineError::Impossible {
                what: format!("{} has {commit} already: {branch} has no commit of its own", request.target),
                hint: format!("commit your work on {branch}, then submit it again"),
            });
        }
        let car = request.task.as_ref().map_or_else(|| CarId::from(&branch), CarId::from);
        let title = match &request.task {
            Some(task) => self.read(false, |board| Ok(board.task(task)?.map(|task| task.summary.title)))?,
            None => None,
        };
        let title = title.map_or_else(|| code.subject(&commit), Ok)?;
        let command = Command::Submit {
            car: car.clone(),
            target: request.target.clone(),
            branch: branch.clone(),
            commit: commit.clone(),
            title,
            task: request.task.as_ref().map(|id| SubmittedTask { id: id.clone(), fence: request.fence }),
            priority: request.priority,
            after: request.after.clone(),
            together: request.together.clone(),
            single: request.single,
            first: false,
        };
        Ok(Ready { car, commit, branch, target: request.target.clone(), command, update })
    }

    fn submit_ready(&self, ready: Ready, code: &impl Code) -> Result<Submitted, EngineError> {
        let Ready { car, commit, branch, target, command, update } = ready;
        let mut asked = self.publish_together(command.clone(), update.clone(), code)?;
        if asked.resumed && !self.is_in_train(&target, &car, &commit)? {
            // What the killed process had submitted has left the train meanwhile: this is a new request after all.
            self.journal.delivered();
            asked = self.publish_together(command, update, code)?;
        }
        let Outcome::Submitted { position, again, .. } = asked.outcome else {
            unreachable!("BUG: a submission has the outcome of one")
        };
        Ok(Submitted { car, commit, branch, position, again })
    }

    /// Whether a commit that was submitted is on its way, or has arrived.
    fn is_in_train(&self, target: &Branch, car: &CarId, commit: &ObjectId) -> Result<bool, EngineError> {
        let found = self.read(false, |board| Ok(board.car(target, car)?))?;
        Ok(found.is_some_and(|car| car.commit == *commit && (car.state.is_open() || car.state == CarState::Landed)))
    }

    /// The claim of a task, if it is the asker's: before anything is looked for on its branch.
    fn own_claim(&self, id: &TaskId, named: Option<Fence>) -> Result<Claim, EngineError> {
        let operation = Operation {
            id: OperationId::parse(&self.host.nonce()).expect("a nonce is an operation id"),
            by: self.who.clone(),
            at: self.host.now(),
            skew: self.skew,
            overdue: None,
            command: Command::Renew { task: id.clone(), fence: named, lease: None },
        };
        self.read(true, |board| {
            let (changes, _) = rules::decide(board, &operation)?;
            let renewed = changes.grants.into_values().flatten().find(|grant| grant.task() == Some(id));
            match renewed {
                Some(Grant::Claim(claim)) => Ok(claim),
                _ => unreachable!("BUG: a renewal that is granted renews the claim"),
            }
        })
    }

    /// The commit to pin, and the update that publishes it where only this clone has it.
    fn commit_of(
        &self,
        request: &SubmitRequest,
        branch: &Branch,
        code: &impl Code,
    ) -> Result<(ObjectId, Option<RefUpdate>), EngineError> {
        let own_work = request.task.is_some() && request.branch.is_none();
        let commit = if own_work { code.local_head(branch)?.or(code.head(branch)?) } else { code.head(branch)? };
        let Some(commit) = commit else {
            let pushed = if code.local_head(branch)?.is_some() { "push it first" } else { "git branch --all" };
            return Err(EngineError::Impossible {
                what: format!("there is no branch {branch} to submit"),
                hint: pushed.to_owned(),
            });
        };
        if !own_work {
            return Ok((commit, None));
        }
        let changed = code.uncommitted(branch)?;
        if !changed.is_empty() && !request.leave_uncommitted {
            return Err(EngineError::Impossible {
                what: format!("the worktree of {branch} has changes that are in no commit: {}", changed.join(", ")),
                hint: "commit them, or give --leave-uncommitted".to_owned(),
            });
        }
        let update = code.branch_update(branch, &commit)?;
        Ok((commit, update))
    }

    /// Checks that a branch which is to be made can be: git keeps no branch below another one.
    pub(super) fn check_name_is_free(&self, branch: &Branch, code: &impl Code) -> Result<(), EngineError> {
        match code.in_the_way(branch)? {
            None => Ok(()),
            Some(other) => Err(EngineError::Impossible {
                what: format!("there is a branch {other}, so that none can be called {branch}"),
                hint: format!("give {other} another name, where the code is pushed to as well, then run it again"),
            }),
        }
    }

    /// Runs a command with one more ref in its push; or, where that cannot be, with the ref first.
    pub(super) fn publish_together(
        &self,
        command: Command,
        update: Option<RefUpdate>,
        code: &impl Code,
    ) -> Result<Asked, EngineError> {
        let Some(update) = update else { return self.run(command, &How { journaled: true, ..How::default() }) };
        if code.lands_atomically() {
            let how = How { also: vec![update.clone()], journaled: true, fresh: false };
            match self.run(command.clone(), &how) {
                Err(EngineError::NotAtomic) => code.set_not_atomic(),
                asked => {
                    if asked.is_ok() {
                        code.applied(&[update])?;
                    }
                    return asked;
                }
            }
        }
        match code.publish(std::slice::from_ref(&update))? {
            crate::ledger::Outcome::Applied => {}
            crate::ledger::Outcome::Refused { ref_name, reason } => {
                return Err(EngineError::Forbidden { ref_name, reason });
            }
            crate::ledger::Outcome::Locked { reason } => return Err(EngineError::Locked { reason }),
            crate::ledger::Outcome::Unknown { reason } => return Err(EngineError::Unknown { reason }),
            crate::ledger::Outcome::Lost { .. } | crate::ledger::Outcome::NotAtomic => {
                return Err(EngineError::Moved { ref_name: update.name });
            }
        }
        self.run(command, &How { journaled: true, ..How::default() })
    }
}
