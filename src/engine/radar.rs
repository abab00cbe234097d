//! The conflict radar: which work that is under way would collide with which other, and with the target.
//!
//! Work under way is what the board knows of, claims that are alive and open cars, and what is named or, where nothing
//! is, every branch that holds what the target has not. Guarantees: the order is that of the queue, cars of the train
//! first, then claims in the order in which they were granted, then what is in neither, as it was named or the newest
//! first; of a pair the first is the one that the other is merged into. Of a line of work that was seen in several
//! states the newest counts, and where none goes on from all others, each that no other goes on from. Nothing is
//! written.

use std::collections::BTreeSet;

use super::branches::cars_of;
use super::error::EngineError;
use super::ports::{Clash, Code, Radar, Sighted};
use crate::domain::board::Board;
use crate::domain::planner::in_order;
use crate::domain::{Branch, Car, CarId, CarState, Fence, Grant, Holder, ObjectId, Seconds, TaskId, Timestamp};

/// The most lines of work that are looked at together.
const WORK_MAX: usize = 500;

/// Work that the board knows of, or that was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Its branch.
    pub branch: Branch,
    /// The task it does, with the grant under which it is done.
    pub task: Option<(TaskId, Fence)>,
    /// Who does it.
    pub holder: Option<Holder>,
    /// The car that is to land it, with the commit that was submitted.
    pub car: Option<(CarId, ObjectId)>,
}

/// One line of work, where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// What it is.
    pub open: Open,
    /// Its newest commit, or one of them.
    pub commit: ObjectId,
    /// In what state of it that was found.
    pub state: State,
}

/// A state of a line of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The branch where the code is.
    Pushed,
    /// The branch of this clone.
    Here,
    /// What was submitted.
    Submitted,
    /// The saved work of its claim.
    Saved,
}

impl State {
    /// The word that scripts read.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Pushed => "pushed",
            State::Here => "here",
            State::Submitted => "submitted",
            State::Saved => "saved",
        }
    }
}

/// What the radar shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    /// The target, as it is now.
    pub base: ObjectId,
    /// What was looked at, in the order of the queue.
    pub work: Vec<Work>,
    /// Work of which there is no commit yet where this clone could see it.
    pub unseen: Vec<Open>,
    /// Branches that were named and are neither here nor where the code is.
    pub missing: Vec<Branch>,
    /// How many branches were not looked at for there being too many, all of them older.
    pub left_out: usize,
    /// Pairs of [`Sweep::work`], by place, that would collide, and where.
    pub pairs: Vec<(usize, usize, Clash)>,
    /// Those that would collide with the target, and where.
    pub with_target: Vec<(usize, Clash)>,
    /// How many pairs there are.
    pub count: usize,
    /// How many of them were known from earlier, ruled out by their paths, and merged.
    pub known_ruled_out_merged: [usize; 3],
}

/// The work on a board that has not landed on `target` yet: the cars of its train in order, then claims that are alive.
/// `grants` are kept by heartbeats.
pub fn open_work<B: Board>(
    board: &B,
    target: &Branch,
    grants: &[Grant],
    now: Timestamp,
    skew: Seconds,
) -> Result<Vec<Open>, B::Fault> {
    let cars = board.open_cars(target)?;
    let holder = |task: &TaskId, fence: Fence| {
        let held = grants.iter().find(|grant| grant.fence() == fence && grant.task() == Some(task));
        held.map(|grant| grant.holder().clone())
    };
    let mut open: Vec<Open> = Vec::new();
    for car in in_order(&cars) {
        let task = car.task.as_ref().map(|task| (task.id.clone(), task.fence));
        open.push(Open {
            branch: car.branch.clone(),
            holder: task.as_ref().and_then(|(task, fence)| holder(task, *fence)).or(Some(car.submitted_by.clone())),
            task,
            car: Some((car.id.clone(), car.commit.clone())),
        });
    }
    for grant in grants {
        let Grant::Claim(claim) = grant else { continue };
        let of_car = open.iter().any(|open| open.task.as_ref().is_some_and(|(_, fence)| *fence == claim.fence));
        if !of_car && !grant.has_run_out(None, now, skew) {
            open.push(Open {
                branch: claim.branch.clone(),
                task: Some((claim.task.clone(), claim.fence)),
                holder: Some(claim.holder.clone()),
                car: None,
            });
        }
    }
    Ok(open)
}

