//! Tests of patterns: tables of examples, and properties over all small patterns.

use super::*;
use globset::GlobBuilder;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A path that both patterns cover, put together from the steps of the search that decides `overlaps`.
fn witness(a: &Pattern, b: &Pattern) -> Option<String> {
    let mut pairs = a.programs.iter().flat_map(|a| b.programs.iter().map(move |b| (a, b)));
    pairs.find_map(|(a, b)| {
        let mut reached_from = BTreeMap::new();
        let mut at = meet(a, b, |from, read, to| assert!(reached_from.insert(to, (from, read)).is_none()))?;
        let mut backwards = Vec::new();
        while let Some((from, read)) = reached_from.get(&at) {
            backwards.extend(read.map(|c| char::from_u32(c).expect("sets contain scalar values only")));
            at = *from;
        }
        Some(backwards.into_iter().rev().collect())
    })
}

/// Whether the text is a path as git would print it: components, none empty, between single slashes.
fn well_formed(path: &str) -> bool {
    path.split('/').all(|component| !component.is_empty())
}

/// Checks that `overlaps` agrees with itself in the other direction, and with its witness.
fn overlap(a: &Pattern, b: &Pattern) -> bool {
    let answer = a.overlaps(b);
    assert_eq!(answer, b.overlaps(a), "{a} and {b} must agree in both directions");
    let path = witness(a, b);
    assert_eq!(answer, path.is_some(), "{a} and {b}");
    if let Some(path) = path {
        assert!(well_formed(&path), "{a} and {b} meet in {path:?}");
        assert!(a.matches(&path) && b.matches(&path), "{a} and {b} meet in {path:?}");
    }
    answer
}

/// Every well-formed path over these characters of at most so many characters.
fn paths(alphabet: &[char], chars_max: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut start = 0;
    for _ in 0..chars_max {
        let end = all.len();
        for index in start..end {
            all.extend(alphabet.iter().map(|c| format!("{}{c}", all[index])).collect::<Vec<_>>());
        }
        start = end;
    }
    all.retain(|path| well_formed(path));
    all
}

#[test]
fn covers_what_it_matches_and_everything_beneath() {
    // (pattern, paths it covers, paths it does not cover)
    let table: &[(&str, &[&str], &[&str])] = &[
        ("src/auth", &["src/auth", "src/auth/a", "src/auth/a/b", "src/auth/"], &["src", "src/authx", "x/src/auth"]),
        ("src/auth/", &["src/auth", "src/auth/a/b"], &["src", "src/authx"]),
        ("src/auth/**", &["src/auth", "src/auth/a", "src/auth/a/b"], &["src", "src/authx", "src/authx/y"]),
        ("src/auth/**/**", &["src/auth", "src/auth/a"], &["src"]),
        ("src/auth/*", &["src/auth/a"], &["src/auth", "src/a/auth", "src/auth/a/b"]),
        ("src/*/", &["src/auth", "src/auth/a/b"], &["src"]),
        ("src/*/**", &["src/auth", "src/auth/a/b"], &["src"]),
        ("/a/b", &["a/b"], &["a", "b"]),
        (".//a/.//b/.", &["a/b", "a/b/c"], &["a"]),
        ("*", &["a", ".hidden"], &["", "a/b"]),
        ("**", &["a", "a/b/c"], &[""]),
        ("*.rs", &["a.rs", ".rs"], &["src/a.rs", "a.rsx", "rs", "a.rs/b"]),
        ("**/*.rs", &["a.rs", "src/a.rs", "src/deep/a.rs"], &["src/a.c", "ars", "src/a.rs/b"]),
        ("a/**/b", &["a/b", "a/x/b", "a/x/y/b/c", "a/b/b"], &["a", "a/x", "axb", "ab", "x/a/b"]),
        ("**/a/**/b", &["a/b", "a/a/b", "x/a/y/b"], &["b", "xa/b", "a/xb"]),
        ("a**b", &["ab", "axxb"], &["a/b", "ax/b"]),
        ("a/***/b", &["a/x/b"], &["a/b", "a/x/y/b"]),
        ("a?c", &["abc", "aéc", "a😀c"], &["ac", "a/c", "abbc"]),
        ("*a*b*a*", &["aba", "xaxbxax"], &["ab", "aab", "a/ba"]),
        ("[a-c]x", &["ax", "cx"], &["dx", "x", "[a-c]x"]),
        ("[!a-c]x", &["dx", "éx", "]x"], &["ax", "/x", "x"]),
        ("[^a]x", &["bx"], &["ax"]),
        ("a[+-9]b", &["a+b", "a0b"], &["a/b", "a,/b"]),
        ("a[!b]c", &["axc"], &["a/c", "abc"]),
        ("[a-]", &["a", "-"], &["b"]),
        ("[-a]", &["a", "-"], &["b"]),
        ("[a\\-c]", &["a", "-", "c"], &["b"]),
        ("[\\]\\\\]", &["]", "\\"], &["["]),
        ("[*?{,}]", &["*", "?", "{", ",", "}"], &["a"]),
        ("[α-ω]", &["λ"], &["l"]),
        ("{a,b}/c", &["a/c", "b/c"], &["c", "a", "{a,b}/c"]),
        ("a{,/b}/c", &["a/c", "a/b/c"], &["ab/c", "a/b"]),
        ("{a,b{c,d/e}}f", &["af", "bcf", "bd/ef"], &["bf", "bdf", "baf"]),
        ("{a}", &["a"], &["{a}"]),
        ("x/{*,a}*/y", &["x/y", "x/p/q/y", "x/ab/y"], &["x"]),
        ("{,a/}b", &["b", "a/b"], &["a"]),
        ("a,b", &["a,b"], &["a", "b"]),
        ("\\*\\?\\[\\]\\{\\}\\\\", &["*?[]{}\\"], &["ab[]{}\\"]),
        ("a\\/b", &["a/b"], &["a"]),
        ("!a", &["!a"], &["a", "b"]),
        ("A", &["A"], &["a"]),
        ("a/.git", &["a/.git/config"], &[".git"]),
        (".gitignore", &[".gitignore"], &[".git"]),
        ("..a/...", &["..a/..."], &[".."]),
    ];
    for (text, covered, others) in table {
        for path in *covered {
            assert!(pattern(text).matches(path), "{text} must cover {path:?}");
        }
        for path in *others {
            assert!(!pattern(text).matches(path), "{text} must not cover {path:?}");
        }
    }
}

