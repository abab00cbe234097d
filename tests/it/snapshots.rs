//! Snapshots: what the program prints for every verb, to people and as JSON, under `fixtures/snapshots/`.
//!
//! A snapshot is a scenario and its recording in one file:
//!
//! ```text
//! # What it shows.
//! $ git scrum add "One"
//!   exit 0
//!   | 1        p2 queued    One
//! bob$ SCRUM_NOW=2026-01-02T13:00:00Z git scrum show 2
//!   exit 1
//!   ! error: there is no task 2
//! ```
//!
//! A command is a line of `sh`, given in the clone of `ada`, or in the directory that is named before the `$`; `|` is
//! standard output, `!` standard error. To add a case, write its command and run `SCRUM_BLESS=1 cargo test snapshots`;
//! the difference is for a person to judge.
//!
//! Guarantees: the clock, the holders and the configuration are fixed, what is random is masked (`Masks`), and nothing
//! else is. JSON of one line is laid out, so that a difference is a line; anything else stands as it was printed. Every
//! verb that `--help` names has a snapshot with both forms, a success and a refusal. A panic is never blessed.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::golden::{self, Report, Told};
use crate::scrum::{Answer, PROGRAM, World, answer};

/// When every command happens that does not say otherwise.
const NOW: &str = "2026-01-02T12:00:00Z";

/// How deep JSON is laid out: an answer, its data, the fields of one task. The tasks of a list are one line each.
const LAID_OUT_DEPTH: usize = 3;

