//! Domain values as text: versioned TOML records, and the only place that spells keys and ref names.
//!
//! Guarantees: what was written is read back equal; a record of a newer version is refused and never misread; a record
//! that no rule would have made is an integrity fault; a value that is larger than a record may be is refused and never
//! written. Knows the domain and the ledger, and nothing else.

mod board;
mod changes;
pub mod keys;
mod memory;
pub mod names;
mod operations;
mod shelf;
mod survey;
mod tasks;

pub use board::{LedgerBoard, load_closed};
pub use changes::encode_changes;
pub use memory::{find_entry, for_each_entry, put_entries};
pub use operations::{Recorded, encode_operations, recorded_operations};
pub use survey::load_board;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ledger::{Fault, VALUE_BYTES_MAX};

/// The version of every record. A reader refuses a higher one.
pub const RECORD_VERSION: u32 = 1;
const VERSION_LINE: &str = "version = 1\n";

/// The text of a record.
pub fn encode<T: Serialize>(what: &str, value: &T) -> Result<Vec<u8>, Fault> {
    versioned(what, &text_of(value)?)
}

fn text_of<T: Serialize>(value: &T) -> Result<String, Fault> {
    toml::to_string(value).map_err(|error| Fault::integrity(format!("a record cannot be written: {error}")))
}

/// A record with this body.
fn versioned(what: &str, body: &str) -> Result<Vec<u8>, Fault> {
    let text = format!("{VERSION_LINE}{body}");
    if text.len() > VALUE_BYTES_MAX {
        let size = text.len();
        return Err(Fault::TooLarge { what: what.to_owned(), size });
    }
    Ok(text.into_bytes())
}

/// The value of a record.
pub fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::integrity(format!("{what} is not text")))?;
    if !text.starts_with(VERSION_LINE) {
        return Err(wrong_version(what, text));
    }
    toml::from_str(text).map_err(|error| Fault::integrity(format!("{what} cannot be read: {}", error.message())))
}

fn wrong_version(what: &str, text: &str) -> Fault {
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    match toml::from_str(text) {
        Ok(Version { version }) if version > RECORD_VERSION => {
            Fault::integrity(format!("{what} was written by a newer git-scrum (version {version}): upgrade this one"))
        }
        _ => Fault::integrity(format!("{what} is not a record of git-scrum")),
    }
}
