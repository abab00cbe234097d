//! `git scrum add`, `edit`, `block`, `unblock`, `cancel`, `reopen`

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::errors::CliError;
use super::output::Reply;
use super::{Context, view};
use crate::domain::board::Board;
use crate::domain::command::{NewTask, TaskEdit};
use crate::domain::{Command, Label, Outcome, Pattern, Priority, Size, TaskId};

/// The largest file that is read as a body; the rules have their own, smaller bound.
const BODY_FILE_BYTES_MAX: u64 = 1 << 20;

/// Add a task
#[derive(clap::Args)]
pub struct AddArgs {
    /// One line that says what is to be done
    title: String,
    /// Its id: lower-case letters, digits and '-'. The next free number if not given
    #[arg(long)]
    id: Option<String>,
    /// Read the body from a file; '-' reads standard input
    #[arg(long, value_name = "F")]
    body_file: Option<PathBuf>,
    /// How urgent it is
    #[arg(long, value_name = "p0|p1|p2|p3", default_value = "p2", value_parser = priority)]
    priority: Priority,
    /// What kind of work it is: bug, feature, …
    #[arg(long = "type", value_name = "T")]
    kind: Option<String>,
    /// How much work it is
    #[arg(long, value_name = "small|medium|large", value_parser = size)]
    size: Option<Size>,
    /// A label; may be given several times
    #[arg(long = "label", value_name = "L")]
    labels: Vec<String>,
    /// A task that must be finished first; may be given several times
    #[arg(long = "needs", value_name = "ID")]
    needs: Vec<String>,
    /// A path pattern it is expected to change; may be given several times
    #[arg(long = "path", value_name = "GLOB")]
    paths: Vec<String>,
}

/// Change a task
#[derive(clap::Args)]
pub struct EditArgs {
    /// The task
    id: String,
    /// A new title
    #[arg(long)]
    title: Option<String>,
    /// Read a new body from a file; '-' reads standard input
    #[arg(long, value_name = "F")]
    body_file: Option<PathBuf>,
    /// A new priority
    #[arg(long, value_name = "p0|p1|p2|p3", value_parser = priority)]
    priority: Option<Priority>,
    /// A new type
    #[arg(long = "type", value_name = "T")]
    kind: Option<String>,
    /// A new size
    #[arg(long, value_name = "small|medium|large", value_parser = size)]
    size: Option<Size>,
    /// Add a label
    #[arg(long = "label", value_name = "L")]
    add_labels: Vec<String>,
    /// Remove a label
    #[arg(long = "no-label", value_name = "L")]
    remove_labels: Vec<String>,
    /// Add a task that must be finished first
    #[arg(long = "needs", value_name = "ID")]
    add_needs: Vec<String>,
    /// Remove one
    #[arg(long = "no-needs", value_name = "ID")]
    remove_needs: Vec<String>,
    /// The path patterns it has from now on
    #[arg(long = "path", value_name = "GLOB")]
    paths: Vec<String>,
}

/// Name a task
#[derive(clap::Args)]
pub struct TaskArgs {
    /// The task
    id: String,
}

/// Hold a task back until somebody unblocks it
#[derive(clap::Args)]
pub struct BlockArgs {
    /// The task
    id: String,
    /// Why
    #[arg(long)]
    reason: String,
}

/// Decide that a task will not be done
#[derive(clap::Args)]
pub struct CancelArgs {
    /// The task
    id: String,
    /// Why
    #[arg(long)]
    reason: Option<String>,
}

pub(super) fn priority(text: &str) -> Result<Priority, String> {
    Priority::ALL.into_iter().find(|p| p.as_str() == text).ok_or_else(|| "use p0, p1, p2 or p3".to_owned())
}

fn size(text: &str) -> Result<Size, String> {
    let all = [Size::Small, Size::Medium, Size::Large];
    all.into_iter().find(|size| size.as_str() == text).ok_or_else(|| "use small, medium or large".to_owned())
}

/// Reads an argument that is an id of some kind.
pub(super) fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, CliError> {
    text.parse().map_err(|error: T::Err| CliError::bad_argument(error.to_string(), "git scrum -h"))
}

/// Reads arguments that are ids of some kind.
pub(super) fn parse_all<T: std::str::FromStr<Err: std::fmt::Display>>(texts: &[String]) -> Result<Vec<T>, CliError> {
    texts.iter().map(|text| parse(text)).collect()
}

