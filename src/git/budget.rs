//! How often a clone pushes: hosts of repositories recommend a limit, and slow down whoever does not keep to it.
//!
//! A token bucket in a file that all processes of the clone share. Guarantees: over any length of time no more pushes
//! than the limit allows, after one minute's worth at once; no push before the time that a server asked to wait for;
//! whoever has to wait goes in the order of asking. A file that cannot be used limits nothing: pushes matter more.

#![expect(clippy::disallowed_methods, reason = "an adapter: it owns its file, and reads the clock to wait")]

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often GitHub recommends to push to one repository at most, in a minute
/// (docs.github.com/en/repositories/creating-and-managing-repositories/repository-limits).
const GITHUB_PER_MINUTE: u32 = 6;
/// The longest pause that a server may ask for: what asks for more is not believed.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// The limit of one clone for one remote.
#[derive(Debug)]
pub struct PushBudget {
    file: PathBuf,
    per_minute: u32,
}

impl PushBudget {
    /// A budget kept in `file`: at most `per_minute` pushes, or as many as one likes where that is 0.
    pub fn new(file: PathBuf, per_minute: u32) -> PushBudget {
        PushBudget { file, per_minute }
    }

    /// How many pushes in a minute the host of `url` recommends; 0: it says nothing.
    pub fn recommended(url: &str) -> u32 {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host).to_ascii_lowercase();
        if host == "github.com" || host.ends_with(".github.com") { GITHUB_PER_MINUTE } else { 0 }
    }

    /// Waits until a push may be made, and counts it.
    pub(super) fn take(&self) {
        if self.per_minute == 0 && !self.file.exists() {
            return;
        }
        let wait = self.change(|bucket, now_ms| bucket.take(now_ms, self.per_minute));
        std::thread::sleep(Duration::from_millis(wait.unwrap_or(0)));
    }

    /// Makes no push for a while, as the server has asked.
    pub(super) fn pause(&self, pause: Duration) {
        let pause_ms = pause.min(PAUSE_MAX).as_millis() as u64;
        self.change(|bucket, now_ms| bucket.closed_until_ms = bucket.closed_until_ms.max(now_ms + pause_ms));
    }

    /// Changes the bucket in its file, which nobody else does meanwhile.
    fn change<T>(&self, change: impl FnOnce(&mut Bucket, u64) -> T) -> Option<T> {
        fs::create_dir_all(self.file.parent()?).ok()?;
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&self.file).ok()?;
        let mut lock = fd_lock::RwLock::new(file);
        let mut file = lock.write().ok()?;
        let mut text = String::new();
        (&mut *file).take(100).read_to_string(&mut text).ok()?;
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_millis() as u64;
        let mut bucket = Bucket::read(&text).unwrap_or(Bucket::full(now_ms));
        let result = change(&mut bucket, now_ms);
        file.rewind().ok()?;
        file.set_len(0).ok()?;
        file.write_all(bucket.text().as_bytes()).ok()?;
        Some(result)
    }
}

/// Pushes that may be made, in thousandths of a minute's worth; below 0 where some are waited for already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bucket {
    level: i64,
    at_ms: u64,
    closed_until_ms: u64,
}

/// A minute's worth.
const FULL: i64 = 60_000;

impl Bucket {
    fn full(now_ms: u64) -> Bucket {
        Bucket { level: FULL, at_ms: now_ms, closed_until_ms: 0 }
    }

    fn read(text: &str) -> Option<Bucket> {
        let mut numbers = text.split_whitespace();
        let (level, at, closed) = (numbers.next()?, numbers.next()?, numbers.next()?);
        Some(Bucket { level: level.parse().ok()?, at_ms: at.parse().ok()?, closed_until_ms: closed.parse().ok()? })
    }

    fn text(self) -> String {
        format!("{} {} {}\n", self.level, self.at_ms, self.closed_until_ms)
    }

    /// Takes one push out of the bucket. Gives for how many milliseconds it has to wait.
    fn take(&mut self, now_ms: u64, per_minute: u32) -> u64 {
        // A clock that was set back, or far forward by somebody else's, must not close the bucket for days.
        if now_ms < self.at_ms || self.closed_until_ms > now_ms + PAUSE_MAX.as_millis() as u64 {
            *self = Bucket::full(now_ms);
        }
        // The level rises by one for each millisecond; a push costs its part of a minute.
        let passed = i64::try_from(now_ms - self.at_ms).unwrap_or(FULL);
        self.level = self.level.saturating_add(passed).min(FULL);
        self.at_ms = now_ms;
        let cost = if per_minute == 0 { 0 } else { FULL / i64::from(per_minute) };
        self.level -= cost;
        u64::try_from(-self.level).unwrap_or(0).max(self.closed_until_ms.saturating_sub(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_goes_at_once_and_then_one_after_the_other() {
        let mut bucket = Bucket::full(1_000);
        let waits: Vec<u64> = (0..8).map(|_| bucket.take(1_000, 6)).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 10_000, 20_000]);
        assert_eq!(bucket.take(21_000, 6), 10_000, "the two before it were waited for");
        assert_eq!(bucket.take(200_000, 6), 0);
        assert_eq!(Bucket::read(&bucket.text()), Some(bucket));
    }

    #[test]
    fn a_server_that_asks_for_a_pause_gets_it_and_a_clock_that_jumps_does_not() {
        let mut bucket = Bucket { closed_until_ms: 31_000, ..Bucket::full(1_000) };
        assert_eq!((bucket.take(1_000, 0), bucket.take(30_000, 6), bucket.take(31_000, 6)), (30_000, 1_000, 0));
        let mut ahead = Bucket { level: -1_000_000, ..Bucket::full(9_000_000_000) };
        assert_eq!(ahead.take(1_000, 6), 0);
    }

    #[test]
    fn some_hosts_recommend_a_limit() {
        for url in ["https://github.com/o/r", "git@github.com:o/r.git", "ssh://git@ssh.github.com:443/o/r.git"] {
            assert_eq!(PushBudget::recommended(url), 6, "{url}");
        }
        for url in ["/srv/github.com/r.git", "../github.com", "https://git.example.com/github.com/r", "host:r.git"] {
            assert_eq!(PushBudget::recommended(url), 0, "{url}");
        }
    }
}
