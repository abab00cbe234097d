//! The conflict radar over all pairs of 60 branches on 5,000 files, beside one `git merge-tree` that merges them all.
//!
//! - The branches change five files each, a few move or add one of them, and they parted from a target that went on:
//!   from each of its last ten commits some.
//! - Plain git is one `git merge-tree --write-tree --stdin` over the same pairs. It writes what it merges into the
//!   repository, so every round gives it a fresh copy, packed as a clone is. Beside it, for what it tells, is the same
//!   process with its objects in memory.
//! - *Cold* is a first look of `git scrum conflicts`, which knows no answers yet; *one has moved* is a look after one of
//!   the branches got one more commit. Both are the whole program from start to end, and merge each branch with the
//!   target as well.
//! - All answers of every round are compared with git's, paths included.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::PROGRAM;
use crate::measure::{Cost, Samples, git, load, loose_objects, time, time_reading};
use crate::support::Sandbox;

const BRANCHES: usize = 60;
const FILES: usize = 5_000;
const LINES: usize = 60;
/// How many times faster than plain git.
const COLD_MIN: f64 = 10.0;
const MOVED_MIN: f64 = 100.0;

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

pub fn path(nth: usize) -> String {
    format!("src/m{}/d{}/f{}.rs", nth % 10, nth / 10 % 10, nth / 100)
}

/// A file, with one of its lines changed if that is asked for.
pub fn content(nth: usize, changed: Option<(usize, &str)>) -> String {
    let mut text = String::new();
    for line in 0..LINES {
        match changed {
            Some((at, what)) if at == line => text.push_str(&format!("{what}\n")),
            _ => text.push_str(&format!("line {line} of file {nth}, {}\n", (nth * 7919 + line * 104_729) % 1_000_003)),
        }
    }
    text
}

/// A commit for `git fast-import`.
pub fn commit(stream: &mut String, branch: &str, mark: usize, from: Option<String>, changes: &str) {
    let _ = writeln!(stream, "commit refs/heads/{branch}\nmark :{mark}");
    let _ = writeln!(stream, "committer A <a@example.test> {} +0000\ndata 1\nx", 1_700_000_000 + mark);
    if let Some(from) = from {
        let _ = writeln!(stream, "from {from}");
    }
    stream.push_str(changes);
    stream.push('\n');
}

pub fn file(path: &str, text: &str) -> String {
    format!("M 100644 inline {path}\ndata {}\n{text}\n", text.len())
}

/// Half of the changes fall on one file in fifty, as they do.
fn any_file(random: &mut Random) -> usize {
    let nth = random.below(FILES);
    if random.below(5) == 0 { nth / 50 * 50 } else { nth }
}

fn history(random: &mut Random) -> String {
    let mut stream = String::new();
    let all: String = (0..FILES).map(|nth| file(&path(nth), &content(nth, None))).collect();
    commit(&mut stream, "main", 1, None, &all);
    for mark in 2..12 {
        let nth = any_file(random);
        let change = file(&path(nth), &content(nth, Some((random.below(LINES), "changed on the target"))));
        commit(&mut stream, "main", mark, Some(format!(":{}", mark - 1)), &change);
    }
    for branch in 0..BRANCHES {
        let mut changes = String::new();
        for _ in 0..5 {
            let nth = any_file(random);
            let text = content(nth, Some((random.below(LINES), &format!("changed by {branch}"))));
            match random.below(25) {
                0 => changes.push_str(&format!("D {}\n{}", path(nth), file(&format!("src/new/moved{nth}.rs"), &text))),
                1 => changes.push_str(&file(&format!("{}.more", path(nth)), &text)),
                _ => changes.push_str(&file(&path(nth), &text)),
            }
        }
        let from = format!(":{}", 2 + random.below(10));
        commit(&mut stream, &name(branch), 100 + branch, Some(from), &changes);
    }
    stream
}

fn name(branch: usize) -> String {
    format!("branch-{branch:02}")
}

pub fn import(sandbox: &Sandbox, repo: &Path, stream: &str) {
    let mut import = sandbox.command(git());
    import.current_dir(repo).args(["fast-import", "--quiet", "--force"]).stdin(Stdio::piped());
    let mut import = import.spawn().expect("git starts");
    import.stdin.take().expect("it is piped").write_all(stream.as_bytes()).expect("git reads");
    assert!(import.wait().expect("git ends").success());
}

