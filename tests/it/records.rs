//! Records on the wire: golden files of every kind, refusals of what is newer, and what becomes of garbage.
//!
//! Each directory of `fixtures/records/v1/` holds what plain git shows of one ledger: a file for every key, named by the
//! key. It is append-only. What is there is what some board in the world holds: it must be read back to the same value
//! for as long as version 1 is read, and written byte for byte the same for as long as it is written. A new kind of
//! record or a new variant gets a new ledger (`SCRUM_BLESS=1 cargo test --test it records` writes the files that are
//! missing, and never one that is there).
//!
//! A newer record is refused and says so, garbage is an integrity fault of every kind of record, and ids are checked
//! wherever they occur.

mod damage;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};

use git_scrum::domain::board::{Board, Changes, MemoryBoard};
use git_scrum::domain::command::EjectCause;
use git_scrum::domain::invariants::check_invariants;
use git_scrum::domain::memory::{Entry, MemoryKind};
use git_scrum::domain::{
    CarState, Command, Fence, LockMode, Outcome, Overdue, Priority, RunState, Seconds, Size, TaskState, Verdict,
};
use git_scrum::ledger::{Batch, Fault, Key, MemoryClone, MemoryRemote, Message, Snapshot, Store, Version};
use git_scrum::record::{
    LedgerBoard, Recorded, encode_changes, encode_operations, find_entry, for_each_entry, load_board, put_entries,
    recorded_operations,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use values::{
    approved_board, at, batched_board, checked_board, entry, failing_board, frozen_board, grouped_board, id,
    least_board, least_entry, looked, operations, promoted_board, recorded, single_board, stacked_board, stepped_board,
    timed_board, whole_board,
};

/// What a ledger holds: the text of every record, by key.
type Records = BTreeMap<String, Vec<u8>>;

/// A ledger that holds these records, whoever wrote them.
struct Held {
    ledger: MemoryClone,
    version: Version,
}

impl Held {
    fn new(records: &Records) -> Held {
        let ledger = MemoryClone::new(MemoryRemote::new(), "refs/scrum/board");
        let mut batch = Batch::default();
        records.iter().for_each(|(key, bytes)| batch.put(Key::new(key.clone()), bytes.clone()));
        let message = Message { lines: vec!["test".into()], operations: vec![], nonce: "0".repeat(32) };
        let version = ledger.write(None, &batch, &message, 0).expect("memory takes everything");
        Held { ledger, version }
    }

    fn snapshot(&self) -> Snapshot<'_, MemoryClone> {
        Snapshot::new(&self.ledger, self.version.clone())
    }
}

/// The records that a batch makes of an empty ledger; all that it removes is what was not there.
fn records(batch: &Batch) -> Records {
    batch.iter().filter_map(|(key, value)| Some((key.to_string(), value?.to_vec()))).collect()
}

fn records_of(changes: &Changes) -> Records {
    records(&encode_changes(&LedgerBoard::<MemoryClone>::new(None), changes).expect("an empty board is readable"))
}

fn records_of_operation(applied: &Recorded) -> Records {
    let mut batch = Batch::default();
    encode_operations::<MemoryClone>(None, std::slice::from_ref(applied), &mut batch).expect("it is small");
    records(&batch)
}

fn records_of_entry(entry: &Entry) -> Records {
    records(&put_entries::<MemoryClone>(None, [entry.clone()]).expect("it is small"))
}

// ---------------------------------------------------------------------------------------------------------------------
// Golden records

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/records/v1")
}

/// Every file below a directory, by its path from there without `.toml`.
fn files(directory: &Path, start: &str, found: &mut Records) {
    for entry in fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display())) {
        let path = entry.expect("golden records are readable").path();
        let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        if path.is_dir() {
            files(&path, &format!("{start}{name}/"), found);
        } else {
            let key = format!("{start}{}", name.strip_suffix(".toml").expect("a record is TOML"));
            found.insert(key, fs::read(&path).expect("golden records are readable"));
        }
    }
}

