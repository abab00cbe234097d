//! What a pass of the train does next: observe, then plan, then perform.
//!
//! [`plan`] is pure and total, and plans from scratch each time from the cars and what was observed. It may ask for a
//! candidate that nobody has built yet ([`Plan::wanted`]); the caller builds it and plans again.
//!
//! It speculates: each car of the window is tested as it would land if all those ahead of it did, all at the same time.
//! A car that fails behind others may owe that to them. So it steps aside, those behind it are tested without it at
//! once, and it is judged when everything that was in its candidate has landed or left (the rule of the nearest
//! non-failing car ahead, of Zuul's dependent pipelines). Only a car that fails on the tip of the target is ejected.
//! A window of one car is the serial train.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::command::EjectCause;
use super::holds::held_back;
use super::{Car, CarId, ObjectId, Run, Seconds, Timestamp, Train, Verdict};

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
    /// How many cars are speculated on.
    pub window: WindowPolicy,
    /// How many runs may be under way at once; 0: any number.
    pub slots: u32,
    /// How many approvals a car needs for its commit.
    pub approvals: u32,
}

/// How many cars from the head of the queue on are speculated on: one more for each that lands, half as many for each
/// that fails (additive increase, multiplicative decrease, as in the flow control of TCP and in Zuul's gate).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowPolicy {
    /// How many at the start.
    pub start: u32,
    /// How many at least, whatever fails.
    pub min: u32,
    /// How many at most, whatever lands.
    pub max: u32,
}

impl WindowPolicy {
    /// One car at a time, each tested on the tip that it would land on.
    pub const SERIAL: WindowPolicy = WindowPolicy { start: 1, min: 1, max: 1 };

    /// The window of `train` now. A start below the minimum is one that somebody wants.
    pub fn of(&self, train: &Train) -> u32 {
        let min = self.min.min(self.start).max(1);
        train.window.unwrap_or(self.start).clamp(min, self.max.max(min))
    }

    /// The window after `count` cars landed.
    pub fn grown(&self, train: &Train, count: usize) -> u32 {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.of(train).saturating_add(count).min(self.max.max(1))
    }

