//! Repository path patterns: which paths a lock covers, and whether two locks could ever meet.
//!
//! A pattern is a glob over repository-relative, `/`-separated paths:
//!
//! | written | means |
//! |---|---|
//! | `*` | any run of characters other than `/`; `**` inside a longer component is the same |
//! | `**` | as a whole component: zero or more components |
//! | `?` | one character other than `/` |
//! | `[abc]` `[a-z]` `[!a]` `[^a]` | one character of a set, or outside it; never `/` |
//! | `{a,b/c}` | either; may be nested; the same as writing every expansion out, so `{*,a}*` contains `**` |
//! | `\x` | `x` itself, whatever it means otherwise; `\/` remains a separator |
//!
//! Empty and `.` components vanish, so `/a`, `./a` and `a//.` all mean `a`.
//!
//! **Cover.** A pattern covers the paths it matches. One that names a directory also covers everything beneath it: one
//! whose last component is spelled without wildcards (a file and a directory of one name cannot coexist, so whoever
//! locks `a` locks `a/b`), or that ends in `/` or `**`. So `a`, `a/` and `a/**` cover the same paths, `a` itself among
//! them; `src/*.rs` covers files only, and never meets `src/*.md`; `*` covers the top level and `**` everything.
//!
//! **Guarantees.** Overlap is decided on the languages of the patterns, not on the files that happen to exist, and it
//! is exact: true if and only if some sequence of non-empty components is covered by both. (Names that git refuses,
//! such as a nested `.git`, count as paths: erring towards a conflict is safe.) It is symmetric, and every pattern
//! overlaps itself. Time is at most proportional to the product of the two lengths, and both lengths are bounded.
//!
//! **How.** Every brace expansion becomes a small automaton, a `Program`. Covering a path is the usual simulation of
//! all states at once (Thompson, 1968). Overlap asks whether the product of two automata reaches a pair of accepting
//! states; each pair is visited once, so nothing ever backtracks.
//!
//! This module must not know the repository, the file system or who holds what. Characters are compared as Unicode
//! scalar values, so `A` and `a` are two paths even where a file system would make them one.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::slice;
use std::str::{Chars, FromStr};

/// Most bytes in the text of a pattern, and most characters in all its brace expansions together. The latter bounds
/// the work of one overlap: without it, 64 long expansions against 64 others would take minutes.
const LENGTH_MAX: usize = 4096;
/// Most `*` in one pattern.
const STARS_MAX: usize = 64;
/// Most patterns that the braces of one pattern may stand for.
const EXPANSIONS_MAX: usize = 64;

/// A validated repository path pattern; the module's documentation describes the language.
///
/// Two patterns are equal when they are spelled alike: `a` and `a/` cover the same paths and are not equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Pattern {
    text: String,
    /// One automaton for each brace expansion, at least one.
    programs: Vec<Program>,
}

