//! The code as one clone sees it, and the checks that run on it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use git_scrum::domain::planner::{Candidate, Method};
use git_scrum::domain::{Branch, Car, ObjectId, Timestamp, VerdictRecord};
use git_scrum::engine::ports::{Analyser, Change, CheckResult, Checks, Code, Undone};
use git_scrum::ledger::{Fault, Outcome, RefUpdate};
use git_scrum::record::names::{VERDICT_NOTES, branch_ref};

use crate::commits::hash;
use crate::process::Process;
use crate::trouble::Trouble;

/// The code in the hands of a process.
pub struct SimCode<'p>(pub &'p Process<'p>);

impl SimCode<'_> {
    fn tracked(&self, name: &str) -> Option<ObjectId> {
        let tracking = self.0.machine.tracking.borrow();
        tracking.get(name).map(|id| ObjectId::parse(id).expect("refs of the code hold ids"))
    }
}

impl Code for SimCode<'_> {
    fn refresh(&self, branches: &[Branch]) -> Result<(), Fault> {
        let mut names: Vec<String> = branches.iter().map(branch_ref).collect();
        names.sort();
        names.dedup();
        self.0.fetch_refs(&names)
    }

    fn head(&self, branch: &Branch) -> Result<Option<ObjectId>, Fault> {
        Ok(self.tracked(&branch_ref(branch)))
    }

    fn listed(&self, prefix: &str, ask: bool) -> Result<BTreeMap<String, ObjectId>, Fault> {
        let all = if ask { self.0.list_refs(prefix)? } else { self.0.machine.tracking.borrow().clone() };
        let is_there = |name: &String| !name.starts_with(prefix) || all.contains_key(name);
        self.0.machine.tracking.borrow_mut().retain(|name, _| is_there(name));
        let under = all.into_iter().filter(|(name, _)| name.starts_with(prefix));
        Ok(under.map(|(name, id)| (name, ObjectId::parse(&id).expect("an object id"))).collect())
    }

    fn local_head(&self, branch: &Branch) -> Result<Option<ObjectId>, Fault> {
        self.0.step(|| format!("reads its {branch}"));
        Ok(self.0.machine.branches.borrow().get(branch).cloned())
    }

    fn uncommitted(&self, _: &Branch) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }

    fn subject(&self, commit: &ObjectId) -> Result<String, Fault> {
        Ok(format!("commit {}", &commit.as_str()[..6]))
    }

    fn contains(&self, tip: &ObjectId, commit: &ObjectId) -> Result<bool, Fault> {
        Ok(self.0.world.commits.borrow().contains(tip, commit))
    }

    fn candidate(&self, base: &ObjectId, car: &Car, _: Method) -> Result<Candidate, Fault> {
        self.0.step(|| format!("merges {} onto {}", car.id, &base.as_str()[..6]));
        Ok(self.0.world.commits.borrow_mut().merge(base, &car.commit, &format!("land {}", car.id)))
    }

    fn keep(&self, _: &[&ObjectId], _: &[ObjectId]) -> Result<(), Fault> {
        Ok(())
    }

    fn file(&self, _: &ObjectId, _: &str, _: usize) -> Result<Option<Vec<u8>>, Fault> {
        Ok(None)
    }

    fn differences(&self, _: &ObjectId, _: &ObjectId) -> Result<Option<Vec<String>>, Fault> {
        unreachable!("the trains of the simulator have no lanes")
    }

    fn changed_since(&self, _: &ObjectId, _: &ObjectId) -> Result<Option<Change>, Fault> {
        unreachable!("the trains of the simulator have no lanes")
    }

    fn undo(
        &self,
        tip: &ObjectId,
        between: (&ObjectId, &ObjectId),
        message: &str,
        _: Timestamp,
    ) -> Result<Undone, Fault> {
        self.0.step(|| format!("takes back {} on {}", &between.1.as_str()[..6], &tip.as_str()[..6]));
        Ok(self.0.world.commits.borrow_mut().undo(tip, between, message))
    }

    fn branch_update(&self, branch: &Branch, commit: &ObjectId) -> Result<Option<RefUpdate>, Fault> {
        let name = branch_ref(branch);
        let published = self.tracked(&name);
        if published.as_ref() == Some(commit) {
            return Ok(None);
        }
        if let Some(published) = &published
            && !self.contains(commit, published)?
            && !self.0.machine.reflog.borrow().contains(published)
        {
            return Err(Fault::Environment { what: format!("{branch} has other commits at the remote") });
        }
        Ok(Some(RefUpdate { name, old: published.map(String::from), new: Some(commit.as_str().to_owned()) }))
    }

    fn lands_atomically(&self) -> bool {
        !self.0.machine.not_atomic.get()
    }

    fn set_not_atomic(&self) {
        self.0.machine.not_atomic.set(true);
    }

    fn target_ref(&self, target: &Branch) -> String {
        branch_ref(target)
    }

    fn in_the_way(&self, _: &Branch) -> Result<Option<String>, Fault> {
        Ok(None)
    }

    fn publish(&self, updates: &[RefUpdate]) -> Result<Outcome, Fault> {
        for update in updates {
            let update = std::slice::from_ref(update);
            match self.0.push(update)? {
                Outcome::Applied => self.applied(update)?,
                other => return Ok(other),
            }
        }
        Ok(Outcome::Applied)
    }

    fn move_target(&self, target: &Branch, from: &ObjectId, to: &ObjectId) -> Result<Outcome, Fault> {
        let (old, new) = (Some(from.as_str().to_owned()), Some(to.as_str().to_owned()));
        self.publish(&[RefUpdate { name: branch_ref(target), old, new }])
    }

    fn note(&self, verdict: &VerdictRecord) -> Result<Option<RefUpdate>, Fault> {
        if !self.0.world.plan.notes {
            return Ok(None);
        }
        self.0.fetch_refs(&[VERDICT_NOTES.to_owned()])?;
        let old = self.tracked(VERDICT_NOTES).map(String::from);
        let new = hash(&["notes", old.as_deref().unwrap_or(""), verdict.tree.as_str(), verdict.verdict.as_str()]);
        Ok(Some(RefUpdate { name: VERDICT_NOTES.to_owned(), old, new: Some(new.into()) }))
    }

    fn applied(&self, updates: &[RefUpdate]) -> Result<(), Fault> {
        self.0.step(|| "notes what was applied".to_owned());
        let mut tracking = self.0.machine.tracking.borrow_mut();
        for update in updates {
            match &update.new {
                Some(new) => tracking.insert(update.name.clone(), new.clone()),
                None => tracking.remove(&update.name),
            };
        }
        Ok(())
    }
}

