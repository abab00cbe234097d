//! The program: reads what it was started with, runs one command, and gives its exit code.

#![expect(clippy::disallowed_methods, reason = "the place that reads the environment")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use git_scrum::agent::guard;
use git_scrum::cli::{self, Output};
use git_scrum::session::Start;

/// The file of this process's program: by this name it can be started even where it was replaced or removed meanwhile.
const OWN_PROGRAM: &str = "/proc/self/exe";

fn main() -> ExitCode {
    match guard::run(env::args_os()) {
        None => {}
        Some(Ok(code)) => return ExitCode::from(code),
        Some(Err(what)) => {
            eprintln!("{what}");
            // The same as what a shell says of a program that is not there.
            return ExitCode::from(127);
        }
    }
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
    let program = Some(Path::new(OWN_PROGRAM)).filter(|path| path.exists()).map(Path::to_path_buf);
    let program = program.or_else(|| env::current_exe().ok()).unwrap_or_else(|| PathBuf::from("git-scrum"));
    ExitCode::from(cli::run(env::args_os(), Start { directory, environment, program }, &output))
}
