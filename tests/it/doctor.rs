//! `git scrum doctor`: each thing that it finds is made for real, and repaired for real.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::scrum::World;

const BOARD: &str = "refs/scrum/board";

/// What `doctor` with these options found, with this exit code.
#[track_caller]
fn doctor(world: &World, clone: &Path, options: &[&str], exit: i32) -> Vec<Value> {
    let answer = world.ask(clone, &[&["doctor"], options].concat());
    assert_eq!(answer.exit, exit, "{answer:?}");
    answer.json()["data"]["findings"].as_array().expect("findings").clone()
}

/// The findings of one check.
fn of_kind(findings: &[Value], kind: &str) -> Vec<Value> {
    findings.iter().filter(|finding| finding["kind"] == kind).cloned().collect()
}

/// The one finding of a check.
#[track_caller]
fn the(findings: &[Value], kind: &str) -> Value {
    let found = of_kind(findings, kind);
    assert_eq!(found.len(), 1, "{kind}: {findings:#?}");
    found[0].clone()
}

#[track_caller]
fn says(finding: &Value, words: &[&str]) {
    let what = finding["what"].as_str().expect("words");
    for word in words {
        assert!(what.contains(word), "{word:?} is not in {what:?}");
    }
}

/// Two clones with a board of three versions, which both have seen, and the remote's board at the second of them, by a
/// push that nothing on a server forbids.
fn rewound() -> (World, PathBuf, PathBuf) {
    let world = World::file();
    let (a, b) = (world.clone_with_board("a"), world.clone("b"));
    world.ok(&a, &["add", "One"]);
    let second = world.remote_ref(BOARD);
    world.ok(&a, &["add", "Two"]);
    world.ok(&b, &["list"]);
    let from = world.clone("from");
    world.sandbox.git(&from, &["fetch", "-q", "origin", BOARD]);
    world.sandbox.git(&from, &["push", "-q", "--force", "origin", &format!("{second}:{BOARD}")]);
    (world, a, b)
}

#[test]
fn a_sound_repository_has_nothing_wrong_with_it_and_nothing_is_changed() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    world.ok(&clone, &["memory", "add", "A choice", "--kind", "decision"]);
    let refs = || [world.remote().bare(), &clone].map(|repo| world.sandbox.git(repo, &["for-each-ref"]));
    let before = refs();
    let findings = doctor(&world, &clone, &["--repair", "--restore"], 0);
    assert!(findings.iter().all(|finding| finding["severity"] == "ok"), "{findings:#?}");
    assert_eq!(refs(), before);
    let (world, alone) = World::local();
    world.ok(&alone, &["init"]);
    doctor(&world, &alone, &[], 0);
}

#[test]
fn a_board_that_went_back_is_explained_and_restored_from_what_a_clone_has_seen() {
    let (world, a, b) = rewound();
    let tip = world.sandbox.git(&a, &["rev-parse", "refs/scrum/remotes/origin/board"]);
    let error = world.ask(&a, &["list"]).error(5);
    assert_eq!(error["hint"], "nothing was changed; git scrum doctor says what happened and can restore it");
    let finding = the(&doctor(&world, &a, &[], 5), "board");
    says(&finding, &["went back 1 version", &tip[..10], "the end of 3 versions", "add 2 by", "the end of 2 versions"]);
    assert!(finding["next"].as_str().expect("words").contains("git scrum doctor --restore"), "{finding}");
    assert_eq!((&finding["severity"], &finding["ref"]), (&"error".into(), &BOARD.into()));
    doctor(&world, &a, &["--repair"], 5);
    assert_ne!(world.remote_ref(BOARD), tip, "repairing is not restoring");
    let finding = the(&doctor(&world, &b, &["--restore"], 0), "board");
    assert_eq!(finding["repaired"], true, "{finding}");
    assert_eq!(world.remote_ref(BOARD), tip);
    world.ok(&a, &["add", "Three"]);
    doctor(&world, &a, &[], 0);
}

#[test]
fn a_board_and_a_memory_that_were_deleted_are_restored() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    world.ok(&clone, &["memory", "add", "A choice", "--kind", "decision"]);
    let other = world.clone("other");
    // An ordinary clone has none of these refs, and so a mirror of it has not either.
    world.sandbox.git(&other, &["push", "-q", "--mirror", "origin"]);
    let findings = doctor(&world, &clone, &[], 5);
    for (kind, name) in [("board", BOARD), ("memory", "refs/scrum/memory")] {
        says(
            &the(&findings, kind),
            &["is gone from origin", name, "2 versions"][..if kind == "board" { 3 } else { 2 }],
        );
    }
    let findings = doctor(&world, &clone, &["--restore"], 0);
    assert!(["board", "memory"].iter().all(|kind| the(&findings, kind)["repaired"] == true), "{findings:#?}");
    assert_eq!(world.ok(&other, &["list"])["tasks"].as_array().expect("tasks").len(), 1);
    assert_eq!(world.ok(&other, &["memory", "list"])["entries"].as_array().expect("entries").len(), 1);
}

