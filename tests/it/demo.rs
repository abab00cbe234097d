//! `git scrum demo`: the first command of a newcomer must tell its story on any machine, and touch nothing of theirs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::Sandbox;

/// A sandbox whose temporary files are in it, too.
fn sandbox() -> Sandbox {
    let mut sandbox = Sandbox::new();
    let temporary = sandbox.path("tmp");
    fs::create_dir(&temporary).expect("the sandbox is writable");
    sandbox.set_env("TMPDIR", &temporary);
    sandbox
}

/// `git scrum demo` with more arguments, started in the sandbox's directory.
fn demo(sandbox: &Sandbox, args: &[&str]) -> Command {
    let mut command = sandbox.command(env!("CARGO_BIN_EXE_git-scrum"));
    command.current_dir(sandbox.root()).arg("demo").args(args);
    command
}

fn run(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The `data` of a run with `--json`, which must succeed.
#[track_caller]
fn data(output: &Output) -> Value {
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    let mut value: Value = serde_json::from_slice(&output.stdout).expect("standard output is one JSON object");
    value["data"].take()
}

/// The `error` of a run with `--json`, which must end with this exit code.
#[track_caller]
fn error(output: &Output, exit: i32) -> Value {
    assert_eq!(output.status.code(), Some(exit), "{}\n{}", text(&output.stdout), text(&output.stderr));
    let mut value: Value = serde_json::from_slice(&output.stdout).expect("standard output is one JSON object");
    value["error"].take()
}

/// What the demos of this sandbox have left among the temporary files.
fn left(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.path("tmp")).expect("it was made with the sandbox");
    entries.map(|entry| entry.expect("it can be read").path()).collect()
}

/// Every file below `root`, with its bytes, mode, age and number of links.
fn snapshot(root: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u32, i64, u64)> {
    let mut files = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("it can be read") {
            let path = entry.expect("it can be read").path();
            let meta = path.symlink_metadata().expect("it is there");
            if meta.is_dir() {
                open.push(path);
            } else {
                let bytes = fs::read(&path).expect("it can be read");
                files.insert(path, (bytes, meta.mode(), meta.mtime(), meta.nlink()));
            }
        }
    }
    files
}

/// Checks what every demo must have come to, and gives the history of its target: first parents, the earliest first.
#[track_caller]
fn assert_story(sandbox: &Sandbox, told: &Value, target: &str) -> Vec<String> {
    assert_eq!(told["target"], target);
    assert_eq!(told["landed"], json!(["102", "105", "101", "103", "104"]));
    assert_eq!(told["ejected"], json!(["101"]));
    let assigned = told["assigned"].as_array().expect("it is a list").iter();
    let assigned: Vec<String> =
        assigned.map(|row| format!("{} {}", row["task"], row["team"]).replace('"', "")).collect();
    assert_eq!(assigned, ["102 backend", "101 frontend", "105 generalist", "103 backend", "104 generalist"]);

    let directory = PathBuf::from(told["directory"].as_str().expect("it is named"));
    assert_eq!(left(sandbox), [directory.as_path()], "one directory stays, and nothing else");
    let remote = directory.join("remote.git");
    sandbox.git(&remote, &["fsck", "--strict"]);
    let history = sandbox.git(&remote, &["log", "--first-parent", "--reverse", "--format=%s", target]);
    let history: Vec<String> = history.lines().map(str::to_owned).collect();
    let story = [
        "Open a shop",
        "Land 102: Refuse logins without a password",
        "Land 105: Test names with spaces",
        "Land 101: Add dark mode",
        "Land 103: Search products by name",
        "Land 104: Describe the search",
    ];
    assert_eq!(history[history.len() - story.len()..], story);
    // What was ejected landed later with its repair, and every landing was tested as it is.
    let landing = sandbox.git(&remote, &["log", "-1", "--format=%H", "--grep=^Land 101", target]);
    let car = sandbox.git(&remote, &["log", "--format=%an: %s", &format!("{landing}^1..{landing}^2")]);
    assert_eq!(car, "Fay: Make links readable in the dark\nFay: Add dark mode");
    let tested = sandbox.git(&remote, &["notes", "--ref=scrum/verdicts", "list"]);
    assert_eq!(tested.lines().count(), 6, "five that passed and one that failed");
    for team in ["frontend", "backend", "generalist"] {
        let listed = sandbox.git(directory.join(team), &["worktree", "list"]);
        assert_eq!(listed.lines().count(), 1, "{listed}");
        assert_eq!(sandbox.git(directory.join(team), &["status", "--porcelain"]), "");
    }
    history
}

