//! Integration tests: real git, real remotes, real processes.

fn main() {}
