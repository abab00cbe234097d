//! What scripts rely on: JSON on every verb, exit codes, hints, memory, generated pages.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::scrum::{PROGRAM, World, answer, texts};

#[test]
fn every_verb_answers_with_one_json_object() {
    let world = World::file();
    let clone = world.clone("a");
    let body = clone.join("body.md");
    fs::write(&body, "What to do.\n").expect("a write");
    let body = body.to_str().expect("a path");
    let script: &[&[&str]] = &[
        &["init"],
        &["add", "One", "--body-file", body, "--type", "bug", "--size", "small", "--label", "x", "--path", "src"],
        &["add", "Two"],
        &["edit", "2", "--title", "Second", "--label", "y"],
        &["block", "2", "--reason", "wait"],
        &["unblock", "2"],
        &["list"],
        &["ready"],
        &["show", "1"],
        &["claim"],
        &["renew", "1"],
        &["release", "1"],
        &["cancel", "2"],
        &["reopen", "2"],
        &["done", "2"],
        &["lock", "docs"],
        &["locks"],
        &["unlock", "docs"],
        &["conflicts"],
        &["independent", "1"],
        &["team", "add", "t", "--label", "x", "--capacity", "2", "--size-max", "medium"],
        &["team", "list"],
        &["team", "show", "t"],
        &["team", "remove", "t"],
        &["worktree", "list"],
        &["worktree", "clean"],
        &["status"],
        &["log"],
        &["doctor"],
        &["merge-train"],
        &["merge-train", "status"],
        &["memory", "add", "A choice", "--kind", "decision"],
        &["memory", "list"],
        &["memory", "search", "choice"],
        &["completions", "bash"],
    ];
    for args in script {
        let answered = world.ask(&clone, args);
        assert_eq!(answered.exit, 0, "{args:?}: {answered:?}");
        let value = answered.json();
        assert_eq!((&value["schema_version"], value["data"].is_object()), (&json!(1), true), "{args:?}");
        assert_eq!(answered.stdout.lines().count(), 1, "{args:?}");
    }
    let shown = world.ok(&clone, &["show", "1"])["task"].clone();
    assert_eq!(
        (&shown["body"], &shown["type"], &shown["size"]),
        (&json!("What to do.\n"), &json!("bug"), &json!("small"))
    );
}

#[test]
fn failures_have_their_exit_codes_and_say_what_to_do_next() {
    let world = World::file();
    let clone = world.clone("a");
    let no_board = world.ask(&clone, &["list"]).error(128);
    assert_eq!((&no_board["code"], &no_board["hint"]), (&json!("no-board"), &json!("git scrum init")));
    world.ok(&clone, &["init"]);
    let nowhere = world.sandbox.path("nowhere");
    fs::create_dir(&nowhere).expect("a directory");
    world.ask(&nowhere, &["list"]).error(128);
    for args in [&["no-such-verb"][..], &["add"], &["claim", "--count", "0"], &["add", "x", "--priority", "p9"]] {
        world.ask(&clone, args).error(129);
    }
    for args in [&["add", "bad\nline"][..], &["add", "x", "--id", "Not_An_Id"], &["add", "x", "--path", "../up"]] {
        world.ask(&clone, args).error(129);
    }
    assert_eq!(world.ask(&clone, &["show", "nobody"]).error(1)["code"], "no-such-task");
    world.ok(&clone, &["add", "x", "--id", "x"]);
    assert_eq!(world.ask(&clone, &["add", "y", "--id", "x"]).error(1)["code"], "task-exists");
    let plain = world.run(&clone, &["show", "nobody"]);
    assert_eq!((plain.stdout.as_str(), plain.stderr.lines().count()), ("", 2));
    assert!(plain.stderr.starts_with("error: there is no task nobody\nhint: "), "{}", plain.stderr);
    // A reason may be of any length, and is cut to what is kept of it.
    let cancelled = world.ok(&clone, &["cancel", "x", "--reason", &"why ".repeat(20_000)]);
    assert!(cancelled["task"]["reason"].as_str().expect("a reason").len() <= 2_000);
    assert_eq!(world.ask(&clone, &["init", "--remote", "nobody"]).error(128)["code"], "environment");
}

