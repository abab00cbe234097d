//! Many workers at once, each doing one operation after the other, and what their operations took.
//!
//! Guarantees: nothing is begun once the time is up, and everything that was begun is finished and counted. An
//! operation takes as long as its worker waits for it, with every time it had to be asked for again. One that was
//! under way when the time was up counts with all that it took, so that who never got through in time weighs in the
//! quantiles; but not as done in time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::measure::{cpu_ms, processors};

/// How often in a row the same operation may fail.
const FAILURES_MAX: usize = 20;

/// When workers stop beginning.
#[derive(Clone, Copy)]
pub struct Limit {
    /// After this long.
    pub time: Duration,
    /// When they have done so many together.
    pub operations: usize,
}

/// What one attempt at an operation came to.
pub enum Attempt {
    /// It is done.
    Done,
    /// It failed, for this reason.
    Failed(String),
    /// There is nothing left to do, for anybody.
    Idle,
}

/// One operation, in time since all began.
#[derive(Clone, Copy)]
struct Span {
    begun: Duration,
    ended: Duration,
}

/// What the workers did.
pub struct Load {
    spans: Vec<Span>,
    /// When the time was up.
    until: Duration,
    /// The part of all processors that was in use from the beginning to the end, by whomever this process started.
    pub cpu: f64,
    /// Why attempts failed.
    pub failures: Vec<String>,
    /// Whether there was nothing left to do before the time was up.
    pub idle: bool,
}

impl Load {
    /// How many operations were done, also after the time was up.
    pub fn count(&self) -> usize {
        self.spans.len()
    }

    /// How many were under way when the time was up.
    pub fn late(&self) -> usize {
        self.spans.iter().filter(|span| span.ended > self.until).count()
    }

    /// How many were done in time, for each second of it.
    pub fn per_second(&self) -> f64 {
        (self.count() - self.late()) as f64 / self.until.as_secs_f64()
    }

    /// The seconds that this part of the operations took at most.
    pub fn quantile(&self, part: f64) -> f64 {
        let mut took: Vec<Duration> = self.spans.iter().map(|span| span.ended - span.begun).collect();
        took.sort();
        let last = took.len().saturating_sub(1);
        took.get((last as f64 * part).ceil() as usize).map_or(f64::NAN, Duration::as_secs_f64)
    }
}

/// Runs the workers, a thread for each. A worker is called for one attempt at its next operation.
///
/// # Panics
/// Where an operation does not get through, and where a worker panics.
pub fn drive(limit: Limit, workers: Vec<impl FnMut() -> Attempt + Send>) -> Load {
    let (spans, failures) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let (done, idle) = (AtomicUsize::new(0), AtomicBool::new(false));
    let cpu = cpu_ms();
    let start = Instant::now();
    let is_over = || {
        start.elapsed() >= limit.time
            || done.load(Ordering::Relaxed) >= limit.operations
            || idle.load(Ordering::Relaxed)
    };
    // One operation, or `None` where there is none left.
    let one = |work: &mut dyn FnMut() -> Attempt| {
        let begun = start.elapsed();
        for _ in 0..FAILURES_MAX {
            match work() {
                Attempt::Done => return Some(Span { begun, ended: start.elapsed() }),
                Attempt::Failed(why) => failures.lock().expect("no worker has panicked").push(why),
                Attempt::Idle => return None,
            }
        }
        panic!("an operation fails again and again: {:?}", failures.lock().expect("no worker has panicked").last());
    };
    thread::scope(|scope| {
        for mut work in workers {
            let (is_over, one, done, idle, spans) = (&is_over, &one, &done, &idle, &spans);
            scope.spawn(move || {
                while !is_over() {
                    let Some(span) = one(&mut work) else { return idle.store(true, Ordering::Relaxed) };
                    done.fetch_add(1, Ordering::Relaxed);
                    spans.lock().expect("no worker has panicked").push(span);
                }
            });
        }
    });
    let elapsed = start.elapsed();
    let cpu = (cpu_ms() - cpu) / 1000.0 / elapsed.as_secs_f64() / processors() as f64;
    let mut spans = spans.into_inner().expect("no worker has panicked");
    spans.sort_by_key(|span| span.ended);
    let idle = idle.into_inner();
    let last = if idle { spans.last() } else { spans.get(limit.operations.saturating_sub(1)) };
    let until = last.map_or(limit.time, |span| span.ended.min(limit.time));
    Load { spans, until, cpu, failures: failures.into_inner().expect("no worker has panicked"), idle }
}
