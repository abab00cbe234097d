//! What is wrong with a repository, judged from facts that others have gathered.
//!
//! Guarantees: pure, but for the functions that read versions of a ledger; a finding says what is wrong, which
//! fact shows it, and what to do next; nothing that may be somebody's work is ever called waste. Must not change
//! anything: who repairs says so with [`Finding::repaired`].

use crate::domain::invariants::check_invariants;
use crate::domain::train::Landing;
use crate::domain::{Branch, CarId, Fence, Seconds, TaskId, Timestamp};
use crate::ledger::{
    Beat, ChainEntry, Fault, Message, Outcome, SETTLED_SECS, Side, Snapshot, Standing, Store, Version, in_person,
};
use crate::record::load_board;

/// From which age on a lock file, or a worktree that is not whole, was left by somebody who is gone.
pub const LEFT_AFTER: Seconds = Seconds(600);
/// How old an offer is that nobody waits for any more.
const OFFER_AGE_MAX: Seconds = Seconds(86_400);
/// The oldest git that does what is asked of it.
const GIT_MIN: (u32, u32) = (2, 38);
/// How many versions are looked at for clocks that are wrong: a command's own, and those that it met.
const VERSIONS_LOOKED_AT: usize = 4;
/// How many versions a ledger may have before it is worth a word.
const CHAIN_MAX: usize = 20_000;
/// How many things that are wrong with records are named.
const NAMED_MAX: usize = 10;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It is as it should be.
    Ok,
    /// It costs something, and nothing is in danger.
    Warning,
    /// Something does not work, or is in danger.
    Error,
}

impl Severity {
    /// The word scripts read.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Ok => "ok",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// What was found by one check, or one of several things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check, in a word.
    pub kind: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, with the fact that shows it.
    pub what: String,
    /// The file or directory, if it is about one.
    pub path: Option<String>,
    /// The full name of the ref, if it is about one.
    pub ref_name: Option<String>,
    /// Whether a ledger is not what it was.
    pub breach: bool,
    /// Whether it was repaired.
    pub repaired: bool,
    /// The next command, or what to do; empty where there is nothing to do.
    pub next: String,
}

impl Finding {
    /// All is well.
    pub fn ok(kind: &'static str, what: impl Into<String>) -> Finding {
        Finding::new(kind, Severity::Ok, what, "")
    }

    /// Something costs, and nothing is in danger.
    pub fn warning(kind: &'static str, what: impl Into<String>, next: impl Into<String>) -> Finding {
        Finding::new(kind, Severity::Warning, what, next)
    }

    /// Something does not work, or is in danger.
    pub fn error(kind: &'static str, what: impl Into<String>, next: impl Into<String>) -> Finding {
        Finding::new(kind, Severity::Error, what, next)
    }

    fn new(kind: &'static str, severity: Severity, what: impl Into<String>, next: impl Into<String>) -> Finding {
        let (path, ref_name) = (None, None);
        Finding { kind, severity, what: what.into(), path, ref_name, breach: false, repaired: false, next: next.into() }
    }

    /// About this file or directory.
    pub fn at(mut self, path: impl Into<String>) -> Finding {
        self.path = Some(path.into());
        self
    }

    /// About this ref.
    pub fn of(mut self, ref_name: impl Into<String>) -> Finding {
        self.ref_name = Some(ref_name.into());
        self
    }

    fn breach(mut self) -> Finding {
        self.breach = true;
        self
    }

    /// The same, which is over now: `how` says what was done.
    pub fn repaired(mut self, how: &str) -> Finding {
        self.what = format!("{}; {how}", self.what);
        (self.repaired, self.next) = (true, String::new());
        self
    }

    /// The same, which somebody tried to repair, and why that did not work.
    pub fn not_repaired(mut self, why: &str) -> Finding {
        self.what = format!("{}; not repaired: {why}", self.what);
        self
    }

