//! Integration tests: real git, real remotes, real processes.

#[path = "../support/mod.rs"]
mod support;

mod claims;
mod contract;
mod kill;
mod main_job;
mod scrum;
mod tour;
mod worktrees;
