//! The merge train as users and CI systems see it: what is tested, how often, and what lands, for the stories that other
//! merge queues tell in their own tests.
//!
//! Every branch adds a file of its own name, unless the story says otherwise, so a candidate is called by the files it
//! has: `A B` is the target with A and B. Verdicts come from outside. After each story: what landed is what was tested,
//! nothing was tested twice, and another pass changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use crate::scrum::{World, ended, texts};
use crate::support::RemoteKind;

pub const EXTERNAL: &str = "[train]\nci = \"external\"\n";

/// A train with its CI system.
pub struct Yard {
    pub world: World,
    pub clone: PathBuf,
    /// Files that were there before.
    pub old: BTreeSet<String>,
    /// Candidates that are being tested, by object id, with the files they have.
    pub in_test: BTreeMap<String, String>,
    /// Candidates that were asked for, in order.
    pub started: Vec<String>,
    /// Candidates nobody waits for any more.
    pub cancelled: Vec<String>,
    /// Candidates that were found good.
    pub passed: BTreeSet<String>,
    /// The windows of the passes.
    pub windows: Vec<u64>,
}

impl Yard {
    pub fn new(settings: &str) -> Yard {
        let world = World::with_config(RemoteKind::File, &format!("{EXTERNAL}{settings}")).expect("a file remote");
        let clone = world.clone_with_board("yard");
        let old = world.landed_files().into_iter().collect();
        let (in_test, started, cancelled, passed, windows) = Default::default();
        Yard { world, clone, old, in_test, started, cancelled, passed, windows }
    }

    /// Submits branches, each with a file of its name, one after the other.
    pub fn submit(&self, names: &str) {
        for name in names.split_whitespace() {
            self.push(name, name, name);
            self.world.ok(&self.clone, &["submit", "--branch", name]);
        }
    }

    /// Pushes a branch whose commit writes `file`.
    pub fn push(&self, name: &str, file: &str, content: &str) {
        let sandbox = &self.world.sandbox;
        sandbox.git(&self.clone, &["fetch", "-q", "origin"]);
        sandbox.git(&self.clone, &["checkout", "-q", "-B", name, "origin/main"]);
        sandbox.commit_file(&self.clone, file, content, &format!("Write {file}"));
        sandbox.git(&self.clone, &["push", "-q", "-f", "origin", name]);
    }

    /// The files that a commit has more than the first one, as a name.
    pub fn name_of(&self, commit: &str) -> String {
        let listed = self.world.sandbox.git(self.world.remote().bare(), &["ls-tree", "-r", "--name-only", commit]);
        let new: Vec<&str> = listed.lines().filter(|file| !self.old.contains(*file)).collect();
        new.join(" ")
    }

    /// One pass. Gives its answer.
    pub fn tick(&mut self) -> Value {
        let pass = self.world.ok(&self.clone, &["merge-train"]);
        for action in pass["actions"].as_array().expect("actions") {
            let commit = action["commit"].as_str().unwrap_or_default().to_owned();
            match action["kind"].as_str().expect("a kind") {
                "start-run" => {
                    let name = self.name_of(&commit);
                    self.started.push(name.clone());
                    assert!(self.in_test.insert(commit, name).is_none(), "it is being tested: {action}");
                }
                "cancel-run" => self.cancelled.extend(self.in_test.remove(&commit)),
                _ => {}
            }
        }
        let runs: BTreeSet<String> = texts(&pass["runs"], Some("commit")).into_iter().collect();
        assert_eq!(runs, self.in_test.keys().cloned().collect(), "what the train waits for: {pass:#}");
        self.windows.push(pass["window"].as_u64().expect("a number"));
        pass
    }

    /// CI says something of the candidate with these files.
    pub fn say(&mut self, verdict: &str, files: &str) {
        let found = self.in_test.iter().find(|(_, name)| *name == files).map(|(commit, _)| commit.clone());
        let commit = found.unwrap_or_else(|| panic!("{files} is not being tested, but {:?}", self.in_test));
        let said = self.world.ok(&self.clone, &["verdict", verdict, "--commit", &commit]);
        assert_eq!(said["applied"], true, "{files}");
        self.in_test.remove(&commit);
        if verdict == "pass" {
            self.passed.insert(commit);
        }
    }

