//! When cars may land: the train is played on from where it stands, by its own planner and rules.
//!
//! What it assumes: every test that is not decided passes, and takes as long as tests that passed took of late; what
//! has not been merged yet merges; passes are made at once; nobody submits, promotes or pushes anything. Each of these
//! is hopeful, but for tests that are quicker than others: so it says when a car lands at best. What is known counts: a
//! car that is known to fail, or to conflict with what lands before it, is not said to land. Guarantees: pure, total.

use std::collections::{BTreeMap, BTreeSet};

use super::rehearsal::{Performed, Rehearsal};
use crate::domain::lanes::are_apart;
use crate::domain::planner::{Candidate, Observation, TrainPolicy, in_order, plan};
use crate::domain::{Car, CarId, ObjectId, Seconds, Timestamp, Train, Verdict};

/// How many cars are looked at, from the first on: what is further away is not foreseen.
const CARS_MAX: usize = 200;
/// How often is planned.
const STEPS_MAX: usize = 400;
/// Longer than any test takes: how long verdicts are waited for, since all of them come.
const FOR_EVER: Seconds = Seconds(u64::MAX);

/// When each of the open `cars` may land, as far as that can be said: not of those that are held back or known to be of
/// no use, of none in a train that is paused, and of none before a test has been timed.
pub fn forecast(train: &Train, cars: &[Car], seen: &Observation, policy: &TrainPolicy) -> BTreeMap<CarId, Timestamp> {
    let mut landing = BTreeMap::new();
    let Some(run_time) = train.run_time else { return landing };
    // Whether their claims are good has been observed; here there are none.
    let cars = in_order(cars).into_iter().take(CARS_MAX).map(|car| Car { task: None, ..car.clone() });
    let passed = seen.verdicts.iter().filter(|(_, verdict)| **verdict == Verdict::Pass).map(|(tree, _)| tree);
    let policy = TrainPolicy { timeout: FOR_EVER, ..policy.clone() };
    let mut rehearsal = Rehearsal::of(train.clone(), cars, passed, policy);
    let mut future = Future::new(seen.clone());
    for _ in 0..STEPS_MAX {
        let (train, cars) = rehearsal.train();
        let next = loop {
            let next = plan(&train, &cars, &future.seen, &rehearsal.policy);
            let Some(wanted) = &next.wanted else { break next };
            future.imagine(wanted);
        };
        let now = future.seen.now;
        match rehearsal.perform(now, &future.seen.base, next) {
            Ok(Performed::Landed(cars, to)) => {
                landing.extend(cars.iter().map(|id| (id.clone(), now)));
                future.land(&cars, to);
            }
            Ok(Performed::Left(_)) => {}
            Ok(Performed::Runs(..) | Performed::Nothing) => {
                if future.hear(&mut rehearsal, run_time).is_none() {
                    break;
                }
            }
            // The board is not what the planner took it for: nothing more can be said.
            Err(_) => break,
        }
    }
    landing
}

/// What will be seen.
struct Future {
    seen: Observation,
    /// What has landed since the beginning.
    landed: BTreeSet<CarId>,
    /// Candidates by all that is in them beside what the target had at the beginning, in whatever order.
    made: BTreeMap<BTreeSet<CarId>, (ObjectId, ObjectId)>,
}

impl Future {
    fn new(seen: Observation) -> Future {
        let made = seen.candidates.iter().filter_map(|(cars, candidate)| match candidate {
            Candidate::Clean { commit, tree } => Some((cars.iter().cloned().collect(), (commit.clone(), tree.clone()))),
            Candidate::Conflict { .. } | Candidate::Unlike { .. } | Candidate::Behind => None,
        });
        Future { made: made.collect(), seen, landed: BTreeSet::new() }
    }

    /// A candidate that nobody has built yet, and those with fewer of its cars from the first on: they merge.
    fn imagine(&mut self, wanted: &[CarId]) {
        for count in 1..=wanted.len() {
            let cars = &wanted[..count];
            match self.seen.candidates.get(cars) {
                None => {}
                Some(Candidate::Clean { .. }) => continue,
                // The plan has to do without this one first.
                Some(Candidate::Conflict { .. } | Candidate::Unlike { .. } | Candidate::Behind) => break,
            }
            let all: BTreeSet<CarId> = self.landed.iter().chain(cars).cloned().collect();
            let number = self.made.len();
            let (commit, tree) = self.made.entry(all).or_insert_with(|| {
                let id = ObjectId::parse(&format!("{number:040x}")).expect("forty digits are an object id");
                (id.clone(), id)
            });
            let (commit, tree) = (commit.clone(), tree.clone());
            self.seen.candidates.insert(cars.to_vec(), Candidate::Clean { commit, tree });
        }
    }

