//! Lanes: cars that cannot affect each other are tested and land independently.

use crate::scrum::texts;
use crate::train::{Yard, done, reason};

const LANES: &str =
    "[train.lanes]\ndocs = [\"docs/**\"]\nweb = [\"web/**\", \"api/**\"]\nserver = [\"server/**\", \"api/**\"]\n";

/// Submits branches, each with a file in a directory: `docs/A`.
pub fn submit(yard: &Yard, files: &str) {
    for file in files.split(' ') {
        let name = file.rsplit('/').next().expect("a name");
        yard.push(name, file, file);
        yard.world.ok(&yard.clone, &["submit", "--branch", name]);
    }
}

#[test]
fn cars_of_different_lanes_do_not_wait_for_each_other_and_are_tested_once() {
    let mut yard = Yard::new(LANES);
    submit(&yard, "docs/A web/B web/C");
    yard.tick();
    assert_eq!(yard.started, ["docs/A", "web/B", "web/B web/C"]);
    assert_eq!(yard.hear("pass", "web/B"), ["land B"]);
    assert_eq!(yard.hear("pass", "docs/A"), ["land A"], "tested before B landed");
    assert_eq!(yard.hear("pass", "web/B web/C"), ["land C"]);
    assert_eq!(yard.started.len(), 3, "{:?}", yard.started);
    assert!(yard.cancelled.is_empty(), "{:?}", yard.cancelled);
    let files = yard.world.landed_files();
    for file in ["docs/A", "web/B", "web/C"] {
        assert!(files.contains(&file.to_owned()), "{files:?}");
    }
    let shown = yard.world.ok(&yard.clone, &["show", "A"]);
    let why = shown["check"]["output"].as_str().expect("text");
    assert!(why.contains("from which this differs only in other lanes"), "{shown:#}");
    assert_eq!(done(&yard.tick()), [""; 0]);
}

#[test]
fn what_fails_in_one_lane_disturbs_no_other() {
    let mut yard = Yard::new(LANES);
    submit(&yard, "docs/A web/B server/C");
    yard.tick();
    assert_eq!(yard.hear("fail", "docs/A"), ["eject A"]);
    assert_eq!(yard.hear("pass", "server/C"), ["land C"]);
    assert_eq!(yard.hear("fail", "web/B"), ["eject B"], "by itself, on the target as it was");
    assert_eq!(yard.started, ["docs/A", "web/B", "server/C"]);
    assert_eq!(yard.landed(), ["C"]);
}

/// A car of two lanes, or of none, stands behind all that it may affect.
#[test]
fn in_doubt_it_is_the_same_lane() {
    for (file, behind) in [("api/C", "web/B"), ("Makefile", "docs/A web/B")] {
        let mut yard = Yard::new(LANES);
        submit(&yard, "docs/A web/B");
        submit(&yard, file);
        yard.tick();
        let with = |behind: &str| {
            let mut files: Vec<&str> = behind.split(' ').chain([file]).collect();
            files.sort();
            files.join(" ")
        };
        assert!(yard.started.contains(&with(behind)), "{file}: {:?}", yard.started);
        assert_eq!(yard.started.contains(&"web/B".to_owned()), file == "api/C", "{:?}", yard.started);
    }
}

/// What lands past the train in the same lane makes a test worthless; in another lane it does not.
#[test]
fn a_push_past_the_train_costs_only_its_own_lane_a_test() {
    let mut yard = Yard::new(LANES);
    submit(&yard, "docs/A web/B");
    yard.tick();
    yard.push("outside", "web/X", "X");
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "origin", "outside:main"]);
    yard.tick();
    assert_eq!(yard.cancelled, ["web/B"]);
    assert_eq!(yard.started, ["docs/A", "web/B", "web/B web/X"]);
    assert_eq!(yard.hear("pass", "docs/A"), ["land A"]);
    assert_eq!(yard.hear("pass", "web/B web/X"), ["land B"]);
}