#[test]
fn tells_the_story_as_json() {
    let sandbox = sandbox();
    let output = run(&mut demo(&sandbox, &["--json"]));
    let told = data(&output);
    let history = assert_story(&sandbox, &told, "main");
    assert_eq!(history.len(), 6);
    assert!(told["commands"].as_u64() > Some(40), "{told}");
    let talk = text(&output.stderr);
    assert!(talk.contains("backend $ git scrum claim --team backend --worktree\n    Claimed 102, fence 1"), "{talk}");
    assert!(talk.contains("104: docs meets docs/guide.md, locked by fay@frontend for 101"), "{talk}");
    assert!(talk.contains("FIXME: nobody can read navy on black"), "{talk}");
    // The same program goes on where the demo ended, with nothing but what the demo left.
    let backend = PathBuf::from(told["directory"].as_str().expect("it is named")).join("backend");
    let mut list = sandbox.command(env!("CARGO_BIN_EXE_git-scrum"));
    let listed = run(list.current_dir(&backend).args(["list", "--state", "landed", "--json"]));
    assert_eq!(data(&listed)["tasks"].as_array().map(Vec::len), Some(5));
}

#[test]
fn tells_the_story_to_people() {
    let sandbox = sandbox();
    let output = run(&mut demo(&sandbox, &[]));
    let story = text(&output.stdout);
    assert!(output.status.success(), "{story}\n{}", text(&output.stderr));
    assert_eq!(text(&output.stderr), "");
    assert!(story.lines().count() < 125, "nobody reads that much:\n{story}");
    assert!(story.lines().all(|line| line.chars().count() <= 130), "a line is too long:\n{story}");
    let directory = left(&sandbox).pop().expect("the directory stays");
    assert!(story.contains(&format!("cd {}/backend", directory.display())), "{story}");
    assert!(story.contains("    *   ") && story.contains(" Land 104: Describe the search\n"), "no graph:\n{story}");
    assert!(story.contains("    Verdict: pass\n"), "no note:\n{story}");
    // Every command that is shown names who runs it.
    for line in story.lines().filter(|line| line.contains(" $ git ")) {
        let who = line.split([' ', '/']).next().unwrap_or_default();
        assert!(["frontend", "backend", "generalist", "everybody"].contains(&who), "{line}");
    }
}

#[test]
fn needs_no_identity_and_no_home() {
    let sandbox = sandbox();
    let mut command = demo(&sandbox, &["--json"]);
    command.env("HOME", "").env_remove("GIT_CONFIG_GLOBAL").env_remove("XDG_CONFIG_HOME").env_remove("USER");
    assert_story(&sandbox, &data(&run(&mut command)), "main");
}

#[test]
fn follows_no_variable_and_no_configuration_of_the_user() {
    let sandbox = sandbox();
    let hooks = sandbox.path("hooks");
    fs::create_dir(&hooks).expect("the sandbox is writable");
    for hook in ["pre-commit", "commit-msg", "pre-push", "post-checkout", "reference-transaction"] {
        fs::write(hooks.join(hook), "#!/bin/sh\nexit 1\n").expect("the sandbox is writable");
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(hooks.join(hook), executable).expect("it was just written");
    }
    let hooks = hooks.to_string_lossy().into_owned();
    let hostile = [
        ("core.hooksPath", hooks.as_str()),
        ("commit.gpgSign", "true"),
        ("gpg.program", "false"),
        ("init.defaultBranch", "trunk"),
        ("push.default", "nothing"),
        ("core.autocrlf", "true"),
        ("clone.defaultRemoteName", "elsewhere"),
        ("pull.rebase", "true"),
        ("log.decorate", "full"),
        ("scrum.holder", "somebody"),
        ("scrum.train.check", "[\"false\"]"),
    ];
    for (key, value) in hostile {
        sandbox.git(sandbox.root(), &["config", "--global", key, value]);
    }
    let mut command = demo(&sandbox, &["--json"]);
    command.env("GIT_DIR", sandbox.path("nowhere")).env("GIT_INDEX_FILE", sandbox.path("index"));
    command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "commit.gpgSign").env("GIT_CONFIG_VALUE_0", "true");
    command.env("GIT_NAMESPACE", "elsewhere").env("GIT_AUTHOR_NAME", "Eve").env("GIT_AUTHOR_DATE", "no date");
    command.env("SCRUM_REMOTE", "nowhere").env("SCRUM_HOLDER", "somebody").env("SCRUM_TRAIN_CI", "external");
    command.env("SCRUM_NOW", "2020-01-01T00:00:00Z");
    let told = data(&run(&mut command));
    // Looking at it is done with good manners again.
    fs::write(sandbox.path("gitconfig"), "").expect("the sandbox is writable");
    assert_story(&sandbox, &told, "main");
    assert!(!sandbox.path("nowhere").exists() && !sandbox.path("index").exists());
}

