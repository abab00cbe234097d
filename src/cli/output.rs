//! Where text goes: results to standard output, talk to standard error, colour and progress only on a terminal.

use std::cell::RefCell;
use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::errors::{CliError, exit};
use crate::failpoint;
use crate::session::Session;

/// The version of the JSON that is printed: fields are only ever added within one.
const SCHEMA_VERSION: u32 = 1;

/// What scripts are told.
#[derive(Serialize)]
#[serde(untagged)]
enum Data {
    Value(Value),
    /// There may be very many: each is kept as it will be printed, and nowhere are all together.
    Tasks {
        tasks: Vec<Box<RawValue>>,
        current: bool,
    },
}

#[derive(Serialize)]
struct Envelope<'a> {
    schema_version: u32,
    data: &'a Data,
}

/// What a command answers.
pub(super) struct Reply {
    /// For scripts.
    data: Data,
    /// For people.
    text: String,
    /// 0, or what kind of no it is.
    exit: u8,
    /// What is only over once the answer has reached whoever asked.
    session: RefCell<Option<Session>>,
}

impl Reply {
    /// An answer.
    pub fn new(data: Value, text: impl Into<String>) -> Reply {
        Reply { data: Data::Value(data), text: text.into(), exit: 0, session: RefCell::new(None) }
    }

    /// A list of tasks, for scripts.
    pub fn tasks(tasks: Vec<Box<RawValue>>, current: bool) -> Reply {
        Reply { data: Data::Tasks { tasks, current }, ..Reply::new(Value::Null, "") }
    }

    /// What it says to people.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The same answer, as a no.
    pub fn no(mut self) -> Reply {
        self.exit = 1;
        self
    }

    /// The same answer, with another exit code.
    pub fn exiting(mut self, exit: u8) -> Reply {
        self.exit = exit;
        self
    }

    /// Keeps what this invocation has begun in its journal until the answer is printed.
    pub fn delivering(self, session: Session) -> Reply {
        *self.session.borrow_mut() = Some(session);
        self
    }
}

/// The two streams, and what they are.
pub struct Output {
    fancy: bool,
}

impl Output {
    /// The process's own streams. `plain`: no colour and no progress even on a terminal.
    pub fn new(plain: bool) -> Output {
        Output { fancy: std::io::stderr().is_terminal() && !plain }
    }

    pub(super) fn talk(&self, json: bool) -> Talk {
        Talk { json, fancy: self.fancy }
    }

    pub(super) fn text(&self, text: &str) {
        // A reader that has gone away, as `head` does, is no error of ours.
        let _ = write!(std::io::stdout(), "{text}");
    }

    pub(super) fn reply(&self, reply: &Reply, json: bool) -> u8 {
        failpoint::reach("answering");
        let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
        let written = write_reply(&mut stdout, reply, json).and_then(|()| stdout.flush());
        // What could not be written is not tried once more.
        let _ = stdout.into_parts();
        let exit = match written {
            Ok(()) => {
                if let Some(session) = reply.session.borrow().as_ref() {
                    session.delivered();
                }
                reply.exit
            }
            // A reader that has gone away, as `head` does, is no error of ours. But it has not read all of the answer:
            // who asks again is told of what was done, and nothing is done twice.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => reply.exit,
            Err(error) => self.fail(&unwritten(&error), false),
        };
        failpoint::reach("the end");
        exit
    }

    pub(super) fn fail(&self, error: &CliError, json: bool) -> u8 {
        if json {
            let value = json!({ "schema_version": SCHEMA_VERSION, "error": error.to_json() });
            let mut stdout = std::io::stdout().lock();
            match writeln!(stdout, "{value}").and_then(|()| stdout.flush()) {
                Err(failed) if failed.kind() != ErrorKind::BrokenPipe => {}
                _ => return error.exit,
            }
        }
        let _ = write!(std::io::stderr(), "{}", error.to_text());
        error.exit
    }
}

/// The answer has not reached whoever asked, though what they asked for may have been done.
fn unwritten(error: &std::io::Error) -> CliError {
    let hint = "see to that, and run the same command again soon: nothing is done twice";
    CliError::new(exit::ENVIRONMENT, "io", format!("the answer could not be written: {error}"), hint)
}

fn write_reply(stdout: &mut impl Write, reply: &Reply, json: bool) -> std::io::Result<()> {
    if !json {
        return stdout.write_all(reply.text.as_bytes());
    }
    let envelope = Envelope { schema_version: SCHEMA_VERSION, data: &reply.data };
    serde_json::to_writer(&mut *stdout, &envelope)?;
    writeln!(stdout)
}

/// What is said along the way.
#[derive(Clone, Copy)]
pub(super) struct Talk {
    json: bool,
    fancy: bool,
}

impl Talk {
    /// Whether the answer is for scripts.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Says one line to whoever watches.
    pub fn say(&self, line: &str) {
        let _ = writeln!(std::io::stderr(), "{}", super::view::clean(line));
    }

    /// Says one line that only people want.
    pub fn tell(&self, line: &str) {
        if !self.json {
            self.say(line);
        }
    }

    /// Shows one of several answers of a command that goes on. Says whether anybody still reads them.
    pub fn show(&self, reply: &Reply) -> Result<bool, CliError> {
        let mut stdout = std::io::stdout().lock();
        match write_reply(&mut stdout, reply, self.json).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(unwritten(&error)),
        }
    }

    /// Shows that something is going on, once it has gone on for a second, until the value is dropped.
    pub fn patience(&self) -> Option<Patience> {
        if !self.fancy {
            return None;
        }
        let (stop, stopped) = channel::<()>();
        let thread = std::thread::spawn(move || {
            if let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(Duration::from_secs(1)) {
                let bar = ProgressBar::new_spinner();
                if let Ok(style) = ProgressStyle::with_template("{spinner} waiting for the repository, {elapsed}") {
                    bar.set_style(style);
                }
                bar.enable_steady_tick(Duration::from_millis(120));
                let _ = stopped.recv();
                bar.finish_and_clear();
            }
        });
        Some(Patience { stop: Some(stop), thread: Some(thread) })
    }
}

/// A sign of life that ends when it is dropped.
pub(super) struct Patience {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Patience {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
