//! `git scrum verdict`

use clap::ValueEnum;
use serde_json::json;

use super::errors::CliError;
use super::output::Reply;
use super::{Context, tasks};
use crate::domain::board::Board;
use crate::domain::{ObjectId, Verdict, VerdictRecord};
use crate::engine::ports::Host;

/// Report what a CI system outside says of a candidate
#[derive(clap::Args)]
pub struct Args {
    /// What it says
    verdict: Said,
    /// The candidate that was tested: its full object id
    #[arg(long, value_name = "OID")]
    commit: String,
    /// Where a person can read more
    #[arg(long, value_name = "U")]
    url: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Said {
    /// It may land
    Pass,
    /// It may not
    Fail,
    /// The test itself did not work out
    Inconclusive,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Reply, CliError> {
    let commit: ObjectId = tasks::parse(&args.commit)?;
    let board = context.board()?;
    let run = board.read(true, |board| {
        let mut runs = board
            .trains()?
            .into_iter()
            .flat_map(|train| train.runs.into_iter().map(move |run| (train.target.clone(), run)));
        Ok(runs.find(|(_, run)| run.commit == commit))
    })?;
    let Some((target, run)) = run else {
        // Late, or withdrawn meanwhile: whoever reports has done nothing wrong.
        return Ok(Reply::new(json!({ "applied": false }), "No run is waiting for this verdict.\n"));
    };
    let tested = run.tested().to_vec();
    let record = VerdictRecord {
        tree: run.tree,
        commit,
        verdict: match args.verdict {
            Said::Pass => Verdict::Pass,
            Said::Fail => Verdict::Fail,
            Said::Inconclusive => Verdict::Inconclusive,
        },
        check: "external".to_owned(),
        at: context.session.host.now(),
        by: context.session.holder()?,
        took: Some(context.session.host.now().since(run.started_at)),
        url: args.url.as_ref().map(|url| url.chars().filter(|c| !c.is_control()).take(1000).collect()),
        output: String::new(),
    };
    let verdict = record.verdict;
    let applied = board.record_verdict(&target, record, &tested, true, &context.session.code)?;
    let text =
        if applied { format!("Recorded {verdict}.\n") } else { "This verdict was of no use any more.\n".to_owned() };
    Ok(Reply::new(json!({ "applied": applied }), text))
}
