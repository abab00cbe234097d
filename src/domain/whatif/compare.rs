//! Several settings side by side, and whether any of them is worth changing to.
//!
//! A gain has to be real: at least a tenth less of what people wait or machines do, nothing lost for it, no fewer cars
//! landed, and none that waits for ever. On the same cars, that is; other cars are another question.

use super::load::Trace;
use super::own::OwnTrain;
use super::world::{Limits, Totals, run};
use crate::domain::planner::TrainPolicy;

/// Settings as they are simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// What the planner is told.
    pub policy: TrainPolicy,
    /// How long there is between two passes, in the unit of the traces; 0: a pass whenever something happens.
    pub interval: f64,
}

/// A setting that is better than another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Advice {
    /// Which of the results it gave.
    pub which: usize,
    /// In what it is better.
    pub gain: Gain,
}

/// In what a setting is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gain {
    /// Nearly all cars land sooner, with no more runs.
    Turnaround,
    /// Cars take fewer runs, and land no later.
    Runs,
}

/// How much of what there was a gain has to leave at most.
const LEFT_MAX: f64 = 0.9;

/// Plays all traces with a setting, each with a seed of its own from `seed` on.
pub fn compare(traces: &[Trace], setting: &Setting, seed: u64) -> Totals {
    let Setting { policy, interval } = setting;
    let slots = if policy.slots == 0 { usize::MAX } else { policy.slots as usize };
    let limits = Limits { slots, interval: *interval, waits: !policy.external };
    let mut totals = Totals::default();
    for (nth, trace) in traces.iter().enumerate() {
        totals.add(run(trace, limits, seed.wrapping_add(nth as u64), &mut OwnTrain::new(policy.clone())));
    }
    totals
}

/// The best of the others, if it is enough better than what there is: the one with which cars land soonest, or else the
/// one with the fewest runs; of equals the first.
pub fn advise(now: &Totals, others: &[Totals]) -> Option<Advice> {
    let best = |gain: Gain| {
        let better = others.iter().enumerate().filter(|(_, other)| gains(gain, now, other));
        better.min_by(|(_, a), (_, b)| measure(gain, a).total_cmp(&measure(gain, b))).map(|(which, _)| which)
    };
    let advice = |gain: Gain| best(gain).map(|which| Advice { which, gain });
    advice(Gain::Turnaround).or_else(|| advice(Gain::Runs))
}

/// What is to become less.
fn measure(gain: Gain, totals: &Totals) -> f64 {
    match gain {
        Gain::Turnaround => totals.quantile(0.95),
        Gain::Runs => totals.runs_per_car(),
    }
}

fn gains(gain: Gain, now: &Totals, other: &Totals) -> bool {
    let less = measure(gain, other) <= LEFT_MAX * measure(gain, now) && measure(gain, other) < measure(gain, now);
    let no_worse = match gain {
        Gain::Turnaround => other.runs <= now.runs,
        Gain::Runs => [0.5, 0.95].iter().all(|part| other.quantile(*part) <= now.quantile(*part)),
    };
    less && no_worse && other.waiting == 0 && other.landed.len() >= now.landed.len()
}

#[cfg(test)]
mod tests {
    use super::super::load::{Arrival, Arrivals, Flaw, Mix};
    use super::super::own::number_of;
    use super::super::{History, Recorded};
    use super::*;
    use crate::domain::planner::{BatchPolicy, WindowPolicy};
    use crate::domain::{Batch, Branch, CarId, Command, Priority};

    /// Every car by itself, in a window of so many.
    fn single(window: u32, slots: u32) -> Setting {
        let window = WindowPolicy::within(window, window, window);
        let policy = TrainPolicy { window, slots, ..TrainPolicy::PLAIN };
        Setting { policy, interval: 0.0 }
    }

    fn batches(slots: u32) -> Setting {
        let single = single(20, slots);
        Setting {
            policy: TrainPolicy { batch: BatchPolicy { cars_max: 0, ..BatchPolicy::SINGLE }, ..single.policy },
            ..single
        }
    }

    fn car(at: f64, run_time: f64) -> Arrival {
        Arrival {
            at,
            priority: Priority::default(),
            after: Vec::new(),
            together: Vec::new(),
            single: false,
            flaw: None,
            run_time,
        }
    }

    fn of(cars: Vec<Arrival>) -> [Trace; 1] {
        [Trace { cars, ..Trace::default() }]
    }

