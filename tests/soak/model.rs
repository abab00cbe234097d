//! The rules of one task, and of the locks, told a second time and as briefly as can be: what an answer must fit.
//!
//! Written from the manual and not from the program, so that a slip of the program's rules is not repeated here. Time
//! comes in as bounds: a lease that has run out may have been taken back by anybody since, by an operation that the
//! history of this one task does not show; nobody is refused for what had run out before they asked.

use std::collections::BTreeMap;
use std::hash::Hash;

use crate::history::{Answer, Ask, Operation, Refusal};

/// How far clocks may differ in these runs, in seconds: the configured `scrum.tasks.skew`.
pub const SKEW: i64 = 1;

/// After how many failures more than this a task is given up: the program's default.
const RETRIES_MAX: u32 = 2;

/// Something whose history is to be one sequence.
pub trait Model: Clone + Eq + Hash {
    /// The states in which `operation` may leave this one; none if its answer is wrong here.
    fn after(&self, operation: &Operation) -> Vec<Self>;
}

/// One task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Task {
    pub state: State,
    failures: u32,
    /// The last fence it was granted under.
    pub fence: u64,
}

/// What a task is, with what hangs on that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum State {
    #[default]
    Absent,
    Queued,
    Blocked,
    Claimed {
        holder: String,
        until: i64,
    },
    Done,
    Failed,
}

impl State {
    fn name(&self) -> &'static str {
        match self {
            State::Absent => "absent",
            State::Queued => "queued",
            State::Blocked => "blocked",
            State::Claimed { .. } => "claimed",
            State::Done => "done",
            State::Failed => "failed",
        }
    }
}

/// Whether a lease has run out at `now`.
pub fn has_run_out(until: i64, now: i64) -> bool {
    now > until + SKEW
}

impl Task {
    /// The same task, taken back where its lease has run out at `now`.
    pub fn taken_back(&self, now: i64) -> Option<Task> {
        match self.state {
            State::Claimed { until, .. } if has_run_out(until, now) => {
                Some(Task { state: State::Queued, ..self.clone() })
            }
            _ => None,
        }
    }

    fn becoming(&self, state: State) -> Option<Task> {
        Some(Task { state, ..self.clone() })
    }

    /// The task after `who` asked this and was answered that; `None` if that answer is wrong.
    pub fn answering(&self, who: &str, ask: &Ask, answer: &Answer) -> Option<Task> {
        if let Answer::Refused(refusal) = answer {
            return self.refuses(who, ask, refusal).then(|| self.clone());
        }
        match (ask, answer, &self.state) {
            (Ask::Add { .. }, Answer::Done, State::Absent) => self.becoming(State::Queued),
            (Ask::Edit { .. }, Answer::Done, State::Queued | State::Blocked | State::Claimed { .. }) => {
                Some(self.clone())
            }
            (Ask::Block { .. }, Answer::Done, State::Queued | State::Blocked) => self.becoming(State::Blocked),
            (Ask::Unblock { .. }, Answer::Done, State::Blocked) => self.becoming(State::Queued),
            (Ask::Reopen { .. }, Answer::Done, State::Failed) => {
                Some(Task { state: State::Queued, failures: 0, ..self.clone() })
            }
            (Ask::Claim { .. }, Answer::Claimed { fence, until, .. }, State::Queued) if *fence > self.fence => {
                let state = State::Claimed { holder: who.to_owned(), until: *until };
                Some(Task { state, fence: *fence, failures: self.failures })
            }
            (Ask::Renew { fence, .. }, Answer::Renewed { fence: told, until }, State::Claimed { holder, .. })
                if self.is_owned(who, *fence) && *told == self.fence =>
            {
                self.becoming(State::Claimed { holder: holder.clone(), until: *until })
            }
            (Ask::Release { fence, .. }, Answer::Done, State::Claimed { .. }) if self.is_owned(who, *fence) => {
                self.becoming(State::Queued)
            }
            (Ask::Fail { fence, .. }, Answer::Done, State::Claimed { .. }) if self.is_owned(who, *fence) => {
                let failures = self.failures + 1;
                let state = if failures > RETRIES_MAX { State::Failed } else { State::Queued };
                Some(Task { state, failures, ..self.clone() })
            }
            (Ask::Done { fence, .. }, Answer::Done, State::Claimed { .. }) if self.is_owned(who, *fence) => {
                self.becoming(State::Done)
            }
            // Work that nobody had claimed may be found finished.
            (Ask::Done { fence: None, .. }, Answer::Done, State::Queued | State::Blocked) => self.becoming(State::Done),
            _ => None,
        }
    }

