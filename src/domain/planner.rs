//! What a pass of the train does next: observe, then plan, then perform.
//!
//! [`plan`] is pure and total, and plans from scratch each time from the cars and what was observed. It may ask for a
//! candidate that nobody has built yet ([`Plan::wanted`]); the caller builds it and plans again. This is the serial
//! strategy: one car at a time, on the present tip of the target.

use std::collections::{BTreeMap, BTreeSet};

use super::command::EjectCause;
use super::{Car, CarId, ObjectId, Seconds, Timestamp, Train, Verdict};

/// How often a test may end without a verdict before its car is ejected.
pub const INCONCLUSIVE_MAX: u32 = 3;

/// What was seen outside the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The tip of the target.
    pub base: ObjectId,
    /// The heads of the cars' branches; absent: the branch is gone.
    pub heads: BTreeMap<CarId, ObjectId>,
    /// Cars whose commit the target contains already.
    pub on_target: BTreeSet<CarId>,
    /// Cars whose claim is not the present one of their task.
    pub stale: BTreeSet<CarId>,
    /// Candidates that were built on `base`, by their cars in order.
    pub candidates: BTreeMap<Vec<CarId>, Candidate>,
    /// What is known of trees, for the check that is configured now.
    pub verdicts: BTreeMap<ObjectId, Verdict>,
    /// What time it is.
    pub now: Timestamp,
}

/// The target with cars merged into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate {
    /// They merge.
    Clean {
        /// The commit that would land.
        commit: ObjectId,
        /// Its tree.
        tree: ObjectId,
    },
    /// The last of them does not.
    Conflict {
        /// Where.
        paths: Vec<String>,
    },
}

/// How the train is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainPolicy {
    /// Whether verdicts come from outside, so that a test is asked for and waited for.
    pub external: bool,
    /// How long a verdict from outside is waited for.
    pub timeout: Seconds,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Have a candidate tested.
    StartRun {
        /// Its cars, in order.
        cars: Vec<CarId>,
        /// The candidate.
        commit: ObjectId,
        /// Its tree.
        tree: ObjectId,
    },
    /// Use what is known of a tree.
    ReuseVerdict {
        /// The cars of the candidate.
        cars: Vec<CarId>,
        /// The candidate.
        commit: ObjectId,
        /// Its tree.
        tree: ObjectId,
        /// What is known.
        verdict: Verdict,
    },
    /// Move the target.
    Land {
        /// The cars that land, in order.
        cars: Vec<CarId>,
        /// Where the target is.
        from: ObjectId,
        /// Where it goes.
        to: ObjectId,
        /// The tree that passed; `None` for a car that the target contains already.
        tree: Option<ObjectId>,
    },
    /// Take a car out.
    Eject {
        /// Which.
        car: CarId,
        /// Why, as a kind.
        cause: EjectCause,
        /// Why, in words.
        reason: String,
    },
    /// Do nothing with a car for now.
    Wait {
        /// Which.
        car: CarId,
        /// For what.
        reason: String,
    },
}

/// What to do now, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do.
    pub actions: Vec<Action>,
    /// The candidate without which there is nothing more to say.
    pub wanted: Option<Vec<CarId>>,
}

/// Plans one step of `train`, whose open cars are `cars`.
pub fn plan(train: &Train, cars: &[Car], seen: &Observation, policy: &TrainPolicy) -> Plan {
    let mut plan = Plan::default();
    if let Some(reason) = &train.paused {
        let reason = format!("the train is paused: {reason}");
        plan.actions.extend(cars.iter().map(|car| Action::Wait { car: car.id.clone(), reason: reason.clone() }));
        return plan;
    }
    for car in cars {
        plan.actions.extend(why_leave(car, seen));
    }
    if !plan.actions.is_empty() {
        // Those that leave may take others with them: what is left is planned with fresh eyes.
        return plan;
    }
    let queue = in_order(cars);
    let Some((head, rest)) = queue.split_first() else { return plan };
    plan_head(head, train, seen, policy, &mut plan);
    if plan.wanted.is_none() {
        let waits = |car: &&Car| Action::Wait { car: car.id.clone(), reason: format!("{} is ahead of it", head.id) };
        plan.actions.extend(rest.iter().map(waits));
    }
    plan
}