#[test]
fn plays_beside_a_real_repository_and_does_not_touch_it() {
    let sandbox = sandbox();
    let real = sandbox.path("real");
    sandbox.git(sandbox.root(), &["init", "--quiet", "--initial-branch=team/trunk", "real"]);
    // Everything that could be in the way: ignored files, odd line ends, a taken name, a taken branch, bad settings.
    sandbox.commit_file(&real, ".gitattributes", "* text eol=crlf\n", "Use odd line ends");
    sandbox.commit_file(&real, ".scrum.toml", "nonsense = 1\n", "Misconfigure");
    sandbox.commit_file(&real, "Git-Scrum-Demo", "taken\n", "Take the name");
    sandbox.commit_file(&real, "src/main.rs", "fn main() {} // FIXME\n", "Begin");
    fs::write(real.join(".gitignore"), "*\n").expect("the sandbox is writable");
    sandbox.git(&real, &["add", "--force", ".gitignore"]);
    sandbox.git(&real, &["commit", "--quiet", "--message", "Ignore everything"]);
    sandbox.git(&real, &["branch", "ai-feature/issue-101"]);
    sandbox.git(&real, &["update-ref", "refs/scrum/board", "HEAD"]);
    fs::write(real.join("src/main.rs"), "fn main() { unfinished }\n").expect("the sandbox is writable");
    let refs = sandbox.git(&real, &["for-each-ref"]);
    let before = snapshot(&real);

    let told = data(&run(&mut demo(&sandbox, &["--json", "--repo", "real/src"])));
    assert_eq!(snapshot(&real), before, "the repository was touched");
    assert_eq!(sandbox.git(&real, &["for-each-ref"]), refs);
    assert_eq!(told["work_in"], "git-scrum-demo-2");
    let history = assert_story(&sandbox, &told, "team/trunk");
    assert_eq!(history[..5].last().map(String::as_str), Some("Ignore everything"));
    assert_eq!(history.len(), 5 + 6);
    let remote = PathBuf::from(told["directory"].as_str().expect("it is named")).join("remote.git");
    assert_eq!(sandbox.git(&remote, &["remote"]), "", "the scratch remote knows the way back");
    let changed = sandbox.git(&remote, &["diff", "--name-only", "team/trunk~6", "team/trunk"]);
    let outside = changed.lines().filter(|path| !path.starts_with("git-scrum-demo-2/"));
    assert_eq!(outside.collect::<Vec<_>>(), [".scrum.toml"]);
}

#[test]
fn says_what_is_wrong_with_a_repository() {
    let sandbox = sandbox();
    let refused =
        |repo: &str| error(&run(&mut demo(&sandbox, &["--json", "--repo", repo])), 128)["message"].to_string();
    assert!(refused("nowhere").contains("there is no directory"));
    assert!(refused("home").contains("is no repository"));
    sandbox.git(sandbox.root(), &["init", "--quiet", "real"]);
    assert!(refused("real").contains("has no commit"));
    sandbox.commit_file(sandbox.path("real"), "a", "a\n", "Begin");
    sandbox.git(sandbox.path("real"), &["checkout", "--quiet", "--detach"]);
    assert!(refused("real").contains("no branch is checked out"));
    assert_eq!(left(&sandbox), [] as [PathBuf; 0]);
}

#[test]
fn names_the_command_that_failed_and_leaves_nothing_behind() {
    let sandbox = sandbox();
    // A git that cannot commit the repair.
    let path = sandbox.path_where_git("*'Make links'*) echo 'the disk is full' >&2; exit 9 ;;");

    let error = error(&run(demo(&sandbox, &["--json"]).env("PATH", path)), 1);
    let message = error["message"].as_str().expect("it is text");
    assert_eq!(error["code"], "demo-failed");
    assert_eq!(error["command"], "git commit --quiet --all --message 'Make links readable in the dark'");
    assert_eq!(error["exit"], 9);
    assert_eq!(error["output"], "the disk is full\n");
    assert!(error["directory"].as_str().is_some_and(|name| name.ends_with("frontend-worktrees/101")), "{error}");
    assert!(message.contains("git commit") && message.contains("the disk is full"), "{message}");
    assert_eq!(left(&sandbox), [] as [PathBuf; 0]);
}
