//! The values of the golden records: for every kind one with everything in it, and the least that may be.
//!
//! Guarantees: the boards here agree with themselves and hold a task, a car and a verdict in every state there is.

use std::fmt::Debug;

use git_scrum::domain::board::{Changes, Counters};
use git_scrum::domain::claim::{Lease, Overdue};
use git_scrum::domain::command::{EjectCause, NewTask, SubmittedTask, TaskEdit};
use git_scrum::domain::memory::{Entry, MemoryKind};
use git_scrum::domain::train::{Approval, Batch, CarTask, CheckVerdict, Freeze, Landing, Tally};
use git_scrum::domain::{
    Branch, Car, CarId, CarState, Claim, Command, Fence, Grant, LockMode, ObjectId, Operation, Outcome, PathLock,
    Priority, Run, RunState, Seconds, Size, Summary, Task, TaskId, TaskState, Team, Timestamp, Train, Verdict,
    VerdictRecord,
};
use git_scrum::record::Recorded;

pub fn id<T: std::str::FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().expect("tests write good ids")
}

fn ids<T: std::str::FromStr<Err: Debug>>(texts: &[&str]) -> Vec<T> {
    texts.iter().map(|text| id(text)).collect()
}

/// A time so long ago that by the clock of the program every lease has run out.
pub fn at(minutes: u64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + 60 * minutes)
}

/// An object id of one digit, over and over.
fn object(digit: char) -> ObjectId {
    id(&digit.to_string().repeat(40))
}

/// Text with everything that a format may get wrong.
const AWKWARD: &str = "Say \"hello\", it's \\ 'fine' – größer";
const AWKWARD_LINES: &str =
    "# A heading\n\n\ttabbed \"quotes\" '''three''' \"\"\"three\"\"\" \\n\r\nversion = 2\n日本\u{7f}\n";

fn summary(name: &str, seq: u64, state: TaskState) -> Summary {
    Summary {
        id: id(name),
        seq,
        title: AWKWARD.into(),
        state,
        priority: Priority::P2,
        kind: Some(id("bug")),
        size: Some(Size::Large),
        labels: ids(&["size/large", "ui"]),
        needs: vec![],
        paths: ids(&["src/**", "docs/*.md"]),
        claim: None,
    }
}

fn task(summary: Summary) -> Task {
    Task {
        summary,
        needed_by: vec![],
        created_at: at(0),
        created_by: id("ada@vm-1"),
        grants: 2,
        failures: 1,
        held_back: false,
        reason: Some("its check failed".into()),
        closed_at: None,
        landed_as: None,
        body: AWKWARD_LINES.into(),
    }
}

fn closed(name: &str, seq: u64, state: TaskState) -> Task {
    Task { closed_at: Some(at(90)), ..task(summary(name, seq, state)) }
}

fn least_task(name: &str, seq: u64, state: TaskState) -> Task {
    let summary = Summary {
        title: "One".into(),
        priority: Priority::P0,
        kind: None,
        size: None,
        labels: vec![],
        paths: vec![],
        ..summary(name, seq, state)
    };
    Task { grants: 0, failures: 0, reason: None, body: String::new(), ..task(summary) }
}

/// A task in somebody's hands, and the claim.
fn in_hand(mut task: Task, claim: Claim) -> (Task, Grant) {
    task.summary.claim = Some(claim.fence);
    (task, Grant::Claim(claim))
}

const LEASE: u64 = 5400;

fn claim(task: &str, fence: u64) -> Claim {
    Claim {
        fence: Fence(fence),
        task: id(task),
        holder: id("Ada Example@vm-1"),
        team: Some(id("alpha")),
        branch: id(&format!("ai-feature/issue-{task}.2")),
        paths: ids(&["src/**"]),
        lease: Lease { renewed_at: at(5), length: Seconds(LEASE) },
        submitted: true,
    }
}

fn least_claim(task: &str, fence: u64) -> Claim {
    Claim { holder: id("bob"), team: None, paths: vec![], submitted: false, ..claim(task, fence) }
}

