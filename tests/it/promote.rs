//! Branches above branches: work lands on the branch of a team, what has landed there goes on to the one above, each
//! with a train, checks and a rhythm of its own.

use std::path::PathBuf;

use crate::scrum::{World, path, texts};
use crate::support::RemoteKind;
use crate::train::done;

const LEVELS: &str = "[train]\ncheck = [\"true\"]\n\
    [trains.\"team/*\"]\ninto = \"integration\"\nevery = \"1d\"\n\
    [trains.integration]\ninto = \"main\"\n\
    [branches]\ntargets = [\"main\", \"integration\", \"team/*\"]\nteam = \"team/{team}\"\n";

/// A repository with the branches of two teams, one above them and main.
fn levels(config: &str) -> (World, PathBuf) {
    let world = World::with_config(RemoteKind::File, config).expect("a file remote");
    let clone = world.clone_with_board("a");
    for branch in ["integration", "team/alpha", "team/beta"] {
        world.sandbox.git(&clone, &["push", "-q", "origin", &format!("origin/main:refs/heads/{branch}")]);
    }
    (world, clone)
}

fn submit(world: &World, clone: &std::path::Path, name: &str, target: &str) {
    let git = |args: &[&str]| world.sandbox.git(clone, args);
    git(&["fetch", "-q", "origin"]);
    git(&["checkout", "-q", "-B", name, &format!("origin/{target}")]);
    world.sandbox.commit_file(clone, name, name, name);
    git(&["push", "-q", "origin", name]);
    world.ok(clone, &["submit", "--branch", name, "--target", target]);
}

fn files(world: &World, branch: &str) -> Vec<String> {
    let listed = world.sandbox.git(world.remote().bare(), &["ls-tree", "-r", "--name-only", branch]);
    listed.lines().map(str::to_owned).collect()
}

fn pass(world: &World, clone: &std::path::Path, target: &str) -> Vec<String> {
    done(&world.ok(clone, &["merge-train", "--target", target]))
}

#[test]
fn work_goes_up_from_branch_to_branch() {
    let (world, clone) = levels(LEVELS);
    submit(&world, &clone, "one", "team/alpha");
    assert_eq!(world.ok(&clone, &["promote"])["promotions"][0], serde_json::Value::Null, "nothing has landed yet");
    assert_eq!(pass(&world, &clone, "team/alpha"), ["land one"]);
    let promoted = world.ok(&clone, &["promote"]);
    assert_eq!(texts(&promoted["promotions"], Some("car")), ["promote/team/alpha"], "integration has no rhythm");
    assert_eq!(promoted["promotions"][0]["target"], "integration");

    // What lands below meanwhile neither changes what is on its way nor takes it out.
    submit(&world, &clone, "two", "team/alpha");
    assert_eq!(pass(&world, &clone, "team/alpha"), ["land two"]);
    assert_eq!(world.ok(&clone, &["promote", "team/alpha"])["promotions"][0]["again"], true);
    assert_eq!(pass(&world, &clone, "integration"), ["land promote/team/alpha"]);
    let integrated = files(&world, "integration");
    assert!(integrated.contains(&"one".to_owned()) && !integrated.contains(&"two".to_owned()), "{integrated:?}");

    let up = world.ok(&clone, &["promote", "integration"]);
    assert_eq!(up["promotions"][0]["target"], "main");
    assert_eq!(pass(&world, &clone, "main"), ["land promote/integration"]);
    assert!(files(&world, "main").contains(&"one".to_owned()));
}

#[test]
fn each_branch_is_promoted_in_its_own_rhythm() {
    let (world, clone) = levels(LEVELS);
    let at = |now: &str, args: &[&str]| world.ask_at(&clone, now, args).data();
    submit(&world, &clone, "one", "team/alpha");
    pass(&world, &clone, "team/alpha");
    let now: u64 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let hours = |hours: u64| git_scrum::domain::Timestamp::from_secs(now + hours * 3600).to_string();
    assert_eq!(at(&hours(0), &["promote"])["promotions"].as_array().expect("a list").len(), 1);
    assert_eq!(pass(&world, &clone, "integration"), ["land promote/team/alpha"]);
    submit(&world, &clone, "two", "team/alpha");
    pass(&world, &clone, "team/alpha");
    assert_eq!(at(&hours(20), &["promote"])["promotions"].as_array().expect("a list").len(), 0, "too early");
    assert_eq!(at(&hours(25), &["promote"])["promotions"].as_array().expect("a list").len(), 1);
}

