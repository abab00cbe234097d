//! The built program in the repositories that people really have: configured by somebody else, started from a hook,
//! shallow, bare, empty, of other formats, behind servers that have rules of their own, with an old git.
//!
//! Each test is a trap of GIT_FACTS that the ledger's own suite does not cover. Most of them run the *main job*: create a
//! board, add a task, claim it with a worktree, commit, submit, and land it through the train.

#![expect(clippy::disallowed_methods, reason = "tests start the program and prepare repositories for it")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{RemoteKind, Sandbox, TestRemote};

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_git-scrum");
/// What the target's configuration says in most tests: the check sees the work and nothing else.
const SETTINGS: &str = "[train]\ncheck = [\"sh\", \"-c\", \"test -f first.txt && git diff --quiet HEAD\"]\n";

// ---------------------------------------------------------------------------------------------------------------------
// Running the program

/// What a run of the program gave.
struct Ran {
    what: String,
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(command: &mut Command) -> Ran {
        let output = command.output().expect("the program can be run");
        Ran {
            what: format!("{command:?}"),
            code: output.status.code().expect("no signal ended it"),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn shown(&self) -> String {
        let Ran { what, code, stdout, stderr } = self;
        // Only the arguments: the environment that `Command` shows in front of them is the same for all.
        let what = what.rsplit_once(PROGRAM).map_or(what.as_str(), |(_, args)| args);
        format!("{what} gave {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }

    /// The data of a run that succeeded.
    #[track_caller]
    fn data(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.shown());
        let value: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.shown()));
        value["data"].clone()
    }

    /// The message of a run that failed with this exit code.
    #[track_caller]
    fn fails(&self, code: i32) -> String {
        assert_eq!(self.code, code, "{}", self.shown());
        let value: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.shown()));
        assert!(value["error"]["hint"].is_string(), "{}", self.shown());
        value["error"]["message"].as_str().expect("an error has a message").to_owned()
    }
}

#[track_caller]
fn contains(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} is not in {text:?}");
}

/// Somebody in a directory, with an environment of their own.
struct Seat<'a> {
    sandbox: &'a Sandbox,
    directory: PathBuf,
    environment: Vec<(String, String)>,
}

impl<'a> Seat<'a> {
    fn new(sandbox: &'a Sandbox, directory: impl AsRef<Path>) -> Seat<'a> {
        Seat { sandbox, directory: sandbox.path(directory), environment: Vec::new() }
    }

    fn with(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        self.environment.push((name.to_owned(), text(value.as_ref()).to_owned()));
        self
    }

    fn at(&self, directory: impl AsRef<Path>) -> Seat<'a> {
        let directory = self.directory.join(directory);
        Seat { sandbox: self.sandbox, directory, environment: self.environment.clone() }
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = self.sandbox.command(program);
        let environment = self.environment.iter().map(|(name, value)| (name, value));
        command.current_dir(&self.directory).envs(environment).args(args);
        command
    }

    /// Runs the program for a script.
    fn scrum(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(PROGRAM, args).arg("--json"))
    }

    /// Runs the program for a person.
    fn scrum_text(&self, args: &[&str]) -> Ran {
        Ran::of(&mut self.command(PROGRAM, args))
    }

    /// Runs git as a person does who has nothing special configured.
    #[track_caller]
    fn git(&self, args: &[&str]) -> String {
        self.sandbox.git(&self.directory, args)
    }

    fn configure(&self, key: &str, value: &str) {
        self.git(&["config", key, value]);
    }

    /// The main job from the board to the landing, on `main`; gives the landed commit.
    #[track_caller]
    fn main_job(&self) -> String {
        self.scrum(&["init"]).data();
        self.main_job_on_a_board("101")
    }

    /// The main job, where there is a board already.
    #[track_caller]
    fn main_job_on_a_board(&self, id: &str) -> String {
        self.scrum(&["add", "Füge etwas hinzu", "--id", id, "--path", "work/**"]).data();
        let worktree = self.claim(id);
        self.commit_in(&worktree, &format!("work/{id}.txt"));
        self.scrum(&["submit", id]).data();
        self.land(id)
    }

    /// Claims a task; gives its worktree.
    #[track_caller]
    fn claim(&self, id: &str) -> PathBuf {
        let claimed = self.scrum(&["claim", id, "--worktree"]).data();
        PathBuf::from(claimed["claims"][0]["worktree"].as_str().expect("a worktree was asked for"))
    }

    /// Commits a file there, as whoever works there would.
    #[track_caller]
    fn commit_in(&self, worktree: &Path, path: &str) {
        self.sandbox.commit_file(worktree, path, "done\n", "Work");
    }

    /// Makes one pass of the train, which must land the car; gives the commit it landed as.
    #[track_caller]
    fn land(&self, car: &str) -> String {
        let ran = self.scrum(&["merge-train"]);
        let actions = ran.data()["actions"].clone();
        let lands = |action: &&Value| action["kind"] == "land" && action["cars"] == serde_json::json!([car]);
        let landed = actions.as_array().expect("a list").iter().find(lands);
        let landed = landed.unwrap_or_else(|| panic!("{car} did not land: {}", ran.shown()));
        landed["to"].as_str().expect("where it landed").to_owned()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the sandbox is named in UTF-8")
}

/// A sandbox with a remote and a clone `clone` of it.
struct Site {
    sandbox: Sandbox,
    remote: TestRemote,
}

