//! `git scrum merge-train simulate`: what a train recorded is read back as it was, and played again.

use serde_json::{Value, json};

use crate::scrum::{World, path};
use crate::train::Yard;

/// A time of the one day on which these trains run.
fn minute(minute: u32) -> String {
    format!("2026-01-02T{:02}:{:02}:00Z", 8 + minute / 60, minute % 60)
}

fn set_clock(yard: &mut Yard, minutes: u32) {
    yard.world.sandbox.set_env("SCRUM_NOW", minute(minutes));
}

/// Every ref of the remote and of the clone, with what is in its object store: nothing of it may change.
fn everything(yard: &Yard) -> String {
    let git = |args: &[&str]| yard.world.sandbox.git(&yard.clone, args);
    let remote = yard.world.sandbox.git(yard.world.remote().bare(), &["for-each-ref"]);
    [remote, git(&["for-each-ref"]), git(&["count-objects", "-v"]), git(&["status", "--porcelain"])].concat()
}

/// The settings of an answer that change these keys.
fn setting<'a>(answer: &'a Value, changes: &Value) -> &'a Value {
    let all = answer["settings"].as_array().expect("settings");
    all.iter().find(|setting| setting["changes"] == *changes).unwrap_or_else(|| panic!("no {changes}: {answer:#}"))
}

#[test]
fn a_train_that_was_recorded_is_played_again_as_it_was_and_under_other_settings() {
    let mut yard = Yard::new("strategy = \"serial\"\n");
    set_clock(&mut yard, 0);
    yard.submit("A B C D E F G H I J K");
    yard.push("away", "away", "away");
    yard.world.ok(&yard.clone, &["submit", "--branch", "away"]);
    yard.world.ok(&yard.clone, &["merge-train", "eject", "away"]);
    let simulate = ["merge-train", "simulate"];
    let thin = yard.world.ask(&yard.clone, &simulate).error(1);
    assert_eq!((&thin["code"], &thin["cars"]), (&json!("thin-record"), &json!(0)), "{thin:#}");
    assert!(thin["hint"].as_str().is_some_and(|hint| hint.contains("simulate --cars")), "{thin:#}");

    // Every run takes ten minutes. A task that is more urgent than all others comes in the middle of one.
    yard.tick();
    for end in [10, 20, 30, 45, 55, 65, 75, 85, 95, 105, 115, 125] {
        if end == 45 {
            set_clock(&mut yard, 35);
            yard.world.ok(&yard.clone, &["add", "X", "--id", "x", "--priority", "p0"]);
            let claim = yard.world.ok(&yard.clone, &["claim", "x", "--worktree"]);
            let worktree = path(&claim["claims"][0]["worktree"]);
            yard.world.commit(&worktree, "X", "X");
            yard.world.ok(&worktree, &["submit", "x"]);
            yard.tick();
        }
        set_clock(&mut yard, end);
        let name = yard.in_test.values().next().expect("a serial train tests one car at a time").clone();
        yard.hear(if name.contains('G') { "fail" } else { "pass" }, &name);
    }
    let started = [
        "A",
        "A B",
        "A B C",
        "A B C D",
        "A B C X",
        "A B C D X",
        "A B C D E X",
        "A B C D E F X",
        "A B C D E F G X",
        "A B C D E F H X",
        "A B C D E F H I X",
        "A B C D E F H I J X",
        "A B C D E F H I J K X",
    ];
    yard.end("A B C x D E F H I J K", &started, 1);

    let before = everything(&yard);
    let answer = yard.world.ok(&yard.clone, &simulate);
    let load = &answer["load"];
    assert_eq!((&load["cars"], &load["left_out"], &load["run_time_secs"]), (&json!(12), &json!(1), &json!(600)));
    assert_eq!((&load["since"], &load["until"]), (&json!(minute(0)), &json!(minute(35))));
    // Had the task's car waited for its turn, the last would have landed a quarter of an hour earlier.
    let as_it_was = json!({
        "landed": 11,
        "ejected": 1,
        "waiting": 0,
        "turnaround_secs": { "p50": 3900, "p95": 7500 },
        "runs": 13,
        "runs_per_landed": 1.18,
    });
    assert_eq!(answer["recorded"], as_it_was);
    let mut configured = as_it_was;
    configured["changes"] = json!({});
    assert_eq!(answer["settings"][0], configured, "the same settings make the same of it");
    let text = yard.world.run(&yard.clone, &simulate).stdout;
    let begins = "\
12 cars of the train for main, submitted from 2026-01-02T08:00:00Z to 2026-01-02T08:35:00Z; a run takes 10m.
1 more was not decided by the train, and is left out.

                           landed     left      P50      P95     runs    a car
as it was                      11        1     1h5m     2h5m       13     1.18
as configured                  11        1     1h5m     2h5m       13     1.18
strategy = \"speculative\"       11        1      10m      20m ";
    let ends = "Set strategy = \"batch\" under [train] in .scrum.toml: 95% of cars land within ";
    assert!(text.starts_with(begins) && text.contains(ends), "{text}");
    let speculative = setting(&answer, &json!({ "strategy": "speculative" }));
    assert_eq!(speculative["turnaround_secs"]["p95"], 1200, "those behind G are tested twice: {speculative:#}");
    assert_eq!(answer["recommendation"]["changes"], json!({ "strategy": "batch" }), "{answer:#}");
    assert_eq!(answer, yard.world.ok(&yard.clone, &simulate), "the same question has the same answer");
    let asked = ["--strategy", "speculative,batch", "--slots", "2,4"];
    let answer = yard.world.ok(&yard.clone, &[&simulate[..], &asked].concat());
    // A strategy of batches has one run at once, whatever the slots are.
    assert_eq!(answer["settings"].as_array().map(Vec::len), Some(4), "{answer:#}");
    setting(&answer, &json!({ "strategy": "speculative", "slots": 4 }));
    let last = yard.world.ok(&yard.clone, &[&simulate[..], &["--last", "10"]].concat());
    assert_eq!((&last["load"]["cars"], &last["load"]["since"]), (&json!(10), &json!(minute(0))));
    assert_eq!(everything(&yard), before, "a question changes nothing");
}