    /// The window after a car failed.
    pub fn halved(&self, train: &Train) -> u32 {
        (self.of(train) / 2).max(self.min.min(self.start)).max(1)
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Have a candidate tested.
    StartRun {
        /// Its cars, in order. What is asked is whether the last may land after the others.
        cars: Vec<CarId>,
        /// The candidate.
        commit: ObjectId,
        /// Its tree.
        tree: ObjectId,
    },
    /// Wait no more for what a test says: nothing would be done about it.
    CancelRun {
        /// The cars of the candidate, in order.
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

impl Action {
    /// Waits no more for `run`.
    pub fn cancel(run: &Run) -> Action {
        Action::CancelRun { cars: run.cars.clone(), commit: run.commit.clone(), tree: run.tree.clone() }
    }
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
    for car in in_order(cars).into_iter().filter(|car| seen.on_target.contains(&car.id) && car.after.is_empty()) {
        let (from, to) = (seen.base.clone(), seen.base.clone());
        plan.actions.push(Action::Land { cars: vec![car.id.clone()], from, to, tree: None });
    }
    if !plan.actions.is_empty() {
        return plan;
    }
    let held = held_back(train, cars, policy.approvals);
    let going: Vec<Car> = cars.iter().filter(|car| !held.contains_key(&car.id)).cloned().collect();
    match speculate(train, &going, seen, policy) {
        Ok(mut actions) => {
            actions.extend(held.into_iter().map(|(car, reason)| Action::Wait { car: car.clone(), reason }));
            Plan { actions, wanted: None }
        }
        Err(Wanted(cars)) => Plan { actions: Vec::new(), wanted: Some(cars) },
    }
}

/// Cars in the order in which they land: those that were put first, the most urgent, then by position; but each after
/// those it needs.
pub fn in_order(cars: &[Car]) -> Vec<&Car> {
    let mut left: Vec<&Car> = cars.iter().collect();
    left.sort_by_key(|car| (Reverse(car.promoted), car.priority, car.position));
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

/// The candidate without which there is nothing more to say.
struct Wanted(Vec<CarId>);

/// How a car stands behind those that are assumed to land before it.
enum Standing {
    /// It leaves: nothing else is in what was found against it.
    Leaves(EjectCause, String),
    /// What was found against it may be the fault of those ahead. Nobody behind it counts on it until they are decided.
    StepsAside(String),
    /// It may land after them.
    Passed(Tested),
    /// That is being tested.
    InTest(Tested),
    /// That has to be tested.
    Untested(Tested),
}

/// A candidate that merges.
struct Tested {
    cars: Vec<CarId>,
    commit: ObjectId,
    tree: ObjectId,
}

/// Plans the cars of the window, each behind those ahead of it that have not failed.
fn speculate(train: &Train, cars: &[Car], seen: &Observation, policy: &TrainPolicy) -> Result<Vec<Action>, Wanted> {
    let window = policy.window.of(train) as usize;
    let mut stem: Vec<CarId> = Vec::new();
    let mut aside: BTreeSet<&CarId> = BTreeSet::new();
    let mut landing: Vec<(&Car, Tested)> = Vec::new();
    let mut in_test: Vec<ObjectId> = Vec::new();
    let mut untested: Vec<Tested> = Vec::new();
    let mut waits: Vec<Action> = Vec::new();
    for (place, car) in in_order(cars).into_iter().enumerate() {
        let mut wait = |reason: String| waits.push(Action::Wait { car: car.id.clone(), reason });
        let standing = match car.after.iter().find(|first| aside.contains(first)) {
            _ if place >= window => {
                Standing::StepsAside(format!("it stands behind the window of {}", counted(window, "car")))
            }
            Some(first) => Standing::StepsAside(format!("{first}, which it needs, waits too")),
            None => stand(car, &stem, train, seen, policy)?,
        };
        match standing {
            // Nothing is ahead of it, and all that is behind it counted on it.
            Standing::Leaves(cause, reason) => return Ok(vec![Action::Eject { car: car.id.clone(), cause, reason }]),
            Standing::StepsAside(reason) => {
                wait(reason);
                aside.insert(&car.id);
                continue;
            }
            Standing::Passed(tested) if landing.len() == stem.len() => landing.push((car, tested)),
            Standing::Passed(_) => wait(format!("it passed, and lands after {}", named(&stem[landing.len()..]))),
            Standing::InTest(tested) => {
                wait(format!("{} is being tested", tested.commit));
                in_test.push(tested.commit);
            }
            Standing::Untested(tested) => untested.push(tested),
        }
        stem.push(car.id.clone());
    }
    let mut actions = land(&landing, seen);
    let idle = train.runs.iter().filter(|run| !in_test.contains(&run.commit));
    actions.extend(idle.map(Action::cancel));
    let slots = if policy.slots == 0 { usize::MAX } else { policy.slots as usize };
    let free = slots.saturating_sub(in_test.len());
    for (nth, Tested { mut cars, commit, tree }) in untested.into_iter().enumerate() {
        if nth < free {
            actions.push(Action::StartRun { cars, commit, tree });
        } else if let Some(car) = cars.pop() {
            let reason = format!("no more than {} at once, and others go first", counted(slots, "run"));
            waits.push(Action::Wait { car, reason });
        }
    }
    actions.extend(waits);
    Ok(actions)
}

/// What lands the cars that passed, with nothing undecided ahead of them, by one move of the target.
fn land(passed: &[(&Car, Tested)], seen: &Observation) -> Vec<Action> {
    let Some((_, last)) = passed.last() else { return Vec::new() };
    let known = passed.iter().filter(|(car, tested)| car.tested_tree.as_ref() != Some(&tested.tree));
    let mut actions: Vec<Action> = known
        .map(|(_, Tested { cars, commit, tree })| Action::ReuseVerdict {
            cars: cars.clone(),
            commit: commit.clone(),
            tree: tree.clone(),
            verdict: Verdict::Pass,
        })
        .collect();
    actions.push(Action::Land {
        cars: last.cars.clone(),
        from: seen.base.clone(),
        to: last.commit.clone(),
        tree: Some(last.tree.clone()),
    });
    actions
}

/// How `car` stands behind the cars of `stem`.
fn stand(
    car: &Car,
    stem: &[CarId],
    train: &Train,
    seen: &Observation,
    policy: &TrainPolicy,
) -> Result<Standing, Wanted> {
    let cars: Vec<CarId> = stem.iter().chain([&car.id]).cloned().collect();
    let (commit, tree) = match built(seen, &cars)? {
        Candidate::Clean { commit, tree } => (commit.clone(), tree.clone()),
        Candidate::Conflict { paths } => {
            let paths = paths.join(", ");
            return Ok(match conflicting(car, stem, seen)? {
                _ if stem.is_empty() => {
                    Standing::Leaves(EjectCause::Conflict, format!("it conflicts with {} in {paths}", train.target))
                }
                Some(other) => Standing::StepsAside(format!("it conflicts with {other} in {paths}")),
                None => Standing::StepsAside(format!("it conflicts with {} in {paths}", named(stem))),
            });
        }
    };
    let against = |cause, what: String| match stem {
        [] => Standing::Leaves(cause, what),
        _ => Standing::StepsAside(format!("{what}, with {} ahead of it", named(stem))),
    };
    let run = train.runs.iter().find(|run| run.commit == commit || run.tree == tree).filter(|_| policy.external);
    Ok(match (seen.verdicts.get(&tree), run) {
        (Some(Verdict::Pass), _) => Standing::Passed(Tested { cars, commit, tree }),
        (Some(Verdict::Fail), _) => against(EjectCause::Failed, format!("its check failed on {commit}")),
        _ if car.inconclusive >= INCONCLUSIVE_MAX => {
            against(EjectCause::NoVerdict, format!("its check gave no verdict {} times", car.inconclusive))
        }
        // Behind others it is given the time that they take.
        (_, Some(run)) if stem.is_empty() && seen.now > run.started_at.plus(policy.timeout) => {
            against(EjectCause::NoVerdict, format!("there was no verdict on {commit} within {}", policy.timeout))
        }
        (_, Some(run)) => Standing::InTest(Tested { cars, commit: run.commit.clone(), tree }),
        (_, None) => Standing::Untested(Tested { cars, commit, tree }),
    })
}

/// The car of `stem` that `car` conflicts with, where one alone is enough for that.
fn conflicting<'s>(car: &Car, stem: &'s [CarId], seen: &Observation) -> Result<Option<&'s CarId>, Wanted> {
    for other in stem {
        let (alone, both) = (vec![other.clone()], vec![other.clone(), car.id.clone()]);
        // One that does not merge by itself needs others that are ahead of it.
        if let Candidate::Clean { .. } = built(seen, &alone)?
            && let Candidate::Conflict { .. } = built(seen, &both)?
        {
            return Ok(Some(other));
        }
    }
    Ok(None)
}

fn built<'o>(seen: &'o Observation, cars: &[CarId]) -> Result<&'o Candidate, Wanted> {
    seen.candidates.get(cars).ok_or_else(|| Wanted(cars.to_vec()))
}

fn named(cars: &[CarId]) -> String {
    cars.iter().map(CarId::as_str).collect::<Vec<_>>().join(", ")
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
