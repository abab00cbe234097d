//! What people tell the train, and what that costs: stories in which somebody freezes, promotes, approves, withdraws,
//! reverts. They are told like those of `train.rs`, by the same yard.

use std::time::{SystemTime, UNIX_EPOCH};

use git_scrum::domain::Timestamp;
use serde_json::{Value, json};

use crate::scrum::texts;
use crate::train::{Yard, done, reason};

/// Submits a branch that adds a file of its name, with more arguments.
fn submit(yard: &Yard, name: &str, more: &[&str]) -> serde_json::Value {
    yard.push(name, name, name);
    yard.world.ok(&yard.clone, &[&["submit", "--branch", name], more].concat())
}

/// Gives a command that changes what is wanted.
fn tell(yard: &Yard, args: &[&str]) -> serde_json::Value {
    yard.world.ok(&yard.clone, args)
}

/// A clone of another person than the one who submits.
fn clone_of(yard: &Yard, person: &str) -> std::path::PathBuf {
    let clone = yard.world.clone(person);
    yard.world.sandbox.git(&clone, &["config", "user.name", person]);
    clone
}

/// Each pass in which something happens is told on a line of its own; those in which nothing does are not.
#[test]
fn a_watched_train_tells_what_each_pass_does() {
    let yard = Yard::new("");
    let mut watcher = yard.world.watch(&yard.clone, &["merge-train"]);
    let mut next = || watcher.next();
    assert_eq!(next()["actions"], json!([]));
    yard.submit("A");
    let pass = next();
    assert_eq!(pass["actions"][0]["kind"], "start-run", "{pass:#}");
    let waits = next();
    assert_eq!((done(&waits), waits["actions"][0]["kind"].as_str()), (vec![], Some("wait")), "{waits:#}");
    let commit = pass["runs"][0]["commit"].as_str().expect("a commit");
    yard.world.ok(&yard.clone, &["verdict", "pass", "--commit", commit]);
    assert_eq!(done(&next()), ["land A"]);
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
fn a_target_that_is_not_there_is_neither_paused_nor_resumed() {
    let yard = Yard::new("");
    for verb in [&["pause"][..], &["pause", "--below", "p1"], &["resume"]] {
        let error = yard.world.ask(&yard.clone, &[&["merge-train"], verb, &["--target", "mian"]].concat()).error(1);
        assert_eq!(
            (&error["message"], &error["hint"]),
            (&"there is no branch mian to land on".into(), &"git branch --all".into())
        );
    }
    // One that was known goes on to be.
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "origin", "origin/main:refs/heads/dev"]);
    tell(&yard, &["merge-train", "pause", "--target", "dev"]);
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "origin", ":dev"]);
    assert_eq!(tell(&yard, &["merge-train", "resume", "--target", "dev"])["changed"], true);
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

#[test]
fn what_is_promoted_goes_first_and_a_test_of_a_tree_that_is_still_wanted_goes_on() {
    let mut yard = Yard::new("");
    yard.submit("A B H");
    yard.tick();
    assert_eq!(yard.started, ["A", "A B", "A B H"]);
    let promoted = tell(&yard, &["merge-train", "promote", "H"]);
    assert_eq!(texts(&promoted["promoted"], None), ["H"]);
    yard.tick();
    assert_eq!(yard.cancelled, ["A", "A B"]);
    assert_eq!(yard.started[3..], ["H", "A H"]);
    yard.hear("pass", "A B H");
    assert_eq!(yard.hear("pass", "H"), ["land H"]);
    assert_eq!(yard.hear("pass", "A H"), ["land A B"]);
    yard.end("H A B", &["A", "A B", "A B H", "H", "A H"], 2);
}

#[test]
fn what_a_promoted_car_needs_goes_before_it() {
    let mut yard = Yard::new("slots = 1\nbatch = 1\n");
    submit(&yard, "A", &["--priority", "p0"]);
    submit(&yard, "B", &["--priority", "p3"]);
    submit(&yard, "H", &["--after", "B"]);
    let promoted = tell(&yard, &["merge-train", "promote", "H"]);
    assert_eq!(texts(&promoted["promoted"], None), ["B", "H"]);
    assert_eq!(tell(&yard, &["merge-train", "promote", "H"])["changed"], false);
    yard.tick();
    yard.settle(|_| false);
    yard.end("B H A", &["B", "B H", "A B H"], 0);
}