fn lock(fence: u64, mode: LockMode, reason: Option<&str>) -> Grant {
    Grant::Lock(PathLock {
        fence: Fence(fence),
        holder: id("bob"),
        patterns: ids(&["{a,b}/**/[!x]?.rs", "guide"]),
        mode,
        lease: Lease { renewed_at: at(5), length: Seconds(90) },
        reason: reason.map(str::to_owned),
    })
}

fn team() -> Team {
    Team { name: id("alpha"), labels: ids(&["ui", "bug"]), capacity: Some(3), size_max: Some(Size::Medium) }
}

fn run() -> Run {
    Run {
        commit: object('c'),
        tree: object('d'),
        base: object('b'),
        cars: ids(&["102", "waits"]),
        ahead: 0,
        state: RunState::Running,
        started_at: at(20),
        started_by: id("ci"),
    }
}

fn train() -> Train {
    let landing = Landing {
        from: object('b'),
        to: object('c'),
        cars: ids(&["102"]),
        commits: vec![object('e')],
        steps: vec![],
        at: at(30),
    };
    Train {
        target: id("release/1.0"),
        next_position: 9,
        paused: Some("until Monday".into()),
        frozen: None,
        landed_to: Some(object('b')),
        landing: Some(landing),
        runs: vec![run(), Run { cars: ids(&["waits"]), ..run() }],
        window: None,
        batches: Vec::new(),
        tally: Tally::default(),
        failed_in_a_row: 0,
        run_time: None,
    }
}

/// A board whose train tests cars together.
pub fn batched_board() -> Changes {
    let mut changes = whole_board();
    let train = Train {
        batches: vec![
            Batch::untested(ids(&["102"]), false),
            Batch { tree: Some(object('d')), ..Batch::untested(ids(&["waits"]), true) },
        ],
        tally: Tally { landed: 40, failed: 2 },
        ..train()
    };
    changes.trains.insert(train.target.clone(), train);
    changes
}

fn car() -> Car {
    Car {
        id: id("102"),
        target: id("release/1.0"),
        task: Some(CarTask { id: id("102"), fence: Fence(16) }),
        branch: id("ai-feature/issue-102-2"),
        commit: object('e'),
        title: AWKWARD.into(),
        priority: Priority::P1,
        position: 8,
        promoted: 0,
        after: ids(&["101", "Feature/ü"]),
        together: vec![],
        single: false,
        state: CarState::Ejected,
        reason: Some("its check failed on c".into()),
        approvals: vec![],
        submitted_at: at(10),
        submitted_by: id("ada"),
        inconclusive: 2,
        tested_tree: Some(object('d')),
        landed_as: Some(object('f')),
        landed_on: None,
    }
}

fn least_car() -> Car {
    Car {
        id: id("Feature/ü"),
        target: id("main"),
        task: None,
        branch: id("Feature/ü"),
        commit: object('e'),
        title: "Work".into(),
        priority: Priority::P3,
        position: 1,
        promoted: 0,
        after: vec![],
        together: vec![],
        single: false,
        state: CarState::Queued,
        reason: None,
        approvals: vec![],
        submitted_at: at(10),
        submitted_by: id("ada"),
        inconclusive: 0,
        tested_tree: None,
        landed_as: None,
        landed_on: None,
    }
}

/// What several checks said, with and without all that can be said.
fn checked_verdict() -> VerdictRecord {
    let least = CheckVerdict { name: id("lint"), verdict: Verdict::Pass, at: at(24), took: None, url: None };
    let (took, url) = (Some(Seconds(61)), Some("https://ci.example.test/2".into()));
    let whole = CheckVerdict { name: id("Linux / test (3.1)"), verdict: Verdict::Fail, at: at(25), took, url };
    VerdictRecord { checks: vec![least, whole], ..verdict() }
}

/// A board with the verdict of several checks.
pub fn checked_board() -> Changes {
    let mut changes = board_of_car(Train::new(id("main")), least_car());
    changes.verdicts.insert(checked_verdict().tree, checked_verdict());
    changes
}

