//! The conflict radar: who collides with whom, before anybody is finished.

mod fuzz;
mod nearby;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::scrum::{Answer, CONFIG, World, texts};
use crate::support::RemoteKind;

/// A clone with a board in which `task` is claimed and `path` is changed on its branch, which is pushed.
fn worker(world: &World, task: &str, path: &str, content: &str) -> PathBuf {
    let clone = world.clone_with_board(&format!("of-{task}"));
    world.sandbox.git(&clone, &["config", "scrum.holder", &format!("holder-{task}")]);
    world.ok(&clone, &["add", "Something", "--id", task]);
    let worktree = claimed_worktree(world, &clone, task);
    world.commit(&worktree, path, content);
    world.sandbox.git(&worktree, &["push", "-q", "origin", "HEAD"]);
    clone
}

fn claimed_worktree(world: &World, clone: &Path, task: &str) -> PathBuf {
    let claimed = world.ok(clone, &["claim", task, "--worktree"]);
    PathBuf::from(claimed["claims"][0]["worktree"].as_str().expect("a worktree"))
}

fn worktree(clone: &Path, task: &str) -> PathBuf {
    let name = clone.file_name().expect("a name").to_str().expect("a name in UTF-8");
    clone.parent().expect("a parent").join(format!("{name}-worktrees")).join(task)
}

/// The pairs of an answer that is a no.
fn no(answered: &Answer) -> Value {
    assert_eq!(answered.exit, 1, "{answered:?}");
    answered.json()["data"].clone()
}

fn colliding(data: &Value) -> Vec<(String, String, Vec<String>)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let pairs = data["pairs"].as_array().expect("a list").iter();
    pairs.map(|pair| (text(&pair["a"]), text(&pair["b"]), texts(&pair["paths"], None))).collect()
}

/// Everything in a repository but the files of our own: refs, and how many objects.
fn state(world: &World, repo: &Path) -> String {
    let refs = world.sandbox.git(repo, &["for-each-ref"]);
    format!("{refs}\n{}", world.sandbox.git(repo, &["count-objects", "-v"]))
}

#[test]
fn claims_that_collide_are_named_with_their_holders_before_anybody_is_finished() {
    let world = World::file();
    worker(&world, "one", "readme", "one\n");
    worker(&world, "two", "readme", "two\n");
    worker(&world, "three", "other", "three\n");
    let onlooker = world.clone("onlooker");
    let data = no(&world.ask(&onlooker, &["conflicts"]));
    let (one, two) = ("ai-feature/issue-one", "ai-feature/issue-two");
    assert_eq!(colliding(&data), [(one.to_owned(), two.to_owned(), vec!["readme".to_owned()])]);
    let pair = &data["pairs"][0];
    assert_eq!((&pair["of_a"]["task"], &pair["of_a"]["holder"]), (&json!("one"), &json!("holder-one")));
    assert_eq!((&pair["of_b"]["task"], &pair["of_b"]["holder"]), (&json!("two"), &json!("holder-two")));
    assert_eq!((&data["with_target"], &data["unseen"]), (&json!([]), &json!([])));
    assert_eq!(texts(&data["branches"], Some("task")), ["one", "two", "three"]);

    // Looking leaves nothing behind but what was fetched.
    let before = state(&world, &onlooker);
    let mut again = world.command(&onlooker, &["conflicts"]);
    fs::remove_file(onlooker.join(".git/scrum/radar")).expect("answers are remembered");
    let scratch = world.sandbox.path("scratch");
    fs::create_dir(&scratch).expect("the sandbox is writable");
    let plain = crate::scrum::answer(again.env("TMPDIR", &scratch));
    assert_eq!(plain.exit, 1, "{plain:?}");
    let line = format!("{one} (task one, by holder-one) and {two} (task two, by holder-two): readme\n");
    assert_eq!((plain.stdout, state(&world, &onlooker)), (line, before));
    assert_eq!(fs::read_dir(&scratch).expect("it is there").count(), 0);
}

