//! `git scrum doctor`: each thing that it finds is made for real, and repaired for real.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::scrum::{World, path};
use crate::support::RemoteKind;

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

#[test]
fn worktrees_that_are_gone_half_made_or_of_claims_that_are_over_are_removed() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    for title in ["Gone", "Half", "Over", "Live"] {
        world.ok(&clone, &["add", title]);
    }
    let claim = |_| path(&world.ok(&clone, &["claim", "--worktree"])["claims"][0]["worktree"]);
    let [gone, half, over, live]: [PathBuf; 4] = std::array::from_fn(claim);
    fs::remove_dir_all(&gone).expect("a removal");
    // As git leaves it when it is killed while it checks out.
    let index = world.sandbox.git(&half, &["rev-parse", "--path-format=absolute", "--git-path", "index"]);
    fs::remove_file(index).expect("a removal");
    let dated = File::options().append(true).open(half.join(".git")).expect("a file");
    dated.set_modified(SystemTime::now() - LONG).expect("a file may be dated");
    fs::write(over.join("precious"), "work\n").expect("a write");
    world.ok(&world.clone("b"), &["release", "3", "--force"]);
    world.ok(&clone, &["list"]);
    let found = of_kind(&doctor(&world, &clone, &[], 1), "worktree");
    let paths: Vec<&str> = found.iter().map(|finding| finding["path"].as_str().expect("a path")).collect();
    assert_eq!(paths, [&gone, &half, &over].map(|path| path.to_str().expect("a path")), "{found:#?}");
    assert!(half.exists() && over.exists(), "looking removes nothing");
    // The work that is saved is of a claim that is over, and is found next.
    let found = doctor(&world, &clone, &["--repair"], 1);
    assert!(of_kind(&found, "worktree").iter().all(|finding| finding["repaired"] == true), "{found:#?}");
    assert_eq!([&gone, &half, &over, &live].map(|path| path.exists()), [false, false, false, true]);
    assert_eq!(world.sandbox.git(&clone, &["worktree", "list"]).lines().count(), 2);
    assert_eq!(world.sandbox.git(world.remote().bare(), &["show", "refs/scrum/wip/3-3:precious"]), "work");
}

#[test]
fn saved_work_is_removed_only_when_that_is_asked_for_by_name() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    for title in ["Over", "Live"] {
        world.ok(&clone, &["add", title]);
        let worktree = path(&world.ok(&clone, &["claim", "--worktree"])["claims"][0]["worktree"]);
        fs::write(worktree.join("precious"), "work\n").expect("a write");
    }
    world.ok(&clone, &["worktree", "remove", "1"]);
    world.ok(&clone, &["worktree", "remove", "2"]);
    world.ok(&clone, &["release", "1"]);
    let (over, live) = ("refs/scrum/wip/1-1", world.remote_ref("refs/scrum/wip/2-2"));
    let finding = the(&doctor(&world, &world.clone("b"), &["--repair"], 1), "board");
    says(&finding, &["versions at origin"]);
    let finding = the(&doctor(&world, &clone, &["--repair"], 1), "saved-work");
    says(&finding, &[over, " old", "changes 1 path"]);
    assert_eq!(finding["ref"], over);
    world.remote_ref(over);
    assert_eq!(the(&doctor(&world, &clone, &["--repair", "--wip"], 0), "saved-work")["repaired"], true);
    let left = world.sandbox.git(world.remote().bare(), &["for-each-ref", "--format=%(objectname)", "refs/scrum/wip"]);
    assert_eq!(left, live);
}

/// An offer of a host that asks for one operation, as it was made at a time.
fn offer(world: &World, host: &str, operation: &str, base: &str, at: &str) -> String {
    let bare = world.remote().bare();
    let asked = world.sandbox.path("asked");
    fs::write(&asked, "anything\n").expect("a write");
    let blob = world.sandbox.git(bare, &["hash-object", "-w", asked.to_str().expect("a path")]);
    let mut index = world.sandbox.command("git");
    index.current_dir(bare).env("GIT_INDEX_FILE", world.sandbox.path(format!("index-{host}")));
    index.args(["update-index", "--add", "--cacheinfo", &format!("100644,{blob},{operation}")]);
    assert_eq!(crate::scrum::answer(&mut index).exit, 0);
    let mut tree = world.sandbox.command("git");
    tree.current_dir(bare).env("GIT_INDEX_FILE", world.sandbox.path(format!("index-{host}"))).arg("write-tree");
    let tree = crate::scrum::answer(&mut tree).stdout.trim().to_owned();
    let message = format!("offer 1\n\nScrum-Intent: {operation} {base}\n");
    let mut commit = world.sandbox.command("git");
    commit.current_dir(bare).env("GIT_COMMITTER_DATE", at).args(["commit-tree", &tree, "-m", &message]);
    let commit = crate::scrum::answer(&mut commit).stdout.trim().to_owned();
    world.sandbox.git(bare, &["update-ref", &format!("refs/scrum/hosts/{host}"), &commit]);
    commit
}

