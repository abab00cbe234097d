//! One invocation in one clone: finds the repository and the truth, reads the settings, and builds the adapters.
//!
//! The only module that knows all the others; `cli` sees the engine through it. Next to nothing is asked over the
//! network here.

#![expect(clippy::disallowed_methods, reason = "the place that keeps the clone's own name in a file")]

mod git_config;

use std::cell::{OnceCell, RefCell};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use git_config::{author, find_truth, read_git_config, remotes, truth_at};

use crate::agent::{FileJournal, KnownClaims, LockFiles, ScratchChecks, SystemHost, Worktrees, unnamed_file};
use crate::config::{self, ConfigError, LocalSettings, Pairs, Settings, TrainSettings};
use crate::domain::board::Board;
use crate::domain::{Branch, Fence, Holder, IdError, ObjectId, TaskId, TeamName, Timestamp};
use crate::engine::ports::Analyser;
use crate::engine::{Check, Engine, EngineError, Knowledge, PassSettings, SettingsFile};
use crate::failpoint;
use crate::git::{Git, GitError, PushBudget};
use crate::ledger::{Author, Fault, GitStore, Objects, Place, RefFormat, Refs, Store, Truth, TruthRefs, tracking_ref};
use crate::record::names::{DEFAULT_PREFIX, RefNames, branch_ref, candidate_ref};
use crate::repo::{GitCode, GitRadar};

/// What an invocation is started with: read once, in `main`.
#[derive(Debug, Clone)]
pub struct Start {
    /// The directory.
    pub directory: PathBuf,
    /// The variables of the environment whose names begin with `SCRUM_`, and `USER`.
    pub environment: Pairs,
    /// This program, to be started again.
    pub program: PathBuf,
}

/// The board, as commands see it.
pub type BoardEngine<'a> = Engine<'a, GitStore, SystemHost, FileJournal>;

/// One invocation in one clone.
pub struct Session {
    place: Rc<Place>,
    git: Git,
    start: Start,
    git_config: Pairs,
    local: LocalSettings,
    author: Author,
    /// Where the board is.
    pub truth: Truth,
    code_truth: Truth,
    names: RefNames,
    store: GitStore,
    /// The machine.
    pub host: SystemHost,
    /// Operations under way.
    pub journal: FileJournal,
    /// Claims made in this clone.
    pub claims: KnownClaims,
    /// The code.
    pub code: GitCode,
    settings: OnceCell<Settings>,
    /// Why these are not those of the target.
    unreadable: OnceCell<SessionError>,
    /// The clone's name, once it was read.
    name: OnceCell<String>,
    /// Claims that are over, and whose holder is about to be told.
    over: RefCell<Vec<(TaskId, Fence)>>,
}

/// Why an invocation cannot begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionError {
    /// The repository or the remote cannot be used.
    Fault(Fault),
    /// The settings cannot be used.
    Config(ConfigError),
    /// The file of a target cannot be used, whatever else is configured here.
    Unreadable {
        /// The target.
        branch: Branch,
        /// The commit that has it, as this clone last saw the target.
        commit: String,
        /// What is wrong with it.
        error: ConfigError,
    },
}

impl From<Fault> for SessionError {
    fn from(fault: Fault) -> Self {
        SessionError::Fault(fault)
    }
}

impl From<ConfigError> for SessionError {
    fn from(error: ConfigError) -> Self {
        SessionError::Config(error)
    }
}

impl Session {
    /// Begins an invocation.
    pub fn open(start: Start) -> Result<Session, SessionError> {
        // Both look at the same files and neither needs the other; together they take half as long.
        let (place, git_config) = std::thread::scope(|scope| {
            let git_config = scope.spawn(|| read_git_config(&Git::here(&start.directory)));
            (Place::discover(&start.directory), git_config.join().expect("BUG: reading the configuration panicked"))
        });
        let place = Rc::new(place?);
        // In its worktree, as git itself does: a remote's relative path means the same wherever the user stands.
        let directory = place.workdir().unwrap_or_else(|| place.common_dir()).to_path_buf();
        let git = Git::here(directory);
        if place.may_be_off_limits() {
            // Git itself says whether this repository may be used (safe.directory, safe.bareRepository). Where it may
            // not, its configuration is left out in silence, and a clone with a remote would look like one without.
            git.run(&["rev-parse", "--git-dir"]).map_err(|error| match error {
                GitError::Failed { said, .. } => Fault::Environment { what: said },
                error => Fault::Environment { what: error.to_string() },
            })?;
        }
        let git_config = git_config?;
        let local = config::local_settings(&git_config, &start.environment);
        let truth = find_truth(&local, &git_config)?;
        Session::with_truth(place, git, start, git_config, local, truth)
    }

