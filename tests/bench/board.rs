//! Boards as they look after months of work, written in one go.
//!
//! The records are made by the library itself, as every command makes them. What a command would need one push for
//! each is streamed into the server's repository by `git fast-import` instead, a part of the tasks to a commit: the
//! history is shorter than a real one, the last tree is the same.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Stdio;

use git_scrum::domain::claim::{Claim, Lease};
use git_scrum::domain::command::NewTask;
use git_scrum::domain::{
    Branch, Changes, Command, Counters, Draft, Fence, Grant, Holder, Label, ObjectId, Operation, OperationId, Outcome,
    Pattern, Priority, Seconds, Size, Summary, Task, TaskId, TaskState, Timestamp, rules,
};
use git_scrum::ledger::{self, Batch, ChainEntry, Fault, Key, Message, RefUpdate, Snapshot, Store, Version};
use git_scrum::record::{LedgerBoard, Recorded, encode_changes, encode_operations};

use crate::support::Sandbox;

/// The ref that boards are on.
pub const BOARD: &str = "refs/scrum/board";

/// How many commits a board is written in: one that adds many tasks touches most of its records.
const COMMITS: u64 = 8;
/// How many tasks one version of a board adds that the rules have made: at most a thousand.
const ADDED: u64 = 500;
/// Fences from one live claim to the next: what lies between was given back or has landed.
const FENCE_STEP: u64 = 3;

/// How large a board is.
#[derive(Clone, Copy)]
pub struct Shape {
    /// What the tables call it.
    pub name: &'static str,
    /// Tasks that are not closed.
    pub open: u64,
    /// Tasks that are.
    pub closed: u64,
    /// Whether open tasks are of every age, one in each few closed ones; or, as is usual, the youngest.
    pub scattered: bool,
}

impl Shape {
    fn tasks(self) -> u64 {
        self.open + self.closed
    }

    /// Whether the task of this age is closed.
    fn is_closed(self, seq: u64) -> bool {
        if self.scattered {
            // The open ones lie evenly among all.
            seq * self.open / self.tasks() == (seq - 1) * self.open / self.tasks()
        } else {
            seq <= self.closed
        }
    }

    /// How many tasks are in somebody's hands: bounded by the number of workers, not of tasks.
    fn claims(self) -> u64 {
        (self.open / 10).min(100)
    }
}

/// Writes the board of this shape to the bare repository, as one pack.
pub fn write(sandbox: &Sandbox, bare: &Path, shape: Shape) {
    let mut maker = Maker::new(shape);
    import(sandbox, bare, |stream| {
        let mut seq = 1;
        while seq <= shape.tasks() {
            let end = (seq + shape.tasks().div_ceil(COMMITS)).min(shape.tasks() + 1);
            let last = end > shape.tasks();
            let (batch, message) = maker.commit(seq..end, last);
            write_commit(stream, &batch, &message, seq)?;
            seq = end;
        }
        Ok(())
    });
}

/// Writes a board of so many small tasks, all of them ready, to the bare repository, as one pack. The rules have made
/// it: `git scrum log --verify` finds nothing astray.
pub fn write_ready(sandbox: &Sandbox, bare: &Path, tasks: u64) {
    let ledger = Latest::default();
    import(sandbox, bare, |stream| {
        let (batch, message) = version_of(None, 0, vec![Command::Init { target: parse::<Branch>("main") }]);
        ledger.apply(&batch);
        write_commit(stream, &batch, &message, 0)?;
        let mut first = 1;
        while first <= tasks {
            let end = (first + ADDED).min(tasks + 1);
            let (batch, message) = version_of(Some(&ledger), first, (first..end).map(small_task).collect());
            ledger.apply(&batch);
            write_commit(stream, &batch, &message, first)?;
            first = end;
        }
        Ok(())
    });
}

