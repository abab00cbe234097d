//! One run: a world, its hosts, and the scheduler that lets one of them take a step at a time.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use git_scrum::domain::{Holder, TeamName};

use crate::agents::{Actor, Role};
use crate::checker::Checker;
use crate::commits::Files;
use crate::invocation::Invocation;
use crate::process::{Machine, Process};
use crate::trouble::{Tally, Trouble};
use crate::world::{TARGET_REF, Tracing, World};

/// How many steps the hosts have to come to rest when trouble is over.
const CALM_STEPS_MAX: u64 = 60_000;

/// What came of a run that went well.
pub struct Report {
    /// How often each trouble struck.
    pub struck: BTreeMap<Trouble, u64>,
    /// How often each operation ended how.
    pub tally: Tally,
    /// How much time passed in the simulation.
    pub lasted_ms: u64,
}

/// A run that found something.
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What is wrong.
    pub what: String,
    /// The last lines of what happened.
    pub trace: Vec<String>,
}

/// Somebody's place in the schedule.
struct Slot {
    actor: Rc<Actor>,
    process: Option<Coroutine<(), u64, ()>>,
    number: u64,
    pushing: Rc<Cell<bool>>,
    wakes_ms: u64,
    finished: bool,
}

/// Runs a seed; `verbose` prints all that happens. One that fails is run again to see what led to it.
pub fn run(seed: u64, verbose: bool) -> Result<Report, Failure> {
    let traced = |tracing| simulate(seed, tracing);
    if verbose {
        traced(Tracing::All)
    } else {
        traced(Tracing::Off).or_else(|failure| traced(Tracing::Last).and(Err(failure)))
    }
}

/// Runs a seed once.
pub fn simulate(seed: u64, tracing: Tracing) -> Result<Report, Failure> {
    let world = World::new(seed, tracing);
    world.trace(|| format!("{:?}", world.plan));
    let mut simulation = Simulation::new(&world);
    let result = catch_unwind(AssertUnwindSafe(|| simulation.run()));
    let what = match result {
        Ok(Ok(())) => {
            let (struck, tally) = (world.struck.take(), world.tally.take());
            return Ok(Report { struck, tally, lasted_ms: world.now_ms() });
        }
        Ok(Err(what)) => what,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            format!("panicked: {}", text.unwrap_or_default())
        }
    };
    Err(Failure { seed, what, trace: world.last_lines() })
}

struct Simulation {
    world: Rc<World>,
    slots: Vec<Slot>,
    checker: Checker,
    processes: u64,
    stacks: Vec<DefaultStack>,
}

