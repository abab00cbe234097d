//! The radar against git itself, on histories that were made to be nasty.
//!
//! Each seed is a repository of some twenty branches: renames of files and directories, files in the place of
//! directories and the reverse, modes, links, binaries, merge drivers, branches that merged each other crosswise, and a
//! target that went on meanwhile. What the radar says of every pair must be what `git merge-tree` says, paths included.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use crate::scrum::{World, texts};

/// How many, unless `RADAR_SEEDS` says so. Each takes about half a second.
const SEEDS: u64 = 8;
const BRANCHES: usize = 18;

/// As a candidate is merged.
const SETTLED: &[&str] = &[
    "-c",
    "merge.renames=true",
    "-c",
    "merge.directoryRenames=conflict",
    "-c",
    "merge.renameLimit=7000",
    "-c",
    "merge.conflictStyle=merge",
    "-c",
    "diff.renameLimit=7000",
    "-c",
    "diff.algorithm=histogram",
];

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

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// The files of a commit: modes and contents.
type Files = BTreeMap<String, (&'static str, Vec<u8>)>;

/// A stream for `git fast-import`.
#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    commits: Vec<Files>,
}

impl Stream {
    /// A commit on `branch`; gives its number.
    fn commit(&mut self, branch: &str, files: Files, parents: &[usize]) -> usize {
        let mark = self.commits.len() + 1;
        let mut text = format!("commit refs/heads/{branch}\nmark :{mark}\n");
        let _ = writeln!(text, "committer A <a@example.test> {} +0000\ndata 2\nx", 1_700_000_000 + mark);
        for (nth, parent) in parents.iter().enumerate() {
            let _ = writeln!(text, "{} :{}", if nth == 0 { "from" } else { "merge" }, parent + 1);
        }
        text.push_str("deleteall\n");
        self.bytes.extend(text.as_bytes());
        for (path, (mode, content)) in &files {
            self.bytes.extend(format!("M {mode} inline {path}\ndata {}\n", content.len()).as_bytes());
            self.bytes.extend(content);
            self.bytes.push(b'\n');
        }
        self.commits.push(files);
        mark - 1
    }
}

fn lines(random: &mut Random) -> Vec<u8> {
    let lines: Vec<String> = (0..12).map(|nth| format!("line {nth} {}\n", random.below(1_000_000))).collect();
    lines.concat().into_bytes()
}

/// Whether `path` may be a file beside the others: none is above or below it.
fn fits(files: &Files, path: &str) -> bool {
    let below = format!("{path}/");
    !files.keys().any(|other| other.starts_with(&below) || path.starts_with(&format!("{other}/")))
}

/// Changes something.
fn change(files: &mut Files, random: &mut Random) {
    let paths: Vec<String> = files.keys().cloned().collect();
    let Some(path) = (!paths.is_empty()).then(|| random.of(&paths).clone()) else { return };
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory).to_owned();
    let fresh = format!("{}/n{}", random.of(&["a", "a/b", "c", "d", "e/f"]), random.below(6));
    match random.below(10) {
        0..=2 => {
            let entry = files.get_mut(&path).expect("it is one of them");
            let text = String::from_utf8_lossy(&entry.1).into_owned();
            let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
            let nth = random.below(lines.len().max(1));
            lines.splice(nth..(nth + 1).min(lines.len()), [format!("changed {}\n", random.below(4))]);
            entry.1 = lines.concat().into_bytes();
        }
        3 => {
            files.remove(&path);
        }
        4 if fits(files, &fresh) => {
            files.insert(fresh, ("100644", lines(random)));
        }
        // A file moves, with or without a change.
        5 if fits(files, &fresh) => {
            let mut moved = files.remove(&path).expect("it is one of them");
            if random.below(2) == 0 {
                moved.1.extend(b"and one line more\n");
            }
            files.insert(fresh, moved);
        }
        // A directory moves, whole or but for one file.
        6 if !directory.is_empty() => {
            let to = format!("{}{}", random.of(&["moved", "a/moved", "g/h"]), random.below(2));
            let keep = (random.below(3) == 0).then(|| path.clone());
            let below: Vec<String> =
                files.keys().filter(|path| path.starts_with(&format!("{directory}/"))).cloned().collect();
            for old in below.into_iter().filter(|old| Some(old) != keep.as_ref()) {
                let new = format!("{to}{}", &old[directory.len()..]);
                if fits(files, &new) {
                    let moved = files.remove(&old).expect("it was there");
                    files.insert(new, moved);
                }
            }
        }
        // A file in the place of a directory, or a directory in the place of a file.
        7 if random.below(2) == 0 && !directory.is_empty() => {
            files.retain(|path, _| !path.starts_with(&format!("{directory}/")));
            if fits(files, &directory) {
                files.insert(directory, ("100644", lines(random)));
            }
        }
        7 => {
            files.remove(&path);
            files.insert(format!("{path}/inner"), ("100644", lines(random)));
        }
        8 => {
            let entry = files.get_mut(&path).expect("it is one of them");
            match random.below(3) {
                0 => entry.0 = if entry.0 == "100755" { "100644" } else { "100755" },
                1 => *entry = ("120000", format!("to-{}", random.below(3)).into_bytes()),
                _ => entry.1 = vec![0, 1, 2, random.below(3) as u8],
            }
        }
        _ => {
            let name = format!("a/new{}", random.below(8));
            if fits(files, &name) {
                files.insert(name, ("100644", lines(random)));
            }
        }
    }
}

