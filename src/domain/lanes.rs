//! Lanes: parts of a repository that cannot affect each other. Cars in different lanes are tested and land
//! independently.
//!
//! A lane is named by rules for paths, or by whatever else can tell what a change affects. Guarantees: pure; when in
//! doubt, the same lane: a path of no lane, or a car of which nothing is known, affects all; so does one of which
//! something was said that cannot be believed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Car, CarId, Pattern};

/// What a change affects: some lanes; `None`: everything.
pub type Affected = Option<BTreeSet<String>>;

/// The most that may be said of what one change affects, in bytes.
pub const SAID_BYTES_MAX: usize = 256 * 1024;
/// The most names in it, and the longest, in bytes: what affects more of them affects everything.
const NAMES_MAX: usize = 1_000;
const NAME_BYTES_MAX: usize = 300;

/// What is not known, and so affects everything.
static EVERYTHING: Affected = None;

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
        let (lanes, all_have) = self.of(paths);
        all_have.then_some(lanes)
    }

    /// The lanes of these paths, and whether each of the paths has one.
    pub fn of<'p>(&self, paths: impl IntoIterator<Item = &'p str>) -> (BTreeSet<String>, bool) {
        let (mut lanes, mut all_have) = (BTreeSet::new(), true);
        for path in paths {
            let of = self.0.iter().filter(|(_, patterns)| patterns.iter().any(|pattern| pattern.matches(path)));
            let names: Vec<&String> = of.map(|(name, _)| name).collect();
            all_have &= !names.is_empty();
            lanes.extend(names.into_iter().cloned());
        }
        (lanes, all_have)
    }
}

/// The names in what was said of a change: one a line, each a word. Or why that cannot be believed.
pub fn names(said: &[u8]) -> Result<BTreeSet<String>, String> {
    if said.len() > SAID_BYTES_MAX {
        return Err(format!("it says more than {SAID_BYTES_MAX} bytes"));
    }
    let said = std::str::from_utf8(said).map_err(|_| "what it says is not text".to_owned())?;
    let is_name = |line: &&str| {
        let odd = |c: char| c.is_whitespace() || c.is_control();
        !line.is_empty() && line.len() <= NAME_BYTES_MAX && !line.contains(odd)
    };
    if let Some(line) = said.lines().find(|line| !is_name(line)) {
        return Err(format!("it says {:?}, which is no name", line.chars().take(80).collect::<String>()));
    }
    let names: BTreeSet<String> = said.lines().map(str::to_owned).collect();
    match names.len() {
        0 => Err("it names nothing".to_owned()),
        count if count > NAMES_MAX => Err(format!("it names {count}, more than {NAMES_MAX}")),
        _ => Ok(names),
    }
}

/// Whether what affects `one` can tell anything about what affects `other`.
pub fn are_apart(one: &Affected, other: &Affected) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one.is_disjoint(other))
}

/// Cars that may affect each other, or need each other, in one part each; in the order of the first of each part.
pub fn parts<'c>(cars: &[&'c Car], affected: &BTreeMap<CarId, Affected>) -> Vec<Vec<&'c Car>> {
    let of = |car: &Car| affected.get(&car.id).unwrap_or(&EVERYTHING);
    let belong = |one: &Car, other: &Car| {
        let needs = |one: &Car, other: &Car| one.after.contains(&other.id);
        !are_apart(of(one), of(other)) || one.goes_with(other) || needs(one, other) || needs(other, one)
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

    #[test]
    fn what_is_said_is_believed_only_where_it_is_names_and_nothing_else() {
        let said = |text: &str| names(text.as_bytes()).map(|names| names.into_iter().collect::<Vec<_>>().join(" "));
        assert_eq!(said("//web:app\n//docs\n//docs"), Ok("//docs //web:app".to_owned()));
        let many: String = (0..=NAMES_MAX).map(|nth| format!("{nth}\n")).collect();
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for (text, why) in [
            ("", "it names nothing"),
            ("\n", "it says \"\", which is no name"),
            ("a\n\nb\n", "it says \"\", which is no name"),
            ("no targets found\n", "it says \"no targets found\", which is no name"),
            ("a\u{1b}[31m\n", "it says \"a\\u{1b}[31m\", which is no name"),
            (&long, &format!("it says {:?}, which is no name", "x".repeat(80))),
            (&many, "it names 1001, more than 1000"),
            (&"a\n".repeat(SAID_BYTES_MAX), "it says more than 262144 bytes"),
        ] {
            assert_eq!(said(text), Err(why.to_owned()));
        }
        assert_eq!(names(b"a\n\xff\n"), Err("what it says is not text".to_owned()));
    }
}
