//! This program's own train: its planner and its rules, on a board in memory.

use std::collections::BTreeMap;

use super::load::{CarNo, Flaw};
use super::world::{Policy, Tree, World};
use crate::domain::board::{Board, MemoryBoard};
use crate::domain::command::EjectCause;
use crate::domain::planner::{Action, Candidate, Observation, TrainPolicy, plan};
use crate::domain::rules::decide;
use crate::domain::{
    Batch, Branch, Car, CarId, CarState, Command, Holder, ObjectId, Operation, OperationId, Outcome, Run, RunState,
    Seconds, Timestamp, Train, Verdict, VerdictRecord,
};

/// The train as it is with some settings.
pub struct OwnTrain {
    policy: TrainPolicy,
    board: MemoryBoard,
    operations: u64,
    /// Everything that was asked of the board, as its history would have it.
    #[cfg(test)]
    pub(super) recorded: Vec<(Operation, Outcome)>,
    submitted: usize,
    /// Every tree that was ever built, with the number that its object ids are made of.
    trees: BTreeMap<Tree, u64>,
    by_id: BTreeMap<ObjectId, Tree>,
}

impl OwnTrain {
    /// A train that nobody has submitted anything to.
    pub fn new(policy: TrainPolicy) -> OwnTrain {
        // All tests are others' here, as far as the planner knows: their end is waited for. Nobody has to approve.
        let policy = TrainPolicy { external: true, approvals: 0, ..policy };
        let mut own = OwnTrain {
            policy,
            board: MemoryBoard::default(),
            operations: 0,
            #[cfg(test)]
            recorded: Vec::new(),
            submitted: 0,
            trees: BTreeMap::new(),
            by_id: BTreeMap::new(),
        };
        own.apply(0.0, Command::Init { target: target() });
        own
    }

    fn apply(&mut self, now: f64, command: Command) -> Outcome {
        self.operations += 1;
        let operation = Operation {
            id: OperationId::parse(&format!("{:032x}", self.operations)).expect("an id"),
            by: Holder::parse("train").expect("a holder"),
            at: Timestamp::from_secs(now as u64),
            skew: Seconds(0),
            overdue: None,
            command,
        };
        let (changes, outcome) = decide(&self.board, &operation)
            .unwrap_or_else(|stop| panic!("BUG: what was planned is refused: {operation:?}: {stop:?}"));
        self.board.apply(changes);
        #[cfg(test)]
        self.recorded.push((operation, outcome.clone()));
        outcome
    }

    /// The id of a tree, which is that of the commit, too.
    fn id(&mut self, tree: &Tree) -> ObjectId {
        let next = self.trees.len() as u64;
        let number = *self.trees.entry(tree.clone()).or_insert(next);
        let id = ObjectId::parse(&format!("{number:040x}")).expect("an object id");
        self.by_id.entry(id.clone()).or_insert_with(|| tree.clone());
        id
    }

    fn train(&self) -> (Train, Vec<Car>) {
        let Ok(train) = self.board.train(&target());
        let Ok(cars) = self.board.open_cars(&target());
        (train.unwrap_or_else(|| Train::new(target())), cars)
    }

    fn submit(&mut self, world: &mut World<'_>) {
        for car in world.queue.iter().filter(|car| **car as usize >= self.submitted).copied().collect::<Vec<_>>() {
            self.submitted = car as usize + 1;
            let arrival = &world.trace.cars[car as usize];
            let after: Vec<CarId> = arrival.after.iter().copied().map(car_id).collect();
            if after.iter().any(|first| self.has_left(first)) {
                // In the train already, it would have left with that one.
                world.leave(car);
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
                together: Vec::new(),
                single: arrival.single.then_some(true),
                first: false,
            };
            self.apply(arrival.at, submit);
        }
    }

    /// Whether an earlier car has left, or would have.
    fn has_left(&self, car: &CarId) -> bool {
        let Ok(car) = self.board.car(&target(), car);
        car.is_none_or(|car| car.state == CarState::Ejected)
    }

    /// Records what tests have said that are under way by the board.
    fn hear(&mut self, world: &World<'_>) {
        for run in self.train().0.runs {
            let Some(passes) = world.known.get(&self.by_id[&run.tree]) else { continue };
            let last = run.tested().last().map(number_of);
            let record = VerdictRecord {
                tree: run.tree.clone(),
                commit: run.commit.clone(),
                verdict: if *passes { Verdict::Pass } else { Verdict::Fail },
                check: String::new(),
                at: Timestamp::from_secs(0),
                by: Holder::parse("ci").expect("a holder"),
                took: last.map(|last| Seconds(world.trace.cars[last as usize].run_time as u64)),
                url: None,
                output: String::new(),
                checks: Vec::new(),
            };
            self.apply(
                world.now,
                Command::Verdict {
                    target: target(),
                    record,
                    cars: run.tested().to_vec(),
                    asked: true,
                    required: Vec::new(),
                },
            );
        }
    }

