//! `git scrum demo`: three teams and five tasks in a scratch directory, told as it happens.
//!
//! Every command that is shown is run, as a process of its own, by this very program or by git: nothing is staged but
//! the workers, who follow a script. The story asserts itself; one that goes otherwise is an error. Nothing outside the
//! scratch directory is written, and nothing of the user's own git configuration is needed or followed.

mod shop;
mod stage;
mod story;

use std::path::PathBuf;

use serde_json::json;

use super::errors::{CliError, exit};
use super::output::{Output, Reply};
use super::view;
use crate::session::Start;
use shop::Shop;
use stage::Stage;

/// Watch three teams land five tasks, in a scratch directory
///
/// Makes a bare remote and three clones of it under the system's directory for temporary files, and plays a sprint:
/// tasks are added, claimed, worked on, tested and landed by real commands, which are shown with what they answer. One
/// task waits for a lock on files, one change fails its check and is reworked. Takes seconds; needs no network, account
/// or configuration. The directory stays, to look at.
#[derive(clap::Args)]
pub struct Args {
    /// Play it on a scratch clone of this repository, which itself is not touched
    #[arg(long, value_name = "PATH")]
    repo: Option<PathBuf>,
}

pub(super) fn run(args: &Args, start: &Start, output: &Output, json: bool) -> Result<Reply, CliError> {
    let source = args.repo.as_ref().map(|path| start.directory.join(path));
    let source = source.as_deref().map(stage::source).transpose()?;
    let scratch = tempfile::Builder::new().prefix("git-scrum-demo-").tempdir();
    // Until the story has ended, the directory goes with whatever ends it.
    let scratch = scratch.map_err(|error| stage::environment("cannot make a scratch directory", &error))?;
    let stage = Stage::new(scratch.path(), output, json)?;
    let shop = match source {
        None => Shop::new(),
        Some(source) => Shop::beside(source),
    };
    let story = story::play(&stage, &shop)?;
    let _stays = scratch.keep();
    let directory = stage.root().to_string_lossy().into_owned();
    let data = json!({
        "directory": directory,
        "remote": stage.remote().to_string_lossy(),
        "target": story.target,
        "work_in": shop.folder(),
        "assigned": story.assigned.iter().map(|(task, team)| json!({ "task": task, "team": team })).collect::<Vec<_>>(),
        "landed": story.landed,
        "ejected": story.ejected,
        "commands": stage.commands(),
    });
    Ok(Reply::new(data, view::clean(&next(&directory, stage.directory_to_find().as_deref(), stage.commands()))))
}

/// Where to look and what to try. `program`: the directory to put in front of `PATH`, unless git finds us already.
fn next(directory: &str, program: Option<&str>, commands: u32) -> String {
    let path = program.map_or_else(String::new, |program| format!("  export PATH=\"{program}:$PATH\"\n"));
    format!(
        "\nThat took {commands} commands and no server. Everything is still there, to look at and go on with:\n{path}  \
         cd {directory}/backend && git scrum log\n  \
         git scrum add \"Sell tea\" --label backend && git scrum claim --team backend --worktree\n  \
         rm -rf {directory}\n"
    )
}

/// The story went otherwise than it is told.
fn otherwise(what: impl std::fmt::Display) -> CliError {
    let hint = "the scratch directory is gone; this is worth a bug report";
    CliError::new(exit::NO, "demo-failed", format!("the demo went wrong: {what}"), hint)
}