#[test]
fn cars_and_the_target_collide_as_well() {
    let world = World::file();
    let first = worker(&world, "one", "readme", "one\n");
    worker(&world, "two", "readme", "two\n");
    world.ok(&worktree(&first, "one"), &["submit"]);
    let data = no(&world.ask(&first, &["conflicts"]));
    assert_eq!(
        (&data["pairs"][0]["of_a"]["car"], &data["pairs"][0]["of_a"]["holder"]),
        (&json!("one"), &json!("holder-one"))
    );
    world.ok(&first, &["merge-train", "--once"]);
    let data = no(&world.ask(&first, &["conflicts"]));
    assert_eq!((&data["pairs"], texts(&data["branches"], Some("task"))), (&json!([]), vec!["two".to_owned()]));
    let with_target = &data["with_target"][0];
    assert_eq!((&with_target["branch"], &with_target["task"]), (&json!("ai-feature/issue-two"), &json!("two")));
    assert_eq!((&with_target["paths"], &with_target["b"]), (&json!(["readme"]), &json!("main")));
    // On another target nothing of it matters but that.
    world.sandbox.git(&first, &["push", "-q", "origin", "main:refs/heads/stable"]);
    let stable = world.ask(&first, &["conflicts", "--target", "stable"]);
    assert_eq!((stable.data()["with_target"].clone(), stable.exit), (json!([]), 0));
}

#[test]
fn a_branch_is_seen_where_it_is_newest_and_saved_work_counts() {
    let world = World::file();
    let first = worker(&world, "one", "readme", "one\n");
    let second = world.clone_with_board("second");
    world.ok(&second, &["add", "Two", "--id", "two"]);
    let their_worktree = claimed_worktree(&world, &second, "two");
    world.commit(&their_worktree, "readme", "two\n");
    // It is in no other clone, but in its own.
    let data = world.ok(&first, &["conflicts"]);
    assert_eq!(texts(&data["unseen"], Some("task")), ["two"]);
    assert_eq!(colliding(&no(&world.ask(&second, &["conflicts"]))).len(), 1);
    // What is in no commit is saved when the worktree goes, and then everybody sees it.
    fs::write(their_worktree.join("readme"), "two again\n").expect("a write");
    world.ok(&second, &["worktree", "remove", "two"]);
    let data = no(&world.ask(&first, &["conflicts"]));
    let theirs = &data["pairs"][0]["of_b"];
    assert_eq!((&theirs["task"], &theirs["saved"], &data["unseen"]), (&json!("two"), &json!(true), &json!([])));
    // A claim that is over is no work under way.
    world.ok(&second, &["release", "two"]);
    assert_eq!(world.ok(&first, &["conflicts"])["pairs"], json!([]));
    // Whoever cannot reach the remote is shown what was seen last.
    fs::rename(world.remote().bare(), world.sandbox.path("away")).expect("it can be moved");
    let offline = world.ask(&first, &["conflicts"]);
    assert_eq!((offline.data()["current"].clone(), offline.stderr.contains("last seen")), (json!(false), true));
}

/// Pushes a branch of this name from `clone`, on which `path` is changed.
fn pushed(world: &World, clone: &Path, branch: &str, path: &str, content: &str) {
    world.sandbox.git(clone, &["checkout", "-q", "-B", branch, "origin/main"]);
    world.commit(clone, path, content);
    world.sandbox.git(clone, &["push", "-q", "-f", "origin", branch]);
    world.sandbox.git(clone, &["checkout", "-q", "main"]);
}

#[test]
fn a_branch_of_this_clone_does_not_hide_the_newer_one_of_the_remote_nor_the_other_way_round() {
    let world = World::file();
    let here = world.clone_with_board("here");
    pushed(&world, &here, "feat", "other", "feat\n");
    pushed(&world, &here, "rival", "readme", "rival\n");
    assert_eq!(world.ok(&here, &["conflicts", "feat", "rival"])["pairs"], json!([]));
    let there = world.clone("there");
    world.sandbox.git(&there, &["checkout", "-q", "feat"]);
    world.commit(&there, "readme", "feat\n");
    world.sandbox.git(&there, &["push", "-q", "origin", "feat"]);
    let states = |data: &Value| texts(&data["branches"], Some("seen"));
    let stale = no(&world.ask(&here, &["conflicts", "feat", "rival"]));
    let pair = || ("feat".to_owned(), "rival".to_owned(), vec!["readme".to_owned()]);
    assert_eq!((colliding(&stale), states(&stale)), (vec![pair()], vec!["pushed".to_owned(), "pushed".to_owned()]));
    // What is not pushed yet counts where it goes on from what is.
    world.sandbox.git(&there, &["checkout", "-q", "-b", "third", "origin/main"]);
    world.commit(&there, "third", "third\n");
    world.sandbox.git(&there, &["push", "-q", "origin", "third"]);
    world.sandbox.git(&there, &["checkout", "-q", "feat"]);
    world.commit(&there, "third", "feat\n");
    let data = no(&world.ask(&there, &["conflicts", "feat", "third"]));
    assert_eq!((colliding(&data).len(), states(&data)), (1, vec!["here".to_owned(), "pushed".to_owned()]));
    // Where the two have parted, both do.
    world.sandbox.git(&here, &["checkout", "-q", "feat"]);
    world.commit(&here, "third", "here\n");
    let shown = world.run(&here, &["conflicts", "feat", "rival", "third"]);
    let lines = ["feat (as pushed) and rival: readme\n", "feat (as it is here) and third: third\n"];
    assert_eq!((shown.exit, shown.stdout), (1, lines.concat()));
}

