//! The main job: several clones share one remote, claim, work, submit, and a pass lands the work.

use std::path::Path;

use serde_json::{Value, json};

use crate::scrum::{World, path, texts};
use crate::support::RemoteKind;

/// Claims a task, does some work on it and submits it. Gives the worktree.
fn claim_and_submit(world: &World, clone: &Path, id: &str, file: &str) -> std::path::PathBuf {
    let claimed = world.ok(clone, &["claim", id, "--worktree"]);
    let worktree = path(&claimed["claims"][0]["worktree"]);
    world.commit(&worktree, file, "work\n");
    world.ok(&worktree, &["submit"]);
    worktree
}

fn action_kinds(pass: &Value) -> Vec<String> {
    texts(&pass["actions"], Some("kind"))
}

fn state(world: &World, clone: &Path, id: &str) -> String {
    world.ok(clone, &["show", id])["task"]["state"].as_str().expect("a state").to_owned()
}

#[test]
fn three_clones_coordinate_over_every_kind_of_remote() {
    for kind in RemoteKind::ALL {
        let Some(world) = World::new(kind) else { continue };
        let (a, b, c) = (world.clone("a"), world.clone("b"), world.clone("c"));
        let init = world.ok(&a, &["init"]);
        assert_eq!((&init["created"], &init["target"]), (&json!(true), &json!("main")));
        world.ok(&a, &["add", "First", "--id", "one", "--priority", "p1", "--path", "src/**"]);
        world.ok(&a, &["add", "Second", "--id", "two", "--needs", "one"]);
        world.ok(&a, &["add", "Third", "--id", "three", "--priority", "p0", "--label", "backend"]);
        assert_eq!(texts(&world.ok(&a, &["list"])["tasks"], Some("id")), ["three", "one", "two"]);

        let first = world.ok(&b, &["claim", "--team", "a", "--worktree"])["claims"][0].clone();
        assert_eq!((&first["task"], &first["fence"], &first["team"]), (&json!("three"), &json!(1), &json!("a")));
        assert_eq!(first["branch"], "ai-feature/issue-three");
        let second = world.ok(&c, &["claim", "--team", "b", "--worktree"])["claims"][0].clone();
        assert_eq!((&second["task"], &second["fence"]), (&json!("one"), &json!(2)));

        for (claim, file) in [(&second, "src/one"), (&first, "three")] {
            let worktree = path(&claim["worktree"]);
            world.commit(&worktree, file, "work\n");
            world.ok(&worktree, &["submit"]);
        }
        let pass = world.ok(&a, &["merge-train", "--once"]);
        assert_eq!(action_kinds(&pass), ["start-run", "land", "start-run", "land"]);
        // The more urgent car lands first, although it was submitted second.
        assert_eq!(pass["actions"][1]["cars"], json!(["three"]));
        assert_eq!(world.landed_files(), [".scrum.toml", "readme", "src/one", "three"]);
        assert_eq!(pass["actions"][3]["to"], world.remote_ref("main"));
        assert_eq!(state(&world, &b, "one"), "landed");
        assert_eq!(state(&world, &b, "two"), "queued", "what it needed has landed");
        assert_eq!(world.ok(&b, &["locks"])["locks"], json!([]));

        let before = world.sandbox.git(world.remote().bare(), &["for-each-ref"]);
        let again = world.ok(&b, &["merge-train", "--once"]);
        assert_eq!(again["actions"], json!([]));
        let after = world.sandbox.git(world.remote().bare(), &["for-each-ref"]);
        assert_eq!(before, after, "a pass with nothing to do changes no ref");
    }
}

