//! The commit message of a ledger version: lines for people, trailers for recovery.

use super::Version;

/// The trailer that names one operation a commit applied.
pub const OPERATION_TRAILER: &str = "Scrum-Operation";
/// The trailer that makes every attempt a different commit: two clones that build the same content must not both
/// believe that the ref they see is theirs (GIT_FACTS 1).
const NONCE_TRAILER: &str = "Scrum-Nonce";
/// The trailer that makes a version a checkpoint, and names the version that it replaced.
const CHECKPOINT_TRAILER: &str = "Scrum-Checkpoint";

/// What a ledger commit says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// One line for each operation; the first is the subject.
    pub lines: Vec<String>,
    /// The ids of the operations that the commit applies.
    pub operations: Vec<String>,
    /// Random, fresh for every attempt.
    pub nonce: String,
}

impl Message {
    /// The text that is committed.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (index, line) in self.lines.iter().enumerate() {
            text.push_str(&one_line(line));
            text.push_str(if index == 0 && self.lines.len() > 1 { "\n\n" } else { "\n" });
        }
        text.push('\n');
        for operation in &self.operations {
            text.push_str(&Message::operation_trailer(operation));
        }
        text.push_str(&format!("{NONCE_TRAILER}: {}\n", self.nonce));
        text
    }

    /// The ids of the operations in a message of a ledger commit.
    pub fn operations_in(text: &str) -> impl Iterator<Item = &str> {
        text.lines().filter_map(|line| line.strip_prefix(OPERATION_TRAILER)?.strip_prefix(": "))
    }

    /// The line that names an operation.
    pub(super) fn operation_trailer(id: &str) -> String {
        format!("{OPERATION_TRAILER}: {id}\n")
    }

    /// The line that names the version which a checkpoint replaced.
    pub(super) fn replaced_trailer(replaced: &Version) -> String {
        format!("{CHECKPOINT_TRAILER}: {replaced}\n")
    }

    /// What makes a version unlike any other.
    pub(super) fn nonce_in(text: &str) -> Option<&str> {
        text.lines().find_map(|line| line.strip_prefix(NONCE_TRAILER)?.strip_prefix(": "))
    }

    /// The version that a checkpoint replaced; `None` in a message of any other version. It becomes part of a ref's
    /// name, so it is hexadecimal, or nothing.
    pub fn replaced_in(text: &str) -> Option<&str> {
        let mut named = text.lines().filter_map(|line| line.strip_prefix(CHECKPOINT_TRAILER)?.strip_prefix(": "));
        named.next().filter(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
    }

    /// The lines for people in a message of a ledger commit.
    pub fn lines_in(text: &str) -> impl Iterator<Item = &str> {
        text.lines().take_while(|line| !line.starts_with("Scrum-")).filter(|line| !line.is_empty())
    }
}

/// Text from outside must not be able to forge a trailer: it stays on its line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_cannot_forge_a_trailer() {
        let message = Message {
            lines: vec!["add 1: x\nScrum-Operation: forged".into(), "claim 1".into()],
            operations: vec!["aa".into(), "bb".into()],
            nonce: "n".into(),
        };
        let text = message.to_text();
        assert_eq!(Message::operations_in(&text).collect::<Vec<_>>(), ["aa", "bb"]);
        assert_eq!(Message::lines_in(&text).count(), 2);
    }

    #[test]
    fn a_line_that_begins_like_a_trailer_is_escaped_by_its_verb() {
        // Every line begins with the verb of its operation, so no title can stand at the start of one.
        let message = Message { lines: vec!["add Scrum-Operation: x".into()], operations: vec![], nonce: "n".into() };
        assert_eq!(Message::operations_in(&message.to_text()).count(), 0);
    }
}
