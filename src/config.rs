//! The schema of `.scrum.toml`, and where settings come from.
//!
//! Later ones win: built-in defaults, `.scrum.toml` of the target branch as the truth has it, `git config scrum.*`,
//! `SCRUM_*` of the environment, flags. A key that does not exist is an error that names the nearest one, so that a
//! misspelt setting is never a setting that silently has no effect. `.scrum.example.toml` documents every key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::domain::lanes::Lanes;
use crate::domain::planner::{BatchPolicy, Method, TrainPolicy, WindowPolicy};
use crate::domain::train::CHECKS_MAX;
use crate::domain::{Branch, CheckName, Pattern, Seconds};

/// The name of the file.
pub const FILE_NAME: &str = ".scrum.toml";
/// How many red verdicts may be forgiven at most: a train that lands what is red helps nobody.
const TOLERATE_MAX: u32 = 4;
/// The most by which the window may grow or be divided at once.
const WINDOW_CHANGE_MAX: u32 = 100;
/// The largest file that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 256 * 1024;

/// How a team works: the same for everybody who works on a target branch.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Tasks and claims.
    pub tasks: TaskSettings,
    /// Locks without a task.
    pub locks: LockSettings,
    /// Worktrees of claims.
    pub worktree: WorktreeSettings,
    /// The merge train.
    pub train: TrainSettings,
    /// What is different for the trains of some targets, by patterns of their names; and which branch they feed.
    pub trains: BTreeMap<String, Table>,
    /// Where work may land.
    pub branches: BranchSettings,
    /// How hosts go together.
    pub hosts: HostSettings,
}

/// Tasks and claims.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskSettings {
    /// How long a claim lasts unless it is renewed.
    pub lease: Seconds,
    /// How far the clocks of hosts may differ: a lease has run out only when it has by this much.
    pub skew: Seconds,
    /// How often work on a task may fail and be queued again before it is given up.
    pub retries_max: u32,
    /// The branch of a claim; `{id}` and `{team}` are filled in.
    pub branch: String,
    /// How long a claim may look for work under way that has changed the task's paths; 0: it does not look.
    pub warn_within: Seconds,
}

impl Default for TaskSettings {
    fn default() -> Self {
        TaskSettings {
            lease: Seconds(30 * 60),
            skew: Seconds(5),
            retries_max: 2,
            branch: "ai-feature/issue-{id}".to_owned(),
            warn_within: Seconds(1),
        }
    }
}

/// Locks without a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LockSettings {
    /// How long a lock lasts.
    pub lease: Seconds,
}

impl Default for LockSettings {
    fn default() -> Self {
        LockSettings { lease: Seconds(3600) }
    }
}

/// Worktrees of claims.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorktreeSettings {
    /// The directory they are made in; `{repo}` is the name of the repository's own directory. Relative to it.
    pub root: String,
    /// Files that are in no commit and that every new worktree gets a copy of.
    pub copy: Vec<String>,
}

impl Default for WorktreeSettings {
    fn default() -> Self {
        WorktreeSettings { root: "../{repo}-worktrees".to_owned(), copy: vec![".env".to_owned()] }
    }
}

/// Where work may land.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BranchSettings {
    /// The branches that cars may be submitted to, as patterns; none: any.
    pub targets: Vec<String>,
    /// The branch that the work of a team lands on, with `{team}` to be filled in; empty: the target of everybody.
    pub team: String,
}

/// The branch above another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Which.
    pub into: Branch,
    /// How often what has landed below is promoted there; `None`: by hand.
    pub every: Option<Seconds>,
}

impl Settings {
    /// The branch that `source` feeds, if it feeds any.
    pub fn feed(&self, source: &Branch) -> Option<Feed> {
        let mut feed = None;
        let mut every = None;
        for table in self.trains_of(source) {
            feed = table.get(INTO).and_then(Value::as_str).and_then(|name| name.parse().ok()).or(feed);
            every = table.get(EVERY).and_then(Value::as_str).and_then(|text| text.parse().ok()).or(every);
        }
        feed.map(|into| Feed { into, every })
    }

