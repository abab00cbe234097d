//! `git scrum submit`

use serde_json::json;

use super::claim::fence;
use super::errors::CliError;
use super::output::Reply;
use super::{Context, tasks, view};
use crate::domain::board::Board;
use crate::domain::{Branch, CarId, Grant, Priority, TaskId, TeamName};
use crate::engine::SubmitRequest;

/// Put finished work into the merge train
#[derive(clap::Args)]
pub struct Args {
    /// The task whose claim's branch is submitted; with neither it nor --branch, that of the branch checked out here;
    /// several with --together
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// The branch to submit, as the remote has it; several with --together
    #[arg(long, value_name = "B")]
    branch: Vec<String>,
    /// They land by one move of the target or not at all, in this order: a stack, or changes that need each other
    #[arg(long)]
    together: bool,
    /// Test it by itself where cars are tested in batches; =false takes that back
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    single: Option<bool>,
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
    let priority = match args.priority.as_deref() {
        None => None,
        Some(text) => {
            let found = Priority::ALL.into_iter().find(|priority| priority.as_str() == text);
            Some(found.ok_or_else(|| CliError::bad_argument(format!("{text:?} is no priority"), "p0, p1, p2 or p3"))?)
        }
    };
    let cars = cars(args, context)?;
    let target = match &args.target {
        Some(target) => tasks::parse(target)?,
        None => session.target_of(team_of(context, cars[0].0.as_ref())?.as_ref())?,
    };
    context.check_target(&target)?;
    let named = |(task, branch): &Named| {
        task.as_ref().map(CarId::from).or(branch.as_ref().map(CarId::from)).expect("BUG: one of both is there")
    };
    let together = if args.together { cars.iter().map(named).collect() } else { Vec::new() };
    let after = tasks::parse_all(&args.after)?;
    let request = |(task, branch): Named| SubmitRequest {
        fence: task.as_ref().and_then(|task| fence(context, args.fence, task)),
        task,
        branch,
        target: target.clone(),
        priority,
        after: after.clone(),
        together: together.clone(),
        single: args.single,
        leave_uncommitted: args.leave_uncommitted,
    };
    let requests: Vec<SubmitRequest> = cars.into_iter().map(request).collect();
    let (mut text, mut said) = (String::new(), Vec::new());
    for submitted in context.board()?.submit(&requests, &session.code)? {
        let car = &submitted.car;
        let words = if submitted.again { "is in the train already" } else { "is in the train" };
        text.push_str(&format!(
            "{car} {words} for {target} at position {}: {} of {}\n",
            submitted.position,
            view::short(submitted.commit.as_str()),
            submitted.branch
        ));
        said.push(json!({
            "car": car.as_str(), "target": target.as_str(), "branch": submitted.branch.as_str(),
            "commit": submitted.commit.as_str(), "position": submitted.position, "again": submitted.again,
        }));
    }
    let data = if args.together { json!({ "cars": said }) } else { said.remove(0) };
    Ok(Reply::new(data, view::clean(&text)))
}

/// A task, a branch, or both.
type Named = (Option<TaskId>, Option<Branch>);

/// What is to be submitted: a task, a branch, or a task by another branch than its claim's; several of one kind
/// together.
fn cars(args: &Args, context: &Context) -> Result<Vec<Named>, CliError> {
    let tasks = args.ids.iter().map(|id| tasks::task_id(id)).collect::<Result<Vec<TaskId>, _>>()?;
    let branches: Vec<Branch> = tasks::parse_all(&args.branch)?;
    let several = tasks.len().max(branches.len()) > 1;
    if several != args.together {
        let what = if several { "several are named" } else { "one car has no company" };
        let hint = "git scrum submit --together ID ID, or git scrum submit --together --branch B --branch B";
        return Err(CliError::bad_argument(what, hint));
    }
    match (&tasks[..], &branches[..]) {
        ([], []) => Ok(vec![(Some(task_here(context)?), None)]),
        ([task], [branch]) => Ok(vec![(Some(task.clone()), Some(branch.clone()))]),
        (tasks, []) => Ok(tasks.iter().map(|task| (Some(task.clone()), None)).collect()),
        ([], branches) => Ok(branches.iter().map(|branch| (None, Some(branch.clone()))).collect()),
        _ => Err(CliError::bad_argument(
            "both tasks and branches are named",
            "one of a task with --branch, or several of one kind",
        )),
    }
}

/// For which team a task is claimed.
fn team_of(context: &Context, task: Option<&TaskId>) -> Result<Option<TeamName>, CliError> {
    let Some(task) = task.filter(|_| !context.session.settings().is_ok_and(|all| all.branches.team.is_empty())) else {
        return Ok(None);
    };
    let (grants, _) = context.read(|board| Ok(board.grants()?))?;
    Ok(grants.iter().find_map(|grant| match &**grant {
        Grant::Claim(claim) if claim.task == *task => claim.team.clone(),
        _ => None,
    }))
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
