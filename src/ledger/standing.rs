//! How a ledger at the truth stands to what this clone has seen of it, where the one does not follow the other.
//!
//! Guarantees: looking changes no ref; restoring moves the ledger from exactly what was looked at, and keeps versions
//! that only the truth has under a ref of their own, or does nothing. With the ledger come its archives, as far as they
//! are here.

use std::collections::HashMap;

use super::{ChainEntry, Fault, GitStore, Message, Outcome, RefUpdate, Store, Truth, Version, archive_ref};

/// A ledger that did not go on from where this clone saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The ledger's ref.
    pub ref_name: String,
    /// What this clone saw last.
    pub seen: Side,
    /// What the truth has; `None` where the ref is gone.
    pub there: Option<Side>,
}

/// One of two ends of a ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The newest version.
    pub tip: Version,
    /// When that was written, in seconds since 1970, by its writer's clock.
    pub at_secs: u64,
    /// What it did, in words; or why it is no version of a ledger.
    pub line: String,
    /// How many versions lead to it.
    pub versions: usize,
    /// How many of these the other side has not.
    pub own: usize,
}

impl Standing {
    /// How many versions would be lost if the truth became what this clone has seen.
    pub fn only_there(&self) -> usize {
        self.there.as_ref().map_or(0, |there| there.own)
    }

    /// The version that the truth has; empty where it has none.
    pub fn there_tip(&self) -> &str {
        self.there.as_ref().map_or("", |there| &there.tip.0)
    }
}

/// Puts two ends side by side.
fn compare(store: &GitStore, seen: &Version, there: Option<&Version>) -> Result<(Side, Option<Side>), Fault> {
    let ours = store.history(seen, None, usize::MAX)?;
    let Some(there) = there else { return Ok((side(&ours, ours.len()), None)) };
    let theirs = match store.history(there, None, usize::MAX) {
        Ok(chain) => chain,
        // Whatever somebody has put there, it is theirs, and only there.
        Err(Fault::Integrity { what }) => {
            let line = format!("no version of a ledger ({what})");
            let other = Side { tip: there.clone(), at_secs: 0, line, versions: 0, own: 1 };
            return Ok((side(&ours, ours.len()), Some(other)));
        }
        Err(fault) => return Err(fault),
    };
    let place: HashMap<&Version, usize> = ours.iter().enumerate().map(|(at, entry)| (&entry.version, at)).collect();
    let met = theirs.iter().enumerate().find_map(|(at, entry)| Some((at, *place.get(&entry.version)?)));
    let (only_there, only_seen) = met.unwrap_or((theirs.len(), ours.len()));
    Ok((side(&ours, only_seen), Some(side(&theirs, only_there))))
}

fn side(chain: &[ChainEntry], own: usize) -> Side {
    let tip = chain.first().expect("BUG: a chain begins with the version that was asked for");
    let line = Message::lines_in(&tip.message).next().unwrap_or("nothing").to_owned();
    Side { tip: tip.version.clone(), at_secs: tip.at_secs, line, versions: chain.len(), own }
}

impl GitStore {
    /// How the truth stands to what this clone has seen; `None` where it follows, or nothing was ever seen.
    pub fn standing(&self) -> Result<Option<Standing>, Fault> {
        let (Truth::Remote { .. }, Some(seen)) = (&self.truth, self.cached()?) else { return Ok(None) };
        let (seen, there) = compare(self, &seen, self.there()?.as_ref())?;
        let follows = seen.own == 0 && there.is_some();
        Ok((!follows).then(|| Standing { ref_name: self.ref_name.clone(), seen, there }))
    }

    /// Makes the truth what this clone has seen, if it still is what `standing` says. Versions that only the truth has
    /// are kept as `kept_as`, in the same push where the server can do that, or else in one before.
    pub fn restore(&self, standing: &Standing, kept_as: &str) -> Result<Outcome, Fault> {
        let there = standing.there.as_ref();
        let keep = there.filter(|there| there.own > 0).map(|there| RefUpdate {
            name: kept_as.to_owned(),
            old: None,
            new: Some(there.tip.0.clone()),
        });
        let (old, new) = (there.map(|there| &there.tip), &standing.seen.tip);
        let along: Vec<RefUpdate> = keep.into_iter().collect();
        let outcome = match self.publish(old, new, &along)? {
            Outcome::NotAtomic => match self.publish_updates(&along)? {
                Outcome::Applied => self.publish(old, new, &[])?,
                other => other,
            },
            other => other,
        };
        if outcome == Outcome::Applied {
            for archive in self.archives_at_hand(new)? {
                // Whoever took the ledger away may have taken these, too. It stands without them.
                let _ = self.publish_updates(&[archive]);
            }
        }
        Ok(outcome)
    }

    /// What checkpoints that lead to `tip` have replaced, as far as it is here.
    fn archives_at_hand(&self, tip: &Version) -> Result<Vec<RefUpdate>, Fault> {
        let mut archives = Vec::new();
        let mut from = tip.clone();
        loop {
            let first = self.objects.chain(&from.0, None, usize::MAX)?.pop();
            let replaced = first.as_ref().and_then(|first| Message::replaced_in(&first.message));
            let Some(replaced) = replaced.filter(|id| self.objects.has(id)) else { return Ok(archives) };
            from = Version(replaced.to_owned());
            let name = archive_ref(&self.ref_name, &from);
            archives.push(RefUpdate { name, old: None, new: Some(from.0.clone()) });
        }
    }
}
