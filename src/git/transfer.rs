//! Push and fetch as the ledger and the train need them: explicit, leased, and with an outcome for every ref.
//!
//! Guarantees: a push changes exactly the refs that were named, each only from the value that was expected; what
//! happened to each ref is read from git's report and not from its exit code (GIT_FACTS 3, 4); a ref without a line in
//! the report is [`RefOutcome::Unknown`]. Reading and writing use one address, never a separate push URL.

use super::failure::{self, Cause};
use super::{Git, GitError, Output};

/// One ref that a push is to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUpdate {
    /// The full name, `refs/…`.
    pub name: String,
    /// The object the ref must have now; `None`: the ref must not exist.
    pub old: Option<String>,
    /// The object it is to have; `None` deletes it.
    pub new: Option<String>,
}

/// What a push did to one ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefOutcome {
    /// The ref has the value that was pushed.
    Applied,
    /// The server's ref already had the value before this push.
    UpToDate,
    /// The ref had another value than expected.
    Lost,
    /// Not tried, because another ref of the same atomic push failed.
    Skipped,
    /// The server has a lock file on the ref, which a killed process may have left.
    Locked(String),
    /// The server will not have it, and will not have it the next time either; its words.
    Refused(String),
    /// The report does not say.
    Unknown,
}

/// What a push did.
#[derive(Debug, Clone)]
pub struct PushReport {
    /// One outcome for each update, in their order.
    pub refs: Vec<RefOutcome>,
    /// Why there is no report for some ref.
    pub cause: Cause,
    /// The most telling line of what git printed.
    pub said: String,
}

/// The names of refs and the objects they point to; or why there is no answer, and the most telling line of it.
pub type Listed = Result<Vec<(String, String)>, (Cause, String)>;

/// Settings that make a push or a fetch do what its arguments say and nothing else.
const NEUTRAL: &[&str] = &[
    "-c",
    "push.recurseSubmodules=no",
    "-c",
    "push.followTags=false",
    "-c",
    "push.gpgSign=false",
    "-c",
    "push.negotiate=false",
    // Empty: the list of options that a user configured for their own pushes. Many servers refuse any.
    "-c",
    "push.pushOption=",
    "-c",
    "fetch.prune=false",
    "-c",
    "fetch.pruneTags=false",
    "-c",
    "fetch.recurseSubmodules=no",
    "-c",
    "fetch.writeCommitGraph=false",
    "-c",
    "fetch.fsckObjects=false",
    "-c",
    "maintenance.auto=false",
    "-c",
    "gc.auto=0",
    "-c",
    "http.lowSpeedLimit=100",
    "-c",
    "http.lowSpeedTime=60",
    // A version has a dozen small objects: a thread for each processor only costs.
    "-c",
    "pack.threads=1",
];

/// What a push calls the address it goes to.
const REMOTE: &str = "git-scrum-truth";

impl Git {
    /// Pushes all `updates` to `url` as one atomic push (`atomic`), or ref by ref. What was moved there is remembered
    /// in this clone under the name that `seen_as` gives, by the same process.
    ///
    /// # Errors
    /// Only when git cannot be started; every failure of the push itself is in the report.
    pub fn push(
        &self,
        url: &str,
        updates: &[RefUpdate],
        atomic: bool,
        seen_as: impl Fn(&str) -> String,
    ) -> Result<PushReport, GitError> {
        self.push_beside(url, updates, atomic, &[], seen_as)
    }