#[test]
fn one_clone_without_a_remote_does_the_same() {
    let (world, repo) = World::local();
    world.ok(&repo, &["init"]);
    for title in ["First", "Second"] {
        world.ok(&repo, &["add", title]);
    }
    let claims = world.ok(&repo, &["claim", "--count", "2", "--worktree"])["claims"].clone();
    for claim in claims.as_array().expect("claims") {
        let worktree = path(&claim["worktree"]);
        world.commit(&worktree, claim["task"].as_str().expect("an id"), "work\n");
        world.ok(&worktree, &["submit"]);
    }
    world.ok(&repo, &["merge-train"]);
    assert_eq!(world.sandbox.git(&repo, &["ls-tree", "--name-only", "main"]), ".scrum.toml\n1\n2");
    assert_eq!(world.sandbox.git(&repo, &["status", "--porcelain"]), "", "the checked-out target has moved along");
    assert!(repo.join("2").exists());
}

#[test]
fn a_checked_out_target_with_changes_is_left_alone() {
    let (world, repo) = World::local();
    world.ok(&repo, &["init"]);
    world.ok(&repo, &["add", "First"]);
    claim_and_submit(&world, &repo, "1", "one");
    std::fs::write(repo.join(".scrum.toml"), "# my own change\n").expect("a write");
    let main = world.sandbox.git(&repo, &["rev-parse", "main"]);
    let error = world.ask(&repo, &["merge-train"]).error(128);
    assert!(error["message"].as_str().expect("words").contains("uncommitted changes"), "{error}");
    assert_eq!(error["hint"], "commit or stash what has changed there, then run it again");
    assert_eq!(world.sandbox.git(&repo, &["rev-parse", "main"]), main);
    world.sandbox.git(&repo, &["checkout", "-q", ".scrum.toml"]);
    world.ok(&repo, &["merge-train"]);
    assert_eq!(state(&world, &repo, "1"), "landed");
    assert!(repo.join("one").exists());
}

#[test]
fn a_red_car_is_ejected_with_its_output_and_lands_after_rework() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "Risky"]);
    world.ok(&clone, &["add", "Fine"]);
    let worktree = claim_and_submit(&world, &clone, "1", "bad");
    claim_and_submit(&world, &clone, "2", "fine");
    let main = world.remote_ref("main");
    let pass = world.ok(&clone, &["merge-train"]);
    // Both together, and then each by itself.
    assert_eq!(action_kinds(&pass), ["start-run", "start-run", "eject", "start-run", "land"]);
    assert_eq!(world.landed_files(), [".scrum.toml", "fine", "readme"]);
    let red = world.ok(&clone, &["show", "1"])["task"].clone();
    assert_eq!((&red["state"], &red["failures"]), (&json!("claimed"), &json!(1)));
    assert_eq!((&red["car"]["state"], &red["check"]["verdict"]), (&json!("ejected"), &json!("fail")));
    assert_eq!(red["check"]["output"], "bad is here\n");
    let tested = red["check"]["commit"].as_str().expect("a commit");
    assert_eq!(world.sandbox.git(&clone, &["rev-parse", &format!("{tested}^1")]), main);

    world.sandbox.git(&worktree, &["rm", "-q", "bad"]);
    world.commit(&worktree, "good", "work\n");
    world.ok(&worktree, &["submit"]);
    world.ok(&clone, &["merge-train"]);
    assert_eq!(state(&world, &clone, "1"), "landed");
    let notes =
        world.sandbox.git(&clone, &["log", "-1", "--format=%N", "--notes=scrum/verdicts", &world.remote_ref("main")]);
    assert!(notes.starts_with("Verdict: pass\nTree: "), "{notes}");
}

