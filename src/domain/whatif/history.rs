//! What happened to a train, by the operations of its board: a trace that can be played again, and what came of it.
//!
//! Guarantees: total, whatever the operations are; nothing is in the trace that was not decided. A car counts as flawed
//! where it was ejected because it failed, or did not merge, on the target itself: it is taken to be no better in other
//! company, or earlier. A test that failed although all cars of its candidate landed was a flake. Cars that are still
//! under way, and those that people took out or submitted anew before they were judged, are left out.

use std::collections::{BTreeMap, BTreeSet};

use super::load::{Arrival, CarNo, Flaw, Trace};
use super::world::{Totals, quantile};
use crate::domain::command::EjectCause;
use crate::domain::{Branch, CarId, Command, ObjectId, Operation, Outcome, Priority, Run, Timestamp, Verdict};

/// What is gathered while a board's operations are gone through.
#[derive(Debug)]
pub struct History {
    target: Branch,
    submitted: Vec<Submission>,
    /// The submission that a car's name stands for now.
    current: BTreeMap<CarId, usize>,
    /// The submissions in candidates that are being tested outside, and since when.
    in_test: BTreeMap<ObjectId, (Vec<usize>, Timestamp)>,
    /// What tests said of which submissions, in order, and how long they took.
    tests: Vec<Test>,
    /// In what less time no test was over that was given up, by the last submission in its candidate, in seconds.
    at_least: BTreeMap<usize, u64>,
    /// When each test was begun.
    started: Vec<Timestamp>,
}

#[derive(Debug)]
struct Submission {
    at: Timestamp,
    car: CarId,
    priority: Priority,
    after: Vec<usize>,
    /// Cars that land by one move, itself among them.
    together: Vec<CarId>,
    single: bool,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// Under way, or out of sight.
    Unknown,
    Landed(Timestamp),
    Flawed(Flaw),
    /// It left with one that it needed, or was to land together with.
    Followed,
}

#[derive(Debug)]
struct Test {
    of: Vec<usize>,
    passed: bool,
    /// In seconds.
    took: Option<u64>,
}

/// What was recorded, to be played again. Time is counted in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// What happened.
    pub trace: Trace,
    /// What came of it.
    pub result: Totals,
    /// When the first of its cars was submitted.
    pub since: Timestamp,
    /// When the last of them was.
    pub until: Timestamp,
    /// How long a test takes: half of them took longer. `None`: no test is recorded.
    pub run_time: Option<f64>,
    /// How many more were submitted meanwhile, and are left out.
    pub left_out: usize,
}

impl History {
    /// Nothing yet of the train of `target`.
    pub fn new(target: Branch) -> History {
        History {
            target,
            submitted: Vec::new(),
            current: BTreeMap::new(),
            in_test: BTreeMap::new(),
            tests: Vec::new(),
            at_least: BTreeMap::new(),
            started: Vec::new(),
        }
    }

