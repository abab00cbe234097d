//! `plan`: what a pass of the train would do next, given the board and what a script says was seen outside it.
//!
//! Branches stand at the commits that were submitted, unless the script says that one moved or is gone. Verdicts are
//! those on the board, as a pass reads them; the script adds others.
//!
//! | word | what was seen |
//! |---|---|
//! | `base=X` | the tip of the target |
//! | `moved=CAR:X` `gone=CAR` | the head of a car's branch moved, or the branch was removed |
//! | `on-target=CAR` | the target contains the car's commit |
//! | `stale=CAR` | its claim is not the present one of its task |
//! | `clean=CAR+CAR:X` | the candidate with these cars is commit X |
//! | `conflict=CAR+CAR:PATH,PATH` | there is none |
//! | `pass=X` `fail=X` `inconclusive=X` | what is known of the tree of commit X |
//! | `external` `timeout=30m` | verdicts come from outside; how long they are waited for |
//! | `batch=0` `strict` `greedy` | how many cars are tested together, and how |
//! | `window=1` `window=1-2-8` `slots=4` | how many cars are speculated on, and how many runs are under way at once |
//! | `approvals=1` | how many approvals a car needs |
//! | `affects=CAR:LANE,LANE` | what a car affects; of a car without it nothing is known |
//! | `preempt` | tests of what is less urgent are given up where what is most urgent finds no slot |
//! | `sparing=1h` `clash=CAR+CAR` | who sends the fewest back goes first; two that do not merge |

use git_scrum::domain::board::Board;
use git_scrum::domain::planner::{Action, Candidate, Observation, TrainPolicy, WindowPolicy, plan};
use git_scrum::domain::{CarId, Train, Verdict};

use super::World;
use super::verbs::target;
use super::views::train_of;
use super::words::{Words, Wrong};

impl World {
    /// Plans from the board and the words.
    pub(super) fn plan(&mut self, words: &mut Words) -> Result<Vec<String>, Wrong> {
        let target = target(words)?;
        let Ok(train) = self.board.train(&target);
        let Ok(cars) = self.board.open_cars(&target);
        let heads = cars.iter().map(|car| (car.id.clone(), car.commit.clone())).collect();
        let mut seen = Observation { heads, ..Observation::new(self.objects.id("base"), self.now) };
        let mut policy = TrainPolicy { external: false, ..TrainPolicy::PLAIN };
        for word in words.rest::<String>()? {
            self.see(&word, &mut seen, &mut policy)?;
        }
        let trees = seen.candidates.values().filter_map(|candidate| match candidate {
            Candidate::Clean { tree, .. } => Some(tree.clone()),
            Candidate::Conflict { .. } | Candidate::Unlike { .. } | Candidate::Behind => None,
        });
        for tree in trees.collect::<Vec<_>>() {
            let Ok(known) = self.board.verdict(&tree);
            if let Some(known) = known
                && !seen.verdicts.contains_key(&tree)
            {
                seen.note(&tree, &known);
            }
        }
        let planned = plan(&train.unwrap_or_else(|| Train::new(target)), &cars, &seen, &policy);
        let mut lines: Vec<String> = planned.actions.iter().map(action).collect();
        lines.extend(planned.wanted.map(|cars| format!("wants the candidate {}", train_of(&cars))));
        if lines.is_empty() {
            lines.push("nothing to do".to_owned());
        }
        Ok(lines)
    }

    fn see(&mut self, word: &str, seen: &mut Observation, policy: &mut TrainPolicy) -> Result<(), Wrong> {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let (left, right) = value.split_once(':').unwrap_or((value, ""));
        match key {
            "base" => seen.base = self.objects.id(value),
            "moved" => {
                seen.heads.insert(car(left)?, self.objects.id(right));
            }
            "gone" => {
                seen.heads.remove(&car(value)?);
            }
            "on-target" => {
                seen.on_target.insert(car(value)?);
            }
            "stale" => {
                seen.stale.insert(car(value)?);
            }
            "clean" => {
                let (commit, tree) = (self.objects.id(right), self.objects.id(&format!("{right}-tree")));
                seen.candidates.insert(cars(left)?, Candidate::Clean { commit, tree });
            }
            "conflict" => {
                let paths = right.split(',').map(str::to_owned).collect();
                seen.candidates.insert(cars(left)?, Candidate::Conflict { paths });
            }
            "pass" => self.know(value, Verdict::Pass, seen),
            "fail" => self.know(value, Verdict::Fail, seen),
            "inconclusive" => self.know(value, Verdict::Inconclusive, seen),
            "external" => policy.external = true,
            "timeout" => policy.timeout = value.parse()?,
            "window" => policy.window = window(value)?,
            "batch" => policy.batch.cars_max = value.parse().map_err(|error| format!("{value}: {error}"))?,
            "strict" => policy.batch.relaxed = false,
            "greedy" => policy.batch.greedy = true,
            "affects" => {
                let lanes = right.split(',').map(str::to_owned).collect();
                seen.affected.insert(car(left)?, Some(lanes));
            }
            "preempt" => policy.preempt = true,
            "sparing" => policy.sparing = Some(value.parse()?),
            "clash" => match &cars(value)?[..] {
                [one, other] => drop(seen.clashes.insert((one.clone(), other.clone()))),
                _ => return Err(format!("{value} is no pair")),
            },
            "approvals" => policy.approvals = value.parse().map_err(|error| format!("{value}: {error}"))?,
            "tolerate" => policy.tolerate = value.parse().map_err(|error| format!("{value}: {error}"))?,
            "slots" => policy.slots = value.parse().map_err(|error| format!("{value}: {error}"))?,
            _ => return Err(format!("nothing can be seen as {word}")),
        }
        Ok(())
    }

    fn know(&mut self, commit: &str, verdict: Verdict, seen: &mut Observation) {
        seen.verdicts.insert(self.objects.id(&format!("{commit}-tree")), verdict);
    }
}

/// `4`, or `1-4-8`: at least, at the start, at most.
fn window(text: &str) -> Result<WindowPolicy, Wrong> {
    let numbers: Result<Vec<u32>, _> = text.split('-').map(str::parse).collect();
    match numbers.map_err(|error| format!("{text}: {error}"))?[..] {
        [fixed] => Ok(WindowPolicy::within(fixed, fixed, fixed)),
        [min, start, max] => Ok(WindowPolicy::within(start, min, max)),
        _ => Err(format!("{text} is no window")),
    }
}

fn car(name: &str) -> Result<CarId, Wrong> {
    CarId::parse(name).map_err(|error| error.to_string())
}

fn cars(names: &str) -> Result<Vec<CarId>, Wrong> {
    names.split('+').map(car).collect()
}

fn action(action: &Action) -> String {
    match action {
        Action::StartRun { cars, commit, .. } => format!("start-run {}: {commit}", train_of(cars)),
        Action::CancelRun { cars, commit, .. } => format!("cancel-run {}: {commit}", train_of(cars)),
        Action::ReuseVerdict { cars, commit, verdict, .. } => {
            format!("reuse-verdict {}: {commit}, {verdict}", train_of(cars))
        }
        Action::Land { cars, from, to, tree } => {
            let tested = if tree.is_some() { "" } else { ", on the target already" };
            format!("land {}: from {from} to {to}{tested}", train_of(cars))
        }
        Action::Eject { car, cause, reason } => format!("eject {car}, {cause:?}: {reason}"),
        Action::Wait { car, reason } => format!("wait {car}: {reason}"),
    }
}