impl Site {
    /// With one commit on `main`.
    fn new(init: &[&str]) -> Site {
        let site = Site::empty(init);
        let seed = site.sandbox.path("seed");
        site.sandbox.git(site.sandbox.root(), &[&["init", "--quiet"], init, &["seed"]].concat());
        site.sandbox.git(&seed, &["remote", "add", "origin", site.remote.url()]);
        fs::write(seed.join(".scrum.toml"), SETTINGS).expect("the sandbox is writable");
        site.sandbox.git(&seed, &["add", ".scrum.toml"]);
        site.sandbox.commit_file(&seed, "first.txt", "first\n", "First");
        site.sandbox.git(&seed, &["push", "--quiet", "origin", "HEAD:refs/heads/main"]);
        site.sandbox.clone(site.remote.url(), "clone");
        site
    }

    /// Without any commit, and without a clone.
    fn empty(init: &[&str]) -> Site {
        let mut sandbox = Sandbox::new();
        let remote = TestRemote::with_init_args(&mut sandbox, RemoteKind::File, "origin", init);
        Site { sandbox, remote: remote.expect("files can be had everywhere") }
    }

    fn seat(&self) -> Seat<'_> {
        Seat::new(&self.sandbox, "clone")
    }

    /// Whoever made the repository; nothing of git-scrum is there.
    fn seed(&self) -> Seat<'_> {
        Seat::new(&self.sandbox, "seed")
    }

    /// Runs git on the server.
    #[track_caller]
    fn server(&self, args: &[&str]) -> String {
        self.sandbox.git(self.remote.bare(), args)
    }

    /// All refs of the server but the landmark, which is set at some publications and not at others.
    fn refs(&self) -> Vec<String> {
        let refs = self.server(&["for-each-ref", "--format=%(refname)"]);
        refs.lines().filter(|name| !name.ends_with("/landmark")).map(str::to_owned).collect()
    }

    fn hook(&self, name: &str, script: &str) {
        write_script(&self.remote.bare().join("hooks").join(name), script);
    }
}

fn write_script(path: &Path, script: &str) {
    fs::create_dir_all(path.parent().expect("a script is in a directory")).expect("the sandbox is writable");
    fs::write(path, format!("#!/bin/sh\n{script}\n")).expect("the sandbox is writable");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
}

/// A clone without a remote, with one commit on `main`.
fn local(init: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.git(sandbox.root(), &[&["init", "--quiet"], init, &["clone"]].concat());
    fs::write(sandbox.path("clone/.scrum.toml"), SETTINGS).expect("the sandbox is writable");
    sandbox.git(sandbox.path("clone"), &["add", ".scrum.toml"]);
    sandbox.commit_file(sandbox.path("clone"), "first.txt", "first\n", "First");
    sandbox
}

/// Says, also when the test passes, what this machine cannot test.
fn not_tested(what: &str) {
    use std::io::Write;
    // Not `eprintln`, whose output a passing test keeps to itself.
    let _ = writeln!(std::io::stderr(), "\n*** NOT TESTED: {what} ***\n");
}

