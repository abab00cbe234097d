//! What must hold after every step that changed the server.
//!
//! The chain of the board is replayed here, operation by operation, through the same rules, on a board in memory; the
//! records that the server holds must be that board. What the rules themselves promise is checked without them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use git_scrum::domain::board::{Board, MemoryBoard};
use git_scrum::domain::invariants::check_invariants;
use git_scrum::domain::{
    Car, Changes, Claim, Command, Fence, Grant, Holder, LockMode, ObjectId, Operation, OperationId, Outcome, Stop,
    TaskId, Timestamp, VerdictRecord, rules,
};
use git_scrum::ledger::{Message, RefUpdate, Snapshot, Version, archive_ref, without_list};
use git_scrum::record::{Recorded, load_board, recorded_operations};

use crate::agents::{all_paths, target};
use crate::process::Machine;
use crate::promises::verb;
use crate::store::Records;
use crate::trouble::Trouble;
use crate::world::{BEATS, BOARD, MEMORY, Moved, TARGET_REF, World};

/// The checkers of one run, with what they have seen so far.
pub struct Checker {
    /// The board as the chain's operations made it.
    pub board: MemoryBoard,
    pub(crate) operations: BTreeMap<OperationId, (Version, Recorded)>,
    pub(crate) entries: BTreeSet<String>,
    pub(crate) denied: BTreeMap<OperationId, String>,
    /// Operations of which nobody knows, by asker, until the next is settled; and those that had not happened by then.
    pub(crate) unknown: BTreeMap<Holder, Vec<OperationId>>,
    pub(crate) settled: BTreeSet<OperationId>,
    pub(crate) done: Vec<(Holder, Outcome)>,
    pub(crate) remembered: Vec<OperationId>,
    chain: BTreeSet<Version>,
    fence: Fence,
    /// Heartbeats that arrived at the server, by fence: when, by the true time, and by the holder's clock, and which.
    beats: BTreeMap<Fence, Vec<(u64, Timestamp, String)>>,
    announced: BTreeSet<(ObjectId, ObjectId)>,
    landed: BTreeSet<(String, ObjectId)>,
    machines: BTreeMap<Holder, Rc<Machine>>,
    outsider: String,
    /// How many versions were checked.
    pub versions: u64,
}

/// Of so many versions one is compared with what its records ought to be, and so is the last: what is wrong with the
/// records stays wrong, and reading all of them takes longer than all else.
const COMPARED_EVERY: u64 = 16;

/// Nothing, or what is wrong, for people.
pub type Checked = Result<(), String>;

/// Stops a check that does not hold, with what is wrong.
macro_rules! ensure {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(format!($($what)+));
        }
    };
}

pub(crate) use ensure;

impl Checker {
    /// Checkers who know whose clock is whose, and who may push past the train.
    pub fn new(machines: BTreeMap<Holder, Rc<Machine>>, outsider: &str) -> Checker {
        Checker {
            board: MemoryBoard::default(),
            operations: BTreeMap::new(),
            entries: BTreeSet::new(),
            denied: BTreeMap::new(),
            unknown: BTreeMap::new(),
            settled: BTreeSet::new(),
            done: Vec::new(),
            remembered: Vec::new(),
            chain: BTreeSet::new(),
            fence: Fence(0),
            beats: BTreeMap::new(),
            announced: BTreeSet::new(),
            landed: BTreeSet::new(),
            machines,
            outsider: outsider.to_owned(),
            versions: 0,
        }
    }

    /// Looks at everything that moved and was promised since the last time.
    pub fn look(&mut self, world: &World) -> Checked {
        let moved = std::mem::take(&mut world.remote.borrow_mut().moved);
        for moved in moved {
            self.look_at(world, &moved).map_err(|what| format!("{} moved refs: {what}", moved.by))?;
        }
        let mut promises = world.promises.borrow_mut();
        if let Some(broken) = promises.broken.pop() {
            return Err(broken);
        }
        for promise in std::mem::take(&mut promises.fresh) {
            self.hold_to(promise)?;
        }
        Ok(())
    }

