//! The board as the rules see it, and a draft of what is to become of it.
//!
//! [`Board`] is a read-only view that a ledger, a test or another draft provides; its reads may fail for reasons the
//! rules know nothing of (`Fault`). A [`Draft`] lays changes over a board, so that one operation sees what it or an
//! earlier one of the same commit has done. Nothing is written until somebody takes the [`Changes`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::{
    Branch, Car, CarId, Fence, Grant, ObjectId, Priority, Summary, Task, TaskId, TaskState, Team, TeamName, Train,
    VerdictRecord,
};

/// The counters of a board, and what was settled when it was created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counters {
    /// The branch that work lands on when nobody says otherwise.
    pub target: Branch,
    /// The fence of the last grant.
    pub fence: Fence,
    /// The sequence number of the last task.
    pub seq: u64,
    /// The last number that was given to a task as its id.
    pub numbered: u64,
}

/// Which open tasks to visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenTasks {
    /// Those that may be claimed.
    Queued,
    /// Those that are open but may not be claimed.
    Waiting,
}

impl OpenTasks {
    /// Whether a task in `state` is among them.
    pub fn contains(self, state: TaskState) -> bool {
        match self {
            OpenTasks::Queued => state == TaskState::Queued,
            OpenTasks::Waiting => !state.is_closed() && state != TaskState::Queued,
        }
    }
}

/// What a visitor of tasks is.
pub type TaskVisitor<'a> = &'a mut dyn FnMut(&Summary) -> ControlFlow<()>;

/// What may be asked of a board.
pub trait Board {
    /// Why a read may fail.
    type Fault;

    /// The counters; `None` where the board was not created yet.
    fn counters(&self) -> Result<Option<Counters>, Self::Fault>;
    /// One task, open or closed.
    fn task(&self, id: &TaskId) -> Result<Option<Task>, Self::Fault>;
    /// Visits the open tasks of one priority, the oldest first, until the visitor breaks.
    fn visit_open(&self, which: OpenTasks, priority: Priority, visit: TaskVisitor<'_>) -> Result<(), Self::Fault>;
    /// All grants, by fence: shared, for there may be many, and most questions need them.
    fn grants(&self) -> Result<Vec<Rc<Grant>>, Self::Fault>;
    /// One grant.
    fn grant(&self, fence: Fence) -> Result<Option<Grant>, Self::Fault>;
    /// One team.
    fn team(&self, name: &TeamName) -> Result<Option<Team>, Self::Fault>;
    /// All teams, by name.
    fn teams(&self) -> Result<Vec<Team>, Self::Fault>;
    /// The train of a target.
    fn train(&self, target: &Branch) -> Result<Option<Train>, Self::Fault>;
    /// All trains, by target.
    fn trains(&self) -> Result<Vec<Train>, Self::Fault>;
    /// The open cars of a train, by id.
    fn open_cars(&self, target: &Branch) -> Result<Vec<Car>, Self::Fault>;
    /// One car, open or not.
    fn car(&self, target: &Branch, id: &CarId) -> Result<Option<Car>, Self::Fault>;
    /// What is known of a tree.
    fn verdict(&self, tree: &ObjectId) -> Result<Option<VerdictRecord>, Self::Fault>;
}

/// What is to be written: for each record its new value, or `None` to remove it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The counters.
    pub counters: Option<Counters>,
    /// Tasks; a task is never removed.
    pub tasks: BTreeMap<TaskId, Task>,
    /// Grants.
    pub grants: BTreeMap<Fence, Option<Grant>>,
    /// Teams.
    pub teams: BTreeMap<TeamName, Option<Team>>,
    /// Trains.
    pub trains: BTreeMap<Branch, Train>,
    /// Cars; a car is never removed.
    pub cars: BTreeMap<(Branch, CarId), Car>,
    /// Verdicts.
    pub verdicts: BTreeMap<ObjectId, VerdictRecord>,
}

impl Changes {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }
}

/// Changes laid over a board.
pub struct Draft<'a, B: Board> {
    base: &'a B,
    changes: Changes,
}

impl<'a, B: Board> Draft<'a, B> {
    /// A draft without changes.
    pub fn new(base: &'a B) -> Self {
        Draft { base, changes: Changes::default() }
    }

    /// What was changed.
    pub fn into_changes(self) -> Changes {
        self.changes
    }

    /// Takes over what a draft on top of this one changed.
    pub fn absorb(&mut self, later: Changes) {
        if later.counters.is_some() {
            self.changes.counters = later.counters;
        }
        // Not `append`, which moves all that was there already.
        self.changes.tasks.extend(later.tasks);
        self.changes.grants.extend(later.grants);
        self.changes.teams.extend(later.teams);
        self.changes.trains.extend(later.trains);
        self.changes.cars.extend(later.cars);
        self.changes.verdicts.extend(later.verdicts);
    }

    /// Sets the counters.
    pub fn put_counters(&mut self, counters: Counters) {
        self.changes.counters = Some(counters);
    }

    /// Sets a task.
    pub fn put_task(&mut self, task: Task) {
        self.changes.tasks.insert(task.summary.id.clone(), task);
    }

