//! Candidates: the target with one more car, or with one less, built without a worktree.

use crate::domain::planner::Candidate;
use crate::domain::{Car, ObjectId};
use crate::engine::ports::Undone;
use crate::git::{Git, failure};
use crate::ledger::{Author, CommitCopy, CopiedMessage, Fault, Objects};

/// Settings that would make the same merge come out differently on another host. Attributes are those of a tree and of
/// nothing else; what they leave open is merged as text, and an empty name cannot be taken by a driver of the host's.
pub(super) const SETTLED: &[&str] = &[
    "-c",
    "core.attributesFile=/dev/null",
    "-c",
    "core.ignoreCase=false",
    "-c",
    "core.bigFileThreshold=512m",
    "-c",
    "merge.default=",
    "-c",
    "merge.renormalize=false",
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

/// Git for merges: with variables that do what [`SETTLED`] does. Commits are what their ids say: neither replaced nor
/// grafted on others.
pub(super) fn plain(git: Git) -> Git {
    git.with_variable("GIT_ATTR_NOSYSTEM", "1")
        .with_variable("GIT_NO_REPLACE_OBJECTS", "1")
        .with_variable("GIT_GRAFT_FILE", "/dev/null/none")
}

/// The most conflicting paths that are named.
const PATHS_MAX: usize = 20;

/// The most commits of a car that are put on the target one by one, or named in the message of one that stands for all.
const COMMITS_MAX: usize = 1_000;

/// Merges `car` onto `base`.
pub(super) fn merged(git: &Git, objects: &Objects, base: &ObjectId, car: &Car) -> Result<Candidate, Fault> {
    Ok(match merge(git, base, base, &car.commit)? {
        Merged::Clean(tree) => {
            let message = format!("Land {}: {}\n\n{}", car.id, car.title, trailers(car));
            let (parents, at) = ([base.as_str(), car.commit.as_str()], car.submitted_at.as_secs());
            let commit = objects.write_commit(tree.as_str(), &parents, &ours(), &message, at)?;
            Candidate::Clean { commit: super::parse(&commit)?, tree }
        }
        Merged::Conflict(paths) => Candidate::Conflict { paths },
    })
}

/// Puts all that `car` changes on `base` as one commit, by the author of its last one.
pub(super) fn squashed(git: &Git, objects: &Objects, base: &ObjectId, car: &Car) -> Result<Candidate, Fault> {
    let tree = match merge(git, base, base, &car.commit)? {
        Merged::Clean(tree) => tree,
        Merged::Conflict(paths) => return Ok(Candidate::Conflict { paths }),
    };
    let count = format!("--max-count={COMMITS_MAX}");
    let range = format!("{base}..{}", car.commit);
    let format = "--format=* %s";
    let args = ["log", "--no-merges", "--no-show-signature", "--no-color", "--encoding=UTF-8", &count, format, &range];
    let listed = git.run(&[&args[..], &["--"]].concat()).map_err(|error| Fault::io("reading commits", error))?;
    let mut subjects: Vec<&str> = listed.lines().collect();
    subjects.reverse();
    let list = if subjects.len() > 1 { format!("{}\n\n", subjects.join("\n")) } else { String::new() };
    let message = format!("{}\n\n{list}{}", car.title, trailers(car));
    let copy = CommitCopy { tree: tree.as_str(), parent: base.as_str(), message: CopiedMessage::Instead(&message) };
    let commit = objects.copy_commit(car.commit.as_str(), &copy, &ours(), car.submitted_at.as_secs())?;
    Ok(Candidate::Clean { commit: super::parse(&commit)?, tree })
}

/// Puts the commits of `car` on `base`, one after the other; merges among them, and what `base` has already, are left
/// out. Where there are merges, what comes of it has to be what merging the car gives: a merge may have brought more
/// than its parents, or dropped something, and a commit of its own says nothing of that.
pub(super) fn rebased(git: &Git, objects: &Objects, base: &ObjectId, car: &Car) -> Result<Candidate, Fault> {
    let run = |args: &[&str]| git.output(args).map_err(|error| Fault::io("reading commits", error));
    let related = run(&["merge-base", base.as_str(), car.commit.as_str()])?;
    if !related.success() {
        // In words that say why.
        return merged(git, objects, base, car);
    }
    let (count, range) = (format!("--max-count={}", COMMITS_MAX + 1), format!("{base}..{}", car.commit));
    let listed = run(&["rev-list", "--topo-order", "--no-merges", &count, &range, "--"])?.stdout_text();
    let commits: Vec<&str> = listed.lines().collect();
    if commits.len() > COMMITS_MAX {
        let paths = vec![format!("everything: it has more than {COMMITS_MAX} commits of its own")];
        return Ok(Candidate::Conflict { paths });
    }
    let (trailers, at) = (trailers(car), car.submitted_at.as_secs());
    let mut tip = base.clone();
    let mut tree = super::parse(&objects.tree_id(tip.as_str())?)?;
    for commit in commits.into_iter().rev().map(super::parse) {
        let commit = commit?;
        let before =
            super::parse(&objects.write_commit(&objects.parent_tree(commit.as_str())?, &[], &ours(), "", 0)?)?;
        match merge_from(git, objects, &tip, (&before, &tip, &commit))? {
            Merged::Clean(same) if same == tree => {}
            Merged::Clean(merged) => {
                let message = CopiedMessage::With(&trailers);
                let copy = CommitCopy { tree: merged.as_str(), parent: tip.as_str(), message };
                tip = super::parse(&objects.copy_commit(commit.as_str(), &copy, &ours(), at)?)?;
                tree = merged;
            }
            Merged::Conflict(paths) => return Ok(Candidate::Conflict { paths }),
        }
    }
    let merges = run(&["rev-list", "--merges", "--max-count=1", &range, "--"])?.stdout_text();
    if !merges.is_empty() {
        match merge(git, base, base, &car.commit)? {
            Merged::Clean(whole) if whole == tree => {}
            Merged::Clean(whole) => {
                let args = ["diff-tree", "-r", "--no-renames", "--name-only", "-z"];
                let paths = run(&[&args[..], &[tree.as_str(), whole.as_str(), "--"]].concat())?.stdout_text();
                let paths = paths.split('\0').filter(|path| !path.is_empty()).take(PATHS_MAX);
                return Ok(Candidate::Unlike { paths: paths.map(str::to_owned).collect() });
            }
            Merged::Conflict(paths) => return Ok(Candidate::Conflict { paths }),
        }
    }
    if tip == *base {
        // Nothing is left of it; that it landed is a commit all the same.
        let message = format!("{}\n\n{trailers}", car.title);
        let copy = CommitCopy { tree: tree.as_str(), parent: base.as_str(), message: CopiedMessage::Instead(&message) };
        tip = super::parse(&objects.copy_commit(car.commit.as_str(), &copy, &ours(), at)?)?;
    }
    Ok(Candidate::Clean { commit: tip, tree })
}

/// Takes back on `tip` what came between two commits: a merge of the older one into `tip`, as if both had been made of
/// the newer one.
pub(super) fn undo(
    git: &Git,
    objects: &Objects,
    tip: &ObjectId,
    (before, after): (&ObjectId, &ObjectId),
    (author, message, at_secs): (&Author, &str, u64),
) -> Result<Undone, Fault> {
    Ok(match merge_from(git, objects, tip, (after, tip, before))? {
        Merged::Clean(tree) if tree.as_str() == objects.tree_id(tip.as_str())? => Undone::Nothing,
        Merged::Clean(tree) => {
            let commit = objects.write_commit(tree.as_str(), &[tip.as_str()], author, message, at_secs)?;
            Undone::Commit(super::parse(&commit)?)
        }
        Merged::Conflict(paths) => Undone::Conflict { paths },
    })
}

enum Merged {
    Clean(ObjectId),
    Conflict(Vec<String>),
}

/// Merges what came between `base` and `theirs` into `mine`, whatever their histories, with the attributes of `target`.
fn merge_from(
    git: &Git,
    objects: &Objects,
    target: &ObjectId,
    (base, mine, theirs): (&ObjectId, &ObjectId, &ObjectId),
) -> Result<Merged, Fault> {
    // What to merge from can be named since git 2.40 only; so it is made the parent of what is merged.
    let like = |commit: &ObjectId, parents: &[&str]| {
        let tree = objects.tree_id(commit.as_str())?;
        super::parse(&objects.write_commit(&tree, parents, &ours(), "", 0)?)
    };
    let base = like(base, &[])?;
    merge(git, target, &like(mine, &[base.as_str()])?, &like(theirs, &[base.as_str()])?)
}

/// Merges two commits, with the attributes of `target`.
fn merge(git: &Git, target: &ObjectId, base: &ObjectId, theirs: &ObjectId) -> Result<Merged, Fault> {
    // Attributes are those of the target, not of whatever is checked out here (GIT_FACTS 33); gits that do not know
    // the variable ignore it.
    let git = git.clone().with_variable("GIT_ATTR_SOURCE", target.as_str());
    let mut args: Vec<&str> = SETTLED.to_vec();
    args.extend([
        "-c",
        "core.fsync=loose-object",
        "merge-tree",
        "--write-tree",
        "--no-messages",
        "--name-only",
        "-z",
        base.as_str(),
        theirs.as_str(),
    ]);
    let output = git.output(&args).map_err(|error| Fault::io("merging", error))?;
    let said = output.stderr_text();
    let text = output.stdout_text();
    let mut fields = text.split('\0').filter(|field| !field.is_empty());
    match output.code {
        Some(0) => Ok(Merged::Clean(super::parse(fields.next().unwrap_or_default())?)),
        Some(1) => {
            let mut paths: Vec<String> = Vec::new();
            for path in fields.skip(1).map(|path| real_path(path, [base, theirs])) {
                if paths.len() < PATHS_MAX && !paths.iter().any(|known| known == path) {
                    paths.push(path.to_owned());
                }
            }
            Ok(Merged::Conflict(paths))
        }
        _ => Ok(Merged::Conflict(vec![not_merged(&git, &said, base, theirs)?.to_owned()])),
    }
}

/// A path in conflict as it is in the merged commits. Git puts a file that is at the place of a directory beside it,
/// under a name that ends with the commit it is from, and a number where there are several.
pub(super) fn real_path<'p>(path: &'p str, merged: [&ObjectId; 2]) -> &'p str {
    let beside = merged.into_iter().find_map(|id| {
        let (real, rest) = path.split_once(&format!("~{id}"))?;
        rest.trim_start_matches(|c: char| c == '_' || c.is_ascii_digit()).is_empty().then_some(real)
    });
    beside.unwrap_or(path)
}