    /// Why work must not land on `target`, if it must not.
    pub fn why_not_land_on(&self, target: &Branch) -> Option<String> {
        let targets = &self.branches.targets;
        let may = targets.is_empty() || targets.iter().any(|pattern| names(pattern, target));
        (!may).then(|| {
            let allowed = targets.join(", ");
            format!("work must not land on {target}, but on {allowed} (branches.targets in .scrum.toml)")
        })
    }

    /// Whether a branch is one that work lands on, by what is configured.
    pub fn is_landed_on(&self, branch: &Branch) -> bool {
        self.branches.targets.iter().chain(self.trains.keys()).any(|pattern| names(pattern, branch))
    }

    /// What is different for the train of `target`, the more exact the later.
    fn trains_of(&self, target: &Branch) -> Vec<&Table> {
        let mut found: Vec<(&String, &Table)> =
            self.trains.iter().filter(|(pattern, _)| names(pattern, target)).collect();
        found.sort_by_key(|(pattern, _)| (*pattern == target.as_str(), pattern.len()));
        found.into_iter().map(|(_, table)| table).collect()
    }

    /// With what is different for the train of `target`.
    fn of_target(mut self, target: &Branch) -> Result<Settings, ConfigError> {
        let mut table = Table::try_from(&self.train).map_err(|error| bad(FILE_NAME, error))?;
        for more in self.trains_of(target) {
            table.extend(
                more.iter()
                    .filter(|(key, _)| ![INTO, EVERY].contains(&key.as_str()))
                    .map(|(key, value)| (key.clone(), value.clone())),
            );
        }
        let train = TrainSettings::deserialize(Value::Table(table));
        let place = format!("trains for {target}");
        self.train = train.map_err(|error| bad(&place, error))?;
        // What holds for all trains was looked at before.
        self.train.checked().map_err(|error| bad(&place, error))?;
        Ok(self)
    }

    /// Whether all that is said of some trains makes sense.
    fn checked(&self) -> Result<(), ConfigError> {
        self.train.checked()?;
        for pattern in self.branches.targets.iter().chain(self.trains.keys()) {
            Pattern::parse(pattern).map_err(|error| bad("trains", format!("{pattern:?}: {error}")))?;
        }
        for (pattern, table) in &self.trains {
            let place = format!("trains.{pattern:?}");
            let text = |key: &str, such_as: &str| match table.get(key) {
                Some(Value::String(text)) => Ok(Some(text.as_str())),
                Some(other) => Err(bad(&place, format!("{key} is {other}: it has to be text, such as {such_as:?}"))),
                None => Ok(None),
            };
            if let Some(into) = text(INTO, "main")? {
                let into: Branch = into.parse().map_err(|error| bad(&place, error))?;
                if names(pattern, &into) {
                    return Err(bad(&place, format!("{into} would feed itself")));
                }
            }
            if let Some(every) = text(EVERY, "1h")? {
                every.parse::<Seconds>().map_err(|error| bad(&place, error))?;
            }
        }
        self.check_feeds_end()
    }

    /// Whether what is promoted arrives somewhere: no branch feeds itself by way of others.
    fn check_feeds_end(&self) -> Result<(), ConfigError> {
        let fed = self.trains.values().filter_map(|table| Branch::parse(table.get(INTO)?.as_str()?).ok());
        // Each branch of a circle is fed by the one before it.
        for first in fed {
            let mut way = vec![first];
            while let Some(Feed { into, .. }) = self.feed(&way[way.len() - 1]) {
                if into == way[0] {
                    let names: Vec<&str> = way.iter().chain([&into]).map(Branch::as_str).collect();
                    return Err(bad("trains", format!("{}: what is promoted would go round", names.join(" feeds "))));
                }
                if way.contains(&into) {
                    // A circle further on is found from one of its own.
                    break;
                }
                way.push(into);
            }
        }
        Ok(())
    }
}

