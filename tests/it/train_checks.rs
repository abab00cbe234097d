//! Trains with several checks, each with a name of its own: run here, or reported from outside by that name.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use crate::scrum::{World, ended};
use crate::support::RemoteKind;
use crate::train::{Yard, done, reason};

const TWO: &str = "[train.checks.unit]\n[train.checks.lint]\n[train.checks.slow]\nrequired = false\n";

/// CI says something by the name of a check. Gives whether that was of any use.
fn report(yard: &Yard, verdict: &str, check: &str, commit: &str) -> bool {
    let said = yard.world.ok(&yard.clone, &["verdict", verdict, "--check", check, "--commit", commit]);
    said["applied"].as_bool().expect("a truth value")
}

fn commit_of(yard: &Yard, files: &str) -> String {
    let found = yard.in_test.iter().find(|(_, name)| *name == files);
    found.unwrap_or_else(|| panic!("{files} is not being tested")).0.clone()
}

/// A pass, after which these candidates are not waited for any more.
fn tick_without(yard: &mut Yard, decided: &[&String]) -> Value {
    yard.in_test.retain(|commit, _| !decided.contains(&commit));
    yard.tick()
}

#[test]
fn all_that_are_required_have_to_pass_and_others_are_only_noted() {
    let mut yard = Yard::new(TWO);
    yard.submit("A");
    yard.tick();
    let commit = commit_of(&yard, "A");
    assert!(report(&yard, "fail", "slow", &commit), "noted");
    assert!(report(&yard, "pass", "unit", &commit));
    assert_eq!(done(&yard.tick()), [""; 0], "lint has said nothing yet");
    assert!(!report(&yard, "fail", "unit", &commit), "what is decided stays");
    assert!(report(&yard, "pass", "lint", &commit));
    assert_eq!(done(&tick_without(&mut yard, &[&commit])), ["land A"]);
    assert!(!report(&yard, "fail", "lint", &commit), "too late");
    let shown = yard.world.ok(&yard.clone, &["show", "A"]);
    let checks = shown["check"]["checks"].as_array().expect("checks");
    let said: Vec<String> = checks.iter().map(|check| format!("{} {}", check["name"], check["verdict"])).collect();
    assert_eq!(said, ["\"slow\" \"fail\"", "\"unit\" \"pass\"", "\"lint\" \"pass\""]);
    assert_eq!(shown["check"]["verdict"], "pass");
    let bare = yard.world.remote().bare();
    let note = yard.world.sandbox.git(bare, &["notes", "--ref=scrum/verdicts", "show", &commit]);
    for line in ["Check: slow", "Check: unit", "Check: lint", "Verdict: fail", "Verdict: pass"] {
        assert!(note.contains(line), "{note}");
    }
}

#[test]
fn the_first_red_check_decides() {
    let mut yard = Yard::new(TWO);
    yard.submit("A B");
    yard.tick();
    let commit = commit_of(&yard, "A");
    assert!(report(&yard, "fail", "lint", &commit));
    assert_eq!(done(&tick_without(&mut yard, &[&commit])), ["eject A"]);
    assert!(!report(&yard, "pass", "unit", &commit), "nobody waits for it");
    let shown = yard.world.ok(&yard.clone, &["show", "A"]);
    assert_eq!(shown["check"]["checks"][0]["name"], "lint");
}

#[test]
fn a_check_that_came_to_nothing_is_run_again_and_the_others_count_still() {
    let mut yard = Yard::new(TWO);
    yard.submit("A");
    yard.tick();
    let commit = commit_of(&yard, "A");
    assert!(report(&yard, "pass", "unit", &commit));
    assert!(report(&yard, "inconclusive", "lint", &commit));
    tick_without(&mut yard, &[&commit]);
    assert_eq!(yard.started, ["A", "A"], "the same once more");
    assert!(!report(&yard, "pass", "unit", &commit), "known");
    assert!(report(&yard, "pass", "lint", &commit));
    assert_eq!(done(&tick_without(&mut yard, &[&commit])), ["land A"]);
}

