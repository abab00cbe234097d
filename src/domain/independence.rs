//! Which tasks can be worked on at the same time, and why others cannot.
//!
//! Two tasks hinder each other when one needs the other, by however many others in between; when their cars are to land
//! one after the other, likewise; when a path could be covered by what both declare; when both declare the same
//! interface, by a label such as `interface:orders`; when their branches collide already; and when one of them declares
//! no paths, for then nobody knows. A task that a person blocked waits for that person. Guarantees: independence is
//! never assumed. It does not look at locks: these come and go.

use std::collections::{BTreeMap, BTreeSet};

use super::board::Board;
use super::{Branch, Car, CarId, Label, Pattern, Refusal, Stop, Summary, TaskId, TaskState};

/// How a label begins that declares an interface which the work on a task may change.
pub const INTERFACE: &str = "interface:";

/// The most tasks that are followed from one to what it needs.
const NEEDED_MAX: usize = 10_000;

/// Why two tasks cannot be worked on at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The later one needs the earlier one, by way of these.
    Needs(Vec<TaskId>),
    /// The later one's car is to land after the earlier one's, or after that of one which needs the earlier one.
    Order,
    /// What both declare covers a common path: the earlier one's pattern, and the later one's.
    Paths(Pattern, Pattern),
    /// Both declare this interface.
    Interface(Label),
    /// Their branches collide, on these paths.
    Conflict(Vec<String>),
    /// These of the two declare no paths.
    Unknown(Vec<TaskId>),
}

/// Two tasks that cannot be worked on at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hindrance {
    /// The one that comes first: by what is needed, or else in the queue.
    pub first: TaskId,
    /// The other.
    pub then: TaskId,
    /// Why.
    pub why: Obstacle,
}

/// What is asked, with what the board says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// The tasks, in the order of the queue, without those that are closed.
    pub tasks: Vec<Summary>,
    /// Those that are closed: nothing hinders what is over.
    pub closed: Vec<Summary>,
    /// Those that a person blocked, and why.
    pub held: BTreeMap<TaskId, String>,
    /// What each of them needs that is not finished, and what each of those needs, and so on; and so for those whose
    /// cars land before.
    pub needs: BTreeMap<TaskId, Vec<TaskId>>,
    /// Tasks whose cars land one after the other, at most with cars without a task between them: the second after the
    /// first.
    pub after: BTreeSet<(TaskId, TaskId)>,
    /// The paths on which branches of two of the tasks collide, by the two in either order.
    pub conflicts: BTreeMap<(TaskId, TaskId), Vec<String>>,
}

/// What is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Independence {
    /// Everything that hinders, pair by pair, in the order of the queue.
    pub hindrances: Vec<Hindrance>,
    /// The tasks in groups that can be worked on at the same time, one group after the other.
    pub groups: Vec<Vec<TaskId>>,
    /// What is not among the tasks, not finished, and needed by one.
    pub waits: BTreeMap<TaskId, Vec<TaskId>>,
    /// Those that a person blocked, and why.
    pub held: BTreeMap<TaskId, String>,
}

