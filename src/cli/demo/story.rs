//! What happens in the demo, in order: the worked scenario of five tasks and three teams.
//!
//! Every scene ends by asking the board, behind the audience's back, whether it is as it was told.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::otherwise;
use super::shop::{DARK, DESCRIBE, Edit, FIND, READABLE, STRICT, Shop, TEST};
use super::stage::{Actor, Stage};
use crate::cli::errors::CliError;

/// How many passes of the train may be needed where one should do.
const PASSES_MAX: usize = 5;

/// A task: its id, title, priority, size, label, and the paths it is expected to change.
type Task = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

const TASKS: [Task; 5] = [
    ("101", "Add dark mode", "p1", "medium", "frontend", &["web", "docs/guide.md"]),
    ("102", "Refuse logins without a password", "p0", "small", "backend", &["api/login.sh"]),
    ("103", "Search products by name", "p2", "large", "backend", &["api/search.sh"]),
    ("104", "Describe the search", "p3", "small", "docs", &["docs"]),
    ("105", "Test names with spaces", "p1", "medium", "testing", &["tests"]),
];

/// What came of it.
pub(super) struct Story {
    /// The branch that work landed on.
    pub target: String,
    /// The tasks in the order in which they were handed out, with the team that got each.
    pub assigned: Vec<(String, String)>,
    /// The tasks in the order in which they landed.
    pub landed: Vec<String>,
    /// The cars that were ejected on the way.
    pub ejected: Vec<String>,
}

/// The teams, each in a clone of its own.
struct Cast {
    frontend: Actor,
    backend: Actor,
    generalist: Actor,
}

/// Plays all of it.
pub(super) fn play(stage: &Stage<'_>, shop: &Shop) -> Result<Story, CliError> {
    let target = shop.source().map_or("main", |source| source.branch.as_str());
    let drama = Drama { stage, shop, target, cast: cast(stage) };
    drama.open()?;
    drama.plan()?;
    drama.first_claims()?;
    drama.first_work()?;
    drama.claims_go_on()?;
    drama.first_pass()?;
    drama.rework()?;
    drama.last_task()?;
    drama.curtain()?;
    let log = drama.log()?;
    Ok(Story {
        target: target.to_owned(),
        assigned: drama.assigned(&log)?,
        landed: drama.landed()?,
        ejected: drama.ejected(&log)?,
    })
}

fn cast(stage: &Stage<'_>) -> Cast {
    let actor = |name: &str| Actor { name: name.to_owned(), directory: stage.root().join(name) };
    Cast { frontend: actor("frontend"), backend: actor("backend"), generalist: actor("generalist") }
}

struct Drama<'a> {
    stage: &'a Stage<'a>,
    shop: &'a Shop,
    target: &'a str,
    cast: Cast,
}

