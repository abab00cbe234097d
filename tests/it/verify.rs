//! `git scrum log --verify`: every version of the board is what its operations give, and one that is not is named.

use std::path::Path;

use crate::scrum::World;

/// Writes, with plain git, a version that follows the board and holds `record` at `key`, and publishes it. Gives it.
pub fn tamper(world: &World, key: &str, change: impl Fn(&str) -> String) -> String {
    let bare = world.remote().bare();
    let git = |args: &[&str]| world.sandbox.git(bare, args);
    let board = "refs/scrum/board";
    let value = git(&["show", &format!("{board}:{key}")]);
    let file = world.sandbox.path("tampered");
    write(&file, &format!("{}\n", change(&value)));
    let blob = git(&["hash-object", "-w", &file.to_string_lossy()]);
    world.sandbox.git(bare, &["read-tree", board]);
    git(&["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{key}")]);
    let tree = git(&["write-tree"]);
    // The message of the tip: the version says that it applied what the one before did.
    let message = git(&["log", "-1", "--format=%B", board]);
    let version = git(&["commit-tree", &tree, "-p", board, "-m", &message]);
    git(&["update-ref", board, &version]);
    version
}

#[expect(clippy::disallowed_methods, reason = "tests write files")]
fn write(file: &Path, text: &str) {
    std::fs::write(file, text).expect("the sandbox is writable");
}

#[test]
fn a_board_with_every_kind_of_operation_is_what_its_operations_give() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    for args in [
        &["add", "One", "--path", "src/**", "--priority", "p1"][..],
        &["add", "Two", "--needs", "1"],
        &["add", "Three"],
        &["team", "add", "back", "--label", "x"],
        &["edit", "3", "--label", "x"],
        &["block", "3", "--reason", "later"],
        &["unblock", "3"],
        &["claim", "3", "--team", "back"],
        &["renew", "3"],
        &["release", "3"],
        &["lock", "docs/**"],
        &["unlock", "docs/**"],
        &["cancel", "3"],
        &["reopen", "3"],
        &["merge-train", "pause", "--reason", "lunch"],
        &["merge-train", "resume"],
        &["claim", "1"],
        &["done", "1"],
    ] {
        world.ok(&clone, args);
    }
    let worktree = crate::scrum::path(&world.ok(&clone, &["claim", "2", "--worktree"])["claims"][0]["worktree"]);
    world.commit(&worktree, "file", "work\n");
    world.ok(&worktree, &["submit"]);
    world.ok(&clone, &["merge-train"]);
    let versions = world.sandbox.git(world.remote().bare(), &["rev-list", "--count", "refs/scrum/board"]);
    let verified = world.ok(&world.clone("b"), &["log", "--verify"]);
    assert_eq!(verified["verified"].to_string(), versions);
}

#[test]
fn a_version_that_its_operations_do_not_give_is_named() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    world.ok(&clone, &["claim"]);
    let version = tamper(&world, "meta", |meta| meta.replace("fence = 1", "fence = 9"));
    // What comes after it is built on it and right.
    world.ok(&clone, &["add", "Two"]);
    let error = world.ask(&clone, &["log", "--verify"]).error(5);
    assert_eq!(error["version"], version.as_str(), "{error}");
}

#[test]
fn an_operation_that_the_rules_do_not_allow_is_named() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    let version = tamper(&world, "operations-0000", |record| record.replace("One", "Two"));
    let error = world.ask(&clone, &["log", "--verify"]).error(5);
    assert_eq!(error["version"], version.as_str(), "{error}");
}
