//! Runs one external process to its end, with bounds on time and on how much of its output is kept.
//!
//! Guarantees: the child gets no standard input unless given some, runs in a process group of its own, and the whole
//! group is killed when the time is up; what has left the group is out of reach, but is not waited for either. Must not
//! know what it runs or why.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use crate::failpoint;

/// How long output is waited for when whoever might write some has been killed.
const AFTER_KILL: Duration = Duration::from_millis(500);

/// What a finished process left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit code; `None` when a signal ended the process.
    pub code: Option<i32>,
    /// Whether its time was up before it was done.
    pub timed_out: bool,
    /// Standard output, at most `keep_bytes_max` bytes.
    pub stdout: Vec<u8>,
    /// Standard error, at most `keep_bytes_max` bytes.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether the process ended by itself with exit code 0.
    pub fn success(&self) -> bool {
        self.code == Some(0) && !self.timed_out
    }

    /// Standard error as text, for classifying and quoting.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Standard output as text.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// What is kept of an output that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// How it begins.
    Beginning,
    /// How it ends.
    End,
}

/// The bounds of one run.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Kill the process group after this long.
    pub time_max: Duration,
    /// Keep at most this many bytes of each output stream; the rest is read and dropped.
    pub keep_bytes_max: usize,
    /// Which of them.
    pub keep: Keep,
    /// How much longer output is waited for when the process itself has ended, though others that it has started hold
    /// the stream open. `None`: until the time is up, for output that would be misread if its end were missing.
    pub linger: Option<Duration>,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { time_max: Duration::from_secs(300), keep_bytes_max: 64 << 20, keep: Keep::Beginning, linger: None }
    }
}

/// Runs `command` to its end. `input` is written to its standard input.
///
/// # Errors
/// Only when the process cannot be started or waited for; a failing process is an [`Output`].
pub fn run(command: &mut Command, input: Option<&[u8]>, bounds: Bounds) -> io::Result<Output> {
    run_with(command, input, false, bounds)
}

/// Like [`run`], but the standard input does not end behind `input` before the process itself has: that it ends tells
/// the process that nobody is left who keeps its time.
///
/// # Errors
/// Like [`run`].
pub fn run_attached(command: &mut Command, input: &[u8], bounds: Bounds) -> io::Result<Output> {
    run_with(command, Some(input), true, bounds)
}

fn run_with(command: &mut Command, input: Option<&[u8]>, attached: bool, bounds: Bounds) -> io::Result<Output> {
    failpoint::program(command);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let until = Instant::now().checked_add(bounds.time_max);
    let mut child = command.spawn()?;
    let group = Pid::from_child(&child);
    let (tell, events) = channel();
    // None of these threads is waited for: whoever has left the group may keep a stream open for as long as it likes.
    let stdout = child.stdout.take().map(|stream| read(stream, bounds, tell.clone()));
    let stderr = child.stderr.take().map(|stream| read(stream, bounds, tell.clone()));
    let attached = match (child.stdin.take(), input) {
        (Some(stdin), Some(input)) => Some(feed(stdin, input.to_vec(), attached)),
        _ => None,
    };
    thread::spawn(move || {
        // It stays a zombie until it is waited for below, so that the number of its group is nobody else's.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let _ = rustix::io::retry_on_intr(|| waitid(WaitId::Pid(group), options));
        let _ = tell.send(Event::Ended);
    });
    let kill = || {
        // An error means that the group is gone already, which is what was wanted.
        let _ = kill_process_group(group, Signal::KILL);
        Instant::now().checked_add(AFTER_KILL)
    };
    let mut progress = Progress { events, ended: false, open: 2 };
    let in_time = progress.reach(until, |now| now.ended);
    let more = if in_time {
        bounds.linger.map_or(until, |linger| Instant::now().checked_add(linger))
    } else {
        kill();
        progress.reach(None, |now| now.ended);
        Instant::now().checked_add(AFTER_KILL)
    };
    let complete = progress.reach(more, |now| now.open == 0);
    if !complete && in_time {
        progress.reach(kill(), |now| now.open == 0);
    }
    let code = child.wait()?.code();
    drop(attached);
    // The process may have ended by itself just when its time was up.
    let timed_out = if in_time { !complete && bounds.linger.is_none() } else { code.is_none() };
    let [stdout, stderr] = [stdout, stderr].map(|kept| kept.map(|kept| locked(&kept).take()).unwrap_or_default());
    Ok(Output { code, timed_out, stdout, stderr })
}

/// What becomes of a process, in any order.
enum Event {
    /// It has ended.
    Ended,
    /// One of its output streams has.
    Closed,
}

/// How far a process has come.
struct Progress {
    events: Receiver<Event>,
    ended: bool,
    open: usize,
}

impl Progress {
    /// Waits for something, but not beyond `until`. Says whether it has come.
    fn reach(&mut self, until: Option<Instant>, come: impl Fn(&Progress) -> bool) -> bool {
        while !come(self) {
            let event = match until {
                Some(until) => self.events.recv_timeout(until.saturating_duration_since(Instant::now())).ok(),
                None => self.events.recv().ok(),
            };
            match event {
                Some(Event::Ended) => self.ended = true,
                Some(Event::Closed) => self.open -= 1,
                None => return false,
            }
        }
        true
    }
}

