//! The program: reads what it was started with, runs one command, and gives its exit code.

#![expect(clippy::disallowed_methods, reason = "the place that reads the environment")]

use std::env;
use std::process::ExitCode;

use git_scrum::cli::{self, Output};
use git_scrum::session::Start;

fn main() -> ExitCode {
    let environment = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("SCRUM_") || name == "USER")
        .collect();
    let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || env::var_os("GIT_PAGER").is_some_and(|pager| pager == "cat");
    let output = Output::new(plain);
    let directory = match env::current_dir() {
        Ok(directory) => directory,
        Err(error) => {
            eprintln!("error: the current directory cannot be used: {error}\nhint: cd to a directory that exists");
            return ExitCode::from(128);
        }
    };
    ExitCode::from(cli::run(env::args_os(), Start { directory, environment }, &output))
}
