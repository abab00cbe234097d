//! How fast cars land, and what that costs in tests: this train, others, and one that knows everything, on the same
//! traces.
//!
//! `cargo bench --bench train`; `-- --quick` for a short form, `-- --traces N` for another number of traces of each kind.
//! Everything is simulated but what decides: the rules and the planner of the program, on a board in memory. Prints a
//! table for each kind of traffic: how long cars that landed had waited, in times of one test, tests for each of them,
//! and how many were thrown out though nothing was wrong with them. It never fails because of a bar; it does where the
//! target turns red, or where something lands that was not tested as it lands.
//!
//! - *serial* is Zuul's window of one; *Zuul* a dependent pipeline with a fixed window of 8; *bors* halves one batch at
//!   a time; the *oracle* knows what is bad and has slots without end.
//! - Of 16 cars under way at once, two fail together with a probability of 0.4. In a burst all are under way at once;
//!   of a stream each and its 15 neighbours on either side.

#![allow(clippy::print_stdout, reason = "printing tables is the purpose of this program")]

mod policies;

use git_scrum::domain::planner::{BatchPolicy, TrainPolicy};
use git_scrum::domain::whatif::{Arrivals, Limits, Mix, OwnTrain, Policy, Totals, Trace, run};
use policies::{Bors, Oracle, Zuul};

/// Cars of a trace that is no burst.
const STREAM_CARS: usize = 200;
/// The fixed window of the pipeline that is compared with.
const ZUUL_WINDOW: usize = 8;

/// So many cars at once conflict, any two of them, with this probability.
const CONFLICTS: (i32, f64) = (16, 0.4);
/// What the trains of the bars may use.
const LIMITS: Limits = Limits { slots: 8, interval: 0.0, waits: false };

/// The mix of the bars.
fn usual(arrivals: Arrivals) -> Mix {
    let (cars, probability) = CONFLICTS;
    let pairs = f64::from(cars * (cars - 1) / 2);
    let conflict_rate = 1.0 - (1.0 - probability).powf(1.0 / pairs);
    Mix { arrivals, failure_rate: 0.05, conflict_rate, flake_rate: 0.0, outside_rate: 0.0, hotfix_rate: 0.0 }
}

fn name(arrivals: Arrivals) -> String {
    match arrivals {
        Arrivals::Burst(cars) => format!("burst of {cars}"),
        Arrivals::Poisson(rate) => format!("{rate} a run time"),
    }
}

fn ours(limits: Limits) -> OwnTrain {
    let batch = BatchPolicy { cars_max: 0, ..BatchPolicy::SINGLE };
    OwnTrain::new(TrainPolicy { slots: limits.slots as u32, batch, ..TrainPolicy::PLAIN })
}

/// What of the program's own must hold, against one of the others.
struct Bar {
    against: &'static str,
    p95_max: f64,
    runs_max: f64,
}

fn main() {
    let mut traces = 60;
    let mut args = std::env::args().skip(1);
    let mut quick = false;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => (quick, traces) = (true, 6),
            "--traces" => traces = args.next().and_then(|n| n.parse().ok()).expect("--traces N"),
            // Cargo says so to every benchmark.
            "--bench" => {}
            other => panic!("{other}: use --quick, --traces N"),
        }
    }
    let zuul = |p95_max, runs_max| Some(Bar { against: "Zuul", p95_max, runs_max });
    let bors = Some(Bar { against: "bors", p95_max: 1.0, runs_max: 1.0 });
    let one_slot = Limits { slots: 1, ..LIMITS };
    let (burst, poisson) = (Arrivals::Burst, Arrivals::Poisson);
    let mut kinds: Vec<(Mix, Limits, Option<Bar>)> = vec![
        (usual(burst(8)), LIMITS, None),
        (usual(burst(32)), LIMITS, zuul(0.85, 0.75)),
        (usual(burst(100)), LIMITS, zuul(0.85, 0.75)),
        (usual(poisson(0.5)), LIMITS, None),
        (usual(poisson(2.0)), LIMITS, zuul(1.05, 1.0)),
        (usual(poisson(8.0)), LIMITS, zuul(0.5, f64::INFINITY)),
        (usual(burst(32)), one_slot, bors),
        (usual(poisson(1.0)), one_slot, Some(Bar { against: "bors", p95_max: 1.0, runs_max: 1.0 })),
    ];
    if !quick {
        let burst = usual(burst(32));
        for failure_rate in [0.0, 0.02, 0.1, 0.2] {
            kinds.push((Mix { failure_rate, ..burst }, LIMITS, None));
        }
        for flake_rate in [0.01, 0.05] {
            kinds.push((Mix { flake_rate, ..burst }, LIMITS, None));
        }
        for slots in [2, 4, 16, 64] {
            kinds.push((burst, Limits { slots, ..LIMITS }, None));
        }
        for interval in [0.1, 0.5] {
            kinds.push((usual(poisson(2.0)), Limits { interval, ..LIMITS }, None));
        }
        kinds.push((Mix { outside_rate: 0.02, hotfix_rate: 0.02, ..usual(poisson(2.0)) }, LIMITS, None));
        kinds.push((Mix { outside_rate: 0.02, hotfix_rate: 0.02, ..usual(poisson(8.0)) }, LIMITS, None));
        kinds.push((usual(poisson(4.0)), LIMITS, None));
    }
    for (mix, limits, bar) in &kinds {
        measure(mix, *limits, bar.as_ref(), traces);
    }
}

