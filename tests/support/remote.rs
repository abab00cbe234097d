//! One bare repository and a way to reach it.
//!
//! Lets a test say which transport it is about and nothing more, so that the same test runs over each.

use std::path::{Path, PathBuf};

use super::http::HttpServer;
use super::sandbox::{Sandbox, tell, text};
use super::ssh::SshServer;

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteKind {
    /// A `file://` address.
    File,
    /// Smart HTTP.
    Http,
    /// OpenSSH.
    Ssh,
}

impl RemoteKind {
    /// All of them, for a test that runs over each.
    pub const ALL: [Self; 3] = [Self::File, Self::Http, Self::Ssh];
}

/// A bare repository in a sandbox with a server of its own; the server stops when this is dropped.
pub struct TestRemote {
    kind: RemoteKind,
    bare: PathBuf,
    url: String,
    server: Server,
}

enum Server {
    None,
    Http(HttpServer),
    Ssh(SshServer),
}

impl TestRemote {
    /// Makes the bare repository `remotes/NAME.git` in the sandbox and starts its server.
    ///
    /// `None`, and a line on standard error, only for ssh where OpenSSH is not installed. For ssh this sets the
    /// sandbox's `GIT_SSH_COMMAND`, with a value that serves all ssh remotes of the sandbox.
    pub fn new(sandbox: &mut Sandbox, kind: RemoteKind, name: &str) -> Option<Self> {
        Self::with_init_args(sandbox, kind, name, &[])
    }

    /// Like [`TestRemote::new`], with arguments for `git init`, for instance `--object-format=sha256`.
    pub fn with_init_args(sandbox: &mut Sandbox, kind: RemoteKind, name: &str, init: &[&str]) -> Option<Self> {
        let repository = format!("{name}.git");
        let root = sandbox.path("remotes");
        let bare = root.join(&repository);
        let (url, server) = match kind {
            RemoteKind::File => (format!("file://{}", text(&bare)), Server::None),
            RemoteKind::Http => {
                let server = HttpServer::start(&root);
                (server.url(&repository), Server::Http(server))
            }
            RemoteKind::Ssh => match SshServer::start(sandbox.root()) {
                Ok(server) => {
                    sandbox.set_env("GIT_SSH_COMMAND", server.git_ssh_command());
                    (server.url(&bare), Server::Ssh(server))
                }
                Err(reason) => {
                    tell(&format!("\n*** NOT TESTED over ssh: {reason}. Install OpenSSH's server. ***\n"));
                    return None;
                }
            },
        };
        sandbox.init_bare(&format!("remotes/{repository}"), init);
        Some(Self { kind, bare, url, server })
    }

    /// How the repository is reached.
    pub fn kind(&self) -> RemoteKind {
        self.kind
    }

    /// What to clone.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The repository on the server, to look at behind the transport's back.
    pub fn bare(&self) -> &Path {
        &self.bare
    }

    /// The server of an HTTP remote, for its faults and counters.
    pub fn http(&self) -> Option<&HttpServer> {
        match &self.server {
            Server::Http(server) => Some(server),
            Server::None | Server::Ssh(_) => None,
        }
    }

    /// The server of an ssh remote, for its log.
    pub fn ssh(&self) -> Option<&SshServer> {
        match &self.server {
            Server::Ssh(server) => Some(server),
            Server::None | Server::Http(_) => None,
        }
    }
}
