//! Runs: candidates are tested, by a CI system outside or by the machine itself, and what that said is recorded.
//!
//! Guarantees: a run that is recorded can be tested, and is asked for once, by whichever pass was first; what a test
//! says belongs to the tree. Must not decide what is tested: the planner does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::board::{Engine, How};
use super::error::EngineError;
use super::journal::Journal;
use super::pass::{Account, Check, Next, Now, Pass, PassEvent, published};
use super::ports::{Checks, Code, Host};
use crate::domain::board::Board;
use crate::domain::planner::Action;
use crate::domain::train::CheckVerdict;
use crate::domain::{
    Batch, Branch, Car, CarId, CheckName, Command, ObjectId, Outcome, Run, RunState, Seconds, Timestamp, Train,
    Verdict, VerdictRecord,
};
use crate::ledger::{Outcome as Published, RefUpdate, Store};
use crate::record::names::branch_ref;

/// How often the notes are tried again when another train moved them meanwhile.
const NOTE_ATTEMPTS: usize = 5;

/// A machine that tests for itself is waited for this many times as long as tests took of late, but as long as this at
/// least, and no longer than its checks may take and this.
const LATE: u64 = 4;
const GRACE: Seconds = Seconds(60);

/// What was said of a candidate.
#[derive(Debug, Clone)]
pub struct Said {
    /// By whom, and what.
    pub record: VerdictRecord,
    /// Where there are several checks, those that have to pass; the record is of some of all.
    pub required: Vec<CheckName>,
    /// Whether it only counts where a run is waiting for it.
    pub asked: bool,
    /// What was said of the tree before this is forgotten.
    pub kept_since: Option<Timestamp>,
}

