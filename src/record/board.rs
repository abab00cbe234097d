//! The board on a ledger, read on demand.
//!
//! A claim must cost the same on a board of a hundred thousand tasks as on one of a hundred, so nothing here reads more
//! than what is asked for.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::rc::Rc;

use serde::de::DeserializeOwned;

use super::shelf::{NUMBER_MAX, Shelf, Shelved, numbered, spread};
use super::tasks::{Closed, Detail, Head, HeadPlace, Held};
use super::{decode, keys};
use crate::domain::board::{Board, Counters, OpenTasks, TaskVisitor};
use crate::domain::{
    Branch, Car, CarId, Fence, Grant, ObjectId, Priority, Summary, Task, TaskId, Team, TeamName, Train, VerdictRecord,
};
use crate::ledger::{Fault, Key, Snapshot, Store};

/// The board in one version of its ledger.
pub struct LedgerBoard<'a, 's, S: Store> {
    /// `None` where the board was not created.
    snapshot: Option<&'a Snapshot<'s, S>>,
    /// All grants, once they were read: most questions need them, and some need them often.
    held: OnceCell<Vec<Held>>,
    /// The same, as they are given away.
    grants: OnceCell<Vec<Rc<Grant>>>,
}

impl<'a, 's, S: Store> LedgerBoard<'a, 's, S> {
    /// The board in `snapshot`, or one that was not created yet.
    pub fn new(snapshot: Option<&'a Snapshot<'s, S>>) -> Self {
        LedgerBoard { snapshot, held: OnceCell::new(), grants: OnceCell::new() }
    }

    pub(super) fn snapshot(&self) -> Option<&'a Snapshot<'s, S>> {
        self.snapshot
    }

    fn get<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, Fault> {
        let Some(snapshot) = self.snapshot else { return Ok(None) };
        snapshot.get(key)?.map(|value| decode(key.as_str(), &value)).transpose()
    }

    /// The record at `key`, which must be its `own` one: another would be changed in the place of this.
    fn get_own<T: DeserializeOwned>(&self, key: &Key, own: impl Fn(&T) -> Key) -> Result<Option<T>, Fault> {
        let found: Option<T> = self.get(key)?;
        match found.as_ref().map(own).filter(|own| own != key) {
            Some(own) => Err(Fault::integrity(format!("{key} holds the record of {own}"))),
            None => Ok(found),
        }
    }

    /// Every record directly in a directory, as `get` reads it.
    fn all<T>(&self, directory: &str, get: impl Fn(&Key) -> Result<Option<T>, Fault>) -> Result<Vec<T>, Fault> {
        let Some(snapshot) = self.snapshot else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for name in snapshot.names(directory)? {
            all.extend(get(&Key::new(format!("{directory}/{name}")))?);
        }
        Ok(all)
    }

    fn team_at(&self, key: &Key) -> Result<Option<Team>, Fault> {
        self.get_own(key, |team: &Team| keys::team(&team.name))
    }

    fn train_at(&self, key: &Key) -> Result<Option<Train>, Fault> {
        let train = self.get_own(key, |train: &Train| keys::train(&train.target))?;
        match train.as_ref().map(|train| train.next_position).filter(|next| *next >= NUMBER_MAX) {
            Some(next) => Err(Fault::integrity(format!("the positions of {key} are at their end, {next}"))),
            None => Ok(train),
        }
    }

    fn open_car_at(&self, key: &Key) -> Result<Option<Car>, Fault> {
        let car = self.get_own(key, |car: &Car| keys::open_car(&car.target, &car.id))?;
        car.map(|car| sound_car(car, None)).transpose()
    }

    fn find<T: Shelved>(&self, shelf: &Shelf, key: &str) -> Result<Option<T>, Fault> {
        self.snapshot.map_or(Ok(None), |snapshot| shelf.find(snapshot, key))
    }

    pub(super) fn detail(&self, id: &TaskId) -> Result<Option<Detail>, Fault> {
        self.find(&keys::tasks().shelf(id.as_str()), &spread(id.as_str()))
    }

    pub(super) fn held(&self) -> Result<&[Held], Fault> {
        if let Some(held) = self.held.get() {
            return Ok(held);
        }
        let mut all = Vec::new();
        if let Some(snapshot) = self.snapshot {
            keys::grants().each(snapshot, |held: Held| {
                all.push(held);
                Ok(())
            })?;
        }
        if let Some(wrong) = all.iter().find(|held| !held.agrees()) {
            return Err(Fault::integrity(format!("the grant with fence {} contradicts itself", wrong.grant.fence())));
        }
        let mut claimed = BTreeSet::new();
        if let Some(twice) = all.iter().filter_map(|held| held.grant.task()).find(|task| !claimed.insert(*task)) {
            return Err(Fault::integrity(format!("task {twice} is claimed twice")));
        }
        Ok(self.held.get_or_init(|| all))
    }

