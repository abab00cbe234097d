//! Time, memory and objects of one program run; and what many runs say together.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::support::Sandbox;

/// What one run took.
#[derive(Clone, Copy)]
pub struct Cost {
    /// From start to end, in milliseconds.
    pub wall_ms: f64,
    /// On all processors by the program and everything it started and waited for, in milliseconds. Counted in ticks
    /// of 10 ms: only the mean of many runs means something.
    pub cpu_ms: f64,
}

/// Runs the command, which must give one of these exit codes. Gives what it took and what it printed.
///
/// # Panics
/// With its output when it gives another.
#[track_caller]
pub fn time(command: &mut Command, codes: &[i32]) -> (Cost, String) {
    time_reading(command, codes, Stdio::null())
}

/// The same, with something on its standard input.
///
/// # Panics
/// With its output when it gives another.
#[track_caller]
pub fn time_reading(command: &mut Command, codes: &[i32], input: Stdio) -> (Cost, String) {
    let cpu = children_cpu_ms();
    let start = Instant::now();
    let output = command.stdin(input).output().expect("the program is there");
    let wall = start.elapsed();
    let code = output.status.code();
    assert!(
        code.is_some_and(|code| codes.contains(&code)),
        "{command:?} gave {code:?}\n--- stdout\n{}\n--- stderr\n{}",
        String::from_utf8_lossy(&output.stdout).chars().take(2000).collect::<String>(),
        String::from_utf8_lossy(&output.stderr),
    );
    let cost = Cost { wall_ms: wall.as_secs_f64() * 1000.0, cpu_ms: children_cpu_ms() - cpu };
    (cost, String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The processor time of all children that were waited for (`proc(5)`, fields 16 and 17 of `/proc/self/stat`); 0 on
/// systems without it.
fn children_cpu_ms() -> f64 {
    cpu_ms_of(13, 2)
}

/// The processor time of this process and of all children that were waited for, or 0 (fields 14 to 17).
pub fn cpu_ms() -> f64 {
    cpu_ms_of(11, 4)
}

/// The sum of so many fields of `/proc/self/stat`, of which the first stands this far behind the program's name.
fn cpu_ms_of(first: usize, count: usize) -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: f64 = after_name.split(' ').skip(first).take(count).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks * 10.0
}

/// How many processes want a processor (`/proc/loadavg`).
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("{} on {} processors", text.split(' ').next().unwrap_or("unknown"), processors())
}

/// How many processors there are.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The git program by its path. To look for it on a search path that is set for the child, the standard library forks
/// this process, which has the boards in its memory: that would be measured, too.
pub fn git() -> PathBuf {
    let path = std::env::var_os("PATH").expect("there is a search path");
    std::env::split_paths(&path)
        .map(|directory| directory.join("git"))
        .find(|file| file.is_file())
        .expect("git is there")
}

/// The costs of many runs of one thing.
#[derive(Default)]
pub struct Samples {
    wall_ms: Vec<f64>,
    cpu_ms: f64,
}

impl Samples {
    /// Adds one.
    pub fn add(&mut self, cost: Cost) {
        self.wall_ms.push(cost.wall_ms);
        self.cpu_ms += cost.cpu_ms;
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.wall_ms.len()
    }

    /// The wall time that this part of the runs stayed below.
    pub fn quantile_ms(&self, part: f64) -> f64 {
        let mut sorted = self.wall_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
    }

    /// The wall time in the middle.
    pub fn median_ms(&self) -> f64 {
        self.quantile_ms(0.5)
    }

    /// The mean processor time.
    pub fn cpu_ms(&self) -> f64 {
        self.cpu_ms / self.count() as f64
    }
}

/// The most memory that the command, or a program it started and waited for, had at once, in megabytes. `None` without
/// GNU time: a process cannot ask this of its children without unsafe code.
pub fn peak_mb(sandbox: &Sandbox, dir: &Path, argv: &[&str], codes: &[i32]) -> Option<f64> {
    let gnu_time = Path::new("/usr/bin/time");
    if !gnu_time.exists() {
        return None;
    }
    let report = sandbox.path("peak");
    // A child inherits the peak of the process that forked it, so it has to be a small one.
    let mut command = sandbox.command(gnu_time);
    command.args(["--quiet", "--format=%M", "--output"]).arg(&report).arg("--").args(argv).current_dir(dir);
    time(&mut command, codes);
    let kilobytes: f64 = fs::read_to_string(&report).ok()?.trim().parse().ok()?;
    Some(kilobytes / 1024.0)
}

/// Objects and bytes of one operation.
#[derive(Clone, Copy)]
pub struct Written {
    /// Loose objects that appeared in the clone.
    pub objects: u64,
    /// The length of the pack that a push of them sends.
    pub pushed_bytes: u64,
}

/// How many loose objects the clone has.
pub fn loose_objects(sandbox: &Sandbox, clone: &Path) -> u64 {
    let counted = sandbox.git(clone, &["count-objects"]);
    counted.split(' ').next().and_then(|count| count.parse().ok()).expect("git counts objects")
}

/// The length of the pack that takes a server from commit `old` to commit `new`, built as `git push` builds it.
pub fn pack_bytes(sandbox: &Sandbox, clone: &Path, old: &str, new: &str) -> u64 {
    let revisions = sandbox.path("revisions");
    fs::write(&revisions, format!("{new}\n^{old}\n")).expect("the sandbox is writable");
    let output = sandbox
        .command("git")
        .args(["pack-objects", "--revs", "--stdout", "--thin", "--delta-base-offset", "-q"])
        .current_dir(clone)
        .stdin(fs::File::open(&revisions).expect("it was just written"))
        .output()
        .expect("git is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.len() as u64
}
