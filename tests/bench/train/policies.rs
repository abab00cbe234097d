//! Other merge queues, as far as they decide what is tested when.

use std::collections::{BTreeSet, VecDeque};

use git_scrum::domain::whatif::{CarNo, Policy, Tree, World};

/// How long each test takes.
const RUN: f64 = 1.0;

/// Zuul's dependent pipeline with a fixed window: every car is tested behind the nearest ones ahead that have not
/// failed. A window of one is the serial queue.
pub struct Zuul {
    pub window: usize,
}

impl Policy for Zuul {
    fn pass(&mut self, world: &mut World<'_>) {
        loop {
            let (mut stem, mut landing): (Vec<CarNo>, usize) = (Vec::new(), 0);
            let mut wanted: Vec<Tree> = Vec::new();
            let mut failed = None;
            for car in world.ordered().into_iter().take(self.window) {
                stem.push(car);
                let tree = world.tree(&stem);
                match world.known.get(&tree) {
                    Some(true) if landing + 1 == stem.len() => landing += 1,
                    Some(true) => {}
                    Some(false) if stem.len() == 1 => {
                        failed = Some(car);
                        break;
                    }
                    Some(false) => drop(stem.pop()),
                    None => wanted.push(tree),
                }
            }
            match failed {
                Some(car) => world.eject(car),
                None if landing > 0 => world.land(&stem[..landing]),
                None => {
                    world.keep_only(&wanted);
                    for tree in wanted {
                        world.start(tree, RUN);
                    }
                    return;
                }
            }
        }
    }
}

/// bors-ng: one batch at a time; one that fails is halved, and its halves queue again. Whoever arrives joins the batch
/// that waits last.
#[derive(Default)]
pub struct Bors {
    waiting: VecDeque<Vec<CarNo>>,
    under_test: Option<Vec<CarNo>>,
    seen: BTreeSet<CarNo>,
}

impl Policy for Bors {
    fn pass(&mut self, world: &mut World<'_>) {
        let fresh: Vec<CarNo> = world.ordered().into_iter().filter(|car| self.seen.insert(*car)).collect();
        let (urgent, fresh): (Vec<CarNo>, Vec<CarNo>) = fresh.into_iter().partition(|car| world.trace.is_hotfix(*car));
        // Different priorities never share a batch.
        for car in urgent {
            self.waiting.push_front(vec![car]);
        }
        if !fresh.is_empty() {
            match self.waiting.back_mut().filter(|batch| !world.trace.is_hotfix(batch[0])) {
                Some(batch) => batch.extend(fresh),
                None => self.waiting.push_back(fresh),
            }
        }
        loop {
            let Some(batch) = self.under_test.take().or_else(|| self.waiting.pop_front()) else { return };
            let tree = world.tree(&batch);
            match world.known.get(&tree) {
                Some(true) => world.land(&batch),
                Some(false) if batch.len() == 1 => world.eject(batch[0]),
                Some(false) => {
                    let (first, second) = batch.split_at(batch.len() / 2);
                    self.waiting.extend([first.to_vec(), second.to_vec()]);
                }
                None => {
                    world.keep_only(std::slice::from_ref(&tree));
                    world.start(tree, RUN);
                    self.under_test = Some(batch);
                    return;
                }
            }
        }
    }
}

/// Knows what is bad, and tests what is good all together, at once.
pub struct Oracle;

impl Policy for Oracle {
    fn pass(&mut self, world: &mut World<'_>) {
        let mut together = Vec::new();
        for car in world.ordered() {
            together.push(car);
            if !world.is_good(&world.tree(&together)) {
                together.pop();
                // What fails together with one that may still be thrown out is looked at again.
                if !world.is_good(&world.tree(&[car])) {
                    world.eject(car);
                }
            }
        }
        let ready_at = |car: &CarNo| world.trace.cars[*car as usize].at + RUN;
        // Whatever is good together is good without some of it.
        let (ready, left): (Vec<CarNo>, Vec<CarNo>) = together.iter().partition(|car| ready_at(car) <= world.now);
        let wake = left.iter().map(ready_at).fold(f64::INFINITY, f64::min);
        if !ready.is_empty() {
            world.result.runs += 1;
            world.land_untested(&ready);
            return self.pass(world);
        }
        world.running.clear();
        if wake.is_finite() {
            // So that it looks again.
            world.running.push((world.tree(&left), wake));
        }
    }
}