fn changed(files: &Files, count: usize, random: &mut Random) -> Files {
    let mut files = files.clone();
    (0..count).for_each(|_| change(&mut files, random));
    files
}

/// A history: the names of its branches.
fn history(seed: u64) -> (Vec<u8>, Vec<String>) {
    let mut random = Random(seed);
    let mut stream = Stream::default();
    let mut files = Files::new();
    for directory in ["", "a/", "a/b/", "c/", "d/x/", "d/y/", "e/f/"] {
        for nth in 0..4 {
            files.insert(format!("{directory}f{nth}"), ("100644", lines(&mut random)));
        }
    }
    files.insert("a/same".to_owned(), ("100644", lines(&mut random)));
    let attributes = b"*1 merge=union\n*2 merge=stubborn\n*3 merge=easy\n*.bin binary\n".to_vec();
    files.insert(".gitattributes".to_owned(), ("100644", attributes));
    let mut main = vec![stream.commit("main", files, &[])];
    for _ in 0..3 {
        let base = *main.last().expect("there is one");
        let files = changed(&stream.commits[base], 1, &mut random);
        main.push(stream.commit("main", files, &[base]));
    }
    let mut tips: Vec<usize> = Vec::new();
    let mut names = Vec::new();
    for nth in 0..BRANCHES {
        let name = format!("b{nth:02}");
        let from = *random.of(&main);
        let count = 1 + random.below(2);
        let files = changed(&stream.commits[from], count, &mut random);
        let mut tip = stream.commit(&name, files, &[from]);
        // Some go on from another branch, or take one in; two that take in each other have crossed.
        if !tips.is_empty() && random.below(4) == 0 {
            let other = *random.of(&tips);
            let files = changed(&stream.commits[*random.of(&[tip, other])], 1, &mut random);
            tip = stream.commit(&name, files, &[tip, other]);
        }
        tips.push(tip);
        names.push(name);
    }
    for _ in 0..2 {
        let (one, two) = (random.below(BRANCHES), random.below(BRANCHES));
        if one != two {
            let (a, b) = (tips[one], tips[two]);
            let of_a = changed(&stream.commits[a], 1, &mut random);
            let of_b = changed(&stream.commits[b], 1, &mut random);
            tips[one] = stream.commit(&names[one], of_a, &[a, b]);
            tips[two] = stream.commit(&names[two], of_b, &[b, a]);
        }
    }
    (stream.bytes, names)
}

