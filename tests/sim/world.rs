//! The world that all hosts share: true time, chance, the server with its refs and objects, and pushes on their way.
//!
//! The server is simple enough to be believed: a push is a compare-and-swap of several refs, all or none. Everything
//! that goes wrong goes wrong on the way there or back (see `network`).

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use git_scrum::ledger::{Fault, Intent, Message, RefUpdate, Remembered, Version};

use crate::commits::Commits;
use crate::promises::Promises;
use crate::random::Random;
use crate::trouble::{Plan, Tally, Trouble};

/// The ref of the board.
pub const BOARD: &str = "refs/scrum/board";
/// What begins the name of a host's ref.
pub const HOSTS: &str = "refs/scrum/hosts/";
/// What begins the name of a host's heartbeat.
pub const BEATS: &str = "refs/scrum/beats/";
/// The ref of project memory.
pub const MEMORY: &str = "refs/scrum/memory";
/// The branch that work lands on.
pub const TARGET: &str = "main";
/// The ref of that branch.
pub const TARGET_REF: &str = "refs/heads/main";
/// How many lines of a run are shown when it fails.
const TRACE_LINES: usize = 60;

/// What is noted of what happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracing {
    /// Nothing: a seed that fails is run again to see more.
    Off,
    /// The last lines are kept.
    Last,
    /// All is printed as it happens.
    All,
}

/// One version of a ledger.
pub struct LedgerCommit {
    /// The version before it.
    pub parent: Option<Version>,
    /// What it says.
    pub message: String,
    /// Its date.
    pub at_secs: u64,
    /// Everything in it.
    pub tree: BTreeMap<Rc<str>, Rc<[u8]>>,
}

/// A push on its way.
pub(crate) struct InFlight {
    arrives_ms: u64,
    pub(crate) updates: Vec<RefUpdate>,
    loose: Vec<RefUpdate>,
    by: String,
}

/// Refs that moved together, and who moved them.
pub struct Moved {
    /// What moved.
    pub updates: Vec<RefUpdate>,
    /// Who sent it.
    pub by: String,
}

/// A board that somebody set back or removed.
pub struct Broken {
    /// What it was.
    pub tip: String,
    /// Since when it is not.
    pub since_ms: u64,
    /// When it is restored.
    pub until_ms: u64,
}

/// The server.
#[derive(Default)]
pub struct Remote {
    /// Its refs.
    pub refs: BTreeMap<String, String>,
    /// Every version of a ledger that anybody wrote.
    pub ledger: BTreeMap<Version, Rc<LedgerCommit>>,
    /// Every offer that anybody wrote: when, and what it asks.
    pub offers: BTreeMap<String, (u64, Vec<Intent>)>,
    /// Every heartbeat that anybody wrote: when, and what for.
    pub beats: BTreeMap<String, (u64, BTreeMap<u64, u64>)>,
    /// Heartbeats that the server did not show to a machine when it asked, by its name.
    pub hidden: BTreeSet<(String, String)>,
    /// The values each ref has had, in order.
    pub past: BTreeMap<String, Vec<String>>,
    pub(crate) in_flight: Vec<InFlight>,
    /// What moved since the checkers last looked.
    pub moved: Vec<Moved>,
}

/// Everything that is not one host's own.
pub struct World {
    /// What this run is like.
    pub plan: Plan,
    /// Chance.
    pub random: RefCell<Random>,
    /// The server.
    pub remote: RefCell<Remote>,
    /// Commits of the code.
    pub commits: RefCell<Commits>,
    /// What was promised to whom.
    pub promises: RefCell<Promises>,
    /// Whether trouble is over.
    pub calm: Cell<bool>,
    /// Processes that run, each with the version of the board that its clone had seen when it began.
    pub alive: RefCell<BTreeMap<u64, Option<Version>>>,
    /// What the board was before somebody set it back or removed it, until it is restored.
    pub broken: RefCell<Option<Broken>>,
    /// When the board was last restored.
    pub restored_ms: Cell<u64>,
    /// How often each trouble struck.
    pub struck: RefCell<BTreeMap<Trouble, u64>>,
    /// How often each operation ended how.
    pub tally: RefCell<Tally>,
    /// What anybody made of the values of ledgers, which is the same for all.
    pub remembered: Remembered,
    now_ms: Cell<u64>,
    trace: RefCell<VecDeque<String>>,
    tracing: Tracing,
}

impl World {
    /// The world of a seed.
    pub fn new(seed: u64, tracing: Tracing) -> Rc<World> {
        let mut random = Random::new(seed);
        let plan = Plan::draw(&mut random);
        Rc::new(World {
            plan,
            random: RefCell::new(random),
            remote: RefCell::default(),
            commits: RefCell::default(),
            promises: RefCell::default(),
            calm: Cell::new(false),
            alive: RefCell::default(),
            broken: RefCell::default(),
            restored_ms: Cell::new(0),
            struck: RefCell::default(),
            tally: RefCell::default(),
            remembered: Remembered::default(),
            now_ms: Cell::new(0),
            trace: RefCell::default(),
            tracing,
        })
    }

    /// The true time since the beginning.
    pub fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    /// Lets time pass, to `ms` at least.
    pub fn advance_to(&self, ms: u64) {
        self.now_ms.set(self.now_ms.get().max(ms));
        self.deliver_due();
    }

    /// Notes what happens.
    pub fn trace(&self, line: impl FnOnce() -> String) {
        if self.tracing == Tracing::Off {
            return;
        }
        let line = format!("{:>9.1}s {}", self.now_ms.get() as f64 / 1000.0, line());
        if self.tracing == Tracing::All {
            println!("{line}");
        }
        let mut trace = self.trace.borrow_mut();
        if trace.len() == TRACE_LINES {
            trace.pop_front();
        }
        trace.push_back(line);
    }

