//! Machines and the processes on them. A machine keeps what is on its disk; a process is one invocation of the program,
//! a coroutine that can be dropped between any two steps, and then nothing is left of it but what is on that disk.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use corosensei::Yielder;
use git_scrum::domain::{Branch, ObjectId, OperationId, Timestamp};
use git_scrum::engine::ports::Host;
use git_scrum::engine::{Journal, Resumed};
use git_scrum::ledger::{Fault, Intent, Offer, Pace, Version};

use crate::promises::Promise;
use crate::trouble::Trouble;
use crate::world::World;

/// True time begins here, in seconds since 1970.
const EPOCH_SECS: i64 = 1_790_000_000;
/// How long a request of a killed process may be taken up, as in the program.
const RESUME_WITHIN_MS: u64 = 600_000;

/// What a clone remembers of one ledger.
#[derive(Default)]
pub struct Cache {
    /// The last version it saw.
    pub seen: RefCell<Option<Version>>,
    /// See `Store::contended`.
    pub contended: Cell<bool>,
    /// See `Store::hint`.
    pub hints: RefCell<BTreeMap<Version, u64>>,
}

/// An operation under way, on disk.
struct UnderWay {
    id: OperationId,
    request: String,
    base: Option<Version>,
    since_ms: u64,
    process: u64,
}

/// A process that waits for its turn, on disk.
pub struct Waiting {
    /// What it waits for.
    pub intent: Intent,
    /// Whether somebody has tried to have it applied.
    pub tried: bool,
    /// The version that it was applied in, once it was told.
    pub served: Option<Version>,
    /// The process.
    pub process: u64,
}

/// One clone on one host, as it is on disk.
pub struct Machine {
    /// Its name.
    pub name: String,
    clock_error_ms: i64,
    drift_ppm: i64,
    /// What it remembers of the board.
    pub board: Cache,
    /// What it remembers of memory.
    pub memory: Cache,
    /// The process whose turn it is.
    pub turn: Cell<Option<u64>>,
    /// Processes that wait for theirs, by operation.
    pub waiting: RefCell<BTreeMap<String, Waiting>>,
    /// The heartbeats it remembers: what each host's ref was when it was last shown.
    pub beats: RefCell<BTreeMap<String, String>>,
    /// What it has offered last, or left open.
    pub offered: RefCell<Option<Offer>>,
    /// Its branches.
    pub branches: RefCell<BTreeMap<Branch, ObjectId>>,
    /// Every commit its branches were at.
    pub reflog: RefCell<Vec<ObjectId>>,
    /// What the last fetch saw of the code's refs.
    pub tracking: RefCell<BTreeMap<String, String>>,
    /// What it tests for the train, and the process that does.
    pub testing: RefCell<Option<(ObjectId, u64)>>,
    /// Whether it learned that the server cannot move several refs as one.
    pub not_atomic: Cell<bool>,
    /// Until when it does not reach the server.
    pub cut_until_ms: Cell<u64>,
    /// A version that cannot be read here, and until when.
    pub torn: RefCell<Option<(Version, u64)>>,
    under_way: RefCell<Vec<UnderWay>>,
}

impl Machine {
    /// A fresh clone whose clock is as wrong as the plan allows.
    pub fn new(world: &World, number: u64) -> Rc<Machine> {
        let random_of = |most: u64| world.between(0, 2 * most) as i64 - most as i64;
        let clock_error_ms = random_of(world.plan.clock_error_secs * 1000);
        let drift_ppm = random_of(world.plan.drift_ppm);
        if clock_error_ms != 0 {
            world.struck(if world.plan.is_wild() { Trouble::WildClock } else { Trouble::Skew });
        }
        if drift_ppm != 0 {
            world.struck(Trouble::Drift);
        }
        Rc::new(Machine {
            name: format!("m{number}"),
            clock_error_ms,
            drift_ppm,
            board: Cache::default(),
            memory: Cache::default(),
            turn: Cell::new(None),
            waiting: RefCell::default(),
            beats: RefCell::default(),
            offered: RefCell::default(),
            branches: RefCell::default(),
            reflog: RefCell::default(),
            tracking: RefCell::default(),
            testing: RefCell::default(),
            not_atomic: Cell::new(false),
            cut_until_ms: Cell::new(0),
            torn: RefCell::default(),
            under_way: RefCell::default(),
        })
    }

    /// What its clock says when the true time is `true_ms`.
    pub fn clock(&self, true_ms: u64) -> Timestamp {
        let ms = true_ms as i64;
        let local_ms = ms + self.clock_error_ms + ms * self.drift_ppm / 1_000_000;
        Timestamp::from_secs(u64::try_from(EPOCH_SECS + local_ms.div_euclid(1000)).expect("after 1970"))
    }
}

