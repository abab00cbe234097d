//! What the workers want, one after the other: chosen by a seed and by what they were told so far.
//!
//! The same seed gives the same chances; how the processes fall together is up to the machine, so two runs of a seed
//! begin alike and then differ.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::history::{Answer, Ask};
use crate::model::PATTERNS;
use crate::random::Random;

/// How many tasks are open at a time. One that is closed is followed by another.
const SLOTS: u64 = 12;

/// How many claims that it gave up without saying so a worker remembers, and comes back to when they are stale.
const LEFT_MAX: usize = 4;

/// The tasks that everybody wants: which one each slot has now.
#[derive(Default)]
pub struct Slots([AtomicU32; SLOTS as usize]);

impl Slots {
    fn task(&self, slot: u64) -> String {
        format!("t{slot}-{}", self.0[slot as usize].load(Ordering::Relaxed))
    }

    /// Goes on to the next task of a slot, if nobody has by now.
    fn close(&self, task: &str) {
        let parts = task.strip_prefix('t').and_then(|rest| rest.split_once('-'));
        let Some((slot, round)) =
            parts.and_then(|(slot, round)| Some((slot.parse::<usize>().ok()?, round.parse::<u32>().ok()?)))
        else {
            return;
        };
        self.0[slot].fetch_max(round + 1, Ordering::Relaxed);
    }
}

/// One worker.
pub struct Worker {
    pub holder: String,
    pub random: Random,
    /// Claims that it was given and has not ended.
    claims: Vec<(String, u64)>,
    /// Claims that it has walked away from.
    left: Vec<(String, u64)>,
    locks: BTreeSet<String>,
    /// What it has to do next, because something was missing.
    next: Option<Ask>,
    count: u32,
    /// Requests whose process was killed after it had answered. The same words would, for some minutes, rightly be
    /// taken for the repetition of that call.
    spent: BTreeSet<Ask>,
}

impl Worker {
    pub fn new(seed: u64, number: usize) -> Worker {
        let mut random = Random::new(seed.wrapping_add(number as u64));
        // Neighbouring seeds begin alike.
        let random = Random::new(random.next());
        Worker {
            holder: format!("w{number}"),
            random,
            claims: Vec::new(),
            left: Vec::new(),
            locks: BTreeSet::new(),
            next: None,
            count: 0,
            spent: BTreeSet::new(),
        }
    }

    /// What it wants now.
    pub fn choose(&mut self, slots: &Slots) -> Ask {
        loop {
            let ask = self.next.take().unwrap_or_else(|| self.wish(slots));
            if !self.spent.contains(&ask) {
                return ask;
            }
        }
    }

    fn wish(&mut self, slots: &Slots) -> Ask {
        self.count += 1;
        let words = format!("{} no {}", self.holder, self.count);
        let random = &mut self.random;
        let task = slots.task(random.below(SLOTS));
        let lease = *random.pick(&[1, 2, 3, 5, 8, 30]).expect("there are some");
        let pattern = (*random.pick(&PATTERNS).expect("there are some")).to_owned();
        match random.below(100) {
            0..15 => return Ask::Claim { task: None, lease },
            15..27 => return Ask::Claim { task: Some(task), lease },
            27..36 => return Ask::Lock { pattern, shared: random.chance(300), lease },
            36..42 => {
                let own: Vec<String> = self.locks.iter().cloned().collect();
                return Ask::Unlock { pattern: random.pick(&own).cloned().unwrap_or(pattern) };
            }
            42..46 => return Ask::Edit { task, title: words },
            46..50 => return Ask::Block { task, reason: words },
            50..54 => return Ask::Unblock { task },
            54..56 => return Ask::Reopen { task },
            56..60 => return Ask::Add { task, title: words },
            _ => {}
        }
        // The rest is about a claim: its own, one that it has walked away from, or nobody knows whose.
        let own = random.pick(&self.claims).cloned();
        let left = random.pick(&self.left).cloned();
        let (task, fence) = match (own, left) {
            (Some(own), Some(left)) => {
                if random.chance(750) {
                    own
                } else {
                    left
                }
            }
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => (task, 0),
        };
        let fence = Some(fence).filter(|fence| *fence > 0 && random.chance(500));
        match random.below(40) {
            0..14 => Ask::Renew { task, fence, lease },
            14..22 => Ask::Release { task, fence, reason: words },
            22..30 => Ask::Fail { task, fence, reason: words },
            30..36 => Ask::Done { task, fence },
            _ => {
                // Walks away without a word.
                if let Some(at) = self.claims.iter().position(|(claimed, _)| *claimed == task) {
                    self.left.push(self.claims.remove(at));
                }
                self.left.drain(..self.left.len().saturating_sub(LEFT_MAX));
                Ask::Claim { task: None, lease }
            }
        }
    }

    /// Takes in what it was told.
    pub fn learn(&mut self, ask: &Ask, answer: &Answer, slots: &Slots) {
        match (ask, answer) {
            (_, Answer::Claimed { task, fence, .. }) => {
                self.claims.retain(|(claimed, _)| claimed != task);
                self.claims.push((task.clone(), *fence));
            }
            (Ask::Done { task, .. }, Answer::Done) => slots.close(task),
            (Ask::Lock { pattern, .. }, Answer::Locked { .. }) => {
                self.locks.insert(pattern.clone());
            }
            (Ask::Unlock { pattern }, _) => {
                self.locks.remove(pattern);
            }
            (_, Answer::Refused(no)) if no.code == "no-such-task" => {
                let task = ask.task().expect("it names one").to_owned();
                self.next = Some(Ask::Add { task, title: format!("{} adds no {}", self.holder, self.count) });
            }
            (_, Answer::Refused(no)) if no.state.as_deref() == Some("done") => {
                slots.close(ask.task().expect("it names one"));
            }
            // Some are given up for good, so that others can be opened again.
            (Ask::Claim { task: Some(task), .. }, Answer::Refused(no)) if no.state.as_deref() == Some("failed") => {
                if self.random.chance(500) {
                    self.next = Some(Ask::Reopen { task: task.clone() });
                } else {
                    slots.close(task);
                }
            }
            _ => {}
        }
        if let Ask::Release { task, .. } | Ask::Fail { task, .. } | Ask::Done { task, .. } | Ask::Renew { task, .. } =
            ask
            && !matches!(answer, Answer::Renewed { .. })
            && let Some(at) = self.claims.iter().position(|(claimed, _)| claimed == task)
        {
            self.left.push(self.claims.remove(at));
            self.left.drain(..self.left.len().saturating_sub(LEFT_MAX));
        }
    }

    /// Never asks this again in the same words.
    pub fn is_spent(&mut self, ask: &Ask) {
        self.spent.insert(ask.clone());
    }
}
