//! Why a use case ended without its result: a refusal by the rules, a fault outside, or an unknown outcome.

use crate::domain::{Refusal, Stop};
use crate::ledger::{Fault, TransactError};

/// Why a use case ended without its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineError {
    /// The rules say no.
    Refused(Refusal),
    /// The server says no, and will the next time.
    Forbidden {
        /// The ref that was refused.
        ref_name: String,
        /// The server's words.
        reason: String,
    },
    /// Something outside failed.
    Fault(Fault),
    /// Nobody knows whether it was applied; running it again is safe.
    Unknown {
        /// What is known of why.
        reason: String,
    },
    /// A lock file is in the way of a ref.
    Locked {
        /// What was said of it.
        reason: String,
    },
    /// Others were faster, every time.
    Exhausted {
        /// How many times it was tried.
        attempts: u32,
    },
    /// A ref that was to move along was moved by somebody else.
    Moved {
        /// Which.
        ref_name: String,
    },
    /// The server cannot move several refs in one push.
    NotAtomic,
    /// Two changes of the code do not go together.
    Conflict {
        /// Which.
        what: String,
        /// Where.
        paths: Vec<String>,
        /// What to do about it.
        hint: String,
    },
    /// The request itself cannot be carried out, for a reason outside the rules.
    Impossible {
        /// What is wrong, with the fact behind it.
        what: String,
        /// What to do about it.
        hint: String,
    },
}

impl From<Fault> for EngineError {
    fn from(fault: Fault) -> Self {
        EngineError::Fault(fault)
    }
}

impl From<Refusal> for EngineError {
    fn from(refusal: Refusal) -> Self {
        EngineError::Refused(refusal)
    }
}

impl From<TransactError<Fault>> for EngineError {
    fn from(error: TransactError<Fault>) -> Self {
        match error {
            TransactError::Decide(fault) | TransactError::Fault(fault) => EngineError::Fault(fault),
            TransactError::Unknown { reason } => EngineError::Unknown { reason },
            TransactError::Refused { ref_name, reason } => EngineError::Forbidden { ref_name, reason },
            TransactError::Locked { reason } => EngineError::Locked { reason },
            TransactError::Moved { ref_name } => EngineError::Moved { ref_name },
            TransactError::NotAtomic => EngineError::NotAtomic,
            TransactError::Exhausted { attempts } => EngineError::Exhausted { attempts },
        }
    }
}

impl From<Stop<Fault>> for EngineError {
    fn from(stop: Stop<Fault>) -> Self {
        match stop {
            Stop::Refused(refusal) => EngineError::Refused(refusal),
            Stop::Fault(fault) => EngineError::Fault(fault),
        }
    }
}