/// One test for each file, so that they run side by side and can be run one by one.
macro_rules! snapshots {
    ($($name:ident)*) => {
        mod what_is_printed_is_what_was_recorded_for {
            $(#[test] fn $name() { super::check(&super::file_of(stringify!($name))); })*
        }

        /// The files that have a test.
        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

snapshots! {
    add approve block branches cancel claim completions conflicts demo doctor done edit fail gc help independent init list lock
    locks log man memory merge_train promote ready release renew reopen revert show status submit team unblock unlock
    verdict worktree
}

/// The file of a verb: its words are joined with `-` there.
fn file_of(name: &str) -> String {
    format!("{}.txt", name.replace('_', "-"))
}

fn check(file: &str) {
    let complaints = golden::complaints("snapshots", file, run);
    assert!(
        complaints.is_empty(),
        "\n{complaints}\nSCRUM_BLESS=1 cargo test snapshots records what is printed now; read the difference before you \
         commit it"
    );
}

/// Carries out a scenario.
fn run(name: &str, scenario: &str) -> Report {
    let stage = stage();
    let mut masks = Masks::new(stage.sandbox.root());
    Report::of(name, scenario, |line| {
        let Some((place, script)) = line.split_once("$ ") else {
            return Told {
                broken: vec!["a line is a comment, a command after '$ ' or what it gave".to_owned()],
                ..Told::default()
            };
        };
        let place = stage.sandbox.path(if place.is_empty() { "ada" } else { place });
        let mut shell = stage.sandbox.command("sh");
        let answered = answer(shell.current_dir(place).args(["-u", "-c", script]));
        let mut lines = vec![format!("exit {}", answered.exit)];
        lines.extend(marked('|', &masks.cover(&laid_out(&answered.stdout))));
        lines.extend(marked('!', &masks.cover(&answered.stderr)));
        Told { lines, broken: broken(&answered) }
    })
}

/// A remote with a first commit, and two who work on it in clones of their own, with `git scrum` in their path.
fn stage() -> World {
    let mut stage = World::file();
    for name in ["ada", "bob"] {
        let clone = stage.clone(name);
        stage.sandbox.git(&clone, &["config", "scrum.holder", name]);
    }
    stage.sandbox.set_date(NOW);
    stage.sandbox.set_env("SCRUM_NOW", NOW);
    let temporary = stage.sandbox.path("tmp");
    std::fs::create_dir(&temporary).expect("the sandbox is writable");
    stage.sandbox.set_env("TMPDIR", temporary);
    let programs = Path::new(PROGRAM).parent().expect("the program is in a directory").to_path_buf();
    let path = std::env::var_os("PATH").expect("there is a PATH");
    let path = std::env::join_paths([programs].into_iter().chain(std::env::split_paths(&path)));
    stage.sandbox.set_env("PATH", path.expect("a path of directories"));
    stage
}

/// What no invocation may come to, whatever its snapshot says.
fn broken(answered: &Answer) -> Vec<String> {
    let what = match answered.exit {
        -1 => "a signal ended it",
        101 => "it panicked",
        126 | 127 => "there is no such program",
        _ => return Vec::new(),
    };
    vec![format!("{what}: {}", answered.stderr)]
}

/// The lines of a stream behind its mark. What does not end its last line is told, for a shell's prompt would follow.
fn marked(mark: char, text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(|line| format!("{mark} {line}").trim_end().to_owned()).collect();
    if !text.is_empty() && !text.ends_with('\n') {
        lines.push("(the last line is not ended)".to_owned());
    }
    lines
}

/// JSON of one line as several; any other text as it is.
fn laid_out(text: &str) -> String {
    let single = text.strip_suffix('\n').filter(|line| line.starts_with('{') && !line.contains('\n'));
    match single.and_then(|line| serde_json::from_str::<Value>(line).ok()) {
        Some(value) => layout(&value, 0) + "\n",
        None => text.to_owned(),
    }
}

fn layout(value: &Value, depth: usize) -> String {
    let wrapped = |open: char, items: Vec<String>, close: char| {
        let inner = "  ".repeat(depth + 1);
        format!("{open}\n{inner}{}\n{}{close}", items.join(&format!(",\n{inner}")), "  ".repeat(depth))
    };
    match value {
        Value::Object(fields) if depth < LAID_OUT_DEPTH && !fields.is_empty() => {
            let field = |(name, value): (&String, &Value)| format!("{:?}: {}", name, layout(value, depth + 1));
            wrapped('{', fields.iter().map(field).collect(), '}')
        }
        Value::Array(items) if depth < LAID_OUT_DEPTH && !items.is_empty() => {
            wrapped('[', items.iter().map(|item| layout(item, depth + 1)).collect(), ']')
        }
        _ => value.to_string(),
    }
}

/// All that is masked, and why:
///
/// * `<sandbox>`: the test's own directory, whose name is random;
/// * `<id 1>`: an object id of 40 digits or an operation's nonce of 32, or the first 10 digits of one, as people are
///   shown it. The board's commits and memory's entries are random; those of the code would hide in what surrounds them.
///   The same id has the same number, so that what belongs together still shows;
/// * `"took_secs":<secs>`: how long a check really took; `"eta":"<time>"` and `lands at about <time>` follow from that;
/// * `git <version>`: that of the git on this machine.
struct Masks {
    sandbox: String,
    git: String,
    ids: Vec<String>,
}

impl Masks {
    fn new(sandbox: &Path) -> Masks {
        let git = std::process::Command::new("git").arg("version").output().expect("there is a git");
        let git = String::from_utf8_lossy(&git.stdout).trim().replacen("git version ", "git ", 1);
        // What stands behind the number, as on a Mac, is not printed.
        let git = git.split(' ').take(2).collect::<Vec<_>>().join(" ");
        Masks { sandbox: sandbox.to_str().expect("the sandbox has a name in UTF-8").to_owned(), git, ids: Vec::new() }
    }

    fn cover(&mut self, text: &str) -> String {
        let text = text.replace(&self.sandbox, "<sandbox>").replace(&self.git, "git <version>");
        let text = without(&without(&text, "lands at about ", ',', "<time>"), "\"eta\":\"", '"', "<time>");
        let mut covered = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while !rest.is_empty() {
            // A word is what letters and digits make; between two words stands anything else.
            let is_word = rest.starts_with(|c: char| c.is_alphanumeric());
            let end = rest.find(|c: char| c.is_alphanumeric() != is_word).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            if is_word && covered.trim_end_matches(' ').ends_with("\"took_secs\":") && word != "null" {
                covered.push_str("<secs>");
            } else {
                covered.push_str(&self.id(word).unwrap_or_else(|| word.to_owned()));
            }
            rest = after;
        }
        covered
    }

    /// What stands for an id; `None` for any other word.
    fn id(&mut self, word: &str) -> Option<String> {
        let digits = word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        // The one number that is as long as a short id: the largest that clap takes.
        if !digits || !matches!(word.len(), 10 | 32 | 40) || word == u32::MAX.to_string() {
            return None;
        }
        let same = |id: &String| id.starts_with(word) || word.starts_with(id.as_str());
        let place = self.ids.iter().position(same).unwrap_or(self.ids.len());
        if place == self.ids.len() {
            self.ids.push(word.to_owned());
        } else if self.ids[place].len() < word.len() {
            word.clone_into(&mut self.ids[place]);
        }
        Some(format!("<id {}>", place + 1))
    }
}

/// `text` with `mask` for whatever stands between `before` and the next `end`.
fn without(text: &str, before: &str, end: char, mask: &str) -> String {
    let mut parts = text.split(before);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.find(end).map_or("", |at| &part[at..]);
        masked.extend([before, mask, rest]);
    }
    masked
}

/// The verbs that `--help` names below these words, each with the words before it; only those with none below them.
fn verbs(stage: &World, words: &[&str]) -> Vec<String> {
    let help = stage.run(stage.sandbox.root(), &[words, &["--help"]].concat()).stdout;
    let listed = help.split("\nCommands:\n").nth(1).unwrap_or_default().lines().take_while(|line| !line.is_empty());
    // A name stands two spaces deep; deeper is the rest of a description.
    let names = listed.filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    let names: Vec<&str> = names.filter_map(|line| line.split(' ').next()).collect();
    let below = names.iter().filter(|name| words.is_empty() || **name != "help");
    let mut found: Vec<String> = below.flat_map(|name| verbs(stage, &[words, &[*name]].concat())).collect();
    if found.is_empty() {
        found.push(words.join(" "));
    }
    found
}

#[test]
fn every_snapshot_has_a_test_and_every_test_a_snapshot() {
    let tested: BTreeSet<String> = TESTED.iter().map(|name| file_of(name)).collect();
    assert_eq!(golden::files("snapshots").into_iter().collect::<BTreeSet<_>>(), tested);
}

#[test]
fn every_verb_that_the_help_names_is_shown_in_both_forms() {
    let stage = World { sandbox: crate::support::Sandbox::new(), remote: None };
    let verbs = verbs(&stage, &[]);
    assert!(verbs.iter().any(|verb| verb == "team add"), "{verbs:?}");
    let mut missing = BTreeSet::new();
    for verb in &verbs {
        let file = file_of(verb.split(' ').next().unwrap_or_default());
        if !golden::files("snapshots").contains(&file) {
            missing.insert(format!("fixtures/snapshots/{file}"));
            continue;
        }
        let text = golden::read("snapshots", &file);
        let call = format!("git scrum {verb}");
        let calls = text.lines().filter(|line| line.contains("$ ") && format!("{line} ").contains(&format!("{call} ")));
        let (json, plain): (Vec<&str>, Vec<&str>) = calls.partition(|line| line.contains(" --json"));
        // Help is for people, and has no other form.
        let forms = [(plain, "", true), (json, " --json", verb != "help")];
        let absent = forms.iter().filter(|(calls, _, wanted)| *wanted && calls.is_empty());
        missing.extend(absent.map(|(_, form, _)| format!("{call}{form} in fixtures/snapshots/{file}")));
        let exits: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("  exit ")).collect();
        if !exits.contains("0") || exits.len() < 2 {
            missing.insert(format!("a success and a refusal in fixtures/snapshots/{file}"));
        }
    }
    assert!(missing.is_empty(), "not shown: {missing:#?}");
}

#[test]
fn only_what_is_random_is_masked() {
    let mut masks = Masks::new(Path::new("/tmp/x"));
    let (long, short) = ("0123456789abcdef01230123456789abcdef0123", "0123456789");
    assert_eq!(masks.cover(&format!("/tmp/x/ada ffffffffff {long} {short}")), "<sandbox>/ada <id 1> <id 2> <id 2>");
    assert_eq!(masks.cover(&"f".repeat(32)), "<id 1>");
    assert_eq!(masks.cover("\"took_secs\": 12, \"took_secs\":0"), "\"took_secs\": <secs>, \"took_secs\":<secs>");
    assert_eq!(masks.cover("lands at about 2026-01-02T12:00:00Z, if"), "lands at about <time>, if");
    assert_eq!(masks.cover(r#"{"eta":"2026-01-02T12:00:00Z"}"#), r#"{"eta":"<time>"}"#);
    for kept in
        ["\"eta\":null", "12 ms", "decade", "2026-01-02T12:00:00Z", "4294967295", "\"took_secs\":null", "abcdefabcdefa"]
    {
        assert_eq!(masks.cover(kept), kept);
    }
}

#[test]
fn json_is_laid_out_and_other_text_is_left_alone() {
    let json = r#"{"schema_version":1,"data":{"tasks":[{"id":"1","needs":[]}],"current":true}}"#;
    let lines = "{\n  \"schema_version\": 1,\n  \"data\": {\n    \"tasks\": [\n      {\"id\":\"1\",\"needs\":[]}\n    ],\n    \
                 \"current\": true\n  }\n}\n";
    assert_eq!(laid_out(&format!("{json}\n")), lines);
    for left in [json.to_owned(), format!("{json}\n{json}\n"), "{ no\n".to_owned()] {
        assert_eq!(laid_out(&left), left);
    }
}