#[test]
fn overlaps_when_some_path_is_covered_by_both() {
    let table = [
        ("src", "src/**", true),
        ("src/**", "src", true),
        ("a", "a/b", true),
        ("a", "ab", false),
        ("a/b", "a/c", false),
        ("a/b/c", "a/*/d", false),
        ("a/b", "a/b/c/d", true),
        ("*", "x/y/z", false),
        ("*/", "x/y/z", true),
        ("src/*", "src/auth/login.rs", false),
        ("src/*", "src/login.rs", true),
        ("**", "{x,y}/[!z]", true),
        ("*.rs", "src", false),
        ("*.rs", "src*", true),
        ("*.rs/", "a.rs/b", true),
        ("*.rs", "src/*.rs", false),
        ("*", "src/*.rs", false),
        ("**/*.rs", "src", true),
        ("*.rs", "*.md", false),
        ("**/*.rs", "**/*.md", false),
        ("src/*.rs", "src/*.md", false),
        ("a*b", "*c", false),
        ("a*", "*c", true),
        ("a*b*c", "*b", false),
        ("a/**/z", "a/b", true),
        ("a/**/z", "b/**/z", false),
        ("a/**/b", "a/?", true),
        ("**/a/*/b", "*/*/*/b", true),
        ("[ab]", "[bc]", true),
        ("[ab]", "[cd]", false),
        ("[!a]", "a", false),
        ("[!a]", "[!b]", true),
        ("[!a]", "[a-b]", true),
        ("[!b-z]", "[b-z]", false),
        ("[!!-\u{10ffff}]x", "[!\u{a0}-\u{10ffff}]x", true),
        ("[!\u{a0}-\u{d7ff}\u{e000}-\u{10ffff}]", "[\u{a0}-\u{10ffff}]", false),
        ("[!\u{a0}-\u{d7ff}]", "[!\u{e000}-\u{10ffff} -\u{a0}]", true),
        ("x[+-/]", "x[/-9]", false),
        ("x?y", "x/y", false),
        ("{a,b}/c", "b/{c,d}", true),
        ("{a,b}/c", "{c,d}/c", false),
        ("ab{,c}", "abc", true),
        ("??", "*a", true),
        ("??", "a", false),
        ("?", "*b*", true),
        ("\\*", "a", false),
        ("é", "?", true),
        ("?*", "*", true),
        ("crates/*/src/**", "crates/core/tests", false),
        ("crates/*/src/**", "crates/core", true),
    ];
    for (a, b, expected) in table {
        assert_eq!(overlap(&pattern(a), &pattern(b)), expected, "{a} and {b}");
    }
}