/// Keys of a train that are not its own but say what becomes of what lands there.
const INTO: &str = "into";
const EVERY: &str = "every";

/// Whether a pattern names a branch.
fn names(pattern: &str, branch: &Branch) -> bool {
    pattern == branch.as_str() || Pattern::parse(pattern).is_ok_and(|pattern| pattern.matches(branch.as_str()))
}

/// Who says whether a candidate may land.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ci {
    /// `check`, run by the pass itself in a scratch worktree.
    Local,
    /// A system outside, by `git scrum verdict`.
    External,
}

/// In what order and company cars are tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// One after the other, each on the target as it is.
    Serial,
    /// Each as it would land if all those ahead of it did, all at once.
    Speculative,
    /// As many as may be together, one batch after the other; one that fails is halved.
    Batch,
}

/// What the order of the queue means for cars that are tested together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Cars of a batch that failed may land after cars that stood behind them.
    Relaxed,
    /// Cars land in the order of the queue.
    Strict,
    /// Like `relaxed`; and of equally urgent cars those go first that send the fewest others back for a conflict.
    FewestConflicts,
}

/// The merge train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSettings {
    /// Who says whether a candidate may land.
    pub ci: Ci,
    /// The check: a program and its arguments, never a line for a shell. Empty: everything that merges may land.
    pub check: Vec<String>,
    /// Several checks, by name, in place of the one.
    pub checks: BTreeMap<CheckName, CheckSettings>,
    /// In what order and company cars are tested.
    pub strategy: Strategy,
    /// How many cars are tested together at most, where no more than `slots` runs go on at once; 0: the planner
    /// chooses.
    pub batch: u32,
    /// Whether cars of a batch that failed stand aside for those behind them, and who of equally urgent ones is first.
    pub order: Order,
    /// How much later than one that it goes ahead of a car may have been submitted, where that spares conflicts.
    pub order_wait: Seconds,
    /// How many cars are waited for before any is tested, unless one is most urgent.
    pub gather: u32,
    /// How long they are waited for at most.
    pub gather_wait: Seconds,
    /// How many cars are speculated on at the start.
    pub window: u32,
    /// How many cars are speculated on at least.
    pub window_min: u32,
    /// How many cars are speculated on at most.
    pub window_max: u32,
    /// How many more are speculated on for each that lands.
    pub window_step: u32,
    /// By what that number is divided for each that fails.
    pub window_divisor: u32,
    /// How many runs may be under way at once; 0: any number.
    pub slots: u32,
    /// Whether runs of less urgent cars are given up where one that is p0, or was put first, finds no slot.
    pub preempt: bool,
    /// How many red verdicts of what contains a car are forgiven while one behind it, which contains it, may still
    /// clear it.
    pub tolerate: u32,
    /// Whether a car that failed only together with others is tested alone before it is blamed.
    pub confirm: bool,
    /// How long a verdict is used again for the same tree; 0: for ever.
    pub verdicts_kept: Seconds,
    /// After how many cars that failed, none landing in between, the train pauses itself; 0: never.
    pub breaker: u32,
    /// How many others have to approve of a car's commit before it is tested and lands.
    pub approvals: u32,
    /// What a landed car looks like in the history.
    pub method: Method,
    /// Parts of the repository that cannot affect each other, by name, each with the patterns of its paths.
    pub lanes: BTreeMap<String, Vec<String>>,
    /// What says besides what a change affects: a program and its arguments, never a line for a shell. Empty: nothing.
    pub affected: Vec<String>,
    /// How long it may take for one change.
    pub affected_timeout: Seconds,
    /// How long a check may take, and how long a verdict from outside is waited for.
    pub timeout: Seconds,
    /// How long the holder of an ejected car's task has to rework it.
    pub rework: Seconds,
    /// How long `merge-train --watch` rests between passes.
    pub interval: Seconds,
}