    /// Sets a grant.
    pub fn put_grant(&mut self, grant: Grant) {
        self.changes.grants.insert(grant.fence(), Some(grant));
    }

    /// Removes a grant.
    pub fn remove_grant(&mut self, fence: Fence) {
        self.changes.grants.insert(fence, None);
    }

    /// Sets a team.
    pub fn put_team(&mut self, team: Team) {
        self.changes.teams.insert(team.name.clone(), Some(team));
    }

    /// Removes a team.
    pub fn remove_team(&mut self, name: &TeamName) {
        self.changes.teams.insert(name.clone(), None);
    }

    /// Sets a train.
    pub fn put_train(&mut self, train: Train) {
        self.changes.trains.insert(train.target.clone(), train);
    }

    /// Sets a car.
    pub fn put_car(&mut self, car: Car) {
        self.changes.cars.insert((car.target.clone(), car.id.clone()), car);
    }

    /// Sets what is known of a tree.
    pub fn put_verdict(&mut self, verdict: VerdictRecord) {
        self.changes.verdicts.insert(verdict.tree.clone(), verdict);
    }
}

impl<B: Board> Board for Draft<'_, B> {
    type Fault = B::Fault;

    fn counters(&self) -> Result<Option<Counters>, B::Fault> {
        match &self.changes.counters {
            Some(counters) => Ok(Some(counters.clone())),
            None => self.base.counters(),
        }
    }

    fn task(&self, id: &TaskId) -> Result<Option<Task>, B::Fault> {
        match self.changes.tasks.get(id) {
            Some(task) => Ok(Some(task.clone())),
            None => self.base.task(id),
        }
    }

    fn visit_open(&self, which: OpenTasks, priority: Priority, visit: TaskVisitor<'_>) -> Result<(), B::Fault> {
        // Changed tasks are visited where their age puts them; what the base still says of them is passed over.
        let changed = self.changes.tasks.values().map(|task| &task.summary);
        let mut pending: BTreeMap<u64, &Summary> = changed
            .filter(|summary| summary.priority == priority && which.contains(summary.state))
            .map(|summary| (summary.seq, summary))
            .collect();
        let mut flow = ControlFlow::Continue(());
        self.base.visit_open(which, priority, &mut |summary| {
            while let Some(entry) = pending.first_entry().filter(|entry| *entry.key() < summary.seq) {
                flow = visit(entry.remove());
                if flow.is_break() {
                    return flow;
                }
            }
            if !self.changes.tasks.contains_key(&summary.id) {
                flow = visit(summary);
            }
            flow
        })?;
        for summary in pending.into_values() {
            if flow.is_break() {
                break;
            }
            flow = visit(summary);
        }
        Ok(())
    }

    fn grants(&self) -> Result<Vec<Rc<Grant>>, B::Fault> {
        let mut grants = self.base.grants()?;
        if !self.changes.grants.is_empty() {
            grants.retain(|grant| !self.changes.grants.contains_key(&grant.fence()));
            grants.extend(self.changes.grants.values().flatten().cloned().map(Rc::new));
            grants.sort_by_key(|grant| grant.fence());
        }
        Ok(grants)
    }

    fn grant(&self, fence: Fence) -> Result<Option<Grant>, B::Fault> {
        match self.changes.grants.get(&fence) {
            Some(grant) => Ok(grant.clone()),
            None => self.base.grant(fence),
        }
    }

    fn team(&self, name: &TeamName) -> Result<Option<Team>, B::Fault> {
        match self.changes.teams.get(name) {
            Some(team) => Ok(team.clone()),
            None => self.base.team(name),
        }
    }

    fn teams(&self) -> Result<Vec<Team>, B::Fault> {
        let base = self.base.teams()?.into_iter().filter(|team| !self.changes.teams.contains_key(&team.name));
        let mut teams: Vec<Team> = base.chain(self.changes.teams.values().flatten().cloned()).collect();
        teams.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(teams)
    }

    fn train(&self, target: &Branch) -> Result<Option<Train>, B::Fault> {
        match self.changes.trains.get(target) {
            Some(train) => Ok(Some(train.clone())),
            None => self.base.train(target),
        }
    }

    fn trains(&self) -> Result<Vec<Train>, B::Fault> {
        let base = self.base.trains()?.into_iter().filter(|train| !self.changes.trains.contains_key(&train.target));
        let mut trains: Vec<Train> = base.chain(self.changes.trains.values().cloned()).collect();
        trains.sort_by(|a, b| a.target.cmp(&b.target));
        Ok(trains)
    }

    fn open_cars(&self, target: &Branch) -> Result<Vec<Car>, B::Fault> {
        let changed: BTreeSet<&CarId> =
            self.changes.cars.keys().filter(|(of, _)| of == target).map(|(_, id)| id).collect();
        let base = self.base.open_cars(target)?.into_iter().filter(|car| !changed.contains(&car.id));
        let ours = self.changes.cars.values().filter(|car| car.target == *target && car.state.is_open()).cloned();
        let mut cars: Vec<Car> = base.chain(ours).collect();
        cars.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(cars)
    }

    fn car(&self, target: &Branch, id: &CarId) -> Result<Option<Car>, B::Fault> {
        match self.changes.cars.get(&(target.clone(), id.clone())) {
            Some(car) => Ok(Some(car.clone())),
            None => self.base.car(target, id),
        }
    }

    fn verdict(&self, tree: &ObjectId) -> Result<Option<VerdictRecord>, B::Fault> {
        match self.changes.verdicts.get(tree) {
            Some(verdict) => Ok(Some(verdict.clone())),
            None => self.base.verdict(tree),
        }
    }
}

