//! `git scrum merge-train simulate`

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::errors::{CliError, exit};
use super::output::Reply;
use super::{Context, view};
use crate::config::{Strategy, TrainSettings};
use crate::domain::whatif::{Advice, Arrivals, Gain, Mix, Recorded, Setting, Totals, Trace, advise, compare};
use crate::domain::{Branch, Refusal, Seconds};
use crate::engine::ports::Code;
use crate::engine::train_history;
use crate::ledger::Store;

/// How many decided cars say something.
const CARS_MIN: usize = 10;
/// A load that is described is made up so many times at most, for one could be a freak.
const DRAWS_MAX: usize = 10;
/// The most cars that are played with each setting, in all draws together.
const CARS_MAX: usize = 500;
/// The most settings that are compared.
const SETTINGS_MAX: usize = 64;

/// Say how the train would have fared under other settings: nothing is changed
///
/// Plays the train again, as the board has recorded it (arrivals, run times, what failed and what did not merge), or
/// with a load that is described, by the planner itself: with the settings as they are, and with others. Times of
/// pushes, timeouts, and what people did beside submitting, are left out. Another setting is recommended only where
/// nearly all cars (P95) land a tenth sooner with no more runs, or take a tenth fewer runs and land no later.
#[derive(clap::Args)]
pub struct Args {
    /// Compare these strategies: speculative, batch, serial. What is separated by commas is compared, in all
    /// combinations; without any, what is usual
    #[arg(long, value_name = "S,...", value_delimiter = ',', value_parser = strategy)]
    strategy: Vec<Strategy>,
    /// Compare batches of at most so many cars; 0: the planner chooses
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    batch: Vec<u32>,
    /// Compare so many runs at once; 0: any number
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    slots: Vec<u32>,
    /// Compare speculation on so many cars at the start
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    window: Vec<u32>,
    /// Compare passes so far apart
    #[arg(long, value_name = "30s,...", value_delimiter = ',')]
    interval: Vec<Seconds>,
    /// Play the last cars that were decided, so many at most
    #[arg(long, value_name = "N", default_value_t = CARS_MAX, value_parser = last, conflicts_with = "cars")]
    last: usize,
    /// Play a load of so many cars instead of what is recorded
    #[arg(long, value_name = "N", value_parser = cars)]
    cars: Option<usize>,
    /// How many of them arrive in the time of one run, at random; if not given, all arrive at once
    #[arg(long, value_name = "R", requires = "cars", value_parser = rate)]
    rate: Option<f64>,
    /// The part of them that fails
    #[arg(long, value_name = "P", default_value_t = 0.05, requires = "cars", value_parser = part)]
    failure_rate: f64,
    /// The part of pairs of them that fails together
    #[arg(long, value_name = "P", default_value_t = 0.0, requires = "cars", value_parser = part)]
    conflict_rate: f64,
    /// The part of tests that fails for no reason
    #[arg(long, value_name = "P", default_value_t = 0.0, requires = "cars", value_parser = part)]
    flake_rate: f64,
    /// How long a test takes
    #[arg(long, value_name = "10m", default_value = "10m", requires = "cars")]
    run_time: Seconds,
    /// Where chance begins: the same seed gives the same answer
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

/// What is played, and how it is told.
struct Load {
    traces: Vec<Trace>,
    /// What really came of it.
    recorded: Option<Totals>,
    text: String,
    data: Value,
    current: bool,
}

/// Some settings, and how they differ from those that hold.
struct Row {
    changes: Vec<(&'static str, Value)>,
    setting: Setting,
    totals: Totals,
}

pub(super) fn run(args: &Args, context: &Context, target: &Branch) -> Result<Reply, CliError> {
    let load = match args.cars {
        Some(cars) => described(args, cars),
        None => recorded(args, context, target)?,
    };
    let settings = context.session.settings_of(target)?.train;
    let mut rows = rows(args, &settings)?;
    for row in &mut rows {
        row.totals = compare(&load.traces, &row.setting, args.seed);
    }
    Ok(reply(target, &load, &rows))
}

fn recorded(args: &Args, context: &Context, target: &Branch) -> Result<Load, CliError> {
    // The read tells whether the board is the present one, and brings its history here.
    let ((), current) = context.read(|_| Ok(()))?;
    let store = context.session.store();
    store.cached()?.ok_or(Refusal::NoBoard)?;
    if current {
        // The settings are those of the target as it is now.
        context.session.code.refresh(std::slice::from_ref(target))?;
    }
    let found = train_history(store, target)?.recorded(args.last);
    let count = found.as_ref().map_or(0, |found| found.trace.cars.len());
    let enough = found.filter(|_| count >= CARS_MIN).and_then(|found| Some((found.run_time?, found)));
    let Some((run_time, found)) = enough else {
        let message = match count {
            CARS_MIN.. => format!("no test of the {count} cars that the train for {target} has decided is recorded"),
            1 => format!("the train for {target} has decided 1 car so far: too few to go by"),
            _ => format!("the train for {target} has decided {count} cars so far: too few to go by"),
        };
        let hint = "describe a load: git scrum merge-train simulate --cars 100 --rate 2 --run-time 10m";
        return Err(CliError::new(exit::NO, "thin-record", message, hint).with("cars", count));
    };
    let Recorded { trace, result, since, until, left_out, .. } = found;
    let flakes = trace.flake_rate;
    let run_time = secs(run_time);
    let mut text = format!(
        "{count} cars of the train for {target}, submitted from {since} to {until}; a run takes {}.\n",
        Seconds(run_time)
    );
    if flakes > 0.0 {
        let _ = writeln!(text, "{}% of tests fail for no reason.", percent(flakes));
    }
    match left_out {
        0 => {}
        1 => text.push_str("1 more was not decided by the train, and is left out.\n"),
        more => text.push_str(&format!("{more} more were not decided by the train, and are left out.\n")),
    }
    let data = json!({
        "source": "record",
        "cars": count,
        "draws": 1,
        "since": since.to_string(),
        "until": until.to_string(),
        "run_time_secs": run_time,
        "flake_rate": flakes,
        "left_out": left_out,
        "seed": args.seed,
    });
    Ok(Load { traces: vec![trace], recorded: Some(result), text, data, current })
}

fn described(args: &Args, cars: usize) -> Load {
    let Args { failure_rate, conflict_rate, flake_rate, run_time, seed, .. } = *args;
    let arrivals = args.rate.map_or(Arrivals::Burst(cars), Arrivals::Poisson);
    let mix = Mix { arrivals, failure_rate, conflict_rate, flake_rate, outside_rate: 0.0, hotfix_rate: 0.0 };
    let draws = (CARS_MAX / cars).clamp(1, DRAWS_MAX);
    let seeds = (0..draws as u64).map(|nth| seed.wrapping_add(nth));
    let traces = seeds.map(|seed| Trace::new(&mix, cars, seed).stretched(run_time.0 as f64)).collect();
    let arrive = args.rate.map_or("all at once".to_owned(), |rate| format!("{rate} in the time of a run"));
    let text = format!(
        "{cars} cars, {arrive}, made up {draws} times; a run takes {run_time}.\n{}% of cars fail, {}% of pairs fail \
         together, {}% of tests fail for no reason.\n",
        percent(failure_rate),
        percent(conflict_rate),
        percent(flake_rate),
    );
    let data = json!({
        "source": "described",
        "cars": cars,
        "draws": draws,
        "rate": args.rate,
        "run_time_secs": run_time.0,
        "failure_rate": failure_rate,
        "conflict_rate": conflict_rate,
        "flake_rate": flake_rate,
        "seed": seed,
    });
    Load { traces, recorded: None, text, data, current: true }
}

/// The settings that hold, and those that are compared with them.
fn rows(args: &Args, now: &TrainSettings) -> Result<Vec<Row>, CliError> {
    let asked = asked(args);
    let all: Vec<Vec<Change>> = if asked.is_empty() { usual(now) } else { combined(&asked)? };
    let mut rows: Vec<Row> = Vec::new();
    for changes in [Vec::new()].into_iter().chain(all) {
        let mut train = now.clone();
        changes.iter().for_each(|change| change.apply(&mut train));
        let policy = train.policy();
        // A pass that runs the checks itself goes on as soon as one is over.
        let interval = if policy.external { train.interval.0 as f64 } else { 0.0 };
        let setting = Setting { policy, interval };
        if rows.iter().all(|row| row.setting != setting) {
            let changes = changes.iter().map(Change::key_and_value).collect();
            rows.push(Row { changes, setting, totals: Totals::default() });
        }
    }
    Ok(rows)
}

/// One key that has another value.
#[derive(Clone, Copy)]
enum Change {
    Strategy(Strategy),
    Batch(u32),
    Slots(u32),
    Window(u32),
    Interval(Seconds),
}

impl Change {
    fn apply(&self, train: &mut TrainSettings) {
        match *self {
            Change::Strategy(strategy) => train.strategy = strategy,
            Change::Batch(batch) => train.batch = batch,
            Change::Slots(slots) => train.slots = slots,
            Change::Window(window) => train.window = window,
            Change::Interval(interval) => train.interval = interval,
        }
    }

