//! Who stands behind whom, and what comes of that.
//!
//! Guarantees: nothing lands before all that it was tested behind; a car is blamed only for what it did on the target
//! alone. Must not decide which cars are tested together: `batches` does.

use std::cmp::Reverse;

use super::batches::{self, Odds, Urgency};
use super::{Action, Candidate, INCONCLUSIVE_MAX, Observation, TrainPolicy, in_order};
use crate::domain::command::EjectCause;
use crate::domain::{Batch, Branch, Car, CarId, ObjectId, Run, Seconds, Timestamp, Train, Verdict};

/// The candidate without which there is nothing more to say, and all with fewer cars from the first on.
pub(super) struct Wanted(pub(super) Vec<CarId>);

/// How cars stand behind those that are assumed to land before them.
enum Standing {
    /// They are of no use: nothing else is in what was found against them.
    Fail(EjectCause, String),
    /// What was found against them may be the fault of those ahead. Nobody behind them counts on them until those are
    /// decided.
    StepAside(String),
    /// The same, where it is the check that failed.
    Failed(String),
    /// One of them does not merge with the others.
    Breaks(usize),
    /// They may land after those ahead.
    Passed(Tested),
    /// That is being tested.
    InTest(Tested),
    /// That has to be tested.
    Untested(Tested),
}

/// A candidate that merges.
struct Tested {
    cars: Vec<CarId>,
    ahead: usize,
    commit: ObjectId,
    tree: ObjectId,
}

impl Tested {
    fn start(self) -> Action {
        let Tested { cars, ahead, commit, tree } = self;
        Action::StartRun { cars, ahead, commit, tree }
    }
}

/// What a look at all batches comes to.
enum Look {
    /// They were grouped anew: everything has to be looked at again.
    Regrouped,
    /// This is what to do.
    Done(Vec<Action>),
}

/// Plans the cars of the window, each behind those ahead of it that have not failed. Gives the batches, too.
pub(super) fn speculate(
    train: &Train,
    cars: &[Car],
    seen: &Observation,
    policy: &TrainPolicy,
) -> Result<(Vec<Action>, Vec<Batch>), Wanted> {
    let ordered = in_order(cars);
    let batches = batches::standing(train, &ordered, policy);
    let mut all = Speculation { train, seen, policy, batches, ordered, lost: None };
    // Every batch is split, joined or put in line a number of times that is bounded by its cars.
    loop {
        if let Look::Done(actions) = all.look()? {
            return Ok((actions, batches::remembered(&all.ordered, all.batches, policy)));
        }
    }
}

struct Speculation<'a> {
    train: &'a Train,
    seen: &'a Observation,
    policy: &'a TrainPolicy,
    ordered: Vec<&'a Car>,
    batches: Vec<Batch>,
    /// The cars that left the line because nobody tests any more what they stood in; `None`: that was not looked at.
    lost: Option<Vec<CarId>>,
}

/// What was found while going through the line.
#[derive(Default)]
struct Found {
    /// Those that all that follow are tested behind.
    stem: Vec<CarId>,
    /// How many of them are known to pass, from the first on.
    passed: usize,
    /// How many that follow these failed, which is forgiven for now: who passed with them lands them, too.
    forgiven: usize,
    landing: Vec<Tested>,
    in_test: Vec<ObjectId>,
    untested: Vec<Tested>,
    waits: Vec<Action>,
}

impl Found {
    /// How many of the stem, from the first on, need not be waited for by who passes with them.
    fn decided(&self) -> usize {
        self.passed + self.forgiven
    }

    fn wait(&mut self, cars: &[CarId], reason: &str) {
        self.waits.extend(cars.iter().map(|car| Action::Wait { car: car.clone(), reason: reason.to_owned() }));
    }
}

impl<'a> Speculation<'a> {
    fn look(&mut self) -> Result<Look, Wanted> {
        let mut found = Found::default();
        let mut odds = Odds::new(self.train);
        if let Some(look) = self.look_at_line(&mut found, &mut odds)? {
            return Ok(look);
        }
        if self.policy.tests_together()
            && found.landing.is_empty()
            && let Some(look) = self.look_apart(&mut found, &mut odds)?
        {
            return Ok(look);
        }
        let mut actions = land(self, &found);
        let idle = self.train.runs.iter().filter(|run| !found.in_test.contains(&run.commit));
        actions.extend(idle.map(Action::cancel));
        let free = self.policy.runs_max().saturating_sub(found.in_test.len());
        let mut started: Vec<ObjectId> = Vec::new();
        for tested in std::mem::take(&mut found.untested) {
            if started.contains(&tested.tree) {
                found.wait(&tested.cars[tested.ahead..], "what it makes is being tested, ahead of it");
            } else if started.len() < free {
                started.push(tested.tree.clone());
                actions.push(tested.start());
            } else {
                found.wait(&tested.cars[tested.ahead..], &self.no_slot());
            }
        }
        actions.extend(found.waits);
        Ok(Look::Done(actions))
    }

