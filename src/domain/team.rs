//! A team: a name under which work is claimed, with what it can do and how much at once.

use serde::{Deserialize, Serialize};

use super::{Label, Size, Summary, TeamName};

/// One team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Team {
    /// Its name.
    pub name: TeamName,
    /// Its specialities: it takes tasks that have one of these labels. Empty: it takes anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// How many tasks it works on at once; `None`: as many as it likes. Tasks in the train do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<u32>,
    /// The largest task it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_max: Option<Size>,
}

impl Team {
    /// A team that nobody described: it takes anything.
    pub fn generalist(name: TeamName) -> Team {
        Team { name, labels: Vec::new(), capacity: None, size_max: None }
    }

    /// Whether the task is one for this team, its load aside.
    pub fn can_do(&self, task: &Summary) -> bool {
        let speciality =
            self.labels.is_empty() || task.labels.iter().chain(&task.kind).any(|l| self.labels.contains(l));
        let size = self.size_max.is_none_or(|largest| task.size.is_none_or(|size| size <= largest));
        speciality && size
    }
}
