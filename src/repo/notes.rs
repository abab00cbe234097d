//! Verdicts as git notes on tested commits, shown by `git log --notes=scrum/verdicts`.

use crate::domain::{Verdict, VerdictRecord};
use crate::ledger::{Author, Batch, Fault, Key, Objects};

/// The most that is kept of what was noted of a commit before.
const NOTE_BYTES_MAX: usize = 16 * 1024;

/// Writes the notes commit that follows `tip` and says `verdict` of the tested commit. Gives its id.
pub(super) fn write(
    objects: &Objects,
    author: &Author,
    tip: Option<&str>,
    verdict: &VerdictRecord,
) -> Result<String, Fault> {
    let commit = verdict.commit.as_str();
    // Git reads notes fanned out by the first two digits, and mixed with notes that are not.
    let path = format!("{}/{}", &commit[..2], &commit[2..]);
    let before = match tip {
        Some(tip) if !verdict.checks.is_empty() => objects.blob(tip, &path, NOTE_BYTES_MAX)?.unwrap_or_default(),
        _ => Vec::new(),
    };
    let mut text = String::from_utf8_lossy(&before).into_owned();
    let mut paragraph = |verdict: Verdict, check: &str, record: &VerdictRecord, url: Option<&String>| {
        let gap = if text.is_empty() { "" } else { "\n" };
        text.push_str(&format!("{gap}Verdict: {verdict}\nTree: {}\nCheck: {check}\n", record.tree));
        text.push_str(&format!("By: {}\nAt: {}\n", record.by, record.at));
        text.extend(url.map(|url| format!("Url: {url}\n")));
    };
    if verdict.checks.is_empty() {
        paragraph(verdict.verdict, &verdict.check, verdict, verdict.url.as_ref());
    }
    for check in &verdict.checks {
        paragraph(check.verdict, check.name.as_str(), verdict, check.url.as_ref());
    }
    let mut batch = Batch::default();
    batch.put(Key::new(path), text);
    let tree = objects.write_tree(tip, &batch)?;
    let parents: Vec<&str> = tip.into_iter().collect();
    let message = format!("Notes added by git scrum: {} for {commit}\n", verdict.verdict);
    objects.write_commit(&tree, &parents, author, &message, verdict.at.as_secs())
}