/// Why git did not even try to merge two commits, by what it said: in words where that is a conflict.
pub(super) fn not_merged(git: &Git, said: &str, ours: &ObjectId, theirs: &ObjectId) -> Result<&'static str, Fault> {
    if said.contains("unrelated histories") {
        if is_shallow(git) {
            let lacks = format!("this clone is shallow and lacks the history that {ours} and {theirs} share");
            return Err(Fault::Environment { what: format!("{lacks}: git fetch --unshallow") });
        }
        return Ok("everything: the two have no common history");
    }
    if said.contains("usage: git merge-tree") {
        let what = "git merge-tree --write-tree is missing: git 2.38 or newer is needed".into();
        return Err(Fault::Environment { what });
    }
    Err(Fault::io("git merge-tree failed", failure::telling_line(said)))
}

fn is_shallow(git: &Git) -> bool {
    git.run(&["rev-parse", "--is-shallow-repository"]).is_ok_and(|said| said == "true")
}

/// Who makes commits that are the same on every host.
fn ours() -> Author {
    Author { name: "git-scrum".to_owned(), email: "git-scrum@localhost".to_owned() }
}

/// What tells a person, and another tool, which car a commit landed. Only from the car, as are all other bytes of a
/// candidate: so every host writes the same.
fn trailers(car: &Car) -> String {
    let mut trailers = format!("Scrum-Car: {}\n", car.id);
    if let Some(task) = &car.task {
        trailers.push_str(&format!("Scrum-Task: {}\nScrum-Fence: {}\n", task.id, task.fence));
    }
    trailers
}
