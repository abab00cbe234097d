//! One pass of the merge train: observe, plan, perform, until there is nothing to do but wait.
//!
//! A pass holds no state of its own: whatever it did not finish, the next pass on any host sees and goes on with. The
//! target is moved only from the commit that was observed, only by fast-forward, only to a commit whose tree passed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::board::{Engine, How};
use super::error::EngineError;
use super::journal::Journal;
use super::ports::{Checks, Code, Host};
use crate::domain::board::Board;
use crate::domain::command::EjectCause;
use crate::domain::planner::{Action, Observation, Plan, TrainPolicy, in_order, plan};
use crate::domain::train::Landing;
use crate::domain::{
    Branch, Car, CarId, Command, Grant, ObjectId, Outcome, Refusal, Run, RunState, Seconds, Train, Verdict,
    VerdictRecord,
};
use crate::ledger::{Outcome as Published, RefUpdate, Store};
use crate::planted::{self, Bug};
use crate::record::LedgerBoard;

/// How often one pass plans before it leaves the rest to the next.
const STEPS_MAX: usize = 10_000;
/// How often the notes are tried again when another train moved them meanwhile.
const NOTE_ATTEMPTS: usize = 5;

/// What a pass needs to know beside the board.
#[derive(Debug, Clone)]
pub struct PassSettings {
    /// The train.
    pub target: Branch,
    /// Whether verdicts come from outside, and how long they are waited for.
    pub policy: TrainPolicy,
    /// The check to run; empty: everything that merges may land.
    pub check: Vec<String>,
    /// How long the holder of an ejected car's task has to rework it.
    pub rework_lease: Seconds,
    /// After how many failures more than this a task is given up.
    pub retries_max: u32,
    /// Where candidates are offered to a CI system outside, by a car's position.
    pub candidate_ref: fn(&Branch, u64) -> String,
}

impl PassSettings {
    /// The check as verdicts name it: a verdict of another check says nothing.
    pub fn check_name(&self) -> String {
        if self.policy.external {
            "external".to_owned()
        } else if self.check.is_empty() {
            "none".to_owned()
        } else {
            serde_json::to_string(&self.check).expect("a list of strings is JSON")
        }
    }
}

/// What a pass tells whoever watches, as it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PassEvent {
    /// An action was planned and is about to be performed.
    Doing(Action),
    /// A check has ended.
    Checked {
        /// Of which cars.
        cars: Vec<CarId>,
        /// What it said.
        verdict: Verdict,
    },
    /// Somebody else moved something: the pass looks again.
    LookingAgain(String),
    /// A landing that an earlier pass had announced was finished or abandoned.
    Recovered(String),
}

/// What a pass has done, and what it leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassReport {
    /// The tip of the target.
    pub base: ObjectId,
    /// Everything that was done, in order; waits as they are now.
    pub actions: Vec<Action>,
    /// The cars that were in the train, in order, as they are now.
    pub cars: Vec<Car>,
    /// Tests that were asked for and have no verdict yet.
    pub runs: Vec<Run>,
}

/// One pass.
pub struct Pass<'a, S, H, J, C, K> {
    /// The board.
    pub engine: &'a Engine<'a, S, H, J>,
    /// The code.
    pub code: &'a C,
    /// The checks.
    pub checks: &'a K,
    /// The rest.
    pub settings: &'a PassSettings,
}

/// Whether to plan again.
enum Next {
    /// Something changed.
    Again,
    /// Nothing did.
    Stop,
}

