//! What whoever claims a task is warned of: work under way that has changed its paths, as far as the clone has seen.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{no, worker, worktree};
use crate::scrum::{Answer, CONFIG, World, answer, texts};
use crate::support::RemoteKind;

/// A world in which nobody is told nothing because the machine is busy.
fn patient() -> World {
    let config = format!("{CONFIG}[tasks]\nwarn_within = \"5m\"\n");
    World::with_config(RemoteKind::File, &config).expect("a file remote can always be had")
}

/// A clone with the board, whose holder has a name, and with tasks `src` and `docs`, named like their paths.
fn onlooker(world: &World) -> PathBuf {
    let clone = world.clone_with_board("onlooker");
    world.sandbox.git(&clone, &["config", "scrum.holder", "holder-eve"]);
    for task in ["src", "docs"] {
        world.ok(&clone, &["add", "Something", "--id", task, "--path", &format!("{task}/**")]);
    }
    clone
}

/// The warnings of a claim, which is given back.
fn warnings(world: &World, clone: &Path, task: &str) -> Value {
    let warnings = world.ok(clone, &["claim", task])["warnings"].clone();
    world.ok(clone, &["release", task]);
    warnings
}

/// The tasks whose work is warned of, and the paths.
fn who(warnings: &Value) -> Vec<(Value, Vec<String>)> {
    let warnings = warnings.as_array().expect("a list").iter();
    warnings.map(|warning| (warning["work"]["task"].clone(), texts(&warning["paths"], None))).collect()
}

fn fetch(world: &World, clone: &Path) {
    world.sandbox.git(clone, &["fetch", "-q", "origin"]);
}

#[test]
fn whoever_claims_is_told_whose_work_has_changed_the_paths_of_the_task() {
    let world = patient();
    let eve = onlooker(&world);
    let one = worker(&world, "one", "src/a", "one\n");
    worker(&world, "two", "other/src", "two\n");
    assert_eq!(warnings(&world, &eve, "src"), json!([]), "this clone has not seen it");
    fetch(&world, &eve);
    assert_eq!(warnings(&world, &eve, "docs"), json!([]));
    let expected = json!([{
        "code": "work-under-way",
        "message": "ai-feature/issue-one (task one, by holder-one) has changed what src is to change: src/a",
        "hint": "git scrum conflicts",
        "task": "src",
        "work": {
            "branch": "ai-feature/issue-one", "task": "one", "fence": 1, "holder": "holder-one", "car": null,
            "saved": false,
        },
        "paths": ["src/a"],
        "collides_with": [],
    }]);
    let mut told = warnings(&world, &eve, "src");
    let fence = told[0]["work"]["fence"].take();
    told[0]["work"]["fence"] = json!(1);
    assert_eq!((told, fence.is_u64()), (expected, true));
    let shown = world.run(&eve, &["claim", "src"]);
    let line = "warning: ai-feature/issue-one (task one, by holder-one) has changed what src is to change: src/a\n";
    assert_eq!((shown.exit, shown.stderr), (0, format!("{line}hint: git scrum conflicts\n")));
    assert!(shown.stdout.starts_with("Claimed src,"), "{}", shown.stdout);
    world.ok(&eve, &["release", "src"]);
    // What is over is in nobody's way, and neither is one's own new branch.
    world.ok(&one, &["release", "one"]);
    assert_eq!(warnings(&world, &eve, "src"), json!([]));
}

