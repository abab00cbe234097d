//! Submitting, ejecting and landing cars.

use std::collections::BTreeSet;

use super::controls::before_all;
use super::runs::{drop_runs, leave_batch};
use super::{Ruling, become_state, claim_of, close, counters, kept_reason, own_claim};
use crate::domain::board::{Board, Draft};
use crate::domain::claim::{Fence, Grant, Lease};
use crate::domain::command::EjectCause;
use crate::domain::holds::why_held;
use crate::domain::train::{Approval, Batch, CarTask, Landing, Run};
use crate::domain::{
    Branch, Car, CarId, CarState, Command, ObjectId, Operation, Outcome, Priority, Refusal, Seconds, Stop, Task,
    TaskId, TaskState, Train, Verdict,
};
use crate::planted::{self, Bug};

/// The most cars that one car may name as having to land first.
const AFTER_MAX: usize = 64;

pub(super) fn submit<B: Board>(draft: &mut Draft<'_, B>, operation: &Operation) -> Ruling<B::Fault> {
    let Command::Submit { car: id, target, branch, commit, title, task, priority, after, together, single, first } =
        &operation.command
    else {
        unreachable!("BUG: only a submission is decided here")
    };
    let known = draft.car(target, id)?;
    let earlier = known.clone().filter(|car| car.state.is_open());
    if let Some(landed) = known.iter().find(|car| car.state == CarState::Landed && car.commit == *commit) {
        return Err(Stop::Refused(Refusal::AlreadyLanded { car: id.clone(), commit: landed.commit.clone() }));
    }
    let mut for_task = None;
    let mut urgency = *priority;
    if let Some(submitted) = task {
        let (task, claim) = own_claim(draft, operation, &submitted.id, submitted.fence)?;
        urgency = urgency.or(Some(task.summary.priority));
        for_task = Some((task, claim));
    }
    let car_task = for_task.as_ref().map(|(task, claim)| CarTask::from((&task.summary.id, claim.fence)));
    check_together(id, together)?;
    if let Some(open) = earlier.as_ref().filter(|car| car.commit == *commit && car.task == car_task) {
        return submit_again(draft, open.clone(), (*priority, *single), (after, together));
    }
    check_name(draft, target, known.as_ref(), car_task.as_ref())?;
    // A new commit is the same change, mended: what was wished for it holds.
    let (after, together) = wished(earlier.as_ref(), after, together);
    let still_open = open_cars_before(draft, target, id, &after, &together)?;
    not_landing(draft, target, id)?;
    if let Some(failed) = known.as_ref().filter(|car| car.state == CarState::Ejected && car.commit == *commit) {
        forget_failure(draft, failed)?;
    }
    let mut train = draft.train(target)?.unwrap_or_else(|| Train::new(target.clone()));
    let position = train.next_position;
    train.next_position += 1;
    // Who approved of this very commit need not do so again, unless it is they who submit it now.
    let still_counts = |approval: &Approval| approval.commit == *commit && !approval.by.is_same_person(&operation.by);
    let approvals = known.into_iter().flat_map(|car| car.approvals).filter(still_counts).collect();
    leave_batch(&mut train, id);
    draft.put_train(train);
    draft.put_car(Car {
        id: id.clone(),
        target: target.clone(),
        task: car_task,
        branch: branch.clone(),
        commit: commit.clone(),
        title: kept_reason(title).chars().take(200).collect(),
        priority: urgency.or(earlier.as_ref().map(|car| car.priority)).unwrap_or_default(),
        position,
        promoted: match &earlier {
            _ if *first => before_all(&draft.open_cars(target)?),
            earlier => earlier.as_ref().map_or(0, |car| car.promoted),
        },
        after: still_open,
        together,
        single: single.or(earlier.as_ref().map(|car| car.single)).unwrap_or(false),
        state: CarState::Queued,
        reason: None,
        approvals,
        submitted_at: operation.at,
        submitted_by: operation.by.clone(),
        inconclusive: 0,
        tested_tree: None,
        landed_as: None,
        landed_on: None,
    });
    if let Some((mut task, mut claim)) = for_task {
        claim.submitted = true;
        draft.put_grant(Grant::Claim(claim));
        if task.summary.state != TaskState::Submitted {
            become_state(&mut task, TaskState::Submitted, None);
            draft.put_task(task);
        }
    }
    Ok(Outcome::Submitted { car: id.clone(), position, again: false })
}

