//! What hosts, claims and trains have left at the remote: offers, saved work, candidates, and announced landings.

use std::collections::BTreeSet;

use super::super::Context;
use super::super::errors::CliError;
use super::Args;
use crate::domain::board::Board;
use crate::domain::{Fence, TaskId, Timestamp};
use crate::engine::doctor::{self, Finding};
use crate::engine::ports::{Code, Host};
use crate::engine::{Pass, is_gone};
use crate::ledger::{Fault, Store, Truth, TruthRefs};

pub(super) fn examine(args: &Args, context: &Context) -> Result<Vec<Finding>, CliError> {
    if context.session.store().cached()?.is_none() {
        return Ok(Vec::new());
    }
    let mut findings = Vec::new();
    let checks = [
        ("offers", offers as Check),
        ("heartbeats", heartbeats),
        ("saved-work", saved_work),
        ("candidates", candidates),
    ];
    for (kind, check) in checks {
        match check(args, context) {
            Ok(found) => findings.extend(found),
            Err(Trouble::Fault(fault)) => findings.push(doctor::unasked(kind, &fault)),
            Err(Trouble::Other(error)) => return Err(error),
        }
    }
    findings.extend(landings(args, context)?);
    Ok(findings)
}

type Check = fn(&Args, &Context) -> Result<Vec<Finding>, Trouble>;

/// Why a check came to no end. A fault is a finding, and the rest is looked at.
enum Trouble {
    Fault(Fault),
    Other(CliError),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Trouble {
        Trouble::Fault(fault)
    }
}

impl From<CliError> for Trouble {
    fn from(error: CliError) -> Trouble {
        Trouble::Other(error)
    }
}

/// The findings, each with its ref and what that was; with the refs removed that still are that, where it is asked for.
fn found(refs: &TruthRefs, repair: bool, found: Vec<(Finding, (String, String))>) -> Result<Vec<Finding>, Fault> {
    let (findings, named): (Vec<Finding>, Vec<(String, String)>) = found.into_iter().unzip();
    if !repair {
        return Ok(findings);
    }
    let left = refs.remove(&named)?;
    let mark = |(finding, (name, _)): (Finding, (String, String))| {
        if left.contains(&name) { finding.not_repaired("it was moved meanwhile") } else { finding.repaired("removed") }
    };
    Ok(findings.into_iter().zip(named).map(mark).collect())
}

fn offers(args: &Args, context: &Context) -> Result<Vec<Finding>, Trouble> {
    let session = &context.session;
    let (Truth::Remote { .. }, Some(tip)) = (&session.truth, session.store().cached()?) else { return Ok(Vec::new()) };
    let refs = session.truth_refs();
    let now = session.host.now();
    let mut old = Vec::new();
    let all = refs.offers(&session.names().hosts(), session.store(), &tip)?;
    for (offer, open) in &all {
        let age = now.since(Timestamp::from_secs(offer.at_secs));
        if let Some(finding) = doctor::offer(&offer.ref_name, age, *open, offer.intents.len()) {
            old.push((finding, (offer.ref_name.clone(), offer.version.0.clone())));
        }
    }
    if old.is_empty() {
        return Ok(vec![Finding::ok("offers", format!("{} of other hosts, none of them settled", all.len()))]);
    }
    Ok(found(&refs, args.repair, old)?)
}

/// Heartbeats of hosts that hold nothing any more.
fn heartbeats(args: &Args, context: &Context) -> Result<Vec<Finding>, Trouble> {
    let session = &context.session;
    let standing = context
        .board()?
        .read(false, |board| Ok(board.grants()?.iter().map(|grant| grant.fence()).collect::<BTreeSet<Fence>>()));
    let standing = standing.map_err(CliError::from)?;
    let refs = session.truth_refs();
    let now = session.host.now();
    let all = refs.beats(&session.names().beats())?;
    let mut idle = Vec::new();
    for beat in all.iter().filter(|beat| is_gone(beat, &standing, now, doctor::LEFT_AFTER)) {
        let age = now.since(Timestamp::from_secs(beat.at_secs));
        let finding = doctor::idle_heartbeat(&beat.ref_name, age);
        idle.push((finding, (beat.ref_name.clone(), beat.version.0.clone())));
    }
    if idle.is_empty() {
        return Ok(vec![Finding::ok("heartbeats", format!("{} of hosts, none of them idle", all.len()))]);
    }
    Ok(found(&refs, args.repair, idle)?)
}

