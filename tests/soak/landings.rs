//! Whether two hosts that ran passes at the same time did together what one that is never disturbed would have done.
//!
//! The board's operations are gone through in order, with the runs that are under way and the trees that are known. One
//! candidate for each state: whoever builds the same cars on the same target builds the same commit. One run for each
//! candidate: none is begun that is under way, or whose tree is known; but a car alone is tested once more for what it
//! was found to be with others. One end for each car: it lands or it leaves. The target moves as the board says and only so,
//! forward, to trees that had passed.

use std::collections::{BTreeMap, BTreeSet};

use toml::Value;

/// What a run leaves.
#[derive(Clone)]
pub struct Evidence {
    /// The cars: whether each has to land; one of two that follow each other where that is not said.
    pub submitted: BTreeMap<String, Option<bool>>,
    /// What the board says of the train, in order.
    pub steps: Vec<Step>,
    /// The moves of the target, as its host has logged them.
    pub moves: Vec<(String, String)>,
    /// The commits of the target, from the first on, by first parents.
    pub target: Vec<String>,
    /// The files on the target.
    pub files: BTreeSet<String>,
    /// Every candidate that anybody has built: what it merges, its id, and its tree.
    pub candidates: BTreeSet<(Vec<String>, String, String)>,
}

/// One thing that the board says of the train.
#[derive(Clone, Debug)]
pub enum Step {
    /// A run was asked for.
    Started { run: Run, by: String },
    /// Runs are not waited for any more.
    Cancelled { commits: Vec<String> },
    /// A tree is known, by a test of so many cars.
    Judged { tree: String, passed: bool, of: usize },
    /// Cars are on the target.
    Landed { cars: Vec<String>, from: String, to: String, tree: String, by: String },
    /// Cars were taken out.
    Left { cars: Vec<String>, by: String },
}

/// A test of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub commit: String,
    pub tree: String,
    pub base: String,
    pub cars: Vec<String>,
    /// How many of the cars have runs of their own.
    pub ahead: usize,
}

/// What was found, in numbers.
#[derive(Debug, Default)]
pub struct Account {
    pub submitted: usize,
    pub landed: usize,
    pub left: usize,
    pub landings: usize,
    pub candidates: usize,
    pub runs: usize,
    /// Runs of one car alone for what was known of it with others.
    pub confirmed: usize,
    /// Runs that were given up and asked for again.
    pub runs_again: usize,
    /// What each asker's passes did: runs begun, landings, cars taken out.
    pub by: BTreeMap<String, [usize; 3]>,
}

impl Step {
    /// What an operation says of the train.
    ///
    /// # Panics
    /// Where a record is not as docs/refs.md describes it.
    pub fn of(record: &Value) -> Vec<Step> {
        let part = |path: &[&str]| path.iter().try_fold(record, |value, key| value.get(key)).cloned();
        let texts = |path: &[&str]| part(path).map_or(Vec::new(), |list| words(&list));
        let text = |path: &[&str]| {
            let found = part(path).and_then(|value| value.as_str().map(str::to_owned));
            found.unwrap_or_else(|| panic!("no {path:?} in {record}"))
        };
        let by = text(&["operation", "by"]);
        let cars = texts(&["outcome", "cars"]);
        match (text(&["operation", "command", "do"]).as_str(), text(&["outcome", "is"]).as_str()) {
            ("change-runs", "runs") => {
                let commits = texts(&["outcome", "cancelled"]);
                let started = texts(&["outcome", "started"]);
                let asked = part(&["operation", "command", "start"]);
                let asked = asked.as_ref().and_then(Value::as_array).map_or(Vec::new(), |list| Run::all(list));
                let runs = asked.into_iter().filter(|run| started.contains(&run.commit));
                let cancelled = (!commits.is_empty()).then_some(Step::Cancelled { commits });
                cancelled.into_iter().chain(runs.map(|run| Step::Started { run, by: by.clone() })).collect()
            }
            ("verdict", "verdict") if part(&["outcome", "applied"]) == Some(Value::Boolean(true)) => {
                let passed = text(&["operation", "command", "record", "verdict"]) == "pass";
                let of = texts(&["operation", "command", "cars"]).len();
                vec![Step::Judged { tree: text(&["operation", "command", "record", "tree"]), passed, of }]
            }
            ("land", "landed") if !cars.is_empty() => {
                let [from, to, tree] = ["from", "to", "tree"].map(|key| text(&["operation", "command", key]));
                vec![Step::Landed { cars, from, to, tree, by }]
            }
            ("eject", "ejected") if !cars.is_empty() => vec![Step::Left { cars, by }],
            _ => Vec::new(),
        }
    }
}