    /// Whether `who` has the claim: by the fence they name, or by their name.
    fn is_owned(&self, who: &str, fence: Option<u64>) -> bool {
        match (&self.state, fence) {
            (State::Claimed { .. }, Some(fence)) => fence == self.fence,
            (State::Claimed { holder, .. }, None) => holder == who,
            _ => false,
        }
    }

    /// Whether this is what is to be said against it.
    fn refuses(&self, who: &str, ask: &Ask, refusal: &Refusal) -> bool {
        let code = refusal.code.as_str();
        let wrong_state = code == "wrong-state" && refusal.state.as_deref() == Some(self.state.name());
        let holder = match &self.state {
            State::Claimed { holder, .. } => Some(holder),
            _ => None,
        };
        let names_holder = refusal.holder.as_ref() == holder && refusal.fence == holder.map(|_| self.fence);
        if self.state == State::Absent {
            return code == "no-such-task" && !matches!(ask, Ask::Add { .. });
        }
        match ask {
            Ask::Add { .. } => code == "task-exists",
            Ask::Edit { .. } => wrong_state && matches!(self.state, State::Done | State::Failed),
            Ask::Block { .. } => wrong_state && !matches!(self.state, State::Queued | State::Blocked),
            Ask::Unblock { .. } => wrong_state && self.state != State::Blocked,
            Ask::Reopen { .. } => wrong_state && self.state != State::Failed,
            Ask::Claim { .. } => match self.state {
                State::Claimed { .. } => code == "held" && names_holder,
                State::Queued => false,
                _ => wrong_state,
            },
            Ask::Renew { fence, .. }
            | Ask::Release { fence, .. }
            | Ask::Fail { fence, .. }
            | Ask::Done { fence, .. } => {
                let stale = code == "stale-fence" && names_holder;
                match (fence, holder) {
                    (Some(_), _) => !self.is_owned(who, *fence) && stale,
                    // Without a fence the program may name one that it remembers, of a claim that is over.
                    (None, Some(_)) => !self.is_owned(who, None) && (stale || code == "held" && names_holder),
                    (None, None) => stale || wrong_state,
                }
            }
            Ask::Lock { .. } | Ask::Unlock { .. } => false,
        }
    }
}

impl Model for Task {
    fn after(&self, operation: &Operation) -> Vec<Task> {
        let takes_back = matches!(operation.ask, Ask::Claim { .. });
        let surely = takes_back && self.taken_back(operation.begun.clock).is_some();
        let as_it_is = (!surely).then(|| self.clone());
        let from = as_it_is.into_iter().chain(self.taken_back(operation.ended.clock));
        from.filter_map(|task| task.answering(&operation.holder, &operation.ask, &operation.answer)).collect()
    }
}

/// One lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lock {
    pub holder: String,
    pub pattern: String,
    pub shared: bool,
    pub until: i64,
}

/// All locks, by fence.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Locks(pub BTreeMap<u64, Lock>);

/// The patterns that are locked, and which of them some path could match together.
pub const PATTERNS: [&str; 5] = ["src/**", "src/a.rs", "src/b/*", "docs/*.md", "docs/index.md"];
const OVERLAPS: [(&str, &str); 3] = [("src/**", "src/a.rs"), ("src/**", "src/b/*"), ("docs/*.md", "docs/index.md")];

