//! Holds a recorded history against the chain of the board, and each thing's history against its rules.
//!
//! What is checked, beside that each task's and the locks' histories are linearizable ([`crate::linear`]):
//! - an operation id is in the chain once; fences are counted without a gap; every outcome in the chain fits the rules
//!   told a second time ([`crate::model`]), so no task has two holders and no two locks stand that exclude each other;
//! - of every worker, what it was told was done is in the chain once, in its order and with that outcome, and nothing
//!   else is. The one exception is a grant to somebody who never heard of it: its process was killed, and the lease had
//!   run out before the worker asked again. Then that is an operation of its own;
//! - what had returned before something else was begun stands before it in the chain;
//! - who was told that there is nothing to claim was told so of a version between their call and its return.
//!
//! Pure: it reads no repository, so that a history that was tampered with can be put to it.

use std::collections::{BTreeMap, BTreeSet};

use crate::chain::Entry;
use crate::history::{Answer, Ask, Operation};
use crate::linear;
use crate::model::{Locks, State, Task, has_run_out};

/// What was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verdict {
    /// Operations in the chain.
    pub in_chain: usize,
    /// Grants whose worker never heard of them.
    pub unheard: usize,
    /// Claims and locks that were taken back because their lease had run out, as claims recorded it.
    pub taken_over: usize,
    /// Tasks that were ever added.
    pub tasks: usize,
}

/// Checks everything.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(history: &[Operation], chain: &[Entry]) -> Result<Verdict, String> {
    let versions = replay(chain)?;
    let (places, unheard) = matched(history, chain)?;
    in_real_time(history, chain, &places)?;
    nothing_to_claim(history, &places, &versions)?;
    let mut all = history.to_vec();
    all.extend(unheard.iter().cloned());
    let tasks = linearizable(&all)?;
    let taken_over = chain.iter().map(|entry| entry.expired.len()).sum();
    Ok(Verdict { in_chain: chain.len(), unheard: unheard.len(), taken_over, tasks })
}

/// What could be claimed after an operation of the chain.
#[derive(Clone, Debug)]
struct Claimable {
    queued: bool,
    /// Until when the claimed tasks are.
    untils: Vec<i64>,
}

/// Follows the chain by the rules told a second time; gives what could be claimed at first and after each entry.
fn replay(chain: &[Entry]) -> Result<Vec<Claimable>, String> {
    let mut tasks: BTreeMap<&str, Task> = BTreeMap::new();
    let mut locks = Locks::default();
    let (mut ids, mut last_fence) = (BTreeSet::new(), 0);
    let mut versions = vec![Claimable { queued: false, untils: Vec::new() }];
    for entry in chain {
        let wrong = |what: &str| Err(format!("the chain is wrong: {what}: {entry:?}"));
        if !ids.insert(&entry.id) {
            return wrong("applied twice");
        }
        if !entry.is_refused() {
            // Whatever is asked takes back what its asker had found to have run out, but for what it is about.
            if !matches!(entry.ask, Ask::Unlock { .. }) {
                let left = locks.taken_back(entry.at);
                locks.0.retain(|fence, _| left.0.contains_key(fence) || !entry.overdue.contains(fence));
            }
            let mut expired = BTreeSet::new();
            for (id, task) in &mut tasks {
                if let Some(free) = task.taken_back(entry.at)
                    && entry.overdue.contains(&task.fence)
                    && !entry.ask.goes_on_with(id)
                {
                    *task = free;
                    expired.insert(*id);
                }
            }
            let told: BTreeSet<&str> = entry.expired.iter().map(String::as_str).collect();
            if matches!(entry.ask, Ask::Claim { .. }) && told != expired {
                return wrong(&format!("{expired:?} had run out"));
            }
            if let Some(fence) = entry.answer.granted() {
                if fence != last_fence + 1 {
                    return wrong(&format!("the fence after {last_fence} is another"));
                }
                last_fence = fence;
            }
            if entry.ask.is_about_locks() {
                let Some(next) = locks.answering(&entry.by, &entry.ask, &entry.answer) else {
                    return wrong(&format!("not with {locks:?}"));
                };
                locks = next;
            } else {
                let Some(id) = task_of(entry) else { return wrong("it has no task") };
                let task = tasks.entry(id).or_default();
                let Some(next) = task.answering(&entry.by, &entry.ask, &entry.answer) else {
                    return wrong(&format!("not with {task:?}"));
                };
                *task = next;
            }
        }
        let untils = tasks.values().filter_map(|task| match task.state {
            State::Claimed { until, .. } => Some(until),
            _ => None,
        });
        let queued = tasks.values().any(|task| task.state == State::Queued);
        versions.push(Claimable { queued, untils: untils.collect() });
    }
    Ok(versions)
}

fn task_of(entry: &Entry) -> Option<&str> {
    match &entry.answer {
        Answer::Claimed { task, .. } => Some(task),
        _ => entry.ask.task(),
    }
}

