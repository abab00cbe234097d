//! Project memory: what was decided and learned, one entry at a time, never overwritten.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Holder, ObjectId, OperationId, Pattern, Timestamp};

/// The largest entry, in bytes of title and body together.
pub const ENTRY_BYTES_MAX: usize = 16 * 1024;

/// What kind of knowledge an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MemoryKind {
    /// A choice, with its reasons.
    Decision,
    /// How the parts fit together.
    Architecture,
    /// A way of doing something that works here.
    Pattern,
    /// What a retrospective taught.
    Learning,
    /// What went wrong.
    Failure,
    /// What went well.
    Success,
    /// How things are named, written and arranged.
    Convention,
    /// What the project depends on, and why.
    Dependency,
}

impl MemoryKind {
    /// All kinds.
    pub const ALL: [MemoryKind; 8] = [
        MemoryKind::Decision,
        MemoryKind::Architecture,
        MemoryKind::Pattern,
        MemoryKind::Learning,
        MemoryKind::Failure,
        MemoryKind::Success,
        MemoryKind::Convention,
        MemoryKind::Dependency,
    ];

    /// The word users read and write.
    pub fn as_str(self) -> &'static str {
        match self {
            MemoryKind::Decision => "decision",
            MemoryKind::Architecture => "architecture",
            MemoryKind::Pattern => "pattern",
            MemoryKind::Learning => "learning",
            MemoryKind::Failure => "failure",
            MemoryKind::Success => "success",
            MemoryKind::Convention => "convention",
            MemoryKind::Dependency => "dependency",
        }
    }
}

impl fmt::Display for MemoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// Its id: that of the operation that added it, so that adding it twice adds it once. Users may give the first
    /// digits.
    pub id: OperationId,
    /// What kind of knowledge it is.
    pub kind: MemoryKind,
    /// One line.
    pub title: String,
    /// Paths it is about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Pattern>,
    /// Who wrote it.
    pub author: Holder,
    /// When.
    pub at: Timestamp,
    /// The commit of the code it was written at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<ObjectId>,
    /// The entry it replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<OperationId>,
    /// The entry that replaced it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<OperationId>,
    /// The text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

impl Entry {
    /// Whether every word of `words`, in any case, stands somewhere in it.
    pub fn contains(&self, words: &[String]) -> bool {
        let text = format!("{} {} {}", self.kind, self.title, self.body).to_lowercase();
        words.iter().all(|word| text.contains(&word.to_lowercase()))
    }
}
