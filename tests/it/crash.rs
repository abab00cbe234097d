//! The crash sweep: every verb that writes, killed at every step, and asked again.
//!
//! A story is played once undisturbed. Then it is played anew for n = 1, 2, …, and each of its commands is killed by
//! SIGKILL at its n-th step (`src/failpoint.rs`: one before everything that outlives the process, and one at the end)
//! and given again, as whoever lost the answer would; in some stories after somebody in another clone has done
//! something. However often it was interrupted, a story ends like the undisturbed one: the same operations on the
//! board, each once, in versions that `log --verify` accepts; the same records and refs; no lock file, scratch
//! directory or half-written file; whole repositories; the same worktrees, with the same work in them.
//!
//! A program that the killed one has started runs to its end, for steps lie around it. What happens when both die is
//! left to chance in `kill.rs`, and to the simulator.

mod scene;

use scene::{CANDIDATE, Scene, Setting, Verb, verb, verb_at, verb_by};

/// Everything that merges may land: a story that is about something else need not run checks.
const NO_CHECK: &str = "";
const EXTERNAL: &str = "[train]\nci = \"external\"\n";

/// Verbs that change the board or memory and nothing else.
const BOARD: &[Verb] = &[
    verb(&["team", "add", "core", "--label", "ui"]),
    verb(&["add", "Two", "--id", "two", "--path", "two/**"]),
    verb(&["edit", "two", "--title", "Two again", "--label", "ui"]),
    verb(&["block", "two", "--reason", "not yet"]),
    verb(&["unblock", "two"]),
    verb(&["cancel", "two"]),
    verb(&["reopen", "two"]),
    verb(&["lock", "docs/**"]),
    verb(&["unlock", "docs/**"]),
    // The same as before, and yet another request: the answer to that is not the answer to this.
    verb(&["lock", "docs/**"]),
    verb(&["merge-train", "pause"]),
    verb(&["merge-train", "pause", "--below", "p1"]),
    verb(&["merge-train", "resume"]),
    verb(&["memory", "add", "No FIXME lands", "--kind", "convention"]),
    verb(&["team", "remove", "core"]),
];

/// The second time there is nothing left to fold.
const FOLD: &[Verb] = &[verb(&["gc", "--force"]), verb(&["add", "Two", "--id", "two"])];

/// Some of them, where all take the same way.
const BOARD_IN_SHORT: &[Verb] = &[
    verb(&["add", "Two", "--id", "two"]),
    verb(&["lock", "docs/**"]),
    verb(&["memory", "add", "No FIXME lands", "--kind", "convention"]),
];

const AMONG_OTHERS: &[Verb] = &[
    verb(&["add", "Two", "--id", "two"]),
    verb(&["claim", "two"]),
    verb(&["release", "two"]),
    verb_at("one", &["submit"]),
];

const CLAIMS: &[Verb] = &[
    verb(&["claim", "one"]),
    verb(&["renew", "one", "--lease", "2h"]),
    verb(&["release", "one", "--reason", "no time"]),
    verb(&["claim", "--count", "2"]),
    verb(&["fail", "one", "--reason", "too hard"]),
    verb(&["done", "two"]),
];

const WARNED: &[Verb] = &[verb(&["claim", "two"])];

const AFFECTED: &str = "[train]\nci = \"external\"\naffected = [\"sh\", \"-c\", \"cut -d/ -f1\"]\n";

const HEARTBEATS: &[Verb] = &[verb(&["renew"]), verb(&["release", "one"]), verb(&["renew"])];
/// The last of them finds nothing that is held any more, and takes the heartbeat back.
const LAST_HEARTBEATS: &[Verb] = &[verb(&["renew"]), verb(&["done", "one"]), verb(&["done", "two"]), verb(&["renew"])];

const WORKTREES: &[Verb] = &[
    verb(&["claim", "three", "--worktree"]),
    // Where it is gone already there is none to remove.
    Verb { at: None, by: None, args: &["worktree", "remove", "one"], or_no: true },
    verb(&["worktree", "add", "one"]),
    verb(&["worktree", "clean"]),
];

const SUBMISSIONS: &[Verb] = &[
    verb_at("one", &["submit"]),
    verb(&["merge-train", "eject", "one"]),
    verb_at("one", &["submit"]),
    verb(&["submit", "--branch", "feature/x", "--after", "one"]),
    verb(&["submit", "--branch", "feature/y"]),
    verb_by("cyd", &["approve", "feature/y"]),
    verb_by("cyd", &["approve", "feature/y", "--withdraw"]),
    verb_by("cyd", &["approve", "feature/y"]),
    verb(&["merge-train", "promote", "feature/y"]),
];