/// Writes to a process, in a thread: no full pipe may stop whoever reads from it. With `attached` its standard input
/// stays open until the value is dropped.
fn feed(mut stdin: ChildStdin, input: Vec<u8>, attached: bool) -> Sender<()> {
    let (end, ended) = channel();
    thread::spawn(move || {
        // A child that does not want its input closes the pipe: its exit code tells the rest.
        let _ = stdin.write_all(&input);
        if attached {
            let _ = ended.recv();
        }
    });
    end
}

/// Reads a stream to its end, in a thread, and says so.
fn read(mut stream: impl Read + Send + 'static, bounds: Bounds, tell: Sender<Event>) -> Arc<Mutex<Kept>> {
    let kept = Arc::new(Mutex::new(Kept { bytes: Vec::new(), bounds }));
    let shared = Arc::clone(&kept);
    thread::spawn(move || {
        let mut chunk = [0_u8; 16 * 1024];
        loop {
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => locked(&shared).add(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A broken pipe ends the output; the exit code says whether the process itself failed.
                Err(_) => break,
            }
        }
        let _ = tell.send(Event::Closed);
    });
    kept
}

fn locked(kept: &Mutex<Kept>) -> std::sync::MutexGuard<'_, Kept> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is kept of a stream.
struct Kept {
    bytes: Vec<u8>,
    bounds: Bounds,
}

impl Kept {
    fn add(&mut self, chunk: &[u8]) {
        let max = self.bounds.keep_bytes_max;
        match self.bounds.keep {
            Keep::Beginning => {
                let room = max.saturating_sub(self.bytes.len()).min(chunk.len());
                self.bytes.extend_from_slice(&chunk[..room]);
            }
            Keep::End => {
                self.bytes.extend_from_slice(chunk);
                // Not with every chunk, for all that is kept is moved.
                if self.bytes.len() / 2 > max {
                    self.cut();
                }
            }
        }
    }

    fn cut(&mut self) {
        let more = self.bytes.len().saturating_sub(self.bounds.keep_bytes_max);
        self.bytes.drain(..more);
    }

    fn take(&mut self) -> Vec<u8> {
        self.cut();
        std::mem::take(&mut self.bytes)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "these tests are about starting processes")]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_hangs_is_killed_with_its_children() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & sleep 600"]);
        let bounds = Bounds { time_max: Duration::from_millis(50), ..Bounds::default() };
        let output = run(&mut command, None, bounds).expect("sh starts");
        assert!(output.timed_out && !output.success());
    }

    #[test]
    fn output_beyond_the_bound_is_dropped_and_the_process_still_ends() {
        let mut command = Command::new("sh");
        command.args(["-c", "head -c 1000000 /dev/zero; echo end >&2; exit 3"]);
        let output = run(&mut command, None, Bounds { keep_bytes_max: 10, ..Bounds::default() }).expect("sh starts");
        assert_eq!((output.code, output.stdout.len()), (Some(3), 10));
        assert_eq!(output.stderr_text(), "end\n");
    }

    #[test]
    fn of_a_stream_that_is_too_long_the_end_is_kept_where_that_is_asked_for() {
        let mut command = Command::new("sh");
        command.args(["-c", "head -c 1000000 /dev/zero; echo end; head -c 100 /dev/zero >&2; echo fin >&2"]);
        let bounds = Bounds { keep_bytes_max: 6, keep: Keep::End, ..Bounds::default() };
        let output = run(&mut command, None, bounds).expect("sh starts");
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"\0\0end\n"[..], &b"\0\0fin\n"[..]));
    }

    #[test]
    fn what_a_process_leaves_behind_is_not_waited_for_where_its_exit_code_says_all() {
        let directory = tempfile::tempdir().expect("a directory");
        let left = |name: &str, prefix: &str| {
            let mut command = Command::new("sh");
            command.current_dir(&directory).args(["-c", &format!("{prefix} sh -c 'sleep 1; : > {name}' & exit 3")]);
            let linger = Some(Duration::from_millis(100));
            let begun = Instant::now();
            let output = run(&mut command, None, Bounds { linger, ..Bounds::default() }).expect("sh starts");
            assert_eq!((output.code, output.timed_out), (Some(3), false));
            begun.elapsed()
        };
        left("in-its-group", "");
        // Out of reach, and all the same not waited for.
        assert!(left("elsewhere", "setsid") < Duration::from_millis(900));
        thread::sleep(Duration::from_millis(1_500));
        let found = std::fs::read_dir(&directory).expect("a directory").flatten().map(|entry| entry.file_name());
        assert!(!found.into_iter().any(|name| name == "in-its-group"), "it should have been killed");
        let mut command = Command::new("sh");
        let bounds = Bounds { time_max: Duration::from_millis(300), ..Bounds::default() };
        let output = run(command.args(["-c", "sleep 60 & exit 0"]), None, bounds).expect("sh starts");
        assert!(output.timed_out, "half of an output may not be taken for the whole");
    }

    #[test]
    fn a_process_that_is_attached_sees_the_end_of_its_input_only_after_its_own() {
        let mut command = Command::new("sh");
        let bounds = Bounds { time_max: Duration::from_millis(300), ..Bounds::default() };
        let output = run_attached(command.args(["-c", "head -c 2; exec cat"]), b"hello", bounds).expect("sh starts");
        assert!(output.timed_out);
        assert_eq!(output.stdout_text(), "hello");
    }

    #[test]
    fn input_larger_than_a_pipe_reaches_the_process() {
        let input = vec![b'x'; 300_000];
        let mut command = Command::new("wc");
        let output = run(command.arg("-c"), Some(&input), Bounds::default()).expect("wc starts");
        assert_eq!(output.stdout_text().trim(), "300000");
    }
}