/// Cars in the order in which they land: the most urgent first, then by position, but each after those it needs.
pub fn in_order(cars: &[Car]) -> Vec<&Car> {
    let mut left: Vec<&Car> = cars.iter().collect();
    left.sort_by_key(|car| (car.priority, car.position));
    let mut ordered: Vec<&Car> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let waits = |car: &&Car, left: &[&Car]| left.iter().any(|other| car.after.contains(&other.id));
        // Submission refuses cars that wait for each other; should a board hold some all the same, the first goes.
        let next = left.iter().position(|car| !waits(car, &left)).unwrap_or(0);
        ordered.push(left.remove(next));
    }
    ordered
}

fn why_leave(car: &Car, seen: &Observation) -> Option<Action> {
    let eject = |cause, reason: String| Some(Action::Eject { car: car.id.clone(), cause, reason });
    if seen.on_target.contains(&car.id) {
        return None;
    }
    if seen.stale.contains(&car.id) {
        return eject(EjectCause::Stale, "the claim it was submitted under is not the present one".to_owned());
    }
    match seen.heads.get(&car.id) {
        Some(head) if *head == car.commit => None,
        Some(head) => {
            let reason = format!("the head of {} moved to {head} after it was submitted; submit it again", car.branch);
            eject(EjectCause::Moved, reason)
        }
        None => eject(EjectCause::Moved, format!("branch {} is gone", car.branch)),
    }
}

fn plan_head(car: &Car, train: &Train, seen: &Observation, policy: &TrainPolicy, plan: &mut Plan) {
    let cars = vec![car.id.clone()];
    if seen.on_target.contains(&car.id) {
        let (from, to) = (seen.base.clone(), seen.base.clone());
        plan.actions.push(Action::Land { cars, from, to, tree: None });
        return;
    }
    let (commit, tree) = match seen.candidates.get(&cars) {
        None => {
            plan.wanted = Some(cars);
            return;
        }
        Some(Candidate::Conflict { paths }) => {
            let reason = format!("it conflicts with {} in {}", train.target, paths.join(", "));
            plan.actions.push(Action::Eject { car: car.id.clone(), cause: EjectCause::Conflict, reason });
            return;
        }
        Some(Candidate::Clean { commit, tree }) => (commit.clone(), tree.clone()),
    };
    match seen.verdicts.get(&tree) {
        Some(Verdict::Pass) => {
            if car.tested_tree.as_ref() != Some(&tree) {
                let (cars, verdict) = (cars.clone(), Verdict::Pass);
                plan.actions.push(Action::ReuseVerdict { cars, commit: commit.clone(), tree: tree.clone(), verdict });
            }
            plan.actions.push(Action::Land { cars, from: seen.base.clone(), to: commit, tree: Some(tree) });
        }
        Some(Verdict::Fail) => {
            let reason = format!("its check failed on {commit}");
            plan.actions.push(Action::Eject { car: car.id.clone(), cause: EjectCause::Failed, reason });
        }
        Some(Verdict::Inconclusive) | None if car.inconclusive >= INCONCLUSIVE_MAX => {
            let reason = format!("its check gave no verdict {} times", car.inconclusive);
            plan.actions.push(Action::Eject { car: car.id.clone(), cause: EjectCause::NoVerdict, reason });
        }
        Some(Verdict::Inconclusive) | None => match train.runs.iter().find(|run| run.commit == commit) {
            Some(run) if policy.external && seen.now > run.started_at.plus(policy.timeout) => {
                let reason = format!("there was no verdict on {commit} within {}", policy.timeout);
                plan.actions.push(Action::Eject { car: car.id.clone(), cause: EjectCause::NoVerdict, reason });
            }
            Some(_) if policy.external => {
                plan.actions.push(Action::Wait { car: car.id.clone(), reason: format!("{commit} is being tested") });
            }
            _ => plan.actions.push(Action::StartRun { cars, commit, tree }),
        },
    }
}