fn verdict() -> VerdictRecord {
    VerdictRecord {
        tree: object('d'),
        commit: object('c'),
        verdict: Verdict::Fail,
        check: "[\"sh\",\"ci.sh\"]".into(),
        at: at(25),
        by: id("ci"),
        took: Some(Seconds(3661)),
        together: 0,
        url: Some("https://ci.example.test/1?a=b&c=d".into()),
        output: AWKWARD_LINES.into(),
        checks: vec![],
    }
}

fn least_verdict() -> VerdictRecord {
    // In a repository with SHA-256.
    let long = |digit: &str| id(&digit.repeat(64));
    VerdictRecord {
        tree: long("d"),
        commit: long("c"),
        verdict: Verdict::Pass,
        check: "none".into(),
        at: at(25),
        by: id("ci"),
        took: None,
        together: 0,
        url: None,
        output: String::new(),
        checks: Vec::new(),
    }
}

pub fn entry() -> Entry {
    Entry {
        id: id(&"ab".repeat(16)),
        kind: MemoryKind::Learning,
        title: AWKWARD.into(),
        paths: ids(&["src/**"]),
        author: id("ada"),
        at: at(40),
        commit: Some(object('a')),
        supersedes: Some(id(&"cd".repeat(16))),
        superseded_by: Some(id(&"ef".repeat(16))),
        body: AWKWARD_LINES.into(),
    }
}

pub fn least_entry() -> Entry {
    Entry {
        kind: MemoryKind::Decision,
        title: "Why".into(),
        paths: vec![],
        commit: None,
        supersedes: None,
        superseded_by: None,
        body: String::new(),
        ..entry()
    }
}

