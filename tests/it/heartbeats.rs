//! Heartbeats: a holder keeps what they hold by a ref of their host's own, and everybody who looks goes by it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::scrum::{Answer, World, answer, texts};

const BOARD: &str = "refs/scrum/board";

/// The heartbeats at the remote.
fn beats(world: &World) -> Vec<String> {
    let listed = world.sandbox.git(world.remote().bare(), &["for-each-ref", "--format=%(refname)", "refs/scrum/beats"]);
    listed.lines().map(str::to_owned).collect()
}

/// Runs the program as this holder, at this time of one day.
fn ask_as(world: &World, clone: &Path, holder: &str, time: &str, args: &[&str]) -> Answer {
    let mut command = world.command(clone, &[args, &["--json"]].concat());
    answer(command.env("SCRUM_HOLDER", holder).env("SCRUM_NOW", format!("2026-01-01T{time}Z")))
}

/// A world with a board made at ten o'clock, the clones of `ann` and `bob`, and these tasks.
fn world_of(tasks: &[&str]) -> (World, PathBuf, PathBuf) {
    let world = World::file();
    let (a, b) = (world.clone("a"), world.clone("b"));
    ask_as(&world, &a, "ann", "10:00:00", &["init"]).data();
    for task in tasks {
        ask_as(&world, &a, "ann", "10:00:00", &["add", "Do it", "--id", task]).data();
    }
    (world, a, b)
}

fn state_of(world: &World, clone: &Path, task: &str) -> String {
    let shown = world.ok(clone, &["show", task]);
    shown["task"]["state"].as_str().expect("a state").to_owned()
}

#[test]
fn whoever_only_sends_heartbeats_keeps_what_they_hold_until_these_stop() {
    let (world, a, b) = world_of(&["1"]);
    ask_as(&world, &a, "ann", "10:00:00", &["claim", "1", "--lease", "10m"]).data();
    ask_as(&world, &a, "ann", "10:00:00", &["lock", "docs", "--lease", "10m"]).data();
    let board = world.remote_ref(BOARD);
    let renewed = ask_as(&world, &a, "ann", "10:08:00", &["renew"]).data();
    let until = json!("2026-01-01T10:18:00Z");
    assert_eq!((&renewed["renewed"][0]["until"], &renewed["renewed"][1]["until"]), (&until, &until), "{renewed}");
    assert_eq!((texts(&renewed["renewed"][1]["patterns"], None), &renewed["lost"]), (vec!["docs".into()], &json!([])));
    assert_eq!(world.remote_ref(BOARD), board, "a heartbeat leaves the board alone");
    let [own] = &beats(&world)[..] else { panic!("one host has sent heartbeats: {:?}", beats(&world)) };
    let said = world.sandbox.git(world.remote().bare(), &["log", "--format=%B", own]);
    assert_eq!(said.trim_end(), "heartbeat 2\n\nScrum-Alive: 1 1767262080\nScrum-Alive: 2 1767262080");
    // Whatever else anybody leaves there says nothing.
    world.sandbox.git(&b, &["push", "-q", "origin", "origin/main:refs/scrum/beats/code", "HEAD:refs/scrum/beats/a-b"]);
    world.sandbox.git(&b, &["push", "-q", "origin", "HEAD^{tree}:refs/scrum/beats/tree"]);
    // By the board both leases ran out at 10:10.
    let held = ask_as(&world, &b, "bob", "10:18:05", &["claim", "1"]).error(3);
    assert_eq!((&held["holder"], &held["until"]), (&json!("ann"), &until));
    let locked = ask_as(&world, &b, "bob", "10:18:05", &["lock", "docs/a"]).error(3);
    assert_eq!((&locked["holder"], &locked["until"]), (&json!("ann"), &until));
    ask_as(&world, &b, "bob", "10:18:05", &["add", "Another", "--id", "2"]).data();
    assert_eq!(state_of(&world, &b, "1"), "claimed");
    // A second later any verb takes both back, not only one that wants them.
    ask_as(&world, &b, "bob", "10:18:06", &["edit", "2", "--title", "Other"]).data();
    assert_eq!(state_of(&world, &b, "1"), "queued");
    assert_eq!(ask_as(&world, &b, "bob", "10:18:06", &["locks"]).data()["locks"], json!([]));
    let log = world.ok(&b, &["log", "-n", "1"]);
    assert_eq!(log["entries"][0]["lines"], json!(["edit 2 by bob, expired 1"]));
    let verified = world.ask(&b, &["log", "--verify"]);
    assert_eq!(verified.exit, 0, "{verified:?}");
}

