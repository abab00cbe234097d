//! Lanes: parts of a repository that cannot affect each other. Cars in different lanes are tested and land
//! independently.
//!
//! Guarantees: pure; when in doubt, the same lane: a path of no lane, or a car of which nothing is known, affects all.

use std::collections::{BTreeMap, BTreeSet};

use super::{Car, CarId, Pattern};

/// What a change affects: some lanes; `None`: everything.
pub type Affected = Option<BTreeSet<String>>;

/// The lanes of a repository, by name, each with the paths that are its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lanes(pub BTreeMap<String, Vec<Pattern>>);

impl Lanes {
    /// Whether there are any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a change of these paths affects. A path may be in several lanes.
    pub fn affected<'p>(&self, paths: impl IntoIterator<Item = &'p str>) -> Affected {
        let mut affected = BTreeSet::new();
        for path in paths {
            let of = self.0.iter().filter(|(_, patterns)| patterns.iter().any(|pattern| pattern.matches(path)));
            let names: Vec<&String> = of.map(|(name, _)| name).collect();
            if names.is_empty() {
                return None;
            }
            affected.extend(names.into_iter().cloned());
        }
        Some(affected)
    }
}

/// Whether what affects `one` can tell anything about what affects `other`.
pub fn are_apart(one: &Affected, other: &Affected) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one.is_disjoint(other))
}

/// Cars that may affect each other, or need each other, in one part each; in the order of the first of each part.
pub fn parts<'c>(cars: &[&'c Car], affected: &BTreeMap<CarId, Affected>) -> Vec<Vec<&'c Car>> {
    let of = |car: &Car| affected.get(&car.id).cloned().flatten();
    let belong = |one: &Car, other: &Car| {
        let needs = |one: &Car, other: &Car| one.after.contains(&other.id);
        !are_apart(&of(one), &of(other)) || one.goes_with(other) || needs(one, other) || needs(other, one)
    };
    let mut parts: Vec<Vec<&Car>> = Vec::new();
    for car in cars {
        let (mut mine, others): (Vec<_>, Vec<_>) =
            parts.into_iter().partition(|part| part.iter().any(|other| belong(car, other)));
        let mut joined: Vec<&Car> = mine.drain(..).flatten().collect();
        joined.push(car);
        parts = others;
        parts.push(joined);
    }
    let place = |car: &Car| cars.iter().position(|other| other.id == car.id);
    for part in &mut parts {
        part.sort_by_key(|car| place(car));
    }
    parts.sort_by_key(|part| part.first().and_then(|car| place(car)));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes() -> Lanes {
        let pattern = |text: &str| Pattern::parse(text).expect("a good pattern");
        let lane =
            |name: &str, patterns: &[&str]| (name.to_owned(), patterns.iter().map(|text| pattern(text)).collect());
        Lanes(
            [lane("docs", &["docs/**"]), lane("web", &["web/**", "api/**"]), lane("server", &["server/**", "api/**"])]
                .into(),
        )
    }

    #[test]
    fn a_path_of_no_lane_affects_everything() {
        let affected = |paths: &[&str]| lanes().affected(paths.iter().copied());
        let named = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(affected(&["docs/a.md", "web/b.ts"]), named(&["docs", "web"]));
        assert_eq!(affected(&["api/types"]), named(&["server", "web"]));
        assert_eq!(affected(&["docs/a.md", "Makefile"]), None);
        assert_eq!(affected(&[]), named(&[]), "what changes nothing affects nothing");
        assert!(are_apart(&affected(&["docs/a"]), &affected(&["web/b"])));
        assert!(!are_apart(&affected(&["api/a"]), &affected(&["web/b"])));
        assert!(!are_apart(&affected(&["docs/a"]), &None), "in doubt, the same lane");
    }
}