#[test]
fn refuses_what_is_no_pattern_and_says_why() {
    let nested = format!("{}a{}", "{a,".repeat(64), "}".repeat(64));
    let long = format!("{{a,b,c}}{}", "x".repeat(4000));
    let table = [
        ("", "pattern \"\" or one of its alternatives is empty; ** means everything"),
        ("./", "pattern \"./\" or one of its alternatives is empty; ** means everything"),
        ("{a,}", "pattern \"{a,}\" or one of its alternatives is empty; ** means everything"),
        ("a\0", "pattern \"a\\0\" contains the control character '\\0'"),
        ("a\nb", "pattern \"a\\nb\" contains the control character '\\n'"),
        ("a/../b", "pattern \"a/../b\" has \"..\" as a component"),
        ("a/{b,.}.", "pattern \"a/{b,.}.\" has \"..\" as a component"),
        ("./.GIT/config", "pattern \"./.GIT/config\" begins with .git, which holds no files of the repository"),
        ("{a,.git}", "pattern \"{a,.git}\" begins with .git, which holds no files of the repository"),
        ("{a", "pattern \"{a\" has '{' without its partner; \\{ means the character itself"),
        ("a}", "pattern \"a}\" has '}' without its partner; \\} means the character itself"),
        ("[a", "pattern \"[a\" has '[' without its partner; \\[ means the character itself"),
        ("[a-", "pattern \"[a-\" has '[' without its partner; \\[ means the character itself"),
        ("a]", "pattern \"a]\" has ']' without its partner; \\] means the character itself"),
        ("a[]", "pattern \"a[]\" has a class or a range that contains no character"),
        ("a[!]", "pattern \"a[!]\" has a class or a range that contains no character"),
        ("a[/]", "pattern \"a[/]\" has a class or a range that contains no character"),
        ("[z-a]", "pattern \"[z-a]\" has a class or a range that contains no character"),
        ("a\\", r#"pattern "a\\" ends in a backslash that escapes nothing"#),
        ("[a\\", r#"pattern "[a\\" ends in a backslash that escapes nothing"#),
        (&"*".repeat(65), "has 65 stars, more than 64"),
        (&"a".repeat(4097), "aaaa…\" has 4097 bytes, more than 4096"),
        (&"{a,b}".repeat(7), "expands to at least 128 patterns, more than 64"),
        (&nested, "expands to at least 65 patterns, more than 64"),
        (&long, "expands to at least 12003 characters, more than 4096"),
    ];
    for (text, message) in table {
        let error = Pattern::parse(text).map(|pattern| pattern.to_string()).expect_err(text).to_string();
        assert!(error.starts_with("pattern ") && error.ends_with(message), "{error}");
    }
}

#[test]
fn keeps_its_text() {
    for text in ["a", "/a/", "{a,[!b]}/\\*", &"*".repeat(64), &"{a,b}".repeat(6), &"a".repeat(4096)] {
        let parsed: Pattern = text.parse().expect("a pattern within all limits");
        assert_eq!(parsed.as_str(), text);
        assert_eq!(parsed.to_string(), text);
    }
}

const PIECES: [&str; 9] = ["a", "b", "/", "*", "?", "**", "[ab]", "[!a]", "{a,b}"];

/// Small enough to leave nothing out: `overlaps` is true exactly when a short path is covered by both.
#[test]
fn is_exact_for_every_pair_of_small_patterns() {
    let paths = paths(&['a', 'b', 'c', '/'], 6);
    let mut texts = vec![String::new()];
    for start in [0, 1, 10] {
        let longer = texts[start..].iter().flat_map(|text| PIECES.map(|piece| format!("{text}{piece}")));
        texts.extend(longer.collect::<Vec<_>>());
    }
    let parsed = texts.iter().filter_map(|text| Pattern::parse(text).ok());
    let covered = |pattern: &Pattern| paths.iter().map(|path| pattern.matches(path)).collect::<Vec<_>>();
    // Spellings that cover the same paths need no second look.
    let patterns: BTreeMap<Vec<bool>, Pattern> = parsed.map(|pattern| (covered(&pattern), pattern)).collect();
    assert!(patterns.len() > 100);
    for (a_covers, a) in &patterns {
        for (b_covers, b) in &patterns {
            let meet = a_covers.iter().zip(b_covers).any(|(a, b)| *a && *b);
            assert_eq!(overlap(a, b), meet, "{a} and {b}");
        }
    }
}

/// The longest patterns that are accepted, chosen so that nearly every pair of states is reached, in vain.
#[test]
fn bounds_the_work_of_the_worst_patterns() {
    let long = |end: char| pattern(&format!("{{*,*}}{}{end}", "a".repeat(2046)));
    assert!(!long('b').overlaps(&long('c')));
    assert!(!long('b').matches(&"a".repeat(4096)));
    let stars = |end: char| pattern(&format!("{}{end}", "*a".repeat(64)));
    assert!(!stars('b').overlaps(&stars('c')));
    assert!(!stars('b').matches(&"a".repeat(4096)));
    let deep = |end: char| pattern(&format!("{}{end}", "**/a/".repeat(32)));
    assert!(!deep('b').matches(&"a/".repeat(2048)));
    assert!(deep('b').overlaps(&deep('c')));
}

fn any_pattern() -> impl Strategy<Value = Pattern> {
    prop::collection::vec(prop::sample::select(&PIECES[..]), 1..8)
        .prop_filter_map("the text must be a pattern", |pieces| Pattern::parse(&pieces.concat()).ok())
}

/// Patterns that this module and globset read alike: `**` as a whole component only, never inside braces, and no
/// negated class without `/`, which globset would let match a `/`.
fn common_dialect() -> impl Strategy<Value = String> {
    const PIECES: [&str; 10] = ["a", "b", "?", "*", "[ab]", "[!a/]", "[b-c]", "{a,b}", "{a,b{b,c?}}", "\\a"];
    let piece = prop::sample::select(&PIECES[..]);
    let name = prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat());
    let name = name.prop_filter("two stars are another thing", |name| !name.contains("**"));
    let component = prop_oneof![4 => name, 1 => Just("**".to_owned()), 1 => Just("{a,b/c}".to_owned())];
    prop::collection::vec(component, 1..5)
        .prop_map(|components| components.join("/"))
        .prop_filter("globset has no limit on expansions", |text| {
            !matches!(Pattern::parse(text), Err(PatternError::TooManyExpansions(..)))
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_pattern_overlaps_itself(a in any_pattern()) {
        prop_assert!(overlap(&a, &a));
    }

    #[test]
    fn a_path_covered_by_both_means_overlap_and_overlap_means_such_a_path(a in any_pattern(), b in any_pattern()) {
        let answer = overlap(&a, &b);
        for path in paths(&['a', 'b', 'c', '/'], 5) {
            prop_assert!(answer || !(a.matches(&path) && b.matches(&path)), "{a} and {b} meet in {path:?}");
        }
    }

    #[test]
    fn covers_what_globset_matches_and_nothing_that_is_not_beneath_it(text in common_dialect()) {
        // A final `**` covers the directory itself as well, which globset leaves out.
        let mut spellings = vec![text.as_str()];
        while let Some(shorter) = spellings[spellings.len() - 1].strip_suffix("/**") {
            spellings.push(shorter);
        }
        let globs = spellings.iter().map(|text| {
            let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
            glob.expect("globset reads the common dialect").compile_matcher()
        });
        let globs: Vec<_> = globs.collect();
        let ours = pattern(&text);
        for path in paths(&['a', 'b', 'c', '/'], 5) {
            let matched = |path: &str| globs.iter().any(|glob| glob.is_match(path));
            let above = path.match_indices('/').any(|(end, _)| matched(&path[..end]));
            let covered = ours.matches(&path);
            prop_assert!(covered || !matched(&path), "{} must cover {:?}", text, path);
            prop_assert!(!covered || matched(&path) || above, "{} must not cover {:?}", text, path);
        }
    }

    #[test]
    fn any_text_is_refused_or_overlaps_itself(text in "[-ab/.*?{},!^\\[\\]\\\\é]{0,24}") {
        if let Ok(pattern) = Pattern::parse(&text) {
            prop_assert!(overlap(&pattern, &pattern));
        }
    }
}
