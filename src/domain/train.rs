//! The train: cars that wait to land on one target branch, and what is known of their tests.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Branch, CarId, CheckName, Fence, Holder, ObjectId, Priority, Seconds, TaskId, Timestamp};

/// The train of one target branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Train {
    /// Where its cars land.
    pub target: Branch,
    /// The position the next car gets.
    pub next_position: u64,
    /// Why nothing starts or lands for now, when somebody paused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// What waits for now, when somebody stopped only what is less urgent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Freeze>,
    /// Where the target was after the last landing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landed_to: Option<ObjectId>,
    /// A landing that was announced because target and board cannot move in one push. Any pass finishes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landing: Option<Landing>,
    /// Tests that were asked for and have no verdict yet.
    #[serde(default, with = "super::run_list", skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<Run>,
    /// How many cars are speculated on; absent: as many as at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// Which cars are tested together, in the order in which they stand in line, where not each stands for itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub batches: Vec<Batch>,
    /// How cars have fared of late.
    #[serde(default, skip_serializing_if = "Tally::is_empty")]
    pub tally: Tally,
    /// How many cars failed since the last one landed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed_in_a_row: u32,
    /// How long tests that passed took of late, the last ones weighing most; absent: none has been timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_time: Option<Seconds>,
}

impl Train {
    /// A train without cars.
    pub fn new(target: Branch) -> Train {
        Train {
            target,
            next_position: 1,
            paused: None,
            frozen: None,
            landed_to: None,
            landing: None,
            runs: Vec::new(),
            window: None,
            batches: Vec::new(),
            tally: Tally::default(),
            failed_in_a_row: 0,
            run_time: None,
        }
    }

    /// Takes in how long a test took that passed.
    pub fn note_run_time(&mut self, took: Seconds) {
        // A clock that is years off must not be what everybody reckons with from then on.
        let took = took.min(RUN_TIME_MAX);
        let mean = |Seconds(known)| {
            let sum = known * (RUN_TIME_MEMORY - 1) + took.0;
            Seconds((sum + RUN_TIME_MEMORY / 2) / RUN_TIME_MEMORY)
        };
        self.run_time = Some(self.run_time.map_or(took, mean));
    }
}

/// The newest test weighs as much as one of so many in their mean; what is older fades (an exponential moving average).
const RUN_TIME_MEMORY: u64 = 4;
/// The longest time that is taken for that of a test.
const RUN_TIME_MAX: Seconds = Seconds(7 * 86_400);

/// Cars that are tested together, as if they were one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Batch {
    /// The cars, in the order in which they land.
    pub cars: Vec<CarId>,
    /// Whether it is tested on the target by itself, and does not stand in line behind others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub apart: bool,
    /// The tree of the candidate that it was tested in by itself: what is known of that is known of the batch, wherever
    /// the target has moved meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<ObjectId>,
    /// Whether it is of the same batch as the one before it in the list, which failed: one of them all is to blame, or
    /// more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub same_failure: bool,
}

impl Batch {
    /// Cars of which nothing is known.
    pub fn untested(cars: Vec<CarId>, apart: bool) -> Batch {
        Batch { cars, apart, tree: None, same_failure: false }
    }

    /// In two, which keep the order: `first` has so many.
    pub fn split(&self, first: usize, apart: bool) -> [Batch; 2] {
        let (first, second) = self.cars.split_at(first);
        let part = |cars: &[CarId], same_failure| Batch { same_failure, ..Batch::untested(cars.to_vec(), apart) };
        [part(first, apart && self.same_failure), part(second, apart)]
    }

    /// Takes cars out of their batches, but those that `keep` says; what is empty then goes. What is known of a batch
    /// is not known of what is left of it: the car that failed may be the one that went.
    pub fn keep_cars(batches: &mut Vec<Batch>, keep: impl Fn(&CarId) -> bool) {
        let mut first_is_gone = false;
        for batch in batches.iter_mut() {
            if !batch.cars.iter().all(&keep) {
                batch.cars.retain(&keep);
                batch.tree = None;
            }
            batch.same_failure &= !first_is_gone;
            first_is_gone = batch.cars.is_empty() && !batch.same_failure;
        }
        batches.retain(|batch| !batch.cars.is_empty());
    }