    /// Whether there is still something to do.
    pub fn is_left(&self) -> bool {
        self.severity > Severity::Ok && !self.repaired
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Ledgers

/// A ledger that is all that this clone has seen.
pub fn whole(kind: &'static str, place: &str, chain: &[ChainEntry]) -> Finding {
    let count = in_person(chain);
    let first = chain[..count].last();
    let folded = first.is_some_and(|first| Message::replaced_in(&first.message).is_some());
    let since = if folded { " from its checkpoint on" } else { "" };
    let what = format!("{}{since} at {place}, and all that this clone has seen", versions(count));
    if count <= CHAIN_MAX {
        return Finding::ok(kind, what);
    }
    Finding::warning(kind, format!("{what}: each new clone downloads them all"), "git scrum gc")
}

/// A ledger that went back, took another way or vanished. `kept_as` is where versions that only the truth has would be
/// kept if the ledger was restored.
pub fn astray(kind: &'static str, place: &str, standing: &Standing, kept_as: &str) -> Finding {
    let Standing { ref_name, seen, there } = standing;
    let last = format!("this clone last saw {}", end(seen));
    let elsewhere = "look in the clones that wrote last for one that saw more, and there";
    let (what, next) = match there {
        None => {
            let what = format!("{ref_name} is gone from {place}; {last}");
            (what, format!("{elsewhere}, or else here: git scrum doctor --restore"))
        }
        Some(there) if there.own == 0 => {
            let what =
                format!("{ref_name} on {place} went back {}: {last}; there now is {}", versions(seen.own), end(there));
            (what, format!("{elsewhere}, or else here: git scrum doctor --restore"))
        }
        Some(there) => {
            let what = format!(
                "{ref_name} on {place} went another way: {last}, {} of them nowhere else; there now is {}, {} of them \
                 unknown here",
                seen.own,
                end(there),
                there.own
            );
            (what, format!("git log {}; git scrum doctor --restore --force keeps that as {kept_as}", there.tip))
        }
    };
    Finding::error(kind, what, next).of(ref_name.as_str()).breach()
}

/// What came of restoring it.
pub fn restored(finding: Finding, outcome: &Outcome, standing: &Standing, kept_as: &str) -> Finding {
    match outcome {
        Outcome::Applied if standing.only_there() > 0 => {
            let kept = versions(standing.only_there());
            finding.repaired(&format!("restored; the {kept} that only the remote had are kept as {kept_as}"))
        }
        Outcome::Applied => finding.repaired("restored"),
        Outcome::Lost { .. } => finding.not_repaired("it was moved meanwhile, look again"),
        Outcome::Locked { reason } | Outcome::Unknown { reason } => finding.not_repaired(reason),
        Outcome::Refused { ref_name, reason } => finding.not_repaired(&format!("{ref_name}: {reason}")),
        Outcome::NotAtomic => finding.not_repaired("the remote cannot move two refs in one push"),
    }
}

/// A ledger that could not be asked for, or not read.
pub fn unasked(kind: &'static str, fault: &Fault) -> Finding {
    match fault {
        Fault::Integrity { what } => {
            Finding::error(kind, what.clone(), "compare with another clone, where git scrum doctor says it is right")
                .breach()
        }
        Fault::Network { .. } | Fault::Authentication { .. } | Fault::Environment { .. } => {
            Finding::error(kind, format!("not asked for: {fault}"), "run it again when the remote can be reached")
        }
        fault => Finding::error(kind, fault.to_string(), "see the message of the system above"),
    }
}

fn end(side: &Side) -> String {
    let at = Timestamp::from_secs(side.at_secs);
    let count = versions(side.versions);
    format!("{} of {at}, the end of {count}, the newest of them: {}", short(&side.tip), side.line)
}

fn short(version: &Version) -> &str {
    version.0.get(..10).unwrap_or(&version.0)
}

/// So many versions, in words.
pub fn versions(count: usize) -> String {
    format!("{count} {}", if count == 1 { "version" } else { "versions" })
}

/// What is wrong with the records of one version of the board; empty when nothing is.
pub fn wrong_records<S: Store>(store: &S, version: &Version) -> Result<Vec<String>, Fault> {
    match load_board(&Snapshot::new(store, version.clone())) {
        Ok((board, mut wrong)) => {
            wrong.extend(check_invariants(&board));
            Ok(wrong)
        }
        Err(Fault::Integrity { what }) => Ok(vec![what]),
        Err(fault) => Err(fault),
    }
}

/// Records that disagree. `begun` is the first version that is not what its operations give, and the one before it.
pub fn records(wrong: &[String], begun: Option<(&Version, Option<&Version>)>) -> Finding {
    if wrong.is_empty() {
        return Finding::ok("records", "all records of the board agree");
    }
    let named = wrong.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join("; ");
    let more = wrong.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let since = match begun {
        Some((version, Some(before))) => {
            format!("; it began with {}, and the newest version that is right is {before}", short(version))
        }
        Some((version, None)) => format!("; it began with the first version, {}", short(version)),
        None => "; yet every version is what its operations give: this is a fault of the program".to_owned(),
    };
    Finding::error("records", format!("{named}{more}{since}"), "git scrum log --verify").breach()
}

// ---------------------------------------------------------------------------------------------------------------------
// Files

/// What is known of a lock file.
#[derive(Debug, Clone, Copy)]
pub struct Lock<'a> {
    /// The file.
    pub path: &'a str,
    /// How long it has been there.
    pub age: Seconds,
    /// Whose it is.
    pub owner: &'a str,
    /// Whether a process that may hold it is alive.
    pub in_use: bool,
    /// Whether it lies in the remote.
    pub at_remote: bool,
}

impl Lock<'_> {
    /// Whether whoever made it is gone.
    pub fn is_left(&self) -> bool {
        self.age >= LEFT_AFTER && !self.in_use
    }

