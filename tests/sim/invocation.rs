//! One invocation of the program: what somebody wants, done by the engine's own code, and what they are told.

use git_scrum::domain::board::Board;
use git_scrum::domain::lanes::Lanes;
use git_scrum::domain::planner::{Method, TrainPolicy};
use git_scrum::domain::{
    Branch, CarId, Command, Fence, Grant, ObjectId, Outcome, Seconds, TaskId, TaskState, Verdict, VerdictRecord,
};
use git_scrum::engine::ports::{Checks, Code, Host};
use git_scrum::engine::{
    Check, Engine, EngineError, Journal, Knowledge, NoJournal, Pass, PassSettings, Said, SettingsFile, SubmitRequest,
};
use git_scrum::ledger::{Fault, FoldRequest, Keep, RefUpdate, Version, fold};
use git_scrum::record::names::{branch_ref, candidate_ref};

use crate::agents::{Actor, Held, Want, some_path, target, unique};
use crate::process::Process;
use crate::promises::{Promise, verb};
use crate::store::SimStore;
use crate::trouble::Trouble;
use crate::world::TARGET_REF;

/// How long a verdict from outside is waited for.
const VERDICT_SECS: u64 = 1800;
/// For how long a checkpoint names what it replaced: longer than anybody stands still, wrong clocks and all.
const NAMED_SECS: u64 = 6 * 3600;

/// One invocation under way.
pub struct Invocation<'p> {
    process: &'p Process<'p>,
    actor: &'p Actor,
}

impl<'p> Invocation<'p> {
    /// Does what `want` says.
    pub fn run(process: &'p Process<'p>, actor: &'p Actor, want: Want) {
        let invocation = Invocation { process, actor };
        if matches!(want, Want::Ask(_) | Want::Submit(_) | Want::Remember(_)) {
            let mut mind = actor.mind.borrow_mut();
            if mind.pending.is_none() {
                mind.pending = Some((want.clone(), process.world.now_ms()));
            }
        }
        match want {
            Want::Ask(command) => invocation.ask(command),
            Want::Submit(request) => invocation.submit(&request),
            Want::Remember(entry) => invocation.remember(&entry),
            Want::Work(task) => invocation.work(&task),
            Want::Beat => invocation.beat(),
            Want::Look(task) => invocation.look(&task),
            Want::Aside => invocation.aside(),
            Want::Fold => invocation.fold(),
            Want::Revert(car) => invocation.revert(&car),
            Want::Pass => invocation.pass(),
            Want::Judge => invocation.judge(),
            Want::Meddle => invocation.meddle(),
        }
    }

    fn with_engine<T>(&self, run: impl FnOnce(&Engine<'_, SimStore<'_>, Process<'p>, Process<'p>>) -> T) -> T {
        let store = SimStore::board(self.process);
        let skew = Seconds(self.process.world.plan.skew_secs);
        run(&Engine::new(&store, self.process, self.process, self.actor.name.clone(), skew))
    }

    fn ask(&self, command: Command) {
        let name = verb(&command);
        self.process.step(|| format!("asks {}", serde_json::to_string(&command).expect("a command is JSON")));
        let asked = self.with_engine(|engine| {
            let asked = engine.ask(command.clone())?;
            let mut held = Vec::new();
            if let (Outcome::Claimed { tasks, fences, .. }, Some(version)) = (&asked.outcome, &asked.version) {
                for (task, fence) in tasks.iter().zip(fences) {
                    let grant = engine.read_at(version, |board| Ok(board.grant(*fence)?));
                    // It was done, whether or not it can be read here and now.
                    match grant.map_err(|error| EngineError::Unknown { reason: format!("{error:?}") })? {
                        Some(Grant::Claim(claim)) => held.push((task.clone(), *fence, claim.branch)),
                        _ => self.broken(format!("was told of fence {fence}, which {version} does not have")),
                    }
                }
            }
            Ok((asked, held))
        });
        let resumed = asked.as_ref().is_ok_and(|(asked, _)| asked.resumed);
        let Some((asked, held)) = self.told(name, asked.map(|(asked, held)| ((asked.outcome, asked.version), held)))
        else {
            return;
        };
        let mut mind = self.actor.mind.borrow_mut();
        mind.knows_board = true;
        // What a killed process had asked for may have been undone since: as the command line does, it asks once more.
        mind.resumed &= !(resumed && matches!(command, Command::Resume { .. }));
        for (task, fence, branch) in held {
            mind.holds.insert(task, Held { fence, branch, committed: false, submitted: false });
        }
        if let Outcome::Returned { task, .. } | Outcome::Finished { task, .. } = &asked {
            mind.holds.remove(task);
        }
    }

