//! The arrows between the modules of `src/`, and the tidiness of its files.
//!
//! The source is read as words: comments and the text of strings are dropped, paths are put together, and `use` trees
//! are spread out. That is no compiler, but it sees every path that is written, and nobody hides one on purpose. What
//! each module may import is listed here, item by item where the reason is narrow; a new arrow needs a new line with a
//! reason, in the same commit.

#![expect(clippy::disallowed_methods, reason = "tests read the source they judge")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What an importer may take from another module of ours.
enum Items {
    /// Everything it makes public.
    All,
    /// Only paths that begin with one of these, below the module.
    Only(&'static [&'static str]),
}
use Items::{All, Only};

/// Why a module marks steps at which tests kill the program.
const MARKS: &str = "what outlives the process is a step";
/// Why a module has switches that only tests turn.
const PLANTED: &str = "what must not be left out can be left out, to see that tests notice";

/// Importer, imported, what of it, and why. What is not listed is forbidden.
const ARROWS: &[(&str, &str, Items, &str)] = &[
    ("agent", "failpoint", All, MARKS),
    ("cli", "failpoint", All, MARKS),
    ("git", "failpoint", All, "a program that is started may leave something behind"),
    ("ledger", "failpoint", All, MARKS),
    ("repo", "failpoint", All, MARKS),
    ("session", "failpoint", All, MARKS),
    ("domain", "planted", All, "a rule can only be broken where it is; a constant in every build but those of tests"),
    ("engine", "planted", All, PLANTED),
    ("ledger", "planted", All, PLANTED),
    ("ledger", "git", All, "a ledger is published by the git program"),
    ("record", "domain", All, "records are domain values as text"),
    ("record", "ledger", All, "and are kept in a ledger"),
    ("engine", "domain", All, "the rules decide"),
    ("engine", "ledger", All, "the ledger publishes what they decide"),
    ("engine", "record", All, "in between stands its text"),
    ("repo", "domain", All, "ports speak in domain values"),
    ("repo", "engine", Only(&["ports"]), "an adapter knows the port that it is behind, not the use cases"),
    ("repo", "git", All, "the code is read and moved by the git program"),
    ("repo", "ledger", All, "refs, objects, and the outcomes of publications"),
    ("repo", "record", Only(&["names", "keys"]), "the one place that spells names of refs"),
    ("agent", "domain", All, "ports speak in domain values"),
    ("agent", "engine", Only(&["ports", "Journal", "Resumed"]), "an adapter knows the ports that it is behind"),
    ("agent", "git", All, "worktrees are made by the git program"),
    ("agent", "ledger", All, "refs, and the outcomes of publications"),
    ("agent", "record", Only(&["names", "keys"]), "the one place that spells names of refs"),
    ("config", "domain", All, "settings are domain values"),
    ("session", "agent", All, "the one module that wires the others"),
    ("session", "config", All, "the one module that wires the others"),
    ("session", "domain", All, "the one module that wires the others"),
    ("session", "engine", All, "the one module that wires the others"),
    ("session", "git", All, "the one module that wires the others"),
    ("session", "ledger", All, "the one module that wires the others"),
    ("session", "record", All, "the one module that wires the others"),
    ("session", "repo", All, "the one module that wires the others"),
    ("cli", "config", All, "flags lie over settings, and errors of settings are explained"),
    ("cli", "domain", All, "commands are built from it and outcomes are shown"),
    ("cli", "engine", All, "verbs are use cases"),
    ("cli", "record", All, "reading the board on the ledger"),
    ("cli", "git", Only(&["Git", "process"]), "the demo plays people at a terminal, who run git themselves"),
    ("cli", "session", All, "how it comes to everything else"),
    (
        "cli",
        "ledger",
        Only(&["Fault", "GitStore", "Message", "Pace", "Store", "Truth", "TruthRefs"]),
        "types that the engine and the session hand out; never objects or refs",
    ),
    (
        "cli",
        "agent",
        Only(&["ClaimFile", "Removed", "Spent", "Worktree", "Worktrees"]),
        "what the session's worktrees and files answer with",
    ),
    ("main", "agent", Only(&["guard"]), "the program is also the guard of the checks that it starts"),
    ("main", "cli", All, "the program is its command line"),
    ("main", "session", Only(&["Start"]), "what the program was started with"),
];