/// What a car goes after, and with: as is said now, or else as was said before.
fn wished(earlier: Option<&Car>, after: &[CarId], together: &[CarId]) -> (Vec<CarId>, Vec<CarId>) {
    let or_earlier = |now: &[CarId], before: fn(&Car) -> &Vec<CarId>| match now {
        [] => earlier.map_or(Vec::new(), |car| before(car).clone()),
        now => now.to_vec(),
    };
    (or_earlier(after, |car| &car.after), or_earlier(together, |car| &car.together))
}

/// Who submits the very commit that failed wants to have it tested once more: what failed may have been the test.
fn forget_failure<B: Board>(draft: &mut Draft<'_, B>, failed: &Car) -> Result<(), Stop<B::Fault>> {
    let Some(tree) = &failed.tested_tree else { return Ok(()) };
    if let Some(mut record) = draft.verdict(tree)?.filter(|record| record.verdict == Verdict::Fail) {
        record.verdict = Verdict::Inconclusive;
        record.checks.clear();
        draft.put_verdict(record);
    }
    Ok(())
}

/// A task has one car, and a car in the train is not replaced by one of somebody else's that has its name.
fn check_name<B: Board>(
    draft: &Draft<'_, B>,
    target: &Branch,
    known: Option<&Car>,
    task: Option<&CarTask>,
) -> Result<(), Stop<B::Fault>> {
    let refused = |what, rule| Err(Stop::Refused(Refusal::BadText { what, rule }));
    match known.filter(|car| car.state.is_open()).map(|car| (&car.task, task)) {
        Some((Some(theirs), ours)) if ours.is_none_or(|ours| ours.id != theirs.id) => {
            return refused("branch name", "a task of that name is in the train: rename the branch");
        }
        Some((None, Some(_))) => {
            return refused("task", "a branch of that name is in the train: let it land, or eject it");
        }
        _ => {}
    }
    let Some(task) = task else { return Ok(()) };
    for train in draft.trains()?.into_iter().filter(|train| train.target != *target) {
        let cars = draft.open_cars(&train.target)?;
        if cars.iter().any(|car| car.task.as_ref().is_some_and(|of| of.id == task.id)) {
            return refused("target", "the task is in the train of another: eject it there first");
        }
    }
    Ok(())
}

/// The same commit once more: the car keeps its place, and takes on what is wished for differently now.
fn submit_again<B: Board>(
    draft: &mut Draft<'_, B>,
    mut car: Car,
    (priority, single): (Option<Priority>, Option<bool>),
    (after, together): (&[CarId], &[CarId]),
) -> Ruling<B::Fault> {
    let (after, together) = wished(Some(&car), after, together);
    let after = open_cars_before(draft, &car.target, &car.id, &after, &together)?;
    let (priority, single) = (priority.unwrap_or(car.priority), single.unwrap_or(car.single));
    let outcome = Outcome::Submitted { car: car.id.clone(), position: car.position, again: true };
    if (priority, single, &after, &together) != (car.priority, car.single, &car.after, &car.together) {
        not_landing(draft, &car.target, &car.id)?;
        if let Some(mut train) = draft.train(&car.target)? {
            leave_batch(&mut train, &car.id);
            draft.put_train(train);
        }
        (car.priority, car.single) = (priority, single);
        (car.after, car.together) = (after, together);
        draft.put_car(car);
    }
    Ok(outcome)
}

/// Cars that land together are bounded, differ, and one of them is the one that says so.
fn check_together<F>(id: &CarId, together: &[CarId]) -> Result<(), Stop<F>> {
    if together.len() > AFTER_MAX {
        let what = "cars that land together";
        return Err(Stop::Refused(Refusal::TooLarge { what, size: together.len(), size_max: AFTER_MAX }));
    }
    let different: BTreeSet<&CarId> = together.iter().collect();
    let good = together.is_empty() || (together.contains(id) && different.len() == together.len());
    let rule = "each car that lands together with others is named once";
    if good { Ok(()) } else { Err(Stop::Refused(Refusal::BadText { what: "cars", rule })) }
}

