//! Who works in the simulated world, what they remember, and what they want next.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use git_scrum::domain::command::{NewTask, TaskEdit};
use git_scrum::domain::memory::MemoryKind;
use git_scrum::domain::{
    Branch, CarId, Command, Fence, Holder, LockMode, OperationId, Pattern, Priority, Seconds, TaskId, Team, TeamName,
};
use git_scrum::engine::{NewEntry, SubmitRequest};

use crate::process::Machine;
use crate::world::{TARGET, World};

/// How long somebody remembers a question without an answer: less than the program does.
const ASK_AGAIN_MS: u64 = 400_000;

/// What somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Adds, claims, works and submits.
    Agent,
    /// Runs passes of the train.
    Train,
    /// Is the CI system outside.
    Judge,
    /// Knows nothing of the tool, and pushes.
    Outsider,
}

/// Somebody, with what they remember: it outlives the processes they start.
pub struct Actor {
    /// Their name.
    pub name: Holder,
    /// Where they work.
    pub machine: Rc<Machine>,
    /// What they do.
    pub role: Role,
    /// For which team.
    pub team: Option<TeamName>,
    /// What they remember.
    pub mind: RefCell<Mind>,
}

/// A task that somebody believes to hold.
#[derive(Clone)]
pub struct Held {
    /// The fence they were told.
    pub fence: Fence,
    /// The branch they work on.
    pub branch: Branch,
    /// Whether there is something to submit.
    pub committed: bool,
    /// Whether it was submitted.
    pub submitted: bool,
}

/// What somebody remembers.
#[derive(Default)]
pub struct Mind {
    /// Whether they know that there is a board.
    pub knows_board: bool,
    /// Whether they did their last duty.
    pub resumed: bool,
    /// What they believe to hold.
    pub holds: BTreeMap<TaskId, Held>,
    /// What they asked without getting an answer, and since when.
    pub pending: Option<(Want, u64)>,
}

/// What somebody may want.
#[derive(Clone)]
pub enum Want {
    /// An operation on the board.
    Ask(Command),
    /// To submit.
    Submit(SubmitRequest),
    /// To add to memory.
    Remember(NewEntry),
    /// To work on a task.
    Work(TaskId),
    /// To keep everything they hold, without the board.
    Beat,
    /// To see what became of a task.
    Look(TaskId),
    /// To push a branch that belongs to no task, and submit it.
    Aside,
    /// To fold the board.
    Fold,
    /// To take back what a task brought.
    Revert(CarId),
    /// To run a pass of the train.
    Pass,
    /// To judge what the train asks for.
    Judge,
    /// To push past the train, or to move a branch.
    Meddle,
}

impl Actor {
    /// What they want next; nothing when trouble is over and they have all their answers.
    pub fn wants(&self, world: &World) -> Option<Want> {
        match self.role {
            Role::Train => return Some(Want::Pass),
            Role::Judge => return Some(Want::Judge),
            Role::Outsider if world.calm.get() => return None,
            Role::Outsider => return Some(Want::Meddle),
            Role::Agent => {}
        }
        let mut mind = self.mind.borrow_mut();
        if let Some((want, since_ms)) = mind.pending.take() {
            let young = world.now_ms() - since_ms < ASK_AGAIN_MS;
            if young && (world.calm.get() || world.percent(80)) {
                mind.pending = Some((want.clone(), since_ms));
                return Some(want);
            }
            world.count("agent: gave up asking");
        }
        if !mind.knows_board {
            return Some(Want::Ask(Command::Init { target: target() }));
        }
        if world.calm.get() {
            return (!std::mem::replace(&mut mind.resumed, true))
                .then(|| Want::Ask(Command::Resume { target: target() }));
        }
        let tasks: Vec<TaskId> = mind.holds.keys().cloned().collect();
        let task = world.random.borrow_mut().pick(&tasks).cloned();
        Some(match task {
            Some(task) if world.percent(if world.plan.rework { 90 } else { 75 }) => {
                self.about_held(world, &task, &mind.holds[&task])
            }
            _ => self.about_anything(world),
        })
    }

    fn about_held(&self, world: &World, task: &TaskId, held: &Held) -> Want {
        // Who names no fence means whatever they hold by their name.
        let fence = (!world.percent(15)).then_some(held.fence);
        let task = task.clone();
        let reason = "reason".to_owned();
        let mut chance = world.below(100);
        if world.plan.rework && held.submitted && chance < 85 {
            // Where others look what became of their work, these mostly go on with it, and submit it again.
            chance = *world.random.borrow_mut().pick(&[0, 60, 60, 70, 70]).expect("there are some");
        }
        let command = match (chance, held.submitted, held.committed) {
            (0..60, true, _) => return Want::Look(task),
            (0..60, false, false) => return Want::Work(task),
            // Some think better of it while the train has their work.
            (60..70, true, _) => return Want::Work(task),
            (0..60, false, true) | (70..85, true, true) => {
                let after = world.percent(25).then(|| CarId::from(&some_task(world))).into_iter().collect();
                return Want::Submit(SubmitRequest {
                    task: Some(task),
                    fence,
                    branch: None,
                    target: target(),
                    priority: world.percent(20).then_some(Priority::P1),
                    after,
                    together: Vec::new(),
                    single: None,
                    leave_uncommitted: false,
                });
            }
            // Most keep all they hold at once.
            (60..72, ..) => return Want::Beat,
            (72..75, ..) => Command::Renew { task, fence, lease: None },
            (75..80, ..) => return Want::Look(task),
            (80..88, ..) => Command::Release { task, fence, reason: None, force: false },
            (88..94, ..) => Command::Fail { task, fence, reason, retries_max: 2 },
            _ => Command::Done { task, fence },
        };
        Want::Ask(command)
    }

