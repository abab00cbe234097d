//! What the board's chain says happened, read with plain git: every operation of every version, in order.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use toml::{Table, Value};

use crate::history::{Answer, Ask, Refusal};
use crate::support::Sandbox;

/// The board's ref on a remote.
pub const BOARD: &str = "refs/scrum/board";

/// One operation of a version.
#[derive(Clone, Debug)]
pub struct Entry {
    pub version: String,
    pub id: String,
    pub by: String,
    /// When it was asked for, by its host's clock, in seconds since 1970.
    pub at: i64,
    pub ask: Ask,
    /// What came of it. A refusal is recorded without its reason.
    pub answer: Answer,
    /// The tasks that were taken back for it.
    pub expired: Vec<String>,
    /// The fences that its asker had found to have run out: what it may take back.
    pub overdue: Vec<u64>,
}

impl Entry {
    /// Whether it was recorded only to say no.
    pub fn is_refused(&self) -> bool {
        matches!(self.answer, Answer::Refused(_))
    }
}

/// Reads the chain in `bare`, the oldest version first, but for the operation that created the board. What was folded is
/// read from its archives.
///
/// # Errors
/// Where a version does not say the same in its message and in its record, and where one does not follow another.
pub fn read(sandbox: &Sandbox, bare: &Path) -> Result<Vec<Entry>, String> {
    let recorded = recorded(sandbox, bare)?;
    let entries = recorded.iter().map(|(version, record)| entry(version, record));
    entries.filter_map(Result::transpose).collect()
}

/// The same as it was recorded, each operation with its version.
///
/// # Errors
/// As for [`read`].
pub fn recorded(sandbox: &Sandbox, bare: &Path) -> Result<Vec<(String, Value)>, String> {
    let log = |tip: &str| sandbox.git(bare, &["log", "--reverse", "--format=%H%x00%P%x00%B%x01", tip]);
    let replaced = |log: &str| Some(log.split('\x01').next()?.split_once("\nScrum-Checkpoint: ")?.1.trim().to_owned());
    let mut logs = vec![log(BOARD)];
    while let Some(tip) = logs.last().and_then(|log| replaced(log)) {
        logs.push(log(&format!("refs/scrum/archive/board-{tip}")));
    }
    let listed: String = logs.into_iter().rev().collect();
    let mut versions: Vec<(&str, Vec<&str>)> = Vec::new();
    let mut checkpoints = BTreeSet::new();
    for commit in listed.split('\x01').map(str::trim).filter(|commit| !commit.is_empty()) {
        let mut fields = commit.splitn(3, '\0');
        let (id, parents) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let mut trailers = fields.next().unwrap_or_default().lines();
        let replaced = trailers.clone().find_map(|line| line.strip_prefix("Scrum-Checkpoint: "));
        if replaced.unwrap_or(parents) != versions.last().map_or("", |(id, _)| id) {
            return Err(format!("the chain forks at {id}"));
        }
        let named = trailers.by_ref().filter_map(|line| line.strip_prefix("Scrum-Operation: ")).collect();
        versions.push((id, named));
        if replaced.is_some() {
            checkpoints.insert(id);
        }
    }
    // These hold what was recorded in the version that they replaced.
    let read_already = |(id, _): &(&str, Vec<&str>)| checkpoints.contains(id);
    let versions: Vec<_> = versions.into_iter().filter(|version| !read_already(version)).collect();
    let records = records(sandbox, bare, &versions.iter().map(|(id, _)| *id).collect::<Vec<&str>>());
    let mut recorded = Vec::new();
    for (version, named) in versions {
        let found = records.get(version).cloned().unwrap_or_default();
        let ids: Vec<&str> = found.iter().filter_map(|record| record.get("operation")?.get("id")?.as_str()).collect();
        if ids != named {
            return Err(format!("{version} names {named:?} and records {ids:?}"));
        }
        recorded.extend(found.into_iter().map(|record| (version.to_owned(), record)));
    }
    Ok(recorded)
}

/// The operations that each version records: a chunk at a time until none has more.
fn records(sandbox: &Sandbox, bare: &Path, versions: &[&str]) -> BTreeMap<String, Vec<Value>> {
    let mut records: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut left = versions.to_vec();
    for nth in 0.. {
        let names: Vec<String> = left.iter().map(|version| format!("{version}:operations-{nth:04}")).collect();
        let texts = blobs(sandbox, bare, &names);
        let found = left.iter().zip(texts).filter_map(|(version, text)| Some((*version, text?)));
        let mut with_more = Vec::new();
        for (version, text) in found {
            let table: Table = text.parse().unwrap_or_else(|error| panic!("{version}: {error}"));
            let list = table.get("record").and_then(Value::as_array).cloned().unwrap_or_default();
            records.entry(version.to_owned()).or_default().extend(list);
            with_more.push(version);
        }
        left = with_more;
        if left.is_empty() {
            break;
        }
    }
    records
}

