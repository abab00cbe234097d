//! Batches that lose a car, meet a conflict or a push past the train, and targets that share none.

use std::fs;

use crate::train::{Yard, done, reason};

#[test]
fn a_waiting_batch_goes_on_without_the_car_that_is_taken_out() {
    let mut yard = Yard::new("strategy = \"batch\"\n");
    yard.submit("A B");
    yard.world.ok(&yard.clone, &["merge-train", "eject", "A"]);
    yard.tick();
    yard.settle(|_| false);
    yard.end("B", &["B"], 0);
}

#[test]
fn a_batch_that_is_being_tested_begins_anew_without_the_car_that_is_taken_out() {
    let mut yard = Yard::new("strategy = \"batch\"\n");
    yard.submit("A B");
    yard.tick();
    yard.world.ok(&yard.clone, &["merge-train", "eject", "A"]);
    yard.in_test.clear();
    yard.tick();
    yard.settle(|_| false);
    yard.end("B", &["A B", "B"], 0);
}

/// Who is to be tested alone is in no batch, neither with those who were there nor with who arrives.
#[test]
fn a_single_car_is_in_no_batch_and_the_others_are_halved_without_it() {
    let mut yard = Yard::new("strategy = \"batch\"\n");
    let submit = |yard: &Yard, name: &str, single: &str| {
        yard.push(name, name, name);
        yard.world.ok(&yard.clone, &["submit", "--branch", name, single]);
    };
    submit(&yard, "A", "--single");
    yard.submit("B C D");
    yard.tick();
    yard.settle(|files| files.contains(&"C"));
    let tested = ["A", "A B C D", "A B", "A B C", "A B D"];
    yard.end("A B D", &tested, 0);

    let mut yard = Yard::new("strategy = \"batch\"\n");
    yard.submit("A");
    yard.tick();
    submit(&yard, "B", "--single");
    yard.submit("C D");
    submit(&yard, "D", "--single");
    // They think better of it.
    submit(&yard, "D", "--single=false");
    yard.settle(|_| false);
    yard.end("A B C D", &["A", "A B", "A B C D"], 0);
}

/// Somebody pushes while what passed is not yet landed: all of it is tested again, and nothing is halved for that.
#[test]
fn a_push_past_a_batch_that_passed_has_it_tested_again_as_a_whole() {
    let mut yard = Yard::new("strategy = \"batch\"\n");
    yard.submit("A B");
    yard.tick();
    yard.say("pass", "A B");
    yard.push("outside", "X", "X");
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "origin", "outside:main"]);
    assert_eq!(done(&yard.tick()), [""; 0]);
    yard.settle(|_| false);
    yard.end("A B", &["A B", "A B X"], 0);
}

/// What passed on the target as it is lands, whoever was put in line before it; and that the others failed on it is not
/// forgotten when it moves.
#[test]
fn what_passed_lands_at_once_and_what_failed_is_halved_all_the_same() {
    let mut yard = Yard::new("slots = 4\nbatch = 0\n");
    yard.submit("a b c d e f g h i j k l m n o p q r s t");
    yard.tick();
    let in_line = ["a b c d e", "a b c d e f g h i j", "a b c d e f g h i j k l m n o"];
    assert_eq!(yard.started, [&in_line[..], &["p q r s t"]].concat());
    in_line.iter().for_each(|files| yard.say("fail", files));
    assert_eq!(yard.hear("pass", "p q r s t"), ["land p q r s t"]);
    let tested: Vec<&str> = yard.in_test.values().map(|files| files.trim_end_matches(" p q r s t")).collect();
    assert!(tested.contains(&"a b") && tested.contains(&"c d e"), "{tested:?}");
    assert!(tested.iter().all(|files| !files.starts_with("a b c")), "what failed is not tested again: {tested:?}");
    yard.settle(|files| files.contains(&"a"));
    let mut landed = yard.landed();
    landed.sort();
    assert_eq!(landed.join(" "), "b c d e f g h i j k l m n o p q r s t");
}

/// Whoever does not merge, with the target or with others of its batch, stands behind them, and leaves without a test.
#[test]
fn a_conflict_costs_a_batch_no_test() {
    let mut yard = Yard::new("strategy = \"batch\"\n");
    yard.push("A", "A", "A");
    yard.push("B", "same", "foo");
    yard.push("C", "same", "bar");
    yard.push("D", "X", "ours");
    yard.push("outside", "X", "theirs");
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "origin", "outside:main"]);
    for name in ["A", "B", "C", "D"] {
        yard.world.ok(&yard.clone, &["submit", "--branch", name]);
    }
    yard.tick();
    assert_eq!(yard.started, ["A X same"]);
    let mut ended = yard.hear("pass", "A X same");
    ended.sort();
    assert_eq!(ended, ["eject C", "eject D", "land A B"]);
    assert_eq!(yard.started.len(), 1);
}

