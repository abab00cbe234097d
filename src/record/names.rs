//! The names of refs.

use crate::domain::{Branch, Fence, TaskId};

/// Where refs of the tool are kept on a remote, unless configured otherwise.
pub const DEFAULT_PREFIX: &str = "refs/scrum/";
/// For remotes that take branches and tags only.
pub const FALLBACK_PREFIX: &str = "refs/heads/scrum-state/";

/// The full names of the tool's refs under one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefNames {
    prefix: String,
}

impl RefNames {
    /// Names under `prefix`, which ends with a slash.
    pub fn new(prefix: &str) -> RefNames {
        RefNames { prefix: prefix.to_owned() }
    }

    /// The board.
    pub fn board(&self) -> String {
        format!("{}board", self.prefix)
    }

    /// Project memory.
    pub fn memory(&self) -> String {
        format!("{}memory", self.prefix)
    }

    /// What begins the name of every host's ref; ends with a slash.
    pub fn hosts(&self) -> String {
        format!("{}hosts/", self.prefix)
    }

    /// A version of the board of some time ago, for git to see what a push need not send.
    pub fn landmark(&self) -> String {
        format!("{}landmark", self.prefix)
    }

    /// What begins the name of every host's heartbeat; ends with a slash.
    pub fn beats(&self) -> String {
        format!("{}beats/", self.prefix)
    }

    /// What begins the name of every ref that keeps what a checkpoint replaced; ends with a slash.
    pub fn archives(&self) -> String {
        format!("{}archive/", self.prefix)
    }

    /// Where versions of the ledger at `ref_name` are kept that were displaced when it was restored.
    pub fn lost(&self, ref_name: &str, tip: &str) -> String {
        let ledger = ref_name.rsplit('/').next().unwrap_or(ref_name);
        format!("{}lost/{ledger}-{}", self.prefix, tip.get(..10).unwrap_or(tip))
    }

    /// The snapshot of a claim's unfinished work.
    pub fn wip(&self, task: &TaskId, fence: Fence) -> String {
        format!("{}{task}-{fence}", self.wip_prefix())
    }

    /// What begins the name of every snapshot of unfinished work; ends with a slash.
    pub fn wip_prefix(&self) -> String {
        format!("{}wip/", self.prefix)
    }
}

/// The full name of a branch.
pub fn branch_ref(branch: &Branch) -> String {
    format!("refs/heads/{branch}")
}

/// The branch on which a candidate is offered to a CI system outside.
pub fn candidate_ref(target: &Branch, position: u64) -> String {
    format!("{CANDIDATES}{target}/{position}")
}

/// What begins the name of every branch on which a candidate is offered; ends with a slash.
pub const CANDIDATES: &str = "refs/heads/scrum/train/";

/// The notes in which verdicts are attached to tested commits.
pub const VERDICT_NOTES: &str = "refs/notes/scrum/verdicts";
