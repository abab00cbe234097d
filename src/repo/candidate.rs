//! Candidates: the target with one more car, or with one less, built without a worktree.

use crate::domain::planner::Candidate;
use crate::domain::{Car, ObjectId};
use crate::engine::ports::Undone;
use crate::git::{Git, failure};
use crate::ledger::{Author, Fault, Objects};

/// Settings that would make the same merge come out differently on another host.
pub(super) const SETTLED: &[&str] = &[
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

/// The most conflicting paths that are named.
const PATHS_MAX: usize = 20;

/// Merges `car` onto `base`.
pub(super) fn build(git: &Git, objects: &Objects, base: &ObjectId, car: &Car) -> Result<Candidate, Fault> {
    Ok(match merge(git, base, base, &car.commit)? {
        Merged::Clean(tree) => Candidate::Clean { commit: write_commit(objects, base, car, &tree)?, tree },
        Merged::Conflict(paths) => Candidate::Conflict { paths },
    })
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
    // What to merge from can be named since git 2.40 only; so it is made the parent of what is merged.
    let like = |commit: &ObjectId, parents: &[&str]| {
        let tree = objects.tree_id(commit.as_str())?;
        super::parse(&objects.write_commit(&tree, parents, &ours(), "", 0)?)
    };
    let base = like(after, &[])?;
    let (mine, theirs) = (like(tip, &[base.as_str()])?, like(before, &[base.as_str()])?);
    Ok(match merge(git, tip, &mine, &theirs)? {
        Merged::Clean(tree) if tree.as_str() == objects.tree_id(tip.as_str())? => Undone::Nothing,
        Merged::Clean(tree) => {
            let commit = objects.write_commit(tree.as_str(), &[tip.as_str()], author, message, at_secs)?;
            Undone::Commit(super::parse(&commit)?)
        }
        Merged::Conflict(paths) => Undone::Conflict { paths },
    })
}

/// The most commits of the target that are searched for the one that brought a car: more than land by one move.
const SEARCHED_MAX: &str = "1000";

/// The commit of the target that merged `car`, and the one before it.
pub(super) fn brought(git: &Git, car: &Car) -> Result<Option<(ObjectId, ObjectId)>, Fault> {
    let Some(landed_as) = &car.landed_as else { return Ok(None) };
    let args = ["rev-list", "--first-parent", "--parents", "-n", SEARCHED_MAX, landed_as.as_str(), "--"];
    let listed = git.run(&args).map_err(|error| Fault::io("looking for what landed", error))?;
    for line in listed.lines() {
        let ids: Vec<&str> = line.split(' ').collect();
        if let [merge, before, others @ ..] = &ids[..]
            && others.contains(&car.commit.as_str())
        {
            return Ok(Some((super::parse(before)?, super::parse(merge)?)));
        }
    }
    Ok(None)
}

enum Merged {
    Clean(ObjectId),
    Conflict(Vec<String>),
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
            let mut paths: Vec<String> = fields.skip(1).take(PATHS_MAX).map(str::to_owned).collect();
            paths.dedup();
            Ok(Merged::Conflict(paths))
        }
        _ => Ok(Merged::Conflict(vec![not_merged(&git, &said, base, theirs)?.to_owned()])),
    }
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

/// The merge commit. Name, address and date come from the car alone, so that every host writes the same bytes.
fn write_commit(objects: &Objects, base: &ObjectId, car: &Car, tree: &ObjectId) -> Result<ObjectId, Fault> {
    let author = ours();
    let mut message = format!("Land {}: {}\n\nScrum-Car: {}\n", car.id, car.title, car.id);
    if let Some(task) = &car.task {
        message.push_str(&format!("Scrum-Task: {}\nScrum-Fence: {}\n", task.id, task.fence));
    }
    let parents = [base.as_str(), car.commit.as_str()];
    super::parse(&objects.write_commit(tree.as_str(), &parents, &author, &message, car.submitted_at.as_secs())?)
}
