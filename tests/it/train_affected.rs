//! An analyser says what cars affect: those that affect nothing in common are tested and land independently.

use std::fs;
use std::path::PathBuf;

use crate::train::{Yard, done};
use crate::train_lanes::submit;

/// Prints the directories of the paths that have changed, and leaves a line wherever it was asked.
const DIRECTORIES: &str = "affected = [\"sh\", \"-c\", 'echo \"$CI\" >> \"$HOME/asked\"; cut -d/ -f1']\n";

fn of_home(yard: &Yard, file: &str) -> PathBuf {
    yard.world.sandbox.path("home").join(file)
}

/// How often the analyser was asked.
fn asked(yard: &Yard) -> usize {
    fs::read_to_string(of_home(yard, "asked")).unwrap_or_default().lines().count()
}

/// Puts a file on the target, past the train.
fn push_to_main(yard: &mut Yard, file: &str, content: &str) {
    yard.push("outside", file, content);
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "origin", "outside:main"]);
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "origin", ":outside"]);
    yard.old.insert(file.to_owned());
}

#[test]
fn what_an_analyser_tells_apart_lands_independently_and_it_is_asked_once() {
    let mut yard = Yard::new(DIRECTORIES);
    submit(&yard, "docs/A web/B web/C");
    yard.world.ok(&yard.clone, &["merge-train", "status"]);
    assert_eq!(asked(&yard), 0, "who only looks starts nothing");
    yard.tick();
    assert_eq!((yard.started.join(", "), asked(&yard)), ("docs/A, web/B, web/B web/C".to_owned(), 3));
    assert_eq!(done(&yard.tick()), [""; 0]);
    assert_eq!(asked(&yard), 3, "what it said is remembered");
    assert_eq!(yard.hear("pass", "web/B"), ["land B"]);
    assert_eq!(yard.hear("pass", "docs/A"), ["land A"], "tested before B landed");
    assert_eq!(yard.hear("pass", "web/B web/C"), ["land C"]);
    assert_eq!((yard.started.len(), yard.cancelled.len()), (3, 0), "{:?}", yard.started);
    let known = asked(&yard);
    // A memory full of garbage is none.
    submit(&yard, "docs/D");
    fs::write(yard.clone.join(".git/scrum/affected"), "\u{0}garbage\n{}\n").expect("a write");
    yard.tick();
    assert_eq!((yard.started.last().map(String::as_str), asked(&yard)), (Some("docs/A docs/D web/B web/C"), known + 1));
}

/// Every way in which an analyser can fail is somebody's car here, by the name of its file.
const BROKEN: &str = r#"affected_timeout = "15s"
affected = ["sh", "-c", '''
case $(cat) in
*exit) echo docs; echo "no rule for it" >&2; exit 3;;
*silent) ;;
*words) echo "no targets";;
*escape) printf "a\033[31m\n";;
*binary) printf "a\377\n";;
*endless) yes | head -c 300000;;
*killed) echo docs; kill -9 $$;;
*hangs) echo docs; sleep 3600 & sleep 3600;;
*) echo docs;;
esac''']
"#;

#[test]
fn whatever_an_analyser_does_wrong_the_car_affects_everything() {
    let yard = Yard::new(BROKEN);
    submit(&yard, "docs/fine x/exit x/silent x/words x/escape x/binary x/endless x/killed x/hangs");
    let pass = yard.world.run(&yard.clone, &["merge-train", "--once"]);
    assert_eq!(pass.exit, 0, "{pass:?}");
    let doubts = pass.stderr.lines().filter(|line| line.starts_with("warning: "));
    let middle = " is taken to affect everything, for train.affected cannot be believed: ";
    let mut doubts: Vec<String> = doubts.map(|line| line.replace("warning: ", "").replace(middle, ": ")).collect();
    doubts.sort();
    let expected = [
        "binary: what it says is not text",
        "endless: it says more than 262144 bytes",
        "escape: it says \"a\\u{1b}[31m\", which is no name",
        "exit: it ended with 3: no rule for it",
        "hangs: it took longer than 15s",
        "killed: it was killed",
        "silent: it names nothing",
        "words: it says \"no targets\", which is no name",
    ];
    assert_eq!(doubts, expected, "{pass:?}");
    // Nobody passes another: one line, in the order of the queue.
    let runs = yard.world.ok(&yard.clone, &["merge-train"])["runs"].clone();
    let runs: Vec<usize> =
        runs.as_array().expect("runs").iter().map(|run| run["cars"].as_array().unwrap().len()).collect();
    assert_eq!(runs, (1..=9).collect::<Vec<_>>());
    let mut command = yard.world.command(&yard.clone, &["merge-train", "--once"]);
    command.env("SCRUM_TRAIN_AFFECTED", "[\"no-such-program\"]");
    let pass = crate::scrum::answer(&mut command);
    assert!(pass.exit == 0 && pass.stderr.contains("fine is taken to affect everything"), "{pass:?}");
}