#[test]
fn open_branches_that_nobody_has_claimed_or_submitted_are_looked_at() {
    let config = format!("{CONFIG}[branches]\ntargets = [\"main\", \"stable\"]\nteam = \"team/{{team}}\"\n");
    let world = World::with_config(RemoteKind::File, &config).expect("a file remote can always be had");
    let here = world.clone_with_board("here");
    // What somebody else lands on, what is tested, what has landed, and what is over.
    for name in ["stable", "team/web", "scrum/train/main/1"] {
        pushed(&world, &here, name, "readme", name);
    }
    world.sandbox.git(&here, &["push", "-q", "origin", "origin/main:refs/heads/old"]);
    world.ok(&worker(&world, "over", "readme", "over\n"), &["done", "over"]);
    assert_eq!(world.run(&here, &["conflicts"]).stdout, "Nothing collides: there is no work under way.\n");

    pushed(&world, &here, "feat", "readme", "feat\n");
    pushed(&world, &here, "rival", "readme", "rival\n");
    let onlooker = world.clone("onlooker");
    pushed(&world, &here, "late", "late", "late\n");
    let data = no(&world.ask(&onlooker, &["conflicts"]));
    let mut names = texts(&data["branches"], Some("branch"));
    names.sort();
    assert_eq!((names, colliding(&data).len()), (["feat", "late", "rival"].map(str::to_owned).to_vec(), 1));
    assert_eq!((&data["pairs"][0]["of_a"]["holder"], &data["left_out"]), (&Value::Null, &json!(0)));
    // What is not pushed yet counts, too.
    world.sandbox.git(&onlooker, &["fetch", "-q", "origin"]);
    world.sandbox.git(&onlooker, &["checkout", "-q", "late"]);
    world.commit(&onlooker, "readme", "late\n");
    assert_eq!(colliding(&no(&world.ask(&onlooker, &["conflicts"]))).len(), 3);
    let shown = world.run(&onlooker, &["conflicts", "--under-way"]);
    assert_eq!((shown.exit, shown.stdout.as_str()), (0, "Nothing collides: there is no work under way.\n"));
    world.ask(&onlooker, &["conflicts", "feat", "--under-way"]).error(129);
    // Those that are named are compared with each other, and with what is under way.
    assert_eq!(world.ok(&here, &["conflicts", "feat", "late"])["pairs"], json!([]));

    let many: Vec<String> = (0..499).map(|nth| format!("origin/late:refs/heads/copy-{nth}")).collect();
    let push: Vec<&str> = ["push", "-q", "origin"].into_iter().chain(many.iter().map(String::as_str)).collect();
    world.sandbox.git(&here, &push);
    assert_eq!(world.ask(&here, &["conflicts"]).json()["data"]["left_out"], 2);
    let shown = world.run(&here, &["conflicts"]).stdout;
    assert!(
        shown.ends_with("Left out: 2 branches, the oldest: git scrum conflicts BRANCH... looks at them\n"),
        "{shown}"
    );
    // Offline it is what an ordinary fetch has brought.
    fs::rename(world.remote().bare(), world.sandbox.path("away")).expect("it can be moved");
    let offline = no(&world.ask(&onlooker, &["conflicts"]));
    assert_eq!((&offline["current"], colliding(&offline).len()), (&json!(false), 3));
}

