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

use std::panic::{AssertUnwindSafe, catch_unwind};

use git_scrum::domain::board::{Board, MemoryBoard};
use git_scrum::domain::invariants::check_invariants;
use git_scrum::domain::rules::{decide, overdue};
use git_scrum::domain::{Beats, Command, Fence, Holder, Operation, OperationId, Seconds, Stop, Timestamp};

use crate::golden::{self, Report, Told};
use words::{Objects, Words, Wrong};

/// One script: its board, its clock, and the names it uses.
pub(crate) struct World {
    board: MemoryBoard,
    skew: Seconds,
    now: Timestamp,
    who: Holder,
    objects: Objects,
    operations: u128,
    /// When holders were last alive, once anybody looks for that.
    beats: Option<Beats>,
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
            beats: None,
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
            "beat" => {
                // From the first heartbeat on, everybody looks for them.
                let fence: u64 = words.next("fence")?;
                self.beats.get_or_insert_default().insert(Fence(fence), self.now);
                Vec::new()
            }
            _ => return Ok(None),
        }))
    }

    fn operate(&mut self, command: Command) -> Told {
        self.operations += 1;
        let id = OperationId::parse(&format!("{:032x}", self.operations)).expect("32 digits are an operation id");
        let Ok(grants) = self.board.grants();
        let overdue = self.beats.as_ref().map(|beats| overdue(&grants, beats, self.now, self.skew));
        let operation = Operation { id, by: self.who.clone(), at: self.now, skew: self.skew, overdue, command };
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

/// Carries out a script.
fn run(name: &str, script: &str) -> Report {
    let mut world = World::new();
    Report::of(name, script, |line| {
        let told = world.tell(line).unwrap_or_else(|wrong| Told { lines: Vec::new(), broken: vec![wrong] });
        let lines = told.lines.iter().map(|line| views::brief(&world.objects.named(line)));
        let broken = told.broken.iter().map(|what| world.objects.named(what));
        Told { lines: lines.collect(), broken: broken.collect() }
    })
}

#[test]
fn every_script_tells_what_the_rules_say() {
    let scripts = golden::files("scripts");
    assert!(!scripts.is_empty(), "there are no scripts");
    let complaints: String = scripts.iter().map(|file| golden::complaints("scripts", file, run)).collect();
    assert!(complaints.is_empty(), "\n{complaints}\nSCRUM_BLESS=1 rewrites the scripts with what the rules say now");
}

#[test]
fn a_difference_names_its_file_and_line() {
    let report = run("story.txt", "# A story.\n12:00 ada> init\n  init for main by bob\n> list\n");
    assert_eq!(
        report.differences,
        "story.txt:2: 12:00 ada> init\n  - init for main by bob\n  + init for main by ada\n\
         story.txt:4: > list\n  + no open tasks\n"
    );
    assert_eq!(run("story.txt", &report.blessed).differences, "");
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
        let report = run("story.txt", line);
        assert!(report.broken.contains(wrong), "{line}: {}", report.broken);
    }
}