/// By its own program a car could tell everybody that it affects nobody, and whatever else it likes.
#[test]
fn the_program_is_that_of_the_target_and_never_of_a_car() {
    let mut yard = Yard::new("affected = [\"sh\", \"./affected.sh\"]\n");
    push_to_main(&mut yard, "affected.sh", "echo >> \"$HOME/asked\"\ncut -d/ -f1\n");
    submit(&yard, "docs/A");
    yard.push("B", "affected.sh", "touch \"$HOME/owned\"\necho nothing\n");
    yard.world.sandbox.commit_file(&yard.clone, "docs/B", "B", "Write docs/B");
    yard.world.sandbox.git(&yard.clone, &["push", "-q", "origin", "B"]);
    yard.world.ok(&yard.clone, &["submit", "--branch", "B"]);
    submit(&yard, "web/C");
    yard.tick();
    assert_eq!(yard.started, ["docs/A", "docs/A docs/B", "web/C"], "B affects docs, whatever it says of that itself");
    assert_eq!((asked(&yard), of_home(&yard, "owned").exists()), (3, false));
    // Another program on the target is asked anew.
    push_to_main(&mut yard, "affected.sh", "echo >> \"$HOME/asked\"\necho all\n");
    yard.world.ok(&yard.clone, &["merge-train"]);
    assert!(asked(&yard) >= 6, "{}", asked(&yard));
}

/// The lanes of paths and what is printed are one kind of thing.
#[test]
fn lanes_of_paths_are_affected_besides_what_is_printed() {
    let settings =
        "affected = [\"sh\", \"-c\", \"sed s,/,-,g\"]\n[train.lanes]\ndocs = [\"docs/**\"]\nweb = [\"web/**\"]\n";
    let mut yard = Yard::new(settings);
    // A path of no lane is left to the analyser.
    submit(&yard, "docs/A docs/B web/C other/D");
    yard.tick();
    assert_eq!(yard.started, ["docs/A", "docs/A docs/B", "web/C", "other/D"]);
}

/// What depends on what is part of the tree: a landing may make others depend on what a car changes.
#[test]
fn a_verdict_is_not_taken_over_where_a_landing_has_changed_what_depends_on_the_car() {
    let script = "all=$(cut -d/ -f1); echo \"$all\"; case $all in *docs*) ;; *) exit 0;; esac\n\
                  git cat-file -e \"$SCRUM_COMMIT:web/uses-docs\" 2>/dev/null && echo web || true";
    let mut yard = Yard::new(&format!("affected = [\"sh\", \"-c\", '''{script}''']\n"));
    submit(&yard, "docs/A web/B server/C web/uses-docs");
    yard.tick();
    yard.started.sort();
    assert_eq!(yard.started, ["docs/A", "server/C", "web/B", "web/B web/uses-docs"]);
    assert_eq!(yard.hear("pass", "web/B"), ["land B"]);
    assert_eq!(yard.hear("pass", "server/C"), ["land C"], "tested before B landed");
    assert!(yard.cancelled.is_empty(), "docs and web had nothing in common");
    assert_eq!(yard.hear("pass", "web/B web/uses-docs"), ["land uses-docs"]);
    assert_eq!(yard.cancelled, ["docs/A"], "now web depends on it");
    assert_eq!(yard.hear("pass", "docs/A server/C web/B web/uses-docs"), ["land A"]);
}
