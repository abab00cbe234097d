//! What killed processes leave on the disk.

use super::super::Context;
use super::super::errors::CliError;
use super::Args;
use crate::engine::doctor::{Finding, Lock};

/// Lock files of this clone, and of a remote that is a directory here.
pub(super) fn locks(args: &Args, context: &Context) -> Result<Vec<Finding>, CliError> {
    let mut findings = Vec::new();
    for (files, at_remote) in context.session.lock_files() {
        let in_use = files.in_use();
        for file in files.find() {
            let path = file.path.to_string_lossy();
            let lock = Lock { path: &path, age: file.age, owner: &file.owner, in_use, at_remote };
            let finding = lock.judge();
            let asked = args.repair && (args.remote_locks || !at_remote);
            findings.push(if !(asked && lock.is_left()) {
                finding
            } else if files.remove(&file)? {
                finding.repaired("removed")
            } else {
                finding.not_repaired("somebody is at work")
            });
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok("locks", "no lock file is in the way of a ref"));
    }
    Ok(findings)
}
