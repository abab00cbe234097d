//! Errors for users: one place turns refusals and faults into words, facts, hints and exit codes.

use clap::error::ErrorKind;
use serde_json::{Map, Value, json};

use super::view::clean;
use crate::config::{ConfigError, FILE_NAME};
use crate::domain::{CarId, Refusal, TaskId, Timestamp};
use crate::engine::EngineError;
use crate::ledger::Fault;
use crate::session::SessionError;

/// The exit codes, as documented in the manual.
pub(super) mod exit {
    /// The answer is no.
    pub const NO: u8 = 1;
    /// Held by somebody else, or a stale fence.
    pub const HELD: u8 = 3;
    /// Outcome unknown: safe to run again.
    pub const UNKNOWN: u8 = 4;
    /// The ledger was rewound, tampered with, or cannot be read.
    pub const INTEGRITY: u8 = 5;
    /// Authentication.
    pub const AUTHENTICATION: u8 = 6;
    /// Network or rate limit.
    pub const NETWORK: u8 = 7;
    /// Forbidden by policy.
    pub const FORBIDDEN: u8 = 8;
    /// Environment: not a repository, no such remote, unsupported repository.
    pub const ENVIRONMENT: u8 = 128;
    /// Usage.
    pub const USAGE: u8 = 129;
}

/// The word for settings that cannot be used.
const BAD_CONFIGURATION: &str = "bad-configuration";

/// An error as users see it.
#[derive(Debug)]
pub struct CliError {
    /// A word for scripts.
    code: &'static str,
    /// What happened, and which fact caused it.
    message: String,
    /// The next command to run.
    hint: String,
    /// The facts, for scripts.
    facts: Map<String, Value>,
    /// The exit code.
    pub exit: u8,
}

impl CliError {
    pub(super) fn new(exit: u8, code: &'static str, message: impl Into<String>, hint: impl Into<String>) -> CliError {
        CliError { code, message: message.into(), hint: hint.into(), facts: Map::new(), exit }
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> CliError {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Bad arguments, by clap or by a command.
    pub(super) fn usage(error: &clap::Error) -> CliError {
        let text = error.render().to_string();
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        // `Usage: git scrum team <COMMAND>`: what stands before the first placeholder has a help of its own.
        let usage = lines.clone().find_map(|line| line.strip_prefix("Usage: ")).unwrap_or("git scrum");
        let verb: Vec<&str> = usage.split(' ').take_while(|word| !word.starts_with(['<', '[', '-'])).collect();
        let hint = format!("{} -h", verb.join(" "));
        if matches!(error.kind(), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand) {
            return CliError::new(exit::USAGE, "usage", "what to do is missing", hint);
        }
        let message = lines.next().unwrap_or("bad arguments").trim_start_matches("error: ").to_owned();
        let more = lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
        let message = more.fold(message, |message, line| {
            let goes_on = message.ends_with(':') || line.starts_with('[');
            format!("{message}{} {line}", if goes_on { "" } else { ";" })
        });
        CliError::new(exit::USAGE, "usage", message, hint)
    }

    pub(super) fn bad_argument(message: impl Into<String>, hint: impl Into<String>) -> CliError {
        CliError::new(exit::USAGE, "usage", message, hint)
    }

    /// The same error with better advice.
    pub(super) fn advising(mut self, hint: impl Into<String>) -> CliError {
        self.hint = hint.into();
        self
    }

    /// Whether somebody has what was asked for.
    pub(super) fn is_held(&self) -> bool {
        self.exit == exit::HELD
    }

    /// Who has what was asked for.
    pub(super) fn holder(&self) -> Option<&str> {
        self.facts.get("holder")?.as_str()
    }

    /// What happened, in one line.
    pub(super) fn message(&self) -> String {
        clean(&self.message)
    }

    /// The next command to run.
    pub(super) fn hint(&self) -> String {
        clean(&self.hint)
    }

    /// Whether the answer is no: it is about what was asked for, and says nothing of anything else.
    pub(super) fn is_no(&self) -> bool {
        matches!(self.exit, exit::NO | exit::HELD | exit::FORBIDDEN)
    }

    /// Whether the command was never run.
    pub(super) fn is_usage(&self) -> bool {
        self.exit == exit::USAGE
    }

    /// Whether settings cannot be used.
    pub(super) fn is_of_settings(&self) -> bool {
        self.code == BAD_CONFIGURATION
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.exit == exit::UNKNOWN
    }

    /// Whether the same command may well succeed in a while.
    pub(super) fn may_pass(&self) -> bool {
        matches!(self.exit, exit::UNKNOWN | exit::NETWORK) || matches!(self.code, "locked" | "in-use" | "moved")
    }

    pub(super) fn to_json(&self) -> Value {
        let mut object = self.facts.clone();
        object.insert("code".to_owned(), json!(self.code));
        object.insert("message".to_owned(), json!(self.message));
        object.insert("hint".to_owned(), json!(self.hint));
        Value::Object(object)
    }

    pub(super) fn to_text(&self) -> String {
        let mut text = format!("error: {}\n", clean(&self.message));
        if !self.hint.is_empty() {
            text.push_str(&format!("hint: {}\n", clean(&self.hint)));
        }
        text
    }
}

impl From<SessionError> for CliError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Fault(fault) => fault.into(),
            SessionError::Config(error) => error.into(),
            SessionError::Unreadable { branch, commit, error } => {
                let message = format!("the settings of {branch} cannot be read, at commit {commit}: {error}");
                let hint =
                    format!("push a {FILE_NAME} to {branch} that can be read; see .scrum.example.toml for every key");
                CliError::new(exit::ENVIRONMENT, BAD_CONFIGURATION, message, hint)
                    .with("branch", branch.to_string())
                    .with("commit", commit)
            }
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let hint = "see .scrum.example.toml for every key and its default";
        CliError::new(exit::ENVIRONMENT, BAD_CONFIGURATION, error.to_string(), hint)
    }
}

