//! One pass of a train of 100 cars on 5,000 files, beside plain git doing the same merges.
//!
//! - Each branch changes three files of its own, so that all merge. *Asks for all* is a pass over 100 cars of which
//!   nothing is known: it builds every candidate and asks for every test. *Has no news* is the next one, and *lands all*
//!   is one after every test has passed.
//! - Plain git does what the first needs at least: for each branch a `git merge-tree` onto what came of the one before
//!   and a `git commit-tree`, and then one push of the hundred commits.
//! - Every round begins from the same repositories, copied. Pushes are counted by a hook of the server; objects are the
//!   loose ones that appear in the clone.

use std::fs;
use std::path::PathBuf;

use crate::PROGRAM;
use crate::conflicts::{commit, content, file, import, path};
use crate::measure::{Cost, Samples, git, load, loose_objects, time};
use crate::support::Sandbox;

const CARS: usize = 100;
const FILES: usize = 5_000;
/// The most pushes of one pass.
const PUSHES_MAX: usize = 2;

fn name(car: usize) -> String {
    format!("car-{car:02}")
}

fn history() -> String {
    let mut stream = String::new();
    let settings = "[train]\nci = \"external\"\nwindow = 100\nwindow_max = 100\n";
    let files = (0..FILES).map(|nth| file(&path(nth), &content(nth, None)));
    let all: String = files.chain([file(".scrum.toml", settings)]).collect();
    commit(&mut stream, "main", 1, None, &all);
    for car in 0..CARS {
        let change = |part: usize| {
            let nth = car * FILES / CARS + part;
            file(&path(nth), &content(nth, Some((part, &format!("changed by {car}")))))
        };
        commit(&mut stream, &name(car), 2 + car, Some(":1".to_owned()), &(0..3).map(change).collect::<String>());
    }
    stream
}

/// A server and a clone, which can be put back to how they were.
struct Yard {
    sandbox: Sandbox,
}

impl Yard {
    fn new() -> Yard {
        let sandbox = Sandbox::new();
        fs::create_dir(sandbox.path("now")).expect("the sandbox is writable");
        let yard = Yard { sandbox };
        yard.sandbox.git(yard.sandbox.root(), &["init", "-q", "--bare", "-b", "main", "now/server"]);
        import(&yard.sandbox, &yard.server(), &history());
        yard.sandbox.git(yard.server(), &["gc", "-q"]);
        yard.sandbox.git(yard.sandbox.root(), &["clone", "-q", "now/server", "now/clone"]);
        let hook = yard.server().join("hooks/pre-receive");
        fs::create_dir_all(hook.parent().expect("a directory")).expect("the sandbox is writable");
        fs::write(&hook, "#!/bin/sh\necho pushed >> pushes\n").expect("the sandbox is writable");
        fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it was just written");
        yard
    }

    fn server(&self) -> PathBuf {
        self.sandbox.path("now/server")
    }

    fn clone(&self) -> PathBuf {
        self.sandbox.path("now/clone")
    }

    fn scrum(&self, args: &[&str]) -> (Cost, String) {
        let mut command = self.sandbox.command(PROGRAM);
        time(command.current_dir(self.clone()).args(args), &[0])
    }

    fn keep(&self, as_name: &str) {
        self.copy("now", as_name);
    }

    fn back_to(&self, kept: &str) {
        fs::remove_dir_all(self.sandbox.path("now")).expect("it is there");
        self.copy(kept, "now");
        fs::remove_file(self.server().join("pushes")).ok();
    }

    fn copy(&self, from: &str, to: &str) {
        let mut copy = self.sandbox.command("cp");
        time(copy.args(["-a", from, to]).current_dir(self.sandbox.root()), &[0]);
    }

    fn pushes(&self) -> usize {
        fs::read_to_string(self.server().join("pushes")).unwrap_or_default().lines().count()
    }

