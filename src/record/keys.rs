//! The keys of the board and of memory, and how ids become part of them.
//!
//! What there is much of is kept on shelves ([`super::shelf`]), several records to a value; where records are
//! looked up by id, sixteen shelves share them, so that no directory has more than 3,000 entries.

use super::shelf::{Shelf, Shelved, spread};
use crate::domain::{Branch, CarId, Priority, TeamName};
use crate::ledger::{Fault, Key, Snapshot, Store};

/// When a leaf with records that change often is split.
const LEAF_BYTES: usize = 8 * 1024;
/// When a leaf with records that seldom change is split.
const LARGE_LEAF_BYTES: usize = 60 * 1024;

/// Where the teams are.
pub const TEAMS: &str = "teams";
/// Where the trains are.
pub const TRAINS: &str = "trains";

/// The counters of the board.
pub fn meta() -> Key {
    Key::new("meta")
}

/// Heads of tasks that may be claimed, by age.
pub(super) fn queued(priority: Priority) -> Shelf {
    Shelf::new(format!("queued-{priority}"), "heads", LEAF_BYTES)
}

/// Heads of tasks that wait for something, by age.
pub(super) fn blocked(priority: Priority) -> Shelf {
    Shelf::new(format!("blocked-{priority}"), "heads", LEAF_BYTES)
}

/// Grants by fence, with the heads of tasks that are in somebody's hands.
pub(super) fn grants() -> Shelf {
    Shelf::new("grants", "grants", LEAF_BYTES)
}

/// Sixteen shelves for records that are looked up by id.
pub(super) struct Spread {
    root: String,
    kind: &'static str,
}

impl Spread {
    /// The shelf on which the record with this id is.
    pub fn shelf(&self, id: &str) -> Shelf {
        self.nth(&spread(id)[..1])
    }

    /// Visits every record of all shelves, in no order that means anything.
    pub fn each<T: Shelved, S: Store>(
        &self,
        snapshot: &Snapshot<'_, S>,
        mut visit: impl FnMut(T) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        (0..16).try_for_each(|nth| self.nth(&format!("{nth:x}")).each(snapshot, &mut visit))
    }

    fn nth(&self, digit: &str) -> Shelf {
        Shelf::new(format!("{}/{digit}", self.root), self.kind, LARGE_LEAF_BYTES)
    }
}

/// Details of open tasks, by id.
pub(super) fn tasks() -> Spread {
    Spread { root: "tasks".to_owned(), kind: "tasks" }
}

/// Closed tasks, by id.
pub(super) fn closed() -> Spread {
    Spread { root: "closed".to_owned(), kind: "closed" }
}

/// A team.
pub fn team(name: &TeamName) -> Key {
    Key::new(format!("{TEAMS}/{name}"))
}

/// A train.
pub fn train(target: &Branch) -> Key {
    Key::new(format!("{TRAINS}/{}/train", escape(target.as_str())))
}

/// The directory of the open cars of a train.
pub fn open_cars(target: &Branch) -> String {
    format!("{TRAINS}/{}/cars", escape(target.as_str()))
}

/// An open car.
pub fn open_car(target: &Branch, id: &CarId) -> Key {
    Key::new(format!("{}/{}", open_cars(target), escape(id.as_str())))
}

/// Cars that are not open any more, by id.
pub(super) fn gone_cars(target: &Branch) -> Spread {
    Spread { root: format!("{TRAINS}/{}/gone", escape(target.as_str())), kind: "cars" }
}

/// What is known of trees, by tree.
pub(super) fn verdicts() -> Spread {
    Spread { root: "verdicts".to_owned(), kind: "verdicts" }
}

/// The `nth` record with operations of the last commit.
pub fn operations(nth: usize) -> Key {
    Key::new(format!("operations-{nth:04}"))
}

/// Entries of memory, by id.
pub(super) fn entries() -> Spread {
    Spread { root: "entries".to_owned(), kind: "entries" }
}

/// Any text as one component of a key: what a component may not have is written `=xx`, in hexadecimal.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => escaped.push(char::from(byte)),
            b'.' if index > 0 => escaped.push('.'),
            _ => escaped.push_str(&format!("={byte:02x}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_components_and_stay_different() {
        assert_eq!(escape("release/1.0"), "release=2f1.0");
        assert_eq!(escape(".Hidden"), "=2e=48idden");
        assert_ne!(escape("a=2fb"), escape("a/b"));
    }

    #[test]
    fn ids_spread_over_all_shelves() {
        let used: std::collections::BTreeSet<String> =
            (0..1_000).map(|n| spread(&n.to_string())[..1].to_owned()).collect();
        assert_eq!(used.len(), 16);
    }
}