#[test]
fn cars_for_different_targets_share_no_batch() {
    let mut yard = Yard::new("strategy = \"batch\"\n");
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "origin", "origin/main:refs/heads/release"]);
    yard.submit("A");
    yard.push("B", "B", "B");
    yard.world.ok(&yard.clone, &["submit", "--branch", "B", "--target", "release"]);
    yard.tick();
    assert_eq!(yard.hear("pass", "A"), ["land A"]);
    let pass = yard.world.ok(&yard.clone, &["merge-train", "--target", "release"]);
    let commit = pass["runs"][0]["commit"].as_str().expect("a run").to_owned();
    assert_eq!(yard.name_of(&commit), "B", "it gets its own change only");
    yard.world.ok(&yard.clone, &["verdict", "pass", "--commit", &commit]);
    assert_eq!(done(&yard.world.ok(&yard.clone, &["merge-train", "--target", "release"])), ["land B"]);
}

#[test]
fn a_smaller_train_keeps_the_tests_that_are_still_in_it() {
    let mut yard = Yard::new("window = 5\nwindow_max = 5\n");
    yard.submit("A B C D E");
    yard.tick();
    assert_eq!(yard.hear("pass", "A"), ["land A"]);
    for key in ["window", "windowmin", "windowmax"] {
        yard.world.sandbox.git(&yard.clone, &["config", &format!("scrum.train.{key}"), "2"]);
    }
    let pass = yard.tick();
    assert_eq!(yard.cancelled, ["A B C D", "A B C D E"]);
    assert!(reason(&pass, "D").contains("behind the window of 2"), "{pass:#}");
    let mut waited_for: Vec<&String> = yard.in_test.values().collect();
    waited_for.sort();
    assert_eq!(waited_for, ["A B", "A B C"]);
}

/// A server that cannot be reached for a while costs a push, not a test.
#[test]
fn what_passed_lands_when_the_server_is_back_and_is_not_tested_again() {
    let mut yard = Yard::new("");
    yard.submit("A");
    yard.tick();
    yard.say("pass", "A");
    let bare = yard.world.remote().bare().to_owned();
    let away = bare.with_extension("away");
    fs::rename(&bare, &away).expect("the sandbox is ours");
    let error = yard.world.ask(&yard.clone, &["merge-train"]);
    assert_ne!(error.json()["error"]["code"], serde_json::Value::Null, "nobody answers");
    fs::rename(&away, &bare).expect("the sandbox is ours");
    assert_eq!(done(&yard.tick()), ["land A"]);
    yard.end("A", &["A"], 0);
}

/// Where runs are dear, a few are waited for before any is tested: not for ever, and not by what is most urgent.
#[test]
fn so_many_are_gathered_before_any_is_tested() {
    let settings = "gather = 3\ngather_wait = \"1h\"\n";
    let mut yard = Yard::new(settings);
    yard.submit("A B");
    let pass = yard.tick();
    assert!(reason(&pass, "A").contains("1 more are waited for until "), "{pass:#}");
    assert!(yard.started.is_empty());
    yard.submit("C");
    yard.tick();
    assert_eq!(yard.started, ["A", "A B", "A B C"]);
    // Those that are left go on.
    assert_eq!(yard.hear("pass", "A"), ["land A"]);
    yard.settle(|_| false);
    yard.end("A B C", &["A", "A B", "A B C"], 0);

    let mut yard = Yard::new(settings);
    yard.push("A", "A", "A");
    yard.world.ok(&yard.clone, &["submit", "--branch", "A", "--priority", "p0"]);
    yard.tick();
    assert_eq!(yard.started, ["A"]);

    let yard = Yard::new("gather = 3\ngather_wait = \"1s\"\n");
    yard.submit("A");
    let later = git_scrum::domain::Timestamp::from_secs(
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs() + 60,
    );
    let pass = yard.world.ask_at(&yard.clone, &later.to_string(), &["merge-train"]).data();
    assert_eq!(pass["actions"][0]["kind"], "start-run", "{pass:#}");
}
