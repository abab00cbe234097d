//! `git scrum gc`: old history is folded, and nobody who works meanwhile notices.

use std::path::{Path, PathBuf};

use crate::scrum::{World, texts};
use crate::support::RemoteKind;
use crate::verify::tamper;

const BOARD: &str = "refs/scrum/board";

fn tasks(world: &World, clone: &Path) -> Vec<String> {
    texts(&world.ok(clone, &["list"])["tasks"], Some("id"))
}

/// A clone, and another that saw only the beginning of the board, which was folded since. Gives also what was replaced.
fn folded(kind: RemoteKind) -> Option<(World, PathBuf, PathBuf, String)> {
    let world = World::new(kind)?;
    let (a, b) = (world.clone_with_board("a"), world.clone("b"));
    world.ok(&a, &["add", "One"]);
    world.ok(&b, &["claim", "1"]);
    world.ok(&a, &["add", "Two"]);
    world.ok(&a, &["memory", "add", "A choice", "--kind", "decision"]);
    world.ok(&a, &["memory", "add", "Another", "--kind", "decision"]);
    let replaced = world.remote_ref(BOARD);
    let ledgers = world.ok(&a, &["gc", "--force"])["ledgers"].clone();
    assert_eq!(
        (&ledgers[0]["ref"], &ledgers[0]["replaced"], &ledgers[0]["kept"]),
        (&BOARD.into(), &4.into(), &4.into())
    );
    assert_eq!((&ledgers[1]["ref"], &ledgers[1]["replaced"]), (&"refs/scrum/memory".into(), &2.into()));
    assert_eq!((&ledgers[0]["from"], &ledgers[0]["to"]), (&replaced.clone().into(), &world.remote_ref(BOARD).into()));
    Some((world, a, b, replaced))
}

fn nobody_is_disturbed(kind: RemoteKind) {
    let Some((world, a, b, replaced)) = folded(kind) else { return };
    let git = |repo: &Path, args: &[&str]| world.sandbox.git(repo, args);
    // Whoever was there before goes on.
    world.ok(&b, &["renew", "1"]);
    world.ok(&a, &["add", "Three"]);
    assert_eq!(tasks(&world, &b), ["1", "2", "3"]);
    assert_eq!(world.ok(&b, &["memory", "list"])["entries"].as_array().expect("entries").len(), 2);
    // The log goes on through the checkpoint, and its versions can still be verified.
    let log = world.run(&b, &["log"]).stdout;
    for words in ["add 3 by", "renew 1 by", "checkpoint: replaces 4 versions up to", "add 2 by", "init for main by"] {
        assert!(log.contains(words), "{words}: {log}");
    }
    for clone in [&a, &b] {
        let verified = world.ok(clone, &["log", "--verify"]);
        let checkpoint = &verified["checkpoint"];
        assert_eq!((&verified["verified"], &checkpoint["compared"]), (&3.into(), &true.into()));
        assert_eq!(checkpoint["replaced"], replaced.as_str());
    }
    // A new clone has the board without its history, and can have that, too.
    let c = world.clone("c");
    assert_eq!(tasks(&world, &c), ["1", "2", "3"]);
    assert!(!world.sandbox.try_git(&c, &["cat-file", "-e", &replaced]).status.success(), "it was not downloaded");
    assert_eq!(git(&c, &["rev-list", "--count", "refs/scrum/remotes/origin/board"]), "3");
    assert_eq!(world.ok(&c, &["log", "--verify"])["checkpoint"]["compared"], true);
    git(&c, &["fetch", "-q", "origin", "refs/scrum/archive/*:refs/scrum/remotes/origin/archive/*"]);
    let archive = format!("refs/scrum/remotes/origin/archive/board-{replaced}");
    assert_eq!(git(&c, &["rev-list", "--count", &archive]), "4");
    // Nothing is left to do, for the doctor neither.
    world.ok(&c, &["doctor"]);
    let again = world.ok(&c, &["gc"]);
    assert_eq!((&again["ledgers"][0]["versions"], &again["ledgers"][0]["to"]), (&3.into(), &serde_json::Value::Null));
}