/// The batch and the message of the version that applies these commands, the first of which has this number.
fn version_of(ledger: Option<&Latest>, first: u64, commands: Vec<Command>) -> (Batch, String) {
    let before = ledger.map(|ledger| Snapshot::new(ledger, Version(String::new())));
    let board = LedgerBoard::new(before.as_ref());
    let mut draft = Draft::new(&board);
    let mut message = Message { lines: Vec::new(), operations: Vec::new(), nonce: format!("{first:032x}") };
    let mut applied = Vec::new();
    for (number, command) in (first..).zip(commands) {
        let operation = Operation {
            id: OperationId::parse(&format!("{number:032x}")).expect("32 digits"),
            by: parse::<Holder>("ada@host-a1b2c3"),
            at: Timestamp::from_secs(1_780_000_000 + number),
            skew: Seconds(5),
            overdue: None,
            command,
        };
        let Ok((changes, outcome)) = rules::decide(&draft, &operation) else { panic!("the rules allow {operation:?}") };
        draft.absorb(changes);
        message.lines.push(operation.line(&outcome));
        message.operations.push(operation.id.as_str().to_owned());
        applied.push(Recorded { operation, outcome });
    }
    let mut batch = encode_changes(&board, &draft.into_changes()).expect("memory can be read");
    encode_operations(before.as_ref(), &applied, &mut batch).expect("memory can be read");
    (batch, message.to_text())
}

/// A task with a path that no other has, so that nobody has to pass it over.
fn small_task(number: u64) -> Command {
    let part = PARTS[(mix(number) % PARTS.len() as u64) as usize];
    Command::Add(NewTask {
        id: None,
        title: format!("Test the {part}, part {number}"),
        priority: Priority::P2,
        kind: Some(parse::<Label>("chore")),
        size: Some(Size::Small),
        labels: vec![parse::<Label>(&format!("area/{part}"))],
        needs: Vec::new(),
        paths: vec![Pattern::parse(&format!("src/{part}/m{number}/**")).expect("a pattern")],
        body: String::new(),
    })
}

/// Streams what is written into the bare repository, and leaves it as the server's own housekeeping does.
fn import(sandbox: &Sandbox, bare: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) {
    let mut import = sandbox
        .command("git")
        .args(["fast-import", "--quiet", "--done"])
        .current_dir(bare)
        .stdin(Stdio::piped())
        .spawn()
        .expect("git is installed");
    let mut stream = std::io::BufWriter::new(import.stdin.take().expect("standard input is piped"));
    write(&mut stream).expect("git fast-import reads");
    writeln!(stream, "done").and_then(|()| stream.flush()).expect("git fast-import reads");
    drop(stream);
    assert!(import.wait().expect("it was started").success(), "git fast-import failed");
    sandbox.git(bare, &["repack", "-a", "-d", "-f", "-q"]);
    sandbox.git(bare, &["pack-refs", "--all"]);
}

/// A ledger of which only the last version is kept, in memory.
#[derive(Default)]
struct Latest(RefCell<BTreeMap<String, Vec<u8>>>);

impl Latest {
    fn apply(&self, batch: &Batch) {
        let mut values = self.0.borrow_mut();
        for (key, value) in batch.iter() {
            match value {
                Some(value) => values.insert(key.to_string(), value.to_vec()),
                None => values.remove(key.as_str()),
            };
        }
    }
}

impl Store for Latest {
    fn in_turn<R>(&self, work: impl FnOnce() -> R) -> Result<R, Fault> {
        Ok(work())
    }
    fn get(&self, _: &Version, key: &Key) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.0.borrow().get(key.as_str()).cloned())
    }
    fn names(&self, _: &Version, directory: &str) -> Result<Vec<String>, Fault> {
        Ok(ledger::names_in(&self.0.borrow(), directory))
    }
    fn scan(
        &self,
        _: &Version,
        prefix: &str,
        visit: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let start = format!("{prefix}/");
        for (key, value) in self.0.borrow().range(start.clone()..).take_while(|(key, _)| key.starts_with(&start)) {
            if visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }
    fn cached(&self) -> Result<Option<Version>, Fault> {
        unreachable!("boards are only encoded here")
    }
    fn refresh(&self) -> Result<Option<Version>, Fault> {
        unreachable!("boards are only encoded here")
    }
    fn write(&self, _: Option<&Version>, _: &Batch, _: &Message, _: u64) -> Result<Version, Fault> {
        unreachable!("boards are only encoded here")
    }
    fn publish(&self, _: Option<&Version>, _: &Version, _: &[RefUpdate]) -> Result<ledger::Outcome, Fault> {
        unreachable!("boards are only encoded here")
    }
    fn history(&self, _: &Version, _: Option<&Version>, _: usize) -> Result<Vec<ChainEntry>, Fault> {
        unreachable!("boards are only encoded here")
    }
    fn write_checkpoint(&self, _: &Version, _: &Batch, _: &str, _: u64) -> Result<Version, Fault> {
        unreachable!("boards are only encoded here")
    }
    fn replace(&self, _: &Version, _: &Version) -> Result<ledger::Outcome, Fault> {
        unreachable!("boards are only encoded here")
    }
    fn bring(&self, _: &Version) -> Result<bool, Fault> {
        unreachable!("boards are only encoded here")
    }
    fn contended(&self) -> bool {
        false
    }
    fn set_contended(&self, _: bool) {}
}