#[test]
fn whoever_lost_a_claim_is_told_who_has_it_once_and_the_others_are_kept() {
    let (world, a, b) = world_of(&["1", "2"]);
    ask_as(&world, &a, "ann", "10:00:00", &["claim", "1", "--lease", "10m"]).data();
    ask_as(&world, &a, "ann", "10:00:00", &["claim", "2", "--lease", "1h"]).data();
    ask_as(&world, &b, "bob", "10:11:00", &["claim", "1", "--lease", "10m"]).data();
    let told = ask_as(&world, &a, "ann", "10:12:00", &["renew"]);
    assert_eq!(told.exit, 3, "{told:?}");
    let data: Value = told.json()["data"].clone();
    let lost = json!([{ "task": "1", "fence": 1, "state": "claimed", "holder": "bob", "holder_fence": 3,
        "until": "2026-01-01T10:21:00Z" }]);
    assert_eq!(data["lost"], lost);
    assert_eq!((texts(&data["renewed"], Some("task")), beats(&world).len()), (vec!["2".to_owned()], 1));
    let next = ask_as(&world, &a, "ann", "10:13:00", &["renew"]).data();
    assert_eq!(next["lost"], json!([]), "what was told is known");
    assert_eq!(ask_as(&world, &b, "bob", "11:11:00", &["claim", "2"]).exit, 3, "kept by the heartbeat of 10:13");
    // Who gave a claim back has not lost it.
    ask_as(&world, &a, "ann", "10:14:00", &["release", "2"]).data();
    let nothing = ask_as(&world, &a, "ann", "10:15:00", &["renew"]).data();
    assert_eq!((&nothing["renewed"], &nothing["lost"]), (&json!([]), &json!([])));
    assert_eq!(beats(&world), [] as [&str; 0], "who holds nothing sends nothing");
}

#[test]
fn all_who_hold_something_in_one_clone_or_in_its_copy_are_heard() {
    let (world, a, b) = world_of(&["1", "2", "3"]);
    for (holder, task) in [("ann", "1"), ("abe", "2"), ("amy", "3")] {
        ask_as(&world, &a, holder, "10:00:00", &["claim", task, "--lease", "10m"]).data();
    }
    let copy = world.sandbox.path("copy");
    let copied = std::process::Command::new("cp").arg("-a").arg(&a).arg(&copy).status().expect("cp is there");
    assert!(copied.success());
    ask_as(&world, &a, "ann", "10:05:00", &["renew"]).data();
    ask_as(&world, &a, "abe", "10:06:00", &["renew"]).data();
    // It has the same name among the hosts, and has not seen what the other has sent.
    ask_as(&world, &copy, "amy", "10:07:00", &["renew"]).data();
    ask_as(&world, &a, "ann", "10:08:00", &["renew"]).data();
    assert_eq!(beats(&world).len(), 1);
    for (time, task) in [("10:18:05", "1"), ("10:16:05", "2"), ("10:17:05", "3")] {
        ask_as(&world, &b, "bob", time, &["claim", task]).error(3);
    }
    ask_as(&world, &b, "bob", "10:16:06", &["claim", "2"]).data();
}

#[test]
fn a_clone_that_is_its_own_truth_keeps_claims_by_heartbeats_too() {
    let (world, alone) = World::local();
    let ask = |holder: &str, time: &str, args: &[&str]| ask_as(&world, &alone, holder, time, args);
    ask("ann", "10:00:00", &["init", "--local"]).data();
    ask("ann", "10:00:00", &["add", "One"]).data();
    ask("ann", "10:00:00", &["claim", "1", "--lease", "10m"]).data();
    ask("ann", "10:08:00", &["renew"]).data();
    ask("bob", "10:15:00", &["claim", "1"]).error(3);
    ask("bob", "10:18:06", &["claim", "1"]).data();
    // Also where another holder of the same clone has it now.
    let lost = ask("ann", "10:19:00", &["renew"]);
    assert_eq!((lost.exit, &lost.json()["data"]["lost"][0]["holder"]), (3, &json!("bob")), "{lost:?}");
    assert_eq!(ask("ann", "10:20:00", &["renew"]).data()["lost"], json!([]));
    assert_eq!(texts(&ask("bob", "10:20:00", &["renew"]).data()["renewed"], Some("task")), ["1"]);
}