#[test]
fn saved_work_and_cars_count_and_what_the_radar_saw_collide_is_said() {
    let world = patient();
    let eve = onlooker(&world);
    world.ok(&eve, &["add", "Something", "--id", "late", "--path", "readme"]);
    let one = worker(&world, "one", "readme", "one\n");
    worker(&world, "two", "readme", "two\n");
    // What is in no commit is saved when the worktree goes.
    fs::create_dir(worktree(&one, "one").join("src")).expect("a directory");
    fs::write(worktree(&one, "one").join("src/b"), "saved\n").expect("a write");
    world.ok(&one, &["worktree", "remove", "one"]);
    // A branch without a task becomes a car.
    world.sandbox.git(&one, &["checkout", "-q", "-b", "feature/x", "origin/main"]);
    world.commit(&one, "src/c", "car\n");
    world.sandbox.git(&one, &["push", "-q", "origin", "feature/x"]);
    world.ok(&one, &["submit", "--branch", "feature/x"]);

    no(&world.ask(&eve, &["conflicts"]));
    let near_src = warnings(&world, &eve, "src");
    assert_eq!(who(&near_src), [(Value::Null, vec!["src/c".to_owned()]), (json!("one"), vec!["src/b".to_owned()])]);
    assert_eq!(
        (&near_src[0]["work"]["car"], &near_src[0]["work"]["holder"]),
        (&json!("feature/x"), &json!("holder-one"))
    );
    assert_eq!([0, 1].map(|nth| near_src[nth]["work"]["saved"].clone()), [json!(false), json!(true)]);
    assert_eq!(near_src[1]["collides_with"], json!([]), "that was elsewhere");
    let near_late = warnings(&world, &eve, "late");
    let readme = || vec!["readme".to_owned()];
    assert_eq!(who(&near_late), [(json!("one"), readme()), (json!("two"), readme())]);
    assert_eq!(near_late[0]["collides_with"], json!(["ai-feature/issue-two"]));
    let message = near_late[1]["message"].as_str().expect("words");
    assert!(message.ends_with("readme; it collides there with ai-feature/issue-one"), "{message}");
    // What was added after it was submitted counts, too.
    world.commit(&one, "docs/d", "more\n");
    world.sandbox.git(&one, &["push", "-q", "origin", "feature/x"]);
    fetch(&world, &eve);
    assert_eq!(who(&warnings(&world, &eve, "docs")), [(Value::Null, vec!["docs/d".to_owned()])]);
}

/// Agents of one clone have pushed nothing yet.
#[test]
fn work_of_the_same_clone_is_seen_before_it_is_pushed() {
    let world = patient();
    let eve = onlooker(&world);
    world.ok(&eve, &["add", "Something", "--id", "one"]);
    let mut claim = world.command(&eve, &["claim", "one", "--worktree", "--json"]);
    answer(claim.env("SCRUM_HOLDER", "holder-one")).data();
    world.commit(&worktree(&eve, "one"), "src/a\n\u{1b}[31m", "one\n");
    let shown = world.run(&eve, &["claim", "src"]);
    assert!(shown.stderr.contains("(task one, by holder-one)") && shown.stderr.contains(": src/a\\n\\u{1b}[31m\n"));
    assert_eq!(shown.stderr.lines().count(), 2, "{}", shown.stderr);
    world.ok(&eve, &["release", "src"]);
    // When it moves, it is looked at again, and so it is when the target moves.
    world.commit(&worktree(&eve, "one"), "docs/b", "one\n");
    assert_eq!(who(&warnings(&world, &eve, "docs")), [(json!("one"), vec!["docs/b".to_owned()])]);
    world.sandbox.git(worktree(&eve, "one"), &["push", "-q", "origin", "HEAD:main"]);
    assert_eq!(warnings(&world, &eve, "docs"), json!([]), "it has landed");
}

/// A claim, and the git commands that it ran.
fn traced(world: &World, clone: &Path, task: &str, more: &[(&str, &str)]) -> (Answer, Vec<String>) {
    let trace = world.sandbox.path("trace");
    let _ = fs::remove_file(&trace);
    let mut command = world.command(clone, &["claim", task, "--json"]);
    let claimed = answer(command.env("GIT_TRACE", &trace).envs(more.iter().copied()));
    world.ok(clone, &["release", task]);
    let trace = fs::read_to_string(trace).expect("git has run");
    let verb = |line: &str| Some(line.split_once("built-in: git ")?.1.split(' ').next()?.to_owned());
    (claimed, trace.lines().filter_map(verb).collect())
}

