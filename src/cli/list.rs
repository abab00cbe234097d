//! `git scrum list`, `ready`

use std::ops::ControlFlow;

use serde_json::{Value, json};

use super::errors::CliError;
use super::output::Reply;
use super::{Context, tasks, view};
use crate::domain::board::{Board, OpenTasks};
use crate::domain::claim::Claim;
use crate::domain::{Command, Operation, OperationId, Priority, Seconds, Summary, TaskState, Team, TeamName, rules};
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
    let ((listed, claims), current) = context.read(|board| {
        let team = team_of(board, team.as_ref())?;
        let mut listed = Vec::new();
        let mut take = |task: &Summary| {
            let in_state = match wanted {
                Wanted::Open | Wanted::All => true,
                Wanted::State(state) => task.state == state,
            };
            if in_state && team.as_ref().is_none_or(|team| team.can_do(task)) {
                listed.push(task.clone());
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
        listed.sort_by_key(Summary::rank);
        Ok((listed, claims(board)?))
    })?;
    Ok(reply(&listed, &claims, current))
}

pub(super) fn ready(args: &ReadyArgs, context: &Context) -> Result<Reply, CliError> {
    let team: Option<TeamName> = args.team.as_deref().map(tasks::parse).transpose()?;
    let session = &context.session;
    let operation = Operation {
        id: OperationId::parse(&session.host.nonce()).expect("a nonce is an operation id"),
        by: session.holder()?,
        at: session.host.now(),
        skew: session.settings()?.tasks.skew,
        command: Command::Claim {
            task: None,
            team: team.clone(),
            labels: Vec::new(),
            count: 1,
            lease: Seconds(0),
            branch_template: String::new(),
        },
    };
    let ((listed, claims), current) = context.read(|board| {
        let listed = rules::ready(board, &operation, team.as_ref()).map_err(EngineError::from)?;
        Ok((listed, claims(board)?))
    })?;
    Ok(reply(&listed, &claims, current))
}

fn team_of(board: &LedgerBoard<'_, '_, GitStore>, name: Option<&TeamName>) -> Result<Option<Team>, EngineError> {
    let Some(name) = name else { return Ok(None) };
    Ok(Some(board.team(name)?.unwrap_or_else(|| Team::generalist(name.clone()))))
}

fn claims(board: &LedgerBoard<'_, '_, GitStore>) -> Result<Vec<Claim>, EngineError> {
    let grants = board.grants()?.into_iter();
    Ok(grants
        .filter_map(|grant| if let crate::domain::Grant::Claim(claim) = grant { Some(claim) } else { None })
        .collect())
}

fn reply(listed: &[Summary], claims: &[Claim], current: bool) -> Reply {
    let held = |task: &Summary| claims.iter().find(|claim| Some(claim.fence) == task.claim);
    let data: Vec<Value> = listed.iter().map(|task| view::summary(task, held(task))).collect();
    let text: String = listed.iter().map(|task| view::line(task, held(task))).collect();
    let text = if text.is_empty() { "No tasks.\n".to_owned() } else { text };
    Reply::new(json!({ "tasks": data, "current": current }), text)
}
