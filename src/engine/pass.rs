//! One pass of the merge train: observe, plan, perform, until there is nothing to do but wait.
//!
//! A pass holds no state of its own: whatever it did not finish, the next pass on any host sees and goes on with. The
//! target is moved only from the commit that was observed, only by fast-forward, only to a commit whose tree passed.

use std::collections::{BTreeMap, BTreeSet};

use super::affected::Doubts;
use super::board::{Engine, How};
use super::error::EngineError;
use super::journal::Journal;
use super::landing::landing_of;
use super::ports::{Analyser, Checks, Code, Host, Radar};
use super::settings_file::SettingsFile;
use crate::domain::board::Board;
use crate::domain::command::EjectCause;
use crate::domain::lanes::Lanes;
use crate::domain::planner::{
    Action, Candidate, Method, Observation, Plan, TrainPolicy, found_to_fail, in_order, pairs_to_merge, plan,
    stand_still,
};
use crate::domain::whatif::forecast;
use crate::domain::{
    Batch, Branch, Car, CarId, CheckName, Command, Grant, ObjectId, Outcome, Refusal, Run, Seconds, Timestamp, Train,
    Verdict, VerdictRecord,
};
use crate::ledger::{Outcome as Published, Store};
use crate::planted::{self, Bug};
use crate::record::LedgerBoard;

/// How often one pass plans before it leaves the rest to the next.
const STEPS_MAX: usize = 10_000;

/// What a pass needs to know beside the board.
#[derive(Debug, Clone)]
pub struct PassSettings {
    /// The train.
    pub target: Branch,
    /// Why work must not land there, if it must not.
    pub forbidden: Option<String>,
    /// Whether verdicts come from outside, and how long they are waited for.
    pub policy: TrainPolicy,
    /// What a landed car looks like in the history.
    pub method: Method,
    /// Parts of the repository that cannot affect each other.
    pub lanes: Lanes,
    /// What says besides what a change affects.
    pub analyser: Option<Analyser>,
    /// The checks that candidates have to pass; none: everything that merges may land.
    pub checks: Vec<Check>,
    /// How long a verdict is used again for the same tree; 0: for ever.
    pub verdicts_kept: Seconds,
    /// How long the holder of an ejected car's task has to rework it.
    pub rework_lease: Seconds,
    /// After how many failures more than this a task is given up.
    pub retries_max: u32,
    /// Where candidates are offered to a CI system outside, by a car's position.
    pub candidate_ref: fn(&Branch, u64) -> String,
    /// The file of the target that all this is read from.
    pub file: SettingsFile,
    /// The commit of the target that it was read at, if it was.
    pub read_from: Option<ObjectId>,
}

/// A check that candidates are put to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name, where there are several.
    pub name: Option<CheckName>,
    /// The program and its arguments, where the machine runs it itself.
    pub run: Vec<String>,
    /// Whether a candidate has to pass it.
    pub required: bool,
    /// How long it may take.
    pub timeout: Seconds,
}

impl PassSettings {
    /// All checks that have to be passed, as verdicts name them: a verdict of others says nothing.
    pub fn check_name(&self) -> String {
        let required = self.checks.iter().filter(|check| check.required);
        let named: BTreeMap<&str, &[String]> =
            required.filter_map(|check| Some((check.name.as_ref()?.as_str(), &check.run[..]))).collect();
        match (&self.checks[..], self.policy.external) {
            (_, true) if named.is_empty() => "external".to_owned(),
            (_, true) => format!("external: {}", named.into_keys().collect::<Vec<_>>().join(", ")),
            ([], false) => "none".to_owned(),
            ([Check { name: None, run, .. }], false) => serde_json::to_string(run).expect("a list of strings is JSON"),
            (_, false) => serde_json::to_string(&named).expect("lists of strings by name are JSON"),
        }
    }

    /// What was said of a tree before this is forgotten at `now`; `None`: nothing is.
    pub fn kept_since(&self, now: Timestamp) -> Option<Timestamp> {
        let Seconds(kept) = self.verdicts_kept;
        (kept > 0).then(|| Timestamp::from_secs(now.as_secs().saturating_sub(kept)))
    }

    /// How long those of several checks are waited for that have to pass and have said nothing yet: the first that
    /// takes too long decides.
    fn timeout(&self, known: Option<&VerdictRecord>) -> Option<Seconds> {
        let has_said = |name: &CheckName| known.is_some_and(|known| known.of_check(name).is_some());
        let open = self.checks.iter().filter(|check| check.required);
        open.filter(|check| check.name.as_ref().is_some_and(|name| !has_said(name))).map(|check| check.timeout).min()
    }

