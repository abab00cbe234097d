//! The command line: parse, ask the engine, render for people or as JSON. Nothing else in the project prints.
//!
//! Results go to standard output, talk and progress to standard error. One file for each verb or small family of verbs:
//! its arguments, whose comments are its help, and one function that gives a `Reply`.

mod approve;
mod branches;
mod claim;
mod conflicts;
mod demo;
mod doctor;
mod errors;
mod gc;
mod generate;
mod independent;
mod init;
mod list;
mod locks;
mod log;
mod memory;
mod merge_train;
mod nearby;
mod output;
mod promote;
mod renew;
mod revert;
mod show;
mod simulate;
mod status;
mod submit;
mod tasks;
mod team;
mod verdict;
mod view;
mod worktree;

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::domain::board::Board;
use crate::domain::{Beats, Branch, Command, Grant, Outcome};
use crate::engine::doctor::{furthest_ahead, written_lately};
use crate::engine::ports::Host;
use crate::engine::{EngineError, latest};
use crate::ledger::{Fault, GitStore, Pace, Store};
use crate::record::LedgerBoard;
use crate::session::{BoardEngine, Session, Start};
use errors::CliError;
pub use output::Output;
use output::{Reply, Talk};

/// Many teams of people and agents on one git repository.
///
/// Hands out tasks, keeps two workers off the same files, gives each an isolated worktree, and lands finished work
/// through a merge train that keeps the target branch green. All state lives in the repository, in refs/scrum/*.
#[derive(Parser)]
#[command(name = "git-scrum", bin_name = "git scrum", version, max_term_width = 100, propagate_version = true)]
pub struct Cli {
    /// Print one JSON object instead of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Init(init::Args),
    Add(tasks::AddArgs),
    Edit(tasks::EditArgs),
    Block(tasks::BlockArgs),
    /// Let a task that was held back be claimed again, once nothing else is in its way
    Unblock(tasks::TaskArgs),
    Cancel(tasks::CancelArgs),
    /// Put a task that failed or was cancelled back into the queue
    Reopen(tasks::TaskArgs),
    List(list::ListArgs),
    Ready(list::ReadyArgs),
    Show(show::Args),
    Claim(claim::ClaimArgs),
    Renew(renew::Args),
    Release(claim::ReleaseArgs),
    Fail(claim::FailArgs),
    Done(claim::DoneArgs),
    Submit(submit::Args),
    Approve(approve::Args),
    Revert(revert::Args),
    Promote(promote::Args),
    Branches(branches::Args),
    MergeTrain(merge_train::Args),
    Verdict(verdict::Args),
    Lock(locks::LockArgs),
    Unlock(locks::UnlockArgs),
    Locks(locks::LocksArgs),
    Conflicts(conflicts::Args),
    Independent(independent::Args),
    #[command(subcommand)]
    Team(team::Verb),
    #[command(subcommand)]
    Worktree(worktree::Verb),
    Status(status::Args),
    Log(log::Args),
    Doctor(doctor::Args),
    Gc(gc::Args),
    #[command(subcommand)]
    Memory(memory::Verb),
    Demo(demo::Args),

    Completions(generate::CompletionsArgs),
    Man(generate::ManArgs),
}

impl Verb {
    /// Whether it may change the board: then it matters what time it is.
    fn writes(&self) -> bool {
        match self {
            Verb::List(_) | Verb::Ready(_) | Verb::Show(_) | Verb::Locks(_) | Verb::Status(_) | Verb::Log(_) => false,
            Verb::Conflicts(_) | Verb::Independent(_) | Verb::Branches(_) => false,
            Verb::Doctor(_) | Verb::Memory(_) | Verb::Worktree(_) | Verb::Demo(_) => false,
            Verb::Completions(_) | Verb::Man(_) => false,
            Verb::Team(verb) => verb.writes(),
            Verb::MergeTrain(args) => args.writes(),
            _ => true,
        }
    }

    /// Whether it goes by what the target settles for everybody: where work lands, from where and under which
    /// conditions. A pass reads that for itself, of whichever target it is for.
    fn needs_settings(&self) -> bool {
        matches!(self, Verb::Submit(_) | Verb::Branches(_))
    }
}

