//! The verbs of scripts: each makes one command of the rules.

use git_scrum::domain::board::Board;
use git_scrum::domain::command::{EjectCause, NewTask, SubmittedTask, TaskEdit};
use git_scrum::domain::{
    Branch, CarId, Command, Fence, Grant, LockMode, ObjectId, Run, RunState, Seconds, TaskId, Team, Verdict,
    VerdictRecord,
};

use super::World;
use super::words::{Words, Wrong, priority, size};

/// The length of a lease where a script does not care.
const LEASE: Seconds = Seconds(30 * 60);
/// How many failures are forgiven where a script does not care.
const RETRIES_MAX: u32 = 2;

impl World {
    /// The command that `verb` with `words` is, or `None` where there is no such verb.
    pub(super) fn command(&mut self, verb: &str, words: &mut Words) -> Result<Option<Command>, Wrong> {
        Ok(Some(match verb {
            "init" => Command::Init { target: target(words)? },
            "add" => add(words)?,
            "edit" => edit(words)?,
            "cancel" => Command::Cancel { reason: words.option("--reason")?, task: words.next("task")? },
            "reopen" => Command::Reopen { task: words.next("task")? },
            "block" => Command::Block { reason: reason(words)?, task: words.next("task")? },
            "unblock" => Command::Unblock { task: words.next("task")? },
            "claim" => claim(words)?,
            "renew" => {
                Command::Renew { fence: fence(words)?, lease: words.option("--lease")?, task: words.next("task")? }
            }
            "release" => Command::Release {
                fence: fence(words)?,
                reason: words.option("--reason")?,
                force: words.flag("--force"),
                task: words.next("task")?,
            },
            "fail" => Command::Fail {
                fence: fence(words)?,
                reason: reason(words)?,
                retries_max: words.option("--retries")?.unwrap_or(RETRIES_MAX),
                task: words.next("task")?,
            },
            "done" => Command::Done { fence: fence(words)?, task: words.next("task")? },
            "lock" => Command::Lock {
                mode: if words.flag("--shared") { LockMode::Shared } else { LockMode::Exclusive },
                lease: words.option("--lease")?.unwrap_or(LEASE),
                reason: words.option("--reason")?,
                patterns: words.rest()?,
            },
            "unlock" => Command::Unlock { force: words.flag("--force"), patterns: words.rest()? },
            "team" => team(words)?,
            "submit" => self.submit(words)?,
            "eject" => self.eject(words)?,
            "pause" => {
                let below = words.option::<String>("--below")?.map(|word| priority(&word)).transpose()?;
                Command::Pause { target: target(words)?, reason: reason(words)?, below }
            }
            "approve" => {
                let (target, withdraw) = (target(words)?, words.flag("--withdraw"));
                Command::Approve { commit: self.object(words, "--commit")?, target, withdraw, car: words.next("car")? }
            }
            "promote" => Command::Promote { target: target(words)?, car: words.next("car")? },
            "resume" => Command::Resume { target: target(words)? },
            "start-run" => self.start_run(words)?,
            "verdict" => self.verdict(words)?,
            "announce-landing" => self.announce_landing(words)?,
            "abandon-landing" => Command::AbandonLanding { target: target(words)?, to: self.object(words, "--to")? },
            "land" => self.land(words)?,
            _ => return Ok(None),
        }))
    }

    /// The object that a required option names.
    fn object(&mut self, words: &mut Words, option: &str) -> Result<ObjectId, Wrong> {
        let name: String = words.option(option)?.ok_or_else(|| format!("{option} is missing"))?;
        Ok(self.objects.id(&name))
    }

    /// A commit and its tree. The tree of commit `x` is called `x-tree`, unless the script says otherwise.
    fn commit_and_tree(&mut self, words: &mut Words, option: &str) -> Result<(ObjectId, ObjectId), Wrong> {
        let commit: String = words.option(option)?.ok_or_else(|| format!("{option} is missing"))?;
        let tree = words.option("--tree")?.unwrap_or_else(|| format!("{commit}-tree"));
        Ok((self.objects.id(&commit), self.objects.id(&tree)))
    }