const REVERT: &[Verb] = &[verb(&["revert", "one"]), verb(&["merge-train", "--once"])];
const PROMOTE: &[Verb] = &[verb(&["promote", "team"]), verb(&["merge-train", "--once"])];
const SWEEP: &[Verb] = &[verb(&["branches", "--sweep"])];
const PASS: &[Verb] = &[verb(&["merge-train", "--once"])];
const SUBMIT_AND_PASS: &[Verb] = &[verb_at("one", &["submit"]), verb(&["merge-train", "--once"])];
const VERDICT: &[Verb] = &[
    verb(&["merge-train", "--once"]),
    verb(&["verdict", "pass", "--commit", CANDIDATE]),
    verb(&["merge-train", "--once"]),
];

fn begin(setting: Setting) {
    let args: &[Verb] = match setting {
        Setting::Files | Setting::Reftable => &[verb(&["init"])],
        Setting::Alone | Setting::AloneReftable => &[verb(&["init", "--local"])],
    };
    let Some(scene) = Scene::usual(setting, |_| {}) else { return };
    scene.sweep(args);
}

fn board(setting: Setting, story: &[Verb]) {
    let prepared = Scene::usual(setting, |scene| {
        scene.ok(&["init"]);
        scene.ok(&["memory", "add", "Greet", "--kind", "decision"]);
    });
    prepared.inspect(|scene| scene.sweep(story));
}

fn claims(setting: Setting) {
    let prepared = Scene::usual(setting, |scene| {
        scene.ok(&["init"]);
        for task in ["one", "two", "three"] {
            scene.ok(&["add", "Do it", "--id", task]);
        }
    });
    prepared.inspect(|scene| scene.sweep(CLAIMS));
}

fn heartbeats(setting: Setting, story: &[Verb]) {
    let prepared = Scene::usual(setting, |scene| {
        scene.ok(&["init"]);
        for task in ["one", "two"] {
            scene.ok(&["add", "Do it", "--id", task]);
            scene.ok(&["claim", task]);
        }
    });
    prepared.inspect(|scene| scene.sweep(story));
}

/// One claim whose worktree is to go although work is left in it, one that was lost, and one to be made.
fn worktrees(setting: Setting) {
    let prepared = Scene::usual(setting, |scene| {
        scene.ok(&["init"]);
        std::fs::write(scene.clone().join(".env"), "KEY=value\n").expect("the clone is writable");
        for task in ["one", "two"] {
            let worktree = scene.work_on(task, task);
            std::fs::write(worktree.join("unfinished"), "in no commit\n").expect("the worktree is writable");
        }
        scene.ok(&["release", "two"]);
        scene.ok(&["cancel", "two"]);
        scene.ok(&["add", "Do three", "--id", "three"]);
    });
    prepared.inspect(|scene| scene.sweep(WORKTREES));
}

fn submissions(setting: Setting) {
    let prepared = Scene::usual(setting, |scene| {
        scene.ok(&["init"]);
        scene.branch("feature/x", "x");
        scene.branch("feature/y", "y");
        scene.work_on("one", "one");
    });
    prepared.inspect(|scene| scene.sweep(SUBMISSIONS));
}

/// A car that lands, unless its file is `bad`.
fn in_the_train(file: &str) -> Scene {
    let scene = Scene::usual(Setting::Files, |scene| {
        scene.ok(&["init"]);
        scene.world.ok(&scene.work_on("one", file), &["submit"]);
    });
    scene.expect("files can always be had")
}

fn submit_and_pass(setting: Setting) {
    let prepared = Scene::new(setting, NO_CHECK, |scene| {
        scene.ok(&["init"]);
        std::fs::write(scene.clone().join("mine"), "in no commit\n").expect("the clone is writable");
        scene.work_on("one", "one");
    });
    prepared.inspect(|scene| scene.sweep(SUBMIT_AND_PASS));
}

#[test]
fn among_others() {
    let scene = Scene::usual(Setting::Files, |scene| {
        scene.ok(&["init"]);
        scene.ok(&["memory", "add", "Greet", "--kind", "decision"]);
        scene.work_on("one", "one");
    });
    scene.expect("files can always be had").among_others().sweep(AMONG_OTHERS);
    in_the_train("good").among_others().sweep_from(PASS, "removing a check's note");
}

#[test]
fn of_creating_the_board() {
    begin(Setting::Files);
}

#[test]
fn of_verbs_that_change_the_board() {
    board(Setting::Files, BOARD);
}

#[test]
fn of_folding() {
    board(Setting::Files, FOLD);
    board(Setting::Alone, FOLD);
    let scene = Scene::usual(Setting::Files, |scene| {
        scene.world.sandbox.git(scene.world.remote().bare(), &["config", "receive.advertiseAtomic", "false"]);
        scene.ok(&["init"]);
        scene.ok(&["add", "One", "--id", "one"]);
    });
    scene.expect("files can always be had").sweep(FOLD);
}

