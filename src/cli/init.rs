//! `git scrum init`

use serde_json::json;

use super::errors::CliError;
use super::output::{Reply, Talk};
use crate::domain::{Command, Outcome};
use crate::ledger::Truth;
use crate::session::Session;

/// Create the board, or join the one that is there
#[derive(clap::Args)]
pub struct Args {
    /// The remote that the board lives on: a name, or an address
    #[arg(long, value_name = "NAME", conflicts_with = "local")]
    remote: Option<String>,
    /// Keep the board in this clone only
    #[arg(long)]
    local: bool,
}

pub(super) fn run(args: &Args, session: Session, talk: &Talk) -> Result<Reply, CliError> {
    let chosen = if args.local { Some(".") } else { args.remote.as_deref() };
    let session = match chosen {
        Some(remote) => session.with_remote(remote)?,
        None => session,
    };
    let target = session.default_target()?;
    let board = session.board()?;
    let asked = board.ask(Command::Init { target: target.clone() })?;
    let created = asked.outcome == Outcome::Board { created: true };
    let remote = match (&session.truth, chosen) {
        (Truth::Local, _) => ".".to_owned(),
        (Truth::Remote { .. }, Some(chosen)) => chosen.to_owned(),
        (Truth::Remote { name, .. }, None) => name.clone(),
    };
    session.remember_remote(&remote)?;
    let place = if remote == "." { "this clone".to_owned() } else { remote.clone() };
    let target = session.target()?;
    talk.tell(if created { "Next: git scrum add \"a first task\"" } else { "Next: git scrum list" });
    let text = format!("{} board for {target} on {place}\n", if created { "Created a" } else { "Joined the" });
    let data =
        json!({ "created": created, "remote": remote, "target": target.as_str(), "ref": session.names().board() });
    Ok(Reply::new(data, text).delivering(session))
}
