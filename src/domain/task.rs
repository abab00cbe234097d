//! A task: a piece of work that one holder at a time does.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Fence, Holder, Label, ObjectId, Pattern, TaskId, Timestamp};

/// The longest title, in bytes.
pub const TITLE_BYTES_MAX: usize = 256;
/// The longest body, in bytes: with everything else it fits into a record.
pub const BODY_BYTES_MAX: usize = 40 * 1024;
/// The most that title, labels, needs and paths of one task may have together, in bytes as they are written: claiming
/// reads many of these.
pub const SUMMARY_BYTES_MAX: usize = 3_000;
/// The most tasks that may wait for one task: their ids are kept with it.
pub const NEEDED_BY_MAX: usize = 250;
/// The longest reason that is kept for why a task is in its state, in bytes.
pub const REASON_BYTES_MAX: usize = 2_000;

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskState {
    /// May be claimed.
    Queued,
    /// Waits for other tasks, or for a person who blocked it.
    Blocked,
    /// Somebody works on it.
    Claimed,
    /// Its commit waits in the train.
    Submitted,
    /// Its commit is on the target branch.
    Landed,
    /// Finished without a commit of its own.
    Done,
    /// Given up after too many attempts; a person must look.
    Failed,
    /// Will not be done.
    Cancelled,
}

impl TaskState {
    /// All states, in the order of a task's life.
    pub const ALL: [TaskState; 8] = [
        TaskState::Queued,
        TaskState::Blocked,
        TaskState::Claimed,
        TaskState::Submitted,
        TaskState::Landed,
        TaskState::Done,
        TaskState::Failed,
        TaskState::Cancelled,
    ];

    /// Whether nothing more will happen to the task by itself.
    pub fn is_closed(self) -> bool {
        matches!(self, TaskState::Landed | TaskState::Done | TaskState::Failed | TaskState::Cancelled)
    }

    /// Whether tasks that need this one may start.
    pub fn satisfies(self) -> bool {
        matches!(self, TaskState::Landed | TaskState::Done)
    }

    /// Whether a task may go from this state to `next`.
    pub fn may_become(self, next: TaskState) -> bool {
        use TaskState::{Blocked, Cancelled, Claimed, Done, Failed, Landed, Queued, Submitted};
        match self {
            Queued => matches!(next, Blocked | Claimed | Done | Cancelled),
            Blocked => matches!(next, Queued | Done | Cancelled),
            Claimed => matches!(next, Queued | Blocked | Submitted | Done | Failed | Cancelled),
            Submitted => matches!(next, Queued | Blocked | Claimed | Landed | Failed | Cancelled),
            Failed | Cancelled => matches!(next, Queued | Blocked),
            Landed | Done => false,
        }
    }

    /// The word users read.
    pub fn as_str(self) -> &'static str {
        match self {
            TaskState::Queued => "queued",
            TaskState::Blocked => "blocked",
            TaskState::Claimed => "claimed",
            TaskState::Submitted => "submitted",
            TaskState::Landed => "landed",
            TaskState::Done => "done",
            TaskState::Failed => "failed",
            TaskState::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How urgent a task is: `p0` first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// Critical.
    P0,
    /// High.
    P1,
    /// Medium.
    #[default]
    P2,
    /// Low.
    P3,
}

impl Priority {
    /// All priorities, the most urgent first.
    pub const ALL: [Priority; 4] = [Priority::P0, Priority::P1, Priority::P2, Priority::P3];

    /// The word users read and write.
    pub fn as_str(self) -> &'static str {
        match self {
            Priority::P0 => "p0",
            Priority::P1 => "p1",
            Priority::P2 => "p2",
            Priority::P3 => "p3",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How much work a task is thought to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// An hour or two.
    Small,
    /// Half a day.
    Medium,
    /// A day or more.
    Large,
}

impl Size {
    /// The word users read and write.
    pub fn as_str(self) -> &'static str {
        match self {
            Size::Small => "small",
            Size::Medium => "medium",
            Size::Large => "large",
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Everything about one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Task {
    /// What `claim` ranks by and `list` shows.
    #[serde(flatten)]
    pub summary: Summary,
    /// Tasks that need this one: finishing it looks at these only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed_by: Vec<TaskId>,
    /// When it was added.
    pub created_at: Timestamp,
    /// Who added it.
    pub created_by: Holder,
    /// How often it was claimed: every claim works on a branch of its own.
    #[serde(default)]
    pub grants: u32,
    /// How often work on it failed.
    #[serde(default)]
    pub failures: u32,
    /// Whether a person blocked it: finishing what it needs does not unblock it then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held_back: bool,
    /// Why it is in its state, where there is more to say than the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it was closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// The commit on the target branch that landed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landed_as: Option<ObjectId>,
    /// What is to be done.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

/// The part of a task that ranking and listing need.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Summary {
    /// Its id.
    pub id: TaskId,
    /// The place in the order in which tasks were added: its age.
    pub seq: u64,
    /// One line that says what it is.
    pub title: String,
    /// Where it is in its life.
    pub state: TaskState,
    /// How urgent it is.
    pub priority: Priority,
    /// What kind of work it is: `bug`, `feature`, …
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Label>,
    /// How much work it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Its labels, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// Tasks that must have landed or be done first, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<TaskId>,
    /// Paths it is expected to change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<Pattern>,
    /// The grant under which somebody works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Fence>,
}

impl Summary {
    /// Where the task stands in the order of claiming.
    pub fn rank(&self) -> (Priority, u64) {
        (self.priority, self.seq)
    }

    /// How many bytes the free text has when it is written, at most.
    pub fn text_bytes(&self) -> usize {
        let written = |text: &str| text.len() + text.matches(['"', '\\']).count() + 4;
        let labels = self.labels.iter().chain(&self.kind).map(|label| written(label.as_str()));
        let needs = self.needs.iter().map(|id| written(id.as_str()));
        let paths = self.paths.iter().map(|path| written(path.as_str()));
        written(&self.title) + labels.chain(needs).chain(paths).sum::<usize>()
    }
}