/// One operation of every command, each with an outcome that it may have, and for some the least of them.
pub fn operations() -> Vec<(&'static str, Command, Outcome)> {
    let target = || -> Branch { id("main") };
    let task = || -> TaskId { id("101") };
    let changed = |task: TaskId| Outcome::Task { task };
    let edit = TaskEdit {
        title: Some(AWKWARD.into()),
        priority: Some(Priority::P0),
        kind: Some(id("feature")),
        size: Some(Size::Small),
        add_labels: ids(&["a"]),
        remove_labels: ids(&["b"]),
        add_needs: ids(&["100"]),
        remove_needs: ids(&["99"]),
        paths: Some(vec![]),
        body: Some(AWKWARD_LINES.into()),
    };
    let new = NewTask {
        id: Some(task()),
        title: AWKWARD.into(),
        priority: Priority::P1,
        kind: Some(id("bug")),
        size: Some(Size::Medium),
        labels: ids(&["ui"]),
        needs: ids(&["100"]),
        paths: ids(&["src/**"]),
        body: AWKWARD_LINES.into(),
    };
    let least_new = NewTask {
        id: None,
        title: "One".into(),
        priority: Priority::P2,
        kind: None,
        size: None,
        labels: vec![],
        needs: vec![],
        paths: vec![],
        body: String::new(),
    };
    vec![
        ("init", Command::Init { target: target() }, Outcome::Board { created: true }),
        ("add", Command::Add(new), changed(task())),
        ("add-least", Command::Add(least_new), changed(id("1"))),
        ("edit", Command::Edit { task: task(), edit }, changed(task())),
        ("edit-least", Command::Edit { task: task(), edit: TaskEdit::default() }, changed(task())),
        ("cancel", Command::Cancel { task: task(), reason: Some(AWKWARD.into()) }, changed(task())),
        ("cancel-least", Command::Cancel { task: task(), reason: None }, changed(task())),
        ("reopen-refused", Command::Reopen { task: task() }, Outcome::Refused),
        ("reopen", Command::Reopen { task: task() }, changed(task())),
        ("block", Command::Block { task: task(), reason: "wait".into() }, changed(task())),
        ("unblock", Command::Unblock { task: task() }, changed(task())),
        (
            "claim",
            Command::Claim {
                task: Some(task()),
                team: Some(id("alpha")),
                labels: ids(&["ui"]),
                count: 2,
                lease: Seconds(1800),
                branch_template: "ai-feature/issue-{id}".into(),
            },
            Outcome::Claimed { tasks: ids(&["101", "102"]), fences: vec![Fence(7), Fence(8)], expired: ids(&["99"]) },
        ),
        (
            "claim-least",
            Command::Claim {
                task: None,
                team: None,
                labels: vec![],
                count: 1,
                lease: Seconds(0),
                branch_template: "{id}".into(),
            },
            Outcome::Claimed { tasks: vec![task()], fences: vec![Fence(7)], expired: vec![] },
        ),
        (
            "renew",
            Command::Renew { task: task(), fence: Some(Fence(7)), lease: Some(Seconds(60)) },
            Outcome::Renewed { task: task(), fence: Fence(7), until: at(1) },
        ),
        (
            "renew-least",
            Command::Renew { task: task(), fence: None, lease: None },
            Outcome::Renewed { task: task(), fence: Fence(7), until: at(1) },
        ),
        (
            "release",
            Command::Release { task: task(), fence: Some(Fence(7)), reason: Some("tired".into()), force: true },
            Outcome::Returned { task: task(), given_up: false },
        ),
        (
            "release-least",
            Command::Release { task: task(), fence: None, reason: None, force: false },
            Outcome::Returned { task: task(), given_up: false },
        ),
        (
            "fail",
            Command::Fail { task: task(), fence: Some(Fence(7)), reason: "broken".into(), retries_max: 2 },
            Outcome::Returned { task: task(), given_up: true },
        ),
        (
            "done",
            Command::Done { task: task(), fence: Some(Fence(7)) },
            Outcome::Finished { task: task(), unblocked: ids(&["102"]) },
        ),
        (
            "done-least",
            Command::Done { task: task(), fence: None },
            Outcome::Finished { task: task(), unblocked: vec![] },
        ),
        (
            "lock",
            Command::Lock {
                patterns: ids(&["docs/**"]),
                mode: LockMode::Shared,
                lease: Seconds(3600),
                reason: Some("moving".into()),
            },
            Outcome::Locked { fence: Fence(9), until: at(60) },
        ),
        (
            "unlock",
            Command::Unlock { patterns: ids(&["docs/**"]), force: true },
            Outcome::Unlocked { patterns: ids(&["docs/**"]) },
        ),
        ("add-team", Command::AddTeam(team()), Outcome::Team { name: id("alpha") }),
        ("remove-team", Command::RemoveTeam { name: id("alpha") }, Outcome::Team { name: id("alpha") }),
        (
            "submit",
            Command::Submit {
                car: id("101"),
                target: target(),
                branch: id("ai-feature/issue-101"),
                commit: object('e'),
                title: AWKWARD.into(),
                task: Some(SubmittedTask { id: task(), fence: Some(Fence(7)) }),
                priority: Some(Priority::P0),
                after: ids(&["100"]),
                together: vec![],
                single: None,
                first: false,
            },
            Outcome::Submitted { car: id("101"), position: 4, again: false },
        ),
        (
            "submit-least",
            Command::Submit {
                car: id("Feature/ü"),
                target: target(),
                branch: id("Feature/ü"),
                commit: object('e'),
                title: "Work".into(),
                task: None,
                priority: None,
                after: vec![],
                together: vec![],
                single: None,
                first: false,
            },
            Outcome::Submitted { car: id("Feature/ü"), position: 4, again: true },
        ),
        (
            "submit-more",
            Command::Submit {
                car: id("revert/102-cccccccccc"),
                target: target(),
                branch: id("revert/102-cccccccccc"),
                commit: object('e'),
                title: "Revert \"Work\"".into(),
                task: None,
                priority: Some(Priority::P0),
                after: vec![],
                together: vec![],
                single: None,
                first: true,
            },
            Outcome::Submitted { car: id("revert/102-cccccccccc"), position: 9, again: false },
        ),
        (
            "submit-grouped",
            submission(ids(&["102", "103"]), None),
            Outcome::Submitted { car: id("102"), position: 8, again: false },
        ),
        (
            "submit-single",
            submission(vec![], Some(true)),
            Outcome::Submitted { car: id("102"), position: 8, again: true },
        ),
        (
            "eject",
            Command::Eject {
                target: target(),
                car: id("101"),
                commit: Some(object('e')),
                cause: EjectCause::NoVerdict,
                reason: "no verdict in 30m".into(),
                lease: Seconds(7200),
                retries_max: 2,
                window: None,
                breaker: 0,
            },
            Outcome::Ejected { cars: ids(&["101", "102"]) },
        ),
        (
            "eject-more",
            Command::Eject {
                target: target(),
                car: id("101"),
                commit: Some(object('e')),
                cause: EjectCause::Failed,
                reason: "its check failed".into(),
                lease: Seconds(7200),
                retries_max: 2,
                window: Some(10),
                breaker: 5,
            },
            Outcome::Ejected { cars: ids(&["101", "102"]) },
        ),
        (
            "pause",
            Command::Pause { target: target(), reason: "release".into(), below: None },
            Outcome::Train { changed: true },
        ),
        (
            "pause-more",
            Command::Pause { target: target(), reason: "release".into(), below: Some(Priority::P1) },
            Outcome::Train { changed: true },
        ),
        ("resume", Command::Resume { target: target() }, Outcome::Train { changed: false }),
        (
            "approve",
            Command::Approve { target: target(), car: id("102"), commit: object('e'), withdraw: true },
            Outcome::Approved { approvals: 1, changed: true },
        ),
        (
            "promote",
            Command::Promote { target: target(), car: id("102") },
            Outcome::Promoted { cars: ids(&["101", "102"]), changed: true },
        ),
        ("start-run", Command::StartRun { target: target(), run: run() }, Outcome::Train { changed: true }),
        (
            "change-runs",
            Command::ChangeRuns {
                target: target(),
                start: vec![Run { cars: ids(&["101", "102"]), ahead: 1, ..run() }],
                cancel: vec![object('f')],
                lost: Vec::new(),
                batches: None,
                check: None,
                kept_since: None,
            },
            Outcome::Runs { started: vec![object('c')], cancelled: vec![object('f')] },
        ),
        (
            "change-runs-batched",
            Command::ChangeRuns {
                target: target(),
                start: vec![Run { cars: ids(&["101", "102"]), ..run() }],
                cancel: Vec::new(),
                lost: Vec::new(),
                batches: Some(vec![Batch { tree: Some(object('d')), ..Batch::untested(ids(&["101", "102"]), true) }]),
                check: None,
                kept_since: None,
            },
            Outcome::Runs { started: vec![object('c')], cancelled: Vec::new() },
        ),
        (
            "change-runs-halved",
            Command::ChangeRuns {
                target: target(),
                start: Vec::new(),
                cancel: Vec::new(),
                lost: Vec::new(),
                batches: Some(Batch::untested(ids(&["101", "102"]), true).split(1, true).into()),
                check: None,
                kept_since: None,
            },
            Outcome::Runs { started: Vec::new(), cancelled: Vec::new() },
        ),
        (
            "change-runs-lost",
            Command::ChangeRuns {
                target: target(),
                start: vec![Run { started_at: at(40), ..run() }],
                cancel: Vec::new(),
                lost: vec![run()],
                batches: None,
                check: Some("[\"true\"]".into()),
                kept_since: None,
            },
            Outcome::Runs { started: vec![object('c')], cancelled: vec![object('c')] },
        ),
        (
            "change-runs-more",
            Command::ChangeRuns {
                target: target(),
                start: vec![Run { cars: ids(&["101", "102"]), ..run() }],
                cancel: Vec::new(),
                lost: Vec::new(),
                batches: None,
                check: Some("external".into()),
                kept_since: None,
            },
            Outcome::Runs { started: Vec::new(), cancelled: Vec::new() },
        ),
        (
            "change-runs-stacked",
            Command::ChangeRuns {
                target: target(),
                start: stacked_runs(),
                cancel: Vec::new(),
                lost: Vec::new(),
                batches: None,
                check: Some("external".into()),
                kept_since: None,
            },
            Outcome::Runs { started: vec![object('c'), object('d')], cancelled: Vec::new() },
        ),
        (
            "verdict",
            Command::Verdict {
                target: target(),
                record: verdict(),
                cars: ids(&["102"]),
                asked: true,
                required: vec![],
                kept_since: None,
            },
            Outcome::Verdict { applied: false },
        ),
        (
            "verdict-checked",
            Command::Verdict {
                target: target(),
                record: checked_verdict(),
                cars: ids(&["102"]),
                asked: true,
                required: ids(&["lint", "Linux / test (3.1)"]),
                kept_since: None,
            },
            Outcome::Verdict { applied: true },
        ),
        (
            "change-runs-kept",
            Command::ChangeRuns {
                target: target(),
                start: vec![Run { cars: ids(&["101", "102"]), ..run() }],
                cancel: Vec::new(),
                lost: Vec::new(),
                batches: None,
                check: Some("external".into()),
                kept_since: Some(at(20)),
            },
            Outcome::Runs { started: vec![object('c')], cancelled: Vec::new() },
        ),
        (
            "verdict-together",
            Command::Verdict {
                target: target(),
                record: VerdictRecord { together: 2, ..verdict() },
                cars: ids(&["101", "102"]),
                asked: true,
                required: vec![],
                kept_since: Some(at(20)),
            },
            Outcome::Verdict { applied: true },
        ),
        (
            "announce-landing",
            Command::AnnounceLanding {
                target: target(),
                cars: ids(&["101"]),
                commits: vec![object('e')],
                from: object('b'),
                to: object('c'),
                tree: object('d'),
                steps: vec![],
                approvals: 0,
            },
            Outcome::Train { changed: true },
        ),
        (
            "announce-landing-more",
            Command::AnnounceLanding {
                target: target(),
                cars: ids(&["101"]),
                commits: vec![object('e')],
                from: object('b'),
                to: object('c'),
                tree: object('d'),
                steps: vec![],
                approvals: 2,
            },
            Outcome::Train { changed: true },
        ),
        (
            "announce-landing-stepped",
            Command::AnnounceLanding {
                target: target(),
                cars: ids(&["101", "102"]),
                commits: vec![object('e'), object('f')],
                from: object('b'),
                to: object('c'),
                tree: object('d'),
                steps: vec![object('a'), object('c')],
                approvals: 0,
            },
            Outcome::Train { changed: true },
        ),
        (
            "abandon-landing",
            Command::AbandonLanding { target: target(), to: object('c') },
            Outcome::Train { changed: true },
        ),
        (
            "land",
            Command::Land {
                target: target(),
                cars: ids(&["101"]),
                commits: vec![object('e')],
                from: object('b'),
                to: object('c'),
                tree: Some(object('d')),
                steps: vec![],
                approvals: 0,
                window: None,
            },
            Outcome::Landed { cars: ids(&["101"]), unblocked: ids(&["102"]) },
        ),
        (
            "land-more",
            Command::Land {
                target: target(),
                cars: ids(&["101"]),
                commits: vec![object('e')],
                from: object('b'),
                to: object('c'),
                tree: Some(object('d')),
                steps: vec![],
                approvals: 2,
                window: Some(21),
            },
            Outcome::Landed { cars: ids(&["101"]), unblocked: vec![] },
        ),
        (
            "land-stepped",
            Command::Land {
                target: target(),
                cars: ids(&["101", "102"]),
                commits: vec![object('e'), object('f')],
                from: object('b'),
                to: object('c'),
                tree: Some(object('d')),
                steps: vec![object('a'), object('c')],
                approvals: 0,
                window: None,
            },
            Outcome::Landed { cars: ids(&["101", "102"]), unblocked: vec![] },
        ),
        (
            "land-least",
            Command::Land {
                target: target(),
                cars: vec![],
                commits: vec![],
                from: object('b'),
                to: object('c'),
                tree: None,
                steps: vec![],
                approvals: 0,
                window: None,
            },
            Outcome::Landed { cars: vec![], unblocked: vec![] },
        ),
    ]
}

