//! Checks that fail for no reason, and checks that fail always: what is forgiven, and when a train stops by itself.

use crate::train::{Yard, done, reason};

#[test]
fn a_red_verdict_is_forgiven_when_a_car_behind_it_passes_with_it() {
    let mut yard = Yard::new("tolerate = 1\n");
    yard.submit("A B C");
    yard.tick();
    yard.say("fail", "A");
    let pass = yard.tick();
    assert_eq!(done(&pass), [""; 0], "B contains it, and may pass");
    assert!(reason(&pass, "A").contains("forgiven while those behind it may still pass"), "{pass:#}");
    assert_eq!(yard.hear("pass", "A B"), ["land A B"]);
    yard.settle(|_| false);
    yard.end("A B C", &["A", "A B", "A B C"], 0);
}

#[test]
fn one_red_verdict_more_than_is_forgiven_is_one_too_many() {
    for (tolerate, heard) in [(1, &["A", "A B"][..]), (2, &["A", "A B", "A B C"])] {
        let mut yard = Yard::new(&format!("tolerate = {tolerate}\n"));
        yard.submit("A B C D");
        yard.tick();
        for (nth, files) in heard.iter().enumerate() {
            let done = yard.hear("fail", files);
            assert_eq!(done.is_empty(), nth + 1 < heard.len(), "{files}: {done:?}");
        }
        yard.settle(|files| files.contains(&"A"));
        assert_eq!(yard.landed(), ["B", "C", "D"]);
        assert!(yard.cancelled.len() == 4 - heard.len(), "{:?}", yard.cancelled);
    }
}

#[test]
fn nothing_is_forgiven_when_nobody_is_behind() {
    let mut yard = Yard::new("tolerate = 4\n");
    yard.submit("A");
    yard.tick();
    assert_eq!(yard.hear("fail", "A"), ["eject A"]);
}

/// A green tree clears those in it which failed, but not those of which nothing is known.
#[test]
fn who_passes_with_a_forgiven_car_waits_for_those_that_are_undecided() {
    let mut yard = Yard::new("tolerate = 1\n");
    yard.submit("A B C");
    yard.tick();
    assert_eq!(yard.hear("fail", "A B"), [""; 0]);
    assert_eq!(yard.hear("pass", "A B C"), [""; 0], "A is undecided");
    assert_eq!(yard.hear("pass", "A"), ["land A B C"]);
    yard.end("A B C", &["A", "A B", "A B C"], 0);
}

#[test]
fn a_conflict_is_not_forgiven() {
    let mut yard = Yard::new("tolerate = 1\n");
    yard.submit("A");
    yard.push("B", "A", "another");
    yard.world.ok(&yard.clone, &["submit", "--branch", "B"]);
    yard.submit("C");
    yard.tick();
    assert_eq!(yard.started, ["A", "A C"]);
    yard.say("pass", "A C");
    assert_eq!(yard.hear("pass", "A"), ["land A C", "eject B"]);
}

#[test]
fn a_train_on_which_everything_fails_stops_by_itself() {
    let mut yard = Yard::new("breaker = 2\n");
    yard.submit("A B C D");
    yard.tick();
    assert_eq!(yard.hear("fail", "A"), ["eject A"]);
    assert_eq!(yard.hear("pass", "B"), ["land B"], "one that lands begins the count anew");
    assert_eq!(yard.hear("fail", "B C"), ["eject C"]);
    yard.say("fail", "B D");
    let pass = yard.tick();
    assert_eq!(done(&pass), ["eject D"]);
    yard.submit("E");
    let pass = yard.tick();
    assert!(yard.in_test.is_empty());
    let why = reason(&pass, "E");
    assert!(why.contains("2 cars failed one after the other, the last of them D"), "{why}");
    yard.world.ok(&yard.clone, &["merge-train", "resume"]);
    yard.tick();
    assert_eq!(yard.hear("pass", "B E"), ["land E"]);
}