#[test]
fn one_branch_that_cannot_be_promoted_does_not_keep_the_others() {
    let config = "[train]\ncheck = [\"true\"]\n[trains.main]\nmethod = \"squash\"\n\
        [trains.a]\ninto = \"nowhere\"\nevery = \"1h\"\n[trains.b]\ninto = \"forbidden\"\nevery = \"1h\"\n\
        [trains.c]\ninto = \"main\"\nevery = \"1s\"\n[trains.d]\ninto = \"main\"\nevery = \"1s\"\n\
        [trains.gone]\ninto = \"main\"\nevery = \"1h\"\n\
        [branches]\ntargets = [\"main\", \"nowhere\", \"gone\", \"{a,b,c,d}\"]\n";
    let world = World::with_config(RemoteKind::File, config).expect("a file remote");
    let clone = world.clone_with_board("a");
    for branch in ["a", "b", "c", "d", "gone", "forbidden"] {
        world.sandbox.git(&clone, &["push", "-q", "origin", &format!("origin/main:refs/heads/{branch}")]);
    }
    for branch in ["a", "b", "c", "gone"] {
        submit(&world, &clone, &format!("for-{branch}"), branch);
        pass(&world, &clone, branch);
    }
    world.sandbox.git(&clone, &["push", "-q", "origin", ":gone"]);
    world.ok(&clone, &["promote", "c"]);
    // It lands there as another commit: nothing of it is in main, and nothing is left to promote.
    assert_eq!(pass(&world, &clone, "main"), ["land promote/c"]);
    submit(&world, &clone, "for-d", "d");
    pass(&world, &clone, "d");
    let later = git_scrum::domain::Timestamp::from_secs(
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs() + 60,
    );
    let answer = world.ask_at(&clone, &later.to_string(), &["promote"]);
    assert_eq!(answer.exit, 1, "{answer:?}");
    let data = answer.json()["data"].clone();
    assert_eq!(texts(&data["promotions"], Some("car")), ["promote/d"]);
    assert_eq!(texts(&data["passed_over"], Some("branch")), ["a", "b"]);
    assert_eq!(texts(&data["passed_over"], Some("code")), ["impossible", "forbidden-target"]);
    let told = world.run(&clone, &["promote", "b", "c", "d"]);
    assert_eq!(told.exit, 8, "{told:?}");
    let lines: Vec<&str> = told.stdout.lines().map(|line| line.split(": ").next().expect("words")).collect();
    assert_eq!(lines, ["b is passed over", "c is passed over", "promote/d is in the train already for main"]);
    assert_eq!(world.ask(&clone, &["promote", "a"]).error(1)["code"], "impossible");
    assert_eq!(world.ask(&clone, &["promote", "c"]).error(1)["code"], "impossible");
}

#[test]
fn each_train_has_checks_of_its_own() {
    let (world, clone) = levels(&format!("{LEVELS}[trains.main]\ncheck = [\"sh\", \"-c\", \"test ! -e one\"]\n"));
    submit(&world, &clone, "one", "integration");
    assert_eq!(pass(&world, &clone, "integration"), ["land one"]);
    world.ok(&clone, &["promote", "integration"]);
    assert_eq!(pass(&world, &clone, "main"), ["eject promote/integration"]);
}

#[test]
fn work_lands_only_where_it_may() {
    let (world, clone) = levels(LEVELS);
    world.sandbox.git(&clone, &["push", "-q", "origin", "origin/main:refs/heads/elsewhere"]);
    world.sandbox.git(&clone, &["push", "-q", "origin", "origin/main:refs/heads/work"]);
    let error = world.ask(&clone, &["submit", "--branch", "work", "--target", "elsewhere"]).error(8);
    assert_eq!(error["code"], "forbidden-target");
    assert!(error["message"].as_str().expect("words").contains("main, integration, team/*"), "{error}");
    let error = world.ask(&clone, &["promote", "main"]).error(1);
    assert_eq!(error["code"], "no-branch-above");
}