impl Checks for SimCode<'_> {
    type Test = bool;

    fn begin(&self, _: &Branch, commit: &ObjectId) -> Result<bool, Fault> {
        self.0.step(|| format!("notes that it tests {}", &commit.as_str()[..6]));
        let mut testing = self.0.machine.testing.borrow_mut();
        let alive = self.0.world.alive.borrow();
        let is_free = testing.as_ref().is_none_or(|(_, known)| *known == self.0.number || !alive.contains_key(known));
        if is_free {
            *testing = Some((commit.clone(), self.0.number));
        }
        Ok(is_free)
    }

    fn end(&self, noted: bool) {
        self.0.step(|| "notes that it tests nothing".to_owned());
        if noted {
            *self.0.machine.testing.borrow_mut() = None;
        }
    }

    fn was_left(&self, _: &Branch, commit: &ObjectId) -> bool {
        let testing = self.0.machine.testing.borrow();
        let alive = self.0.world.alive.borrow();
        let was_left = testing.as_ref().is_some_and(|(known, process)| known == commit && !alive.contains_key(process));
        if was_left {
            self.0.world.count("pass: finds a test that was left");
        }
        was_left
    }

    fn run(&self, commit: &ObjectId, _: &[String], timeout: Duration) -> Result<CheckResult, Fault> {
        let world = &self.0.world;
        self.0.step(|| format!("checks {}", &commit.as_str()[..6]));
        let took_secs = world.between(1, if world.plan.rework { 10 } else { 120 });
        self.0.sleep_ms(took_secs * 1000);
        let took = Duration::from_secs(took_secs);
        let result = |code, timed_out| CheckResult { code, timed_out, output: "said \"so\"\n".to_owned(), took };
        if world.strikes(Trouble::CheckTimeout) {
            return Ok(CheckResult { took: timeout, ..result(None, true) });
        }
        if world.strikes(Trouble::CheckInconclusive) {
            let code = if world.percent(50) { Some(127) } else { None };
            return Ok(result(code, false));
        }
        let green = world.commits.borrow().is_green(commit);
        Ok(result(Some(i32::from(!green)), false))
    }

    fn affected(&self, _: &ObjectId, _: &Analyser, _: &[Change], _: bool) -> Vec<Result<BTreeSet<String>, String>> {
        unreachable!("the trains of the simulator have no lanes")
    }
}
