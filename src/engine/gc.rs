//! Folding old history: what is worth it, and what is kept at hand.

use super::error::EngineError;
use super::ports::Host;
use crate::domain::Seconds;
pub use crate::ledger::Folded;
use crate::ledger::{FoldRequest, Keep, Store, fold};

/// How many of the newest versions a checkpoint names, unless asked for another number.
pub const KEPT_VERSIONS: usize = 2_000;
/// It names all that are younger than this, whatever their number: far longer than any command takes, or may be taken
/// up again, or any clock is wrong.
pub const KEPT_FOR: Seconds = Seconds(86_400);
/// From how many versions on it is worth it: whoever was elsewhere has to look twice.
const WORTH_IT: usize = 1_000;
/// With fewer there is nothing to fold.
const VERSIONS_MIN: usize = 2;

/// Folds a ledger into a checkpoint that names the newest `keep` versions and all young ones. Where that is not worth
/// it nothing is done, unless `force`. `None` where there is no ledger yet.
pub fn gc<S: Store, H: Host>(
    store: &S,
    host: &H,
    keep: usize,
    force: bool,
    dry_run: bool,
) -> Result<Option<Folded>, EngineError> {
    let at_secs = host.now().as_secs();
    let keep = Keep { versions: keep, since_secs: at_secs.saturating_sub(KEPT_FOR.0) };
    let versions_min = if force { VERSIONS_MIN } else { WORTH_IT };
    Ok(fold(store, host, &FoldRequest { keep, versions_min, dry_run, at_secs })?)
}