impl<S: Store, H: Host, J: Journal, C: Code, K: Checks> Pass<'_, S, H, J, C, K> {
    /// Offers candidates to a CI system outside, and records that they were asked for, and that others are wanted no
    /// more: in two pushes, however many there are.
    pub(super) fn change_runs(
        &self,
        actions: &[&Action],
        batches: Option<&[Batch]>,
        now: &Now<'_>,
        account: &mut Account<'_>,
    ) -> Result<Next, EngineError> {
        if actions.is_empty() {
            return Ok(Next::Stop);
        }
        let start = self.runs_of(actions, now);
        // First the branches, then the board: a run that is recorded can be tested, whatever happens in between.
        let last =
            |run: &Run| run.cars.last().and_then(|id| now.car(id)).expect("BUG: a run without a car of the train");
        let branches = start.iter().map(|run| self.candidate_branch(last(run))).collect::<Result<Vec<_>, _>>()?;
        self.keep(&start.iter().map(|run| &run.commit).collect::<Vec<_>>(), now)?;
        if !branches.is_empty() && !self.offer(&branches, &start, now.cars)? {
            return Ok(Next::Again);
        }
        self.record_runs(start, actions, batches, now, account)?;
        Ok(Next::Stop)
    }

    /// The runs that are to be started.
    fn runs_of(&self, actions: &[&Action], now: &Now<'_>) -> Vec<Run> {
        let run = |action: &&Action| match action {
            Action::StartRun { cars, ahead, commit, tree } => Some(Run {
                commit: commit.clone(),
                tree: tree.clone(),
                base: now.seen.base.clone(),
                cars: cars.clone(),
                ahead: u32::try_from(*ahead).unwrap_or(u32::MAX),
                state: RunState::Running,
                started_at: self.engine.host.now(),
                started_by: self.engine.who.clone(),
            }),
            _ => None,
        };
        actions.iter().filter_map(run).collect()
    }

    /// Records that runs are started, and that others are wanted no more, as far as no other pass has done so. Gives
    /// the candidates of those that are started.
    fn record_runs(
        &self,
        start: Vec<Run>,
        actions: &[&Action],
        batches: Option<&[Batch]>,
        now: &Now<'_>,
        account: &mut Account<'_>,
    ) -> Result<Vec<ObjectId>, EngineError> {
        let cancelled = actions.iter().filter_map(|action| match action {
            Action::CancelRun { commit, .. } => Some(commit.clone()),
            _ => None,
        });
        let (lost, cancel): (Vec<ObjectId>, _) = cancelled.partition(|commit| now.seen.lost.contains(commit));
        let lost = now.train.runs.iter().filter(|run| lost.contains(&run.commit)).cloned().collect();
        let batches = batches.filter(|batches| now.train.batches != *batches).map(<[Batch]>::to_vec);
        let (target, check) = (self.settings.target.clone(), Some(self.settings.check_name()));
        let kept_since = self.kept_since();
        let command = Command::ChangeRuns { target, start, cancel, lost, batches, check, kept_since };
        let asked = self.engine.run(command, &How::default())?;
        let Outcome::Runs { started, cancelled } = asked.outcome else {
            unreachable!("BUG: a change of runs was asked for")
        };
        // What another pass had done already is its doing.
        let own = actions.iter().filter(|action| match action {
            Action::StartRun { commit, .. } => started.contains(commit),
            Action::CancelRun { commit, .. } => cancelled.contains(commit),
            _ => false,
        });
        for action in own {
            account.tell(PassEvent::Doing((*action).clone()));
            account.done.push((*action).clone());
        }
        Ok(started)
    }

    /// The runs of `train` that nobody carries on. Whoever tests for itself is waited for as long as it may well take:
    /// it may have died. If not, what it says counts all the same.
    pub(super) fn lost(&self, train: &Train, now: Timestamp) -> BTreeSet<ObjectId> {
        if self.settings.policy.external {
            return BTreeSet::new();
        }
        let Seconds(usual) = train.run_time.unwrap_or(Seconds(u64::MAX));
        let at_most = self.settings.checks.iter().fold(GRACE.0, |sum, check| sum.saturating_add(check.timeout.0));
        let wait = Seconds(usual.saturating_mul(LATE).max(GRACE.0).min(at_most));
        let is_ours = |run: &Run| run.started_by == self.engine.who;
        let was_left = |run: &Run| is_ours(run) && self.checks.was_left(&train.target, &run.commit);
        let lost = train.runs.iter().filter(|run| now > run.started_at.plus(wait) || was_left(run));
        lost.map(|run| run.commit.clone()).collect()
    }

    /// The branch on which the candidate that ends with `car` is offered.
    fn candidate_branch(&self, car: &Car) -> Result<Branch, EngineError> {
        let name = (self.settings.candidate_ref)(&self.settings.target, car.position);
        Branch::parse(name.trim_start_matches("refs/heads/")).map_err(|error| EngineError::Impossible {
            what: format!("candidates cannot be offered: {error}"),
            hint: "use a target branch with a shorter name".to_owned(),
        })
    }

    /// Sets the branches of candidates, and removes those of cars that are gone. Gives whether nobody else did
    /// meanwhile.
    fn offer(&self, branches: &[Branch], runs: &[Run], cars: &[Car]) -> Result<bool, EngineError> {
        let offered = self.code.listed(&self.candidates(), true)?;
        let mut updates = self.of_gone_cars(&offered, cars);
        let mut again = Vec::new();
        for (branch, run) in branches.iter().zip(runs) {
            let name = branch_ref(branch);
            let mut old = offered.get(&name).map(|id| id.as_str().to_owned());
            let new = Some(run.commit.as_str().to_owned());
            if old == new {
                let came_to_nothing = |car: &Car| {
                    run.tested().contains(&car.id)
                        && car.inconclusive > 0
                        && car.tested_tree.as_ref() == Some(&run.tree)
                };
                if !cars.iter().any(came_to_nothing) {
                    continue;
                }
                // What is started by a push has to see one.
                again.push(RefUpdate { name: name.clone(), old: old.take(), new: None });
            }
            updates.push(RefUpdate { name, old, new });
        }
        for updates in [again, updates].into_iter().filter(|updates| !updates.is_empty()) {
            match self.code.publish(&updates)? {
                Published::Applied => {}
                Published::Lost { ref_name } => {
                    // Where a branch is in the way, every attempt is told that somebody was faster.
                    return match self.code.listed(&self.candidates(), true)? == offered {
                        true => Err(self.cannot_be_set(branches, ref_name)?),
                        false => Ok(false),
                    };
                }
                other => return Err(published(other)),
            }
        }
        Ok(true)
    }

    /// The error that a branch of these cannot be set and nobody has set it.
    fn cannot_be_set(&self, branches: &[Branch], ref_name: String) -> Result<EngineError, EngineError> {
        let branch = branches.iter().find(|branch| branch_ref(branch) == ref_name);
        let other = branch.map(|branch| self.code.in_the_way(branch)).transpose()?.flatten();
        Ok(EngineError::Impossible {
            what: format!("{ref_name} cannot be set, and nobody else has set it: another branch is in the way"),
            hint: format!("look for a branch called {}, and rename it", other.as_deref().unwrap_or(&ref_name)),
        })
    }

    /// Where the names of all branches of candidates begin.
    fn candidates(&self) -> String {
        let name = (self.settings.candidate_ref)(&self.settings.target, 0);
        name.rsplit_once('/').map_or(String::new(), |(directory, _)| format!("{directory}/"))
    }

    /// Removes those of `offered` whose cars are not in the train any more: no pass offers one of them again.
    fn of_gone_cars(&self, offered: &BTreeMap<String, ObjectId>, cars: &[Car]) -> Vec<RefUpdate> {
        let is_open = |name: &str| {
            let position = name.rsplit('/').next().and_then(|last| last.parse::<u64>().ok());
            position.is_none_or(|position| cars.iter().any(|car| car.position == position))
        };
        let gone = offered.iter().filter(|(name, _)| !is_open(name));
        gone.map(|(name, id)| RefUpdate { name: name.clone(), old: Some(id.as_str().to_owned()), new: None }).collect()
    }

    /// Removes the branches of candidates whose cars are gone, after some have gone or where this clone has offered
    /// such.
    pub(super) fn sweep(&self, cars: &[Car], account: &Account<'_>) -> Result<(), EngineError> {
        if !self.settings.policy.external {
            return Ok(());
        }
        let goes = |action: &Action| matches!(action, Action::Land { .. } | Action::Eject { .. });
        let own = self.of_gone_cars(&self.code.listed(&self.candidates(), false)?, cars);
        if own.is_empty() && !account.done.iter().any(goes) {
            return Ok(());
        }
        let gone = self.of_gone_cars(&self.code.listed(&self.candidates(), true)?, cars);
        if !gone.is_empty() {
            // They are in nobody's way: where it does not work now, the next pass tries again.
            self.code.publish(&gone)?;
        }
        Ok(())
    }

    /// Runs the configured check on the first candidate that is to be tested, and records what it said: unless another
    /// pass does so. What is wanted no more is given up.
    pub(super) fn check(
        &self,
        actions: &[&Action],
        batches: Option<&[Batch]>,
        now: &Now<'_>,
        account: &mut Account<'_>,
    ) -> Result<(), EngineError> {
        let run = self.runs_of(actions, now).into_iter().next().expect("BUG: a run is started here");
        self.keep(&[&run.commit], now)?;
        if self.settings.checks.is_empty() {
            // That takes no time: nobody needs to know of it.
            let is_start = |action: &&&Action| matches!(action, Action::StartRun { .. });
            let start = *actions.iter().find(is_start).expect("BUG: a run is started here");
            account.tell(PassEvent::Doing(start.clone()));
            account.done.push(start.clone());
            return self.test(&run, account);
        }
        let target = &self.settings.target;
        let test = self.checks.begin(target, &run.commit)?;
        // It is recorded before it begins, so that nobody else runs the same check meanwhile.
        let begun = self.record_runs(vec![run.clone()], actions, batches, now, account)?;
        let done = if begun.contains(&run.commit) { self.test(&run, account) } else { Ok(()) };
        if done.is_err() && self.rearrange(vec![run], None).is_err() {
            // It stays where it is recorded: the next pass of this clone finds that it was left.
            return done;
        }
        self.checks.end(test);
        done
    }

    /// Tests a candidate by the machine's own means.
    fn test(&self, run: &Run, account: &mut Account<'_>) -> Result<(), EngineError> {
        let Run { commit, tree, cars, .. } = run;
        let known = self.engine.read(false, |board| Ok(board.verdict(tree)?))?;
        let known = self.known(known);
        let mut record = VerdictRecord {
            tree: tree.clone(),
            commit: commit.clone(),
            verdict: Verdict::Pass,
            check: self.settings.check_name(),
            at: self.engine.host.now(),
            by: self.engine.who.clone(),
            took: None,
            together: 0,
            url: None,
            output: String::new(),
            checks: Vec::new(),
        };
        for check in &self.settings.checks {
            let passed = |name: &CheckName| known.as_ref().is_some_and(|known| known.of_check(name).is_some());
            if check.name.as_ref().is_some_and(passed) {
                continue;
            }
            let said = self.run_check(commit, check, &mut record)?;
            if check.required && said != Verdict::Pass {
                break;
            }
        }
        let required = self.settings.required();
        if !required.is_empty() {
            let before = known.as_ref().map_or(&[][..], |known| &known.checks);
            let said = record.checks.clone();
            record.join(before, &required);
            record.checks = said;
        }
        let verdict = record.verdict;
        let said = Said { record, required, asked: false, kept_since: self.kept_since() };
        // Those ahead have candidates of their own.
        self.engine.record_verdict(&self.settings.target, said, run.tested(), self.code)?;
        account.tell(PassEvent::Checked { cars: cars.clone(), verdict });
        Ok(())
    }

    /// Notes which cars are tested together from now on.
    pub(super) fn regroup(&self, batches: Vec<Batch>) -> Result<(), EngineError> {
        self.rearrange(Vec::new(), Some(batches))
    }

    /// Records that nobody carries on some runs, or which cars are tested together, and starts nothing.
    fn rearrange(&self, lost: Vec<Run>, batches: Option<Vec<Batch>>) -> Result<(), EngineError> {
        let (target, start, cancel) = (self.settings.target.clone(), Vec::new(), Vec::new());
        let command = Command::ChangeRuns { target, start, cancel, lost, batches, check: None, kept_since: None };
        self.engine.run(command, &How::default()).map(|_| ())
    }

    /// Runs one check on a candidate, and notes what it said.
    fn run_check(&self, commit: &ObjectId, check: &Check, record: &mut VerdictRecord) -> Result<Verdict, EngineError> {
        let result = self.checks.run(commit, &check.run, Duration::from_secs(check.timeout.0))?;
        let verdict = match (result.code, result.timed_out) {
            (Some(0), false) => Verdict::Pass,
            // By convention of the shell: found but not executable, and not found. The check itself is broken.
            (Some(126 | 127), false) | (None, false) => Verdict::Inconclusive,
            _ => Verdict::Fail,
        };
        let (took, at) = (Seconds(result.took.as_secs()), self.engine.host.now());
        record.at = at;
        record.took = Some(Seconds(record.took.unwrap_or(Seconds(0)).0 + took.0));
        if check.name.is_none() || verdict != Verdict::Pass {
            record.output = result.output;
            if result.timed_out {
                record.output.push_str(&format!("\nstopped after {}", check.timeout));
            }
        }
        match &check.name {
            None => record.verdict = verdict,
            Some(name) => {
                record.checks.push(CheckVerdict { name: name.clone(), verdict, at, took: Some(took), url: None });
            }
        }
        Ok(verdict)
    }
}

impl<S: Store, H: Host, J: Journal> Engine<'_, S, H, J> {
    /// Records a verdict on the board and, where that works, as a note on the tested commit. Gives whether it was of
    /// use.
    pub fn record_verdict(
        &self,
        target: &Branch,
        Said { record, required, asked, kept_since }: Said,
        cars: &[CarId],
        code: &impl Code,
    ) -> Result<bool, EngineError> {
        let (target, cars) = (target.clone(), cars.to_vec());
        let command = Command::Verdict { target, record: record.clone(), cars, asked, required, kept_since };
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
