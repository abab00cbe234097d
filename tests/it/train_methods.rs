//! What landed cars look like in the history: merged, squashed, put on the target anew, or as they are.
//!
//! Whatever the way, the commit that lands is the one that was tested, each car has a commit of its own on the target,
//! and what lies between it and the one before is what the car changes.

use std::path::Path;

use serde_json::Value;

use crate::scrum::{World, texts};
use crate::train::{Yard, done, reason};

/// A branch of two commits, by somebody who is not the train.
fn push_two(yard: &Yard, name: &str, from: &str) {
    let (sandbox, clone) = (&yard.world.sandbox, &yard.clone);
    sandbox.git(clone, &["fetch", "-q", "origin"]);
    sandbox.git(clone, &["checkout", "-q", "-B", name, from]);
    for part in ["1", "2"] {
        let file = format!("{name}{part}");
        std::fs::write(clone.join(&file), &file).expect("a file");
        sandbox.git(clone, &["add", &file]);
        let message = format!("Write {file}\n\nIt was missing.");
        sandbox.git(clone, &["commit", "-q", "--author=Ada <ada@example.test>", "-m", &message]);
    }
    sandbox.git(clone, &["push", "-q", "-f", "origin", name]);
}

fn submit(yard: &Yard, name: &str) {
    yard.world.ok(&yard.clone, &["submit", "--branch", name]);
}

fn tip(yard: &Yard, branch: &str) -> String {
    yard.world.remote_ref(&format!("refs/heads/{branch}"))
}

fn log(yard: &Yard, format: &str, range: &str) -> Vec<String> {
    let format = format!("--format={format}");
    let log = yard.world.sandbox.git(yard.world.remote().bare(), &["log", "--reverse", &format, range]);
    log.lines().map(str::to_owned).collect()
}

/// The commits that cars landed as, by what `show` says.
fn landed_as(world: &World, clone: &Path, cars: &[&str]) -> Vec<String> {
    let of = |car: &&str| world.ok(clone, &["show", car])["car"]["landed_as"].as_str().expect("a commit").to_owned();
    cars.iter().map(of).collect()
}

fn changed_between(yard: &Yard, from: &str, to: &str) -> Vec<String> {
    let args = ["diff", "--name-only", from, to];
    yard.world.sandbox.git(yard.world.remote().bare(), &args).lines().map(str::to_owned).collect()
}

/// Each of the cars by itself: what it brought is what it changed.
fn each_brought_its_own(yard: &Yard, start: &str, cars: &[&str]) {
    let mut before = start.to_owned();
    for (car, commit) in cars.iter().zip(landed_as(&yard.world, &yard.clone, cars)) {
        assert_eq!(changed_between(yard, &before, &commit), [format!("{car}1"), format!("{car}2")], "{car}");
        before = commit;
    }
    assert_eq!(before, tip(yard, "main"));
}

#[test]
fn squashed_cars_are_one_commit_each_by_their_author() {
    let mut yard = Yard::new("method = \"squash\"\n");
    let start = tip(&yard, "main");
    push_two(&yard, "A", "origin/main");
    // B was begun on A, and has its commits.
    push_two(&yard, "B", "A");
    submit(&yard, "A");
    submit(&yard, "B");
    yard.tick();
    assert_eq!(yard.started, ["A1 A2", "A1 A2 B1 B2"]);
    yard.say("pass", "A1 A2 B1 B2");
    assert_eq!(yard.hear("pass", "A1 A2"), ["land A B"]);
    let range = format!("{start}..main");
    assert_eq!(
        log(&yard, "%s|%an|%cn|%(trailers:key=Scrum-Car,valueonly,separator=%x2C)", &range),
        ["Write A2|Ada|git-scrum|A", "Write B2|Ada|git-scrum|B"]
    );
    let body = log(&yard, "%b", &format!("{start}..main~1"));
    assert_eq!(body[..2], ["* Write A1", "* Write A2"], "{body:?}");
    each_brought_its_own(&yard, &start, &["A", "B"]);
    assert_eq!(yard.tick()["actions"], Value::Array(Vec::new()), "nothing is left to do");
}

#[test]
fn rebased_cars_keep_their_commits_without_merges() {
    let mut yard = Yard::new("method = \"rebase\"\n");
    push_two(&yard, "A", "origin/main");
    yard.push("elsewhere", "elsewhere", "elsewhere");
    push_two(&yard, "B", "A");
    // Somebody kept the branch up to date by merging.
    yard.world.sandbox.git(&yard.clone, &["merge", "-q", "--no-ff", "-m", "Keep up", "elsewhere"]);
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "origin", "B"]);
    submit(&yard, "elsewhere");
    yard.tick();
    assert_eq!(yard.hear("pass", "elsewhere"), ["land elsewhere"]);
    let start = tip(&yard, "main");
    submit(&yard, "A");
    submit(&yard, "B");
    yard.tick();
    yard.settle(|_| false);
    let range = format!("{start}..main");
    let subjects = ["Write A1|Ada|A", "Write A2|Ada|A", "Write B1|Ada|B", "Write B2|Ada|B"];
    assert_eq!(log(&yard, "%s|%an|%(trailers:key=Scrum-Car,valueonly,separator=%x2C)", &range), subjects);
    assert!(log(&yard, "%P", &range).iter().all(|parents| !parents.contains(' ')), "the history is a line");
    assert!(log(&yard, "%b", &range).contains(&"It was missing.".to_owned()), "messages are kept");
    each_brought_its_own(&yard, &start, &["A", "B"]);

    // What a car brought can be taken back in one go, however many commits it were.
    let revert = yard.world.ok(&yard.clone, &["revert", "A"]);
    let car = revert["car"].as_str().expect("a car").to_owned();
    yard.tick();
    yard.settle(|_| false);
    assert!(yard.landed().contains(&car), "{:?}", yard.landed());
    let files = yard.world.landed_files();
    assert!(!files.iter().any(|file| file.starts_with('A')) && files.contains(&"B1".to_owned()), "{files:?}");
}