    /// The names of those that have to be passed, where checks have names.
    pub fn required(&self) -> Vec<CheckName> {
        self.checks.iter().filter(|check| check.required).filter_map(|check| check.name.clone()).collect()
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
    /// The analyser says nothing of use of what a car affects: it is taken to affect everything.
    InDoubt {
        /// The car.
        car: CarId,
        /// Why.
        why: String,
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
    /// How many cars are speculated on.
    pub window: u32,
    /// Whether the pass ended because the target configures it otherwise by now: another has to go on.
    pub outdated: bool,
}

impl PassReport {
    /// The report of a pass that went on where an earlier one had ended, with what that had done.
    pub fn after(self, earlier: PassReport) -> PassReport {
        let now = |car: &Car| self.cars.iter().any(|known| known.id == car.id);
        let gone: Vec<Car> = earlier.cars.into_iter().filter(|car| !car.state.is_open() && !now(car)).collect();
        let cars = gone.into_iter().chain(self.cars).collect();
        let actions = earlier.actions.into_iter().chain(self.actions).collect();
        PassReport { cars, actions, ..self }
    }
}

/// What is ahead of the open cars.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outlook {
    /// Why each is where it is, and what the next pass would do with it.
    pub reasons: BTreeMap<CarId, String>,
    /// When it lands if all goes well, as far as that can be said.
    pub landing: BTreeMap<CarId, Timestamp>,
}

/// One pass.
pub struct Pass<'a, S, H, J, C, K> {
    /// The board.
    pub engine: &'a Engine<'a, S, H, J>,
    /// The code.
    pub code: &'a C,
    /// The checks.
    pub checks: &'a K,
    /// What would collide, where the order of cars goes by that.
    pub radar: Option<&'a dyn Radar>,
    /// The rest.
    pub settings: &'a PassSettings,
}

/// What a pass has done so far, and whom it tells.
pub(super) struct Account<'t> {
    pub done: Vec<Action>,
    pub tell: &'t mut dyn FnMut(PassEvent),
}

impl Account<'_> {
    pub fn tell(&mut self, event: PassEvent) {
        (self.tell)(event);
    }
}

/// What a step of a pass sees.
pub(super) struct Now<'a> {
    pub train: &'a Train,
    pub cars: &'a [Car],
    pub seen: &'a Observation,
}

impl Now<'_> {
    pub fn car(&self, id: &CarId) -> Option<&Car> {
        self.cars.iter().find(|car| car.id == *id)
    }
}

/// Whether to plan again.
pub(super) enum Next {
    /// Something changed.
    Again,
    /// Nothing did.
    Stop,
}