/// The modules of the crate.
const MODULES: &[&str] = &[
    "agent",
    "cli",
    "config",
    "domain",
    "engine",
    "failpoint",
    "git",
    "ledger",
    "main",
    "planted",
    "record",
    "repo",
    "session",
];

/// The only files that know gix, which is 0.x with a breaking release every few weeks.
const GIX: &[&str] = &["src/ledger/objects.rs", "src/ledger/place.rs"];

/// What the rules must not touch: input and output, the clock, randomness, and the order of hashing.
const IMPURE: &[&str] = &[
    "std::collections::HashMap",
    "std::collections::HashSet",
    "std::collections::hash_map",
    "std::collections::hash_set",
    "std::env",
    "std::fs",
    "std::hash::RandomState",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time",
    "fd_lock",
    "getrandom",
    "gethostname",
    "gix",
    "rustix",
    "tempfile",
];
/// The same, by names that come in through a prelude or a glob, and the two clocks of a library that may be used.
const IMPURE_WORDS: &[&str] =
    &["HashMap", "HashSet", "Instant", "SystemTime", "println", "eprintln", "Timestamp::now", "Zoned::now"];

const LINES_MAX: usize = 700;
const COLUMNS_MAX: usize = 120;

// ---------------------------------------------------------------------------------------------------------------------
// Reading source

/// One file of `src/`.
struct File {
    /// Its path from the root of the project.
    path: String,
    text: String,
    words: Vec<Word>,
}

/// One word of the source: an identifier, a number, or a sign; a string is one word without its text.
#[derive(Debug, Clone)]
struct Word {
    text: String,
    line: usize,
    /// Whether it stands in a module of tests.
    in_tests: bool,
}

impl File {
    /// The top module the file belongs to.
    fn module(&self) -> &str {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        inner.split('/').next().expect("a path has a first part")
    }

    /// The module path of the file itself, from the root of the crate.
    fn module_path(&self) -> Vec<String> {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let parts = inner.split('/').filter(|part| !matches!(*part, "mod" | "lib" | "main"));
        parts.map(str::to_owned).collect()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `src/`, by path.
fn files() -> Vec<File> {
    let mut found = Vec::new();
    let mut directories = vec![root().join("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("the source is readable") {
            let path: PathBuf = entry.expect("the source is readable").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("the source is text");
                let path = path.strip_prefix(root()).expect("it is below the root");
                let path = path.to_str().expect("the source is named in UTF-8").to_owned();
                let mut words = words(&text);
                if path.ends_with("/tests.rs") {
                    words.iter_mut().for_each(|word| word.in_tests = true);
                }
                found.push(File { words, path, text });
            }
        }
    }
    assert!(found.len() > 50, "the source was not found: {} files", found.len());
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The words of a source text, without comments.
fn words(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let chars: Vec<char> = text.chars().collect();
    let at = |index: usize| chars.get(index).copied().unwrap_or('\0');
    let (mut index, mut line) = (0, 1);
    while index < chars.len() {
        let start = index;
        match chars[index] {
            '\n' => {
                line += 1;
                index += 1;
                continue;
            }
            c if c.is_whitespace() => {
                index += 1;
                continue;
            }
            '/' if at(index + 1) == '/' => {
                while index < chars.len() && chars[index] != '\n' {
                    index += 1;
                }
                continue;
            }
            '/' if at(index + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(index), at(index + 1)) {
                        ('/', '*') => (depth, index) = (depth + 1, index + 2),
                        ('*', '/') => (depth, index) = (depth - 1, index + 2),
                        (c, _) => (line, index) = (line + usize::from(c == '\n'), index + 1),
                    }
                    if depth == 0 || index >= chars.len() {
                        break;
                    }
                }
                continue;
            }
            '"' => {
                let end = end_of_string(&chars, index);
                words.push(Word { text: "\"\"".into(), line, in_tests: false });
                line += chars[index..end].iter().filter(|c| **c == '\n').count();
                index = end;
                continue;
            }
            // A lifetime, unless a quote follows the character.
            '\'' if at(index + 1) == '\\' || at(index + 2) == '\'' => {
                index += if at(index + 1) == '\\' { 3 } else { 2 };
                while at(index) != '\'' {
                    index += 1;
                }
                index += 1;
            }
            c if c.is_alphanumeric() || c == '_' => {
                while at(index).is_alphanumeric() || at(index) == '_' {
                    index += 1;
                }
                let prefix: String = chars[start..index].iter().collect();
                if matches!(prefix.as_str(), "r" | "br" | "b" | "c" | "cr") && matches!(at(index), '"' | '#') {
                    let raw = prefix.contains('r');
                    if at(index) == '"' || (raw && chars[index..].iter().find(|c| **c != '#') == Some(&'"')) {
                        let end = if raw { end_of_raw_string(&chars, index) } else { end_of_string(&chars, index) };
                        words.push(Word { text: "\"\"".into(), line, in_tests: false });
                        line += chars[index..end].iter().filter(|c| **c == '\n').count();
                        index = end;
                        continue;
                    }
                }
            }
            ':' if at(index + 1) == ':' => index += 2,
            _ => index += 1,
        }
        words.push(Word { text: chars[start..index].iter().collect(), line, in_tests: false });
    }
    mark_tests(&mut words);
    words
}

