//! One push for many: what hosts offer one another, and what processes of one clone wait for.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};
use std::{fs, thread};

use git_scrum::domain::{Command, Holder, Operation, OperationId, Seconds, TaskId, Timestamp};
use git_scrum::record::encode;
use serde_json::json;

use crate::scrum::{World, texts};
use crate::support::RemoteKind;

/// When the guest asked: before anybody in these tests.
const ASKED_AT: u64 = 1_790_000_000;
/// A moment later, when it is applied.
const NOW: &str = "2026-09-21T14:13:40Z";
/// When an offer that asks nothing any more may be removed by others.
const LATER: &str = "2026-09-21T14:16:00Z";
/// When nobody takes up what the guest asked for any more.
const LONG_AFTER: &str = "2026-09-21T14:50:00Z";

/// An operation of somebody who is not there.
fn asked(nth: u64, command: Command) -> Operation {
    Operation {
        id: OperationId::parse(&format!("{nth:032x}")).expect("an id"),
        by: Holder::parse("guest@elsewhere").expect("a name"),
        at: Timestamp::from_secs(ASKED_AT),
        skew: Seconds(5),
        overdue: None,
        command,
    }
}

fn claim_any() -> Command {
    claim(None)
}

fn claim(task: Option<TaskId>) -> Command {
    Command::Claim {
        task,
        team: None,
        labels: Vec::new(),
        count: 1,
        lease: Seconds(1800),
        branch_template: "ai-feature/issue-{id}".to_owned(),
    }
}

/// Puts an offer on a host's ref of the remote, as docs/refs.md describes it, with plain git.
fn put_offer(world: &World, host: &str, base: &str, files: &[(&str, &[u8])], trailers: &str) {
    let bare = world.remote().bare();
    let mut tree = String::new();
    for (name, content) in files {
        let file = world.sandbox.path("payload");
        fs::write(&file, content).expect("the sandbox is writable");
        let blob = world.sandbox.git(bare, &["hash-object", "-w", file.to_str().expect("UTF-8")]);
        tree.push_str(&format!("100644 blob {blob}\t{name}\n"));
    }
    let listing = world.sandbox.path("tree");
    fs::write(&listing, tree).expect("the sandbox is writable");
    let mut mktree = world.sandbox.command("git");
    mktree.arg("mktree").current_dir(bare).stdin(fs::File::open(&listing).expect("it was just written"));
    let made = mktree.output().expect("git is installed");
    let tree = String::from_utf8(made.stdout).expect("an id");
    let message = format!("offer\n\n{}\n", trailers.replace("BASE", base));
    let mut commit = world.sandbox.command("git");
    commit.args(["commit-tree", tree.trim(), "-m", &message]).current_dir(bare);
    commit.env("GIT_COMMITTER_DATE", format!("{ASKED_AT} +0000"));
    let made = commit.output().expect("git is installed");
    let commit = String::from_utf8(made.stdout).expect("an id");
    world.sandbox.git(bare, &["update-ref", &format!("refs/scrum/hosts/{host}"), commit.trim()]);
}

/// Puts a whole and true offer of one operation on a host's ref.
fn put_intent(world: &World, host: &str, operation: &Operation) {
    let id = operation.id.as_str();
    let payload = encode("an intent", operation).expect("it is small");
    let base = world.remote_ref("refs/scrum/board");
    put_offer(world, host, &base, &[(id, &payload)], &format!("Scrum-Intent: {id} BASE"));
}

fn operations_of_tip(world: &World) -> usize {
    let message = world.sandbox.git(world.remote().bare(), &["log", "-1", "--format=%B", "refs/scrum/board"]);
    message.lines().filter(|line| line.starts_with("Scrum-Operation: ")).count()
}

fn host_refs(world: &World) -> Vec<String> {
    let listed = world.sandbox.git(world.remote().bare(), &["for-each-ref", "--format=%(refname)", "refs/scrum/hosts"]);
    listed.lines().map(str::to_owned).collect()
}

