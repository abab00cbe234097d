//! This project's own train: the planner and the rules of the board, on a board in memory.

use std::collections::BTreeMap;

use git_scrum::domain::board::{Board, MemoryBoard};
use git_scrum::domain::command::EjectCause;
use git_scrum::domain::planner::{Action, Candidate, Observation, TrainPolicy, plan};
use git_scrum::domain::rules::decide;
use git_scrum::domain::{
    Branch, Car, CarId, Command, Holder, ObjectId, Operation, OperationId, Priority, Run, RunState, Seconds, Timestamp,
    Train, Verdict, VerdictRecord,
};

use crate::traces::CarNo;
use crate::world::{Policy, Tree, World};

pub struct Ours {
    policy: TrainPolicy,
    board: MemoryBoard,
    operations: u64,
    submitted: usize,
    /// Every tree that was ever built, with the number that its object ids are made of.
    trees: BTreeMap<Tree, u64>,
    by_id: BTreeMap<ObjectId, Tree>,
}

impl Ours {
    pub fn new(policy: TrainPolicy) -> Ours {
        let mut ours = Ours {
            policy,
            board: MemoryBoard::default(),
            operations: 0,
            submitted: 0,
            trees: BTreeMap::new(),
            by_id: BTreeMap::new(),
        };
        ours.apply(Command::Init { target: target() });
        ours
    }

    fn apply(&mut self, command: Command) {
        self.operations += 1;
        let operation = Operation {
            id: OperationId::parse(&format!("{:032x}", self.operations)).expect("an id"),
            by: Holder::parse("train").expect("a holder"),
            at: Timestamp::from_secs(self.operations),
            skew: Seconds(0),
            overdue: None,
            command,
        };
        let (changes, _) = decide(&self.board, &operation).unwrap_or_else(|stop| panic!("{operation:?}: {stop:?}"));
        self.board.apply(changes);
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

    fn submit(&mut self, world: &World<'_>) {
        for car in world.queue.iter().filter(|car| **car as usize >= self.submitted).copied().collect::<Vec<_>>() {
            self.submitted = car as usize + 1;
            self.apply(Command::Submit {
                car: car_id(car),
                target: target(),
                branch: Branch::parse(&format!("car-{car}")).expect("a branch"),
                commit: commit_of(car),
                title: String::new(),
                task: None,
                priority: Some(Priority::ALL[if world.is_hotfix(car) { 0 } else { 2 }]),
                after: Vec::new(),
                first: false,
            });
        }
    }

    /// Records what tests have said that are under way by the board.
    fn hear(&mut self, world: &World<'_>) {
        for run in self.train().0.runs {
            let Some(passes) = world.known.get(&self.by_id[&run.tree]) else { continue };
            let record = VerdictRecord {
                tree: run.tree.clone(),
                commit: run.commit.clone(),
                verdict: if *passes { Verdict::Pass } else { Verdict::Fail },
                check: String::new(),
                at: Timestamp::from_secs(0),
                by: Holder::parse("ci").expect("a holder"),
                took: None,
                url: None,
                output: String::new(),
            };
            self.apply(Command::Verdict { target: target(), record, cars: run.tested().to_vec(), asked: true });
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

impl Policy for Ours {
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
                for count in 1..=wanted.len() {
                    let numbers: Vec<CarNo> = wanted[..count].iter().map(number_of).collect();
                    let id = self.id(&world.tree(&numbers));
                    self.look_up(&id, &mut seen);
                    let clean = Candidate::Clean { commit: id.clone(), tree: id };
                    seen.candidates.insert(wanted[..count].to_vec(), clean);
                }
            };
            if self.perform(world, &train, &seen, planned.actions, planned.batches) {
                return;
            }
        }
    }
}

impl Ours {
    /// Performs a plan as a pass of the program does. Gives whether the pass is over.
    fn perform(
        &mut self,
        world: &mut World<'_>,
        train: &Train,
        seen: &Observation,
        actions: Vec<Action>,
        batches: Option<Vec<git_scrum::domain::Batch>>,
    ) -> bool {
        let (mut start, mut cancel) = (Vec::new(), Vec::new());
        for action in actions {
            match action {
                Action::Land { cars, from, to, tree } => {
                    world.land(&cars.iter().map(number_of).collect::<Vec<_>>());
                    let commits = cars.iter().map(|car| commit_of(number_of(car))).collect();
                    let window = Some(self.policy.window.grown(train, cars.len()));
                    self.apply(Command::Land { target: target(), cars, commits, from, to, tree, window, approvals: 0 });
                    return false;
                }
                Action::Eject { car, cause, reason } => {
                    world.eject(number_of(&car));
                    let window = (cause == EjectCause::Failed).then(|| self.policy.window.halved(train));
                    let (commit, lease) = (None, Seconds(60));
                    let target = target();
                    self.apply(Command::Eject { target, car, commit, cause, reason, lease, retries_max: 0, window });
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
            let tree = self.by_id[&run.tree].clone();
            assert!(world.start(tree), "no slot was free for {run:?}, or it was tested before");
        }
        let batches = batches.filter(|batches| *batches != train.batches);
        self.apply(Command::ChangeRuns { target: target(), start, cancel, batches, check: None });
        true
    }
}

fn target() -> Branch {
    Branch::parse("main").expect("a branch")
}

fn car_id(car: CarNo) -> CarId {
    CarId::parse(&format!("car-{car}")).expect("an id")
}

fn number_of(car: &CarId) -> CarNo {
    car.as_str().trim_start_matches("car-").parse().expect("a car of this program")
}

fn commit_of(car: CarNo) -> ObjectId {
    ObjectId::parse(&format!("c{car:039x}")).expect("an object id")
}