/// Finds the place of every operation in the chain, by operation; and the grants that nobody heard of.
fn matched(history: &[Operation], chain: &[Entry]) -> Result<(Vec<Option<usize>>, Vec<Operation>), String> {
    let told: BTreeSet<u64> = history.iter().filter_map(|operation| operation.answer.granted()).collect();
    let mut workers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, operation) in history.iter().enumerate() {
        workers.entry(&operation.holder).or_default().push(index);
    }
    let mut places = vec![None; history.len()];
    let mut unheard = Vec::new();
    let mut of: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, entry) in chain.iter().enumerate() {
        of.entry(&entry.by).or_default().push(place);
    }
    if let Some(stranger) = of.keys().find(|holder| !workers.contains_key(*holder)) {
        return Err(format!("{stranger} is in the chain and asked for nothing"));
    }
    for (holder, mut indices) in workers {
        indices.sort_by_key(|index| history[*index].begun.sequence);
        let mut left = of.get(holder).map(Vec::as_slice).unwrap_or_default().iter().copied().peekable();
        for index in indices {
            let operation = &history[index];
            // Whatever else of the same request is in the chain: a "no" of an earlier call, or of this one before it looked
            // for what has run out and asked anew; or a grant unheard of.
            while let Some(place) = left.peek().copied() {
                let entry = &chain[place];
                if !entry.ask.same_request(&operation.ask) || is_answer(entry, operation) {
                    break;
                }
                let granted = entry.answer.granted().filter(|fence| !told.contains(fence));
                if granted.is_some() && operation.calls > 1 {
                    unheard.push(Operation {
                        ask: entry.ask.clone(),
                        answer: entry.answer.clone(),
                        ..operation.clone()
                    });
                } else if !entry.is_refused() {
                    break;
                }
                left.next();
            }
            if operation.answer.is_applied() {
                let next = left.next();
                places[index] = next.filter(|place| is_answer(&chain[*place], operation));
                if places[index].is_none() {
                    let next = next.map(|place| &chain[place]);
                    let before = history.iter().filter(|one| {
                        one.holder == holder && next.is_some_and(|entry| one.ask.same_request(&entry.ask))
                    });
                    let before: Vec<String> = before.map(|operation| format!("\n  {operation:?}")).collect();
                    let before = before.concat();
                    return Err(format!("this was answered and is not there: {operation:?}\n  but {next:?}{before}"));
                }
            }
        }
        if let Some(place) = left.next() {
            let entry = &chain[place];
            let asked = history.iter().filter(|one| one.holder == holder && one.ask.same_request(&entry.ask));
            let asked: Vec<String> = asked.map(|operation| format!("\n  {operation:?}")).collect();
            return Err(format!("this is in the chain and was never answered so: {entry:?}{}", asked.concat()));
        }
    }
    Ok((places, unheard))
}

/// Whether the entry is what the operation was answered.
fn is_answer(entry: &Entry, operation: &Operation) -> bool {
    let within = |clock: i64| operation.begun.clock <= clock && clock <= operation.ended.clock;
    let same = match (&entry.answer, &operation.answer) {
        // A repeated call is told the lease that the claim has by then.
        (Answer::Claimed { task: a, fence: b, .. }, Answer::Claimed { task: c, fence: d, .. }) => (a, b) == (c, d),
        (a, b) => a == b,
    };
    same && entry.ask.same_request(&operation.ask) && within(entry.at) && operation.answer.is_applied()
}

/// What had returned before something else was begun stands before it.
fn in_real_time(history: &[Operation], chain: &[Entry], places: &[Option<usize>]) -> Result<(), String> {
    let mut at: Vec<Option<&Operation>> = vec![None; chain.len()];
    for (operation, place) in history.iter().zip(places) {
        if let Some(place) = place
            && at[*place].replace(operation).is_some()
        {
            return Err(format!("two were told of the same: {operation:?}"));
        }
    }
    let mut latest: Option<&Operation> = None;
    for operation in at.into_iter().flatten() {
        if let Some(latest) = latest.filter(|latest| latest.begun.sequence > operation.ended.sequence) {
            return Err(format!(
                "{latest:?}\n  stands in the chain before this, which had ended by then: {operation:?}"
            ));
        }
        if latest.is_none_or(|latest| latest.begun.sequence < operation.begun.sequence) {
            latest = Some(operation);
        }
    }
    Ok(())
}

/// Whoever was told that there is nothing to claim was told so of some version that was the last one meanwhile.
fn nothing_to_claim(history: &[Operation], places: &[Option<usize>], versions: &[Claimable]) -> Result<(), String> {
    let placed = || history.iter().zip(places).filter_map(|(operation, place)| Some((operation, (*place)?)));
    for operation in history.iter().filter(|operation| operation.answer == Answer::Nothing) {
        let before = placed().filter(|(other, _)| other.ended.sequence < operation.begun.sequence);
        let after = placed().filter(|(other, _)| other.begun.sequence > operation.ended.sequence);
        let first = before.map(|(_, place)| place + 1).max().unwrap_or(0);
        let last = after.map(|(_, place)| place).min().unwrap_or(versions.len() - 1);
        let nothing = |version: &Claimable| {
            !version.queued && version.untils.iter().all(|until| !has_run_out(*until, operation.begun.clock))
        };
        if !versions[first..=last.max(first)].iter().any(nothing) {
            return Err(format!("there was something to claim all the time: {operation:?}"));
        }
    }
    Ok(())
}

/// Each task's history, and that of the locks, is one sequence. Gives how many tasks there were.
fn linearizable(operations: &[Operation]) -> Result<usize, String> {
    let (locks, rest): (Vec<Operation>, Vec<Operation>) =
        operations.iter().cloned().partition(|operation| operation.ask.is_about_locks());
    linear::check(Locks::default(), &locks).map_err(|error| format!("the locks: {error}"))?;
    let mut tasks: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    for operation in rest {
        if let Some(task) = operation.task() {
            tasks.entry(task.to_owned()).or_default().push(operation);
        }
    }
    for (id, operations) in &mut tasks {
        linear::check(Task::default(), operations).map_err(|error| {
            operations.sort_by_key(|operation| operation.begun.sequence);
            let all: Vec<String> = operations.iter().map(|operation| format!("\n  {operation:?}")).collect();
            format!("task {id}: {error}\n  of all of these:{}", all.concat())
        })?;
    }
    Ok(tasks.len())
}