fn board_of(counters: Counters, tasks: Vec<Task>, grants: Vec<Grant>, train: Train, cars: Vec<Car>) -> Changes {
    let mut changes = Changes { counters: Some(counters), ..Changes::default() };
    changes.tasks = tasks.into_iter().map(|task| (task.summary.id.clone(), task)).collect();
    changes.grants = grants.into_iter().map(|grant| (grant.fence(), Some(grant))).collect();
    changes.trains.insert(train.target.clone(), train);
    changes.cars = cars.into_iter().map(|car| ((car.target.clone(), car.id.clone()), car)).collect();
    changes
}

/// A board with a record of every kind, each with everything in it.
pub fn whole_board() -> Changes {
    let landed =
        Task { needed_by: ids(&["104"]), landed_as: Some(object('a')), ..closed("101", 16, TaskState::Landed) };
    let (submitted, first) = in_hand(task(summary("102", 17, TaskState::Submitted)), claim("102", 16));
    let (claimed, second) = in_hand(task(summary("103", 18, TaskState::Claimed)), least_claim("103", 17));
    let mut queued = Task { needed_by: ids(&["105"]), ..task(summary("104", 19, TaskState::Queued)) };
    queued.summary.needs = ids(&["101"]);
    let mut blocked = Task { held_back: true, ..task(summary("105", 20, TaskState::Blocked)) };
    blocked.summary.needs = ids(&["104"]);
    let done = closed("106", 21, TaskState::Done);
    let failed = closed("107", 22, TaskState::Failed);
    let cancelled = closed("108", 23, TaskState::Cancelled);
    let tasks = vec![landed, submitted, claimed, queued, blocked, done, failed, cancelled];
    let locks = [lock(18, LockMode::Exclusive, None), lock(19, LockMode::Shared, Some(AWKWARD))];
    let grants = [first, second].into_iter().chain(locks).collect();
    let target = || id("release/1.0");
    let cars = vec![
        Car { state: CarState::Testing, after: vec![], reason: None, landed_as: None, ..car() },
        Car { id: id("waits"), branch: id("waits"), after: ids(&["102"]), target: target(), ..least_car() },
        Car { id: id("landed"), task: None, state: CarState::Landed, position: 6, ..car() },
        Car { id: id("out"), task: None, position: 7, landed_as: None, ..car() },
    ];
    let counters = Counters { target: id("main"), fence: Fence(19), seq: 33, numbered: 102 };
    let mut changes = board_of(counters, tasks, grants, train(), cars);
    changes.teams.insert(team().name, Some(team()));
    for (digit, verdict) in [('1', Verdict::Pass), ('2', Verdict::Fail), ('3', Verdict::Inconclusive)] {
        changes.verdicts.insert(object(digit), VerdictRecord { tree: object(digit), verdict, ..self::verdict() });
    }
    changes
}