fn end_of_string(chars: &[char], quote: usize) -> usize {
    let mut index = quote + 1;
    while index < chars.len() && chars[index] != '"' {
        index += if chars[index] == '\\' { 2 } else { 1 };
    }
    index + 1
}

fn end_of_raw_string(chars: &[char], start: usize) -> usize {
    let hashes = chars[start..].iter().take_while(|c| **c == '#').count();
    let mut index = start + hashes + 1;
    loop {
        let closed = chars.get(index) == Some(&'"') && chars[index + 1..].iter().take(hashes).all(|c| *c == '#');
        if closed || index >= chars.len() {
            return index + 1 + hashes;
        }
        index += 1;
    }
}

/// Marks what follows `#[cfg(test)]`: a module, a function or a single item.
fn mark_tests(words: &mut [Word]) {
    let is = |words: &[Word], at: usize, wanted: &[&str]| {
        wanted.iter().enumerate().all(|(n, text)| words.get(at + n).is_some_and(|word| word.text == *text))
    };
    let mut index = 0;
    while index < words.len() {
        if !is(words, index, &["#", "[", "cfg", "(", "test", ")", "]"]) {
            index += 1;
            continue;
        }
        let mut depth = 0;
        while index < words.len() {
            words[index].in_tests = true;
            match words[index].text.as_str() {
                "{" => depth += 1,
                "}" if depth == 1 => break,
                "}" => depth -= 1,
                ";" if depth == 0 => break,
                _ => {}
            }
            index += 1;
        }
    }
}

/// One path as it is written, with `use` trees spread out and `self`, `super` and `crate` resolved.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    path: Vec<String>,
    line: usize,
}

impl Use {
    fn text(&self) -> String {
        self.path.join("::")
    }
}

/// Every path of a file that has at least two parts.
fn uses(file: &File) -> BTreeSet<Use> {
    let words = &file.words;
    let mut found = BTreeSet::new();
    // Modules written in the file itself, with the depth of braces at which each ends.
    let (mut inner, mut depth) = (Vec::<(String, usize)>::new(), 0_usize);
    let mut index = 0;
    while index < words.len() {
        let word = words[index].text.as_str();
        let next = |n: usize| words.get(index + n).map_or("", |word| word.text.as_str());
        match word {
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if inner.last().is_some_and(|(_, ends)| *ends == depth) {
                    inner.pop();
                }
            }
            "mod" if next(2) == "{" => inner.push((next(1).to_owned(), depth)),
            _ => {}
        }
        if is_name(word) && next(1) == "::" && (index == 0 || words[index - 1].text != "::") {
            let mut module = file.module_path();
            module.extend(inner.iter().map(|(name, _)| name.clone()));
            index = spread(words, index, &[], &module, &mut found);
        } else {
            index += 1;
        }
    }
    found
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Follows one path, and the tree at its end if it has one; gives the index of the word behind it.
fn spread(words: &[Word], start: usize, prefix: &[String], module: &[String], found: &mut BTreeSet<Use>) -> usize {
    let mut path = prefix.to_vec();
    let mut index = start;
    let line = words[start].line;
    while let Some(word) = words.get(index) {
        if word.text == "{" {
            index += 1;
            while words.get(index).is_some_and(|word| word.text != "}") {
                index = if words[index].text == "," { index + 1 } else { spread(words, index, &path, module, found) };
            }
            return index + 1;
        }
        if !is_name(&word.text) && word.text != "*" {
            break;
        }
        path.push(word.text.clone());
        index += 1;
        match words.get(index).map(|word| word.text.as_str()) {
            Some("::") if words.get(index + 1).is_some_and(|next| next.text != "<") => index += 1,
            _ => break,
        }
    }
    if !prefix.is_empty() && words.get(index).is_some_and(|word| word.text == "as") {
        index += 2;
    }
    found.insert(Use { path: resolved(path, module), line });
    // Whatever this is, it must not be looked at for ever.
    index.max(start + 1)
}