/// Those of the cars that must land first which have not landed yet.
fn open_cars_before<B: Board>(
    draft: &Draft<'_, B>,
    target: &Branch,
    id: &CarId,
    after: &[CarId],
    together: &[CarId],
) -> Result<Vec<CarId>, Stop<B::Fault>> {
    check_after(draft, target, id, after, together)?;
    let mut still_open = Vec::new();
    for first in after {
        if draft.car(target, first)?.is_some_and(|car| car.state.is_open()) {
            still_open.push(first.clone());
        }
    }
    Ok(still_open)
}

/// Cars that must land first have to be on their way or landed, and must not wait for this one, nor for one that lands
/// together with it.
fn check_after<B: Board>(
    draft: &Draft<'_, B>,
    target: &Branch,
    id: &CarId,
    after: &[CarId],
    together: &[CarId],
) -> Result<(), Stop<B::Fault>> {
    if after.len() > AFTER_MAX {
        let what = "cars that must land first";
        return Err(Stop::Refused(Refusal::TooLarge { what, size: after.len(), size_max: AFTER_MAX }));
    }
    // Those that land as one may go after each other.
    let is_one_of_them = |other: &CarId| other == id || together.contains(other);
    let mut open: Vec<CarId> = after.to_vec();
    for other in together.iter().filter(|other| *other != id) {
        let car = draft.car(target, other)?.filter(|car| car.state.is_open());
        open.extend(car.into_iter().flat_map(|car| car.after).filter(|first| !is_one_of_them(first)));
    }
    let mut looked_at = BTreeSet::new();
    while let Some(next) = open.pop() {
        if next == *id || (is_one_of_them(&next) && !after.contains(&next)) {
            return Err(Stop::Refused(Refusal::BadText { what: "order", rule: "cars must not wait for each other" }));
        }
        match draft.car(target, &next)? {
            None => return Err(Stop::Refused(Refusal::NoSuchCar(next))),
            Some(car) if car.state == CarState::Ejected && after.contains(&next) => {
                return Err(Stop::Refused(Refusal::NoSuchCar(next)));
            }
            Some(car) if car.state.is_open() && looked_at.insert(next.clone()) => open.extend(car.after),
            Some(_) => {}
        }
    }
    Ok(())
}

pub(super) fn eject<B: Board>(draft: &mut Draft<'_, B>, operation: &Operation) -> Ruling<B::Fault> {
    let Command::Eject { target, car: id, commit, cause, reason, lease, retries_max, window, breaker } =
        &operation.command
    else {
        unreachable!("BUG: only an ejection is decided here")
    };
    let car = draft.car(target, id)?.ok_or_else(|| Stop::Refused(Refusal::NoSuchCar(id.clone())))?;
    if !car.state.is_open() || commit.as_ref().is_some_and(|commit| *commit != car.commit) {
        return Ok(Outcome::Ejected { cars: Vec::new() });
    }
    let rework = Rework { operation, lease: Some(*lease), retries_max: *retries_max };
    let mut left = Vec::new();
    leave(draft, car, *cause, reason, &rework, &mut left)?;
    if matches!(cause, EjectCause::Failed | EjectCause::NoVerdict)
        && let Some(mut train) = draft.train(target)?
    {
        train.window = window.or(train.window);
        train.failed_in_a_row += 1;
        if (1..=train.failed_in_a_row).contains(breaker) {
            let count = std::mem::take(&mut train.failed_in_a_row);
            let why =
                format!("{count} cars failed one after the other, the last of them {id}: look at what tests them");
            train.paused.get_or_insert(why);
        }
        draft.put_train(train);
    }
    Ok(Outcome::Ejected { cars: left })
}

/// What the holder of an ejected car's task gets.
struct Rework<'a> {
    operation: &'a Operation,
    /// For how long; `None`: as long as before.
    lease: Option<Seconds>,
    retries_max: u32,
}