impl<S: Store, H: Host, J: Journal, C: Code, K: Checks> Pass<'_, S, H, J, C, K> {
    /// Says what would be done now, without doing it.
    pub fn dry_run(&self) -> Result<PassReport, EngineError> {
        let (train, cars) = self.train()?;
        let mut seen = self.observe(&cars)?;
        let plan = self.plan_fully(&train, &cars, &mut seen)?;
        Ok(self.report(seen.base, plan.actions, &[], train, cars))
    }

    /// Runs the pass.
    pub fn run(&self, tell: &mut dyn FnMut(PassEvent)) -> Result<PassReport, EngineError> {
        let mut done = Vec::new();
        let mut met: Vec<CarId> = Vec::new();
        for _ in 0..STEPS_MAX {
            let (train, cars) = self.train()?;
            met.extend(
                in_order(&cars).iter().map(|car| car.id.clone()).filter(|id| !met.contains(id)).collect::<Vec<_>>(),
            );
            let mut seen = self.observe(&cars)?;
            if let Some(landing) = &train.landing {
                match self.finish_landing(landing, &seen.base) {
                    Ok(what) => tell(PassEvent::Recovered(what)),
                    // Another pass was faster.
                    Err(EngineError::Refused(Refusal::TrainChanged(what))) => tell(PassEvent::LookingAgain(what)),
                    Err(error) => return Err(error),
                }
                continue;
            }
            let plan = self.plan_fully(&train, &cars, &mut seen)?;
            let mut again = false;
            let mut waits = Vec::new();
            for action in plan.actions {
                if let Action::Wait { .. } = action {
                    waits.push(action);
                    continue;
                }
                tell(PassEvent::Doing(action.clone()));
                let next = match self.perform(&action, &seen, &cars, tell) {
                    Err(EngineError::Refused(Refusal::TrainChanged(what))) => {
                        tell(PassEvent::LookingAgain(what));
                        Next::Again
                    }
                    next => next?,
                };
                done.push(action);
                if let Next::Again = next {
                    again = true;
                    break;
                }
            }
            if !again {
                done.extend(waits);
                let (train, cars) = if done.is_empty() { (train, cars) } else { self.train()? };
                return Ok(self.report(seen.base, done, &met, train, cars));
            }
        }
        Err(EngineError::Exhausted { attempts: u32::try_from(STEPS_MAX).unwrap_or(u32::MAX) })
    }

    /// Finishes or abandons a landing that an earlier pass had announced, and does nothing else. Gives what was done.
    pub fn recover(&self) -> Result<Option<String>, EngineError> {
        let (train, cars) = self.train()?;
        let Some(landing) = &train.landing else { return Ok(None) };
        let base = self.observe(&cars)?.base;
        match self.finish_landing(landing, &base) {
            // Another pass was faster.
            Err(EngineError::Refused(Refusal::TrainChanged(what))) => Ok(Some(what)),
            done => done.map(Some),
        }
    }

    fn train(&self) -> Result<(Train, Vec<Car>), EngineError> {
        let target = &self.settings.target;
        self.engine.read(true, |board| {
            let train = board.train(target)?.unwrap_or_else(|| Train::new(target.clone()));
            Ok((train, board.open_cars(target)?))
        })
    }

    fn report(&self, base: ObjectId, actions: Vec<Action>, met: &[CarId], train: Train, open: Vec<Car>) -> PassReport {
        let mut cars: Vec<Car> = Vec::new();
        for id in met {
            let gone = self.engine.read(false, |board| Ok(board.car(&train.target, id)?)).ok().flatten();
            cars.extend(gone.filter(|car| !car.state.is_open()));
        }
        cars.extend(in_order(&open).into_iter().cloned());
        PassReport { base, actions, cars, runs: train.runs }
    }

    fn observe(&self, cars: &[Car]) -> Result<Observation, EngineError> {
        let target = &self.settings.target;
        let mut branches: Vec<Branch> = cars.iter().map(|car| car.branch.clone()).collect();
        branches.push(target.clone());
        self.code.refresh(&branches)?;
        let base = self.code.head(target)?.ok_or_else(|| EngineError::Impossible {
            what: format!("there is no branch {target} to land on"),
            hint: format!("push a first commit to {target}, or name another with --target"),
        })?;
        let mut seen = Observation {
            base,
            heads: BTreeMap::new(),
            on_target: Default::default(),
            stale: Default::default(),
            candidates: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            now: self.engine.host.now(),
        };
        for car in cars {
            if let Some(head) = self.code.head(&car.branch)? {
                seen.heads.insert(car.id.clone(), head);
            }
            if self.code.contains(&seen.base, &car.commit)? {
                seen.on_target.insert(car.id.clone());
            }
        }
        self.engine.read(false, |board| {
            for car in cars {
                if is_stale(board, car)? {
                    seen.stale.insert(car.id.clone());
                }
            }
            Ok(())
        })?;
        Ok(seen)
    }

    /// Plans, building every candidate the plan asks for.
    fn plan_fully(&self, train: &Train, cars: &[Car], seen: &mut Observation) -> Result<Plan, EngineError> {
        loop {
            let next = plan(train, cars, seen, &self.settings.policy);
            let Some(wanted) = next.wanted else { return Ok(next) };
            let car = wanted.last().and_then(|id| cars.iter().find(|car| car.id == *id));
            let car = car.expect("BUG: the plan wants a candidate of a car that is not in the train");
            let candidate = self.code.candidate(&seen.base, car)?;
            if let crate::domain::planner::Candidate::Clean { tree, .. } = &candidate {
                let earlier = car.tested_tree.as_ref().filter(|_| planted::is(Bug::VerdictOfAnotherTree));
                let known = self.engine.read(false, |board| Ok(board.verdict(earlier.unwrap_or(tree))?))?;
                if let Some(known) = known.filter(|known| known.check == self.settings.check_name()) {
                    seen.verdicts.insert(tree.clone(), known.verdict);
                }
            }
            seen.candidates.insert(wanted, candidate);
        }
    }

    fn perform(
        &self,
        action: &Action,
        seen: &Observation,
        cars: &[Car],
        tell: &mut dyn FnMut(PassEvent),
    ) -> Result<Next, EngineError> {
        match action {
            Action::Wait { .. } | Action::ReuseVerdict { .. } => Ok(Next::Stop),
            Action::Eject { car, cause, reason } => {
                let commit = cars.iter().find(|known| known.id == *car).map(|known| known.commit.clone());
                self.eject(car, commit, *cause, reason)?;
                Ok(Next::Again)
            }
            Action::StartRun { cars: ids, commit, tree } if self.settings.policy.external => {
                self.ask_for_run(ids, commit, tree, seen, cars)
            }
            Action::StartRun { cars: ids, commit, tree } => {
                let verdict = self.check(ids, commit, tree)?;
                tell(PassEvent::Checked { cars: ids.clone(), verdict });
                Ok(Next::Again)
            }
            Action::Land { cars: ids, from, to, tree } => self.land(ids, from, to, tree.as_ref(), cars, tell),
        }
    }

    fn eject(&self, car: &CarId, commit: Option<ObjectId>, cause: EjectCause, reason: &str) -> Result<(), EngineError> {
        let command = Command::Eject {
            target: self.settings.target.clone(),
            car: car.clone(),
            commit,
            cause,
            reason: reason.to_owned(),
            lease: self.settings.rework_lease,
            retries_max: self.settings.retries_max,
        };
        self.engine.run(command, &How::default()).map(|_| ())
    }

    /// Offers a candidate to a CI system outside, and records that it was asked for.
    fn ask_for_run(
        &self,
        ids: &[CarId],
        commit: &ObjectId,
        tree: &ObjectId,
        seen: &Observation,
        cars: &[Car],
    ) -> Result<Next, EngineError> {
        let target = &self.settings.target;
        let run = Run {
            commit: commit.clone(),
            tree: tree.clone(),
            base: seen.base.clone(),
            cars: ids.to_vec(),
            state: RunState::Running,
            started_at: self.engine.host.now(),
            started_by: self.engine.who.clone(),
        };
        let last = ids.last().and_then(|id| cars.iter().find(|car| car.id == *id));
        let position = last.expect("BUG: a run without a car of the train").position;
        let name = (self.settings.candidate_ref)(target, position);
        let branch =
            Branch::parse(name.trim_start_matches("refs/heads/")).map_err(|error| EngineError::Impossible {
                what: format!("candidates cannot be offered: {error}"),
                hint: "use a target branch with a shorter name".to_owned(),
            })?;
        self.code.refresh(std::slice::from_ref(&branch))?;
        let old = self.code.head(&branch)?.map(|id| id.as_str().to_owned());
        let update = RefUpdate { name, old, new: Some(commit.as_str().to_owned()) };
        if update.old != update.new {
            // First the branch, then the board: a run that is recorded can be tested, whatever happens in between.
            match self.code.publish(std::slice::from_ref(&update))? {
                Published::Applied => self.code.applied(&[update])?,
                Published::Lost { .. } => return Ok(Next::Again),
                other => return Err(published(other)),
            }
        }
        self.engine.run(Command::StartRun { target: target.clone(), run }, &How::default())?;
        Ok(Next::Stop)
    }

    /// Runs the configured check on a candidate and records what it said.
    fn check(&self, ids: &[CarId], commit: &ObjectId, tree: &ObjectId) -> Result<Verdict, EngineError> {
        let mut record = VerdictRecord {
            tree: tree.clone(),
            commit: commit.clone(),
            verdict: Verdict::Pass,
            check: self.settings.check_name(),
            at: self.engine.host.now(),
            by: self.engine.who.clone(),
            took: None,
            url: None,
            output: String::new(),
        };
        if !self.settings.check.is_empty() {
            let timeout = Duration::from_secs(self.settings.policy.timeout.0);
            let result = self.checks.run(commit, &self.settings.check, timeout)?;
            record.verdict = match (result.code, result.timed_out) {
                (Some(0), false) => Verdict::Pass,
                // By convention of the shell: found but not executable, and not found. The check itself is broken.
                (Some(126 | 127), false) | (None, false) => Verdict::Inconclusive,
                _ => Verdict::Fail,
            };
            record.output = result.output;
            if result.timed_out {
                record.output.push_str(&format!("\nstopped after {}", self.settings.policy.timeout));
            }
            record.took = Some(Seconds(result.took.as_secs()));
            record.at = self.engine.host.now();
        }
        let verdict = record.verdict;
        self.engine.record_verdict(&self.settings.target, record, ids, false, self.code)?;
        Ok(verdict)
    }

    fn land(
        &self,
        ids: &[CarId],
        from: &ObjectId,
        to: &ObjectId,
        tree: Option<&ObjectId>,
        cars: &[Car],
        tell: &mut dyn FnMut(PassEvent),
    ) -> Result<Next, EngineError> {
        let target = &self.settings.target;
        let command = Command::Land {
            target: target.clone(),
            cars: ids.to_vec(),
            commits: commits_of(ids, cars),
            from: from.clone(),
            to: to.clone(),
            tree: tree.cloned(),
        };
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
            Ok(()) => Ok(Next::Again),
            Err(EngineError::NotAtomic) => {
                self.code.set_not_atomic();
                let tree = tree.expect("BUG: a landing that moves the target names the tree that passed");
                if planted::is(Bug::LandingUnannounced) {
                    self.code.move_target(target, from, to)?;
                }
                self.announce(ids, cars, from, to, tree)
            }
            Err(EngineError::Moved { ref_name }) => {
                tell(PassEvent::LookingAgain(format!("{ref_name} was moved past the train")));
                Ok(Next::Again)
            }
            Err(EngineError::Refused(Refusal::TrainChanged(what))) => {
                tell(PassEvent::LookingAgain(what));
                Ok(Next::Again)
            }
            Err(EngineError::Forbidden { ref_name, reason }) if ref_name == self.code.target_ref(target) => {
                let commit = cars.iter().find(|car| Some(&car.id) == ids.first()).map(|car| car.commit.clone());
                let reason = format!("{target} did not take it: {reason}");
                self.eject(&ids[0], commit, EjectCause::Refused, &reason)?;
                Ok(Next::Again)
            }
            Err(error) => Err(error),
        }
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
        ids: &[CarId],
        cars: &[Car],
        from: &ObjectId,
        to: &ObjectId,
        tree: &ObjectId,
    ) -> Result<Next, EngineError> {
        let command = Command::AnnounceLanding {
            target: self.settings.target.clone(),
            cars: ids.to_vec(),
            commits: commits_of(ids, cars),
            from: from.clone(),
            to: to.clone(),
            tree: tree.clone(),
        };
        match self.engine.run(command, &How::default()) {
            Err(EngineError::Refused(Refusal::TrainChanged(_))) => return Ok(Next::Again),
            asked => asked?,
        };
        let landing = Landing {
            from: from.clone(),
            to: to.clone(),
            cars: ids.to_vec(),
            commits: commits_of(ids, cars),
            at: self.engine.host.now(),
        };
        self.finish_landing(&landing, from)?;
        Ok(Next::Again)
    }

    /// Takes up an announced landing wherever it stands. Gives what was done, for people.
    fn finish_landing(&self, landing: &Landing, base: &ObjectId) -> Result<String, EngineError> {
        let target = &self.settings.target;
        let cars = landing.cars.iter().map(CarId::as_str).collect::<Vec<_>>().join(", ");
        let abandon = |why: &str| {
            let command = Command::AbandonLanding { target: target.clone(), to: landing.to.clone() };
            self.engine.run(command, &How::default())?;
            Ok(format!("the landing of {cars} was abandoned: {why}"))
        };
        if !self.code.contains(base, &landing.to)? {
            if *base != landing.from && !planted::is(Bug::TargetMovedFromAnywhere) {
                return abandon("the target went elsewhere");
            }
            let from = if planted::is(Bug::TargetMovedFromAnywhere) { base } else { &landing.from };
            match self.code.move_target(target, from, &landing.to)? {
                Published::Applied => {}
                // Another pass may have been faster, or somebody pushed: whoever plans next sees which.
                Published::Lost { .. } => return Ok(format!("{target} was moved meanwhile")),
                Published::Refused { reason, .. } => {
                    let said = abandon(&reason)?;
                    for (id, commit) in landing.cars.iter().zip(&landing.commits) {
                        let why = format!("{target} did not take it: {reason}");
                        self.eject(id, Some(commit.clone()), EjectCause::Refused, &why)?;
                    }
                    return Ok(said);
                }
                other => return Err(published(other)),
            }
        }
        let command = Command::Land {
            target: target.clone(),
            cars: landing.cars.clone(),
            commits: landing.commits.clone(),
            from: landing.from.clone(),
            to: landing.to.clone(),
            tree: None,
        };
        self.engine.run(command, &How::default())?;
        Ok(format!("the landing of {cars} was finished"))
    }
}

