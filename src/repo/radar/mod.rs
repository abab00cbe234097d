//! The conflict radar: what would collide if it were merged now.
//!
//! Answers are those of `git merge-tree` for each pair, and of nothing else (GIT_FACTS 32); what makes many pairs cheap
//! is that most need no answer. What was merged before is remembered (`cache`). Two lines of work that have touched
//! nothing of each other are ruled out by their paths (`footprint`), which is conservative. The rest goes to a few
//! processes at a time (`merge`), which write into a directory in memory (`super::scratch`): nothing is left in the
//! repository.

mod bits;
mod cache;
mod changes;
mod footprint;
mod history;
mod merge;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use cache::{Answers, Circumstances, digest};
use footprint::Footprints;
use merge::{Pair, merge_all};

use super::candidate::{SETTLED, plain};
use super::scratch::Scratch;
use crate::domain::{Branch, Fence, ObjectId, TaskId};
use crate::engine::ports::{Clash, Clashes, Radar, Sighted};
use crate::git::{Git, GitError, failure};
use crate::ledger::{Cache, Fault, Objects, Place, Refs, Truth, TruthRefs, tracking_ref, transfer_fault};
use crate::record::names::{RefNames, branch_ref};

/// So few pairs are merged without looking at their paths first: that takes as long.
const MERGED_DIRECTLY_MAX: usize = 30;
/// How many refs one command names.
const NAMED_MAX: usize = 200;
/// Settings by which merges may differ begin with one of these.
const SETTINGS: &[&str] = &["merge.", "diff.", "core.", "filter."];

/// The tree without entries, which git knows without having it.
const EMPTY_TREE_SHA1: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
const EMPTY_TREE_SHA256: &str = "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321";

/// The radar of one clone.
pub struct GitRadar {
    place: Rc<Place>,
    git: Git,
    refs: Refs,
    cache: Cache,
    objects: Objects,
    truth: Truth,
    code_truth: Truth,
    names: RefNames,
    settings: String,
    /// What git says of its version, where it was asked ahead: waited for when it is needed.
    version: RefCell<Option<JoinHandle<Result<String, GitError>>>>,
}

impl GitRadar {
    /// The radar of `place`: saved work is at `truth`, branches are at `code_truth`. `config` is git's configuration.
    pub fn new(
        place: &Rc<Place>,
        git: Git,
        truth: Truth,
        code_truth: Truth,
        names: RefNames,
        config: &BTreeMap<String, String>,
    ) -> GitRadar {
        let matters = |key: &str| SETTINGS.iter().any(|prefix| key.starts_with(prefix));
        let matter = config.iter().filter(|(key, _)| matters(key)).flat_map(|(key, value)| [key, value]);
        let parts = SETTLED.iter().copied().chain(matter.map(String::as_str));
        GitRadar {
            version: RefCell::new(None),
            refs: Refs::new(Rc::clone(place), git.clone()),
            cache: Cache::new(place, git.clone()),
            objects: Objects::new(Rc::clone(place)),
            settings: digest(parts),
            place: Rc::clone(place),
            git: plain(git),
            truth,
            code_truth,
            names,
        }
    }

    /// The same radar, which asks git already what it will want to know when it merges.
    pub fn about_to_merge(self) -> GitRadar {
        let git = self.git.clone();
        *self.version.borrow_mut() = Some(std::thread::spawn(move || git.run(&["version"])));
        self
    }

    /// The refs where the code is.
    fn code_refs(&self) -> TruthRefs {
        TruthRefs::new(&self.place, self.git.clone(), self.code_truth.clone())
    }

    /// The refs that exist among `names`, at `truth`; their commits are brought here if the truth is asked.
    fn at(&self, truth: &Truth, names: &[String], ask: bool) -> Result<BTreeMap<String, ObjectId>, Fault> {
        if let (true, Truth::Remote { name: remote, url }) = (ask, truth) {
            for names in names.chunks(NAMED_MAX) {
                self.bring(truth, remote, url, names)?;
            }
        }
        self.found(names, |name| tracking_ref(truth, name))
    }

