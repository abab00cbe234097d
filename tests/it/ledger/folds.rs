//! What every ledger promises of folds: nobody is disturbed, and nobody is deceived.

use git_scrum::ledger::{FoldRequest, Folded, Keep, archive_ref, fold, in_person, list_of};

use super::*;

fn request_to_fold(versions: usize) -> FoldRequest {
    // No version is young: a list names as many as it is told to.
    let keep = Keep { versions, since_secs: u64::MAX };
    FoldRequest { keep, versions_min: 1, dry_run: false, at_secs: AT_SECS }
}

/// Folds the ledger into a checkpoint that names so many versions.
pub(super) fn fold_naming(seat: &impl Store, versions: usize) -> Folded {
    let folded = fold(seat, &TestPace::default(), &request_to_fold(versions));
    folded.expect("it can be folded").expect("there is a ledger")
}

fn puts(seat: &impl Store, numbers: impl IntoIterator<Item = u64>) {
    for n in numbers {
        put(seat, n, &[("k", Some(n.to_string().as_str()))]).expect("published");
    }
}

pub(super) fn a_fold_disturbs_no_reader<W: World>(world: &W) {
    let (one, behind, there) = (world.join(), world.join(), world.join());
    puts(&one, 1..=2);
    tip(&behind);
    puts(&one, 3..=5);
    let replaced = tip(&there);
    let folded = fold_naming(&one, 4);
    let checkpoint = folded.to.clone().expect("it was folded");
    assert_eq!((folded.from.clone(), folded.versions, folded.kept), (replaced.clone(), 5, 4));
    assert_eq!(world.truth(BOARD), Some(checkpoint.0.clone()));
    assert_eq!(world.truth(&archive_ref(BOARD, &replaced)), Some(replaced.0.clone()), "what was replaced is kept");
    for seat in [&one, &behind, &there, &world.join()] {
        assert_eq!(tip(seat), checkpoint);
        assert_eq!(read(seat, "k").as_deref(), Some("5"));
        assert_eq!(seat.cached(), Ok(Some(checkpoint.clone())));
        let chain = chain(seat);
        assert_eq!((chain.len(), in_person(&chain)), (5, 1), "the checkpoint, and four that it names");
        assert_eq!(Message::lines_in(&chain[1].message).collect::<Vec<_>>(), ["operation 5"]);
        assert_eq!(applied(seat), exactly_once(2..=5));
    }
    // A looker-back stops where it is told to, whether that is in the chain or in the list.
    let chain = chain(&there);
    for (until, entry) in chain.iter().enumerate() {
        let since = there.history(&checkpoint, Some(&entry.version), 100).expect("readable");
        assert_eq!(since, chain[..until]);
        assert_eq!(there.history(&checkpoint, None, until).expect("readable"), chain[..until]);
    }
    // Whoever wrote before goes on; and the list is gone.
    puts(&behind, [6]);
    assert_eq!(keys_below(&there, &tip(&there), "checkpoint"), [] as [&str; 0]);
    assert_ne!(list_of(&there, &checkpoint).expect("readable"), Batch::default());
    // A second fold goes on through the list of the first.
    let again = fold_naming(&behind, 4);
    assert_eq!((again.versions, again.kept), (2, 4));
    puts(&one, [7]);
    assert_eq!(applied(&there), exactly_once(4..=7), "of the four that it names one is the checkpoint");
}

pub(super) fn a_writer_in_doubt_finds_its_operation_across_folds<W: World>(world: &W) {
    let (seat, other) = (world.join(), world.join());
    puts(&seat, [1]);
    let base = tip(&other);
    // It was applied, only the answer was lost, and the ledger was folded twice before it was looked up.
    let folder = Seat { unqueued: true, ..world.join() };
    seat.on_publish(move |publish| {
        publish()?;
        tip(&folder);
        meanwhile(&folder, 3, &[("other", Some("3"))]);
        fold_naming(&folder, 10);
        meanwhile(&folder, 4, &[("other", Some("4"))]);
        fold_naming(&folder, 10);
        unknown()
    });
    let found = put(&seat, 2, &[("k", Some("2"))]).expect("found in the list");
    assert_eq!(found.pushes, 1);
    // It was not applied: then it is made on the checkpoint.
    let (folder, mut dead) = (Seat { unqueued: true, ..world.join() }, true);
    seat.on_publish(move |publish| {
        if !std::mem::take(&mut dead) {
            return publish();
        }
        fold_naming(&folder, 10);
        unknown()
    });
    assert_eq!(put(&seat, 5, &[("k", Some("5"))]).expect("the second attempt arrives").pushes, 2);
    // Somebody else has applied it, in a version that was replaced before its owner saw it: what came of it is read
    // from there.
    tip(&other);
    meanwhile(&other, 6, &[("k", Some("6"))]);
    fold_naming(&other, 10);
    puts(&other, [7]);
    let id = operation(6);
    let recovered: Told<Option<Vec<u8>>> = transact(
        &seat,
        &TestPace::default(),
        &request(&id, Some(Some(base))),
        |_, _| panic!("it was decided already"),
        |snapshot| snapshot.get(&key("k")),
    );
    assert_eq!(recovered.expect("found").value, Some(b"6".to_vec()));
    assert_eq!(applied(&seat), exactly_once(1..=7));
}

