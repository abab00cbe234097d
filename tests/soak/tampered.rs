//! A checker that never says no has checked nothing: histories that were tampered with must be found out.

use crate::arena::Record;
use crate::chain::Entry;
use crate::check::check;
use crate::history::{Answer, Ask, Moment, Operation, Refusal};

/// Tampers with a history that was found right, in each way, and expects to be found out.
///
/// # Panics
/// Where the checker does not mind.
pub fn is_found_out(record: &Record) {
    let (history, chain) = (&record.history, &record.chain);
    let granted: Vec<usize> = (0..history.len()).filter(|at| history[*at].answer.granted().is_some()).collect();
    let [first, second, ..] = granted.as_slice() else { panic!("fewer than two grants: {history:?}") };
    let found_out = |what: &str, history: &[Operation], chain: &[Entry]| {
        assert!(check(history, chain).is_err(), "{what}, and the checker does not mind");
    };
    let mut swapped = history.clone();
    let answer = swapped[*first].answer.clone();
    swapped[*first].answer = std::mem::replace(&mut swapped[*second].answer, answer);
    found_out("two workers were given each other's answer", &swapped, chain);

    let mut doubled = history.clone();
    doubled.push(history[*first].clone());
    found_out("a claim was answered twice", &doubled, chain);

    let mut late = history.clone();
    let end = history.iter().map(|operation| operation.ended.sequence).max().unwrap_or(0);
    let alone = late
        .iter_mut()
        .min_by_key(|operation| if operation.answer.is_applied() { operation.ended.sequence } else { u64::MAX });
    if let Some(operation) = alone {
        operation.begun.sequence = end + 1;
        operation.ended.sequence = end + 2;
    }
    found_out("the first to be applied was begun when all was over", &late, chain);

    let mut lost = chain.clone();
    lost.retain(|entry| entry.answer.granted() != history[*first].answer.granted());
    found_out("a grant is not in the chain", history, &lost);

    let mut twice = chain.clone();
    twice.extend(chain.last().cloned());
    found_out("the last operation was applied twice", history, &twice);

    let mut denied = history.clone();
    denied[*first].answer = Answer::Refused(Refusal { code: "wrong-state".to_owned(), ..Refusal::default() });
    found_out("a grant was answered with a no", &denied, chain);
}

/// One worker's operation on the task `t0-0`, from and to these places in the sequence, a second each.
fn operation(holder: &str, span: (u64, u64), ask: Ask, answer: Answer) -> Operation {
    let moment = |sequence: u64| Moment { sequence, clock: sequence as i64 };
    Operation { holder: holder.to_owned(), ask, answer, begun: moment(span.0), ended: moment(span.1), calls: 1 }
}

fn task() -> String {
    "t0-0".to_owned()
}

fn add(holder: &str, span: (u64, u64)) -> Operation {
    operation(holder, span, Ask::Add { task: task(), title: "One".to_owned() }, Answer::Done)
}

fn claim(holder: &str, span: (u64, u64), fence: u64, until: i64) -> Operation {
    let ask = Ask::Claim { task: None, lease: 5 };
    operation(holder, span, ask, Answer::Claimed { task: task(), fence, until })
}

fn done(holder: &str, span: (u64, u64), answer: Answer) -> Operation {
    operation(holder, span, Ask::Done { task: task(), fence: None }, answer)
}

fn no(code: &str, holder: Option<(&str, u64)>) -> Answer {
    let (holder, fence) = holder.map(|(holder, fence)| (holder.to_owned(), fence)).unzip();
    Answer::Refused(Refusal { code: code.to_owned(), holder, fence, ..Refusal::default() })
}

#[track_caller]
fn judge(operations: &[Operation], linearizable: bool) {
    let verdict = crate::linear::check(crate::model::Task::default(), operations);
    assert_eq!(verdict.is_ok(), linearizable, "{verdict:?}");
}

#[test]
fn a_history_is_linearizable_when_some_order_of_what_overlaps_fits() {
    judge(&[add("a", (1, 2)), claim("a", (3, 4), 1, 10), done("a", (5, 6), Answer::Done)], true);
    // Each was begun before the other had returned: only one order fits.
    judge(&[claim("b", (1, 9), 1, 20), add("a", (2, 8)), done("b", (10, 11), Answer::Done)], true);
    judge(&[add("a", (1, 2)), claim("a", (3, 6), 1, 20), done("b", (4, 5), no("held", Some(("a", 1))))], true);
    judge(&[claim("b", (1, 2), 1, 10), add("a", (3, 4))], false);
}