#[test]
fn a_server_that_takes_no_heartbeats_is_named() {
    let (world, a, _) = world_of(&["1"]);
    ask_as(&world, &a, "ann", "10:00:00", &["claim", "1"]).data();
    world.sandbox.git(world.remote().bare(), &["config", "receive.hideRefs", "refs/scrum/beats"]);
    let error = ask_as(&world, &a, "ann", "10:01:00", &["renew"]).error(8);
    assert!(error["ref"].as_str().expect("a ref").starts_with("refs/scrum/beats/"), "{error}");
    // What there is on the board is there all the same.
    ask_as(&world, &a, "ann", "10:02:00", &["renew", "1"]).data();
}

#[test]
fn nobody_asks_for_heartbeats_unless_something_has_run_out_by_all_that_was_heard() {
    let (world, a, b) = world_of(&["1"]);
    ask_as(&world, &a, "ann", "10:00:00", &["claim", "1", "--lease", "10m"]).data();
    ask_as(&world, &b, "bob", "10:00:00", &["list"]).data();
    ask_as(&world, &a, "ann", "10:08:00", &["renew"]).data();
    let trace = world.sandbox.path("trace");
    // How often git has fetched and pushed for one more task.
    let transfers = |time: &str, title: &str| {
        let mut command = world.command(&b, &["add", title, "--json"]);
        command.env("SCRUM_HOLDER", "bob").env("SCRUM_NOW", format!("2026-01-01T{time}Z")).env("GIT_TRACE", &trace);
        answer(&mut command).data();
        let said = std::fs::read_to_string(&trace).expect("git has left a trace");
        std::fs::remove_file(&trace).expect("the trace is ours");
        ["fetch", "push"].map(|verb| said.matches(&format!("built-in: git {verb} ")).count())
    };
    assert_eq!(transfers("10:10:05", "Before"), [0, 1]);
    assert_eq!(transfers("10:10:06", "By the board it has run out"), [1, 1]);
    assert_eq!(transfers("10:18:05", "It was heard of"), [0, 1]);
    assert_eq!(transfers("10:18:06", "That has run out, too"), [1, 1]);
    assert_eq!(transfers("10:18:07", "It is gone"), [0, 1]);
    assert_eq!(state_of(&world, &b, "1"), "queued");
}

#[test]
fn a_lease_that_others_let_run_out_unnoticed_is_looked_into_before_anybody_is_told_no() {
    let (world, a, b) = world_of(&["1"]);
    ask_as(&world, &b, "bob", "10:00:00", &["list"]).data();
    // Nothing that bob's clone has seen has run out: it looks again only when it is refused.
    ask_as(&world, &a, "ann", "10:00:00", &["claim", "1", "--lease", "1m"]).data();
    ask_as(&world, &a, "ann", "10:00:50", &["renew"]).data();
    ask_as(&world, &b, "bob", "10:01:55", &["claim", "1"]).error(3);
    let claimed = ask_as(&world, &b, "bob", "10:01:56", &["claim", "1"]).data();
    assert_eq!(claimed["claims"][0]["fence"], 2);
}