    /// The finding.
    pub fn judge(&self) -> Finding {
        let what = format!("{} is {} old, and of {}", self.path, self.age, self.owner);
        let finding = if self.is_left() && self.at_remote {
            let next = "git scrum doctor --repair --remote-locks, once no git runs in the remote";
            Finding::error("lock", format!("{what}; it lies in the remote, and keeps everybody from pushing"), next)
        } else if self.is_left() {
            Finding::error("lock", format!("{what}; a process that was killed left it"), "git scrum doctor --repair")
        } else if self.in_use {
            Finding::warning("lock", format!("{what}; a git scrum is at work"), "run it again when that has ended")
        } else {
            Finding::warning("lock", format!("{what}; somebody may be at work"), "look again in ten minutes")
        };
        finding.at(self.path)
    }
}

/// A worktree whose directory is gone, and of which git still knows.
pub fn missing_worktree(path: &str) -> Finding {
    Finding::warning("worktree", format!("{path} is gone, and git still has it"), "git scrum doctor --repair").at(path)
}

/// A worktree that was never checked out to its end: there is no work in it.
pub fn unfinished_worktree(path: &str) -> Finding {
    let what = format!("{path} was left half-made by a command that was killed");
    Finding::warning("worktree", what, "git scrum doctor --repair, or git scrum worktree add").at(path)
}

/// A worktree whose claim is over.
pub fn worktree_of_old_claim(path: &str, task: &TaskId, fence: Fence) -> Finding {
    let what = format!("{path} is for {task}, whose claim under fence {fence} is over");
    Finding::warning("worktree", what, "git scrum worktree clean, which saves what is nowhere else").at(path)
}

// ---------------------------------------------------------------------------------------------------------------------
// Refs

/// An offer of a host, so old by that host's clock, that asks `intents` things, of which nobody has done `open`.
/// Nothing where somebody may be waiting for it.
pub fn offer(ref_name: &str, age: Seconds, open: usize, intents: usize) -> Option<Finding> {
    let what = if open == 0 && age > Seconds(SETTLED_SECS) {
        format!("{ref_name} asks for {intents} that are done or lapsed, since {age}")
    } else if age > OFFER_AGE_MAX {
        format!("{ref_name} asks for {open} since {age}: nobody waits for that any more")
    } else {
        return None;
    };
    Some(Finding::warning("offer", what, "git scrum doctor --repair").of(ref_name))
}

/// A heartbeat of a host that has held nothing for so long: nobody goes by it any more.
pub fn idle_heartbeat(ref_name: &str, age: Seconds) -> Finding {
    let what = format!("{ref_name} is {age} old, and its host holds nothing");
    Finding::warning("heartbeat", what, "git scrum doctor --repair").of(ref_name)
}