#[test]
fn what_lacks_an_approval_is_in_no_candidate_and_one_that_is_withdrawn_takes_it_out() {
    let mut yard = Yard::new("approvals = 1\n");
    let bob = clone_of(&yard, "bob");
    submit(&yard, "A", &[]);
    submit(&yard, "B", &[]);
    let pass = yard.tick();
    assert!(reason(&pass, "A").starts_with("it has 0 of the 1 approvals that "), "{pass:#}");
    assert_eq!(yard.world.ask(&yard.clone, &["approve", "A"]).error(8)["code"], "own-car");
    let approved = yard.world.ok(&bob, &["approve", "A"]);
    assert_eq!((&approved["approvals"], &approved["needed"]), (&1.into(), &1.into()));
    yard.world.ok(&bob, &["approve", "B"]);
    yard.tick();
    assert_eq!(yard.started, ["A", "A B"]);
    yard.world.ok(&bob, &["approve", "A", "--withdraw"]);
    let pass = yard.tick();
    assert_eq!((yard.cancelled.len(), yard.started[2..].join("")), (2, "B".to_owned()));
    assert!(reason(&pass, "A").starts_with("it has 0 of the 1 approvals that "), "{pass:#}");
    yard.settle(|_| false);
    yard.world.ok(&bob, &["approve", "A"]);
    yard.tick();
    yard.settle(|_| false);
    yard.end("B A", &["A", "A B", "B", "A B"], 2);
}

#[test]
fn nobody_counts_twice_or_for_themselves_by_working_in_another_clone() {
    let mut yard = Yard::new("approvals = 2\n");
    submit(&yard, "A", &[]);
    let second = yard.world.clone("second");
    assert_eq!(yard.world.ask(&second, &["approve", "A"]).error(8)["code"], "own-car");
    let bob = clone_of(&yard, "bob");
    let other = yard.world.clone("other");
    yard.world.sandbox.git(&other, &["config", "user.name", "bob"]);
    let says = |clone: &std::path::Path, more: &[&str]| {
        let approved = yard.world.ok(clone, &[&["approve", "A"], more].concat());
        (approved["approvals"].clone(), approved["changed"].clone())
    };
    assert_eq!(says(&bob, &[]), (1.into(), true.into()));
    assert_eq!(says(&other, &[]), (1.into(), false.into()));
    assert_eq!(says(&other, &["--withdraw"]), (0.into(), true.into()));
    assert_eq!(says(&bob, &[]), (1.into(), true.into()));
    // Agents that work for one user have names of their own.
    yard.world.sandbox.git(&other, &["config", "scrum.holder", "agent-7@bob"]);
    assert_eq!(says(&other, &[]), (2.into(), true.into()));
    yard.tick();
    yard.settle(|_| false);
    yard.end("A", &["A"], 0);
}

#[test]
fn another_commit_never_lands_on_the_approval_of_the_one_before() {
    let mut yard = Yard::new("approvals = 1\n");
    let bob = clone_of(&yard, "bob");
    let old = submit(&yard, "A", &[]);
    yard.world.ok(&bob, &["approve", "A"]);
    yard.tick();
    yard.say("pass", "A");
    yard.push("A", "A", "something else");
    assert_eq!(done(&yard.tick()), ["eject A"], "its head moved");
    yard.world.ok(&yard.clone, &["submit", "--branch", "A"]);
    let pass = yard.tick();
    assert!(reason(&pass, "A").contains("0 of the 1 approvals"), "{pass:#}");
    // Who has looked at the old commit does not approve of the new one.
    let commit = old["commit"].as_str().expect("an id");
    assert_eq!(yard.world.ask(&bob, &["approve", "A", "--commit", commit]).error(1)["code"], "train-changed");
    yard.world.ok(&bob, &["approve", "A"]);
    yard.tick();
    yard.settle(|_| false);
    yard.end("A", &["A", "A"], 0);
}