    /// A car is to blame for what batches failed: nothing is held against the others of them any more. Those that
    /// nobody has tested yet are tested together again.
    pub fn blame(batches: &mut Vec<Batch>, car: &CarId) {
        let Some(place) = batches.iter().position(|batch| batch.apart && batch.cars.contains(car)) else { return };
        let first = batches[..=place].iter().rposition(|batch| !batch.same_failure).unwrap_or(0);
        let after = batches[place + 1..].iter().position(|batch| !batch.same_failure);
        let end = after.map_or(batches.len(), |count| place + 1 + count);
        let (untested, mut tested): (Vec<Batch>, Vec<Batch>) =
            batches[first..end].iter().cloned().partition(|batch| batch.tree.is_none() || batch.cars.contains(car));
        let cars = untested.into_iter().flat_map(|batch| batch.cars).filter(|id| id != car).collect::<Vec<_>>();
        tested.iter_mut().for_each(|batch| batch.same_failure = false);
        let again = (!cars.is_empty()).then(|| Batch::untested(cars, true));
        batches.splice(first..end, again.into_iter().chain(tested));
    }
}

/// How many of the cars that were decided of late landed, and how many failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tally {
    /// Landed.
    pub landed: u32,
    /// Left because their check failed.
    pub failed: u32,
}

/// How many decided cars are "of late": then all counts are halved.
const TALLY_MAX: u32 = 64;
/// What is assumed before anything is known: of so many cars one fails.
const TALLY_ASSUMED: (u32, u32) = (12, 1);

impl Tally {
    fn is_empty(&self) -> bool {
        *self == Tally::default()
    }

    /// With so many more.
    pub fn with(self, landed: usize, failed: usize) -> Tally {
        let more = |count: u32, more: usize| count.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
        let mut tally = Tally { landed: more(self.landed, landed), failed: more(self.failed, failed) };
        while tally.landed.saturating_add(tally.failed) > TALLY_MAX {
            tally = Tally { landed: tally.landed / 2, failed: tally.failed / 2 };
        }
        tally
    }

    /// The part of cars that fail, above 0 and below 1.
    pub fn failure_rate(&self) -> f64 {
        let (cars, failures) = TALLY_ASSUMED;
        f64::from(self.failed + failures) / f64::from(self.landed + self.failed + cars)
    }
}

/// A pause for what is not urgent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Freeze {
    /// Cars of this priority, and more urgent ones, go on.
    pub below: Priority,
    /// Why the others do not.
    pub reason: String,
}

/// A write-ahead record: the target is about to be moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Landing {
    /// Where the target is.
    pub from: ObjectId,
    /// Where it goes.
    pub to: ObjectId,
    /// The cars that land by it, in order.
    pub cars: Vec<CarId>,
    /// Their commits, in the same order.
    pub commits: Vec<ObjectId>,
    /// Where the target is after each of them, in the same order; without it, all of them land as `to`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<ObjectId>,
    /// When it was announced.
    pub at: Timestamp,
}

/// A submitted commit on its way to the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Car {
    /// Its name: its task's id, or its branch.
    pub id: CarId,
    /// Where it lands.
    pub target: Branch,
    /// The task it does, with the fence under which it was submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<CarTask>,
    /// The branch the commit was the head of.
    pub branch: Branch,
    /// The commit: pinned, whatever happens to the branch.
    pub commit: ObjectId,
    /// One line that says what it is.
    pub title: String,
    /// How urgent it is.
    pub priority: Priority,
    /// Its place in the queue among cars of its priority.
    pub position: u64,
    /// How lately it was put first: of all cars the one with the highest number goes first. 0: never.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub promoted: u32,
    /// Cars that must land before it, and with which it leaves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<CarId>,
    /// Cars that land by one move of the target or not at all, this one among them, in order; empty: it stands for
    /// itself. They belong together as long as all of them say the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub together: Vec<CarId>,
    /// Whether no other car is put into a batch with it, but for those that it lands together with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub single: bool,
    /// Where it is on its way.
    pub state: CarState,
    /// Why it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who approves of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Approval>,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// Who submitted it.
    pub submitted_by: Holder,
    /// How often its test ended without a verdict.
    #[serde(default)]
    pub inconclusive: u32,
    /// The tree of the last candidate it was tested in: where its verdict and output are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested_tree: Option<ObjectId>,
    /// The commit on the target that landed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landed_as: Option<ObjectId>,
    /// Where the target was just before that: what lies between the two is what the car brought. Absent for a car that
    /// was found on the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landed_on: Option<ObjectId>,
}

impl Car {
    /// One that was just submitted, for tests of what is planned.
    #[cfg(test)]
    pub(super) fn of_branch(name: &str, position: u64) -> Car {
        let branch = Branch::parse(name).expect("a branch");
        Car {
            id: CarId::from(&branch),
            target: Branch::parse("main").expect("a branch"),
            task: None,
            branch,
            commit: ObjectId::parse(&format!("c{position:039x}")).expect("an object id"),
            title: String::new(),
            priority: Priority::default(),
            position,
            promoted: 0,
            after: Vec::new(),
            together: Vec::new(),
            single: false,
            state: CarState::Queued,
            reason: None,
            approvals: Vec::new(),
            submitted_at: Timestamp::from_secs(0),
            submitted_by: Holder::parse("ada").expect("a holder"),
            inconclusive: 0,
            tested_tree: None,
            landed_as: None,
            landed_on: None,
        }
    }