#[test]
fn nobody_is_disturbed_over_a_file_remote() {
    nobody_is_disturbed(RemoteKind::File);
}

#[test]
fn nobody_is_disturbed_over_http() {
    nobody_is_disturbed(RemoteKind::Http);
}

#[test]
fn what_is_forgotten_is_what_nobody_can_be_in_the_middle_of() {
    let (world, a, b, replaced) = folded(RemoteKind::File).expect("files can always be had");
    let archives =
        || world.sandbox.git(world.remote().bare(), &["for-each-ref", "--format=%(refname)", "refs/scrum/archive"]);
    let before = archives();
    assert_eq!(before.lines().count(), 2, "{before}");
    assert_eq!(world.ok(&a, &["gc", "--forget"])["forgotten"], serde_json::json!([]));
    assert_eq!(archives(), before);
    let forgotten = world.ask_at(&a, "2100-01-01T00:00:00Z", &["gc", "--forget"]).data()["forgotten"].clone();
    assert_eq!(texts(&forgotten, None), before.lines().collect::<Vec<_>>());
    assert_eq!(archives(), "");
    // Who has seen what the checkpoint names goes on; nobody can compare what is gone.
    world.ok(&b, &["renew", "1"]);
    let verified = world.ok(&world.clone("c"), &["log", "--verify"]);
    assert_eq!((&verified["checkpoint"]["compared"], &verified["verified"]), (&false.into(), &2.into()));
    assert_eq!(verified["checkpoint"]["replaced"], replaced.as_str());
}

#[test]
fn a_board_set_back_to_before_its_fold_is_noticed_and_restored() {
    let (world, a, b, replaced) = folded(RemoteKind::File).expect("files can always be had");
    let tip = world.remote_ref(BOARD);
    world.ok(&b, &["list"]);
    // As by a mirror of a clone that was elsewhere, with what somebody there has added to it.
    world.sandbox.git(world.remote().bare(), &["update-ref", BOARD, &replaced]);
    world.ask(&a, &["list"]).error(5);
    world.ask(&b, &["add", "Three"]).error(5);
    let findings = world.ask(&b, &["doctor"]);
    assert_eq!(findings.exit, 5);
    assert!(findings.stdout.contains("went back 1 version"), "{findings:?}");
    assert_eq!(world.ask(&b, &["doctor", "--restore"]).exit, 0);
    assert_eq!(world.remote_ref(BOARD), tip);
    assert_eq!(tasks(&world, &a), ["1", "2"]);
    // As by a mirror of a clone that never had any of it: with the board, what it replaced is gone, and comes back.
    world.sandbox.git(world.clone("c"), &["push", "-q", "--mirror", "origin"]);
    assert_eq!(world.ask(&b, &["doctor", "--restore"]).exit, 0);
    assert_eq!(world.remote_ref(BOARD), tip);
    assert_eq!(world.remote_ref(&format!("refs/scrum/archive/board-{replaced}")), replaced);
}

#[test]
fn a_checkpoint_that_was_tampered_with_is_named() {
    let (world, a, ..) = folded(RemoteKind::File).expect("files can always be had");
    let tampered = tamper(&world, "meta", |text| text.replace("fence = 1", "fence = 7"));
    // In the place of the checkpoint, not after it.
    let git = |args: &[&str]| world.sandbox.git(world.remote().bare(), args);
    let message = git(&["log", "-1", "--format=%B", &tampered]);
    let forged = git(&["commit-tree", &format!("{tampered}^{{tree}}"), "-m", &message]);
    git(&["update-ref", BOARD, &forged]);
    let c = world.clone("c");
    let error = world.ask(&c, &["log", "--verify"]).error(5);
    assert!(error["message"].as_str().expect("words").contains("does not hold what"), "{error}");
    world.ask(&a, &["list"]).error(5);
}