pub(super) fn a_checkpoint_that_was_seen_before_its_archive_hides_nothing<W: World>(world: &W) {
    let (one, early) = (world.join(), world.join());
    puts(&one, [1]);
    let base = tip(&early);
    puts(&one, [2, 3]);
    let replaced = tip(&one);
    fold_naming(&one, 10);
    // A server may show one ref of a push before the other.
    let archive = archive_ref(BOARD, &replaced);
    world.force(&archive, None);
    tip(&early);
    world.force(&archive, Some(&replaced.0));
    let id = operation(2);
    let recovered: Told<Option<Vec<u8>>> = transact(
        &early,
        &TestPace::default(),
        &request(&id, Some(Some(base))),
        |_, _| panic!("it was decided already"),
        |snapshot| snapshot.get(&key("k")),
    );
    assert_eq!(recovered.expect("found").value, Some(b"2".to_vec()));
}

pub(super) fn whoever_is_far_behind_follows_through_the_archives<W: World>(world: &W) {
    let (one, behind, lost) = (world.join(), world.join(), world.join());
    puts(&one, [1]);
    let seen = tip(&behind);
    tip(&lost);
    for n in [2, 4] {
        puts(&one, [n, n + 1]);
        // It names nothing but what it replaced.
        fold_naming(&one, 1);
    }
    puts(&one, [6]);
    // An operation is found there, too.
    let id = operation(2);
    let recovered: Told<Option<Vec<u8>>> = transact(
        &behind,
        &TestPace::default(),
        &request(&id, Some(Some(seen))),
        |_, _| panic!("it was decided already"),
        |snapshot| snapshot.get(&key("k")),
    );
    assert_eq!(recovered.expect("found").value, Some(b"2".to_vec()));
    assert_eq!(behind.cached(), Ok(Some(tip(&one))));
    puts(&behind, [7]);
    if !W::SHARED {
        // Once they are forgotten, nobody can tell that from a ledger that went back.
        let chain = one.history(&tip(&one), None, usize::MAX).expect("readable");
        let newest = chain.iter().find_map(|entry| Message::replaced_in(&entry.message)).expect("it was folded");
        world.force(&archive_ref(BOARD, &Version(newest.to_owned())), None);
        assert!(matches!(lost.refresh(), Err(Fault::Integrity { .. })));
    }
}

pub(super) fn a_ledger_that_goes_back_across_a_fold_is_a_fault<W: World>(world: &W) {
    let (one, two) = (world.join(), world.join());
    puts(&one, 1..=3);
    let before = tip(&two);
    let checkpoint = fold_naming(&one, 10).to.expect("it was folded");
    puts(&one, [4]);
    let seen = tip(&two);
    if W::SHARED {
        // The ref is all there is to remember it by.
        return;
    }
    // Checkpoints of other ledgers, and one of this that another has made of what it was.
    let stranger = world.join();
    let other = stranger
        .write(None, &batch(&[("k", Some("other"))]), &message("m", &[], &operation(99)), AT_SECS)
        .expect("written");
    stranger.refresh().expect("the truth answers");
    assert_eq!(stranger.bring(&before), Ok(true), "it is in the archive");
    let forged = |tip: &Version, nonce: u64| {
        let text = format!("checkpoint\n\nScrum-Nonce: {}\nScrum-Checkpoint: {tip}\n", operation(nonce));
        stranger.write_checkpoint(tip, &Batch::default(), &text, AT_SECS).expect("written")
    };
    let (of_other, rival) = (forged(&other, 98), forged(&before, 97));
    assert_eq!(stranger.publish(Some(&seen), &of_other, &[]), Ok(Outcome::Applied), "with force anything can be done");
    assert_eq!(stranger.publish(Some(&of_other), &rival, &[]), Ok(Outcome::Applied));
    let back = [
        ("what was replaced", &before),
        ("the checkpoint", &checkpoint),
        ("a checkpoint of another ledger", &of_other),
        ("another checkpoint of the same", &rival),
    ];
    for (what, to) in back {
        world.force(BOARD, Some(&to.0));
        let refreshed = two.refresh();
        assert!(matches!(refreshed, Err(Fault::Integrity { .. })), "it became {what}, and that was {refreshed:?}");
        let told = put(&two, 5, &[("k", Some("5"))]);
        assert!(matches!(told, Err(TransactError::Fault(Fault::Integrity { .. }))), "{what}: {told:?}");
        assert_eq!(two.cached(), Ok(Some(seen.clone())), "what was seen is not forgotten");
    }
    // Restored, it is as good as before.
    world.force(BOARD, Some(&seen.0));
    puts(&two, [5]);
    assert_eq!(applied(&two), exactly_once(1..=5));
}

