//! What was asked and what was answered: the recorded history of a run.
//!
//! An operation is one wish of one worker, from its first call to the return that decided it. A call whose process was
//! killed, or that ended with "unknown" or "network", decides nothing: the worker repeats it word for word, as the
//! manual tells people to, and the calls together are one operation. Knows the words of the command line, not its rules.

use serde_json::Value;

/// What a worker wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    Add { task: String, title: String },
    Edit { task: String, title: String },
    Block { task: String, reason: String },
    Unblock { task: String },
    Reopen { task: String },
    Claim { task: Option<String>, lease: i64 },
    Renew { task: String, fence: Option<u64>, lease: i64 },
    Release { task: String, fence: Option<u64>, reason: String },
    Fail { task: String, fence: Option<u64>, reason: String },
    Done { task: String, fence: Option<u64> },
    Lock { pattern: String, shared: bool, lease: i64 },
    Unlock { pattern: String },
}

impl Ask {
    /// The words after `git scrum`.
    pub fn argv(&self) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
        let fenced = |mut argv: Vec<String>, fence: &Option<u64>| {
            argv.extend(fence.iter().flat_map(|fence| ["--fence".to_owned(), fence.to_string()]));
            argv
        };
        match self {
            Ask::Add { task, title } => words(&["add", title, "--id", task]),
            Ask::Edit { task, title } => words(&["edit", task, "--title", title]),
            Ask::Block { task, reason } => words(&["block", task, "--reason", reason]),
            Ask::Unblock { task } => words(&["unblock", task]),
            Ask::Reopen { task } => words(&["reopen", task]),
            Ask::Claim { task, lease } => {
                let mut argv = words(&["claim", "--lease", &format!("{lease}s")]);
                argv.extend(task.clone());
                argv
            }
            Ask::Renew { task, fence, lease } => {
                fenced(words(&["renew", task, "--lease", &format!("{lease}s")]), fence)
            }
            Ask::Release { task, fence, reason } => fenced(words(&["release", task, "--reason", reason]), fence),
            Ask::Fail { task, fence, reason } => fenced(words(&["fail", task, "--reason", reason]), fence),
            Ask::Done { task, fence } => fenced(words(&["done", task]), fence),
            Ask::Lock { pattern, shared, lease } => {
                let mut argv = words(&["lock", pattern, "--lease", &format!("{lease}s")]);
                argv.extend(shared.then(|| "--shared".to_owned()));
                argv
            }
            Ask::Unlock { pattern } => words(&["unlock", pattern]),
        }
    }

    /// The task it names.
    pub fn task(&self) -> Option<&str> {
        match self {
            Ask::Add { task, .. }
            | Ask::Edit { task, .. }
            | Ask::Block { task, .. }
            | Ask::Unblock { task }
            | Ask::Reopen { task }
            | Ask::Renew { task, .. }
            | Ask::Release { task, .. }
            | Ask::Fail { task, .. }
            | Ask::Done { task, .. } => Some(task),
            Ask::Claim { task, .. } => task.as_deref(),
            Ask::Lock { .. } | Ask::Unlock { .. } => None,
        }
    }

    /// Whether it is about the claim of this task: whose lease ran out may go on as long as nobody else has it.
    pub fn goes_on_with(&self, id: &str) -> bool {
        let claim = matches!(self, Ask::Renew { .. } | Ask::Release { .. } | Ask::Fail { .. } | Ask::Done { .. });
        claim && self.task() == Some(id)
    }

    /// Whether it is about locks and not about a task.
    pub fn is_about_locks(&self) -> bool {
        matches!(self, Ask::Lock { .. } | Ask::Unlock { .. })
    }

    /// Whether the same was asked, but for the fence: the program names the one it knows where none is given.
    pub fn same_request(&self, other: &Ask) -> bool {
        let without_fence = |ask: &Ask| {
            let mut ask = ask.clone();
            if let Ask::Renew { fence, .. }
            | Ask::Release { fence, .. }
            | Ask::Fail { fence, .. }
            | Ask::Done { fence, .. } = &mut ask
            {
                *fence = None;
            }
            ask
        };
        without_fence(self) == without_fence(other)
    }
}

