//! `git scrum log`

use serde_json::json;

use super::errors::CliError;
use super::output::Reply;
use super::{Context, view};
use crate::domain::{Refusal, Timestamp};
use crate::ledger::{Message, Store};

/// Show what happened on the board, the latest first
#[derive(clap::Args)]
pub struct Args {
    /// How many entries at most
    #[arg(long, short = 'n', value_name = "N", default_value_t = 30)]
    count: usize,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Reply, CliError> {
    // The read tells whether the board is the present one, and brings its history here.
    let ((), current) = context.read(|_| Ok(()))?;
    let store = context.session.store();
    let tip = store.cached()?.ok_or(Refusal::NoBoard)?;
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
