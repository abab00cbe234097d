//! The keys of the board and of memory, and how ids become part of them.
//!
//! Directories are fanned out so that none has more than 3,000 entries: by a hash of the id where records are looked up
//! by id, and by number where they are read in order, sixteen to a record.

use crate::domain::board::OpenTasks;
use crate::domain::{Branch, CarId, Fence, ObjectId, OperationId, Priority, TaskId, TeamName};
use crate::ledger::Key;

/// How many tasks of the index, or grants, share one record.
pub const CHUNK: u64 = 16;

/// Where the grants are.
pub const GRANTS: &str = "grants";
/// Where the teams are.
pub const TEAMS: &str = "teams";
/// Where the trains are.
pub const TRAINS: &str = "trains";
/// Where open tasks are.
pub const TASKS: &str = "tasks";
/// Where closed tasks are.
pub const CLOSED: &str = "closed";
/// Where verdicts are.
pub const VERDICTS: &str = "verdicts";
/// Where the operations of the last commit are.
pub const OPERATIONS: &str = "operations";
/// Where the entries of memory are.
pub const ENTRIES: &str = "entries";

/// The counters of the board.
pub fn meta() -> Key {
    Key::new("meta")
}

/// A task: open, or closed and moved aside.
pub fn task(id: &TaskId, closed: bool) -> Key {
    let directory = if closed { CLOSED } else { TASKS };
    Key::new(format!("{directory}/{}/{id}", fan(id.as_str())))
}

/// The directory of one part of the index.
pub fn index(which: OpenTasks, priority: Priority) -> String {
    let directory = match which {
        OpenTasks::Queued => "queued",
        OpenTasks::Waiting => "waiting",
    };
    format!("{directory}/{priority}")
}

/// The record of the index that a task of this age is in.
pub fn index_chunk(which: OpenTasks, priority: Priority, seq: u64) -> Key {
    Key::new(format!("{}/{:06x}", index(which, priority), seq / CHUNK))
}

/// The record that a grant is in.
pub fn grant_chunk(fence: Fence) -> Key {
    Key::new(format!("{GRANTS}/{:08x}", fence.0 / CHUNK))
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

/// A car: open, or gone and moved aside.
pub fn car(target: &Branch, id: &CarId, open: bool) -> Key {
    let name = escape(id.as_str());
    if open {
        Key::new(format!("{}/{name}", open_cars(target)))
    } else {
        Key::new(format!("{TRAINS}/{}/gone/{}/{name}", escape(target.as_str()), fan(id.as_str())))
    }
}

/// What is known of a tree.
pub fn verdict(tree: &ObjectId) -> Key {
    Key::new(format!("{VERDICTS}/{}/{tree}", &tree.as_str()[..2]))
}

/// The `nth` operation of the last commit.
pub fn operation(nth: usize) -> Key {
    Key::new(format!("{OPERATIONS}/{nth:04}"))
}

/// An entry of memory.
pub fn entry(id: &OperationId) -> Key {
    Key::new(format!("{ENTRIES}/{}/{id}", &id.as_str()[..2]))
}

/// Two hexadecimal digits that spread ids over 256 directories: the low byte of the 64-bit FNV-1a hash, folded.
/// (Fowler, Noll, Vo: <https://datatracker.ietf.org/doc/html/draft-eastlake-fnv>.)
fn fan(id: &str) -> String {
    let hash = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let folded = hash.to_be_bytes().into_iter().fold(0, |all, byte| all ^ byte);
    format!("{folded:02x}")
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
    fn keys_are_as_documented() {
        let id = TaskId::parse("101").expect("an id");
        assert_eq!(task(&id, false).as_str(), "tasks/33/101");
        assert_eq!(index_chunk(OpenTasks::Queued, Priority::P1, 17).as_str(), "queued/p1/000001");
        assert_eq!(grant_chunk(Fence(255)).as_str(), "grants/0000000f");
    }

    #[test]
    fn ids_spread_over_all_directories() {
        let used: std::collections::BTreeSet<String> = (0..10_000).map(|n| fan(&n.to_string())).collect();
        assert_eq!(used.len(), 256);
    }
}