/// Copies a bare repository: the same board on another server.
pub fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the repository is there").map(|entry| entry.expect("and readable")) {
        let target = to.join(entry.file_name());
        if entry.file_type().expect("files have a type").is_dir() {
            fs::create_dir_all(&target).expect("the sandbox is writable");
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("the sandbox is writable");
        }
    }
}

fn write_commit(stream: &mut dyn Write, batch: &Batch, message: &str, seq: u64) -> std::io::Result<()> {
    let at = 1_780_000_000 + seq;
    writeln!(stream, "commit {BOARD}\ncommitter Ada Example <ada@example.test> {at} +0000")?;
    writeln!(stream, "data {}\n{message}", message.len())?;
    for (key, value) in batch.iter() {
        match value {
            Some(value) => {
                writeln!(stream, "M 100644 inline {key}\ndata {}", value.len())?;
                stream.write_all(value)?;
                writeln!(stream)?;
            }
            None => writeln!(stream, "D {key}")?,
        }
    }
    writeln!(stream)
}

/// Makes tasks that differ as real ones do.
struct Maker {
    shape: Shape,
    ledger: Latest,
    claims: u64,
    fence: u64,
    now: u64,
}

impl Maker {
    fn new(shape: Shape) -> Maker {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
        Maker { shape, ledger: Latest::default(), claims: 0, fence: shape.closed, now: now.as_secs() }
    }

    /// The batch and the message of the commit that adds the tasks of these ages.
    fn commit(&mut self, seqs: std::ops::Range<u64>, last: bool) -> (Batch, String) {
        let mut changes = Changes::default();
        let first = seqs.start;
        for seq in seqs.clone() {
            let mut task = self.task(seq);
            let open = !task.summary.state.is_closed();
            // Every tenth open task waits for another open one of the same commit.
            if open && seq % 10 == 7 {
                let needed = (first..seq).rev().map(id).find(|id| {
                    changes.tasks.get(id).is_some_and(|needed: &Task| needed.summary.state == TaskState::Queued)
                });
                if let Some(needed) = needed.and_then(|id| changes.tasks.get_mut(&id)) {
                    needed.needed_by.push(task.summary.id.clone());
                    task.summary.needs.push(needed.summary.id.clone());
                    task.summary.state = TaskState::Blocked;
                }
            }
            changes.tasks.insert(task.summary.id.clone(), task);
        }
        if last {
            self.claim_some(&mut changes);
        }
        let fence = Fence(self.fence);
        let target = parse::<Branch>("main");
        changes.counters = Some(Counters { target: target.clone(), fence, seq: seqs.end - 1, numbered: seqs.end - 1 });
        let before = Snapshot::new(&self.ledger, Version(String::new()));
        let mut batch = encode_changes(&LedgerBoard::new(Some(&before)), &changes).expect("memory can be read");
        let operation = Operation {
            id: OperationId::parse(&format!("{first:032x}")).expect("32 digits"),
            by: parse::<Holder>("ada@host-a1b2c3"),
            at: Timestamp::from_secs(self.now),
            skew: Seconds(5),
            overdue: None,
            command: Command::Init { target },
        };
        let message = Message {
            lines: vec![format!("add {} to {}", first, seqs.end - 1)],
            operations: vec![operation.id.as_str().to_owned()],
            nonce: format!("{first:032x}"),
        };
        let recorded = Recorded { operation, outcome: Outcome::Board { created: false } };
        encode_operations(Some(&before), &[recorded], &mut batch).expect("memory can be read");
        self.ledger.apply(&batch);
        (batch, message.to_text())
    }