    fn observe(&mut self, world: &World<'_>, train: &Train, cars: &[Car]) -> Observation {
        let mut seen = Observation {
            base: self.id(&world.target),
            heads: cars.iter().map(|car| (car.id.clone(), car.commit.clone())).collect(),
            on_target: Default::default(),
            stale: Default::default(),
            candidates: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            affected: BTreeMap::new(),
            same_as: BTreeMap::new(),
            now: Timestamp::from_secs(0),
        };
        for tree in train.batches.iter().filter_map(|batch| batch.tree.as_ref()) {
            self.look_up(tree, &mut seen);
        }
        seen
    }

    fn look_up(&self, tree: &ObjectId, seen: &mut Observation) {
        let Ok(known) = self.board.verdict(tree);
        if let Some(known) = known {
            seen.verdicts.insert(tree.clone(), known.verdict);
        }
    }
}

impl Policy for OwnTrain {
    fn pass(&mut self, world: &mut World<'_>) {
        self.submit(world);
        self.hear(world);
        loop {
            let (train, cars) = self.train();
            // What the board has forgotten is waited for no more.
            let trees: Vec<Tree> = train.runs.iter().map(|run| self.by_id[&run.tree].clone()).collect();
            world.keep_only(&trees);
            let mut seen = self.observe(world, &train, &cars);
            let planned = loop {
                let planned = plan(&train, &cars, &seen, &self.policy);
                let Some(wanted) = planned.wanted else { break planned };
                self.build(world, &wanted, &mut seen);
            };
            if self.perform(world, &train, &seen, planned.actions, planned.batches) {
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
    fn perform(
        &mut self,
        world: &mut World<'_>,
        train: &Train,
        seen: &Observation,
        actions: Vec<Action>,
        batches: Option<Vec<Batch>>,
    ) -> bool {
        let (mut start, mut cancel) = (Vec::new(), Vec::new());
        for action in actions {
            match action {
                Action::Land { cars, from, to, tree } => {
                    world.land(&cars.iter().map(number_of).collect::<Vec<_>>());
                    let commits = cars.iter().map(|car| commit_of(number_of(car))).collect();
                    let window = Some(self.policy.window.grown(train, cars.len()));
                    let target = target();
                    let land = Command::Land {
                        target,
                        cars,
                        commits,
                        from,
                        to,
                        tree,
                        steps: Vec::new(),
                        window,
                        approvals: 0,
                    };
                    self.apply(world.now, land);
                    return false;
                }
                Action::Eject { car, cause, reason } => {
                    world.eject(number_of(&car));
                    let window = (cause == EjectCause::Failed).then(|| self.policy.window.halved(train));
                    let (commit, lease) = (None, Seconds(60));
                    let target = target();
                    let named = car.clone();
                    let eject = Command::Eject {
                        target,
                        car,
                        commit,
                        cause,
                        reason,
                        lease,
                        retries_max: 0,
                        window,
                        breaker: self.policy.breaker,
                    };
                    if let Outcome::Ejected { cars } = self.apply(world.now, eject) {
                        cars.iter().filter(|car| **car != named).for_each(|car| world.leave(number_of(car)));
                    }
                    return false;
                }
                Action::StartRun { cars, ahead, commit, tree } => start.push(Run {
                    commit,
                    tree,
                    base: seen.base.clone(),
                    cars,
                    ahead: ahead as u32,
                    state: RunState::Running,
                    started_at: Timestamp::from_secs(0),
                    started_by: Holder::parse("train").expect("a holder"),
                }),
                Action::CancelRun { commit, .. } => cancel.push(commit),
                Action::ReuseVerdict { .. } | Action::Wait { .. } => {}
            }
        }
        if start.is_empty() && cancel.is_empty() {
            return true;
        }
        let dropped: Vec<Tree> = cancel.iter().map(|commit| self.by_id[commit].clone()).collect();
        world.running.retain(|(tree, _)| !dropped.contains(tree));
        for run in &start {
            let last = run.tested().last().map(number_of).expect("BUG: a run of no cars");
            let (tree, run_time) = (self.by_id[&run.tree].clone(), world.trace.cars[last as usize].run_time);
            assert!(world.start(tree, run_time), "BUG: no slot was free for {run:?}, or it was tested before");
        }
        let batches = batches.filter(|batches| *batches != train.batches);
        self.apply(world.now, Command::ChangeRuns { target: target(), start, cancel, batches, check: None });
        true
    }
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