impl Pattern {
    /// Reads a pattern, refusing what could not name a path in a repository or would be too costly to compare.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        if text.len() > LENGTH_MAX {
            let start = text.chars().take(40).chain(['…']).collect();
            return Err(PatternError::TooLong(start, text.len()));
        }
        if let Some(c) = text.chars().find(|c| c.is_control()) {
            return Err(PatternError::ControlCharacter(text.into(), c));
        }
        let tokens = lex(text)?;
        let stars = tokens.iter().filter(|token| **token == Token::Op(Op::Star)).count();
        if stars > STARS_MAX {
            return Err(PatternError::TooManyStars(text.into(), stars));
        }
        let expansions = expand(text, tokens)?;
        let programs = expansions.iter().map(|expansion| Program::compile(text, expansion));
        Ok(Pattern { text: text.into(), programs: programs.collect::<Result<_, _>>()? })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `path` is covered: matched, or beneath a directory that the pattern names.
    ///
    /// The path is repository-relative, with `/` between its components, as git prints it; it is not normalised.
    pub fn matches(&self, path: &str) -> bool {
        self.programs.iter().any(|program| program.covers(path))
    }

    /// Whether some path could be covered by both patterns, existing or not.
    pub fn overlaps(&self, other: &Pattern) -> bool {
        self.programs.iter().any(|a| other.programs.iter().any(|b| meet(a, b, |_, _, _| ()).is_some()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Pattern, PatternError> {
        Pattern::parse(text)
    }
}

/// Why a text is not a pattern. The string is the pattern as it was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PatternError {
    /// The pattern, or one of its brace expansions, names nothing.
    Empty(String),
    /// More than 4,096 bytes: the first characters, and the number of bytes.
    TooLong(String, usize),
    /// A control character, NUL among them.
    ControlCharacter(String, char),
    /// A `..` component.
    ParentDirectory(String),
    /// `.git` as the first component, in any ASCII case.
    GitDirectory(String),
    /// A brace or bracket without its partner.
    Unbalanced(String, char),
    /// A class or range without characters, such as `[]`, `[/]` or `[z-a]`.
    EmptyClass(String),
    /// A `\` with nothing after it.
    TrailingBackslash(String),
    /// More than 64 `*`, and how many.
    TooManyStars(String, usize),
    /// More than 64 brace expansions, and how many at least.
    TooManyExpansions(String, usize),
    /// More than 4,096 characters in all brace expansions together, and how many at least.
    ExpansionsTooLong(String, usize),
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Empty(text)
        | Self::ParentDirectory(text)
        | Self::GitDirectory(text)
        | Self::EmptyClass(text)
        | Self::TrailingBackslash(text)
        | Self::ControlCharacter(text, _)
        | Self::Unbalanced(text, _)
        | Self::TooLong(text, _)
        | Self::TooManyStars(text, _)
        | Self::TooManyExpansions(text, _)
        | Self::ExpansionsTooLong(text, _)) = self;
        write!(f, "pattern {text:?} ")?;
        match self {
            Self::Empty(_) => write!(f, "or one of its alternatives is empty; ** means everything"),
            Self::TooLong(_, bytes) => write!(f, "has {bytes} bytes, more than {LENGTH_MAX}"),
            Self::ControlCharacter(_, c) => write!(f, "contains the control character {c:?}"),
            Self::ParentDirectory(_) => write!(f, "has \"..\" as a component"),
            Self::GitDirectory(_) => write!(f, "begins with .git, which holds no files of the repository"),
            Self::Unbalanced(_, c) => write!(f, "has {c:?} without its partner; \\{c} means the character itself"),
            Self::EmptyClass(_) => write!(f, "has a class or a range that contains no character"),
            Self::TrailingBackslash(_) => write!(f, "ends in a backslash that escapes nothing"),
            Self::TooManyStars(_, n) => write!(f, "has {n} stars, more than {STARS_MAX}"),
            Self::TooManyExpansions(_, n) => write!(f, "expands to at least {n} patterns, more than {EXPANSIONS_MAX}"),
            Self::ExpansionsTooLong(_, n) => {
                write!(f, "expands to at least {n} characters, more than {LENGTH_MAX}")
            }
        }
    }
}

impl std::error::Error for PatternError {}

/// Inclusive range of Unicode scalar values. Numbers rather than `char`s, since the neighbour of a `char` may be none.
type Range = (u32, u32);

/// A set of characters is a list of ranges. NUL and the surrogates are in no set, because they are in no path.
const NOT_SLASH: &[Range] = &[(1, '/' as u32 - 1), ('/' as u32 + 1, 0xD7FF), (0xE000, 0x10_FFFF)];
const SLASH: &[Range] = &[('/' as u32, '/' as u32)];
const ANYTHING: &[Range] = &[(1, 0xD7FF), (0xE000, 0x10_FFFF)];

fn intersection(a: Range, b: Range) -> Option<Range> {
    let (low, high) = (a.0.max(b.0), a.1.min(b.1));
    (low <= high).then_some((low, high))
}

/// A character that is in both sets.
fn common(a: &[Range], b: &[Range]) -> Option<u32> {
    a.iter().find_map(|&a| b.iter().find_map(|&b| intersection(a, b))).map(|(low, _)| low)
}

