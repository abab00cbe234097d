//! The steps themselves, in builds that have them.

#![expect(clippy::disallowed_methods, reason = "for tests only: no part of what main reads for the program")]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

const CRASH_AT: &str = "GIT_SCRUM_CRASH_AT";
const STEPS: &str = "GIT_SCRUM_STEPS";

/// Git commands that leave nothing behind. Any other is a step: one that is forgotten here is killed for nothing.
const READING: &[&str] = &[
    "config --list",
    "diff-index",
    "diff-tree",
    "for-each-ref",
    "log",
    "ls-remote",
    "ls-tree",
    "merge-base",
    "rev-list",
    "rev-parse",
    "status",
    "symbolic-ref",
    "worktree list",
];

/// What the environment asks for.
struct Plan {
    crash_at: Option<u64>,
    steps: Option<PathBuf>,
    reached: AtomicU64,
}

/// The plan of this process; `None`, after one look at the environment, where nothing is asked for.
fn plan() -> Option<&'static Plan> {
    static PLAN: OnceLock<Option<Plan>> = OnceLock::new();
    let read = || {
        let crash_at = std::env::var(CRASH_AT).ok();
        let crash_at = crash_at.map(|text| text.parse().expect("GIT_SCRUM_CRASH_AT is a number"));
        let steps = std::env::var_os(STEPS).map(PathBuf::from);
        let asked = crash_at.is_some() || steps.is_some();
        asked.then_some(Plan { crash_at, steps, reached: AtomicU64::new(0) })
    };
    PLAN.get_or_init(read).as_ref()
}

/// Marks a step: what follows outlives the process.
pub fn reach(step: &str) {
    let Some(plan) = plan() else { return };
    if let Some(path) = &plan.steps {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(format!("{step}\n").as_bytes())).expect("the steps can be written");
    }
    if Some(plan.reached.fetch_add(1, Ordering::SeqCst) + 1) == plan.crash_at {
        kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
        unreachable!("BUG: alive after a SIGKILL");
    }
}

/// Marks a step where `path` is about to be made; where it is there already, what follows changes nothing.
pub fn making(path: &Path) {
    if plan().is_some() && !path.exists() {
        reach(&format!("making {}", path.file_name().unwrap_or_default().to_string_lossy()));
    }
}

/// Marks the step that starting a program is, if it may leave anything behind.
pub fn program(command: &mut Command) {
    if plan().is_none() {
        return;
    }
    if let Some(step) = name(command) {
        reach(&step);
    }
    // A hook or a check may well run this program again: whoever is to be killed is this process alone.
    command.env_remove(CRASH_AT).env_remove(STEPS);
}

fn name(command: &Command) -> Option<String> {
    if command.get_program() != "git" {
        return Some("a check".to_owned());
    }
    let mut words = command.get_args().map(|word| word.to_string_lossy());
    let mut verb = words.next()?;
    while verb.starts_with('-') {
        // `-c name=value` and `-C directory` are the only options that are ever given in front of a verb.
        verb = words.nth(1)?;
    }
    let verb = match (verb.as_ref(), words.next()) {
        ("config" | "worktree", Some(second)) => format!("{verb} {second}"),
        _ => verb.into_owned(),
    };
    (!READING.contains(&verb.as_str())).then(|| format!("git {verb}"))
}