    /// The same, and a pass after it. Gives what that did to cars.
    pub fn hear(&mut self, verdict: &str, files: &str) -> Vec<String> {
        self.say(verdict, files);
        let pass = self.tick();
        done(&pass)
    }

    /// Lets CI answer whatever is being tested, oldest first, until nothing is: red where `red` says so of the files.
    pub fn settle(&mut self, red: impl Fn(&[&str]) -> bool) {
        while let Some(name) = self.started.iter().find(|name| self.in_test.values().any(|known| known == *name)) {
            let name = name.clone();
            let files: Vec<&str> = name.split(' ').collect();
            let verdict = if red(&files) { "fail" } else { "pass" };
            self.hear(verdict, &name);
        }
    }

    /// The branches that landed, in order.
    pub fn landed(&self) -> Vec<String> {
        let bare = self.world.remote().bare();
        let format = "--format=%(trailers:key=Scrum-Car,valueonly,separator=%x2C)";
        let log = self.world.sandbox.git(bare, &["log", "--first-parent", "--reverse", format, "main"]);
        let mut landed: Vec<String> = log.lines().filter(|name| !name.is_empty()).map(str::to_owned).collect();
        landed.dedup();
        landed
    }

    /// Ends a story: what landed, and what was tested for that.
    pub fn end(&mut self, landed: &str, started: &[&str], cancelled: usize) {
        assert_eq!(self.landed().join(" "), landed, "what landed");
        assert_eq!(self.started, started, "what was tested");
        assert_eq!(self.cancelled.len(), cancelled, "{:?}", self.cancelled);
        let refs = || self.world.sandbox.git(self.world.remote().bare(), &["for-each-ref"]);
        let before = refs();
        let answer = self.world.ok(&self.clone, &["merge-train"]);
        assert_eq!(before, refs(), "a pass without news changes something: {answer:#}");
        let tree = |commit: &str| {
            self.world.sandbox.git(self.world.remote().bare(), &["rev-parse", &format!("{commit}^{{tree}}")])
        };
        let tested = self.passed.iter().any(|passed| tree(passed) == tree("main"));
        assert!(landed.is_empty() || tested, "what is on the target was not tested");
    }
}

/// What a pass did to cars: `land A B`, `eject C`.
pub fn done(pass: &Value) -> Vec<String> {
    let actions = pass["actions"].as_array().expect("actions");
    let of = |action: &Value| match action["kind"].as_str().expect("a kind") {
        "land" => Some(format!("land {}", texts(&action["cars"], None).join(" "))),
        "eject" => Some(format!("eject {}", action["car"].as_str().expect("a car"))),
        _ => None,
    };
    actions.iter().filter_map(of).collect()
}

/// Why a car is where it is.
pub fn reason(pass: &Value, car: &str) -> String {
    let actions = pass["actions"].as_array().expect("actions");
    let of = actions.iter().find(|action| action["car"] == car).unwrap_or_else(|| panic!("nothing of {car}: {pass:#}"));
    of["reason"].as_str().expect("a reason").to_owned()
}

#[test]
fn all_are_tested_at_once_and_land_in_order() {
    let mut yard = Yard::new("");
    yard.submit("A B C");
    yard.tick();
    assert_eq!(yard.started, ["A", "A B", "A B C"]);
    assert_eq!(yard.hear("pass", "A"), ["land A"]);
    assert_eq!(yard.hear("pass", "A B"), ["land B"]);
    assert_eq!(yard.hear("pass", "A B C"), ["land C"]);
    yard.end("A B C", &["A", "A B", "A B C"], 0);
}