    fn about_anything(&self, world: &World) -> Want {
        let lease = Seconds(world.plan.lease_secs);
        let task = some_task(world);
        let reason = "reason".to_owned();
        let claim = |task, count| Command::Claim {
            task,
            team: self.team.clone(),
            labels: Vec::new(),
            count,
            lease,
            branch_template: "task/{id}".to_owned(),
        };
        if world.below(100) < world.plan.folds {
            return Want::Fold;
        }
        let command = match world.below(100) {
            0..34 => claim(None, 1),
            34..42 => claim(Some(task), 1),
            42..48 => claim(None, 3),
            48..70 => Command::Add(new_task(world)),
            70..75 => Command::Lock {
                patterns: some_patterns(world),
                mode: if world.percent(50) { LockMode::Exclusive } else { LockMode::Shared },
                lease,
                reason: None,
            },
            75..78 => Command::Unlock { patterns: Vec::new(), force: world.percent(20) },
            78..81 => {
                let (priority, needs) = (Some(Priority::P1), vec![some_task(world)]);
                Command::Edit { task, edit: TaskEdit { priority, add_needs: needs, ..TaskEdit::default() } }
            }
            81..83 => Command::Cancel { task, reason: None },
            83..85 => Command::Reopen { task },
            85..87 => Command::Block { task, reason },
            87..90 => Command::Unblock { task },
            90..91 => Command::Release { task, fence: None, reason: None, force: true },
            91..92 => Command::Pause { target: target(), reason, below: world.percent(50).then_some(Priority::P1) },
            92..93 => Command::Promote { target: target(), car: CarId::from(&task) },
            93..94 => Command::Resume { target: target() },
            94..95 => Command::AddTeam(Team {
                name: TeamName::parse("red").expect("a name"),
                labels: Vec::new(),
                capacity: Some(2),
                size_max: None,
            }),
            95..96 => return Want::Revert(CarId::from(&task)),
            96..98 => return Want::Remember(new_entry(world)),
            _ => return Want::Aside,
        };
        Want::Ask(command)
    }
}

/// The branch that work lands on.
pub fn target() -> Branch {
    Branch::parse(TARGET).expect("a branch")
}

/// A text that nobody else uses in this run.
pub fn unique(world: &World, what: &str) -> String {
    let mut random = world.random.borrow_mut();
    format!("{what}-{:012x}", random.next() >> 16)
}

/// A task that there probably is.
fn some_task(world: &World) -> TaskId {
    let added = world.tally.borrow().get("add: ok").copied().unwrap_or(0);
    TaskId::parse(&world.between(1, added + 1).to_string()).expect("a number")
}

/// A path of the repository.
pub fn some_path(world: &World) -> String {
    let paths = all_paths();
    let index = world.below(paths.len() as u64);
    paths[index as usize].clone()
}

/// Every path that work touches.
pub fn all_paths() -> Vec<String> {
    ["a", "b", "c", "d"].iter().flat_map(|d| ["1", "2", "3"].iter().map(move |f| format!("src/{d}/{f}"))).collect()
}

fn some_patterns(world: &World) -> Vec<Pattern> {
    let directory = *world.random.borrow_mut().pick(&["a", "b", "c", "d"]).expect("there are some");
    let text = match world.below(4) {
        0 => format!("src/{directory}/**"),
        1 => format!("src/*/{}", world.between(1, 3)),
        _ => some_path(world),
    };
    vec![Pattern::parse(&text).expect("a pattern")]
}

fn new_task(world: &World) -> NewTask {
    let priority = *world.random.borrow_mut().pick(&Priority::ALL).expect("there are some");
    NewTask {
        id: None,
        title: unique(world, "title"),
        priority,
        kind: None,
        size: None,
        labels: Vec::new(),
        needs: if world.percent(20) { vec![some_task(world)] } else { Vec::new() },
        paths: if world.percent(70) { some_patterns(world) } else { Vec::new() },
        body: "do \"it\"\n".to_owned(),
    }
}

fn new_entry(world: &World) -> NewEntry {
    NewEntry {
        kind: MemoryKind::Learning,
        title: unique(world, "entry"),
        body: String::new(),
        paths: Vec::new(),
        commit: None,
        supersedes: world.percent(30).then(|| {
            let mut entries: Vec<String> = Vec::new();
            let remote = world.remote.borrow();
            let tip = remote.refs.get(crate::world::MEMORY).cloned().map(git_scrum::ledger::Version);
            let keys = tip.iter().flat_map(|tip| remote.ledger[tip].tree.keys());
            entries.extend(keys.filter_map(|key| key.rsplit('/').next()).map(str::to_owned));
            drop(remote);
            let found = world.random.borrow_mut().pick(&entries).cloned();
            found.filter(|id| OperationId::parse(id).is_ok()).unwrap_or_else(|| "00".to_owned())
        }),
    }
}