/// Saved work of a claim that is over, with its age and how many paths it changes.
pub fn saved_work(ref_name: &str, commit: &str, age: Option<Seconds>, paths: Option<usize>) -> Finding {
    let age = age.map_or(String::new(), |age| format!(", {age} old"));
    let paths =
        paths.map_or(String::new(), |count| format!(", changes {count} {}", if count == 1 { "path" } else { "paths" }));
    let what = format!("{ref_name} is work of a claim that is over{age}{paths}");
    let next =
        format!("git show --stat {commit}; to keep it, git branch NAME {commit}; git scrum doctor --repair --wip");
    Finding::warning("saved-work", what, next).of(ref_name)
}

/// A branch of a candidate that is tested no more.
pub fn idle_candidate(ref_name: &str) -> Finding {
    let what = format!("{ref_name} is the candidate of no run");
    Finding::warning("candidate", what, "git scrum doctor --repair").of(ref_name)
}

/// A landing that was announced and not finished.
pub fn landing(target: &Branch, landing: &Landing, now: Timestamp) -> Finding {
    let cars = landing.cars.iter().map(CarId::as_str).collect::<Vec<_>>().join(", ");
    let age = now.since(landing.at);
    let what = format!("the landing of {cars} on {target} was announced {age} ago and not finished");
    Finding::warning("landing", what, "git scrum doctor --repair, or git scrum merge-train")
}

// ---------------------------------------------------------------------------------------------------------------------
// Surroundings

/// The program: what `git version` printed, and how refs and objects are stored here.
pub fn git(version: &str, ref_format: &str, object_format: &str) -> Finding {
    let number = version.trim_start_matches("git version ").split(' ').next().unwrap_or_default();
    let mut parts = number.split('.').map(|part| part.parse::<u32>().ok());
    let found = (parts.next().flatten(), parts.next().flatten());
    let what = format!("git {number}; {ref_format} refs, {object_format} objects");
    match found {
        (Some(major), Some(minor)) if (major, minor) < GIT_MIN => {
            let next = format!("install git {}.{} or newer", GIT_MIN.0, GIT_MIN.1);
            Finding::error("git", format!("{what}; that is too old"), next)
        }
        _ => Finding::ok("git", what),
    }
}

/// Something that a machine has written, with the time by its clock and who it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// When.
    pub at: Timestamp,
    /// What, and by whom.
    pub what: String,
}

/// The newest versions that this clone has seen, and these heartbeats, as what machines have written by their clocks.
pub fn written_lately<S: Store>(store: &S, beats: &[Beat]) -> Result<Vec<Written>, Fault> {
    let Some(tip) = store.cached()? else { return Ok(Vec::new()) };
    // What cannot be read is found by whoever needs it.
    let versions = store.history(&tip, None, VERSIONS_LOOKED_AT).unwrap_or_default();
    let version = |entry: &ChainEntry| Written {
        at: Timestamp::from_secs(entry.at_secs),
        what: format!("\"{}\"", Message::lines_in(&entry.message).next().unwrap_or_default()),
    };
    let beat = |beat: &Beat| {
        let host = beat.ref_name.rsplit('/').next().unwrap_or_default();
        Written { at: Timestamp::from_secs(beat.at_secs), what: format!("the heartbeat of {host}") }
    };
    Ok(versions.iter().map(version).chain(beats.iter().map(beat)).collect())
}

/// What lies furthest ahead of this clock, by more than clocks may differ. Whoever writes dates it before it is sent,
/// so no time on the way makes a clock seem to be ahead.
pub fn furthest_ahead(now: Timestamp, written: &[Written], skew: Seconds) -> Option<String> {
    // Of several with one date the first, which is the newest.
    let furthest = written.iter().rev().max_by_key(|written| written.at)?;
    let ahead = furthest.at.since(now);
    (ahead > skew).then(|| {
        format!(
            "here it is {now}, and {} was written {ahead} later: this clock or that of its writer is wrong, and leases \
             will seem to last longer or shorter than they do",
            furthest.what
        )
    })
}

