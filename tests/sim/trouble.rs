//! What can go wrong in a simulation, how likely each of it is in one run, and how often it really happened.

use std::collections::BTreeMap;

use git_scrum::domain::planner::{BatchPolicy, WindowPolicy};

use crate::random::Random;

/// One kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A push never arrives, and its sender does not know.
    LostPush,
    /// A push is carried out, and its sender never hears of it.
    LostAnswer,
    /// A push arrives long after its sender was told that nobody knows.
    LatePush,
    /// A push arrives twice.
    DoublePush,
    /// The server refuses a push.
    RefusedPush,
    /// A lock file is in the way of a push.
    LockedRef,
    /// The server is not reached by a push.
    NetworkInPush,
    /// The server is not reached by a fetch.
    NetworkInFetch,
    /// The server cannot move several refs as one.
    NotAtomic,
    /// A fetch gives an older version of a ledger than there is.
    StaleLedger,
    /// A fetch gives an older head of a target than there is.
    StaleTarget,
    /// A fetch gives an older offer of a host than there is, or one that was taken back.
    StaleOffer,
    /// A fetch does not give the newest heartbeat of a host, or none.
    StaleBeat,
    /// A process is killed.
    Crash,
    /// A process is killed between sending a push and hearing of it.
    CrashInPush,
    /// A process stands still for longer than a lease.
    Pause,
    /// A clock is wrong, within the allowance.
    Skew,
    /// A clock is wrong by more than the allowance.
    WildClock,
    /// A clock runs too fast or too slow.
    Drift,
    /// A check does not end in time.
    CheckTimeout,
    /// A check gives no verdict.
    CheckInconclusive,
    /// Somebody pushes past the train.
    OutsidePush,
    /// A branch moves after it was submitted.
    BranchMoved,
    /// A branch is removed after it was submitted.
    BranchGone,
    /// Two processes of one clone want it at once.
    Queueing,
    /// Somebody sets the board back to an older version, until it is restored from a clone.
    Rewind,
    /// Somebody removes the board with all offers, until it is restored from a clone.
    Vanished,
    /// A machine does not reach the server for a while.
    Partition,
    /// Nothing can be written to a machine's disk.
    DiskFull,
    /// A version that a machine has fetched cannot be read there for a while.
    TornObject,
    /// Many work at once.
    Crowd,
    /// Work is submitted again and again while the train has it.
    Rework,
    /// Somebody folds the board.
    Fold,
}

impl Trouble {
    /// Every kind, with the most times in a thousand that it strikes where it can.
    pub const ALL: [(Trouble, u32); 33] = [
        (Trouble::LostPush, 80),
        (Trouble::LostAnswer, 100),
        (Trouble::LatePush, 100),
        (Trouble::DoublePush, 60),
        (Trouble::RefusedPush, 20),
        (Trouble::LockedRef, 60),
        (Trouble::NetworkInPush, 60),
        (Trouble::NetworkInFetch, 60),
        (Trouble::NotAtomic, 0),
        (Trouble::StaleLedger, 250),
        (Trouble::StaleTarget, 250),
        (Trouble::StaleOffer, 250),
        (Trouble::StaleBeat, 250),
        (Trouble::Crash, 25),
        (Trouble::CrashInPush, 80),
        (Trouble::Pause, 8),
        (Trouble::Skew, 0),
        (Trouble::WildClock, 0),
        (Trouble::Drift, 0),
        (Trouble::CheckTimeout, 100),
        (Trouble::CheckInconclusive, 200),
        (Trouble::OutsidePush, 0),
        (Trouble::BranchMoved, 0),
        (Trouble::BranchGone, 0),
        (Trouble::Queueing, 0),
        (Trouble::Rewind, 1),
        (Trouble::Vanished, 1),
        (Trouble::Partition, 2),
        (Trouble::DiskFull, 15),
        (Trouble::TornObject, 20),
        (Trouble::Crowd, 0),
        (Trouble::Rework, 0),
        (Trouble::Fold, 0),
    ];
}

/// How often each thing happened, by name.
pub type Tally = BTreeMap<String, u64>;

