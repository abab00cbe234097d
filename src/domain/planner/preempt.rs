//! Which tests are given up so that one of something urgent can begin.
//!
//! What is more urgent goes first, and what stands behind it in line is tested anew in any case. But tests of other
//! lanes, and of batches that are tested apart from the line, are of use still: what is urgent waits until a slot is
//! free, and has it first. With this, which has to be asked for, one of them is given up for it.
//!
//! Guarantees: a test is given up only where one of a car that is p0, or was put first, begins in its place by the same
//! plan; only if that car is more urgent than all that the test is about; and as few are as will do, the last of the
//! least urgent first. Must not know how cars are planned: it plans without a test and looks at what comes of it.

use std::cmp::Reverse;

use super::batches::{Urgency, urgency};
use super::line::Wanted;
use super::{Action, in_order};
use crate::domain::{Batch, Car, CarId, Priority, Run, Train};

/// What is done, and which cars are tested together.
type Planned = (Vec<Action>, Vec<Batch>);

/// What `plan` makes of the train, or of the train without some of its tests.
pub(super) fn plan_with_room(
    train: &Train,
    cars: &[Car],
    plan: impl Fn(&Train) -> Result<Planned, Wanted>,
) -> Result<Planned, Wanted> {
    let ordered = in_order(cars);
    let urgency = |id: &CarId| urgency(&ordered, id);
    let most_urgent = |run: &Run| run.tested().iter().map(urgency).min();
    let mut planned = plan(train)?;
    let mut left = train.clone();
    let mut given_up: Vec<Action> = Vec::new();
    loop {
        let waiting = ordered.iter().filter(|car| !is_tested(car, &left.runs, &planned.0));
        let Some(most) = waiting.map(|car| urgency(&car.id)).filter(is_urgent).min() else { break };
        let gives_way = |run: &&Run| most_urgent(run) > Some(most) && !is_cancelled(run, &planned.0);
        let mut runs: Vec<&Run> = left.runs.iter().filter(gives_way).collect();
        runs.sort_by_key(|run| Reverse(ordered.iter().rposition(|car| run.tested().contains(&car.id))));
        let mut better = None;
        for run in runs {
            let mut without = left.clone();
            without.runs.retain(|other| other.commit != run.commit);
            let next = plan(&without)?;
            let begins = |action: &&Action| {
                let of = about(action).and_then(|cars| cars.iter().map(urgency).max());
                of.is_some_and(|of| is_urgent(&of) && Some(of) < most_urgent(run))
            };
            let begun = |(actions, _): &Planned| actions.iter().filter(begins).count();
            if begun(&next) > begun(&planned) {
                better = Some((Action::cancel(run), without, next));
                break;
            }
        }
        let Some((cancel, without, next)) = better else { break };
        given_up.push(cancel);
        (left, planned) = (without, next);
    }
    planned.0.splice(..0, given_up);
    Ok(planned)
}

/// Whether others may have to make room for it.
fn is_urgent((Reverse(promoted), priority): &Urgency) -> bool {
    *promoted > 0 || *priority == Priority::P0
}

/// Whether a test is about a car, now or once this is done.
fn is_tested(car: &Car, runs: &[Run], actions: &[Action]) -> bool {
    let begun = actions.iter().filter_map(about).any(|cars| cars.contains(&car.id));
    begun || runs.iter().any(|run| run.tested().contains(&car.id))
}

/// The cars that a test is about which is begun by this.
fn about(action: &Action) -> Option<&[CarId]> {
    match action {
        Action::StartRun { cars, ahead, .. } => cars.get(*ahead..),
        _ => None,
    }
}

fn is_cancelled(run: &Run, actions: &[Action]) -> bool {
    actions.iter().any(|action| matches!(action, Action::CancelRun { commit, .. } if *commit == run.commit))
}
