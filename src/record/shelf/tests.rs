//! A shelf against the simplest thing that does the same: a map.

use std::rc::Rc;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::ledger::{MemoryClone, MemoryRemote, Message};

/// A record of any size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Book {
    number: u64,
    text: String,
}

impl Shelved for Book {
    fn shelf_key(&self) -> String {
        numbered(self.number)
    }
}

/// A record whose place says nothing about its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    place: u8,
    name: String,
}

impl Shelved for Named {
    fn shelf_key(&self) -> String {
        format!("{:02x}.{}", self.place, self.name)
    }
}

struct Library {
    store: MemoryClone,
    tip: Option<crate::ledger::Version>,
    writes: u64,
    shelf: Shelf,
}

impl Library {
    fn new(leaf_bytes: usize) -> Library {
        let store = MemoryClone::new(Rc::new(MemoryRemote::default()), "refs/scrum/board");
        Library { store, tip: None, writes: 0, shelf: Shelf::new("books/a", "books", leaf_bytes) }
    }

    fn snapshot(&self) -> Option<Snapshot<'_, MemoryClone>> {
        self.tip.clone().map(|tip| Snapshot::new(&self.store, tip))
    }

    /// Makes the edits, and gives how many leaves were written or removed.
    fn edit<T: Shelved>(&mut self, edits: Edits<T>) -> usize {
        let mut batch = Batch::default();
        self.shelf.edit(self.snapshot().as_ref(), &mut batch, edits).expect("small records");
        self.writes += 1;
        let nonce = format!("{:032x}", self.writes);
        let message = Message { lines: vec!["edit".into()], operations: vec![], nonce };
        self.tip = Some(self.store.write(self.tip.as_ref(), &batch, &message, 0).expect("memory"));
        batch.iter().count()
    }

    fn all<T: Shelved>(&self) -> Vec<T> {
        let mut all = Vec::new();
        if let Some(snapshot) = self.snapshot() {
            let flow = self.shelf.visit(&snapshot, |record| {
                all.push(record);
                Ok(ControlFlow::Continue(()))
            });
            assert_eq!(flow, Ok(ControlFlow::Continue(())));
        }
        all
    }

    fn leaves(&self) -> Vec<(String, usize)> {
        let Some(snapshot) = self.snapshot() else { return Vec::new() };
        let names = self.shelf.bounds(&snapshot).expect("memory");
        let size = |name: &String| snapshot.get(&self.shelf.key(name)).expect("memory").expect("a leaf").len();
        names.iter().map(|name| (name.clone(), size(name))).collect()
    }
}

fn book(number: u64, length: usize) -> (String, Option<Book>) {
    let book = Book { number, text: "x".repeat(length) };
    (book.shelf_key(), Some(book))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_holds_what_a_map_holds(
        rounds in vec(btree_map(0_u64..60, option::of(0_usize..300), 1..8), 1..25)
    ) {
        let mut library = Library::new(600);
        let mut map: BTreeMap<String, Book> = BTreeMap::new();
        for round in rounds {
            let edits: Edits<Book> = round
                .into_iter()
                .map(|(number, length)| match length {
                    Some(length) => book(number, length),
                    None => (numbered(number), None),
                })
                .collect();
            for (key, record) in &edits {
                match record {
                    Some(record) => map.insert(key.clone(), record.clone()),
                    None => map.remove(key),
                };
            }
            library.edit(edits);
            prop_assert_eq!(library.all::<Book>(), map.values().cloned().collect::<Vec<_>>());
            for (name, bytes) in library.leaves() {
                prop_assert!(bytes < 700, "{} has {} bytes", name, bytes);
            }
            let snapshot = library.snapshot().expect("something was written");
            for number in 0..60 {
                let found: Option<Book> = library.shelf.find(&snapshot, &numbered(number)).expect("it is readable");
                prop_assert_eq!(found.as_ref(), map.get(&numbered(number)));
            }
        }
    }
}

