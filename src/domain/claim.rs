//! Grants: who may work on what, until when, and under which fence.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Branch, Holder, Pattern, Seconds, TaskId, TeamName, Timestamp};

/// Which grant this is: a counter of the board that every grant increments, so that it is unique and only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Until when a grant is promised: renewed at a time, for a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lease {
    /// When it was granted or last renewed.
    pub renewed_at: Timestamp,
    /// For how long.
    pub length: Seconds,
}

impl Lease {
    /// When it runs out.
    pub fn until(&self) -> Timestamp {
        self.renewed_at.plus(self.length)
    }

    /// The same lease of a holder who was alive at `beat`: a heartbeat counts like a renewal.
    fn kept(self, beat: Option<Timestamp>) -> Lease {
        Lease { renewed_at: beat.map_or(self.renewed_at, |beat| beat.max(self.renewed_at)), ..self }
    }
}

/// A task in somebody's hands, with the paths it locks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Claim {
    /// Which grant this is.
    pub fence: Fence,
    /// The task.
    pub task: TaskId,
    /// Who has it.
    pub holder: Holder,
    /// For which team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<TeamName>,
    /// The branch the work is done on.
    pub branch: Branch,
    /// Paths locked for it, exclusively.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Pattern>,
    /// Until when.
    pub lease: Lease,
    /// Whether the work was handed to the train: then nothing is renewed and nothing runs out until the train decides.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub submitted: bool,
}

/// Whether others may hold the same paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockMode {
    /// Nobody else may.
    Exclusive,
    /// Other shared locks may.
    Shared,
}

impl LockMode {
    /// The word users read.
    pub fn as_str(self) -> &'static str {
        match self {
            LockMode::Exclusive => "exclusive",
            LockMode::Shared => "shared",
        }
    }
}

/// Paths that somebody locked without a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PathLock {
    /// Which grant this is.
    pub fence: Fence,
    /// Who has it.
    pub holder: Holder,
    /// What is locked.
    pub patterns: Vec<Pattern>,
    /// Whether others may hold the same paths.
    pub mode: LockMode,
    /// Until when.
    pub lease: Lease,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Anything that holds paths under a fence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grant {
    /// A task.
    Claim(Claim),
    /// Paths only.
    Lock(PathLock),
}

/// The most that the patterns of one grant may have together, in bytes as they are written: every claim reads all
/// grants.
pub const GRANT_PATTERN_BYTES_MAX: usize = 3_000;

impl Grant {
    /// Which grant it is.
    pub fn fence(&self) -> Fence {
        match self {
            Grant::Claim(claim) => claim.fence,
            Grant::Lock(lock) => lock.fence,
        }
    }

    /// Who has it.
    pub fn holder(&self) -> &Holder {
        match self {
            Grant::Claim(claim) => &claim.holder,
            Grant::Lock(lock) => &lock.holder,
        }
    }

    /// The paths it holds.
    pub fn patterns(&self) -> &[Pattern] {
        match self {
            Grant::Claim(claim) => &claim.paths,
            Grant::Lock(lock) => &lock.patterns,
        }
    }

    /// Whether others may hold the same paths.
    pub fn mode(&self) -> LockMode {
        match self {
            Grant::Claim(_) => LockMode::Exclusive,
            Grant::Lock(lock) => lock.mode,
        }
    }

    /// When it runs out by what the board says of it; `None` while the train has it.
    pub fn until(&self) -> Option<Timestamp> {
        self.kept_until(None)
    }

    /// When it runs out if its holder was alive at `beat`; `None` while the train has it.
    pub fn kept_until(&self, beat: Option<Timestamp>) -> Option<Timestamp> {
        match self {
            Grant::Claim(claim) if claim.submitted => None,
            Grant::Claim(Claim { lease, .. }) | Grant::Lock(PathLock { lease, .. }) => Some(lease.kept(beat).until()),
        }
    }

    /// The same grant as if its holder had renewed it at `beat`: what people are shown.
    pub fn kept(&self, beat: Option<Timestamp>) -> Grant {
        let mut kept = self.clone();
        let (Grant::Claim(Claim { lease, .. }) | Grant::Lock(PathLock { lease, .. })) = &mut kept;
        *lease = lease.kept(beat);
        kept
    }

    /// Whether others may take it at `now`, by a clock that may be `skew` ahead of its holder's, who was alive at
    /// `beat`.
    pub fn has_run_out(&self, beat: Option<Timestamp>, now: Timestamp, skew: Seconds) -> bool {
        self.kept_until(beat).is_some_and(|until| now > until.plus(skew))
    }

    /// The task, if it is for one.
    pub fn task(&self) -> Option<&TaskId> {
        match self {
            Grant::Claim(claim) => Some(&claim.task),
            Grant::Lock(_) => None,
        }
    }

    /// The first pair of patterns, ours and theirs, by which this grant stands in the way of `patterns` wanted in
    /// `mode`.
    pub fn conflict(&self, patterns: &[Pattern], mode: LockMode) -> Option<(Pattern, Pattern)> {
        if mode == LockMode::Shared && self.mode() == LockMode::Shared {
            return None;
        }
        let pairs = patterns.iter().flat_map(|wanted| self.patterns().iter().map(move |held| (wanted, held)));
        pairs
            .into_iter()
            .find(|(wanted, held)| wanted.overlaps(held))
            .map(|(wanted, held)| (wanted.clone(), held.clone()))
    }
}

/// When the holders of grants were last alive, by fence.
pub type Beats = BTreeMap<Fence, Timestamp>;

/// A grant that had run out when somebody looked at the board and for heartbeats of its holder. Written as the fence
/// and, after a space, the last heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Overdue {
    /// Which grant.
    pub fence: Fence,
    /// Its holder's last heartbeat, if there was any.
    pub beat: Option<Timestamp>,
}

impl From<Overdue> for String {
    fn from(overdue: Overdue) -> String {
        let beat = overdue.beat.map(|beat| format!(" {beat}")).unwrap_or_default();
        format!("{}{beat}", overdue.fence)
    }
}

impl TryFrom<String> for Overdue {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let (fence, beat) = text.split_once(' ').map_or((text.as_str(), None), |(fence, beat)| (fence, Some(beat)));
        let fence = fence.parse().map_err(|_| format!("{text:?} does not begin with a fence"))?;
        Ok(Overdue { fence: Fence(fence), beat: beat.map(|beat| beat.to_owned().try_into()).transpose()? })
    }
}
