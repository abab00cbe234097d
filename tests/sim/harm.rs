//! Harm done to the board from outside: somebody pushes an old copy of everything over it, or removes it; and somebody
//! restores it from a clone.
//!
//! Whoever has seen more than there is must report that, and must not write. Whoever has not cannot know: so the board
//! is only set back behind what every clone has seen, and what every process that runs may have in hand.

use git_scrum::ledger::Version;

use crate::process::Machine;
use crate::trouble::Trouble;
use crate::world::{BOARD, Broken, HOSTS, World};

impl World {
    /// Sets the board back or removes it, or restores it when it is time, should chance want it so.
    pub fn harm_board<'m>(&self, machines: impl Iterator<Item = &'m Machine>) {
        let restored_ms = self.broken.borrow().as_ref().map(|broken| broken.until_ms);
        if let Some(until_ms) = restored_ms {
            if until_ms <= self.now_ms() {
                self.restore();
            }
            return;
        }
        let (rewind, vanish) = (self.chances(Trouble::Rewind), self.chances(Trouble::Vanished));
        if !rewind && !vanish {
            return;
        }
        let Some((tip, past)) = self.unknown_past(machines) else { return };
        let back = self.below(3) as usize;
        let (trouble, old) = match past.get(back.min(past.len().saturating_sub(1))) {
            Some(old) if rewind => (Trouble::Rewind, Some(old.0.clone())),
            _ => (Trouble::Vanished, None),
        };
        self.struck(trouble);
        self.trace(|| format!("somebody sets the board back to {old:?}"));
        let mut remote = self.remote.borrow_mut();
        // What is still on its way to the board is lost with it.
        remote.in_flight.retain(|push| push.updates.iter().all(|update| update.name != BOARD));
        match old {
            Some(old) => drop(remote.refs.insert(BOARD.to_owned(), old)),
            None => remote.refs.retain(|name, _| name != BOARD && !name.starts_with(HOSTS)),
        }
        let (since_ms, until_ms) = (self.now_ms(), self.now_ms() + self.between(5_000, 120_000));
        *self.broken.borrow_mut() = Some(Broken { tip: tip.0, since_ms, until_ms });
    }

    /// The board is what it was before.
    pub fn restore(&self) {
        let Some(broken) = self.broken.take() else { return };
        self.trace(|| "the board is restored".to_owned());
        self.remote.borrow_mut().refs.insert(BOARD.to_owned(), broken.tip);
        self.restored_ms.set(self.now_ms());
    }

    /// Whether the board is not what it was, or was not at some time since.
    pub fn broken_since(&self, ms: u64) -> bool {
        self.broken.borrow().is_some() || (self.restored_ms.get() >= ms && self.restored_ms.get() > 0)
    }

    fn chances(&self, trouble: Trouble) -> bool {
        !self.calm.get() && self.random.borrow_mut().chance(self.plan.chance(trouble))
    }

    /// The present version, if some clone could restore it, and those that are behind whatever anybody has seen, the
    /// newest first. Nothing where somebody has seen nothing yet.
    fn unknown_past<'m>(&self, machines: impl Iterator<Item = &'m Machine>) -> Option<(Version, Vec<Version>)> {
        let seen: Option<Vec<Version>> = machines.map(|machine| machine.board.seen.borrow().clone()).collect();
        let mut known = seen?;
        let tip = Version(self.read_ref(BOARD)?);
        if !known.contains(&tip) {
            return None;
        }
        let alive: Option<Vec<Version>> = self.alive.borrow().values().cloned().collect();
        known.extend(alive?);
        let mut past = Vec::new();
        let mut at = Some(tip.clone());
        while let Some(version) = at {
            if known.is_empty() {
                past.push(version.clone());
            }
            known.retain(|seen| *seen != version);
            at = self.before(&version);
        }
        Some((tip, past))
    }
}
