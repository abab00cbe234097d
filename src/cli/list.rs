//! `git scrum list`, `ready`

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::errors::CliError;
use super::output::Reply;
use super::{Context, tasks, view};
use crate::domain::board::{Board, OpenTasks};
use crate::domain::claim::Claim;
use crate::domain::{
    Command, Fence, Grant, Operation, OperationId, Priority, Seconds, Summary, TaskState, Team, TeamName, rules,
};
use crate::engine::EngineError;
use crate::engine::ports::Host;
use crate::ledger::{GitStore, Pace};
use crate::record::{LedgerBoard, load_closed};

/// List tasks in the order in which they would be claimed
#[derive(clap::Args)]
pub struct ListArgs {
    /// Only tasks in this state: queued, blocked, claimed, submitted, landed, done, failed, cancelled; or all
    #[arg(long, value_name = "S")]
    state: Option<String>,
    /// Only tasks that this team could do
    #[arg(long, value_name = "T")]
    team: Option<String>,
}

/// List the tasks that could be claimed now
#[derive(clap::Args)]
pub struct ReadyArgs {
    /// Only tasks that this team could do
    #[arg(long, value_name = "T")]
    team: Option<String>,
}

/// Which tasks a list shows.
enum Wanted {
    Open,
    All,
    State(TaskState),
}

fn wanted(text: Option<&str>) -> Result<Wanted, CliError> {
    match text {
        None => Ok(Wanted::Open),
        Some("all") => Ok(Wanted::All),
        Some(text) => {
            let state = TaskState::ALL.into_iter().find(|state| state.as_str() == text);
            state.map(Wanted::State).ok_or_else(|| {
                let names: Vec<&str> = TaskState::ALL.iter().map(|state| state.as_str()).collect();
                CliError::bad_argument(format!("{text:?} is not a state"), format!("use all, {}", names.join(", ")))
            })
        }
    }
}

pub(super) fn list(args: &ListArgs, context: &Context) -> Result<Reply, CliError> {
    let wanted = wanted(args.state.as_deref())?;
    let team: Option<TeamName> = args.team.as_deref().map(tasks::parse).transpose()?;
    let (rows, current) = context.read(|board| {
        let team = team_of(board, team.as_ref())?;
        let mut rows = Rows::new(board, context)?;
        let mut take = |task: &Summary| {
            let in_state = match wanted {
                Wanted::Open | Wanted::All => true,
                Wanted::State(state) => task.state == state,
            };
            if in_state && team.as_ref().is_none_or(|team| team.can_do(task)) {
                rows.add(task);
            }
        };
        if !matches!(wanted, Wanted::State(state) if state.is_closed()) {
            for which in [OpenTasks::Queued, OpenTasks::Waiting] {
                for priority in Priority::ALL {
                    board.visit_open(which, priority, &mut |task| {
                        take(task);
                        ControlFlow::Continue(())
                    })?;
                }
            }
        }
        if matches!(wanted, Wanted::All) || matches!(wanted, Wanted::State(state) if state.is_closed()) {
            load_closed(board, |task| take(&task.summary))?;
        }
        rows.sort();
        Ok(rows)
    })?;
    Ok(rows.reply(current))
}

pub(super) fn ready(args: &ReadyArgs, context: &Context) -> Result<Reply, CliError> {
    let team: Option<TeamName> = args.team.as_deref().map(tasks::parse).transpose()?;
    let session = &context.session;
    let operation = Operation {
        id: OperationId::parse(&session.host.nonce()).expect("a nonce is an operation id"),
        by: session.holder()?,
        at: session.host.now(),
        skew: session.settings()?.tasks.skew,
        overdue: None,
        command: Command::Claim {
            task: None,
            team: team.clone(),
            labels: Vec::new(),
            count: 1,
            lease: Seconds(0),
            branch_template: String::new(),
        },
    };
    let (rows, current) = context.read(|board| {
        let mut rows = Rows::new(board, context)?;
        let overdue = rules::overdue(&board.grants()?, &context.beats_seen()?, operation.at, operation.skew);
        let operation = Operation { overdue: Some(overdue), ..operation.clone() };
        for task in rules::ready(board, &operation, team.as_ref()).map_err(EngineError::from)? {
            rows.add(&task);
        }
        Ok(rows)
    })?;
    Ok(rows.reply(current))
}

fn team_of(board: &LedgerBoard<'_, '_, GitStore>, name: Option<&TeamName>) -> Result<Option<Team>, EngineError> {
    let Some(name) = name else { return Ok(None) };
    Ok(Some(board.team(name)?.unwrap_or_else(|| Team::generalist(name.clone()))))
}

/// Tasks as they are printed, each made at once: there may be too many to hold them all.
struct Rows {
    claims: BTreeMap<Fence, Claim>,
    form: Form,
}

type Rank = (Priority, u64);

enum Form {
    Json(Vec<(Rank, Box<RawValue>)>),
    Text(Vec<(Rank, String)>),
}

impl Rows {
    fn new(board: &LedgerBoard<'_, '_, GitStore>, context: &Context) -> Result<Rows, EngineError> {
        let mut claims = BTreeMap::new();
        for grant in context.grants(board)? {
            if let Grant::Claim(claim) = grant {
                claims.insert(claim.fence, claim);
            }
        }
        let form = if context.talk.is_json() { Form::Json(Vec::new()) } else { Form::Text(Vec::new()) };
        Ok(Rows { claims, form })
    }

    fn add(&mut self, task: &Summary) {
        let held = task.claim.and_then(|fence| self.claims.get(&fence));
        match &mut self.form {
            Form::Json(rows) => {
                let row = to_raw_value(&view::summary(task, held)).expect("a JSON value is JSON");
                rows.push((task.rank(), row));
            }
            Form::Text(rows) => rows.push((task.rank(), view::line(task, held))),
        }
    }

    fn sort(&mut self) {
        match &mut self.form {
            Form::Json(rows) => rows.sort_by_key(|(rank, _)| *rank),
            Form::Text(rows) => rows.sort_by_key(|(rank, _)| *rank),
        }
    }

    fn reply(self, current: bool) -> Reply {
        match self.form {
            Form::Json(rows) => Reply::tasks(rows.into_iter().map(|(_, row)| row).collect(), current),
            Form::Text(rows) if rows.is_empty() => Reply::new(Value::Null, "No tasks.\n"),
            Form::Text(rows) => Reply::new(Value::Null, rows.into_iter().map(|(_, row)| row).collect::<String>()),
        }
    }
}