impl Question {
    /// Asks of the tasks `ids`, with the cars that are to land on `target`.
    pub fn about<B: Board>(board: &B, target: &Branch, ids: &[TaskId]) -> Result<Question, Stop<B::Fault>> {
        let mut question = Question::default();
        let mut open: Vec<TaskId> = Vec::new();
        for id in ids.iter().collect::<BTreeSet<_>>() {
            let task = board.task(id)?.ok_or_else(|| Stop::Refused(Refusal::NoSuchTask(id.clone())))?;
            if task.summary.state.is_closed() {
                question.closed.push(task.summary);
            } else {
                open.push(id.clone());
                if task.held_back && task.summary.state == TaskState::Blocked {
                    question.held.insert(id.clone(), task.reason.unwrap_or_default());
                }
                question.tasks.push(task.summary);
            }
        }
        question.tasks.sort_by_key(Summary::rank);
        question.after = order_of(&board.open_cars(target)?);
        while let Some(id) = open.pop() {
            if question.needs.contains_key(&id) {
                continue;
            }
            let needs = board.task(&id)?.map(|task| task.summary.needs).unwrap_or_default();
            let mut unfinished = Vec::new();
            for need in needs {
                if board.task(&need)?.is_none_or(|task| !task.summary.state.satisfies()) {
                    unfinished.push(need);
                }
            }
            open.extend(unfinished.iter().cloned());
            open.extend(question.after.iter().filter(|(_, then)| *then == id).map(|(first, _)| first.clone()));
            question.needs.insert(id, unfinished);
            let size = question.needs.len();
            if size > NEEDED_MAX {
                let what = "tasks that these need";
                return Err(Stop::Refused(Refusal::TooLarge { what, size, size_max: NEEDED_MAX }));
            }
        }
        Ok(question)
    }

    /// Answers it.
    pub fn answer(&self) -> Independence {
        let mut answer = Independence { held: self.held.clone(), ..Independence::default() };
        let among: BTreeSet<&TaskId> = self.tasks.iter().map(|task| &task.id).collect();
        for (nth, one) in self.tasks.iter().enumerate() {
            let reached = self.reached(&one.id);
            let far = reached.iter().filter(|(id, _)| !among.contains(**id));
            // What it needs itself before what that needs in turn.
            let mut far: Vec<(bool, TaskId)> = far.map(|(id, by)| (**by != one.id, (*id).clone())).collect();
            far.sort();
            let far: Vec<TaskId> = far.into_iter().map(|(_, id)| id).collect();
            if !far.is_empty() {
                answer.waits.insert(one.id.clone(), far);
            }
            for other in &self.tasks[nth + 1..] {
                answer.hindrances.extend(self.between(one, other));
            }
        }
        answer.groups = self.groups(&answer.hindrances);
        answer
    }

