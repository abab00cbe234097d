//! `git scrum approve`

use serde_json::json;

use super::errors::CliError;
use super::output::Reply;
use super::{Context, tasks, view};
use crate::domain::board::Board;
use crate::domain::{Branch, CarId, Command, ObjectId, Outcome, Refusal};

/// Say that a car may land, with exactly the commit it has
#[derive(clap::Args)]
pub struct Args {
    /// The car: a task, or a branch
    car: String,
    /// Say so no more: where it lacks an approval now, it waits, and is tested no more
    #[arg(long)]
    withdraw: bool,
    /// The commit you have looked at: its full object id; the one in the train if not given
    #[arg(long, value_name = "OID")]
    commit: Option<String>,
    /// The branch it is to land on
    #[arg(long, value_name = "T")]
    target: Option<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Reply, CliError> {
    let target: Branch = match &args.target {
        Some(target) => tasks::parse(target)?,
        None => context.session.target()?,
    };
    let car: CarId = tasks::parse(&args.car)?;
    let needed = context.session.settings_of(&target)?.train.approvals;
    let commit: ObjectId = match &args.commit {
        Some(commit) => tasks::parse(commit)?,
        None => {
            let found = context.board()?.read(true, |board| Ok(board.car(&target, &car)?))?;
            let open = found.filter(|car| car.state.is_open());
            open.ok_or_else(|| Refusal::NoSuchCar(car.clone()))?.commit
        }
    };
    let (withdraw, of) = (args.withdraw, commit.clone());
    let command = Command::Approve { target: target.clone(), car: car.clone(), commit: of, withdraw };
    let Outcome::Approved { approvals, changed } = context.settle(command)? else {
        unreachable!("BUG: an approval has the outcome of one")
    };
    let words = match (withdraw, changed) {
        (false, true) => "You approve of",
        (false, false) => "You approve already of",
        (true, true) => "You approve no more of",
        (true, false) => "You did not approve of",
    };
    let commit_words = view::short(commit.as_str());
    let text = format!("{words} {car} for {target}, {commit_words}: it has {approvals} of {needed} approvals\n");
    let data = json!({
        "car": car.as_str(), "target": target.as_str(), "commit": commit.as_str(),
        "approvals": approvals, "needed": needed, "changed": changed,
    });
    Ok(Reply::new(data, view::clean(&text)))
}