    /// The same, and `loose` beside it, each by itself, whatever becomes of anything else: one that names no old value
    /// replaces whatever there is. The report says nothing of them, and this clone remembers nothing of them: removing
    /// its memory of a ref would lock all packed refs, and a process killed over that would keep everybody from
    /// deleting a branch.
    ///
    /// # Errors
    /// As for [`Git::push`].
    pub fn push_beside(
        &self,
        url: &str,
        updates: &[RefUpdate],
        atomic: bool,
        loose: &[RefUpdate],
        seen_as: impl Fn(&str) -> String,
    ) -> Result<PushReport, GitError> {
        let mut args: Vec<String> = NEUTRAL.iter().map(|word| (*word).to_owned()).collect();
        // A remote of this one command: git remembers what it pushed to a remote, not to a bare address.
        args.extend(["-c".to_owned(), format!("remote.{REMOTE}.url={url}")]);
        for update in updates {
            let fetch = format!("remote.{REMOTE}.fetch=+{}:{}", update.name, seen_as(&update.name));
            args.extend(["-c".to_owned(), fetch]);
        }
        args.extend(
            ["push", "--porcelain", "--no-verify", "--no-recurse-submodules", "--no-follow-tags", "--no-signed"]
                .map(str::to_owned),
        );
        if atomic {
            args.push("--atomic".to_owned());
        }
        for update in updates {
            let old = update.old.as_deref().unwrap_or("");
            args.push(format!("--force-with-lease={}:{old}", update.name));
        }
        for update in loose {
            args.extend(update.old.as_deref().map(|old| format!("--force-with-lease={}:{old}", update.name)));
        }
        args.extend(["--".to_owned(), REMOTE.to_owned()]);
        args.extend(updates.iter().map(|u| format!("{}:{}", u.new.as_deref().unwrap_or(""), u.name)));
        args.extend(loose.iter().map(|u| match &u.new {
            Some(new) => format!("+{new}:{}", u.name),
            None => format!(":{}", u.name),
        }));
        let budget = self.budget.get();
        budget.inspect(|budget| budget.take());
        let output = self.output(&args)?;
        if let (Some(budget), Some(pause)) = (budget, failure::pause(&output.stderr_text())) {
            budget.pause(pause);
        }
        Ok(report(updates, &output))
    }

    /// The refs of `url` that match one of `patterns`, with the objects they point to; or why it could not be asked.
    ///
    /// # Errors
    /// Only when git cannot be started.
    pub fn list_remote(&self, url: &str, patterns: &[&str]) -> Result<Listed, GitError> {
        let args = [&["ls-remote", "--refs", "--", url][..], patterns].concat();
        let output = self.output(&args)?;
        if !output.success() {
            let said = output.stderr_text();
            return Ok(Err((failure::cause(&said), failure::telling_line(&said))));
        }
        let pair = |line: &str| line.split_once('\t').map(|(id, name)| (name.to_owned(), id.to_owned()));
        Ok(Ok(output.stdout_text().lines().filter_map(pair).collect()))
    }

    /// Fetches `refspecs` from `url`. Never prunes, never fetches tags, leaves `FETCH_HEAD` alone.
    pub fn fetch(&self, url: &str, refspecs: &[String]) -> Result<Output, GitError> {
        let mut args: Vec<&str> = NEUTRAL.to_vec();
        args.extend([
            // Not `--quiet`: that keeps git from saying that a ref went backwards, and so from telling it apart from a
            // server that cannot be reached.
            "fetch",
            "--no-progress",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--no-recurse-submodules",
            // Without it git takes every update for a fast-forward, and a ledger that went back would go unnoticed.
            "--show-forced-updates",
            "--no-prune",
            "--",
            url,
        ]);
        args.extend(refspecs.iter().map(String::as_str));
        self.output(&args)
    }
}

/// Reads the report of `git push --porcelain`, one line a ref: flag, tab, `from:to`, tab, summary.
fn report(updates: &[RefUpdate], output: &Output) -> PushReport {
    let stdout = output.stdout_text();
    let said = output.stderr_text();
    let line_for = |name: &str| {
        stdout.lines().find_map(|line| {
            let mut fields = line.splitn(3, '\t');
            let (flag, refs, summary) = (fields.next()?, fields.next()?, fields.next()?);
            let to = refs.rsplit_once(':')?.1;
            (to == name).then(|| (flag.to_owned(), summary.to_owned()))
        })
    };
    let refs = updates
        .iter()
        .map(|update| match line_for(&update.name) {
            Some((flag, summary)) => outcome(&flag, &summary, &said),
            None => RefOutcome::Unknown,
        })
        .collect();
    PushReport { refs, cause: failure::cause(&said), said: failure::telling_line(&said) }
}

