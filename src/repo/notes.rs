//! Verdicts as git notes on tested commits, shown by `git log --notes=scrum/verdicts`.

use crate::domain::VerdictRecord;
use crate::ledger::{Author, Batch, Fault, Key, Objects};

/// Writes the notes commit that follows `tip` and says `verdict` of the tested commit. Gives its id.
pub(super) fn write(
    objects: &Objects,
    author: &Author,
    tip: Option<&str>,
    verdict: &VerdictRecord,
) -> Result<String, Fault> {
    let commit = verdict.commit.as_str();
    let mut text = format!("Verdict: {}\nTree: {}\nCheck: {}\n", verdict.verdict, verdict.tree, verdict.check);
    text.push_str(&format!("By: {}\nAt: {}\n", verdict.by, verdict.at));
    if let Some(url) = &verdict.url {
        text.push_str(&format!("Url: {url}\n"));
    }
    let mut batch = Batch::default();
    // Git reads notes fanned out by the first two digits, and mixed with notes that are not.
    batch.put(Key::new(format!("{}/{}", &commit[..2], &commit[2..])), text);
    let tree = objects.write_tree(tip, &batch)?;
    let parents: Vec<&str> = tip.into_iter().collect();
    let message = format!("Notes added by git scrum: {} for {commit}\n", verdict.verdict);
    objects.write_commit(&tree, &parents, author, &message, verdict.at.as_secs())
}
