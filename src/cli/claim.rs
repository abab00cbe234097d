//! `git scrum claim`, `release`, `fail`, `done`

use serde_json::{Value, json};

use super::errors::{CliError, exit};
use super::output::Reply;
use super::{Context, nearby, tasks, view};
use crate::agent::ClaimFile;
use crate::domain::board::Board;
use crate::domain::claim::Claim;
use crate::domain::refusal::Skipped;
use crate::domain::{Command, Fence, Grant, Outcome, Refusal, Seconds, TaskId};
use crate::engine::EngineError;
use crate::engine::ports::Code;

/// Take a task: the best one, or the one that is named
#[derive(clap::Args)]
pub struct ClaimArgs {
    /// The task; the best one if not given
    id: Option<String>,
    /// For this team: its specialities, its capacity
    #[arg(long, value_name = "T")]
    team: Option<String>,
    /// Only a task with this label; may be given several times
    #[arg(long = "label", value_name = "L")]
    labels: Vec<String>,
    /// Take up to this many, in one push
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    count: u32,
    /// For how long, unless it is renewed
    #[arg(long, value_name = "30m")]
    lease: Option<Seconds>,
    /// Make a worktree for it, on its branch, from the fresh target
    #[arg(long)]
    worktree: bool,
}

/// Give a task back
#[derive(clap::Args)]
pub struct ReleaseArgs {
    /// The task
    id: String,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// Take it from whoever holds it
    #[arg(long)]
    force: bool,
    /// The fence of the claim, where another clone made it
    #[arg(long, value_name = "N")]
    fence: Option<u64>,
}

/// Report that work on a task failed: it is queued again, until it has failed too often
#[derive(clap::Args)]
pub struct FailArgs {
    /// The task
    id: String,
    /// Why
    #[arg(long)]
    reason: String,
    /// The fence of the claim, where another clone made it
    #[arg(long, value_name = "N")]
    fence: Option<u64>,
}

/// Report that a task is finished, with no commit to land
#[derive(clap::Args)]
pub struct DoneArgs {
    /// The task
    id: String,
    /// The fence of the claim, where another clone made it
    #[arg(long, value_name = "N")]
    fence: Option<u64>,
}

pub(super) fn claim(args: &ClaimArgs, context: &Context) -> Result<Reply, CliError> {
    let settings = context.session.settings()?;
    let lease = args.lease.unwrap_or(settings.tasks.lease);
    if lease.0 == 0 {
        return Err(CliError::bad_argument("a lease of no time is over at once", "git scrum claim --lease 30m"));
    }
    if args.worktree {
        context.session.worktrees()?.possible()?;
    }
    let command = Command::Claim {
        task: args.id.as_deref().map(tasks::parse).transpose()?,
        team: args.team.as_deref().map(tasks::parse).transpose()?,
        labels: tasks::parse_all(&args.labels)?,
        count: args.count,
        lease,
        branch_template: settings.tasks.branch.clone(),
    };
    let claims = match take(context, &command) {
        Ok(claims) => claims,
        Err(EngineError::Refused(Refusal::NothingToClaim(skipped))) => return Ok(nothing(&skipped)),
        Err(EngineError::Refused(refusal @ Refusal::AtCapacity { .. })) if args.id.is_none() => {
            let error = CliError::from(refusal);
            let text = format!("There is nothing to claim: {}.\n", error.message());
            return Ok(Reply::new(json!({ "claims": [], "skipped": [], "reason": error.to_json() }), text).no());
        }
        Err(error) => {
            let error = CliError::from(error);
            let yours = error.holder() == Some(context.session.holder()?.as_str());
            return Err(match &args.id {
                Some(id) if yours => error.advising(format!("it is yours: git scrum renew {id}")),
                _ => error,
            });
        }
    };
    for claim in &claims {
        context.session.claims.put(&claim.task, ClaimFile::new(claim, None))?;
    }
    let warnings = nearby::warnings(context, &claims);
    let mut shown = Vec::new();
    let mut text = String::new();
    for claim in &claims {
        let worktree = if args.worktree { Some(make_worktree(context, claim)?) } else { None };
        shown.push(claim_json(claim, worktree.as_deref()));
        let until = claim.lease.until();
        text.push_str(&format!(
            "Claimed {}, fence {}, until {until}, branch {}\n",
            claim.task, claim.fence, claim.branch
        ));
        if let Some(worktree) = worktree {
            text.push_str(&format!("  work in {worktree}\n"));
        }
    }
    Ok(Reply::new(json!({ "claims": shown, "warnings": warnings }), view::clean(&text)))
}

/// Claims, and gives the claims as the board has them. A claim of a killed process is only taken up while it stands.
fn take(context: &Context, command: &Command) -> Result<Vec<Claim>, EngineError> {
    let board = context.session.board().map_err(|error| match error {
        crate::session::SessionError::Fault(fault) => EngineError::Fault(fault),
        error => {
            let what = CliError::from(error).message();
            EngineError::Impossible { what, hint: "see .scrum.example.toml".to_owned() }
        }
    })?;
    loop {
        let asked = board.ask(command.clone())?;
        let Outcome::Claimed { fences, .. } = &asked.outcome else { unreachable!("BUG: a claim was asked for") };
        let standing = |board: &crate::record::LedgerBoard<'_, '_, crate::ledger::GitStore>| {
            let mut claims = Vec::new();
            for fence in fences {
                if let Some(Grant::Claim(claim)) = board.grant(*fence)? {
                    claims.push(claim);
                }
            }
            Ok(claims)
        };
        let claims = match (&asked.version, asked.resumed) {
            (Some(version), false) => board.read_at(version, standing)?,
            _ => board.read(true, standing)?,
        };
        if !claims.is_empty() {
            return Ok(claims);
        }
        // What the killed process had claimed is gone meanwhile: this is a new request after all.
        context.session.delivered();
    }
}