    fn look_at(&mut self, world: &World, moved: &Moved) -> Checked {
        let find = |name: &str| moved.updates.iter().find(|update| update.name == name);
        let mut applied = None;
        if let Some(update) = find(BOARD) {
            applied = Some(self.look_at_board(world, update)?);
        }
        if let Some(update) = find(MEMORY) {
            self.look_at_memory(world, update)?;
        }
        for update in moved.updates.iter().filter(|update| update.name.starts_with(BEATS)) {
            self.look_at_beat(world, update);
        }
        if let Some(update) = find(TARGET_REF) {
            self.look_at_target(world, update, applied.as_deref(), &moved.by)?;
        }
        Ok(())
    }

    /// The chain is linear, each version holds operations that no other holds, and those made it.
    fn look_at_board(&mut self, world: &World, update: &RefUpdate) -> Result<Vec<Recorded>, String> {
        let tip = Version(update.new.clone().ok_or("the board was removed")?);
        let commit = world.ledger_commit(&tip).map_err(|fault| fault.to_string())?;
        ensure!(world.before(&tip).map(|before| before.0) == update.old, "the chain forks at {tip}");
        ensure!(world.broken.borrow().is_none(), "{tip} was written on a board that had gone back");
        ensure!(self.chain.insert(tip.clone()), "{tip} was there before");
        let store = Records(world);
        let snapshot = Snapshot::new(&store, tip.clone());
        if commit.parent.is_none()
            && let Some(replaced) = world.before(&tip)
        {
            world.struck(Trouble::Fold);
            self.look_at_checkpoint(world, &snapshot, &replaced)?;
            return Ok(Vec::new());
        }
        let recorded = recorded_operations(&snapshot).map_err(|fault| fault.to_string())?;
        let named: Vec<&str> = Message::operations_in(&commit.message).collect();
        let held: Vec<&str> = recorded.iter().map(|recorded| recorded.operation.id.as_str()).collect();
        ensure!(named == held && !held.is_empty(), "{tip} names operations {named:?} and holds {held:?}");
        if held.len() > 1 {
            world.count("board: versions of several operations");
        }
        for recorded in &recorded {
            self.look_at_operation(world, &tip, recorded)?;
        }
        self.versions += 1;
        if self.versions.is_multiple_of(COMPARED_EVERY) {
            self.compare(&snapshot)?;
        }
        Ok(recorded)
    }

    /// A checkpoint holds what it replaced, which is kept, and nothing but the names of versions beside it. Whether it
    /// names enough is for those to notice who look for their operations.
    fn look_at_checkpoint(&self, world: &World, snapshot: &Snapshot<'_, Records<'_>>, replaced: &Version) -> Checked {
        let commit = |version| world.ledger_commit(version).map_err(|fault| fault.to_string());
        let tree = |version| commit(version).map(|commit| commit.tree.clone());
        let (mut held, mut holds) = (tree(replaced)?, tree(snapshot.version())?);
        without_list(&mut held);
        without_list(&mut holds);
        ensure!(held == holds, "{} does not hold what {replaced} held", snapshot.version());
        let kept = world.read_ref(&archive_ref(BOARD, replaced));
        ensure!(kept.as_ref() == Some(&replaced.0), "{replaced} was replaced, and is not kept");
        self.compare(snapshot)
    }

    /// The records are the board that the operations made, and that board is sound.
    pub(crate) fn compare(&self, snapshot: &Snapshot<'_, Records<'_>>) -> Checked {
        let (loaded, astray) = load_board(snapshot).map_err(|fault| fault.to_string())?;
        ensure!(astray.is_empty(), "the index is astray: {astray:?}");
        ensure!(loaded == self.board, "the records of {} are not what the operations made", snapshot.version());
        let wrong = check_invariants(&loaded);
        ensure!(wrong.is_empty(), "in {}: {wrong:?}", snapshot.version());
        Ok(())
    }

