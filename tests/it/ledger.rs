//! One suite for every ledger: in memory, on a local ref, and on a remote reached as a file, over HTTP and over ssh.
//!
//! What [`Store`] and [`transact`] promise is written down once, as functions over a [`World`], and every implementation
//! is held against it. Below the suite stand the promises that only a kind of server can put to the test: refusals, lock
//! files, lost answers, and what an operation costs.
//!
//! Nothing here waits for a clock: what is to happen "meanwhile" happens in a hook on the publication or on the pause
//! in question, so that a slow machine sees the same order of events as a fast one.

#![expect(clippy::disallowed_methods, reason = "tests prepare and inspect repositories behind the ledger's back")]

mod folds;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use git_scrum::agent::SystemHost;
use git_scrum::git::Git;
use git_scrum::ledger::{
    Author, Batch, ChainEntry, Committed, Decision, Fault, GitStore, Intent, Key, MemoryClone, MemoryRemote, Message,
    Offering, Outcome, Pace, Place, RefUpdate, Request, Round, Sharing, Snapshot, Store, TransactError, Truth,
    VALUE_BYTES_MAX, Version, transact,
};

use folds::{
    a_checkpoint_that_was_seen_before_its_archive_hides_nothing, a_fold_disturbs_no_reader,
    a_fold_that_is_not_alone_folds_what_there_is, a_ledger_that_goes_back_across_a_fold_is_a_fault,
    a_writer_in_doubt_finds_its_operation_across_folds, whoever_is_far_behind_follows_through_the_archives,
};

use crate::support::{Fault as ServerFault, HttpServer, RemoteKind, Sandbox, TestRemote};

/// The ledger of every test.
const BOARD: &str = "refs/scrum/board";
/// A ref that moves along with it.
const SIDE: &str = "refs/heads/side";
/// The time of every version.
const AT_SECS: u64 = 1_790_000_000;

// ---------------------------------------------------------------------------------------------------------------------
// The worlds

/// A truth and the clones that look at it.
trait World: Sized {
    /// The ledger of one clone.
    type Ledger: Store + 'static;
    /// Whether every clone sees at once what another has written, because they are one repository.
    const SHARED: bool = false;

    /// A world without a ledger; `None` where it cannot be had on this machine, which has been said by then.
    fn new() -> Option<Self>;
    /// One more clone, which has seen nothing yet.
    fn join(&self) -> Seat<Self::Ledger>;
    /// What a ref is at the truth.
    fn truth(&self, name: &str) -> Option<String>;
    /// Sets a ref at the truth, as a person with force would.
    fn force(&self, name: &str, to: Option<&str>);
    /// A new object, in this clone, to which it may move a ref.
    fn object(&self, seat: &Seat<Self::Ledger>, name: &str) -> String;
}

/// What stands between a caller and a publication: it may let it through, before or after something else, or not.
type OnPublish = Box<dyn FnMut(&dyn Fn() -> Published) -> Published>;
type Published = Result<Outcome, Fault>;

/// The ledger of one clone, watched.
struct Seat<S> {
    ledger: S,
    /// The clone's directory, if it is on the disk.
    directory: PathBuf,
    publications: Cell<u32>,
    on_publish: RefCell<Option<OnPublish>>,
    /// Whether the truth has stopped answering.
    cut_off: Rc<Cell<bool>>,
    /// Whether it stands in nobody's queue: for what happens while somebody of the same clone is at work.
    unqueued: bool,
}

impl<S: Store> Seat<S> {
    fn new(ledger: S, directory: PathBuf) -> Seat<S> {
        let (publications, on_publish, cut_off) = (Cell::new(0), RefCell::new(None), Rc::default());
        Seat { ledger, directory, publications, on_publish, cut_off, unqueued: false }
    }

    /// Puts something between the caller and every publication from now on.
    fn on_publish(&self, hook: impl FnMut(&dyn Fn() -> Published) -> Published + 'static) {
        *self.on_publish.borrow_mut() = Some(Box::new(hook));
    }
}

impl<S: Store> Store for Seat<S> {
    fn in_turn<R>(&self, work: impl FnOnce() -> R) -> Result<R, Fault> {
        if self.unqueued { Ok(work()) } else { self.ledger.in_turn(work) }
    }
    fn cached(&self) -> Result<Option<Version>, Fault> {
        self.ledger.cached()
    }
    fn refresh(&self) -> Result<Option<Version>, Fault> {
        if self.cut_off.get() {
            return Err(Fault::Network { place: "origin".into(), said: "the test has cut the line".into() });
        }
        self.ledger.refresh()
    }
    fn get(&self, version: &Version, key: &Key) -> Result<Option<Vec<u8>>, Fault> {
        self.ledger.get(version, key)
    }
    fn names(&self, version: &Version, directory: &str) -> Result<Vec<String>, Fault> {
        self.ledger.names(version, directory)
    }
    fn scan(
        &self,
        version: &Version,
        prefix: &str,
        visit: &mut dyn FnMut(&str, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        self.ledger.scan(version, prefix, visit)
    }
    fn write(&self, parent: Option<&Version>, batch: &Batch, message: &Message, at: u64) -> Result<Version, Fault> {
        self.ledger.write(parent, batch, message, at)
    }
    fn publish(&self, old: Option<&Version>, new: &Version, also: &[RefUpdate]) -> Result<Outcome, Fault> {
        self.publications.set(self.publications.get() + 1);
        let publish = || self.ledger.publish(old, new, also);
        match self.on_publish.borrow_mut().as_mut() {
            Some(hook) => hook(&publish),
            None => publish(),
        }
    }
    fn history(&self, tip: &Version, until: Option<&Version>, count_max: usize) -> Result<Vec<ChainEntry>, Fault> {
        self.ledger.history(tip, until, count_max)
    }
    fn write_checkpoint(&self, tip: &Version, list: &Batch, message: &str, at: u64) -> Result<Version, Fault> {
        self.ledger.write_checkpoint(tip, list, message, at)
    }
    fn replace(&self, tip: &Version, checkpoint: &Version) -> Result<Outcome, Fault> {
        self.publications.set(self.publications.get() + 1);
        let publish = || self.ledger.replace(tip, checkpoint);
        match self.on_publish.borrow_mut().as_mut() {
            Some(hook) => hook(&publish),
            None => publish(),
        }
    }
    fn bring(&self, replaced: &Version) -> Result<bool, Fault> {
        self.ledger.bring(replaced)
    }
    fn contended(&self) -> bool {
        self.ledger.contended()
    }
    fn set_contended(&self, contended: bool) {
        self.ledger.set_contended(contended);
    }
}

struct Memory(Rc<MemoryRemote>);

impl World for Memory {
    type Ledger = MemoryClone;

    fn new() -> Option<Self> {
        Some(Memory(MemoryRemote::new()))
    }
    fn join(&self) -> Seat<MemoryClone> {
        Seat::new(MemoryClone::new(Rc::clone(&self.0), BOARD), PathBuf::new())
    }
    fn truth(&self, name: &str) -> Option<String> {
        self.0.read_ref(name)
    }
    fn force(&self, name: &str, to: Option<&str>) {
        self.0.force_ref(name, to);
    }
    fn object(&self, _: &Seat<MemoryClone>, name: &str) -> String {
        format!("object-{name}")
    }
}

/// A world of real repositories; without a remote, one repository that is its own truth.
struct Repositories {
    sandbox: Sandbox,
    remote: Option<TestRemote>,
    joined: Cell<u32>,
}

/// All that is needed to open a clone's ledger, in any thread.
#[derive(Clone)]
struct Recipe {
    directory: PathBuf,
    environment: Vec<(String, String)>,
    truth: Truth,
}

impl Recipe {
    fn open(&self) -> GitStore {
        for name in git_scrum::git::LOCAL_VARIABLES {
            assert!(std::env::var_os(name).is_none(), "{name} is set: these tests cannot run inside a git hook");
        }
        let place = Rc::new(Place::discover(&self.directory).expect("the clone was just made"));
        let git = self.environment.iter().fold(Git::at(&self.directory), |git, (name, value)| {
            // What the sandbox settles, and nothing of the user's own configuration.
            git.with_variable(name, value.as_str())
        });
        let author = Author { name: "Ada Example".into(), email: "ada@example.test".into() };
        GitStore::new(&place, git, self.truth.clone(), author, BOARD)
    }
}

impl Repositories {
    fn with_remote(kind: RemoteKind) -> Option<Repositories> {
        let mut sandbox = Sandbox::new();
        let remote = TestRemote::new(&mut sandbox, kind, "origin")?;
        Some(Repositories { sandbox, remote: Some(remote), joined: Cell::new(0) })
    }

    fn local() -> Repositories {
        let sandbox = Sandbox::new();
        sandbox.git(sandbox.root(), &["init", "--quiet", "local"]);
        Repositories { sandbox, remote: None, joined: Cell::new(0) }
    }