    fn key_and_value(&self) -> (&'static str, Value) {
        match *self {
            Change::Strategy(strategy) => ("strategy", json!(strategy)),
            Change::Batch(batch) => ("batch", json!(batch)),
            Change::Slots(slots) => ("slots", json!(slots)),
            Change::Window(window) => ("window", json!(window)),
            Change::Interval(interval) => ("interval", json!(interval)),
        }
    }
}

/// What the command line says, a list for each key that it names.
fn asked(args: &Args) -> Vec<Vec<Change>> {
    let keys = [
        args.strategy.iter().copied().map(Change::Strategy).collect::<Vec<_>>(),
        args.batch.iter().copied().map(Change::Batch).collect(),
        args.slots.iter().copied().map(Change::Slots).collect(),
        args.window.iter().copied().map(Change::Window).collect(),
        args.interval.iter().copied().map(Change::Interval).collect(),
    ];
    keys.into_iter().filter(|values| !values.is_empty()).collect()
}

/// Every combination of a value for each key.
fn combined(asked: &[Vec<Change>]) -> Result<Vec<Vec<Change>>, CliError> {
    let count: usize = asked.iter().map(Vec::len).product();
    if count > SETTINGS_MAX {
        let message = format!("these are {count} settings: at most {SETTINGS_MAX} are compared at once");
        return Err(CliError::bad_argument(message, "git scrum merge-train simulate --slots 4,8"));
    }
    Ok(asked.iter().fold(vec![Vec::new()], |all, values| {
        let with = |before: &Vec<Change>, value: &Change| [before.as_slice(), &[*value]].concat();
        all.iter().flat_map(|before| values.iter().map(move |value| with(before, value))).collect()
    }))
}

/// One key changed at a time.
fn usual(now: &TrainSettings) -> Vec<Vec<Change>> {
    let slots = if now.slots == 0 { [4, 16] } else { [(now.slots / 2).max(1), now.slots.saturating_mul(2)] };
    let window = [(now.window / 2).max(1), now.window.saturating_mul(2)];
    let strategies = [Strategy::Speculative, Strategy::Batch, Strategy::Serial].map(Change::Strategy);
    let mut changes = strategies.to_vec();
    changes.extend([0, 1].map(Change::Batch));
    changes.extend(slots.map(Change::Slots));
    changes.extend(window.map(Change::Window));
    changes.into_iter().map(|change| vec![change]).collect()
}

fn reply(target: &Branch, load: &Load, rows: &[Row]) -> Reply {
    let others: Vec<Totals> = rows[1..].iter().map(|row| row.totals.clone()).collect();
    let advice = advise(&rows[0].totals, &others);
    let mut text = load.text.clone();
    let width = rows.iter().map(|row| row.name().len()).max().unwrap_or_default();
    let _ = writeln!(text, "\n{:width$}   landed     left      P50      P95     runs    a car", "");
    if let Some(recorded) = &load.recorded {
        text.push_str(&line("as it was", width, recorded));
    }
    // Keys that do nothing here would hide those that do something.
    let is_idle = |row: &&Row| !row.changes.is_empty() && row.totals == rows[0].totals;
    rows.iter().filter(|row| !is_idle(row)).for_each(|row| text.push_str(&line(&row.name(), width, &row.totals)));
    let idle: Vec<String> = rows.iter().filter(is_idle).map(Row::name).collect();
    if !idle.is_empty() {
        let _ = writeln!(text, "No difference: {}", idle.join("; "));
    }
    let words = recommendation(rows, advice);
    let _ = write!(text, "\n{words}\n");
    let best = advice.map(|Advice { which, gain }| {
        let gain = match gain {
            Gain::Turnaround => "turnaround",
            Gain::Runs => "runs",
        };
        json!({ "changes": rows[which + 1].changes(), "gain": gain })
    });
    let setting = |row: &Row| {
        let mut value = json!({ "changes": row.changes() });
        view::merge(&mut value, figures(&row.totals));
        value
    };
    let data = json!({
        "target": target.as_str(),
        "load": load.data,
        "recorded": load.recorded.as_ref().map(figures),
        "settings": rows.iter().map(setting).collect::<Vec<_>>(),
        "recommendation": best,
        "words": words,
        "current": load.current,
    });
    Reply::new(data, view::clean(&text))
}

impl Row {
    fn name(&self) -> String {
        let words: Vec<String> = self.changes.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        if words.is_empty() { "as configured".to_owned() } else { words.join(", ") }
    }

