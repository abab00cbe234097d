//! `git scrum log`

use serde_json::json;

use super::errors::{CliError, exit};
use super::output::Reply;
use super::{Context, view};
use crate::domain::{Refusal, Timestamp};
use crate::engine::{Astray, Beginning, verify};
use crate::ledger::{GitStore, Message, Store};

/// Show what happened on the board, the latest first
#[derive(clap::Args)]
pub struct Args {
    /// How many entries at most
    #[arg(long, short = 'n', value_name = "N", default_value_t = 30)]
    count: usize,
    /// Work out again what every version ought to be, and name the first that is not
    #[arg(long, conflicts_with = "count")]
    verify: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Reply, CliError> {
    // The read tells whether the board is the present one, and brings its history here.
    let ((), current) = context.read(|_| Ok(()))?;
    let store = context.session.store();
    let tip = store.cached()?.ok_or(Refusal::NoBoard)?;
    if args.verify {
        return verified(store, current);
    }
    let mut text = String::new();
    let mut rows = Vec::new();
    for entry in store.history(&tip, None, args.count)? {
        let at = Timestamp::from_secs(entry.at_secs).to_string();
        let lines: Vec<&str> = Message::lines_in(&entry.message).collect();
        for line in &lines {
            text.push_str(&format!("{at} {} {line}\n", view::short(&entry.version.0)));
        }
        rows.push(json!({ "version": entry.version.0, "at": at, "lines": lines }));
    }
    Ok(Reply::new(json!({ "entries": rows, "current": current }), view::clean(&text)))
}

fn verified(store: &GitStore, current: bool) -> Result<Reply, CliError> {
    let verified = verify(store, |parent, batch, version| store.makes(parent, batch, version))?;
    let count = verified.count;
    match verified.astray {
        None => {
            let mut text = format!("{count} versions, each what its operations give.\n");
            let mut data = json!({ "verified": count, "current": current });
            if let Some(Beginning { checkpoint, replaced, compared }) = verified.beginning {
                let (first, last) = (view::short(&checkpoint.0), view::short(&replaced.0));
                text.push_str(&match compared {
                    true => format!("They begin with the checkpoint {first}, which holds what {last} held.\n"),
                    false => format!("They begin with the checkpoint {first}; {last}, which it replaced, is gone.\n"),
                });
                let checkpoint = json!({ "version": checkpoint.0, "replaced": replaced.0, "compared": compared });
                view::merge(&mut data, json!({ "checkpoint": checkpoint }));
            }
            Ok(Reply::new(data, text))
        }
        Some(Astray { version, what }) => {
            let message = format!("version {version} of the board is astray: {what}");
            let hint = format!("git show {version}");
            Err(CliError::new(exit::INTEGRITY, "astray", message, hint).with("version", version.0))
        }
    }
}