/// The golden records of a ledger, which what is `written` now must be byte for byte.
fn golden(ledger: &str, written: &Records) -> Held {
    let directory = directory().join(ledger);
    for (key, bytes) in written {
        let path = directory.join(format!("{key}.toml"));
        if std::env::var_os("SCRUM_BLESS").is_some() && !path.exists() {
            fs::create_dir_all(path.parent().expect("it is below the directory")).expect("the fixtures are writable");
            fs::write(&path, bytes).expect("the fixtures are writable");
        }
    }
    let mut golden = Records::new();
    files(&directory, "", &mut golden);
    assert!(written.keys().eq(golden.keys()), "{ledger} has other keys: {:#?}", written.keys());
    for (key, bytes) in written {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(text(bytes), text(&golden[key]), "{key} of {ledger} is written otherwise than it was");
        assert!(bytes.starts_with(b"version = 1\n"), "{key} of {ledger} begins with its version");
    }
    Held::new(&golden)
}

/// Every golden board.
fn boards() -> [(&'static str, Changes); 13] {
    [
        ("board-whole", whole_board()),
        ("board-least", least_board()),
        ("board-batched", batched_board()),
        ("board-frozen", frozen_board()),
        ("board-promoted", promoted_board()),
        ("board-approved", approved_board()),
        ("board-stepped", stepped_board()),
        ("board-checked", checked_board()),
        ("board-failing", failing_board()),
        ("board-grouped", grouped_board()),
        ("board-single", single_board()),
        ("board-stacked", stacked_board()),
        ("board-timed", timed_board()),
    ]
}

#[test]
fn boards_are_written_and_read_as_they_always_were() {
    for (ledger, changes) in boards() {
        let held = golden(ledger, &records_of(&changes));
        let (read, astray) = load_board(&held.snapshot()).expect("it is readable");
        assert_eq!(astray, [] as [&str; 0], "{ledger}");
        let mut expected = MemoryBoard::default();
        expected.apply(changes.clone());
        assert_eq!(read, expected, "{ledger} is read as what was written");
        // What is looked up by name is what all of them together are.
        let snapshot = held.snapshot();
        let board = LedgerBoard::new(Some(&snapshot));
        for (id, task) in changes.tasks {
            assert_eq!(board.task(&id), Ok(Some(task)));
        }
        for ((target, id), car) in changes.cars {
            assert_eq!(board.car(&target, &id), Ok(Some(car)));
        }
        for (tree, verdict) in changes.verdicts {
            assert_eq!(board.verdict(&tree), Ok(Some(verdict)));
        }
    }
}

#[test]
fn the_whole_board_is_one_that_the_rules_could_have_made() {
    let mut board = MemoryBoard::default();
    board.apply(whole_board());
    assert_eq!(check_invariants(&board), [] as [&str; 0]);
    let states: BTreeSet<TaskState> = whole_board().tasks.values().map(|task| task.summary.state).collect();
    let cars: BTreeSet<CarState> = whole_board().cars.values().map(|car| car.state).collect();
    assert_eq!((states.len(), cars.len()), (TaskState::ALL.len(), 4));
}

#[test]
fn a_board_is_kept_under_the_keys_it_always_was() {
    let keys: Vec<String> = records_of(&whole_board()).into_keys().collect();
    assert_eq!(
        keys,
        [
            "blocked-p2/0000000014.heads",
            "closed/6/60c242a39f802704.closed",
            "closed/9/9d65abae3b38db40.closed",
            "closed/b/b5889c94eebab129.closed",
            "closed/e/edb8f3ab329d9ae5.closed",
            "grants/0000000010.grants",
            "meta",
            "queued-p2/0000000013.heads",
            "tasks/0/026f1a7208ece8b2.tasks",
            "tasks/5/58d4ad81df3b484a.tasks",
            "tasks/8/84cd9a73875bae24.tasks",
            "tasks/e/e7a5a73093f9a8dd.tasks",
            "teams/alpha",
            "trains/release=2f1.0/cars/102",
            "trains/release=2f1.0/cars/waits",
            "trains/release=2f1.0/gone/6/6c725a1b9097670a.cars",
            "trains/release=2f1.0/gone/c/ca95b19c8602e815.cars",
            "trains/release=2f1.0/train",
            "verdicts/6/6389b6c72af0f693.verdicts",
            "verdicts/b/b3a6c34729681b47.verdicts",
        ]
    );
}

#[test]
fn memory_is_written_and_read_as_it_always_was() {
    for (ledger, entry) in [("memory-whole", entry()), ("memory-least", least_entry())] {
        let held = golden(ledger, &records_of_entry(&entry));
        assert_eq!(find_entry(&held.snapshot(), &entry.id), Ok(Some(entry.clone())));
        let mut all = Vec::new();
        assert_eq!(for_each_entry(&held.snapshot(), |entry| all.push(entry)), Ok(()));
        assert_eq!(all, [entry], "{ledger}");
    }
}

#[test]
fn operations_are_written_and_read_as_they_always_were() {
    for (name, command, outcome) in operations() {
        let applied = recorded(command, outcome);
        let held = golden(&format!("operation-{name}"), &records_of_operation(&applied));
        assert_eq!(recorded_operations(&held.snapshot()), Ok(vec![applied]), "{name}");
    }
}

/// Askers who had looked for what has run out: one who found nothing, and one who found two grants.
fn looks() -> [(&'static str, Vec<Overdue>); 2] {
    let found = vec![Overdue { fence: Fence(7), beat: None }, Overdue { fence: Fence(12), beat: Some(at(2)) }];
    [("looked", Vec::new()), ("looked-and-found", found)]
}

#[test]
fn what_an_asker_found_overdue_is_written_and_read_as_it_always_was() {
    for (name, overdue) in looks() {
        let (command, outcome) = (Command::Reopen { task: id("101") }, Outcome::Task { task: id("101") });
        let applied = looked(command, outcome, overdue);
        let held = golden(&format!("operation-{name}"), &records_of_operation(&applied));
        assert_eq!(recorded_operations(&held.snapshot()), Ok(vec![applied]), "{name}");
    }
    for bad in ["", "x", "-1", "7 ", "7 yesterday", "7  2026-01-01T00:00:00Z"] {
        assert!(Overdue::try_from(bad.to_owned()).is_err(), "{bad:?}");
    }
}

#[test]
fn a_golden_record_is_never_taken_away() {
    let ledgers = boards().into_iter().map(|(name, _)| name).chain(["memory-whole", "memory-least"]);
    let ledgers = ledgers.map(str::to_owned);
    let operations = operations().into_iter().map(|(name, ..)| format!("operation-{name}"));
    let looks = looks().into_iter().map(|(name, _)| format!("operation-{name}"));
    let known: BTreeSet<String> = ledgers.chain(operations).chain(looks).collect();
    let there = fs::read_dir(directory()).expect("there are golden records");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("readable").file_name();
    let there: BTreeSet<String> = there.map(|entry| name(entry).to_string_lossy().into_owned()).collect();
    assert_eq!(there, known);
}

#[test]
fn every_command_and_outcome_has_a_golden_record() {
    let all = operations();
    for (name, command, outcome) in &all {
        let word = command_word(command);
        // Which of several records of one command it is, follows.
        let which = name.strip_prefix(word).unwrap_or_else(|| panic!("{name} is a record of {word}"));
        assert!(
            [
                "",
                "-least",
                "-batched",
                "-more",
                "-stepped",
                "-checked",
                "-grouped",
                "-single",
                "-stacked",
                "-refused",
                "-kept",
                "-halved",
                "-lost",
                "-together",
            ]
            .contains(&which),
            "{name}"
        );
        let text = records_of_operation(&recorded(command.clone(), outcome.clone())).remove("operations-0000");
        let text = String::from_utf8(text.expect("it is the first")).expect("records are text");
        assert!(text.contains(&format!("\ndo = \"{word}\"\n")), "{text}");
        assert!(text.contains(&format!("\nis = \"{}\"\n", outcome_word(outcome))), "{text}");
    }
    let commands: BTreeSet<&str> = all.iter().map(|(_, command, _)| command_word(command)).collect();
    let outcomes: BTreeSet<&str> = all.iter().map(|(_, _, outcome)| outcome_word(outcome)).collect();
    assert_eq!((commands.len(), outcomes.len()), (COMMANDS, OUTCOMES), "{commands:?} {outcomes:?}");
}

/// The word of a command on the wire. A new variant does not compile here until it has one, and then needs a golden.
fn command_word(command: &Command) -> &'static str {
    match command {
        Command::Init { .. } => "init",
        Command::Add(_) => "add",
        Command::Edit { .. } => "edit",
        Command::Cancel { .. } => "cancel",
        Command::Reopen { .. } => "reopen",
        Command::Block { .. } => "block",
        Command::Unblock { .. } => "unblock",
        Command::Claim { .. } => "claim",
        Command::Renew { .. } => "renew",
        Command::Release { .. } => "release",
        Command::Fail { .. } => "fail",
        Command::Done { .. } => "done",
        Command::Lock { .. } => "lock",
        Command::Unlock { .. } => "unlock",
        Command::AddTeam(_) => "add-team",
        Command::RemoveTeam { .. } => "remove-team",
        Command::Submit { .. } => "submit",
        Command::Eject { .. } => "eject",
        Command::Pause { .. } => "pause",
        Command::Resume { .. } => "resume",
        Command::Approve { .. } => "approve",
        Command::Promote { .. } => "promote",
        Command::StartRun { .. } => "start-run",
        Command::ChangeRuns { .. } => "change-runs",
        Command::Verdict { .. } => "verdict",
        Command::AnnounceLanding { .. } => "announce-landing",
        Command::AbandonLanding { .. } => "abandon-landing",
        Command::Land { .. } => "land",
    }
}
const COMMANDS: usize = 28;

/// The same for outcomes.
fn outcome_word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Refused => "refused",
        Outcome::Board { .. } => "board",
        Outcome::Task { .. } => "task",
        Outcome::Claimed { .. } => "claimed",
        Outcome::Renewed { .. } => "renewed",
        Outcome::Returned { .. } => "returned",
        Outcome::Finished { .. } => "finished",
        Outcome::Locked { .. } => "locked",
        Outcome::Unlocked { .. } => "unlocked",
        Outcome::Team { .. } => "team",
        Outcome::Submitted { .. } => "submitted",
        Outcome::Ejected { .. } => "ejected",
        Outcome::Approved { .. } => "approved",
        Outcome::Promoted { .. } => "promoted",
        Outcome::Train { .. } => "train",
        Outcome::Runs { .. } => "runs",
        Outcome::Verdict { .. } => "verdict",
        Outcome::Landed { .. } => "landed",
    }
}
const OUTCOMES: usize = 18;