    fn submit(&mut self, words: &mut Words) -> Result<Command, Wrong> {
        let target = target(words)?;
        let named: Option<Branch> = words.option("--branch")?;
        let commit = self.object(words, "--commit")?;
        let fence = fence(words)?;
        let priority = words.option::<String>("--priority")?.map(|word| priority(&word)).transpose()?;
        let after = words.options("--after")?;
        let first = words.flag("--first");
        let together: Vec<CarId> = words.options("--with")?;
        let single = words.flag("--single").then_some(true);
        let Some(task) = words.has_more().then(|| words.next::<TaskId>("task")).transpose()? else {
            let branch = named.ok_or("neither a task nor a branch is named")?;
            let (car, title) = (CarId::from(&branch), format!("work on {branch}"));
            let task = None;
            return Ok(Command::Submit {
                car,
                target,
                branch,
                commit,
                title,
                task,
                priority,
                after,
                together,
                single,
                first,
            });
        };
        let Ok(known) = self.board.task(&task);
        let Ok(grants) = self.board.grants();
        let claimed = grants.into_iter().find_map(|grant| match &*grant {
            Grant::Claim(claim) if claim.task == task => Some(claim.branch.clone()),
            _ => None,
        });
        let branch = match named.or(claimed) {
            Some(branch) => branch,
            None => Branch::parse(&format!("scrum/{task}")).map_err(|error| error.to_string())?,
        };
        let title = known.map_or_else(String::new, |task| task.summary.title);
        let car = CarId::from(&task);
        let task = Some(SubmittedTask { id: task, fence });
        Ok(Command::Submit { car, target, branch, commit, title, task, priority, after, together, single, first })
    }

    fn eject(&mut self, words: &mut Words) -> Result<Command, Wrong> {
        let commit: Option<String> = words.option("--commit")?;
        let cause: Option<String> = words.option("--cause")?;
        Ok(Command::Eject {
            target: target(words)?,
            commit: commit.map(|name| self.objects.id(&name)),
            cause: cause.map_or(Ok(EjectCause::Withdrawn), |word| eject_cause(&word))?,
            reason: reason(words)?,
            lease: words.option("--lease")?.unwrap_or(LEASE),
            retries_max: words.option("--retries")?.unwrap_or(RETRIES_MAX),
            window: words.option("--window")?,
            breaker: words.option("--breaker")?.unwrap_or(0),
            car: words.next("car")?,
        })
    }

    fn start_run(&mut self, words: &mut Words) -> Result<Command, Wrong> {
        let (commit, tree) = self.commit_and_tree(words, "--commit")?;
        let base: String = words.option("--base")?.unwrap_or_else(|| "base".to_owned());
        // As a pass does it, which names its check.
        let check: Option<String> = words.option("--check")?;
        let target = target(words)?;
        let run = Run {
            commit,
            tree,
            base: self.objects.id(&base),
            ahead: words.option("--ahead")?.unwrap_or(0),
            cars: words.rest()?,
            state: RunState::Running,
            started_at: self.now,
            started_by: self.who.clone(),
        };
        Ok(match check {
            None => Command::StartRun { target, run },
            check => {
                let (cancel, lost, batches, kept_since) = (Vec::new(), Vec::new(), None, None);
                Command::ChangeRuns { target, start: vec![run], cancel, lost, batches, check, kept_since }
            }
        })
    }

    fn verdict(&mut self, words: &mut Words) -> Result<Command, Wrong> {
        let (commit, tree) = self.commit_and_tree(words, "--commit")?;
        let target = target(words)?;
        let asked = !words.flag("--unasked");
        let check = words.option("--check")?.unwrap_or_else(|| "external".to_owned());
        let verdict = match words.next::<String>("verdict")?.as_str() {
            "pass" => Verdict::Pass,
            "fail" => Verdict::Fail,
            "inconclusive" => Verdict::Inconclusive,
            other => return Err(format!("{other} is no verdict")),
        };
        let mut cars: Vec<CarId> = words.rest()?;
        if cars.is_empty() {
            // As `git scrum verdict` does: the cars of the run that it answers.
            let Ok(train) = self.board.train(&target);
            let runs = train.map(|train| train.runs).unwrap_or_default();
            cars =
                runs.into_iter().find(|run| run.commit == commit).map(|run| run.tested().to_vec()).unwrap_or_default();
        }
        let (at, by) = (self.now, self.who.clone());
        let record = VerdictRecord {
            tree,
            commit,
            verdict,
            check,
            at,
            by,
            took: None,
            together: 0,
            url: None,
            output: String::new(),
            checks: Vec::new(),
        };
        Ok(Command::Verdict { target, record, cars, asked, required: Vec::new(), kept_since: None })
    }

    fn announce_landing(&mut self, words: &mut Words) -> Result<Command, Wrong> {
        let target = target(words)?;
        let from = self.object(words, "--from")?;
        let (to, tree) = self.commit_and_tree(words, "--to")?;
        let approvals = words.option("--approvals")?.unwrap_or(0);
        let steps = self.steps(words)?;
        let (cars, commits) = self.pinned(words, &target)?;
        Ok(Command::AnnounceLanding { target, cars, commits, from, to, tree, steps, approvals })
    }

    fn land(&mut self, words: &mut Words) -> Result<Command, Wrong> {
        let target = target(words)?;
        let untested = words.flag("--untested");
        let from = self.object(words, "--from")?;
        let (to, tree) = self.commit_and_tree(words, "--to")?;
        let tree = (!untested).then_some(tree);
        let window = words.option("--window")?;
        let approvals = words.option("--approvals")?.unwrap_or(0);
        let steps = self.steps(words)?;
        let (cars, commits) = self.pinned(words, &target)?;
        Ok(Command::Land { target, cars, commits, from, to, tree, steps, window, approvals })
    }

