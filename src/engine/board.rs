//! One operation on the board: load, decide, commit, retry.

use std::cell::Cell;

use super::error::EngineError;
use super::intents::{self, Due};
use super::journal::Journal;
use super::ports::Host;
use crate::domain::board::{Board, Changes, Draft};
use crate::domain::claim::Overdue;
use crate::domain::{
    Command, Fence, Holder, Operation, OperationId, Outcome, Refusal, Seconds, Stop, TaskId, Timestamp, rules,
};
use crate::ledger::{
    Committed, Decision, Fault, RefUpdate, Request, Round, Sharing, Snapshot, Store, Version, transact,
};
use crate::planted::{self, Bug};
use crate::record::{LedgerBoard, Recorded, encode_changes, encode_operations, recorded_operations};

/// The board of one clone, for one asker.
pub struct Engine<'a, S, H, J> {
    /// The ledger.
    pub store: &'a S,
    /// Clock and randomness.
    pub host: &'a H,
    /// Operations under way.
    pub journal: &'a J,
    /// Who asks.
    pub who: Holder,
    /// How far clocks may differ.
    pub skew: Seconds,
    /// Whether operations are applied together with those of others.
    pub combines: bool,
    /// How many pushes this engine has tried: pushes are what hosts of repositories limit.
    pub pushes: Cell<u32>,
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The outcome.
    pub outcome: Outcome,
    /// The version of the board in which it holds.
    pub version: Option<Version>,
    /// Whether an earlier process, now gone, had begun it.
    pub resumed: bool,
}

/// How often a refusal is looked into again for what has run out meanwhile.
const LOOKS_MAX: u32 = 2;

/// The answer of the rules, the version it holds in, and whether an earlier process had begun the operation.
type Run = (Result<Outcome, Refusal>, Option<Version>, bool);

/// How an operation is to be run.
#[derive(Default)]
pub(super) struct How {
    /// Refs that move in the same push.
    pub also: Vec<RefUpdate>,
    /// Ask the truth first.
    pub fresh: bool,
    /// Take up the same request of a killed process, and be found by the next if this one is killed.
    pub journaled: bool,
}

impl<'a, S: Store, H: Host, J: Journal> Engine<'a, S, H, J> {
    /// An engine for `who`.
    pub fn new(store: &'a S, host: &'a H, journal: &'a J, who: Holder, skew: Seconds) -> Self {
        Engine { store, host, journal, who, skew, combines: true, pushes: Cell::new(0) }
    }

    /// Runs one command. A request that an earlier process of this clone was killed over is taken up again.
    pub fn ask(&self, command: Command) -> Result<Asked, EngineError> {
        self.run(command, &How { journaled: true, ..How::default() })
    }