#[test]
fn words_on_the_wire_stay_what_they_are() {
    fn words<T: Serialize + DeserializeOwned + PartialEq + Debug>(values: &[T], expected: &[&str]) {
        for (value, word) in values.iter().zip(expected) {
            assert_eq!(serde_json::to_string(value).expect("a word"), format!("\"{word}\""));
            assert_eq!(serde_json::from_str::<T>(&format!("\"{word}\"")).expect("a word"), *value);
        }
        assert_eq!(values.len(), expected.len());
    }
    words(&TaskState::ALL, &["queued", "blocked", "claimed", "submitted", "landed", "done", "failed", "cancelled"]);
    words(&Priority::ALL, &["p0", "p1", "p2", "p3"]);
    words(&[Size::Small, Size::Medium, Size::Large], &["small", "medium", "large"]);
    words(&[LockMode::Exclusive, LockMode::Shared], &["exclusive", "shared"]);
    words(
        &[CarState::Queued, CarState::Testing, CarState::Landed, CarState::Ejected],
        &["queued", "testing", "landed", "ejected"],
    );
    words(&[RunState::Running], &["running"]);
    words(&[Verdict::Pass, Verdict::Fail, Verdict::Inconclusive], &["pass", "fail", "inconclusive"]);
    words(
        &MemoryKind::ALL,
        &["decision", "architecture", "pattern", "learning", "failure", "success", "convention", "dependency"],
    );
    use EjectCause::{Conflict, Dependency, Failed, Moved, NoVerdict, Refused, Stale, Withdrawn};
    words(
        &[Failed, Conflict, NoVerdict, Moved, Stale, Dependency, Refused, Withdrawn],
        &["failed", "conflict", "no-verdict", "moved", "stale", "dependency", "refused", "withdrawn"],
    );
    words(&[at(0)], &["2023-11-14T22:13:20Z"]);
    words(&[Seconds(0), Seconds(90), Seconds(90_061)], &["0s", "1m30s", "1d1h1m1s"]);
}

