//! Integration tests: real git, real remotes, real processes.

#![expect(clippy::disallowed_methods, reason = "tests start processes, make files and read the environment themselves")]

#[path = "../support/mod.rs"]
mod support;

mod claims;
mod combining;
mod contract;
mod crash;
mod demo;
mod doctor;
mod domain_props;
mod gc;
mod git_facts;
mod golden;
mod heartbeats;
mod kill;
mod layering;
mod ledger;
mod main_job;
mod radar;
mod records;
mod scripts;
mod scrum;
mod simulate;
mod snapshots;
mod tour;
mod train;
mod train_controls;
mod verify;
mod worktrees;
