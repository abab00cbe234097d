//! How long whoever writes to a ledger waits, and by what clock.
//!
//! Guarantees: nothing here decides who is right; whoever lost often waits less and less.

use std::time::Duration;

/// How many times a lock file is waited for: about three seconds in all.
pub(super) const LOCKED_ATTEMPTS_MAX: u32 = 6;

/// Time, waiting and randomness, which the caller owns.
pub trait Pace {
    /// What time it is, in seconds since 1970: a request may be old by the time it is its turn.
    fn now_secs(&self) -> u64;
    /// Waits.
    fn wait(&self, duration: Duration);
    /// 128 random bits as 32 hexadecimal digits.
    fn nonce(&self) -> String;
    /// A random number below `bound`, which is not 0.
    fn below(&self, bound: u64) -> u64;
}

/// How long at most to wait after so many attempts, with full jitter (GIT_FACTS 23): not at all the first time, for
/// then it was mostly the cache that was behind; then wider each time, so that many who begin at once spread out; then
/// less and less, so that whoever lost often gets ahead of those who just won.
pub(super) fn patience_ms(attempts: u32) -> u64 {
    match attempts {
        0 | 1 => 1,
        2..=5 => 25 << attempts.min(4),
        _ => (400 >> ((attempts - 4) / 2).min(6)).max(5),
    }
}