type Answers = BTreeMap<(String, String), BTreeSet<String>>;

/// What git said of each pair.
fn answers_of_git(said: &str, pairs: &[(String, String)]) -> Answers {
    let mut fields = said.split('\0');
    let mut answers = Answers::new();
    for pair in pairs {
        let clean = fields.next() == Some("1");
        fields.next().expect("a tree");
        let paths = fields.by_ref().take_while(|field| !field.is_empty()).map(str::to_owned).collect();
        if !clean {
            answers.insert(pair.clone(), paths);
        }
    }
    answers
}

fn answers_of_radar(said: &str) -> (Answers, String) {
    let value: serde_json::Value = serde_json::from_str(said).expect("JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let list = |value: &serde_json::Value| value.as_array().expect("a list").clone();
    let mut answers = Answers::new();
    for pair in list(&value["data"]["pairs"]) {
        answers.insert((text(&pair["a"]), text(&pair["b"])), list(&pair["paths"]).iter().map(text).collect());
    }
    for pair in list(&value["data"]["with_target"]) {
        answers.insert((text(&pair["b"]), text(&pair["a"])), list(&pair["paths"]).iter().map(text).collect());
    }
    (answers, value["data"]["looked_at"].to_string())
}

struct Arena {
    sandbox: Sandbox,
    repo: PathBuf,
    pairs: Vec<(String, String)>,
    input: PathBuf,
}

impl Arena {
    fn new(random: &mut Random) -> Arena {
        let sandbox = Sandbox::new();
        let repo = sandbox.path("repo");
        sandbox.git(sandbox.root(), &["init", "-q", "-b", "main", "repo"]);
        import(&sandbox, &repo, &history(random));
        sandbox.git(&repo, &["reset", "-q", "--hard"]);
        sandbox.git(&repo, &["gc", "-q"]);
        let mut init = sandbox.command(PROGRAM);
        time(init.current_dir(&repo).args(["init", "--local"]), &[0]);
        let mut pairs = Vec::new();
        for a in 0..BRANCHES {
            pairs.extend((a + 1..BRANCHES).map(|b| (name(a), name(b))));
        }
        let input = sandbox.path("pairs");
        Arena { sandbox, repo, pairs, input }
    }

    /// Plain git over these pairs, in a fresh copy of the repository; in memory it writes nothing there.
    fn git(&self, pairs: &[(String, String)], in_memory: bool) -> (Cost, Answers, u64) {
        let copy = self.sandbox.path("copy");
        self.sandbox.git(self.sandbox.root(), &["clone", "-q", "--bare", "--no-hardlinks", "repo", "copy"]);
        let list: String = pairs.iter().map(|(a, b)| format!("{a} {b}\n")).collect();
        fs::write(&self.input, list).expect("the sandbox is writable");
        let before = loose_objects(&self.sandbox, &copy);
        let mut merge = self.sandbox.command(git());
        merge.args(["merge-tree", "--write-tree", "--stdin", "-z", "--name-only", "--no-messages"]);
        let memory = in_memory.then(Sandbox::in_memory);
        if let Some(memory) = &memory {
            merge.env("GIT_OBJECT_DIRECTORY", memory.root());
            merge.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", copy.join("objects"));
        }
        let input = fs::File::open(&self.input).expect("it was just written");
        let (cost, said) = time_reading(merge.current_dir(&copy), &[0], input.into());
        let written = loose_objects(&self.sandbox, &copy) - before;
        fs::remove_dir_all(&copy).expect("it is there");
        (cost, answers_of_git(&said, pairs), written)
    }

    fn radar(&self) -> (Cost, Answers, String) {
        let mut look = self.sandbox.command(PROGRAM);
        look.current_dir(&self.repo).args(["conflicts", "--json"]).args((0..BRANCHES).map(name));
        let (cost, said) = time(&mut look, &[0, 1]);
        let (answers, looked_at) = answers_of_radar(&said);
        (cost, answers, looked_at)
    }

    /// What git says of all pairs and of each branch with the target, which nobody measures.
    fn expected(&self) -> Answers {
        let with_target = (0..BRANCHES).map(|branch| ("main".to_owned(), name(branch)));
        self.git(&self.pairs.iter().cloned().chain(with_target).collect::<Vec<_>>(), true).1
    }

    fn forget(&self) {
        fs::remove_file(self.repo.join(".git/scrum/radar")).ok();
    }

    fn move_one(&self, random: &mut Random, round: usize) {
        let (branch, nth) = (name(random.below(BRANCHES)), any_file(random));
        let text = content(nth, Some((random.below(LINES), &format!("changed in round {round}"))));
        let mut stream = String::new();
        commit(&mut stream, &branch, 1, Some(format!("refs/heads/{branch}^0")), &file(&path(nth), &text));
        import(&self.sandbox, &self.repo, &stream);
    }
}

/// Prints what the radar costs in so many rounds.
///
/// # Panics
/// Where an answer is not git's.
pub fn run(rounds: usize) {
    let mut random = Random(1);
    let arena = Arena::new(&mut random);
    let mut samples: [Samples; 5] = Default::default();
    let (mut looked, mut written, mut left, mut conflicts) = ([String::new(), String::new()], 0, 0, 0);
    println!("\n{rounds} rounds; load when they begin: {}", load());
    for round in 0..=rounds {
        let (plain, of_plain, loose) = arena.git(&arena.pairs, false);
        let (memory, of_memory, _) = arena.git(&arena.pairs, true);
        let expected = arena.expected();
        let of_pairs =
            expected.iter().filter(|((a, _), _)| a != "main").map(|(pair, paths)| (pair.clone(), paths.clone()));
        assert_eq!((&of_plain, &of_memory), (&of_pairs.collect(), &of_plain));
        arena.forget();
        let before = loose_objects(&arena.sandbox, &arena.repo);
        let (cold, answers, looked_cold) = arena.radar();
        assert_eq!(answers, expected, "cold, round {round}");
        left += loose_objects(&arena.sandbox, &arena.repo) - before;
        let (still, answers, _) = arena.radar();
        assert_eq!(answers, expected, "nothing has moved, round {round}");
        arena.move_one(&mut random, round);
        let (moved, answers, looked_moved) = arena.radar();
        assert_eq!(answers, arena.expected(), "one has moved, round {round}");
        // The first round warms up.
        if round > 0 {
            for (samples, cost) in samples.iter_mut().zip([plain, memory, cold, moved, still]) {
                samples.add(cost);
            }
            (looked, written, conflicts) = ([looked_cold, looked_moved], loose, of_plain.len());
        }
    }
    println!("load when they have ended: {}", load());
    table(&samples);
    println!("\n{} pairs of {BRANCHES} branches on {FILES} files, {conflicts} of them conflict.", arena.pairs.len());
    println!("Plain git left {written} loose objects, git scrum conflicts {left}.");
    println!("Looked at, cold: {}; when one has moved: {}", looked[0], looked[1]);
    println!("Every answer of every round was git's, and every path.");
}

fn table(samples: &[Samples; 5]) {
    println!("\n## Conflicts: wall time in ms, and mean processor time\n");
    println!("{:<44}{:>9}{:>9}{:>9}{:>9}{:>12}  bars", "", "least", "median", "p95", "cpu", "x faster");
    let names = [
        ("git merge-tree --stdin, all pairs", None),
        ("the same, objects in memory", None),
        ("git scrum conflicts, cold", Some(COLD_MIN)),
        ("git scrum conflicts, one of 60 has moved", Some(MOVED_MIN)),
        ("git scrum conflicts, nothing has moved", None),
    ];
    let floor = samples[0].median_ms();
    for ((name, min), samples) in names.iter().zip(samples) {
        let median = samples.median_ms();
        let faster = floor / median;
        let verdict = |min: f64| format!("{} (at least {min} x)", if faster >= min { "PASS" } else { "FAIL" });
        println!(
            "{name:<44}{:>9.1}{median:>9.1}{:>9.1}{:>9.1}{faster:>12.1}  {}",
            samples.quantile_ms(0.0),
            samples.quantile_ms(0.95),
            samples.cpu_ms(),
            min.map(verdict).unwrap_or_default(),
        );
    }
}