#[test]
fn settings_of_the_target_hold_and_a_misspelt_one_is_named() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    world.ok(&clone, &["add", "One"]);
    world.ok(&clone, &["add", "Two"]);
    world.sandbox.git(&clone, &["checkout", "-q", "main"]);
    world.commit(&clone, ".scrum.toml", "[tasks]\nbranch = \"work/{team}/{id}\"\nleese = \"1h\"\n");
    world.sandbox.git(&clone, &["push", "-q", "origin", "main"]);
    // What does not depend on the target goes on without its settings, and says so once.
    let commit = world.remote_ref("main");
    let what = ".scrum.toml has the unknown key tasks.leese (did you mean tasks.lease?)";
    let what = format!("the settings of main cannot be read, at commit {commit}: {what}");
    for args in [
        &["list"][..],
        &["show", "2"],
        &["claim", "2"],
        &["renew", "2"],
        &["release", "2"],
        &["locks"],
        &["log"],
        &["status"],
        &["merge-train", "pause"],
        &["merge-train", "resume"],
    ] {
        let answered = world.ask(&clone, args);
        assert_eq!(answered.exit, 0, "{args:?}: {answered:?}");
        assert_eq!(answered.stderr, format!("warning: {what}; it is done without them\n"), "{args:?}");
    }
    let doctor = world.run(&clone, &["doctor"]);
    assert!(doctor.stderr.contains(&what) || doctor.stdout.contains(&what), "{doctor:?}");
    for args in [
        &["submit", "--branch", "main"][..],
        &["merge-train"],
        &["merge-train", "status"],
        &["branches"],
        &["revert", "x"],
        &["promote", "main"],
    ] {
        let answered = world.ask(&clone, args);
        let error = answered.error(128);
        assert_eq!((&error["code"], &error["message"]), (&json!("bad-configuration"), &json!(what)), "{args:?}");
        assert_eq!(
            (&error["branch"], &error["commit"], answered.stderr.as_str()),
            (&json!("main"), &json!(commit), "")
        );
    }
    // What is laid over it has no part in that, and stops everybody here.
    let mut command = world.command(&clone, &["list", "--json"]);
    command.env("SCRUM_TASKS_LEASE", "soon");
    assert!(answer(&mut command).error(128)["message"].as_str().expect("words").starts_with("SCRUM_TASKS_LEASE: "));
    world.commit(&clone, ".scrum.toml", "[tasks]\nbranch = \"work/{team}/{id}\"\n");
    world.sandbox.git(&clone, &["push", "-q", "origin", "main"]);
    let claim = world.ok(&clone, &["claim", "--team", "red"])["claims"][0].clone();
    assert_eq!(claim["branch"], "work/red/1");
}

#[test]
fn git_finds_it_as_its_own_verb_and_passes_settings_on() {
    let world = World::file();
    let clone = world.clone_with_board("a");
    let programs = Path::new(PROGRAM).parent().expect("a directory");
    let path = std::env::join_paths(
        [programs.to_path_buf()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").expect("a PATH"))),
    );
    let mut command = world.sandbox.command("git");
    command.current_dir(&clone).env("PATH", path.expect("a PATH"));
    let answered = answer(command.args(["-c", "scrum.holder=from-git", "scrum", "status", "--json"]));
    assert_eq!(answered.data()["holder"], "from-git");
}

#[test]
fn memory_keeps_every_entry_of_concurrent_writers() {
    let world = World::file();
    let clones: Vec<_> = (0..4).map(|number| world.clone_with_board(&format!("m{number}"))).collect();
    std::thread::scope(|scope| {
        for (number, clone) in clones.iter().enumerate() {
            let world = &world;
            scope.spawn(move || {
                for nth in 0..5 {
                    let title = format!("Learned {number}-{nth}");
                    world.ok(clone, &["memory", "add", &title, "--kind", "learning", "--path", "src/**"]);
                }
            });
        }
    });
    let entries = world.ok(&clones[0], &["memory", "list"])["entries"].clone();
    assert_eq!(entries.as_array().expect("entries").len(), 20);
    let first = entries[0]["id"].as_str().expect("an id").to_owned();
    let old = world.ok(&clones[1], &["memory", "show", &first[..10]])["entry"].clone();
    assert_eq!(old["paths"], json!(["src/**"]));
    let new = world.ok(&clones[2], &["memory", "add", "Better", "--kind", "decision", "--supersedes", &first[..10]]);
    assert_eq!(new["entry"]["supersedes"], first.as_str());
    let titles = texts(&world.ok(&clones[3], &["memory", "search", "better"])["entries"], Some("title"));
    assert_eq!(titles, ["Better"]);
    assert_eq!(world.ok(&clones[3], &["memory", "list"])["entries"].as_array().expect("entries").len(), 20);
    assert_eq!(world.ok(&clones[3], &["memory", "list", "--all"])["entries"].as_array().expect("entries").len(), 21);
    world.ask(&clones[0], &["memory", "show", "ffffffffffff"]).error(1);
}

#[test]
fn manual_pages_and_completions_are_made_from_the_command_line_itself() {
    let world = World::file();
    let pages = world.sandbox.path("man1");
    let written = world.ok(world.sandbox.root(), &["man", pages.to_str().expect("a path")]);
    assert!(texts(&written["pages"], None).iter().any(|page| page.ends_with("git-scrum-merge-train.1")));
    let page = fs::read_to_string(pages.join("git-scrum.1")).expect("a page");
    assert!(page.contains("git-scrum") && page.contains("claim"), "{page}");
    for shell in ["bash", "zsh", "fish"] {
        assert!(world.run(world.sandbox.root(), &["completions", shell]).stdout.contains("merge-train"), "{shell}");
    }
}