/// Whether a branch with this head is nobody's open work: it waits in another train, has landed, or was of a task that
/// is over. `task` is the one that it is named after.
pub fn is_settled<B: Board>(
    board: &B,
    branch: &Branch,
    head: &ObjectId,
    task: Option<&TaskId>,
) -> Result<bool, B::Fault> {
    let targets: Vec<Branch> = board.trains()?.into_iter().map(|train| train.target).collect();
    if targets.contains(branch) {
        return Ok(true);
    }
    let cars = cars_of(board, &targets, branch, task)?;
    // What was added after it had landed is new work.
    let settles = |car: &Car| car.state.is_open() || (car.state != CarState::Ejected && car.commit == *head);
    if cars.iter().any(settles) {
        return Ok(true);
    }
    Ok(match task.filter(|_| cars.is_empty()) {
        Some(task) => board.task(task)?.is_some_and(|task| task.summary.state.is_closed()),
        None => false,
    })
}

/// Finds work and merges it.
pub struct Lookout<'a, C, R> {
    /// The code.
    pub code: &'a C,
    /// The radar.
    pub radar: &'a R,
    /// Where work is to land.
    pub target: &'a Branch,
    /// Whether to ask the truth where things are now.
    pub ask: bool,
}

/// What was found of work.
struct Found {
    base: ObjectId,
    work: Vec<Work>,
    unseen: Vec<Open>,
    left_out: usize,
}

impl Found {
    fn add(&mut self, open: &Open, states: Vec<(ObjectId, State)>) {
        self.work.extend(states.into_iter().map(|(commit, state)| Work { open: open.clone(), commit, state }));
    }
}