#[test]
fn work_that_goes_on_after_it_was_submitted_is_seen() {
    let world = World::file();
    let first = worker(&world, "one", "one", "one\n");
    let one = worktree(&first, "one");
    world.ok(&one, &["submit"]);
    pushed(&world, &first, "rival", "readme", "rival\n");
    world.ok(&first, &["submit", "--branch", "rival"]);
    let onlooker = world.clone("onlooker");
    assert_eq!(world.ok(&onlooker, &["conflicts"])["pairs"], json!([]));
    world.commit(&one, "readme", "one\n");
    world.sandbox.git(&one, &["push", "-q", "origin", "HEAD"]);
    let data = no(&world.ask(&onlooker, &["conflicts"]));
    assert_eq!((colliding(&data).len(), &data["pairs"][0]["of_a"]["seen"]), (1, &json!("pushed")));
    // What was submitted counts still where the branch has parted from it.
    world.sandbox.git(&one, &["push", "-q", "-f", "origin", "HEAD~2:refs/heads/ai-feature/issue-one"]);
    world.sandbox.git(&first, &["checkout", "-q", "-B", "other", "origin/main"]);
    world.commit(&first, "one", "other\n");
    let pair = colliding(&no(&world.ask(&first, &["conflicts", "other"])));
    assert_eq!(pair[0].2, ["one"], "{pair:?}");
}

/// A clone that is its own truth, with branches that each change one file; the board is there.
fn alone(branches: &[(&str, &str, &str)]) -> (World, PathBuf) {
    let (world, repo) = World::local();
    world.ok(&repo, &["init", "--local"]);
    world.commit(&repo, "readme", "hello\n");
    for (branch, path, content) in branches {
        world.sandbox.git(&repo, &["checkout", "-q", "-b", branch, "main"]);
        world.commit(&repo, path, content);
    }
    world.sandbox.git(&repo, &["checkout", "-q", "main"]);
    (world, repo)
}

#[test]
fn branches_that_are_named_are_looked_at_wherever_they_come_from() {
    let (world, repo) = alone(&[("a", "readme", "a\n"), ("b", "readme", "b\n"), ("c", "c", "c\n")]);
    let nothing = "Nothing collides: there is no work under way.\n";
    assert_eq!(world.run(&repo, &["conflicts", "--under-way"]).stdout, nothing);
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned(), vec!["readme".to_owned()]);
    assert_eq!(colliding(&no(&world.ask(&repo, &["conflicts", "a", "b", "c", "a"]))), [pair("a", "b")]);
    assert_eq!(colliding(&no(&world.ask(&repo, &["conflicts", "b", "a"]))), [pair("b", "a")]);
    assert_eq!(world.run(&repo, &["conflicts", "a", "c"]).stdout, "Nothing collides: 2 branches, and main.\n");
    // What is under way comes along, where it has to do with what is named.
    world.ok(&repo, &["submit", "--branch", "a"]);
    world.ok(&repo, &["submit", "--branch", "b"]);
    assert_eq!(world.ok(&repo, &["conflicts", "c"])["looked_at"]["pairs"], 3);
    assert_eq!(colliding(&no(&world.ask(&repo, &["conflicts", "b"]))), [pair("a", "b")]);
    let error = world.ask(&repo, &["conflicts", "nobody"]).error(1);
    assert_eq!(error["message"], "there is no branch nobody, neither here nor where the code is");
    assert_eq!(world.ask(&repo, &["conflicts", "--target", "nobody"]).error(1)["hint"], "name another with --target");
    world.ask(&repo, &["conflicts", "no branch"]).error(129);
}