#[test]
fn of_claims() {
    claims(Setting::Files);
}

#[test]
fn of_a_claim_that_warns() {
    let scene = Scene::new(Setting::Files, "[tasks]\nwarn_within = \"5m\"\n", |scene| {
        scene.ok(&["init"]);
        scene.work_on("one", "one");
        scene.ok(&["add", "Two", "--id", "two", "--path", "one"]);
    });
    scene.expect("files can always be had").sweep_from(WARNED, "writing what was looked at");
}

#[test]
fn of_heartbeats() {
    heartbeats(Setting::Files, HEARTBEATS);
    heartbeats(Setting::Files, LAST_HEARTBEATS);
    heartbeats(Setting::Alone, LAST_HEARTBEATS);
}

#[test]
fn of_worktrees() {
    worktrees(Setting::Files);
}

#[test]
fn of_submissions() {
    submissions(Setting::Files);
}

#[test]
fn of_taking_back_what_landed() {
    for setting in [Setting::Files, Setting::Alone] {
        let prepared = Scene::new(setting, NO_CHECK, |scene| {
            scene.ok(&["init"]);
            scene.world.ok(&scene.work_on("one", "one"), &["submit"]);
            scene.ok(&["merge-train"]);
        });
        prepared.expect("files can always be had").sweep(REVERT);
    }
}

#[test]
fn of_promoting_what_landed_below() {
    let prepared = Scene::new(Setting::Files, "[trains.team]\ninto = \"main\"\n", |scene| {
        scene.ok(&["init"]);
        scene.branch("team", "one");
    });
    prepared.expect("files can always be had").sweep(PROMOTE);
}

#[test]
fn of_sweeping_branches() {
    let prepared = Scene::new(Setting::Files, NO_CHECK, |scene| {
        scene.ok(&["init"]);
        for name in ["one", "two"] {
            scene.branch(name, name);
            scene.ok(&["submit", "--branch", name]);
        }
        scene.ok(&["merge-train"]);
    });
    prepared.expect("files can always be had").sweep(SWEEP);
}

#[test]
fn of_a_pass_that_lands() {
    in_the_train("good").sweep(PASS);
}

#[test]
fn of_a_pass_whose_check_fails() {
    // Up to its end, a check that fails is like one that passes.
    in_the_train("bad").sweep_from(PASS, "removing a check's note");
}

#[test]
fn of_a_pass_that_ejects_a_conflict_and_a_moved_head() {
    let scene = Scene::usual(Setting::Files, |scene| {
        scene.ok(&["init"]);
        scene.branch("feature/x", "x");
        scene.ok(&["submit", "--branch", "feature/x"]);
        scene.branch("feature/x", "more");
        scene.world.ok(&scene.work_on("one", "shared"), &["submit"]);
        scene.world.commit(&scene.clone(), "shared", "another\n");
        scene.world.sandbox.git(scene.clone(), &["push", "-q", "origin", "main"]);
    });
    scene.expect("files can always be had").sweep(PASS);
}

#[test]
fn of_a_pass_that_waits_for_a_verdict() {
    let scene = Scene::new(Setting::Files, EXTERNAL, |scene| {
        scene.ok(&["init"]);
        scene.world.ok(&scene.work_on("one", "one"), &["submit"]);
    });
    scene.expect("files can always be had").sweep(VERDICT);
}

#[test]
fn of_a_pass_that_asks_what_a_car_affects() {
    let scene = Scene::new(Setting::Files, AFFECTED, |scene| {
        scene.ok(&["init"]);
        scene.world.ok(&scene.work_on("one", "one"), &["submit"]);
    });
    scene.expect("files can always be had").sweep_from(PASS, "a check's note");
}

#[test]
fn of_landing_where_pushes_are_not_atomic() {
    let scene = Scene::new(Setting::Files, NO_CHECK, |scene| {
        scene.world.sandbox.git(scene.world.remote().bare(), &["config", "receive.advertiseAtomic", "false"]);
        scene.ok(&["init"]);
        scene.work_on("one", "one");
    });
    scene.expect("files can always be had").one_by_one().sweep(SUBMIT_AND_PASS);
}

#[test]
fn of_a_clone_that_is_its_own_truth() {
    begin(Setting::Alone);
    board(Setting::Alone, BOARD_IN_SHORT);
    worktrees(Setting::Alone);
    submit_and_pass(Setting::Alone);
}

// Only what moves refs in several ways: the rest differs in nothing but how long it takes.
#[test]
fn with_reftables() {
    begin(Setting::Reftable);
    submit_and_pass(Setting::Reftable);
}

#[test]
fn with_reftables_in_a_clone_that_is_its_own_truth() {
    submit_and_pass(Setting::AloneReftable);
}
