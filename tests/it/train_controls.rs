//! What people tell the train, and what that costs: stories in which somebody freezes, promotes, approves, withdraws,
//! reverts. They are told like those of `train.rs`, by the same yard.

use crate::scrum::texts;
use crate::train::{Yard, reason};

/// Submits a branch that adds a file of its name, with more arguments.
fn submit(yard: &Yard, name: &str, more: &[&str]) -> serde_json::Value {
    yard.push(name, name, name);
    yard.world.ok(&yard.clone, &[&["submit", "--branch", name], more].concat())
}

/// Gives a command that changes what is wanted.
fn tell(yard: &Yard, args: &[&str]) -> serde_json::Value {
    yard.world.ok(&yard.clone, args)
}

#[test]
fn a_freeze_lets_through_what_is_urgent_and_nothing_that_needs_what_is_not() {
    let mut yard = Yard::new("");
    submit(&yard, "A", &[]);
    submit(&yard, "B", &["--priority", "p1"]);
    submit(&yard, "C", &["--priority", "p0", "--after", "A"]);
    tell(&yard, &["merge-train", "pause", "--below", "p1", "--reason", "release day"]);
    let pass = yard.tick();
    assert_eq!(yard.started, ["B"]);
    assert_eq!(reason(&pass, "A"), "everything below p1 is frozen: release day");
    assert_eq!(reason(&pass, "C"), "A, which it needs, waits too");
    assert_eq!(yard.hear("pass", "B"), ["land B"]);
    let status = tell(&yard, &["merge-train", "status"]);
    assert_eq!((&status["frozen"]["below"], &status["paused"]), (&"p1".into(), &serde_json::Value::Null));
    tell(&yard, &["merge-train", "resume"]);
    yard.tick();
    yard.settle(|_| false);
    yard.end("B A C", &["B", "A B", "A B C"], 0);
}

#[test]
fn a_freeze_gives_up_what_is_being_tested_and_ends_without_a_trace() {
    let mut yard = Yard::new("");
    submit(&yard, "A", &[]);
    submit(&yard, "B", &["--priority", "p0"]);
    yard.tick();
    assert_eq!(yard.started, ["B", "A B"]);
    tell(&yard, &["merge-train", "pause", "--below", "p0"]);
    yard.tick();
    assert_eq!(yard.cancelled, ["A B"]);
    assert_eq!(texts(&tell(&yard, &["merge-train", "status"])["cars"], Some("state")), ["testing", "queued"]);
    tell(&yard, &["merge-train", "resume"]);
    yard.tick();
    yard.settle(|_| false);
    yard.end("B A", &["B", "A B", "A B"], 1);
}