impl Default for TrainSettings {
    fn default() -> Self {
        TrainSettings {
            ci: Ci::Local,
            check: Vec::new(),
            checks: BTreeMap::new(),
            strategy: Strategy::Speculative,
            batch: 0,
            order: Order::Relaxed,
            order_wait: Seconds(3600),
            gather: 1,
            gather_wait: Seconds(5 * 60),
            window: 20,
            window_min: 3,
            window_max: 100,
            window_step: 1,
            window_divisor: 2,
            slots: 0,
            preempt: false,
            tolerate: 0,
            confirm: true,
            verdicts_kept: Seconds(30 * 24 * 3600),
            breaker: 0,
            approvals: 0,
            method: Method::Merge,
            lanes: BTreeMap::new(),
            affected: Vec::new(),
            affected_timeout: Seconds(2 * 60),
            timeout: Seconds(30 * 60),
            rework: Seconds(2 * 3600),
            interval: Seconds(30),
        }
    }
}

/// One of several checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckSettings {
    /// The program and its arguments, where the machine runs it itself.
    pub run: Vec<String>,
    /// Whether a candidate has to pass it; what others say is only noted.
    pub required: bool,
    /// How long it may take; without it, as long as every check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Seconds>,
}

impl Default for CheckSettings {
    fn default() -> Self {
        CheckSettings { run: Vec::new(), required: true, timeout: None }
    }
}

impl TrainSettings {
    /// The lanes.
    pub fn lanes(&self) -> Lanes {
        let lane = |(name, patterns): (&String, &Vec<String>)| {
            (name.clone(), patterns.iter().filter_map(|text| Pattern::parse(text).ok()).collect())
        };
        Lanes(self.lanes.iter().map(lane).collect())
    }

    /// Whether numbers are within their range, and the settings of times, lanes and checks make sense together.
    fn checked(&self) -> Result<(), ConfigError> {
        for (key, value, range) in [
            ("train.tolerate", self.tolerate, 0..=TOLERATE_MAX),
            ("train.window_step", self.window_step, 0..=WINDOW_CHANGE_MAX),
            ("train.window_divisor", self.window_divisor, 1..=WINDOW_CHANGE_MAX),
        ] {
            if !range.contains(&value) {
                return Err(bad(key, format!("{value} is not within {} to {}", range.start(), range.end())));
            }
        }
        let times =
            [("train.timeout".to_owned(), self.timeout), ("train.affected_timeout".to_owned(), self.affected_timeout)];
        let of_check = |(name, check): (&CheckName, &CheckSettings)| {
            Some((format!("train.checks.{name}.timeout"), check.timeout?))
        };
        for (place, time) in times.into_iter().chain(self.checks.iter().filter_map(of_check)) {
            if time.0 == 0 {
                return Err(bad(&place, "0s is no time to run in: nothing would ever pass"));
            }
        }
        for pattern in self.lanes.values().flatten() {
            Pattern::parse(pattern).map_err(|error| bad("train.lanes", error))?;
        }
        let wrong = |what: String| Err(bad("train.checks", what));
        if self.checks.is_empty() {
            return Ok(());
        }
        if !self.check.is_empty() {
            return wrong("there is train.check, too: give it a name as well, or leave the others out".to_owned());
        }
        if self.checks.len() > CHECKS_MAX {
            return wrong(format!("there are {}, more than {CHECKS_MAX}", self.checks.len()));
        }
        if !self.checks.values().any(|check| check.required) {
            return wrong("none of them is required: everything would land".to_owned());
        }
        for (name, check) in &self.checks {
            if self.ci == Ci::Local && check.run.is_empty() {
                return wrong(format!("{name} has nothing to run, and train.ci is \"local\""));
            }
        }
        Ok(())
    }