    /// The same invocation begun anew: a long-lived view of a repository misses what others add (GIT_FACTS 27).
    pub fn reopen(&self) -> Result<Session, SessionError> {
        Session::open(self.start.clone())
    }

    /// The same invocation with another truth: for `init`, which is what settles it.
    pub fn with_remote(self, remote: &str) -> Result<Session, SessionError> {
        let truth = truth_at(remote, &self.git_config)?;
        let Session { place, git, start, git_config, local, .. } = self;
        Session::with_truth(place, git, start, git_config, local, truth)
    }

    fn with_truth(
        place: Rc<Place>,
        git: Git,
        start: Start,
        git_config: Pairs,
        local: LocalSettings,
        truth: Truth,
    ) -> Result<Session, SessionError> {
        let prefix = local.prefix.clone().unwrap_or_else(|| DEFAULT_PREFIX.to_owned());
        if !prefix.starts_with("refs/")
            || !prefix.ends_with('/')
            || Branch::parse(prefix.trim_end_matches('/')).is_err()
        {
            let what = format!("scrum.prefix is {prefix:?}: it must begin with refs/ and end with a slash");
            return Err(Fault::Environment { what }.into());
        }
        let names = RefNames::new(&prefix);
        let code_truth = match &local.code_remote {
            Some(remote) => truth_at(remote, &git_config)?,
            None => truth.clone(),
        };
        let author = author(&git_config);
        let now = start.environment.get("SCRUM_NOW").map(|text| Timestamp::try_from(text.clone()));
        let now = now.transpose().map_err(|what| ConfigError::BadValue { place: "SCRUM_NOW".to_owned(), what })?;
        let state_dir = place.state_dir();
        let same = code_truth == truth;
        Ok(Session {
            store: GitStore::new(&place, git.clone(), truth.clone(), author.clone(), &names.board()),
            code: GitCode::new(&place, git.clone(), code_truth.clone(), same, author.clone()),
            host: SystemHost::new(now),
            journal: FileJournal::new(&state_dir),
            claims: KnownClaims::new(&state_dir),
            settings: OnceCell::new(),
            unreadable: OnceCell::new(),
            name: OnceCell::new(),
            over: RefCell::default(),
            place,
            git,
            start,
            git_config,
            local,
            author,
            truth,
            code_truth,
            names,
        })
    }

    /// The board's ledger.
    pub fn store(&self) -> &GitStore {
        &self.store
    }

    /// The repository.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The `git` program in this repository.
    pub fn git(&self) -> &Git {
        &self.git
    }

    /// The names of the remotes that are configured here.
    pub fn remotes(&self) -> Vec<&str> {
        remotes(&self.git_config)
    }

    /// How refs and objects are stored here, as git calls it.
    pub fn formats(&self) -> (&'static str, &'static str) {
        let refs = match self.place.ref_format {
            RefFormat::Files => "files",
            RefFormat::Reftable => "reftable",
        };
        (refs, if self.place.hex_len() == 64 { "sha256" } else { "sha1" })
    }

    /// Whether history is missing here.
    pub fn is_shallow(&self) -> bool {
        self.place.common_dir().join("shallow").exists()
    }

    /// The refs at the truth, as they are now.
    pub fn truth_refs(&self) -> TruthRefs {
        TruthRefs::new(&self.place, self.git.clone(), self.truth.clone())
    }

    /// The refs where the code is, as they are now.
    pub fn code_truth_refs(&self) -> TruthRefs {
        TruthRefs::new(&self.place, self.git.clone(), self.code_truth.clone())
    }

    /// The lock files of this clone, and those of every remote in use that is a directory here, marked with `true`.
    pub fn lock_files(&self) -> Vec<(LockFiles, bool)> {
        let mut found = vec![(LockFiles::of(&self.place), false)];
        let code = Some(&self.code_truth).filter(|code| **code != self.truth);
        for truth in [Some(&self.truth), code].into_iter().flatten() {
            if let Truth::Remote { url, .. } = truth {
                found.extend(LockFiles::at(url, self.git.directory()).map(|files| (files, true)));
            }
        }
        found
    }