#[test]
fn heartbeats_of_hosts_that_hold_nothing_go() {
    let (world, a, b) = world_of(&["1", "2"]);
    ask_as(&world, &a, "ann", "10:00:00", &["claim", "1"]).data();
    ask_as(&world, &a, "ann", "10:00:00", &["renew"]).data();
    ask_as(&world, &a, "ann", "10:01:00", &["done", "1"]).data();
    ask_as(&world, &b, "bob", "10:02:00", &["claim", "2", "--lease", "2d"]).data();
    let theirs = beats(&world);
    let kinds = |answer: Answer| texts(&answer.json()["data"]["findings"], Some("kind"));
    let doctor = |time: &str, options: &[&str]| ask_as(&world, &b, "bob", time, &[&["doctor"], options].concat());
    assert!(!kinds(doctor("10:10:00", &[])).contains(&"heartbeat".to_owned()), "it may be about to claim again");
    assert!(kinds(doctor("10:11:00", &[])).contains(&"heartbeat".to_owned()));
    assert_eq!(beats(&world), theirs);
    let repaired = doctor("10:11:00", &["--repair"]);
    assert_eq!((repaired.exit, beats(&world)), (0, vec![]), "{repaired:?}");
    // A day later the next heartbeat of another host takes it along.
    ask_as(&world, &a, "ann", "10:12:00", &["add", "Three", "--id", "3"]).data();
    ask_as(&world, &a, "ann", "10:12:00", &["claim", "3"]).data();
    ask_as(&world, &a, "ann", "10:12:00", &["renew"]).data();
    ask_as(&world, &a, "ann", "10:13:00", &["done", "3"]).data();
    let day_later = |time: &str| {
        let mut command = world.command(&b, &["renew", "--json"]);
        answer(command.env("SCRUM_HOLDER", "bob").env("SCRUM_NOW", format!("2026-01-02T{time}Z"))).data()
    };
    day_later("10:12:00");
    assert_eq!(beats(&world).len(), 2);
    day_later("10:12:01");
    assert_eq!(beats(&world).iter().filter(|name| theirs.contains(name)).count(), 0, "{:?}", beats(&world));
    assert_eq!(beats(&world).len(), 1);
    // Gone, it is made anew by whoever comes back.
    ask_as(&world, &a, "ann", "10:14:00", &["add", "Four", "--id", "4"]).data();
    ask_as(&world, &a, "ann", "10:14:00", &["claim", "4"]).data();
    ask_as(&world, &a, "ann", "10:14:00", &["renew"]).data();
    assert_eq!(beats(&world).len(), 2);
}

#[test]
fn a_clock_that_is_far_off_is_noticed_and_named() {
    let (world, a, b) = world_of(&["1", "2"]);
    ask_as(&world, &a, "ann", "10:00:00", &["claim", "1", "--lease", "10m"]).data();
    let fine = ask_as(&world, &b, "bob", "09:59:55", &["add", "Three"]);
    assert_eq!((fine.exit, fine.stderr.as_str()), (0, ""));
    let behind = ask_as(&world, &b, "bob", "09:30:00", &["add", "Four"]);
    assert_eq!(behind.exit, 0, "{behind:?}");
    for words in ["warning: here it is 2026-01-01T09:30:00Z", "30m later", "\"claim 1 by ann, fence 1, lease 10m\""] {
        assert!(behind.stderr.contains(words), "{words:?} is not in {behind:?}");
    }
    assert_eq!(ask_as(&world, &b, "bob", "09:30:00", &["list"]).stderr, "", "reading does not depend on clocks");
    // A heartbeat from a clock that is ahead, seen by whoever looks for one.
    ask_as(&world, &a, "ann", "12:00:00", &["renew"]).data();
    let looked = ask_as(&world, &b, "bob", "10:11:00", &["claim", "1"]);
    assert!(looked.stderr.contains("the heartbeat of") && looked.stderr.contains("1h49m later"), "{looked:?}");
}

#[test]
fn status_says_what_was_spent() {
    let (world, a, _) = world_of(&["1"]);
    let pushes = || world.ok(&a, &["status"])["pushes"].clone();
    ask_as(&world, &a, "ann", "10:00:00", &["claim", "1"]).data();
    ask_as(&world, &a, "ann", "10:01:00", &["renew"]).data();
    let spent = json!({ "operations": 3, "pushes": 3, "per_operation": 1.0, "heartbeats": 1, "per_minute_max": null });
    assert_eq!(pushes(), spent);
    world.sandbox.git(&a, &["config", "scrum.hosts.pushesPerMinuteMax", "600"]);
    // Another clone that writes makes the next push of this one a lost race.
    ask_as(&world, &world.clone("c"), "cyd", "10:02:00", &["add", "Two"]).data();
    ask_as(&world, &a, "ann", "10:02:00", &["add", "Three"]).data();
    let spent = json!({ "operations": 4, "pushes": 5, "per_operation": 1.25, "heartbeats": 1, "per_minute_max": 600 });
    assert_eq!(pushes(), spent);
    std::fs::write(a.join(".git/scrum/spent"), [0xff; 4096]).expect("the clone is ours");
    world.ok(&a, &["memory", "add", "Greet", "--kind", "decision"]);
    assert_eq!((&pushes()["operations"], &pushes()["pushes"]), (&json!(1), &json!(1)));
}