#[test]
fn a_load_that_is_described_needs_no_record_and_no_board() {
    let world = World::file();
    let clone = world.clone("somebody");
    let simulate = |more: &[&str]| {
        let load = ["merge-train", "simulate", "--cars", "40", "--rate", "2"];
        world.ok(&clone, &[&load[..], more].concat())
    };
    let rates = ["--conflict-rate", "0.002"];
    let answer = simulate(&rates);
    assert_eq!(answer["load"]["source"], "described");
    assert_eq!(answer["recorded"], Value::Null);
    let configured = &answer["settings"][0];
    let count = |key: &str| configured[key].as_u64().expect("a number");
    assert_eq!(count("landed") + count("ejected"), 400, "all cars of all draws are decided: {answer:#}");
    assert_eq!(answer, simulate(&rates), "the same seed has the same answer");
    assert_ne!(answer["settings"], simulate(&[&rates[..], &["--seed", "2"]].concat())["settings"]);
    let slow = simulate(&[&rates[..], &["--run-time", "20m"]].concat());
    let p50 = |answer: &Value| answer["settings"][0]["turnaround_secs"]["p50"].as_f64().expect("a number");
    assert!((p50(&slow) / p50(&answer) - 2.0).abs() < 0.01, "all takes twice as long: {slow:#}");
    let good = simulate(&["--failure-rate", "0"]);
    assert_eq!((&good["settings"][0]["landed"], &good["settings"][0]["ejected"]), (&json!(400), &json!(0)));
    assert!(!clone.join(".git/refs/scrum").exists(), "a question changes nothing");
}
