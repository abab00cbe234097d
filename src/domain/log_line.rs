//! What an operation is called in the log: one line, for people who read the history with plain git.
//!
//! Guarantees: every operation has a line, whatever came of it; nothing is read back from it.

use super::claim::Fence;
use super::pattern::Pattern;
use super::{CarId, Command, Operation, Outcome, Run, TaskId};

/// With so many cars a run is not called by all of them.
const NAMED_MAX: usize = 8;

impl Command {
    /// What it is called in the log.
    pub fn verb(&self) -> &'static str {
        match self {
            Command::Init { .. } => "init",
            Command::Add(_) => "add",
            Command::Edit { .. } => "edit",
            Command::Cancel { .. } => "cancel",
            Command::Reopen { .. } => "reopen",
            Command::Block { .. } => "block",
            Command::Unblock { .. } => "unblock",
            Command::Claim { .. } => "claim",
            Command::Renew { .. } => "renew",
            Command::Release { .. } => "release",
            Command::Fail { .. } => "fail",
            Command::Done { .. } => "done",
            Command::Lock { .. } => "lock",
            Command::Unlock { .. } => "unlock",
            Command::AddTeam(_) => "team add",
            Command::RemoveTeam { .. } => "team remove",
            Command::Submit { .. } => "submit",
            Command::Eject { .. } => "eject",
            Command::Pause { .. } => "pause",
            Command::Resume { .. } => "resume",
            Command::Approve { .. } => "approve",
            Command::Promote { .. } => "promote",
            Command::StartRun { .. } => "run",
            Command::ChangeRuns { .. } => "runs",
            Command::Verdict { .. } => "verdict",
            Command::AnnounceLanding { .. } => "landing",
            Command::AbandonLanding { .. } => "landing abandoned",
            Command::Land { .. } => "land",
        }
    }
}

impl Operation {
    /// One line for the log, for an operation that had `outcome`.
    pub fn line(&self, outcome: &Outcome) -> String {
        let by = &self.by;
        let list = |ids: &[TaskId]| ids.iter().map(TaskId::as_str).collect::<Vec<_>>().join(" ");
        let cars = |ids: &[CarId]| ids.iter().map(CarId::as_str).collect::<Vec<_>>().join(" ");
        // Those of a long line contain each other.
        let cars_of_run = |run: &Run| match run.cars.len() {
            0..NAMED_MAX => cars(&run.cars),
            _ => format!("{} behind {} others", cars(run.tested()), run.ahead),
        };
        let because = |reason: &Option<String>| reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
        match (&self.command, outcome) {
            (command, Outcome::Refused) => format!("{} by {by}: refused", command.verb()),
            (Command::Init { target }, _) => format!("init for {target} by {by}"),
            (Command::Add(new), Outcome::Task { task }) => format!("add {task} by {by}: {}", new.title),
            (Command::Edit { task, .. }, _) => format!("edit {task} by {by}"),
            (Command::Cancel { task, reason }, _) => format!("cancel {task} by {by}{}", because(reason)),
            (Command::Reopen { task }, _) => format!("reopen {task} by {by}"),
            (Command::Block { task, reason }, _) => format!("block {task} by {by}: {reason}"),
            (Command::Unblock { task }, _) => format!("unblock {task} by {by}"),
            (Command::Claim { team, lease, .. }, Outcome::Claimed { tasks, fences, expired }) => {
                let team = team.as_ref().map(|team| format!(" for {team}")).unwrap_or_default();
                let fences = fences.iter().map(Fence::to_string).collect::<Vec<_>>().join(" ");
                let taken = if expired.is_empty() { String::new() } else { format!(", expired {}", list(expired)) };
                format!("claim {} by {by}{team}, fence {fences}, lease {lease}{taken}", list(tasks))
            }
            (Command::Renew { task, .. }, Outcome::Renewed { fence, until, .. }) => {
                format!("renew {task} by {by}, fence {fence}, until {until}")
            }
            (Command::Release { task, reason, .. }, _) => format!("release {task} by {by}{}", because(reason)),
            (Command::Fail { task, reason, .. }, Outcome::Returned { given_up, .. }) => {
                format!("fail {task} by {by}, {}: {reason}", if *given_up { "given up" } else { "queued again" })
            }
            (Command::Done { task, .. }, _) => format!("done {task} by {by}"),
            (Command::Lock { patterns, mode, lease, .. }, Outcome::Locked { fence, .. }) => {
                let patterns = patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join(" ");
                format!("lock {patterns} by {by}, {}, fence {fence}, lease {lease}", mode.as_str())
            }
            (Command::Unlock { .. }, Outcome::Unlocked { patterns }) => {
                format!("unlock {} by {by}", patterns.iter().map(Pattern::as_str).collect::<Vec<_>>().join(" "))
            }
            (Command::AddTeam(team), _) => format!("team {} set by {by}", team.name),
            (Command::RemoveTeam { name }, _) => format!("team {name} removed by {by}"),
            (Command::Submit { car, target, commit, .. }, _) => format!("submit {car} to {target} by {by}, {commit}"),
            (Command::Eject { target, reason, .. }, Outcome::Ejected { cars: left }) => {
                format!("eject {} from {target} by {by}: {reason}", cars(left))
            }
            (Command::Pause { target, reason, below: None }, _) => format!("pause {target} by {by}: {reason}"),
            (Command::Pause { target, reason, below: Some(below) }, _) => {
                format!("pause {target} below {below} by {by}: {reason}")
            }
            (Command::Resume { target }, _) => format!("resume {target} by {by}"),
            (Command::Approve { target, car, commit, withdraw }, _) => {
                let word = if *withdraw { "approval withdrawn of" } else { "approve" };
                format!("{word} {car} on {target} by {by}, {commit}")
            }
            (Command::Promote { target, .. }, Outcome::Promoted { cars: first, .. }) => {
                format!("promote {} on {target} by {by}", cars(first))
            }
            (Command::StartRun { target, run }, _) => {
                format!("run {} on {target} by {by}, {}", cars(&run.cars), run.commit)
            }
            (Command::ChangeRuns { target, start, .. }, Outcome::Runs { started, cancelled }) => {
                let started = start.iter().filter(|run| started.contains(&run.commit));
                let started: Vec<String> = started.map(cars_of_run).collect();
                let (count, started) = (cancelled.len(), started.join(" / "));
                format!("runs of {started} on {target} by {by}, {count} cancelled")
            }
            (Command::Verdict { target, record, .. }, _) => {
                format!("verdict {} on {target} by {by}, {}", record.verdict, record.commit)
            }
            (Command::AnnounceLanding { target, cars: landing, to, .. }, _) => {
                format!("landing {} on {target} by {by}, to {to}", cars(landing))
            }
            (Command::AbandonLanding { target, to }, _) => format!("landing on {target} abandoned by {by}, to {to}"),
            (Command::Land { target, to, .. }, Outcome::Landed { cars: landed, .. }) => {
                format!("land {} on {target} by {by}, {to}", cars(landed))
            }
            (_, _) => format!("change by {by}"),
        }
    }
}