#[test]
fn versions_that_only_the_remote_has_are_not_replaced_without_force_and_kept_with_it() {
    for atomic in ["true", "false"] {
        let (world, a, _) = rewound();
        world.sandbox.git(world.remote().bare(), &["config", "receive.advertiseAtomic", atomic]);
        let tip = world.sandbox.git(&a, &["rev-parse", "refs/scrum/remotes/origin/board"]);
        // A clone that never saw the newest version goes on from the older one.
        world.ok(&world.clone("c"), &["add", "Else"]);
        let theirs = world.remote_ref(BOARD);
        for options in [&[][..], &["--restore"]] {
            let finding = the(&doctor(&world, &a, options, 5), "board");
            says(&finding, &["went another way", &tip[..10], &theirs[..10], "1 of them unknown here"]);
            assert!(finding["next"].as_str().expect("words").contains("--restore --force"), "{finding}");
            assert_eq!(world.remote_ref(BOARD), theirs);
        }
        let finding = the(&doctor(&world, &a, &["--restore", "--force"], 0), "board");
        let kept = format!("refs/scrum/lost/board-{}", &theirs[..10]);
        says(&finding, &["restored", "1 version", &kept]);
        assert_eq!((world.remote_ref(BOARD), world.remote_ref(&kept)), (tip, theirs));
        assert_eq!(world.ok(&a, &["list"])["tasks"].as_array().expect("tasks").len(), 2);
    }
}

#[test]
fn what_is_no_board_at_all_is_replaced_only_by_force() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    let tip = world.remote_ref(BOARD);
    let main = world.remote_ref("main");
    world.sandbox.git(world.remote().bare(), &["update-ref", BOARD, &main]);
    doctor(&world, &clone, &["--restore"], 5);
    doctor(&world, &clone, &["--restore", "--force"], 0);
    assert_eq!(world.remote_ref(BOARD), tip);
    assert_eq!(world.remote_ref(&format!("refs/scrum/lost/board-{}", &main[..10])), main);
}

#[test]
fn records_that_disagree_are_named_with_the_newest_version_that_was_right() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    world.ok(&clone, &["claim"]);
    let right = world.remote_ref(BOARD);
    crate::verify::tamper(&world, "meta", |meta| meta.replace("fence = 1", "fence = 0"));
    let finding = the(&doctor(&world, &clone, &["--repair", "--restore"], 5), "records");
    says(&finding, &["fence", &format!("the newest version that is right is {right}")]);
    assert_eq!(finding["next"], "git scrum log --verify");
}

/// A file that looks as if it had been made so long ago.
fn left(path: &Path, age: Duration) {
    fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    let file = File::create(path).expect("a file");
    file.set_modified(SystemTime::now() - age).expect("a file may be dated");
}

const LONG: Duration = Duration::from_secs(3_600);

#[test]
fn lock_files_that_were_left_are_removed_and_those_of_somebody_at_work_are_not() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    let git_dir = clone.join(".git");
    let (old, packed) = (git_dir.join("refs/scrum/remotes/origin/board.lock"), git_dir.join("packed-refs.lock"));
    left(&old, LONG);
    left(&packed, LONG);
    let findings = of_kind(&doctor(&world, &clone, &[], 1), "lock");
    assert_eq!(findings.len(), 2, "{findings:#?}");
    says(&findings[1], &["board.lock is 1h", " old, and of "]);
    assert_eq!(findings[1]["path"], old.to_str().expect("a path"));
    assert!(old.exists() && packed.exists(), "looking removes nothing");

    let queue = File::open(git_dir.join("scrum/queue.lock")).expect("the queue's file");
    rustix::fs::flock(&queue, rustix::fs::FlockOperation::LockExclusive).expect("a lock");
    let findings = of_kind(&doctor(&world, &clone, &["--repair"], 1), "lock");
    says(&findings[0], &["a git scrum is at work"]);
    assert!(old.exists() && packed.exists());
    drop(queue);

    left(&packed, Duration::from_secs(60));
    let findings = of_kind(&doctor(&world, &clone, &["--repair"], 1), "lock");
    assert_eq!((&findings[0]["repaired"], &findings[1]["repaired"]), (&false.into(), &true.into()), "{findings:#?}");
    assert!(packed.exists() && !old.exists(), "ten minutes are not over for the young one");
}

#[test]
fn a_lock_file_in_a_remote_is_removed_only_when_that_is_asked_for_by_name() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    let lock = world.remote().bare().join(format!("{BOARD}.lock"));
    left(&lock, LONG);
    assert_ne!(world.ask(&clone, &["add", "One"]).exit, 0, "it keeps everybody from pushing");
    let finding = the(&doctor(&world, &clone, &["--repair"], 1), "lock");
    says(&finding, &["it lies in the remote"]);
    assert!(lock.exists());
    let findings = doctor(&world, &clone, &["--repair", "--remote-locks"], 0);
    assert_eq!(the(&findings, "lock")["repaired"], true);
    world.ok(&clone, &["add", "One"]);
}

#[test]
fn without_the_remote_the_rest_is_looked_at() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    left(&clone.join(".git/packed-refs.lock"), LONG);
    fs::rename(world.remote().bare(), world.sandbox.path("elsewhere")).expect("a rename");
    let findings = doctor(&world, &clone, &["--repair"], 1);
    says(&the(&findings, "board"), &["not asked for"]);
    assert_eq!(the(&findings, "lock")["repaired"], true);
    assert_eq!(the(&findings, "records")["severity"], "ok", "of the version that was last seen");
    let nowhere = world.sandbox.path("nowhere");
    fs::create_dir(&nowhere).expect("a directory");
    world.ask(&nowhere, &["doctor"]).error(128);
}

#[test]
fn a_clock_that_is_behind_the_board_is_named() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    let answer = world.ask_at(&clone, "2020-01-01T00:00:00Z", &["doctor"]);
    assert_eq!(answer.exit, 1, "{answer:?}");
    let findings = answer.json()["data"]["findings"].as_array().expect("findings").clone();
    says(&the(&findings, "clock"), &["here it is 2020-01-01T00:00:00Z", "later"]);
}