#[test]
fn a_conflict_with_the_target_names_the_paths_and_costs_no_check() {
    let world = World::file();
    let (a, b) = (world.clone_with_board("a"), world.clone("b"));
    world.ok(&a, &["add", "One"]);
    world.ok(&a, &["add", "Two"]);
    let one = claim_and_submit(&world, &a, "1", "shared");
    let two = path(&world.ok(&b, &["claim", "2", "--worktree"])["claims"][0]["worktree"]);
    world.commit(&two, "shared", "another\n");
    world.ok(&two, &["submit"]);
    let pass = world.ok(&a, &["merge-train"]);
    assert_eq!(action_kinds(&pass), ["start-run", "land", "eject"]);
    let reason = pass["actions"][2]["reason"].as_str().expect("a reason");
    assert_eq!(reason, "it conflicts with main in shared");
    assert_eq!(world.sandbox.git(&one, &["rev-parse", "HEAD"]), world.remote_ref("refs/heads/ai-feature/issue-1"));
}

#[test]
fn a_branch_without_a_task_lands_and_a_moved_head_leaves() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    for branch in ["feature/x", "feature/y"] {
        world.sandbox.git(&clone, &["checkout", "-q", "-b", branch, "origin/main"]);
        world.commit(&clone, branch, "work\n");
        world.sandbox.git(&clone, &["push", "-q", "origin", branch]);
    }
    let x = world.ok(&clone, &["submit", "--branch", "feature/x"]);
    assert_eq!((&x["car"], &x["position"]), (&json!("feature/x"), &json!(1)));
    assert_eq!(world.ok(&clone, &["submit", "--branch", "feature/x"])["again"], true);
    world.ok(&clone, &["submit", "--branch", "feature/y", "--after", "feature/x"]);
    world.sandbox.git(&clone, &["checkout", "-q", "feature/x"]);
    world.commit(&clone, "more", "work\n");
    world.sandbox.git(&clone, &["push", "-q", "origin", "feature/x"]);
    let pass = world.ok(&clone, &["merge-train"]);
    assert_eq!(action_kinds(&pass), ["eject"], "the one that needs it leaves with it: {pass}");
    assert_eq!(texts(&pass["cars"], Some("state")), ["ejected", "ejected"]);

    world.ok(&clone, &["submit", "--branch", "feature/x"]);
    world.ok(&clone, &["submit", "--branch", "feature/y", "--after", "feature/x", "--priority", "p0"]);
    let pass = world.ok(&clone, &["merge-train"]);
    let landed: Vec<&Value> =
        pass["actions"].as_array().expect("actions").iter().filter(|a| a["kind"] == "land").collect();
    assert_eq!((landed.len(), &landed[0]["cars"]), (1, &json!(["feature/x", "feature/y"])));
    world.ask(&clone, &["submit", "--branch", "feature/x"]).error(1);
}

#[test]
fn verdicts_from_outside_are_asked_for_once_and_awaited() {
    let config = "[train]\nci = \"external\"\n";
    let world = World::with_config(RemoteKind::Http, config).expect("a remote");
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    claim_and_submit(&world, &clone, "1", "one");
    let pass = world.ok(&clone, &["merge-train"]);
    assert_eq!(action_kinds(&pass), ["start-run"]);
    let commit = pass["runs"][0]["commit"].as_str().expect("a commit").to_owned();
    assert_eq!(world.remote_ref("refs/heads/scrum/train/main/1"), commit, "CI can fetch the candidate");
    let refs = world.sandbox.git(world.remote().bare(), &["for-each-ref"]);
    assert_eq!(action_kinds(&world.ok(&clone, &["merge-train"])), ["wait"]);
    assert_eq!(world.sandbox.git(world.remote().bare(), &["for-each-ref"]), refs);

    let other = world.clone("ci");
    assert_eq!(world.ok(&other, &["verdict", "pass", "--commit", &"0".repeat(40)])["applied"], false);
    assert_eq!(world.ok(&other, &["verdict", "pass", "--commit", &commit])["applied"], true);
    assert_eq!(world.ok(&other, &["verdict", "fail", "--commit", &commit])["applied"], false);
    assert_eq!(action_kinds(&world.ok(&other, &["merge-train"])), ["land"]);
    assert_eq!(world.remote_ref("main"), commit, "what was tested is what landed");
}