/// Takes a host's offer away and has the clone remember it as its own, which nobody waits for any more. Gives where.
fn note_as_own(world: &World, clone: &Path, host: &str) -> PathBuf {
    let name = format!("refs/scrum/hosts/{host}");
    let offer = world.remote_ref(&name);
    world.sandbox.git(world.remote().bare(), &["update-ref", "-d", &name]);
    world.sandbox.git(clone, &["fetch", "-q", world.remote().url(), &offer]);
    let note = clone.join(".git/scrum/offered");
    fs::write(&note, &offer).expect("the clone is ours");
    note
}

/// Has the remote refuse every push of the board, until the hook that is given is removed.
fn refuse_the_board(world: &World) -> PathBuf {
    let hook = world.remote().bare().join("hooks/update");
    fs::write(&hook, "#!/bin/sh\ntest \"$1\" != refs/scrum/board\n").expect("the remote is ours");
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).expect("the hook is ours");
    hook
}

/// A board of five tasks, in a clone whose clock says [`NOW`].
fn world_of_tasks(kind: RemoteKind) -> Option<(World, PathBuf)> {
    let world = World::new(kind)?;
    let clone = world.clone_with_board("worker");
    for id in ["t1", "t2", "t3", "t4", "t5"] {
        assert_eq!(world.ask_at(&clone, NOW, &["add", id, "--id", id]).exit, 0);
    }
    Some((world, clone))
}

fn claimed(world: &World, clone: &Path, now: &str) -> Vec<String> {
    texts(&world.ask_at(clone, now, &["claim"]).data()["claims"], Some("task"))
}

fn an_offer_is_applied_once_and_swept(kind: RemoteKind) {
    let Some((world, clone)) = world_of_tasks(kind) else { return };
    put_intent(&world, "guest-1", &asked(1, claim_any()));
    // A host that wins has no reason to ask; from the push itself it learns that somebody waits.
    assert_eq!((claimed(&world, &clone, NOW), operations_of_tip(&world)), (vec!["t1".to_owned()], 1));
    assert_eq!((claimed(&world, &clone, NOW), operations_of_tip(&world)), (vec!["t3".to_owned()], 2));
    let guests = world.ok(&clone, &["show", "t2"])["task"]["claim"].clone();
    assert_eq!((&guests["holder"], &guests["fence"]), (&json!("guest@elsewhere"), &json!(2)));
    assert_eq!((claimed(&world, &clone, NOW), operations_of_tip(&world)), (vec!["t4".to_owned()], 1));
    assert_eq!(host_refs(&world), ["refs/scrum/hosts/guest-1"], "its owner mostly has the next one ready");
    for task in ["t1", "t3"] {
        assert_eq!(world.ask_at(&clone, LATER, &["renew", task]).exit, 0);
    }
    assert_eq!(host_refs(&world), [""; 0]);
    assert_eq!(world.run(&clone, &["log", "--verify"]).exit, 0);
}

#[test]
fn an_offer_on_a_file_remote_is_applied_once_and_swept() {
    an_offer_is_applied_once_and_swept(RemoteKind::File);
}

#[test]
fn an_offer_over_http_is_applied_once_and_swept() {
    an_offer_is_applied_once_and_swept(RemoteKind::Http);
}

#[test]
fn an_offer_over_ssh_is_applied_once_and_swept() {
    an_offer_is_applied_once_and_swept(RemoteKind::Ssh);
}

#[test]
fn a_no_to_an_offer_is_recorded_so_that_it_stays_a_no() {
    let (world, clone) = world_of_tasks(RemoteKind::File).expect("a file remote can always be had");
    let task = TaskId::parse("t5").expect("an id");
    put_intent(&world, "guest-1", &asked(1, Command::Renew { task, fence: None, lease: None }));
    claimed(&world, &clone, NOW);
    claimed(&world, &clone, NOW);
    assert_eq!(operations_of_tip(&world), 2);
    let log = world.run(&clone, &["log"]).stdout;
    assert!(log.contains("renew by guest@elsewhere: refused"), "{log}");
    // Now it could be done; but it was answered.
    put_intent(&world, "guest-2", &asked(2, claim(TaskId::parse("t5").ok())));
    claimed(&world, &clone, NOW);
    assert_eq!(world.ok(&clone, &["show", "t5"])["task"]["claim"]["holder"], json!("guest@elsewhere"));
    claimed(&world, &clone, NOW);
    assert_eq!(operations_of_tip(&world), 1);
    assert_eq!(world.run(&clone, &["log", "--verify"]).exit, 0);
}