/// What git says of each pair: the paths of those that conflict.
fn by_git(world: &World, repo: &Path, pairs: &[(String, String)]) -> BTreeMap<(String, String), BTreeSet<String>> {
    let mut found = BTreeMap::new();
    let id = |branch: &str| world.sandbox.git(repo, &["rev-parse", branch]);
    let mut ids = BTreeMap::new();
    for branch in pairs.iter().flat_map(|(a, b)| [a, b]) {
        ids.entry(branch.clone()).or_insert_with(|| id(branch));
    }
    let input: String = pairs.iter().map(|(a, b)| format!("{} {}\n", ids[a], ids[b])).collect();
    let mut command = world.sandbox.command("git");
    command.current_dir(repo).args(SETTLED).args(["-c", "core.fsync=none", "merge-tree", "--write-tree", "--stdin"]);
    command.args(["-z", "--name-only", "--no-messages"]).env("GIT_ATTR_SOURCE", "main");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("git starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input.as_bytes()).expect("git reads"));
        child.wait_with_output().expect("git ends")
    });
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut fields = text.split('\0');
    for (a, b) in pairs {
        let clean = fields.next() == Some("1");
        fields.next().expect("a tree");
        let paths = fields.by_ref().take_while(|field| !field.is_empty());
        // The radar leaves out whose file it is that stands beside a directory.
        let beside = [format!("~{}", ids[a]), format!("~{}", ids[b])];
        let plain = |path: &str| {
            beside.iter().find_map(|end| path.split(end).next().filter(|cut| *cut != path)).unwrap_or(path).to_owned()
        };
        let paths: BTreeSet<String> = paths.map(plain).collect();
        if !clean {
            found.insert((a.clone(), b.clone()), paths);
        }
    }
    found
}

fn by_radar(data: &Value) -> BTreeMap<(String, String), BTreeSet<String>> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let pair = |pair: &Value| ((text(&pair["a"]), text(&pair["b"])), texts(&pair["paths"], None).into_iter().collect());
    let with_target = data["with_target"].as_array().expect("a list").iter();
    let with_target = with_target.map(pair).map(|((a, b), paths)| ((b, a), paths));
    data["pairs"].as_array().expect("a list").iter().map(pair).chain(with_target).collect()
}

/// Paths that two branches have changed since they parted, as far as `git diff` sees them.
fn share_a_path(world: &World, repo: &Path, a: &str, b: &str) -> bool {
    let changed = |a: &str, b: &str| -> BTreeSet<String> {
        let range = format!("{a}...{b}");
        let listed = world.sandbox.git(repo, &["diff", "--no-renames", "--name-only", &range]);
        listed.lines().map(str::to_owned).collect()
    };
    !changed(a, b).is_disjoint(&changed(b, a))
}

#[test]
fn no_conflict_is_missed_and_none_is_made_up() {
    let (mut pairs_seen, mut conflicts, mut apart, mut ruled_out) = (0, 0, 0, 0);
    let seeds = std::env::var("RADAR_SEEDS").map_or(SEEDS, |text| text.parse().expect("RADAR_SEEDS is a number"));
    for seed in 1..=seeds {
        let (world, _) = World::local();
        let repo = world.sandbox.path("nasty");
        world.sandbox.git(world.sandbox.root(), &["init", "-q", "-b", "main", "nasty"]);
        for (key, value) in [("merge.stubborn.driver", "false"), ("merge.easy.driver", "true"), ("core.fsync", "none")]
        {
            world.sandbox.git(&repo, &["config", key, value]);
        }
        let (stream, names) = history(seed);
        let mut import = world.sandbox.command("git");
        import.current_dir(&repo).args(["fast-import", "--quiet"]).stdin(Stdio::piped());
        let mut import = import.spawn().expect("git starts");
        import.stdin.take().expect("it is piped").write_all(&stream).expect("git reads");
        assert!(import.wait().expect("git ends").success(), "seed {seed}");
        world.ok(&repo, &["init", "--local"]);
        let mut args = vec!["conflicts", "--target", "main"];
        args.extend(names.iter().map(String::as_str));
        let answered = world.ask(&repo, &args);
        assert!(answered.exit <= 1, "seed {seed}: {answered:?}");
        let data = answered.json()["data"].clone();
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (nth, a) in names.iter().enumerate() {
            pairs.extend(names[nth + 1..].iter().map(|b| (a.clone(), b.clone())));
        }
        pairs.extend(names.iter().map(|name| ("main".to_owned(), name.clone())));
        let expected = by_git(&world, &repo, &pairs);
        assert_eq!(by_radar(&data), expected, "seed {seed}");
        pairs_seen += pairs.len();
        conflicts += expected.len();
        apart += expected.keys().filter(|(a, b)| !share_a_path(&world, &repo, a, b)).count();
        ruled_out += data["looked_at"]["ruled_out"].as_u64().expect("a number");
    }
    println!("{pairs_seen} pairs, {ruled_out} ruled out; {conflicts} conflict, {apart} of them without a common path");
    assert!(ruled_out > 100 && conflicts > 100 && apart > 5, "they are nasty, and not all alike");
}