impl From<Fault> for CliError {
    fn from(fault: Fault) -> Self {
        let message = fault.to_string();
        match fault {
            Fault::Absent { .. } => no_board(),
            Fault::Integrity { .. } => {
                let hint = "nothing was changed; git scrum doctor says what happened and can restore it";
                CliError::new(exit::INTEGRITY, "integrity", message, hint)
            }
            Fault::Authentication { .. } => {
                let hint = "check the credential helper or the ssh key for this address";
                CliError::new(exit::AUTHENTICATION, "authentication", message, hint)
            }
            Fault::Network { .. } => CliError::new(
                exit::NETWORK,
                "network",
                message,
                "nothing was changed; run it again when it is reachable",
            ),
            Fault::TooLarge { .. } => {
                CliError::new(exit::USAGE, "too-large", message, "give less text at once, or fewer tasks")
            }
            Fault::InUse { .. } => {
                let hint = "commit or stash what has changed there, then run it again";
                CliError::new(exit::ENVIRONMENT, "in-use", message, hint)
            }
            Fault::NoRepository { .. } => {
                CliError::new(exit::ENVIRONMENT, "no-repository", message, "cd to a repository, or git init")
            }
            Fault::Environment { .. } => CliError::new(exit::ENVIRONMENT, "environment", message, "git remote -v"),
            Fault::Io { .. } => CliError::new(exit::ENVIRONMENT, "io", message, "see the message of the system above"),
        }
    }
}

