//! Real git against real servers, in a directory of its own.
//!
//! What a test needs before the program under test comes in: a [`Sandbox`] in which git behaves the same on every
//! machine, and a [`TestRemote`] in it, reached as a file, over smart HTTP or over ssh. Nothing is imitated: the
//! HTTP server runs `git http-backend`, the ssh server is OpenSSH's `sshd`. Both listen on 127.0.0.1 only, on a port
//! the system chose, and stop when they are dropped.
//!
//! ```ignore
//! #[path = "../support/mod.rs"]
//! mod support;
//! use support::{RemoteKind, Sandbox, TestRemote};
//!
//! let mut sandbox = Sandbox::new();
//! // `None` only where ssh was asked for and OpenSSH is not installed; it has said so by then.
//! let Some(remote) = TestRemote::new(&mut sandbox, RemoteKind::Http, "origin") else { return };
//! let clone = sandbox.clone(remote.url(), "alice");
//! let oid = sandbox.commit_file(&clone, "a.txt", "one\n", "first");
//! remote.http().expect("an HTTP remote has a server").set_fault(Fault::BadGatewayAfter);
//! let push = sandbox.try_git(&clone, &["push", "origin", "main"]);
//! assert!(!push.status.success(), "no answer is no success");
//! assert_eq!(sandbox.git(remote.bare(), &["rev-parse", "main"]), oid, "but the push has landed");
//! ```
//!
//! With `SCRUM_KEEP` set in the environment the directories stay and their paths are printed. A server whose test
//! panics prints its log.
//!
//! This module knows git and nothing of git-scrum: a fault found with it is a fault of the program under test.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "starting programs and writing files is the purpose of this module"
)]

mod http;
mod remote;
mod sandbox;
mod ssh;

pub use http::{Fault, HttpServer, Requests};
pub use remote::{RemoteKind, TestRemote};
pub use sandbox::Sandbox;
pub use ssh::SshServer;