#[test]
fn what_is_no_offer_is_left_alone() {
    let (world, clone) = world_of_tasks(RemoteKind::File).expect("a file remote can always be had");
    let board = world.remote_ref("refs/scrum/board");
    let good = asked(1, claim_any());
    let payload = encode("an intent", &good).expect("it is small");
    let id = good.id.as_str();
    let unknown = "1".repeat(board.len());
    let trailer = format!("Scrum-Intent: {id} BASE");
    put_offer(&world, "no-payload", &board, &[("other", b"x")], &trailer);
    put_offer(&world, "no-base", &unknown, &[(id, &payload)], &trailer);
    put_offer(&world, "no-record", &board, &[(id, b"\xff\x00 not a record")], &trailer);
    put_offer(&world, "another-id", &board, &[("22", &payload)], "Scrum-Intent: 22 BASE");
    put_offer(&world, "no-trailers", &board, &[(id, &payload)], "Scrum-Intent: \nScrum-Intent: x\n");
    let blob = world.sandbox.git(world.remote().bare(), &["rev-parse", "refs/scrum/board:meta"]);
    world.sandbox.git(world.remote().bare(), &["update-ref", "refs/scrum/hosts/a-blob", &blob]);
    for task in ["t1", "t2", "t3"] {
        assert_eq!((claimed(&world, &clone, NOW), operations_of_tip(&world)), (vec![task.to_owned()], 1));
    }
    assert_eq!(world.run(&clone, &["log", "--verify"]).exit, 0);
}

/// Waits until `done` says so; tells `what` was waited for if it never does.
fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn waiting_in(clone: &Path) -> usize {
    let names = fs::read_dir(clone.join(".git/scrum/waiting")).into_iter().flatten().flatten();
    names.filter(|entry| entry.file_name().len() == 32).count()
}

/// Holds the turn of a clone while `processes` are started and wait for it, and what `meanwhile` does.
fn behind_one_turn(
    world: &World,
    clone: &Path,
    processes: usize,
    meanwhile: impl FnOnce(&mut Vec<Child>),
) -> Vec<Child> {
    let queue =
        fs::OpenOptions::new().create(true).truncate(false).write(true).open(clone.join(".git/scrum/queue.lock"));
    let mut queue = fd_lock::RwLock::new(queue.expect("the clone is ours"));
    let turn = queue.write().expect("nobody else has it");
    let mut children: Vec<Child> = (0..processes).map(|_| world.start(clone, &["claim"])).collect();
    until("all wait for their turn", || waiting_in(clone) == processes);
    meanwhile(&mut children);
    drop(turn);
    children
}

fn answers(children: Vec<Child>) -> Vec<String> {
    let told = children.into_iter().map(|child| {
        let output = child.wait_with_output().expect("it was started");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
        let answer: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
        texts(&answer["data"]["claims"], Some("task")).concat()
    });
    let mut told: Vec<String> = told.collect();
    told.sort();
    told
}