impl From<EngineError> for CliError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Refused(refusal) => refusal.into(),
            EngineError::Fault(fault) => fault.into(),
            EngineError::Forbidden { ref_name, reason } => CliError::new(
                exit::FORBIDDEN,
                "forbidden",
                format!("the server refused {ref_name}: {reason}"),
                "ask for the right to push; if it takes branches only, git config scrum.prefix refs/heads/scrum-state/",
            )
            .with("ref", ref_name)
            .with("reason", reason),
            EngineError::Unknown { reason } => CliError::new(
                exit::UNKNOWN,
                "unknown-outcome",
                format!("nobody knows whether the change arrived: {reason}"),
                "run the same command again: it is applied at most once",
            ),
            EngineError::Locked { reason } => CliError::new(
                exit::ENVIRONMENT,
                "locked",
                format!("something is in the way: {reason}"),
                "run it again; a lock file that stays was left by a killed process: git scrum doctor --repair",
            ),
            EngineError::Exhausted { attempts } => CliError::new(
                exit::NETWORK,
                "contention",
                format!("others were faster {attempts} times in a row"),
                "run it again in a while",
            ),
            EngineError::Moved { ref_name } => CliError::new(
                exit::NO,
                "moved",
                format!("{ref_name} was moved by somebody else meanwhile; nothing was changed"),
                "look at what they pushed, then run it again",
            )
            .with("ref", ref_name),
            EngineError::NotAtomic => CliError::new(
                exit::ENVIRONMENT,
                "not-atomic",
                "the server cannot update several refs in one push",
                "run it again: this is remembered now",
            ),
            EngineError::Conflict { what, paths, hint } => {
                let message = format!("{what}, in {}", paths.join(", "));
                CliError::new(exit::NO, "conflict", message, hint).with("paths", paths)
            }
            EngineError::Impossible { what, hint } => CliError::new(exit::NO, "impossible", what, hint),
        }
    }
}

fn no_board() -> CliError {
    CliError::new(exit::ENVIRONMENT, "no-board", "this repository has no board yet", "git scrum init")
}

pub(super) fn until_words(until: Option<Timestamp>) -> String {
    until.map_or_else(|| "while it is in the train".to_owned(), |until| format!("until {until}"))
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> Self {
        let text = |task: &TaskId| task.to_string();
        match refusal {
            Refusal::NoBoard => no_board(),
            Refusal::NoSuchTask(task) => {
                CliError::new(exit::NO, "no-such-task", format!("there is no task {task}"), "git scrum list")
                    .with("task", text(&task))
            }
            Refusal::TaskExists(task) => {
                let hint = format!("git scrum show {task}");
                CliError::new(exit::NO, "task-exists", format!("there is a task {task} already"), hint)
                    .with("task", text(&task))
            }
            Refusal::NoSuchTeam(team) => {
                CliError::new(exit::NO, "no-such-team", format!("there is no team {team}"), "git scrum team list")
                    .with("team", team.to_string())
            }
            Refusal::NoSuchCar(car) => no_such_car(&car),
            Refusal::Cycle(tasks) => {
                let path: Vec<String> = tasks.iter().map(text).collect();
                let message = format!("these tasks would wait for each other: {}", path.join(" needs "));
                CliError::new(exit::NO, "cycle", message, "leave one of these needs out").with("cycle", path)
            }
            Refusal::WrongState { task, state, wanted, reason } => {
                let why = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
                let message = format!("task {task} is {state}{why} and cannot {wanted}");
                CliError::new(exit::NO, "wrong-state", message, format!("git scrum show {task}"))
                    .with("task", text(&task))
                    .with("state", state.as_str())
                    .with("reason", reason)
            }
            held @ (Refusal::Held { .. } | Refusal::StaleFence { .. } | Refusal::Locked { .. }) => held_by(held),
            Refusal::NotLocked(pattern) => {
                let message = format!("you have no lock on {pattern}");
                CliError::new(exit::NO, "not-locked", message, "git scrum locks").with("pattern", pattern.as_str())
            }
            Refusal::AtCapacity { team, capacity } => {
                let tasks = if capacity == 1 { "task" } else { "tasks" };
                let message = format!("team {team} works on {capacity} {tasks} already, as many as it takes at once");
                CliError::new(exit::NO, "at-capacity", message, format!("git scrum list --team {team}"))
                    .with("team", team.to_string())
                    .with("capacity", capacity)
            }
            Refusal::NothingToClaim(_) => {
                CliError::new(exit::NO, "nothing-to-claim", "there is nothing to claim", "git scrum list")
            }
            Refusal::TooLarge { what, size, size_max } => {
                let message = format!("{what}: {size}, more than {size_max}");
                CliError::new(exit::USAGE, "too-large", message, "make it shorter, or split it")
                    .with("size", size)
                    .with("size_max", size_max)
            }
            Refusal::BadText { what, rule } => CliError::new(exit::USAGE, "bad-text", cannot_be(what), rule),
            Refusal::AlreadyLanded { car, commit } => {
                let message = format!("{car} has landed already, with commit {commit}");
                CliError::new(exit::NO, "already-landed", message, "commit more work before you submit it again")
                    .with("car", car.to_string())
                    .with("commit", commit.to_string())
            }
            Refusal::OwnCar(car) => {
                let message = format!("you submitted {car} yourself: somebody else has to approve of it");
                CliError::new(exit::FORBIDDEN, "own-car", message, format!("ask another to: git scrum approve {car}"))
                    .with("car", car.to_string())
            }
            Refusal::TrainChanged(what) => {
                CliError::new(exit::NO, "train-changed", what, "git scrum merge-train status")
            }
        }
    }
}