    /// How to open one more clone.
    fn recipe(&self) -> Recipe {
        let nth = self.joined.replace(self.joined.get() + 1);
        let (name, truth) = match &self.remote {
            None => ("local".to_owned(), Truth::Local),
            Some(remote) => {
                let name = format!("clone-{nth}");
                self.sandbox.git(self.sandbox.root(), &["init", "--quiet", &name]);
                (name, Truth::Remote { name: "origin".into(), url: remote.url().to_owned() })
            }
        };
        let command = self.sandbox.command("git");
        let text = |text: &std::ffi::OsStr| text.to_str().expect("the sandbox is named in UTF-8").to_owned();
        let environment = command.get_envs().filter_map(|(name, value)| Some((text(name), text(value?)))).collect();
        Recipe { directory: self.sandbox.path(name), environment, truth }
    }

    fn seat(&self) -> Seat<GitStore> {
        let recipe = self.recipe();
        Seat::new(recipe.open(), recipe.directory)
    }

    /// The repository that is the truth.
    fn truth_directory(&self) -> PathBuf {
        match &self.remote {
            Some(remote) => remote.bare().to_owned(),
            None => self.sandbox.path("local/.git"),
        }
    }

    fn http(&self) -> &HttpServer {
        self.remote.as_ref().and_then(TestRemote::http).expect("an HTTP remote has a server")
    }

