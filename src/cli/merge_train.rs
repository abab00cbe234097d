//! `git scrum merge-train`

use std::collections::BTreeMap;

use clap::Subcommand;
use serde_json::{Value, json};

use super::errors::CliError;
use super::output::Reply;
use super::{Context, simulate, tasks, view};
use crate::domain::board::Board;
use crate::domain::command::EjectCause;
use crate::domain::planner::{Action, in_order};
use crate::domain::train::Freeze;
use crate::domain::{Branch, Car, CarId, Command, Outcome, Priority, Refusal, Train};
use crate::engine::ports::{Code, Radar};
use crate::engine::{EngineError, Outlook, Pass, PassEvent, PassReport, PassSettings};
use crate::session::Session;

/// Land what is in the train: one pass, or one after another
#[derive(clap::Args)]
pub struct Args {
    /// The branch to land on
    #[arg(long, value_name = "T", global = true)]
    target: Option<String>,
    /// Make one pass (the default)
    #[arg(long)]
    once: bool,
    /// Make a pass again and again, with a rest in between, until interrupted
    #[arg(long, conflicts_with = "once")]
    watch: bool,
    /// Say what a pass would do now, and do nothing
    #[arg(long, conflicts_with = "watch")]
    dry_run: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Show the cars, where they are and why: nothing is changed or begun
    Status,
    /// Take a car out
    Eject {
        /// The car
        car: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Put a car first, with the cars it needs
    Promote {
        /// The car
        car: String,
    },
    /// Start and land nothing until it is resumed; or nothing that is not urgent
    Pause {
        /// Why
        #[arg(long, default_value = "paused by hand")]
        reason: String,
        /// Stop only cars that are less urgent than this, and those that need one
        #[arg(long, value_name = "p0|p1|p2", value_parser = freeze_line)]
        below: Option<Priority>,
    },
    /// Go on
    Resume,
    Simulate(simulate::Args),
}

impl Args {
    /// Whether it may change the board.
    pub(super) fn writes(&self) -> bool {
        !matches!(self.verb, Some(Verb::Simulate(_)))
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<Reply, CliError> {
    // Clap could refuse these by itself only together with --target and --json, which every verb takes.
    let of_a_pass = [("--once", args.once), ("--watch", args.watch), ("--dry-run", args.dry_run)];
    if let (Some((flag, _)), Some(_)) = (of_a_pass.iter().find(|(_, given)| *given), &args.verb) {
        let message = format!("{flag} is for a pass, and here is a subcommand, which makes none");
        return Err(CliError::bad_argument(message, "git scrum merge-train -h"));
    }
    let target = match &args.target {
        Some(target) => tasks::parse(target)?,
        None => context.session.target()?,
    };
    match &args.verb {
        Some(Verb::Status) => status(context, &target),
        Some(Verb::Eject { car, reason }) => eject(context, target, car, reason.as_deref()),
        Some(Verb::Promote { car }) => promote(context, target, car),
        Some(Verb::Pause { reason, below }) => {
            change(context, Command::Pause { target, reason: reason.clone(), below: *below }, "Paused")
        }
        Some(Verb::Resume) => change(context, Command::Resume { target }, "Resumed"),
        Some(Verb::Simulate(args)) => simulate::run(args, context, &target),
        None if args.watch => watch(context, &target),
        None => one_pass(context, &target, args.dry_run),
    }
}

fn one_pass(context: &Context, target: &Branch, dry_run: bool) -> Result<Reply, CliError> {
    let session = &context.session;
    refresh(session, target)?;
    let mut report = pass_with(context, &session.pass_settings(target)?, dry_run)?;
    while report.outdated {
        // What has landed, or was pushed, may say otherwise how the next one lands.
        report = pass_with(context, &session.pass_settings(target)?, dry_run)?.after(report);
    }
    Ok(reply(target, &report))
}

/// Makes a pass as long as the settings hold.
fn pass_with(context: &Context, settings: &PassSettings, dry_run: bool) -> Result<PassReport, CliError> {
    let session = &context.session;
    if settings.checks.is_empty() && !settings.policy.external {
        context.talk.tell("warning: no check is configured (train.check in .scrum.toml): whatever merges will land");
    }
    let board = context.board()?;
    let checks = session.checks();
    let radar = radar(session, settings);
    let radar = radar.as_ref().map(|radar| radar as &dyn Radar);
    let pass = Pass { engine: &board, code: &session.code, checks: &checks, radar, settings };
    Ok(if dry_run { pass.dry_run()? } else { pass.run(&mut |event| tell(context, &event))? })
}

/// Looks where the target is now: the settings are those that it has there. Where work may land at all is up to the
/// branch that all work goes to as well.
fn refresh(session: &Session, target: &Branch) -> Result<(), CliError> {
    let mut branches = vec![target.clone(), session.target()?];
    branches.dedup();
    Ok(session.code.refresh(&branches)?)
}

/// The radar, where the order of cars goes by what it shows.
fn radar(session: &Session, settings: &PassSettings) -> Option<impl Radar + use<>> {
    settings.policy.sparing.map(|_| session.radar())
}

fn tell(context: &Context, event: &PassEvent) {
    match event {
        // The rest is in the answer; a test is what one waits for.
        PassEvent::Doing(action @ Action::StartRun { .. }) => context.talk.tell(&view::action_line(action)),
        PassEvent::Doing(_) => {}
        PassEvent::Checked { cars, verdict } => {
            let cars: Vec<&str> = cars.iter().map(|id| id.as_str()).collect();
            context.talk.tell(&format!("check of {}: {verdict}", cars.join(", ")));
        }
        PassEvent::InDoubt { car, why } => {
            let what = "is taken to affect everything, for train.affected cannot be believed";
            context.talk.tell(&format!("warning: {car} {what}: {why}"));
        }
        PassEvent::LookingAgain(what) => context.talk.tell(&format!("looking again: {what}")),
        PassEvent::Recovered(what) => context.talk.tell(&format!("recovered: {what}")),
    }
}

fn reply(target: &Branch, report: &PassReport) -> Reply {
    let waits = report.actions.iter().filter_map(|action| match action {
        Action::Wait { car, reason } => Some((car.clone(), reason.clone())),
        _ => None,
    });
    let waits: BTreeMap<CarId, String> = waits.collect();
    let data = json!({
        "target": target.as_str(),
        "base": report.base.as_str(),
        "window": report.window,
        "cars": report.cars.iter().map(|car| view::car_because(car, waits.get(&car.id))).collect::<Vec<_>>(),
        "runs": report.runs.iter().map(view::run).collect::<Vec<_>>(),
        "actions": report.actions.iter().map(view::action).collect::<Vec<_>>(),
    });
    let mut text = String::new();
    for action in &report.actions {
        text.push_str(&format!("{}\n", view::action_line(action)));
    }
    if text.is_empty() {
        text = format!("The train for {target} is empty.\n");
    }
    Reply::new(data, view::clean(&text))
}

fn status(context: &Context, target: &Branch) -> Result<Reply, CliError> {
    let ((train, cars), current) = context.read(|board| {
        let train = board.train(target)?.unwrap_or_else(|| Train::new(target.clone()));
        Ok((train, board.open_cars(target)?))
    })?;
    let window = context.session.pass_settings(target)?.policy.window.of(&train);
    let ordered = in_order(&cars);
    let known = current && !cars.is_empty();
    let Outlook { reasons, landing } = if known { outlook(context, target, &train, &cars) } else { Outlook::default() };
    let mut text = String::new();
    if let Some(reason) = &train.paused {
        text.push_str(&format!("The train for {target} is paused: {reason}\n"));
    }
    if let Some(Freeze { below, reason }) = &train.frozen {
        text.push_str(&format!("The train for {target} is paused below {below}: {reason}\n"));
    }
    for (place, car) in ordered.iter().enumerate() {
        let commit = view::short(car.commit.as_str());
        text.push_str(&format!(
            "{:>3} {:<12} {} {:<8} {commit} {}\n",
            place + 1,
            car.id.as_str(),
            car.priority,
            car.state,
            car.title
        ));
        if let Some(reason) = reasons.get(&car.id) {
            text.push_str(&format!("      {reason}\n"));
        }
        if let Some(at) = landing.get(&car.id) {
            text.push_str(&format!("      lands at about {at}, if all passes\n"));
        }
    }
    if ordered.is_empty() {
        text.push_str(&format!("The train for {target} is empty.\n"));
    }
    let shown = |car: &&Car| {
        let mut value = view::car_because(car, reasons.get(&car.id));
        view::merge(&mut value, json!({ "eta": landing.get(&car.id).map(ToString::to_string) }));
        value
    };
    let data = json!({
        "target": target.as_str(),
        "base": train.landed_to.as_ref().map(|id| id.as_str()),
        "window": window,
        "paused": train.paused,
        "frozen": view::freeze(&train),
        "cars": ordered.iter().map(shown).collect::<Vec<_>>(),
        "runs": train.runs.iter().map(view::run).collect::<Vec<_>>(),
        "actions": [],
        "current": current,
    });
    Ok(Reply::new(data, view::clean(&text)))
}

/// Why the open cars of a train are where they are, and when they may land; where that cannot be told just now, nothing
/// but a warning.
fn outlook(context: &Context, target: &Branch, train: &Train, cars: &[Car]) -> Outlook {
    let session = &context.session;
    let explain = || -> Result<Outlook, CliError> {
        refresh(session, target)?;
        let (settings, board, checks) = (session.pass_settings(target)?, context.board()?, session.checks());
        let radar = radar(session, &settings);
        let radar = radar.as_ref().map(|radar| radar as &dyn Radar);
        let pass = Pass { engine: &board, code: &session.code, checks: &checks, radar, settings: &settings };
        Ok(pass.explain(train, cars)?)
    };
    explain().unwrap_or_else(|error| {
        context.talk.say(&format!("warning: what the next pass would do cannot be told: {}", error.message()));
        Outlook::default()
    })
}

fn eject(context: &Context, target: Branch, car: &str, reason: Option<&str>) -> Result<Reply, CliError> {
    let settings = context.session.settings_of(&target)?;
    let command = Command::Eject {
        target,
        car: tasks::parse(car)?,
        commit: None,
        cause: EjectCause::Withdrawn,
        reason: reason.unwrap_or("taken out by hand").to_owned(),
        lease: settings.train.rework,
        retries_max: settings.tasks.retries_max,
        window: None,
        breaker: 0,
    };
    let asked = context.board()?.ask(command)?;
    let Outcome::Ejected { cars } = asked.outcome else { unreachable!("BUG: an ejection was asked for") };
    if cars.is_empty() {
        return Err(Refusal::NoSuchCar(tasks::parse(car)?).into());
    }
    let ids: Vec<&str> = cars.iter().map(|id| id.as_str()).collect();
    Ok(Reply::new(json!({ "ejected": ids }), format!("Ejected {}\n", ids.join(", "))))
}

fn promote(context: &Context, target: Branch, car: &str) -> Result<Reply, CliError> {
    let command = Command::Promote { target: target.clone(), car: tasks::parse(car)? };
    let Outcome::Promoted { cars, changed } = context.settle(command)? else {
        unreachable!("BUG: a promotion was asked for")
    };
    let ids: Vec<&str> = cars.iter().map(|id| id.as_str()).collect();
    let words = if changed { "goes first" } else { "goes first already" };
    let place = ids.iter().position(|id| *id == car).unwrap_or_default();
    let needs = match &ids[..place] {
        [] => String::new(),
        needs => format!(", after {}, which it needs", needs.join(", ")),
    };
    // Of those that land together, any may be named.
    let along = match ids.get(place + 1..) {
        None | Some([]) => String::new(),
        Some(along) => format!(", together with {}", along.join(", ")),
    };
    let text = format!("{car} {words} in the train for {target}{needs}{along}\n");
    let data = json!({ "target": target.as_str(), "promoted": ids, "changed": changed });
    Ok(Reply::new(data, view::clean(&text)))
}

/// Refuses a target that is no branch: a train for it would be one that nobody sees. One that had a train once may be
/// told to go on.
fn check_is_there(context: &Context, target: &Branch) -> Result<(), CliError> {
    let (session, board) = (&context.session, context.board()?);
    let has_train = |fresh| board.read(fresh, |board| Ok(board.train(target)?.is_some()));
    // As a rule this clone has seen the train, and nobody has to be asked.
    if has_train(false).unwrap_or(false) {
        return Ok(());
    }
    session.code.refresh(std::slice::from_ref(target))?;
    if session.code.head(target)?.is_some() || has_train(true)? {
        return Ok(());
    }
    let what = format!("there is no branch {target} to land on");
    Err(EngineError::Impossible { what, hint: "git branch --all".to_owned() }.into())
}

/// A priority that something is less urgent than.
fn freeze_line(text: &str) -> Result<Priority, String> {
    match tasks::priority(text)? {
        Priority::P3 => Err("nothing is less urgent than p3: use p0, p1 or p2".to_owned()),
        below => Ok(below),
    }
}

fn change(context: &Context, command: Command, word: &str) -> Result<Reply, CliError> {
    let (Command::Pause { target, .. } | Command::Resume { target }) = &command else {
        unreachable!("BUG: only pause and resume come here")
    };
    let target = target.clone();
    check_is_there(context, &target)?;
    let changed = context.settle(command)? == Outcome::Train { changed: true };
    let text = if changed { format!("{word} the train for {target}\n") } else { "Nothing to change.\n".to_owned() };
    Ok(Reply::new(json!({ "target": target.as_str(), "changed": changed }), text))
}

/// Makes passes until interrupted. What fails for the moment is said and tried again; what will not get better ends it.
fn watch(context: &Context, target: &Branch) -> Result<Reply, CliError> {
    let mut last: Option<String> = None;
    loop {
        let now = Context { session: context.session.reopen()?, talk: context.talk };
        match one_pass(&now, target, false) {
            // A pass that did nothing, as the one before did, is no news.
            Ok(reply) if last.as_deref() == Some(reply.text()) => {}
            Ok(reply) => {
                if !now.talk.show(&reply)? {
                    return Ok(Reply::new(Value::Null, ""));
                }
                last = Some(reply.text().to_owned());
            }
            Err(error) if error.may_pass() => now.talk.say(error.to_text().trim_end()),
            Err(error) => return Err(error),
        }
        now.session.delivered();
        now.rest(target)?;
    }
}