/// Takes a car out, and every car that needs it. Their tasks go back to their holders.
fn leave<B: Board>(
    draft: &mut Draft<'_, B>,
    mut car: Car,
    cause: EjectCause,
    reason: &str,
    rework: &Rework<'_>,
    left: &mut Vec<CarId>,
) -> Result<(), Stop<B::Fault>> {
    let target = car.target.clone();
    let id = car.id.clone();
    not_landing(draft, &target, &id)?;
    car.state = CarState::Ejected;
    car.reason = Some(kept_reason(reason));
    let task = car.task.clone();
    draft.put_car(car);
    if let Some(mut train) = draft.train(&target)? {
        // Its runs are left to the next pass: what is behind it may make the same tree without it.
        if cause == EjectCause::Failed {
            Batch::blame(&mut train.batches, &id);
        }
        leave_batch(&mut train, &id);
        train.tally = train.tally.with(0, usize::from(cause == EjectCause::Failed));
        draft.put_train(train);
    }
    left.push(id.clone());
    if let Some(task) = task {
        give_back(draft, &task, cause, reason, rework)?;
    }
    for dependant in draft.open_cars(&target)? {
        // An earlier turn of this loop may have taken it out already.
        let reason = if dependant.after.contains(&id) {
            format!("{id}, which it needs, has left the train")
        } else {
            format!("{id}, with which it lands together, has left the train")
        };
        if (dependant.after.contains(&id) || dependant.together.contains(&id)) && !left.contains(&dependant.id) {
            leave(draft, dependant, EjectCause::Dependency, &reason, rework, left)?;
        }
    }
    Ok(())
}

/// Gives the task of an ejected car back to its holder to rework, with a fresh lease; or gives it up.
fn give_back<B: Board>(
    draft: &mut Draft<'_, B>,
    of: &CarTask,
    cause: EjectCause,
    reason: &str,
    rework: &Rework<'_>,
) -> Result<(), Stop<B::Fault>> {
    let Some((mut task, fence)) = submitted_task(draft, of)? else { return Ok(()) };
    let reason = Some(kept_reason(reason));
    if cause.counts_as_failure() {
        task.failures += 1;
        if task.failures > rework.retries_max {
            close(draft, task, TaskState::Failed, reason, rework.operation.at)?;
            return Ok(());
        }
    }
    if let Some(Grant::Claim(mut claim)) = draft.grant(fence)? {
        claim.submitted = false;
        let length = rework.lease.unwrap_or(claim.lease.length);
        claim.lease = Lease { renewed_at: rework.operation.at, length };
        draft.put_grant(Grant::Claim(claim));
    }
    become_state(&mut task, TaskState::Claimed, reason);
    draft.put_task(task);
    Ok(())
}

/// The task of a car, if the claim it was submitted under still is the task's claim.
fn submitted_task<B: Board>(draft: &Draft<'_, B>, of: &CarTask) -> Result<Option<(Task, Fence)>, Stop<B::Fault>> {
    let Some(task) = draft.task(&of.id)? else { return Ok(None) };
    let claim = claim_of(draft, &task)?;
    let current = claim.is_some_and(|claim| claim.fence == of.fence && claim.submitted);
    Ok((current && task.summary.state == TaskState::Submitted).then_some((task, of.fence)))
}

/// Takes the cars of a task out of every train, when the task itself goes elsewhere: the caller says where. The tasks
/// of cars that leave with them go back to their holders.
pub(super) fn withdraw_task<B: Board>(
    draft: &mut Draft<'_, B>,
    operation: &Operation,
    task: &TaskId,
    reason: &str,
) -> Result<(), Stop<B::Fault>> {
    if planted::is(Bug::FenceUncheckedAtLanding) {
        return Ok(());
    }
    let rework = Rework { operation, lease: None, retries_max: u32::MAX };
    for train in draft.trains()? {
        let cars = draft.open_cars(&train.target)?;
        for car in cars.into_iter().filter(|car| car.task.as_ref().is_some_and(|of| of.id == *task)) {
            leave(draft, car, EjectCause::Withdrawn, reason, &rework, &mut Vec::new())?;
        }
    }
    Ok(())
}

pub(super) fn announce_landing<B: Board>(draft: &mut Draft<'_, B>, operation: &Operation) -> Ruling<B::Fault> {
    let Command::AnnounceLanding { target, cars, commits, from, to, tree, steps, approvals } = &operation.command
    else {
        unreachable!("BUG: only an announcement is decided here")
    };
    let mut train = known_train(draft, target)?;
    announced(&train, cars, to)?;
    may_land(draft, &train, cars, commits, (Some(tree), *approvals))?;
    train.landing = Some(Landing {
        from: from.clone(),
        to: to.clone(),
        cars: cars.clone(),
        commits: commits.clone(),
        steps: steps.clone(),
        at: operation.at,
    });
    draft.put_train(train);
    Ok(Outcome::Train { changed: true })
}