/// The clock, against the dates of what others may have written.
pub fn clock(now: Timestamp, written: &[Written], skew: Seconds) -> Finding {
    match furthest_ahead(now, written, skew) {
        None => Finding::ok("clock", format!("it is {now}, which neither the board nor a heartbeat gainsays")),
        Some(what) => Finding::warning("clock", what, "set the clock, e.g. by NTP, here or there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(versions: usize, own: usize) -> Side {
        Side { tip: Version("0123456789abcdef".into()), at_secs: 0, line: "add 1".into(), versions, own }
    }

    #[test]
    fn a_ledger_that_went_back_another_way_or_away_is_told_apart() {
        let judge = |there| {
            let standing = Standing { ref_name: "refs/scrum/board".into(), seen: side(5, 2), there };
            astray("board", "origin", &standing, "refs/scrum/lost/board-x")
        };
        for (there, words, next) in [
            (None, "is gone from origin", "git scrum doctor --restore"),
            (Some(side(3, 0)), "went back 2 versions", "git scrum doctor --restore"),
            (Some(side(4, 1)), "1 of them unknown here", "git scrum doctor --restore --force"),
        ] {
            let finding = judge(there);
            assert!(finding.what.contains(words) && finding.next.contains(next), "{finding:?}");
            assert!(finding.breach && finding.is_left());
        }
    }

    #[test]
    fn a_long_chain_is_worth_a_word_until_it_is_folded() {
        let entry = |n: usize, message: &str| ChainEntry {
            version: Version(format!("{n:040x}")),
            parent: None,
            message: message.to_owned(),
            at_secs: 0,
        };
        let mut chain: Vec<ChainEntry> = (0..=CHAIN_MAX).map(|n| entry(n, "add 1")).collect();
        assert_eq!(whole("board", "origin", &chain[1..]).severity, Severity::Ok);
        let found = whole("board", "origin", &chain);
        assert_eq!((found.severity, found.next.as_str()), (Severity::Warning, "git scrum gc"));
        chain[1] = entry(1, "checkpoint\n\nScrum-Checkpoint: 00ff\n");
        let found = whole("board", "origin", &chain);
        assert_eq!(found.severity, Severity::Ok);
        assert!(found.what.starts_with("2 versions from its checkpoint on"), "{found:?}");
    }

    #[test]
    fn a_lock_is_left_when_it_is_old_and_nobody_is_at_work() {
        let lock = |age, in_use| Lock { path: "x.lock", age: Seconds(age), owner: "ada", in_use, at_remote: false };
        assert!(lock(600, false).is_left());
        assert!(!lock(599, false).is_left() && !lock(9_000, true).is_left());
        assert_eq!(lock(600, false).judge().severity, Severity::Error);
        assert_eq!(lock(9_000, true).judge().severity, Severity::Warning);
    }

    #[test]
    fn git_is_old_before_2_38() {
        for (version, expected) in [
            ("git version 2.37.9", Severity::Error),
            ("git version 2.38.0", Severity::Ok),
            ("git version 2.47.3.windows.1", Severity::Ok),
            ("git version 2.39.5 (Apple Git-154)", Severity::Ok),
            ("git version 3.0", Severity::Ok),
            ("something else", Severity::Ok),
        ] {
            assert_eq!(git(version, "files", "sha1").severity, expected, "{version}");
        }
    }

    #[test]
    fn a_clock_may_be_behind_by_the_skew_and_no_more() {
        let (now, skew) = (Timestamp::from_secs(1_000_000), Seconds(120));
        let judge = |times: &[u64]| {
            let written = |at: &u64| Written { at: Timestamp::from_secs(*at), what: format!("what ada did at {at}") };
            clock(now, &times.iter().map(written).collect::<Vec<_>>(), skew)
        };
        for fine in [&[][..], &[5], &[1_000_120, 5]] {
            assert_eq!(judge(fine).severity, Severity::Ok, "{fine:?}");
        }
        let finding = judge(&[5, 1_000_121, 1_000_000]);
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.what.contains("what ada did at 1000121 was written 2m1s later"), "{finding:?}");
    }
}