/// A board with the least record of every kind.
pub fn least_board() -> Changes {
    let (claimed, grant) = in_hand(least_task("3", 3, TaskState::Claimed), least_claim("3", 1));
    let blocked = Task { held_back: true, ..least_task("2", 2, TaskState::Blocked) };
    let tasks = vec![least_task("1", 1, TaskState::Queued), blocked, claimed, least_task("4", 4, TaskState::Cancelled)];
    let cars = vec![least_car(), Car { id: id("out"), state: CarState::Ejected, ..least_car() }];
    let counters = Counters { target: id("main"), fence: Fence(1), seq: 4, numbered: 0 };
    let mut changes = board_of(counters, tasks, vec![grant], Train::new(id("main")), cars);
    changes.teams.insert(id("beta"), Some(Team::generalist(id("beta"))));
    changes.verdicts.insert(least_verdict().tree, least_verdict());
    changes
}

/// A board whose train lands only what is urgent.
pub fn frozen_board() -> Changes {
    let freeze = Freeze { below: Priority::P1, reason: "release day".into() };
    board_of_car(Train { frozen: Some(freeze), ..Train::new(id("main")) }, least_car())
}

/// A board with a car that was put first.
pub fn promoted_board() -> Changes {
    board_of_car(Train::new(id("main")), Car { promoted: 2, ..least_car() })
}