#[test]
fn offers_that_are_settled_or_a_day_old_are_removed_and_others_are_not() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    let base = world.remote_ref(BOARD);
    world.ok(&clone, &["add", "One"]);
    let message = world.sandbox.git(world.remote().bare(), &["log", "-1", "--format=%B", BOARD]);
    let done = message.lines().find_map(|line| line.strip_prefix("Scrum-Operation: ")).expect("an operation");
    let (open, now) = ("0123456789abcdef0123456789abcdef", "2026-01-03T00:00:00Z");
    offer(&world, "settled", done, &base, "2026-01-02T23:50:00Z");
    offer(&world, "old", open, &base, "2026-01-01T00:00:00Z");
    let live = offer(&world, "live", open, &base, "2026-01-02T23:50:00Z");
    let look = |options: &[&str]| world.ask_at(&clone, now, &[&["doctor"], options].concat()).json()["data"].clone();
    let found = look(&[])["findings"].as_array().expect("findings").clone();
    let refs: Vec<Value> = of_kind(&found, "offer").iter().map(|finding| finding["ref"].clone()).collect();
    assert_eq!(refs, ["refs/scrum/hosts/old", "refs/scrum/hosts/settled"], "{found:#?}");
    let found = look(&["--repair"])["findings"].as_array().expect("findings").clone();
    assert!(of_kind(&found, "offer").iter().all(|finding| finding["repaired"] == true), "{found:#?}");
    let left =
        world.sandbox.git(world.remote().bare(), &["for-each-ref", "--format=%(objectname)", "refs/scrum/hosts"]);
    assert_eq!(left, live);
}

#[test]
fn candidates_that_no_run_needs_are_removed() {
    let world = World::with_config(RemoteKind::File, "[train]\nci = \"external\"\n").expect("a remote");
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    let worktree = path(&world.ok(&clone, &["claim", "--worktree"])["claims"][0]["worktree"]);
    world.commit(&worktree, "one", "work\n");
    world.ok(&worktree, &["submit"]);
    let commit = world.ok(&clone, &["merge-train"])["actions"][0]["commit"].as_str().expect("a commit").to_owned();
    assert_eq!(the(&doctor(&world, &clone, &["--repair"], 0), "candidates")["severity"], "ok", "a run needs it");
    world.ok(&clone, &["verdict", "pass", "--commit", &commit]);
    world.ok(&clone, &["merge-train"]);
    // A killed pass of another clone has left it.
    let name = "refs/heads/scrum/train/main/1";
    world.sandbox.git(world.remote().bare(), &["update-ref", name, &commit]);
    assert_eq!(the(&doctor(&world, &clone, &[], 1), "candidate")["ref"], name);
    world.remote_ref(name);
    assert_eq!(the(&doctor(&world, &clone, &["--repair"], 0), "candidate")["repaired"], true);
    assert_ne!(
        world.sandbox.try_git(world.remote().bare(), &["rev-parse", "--verify", "-q", name]).status.code(),
        Some(0)
    );
}

#[test]
fn a_landing_that_was_announced_by_a_pass_that_was_killed_is_finished() {
    let world = World::file();
    let bare = world.remote().bare();
    world.sandbox.git(bare, &["config", "receive.advertiseAtomic", "false"]);
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    let worktree = path(&world.ok(&clone, &["claim", "--worktree"])["claims"][0]["worktree"]);
    world.commit(&worktree, "one", "work\n");
    world.ok(&worktree, &["submit"]);
    // The server tells when the target is about to move, and waits until the pass is dead; then it does not move it.
    let (reached, dead) = (world.sandbox.path("reached"), world.sandbox.path("dead"));
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = refs/heads/main ] || exit 0\ntouch {}\nwhile [ ! -e {} ]; do sleep 0.05; done\nexit 1\n",
        reached.display(),
        dead.display()
    );
    let hook = bare.join("hooks/update");
    fs::create_dir_all(hook.parent().expect("a directory")).expect("a directory");
    fs::write(&hook, script).expect("a hook");
    fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let mut pass = world.start(&clone, &["merge-train"]);
    while !reached.exists() {
        assert!(pass.try_wait().expect("a child").is_none(), "the pass ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    pass.kill().expect("a kill");
    pass.wait().expect("it is gone");
    fs::write(&dead, "").expect("a write");
    fs::remove_file(&hook).expect("a removal");
    world.ok(&clone, &["list"]);
    let finding = the(&doctor(&world, &clone, &[], 1), "landing");
    says(&finding, &["the landing of 1 on main was announced", "not finished"]);
    assert!(!world.landed_files().contains(&"one".to_owned()));
    let finding = the(&doctor(&world, &clone, &["--repair"], 0), "landing");
    says(&finding, &["the landing of 1 was finished"]);
    assert!(world.landed_files().contains(&"one".to_owned()));
    assert_eq!(world.ok(&clone, &["show", "1"])["task"]["state"], "landed");
}