#[test]
fn what_is_taken_back_goes_first_and_is_taken_back_once() {
    let mut yard = Yard::new("");
    yard.submit("A");
    yard.tick();
    yard.settle(|_| false);
    yard.submit("B C");
    yard.tick();
    let checkout = yard.world.sandbox.git(&yard.clone, &["status", "--porcelain", "--branch"]);
    let first = tell(&yard, &["revert", "A"]);
    let bob = yard.world.clone("bob");
    let again = yard.world.ok(&bob, &["revert", "A"]);
    assert_eq!((&again["car"], &again["commit"], &again["again"]), (&first["car"], &first["commit"], &true.into()));
    assert_eq!(yard.world.sandbox.git(&yard.clone, &["status", "--porcelain", "--branch"]), checkout);
    yard.tick();
    // Without A, and then B and C behind that.
    assert_eq!(yard.started, ["A", "A B", "A B C", "", "B", "B C"]);
    yard.settle(|_| false);
    let car = first["car"].as_str().expect("a car");
    assert_eq!(yard.world.ask(&yard.clone, &["revert", "A"]).error(1)["code"], "impossible");
    yard.end(&format!("A {car} B C"), &["A", "A B", "A B C", "", "B", "B C"], 2);
    assert!(!yard.world.landed_files().contains(&"A".to_owned()));
}

#[test]
fn what_came_back_can_be_taken_back_again() {
    let mut yard = Yard::new("");
    yard.submit("A");
    yard.tick();
    yard.settle(|_| false);
    let is_there = |yard: &Yard| yard.world.landed_files().contains(&"A".to_owned());
    let mut take_back = |car: &str| {
        let reverts = tell(&yard, &["revert", car]);
        let reverts = reverts["car"].as_str().expect("a car").to_owned();
        yard.tick();
        yard.settle(|_| false);
        let refused = yard.world.ask(&yard.clone, &["revert", car]).error(1);
        assert!(refused["message"].as_str().expect("words").contains("was taken back already"), "{refused}");
        (reverts, is_there(&yard))
    };
    for _ in 0..2 {
        let (once, there) = take_back("A");
        assert!(!there);
        let (twice, there) = take_back(&once);
        assert!(there);
        let (_, there) = take_back(&twice);
        assert!(!there);
        let (_, there) = take_back(&once);
        assert!(there);
    }
}

#[test]
fn a_branch_that_stands_in_the_way_is_named() {
    let mut yard = Yard::new("");
    yard.submit("A");
    yard.tick();
    yard.settle(|_| false);
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "origin", "origin/main:refs/heads/revert"]);
    let error = yard.world.ask(&yard.clone, &["revert", "A"]).error(1);
    let says = error["message"].as_str().expect("words");
    assert!(says.starts_with("there is a branch revert, so that none can be called revert/A-"), "{error}");
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "origin", ":revert"]);
    tell(&yard, &["revert", "A"]);
}

#[test]
fn what_was_built_upon_is_not_taken_back_blindly() {
    let mut yard = Yard::new("");
    yard.submit("A");
    yard.tick();
    yard.settle(|_| false);
    yard.push("B", "A", "built upon");
    tell(&yard, &["submit", "--branch", "B"]);
    yard.tick();
    yard.settle(|_| false);
    let error = yard.world.ask(&yard.clone, &["revert", "A"]).error(1);
    assert_eq!((&error["code"], texts(&error["paths"], None)), (&"conflict".into(), vec!["A".to_owned()]));
    assert_eq!(yard.world.ask(&yard.clone, &["revert", "nobody"]).error(1)["code"], "no-such-car");
    yard.end("A B", &["A", "A"], 0);
}

#[test]
fn once_a_test_was_timed_it_is_said_when_cars_may_land() {
    let yard = Yard::new("slots = 1\nbatch = 1\n");
    let start = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let time = |minute: u64| Timestamp::from_secs(start + 60 * minute).to_string();
    let at = |minute, args: &[&str]| yard.world.ask_at(&yard.clone, &time(minute), args).data();
    let etas = |minute| {
        let status = at(minute, &["merge-train", "status"]);
        status["cars"].as_array().expect("cars").iter().map(|car| car["eta"].clone()).collect::<Vec<_>>()
    };
    for name in ["A", "B", "C"] {
        yard.push(name, name, name);
        at(0, &["submit", "--branch", name]);
    }
    let commit = at(0, &["merge-train"])["runs"][0]["commit"].as_str().expect("a run").to_owned();
    assert_eq!(etas(5), [Value::Null, Value::Null, Value::Null], "nobody knows how long it takes");
    at(10, &["verdict", "pass", "--commit", &commit]);
    at(10, &["merge-train"]);
    assert_eq!(etas(10), [time(20), time(30)]);
    assert_eq!(etas(14), [time(20), time(30)], "the test of B goes on");
    assert_eq!(etas(25), [time(25), time(35)], "it takes longer, and may be over at any moment");
    at(26, &["merge-train", "eject", "B"]);
    assert_eq!(etas(26), [time(36)]);
    at(27, &["merge-train", "pause"]);
    assert_eq!(etas(27), [Value::Null]);
}

