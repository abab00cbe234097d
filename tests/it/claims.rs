//! Claims, leases and fences, by separate processes in separate clones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, thread};

use serde_json::json;

use crate::scrum::{Answer, World, answer, path, texts};

/// Asks again where others were faster too often in a row, as its error says to: exit 7.
fn ask_until_through(world: &World, clone: &Path, args: &[&str]) -> Answer {
    let mut answers = (0..50).map(|_| world.ask(clone, args));
    answers.find(|answer| answer.exit != 7).expect("it gets through in the end")
}

#[test]
fn who_is_offered_a_ref_that_is_being_removed_asks_again() {
    let world = World::file();
    let clone = world.clone_with_board("clone");
    let count = world.sandbox.path("count");
    // In the words of git 2.47, which were met where many hosts took back what they had offered.
    let fail = |times: u32| {
        fs::write(&count, "").expect("the sandbox is writable");
        let path = world.sandbox.path_where_git(&format!(
            "*' fetch '*) echo >> '{count}'; [ $(wc -l < '{count}') -gt {times} ] || {{ echo 'fatal: remote error: \
             upload-pack: not our ref 0000000000000000000000000000000000000000' >&2; exit 128; }} ;;",
            count = count.display()
        ));
        answer(world.command(&clone, &["list", "--json"]).env("PATH", path))
    };
    assert_eq!(fail(2).data()["current"], true);
    assert_eq!(fail(1_000).data()["current"], false);
    assert_eq!(fs::read_to_string(&count).expect("git was started").len(), 6, "it gives up some time");
}