    /// Whether it lands by the same move of the target as another one, or is that.
    pub fn goes_with(&self, other: &Car) -> bool {
        self.id == other.id || (!self.together.is_empty() && self.together == other.together)
    }

    /// Who approves of exactly its present commit, but for whoever submitted it: each person once.
    pub fn approved_by(&self) -> impl Iterator<Item = &Holder> {
        let counts =
            |approval: &Approval| approval.commit == self.commit && !approval.by.is_same_person(&self.submitted_by);
        let counted = self.approvals.iter().enumerate().filter(move |(nth, approval)| {
            let before = &self.approvals[..*nth];
            counts(approval) && !before.iter().any(|other| counts(other) && other.by.is_same_person(&approval.by))
        });
        counted.map(|(_, approval)| &approval.by)
    }
}

/// Somebody's word that a commit may land.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Approval {
    /// Whose: a name, not a proof of who it was.
    pub by: Holder,
    /// The commit they have looked at: it says nothing of any other.
    pub commit: ObjectId,
    /// When they said so.
    pub at: Timestamp,
}

/// The most approvals that are kept of one car.
pub const APPROVALS_MAX: usize = 64;

/// The task a car does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CarTask {
    /// Its id.
    pub id: TaskId,
    /// The grant under which it was submitted; another one by the time it lands means that the car is stale.
    pub fence: Fence,
}

/// Where a car is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CarState {
    /// Waits for its turn.
    Queued,
    /// Is in a candidate that is being tested.
    Testing,
    /// Is on the target.
    Landed,
    /// Was taken out of the train.
    Ejected,
}

impl CarState {
    /// Whether it is still on its way.
    pub fn is_open(self) -> bool {
        matches!(self, CarState::Queued | CarState::Testing)
    }

    /// The word users read.
    pub fn as_str(self) -> &'static str {
        match self {
            CarState::Queued => "queued",
            CarState::Testing => "testing",
            CarState::Landed => "landed",
            CarState::Ejected => "ejected",
        }
    }
}

impl fmt::Display for CarState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a test says of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It may land.
    Pass,
    /// It may not.
    Fail,
    /// The test itself did not work out: nothing is known.
    Inconclusive,
}

impl Verdict {
    /// The word users read and write.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Inconclusive => "inconclusive",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A test that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// The candidate that is tested.
    pub commit: ObjectId,
    /// Its tree, which the verdict will belong to.
    pub tree: ObjectId,
    /// The commit of the target it was built on.
    pub base: ObjectId,
    /// The cars in it, in order.
    pub cars: Vec<CarId>,
    /// How many of them, from the first on, have runs of their own: what is asked is whether the others may land after
    /// these.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ahead: u32,
    /// Whether anything is known yet.
    pub state: RunState,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// Who asked.
    pub started_by: Holder,
}

impl Run {
    /// The cars that it is about.
    pub fn tested(&self) -> &[CarId] {
        self.cars.get(self.ahead as usize..).unwrap_or_default()
    }
}

/// For fields that are written only where they say something.
pub(super) fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunState {
    /// No verdict yet.
    Running,
}

impl RunState {
    /// The word users read.
    pub fn as_str(self) -> &'static str {
        match self {
            RunState::Running => "running",
        }
    }
}

/// What is known of one tree: a tree that passed is not tested again, whoever built it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VerdictRecord {
    /// The tree.
    pub tree: ObjectId,
    /// The commit that was tested.
    pub commit: ObjectId,
    /// What the test said.
    pub verdict: Verdict,
    /// The check that was run, as it is configured: a verdict of another check says nothing.
    pub check: String,
    /// When it was recorded.
    pub at: Timestamp,
    /// Who recorded it.
    pub by: Holder,
    /// How long the test took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<Seconds>,
    /// How many cars it was asked about at once, where it was several: one of them may be at fault, or two together.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub together: u32,
    /// Where a person can read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The end of what the check printed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub output: String,
    /// What each of several checks said, where there are several: `verdict` is what they come to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<CheckVerdict>,
}

/// What one of several checks says of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CheckVerdict {
    /// Its name.
    pub name: CheckName,
    /// What it says.
    pub verdict: Verdict,
    /// When that was recorded.
    pub at: Timestamp,
    /// How long it took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took: Option<Seconds>,
    /// Where a person can read more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// The most checks that a train has.
pub const CHECKS_MAX: usize = 32;

impl VerdictRecord {
    /// Whether anything is decided.
    pub fn is_settled(&self) -> bool {
        self.verdict != Verdict::Inconclusive
    }