    /// Where the target is after each car, by the names of commits.
    fn steps(&mut self, words: &mut Words) -> Result<Vec<ObjectId>, Wrong> {
        let named: Vec<String> = words.options("--step")?;
        Ok(named.iter().map(|name| self.objects.id(name)).collect())
    }

    /// Cars with the commits they are to land with: those that a script names, or else those they have now.
    fn pinned(&mut self, words: &mut Words, target: &Branch) -> Result<(Vec<CarId>, Vec<ObjectId>), Wrong> {
        let named: Vec<String> = words.options("--pinned")?;
        let mut commits: Vec<ObjectId> = named.iter().map(|name| self.objects.id(name)).collect();
        let cars: Vec<CarId> = words.rest()?;
        for id in cars.get(commits.len()..).unwrap_or_default() {
            let Ok(car) = self.board.car(target, id);
            commits.push(car.map_or_else(|| self.objects.id("unknown"), |car| car.commit));
        }
        Ok((cars, commits))
    }
}

/// The train that is meant: that of `main`, unless the script says otherwise.
pub(super) fn target(words: &mut Words) -> Result<Branch, Wrong> {
    match words.option("--target")? {
        Some(target) => Ok(target),
        None => Branch::parse("main").map_err(|error| error.to_string()),
    }
}

fn fence(words: &mut Words) -> Result<Option<Fence>, Wrong> {
    Ok(words.option("--fence")?.map(Fence))
}

fn reason(words: &mut Words) -> Result<String, Wrong> {
    words.option("--reason")?.ok_or_else(|| "--reason is missing".to_owned())
}

fn add(words: &mut Words) -> Result<Command, Wrong> {
    let priority = words.option::<String>("--priority")?.map(|word| priority(&word)).transpose()?;
    Ok(Command::Add(NewTask {
        id: words.option("--id")?,
        priority: priority.unwrap_or_default(),
        kind: words.option("--type")?,
        size: words.option::<String>("--size")?.map(|word| size(&word)).transpose()?,
        labels: words.options("--label")?,
        needs: words.options("--needs")?,
        paths: words.options("--path")?,
        body: words.option("--body")?.unwrap_or_default(),
        title: words.next("title")?,
    }))
}

fn edit(words: &mut Words) -> Result<Command, Wrong> {
    let paths = words.options("--path")?;
    let edit = TaskEdit {
        title: words.option("--title")?,
        priority: words.option::<String>("--priority")?.map(|word| priority(&word)).transpose()?,
        kind: words.option("--type")?,
        size: words.option::<String>("--size")?.map(|word| size(&word)).transpose()?,
        add_labels: words.options("--label")?,
        remove_labels: words.options("--no-label")?,
        add_needs: words.options("--needs")?,
        remove_needs: words.options("--no-needs")?,
        paths: (!paths.is_empty()).then_some(paths),
        body: words.option("--body")?,
    };
    Ok(Command::Edit { edit, task: words.next("task")? })
}

fn claim(words: &mut Words) -> Result<Command, Wrong> {
    Ok(Command::Claim {
        team: words.option("--team")?,
        labels: words.options("--label")?,
        count: words.option("--count")?.unwrap_or(1),
        lease: words.option("--lease")?.unwrap_or(LEASE),
        branch_template: words.option("--branch")?.unwrap_or_else(|| "scrum/{id}".to_owned()),
        task: words.has_more().then(|| words.next("task")).transpose()?,
    })
}

fn team(words: &mut Words) -> Result<Command, Wrong> {
    let what: String = words.next("add or remove")?;
    match what.as_str() {
        "add" => Ok(Command::AddTeam(Team {
            labels: words.options("--label")?,
            capacity: words.option("--capacity")?,
            size_max: words.option::<String>("--size-max")?.map(|word| size(&word)).transpose()?,
            name: words.next("team")?,
        })),
        "remove" => Ok(Command::RemoveTeam { name: words.next("team")? }),
        other => Err(format!("a team is added or removed, not {other}")),
    }
}

fn eject_cause(word: &str) -> Result<EjectCause, Wrong> {
    Ok(match word {
        "failed" => EjectCause::Failed,
        "conflict" => EjectCause::Conflict,
        "no-verdict" => EjectCause::NoVerdict,
        "moved" => EjectCause::Moved,
        "stale" => EjectCause::Stale,
        "dependency" => EjectCause::Dependency,
        "refused" => EjectCause::Refused,
        "withdrawn" => EjectCause::Withdrawn,
        other => return Err(format!("{other} is no cause to eject a car")),
    })
}