#[test]
fn eight_clones_empty_a_board_of_two_hundred_tasks() {
    let world = World::file();
    let adder = world.clone_with_board("adder");
    // A task of the first hundred is needed by one of the second: those become claimable as others are done.
    for number in 0..200_u32 {
        let (id, title) = (format!("t{number}"), format!("Task {number}"));
        let priority = format!("p{}", number % 4);
        let mut args = vec!["add", &title, "--id", &id, "--priority", &priority];
        let needed = format!("t{}", number.saturating_sub(100));
        if number >= 100 {
            args.extend(["--needs", &needed]);
        }
        world.ok(&adder, &args);
    }
    let clones: Vec<_> = (0..8).map(|number| world.clone(&format!("c{number}"))).collect();
    let claimed: Vec<(u64, String, String)> = thread::scope(|scope| {
        let workers: Vec<_> = clones
            .iter()
            .map(|clone| {
                let world = &world;
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    let mut idle = 0;
                    loop {
                        let answer = ask_until_through(world, clone, &["claim"]);
                        let claims = answer.json()["data"]["claims"].clone();
                        let listed = claims.as_array().unwrap_or_else(|| panic!("no claims: {answer:?}"));
                        let Some(claim) = listed.first() else {
                            assert_eq!(answer.exit, 1);
                            let waiting = world.ok(clone, &["list"])["tasks"].as_array().expect("tasks").len();
                            idle += 1;
                            // A worker that failed leaves its task open for good: that must not go on for ever.
                            assert!(idle < 1_000, "{waiting} tasks stay open");
                            if waiting == 0 {
                                return mine;
                            }
                            continue;
                        };
                        let id = claim["task"].as_str().expect("an id").to_owned();
                        let holder = claim["holder"].as_str().expect("a holder").to_owned();
                        mine.push((claim["fence"].as_u64().expect("a fence"), id.clone(), holder));
                        ask_until_through(world, clone, &["done", &id]).data();
                    }
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect()
    });
    let tasks: BTreeSet<&String> = claimed.iter().map(|(_, task, _)| task).collect();
    let fences: BTreeSet<u64> = claimed.iter().map(|(fence, _, _)| *fence).collect();
    assert_eq!((claimed.len(), tasks.len(), fences.len()), (200, 200, 200));
    assert_eq!(fences.last(), Some(&200), "no fence was granted to nobody");
    // In the order of the grants: never a task before one it needs, and never past a more urgent one that was free.
    let by_fence: BTreeMap<u64, u32> =
        claimed.iter().map(|(fence, task, _)| (*fence, task[1..].parse().expect("a number"))).collect();
    let order: Vec<u32> = by_fence.values().copied().collect();
    let place: BTreeMap<u32, usize> = order.iter().enumerate().map(|(place, number)| (*number, place)).collect();
    for number in 100..200 {
        assert!(place[&(number - 100)] < place[&number], "t{number} was claimed before what it needs");
    }
    for (at, number) in order.iter().enumerate().filter(|(_, number)| **number < 100) {
        let passed_over =
            (0..100).filter(|other| (other % 4, *other) < (number % 4, *number)).find(|other| place[other] > at);
        assert_eq!(passed_over, None, "t{number} was claimed before a better one");
    }
    let log = world.sandbox.git(&adder, &["log", "--format=%s", "refs/scrum/remotes/origin/board"]);
    assert!(log.lines().count() >= 200, "every operation is in the log");
}

#[test]
fn a_lease_that_ran_out_lets_another_take_the_task_and_stops_the_first() {
    let world = World::file();
    let (a, b) = (world.clone_with_board("a"), world.clone("b"));
    world.ok(&a, &["add", "One", "--path", "src"]);
    let first = world.ask_at(&a, "2026-01-01T10:00:00Z", &["claim", "--lease", "10m", "--worktree"]).data();
    let worktree = path(&first["claims"][0]["worktree"]);
    // Not a second before the lease and the allowance for skewed clocks are over.
    let early = world.ask_at(&b, "2026-01-01T10:10:05Z", &["claim", "1"]).error(3);
    assert_eq!((&early["code"], &early["until"]), (&json!("held"), &json!("2026-01-01T10:10:00Z")));
    let second = world.ask_at(&b, "2026-01-01T10:10:06Z", &["claim", "--lease", "10m"]).data()["claims"][0].clone();
    assert_eq!((&second["fence"], &second["branch"]), (&json!(2), &json!("ai-feature/issue-1.2")));
    let holder = second["holder"].clone();
    world.commit(&worktree, "src/late", "late\n");
    for args in
        [&["renew", "1"][..], &["release", "1"], &["fail", "1", "--reason", "x"], &["done", "1"], &["submit", "1"]]
    {
        let error = world.ask_at(&a, "2026-01-01T10:11:00Z", args).error(3);
        assert_eq!(
            (&error["code"], &error["holder"], &error["fence"]),
            (&json!("stale-fence"), &holder, &json!(2)),
            "{args:?}"
        );
    }
    let heads = world.sandbox.git(world.remote().bare(), &["for-each-ref", "--format=%(refname)", "refs/heads"]);
    assert_eq!(heads, "refs/heads/main", "a stale submission publishes nothing");
}

#[test]
fn a_holder_who_lost_a_task_to_another_of_the_same_clone_does_not_act_under_their_fence() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    let ask = |holder: &str, now: &str, args: &[&str]| {
        let mut command = world.command(&clone, &[args, &["--json"]].concat());
        answer(command.env("SCRUM_HOLDER", holder).env("SCRUM_NOW", now))
    };
    ask("first", "2026-01-01T10:00:00Z", &["claim", "--lease", "10m"]).data();
    ask("second", "2026-01-01T10:11:00Z", &["claim", "--lease", "10m"]).data();
    for args in [&["renew", "1"][..], &["release", "1"], &["fail", "1", "--reason", "x"], &["done", "1"]] {
        let error = ask("first", "2026-01-01T10:12:00Z", args).error(3);
        assert_eq!((&error["holder"], &error["fence"]), (&json!("second"), &json!(2)), "{args:?}");
    }
    ask("second", "2026-01-01T10:12:00Z", &["done", "1"]).data();
}

#[test]
fn renewing_keeps_a_claim_and_releasing_gives_it_back() {
    let world = World::file();
    let (a, b) = (world.clone_with_board("a"), world.clone("b"));
    world.ok(&a, &["add", "One"]);
    world.ask_at(&a, "2026-01-01T10:00:00Z", &["claim", "--lease", "10m"]).data();
    let renewed = world.ask_at(&a, "2026-01-01T10:09:00Z", &["renew", "1"]).data();
    assert_eq!(renewed["lease_until"], "2026-01-01T10:19:00Z");
    assert_eq!(world.ask_at(&b, "2026-01-01T10:15:00Z", &["claim"]).exit, 1);
    world.ask(&b, &["release", "1"]).error(3);
    let released = world.ok(&a, &["release", "1", "--reason", "lunch"]);
    assert_eq!((&released["task"]["state"], &released["task"]["reason"]), (&json!("queued"), &json!("lunch")));
    world.ask(&a, &["renew", "1"]).error(3);
    assert_eq!(world.ok(&b, &["claim"])["claims"][0]["fence"], 2);
}

#[test]
fn a_failed_task_is_queued_again_until_it_has_failed_too_often() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    for (nth, state) in ["queued", "queued", "failed"].into_iter().enumerate() {
        world.ok(&clone, &["claim", "1"]);
        let failed = world.ok(&clone, &["fail", "1", "--reason", "it did not work"]);
        assert_eq!((&failed["task"]["state"], &failed["task"]["failures"]), (&json!(state), &json!(nth + 1)));
    }
    assert_eq!(texts(&world.ok(&clone, &["list", "--state", "failed"])["tasks"], Some("id")), ["1"]);
    world.ask(&clone, &["claim", "1"]).error(1);
    world.ok(&clone, &["reopen", "1"]);
    world.ok(&clone, &["claim", "1"]);
}

