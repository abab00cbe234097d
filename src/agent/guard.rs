//! What stands between a pass and the check it runs: it ends the check when the pass is gone.
//!
//! A check runs in a process group of its own, where Ctrl-C does not reach it, and the pass keeps its time: were the
//! pass killed, the check would go on for as long as it likes, with nobody to hear it. So this very program is started
//! as the leader of that group, and starts the check in it. Its standard input is a pipe that only the pass can write
//! to. However the pass ends, the system closes that pipe, and the guard kills its group, itself with it. What a check
//! has put into a session of its own is out of reach.
//!
//! Guarantees: a check that ends by itself ends the guard with its exit code, or by a signal where one has ended it.
//! Must not know what a check is about, nor print.

#![expect(clippy::disallowed_methods, reason = "an adapter: it starts the check that the target branch configures")]

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use rustix::process::{Signal, getpgrp, getpid, kill_process, kill_process_group};

/// The first argument of a guard; no verb, for people have no use for it.
const WORD: &str = "guard-a-check";

/// The command that runs `argv` under a guard, which `program` is. The first bytes of its standard input, so many, are
/// the check's; then the pipe has to stay open.
pub(super) fn command(program: &Path, input_bytes: usize, argv: &[String]) -> Command {
    let mut command = Command::new(program);
    command.arg0("git-scrum").arg(WORD).arg(input_bytes.to_string()).args(argv);
    command
}

/// Is the guard of a check, where these are the arguments of one: gives its exit code, or why the check could not be
/// started. `None`: they are not.
pub fn run(args: impl IntoIterator<Item = OsString>) -> Option<Result<u8, String>> {
    let mut args = args.into_iter().skip(1);
    if args.next()? != WORD {
        return None;
    }
    let input_bytes = args.next().and_then(|text| text.to_str()?.parse().ok());
    let (Some(input_bytes), Some(program)) = (input_bytes, args.next()) else {
        return Some(Err("a check and the length of its input are missing".to_owned()));
    };
    if getpgrp() != getpid() {
        // It would kill whoever has started it.
        return Some(Err("a check is guarded in a process group of its own only".to_owned()));
    }
    let mut check = Command::new(&program);
    check.args(args);
    Some(guard(check, input_bytes).map_err(|error| format!("{}: {error}", program.to_string_lossy())))
}

fn guard(mut check: Command, input_bytes: u64) -> io::Result<u8> {
    let mut child = check.stdin(if input_bytes == 0 { Stdio::null() } else { Stdio::piped() }).spawn()?;
    let to_check = child.stdin.take();
    thread::spawn(move || {
        let mut from_pass = io::stdin().lock();
        let mut input = Vec::new();
        let _ = from_pass.by_ref().take(input_bytes).read_to_end(&mut input);
        if let Some(mut to_check) = to_check {
            // By itself, for a check that never reads its input must not keep the guard from its duty.
            thread::spawn(move || to_check.write_all(&input));
        }
        let _ = io::copy(&mut from_pass, &mut io::sink());
        let _ = kill_process_group(getpgrp(), Signal::KILL);
    });
    if let Some(code) = child.wait()?.code() {
        return Ok(u8::try_from(code).unwrap_or(u8::MAX));
    }
    // The pass is to see that it was a signal, whichever it was.
    kill_process(getpid(), Signal::KILL)?;
    unreachable!("BUG: alive after a SIGKILL");
}