/// What a process does with the coroutine it runs in: it says for how many milliseconds it does nothing.
pub type Steps = Yielder<(), u64>;

/// One invocation of the program.
pub struct Process<'y> {
    /// Everything that is not this host's own.
    pub world: Rc<World>,
    /// Where it runs.
    pub machine: Rc<Machine>,
    /// In whose name.
    pub who: String,
    /// Its number, which no other process ever had.
    pub number: u64,
    /// The operations it noted in the journal, the last one last.
    pub begun: RefCell<Vec<OperationId>>,
    /// Whether a push of it is on its way.
    pub pushing: Rc<Cell<bool>>,
    /// When it began.
    pub started_ms: u64,
    /// Whether it has asked the server for the board, and was told.
    pub asked: Cell<bool>,
    steps: &'y Steps,
}

impl<'y> Process<'y> {
    /// A process in a coroutine.
    pub fn new(
        world: Rc<World>,
        machine: Rc<Machine>,
        who: String,
        number: u64,
        pushing: Rc<Cell<bool>>,
        steps: &'y Steps,
    ) -> Self {
        let (begun, started_ms, asked) = (RefCell::default(), world.now_ms(), Cell::new(false));
        Process { world, machine, who, number, begun, pushing, started_ms, asked, steps }
    }

    /// Ends a step: others go on, and this process may end here.
    pub fn step(&self, what: impl FnOnce() -> String) {
        self.world.trace(|| format!("{} {}", self.who, what()));
        self.steps.suspend(0);
    }

    /// Whether a version may be unreadable on this machine, or was since the process began.
    pub fn meets_torn(&self) -> bool {
        self.machine.torn.borrow().as_ref().is_some_and(|(_, until_ms)| *until_ms >= self.started_ms)
    }

    /// Fails where the disk is full.
    pub fn fill_disk(&self, doing: &str) -> Result<(), Fault> {
        if self.world.strikes(Trouble::DiskFull) {
            return Err(Fault::io(doing, "No space left on device"));
        }
        Ok(())
    }

    /// Does nothing for a while.
    pub fn sleep_ms(&self, ms: u64) {
        self.steps.suspend(ms);
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        self.world.alive.borrow_mut().remove(&self.number);
        if self.machine.turn.get() == Some(self.number) {
            self.machine.turn.set(None);
        }
    }
}

impl Pace for Process<'_> {
    fn now_secs(&self) -> u64 {
        self.machine.clock(self.world.now_ms()).as_secs()
    }

    fn wait(&self, duration: Duration) {
        self.sleep_ms(u64::try_from(duration.as_millis()).expect("a short wait"));
    }

    fn nonce(&self) -> String {
        let mut random = self.world.random.borrow_mut();
        format!("{:016x}{:016x}", random.next(), random.next())
    }

    fn below(&self, bound: u64) -> u64 {
        self.world.below(bound)
    }
}

impl Host for Process<'_> {}

impl Journal for Process<'_> {
    fn begin(&self, id: &OperationId, request: &str, base: Option<&Version>) -> Result<Option<Resumed>, Fault> {
        self.step(|| format!("begins operation {id}"));
        // Asked anew it is another operation, also where that cannot even be noted.
        self.begun.borrow_mut().push(id.clone());
        self.fill_disk("noting an operation")?;
        let now = self.world.now_ms();
        let mut under_way = self.machine.under_way.borrow_mut();
        let alive = self.world.alive.borrow();
        let (kept, forgotten): (Vec<UnderWay>, Vec<UnderWay>) = std::mem::take(&mut *under_way)
            .into_iter()
            .partition(|known| alive.contains_key(&known.process) || known.since_ms + RESUME_WITHIN_MS > now);
        *under_way = kept;
        let mut promises = self.world.promises.borrow_mut();
        promises.forgotten.extend(forgotten.into_iter().map(|known| known.request));
        let orphan = under_way.iter_mut().find(|known| known.request == request && !alive.contains_key(&known.process));
        if let Some(known) = orphan {
            known.process = self.number;
            self.world.count("journal: resumed");
            self.world.trace(|| format!("{} takes up {} from {:?}", self.who, known.id, known.base));
            self.begun.borrow_mut().push(known.id.clone());
            promises.fresh.push(Promise::TakenUp { id: known.id.clone() });
            return Ok(Some(Resumed { id: known.id.clone(), base: known.base.clone() }));
        }
        under_way.push(UnderWay {
            id: id.clone(),
            request: request.to_owned(),
            base: base.cloned(),
            since_ms: now,
            process: self.number,
        });
        Ok(None)
    }

    fn delivered(&self) {
        // What was settled is no ground to judge what is answered after it, which may fail before anything is begun.
        self.begun.borrow_mut().clear();
        self.machine.under_way.borrow_mut().retain(|known| known.process != self.number);
    }
}
