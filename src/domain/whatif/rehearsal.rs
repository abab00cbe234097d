//! A train on a board in memory, on which what is planned is performed as a pass of the program performs it.
//!
//! Guarantees: the rules decide here as they do on a board in a ledger. Must not know what the tests say: who rehearses
//! tells it.

use crate::domain::board::{Board, Changes, MemoryBoard};
use crate::domain::command::EjectCause;
use crate::domain::planner::{Action, Plan, TrainPolicy, found_to_fail};
use crate::domain::rules::decide;
use crate::domain::{
    Batch, Branch, Car, CarId, Command, Holder, ObjectId, Operation, OperationId, Outcome, Run, RunState, Seconds,
    Timestamp, Train, Verdict, VerdictRecord,
};

/// The train of one target.
pub(super) struct Rehearsal {
    /// How it is configured. All tests are others' here, as far as the planner knows: their end is waited for.
    pub policy: TrainPolicy,
    target: Branch,
    board: MemoryBoard,
    operations: u64,
    /// Everything that was asked of the board, as its history would have it.
    #[cfg(test)]
    pub recorded: Vec<(Operation, Outcome)>,
}

/// An operation that the rules refuse, and why.
#[derive(Debug)]
pub(super) struct Refused(#[expect(dead_code, reason = "read where it ends a program")] String);

/// What came of performing a plan.
pub(super) enum Performed {
    /// These landed, as the commit that is named; everything has to be planned anew.
    Landed(Vec<CarId>, ObjectId),
    /// The first of these was ejected, and the others left with it; everything has to be planned anew.
    Left(Vec<CarId>),
    /// These tests were begun, and those were given up.
    Runs(Vec<Run>, Vec<ObjectId>),
    /// There was nothing to do but wait.
    Nothing,
}

impl Rehearsal {
    /// The train of `target`, to which nobody has submitted anything.
    pub fn new(target: Branch, policy: TrainPolicy) -> Rehearsal {
        let mut rehearsal = Rehearsal {
            policy: TrainPolicy { external: true, ..policy },
            target: target.clone(),
            board: MemoryBoard::default(),
            operations: 0,
            #[cfg(test)]
            recorded: Vec::new(),
        };
        rehearsal.apply(Timestamp::from_secs(0), Command::Init { target }).expect("BUG: a board cannot be made");
        rehearsal
    }

    /// A train as it stands, with its open cars, and trees that are known to have passed.
    pub fn of<'t>(
        train: Train,
        cars: impl Iterator<Item = Car>,
        passed: impl Iterator<Item = &'t ObjectId>,
        policy: TrainPolicy,
    ) -> Rehearsal {
        let mut rehearsal = Rehearsal::new(train.target.clone(), policy);
        let known = |tree: &ObjectId| (tree.clone(), verdict_of(tree, tree, Verdict::Pass));
        let mut changes = Changes { verdicts: passed.map(known).collect(), ..Changes::default() };
        changes.cars.extend(cars.map(|car| ((car.target.clone(), car.id.clone()), car)));
        changes.trains.insert(train.target.clone(), train);
        rehearsal.board.apply(changes);
        rehearsal
    }

    /// Carries out an operation, unless the rules refuse it: then it is said which, and why.
    pub fn apply(&mut self, at: Timestamp, command: Command) -> Result<Outcome, Refused> {
        self.operations += 1;
        let operation = Operation {
            id: OperationId::parse(&format!("{:032x}", self.operations)).expect("an id"),
            by: Holder::parse("train").expect("a holder"),
            at,
            skew: Seconds(0),
            overdue: None,
            command,
        };
        let decided = decide(&self.board, &operation);
        let (changes, outcome) = decided.map_err(|stop| Refused(format!("{operation:?}: {stop:?}")))?;
        self.board.apply(changes);
        #[cfg(test)]
        self.recorded.push((operation, outcome.clone()));
        Ok(outcome)
    }

    /// The train, and its open cars.
    pub fn train(&self) -> (Train, Vec<Car>) {
        let Ok(train) = self.board.train(&self.target);
        let Ok(cars) = self.board.open_cars(&self.target);
        (train.unwrap_or_else(|| Train::new(self.target.clone())), cars)
    }

    /// A car, open or not.
    pub fn car(&self, id: &CarId) -> Option<Car> {
        let Ok(car) = self.board.car(&self.target, id);
        car
    }

    /// What is known of a tree.
    pub fn verdict(&self, tree: &ObjectId) -> Option<VerdictRecord> {
        let Ok(known) = self.board.verdict(tree);
        known
    }

    /// Records what a test has said that is under way.
    pub fn hear(&mut self, at: Timestamp, run: &Run, verdict: Verdict, took: Option<Seconds>) -> Result<(), Refused> {
        let record = VerdictRecord { took, at, ..verdict_of(&run.tree, &run.commit, verdict) };
        let (target, cars) = (self.target.clone(), run.tested().to_vec());
        let (required, kept_since) = (Vec::new(), None);
        self.apply(at, Command::Verdict { target, record, cars, asked: true, required, kept_since }).map(|_| ())
    }

    /// Performs what was planned for the target as it is at `base`, up to the first action after which everything has
    /// to be planned anew.
    pub fn perform(&mut self, at: Timestamp, base: &ObjectId, plan: Plan) -> Result<Performed, Refused> {
        let (train, cars) = self.train();
        let (mut start, mut cancel) = (Vec::new(), Vec::new());
        for action in plan.actions {
            match action {
                Action::Land { cars: landing, from, to, tree } => {
                    if let Some(batches) = plan.batches.filter(|batches| found_to_fail(&train.batches, batches)) {
                        self.change_runs(at, Vec::new(), Vec::new(), Some(batches))?;
                    }
                    let commit = |id: &CarId| cars.iter().find(|car| car.id == *id).map(|car| car.commit.clone());
                    let land = Command::Land {
                        target: self.target.clone(),
                        commits: landing.iter().filter_map(commit).collect(),
                        window: Some(self.policy.window.grown(&train, landing.len())),
                        cars: landing.clone(),
                        from,
                        to: to.clone(),
                        tree,
                        steps: Vec::new(),
                        approvals: self.policy.approvals,
                    };
                    self.apply(at, land)?;
                    return Ok(Performed::Landed(landing, to));
                }
                Action::Eject { car, cause, reason } => {
                    return Ok(Performed::Left(self.eject(at, &car, cause, reason)?));
                }
                Action::StartRun { cars, ahead, commit, tree } => start.push(Run {
                    commit,
                    tree,
                    base: base.clone(),
                    cars,
                    ahead: u32::try_from(ahead).unwrap_or(u32::MAX),
                    state: RunState::Running,
                    started_at: at,
                    started_by: Holder::parse("train").expect("a holder"),
                }),
                Action::CancelRun { commit, .. } => cancel.push(commit),
                Action::ReuseVerdict { .. } | Action::Wait { .. } => {}
            }
        }
        if start.is_empty() && cancel.is_empty() {
            return Ok(Performed::Nothing);
        }
        let batches = plan.batches.filter(|batches| *batches != train.batches);
        let (started, cancelled) = (start.clone(), cancel.clone());
        self.change_runs(at, start, cancel, batches)?;
        Ok(Performed::Runs(started, cancelled))
    }

    /// Ejects a car. Gives it, and those that left with it.
    pub fn eject(
        &mut self,
        at: Timestamp,
        car: &CarId,
        cause: EjectCause,
        reason: String,
    ) -> Result<Vec<CarId>, Refused> {
        let eject = Command::Eject {
            target: self.target.clone(),
            car: car.clone(),
            commit: None,
            cause,
            reason,
            lease: Seconds(60),
            retries_max: 0,
            window: (cause == EjectCause::Failed).then(|| self.policy.window.shrunk(&self.train().0)),
            breaker: self.policy.breaker,
        };
        let Outcome::Ejected { cars } = self.apply(at, eject)? else { unreachable!("BUG: an ejection was asked for") };
        Ok(cars)
    }

    fn change_runs(
        &mut self,
        at: Timestamp,
        start: Vec<Run>,
        cancel: Vec<ObjectId>,
        batches: Option<Vec<Batch>>,
    ) -> Result<Outcome, Refused> {
        let target = self.target.clone();
        self.apply(
            at,
            Command::ChangeRuns { target, start, cancel, lost: Vec::new(), batches, check: None, kept_since: None },
        )
    }
}

fn verdict_of(tree: &ObjectId, commit: &ObjectId, verdict: Verdict) -> VerdictRecord {
    VerdictRecord {
        tree: tree.clone(),
        commit: commit.clone(),
        verdict,
        check: String::new(),
        at: Timestamp::from_secs(0),
        by: Holder::parse("ci").expect("a holder"),
        took: None,
        together: 0,
        url: None,
        output: String::new(),
        checks: Vec::new(),
    }
}
