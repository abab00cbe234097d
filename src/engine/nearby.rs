//! What work under way has changed already of what somebody is about to change.
//!
//! A hint for whoever claims a task. Guarantees: it is made of what this clone has seen, be it by an ordinary fetch,
//! and of nothing else: nobody is asked and nothing is merged; bounded in work and time. That nothing is said means
//! nothing: what others have not pushed, or nobody has fetched, is not seen.

use std::collections::BTreeSet;
use std::time::Duration;

use super::ports::Radar;
use super::radar::{Open, State, Work};
use crate::domain::{Branch, ObjectId, Pattern};
use crate::ledger::Fault;

/// The most lines of work whose footprints are looked at, first in the order of the queue.
const OPEN_MAX: usize = 100;
/// The most that are named to one who asks, and the most paths of one.
const NAMED_MAX: usize = 20;
const PATHS_MAX: usize = 50;

/// Work that has changed what somebody is about to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nearby {
    /// What it is.
    pub open: Open,
    /// Whether only its saved work has, and not its branch.
    pub saved: bool,
    /// Which of the paths, in order; there may be more where there are as many as are named.
    pub paths: Vec<String>,
    /// Branches that it collided with at some of them, when the radar last looked.
    pub collides_with: Vec<Branch>,
}

/// What lines of work have changed since they parted from the target, as far as this clone has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprints {
    /// The target, with the commits at which it was seen.
    target: (Branch, Vec<ObjectId>),
    /// Each commit of open work with what it has changed. Those of one line are next to each other, saved work last.
    work: Vec<(Work, Vec<String>)>,
}

impl Footprints {
    /// Looks at `open` work, for not much longer than `within`. `None`: the target was never seen here.
    pub fn of<R: Radar>(
        radar: &R,
        target: &Branch,
        mut open: Vec<Open>,
        within: Duration,
    ) -> Result<Option<Footprints>, Fault> {
        open.truncate(OPEN_MAX);
        let branches: Vec<Branch> = open.iter().map(|open| &open.branch).chain([target]).cloned().collect();
        let claims: Vec<_> = open.iter().filter_map(|open| open.task.clone()).collect();
        let seen = radar.look(&branches, &claims, false)?;
        // Of a branch that was seen in several ways nobody says which is newer: what has landed by either has landed,
        // and work has changed what it has by any.
        let shared = |branch: &Branch| [&seen.heads, &seen.fetched].map(|heads| heads.get(branch).cloned());
        let targets: Vec<ObjectId> = shared(target).into_iter().flatten().collect();
        if targets.is_empty() {
            return Ok(None);
        }
        let mut work: Vec<Work> = Vec::new();
        for open in open {
            let saved = open.task.as_ref().and_then(|(_, fence)| seen.saved.get(fence));
            let submitted = open.car.as_ref().map(|(_, commit)| (commit.clone(), State::Submitted));
            let pushed = shared(&open.branch).into_iter().flatten().map(|head| (head, State::Pushed));
            let here = seen.local.get(&open.branch).map(|head| (head.clone(), State::Here));
            let saved = saved.map(|saved| (saved.clone(), State::Saved));
            let mut known = BTreeSet::new();
            let found = submitted.into_iter().chain(pushed).chain(here).chain(saved);
            let found = found.filter(|(commit, _)| known.insert(commit.clone()) && radar.has(commit));
            work.extend(found.map(|(commit, state)| Work { open: open.clone(), commit, state }));
        }
        let commits: Vec<ObjectId> = work.iter().map(|work| work.commit.clone()).collect();
        let changes = if commits.is_empty() { Vec::new() } else { radar.changes(&targets, &commits, within) };
        let work = work.into_iter().zip(changes).collect();
        Ok(Some(Footprints { target: (target.clone(), targets), work }))
    }

    /// The work that has changed paths which `patterns` cover, in the order of the queue.
    pub fn nearby<R: Radar>(&self, radar: &R, patterns: &[Pattern]) -> Vec<Nearby> {
        let all: BTreeSet<&String> = self.work.iter().flat_map(|(_, paths)| paths).collect();
        let is_met = |path: &&String| patterns.iter().any(|pattern| pattern.matches(path));
        let met: BTreeSet<&String> = all.into_iter().filter(is_met).collect();
        let near = self.work.iter().filter(|(_, paths)| paths.iter().any(|path| met.contains(path)));
        let near: Vec<&(Work, Vec<String>)> = near.collect();
        let lines: Vec<_> = near.chunk_by(|one, other| one.0.open == other.0.open).take(NAMED_MAX).collect();
        let mut nearby: Vec<Nearby> = Vec::new();
        for line in &lines {
            let paths: BTreeSet<&String> = line.iter().flat_map(|(_, paths)| paths).collect();
            let paths = paths.intersection(&met).take(PATHS_MAX).map(|path| (*path).clone());
            let (first, _) = line[0];
            nearby.push(Nearby {
                open: first.open.clone(),
                saved: first.state == State::Saved,
                paths: paths.collect(),
                collides_with: Vec::new(),
            });
        }
        self.note_collisions(radar, &lines, &met, &mut nearby);
        nearby
    }

    /// Notes which of some lines of work collided with each other or with the target, where `met` paths are.
    fn note_collisions<R: Radar>(
        &self,
        radar: &R,
        lines: &[&[&(Work, Vec<String>)]],
        met: &BTreeSet<&String>,
        nearby: &mut [Nearby],
    ) {
        // The target is what all are merged into, and has the place after the last of them.
        let (target, bases) = &self.target;
        let branches: Vec<Branch> = nearby.iter().map(|near| &near.open.branch).chain([target]).cloned().collect();
        let work =
            lines.iter().enumerate().flat_map(|(nth, line)| line.iter().map(move |(work, _)| (nth, &work.commit)));
        let commits: Vec<(usize, &ObjectId)> = bases.iter().map(|base| (lines.len(), base)).chain(work).collect();
        let (mut places, mut pairs) = (Vec::new(), Vec::new());
        for (nth, (one, ours)) in commits.iter().enumerate() {
            for (other, theirs) in commits[nth + 1..].iter().filter(|(other, _)| other != one) {
                places.push((*one, *other));
                pairs.push(((*ours).clone(), (*theirs).clone()));
            }
        }
        for ((one, other), clash) in places.into_iter().zip(radar.clashed(&pairs)) {
            if !clash.is_some_and(|clash| clash.paths.iter().any(|path| met.contains(path))) {
                continue;
            }
            for (of, with) in [(one, other), (other, one)] {
                if let Some(near) = nearby.get_mut(of).filter(|near| !near.collides_with.contains(&branches[with])) {
                    near.collides_with.push(branches[with].clone());
                }
            }
        }
    }
}