    #[test]
    fn good_cars_of_a_serial_train_land_one_a_run_and_all_at_once_in_a_wide_window() {
        let traces = of((0..5).map(|_| car(0.0, 600.0)).collect());
        let serial = compare(&traces, &single(1, 0), 1);
        assert_eq!(serial.landed, [600.0, 1200.0, 1800.0, 2400.0, 3000.0]);
        assert_eq!((serial.runs, serial.ejected, serial.waiting), (5, 0, 0));
        let wide = compare(&traces, &single(5, 0), 1);
        assert_eq!((wide.landed, wide.runs), (vec![600.0; 5], 5));
    }

    #[test]
    fn passes_are_made_on_the_interval_and_only_there() {
        let traces = of(vec![car(0.0, 100.0), car(10.0, 100.0)]);
        let totals = compare(&traces, &Setting { interval: 60.0, ..single(1, 0) }, 1);
        // The first is begun at 0 and over at 100, seen at 120; the second is over at 220, seen at 240.
        assert_eq!(totals.landed, [120.0, 230.0]);
    }

    #[test]
    fn cars_that_gather_are_tested_when_enough_are_there_or_the_first_has_waited_long_enough() {
        let gather = |setting: Setting| {
            let policy = TrainPolicy { gather: (3, crate::domain::Seconds(300)), ..setting.policy };
            Setting { policy, ..setting }
        };
        let two = of(vec![car(0.0, 100.0), car(60.0, 100.0)]);
        let three = of(vec![car(0.0, 100.0), car(60.0, 100.0), car(90.0, 100.0)]);
        for (slots, external) in [(0, true), (1, false)] {
            let mut batches = batches(slots);
            batches.policy.external = external;
            let setting = gather(batches);
            let totals = compare(&two, &setting, 1);
            assert_eq!((totals.landed, totals.waiting), (vec![400.0, 340.0], 0), "{setting:?}");
            let totals = compare(&three, &setting, 1);
            assert_eq!((totals.landed[0], totals.waiting), (190.0, 0), "{setting:?}");
        }
        let totals = compare(&two, &Setting { interval: 240.0, ..gather(single(8, 0)) }, 1);
        assert_eq!((totals.landed, totals.waiting), (vec![720.0, 660.0], 0), "seen by the passes at 480 and 720");
    }

    #[test]
    fn the_machine_s_own_checks_are_not_disturbed() {
        let urgent = Arrival { priority: Priority::P0, ..car(40.0, 100.0) };
        let traces = of(vec![car(0.0, 100.0), urgent]);
        let elsewhere = single(1, 1);
        let here = Setting { policy: TrainPolicy { external: false, ..elsewhere.policy.clone() }, interval: 0.0 };
        assert_eq!(compare(&traces, &here, 1).hotfixes, [160.0]);
        assert_eq!(compare(&traces, &elsewhere, 1).hotfixes, [100.0], "what is urgent does not wait for others");
    }

    #[test]
    fn what_is_urgent_has_the_next_slot_or_with_preemption_one_at_once() {
        let flawed = Arrival { flaw: Some(Flaw::Fails), ..car(0.0, 100.0) };
        let urgent = Arrival { priority: Priority::P0, ..car(150.0, 100.0) };
        let good = || car(0.0, 100.0);
        let traces = of(vec![good(), good(), good(), flawed, urgent]);
        // Four are tested together until 100, and then one half of them, and after that the other.
        let usual = batches(1);
        assert_eq!(compare(&traces, &usual, 1).hotfixes, [150.0]);
        let policy = TrainPolicy { preempt: true, ..usual.policy.clone() };
        let totals = compare(&traces, &Setting { policy, ..usual }, 1);
        assert_eq!((totals.hotfixes, totals.landed.len(), totals.innocents), (vec![100.0], 4, 0));
    }

    #[test]
    fn a_car_that_is_being_tested_is_not_put_together_with_who_comes_later() {
        let totals = compare(&of(vec![car(0.0, 10.0), car(5.0, 10.0)]), &batches(1), 1);
        assert_eq!((totals.landed, totals.runs), (vec![10.0, 15.0], 2));
    }

    #[test]
    fn many_cars_that_are_tested_anew_are_tested_two_by_two() {
        let bad = Arrival { flaw: Some(Flaw::Fails), ..car(0.0, 10.0) };
        let totals = compare(&of([vec![bad], vec![car(0.0, 10.0); 4]].concat()), &batches(8), 1);
        assert_eq!((totals.landed, totals.runs), (vec![20.0; 4], 5 + 2));
    }