// ---------------------------------------------------------------------------------------------------------------------
// What is newer, and what is garbage

type Read = Result<(), Fault>;

fn is_integrity(read: &Read) -> bool {
    matches!(read, Err(Fault::Integrity { .. }))
}

/// The texts of all golden records.
fn all_texts() -> Vec<Vec<u8>> {
    let boards = boards().map(|(_, changes)| records_of(&changes));
    let entries = [records_of_entry(&entry()), records_of_entry(&least_entry())];
    let operations = operations().into_iter().map(|(_, command, outcome)| recorded(command, outcome));
    let operations = operations.map(|applied| records_of_operation(&applied));
    boards.into_iter().chain(entries).chain(operations).flat_map(Records::into_values).collect()
}

/// Reads bytes as every kind of record.
fn read_as_everything(bytes: &[u8]) -> Vec<Read> {
    let at = |key: &str| {
        let mut records = Records::from([(key.to_owned(), bytes.to_vec())]);
        if key.contains("/gone/") {
            // Cars that are gone are looked for where there is a train.
            let train = b"version = 1\ntarget = \"main\"\nnext-position = 1\n".to_vec();
            records.insert("trains/main/train".to_owned(), train);
        }
        Held::new(&records)
    };
    let spread = |root: &str, kind: &str| format!("{root}/0/{}.{kind}", "0".repeat(16));
    let mut reads = vec![
        recorded_operations(&at("operations-0000").snapshot()).map(drop),
        for_each_entry(&at(&spread("entries", "entries")).snapshot(), drop),
    ];
    let singles = ["meta", "teams/alpha", "trains/main/train", "trains/main/cars/x"].map(str::to_owned);
    let shelves = [("queued-p0", "heads"), ("blocked-p3", "heads"), ("grants", "grants")];
    let shelves = shelves.map(|(shelf, kind)| format!("{shelf}/{}.{kind}", "0".repeat(10)));
    let spreads = ["tasks", "closed", "verdicts"].map(|kind| spread(kind, kind));
    let spreads = spreads.into_iter().chain([spread("trains/main/gone", "cars")]);
    for key in singles.into_iter().chain(shelves).chain(spreads) {
        let held = at(&key);
        let snapshot = held.snapshot();
        // A car on its way is looked up by name; a detail without its head is a fault of its own.
        let car = LedgerBoard::new(Some(&snapshot)).car(&id("main"), &id("x")).map(drop);
        reads.push(if key.contains("/cars/") { car } else { load_board(&snapshot).map(drop) });
    }
    reads
}