    /// Goes on with an operation, and what came of it. A submission has to name its priority.
    pub fn note(&mut self, operation: &Operation, outcome: &Outcome) {
        let at = operation.at;
        match (&operation.command, outcome) {
            (
                Command::Submit { car, target, priority, after, together, single, .. },
                Outcome::Submitted { again: false, .. },
            ) if *target == self.target => {
                let after = after.iter().filter_map(|id| self.current.get(id).copied()).collect();
                self.current.insert(car.clone(), self.submitted.len());
                let (priority, single) = (priority.unwrap_or_default(), single.unwrap_or_default());
                let (car, together, fate) = (car.clone(), together.clone(), Fate::Unknown);
                self.submitted.push(Submission { at, car, priority, after, together, single, fate });
            }
            (Command::Submit { car, target, together, .. }, Outcome::Submitted { again: true, .. })
                if *target == self.target && !together.is_empty() =>
            {
                // Others came to it that it had been submitted without.
                if let Some(nth) = self.current.get(car) {
                    self.submitted[*nth].together = together.clone();
                }
            }
            (Command::StartRun { target, run }, Outcome::Train { changed: true }) if *target == self.target => {
                self.begin(run, at);
            }
            (Command::ChangeRuns { target, start, .. }, Outcome::Runs { started, cancelled })
                if *target == self.target =>
            {
                self.give_up(at, cancelled);
                start.iter().filter(|run| started.contains(&run.commit)).for_each(|run| self.begin(run, at));
            }
            (Command::Verdict { target, record, cars, .. }, Outcome::Verdict { applied: true })
                if *target == self.target =>
            {
                let asked = self.in_test.remove(&record.commit);
                if asked.is_none() && record.took.is_some() {
                    // The machine's own checks are recorded when they are over.
                    self.started.push(at);
                }
                let passed = record.verdict == Verdict::Pass;
                if record.verdict != Verdict::Inconclusive {
                    let of = asked.map_or_else(|| self.known(cars), |(of, _)| of);
                    self.tests.push(Test { of, passed, took: record.took.map(|took| took.0) });
                }
            }
            (Command::Land { target, .. }, Outcome::Landed { cars, .. }) if *target == self.target => {
                cars.iter().for_each(|car| self.decide(car, Fate::Landed(at)));
            }
            (Command::Eject { target, car, cause, .. }, Outcome::Ejected { cars }) if *target == self.target => {
                let fate = match cause {
                    EjectCause::Failed => Fate::Flawed(Flaw::Fails),
                    EjectCause::Conflict => Fate::Flawed(Flaw::DoesNotMerge),
                    _ => Fate::Unknown,
                };
                for left in cars {
                    self.decide(left, if left == car { fate } else { Fate::Followed });
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, run: &Run, at: Timestamp) {
        self.started.push(at);
        self.in_test.insert(run.commit.clone(), (self.known(&run.cars), at));
    }

    /// Forgets tests that nobody waits for any more, but for how long they had gone on without an end.
    fn give_up(&mut self, at: Timestamp, cancelled: &[ObjectId]) {
        let at_least = &mut self.at_least;
        self.in_test.retain(|commit, (of, since)| {
            let given_up = cancelled.contains(commit);
            if let (true, Some(last)) = (given_up, of.last()) {
                let longest = at_least.entry(*last).or_default();
                *longest = (*longest).max(at.since(*since).0 + 1);
            }
            !given_up
        });
    }

    fn known(&self, cars: &[CarId]) -> Vec<usize> {
        cars.iter().filter_map(|id| self.current.get(id).copied()).collect()
    }

    fn decide(&mut self, car: &CarId, fate: Fate) {
        if let Some(nth) = self.current.get(car) {
            self.submitted[*nth].fate = fate;
        }
    }

    /// What can be played again of the last cars that were decided, so many at most; `None` where there are none.
    pub fn recorded(&self, cars_max: usize) -> Option<Recorded> {
        let decided = |nth: &usize| self.submitted[*nth].fate != Fate::Unknown;
        let decided: Vec<usize> = (0..self.submitted.len()).filter(decided).collect();
        let decided = &decided[decided.len().saturating_sub(cars_max)..];
        let company = self.company(decided);
        let kept = self.playable(decided, &company);
        let first = *kept.keys().next()?;
        let since = self.submitted[first].at;
        let times = self.run_times();
        let all: Vec<f64> = times.values().copied().collect();
        let run_time = Some(quantile(&all, 0.5)).filter(|time| time.is_finite());
        let mut cars: Vec<Arrival> = Vec::with_capacity(kept.len());
        let mut result = Totals::default();
        for nth in kept.keys() {
            let Submission { at, priority, after, single, fate, .. } = &self.submitted[*nth];
            // Clocks of those who submit differ: the order on the board is the order of arrival.
            let earlier = cars.last().map_or(0.0, |car| car.at);
            let with = company.get(nth).into_iter().flatten().filter_map(|other| kept.get(other).copied());
            let with: Vec<CarNo> = with.collect();
            let arrival = Arrival {
                at: (at.since(since).0 as f64).max(earlier),
                priority: *priority,
                after: after.iter().filter_map(|first| kept.get(first).copied()).collect(),
                together: if with.len() > 1 { with } else { Vec::new() },
                single: *single,
                flaw: if let Fate::Flawed(flaw) = fate { Some(*flaw) } else { None },
                run_time: times.get(nth).copied().unwrap_or_else(|| {
                    let at_least = self.at_least.get(nth).map_or(0.0, |secs| *secs as f64);
                    run_time.unwrap_or_default().max(at_least)
                }),
            };
            match fate {
                Fate::Landed(landed) => {
                    let took = landed.since(since).0 as f64 - arrival.at;
                    result.landed.push(took.max(0.0));
                }
                _ => result.ejected += 1,
            }
            cars.push(arrival);
        }
        let until = kept.keys().map(|nth| self.submitted[*nth].at).max().unwrap_or(since);
        result.runs = self.started.iter().filter(|at| **at >= since).count();
        let left_out = self.submitted.len() - first - kept.len();
        let trace = Trace { cars, flake_rate: self.flake_rate(), ..Trace::default() };
        Some(Recorded { trace, result, since, until, run_time, left_out })
    }

    /// The numbers of those that can be played again: what follows one that is not in the trace would have nobody to
    /// follow.
    fn playable(&self, decided: &[usize], company: &BTreeMap<usize, Vec<usize>>) -> BTreeMap<usize, CarNo> {
        let follows = |nth: &usize| self.submitted[*nth].fate == Fate::Followed;
        let (mut followed, led): (Vec<usize>, Vec<usize>) = decided.iter().partition(|nth| follows(nth));
        let mut present: BTreeSet<usize> = led.into_iter().collect();
        loop {
            let leads = |nth: &usize| self.submitted[*nth].after.iter().chain(company.get(nth).into_iter().flatten());
            let (joins, left): (Vec<usize>, Vec<usize>) =
                followed.iter().partition(|nth| leads(nth).any(|first| present.contains(first)));
            if joins.is_empty() {
                break;
            }
            present.extend(joins);
            followed = left;
        }
        // What a car needs is submitted before it, and so has a lower number.
        present.into_iter().zip(0..).collect()
    }

    /// The submissions among these that each was to land together with, itself among them: those of which all said so.
    fn company(&self, among: &[usize]) -> BTreeMap<usize, Vec<usize>> {
        let mut by_car: BTreeMap<&CarId, Vec<usize>> = BTreeMap::new();
        for nth in among {
            by_car.entry(&self.submitted[*nth].car).or_default().push(*nth);
        }
        // A car that left and came back is met by the one that came with it.
        let nearest = |car: &CarId, nth: usize| by_car.get(car)?.iter().copied().min_by_key(|m| m.abs_diff(nth));
        let of = |nth: usize| -> Vec<usize> {
            self.submitted[nth].together.iter().filter_map(|car| nearest(car, nth)).collect()
        };
        let all = among.iter().filter(|nth| !self.submitted[**nth].together.is_empty());
        let all: BTreeMap<usize, Vec<usize>> = all.map(|nth| (*nth, of(*nth))).collect();
        let same =
            |one: &[usize], other: &[usize]| one.len() == other.len() && one.iter().all(|nth| other.contains(nth));
        let says_so = |others: &[usize]| others.iter().all(|other| all.get(other).is_some_and(|its| same(its, others)));
        all.iter().filter(|(_, others)| says_so(others)).map(|(nth, others)| (*nth, others.clone())).collect()
    }

    /// How long the last test took that was about a submission, or about some of which it was the last.
    fn run_times(&self) -> BTreeMap<usize, f64> {
        let timed = self.tests.iter().filter_map(|test| Some((*test.of.last()?, test.took? as f64)));
        timed.collect()
    }

    /// The part of tests of good candidates that failed.
    fn flake_rate(&self) -> f64 {
        let good = |nth: &usize| matches!(self.submitted[*nth].fate, Fate::Landed(_));
        let of_good: Vec<&Test> =
            self.tests.iter().filter(|test| !test.of.is_empty() && test.of.iter().all(good)).collect();
        let failed = of_good.iter().filter(|test| !test.passed).count();
        failed as f64 / of_good.len().max(1) as f64
    }
}
