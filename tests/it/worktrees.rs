//! Worktrees are made from the fresh target, and removing one loses nothing.

use std::fs;

use serde_json::json;

use crate::scrum::{World, path};

#[test]
fn a_worktree_starts_at_the_fresh_target_and_gets_the_configured_files() {
    let world = World::file();
    let (a, b) = (world.clone_with_board("a"), world.clone("b"));
    world.ok(&a, &["add", "One"]);
    fs::write(b.join(".env"), "KEY=value\n").expect("a write");
    // Somebody pushes to the target after this clone was made.
    world.sandbox.git(&a, &["checkout", "-q", "main"]);
    let fresh = world.commit(&a, "fresh", "new\n");
    world.sandbox.git(&a, &["push", "-q", "origin", "main"]);
    let worktree = path(&world.ok(&b, &["claim", "--worktree"])["claims"][0]["worktree"]);
    assert_eq!(world.sandbox.git(&worktree, &["rev-parse", "HEAD"]), fresh);
    assert_eq!(world.sandbox.git(&worktree, &["symbolic-ref", "--short", "HEAD"]), "ai-feature/issue-1");
    assert_eq!(fs::read_to_string(worktree.join(".env")).expect("a copy"), "KEY=value\n");
    let listed = world.ok(&b, &["worktree", "list"])["worktrees"].clone();
    assert_eq!((&listed[1]["task"], &listed[1]["fence"]), (&json!("1"), &json!(1)));
    // Asking again gives the same one.
    assert_eq!(path(&world.ok(&b, &["worktree", "add", "1"])["path"]), worktree);
    world.ask(&a, &["worktree", "add", "1"]).error(3);
}

#[test]
fn unfinished_work_is_saved_on_the_remote_before_a_worktree_goes() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    let worktree = path(&world.ok(&clone, &["claim", "--worktree"])["claims"][0]["worktree"]);
    let committed = world.commit(&worktree, "committed", "but not pushed\n");
    fs::write(worktree.join("readme"), "changed\n").expect("a write");
    fs::write(worktree.join("untracked"), "new\n").expect("a write");
    fs::write(worktree.join(".gitignore"), "ignored\n").expect("a write");
    fs::write(worktree.join("ignored"), "build output\n").expect("a write");
    let removed = world.ok(&clone, &["worktree", "remove", "1"])["removed"][0].clone();
    assert!(!worktree.exists());
    assert_eq!(removed["saved"]["ref"], "refs/scrum/wip/1-1");
    let saved = world.remote_ref("refs/scrum/wip/1-1");
    assert_eq!(removed["saved"]["commit"], saved);
    let bare = world.remote().bare();
    assert_eq!(world.sandbox.git(bare, &["rev-parse", &format!("{saved}^")]), committed);
    assert_eq!(world.sandbox.git(bare, &["show", &format!("{saved}:readme")]), "changed");
    assert_eq!(world.sandbox.git(bare, &["show", &format!("{saved}:untracked")]), "new");
    assert_ne!(world.sandbox.try_git(bare, &["show", &format!("{saved}:ignored")]).status.code(), Some(0));
    world.ask(&clone, &["worktree", "remove", "1"]).error(1);
}

#[test]
fn work_that_cannot_be_saved_is_not_removed() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    let worktree = path(&world.ok(&clone, &["claim", "--worktree"])["claims"][0]["worktree"]);
    fs::write(worktree.join("precious"), "work\n").expect("a write");
    fs::rename(world.remote().bare(), world.sandbox.path("elsewhere")).expect("a rename");
    let answer = world.ask(&clone, &["worktree", "remove", "1"]);
    assert_eq!(answer.exit, 128, "{answer:?}");
    assert_eq!(fs::read_to_string(worktree.join("precious")).expect("the work is still there"), "work\n");
}

#[test]
fn cleaning_removes_what_is_over_and_leaves_the_rest() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    for title in ["Landed", "Lost", "Live"] {
        world.ok(&clone, &["add", title]);
    }
    let mut worktrees = Vec::new();
    for _ in 0..3 {
        worktrees.push(path(&world.ok(&clone, &["claim", "--worktree"])["claims"][0]["worktree"]));
    }
    world.commit(&worktrees[0], "landed", "work\n");
    world.ok(&worktrees[0], &["submit"]);
    world.ok(&clone, &["merge-train"]);
    world.commit(&worktrees[1], "lost", "work\n");
    world.ok(&world.clone("b"), &["release", "2", "--force"]);
    let removed = world.ok(&clone, &["worktree", "clean"])["removed"].clone();
    assert_eq!((&removed[0]["task"], &removed[0]["saved"]), (&json!("1"), &json!(null)), "it is all on the remote");
    assert_eq!((&removed[1]["task"], &removed[1]["saved"]["ref"]), (&json!("2"), &json!("refs/scrum/wip/2-2")));
    assert_eq!([0, 1, 2].map(|index: usize| worktrees[index].exists()), [false, false, true]);
}

#[test]
fn uncommitted_changes_are_not_submitted_by_mistake() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    let worktree = path(&world.ok(&clone, &["claim", "--worktree"])["claims"][0]["worktree"]);
    let error = world.ask(&worktree, &["submit"]).error(1);
    assert!(error["message"].as_str().expect("words").contains("no commit of its own"), "{error}");
    world.commit(&worktree, "one", "work\n");
    fs::write(worktree.join("readme"), "forgotten\n").expect("a write");
    let error = world.ask(&worktree, &["submit"]).error(1);
    assert!(error["message"].as_str().expect("words").contains("readme"), "{error}");
    world.ok(&worktree, &["submit", "--leave-uncommitted"]);
}

#[test]
fn a_rewritten_branch_of_ones_own_is_submitted_and_somebody_elses_commits_are_kept() {
    let world = World::file();
    let (a, b) = (world.clone_with_board("a"), world.clone("b"));
    world.ok(&a, &["add", "One"]);
    let worktree = path(&world.ok(&a, &["claim", "--worktree"])["claims"][0]["worktree"]);
    world.commit(&worktree, "one", "work\n");
    world.ok(&worktree, &["submit"]);
    world.sandbox.git(&worktree, &["commit", "-q", "--amend", "-m", "Better words"]);
    assert_eq!(world.ok(&worktree, &["submit"])["again"], false);
    world.sandbox.git(&b, &["fetch", "-q"]);
    world.sandbox.git(&b, &["checkout", "-q", "ai-feature/issue-1"]);
    let theirs = world.commit(&b, "theirs", "help\n");
    world.sandbox.git(&b, &["push", "-q", "origin", "ai-feature/issue-1"]);
    world.commit(&worktree, "two", "work\n");
    let answer = world.ask(&worktree, &["submit"]);
    assert_ne!(answer.exit, 0, "{answer:?}");
    assert_eq!(world.remote_ref("refs/heads/ai-feature/issue-1"), theirs);
}
