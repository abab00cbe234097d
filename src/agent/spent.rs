//! What this clone has spent: how many pushes its operations took, and how many heartbeats it sent.
//!
//! Three numbers in a file that all processes of the clone share. Guarantees: a file that cannot be used, or holds
//! anything else, counts from nothing; nobody is kept waiting by more than another process that counts.

#![expect(clippy::disallowed_methods, reason = "an adapter: it owns its file in the clone's state directory")]

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::failpoint;

/// No file of ours is longer.
const BYTES_MAX: u64 = 100;

/// What was spent since the clone was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Operations that came to an answer.
    pub operations: u64,
    /// The pushes they took, with those that lost a race.
    pub pushes: u64,
    /// Heartbeats, which take a push each.
    pub heartbeats: u64,
}

impl Spent {
    fn parse(text: &str) -> Option<Spent> {
        let mut numbers = text.split_whitespace().map(|word| word.parse().ok());
        let spent = Spent { operations: numbers.next()??, pushes: numbers.next()??, heartbeats: numbers.next()?? };
        numbers.next().is_none().then_some(spent)
    }

    fn plus(self, more: Spent) -> Spent {
        Spent {
            operations: self.operations.saturating_add(more.operations),
            pushes: self.pushes.saturating_add(more.pushes),
            heartbeats: self.heartbeats.saturating_add(more.heartbeats),
        }
    }
}

/// The file.
pub(super) struct SpentFile(PathBuf);

impl SpentFile {
    /// That of the clone whose state directory this is.
    pub(super) fn new(state_dir: &Path) -> SpentFile {
        SpentFile(state_dir.join("spent"))
    }

    /// What was spent.
    pub(super) fn read(&self) -> Spent {
        let open = fs::File::open(&self.0).ok();
        open.and_then(|file| read(file).ok()).unwrap_or_default()
    }

    /// Counts some more. Where it cannot be counted it is not: the work matters more.
    pub(super) fn add(&self, more: Spent) {
        failpoint::reach("counting what was spent");
        let _ = self.try_add(more);
    }

    fn try_add(&self, more: Spent) -> std::io::Result<()> {
        fs::create_dir_all(self.0.parent().unwrap_or(Path::new(".")))?;
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&self.0)?;
        let mut lock = fd_lock::RwLock::new(file);
        let mut file = lock.write()?;
        let Spent { operations, pushes, heartbeats } = read(&*file)?.plus(more);
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(format!("{operations} {pushes} {heartbeats}\n").as_bytes())
    }
}

fn read(file: impl Read) -> std::io::Result<Spent> {
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Spent::parse(&String::from_utf8_lossy(&bytes)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_count_counts_from_nothing() {
        let spent = Spent { operations: 2, pushes: 3, heartbeats: 1 };
        assert_eq!(Spent::parse("2 3 1\n"), Some(spent));
        for garbage in ["", "2 3", "2 3 1 4", "2 3 -1", "two 3 1", "99999999999999999999 1 1"] {
            assert_eq!(Spent::parse(garbage), None, "{garbage}");
        }
        let most = Spent { operations: u64::MAX, ..spent };
        assert_eq!(most.plus(spent), Spent { operations: u64::MAX, pushes: 6, heartbeats: 2 });
    }
}