    #[test]
    fn what_passed_apart_does_not_wait_for_a_line_that_failed() {
        let bad = Arrival { flaw: Some(Flaw::Fails), ..car(0.0, 10.0) };
        let totals = compare(&of([vec![bad], vec![car(0.0, 10.0); 19]].concat()), &batches(4), 1);
        // Five, five and five stand in line, and five are tested apart.
        assert_eq!(totals.landed.iter().filter(|took| **took == 10.0).count(), 5, "{totals:?}");
        assert_eq!((totals.landed.len(), totals.ejected, totals.innocents), (19, 1, 0));
    }

    #[test]
    fn a_run_takes_as_long_as_those_of_its_last_car() {
        let totals = compare(&of(vec![car(0.0, 10.0), car(0.0, 50.0)]), &single(2, 0), 1);
        assert_eq!(totals.landed, [10.0, 50.0]);
    }

    #[test]
    fn what_is_flawed_leaves_and_takes_what_needs_it_along() {
        let flawed = |flaw| Arrival { flaw: Some(flaw), ..car(0.0, 10.0) };
        let needs = |first, at| Arrival { after: vec![first], ..car(at, 10.0) };
        let cars =
            vec![flawed(Flaw::Fails), needs(0, 0.0), flawed(Flaw::DoesNotMerge), car(0.0, 10.0), needs(0, 500.0)];
        let totals = compare(&of(cars), &single(10, 0), 1);
        // The last good one is behind the bad one at first, and tested anew once that has failed.
        assert_eq!((totals.landed.len(), totals.ejected, totals.innocents, totals.waiting), (1, 4, 0, 0));
        // A conflict costs no test, and what needs a car that has left is not even begun.
        assert!(totals.runs <= 5, "{totals:?}");
    }

    /// What `setting` makes of a trace is recorded, read back, and played again with the same setting.
    fn played_twice(trace: &Trace, setting: &Setting, seed: u64) -> (Totals, Recorded) {
        let slots = if setting.policy.slots == 0 { usize::MAX } else { setting.policy.slots as usize };
        let mut own = OwnTrain::new(setting.policy.clone());
        let totals =
            run(trace, Limits { slots, interval: setting.interval, waits: !setting.policy.external }, seed, &mut own);
        let mut history = History::new(Branch::parse("main").expect("a branch"));
        own.rehearsal.recorded.iter().for_each(|(operation, outcome)| history.note(operation, outcome));
        for (operation, _) in &own.rehearsal.recorded {
            let Command::ChangeRuns { batches: Some(batches), .. } = &operation.command else { continue };
            let is_single = |id: &CarId| trace.cars[number_of(id) as usize].single;
            let alone = |batch: &Batch| batch.cars.len() == 1 || !batch.cars.iter().any(is_single);
            assert!(batches.iter().all(alone), "seed {seed}: {batches:?}");
        }
        (totals, history.recorded(usize::MAX).expect("cars were decided"))
    }

    /// A trace in whole seconds, as clocks of boards count them.
    fn whole(mix: &Mix, cars: usize, seed: u64) -> Trace {
        let mut trace = Trace::new(mix, cars, seed).stretched(600.0);
        let first = trace.cars[0].at.floor();
        for (nth, car) in trace.cars.iter_mut().enumerate() {
            car.at = car.at.floor() - first;
            car.run_time += (nth * 37 % 300) as f64;
            car.after = (0..nth as u32).filter(|first| (first * 7 + nth as u32).is_multiple_of(23)).take(2).collect();
            if nth % 19 == 18 {
                car.flaw = Some(Flaw::DoesNotMerge);
            }
        }
        trace
    }

    #[test]
    fn what_was_recorded_plays_again_as_it_was() {
        for (seed, setting) in
            (1..=40).flat_map(|seed| [single(8, 0), single(1, 0), single(20, 4), batches(3)].map(|s| (seed, s)))
        {
            let arrivals = if seed % 2 == 0 { Arrivals::Burst(30) } else { Arrivals::Poisson(2.0) };
            let mix = Mix {
                arrivals,
                failure_rate: 0.1,
                conflict_rate: 0.0,
                flake_rate: 0.0,
                outside_rate: 0.0,
                hotfix_rate: 0.1,
            };
            let mut trace = whole(&mix, 30, seed);
            trace.cars.iter_mut().skip(3).step_by(7).for_each(|car| car.single = true);
            for nth in [5, 12, 20, 27] {
                for of in [nth, nth + 1] {
                    let car = &mut trace.cars[of as usize];
                    (car.after, car.together) = (Vec::new(), vec![nth, nth + 1]);
                }
            }
            let (first, recorded) = played_twice(&trace, &setting, seed);
            let again = compare(std::slice::from_ref(&recorded.trace), &setting, seed);
            assert_eq!(recorded.left_out, 0, "seed {seed}");
            let sorted = |mut times: Vec<f64>| {
                times.sort_by(f64::total_cmp);
                times
            };
            assert_eq!(sorted(recorded.result.landed), sorted(first.landed.clone()), "seed {seed}");
            // What needs a car that has left is not taken into the train, and so not on record.
            let refused = trace.cars.len() - recorded.trace.cars.len();
            let ejected = first.ejected - refused;
            assert_eq!((recorded.result.runs, recorded.result.ejected), (first.runs, ejected), "seed {seed}");
            assert_eq!((again.landed, again.runs, again.ejected), (first.landed, first.runs, ejected), "seed {seed}");
        }
    }

