//! What a pass of the train, and looking ahead of it, cost beside plain git.
//!
//! `cargo bench --bench pass`; `-- --quick` for a short form, `-- --rounds N` for another number of rounds, and
//! `-- --train` or `-- --conflicts` for one of its parts. Prints tables with the bars of the project beside what was
//! measured, and never fails because of them: how long things take depends on the machine. It fails where an answer is
//! not git's, or a pass does not do what it is measured for.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "starting programs, looking at the clock and printing tables is the purpose of this program"
)]

mod conflicts;
#[path = "../measure.rs"]
mod measure;
#[path = "../../support/mod.rs"]
mod support;
mod train;

const PROGRAM: &str = env!("CARGO_BIN_EXE_git-scrum");

fn main() {
    let (mut rounds, mut part) = (15_usize, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => rounds = 3,
            "--train" => part = Some("train"),
            "--conflicts" => part = Some("conflicts"),
            "--rounds" => rounds = args.next().and_then(|n| n.parse().ok()).expect("--rounds takes a number"),
            // Cargo says so to every benchmark.
            "--bench" => {}
            other => panic!("{other}: use --quick, --rounds N, --train or --conflicts"),
        }
    }
    if part != Some("conflicts") {
        train::run(rounds.div_ceil(3));
    }
    if part != Some("train") {
        conflicts::run(rounds);
    }
}
