//! What everybody was told must be so, when they are told and for ever after.

use std::collections::BTreeSet;

use git_scrum::domain::board::Board;
use git_scrum::domain::{ObjectId, Outcome};
use git_scrum::ledger::{Snapshot, Version};

use crate::checker::{Checked, Checker, ensure};
use crate::promises::Promise;
use crate::store::Records;
use crate::world::{BOARD, MEMORY, TARGET_REF, World};

impl Checker {
    /// Holds the board to an answer that reached somebody.
    pub fn hold_to(&mut self, promise: Promise) -> Checked {
        match promise {
            Promise::Done { by, begun, outcome, version, blind } => {
                // Whoever took up what no longer held has asked anew: the answer is that of the last.
                match begun.iter().rev().find_map(|id| self.operations.get(id)) {
                    Some((at, recorded)) => {
                        let same = recorded.outcome == outcome && recorded.operation.by == by;
                        ensure!(same, "{by} was told {outcome:?} of {recorded:?}");
                        ensure!(
                            version.is_none_or(|version| version == *at),
                            "{by} was told another version than {at}"
                        );
                    }
                    None => {
                        ensure!(changes_nothing(&outcome), "{by} was told {outcome:?}, which never happened");
                        ensure!(!blind, "{by} was told {outcome:?} of a board that had gone back");
                    }
                }
                self.done.push((by, outcome));
            }
            Promise::Denied { by, begun, why, asked, blind } => {
                // Of what was taken up and no longer held nobody says that it did not happen: see above.
                if let Some(id) = begun.into_iter().next_back() {
                    let recorded = self.operations.get(&id).map(|(_, recorded)| recorded);
                    if let Some(recorded) = recorded.filter(|recorded| recorded.outcome != Outcome::Refused) {
                        return Err(format!("{by} was told {why}, but {recorded:?} was applied"));
                    }
                    if recorded.is_none() {
                        ensure!(asked, "{by} was told {why} without anybody asking the server");
                        ensure!(!blind, "{by} was told {why} of a board that had gone back");
                    }
                    self.denied.insert(id, format!("{by} was told {why}"));
                }
            }
            Promise::Unknown { by, id } => self.unknown.entry(by).or_default().push(id),
            Promise::Settled { by } => {
                let unknown = self.unknown.remove(&by).unwrap_or_default();
                self.settled.extend(unknown.into_iter().filter(|id| !self.operations.contains_key(id)));
            }
            Promise::TakenUp { id } => drop(self.settled.remove(&id)),
            Promise::Lost { by, fence } => {
                let Ok(grant) = self.board.grant(fence);
                ensure!(grant.is_none(), "{by} was told that fence {fence} is over, and has {grant:?}");
            }
            Promise::Remembered(id) => {
                ensure!(self.entries.contains(id.as_str()), "entry {id} is not in memory");
                self.remembered.push(id);
            }
        }
        Ok(())
    }

    /// What must hold in the end, when all hosts have come to rest.
    pub fn look_back(&mut self, world: &World) -> Checked {
        self.look(world)?;
        if let Some(tip) = world.read_ref(BOARD).map(Version) {
            self.compare(&Snapshot::new(&Records(world), tip))?;
        }
        let mut titles = BTreeSet::new();
        for task in self.board.tasks() {
            let title = &task.summary.title;
            let forgotten = || world.promises.borrow().forgotten.iter().any(|request| request.contains(title));
            ensure!(titles.insert(title) || forgotten(), "{title} was added twice");
        }
        for (by, outcome) in &self.done {
            if let Outcome::Task { task } = outcome {
                let Ok(found) = self.board.task(task);
                ensure!(found.is_some(), "task {task}, which {by} was told of, is lost");
            }
        }
        let tip = world.read_ref(MEMORY).map(Version);
        for id in &self.remembered {
            let store = Records(world);
            let snapshot = Snapshot::new(&store, tip.clone().expect("there is an entry"));
            let found = git_scrum::record::find_entry(&snapshot, id).map_err(|fault| fault.to_string())?;
            ensure!(found.is_some(), "entry {id} is lost");
        }
        self.look_back_at_cars(world)
    }

    fn look_back_at_cars(&self, world: &World) -> Checked {
        let tip = world.read_ref(TARGET_REF).and_then(|id| ObjectId::parse(&id).ok()).expect("a target");
        let commits = world.commits.borrow();
        for car in self.board.cars() {
            ensure!(!car.state.is_open(), "{} never leaves the train: {car:?}", car.id);
            if let Some(landed) = &car.landed_as {
                ensure!(commits.contains(&tip, landed), "{} landed as {landed}, which is gone", car.id);
            } else if commits.contains(&tip, &car.commit) {
                let what = format!("{} is on the target and was taken out: {:?}", car.id, car.reason);
                // Without atomic pushes a car may be withdrawn between the announcement and the move.
                ensure!(!world.plan.atomic, "{what}");
                world.count("car: landed and withdrawn");
            }
        }
        for task in self.board.tasks() {
            let landed = task.landed_as.as_ref().is_none_or(|commit| commits.contains(&tip, commit));
            ensure!(landed, "task {} landed as what is gone", task.summary.id);
        }
        Ok(())
    }
}

/// Whether an operation of that outcome may have had nothing to change, so that no version records it.
fn changes_nothing(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Board { created } => !created,
        Outcome::Unlocked { patterns } => patterns.is_empty(),
        Outcome::Submitted { again, .. } => *again,
        Outcome::Approved { changed, .. } | Outcome::Promoted { changed, .. } | Outcome::Train { changed } => !changed,
        Outcome::Runs { started, cancelled } => started.is_empty() && cancelled.is_empty(),
        Outcome::Team { .. } => false,
        _ => false,
    }
}