/// Candidates are built beside the repository: what nobody is asked to test is not kept in it.
#[test]
fn who_only_looks_leaves_nothing_in_the_repository() {
    let mut yard = Yard::new("slots = 2\nbatch = 1\n");
    yard.submit("A B C");
    let objects = || yard.world.sandbox.git(&yard.clone, &["count-objects", "-v"]);
    let before = objects();
    for args in [&["merge-train", "--dry-run"][..], &["merge-train", "status"]] {
        yard.world.ok(&yard.clone, args);
        assert_eq!(objects(), before, "{args:?}");
    }
    yard.tick();
    assert_eq!(yard.started, ["A", "A B"]);
    let fsck = |yard: &Yard| yard.world.sandbox.git(&yard.clone, &["fsck", "--connectivity-only", "--no-dangling"]);
    fsck(&yard);
    // As if the pass had been killed before all of a candidate was kept.
    let (commit, _) = yard.in_test.iter().find(|(_, files)| *files == "A B").expect("it is in test");
    let tree = yard.world.sandbox.git(&yard.clone, &["rev-parse", &format!("{commit}^{{tree}}")]);
    let (directory, file) = tree.split_at(2);
    std::fs::remove_file(yard.clone.join(".git/objects").join(directory).join(file)).expect("it is there");
    yard.say("pass", "A B");
    assert_eq!(yard.hear("pass", "A"), ["land A B"]);
    fsck(&yard);
    yard.world.sandbox.git(&yard.clone, &["cat-file", "-e", &tree]);
}

#[test]
fn verdicts_in_any_order_land_together_when_the_first_one_comes() {
    let mut yard = Yard::new("");
    yard.submit("A B C");
    yard.tick();
    assert_eq!(yard.hear("pass", "A B C"), [""; 0]);
    assert_eq!(yard.hear("pass", "A B"), [""; 0]);
    assert_eq!(yard.hear("pass", "A"), ["land A B C"]);
    yard.end("A B C", &["A", "A B", "A B C"], 0);
}

/// What is recorded of a line grows with it, not with its square.
#[test]
fn a_long_line_of_long_names_is_tested_all_at_once() {
    let mut yard = Yard::new("window = 100\nwindow_max = 100\n");
    let names: Vec<String> = (10..40).map(|car| format!("{car}-{}", "long".repeat(40))).collect();
    yard.submit(&names.join(" "));
    yard.tick();
    assert_eq!(yard.in_test.len(), names.len());
    assert_eq!(yard.hear("pass", &names[0]), [format!("land {}", names[0])]);
}

#[test]
fn a_failing_head_leaves_and_those_behind_it_begin_anew() {
    let mut yard = Yard::new("");
    yard.submit("A B C");
    yard.tick();
    assert_eq!(yard.hear("fail", "A"), ["eject A"]);
    yard.settle(|_| false);
    yard.end("B C", &["A", "A B", "A B C", "B", "B C"], 2);
    assert!(!yard.world.landed_files().contains(&"A".to_owned()));
}

#[test]
fn with_one_slot_nothing_is_begun_in_vain() {
    let mut yard = Yard::new("slots = 1\nbatch = 1\n");
    yard.submit("A B C");
    yard.tick();
    yard.settle(|files| files.contains(&"A"));
    yard.end("B C", &["A", "B", "B C"], 0);
}