pub(super) fn a_fold_that_is_not_alone_folds_what_there_is<W: World>(world: &W) {
    let (one, two) = (world.join(), world.join());
    puts(&one, 1..=2);
    tip(&two);
    // Somebody writes in between: what they wrote is folded, too.
    let mut first = true;
    one.on_publish(move |publish| {
        if std::mem::take(&mut first) {
            meanwhile(&two, 3, &[("other", Some("3"))]);
        }
        publish()
    });
    let folded = fold_naming(&one, 10);
    assert_eq!((folded.versions, one.publications.get()), (3, 4), "two puts, a fold that lost, and one that won");
    assert_eq!(applied(&one), exactly_once(1..=3));
    // It was folded, and only the answer was lost.
    let before = one.publications.get();
    one.on_publish(|publish| publish().and_then(|_| unknown()));
    let folded = fold_naming(&one, 10);
    assert_eq!((folded.to, one.publications.get()), (Some(tip(&one)), before + 1));
    // Looking changes nothing, and nothing is done where it is not worth it.
    let now = tip(&one);
    for request in
        [FoldRequest { dry_run: true, ..request_to_fold(10) }, FoldRequest { versions_min: 2, ..request_to_fold(10) }]
    {
        let folded = fold(&one, &TestPace::default(), &request).expect("no fault").expect("a ledger");
        assert_eq!((folded.to, folded.worth_it, tip(&one)), (None, request.dry_run, now.clone()));
    }
    let empty = W::new().expect("one more world can be had");
    assert!(matches!(fold(&empty.join(), &TestPace::default(), &request_to_fold(1)), Ok(None)));
}

#[test]
fn a_checkpoint_that_does_not_hold_what_it_replaced_is_noticed() {
    let world = File::new().expect("files can be had everywhere");
    let (one, two) = (world.join(), world.join());
    puts(&one, 1..=2);
    let seen = tip(&two);
    puts(&one, [3]);
    let replaced = tip(&one);
    let folded = fold_naming(&one, 10).to.expect("it was folded");
    // The same, but for one record.
    let mut list = list_of(&one, &folded).expect("readable");
    list.put(key("k"), "forged");
    let text = chain(&one)[0].message.clone();
    let forged = one.write_checkpoint(&replaced, &list, &text, AT_SECS).expect("written");
    assert_eq!(one.publish(Some(&folded), &forged, &[]), Ok(Outcome::Applied), "with force anything can be done");
    let refreshed = two.refresh();
    assert!(matches!(&refreshed, Err(Fault::Integrity { what }) if what.contains("does not hold")), "{refreshed:?}");
    assert_eq!(two.cached(), Ok(Some(seen)));
}

#[test]
fn where_refs_cannot_move_together_what_is_replaced_is_kept_first() {
    let world = File::new().expect("files can be had everywhere");
    world.0.configure("receive.advertiseAtomic", "false");
    let (one, two) = (world.join(), world.join());
    puts(&one, 1..=2);
    let replaced = tip(&two);
    let folded = fold_naming(&one, 10);
    assert_eq!(folded.to, Some(tip(&two)));
    assert_eq!(world.truth(&archive_ref(BOARD, &replaced)), Some(replaced.0));
    assert_eq!(applied(&two), exactly_once(1..=2));
}

#[test]
fn an_archive_that_is_there_already_is_in_nobodys_way() {
    fn check<W: World>() {
        let world = W::new().expect("this world can be had everywhere");
        let one = world.join();
        puts(&one, 1..=2);
        // A fold that was killed between the two refs, where they do not move together.
        let replaced = tip(&one);
        world.force(&archive_ref(BOARD, &replaced), Some(&replaced.0));
        assert_eq!(fold_naming(&one, 10).to, Some(tip(&one)));
    }
    check::<Memory>();
    check::<Local>();
    check::<File>();
}