#[test]
fn a_verdict_has_to_say_of_which_check_it_is() {
    let mut yard = Yard::new(TWO);
    yard.submit("A");
    yard.tick();
    let commit = commit_of(&yard, "A");
    for args in
        [&["verdict", "pass", "--commit", &commit][..], &["verdict", "pass", "--check", "e2e", "--commit", &commit]]
    {
        let error = yard.world.ask(&yard.clone, args).error(129);
        assert!(error["hint"].as_str().expect("a hint").contains("--check lint, or --check slow, or --check unit"));
    }
    assert_eq!(done(&yard.tick()), [""; 0]);
}

/// A clone in which the machine runs the checks, and a car for each of `names`, which adds a file of its name.
fn with_cars(settings: &str, names: &[&str]) -> (World, PathBuf) {
    let world = World::with_config(RemoteKind::File, &format!("[train]\n{settings}")).expect("a file remote");
    let clone = world.clone_with_board("yard");
    for name in names {
        world.sandbox.git(&clone, &["checkout", "-q", "-B", name, "origin/main"]);
        world.sandbox.commit_file(&clone, name, name, name);
        world.sandbox.git(&clone, &["push", "-q", "origin", name]);
        world.ok(&clone, &["submit", "--branch", name]);
    }
    (world, clone)
}

