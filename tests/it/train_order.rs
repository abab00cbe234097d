//! In which order equally urgent cars go, and how many of them that sends back.

use std::time::{SystemTime, UNIX_EPOCH};

use git_scrum::domain::Timestamp;

use crate::train::{Yard, done};

const SPARING: &str = "slots = 1\nbatch = 1\norder = \"fewest-conflicts\"\n";

/// A train with A, which writes three files, and B, C and D, which write one of them each, otherwise; submitted so many
/// minutes after A.
fn tangle(settings: &str, minutes: u64) -> Yard {
    let yard = Yard::new(settings);
    yard.push("A", "1", "A");
    for file in ["2", "3"] {
        yard.world.sandbox.commit_file(&yard.clone, file, "A", &format!("Write {file}"));
    }
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "origin", "A"]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    for (name, file, minutes) in [("A", "", 0), ("B", "1", minutes), ("C", "2", minutes), ("D", "3", minutes)] {
        if !file.is_empty() {
            yard.push(name, file, name);
        }
        let at = Timestamp::from_secs(now + 60 * minutes).to_string();
        yard.world.ask_at(&yard.clone, &at, &["submit", "--branch", name]).data();
    }
    yard
}

/// Lets all tests pass. Gives what landed, and how many were sent back.
fn end(yard: &mut Yard) -> (String, usize) {
    let mut ended = done(&yard.tick());
    while let Some(name) = yard.in_test.values().next().cloned() {
        ended.extend(yard.hear("pass", &name));
    }
    (yard.landed().join(" "), ended.iter().filter(|what| what.starts_with("eject")).count())
}

#[test]
fn who_conflicts_with_many_goes_back_alone_where_that_is_asked_for() {
    for (settings, landed, sent_back) in [
        ("slots = 1\nbatch = 1\n", "A", 3),
        ("slots = 1\nbatch = 1\norder = \"strict\"\n", "A", 3),
        (SPARING, "B C D", 1),
        ("order = \"fewest-conflicts\"\n", "B C D", 1),
        ("strategy = \"batch\"\norder = \"fewest-conflicts\"\n", "B C D", 1),
    ] {
        assert_eq!(end(&mut tangle(settings, 0)), (landed.to_owned(), sent_back), "{settings}");
    }
}

#[test]
fn nobody_is_passed_by_who_came_long_after_or_once_its_test_has_begun() {
    assert_eq!(end(&mut tangle(SPARING, 55)), ("B C D".to_owned(), 1));
    assert_eq!(end(&mut tangle(SPARING, 65)), ("A".to_owned(), 3));
    let mut yard = tangle(SPARING, 0);
    for name in ["B", "C", "D"] {
        yard.world.ok(&yard.clone, &["merge-train", "eject", name]);
    }
    yard.tick();
    for name in ["B", "C", "D"] {
        yard.world.ok(&yard.clone, &["submit", "--branch", name]);
    }
    assert_eq!(end(&mut yard), ("A".to_owned(), 3));
    assert!(yard.cancelled.is_empty(), "{:?}", yard.cancelled);
}

#[test]
fn two_hosts_find_the_same_order() {
    let yard = tangle(SPARING, 0);
    let bob = yard.world.clone("bob");
    let plan = |clone| yard.world.ok(clone, &["merge-train", "--dry-run"])["actions"].clone();
    let first = plan(&yard.clone);
    assert_eq!(first[0]["cars"], serde_json::json!(["B"]));
    // What one remembers of earlier merges makes no difference.
    assert_eq!((plan(&bob), plan(&yard.clone)), (first.clone(), first));
}