    fn changes(&self) -> Map<String, Value> {
        self.changes.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect()
    }
}

fn line(name: &str, width: usize, totals: &Totals) -> String {
    let time = |part| rounded(totals.quantile(part)).map_or("-".to_owned(), |secs| coarse(secs).to_string());
    let a_car = ratio(totals).map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
    let (landed, left, runs) = (totals.landed.len(), totals.ejected, totals.runs);
    let stuck = if totals.waiting > 0 { format!("   {} wait for ever", totals.waiting) } else { String::new() };
    format!("{name:width$}{landed:>9}{left:>9}{:>9}{:>9}{runs:>9}{a_car:>9}{stuck}\n", time(0.5), time(0.95))
}

fn figures(totals: &Totals) -> Value {
    json!({
        "landed": totals.landed.len(),
        "ejected": totals.ejected,
        "waiting": totals.waiting,
        "turnaround_secs": { "p50": rounded(totals.quantile(0.5)), "p95": rounded(totals.quantile(0.95)) },
        "runs": totals.runs,
        "runs_per_landed": ratio(totals),
    })
}

/// What to do about it.
fn recommendation(rows: &[Row], advice: Option<Advice>) -> String {
    let Some(Advice { which, gain }) = advice else {
        return "Keep what you have: none of these lands nearly all cars (P95) a tenth sooner with no more runs, or \
                takes a tenth fewer runs and lands them no later."
            .to_owned();
    };
    let (now, row) = (&rows[0].totals, &rows[which + 1]);
    let keys: Vec<String> = row.changes.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    let p95 = |totals: &Totals| coarse(secs(totals.quantile(0.95)));
    let runs = |totals: &Totals| ratio(totals).unwrap_or_default();
    let why = match gain {
        Gain::Turnaround => format!("95% of cars land within {} instead of {}", p95(&row.totals), p95(now)),
        Gain::Runs => {
            format!("a landed car takes {:.2} runs instead of {:.2}, and no longer", runs(&row.totals), runs(now))
        }
    };
    let more = match row.changes.iter().any(|(key, _)| *key == "slots") {
        true => ", if as many runs can go on at once",
        false => "",
    };
    format!("Set {} under [train] in .scrum.toml{more}: {why}.", keys.join(" and "))
}

fn percent(part: f64) -> f64 {
    (part * 1000.0).round() / 10.0
}

/// Whole seconds, where there is a number.
fn rounded(time: f64) -> Option<u64> {
    time.is_finite().then(|| secs(time))
}

/// A time for people, who count no seconds beside hours.
fn coarse(secs: u64) -> Seconds {
    Seconds(if secs < 3600 { secs } else { (secs + 30) / 60 * 60 })
}

fn secs(time: f64) -> u64 {
    time.round() as u64
}

fn ratio(totals: &Totals) -> Option<f64> {
    let ratio = totals.runs_per_car();
    ratio.is_finite().then(|| (ratio * 100.0).round() / 100.0)
}

fn strategy(text: &str) -> Result<Strategy, String> {
    let known = [Strategy::Speculative, Strategy::Batch, Strategy::Serial];
    let named = known.into_iter().find(|strategy| json!(strategy) == text);
    named.ok_or_else(|| "use speculative, batch or serial".to_owned())
}

fn cars(text: &str) -> Result<usize, String> {
    let cars = text.parse().ok().filter(|cars| (1..=CARS_MAX).contains(cars));
    cars.ok_or_else(|| format!("use a number from 1 to {CARS_MAX}"))
}

/// Fewer than would do are never asked for.
fn last(text: &str) -> Result<usize, String> {
    let cars = text.parse().ok().filter(|cars| (CARS_MIN..=CARS_MAX).contains(cars));
    cars.ok_or_else(|| format!("use a number from {CARS_MIN} to {CARS_MAX}"))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1000.0).contains(rate));
    rate.ok_or_else(|| "use a number from 0.001 to 1000".to_owned())
}

fn part(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|part| (0.0..=1.0).contains(part)).ok_or_else(|| "use a number from 0 to 1".to_owned())
}