    /// Everything that `id` needs, by however many in between, each with the one that leads to it.
    fn reached<'a>(&'a self, id: &'a TaskId) -> BTreeMap<&'a TaskId, &'a TaskId> {
        let mut reached: BTreeMap<&TaskId, &TaskId> = BTreeMap::new();
        let mut open = vec![id];
        while let Some(from) = open.pop() {
            for need in self.needs.get(from).into_iter().flatten() {
                if need != id && !reached.contains_key(need) {
                    reached.insert(need, from);
                    open.push(need);
                }
            }
        }
        reached
    }

    /// The tasks between `then` and `first`, which it needs.
    fn way(&self, then: &TaskId, first: &TaskId) -> Option<Vec<TaskId>> {
        let reached = self.reached(then);
        let mut way = Vec::new();
        let mut at = *reached.get(first)?;
        while at != then {
            way.push(at.clone());
            at = reached.get(at)?;
        }
        way.reverse();
        Some(way)
    }

    /// Whether `then` is to land after `first`: by the order of their cars, or by that and by what is needed.
    fn lands_after(&self, then: &TaskId, first: &TaskId) -> bool {
        // Each with whether an order of cars has led to it, and not only what is needed.
        let mut seen: BTreeSet<(&TaskId, bool)> = BTreeSet::new();
        let mut open = vec![(then, false)];
        while let Some((from, ordered)) = open.pop() {
            let needed = self.needs.get(from).into_iter().flatten().map(|need| (need, ordered));
            let ahead = self.after.iter().filter(|(_, then)| then == from).map(|(first, _)| (first, true));
            open.extend(needed.chain(ahead).filter(|step| seen.insert(*step)));
        }
        seen.contains(&(first, true))
    }

    /// What hinders two tasks, of which `one` is ahead in the queue.
    fn between(&self, one: &Summary, other: &Summary) -> Vec<Hindrance> {
        let hindrance = |first: &Summary, then: &Summary, why: Obstacle| Hindrance {
            first: first.id.clone(),
            then: then.id.clone(),
            why,
        };
        let mut found = Vec::new();
        for (first, then) in [(one, other), (other, one)] {
            if let Some(way) = self.way(&then.id, &first.id) {
                found.push(hindrance(first, then, Obstacle::Needs(way)));
            }
            if self.lands_after(&then.id, &first.id) {
                found.push(hindrance(first, then, Obstacle::Order));
            }
        }
        let mut pairs = one.paths.iter().flat_map(|ours| other.paths.iter().map(move |theirs| (ours, theirs)));
        if let Some((ours, theirs)) = pairs.find(|(ours, theirs)| ours.overlaps(theirs)) {
            found.push(hindrance(one, other, Obstacle::Paths(ours.clone(), theirs.clone())));
        }
        let interfaces = one.labels.iter().filter(|label| label.as_str().starts_with(INTERFACE));
        for label in interfaces.filter(|label| other.labels.contains(label)) {
            found.push(hindrance(one, other, Obstacle::Interface(label.clone())));
        }
        let key = |a: &Summary, b: &Summary| (a.id.clone(), b.id.clone());
        let paths = self.conflicts.get(&key(one, other)).or_else(|| self.conflicts.get(&key(other, one)));
        found.extend(paths.map(|paths| hindrance(one, other, Obstacle::Conflict(paths.clone()))));
        let silent = [one, other].into_iter().filter(|task| task.paths.is_empty()).map(|task| task.id.clone());
        let silent: Vec<TaskId> = silent.collect();
        if !silent.is_empty() {
            found.push(hindrance(one, other, Obstacle::Unknown(silent)));
        }
        found
    }

    /// Puts each task into the first group in which nothing hinders it and which is behind all that it has to wait for.
    fn groups(&self, hindrances: &[Hindrance]) -> Vec<Vec<TaskId>> {
        let hindered: BTreeSet<(&TaskId, &TaskId)> =
            hindrances.iter().flat_map(|h| [(&h.first, &h.then), (&h.then, &h.first)]).collect();
        let ordered = hindrances.iter().filter(|h| matches!(h.why, Obstacle::Needs(_) | Obstacle::Order));
        let ordered: Vec<(&TaskId, &TaskId)> = ordered.map(|h| (&h.first, &h.then)).collect();
        let mut groups: Vec<Vec<TaskId>> = Vec::new();
        let mut place: BTreeMap<&TaskId, usize> = BTreeMap::new();
        let mut left: Vec<&TaskId> = self.tasks.iter().map(|task| &task.id).collect();
        while !left.is_empty() {
            let ahead = |id: &TaskId| -> Vec<&TaskId> {
                ordered.iter().filter(|(_, then)| *then == id).map(|(first, _)| *first).collect()
            };
            let free = left.iter().position(|id| ahead(id).iter().all(|first| place.contains_key(first)));
            // Where an order of cars contradicts what tasks need, the queue decides.
            let id = left.remove(free.unwrap_or(0));
            let earliest =
                ahead(id).into_iter().filter_map(|first| place.get(first)).map(|nth| nth + 1).max().unwrap_or(0);
            let fits = |group: &Vec<TaskId>| group.iter().all(|member| !hindered.contains(&(member, id)));
            let nth = (earliest..groups.len()).find(|nth| fits(&groups[*nth])).unwrap_or(groups.len());
            if nth == groups.len() {
                groups.push(Vec::new());
            }
            groups[nth].push(id.clone());
            place.insert(id, nth);
        }
        groups
    }
}