    /// What the refs are that stand for `names` in this clone, as far as they are there.
    fn found(&self, names: &[String], here: impl Fn(&str) -> String) -> Result<BTreeMap<String, ObjectId>, Fault> {
        let refs: Vec<String> = names.iter().map(|name| here(name)).collect();
        let found = self.refs.read_all(&refs)?;
        let there = names.iter().zip(&refs).filter_map(|(name, here)| Some((name.clone(), found.get(here)?)));
        there.map(|(name, id)| Ok((name, super::parse(id)?))).collect()
    }

    /// Makes the tracking refs of `names` what the refs are at the remote. Which of them exist is asked for first: most
    /// branches have not been pushed yet, and a fetch gives up at the first that is not there.
    fn bring(&self, truth: &Truth, remote: &str, url: &str, names: &[String]) -> Result<(), Fault> {
        let patterns: Vec<&str> = names.iter().map(String::as_str).collect();
        let listed = self.git.list_remote(url, &patterns).map_err(|error| Fault::io("listing refs", error))?;
        let listed = listed.map_err(|(cause, said)| transfer_fault(remote, cause, &said))?;
        // A pattern also finds refs whose names end like it.
        let there: BTreeMap<&str, &str> = listed.iter().map(|(name, id)| (name.as_str(), id.as_str())).collect();
        let (mut wanted, mut gone) = (Vec::new(), Vec::new());
        for name in &patterns {
            let tracking = tracking_ref(truth, name);
            let seen = self.refs.read(&tracking)?;
            match (there.get(name), seen) {
                (Some(id), Some(seen)) if **id == *seen => {}
                (Some(_), _) => wanted.push(format!("+{name}:{tracking}")),
                (None, Some(_)) => gone.push(tracking),
                (None, None) => {}
            }
        }
        if !gone.is_empty() {
            self.cache.forget_all(&gone)?;
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let output = self.cache.fetch(url, &wanted)?;
        let said = output.stderr_text();
        match failure::cause(&said) {
            // One that went away this moment will be missed by the next look.
            _ if output.success() => Ok(()),
            cause => Err(transfer_fault(remote, cause, &failure::telling_line(&said))),
        }
    }

    /// What merges depend on beside the commits.
    fn circumstances(&self, target: &ObjectId) -> Result<Circumstances, Fault> {
        let asked = self.version.borrow_mut().take().map(|asked| asked.join().expect("BUG: asking git panicked"));
        let version = asked.unwrap_or_else(|| self.git.run(&["version"]));
        let version = version.map_err(|error| Fault::io("asking git for its version", error))?;
        let attributes = match Answers::attributes_of(&self.place.state_dir(), target) {
            Some(attributes) => attributes,
            None => digest([self.attributes(target)?]),
        };
        let rest = digest([version.as_bytes(), self.settings.as_bytes()]);
        Ok(Circumstances { target: target.clone(), attributes, rest })
    }

    /// Whether history is missing: then two commits may seem to have parted elsewhere than they have.
    fn is_shallow(&self) -> bool {
        self.place.common_dir().join("shallow").exists()
    }

    /// What files of attributes a commit has.
    fn attributes(&self, commit: &ObjectId) -> Result<Vec<u8>, Fault> {
        let failed = |error: &dyn std::fmt::Display| Fault::io("looking for attributes", error);
        let empty = if commit.as_str().len() == 64 { EMPTY_TREE_SHA256 } else { EMPTY_TREE_SHA1 };
        let args = ["diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-relative", empty, commit.as_str()];
        let output = self.git.output(args.iter().copied().chain(["--", ":(glob)**/.gitattributes"]));
        let output = output.map_err(|error| failed(&error))?;
        if output.success() { Ok(output.stdout) } else { Err(failed(&failure::telling_line(&output.stderr_text()))) }
    }

    /// Which of `pairs` nobody can rule out to clash.
    fn suspects(&self, pairs: Vec<Pair>) -> Result<Vec<Pair>, Fault> {
        if pairs.len() <= MERGED_DIRECTLY_MAX {
            return Ok(pairs);
        }
        let commits: BTreeSet<&ObjectId> = pairs.iter().flat_map(|(ours, theirs)| [ours, theirs]).collect();
        let tips: Vec<ObjectId> = commits.iter().map(|commit| (*commit).clone()).collect();
        let place: BTreeMap<&ObjectId, usize> = tips.iter().enumerate().map(|(nth, tip)| (tip, nth)).collect();
        let Some(mut footprints) = Footprints::of(&self.git, &tips)? else { return Ok(pairs) };
        let suspect = |(ours, theirs): &Pair| footprints.may_clash(place[ours], place[theirs]);
        let verdicts: Vec<bool> = pairs.iter().map(suspect).collect();
        Ok(pairs.into_iter().zip(verdicts).filter(|(_, suspect)| *suspect).map(|(pair, _)| pair).collect())
    }
}

impl Radar for GitRadar {
    fn look(&self, branches: &[Branch], claims: &[(TaskId, Fence)], ask: bool) -> Result<Sighted, Fault> {
        let heads: Vec<String> = branches.iter().map(branch_ref).collect();
        let saved: Vec<String> = claims.iter().map(|(task, fence)| self.names.wip(task, *fence)).collect();
        let mut found = if self.truth == self.code_truth {
            self.at(&self.truth, &[&heads[..], &saved[..]].concat(), ask)?
        } else {
            let mut found = self.at(&self.code_truth, &heads, ask)?;
            found.extend(self.at(&self.truth, &saved, ask)?);
            found
        };
        let mut local = self.found(&heads, str::to_owned)?;
        let mut fetched = match (ask, &self.code_truth) {
            (false, Truth::Remote { name, .. }) => {
                let short = |head: &str| head.strip_prefix("refs/heads/").unwrap_or(head).to_owned();
                self.found(&heads, |head| format!("refs/remotes/{name}/{}", short(head)))?
            }
            _ => BTreeMap::new(),
        };
        let mut sighted = Sighted::default();
        for (branch, name) in branches.iter().zip(&heads) {
            sighted.heads.extend(found.get(name).map(|head| (branch.clone(), head.clone())));
            sighted.fetched.extend(fetched.remove(name).map(|head| (branch.clone(), head)));
            sighted.local.extend(local.remove(name).map(|head| (branch.clone(), head)));
        }
        for ((_, fence), name) in claims.iter().zip(&saved) {
            sighted.saved.extend(found.remove(name).map(|commit| (*fence, commit)));
        }
        Ok(sighted)
    }