#[test]
fn only_what_has_moved_is_merged_again_and_garbage_in_the_cache_does_no_harm() {
    let names: Vec<String> = (0..6).map(|nth| format!("b{nth}")).collect();
    let branches: Vec<(&str, &str, &str)> = names.iter().map(|name| (name.as_str(), "readme", name.as_str())).collect();
    let (world, repo) = alone(&branches);
    let args: Vec<&str> = ["conflicts"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let looked = |data: &Value| {
        let number = |field: &str| data["looked_at"][field].as_u64().expect("a number");
        (number("known"), number("ruled_out"), number("merged"))
    };
    let first = no(&world.ask(&repo, &args));
    assert_eq!((looked(&first), colliding(&first).len()), ((0, 0, 21), 15));
    let second = no(&world.ask(&repo, &args));
    assert_eq!((looked(&second), &second["pairs"]), ((21, 0, 0), &first["pairs"]));
    world.sandbox.git(&repo, &["checkout", "-q", "b3"]);
    world.commit(&repo, "more", "more\n");
    assert_eq!(looked(&no(&world.ask(&repo, &args))), (15, 0, 6));
    // The target moves: its pairs are new, and attributes that say otherwise make all others new as well.
    world.sandbox.git(&repo, &["checkout", "-q", "main"]);
    world.commit(&repo, "more of main", "more\n");
    assert_eq!(looked(&no(&world.ask(&repo, &args))), (15, 0, 6));
    world.commit(&repo, ".gitattributes", "readme merge=union\n");
    let united = world.ok(&repo, &args);
    assert_eq!((looked(&united), &united["pairs"]), ((0, 0, 21), &json!([])));
    // So do settings, for which git may be asked to take a driver.
    world.sandbox.git(&repo, &["config", "merge.union.driver", "false"]);
    let driven = no(&world.ask(&repo, &args));
    assert_eq!((looked(&driven), colliding(&driven).len()), ((0, 0, 21), 15));

    let file = repo.join(".git/scrum/radar");
    let good = fs::read(&file).expect("answers are remembered");
    let lies = String::from_utf8(good.clone()).expect("text").replace(" [\"readme\"]", " [7]");
    for garbage in [&b""[..], b"\xff\xfe\x00", b"radar-1\n\n", &good[..good.len() / 2], lies.as_bytes()] {
        fs::write(&file, garbage).expect("a write");
        let again = no(&world.ask(&repo, &args));
        assert_eq!(again["pairs"], driven["pairs"], "{:?}", String::from_utf8_lossy(garbage));
    }
    fs::remove_file(&file).expect("it is there");
    fs::create_dir(&file).expect("nobody can write a file there");
    assert_eq!(no(&world.ask(&repo, &args))["pairs"], driven["pairs"]);
}

#[test]
fn gits_that_merge_one_pair_at_a_time_are_asked_that_way_and_older_ones_are_named() {
    let (world, repo) = alone(&[("a", "readme", "a\n"), ("b", "readme", "b\n"), ("c", "c", "c\n")]);
    let ask = |refused: &str| {
        let cases = format!("*merge-tree*{refused}*) echo 'usage: git merge-tree' >&2; exit 129 ;;");
        let _ = fs::remove_file(repo.join(".git/scrum/radar"));
        let mut command = world.command(&repo, &["conflicts", "a", "b", "c", "--json"]);
        crate::scrum::answer(command.env("PATH", world.sandbox.path_where_git(&cases)))
    };
    assert_eq!(colliding(&no(&ask("--stdin"))).len(), 1);
    let error = ask("--write-tree").error(128);
    assert_eq!(error["message"], "git merge-tree --write-tree is missing: git 2.38 or newer is needed");
}

#[test]
fn a_bare_repository_obeys_the_attributes_of_the_target_as_well() {
    let (world, _) = World::local();
    let bare = world.sandbox.init_bare("bare.git", &["--object-format=sha256"]);
    let clone = world.sandbox.clone(bare.to_str().expect("a path"), "clone");
    world.sandbox.git(&clone, &["checkout", "-q", "-B", "main"]);
    world.commit(&clone, "list", "one\n");
    for (branch, attributes) in [("main", "list merge=union\n"), ("plain", "")] {
        world.sandbox.git(&clone, &["checkout", "-q", "-B", branch]);
        world.commit(&clone, ".gitattributes", attributes);
    }
    for branch in ["a", "b"] {
        world.sandbox.git(&clone, &["checkout", "-q", "-b", branch, "plain~1"]);
        world.commit(&clone, "list", &format!("one\n{branch}\n"));
    }
    world.sandbox.git(&clone, &["push", "-q", "origin", "main", "plain", "a", "b"]);
    world.ok(&bare, &["init", "--local"]);
    assert_eq!(world.ok(&bare, &["conflicts", "a", "b"])["pairs"], json!([]));
    assert_eq!(colliding(&no(&world.ask(&bare, &["conflicts", "a", "b", "--target", "plain"]))).len(), 1);
}

#[test]
fn histories_that_share_nothing_collide_on_everything() {
    let (world, repo) = alone(&[("a", "a", "a\n"), ("b", "b", "b\n")]);
    world.sandbox.git(&repo, &["checkout", "-q", "--orphan", "lone"]);
    world.commit(&repo, "lone", "lone\n");
    world.sandbox.git(&repo, &["checkout", "-q", "main"]);
    let data = no(&world.ask(&repo, &["conflicts", "a", "lone", "b"]));
    let pairs = colliding(&data);
    assert_eq!(
        pairs.iter().map(|(a, b, _)| (a.as_str(), b.as_str())).collect::<Vec<_>>(),
        [("a", "lone"), ("lone", "b")]
    );
    assert!(pairs.iter().all(|(_, _, paths)| paths == &["everything: the two have no common history"]), "{pairs:?}");
    assert_eq!(texts(&data["with_target"], Some("branch")), ["lone"]);
}

#[test]
fn paths_that_would_change_a_terminal_are_escaped_and_long_lists_are_cut() {
    let (world, repo) = alone(&[]);
    for (branch, content) in [("a", "a\n"), ("b", "b\n")] {
        world.sandbox.git(&repo, &["checkout", "-q", "-b", branch, "main"]);
        world.commit(&repo, "x\u{1b}[31m\nerror: y", content);
        (0..60).for_each(|nth| fs::write(repo.join(format!("z{nth}")), content).expect("a write"));
        world.sandbox.git(&repo, &["add", "."]);
        world.sandbox.git(&repo, &["commit", "-q", "-m", "more"]);
    }
    let shown = world.run(&repo, &["conflicts", "a", "b"]).stdout;
    assert_eq!(shown, "a and b: x\\u{1b}[31m\\nerror: y, z0, z1, z10, z11, and 45 more\n");
    let data = no(&world.ask(&repo, &["conflicts", "a", "b"]));
    assert_eq!(
        (data["pairs"][0]["paths"][0].as_str(), colliding(&data)[0].2.len()),
        (Some("x\u{1b}[31m\nerror: y"), 50)
    );
}

#[test]
fn a_watcher_is_told_of_every_change() {
    let (world, repo) = alone(&[("a", "readme", "a\n"), ("b", "b", "b\n")]);
    let mut watcher = world.watch(&repo, &["conflicts", "a", "b"]);
    let mut next = || watcher.next();
    assert_eq!(next()["pairs"], json!([]));
    world.sandbox.git(&repo, &["checkout", "-q", "b"]);
    world.commit(&repo, "readme", "b\n");
    let told = next();
    let collision = json!([{ "a": "a", "b": "b", "paths": ["readme"] }]);
    assert_eq!((colliding(&told).len(), &told["changes"]["new"]), (1, &collision));
    // That a branch moves is no news where it collides as before; that it goes is, and no error.
    world.commit(&repo, "more", "more\n");
    std::thread::sleep(std::time::Duration::from_secs(3));
    world.sandbox.git(&repo, &["checkout", "-q", "main"]);
    world.sandbox.git(&repo, &["branch", "-q", "-D", "b"]);
    let told = next();
    let expected = json!({ "new": [], "over": collision, "gone": ["b"], "back": [] });
    assert_eq!((&told["changes"], &told["pairs"]), (&expected, &json!([])));
}

#[test]
fn tasks_that_can_run_at_the_same_time_are_told_from_those_that_cannot() {
    let (world, repo) = alone(&[("a", "readme", "a\n"), ("b", "readme", "b\n")]);
    for (id, more) in [
        ("api", &["--path", "src/api/**", "--label", "interface:orders"][..]),
        ("ui", &["--path", "src/ui/**", "--label", "interface:orders"]),
        ("docs", &["--path", "docs"]),
        ("guide", &["--path", "docs/guide.md"]),
        ("late", &["--path", "late", "--needs", "between"]),
        ("vague", &[]),
    ] {
        if id == "late" {
            world.ok(&repo, &["add", "Between", "--id", "between", "--path", "between", "--needs", "api"]);
        }
        world.ok(&repo, &[&["add", "Something", "--id", id][..], more].concat());
    }
    let kinds = |data: &Value| texts(&data["hindrances"], Some("kind"));
    let items = |data: &Value| -> Vec<(String, bool, bool, Value)> {
        let items = data["items"].as_array().expect("a list").iter();
        let flag = |item: &Value, name: &str| item[name].as_bool().expect("a flag");
        let id = |item: &Value| item["id"].as_str().expect("an id").to_owned();
        items.map(|i| (id(i), flag(i, "independent"), flag(i, "can_parallel"), i["blocking_on"].clone())).collect()
    };
    let free = world.ok(&repo, &["independent", "docs", "api"]);
    assert_eq!((&free["groups"], kinds(&free).len()), (&json!([["api", "docs"]]), 0));
    let item = |id: &str, independent: bool, can_parallel: bool, blocking_on: Value| {
        (id.to_owned(), independent, can_parallel, blocking_on)
    };
    let data = no(&world.ask(&repo, &["independent", "api", "ui", "docs"]));
    assert_eq!((&data["groups"], kinds(&data)), (&json!([["api", "docs"], ["ui"]]), vec!["interface".to_owned()]));
    let expected = [
        item("api", false, true, Value::Null),
        item("ui", false, false, json!("api")),
        item("docs", true, true, Value::Null),
    ];
    assert_eq!(items(&data), expected);
    let data = no(&world.ask(&repo, &["independent", "docs", "guide"]));
    assert_eq!(data["hindrances"][0]["paths"], json!(["docs", "docs/guide.md"]));
    let data = no(&world.ask(&repo, &["independent", "late", "api"]));
    assert_eq!((kinds(&data), &data["groups"]), (vec!["needs".to_owned()], &json!([["api"], ["late"]])));
    assert_eq!(data["hindrances"][0]["why"], "late needs api, by way of between");
    let data = no(&world.ask(&repo, &["independent", "late"]));
    assert_eq!(items(&data), [item("late", false, false, json!("between"))], "it waits for what nobody asked about");
    let shown = world.run(&repo, &["independent", "docs", "vague"]);
    let text = "At the same time: docs\nAfter that: vague\ndocs and vague, unknown: nothing declared by vague\n";
    assert_eq!((shown.exit, shown.stdout.as_str()), (1, text));
    assert_eq!(world.ask(&repo, &["independent", "nobody"]).error(1)["code"], "no-such-task");

    // What was declared is one thing, what was done another.
    for task in ["api", "docs"] {
        world.ok(&repo, &["claim", task]);
        world.sandbox.git(&repo, &["checkout", "-q", "-b", &format!("ai-feature/issue-{task}"), "main"]);
        world.commit(&repo, "Cargo.lock", task);
    }
    let data = no(&world.ask(&repo, &["independent", "api", "docs"]));
    assert_eq!((kinds(&data), &data["hindrances"][0]["paths"]), (vec!["conflict".to_owned()], &json!(["Cargo.lock"])));
    // What is over hinders nobody.
    world.ok(&repo, &["done", "api"]);
    let data = world.ok(&repo, &["independent", "api", "docs"]);
    assert_eq!((&data["groups"], items(&data)[1].clone()), (&json!([["docs"]]), item("api", true, false, Value::Null)));
}

#[test]
fn the_order_of_cars_counts_by_way_of_others_and_what_is_blocked_by_hand_cannot_be_started() {
    let (world, repo) = alone(&[("between", "between", "between\n")]);
    for task in ["a", "b", "c"] {
        world.ok(&repo, &["add", "Something", "--id", task, "--path", task]);
        world.ok(&repo, &["claim", task]);
        world.sandbox.git(&repo, &["checkout", "-q", "-b", &format!("ai-feature/issue-{task}"), "main"]);
        world.commit(&repo, task, task);
    }
    world.ok(&repo, &["submit", "a"]);
    world.ok(&repo, &["submit", "--branch", "between", "--after", "a"]);
    world.ok(&repo, &["submit", "b", "--after", "between"]);
    world.ok(&repo, &["submit", "c", "--after", "b"]);
    let data = no(&world.ask(&repo, &["independent", "a", "c"]));
    assert_eq!(
        (&data["hindrances"][0]["why"], &data["groups"]),
        (&json!("c is to land after a"), &json!([["a"], ["c"]]))
    );
    assert_eq!(no(&world.ask(&repo, &["independent", "a", "b"]))["hindrances"][0]["kind"], "order");

    for task in ["d", "e"] {
        world.ok(&repo, &["add", "Something", "--id", task, "--path", task]);
    }
    world.ok(&repo, &["block", "d", "--reason", "wait for legal"]);
    let data = no(&world.ask(&repo, &["independent", "d", "e"]));
    let of = |nth: usize| ["independent", "can_parallel", "blocked"].map(|name| data["items"][nth][name].clone());
    assert_eq!(of(0), [json!(false), json!(false), json!("wait for legal")]);
    assert_eq!(of(1), [json!(true), json!(true), Value::Null]);
    let shown = world.run(&repo, &["independent", "d", "e"]);
    assert_eq!(shown.stdout, "At the same time: d, e\nd is blocked: wait for legal\n");
    world.ok(&repo, &["unblock", "d"]);
    world.ok(&repo, &["independent", "d", "e"]);
}