/// Major and minor version of a git.
fn git_version(sandbox: &Sandbox, git: &str) -> Option<(u32, u32)> {
    let output = sandbox.command(git).arg("version").output().ok()?;
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = words.split_whitespace().nth(2)?.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// Whether git is at least this new; says so where it is not.
fn git_is_at_least(sandbox: &Sandbox, wanted: (u32, u32), what: &str) -> bool {
    let version = git_version(sandbox, "git").expect("git is installed");
    if version < wanted {
        not_tested(&format!("{what}: git {}.{} is older than {}.{}", version.0, version.1, wanted.0, wanted.1));
    }
    version >= wanted
}

// ---------------------------------------------------------------------------------------------------------------------
// The user's configuration and environment

/// Writes hooks that fail, and note that they were run, and attributes that no tree has; gives the hostile configuration.
fn hostile_configuration(sandbox: &Sandbox) -> PathBuf {
    for hook in [
        "pre-push",
        "pre-commit",
        "prepare-commit-msg",
        "commit-msg",
        "pre-merge-commit",
        "post-checkout",
        "post-merge",
        "post-commit",
        "pre-auto-gc",
        "pre-rebase",
        "fsmonitor",
    ] {
        write_script(&sandbox.path("home/hostile-hooks").join(hook), &format!("echo ran >>~/ran-{hook}\nexit 1"));
    }
    fs::write(sandbox.path("home/hostile-attributes"), "* merge=union\n").expect("a writable home");
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/hostile.gitconfig"))
}

#[test]
fn a_hostile_configuration_changes_nothing_of_what_is_pushed_and_landed() {
    let site = Site::new(&[]);
    let plain = site.seat();
    let seat = site.seat().with("GIT_CONFIG_GLOBAL", hostile_configuration(&site.sandbox));
    plain.git(&["tag", "--annotate", "--message", "not to be pushed", "v1"]);
    let landed = seat.main_job();
    assert_eq!(site.server(&["rev-parse", "main"]), landed);
    assert_eq!(site.server(&["show", "main:work/101.txt"]), "done");
    assert_eq!(seat.scrum(&["show", "101"]).data()["task"]["state"], "landed");
    // Work in progress, saved by a push of its own; and the other ledger.
    seat.scrum(&["add", "Another", "--id", "102"]).data();
    fs::write(seat.claim("102").join("ü.txt"), "unfinished\n").expect("the worktree is writable");
    let removed = seat.scrum(&["worktree", "remove", "102"]).data();
    assert_eq!(removed["removed"][0]["saved"]["ref"], "refs/scrum/wip/102-2");
    assert_eq!(site.server(&["show", "refs/scrum/wip/102-2:ü.txt"]), "unfinished", "also what is not tracked");
    seat.scrum(&["memory", "add", "Learned", "--kind", "learning"]).data();
    let expected = [
        "refs/heads/ai-feature/issue-101",
        "refs/heads/main",
        "refs/notes/scrum/verdicts",
        "refs/scrum/board",
        "refs/scrum/memory",
        "refs/scrum/wip/102-2",
    ];
    assert_eq!(site.refs(), expected, "exactly what was meant to be pushed");
    assert!(!site.sandbox.path("home/ran-pre-push").exists(), "a pre-push hook runs somebody's test suite");
    assert_eq!(plain.git(&["status", "--porcelain"]), "", "the user's worktree is as it was");
    // A board that went back is noticed, whatever the user says of forced updates.
    site.server(&["update-ref", "refs/scrum/board", "refs/scrum/board~1"]);
    for verb in [&["list"][..], &["add", "More"], &["merge-train"]] {
        contains(&seat.scrum(verb).fails(5), "refs/scrum/board");
    }
}

#[test]
fn a_hostile_configuration_changes_nothing_of_a_landing_here() {
    let sandbox = local(&[]);
    let seat = Seat::new(&sandbox, "clone").with("GIT_CONFIG_GLOBAL", hostile_configuration(&sandbox));
    let landed = seat.main_job();
    assert_eq!(seat.git(&["rev-parse", "main"]), landed);
    // The target is checked out here, and moved along; with the ends of lines that the user wants.
    let status = Ran::of(&mut seat.command("git", &["status", "--porcelain", "--untracked-files=normal"]));
    assert_eq!((status.code, status.stdout.as_str()), (0, ""));
    assert_eq!(fs::read_to_string(seat.directory.join("work/101.txt")).expect("it is there"), "done\r\n");
}

#[test]
fn the_title_of_a_car_is_the_subject_of_its_commit_and_nothing_else() {
    // The title becomes part of the candidate, which must be the same on every host.
    let site = Site::new(&[]);
    let seat = site.seat().with("GIT_CONFIG_GLOBAL", hostile_configuration(&site.sandbox));
    let plain = site.seat();
    let key = site.sandbox.path("key");
    let made = site.sandbox.command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", text(&key)]).output();
    plain.git(&["switch", "--quiet", "--create", "größer", "origin/main"]);
    let mut signed: Vec<String> = Vec::new();
    if made.is_ok_and(|output| output.status.success()) {
        // What shows signatures says something of unsigned commits too, but more of signed ones.
        signed = ["-c", "gpg.format=ssh", "-c", "commit.gpgSign=true", "-c"].map(str::to_owned).to_vec();
        signed.push(format!("user.signingKey={}", text(&key)));
    } else {
        not_tested("a signed commit: ssh-keygen is missing");
    }
    fs::write(plain.directory.join("larger.txt"), "larger\n").expect("the worktree is writable");
    plain.git(&["add", "larger.txt"]);
    let mut args: Vec<&str> = signed.iter().map(String::as_str).collect();
    args.extend(["commit", "--quiet", "--message", "Größer werden"]);
    plain.git(&args);
    plain.git(&["push", "--quiet", "origin", "größer"]);
    seat.scrum(&["init"]).data();
    seat.scrum(&["submit", "--branch", "größer"]).data();
    let landed = seat.land("größer");
    assert_eq!(site.server(&["show", "--no-patch", "--format=%s", &landed]), "Land größer: Größer werden");
}

#[test]
fn variables_of_a_hook_do_not_lead_astray() {
    // As git sets them for hooks: for a linked worktree absolute, for a main worktree relative.
    for absolute in [true, false] {
        let site = Site::new(&[]);
        let plain = site.seat();
        let git_dir = if absolute { plain.directory.join(".git") } else { PathBuf::from(".git") };
        let seat = site.seat().with("GIT_DIR", &git_dir).with("GIT_INDEX_FILE", git_dir.join("index"));
        let seat = seat.with("GIT_PREFIX", "");
        let before = fs::read(plain.directory.join(".git/index")).expect("a clone has an index");
        let landed = seat.main_job();
        assert_eq!(site.server(&["rev-parse", "main"]), landed);
        seat.scrum(&["add", "Another", "--id", "102"]).data();
        let worktree = seat.claim("102");
        fs::write(worktree.join("unfinished.txt"), "x\n").expect("the worktree is writable");
        let removed = seat.scrum(&["worktree", "remove", "102"]).data();
        assert_eq!(removed["removed"][0]["saved"]["ref"], "refs/scrum/wip/102-2");
        assert_eq!(plain.git(&["status", "--porcelain"]), "", "the index the hook belongs to is as it was");
        let after = fs::read(plain.directory.join(".git/index")).expect("a clone has an index");
        assert_eq!(before.len(), after.len(), "nobody has put anything into it");
    }
}

#[test]
fn a_hook_of_a_claims_worktree_may_submit_and_land() {
    let site = Site::new(&[]);
    let seat = site.seat();
    seat.scrum(&["init"]).data();
    seat.scrum(&["add", "One", "--id", "101"]).data();
    let worktree = seat.claim("101");
    let script = format!("{{ '{PROGRAM}' submit 101 && '{PROGRAM}' merge-train; }} >hook-output 2>&1");
    write_script(&seat.directory.join(".git/hooks/post-commit"), &script);
    seat.commit_in(&worktree, "work/101.txt");
    let said = fs::read_to_string(worktree.join("hook-output")).expect("the hook has run");
    contains(&said, "land 101");
    assert_eq!(site.server(&["show", "main:work/101.txt"]), "done");
    for directory in [&seat.directory, &worktree] {
        let status = site.sandbox.git(directory, &["status", "--porcelain", "--untracked-files=no"]);
        assert_eq!(status, "", "in {}", directory.display());
    }
}

#[test]
fn without_an_identity_everything_but_committing_works() {
    let site = Site::new(&[]);
    let config = site.sandbox.path("nobody.gitconfig");
    fs::write(&config, "[user]\n\tuseConfigOnly = true\n[protocol \"file\"]\n\tallow = always\n").expect("writable");
    let seat = site.seat().with("GIT_CONFIG_GLOBAL", &config);
    let landed = seat.main_job();
    assert_eq!(site.server(&["rev-parse", "main"]), landed);
    fs::write(seat.directory.join("first.txt"), "changed\n").expect("the worktree is writable");
    seat.scrum(&["add", "Another", "--id", "102"]).data();
    fs::write(seat.claim("102").join("unfinished.txt"), "x\n").expect("the worktree is writable");
    let removed = seat.scrum(&["worktree", "remove", "102"]).data();
    assert_eq!(removed["removed"][0]["saved"]["ref"], "refs/scrum/wip/102-2");
}

#[test]
fn settings_given_to_git_reach_the_program() {
    let site = Site::new(&[]);
    let seat = site.seat();
    seat.scrum(&["init"]).data();
    seat.scrum(&["add", "One", "--id", "101"]).data();
    let directory = Path::new(PROGRAM).parent().expect("a program is in a directory");
    let path = std::env::var("PATH").expect("there is a PATH");
    let seat = seat.with("PATH", format!("{}:{path}", text(directory)));
    let git = |args: &[&str]| Ran::of(&mut seat.command("git", args));
    let claimed = git(&["-c", "scrum.holder=zoe", "-c", "scrum.tasks.lease=7m", "scrum", "claim", "101", "--json"]);
    assert_eq!(claimed.data()["claims"][0]["holder"], "zoe");
    contains(&site.server(&["log", "-1", "--format=%s", "refs/scrum/board"]), "claim 101 by zoe, fence 1, lease 7m");
    contains(&git(&["-c", "scrum.prefix=nonsense", "scrum", "list", "--json"]).fails(128), "scrum.prefix");
    assert_eq!(git(&["-P", "scrum", "status", "--json"]).data()["claims"][0]["holder"], "zoe");
    let help = git(&["scrum", "-h"]);
    assert_eq!(help.code, 0, "{}", help.shown());
    contains(&help.stdout, "merge-train");
}

#[test]
fn the_main_job_works_with_the_oldest_git_that_is_promised() {
    let site = Site::new(&[]);
    let old = "/usr/bin/git";
    if git_version(&site.sandbox, old) != Some((2, 39)) {
        return not_tested("git 2.39: /usr/bin/git is not that version");
    }
    let path = std::env::var("PATH").expect("there is a PATH");
    let seat = site.seat().with("PATH", format!("/usr/bin:{path}"));
    contains(&Ran::of(&mut seat.command("git", &["version"])).stdout, "2.39");
    let landed = seat.main_job();
    assert_eq!(site.server(&["rev-parse", "main"]), landed);
    // A car that conflicts, and a race, are told as with a new one.
    for branch in ["one", "two"] {
        site.seed().git(&["switch", "--quiet", "--create", branch, "main"]);
        site.sandbox.commit_file(site.seed().directory, "first.txt", format!("{branch}\n"), branch);
        site.seed().git(&["push", "--quiet", "origin", branch]);
        seat.scrum(&["submit", "--branch", branch]).data();
    }
    let pass = seat.scrum(&["merge-train"]).data();
    let kinds: Vec<&Value> = pass["actions"].as_array().expect("a list").iter().map(|action| &action["kind"]).collect();
    assert!(kinds.contains(&&Value::from("land")) && kinds.contains(&&Value::from("eject")), "{pass}");
    // A board that went back.
    site.server(&["update-ref", "refs/scrum/board", "refs/scrum/board~1"]);
    contains(&seat.scrum(&["list"]).fails(5), "refs/scrum/board");
    // And landing in a clone that is its own truth.
    let sandbox = local(&[]);
    let seat = Seat::new(&sandbox, "clone").with("PATH", format!("/usr/bin:{path}"));
    assert_eq!(seat.main_job(), seat.git(&["rev-parse", "main"]));
}

// ---------------------------------------------------------------------------------------------------------------------
// Shapes of repositories

#[test]
fn a_shallow_clone_ejects_nobody_for_what_it_has_not_got() {
    let site = Site::new(&[]);
    let seed = site.seed();
    // A branch from before the commits that a shallow clone has; it merges cleanly wherever all of it is known.
    seed.git(&["switch", "--quiet", "--create", "old"]);
    site.sandbox.commit_file(&seed.directory, "old.txt", "old\n", "Old");
    seed.git(&["switch", "--quiet", "main"]);
    for n in 1..=3 {
        site.sandbox.commit_file(&seed.directory, "first.txt", format!("{n}\n"), "More");
    }
    seed.git(&["push", "--quiet", "origin", "main", "old"]);
    seed.git(&["clone", "--quiet", "--depth=1", "--no-single-branch", site.remote.url(), "../shallow"]);
    let seat = Seat::new(&site.sandbox, "shallow");
    assert_eq!(seat.git(&["rev-parse", "--is-shallow-repository"]), "true");
    let landed = seat.main_job();
    assert_eq!(site.server(&["rev-parse", "main"]), landed, "what begins at a commit it has is no different");
    seat.scrum(&["submit", "--branch", "old"]).data();
    let pass = seat.scrum(&["merge-train"]);
    if pass.code == 0 {
        assert_eq!(site.server(&["show", "main:old.txt"]), "old", "{}", pass.shown());
    } else {
        // To say that it cannot judge is as good; to blame the car is not.
        contains(&pass.fails(128), "shallow");
        seat.git(&["fetch", "--quiet", "--unshallow"]);
        seat.land("old");
    }
}

#[test]
fn a_linked_worktree_is_the_same_clone() {
    let site = Site::new(&[]);
    site.seat().git(&["worktree", "add", "--quiet", "-b", "side", "../linked", "main"]);
    let (main, linked) = (site.seat(), Seat::new(&site.sandbox, "linked"));
    let landed = linked.main_job();
    assert_eq!(site.server(&["rev-parse", "main"]), landed);
    main.scrum(&["add", "Another", "--id", "102"]).data();
    let claimed = main.scrum(&["claim", "102"]).data();
    // One clone is one holder: what was claimed in one worktree is renewed, worked on and given back in another.
    let deeper = linked.at("deeper");
    fs::create_dir(&deeper.directory).expect("the worktree is writable");
    assert_eq!(deeper.scrum(&["renew", "102"]).data()["fence"], claimed["claims"][0]["fence"]);
    let worktree = deeper.scrum(&["worktree", "add", "102"]).data();
    let path = worktree["path"].as_str().expect("a path");
    assert!(path.starts_with(text(&site.sandbox.path("clone-worktrees"))), "all worktrees have one root: {path}");
    assert_eq!(main.scrum(&["release", "102"]).data()["task"]["state"], "queued");
}

#[test]
fn a_bare_repository_has_a_board_and_no_worktrees() {
    let site = Site::new(&[]);
    site.sandbox.git(site.sandbox.root(), &["clone", "--quiet", "--bare", site.remote.url(), "bare.git"]);
    let (seat, other) = (Seat::new(&site.sandbox, "bare.git"), site.seat());
    seat.scrum(&["init"]).data();
    seat.scrum(&["add", "One", "--id", "101"]).data();
    assert_eq!(seat.scrum(&["list"]).data()["tasks"][0]["id"], "101");
    for verb in [&["lock", "docs/**"][..], &["locks"], &["status"], &["log"], &["unlock", "docs/**"], &["team", "list"]]
    {
        seat.scrum(verb).data();
    }
    // Landing needs no worktree of the user's.
    let worktree = other.claim("101");
    other.commit_in(&worktree, "work/101.txt");
    other.scrum(&["submit", "101"]).data();
    assert_eq!(seat.land("101"), site.server(&["rev-parse", "main"]));
    // What needs one says why it cannot be.
    seat.scrum(&["add", "Two", "--id", "102"]).data();
    contains(&seat.scrum(&["claim", "102", "--worktree"]).fails(128), "bare");
    assert_eq!(seat.scrum(&["show", "102"]).data()["task"]["state"], "queued", "nothing was claimed for it");
    seat.scrum(&["claim", "102"]).data();
    contains(&seat.scrum(&["worktree", "add", "102"]).fails(128), "bare");
    assert_eq!(seat.git(&["worktree", "list", "--porcelain"]).matches("worktree ").count(), 1);
}

#[test]
fn a_bare_repository_that_is_its_own_truth_lands_what_is_pushed_to_it() {
    let site = Site::new(&[]);
    // The server itself, without any remote.
    let server = Seat::new(&site.sandbox, site.remote.bare());
    server.scrum(&["init", "--local"]).data();
    let seed = site.seed();
    seed.git(&["switch", "--quiet", "--create", "work"]);
    site.sandbox.commit_file(&seed.directory, "work.txt", "done\n", "Work");
    // A train on the server is run by its hook, where git sets `GIT_DIR=.` and more.
    let script =
        format!("unset GIT_QUARANTINE_PATH; {{ '{PROGRAM}' submit --branch work && '{PROGRAM}' merge-train; }} 2>&1");
    site.hook("post-receive", &script);
    let pushed = site.sandbox.try_git(&seed.directory, &["push", "origin", "work"]);
    contains(&String::from_utf8_lossy(&pushed.stderr), "land work");
    assert_eq!(site.server(&["show", "main:work.txt"]), "done");
}

#[test]
fn attributes_of_the_target_hold_where_nothing_is_checked_out() {
    let site = Site::new(&[]);
    if !git_is_at_least(&site.sandbox, (2, 43), "attributes of a tree") {
        return;
    }
    let seed = site.seed();
    site.sandbox.commit_file(&seed.directory, ".gitattributes", "*.log merge=union\n", "Attributes");
    site.sandbox.commit_file(&seed.directory, "all.log", "0\n", "A list");
    for branch in ["a", "b"] {
        seed.git(&["switch", "--quiet", "--create", branch, "main"]);
        site.sandbox.commit_file(&seed.directory, "all.log", format!("0\n{branch}\n"), branch);
    }
    seed.git(&["push", "--quiet", "origin", "main", "a", "b"]);
    site.sandbox.git(site.sandbox.root(), &["clone", "--quiet", "--bare", site.remote.url(), "bare.git"]);
    // In this one, something else is checked out; in the other nothing is. Both must build the same commit.
    let seats = [Seat::new(&site.sandbox, "bare.git"), site.seat()];
    seats[0].scrum(&["init"]).data();
    let built = seats.each_ref().map(|seat| {
        for branch in ["a", "b"] {
            seat.scrum(&["submit", "--branch", branch]).data();
        }
        seat.scrum(&["merge-train", "--dry-run"]).data()["actions"].clone()
    });
    assert_eq!(built[0], built[1]);
    seats[0].scrum(&["merge-train"]).data();
    assert_eq!(site.server(&["show", "main:all.log"]), "0\na\nb", "both lines, as the attribute says");
}

#[test]
fn what_a_clone_says_of_merges_and_of_objects_changes_no_candidate() {
    let site = Site::new(&[]);
    if !git_is_at_least(&site.sandbox, (2, 43), "attributes of a tree") {
        return;
    }
    let seed = site.seed();
    let attributes = "*.log merge=union\n*.sum merge=sum\n*.LST merge=union\n";
    let files = ["all.log", "all.sum", "all.lst", "all.txt"];
    site.sandbox.commit_file(&seed.directory, ".gitattributes", attributes, "Attributes");
    for file in files {
        site.sandbox.commit_file(&seed.directory, file, "0\n", file);
    }
    let base = seed.git(&["rev-parse", "main"]);
    for (file, branch) in files.iter().flat_map(|file| [(file, "a"), (file, "b")]) {
        seed.git(&["switch", "--quiet", "--create", &format!("{branch}-{file}"), "main"]);
        site.sandbox.commit_file(&seed.directory, file, format!("0\n{branch}\n"), branch);
    }
    seed.git(&["push", "--quiet", "origin", "--all"]);
    let plain = site.seat();
    site.sandbox.git(site.sandbox.root(), &["clone", "--quiet", site.remote.url(), "odd"]);
    let odd = Seat::new(&site.sandbox, "odd").with("GIT_CONFIG_GLOBAL", hostile_configuration(&site.sandbox));
    plain.scrum(&["init"]).data();
    plain.git(&["config", "merge.sum.driver", "echo summed >%A"]);
    // The driver is the same, but comes from a file that the configuration names in a way of its own.
    let driver = "[merge \"sum\"]\n\tdriver = \"echo summed >%A\"\n[merge]\n\tdefault = union\n";
    fs::write(odd.directory.join("drivers"), driver).expect("a file");
    odd.git(&["config", "include.path", "../drivers"]);
    fs::write(odd.directory.join(".git/info/attributes"), "# mine\n* merge=union\n").expect("a file");
    let replaced = odd.git(&["rev-parse", "origin/b-all.txt"]);
    odd.git(&["replace", &replaced, &base]);
    for file in files {
        for branch in ["a", "b"] {
            plain.scrum(&["submit", "--branch", &format!("{branch}-{file}")]).data();
        }
    }
    let built = [&plain, &odd].map(|seat| seat.scrum(&["merge-train", "--dry-run"]).data()["actions"].clone());
    assert_eq!(built[0], built[1]);
    let clashing = |seat: &Seat| {
        let answer: Value = serde_json::from_str(&seat.scrum(&["conflicts"]).stdout).expect("JSON");
        answer["data"]["pairs"].to_string()
    };
    assert_eq!(clashing(&plain), clashing(&odd));
    contains(&clashing(&odd), "all.txt");
    odd.scrum(&["merge-train"]).data();
    let shown = files.map(|file| site.server(&["show", &format!("main:{file}")]));
    assert_eq!(shown, ["0\na\nb", "summed", "0\na", "0\na"], "by the attributes of the target and by nothing else");
}

#[test]
fn a_detached_head_is_no_branch_to_submit() {
    let site = Site::new(&[]);
    let seat = site.seat();
    seat.git(&["checkout", "--quiet", "--detach"]);
    assert_eq!(seat.main_job(), site.server(&["rev-parse", "main"]));
    contains(&seat.scrum(&["submit"]).fails(129), "no branch is checked out here");
    assert_eq!(seat.git(&["rev-parse", "--abbrev-ref", "HEAD"]), "HEAD", "and it stays detached");
    // Without a remote, there is nothing but a guess at the target.
    let sandbox = local(&[]);
    let seat = Seat::new(&sandbox, "clone");
    seat.git(&["checkout", "--quiet", "--detach"]);
    let head = seat.git(&["rev-parse", "HEAD"]);
    assert_eq!(seat.main_job(), seat.git(&["rev-parse", "main"]));
    assert_eq!(seat.git(&["rev-parse", "HEAD"]), head, "what is checked out is not the target, and does not move");
}

#[test]
fn a_repository_without_a_commit_has_a_board() {
    let site = Site::empty(&[]);
    site.sandbox.clone(site.remote.url(), "clone");
    let alone = Sandbox::new();
    alone.git(alone.root(), &["init", "--quiet", "clone"]);
    for seat in [site.seat(), Seat::new(&alone, "clone")] {
        assert_eq!(seat.scrum(&["init"]).data()["target"], "main");
        seat.scrum(&["add", "One", "--id", "101"]).data();
        assert_eq!(seat.scrum(&["list"]).data()["tasks"][0]["id"], "101");
        seat.scrum(&["status"]).data();
        // There is nothing yet that a worktree could begin at. The claim stands, and both are said.
        contains(&seat.scrum(&["claim", "101", "--worktree"]).fails(128), "has no worktree");
        let told = seat.scrum_text(&["worktree", "add", "101"]);
        assert_eq!(told.code, 128, "{}", told.shown());
        contains(&told.stderr, "there is no branch main");
        contains(&seat.scrum(&["merge-train"]).fails(1), "there is no branch main");
        contains(&seat.scrum(&["submit", "101"]).fails(1), "there is no branch ai-feature/issue-101");
        // The first commit comes, and it goes on from there.
        site.sandbox.commit_file(&seat.directory, "first.txt", "first\n", "First");
        if seat.git(&["remote"]) == "origin" {
            seat.git(&["push", "--quiet", "origin", "main"]);
        }
        let added = seat.scrum(&["worktree", "add", "101"]).data();
        seat.commit_in(Path::new(added["path"].as_str().expect("a path")), "work/101.txt");
        seat.scrum(&["submit", "101"]).data();
        seat.land("101");
    }
}

#[test]
fn reftable_works_on_either_side() {
    let reftable = ["--ref-format=reftable"];
    let sandbox = Sandbox::new();
    if !git_is_at_least(&sandbox, (2, 45), "reftable") {
        return;
    }
    // On the server and in the clone.
    let site = Site::new(&reftable);
    site.sandbox.git(
        site.sandbox.root(),
        &["clone", "--quiet", "--ref-format=reftable", site.remote.url(), "clone-with-reftable"],
    );
    let seat = Seat::new(&site.sandbox, "clone-with-reftable");
    assert_eq!(seat.git(&["rev-parse", "--show-ref-format"]), "reftable");
    assert_eq!(seat.main_job(), site.server(&["rev-parse", "main"]));
    // A clone with files sees the same board, before a fold and after it.
    assert_eq!(site.seat().scrum(&["show", "101"]).data()["task"]["state"], "landed");
    seat.scrum(&["gc", "--force"]).data();
    assert_eq!(site.seat().scrum(&["show", "101"]).data()["task"]["state"], "landed");
    seat.scrum(&["add", "Another"]).data();
    site.server(&["update-ref", "refs/scrum/board", "refs/scrum/board~1"]);
    contains(&seat.scrum(&["list"]).fails(5), "refs/scrum/board");
    // As the truth itself.
    let sandbox = local(&reftable);
    let seat = Seat::new(&sandbox, "clone");
    assert_eq!(seat.main_job(), seat.git(&["rev-parse", "main"]));
    assert_eq!(seat.git(&["status", "--porcelain"]), "");
}

#[test]
fn sha256_works_on_either_side_and_is_not_mixed() {
    let sha256 = ["--object-format=sha256"];
    let site = Site::new(&sha256);
    let landed = site.seat().main_job();
    assert_eq!((landed.len(), landed), (64, site.server(&["rev-parse", "main"])));
    let folder = Seat::new(&site.sandbox, site.sandbox.clone(site.remote.url(), "folder"));
    folder.scrum(&["gc", "--force"]).data();
    assert_eq!(site.seat().scrum(&["log", "--verify"]).data()["checkpoint"]["compared"], true);
    let sandbox = local(&sha256);
    let seat = Seat::new(&sandbox, "clone");
    assert_eq!(seat.main_job(), seat.git(&["rev-parse", "main"]));
    assert_eq!(seat.git(&["fsck", "--strict", "--no-progress", "--no-dangling"]), "");
    // A clone of one format with a server of the other, with a board or without.
    let empty = Site::empty(&[]);
    for (mine, theirs) in [(&[][..], &site), (&sha256[..], &empty)] {
        let sandbox = &theirs.sandbox;
        sandbox.git(sandbox.root(), &[&["init", "--quiet"], mine, &["stranger"]].concat());
        let seat = Seat::new(sandbox, "stranger");
        seat.git(&["remote", "add", "origin", theirs.remote.url()]);
        let before = theirs.refs();
        contains(&seat.scrum(&["init"]).fails(128), "object format");
        assert_eq!(theirs.refs(), before);
    }
}

#[test]
fn a_bare_repository_is_left_alone_where_those_are_off() {
    let site = Site::new(&[]);
    site.seat().scrum(&["init"]).data();
    site.sandbox.git(site.sandbox.root(), &["clone", "--quiet", "--bare", site.remote.url(), "bare.git"]);
    let config = site.sandbox.path("careful.gitconfig");
    let settings = "[safe]\n\tbareRepository = explicit\n[protocol \"file\"]\n\tallow = always\n";
    fs::write(&config, settings).expect("the sandbox is writable");
    let seat = Seat::new(&site.sandbox, "bare.git").with("GIT_CONFIG_GLOBAL", &config);
    let before = seat.git(&["for-each-ref"]);
    for verb in [&["list"][..], &["init"], &["add", "One"]] {
        contains(&seat.scrum(verb).fails(128), "safe.bareRepository");
    }
    assert_eq!(seat.git(&["for-each-ref"]), before, "nothing was written");
    let named = seat.at(".").with("GIT_DIR", ".");
    named.scrum(&["add", "One", "--id", "101"]).data();
    assert_eq!(site.seat().scrum(&["list"]).data()["tasks"][0]["id"], "101", "named, it is as good as any");
}

#[test]
fn a_repository_of_somebody_else_is_left_alone() {
    let site = Site::new(&[]);
    let seat = site.seat();
    seat.scrum(&["init"]).data();
    let metadata = fs::metadata(&seat.directory).expect("the clone is there");
    let everything = fs::canonicalize(&seat.directory).expect("the clone is there");
    if metadata.uid() != 0 {
        return not_tested("a repository of somebody else: only root can make one");
    }
    let chown = |owner: &str| {
        let done = site.sandbox.command("chown").args(["-R", owner, text(&everything)]).output();
        assert!(done.is_ok_and(|output| output.status.success()), "chown {owner}");
    };
    chown("65534");
    let told = ["list", "init"].map(|verb| (verb, seat.scrum(&[verb])));
    chown("0");
    for (verb, told) in told {
        contains(&told.fails(128), "dubious ownership");
        assert_eq!(seat.scrum(&["list"]).code, 0, "{verb} has changed nothing");
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Servers

#[test]
fn a_server_that_is_gone_is_named_and_what_was_seen_is_shown() {
    let site = Site::new(&[]);
    let seat = site.seat();
    seat.scrum(&["init"]).data();
    seat.scrum(&["add", "One", "--id", "101"]).data();
    // Moved away, refusing connections, and never heard of.
    fs::rename(site.remote.bare(), site.sandbox.path("moved.git")).expect("the sandbox is writable");
    let addresses = [site.remote.url(), "http://127.0.0.1:1/origin.git", "ssh://127.0.0.1:1/origin.git"];
    for address in addresses {
        seat.configure("remote.origin.url", address);
        for verb in [&["add", "Two"][..], &["claim", "101"], &["merge-train"]] {
            let told = seat.scrum(verb);
            assert!([7, 128].contains(&told.code), "{address}: {}", told.shown());
            contains(&told.fails(told.code), "origin");
        }
        for verb in [&["list"][..], &["show", "101"], &["status"], &["ready"], &["locks"]] {
            let told = seat.scrum(verb);
            assert_eq!(told.code, 0, "{address}: {}", told.shown());
            assert_eq!(told.data()["current"], false, "{address}: {}", told.shown());
            contains(&told.stderr, "warning: ");
            contains(&told.stderr, "origin");
        }
        assert_eq!(seat.scrum(&["list"]).data()["tasks"][0]["id"], "101");
    }
    // Who has seen nothing has nothing to show.
    let stranger = Seat::new(&site.sandbox, "seed");
    let told = stranger.scrum(&["list"]);
    assert!([7, 128].contains(&told.code), "{}", told.shown());
    contains(&told.fails(told.code), "origin");
}

#[test]
fn a_server_for_branches_and_tags_only_is_quoted_and_can_be_lived_with() {
    let site = Site::new(&[]);
    let script =
        "case $1 in refs/heads/*|refs/tags/*) exit 0;; esac\necho \"only branches and tags, not $1\" >&2; exit 1";
    site.hook("update", script);
    let seat = site.seat();
    let told = seat.scrum(&["init"]);
    contains(&told.fails(8), "only branches and tags, not refs/scrum/board");
    contains(&told.stdout, "refs/heads/scrum-state/");
    assert_eq!(site.refs(), ["refs/heads/main"]);
    seat.configure("scrum.prefix", "refs/heads/scrum-state/");
    assert_eq!(seat.main_job(), site.server(&["rev-parse", "main"]));
    seat.scrum(&["memory", "add", "Learned", "--kind", "learning"]).data();
    seat.scrum(&["add", "Another", "--id", "102"]).data();
    fs::write(seat.claim("102").join("unfinished.txt"), "x\n").expect("the worktree is writable");
    seat.scrum(&["worktree", "remove", "102"]).data();
    let expected = [
        "refs/heads/ai-feature/issue-101",
        "refs/heads/main",
        "refs/heads/scrum-state/board",
        "refs/heads/scrum-state/memory",
        "refs/heads/scrum-state/wip/102-2",
    ];
    assert_eq!(site.refs(), expected);
    // Another clone finds it by the same setting.
    let other = site.sandbox.clone(site.remote.url(), "other");
    let other = Seat::new(&site.sandbox, other);
    other.configure("scrum.prefix", "refs/heads/scrum-state/");
    assert_eq!(other.scrum(&["show", "101"]).data()["task"]["state"], "landed");
    // What is a branch there may be kept from anything but going forward: then it cannot be folded.
    let before = site.server(&["for-each-ref"]);
    site.server(&["config", "receive.denyNonFastForwards", "true"]);
    contains(&other.scrum(&["gc", "--force"]).fails(8), "non-fast-forward");
    assert_eq!(site.server(&["for-each-ref"]), before);
    site.server(&["config", "receive.denyNonFastForwards", "false"]);
    // The archives, too, are under that prefix.
    site.hook("update", "case $1 in refs/heads/*) exit 0;; esac\nexit 1");
    other.scrum(&["gc", "--force"]).data();
    assert_eq!(seat.scrum(&["show", "101"]).data()["task"]["state"], "landed");
}

#[test]
fn a_mirror_push_of_an_ordinary_clone_is_noticed_by_all_others() {
    let site = Site::new(&[]);
    let seat = site.seat();
    seat.scrum(&["init"]).data();
    seat.scrum(&["add", "One", "--id", "101"]).data();
    // Exits 0 and deletes the board, for nothing protects it.
    site.seed().git(&["push", "--quiet", "--mirror", "origin"]);
    assert!(!site.refs().contains(&"refs/scrum/board".to_owned()));
    for verb in [&["list"][..], &["init"], &["add", "Two"], &["claim"], &["status"], &["merge-train"]] {
        contains(&seat.scrum(verb).fails(5), "vanished");
    }
    assert!(!site.refs().contains(&"refs/scrum/board".to_owned()), "nobody begins an empty one over it");
    // Nor does pruning take away what this clone remembers of it; so it can be put back.
    seat.git(&["fetch", "--quiet", "--prune", "origin"]);
    seat.git(&["push", "--quiet", "origin", "refs/scrum/remotes/origin/board:refs/scrum/board"]);
    assert_eq!(seat.scrum(&["list"]).data()["tasks"][0]["id"], "101");
}
