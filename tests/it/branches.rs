//! Which branches nobody needs any more: those of which all has landed may go, and no other.

use std::collections::BTreeMap;
use std::path::Path;

use crate::scrum::{World, path};
use crate::support::RemoteKind;

fn states(world: &World, clone: &Path, args: &[&str]) -> BTreeMap<String, String> {
    let shown = world.ok(clone, args);
    let branches = shown["branches"].as_array().expect("a list").iter();
    let word = |value: &serde_json::Value| value.as_str().expect("a word").to_owned();
    branches.map(|branch| (word(&branch["branch"]), word(&branch["state"]))).collect()
}

fn push(world: &World, clone: &Path, name: &str) {
    let git = |args: &[&str]| world.sandbox.git(clone, args);
    git(&["checkout", "-q", "-B", name, "origin/main"]);
    world.sandbox.commit_file(clone, name, name, name);
    git(&["push", "-q", "origin", name]);
}

#[test]
fn only_what_has_landed_as_it_is_may_go() {
    let config = "[train]\ncheck = [\"sh\", \"-c\", \"! ls | grep -q bad\"]\nmethod = \"squash\"\nbatch = 1\n";
    let world = World::with_config(RemoteKind::File, config).expect("a file remote");
    let clone = world.clone_with_board("a");
    for name in ["good", "grown", "bad", "waiting", "unknown"] {
        push(&world, &clone, name);
    }
    for name in ["good", "grown", "bad"] {
        world.ok(&clone, &["submit", "--branch", name]);
    }
    for id in ["1", "2", "3"] {
        world.ok(&clone, &["add", "Work", "--id", id]);
        let claim = world.ok(&clone, &["claim", id, "--worktree"]);
        let worktree = path(&claim["claims"][0]["worktree"]);
        world.commit(&worktree, &format!("file{id}"), id);
        world.sandbox.git(&worktree, &["push", "-q", "origin", &format!("ai-feature/issue-{id}")]);
    }
    world.ok(&clone, &["submit", "1"]);
    world.ok(&clone, &["merge-train"]);
    world.ok(&clone, &["done", "2"]);
    world.ok(&clone, &["submit", "--branch", "waiting"]);
    world.sandbox.git(&clone, &["checkout", "-q", "grown"]);
    world.sandbox.commit_file(&clone, "more", "more", "More");
    world.sandbox.git(&clone, &["push", "-q", "origin", "grown"]);

    let all = [
        ("ai-feature/issue-1", "landed"),
        ("ai-feature/issue-2", "over"),
        ("ai-feature/issue-3", "claimed"),
        ("bad", "ejected"),
        ("good", "landed"),
        ("grown", "grown"),
        ("waiting", "in-train"),
    ];
    let named = |which: &dyn Fn(&str) -> bool| {
        let chosen = all.iter().filter(|(_, state)| which(state));
        chosen.map(|(name, state)| ((*name).to_owned(), (*state).to_owned())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(states(&world, &clone, &["branches", "--all"]), named(&|_| true));
    let stale = named(&|state| !matches!(state, "claimed" | "in-train"));
    assert_eq!(states(&world, &clone, &["branches"]), stale);
    let before = world.sandbox.git(world.remote().bare(), &["for-each-ref", "refs/heads"]);
    assert_eq!(states(&world, &clone, &["branches"]), stale);
    assert_eq!(before, world.sandbox.git(world.remote().bare(), &["for-each-ref", "refs/heads"]));

    world.ok(&clone, &["branches", "--sweep"]);
    let gone = |name: &&str| !is_there(&world, name);
    assert_eq!(
        all.map(|(name, _)| name).iter().copied().filter(gone).collect::<Vec<_>>(),
        ["ai-feature/issue-1", "good"]
    );
    assert!(is_there(&world, "unknown"), "the board does not know it");
    assert_eq!(states(&world, &clone, &["branches"]), named(&|state| matches!(state, "over" | "ejected" | "grown")));
}

fn is_there(world: &World, branch: &str) -> bool {
    let listed = world.sandbox.git(world.remote().bare(), &["for-each-ref", "--format=%(refname:short)", "refs/heads"]);
    listed.lines().any(|name| name == branch)
}

#[test]
fn what_a_worktree_of_a_clone_without_a_remote_has_checked_out_stays() {
    let (world, repo) = World::local();
    world.ok(&repo, &["init", "--local"]);
    let git = |args: &[&str]| world.sandbox.git(&repo, args);
    for name in ["here", "linked", "nowhere"] {
        git(&["checkout", "-q", "-b", name, "main"]);
        world.sandbox.commit_file(&repo, name, name, name);
        world.ok(&repo, &["submit", "--branch", name]);
    }
    world.ok(&repo, &["merge-train"]);
    git(&["checkout", "-q", "here"]);
    let linked = world.sandbox.path("linked worktree");
    git(&["worktree", "add", "-q", linked.to_str().expect("a path"), "linked"]);
    let swept = world.ok(&repo, &["branches", "--sweep"]);
    let told = swept["branches"].as_array().expect("a list").iter();
    let told: Vec<_> = told.map(|one| (one["branch"].clone(), one["removed"].clone(), one["stays"].clone())).collect();
    let in_place = |path: &Path| format!("it is checked out in {}", path.display()).into();
    let none = serde_json::Value::Null;
    assert_eq!(
        told,
        [
            ("here".into(), false.into(), in_place(&repo)),
            ("linked".into(), false.into(), in_place(&linked)),
            ("nowhere".into(), true.into(), none),
        ]
    );
    assert_eq!(git(&["for-each-ref", "--format=%(refname:short)", "refs/heads"]), "here\nlinked\nmain");
}

#[test]
fn what_is_still_wanted_on_another_target_stays() {
    let world = World::with_config(RemoteKind::File, "[train]\ncheck = [\"true\"]\n").expect("a file remote");
    let clone = world.clone_with_board("a");
    world.sandbox.git(&clone, &["push", "-q", "origin", "origin/main:refs/heads/dev"]);
    push(&world, &clone, "one");
    // What came to nothing first and was done in the end is over.
    push(&world, &clone, "two");
    world.ok(&clone, &["submit", "--branch", "two"]);
    world.ok(&clone, &["merge-train", "eject", "two"]);
    let in_secs = |secs: u64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
        git_scrum::domain::Timestamp::from_secs(now + secs).to_string()
    };
    for name in ["one", "two"] {
        world.ask_at(&clone, &in_secs(30), &["submit", "--branch", name, "--target", "dev"]).data();
    }
    world.ok(&clone, &["merge-train", "--target", "dev"]);
    world.ask_at(&clone, &in_secs(60), &["submit", "--branch", "one"]).data();
    world.ok(&clone, &["merge-train", "eject", "one"]);
    let swept = world.ok(&clone, &["branches", "--sweep"]);
    let told = swept["branches"].as_array().expect("a list").iter();
    let words = |one: &serde_json::Value| ["branch", "state", "target", "removed"].map(|key| one[key].to_string());
    let told: Vec<String> = told.map(|one| words(one).join(" ").replace('"', "")).collect();
    assert_eq!(told, ["one ejected main false", "two landed dev true"]);
    assert!(is_there(&world, "one") && !is_there(&world, "two"));
}

#[test]
fn what_its_target_has_no_more_stays() {
    let config = "[train]\ncheck = [\"true\"]\nmethod = \"squash\"\n";
    let world = World::with_config(RemoteKind::File, config).expect("a file remote");
    let clone = world.clone_with_board("a");
    for name in ["one", "two"] {
        push(&world, &clone, name);
        world.ok(&clone, &["submit", "--branch", name]);
        world.ok(&clone, &["merge-train"]);
    }
    world.sandbox.git(world.remote().bare(), &["update-ref", "refs/heads/main", "main~1"]);
    let told = states(&world, &clone, &["branches", "--sweep"]);
    assert_eq!(told, [("one", "landed"), ("two", "lost")].map(|(name, is)| (name.to_owned(), is.to_owned())).into());
    assert!(!is_there(&world, "one") && is_there(&world, "two"));
}