/// Where the machine runs the checks: one after the other, until one is red.
#[test]
fn checks_of_the_machine_are_run_until_one_is_red() {
    let mut settings = "ci = \"local\"\nbatch = 1\n".to_owned();
    for (name, script) in [("a-lint", "! ls | grep -q bad"), ("b-unit", "test -e good")] {
        settings.push_str(&format!("[train.checks.{name}]\nrun = [\"sh\", \"-c\", \"{script}\"]\n"));
    }
    let (world, clone) = with_cars(&settings, &["bad", "good"]);
    assert_eq!(done(&world.ok(&clone, &["merge-train"])), ["eject bad", "land good"]);
    let said = |car: &str| {
        let shown = world.ok(&clone, &["show", car]);
        let checks = shown["check"]["checks"].as_array().expect("checks").clone();
        checks.iter().map(|check| format!("{} {}", check["name"], check["verdict"])).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(said("bad"), "\"a-lint\" \"fail\"");
    assert_eq!(said("good"), "\"a-lint\" \"pass\" \"b-unit\" \"pass\"");
}

/// What lands may say how the next one is tested: in the same pass as well.
#[test]
fn whoever_is_behind_a_car_that_changes_the_settings_is_tested_by_the_new_ones() {
    let config = |check: &str| format!("[train]\nbatch = 1\ncheck = [\"sh\", \"-c\", \"{check}\"]\n");
    let world = crate::scrum::World::with_config(crate::support::RemoteKind::File, &config("true"));
    let world = world.expect("a file remote");
    let clone = world.clone_with_board("yard");
    let git = |args: &[&str]| world.sandbox.git(&clone, args);
    let strict = config("test ! -e bad");
    for (name, file, content) in [
        ("first", "first", "1"),
        ("strict", ".scrum.toml", strict.as_str()),
        ("bad", "bad", "1"),
        ("good", "good", "1"),
    ] {
        git(&["checkout", "-q", "-B", name, "origin/main"]);
        world.sandbox.commit_file(&clone, file, content, name);
        git(&["push", "-q", "origin", name]);
        world.ok(&clone, &["submit", "--branch", name]);
    }
    let pass = world.ok(&clone, &["merge-train", "--once"]);
    assert_eq!(done(&pass), ["land first", "land strict", "eject bad", "land good"], "{pass:#}");
    let states = |car: &serde_json::Value| format!("{} {}", car["id"], car["state"]);
    let cars: Vec<String> = pass["cars"].as_array().expect("cars").iter().map(states).collect();
    let expected = [r#""first" "landed""#, r#""strict" "landed""#, r#""bad" "ejected""#, r#""good" "landed""#];
    assert_eq!(cars, expected);
}

/// What was tested by other checks says nothing of these.
#[test]
fn what_passed_other_checks_is_tested_again() {
    let mut yard = Yard::new("[train.checks.unit]\n");
    yard.submit("A B");
    yard.tick();
    let (a, both) = (commit_of(&yard, "A"), commit_of(&yard, "A B"));
    assert!(report(&yard, "pass", "unit", &both));
    yard.in_test.remove(&both);
    let more = |args: &[&str]| {
        let mut command = yard.world.command(&yard.clone, args);
        command.env("SCRUM_TRAIN_CHECKS", "{ unit = {}, lint = {} }");
        crate::scrum::answer(&mut command).data()
    };
    let pass = more(&["merge-train", "--json"]);
    let started: Vec<&Value> = pass["actions"].as_array().expect("actions").iter().collect();
    assert!(
        started.iter().any(|action| action["kind"] == "start-run" && action["commit"] == both.as_str()),
        "{pass:#}"
    );
    for check in ["unit", "lint"] {
        let said = more(&["verdict", "pass", "--check", check, "--commit", &a, "--json"]);
        assert_eq!(said["applied"], true, "{check}");
    }
    assert_eq!(done(&more(&["merge-train", "--json"])), ["land A"]);
}

/// One that lands would stop everybody, in every clone; and no check has to notice.
#[test]
fn settings_that_could_not_be_read_do_not_land() {
    let (world, clone) = with_cars("check = [\"true\"]\n", &[]);
    let submit = |name: &str, text: &str| {
        world.sandbox.git(&clone, &["fetch", "-q"]);
        world.sandbox.git(&clone, &["checkout", "-q", "-B", name, "origin/main"]);
        world.sandbox.commit_file(&clone, ".scrum.toml", text, name);
        world.sandbox.git(&clone, &["push", "-q", "origin", name]);
        world.ok(&clone, &["submit", "--branch", name]);
    };
    submit("misspelt", "[train]\nchek = [\"true\"]\n");
    assert_eq!(done(&world.ok(&clone, &["merge-train"])), ["eject misspelt"]);
    submit("fine", "[train]\ncheck = [\"true\"]\nwindow = 5\n");
    assert_eq!(done(&world.ok(&clone, &["merge-train"])), ["land fine"]);
    let car = world.ok(&clone, &["show", "misspelt"]);
    let why = "it conflicts with main in .scrum.toml, which could not be read any more: .scrum.toml has the unknown key \
               train.chek (did you mean train.check?)";
    assert!(car.to_string().contains(why), "{car:#}");
    for (name, text, why) in [
        ("large", "#".repeat(300_000), "it has 300000 bytes, more than 262144"),
        ("broken", "[train\n".to_owned(), ".scrum.toml: "),
    ] {
        submit(name, &text);
        let shown = world.ok(&clone, &["merge-train", "--dry-run"])["actions"].to_string();
        assert!(shown.contains("eject") && shown.contains(why), "{shown}");
        assert_eq!(done(&world.ok(&clone, &["merge-train"])), [format!("eject {name}")]);
    }
    let landed = world.sandbox.git(world.remote().bare(), &["show", "main:.scrum.toml"]);
    assert!(landed.contains("window = 5"), "{landed}");
}

/// A server that a check has started and forgotten has its output still, and is in no group that could be killed.
#[test]
fn the_exit_code_of_a_check_decides_whatever_it_leaves_behind() {
    let script = "setsid sleep 40 & test ! -e bad";
    let settings = format!("timeout = \"15s\"\nbatch = 1\ncheck = [\"sh\", \"-c\", \"{script}\"]\n");
    let (world, clone) = with_cars(&settings, &["bad", "good"]);
    let begun = Instant::now();
    assert_eq!(done(&world.ok(&clone, &["merge-train"])), ["eject bad", "land good"]);
    assert!(begun.elapsed() < Duration::from_secs(35), "{:?}", begun.elapsed());
    let output = world.ok(&clone, &["show", "bad"])["check"]["output"].clone();
    assert!(!output.as_str().expect("text").contains("stopped after"), "{output}");
}

/// A named pipe in the home directory of a world.
fn pipe(world: &World, name: &str) -> PathBuf {
    let path = world.sandbox.path("home").join(name);
    assert!(world.sandbox.command("mkfifo").arg(&path).status().expect("mkfifo starts").success());
    path
}

/// A check that notes that it was run, tells whoever listens, and does not end before it is told to.
const HELD: &str = "echo run >> $HOME/ran; echo > $HOME/begun; read word < $HOME/go";

fn runs(world: &World) -> usize {
    fs::read_to_string(world.sandbox.path("home/ran")).expect("it was run").lines().count()
}

/// Scenario S23a, where the machines run the check themselves: it is recorded before it begins.
#[test]
fn many_passes_at_once_run_a_check_of_their_own_once() {
    let (world, clone) = with_cars(&format!("check = [\"sh\", \"-c\", \"{HELD}\"]\n"), &["A"]);
    let (begun, go) = (pipe(&world, "begun"), pipe(&world, "go"));
    let tests = world.start(&clone, &["merge-train"]);
    fs::read(&begun).expect("it begins");
    let others: Vec<PathBuf> = (0..9).map(|nth| world.clone(&format!("host{nth}"))).chain([clone]).collect();
    let passes: Vec<_> = others.iter().map(|clone| world.start(clone, &["merge-train"])).collect();
    for pass in passes {
        let waits = ended(pass).data();
        assert!(reason(&waits, "A").ends_with("is being tested"), "{waits:#}");
    }
    fs::write(&go, "go\n").expect("it waits");
    let pass = ended(tests).data();
    assert_eq!((done(&pass), runs(&world)), (vec!["land A".to_owned()], 1), "{pass:#}");
}

/// The same clone knows that its process is gone. Others wait as long as the check may take, and a while more.
#[test]
fn a_check_that_a_killed_pass_has_left_is_run_again() {
    let (world, clone) = with_cars(&format!("timeout = \"10m\"\ncheck = [\"sh\", \"-c\", \"{HELD}\"]\n"), &["A"]);
    let (begun, go) = (pipe(&world, "begun"), pipe(&world, "go"));
    let other = world.clone("other");
    let in_test = |clone: &Path| {
        let pass = world.start(clone, &["merge-train"]);
        fs::read(&begun).expect("it begins");
        pass
    };
    let kill = |mut pass: Child| {
        pass.kill().expect("it is there");
        pass.wait().expect("it is gone");
    };
    kill(in_test(&clone));
    assert!(reason(&world.ok(&other, &["merge-train"]), "A").ends_with("is being tested"));
    kill(in_test(&clone));
    let at = |secs: u64| {
        let then = SystemTime::now() + Duration::from_secs(secs);
        let secs = then.duration_since(SystemTime::UNIX_EPOCH).expect("later").as_secs();
        git_scrum::domain::Timestamp::from_secs(secs).to_string()
    };
    let waits = world.ask_at(&other, &at(640), &["merge-train"]).data();
    assert!(reason(&waits, "A").ends_with("is being tested"), "{waits:#}");
    let taken_over =
        world.command(&other, &["merge-train", "--json"]).env("SCRUM_NOW", at(670)).stdout(Stdio::piped()).spawn();
    fs::read(&begun).expect("it begins");
    fs::write(&go, "go\n").expect("it waits");
    let pass = ended(taken_over.expect("the program starts")).data();
    assert_eq!((done(&pass), runs(&world)), (vec!["land A".to_owned()], 3), "{pass:#}");
}

/// Whoever ends a pass ends the check that it runs, though that is in a group of its own; or else nobody would keep its
/// time.
#[test]
fn a_check_ends_with_the_pass_that_runs_it() {
    let script = "exec 3> $HOME/held; sleep 60; true";
    let (world, clone) = with_cars(&format!("check = [\"sh\", \"-c\", \"{script}\"]\n"), &["A"]);
    let held = pipe(&world, "held");
    for (how, signal) in [("kill -9", Signal::KILL), ("kill", Signal::TERM), ("Ctrl-C", Signal::INT)] {
        let mut pass = world.command(&clone, &["merge-train"]);
        pass.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let mut pass = pass.spawn().expect("the program starts");
        // Can be opened once the check has it open, and ends when nobody of the check has it any more.
        let mut held = File::open(&held).expect("a named pipe");
        let begun = Instant::now();
        let group = Pid::from_child(&pass);
        let ended = if signal == Signal::INT { kill_process_group(group, signal) } else { kill_process(group, signal) };
        ended.expect("the pass is there");
        held.read_to_end(&mut Vec::new()).expect("it can be read");
        assert!(begun.elapsed() < Duration::from_secs(30), "after {how} the check went on");
        assert_eq!(pass.wait().expect("it is gone").code(), None, "{how}");
    }
}
