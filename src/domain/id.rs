//! Names and ids: text that was checked once, where it came in, and is trusted afterwards.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Pattern;

/// Why text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}: {rule}")]
pub struct IdError {
    /// What it was to be.
    pub what: &'static str,
    /// The text, cut to a printable length.
    pub text: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text`.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let check: fn(&str) -> bool = $check;
                if check(text) {
                    Ok($name(text.to_owned()))
                } else {
                    Err(IdError { what: $what, text: text.chars().take(80).collect(), rule: $rule })
                }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                $name::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        /// As people give it: what git calls a branch in full is taken for its name.
        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let prefix = if matches!($what, "branch name" | "car id") { "refs/heads/" } else { "" };
                $name::parse(text.strip_prefix(prefix).unwrap_or(text))
            }
        }
    };
}

text_id!(
    /// The id of a task: part of branch names and directories, on every file system.
    TaskId,
    "task id",
    "use 1 to 64 lower-case letters, digits and '-', beginning and ending with a letter or digit",
    is_slug
);
text_id!(
    /// The name of a team.
    TeamName,
    "team name",
    "use 1 to 64 lower-case letters, digits and '-', beginning and ending with a letter or digit",
    is_slug
);
text_id!(
    /// Who holds a claim or a lock: a person or an agent on a host.
    Holder,
    "holder",
    "use 1 to 128 printable characters without a space at either end",
    |text| is_line(text, 128)
);
text_id!(
    /// A label of a task, and a speciality of a team.
    Label,
    "label",
    "use 1 to 64 printable characters without a space at either end",
    |text| is_line(text, 64)
);
text_id!(
    /// The name of one of several checks of a train.
    CheckName,
    "name of a check",
    "use 1 to 64 printable characters without a comma, and without a space at either end",
    |text| is_line(text, 64) && !text.contains(',')
);
text_id!(
    /// A branch, without `refs/heads/`.
    Branch,
    "branch name",
    "git's rules for branch names apply (git check-ref-format --branch), with at most 200 bytes",
    is_branch
);
text_id!(
    /// The id of a car: the id of its task, or the name of its branch.
    CarId,
    "car id",
    "a car is named by its task or by its branch",
    is_branch
);
text_id!(
    /// The id of an object of git: a commit or a tree.
    ObjectId,
    "object id",
    "use the full 40 or 64 hexadecimal digits",
    |text| matches!(text.len(), 40 | 64) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
);
text_id!(
    /// The id of one operation: 128 random bits, so that it can be tried twice and applied once.
    OperationId,
    "operation id",
    "use 32 hexadecimal digits",
    |text| text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
);

impl From<&TaskId> for CarId {
    fn from(task: &TaskId) -> CarId {
        CarId(task.0.clone())
    }
}

impl Holder {
    /// Who it is, wherever they work: what stands before the last `@`. One person has several clones, and is another
    /// holder in each.
    pub fn person(&self) -> &str {
        self.0.rsplit_once('@').map_or(self.as_str(), |(person, _)| person)
    }

    /// Whether both are one person.
    pub fn is_same_person(&self, other: &Holder) -> bool {
        self.person() == other.person()
    }
}

impl From<&Branch> for CarId {
    fn from(branch: &Branch) -> CarId {
        CarId(branch.0.clone())
    }
}

fn is_slug(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// One line of printable text.
pub(super) fn is_line(text: &str, bytes_max: usize) -> bool {
    !text.is_empty() && text.len() <= bytes_max && text.trim() == text && !text.chars().any(is_unprintable)
}

/// Control characters, and the characters that reorder what a terminal shows.
pub(super) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The rules of `git check-ref-format`, for a name below `refs/heads/`.
fn is_branch(text: &str) -> bool {
    (1..=200).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('.')
        && text != "@"
        && text != "HEAD"
        && !text.contains("..")
        && !text.contains("@{")
        && !text.chars().any(|c| is_unprintable(c) || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\'))
        && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"))
}

impl Serialize for Pattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Pattern::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_safe_everywhere() {
        for good in ["1", "101", "fix-login", "a-b-c"] {
            assert!(TaskId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "US-1", "a b", "a/b", "a.b", "ü", "..", &"a".repeat(65)] {
            assert!(TaskId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn branches_follow_git() {
        for good in ["main", "release/1.0", "ai-feature/issue-1", "Feature", "ü"] {
            assert!(Branch::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "a..b", "a b", "a~1", "-x", "a.lock", "a/.b", "@", "a@{1}", "a\n", "HEAD"] {
            assert!(Branch::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn people_are_who_they_are_on_every_machine() {
        let holder = |text: &str| Holder::parse(text).expect("a holder");
        for same in ["ann@desk-1f2e3d", "ann@laptop-000000", "ann"] {
            assert!(holder("ann@desk-abcdef").is_same_person(&holder(same)), "{same}");
        }
        for other in ["anna@desk-abcdef", "ann@home@desk-abcdef", "desk-abcdef", "@desk-abcdef"] {
            assert!(!holder("ann@desk-abcdef").is_same_person(&holder(other)), "{other}");
        }
    }

    #[test]
    fn what_people_call_a_branch_in_full_is_taken_for_its_name() {
        assert_eq!("refs/heads/team/a".parse(), Branch::parse("team/a"));
        assert_eq!("refs/heads/team/a".parse(), CarId::parse("team/a"));
        assert!("refs/heads/".parse::<Branch>().is_err() && "refs/heads/a".parse::<TaskId>().is_err());
        assert_eq!(
            "refs/tags/a".parse(),
            Branch::parse("refs/tags/a"),
            "that is no branch, but may be the name of one"
        );
        // What is stored is read as it is.
        assert_eq!(Branch::try_from("refs/heads/a".to_owned()).expect("a branch").as_str(), "refs/heads/a");
    }

    #[test]
    fn text_that_would_change_a_terminal_is_no_label() {
        assert!(Label::parse("size/small").is_ok());
        assert!(Label::parse("a\u{1b}[31m").is_err());
        assert!(Label::parse("\u{202e}evil").is_err());
    }
}
