//! The words of one line of a script, and the names that scripts give to commits and trees.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use git_scrum::domain::{ObjectId, Priority, Size};

/// What is wrong with a script itself, as opposed to what the rules say.
pub type Wrong = String;

/// The words of a command that nobody has asked for yet.
pub struct Words(Vec<String>);

impl Words {
    /// Splits a line at spaces. Double quotes keep spaces together; there are no escapes.
    pub fn split(line: &str) -> Result<Words, Wrong> {
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let mut quoted = false;
        for c in line.chars() {
            match c {
                '"' => {
                    quoted = !quoted;
                    word.get_or_insert_default();
                }
                ' ' if !quoted => words.extend(word.take()),
                c => word.get_or_insert_default().push(c),
            }
        }
        if quoted {
            return Err("a quote is not closed".to_owned());
        }
        words.extend(word);
        Ok(Words(words))
    }

    /// Whether a word that is no option is left.
    pub fn has_more(&self) -> bool {
        self.0.iter().any(|word| !word.starts_with("--"))
    }

    /// The next word that is no option. Options have to be taken before, for only their verb knows which have values.
    pub fn next<T: FromStr<Err: Display>>(&mut self, what: &str) -> Result<T, Wrong> {
        let at = self.0.iter().position(|word| !word.starts_with("--")).ok_or_else(|| format!("there is no {what}"))?;
        read(&self.0.remove(at))
    }

    /// All words that are left and no options.
    pub fn rest<T: FromStr<Err: Display>>(&mut self) -> Result<Vec<T>, Wrong> {
        let mut rest = Vec::new();
        while self.has_more() {
            rest.push(self.next("word")?);
        }
        Ok(rest)
    }

    /// The value of an option that may be given once.
    pub fn option<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, Wrong> {
        let Some(at) = self.0.iter().position(|word| word == name) else { return Ok(None) };
        self.0.remove(at);
        if at == self.0.len() {
            return Err(format!("{name} needs a value"));
        }
        read(&self.0.remove(at)).map(Some)
    }

    /// The values of an option that may be given again and again.
    pub fn options<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Vec<T>, Wrong> {
        let mut values = Vec::new();
        while let Some(value) = self.option(name)? {
            values.push(value);
        }
        Ok(values)
    }

    /// Whether an option without a value is given.
    pub fn flag(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|word| word != name);
        self.0.len() < before
    }

    /// Refuses words that nobody has asked for.
    pub fn finish(self) -> Result<(), Wrong> {
        match self.0.as_slice() {
            [] => Ok(()),
            left => Err(format!("nobody knows what to do with {}", left.join(" "))),
        }
    }
}

fn read<T: FromStr<Err: Display>>(word: &str) -> Result<T, Wrong> {
    word.parse().map_err(|error| format!("{error}"))
}

/// A priority by the word users read.
pub fn priority(word: &str) -> Result<Priority, Wrong> {
    Priority::ALL.into_iter().find(|priority| priority.as_str() == word).ok_or_else(|| format!("{word} is no priority"))
}

/// A size by the word users read.
pub fn size(word: &str) -> Result<Size, Wrong> {
    [Size::Small, Size::Medium, Size::Large]
        .into_iter()
        .find(|size| size.as_str() == word)
        .ok_or_else(|| format!("{word} is no size"))
}

/// Commits and trees: scripts call them by short names, the rules by object ids.
#[derive(Default)]
pub struct Objects(BTreeMap<String, ObjectId>);

impl Objects {
    /// The object that scripts call `name`.
    pub fn id(&mut self, name: &str) -> ObjectId {
        let id = || {
            // Any function of the name would do, so long as no two names meet: FNV-1a, over and over.
            let round =
                |seed: u64| name.bytes().fold(seed, |hash, b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
            let first = round(0xcbf2_9ce4_8422_2325);
            let (second, third) = (round(first), round(round(first)));
            let digits = format!("{first:016x}{second:016x}{third:016x}");
            ObjectId::parse(&digits[..40]).expect("forty hexadecimal digits are an object id")
        };
        self.0.entry(name.to_owned()).or_insert_with(id).clone()
    }

    /// `text` with names in place of the ids they stand for.
    pub fn named(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, id)| text.replace(id.as_str(), name))
    }
}