fn whoever_waits_is_served_by_one_push(world: &World, clone: &Path, operations_of_tip: impl Fn() -> usize) {
    let children = behind_one_turn(world, clone, 4, |_| {});
    assert_eq!(answers(children), ["t1", "t2", "t3", "t4"]);
    assert_eq!(operations_of_tip(), 4);
    assert_eq!(world.run(clone, &["log", "--verify"]).exit, 0);
    let left: Vec<_> = fs::read_dir(clone.join(".git/scrum/waiting")).expect("readable").flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn processes_of_one_clone_are_served_by_one_push() {
    let (world, clone) = world_of_tasks(RemoteKind::File).expect("a file remote can always be had");
    whoever_waits_is_served_by_one_push(&world, &clone, || operations_of_tip(&world));
}

#[test]
fn processes_of_a_clone_without_a_remote_are_served_by_one_change() {
    let (world, clone) = World::local();
    world.ok(&clone, &["init"]);
    for id in ["t1", "t2", "t3", "t4", "t5"] {
        world.ok(&clone, &["add", id, "--id", id]);
    }
    whoever_waits_is_served_by_one_push(&world, &clone, || {
        let message = world.sandbox.git(&clone, &["log", "-1", "--format=%B", "refs/scrum/board"]);
        message.lines().filter(|line| line.starts_with("Scrum-Operation: ")).count()
    });
}

#[test]
fn nothing_is_done_for_a_process_that_was_killed_while_it_waited() {
    let (world, clone) = world_of_tasks(RemoteKind::File).expect("a file remote can always be had");
    let children = behind_one_turn(&world, &clone, 4, |children| {
        let mut killed = children.pop().expect("four were started");
        killed.kill().expect("it is ours");
        killed.wait().expect("it was started");
    });
    assert_eq!(answers(children), ["t1", "t2", "t3"]);
    assert_eq!(operations_of_tip(&world), 3);
    assert_eq!(waiting_in(&clone), 0);
}

#[test]
fn whoever_asks_to_be_let_through_stops_nobody_for_good() {
    let (world, clone) = world_of_tasks(RemoteKind::File).expect("a file remote can always be had");
    let board = world.remote_ref("refs/scrum/board");
    let id = "1".repeat(32);
    put_offer(&world, "lander", &board, &[(&id, b"")], &format!("Scrum-Intent: {id} BASE"));
    assert_eq!(claimed(&world, &clone, NOW), ["t1"]);
    assert_eq!(host_refs(&world), ["refs/scrum/hosts/lander"], "whoever does not know of it goes on");
    // Whoever does offers what it wants, so that the other can take it along, and looks whether it did.
    assert_eq!((claimed(&world, &clone, NOW), host_refs(&world).len()), (vec!["t2".to_owned()], 2));
    let own = host_refs(&world).into_iter().find(|name| !name.ends_with("/lander")).expect("there are two");
    let said = world.sandbox.git(world.remote().bare(), &["log", "-1", "--format=%B", &own]);
    assert!(said.contains("Scrum-Intent: "), "{said}");
    assert_eq!(world.run(&clone, &["log", "--verify"]).exit, 0);
}

#[test]
fn what_nobody_knew_of_is_settled_before_the_next_answer() {
    let (world, clone) = world_of_tasks(RemoteKind::File).expect("a file remote can always be had");
    let bare = world.remote().bare();
    let base = world.remote_ref("refs/scrum/board");
    let id = "1".repeat(32);
    put_offer(&world, "lander", &base, &[(&id, b"")], &format!("Scrum-Intent: {id} BASE"));
    assert_eq!(claimed(&world, &clone, NOW), ["t1"]);
    // It lets the other through, for which it offers the pause; and then its own push is refused.
    let hook = refuse_the_board(&world);
    let pause = ["merge-train", "pause"];
    assert_eq!(world.ask_at(&clone, NOW, &pause).error(4)["code"], "unknown-outcome");
    fs::remove_file(&hook).expect("it was just written");
    world.sandbox.git(bare, &["update-ref", "-d", "refs/scrum/hosts/lander"]);
    assert_eq!(host_refs(&world).len(), 1, "the pause is offered");
    // Nothing is paused. But somebody else may have the offer in hand, or take it up a moment later.
    let resumed = world.ask_at(&clone, NOW, &["merge-train", "resume"]).data();
    assert_eq!((&resumed["changed"], operations_of_tip(&world)), (&json!(true), 2));
    let other = world.clone("other");
    for title in ["one", "two", "three"] {
        assert_eq!(world.ask_at(&other, NOW, &["add", title]).exit, 0);
    }
    assert_eq!(world.ok(&other, &["merge-train", "status"])["paused"], json!(null));
    // Whoever asks for the same again takes up what they had asked for, and hears what became of it.
    let paused = world.ask_at(&clone, NOW, &pause).data();
    assert_eq!(paused["changed"], json!(true));
    assert_eq!(world.ok(&other, &["merge-train", "status"])["paused"], json!("paused by hand"));
    assert_eq!(world.run(&clone, &["log", "--verify"]).exit, 0);
}

#[test]
fn what_may_still_arrive_is_not_forgotten_for_what_is_offered_next() {
    let (world, clone) = world_of_tasks(RemoteKind::File).expect("a file remote can always be had");
    let bare = world.remote().bare();
    let [lander, late] = ["1", "2"].map(|digit| digit.repeat(32));
    let wish = |host: &str, id: &str| {
        let base = world.remote_ref("refs/scrum/board");
        put_offer(&world, host, &base, &[(id, b"")], &format!("Scrum-Intent: {id} BASE"));
    };
    wish("lander", &lander);
    assert_eq!(claimed(&world, &clone, NOW), ["t1"]);
    // As if a push of this clone's were still on its way, and nobody waited for it any more.
    wish("late", &late);
    let offered = note_as_own(&world, &clone, "late");
    // It lets the other through, for which it offers the pause; and then its own push is refused.
    let hook = refuse_the_board(&world);
    assert_eq!(world.ask_at(&clone, NOW, &["merge-train", "pause"]).error(4)["code"], "unknown-outcome");
    fs::remove_file(&hook).expect("it was just written");
    let intents = |repo: &Path, commit: &str| {
        let message = world.sandbox.git(repo, &["log", "-1", "--format=%B", commit]);
        let ids = message.lines().filter_map(|line| line.strip_prefix("Scrum-Intent: ")?.split(' ').next());
        ids.map(str::to_owned).collect::<Vec<_>>()
    };
    world.sandbox.git(bare, &["update-ref", "-d", "refs/scrum/hosts/lander"]);
    let asked = intents(bare, &host_refs(&world)[0]);
    let noted = intents(&clone, &fs::read_to_string(&offered).expect("there is a note"));
    assert_eq!((asked.len(), noted), (1, vec![asked[0].clone(), late]), "others are asked for the pause alone");
}

#[test]
fn what_nobody_knew_of_for_long_is_not_done_any_more() {
    let (world, clone) = world_of_tasks(RemoteKind::File).expect("a file remote can always be had");
    let board = world.remote_ref("refs/scrum/board");
    put_intent(&world, "guest-1", &asked(1, claim_any()));
    // As if the guest's offer were this clone's, and nobody waited for it any more.
    note_as_own(&world, &clone, "guest-1");
    // Nothing is to be changed; but from here on nobody can have it applied on the board that it was offered for.
    assert_eq!(world.ask_at(&clone, LONG_AFTER, &["merge-train", "resume"]).data()["changed"], json!(false));
    assert_eq!((world.remote_ref("refs/scrum/board") != board, operations_of_tip(&world)), (true, 1));
    assert_eq!(world.ok(&clone, &["list", "--state", "claimed"])["tasks"], json!([]));
    // That was settled for good.
    let board = world.remote_ref("refs/scrum/board");
    assert_eq!(world.ask_at(&clone, LONG_AFTER, &["merge-train", "resume"]).data()["changed"], json!(false));
    assert_eq!(world.remote_ref("refs/scrum/board"), board);
}

#[test]
fn many_hosts_that_came_and_went_leave_nothing_behind() {
    let (world, clone) = world_of_tasks(RemoteKind::File).expect("a file remote can always be had");
    let bare = world.remote().bare();
    let gone = asked(1, claim_any());
    put_offer(&world, "h0", &"1".repeat(40), &[], &format!("Scrum-Intent: {} BASE", gone.id.as_str()));
    let offer = world.remote_ref("refs/scrum/hosts/h0");
    for number in 1..130 {
        world.sandbox.git(bare, &["update-ref", &format!("refs/scrum/hosts/h{number}"), &offer]);
    }
    let mut rounds = 0;
    while !host_refs(&world).is_empty() {
        rounds += 1;
        assert!(rounds < 50, "{:?}", host_refs(&world));
        assert_eq!(world.ask_at(&clone, LATER, &["add", "One more"]).exit, 0);
    }
    let cached = || world.sandbox.git(&clone, &["for-each-ref", "refs/scrum/remotes/origin/hosts"]).lines().count();
    assert!(cached() <= 130, "{}", cached());
}