    fn at_truth(&self, name: &str) -> Option<String> {
        let output = self.sandbox.try_git(self.truth_directory(), &["rev-parse", "--verify", "--quiet", name]);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    fn set_truth(&self, name: &str, to: Option<&str>) {
        let args = match to {
            Some(to) => vec!["update-ref", name, to],
            None => vec!["update-ref", "-d", name],
        };
        self.sandbox.git(self.truth_directory(), &args);
    }

    fn commit_object(&self, directory: &Path, name: &str) -> String {
        let tree = self.sandbox.git(directory, &["hash-object", "-w", "-t", "tree", "/dev/null"]);
        self.sandbox.git(directory, &["commit-tree", &tree, "-m", name])
    }

    /// Installs a hook at the truth.
    fn hook(&self, name: &str, script: &str) {
        let directory = self.truth_directory().join("hooks");
        fs::create_dir_all(&directory).expect("the sandbox is writable");
        let path = directory.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("the sandbox is writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    }

    fn configure(&self, key: &str, value: &str) {
        self.sandbox.git(self.truth_directory(), &["config", key, value]);
    }
}

macro_rules! git_world {
    ($name:ident, shared: $shared:literal, $make:expr) => {
        struct $name(Repositories);

        impl World for $name {
            type Ledger = GitStore;
            const SHARED: bool = $shared;

            fn new() -> Option<Self> {
                Some($name($make?))
            }
            fn join(&self) -> Seat<GitStore> {
                self.0.seat()
            }
            fn truth(&self, name: &str) -> Option<String> {
                self.0.at_truth(name)
            }
            fn force(&self, name: &str, to: Option<&str>) {
                self.0.set_truth(name, to);
            }
            fn object(&self, seat: &Seat<GitStore>, name: &str) -> String {
                self.0.commit_object(&seat.directory, name)
            }
        }
    };
}

git_world!(Local, shared: true, Some(Repositories::local()));
git_world!(File, shared: false, Repositories::with_remote(RemoteKind::File));
git_world!(Http, shared: false, Repositories::with_remote(RemoteKind::Http));
git_world!(Ssh, shared: false, Repositories::with_remote(RemoteKind::Ssh));

// ---------------------------------------------------------------------------------------------------------------------
// The words in which the tests are told

/// Patience without waiting: pauses are counted, and something may happen in them.
#[derive(Default)]
struct TestPace {
    pauses: Cell<u32>,
    on_pause: RefCell<Option<Box<dyn FnMut()>>>,
}

impl Pace for TestPace {
    fn now_secs(&self) -> u64 {
        AT_SECS
    }
    fn wait(&self, _: Duration) {
        self.pauses.set(self.pauses.get() + 1);
        if let Some(hook) = self.on_pause.borrow_mut().as_mut() {
            hook();
        }
    }
    fn nonce(&self) -> String {
        SystemHost::new(None).nonce()
    }
    fn below(&self, _: u64) -> u64 {
        0
    }
}

/// The id of the `n`th operation.
fn operation(n: u64) -> String {
    format!("{n:032x}")
}

fn key(text: &str) -> Key {
    Key::new(text)
}

fn batch(changes: &[(&str, Option<&str>)]) -> Batch {
    let mut batch = Batch::default();
    for (text, value) in changes {
        match value {
            Some(value) => batch.put(key(text), *value),
            None => batch.delete(key(text)),
        }
    }
    batch
}

fn message(line: &str, operations: &[String], nonce: &str) -> Message {
    Message { lines: vec![line.to_owned()], operations: operations.to_vec(), nonce: nonce.to_owned() }
}

type Told<T> = Result<Committed<T>, TransactError<Fault>>;

/// One transaction of one operation that makes `changes`, whatever it finds.
fn put(seat: &impl Store, n: u64, changes: &[(&str, Option<&str>)]) -> Told<()> {
    put_along(seat, n, changes, &[])
}

fn put_along(seat: &impl Store, n: u64, changes: &[(&str, Option<&str>)], also: &[RefUpdate]) -> Told<()> {
    let commit = || commit(batch(changes), also.to_vec(), ());
    run(seat, &TestPace::default(), n, |_| Ok(commit()))
}

/// One transaction of one operation, which must not be found applied by anybody else.
fn run<S: Store, T>(
    seat: &S,
    pace: &impl Pace,
    n: u64,
    mut decide: impl FnMut(Option<&Snapshot<'_, S>>) -> Result<Decision<T>, Fault>,
) -> Told<T> {
    let id = operation(n);
    let request = request(&id, None);
    let named = |decision| match decision {
        Decision::Commit { batch, also, value, .. } => {
            let (lines, operations) = (vec![format!("operation {n}")], vec![id.clone()]);
            Decision::Commit { batch, lines, operations, also, hint: None, value }
        }
        answer => answer,
    };
    let not_ours = |_: &Snapshot<'_, S>| -> Result<T, Fault> { panic!("operation {n} was found applied by others") };
    transact(seat, pace, &request, |snapshot, _| decide(snapshot).map(named), not_ours)
}

/// A request that goes its way alone.
fn request(operation: &str, resumed_from: Option<Option<Version>>) -> Request<'_> {
    Request { operation, at_secs: AT_SECS, fresh: false, resumed_from, sharing: Sharing::Alone }
}

/// A commit whose words do not matter.
fn commit<T>(batch: Batch, also: Vec<RefUpdate>, value: T) -> Decision<T> {
    Decision::Commit { batch, lines: vec![], operations: vec![], also, hint: None, value: Some(value) }
}

/// A transaction that takes `name` for `who` unless somebody has it, as a claim does.
fn take<S: Store>(seat: &S, n: u64, name: &str, who: &str) -> Told<Result<(), String>> {
    run(seat, &TestPace::default(), n, |snapshot| take_decision(snapshot, name, who))
}

fn take_decision<S: Store>(
    snapshot: Option<&Snapshot<'_, S>>,
    name: &str,
    who: &str,
) -> Result<Decision<Result<(), String>>, Fault> {
    let held = snapshot.map(|snapshot| snapshot.get(&key(name))).transpose()?.flatten();
    Ok(match held {
        Some(held) => Decision::Answer(Err(String::from_utf8_lossy(&held).into_owned())),
        None => commit(batch(&[(name, Some(who))]), Vec::new(), Ok(())),
    })
}

/// A change that somebody makes while another operation is under way, without standing in anybody's queue.
fn meanwhile(seat: &impl Store, n: u64, changes: &[(&str, Option<&str>)]) {
    let tip = tip(seat);
    let message = message("meanwhile", &[operation(n)], &TestPace::default().nonce());
    let version = seat.write(Some(&tip), &batch(changes), &message, AT_SECS).expect("written");
    assert_eq!(seat.publish(Some(&tip), &version, &[]), Ok(Outcome::Applied), "nobody is faster");
}

/// What is at `name` in the version that the truth has now.
fn read(seat: &impl Store, name: &str) -> Option<String> {
    let version = seat.refresh().expect("the truth answers").expect("there is a ledger");
    let value = seat.get(&version, &key(name)).expect("the ledger is readable");
    value.map(|value| String::from_utf8(value).expect("tests write text"))
}

/// Every key below `prefix`, in the order in which they are visited.
fn keys_below(seat: &impl Store, version: &Version, prefix: &str) -> Vec<String> {
    let mut keys = Vec::new();
    let visited = seat.scan(version, prefix, &mut |key, _| {
        keys.push(key.to_owned());
        ControlFlow::Continue(())
    });
    visited.expect("the ledger is readable");
    keys
}

fn tip(seat: &impl Store) -> Version {
    seat.refresh().expect("the truth answers").expect("there is a ledger")
}

fn chain(seat: &impl Store) -> Vec<ChainEntry> {
    seat.history(&tip(seat), None, usize::MAX).expect("the chain is readable")
}

/// How often each operation was applied, along one linear chain.
fn applied(seat: &impl Store) -> BTreeMap<String, u32> {
    let chain = chain(seat);
    for (entry, before) in chain.iter().zip(chain.iter().skip(1).map(Some).chain([None])) {
        assert_eq!(entry.parent.as_ref(), before.map(|before| &before.version), "the chain is not linear");
    }
    let mut times = BTreeMap::new();
    for entry in &chain {
        for id in Message::operations_in(&entry.message) {
            *times.entry(id.to_owned()).or_default() += 1;
        }
    }
    times
}

fn exactly_once(numbers: impl IntoIterator<Item = u64>) -> BTreeMap<String, u32> {
    numbers.into_iter().map(|n| (operation(n), 1)).collect()
}

fn moved(name: &str, old: Option<&str>, new: Option<&str>) -> RefUpdate {
    RefUpdate { name: name.to_owned(), old: old.map(str::to_owned), new: new.map(str::to_owned) }
}

/// The lock file of a ref in the repository that is the truth, as a killed process leaves it.
fn leave_lock(world: &Repositories, name: &str) -> PathBuf {
    let path = world.truth_directory().join(format!("{name}.lock"));
    fs::create_dir_all(path.parent().expect("a ref is in a directory")).expect("the sandbox is writable");
    fs::write(&path, "").expect("the sandbox is writable");
    path
}

// ---------------------------------------------------------------------------------------------------------------------
// The suite

macro_rules! suite {
    (together: $together:ident as $all:ident keeping $($kept:ident),+; each: $($each:ident as $module:ident),+; promises: $($promise:ident),+ $(,)?) => {
        /// In one test, and not every promise, because starting this server and connecting to it is slow.
        #[test]
        fn $all() {
            $(
                let Some(world) = <$together>::new() else { return };
                eprintln!("{} keeps: {}", stringify!($together), stringify!($kept));
                $kept(&world);
            )+
        }
        suite!(@each [$($each as $module),+] [$($promise),+]);
    };
    (@each [] $promises:tt) => {};
    (@each [$world:ident as $module:ident $(, $rest:ident as $more:ident)*] [$($promise:ident),+]) => {
        mod $module {
            use super::World;
            $(
                #[test]
                fn $promise() {
                    let world = <super::$world>::new().expect("this world can be had everywhere");
                    super::$promise(&world);
                }
            )+
        }
        suite!(@each [$($rest as $more),*] [$($promise),+]);
    };
}

suite! {
    together: Ssh as over_ssh keeping
        a_ledger_begins_empty_and_is_seen_by_others,
        a_loser_decides_again_on_what_won,
        other_refs_move_along_or_nothing_moves,
        an_operation_of_a_killed_process_is_found,
        a_ledger_that_goes_back_is_a_fault,
        a_checkpoint_that_was_seen_before_its_archive_hides_nothing,
        a_fold_disturbs_no_reader;
    each: Memory as memory, Local as local, File as file, Http as http;
    promises:
        a_ledger_begins_empty_and_is_seen_by_others,
        what_was_written_is_read_back,
        a_scan_visits_in_key_order_until_it_is_stopped,
        a_version_never_changes,
        history_is_the_chain_newest_first,
        whoever_publishes_from_an_old_version_loses,
        the_same_change_made_twice_is_two_versions,
        a_loser_decides_again_on_what_won,
        no_is_never_said_of_a_stale_cache,
        an_answer_without_a_change_publishes_nothing,
        other_refs_move_along_or_nothing_moves,
        an_unknown_outcome_is_looked_up,
        an_outcome_that_stays_unknown_is_called_unknown,
        an_operation_of_a_killed_process_is_found,
        having_met_others_makes_the_next_operation_ask_first,
        a_ledger_that_goes_back_is_a_fault,
        a_checkpoint_that_was_seen_before_its_archive_hides_nothing,
        a_fold_disturbs_no_reader,
        a_writer_in_doubt_finds_its_operation_across_folds,
        whoever_is_far_behind_follows_through_the_archives,
        a_ledger_that_goes_back_across_a_fold_is_a_fault,
        a_fold_that_is_not_alone_folds_what_there_is,
}

fn a_ledger_begins_empty_and_is_seen_by_others<W: World>(world: &W) {
    let (one, two) = (world.join(), world.join());
    assert_eq!(one.cached(), Ok(None));
    assert_eq!(one.refresh(), Ok(None));
    let begun = run(&one, &TestPace::default(), 1, |snapshot| {
        assert!(snapshot.is_none(), "there is nothing to read yet");
        Ok(commit(batch(&[("meta", Some("x"))]), vec![], ()))
    });
    let begun = begun.expect("an empty ledger can be begun");
    assert_eq!(begun.pushes, 1);
    let version = begun.version.expect("something was published");
    assert_eq!(world.truth(BOARD).as_ref(), Some(&version.0));
    assert_eq!(one.cached(), Ok(Some(version.clone())));
    assert_eq!(two.cached().is_ok_and(|seen| seen.is_some()), W::SHARED, "nobody sees what they did not ask for");
    assert_eq!(two.refresh(), Ok(Some(version.clone())));
    assert_eq!(two.cached(), Ok(Some(version)));
    assert_eq!(read(&two, "meta").as_deref(), Some("x"));
}

fn what_was_written_is_read_back<W: World>(world: &W) {
    let (one, two) = (world.join(), world.join());
    // As large as a value may be, with every byte in it: what is stored is not text to a ledger.
    let largest: Vec<u8> = (0..VALUE_BYTES_MAX).map(|n| u8::try_from(n % 251).expect("below 256")).collect();
    let deep = format!("deep/{}/end", ["d"; 6].join("/"));
    let names = ["top", "a/b", "a/b-c", "a/b.c", "a/bc", "a/c/d", "trains/release=2f1.0/car", deep.as_str()];
    let mut all = Batch::default();
    for name in names {
        all.put(key(name), name);
    }
    all.put(key("largest"), largest.clone());
    all.put(key("empty"), "");
    let mut batches = [Some(all), Some(batch(&[("a/b", Some("new")), ("a/c/d", None), ("never/was", None)]))];
    for (n, changes) in (1..).zip(&mut batches) {
        let mut changes = changes.take();
        let done = run(&one, &TestPace::default(), n, |_| {
            let batch = changes.take().expect("nobody is in the way: it is decided once");
            Ok(commit(batch, vec![], ()))
        });
        done.expect("the batch is published");
    }
    let version = tip(&two);
    let get = |name: &str| two.get(&version, &key(name)).expect("the ledger is readable");
    for name in names.iter().filter(|name| !["a/b", "a/c/d"].contains(name)) {
        assert_eq!(get(name).as_deref(), Some(name.as_bytes()), "{name}");
    }
    assert_eq!(get("a/b").as_deref(), Some(&b"new"[..]), "the later value");
    assert_eq!(get("largest"), Some(largest));
    assert_eq!(get("empty"), Some(Vec::new()), "an empty value is a value");
    for absent in ["a/c/d", "a/c", "a", "a/b/c", "never/was", "nowhere", "top/x"] {
        assert_eq!(get(absent), None, "{absent}");
    }
    assert_eq!(keys_below(&two, &version, "a/c"), [] as [&str; 0], "nothing is left of an emptied directory");
    assert_eq!(keys_below(&two, &version, "a"), ["a/b", "a/b-c", "a/b.c", "a/bc"]);
}

fn a_scan_visits_in_key_order_until_it_is_stopped<W: World>(world: &W) {
    let seat = world.join();
    // Directories and files whose names only differ in what follows: bytes before and after the slash.
    let mut names = ["p/a-x", "p/a.x", "p/a/1", "p/a/2/deep", "p/a/3", "p/a0", "p/a=", "p/a_x", "p/b", "q/z", "pp/z"];
    put(&seat, 1, &names.map(|name| (name, Some(name)))).expect("published");
    names.sort_unstable();
    let version = tip(&seat);
    let below_p: Vec<&str> = names.into_iter().filter(|name| name.starts_with("p/")).collect();
    assert_eq!(keys_below(&seat, &version, "p"), below_p);
    assert_eq!(keys_below(&seat, &version, "p/a"), ["p/a/1", "p/a/2/deep", "p/a/3"], "and not p/a-x or p/a0");
    for nothing in ["nowhere", "p/b", "p/a/2/deep", "p/a/4"] {
        assert_eq!(keys_below(&seat, &version, nothing), [] as [&str; 0], "{nothing} is no directory");
    }
    let listed = |directory: &str| seat.names(&version, directory).expect("it is readable");
    assert_eq!(listed("p"), ["a", "a-x", "a.x", "a0", "a=", "a_x", "b"], "one name for all that is below it");
    assert_eq!(listed("p/a"), ["1", "2", "3"]);
    assert_eq!(listed("nowhere"), [] as [&str; 0]);
    let mut visited = Vec::new();
    let stopped = seat.scan(&version, "p", &mut |key, value| {
        assert_eq!(key.as_bytes(), value);
        visited.push(key.to_owned());
        // In the middle of a directory: the directories above must stop too.
        if key == "p/a/2/deep" { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(stopped, Ok(()));
    assert_eq!(visited, ["p/a-x", "p/a.x", "p/a/1", "p/a/2/deep"]);
}

fn a_version_never_changes<W: World>(world: &W) {
    let seat = world.join();
    let first = put(&seat, 1, &[("k", Some("1"))]).expect("published").version.expect("a version");
    let second = put(&seat, 2, &[("k", Some("2"))]).expect("published").version.expect("a version");
    put(&seat, 3, &[("k", None)]).expect("published");
    assert_eq!(seat.get(&first, &key("k")), Ok(Some(b"1".to_vec())));
    assert_eq!(seat.get(&second, &key("k")), Ok(Some(b"2".to_vec())));
    assert_eq!(read(&seat, "k"), None);
    // Written and not published is not there.
    let unpublished =
        seat.write(Some(&second), &batch(&[("k", Some("x"))]), &message("m", &[], &operation(9)), AT_SECS);
    assert_ne!(seat.refresh(), unpublished.map(Some));
}

fn history_is_the_chain_newest_first<W: World>(world: &W) {
    let seat = world.join();
    let versions: Vec<Version> =
        (1..=4).map(|n| put(&seat, n, &[("k", Some("v"))]).expect("published").version.expect("a version")).collect();
    let chain = chain(&seat);
    let newest_first: Vec<Version> = versions.iter().rev().cloned().collect();
    assert_eq!(chain.iter().map(|entry| entry.version.clone()).collect::<Vec<_>>(), newest_first);
    assert_eq!(chain[3].parent, None);
    assert!(chain.iter().all(|entry| entry.at_secs == AT_SECS));
    assert_eq!(Message::lines_in(&chain[1].message).collect::<Vec<_>>(), ["operation 3"]);
    assert_eq!(Message::operations_in(&chain[1].message).collect::<Vec<_>>(), [operation(3)]);
    let since = seat.history(&versions[3], Some(&versions[1]), 100).expect("readable");
    assert_eq!(since.iter().map(|entry| &entry.version).collect::<Vec<_>>(), [&versions[3], &versions[2]]);
    assert_eq!(seat.history(&versions[3], None, 2).expect("readable").len(), 2);
    assert_eq!(seat.history(&versions[3], Some(&versions[3]), 9), Ok(Vec::new()));
    assert_eq!(applied(&seat), exactly_once(1..=4));
}

fn whoever_publishes_from_an_old_version_loses<W: World>(world: &W) {
    let (one, two) = (world.join(), world.join());
    let write = |seat: &Seat<W::Ledger>, parent: Option<&Version>, nonce: u64| {
        seat.write(parent, &batch(&[("k", Some("v"))]), &message("m", &[], &operation(nonce)), AT_SECS)
            .expect("written")
    };
    let lost = Ok(Outcome::Lost { ref_name: BOARD.to_owned() });
    // Both begin a ledger where there is none.
    let (first, rival) = (write(&one, None, 1), write(&two, None, 2));
    assert_eq!(one.publish(None, &first, &[]), Ok(Outcome::Applied));
    assert_eq!(two.publish(None, &rival, &[]), lost);
    assert_eq!(world.truth(BOARD), Some(first.0.clone()));
    // Both go on from the same version.
    two.refresh().expect("the truth answers");
    let (second, rival) = (write(&one, Some(&first), 3), write(&two, Some(&first), 4));
    assert_eq!(one.publish(Some(&first), &second, &[]), Ok(Outcome::Applied));
    assert_eq!(two.publish(Some(&first), &rival, &[]), lost);
    assert_eq!(world.truth(BOARD), Some(second.0.clone()));
    if !W::SHARED {
        assert_eq!(two.cached(), Ok(Some(first)), "losing teaches nothing: who wants to know has to ask");
    }
    assert_eq!(two.refresh(), Ok(Some(second)));
}

fn the_same_change_made_twice_is_two_versions<W: World>(world: &W) {
    // Byte for byte the same claim by two clones, at the same second, on the same version: only the nonce differs, and
    // without it git would tell both that the ref is at what they pushed (GIT_FACTS 1).
    let (one, two) = (world.join(), world.join());
    put(&one, 1, &[("meta", Some("x"))]).expect("published");
    let base = tip(&two);
    let write = |seat: &Seat<W::Ledger>| {
        let nonce = TestPace::default().nonce();
        seat.write(Some(&base), &batch(&[("claim", Some("ada"))]), &message("claim", &[operation(2)], &nonce), AT_SECS)
    };
    let (first, second) = (write(&one).expect("written"), write(&two).expect("written"));
    assert_ne!(first, second);
    let outcomes = [one.publish(Some(&base), &first, &[]), two.publish(Some(&base), &second, &[])];
    assert_eq!(outcomes, [Ok(Outcome::Applied), Ok(Outcome::Lost { ref_name: BOARD.to_owned() })]);
    assert_eq!(world.truth(BOARD), Some(first.0));
}

fn a_loser_decides_again_on_what_won<W: World>(world: &W) {
    let (one, two) = (world.join(), world.join());
    put(&one, 1, &[("meta", Some("x"))]).expect("published");
    tip(&two);
    // Independent changes: both are made.
    let mut decided = 0;
    let done = run(&two, &TestPace::default(), 2, |snapshot| {
        decided += 1;
        let seen = snapshot.expect("there is a ledger").get(&key("by-one"))?;
        assert_eq!(seen.is_some(), decided > 1, "it is decided on what is there now");
        if decided == 1 {
            meanwhile(&one, 3, &[("by-one", Some("1"))]);
        }
        Ok(commit(batch(&[("by-two", Some("2"))]), vec![], decided))
    });
    let done = done.expect("the second attempt wins");
    assert_eq!((done.value, done.pushes, decided), (2, 2, 2));
    assert_eq!((read(&one, "by-one"), read(&one, "by-two")), (Some("1".into()), Some("2".into())));
    // The same thing is wanted by both: the loser's answer changes.
    let mut first = true;
    let lost = run(&two, &TestPace::default(), 5, |snapshot| {
        let decision = take_decision(snapshot, "task", "two");
        if std::mem::take(&mut first) {
            meanwhile(&one, 4, &[("task", Some("one"))]);
        }
        decision
    });
    let lost = lost.expect("the transaction ends with an answer");
    assert_eq!((lost.value, lost.pushes), (Err("one".to_owned()), 1));
    assert_eq!(read(&two, "task").as_deref(), Some("one"));
    assert_eq!(applied(&one), exactly_once([1, 2, 3, 4]), "operation 5 was not applied");
}

fn no_is_never_said_of_a_stale_cache<W: World>(world: &W) {
    let (one, two) = (world.join(), world.join());
    take(&one, 1, "task", "one").expect("taken").value.expect("it was free");
    assert_eq!(take(&two, 2, "task", "two").expect("an answer").value, Err("one".to_owned()));
    // As far as two knows, one still has it.
    put(&one, 3, &[("task", None)]).expect("given back");
    let taken = take(&two, 4, "task", "two").expect("an answer");
    assert_eq!((taken.value, taken.pushes), (Ok(()), 1));
    assert_eq!(read(&one, "task").as_deref(), Some("two"));
}

fn an_answer_without_a_change_publishes_nothing<W: World>(world: &W) {
    let seat = world.join();
    let nothing = run(&seat, &TestPace::default(), 1, |snapshot| Ok(Decision::Answer(snapshot.is_none())));
    let nothing = nothing.expect("an answer");
    assert_eq!((nothing.value, nothing.pushes, nothing.version), (true, 0, None));
    put(&seat, 2, &[("k", Some("v"))]).expect("published");
    let (before, published) = (tip(&seat), seat.publications.get());
    let held = take(&seat, 3, "k", "me").expect("an answer");
    assert_eq!((held.value, held.pushes, held.version), (Err("v".to_owned()), 0, Some(before.clone())));
    assert_eq!((tip(&seat), seat.publications.get()), (before, published));
    // The caller's own fault goes through unchanged.
    let fault = run(&seat, &TestPace::default(), 4, |_| -> Result<Decision<()>, _> { Err(Fault::integrity("mine")) });
    assert!(matches!(fault, Err(TransactError::Decide(Fault::Integrity { what })) if what == "mine"));
}

fn other_refs_move_along_or_nothing_moves<W: World>(world: &W) {
    let (one, two) = (world.join(), world.join());
    let [a, b, c] = ["a", "b", "c"].map(|name| world.object(&two, name));
    put(&one, 1, &[("k", Some("1"))]).expect("published");
    tip(&two);
    put_along(&two, 2, &[("k", Some("2"))], &[moved(SIDE, None, Some(&a))]).expect("both move");
    assert_eq!((read(&one, "k").as_deref(), world.truth(SIDE)), (Some("2"), Some(a.clone())));
    // Losing the ledger alone is no reason to give up what moves along.
    put(&one, 3, &[("other", Some("x"))]).expect("published");
    let done = put_along(&two, 4, &[("k", Some("4"))], &[moved(SIDE, Some(&a), Some(&b))]).expect("both move");
    assert_eq!((read(&one, "k").as_deref(), world.truth(SIDE)), (Some("4"), Some(b.clone())));
    assert_eq!(done.pushes, if W::SHARED { 1 } else { 2 });
    // Somebody else has moved it: whether it is expected to be elsewhere or not to be there, nothing moves.
    let before = tip(&two);
    for (n, old) in [(5, Some(a.as_str())), (6, None)] {
        let told = put_along(&two, n, &[("k", Some("no"))], &[moved(SIDE, old, Some(&c))]);
        assert!(matches!(&told, Err(TransactError::Moved { ref_name }) if ref_name == SIDE), "{told:?}");
        assert_eq!((tip(&one), world.truth(SIDE)), (before.clone(), Some(b.clone())));
    }
    // Two of them, one of which is elsewhere.
    let along = [moved("refs/heads/other", None, Some(&a)), moved(SIDE, Some(&c), Some(&a))];
    let told = put_along(&two, 7, &[("k", Some("no"))], &along);
    assert!(matches!(&told, Err(TransactError::Moved { ref_name }) if ref_name == SIDE), "{told:?}");
    assert_eq!((tip(&one), world.truth("refs/heads/other")), (before, None));
    // And one that goes.
    put_along(&two, 8, &[("k", Some("8"))], &[moved(SIDE, Some(&b), None)]).expect("both move");
    assert_eq!((read(&one, "k").as_deref(), world.truth(SIDE)), (Some("8"), None));
    assert_eq!(applied(&one), exactly_once([1, 2, 3, 4, 8]));
}

const DEAD: &str = "the line went dead";

fn unknown() -> Published {
    Ok(Outcome::Unknown { reason: DEAD.to_owned() })
}

fn an_unknown_outcome_is_looked_up<W: World>(world: &W) {
    let (seat, other) = (world.join(), world.join());
    put(&seat, 1, &[("k", Some("1"))]).expect("published");
    // It was applied, and only the answer was lost.
    seat.on_publish(|publish| publish().and_then(|_| unknown()));
    let found = put(&seat, 2, &[("k", Some("2"))]).expect("found in the chain");
    assert_eq!((found.pushes, found.version), (1, Some(tip(&seat))));
    // It was applied, and somebody went on from there before it was looked up.
    tip(&other);
    seat.on_publish(move |publish| {
        publish()?;
        meanwhile(&other, 3, &[("other", Some("3"))]);
        unknown()
    });
    let found = put(&seat, 4, &[("k", Some("4"))]).expect("found in the chain, not at its tip");
    assert_eq!(found.pushes, 1);
    assert_ne!(found.version, Some(tip(&seat)), "the version it holds in is its own");
    assert_eq!(read(&seat, "other").as_deref(), Some("3"));
    // It was not applied: the line went dead before it arrived.
    let mut dead = true;
    seat.on_publish(move |publish| if std::mem::take(&mut dead) { unknown() } else { publish() });
    assert_eq!(put(&seat, 5, &[("k", Some("5"))]).expect("the second attempt arrives").pushes, 2);
    assert_eq!(read(&seat, "k").as_deref(), Some("5"));
    assert_eq!(applied(&seat), exactly_once(1..=5));
}

fn an_outcome_that_stays_unknown_is_called_unknown<W: World>(world: &W) {
    let seat = world.join();
    put(&seat, 1, &[("k", Some("1"))]).expect("published");
    // The line goes dead, and stays dead when the outcome is looked up.
    let cut_off = Rc::clone(&seat.cut_off);
    seat.on_publish(move |publish| {
        publish()?;
        cut_off.set(true);
        unknown()
    });
    let told = put(&seat, 2, &[("k", Some("2"))]);
    assert!(matches!(&told, Err(TransactError::Unknown { reason }) if reason == DEAD), "{told:?}");
    seat.cut_off.set(false);
    assert_eq!(read(&seat, "k").as_deref(), Some("2"), "it had arrived");
    // A no that the attempt on its way could yet contradict is not given.
    let mut first = true;
    seat.on_publish(|_| unknown());
    let told = run(&seat, &TestPace::default(), 3, |_| {
        let commit = commit(batch(&[("k", Some("3"))]), vec![], true);
        Ok(if std::mem::take(&mut first) { commit } else { Decision::Answer(false) })
    });
    assert!(matches!(&told, Err(TransactError::Unknown { .. })), "{told:?}");
    let before = seat.publications.get();
    // Every attempt gets lost: that is not somebody else being faster, and not to be tried for ever.
    let told = put(&seat, 4, &[("k", Some("4"))]);
    assert!(matches!(&told, Err(TransactError::Unknown { reason }) if reason == DEAD), "{told:?}");
    let attempts = seat.publications.get() - before;
    assert!(attempts <= 10, "{attempts} pushes to a server that answers none: pushes are what is scarce");
    assert_eq!(read(&seat, "k").as_deref(), Some("2"));
}

fn an_operation_of_a_killed_process_is_found<W: World>(world: &W) {
    let seat = world.join();
    put(&seat, 1, &[("k", Some("1"))]).expect("published");
    let base = tip(&seat);
    put(&seat, 2, &[("k", Some("2"))]).expect("published, and then the process is killed");
    put(&seat, 3, &[("other", Some("3"))]).expect("published");
    let resume = |n: u64, decide: &mut dyn FnMut() -> &'static str| {
        let id = operation(n);
        transact(
            &seat,
            &TestPace::default(),
            &request(&id, Some(Some(base.clone()))),
            |_, _| {
                let (batch, operations) = (batch(&[("resumed", Some("yes"))]), vec![id.clone()]);
                let value = decide().to_owned();
                Ok(Decision::Commit { batch, lines: vec![], operations, also: vec![], hint: None, value: Some(value) })
            },
            |snapshot| Ok(format!("recovered {:?}", snapshot.get(&key("k"))?.map(String::from_utf8))),
        )
    };
    let published = seat.publications.get();
    let told: Told<String> = resume(2, &mut || panic!("it was decided already"));
    let told = told.expect("found");
    assert_eq!((told.value.as_str(), told.pushes), ("recovered Some(Ok(\"2\"))", 0));
    assert_eq!(seat.publications.get(), published);
    // One that never arrived is made now.
    assert_eq!(resume(4, &mut || "decided").expect("published").value, "decided");
    assert_eq!(applied(&seat), exactly_once(1..=4));
}

fn having_met_others_makes_the_next_operation_ask_first<W: World>(world: &W) {
    let (one, two) = (world.join(), world.join());
    put(&one, 1, &[("k", Some("1"))]).expect("published");
    tip(&two);
    assert!(!two.contended());
    let mut first = true;
    let met = run(&two, &TestPace::default(), 2, |_| {
        if std::mem::take(&mut first) {
            meanwhile(&one, 3, &[("k", Some("3"))]);
        }
        Ok(commit(batch(&[("k2", Some("2"))]), vec![], ()))
    });
    met.expect("the second attempt wins");
    // Where there is nobody to ask there is nothing to remember.
    assert_eq!(two.contended(), !W::SHARED);
    put(&one, 4, &[("k", Some("4"))]).expect("published");
    let mut seen = Vec::new();
    let asked = run(&two, &TestPace::default(), 5, |snapshot| {
        seen.push(snapshot.map(|snapshot| snapshot.get(&key("k"))).transpose()?.flatten());
        Ok(commit(batch(&[("k2", Some("5"))]), vec![], ()))
    });
    assert_eq!(asked.expect("published").pushes, 1);
    assert_eq!(seen, [Some(b"4".to_vec())], "it is decided once, on the present version");
    put(&two, 6, &[("k2", Some("6"))]).expect("published");
    assert!(!two.contended(), "nobody was met");
}

fn a_ledger_that_goes_back_is_a_fault<W: World>(world: &W) {
    let (one, two) = (world.join(), world.join());
    put(&one, 1, &[("k", Some("1"))]).expect("published");
    let old = tip(&two);
    put(&one, 2, &[("k", Some("2"))]).expect("published");
    let seen = tip(&two);
    // Another history: begun by somebody who had seen nothing.
    let stranger = world.join();
    let other = stranger
        .write(None, &batch(&[("k", Some("other"))]), &message("m", &[], &operation(99)), AT_SECS)
        .expect("written");
    world.force(BOARD, None);
    if W::SHARED {
        // The ref was all there was to remember it by.
        assert_eq!(two.refresh(), Ok(None));
        return;
    }
    assert_eq!(stranger.publish(None, &other, &[]), Ok(Outcome::Applied), "for a stranger it is a new ledger");
    for (what, to) in [("went back", Some(&old)), ("became another", Some(&other)), ("vanished", None)] {
        world.force(BOARD, to.map(|version| version.0.as_str()));
        for _ in 0..2 {
            let refreshed = two.refresh();
            assert!(matches!(refreshed, Err(Fault::Integrity { .. })), "it {what}, and that was {refreshed:?}");
            assert_eq!(two.cached(), Ok(Some(seen.clone())), "what was seen is not forgotten");
        }
        let told = put(&two, 3, &[("k", Some("3"))]);
        assert!(matches!(told, Err(TransactError::Fault(Fault::Integrity { .. }))), "it {what}, and that was {told:?}");
        assert_eq!(world.truth(BOARD).as_ref(), to.map(|version| &version.0), "nothing is written over it");
        assert_eq!(two.cached(), Ok(Some(seen.clone())));
    }
    // Restored, it is as good as before.
    world.force(BOARD, Some(&seen.0));
    put(&two, 4, &[("k", Some("4"))]).expect("published");
    assert_eq!(applied(&two), exactly_once([1, 2, 4]));
}

// ---------------------------------------------------------------------------------------------------------------------
// What a ledger on git refs promises beside

#[test]
fn a_ledger_is_readable_with_plain_git() {
    let world = File::new().expect("files can be had everywhere");
    let seat = world.join();
    put(&seat, 1, &[("tasks/de/101", Some("title = \"one\"\n")), ("tasks/df/102", Some("x"))]).expect("published");
    put(&seat, 2, &[("tasks/df/102", None), ("meta", Some("m"))]).expect("published");
    let git = |args: &[&str]| world.0.sandbox.git(world.0.truth_directory(), args);
    assert_eq!(git(&["show", "refs/scrum/board:tasks/de/101"]), "title = \"one\"");
    assert_eq!(
        git(&["log", "--format=%s|%an|%ct", BOARD]),
        "operation 2|Ada Example|1790000000\noperation 1|Ada Example|1790000000"
    );
    assert_eq!(
        git(&["ls-tree", "-r", "-t", "--name-only", BOARD]),
        "meta\ntasks\ntasks/de\ntasks/de/101",
        "no empty directory"
    );
    assert_eq!(git(&["fsck", "--strict", "--no-progress"]), "");
    assert_eq!(git(&["for-each-ref", "--format=%(refname)"]), BOARD, "and nothing else was pushed");
    let in_clone = world.0.sandbox.git(&seat.directory, &["for-each-ref", "--format=%(refname)"]);
    assert_eq!(in_clone, "refs/scrum/remotes/origin/board", "and nothing else was fetched");
}

#[test]
fn whoever_loses_with_an_offer_does_not_send_the_whole_history() {
    const LANDMARK: &str = "refs/scrum/landmark";
    let world = File::new().expect("files can be had everywhere");
    let (winner, loser) = (world.join(), world.join());
    winner.ledger.take_part("refs/scrum/hosts/", "winner", LANDMARK.to_owned());
    loser.ledger.take_part("refs/scrum/hosts/", "loser", LANDMARK.to_owned());
    let publish = |seat: &Seat<GitStore>, old: Option<&Version>, nth: u64, intents: &[Intent]| {
        let message = message("a line", &[operation(nth)], &operation(nth));
        let new = seat.write(old, &batch(&[("key", Some(&nth.to_string()))]), &message, AT_SECS).expect("written");
        let offering = Offering { intents, kept: &[], at_secs: AT_SECS, settled: &[] };
        (seat.ledger.publish_offering(old, &new, &offering), new)
    };
    let mut tip = None;
    for nth in 1..=120 {
        let (outcome, new) = publish(&winner, tip.as_ref(), nth, &[]);
        assert_eq!(outcome, Ok(Outcome::Applied));
        tip = Some(new);
    }
    let git = |args: &[&str]| world.0.sandbox.git(world.0.truth_directory(), args);
    let objects = || {
        git(&["count-objects", "-v"])
            .lines()
            .filter_map(|line| {
                let (what, count) = line.split_once(": ")?;
                ["count", "in-pack"].contains(&what).then(|| count.parse::<usize>().expect("a number"))
            })
            .sum::<usize>()
    };
    let since: usize = git(&["rev-list", "--count", &format!("{LANDMARK}..{BOARD}")]).parse().expect("a number");
    assert!(since < 100, "one version in 32 or so moves it, and now it is {since} behind");

    let seen = loser.refresh().expect("it is there").expect("a version");
    publish(&winner, Some(&seen), 121, &[]).0.expect("published");
    let before = objects();
    let own = Intent { id: operation(122), base: seen.clone(), payload: b"an operation".to_vec() };
    let (outcome, _) = publish(&loser, Some(&seen), 122, &[own]);
    assert_eq!(outcome, Ok(Outcome::Lost { ref_name: BOARD.to_owned() }));
    assert!(world.truth("refs/scrum/hosts/loser").is_some(), "the offer has arrived");
    // A commit, a tree and a record for each version, and the three of the offer.
    assert!(objects() - before <= 3 * (since + 1) + 3, "{} for {since} versions", objects() - before);
}

#[test]
fn what_no_ledger_holds_is_a_fault_and_never_followed() {
    let world = Local::new().expect("a local repository can be had everywhere");
    let seat = world.join();
    put(&seat, 1, &[("a/b", Some("x"))]).expect("published");
    let git = |args: &[&str]| world.0.sandbox.git(&seat.directory, args);
    let stored = |kind: &str, bytes: &[u8]| {
        let file = world.0.sandbox.path("content");
        fs::write(&file, bytes).expect("the sandbox is writable");
        let path = file.to_str().expect("UTF-8");
        git(&["hash-object", "--literally", "-t", kind, "-w", "--", path])
    };
    let tree_of = |entries: &[(&str, &str, &str)]| {
        // Made byte by byte: `git mktree` refuses some of these, a hostile client does not.
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            bytes.extend(format!("{mode} {name}\0").bytes());
            bytes.extend((0..id.len() / 2).map(|n| u8::from_str_radix(&id[2 * n..2 * n + 2], 16).expect("an id")));
        }
        stored("tree", &bytes)
    };
    let version = |tree: &str, parents: &[&str]| {
        let mut args = vec!["commit-tree", tree, "-m", "tampered"];
        parents.iter().for_each(|parent| args.extend(["-p", *parent]));
        Version(git(&args))
    };
    let scan = |version: &Version, prefix: &str| {
        let mut keys = Vec::new();
        let visited = seat.scan(version, prefix, &mut |key, _| {
            keys.push(key.to_owned());
            ControlFlow::Continue(())
        });
        visited.map(|()| keys)
    };
    let integrity = |what: &str, result: Result<String, Fault>| match result {
        Err(Fault::Integrity { .. }) => {}
        other => panic!("{what}: {other:?}"),
    };
    let blob = stored("blob", b"v");
    // One byte more than a value may have, and a great deal more.
    for size in [VALUE_BYTES_MAX + 1, 50 << 20] {
        let large = stored("blob", &vec![b' '; size]);
        let tampered = version(&tree_of(&[("40000", "a", &tree_of(&[("100644", "b", &large)]))]), &[]);
        integrity(
            "a large value",
            seat.get(&tampered, &key("a/b")).map(|value| format!("{:?}", value.map(|v| v.len()))),
        );
        integrity("a large value", scan(&tampered, "a").map(|keys| keys.concat()));
    }
    // Nested without end.
    let nested = (0..40).fold(tree_of(&[("100644", "x", &blob)]), |tree, _| tree_of(&[("40000", "a", &tree)]));
    integrity("a deep tree", scan(&version(&nested, &[]), "a").map(|keys| keys.concat()));
    // Links, submodules and names that lead elsewhere or would change a terminal are not there, for readers.
    let strange = tree_of(&[
        ("40000", "..", &tree_of(&[("100644", "x", &blob)])),
        ("40000", ".git", &tree_of(&[("100644", "x", &blob)])),
        ("100644", "\u{1b}[31m", &blob),
        ("100644", "Upper", &blob),
        ("100644", "good", &blob),
        ("120000", "link", &blob),
        ("160000", "module", &tip(&seat).0),
    ]);
    let tampered = version(&tree_of(&[("40000", "a", &strange)]), &[]);
    assert_eq!(scan(&tampered, "a"), Ok(vec!["a/good".to_owned()]));
    assert_eq!(seat.get(&tampered, &key("a/link")), Ok(None));
    // Objects that are missing, or of another kind.
    let missing = "1234567812345678123456781234567812345678";
    integrity("a missing blob", {
        let tampered = version(&tree_of(&[("100644", "k", missing)]), &[]);
        seat.get(&tampered, &key("k")).map(|value| format!("{value:?}"))
    });
    integrity("a tree that is a blob", {
        let tampered = version(&tree_of(&[("40000", "a", &blob)]), &[]);
        seat.get(&tampered, &key("a/b")).map(|value| format!("{value:?}"))
    });
    integrity("a missing version", {
        seat.get(&Version(missing.to_owned()), &key("k")).map(|value| format!("{value:?}"))
    });
    integrity("no version", seat.get(&Version("nonsense".to_owned()), &key("k")).map(|value| format!("{value:?}")));
    // A merge is no link of a chain.
    let (one, two) = (tip(&seat).0, version(&nested, &[]).0);
    let merge = version(&nested, &[&one, &two]);
    integrity("a merge", seat.history(&merge, None, 10).map(|chain| format!("{chain:?}")));
}

/// Each of `writers` clones makes `each` changes to one counter, as fast as it can.
fn many_writers(world: &Repositories, writers: u64, each: u64) -> u32 {
    let first = Seat::new(world.recipe().open(), PathBuf::new());
    put(&first, 0, &[("count", Some("0"))]).expect("published");
    let recipes: Vec<Recipe> = (0..writers).map(|_| world.recipe()).collect();
    let pushes = std::thread::scope(|scope| {
        let write = |(writer, recipe): (u64, &Recipe)| {
            let recipe = recipe.clone();
            scope.spawn(move || {
                let store = recipe.open();
                let one = |nth: u64| {
                    let done = run(&store, &SystemHost::new(None), 1 + writer * each + nth, |snapshot| {
                        let count = snapshot.expect("it was begun").get(&key("count"))?.expect("it was put");
                        let count: u64 = String::from_utf8_lossy(&count).parse().expect("a number");
                        let (own, next) = (format!("done/{writer}-{nth}"), (count + 1).to_string());
                        let changes = batch(&[("count", Some(&next)), (&own, Some(&next))]);
                        Ok(commit(changes, vec![], ()))
                    });
                    done.expect("everybody gets through in the end").pushes
                };
                (0..each).map(one).sum::<u32>()
            })
        };
        let threads: Vec<_> = (0..).zip(&recipes).map(write).collect();
        threads.into_iter().map(|thread| thread.join().expect("no writer panics")).sum()
    });
    let total = writers * each;
    assert_eq!(applied(&first), exactly_once(0..=total), "each operation is in the chain once");
    assert_eq!(read(&first, "count"), Some(total.to_string()), "each was decided on the one before it");
    assert_eq!(keys_below(&first, &tip(&first), "done").len() as u64, total, "and none took away another's");
    pushes
}

#[test]
fn eight_clones_that_write_at_once_all_get_through() {
    many_writers(&Repositories::with_remote(RemoteKind::File).expect("files can be had everywhere"), 8, 10);
}

#[test]
fn clones_that_write_over_http_at_once_all_get_through() {
    many_writers(&Repositories::with_remote(RemoteKind::Http).expect("HTTP can be had everywhere"), 4, 4);
}

#[test]
fn processes_of_one_clone_queue_and_never_push_in_vain() {
    let pushes = many_writers(&Repositories::local(), 8, 10);
    assert_eq!(pushes, 80, "whoever waits for its turn sees what the one before it has done");
}

#[test]
fn the_queue_of_a_clone_lets_in_one_at_a_time() {
    let world = Repositories::local();
    let recipe = world.recipe();
    world.commit_object(&recipe.directory, "so that there is something to check out");
    world.sandbox.commit_file(&recipe.directory, "a", "a", "first");
    world.sandbox.git(&recipe.directory, &["worktree", "add", "--quiet", "../linked"]);
    // A linked worktree is the same clone, and stands in the same queue.
    let linked = Recipe { directory: world.sandbox.path("linked"), ..recipe.clone() };
    let file = world.sandbox.path("count");
    fs::write(&file, "0").expect("the sandbox is writable");
    std::thread::scope(|scope| {
        for recipe in [&recipe, &linked, &recipe, &linked] {
            let (recipe, file) = (recipe.clone(), &file);
            scope.spawn(move || {
                let store = recipe.open();
                for _ in 0..50 {
                    let turn = store.in_turn(|| {
                        let count: u32 = fs::read_to_string(file).expect("readable").parse().expect("a number");
                        std::thread::yield_now();
                        fs::write(file, (count + 1).to_string()).expect("writable");
                    });
                    turn.expect("everybody gets a turn");
                }
            });
        }
    });
    assert_eq!(fs::read_to_string(&file).expect("readable"), "200");
}

// ---------------------------------------------------------------------------------------------------------------------
// Servers that say no, or nothing

/// Runs a test over each kind of remote that can be had here.
fn over_each(kinds: &[RemoteKind], test: impl Fn(&Repositories)) {
    for kind in kinds {
        if let Some(world) = Repositories::with_remote(*kind) {
            eprintln!("over {kind:?}");
            test(&world);
        }
    }
}

/// One transaction that the server refuses: what it is told, after one attempt only.
fn refusal(world: &Repositories, also: &[RefUpdate], seat: &Seat<GitStore>) -> (String, String) {
    let before = (world.at_truth(BOARD), world.at_truth(SIDE));
    let (mut decided, pace) = (0, TestPace::default());
    let told = run(seat, &pace, 77, |_| {
        decided += 1;
        Ok(commit(batch(&[("k", Some("77"))]), also.to_vec(), ()))
    });
    assert_eq!((decided, seat.publications.get(), pace.pauses.get()), (1, 1, 0), "trying again is of no use: {told:?}");
    assert_eq!((world.at_truth(BOARD), world.at_truth(SIDE)), before, "nothing moves");
    match told {
        Err(TransactError::Refused { ref_name, reason }) => (ref_name, reason),
        other => panic!("that is no refusal: {other:?}"),
    }
}

#[test]
fn a_hook_that_declines_is_quoted_and_not_asked_again() {
    over_each(&RemoteKind::ALL, |world| {
        world.hook("pre-receive", "echo 'No pushing on Fridays.' >&2; exit 1");
        let (ref_name, reason) = refusal(world, &[], &world.seat());
        assert_eq!(ref_name, BOARD);
        assert!(reason.contains("pre-receive hook declined"), "{reason}");
        assert!(reason.contains("No pushing on Fridays."), "{reason}");
    });
}

#[test]
fn a_server_that_hides_the_namespace_is_quoted() {
    over_each(&[RemoteKind::File, RemoteKind::Http], |world| {
        world.configure("receive.hideRefs", "refs/scrum");
        let (ref_name, reason) = refusal(world, &[], &world.seat());
        assert_eq!((ref_name.as_str(), reason.as_str()), (BOARD, "deny updating a hidden ref"));
    });
}

#[test]
fn a_server_that_begins_to_hide_a_ledger_is_no_race_that_was_lost() {
    // The ledger can still be fetched, but the server does not admit to it when it is pushed to: git takes the lease for
    // stale, and it will be as stale the next time.
    let world = Repositories::with_remote(RemoteKind::File).expect("files can be had everywhere");
    let seat = world.seat();
    put(&seat, 1, &[("k", Some("1"))]).expect("published");
    world.configure("receive.hideRefs", "refs/scrum");
    let told = put(&seat, 2, &[("k", Some("2"))]);
    assert!(matches!(&told, Err(TransactError::Refused { ref_name, .. }) if ref_name == BOARD), "{told:?}");
    let attempts = seat.publications.get() - 1;
    assert!(attempts <= 10, "{attempts} pushes, although nobody had moved anything");
}

#[test]
fn a_server_for_branches_and_tags_only_is_quoted() {
    over_each(&RemoteKind::ALL, |world| {
        let script =
            "case $1 in refs/heads/*|refs/tags/*) exit 0;; esac\necho \"only branches and tags, not $1\" >&2; exit 1";
        world.hook("update", script);
        let words = format!("only branches and tags, not {BOARD}");
        let seat = world.seat();
        let (ref_name, reason) = refusal(world, &[], &seat);
        assert_eq!(ref_name, BOARD);
        assert!(reason.contains("hook declined") && reason.contains(&words), "{reason}");
        // The branch alone would be welcome, but it goes with the ledger or not at all.
        let seat = world.seat();
        let side = world.commit_object(&seat.directory, "side");
        let (ref_name, reason) = refusal(world, &[moved(SIDE, None, Some(&side))], &seat);
        assert_eq!(ref_name, BOARD, "the one that is refused is named, not the one that stays behind");
        assert!(reason.contains(&words), "{reason}");
    });
}

#[test]
fn a_server_that_moves_one_ref_at_a_time_is_told_apart() {
    over_each(&[RemoteKind::File, RemoteKind::Http], |world| {
        world.configure("receive.advertiseAtomic", "false");
        let seat = world.seat();
        put(&seat, 1, &[("k", Some("1"))]).expect("one ref needs nothing of the kind");
        let side = world.commit_object(&seat.directory, "side");
        let before = tip(&seat);
        let told = put_along(&seat, 2, &[("k", Some("2"))], &[moved(SIDE, None, Some(&side))]);
        assert!(matches!(told, Err(TransactError::NotAtomic)), "{told:?}");
        assert_eq!((tip(&seat), world.at_truth(SIDE)), (before, None));
    });
}

#[test]
fn a_lock_file_that_stays_is_named() {
    let locked = |world: &Repositories| {
        let seat = world.seat();
        put(&seat, 1, &[("k", Some("1"))]).expect("published");
        let (before, published) = (tip(&seat), seat.publications.get());
        let lock = leave_lock(world, BOARD);
        let pace = TestPace::default();
        let told = run(&seat, &pace, 2, |_| Ok(commit(batch(&[("k", Some("2"))]), vec![], ())));
        assert!(
            matches!(&told, Err(TransactError::Locked { reason }) if reason.contains("refs/scrum/board.lock")),
            "{told:?}"
        );
        let attempts = seat.publications.get() - published;
        assert!((2..=10).contains(&attempts) && pace.pauses.get() > 0, "{attempts} attempts");
        assert_eq!(tip(&seat), before);
        fs::remove_file(lock).expect("nobody but its owner removes a lock");
        put(&seat, 3, &[("k", Some("3"))]).expect("published");
        // One on a ref that moves along is named as well.
        let side = world.commit_object(&seat.directory, "side");
        let before = tip(&seat);
        leave_lock(world, SIDE);
        let told = put_along(&seat, 4, &[("k", Some("4"))], &[moved(SIDE, None, Some(&side))]);
        assert!(
            matches!(&told, Err(TransactError::Locked { reason }) if reason.contains("refs/heads/side.lock")),
            "{told:?}"
        );
        assert_eq!((tip(&seat), world.at_truth(SIDE)), (before, None));
    };
    locked(&Repositories::local());
    over_each(&RemoteKind::ALL, locked);
}

#[test]
fn a_lock_file_that_goes_away_meanwhile_only_costs_time() {
    let recovers = |world: &Repositories| {
        let seat = world.seat();
        put(&seat, 1, &[("k", Some("1"))]).expect("published");
        let lock = leave_lock(world, BOARD);
        let pace = TestPace::default();
        // Its owner finishes while this clone rests between two attempts.
        *pace.on_pause.borrow_mut() = Some(Box::new(move || {
            let _ = fs::remove_file(&lock);
        }));
        let done = run(&seat, &pace, 2, |_| Ok(commit(batch(&[("k", Some("2"))]), vec![], ())));
        assert_eq!(done.expect("the second attempt gets through").pushes, 2);
        assert_eq!(applied(&seat), exactly_once([1, 2]));
        // A lock on the packed refs is in the way of deletes only.
        leave_lock(world, "packed-refs");
        put(&seat, 3, &[("k", Some("3"))]).expect("published");
    };
    recovers(&Repositories::local());
    over_each(&[RemoteKind::File, RemoteKind::Http], recovers);
}

fn over_http() -> Repositories {
    Repositories::with_remote(RemoteKind::Http).expect("HTTP can be had everywhere")
}

#[test]
fn a_lost_acknowledgement_is_found_in_the_chain() {
    let world = over_http();
    let seat = world.seat();
    put(&seat, 1, &[("k", Some("1"))]).expect("published");
    // Under the second, curl sends the push again by itself: that one fails, for the first one has landed.
    let faults = [
        (ServerFault::DropResponse, usize::MAX),
        (ServerFault::DropResponse, 1),
        (ServerFault::BadGatewayAfter, usize::MAX),
    ];
    for (n, (fault, times)) in (2..).zip(faults) {
        world.http().set_fault_times(fault, times);
        let done = put(&seat, n, &[("k", Some(&n.to_string()))]).expect("it is found");
        world.http().set_fault(ServerFault::None);
        assert_eq!((done.pushes, done.version), (1, Some(tip(&seat))), "{fault:?}");
        assert_eq!(read(&seat, "k"), Some(n.to_string()));
    }
    // The same with a ref that moves along.
    let side = world.commit_object(&seat.directory, "side");
    world.http().set_fault(ServerFault::BadGatewayAfter);
    put_along(&seat, 5, &[("k", Some("5"))], &[moved(SIDE, None, Some(&side))]).expect("it is found");
    world.http().set_fault(ServerFault::None);
    assert_eq!(world.at_truth(SIDE), Some(side));
    assert_eq!(applied(&seat), exactly_once(1..=5));
}

#[test]
fn a_push_that_did_not_arrive_is_made_again() {
    let world = over_http();
    let seat = world.seat();
    put(&seat, 1, &[("k", Some("1"))]).expect("published");
    world.http().set_fault_times(ServerFault::BadGatewayBefore, 1);
    assert_eq!(put(&seat, 2, &[("k", Some("2"))]).expect("the second attempt arrives").pushes, 2);
    assert_eq!(applied(&seat), exactly_once([1, 2]));
}

#[test]
fn a_server_that_breaks_down_in_the_middle_leaves_an_unknown_outcome() {
    let world = Rc::new(over_http());
    let seat = world.seat();
    put(&seat, 1, &[("k", Some("1"))]).expect("published");
    let base = tip(&seat);
    world.http().set_fault(ServerFault::BadGatewayAfter);
    seat.on_publish({
        let world = Rc::clone(&world);
        move |publish| {
            let outcome = publish();
            // From here on it answers nobody.
            world.http().set_fault(ServerFault::Unauthorized);
            outcome
        }
    });
    let told = put(&seat, 2, &[("k", Some("2"))]);
    assert!(matches!(told, Err(TransactError::Unknown { .. })), "{told:?}");
    // Asked again when it is back, with the same operation, it knows.
    world.http().set_fault(ServerFault::None);
    let id = operation(2);
    let request = request(&id, Some(Some(base)));
    let decide = |_: Option<&Snapshot<'_, _>>, _: &Round<'_>| -> Result<Decision<&str>, Fault> {
        panic!("it was applied already")
    };
    let found = transact(&seat, &TestPace::default(), &request, decide, |_| Ok("found"));
    assert_eq!(found.expect("found").value, "found");
    assert_eq!(applied(&seat), exactly_once([1, 2]));
}

#[test]
fn credentials_that_are_refused_are_no_conflict() {
    let world = over_http();
    let (seat, idle) = (world.seat(), world.seat());
    put(&seat, 1, &[("k", Some("1"))]).expect("published");
    let before = world.at_truth(BOARD);
    for fault in [ServerFault::Unauthorized, ServerFault::Forbidden] {
        world.http().set_fault(fault);
        let told = put(&seat, 2, &[("k", Some("2"))]);
        assert!(
            matches!(told, Err(TransactError::Fault(Fault::Authentication { .. }))),
            "{fault:?} is {told:?}, after {} pushes",
            seat.publications.get()
        );
    }
    world.http().set_fault(ServerFault::Unauthorized);
    assert!(matches!(idle.refresh(), Err(Fault::Authentication { .. })));
    assert_eq!(world.at_truth(BOARD), before);
}

#[test]
fn a_server_that_is_gone_is_a_fault_and_not_an_empty_ledger() {
    let mut world = over_http();
    let (seat, idle) = (world.seat(), world.seat());
    put(&seat, 1, &[("k", Some("1"))]).expect("published");
    let seen = tip(&seat);
    world.remote = None;
    for fault in [seat.refresh().map(|_| ()), idle.refresh().map(|_| ())] {
        assert!(matches!(fault, Err(Fault::Network { .. })), "{fault:?}");
    }
    let told = put(&seat, 2, &[("k", Some("2"))]);
    assert!(matches!(told, Err(TransactError::Fault(Fault::Network { .. }))), "{told:?}");
    assert_eq!(seat.publications.get(), 2, "nothing can have been changed, and nothing is tried again");
    assert_eq!(seat.cached(), Ok(Some(seen)), "what was seen is still there to be read");
}

#[test]
fn an_operation_that_meets_nobody_is_one_push_and_no_fetch() {
    let world = over_http();
    let (seat, other) = (world.seat(), world.seat());
    put(&seat, 1, &[("k", Some("1"))]).expect("published");
    let cost = |work: &mut dyn FnMut()| {
        let before = world.http().requests();
        work();
        let after = world.http().requests();
        (
            after.info_refs - before.info_refs,
            after.receive_pack - before.receive_pack,
            after.upload_pack - before.upload_pack,
        )
    };
    let push = (1, 1, 0);
    assert_eq!(cost(&mut || drop(put(&seat, 2, &[("k", Some("2"))]).expect("published"))), push);
    let side = world.commit_object(&seat.directory, "side");
    let along = [moved(SIDE, None, Some(&side))];
    let both = cost(&mut || drop(put_along(&seat, 3, &[("k", Some("3"))], &along).expect("published")));
    assert_eq!(both, push, "a ref that moves along costs nothing");
    // A clone that has met others asks before it tries, and then tries once.
    put(&other, 4, &[("k", Some("4"))]).expect("published");
    put(&seat, 5, &[("k", Some("5"))]).expect("the second attempt wins");
    assert!(seat.contended());
    put(&other, 6, &[("k", Some("6"))]).expect("published");
    let (_, pushed, fetched) = cost(&mut || drop(put(&seat, 7, &[("k", Some("7"))]).expect("published")));
    assert_eq!((pushed, fetched > 0), (1, true));
    // With the others gone, it asks once more and then no longer.
    put(&seat, 8, &[("k", Some("8"))]).expect("published");
    assert_eq!(cost(&mut || drop(put(&seat, 9, &[("k", Some("9"))]).expect("published"))), push);
    assert_eq!(applied(&seat), exactly_once(1..=9));
}