#[test]
fn locked_paths_keep_tasks_and_people_apart() {
    let world = World::file();
    let (a, b) = (world.clone_with_board("a"), world.clone("b"));
    world.ok(&a, &["add", "Login", "--path", "src/auth/**"]);
    world.ok(&a, &["add", "Docs", "--path", "docs"]);
    world.ok(&a, &["lock", "src/auth/login.rs", "--reason", "by hand"]);
    let skipped = world.ok(&b, &["claim"]);
    assert_eq!(skipped["claims"][0]["task"], "2", "the first task's paths are locked");
    let error = world.ask(&b, &["claim", "1"]).error(3);
    assert_eq!((&error["code"], &error["held"]), (&json!("locked"), &json!("src/auth/login.rs")));
    let nothing = world.ask(&b, &["claim"]);
    assert_eq!(nothing.exit, 1);
    let row = nothing.json()["data"]["skipped"][0].clone();
    assert_eq!((&row["task"], &row["holder"]), (&json!("1"), &error["holder"]));
    // Whoever locked the paths may work on them.
    assert_eq!(world.ok(&a, &["claim"])["claims"][0]["task"], "1");
    world.ask(&b, &["lock", "docs/index.md"]).data();
    world.ask(&a, &["lock", "docs/index.md"]).error(3);
    world.ok(&b, &["lock", "shared/*.rs", "--shared"]);
    world.ok(&a, &["lock", "shared/a*", "--shared"]);
    world.ask(&a, &["lock", "shared/b.rs"]).error(3);
    world.ok(&b, &["unlock", "shared/*.rs"]);
    world.ok(&a, &["lock", "shared/b.rs"]);
    let theirs = world.ask(&b, &["unlock", "shared/b.rs"]).error(3);
    assert_eq!(theirs["holder"], error["holder"]);
    world.ask(&b, &["unlock", "shared/c.rs"]).error(1);
}

#[test]
fn a_dependency_cycle_is_refused_and_named() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "A", "--id", "a"]);
    world.ok(&clone, &["add", "B", "--id", "b", "--needs", "a"]);
    world.ok(&clone, &["add", "C", "--id", "c", "--needs", "b"]);
    let error = world.ask(&clone, &["edit", "a", "--needs", "c"]).error(1);
    assert_eq!((&error["code"], &error["cycle"]), (&json!("cycle"), &json!(["a", "c", "b", "a"])));
    world.ask(&clone, &["add", "D", "--id", "d", "--needs", "d"]).error(1);
    world.ask(&clone, &["add", "E", "--needs", "nobody"]).error(1);
    assert_eq!(world.ok(&clone, &["list"])["tasks"].as_array().expect("tasks").len(), 3, "bad input changed nothing");
}

#[test]
fn pushes_are_counted_where_there_is_a_limit() {
    let world = World::file();
    let clone = world.clone_with_board("worker");
    let bucket = clone.join(".git/scrum/pushes-origin");
    assert!(!bucket.exists(), "a file remote recommends no limit");
    world.sandbox.git(&clone, &["config", "scrum.hosts.pushesPerMinuteMax", "600"]);
    let level = || {
        let text = std::fs::read_to_string(&bucket).expect("pushes are counted");
        let numbers: Vec<i64> = text.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        numbers[0]
    };
    world.ok(&clone, &["add", "One"]);
    assert_eq!(level(), 60_000 - 100);
    world.ok(&clone, &["memory", "add", "Greet", "--kind", "decision"]);
    assert!(level() < 60_000, "memory counts, too");
    // What a server asked for is waited for, and no more than that.
    std::fs::write(&bucket, "60000 0 1\n").expect("the clone is ours");
    world.ok(&clone, &["add", "Two"]);
    // A file that somebody else wrote limits nothing.
    std::fs::write(&bucket, "full of nonsense").expect("the clone is ours");
    world.ok(&clone, &["add", "Three"]);
    assert_eq!(level(), 60_000 - 100);
}

/// A lease that has run out is only over when somebody takes the task. Who is refused takes nothing, and must not be told
/// what is not so: the holder may still finish.
#[test]
fn a_refusal_is_true_of_the_board_as_it_stands() {
    let world = World::file();
    let (a, b) = (world.clone_with_board("a"), world.clone("b"));
    world.ok(&a, &["add", "One"]);
    assert_eq!(
        world.ask_at(&a, "2026-01-01T10:00:00Z", &["claim", "1", "--lease", "1m"]).data()["claims"][0]["task"],
        "1"
    );
    let refused = world.ask_at(&b, "2026-01-01T10:05:00Z", &["unblock", "1"]).error(1);
    assert!(refused["message"].as_str().expect("words").contains("claimed"), "{refused}");
    world.ask_at(&a, "2026-01-01T10:06:00Z", &["done", "1"]).data();
}
