//! `kill -9` at any moment: the next invocation goes on, and nothing is lost, doubled or stuck.
//!
//! The moment is chosen by the clock, from before the program does anything to after it has answered. Only the program
//! is killed, not the `git` it has started, which may go on and push: as it happens to an agent whose supervisor dies.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::scrum::{World, path, texts};

/// How many moments are tried for each verb.
const MOMENTS: u64 = 14;

/// Starts `args`, kills it after so many milliseconds, and does the same again as whoever lost the answer would. Where
/// the whole answer was there in time, that was it, even if the process was still about to end. Gives the data.
fn kill_and_repeat(world: &World, dir: &Path, args: &[&str], millis: u64) -> Value {
    let mut child = world.start(dir, args);
    thread::sleep(Duration::from_millis(millis));
    // An error means that it has ended by itself, which is one of the moments.
    let _ = child.kill();
    let output = child.wait_with_output().expect("it is gone");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if let (None | Some(0), Ok(answer)) = (output.status.code(), serde_json::from_str::<Value>(&text)) {
        return answer["data"].clone();
    }
    assert_eq!(output.status.code(), None, "it failed by itself: {text}");
    world.ok(dir, args)
}

/// How long one undisturbed run takes, so that the moments fall all over it.
fn moments(run: impl FnOnce()) -> Vec<u64> {
    let begun = std::time::Instant::now();
    run();
    let whole = u64::try_from(begun.elapsed().as_millis()).expect("a short run").max(MOMENTS);
    (0..MOMENTS).map(|nth| nth * whole / (MOMENTS - 2)).collect()
}

#[test]
fn of_add_and_claim() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    let mut expected = 1;
    for millis in moments(|| drop(world.ok(&clone, &["add", "Task 0"]))) {
        let title = format!("Task {expected}");
        kill_and_repeat(&world, &clone, &["add", &title], millis);
        expected += 1;
        let titles = texts(&world.ok(&clone, &["list"])["tasks"], Some("title"));
        let distinct: BTreeSet<&String> = titles.iter().collect();
        assert_eq!((titles.len(), distinct.len()), (expected, expected), "killed after {millis} ms: {titles:?}");
    }
    let mut claimed = 1;
    for millis in moments(|| drop(world.ok(&clone, &["claim"]))) {
        kill_and_repeat(&world, &clone, &["claim"], millis);
        claimed += 1;
        let held = world.ok(&clone, &["list", "--state", "claimed"])["tasks"].as_array().expect("tasks").len();
        assert_eq!(held, claimed.min(expected), "killed after {millis} ms");
        if claimed == expected {
            break;
        }
    }
}

/// The program is not killed, but its answer gets lost all the same: the disk is full, or the reader has gone.
#[test]
fn an_answer_that_could_not_be_written_is_given_again() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    for title in ["One", "Two", "Three"] {
        world.ok(&clone, &["add", title]);
    }
    let told = |stdout: Stdio, args: &[&str]| {
        let output = world.command(&clone, args).stdin(Stdio::null()).stdout(stdout).output().expect("it starts");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let gone = || Stdio::from(std::io::pipe().expect("a pipe").1);
    let claimed = || world.ok(&clone, &["claim"])["claims"][0]["task"].clone();
    assert_eq!(told(gone(), &["claim", "--json"]), (Some(0), String::new()), "a reader may go, as head does");
    assert_eq!(claimed(), "1");
    let full = || std::fs::File::options().write(true).open("/dev/full").ok().map(Stdio::from);
    if full().is_none() {
        return;
    }
    for (args, task) in [(&["claim", "--json"][..], "2"), (&["claim"], "3")] {
        let (exit, said) = told(full().expect("it was there"), args);
        assert_eq!(exit, Some(128), "{said}");
        assert!(said.starts_with("error: the answer could not be written: No space left"), "{said}");
        assert_eq!(claimed(), task);
    }
    let (exit, said) = told(full().expect("it was there"), &["show", "nobody", "--json"]);
    assert_eq!(exit, Some(1));
    assert!(said.starts_with("error: there is no task nobody"), "{said}");
}

#[test]
fn of_claim_with_a_worktree_submit_and_a_pass() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    for number in 0..=MOMENTS {
        world.ok(&clone, &["add", &format!("Task {number}")]);
    }
    let claim = ["claim", "--worktree"];
    let mut worktrees = Vec::new();
    let first = moments(|| worktrees.push(path(&world.ok(&clone, &claim)["claims"][0]["worktree"])));
    for millis in first {
        worktrees.push(path(&kill_and_repeat(&world, &clone, &claim, millis)["claims"][0]["worktree"]));
        let distinct: BTreeSet<&std::path::PathBuf> = worktrees.iter().collect();
        assert_eq!(distinct.len(), worktrees.len(), "killed after {millis} ms");
        assert!(worktrees.iter().all(|worktree| worktree.join("readme").exists()), "a worktree is whole");
    }
    let mut submit = worktrees.iter();
    let warm = submit.next().expect("a worktree");
    world.commit(warm, "file-0", "work\n");
    for (nth, millis) in moments(|| drop(world.ok(warm, &["submit"]))).into_iter().enumerate() {
        let worktree = submit.next().expect("a worktree");
        world.commit(worktree, &format!("file-{}", nth + 1), "work\n");
        kill_and_repeat(&world, worktree, &["submit"], millis);
    }
    let cars = world.ok(&clone, &["merge-train", "status"])["cars"].as_array().expect("cars").len();
    assert_eq!(cars, worktrees.len());
    let passes = world.clone("passes");
    for millis in (0..MOMENTS).map(|nth| nth * 120) {
        let mut pass = world.start(&passes, &["merge-train"]);
        thread::sleep(Duration::from_millis(millis));
        let _ = pass.kill();
        pass.wait().expect("it is gone");
    }
    world.ok(&passes, &["merge-train"]);
    let landed = world.landed_files().into_iter().filter(|file| file.starts_with("file-")).count();
    assert_eq!(landed, worktrees.len());
    let merges = world.sandbox.git(world.remote().bare(), &["rev-list", "--merges", "--count", "main"]);
    assert_eq!(merges, worktrees.len().to_string(), "each landed once");
    let states = texts(&world.ok(&clone, &["list", "--state", "all"])["tasks"], Some("state"));
    assert!(states.iter().all(|state| state == "landed"), "{states:?}");
}

#[test]
fn of_a_pass_in_a_clone_that_is_its_own_remote() {
    let (world, repo) = World::local();
    world.ok(&repo, &["init"]);
    let mut count = 0;
    let mut moment = 20;
    while count < 8 {
        let title = format!("Task {count}");
        world.ok(&repo, &["add", &title]);
        let worktree = path(&world.ok(&repo, &["claim", "--worktree"])["claims"][0]["worktree"]);
        world.commit(&worktree, &format!("file-{count}"), "work\n");
        world.ok(&worktree, &["submit"]);
        kill_and_repeat(&world, &repo, &["merge-train"], moment);
        count += 1;
        moment += 25;
        assert_eq!(world.sandbox.git(&repo, &["status", "--porcelain"]), "", "killed after {moment} ms");
        assert!(repo.join(format!("file-{}", count - 1)).exists());
        let merges = world.sandbox.git(&repo, &["rev-list", "--merges", "--count", "main"]);
        assert_eq!(merges, count.to_string());
    }
}
