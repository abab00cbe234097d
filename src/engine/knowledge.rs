//! Project memory: adding an entry, and reading them. The second ledger, with no rules of its own but one: an entry is
//! never changed, except that a newer one may take its place.

use super::error::EngineError;
use super::journal::Journal;
use super::ports::Host;
use crate::domain::memory::{ENTRY_BYTES_MAX, Entry, MemoryKind};
use crate::domain::{Holder, ObjectId, OperationId, Pattern, Refusal};
use crate::ledger::{Decision, Fault, Request, Sharing, Snapshot, Store, transact};
use crate::record;

/// The memory of one clone, for one author.
pub struct Knowledge<'a, S, H, J> {
    /// The ledger.
    pub store: &'a S,
    /// Clock and randomness.
    pub host: &'a H,
    /// Operations under way.
    pub journal: &'a J,
    /// Who writes.
    pub who: Holder,
}

/// An entry to be added.
#[derive(Debug, Clone)]
pub struct NewEntry {
    /// What kind of knowledge it is.
    pub kind: MemoryKind,
    /// One line.
    pub title: String,
    /// The text.
    pub body: String,
    /// Paths it is about.
    pub paths: Vec<Pattern>,
    /// The commit of the code it is written at.
    pub commit: Option<ObjectId>,
    /// The entry it replaces: its id, or the first digits of it.
    pub supersedes: Option<String>,
}

impl<S: Store, H: Host, J: Journal> Knowledge<'_, S, H, J> {
    /// Adds an entry. Writers on other hosts are never overwritten: whoever is second goes after the first.
    pub fn add(&self, new: &NewEntry) -> Result<Entry, EngineError> {
        let printable =
            !new.title.is_empty() && new.title.trim() == new.title && !new.title.chars().any(char::is_control);
        if !printable || new.title.len() > 256 {
            let rule = "use one line of 1 to 256 printable bytes, without a space at either end";
            return Err(Refusal::BadText { what: "title", rule }.into());
        }
        let size = new.title.len() + new.body.len();
        if size > ENTRY_BYTES_MAX {
            let what = "memory entry in bytes";
            return Err(Refusal::TooLarge { what, size, size_max: ENTRY_BYTES_MAX }.into());
        }
        let own = OperationId::parse(&self.host.nonce()).expect("a nonce is an operation id");
        let request = format!("{}\nmemory add {new:?}", self.who);
        let resumed = self.journal.begin(&own, &request, self.store.cached()?.as_ref())?;
        let (id, resumed_from) = resumed.map_or((own, None), |resumed| (resumed.id, Some(resumed.base)));
        let at = self.host.now();
        let request = Request {
            operation: id.as_str(),
            at_secs: at.as_secs(),
            fresh: false,
            resumed_from,
            sharing: Sharing::Alone,
        };
        let entry = |supersedes| Entry {
            id: id.clone(),
            kind: new.kind,
            title: new.title.clone(),
            paths: new.paths.clone(),
            author: self.who.clone(),
            at,
            commit: new.commit.clone(),
            supersedes,
            superseded_by: None,
            body: new.body.clone(),
        };
        let committed = transact(
            self.store,
            self.host,
            &request,
            |snapshot, _| {
                let old = match (&new.supersedes, snapshot) {
                    (None, _) => None,
                    (Some(prefix), None) => return Ok(Decision::Answer(Err(no_entry(prefix)))),
                    (Some(prefix), Some(snapshot)) => match find(snapshot, prefix)? {
                        Ok(old) => Some(old),
                        Err(error) => return Ok(Decision::Answer(Err(error))),
                    },
                };
                let entry = entry(old.as_ref().map(|old| old.id.clone()));
                let old = old.map(|old| Entry { superseded_by: Some(id.clone()), ..old });
                let batch = record::put_entries(snapshot, old.into_iter().chain([entry.clone()]))?;
                let lines = vec![format!("memory {} {} by {}: {}", entry.kind, short(&id), self.who, entry.title)];
                let operations = vec![id.as_str().to_owned()];
                Ok(Decision::Commit { batch, lines, operations, also: Vec::new(), hint: None, value: Some(Ok(entry)) })
            },
            |snapshot| {
                let found = record::find_entry(snapshot, &id)?;
                found.map(Ok).ok_or_else(|| Fault::integrity(format!("the entry {id} is missing")))
            },
        )?;
        self.journal.spent(committed.pushes);
        committed.value
    }

    /// Every entry, the newest first; without those that were replaced, unless `all`.
    pub fn entries(&self, all: bool) -> Result<Vec<Entry>, EngineError> {
        let mut entries = Vec::new();
        if let Some(version) = self.store.refresh()? {
            let snapshot = Snapshot::new(self.store, version);
            record::for_each_entry(&snapshot, |entry| {
                if all || entry.superseded_by.is_none() {
                    entries.push(entry);
                }
            })?;
        }
        entries.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
        Ok(entries)
    }

    /// The entry whose id begins with `prefix`.
    pub fn show(&self, prefix: &str) -> Result<Entry, EngineError> {
        let version = self.store.refresh()?.ok_or_else(|| no_entry(prefix))?;
        find(&Snapshot::new(self.store, version), prefix)?
    }
}

fn find<S: Store>(snapshot: &Snapshot<'_, S>, prefix: &str) -> Result<Result<Entry, EngineError>, Fault> {
    let mut found = Vec::new();
    record::for_each_entry(snapshot, |entry| {
        if entry.id.as_str().starts_with(prefix) {
            found.push(entry);
        }
    })?;
    Ok(match found.len() {
        0 => Err(no_entry(prefix)),
        1 => Ok(found.remove(0)),
        count => Err(EngineError::Impossible {
            what: format!("{count} entries of memory begin with {prefix:?}"),
            hint: "give more digits of the id".to_owned(),
        }),
    })
}

fn no_entry(prefix: &str) -> EngineError {
    EngineError::Impossible {
        what: format!("there is no entry {prefix:?} in memory"),
        hint: "git scrum memory list".to_owned(),
    }
}

/// The digits of an id that are shown.
fn short(id: &OperationId) -> &str {
    &id.as_str()[..8]
}
