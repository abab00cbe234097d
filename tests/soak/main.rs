//! Real processes against the rules: what sixteen workers were told is one history that may have happened.
//!
//! Sixteen workers in six clones of one remote (a file, smart HTTP, ssh) claim, renew, give back, fail and finish the
//! same dozen tasks, lock overlapping paths, add, change and block, with leases of seconds, so that claims run out and
//! are taken over. Meanwhile processes are killed at any moment, alone or with all they have started, and pushes are
//! carried out without an answer. Every call and return is recorded; a call without a definite answer is repeated until
//! there is one, so that in the end no operation is undecided. Then the history is checked ([`check`]).
//!
//! What workers want is chosen by a printed seed, `SOAK_SEED`; how the processes fall together is not, so a seed does
//! not bring a run back. This is the short form (`SOAK_SECS` makes it longer); the long one is `cargo bench --bench soak`.
//!
//! Beside that, two hosts run passes of one train at the same time: [`yard`] runs them, [`landings`] judges what they
//! did together. The long form is `cargo bench --bench soak -- --landings 1000`.
//!
//! Modules: [`workload`] wishes, [`arena`] runs and records, [`faults`] go wrong, [`history`] is what was told,
//! [`chain`] what the board says; [`model`] has the rules a second time, [`linear`] searches, [`check`] judges.

#![allow(dead_code, reason = "the long form uses the rest")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests start processes and look at the clock")]

mod arena;
mod chain;
mod check;
mod faults;
mod history;
mod landings;
mod linear;
mod model;
#[path = "../sim/random.rs"]
#[allow(dead_code, reason = "the simulator uses more of it")]
mod random;
#[path = "../support/mod.rs"]
mod support;
mod tampered;
mod workload;
mod yard;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arena::{Arena, Limit};
use support::RemoteKind;

/// How many wishes each worker has, on each remote.
const WISHES: u32 = 6;
/// How many landings two hosts share, with each of the settings.
const LANDINGS: usize = 20;

fn seed() -> u64 {
    let seed = std::env::var("SOAK_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    println!("SOAK_SEED={seed}");
    seed
}

fn short(kind: RemoteKind) {
    let seed = seed();
    let record = std::env::var_os("SOAK_RECORD").map(std::path::PathBuf::from);
    let Some(arena) = Arena::new(kind, record.as_deref()) else { return };
    let seconds = std::env::var("SOAK_SECS").ok().and_then(|seconds| seconds.parse().ok());
    let limit = seconds.map_or(Limit::Wishes(WISHES), |seconds| Limit::Time(Duration::from_secs(seconds)));
    let record = arena.run(seed, limit);
    println!("{:?}", record.counts);
    let verdict = check::check(&record.history, &record.chain).unwrap_or_else(|wrong| panic!("{wrong}"));
    let (operations, dropped, not_done) = (record.history.len(), record.answers_dropped, record.not_carried_out);
    println!("{verdict:?}, {operations} operations, {dropped} answers dropped, {not_done} requests not carried out");
    // A run in which nothing went wrong has shown nothing.
    assert!(record.counts.killed_alone.load(Relaxed) > 0 && record.counts.killed_with_children.load(Relaxed) > 0);
    assert!(record.answers_dropped > 0);
    tampered::is_found_out(&record);
}

#[test]
fn what_two_hosts_land_is_what_one_would_have_landed() {
    let seed = seed();
    for settings in yard::SETTINGS {
        let yard = yard::Yard::new(settings);
        let evidence = yard.run(seed, LANDINGS);
        let account = landings::judge(&evidence).unwrap_or_else(|wrong| panic!("{settings}: {wrong}"));
        println!("{settings}{account:?}\n{:?}", yard.counts);
        assert!(account.landings >= LANDINGS && account.left > 0, "{account:?}");
        let [first, second] = yard.counts.killed.each_ref().map(|killed| killed.load(Relaxed));
        assert!(first > 0 && second > 0, "a host that was never killed has shown nothing");
        landings::is_found_out(&evidence);
    }
}

#[test]
fn over_a_file_remote_every_history_is_linearizable() {
    short(RemoteKind::File);
}

#[test]
fn over_http_every_history_is_linearizable() {
    short(RemoteKind::Http);
}

#[test]
fn over_ssh_every_history_is_linearizable() {
    short(RemoteKind::Ssh);
}