/// What a command works with.
struct Context {
    session: Session,
    talk: Talk,
}

/// Runs one invocation. Gives the exit code.
pub fn run(args: impl IntoIterator<Item = std::ffi::OsString>, start: Start, output: &Output) -> u8 {
    let args: Vec<std::ffi::OsString> = args.into_iter().collect();
    let wants_json = args.iter().any(|arg| arg == "--json");
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            output.text(&error.render().to_string());
            return 0;
        }
        Err(error) => return output.fail(&CliError::usage(&error), wants_json),
    };
    let talk = output.talk(cli.json);
    let answer = match cli.verb {
        Verb::Demo(args) => demo::run(&args, &start, output, cli.json),
        verb => perform(verb, start, talk),
    };
    match answer {
        Ok(reply) => output.reply(&reply, cli.json),
        Err(error) => output.fail(&error, cli.json),
    }
}

fn perform(verb: Verb, start: Start, talk: Talk) -> Result<Reply, CliError> {
    match verb {
        Verb::Completions(args) => return Ok(generate::completions(&args)),
        Verb::Man(args) => return generate::man(&args),
        _ => {}
    }
    let patience = talk.patience();
    let session = Session::open(start)?;
    let context = match verb {
        Verb::Init(args) => return init::run(&args, session, &talk),
        _ => Context { session, talk },
    };
    if verb.needs_settings() {
        context.session.settings_of_target()?;
    }
    let writes = verb.writes();
    let reply = match verb {
        Verb::Add(args) => tasks::add(&args, &context),
        Verb::Edit(args) => tasks::edit(&args, &context),
        Verb::Block(args) => tasks::block(&args, &context),
        Verb::Unblock(args) => tasks::unblock(&args, &context),
        Verb::Cancel(args) => tasks::cancel(&args, &context),
        Verb::Reopen(args) => tasks::reopen(&args, &context),
        Verb::List(args) => list::list(&args, &context),
        Verb::Ready(args) => list::ready(&args, &context),
        Verb::Show(args) => show::run(&args, &context),
        Verb::Claim(args) => claim::claim(&args, &context),
        Verb::Renew(args) => renew::run(&args, &context),
        Verb::Release(args) => claim::release(&args, &context),
        Verb::Fail(args) => claim::fail(&args, &context),
        Verb::Done(args) => claim::done(&args, &context),
        Verb::Submit(args) => submit::run(&args, &context),
        Verb::Approve(args) => approve::run(&args, &context),
        Verb::Revert(args) => revert::run(&args, &context),
        Verb::Promote(args) => promote::run(&args, &context),
        Verb::Branches(args) => branches::run(&args, &context),
        Verb::MergeTrain(args) => merge_train::run(&args, &context),
        Verb::Verdict(args) => verdict::run(&args, &context),
        Verb::Lock(args) => locks::lock(&args, &context),
        Verb::Unlock(args) => locks::unlock(&args, &context),
        Verb::Locks(args) => locks::locks(&args, &context),
        Verb::Conflicts(args) => conflicts::run(&args, &context),
        Verb::Independent(args) => independent::run(&args, &context),
        Verb::Team(verb) => team::run(&verb, &context),
        Verb::Worktree(verb) => worktree::run(&verb, &context),
        Verb::Status(args) => status::run(&args, &context),
        Verb::Log(args) => log::run(&args, &context),
        Verb::Doctor(args) => doctor::run(&args, &context),
        Verb::Gc(args) => gc::run(&args, &context),
        Verb::Memory(verb) => memory::run(&verb, &context),
        Verb::Init(_) | Verb::Demo(_) | Verb::Completions(_) | Verb::Man(_) => {
            unreachable!("BUG: performed above, for it needs no board")
        }
    };
    drop(patience);
    if let Some(unreadable) = context.session.unreadable()
        && !reply.as_ref().is_err_and(CliError::is_of_settings)
    {
        let what = CliError::from(unreadable.clone()).message();
        context.talk.say(&format!("warning: {what}; it is done without them"));
    }
    if writes && !reply.as_ref().is_err_and(CliError::is_usage) {
        context.warn_of_clocks();
    }
    match reply {
        Ok(reply) => Ok(reply.delivering(context.session)),
        Err(error) => {
            if !error.is_unknown() {
                // An unknown outcome stays in the journal: the same command finds it and delivers it.
                context.session.delivered();
            }
            Err(error)
        }
    }
}