/// Reads a body from a file or standard input, as text with newlines only.
#[expect(clippy::disallowed_methods, reason = "reads the file that the user named")]
pub(super) fn read_body(path: Option<&Path>) -> Result<Option<String>, CliError> {
    let Some(path) = path else { return Ok(None) };
    let failed = |error: &dyn std::fmt::Display| {
        CliError::bad_argument(format!("cannot read {}: {error}", path.display()), "check the name of the file")
    };
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(BODY_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
        file.take(BODY_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)
    };
    read.map_err(|error| failed(&error))?;
    if bytes.len() as u64 > BODY_FILE_BYTES_MAX {
        return Err(failed(&"it is larger than 1 MiB"));
    }
    let text = String::from_utf8(bytes).map_err(|_| failed(&"it is not text"))?;
    Ok(Some(text.replace("\r\n", "\n")))
}

fn kind(text: Option<&String>) -> Result<Option<Label>, CliError> {
    text.map(|text| parse(text)).transpose()
}

pub(super) fn add(args: &AddArgs, context: &Context) -> Result<Reply, CliError> {
    let new = NewTask {
        id: args.id.as_deref().map(parse).transpose()?,
        title: args.title.clone(),
        priority: args.priority,
        kind: kind(args.kind.as_ref())?,
        size: args.size,
        labels: parse_all(&args.labels)?,
        needs: parse_all(&args.needs)?,
        paths: parse_all::<Pattern>(&args.paths)?,
        body: read_body(args.body_file.as_deref())?.unwrap_or_default(),
    };
    changed(context, Command::Add(new), "Added")
}

pub(super) fn edit(args: &EditArgs, context: &Context) -> Result<Reply, CliError> {
    let edit = TaskEdit {
        title: args.title.clone(),
        priority: args.priority,
        kind: kind(args.kind.as_ref())?,
        size: args.size,
        add_labels: parse_all(&args.add_labels)?,
        remove_labels: parse_all(&args.remove_labels)?,
        add_needs: parse_all(&args.add_needs)?,
        remove_needs: parse_all(&args.remove_needs)?,
        paths: if args.paths.is_empty() { None } else { Some(parse_all(&args.paths)?) },
        body: read_body(args.body_file.as_deref())?,
    };
    if edit == TaskEdit::default() {
        return Err(CliError::bad_argument("nothing is to be changed", "git scrum edit -h"));
    }
    changed(context, Command::Edit { task: parse(&args.id)?, edit }, "Changed")
}

pub(super) fn block(args: &BlockArgs, context: &Context) -> Result<Reply, CliError> {
    changed(context, Command::Block { task: parse(&args.id)?, reason: args.reason.clone() }, "Blocked")
}

pub(super) fn unblock(args: &TaskArgs, context: &Context) -> Result<Reply, CliError> {
    changed(context, Command::Unblock { task: parse(&args.id)? }, "Unblocked")
}

pub(super) fn cancel(args: &CancelArgs, context: &Context) -> Result<Reply, CliError> {
    changed(context, Command::Cancel { task: parse(&args.id)?, reason: args.reason.clone() }, "Cancelled")
}

pub(super) fn reopen(args: &TaskArgs, context: &Context) -> Result<Reply, CliError> {
    changed(context, Command::Reopen { task: parse(&args.id)? }, "Reopened")
}

/// Runs a command that changes one task, and shows the task as it is then.
fn changed(context: &Context, command: Command, word: &str) -> Result<Reply, CliError> {
    let board = context.board()?;
    let asked = board.ask(command)?;
    let Outcome::Task { task: id } = asked.outcome else { unreachable!("BUG: a task was to be changed") };
    let task = match &asked.version {
        Some(version) => board.read_at(version, |board| Ok(board.task(&id)?))?,
        None => None,
    };
    let Some(task) = task else { return Ok(Reply::new(json!({ "task": { "id": id.as_str() } }), "")) };
    let text = format!("{word} {}", view::line(&task.summary, None));
    Ok(Reply::new(json!({ "task": view::task(&task, None) }), text))
}

/// The task an argument names.
pub(super) fn task_id(text: &str) -> Result<TaskId, CliError> {
    parse(text)
}
