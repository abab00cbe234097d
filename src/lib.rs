//! `git scrum`: many teams of people and agents on one repository, coordinated by the repository itself.

pub mod agent;
pub mod cli;
pub mod config;
pub mod domain;
pub mod engine;
pub mod failpoint;
pub mod git;
pub mod ledger;
pub mod planted;
pub mod record;
pub mod repo;
pub mod session;