/// A path from the root of the crate (`crate::…`), or from another crate.
fn resolved(path: Vec<String>, module: &[String]) -> Vec<String> {
    let mut at = module.to_vec();
    let mut rest = path.as_slice();
    match rest.first().map(String::as_str) {
        Some("git_scrum") => return std::iter::once("crate".to_owned()).chain(rest[1..].iter().cloned()).collect(),
        Some("self" | "super") => {}
        _ => return path,
    }
    while let Some(first) = rest.first().filter(|part| matches!(part.as_str(), "self" | "super")) {
        if first == "super" {
            at.pop();
        }
        rest = &rest[1..];
    }
    std::iter::once("crate".to_owned()).chain(at).chain(rest.iter().cloned()).collect()
}

/// Fails with everything that is wrong, not with the first of it.
#[track_caller]
fn nothing_wrong(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n  {}\n", wrong.join("\n  "));
}

// ---------------------------------------------------------------------------------------------------------------------
// The arrows

#[test]
fn modules_import_only_what_they_may() {
    let mut wrong = Vec::new();
    let mut taken = BTreeSet::new();
    for file in files().iter().filter(|file| file.module() != "lib") {
        let importer = file.module();
        assert!(MODULES.contains(&importer), "{} belongs to no module that is listed here", file.path);
        for used in uses(file) {
            let [root, imported, rest @ ..] = used.path.as_slice() else { continue };
            if root != "crate" || imported == importer {
                continue;
            }
            let arrow = ARROWS.iter().find(|(from, to, _, _)| from == &importer && to == imported);
            let item = rest.first().map_or("", String::as_str);
            let allowed = match arrow {
                None => false,
                Some((_, _, All, _)) => true,
                Some((_, _, Only(items), _)) => items.contains(&item),
            };
            if allowed {
                taken.insert((importer.to_owned(), imported.clone()));
            } else {
                let why = arrow.map_or("no arrow leads there", |(_, _, _, reason)| reason);
                wrong.push(format!("{}:{} uses {}: {why}", file.path, used.line, used.text()));
            }
        }
    }
    for (from, to, _, _) in ARROWS {
        if !taken.contains(&((*from).to_owned(), (*to).to_owned())) {
            wrong.push(format!("{from} does not import {to} any more: take the arrow out of the list"));
        }
    }
    nothing_wrong(&wrong);
}

#[test]
fn the_rules_touch_nothing_outside() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| file.module() == "domain") {
        for used in uses(file) {
            let text = used.text();
            let within = |path: &&&str| text == **path || text.starts_with(&format!("{path}::"));
            if let Some(path) = IMPURE.iter().find(within) {
                wrong.push(format!("{}:{} uses {text}: the rules must not know {path}", file.path, used.line));
            }
        }
        let joined =
            |index: usize| -> String { file.words[index..].iter().take(3).map(|word| word.text.as_str()).collect() };
        for (index, word) in file.words.iter().enumerate().filter(|(_, word)| !word.in_tests) {
            let names = |name: &&&str| word.text == **name || joined(index) == **name;
            if let Some(name) = IMPURE_WORDS.iter().find(names) {
                wrong.push(format!("{}:{} says {name}", file.path, word.line));
            }
        }
    }
    nothing_wrong(&wrong);
}

#[test]
fn only_two_files_know_gix() {
    let files = files();
    let know = |file: &&File| file.words.iter().any(|word| word.text == "gix" || word.text.starts_with("gix_"));
    let found: Vec<&str> = files.iter().filter(know).map(|file| file.path.as_str()).collect();
    assert_eq!(found, GIX);
}