    /// The last lines of what happened.
    pub fn last_lines(&self) -> Vec<String> {
        self.trace.borrow().iter().cloned().collect()
    }

    /// Whether `trouble` strikes here and now. What strikes is counted.
    pub fn strikes(&self, trouble: Trouble) -> bool {
        let strikes = !self.calm.get() && self.random.borrow_mut().chance(self.plan.chance(trouble));
        if strikes {
            self.struck(trouble);
        }
        strikes
    }

    /// Counts trouble that struck.
    pub fn struck(&self, trouble: Trouble) {
        *self.struck.borrow_mut().entry(trouble).or_default() += 1;
    }

    /// Counts something that was done.
    pub fn count(&self, what: &str) {
        *self.tally.borrow_mut().entry(what.to_owned()).or_default() += 1;
    }

    /// A number below `bound`.
    pub fn below(&self, bound: u64) -> u64 {
        self.random.borrow_mut().below(bound)
    }

    /// A number from `low` to `high`.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        self.random.borrow_mut().between(low, high)
    }

    /// True so many times in a hundred.
    pub fn percent(&self, percent: u32) -> bool {
        self.random.borrow_mut().chance(percent * 10)
    }

    /// The value of a ref of the server.
    pub fn read_ref(&self, name: &str) -> Option<String> {
        self.remote.borrow().refs.get(name).cloned()
    }

    /// Carries a push out: every ref is moved, or none, and those that were not as expected are named.
    pub fn carry_out(&self, updates: &[RefUpdate], by: &str) -> Result<(), Vec<String>> {
        let mut remote = self.remote.borrow_mut();
        let astray = updates.iter().filter(|update| remote.refs.get(&update.name) != update.old.as_ref());
        let astray: Vec<String> = astray.map(|update| update.name.clone()).collect();
        if !astray.is_empty() {
            return Err(astray);
        }
        for update in updates {
            match &update.new {
                Some(new) => {
                    remote.refs.insert(update.name.clone(), new.clone());
                    remote.past.entry(update.name.clone()).or_default().push(new.clone());
                }
                None => {
                    remote.refs.remove(&update.name);
                }
            }
        }
        remote.moved.push(Moved { updates: updates.to_vec(), by: by.to_owned() });
        Ok(())
    }

    /// Carries out what a push does beside its own business: each ref by itself, and from any value unless one is named.
    pub fn carry_out_loose(&self, loose: &[RefUpdate]) {
        let mut remote = self.remote.borrow_mut();
        for update in loose {
            if update.old.is_some() && remote.refs.get(&update.name) != update.old.as_ref() {
                continue;
            }
            match &update.new {
                Some(new) => {
                    remote.refs.insert(update.name.clone(), new.clone());
                    remote.past.entry(update.name.clone()).or_default().push(new.clone());
                }
                None => drop(remote.refs.remove(&update.name)),
            }
        }
    }

    /// Has a push arrive later.
    pub fn send_late(&self, updates: &[RefUpdate], loose: &[RefUpdate], by: &str) {
        // Long after its sender gave up, yet sooner than a request of a killed process is forgotten.
        let ceiling_ms = if self.percent(50) { 3_000 } else { 400_000 };
        let arrives_ms = self.now_ms() + self.between(1, ceiling_ms);
        let push = InFlight { arrives_ms, updates: updates.to_vec(), loose: loose.to_vec(), by: by.to_owned() };
        self.remote.borrow_mut().in_flight.push(push);
    }

    /// When the next push arrives that is on its way.
    pub fn next_arrival_ms(&self) -> Option<u64> {
        self.remote.borrow().in_flight.iter().map(|push| push.arrives_ms).min()
    }

    fn deliver_due(&self) {
        loop {
            let due = {
                let mut remote = self.remote.borrow_mut();
                let index = remote.in_flight.iter().position(|push| push.arrives_ms <= self.now_ms.get());
                index.map(|index| remote.in_flight.remove(index))
            };
            let Some(push) = due else { return };
            self.carry_out_loose(&push.loose);
            let result = self.carry_out(&push.updates, &push.by);
            self.trace(|| format!("a push of {} arrives late: {} {result:?}", push.by, spell(&push.updates)));
        }
    }

    /// One version of a ledger.
    pub fn ledger_commit(&self, version: &Version) -> Result<Rc<LedgerCommit>, Fault> {
        let found = self.remote.borrow().ledger.get(version).cloned();
        found.ok_or_else(|| Fault::integrity(format!("version {version} is missing")))
    }

    /// The version before another: its parent, or what the checkpoint replaced.
    pub fn before(&self, version: &Version) -> Option<Version> {
        let remote = self.remote.borrow();
        let commit = remote.ledger.get(version)?;
        let replaced = || Message::replaced_in(&commit.message).map(|id| Version(id.to_owned()));
        commit.parent.clone().or_else(replaced)
    }

    /// Whether `new` is `old` or goes on from it, folded or not.
    pub fn descends(&self, new: &Version, old: &Version) -> bool {
        let mut at = Some(new.clone());
        while let Some(version) = at {
            if version == *old {
                return true;
            }
            at = self.before(&version);
        }
        false
    }
}

/// Updates, short enough for a line.
pub fn spell(updates: &[RefUpdate]) -> String {
    let short = |id: &Option<String>| id.as_ref().map_or("-".to_owned(), |id| id.chars().take(6).collect());
    let one = |update: &RefUpdate| format!("{} {}..{}", update.name, short(&update.old), short(&update.new));
    updates.iter().map(one).collect::<Vec<_>>().join(", ")
}
