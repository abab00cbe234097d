//! `git scrum conflicts`

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::branches::task_of;
use super::errors::CliError;
use super::output::Reply;
use super::{Context, tasks, view};
use crate::domain::{Branch, ObjectId, TeamName};
use crate::engine::EngineError;
use crate::engine::ports::{Clash, Host, Radar};
use crate::engine::radar::{Lookout, Open, State, Sweep, Work, is_settled, open_work};
use crate::record::names::{CANDIDATES, FALLBACK_PREFIX, branch_ref};

/// The most paths of one collision that people are shown.
const PATHS_SHOWN_MAX: usize = 5;

/// Say which branches would collide if they were merged now, and on what
///
/// Looks at the branches of live claims, with the saved work of these, of open cars of the train, and at all others of
/// the remote that hold what the target has not, the newest first: every pair, and each with the target. Branches that
/// others land on are left out, and so are those of tasks that are over. Answers are those of git's own merge; nothing
/// is written into the repository. Exits with 1 when anything collides.
#[derive(clap::Args)]
pub struct Args {
    /// Only what has to do with these branches, under way or not, and no other that is neither claimed nor submitted
    #[arg(value_name = "BRANCH")]
    branches: Vec<String>,
    /// Only claims and cars, and no branch that is neither
    #[arg(long, conflicts_with = "branches")]
    under_way: bool,
    /// The branch that work is to land on
    #[arg(long, value_name = "T")]
    target: Option<String>,
    /// Look again and again, with a rest in between, and say which collisions are new or over, until interrupted
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Reply, CliError> {
    let target = match &args.target {
        Some(target) => tasks::parse(target)?,
        None => context.session.target()?,
    };
    let named: Vec<Branch> = tasks::parse_all(&args.branches)?;
    let others = named.is_empty() && !args.under_way;
    let look = |context: &Context| sweep(context, &target, &named, others, |_| true);
    if args.watch {
        return watch(context, &target, look);
    }
    let (sweep, current) = look(context)?;
    all_there(&sweep)?;
    Ok(reply(data(&sweep, &target, current), &text(&sweep, &target), &sweep))
}

/// All that was seen.
fn data(sweep: &Sweep, target: &Branch, current: bool) -> Value {
    let pairs: Vec<Value> = sweep.pairs.iter().map(|(a, b, clash)| pair(sweep, *a, *b, clash)).collect();
    let with_target: Vec<Value> =
        sweep.with_target.iter().map(|(nth, clash)| against(&sweep.work[*nth], target, clash)).collect();
    let [known, ruled_out, merged] = sweep.known_ruled_out_merged;
    json!({
        "target": target.as_str(),
        "base": sweep.base.as_str(),
        "pairs": pairs,
        "with_target": with_target,
        "branches": sweep.work.iter().map(of_work).collect::<Vec<_>>(),
        "unseen": sweep.unseen.iter().map(of).collect::<Vec<_>>(),
        "left_out": sweep.left_out,
        "looked_at": { "pairs": sweep.count, "known": known, "ruled_out": ruled_out, "merged": merged },
        "current": current,
    })
}

fn reply(data: Value, text: &str, sweep: &Sweep) -> Reply {
    let reply = Reply::new(data, view::clean(text));
    if sweep.pairs.is_empty() && sweep.with_target.is_empty() { reply } else { reply.no() }
}

/// Refuses where a branch that was named is nowhere.
fn all_there(sweep: &Sweep) -> Result<(), EngineError> {
    match sweep.missing.first() {
        None => Ok(()),
        Some(missing) => Err(EngineError::Impossible {
            what: format!("there is no branch {missing}, neither here nor where the code is"),
            hint: "git branch --all".to_owned(),
        }),
    }
}

/// What the radar shows of the work on the board that is `wanted`, of what is named, and, with `others`, of all open
/// branches; and whether that is the present board.
pub(super) fn sweep(
    context: &Context,
    target: &Branch,
    named: &[Branch],
    others: bool,
    wanted: impl Fn(&Open) -> bool,
) -> Result<(Sweep, bool), CliError> {
    let session = &context.session;
    let (now, skew) = (session.host.now(), session.settings()?.tasks.skew);
    // It asks git something while the board is read.
    let radar = session.radar().about_to_merge();
    let (mut open, current) =
        context.read(|board| Ok(open_work(board, target, &context.grants(board)?, now, skew)?))?;
    open.retain(wanted);
    let others = if others { open_branches(context, &radar, current)? } else { Vec::new() };
    let lookout = Lookout { code: &session.code, radar: &radar, target, ask: current };
    Ok((lookout.sweep(open, named, others)?, current))
}

/// Branches that somebody may mean to land, by what they are called and what the board has last said of them.
fn open_branches(context: &Context, radar: &impl Radar, ask: bool) -> Result<Vec<(Branch, ObjectId)>, CliError> {
    let session = &context.session;
    let (settings, landed_on) = (session.settings()?, session.target()?);
    let is_own = |branch: &Branch| {
        let name = branch_ref(branch);
        name.starts_with(CANDIDATES) || name.starts_with(FALLBACK_PREFIX)
    };
    let mut listed = radar.branches(ask)?;
    listed.retain(|(branch, _)| {
        let others_land_there = *branch == landed_on || settings.is_landed_on(branch);
        !others_land_there && !is_of_team(branch, &settings.branches.team) && !is_own(branch)
    });
    let template = &settings.tasks.branch;
    let open = context.board()?.read(false, |board| {
        let mut open = Vec::new();
        for (branch, head) in &listed {
            if !is_settled(board, branch, head, task_of(branch, template).as_ref())? {
                open.push((branch.clone(), head.clone()));
            }
        }
        Ok(open)
    });
    Ok(open?)
}

/// Whether it is the branch of some team, by the template for these.
fn is_of_team(branch: &Branch, template: &str) -> bool {
    let Some((before, after)) = template.split_once("{team}") else { return false };
    let team = branch.as_str().strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    team.is_some_and(|team| TeamName::parse(team).is_ok())
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
    match sweep.left_out {
        0 => {}
        1 => text.push_str("Left out: 1 branch, the oldest: git scrum conflicts BRANCH looks at it\n"),
        more => text
            .push_str(&format!("Left out: {more} branches, the oldest: git scrum conflicts BRANCH... looks at them\n")),
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

/// What of a look is news when it is no more as it was.
#[derive(Default)]
struct Seen {
    /// By the branches that collide, in either order: what they are called, and where it is.
    collisions: BTreeMap<[String; 2], (String, BTreeSet<String>)>,
    /// Branches that were named and are nowhere.
    missing: Vec<Branch>,
}

impl Seen {
    fn of(sweep: &Sweep, target: &Branch) -> Seen {
        let mut seen = Seen { missing: sweep.missing.clone(), ..Seen::default() };
        let branch = |nth: usize| sweep.work[nth].open.branch.as_str().to_owned();
        let with_target = sweep.with_target.iter().map(|(nth, clash)| {
            ([branch(*nth), target.as_str().to_owned()], format!("{} and {target}", name(sweep, *nth)), clash)
        });
        let pairs = sweep.pairs.iter().map(|(a, b, clash)| {
            ([branch(*a), branch(*b)], format!("{} and {}", name(sweep, *a), name(sweep, *b)), clash)
        });
        for (mut key, words, clash) in with_target.chain(pairs) {
            key.sort();
            let (_, paths) = seen.collisions.entry(key).or_insert_with(|| (words, BTreeSet::new()));
            paths.extend(clash.paths.iter().cloned());
        }
        seen
    }

    /// What was not so the `last` time, for people and for scripts; `None` where nothing is.
    fn news(&self, last: &Seen) -> Option<(String, Value)> {
        let is_new =
            |key: &[String; 2], paths: &BTreeSet<String>| last.collisions.get(key).is_none_or(|(_, p)| p != paths);
        let new = self.collisions.iter().filter(|(key, (_, paths))| is_new(key, paths));
        let over = last.collisions.iter().filter(|(key, _)| !self.collisions.contains_key(*key));
        let (new, over): (Vec<_>, Vec<_>) = (new.collect(), over.collect());
        let only_in = |one: &Seen, other: &Seen| -> Vec<String> {
            let names = one.missing.iter().filter(|branch| !other.missing.contains(branch));
            names.map(|branch| branch.as_str().to_owned()).collect()
        };
        let (gone, back) = (only_in(self, last), only_in(last, self));
        let mut text = String::new();
        for (_, (words, paths)) in &new {
            let paths: Vec<String> = paths.iter().cloned().collect();
            text.push_str(&format!("{words}: {}\n", places(&paths)));
        }
        over.iter().for_each(|(_, (words, _))| text.push_str(&format!("No longer: {words}\n")));
        gone.iter().for_each(|branch| text.push_str(&format!("Gone: {branch}\n")));
        back.iter().for_each(|branch| text.push_str(&format!("There again: {branch}\n")));
        let value = |collision: &(&[String; 2], &(String, BTreeSet<String>))| {
            let ([a, b], (_, paths)) = collision;
            json!({ "a": a, "b": b, "paths": paths })
        };
        let [new, over] = [new, over].map(|found| found.iter().map(value).collect::<Vec<_>>());
        let changes = json!({ "new": new, "over": over, "gone": gone, "back": back });
        (!text.is_empty()).then_some((text, changes))
    }
}

/// Looks again and again until interrupted: shows everything at first, and then what is not as it was the last time.
/// That a branch is gone which was named is an error at first, and then news.
fn watch(
    context: &Context,
    target: &Branch,
    look: impl Fn(&Context) -> Result<(Sweep, bool), CliError>,
) -> Result<Reply, CliError> {
    let mut last: Option<Seen> = None;
    loop {
        let now = Context { session: context.session.reopen()?, talk: context.talk };
        match look(&now) {
            Ok((sweep, current)) => {
                let seen = Seen::of(&sweep, target);
                let (nothing, mut data) = (json!({}), data(&sweep, target, current));
                let told = match &last {
                    None => {
                        all_there(&sweep)?;
                        Some((text(&sweep, target), nothing))
                    }
                    Some(last) => seen.news(last).map(|(text, changes)| (text, json!({ "changes": changes }))),
                };
                if let Some((text, changes)) = told {
                    view::merge(&mut data, changes);
                    if !now.talk.show(&reply(data, &text, &sweep))? {
                        return Ok(Reply::new(Value::Null, ""));
                    }
                }
                last = Some(seen);
            }
            Err(error) if error.may_pass() => now.talk.say(error.to_text().trim_end()),
            Err(error) => return Err(error),
        }
        now.rest(target)?;
    }
}
