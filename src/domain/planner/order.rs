//! Which of equally urgent cars goes first, where that spares work.
//!
//! Of two cars that clash one is sent back, whatever the order. Of several, the order decides how many are: a car that
//! clashes with many sends all of them back if it goes first, and is sent back alone if they do. So the cars that go
//! first are chosen one by one, each time the one that clashes with the fewest of those that are left, and who clashes
//! with one of them goes behind it. (That many cars of which no two clash is a largest independent set of a graph, and
//! this is the greedy rule of least degree for it.) All others keep the order of arrival.
//!
//! Guarantees: pure, and so the same on every host that sees the same board and the same commits. Only cars of which no
//! test has begun change places, and they stay behind all as urgent of which one has. Nobody is put behind a car that
//! was submitted longer after it than is configured, so no stream of arrivals keeps a car waiting for ever. Cars that
//! need others, are needed, or land together with others stay where they are.

use std::collections::BTreeMap;

use super::batches::own_urgency;
use super::{Observation, TrainPolicy};
use crate::domain::{Car, CarId, CarState, Seconds, Train};

/// How many cars are compared, from the first on.
const CARS_MAX: usize = 50;

/// The pairs of cars on which the order depends: whether they clash.
pub fn pairs_to_merge<'c>(train: &Train, cars: &'c [Car], policy: &TrainPolicy) -> Vec<(&'c Car, &'c Car)> {
    let compared = compared(cars);
    // Of two, one is sent back whatever the order.
    let fresh = compared.iter().filter(|car| is_fresh(train, car)).count();
    if policy.sparing.is_none() || fresh < 2 || compared.len() < 3 {
        return Vec::new();
    }
    let behind = |nth: usize| compared.iter().skip(nth + 1);
    let pairs = compared.iter().enumerate().flat_map(|(nth, one)| behind(nth).map(move |other| (*one, *other)));
    let matters = |(one, other): &(&Car, &Car)| is_fresh(train, one) || is_fresh(train, other);
    pairs.filter(matters).collect()
}

/// The cars, with positions in the order in which they go.
pub(super) fn arranged(train: &Train, mut cars: Vec<Car>, seen: &Observation, policy: &TrainPolicy) -> Vec<Car> {
    let Some(wait) = policy.sparing else { return cars };
    let compared = compared(&cars);
    let order = Order { train, seen, wait, all: &cars };
    let mut places: BTreeMap<CarId, u64> = BTreeMap::new();
    let mut ahead: Vec<&Car> = Vec::new();
    for class in compared.chunk_by(|one, other| own_urgency(one) == own_urgency(other)) {
        for car in order.of_equals(class, &mut ahead) {
            places.insert(car.id.clone(), places.len() as u64);
        }
    }
    for car in &mut cars {
        // Those that were not compared come after, in the order of arrival.
        car.position = places.get(&car.id).copied().unwrap_or(CARS_MAX as u64 + car.position);
    }
    cars
}

/// The first of the cars, by urgency and arrival.
fn compared(cars: &[Car]) -> Vec<&Car> {
    let mut sorted: Vec<&Car> = cars.iter().collect();
    sorted.sort_by_key(|car| (own_urgency(car), car.position));
    sorted.truncate(CARS_MAX);
    sorted
}

/// Whether no test of it has begun.
fn is_fresh(train: &Train, car: &Car) -> bool {
    let grouped = train.batches.iter().any(|batch| batch.cars.contains(&car.id));
    car.state == CarState::Queued && car.tested_tree.is_none() && !grouped
}

struct Order<'a> {
    train: &'a Train,
    seen: &'a Observation,
    /// How much later somebody may be submitted who goes ahead.
    wait: Seconds,
    all: &'a [Car],
}

