//! `git scrum gc`

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::errors::CliError;
use super::output::Reply;
use super::{Context, view};
use crate::domain::Refusal;
use crate::engine::ports::Host;
use crate::engine::{Folded, KEPT_FOR, KEPT_VERSIONS, doctor, gc};
use crate::ledger::{GitStore, Store};

/// Fold old history of the board and of memory into a checkpoint, so that new clones need not download it
///
/// Whoever reads or writes meanwhile is not disturbed. What is replaced stays at the remote, under refs/scrum/archive/,
/// which nobody downloads unasked. Where there are fewer than 1,000 versions nothing is done.
#[derive(clap::Args)]
pub struct Args {
    /// How many replaced versions the checkpoint names, beside all of the last day
    #[arg(long, value_name = "N", default_value_t = KEPT_VERSIONS)]
    keep: usize,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Fold however few versions there are; with --forget: forget also what was replaced a moment ago
    #[arg(long)]
    force: bool,
    /// Then remove from the remote, for good, what is more than a day old of what was replaced
    #[arg(long, conflicts_with = "dry_run")]
    forget: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Reply, CliError> {
    // With it come the offers of others, and the budget of pushes.
    let board = context.board()?;
    let memory = context.session.memory_store();
    let mut text = String::new();
    let mut rows = Vec::new();
    for (what, store) in [("board", board.store), ("memory", &memory)] {
        match gc(store, &context.session.host, args.keep, args.force, args.dry_run)? {
            Some(folded) => {
                text.push_str(&line(what, &folded));
                rows.push(row(store.ref_name(), &folded));
            }
            None if what == "board" => return Err(Refusal::NoBoard.into()),
            None => {}
        }
    }
    let mut data = json!({ "ledgers": rows, "dry_run": args.dry_run });
    if args.forget {
        let forgotten = forget(args, context, [board.store, &memory])?;
        forgotten.iter().for_each(|name| text.push_str(&format!("forgot {name}\n")));
        view::merge(&mut data, json!({ "forgotten": forgotten }));
    }
    Ok(Reply::new(data, view::clean(&text)))
}

fn line(what: &str, folded: &Folded) -> String {
    let Folded { to, kept, worth_it, .. } = folded;
    let versions = doctor::versions(folded.versions);
    match to {
        Some(to) => format!("{what}: checkpoint {} replaces {versions} and names {kept}\n", view::short(&to.0)),
        None if *worth_it => format!("{what}: a checkpoint would replace {versions} and name {kept}\n"),
        None => format!("{what}: {versions} since it began or was folded, nothing to do\n"),
    }
}

fn row(ref_name: &str, folded: &Folded) -> Value {
    let Folded { from, to, versions, kept, worth_it } = folded;
    json!({
        "ref": ref_name,
        "versions": versions,
        "replaced": if *worth_it { *versions } else { 0 },
        "kept": if *worth_it { *kept } else { 0 },
        "from": from.0,
        "to": to.as_ref().map(|to| &to.0),
    })
}

/// Removes what checkpoints replaced, but for what somebody may still be in the middle of. Gives the names of the refs.
fn forget(args: &Args, context: &Context, ledgers: [&GitStore; 2]) -> Result<Vec<String>, CliError> {
    let refs = context.session.truth_refs();
    let mut archives = refs.list(&context.session.names().archives())?;
    let now = context.session.host.now().as_secs();
    for store in ledgers {
        let Some(tip) = store.refresh()? else { continue };
        let chain = store.history(&tip, None, usize::MAX)?;
        let young = chain.iter().filter(|entry| entry.at_secs + KEPT_FOR.0 > now && !args.force);
        let young: BTreeSet<&str> = young.map(|entry| entry.version.0.as_str()).collect();
        archives.retain(|(_, replaced)| !young.contains(replaced.as_str()));
    }
    let left = refs.remove(&archives)?;
    let mut gone: Vec<String> = archives.into_iter().map(|(name, _)| name).collect();
    gone.retain(|name| !left.contains(name));
    Ok(gone)
}