    /// What these settings are to the planner.
    pub fn policy(&self) -> TrainPolicy {
        let window = match self.strategy {
            Strategy::Serial => WindowPolicy::SERIAL,
            Strategy::Speculative | Strategy::Batch => {
                let (start, min, max) = (self.window, self.window_min, self.window_max.max(self.window));
                WindowPolicy { start, min, max, step: self.window_step, divisor: self.window_divisor }
            }
        };
        let external = self.ci == Ci::External;
        // A pass runs the checks of its machine itself, one after the other.
        let slots = if external && self.strategy != Strategy::Batch { self.slots } else { 1 };
        let batch = BatchPolicy {
            cars_max: if self.strategy == Strategy::Serial { 1 } else { self.batch },
            greedy: self.strategy == Strategy::Batch,
            relaxed: self.order != Order::Strict,
        };
        let TrainSettings { timeout, approvals, tolerate, confirm, breaker, preempt, .. } = *self;
        let gather = (self.gather, self.gather_wait);
        let sparing = (self.order == Order::FewestConflicts).then_some(self.order_wait);
        TrainPolicy {
            external,
            timeout,
            window,
            slots,
            batch,
            approvals,
            tolerate,
            confirm,
            breaker,
            gather,
            preempt,
            sparing,
        }
    }
}

/// How hosts go together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HostSettings {
    /// Whether an operation that meets others is offered to them, and theirs are applied along with it.
    pub combine: bool,
    /// How often this clone pushes in a minute at most; 0: as often as the host of the remote recommends, and as often
    /// as one likes where it recommends nothing.
    pub pushes_per_minute_max: u32,
}

impl Default for HostSettings {
    fn default() -> Self {
        HostSettings { combine: true, pushes_per_minute_max: 0 }
    }
}

/// What one clone settles for itself: where things are and who it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalSettings {
    /// The remote that is the truth: a name or an address; `.` for this clone itself.
    pub remote: Option<String>,
    /// The remote of the code, where it is another one.
    pub code_remote: Option<String>,
    /// Where refs are kept on the remote.
    pub prefix: Option<String>,
    /// Who works here.
    pub holder: Option<String>,
    /// The target branch.
    pub target: Option<String>,
}

/// Why settings cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no such key.
    #[error("{place} has the unknown key {key}{}", suggestion(.nearest.as_deref()))]
    UnknownKey {
        /// Where it was found.
        place: String,
        /// The key.
        key: String,
        /// The one that was probably meant.
        nearest: Option<String>,
    },
    /// A value is not what its key takes.
    #[error("{place}: {what}")]
    BadValue {
        /// Where it was found.
        place: String,
        /// What is wrong with it.
        what: String,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}

/// Values by key, in the order in which they were found; as `git config --list` and the environment give them.
pub type Pairs = BTreeMap<String, String>;

/// The settings of a clone itself, from `git config` (`scrum.remote`, …) and the environment (`SCRUM_REMOTE`, …).
pub fn local_settings(git_config: &Pairs, environment: &Pairs) -> LocalSettings {
    let get = |key: &str| {
        let named = format!("SCRUM_{}", key.to_uppercase());
        let configured = format!("scrum.{}", key.replace('_', ""));
        environment.get(&named).or_else(|| git_config.get(&configured)).filter(|value| !value.is_empty()).cloned()
    };
    LocalSettings {
        remote: get("remote"),
        code_remote: get("code_remote"),
        prefix: get("prefix"),
        holder: get("holder"),
        target: get("target"),
    }
}

/// The settings that hold for work on `target`.
pub fn settings_of(
    target: &Branch,
    file: Option<&str>,
    git_config: &Pairs,
    environment: &Pairs,
) -> Result<Settings, ConfigError> {
    settings(file, git_config, environment)?.of_target(target)
}

