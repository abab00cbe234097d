//! `git scrum lock`, `unlock`, `locks`

use serde_json::{Value, json};

use super::errors::CliError;
use super::output::Reply;
use super::{Context, tasks, view};
use crate::domain::board::Board;
use crate::domain::{Command, LockMode, Outcome, Pattern, Seconds};
use crate::engine::ports::Host;

/// Lock paths, without a task
#[derive(clap::Args)]
pub struct LockArgs {
    /// Path patterns
    #[arg(required = true, value_name = "PATTERN")]
    patterns: Vec<String>,
    /// Let others lock the same paths, as long as they do the same
    #[arg(long)]
    shared: bool,
    /// For how long
    #[arg(long, value_name = "1h")]
    lease: Option<Seconds>,
    /// Why
    #[arg(long)]
    reason: Option<String>,
}

/// Give locked paths back
#[derive(clap::Args)]
pub struct UnlockArgs {
    /// Path patterns, as they were locked
    #[arg(required = true, value_name = "PATTERN")]
    patterns: Vec<String>,
    /// Take them from whoever locked them
    #[arg(long)]
    force: bool,
}

/// List what is locked, by whom and until when
#[derive(clap::Args)]
pub struct LocksArgs {}

pub(super) fn lock(args: &LockArgs, context: &Context) -> Result<Reply, CliError> {
    let patterns: Vec<Pattern> = tasks::parse_all(&args.patterns)?;
    let mode = if args.shared { LockMode::Shared } else { LockMode::Exclusive };
    let command = Command::Lock {
        patterns,
        mode,
        lease: args.lease.unwrap_or(context.session.settings()?.locks.lease),
        reason: args.reason.clone(),
    };
    let board = context.board()?;
    let mut asked = board.ask(command.clone())?;
    if let (true, Outcome::Locked { fence, .. }) = (asked.resumed, &asked.outcome)
        && board.read(false, |board| Ok(board.grant(*fence)?))?.is_none()
    {
        // What the killed process had locked was given back meanwhile: this is a new request after all.
        context.session.delivered();
        asked = board.ask(command)?;
    }
    let Outcome::Locked { fence, until } = asked.outcome else { unreachable!("BUG: a lock was asked for") };
    let data =
        json!({ "patterns": args.patterns, "mode": mode.as_str(), "fence": fence.0, "until": until.to_string() });
    Ok(Reply::new(data, view::clean(&format!("Locked {} until {until}\n", args.patterns.join(" ")))))
}

pub(super) fn unlock(args: &UnlockArgs, context: &Context) -> Result<Reply, CliError> {
    let patterns: Vec<Pattern> = tasks::parse_all(&args.patterns)?;
    let asked = context.board()?.ask(Command::Unlock { patterns, force: args.force });
    let asked = asked.map_err(|error| match CliError::from(error) {
        error if error.is_held() => error.advising("git scrum unlock --force, if you may take it from them"),
        error => error,
    })?;
    let Outcome::Unlocked { patterns } = asked.outcome else { unreachable!("BUG: an unlock was asked for") };
    let unlocked: Vec<&str> = patterns.iter().map(Pattern::as_str).collect();
    Ok(Reply::new(json!({ "patterns": unlocked }), view::clean(&format!("Unlocked {}\n", unlocked.join(" ")))))
}

pub(super) fn locks(_: &LocksArgs, context: &Context) -> Result<Reply, CliError> {
    let (grants, current) = context.read(|board| context.grants(board))?;
    let now = context.session.host.now();
    let skew = context.session.settings()?.tasks.skew;
    let mut rows: Vec<Value> = Vec::new();
    let mut text = String::new();
    for grant in &grants {
        for pattern in grant.patterns() {
            let until = grant.until().map(|until| until.to_string());
            rows.push(json!({
                "pattern": pattern.as_str(),
                "mode": grant.mode().as_str(),
                "holder": grant.holder().as_str(),
                "task": grant.task().map(|task| task.as_str()),
                "until": until,
                "fence": grant.fence().0,
                "expired": grant.has_run_out(None, now, skew),
            }));
            let of = grant.task().map(|task| format!(" for {task}")).unwrap_or_default();
            let until = match until {
                None => "until it lands".to_owned(),
                Some(until) if grant.has_run_out(None, now, skew) => format!("until {until}, which is over"),
                Some(until) => format!("until {until}"),
            };
            text.push_str(&format!("{pattern}  {} by {}{of} {until}\n", grant.mode().as_str(), grant.holder()));
        }
    }
    if text.is_empty() {
        text.push_str("Nothing is locked.\n");
    }
    Ok(Reply::new(json!({ "locks": rows, "current": current }), view::clean(&text)))
}
