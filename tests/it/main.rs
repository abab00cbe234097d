//! Integration tests: real git, real remotes, real processes.

#![expect(clippy::disallowed_methods, reason = "tests start processes, make files and read the environment themselves")]

#[path = "../support/mod.rs"]
mod support;

mod branches;
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
mod promote;
mod radar;
mod records;
mod scripts;
mod scrum;
mod simulate;
mod snapshots;
mod tour;
mod train;
mod train_affected;
mod train_batches;
mod train_checks;
mod train_controls;
mod train_flakes;
mod train_lanes;
mod train_methods;
mod train_order;
mod train_together;
mod verify;
mod worktrees;
