//! Cars that land by one move of the target or not at all: stacks, and changes that need each other.

use serde_json::Value;

use crate::scrum::{World, texts};
use crate::support::RemoteKind;
use crate::train::{Yard, done, write_hook};

/// Pushes branches, each with a file of its name, and submits them together.
fn submit_together(yard: &Yard, names: &str) -> Value {
    let names: Vec<&str> = names.split(' ').collect();
    let mut args = vec!["submit", "--together"];
    for name in &names {
        yard.push(name, name, name);
        args.extend(["--branch", name]);
    }
    yard.world.ok(&yard.clone, &args)
}

fn reason_of(yard: &Yard, car: &str) -> String {
    yard.world.ok(&yard.clone, &["show", car])["car"]["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_stack_is_tested_once_and_lands_by_one_move() {
    let mut yard = Yard::new("");
    let bare = yard.world.remote().bare().to_owned();
    yard.world.sandbox.git(&bare, &["config", "core.logAllRefUpdates", "true"]);
    yard.world.sandbox.git(&bare, &["update-ref", "--create-reflog", "refs/heads/main", "main"]);
    let moves = |yard: &Yard| yard.world.sandbox.git(&bare, &["reflog", "show", "main"]).lines().count();
    let before = moves(&yard);
    let said = submit_together(&yard, "A B C");
    assert_eq!(texts(&said["cars"], Some("car")), ["A", "B", "C"]);
    yard.tick();
    assert_eq!(yard.hear("pass", "A B C"), ["land A B C"]);
    assert_eq!(moves(&yard), before + 1);
    let landed_as = ["A", "B", "C"].map(|car| {
        yard.world.ok(&yard.clone, &["show", car])["car"]["landed_as"].as_str().expect("a commit").to_owned()
    });
    assert_eq!(landed_as[2], yard.world.remote_ref("refs/heads/main"));
    assert_ne!(landed_as[0], landed_as[1], "each has a commit of its own");
    yard.end("A B C", &["A B C"], 0);
}

#[test]
fn when_one_fails_all_leave_and_are_told_why() {
    let mut yard = Yard::new("");
    submit_together(&yard, "A B");
    yard.submit("C");
    yard.tick();
    assert_eq!(yard.hear("fail", "A B"), ["eject A"]);
    assert!(reason_of(&yard, "B").contains("A, with which it lands together, has left the train"));
    yard.settle(|_| false);
    yard.end("C", &["A B", "A B C", "C"], 1);
}

#[test]
fn when_one_does_not_merge_none_is_tested() {
    let mut yard = Yard::new("");
    yard.push("main", "shared", "theirs");
    for name in ["A", "B"] {
        yard.push(name, name, name);
    }
    yard.world.sandbox.git(&yard.clone, &["checkout", "-q", "B"]);
    yard.world.sandbox.git(&yard.clone, &["reset", "-q", "--hard", "origin/main~1"]);
    yard.world.sandbox.commit_file(&yard.clone, "shared", "ours", "Write shared");
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "-f", "origin", "B"]);
    yard.world.ok(&yard.clone, &["submit", "--together", "--branch", "A", "--branch", "B"]);
    assert_eq!(done(&yard.tick()), ["eject A"]);
    assert!(
        reason_of(&yard, "A").contains("B conflicts with A in shared") || reason_of(&yard, "A").contains("B conflicts")
    );
    assert!(yard.started.is_empty(), "{:?}", yard.started);
}

/// A chain with one that fails in the middle: those behind it are judged without it.
#[test]
fn a_pair_behind_a_car_that_fails_is_tested_without_it_and_stays_together() {
    let mut yard = Yard::new("");
    yard.submit("A B");
    submit_together(&yard, "C D");
    yard.submit("E");
    yard.tick();
    assert_eq!(yard.started, ["A", "A B", "A B C D", "A B C D E"]);
    assert_eq!(yard.hear("pass", "A"), ["land A"]);
    assert_eq!(yard.hear("fail", "A B C D"), [""; 0], "B is undecided");
    assert_eq!(yard.hear("fail", "A B"), ["eject B"]);
    assert_eq!(yard.hear("pass", "A C D"), ["land C D"]);
    assert_eq!(yard.hear("pass", "A C D E"), ["land E"]);
    yard.end("A C D E", &["A", "A B", "A B C D", "A B C D E", "A B E", "A C D", "A C D E"], 2);
}

#[test]
fn a_car_ahead_that_fails_costs_a_pair_nothing() {
    let mut yard = Yard::new("");
    yard.submit("C");
    submit_together(&yard, "A B");
    yard.tick();
    assert_eq!(yard.hear("fail", "C"), ["eject C"]);
    yard.settle(|_| false);
    yard.end("A B", &["C", "A B C", "A B"], 1);
}

#[test]
fn more_than_the_window_holds_run_and_land_all_the_same() {
    let mut yard = Yard::new("window = 1\nwindow_min = 1\n");
    submit_together(&yard, "A B");
    yard.submit("C");
    yard.tick();
    assert_eq!(yard.started, ["A B"]);
    assert_eq!(yard.hear("pass", "A B"), ["land A B"]);
    yard.settle(|_| false);
    yard.end("A B C", &["A B", "A B C"], 0);
}

#[test]
fn a_new_commit_of_one_lands_with_the_others_all_the_same() {
    let mut yard = Yard::new("");
    submit_together(&yard, "A B");
    yard.tick();
    yard.push("B", "B2", "B2");
    yard.world.ok(&yard.clone, &["submit", "--branch", "B"]);
    yard.tick();
    yard.settle(|files| files.contains(&"B2"));
    yard.end("", &["A B", "A B2"], 1);
}