/// What bors-ng tests in its own tests, and at most as often: a batch that fails is halved, and what is known is not
/// asked again, but of one car alone of which it was not known.
#[test]
fn a_batch_that_fails_is_halved() {
    let both = |files: &[&str]| files.contains(&"A") && files.contains(&"C");
    type Red<'a> = &'a dyn Fn(&[&str]) -> bool;
    let stories: [(&str, Red<'_>, &str, &[&str]); 7] = [
        ("A", &|files| files.contains(&"A"), "", &["A"]),
        ("A B", &|files| files.contains(&"B"), "A", &["A B", "A", "A B"]),
        ("A B", &|files| files.contains(&"A"), "B", &["A B", "A", "B"]),
        ("A B C D", &|_| false, "A B C D", &["A B C D"]),
        ("A B C D", &|files| files.contains(&"C"), "A B D", &["A B C D", "A B", "A B C", "A B D"]),
        ("A B C D", &both, "A B D", &["A B C D", "A B", "A B C", "A B D"]),
        ("A B C", &|files| files.contains(&"A"), "B C", &["A B C", "A", "B C"]),
    ];
    for (submitted, red, landed, tested) in stories {
        let mut yard = Yard::new("strategy = \"batch\"\n");
        yard.submit(submitted);
        yard.tick();
        yard.settle(red);
        yard.end(landed, tested, 0);
    }
}

/// Scenario S17: the first test of a batch fails for no reason.
#[test]
fn nobody_leaves_for_what_a_test_said_once_of_many_unless_that_is_wanted() {
    for (settings, landed, tested) in [
        ("", "A B C D", &["A B C D", "A B", "A B C", "A B C D"][..]),
        ("confirm = false\n", "A B C", &["A B C D", "A B", "A B C"]),
    ] {
        let mut yard = Yard::new(&format!("strategy = \"batch\"\n{settings}"));
        yard.submit("A B C D");
        yard.tick();
        assert_eq!(yard.hear("fail", "A B C D"), [""; 0]);
        yard.settle(|_| false);
        yard.end(landed, tested, 0);
    }
}

#[test]
fn the_very_commit_that_failed_is_tested_again_when_it_is_submitted_again() {
    let mut yard = Yard::new("");
    yard.submit("A");
    yard.tick();
    assert_eq!(yard.hear("fail", "A"), ["eject A"]);
    yard.world.ok(&yard.clone, &["submit", "--branch", "A"]);
    yard.tick();
    assert_eq!(yard.hear("pass", "A"), ["land A"]);
    yard.end("A", &["A", "A"], 0);
}

#[test]
fn what_was_said_too_long_ago_is_forgotten() {
    let mut yard = Yard::new("verdicts_kept = \"1s\"\n");
    yard.submit("A");
    yard.tick();
    yard.say("pass", "A");
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later").as_secs();
    let said = now();
    while now() <= said + 1 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    yard.tick();
    assert_eq!(yard.started, ["A", "A"]);
    assert_eq!(yard.hear("pass", "A"), ["land A"]);
}

/// Whoever is tested by itself keeps the order of the queue: who waits to be judged is not passed by.
#[test]
fn with_one_car_a_batch_nobody_lands_ahead_of_what_waits_to_be_judged() {
    let mut yard = Yard::new("batch = 1\n");
    yard.submit("A B C");
    yard.tick();
    assert_eq!(yard.hear("fail", "A B"), [""; 0]);
    assert_eq!(yard.hear("pass", "A C"), [""; 0]);
    assert_eq!(yard.hear("pass", "A"), ["land A", "eject B", "land C"]);
    yard.end("A C", &["A", "A B", "A B C", "A C"], 1);
}

#[test]
fn tests_that_come_to_nothing_are_counted_for_one_candidate() {
    let mut yard = Yard::new("batch = 1\n");
    yard.submit("A B");
    yard.tick();
    for _ in 0..3 {
        yard.hear("inconclusive", "A B");
    }
    assert_eq!(yard.hear("fail", "A"), ["eject A"], "nothing is known of B without A");
    assert_eq!(yard.hear("pass", "B"), ["land B"]);
}

#[test]
fn branches_of_candidates_go_with_their_cars() {
    let mut yard = Yard::new("");
    yard.submit("A B");
    yard.tick();
    let refs = |yard: &Yard| {
        let bare = yard.world.remote().bare();
        yard.world.sandbox.git(bare, &["for-each-ref", "--format=%(refname)", "refs/heads/scrum"])
    };
    assert_eq!(refs(&yard).lines().count(), 2);
    yard.say("fail", "A B");
    assert_eq!(yard.hear("pass", "A"), ["land A", "eject B"]);
    assert_eq!(refs(&yard), "");
    let clone = &yard.clone;
    let tracked = ["for-each-ref", "--format=%(refname)", "refs/scrum/remotes/origin/heads/scrum"];
    assert_eq!(yard.world.sandbox.git(clone, &tracked), "", "nothing makes the next pass look for them again");
}

#[test]
fn a_branch_in_the_way_of_candidates_is_named() {
    let yard = Yard::new("");
    yard.submit("A");
    yard.world.sandbox.git(yard.world.remote().bare(), &["branch", "scrum", "main"]);
    let error = yard.world.ask(&yard.clone, &["merge-train"]).error(1);
    let said = error.to_string();
    assert!(said.contains("another branch is in the way") && said.contains("called scrum"), "{said}");
}

#[test]
fn a_test_that_came_to_nothing_is_asked_for_by_another_push() {
    let mut yard = Yard::new("");
    let bare = yard.world.remote().bare().to_owned();
    yard.world.sandbox.git(&bare, &["config", "core.logAllRefUpdates", "always"]);
    write_hook(&bare.join("hooks/post-receive"), "#!/bin/sh\ncat >>pushed\n");
    yard.submit("A");
    yard.tick();
    yard.hear("inconclusive", "A");
    let pushed = std::fs::read_to_string(bare.join("pushed")).expect("it is noted");
    let of_candidate = pushed.lines().filter(|line| line.ends_with("refs/heads/scrum/train/main/1")).count();
    assert_eq!(of_candidate, 3, "set, removed, and set again: {pushed}");
}

#[test]
fn who_arrives_does_not_join_a_batch_that_is_halved() {
    let mut yard = Yard::new("strategy = \"batch\"\n");
    yard.submit("A B C D");
    yard.tick();
    yard.say("fail", "A B C D");
    yard.tick();
    yard.submit("E");
    yard.settle(|files| files.contains(&"C"));
    yard.end("A B D E", &["A B C D", "A B", "A B C", "A B D", "A B D E"], 0);
}

#[test]
fn a_batch_has_as_many_cars_as_is_said_and_equally_urgent_ones() {
    let mut yard = Yard::new("strategy = \"batch\"\nbatch = 2\n");
    yard.submit("A B C");
    yard.push("D", "D", "D");
    yard.world.ok(&yard.clone, &["submit", "--branch", "D", "--priority", "p0"]);
    yard.tick();
    yard.settle(|_| false);
    yard.end("D A B C", &["D", "A B D", "A B C D"], 0);
}

#[test]
fn in_strict_order_nobody_overtakes_a_batch_that_is_halved() {
    let mut yard = Yard::new("strategy = \"batch\"\nbatch = 2\norder = \"strict\"\n");
    yard.submit("A B C");
    yard.tick();
    yard.settle(|files| files.contains(&"A"));
    assert_eq!(yard.landed(), ["B", "C"]);
}

/// Where runs are scarce several batches are tested side by side, and all that is good lands.
#[test]
fn batches_are_tested_side_by_side_where_runs_are_scarce() {
    for bad in ["none", "E"] {
        let mut yard = Yard::new("slots = 2\n");
        let names = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L"];
        yard.submit(&names.join(" "));
        yard.tick();
        assert_eq!(yard.started, ["A B C D E", "A B C D E F G H I J"]);
        yard.settle(|files| files.contains(&bad));
        let mut landed = yard.landed();
        landed.sort();
        let good: Vec<&str> = names.into_iter().filter(|name| *name != bad).collect();
        assert_eq!(landed, good);
        if bad == "none" {
            assert_eq!(yard.started.len(), 3, "{:?}", yard.started);
        }
    }
}

#[test]
fn a_car_that_fails_in_the_middle_steps_aside_at_once() {
    let mut yard = Yard::new("");
    yard.submit("A B C");
    yard.tick();
    yard.say("fail", "A B");
    let pass = yard.tick();
    assert_eq!(done(&pass), [""; 0], "B may owe it to A");
    assert_eq!(yard.started.last().map(String::as_str), Some("A C"), "before A is decided");
    assert!(reason(&pass, "B").contains("with A ahead of it"), "{pass:#}");
    assert_eq!(yard.hear("pass", "A"), ["land A", "eject B"]);
    yard.settle(|_| false);
    yard.end("A C", &["A", "A B", "A B C", "A C"], 1);
}

#[test]
fn nobody_is_ejected_for_what_an_undecided_car_ahead_may_have_done() {
    let mut yard = Yard::new("");
    yard.submit("A B C");
    yard.tick();
    assert_eq!(yard.hear("fail", "A B C"), [""; 0]);
    assert_eq!(yard.hear("fail", "A B"), [""; 0]);
    assert_eq!(yard.hear("pass", "A"), ["land A", "eject B"]);
    yard.settle(|files| files.contains(&"A") && files.contains(&"B"));
    yard.end("A C", &["A", "A B", "A B C", "A C"], 0);
}

#[test]
fn a_bad_head_takes_nobody_with_it_whoever_was_heard_of_first() {
    let mut yard = Yard::new("");
    yard.submit("A B C");
    yard.tick();
    for files in ["A B C", "A B", "A"] {
        yard.hear("fail", files);
    }
    yard.settle(|files| files.contains(&"A"));
    yard.end("B C", &["A", "A B", "A B C", "A C", "B", "B C"], 1);

    let mut yard = Yard::new("");
    yard.submit("A B C");
    yard.tick();
    for files in ["A B C", "A B", "A"] {
        yard.say("fail", files);
    }
    yard.tick();
    yard.settle(|files| files.contains(&"A"));
    yard.end("B C", &["A", "A B", "A B C", "B", "B C"], 0);
}

#[test]
fn the_window_halves_with_a_failure_and_grows_with_every_landing() {
    let mut yard = Yard::new("window = 2\nwindow_min = 1\n");
    yard.submit("A B C");
    yard.tick();
    assert_eq!(yard.started, ["A", "A B"]);
    assert_eq!(yard.hear("fail", "A"), ["eject A"]);
    assert_eq!(yard.hear("pass", "B"), ["land B"]);
    assert_eq!(yard.hear("pass", "B C"), ["land C"]);
    assert_eq!(yard.windows, [2, 1, 2, 3]);
    yard.end("B C", &["A", "A B", "B", "B C"], 1);
}

#[test]
fn a_car_leaves_with_the_one_it_needs() {
    let mut yard = Yard::new("window = 2\nwindow_min = 1\n");
    yard.submit("A");
    yard.push("B", "B", "B");
    yard.world.ok(&yard.clone, &["submit", "--branch", "B", "--after", "A"]);
    yard.submit("C");
    yard.tick();
    yard.hear("fail", "A");
    yard.settle(|_| false);
    assert_eq!(yard.windows, [2, 1, 2]);
    yard.end("C", &["A", "A B", "C"], 1);
}

#[test]
fn a_window_made_smaller_takes_effect_with_the_next_pass() {
    let mut yard = Yard::new("window = 2\nwindow_min = 2\nwindow_max = 2\n");
    yard.submit("A B");
    yard.tick();
    for key in ["window", "window_min", "window_max"] {
        let key = format!("scrum.train.{}", key.replace('_', ""));
        yard.world.sandbox.git(&yard.clone, &["config", &key, "1"]);
    }
    yard.tick();
    assert_eq!(yard.cancelled, ["A B"]);
    yard.settle(|_| false);
    yard.end("A B", &["A", "A B", "A B"], 1);
}

#[test]
fn a_conflict_with_a_car_ahead_costs_no_test_and_is_named() {
    let mut yard = Yard::new("");
    yard.push("A", "same", "foo");
    yard.world.ok(&yard.clone, &["submit", "--branch", "A"]);
    yard.push("B", "same", "bar");
    yard.world.ok(&yard.clone, &["submit", "--branch", "B"]);
    yard.submit("C");
    let pass = yard.tick();
    assert_eq!(reason(&pass, "B"), "it conflicts with A in same");
    assert_eq!(yard.hear("pass", "same"), ["land A", "eject B"]);
    yard.settle(|_| false);
    yard.end("A C", &["same", "C same"], 0);
}

#[test]
fn whoever_conflicts_with_several_is_told_where_with_each() {
    let mut yard = Yard::new("");
    for (name, file) in [("A", "f"), ("B", "g"), ("D", "place/below")] {
        yard.push(name, file, name);
        yard.world.ok(&yard.clone, &["submit", "--branch", name]);
    }
    yard.push("C", "f", "C");
    yard.world.sandbox.commit_file(&yard.clone, "g", "C", "Write g");
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "origin", "C"]);
    yard.world.ok(&yard.clone, &["submit", "--branch", "C"]);
    yard.push("E", "place", "E");
    yard.world.ok(&yard.clone, &["submit", "--branch", "E"]);
    let pass = yard.tick();
    assert_eq!(reason(&pass, "C"), "it conflicts with A in f, with B in g");
    assert_eq!(reason(&pass, "E"), "it conflicts with D in place", "by the name that it has");
}