/// A board in memory: what tests and the simulator's checkers read, and the simplest implementation of [`Board`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryBoard(Changes);

impl MemoryBoard {
    /// Makes `changes` part of the board.
    pub fn apply(&mut self, changes: Changes) {
        let mut draft = Draft { base: &EmptyBoard, changes: std::mem::take(&mut self.0) };
        draft.absorb(changes);
        self.0 = draft.changes;
        self.0.grants.retain(|_, grant| grant.is_some());
        self.0.teams.retain(|_, team| team.is_some());
    }

    /// Every task, open and closed, by id.
    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.0.tasks.values()
    }

    /// Every car, open and not.
    pub fn cars(&self) -> impl Iterator<Item = &Car> {
        self.0.cars.values()
    }

    fn view(&self) -> Draft<'_, EmptyBoard> {
        Draft { base: &EmptyBoard, changes: self.0.clone() }
    }
}

/// A board that was not created.
struct EmptyBoard;

impl Board for EmptyBoard {
    type Fault = std::convert::Infallible;

    fn counters(&self) -> Result<Option<Counters>, Self::Fault> {
        Ok(None)
    }
    fn task(&self, _: &TaskId) -> Result<Option<Task>, Self::Fault> {
        Ok(None)
    }
    fn visit_open(&self, _: OpenTasks, _: Priority, _: TaskVisitor<'_>) -> Result<(), Self::Fault> {
        Ok(())
    }
    fn grants(&self) -> Result<Vec<Rc<Grant>>, Self::Fault> {
        Ok(Vec::new())
    }
    fn grant(&self, _: Fence) -> Result<Option<Grant>, Self::Fault> {
        Ok(None)
    }
    fn team(&self, _: &TeamName) -> Result<Option<Team>, Self::Fault> {
        Ok(None)
    }
    fn teams(&self) -> Result<Vec<Team>, Self::Fault> {
        Ok(Vec::new())
    }
    fn train(&self, _: &Branch) -> Result<Option<Train>, Self::Fault> {
        Ok(None)
    }
    fn trains(&self) -> Result<Vec<Train>, Self::Fault> {
        Ok(Vec::new())
    }
    fn open_cars(&self, _: &Branch) -> Result<Vec<Car>, Self::Fault> {
        Ok(Vec::new())
    }
    fn car(&self, _: &Branch, _: &CarId) -> Result<Option<Car>, Self::Fault> {
        Ok(None)
    }
    fn verdict(&self, _: &ObjectId) -> Result<Option<VerdictRecord>, Self::Fault> {
        Ok(None)
    }
}

impl Board for MemoryBoard {
    type Fault = std::convert::Infallible;

    fn counters(&self) -> Result<Option<Counters>, Self::Fault> {
        Ok(self.0.counters.clone())
    }
    fn task(&self, id: &TaskId) -> Result<Option<Task>, Self::Fault> {
        Ok(self.0.tasks.get(id).cloned())
    }
    fn visit_open(&self, which: OpenTasks, priority: Priority, visit: TaskVisitor<'_>) -> Result<(), Self::Fault> {
        self.view().visit_open(which, priority, visit)
    }
    fn grants(&self) -> Result<Vec<Rc<Grant>>, Self::Fault> {
        self.view().grants()
    }
    fn grant(&self, fence: Fence) -> Result<Option<Grant>, Self::Fault> {
        Ok(self.0.grants.get(&fence).cloned().flatten())
    }
    fn team(&self, name: &TeamName) -> Result<Option<Team>, Self::Fault> {
        Ok(self.0.teams.get(name).cloned().flatten())
    }
    fn teams(&self) -> Result<Vec<Team>, Self::Fault> {
        self.view().teams()
    }
    fn train(&self, target: &Branch) -> Result<Option<Train>, Self::Fault> {
        Ok(self.0.trains.get(target).cloned())
    }
    fn trains(&self) -> Result<Vec<Train>, Self::Fault> {
        self.view().trains()
    }
    fn open_cars(&self, target: &Branch) -> Result<Vec<Car>, Self::Fault> {
        let open = self.0.cars.values().filter(|car| car.target == *target && car.state.is_open());
        Ok(open.cloned().collect())
    }
    fn car(&self, target: &Branch, id: &CarId) -> Result<Option<Car>, Self::Fault> {
        Ok(self.0.cars.get(&(target.clone(), id.clone())).cloned())
    }
    fn verdict(&self, tree: &ObjectId) -> Result<Option<VerdictRecord>, Self::Fault> {
        Ok(self.0.verdicts.get(tree).cloned())
    }
}