impl<S: Store, H: Host, J: Journal> Engine<'_, S, H, J> {
    /// Records a verdict on the board and, where that works, as a note on the tested commit. Gives whether it was of
    /// use.
    pub fn record_verdict(
        &self,
        target: &Branch,
        record: VerdictRecord,
        cars: &[CarId],
        asked: bool,
        code: &impl Code,
    ) -> Result<bool, EngineError> {
        let command = Command::Verdict { target: target.clone(), record: record.clone(), cars: cars.to_vec(), asked };
        for _ in 0..NOTE_ATTEMPTS {
            let also: Vec<RefUpdate> = code.note(&record)?.into_iter().collect();
            if also.is_empty() || !code.lands_atomically() {
                break;
            }
            match self.run(command.clone(), &How { also: also.clone(), ..How::default() }) {
                // The notes are a convenience: another train that moved them does not keep a verdict from the board.
                Err(EngineError::Moved { .. }) => continue,
                Err(EngineError::NotAtomic) => {
                    code.set_not_atomic();
                    break;
                }
                Err(EngineError::Forbidden { ref_name, .. }) if ref_name == also[0].name => break,
                asked => {
                    let applied = asked?.outcome == Outcome::Verdict { applied: true };
                    if applied {
                        code.applied(&also)?;
                    }
                    return Ok(applied);
                }
            }
        }
        let applied = self.run(command, &How::default())?.outcome == Outcome::Verdict { applied: true };
        if applied && let Some(update) = code.note(&record)? {
            // A note that does not arrive is no reason to fail: the board has the verdict.
            if let Ok(Published::Applied) = code.publish(std::slice::from_ref(&update)) {
                code.applied(&[update])?;
            }
        }
        Ok(applied)
    }
}

