//! `git scrum doctor`

mod files;
mod ledgers;
mod refs;
mod surroundings;

use serde_json::{Value, json};

use super::errors::{CliError, exit};
use super::output::Reply;
use super::{Context, view};
use crate::engine::doctor::{Finding, Severity};

/// Find what is wrong with this clone and its remote, and repair it where that is asked for
///
/// Without options nothing is changed, here or anywhere. Exit 0: nothing is wrong, or all of it was repaired; 1:
/// something is left to do; 5: a ledger is not what it was.
#[derive(clap::Args, Clone)]
pub struct Args {
    /// Repair what was left by commands that were killed, where that loses nothing
    #[arg(long)]
    repair: bool,
    /// With --repair: also remove lock files from a remote that is a directory here, once no git runs in it
    #[arg(long, requires = "repair")]
    remote_locks: bool,
    /// With --repair: also remove saved work of claims that are over; look at it before
    #[arg(long, requires = "repair")]
    wip: bool,
    /// Make a board or memory that went back or vanished what this clone saw last
    #[arg(long)]
    restore: bool,
    /// With --restore: also where the remote has versions that this clone has not; kept under refs/scrum/lost/
    #[arg(long, requires = "restore")]
    force: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Reply, CliError> {
    let mut findings = surroundings::examine(context)?;
    // First what is in the way of everything else.
    findings.extend(files::locks(args, context)?);
    findings.extend(ledgers::examine(args, context)?);
    // What is judged by the board is left alone while nobody knows which board is right.
    let sound = !findings.iter().any(|finding| finding.breach && finding.is_left());
    let judged = Args { repair: args.repair && sound, ..args.clone() };
    findings.extend(files::worktrees(&judged, context)?);
    findings.extend(refs::examine(&judged, context)?);
    findings.push(surroundings::clock(context)?);
    Ok(reply(&findings))
}

fn reply(findings: &[Finding]) -> Reply {
    let left = findings.iter().filter(|finding| finding.is_left()).count();
    let repaired = findings.iter().filter(|finding| finding.repaired).count();
    let mut text: String = findings.iter().map(line).collect();
    text.push_str(&match (left, repaired) {
        (0, 0) => "Nothing is wrong.\n".to_owned(),
        (0, _) => format!("{repaired} found and repaired.\n"),
        (left, 0) => format!("{left} found.\n"),
        (left, repaired) => format!("{left} found, {repaired} repaired.\n"),
    });
    let rows: Vec<Value> = findings.iter().map(row).collect();
    let reply = Reply::new(json!({ "findings": rows, "left": left, "repaired": repaired }), view::clean(&text));
    if findings.iter().any(|finding| finding.breach && finding.is_left()) {
        reply.exiting(exit::INTEGRITY)
    } else if left > 0 {
        reply.no()
    } else {
        reply
    }
}

fn line(finding: &Finding) -> String {
    let word = match finding.severity {
        Severity::Ok => "ok",
        _ if finding.repaired => "repaired",
        Severity::Warning | Severity::Error => "found",
    };
    let next = if finding.next.is_empty() { String::new() } else { format!("         next: {}\n", finding.next) };
    format!("{word:<8} {}: {}\n{next}", finding.kind, finding.what)
}

fn row(finding: &Finding) -> Value {
    json!({
        "kind": finding.kind,
        "severity": finding.severity.as_str(),
        "what": finding.what,
        "path": finding.path,
        "ref": finding.ref_name,
        "repaired": finding.repaired,
        "next": (!finding.next.is_empty()).then_some(&finding.next),
    })
}
