//! Candidates: the target with one more car, built without a worktree.

use crate::domain::planner::Candidate;
use crate::domain::{Car, ObjectId};
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
    // Attributes are those of the target, not of whatever is checked out here (GIT_FACTS 33); gits that do not know
    // the variable ignore it.
    let git = git.clone().with_variable("GIT_ATTR_SOURCE", base.as_str());
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
        car.commit.as_str(),
    ]);
    let output = git.output(&args).map_err(|error| Fault::io("merging", error))?;
    let said = output.stderr_text();
    let text = output.stdout_text();
    let mut fields = text.split('\0').filter(|field| !field.is_empty());
    match output.code {
        Some(0) => {
            let tree = super::parse(fields.next().unwrap_or_default())?;
            let commit = write_commit(objects, base, car, &tree)?;
            Ok(Candidate::Clean { commit, tree })
        }
        Some(1) => {
            let mut paths: Vec<String> = fields.skip(1).take(PATHS_MAX).map(str::to_owned).collect();
            paths.dedup();
            Ok(Candidate::Conflict { paths })
        }
        _ => Ok(Candidate::Conflict { paths: vec![not_merged(&git, &said, base, &car.commit)?.to_owned()] }),
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

/// The merge commit. Name, address and date come from the car alone, so that every host writes the same bytes.
fn write_commit(objects: &Objects, base: &ObjectId, car: &Car, tree: &ObjectId) -> Result<ObjectId, Fault> {
    let author = Author { name: "git-scrum".to_owned(), email: "git-scrum@localhost".to_owned() };
    let mut message = format!("Land {}: {}\n\nScrum-Car: {}\n", car.id, car.title, car.id);
    if let Some(task) = &car.task {
        message.push_str(&format!("Scrum-Task: {}\nScrum-Fence: {}\n", task.id, task.fence));
    }
    let parents = [base.as_str(), car.commit.as_str()];
    super::parse(&objects.write_commit(tree.as_str(), &parents, &author, &message, car.submitted_at.as_secs())?)
}
