//! How a task is kept: an open one in two parts, a closed one whole.
//!
//! The *head* is what changes while somebody works on a task, and what ranking and listing need. It is kept where
//! it will be looked for: heads of queued and blocked tasks by priority and age, that of a task in somebody's hands
//! with the grant. The *detail* is what seldom changes and nobody ranks by; it is found by the task's id and says
//! where to look for the head. So a claim moves one small head, and touches nothing else of the task.

use serde::{Deserialize, Serialize};

use super::keys;
use super::shelf::{Shelf, Shelved, numbered, spread};
use crate::domain::{Fence, Grant, Holder, Priority, Summary, Task, TaskId, TaskState, Timestamp};

/// The part of an open task that changes while it is worked on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Head {
    #[serde(flatten)]
    pub summary: Summary,
    #[serde(default)]
    pub grants: u32,
    #[serde(default)]
    pub failures: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held_back: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The rest of an open task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Detail {
    pub id: TaskId,
    /// With the priority, where the head is.
    pub seq: u64,
    pub priority: Priority,
    pub created_at: Timestamp,
    pub created_by: Holder,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed_by: Vec<TaskId>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
}

/// A grant, and the task in hand if it is a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Held {
    pub grant: Grant,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Head>,
}

/// A task that is not open any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Closed(pub Task);

/// Where the head of a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum HeadPlace {
    Queued(Priority),
    Blocked(Priority),
    Held(Fence),
    /// Closed: it has no head of its own.
    Nowhere,
}

impl HeadPlace {
    /// Where the head of a task as it is now belongs.
    pub fn of(task: &Summary) -> HeadPlace {
        match (task.state, task.claim) {
            (state, _) if state.is_closed() => HeadPlace::Nowhere,
            (_, Some(fence)) => HeadPlace::Held(fence),
            (TaskState::Queued, None) => HeadPlace::Queued(task.priority),
            (_, None) => HeadPlace::Blocked(task.priority),
        }
    }

    /// The shelf of heads that nobody holds.
    pub fn shelf(self) -> Option<Shelf> {
        match self {
            HeadPlace::Queued(priority) => Some(keys::queued(priority)),
            HeadPlace::Blocked(priority) => Some(keys::blocked(priority)),
            HeadPlace::Held(_) | HeadPlace::Nowhere => None,
        }
    }

    /// Whether a task whose head is here is in a state that it may have here.
    pub fn suits(self, task: &Summary) -> bool {
        let state = task.state;
        let in_hand = matches!(state, TaskState::Claimed | TaskState::Submitted);
        HeadPlace::of(task) == self
            && match self {
                HeadPlace::Queued(_) => state == TaskState::Queued,
                HeadPlace::Blocked(_) => state == TaskState::Blocked,
                HeadPlace::Held(_) => in_hand,
                HeadPlace::Nowhere => false,
            }
    }
}

impl Head {
    pub fn of(task: &Task) -> Head {
        Head {
            summary: task.summary.clone(),
            grants: task.grants,
            failures: task.failures,
            held_back: task.held_back,
            reason: task.reason.clone(),
        }
    }
}

impl Detail {
    pub fn of(task: &Task) -> Detail {
        Detail {
            id: task.summary.id.clone(),
            seq: task.summary.seq,
            priority: task.summary.priority,
            created_at: task.created_at,
            created_by: task.created_by.clone(),
            needed_by: task.needed_by.clone(),
            body: task.body.clone(),
        }
    }

    /// The open task of this detail and its head.
    pub fn with(self, head: Head) -> Task {
        Task {
            summary: head.summary,
            needed_by: self.needed_by,
            created_at: self.created_at,
            created_by: self.created_by,
            grants: head.grants,
            failures: head.failures,
            held_back: head.held_back,
            reason: head.reason,
            closed_at: None,
            landed_as: None,
            body: self.body,
        }
    }
}

impl Held {
    /// Whether a claim has the task it is for, in the state that it says, and a lock has none.
    pub fn agrees(&self) -> bool {
        match (&self.grant, &self.task) {
            (Grant::Claim(claim), Some(head)) => {
                head.summary.id == claim.task
                    && HeadPlace::Held(claim.fence).suits(&head.summary)
                    && claim.submitted == (head.summary.state == TaskState::Submitted)
            }
            (Grant::Lock(_), None) => true,
            _ => false,
        }
    }
}

impl Shelved for Head {
    fn shelf_key(&self) -> String {
        numbered(self.summary.seq)
    }
}

/// For whoever only ranks and lists.
impl Shelved for Summary {
    fn shelf_key(&self) -> String {
        numbered(self.seq)
    }
}

impl Shelved for Detail {
    fn shelf_key(&self) -> String {
        spread(self.id.as_str())
    }
}

impl Shelved for Held {
    fn shelf_key(&self) -> String {
        numbered(self.grant.fence().0)
    }
}

impl Shelved for Closed {
    fn shelf_key(&self) -> String {
        spread(self.0.summary.id.as_str())
    }
}