#[test]
fn only_the_command_line_prints() {
    let mut wrong = Vec::new();
    for file in files().iter().filter(|file| !matches!(file.module(), "cli" | "main")) {
        for (index, word) in file.words.iter().enumerate() {
            let next = |n: usize| file.words.get(index + n).map_or("", |word| word.text.as_str());
            let prints = match word.text.as_str() {
                "println" | "eprintln" | "print" | "eprint" | "dbg" => next(1) == "!",
                // The process's own streams, as opposed to those of a child, which take an argument.
                "stdout" | "stderr" => next(1) == "(" && next(2) == ")",
                _ => false,
            };
            if prints {
                wrong.push(format!("{}:{} prints with {}", file.path, word.line, word.text));
            }
        }
    }
    nothing_wrong(&wrong);
}

// ---------------------------------------------------------------------------------------------------------------------
// Tidiness

#[test]
fn files_are_of_a_size_to_be_read_and_begin_with_what_they_are_for() {
    let mut wrong = Vec::new();
    for file in files() {
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{} has {lines} lines, more than {LINES_MAX}", file.path));
        }
        if !file.text.starts_with("//! ") {
            wrong.push(format!("{} does not begin with what it is for", file.path));
        }
        if !file.text.ends_with('\n') || file.text.ends_with("\n\n") {
            wrong.push(format!("{} does not end with one newline", file.path));
        }
    }
    nothing_wrong(&wrong);
}

#[test]
fn lines_are_tidy() {
    let mut wrong = Vec::new();
    for file in files() {
        for (number, line) in file.text.lines().enumerate() {
            let mut say = |what: &str| wrong.push(format!("{}:{} {what}: {line}", file.path, number + 1));
            if line.chars().count() > COLUMNS_MAX {
                say("is too long");
            }
            if line.contains('\t') {
                say("has a tab");
            }
            if line.ends_with(char::is_whitespace) {
                say("ends with white space");
            }
            if ["/home/", "/work/", "/root/", "/Users/"].iter().any(|path| line.contains(path)) {
                say("names a path of a machine");
            }
        }
    }
    nothing_wrong(&wrong);
}

#[test]
fn nothing_is_left_undone_or_unexplained() {
    let mut wrong = Vec::new();
    for file in files() {
        for (index, word) in file.words.iter().enumerate() {
            let next = |n: usize| file.words.get(index + n).map_or("", |word| word.text.as_str());
            let previous = index.checked_sub(1).map_or("", |index| file.words[index].text.as_str());
            let mut say = |what: &str| wrong.push(format!("{}:{} {what}", file.path, word.line));
            match word.text.as_str() {
                "unwrap" if previous == "." && next(1) == "(" && !word.in_tests => {
                    say("unwraps: say with `expect` why it cannot fail");
                }
                "todo" | "unimplemented" | "dbg" if next(1) == "!" => say("is not finished"),
                "allow" if previous == "[" => say("allows a lint: `expect` it, with a reason"),
                "expect" if previous == "[" => {
                    let until = file.words[index..].iter().take_while(|word| word.text != "]");
                    if !until.clone().any(|word| word.text == "reason") {
                        say("expects a lint without a reason");
                    }
                }
                _ => {}
            }
        }
    }
    nothing_wrong(&wrong);
}

// ---------------------------------------------------------------------------------------------------------------------
// The reader itself

#[test]
fn the_reader_sees_every_path_and_no_comment_or_string() {
    let text = r##"//! crate::comment::x
use crate::{domain::{Task, id as ident, self}, ledger::*};
/* crate::block /* nested */ ::x */
fn f<'a>(x: &'a str) -> char { let _ = "crate::string::x\" crate::y::z"; let _ = r#"crate::raw::"x"#; '"' }
mod inner {
    use super::super::sibling::Thing;
    fn g() { crate::engine::run::<super::Local>(); self::own(); git_scrum::cli::run() }
}
#[cfg(test)]
mod tests { fn h() { x.unwrap(); } }
fn last() { y.unwrap(); }
"##;
    let file = File { path: "src/repo/code.rs".into(), text: text.into(), words: words(text) };
    let found: Vec<String> = uses(&file).iter().map(Use::text).collect();
    let expected = [
        "crate::cli::run",
        "crate::domain::Task",
        "crate::domain::id",
        "crate::domain::self",
        "crate::engine::run",
        "crate::ledger::*",
        "crate::repo::code::Local",
        "crate::repo::code::inner::own",
        "crate::repo::sibling::Thing",
    ];
    assert_eq!(found, expected);
    let unwraps: Vec<(usize, bool)> =
        file.words.iter().filter(|word| word.text == "unwrap").map(|word| (word.line, word.in_tests)).collect();
    assert_eq!(unwraps, [(10, true), (11, false)]);
}