/// Takes a car out by hand, with the runs it is in.
fn eject(yard: &mut Yard, car: &str) -> Vec<String> {
    let ejected = tell(yard, &["merge-train", "eject", car]);
    let kept = tell(yard, &["merge-train", "status"]);
    let kept = texts(&kept["runs"], Some("commit"));
    let gone: Vec<String> = yard.in_test.keys().filter(|commit| !kept.contains(commit)).cloned().collect();
    for commit in gone {
        yard.cancelled.extend(yard.in_test.remove(&commit));
    }
    texts(&ejected["ejected"], None)
}

#[test]
fn a_branch_that_is_removed_while_it_is_tested_leaves() {
    let mut yard = Yard::new("");
    yard.submit("A");
    yard.tick();
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "origin", ":A"]);
    let pass = yard.tick();
    assert_eq!((done(&pass), reason(&pass, "A")), (vec!["eject A".to_owned()], "branch A is gone".to_owned()));
    yard.end("", &["A"], 1);
}

#[test]
fn what_needs_a_car_leaves_with_it() {
    let mut yard = Yard::new("slots = 1\nbatch = 1\n");
    submit(&yard, "A", &[]);
    submit(&yard, "B", &["--after", "A"]);
    submit(&yard, "C", &["--after", "B"]);
    yard.tick();
    assert_eq!(eject(&mut yard, "A"), ["A", "B", "C"]);
    assert_eq!(tell(&yard, &["merge-train", "status"])["cars"], serde_json::json!([]));
    yard.tick();
    yard.end("", &["A"], 1);
}

#[test]
fn taking_out_what_is_not_there_is_an_error_that_changes_nothing() {
    let mut yard = Yard::new("");
    yard.submit("A");
    let board = yard.world.remote_ref("refs/scrum/board");
    for nobody in ["B", "nobody"] {
        assert_eq!(yard.world.ask(&yard.clone, &["merge-train", "eject", nobody]).error(1)["code"], "no-such-car");
    }
    assert_eq!(yard.world.remote_ref("refs/scrum/board"), board);
    yard.tick();
    yard.settle(|_| false);
    yard.end("A", &["A"], 0);
}

#[test]
fn what_was_taken_out_and_is_submitted_again_is_tested_anew_and_lands() {
    let mut yard = Yard::new("");
    yard.submit("A");
    yard.tick();
    eject(&mut yard, "A");
    yard.tick();
    tell(&yard, &["submit", "--branch", "A"]);
    yard.tick();
    yard.settle(|_| false);
    yard.end("A", &["A", "A"], 1);
}

#[test]
fn what_was_taken_out_and_is_submitted_again_at_once_goes_on() {
    let mut yard = Yard::new("");
    yard.submit("A");
    yard.tick();
    eject(&mut yard, "A");
    tell(&yard, &["submit", "--branch", "A"]);
    yard.tick();
    yard.settle(|_| false);
    yard.end("A", &["A"], 0);
}

#[test]
fn what_has_landed_does_not_land_again() {
    let mut yard = Yard::new("");
    yard.submit("A");
    yard.tick();
    yard.settle(|_| false);
    let main = yard.world.remote_ref("main");
    assert_eq!(yard.world.ask(&yard.clone, &["submit", "--branch", "A"]).exit, 1);
    yard.tick();
    assert_eq!(yard.world.remote_ref("main"), main);
    yard.end("A", &["A"], 0);
}

#[test]
fn a_conflict_with_the_target_costs_no_test_and_leaves_all_as_it_was() {
    let mut yard = Yard::new("");
    yard.push("A", "readme", "theirs");
    yard.push("past", "readme", "ours");
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "origin", "past:main"]);
    let (main, branch) = (yard.world.remote_ref("main"), yard.world.remote_ref("A"));
    tell(&yard, &["submit", "--branch", "A"]);
    let pass = yard.tick();
    assert_eq!(reason(&pass, "A"), "it conflicts with main in readme");
    assert_eq!((yard.world.remote_ref("main"), yard.world.remote_ref("A")), (main, branch));
    yard.end("", &[], 0);
}