/// A board with a car that landed on another one, and with a landing of two that was announced.
pub fn stepped_board() -> Changes {
    let (landed_as, landed_on) = (Some(object('f')), Some(object('a')));
    let landed = Car { state: CarState::Landed, landed_as, landed_on, ..least_car() };
    let cars = ids(&["Feature/ä", "Feature/ö"]);
    let (commits, steps) = (vec![object('e'), object('d')], vec![object('b'), object('c')]);
    let landing = Landing { from: object('f'), to: object('c'), cars, commits, steps, at: at(30) };
    board_of_car(Train { landing: Some(landing), ..Train::new(id("main")) }, landed)
}

/// A board with cars that land together.
pub fn grouped_board() -> Changes {
    let (first, second) = (id("Feature/ä"), id("Feature/ü"));
    board_of_car(Train::new(id("main")), Car { together: vec![first, second], ..least_car() })
}

/// A submission that says nothing but with which cars it lands, and whether it is tested alone.
fn submission(together: Vec<CarId>, single: Option<bool>) -> Command {
    Command::Submit {
        car: id("102"),
        target: id("main"),
        branch: id("ai-feature/issue-102-2"),
        commit: object('e'),
        title: AWKWARD.into(),
        task: None,
        priority: None,
        after: vec![],
        together,
        single,
        first: false,
    }
}