pub(super) fn abandon_landing<B: Board>(draft: &mut Draft<'_, B>, target: &Branch, to: &ObjectId) -> Ruling<B::Fault> {
    let mut train = known_train(draft, target)?;
    let changed = train.landing.as_ref().is_some_and(|landing| landing.to == *to);
    if changed {
        train.landing = None;
        draft.put_train(train);
    }
    Ok(Outcome::Train { changed })
}

pub(super) fn land<B: Board>(draft: &mut Draft<'_, B>, operation: &Operation) -> Ruling<B::Fault> {
    let Command::Land { target, cars, commits, from, to, tree, steps, window, approvals } = &operation.command else {
        unreachable!("BUG: only a landing is decided here")
    };
    let mut train = known_train(draft, target)?;
    // What was announced was judged then, and the target has moved since: it is recorded whatever happened meanwhile.
    let announced = announced(&train, cars, to)?;
    if !announced {
        if tree.is_none() && from != to {
            return already_recorded(draft, target, cars, (to, steps));
        }
        may_land(draft, &train, cars, commits, (tree.as_ref(), *approvals))?;
    }
    let mut unblocked = Vec::new();
    let mut landed = Vec::new();
    for (nth, id) in cars.iter().enumerate() {
        let Some(mut car) = draft.car(target, id)?.filter(|car| car.state.is_open()) else { continue };
        let landed_as = steps.get(nth).unwrap_or(to);
        car.state = CarState::Landed;
        car.reason = None;
        car.landed_as = Some(landed_as.clone());
        let before = if nth == 0 { Some(from) } else { steps.get(nth - 1) };
        car.landed_on = before.filter(|before| !steps.is_empty() && *before != landed_as).cloned();
        if let Some(tree) = tree {
            car.tested_tree = Some(tree.clone());
        }
        let of = car.task.clone();
        draft.put_car(car);
        landed.push(id.clone());
        if let Some(of) = of
            && let Some((mut task, _)) = submitted_task(draft, &of)?
        {
            task.landed_as = Some(landed_as.clone());
            unblocked.extend(close(draft, task, TaskState::Landed, None, operation.at)?);
        }
    }
    train.landing = None;
    train.landed_to = Some(to.clone());
    train.window = window.or(train.window);
    landed.iter().for_each(|id| leave_batch(&mut train, id));
    train.tally = train.tally.with(landed.len(), 0);
    train.failed_in_a_row = 0;
    let behind = |run: &Run| run.cars.iter().take_while(|id| landed.contains(id)).count();
    drop_runs(draft, &mut train, |run| {
        run.tested().iter().chain(&run.cars[behind(run)..]).any(|id| landed.contains(id))
    })?;
    // What was tested behind them is the same commit still, on a target that has moved to its base.
    for run in train.runs.iter_mut().filter(|run| behind(run) > 0) {
        let behind = behind(run);
        run.cars.drain(..behind);
        run.ahead = run.ahead.saturating_sub(u32::try_from(behind).unwrap_or(u32::MAX));
        run.base = to.clone();
    }
    draft.put_train(train);
    for mut car in draft.open_cars(target)? {
        // What has landed is waited for no more, whatever is submitted under its name later.
        let waits_for = |other: &CarId| landed.contains(other);
        if car.after.iter().chain(&car.together).any(waits_for) {
            car.after.retain(|first| !waits_for(first));
            car.together.retain(|other| !waits_for(other));
            if car.together == [car.id.clone()] {
                car.together.clear();
            }
            draft.put_car(car);
        }
    }
    Ok(Outcome::Landed { cars: landed, unblocked })
}

/// The answer to a pass that finishes a landing which is not announced: fine, if another pass was faster to record it.
fn already_recorded<B: Board>(
    draft: &Draft<'_, B>,
    target: &Branch,
    cars: &[CarId],
    (to, steps): (&ObjectId, &[ObjectId]),
) -> Ruling<B::Fault> {
    for (nth, id) in cars.iter().enumerate() {
        let landed_as = steps.get(nth).unwrap_or(to);
        if draft.car(target, id)?.is_none_or(|car| car.landed_as.as_ref() != Some(landed_as)) {
            return Err(Stop::Refused(Refusal::TrainChanged(format!("the landing on {to} is not announced any more"))));
        }
    }
    Ok(Outcome::Landed { cars: Vec::new(), unblocked: Vec::new() })
}