    /// Whether it was recorded at `since` or later: what is older is forgotten.
    pub fn is_kept(&self, since: Option<Timestamp>) -> bool {
        since.is_none_or(|since| self.at >= since)
    }

    /// Whether it says that a tree fails which was tested of more than `count` cars at once.
    pub fn failed_with_more_than(&self, count: usize) -> bool {
        self.verdict == Verdict::Fail && self.together as usize > count
    }

    /// What one of several checks said, unless nothing came of it.
    pub fn of_check(&self, name: &CheckName) -> Option<Verdict> {
        let known = self.checks.iter().find(|known| known.name == *name).map(|known| known.verdict);
        known.filter(|verdict| *verdict != Verdict::Inconclusive)
    }

    /// Takes in what several checks said before, and finds out what all come to: the first red one of those that are
    /// required decides, and all of them have to be green. Until then nothing is decided.
    pub fn join(&mut self, before: &[CheckVerdict], required: &[CheckName]) {
        let said = |check: &&CheckVerdict| !self.checks.iter().any(|newer| newer.name == check.name);
        let before: Vec<CheckVerdict> = before.iter().filter(said).cloned().collect();
        self.checks.splice(..0, before);
        let mut verdicts = required.iter().map(|name| self.of_check(name));
        self.verdict = match verdicts.clone().any(|verdict| verdict == Some(Verdict::Fail)) {
            true => Verdict::Fail,
            false if verdicts.all(|verdict| verdict == Some(Verdict::Pass)) => Verdict::Pass,
            false => Verdict::Inconclusive,
        };
    }
}

/// The most of a check's output that is kept, in bytes as it is written.
pub const OUTPUT_BYTES_MAX: usize = 24 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_batch_is_not_known_by_the_tree_of_the_whole() {
        let id = |name: &str| CarId::parse(name).expect("an id");
        let tree = |digit: &str| Some(ObjectId::parse(&digit.repeat(40)).expect("an object id"));
        let cars = |cars: &[&str]| cars.iter().map(|name| id(name)).collect();
        let batch = |names: &[&str], tree| Batch { tree, ..Batch::untested(cars(names), true) };
        let mut batches = vec![batch(&["a", "b"], tree("1")), batch(&["c"], tree("2")), batch(&["d"], tree("3"))];
        Batch::keep_cars(&mut batches, |car| *car != id("a") && *car != id("c"));
        assert_eq!(batches, [batch(&["b"], None), batch(&["d"], tree("3"))]);
    }

    #[test]
    fn what_nobody_has_tested_is_put_together_again_when_one_is_to_blame() {
        let id = |name: &str| CarId::parse(name).expect("an id");
        let cars = |names: &str| names.split(' ').map(id).collect::<Vec<_>>();
        let part = |names, same_failure| Batch { same_failure, ..Batch::untested(cars(names), true) };
        let tree = ObjectId::parse(&"1".repeat(40)).ok();
        let in_test = |names, same_failure| Batch { tree: tree.clone(), ..part(names, same_failure) };
        let blamed = |mut batches: Vec<Batch>, car| {
            Batch::blame(&mut batches, &id(car));
            Batch::keep_cars(&mut batches, |other| *other != id(car));
            batches
        };
        let other = [part("w", false), part("x y", true)];
        let halved = [part("a b", false), part("c d", true)];
        let [first, second] = halved[0].split(1, true);
        let batches = [&other[..], &[first, second, halved[1].clone()], &other].concat();
        assert_eq!(blamed(batches, "a"), [&other[..], &[part("b c d", false)], &other].concat());
        let batches = vec![part("a", false), in_test("b c", true), part("d", true), part("e", true)];
        assert_eq!(blamed(batches, "a"), [part("d e", false), in_test("b c", false)]);
        let mut landed = vec![part("a", false), part("b", true), part("c", true), part("d", false)];
        Batch::keep_cars(&mut landed, |car| *car != id("a"));
        assert_eq!(landed, [part("b", false), part("c", true), part("d", false)]);
        assert_eq!(blamed(landed, "d"), [part("b", false), part("c", true)]);
    }

    #[test]
    fn run_times_follow_the_last_ones_and_no_clock_that_is_wrong() {
        let mut train = Train::new(Branch::parse("main").expect("a branch"));
        let mut noted = |secs| {
            train.note_run_time(Seconds(secs));
            train.run_time.map(|time| time.0)
        };
        assert_eq!(noted(100), Some(100), "the first is all that is known");
        assert_eq!(noted(200), Some(125));
        (0..20).for_each(|_| assert!(noted(200) > Some(125)));
        assert_eq!(noted(200), Some(199), "within a rounding of what they are");
        assert_eq!(noted(0), Some(149));
        assert_eq!(noted(u64::MAX), Some((149 * 3 + 7 * 86_400 + 2) / 4));
    }
}