fn measure(mix: &Mix, limits: Limits, bar: Option<&Bar>, traces: u64) {
    let cars = if let Arrivals::Burst(cars) = mix.arrivals { cars } else { STREAM_CARS };
    let Mix { failure_rate, flake_rate, outside_rate, hotfix_rate, .. } = mix;
    let Limits { slots, interval, .. } = limits;
    println!(
        "\n{}: {failure_rate} fail, {flake_rate} flake, {slots} slots, a pass every {interval}, {outside_rate} pushed \
         past the train, {hotfix_rate} hotfixes",
        name(mix.arrivals)
    );
    println!("{:<8}{:>9}{:>8}{:>8}{:>8}{:>11}{:>11}", "", "landed", "P50", "P95", "P99", "runs a car", "innocents");
    let all = |make: &dyn Fn() -> Box<dyn Policy>| {
        let mut totals = Totals::default();
        for seed in 1..=traces {
            totals.add(run(&Trace::new(mix, cars, seed), limits, seed, make().as_mut()));
        }
        assert_eq!(totals.waiting, 0, "nothing happens any more, and cars wait");
        totals
    };
    let results: [(&str, Totals); 5] = [
        ("serial", all(&|| Box::new(Zuul { window: 1 }))),
        ("bors", all(&|| Box::<Bors>::default())),
        ("Zuul", all(&|| Box::new(Zuul { window: ZUUL_WINDOW }))),
        ("oracle", all(&|| Box::new(Oracle))),
        ("ours", all(&|| Box::new(ours(limits)))),
    ];
    for (name, totals) in &results {
        print!(
            "{name:<8}{:>9}{:>8.2}{:>8.2}{:>8.2}{:>11.2}{:>11}",
            totals.landed.len(),
            totals.quantile(0.5),
            totals.quantile(0.95),
            totals.quantile(0.99),
            totals.runs_per_car(),
            totals.innocents,
        );
        let delay = totals.hotfix_delay();
        println!("{}", if delay.is_nan() { String::new() } else { format!("   hotfixes P95 {delay:.2}") });
    }
    let of = |name: &str| results.iter().find(|(known, _)| *known == name).map(|(_, totals)| totals);
    let (Some(ours), Some(oracle)) = (of("ours"), of("oracle")) else { return };
    let over = |part: f64| ours.quantile(part) / oracle.quantile(part);
    println!("  ours to the oracle: P50 {:.2} x, P95 {:.2} x, P99 {:.2} x", over(0.5), over(0.95), over(0.99));
    for name in ["Zuul", "bors"] {
        let Some(other) = of(name) else { continue };
        let p95 = ours.quantile(0.95) / other.quantile(0.95);
        let runs = ours.runs_per_car() / other.runs_per_car();
        let judged = bar.filter(|bar| bar.against == name).map(|bar| {
            let word = if p95 <= bar.p95_max && runs <= bar.runs_max { "PASS" } else { "FAIL" };
            format!(" {word} (at most {} x, {} x)", bar.p95_max, bar.runs_max)
        });
        println!("  ours to {name}: P95 {p95:.2} x, runs a car {runs:.2} x{}", judged.unwrap_or_default());
    }
}