#[test]
fn a_claim_that_warns_asks_nobody_and_looks_at_the_same_only_once() {
    let world = patient();
    let eve = onlooker(&world);
    worker(&world, "one", "src/a", "one\n");
    fetch(&world, &eve);
    // So that the board is current, as it is where nobody else writes.
    world.ok(&eve, &["list"]);
    let many = |ran: &[String], verb: &str| ran.iter().filter(|ran| *ran == verb).count();
    let (first, ran) = traced(&world, &eve, "src", &[]);
    assert_eq!(who(&first.data()["warnings"]).len(), 1);
    let counts = ["push", "fetch", "ls-remote", "merge-tree", "rev-list", "diff-tree"].map(|verb| many(&ran, verb));
    // A push looks by itself whether what it sends is whole.
    assert_eq!((counts[0], &counts[1..4], counts[5]), (1, &[0, 0, 0][..], 1), "{ran:?}");
    let (second, ran) = traced(&world, &eve, "src", &[]);
    assert_eq!((second.data()["warnings"].clone(), many(&ran, "diff-tree")), (first.data()["warnings"].clone(), 0));
    assert_eq!(many(&ran, "rev-list") + 1, counts[4], "{ran:?}");
    // A task that says nothing of its paths is near nothing.
    world.ok(&eve, &["add", "Something", "--id", "vague"]);
    assert_eq!(traced(&world, &eve, "vague", &[]).0.data()["warnings"], json!([]));
}

#[test]
fn it_can_be_switched_off() {
    let world = patient();
    let eve = onlooker(&world);
    worker(&world, "one", "src/a", "one\n");
    fetch(&world, &eve);
    let (claimed, ran) = traced(&world, &eve, "src", &[("SCRUM_TASKS_WARN_WITHIN", "0s")]);
    assert_eq!((&claimed.data()["warnings"], claimed.stderr.as_str()), (&json!([]), ""));
    assert!(!ran.contains(&"diff-tree".to_owned()), "{ran:?}");
    assert!(!eve.join(".git/scrum/radar-changes").exists());
    assert_eq!(who(&warnings(&world, &eve, "src")).len(), 1);
}

#[test]
fn nothing_that_is_wrong_with_what_is_remembered_or_seen_fails_a_claim() {
    let world = patient();
    let eve = onlooker(&world);
    worker(&world, "one", "src/a", "one\n");
    worker(&world, "two", "src/a", "two\n");
    no(&world.ask(&eve, &["conflicts"]));
    let whole = warnings(&world, &eve, "src");
    assert_eq!(whole[0]["collides_with"], json!(["ai-feature/issue-two"]));
    let state = eve.join(".git/scrum");
    let good = fs::read(state.join("radar-changes")).expect("it is remembered");
    for garbage in [&b""[..], b"\xff\xfe\x00", b"changes-1\n", b"radar-1\n\n", &good[..good.len() / 2]] {
        for file in ["radar", "radar-changes"] {
            fs::write(state.join(file), garbage).expect("a write");
        }
        assert_eq!(who(&warnings(&world, &eve, "src")), who(&whole), "{:?}", String::from_utf8_lossy(garbage));
    }
    for file in ["radar", "radar-changes"] {
        fs::remove_file(state.join(file)).expect("it is there");
        fs::create_dir(state.join(file)).expect("nobody can write a file there");
    }
    assert_eq!(who(&warnings(&world, &eve, "src")), who(&whole));
}

#[test]
fn a_git_that_fails_or_takes_too_long_is_not_waited_for_twice() {
    let world = patient();
    let eve = onlooker(&world);
    worker(&world, "one", "src/a", "one\n");
    fetch(&world, &eve);
    for (what, within) in [("exit 1", "5m"), ("echo; sleep 3600", "1s")] {
        let path = world.sandbox.path_where_git(&format!("*diff-tree*) {what} ;;"));
        let path = path.to_str().expect("a path in UTF-8");
        let _ = fs::remove_file(eve.join(".git/scrum/radar-changes"));
        let (claimed, _) = traced(&world, &eve, "src", &[("PATH", path), ("SCRUM_TASKS_WARN_WITHIN", within)]);
        assert_eq!(claimed.data()["warnings"], json!([]), "{what}");
        assert_eq!(warnings(&world, &eve, "src"), json!([]), "{what}: that is remembered");
    }
    world.commit(&worktree(&world.sandbox.path("of-one"), "one"), "src/b", "one\n");
    world.sandbox.git(worktree(&world.sandbox.path("of-one"), "one"), &["push", "-q", "origin", "HEAD"]);
    fetch(&world, &eve);
    assert_eq!(who(&warnings(&world, &eve, "src")).len(), 1, "until it moves");
}