#[test]
fn who_lands_together_waits_for_nobody_who_waits_for_them() {
    let yard = Yard::new("");
    submit_together(&yard, "A B");
    yard.push("C", "C", "C");
    yard.world.ok(&yard.clone, &["submit", "--branch", "C", "--after", "A"]);
    let error = yard.world.ask(&yard.clone, &["submit", "--branch", "B", "--after", "C"]).error(129);
    assert!(error.to_string().contains("cars must not wait for each other"), "{error}");
    // Among themselves they may.
    yard.world.ok(&yard.clone, &["submit", "--branch", "B", "--after", "A"]);
    yard.world.ok(&yard.clone, &["submit", "--together", "--branch", "A", "--branch", "B"]);
}

#[test]
fn a_new_commit_keeps_what_was_wished_for_the_car() {
    let mut yard = Yard::new("");
    yard.submit("A");
    yard.push("B", "B", "B");
    yard.world.ok(&yard.clone, &["submit", "--branch", "B", "--after", "A", "--priority", "p0"]);
    yard.push("B", "B2", "B2");
    yard.world.ok(&yard.clone, &["submit", "--branch", "B"]);
    let car = yard.world.ok(&yard.clone, &["show", "B"])["car"].clone();
    assert_eq!((&car["priority"], &car["after"]), (&"p0".into(), &serde_json::json!(["A"])));
    yard.tick();
    assert_eq!(yard.started, ["A", "A B2"]);
    assert_eq!(yard.hear("fail", "A"), ["eject A"]);
    assert_eq!(yard.landed(), [""; 0], "it leaves with what it needs");
}

#[test]
fn where_one_is_not_there_none_is_submitted() {
    let yard = Yard::new("");
    yard.push("A", "A", "A");
    let args = ["submit", "--together", "--branch", "A", "--branch", "missing"];
    let error = yard.world.ask(&yard.clone, &args).error(1);
    assert_eq!(error["message"], "there is no branch missing to submit");
    assert_eq!(yard.world.ok(&yard.clone, &["merge-train", "status"])["cars"], Value::Array(Vec::new()));
}

#[test]
fn a_batch_is_not_halved_between_those_that_land_together() {
    let mut yard = Yard::new("strategy = \"batch\"\n");
    yard.submit("A");
    submit_together(&yard, "B C D");
    yard.tick();
    assert_eq!(yard.hear("fail", "A B C D"), [""; 0]);
    yard.settle(|files| files.contains(&"C"));
    yard.end("A", &["A B C D", "A", "A B C D"], 0);
}

#[test]
fn one_of_those_that_are_promoted_brings_the_others() {
    let mut yard = Yard::new("slots = 1\nbatch = 1\n");
    yard.submit("X");
    submit_together(&yard, "A B");
    let told = yard.world.run(&yard.clone, &["merge-train", "promote", "A"]).stdout;
    assert_eq!(told, "A goes first in the train for main, together with B\n");
    let told = yard.world.run(&yard.clone, &["merge-train", "promote", "B"]).stdout;
    assert_eq!(told, "B goes first already in the train for main, after A, which it needs\n");
    yard.tick();
    assert_eq!(yard.started, ["A B"]);
}

#[test]
fn company_has_to_be_meant() {
    let yard = Yard::new("");
    for args in [&["submit", "--branch", "A", "--branch", "B"][..], &["submit", "--together", "--branch", "A"]] {
        let error = yard.world.ask(&yard.clone, args).error(129);
        assert!(error["hint"].as_str().expect("a hint").contains("--together"), "{error}");
    }
}

/// A server that does not take a batch: who is to blame is found out, and the others land.
#[test]
fn of_a_batch_that_the_server_refuses_those_land_that_it_takes() {
    let mut yard = Yard::new("strategy = \"batch\"\n");
    let hook = "#!/bin/sh\nnew=$3\n[ \"$1\" = refs/heads/main ] || exit 0\n\
                ! git ls-tree -r --name-only \"$new\" | grep -qx C || { echo C is not wanted here; exit 1; }\n";
    write_hook(&yard.world.remote().bare().join("hooks/update"), hook);
    yard.submit("A B C D");
    yard.tick();
    yard.settle(|_| false);
    let mut landed = yard.landed();
    landed.sort();
    assert_eq!(landed, ["A", "B", "D"]);
    assert!(reason_of(&yard, "C").contains("C is not wanted here"), "{}", reason_of(&yard, "C"));
    assert!(yard.started.len() <= 6, "{:?}", yard.started);
}

/// A stack of claims: each from the worktree of its task.
#[test]
fn tasks_are_submitted_together_from_their_worktrees() {
    let world = World::with_config(RemoteKind::File, "[train]\ncheck = [\"true\"]\n").expect("a file remote");
    let clone = world.clone_with_board("yard");
    for id in ["1", "2"] {
        world.ok(&clone, &["add", "Work", "--id", id]);
        let claim = world.ok(&clone, &["claim", id, "--worktree"]);
        let worktree = crate::scrum::path(&claim["claims"][0]["worktree"]);
        world.commit(&worktree, &format!("file{id}"), id);
    }
    world.ok(&clone, &["submit", "--together", "1", "2"]);
    assert_eq!(done(&world.ok(&clone, &["merge-train"])), ["land 1 2"]);
    for id in ["1", "2"] {
        assert_eq!(world.ok(&clone, &["show", id])["task"]["state"], "landed");
    }
}
