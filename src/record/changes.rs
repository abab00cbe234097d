//! Changes of the board as one batch: every record that becomes another, and no other.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::board::LedgerBoard;
use super::shelf::{Edits, Shelves, numbered, spread};
use super::tasks::{Closed, Detail, Head, HeadPlace, Held};
use super::{encode, keys};
use crate::domain::board::{Board, Changes};
use crate::domain::{Car, Fence, Task};
use crate::ledger::{Batch, Fault, Key, Store};

/// The batch that makes `changes` of `board`.
pub fn encode_changes<S: Store>(board: &LedgerBoard<'_, '_, S>, changes: &Changes) -> Result<Batch, Fault> {
    let mut batch = Batch::default();
    if let Some(counters) = &changes.counters {
        put(&mut batch, keys::meta(), Some(counters))?;
    }
    let in_hand = put_tasks(board, &mut batch, changes)?;
    put_grants(board, &mut batch, changes, in_hand)?;
    for (name, team) in &changes.teams {
        put(&mut batch, keys::team(name), team.as_ref())?;
    }
    for (target, train) in &changes.trains {
        put(&mut batch, keys::train(target), Some(train))?;
    }
    put_cars(board, &mut batch, changes)?;
    let mut verdicts = Shelves::default();
    for (tree, verdict) in &changes.verdicts {
        verdicts.edit(keys::verdicts().shelf(tree.as_str()), spread(tree.as_str()), Some(verdict.clone()));
    }
    verdicts.write(board.snapshot(), &mut batch)?;
    Ok(batch)
}

fn put<T: Serialize>(batch: &mut Batch, key: Key, value: Option<&T>) -> Result<(), Fault> {
    match value {
        Some(value) => {
            let text = encode(key.as_str(), value)?;
            batch.put(key, text);
        }
        None => batch.delete(key),
    }
    Ok(())
}

/// The heads of tasks in somebody's hands as they are now, by fence; `None` where the task has left the hand.
type InHand = BTreeMap<Fence, Option<Head>>;

fn put_tasks<S: Store>(board: &LedgerBoard<'_, '_, S>, batch: &mut Batch, changes: &Changes) -> Result<InHand, Fault> {
    let (mut heads, mut details, mut closed) = (Shelves::default(), Shelves::default(), Shelves::default());
    let mut in_hand = InHand::new();
    for (id, task) in &changes.tasks {
        let before = board.task(id)?;
        let was_closed = before.as_ref().is_some_and(|task| task.summary.state.is_closed());
        let is_closed = task.summary.state.is_closed();
        let old = before.as_ref().filter(|_| !was_closed).map(Detail::of);
        let new = (!is_closed).then(|| Detail::of(task));
        if old != new {
            details.edit(keys::tasks().shelf(id.as_str()), spread(id.as_str()), new);
        }
        if is_closed || was_closed {
            let record = is_closed.then(|| Closed(task.clone()));
            closed.edit(keys::closed().shelf(id.as_str()), spread(id.as_str()), record);
        }
        place_is_free(board, before.as_ref(), task)?;
        move_head(&mut heads, &mut in_hand, before.as_ref(), task);
    }
    heads.write(board.snapshot(), batch)?;
    details.write(board.snapshot(), batch)?;
    closed.write(board.snapshot(), batch)?;
    Ok(in_hand)
}

/// Refuses to put a head where that of another task is: counters that are behind would make tasks vanish.
fn place_is_free<S: Store>(board: &LedgerBoard<'_, '_, S>, before: Option<&Task>, task: &Task) -> Result<(), Fault> {
    let to = HeadPlace::of(&task.summary);
    if before.is_some_and(|before| HeadPlace::of(&before.summary) == to) {
        return Ok(());
    }
    match board.head_at(to, task.summary.seq)? {
        Some(other) if other.summary.id != task.summary.id => {
            let (id, other) = (&task.summary.id, &other.summary.id);
            Err(Fault::integrity(format!("tasks {id} and {other} would have the same place")))
        }
        _ => Ok(()),
    }
}

fn move_head(heads: &mut Shelves<Head>, in_hand: &mut InHand, before: Option<&Task>, task: &Task) {
    let from = before.map_or(HeadPlace::Nowhere, |before| HeadPlace::of(&before.summary));
    let to = HeadPlace::of(&task.summary);
    let head = Head::of(task);
    if from == to && before.map(Head::of).as_ref() == Some(&head) {
        return;
    }
    let key = numbered(task.summary.seq);
    if from != to {
        if let HeadPlace::Held(fence) = from {
            in_hand.entry(fence).or_insert(None);
        } else if let Some(shelf) = from.shelf() {
            heads.edit(shelf, key.clone(), None);
        }
    }
    if let HeadPlace::Held(fence) = to {
        in_hand.insert(fence, Some(head));
    } else if let Some(shelf) = to.shelf() {
        heads.edit(shelf, key, Some(head));
    }
}

fn put_grants<S: Store>(
    board: &LedgerBoard<'_, '_, S>,
    batch: &mut Batch,
    changes: &Changes,
    mut in_hand: InHand,
) -> Result<(), Fault> {
    let fences: BTreeSet<Fence> = changes.grants.keys().chain(in_hand.keys()).copied().collect();
    let mut edits: Edits<Held> = BTreeMap::new();
    for fence in fences {
        let before = board.held()?.iter().find(|held| held.grant.fence() == fence);
        let grant = match changes.grants.get(&fence) {
            Some(grant) => grant.clone(),
            None => before.map(|held| held.grant.clone()),
        };
        let task = in_hand.remove(&fence).unwrap_or_else(|| before.and_then(|held| held.task.clone()));
        if let (Some(before), Some(grant)) = (before, &grant)
            && (before.grant.task(), before.grant.holder()) != (grant.task(), grant.holder())
        {
            return Err(Fault::integrity(format!("fence {fence} was granted before, to {}", before.grant.holder())));
        }
        let orphan = grant.is_none() && task.is_some();
        let held = grant.map(|grant| Held { grant, task });
        if orphan || held.as_ref().is_some_and(|held| !held.agrees()) {
            return Err(Fault::integrity(format!("the grant with fence {fence} would contradict its task")));
        }
        edits.insert(numbered(fence.0), held);
    }
    if edits.is_empty() { Ok(()) } else { keys::grants().edit(board.snapshot(), batch, edits) }
}

fn put_cars<S: Store>(board: &LedgerBoard<'_, '_, S>, batch: &mut Batch, changes: &Changes) -> Result<(), Fault> {
    let mut gone: Shelves<Car> = Shelves::default();
    for ((target, id), car) in &changes.cars {
        let before = board.car(target, id)?;
        let was_open = before.as_ref().is_some_and(|car| car.state.is_open());
        let was_gone = before.as_ref().is_some_and(|car| !car.state.is_open());
        let is_open = car.state.is_open();
        if is_open {
            put(batch, keys::open_car(target, id), Some(car))?;
        } else if was_open {
            batch.delete(keys::open_car(target, id));
        }
        if !is_open || was_gone {
            let record = (!is_open).then(|| car.clone());
            gone.edit(keys::gone_cars(target).shelf(id.as_str()), spread(id.as_str()), record);
        }
    }
    gone.write(board.snapshot(), batch)
}
