//! Scripts: stories of a board, told in commands and what came of them, under `fixtures/scripts/`.
//!
//! A script is text that a person reads from top to bottom:
//!
//! ```text
//! # What rule this tells.
//! 12:00 ada> claim --team frontend --lease 30m
//!   claim 101 by ada for frontend, fence 1, lease 30m
//! > grants
//!   1 ada has 101 for frontend on scrum/101, until 12:30
//! ```
//!
//! A line with a time and a name is a command that somebody gives; a line with a bare `>` looks at the board. What
//! follows, two spaces deep, is what the rules said: the line of the log, or the refusal with all its facts. Nothing is
//! written by hand but the commands: with `SCRUM_BLESS=1` in the environment the files are rewritten with what the rules
//! say now, and the difference is for a person to judge.
//!
//! Beside the text, every operation is decided twice and must come out the same, a refused or repeated one must change
//! nothing, and the invariants must hold after each; a script in which they do not is never blessed.

mod planning;
mod verbs;
mod views;
mod words;

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use git_scrum::domain::board::MemoryBoard;
use git_scrum::domain::invariants::check_invariants;
use git_scrum::domain::rules::decide;
use git_scrum::domain::{Command, Holder, Operation, OperationId, Seconds, Stop, Timestamp};

use words::{Objects, Words, Wrong};

/// One script: its board, its clock, and the names it uses.
pub(crate) struct World {
    board: MemoryBoard,
    skew: Seconds,
    now: Timestamp,
    who: Holder,
    objects: Objects,
    operations: u128,
}

/// What one line of a script gave.
struct Told {
    lines: Vec<String>,
    /// What must never happen, whatever the script expects.
    broken: Vec<String>,
}

impl World {
    fn new() -> World {
        World {
            board: MemoryBoard::default(),
            skew: Seconds(0),
            now: Timestamp::from_secs(views::DAY_SECS),
            who: Holder::parse("nobody").expect("a plain word names a holder"),
            objects: Objects::default(),
            operations: 0,
        }
    }

    /// Carries out one line: `12:00 ada> claim 1` or `> show 1`.
    fn tell(&mut self, line: &str) -> Result<Told, Wrong> {
        let (prompt, command) = line.split_once('>').ok_or("a line is a comment, a command or what it gave")?;
        let by_somebody = !prompt.is_empty();
        if by_somebody {
            let (time, who) = prompt.split_once(' ').ok_or("a command begins with a time and a name")?;
            self.now = time_of_day(time)?;
            self.who = Holder::parse(who).map_err(|error| error.to_string())?;
        }
        let mut words = Words::split(command)?;
        let verb: String = words.next("verb")?;
        if let Some(lines) = self.look(&verb, &mut words)? {
            words.finish()?;
            return Ok(Told { lines, broken: Vec::new() });
        }
        let command = self.command(&verb, &mut words)?.ok_or_else(|| format!("there is no verb {verb}"))?;
        words.finish()?;
        if !by_somebody {
            return Err(format!("somebody has to {verb}, at some time"));
        }
        Ok(self.operate(command))
    }

    /// Answers what only looks at the board, or sets the script's own dials.
    fn look(&mut self, verb: &str, words: &mut Words) -> Result<Option<Vec<String>>, Wrong> {
        Ok(Some(match verb {
            "list" => self.list(),
            "show" => self.show(&words.next("task")?),
            "grants" => self.grants(),
            "train" => self.train(&verbs::target(words)?),
            "plan" => self.plan(words)?,
            "skew" => {
                self.skew = words.next("length of time")?;
                Vec::new()
            }
            _ => return Ok(None),
        }))
    }

    fn operate(&mut self, command: Command) -> Told {
        self.operations += 1;
        let id = OperationId::parse(&format!("{:032x}", self.operations)).expect("32 digits are an operation id");
        let operation = Operation { id, by: self.who.clone(), at: self.now, skew: self.skew, command };
        let mut broken = Vec::new();
        let decided = catch_unwind(AssertUnwindSafe(|| decide(&self.board, &operation)));
        let Ok(decided) = decided else {
            return Told { lines: Vec::new(), broken: vec!["the rules panicked".to_owned()] };
        };
        if decide(&self.board.clone(), &operation) != decided {
            broken.push("deciding it again gave something else".to_owned());
        }
        let lines = match decided {
            Ok((changes, outcome)) => {
                let lines = views::accepted(&operation, &changes, &outcome);
                self.board.apply(changes);
                lines
            }
            Err(Stop::Refused(refusal)) => views::refused(&refusal),
            Err(Stop::Fault(never)) => match never {},
        };
        broken.extend(check_invariants(&self.board));
        Told { lines, broken }
    }
}