#[test]
fn what_is_needed_comes_first_in_whatever_order_others_agree() {
    let mut yard = Yard::new("approvals = 1\n");
    let bob = clone_of(&yard, "bob");
    submit(&yard, "A", &[]);
    submit(&yard, "B", &["--after", "A"]);
    submit(&yard, "C", &["--after", "B"]);
    for car in ["C", "B"] {
        yard.world.ok(&bob, &["approve", car]);
        assert_eq!(reason(&yard.tick(), "C"), "B, which it needs, waits too");
    }
    yard.world.ok(&bob, &["approve", "A"]);
    yard.tick();
    yard.settle(|_| false);
    yard.end("A B C", &["A", "A B", "A B C"], 0);
}

#[test]
fn a_whole_tree_of_cars_goes_in_order_once_what_all_need_is_agreed_to() {
    let mut yard = Yard::new("approvals = 1\n");
    let bob = clone_of(&yard, "bob");
    let tree = [("A", ""), ("B", "A"), ("G", "A"), ("C", "B"), ("E", "B"), ("F", "B"), ("D", "C")];
    for (car, after) in tree {
        let needs = if after.is_empty() { vec![] } else { vec!["--after", after] };
        submit(&yard, car, &needs);
    }
    for car in ["D", "F", "C", "G", "B", "E"] {
        yard.world.ok(&bob, &["approve", car]);
        assert_eq!(yard.tick()["runs"].as_array().expect("a list").len(), 0);
    }
    yard.world.ok(&bob, &["approve", "A"]);
    yard.tick();
    assert_eq!(yard.in_test.len(), 7, "all are tested at once");
    yard.settle(|_| false);
    let started = ["A", "A B", "A B G", "A B C G", "A B C E G", "A B C E F G", "A B C D E F G"];
    yard.end("A B G C E F D", &started, 0);
}

#[test]
fn what_a_car_needs_must_be_on_its_way_to_the_same_target() {
    let mut yard = Yard::new("");
    yard.push("A", "A", "A");
    yard.push("B", "B", "B");
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "origin", "origin/main:refs/heads/release"]);
    tell(&yard, &["submit", "--branch", "B", "--target", "release"]);
    let after = ["submit", "--branch", "A", "--after", "B"];
    assert_eq!(yard.world.ask(&yard.clone, &after).error(1)["code"], "no-such-car");
    yard.tick();
    tell(&yard, &["submit", "--branch", "B"]);
    tell(&yard, &after);
    yard.tick();
    yard.settle(|_| false);
    yard.end("B A", &["B", "A B"], 0);
}

#[test]
fn the_status_says_why_each_car_is_where_it_is_and_changes_nothing() {
    let mut yard = Yard::new("window = 2\nwindow_min = 2\n");
    yard.push("A", "same", "foo");
    tell(&yard, &["submit", "--branch", "A"]);
    yard.push("B", "same", "bar");
    tell(&yard, &["submit", "--branch", "B"]);
    yard.submit("C");
    let why = |yard: &Yard| {
        let refs = || yard.world.sandbox.git(yard.world.remote().bare(), &["for-each-ref"]);
        let before = refs();
        let status = tell(yard, &["merge-train", "status"]);
        assert_eq!((before, texts(&status["actions"], None)), (refs(), vec![]));
        texts(&status["cars"], Some("reason"))
            .iter()
            .map(|reason| {
                reason.split(' ').map(|word| if word.len() == 40 { "X" } else { word }).collect::<Vec<_>>().join(" ")
            })
            .collect::<Vec<String>>()
    };
    let (conflict, behind) = ("it conflicts with A in same", "it stands behind the window of 2 cars");
    assert_eq!(why(&yard), ["the next pass tests it, as X", conflict, behind]);
    yard.tick();
    assert_eq!(why(&yard), ["X is being tested", conflict, behind]);
    yard.say("pass", "same");
    assert_eq!(why(&yard), ["the next pass lands it, by X", conflict, behind]);
    yard.tick();
    yard.settle(|_| false);
    yard.end("A C", &["same", "C same"], 0);
}
