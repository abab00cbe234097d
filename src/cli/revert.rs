//! `git scrum revert`

use serde_json::json;

use super::errors::CliError;
use super::output::Reply;
use super::{Context, tasks, view};
use crate::domain::{Branch, CarId};
use crate::engine::ports::Code;

/// Take back what a car has brought: the opposite of it becomes a car, first in line
#[derive(clap::Args)]
pub struct Args {
    /// The car that has landed: a task, or a branch
    car: String,
    /// The branch it landed on
    #[arg(long, value_name = "T")]
    target: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Reply, CliError> {
    let session = &context.session;
    let target: Branch = match &args.target {
        Some(target) => tasks::parse(target)?,
        None => session.target()?,
    };
    let id: CarId = tasks::parse(&args.car)?;
    // Where work may land is up to the branch that all work goes to, as it is now.
    session.code.refresh(&[session.target()?])?;
    session.settings_of_target()?;
    context.check_target(&target).map_err(|error| error.advising("see branches.targets in .scrum.toml"))?;
    let reverted = context.board()?.revert(&id, &target, &session.code)?;
    let (submitted, landed_as) = (&reverted.submitted, &reverted.landed_as);
    let words = if submitted.again { "is in the train already" } else { "goes first in the train" };
    let text = format!(
        "{} {words} for {target}: {} takes back {id}, which landed as {}\n",
        submitted.car,
        view::short(submitted.commit.as_str()),
        view::short(landed_as.as_str())
    );
    let data = json!({
        "car": submitted.car.as_str(), "target": target.as_str(), "branch": submitted.branch.as_str(),
        "commit": submitted.commit.as_str(), "position": submitted.position, "again": submitted.again,
        "reverts": id.as_str(), "landed_as": landed_as.as_str(),
    });
    Ok(Reply::new(data, view::clean(&text)))
}