impl Run {
    /// The runs of a list. One that is behind an earlier one has its cars, too, and they are written once.
    fn all(list: &[Value]) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for value in list {
            let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
            let cars = match text("behind") {
                Some(behind) => {
                    let earlier = runs.iter().find(|run| run.commit == behind).expect("it is of the same list");
                    [&earlier.cars[..], &value.get("and").map_or(Vec::new(), words)].concat()
                }
                None => words(value.get("cars").expect("a run has cars")),
            };
            let [commit, tree, base] = ["commit", "tree", "base"].map(|key| text(key).expect("a run has it"));
            let ahead = value.get("ahead").and_then(Value::as_integer).map_or(0, |count| count as usize);
            runs.push(Run { commit, tree, base, cars, ahead });
        }
        runs
    }
}

fn words(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|word| Some(word.as_str()?.to_owned())).collect()
}

/// Stops where something does not hold, with what is wrong.
macro_rules! ensure {
    ($holds:expr, $($what:tt)+) => {
        if !$holds {
            return Err(format!($($what)+));
        }
    };
}

/// Judges a run of two hosts.
///
/// # Errors
/// With what is wrong, for people.
pub fn judge(evidence: &Evidence) -> Result<Account, String> {
    let mut account = replay(evidence)?;
    account.candidates = one_candidate_for_each_state(evidence)?;
    what_landed_is_what_had_to(evidence)?;
    Ok(account)
}

/// Goes through what the board says, and holds the moves of the target to it.
fn replay(evidence: &Evidence) -> Result<Account, String> {
    let mut account = Account { submitted: evidence.submitted.len(), ..Account::default() };
    let mut running: Vec<Run> = Vec::new();
    let mut begun: BTreeSet<&str> = BTreeSet::new();
    let mut known: BTreeMap<&str, (bool, usize)> = BTreeMap::new();
    let mut ended: BTreeMap<&str, &str> = BTreeMap::new();
    let mut moves = evidence.moves.iter();
    for step in &evidence.steps {
        match step {
            Step::Started { run, by } => {
                let Run { commit, tree, cars, .. } = run;
                ensure!(!running.iter().any(|other| other.commit == *commit), "{cars:?} was begun twice, as {commit}");
                let before = known.get(tree.as_str());
                let confirms = |(passed, of): &(bool, usize)| !passed && run.ahead == 0 && cars.len() < *of;
                ensure!(before.is_none_or(confirms), "{run:?} was begun, and its tree was known: {before:?}");
                account.runs += 1;
                account.confirmed += usize::from(before.is_some());
                account.runs_again += usize::from(!begun.insert(commit));
                account.by.entry(by.clone()).or_default()[0] += 1;
                running.push(run.clone());
            }
            Step::Cancelled { commits } => running.retain(|run| !commits.contains(&run.commit)),
            Step::Judged { tree, passed, of } => {
                let before = known.insert(tree, (*passed, *of));
                let is_first = before.is_none_or(|(passed, before)| !passed && of < &before);
                ensure!(is_first, "tree {tree} was judged twice, of {of} cars, and {before:?}");
                running.retain(|run| run.tree != *tree);
            }
            Step::Landed { cars, from, to, tree, by } => {
                ensure!(
                    known.get(tree.as_str()).is_some_and(|(passed, _)| *passed),
                    "{cars:?} landed as {to}, whose tree had not passed"
                );
                let is_its = |(_, id, of): &(Vec<String>, String, String)| id == to && of == tree;
                ensure!(evidence.candidates.iter().any(is_its), "{to} has another tree than {tree}");
                let moved = moves.next();
                ensure!(moved == Some(&(from.clone(), to.clone())), "{cars:?} moved {from} to {to}, and not {moved:?}");
                account.landings += 1;
                account.landed += cars.len();
                account.by.entry(by.clone()).or_default()[1] += 1;
                for car in cars {
                    let before = ended.insert(car, "landed");
                    ensure!(before.is_none(), "{car} landed, and had {before:?} before");
                }
                let behind = |run: &Run| run.cars.iter().take_while(|car| cars.contains(car)).count();
                running.retain(|run| {
                    let about = run.cars[run.ahead..].iter().chain(&run.cars[behind(run)..]);
                    !about.into_iter().any(|car| cars.contains(car))
                });
                for run in &mut running {
                    let behind = behind(run);
                    run.cars.drain(..behind);
                    run.ahead = run.ahead.saturating_sub(behind);
                }
            }
            Step::Left { cars, by } => {
                account.left += cars.len();
                account.by.entry(by.clone()).or_default()[2] += cars.len();
                for car in cars {
                    let before = ended.insert(car, "left");
                    ensure!(before.is_none(), "{car} left, and had {before:?} before");
                }
                running.retain(|run| !run.cars.iter().any(|car| cars.contains(car)));
            }
        }
    }
    let more: Vec<_> = moves.collect();
    ensure!(more.is_empty(), "the target moved without the board: {more:?}");
    for (car, lands) in &evidence.submitted {
        let how = ended.remove(car.as_str()).ok_or(format!("{car} neither landed nor left"))?;
        ensure!(lands.is_none_or(|lands| lands == (how == "landed")), "{car} {how}");
    }
    ensure!(ended.is_empty(), "nobody submitted {ended:?}");
    Ok(account)
}

