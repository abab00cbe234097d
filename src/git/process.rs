//! Runs one external process to its end, with bounds on time and on how much of its output is kept.
//!
//! Guarantees: the child gets no standard input unless given some, runs in a process group of its own, and the whole
//! group is killed when the time is up, so nothing it started outlives it. Must not know what it runs or why.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::failpoint;

/// What a finished process left behind.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit code; `None` when a signal ended the process.
    pub code: Option<i32>,
    /// Whether this module killed the process because its time was up.
    pub timed_out: bool,
    /// Standard output, at most `keep_bytes_max` bytes (the first ones).
    pub stdout: Vec<u8>,
    /// Standard error, at most `keep_bytes_max` bytes (the first ones).
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

/// The bounds of one run.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Kill the process group after this long.
    pub time_max: Duration,
    /// Keep at most this many bytes of each output stream; the rest is read and dropped.
    pub keep_bytes_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { time_max: Duration::from_secs(300), keep_bytes_max: 64 << 20 }
    }
}

/// Runs `command` to its end. `input` is written to its standard input.
///
/// # Errors
/// Only when the process cannot be started or waited for; a failing process is an [`Output`].
pub fn run(command: &mut Command, input: Option<&[u8]>, bounds: Bounds) -> io::Result<Output> {
    failpoint::program(command);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn()?;
    let (done, watch) = channel::<()>();
    let group = rustix::process::Pid::from_child(&child);
    let watchdog = thread::spawn(move || match watch.recv_timeout(bounds.time_max) {
        Err(RecvTimeoutError::Timeout) => {
            // An error means that the group is gone already, which is what was wanted.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            true
        }
        _ => false,
    });
    let outcome = drain(&mut child, input, bounds.keep_bytes_max);
    drop(done);
    let timed_out = watchdog.join().unwrap_or(false);
    let (code, stdout, stderr) = outcome?;
    Ok(Output { code, timed_out, stdout, stderr })
}

/// Feeds and reads all three streams at once, so that no full pipe can stop the child, then waits for it.
fn drain(child: &mut Child, input: Option<&[u8]>, keep: usize) -> io::Result<(Option<i32>, Vec<u8>, Vec<u8>)> {
    let stdin = child.stdin.take();
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    let (out, err) = thread::scope(|scope| {
        let err = scope.spawn(move || stderr.map(|stream| read_bounded(stream, keep)).unwrap_or_default());
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            scope.spawn(move || {
                // A child that does not want its input closes the pipe: its exit code tells the rest.
                let _ = stdin.write_all(input);
            });
        }
        let out = stdout.map(|stream| read_bounded(stream, keep)).unwrap_or_default();
        (out, err.join().unwrap_or_default())
    });
    let status = child.wait()?;
    Ok((status.code(), out, err))
}

fn read_bounded(mut stream: impl Read, keep: usize) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut chunk = [0_u8; 16 * 1024];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return kept,
            Ok(count) => {
                let room = keep.saturating_sub(kept.len()).min(count);
                kept.extend_from_slice(&chunk[..room]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A broken pipe ends the output; the exit code says whether the process itself failed.
            Err(_) => return kept,
        }
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
    fn input_larger_than_a_pipe_reaches_the_process() {
        let input = vec![b'x'; 300_000];
        let mut command = Command::new("wc");
        let output = run(command.arg("-c"), Some(&input), Bounds::default()).expect("wc starts");
        assert_eq!(output.stdout_text().trim(), "300000");
    }
}