/// Which tasks have cars of which one lands after the other's, with no other task's in between.
fn order_of(cars: &[Car]) -> BTreeSet<(TaskId, TaskId)> {
    let by_id: BTreeMap<&CarId, &Car> = cars.iter().map(|car| (&car.id, car)).collect();
    let mut order = BTreeSet::new();
    for car in cars {
        let Some(then) = &car.task else { continue };
        let mut seen: BTreeSet<&CarId> = BTreeSet::new();
        let mut open: Vec<&CarId> = car.after.iter().collect();
        while let Some(ahead) = open.pop() {
            let Some(ahead) = by_id.get(ahead).filter(|ahead| seen.insert(&ahead.id)) else { continue };
            match &ahead.task {
                Some(first) => {
                    order.insert((first.id.clone(), then.id.clone()));
                }
                None => open.extend(&ahead.after),
            }
        }
    }
    order
}

impl Independence {
    /// What is in the way of a task: what it waits for, and those of the tasks that come before it.
    pub fn blockers(&self, id: &TaskId) -> Vec<TaskId> {
        let place = |id: &TaskId| self.groups.iter().position(|group| group.contains(id));
        let waits = self.waits.get(id).into_iter().flatten().cloned();
        let others = self.hindrances.iter().filter_map(|hindrance| match hindrance {
            Hindrance { first, then, .. } if then == id => Some(first),
            Hindrance { first, then, .. } if first == id => Some(then),
            _ => None,
        });
        let mut blockers: Vec<TaskId> = waits.chain(others.filter(|other| place(other) < place(id)).cloned()).collect();
        let mut seen = BTreeSet::new();
        blockers.retain(|blocker| seen.insert(blocker.clone()));
        blockers
    }

    /// Whether nothing hinders a task, neither another of the tasks nor one that it waits for, nor a person.
    pub fn is_independent(&self, id: &TaskId) -> bool {
        let hindered = self.hindrances.iter().any(|hindrance| hindrance.first == *id || hindrance.then == *id);
        !hindered && !self.has_to_wait(id)
    }

    /// Whether a task can be started now, along with all others that can.
    pub fn can_parallel(&self, id: &TaskId) -> bool {
        self.groups.first().is_some_and(|group| group.contains(id)) && !self.has_to_wait(id)
    }