    fn no_slot(&self) -> String {
        format!("no more than {} at once, and others go first", counted(self.policy.runs_max(), "run"))
    }

    fn car(&self, id: &CarId) -> &'a Car {
        self.ordered.iter().find(|car| car.id == *id).expect("BUG: batches are of cars that are there")
    }

    /// Cars that are in no batch yet.
    fn unbatched(&self) -> Vec<&'a Car> {
        let is_batched = |car: &&Car| self.batches.iter().any(|batch| batch.cars.contains(&car.id));
        self.ordered.iter().copied().filter(|car| !is_batched(car)).collect()
    }

    /// Goes through the line from its head on.
    fn look_at_line(&mut self, found: &mut Found, odds: &mut Odds) -> Result<Option<Look>, Wanted> {
        let window = self.window();
        let mut overtakes_nobody = true;
        let mut lost: Vec<usize> = Vec::new();
        for (place, index) in
            (0..self.batches.len()).filter(|index| !self.batches[*index].apart).enumerate().collect::<Vec<_>>()
        {
            let batch = self.batches[index].clone();
            let needed = self.needs(&batch, &found.stem);
            let standing = match &needed {
                // Others of its batch may be what that one needs in turn.
                Some((nth, _)) if self.is_several(&batch) => return Ok(Some(self.take_apart(index, *nth))),
                _ if place >= window => {
                    Standing::StepAside(format!("it stands behind the window of {}", counted(window, "car")))
                }
                Some((_, first)) => Standing::StepAside(format!("{first}, which it needs, waits too")),
                None => self.stand(&batch, &found.stem)?,
            };
            match standing {
                Standing::Fail(EjectCause::Failed, ref reason) | Standing::Failed(ref reason)
                    if self.is_forgiven(index, &found.stem)? =>
                {
                    found
                        .wait(&batch.cars, &format!("{reason}; forgiven while those behind it may still pass with it"));
                    found.forgiven += batch.cars.len();
                }
                // Nothing is ahead of it, and all that is behind it counted on it.
                Standing::Fail(cause, reason) => return Ok(Some(self.fail(index, cause, reason))),
                Standing::Breaks(nth) => return Ok(Some(self.take_apart(index, nth))),
                Standing::StepAside(reason) | Standing::Failed(reason) => {
                    found.wait(&batch.cars, &reason);
                    // What it needs may stand behind it, and must not wait for it in turn.
                    overtakes_nobody &= self.policy.may_be_overtaken() || needed.is_some();
                    continue;
                }
                Standing::Passed(tested) if found.decided() == found.stem.len() && overtakes_nobody => {
                    found.passed = tested.cars.len();
                    found.forgiven = 0;
                    found.landing.push(tested);
                }
                Standing::Passed(_) => {
                    let ahead = named(&found.stem[found.decided().min(found.stem.len())..]);
                    let ahead = if ahead.is_empty() { "what stepped aside" } else { &ahead };
                    found.wait(&batch.cars, &format!("it passed, and lands after {ahead}"));
                }
                Standing::InTest(tested) => {
                    odds.behind(&batch);
                    found.wait(&batch.cars, &format!("{} is being tested", tested.commit));
                    found.in_test.push(tested.commit);
                }
                Standing::Untested(_) if self.may_be_lost() => {
                    lost.push(index);
                    continue;
                }
                Standing::Untested(tested) => {
                    odds.behind(&batch);
                    found.untested.push(tested);
                }
            }
            found.stem.extend(batch.cars);
        }
        if self.may_be_lost() {
            self.leave_line(&lost);
            return Ok((!lost.is_empty()).then_some(Look::Regrouped));
        }
        Ok(None)
    }

    /// Whether a batch in line that nobody tests has lost those that it was tested behind. It was put there when a run
    /// was free for it; whoever is put there now has not lost anything.
    fn may_be_lost(&self) -> bool {
        self.lost.is_none() && self.policy.tests_together() && self.policy.batch.relaxed
    }

    /// Takes batches out of the line: what passed by itself waits for a place again, and others are grouped anew. So
    /// those that are known to pass never stand behind those of which nothing is known.
    fn leave_line(&mut self, indices: &[usize]) {
        let lost = self.lost.insert(Vec::new());
        for index in indices.iter().rev() {
            match &mut self.batches[*index] {
                passed if passed.tree.is_some() => passed.apart = true,
                _ => lost.extend(self.batches.remove(*index).cars),
            }
        }
    }

    /// The place in the batch of a car that needs another, neither ahead of it nor in the batch; and that other.
    fn needs(&self, batch: &Batch, stem: &[CarId]) -> Option<(usize, CarId)> {
        let is_open = |id: &CarId| self.ordered.iter().any(|car| car.id == *id);
        let missing = |id: &CarId| is_open(id) && !stem.contains(id) && !batch.cars.contains(id);
        let mut cars = batch.cars.iter().enumerate();
        cars.find_map(|(nth, id)| Some((nth, self.car(id).after.iter().find(|first| missing(first))?.clone())))
    }

    /// How many batches are looked at, from the head of the line on.
    fn window(&self) -> usize {
        if self.policy.tests_together() { usize::MAX } else { self.policy.window.of(self.train) as usize }
    }

    /// Whether what failed behind `stem` may have been a whim of its check: too few that contain it failed for that,
    /// and one that does has passed or may still pass.
    ///
    /// What is counted on here has to be what comes to be: who waits for somebody behind who waits in turn, waits for
    /// ever. So this goes down the line as [`Speculation::look_at_line`] does once the car is forgiven. Those that
    /// failed on the way to whoever may clear them are forgiven for the same reason.
    fn is_forgiven(&self, index: usize, stem: &[CarId]) -> Result<bool, Wanted> {
        if self.policy.tolerate == 0 || self.is_several(&self.batches[index]) {
            return Ok(false);
        }
        let mut cars: Vec<CarId> = stem.iter().chain(&self.batches[index].cars).cloned().collect();
        let mut failed = 1;
        let mut overtakes_nobody = true;
        let in_line = self.batches.iter().enumerate().filter(|(_, batch)| !batch.apart).take(self.window());
        for (_, behind) in in_line.skip_while(|(other, _)| *other <= index) {
            if failed > self.policy.tolerate {
                return Ok(false);
            }
            if self.needs(behind, &cars).is_some() {
                continue;
            }
            let stays = match self.stand(behind, &cars)? {
                Standing::InTest(_) | Standing::Untested(_) => return Ok(true),
                Standing::Passed(_) if overtakes_nobody => return Ok(true),
                Standing::Passed(_) => true,
                Standing::Failed(_) | Standing::Fail(..) => {
                    failed += 1;
                    !self.is_several(behind)
                }
                Standing::StepAside(_) | Standing::Breaks(_) => false,
            };
            if stays {
                cars.extend(behind.cars.iter().cloned());
            } else {
                overtakes_nobody &= self.policy.may_be_overtaken();
            }
        }
        Ok(false)
    }

    /// What becomes of a batch that is of no use on the target alone.
    fn fail(&mut self, index: usize, cause: EjectCause, reason: String) -> Look {
        let batch = &self.batches[index];
        match batches::middle(&self.ordered, batch) {
            // Those that land together with it leave with it.
            0 => Look::Done(vec![Action::Eject { car: batch.cars[0].clone(), cause, reason }]),
            middle => {
                let relaxed = self.policy.batch.relaxed;
                let [first, second] = batch.split(middle, relaxed);
                let parts = match batches::middle(&self.ordered, &second) {
                    // One after the other it would take as many tests to tell three apart.
                    place if place != 0 && relaxed && batch.cars.len() <= 3 && self.policy.runs_max() >= 3 => {
                        [&[first][..], &second.split(place, relaxed)].concat()
                    }
                    _ => vec![first, second],
                };
                self.batches.splice(index..=index, parts);
                Look::Regrouped
            }
        }
    }

    /// When a car failed, where all that is known against it is that it failed with others, which were undecided then.
    fn suspected_at(&self, batch: &Batch, tree: Option<&ObjectId>) -> Option<Timestamp> {
        let (of, at) = tree.and_then(|tree| self.seen.failed_together.get(tree)).copied()?;
        (self.policy.confirm && of as usize > batch.cars.len() && !self.is_several(batch)).then_some(at)
    }

    /// Whether a car is tested alone later: it most likely fails again, and others that are as urgent, and were there
    /// when it failed, have not been tested at all.
    fn gives_way(&self, batch: &Batch) -> bool {
        let Some(at) = self.suspected_at(batch, batch.tree.as_ref()) else { return false };
        let urgency = self.urgency(batch);
        let goes_first = |car: &&Car| car.submitted_at <= at && batches::urgency(&self.ordered, &car.id) <= urgency;
        self.unbatched().iter().any(goes_first)
    }

    /// The runs that somebody carries on.
    fn runs(&self) -> impl Iterator<Item = &'a Run> {
        let lost = &self.seen.lost;
        self.train.runs.iter().filter(move |run| !lost.contains(&run.commit))
    }

    /// How long the verdict of a run is waited for.
    fn timeout(&self, run: &Run) -> Seconds {
        self.seen.timeouts.get(&run.commit).copied().unwrap_or(self.policy.timeout)
    }

    /// Whether a verdict from outside should be there by now.
    fn is_overdue(&self, run: &Run) -> bool {
        self.policy.external && self.seen.now > run.started_at.plus(self.timeout(run))
    }

    /// Whether a test of one of these cars is under way that may still say something.
    fn is_in_test(&self, cars: &[CarId]) -> bool {
        let about = |run: &Run| run.tested().iter().any(|id| cars.contains(id));
        self.runs().any(|run| about(run) && !self.is_overdue(run))
    }

    /// Whether some cars of a batch may land without the others.
    fn is_several(&self, batch: &Batch) -> bool {
        batches::middle(&self.ordered, batch) != 0
    }

    /// A car leaves its batch, with those that it lands together with, and stands behind it.
    fn take_apart(&mut self, index: usize, nth: usize) -> Look {
        let ordered = &self.ordered;
        let batch = &mut self.batches[index];
        let car = batch.cars[nth].clone();
        let (cars, left) =
            std::mem::take(&mut batch.cars).into_iter().partition(|other| batches::land_together(ordered, &car, other));
        batch.cars = left;
        let alone = Batch { same_failure: batch.apart, ..Batch::untested(cars, batch.apart) };
        self.batches.insert(index + 1, alone);
        Look::Regrouped
    }

    /// Looks at the batches that are tested by themselves, and groups such cars as are in none as far as runs are free.
    fn look_apart(&mut self, found: &mut Found, odds: &mut Odds) -> Result<Option<Look>, Wanted> {
        let mut passed: Vec<(usize, usize)> = Vec::new();
        let mut again: Vec<usize> = Vec::new();
        for index in (0..self.batches.len()).filter(|index| self.batches[*index].apart).collect::<Vec<_>>() {
            let batch = &self.batches[index];
            let run = self.runs().find(|run| Some(&run.tree) == batch.tree.as_ref() && run.ahead == 0);
            match batch.tree.as_ref().and_then(|tree| self.seen.verdicts.get(tree)) {
                Some(Verdict::Pass) => passed.push((index, batch.cars.len())),
                Some(Verdict::Fail) if self.suspected_at(batch, batch.tree.as_ref()).is_none() => {
                    let tree = batch.tree.as_ref().map_or("", ObjectId::as_str);
                    let reason = format!("its check failed on the tree {tree}");
                    return Ok(Some(self.fail(index, EjectCause::Failed, reason)));
                }
                _ => match run {
                    Some(run) if !self.is_overdue(run) => {
                        found.wait(&batch.cars.clone(), &format!("{} is being tested", run.commit));
                        found.in_test.push(run.commit.clone());
                    }
                    _ => again.push(index),
                },
            }
        }
        // Who goes first lands first, and waits for nobody else's fault.
        passed.sort_by_key(|(_, cars)| Reverse(*cars));
        let mut free = self.policy.runs_max().saturating_sub(found.in_test.len() + found.untested.len());
        again.sort_by_key(|index| {
            let batch = &self.batches[*index];
            (self.urgency(batch), self.suspected_at(batch, batch.tree.as_ref()).is_some())
        });
        for index in again {
            let batch = self.batches[index].clone();
            if self.gives_way(&batch) {
                found.wait(&batch.cars, "it failed with others, and is tested alone after those that were there then");
                continue;
            }
            if let Some((nth, first)) = self.needs(&batch, &[]) {
                if self.is_several(&batch) {
                    return Ok(Some(self.take_apart(index, nth)));
                }
                found.wait(&batch.cars, &format!("{first}, which it needs, waits too"));
                continue;
            }
            match self.stand(&batch, &[])? {
                Standing::Fail(cause, reason) => return Ok(Some(self.fail(index, cause, reason))),
                Standing::Breaks(nth) => return Ok(Some(self.take_apart(index, nth))),
                Standing::Passed(tested) => {
                    self.batches[index].tree = Some(tested.tree);
                    return Ok(Some(Look::Regrouped));
                }
                Standing::Untested(tested)
                    if batch.tree.as_ref() != Some(&tested.tree)
                        && self.suspected_at(&batch, Some(&tested.tree)).is_some() =>
                {
                    self.batches[index].tree = Some(tested.tree);
                    return Ok(Some(Look::Regrouped));
                }
                Standing::Untested(tested) if free > 0 => {
                    free -= 1;
                    self.batches[index].tree = Some(tested.tree.clone());
                    found.untested.push(tested);
                }
                Standing::InTest(tested) => {
                    self.batches[index].tree = Some(tested.tree.clone());
                    found.wait(&batch.cars, &format!("{} is being tested", tested.commit));
                    found.in_test.push(tested.commit);
                }
                Standing::Untested(_) | Standing::StepAside(_) | Standing::Failed(_) => {
                    found.wait(&batch.cars, &self.no_slot())
                }
            }
        }
        if found.stem.is_empty()
            && let Some(look) = self.land_apart(&passed)?
        {
            return Ok(Some(look));
        }
        if free > 0 && !passed.is_empty() && odds.are_good() {
            // Who is tested alone stands alone in line, too.
            let is_single = |index: usize| self.batches[index].cars.iter().any(|id| self.car(id).single);
            let first = passed[0].0;
            passed.retain(|(index, _)| *index == first || !(is_single(first) || is_single(*index)));
            self.put_in_line(&odds.together(&passed, free, self.policy.batch));
            return Ok(Some(Look::Regrouped));
        }
        for (index, _) in &passed {
            let cars = self.batches[*index].cars.clone();
            found.wait(&cars, "it passed by itself, and waits for a place in line");
        }
        self.group(found, odds, free)
    }

    /// Lands what passed by itself where the target still is what it was tested on.
    fn land_apart(&mut self, passed: &[(usize, usize)]) -> Result<Option<Look>, Wanted> {
        for (index, _) in passed {
            let batch = self.batches[*index].clone();
            if self.needs(&batch, &[]).is_none()
                && let Standing::Passed(_) = self.stand(&batch, &[])?
            {
                self.put_in_line(&[*index]);
                return Ok(Some(Look::Regrouped));
            }
        }
        Ok(None)
    }

    /// Puts batches that passed by themselves at the end of the line, together.
    fn put_in_line(&mut self, chosen: &[usize]) {
        let mut joined = Batch::untested(Vec::new(), false);
        for index in chosen {
            joined.cars.extend(self.batches[*index].cars.iter().cloned());
            joined.tree = joined.tree.or(self.batches[*index].tree.clone());
        }
        let order = |id: &CarId| self.ordered.iter().position(|car| car.id == *id);
        joined.cars.sort_by_key(order);
        Batch::keep_cars(&mut self.batches, |id| !joined.cars.contains(id));
        self.insert(joined);
    }

    /// Puts a batch behind all that are as urgent.
    fn insert(&mut self, batch: Batch) {
        let urgency = self.urgency(&batch);
        let place = self.batches.partition_point(|other| self.urgency(other) <= urgency);
        self.batches.insert(place, batch);
    }

    fn urgency(&self, batch: &Batch) -> Urgency {
        batches::urgency(&self.ordered, &batch.cars[0])
    }

    /// Makes a batch of cars that are in none, where a run is free for it or it has to go first.
    fn group(&mut self, found: &mut Found, odds: &Odds, free: usize) -> Result<Option<Look>, Wanted> {
        let waiting = self.unbatched();
        let Some(first) = waiting.first() else { return Ok(None) };
        // Where nobody stands in line, those that are tested apart must not be begun before what is more urgent.
        let others = self.batches.iter().find(|batch| !batch.apart).or(self.batches.last());
        let urgency = batches::urgency(&self.ordered, &first.id);
        let goes_first = others.is_some_and(|others| urgency < self.urgency(others));
        if free == 0 && !goes_first {
            let waiting: Vec<CarId> = waiting.into_iter().map(|car| car.id.clone()).collect();
            found.wait(&waiting, &self.no_slot());
            return Ok(None);
        }
        let alone = Batch::untested(batches::next(&self.ordered, &waiting, 1), false);
        let size = odds.size(waiting.len(), free, self.policy.batch);
        let size = match found.stem.is_empty().then(|| self.stand(&alone, &[])).transpose()? {
            // Nobody who came while it was tested makes that a test of nothing.
            Some(Standing::Passed(_) | Standing::Fail(EjectCause::Failed, _)) => 1,
            _ if self.is_lost_with_many(&first.id) => size.max(2),
            _ => size,
        };
        let cars = batches::next(&self.ordered, &waiting, size);
        // What passes apart is tested again in line: not worth it for a queue that has room there.
        let apart = self.policy.batch.relaxed && !goes_first && !odds.are_good() && waiting.len() > free;
        self.insert(Batch::untested(cars, apart));
        Ok(Some(Look::Regrouped))
    }

    /// Whether a car has to be tested anew with so many others that, each by itself, they would take half of all runs.
    fn is_lost_with_many(&self, car: &CarId) -> bool {
        self.lost.as_ref().is_some_and(|lost| lost.contains(car) && 2 * lost.len() >= self.policy.runs_max())
    }

    /// How the cars of a batch stand behind the cars of `stem`.
    fn stand(&self, batch: &Batch, stem: &[CarId]) -> Result<Standing, Wanted> {
        let (train, seen) = (self.train, self.seen);
        let cars: Vec<CarId> = stem.iter().chain(&batch.cars).cloned().collect();
        // Of cars that land together the one that is the matter is named.
        let it = |nth: usize| if nth == 0 { "it" } else { batch.cars[nth].as_str() };
        let mut merged = None;
        for (nth, id) in batch.cars.iter().enumerate() {
            match seen.candidates.get(&cars[..=stem.len() + nth]).ok_or_else(|| Wanted(cars.clone()))? {
                Candidate::Clean { commit, tree } => merged = Some((commit.clone(), tree.clone())),
                Candidate::Conflict { .. } | Candidate::Unlike { .. } | Candidate::Behind if self.is_several(batch) => {
                    return Ok(Standing::Breaks(nth));
                }
                Candidate::Unlike { paths } => {
                    let (it, paths) = (it(nth), paths.join(", "));
                    let what = "cannot be put on the target commit by commit: its merges are left out then";
                    let next = "squash the branch, or set train.method to \"merge\"";
                    let reason = format!("{it} {what}, and with them what they did in {paths}: {next}");
                    return Ok(match stem {
                        [] => Standing::Fail(EjectCause::Conflict, reason),
                        _ => Standing::StepAside(reason),
                    });
                }
                Candidate::Behind => {
                    let end = cars[..stem.len() + nth].last().map_or(train.target.as_str(), CarId::as_str);
                    let reason = format!("{} does not start from {end}: rebase it, and submit it again", it(nth));
                    return Ok(match stem {
                        [] => Standing::Fail(EjectCause::Conflict, reason),
                        _ => Standing::StepAside(reason),
                    });
                }
                Candidate::Conflict { paths } => {
                    let with = conflicting(id, &cars[..stem.len() + nth], paths, &train.target, seen)?;
                    let reason = format!("{} conflicts {with}", it(nth));
                    return Ok(match stem {
                        [] => Standing::Fail(EjectCause::Conflict, reason),
                        _ => Standing::StepAside(reason),
                    });
                }
            }
        }
        let (commit, tree) = merged.expect("BUG: a batch has cars");
        let tested = Tested { cars, ahead: stem.len(), commit, tree };
        let against = |cause, what: String| match stem {
            [] => Standing::Fail(cause, what),
            _ if cause == EjectCause::Failed => Standing::Failed(format!("{what}, with {} ahead of it", named(stem))),
            _ => Standing::StepAside(format!("{what}, with {} ahead of it", named(stem))),
        };
        let same_as = seen.same_as.get(&tested.tree);
        let same = |run: &&Run| run.commit == tested.commit || run.tree == tested.tree || Some(&run.tree) == same_as;
        let run = self.runs().find(same);
        let of_this = |car: &&Car| car.tested_tree.as_ref() == Some(&tested.tree);
        let counts = batch.cars.iter().map(|id| Some(self.car(id)).filter(of_this).map_or(0, |car| car.inconclusive));
        let inconclusive = counts.min().unwrap_or(0);
        let is_suspect = stem.is_empty() && self.suspected_at(batch, Some(&tested.tree)).is_some();
        Ok(match (seen.verdicts.get(&tested.tree), run) {
            (Some(Verdict::Pass), _) => Standing::Passed(tested),
            (Some(Verdict::Fail), _) if !is_suspect => {
                against(EjectCause::Failed, format!("its check failed on {}", tested.commit))
            }
            _ if inconclusive >= INCONCLUSIVE_MAX => {
                against(EjectCause::NoVerdict, format!("its check gave no verdict {inconclusive} times"))
            }
            // Behind others it is given the time that they take.
            (_, Some(run)) if self.is_overdue(run) && !self.is_in_test(stem) => {
                let (commit, timeout) = (&tested.commit, self.timeout(run));
                against(EjectCause::NoVerdict, format!("there was no verdict on {commit} within {timeout}"))
            }
            (_, Some(run)) => Standing::InTest(Tested { commit: run.commit.clone(), ..tested }),
            (_, None) => Standing::Untested(tested),
        })
    }
}