    fn submit(&self, request: &SubmitRequest) {
        let code = crate::code::SimCode(self.process);
        self.process.step(|| format!("submits {request:?}"));
        let submitted = self.with_engine(|engine| engine.submit(std::slice::from_ref(request), &code));
        let outcome = submitted.map(|mut submitted| {
            let submitted = submitted.remove(0);
            let (car, position, again) = (submitted.car, submitted.position, submitted.again);
            ((Outcome::Submitted { car, position, again }, None), ())
        });
        if self.told("submit", outcome).is_some()
            && let Some(task) = &request.task
            && let Some(held) = self.actor.mind.borrow_mut().holds.get_mut(task)
        {
            held.submitted = true;
        }
    }

    /// Settles an answer. Gives it when it was a yes.
    fn told<T>(
        &self,
        name: &str,
        answer: Result<((Outcome, Option<Version>), T), EngineError>,
    ) -> Option<(Outcome, T)> {
        let world = &self.process.world;
        let (by, begun) = (self.actor.name.clone(), self.process.begun.take());
        let open = matches!(answer, Err(EngineError::Unknown { .. } | EngineError::Fault(Fault::Network { .. })));
        self.process.step(|| match &answer {
            Ok(((outcome, _), _)) => format!("is told {name}: {outcome:?}"),
            Err(error) => format!("is told {name}: {error:?}"),
        });
        world.count(&format!("{name}: {}", word(answer.as_ref().err())));
        if let Err(error) = &answer {
            self.judge_error(error);
        }
        if open {
            if let (Err(EngineError::Unknown { .. }), Some(id)) = (&answer, begun.into_iter().next_back()) {
                world.promises.borrow_mut().fresh.push(Promise::Unknown { by, id });
            }
            return None;
        }
        self.process.delivered();
        let broken = world.broken.borrow();
        let blind = broken.as_ref().is_some_and(|broken| broken.since_ms <= self.process.started_ms);
        let mut mind = self.actor.mind.borrow_mut();
        mind.pending = None;
        let mut promises = world.promises.borrow_mut();
        // What is refused before anything is begun says nothing of what was, nor does what was done before it.
        if begun.len() == 1 && matches!(answer, Ok(_) | Err(EngineError::Refused(_))) {
            promises.fresh.push(Promise::Settled { by: by.clone() });
        }
        match answer {
            Ok(((outcome, version), rest)) => {
                promises.fresh.push(Promise::Done { by, begun, outcome: outcome.clone(), version, blind });
                Some((outcome, rest))
            }
            Err(error) => {
                // Whoever is told that a task is not theirs forgets it.
                if let EngineError::Refused(_) = &error {
                    let gone = mind.holds.keys().next().cloned().filter(|_| world.percent(30));
                    gone.map(|task| mind.holds.remove(&task));
                }
                // A fault is no answer of a board: it promises that nothing was done, and nothing else.
                let refused = matches!(error, EngineError::Refused(_));
                let (asked, blind) = (self.process.asked.get() || !refused, blind && refused);
                // A board that cannot be read may have it all the same.
                if !matches!(error, EngineError::Fault(Fault::Integrity { .. })) {
                    promises.fresh.push(Promise::Denied { by, begun, why: format!("{error:?}"), asked, blind });
                }
                None
            }
        }
    }

    /// Some errors nobody should ever see, and some only while the board is broken.
    fn judge_error(&self, error: &EngineError) {
        let expected = match error {
            EngineError::Fault(Fault::Integrity { .. }) => {
                self.process.world.broken_since(self.process.started_ms) || self.process.meets_torn()
            }
            EngineError::Fault(fault) => {
                matches!(fault, Fault::Network { .. } | Fault::Environment { .. } | Fault::Io { .. })
            }
            EngineError::NotAtomic => false,
            _ => true,
        };
        if !expected {
            self.broken(format!("got {error:?}"));
        }
    }

    fn broken(&self, what: String) {
        self.process.world.promises.borrow_mut().broken.push(format!("{} {what}", self.process.who));
    }

