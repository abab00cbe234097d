//! Describing and forgetting teams.

use super::Ruling;
use crate::domain::board::{Board, Draft};
use crate::domain::{Outcome, Refusal, Stop, Team, TeamName};

/// The most specialities a team may have: its record stays small.
const LABELS_MAX: usize = 64;

pub(super) fn add<B: Board>(draft: &mut Draft<'_, B>, team: &Team) -> Ruling<B::Fault> {
    if team.labels.len() > LABELS_MAX {
        let size = team.labels.len();
        return Err(Stop::Refused(Refusal::TooLarge { what: "specialities of a team", size, size_max: LABELS_MAX }));
    }
    let mut team = team.clone();
    team.labels.sort();
    team.labels.dedup();
    let name = team.name.clone();
    draft.put_team(team);
    Ok(Outcome::Team { name })
}

pub(super) fn remove<B: Board>(draft: &mut Draft<'_, B>, name: &TeamName) -> Ruling<B::Fault> {
    if draft.team(name)?.is_none() {
        return Err(Stop::Refused(Refusal::NoSuchTeam(name.clone())));
    }
    draft.remove_team(name);
    Ok(Outcome::Team { name: name.clone() })
}
