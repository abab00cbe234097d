//! `git scrum submit`

use serde_json::json;

use super::claim::fence;
use super::errors::CliError;
use super::output::Reply;
use super::{Context, tasks, view};
use crate::domain::board::Board;
use crate::domain::{Branch, Grant, Priority, TaskId};
use crate::engine::SubmitRequest;

/// Put finished work into the merge train
#[derive(clap::Args)]
pub struct Args {
    /// The task whose claim's branch is submitted; with neither it nor --branch, that of the branch checked out here
    id: Option<String>,
    /// The branch to submit, as the remote has it
    #[arg(long, value_name = "B")]
    branch: Option<String>,
    /// The branch to land on
    #[arg(long, value_name = "T")]
    target: Option<String>,
    /// A car that must land first, and with which this one leaves; may be given several times
    #[arg(long = "after", value_name = "CAR")]
    after: Vec<String>,
    /// How urgent it is; as its task if not given
    #[arg(long, value_name = "p0|p1|p2|p3")]
    priority: Option<String>,
    /// Submit although the worktree has changes that are in no commit
    #[arg(long)]
    leave_uncommitted: bool,
    /// The fence of the claim, where another clone made it
    #[arg(long, value_name = "N")]
    fence: Option<u64>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Reply, CliError> {
    let session = &context.session;
    let target = match &args.target {
        Some(target) => tasks::parse(target)?,
        None => session.target()?,
    };
    let priority = match args.priority.as_deref() {
        None => None,
        Some(text) => {
            let found = Priority::ALL.into_iter().find(|priority| priority.as_str() == text);
            Some(found.ok_or_else(|| CliError::bad_argument(format!("{text:?} is no priority"), "p0, p1, p2 or p3"))?)
        }
    };
    let branch: Option<Branch> = args.branch.as_deref().map(tasks::parse).transpose()?;
    let task = match (&args.id, &branch) {
        (Some(id), _) => Some(tasks::task_id(id)?),
        (None, Some(_)) => None,
        (None, None) => Some(task_here(context)?),
    };
    let request = SubmitRequest {
        fence: task.as_ref().and_then(|task| fence(context, args.fence, task)),
        task,
        branch,
        target: target.clone(),
        priority,
        after: tasks::parse_all(&args.after)?,
        leave_uncommitted: args.leave_uncommitted,
    };
    let submitted = context.board()?.submit(&request, &session.code)?;
    let car = &submitted.car;
    let words = if submitted.again { "is in the train already" } else { "is in the train" };
    let text = format!(
        "{car} {words} for {target} at position {}: {} of {}\n",
        submitted.position,
        view::short(submitted.commit.as_str()),
        submitted.branch
    );
    let data = json!({
        "car": car.as_str(), "target": target.as_str(), "branch": submitted.branch.as_str(),
        "commit": submitted.commit.as_str(), "position": submitted.position, "again": submitted.again,
    });
    Ok(Reply::new(data, view::clean(&text)))
}

/// The task whose claim's branch is checked out where the command was started.
fn task_here(context: &Context) -> Result<TaskId, CliError> {
    let head = context.session.git().run(&["symbolic-ref", "--quiet", "--short", "HEAD"]).unwrap_or_default();
    let hint = "git scrum submit ID, or git scrum submit --branch BRANCH";
    let branch: Branch = head.parse().map_err(|_| CliError::bad_argument("no branch is checked out here", hint))?;
    let (found, _) = context.read(|board| {
        let grants = board.grants()?.into_iter();
        Ok(grants
            .filter_map(|grant| if let Grant::Claim(claim) = &*grant { Some(claim.clone()) } else { None })
            .find(|claim| claim.branch == branch))
    })?;
    let claim = found.ok_or_else(|| {
        CliError::bad_argument(format!("{branch}, which is checked out here, is not the branch of a claim"), hint)
    })?;
    Ok(claim.task)
}