fn overlap(a: &str, b: &str) -> bool {
    a == b || OVERLAPS.contains(&(a, b)) || OVERLAPS.contains(&(b, a))
}

impl Locks {
    /// The locks that are left when those are taken back that have run out at `now`.
    pub fn taken_back(&self, now: i64) -> Locks {
        Locks(self.0.iter().filter(|(_, lock)| !has_run_out(lock.until, now)).map(|(f, l)| (*f, l.clone())).collect())
    }

    /// The locks after `who` asked this and was answered that; `None` if that answer is wrong.
    pub fn answering(&self, who: &str, ask: &Ask, answer: &Answer) -> Option<Locks> {
        match (ask, answer) {
            (Ask::Lock { pattern, shared, .. }, Answer::Locked { fence, until }) => {
                let unique = self.0.keys().all(|known| known < fence);
                let lock = Lock { holder: who.to_owned(), pattern: pattern.clone(), shared: *shared, until: *until };
                (unique && self.in_the_way(who, pattern, *shared).next().is_none()).then(|| {
                    let mut locks = self.clone();
                    locks.0.insert(*fence, lock);
                    locks
                })
            }
            (Ask::Lock { pattern, shared, .. }, Answer::Refused(no)) => {
                let named =
                    |lock: &Lock| no.holder.as_ref() == Some(&lock.holder) && no.held.as_ref() == Some(&lock.pattern);
                (no.code == "locked" && self.in_the_way(who, pattern, *shared).any(named)).then(|| self.clone())
            }
            (Ask::Unlock { pattern }, Answer::Done) => {
                let mut locks = self.clone();
                locks.0.retain(|_, lock| lock.holder != who || lock.pattern != *pattern);
                (locks != *self).then_some(locks)
            }
            (Ask::Unlock { pattern }, Answer::Refused(no)) => {
                let mut on_it = self.0.values().filter(|lock| lock.pattern == *pattern).peekable();
                let right = match no.code.as_str() {
                    "not-locked" => on_it.peek().is_none(),
                    "locked" => on_it.clone().any(|lock| no.holder.as_ref() == Some(&lock.holder)),
                    _ => false,
                };
                (right && on_it.all(|lock| lock.holder != who)).then(|| self.clone())
            }
            _ => None,
        }
    }

    fn in_the_way<'a>(&'a self, who: &'a str, pattern: &'a str, shared: bool) -> impl Iterator<Item = &'a Lock> {
        let met = move |lock: &&Lock| lock.holder != who && !(shared && lock.shared) && overlap(&lock.pattern, pattern);
        self.0.values().filter(met)
    }
}

impl Model for Locks {
    fn after(&self, operation: &Operation) -> Vec<Locks> {
        // Whoever took back what had run out did it at some second: each that makes a difference is tried.
        let (begun, ended) = (operation.begun.clock, operation.ended.clock);
        let mut moments: Vec<i64> =
            self.0.values().map(|lock| lock.until + SKEW + 1).filter(|at| *at <= ended).collect();
        // Whoever is refused had looked; whoever is not may have had no need to.
        if matches!(operation.ask, Ask::Lock { .. }) && !operation.answer.is_applied() {
            moments.retain(|at| *at > begun);
            moments.push(begun);
        } else {
            moments.push(i64::MIN);
        }
        moments.sort_unstable();
        moments.dedup();
        let refused = !operation.answer.is_applied();
        let next = |at: i64| {
            let locks = self.taken_back(at);
            let after = locks.answering(&operation.holder, &operation.ask, &operation.answer)?;
            // Whoever is refused has taken nothing back: what had run out was only not in the way.
            Some(if refused && at <= begun { self.clone() } else { after })
        };
        moments.into_iter().filter_map(next).collect()
    }
}