impl<C: Code, R: Radar> Lookout<'_, C, R> {
    /// Merges every pair of `open` work, of the branches `named` and of those of `others` that hold what the target has
    /// not, and each with the target. Where some are named, only what has to do with these is of interest.
    ///
    /// # Errors
    /// Also where there is no target.
    pub fn sweep(
        &self,
        open: Vec<Open>,
        named: &[Branch],
        others: Vec<(Branch, ObjectId)>,
    ) -> Result<Sweep, EngineError> {
        let mut open = open;
        let unknown: BTreeSet<&Branch> =
            named.iter().filter(|name| !open.iter().any(|open| open.branch == **name)).collect();
        let in_order_named = named.iter().filter(|name| unknown.contains(name));
        let mut listed = BTreeSet::new();
        for branch in in_order_named.filter(|name| listed.insert(*name)) {
            open.push(Open { branch: branch.clone(), task: None, holder: None, car: None });
        }
        let mut others = others;
        others.retain(|(branch, _)| branch != self.target && !open.iter().any(|open| open.branch == *branch));
        let Found { base, work, unseen, left_out } = self.find(open, others)?;
        let is_missing = |name: &&Branch| !work.iter().any(|work| work.open.branch == **name);
        let missing: Vec<Branch> = named.iter().filter(is_missing).cloned().collect();
        let of_interest = |nth: usize| named.is_empty() || named.contains(&work[nth].open.branch);
        // One's own saved work is no other's.
        let same = |a: usize, b: usize| work[a].open == work[b].open || work[a].open.branch == work[b].open.branch;
        let all = (0..work.len()).flat_map(|a| (a + 1..work.len()).map(move |b| (a, b)));
        let pairs: Vec<(usize, usize)> =
            all.filter(|(a, b)| (of_interest(*a) || of_interest(*b)) && !same(*a, *b)).collect();
        let alone: Vec<usize> = (0..work.len()).filter(|nth| of_interest(*nth)).collect();
        let commit = |nth: usize| work[nth].commit.clone();
        let mut asked: Vec<(ObjectId, ObjectId)> = pairs.iter().map(|(a, b)| (commit(*a), commit(*b))).collect();
        asked.extend(alone.iter().map(|nth| (base.clone(), commit(*nth))));
        let clashes = self.radar.clashes(&base, &asked)?;
        let mut answers = clashes.answers.into_iter();
        let in_pairs = pairs.iter().zip(answers.by_ref().take(pairs.len()).collect::<Vec<_>>());
        let in_pairs = in_pairs.filter_map(|((a, b), clash)| Some((*a, *b, clash?))).collect();
        let with_target = alone.iter().zip(answers).filter_map(|(nth, clash)| Some((*nth, clash?))).collect();
        Ok(Sweep {
            base,
            work,
            unseen,
            missing,
            left_out,
            pairs: in_pairs,
            with_target,
            count: asked.len(),
            known_ruled_out_merged: [clashes.known, clashes.ruled_out, clashes.merged],
        })
    }

    /// Finds the target and the commits of work that is open.
    fn find(&self, open: Vec<Open>, others: Vec<(Branch, ObjectId)>) -> Result<Found, EngineError> {
        let mut branches: Vec<Branch> = open.iter().map(|open| open.branch.clone()).collect();
        branches.push(self.target.clone());
        let claims: Vec<(TaskId, Fence)> = open.iter().filter_map(|open| open.task.clone()).collect();
        let seen = self.radar.look(&branches, &claims, self.ask)?;
        let base = match seen.heads.get(self.target).or(seen.fetched.get(self.target)) {
            Some(base) => base.clone(),
            None => seen.local.get(self.target).cloned().ok_or_else(|| EngineError::Impossible {
                what: format!("there is no branch {} to land on", self.target),
                hint: "name another with --target".to_owned(),
            })?,
        };
        let mut found = Found { base, work: Vec::new(), unseen: Vec::new(), left_out: 0 };
        for open in open {
            let newest = self.newest(self.states(&open, &seen)?)?;
            let lacks_car = open.car.as_ref().is_some_and(|(_, commit)| !self.radar.has(commit));
            if newest.is_empty() || lacks_car {
                found.unseen.push(open.clone());
            }
            found.add(&open, newest);
        }
        if found.work.len() > WORK_MAX {
            return Err(EngineError::Impossible {
                what: format!("{} branches are under way, more than {WORK_MAX}", found.work.len()),
                hint: "git scrum locks shows who is at which paths".to_owned(),
            });
        }
        if others.is_empty() {
            return Ok(found);
        }
        let count_max = WORK_MAX - found.work.len();
        let (others, left_out) = self.radar.not_in(&found.base, others, count_max, self.ask)?;
        found.left_out = left_out;
        let branches: Vec<Branch> = others.iter().map(|(branch, _)| branch.clone()).collect();
        // Their heads are known: what is asked for is what this clone has of the same names.
        let local = self.radar.look(&branches, &[], false)?.local;
        for (branch, head) in others {
            let here = local.get(&branch).map(|head| (head.clone(), State::Here));
            let states = [(head, State::Pushed)].into_iter().chain(here).collect();
            let open = Open { branch, task: None, holder: None, car: None };
            found.add(&open, self.newest(states)?);
        }
        Ok(found)
    }

    /// The states in which a line of work was seen.
    fn states(&self, open: &Open, seen: &Sighted) -> Result<Vec<(ObjectId, State)>, EngineError> {
        let pushed = [&seen.heads, &seen.fetched].map(|heads| heads.get(&open.branch).cloned());
        let mut states: Vec<(ObjectId, State)> = pushed.into_iter().flatten().map(|id| (id, State::Pushed)).collect();
        states.extend(seen.local.get(&open.branch).map(|head| (head.clone(), State::Here)));
        let submitted = open.car.as_ref().map(|(_, commit)| commit).filter(|commit| self.radar.has(commit));
        states.extend(submitted.map(|commit| (commit.clone(), State::Submitted)));
        if let Some(saved) = open.task.as_ref().and_then(|(_, fence)| seen.saved.get(fence)) {
            // What was saved before it was finished and submitted is out of date, whatever it goes on from.
            let counts = match submitted {
                Some(commit) => self.code.contains(saved, commit)?,
                None => true,
            };
            states.extend(counts.then(|| (saved.clone(), State::Saved)));
        }
        Ok(states)
    }

    /// Those that no other goes on from; of equal ones the first.
    fn newest(&self, states: Vec<(ObjectId, State)>) -> Result<Vec<(ObjectId, State)>, EngineError> {
        let mut newest: Vec<(ObjectId, State)> = Vec::new();
        'states: for (commit, state) in states {
            for (other, _) in &newest {
                if self.code.contains(other, &commit)? {
                    continue 'states;
                }
            }
            let mut kept = Vec::new();
            for other in newest {
                if !self.code.contains(&commit, &other.0)? {
                    kept.push(other);
                }
            }
            newest = kept;
            newest.push((commit, state));
        }
        Ok(newest)
    }
}
