//! The clock and the randomness of this machine.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::domain::Timestamp;
use crate::engine::ports::Host;
use crate::ledger::Pace;

/// The real machine.
pub struct SystemHost {
    fixed_now: Option<Timestamp>,
}

impl SystemHost {
    /// The machine; with a time at which its clock stands still, for reproducible output.
    pub fn new(fixed_now: Option<Timestamp>) -> SystemHost {
        SystemHost { fixed_now }
    }
}

impl Pace for SystemHost {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    fn now_secs(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.fixed_now.map_or(since.as_secs(), Timestamp::as_secs)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that waits")]
    fn wait(&self, duration: Duration) {
        std::thread::sleep(duration);
    }

    fn nonce(&self) -> String {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes).expect("the system has randomness");
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn below(&self, bound: u64) -> u64 {
        getrandom::u64().expect("the system has randomness") % bound.max(1)
    }
}

impl Host for SystemHost {}
