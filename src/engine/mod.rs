//! The use cases: what each verb does, on whatever ledger, repository, clock and processes it is given.
//!
//! Everything outside is a port (see [`ports`]): the command line gives the real ones, the simulator gives its own and
//! drives the same code. Must not print, read a clock, or know gix.

mod affected;
mod board;
pub mod branches;
pub mod doctor;
mod error;
mod gc;
mod heartbeat;
mod intents;
mod journal;
mod knowledge;
mod landing;
pub mod nearby;
mod pass;
pub mod ports;
mod promote;
pub mod radar;
mod revert;
mod runs;
mod settings_file;
mod submit;
mod verify;
mod whatif;

pub use board::{Asked, Engine};
pub use error::EngineError;
pub use gc::{Folded, KEPT_FOR, KEPT_VERSIONS, gc};
pub use heartbeat::{Kept, LostClaim, is_gone, latest};
pub use journal::{Journal, NoJournal, Resumed};
pub use knowledge::{Knowledge, NewEntry};
pub use pass::{Check, Outlook, Pass, PassEvent, PassReport, PassSettings};
pub use promote::Promoted;
pub use revert::Reverted;
pub use runs::Said;
pub use settings_file::SettingsFile;
pub use submit::{SubmitRequest, Submitted};
pub use verify::{Astray, Beginning, Verified, verify};
pub use whatif::train_history;