#[test]
fn where_work_may_land_no_more_it_waits_and_is_not_forgotten() {
    let (world, clone) = levels(&LEVELS.replace("check = [\"true\"]", "ci = \"external\""));
    let runs = || {
        let pass = world.ok(&clone, &["merge-train", "--target", "team/alpha"]);
        let reasons = pass["actions"].as_array().expect("a list").iter().filter_map(|action| action["reason"].as_str());
        (pass["runs"].as_array().expect("a list").len(), reasons.map(str::to_owned).collect::<Vec<_>>())
    };
    for name in ["one", "two"] {
        submit(&world, &clone, name, "team/alpha");
    }
    assert_eq!(runs(), (2, vec![]));
    world.sandbox.git(&clone, &["config", "scrum.branches.targets", r#"["main"]"#]);
    let why = "work must not land on team/alpha, but on main (branches.targets in .scrum.toml)";
    assert_eq!(runs(), (0, vec![why.to_owned(); 2]));
    assert_eq!(runs(), (0, vec![why.to_owned(); 2]), "nothing is left to give up");
    world.sandbox.git(&clone, &["config", "--unset", "scrum.branches.targets"]);
    let pass = world.ok(&clone, &["merge-train", "--target", "team/alpha"]);
    assert_eq!(texts(&pass["cars"], Some("branch")), ["one", "two"]);
    assert_eq!(pass["runs"].as_array().expect("a list").len(), 2);
}

#[test]
fn a_branch_does_not_let_itself_be_landed_on() {
    let (world, clone) = levels("[train]\ncheck = [\"true\"]\n");
    submit(&world, &clone, "one", "integration");
    assert_eq!(pass(&world, &clone, "integration"), ["land one"]);
    submit(&world, &clone, "two", "integration");
    // From here on work lands on main, as main says; what the other branch has in its file says nothing of it.
    let git = |args: &[&str]| world.sandbox.git(&clone, args);
    git(&["checkout", "-q", "-B", "settings", "origin/main"]);
    let config = "[train]\ncheck = [\"true\"]\n[branches]\ntargets = [\"main\"]\n";
    world.sandbox.commit_file(&clone, ".scrum.toml", config, "Land on main only");
    git(&["push", "-q", "origin", "settings:main"]);
    // It has been told by nobody.
    git(&["update-ref", "-d", "refs/remotes/origin/main"]);
    let why = "work must not land on integration, but on main (branches.targets in .scrum.toml)";
    let waits = world.ok(&clone, &["merge-train", "--target", "integration"]);
    assert_eq!(texts(&waits["actions"], Some("reason")), [why]);
    for refused in
        [&["revert", "one", "--target", "integration"][..], &["submit", "--branch", "two", "--target", "integration"]]
    {
        let error = world.ask(&clone, refused).error(8);
        assert_eq!((&error["code"], &error["message"]), (&"forbidden-target".into(), &why.into()));
    }
}

#[test]
fn the_work_of_a_team_begins_on_its_branch_and_lands_there() {
    let (world, clone) = levels(LEVELS);
    submit(&world, &clone, "one", "team/alpha");
    pass(&world, &clone, "team/alpha");
    world.ok(&clone, &["team", "add", "alpha"]);
    world.ok(&clone, &["add", "Work", "--id", "1"]);
    let claim = world.ok(&clone, &["claim", "1", "--team", "alpha", "--worktree"]);
    let worktree = path(&claim["claims"][0]["worktree"]);
    assert!(worktree.join("one").exists(), "it begins with what the team has");
    world.commit(&worktree, "two", "two\n");
    assert_eq!(world.ok(&worktree, &["submit", "1"])["target"], "team/alpha");
    assert_eq!(pass(&world, &clone, "team/alpha"), ["land 1"]);
    assert_eq!(world.ok(&clone, &["show", "1"])["task"]["state"], "landed");
}

#[test]
fn what_makes_no_sense_is_said_where_it_is_configured() {
    for (config, says) in [
        ("[trains.\"team/*\"]\ninto = \"team/all\"\n", "team/all would feed itself"),
        ("[trains.x]\ninto = \"y\"\n[trains.y]\ninto = \"x\"\n", "y feeds x feeds y: what is promoted would go round"),
        (
            "[trains.\"team/*\"]\ninto = \"dev\"\n[trains.dev]\ninto = \"main\"\n[trains.main]\ninto = \"team/a\"\n",
            "main feeds team/a feeds dev feeds main",
        ),
        ("[trains.\"team/*\"]\nchek = [\"true\"]\n", "unknown key chek (did you mean check?)"),
        ("[trains.main]\nevery = \"sometimes\"\n", "\"sometimes\" is not a length of time"),
        ("[trains.main]\nwindow = \"big\"\n", "trains for main"),
    ] {
        let world = World::with_config(RemoteKind::File, config).expect("a file remote");
        let clone = world.clone("a");
        let error = world.ask(&clone, &["merge-train"]).error(128);
        assert!(error["message"].as_str().expect("words").contains(says), "{error}");
    }
}