/// Trains of one car at a time, of few and of many.
const WINDOWS: [WindowPolicy; 3] =
    [WindowPolicy::SERIAL, WindowPolicy::within(2, 1, 4), WindowPolicy::within(20, 3, 100)];

/// What one run is like: drawn from its seed, so that each run stresses something else.
#[derive(Debug)]
pub struct Plan {
    chances: BTreeMap<Trouble, u32>,
    /// How many clones there are.
    pub machines: u64,
    /// How many agents work in them.
    pub agents: u64,
    /// How many hosts run passes of the train.
    pub trains: u64,
    /// How many steps trouble lasts.
    pub steps: u64,
    /// How far clocks may differ, as it is configured.
    pub skew_secs: u64,
    /// How far a clock is from the true time at most, in seconds.
    pub clock_error_secs: u64,
    /// How many parts in a million a clock runs wrong at most.
    pub drift_ppm: u64,
    /// Whether the server moves several refs as one.
    pub atomic: bool,
    /// Whether verdicts come from a CI system outside.
    pub external: bool,
    /// How many cars the trains speculate on.
    pub window: WindowPolicy,
    /// How many runs they have under way at once.
    pub slots: u32,
    /// How cars are tested together.
    pub batch: BatchPolicy,
    /// How many approvals a car needs.
    pub approvals: u32,
    /// How many red verdicts of what contains a car are forgiven for a while.
    pub tolerate: u32,
    /// Whether verdicts are attached to commits as notes.
    pub notes: bool,
    /// How long a claim lasts.
    pub lease_secs: u64,
    /// Whether somebody pushes past the train.
    pub outsider: bool,
    /// Whether many work at once.
    pub crowd: bool,
    /// Whether work is submitted again and again while the train, which is fast, has it.
    pub rework: bool,
    /// Of a hundred things that somebody may want, so many are that the board were folded.
    pub folds: u64,
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(random: &mut Random) -> Plan {
        let mut chances = BTreeMap::new();
        for (trouble, most) in Trouble::ALL {
            // Half of the kinds are absent from a run: trouble that hides other trouble must leave room for it.
            let per_mille = if most > 0 && random.chance(500) { random.between(1, u64::from(most)) } else { 0 };
            chances.insert(trouble, per_mille as u32);
        }
        let crowd = random.chance(100);
        let machines = random.between(1, if crowd { 8 } else { 5 });
        let skew_secs = *random.pick(&[5, 60, 600]).expect("there are some");
        let wild = random.chance(150);
        let trains = random.between(1, 3);
        let clock_error_secs = if wild { skew_secs * 4 + 600 } else { skew_secs / 4 };
        Plan {
            chances,
            machines,
            agents: if crowd { random.between(8, 16) } else { random.between(2, 6) },
            trains,
            steps: random.between(500, 5000),
            skew_secs,
            clock_error_secs,
            // A run lasts a day or so: within the allowance even at its end.
            drift_ppm: if random.chance(500) { skew_secs } else { 0 },
            atomic: random.chance(700),
            external: random.chance(250),
            window: *random.pick(&WINDOWS).expect("there are some"),
            slots: *random.pick(&[0, 1, 3]).expect("there are some"),
            batch: BatchPolicy {
                cars_max: *random.pick(&[0, 1, 3]).expect("there are some"),
                greedy: random.chance(300),
                relaxed: random.chance(500),
            },
            // Whoever runs passes approves as well.
            approvals: if random.chance(250) { random.between(1, trains.min(2)) as u32 } else { 0 },
            notes: random.chance(400),
            lease_secs: *random.pick(&[300, 1800]).expect("there are some"),
            outsider: random.chance(600),
            crowd,
            rework: random.chance(150),
            folds: if random.chance(400) { random.between(1, 8) } else { 0 },
            tolerate: if random.chance(150) { random.between(1, 4) as u32 } else { 0 },
        }
    }

    /// How many times in a thousand it strikes.
    pub fn chance(&self, trouble: Trouble) -> u32 {
        self.chances.get(&trouble).copied().unwrap_or(0)
    }

    /// Whether some clock may be wrong by more than the allowance.
    pub fn is_wild(&self) -> bool {
        self.clock_error_secs > self.skew_secs
    }
}
