//! What people trip over before anything of ours begins: git itself, the clone, its remotes, the clock.

use super::super::Context;
use super::super::errors::CliError;
use crate::engine::doctor::{self, Finding};
use crate::engine::ports::Host;
use crate::ledger::{Store, Truth};

pub(super) fn examine(context: &Context) -> Result<Vec<Finding>, CliError> {
    let session = &context.session;
    let version = session.git().run(&["version"]).unwrap_or_else(|error| error.to_string());
    let (ref_format, object_format) = session.formats();
    let mut findings = vec![doctor::git(&version, ref_format, object_format)];
    let remotes = session.remotes();
    let at = match &session.truth {
        Truth::Local => "the board is in this clone alone".to_owned(),
        Truth::Remote { name, url } => format!("the board is at {name} ({url})"),
    };
    let others = if remotes.len() > 1 { format!(", one of {} remotes", remotes.len()) } else { String::new() };
    findings.push(if session.is_shallow() {
        let what = format!("{at}{others}; this clone is shallow: merges may not find where branches came from");
        Finding::warning("clone", what, "git fetch --unshallow")
    } else {
        Finding::ok("clone", format!("{at}{others}"))
    });
    Ok(findings)
}

pub(super) fn clock(context: &Context) -> Result<Finding, CliError> {
    let skew = context.session.settings()?.tasks.skew;
    let store = context.session.store();
    let written = doctor::written_lately(store, &store.beats_seen()?)?;
    Ok(doctor::clock(context.session.host.now(), &written, skew))
}