/// Whether this landing is announced. While another one is, nothing else lands, not even what is found where that one
/// goes.
fn announced<F>(train: &Train, cars: &[CarId], to: &ObjectId) -> Result<bool, Stop<F>> {
    match &train.landing {
        Some(landing) if landing.to == *to && landing.cars == cars => Ok(true),
        None => Ok(false),
        Some(other) => {
            let what = format!("{} is being moved to {} already", train.target, other.to);
            Err(Stop::Refused(Refusal::TrainChanged(what)))
        }
    }
}

pub(super) fn check_not_paused<F>(train: &Train) -> Result<(), Stop<F>> {
    match &train.paused {
        Some(reason) => Err(Stop::Refused(Refusal::TrainChanged(format!("the train is paused: {reason}")))),
        None => Ok(()),
    }
}

pub(super) fn check_not_held<F>(train: &Train, car: &Car, approvals: u32) -> Result<(), Stop<F>> {
    match why_held(train, car, approvals) {
        Some(reason) => Err(Stop::Refused(Refusal::TrainChanged(format!("{} waits: {reason}", car.id)))),
        None => Ok(()),
    }
}

/// Whether cars may land by a tree: it passed, they are on their way, after those they need, nobody holds them back,
/// and their claims are the present ones.
fn may_land<B: Board>(
    draft: &Draft<'_, B>,
    train: &Train,
    cars: &[CarId],
    commits: &[ObjectId],
    (tree, approvals): (Option<&ObjectId>, u32),
) -> Result<(), Stop<B::Fault>> {
    let changed = |what: String| Err(Stop::Refused(Refusal::TrainChanged(what)));
    check_not_paused(train)?;
    if let Some(tree) = tree
        && !planted::is(Bug::VerdictOfAnotherTree)
        && draft.verdict(tree)?.is_none_or(|record| record.verdict != Verdict::Pass)
    {
        return changed(format!("tree {tree} has not passed"));
    }
    for (nth, id) in cars.iter().enumerate() {
        let car = open_car(draft, &train.target, id)?;
        if tree.is_some() && !planted::is(Bug::HeldBackUncheckedAtLanding) {
            // What is on the target already can only be noted.
            check_not_held(train, &car, approvals)?;
        }
        if commits.get(nth) != Some(&car.commit) && !planted::is(Bug::CommitUncheckedAtLanding) {
            return changed(format!("{id} was submitted again, as {}", car.commit));
        }
        if let Some(other) = car.together.iter().find(|other| !cars.contains(other)).filter(|_| tree.is_some()) {
            return changed(format!("{other}, with which {id} lands together, does not land with it"));
        }
        if let Some(first) = car.after.iter().find(|first| !cars[..nth].contains(first)) {
            return changed(format!("{first}, which {id} needs, has not landed"));
        }
        if let Some(of) = &car.task
            && submitted_task(draft, of)?.is_none()
            && !planted::is(Bug::FenceUncheckedAtLanding)
        {
            return changed(format!("the claim under which {id} was submitted, fence {}, is gone", of.fence));
        }
    }
    Ok(())
}

/// A car whose landing was announced is on its way to the target, and nobody can call it back.
pub(super) fn not_landing<B: Board>(draft: &Draft<'_, B>, target: &Branch, id: &CarId) -> Result<(), Stop<B::Fault>> {
    let landing = draft.train(target)?.and_then(|train| train.landing);
    match landing.filter(|landing| landing.cars.contains(id)) {
        Some(_) => Err(Stop::Refused(Refusal::TrainChanged(format!("{id} is being landed")))),
        None => Ok(()),
    }
}

pub(super) fn known_train<B: Board>(draft: &Draft<'_, B>, target: &Branch) -> Result<Train, Stop<B::Fault>> {
    counters(draft)?;
    Ok(draft.train(target)?.unwrap_or_else(|| Train::new(target.clone())))
}

pub(super) fn open_car<B: Board>(draft: &Draft<'_, B>, target: &Branch, id: &CarId) -> Result<Car, Stop<B::Fault>> {
    match draft.car(target, id)? {
        Some(car) if car.state.is_open() => Ok(car),
        _ => Err(Stop::Refused(Refusal::TrainChanged(format!("{id} is not in the train any more")))),
    }
}
