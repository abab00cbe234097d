//! The board on a ledger: reads records on demand, and turns changes into one batch.
//!
//! A claim must cost the same on a board of a hundred thousand tasks as on one of a hundred, so nothing here reads more
//! than what is asked for. Besides the records there is a derived index, which is kept in step here and nowhere else:
//! summaries of open tasks by priority and age, those that may be claimed apart from those that may not.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{decode, encode, keys};
use crate::domain::board::{Board, Changes, Counters, MemoryBoard, OpenTasks, TaskVisitor};
use crate::domain::{
    Branch, Car, CarId, Fence, Grant, ObjectId, Priority, Summary, Task, TaskId, Team, TeamName, Train, VerdictRecord,
};
use crate::ledger::{Batch, Fault, Key, Snapshot, Store};

#[derive(Default, Serialize, Deserialize)]
struct TaskChunk {
    #[serde(default)]
    task: Vec<Summary>,
}

#[derive(Default, Serialize, Deserialize)]
struct GrantChunk {
    #[serde(default)]
    grant: Vec<Grant>,
}

/// The board in one version of its ledger; `None` where it was not created.
pub struct LedgerBoard<'a, 's, S: Store>(pub Option<&'a Snapshot<'s, S>>);

impl<S: Store> LedgerBoard<'_, '_, S> {
    fn get<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, Fault> {
        let Some(snapshot) = self.0 else { return Ok(None) };
        snapshot.get(key)?.map(|value| decode(key.as_str(), &value)).transpose()
    }

    /// Visits every record below `prefix`, decoded.
    fn scan<T: DeserializeOwned>(
        &self,
        prefix: &str,
        mut visit: impl FnMut(&str, T) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let Some(snapshot) = self.0 else { return Ok(()) };
        let mut fault = None;
        snapshot.scan(prefix, &mut |key, value| match decode(key, value) {
            Ok(record) => visit(key, record),
            Err(unreadable) => {
                fault = Some(unreadable);
                ControlFlow::Break(())
            }
        })?;
        fault.map_or(Ok(()), Err)
    }