    fn task(&self, seq: u64) -> Task {
        let closed = self.shape.is_closed(seq);
        let mixed = mix(seq);
        let part = PARTS[(mixed % PARTS.len() as u64) as usize];
        let priority = match mixed % 50 {
            0 => Priority::P0,
            1..=11 => Priority::P1,
            12..=40 => Priority::P2,
            _ => Priority::P3,
        };
        let state = match (closed, mixed % 8) {
            (false, _) => TaskState::Queued,
            (true, 0) => TaskState::Done,
            (true, _) => TaskState::Landed,
        };
        let summary = Summary {
            id: id(seq),
            seq,
            title: format!(
                "{} {part} when the {}",
                VERBS[(mixed / 7 % 6) as usize],
                TROUBLES[(mixed / 11 % 6) as usize]
            ),
            state,
            priority,
            kind: Some(parse::<Label>(["bug", "feature", "chore"][(mixed / 3 % 3) as usize])),
            size: [Some(Size::Small), Some(Size::Medium), Some(Size::Large), None][(mixed / 5 % 4) as usize],
            labels: vec![parse::<Label>(&format!("area/{part}"))],
            needs: Vec::new(),
            // Half of the tasks say what they will touch; two in a few hundred meet.
            paths: if mixed.is_multiple_of(2) {
                vec![Pattern::parse(&format!("src/{part}/m{}/**", mixed % 997)).expect("a pattern")]
            } else {
                Vec::new()
            },
            claim: None,
        };
        Task {
            summary,
            needed_by: Vec::new(),
            created_at: Timestamp::from_secs(1_780_000_000 + seq),
            created_by: parse::<Holder>("ada@host-a1b2c3"),
            grants: u32::from(closed),
            failures: 0,
            held_back: false,
            reason: None,
            closed_at: closed.then(|| Timestamp::from_secs(1_780_900_000 + seq)),
            landed_as: (state == TaskState::Landed).then(|| {
                ObjectId::parse(&format!("{:040x}", u128::from(mixed) << 64 | u128::from(seq))).expect("40 digits")
            }),
            body: format!(
                "Seen in build {mixed:x} of {part}.\n\nSteps:\n\n1. Start {part} with the default settings.\n2. Wait \
                 until the {}.\n3. Look at the log: request {:x} is answered twice.\n\nIt should be answered once. \
                 Reported by {} customers so far.\n",
                TROUBLES[(mixed / 13 % 6) as usize],
                mix(mixed),
                mixed % 90,
            ),
        }
    }

    /// Puts queued tasks of the last commit into somebody's hands.
    fn claim_some(&mut self, changes: &mut Changes) {
        let mut free: Vec<&mut Task> =
            changes.tasks.values_mut().filter(|task| task.summary.state == TaskState::Queued).collect();
        free.sort_by_key(|task| std::cmp::Reverse(task.summary.seq));
        for task in free.into_iter().take(self.shape.claims() as usize) {
            self.fence += FENCE_STEP;
            self.claims += 1;
            let fence = Fence(self.fence);
            task.grants += 1;
            task.summary.state = TaskState::Claimed;
            task.summary.claim = Some(fence);
            let claim = Claim {
                fence,
                task: task.summary.id.clone(),
                holder: parse::<Holder>(&format!("agent-{}@host-d4e5f6", self.claims)),
                team: None,
                branch: parse::<Branch>(&format!("ai-feature/issue-{}", task.summary.id)),
                paths: task.summary.paths.clone(),
                lease: Lease { renewed_at: Timestamp::from_secs(self.now), length: Seconds(86_400) },
                submitted: false,
            };
            changes.grants.insert(fence, Some(Grant::Claim(claim)));
        }
    }
}

const PARTS: [&str; 12] = [
    "parser",
    "scheduler",
    "storage",
    "session",
    "billing",
    "search",
    "export",
    "gateway",
    "editor",
    "worker",
    "metrics",
    "login",
];
const VERBS: [&str; 6] = ["Fix the", "Retry the", "Speed up the", "Simplify the", "Test the", "Document the"];
const TROUBLES: [&str; 6] = [
    "connection is lost half-way",
    "queue is longer than a page",
    "clock of the host jumps",
    "input has no final newline",
    "cache was emptied meanwhile",
    "answer arrives after the time-out",
];

fn id(seq: u64) -> TaskId {
    parse::<TaskId>(&seq.to_string())
}

/// Spreads numbers (Steele, Lea and Flood's SplitMix64), so that neighbours have nothing in common.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("text of this file is well-formed")
}