impl<'a> Order<'a> {
    /// Equally urgent cars, in the order in which they go behind those `ahead`, to which those are added that go on
    /// from here.
    fn of_equals(&self, class: &[&'a Car], ahead: &mut Vec<&'a Car>) -> Vec<&'a Car> {
        let (fresh, begun): (Vec<&Car>, Vec<&Car>) = class.iter().copied().partition(|car| is_fresh(self.train, car));
        let mut ordered = self.as_in_runs(begun);
        ahead.extend(&ordered);
        let mut left: Vec<&Car> = fresh.iter().copied().filter(|car| self.may_move(car)).collect();
        let mut first: Vec<&Car> = Vec::new();
        loop {
            left.retain(|car| !ahead.iter().chain(&first).any(|other| self.clash(car, other)));
            let count = |car: &Car| left.iter().filter(|other| self.clash(car, other)).count();
            let must_wait = |car: &Car, other: &Car| self.clash(car, other) && !self.may_go_ahead(car, other);
            let may_pass = |car: &Car| !left.iter().any(|other| must_wait(car, other));
            // The one that arrived first passes nobody, so there always is one.
            let next = left.iter().copied().filter(|car| may_pass(car)).min_by_key(|car| (count(car), car.position));
            let Some(next) = next else { break };
            first.push(next);
            left.retain(|car| car.id != next.id);
        }
        // Who goes back gives way to those it clashes with, and to nobody else.
        let place = |car: &&Car| {
            let gives_way = !first.iter().any(|other| other.id == car.id) && self.may_move(car);
            let to = first.iter().filter(|other| gives_way && self.clash(car, other) && self.may_go_ahead(other, car));
            let last = to.map(|other| other.position).max().filter(|last| *last > car.position);
            (last.unwrap_or(car.position), last.is_some(), car.position)
        };
        let mut fresh = fresh;
        fresh.sort_by_key(place);
        ahead.extend(&first);
        ordered.extend(fresh);
        ordered
    }

    /// Cars of which tests have begun, in the order of arrival, but where they stand otherwise in a run.
    fn as_in_runs(&self, mut begun: Vec<&'a Car>) -> Vec<&'a Car> {
        let mut runs: Vec<&Vec<CarId>> = self.train.runs.iter().map(|run| &run.cars).collect();
        // The longest last: the others are beginnings of it.
        runs.sort_by_key(|cars| cars.len());
        for cars in runs {
            let places: Vec<usize> = (0..begun.len()).filter(|nth| cars.contains(&begun[*nth].id)).collect();
            let mut of_run: Vec<&Car> = places.iter().map(|nth| begun[*nth]).collect();
            of_run.sort_by_key(|car| cars.iter().position(|id| *id == car.id));
            places.into_iter().zip(of_run).for_each(|(nth, car)| begun[nth] = car);
        }
        begun
    }

    fn may_move(&self, car: &Car) -> bool {
        car.after.is_empty() && car.together.is_empty() && !self.all.iter().any(|other| other.after.contains(&car.id))
    }

    fn clash(&self, one: &Car, other: &Car) -> bool {
        let pair = |one: &Car, other: &Car| self.seen.clashes.contains(&(one.id.clone(), other.id.clone()));
        pair(one, other) || pair(other, one)
    }

    /// Whether a car may go ahead of another.
    fn may_go_ahead(&self, car: &Car, of: &Car) -> bool {
        car.position < of.position || car.submitted_at <= of.submitted_at.plus(self.wait)
    }
}

#[cfg(test)]
mod tests {
    use super::super::in_order;
    use super::*;
    use crate::domain::{Branch, Holder, ObjectId, Priority, Run, RunState, Timestamp};

    const WAIT: Seconds = Seconds(3600);

    /// A car that was submitted so many minutes after the first one.
    fn car(name: char, minutes: u64) -> Car {
        let submitted_at = Timestamp::from_secs(60 * minutes);
        Car { submitted_at, ..Car::of_branch(&name.to_string(), u64::from(u32::from(name))) }
    }

    fn id(name: char) -> CarId {
        CarId::parse(&name.to_string()).expect("an id")
    }

    /// The order of cars, of which pairs like `AB` clash.
    fn order(train: &Train, cars: &[Car], clashes: &[&str]) -> String {
        let pair = |names: &&str| {
            let mut names = names.chars();
            (id(names.next().expect("two cars")), id(names.next().expect("two cars")))
        };
        let base = ObjectId::parse(&"0".repeat(40)).expect("an object id");
        let clashes = clashes.iter().map(pair).collect();
        let seen = Observation { clashes, ..Observation::new(base, Timestamp::from_secs(0)) };
        let policy = TrainPolicy { sparing: Some(WAIT), ..TrainPolicy::PLAIN };
        let arranged = arranged(train, cars.to_vec(), &seen, &policy);
        in_order(&arranged).iter().map(|car| car.id.as_str()).collect()
    }

    fn train() -> Train {
        Train::new(Branch::parse("main").expect("a branch"))
    }

    fn cars(names: &str) -> Vec<Car> {
        names.chars().map(|name| car(name, 0)).collect()
    }

    #[test]
    fn who_clashes_with_several_goes_behind_them_and_nobody_else_moves() {
        for (names, clashes, expected) in [
            ("ABC", &[][..], "ABC"),
            ("AB", &["AB"], "AB"),
            ("ABC", &["AB", "AC"], "BCA"),
            ("ABCDE", &["AC", "DA"], "BCDAE"),
            ("ABC", &["AC", "BC"], "ABC"),
            ("ABCD", &["AB", "BC", "CD"], "ACBD"),
            ("ABC", &["AB", "BC", "AC"], "ABC"),
            ("ABCDEF", &["AC", "AD", "BE", "BF"], "CDAEFB"),
        ] {
            assert_eq!(order(&train(), &cars(names), clashes), expected, "{names} {clashes:?}");
        }
    }