    fn remember(&self, entry: &git_scrum::engine::NewEntry) {
        let store = SimStore::memory(self.process);
        let who = self.actor.name.clone();
        let knowledge = Knowledge { store: &store, host: self.process, journal: &NoJournal, who };
        let added = knowledge.add(entry);
        self.process.step(|| format!("is told of its entry: {added:?}"));
        let world = &self.process.world;
        world.count(&format!("remember: {}", word(added.as_ref().err())));
        match added {
            Ok(added) => world.promises.borrow_mut().fresh.push(Promise::Remembered(added.id)),
            Err(error) => self.judge_error(&error),
        }
        // Nothing finds an entry again whose writer was killed: it is written once more, or not.
        self.actor.mind.borrow_mut().pending = None;
    }

    /// Commits something to the branch of a task. Work that was given back is brought up to date first.
    fn work(&self, task: &git_scrum::domain::TaskId) {
        let world = &self.process.world;
        let Some(held) = self.actor.mind.borrow().holds.get(task).cloned() else { return };
        let branch_name = branch_ref(&held.branch);
        if self.process.fetch_refs(std::slice::from_ref(&branch_name)).is_err() {
            return;
        }
        let Some(base) = self.target_head() else { return };
        let most_secs = if world.plan.rework { 4 } else { world.plan.lease_secs / 2 };
        self.process.sleep_ms(world.between(1, most_secs) * 1000);
        let own = self.process.machine.branches.borrow().get(&held.branch).cloned();
        let published = self.process.machine.tracking.borrow().get(&branch_name).cloned();
        let published = published.map(|id| ObjectId::parse(&id).expect("an id"));
        self.commit(&held.branch, &base, own.into_iter().chain(published));
        if let Some(held) = self.actor.mind.borrow_mut().holds.get_mut(task) {
            held.committed = true;
        }
    }

    fn target_head(&self) -> Option<ObjectId> {
        self.process.fetch_refs(&[TARGET_REF.to_owned()]).ok()?;
        let tracking = self.process.machine.tracking.borrow();
        tracking.get(TARGET_REF).map(|id| ObjectId::parse(id).expect("an id"))
    }

    fn commit(&self, branch: &Branch, base: &ObjectId, own: impl Iterator<Item = ObjectId>) {
        let world = &self.process.world;
        let parents: Vec<ObjectId> = own.chain([base.clone()]).collect();
        let mut files = (*world.commits.borrow().get(base).files).clone();
        files.insert(some_path(world), unique(world, "text"));
        let special = match world.below(100) {
            0..12 => Some("bad"),
            12..18 => Some("left"),
            18..24 => Some("right"),
            _ => None,
        };
        files.extend(special.map(|name| (format!("src/{}", unique(world, name)), String::new())));
        let commit = world.commits.borrow_mut().add(&parents, files, &unique(world, "work"));
        self.process.step(|| format!("commits {} to {branch}", &commit.as_str()[..6]));
        let machine = &self.process.machine;
        machine.branches.borrow_mut().insert(branch.clone(), commit.clone());
        machine.reflog.borrow_mut().push(commit);
    }

    /// Sends a heartbeat, and forgets what was lost.
    fn beat(&self) {
        let known: Vec<(TaskId, Fence)> =
            self.actor.mind.borrow().holds.iter().map(|(task, held)| (task.clone(), held.fence)).collect();
        let kept = self.with_engine(|engine| engine.beat(&known));
        let world = &self.process.world;
        self.process.step(|| format!("is told of its heartbeat: {kept:?}"));
        world.count(&format!("beat: {}", word(kept.as_ref().err())));
        match kept {
            Ok(kept) => {
                let mut promises = world.promises.borrow_mut();
                for lost in kept.lost {
                    world.count("beat: lost a claim");
                    self.actor.mind.borrow_mut().holds.remove(&lost.task);
                    promises.fresh.push(Promise::Lost { by: self.actor.name.clone(), fence: lost.fence });
                }
            }
            Err(error) => self.judge_error(&error),
        }
    }

    /// Looks what became of a task that was submitted.
    fn look(&self, task: &git_scrum::domain::TaskId) {
        let found = self.with_engine(|engine| engine.read(true, |board| Ok(board.task(task)?)));
        let Ok(Some(found)) = found else { return };
        let mut mind = self.actor.mind.borrow_mut();
        let Some(held) = mind.holds.get_mut(task) else { return };
        match found.summary.state {
            TaskState::Submitted if found.summary.claim == Some(held.fence) => {}
            TaskState::Claimed if found.summary.claim == Some(held.fence) => {
                // Ejected: to be reworked.
                (held.submitted, held.committed) = (false, held.committed && !held.submitted);
            }
            _ => {
                mind.holds.remove(task);
            }
        }
    }

