//! The file that configures a train, as it would be once a candidate has landed.
//!
//! Guarantees: where it changes and could not be read any more, the candidate is none: it would stop whoever works with
//! this target, in every clone, and no check of the repository's own has to notice. It is judged by the bytes of the
//! candidate alone, so every host says the same. Must not know what is in it.

use super::error::EngineError;
use super::journal::Journal;
use super::pass::Pass;
use super::ports::{Checks, Code, Host};
use crate::domain::planner::Candidate;
use crate::domain::{Branch, ObjectId};
use crate::ledger::{Fault, Store};

/// How the file is judged.
#[derive(Debug, Clone, Copy)]
pub struct SettingsFile {
    /// Where it is.
    pub path: &'static str,
    /// The largest that is read.
    pub bytes_max: usize,
    /// Why it cannot be read by those who work with a target.
    pub wrong: fn(&Branch, &[u8]) -> Option<String>,
}

impl<S: Store, H: Host, J: Journal, C: Code, K: Checks> Pass<'_, S, H, J, C, K> {
    /// The candidate; or, in its place, a conflict in the file that could not be read any more.
    pub(super) fn with_readable_settings(
        &self,
        base: &ObjectId,
        candidate: Candidate,
    ) -> Result<Candidate, EngineError> {
        let Candidate::Clean { commit, .. } = &candidate else { return Ok(candidate) };
        let SettingsFile { path, bytes_max, wrong } = self.settings.file;
        let read = |commit: &ObjectId| match self.code.file(commit, path, bytes_max) {
            Err(Fault::TooLarge { size, .. }) => Ok(Err(format!("it has {size} bytes, more than {bytes_max}"))),
            read => read.map(Ok),
        };
        let after = read(commit)?;
        let why = match &after {
            Ok(None) => None,
            Ok(Some(bytes)) => wrong(&self.settings.target, bytes),
            Err(too_large) => Some(too_large.clone()),
        };
        // What is wrong already is no fault of whoever leaves it as it is.
        Ok(match why {
            Some(why) if read(base)? != after => {
                Candidate::Conflict { paths: vec![format!("{path}, which could not be read any more: {why}")] }
            }
            _ => candidate,
        })
    }
}
