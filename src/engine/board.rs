//! One operation on the board: load, decide, commit, retry.

use std::cell::Cell;

use super::error::EngineError;
use super::journal::Journal;
use super::ports::Host;
use crate::domain::{Command, Holder, Operation, OperationId, Outcome, Refusal, Seconds, Stop, rules};
use crate::ledger::{Committed, Decision, Fault, RefUpdate, Request, Snapshot, Store, Version, transact};
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
        Engine { store, host, journal, who, skew, pushes: Cell::new(0) }
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
        let own = OperationId::parse(&self.host.nonce()).expect("a nonce is an operation id");
        let mut resumed = None;
        if how.journaled {
            // Agents of one clone ask the same in their own names.
            let request = format!("{}\n{}", self.who, toml::to_string(&command).unwrap_or_default());
            resumed = self.journal.begin(&own, &request, self.store.cached()?.as_ref())?;
        }
        let (id, resumed_from) = resumed.map_or((own, None), |resumed| (resumed.id, Some(resumed.base)));
        let operation = Operation { id, by: self.who.clone(), at: self.host.now(), skew: self.skew, command };
        let ids = [operation.id.as_str().to_owned()];
        let resumed = resumed_from.is_some();
        let request = Request { operations: &ids, at_secs: operation.at.as_secs(), fresh: how.fresh, resumed_from };
        let committed: Committed<Result<Outcome, Refusal>> = transact(
            self.store,
            self.host,
            &request,
            |snapshot| decide(snapshot, &operation, &how.also),
            |snapshot| recover(snapshot, &operation.id),
        )?;
        self.pushes.set(self.pushes.get() + committed.pushes);
        Ok(Asked { outcome: committed.value?, version: committed.version, resumed })
    }
}

fn decide<S: Store>(
    snapshot: Option<&Snapshot<'_, S>>,
    operation: &Operation,
    also: &[RefUpdate],
) -> Result<Decision<Result<Outcome, Refusal>>, Fault> {
    let board = LedgerBoard::new(snapshot);
    match rules::decide(&board, operation) {
        Ok((changes, outcome)) if changes.is_empty() => Ok(Decision::Answer(Ok(outcome))),
        Ok((changes, outcome)) => {
            let mut batch = encode_changes(&board, &changes)?;
            let lines = vec![operation.line(&outcome)];
            let recorded = Recorded { operation: operation.clone(), outcome: outcome.clone() };
            encode_operations(snapshot, std::slice::from_ref(&recorded), &mut batch)?;
            Ok(Decision::Commit { batch, lines, also: also.to_vec(), value: Ok(outcome) })
        }
        Err(Stop::Refused(refusal)) => Ok(Decision::Answer(Err(refusal))),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

/// The outcome of an operation that is found applied: as it was recorded then.
fn recover<S: Store>(snapshot: &Snapshot<'_, S>, id: &OperationId) -> Result<Result<Outcome, Refusal>, Fault> {
    let recorded = recorded_operations(snapshot)?.into_iter().find(|recorded| recorded.operation.id == *id);
    match recorded {
        Some(recorded) => Ok(Ok(recorded.outcome)),
        None => Err(Fault::integrity(format!("{} names operation {id} but does not hold it", snapshot.version()))),
    }
}