#[test]
fn a_conflict_with_a_car_that_fails_later_is_forgotten() {
    let mut yard = Yard::new("");
    yard.push("A", "same", "foo");
    yard.world.ok(&yard.clone, &["submit", "--branch", "A"]);
    yard.push("B", "same", "bar");
    yard.world.ok(&yard.clone, &["submit", "--branch", "B"]);
    yard.submit("C");
    yard.tick();
    assert_eq!(yard.hear("fail", "same"), ["eject A"]);
    yard.settle(|_| false);
    yard.end("B C", &["same", "C same", "same", "C same"], 1);
}

#[test]
fn a_car_taken_out_by_hand_costs_only_what_was_behind_it() {
    let mut yard = Yard::new("");
    yard.submit("one two zwei");
    yard.tick();
    yard.world.ok(&yard.clone, &["merge-train", "eject", "two"]);
    yard.in_test.retain(|_, name| name == "one");
    yard.tick();
    assert_eq!(yard.started[3..], ["one zwei"]);
    yard.world.ok(&yard.clone, &["merge-train", "eject", "one"]);
    yard.in_test.clear();
    yard.tick();
    assert_eq!(yard.world.ask(&yard.clone, &["merge-train", "eject", "one"]).error(1)["code"], "no-such-car");
    yard.settle(|_| false);
    yard.end("zwei", &["one", "one two", "one two zwei", "one zwei", "zwei"], 0);
}

