//! `git scrum promote`

use serde_json::json;

use super::errors::{CliError, exit};
use super::output::Reply;
use super::{Context, tasks, view};
use crate::config::Feed;
use crate::domain::Branch;
use crate::domain::board::Board;
use crate::engine::ports::Host;

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
    let session = &context.session;
    let named: Vec<Branch> = tasks::parse_all(&args.branches)?;
    let board = context.board()?;
    let mut promotions: Vec<(Branch, Branch)> = Vec::new();
    if named.is_empty() {
        let trains = board.read(true, |board| Ok(board.trains()?))?;
        for source in trains.into_iter().map(|train| train.target) {
            // Without a rhythm it is promoted by hand.
            if let Some(Feed { into, every: Some(every) }) = session.settings()?.feed(&source)
                && board.is_due(&source, &into, every, session.host.now())?
            {
                promotions.push((source, into));
            }
        }
    }
    for source in named {
        let feed = session.settings()?.feed(&source).ok_or_else(|| {
            let what = format!("nothing says which branch is above {source}");
            let hint = format!("into = \"main\" under [trains.\"{source}\"] in .scrum.toml");
            CliError::new(exit::NO, "no-branch-above", what, hint)
        })?;
        promotions.push((source, feed.into));
    }
    let (mut text, mut said) = (String::new(), Vec::new());
    for (source, into) in promotions {
        context.check_target(&into)?;
        let promoted = match board.promote_branch(&source, &into, &session.code) {
            // One that is due and has brought nothing new is no news.
            Err(crate::engine::EngineError::Impossible { .. }) if args.branches.is_empty() => continue,
            promoted => promoted?,
        };
        let words = if promoted.again { "is in the train already" } else { "is in the train" };
        let commit = view::short(promoted.commit.as_str());
        text.push_str(&format!("{} {words} for {into}: {commit} of {source}\n", promoted.car));
        said.push(json!({
            "branch": source.as_str(), "target": into.as_str(), "car": promoted.car.as_str(),
            "commit": promoted.commit.as_str(), "position": promoted.position, "again": promoted.again,
        }));
    }
    if said.is_empty() {
        text.push_str("Nothing is to be promoted now.\n");
    }
    Ok(Reply::new(json!({ "promotions": said }), view::clean(&text)))
}