    /// The names of refs on the truth.
    pub fn names(&self) -> &RefNames {
        &self.names
    }

    /// The board, for whoever works in this clone.
    pub fn board(&self) -> Result<BoardEngine<'_>, SessionError> {
        let settings = self.settings()?;
        let combines = settings.hosts.combine;
        // A clone that cannot be given a name is helped by nobody, and works all the same.
        if let Ok(name) = self.clone_name() {
            let host = self.host_id(name);
            self.store.beat_as(&self.names.beats(), &host);
            if combines {
                self.store.take_part(&self.names.hosts(), &host, self.names.landmark());
            }
        }
        let (holder, skew) = (self.holder()?, settings.tasks.skew);
        Ok(Engine { combines, ..Engine::new(&self.store, &self.host, &self.journal, holder, skew) })
    }

    /// Project memory.
    pub fn memory_store(&self) -> GitStore {
        GitStore::new(&self.place, self.git.clone(), self.truth.clone(), self.author.clone(), &self.names.memory())
    }

    /// Project memory in `store`, for whoever works in this clone.
    pub fn knowledge<'a>(
        &'a self,
        store: &'a GitStore,
    ) -> Result<Knowledge<'a, GitStore, SystemHost, FileJournal>, SessionError> {
        // With them comes the budget of pushes.
        self.settings()?;
        Ok(Knowledge { store, host: &self.host, journal: &self.journal, who: self.holder()? })
    }

    /// The radar: what would collide.
    pub fn radar(&self) -> GitRadar {
        GitRadar::new(
            &self.place,
            self.git.clone(),
            self.truth.clone(),
            self.code_truth.clone(),
            self.names.clone(),
            &self.git_config,
        )
    }

    /// Runs checks of this repository.
    pub fn checks(&self) -> ScratchChecks {
        ScratchChecks::new(self.git.clone(), &self.place.state_dir(), &self.start.program)
    }

    /// Who works in this clone: configured, or made of the user, the host and a name of the clone's own, so that two
    /// clones of one user are two holders.
    pub fn holder(&self) -> Result<Holder, SessionError> {
        if let Some(name) = &self.local.holder {
            let holder = Holder::parse(name);
            return holder.map_err(|error| {
                ConfigError::BadValue { place: "scrum.holder".to_owned(), what: error.to_string() }.into()
            });
        }
        let user = self.git_config.get("user.name").or_else(|| self.start.environment.get("USER"));
        let user = words(user.map_or("someone", String::as_str));
        let host = words(&gethostname::gethostname().to_string_lossy());
        let holder = format!("{}@{}-{}", cut(&user, 40), cut(&host, 40), self.clone_name()?);
        Ok(Holder::parse(&holder).expect("words without spaces are a holder"))
    }

    /// What this clone is called among the hosts: a part of a ref's name.
    fn host_id(&self, clone_name: &str) -> String {
        let host = gethostname::gethostname().to_string_lossy().to_ascii_lowercase();
        let host: String = host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        format!("{}-{clone_name}", cut(host.trim_matches('-'), 40)).trim_start_matches('-').to_owned()
    }

    /// A name of this clone: six random digits that it keeps.
    fn clone_name(&self) -> Result<&str, Fault> {
        if let Some(name) = self.name.get() {
            return Ok(name);
        }
        let name = self.read_clone_name()?;
        Ok(self.name.get_or_init(|| name))
    }

    /// The name in its file, which is made where there is none.
    fn read_clone_name(&self) -> Result<String, Fault> {
        let file = self.place.state_dir().join("clone-name");
        let read = |file: &Path| fs::read_to_string(file).ok().map(|text| text.trim().to_owned());
        let usable = |name: &String| name.len() == 6 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if let Some(name) = read(&file).filter(usable) {
            return Ok(name);
        }
        let failed = |error: &dyn std::fmt::Display| Fault::io(format!("cannot write {}", file.display()), error);
        use crate::ledger::Pace;
        let new = unnamed_file(&self.place.state_dir()).map_err(|error| failed(&error))?;
        failpoint::reach("writing the clone's name");
        fs::write(new.path(), &self.host.nonce()[..6]).map_err(|error| failed(&error))?;
        // Of two first commands at once, the first to get here names the clone.
        failpoint::reach("naming the clone");
        let _ = new.persist_noclobber(&file);
        read(&file).filter(usable).ok_or_else(|| failed(&"it does not hold a name"))
    }

    /// The settings that hold here, with `.scrum.toml` of the target as this clone last saw it at the truth. Where that
    /// cannot be read, those that hold without it: one bad commit must not keep everybody from their tasks.
    pub fn settings(&self) -> Result<&Settings, SessionError> {
        if let Some(settings) = self.settings.get() {
            return Ok(settings);
        }
        let target = self.target()?;
        let mut settings = self.settings_of(&target);
        if matches!(settings, Err(SessionError::Unreadable { .. })) {
            use crate::engine::ports::Code;
            // It may have been put right since this clone looked. Where nobody can be asked, it stays as it was seen.
            let _ = self.code.refresh(std::slice::from_ref(&target));
            settings = self.settings_of(&target);
        }
        let settings = match settings {
            Err(unreadable @ SessionError::Unreadable { .. }) => {
                self.unreadable.get_or_init(|| unreadable);
                config::settings_of(&target, None, &self.git_config, &self.start.environment)?
            }
            settings => settings?,
        };
        if let Truth::Remote { name, url } = &self.truth {
            let per_minute = per_minute(&settings, url);
            let file = self.place.state_dir().join(format!("pushes-{name}"));
            self.git.limit_pushes(PushBudget::new(file, per_minute));
        }
        Ok(self.settings.get_or_init(|| settings))
    }

    /// Why [`Session::settings`] has done without the file of the target, if it has.
    pub fn unreadable(&self) -> Option<&SessionError> {
        self.unreadable.get()
    }

    /// The same settings for what depends on those of the target, which does not do without them.
    pub fn settings_of_target(&self) -> Result<&Settings, SessionError> {
        let settings = self.settings()?;
        self.unreadable().map_or(Ok(settings), |unreadable| Err(unreadable.clone()))
    }

    /// How often this clone pushes in a minute at most; `None`: as often as it likes.
    pub fn pushes_per_minute_max(&self) -> Result<Option<u32>, SessionError> {
        let Truth::Remote { url, .. } = &self.truth else { return Ok(None) };
        Ok(Some(per_minute(self.settings()?, url)).filter(|per_minute| *per_minute > 0))
    }

    /// The settings of a target, as this clone last saw it at the truth.
    pub fn settings_of(&self, target: &Branch) -> Result<Settings, SessionError> {
        let (git_config, environment, none) = (&self.git_config, &self.start.environment, Pairs::new());
        let Some(commit) = self.seen_head(target)? else {
            return Ok(config::settings_of(target, None, git_config, environment)?);
        };
        let objects = Objects::new(Rc::clone(&self.place));
        let file = match objects.file(&commit, config::FILE_NAME, config::FILE_BYTES_MAX) {
            Err(Fault::TooLarge { size, .. }) => {
                Err(wrong_file(format!("it has {size} bytes, more than {}", config::FILE_BYTES_MAX)))
            }
            file => Ok(file?),
        };
        let unreadable = |error| SessionError::Unreadable { branch: target.clone(), commit: commit.clone(), error };
        let file = file.map_err(unreadable)?;
        let text = file.as_deref().map(text_of).transpose().map_err(unreadable)?;
        config::settings_of(target, text, git_config, environment).map_err(|error| {
            // What is laid over the file is not at fault where that makes no sense by itself.
            match config::settings_of(target, text, &none, &none) {
                Err(error) => unreadable(error),
                Ok(_) => error.into(),
            }
        })
    }

    /// The head of a branch of the code at the truth, as this clone last saw it: by us, or by an ordinary fetch.
    fn seen_head(&self, branch: &Branch) -> Result<Option<String>, Fault> {
        let refs = Refs::new(Rc::clone(&self.place), self.git.clone());
        let name = branch_ref(branch);
        if let Some(head) = refs.read(&tracking_ref(&self.code_truth, &name))? {
            return Ok(Some(head));
        }
        match &self.code_truth {
            Truth::Local => Ok(None),
            Truth::Remote { name, .. } => refs.read(&format!("refs/remotes/{name}/{branch}")),
        }
    }

    /// The branch that work lands on: configured, or settled when the board was created.
    pub fn target(&self) -> Result<Branch, SessionError> {
        if let Some(name) = &self.local.target {
            return name.parse().map_err(|error: IdError| {
                ConfigError::BadValue { place: "scrum.target".to_owned(), what: error.to_string() }.into()
            });
        }
        if let Some(version) = self.store.cached()? {
            let snapshot = crate::ledger::Snapshot::new(&self.store, version);
            if let Some(counters) = crate::record::LedgerBoard::new(Some(&snapshot)).counters()? {
                return Ok(counters.target);
            }
        }
        self.default_target()
    }

    /// The branch that work lands on when a board is created: the remote's main branch, or the one checked out here.
    pub fn default_target(&self) -> Result<Branch, SessionError> {
        let parse = |name: &str| name.trim().parse::<Branch>().ok();
        if let Some(name) = &self.local.target {
            return Ok(parse(name).unwrap_or_else(main_branch));
        }
        let found = match &self.code_truth {
            Truth::Remote { name, url } => {
                let remembered = self.git.run(&["symbolic-ref", "--short", &format!("refs/remotes/{name}/HEAD")]).ok();
                let remembered = remembered.and_then(|short| parse(short.strip_prefix(&format!("{name}/"))?));
                remembered.or_else(|| {
                    let said = self.git.run(&["ls-remote", "--symref", "--", url, "HEAD"]).ok()?;
                    parse(said.lines().next()?.strip_prefix("ref: refs/heads/")?.split('\t').next()?)
                })
            }
            Truth::Local => self.git.run(&["symbolic-ref", "--short", "HEAD"]).ok().and_then(|name| parse(&name)),
        };
        Ok(found.unwrap_or_else(main_branch))
    }

    /// The worktrees of this repository.
    pub fn worktrees(&self) -> Result<Worktrees, SessionError> {
        let settings = &self.settings()?.worktree;
        let base = self.place.workdir().unwrap_or_else(|| self.place.common_dir());
        // All worktrees of a repository share one root, whichever of them a command is started in.
        let main = self.place.common_dir();
        let base = if main.ends_with(".git") { main.parent().unwrap_or(base) } else { main };
        let repo = base.file_name().map_or_else(|| "repository".into(), |name| name.to_string_lossy());
        let root = normalised(&base.join(settings.root.replace("{repo}", repo.trim_end_matches(".git"))));
        Ok(Worktrees::new(
            &self.place,
            self.git.clone(),
            self.truth.clone(),
            self.names.clone(),
            self.author.clone(),
            root,
            settings.copy.clone(),
        ))
    }

    /// The branch that the work of a team lands on.
    pub fn target_of(&self, team: Option<&TeamName>) -> Result<Branch, SessionError> {
        let template = &self.settings()?.branches.team;
        match team {
            Some(team) if !template.is_empty() => {
                let name = template.replace("{team}", team.as_str());
                Branch::parse(&name).map_err(|error| {
                    let (place, what) = ("branches.team".to_owned(), error.to_string());
                    ConfigError::BadValue { place, what }.into()
                })
            }
            _ => self.target(),
        }
    }

    /// Why work must not land on `target`, if it must not: by the list of the branch that all work goes to, and by its
    /// own. A branch cannot let itself be landed on.
    pub fn why_not_land_on(&self, target: &Branch) -> Result<Option<String>, SessionError> {
        let mut branches = vec![self.target()?, target.clone()];
        branches.dedup();
        for branch in branches {
            if let Some(why) = self.settings_of(&branch)?.why_not_land_on(target) {
                return Ok(Some(why));
            }
        }
        Ok(None)
    }

    /// What a pass of the train needs to know.
    pub fn pass_settings(&self, target: &Branch) -> Result<PassSettings, SessionError> {
        let read_from = self.seen_head(target)?.and_then(|head| ObjectId::parse(&head).ok());
        let settings = self.settings_of(target)?;
        Ok(PassSettings {
            target: target.clone(),
            forbidden: self.why_not_land_on(target)?,
            policy: settings.train.policy(),
            method: settings.train.method,
            lanes: settings.train.lanes(),
            analyser: analyser_of(&settings.train),
            checks: checks_of(&settings.train),
            verdicts_kept: settings.train.verdicts_kept,
            rework_lease: settings.train.rework,
            retries_max: settings.tasks.retries_max,
            candidate_ref,
            read_from,
            file: SettingsFile { path: config::FILE_NAME, bytes_max: config::FILE_BYTES_MAX, wrong: why_unreadable },
        })
    }

    /// The fence this clone knows for a task, to be named by whatever its holder does with the claim. Another holder
    /// of the same clone must not name it: one who lost the task to them would go on in their name.
    pub fn known_fence(&self, task: &TaskId) -> Option<Fence> {
        let claim = self.claims.get(task)?;
        (self.holder().ok()? == claim.holder).then_some(claim.fence)
    }

    /// The claims that the asker made in this clone and has not ended.
    pub fn own_claims(&self) -> Result<Vec<(TaskId, Fence)>, SessionError> {
        Ok(self.claims.of(&self.holder()?))
    }

    /// Has a claim count as over once the answer of this invocation has reached its holder, and not before.
    pub fn claim_is_over_once_told(&self, task: &TaskId, fence: Fence) {
        self.over.borrow_mut().push((task.clone(), fence));
    }

    /// Forgets what this invocation had begun: its answer has reached whoever asked.
    pub fn delivered(&self) {
        use crate::engine::Journal;
        for (task, fence) in self.over.borrow_mut().drain(..) {
            // They are told again where it cannot be noted.
            let _ = self.claims.end(&task, fence);
        }
        self.journal.delivered();
    }

    /// Remembers in this clone's own configuration where the board is.
    pub fn remember_remote(&self, remote: &str) -> Result<(), EngineError> {
        let done = self.git.run(&["config", "--local", "scrum.remote", remote]);
        done.map(|_| ()).map_err(|error| EngineError::Fault(Fault::io("cannot remember the remote", error)))
    }
}

