//! Adding, changing, blocking, cancelling and reopening tasks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Ruling, become_state, cars, close, counters, kept_reason, reconsider, task, wrong_state};
use crate::domain::board::{Board, Draft};
use crate::domain::command::{NewTask, TaskEdit};
use crate::domain::id::is_line;
use crate::domain::task::{
    BODY_BYTES_MAX, NEEDED_BY_MAX, SUMMARY_BYTES_MAX, Summary, TITLE_BYTES_MAX, Task, TaskState,
};
use crate::domain::{Operation, Outcome, Refusal, Stop, TaskId};

/// The most tasks that are looked at to find a cycle.
const CYCLE_SEARCH_MAX: usize = 100_000;

pub(super) fn add<B: Board>(draft: &mut Draft<'_, B>, operation: &Operation, new: &NewTask) -> Ruling<B::Fault> {
    let mut counters = counters(draft)?;
    let id = match &new.id {
        Some(id) if draft.task(id)?.is_some() => return Err(Stop::Refused(Refusal::TaskExists(id.clone()))),
        Some(id) => id.clone(),
        None => loop {
            counters.numbered += 1;
            let id = TaskId::parse(&counters.numbered.to_string()).expect("a number is a task id");
            if draft.task(&id)?.is_none() {
                break id;
            }
        },
    };
    counters.seq += 1;
    let mut task = Task {
        summary: Summary {
            id: id.clone(),
            seq: counters.seq,
            title: new.title.clone(),
            state: TaskState::Queued,
            priority: new.priority,
            kind: new.kind.clone(),
            size: new.size,
            labels: sorted(&new.labels),
            needs: sorted(&new.needs),
            paths: new.paths.clone(),
            claim: None,
        },
        needed_by: Vec::new(),
        created_at: operation.at,
        created_by: operation.by.clone(),
        grants: 0,
        failures: 0,
        held_back: false,
        reason: None,
        closed_at: None,
        landed_as: None,
        body: new.body.clone(),
    };
    check_text(&task)?;
    for needed in &task.summary.needs {
        add_dependant(draft, &id, needed)?;
    }
    reconsider(draft, &mut task)?;
    draft.put_counters(counters);
    draft.put_task(task);
    Ok(Outcome::Task { task: id })
}

pub(super) fn edit<B: Board>(draft: &mut Draft<'_, B>, id: &TaskId, edit: &TaskEdit) -> Ruling<B::Fault> {
    let mut task = task(draft, id)?;
    if task.summary.state.is_closed() {
        return Err(Stop::Refused(wrong_state(&task, "be changed")));
    }
    let summary = &mut task.summary;
    if let Some(title) = &edit.title {
        summary.title.clone_from(title);
    }
    summary.priority = edit.priority.unwrap_or(summary.priority);
    summary.size = edit.size.or(summary.size);
    summary.kind = edit.kind.clone().or(summary.kind.take());
    summary.labels.extend(edit.add_labels.iter().cloned());
    summary.labels = sorted(&summary.labels);
    summary.labels.retain(|label| !edit.remove_labels.contains(label));
    if let Some(paths) = &edit.paths {
        // A claim locks the paths the task had when it was claimed; changing them now would change nobody's locks.
        if summary.claim.is_some() {
            return Err(Stop::Refused(wrong_state(&task, "get other paths")));
        }
        summary.paths.clone_from(paths);
    }
    if let Some(body) = &edit.body {
        task.body.clone_from(body);
    }
    for needed in &edit.remove_needs {
        task.summary.needs.retain(|id| id != needed);
        remove_dependant(draft, id, needed)?;
    }
    for needed in &edit.add_needs {
        if !task.summary.needs.contains(needed) {
            task.summary.needs.push(needed.clone());
            add_dependant(draft, id, needed)?;
        }
    }
    task.summary.needs.sort();
    check_text(&task)?;
    if matches!(task.summary.state, TaskState::Queued | TaskState::Blocked) {
        reconsider(draft, &mut task)?;
    }
    draft.put_task(task);
    Ok(Outcome::Task { task: id.clone() })
}

pub(super) fn cancel<B: Board>(
    draft: &mut Draft<'_, B>,
    operation: &Operation,
    id: &TaskId,
    reason: Option<&str>,
) -> Ruling<B::Fault> {
    let task = task(draft, id)?;
    if task.summary.state.is_closed() {
        return Err(Stop::Refused(wrong_state(&task, "be cancelled")));
    }
    if task.summary.state == TaskState::Submitted {
        cars::withdraw_task(draft, operation, id, "its task was cancelled")?;
    }
    close(draft, task, TaskState::Cancelled, reason.map(kept_reason), operation.at)?;
    Ok(Outcome::Task { task: id.clone() })
}

pub(super) fn reopen<B: Board>(draft: &mut Draft<'_, B>, id: &TaskId) -> Ruling<B::Fault> {
    let mut task = task(draft, id)?;
    if !matches!(task.summary.state, TaskState::Failed | TaskState::Cancelled) {
        return Err(Stop::Refused(wrong_state(&task, "be reopened")));
    }
    task.failures = 0;
    let (state, reason) = super::waiting_state(draft, &task)?;
    become_state(&mut task, state, reason);
    draft.put_task(task);
    Ok(Outcome::Task { task: id.clone() })
}

