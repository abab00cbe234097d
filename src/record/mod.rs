//! Domain values as text: versioned TOML records, and the only place that spells keys and ref names.
//!
//! Guarantees: what was written is read back equal; a record of a newer version is refused and never misread; no value
//! that the rules accept is larger than a record may be. Knows the domain and the ledger, and nothing else.

mod board;
pub mod keys;
mod memory;
pub mod names;
mod operations;

pub use board::{LedgerBoard, encode_changes, load_board, load_closed};
pub use memory::{decode_entry, encode_entry, entry_key, for_each_entry};
pub use operations::{Recorded, encode_operations, recorded_operations};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ledger::{Fault, VALUE_BYTES_MAX};

/// The version of every record. A reader refuses a higher one.
pub const RECORD_VERSION: u32 = 1;
const VERSION_LINE: &str = "version = 1\n";

/// The text of a record.
///
/// # Panics
/// When it is larger than a record may be: the rules bound everything that goes into one.
pub fn encode<T: Serialize>(what: &str, value: &T) -> Vec<u8> {
    let body = toml::to_string(value).unwrap_or_else(|error| panic!("BUG: {what} cannot be written: {error}"));
    let text = format!("{VERSION_LINE}{body}");
    assert!(text.len() <= VALUE_BYTES_MAX, "BUG: {what} has {} bytes", text.len());
    text.into_bytes()
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