    fn look_at_operation(&mut self, world: &World, tip: &Version, recorded: &Recorded) -> Checked {
        let id = recorded.operation.id.clone();
        ensure!(!self.operations.contains_key(&id), "operation {id} was applied twice: {:?}", recorded.operation);
        if recorded.outcome == Outcome::Refused {
            world.count("board: recorded refusals");
            let ruling = rules::decide(&self.board, &recorded.operation);
            ensure!(matches!(ruling, Err(Stop::Refused(_))), "a replay allows {recorded:?}: {ruling:?}");
            self.operations.insert(id, (tip.clone(), recorded.clone()));
            return Ok(());
        }
        ensure!(!self.settled.contains(&id), "{id} was applied after its asker had the answer to the next");
        if let Some(why) = self.denied.get(&id) {
            return Err(format!("{id} was applied after its asker was told that it was not: {why}"));
        }
        self.before(world, recorded)?;
        match rules::decide(&self.board, &recorded.operation) {
            Ok((changes, outcome)) => {
                ensure!(outcome == recorded.outcome, "a replay gives {outcome:?}, recorded is {recorded:?}");
                self.look_at_takeovers(world, &recorded.operation, &changes)?;
                self.board.apply(changes);
            }
            Err(stop) => return Err(format!("a replay refuses {recorded:?}: {stop:?}")),
        }
        self.after(world, recorded)?;
        world.count(&format!("board: {}", verb(&recorded.operation.command)));
        self.operations.insert(id, (tip.clone(), recorded.clone()));
        Ok(())
    }

    fn look_at_beat(&mut self, world: &World, update: &RefUpdate) {
        let Some(version) = &update.new else { return };
        let (_, alive) = world.remote.borrow().beats[version].clone();
        for (fence, at_secs) in alive {
            let at = Timestamp::from_secs(at_secs);
            self.beats.entry(Fence(fence)).or_default().push((world.now_ms(), at, version.clone()));
        }
    }

    /// Nobody loses what they hold whose heartbeat had arrived before the taker looked, unless the server hid it.
    fn look_at_takeovers(&self, world: &World, operation: &Operation, changes: &Changes) -> Checked {
        let listed = |fence: &Fence| operation.overdue.iter().flatten().any(|overdue| overdue.fence == *fence);
        let grants = matches!(operation.command, Command::Claim { .. } | Command::Lock { .. });
        let machine = &self.machines[&operation.by];
        for fence in changes.grants.iter().filter(|(_, grant)| grant.is_none()).map(|(fence, _)| fence) {
            let Ok(grant) = self.board.grant(*fence);
            let Some(grant) = grant.filter(|grant| grants || (listed(fence) && !is_named(operation, grant))) else {
                continue;
            };
            ensure!(listed(fence), "{grant:?} is taken, which nobody had looked at: {operation:?}");
            world.count("board: taken over");
            for (arrived_ms, beat, version) in self.beats.get(fence).into_iter().flatten() {
                let hidden = (machine.name.clone(), version.clone());
                if machine.clock(*arrived_ms) >= operation.at || world.remote.borrow().hidden.contains(&hidden) {
                    continue;
                }
                world.count("board: taken over in spite of an old heartbeat");
                let until = grant.kept_until(Some(*beat));
                ensure!(
                    until.is_some_and(|until| operation.at > until.plus(operation.skew)),
                    "{grant:?} is taken at {}, and its holder was alive at {beat}: {operation:?}",
                    operation.at
                );
            }
        }
        Ok(())
    }

    fn claim_of(&self, task: &TaskId) -> Option<Claim> {
        let Ok(task) = self.board.task(task);
        let Ok(grant) = self.board.grant(task?.summary.claim?);
        match grant {
            Some(Grant::Claim(claim)) => Some(claim),
            _ => None,
        }
    }

    pub(crate) fn car(&self, id: &git_scrum::domain::CarId) -> Option<Car> {
        let Ok(car) = self.board.car(&target(), id);
        car
    }