/// Work that was saved for claims that are over. It is somebody's: it goes only where that is asked for by name.
fn saved_work(args: &Args, context: &Context) -> Result<Vec<Finding>, Trouble> {
    let session = &context.session;
    let refs = session.truth_refs();
    let prefix = session.names().wip_prefix();
    let board = context.board()?;
    let mut over = Vec::new();
    let mut live = 0;
    for (name, commit) in refs.list(&prefix)? {
        let parts = name[prefix.len()..].rsplit_once('-');
        let claim = parts.and_then(|(task, fence)| Some((TaskId::parse(task).ok()?, Fence(fence.parse().ok()?))));
        let Some((task, fence)) = claim else { continue };
        let stands = board.read(false, |board| Ok(board.task(&task)?.is_some_and(|t| t.summary.claim == Some(fence))));
        if stands.map_err(CliError::from)? { live += 1 } else { over.push((name, commit)) }
    }
    if over.is_empty() {
        return Ok(vec![Finding::ok("saved-work", format!("{live} of claims that stand, and no other"))]);
    }
    refs.bring(&over)?;
    let head = session.code.head(&session.target().map_err(CliError::from)?)?;
    let now = session.host.now();
    let judge = |(name, commit): &(String, String)| {
        let at = session.git().run(&["log", "-1", "--format=%ct", commit, "--"]).ok();
        let at = at.and_then(|secs| secs.parse().ok()).map(Timestamp::from_secs);
        let changed = head.as_ref().and_then(|head| {
            let range = format!("{}...{commit}", head.as_str());
            session.git().run(&["diff", "--name-only", "-z", &range, "--"]).ok()
        });
        let paths = changed.map(|paths| paths.split('\0').filter(|path| !path.is_empty()).count());
        doctor::saved_work(name, commit, at.map(|at| now.since(at)), paths)
    };
    Ok(found(&refs, args.repair && args.wip, over.into_iter().map(|named| (judge(&named), named)).collect())?)
}

/// Branches on which candidates were offered to a CI system, and that no run needs.
fn candidates(args: &Args, context: &Context) -> Result<Vec<Finding>, Trouble> {
    let session = &context.session;
    let refs = session.code_truth_refs();
    let used = context.board()?.read(false, |board| {
        let mut used = BTreeSet::new();
        for train in board.trains()? {
            used.extend(train.runs.iter().map(|run| run.commit.as_str().to_owned()));
            // A pass offers the candidate of an open car before it records that it did.
            let cars = board.open_cars(&train.target)?;
            used.extend(cars.iter().map(|car| crate::record::names::candidate_ref(&train.target, car.position)));
        }
        Ok(used)
    });
    let used = used.map_err(CliError::from)?;
    let all = refs.list(crate::record::names::CANDIDATES)?;
    let idle: Vec<_> = all.iter().filter(|(name, id)| !used.contains(name) && !used.contains(id)).cloned().collect();
    if idle.is_empty() {
        return Ok(vec![Finding::ok("candidates", format!("{} branches of the train, all in use", all.len()))]);
    }
    let judge = |named: (String, String)| (doctor::idle_candidate(&named.0), named);
    Ok(found(&refs, args.repair, idle.into_iter().map(judge).collect())?)
}

/// Landings that were announced and not finished.
fn landings(args: &Args, context: &Context) -> Result<Vec<Finding>, CliError> {
    let session = &context.session;
    let board = context.board()?;
    let trains = match board.read(false, |board| Ok(board.trains()?)) {
        Ok(trains) => trains,
        // What cannot be read has been found before.
        Err(_) => return Ok(Vec::new()),
    };
    let mut findings = Vec::new();
    for train in &trains {
        let Some(landing) = &train.landing else { continue };
        let finding = doctor::landing(&train.target, landing, session.host.now());
        if !args.repair {
            findings.push(finding);
            continue;
        }
        let settings = session.pass_settings(&train.target)?;
        let checks = session.checks();
        let pass = Pass { engine: &board, code: &session.code, checks: &checks, radar: None, settings: &settings };
        findings.push(match pass.recover() {
            Ok(done) => finding.repaired(done.as_deref().unwrap_or("another pass has finished it")),
            Err(error) => finding.not_repaired(&CliError::from(error).message()),
        });
    }
    if findings.is_empty() {
        findings.push(Finding::ok("landings", "none is unfinished"));
    }
    Ok(findings)
}