#[test]
fn merges_that_did_more_or_less_than_their_parents_are_not_left_out_when_a_car_is_rebased() {
    let mut yard = Yard::new("method = \"rebase\"\n");
    let git = |args: &[&str]| yard.world.sandbox.git(&yard.clone, args);
    yard.push("side", "side", "side");
    // A merge that brings what neither side has.
    push_two(&yard, "more", "origin/main");
    git(&["merge", "-q", "--no-ff", "--no-commit", "side"]);
    std::fs::write(yard.clone.join("evil"), "evil").expect("a file");
    git(&["add", "evil"]);
    git(&["commit", "-q", "-m", "Merge side"]);
    // One that drops what a side has.
    push_two(&yard, "less", "origin/main");
    git(&["merge", "-q", "-s", "ours", "-m", "Leave side out", "side"]);
    git(&["push", "-q", "origin", "more", "less"]);
    for name in ["more", "less"] {
        submit(&yard, name);
    }
    yard.submit("plain");
    let pass = yard.tick();
    for (car, path) in [("more", "evil"), ("less", "side")] {
        let said = reason(&pass, car);
        assert!(said.contains("its merges are left out") && said.contains(&format!("did in {path}: squash")), "{said}");
    }
    yard.settle(|_| false);
    assert_eq!(yard.landed(), ["plain"]);
    let landed = yard.world.landed_files();
    assert!(["evil", "side", "more1", "less1"].iter().all(|file| !landed.contains(&(*file).to_owned())), "{landed:?}");
}

#[test]
fn what_is_on_the_target_already_lands_as_an_empty_commit_when_it_is_rebased() {
    let mut yard = Yard::new("method = \"rebase\"\n");
    yard.submit("A");
    yard.push("B", "B", "B");
    // The same change by another commit.
    yard.world.sandbox.git(&yard.clone, &["commit", "-q", "--amend", "-m", "The same by another"]);
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "-f", "origin", "B:again"]);
    submit(&yard, "B");
    submit(&yard, "again");
    yard.tick();
    assert_eq!(yard.started, ["A", "A B"], "the same tree is tested once");
    yard.say("pass", "A B");
    assert_eq!(yard.hear("pass", "A"), ["land A B again"]);
    let landed = landed_as(&yard.world, &yard.clone, &["B", "again"]);
    assert_ne!(landed[0], landed[1]);
    assert_eq!(changed_between(&yard, &landed[0], &landed[1]), [""; 0]);
}

#[test]
fn a_fast_forward_moves_the_target_to_the_very_commit() {
    let mut yard = Yard::new("method = \"ff\"\n");
    push_two(&yard, "A", "origin/main");
    push_two(&yard, "B", "A");
    yard.push("C", "C", "C");
    for name in ["A", "B", "C"] {
        submit(&yard, name);
    }
    let heads = ["A", "B"].map(|name| tip(&yard, name));
    let pass = yard.tick();
    assert_eq!(yard.started, ["A1 A2", "A1 A2 B1 B2"]);
    assert!(reason(&pass, "C").contains("does not start from B: rebase it"), "{pass:#}");
    yard.say("pass", "A1 A2 B1 B2");
    assert_eq!(yard.hear("pass", "A1 A2"), ["land A B", "eject C"]);
    assert_eq!(landed_as(&yard.world, &yard.clone, &["A", "B"]), heads);
    assert_eq!(tip(&yard, "main"), heads[1]);
    let shown = yard.world.ok(&yard.clone, &["show", "C"]);
    assert!(shown["car"]["reason"].as_str().expect("a reason").contains("does not start from main: rebase it"));
}

#[test]
fn a_commit_that_does_not_go_on_the_target_is_a_conflict_that_names_the_path() {
    let mut yard = Yard::new("method = \"rebase\"\n");
    yard.push("A", "both", "one");
    yard.push("B", "both", "two");
    submit(&yard, "A");
    submit(&yard, "B");
    let pass = yard.tick();
    assert_eq!(yard.started, ["both"]);
    assert!(reason(&pass, "B").contains("it conflicts with A in both"), "{pass:#}");
    assert_eq!(yard.hear("pass", "both"), ["land A", "eject B"]);
}

/// Whoever plans, the candidates are the same to the byte: no run is asked for twice.
#[test]
fn every_clone_builds_the_same_candidates() {
    for method in ["merge", "squash", "rebase"] {
        let yard = Yard::new(&format!("method = \"{method}\"\n"));
        push_two(&yard, "A", "origin/main");
        push_two(&yard, "B", "origin/main");
        submit(&yard, "A");
        submit(&yard, "B");
        let other = yard.world.clone_with_board("other");
        yard.world.sandbox.git(&other, &["config", "user.name", "Somebody Else"]);
        yard.world.sandbox.git(&other, &["config", "merge.renames", "false"]);
        let built = [&yard.clone, &other].map(|clone| {
            let pass = yard.world.ok(clone, &["merge-train", "--dry-run"]);
            assert_eq!(done(&pass), [""; 0]);
            texts(&pass["actions"], Some("commit"))
        });
        assert_eq!(built[0].len(), 2, "{method}");
        assert_eq!(built[0], built[1], "{method}");
    }
}