fn outcome(flag: &str, summary: &str, said: &str) -> RefOutcome {
    match flag {
        " " | "+" | "*" | "-" => RefOutcome::Applied,
        "=" => RefOutcome::UpToDate,
        "!" if summary.starts_with("[remote rejected]") => remote_rejected(summary, said),
        "!" if summary.starts_with("[remote failure]") => RefOutcome::Unknown,
        "!" if summary.contains("atomic push failed") => RefOutcome::Skipped,
        "!" if [
            "stale info",
            "fetch first",
            "non-fast-forward",
            "needs force",
            "remote ref updated since checkout",
        ]
        .iter()
        .any(|word| summary.contains(word)) =>
        {
            RefOutcome::Lost
        }
        "!" => RefOutcome::Refused(reason(summary)),
        _ => RefOutcome::Unknown,
    }
}

/// The server's own no. A lost race inside the server and a stale lock file look alike in the line itself and are told
/// apart by what the server said beside it (GIT_FACTS 4).
fn remote_rejected(summary: &str, said: &str) -> RefOutcome {
    let race = ["atomic transaction failed", "failed to update ref", "failed to lock", "cannot lock ref"];
    if race.iter().any(|word| summary.contains(word)) {
        if said.contains(".lock': File exists") {
            let line = said.lines().find(|line| line.contains(".lock'")).unwrap_or(said);
            return RefOutcome::Locked(line.trim_start_matches("remote: ").trim().to_owned());
        }
        return RefOutcome::Lost;
    }
    if summary.contains("atomic push failure") || summary.contains("transaction aborted") {
        return RefOutcome::Skipped;
    }
    let hook: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("remote: ")).map(str::trim).collect();
    let reason = reason(summary);
    RefOutcome::Refused(if hook.is_empty() { reason } else { format!("{reason}: {}", hook.join(" ")) })
}

/// The words in parentheses at the end of a summary, or the summary.
fn reason(summary: &str) -> String {
    let inner = summary.rsplit_once(" (").and_then(|(_, tail)| tail.strip_suffix(')'));
    inner.unwrap_or(summary).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stdout: &str, stderr: &str, expected: &[RefOutcome]) {
        let names = ["refs/scrum/board", "refs/heads/main"];
        let updates: Vec<RefUpdate> =
            names.iter().map(|name| RefUpdate { name: (*name).to_owned(), old: None, new: None }).collect();
        let output =
            Output { code: Some(1), timed_out: false, stdout: stdout.into(), stderr: stderr.as_bytes().to_vec() };
        assert_eq!(report(&updates, &output).refs, expected, "{stdout}");
    }

    #[test]
    fn every_line_of_a_report_has_its_meaning() {
        use RefOutcome::{Applied, Locked, Lost, Refused, Skipped, Unknown, UpToDate};
        let line = |flag: &str, summary: &str| format!("To x\n{flag}\tabc:refs/scrum/board\t{summary}\nDone\n");
        check(&line("*", "[new reference]"), "", &[Applied, Unknown]);
        check(&line(" ", "1..2"), "", &[Applied, Unknown]);
        check(&line("=", "[up to date]"), "", &[UpToDate, Unknown]);
        check(&line("!", "[rejected] (stale info)"), "", &[Lost, Unknown]);
        check(&line("!", "[remote failure] (remote failed to report status)"), "", &[Unknown, Unknown]);
        check(
            &line("!", "[remote rejected] (deny updating a hidden ref)"),
            "",
            &[Refused("deny updating a hidden ref".into()), Unknown],
        );
        check(
            &line("!", "[remote rejected] (failed to update ref)"),
            "remote: error: cannot lock ref 'x': is at 1 but expected 2",
            &[Lost, Unknown],
        );
        check(
            &line("!", "[remote rejected] (failed to update ref)"),
            "remote: error: Unable to create '/r/x.lock': File exists.",
            &[Locked("error: Unable to create '/r/x.lock': File exists.".into()), Unknown],
        );
        check(
            "!\ta:refs/heads/main\t[rejected] (stale info)\n!\ta:refs/scrum/board\t[rejected] (atomic push failed)\n",
            "",
            &[Skipped, Lost],
        );
        check("", "fatal: the remote end hung up unexpectedly", &[Unknown, Unknown]);
    }

    #[test]
    fn a_hook_is_quoted() {
        let refused = outcome("!", "[remote rejected] (pre-receive hook declined)", "remote: no pushing on Fridays\n");
        assert_eq!(refused, RefOutcome::Refused("pre-receive hook declined: no pushing on Fridays".into()));
    }
}