    /// Pushes a branch that belongs to no task, and submits it.
    fn aside(&self) {
        let Some(base) = self.target_head() else { return };
        let branch = Branch::parse(&unique(&self.process.world, "aside/x")).expect("a branch");
        self.commit(&branch, &base, std::iter::empty());
        let commit = self.process.machine.branches.borrow()[&branch].clone();
        let update = RefUpdate { name: branch_ref(&branch), old: None, new: Some(commit.into()) };
        let code = crate::code::SimCode(self.process);
        if !matches!(code.publish(&[update]), Ok(git_scrum::ledger::Outcome::Applied)) {
            return;
        }
        let (task, fence, after) = (None, None, Vec::new());
        let (branch, priority) = (Some(branch), Some(git_scrum::domain::Priority::P2));
        let request = SubmitRequest {
            task,
            fence,
            branch,
            target: target(),
            priority,
            after,
            together: Vec::new(),
            single: None,
            leave_uncommitted: false,
        };
        self.actor.mind.borrow_mut().pending = Some((Want::Submit(request.clone()), self.process.world.now_ms()));
        self.submit(&request);
    }

    /// Takes back what a car brought, if it has landed.
    fn revert(&self, car: &CarId) {
        let code = crate::code::SimCode(self.process);
        let reverted = self.with_engine(|engine| engine.revert(car, &target(), &code));
        self.process.step(|| format!("is told of taking {car} back: {reverted:?}"));
        self.process.world.count(&format!("revert: {}", word(reverted.as_ref().err())));
        if let Err(error) = &reverted {
            self.judge_error(error);
        }
    }

    /// Folds the board. What was written within the last hours is named, so that whoever stood still finds it.
    fn fold(&self) {
        let world = &self.process.world;
        let store = SimStore::board(self.process);
        let at_secs = self.process.now().as_secs();
        let keep = Keep { versions: world.below(20) as usize, since_secs: at_secs.saturating_sub(NAMED_SECS) };
        let request = FoldRequest { keep, versions_min: 2, dry_run: false, at_secs };
        let folded = fold(&store, self.process, &request).map_err(EngineError::from);
        self.process.step(|| format!("is told of its fold: {folded:?}"));
        world.count(&format!("fold: {}", word(folded.as_ref().err())));
        if let Err(error) = &folded {
            self.judge_error(error);
        }
    }

    /// Approves of what lacks an approval, and now and then thinks better of it.
    fn approve(&self) {
        let world = &self.process.world;
        let cars = self.with_engine(|engine| engine.read(true, |board| Ok(board.open_cars(&target())?)));
        for car in cars.unwrap_or_default() {
            let approves = car.approvals.iter().any(|approval| approval.by == self.actor.name);
            let lacks = car.approved_by().count() < world.plan.approvals as usize;
            let withdraw = approves && !world.calm.get() && world.percent(10);
            if approves != withdraw || (!approves && !lacks) {
                continue;
            }
            let command = Command::Approve { target: target(), car: car.id, commit: car.commit, withdraw };
            let store = SimStore::board(self.process);
            let engine = Engine::new(&store, self.process, &NoJournal, self.actor.name.clone(), Seconds(5));
            let asked = engine.ask(command);
            self.process.step(|| format!("is told of its approval: {asked:?}"));
            world.count(&format!("{}: {}", if withdraw { "withdraw" } else { "approve" }, word(asked.as_ref().err())));
            if let Err(error) = &asked {
                self.judge_error(error);
            }
        }
    }

