//! The whole board at once, for whoever checks it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::board::{LedgerBoard, closed_task, sound_car};
use super::keys;
use super::tasks::{Closed, Detail};
use crate::domain::board::{Board, Changes, MemoryBoard, OpenTasks};
use crate::domain::{Car, Priority, Summary, TaskId, VerdictRecord};
use crate::ledger::{Fault, Snapshot, Store};

/// The whole board, every record of it, and where its parts disagree.
pub fn load_board<S: Store>(snapshot: &Snapshot<'_, S>) -> Result<(MemoryBoard, Vec<String>), Fault> {
    let board = LedgerBoard::new(Some(snapshot));
    let mut changes = Changes { counters: board.counters()?, ..Changes::default() };
    let mut astray = Vec::new();
    let mut heads = heads(&board, &mut astray)?;
    for detail in all::<Detail, S>(snapshot, keys::tasks())? {
        match heads.remove(&detail.id) {
            Some(head) if (head.seq, head.priority) == (detail.seq, detail.priority) => {}
            Some(_) => astray.push(format!("task {} is not where its detail says", detail.id)),
            None => astray.push(format!("task {} is open and nowhere to be found", detail.id)),
        }
        if let Some(task) = board.task(&detail.id)? {
            changes.tasks.insert(detail.id, task);
        }
    }
    astray.extend(heads.keys().map(|id| format!("task {id} has no detail")));
    for closed in all::<Closed, S>(snapshot, keys::closed())? {
        let task = closed_task(closed)?;
        let id = task.summary.id.clone();
        if changes.tasks.insert(id.clone(), task).is_some() {
            astray.push(format!("task {id} is open and closed"));
        }
    }
    changes.grants = board.grants()?.into_iter().map(|grant| (grant.fence(), Some((*grant).clone()))).collect();
    changes.teams = board.teams()?.into_iter().map(|team| (team.name.clone(), Some(team))).collect();
    for train in board.trains()? {
        let gone = all::<Car, S>(snapshot, keys::gone_cars(&train.target))?;
        let gone = gone.into_iter().map(|car| sound_car(car, Some(&train.target)));
        for car in board.open_cars(&train.target)?.into_iter().map(Ok).chain(gone) {
            let car = car?;
            let id = car.id.clone();
            if changes.cars.insert((car.target.clone(), id.clone()), car).is_some() {
                astray.push(format!("car {id} is open and gone"));
            }
        }
        changes.trains.insert(train.target.clone(), train);
    }
    for verdict in all::<VerdictRecord, S>(snapshot, keys::verdicts())? {
        changes.verdicts.insert(verdict.tree.clone(), verdict);
    }
    let mut loaded = MemoryBoard::default();
    loaded.apply(changes);
    Ok((loaded, astray))
}

fn all<T: super::shelf::Shelved, S: Store>(snapshot: &Snapshot<'_, S>, spread: keys::Spread) -> Result<Vec<T>, Fault> {
    let mut all = Vec::new();
    spread.each(snapshot, |record| {
        all.push(record);
        Ok(())
    })?;
    Ok(all)
}

/// What the heads of all open tasks say.
fn heads<S: Store>(
    board: &LedgerBoard<'_, '_, S>,
    astray: &mut Vec<String>,
) -> Result<BTreeMap<TaskId, Summary>, Fault> {
    let mut heads: BTreeMap<TaskId, Summary> = BTreeMap::new();
    for which in [OpenTasks::Queued, OpenTasks::Waiting] {
        for priority in Priority::ALL {
            board.visit_open(which, priority, &mut |summary| {
                if heads.insert(summary.id.clone(), summary.clone()).is_some() {
                    astray.push(format!("task {} has two heads", summary.id));
                }
                ControlFlow::Continue(())
            })?;
        }
    }
    Ok(heads)
}
