//! This program's own train: its planner and its rules, on a board in memory.

use std::collections::BTreeMap;

use super::load::{CarNo, Flaw};
use super::rehearsal::{Performed, Rehearsal};
use super::world::{Policy, Tree, World};
use crate::domain::command::EjectCause;
use crate::domain::planner::{Candidate, Observation, Plan, TrainPolicy, plan};
use crate::domain::{Branch, Car, CarId, CarState, Command, ObjectId, Seconds, Timestamp, Train, Verdict};

/// The train as it is with some settings.
pub struct OwnTrain {
    pub(super) rehearsal: Rehearsal,
    submitted: usize,
    /// Every tree that was ever built, with the number that its object ids are made of.
    trees: BTreeMap<Tree, u64>,
    by_id: BTreeMap<ObjectId, Tree>,
}

impl OwnTrain {
    /// A train that nobody has submitted anything to.
    pub fn new(policy: TrainPolicy) -> OwnTrain {
        // Nobody has to approve, and every verdict comes.
        let timeout = Seconds(u64::MAX);
        let rehearsal = Rehearsal::new(target(), TrainPolicy { approvals: 0, timeout, ..policy });
        OwnTrain { rehearsal, submitted: 0, trees: BTreeMap::new(), by_id: BTreeMap::new() }
    }

    /// The id of a tree, which is that of the commit, too.
    fn id(&mut self, tree: &Tree) -> ObjectId {
        let next = self.trees.len() as u64;
        let number = *self.trees.entry(tree.clone()).or_insert(next);
        let id = ObjectId::parse(&format!("{number:040x}")).expect("an object id");
        self.by_id.entry(id.clone()).or_insert_with(|| tree.clone());
        id
    }

    fn submit(&mut self, world: &mut World<'_>) {
        for car in world.queue.iter().filter(|car| **car as usize >= self.submitted).copied().collect::<Vec<_>>() {
            self.submitted = car as usize + 1;
            let arrival = &world.trace.cars[car as usize];
            let after: Vec<CarId> = arrival.after.iter().copied().map(car_id).collect();
            let together: Vec<CarId> = arrival.together.iter().copied().map(car_id).collect();
            let company = arrival.together.iter().filter(|other| **other < car).copied().map(car_id);
            let company: Vec<CarId> = company.collect();
            if after.iter().chain(&company).any(|first| self.has_left(first)) {
                // In the train already, it would have left with that one, and others with it.
                world.leave(car);
                company.iter().for_each(|other| self.leave(world, other));
                continue;
            }
            let submit = Command::Submit {
                car: car_id(car),
                target: target(),
                branch: Branch::parse(&format!("car-{car}")).expect("a branch"),
                commit: commit_of(car),
                title: String::new(),
                task: None,
                priority: Some(arrival.priority),
                after,
                together,
                single: arrival.single.then_some(true),
                first: false,
            };
            self.rehearsal.apply(time(arrival.at), submit).expect("BUG: a submission is refused");
        }
    }

    /// An open car leaves for one that it lands together with, and others with it.
    fn leave(&mut self, world: &mut World<'_>, car: &CarId) {
        if self.rehearsal.car(car).is_some_and(|car| car.state.is_open()) {
            let left = self.rehearsal.eject(time(world.now), car, EjectCause::Dependency, String::new());
            left.expect("BUG: an ejection is refused").iter().for_each(|car| world.leave(number_of(car)));
        }
    }

    /// Whether an earlier car has left, or would have.
    fn has_left(&self, car: &CarId) -> bool {
        self.rehearsal.car(car).is_none_or(|car| car.state == CarState::Ejected)
    }

    /// Records what tests have said that are under way by the board.
    fn hear(&mut self, world: &World<'_>) {
        for run in self.rehearsal.train().0.runs {
            let Some(passes) = world.known.get(&self.by_id[&run.tree]) else { continue };
            let last = run.tested().last().map(number_of);
            let took = last.map(|last| Seconds(world.trace.cars[last as usize].run_time as u64));
            let verdict = if *passes { Verdict::Pass } else { Verdict::Fail };
            self.rehearsal.hear(time(world.now), &run, verdict, took).expect("BUG: a verdict is refused");
        }
    }

    fn observe(&mut self, world: &World<'_>, train: &Train, cars: &[Car]) -> Observation {
        let heads = cars.iter().map(|car| (car.id.clone(), car.commit.clone())).collect();
        let base = self.id(&world.target);
        let mut seen = Observation { heads, ..Observation::new(base, time(world.now)) };
        for tree in train.batches.iter().filter_map(|batch| batch.tree.as_ref()) {
            self.look_up(tree, &mut seen);
        }
        seen
    }