    /// The same merges by plain git.
    fn plain(&self) -> Cost {
        let (mut cost, mut tip) =
            (Cost { wall_ms: 0.0, cpu_ms: 0.0 }, self.sandbox.git(self.clone(), &["rev-parse", "HEAD"]));
        let mut refspecs = Vec::new();
        let mut run = |args: &[&str]| {
            let mut command = self.sandbox.command(git());
            let (spent, said) = time(command.current_dir(self.clone()).args(args), &[0]);
            (cost.wall_ms, cost.cpu_ms) = (cost.wall_ms + spent.wall_ms, cost.cpu_ms + spent.cpu_ms);
            said.lines().next().unwrap_or_default().to_owned()
        };
        for car in 0..CARS {
            let branch = format!("origin/{}", name(car));
            let tree = run(&["merge-tree", "--write-tree", "--no-messages", &tip, &branch]);
            tip = run(&["commit-tree", &tree, "-p", &tip, "-p", &branch, "-m", &name(car)]);
            refspecs.push(format!("{tip}:refs/heads/candidates/{car}"));
        }
        let push = ["push", "-q", "origin"].into_iter().chain(refspecs.iter().map(String::as_str));
        run(&push.collect::<Vec<_>>());
        cost
    }
}

/// Prints what passes cost in so many rounds.
///
/// # Panics
/// Where a pass does not do what it is measured for.
pub fn run(rounds: usize) {
    let yard = Yard::new();
    yard.scrum(&["init"]);
    for car in 0..CARS {
        yard.scrum(&["submit", "--branch", &name(car)]);
    }
    yard.keep("submitted");
    let (_, asked) = yard.scrum(&["merge-train", "--json"]);
    let asked: serde_json::Value = serde_json::from_str(&asked).expect("JSON");
    let runs = asked["data"]["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), CARS, "a test of every car");
    // The first comes last: until then nothing lands.
    for run in runs.iter().rev() {
        yard.scrum(&["verdict", "pass", "--commit", run["commit"].as_str().expect("a commit")]);
    }
    yard.keep("passed");
    let mut samples: [Samples; 4] = Default::default();
    let (mut objects, mut pushes) = ([0; 3], [0; 3]);
    println!("\n{rounds} rounds of passes; load when they begin: {}", load());
    for round in 0..=rounds {
        yard.back_to("submitted");
        let plain = yard.plain();
        yard.back_to("submitted");
        let mut costs = vec![plain];
        for nth in 0..3 {
            if nth == 2 {
                yard.back_to("passed");
            }
            let (written, pushed) = (loose_objects(&yard.sandbox, &yard.clone()), yard.pushes());
            let (cost, _) = yard.scrum(&["merge-train", "--json"]);
            objects[nth] = loose_objects(&yard.sandbox, &yard.clone()) - written;
            pushes[nth] = yard.pushes() - pushed;
            costs.push(cost);
        }
        let landed = yard.sandbox.git(yard.server(), &["rev-list", "--count", "--first-parent", "main"]);
        assert_eq!(landed, (CARS + 1).to_string(), "all have landed");
        // The first round warms up.
        if round > 0 {
            samples.iter_mut().zip(costs).for_each(|(samples, cost)| samples.add(cost));
        }
    }
    println!("load when they have ended: {}", load());
    table(&samples, objects, pushes);
}

fn table(samples: &[Samples; 4], objects: [u64; 3], pushes: [usize; 3]) {
    println!("\n## A pass over {CARS} cars on {FILES} files: wall time in ms, and mean processor time\n");
    println!("{:<40}{:>9}{:>9}{:>9}{:>9}{:>9}  bars", "", "median", "p95", "cpu", "objects", "pushes");
    let print = |name: &str, samples: &Samples, more: String| {
        println!(
            "{name:<40}{:>9.0}{:>9.0}{:>9.0}{more}",
            samples.median_ms(),
            samples.quantile_ms(0.95),
            samples.cpu_ms()
        );
    };
    print("git merge-tree and commit-tree, one push", &samples[0], String::new());
    for (nth, name) in
        ["a pass that asks for all", "a pass that has no news", "a pass that lands all"].iter().enumerate()
    {
        let verdict = if pushes[nth] <= PUSHES_MAX { "PASS" } else { "FAIL" };
        let more = format!("{:>9}{:>9}  {verdict} (at most {PUSHES_MAX} pushes)", objects[nth], pushes[nth]);
        print(name, &samples[nth + 1], more);
    }
}