    fn branches(&self, ask: bool) -> Result<Vec<(Branch, ObjectId)>, Fault> {
        let (listed, prefix) = match &self.code_truth {
            Truth::Remote { name, .. } if !ask => {
                let prefix = format!("refs/remotes/{name}/");
                (self.refs.list(&prefix)?, prefix)
            }
            _ => (self.code_refs().list("refs/heads/")?, "refs/heads/".to_owned()),
        };
        let branch = |(name, id): (String, String)| Some((name.strip_prefix(&prefix)?.to_owned(), id));
        let named = listed.into_iter().filter_map(branch).filter(|(name, _)| name != "HEAD");
        let named = named.filter_map(|(name, id)| Some((Branch::parse(&name).ok()?, id)));
        named.map(|(branch, id)| Ok((branch, super::parse(&id)?))).collect()
    }

    fn not_in(
        &self,
        base: &ObjectId,
        branches: Vec<(Branch, ObjectId)>,
        count_max: usize,
        ask: bool,
    ) -> Result<(Vec<(Branch, ObjectId)>, usize), Fault> {
        let (mut here, mut unknown): (Vec<_>, Vec<_>) =
            branches.into_iter().partition(|(_, head)| self.objects.has(head.as_str()));
        let mut left_out = if ask { unknown.len().saturating_sub(count_max) } else { unknown.len() };
        unknown.truncate(if ask { count_max } else { 0 });
        if !unknown.is_empty() {
            let named = unknown.iter().map(|(branch, head)| (branch_ref(branch), head.as_str().to_owned()));
            self.code_refs().bring(&named.collect::<Vec<_>>())?;
            // One that moved or went away this moment will be seen by the next look.
            here.extend(unknown.into_iter().filter(|(_, head)| self.objects.has(head.as_str())));
        }
        let mut tips: BTreeMap<&str, Vec<&Branch>> = BTreeMap::new();
        for (branch, head) in &here {
            tips.entry(head.as_str()).or_default().push(branch);
        }
        let mut input = format!("^{base}\n");
        tips.keys().for_each(|tip| input.extend([tip, "\n"]));
        let listed = self.git.run_with(&["rev-list", "--stdin"], Some(input.as_bytes()));
        let listed = listed.map_err(|error| Fault::io("looking which branches are open", error))?;
        let mut open: Vec<(Branch, ObjectId)> = Vec::new();
        for tip in listed.lines() {
            let branches = tips.get(tip).into_iter().flatten().copied().cloned();
            let id = super::parse(tip)?;
            open.extend(branches.map(|branch| (branch, id.clone())));
        }
        left_out += open.len().saturating_sub(count_max);
        open.truncate(count_max);
        Ok((open, left_out))
    }