/// `12:00` or `12:00:01`, on the day on which every script happens.
fn time_of_day(text: &str) -> Result<Timestamp, Wrong> {
    let text = if text.len() == "12:00".len() { format!("{text}:00") } else { text.to_owned() };
    Timestamp::try_from(format!("{}T{text}Z", views::DAY))
}

/// A script that was run.
#[derive(Default)]
struct Report {
    /// The script as it ought to be, if the rules are right.
    blessed: String,
    /// Where it says otherwise, like a diff.
    differences: String,
    /// What must not be, whatever the script says.
    broken: String,
}

impl Report {
    fn of(name: &str, script: &str) -> Report {
        let mut report = Report::default();
        let mut world = World::new();
        let lines: Vec<&str> = script.lines().collect();
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
            let told = world.tell(line).unwrap_or_else(|wrong| Told { lines: Vec::new(), broken: vec![wrong] });
            for what in &told.broken {
                let _ = writeln!(report.broken, "{name}:{number}: {line}\n! {}", world.objects.named(what));
            }
            let told: Vec<String> = told.lines.iter().map(|line| views::brief(&world.objects.named(line))).collect();
            for line in &told {
                let _ = writeln!(report.blessed, "  {line}");
            }
            if told != expected {
                let _ = writeln!(report.differences, "{name}:{number}: {line}\n{}", difference(&expected, &told));
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

fn scripts() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/scripts");
    let entries = directory.read_dir().expect("fixtures/scripts is there");
    let paths = entries.map(|entry| entry.expect("fixtures/scripts can be read").path());
    let mut scripts: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    scripts.sort();
    scripts
}

#[test]
#[expect(clippy::disallowed_methods, reason = "fixtures are files, and the environment says whether to rewrite them")]
fn every_script_tells_what_the_rules_say() {
    let bless = std::env::var_os("SCRUM_BLESS").is_some_and(|value| value == "1");
    let mut complaints = String::new();
    let scripts = scripts();
    assert!(!scripts.is_empty(), "there are no scripts");
    for path in scripts {
        let file = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let script = std::fs::read_to_string(&path).expect("a script is text");
        let report = Report::of(&format!("fixtures/scripts/{file}"), &script);
        complaints.push_str(&report.broken);
        if bless && report.broken.is_empty() && report.blessed != script {
            std::fs::write(&path, &report.blessed).expect("a script can be rewritten");
        } else if !bless {
            complaints.push_str(&report.differences);
        }
        if !script.starts_with("# ") {
            let _ = writeln!(complaints, "fixtures/scripts/{file}:1: a script opens by telling its rule, after '# '");
        }
    }
    assert!(complaints.is_empty(), "\n{complaints}\nSCRUM_BLESS=1 rewrites the scripts with what the rules say now");
}

#[test]
fn a_difference_names_its_file_and_line() {
    let report = Report::of("story.txt", "# A story.\n12:00 ada> init\n  init for main by bob\n> list\n");
    assert_eq!(
        report.differences,
        "story.txt:2: 12:00 ada> init\n  - init for main by bob\n  + init for main by ada\n\
         story.txt:4: > list\n  + no open tasks\n"
    );
    assert_eq!(Report::of("story.txt", &report.blessed).differences, "");
}

#[test]
fn a_script_that_makes_no_sense_is_never_blessed() {
    for (line, wrong) in [
        ("12:00 ada> fly", "there is no verb fly"),
        ("25:00 ada> init", "is not a time"),
        ("12:00 ada> init --quick", "nobody knows what to do with --quick"),
        ("12:00 ada> add \"half a title", "a quote is not closed"),
        ("> claim", "somebody has to claim"),
    ] {
        let report = Report::of("story.txt", line);
        assert!(report.broken.contains(wrong), "{line}: {}", report.broken);
    }
}