impl Simulation {
    fn new(world: &Rc<World>) -> Simulation {
        let root =
            world.commits.borrow_mut().add(&[], Files::from([("README".to_owned(), "hello".to_owned())]), "root");
        let mut remote = world.remote.borrow_mut();
        remote.refs.insert(TARGET_REF.to_owned(), root.as_str().to_owned());
        remote.past.insert(TARGET_REF.to_owned(), vec![root.into()]);
        drop(remote);
        let machines: Vec<Rc<Machine>> = (1..=world.plan.machines).map(|number| Machine::new(world, number)).collect();
        let mut roles: Vec<Role> = vec![Role::Agent; world.plan.agents as usize];
        roles.extend(vec![Role::Train; world.plan.trains as usize]);
        roles.extend(world.plan.external.then_some(Role::Judge));
        roles.extend(world.plan.outsider.then_some(Role::Outsider));
        let slots: Vec<Slot> = roles
            .into_iter()
            .enumerate()
            .map(|(index, role)| {
                let machine = Rc::clone(world.random.borrow_mut().pick(&machines).expect("there are some"));
                let name = Holder::parse(&format!("{role:?}{index}").to_lowercase()).expect("a name");
                let team = world.percent(50).then(|| TeamName::parse("red").expect("a name"));
                world.trace(|| format!("{name} works in {}", machine.name));
                let actor = Rc::new(Actor { name, machine, role, team, mind: Default::default() });
                let pushing = Rc::new(Cell::new(false));
                Slot { actor, process: None, number: 0, pushing, wakes_ms: 0, finished: false }
            })
            .collect();
        let owners = slots.iter().map(|slot| (slot.actor.name.clone(), Rc::clone(&slot.actor.machine))).collect();
        if world.plan.crowd {
            world.struck(Trouble::Crowd);
        }
        if world.plan.rework {
            world.struck(Trouble::Rework);
        }
        let outsider = slots.iter().find(|slot| slot.actor.role == Role::Outsider);
        let outsider = outsider.map_or(String::new(), |slot| slot.actor.name.to_string());
        Simulation {
            world: Rc::clone(world),
            slots,
            checker: Checker::new(owners, &outsider),
            processes: 0,
            stacks: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<(), String> {
        let mut steps = 0;
        loop {
            steps += 1;
            if steps == self.world.plan.steps {
                self.world.trace(|| "trouble is over".to_owned());
                self.world.calm.set(true);
                self.world.restore();
            }
            if steps > self.world.plan.steps + CALM_STEPS_MAX {
                return Err(format!("the hosts do not come to rest: {:?}", self.checker.board));
            }
            let Some(index) = self.choose() else { break };
            self.take_step(index);
            self.checker.look(&self.world)?;
        }
        while let Some(at_ms) = self.world.next_arrival_ms() {
            self.world.advance_to(at_ms);
        }
        self.world.tally.borrow_mut().insert("steps".to_owned(), steps);
        self.world.tally.borrow_mut().insert("versions".to_owned(), self.checker.versions);
        self.checker.look_back(&self.world)
    }

    /// The next to take a step; nobody when all have come to rest.
    fn choose(&self) -> Option<usize> {
        let at_rest = |slot: &Slot| match slot.actor.role {
            Role::Train | Role::Judge => slot.process.is_none() && self.checker.train_is_empty(),
            _ => slot.finished,
        };
        if self.world.calm.get() && self.slots.iter().all(at_rest) && self.world.next_arrival_ms().is_none() {
            return None;
        }
        let awake = |slot: &Slot| !slot.finished && slot.wakes_ms <= self.world.now_ms();
        loop {
            let ready: Vec<usize> = (0..self.slots.len()).filter(|index| awake(&self.slots[*index])).collect();
            if let Some(index) = self.world.random.borrow_mut().pick(&ready) {
                return Some(*index);
            }
            let wakes = self.slots.iter().filter(|slot| !slot.finished).map(|slot| slot.wakes_ms);
            self.world.advance_to(wakes.chain(self.world.next_arrival_ms()).min()?);
        }
    }

    fn take_step(&mut self, index: usize) {
        let world = Rc::clone(&self.world);
        world.advance_to(world.now_ms() + world.below(300));
        world.harm_board(self.slots.iter().map(|slot| &*slot.actor.machine));
        let slot = &mut self.slots[index];
        if world.strikes(Trouble::Partition) {
            let ms = world.between(10_000, 300_000);
            world.trace(|| format!("{} is cut off for {} s", slot.actor.machine.name, ms / 1000));
            slot.actor.machine.cut_until_ms.set(world.now_ms() + ms);
        }
        if slot.process.is_some() {
            let trouble = if slot.pushing.get() { Trouble::CrashInPush } else { Trouble::Crash };
            if world.strikes(trouble) {
                world.trace(|| format!("{} is killed", slot.actor.name));
                self.stacks.extend(slot.process.take().map(ended));
                slot.wakes_ms = world.now_ms() + world.between(1, 200_000);
                return;
            }
        } else {
            slot.pushing.set(false);
            self.processes += 1;
            slot.number = self.processes;
            let stack = || self.stacks.pop().unwrap_or_default();
            slot.process = start(&world, &slot.actor, slot.number, &slot.pushing, stack);
        }
        let Some(process) = &mut slot.process else {
            slot.finished = true;
            return;
        };
        match process.resume(()) {
            CoroutineResult::Yield(ms) => {
                slot.wakes_ms = world.now_ms() + ms;
                if world.strikes(Trouble::Pause) {
                    world.trace(|| format!("{} stands still", slot.actor.name));
                    slot.wakes_ms += world.plan.lease_secs * world.between(1_000, 3_000);
                }
            }
            CoroutineResult::Return(()) => {
                self.stacks.extend(slot.process.take().map(ended));
                let most_ms = match (slot.actor.role == Role::Agent, world.plan.rework) {
                    (true, false) => 20_000,
                    (true, true) => 3_000,
                    (false, false) => 120_000,
                    (false, true) => 10_000,
                };
                slot.wakes_ms = world.now_ms() + world.between(1, most_ms);
            }
        }
    }
}

/// Ends a process wherever it is. Gives its stack for another: making one takes longer than a short process.
fn ended(mut process: Coroutine<(), u64, ()>) -> DefaultStack {
    process.force_unwind();
    process.into_stack()
}

/// Starts an invocation, if there is something to be done.
fn start(
    world: &Rc<World>,
    actor: &Rc<Actor>,
    number: u64,
    pushing: &Rc<Cell<bool>>,
    stack: impl FnOnce() -> DefaultStack,
) -> Option<Coroutine<(), u64, ()>> {
    let want = actor.wants(world)?;
    let seen = actor.machine.board.seen.borrow().clone();
    world.alive.borrow_mut().insert(number, seen);
    let (world, actor, pushing) = (Rc::clone(world), Rc::clone(actor), Rc::clone(pushing));
    Some(Coroutine::with_stack(stack(), move |steps, ()| {
        let (machine, who) = (Rc::clone(&actor.machine), actor.name.to_string());
        let process = Process::new(world, machine, who, number, pushing, steps);
        Invocation::run(&process, &actor, want);
    }))
}