pub(super) fn block<B: Board>(draft: &mut Draft<'_, B>, id: &TaskId, reason: &str) -> Ruling<B::Fault> {
    let mut task = task(draft, id)?;
    match task.summary.state {
        TaskState::Queued => become_state(&mut task, TaskState::Blocked, None),
        TaskState::Blocked => {}
        _ => return Err(Stop::Refused(wrong_state(&task, "be blocked"))),
    }
    task.held_back = true;
    task.reason = Some(kept_reason(reason));
    draft.put_task(task);
    Ok(Outcome::Task { task: id.clone() })
}

pub(super) fn unblock<B: Board>(draft: &mut Draft<'_, B>, id: &TaskId) -> Ruling<B::Fault> {
    let mut task = task(draft, id)?;
    if !task.held_back {
        return Err(Stop::Refused(wrong_state(&task, "be unblocked, for nobody has blocked it")));
    }
    task.held_back = false;
    reconsider(draft, &mut task)?;
    draft.put_task(task);
    Ok(Outcome::Task { task: id.clone() })
}

fn check_text<F>(task: &Task) -> Result<(), Stop<F>> {
    let refused = |refusal| Err(Stop::Refused(refusal));
    let summary = &task.summary;
    if !is_line(&summary.title, TITLE_BYTES_MAX) {
        let rule = "use one line of 1 to 256 printable bytes, without a space at either end";
        return refused(Refusal::BadText { what: "title", rule });
    }
    let written = task.body.len() + task.body.chars().filter(|c| matches!(c, '"' | '\\')).count();
    let controls = task.body.chars().filter(|c| c.is_control() && !matches!(c, '\n' | '\t')).count();
    let size = written + 6 * controls;
    if size > BODY_BYTES_MAX {
        return refused(Refusal::TooLarge { what: "body of a task in bytes", size, size_max: BODY_BYTES_MAX });
    }
    let size = summary.text_bytes();
    if size > SUMMARY_BYTES_MAX {
        let what = "title, labels, needs and paths of a task in bytes";
        return refused(Refusal::TooLarge { what, size, size_max: SUMMARY_BYTES_MAX });
    }
    Ok(())
}

/// Notes with `needed` that `id` waits for it, unless they would wait for each other.
fn add_dependant<B: Board>(draft: &mut Draft<'_, B>, id: &TaskId, needed: &TaskId) -> Result<(), Stop<B::Fault>> {
    if let Some(cycle) = find_path(draft, needed, id)? {
        return Err(Stop::Refused(Refusal::Cycle(std::iter::once(id.clone()).chain(cycle).collect())));
    }
    let mut task = task(draft, needed)?;
    if task.needed_by.len() >= NEEDED_BY_MAX {
        let size = task.needed_by.len() + 1;
        return Err(Stop::Refused(Refusal::TooLarge {
            what: "tasks that need one task",
            size,
            size_max: NEEDED_BY_MAX,
        }));
    }
    if !task.needed_by.contains(id) {
        task.needed_by.push(id.clone());
        draft.put_task(task);
    }
    Ok(())
}

fn remove_dependant<B: Board>(draft: &mut Draft<'_, B>, id: &TaskId, needed: &TaskId) -> Result<(), Stop<B::Fault>> {
    let mut task = task(draft, needed)?;
    task.needed_by.retain(|dependant| dependant != id);
    draft.put_task(task);
    Ok(())
}

/// The shortest chain of needs from `from` to `to`, both included.
fn find_path<B: Board>(
    draft: &Draft<'_, B>,
    from: &TaskId,
    to: &TaskId,
) -> Result<Option<Vec<TaskId>>, Stop<B::Fault>> {
    let mut came_from: BTreeMap<TaskId, TaskId> = BTreeMap::new();
    let mut queue = VecDeque::from([from.clone()]);
    while let Some(at) = queue.pop_front() {
        if at == *to {
            let mut path = vec![at];
            while let Some(previous) = path.last().and_then(|last| came_from.get(last)) {
                path.push(previous.clone());
            }
            path.reverse();
            return Ok(Some(path));
        }
        if came_from.len() > CYCLE_SEARCH_MAX {
            let (what, size) = ("tasks that one task needs in the end", came_from.len());
            return Err(Stop::Refused(Refusal::TooLarge { what, size, size_max: CYCLE_SEARCH_MAX }));
        }
        let needs = draft.task(&at)?.map(|task| task.summary.needs).unwrap_or_default();
        for next in needs {
            if next != *from && !came_from.contains_key(&next) {
                came_from.insert(next.clone(), at.clone());
                queue.push_back(next);
            }
        }
    }
    Ok(None)
}

fn sorted<T: Ord + Clone>(items: &[T]) -> Vec<T> {
    items.iter().cloned().collect::<BTreeSet<T>>().into_iter().collect()
}
