//! What goes wrong on the way: killed processes, and pushes that are carried out without an answer.
//!
//! Over HTTP the server of the sandbox does it. Elsewhere git is made to start a script in place of
//! `git-receive-pack`, for the pushes of the program alone: a script that takes one token from a directory and either
//! swallows what the server says of the push, or ends before there is one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use crate::random::Random;
use crate::support::{Fault, RemoteKind, Sandbox, TestRemote};

/// What the program calls the remote of a push. Were it to call it something else, no answer would be dropped any more,
/// and the test would say so.
const REMOTE: &str = "git-scrum-truth";

/// With two processes in place of one: the first says what the server has, the second carries the push out.
const RECEIVE_PACK: &str = r#"#!/bin/sh
for token in "TOKENS"/*; do
    taken="TAKEN/$$-${token##*/}"
    mv "$token" "$taken" 2>/dev/null || continue
    case "$taken" in
    *.after)
        git receive-pack --http-backend-info-refs "$@"
        git receive-pack --stateless-rpc "$@" >/dev/null 2>&1
        exit 1
        ;;
    *) exit 1 ;;
    esac
done
exec git receive-pack "$@"
"#;

/// The faults of one remote.
pub enum Faults {
    /// The server has them.
    Http,
    /// The script takes tokens from the first directory and puts them into the second.
    Script { tokens: PathBuf, taken: PathBuf, count: AtomicUsize },
}

impl Faults {
    pub fn new(sandbox: &Sandbox, kind: RemoteKind) -> Faults {
        if kind == RemoteKind::Http {
            return Faults::Http;
        }
        let (tokens, taken) = (sandbox.path("tokens"), sandbox.path("taken"));
        for directory in [&tokens, &taken] {
            fs::create_dir_all(directory).expect("the sandbox is writable");
        }
        let script = sandbox.path("receive-pack");
        let text = RECEIVE_PACK.replace("TOKENS", &tokens.to_string_lossy());
        fs::write(&script, text.replace("TAKEN", &taken.to_string_lossy())).expect("the sandbox is writable");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("the script is ours");
        let key = format!("remote.{REMOTE}.receivepack");
        sandbox.git(sandbox.root(), &["config", "--global", &key, &script.to_string_lossy()]);
        Faults::Script { tokens, taken, count: AtomicUsize::new(0) }
    }

    /// Something will go wrong with one of the next pushes, whoever's it is.
    pub fn arm(&self, remote: &TestRemote, random: &mut Random) {
        let after = random.chance(700);
        match self {
            Faults::Http => {
                let fault = match (after, random.below(3)) {
                    (true, 0) => Fault::BadGatewayAfter,
                    (true, _) => Fault::DropResponse,
                    (false, _) => Fault::BadGatewayBefore,
                };
                // Curl asks a second time by itself where the connection closes without a byte.
                let times = if fault == Fault::DropResponse { 1 + random.below(2) as usize } else { 1 };
                // Some cannot find out what became of it, either.
                let outage = if random.chance(300) { 1 + random.below(8) as usize } else { 0 };
                remote.http().expect("it is one").add_faults(&[(fault, times), (Fault::Outage, outage)]);
            }
            Faults::Script { tokens, count, .. } => {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let name = format!("{number}.{}", if after { "after" } else { "instead" });
                fs::write(tokens.join(name), "").expect("the sandbox is writable");
            }
        }
    }

    /// Nothing goes wrong from now on.
    pub fn disarm(&self, remote: &TestRemote) {
        match self {
            Faults::Http => remote.http().expect("it is one").set_fault(Fault::None),
            Faults::Script { tokens, .. } => {
                for token in fs::read_dir(tokens).expect("it is there").flatten() {
                    // Somebody may take it at the same time.
                    drop(fs::remove_file(token.path()));
                }
            }
        }
    }

    /// How many answers were dropped, and how many pushes or requests not carried out.
    pub fn counts(&self, remote: &TestRemote) -> (usize, usize) {
        match self {
            Faults::Http => {
                let requests = remote.http().expect("it is one").requests();
                (requests.answers_dropped, requests.refused)
            }
            Faults::Script { taken, .. } => {
                let names = fs::read_dir(taken).expect("it is there").flatten().map(|entry| entry.file_name());
                let (after, instead): (Vec<_>, Vec<_>) =
                    names.partition(|name| name.to_string_lossy().ends_with(".after"));
                (after.len(), instead.len())
            }
        }
    }
}

/// Kills a process of ours; with `all`, also everything that it has started, each of which is in a group of its own.
///
/// What runs on the server's side of a file remote is spared: a server is not killed with its client.
pub fn kill(child: &mut Child, all: bool) {
    let own = Pid::from_child(child);
    if all {
        // It starts nothing more while its children are counted. An error means that it has ended by itself.
        let _ = kill_process(own, Signal::STOP);
        for pid in descendants(child.id()) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    drop(child.kill());
}

fn descendants(root: u32) -> Vec<Pid> {
    let listed = Command::new("ps").args(["-A", "-o", "pid=,ppid=,args="]).output().expect("ps is installed").stdout;
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let processes: Vec<(i32, i32, &str)> = listed
        .lines()
        .filter_map(|line| {
            let (pid, rest) = line.trim_start().split_once(' ')?;
            let (parent, args) = rest.trim_start().split_once(' ')?;
            Some((pid.parse().ok()?, parent.parse().ok()?, args))
        })
        .collect();
    let mut found = Vec::new();
    let mut parents = vec![root as i32];
    while let Some(parent) = parents.pop() {
        for (pid, _, args) in processes.iter().filter(|(_, of, _)| *of == parent) {
            if args.contains("receive-pack") && !args.starts_with("ssh") {
                continue;
            }
            parents.push(*pid);
            found.extend(Pid::from_raw(*pid));
        }
    }
    found
}