    /// What the board must be like for this operation to be allowed.
    fn before(&self, world: &World, recorded: &Recorded) -> Checked {
        let operation = &recorded.operation;
        let own = |task: &TaskId, fence: Option<Fence>| {
            let claim = self.claim_of(task).ok_or(format!("nobody holds {task}: {operation:?}"))?;
            let right = fence.map_or(claim.holder == operation.by, |fence| claim.fence == fence);
            ensure!(right, "{task} is held by {} under {}: {operation:?}", claim.holder, claim.fence);
            Ok(())
        };
        match &operation.command {
            Command::Renew { task, fence, .. } | Command::Fail { task, fence, .. } => own(task, *fence)?,
            Command::Release { task, fence, force: false, .. } => own(task, *fence)?,
            Command::Done { task, fence: Some(fence) } => own(task, Some(*fence))?,
            Command::Submit { task: Some(of), .. } => own(&of.id, of.fence)?,
            Command::ChangeRuns { start, .. } => {
                let Outcome::Runs { started, .. } = &recorded.outcome else { return Err(format!("{recorded:?}")) };
                for run in start.iter().filter(|run| started.contains(&run.commit)) {
                    let Ok(known) = self.board.verdict(&run.tree);
                    let confirms =
                        |known: &VerdictRecord| run.ahead == 0 && known.failed_with_more_than(run.tested().len());
                    let known = known.filter(|known| known.is_settled() && !confirms(known));
                    ensure!(known.is_none(), "{:?} is tested again, of which {known:?} is known", run.cars);
                }
            }
            Command::Land { cars, from, to, .. } | Command::AnnounceLanding { cars, from, to, .. }
                if !self.announced.contains(&(from.clone(), to.clone())) =>
            {
                let Ok(train) = self.board.train(&target());
                for car in cars.iter().filter_map(|id| self.car(id)).filter(|_| from != to) {
                    let approvals = car.approved_by().count();
                    ensure!(approvals >= world.plan.approvals as usize, "{} lands with {approvals} approvals", car.id);
                    let frozen = train.as_ref().and_then(|train| train.frozen.as_ref());
                    let frozen = frozen.filter(|freeze| car.priority > freeze.below);
                    ensure!(frozen.is_none(), "{} lands in spite of {frozen:?}", car.id);
                }
                for car in cars.iter().filter_map(|id| self.car(id)) {
                    let Some(of) = &car.task else { continue };
                    let current = self.claim_of(&of.id).is_some_and(|claim| claim.fence == of.fence && claim.submitted);
                    ensure!(current, "{} lands under fence {}, which is gone", car.id, of.fence);
                }
            }
            _ => {}
        }
        let Ok(grants) = self.board.grants();
        let run_out = |grant: &Grant| grant.until().is_some_and(|until| operation.at > until.plus(operation.skew));
        if let Outcome::Claimed { expired, .. } = &recorded.outcome {
            for task in expired {
                let claim = self.claim_of(task).map(Grant::Claim).ok_or(format!("nobody held {task}"))?;
                ensure!(run_out(&claim), "{claim:?} was taken at {}", operation.at);
            }
        }
        if matches!(operation.command, Command::Claim { .. } | Command::Lock { .. }) && !world.plan.is_wild() {
            for grant in grants.iter().filter(|grant| run_out(grant)) {
                let Some(machine) = self.machines.get(grant.holder()) else { continue };
                let now = machine.clock(world.now_ms());
                let ended = grant.until().is_some_and(|until| now > until);
                ensure!(ended, "{} loses {grant:?} at {now} by its own clock", grant.holder());
            }
        }
        Ok(())
    }

