//! Runs of tests, what they say, and which cars are tested together.
//!
//! Guarantees: a candidate is tested once at a time, and a tree that is known is not tested again; what comes late,
//! twice or unasked changes nothing. Must not decide what is tested, nor what lands.

use std::collections::BTreeSet;

use super::Ruling;
use super::cars::{check_not_held, check_not_paused, known_train, open_car};
use crate::domain::board::{Board, Draft};
use crate::domain::train::{CHECKS_MAX, CheckVerdict, OUTPUT_BYTES_MAX, Run};
use crate::domain::{
    Batch, Branch, Car, CarId, CarState, CheckName, Command, ObjectId, Operation, Outcome, Refusal, Stop, Timestamp,
    Train, Verdict, VerdictRecord,
};
use crate::planted::{self, Bug};

pub(super) fn start_run<B: Board>(draft: &mut Draft<'_, B>, target: &Branch, run: &Run) -> Ruling<B::Fault> {
    let mut train = known_train(draft, target)?;
    let changed = begin_run(draft, &mut train, run)?;
    if changed {
        draft.put_train(train);
    }
    Ok(Outcome::Train { changed })
}

pub(super) fn change_runs<B: Board>(draft: &mut Draft<'_, B>, command: &Command) -> Ruling<B::Fault> {
    let Command::ChangeRuns { target, start, cancel, lost, batches, check, kept_since } = command else {
        unreachable!("BUG: only a change of runs is decided here")
    };
    let mut train = known_train(draft, target)?;
    let waited_for = |commit: &&ObjectId| train.runs.iter().any(|run| run.commit == **commit);
    // Of what is lost, only what is recorded just so: what somebody has begun anew since goes on.
    let lost = train.runs.iter().filter(|run| lost.contains(run)).map(|run| &run.commit);
    let cancelled: Vec<ObjectId> = cancel.iter().filter(waited_for).chain(lost).cloned().collect();
    drop_runs(draft, &mut train, |run| cancelled.contains(&run.commit))?;
    let mut started = Vec::new();
    for run in start {
        // Since it was planned another pass may have asked for it, and the answer may be there.
        if !is_known(draft, run, check.as_deref(), *kept_since)? && begin_run(draft, &mut train, run)? {
            started.push(run.commit.clone());
        }
    }
    let regrouped = match batches {
        Some(batches) => regroup(draft, &mut train, batches)?,
        None => false,
    };
    if !started.is_empty() || !cancelled.is_empty() || regrouped {
        draft.put_train(train);
    }
    Ok(Outcome::Runs { started, cancelled })
}

/// Whether a check has said of a tree what a run would find out.
fn is_known<B: Board>(
    draft: &Draft<'_, B>,
    run: &Run,
    check: Option<&str>,
    since: Option<Timestamp>,
) -> Result<bool, Stop<B::Fault>> {
    let known = draft.verdict(&run.tree)?.filter(|known| Some(known.check.as_str()) == check && known.is_kept(since));
    // One car alone is tested once more for what it was found to be with others.
    let confirms = |known: &VerdictRecord| run.ahead == 0 && known.failed_with_more_than(run.tested().len());
    let says = |known: VerdictRecord| known.is_settled() && !confirms(&known);
    Ok(known.is_some_and(says) && !planted::is(Bug::KnownTreeTested))
}

/// Notes which cars are tested together. Gives whether that is new. Cars that have left meanwhile are left out.
fn regroup<B: Board>(draft: &Draft<'_, B>, train: &mut Train, batches: &[Batch]) -> Result<bool, Stop<B::Fault>> {
    let open: BTreeSet<CarId> = draft.open_cars(&train.target)?.into_iter().map(|car| car.id).collect();
    let mut kept = batches.to_vec();
    Batch::keep_cars(&mut kept, |id| open.contains(id));
    let changed = train.batches != kept;
    train.batches = kept;
    Ok(changed)
}

/// Takes a car out of its batch: it lands, leaves, or is another one from now on.
pub(super) fn leave_batch(train: &mut Train, id: &CarId) {
    Batch::keep_cars(&mut train.batches, |car| car != id);
}

/// Notes that a test was asked for. Gives whether that is new.
fn begin_run<B: Board>(draft: &mut Draft<'_, B>, train: &mut Train, run: &Run) -> Result<bool, Stop<B::Fault>> {
    if train.runs.iter().any(|known| known.commit == run.commit) {
        return Ok(false);
    }
    check_not_paused(train)?;
    for id in &run.cars {
        let mut car = open_car(draft, &train.target, id)?;
        check_not_held(train, &car, 0)?;
        if run.tested().contains(id) {
            car.state = CarState::Testing;
            tested_in(&mut car, &run.tree);
            draft.put_car(car);
        }
    }
    train.runs.push(run.clone());
    Ok(true)
}

