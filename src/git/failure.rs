//! Why a transfer by the `git` program failed, read from what it said on standard error.
//!
//! The exit code of `git push` and `git fetch` says nothing about the cause (GIT_FACTS 3), so the words are matched.
//! `LC_ALL=C` keeps them in English. Words that are not known give [`Cause::Unclear`], never a guess.

use std::time::Duration;

/// The causes that callers treat differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The server did not accept who we are, or wants a name that nobody is there to type.
    Authentication,
    /// The server was not reached at all: nothing can have changed there.
    Unreachable,
    /// The server was reached, but refuses to serve more for now.
    RateLimited,
    /// There is no repository at that address.
    NoRepository,
    /// The ref that was asked for does not exist there.
    NoSuchRef,
    /// The server cannot update several refs at once.
    NoAtomicPush,
    /// This repository must not be used (ownership, a bare repository where those are off).
    UnsafeRepository,
    /// Two repositories of different object formats.
    ObjectFormat,
    /// Anything else, also a connection that broke half-way.
    Unclear,
}

const WORDS: &[(Cause, &[&str])] = &[
    (Cause::NoAtomicPush, &["does not support --atomic push", "doesn't support atomic push"]),
    (Cause::NoSuchRef, &["couldn't find remote ref"]),
    (Cause::UnsafeRepository, &["detected dubious ownership", "cannot use bare repository"]),
    (
        Cause::ObjectFormat,
        &["mismatched algorithms", "unsupported object format", "unknown object format", "hash algorithm"],
    ),
    (Cause::RateLimited, &["returned error: 429", "rate limit", "Too Many Requests"]),
    (
        Cause::Authentication,
        &[
            "Authentication failed",
            "could not read Username",
            "could not read Password",
            "terminal prompts disabled",
            "Permission denied (",
            "Host key verification failed",
            "returned error: 401",
            "returned error: 403",
            "Write access to repository not granted",
            "Permission to ",
        ],
    ),
    (
        Cause::Unreachable,
        &[
            "Could not resolve host",
            "Name or service not known",
            "Temporary failure in name resolution",
            "Failed to connect",
            "Couldn't connect to server",
            "ssh: connect to host",
            "unable to connect to",
        ],
    ),
    (
        Cause::NoRepository,
        &["does not appear to be a git repository", "' not found", "Repository not found", "returned error: 404"],
    ),
];

/// Reads the cause from what git printed.
pub fn cause(stderr: &str) -> Cause {
    let found = WORDS.iter().find(|(_, words)| words.iter().any(|word| stderr.contains(word)));
    found.map_or(Cause::Unclear, |(cause, _)| *cause)
}

/// For how long the server asks not to be asked again, where it refuses to serve more and says so in words.
pub fn pause(stderr: &str) -> Option<Duration> {
    if cause(stderr) != Cause::RateLimited {
        return None;
    }
    let words: Vec<&str> = stderr.split(|c: char| c.is_whitespace() || ":,.()".contains(c)).collect();
    let words: Vec<String> = words.into_iter().filter(|w| !w.is_empty()).map(str::to_ascii_lowercase).collect();
    let asked = |pair: &[String]| {
        let count: u64 = pair[0].parse().ok()?;
        ["second", "minute"].iter().zip([1, 60]).find(|(unit, _)| pair[1].starts_with(*unit)).map(|(_, s)| count * s)
    };
    let after = |pair: &[String]| if pair[0] == "retry-after" { pair[1].parse().ok() } else { None };
    words.windows(2).find_map(|pair| asked(pair).or_else(|| after(pair))).map(Duration::from_secs)
}

/// The most telling line of what git printed: the first `fatal:` or `error:` or `remote:` line, without that word.
pub fn telling_line(stderr: &str) -> String {
    let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let marked = ["fatal: ", "remote: error: ", "error: ", "remote: "]
        .iter()
        .find_map(|mark| lines().find_map(|line| line.strip_prefix(mark)));
    marked.or_else(|| lines().next()).unwrap_or("git said nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_read_from_words_that_git_prints() {
        for (words, expected) in [
            (
                "fatal: unable to access 'http://127.0.0.1:1/x/': Failed to connect to 127.0.0.1 port 1",
                Cause::Unreachable,
            ),
            ("fatal: '../nope.git' does not appear to be a git repository\n", Cause::NoRepository),
            ("fatal: couldn't find remote ref refs/scrum/board", Cause::NoSuchRef),
            ("fatal: could not read Username for 'http://h': terminal prompts disabled", Cause::Authentication),
            ("fatal: the receiving end does not support --atomic push\nfatal: hung up", Cause::NoAtomicPush),
            ("fatal: the remote end hung up unexpectedly", Cause::Unclear),
            ("", Cause::Unclear),
        ] {
            assert_eq!(cause(words), expected, "{words}");
        }
    }

    #[test]
    fn a_pause_is_read_where_the_server_names_one() {
        for (words, secs) in [
            ("remote: rate limit exceeded, please try again in 30 seconds.", Some(30)),
            ("error: The requested URL returned error: 429\nRetry-After: 120", Some(120)),
            ("remote: Too Many Requests (wait 2 minutes)", Some(120)),
            ("error: The requested URL returned error: 429", None),
            ("remote: done in 30 seconds", None),
        ] {
            assert_eq!(pause(words), secs.map(Duration::from_secs), "{words}");
        }
    }

    #[test]
    fn the_telling_line_is_the_fatal_one() {
        assert_eq!(telling_line("hint: x\nerror: b\nfatal: a\n"), "a");
        assert_eq!(telling_line(""), "git said nothing");
    }
}