/// What is left of `from` without `range`.
fn minus(from: Range, range: Range) -> impl Iterator<Item = Range> {
    let below = (range.0 > from.0).then(|| (from.0, from.1.min(range.0 - 1)));
    let above = (range.1 < from.1).then(|| (from.0.max(range.1 + 1), from.1));
    below.into_iter().chain(above)
}

/// A state of the automaton; its index in the program is its identity.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Op {
    /// Reads one given character, kept as a range of one so that its edge can lend it as a set.
    Literal(Range),
    /// Reads one character of a set.
    Class(Vec<Range>),
    /// Reads one character other than `/`.
    Any,
    /// `*`: reads characters other than `/`, or moves on.
    Star,
    /// `**` at the start of a component: enters `Component`, the next state, or moves on past it.
    Components,
    /// `**` inside a component: reads the rest of it and its `/`, then is back at `Components`.
    Component,
    /// The pattern has matched, and nothing may follow.
    End,
    /// The pattern has matched a directory. What follows may only be beneath it.
    Matched,
    /// Somewhere beneath what matched. Reads anything, even `//`: a shortest path that two patterns cover ends in
    /// `Matched` for one of them, which vouches for its form.
    Beneath,
}

impl Op {
    fn literal(c: char) -> Op {
        Op::Literal((c.into(), c.into()))
    }
}

/// The automaton of one brace expansion: starts at state 0, ends with `End` or with `Matched` and `Beneath`, which
/// accept.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Program(Vec<Op>);

impl Program {
    /// Builds the automaton. No component in it matches the empty string, so what it matches is well-formed.
    fn compile(text: &str, expansion: &[Op]) -> Result<Program, PatternError> {
        let mut components: Vec<&[Op]> = Vec::new();
        for component in expansion.split(|op| *op == Op::literal('/')) {
            match literal_text(component).as_deref() {
                Some("" | ".") => {}
                Some("..") => return Err(PatternError::ParentDirectory(text.into())),
                Some(name) if components.is_empty() && name.eq_ignore_ascii_case(".git") => {
                    return Err(PatternError::GitDirectory(text.into()));
                }
                _ => components.push(component),
            }
        }
        // A final `**` says no more than that everything beneath is covered. Only as the single component must it
        // stay, where it begins with any name.
        let mut covers_beneath = expansion.last() == Some(&Op::literal('/'));
        covers_beneath |= components.last().is_some_and(|last| is_globstar(last));
        while components.len() > 1 && components.last().is_some_and(|last| is_globstar(last)) {
            components.pop();
        }
        let (last, parents) = components.split_last().ok_or_else(|| PatternError::Empty(text.into()))?;
        let mut ops = Vec::with_capacity(expansion.len() + 3);
        for parent in parents {
            if is_globstar(parent) {
                ops.extend([Op::Components, Op::Component]);
            } else {
                push_component(&mut ops, parent);
                ops.push(Op::literal('/'));
            }
        }
        push_component(&mut ops, last);
        if covers_beneath || literal_text(last).is_some() {
            ops.extend([Op::Matched, Op::Beneath]);
        } else {
            ops.push(Op::End);
        }
        Ok(Program(ops))
    }

    /// Where the automaton may go from `state` by reading one character of a set. An empty set is no edge.
    fn edges(&self, state: usize) -> [(&[Range], usize); 2] {
        const NONE: (&[Range], usize) = (&[], 0);
        match &self.0[state] {
            Op::Literal(range) => [(slice::from_ref(range), state + 1), NONE],
            Op::Class(ranges) => [(ranges, state + 1), NONE],
            Op::Any | Op::Components => [(NOT_SLASH, state + 1), NONE],
            Op::Star => [(NOT_SLASH, state), NONE],
            Op::Component => [(NOT_SLASH, state), (SLASH, state - 1)],
            Op::Matched => [(SLASH, state + 1), NONE],
            Op::Beneath => [(ANYTHING, state), NONE],
            Op::End => [NONE, NONE],
        }
    }

    /// Where the automaton may go from `state` without reading.
    fn skip(&self, state: usize) -> Option<usize> {
        match self.0[state] {
            Op::Star => Some(state + 1),
            Op::Components => Some(state + 2),
            _ => None,
        }
    }

