//! `git scrum promote`

use serde_json::json;

use super::errors::{CliError, exit};
use super::output::Reply;
use super::{Context, tasks, view};
use crate::config::Feed;
use crate::domain::Branch;
use crate::domain::board::Board;
use crate::engine::ports::{Code, Host};
use crate::engine::{EngineError, Promoted, Submitted};

/// Submit what has landed on a branch to the branch above it
///
/// Which branch is above which, and how often they are promoted, is configured under [trains] in .scrum.toml.
#[derive(clap::Args)]
pub struct Args {
    /// The branches to promote now; without any, all whose time it is
    #[arg(value_name = "BRANCH")]
    branches: Vec<String>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Reply, CliError> {
    let named: Vec<Branch> = tasks::parse_all(&args.branches)?;
    let all = named.is_empty();
    // What feeds what is up to the branch that all work goes to, as it is now.
    context.session.code.refresh(&[context.session.target()?])?;
    context.session.settings_of_target()?;
    let sources = if all {
        let trains = context.board()?.read(true, |board| Ok(board.trains()?))?;
        trains.into_iter().map(|train| train.target).collect()
    } else {
        named
    };
    let (mut text, mut said, mut passed_over) = (String::new(), Vec::new(), Vec::new());
    let mut first: Option<CliError> = None;
    for source in &sources {
        match promote(context, source, all) {
            Ok(Some((into, promoted))) => {
                let words = if promoted.again { "is in the train already" } else { "is in the train" };
                let commit = view::short(promoted.commit.as_str());
                text.push_str(&format!("{} {words} for {into}: {commit} of {source}\n", promoted.car));
                said.push(json!({
                    "branch": source.as_str(), "target": into.as_str(), "car": promoted.car.as_str(),
                    "commit": promoted.commit.as_str(), "position": promoted.position, "again": promoted.again,
                }));
            }
            Ok(None) => {}
            // What is wrong with one branch must not keep the others.
            Err(error) if sources.len() > 1 && error.is_no() => {
                text.push_str(&format!("{source} is passed over: {} ({})\n", error.message(), error.hint()));
                let mut why = error.to_json();
                view::merge(&mut why, json!({ "branch": source.as_str() }));
                passed_over.push(why);
                first.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    if said.is_empty() && passed_over.is_empty() {
        text.push_str("Nothing is to be promoted now.\n");
    }
    let reply = Reply::new(json!({ "promotions": said, "passed_over": passed_over }), view::clean(&text));
    Ok(reply.exiting(first.map_or(0, |error| error.exit)))
}

/// Promotes one branch, and says where to. Of `all` branches only those are whose time it is, and one that has brought
/// nothing new is no news.
fn promote(context: &Context, source: &Branch, all: bool) -> Result<Option<(Branch, Submitted)>, CliError> {
    let (session, board) = (&context.session, context.board()?);
    let into = match session.settings()?.feed(source) {
        // Without a rhythm it is promoted by hand.
        None | Some(Feed { every: None, .. }) if all => return Ok(None),
        Some(Feed { into, every: Some(every) }) if all => {
            if !board.is_due(source, &into, every, session.host.now())? {
                return Ok(None);
            }
            into
        }
        Some(Feed { into, .. }) => into,
        None => {
            let what = format!("nothing says which branch is above {source}");
            let hint = format!("into = \"main\" under [trains.\"{source}\"] in .scrum.toml");
            return Err(CliError::new(exit::NO, "no-branch-above", what, hint));
        }
    };
    let allowed = context.check_target(&into);
    allowed
        .map_err(|error| error.advising(format!("see branches.targets, and what {source} feeds, in .scrum.toml")))?;
    let impossible = |what: String, hint: String| Err(EngineError::Impossible { what, hint }.into());
    match board.promote_branch(source, &into, &session.code)? {
        Promoted::OnItsWay(submitted) => Ok(Some((into, submitted))),
        Promoted::NothingNew | Promoted::Gone if all => Ok(None),
        Promoted::NothingNew => impossible(
            format!("{into} has all of {source} already"),
            format!("git scrum merge-train --target {source}"),
        ),
        Promoted::Gone => impossible(format!("there is no branch {source}"), "git branch --all".to_owned()),
    }
}