#[test]
fn a_remote_without_atomic_pushes_lands_by_announcing_first() {
    let world = World::file();
    world.sandbox.git(world.remote().bare(), &["config", "receive.advertiseAtomic", "false"]);
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    world.ok(&clone, &["add", "Two"]);
    claim_and_submit(&world, &clone, "1", "one");
    claim_and_submit(&world, &clone, "2", "two");
    world.ok(&clone, &["merge-train"]);
    assert_eq!(world.landed_files(), [".scrum.toml", "one", "readme", "two"]);
    let lines = world.run(&clone, &["log"]).stdout;
    assert!(lines.contains("landing 1 2 on main") && lines.contains("land 1 2 on main"), "{lines}");
}

#[test]
fn what_a_protected_target_refuses_is_ejected_with_its_words() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    claim_and_submit(&world, &clone, "1", "one");
    let hook = world.remote().bare().join("hooks/update");
    std::fs::create_dir_all(hook.parent().expect("a directory")).expect("a directory");
    std::fs::write(&hook, "#!/bin/sh\n[ \"$1\" != refs/heads/main ] || { echo no landing on Fridays; exit 1; }\n")
        .expect("a hook");
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let pass = world.ok(&clone, &["merge-train"]);
    let reason = pass["actions"].as_array().expect("actions").last().expect("an action");
    assert_eq!(pass["cars"][0]["state"], "ejected", "{reason}");
    assert!(pass["cars"][0]["reason"].as_str().expect("a reason").contains("no landing on Fridays"), "{pass}");
    assert_eq!(state(&world, &clone, "1"), "claimed");
}

#[test]
fn pause_resume_eject_and_status() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    claim_and_submit(&world, &clone, "1", "one");
    assert_eq!(world.ok(&clone, &["merge-train", "pause", "--reason", "release"])["changed"], true);
    assert_eq!(action_kinds(&world.ok(&clone, &["merge-train"])), ["wait"]);
    assert_eq!(world.ok(&clone, &["merge-train", "status"])["paused"], "release");
    world.ok(&clone, &["merge-train", "resume"]);
    assert_eq!(action_kinds(&world.ok(&clone, &["merge-train", "--dry-run"])), ["start-run"]);
    assert_eq!(world.ok(&clone, &["merge-train", "eject", "1"])["ejected"], json!(["1"]));
    world.ask(&clone, &["merge-train", "eject", "1"]).error(1);
    assert_eq!(world.ok(&clone, &["merge-train", "status"])["cars"], json!([]));
    assert_eq!(state(&world, &clone, "1"), "claimed");
}

#[test]
fn a_check_that_hangs_or_is_missing_does_not_stop_the_train() {
    let config = "[train]\ncheck = [\"sh\", \"-c\", \"test ! -e slow || sleep 600\"]\ntimeout = \"1s\"\n";
    let world = World::with_config(RemoteKind::File, config).expect("a remote");
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    claim_and_submit(&world, &clone, "1", "slow");
    let pass = world.ok(&clone, &["merge-train"]);
    assert_eq!(action_kinds(&pass), ["start-run", "eject"]);
    let output = world.ok(&clone, &["show", "1"])["task"]["check"]["output"].clone();
    assert!(output.as_str().expect("words").contains("stopped after 1s"), "{output}");

    let config = "[train]\ncheck = [\"there-is-no-such-program\"]\n";
    let world = World::with_config(RemoteKind::File, config).expect("a remote");
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    claim_and_submit(&world, &clone, "1", "one");
    let pass = world.ok(&clone, &["merge-train"]);
    assert_eq!(action_kinds(&pass), ["start-run", "start-run", "start-run", "eject"]);
    assert_eq!(world.ok(&clone, &["show", "1"])["task"]["check"]["verdict"], "inconclusive");
    assert_eq!(world.sandbox.git(&clone, &["worktree", "list"]).lines().count(), 2, "scratch worktrees are gone");
}