    /// Reads the board: the present version with `fresh`, or else the last one seen, asking where none was.
    pub fn read<T>(
        &self,
        fresh: bool,
        read: impl FnOnce(&LedgerBoard<'_, '_, S>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let version = match (fresh, self.store.cached()?) {
            (false, Some(version)) => Some(version),
            _ => self.store.refresh()?,
        };
        let Some(version) = version else { return Err(Refusal::NoBoard.into()) };
        read(&LedgerBoard::new(Some(&Snapshot::new(self.store, version))))
    }

    /// Reads the board in one version.
    pub fn read_at<T>(
        &self,
        version: &Version,
        read: impl FnOnce(&LedgerBoard<'_, '_, S>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        read(&LedgerBoard::new(Some(&Snapshot::new(self.store, version.clone()))))
    }

    pub(super) fn run(&self, command: Command, how: &How) -> Result<Asked, EngineError> {
        let command = rules::clipped(command);
        for look in 0.. {
            let at = self.host.now();
            // Before anything is begun: a look that fails leaves an earlier process's operation to be taken up.
            let overdue = self.overdue(&command, at, look > 0)?;
            if look > 0 && how.journaled {
                // What was refused is settled; from here on it is another operation.
                self.journal.delivered();
            }
            let (value, version, resumed) = self.run_once(&command, at, &overdue, how)?;
            let may_look = look < LOOKS_MAX && value.is_err() && rules::recovers(&command);
            match version.as_ref().filter(|_| may_look) {
                Some(version) if self.overlooked(version, &overdue, at) => {}
                _ => {
                    let outcome = value.map_err(|refusal| self.kept(refusal, version.as_ref()))?;
                    return Ok(Asked { outcome, version, resumed });
                }
            }
        }
        unreachable!("BUG: the last look is final")
    }

    fn run_once(&self, command: &Command, at: Timestamp, overdue: &[Overdue], how: &How) -> Result<Run, EngineError> {
        let nonce = planted::nonce(self.host.nonce(), &(command, at));
        let own = OperationId::parse(&nonce).expect("a nonce is an operation id");
        let mut resumed = None;
        if how.journaled {
            // Agents of one clone ask the same in their own names.
            let request = format!("{}\n{}", self.who, toml::to_string(command).unwrap_or_default());
            resumed = self.journal.begin(&own, &request, self.store.cached()?.as_ref())?;
        }
        let resumed = resumed.filter(|_| !planted::is(Bug::JournalIgnored));
        let (id, resumed_from) = resumed.map_or((own, None), |resumed| (resumed.id, Some(resumed.base)));
        let (by, command, overdue) = (self.who.clone(), command.clone(), Some(overdue.to_vec()));
        let operation = Operation { id, by, at, skew: self.skew, overdue, command };
        let resumed = resumed_from.is_some();
        let request = Request {
            operation: operation.id.as_str(),
            at_secs: operation.at.as_secs(),
            fresh: how.fresh,
            resumed_from,
            sharing: match (self.combines, how.also.is_empty()) {
                (false, _) => Sharing::Alone,
                (true, true) => intents::shared(&operation),
                // What moves other refs needs objects that only this clone may have.
                (true, false) => Sharing::Applies,
            },
        };
        let committed: Committed<Result<Outcome, Refusal>> = transact(
            self.store,
            self.host,
            &request,
            |snapshot, round| decide(snapshot, &operation, &how.also, round),
            |snapshot| self.recover(snapshot, &operation),
        )?;
        self.pushes.set(self.pushes.get() + committed.pushes);
        self.journal.spent(committed.pushes);
        Ok((committed.value, committed.version, resumed))
    }

    /// The outcome of an operation that is found applied: as it was recorded then. Why one was refused is found out
    /// again, by the rules.
    fn recover(&self, snapshot: &Snapshot<'_, S>, operation: &Operation) -> Result<Result<Outcome, Refusal>, Fault> {
        let (id, version) = (&operation.id, snapshot.version());
        let recorded = recorded_operations(snapshot)?;
        let Some(nth) = recorded.iter().position(|recorded| recorded.operation.id == *id) else {
            return Err(Fault::integrity(format!("{version} names operation {id} but does not hold it")));
        };
        if recorded[nth].outcome != Outcome::Refused {
            return Ok(Ok(recorded[nth].outcome.clone()));
        }
        let parent = self.store.history(version, None, 1)?.pop().and_then(|entry| entry.parent);
        let parent = parent.map(|parent| Snapshot::new(self.store, parent));
        let board = LedgerBoard::new(parent.as_ref());
        let mut draft = Draft::new(&board);
        for earlier in &recorded[..nth] {
            if let Some(changes) = ruled(rules::decide(&draft, &earlier.operation))?.ok().map(|(changes, _)| changes) {
                draft.absorb(changes);
            }
        }
        let Err(refusal) = ruled(rules::decide(&draft, &recorded[nth].operation))? else {
            return Err(Fault::integrity(format!("{version} refuses operation {id}, and the rules allow it")));
        };
        Ok(Err(refusal))
    }
}

/// What the rules say of the request's own operation, and of such of others as go along.
fn decide<S: Store>(
    snapshot: Option<&Snapshot<'_, S>>,
    operation: &Operation,
    also: &[RefUpdate],
    round: &Round<'_>,
) -> Result<Decision<Result<Outcome, Refusal>>, Fault> {
    let decided = decide_together(snapshot, operation, also, round);
    if decided.is_err() && !round.others.is_empty() {
        // Whatever is wrong with the others', it is not this one's fault.
        return decide_together(snapshot, operation, also, &Round { others: &[], ..*round });
    }
    decided
}

/// Why an operation is refused, in words that are true of the board as it stands. What the operation would have taken
/// back first is not taken back by a "no": its holder may go on with it, and then nobody must have been told otherwise.
fn as_it_stands<B: Board<Fault = Fault>>(board: &B, operation: &Operation, refusal: Refusal) -> Result<Refusal, Fault> {
    // Who wants to have something is told what is in the way besides.
    let grants = matches!(operation.command, Command::Claim { .. } | Command::Lock { .. });
    if grants || operation.overdue.as_ref().is_none_or(Vec::is_empty) {
        return Ok(refusal);
    }
    let alone = Operation { overdue: Some(Vec::new()), ..operation.clone() };
    Ok(ruled(rules::decide(board, &alone))?.err().unwrap_or(refusal))
}

fn decide_together<S: Store>(
    snapshot: Option<&Snapshot<'_, S>>,
    operation: &Operation,
    also: &[RefUpdate],
    round: &Round<'_>,
) -> Result<Decision<Result<Outcome, Refusal>>, Fault> {
    let board = LedgerBoard::new(snapshot);
    let mut draft = Draft::new(&board);
    let mut applied: Vec<Recorded> = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    let mut granted: Vec<Fence> = Vec::new();
    let mut answer = None;
    let mut moves = false;
    let mut settles = false;
    let mut postponed = false;
    for Due { operation, binding, earlier, own } in intents::in_order(operation, round) {
        // Without a board there is nothing that a "no" could be recorded on.
        let binding = binding && snapshot.is_some() && !planted::is(Bug::RefusalUnrecorded);
        let ruling = ruled(rules::decide(&draft, &operation))?;
        let mut value = ruling.as_ref().map(|(_, outcome)| outcome.clone()).map_err(Refusal::clone);
        if let (true, Err(refusal)) = (own, &mut value) {
            *refusal = as_it_stands(&draft, &operation, refusal.clone())?;
        }
        let (changes, outcome) = ruling.unwrap_or_else(|_| (Changes::default(), Outcome::Refused));
        let recorded = binding || !changes.is_empty();
        // Whoever is granted something looks it up in the version that granted it: there it has to be.
        let undoes = granted.iter().any(|fence| changes.grants.contains_key(fence));
        if own && settles && (undoes || postponed) {
            // Whatever else is said, what was asked here before comes first.
            break;
        }
        // What the others ask for may never come to pass: it is no ground for a "no".
        if own && (undoes || (!recorded && !applied.is_empty())) {
            return decide_together(snapshot, &operation, also, &Round { others: &[], ..*round });
        }
        if undoes {
            postponed |= earlier;
            continue;
        }
        if own {
            if !recorded {
                // The others are left to themselves: there is nothing to publish on their behalf.
                return Ok(Decision::Answer(value));
            }
            answer = Some(value);
            moves = !changes.is_empty();
        }
        if recorded {
            lines.push(line(&draft, &operation, &outcome, &changes)?);
            granted.extend(changes.grants.iter().filter(|(_, grant)| grant.is_some()).map(|(fence, _)| *fence));
            draft.absorb(changes);
            applied.push(Recorded { operation, outcome });
            settles |= earlier;
        }
    }
    let changes = draft.into_changes();
    // See `Engine::overdue`: what is granted from here on can only bring the end of the calm nearer.
    let granted = changes.grants.values().flatten();
    let calm = snapshot.and_then(Snapshot::hint).map(|calm_secs| calm_secs.min(rules::calm_secs(granted)));
    let mut batch = encode_changes(&board, &changes)?;
    encode_operations(snapshot, &applied, &mut batch)?;
    Ok(Decision::Commit {
        batch,
        lines,
        operations: applied.iter().map(|recorded| recorded.operation.id.as_str().to_owned()).collect(),
        // Other refs move with what is changed, not with a "no".
        also: if moves { also.to_vec() } else { Vec::new() },
        hint: calm,
        value: answer,
    })
}

/// The line of an operation for the log, with what it took back beside its own business. A claim says that itself.
fn line<B: Board<Fault = Fault>>(
    board: &B,
    operation: &Operation,
    outcome: &Outcome,
    changes: &Changes,
) -> Result<String, Fault> {
    let taken = match operation.command {
        Command::Claim { .. } => Vec::new(),
        _ => rules::taken_back(board, operation, changes)?,
    };
    let taken: Vec<&str> = taken.iter().map(TaskId::as_str).collect();
    let expired = if taken.is_empty() { String::new() } else { format!(", expired {}", taken.join(" ")) };
    Ok(operation.line(outcome) + &expired)
}

/// A refusal is an answer, and a fault is none.
fn ruled<T>(ruling: Result<T, Stop<Fault>>) -> Result<Result<T, Refusal>, Fault> {
    match ruling {
        Ok(value) => Ok(Ok(value)),
        Err(Stop::Refused(refusal)) => Ok(Err(refusal)),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::time::Duration;

    use super::*;
    use crate::domain::command::NewTask;
    use crate::domain::{Branch, Priority};
    use crate::engine::journal::Resumed;
    use crate::ledger::{Intent, MemoryClone, MemoryRemote, Message, Pace, Pending};
    use crate::record::encode;

    fn operation(nth: u64, by: &str, command: Command) -> Operation {
        let id = OperationId::parse(&format!("{nth:032x}")).expect("hexadecimal digits");
        let by = Holder::parse(by).expect("a word");
        Operation { id, by, at: Timestamp::from_secs(nth), skew: Seconds(0), overdue: None, command }
    }

    /// What is decided at `version`, and the version that it makes if it makes one.
    fn decided(
        store: &MemoryClone,
        version: Option<&Version>,
        operation: &Operation,
        others: &[Pending],
    ) -> (Result<Outcome, Refusal>, Option<Version>) {
        let snapshot = version.map(|version| Snapshot::new(store, version.clone()));
        let round = Round { others, binding: false };
        match decide(snapshot.as_ref(), operation, &[], &round).expect("nothing is broken") {
            Decision::Answer(value) => (value, None),
            Decision::Commit { batch, lines, operations, value, .. } => {
                let message = Message { lines, operations, nonce: operation.id.as_str().to_owned() };
                let value = value.expect("nothing was asked here before");
                (value, Some(store.write(version, &batch, &message, 0).expect("memory is writable")))
            }
        }
    }

    /// A board on which `a` has added task 1.
    fn with_task_1(store: &MemoryClone) -> Option<Version> {
        let target = Branch::parse("main").expect("a branch");
        let task = NewTask {
            id: None,
            title: "One".to_owned(),
            priority: Priority::ALL[0],
            kind: None,
            size: None,
            labels: Vec::new(),
            needs: Vec::new(),
            paths: Vec::new(),
            body: String::new(),
        };
        let (_, version) = decided(store, None, &operation(1, "a", Command::Init { target }), &[]);
        decided(store, version.as_ref(), &operation(2, "a", Command::Add(task)), &[]).1
    }

    fn claim_of(task: &TaskId, lease_secs: u64) -> Command {
        Command::Claim {
            task: Some(task.clone()),
            team: None,
            labels: Vec::new(),
            count: 1,
            lease: Seconds(lease_secs),
            branch_template: "{id}".to_owned(),
        }
    }

    /// An operation that others apply.
    fn pending(operation: &Operation, base: Option<&Version>) -> Pending {
        let payload = encode("an intent", operation).expect("it can be written");
        let intent = Intent { id: operation.id.as_str().to_owned(), base: base.cloned().expect("one"), payload };
        Pending { intent, binding: true, earlier: false }
    }

    #[test]
    fn nobody_is_refused_for_what_another_has_only_asked_for() {
        let store = MemoryClone::new(MemoryRemote::new(), "refs/scrum/board");
        let (id, version) = (TaskId::parse("1").expect("an id"), with_task_1(&store));
        let others = [pending(&operation(3, "b", claim_of(&id, 60)), version.as_ref())];
        let renew = operation(4, "a", Command::Renew { task: id, fence: None, lease: None });
        let (answer, published) = decided(&store, version.as_ref(), &renew, &others);
        assert!(matches!(answer, Err(Refusal::WrongState { .. })), "{answer:?}");
        assert_eq!(published, None);
    }

    #[test]
    fn what_was_asked_before_comes_first_also_where_that_takes_two_versions() {
        let store = MemoryClone::new(MemoryRemote::new(), "refs/scrum/board");
        let (id, version) = (TaskId::parse("1").expect("an id"), with_task_1(&store));
        let claim = operation(3, "b", claim_of(&id, 60));
        let cancel = operation(4, "a", Command::Cancel { task: id.clone(), reason: None });
        // Nobody would hear of a claim that is undone in the same version.
        let earlier = |operation| Pending { earlier: true, ..pending(operation, version.as_ref()) };
        let others = [earlier(&claim), earlier(&cancel)];
        let own = operation(5, "a", Command::Renew { task: id, fence: None, lease: None });
        let snapshot = version.clone().map(|version| Snapshot::new(&store, version));
        let round = Round { others: &others, binding: true };
        let decided = decide(snapshot.as_ref(), &own, &[], &round).expect("nothing is broken");
        let Decision::Commit { operations, value, .. } = decided else { panic!("something is to be published") };
        assert_eq!((operations, value), (vec![claim.id.as_str().to_owned()], None), "and then it is decided anew");
    }

    /// A machine at whose clock it is always the same time.
    struct At(u64, Cell<u64>);

    impl Pace for At {
        fn now_secs(&self) -> u64 {
            self.0
        }

        fn wait(&self, _: Duration) {}

        fn nonce(&self) -> String {
            self.1.set(self.1.get() + 1);
            format!("{:032x}", 1000 + self.1.get())
        }

        fn below(&self, _: u64) -> u64 {
            0
        }
    }

    impl Host for At {}

    /// The journal of a clone in which a process was killed over an operation, until that is delivered.
    struct Interrupted(RefCell<Option<Resumed>>);

    impl Journal for Interrupted {
        fn begin(&self, _: &OperationId, _: &str, _: Option<&Version>) -> Result<Option<Resumed>, Fault> {
            Ok(self.0.borrow().clone())
        }

        fn delivered(&self) {
            self.0.replace(None);
        }
    }

    #[test]
    fn a_no_that_was_recorded_beside_what_took_its_ground_away_is_looked_into() {
        let store = MemoryClone::new(MemoryRemote::new(), "refs/scrum/board");
        let (id, added) = (TaskId::parse("1").expect("an id"), with_task_1(&store));
        let (_, held) = decided(&store, added.as_ref(), &operation(3, "gone", claim_of(&id, 1)), &[]);
        // It asked before it knew of the claim, and another host applied that beside its own, which did know.
        let late = Operation { overdue: Some(Vec::new()), ..operation(7, "late", claim_of(&id, 60)) };
        let others = [pending(&late, held.as_ref())];
        let (answer, both) = decided(&store, held.as_ref(), &operation(8, "first", claim_of(&id, 60)), &others);
        assert!(matches!(answer, Ok(Outcome::Claimed { .. })), "{answer:?}");
        let both = both.expect("it was granted");
        let published = store.publish(None, &both, &[]).expect("memory is writable");
        assert_eq!(published, crate::ledger::Outcome::Applied);
        let interrupted = Interrupted(RefCell::new(Some(Resumed { id: late.id.clone(), base: held })));
        let (host, late) = (At(7, Cell::new(0)), late.by);
        let engine = Engine::new(&store, &host, &interrupted, late, Seconds(0));
        let Err(EngineError::Refused(Refusal::Held { holder, .. })) = engine.ask(claim_of(&id, 60)) else {
            panic!("somebody has it");
        };
        assert_eq!(holder.as_str(), "first", "whose lease had not run out");
    }
}