#[test]
fn a_newer_record_is_refused_and_never_misread() {
    let mut newer: Vec<(String, &str)> = Vec::new();
    for bytes in all_texts() {
        let text = String::from_utf8(bytes).expect("records are text");
        newer.push((text.replacen("version = 1\n", "version = 2\n", 1), "version 2"));
    }
    // Newer by far, with things in it that nobody knows yet.
    newer.push(("version = 70\nshape = [{ of = \"things\" }]\nto.come = 2030-01-01\n".into(), "version 70"));
    for (text, version) in newer {
        for read in read_as_everything(text.as_bytes()) {
            match read {
                Err(Fault::Integrity { what }) if what.contains(version) && what.contains("upgrade") => {}
                other => panic!("read as if it were of this version, {other:?}: {text}"),
            }
        }
    }
}

/// What nobody should have written.
fn garbage() -> Vec<Vec<u8>> {
    let nested = |open: &str, times: usize| format!("version = 1\nbody = {}", open.repeat(times)).into_bytes();
    let dotted = "a.".repeat(32_000);
    let mut all: Vec<Vec<u8>> = [
        "",
        "version = 1\n= = =\n",
        "title = \"x\"\n",
        "version = 0\n",
        "version = \"1\"\n",
        "version = 1\nversion = 1\n",
        "version = 1\n",
        "version = 1",
        "version = 99999999999999999999\n",
        "version = 1\nrecord = []\n",
        "version = 1\nrecord = 7\n",
        "version = 1\n[[record]]\nid = 7\nseq = 99999999999999999999\n",
        "version = 1\n<<<<<<< ours\n=======\n>>>>>>> theirs\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec();
    all.extend([b"version = 1\n\xff\xfe\x00".to_vec(), vec![0; 4096], nested("[", 60_000), nested("{ a = ", 10_000)]);
    all.extend(
        [format!("version = 1\n{dotted}a = 1\n"), format!("version = 1\n[{dotted}a]\n")].map(String::into_bytes),
    );
    all.push(format!("version = 1\n{}", "[[record]]\n".repeat(6_000)).into_bytes());
    all
}

#[test]
fn garbage_is_an_integrity_fault_of_every_kind_of_record() {
    for bytes in garbage() {
        for (kind, read) in read_as_everything(&bytes).iter().enumerate() {
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]);
            assert!(is_integrity(read), "kind {kind}: {read:?} of {start}");
        }
    }
}