    fn has(&self, commit: &ObjectId) -> bool {
        self.objects.has(commit.as_str())
    }

    fn clashes(&self, target: &ObjectId, pairs: &[Pair]) -> Result<Clashes, Fault> {
        let state_dir = self.place.state_dir();
        let mut answers = Answers::load(&state_dir, self.circumstances(target)?);
        let lasting = !self.is_shallow();
        let unknown = |pair: &&Pair| pair.0 != pair.1 && (!lasting || answers.get(pair).is_none());
        let open: BTreeSet<&Pair> = pairs.iter().filter(unknown).collect();
        let open: Vec<Pair> = pairs.iter().filter(|pair| open.contains(pair)).cloned().collect();
        let suspects = self.suspects(open.clone())?;
        let merged = if suspects.is_empty() {
            Vec::new()
        } else {
            let scratch = Scratch::new(&self.git, &self.place)?;
            // Attributes are those of the target, as they are where a car is merged.
            merge_all(&scratch.git(&self.git).with_variable("GIT_ATTR_SOURCE", target.as_str()), &suspects)?
        };
        let (ruled_out, count) = (open.len() - suspects.len(), suspects.len());
        for pair in open.iter().cloned() {
            answers.put(pair, None);
        }
        for (pair, answer) in suspects.into_iter().zip(merged) {
            answers.put(pair, answer);
        }
        if lasting && !open.is_empty() {
            answers.save(pairs);
        }
        let known = pairs.len() - ruled_out - count;
        let answers = pairs.iter().map(|pair| answers.get(pair).cloned().flatten()).collect();
        Ok(Clashes { answers, known, ruled_out, merged: count })
    }

    fn clashed(&self, pairs: &[Pair]) -> Vec<Option<Clash>> {
        Answers::last(&self.place.state_dir(), pairs)
    }

    fn changes(&self, targets: &[ObjectId], commits: &[ObjectId], within: Duration) -> Vec<Vec<String>> {
        if self.is_shallow() {
            return vec![Vec::new(); commits.len()];
        }
        // Not even a partial clone may go and fetch what it has not.
        let git = self.git.clone().with_variable("GIT_NO_LAZY_FETCH", "1");
        changes::changes(&git, &self.place.state_dir(), targets, commits, within)
    }
}