    fn pass(&self) {
        let world = &self.process.world;
        if world.plan.approvals > 0 {
            self.approve();
        }
        let plan = &world.plan;
        let code = crate::code::SimCode(self.process);
        let settings = PassSettings {
            target: target(),
            forbidden: None,
            policy: TrainPolicy {
                external: plan.external,
                timeout: Seconds(VERDICT_SECS),
                window: plan.window,
                slots: plan.slots,
                batch: plan.batch,
                approvals: plan.approvals,
                tolerate: plan.tolerate,
                ..TrainPolicy::PLAIN
            },
            method: Method::Merge,
            lanes: Lanes::default(),
            analyser: None,
            checks: vec![Check {
                name: None,
                run: vec!["check".to_owned()],
                required: true,
                timeout: Seconds(VERDICT_SECS),
            }],
            verdicts_kept: Seconds(0),
            rework_lease: Seconds(plan.lease_secs),
            retries_max: 2,
            candidate_ref,
            read_from: None,
            file: SettingsFile { path: "settings", bytes_max: 0, wrong: |_, _| None },
        };
        let ended = self.with_engine(|engine| {
            let pass = Pass { engine, code: &code, checks: &code, radar: None, settings: &settings };
            pass.run(&mut |event| world.trace(|| format!("{} {event:?}", self.process.who)))
        });
        world.count(&format!("pass: {}", word(ended.as_ref().err())));
        if let Err(error) = &ended {
            world.trace(|| format!("{} ends its pass: {error:?}", self.process.who));
            self.judge_error(error);
            if let EngineError::Exhausted { attempts: 65.. } = error {
                self.broken("looked again for ever in one pass".to_owned());
            }
        }
    }

    fn judge(&self) {
        let world = &self.process.world;
        let code = crate::code::SimCode(self.process);
        let train = self.with_engine(|engine| engine.read(true, |board| Ok(board.train(&target())?)));
        let Ok(Some(train)) = train else { return };
        for run in train.runs {
            let result = code.run(&run.commit, &[], std::time::Duration::ZERO);
            let verdict = match result.expect("no fault").code {
                Some(0) => Verdict::Pass,
                Some(1) => Verdict::Fail,
                _ => Verdict::Inconclusive,
            };
            let tested = run.tested().to_vec();
            let record = VerdictRecord {
                tree: run.tree,
                commit: run.commit,
                verdict,
                check: "external".to_owned(),
                at: self.process.now(),
                by: self.actor.name.clone(),
                took: None,
                together: 0,
                url: None,
                output: String::new(),
                checks: Vec::new(),
            };
            let store = SimStore::board(self.process);
            let engine = Engine::new(&store, self.process, &NoJournal, self.actor.name.clone(), Seconds(5));
            let recorded = engine.record_verdict(
                &target(),
                Said { record, required: Vec::new(), asked: true, kept_since: None },
                &tested,
                &code,
            );
            world.count(&format!("verdict: {}", word(recorded.as_ref().err())));
            if let Err(error) = recorded {
                self.judge_error(&error);
            }
        }
    }

    /// Pushes past the train, or moves or removes somebody's branch.
    fn meddle(&self) {
        let world = &self.process.world;
        let branches: Vec<String> = {
            let remote = world.remote.borrow();
            let theirs = |name: &&String| name.starts_with("refs/heads/task/") || name.starts_with("refs/heads/aside/");
            remote.refs.keys().filter(theirs).cloned().collect()
        };
        let branch = world.random.borrow_mut().pick(&branches).cloned();
        let branch = branch.filter(|_| world.percent(30));
        let (name, trouble) = match branch {
            Some(name) if world.percent(30) => (name, Trouble::BranchGone),
            Some(name) => (name, Trouble::BranchMoved),
            None => (TARGET_REF.to_owned(), Trouble::OutsidePush),
        };
        let Some(old) = world.read_ref(&name) else { return };
        let head = ObjectId::parse(&old).expect("an id");
        let mut files = (*world.commits.borrow().get(&head).files).clone();
        files.insert(some_path(world), unique(world, "outside"));
        let commit = world.commits.borrow_mut().add(&[head], files, &unique(world, "outside"));
        let new = (trouble != Trouble::BranchGone).then(|| commit.into());
        self.process.step(|| format!("pushes to {name}"));
        if world.carry_out(&[RefUpdate { name, old: Some(old), new }], &self.process.who).is_ok() {
            world.struck(trouble);
        }
    }
}

fn word(error: Option<&EngineError>) -> &'static str {
    match error {
        None => "ok",
        Some(EngineError::Refused(_)) => "refused",
        Some(EngineError::Unknown { .. }) => "unknown",
        Some(EngineError::Fault(_)) => "fault",
        Some(EngineError::Moved { .. }) => "moved",
        Some(EngineError::Forbidden { .. }) => "forbidden",
        Some(EngineError::Locked { .. }) => "locked",
        Some(EngineError::Exhausted { .. }) => "exhausted",
        Some(EngineError::NotAtomic) => "not atomic",
        Some(EngineError::Conflict { .. }) => "conflict",
        Some(EngineError::Impossible { .. }) => "impossible",
    }
}