    /// What must have become of the board.
    fn after(&mut self, world: &World, recorded: &Recorded) -> Checked {
        let Operation { command, by, .. } = &recorded.operation;
        let granted: Vec<Fence> = match &recorded.outcome {
            Outcome::Claimed { fences, .. } => fences.clone(),
            Outcome::Locked { fence, .. } => vec![*fence],
            _ => Vec::new(),
        };
        let grants = !granted.is_empty();
        for fence in granted {
            ensure!(fence > self.fence, "fence {fence} was granted after {}", self.fence);
            self.fence = fence;
            let Ok(grant) = self.board.grant(fence);
            ensure!(grant.is_some_and(|grant| grant.holder() == by), "fence {fence} is not {by}'s");
        }
        if grants {
            self.check_locks()?;
        }
        match (command, &recorded.outcome) {
            (Command::AnnounceLanding { from, to, .. }, _) => {
                self.announced.insert((from.clone(), to.clone()));
            }
            (Command::Land { to, .. }, Outcome::Landed { cars, .. }) => {
                let commits = world.commits.borrow();
                let tip = world.read_ref(TARGET_REF).and_then(|id| ObjectId::parse(&id).ok()).expect("a target");
                ensure!(commits.contains(&tip, to), "{cars:?} landed as {to}, which is not on the target");
                for id in cars {
                    let commit = self.car(id).ok_or("a car vanished")?.commit;
                    ensure!(commits.contains(to, &commit), "{id} landed as {to}, which does not have {commit}");
                    ensure!(self.landed.insert((id.to_string(), commit)), "{id} landed twice");
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// No path is held exclusively by two, whatever the patterns say of each other.
    fn check_locks(&self) -> Checked {
        let Ok(grants) = self.board.grants();
        let holds = |grant: &Grant, path: &str| grant.patterns().iter().any(|pattern| pattern.matches(path));
        for path in all_paths() {
            let held: Vec<&Grant> = grants.iter().map(|grant| &**grant).filter(|grant| holds(grant, &path)).collect();
            for (index, one) in held.iter().enumerate() {
                for other in &held[index + 1..] {
                    let shared = one.mode() == LockMode::Shared && other.mode() == LockMode::Shared;
                    let locks = matches!(one, Grant::Lock(_)) || matches!(other, Grant::Lock(_));
                    let own = locks && one.holder() == other.holder();
                    ensure!(shared || own, "{path} is held by {one:?} and {other:?}");
                }
            }
        }
        Ok(())
    }

    fn look_at_memory(&mut self, world: &World, update: &RefUpdate) -> Checked {
        let tip = Version(update.new.clone().ok_or("memory was removed")?);
        let commit = world.ledger_commit(&tip).map_err(|fault| fault.to_string())?;
        ensure!(commit.parent.as_ref().map(|parent| &parent.0) == update.old.as_ref(), "memory forks at {tip}");
        for id in Message::operations_in(&commit.message) {
            ensure!(self.entries.insert(id.to_owned()), "entry {id} was added twice");
        }
        Ok(())
    }

    /// The target moves forward only, and only by a landing of a green commit or by the one who knows no better.
    fn look_at_target(&self, world: &World, update: &RefUpdate, applied: Option<&[Recorded]>, by: &str) -> Checked {
        let id = |text: &Option<String>| text.as_ref().and_then(|text| ObjectId::parse(text).ok());
        let (from, to) = (id(&update.old).ok_or("the target was made anew")?, id(&update.new).ok_or("it was removed")?);
        let commits = world.commits.borrow();
        ensure!(commits.contains(&to, &from), "the target goes back from {from} to {to}");
        if by == self.outsider {
            return Ok(());
        }
        let landed = |recorded: &Recorded| matches!(&recorded.operation.command, Command::Land { from: f, to: t, .. } if *f == from && *t == to);
        let announced = self.announced.contains(&(from.clone(), to.clone()));
        let allowed = applied.map_or(announced, |applied| applied.iter().any(landed));
        ensure!(allowed, "the target moves from {from} to {to} without a landing");
        ensure!(commits.is_green(&to), "{to} landed and does not pass");
        let Ok(verdict) = self.board.verdict(&commits.tree(&to));
        let passed = verdict.is_some_and(|record| record.verdict == git_scrum::domain::Verdict::Pass);
        ensure!(passed, "{to} landed without a verdict");
        Ok(())
    }

    /// Whether nothing is left that a train could do.
    pub fn train_is_empty(&self) -> bool {
        let Ok(train) = self.board.train(&target());
        train.is_none_or(|train| train.landing.is_none()) && self.board.cars().all(|car| !car.state.is_open())
    }
}

/// Whether an operation is about the task of this grant, or gives locks back: then it may end it on its own account.
fn is_named(operation: &Operation, grant: &Grant) -> bool {
    match &operation.command {
        Command::Release { task, .. }
        | Command::Fail { task, .. }
        | Command::Done { task, .. }
        | Command::Cancel { task, .. } => grant.task() == Some(task),
        Command::Unlock { .. } => grant.task().is_none(),
        _ => false,
    }
}