impl<S: Store, H: Host, J: Journal, C: Code, K: Checks> Pass<'_, S, H, J, C, K> {
    /// Says what would be done now, without doing it.
    pub fn dry_run(&self) -> Result<PassReport, EngineError> {
        let (train, cars) = self.train()?;
        let (mut seen, _) = self.observe(&train, &cars, true)?;
        let plan = self.plan_fully(&train, &cars, &mut seen, true)?;
        Ok(self.report(seen.base, plan.actions, &[], train, cars))
    }

    /// Why each of the open cars is where it is, what the next pass would do with it, and when it may land: the plan,
    /// in words, and played on. Nothing is recorded, no run is asked for, and no program is started.
    pub fn explain(&self, train: &Train, cars: &[Car]) -> Result<Outlook, EngineError> {
        let (mut seen, _) = self.observe(train, cars, false)?;
        if let Some(landing) = &train.landing {
            let landing = landing.cars.iter().map(|id| (id.clone(), "it is being landed".to_owned()));
            let waits = "a landing comes first".to_owned();
            let others = cars.iter().map(|car| (car.id.clone(), waits.clone()));
            return Ok(Outlook { reasons: others.chain(landing).collect(), landing: BTreeMap::new() });
        }
        let plan = self.plan_fully(train, cars, &mut seen, false)?;
        let mut reasons = BTreeMap::new();
        for action in &plan.actions {
            match action {
                // Those ahead in it that have runs of their own are told of by these.
                Action::StartRun { cars, commit, .. } => {
                    let tests = || format!("the next pass tests it, as {commit}");
                    for id in cars {
                        reasons.entry(id.clone()).or_insert_with(tests);
                    }
                }
                Action::Land { cars, to, .. } => {
                    reasons.extend(cars.iter().map(|id| (id.clone(), format!("the next pass lands it, by {to}"))));
                }
                Action::Eject { car, reason, .. } => {
                    reasons.insert(car.clone(), format!("the next pass ejects it: {reason}"));
                }
                Action::Wait { car, reason } => {
                    reasons.insert(car.clone(), reason.clone());
                }
                Action::CancelRun { .. } | Action::ReuseVerdict { .. } => {}
            }
        }
        for car in cars {
            reasons.entry(car.id.clone()).or_insert_with(|| "it is planned anew after others have left".to_owned());
        }
        let landing = match self.settings.forbidden {
            Some(_) => BTreeMap::new(),
            None => forecast(train, cars, &seen, &self.settings.policy),
        };
        Ok(Outlook { reasons, landing })
    }

    /// Runs the pass.
    pub fn run(&self, tell: &mut dyn FnMut(PassEvent)) -> Result<PassReport, EngineError> {
        let mut account = Account { done: Vec::new(), tell };
        let mut met: Vec<CarId> = Vec::new();
        let mut told: BTreeSet<CarId> = BTreeSet::new();
        let mut settled: Option<ObjectId> = None;
        for _ in 0..STEPS_MAX {
            let (train, cars) = self.train()?;
            met.extend(
                in_order(&cars).iter().map(|car| car.id.clone()).filter(|id| !met.contains(id)).collect::<Vec<_>>(),
            );
            let (mut seen, doubts) = self.observe(&train, &cars, true)?;
            if settled.as_ref() != Some(&seen.base) && self.is_outdated(&seen.base)? {
                let report = self.report(seen.base, account.done, &met, train, cars);
                return Ok(PassReport { outdated: true, ..report });
            }
            settled = Some(seen.base.clone());
            for (car, why) in doubts.into_iter().filter(|(car, _)| told.insert(car.clone())) {
                account.tell(PassEvent::InDoubt { car, why });
            }
            if train.landing.is_some() {
                match self.take_up(&train, &seen.base, &mut account) {
                    Ok(what) => account.tell(PassEvent::Recovered(what)),
                    // Another pass was faster.
                    Err(EngineError::Refused(Refusal::TrainChanged(what))) => {
                        account.tell(PassEvent::LookingAgain(what));
                    }
                    Err(error) => return Err(error),
                }
                continue;
            }
            let plan = self.plan_fully(&train, &cars, &mut seen, true)?;
            let batches = plan.batches;
            let (waits, actions): (Vec<Action>, Vec<Action>) =
                plan.actions.into_iter().partition(|action| matches!(action, Action::Wait { .. }));
            let now = Now { train: &train, cars: &cars, seen: &seen };
            let next = match self.perform(&actions, batches.as_deref(), &now, &mut account) {
                Err(EngineError::Refused(Refusal::TrainChanged(what))) => {
                    account.tell(PassEvent::LookingAgain(what));
                    Next::Again
                }
                next => next?,
            };
            if let Next::Stop = next {
                self.sweep(&cars, &account)?;
                let mut done = account.done;
                done.extend(waits);
                let (train, cars) = if done.is_empty() { (train, cars) } else { self.train()? };
                return Ok(self.report(seen.base, done, &met, train, cars));
            }
        }
        Err(EngineError::Exhausted { attempts: u32::try_from(STEPS_MAX).unwrap_or(u32::MAX) })
    }

    /// Whether the target, at `base`, may configure its train otherwise than it did where the settings were read.
    fn is_outdated(&self, base: &ObjectId) -> Result<bool, EngineError> {
        let Some(commit) = self.settings.read_from.as_ref().filter(|commit| *commit != base) else {
            return Ok(false);
        };
        let differs = self.code.differences(commit, base)?;
        Ok(differs.is_none_or(|paths| paths.iter().any(|path| path == self.settings.file.path)))
    }

    /// Finishes or abandons a landing that an earlier pass had announced, and does nothing else. Gives what was done.
    pub fn recover(&self) -> Result<Option<String>, EngineError> {
        let (train, cars) = self.train()?;
        if train.landing.is_none() {
            return Ok(None);
        }
        let base = self.observe(&train, &cars, false)?.0.base;
        match self.take_up(&train, &base, &mut Account { done: Vec::new(), tell: &mut |_| {} }) {
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
        let window = self.settings.policy.window.of(&train);
        PassReport { base, actions, cars, runs: train.runs, window, outdated: false }
    }

    /// What there is, and of which cars it is in doubt what they affect. Without `run` no program is started for that.
    fn observe(&self, train: &Train, cars: &[Car], run: bool) -> Result<(Observation, Doubts), EngineError> {
        let target = &self.settings.target;
        let mut branches: Vec<Branch> = cars.iter().map(|car| car.branch.clone()).collect();
        branches.push(target.clone());
        self.code.refresh(&branches)?;
        let base = self.code.head(target)?.ok_or_else(|| EngineError::Impossible {
            what: format!("there is no branch {target} to land on"),
            hint: format!("push a first commit to {target}, or name another with --target"),
        })?;
        let mut seen = Observation::new(base, self.engine.host.now());
        let mut ahead: Vec<&Car> = Vec::new();
        for car in cars {
            if let Some(head) = self.code.head(&car.branch)? {
                seen.heads.insert(car.id.clone(), head);
            }
            if self.code.contains(&seen.base, &car.commit)? {
                seen.on_target.insert(car.id.clone());
            } else {
                ahead.push(car);
            }
        }
        let doubts = self.observe_affected(&ahead, &mut seen, run)?;
        seen.clashes = self.clashes(train, cars, &seen)?;
        let required = self.settings.required();
        self.engine.read(false, |board| {
            for car in cars {
                if is_stale(board, car)? {
                    seen.stale.insert(car.id.clone());
                }
            }
            seen.lost = self.lost(train, seen.now);
            // Only of several checks some may have said something while the run goes on.
            let runs = train.runs.iter().filter(|_| !required.is_empty());
            for run in runs {
                let known = self.known(board.verdict(&run.tree)?);
                if let Some(timeout) = self.settings.timeout(known.as_ref()) {
                    seen.timeouts.insert(run.commit.clone(), timeout);
                }
            }
            for tree in train.batches.iter().filter_map(|batch| batch.tree.as_ref()) {
                if let Some(known) = self.known(board.verdict(tree)?) {
                    seen.note(tree, &known);
                }
            }
            Ok(())
        })?;
        Ok((seen, doubts))
    }

    /// Which cars do not merge with each other, where the order goes by that.
    fn clashes(
        &self,
        train: &Train,
        cars: &[Car],
        seen: &Observation,
    ) -> Result<BTreeSet<(CarId, CarId)>, EngineError> {
        let Some(radar) = self.radar else { return Ok(BTreeSet::new()) };
        // Those whose head moved leave before the order matters, and their commits need not be here.
        let there = cars.iter().filter(|car| seen.heads.get(&car.id) == Some(&car.commit)).cloned();
        let there: Vec<Car> = there.collect();
        let pairs = pairs_to_merge(train, &there, &self.settings.policy);
        let commits: Vec<_> = pairs.iter().map(|(one, other)| (one.commit.clone(), other.commit.clone())).collect();
        if commits.is_empty() {
            return Ok(BTreeSet::new());
        }
        let answers = radar.clashes(&seen.base, &commits)?.answers;
        let clashing = pairs.into_iter().zip(answers).filter(|(_, clash)| clash.is_some());
        Ok(clashing.map(|((one, other), _)| (one.id.clone(), other.id.clone())).collect())
    }

    /// What a record says of the check that is configured now.
    pub(super) fn known(&self, record: Option<VerdictRecord>) -> Option<VerdictRecord> {
        record.filter(|record| record.check == self.settings.check_name() && record.is_kept(self.kept_since()))
    }

    /// What was said of a tree before this is forgotten.
    pub(super) fn kept_since(&self) -> Option<Timestamp> {
        self.settings.kept_since(self.engine.host.now())
    }

    /// Plans, building every candidate the plan asks for.
    fn plan_fully(&self, train: &Train, cars: &[Car], seen: &mut Observation, run: bool) -> Result<Plan, EngineError> {
        if let Some(reason) = &self.settings.forbidden {
            return Ok(stand_still(train, cars, reason));
        }
        loop {
            let next = plan(train, cars, seen, &self.settings.policy);
            let Some(wanted) = next.wanted else { return Ok(next) };
            let mut base = seen.base.clone();
            for count in 1..=wanted.len() {
                let prefix = &wanted[..count];
                if !seen.candidates.contains_key(prefix) {
                    let car = cars.iter().find(|car| car.id == prefix[count - 1]);
                    let car = car.expect("BUG: the plan wants a candidate of a car that is not in the train");
                    let candidate = self.build(&base, car, seen)?;
                    self.carry_over(&candidate, prefix, car, train, seen, run)?;
                    seen.candidates.insert(prefix.to_vec(), candidate);
                }
                match &seen.candidates[prefix] {
                    Candidate::Clean { commit, .. } => base = commit.clone(),
                    // The plan has to do without this one first.
                    Candidate::Conflict { .. } | Candidate::Unlike { .. } | Candidate::Behind => break,
                }
            }
        }
    }

    /// Merges a car into `base`, and finds out what is known of what comes of it.
    fn build(&self, base: &ObjectId, car: &Car, seen: &mut Observation) -> Result<Candidate, EngineError> {
        let candidate = self.with_readable_settings(base, self.code.candidate(base, car, self.settings.method)?)?;
        if let Candidate::Clean { tree, .. } = &candidate {
            let earlier = car.tested_tree.as_ref().filter(|_| planted::is(Bug::VerdictOfAnotherTree));
            let known = self.engine.read(false, |board| Ok(board.verdict(earlier.unwrap_or(tree))?))?;
            if let Some(known) = self.known(known) {
                seen.note(tree, &known);
            }
        }
        Ok(candidate)
    }

    /// Keeps candidates in the repository: others are to see them.
    pub(super) fn keep(&self, commits: &[&ObjectId], now: &Now<'_>) -> Result<(), EngineError> {
        let known: Vec<ObjectId> = now.cars.iter().map(|car| &car.commit).chain([&now.seen.base]).cloned().collect();
        Ok(self.code.keep(commits, &known)?)
    }

    /// Performs what was planned, up to the first action after which everything has to be seen anew.
    fn perform(
        &self,
        actions: &[Action],
        batches: Option<&[Batch]>,
        now: &Now<'_>,
        account: &mut Account<'_>,
    ) -> Result<Next, EngineError> {
        let changes_runs = |action: &&Action| matches!(action, Action::StartRun { .. } | Action::CancelRun { .. });
        for action in actions.iter().filter(|action| !changes_runs(action)) {
            account.tell(PassEvent::Doing(action.clone()));
            match action {
                Action::Eject { car, cause, reason } => {
                    self.take_out(car, *cause, reason, now, account)?;
                    return Ok(Next::Again);
                }
                Action::Land { cars, from, to, tree } => {
                    if let Some(batches) = batches.filter(|batches| found_to_fail(&now.train.batches, batches)) {
                        self.regroup(batches.to_vec())?;
                    }
                    self.land(&landing_of(cars, from, to, now), tree.as_ref(), now, account)?;
                    return Ok(Next::Again);
                }
                _ => account.done.push(action.clone()),
            }
        }
        let runs: Vec<&Action> = actions.iter().filter(changes_runs).collect();
        if self.settings.policy.external || !runs.iter().any(|action| matches!(action, Action::StartRun { .. })) {
            return self.change_runs(&runs, batches, now, account);
        }
        // A check of the machine's own is waited for, and what it says may change everything.
        self.check(&runs, batches, now, account).map(|()| Next::Again)
    }

    /// Takes a car of the train out, and notes that.
    pub(super) fn take_out(
        &self,
        car: &CarId,
        cause: EjectCause,
        reason: &str,
        now: &Now<'_>,
        account: &mut Account<'_>,
    ) -> Result<(), EngineError> {
        let commit = now.car(car).map(|known| known.commit.clone());
        let window = (cause == EjectCause::Failed).then(|| self.settings.policy.window.shrunk(now.train));
        self.eject(car, commit, cause, reason, window)?;
        account.done.push(Action::Eject { car: car.clone(), cause, reason: reason.to_owned() });
        Ok(())
    }

    /// Takes a car out. Gives all that left with it.
    pub(super) fn eject(
        &self,
        car: &CarId,
        commit: Option<ObjectId>,
        cause: EjectCause,
        reason: &str,
        window: Option<u32>,
    ) -> Result<Vec<CarId>, EngineError> {
        let command = Command::Eject {
            target: self.settings.target.clone(),
            car: car.clone(),
            commit,
            cause,
            reason: reason.to_owned(),
            lease: self.settings.rework_lease,
            retries_max: self.settings.retries_max,
            window,
            breaker: self.settings.policy.breaker,
        };
        match self.engine.run(command, &How::default())?.outcome {
            Outcome::Ejected { cars } => Ok(cars),
            other => unreachable!("BUG: an ejection gave {other:?}"),
        }
    }
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