/// The texts of blobs, by one process.
fn blobs(sandbox: &Sandbox, bare: &Path, names: &[String]) -> Vec<Option<String>> {
    let mut command = sandbox.command("git");
    command.args(["cat-file", "--batch"]).current_dir(bare).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("git is installed");
    let mut stdin = child.stdin.take().expect("it is piped");
    let wanted = names.iter().map(|name| format!("{name}\n")).collect::<String>();
    let writer = std::thread::spawn(move || stdin.write_all(wanted.as_bytes()));
    let output = child.wait_with_output().expect("it ends").stdout;
    writer.join().expect("no panic").expect("git reads them all");
    let mut rest = output.as_slice();
    let mut line = || -> String {
        let end = rest.iter().position(|byte| *byte == b'\n').expect("a line");
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 1..];
        if head.ends_with(" missing") {
            return String::new();
        }
        let size: usize = head.rsplit(' ').next().and_then(|size| size.parse().ok()).expect("a size");
        let text = String::from_utf8_lossy(&rest[..size]).into_owned();
        rest = &rest[size + 1..];
        text
    };
    names.iter().map(|_| Some(line()).filter(|text| !text.is_empty())).collect()
}

/// One record; `None` for the creation of the board.
fn entry(version: &str, record: &Value) -> Result<Option<Entry>, String> {
    let odd = || format!("{version} records what nobody here asks for: {record}");
    let word = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let operation = record.get("operation").ok_or_else(odd)?;
    let (command, outcome) = (operation.get("command").ok_or_else(odd)?, record.get("outcome").ok_or_else(odd)?);
    let text = |key: &str| word(command.get(key)).ok_or_else(odd);
    let number = |value: Option<&Value>| value.and_then(Value::as_integer).and_then(|n| u64::try_from(n).ok());
    let fence = number(command.get("fence"));
    let lease = || duration(&text("lease")?).ok_or_else(odd);
    let pattern = || word(command.get("patterns").and_then(|list| list.get(0))).ok_or_else(odd);
    let ask = match text("do")?.as_str() {
        "init" => return Ok(None),
        "add" => Ask::Add { task: text("id")?, title: text("title")? },
        "edit" => {
            let title = command.get("title").or_else(|| command.get("edit")?.get("title"));
            Ask::Edit { task: text("task")?, title: word(title).ok_or_else(odd)? }
        }
        "block" => Ask::Block { task: text("task")?, reason: text("reason")? },
        "unblock" => Ask::Unblock { task: text("task")? },
        "reopen" => Ask::Reopen { task: text("task")? },
        "claim" => Ask::Claim { task: word(command.get("task")), lease: lease()? },
        "renew" => Ask::Renew { task: text("task")?, fence, lease: lease()? },
        "release" => Ask::Release { task: text("task")?, fence, reason: text("reason")? },
        "fail" => Ask::Fail { task: text("task")?, fence, reason: text("reason")? },
        "done" => Ask::Done { task: text("task")?, fence },
        "lock" => Ask::Lock { pattern: pattern()?, shared: text("mode")? == "shared", lease: lease()? },
        "unlock" => Ask::Unlock { pattern: pattern()? },
        _ => return Err(odd()),
    };
    let at = |value: Option<&Value>| word(value)?.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second);
    let asked_at = at(operation.get("at")).ok_or_else(odd)?;
    let answer = match (word(outcome.get("is")).as_deref(), &ask) {
        (Some("refused"), _) => Answer::Refused(Refusal::default()),
        (Some("claimed"), Ask::Claim { lease, .. }) => Answer::Claimed {
            task: word(outcome.get("tasks").and_then(|list| list.get(0))).ok_or_else(odd)?,
            fence: number(outcome.get("fences").and_then(|list| list.get(0))).ok_or_else(odd)?,
            until: asked_at + lease,
        },
        (Some("renewed"), _) => Answer::Renewed {
            fence: number(outcome.get("fence")).ok_or_else(odd)?,
            until: at(outcome.get("until")).ok_or_else(odd)?,
        },
        (Some("locked"), _) => Answer::Locked {
            fence: number(outcome.get("fence")).ok_or_else(odd)?,
            until: at(outcome.get("until")).ok_or_else(odd)?,
        },
        (Some("task" | "returned" | "finished" | "unlocked"), _) => Answer::Done,
        _ => return Err(odd()),
    };
    let expired = outcome.get("expired").and_then(Value::as_array).into_iter().flatten();
    let overdue = operation.get("overdue").and_then(Value::as_array).into_iter().flatten();
    let fence_of = |listed: &Value| listed.as_str()?.split(' ').next()?.parse().ok();
    Ok(Some(Entry {
        overdue: overdue.filter_map(fence_of).collect(),
        version: version.to_owned(),
        id: word(operation.get("id")).ok_or_else(odd)?,
        by: word(operation.get("by")).ok_or_else(odd)?,
        at: asked_at,
        ask,
        answer,
        expired: expired.filter_map(|task| word(Some(task))).collect(),
    }))
}

/// A length of time of the program's, `90s`, `1m30s` or `1h`, in seconds.
fn duration(text: &str) -> Option<i64> {
    let (mut total, mut number) = (0, 0);
    for c in text.chars() {
        match (c.to_digit(10), c) {
            (Some(digit), _) => number = number * 10 + i64::from(digit),
            (None, 's' | 'm' | 'h') => {
                total += number
                    * i64::from(match c {
                        's' => 1,
                        'm' => 60,
                        _ => 3600,
                    });
                number = 0;
            }
            _ => return None,
        }
    }
    Some(total)
}
