//! How the runs of a train are written: each behind an earlier one that has its first cars.
//!
//! The candidates of a line contain each other. With all their cars written out they grow with the square of the line,
//! beyond what a record may hold. Guarantees: what was written is read back equal; what a text is read as is bounded; a
//! program that does not know this form refuses it, for `cars` is missing there.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::train::{Run, RunState, is_zero};
use super::{CarId, Holder, ObjectId, Timestamp};

/// How many cars two runs have to have in common, so that they are written once. With fewer it is easier to read, and
/// as every program has written it.
const SHARED_MIN: usize = 8;
/// How many names of cars a list is read as, at most: far more than runs that fit into a record have.
const NAMES_MAX: usize = 100_000;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Written {
    commit: ObjectId,
    tree: ObjectId,
    base: ObjectId,
    /// An earlier run of the list, whose cars come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    behind: Option<ObjectId>,
    /// The cars that follow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    and: Vec<CarId>,
    /// All cars, where they are behind none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cars: Option<Vec<CarId>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    ahead: u32,
    state: RunState,
    started_at: Timestamp,
    started_by: Holder,
}

pub(super) fn serialize<S: Serializer>(runs: &[Run], serializer: S) -> Result<S::Ok, S::Error> {
    let written = runs.iter().enumerate().map(|(nth, run)| {
        let has_its_cars = |earlier: &&Run| {
            let first = earlier.cars.len();
            first >= SHARED_MIN
                && run.cars.starts_with(&earlier.cars)
                && runs.iter().find(|other| other.commit == earlier.commit) == Some(*earlier)
        };
        let behind = runs[..nth].iter().filter(has_its_cars).max_by_key(|earlier| earlier.cars.len());
        let (and, cars) = match behind {
            Some(earlier) => (run.cars[earlier.cars.len()..].to_vec(), None),
            None => (Vec::new(), Some(run.cars.clone())),
        };
        Written {
            commit: run.commit.clone(),
            tree: run.tree.clone(),
            base: run.base.clone(),
            behind: behind.map(|earlier| earlier.commit.clone()),
            and,
            cars,
            ahead: run.ahead,
            state: run.state,
            started_at: run.started_at,
            started_by: run.started_by.clone(),
        }
    });
    serializer.collect_seq(written)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Run>, D::Error> {
    let mut runs: Vec<Run> = Vec::new();
    let mut names = 0;
    for Written { commit, tree, base, behind, and, cars, ahead, state, started_at, started_by } in
        Vec::<Written>::deserialize(deserializer)?
    {
        let cars = match (behind, cars) {
            (None, Some(cars)) => cars,
            (None, None) => return Err(D::Error::missing_field("cars")),
            (Some(behind), _) => {
                let earlier = runs.iter().find(|earlier| earlier.commit == behind);
                let earlier =
                    earlier.ok_or_else(|| D::Error::custom(format!("there is no run of {behind} before it")))?;
                names += earlier.cars.len();
                if names > NAMES_MAX {
                    return Err(D::Error::custom("its runs have too many cars"));
                }
                earlier.cars.iter().cloned().chain(and).collect()
            }
        };
        runs.push(Run { commit, tree, base, cars, ahead, state, started_at, started_by });
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct List {
        #[serde(with = "super")]
        runs: Vec<Run>,
    }

    fn run(number: usize, cars: &[usize]) -> Run {
        let object = |letter: char| ObjectId::parse(&format!("{letter}{number:039x}")).expect("an object id");
        Run {
            commit: object('c'),
            tree: object('d'),
            base: object('b'),
            cars: cars.iter().map(|car| CarId::parse(&format!("car-{car}")).expect("an id")).collect(),
            ahead: cars.len().saturating_sub(1) as u32,
            state: RunState::Running,
            started_at: Timestamp::from_secs(1_790_000_000),
            started_by: Holder::parse("train").expect("a holder"),
        }
    }

    fn written(runs: Vec<Run>) -> String {
        let list = List { runs };
        let text = toml::to_string(&list).expect("runs can be written");
        assert_eq!(toml::from_str::<List>(&text).expect("and read"), list);
        text
    }

    #[test]
    fn a_long_line_is_written_once_and_a_short_one_in_full() {
        let line: Vec<usize> = (1..=12).collect();
        let text = written((1..=12).map(|cars| run(cars, &line[..cars])).collect());
        assert_eq!(text.matches("behind = ").count(), 4, "{text}");
        assert_eq!((text.matches("\"car-8\"").count(), text.matches("\"car-9\"").count()), (1, 1), "{text}");
        // Another line, two of one candidate, and one that has no more cars than one before it.
        let other: Vec<usize> = (2..=12).collect();
        let same = run(3, &line[..10]);
        let text = written(vec![run(1, &line[..9]), run(2, &other), same.clone(), same, run(4, &line[..9])]);
        assert_eq!(text.matches("behind = ").count(), 3, "{text}");
    }

    #[test]
    fn a_hundred_runs_of_a_hundred_cars_fit_into_a_record() {
        let line: Vec<usize> = (1..=100).collect();
        let size = written((1..=100).map(|cars| run(cars, &line[..cars])).collect()).len();
        assert!(size < 48 * 1024, "{size}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let line: Vec<usize> = (1..=9).collect();
        let good = written(vec![run(1, &line[..8]), run(2, &line)]);
        let none = ObjectId::parse(&"a".repeat(40)).expect("an object id");
        for (from, to, says) in [
            ("behind = \"c", format!("behind = \"{none}\"\nwas = \""), "no run of"),
            ("behind = \"c", "was = \"".to_owned(), "missing field `cars`"),
        ] {
            let error = toml::from_str::<List>(&good.replace(from, &to)).expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
        // A short text that would be read as many names.
        let (_, second) = good.split_at(good.rfind("[[runs]]").expect("there are two"));
        let text = format!("{good}{}", second.repeat(NAMES_MAX / 8));
        let error = toml::from_str::<List>(&text).expect_err("too many").to_string();
        assert!(error.contains("too many cars"), "{error}");
    }
}