    /// Whether a task cannot be started, whatever becomes of the others that were asked about.
    fn has_to_wait(&self, id: &TaskId) -> bool {
        self.waits.contains_key(id) || self.held.contains_key(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Priority;

    fn id(text: &str) -> TaskId {
        TaskId::parse(text).expect("an id")
    }

    /// A task of each line: its id, then words that begin with `path=`, `label=`, `needs=`.
    fn question(lines: &[&str]) -> Question {
        let mut question = Question::default();
        for (seq, line) in lines.iter().enumerate() {
            let mut words = line.split(' ');
            let name = id(words.next().expect("an id"));
            let of = |kind: &str| words.clone().filter_map(move |word| word.strip_prefix(kind)).collect::<Vec<_>>();
            question.needs.insert(name.clone(), of("needs=").into_iter().map(id).collect());
            question.tasks.push(Summary {
                id: name,
                seq: seq as u64,
                title: String::new(),
                state: TaskState::Queued,
                priority: Priority::P2,
                kind: None,
                size: None,
                labels: of("label=").into_iter().map(|text| Label::parse(text).expect("a label")).collect(),
                needs: Vec::new(),
                paths: of("path=").into_iter().map(|text| Pattern::parse(text).expect("a pattern")).collect(),
                claim: None,
            });
        }
        question
    }

    fn groups(answer: &Independence) -> String {
        let group = |group: &Vec<TaskId>| group.iter().map(TaskId::as_str).collect::<Vec<_>>().join(" ");
        answer.groups.iter().map(group).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn tasks_that_share_nothing_run_at_the_same_time() {
        let answer = question(&["1 path=src/a", "2 path=src/b", "3 path=docs/**"]).answer();
        assert_eq!((groups(&answer).as_str(), answer.hindrances.len()), ("1 2 3", 0));
        assert!(["1", "2", "3"].iter().all(|task| answer.is_independent(&id(task)) && answer.can_parallel(&id(task))));
    }

    #[test]
    fn common_paths_interfaces_and_silence_hinder() {
        let answer = question(&["1 path=src/**", "2 path=src/b", "3 path=docs", "4"]).answer();
        assert_eq!(groups(&answer), "1 3 | 2 | 4");
        assert_eq!(answer.blockers(&id("2")), [id("1")]);
        assert_eq!(answer.blockers(&id("4")), [id("1"), id("2"), id("3")]);
        assert!(!answer.is_independent(&id("3")), "nobody knows what 4 will touch");
        assert!(answer.can_parallel(&id("3")) && answer.blockers(&id("3")).is_empty());
        let same = ["1 path=a label=interface:x label=ui", "2 path=b label=interface:x", "3 path=c label=ui"];
        let answer = question(&same).answer();
        assert_eq!(groups(&answer), "1 3 | 2");
        assert_eq!(answer.hindrances[0].why, Obstacle::Interface(Label::parse("interface:x").expect("a label")));
    }

    #[test]
    fn what_is_needed_comes_first_however_far_it_is() {
        let mut question = question(&["1 path=a needs=x", "2 path=b", "3 path=c needs=9"]);
        question.needs.insert(id("x"), vec![id("y")]);
        question.needs.insert(id("y"), vec![id("2")]);
        let answer = question.answer();
        let needs = Hindrance { first: id("2"), then: id("1"), why: Obstacle::Needs(vec![id("x"), id("y")]) };
        assert_eq!((groups(&answer).as_str(), &answer.hindrances), ("2 3 | 1", &vec![needs]));
        assert_eq!(answer.waits[&id("1")], [id("x"), id("y")]);
        assert_eq!(answer.blockers(&id("3")), [id("9")]);
        assert!(!answer.can_parallel(&id("3")), "what it needs is not finished");
    }

    #[test]
    fn branches_that_collide_and_cars_in_order_hinder() {
        let mut question = question(&["1 path=a", "2 path=b", "3 path=c"]);
        question.conflicts.insert((id("2"), id("1")), vec!["lock".to_owned()]);
        question.after.insert((id("3"), id("2")));
        let answer = question.answer();
        assert_eq!(groups(&answer), "1 3 | 2");
        let whys: Vec<&Obstacle> = answer.hindrances.iter().map(|hindrance| &hindrance.why).collect();
        assert_eq!(whys, [&Obstacle::Conflict(vec!["lock".to_owned()]), &Obstacle::Order]);
        question.after.insert((id("2"), id("3")));
        assert_eq!(question.answer().groups.concat().len(), 3, "a contradiction leaves nobody out");
    }

    #[test]
    fn cars_hinder_by_way_of_others() {
        let mut question = question(&["1 path=a", "2 path=b", "3 path=c needs=x"]);
        // The third is needed by nobody, but by way of one that was not asked about.
        question.after = [("1", "y"), ("y", "2"), ("1", "x")].map(|(first, then)| (id(first), id(then))).into();
        let answer = question.answer();
        let order = |first: &str, then: &str| Hindrance { first: id(first), then: id(then), why: Obstacle::Order };
        assert_eq!(answer.hindrances, [order("1", "2"), order("1", "3")]);
        assert_eq!(groups(&answer), "1 | 2 3");
        question.after.insert((id("2"), id("1")));
        assert_eq!(question.answer().hindrances.len(), 4, "what goes round in circles ends");
    }

    #[test]
    fn what_a_person_blocked_cannot_be_started() {
        let mut question = question(&["1 path=a", "2 path=b"]);
        question.held.insert(id("1"), "legal".to_owned());
        let answer = question.answer();
        assert_eq!(
            ["1", "2"].map(|task| (answer.is_independent(&id(task)), answer.can_parallel(&id(task)))),
            [(false, false), (true, true)]
        );
    }
}