/// Git follows a rename: what a car changed in one lane may be in another one on the target.
#[test]
fn what_the_target_has_moved_into_another_lane_is_changed_there() {
    let mut yard = Yard::new(LANES);
    let content: String = (0..20).map(|line| format!("line {line}\n")).collect();
    yard.push("outside", "web/old", &content);
    let git = |args: &[&str]| yard.world.sandbox.git(&yard.clone, args);
    git(&["push", "-q", "origin", "outside:main"]);
    yard.push("B", "web/old", &format!("{content}B\n"));
    git(&["checkout", "-q", "-B", "outside", "origin/main"]);
    std::fs::create_dir_all(yard.clone.join("server")).expect("a directory");
    git(&["mv", "web/old", "server/old"]);
    git(&["commit", "-q", "-m", "Move"]);
    git(&["push", "-q", "origin", "outside:main"]);
    submit(&yard, "server/A");
    yard.world.ok(&yard.clone, &["submit", "--branch", "B"]);
    yard.tick();
    assert_eq!(yard.started, ["server/A server/old", "server/old"]);
    yard.say("pass", "server/old");
    assert_eq!(yard.hear("pass", "server/A server/old"), ["land A"]);
    assert_eq!(yard.started[2..], ["server/A server/old"], "B was never tested with A");
    assert_eq!(yard.hear("pass", "server/A server/old"), ["land B"]);
}

#[test]
fn lanes_share_the_runs_that_there_are() {
    let mut yard = Yard::new(&format!("slots = 1\nbatch = 1\n{LANES}"));
    submit(&yard, "docs/A web/B");
    let pass = yard.tick();
    assert_eq!(yard.started, ["docs/A"]);
    assert!(reason(&pass, "B").contains("other lanes go first"), "{pass:#}");
    assert_eq!(yard.hear("pass", "docs/A"), ["land A"]);
    assert_eq!(yard.hear("pass", "docs/A web/B"), ["land B"]);
}

#[test]
fn cars_that_need_each_other_are_in_one_lane() {
    let mut yard = Yard::new(LANES);
    submit(&yard, "docs/A");
    yard.push("B", "web/B", "B");
    yard.world.ok(&yard.clone, &["submit", "--branch", "B", "--after", "A"]);
    yard.tick();
    assert_eq!(yard.started, ["docs/A", "docs/A web/B"]);
}

#[test]
fn what_is_urgent_has_the_next_slot_or_with_preemption_one_of_another_lane_at_once() {
    for preempt in [false, true] {
        let mut yard = Yard::new(&format!("slots = 1\nbatch = 1\npreempt = {preempt}\n{LANES}"));
        submit(&yard, "web/A web/B");
        yard.tick();
        yard.push("H", "docs/H", "H");
        yard.world.ok(&yard.clone, &["submit", "--branch", "H", "--priority", "p0"]);
        let pass = yard.tick();
        yard.tick();
        if preempt {
            assert_eq!((yard.cancelled.join(", "), yard.started.join(", ")), ("web/A".into(), "web/A, docs/H".into()));
            yard.settle(|_| false);
            yard.end("H A B", &["web/A", "docs/H", "docs/H web/A", "docs/H web/A web/B"], 1);
        } else {
            assert!(reason(&pass, "H").starts_with("no more runs at once"), "{pass:#}");
            yard.settle(|_| false);
            yard.end("A H B", &["web/A", "docs/H web/A", "docs/H web/A web/B"], 0);
        }
    }
}

/// What another host has built is not in every clone: where there is nothing to compare with, it is tested anew.
#[test]
fn a_pass_of_another_host_goes_on_where_it_cannot_compare() {
    let mut yard = Yard::new(LANES);
    let other = yard.world.clone_with_board("other");
    submit(&yard, "docs/A docs/C web/B");
    yard.tick();
    assert_eq!(yard.hear("pass", "web/B"), ["land B"]);
    assert!(yard.cancelled.is_empty(), "here it can: {:?}", yard.cancelled);
    let pass = yard.world.ok(&other, &["merge-train"]);
    let started = pass["actions"].as_array().expect("actions").iter().filter(|action| action["kind"] == "start-run");
    assert_eq!(started.map(|action| texts(&action["cars"], None)).collect::<Vec<_>>(), [["A", "C"]]);
}