    fn all<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<T>, Fault> {
        let mut all = Vec::new();
        self.scan(prefix, |_, record| {
            all.push(record);
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }
}

impl<S: Store> Board for LedgerBoard<'_, '_, S> {
    type Fault = Fault;

    fn counters(&self) -> Result<Option<Counters>, Fault> {
        self.get(&keys::meta())
    }

    fn task(&self, id: &TaskId) -> Result<Option<Task>, Fault> {
        match self.get(&keys::task(id, false))? {
            Some(task) => Ok(Some(task)),
            None => self.get(&keys::task(id, true)),
        }
    }

    fn visit_open(&self, which: OpenTasks, priority: Priority, visit: TaskVisitor<'_>) -> Result<(), Fault> {
        self.scan(&keys::index(which, priority), |_, chunk: TaskChunk| {
            for summary in &chunk.task {
                if visit(summary).is_break() {
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })
    }

    fn grants(&self) -> Result<Vec<Grant>, Fault> {
        Ok(self.all::<GrantChunk>(keys::GRANTS)?.into_iter().flat_map(|chunk| chunk.grant).collect())
    }

    fn grant(&self, fence: Fence) -> Result<Option<Grant>, Fault> {
        let chunk: Option<GrantChunk> = self.get(&keys::grant_chunk(fence))?;
        Ok(chunk.and_then(|chunk| chunk.grant.into_iter().find(|grant| grant.fence() == fence)))
    }

    fn team(&self, name: &TeamName) -> Result<Option<Team>, Fault> {
        self.get(&keys::team(name))
    }

    fn teams(&self) -> Result<Vec<Team>, Fault> {
        self.all(keys::TEAMS)
    }

    fn train(&self, target: &Branch) -> Result<Option<Train>, Fault> {
        self.get(&keys::train(target))
    }

    fn trains(&self) -> Result<Vec<Train>, Fault> {
        let Some(snapshot) = self.0 else { return Ok(Vec::new()) };
        let mut trains = Vec::new();
        let mut fault = None;
        snapshot.scan(keys::TRAINS, &mut |key, value| {
            if key.ends_with("/train") {
                match decode(key, value) {
                    Ok(train) => trains.push(train),
                    Err(unreadable) => {
                        fault = Some(unreadable);
                        return ControlFlow::Break(());
                    }
                }
            }
            ControlFlow::Continue(())
        })?;
        trains.sort_by(|a: &Train, b: &Train| a.target.cmp(&b.target));
        fault.map_or(Ok(trains), Err)
    }

    fn open_cars(&self, target: &Branch) -> Result<Vec<Car>, Fault> {
        let mut cars: Vec<Car> = self.all(&keys::open_cars(target))?;
        cars.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(cars)
    }

    fn car(&self, target: &Branch, id: &CarId) -> Result<Option<Car>, Fault> {
        match self.get(&keys::car(target, id, true))? {
            Some(car) => Ok(Some(car)),
            None => self.get(&keys::car(target, id, false)),
        }
    }

    fn verdict(&self, tree: &ObjectId) -> Result<Option<VerdictRecord>, Fault> {
        self.get(&keys::verdict(tree))
    }
}

/// The batch that makes `changes` of `board`, with the index in step.
pub fn encode_changes<S: Store>(board: &LedgerBoard<'_, '_, S>, changes: &Changes) -> Result<Batch, Fault> {
    let mut batch = Batch::default();
    if let Some(counters) = &changes.counters {
        batch.put(keys::meta(), encode("meta", counters));
    }
    let mut index: BTreeMap<Key, ChunkEdit> = BTreeMap::new();
    for (id, task) in &changes.tasks {
        let before = board.task(id)?;
        put_task(&mut batch, before.as_ref(), task);
        note_index(&mut index, before.as_ref(), task);
    }
    for (key, edit) in index {
        let chunk: TaskChunk = board.get(&key)?.unwrap_or_default();
        put_chunk(&mut batch, key, edit.apply(chunk.task), |task| TaskChunk { task });
    }
    put_grants(board, &mut batch, changes)?;
    for (name, team) in &changes.teams {
        put_or_delete(&mut batch, keys::team(name), team.as_ref());
    }
    for (target, train) in &changes.trains {
        put_or_delete(&mut batch, keys::train(target), Some(train));
    }
    for ((target, id), car) in &changes.cars {
        let open = car.state.is_open();
        put_or_delete(&mut batch, keys::car(target, id, open), Some(car));
        if board.get::<Car>(&keys::car(target, id, !open))?.is_some() {
            batch.delete(keys::car(target, id, !open));
        }
    }
    for (tree, verdict) in &changes.verdicts {
        put_or_delete(&mut batch, keys::verdict(tree), Some(verdict));
    }
    Ok(batch)
}

fn put_or_delete<T: Serialize>(batch: &mut Batch, key: Key, value: Option<&T>) {
    match value {
        Some(value) => {
            let text = encode(key.as_str(), value);
            batch.put(key, text);
        }
        None => batch.delete(key),
    }
}

fn put_task(batch: &mut Batch, before: Option<&Task>, task: &Task) {
    let id = &task.summary.id;
    let closed = task.summary.state.is_closed();
    put_or_delete(batch, keys::task(id, closed), Some(task));
    if before.is_some_and(|before| before.summary.state.is_closed() != closed) {
        batch.delete(keys::task(id, !closed));
    }
}

/// What changes in one record of the index.
#[derive(Default)]
struct ChunkEdit {
    gone: BTreeSet<TaskId>,
    new: Vec<Summary>,
}

impl ChunkEdit {
    fn apply(self, mut tasks: Vec<Summary>) -> Vec<Summary> {
        tasks.retain(|task| !self.gone.contains(&task.id));
        tasks.extend(self.new);
        tasks.sort_by_key(|task| task.seq);
        tasks
    }
}

fn index_key(task: &Summary) -> Option<Key> {
    let which = [OpenTasks::Queued, OpenTasks::Waiting].into_iter().find(|which| which.contains(task.state))?;
    Some(keys::index_chunk(which, task.priority, task.seq))
}

fn note_index(index: &mut BTreeMap<Key, ChunkEdit>, before: Option<&Task>, task: &Task) {
    if before.is_some_and(|before| before.summary == task.summary) {
        return;
    }
    if let Some(before) = before
        && let Some(key) = index_key(&before.summary)
    {
        index.entry(key).or_default().gone.insert(before.summary.id.clone());
    }
    if let Some(key) = index_key(&task.summary) {
        index.entry(key).or_default().new.push(task.summary.clone());
    }
}

fn put_grants<S: Store>(board: &LedgerBoard<'_, '_, S>, batch: &mut Batch, changes: &Changes) -> Result<(), Fault> {
    let mut chunks: BTreeMap<Key, Vec<Grant>> = BTreeMap::new();
    for (fence, grant) in &changes.grants {
        let key = keys::grant_chunk(*fence);
        if !chunks.contains_key(&key) {
            let chunk: GrantChunk = board.get(&key)?.unwrap_or_default();
            chunks.insert(key.clone(), chunk.grant);
        }
        let chunk = chunks.get_mut(&key).expect("it was put there above");
        chunk.retain(|held| held.fence() != *fence);
        chunk.extend(grant.clone());
        chunk.sort_by_key(Grant::fence);
    }
    for (key, grants) in chunks {
        put_chunk(batch, key, grants, |grant| GrantChunk { grant });
    }
    Ok(())
}

/// Writes a record of several values, or removes it when none is left.
fn put_chunk<T, C: Serialize>(batch: &mut Batch, key: Key, values: Vec<T>, chunk: impl FnOnce(Vec<T>) -> C) {
    if values.is_empty() {
        batch.delete(key);
    } else {
        put_or_delete(batch, key, Some(&chunk(values)));
    }
}

/// The whole board, every record of it, and what the index says beside the records.
pub fn load_board<S: Store>(snapshot: &Snapshot<'_, S>) -> Result<(MemoryBoard, Vec<String>), Fault> {
    let board = LedgerBoard(Some(snapshot));
    let mut changes = Changes { counters: board.counters()?, ..Changes::default() };
    for directory in [keys::TASKS, keys::CLOSED] {
        for task in board.all::<Task>(directory)? {
            changes.tasks.insert(task.summary.id.clone(), task);
        }
    }
    changes.grants = board.grants()?.into_iter().map(|grant| (grant.fence(), Some(grant))).collect();
    changes.teams = board.teams()?.into_iter().map(|team| (team.name.clone(), Some(team))).collect();
    for train in board.trains()? {
        let prefix = keys::open_cars(&train.target);
        let gone = prefix.replace("/cars", "/gone");
        for car in board.all::<Car>(&prefix)?.into_iter().chain(board.all::<Car>(&gone)?) {
            changes.cars.insert((car.target.clone(), car.id.clone()), car);
        }
        changes.trains.insert(train.target.clone(), train);
    }
    for verdict in board.all::<VerdictRecord>(keys::VERDICTS)? {
        changes.verdicts.insert(verdict.tree.clone(), verdict);
    }
    let astray = index_disagreements(&board, &changes)?;
    let mut loaded = MemoryBoard::default();
    loaded.apply(changes);
    Ok((loaded, astray))
}

/// Visits every closed task, in no order that means anything.
pub fn load_closed<S: Store>(board: &LedgerBoard<'_, '_, S>, mut visit: impl FnMut(&Task)) -> Result<(), Fault> {
    board.scan(keys::CLOSED, |_, task: Task| {
        visit(&task);
        ControlFlow::Continue(())
    })
}

/// Where the derived index differs from the records.
fn index_disagreements<S: Store>(board: &LedgerBoard<'_, '_, S>, changes: &Changes) -> Result<Vec<String>, Fault> {
    let mut indexed: BTreeMap<TaskId, Summary> = BTreeMap::new();
    let mut astray = Vec::new();
    for which in [OpenTasks::Queued, OpenTasks::Waiting] {
        for priority in Priority::ALL {
            board.visit_open(which, priority, &mut |summary| {
                if !which.contains(summary.state) || summary.priority != priority {
                    astray.push(format!("task {} stands in the wrong part of the index", summary.id));
                }
                if indexed.insert(summary.id.clone(), summary.clone()).is_some() {
                    astray.push(format!("task {} stands in the index twice", summary.id));
                }
                ControlFlow::Continue(())
            })?;
        }
    }
    for task in changes.tasks.values().filter(|task| !task.summary.state.is_closed()) {
        match indexed.remove(&task.summary.id) {
            Some(summary) if summary == task.summary => {}
            Some(_) => astray.push(format!("the index is behind for task {}", task.summary.id)),
            None => astray.push(format!("task {} is missing from the index", task.summary.id)),
        }
    }
    astray.extend(indexed.keys().map(|id| format!("the index has {id}, which is not open")));
    Ok(astray)
}