/// What lands the cars that passed, with nothing undecided ahead of them, by one move of the target.
fn land(all: &Speculation<'_>, found: &Found) -> Vec<Action> {
    let Some(last) = found.landing.last() else { return Vec::new() };
    let known = found.landing.iter().filter(|tested| {
        let tree = tested.cars.last().and_then(|id| all.car(id).tested_tree.as_ref());
        tree != Some(&tested.tree)
    });
    let mut actions: Vec<Action> = known
        .map(|Tested { cars, commit, tree, .. }| Action::ReuseVerdict {
            cars: cars.clone(),
            commit: commit.clone(),
            tree: tree.clone(),
            verdict: Verdict::Pass,
        })
        .collect();
    actions.push(Action::Land {
        cars: last.cars.clone(),
        from: all.seen.base.clone(),
        to: last.commit.clone(),
        tree: Some(last.tree.clone()),
    });
    actions
}

/// Whom a car conflicts with, and where: the target, and each of those `ahead` that is enough for it by itself, with
/// its own paths.
fn conflicting(
    car: &CarId,
    ahead: &[CarId],
    paths: &[String],
    target: &Branch,
    seen: &Observation,
) -> Result<String, Wanted> {
    let within = |name: &str, paths: &[&str]| format!("with {name} in {}", paths.join(", "));
    let mut rest: Vec<&str> = paths.iter().map(String::as_str).collect();
    if ahead.is_empty() {
        return Ok(within(target.as_str(), &rest));
    }
    let mut found = Vec::new();
    for other in std::iter::once(None).chain(ahead.iter().map(Some)) {
        // One that does not merge by itself needs others that are ahead of it.
        if let Some(other) = other
            && !matches!(built(seen, std::slice::from_ref(other))?, Candidate::Clean { .. })
        {
            continue;
        }
        let both: Vec<CarId> = other.into_iter().chain([car]).cloned().collect();
        let Candidate::Conflict { paths: own } = built(seen, &both)? else { continue };
        let (own, others): (Vec<&str>, Vec<&str>) = rest.iter().partition(|path| own.iter().any(|one| one == *path));
        if own.is_empty() && !rest.is_empty() {
            continue;
        }
        found.push(within(other.map_or(target.as_str(), CarId::as_str), &own));
        rest = others;
        if rest.is_empty() {
            break;
        }
    }
    if found.is_empty() || !rest.is_empty() {
        found.push(within(&named(ahead), &rest));
    }
    Ok(found.join(", "))
}

fn built<'o>(seen: &'o Observation, cars: &[CarId]) -> Result<&'o Candidate, Wanted> {
    seen.candidates.get(cars).ok_or_else(|| Wanted(cars.to_vec()))
}

fn named(cars: &[CarId]) -> String {
    cars.iter().map(CarId::as_str).collect::<Vec<_>>().join(", ")
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