    fn accepts(&self, state: usize) -> bool {
        matches!(self.0[state], Op::End | Op::Matched | Op::Beneath)
    }

    fn covers(&self, path: &str) -> bool {
        // `entered[state]` is the number of characters read when the state was last entered, so that no state is
        // listed twice and nothing needs clearing between characters.
        let mut entered = vec![usize::MAX; self.0.len()];
        let mut enter = |states: &mut Vec<usize>, state: usize, read: usize| {
            let mut next = Some(state);
            while let Some(state) = next.filter(|&state| mem::replace(&mut entered[state], read) != read) {
                states.push(state);
                next = self.skip(state);
            }
        };
        let (mut states, mut after) = (Vec::new(), Vec::new());
        enter(&mut states, 0, 0);
        for (index, c) in path.chars().enumerate() {
            for (set, to) in states.drain(..).flat_map(|state| self.edges(state)) {
                if common(set, &[(c.into(), c.into())]).is_some() {
                    enter(&mut after, to, index + 1);
                }
            }
            mem::swap(&mut states, &mut after);
        }
        states.into_iter().any(|state| self.accepts(state))
    }
}

/// A state of each of two programs that run side by side.
type Pair = (usize, usize);

/// Searches the product of two automata, breadth first, for a pair of states that both accept, and tells `on_step`
/// how each pair was first reached: from where, and by which character, if any.
///
/// The steps make up a shortest path that both cover. Only a test needs it, and the steps of the longest patterns
/// would fill hundreds of megabytes, so the search itself does not remember them.
fn meet(a: &Program, b: &Program, mut on_step: impl FnMut(Pair, Option<u32>, Pair)) -> Option<Pair> {
    let mut seen = vec![false; a.0.len() * b.0.len()];
    seen[0] = true;
    let mut queue = VecDeque::from([(0, 0)]);
    while let Some(from) = queue.pop_front() {
        if a.accepts(from.0) && b.accepts(from.1) {
            return Some(from);
        }
        let mut reach = |read: Option<u32>, to: Pair| {
            if !mem::replace(&mut seen[to.0 * b.0.len() + to.1], true) {
                on_step(from, read, to);
                queue.push_back(to);
            }
        };
        if let Some(to) = a.skip(from.0) {
            reach(None, (to, from.1));
        }
        if let Some(to) = b.skip(from.1) {
            reach(None, (from.0, to));
        }
        for (a_set, a_to) in a.edges(from.0) {
            for (b_set, b_to) in b.edges(from.1) {
                if let Some(read) = common(a_set, b_set) {
                    reach(Some(read), (a_to, b_to));
                }
            }
        }
    }
    None
}

/// Appends a component in which a run of stars means one star, and stars alone mean at least one character.
fn push_component(ops: &mut Vec<Op>, component: &[Op]) {
    if component.iter().all(|op| *op == Op::Star) {
        ops.push(Op::Any);
    }
    for op in component {
        if *op != Op::Star || ops.last() != Some(&Op::Star) {
            ops.push(op.clone());
        }
    }
}

fn is_globstar(component: &[Op]) -> bool {
    *component == [Op::Star, Op::Star]
}

/// The only name that the component matches, when it is spelled without wildcards.
fn literal_text(component: &[Op]) -> Option<String> {
    let character = |op: &Op| {
        if let Op::Literal((c, _)) = op { char::from_u32(*c) } else { None }
    };
    component.iter().map(character).collect()
}

/// A piece of the text: something to match, or the punctuation of braces.
#[derive(PartialEq, Eq)]
enum Token {
    Op(Op),
    Open,
    Comma,
    Close,
}