/// Notes in what a car is tested. How often that came to nothing is counted for one and the same.
fn tested_in(car: &mut Car, tree: &ObjectId) {
    if car.tested_tree.as_ref() != Some(tree) {
        car.inconclusive = 0;
        car.tested_tree = Some(tree.clone());
    }
}

pub(super) fn verdict<B: Board>(draft: &mut Draft<'_, B>, operation: &Operation) -> Ruling<B::Fault> {
    let Command::Verdict { target, record, cars, asked, required, kept_since } = &operation.command else {
        unreachable!("BUG: only a verdict is decided here")
    };
    let mut train = known_train(draft, target)?;
    let mut waited_for = false;
    for run in train.runs.iter().filter(|run| run.commit == record.commit) {
        for id in run.tested() {
            waited_for |= draft.car(target, id)?.is_some_and(|car| car.state.is_open());
        }
    }
    let known = draft.verdict(&record.tree)?.filter(|known| known.check == record.check && known.is_kept(*kept_since));
    // One car alone is tested once more for what it was found to be with others.
    let known = known.filter(|known| !known.failed_with_more_than(cars.len()));
    if (*asked && !waited_for) || known.as_ref().is_some_and(VerdictRecord::is_settled) {
        return Ok(Outcome::Verdict { applied: false });
    }
    let mut record = record.clone();
    record.together = u32::try_from(cars.len()).ok().filter(|count| *count > 1).unwrap_or_default();
    let mut again = !record.is_settled();
    if !required.is_empty() {
        record.checks.retain(|check| known.as_ref().is_none_or(|known| known.of_check(&check.name).is_none()));
        if record.checks.is_empty() {
            return Ok(Outcome::Verdict { applied: false });
        }
        record.join(known.as_ref().map_or(&[], |known| &known.checks), required);
        // One that has to pass and came to nothing has to be run again, when the others have said what they say: of
        // those that are under way outside none is told that nobody waits for it.
        let of = |name: &CheckName| record.checks.iter().find(|check| check.name == *name);
        let came_to_nothing = |check: &CheckVerdict| check.verdict == Verdict::Inconclusive;
        let all_said = !*asked || required.iter().all(|name| of(name).is_some());
        again = all_said && required.iter().any(|name| of(name).is_some_and(came_to_nothing));
        if record.checks.len() > CHECKS_MAX {
            let (what, size) = ("checks of one tree", record.checks.len());
            return Err(Stop::Refused(Refusal::TooLarge { what, size, size_max: CHECKS_MAX }));
        }
    }
    if record.is_settled() || again {
        drop_runs(draft, &mut train, |run| run.tree == record.tree)?;
        // What fails may have ended early, or been stopped: that says little of how long others take to land.
        if let (Verdict::Pass, Some(took)) = (record.verdict, record.took) {
            train.note_run_time(took);
        }
        draft.put_train(train);
        for id in cars {
            if let Some(mut car) = draft.car(target, id)?.filter(|car| car.state.is_open()) {
                tested_in(&mut car, &record.tree);
                car.inconclusive += u32::from(!record.is_settled());
                draft.put_car(car);
            }
        }
    }
    record.output = end_of(&record.output);
    draft.put_verdict(record);
    Ok(Outcome::Verdict { applied: true })
}

/// The end of a check's output that fits into a record, without characters that would change a terminal.
pub(super) fn end_of(output: &str) -> String {
    let clean = output.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { ' ' } else { c });
    let mut kept = String::new();
    let mut size = 0;
    for c in clean.collect::<Vec<_>>().into_iter().rev() {
        size += c.len_utf8() + usize::from(matches!(c, '"' | '\\'));
        if size > OUTPUT_BYTES_MAX {
            break;
        }
        kept.push(c);
    }
    kept.chars().rev().collect()
}

/// Forgets runs. Cars that nobody tests any more wait again.
pub(super) fn drop_runs<B: Board>(
    draft: &mut Draft<'_, B>,
    train: &mut Train,
    unwanted: impl Fn(&Run) -> bool,
) -> Result<(), Stop<B::Fault>> {
    let (gone, kept): (Vec<Run>, Vec<Run>) = std::mem::take(&mut train.runs).into_iter().partition(unwanted);
    train.runs = kept;
    for id in gone.iter().flat_map(|run| &run.cars) {
        if let Some(mut car) = draft.car(&train.target, id)?.filter(|car| car.state == CarState::Testing)
            && !train.runs.iter().any(|run| run.tested().contains(id))
        {
            car.state = CarState::Queued;
            draft.put_car(car);
        }
    }
    Ok(())
}
