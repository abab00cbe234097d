//! Golden texts: commands that a person wrote, and below each, two spaces deep, what came of it.
//!
//! Guarantees: nothing is written by hand but the commands and the comments after `#`. What is recorded and what came
//! of it now are compared command by command, and a difference names its file and line. With `SCRUM_BLESS=1` in the
//! environment a file is rewritten with what came of it now; one in which something is broken never is.
//!
//! It does not know what a command is: whoever uses it says that.

#![expect(clippy::disallowed_methods, reason = "fixtures are files, and the environment says whether to rewrite them")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What one command gave.
#[derive(Default)]
pub struct Told {
    /// What belongs below it.
    pub lines: Vec<String>,
    /// What must never happen, whatever is recorded.
    pub broken: Vec<String>,
}

/// A text whose commands were carried out again.
#[derive(Default)]
pub struct Report {
    /// The text as it ought to be, if what came of it is right.
    pub blessed: String,
    /// Where it says otherwise, like a diff.
    pub differences: String,
    /// What must not be, whatever the text says.
    pub broken: String,
}

impl Report {
    /// Carries out every command of a text in order.
    pub fn of(name: &str, text: &str, mut tell: impl FnMut(&str) -> Told) -> Report {
        let mut report = Report::default();
        let lines: Vec<&str> = text.lines().collect();
        let mut at = 0;
        while let Some(line) = lines.get(at) {
            let number = at + 1;
            at += 1;
            let _ = writeln!(report.blessed, "{line}");
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let expected = lines[at..].iter().take_while(|line| line.starts_with("  ")).map(|line| &line[2..]);
            let expected: Vec<&str> = expected.collect();
            at += expected.len();
            let told = tell(line);
            for what in &told.broken {
                let _ = writeln!(report.broken, "{name}:{number}: {line}\n! {what}");
            }
            for line in &told.lines {
                let _ = writeln!(report.blessed, "  {line}");
            }
            if told.lines != expected {
                let _ = writeln!(report.differences, "{name}:{number}: {line}\n{}", difference(&expected, &told.lines));
            }
        }
        report
    }
}

/// Expected and actual lines, like a diff; what is equal at both ends stands once.
fn difference(expected: &[&str], told: &[String]) -> String {
    let head = expected.iter().zip(told).take_while(|(a, b)| a == b).count();
    let (expected_rest, told_rest) = (&expected[head..], &told[head..]);
    let tail = expected_rest.iter().rev().zip(told_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let mut lines: Vec<String> = expected[..head].iter().map(|line| format!("    {line}")).collect();
    lines.extend(expected_rest[..expected_rest.len() - tail].iter().map(|line| format!("  - {line}")));
    lines.extend(told_rest[..told_rest.len() - tail].iter().map(|line| format!("  + {line}")));
    lines.extend(told_rest[told_rest.len() - tail..].iter().map(|line| format!("    {line}")));
    lines.join("\n")
}

/// The texts of a directory below `fixtures`, by name.
pub fn files(directory: &str) -> Vec<String> {
    let entries = fixture(directory).read_dir().expect("the directory of fixtures is there");
    let names = entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".txt")).collect();
    names.sort();
    names
}

/// Reads a text.
pub fn read(directory: &str, file: &str) -> String {
    let path = fixture(directory).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("fixtures/{directory}/{file}: {error}"))
}

/// Compares a text with what `tell` makes of it, or blesses it. Gives the complaints: none if all is well.
pub fn complaints(directory: &str, file: &str, tell: impl FnOnce(&str, &str) -> Report) -> String {
    let bless = std::env::var_os("SCRUM_BLESS").is_some_and(|value| value == "1");
    let text = read(directory, file);
    let name = format!("fixtures/{directory}/{file}");
    let report = tell(&name, &text);
    let mut complaints = report.broken;
    if bless && complaints.is_empty() && report.blessed != text {
        std::fs::write(fixture(directory).join(file), &report.blessed).expect("a fixture can be rewritten");
    } else if !bless {
        complaints.push_str(&report.differences);
    }
    if !text.starts_with("# ") {
        let _ = writeln!(complaints, "{name}:1: it opens by saying what it tells, after '# '");
    }
    complaints
}

fn fixture(directory: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(directory)
}