    /// The head that nobody holds, if there is one at this place.
    pub(super) fn head_at(&self, place: HeadPlace, seq: u64) -> Result<Option<Head>, Fault> {
        place.shelf().map_or(Ok(None), |shelf| self.find(&shelf, &numbered(seq)))
    }

    /// The head of the task of `detail`, which is open.
    fn head(&self, detail: &Detail) -> Result<Head, Fault> {
        for place in [HeadPlace::Queued(detail.priority), HeadPlace::Blocked(detail.priority)] {
            if let Some(head) = self.head_at(place, detail.seq)? {
                suiting(&head.summary, place)?;
                return Ok(head);
            }
        }
        let mut in_hand = self.held()?.iter().filter_map(|held| held.task.as_ref());
        let head = in_hand.find(|head| head.summary.id == detail.id);
        let head = head.filter(|head| (head.summary.seq, head.summary.priority) == (detail.seq, detail.priority));
        head.cloned().ok_or_else(|| Fault::integrity(format!("task {} is open and nowhere to be found", detail.id)))
    }

    fn stored_task(&self, id: &TaskId) -> Result<Option<Task>, Fault> {
        if let Some(detail) = self.detail(id)? {
            let head = self.head(&detail)?;
            return if head.summary.id == *id {
                Ok(Some(detail.with(head)))
            } else {
                Err(Fault::integrity(format!("tasks {id} and {} have the same place", head.summary.id)))
            };
        }
        let closed: Option<Closed> = self.find(&keys::closed().shelf(id.as_str()), &spread(id.as_str()))?;
        closed.map(closed_task).transpose()
    }

    fn visit_heads(&self, place: HeadPlace, visit: TaskVisitor<'_>) -> Result<(), Fault> {
        let (Some(snapshot), Some(shelf)) = (self.snapshot, place.shelf()) else { return Ok(()) };
        let visited = shelf.visit(snapshot, |task| {
            suiting(&task, place)?;
            Ok(visit(&task))
        });
        visited.map(|_| ())
    }
}

/// Whether the task may have its head where it was found.
fn suiting(task: &Summary, place: HeadPlace) -> Result<(), Fault> {
    if place.suits(task) {
        return Ok(());
    }
    let (id, state) = (&task.id, task.state);
    Err(Fault::integrity(format!("task {id} is {state} and stands among others ({place:?})")))
}

impl<S: Store> Board for LedgerBoard<'_, '_, S> {
    type Fault = Fault;

    fn counters(&self) -> Result<Option<Counters>, Fault> {
        let counters: Option<Counters> = self.get(&keys::meta())?;
        let last = |counters: &Counters| counters.fence.0.max(counters.seq).max(counters.numbered);
        match counters.as_ref().map(last).filter(|last| *last >= NUMBER_MAX) {
            Some(last) => Err(Fault::integrity(format!("the counters of the board are at their end, {last}"))),
            None => Ok(counters),
        }
    }

    fn task(&self, id: &TaskId) -> Result<Option<Task>, Fault> {
        let task = self.stored_task(id)?;
        // The rules go from a grant to its task and must find what the grant says, or nothing they do makes sense.
        let held = self.held()?.iter().map(|held| &held.grant).find(|grant| grant.task() == Some(id));
        match (held.map(Grant::fence), &task) {
            (Some(fence), Some(task)) if task.summary.claim != Some(fence) => {
                let state = task.summary.state;
                Err(Fault::integrity(format!("task {id} is {state}, and claimed under fence {fence}")))
            }
            (Some(fence), None) => {
                Err(Fault::integrity(format!("task {id} is claimed under fence {fence}, and has no detail")))
            }
            (_, Some(task)) if task.grants == u32::MAX || task.failures == u32::MAX => {
                Err(Fault::integrity(format!("task {id} was claimed or failed more often than can be counted")))
            }
            _ => Ok(task),
        }
    }

    fn visit_open(&self, which: OpenTasks, priority: Priority, visit: TaskVisitor<'_>) -> Result<(), Fault> {
        if which == OpenTasks::Queued {
            return self.visit_heads(HeadPlace::Queued(priority), visit);
        }
        let in_hand = self.held()?.iter().filter_map(|held| Some(&held.task.as_ref()?.summary));
        let mut in_hand: Vec<_> = in_hand.filter(|task| task.priority == priority).collect();
        in_hand.sort_by_key(|task| task.seq);
        let mut in_hand = in_hand.into_iter().peekable();
        let mut flow = ControlFlow::Continue(());
        self.visit_heads(HeadPlace::Blocked(priority), &mut |blocked| {
            while let (true, Some(older)) = (flow.is_continue(), in_hand.next_if(|task| task.seq < blocked.seq)) {
                flow = visit(older);
            }
            if flow.is_continue() {
                flow = visit(blocked);
            }
            flow
        })?;
        if flow.is_continue() {
            let _ = in_hand.try_for_each(visit);
        }
        Ok(())
    }

