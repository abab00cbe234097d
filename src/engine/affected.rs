//! What changes affect: by the lanes of their paths, and by what an analyser of the repository's says besides.
//!
//! Guarantees: in doubt, everything. What an analyser says of a car by itself decides how it is planned, and nothing
//! lands without a verdict. The verdict of another tree is only taken over where what the cars change on the target,
//! and what has come around them since they were tested, affect nothing in common, both asked of the tree that is to
//! land: what depends on what may have changed with either.

use std::collections::{BTreeMap, BTreeSet};

use super::error::EngineError;
use super::journal::Journal;
use super::pass::Pass;
use super::ports::{Change, Checks, Code, Host};
use crate::domain::board::Board;
use crate::domain::lanes::{Affected, are_apart};
use crate::domain::planner::{Candidate, Observation};
use crate::domain::{Car, CarId, ObjectId, Train};
use crate::ledger::Store;

/// What an analyser was asked of in vain, and why.
pub(super) type Doubts = BTreeMap<CarId, String>;

impl<S: Store, H: Host, J: Journal, C: Code, K: Checks> Pass<'_, S, H, J, C, K> {
    fn has_lanes(&self) -> bool {
        !self.settings.lanes.is_empty() || self.settings.analyser.is_some()
    }

    /// What changes affect, or why nobody knows. Without `run` no program is started.
    fn affected(&self, base: &ObjectId, changes: &[Change], run: bool) -> Vec<Result<BTreeSet<String>, String>> {
        let lanes = &self.settings.lanes;
        let Some(analyser) = &self.settings.analyser else {
            let by_paths = changes.iter().map(|change| lanes.affected(change.paths.iter().map(String::as_str)));
            return by_paths.map(|affected| affected.ok_or_else(|| "a path is in no lane".to_owned())).collect();
        };
        let said = self.checks.affected(base, analyser, changes, run);
        let and_lanes = |(names, change): (BTreeSet<String>, &Change)| {
            names.into_iter().chain(lanes.of(change.paths.iter().map(String::as_str)).0).collect()
        };
        said.into_iter().zip(changes).map(|(said, change)| said.map(|names| and_lanes((names, change)))).collect()
    }

    /// Finds what each of `cars` affects by itself. Gives those of which an analyser said nothing of use.
    pub(super) fn observe_affected(
        &self,
        cars: &[&Car],
        seen: &mut Observation,
        run: bool,
    ) -> Result<Doubts, EngineError> {
        let mut doubts = Doubts::new();
        if !self.has_lanes() {
            return Ok(doubts);
        }
        let (mut changed, mut changes) = (Vec::new(), Vec::new());
        for car in cars {
            if let Some(change) = self.code.changed_since(&seen.base, &car.commit)? {
                changed.push(*car);
                changes.push(change);
            }
        }
        for (car, affected) in changed.into_iter().zip(self.affected(&seen.base, &changes, run)) {
            if let (Err(why), Some(_)) = (&affected, &self.settings.analyser) {
                doubts.insert(car.id.clone(), why.clone());
            }
            seen.affected.insert(car.id.clone(), affected.ok());
        }
        Ok(doubts)
    }

    /// Finds what cars were tested in, where their candidate has not been tested but differs from that only in what
    /// they do not affect.
    pub(super) fn carry_over(
        &self,
        candidate: &Candidate,
        cars: &[CarId],
        last: &Car,
        train: &Train,
        seen: &mut Observation,
        run: bool,
    ) -> Result<(), EngineError> {
        let Candidate::Clean { commit, tree } = candidate else { return Ok(()) };
        if !self.has_lanes() || seen.verdicts.contains_key(tree) {
            return Ok(());
        }
        let under_way = train.runs.iter().find(|run| run.cars == cars);
        let under_way = under_way.map(|run| (run.tree.clone(), run.commit.clone()));
        let earlier = match &last.tested_tree {
            Some(tested) => self.engine.read(false, |board| Ok(board.verdict(tested)?))?,
            None => None,
        };
        let earlier = earlier.map(|record| (record.tree, record.commit));
        for (tested, as_commit) in [under_way, earlier].into_iter().flatten().filter(|(tested, _)| tested != tree) {
            let is_apart = match &self.settings.analyser {
                Some(_) => self.is_apart_in(&seen.base, commit, &as_commit, run)?,
                None => self.is_apart_by_paths(cars, seen, &tested, tree)?,
            };
            if !is_apart {
                continue;
            }
            seen.same_as.insert(tree.clone(), tested.clone());
            let known = self.engine.read(false, |board| Ok(board.verdict(&tested)?))?;
            if let Some(known) = self.known(known) {
                seen.note(tree, &known);
            }
            return Ok(());
        }
        Ok(())
    }

    /// Whether two trees differ only in lanes that cars do not affect: neither by what they change themselves, nor by
    /// what the candidate with `tree` changes on the target, which may have renamed what they change.
    fn is_apart_by_paths(
        &self,
        cars: &[CarId],
        seen: &Observation,
        tested: &ObjectId,
        tree: &ObjectId,
    ) -> Result<bool, EngineError> {
        let affected: Affected = cars.iter().try_fold(BTreeSet::new(), |mut all, id| {
            all.extend(seen.affected.get(id)?.as_ref()?.iter().cloned());
            Some(all)
        });
        let (own, around) = (self.code.differences(&seen.base, tree)?, self.code.differences(tested, tree)?);
        let lanes = |paths: Option<Vec<String>>| -> Affected {
            self.settings.lanes.affected(paths?.iter().map(String::as_str))
        };
        let (own, around) = (lanes(own), lanes(around));
        Ok(are_apart(&affected, &around) && are_apart(&own, &around))
    }

    /// Whether what a candidate changes on `base`, and what it has more than when it was tested, affect nothing in
    /// common.
    fn is_apart_in(
        &self,
        base: &ObjectId,
        candidate: &ObjectId,
        tested: &ObjectId,
        run: bool,
    ) -> Result<bool, EngineError> {
        if run {
            // A program is to look at it.
            self.code.keep(&[candidate], std::slice::from_ref(base))?;
        }
        let mut changes = Vec::new();
        for from in [base, tested] {
            let Some(paths) = self.code.differences(from, candidate)? else { return Ok(false) };
            changes.push(Change { from: from.clone(), to: candidate.clone(), paths });
        }
        let affected: Vec<Affected> = self.affected(base, &changes, run).into_iter().map(Result::ok).collect();
        Ok(matches!(&affected[..], [own, around] if are_apart(own, around)))
    }
}
