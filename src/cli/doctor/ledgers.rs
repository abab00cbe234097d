//! The board and project memory: whether they go on from what this clone has seen, and whether records agree.

use super::super::Context;
use super::super::errors::CliError;
use super::Args;
use crate::engine::doctor::{self, Finding};
use crate::engine::verify;
use crate::ledger::{Fault, GitStore, Store, Truth};

pub(super) fn examine(args: &Args, context: &Context) -> Result<Vec<Finding>, CliError> {
    let board = context.session.store();
    let mut findings = vec![ledger(args, context, "board", board)?];
    findings.push(ledger(args, context, "memory", &context.session.memory_store())?);
    if let Some(version) = board.cached()? {
        findings.push(match doctor::wrong_records(board, &version) {
            Ok(wrong) if wrong.is_empty() => doctor::records(&wrong, None),
            Ok(wrong) => begun(board, &wrong)?,
            Err(fault) => doctor::unasked("records", &fault),
        });
    }
    Ok(findings)
}

fn ledger(args: &Args, context: &Context, kind: &'static str, store: &GitStore) -> Result<Finding, CliError> {
    let place = match &context.session.truth {
        Truth::Local => "this repository",
        Truth::Remote { name, .. } => name,
    };
    match store.refresh() {
        Ok(Some(tip)) => Ok(match store.history(&tip, None, usize::MAX) {
            Ok(chain) => doctor::whole(kind, place, &chain),
            Err(fault) => doctor::unasked(kind, &fault),
        }),
        Ok(None) if kind == "board" => Ok(Finding::warning(kind, format!("{place} has none yet"), "git scrum init")),
        Ok(None) => Ok(Finding::ok(kind, format!("{place} has none yet"))),
        Err(fault @ Fault::Integrity { .. }) => Ok(match store.standing() {
            Ok(Some(standing)) => {
                let kept_as = context.session.names().lost(store.ref_name(), standing.there_tip());
                let finding = doctor::astray(kind, place, &standing, &kept_as);
                if args.restore && (args.force || standing.only_there() == 0) {
                    // In turn, so that no command of this clone takes what is being replaced for the present version.
                    match store.in_turn(|| store.restore(&standing, &kept_as))? {
                        Ok(outcome) => doctor::restored(finding, &outcome, &standing, &kept_as),
                        Err(fault) => finding.not_repaired(&fault.to_string()),
                    }
                } else {
                    finding
                }
            }
            // It came back meanwhile, or something else than its way is wrong with it.
            Ok(None) => doctor::unasked(kind, &fault),
            Err(fault) => doctor::unasked(kind, &fault),
        }),
        Err(fault) => Ok(doctor::unasked(kind, &fault)),
    }
}

/// The finding of records that disagree, with the version that it began with: all of them are looked at for that.
fn begun(board: &GitStore, wrong: &[String]) -> Result<Finding, CliError> {
    let verified = verify(board, |parent, batch, version| board.makes(parent, batch, version))?;
    let Some(astray) = verified.astray else { return Ok(doctor::records(wrong, None)) };
    let chain = board.history(&astray.version, None, 1)?;
    let before = chain.first().and_then(|entry| entry.parent.as_ref());
    Ok(doctor::records(wrong, Some((&astray.version, before))))
}
