//! Steps at which a test may kill the program: one before everything it does that outlives it, and one at the end.
//!
//! What comes after one such effect comes before the next, so these are all the states that a `kill -9` can leave
//! between effects. Only in builds with the feature `failpoints`, which `cargo test` turns on and nothing else does;
//! elsewhere the functions are empty. With `GIT_SCRUM_CRASH_AT=n` in the environment the n-th step ends the process:
//! nothing is flushed, dropped or given back. With `GIT_SCRUM_STEPS=FILE` the name of each step is appended to that
//! file when it is reached. Neither reaches the programs that are started.
//!
//! Guarantees: starting a program is a step without anybody marking it, unless the program is known only to read. Must
//! not know what the steps are for.

#[cfg(not(feature = "failpoints"))]
use std::{path::Path, process::Command};

#[cfg(feature = "failpoints")]
mod armed;
#[cfg(feature = "failpoints")]
pub use armed::{making, program, reach};

/// Marks a step: what follows outlives the process.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn reach(_: &str) {}

/// Marks a step where `path` is about to be made; where it is there already, what follows changes nothing.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn making(_: &Path) {}

/// Marks the step that starting a program is, if it may leave anything behind.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn program(_: &mut Command) {}