#[test]
fn a_push_past_the_train_makes_every_candidate_stale() {
    let mut yard = Yard::new("");
    yard.submit("A B C");
    yard.tick();
    yard.push("outside", "X", "X");
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "origin", "outside:main"]);
    yard.tick();
    yard.settle(|_| false);
    yard.end("A B C", &["A", "A B", "A B C", "A X", "A B X", "A B C X"], 3);
}

#[test]
fn many_passes_at_once_ask_for_a_test_once() {
    let mut yard = Yard::new("");
    yard.submit("A");
    let clones: Vec<PathBuf> = (0..10).map(|nth| yard.world.clone(&format!("host{nth}"))).collect();
    let passes: Vec<_> = clones.iter().map(|clone| yard.world.start(clone, &["merge-train"])).collect();
    let mut starts = 0;
    for pass in passes {
        let answer = ended(pass).json();
        let actions = answer["data"]["actions"].as_array().unwrap_or_else(|| panic!("{answer:#}")).clone();
        starts += actions.iter().filter(|action| action["kind"] == "start-run").count();
    }
    assert_eq!(starts, 1);
    let train = yard.world.ok(&yard.clone, &["merge-train", "status"]);
    let commit = texts(&train["runs"], Some("commit")).pop().expect("a run");
    yard.started.push("A".to_owned());
    yard.in_test.insert(commit, "A".to_owned());
    assert_eq!(yard.hear("pass", "A"), ["land A"]);
    yard.end("A", &["A"], 0);
}