    /// Has the world call when the next car has waited for others as long as any does.
    fn wake(&self, world: &mut World<'_>, cars: &[Car]) {
        let (least, wait) = self.rehearsal.policy.gather;
        if least > 1 {
            let ends = cars.iter().map(|car| car.submitted_at.plus(wait)).filter(|end| *end > time(world.now));
            world.wake = ends.min().map(|end| end.as_secs() as f64);
        }
    }

    fn look_up(&self, tree: &ObjectId, seen: &mut Observation) {
        if let Some(known) = self.rehearsal.verdict(tree) {
            seen.note(tree, &known);
        }
    }
}

impl Policy for OwnTrain {
    fn pass(&mut self, world: &mut World<'_>) {
        self.submit(world);
        self.hear(world);
        loop {
            let (train, cars) = self.rehearsal.train();
            // What the board has forgotten is waited for no more.
            let trees: Vec<Tree> = train.runs.iter().map(|run| self.by_id[&run.tree].clone()).collect();
            world.keep_only(&trees);
            let mut seen = self.observe(world, &train, &cars);
            let planned = loop {
                let planned = plan(&train, &cars, &seen, &self.rehearsal.policy);
                let Some(wanted) = planned.wanted else { break planned };
                self.build(world, &wanted, &mut seen);
            };
            if self.perform(world, &seen.base, planned) {
                self.wake(world, &cars);
                return;
            }
        }
    }
}

impl OwnTrain {
    /// Builds the candidate with these cars, car by car, as far as they merge.
    fn build(&mut self, world: &World<'_>, wanted: &[CarId], seen: &mut Observation) {
        let numbers: Vec<CarNo> = wanted.iter().map(number_of).collect();
        for count in 1..=wanted.len() {
            let prefix = wanted[..count].to_vec();
            if world.trace.cars[numbers[count - 1] as usize].flaw == Some(Flaw::DoesNotMerge) {
                seen.candidates.insert(prefix, Candidate::Conflict { paths: Vec::new() });
                break;
            }
            if !seen.candidates.contains_key(&prefix) {
                let id = self.id(&world.tree(&numbers[..count]));
                self.look_up(&id, seen);
                seen.candidates.insert(prefix, Candidate::Clean { commit: id.clone(), tree: id });
            }
        }
    }

    /// Performs a plan as a pass of the program does. Gives whether the pass is over.
    fn perform(&mut self, world: &mut World<'_>, base: &ObjectId, planned: Plan) -> bool {
        let performed = self.rehearsal.perform(time(world.now), base, planned);
        match performed.expect("BUG: what was planned is refused") {
            Performed::Landed(cars, _) => world.land(&cars.iter().map(number_of).collect::<Vec<_>>()),
            Performed::Left(cars) => {
                let (first, others) = cars.split_first().expect("BUG: nobody was ejected");
                world.eject(number_of(first));
                others.iter().for_each(|car| world.leave(number_of(car)));
            }
            Performed::Runs(started, cancelled) => {
                let dropped: Vec<Tree> = cancelled.iter().map(|commit| self.by_id[commit].clone()).collect();
                world.running.retain(|(tree, _)| !dropped.contains(tree));
                for run in &started {
                    let last = run.tested().last().map(number_of).expect("BUG: a run of no cars");
                    let (tree, run_time) = (self.by_id[&run.tree].clone(), world.trace.cars[last as usize].run_time);
                    // One car alone is tested once more for what it was found to be with others.
                    if world.known.get(&tree) == Some(&false) {
                        world.known.remove(&tree);
                    }
                    assert!(world.start(tree, run_time), "BUG: no slot was free for {run:?}, or it was tested before");
                }
                return true;
            }
            Performed::Nothing => return true,
        }
        false
    }
}

fn time(now: f64) -> Timestamp {
    Timestamp::from_secs(now as u64)
}

fn target() -> Branch {
    Branch::parse("main").expect("a branch")
}

fn car_id(car: CarNo) -> CarId {
    CarId::parse(&format!("car-{car}")).expect("an id")
}

pub(super) fn number_of(car: &CarId) -> CarNo {
    car.as_str().trim_start_matches("car-").parse().expect("cars are named by numbers")
}

fn commit_of(car: CarNo) -> ObjectId {
    ObjectId::parse(&format!("c{car:039x}")).expect("an object id")
}