/// The settings that hold, from the text of `.scrum.toml` (if there is one), `git config` and the environment.
pub fn settings(file: Option<&str>, git_config: &Pairs, environment: &Pairs) -> Result<Settings, ConfigError> {
    let mut table = match file {
        Some(text) => text.parse::<Table>().map_err(|error| bad(FILE_NAME, error.message()))?,
        None => Table::new(),
    };
    let schema = schema();
    check_keys(&table, &schema)?;
    // A file that is wrong is reported as such, before anything is laid over it.
    from_table(table.clone(), FILE_NAME)?;
    for (section, key) in keys(&schema) {
        let configured = format!("scrum.{section}.{}", key.replace('_', ""));
        let named = format!("SCRUM_{}_{}", section.to_uppercase(), key.to_uppercase());
        for (source, place) in [(git_config.get(&configured), configured.clone()), (environment.get(&named), named)] {
            if let Some(text) = source {
                set(&mut table, &section, &key, value_of(text, &schema[&section][&key]));
                from_table(table.clone(), &place)?;
            }
        }
    }
    let settings = from_table(table, FILE_NAME)?;
    settings.checked()?;
    Ok(settings)
}

fn bad(place: &str, what: impl ToString) -> ConfigError {
    ConfigError::BadValue { place: place.to_owned(), what: what.to_string().replace('\n', " ") }
}

fn from_table(table: Table, place: &str) -> Result<Settings, ConfigError> {
    Settings::deserialize(Value::Table(table)).map_err(|error| bad(place, error))
}

/// Every key with its default, as a table of tables.
fn schema() -> Table {
    Table::try_from(Settings::default()).expect("the defaults are TOML")
}

fn keys(schema: &Table) -> Vec<(String, String)> {
    let sections = schema.iter().filter_map(|(section, keys)| Some((section, keys.as_table()?)));
    sections.flat_map(|(section, keys)| keys.keys().map(|key| (section.clone(), key.clone()))).collect()
}

fn check_keys(table: &Table, schema: &Table) -> Result<(), ConfigError> {
    for (section, value) in table {
        let Some(known) = schema.get(section).and_then(Value::as_table) else {
            return Err(unknown(section, schema.keys()));
        };
        if section == "trains" {
            check_trains(value, schema)?;
            continue;
        }
        for key in value.as_table().into_iter().flat_map(Table::keys) {
            if !known.contains_key(key) {
                let all: Vec<String> = known.keys().map(|key| format!("{section}.{key}")).collect();
                return Err(unknown(&format!("{section}.{key}"), all.iter()));
            }
        }
    }
    Ok(())
}

/// Each of the trains has the keys of the train, and those that say what it feeds.
fn check_trains(trains: &Value, schema: &Table) -> Result<(), ConfigError> {
    let known: Vec<String> = schema["train"].as_table().into_iter().flat_map(Table::keys).cloned().collect();
    let known: Vec<String> = known.into_iter().chain([INTO, EVERY].map(str::to_owned)).collect();
    for (pattern, train) in trains.as_table().into_iter().flatten() {
        let Some(train) = train.as_table() else {
            return Err(bad(FILE_NAME, format!("trains.{pattern:?} is no table")));
        };
        if let Some(key) = train.keys().find(|key| !known.contains(key)) {
            return Err(unknown(key, known.iter()));
        }
    }
    Ok(())
}

fn unknown<'a>(key: &str, known: impl Iterator<Item = &'a String>) -> ConfigError {
    let nearest = known
        .map(|name| (strsim::damerau_levenshtein(key, name), name))
        .min()
        .filter(|(distance, name)| *distance <= name.len().div_ceil(3))
        .map(|(_, name)| name.clone());
    ConfigError::UnknownKey { place: FILE_NAME.to_owned(), key: key.to_owned(), nearest }
}

fn set(table: &mut Table, section: &str, key: &str, value: Value) {
    let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    if let Some(keys) = entry.as_table_mut() {
        keys.insert(key.to_owned(), value);
    }
}

/// Text as the kind of value its key takes: numbers, lists and truth values as TOML writes them, the rest as it is.
fn value_of(text: &str, like: &Value) -> Value {
    let parsed = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    match (like, parsed) {
        (Value::String(_), _) | (_, None) => Value::String(text.to_owned()),
        (_, Some(value)) => value,
    }
}

#[cfg(test)]
mod tests;
