//! `git scrum conflicts`

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::errors::CliError;
use super::output::Reply;
use super::{Context, tasks, view};
use crate::domain::Branch;
use crate::engine::ports::{Clash, Host};
use crate::engine::radar::{Lookout, Open, State, Sweep, Work, open_work};
use crate::ledger::Pace;

/// The most paths of one collision that people are shown.
const PATHS_SHOWN_MAX: usize = 5;

/// Say which branches would collide if they were merged now, and on what
///
/// Looks at the branches of live claims, with the saved work of these, and of open cars of the train: every pair, and
/// each with the target. Answers are those of git's own merge; nothing is written into the repository. Exits with 1
/// when anything collides.
#[derive(clap::Args)]
pub struct Args {
    /// Only what has to do with these branches, under way or not
    #[arg(value_name = "BRANCH")]
    branches: Vec<String>,
    /// The branch that work is to land on
    #[arg(long, value_name = "T")]
    target: Option<String>,
    /// Look again and again, with a rest in between, and say what has changed, until interrupted
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Reply, CliError> {
    let target = match &args.target {
        Some(target) => tasks::parse(target)?,
        None => context.session.target()?,
    };
    let named: Vec<Branch> = tasks::parse_all(&args.branches)?;
    if args.watch { watch(context, &target, &named) } else { Ok(look(context, &target, &named)?.0) }
}

/// One look, and what of it is news when it differs from the last.
fn look(context: &Context, target: &Branch, named: &[Branch]) -> Result<(Reply, Value), CliError> {
    let (sweep, current) = sweep(context, target, named, |_| true)?;
    let pairs: Vec<Value> = sweep.pairs.iter().map(|(a, b, clash)| pair(&sweep, *a, *b, clash)).collect();
    let with_target: Vec<Value> =
        sweep.with_target.iter().map(|(nth, clash)| against(&sweep.work[*nth], target, clash)).collect();
    let [known, ruled_out, merged] = sweep.known_ruled_out_merged;
    let unseen: Vec<Value> = sweep.unseen.iter().map(of).collect();
    let mut data = json!({
        "target": target.as_str(),
        "base": sweep.base.as_str(),
        "pairs": pairs,
        "with_target": with_target,
        "branches": sweep.work.iter().map(of_work).collect::<Vec<_>>(),
        "unseen": unseen,
    });
    let news = data.clone();
    let looked = json!({ "pairs": sweep.count, "known": known, "ruled_out": ruled_out, "merged": merged });
    view::merge(&mut data, json!({ "looked_at": looked, "current": current }));
    let reply = Reply::new(data, view::clean(&text(&sweep, target)));
    let collides = !sweep.pairs.is_empty() || !sweep.with_target.is_empty();
    Ok((if collides { reply.no() } else { reply }, news))
}

/// What the radar shows of the work on the board that is `wanted`, and whether that is the present board.
pub(super) fn sweep(
    context: &Context,
    target: &Branch,
    named: &[Branch],
    wanted: impl Fn(&Open) -> bool,
) -> Result<(Sweep, bool), CliError> {
    let session = &context.session;
    let (now, skew) = (session.host.now(), session.settings()?.tasks.skew);
    // It asks git something while the board is read.
    let radar = session.radar().about_to_merge();
    let (mut open, current) =
        context.read(|board| Ok(open_work(board, target, &context.grants(board)?, now, skew)?))?;
    open.retain(wanted);
    let lookout = Lookout { code: &session.code, radar: &radar, target, ask: current };
    Ok((lookout.sweep(open, named)?, current))
}

pub(super) fn of(open: &Open) -> Value {
    json!({
        "branch": open.branch.as_str(),
        "task": open.task.as_ref().map(|(task, _)| task.as_str()),
        "fence": open.task.as_ref().map(|(_, fence)| fence.0),
        "holder": open.holder.as_ref().map(|holder| holder.as_str()),
        "car": open.car.as_ref().map(|(car, _)| car.as_str()),
    })
}

fn of_work(work: &Work) -> Value {
    let mut value = of(&work.open);
    view::merge(
        &mut value,
        json!({
            "commit": work.commit.as_str(),
            "saved": work.state == State::Saved,
            "seen": work.state.as_str(),
        }),
    );
    value
}

fn pair(sweep: &Sweep, a: usize, b: usize, clash: &Clash) -> Value {
    let (a, b) = (&sweep.work[a], &sweep.work[b]);
    json!({
        "a": a.open.branch.as_str(),
        "b": b.open.branch.as_str(),
        "paths": clash.paths,
        "of_a": of_work(a),
        "of_b": of_work(b),
    })
}

fn against(work: &Work, target: &Branch, clash: &Clash) -> Value {
    let mut value = of_work(work);
    let branch = work.open.branch.as_str();
    view::merge(&mut value, json!({ "a": branch, "b": target.as_str(), "paths": clash.paths }));
    value
}

fn text(sweep: &Sweep, target: &Branch) -> String {
    let mut text = String::new();
    for (nth, clash) in &sweep.with_target {
        text.push_str(&format!("{} and {target}: {}\n", name(sweep, *nth), places(&clash.paths)));
    }
    for (a, b, clash) in &sweep.pairs {
        let [a, b] = [a, b].map(|nth| name(sweep, *nth));
        text.push_str(&format!("{a} and {b}: {}\n", places(&clash.paths)));
    }
    if text.is_empty() {
        let branches: BTreeSet<&Branch> = sweep.work.iter().map(|work| &work.open.branch).collect();
        let count = match branches.len() {
            0 => "there is no work under way".to_owned(),
            1 => format!("1 branch, and {target}"),
            more => format!("{more} branches, and {target}"),
        };
        text.push_str(&format!("Nothing collides: {count}.\n"));
    }
    for open in &sweep.unseen {
        let task = open.task.as_ref().map_or_else(String::new, |(task, _)| format!("{task}, "));
        text.push_str(&format!("Not seen yet: {task}{}\n", open.branch));
    }
    text
}

/// A line of work, and in what state of it, where that was seen in several that have parted.
fn name(sweep: &Sweep, nth: usize) -> String {
    let Work { open, state, .. } = &sweep.work[nth];
    let several = sweep.work.iter().filter(|other| other.open.branch == open.branch).count() > 1;
    let state = match state {
        State::Saved => Some("saved"),
        State::Pushed => several.then_some("as pushed"),
        State::Here => several.then_some("as it is here"),
        State::Submitted => several.then_some("as submitted"),
    };
    with_notes(open, state)
}

/// A line of work, with whose it is.
pub(super) fn name_of(open: &Open, saved: bool) -> String {
    with_notes(open, saved.then_some("saved"))
}

fn with_notes(open: &Open, state: Option<&str>) -> String {
    let mut notes: Vec<String> = Vec::new();
    notes.extend(open.task.as_ref().map(|(task, _)| format!("task {task}")));
    notes.extend(open.holder.as_ref().map(|holder| format!("by {holder}")));
    notes.extend(state.map(str::to_owned));
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
    format!("{}{notes}", open.branch)
}

/// Where two collide, for people. A path may hold anything: a line of its own, for one.
pub(super) fn places(paths: &[String]) -> String {
    let shown = paths.iter().take(PATHS_SHOWN_MAX).map(|path| view::one_line(path));
    let mut shown: Vec<String> = shown.collect();
    match paths.len().saturating_sub(PATHS_SHOWN_MAX) {
        0 if shown.is_empty() => shown.push("git names no path".to_owned()),
        0 => {}
        more => shown.push(format!("and {more} more")),
    }
    shown.join(", ")
}

/// Looks again and again until interrupted, and shows what is not as it was the last time.
fn watch(context: &Context, target: &Branch, named: &[Branch]) -> Result<Reply, CliError> {
    let mut last = Value::Null;
    loop {
        let now = Context { session: context.session.reopen()?, talk: context.talk };
        match look(&now, target, named) {
            Ok((reply, news)) if news != last => {
                if !now.talk.show(&reply)? {
                    return Ok(Reply::new(Value::Null, ""));
                }
                last = news;
            }
            Ok(_) => {}
            Err(error) if error.may_pass() => now.talk.say(error.to_text().trim_end()),
            Err(error) => return Err(error),
        }
        let rest = now.session.settings_of(target)?.train.interval.0.max(1);
        // Those who watch from several hosts should not all ask at once.
        let jitter = now.session.host.below(rest * 200);
        now.session.host.wait(Duration::from_millis(rest * 900 + jitter));
    }
}