    #[test]
    fn nobody_is_thrown_out_for_what_others_did() {
        let mix = |arrivals, conflict_rate| Mix {
            arrivals,
            failure_rate: 0.15,
            conflict_rate,
            flake_rate: 0.0,
            outside_rate: 0.05,
            hotfix_rate: 0.1,
        };
        for seed in 1..=60 {
            let mixes = [Arrivals::Burst(20), Arrivals::Poisson(1.0), Arrivals::Poisson(3.0)];
            let traces = mixes.map(|arrivals| Trace::new(&mix(arrivals, seed as f64 % 3.0 * 0.01), 20, seed));
            for external in [false, true] {
                for slots in 1..=3 {
                    let batches = batches(slots);
                    // Some wait for others to clear them, who must not wait for them in turn.
                    let tolerate = seed as u32 % 4;
                    let batch = BatchPolicy { relaxed: seed % 8 < 4, ..batches.policy.batch };
                    let policy = TrainPolicy { external, tolerate, batch, ..batches.policy };
                    let setting = Setting { policy, ..batches };
                    let totals = compare(&traces, &setting, seed);
                    let what = (totals.innocents, totals.waiting, totals.landed.len() + totals.ejected);
                    assert_eq!(what, (0, 0, 60), "seed {seed}, {setting:?}");
                }
            }
        }
    }

    #[test]
    fn flakes_are_estimated_from_tests_of_what_landed() {
        let mix = Mix {
            arrivals: Arrivals::Poisson(2.0),
            failure_rate: 0.1,
            conflict_rate: 0.0,
            flake_rate: 0.2,
            outside_rate: 0.0,
            hotfix_rate: 0.0,
        };
        // In a batch, a flake is nobody's fault; a car that meets it alone is judged by it.
        let flakes = |mix| played_twice(&whole(&mix, 200, 1), &batches(2), 1).1.trace.flake_rate;
        assert!((0.02..0.2).contains(&flakes(mix)), "{}", flakes(mix));
        assert_eq!(flakes(Mix { flake_rate: 0.0, ..mix }), 0.0);
    }

    #[test]
    fn only_a_real_gain_is_advised() {
        let totals = |landed: &[f64], runs| Totals { landed: landed.to_vec(), runs, ..Totals::default() };
        let now = totals(&[100.0, 100.0], 4);
        let sooner = Some(Advice { which: 0, gain: Gain::Turnaround });
        let fewer = Some(Advice { which: 0, gain: Gain::Runs });
        let cases: &[(&[f64], usize, Option<Advice>)] = &[
            (&[90.0, 90.0], 4, sooner),
            (&[91.0, 91.0], 4, None),
            (&[10.0, 10.0], 5, None),
            (&[10.0], 2, None),
            (&[100.0, 100.0], 3, fewer),
            (&[100.0, 101.0], 3, None),
            (&[], 0, None),
        ];
        for (landed, runs, expected) in cases {
            assert_eq!(advise(&now, &[totals(landed, *runs)]), *expected, "{landed:?} {runs}");
        }
        let stuck = Totals { waiting: 1, ..totals(&[10.0, 10.0], 1) };
        assert_eq!(advise(&now, &[stuck]), None, "some would never land");
        let better = advise(&now, &[totals(&[100.0, 100.0], 2), totals(&[80.0, 80.0], 4), totals(&[70.0, 70.0], 4)]);
        assert_eq!(better, Some(Advice { which: 2, gain: Gain::Turnaround }));
        assert_eq!(advise(&totals(&[0.0], 1), &[totals(&[0.0], 1)]), None, "nothing cannot become less");
    }
}