/// What the program answered, once and for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done, and there is no more to say.
    Done,
    Claimed {
        task: String,
        fence: u64,
        until: i64,
    },
    Renewed {
        fence: u64,
        until: i64,
    },
    Locked {
        fence: u64,
        until: i64,
    },
    /// There was no task to be had.
    Nothing,
    Refused(Refusal),
}

/// A "no", with the facts that were given for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    pub code: String,
    pub holder: Option<String>,
    pub fence: Option<u64>,
    pub state: Option<String>,
    /// The pattern that is in the way.
    pub held: Option<String>,
}

impl Answer {
    /// Whether the board was changed.
    pub fn is_applied(&self) -> bool {
        !matches!(self, Answer::Nothing | Answer::Refused(_))
    }

    /// Under which fence something was granted.
    pub fn granted(&self) -> Option<u64> {
        match self {
            Answer::Claimed { fence, .. } | Answer::Locked { fence, .. } => Some(*fence),
            _ => None,
        }
    }

    /// Reads the answer to `ask`; an error says what is wrong with it.
    pub fn read(ask: &Ask, exit: i64, json: &Value) -> Result<Answer, String> {
        let data = &json["data"];
        let word = |value: &Value| value.as_str().map(str::to_owned);
        let odd = || format!("exit {exit}, {json}");
        match exit {
            0 => Ok(match ask {
                Ask::Claim { .. } => {
                    let [claim] = data["claims"].as_array().map(Vec::as_slice).unwrap_or_default() else {
                        return Err(odd());
                    };
                    Answer::Claimed {
                        task: word(&claim["task"]).ok_or_else(odd)?,
                        fence: claim["fence"].as_u64().ok_or_else(odd)?,
                        until: seconds(&claim["lease_until"]).ok_or_else(odd)?,
                    }
                }
                Ask::Renew { .. } => Answer::Renewed {
                    fence: data["fence"].as_u64().ok_or_else(odd)?,
                    until: seconds(&data["lease_until"]).ok_or_else(odd)?,
                },
                Ask::Lock { .. } => Answer::Locked {
                    fence: data["fence"].as_u64().ok_or_else(odd)?,
                    until: seconds(&data["until"]).ok_or_else(odd)?,
                },
                _ if data.is_object() => Answer::Done,
                _ => return Err(odd()),
            }),
            1 if data["claims"].as_array().is_some_and(Vec::is_empty) => Ok(Answer::Nothing),
            1 | 3 => {
                let error = &json["error"];
                Ok(Answer::Refused(Refusal {
                    code: word(&error["code"]).ok_or_else(odd)?,
                    holder: word(&error["holder"]),
                    fence: error["fence"].as_u64(),
                    state: word(&error["state"]),
                    held: word(&error["held"]),
                }))
            }
            _ => Err(odd()),
        }
    }
}

/// A time of the program's in seconds since 1970.
pub fn seconds(value: &Value) -> Option<i64> {
    Some(value.as_str()?.parse::<jiff::Timestamp>().ok()?.as_second())
}

/// A moment: its place in the one sequence of all calls and returns, and the clock in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    pub sequence: u64,
    pub clock: i64,
}

/// One wish and what came of it.
#[derive(Clone, Debug)]
pub struct Operation {
    pub holder: String,
    pub ask: Ask,
    pub answer: Answer,
    /// Before its first call.
    pub begun: Moment,
    /// After its last return.
    pub ended: Moment,
    /// How many calls it took.
    pub calls: u32,
}

impl Operation {
    /// The task it was about in the end.
    pub fn task(&self) -> Option<&str> {
        match &self.answer {
            Answer::Claimed { task, .. } => Some(task),
            _ => self.ask.task(),
        }
    }
}
