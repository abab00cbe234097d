//! Landing: the target moves, and the board says so.
//!
//! Guarantees: the target moves only from the commit that was observed to one whose tree passed; target and board move
//! in one push where that can be had, and where it cannot, any pass finishes what another announced.

use super::board::How;
use super::error::EngineError;
use super::journal::Journal;
use super::pass::{Account, Now, Pass, PassEvent, published};
use super::ports::{Checks, Code, Host};
use super::runs::Said;
use crate::domain::command::EjectCause;
use crate::domain::planner::{Action, Candidate, halves};
use crate::domain::train::Landing;
use crate::domain::{Batch, CarId, Command, ObjectId, Train, Verdict, VerdictRecord};
use crate::ledger::{Outcome as Published, RefUpdate, Store};
use crate::planted::{self, Bug};

/// How an announced landing ended.
enum Finished {
    /// The cars are on the target.
    Landed,
    /// They are not, for this reason; they may be later.
    Abandoned(String),
    /// The target does not take them, in these words.
    Refused(String),
}

impl<S: Store, H: Host, J: Journal, C: Code, K: Checks> Pass<'_, S, H, J, C, K> {
    /// Moves the target, and the board with it.
    pub(super) fn land(
        &self,
        landing: &Landing,
        tree: Option<&ObjectId>,
        now: &Now<'_>,
        account: &mut Account<'_>,
    ) -> Result<(), EngineError> {
        let (target, Landing { from, to, .. }) = (&self.settings.target, landing);
        self.keep(&[to], now)?;
        self.vouch(tree, to, now)?;
        let command = self.landed(landing, tree, now.train);
        let also = if from == to { Vec::new() } else { vec![self.target_update(from, to)] };
        if let (true, Some(tip)) = (planted::is(Bug::BoardIsUnchangedGuard), self.engine.store.cached()?) {
            let (name, tip) = ("refs/scrum/board".to_owned(), Some(tip.0));
            let guard = RefUpdate { name, old: tip.clone(), new: tip };
            self.code.publish(&[&[guard], also.as_slice()].concat())?;
        }
        let asked = if from == to {
            self.engine.run(command, &How::default()).map(|_| ())
        } else if self.code.lands_atomically() {
            let how = How { also: also.clone(), ..How::default() };
            self.engine.run(command, &how).and_then(|_| Ok(self.code.applied(&also)?))
        } else {
            Err(EngineError::NotAtomic)
        };
        match asked {
            Ok(()) => {
                account.done.push(action(landing, tree));
                Ok(())
            }
            Err(EngineError::NotAtomic) => {
                self.code.set_not_atomic();
                let tree = tree.expect("BUG: a landing that moves the target names the tree that passed");
                if planted::is(Bug::LandingUnannounced) {
                    self.code.move_target(target, from, to)?;
                }
                self.announce(landing, tree, now, account)
            }
            Err(EngineError::Moved { ref_name }) => {
                account.tell(PassEvent::LookingAgain(format!("{ref_name} was moved past the train")));
                Ok(())
            }
            Err(EngineError::Forbidden { ref_name, reason }) if ref_name == self.code.target_ref(target) => {
                self.refused(landing, &reason, now, account)
            }
            Err(error) => Err(error),
        }
    }

    /// Records that a tree passed which was not tested, but differs from one that did only in other lanes.
    fn vouch(&self, tree: Option<&ObjectId>, commit: &ObjectId, now: &Now<'_>) -> Result<(), EngineError> {
        let Some((tree, tested)) = tree.and_then(|tree| Some((tree, now.seen.same_as.get(tree)?))) else {
            return Ok(());
        };
        let record = VerdictRecord {
            tree: tree.clone(),
            commit: commit.clone(),
            verdict: Verdict::Pass,
            check: self.settings.check_name(),
            at: self.engine.host.now(),
            by: self.engine.who.clone(),
            took: None,
            together: 0,
            url: None,
            output: format!("tree {tested} passed, from which this differs only in other lanes\n"),
            checks: Vec::new(),
        };
        let said = Said { record, required: Vec::new(), asked: false, kept_since: self.kept_since() };
        self.engine.record_verdict(&self.settings.target, said, &[], self.code).map(|_| ())
    }

    /// That the cars have landed, as the board is told.
    fn landed(&self, landing: &Landing, tree: Option<&ObjectId>, train: &Train) -> Command {
        Command::Land {
            target: self.settings.target.clone(),
            cars: landing.cars.clone(),
            commits: landing.commits.clone(),
            from: landing.from.clone(),
            to: landing.to.clone(),
            tree: tree.cloned(),
            steps: landing.steps.clone(),
            approvals: self.settings.policy.approvals,
            window: Some(self.settings.policy.window.grown(train, landing.cars.len())),
        }
    }

    /// The target did not take a landing. It may be the fault of one of many: the first tells, by itself or with those
    /// that it lands together with. Where it has not been tested so, what was tested together is halved.
    fn refused(
        &self,
        landing: &Landing,
        reason: &str,
        now: &Now<'_>,
        account: &mut Account<'_>,
    ) -> Result<(), EngineError> {
        let cars = &landing.cars;
        let may_end = |count: &usize| {
            let (last, next) = (now.car(&cars[count - 1]), now.car(&cars[*count]));
            last.zip(next).is_some_and(|(last, next)| !last.goes_with(next))
        };
        let passed =
            (1..cars.len()).filter(may_end).find_map(|count| match now.seen.candidates.get(&cars[..count])? {
                Candidate::Clean { commit, tree } if now.seen.verdicts.get(tree) == Some(&Verdict::Pass) => {
                    Some((&cars[..count], commit, tree))
                }
                _ => None,
            });
        if let Some((first, commit, tree)) = passed {
            return self.land(&landing_of(first, &landing.from, commit, now), Some(tree), now, account);
        }
        let halves = halves(now.cars, cars).filter(|_| self.settings.policy.tests_together());
        let Some(halves) = halves else {
            return self.take_out(&cars[0], EjectCause::Refused, &self.did_not_take_it(reason), now, account);
        };
        let mut batches = now.train.batches.clone();
        Batch::keep_cars(&mut batches, |id| !cars.contains(id));
        batches.splice(..0, halves);
        account.tell(PassEvent::LookingAgain(self.did_not_take_it(reason)));
        self.regroup(batches)
    }

    fn did_not_take_it(&self, reason: &str) -> String {
        format!("{} did not take it: {reason}", self.settings.target)
    }

    fn target_update(&self, from: &ObjectId, to: &ObjectId) -> RefUpdate {
        RefUpdate {
            name: self.code.target_ref(&self.settings.target),
            old: Some(from.as_str().to_owned()),
            new: Some(to.as_str().to_owned()),
        }
    }

    /// Lands in three steps that any pass can take up: announce, move, record.
    fn announce(
        &self,
        landing: &Landing,
        tree: &ObjectId,
        now: &Now<'_>,
        account: &mut Account<'_>,
    ) -> Result<(), EngineError> {
        let command = Command::AnnounceLanding {
            target: self.settings.target.clone(),
            cars: landing.cars.clone(),
            commits: landing.commits.clone(),
            from: landing.from.clone(),
            to: landing.to.clone(),
            tree: tree.clone(),
            steps: landing.steps.clone(),
            approvals: self.settings.policy.approvals,
        };
        self.engine.run(command, &How::default())?;
        match self.finish(landing, &landing.from, now.train)? {
            Finished::Landed => account.done.push(action(landing, Some(tree))),
            Finished::Abandoned(what) => account.tell(PassEvent::LookingAgain(what)),
            Finished::Refused(reason) => self.refused(landing, &reason, now, account)?,
        }
        Ok(())
    }

    /// Takes up the landing that an earlier pass had announced, with the target at `base`. Gives what was done, for
    /// people.
    pub(super) fn take_up(
        &self,
        train: &Train,
        base: &ObjectId,
        account: &mut Account<'_>,
    ) -> Result<String, EngineError> {
        let Some(landing) = &train.landing else { return Ok("nothing was announced".to_owned()) };
        let cars = landing.cars.iter().map(CarId::as_str).collect::<Vec<_>>().join(", ");
        let why = match self.finish(landing, base, train)? {
            Finished::Landed => {
                account.done.push(action(landing, None));
                return Ok(format!("the landing of {cars} was finished"));
            }
            Finished::Abandoned(why) => why,
            Finished::Refused(reason) => {
                // One of many is found by whoever plans next.
                if let ([id], [commit]) = (&landing.cars[..], &landing.commits[..]) {
                    let (cause, reason) = (EjectCause::Refused, self.did_not_take_it(&reason));
                    self.eject(id, Some(commit.clone()), cause, &reason, None)?;
                    account.done.push(Action::Eject { car: id.clone(), cause, reason });
                }
                reason
            }
        };
        Ok(format!("the landing of {cars} was abandoned: {why}"))
    }

    /// Brings an announced landing to its end, wherever it stands.
    fn finish(&self, landing: &Landing, base: &ObjectId, train: &Train) -> Result<Finished, EngineError> {
        let target = &self.settings.target;
        let abandon = || {
            let command = Command::AbandonLanding { target: target.clone(), to: landing.to.clone() };
            self.engine.run(command, &How::default())
        };
        if !self.code.contains(base, &landing.to)? {
            if *base != landing.from && !planted::is(Bug::TargetMovedFromAnywhere) {
                abandon()?;
                return Ok(Finished::Abandoned("the target went elsewhere".to_owned()));
            }
            let from = if planted::is(Bug::TargetMovedFromAnywhere) { base } else { &landing.from };
            match self.code.move_target(target, from, &landing.to)? {
                Published::Applied => {}
                // Another pass may have been faster, or somebody pushed: whoever plans next sees which.
                Published::Lost { .. } => return Ok(Finished::Abandoned(format!("{target} was moved meanwhile"))),
                Published::Refused { reason, .. } => {
                    abandon()?;
                    return Ok(Finished::Refused(reason));
                }
                other => return Err(published(other)),
            }
        }
        self.engine.run(self.landed(landing, None, train), &How::default())?;
        Ok(Finished::Landed)
    }
}

/// The landing of `cars` as they are now.
pub(super) fn landing_of(cars: &[CarId], from: &ObjectId, to: &ObjectId, now: &Now<'_>) -> Landing {
    let step = |count: usize| match now.seen.candidates.get(&cars[..count]) {
        Some(Candidate::Clean { commit, .. }) => commit.clone(),
        // Found on the target already.
        _ => to.clone(),
    };
    Landing {
        steps: (1..=cars.len()).map(step).collect(),
        from: from.clone(),
        to: to.clone(),
        cars: cars.to_vec(),
        commits: cars.iter().filter_map(|id| now.car(id)).map(|car| car.commit.clone()).collect(),
        at: now.seen.now,
    }
}

/// The landing as an action that was done.
fn action(landing: &Landing, tree: Option<&ObjectId>) -> Action {
    let Landing { cars, from, to, .. } = landing.clone();
    Action::Land { cars, from, to, tree: tree.cloned() }
}