impl Drama<'_> {
    fn scene(&self, heading: &str) {
        self.stage.say(&format!("\n# {heading}"));
    }

    /// One remote with a first commit, and three clones of it.
    fn open(&self) -> Result<(), CliError> {
        let stage = self.stage;
        stage.say(
            "Three teams, five tasks, one repository. What follows a $ is really run; what it prints is shortened.",
        );
        self.scene("A bare remote, and a clone of it for each team. The board is a ref of the repository");
        let here = Actor { name: "setup".to_owned(), directory: stage.root().to_path_buf() };
        let of = match self.shop.source() {
            None => {
                let branch = format!("--initial-branch={}", self.target);
                stage.quietly(stage.root(), &["git", "init", "--quiet", "--bare", &branch, "remote.git"])?;
                String::new()
            }
            Some(source) => {
                stage.clone_source(source)?;
                format!(" of your {}", source.branch)
            }
        };
        stage.tell(&here, &format!("makes remote.git{of} in {}, and clones it", stage.root().display()));
        self.clone_for(&self.cast.frontend, "Fay")?;
        self.first_commit()?;
        self.clone_for(&self.cast.backend, "Bob")?;
        self.clone_for(&self.cast.generalist, "Gus")
    }

    fn clone_for(&self, team: &Actor, person: &str) -> Result<(), CliError> {
        let name = team.name.as_str();
        // Who works there, for commits and for claims; so that it works for whoever looks at it later, too.
        let lower = person.to_lowercase();
        let settings = [("user.name", person), ("user.email", &format!("{lower}@{name}.example"))];
        let settings = settings.map(|(key, value)| format!("--config={key}={value}"));
        let holder = format!("--config=scrum.holder={lower}@{name}");
        let [user, email] = &settings;
        let words = ["git", "clone", "--quiet", user, email, &holder, "remote.git", name];
        self.stage.quietly(self.stage.root(), &words)?;
        Ok(())
    }

    fn first_commit(&self) -> Result<(), CliError> {
        let (stage, frontend) = (self.stage, &self.cast.frontend);
        let clone = &frontend.directory;
        let files = self.shop.files();
        for (path, text) in &files {
            stage.write(&clone.join(path), text)?;
        }
        // What the user's repository ignores is wanted here all the same.
        let mut add = vec!["git", "add", "--force", "--"];
        add.extend(files.iter().map(|(path, _)| path.as_str()));
        stage.quietly(clone, &add)?;
        let folder = self.shop.folder().map_or_else(String::new, |folder| format!(" in {folder}/"));
        stage.tell(
            frontend,
            &format!("pushes the beginnings of a shop{folder}, with a check for the merge train to run"),
        );
        stage.quietly(clone, &["git", "commit", "--quiet", "--message", "Open a shop"])?;
        let branch = format!("HEAD:refs/heads/{}", self.target);
        stage.quietly(clone, &["git", "push", "--quiet", "origin", &branch])?;
        stage.quietly(clone, &["git", "remote", "set-head", "origin", self.target])?;
        Ok(())
    }

    /// The board, the teams and the tasks.
    fn plan(&self) -> Result<(), CliError> {
        let (stage, lead) = (self.stage, &self.cast.generalist);
        stage.show(lead, &["git", "scrum", "init"])?;
        for words in [&["frontend", "--label", "frontend"][..], &["backend", "--label", "backend"], &["generalist"]] {
            stage.show_some(lead, &[&["git", "scrum", "team", "add"], words].concat(), 0, |_| false)?;
        }
        for (id, title, priority, size, label, paths) in TASKS {
            let paths: Vec<String> = paths.iter().map(|path| self.shop.path(path)).collect();
            let mut words = vec!["git", "scrum", "add", title, "--id", id, "--priority", priority, "--size", size];
            words.extend(["--label", label]);
            words.extend(paths.iter().flat_map(|path| ["--path", path]));
            if id == TASKS[0].0 {
                // One shows how it is done; the list, below, shows what came of all.
                stage.show_some(lead, &words, 0, |_| false)?;
                stage.tell(lead, "adds four more in the same way");
            } else {
                stage.quietly(&lead.directory, &words)?;
            }
        }
        stage.show(lead, &["git", "scrum", "list"])?;
        Ok(())
    }

    /// Iteration 1: each team takes the best task that is for it.
    fn first_claims(&self) -> Result<(), CliError> {
        self.scene(
            "Iteration 1: each team claims the most urgent task it can do, and its files. Work is done in worktrees",
        );
        self.claim(&self.cast.backend, "102")?;
        self.claim(&self.cast.frontend, "101")?;
        self.claim(&self.cast.generalist, "105")?;
        self.states("101 claimed, 102 claimed, 103 queued, 104 queued, 105 claimed")
    }

    fn first_work(&self) -> Result<(), CliError> {
        self.work(&self.cast.backend, "102", STRICT, true)?;
        self.work(&self.cast.frontend, "101", DARK, true)?;
        self.work(&self.cast.generalist, "105", TEST, true)?;
        self.states("101 submitted, 102 submitted, 103 queued, 104 queued, 105 submitted")
    }

    /// Iteration 2 begins while the first tasks are in the train; one task waits for files.
    fn claims_go_on(&self) -> Result<(), CliError> {
        self.scene("Iteration 2: nobody waits for tests; but 104 needs a file that 101 keeps locked until it lands");
        self.claim(&self.cast.backend, "103")?;
        let (stage, generalist) = (self.stage, &self.cast.generalist);
        // The other lines are about tasks that are being worked on.
        let telling = |line: &str| line.starts_with("There") || line.contains("104");
        let said = stage.show_some(generalist, &["git", "scrum", "claim", "--team", "generalist"], 1, telling)?;
        self.must(said.contains("locked by fay@frontend"), || format!("the lock of 101 is not named:\n{said}"))?;
        self.states("101 submitted, 102 submitted, 103 claimed, 104 queued, 105 submitted")
    }

    /// Two land, the careless one is ejected.
    fn first_pass(&self) -> Result<(), CliError> {
        self.scene(
            "Anybody may drive the merge train. Changes are tested as they would land; one fails and is ejected",
        );
        self.pass(true, "101 claimed, 102 landed, 103 claimed, 104 queued, 105 landed")?;
        // What the check printed; the rest is about the task, which we know.
        let telling = |line: &str| line.starts_with("check ") || line.starts_with("  | ");
        self.stage.show_some(&self.cast.frontend, &["git", "scrum", "show", "101"], 0, telling)?;
        let shown = self.stage.ask(&self.cast.frontend, &["show", "101"])?;
        let ejected = shown["task"]["car"]["state"] == "ejected" && shown["task"]["check"]["verdict"] == "fail";
        self.must(ejected, || format!("101 was not ejected by its check: {shown}"))
    }

    fn rework(&self) -> Result<(), CliError> {
        self.scene("The task, its files and its worktree are still theirs: frontend repairs it. 103 is ready as well");
        self.work(&self.cast.frontend, "101", READABLE, false)?;
        self.work(&self.cast.backend, "103", FIND, false)?;
        self.pass(false, "101 landed, 102 landed, 103 landed, 104 queued, 105 landed")
    }

    fn last_task(&self) -> Result<(), CliError> {
        self.scene("101 has landed, so its files are free: 104 goes to the first free team that can do it");
        self.claim(&self.cast.generalist, "104")?;
        self.work(&self.cast.generalist, "104", DESCRIBE, false)?;
        self.pass(false, "101 landed, 102 landed, 103 landed, 104 landed, 105 landed")
    }

    /// How things are at the end.
    fn curtain(&self) -> Result<(), CliError> {
        let (stage, cast) = (self.stage, &self.cast);
        self.scene("All has landed");
        stage.say("everybody $ git scrum worktree clean");
        for team in [&cast.frontend, &cast.backend, &cast.generalist] {
            stage.quietly(&team.directory, &["git", "scrum", "worktree", "clean"])?;
            stage.quietly(&team.directory, &["git", "pull", "--quiet", "--ff-only"])?;
        }
        let generalist = &cast.generalist;
        stage.show(generalist, &["git", "scrum", "status"])?;
        stage.show(generalist, &["git", "scrum", "log", "-n", "2"])?;
        let mut words = vec!["git", "log", "--graph", "--oneline"];
        // The user's own history is not part of the story.
        words.extend(self.shop.source().map(|_| "-12"));
        stage.show(generalist, &words)?;
        let telling = |line: &str| line.starts_with("Verdict") || line.starts_with("Check");
        stage.show_some(generalist, &["git", "notes", "--ref=scrum/verdicts", "show", "HEAD"], 0, telling)?;
        Ok(())
    }

    /// A team claims what it can get, which must be `task`.
    fn claim(&self, team: &Actor, task: &str) -> Result<(), CliError> {
        let words = ["git", "scrum", "claim", "--team", &team.name, "--worktree"];
        let said = self.stage.show_some(team, &words, 0, |line| line.starts_with("Claimed"))?;
        let got = said.strip_prefix("Claimed ").and_then(|rest| rest.split(',').next()).unwrap_or_default();
        self.must(got == task, || format!("{} was to be given {task}: {said}", team.name))
    }

    /// A team changes files for a task, commits and submits. What that answers is told while it is `new`.
    fn work(&self, team: &Actor, task: &str, edit: Edit, new: bool) -> Result<(), CliError> {
        let worktree = self.worktree(team, task)?;
        self.stage.tell(&worktree, edit.told);
        for (path, text) in edit.files {
            self.stage.write(&worktree.directory.join(self.shop.path(path)), text)?;
        }
        self.stage.quietly(&worktree.directory, &["git", "commit", "--quiet", "--all", "--message", edit.subject])?;
        self.stage.show_some(&worktree, &["git", "scrum", "submit"], 0, |_| new)?;
        Ok(())
    }

    /// A team in the worktree that it has for a task.
    fn worktree(&self, team: &Actor, task: &str) -> Result<Actor, CliError> {
        let listed = self.stage.ask(team, &["worktree", "list"])?;
        let mut rows = listed["worktrees"].as_array().into_iter().flatten();
        let found = rows.find(|row| row["task"] == task).and_then(|row| row["path"].as_str());
        let path = found.ok_or_else(|| otherwise(format!("{} has no worktree for {task}: {listed}", team.name)))?;
        Ok(Actor { name: format!("{}/{task}", team.name), directory: PathBuf::from(path) })
    }

    /// Drives the train until the tasks are as they must be. That there are tests is told while it is `new`.
    fn pass(&self, new: bool, states: &str) -> Result<(), CliError> {
        for _ in 0..PASSES_MAX {
            let telling = |line: &str| new || !line.starts_with("test ");
            self.stage.show_some(&self.cast.generalist, &["git", "scrum", "merge-train"], 0, telling)?;
            if self.states_now()? == states {
                return Ok(());
            }
        }
        self.states(states)
    }

    fn states(&self, wanted: &str) -> Result<(), CliError> {
        let now = self.states_now()?;
        self.must(now == wanted, || format!("the tasks were to be {wanted}; they are {now}"))
    }

    fn states_now(&self) -> Result<String, CliError> {
        let listed = self.stage.ask(&self.cast.generalist, &["list", "--state", "all"])?;
        let rows = listed["tasks"].as_array().into_iter().flatten();
        let states: BTreeMap<&str, &str> =
            rows.filter_map(|row| Some((row["id"].as_str()?, row["state"].as_str()?))).collect();
        Ok(states.iter().map(|(id, state)| format!("{id} {state}")).collect::<Vec<_>>().join(", "))
    }

    /// The tasks in the order in which the target got them.
    fn landed(&self) -> Result<Vec<String>, CliError> {
        let history = ["git", "rev-list", "--first-parent", "--reverse", self.target];
        let history = self.stage.quietly(&self.stage.remote(), &history)?;
        let mut landed = Vec::new();
        for (id, ..) in TASKS {
            let shown = self.stage.ask(&self.cast.generalist, &["show", id])?;
            let commit = shown["task"]["landed_as"].as_str().unwrap_or_default();
            let place = history.lines().position(|line| line == commit);
            let place = place.ok_or_else(|| otherwise(format!("{} is not where {id} landed: {shown}", self.target)))?;
            landed.push((place, id.to_owned()));
        }
        landed.sort();
        let landed: Vec<String> = landed.into_iter().map(|(_, id)| id).collect();
        self.must(landed == ["102", "105", "101", "103", "104"], || format!("they landed in the order {landed:?}"))?;
        Ok(landed)
    }

    /// What happened on the board, a line an operation, the earliest first.
    fn log(&self) -> Result<Vec<String>, CliError> {
        let log = self.stage.ask(&self.cast.generalist, &["log", "-n", "1000"])?;
        let entries = log["entries"].as_array().into_iter().flatten().rev();
        let lines = entries.flat_map(|entry| entry["lines"].as_array().into_iter().flatten());
        Ok(lines.filter_map(|line| line.as_str().map(str::to_owned)).collect())
    }

    /// The tasks in the order in which the board granted them, with whom it granted them to.
    fn assigned(&self, log: &[String]) -> Result<Vec<(String, String)>, CliError> {
        let first = [("102", "backend"), ("101", "frontend"), ("105", "generalist")];
        let then = [("103", "backend"), ("104", "generalist")];
        let grant = |line: &String| {
            let (task, rest) = line.strip_prefix("claim ")?.split_once(" by ")?;
            let team = rest.split_once(" for ")?.1.split(',').next()?;
            Some((task.to_owned(), team.to_owned()))
        };
        let assigned: Vec<(String, String)> = log.iter().filter_map(grant).collect();
        let as_told =
            assigned.iter().map(|(task, team)| (task.as_str(), team.as_str())).eq(first.into_iter().chain(then));
        self.must(as_told, || format!("the tasks were handed out as {assigned:?}"))?;
        Ok(assigned)
    }

    /// The cars that were ejected.
    fn ejected(&self, log: &[String]) -> Result<Vec<String>, CliError> {
        let car = |line: &String| line.strip_prefix("eject ")?.split(' ').next().map(str::to_owned);
        let ejected: Vec<String> = log.iter().filter_map(car).collect();
        self.must(ejected == ["101"], || format!("{ejected:?} were ejected"))?;
        Ok(ejected)
    }

    fn must(&self, holds: bool, what: impl FnOnce() -> String) -> Result<(), CliError> {
        if holds { Ok(()) } else { Err(otherwise(what())) }
    }
}