impl Context {
    /// Refuses a target that work must not be submitted to.
    fn check_target(&self, target: &Branch) -> Result<(), CliError> {
        let Some(what) = self.session.why_not_land_on(target)? else { return Ok(()) };
        let hint = "git scrum submit --target BRANCH";
        Err(CliError::new(errors::exit::FORBIDDEN, "forbidden-target", what, hint).with("target", target.as_str()))
    }

    /// Waits until it is time to look again.
    fn rest(&self, target: &Branch) -> Result<(), CliError> {
        let secs = self.session.settings_of(target)?.train.interval.0.max(1);
        // Those who watch from several hosts should not all ask at once.
        let jitter = self.session.host.below(secs * 200);
        self.session.host.wait(Duration::from_millis(secs * 900 + jitter));
        Ok(())
    }

    fn board(&self) -> Result<BoardEngine<'_>, CliError> {
        Ok(self.session.board()?)
    }

    /// Asks for something that asking twice leaves as it is. What a killed process had asked for may have been undone
    /// since its answer got lost, so then it is asked for once more.
    fn settle(&self, command: Command) -> Result<Outcome, CliError> {
        let board = self.board()?;
        let first = board.ask(command.clone())?;
        if !first.resumed {
            return Ok(first.outcome);
        }
        self.session.delivered();
        match board.ask(command) {
            Ok(second) => Ok(second.outcome.after(&first.outcome)),
            // It was done, and cannot be any more.
            Err(EngineError::Refused(_)) => Ok(first.outcome),
            Err(error) => Err(error.into()),
        }
    }

    /// When holders were last alive, as far as this clone has heard: nobody is asked.
    fn beats_seen(&self) -> Result<Beats, EngineError> {
        Ok(latest(&self.session.store().beats_seen()?))
    }

    /// The grants of a board as people are shown them: kept by the heartbeats that this clone has heard.
    fn grants(&self, board: &LedgerBoard<'_, '_, GitStore>) -> Result<Vec<Grant>, EngineError> {
        let beats = self.beats_seen()?;
        Ok(board.grants()?.iter().map(|grant| grant.kept(beats.get(&grant.fence()).copied())).collect())
    }

    /// Says so where what was just seen lies further ahead of this clock than clocks may differ.
    fn warn_of_clocks(&self) {
        let store = self.session.store();
        let (Ok(settings), Ok(written)) = (self.session.settings(), written_lately(store, &store.heard())) else {
            // Whatever is wrong with either is said by whoever needs it.
            return;
        };
        if let Some(what) = furthest_ahead(self.session.host.now(), &written, settings.tasks.skew) {
            self.talk.say(&format!("warning: {what}"));
        }
    }

    /// Reads the board as the truth has it; or, where that cannot be reached, as it was last seen, and says so.
    /// The flag says whether it is the present board.
    fn read<T>(
        &self,
        read: impl Fn(&LedgerBoard<'_, '_, GitStore>) -> Result<T, EngineError>,
    ) -> Result<(T, bool), CliError> {
        let board = self.board()?;
        match board.read(true, &read) {
            Ok(value) => Ok((value, true)),
            Err(EngineError::Fault(
                fault @ (Fault::Network { .. } | Fault::Authentication { .. } | Fault::Environment { .. }),
            )) => {
                if self.session.store().cached()?.is_none() {
                    return Err(fault.into());
                }
                self.talk.say(&format!("warning: {fault}; this is the board as it was last seen here"));
                Ok((board.read(false, &read)?, false))
            }
            Err(error) => Err(error.into()),
        }
    }
}
