//! Whether a history of one thing is one sequence: the checker for linearizability.
//!
//! The search of Wing and Gong ("Testing and verifying concurrent objects", 1993) with the memory of configurations of
//! Lowe ("Testing for linearizability", 2017): of the operations that may come first, because none that is still
//! missing had returned before they were begun, each is tried. A "no" goes first where it fits, which loses nothing: it
//! changes nothing wherever it stands, so whatever fits after it fits without it.
//!
//! Why not a library: stateright's tester asks for a specification with one next state, and a lease that runs out by
//! itself gives two; it keeps no memory of what it has tried, so that a "no" takes time exponential in the length of
//! the history; and it brings a web server along.

use std::collections::{BTreeSet, HashSet};

use crate::history::Operation;
use crate::model::Model;

/// How many configurations are looked at: a history that takes more is not decided, and that is no pass either.
const CONFIGURATIONS_MAX: usize = 4_000_000;

/// A place in the search: everything before `first` is in the sequence, and what is in `beyond`.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Configuration<M> {
    first: usize,
    beyond: BTreeSet<usize>,
    model: M,
}

impl<M> Configuration<M> {
    fn take(&mut self, index: usize) {
        self.beyond.insert(index);
        while self.beyond.remove(&self.first) {
            self.first += 1;
        }
    }

    /// The operations that may be next.
    fn candidates(&self, operations: &[&Operation]) -> Vec<usize> {
        let mut first_return = u64::MAX;
        let mut candidates = Vec::new();
        for index in (self.first..operations.len()).filter(|index| !self.beyond.contains(index)) {
            if operations[index].begun.sequence > first_return {
                break;
            }
            first_return = first_return.min(operations[index].ended.sequence);
            candidates.push(index);
        }
        candidates.retain(|index| operations[*index].begun.sequence < first_return);
        candidates
    }
}

/// Looks for an order in which `operations` may have happened one after the other, beginning with `model`.
///
/// # Errors
/// Where there is none: how far it got, and what did not fit there.
pub fn check<M: Model + std::fmt::Debug>(model: M, operations: &[Operation]) -> Result<(), String> {
    let mut sorted: Vec<&Operation> = operations.iter().collect();
    sorted.sort_by_key(|operation| operation.begun.sequence);
    let mut stack = vec![Configuration { first: 0, beyond: BTreeSet::new(), model }];
    let mut seen = HashSet::new();
    let mut furthest = (0, String::new());
    while let Some(mut at) = stack.pop() {
        let candidates = loop {
            let candidates = at.candidates(&sorted);
            let fitting_no = |index: &&usize| {
                !sorted[**index].answer.is_applied() && at.model.after(sorted[**index]).contains(&at.model)
            };
            match candidates.iter().find(fitting_no).copied() {
                Some(index) => at.take(index),
                None => break candidates,
            }
        };
        if at.first == sorted.len() {
            return Ok(());
        }
        if seen.len() > CONFIGURATIONS_MAX {
            return Err(format!("not decided: more than {CONFIGURATIONS_MAX} configurations"));
        }
        if !seen.insert(at.clone()) {
            continue;
        }
        let length = at.first + at.beyond.len();
        if length >= furthest.0 {
            let left: Vec<String> = candidates.iter().map(|index| format!("\n    {:?}", sorted[*index])).collect();
            furthest = (length, format!("in {:?} none of these fits:{}", at.model, left.concat()));
        }
        // The one that returned first is tried first: it is pushed last.
        let mut candidates = candidates;
        candidates.sort_by_key(|index| std::cmp::Reverse(sorted[*index].ended.sequence));
        for index in candidates {
            for model in at.model.after(sorted[index]) {
                let mut next = Configuration { model, ..at.clone() };
                next.take(index);
                stack.push(next);
            }
        }
    }
    Err(format!("not linearizable: after {} of {} operations, {}", furthest.0, sorted.len(), furthest.1))
}