#[test]
fn what_comes_in_order_fills_leaves() {
    let mut library = Library::new(1_000);
    for number in 0..200 {
        let written = library.edit([book(number, 20)].into());
        assert!(written <= 2, "one more record is one leaf, or the last one and a new one");
    }
    let leaves = library.leaves();
    assert!(leaves[..leaves.len() - 1].iter().all(|(_, bytes)| *bytes > 800), "{leaves:?}");
}

#[test]
fn what_is_taken_away_leaves_no_crumbs() {
    let mut library = Library::new(1_000);
    library.edit((0..200).map(|number| book(number, 20)).collect::<Edits<Book>>());
    let full = library.leaves().len();
    // One in ten stays.
    for number in (0..200).filter(|number| number % 10 != 0) {
        library.edit::<Book>([(numbered(number), None)].into());
    }
    assert_eq!(library.all::<Book>().len(), 20);
    assert!(library.leaves().len() <= full / 3, "{:?}", library.leaves());
    library.edit::<Book>((0..200).map(|number| (numbered(number), None)).collect());
    assert_eq!(library.leaves(), []);
}

#[test]
fn records_of_one_place_stay_together_however_large() {
    let mut library = Library::new(100);
    let named = |place: u8, name: &str| Named { place, name: name.repeat(30) };
    let all = [named(3, "a"), named(3, "b"), named(3, "c"), named(7, "d")];
    library.edit(all.iter().map(|record| (record.shelf_key(), Some(record.clone()))).collect());
    assert_eq!(library.leaves().len(), 2);
    assert_eq!(library.all::<Named>(), all);
    let snapshot = library.snapshot().expect("written");
    for record in &all {
        assert_eq!(library.shelf.find(&snapshot, &record.shelf_key()), Ok(Some(record.clone())));
    }
}

#[test]
fn a_record_that_is_too_large_is_refused_whole() {
    let library = Library::new(1_000);
    let mut batch = Batch::default();
    let edits: Edits<Book> = [book(1, 70_000)].into();
    let refused = library.shelf.edit(library.snapshot().as_ref(), &mut batch, edits);
    assert!(matches!(refused, Err(Fault::TooLarge { size, .. }) if size > 70_000), "{refused:?}");
}

#[test]
fn a_leaf_out_of_order_is_no_leaf() {
    for body in [
        "",
        "record = []\n",
        "[[record]]\nnumber = 2\ntext = \"\"\n[[record]]\nnumber = 1\ntext = \"\"\n",
        "[[record]]\nnumber = 1\ntext = \"\"\n[[record]]\nnumber = 1\ntext = \"\"\n",
        // Of an earlier leaf.
        "[[record]]\nnumber = 0\ntext = \"\"\n",
    ] {
        let mut library = Library::new(1_000);
        library.edit([book(1, 1)].into());
        let mut batch = Batch::default();
        batch.put(library.shelf.key(&numbered(1)), format!("version = 1\n{body}"));
        let message = Message { lines: vec!["tamper".into()], operations: vec![], nonce: "f".repeat(32) };
        library.tip = Some(library.store.write(library.tip.as_ref(), &batch, &message, 0).expect("memory"));
        let snapshot = library.snapshot().expect("written");
        let found: Result<Option<Book>, Fault> = library.shelf.find(&snapshot, &numbered(1));
        assert!(matches!(found, Err(Fault::Integrity { .. })), "{body:?}: {found:?}");
    }
}

#[test]
fn ids_that_are_alike_are_spread() {
    let mut first_digits: BTreeMap<char, u32> = BTreeMap::new();
    for number in 0..1_600 {
        let key = spread(&number.to_string());
        *first_digits.entry(key.chars().next().expect("a digit")).or_default() += 1;
    }
    assert_eq!(first_digits.len(), 16);
    assert!(first_digits.values().all(|count| (60..150).contains(count)), "{first_digits:?}");
}