fn wrong_file(what: impl Into<String>) -> ConfigError {
    ConfigError::BadValue { place: config::FILE_NAME.to_owned(), what: what.into() }
}

fn text_of(file: &[u8]) -> Result<&str, ConfigError> {
    std::str::from_utf8(file).map_err(|_| wrong_file("it is not text"))
}

/// Why a file cannot be read by those who work with `target`, wherever they are.
fn why_unreadable(target: &Branch, file: &[u8]) -> Option<String> {
    let none = Pairs::new();
    let settings = text_of(file).and_then(|text| config::settings_of(target, Some(text), &none, &none));
    settings.err().map(|error| error.to_string())
}

/// How many pushes in a minute these settings allow at `url`; 0: no limit.
fn per_minute(settings: &Settings, url: &str) -> u32 {
    match settings.hosts.pushes_per_minute_max {
        0 => PushBudget::recommended(url),
        asked => asked,
    }
}

fn main_branch() -> Branch {
    Branch::parse("main").expect("main is a branch")
}

/// Text as one word: letters, digits and a few signs, with `-` for everything else.
fn words(text: &str) -> String {
    let kept: String = text
        .chars()
        .map(|c| if c.is_alphanumeric() || matches!(c, '.' | '_') { c.to_ascii_lowercase() } else { '-' })
        .collect();
    let kept = kept.trim_matches('-');
    if kept.is_empty() { "someone".to_owned() } else { kept.to_owned() }
}

fn cut(text: &str, chars_max: usize) -> String {
    text.chars().take(chars_max).collect()
}

/// A path without `..` in it, by the text alone.
fn normalised(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts
}

/// What is configured to say what a change affects.
fn analyser_of(train: &TrainSettings) -> Option<Analyser> {
    let analyser = Analyser { run: train.affected.clone(), timeout: train.affected_timeout };
    Some(analyser).filter(|analyser| !analyser.run.is_empty())
}

/// The checks that are configured: one without a name, or several with names.
fn checks_of(train: &TrainSettings) -> Vec<Check> {
    let one = Check { name: None, run: train.check.clone(), required: true, timeout: train.timeout };
    let named = train.checks.iter().map(|(name, check)| Check {
        name: Some(name.clone()),
        run: check.run.clone(),
        required: check.required,
        timeout: check.timeout.unwrap_or(train.timeout),
    });
    if train.check.is_empty() { named.collect() } else { vec![one] }
}