/// Runs of a line that is long enough for the second to be written behind the first.
fn stacked_runs() -> Vec<Run> {
    let cars = ids(&["101", "102", "103", "104", "105", "106", "107", "108", "109", "Feature/ä"]);
    let first = Run { cars: cars[..8].to_vec(), ahead: 0, ..run() };
    vec![first, Run { commit: object('d'), tree: object('e'), cars, ahead: 9, ..run() }]
}

/// A board with a long line of cars in test.
pub fn stacked_board() -> Changes {
    board_of_car(Train { runs: stacked_runs(), ..Train::new(id("main")) }, least_car())
}

/// A board with a car that is tested by itself.
pub fn single_board() -> Changes {
    board_of_car(Train::new(id("main")), Car { single: true, ..least_car() })
}

/// A board whose train has seen cars fail.
pub fn failing_board() -> Changes {
    board_of_car(Train { failed_in_a_row: 3, window: Some(10), ..Train::new(id("main")) }, least_car())
}

/// A board whose train has timed its tests.
pub fn timed_board() -> Changes {
    board_of_car(Train { run_time: Some(Seconds(754)), ..Train::new(id("main")) }, least_car())
}

/// A board with a car that two approve of, one of them with a commit it had before.
pub fn approved_board() -> Changes {
    let approval = |by, commit| Approval { by: id(by), commit: object(commit), at: at(11) };
    let approvals = vec![approval("bob", 'e'), approval("Cyd Example@vm-2", 'd')];
    board_of_car(Train::new(id("main")), Car { approvals, ..least_car() })
}

fn board_of_car(train: Train, car: Car) -> Changes {
    let counters = Counters { target: id("main"), fence: Fence(0), seq: 0, numbered: 0 };
    board_of(counters, vec![], vec![], train, vec![car])
}

/// An operation that was applied.
pub fn recorded(command: Command, outcome: Outcome) -> Recorded {
    let (id, by) = (id(&"01".repeat(16)), id("Ada Example@vm-1"));
    Recorded { operation: Operation { id, by, at: at(3), skew: Seconds(5), overdue: None, command }, outcome }
}

/// The same of an asker who had looked for what has run out.
pub fn looked(command: Command, outcome: Outcome, overdue: Vec<Overdue>) -> Recorded {
    let recorded = recorded(command, outcome);
    Recorded { operation: Operation { overdue: Some(overdue), ..recorded.operation }, ..recorded }
}