fn nothing(skipped: &[Skipped]) -> Reply {
    let rows: Vec<Value> = skipped
        .iter()
        .map(|skip| {
            let holder = skip.holder.as_ref().map(|holder| holder.as_str());
            json!({ "task": skip.task.as_str(), "reason": skip.reason, "holder": holder })
        })
        .collect();
    let mut text = "There is nothing to claim.\n".to_owned();
    for skip in skipped {
        let unnamed = skip.holder.as_ref().filter(|holder| !skip.reason.contains(holder.as_str()));
        let holder = unnamed.map(|holder| format!(" ({holder})")).unwrap_or_default();
        text.push_str(&format!("  {}: {}{holder}\n", skip.task, skip.reason));
    }
    Reply::new(json!({ "claims": [], "skipped": rows }), view::clean(&text)).no()
}

fn claim_json(claim: &Claim, worktree: Option<&str>) -> Value {
    let mut value = view::claim(claim);
    view::merge(
        &mut value,
        json!({
            "task": claim.task.as_str(),
            "paths": claim.paths.iter().map(|path| path.as_str()).collect::<Vec<_>>(),
            "worktree": worktree,
        }),
    );
    value
}

/// Makes the worktree of a claim from the fresh target, and remembers it.
pub(super) fn make_worktree(context: &Context, claim: &Claim) -> Result<String, CliError> {
    let session = &context.session;
    let stands = |error: CliError| {
        context.talk.tell(error.to_text().lines().next().unwrap_or_default());
        let message = format!("{} is claimed under fence {}, but has no worktree", claim.task, claim.fence);
        CliError::new(exit::ENVIRONMENT, "no-worktree", message, format!("git scrum worktree add {}", claim.task))
            .with("cause", error.to_json())
    };
    let target = session.target_of(claim.team.as_ref())?;
    session.code.refresh(std::slice::from_ref(&target))?;
    let start = session.code.head(&target)?.ok_or_else(|| {
        stands(CliError::new(
            exit::ENVIRONMENT,
            "no-target",
            format!("there is no branch {target}"),
            format!("git push origin HEAD:{target}"),
        ))
    })?;
    let worktree =
        session.worktrees()?.add(&claim.task, &claim.branch, &start).map_err(|fault| stands(fault.into()))?;
    session.claims.put(&claim.task, ClaimFile::new(claim, Some(worktree.path.clone())))?;
    Ok(worktree.path.to_string_lossy().into_owned())
}

/// The fence to name: the one that was given, or the one this clone knows.
pub(super) fn fence(context: &Context, given: Option<u64>, task: &TaskId) -> Option<Fence> {
    given.map(Fence).or_else(|| context.session.known_fence(task))
}

pub(super) fn release(args: &ReleaseArgs, context: &Context) -> Result<Reply, CliError> {
    let task = tasks::task_id(&args.id)?;
    let fence = fence(context, args.fence, &task);
    let command = Command::Release { task: task.clone(), fence, reason: args.reason.clone(), force: args.force };
    returned(context, command, &task, "Released")
}

pub(super) fn fail(args: &FailArgs, context: &Context) -> Result<Reply, CliError> {
    let task = tasks::task_id(&args.id)?;
    let fence = fence(context, args.fence, &task);
    let retries_max = context.session.settings()?.tasks.retries_max;
    let command = Command::Fail { task: task.clone(), fence, reason: args.reason.clone(), retries_max };
    returned(context, command, &task, "Failed")
}

pub(super) fn done(args: &DoneArgs, context: &Context) -> Result<Reply, CliError> {
    let task = tasks::task_id(&args.id)?;
    let fence = fence(context, args.fence, &task);
    returned(context, Command::Done { task: task.clone(), fence }, &task, "Done:")
}

/// Runs a command that ends a claim, and shows the task as it is then.
fn returned(context: &Context, command: Command, id: &TaskId, word: &str) -> Result<Reply, CliError> {
    let board = context.board()?;
    let asked = board.ask(command)?;
    // Whoever ended it need not be told by the next heartbeat that it is over.
    if let Some(fence) = context.session.known_fence(id) {
        context.session.claims.end(id, fence)?;
    }
    let task = match &asked.version {
        Some(version) => board.read_at(version, |board| Ok(board.task(id)?))?,
        None => None,
    };
    let mut data = json!({ "task": task.as_ref().map(|task| view::task(task, None)) });
    let mut text = task.map_or_else(String::new, |task| format!("{word} {}", view::line(&task.summary, None)));
    if let Outcome::Finished { unblocked, .. } = &asked.outcome {
        let unblocked: Vec<&str> = unblocked.iter().map(TaskId::as_str).collect();
        view::merge(&mut data, json!({ "unblocked": unblocked }));
        if !unblocked.is_empty() {
            text.push_str(&format!("Unblocked {}\n", unblocked.join(", ")));
        }
    }
    Ok(Reply::new(data, text))
}
