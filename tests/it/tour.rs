//! The tour of the README, run as it is printed there.

use std::path::Path;

use crate::scrum::{PROGRAM, answer};
use crate::support::Sandbox;

const README: &str = include_str!("../../README.md");

/// The blocks that are marked as parts of the tour, in order.
fn blocks() -> Vec<&'static str> {
    let marked = README.split("<!-- tour -->\n```sh\n").skip(1);
    marked.map(|rest| rest.split("\n```").next().expect("a block ends")).collect()
}

#[test]
fn every_command_of_the_tour_works_and_the_story_is_true() {
    let sandbox = Sandbox::new();
    assert_eq!(blocks().len(), 6);
    let script = blocks().join("\n");
    let programs = Path::new(PROGRAM).parent().expect("a directory");
    let path = std::env::join_paths(
        [programs.to_path_buf()].into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").expect("a PATH"))),
    );
    let mut command = sandbox.command("sh");
    command.current_dir(sandbox.root()).env("PATH", path.expect("a PATH"));
    let told = answer(command.args(["-e", "-u", "-c", &script]));
    assert_eq!(told.exit, 0, "{told:?}");
    for line in [
        "Created a board for main on origin",
        "3        p2 blocked   Announce both  [needs 1 2]",
        "Claimed 1, fence 1, until ",
        "1 is in the train for main at position 1",
        "land 1 as ",
        "eject 2: its check failed on ",
        "  | ./goodbye.py:1:# FIXME later",
        "land 2 as ",
        "3        p2 queued    Announce both  [needs 1 2]",
        "convention   No FIXME lands",
        "Tasks: 1 queued",
    ] {
        assert!(told.stdout.contains(line), "{line:?} is missing from\n{}", told.stdout);
    }
}