/// The commits of cars, in their order.
fn commits_of(ids: &[CarId], cars: &[Car]) -> Vec<ObjectId> {
    ids.iter().filter_map(|id| cars.iter().find(|car| car.id == *id)).map(|car| car.commit.clone()).collect()
}

/// Whether the claim a car was submitted under is not the present one of its task.
fn is_stale<S: Store>(board: &LedgerBoard<'_, '_, S>, car: &Car) -> Result<bool, EngineError> {
    let Some(of) = car.task.as_ref().filter(|_| !planted::is(Bug::FenceUncheckedAtLanding)) else { return Ok(false) };
    let current = match board.grant(of.fence)? {
        Some(Grant::Claim(claim)) => claim.task == of.id && claim.submitted,
        _ => false,
    };
    Ok(!current)
}

/// The error that an outcome of a push without the board is.
pub(super) fn published(outcome: Published) -> EngineError {
    match outcome {
        Published::Refused { ref_name, reason } => EngineError::Forbidden { ref_name, reason },
        Published::Locked { reason } => EngineError::Locked { reason },
        Published::Unknown { reason } => EngineError::Unknown { reason },
        Published::Lost { ref_name } => EngineError::Moved { ref_name },
        Published::NotAtomic | Published::Applied => EngineError::NotAtomic,
    }
}