#[test]
fn ids_of_the_wrong_shape_are_integrity_faults_wherever_they_occur() {
    // Text that is free; what is escaped where it is printed and reaches no path and no ref.
    const FREE: &[&str] = &["title", "body", "reason", "paused", "check", "url", "output", "branch-template"];
    // People, machines and labels may have any printable name.
    const NAMES: &[&str] =
        &["holder", "by", "created-by", "submitted-by", "started-by", "author", "type", "labels", "name", "required"];
    // Files may have any name that a line can show.
    const PATHS: &[&str] = &["paths", "patterns"];
    let mut tried = 0;
    for bytes in all_texts() {
        let text = String::from_utf8(bytes).expect("records are text");
        for line in text.lines() {
            let Some((name, value)) = line.split_once(" = ") else { continue };
            if FREE.contains(&name) || name.contains("labels") || !(value.starts_with(['"', '[']) && value != "[]") {
                continue;
            }
            for bad in ["../../config", " a b ", "a\\u001b[31m", "a\\u202eb"] {
                if NAMES.contains(&name) && bad.starts_with("..")
                    || PATHS.contains(&name) && (bad.starts_with(' ') || bad.ends_with('b'))
                {
                    continue;
                }
                let bad = if value.starts_with('[') { format!("[\"{bad}\"]") } else { format!("\"{bad}\"") };
                let changed = text.replacen(line, &format!("{name} = {bad}"), 1);
                let reads = read_as_everything(changed.as_bytes());
                assert!(reads.iter().all(is_integrity), "{name} = {bad} in {changed}");
                tried += 1;
            }
        }
    }
    assert!(tried > 1_000, "{tried}");
}