    #[test]
    fn who_waits_long_who_is_needed_and_who_is_urgent_is_not_passed() {
        let clashes = &["AB", "AC"];
        let late = [car('A', 0), car('B', 60), car('C', 61)];
        assert_eq!(order(&train(), &late, clashes), "BAC", "one minute later, and B could not, either");
        let later = [car('A', 0), car('B', 61), car('C', 61)];
        assert_eq!(order(&train(), &later, clashes), "ABC");
        let needed = [cars("ABC"), vec![Car { after: vec![id('A')], ..car('D', 0) }]].concat();
        assert_eq!(order(&train(), &needed, clashes), "ABCD");
        let urgent = [Car { priority: Priority::P1, ..car('A', 0) }, car('B', 0), car('C', 0)];
        assert_eq!(order(&train(), &urgent, clashes), "ABC");
        // B is sent back by A in any case: so it counts no more against C, behind which it goes.
        let urgent = [&urgent[..], &cars("D")].concat();
        assert_eq!(order(&train(), &urgent, &["AB", "BC", "CD"]), "ACBD");
    }

    #[test]
    fn tests_that_have_begun_keep_their_places_ahead_and_as_they_are_in_runs() {
        let begun = |name| Car { state: CarState::Testing, ..car(name, 0) };
        let clashes = &["AB", "AC"];
        assert_eq!(order(&train(), &[begun('A'), car('B', 0), car('C', 0)], clashes), "ABC");
        assert_eq!(order(&train(), &[car('A', 0), begun('B'), car('C', 0)], &[]), "BAC");
        let run = Run {
            commit: ObjectId::parse(&"2".repeat(40)).expect("an object id"),
            tree: ObjectId::parse(&"3".repeat(40)).expect("an object id"),
            base: ObjectId::parse(&"0".repeat(40)).expect("an object id"),
            cars: vec![id('C'), id('A')],
            ahead: 1,
            state: RunState::Running,
            started_at: Timestamp::from_secs(0),
            started_by: Holder::parse("ada").expect("a holder"),
        };
        let train = Train { runs: vec![run], ..train() };
        assert_eq!(order(&train, &[begun('A'), begun('B'), begun('C')], &["AC"]), "CBA");
    }

    /// Whatever clashes: only what may be passed is, and all in all fewer are sent back.
    #[test]
    fn every_order_keeps_its_promises() {
        let (mut spared, mut usual) = (0, 0);
        for seed in 0..500_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut below = |most: u64| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) % most
            };
            let names: Vec<char> = ('A'..='J').collect();
            let mut minutes = 0;
            let mut all = Vec::new();
            for name in &names {
                minutes += below(30);
                let begun = all.len() < 4 && below(3) == 0;
                let state = if begun { CarState::Testing } else { CarState::Queued };
                all.push(Car { state, ..car(*name, minutes) });
            }
            let mut clashes = Vec::new();
            for (nth, one) in names.iter().enumerate() {
                let others = names[nth + 1..].iter().filter(|_| below(5) == 0);
                clashes.extend(others.map(|other| format!("{one}{other}")).collect::<Vec<_>>());
            }
            let clashes: Vec<&str> = clashes.iter().map(String::as_str).collect();
            let ordered = order(&train(), &all, &clashes);
            let of = |name: char| all.iter().find(|car| car.id == id(name)).expect("it is there");
            for (nth, first) in ordered.chars().enumerate() {
                for behind in ordered[nth + 1..].chars().filter(|behind| *behind < first) {
                    let (first, behind) = (of(first), of(behind));
                    assert!(behind.state == CarState::Queued, "{seed}: {ordered} passes what is tested");
                    let soon = first.submitted_at <= behind.submitted_at.plus(WAIT);
                    assert!(soon || first.state == CarState::Testing, "{seed}: {ordered} lets {} wait", behind.id);
                }
            }
            let sent_back = |order: &str| {
                let mut landed = String::new();
                for car in order.chars() {
                    let clash = |other| clashes.iter().any(|pair| pair.contains(car) && pair.contains(other));
                    if !landed.chars().any(clash) {
                        landed.push(car);
                    }
                }
                order.len() - landed.len()
            };
            spared += sent_back(&ordered);
            usual += sent_back(&names.iter().collect::<String>());
        }
        assert!(spared < usual, "{spared} of {usual}");
    }
}