/// That something is not what it must be, as one would say it.
fn cannot_be(what: &str) -> String {
    match what {
        "cars" => "these cannot be the cars that land together".to_owned(),
        what if what.starts_with(['a', 'e', 'i', 'o', 'u']) => format!("this cannot be an {what}"),
        what => format!("this cannot be a {what}"),
    }
}

fn no_such_car(car: &CarId) -> CliError {
    let message = format!("there is no car {car} in the train");
    CliError::new(exit::NO, "no-such-car", message, "git scrum merge-train status").with("car", car.to_string())
}

fn held_by(refusal: Refusal) -> CliError {
    let until_json = |until: Option<Timestamp>| until.map(|until| until.to_string());
    match refusal {
        Refusal::Held { task, holder, fence, until } => {
            let message = format!("task {task} is held by {holder} under fence {fence}, {}", until_words(until));
            CliError::new(exit::HELD, "held", message, "git scrum claim, to take another one")
                .with("task", task.to_string())
                .with("holder", holder.to_string())
                .with("fence", fence.0)
                .with("until", until_json(until))
        }
        Refusal::StaleFence { task, named, present } => {
            let error = |message, hint: String| {
                CliError::new(exit::HELD, "stale-fence", message, hint)
                    .with("task", task.to_string())
                    .with("named", named.0)
            };
            match present {
                Some((holder, fence, until)) => {
                    let until_words = until_words(until);
                    let now = format!("it is held by {holder} under fence {fence}, {until_words}");
                    let message = format!("your claim of {task}, fence {named}, is over: {now}");
                    error(message, "stop working on it; git scrum claim, to take another one".to_owned())
                        .with("holder", holder.to_string())
                        .with("fence", fence.0)
                        .with("until", until_json(until))
                }
                None => {
                    let message = format!("your claim of {task}, fence {named}, is over, and nobody holds it now");
                    error(message, format!("git scrum show {task}"))
                }
            }
        }
        Refusal::Locked { wanted, held, holder, task, until } => {
            let of = task.as_ref().map(|task| format!(" for task {task}")).unwrap_or_default();
            let until_words = until_words(until);
            let message = format!("{wanted} meets {held}, which {holder} has locked{of}, {until_words}");
            CliError::new(exit::HELD, "locked", message, "git scrum locks")
                .with("pattern", wanted.as_str())
                .with("held", held.as_str())
                .with("holder", holder.to_string())
                .with("task", task.map(|task| task.to_string()))
                .with("until", until_json(until))
        }
        _ => unreachable!("BUG: only refusals about holders come here"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_cannot_be_is_said_in_english() {
        for (what, words) in [
            ("title", "this cannot be a title"),
            ("order", "this cannot be an order"),
            ("object id", "this cannot be an object id"),
            ("cars", "these cannot be the cars that land together"),
        ] {
            assert_eq!(CliError::from(Refusal::BadText { what, rule: "" }).message(), words);
        }
    }
}