#[test]
fn what_is_submitted_twice_keeps_its_place() {
    let mut yard = Yard::new("");
    yard.submit("A B");
    yard.tick();
    let again = yard.world.ok(&yard.clone, &["submit", "--branch", "A"]);
    assert_eq!(again["position"], 1, "{again:#}");
    yard.tick();
    yard.settle(|_| false);
    yard.end("A B", &["A", "A B"], 0);
}

#[test]
fn a_refused_landing_of_many_costs_only_the_one_that_is_refused() {
    let mut yard = Yard::new("");
    yard.submit("A B C");
    let hook = "#!/bin/sh\nold=$2 new=$3\n[ \"$1\" = refs/heads/main ] || exit 0\n\
                ! git ls-tree -r --name-only \"$new\" | grep -qx A || { echo no A here; exit 1; }\n";
    let path = yard.world.remote().bare().join("hooks/update");
    write_hook(&path, hook);
    yard.tick();
    yard.say("pass", "A B C");
    yard.say("pass", "A B");
    yard.say("pass", "A");
    let pass = yard.tick();
    assert!(done(&pass).contains(&"eject A".to_owned()), "{pass:#}");
    yard.settle(|_| false);
    yard.end("B C", &["A", "A B", "A B C", "B", "B C"], 0);
}

#[expect(clippy::disallowed_methods, reason = "a hook of the server that this test plays")]
pub fn write_hook(path: &std::path::Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("the server's directory is writable");
    std::fs::write(path, text).expect("the server's directory is writable");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("it was just written");
}
