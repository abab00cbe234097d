//! `git scrum team`

use clap::Subcommand;
use serde_json::json;

use super::errors::CliError;
use super::output::Reply;
use super::{Context, tasks, view};
use crate::domain::board::Board;
use crate::domain::{Command, Refusal, Size, Team, TeamName};

/// Describe the teams that claim work
#[derive(Subcommand)]
pub enum Verb {
    /// Describe a team, or describe it anew
    Add {
        /// Its name: lower-case letters, digits and '-'
        name: String,
        /// A speciality: it takes tasks with one of these labels, or anything if it has none
        #[arg(long = "label", value_name = "L")]
        labels: Vec<String>,
        /// How many tasks it works on at once
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        capacity: Option<u32>,
        /// The largest task it takes
        #[arg(long, value_name = "small|medium|large")]
        size_max: Option<String>,
    },
    /// List the teams
    List,
    /// Show one team
    Show {
        /// Its name
        name: String,
    },
    /// Forget a team; its claims stand
    Remove {
        /// Its name
        name: String,
    },
}

impl Verb {
    /// Whether it changes the board.
    pub(super) fn writes(&self) -> bool {
        matches!(self, Verb::Add { .. } | Verb::Remove { .. })
    }
}

pub(super) fn run(verb: &Verb, context: &Context) -> Result<Reply, CliError> {
    match verb {
        Verb::Add { name, labels, capacity, size_max } => {
            let sizes = [Size::Small, Size::Medium, Size::Large];
            let size_max = match size_max {
                None => None,
                Some(text) => Some(sizes.into_iter().find(|size| size.as_str() == text).ok_or_else(|| {
                    CliError::bad_argument(format!("{text:?} is no size"), "use small, medium or large")
                })?),
            };
            let team =
                Team { name: tasks::parse(name)?, labels: tasks::parse_all(labels)?, capacity: *capacity, size_max };
            context.board()?.ask(Command::AddTeam(team.clone()))?;
            Ok(Reply::new(json!({ "team": view::team(&team) }), line(&team)))
        }
        Verb::List => {
            let (teams, current) = context.read(|board| Ok(board.teams()?))?;
            let text: String = teams.iter().map(line).collect();
            let text = if text.is_empty() { "No teams: everybody takes anything.\n".to_owned() } else { text };
            let teams: Vec<_> = teams.iter().map(view::team).collect();
            Ok(Reply::new(json!({ "teams": teams, "current": current }), text))
        }
        Verb::Show { name } => {
            let name: TeamName = tasks::parse(name)?;
            let (team, _) =
                context.read(|board| board.team(&name)?.ok_or_else(|| Refusal::NoSuchTeam(name.clone()).into()))?;
            Ok(Reply::new(json!({ "team": view::team(&team) }), line(&team)))
        }
        Verb::Remove { name } => {
            let name: TeamName = tasks::parse(name)?;
            context.board()?.ask(Command::RemoveTeam { name: name.clone() })?;
            Ok(Reply::new(json!({ "removed": name.as_str() }), format!("Removed {name}\n")))
        }
    }
}

fn line(team: &Team) -> String {
    let labels: Vec<&str> = team.labels.iter().map(|label| label.as_str()).collect();
    let takes = if labels.is_empty() { "anything".to_owned() } else { labels.join(", ") };
    let capacity = team.capacity.map(|count| format!(", {count} at once")).unwrap_or_default();
    let size = team.size_max.map(|size| format!(", up to {size}")).unwrap_or_default();
    view::clean(&format!("{}: {takes}{size}{capacity}", team.name)) + "\n"
}