/// Splits the text into tokens and makes sure that brackets and braces balance.
fn lex(text: &str) -> Result<Vec<Token>, PatternError> {
    let mut tokens = Vec::new();
    let mut depth = 0;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' => Token::Op(Op::Star),
            '?' => Token::Op(Op::Any),
            '[' => Token::Op(Op::Class(lex_class(text, &mut chars)?)),
            '{' => {
                depth += 1;
                Token::Open
            }
            ',' if depth > 0 => Token::Comma,
            '}' if depth > 0 => {
                depth -= 1;
                Token::Close
            }
            // Never taken for themselves: more likely a slip, or a dialect that this module does not speak.
            ']' | '}' => return Err(PatternError::Unbalanced(text.into(), c)),
            c => Token::Op(Op::literal(unescape(text, c, &mut chars)?)),
        });
    }
    if depth > 0 { Err(PatternError::Unbalanced(text.into(), '{')) } else { Ok(tokens) }
}

/// The character that `c`, just read, stands for: the next one if it is a backslash.
fn unescape(text: &str, c: char, chars: &mut Chars<'_>) -> Result<char, PatternError> {
    let meant = if c == '\\' { chars.next() } else { Some(c) };
    meant.ok_or_else(|| PatternError::TrailingBackslash(text.into()))
}

/// Reads a class after its `[`, up to and with its `]`. A dash without a character on either side means itself.
fn lex_class(text: &str, chars: &mut Chars<'_>) -> Result<Vec<Range>, PatternError> {
    let next = |chars: &mut Chars<'_>| match chars.next() {
        Some(c) => unescape(text, c, chars),
        None => Err(PatternError::Unbalanced(text.into(), '[')),
    };
    let negated = chars.as_str().starts_with(['!', '^']);
    if negated {
        chars.next();
    }
    let mut written: Vec<Range> = Vec::new();
    while !chars.as_str().starts_with(']') {
        let low = next(chars)?;
        let is_range = chars.as_str().starts_with('-') && !chars.as_str().starts_with("-]");
        if is_range {
            chars.next();
        }
        let high = if is_range { next(chars)? } else { low };
        if low > high {
            return Err(PatternError::EmptyClass(text.into()));
        }
        written.push((low.into(), high.into()));
    }
    chars.next();
    let mut set = NOT_SLASH.to_vec();
    if negated {
        for range in &written {
            set = set.into_iter().flat_map(|part| minus(part, *range)).collect();
        }
    } else {
        set = written.iter().flat_map(|range| set.iter().filter_map(|part| intersection(*part, *range))).collect();
    }
    if written.is_empty() || set.is_empty() { Err(PatternError::EmptyClass(text.into())) } else { Ok(set) }
}

/// Writes the braces out. A loop with its own stack, since the text decides how deep they nest.
fn expand(text: &str, tokens: Vec<Token>) -> Result<Vec<Vec<Op>>, PatternError> {
    // What each open brace interrupted, and its alternatives so far. `current` is what has been read since.
    let mut open = Vec::new();
    let mut alternatives = Vec::new();
    let mut current: Vec<Vec<Op>> = vec![Vec::new()];
    for token in tokens {
        match token {
            Token::Op(op) => current.iter_mut().for_each(|expansion| expansion.push(op.clone())),
            Token::Open => {
                open.push((mem::replace(&mut current, vec![Vec::new()]), mem::take(&mut alternatives)));
            }
            Token::Comma => {
                alternatives.append(&mut current);
                current.push(Vec::new());
            }
            Token::Close => {
                alternatives.append(&mut current);
                let (heads, outer) = open.pop().expect("BUG: the lexer let a brace close that was never open");
                let tails = mem::replace(&mut alternatives, outer);
                let count = heads.len() * tails.len();
                if count > EXPANSIONS_MAX {
                    return Err(PatternError::TooManyExpansions(text.into(), count));
                }
                current = heads.iter().flat_map(|head| tails.iter().map(|tail| [&head[..], tail].concat())).collect();
                check_length(text, &current)?;
            }
        }
    }
    check_length(text, &current)?;
    Ok(current)
}

/// A class counts for as many characters as it has ranges, since that is the work to compare it.
fn check_length(text: &str, expansions: &[Vec<Op>]) -> Result<(), PatternError> {
    let length = |op: &Op| if let Op::Class(ranges) = op { ranges.len() } else { 1 };
    let chars = expansions.iter().flatten().map(length).sum();
    if chars > LENGTH_MAX { Err(PatternError::ExpansionsTooLong(text.into(), chars)) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
