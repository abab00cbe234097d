//! `git scrum verdict`

use clap::ValueEnum;
use serde_json::json;

use super::errors::CliError;
use super::output::Reply;
use super::{Context, tasks};
use crate::domain::board::Board;
use crate::domain::train::CheckVerdict;
use crate::domain::{CheckName, ObjectId, Verdict, VerdictRecord};
use crate::engine::ports::Host;
use crate::engine::{self, PassSettings};

/// Report what a CI system outside says of a candidate
#[derive(clap::Args)]
pub struct Args {
    /// What it says
    verdict: Said,
    /// The candidate that was tested: its full object id
    #[arg(long, value_name = "OID")]
    commit: String,
    /// Which check it is of, where the train has several
    #[arg(long, value_name = "NAME")]
    check: Option<CheckName>,
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
    let settings = context.session.pass_settings(&target)?;
    let (at, took) = (context.session.host.now(), Some(context.session.host.now().since(run.started_at)));
    let url = args.url.as_ref().map(|url| url.chars().filter(|c| !c.is_control()).take(1000).collect());
    let mut record = VerdictRecord {
        tree: run.tree,
        commit,
        verdict: match args.verdict {
            Said::Pass => Verdict::Pass,
            Said::Fail => Verdict::Fail,
            Said::Inconclusive => Verdict::Inconclusive,
        },
        check: settings.check_name(),
        at,
        by: context.session.holder()?,
        took,
        together: 0,
        url: None,
        output: String::new(),
        checks: Vec::new(),
    };
    if settings.required().is_empty() {
        if let Some(name) = &args.check {
            let what = format!("no check is called {name}: what is said counts for the whole of a candidate");
            return Err(CliError::bad_argument(what, format!("name the checks of {target} in [train.checks]")));
        }
        record.url = url;
    } else {
        let (name, verdict) = (named(args.check.as_ref(), &settings)?, record.verdict);
        record.checks.push(CheckVerdict { name, verdict, at, took, url });
    }
    let verdict = record.verdict;
    let kept_since = settings.kept_since(at);
    let said = engine::Said { record, required: settings.required(), asked: true, kept_since };
    let applied = board.record_verdict(&target, said, &tested, &context.session.code)?;
    let text =
        if applied { format!("Recorded {verdict}.\n") } else { "This verdict was of no use any more.\n".to_owned() };
    Ok(Reply::new(json!({ "applied": applied }), text))
}

/// The check that a verdict is of, where there are several.
fn named(given: Option<&CheckName>, settings: &PassSettings) -> Result<CheckName, CliError> {
    let names: Vec<&CheckName> = settings.checks.iter().filter_map(|check| check.name.as_ref()).collect();
    let hint = names.iter().map(|name| format!("--check {name}")).collect::<Vec<_>>().join(", or ");
    match given {
        None => Err(CliError::bad_argument("the train has several checks: this may be of any", hint)),
        Some(name) if names.contains(&name) => Ok(name.clone()),
        Some(name) => Err(CliError::bad_argument(format!("no check is called {name}"), hint)),
    }
}