    fn grants(&self) -> Result<Vec<Rc<Grant>>, Fault> {
        let held = self.held()?;
        let share = || held.iter().map(|held| Rc::new(held.grant.clone())).collect();
        Ok(self.grants.get_or_init(share).clone())
    }

    fn grant(&self, fence: Fence) -> Result<Option<Grant>, Fault> {
        if let Some(held) = self.held.get() {
            return Ok(held.iter().find(|held| held.grant.fence() == fence).map(|held| held.grant.clone()));
        }
        // Whoever only wants to know of this one does not read hundreds of others.
        let held: Option<Held> = self.find(&keys::grants(), &numbered(fence.0))?;
        match held {
            Some(held) if !held.agrees() => {
                Err(Fault::integrity(format!("the grant with fence {fence} contradicts itself")))
            }
            held => Ok(held.map(|held| held.grant)),
        }
    }

    fn team(&self, name: &TeamName) -> Result<Option<Team>, Fault> {
        self.team_at(&keys::team(name))
    }

    fn teams(&self) -> Result<Vec<Team>, Fault> {
        self.all(keys::TEAMS, |key| self.team_at(key))
    }

    fn train(&self, target: &Branch) -> Result<Option<Train>, Fault> {
        self.train_at(&keys::train(target))
    }

    fn trains(&self) -> Result<Vec<Train>, Fault> {
        let Some(snapshot) = self.snapshot else { return Ok(Vec::new()) };
        let mut trains: Vec<Train> = Vec::new();
        for name in snapshot.names(keys::TRAINS)? {
            trains.extend(self.train_at(&Key::new(format!("{}/{name}/train", keys::TRAINS)))?);
        }
        trains.sort_by(|a, b| a.target.cmp(&b.target));
        Ok(trains)
    }

    fn open_cars(&self, target: &Branch) -> Result<Vec<Car>, Fault> {
        let mut cars = self.all(&keys::open_cars(target), |key| self.open_car_at(key))?;
        cars.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(cars)
    }

    fn car(&self, target: &Branch, id: &CarId) -> Result<Option<Car>, Fault> {
        if let Some(car) = self.open_car_at(&keys::open_car(target, id))? {
            return Ok(Some(car));
        }
        let gone: Option<Car> = self.find(&keys::gone_cars(target).shelf(id.as_str()), &spread(id.as_str()))?;
        gone.map(|car| sound_car(car, Some(target))).transpose()
    }

    fn verdict(&self, tree: &ObjectId) -> Result<Option<VerdictRecord>, Fault> {
        self.find(&keys::verdicts().shelf(tree.as_str()), &spread(tree.as_str()))
    }
}

pub(super) fn closed_task(Closed(task): Closed) -> Result<Task, Fault> {
    let (id, state) = (&task.summary.id, task.summary.state);
    if !state.is_closed() {
        return Err(Fault::integrity(format!("task {id} is {state} and stands among closed ones")));
    }
    if task.summary.claim.is_some() || task.held_back {
        return Err(Fault::integrity(format!("task {id} is {state}, and claimed or blocked all the same")));
    }
    Ok(task)
}

/// The car, if it may be where it was found: among those of a target that are gone, or else among open ones.
pub(super) fn sound_car(car: Car, gone_from: Option<&Branch>) -> Result<Car, Fault> {
    let (id, state) = (&car.id, car.state);
    if state.is_open() == gone_from.is_some() || gone_from.is_some_and(|target| car.target != *target) {
        return Err(Fault::integrity(format!("car {id} is {state} for {} and stands among others", car.target)));
    }
    if car.inconclusive == u32::MAX {
        return Err(Fault::integrity(format!("car {id} was tested more often than can be counted")));
    }
    Ok(car)
}

impl Shelved for Car {
    fn shelf_key(&self) -> String {
        spread(self.id.as_str())
    }
}

impl Shelved for VerdictRecord {
    fn shelf_key(&self) -> String {
        spread(self.tree.as_str())
    }
}

/// Visits every closed task, in no order that means anything.
pub fn load_closed<S: Store>(board: &LedgerBoard<'_, '_, S>, mut visit: impl FnMut(&Task)) -> Result<(), Fault> {
    let Some(snapshot) = board.snapshot else { return Ok(()) };
    keys::closed().each(snapshot, |closed: Closed| {
        visit(&closed_task(closed)?);
        Ok(())
    })
}
