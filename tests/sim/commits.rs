//! Commits of the code: sets of files with parents, and a merge that is sound though simple.
//!
//! Ids are hashes of the content, so that whoever builds the same commit builds the same id, as in git.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use git_scrum::domain::ObjectId;
use git_scrum::domain::planner::Candidate;
use git_scrum::engine::ports::Undone;

/// Paths with their contents.
pub type Files = BTreeMap<String, String>;

/// One commit.
#[derive(Clone)]
pub struct Commit {
    /// What it follows.
    pub parents: Vec<ObjectId>,
    /// What is in it.
    pub files: Rc<Files>,
    /// How many commits there are on the longest way to a root.
    height: u64,
}

/// Every commit that anybody made.
#[derive(Default)]
pub struct Commits(BTreeMap<ObjectId, Commit>);

impl Commits {
    /// Makes a commit, unless there is one like it.
    pub fn add(&mut self, parents: &[ObjectId], files: Files, subject: &str) -> ObjectId {
        let named: Vec<&str> = parents.iter().map(ObjectId::as_str).collect();
        let id = hash(&[tree_of(&files).as_str(), &named.join(" "), subject]);
        let height = parents.iter().map(|parent| self.get(parent).height + 1).max().unwrap_or(0);
        let commit = Commit { parents: parents.to_vec(), files: Rc::new(files), height };
        self.0.entry(id.clone()).or_insert(commit);
        id
    }

    /// A commit.
    pub fn get(&self, id: &ObjectId) -> &Commit {
        self.0.get(id).unwrap_or_else(|| panic!("there is no commit {id}"))
    }

    /// Whether `commit` is `tip` or an ancestor of it.
    pub fn contains(&self, tip: &ObjectId, commit: &ObjectId) -> bool {
        let Some(height) = self.0.get(commit).map(|commit| commit.height) else { return false };
        let mut seen = BTreeSet::new();
        let mut open = vec![tip];
        while let Some(id) = open.pop() {
            if id == commit {
                return true;
            }
            // Nothing that is no higher has it below.
            let found = self.get(id);
            if found.height > height && seen.insert(id) {
                open.extend(&found.parents);
            }
        }
        false
    }

    fn ancestors(&self, tip: &ObjectId) -> BTreeSet<ObjectId> {
        let mut seen = BTreeSet::new();
        let mut open = vec![tip.clone()];
        while let Some(id) = open.pop() {
            if seen.insert(id.clone()) {
                open.extend(self.get(&id).parents.iter().cloned());
            }
        }
        seen
    }

    /// Merges `theirs` onto `base` in the name of `subject`: what both changed differently since the nearest common
    /// ancestor is a conflict.
    pub fn merge(&mut self, base: &ObjectId, theirs: &ObjectId, subject: &str) -> Candidate {
        let ours = self.ancestors(base);
        let common = self.ancestors(theirs).into_iter().filter(|id| ours.contains(id));
        let nearest = common.max_by_key(|id| (self.get(id).height, id.clone()));
        let old = nearest.map(|id| Rc::clone(&self.get(&id).files)).unwrap_or_default();
        let (our_files, their_files) = (Rc::clone(&self.get(base).files), Rc::clone(&self.get(theirs).files));
        let merged = match merge_files(&old, &our_files, &their_files) {
            Ok(merged) => merged,
            Err(paths) => return Candidate::Conflict { paths },
        };
        let tree = tree_of(&merged);
        let commit = self.add(&[base.clone(), theirs.clone()], merged, subject);
        Candidate::Clean { commit, tree }
    }

    /// Makes a commit on `tip` that takes back what came between two others.
    pub fn undo(&mut self, tip: &ObjectId, between: (&ObjectId, &ObjectId), subject: &str) -> Undone {
        let files = |id: &ObjectId| Rc::clone(&self.get(id).files);
        let (before, after, now) = (files(between.0), files(between.1), files(tip));
        match merge_files(&after, &now, &before) {
            Err(paths) => Undone::Conflict { paths },
            Ok(merged) if merged == *now => Undone::Nothing,
            Ok(merged) => Undone::Commit(self.add(std::slice::from_ref(tip), merged, subject)),
        }
    }

    /// The tree of a commit.
    pub fn tree(&self, id: &ObjectId) -> ObjectId {
        tree_of(&self.get(id).files)
    }

    /// Whether the check passes on a commit: a function of its files, and of how they go together.
    pub fn is_green(&self, id: &ObjectId) -> bool {
        let has = |prefix: &str| {
            self.get(id).files.keys().any(|path| path.rsplit('/').next().is_some_and(|name| name.starts_with(prefix)))
        };
        let clash = has("left-") && has("right-");
        !(has("bad-") || clash)
    }
}

/// What two made of `old`; or the paths that both changed differently.
fn merge_files(old: &Files, ours: &Files, theirs: &Files) -> Result<Files, Vec<String>> {
    let paths: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let mut merged = Files::new();
    let mut conflicts = Vec::new();
    for path in paths {
        let (was, our, their) = (old.get(path), ours.get(path), theirs.get(path));
        let result = match (our == was, their == was) {
            (true, _) => their,
            (_, true) => our,
            _ if our == their => our,
            _ => {
                conflicts.push(path.clone());
                None
            }
        };
        merged.extend(result.map(|content| (path.clone(), content.clone())));
    }
    if conflicts.is_empty() { Ok(merged) } else { Err(conflicts) }
}

fn tree_of(files: &Files) -> ObjectId {
    let parts: Vec<&str> = files.iter().flat_map(|(path, content)| [path.as_str(), content.as_str()]).collect();
    hash(&parts)
}

/// The id of some content.
pub fn hash(parts: &[&str]) -> ObjectId {
    let word = |seed: u64| {
        let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
        let fnv = bytes.fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        crate::random::Random::new(fnv).next()
    };
    let text = format!("{:016x}{:016x}{:08x}", word(1), word(2), word(3) >> 32);
    ObjectId::parse(&text).expect("40 hexadecimal digits")
}