    /// The target moves.
    fn land(&mut self, cars: &[CarId], to: ObjectId) {
        self.seen.base = to;
        self.landed.extend(cars.iter().cloned());
        let affected = |id: &CarId| self.seen.affected.get(id).cloned().flatten();
        let apart = |one: &CarId| cars.iter().all(|other| are_apart(&affected(one), &affected(other)));
        let candidates = std::mem::take(&mut self.seen.candidates);
        let kept = candidates.into_iter().filter_map(|(key, candidate)| match key.strip_prefix(cars) {
            Some([]) => None,
            Some(behind) => Some((behind.to_vec(), candidate)),
            // In another lane: what is known of it holds.
            None => key.iter().all(apart).then_some((key, candidate)),
        });
        self.seen.candidates = kept.collect();
    }

    /// The tests that are over next pass. Gives when; `None`: there is none under way.
    fn hear(&mut self, rehearsal: &mut Rehearsal, run_time: Seconds) -> Option<Timestamp> {
        let runs = rehearsal.train().0.runs;
        let now = self.seen.now;
        // One that takes longer than usual may be over at any moment.
        let over = |started: Timestamp| started.plus(run_time).max(now);
        let next = runs.iter().map(|run| over(run.started_at)).min()?;
        for run in runs.iter().filter(|run| over(run.started_at) == next) {
            rehearsal.hear(next, run, Verdict::Pass, None).ok()?;
            self.seen.verdicts.insert(run.tree.clone(), Verdict::Pass);
        }
        self.seen.now = next;
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::{Arrival, Trace};
    use super::super::{Limits, OwnTrain, run};
    use super::*;
    use crate::domain::planner::{BatchPolicy, WindowPolicy};
    use crate::domain::{Branch, CarState, Holder, Priority, Run, RunState};

    const NOW: u64 = 10_000;

    fn id(name: &str) -> CarId {
        CarId::parse(name).expect("an id")
    }

    fn object(number: u64) -> ObjectId {
        ObjectId::parse(&format!("a{number:039x}")).expect("an object id")
    }

    fn car(position: u64) -> Car {
        Car { submitted_at: Timestamp::from_secs(NOW), ..Car::of_branch(&format!("car-{position}"), position) }
    }

    /// A train whose tests took ten minutes.
    fn train() -> Train {
        let target = Branch::parse("main").expect("a branch");
        Train { run_time: Some(Seconds(600)), ..Train::new(target) }
    }

    fn seen(cars: &[Car]) -> Observation {
        let heads = cars.iter().map(|car| (car.id.clone(), car.commit.clone())).collect();
        Observation { heads, ..Observation::new(object(0), Timestamp::from_secs(NOW)) }
    }

    fn policy(window: u32, slots: u32) -> TrainPolicy {
        let window = WindowPolicy::within(window, window, window);
        TrainPolicy { window, slots, ..TrainPolicy::PLAIN }
    }

    /// In how many seconds each car lands, by its position.
    fn secs(train: &Train, cars: &[Car], seen: &Observation, policy: &TrainPolicy) -> Vec<(u64, u64)> {
        let landing = forecast(train, cars, seen, policy);
        let found = cars.iter().filter_map(|car| Some((car.position, landing.get(&car.id)?.as_secs() - NOW)));
        found.collect()
    }

    #[test]
    fn cars_land_one_a_run_time_or_all_at_once_as_window_and_slots_allow() {
        let cars: Vec<Car> = (1..=4).map(car).collect();
        let of = |policy| secs(&train(), &cars, &seen(&cars), &policy);
        assert_eq!(of(policy(1, 0)), [(1, 600), (2, 1200), (3, 1800), (4, 2400)]);
        assert_eq!(of(policy(20, 0)), [(1, 600), (2, 600), (3, 600), (4, 600)]);
        assert_eq!(of(policy(20, 3)), [(1, 600), (2, 600), (3, 600), (4, 1200)]);
        // Checks of the machine's own are made one after the other.
        assert_eq!(of(TrainPolicy { external: false, ..policy(20, 1) })[3], (4, 2400));
    }

    #[test]
    fn a_run_under_way_is_over_when_its_time_is_up_or_at_any_moment() {
        let mut cars: Vec<Car> = (1..=2).map(car).collect();
        cars[0].state = CarState::Testing;
        let clean = Candidate::Clean { commit: object(10), tree: object(11) };
        let mut seen = seen(&cars);
        seen.candidates.insert(vec![id("car-1")], clean);
        for (ago, left) in [(400, 200), (5_000, 0)] {
            let run = Run {
                commit: object(10),
                tree: object(11),
                base: object(0),
                cars: vec![id("car-1")],
                ahead: 0,
                state: RunState::Running,
                started_at: Timestamp::from_secs(NOW - ago),
                started_by: Holder::parse("ada").expect("a holder"),
            };
            let train = Train { runs: vec![run], ..train() };
            // The second is begun now.
            assert_eq!(secs(&train, &cars, &seen, &policy(20, 0)), [(1, left), (2, 600)]);
            assert_eq!(secs(&train, &cars, &seen, &policy(20, 1)), [(1, left), (2, left + 600)]);
        }
    }

    #[test]
    fn nothing_is_said_of_what_cannot_be_foreseen() {
        let mut cars: Vec<Car> = (1..=4).map(car).collect();
        let untimed = Train { run_time: None, ..train() };
        assert_eq!(secs(&untimed, &cars, &seen(&cars), &policy(20, 0)), []);
        let paused = Train { paused: Some("release day".to_owned()), ..train() };
        assert_eq!(secs(&paused, &cars, &seen(&cars), &policy(20, 0)), []);
        // The second does not merge behind the first, the third fails by itself, and the fourth needs it.
        let mut seen = seen(&cars);
        cars[3].after = vec![id("car-3")];
        seen.candidates.insert(vec![id("car-1")], Candidate::Clean { commit: object(10), tree: object(11) });
        seen.candidates.insert(vec![id("car-1"), id("car-2")], Candidate::Conflict { paths: vec!["x".to_owned()] });
        seen.candidates.insert(vec![id("car-2")], Candidate::Clean { commit: object(12), tree: object(13) });
        let behind = vec![id("car-1"), id("car-3")];
        seen.candidates.insert(behind, Candidate::Clean { commit: object(14), tree: object(15) });
        seen.verdicts.insert(object(15), Verdict::Fail);
        assert_eq!(secs(&train(), &cars, &seen, &policy(20, 0)), [(1, 600)]);
        // What waits for approvals is not there, as far as the others are concerned.
        cars.truncate(2);
        let approvals = TrainPolicy { approvals: 1, ..policy(20, 0) };
        assert_eq!(secs(&train(), &cars, &seen, &approvals), []);
    }

    #[test]
    fn what_is_tested_in_another_lane_is_not_tested_again_when_something_lands() {
        let cars: Vec<Car> = (1..=3).map(car).collect();
        let mut seen = seen(&cars);
        for (nth, lane) in [(1, "docs"), (2, "web"), (3, "web")] {
            seen.affected.insert(id(&format!("car-{nth}")), Some([lane.to_owned()].into()));
        }
        assert_eq!(secs(&train(), &cars, &seen, &policy(1, 0)), [(1, 600), (2, 600), (3, 1200)]);
    }

    /// What is foreseen is what happens, where all passes.
    #[test]
    fn a_train_without_flaws_lands_as_it_was_foreseen() {
        let batch = BatchPolicy { cars_max: 0, ..BatchPolicy::SINGLE };
        let batches = |slots| TrainPolicy { batch, ..policy(20, slots) };
        for policy in [policy(8, 0), policy(1, 0), policy(20, 4), batches(1), batches(3)] {
            for count in [1, 7, 40] {
                let arrival = Arrival {
                    at: 0.0,
                    priority: Priority::default(),
                    after: Vec::new(),
                    together: Vec::new(),
                    single: false,
                    flaw: None,
                    run_time: 600.0,
                };
                let trace = Trace { cars: vec![arrival; count as usize], ..Trace::default() };
                let slots = if policy.slots == 0 { usize::MAX } else { policy.slots as usize };
                let limits = Limits { slots, interval: 0.0, waits: false };
                let played = run(&trace, limits, 1, &mut OwnTrain::new(policy.clone()));
                let cars: Vec<Car> = (1..=count).map(car).collect();
                let mut foreseen: Vec<f64> =
                    secs(&train(), &cars, &seen(&cars), &policy).into_iter().map(|(_, secs)| secs as f64).collect();
                foreseen.sort_by(f64::total_cmp);
                assert_eq!(foreseen, played.landed, "{count} cars, {policy:?}");
            }
        }
    }
}