#[test]
fn what_changes_nothing_here_may_be_needed_later() {
    let block =
        |holder: &str, span| operation(holder, span, Ask::Block { task: task(), reason: String::new() }, Answer::Done);
    let unblock = operation("a", (5, 9), Ask::Unblock { task: task() }, Answer::Done);
    let blocked = Refusal { code: "wrong-state".to_owned(), state: Some("blocked".to_owned()), ..Refusal::default() };
    let claim = operation("c", (10, 11), Ask::Claim { task: Some(task()), lease: 5 }, Answer::Refused(blocked));
    judge(&[add("a", (1, 2)), block("a", (3, 4)), unblock, block("b", (6, 7)), claim], true);
}

#[test]
fn nobody_is_given_what_another_holds_before_its_lease_is_over() {
    let two = |span, fence| vec![add("a", (1, 2)), claim("a", (3, 4), 1, 8), claim("b", span, fence, 30)];
    judge(&two((5, 9), 2), false);
    judge(&two((5, 10), 2), true);
    // A fence is no fence if it is granted again.
    judge(&two((11, 12), 1), false);
    // The lease is over: nobody is refused for it any more.
    let refused = operation("b", (12, 13), Ask::Claim { task: Some(task()), lease: 5 }, no("held", Some(("a", 1))));
    judge(&[add("a", (1, 2)), claim("a", (3, 4), 1, 8), refused], false);
}

#[test]
fn a_stale_holder_is_told_so() {
    let taken_over = |answer| {
        vec![add("a", (1, 2)), claim("a", (3, 4), 1, 8), claim("b", (12, 13), 2, 40), done("a", (14, 15), answer)]
    };
    judge(&taken_over(no("stale-fence", Some(("b", 2)))), true);
    judge(&taken_over(no("held", Some(("b", 2)))), true);
    judge(&taken_over(Answer::Done), false);
    judge(&taken_over(no("held", Some(("c", 2)))), false);
}

#[test]
fn locks_that_exclude_each_other_are_not_held_together() {
    let lock = |holder: &str, span, pattern: &str, shared, fence| {
        let ask = Ask::Lock { pattern: pattern.to_owned(), shared, lease: 30 };
        operation(holder, span, ask, Answer::Locked { fence, until: 90 })
    };
    let check = |operations: &[Operation]| crate::linear::check(crate::model::Locks::default(), operations).is_ok();
    assert!(check(&[lock("a", (1, 2), "src/**", false, 1), lock("b", (3, 4), "docs/*.md", false, 2)]));
    assert!(!check(&[lock("a", (1, 2), "src/**", false, 1), lock("b", (3, 4), "src/a.rs", false, 2)]));
    assert!(!check(&[lock("a", (1, 2), "src/**", true, 1), lock("b", (3, 4), "src/a.rs", false, 2)]));
    assert!(check(&[lock("a", (1, 2), "src/**", true, 1), lock("b", (3, 4), "src/a.rs", true, 2)]));
    let unlock = operation("a", (3, 6), Ask::Unlock { pattern: "src/**".to_owned() }, Answer::Done);
    assert!(check(&[lock("a", (1, 2), "src/**", false, 1), unlock.clone(), lock("b", (4, 5), "src/a.rs", false, 2)]));
    let held = Refusal { held: Some("src/**".to_owned()), ..Refusal::default() };
    let refused = Refusal { code: "locked".to_owned(), holder: Some("a".to_owned()), ..held };
    let ask = Ask::Lock { pattern: "src/a.rs".to_owned(), shared: false, lease: 30 };
    let late = |span| operation("b", span, ask.clone(), Answer::Refused(refused.clone()));
    assert!(check(&[lock("a", (1, 2), "src/**", false, 1), unlock.clone(), late((5, 8))]));
    assert!(!check(&[lock("a", (1, 2), "src/**", false, 1), unlock, late((7, 8))]));
}