/// Whoever merged the same into the same made the same commit, and so did whoever asked for a run of the same cars.
fn one_candidate_for_each_state(evidence: &Evidence) -> Result<usize, String> {
    let mut built: BTreeMap<&[String], &str> = BTreeMap::new();
    for (parents, id, _) in &evidence.candidates {
        let other = built.insert(parents, id);
        ensure!(other.is_none(), "{parents:?} were merged as {id} and as {other:?}");
    }
    let mut tested: BTreeMap<(&str, &[String]), &str> = BTreeMap::new();
    for step in &evidence.steps {
        if let Step::Started { run, .. } = step {
            let other = tested.insert((&run.base, &run.cars), &run.commit).filter(|other| *other != run.commit);
            ensure!(other.is_none(), "{:?} on {} were tested as {} and as {other:?}", run.cars, run.base, run.commit);
        }
    }
    Ok(built.len())
}

/// The target went forward only, and has what landed and nothing else.
fn what_landed_is_what_had_to(evidence: &Evidence) -> Result<(), String> {
    let place: BTreeMap<&str, usize> = evidence.target.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
    for (from, to) in &evidence.moves {
        let places = (place.get(from.as_str()), place.get(to.as_str()));
        ensure!(matches!(places, (Some(from), Some(to)) if from < to), "{from} to {to} is no way forward");
    }
    let last = evidence.moves.last().map(|(_, to)| to);
    ensure!(last == evidence.target.last(), "the target is not where it was last moved to, {last:?}");
    let red = evidence.files.iter().find(|file| file.starts_with("red/"));
    ensure!(red.is_none(), "{red:?} is on the target");
    for (car, lands) in &evidence.submitted {
        let there = evidence.files.contains(&format!("fine/{car}"));
        ensure!(there == (*lands == Some(true)), "whether {car} is on the target: {there}");
    }
    let pairs = evidence.submitted.values().filter(|lands| lands.is_none()).count() / 2;
    let landed = evidence.files.iter().filter(|file| file.starts_with("pair/")).count();
    ensure!(landed == pairs, "of {pairs} pairs {landed} landed");
    Ok(())
}

/// Tampers with evidence that was found right, in each way, and expects to be found out.
///
/// # Panics
/// Where the judge does not mind.
pub fn is_found_out(evidence: &Evidence) {
    let found_out = |what: &str, tamper: &dyn Fn(&mut Evidence)| {
        let mut other = evidence.clone();
        tamper(&mut other);
        assert!(judge(&other).is_err(), "{what}, and the judge does not mind");
    };
    let nth = |wanted: fn(&Step) -> bool| evidence.steps.iter().position(wanted).expect("there is one");
    let landing = nth(|step| matches!(step, Step::Landed { .. }));
    let start = nth(|step| matches!(step, Step::Started { .. }));
    let Step::Landed { tree: landed, .. } = &evidence.steps[landing] else { unreachable!("it was looked for") };
    let of_landed = |step: &Step| matches!(step, Step::Judged { tree, .. } if tree == landed);
    let verdict = evidence.steps.iter().position(of_landed).expect("what landed had been judged");
    let left = nth(|step| matches!(step, Step::Left { .. }));
    found_out("a run was begun twice", &|other| other.steps.insert(start, other.steps[start].clone()));
    found_out("what was known was tested again", &|other| other.steps.push(other.steps[start].clone()));
    found_out("a car landed twice", &|other| other.steps.push(other.steps[landing].clone()));
    found_out("a car left twice", &|other| other.steps.push(other.steps[left].clone()));
    found_out("what landed had not passed", &|other| drop(other.steps.remove(verdict)));
    found_out("the target moved without a landing", &|other| drop(other.steps.remove(landing)));
    found_out("a landing did not move the target", &|other| drop(other.moves.pop()));
    found_out("the target went back", &|other| other.target.reverse());
    found_out("two built different candidates", &|other| {
        let (parents, id, tree) = other.candidates.first().expect("there is one").clone();
        other.candidates.insert((parents, id.chars().rev().collect(), tree));
    });
    found_out("a run of the same cars was of another candidate", &|other| {
        let Step::Started { run, by } = &other.steps[start] else { unreachable!("it was looked for") };
        let (commit, tree) = (run.commit.chars().rev().collect(), run.tree.chars().rev().collect());
        let run = Run { commit, tree, ..run.clone() };
        other.steps.insert(start, Step::Started { run, by: by.clone() });
    });
    found_out("a car was forgotten", &|other| {
        other.submitted.insert("car".to_owned(), Some(true));
    });
}
