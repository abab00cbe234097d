//! A throwaway OpenSSH server for one sandbox.
//!
//! Guarantees: loopback only; only the user who runs the tests can log in, and only with a key that is made for the
//! sandbox; nothing of that user's ssh setup is read or changed. Works for root and for others. The git at the other
//! end has no configuration beyond the repositories' own.
//!
//! One thing outside the sandbox may be made: run by root, sshd needs its empty directory `/run/sshd`, which
//! otherwise the system's start script makes.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::sandbox::{environment, text};

/// How long the server may take to accept connections; generous, for a machine that is busy with other tests.
const START: Duration = Duration::from_secs(30);

/// How often another port is tried when somebody took the one that was free a moment ago.
const PORTS: usize = 5;

/// The name under which every server of a sandbox is known to its client, whatever its port.
const HOST_ALIAS: &str = "scrum-test";

/// Where sshd is installed. It is rarely in `PATH` of anybody but root, and it insists on an absolute path.
const SSHD_DIRECTORIES: [&str; 6] =
    ["/usr/sbin", "/usr/local/sbin", "/sbin", "/usr/bin", "/opt/homebrew/sbin", "/opt/local/sbin"];

/// A running server; dropping it stops it.
///
/// Servers of one sandbox share their keys, so that one `GIT_SSH_COMMAND` reaches all of them.
pub struct SshServer {
    user: String,
    port: u16,
    files: Files,
    child: Child,
}

impl SshServer {
    /// Starts a server that keeps its files in `ssh/` under `sandbox_dir`; returns when it accepts connections.
    ///
    /// # Errors
    ///
    /// The reason, where a program of OpenSSH is not installed.
    ///
    /// # Panics
    ///
    /// With the server's log, where all is installed and it does not start nevertheless.
    pub fn start(sandbox_dir: &Path) -> Result<Self, String> {
        let sshd = find_sshd()?;
        for program in ["ssh", "ssh-keygen"] {
            find_in_path(program).ok_or_else(|| format!("{program} is not in PATH"))?;
        }
        let user = id("-un");
        if id("-u") == "0" {
            fs::create_dir_all("/run/sshd").expect("root can make /run/sshd");
        }
        let files = Files::create(sandbox_dir);
        for _ in 0..PORTS {
            let port = free_port();
            let config = files.at(port, "config");
            fs::write(&config, files.sshd_config(sandbox_dir, port, &user)).expect("the sandbox is writable");
            let log = File::create(files.at(port, "log")).expect("the sandbox is writable");
            let child = Command::new(&sshd)
                .args(["-D", "-e", "-f"])
                .arg(&config)
                .env_clear()
                .envs(environment(sandbox_dir, Path::new("/dev/null")))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("sshd can be run");
            // From here on a panic stops the server too.
            let mut server = Self { user: user.clone(), port, files: files.clone(), child };
            if server.wait_until_ready() {
                return Ok(server);
            }
        }
        panic!("{PORTS} ports in turn were taken before sshd could have them");
    }

    /// The address of the repository at the absolute path `path`.
    pub fn url(&self, path: impl AsRef<Path>) -> String {
        let path = path.as_ref();
        assert!(path.is_absolute(), "{} is not absolute", path.display());
        format!("ssh://{}@{}:{}{}", self.user, Ipv4Addr::LOCALHOST, self.port, text(path))
    }

    /// What `GIT_SSH_COMMAND` must be for this server, and for every other one of the sandbox.
    pub fn git_ssh_command(&self) -> String {
        // Quoted twice: once for the shell that runs the command, once for ssh, which splits lists of files.
        format!(
            "ssh -F /dev/null -i '{}' -o IdentitiesOnly=yes -o IdentityAgent=none -o BatchMode=yes \
             -o HostKeyAlias={HOST_ALIAS} -o StrictHostKeyChecking=yes -o 'UserKnownHostsFile=\"{}\"' \
             -o GlobalKnownHostsFile=/dev/null",
            text(&self.files.user_key),
            text(&self.files.known_hosts),
        )
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        let log = fs::read(self.files.at(self.port, "log")).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// True when the server accepts connections, false when somebody else has its port.
    fn wait_until_ready(&mut self) -> bool {
        let deadline = Instant::now() + START;
        let pid_file = self.files.at(self.port, "pid");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                let log = self.log();
                assert!(log.contains("Address already in use"), "sshd ended with {status}:\n{log}");
                return false;
            }
            // The file is written after the port is bound. Without it, who answers might be another server.
            let pid = fs::read_to_string(&pid_file).unwrap_or_default();
            if pid.trim() == self.child.id().to_string()
                && TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
            {
                return true;
            }
            assert!(Instant::now() < deadline, "sshd does not accept connections after {START:?}:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        // Fails only when the server has ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
        if thread::panicking() {
            eprintln!("--- log of the ssh server at port {}\n{}", self.port, self.log());
        }
    }
}

/// The files of all servers of a sandbox.
#[derive(Clone)]
struct Files {
    directory: PathBuf,
    host_key: PathBuf,
    user_key: PathBuf,
    authorized_keys: PathBuf,
    known_hosts: PathBuf,
}

impl Files {
    /// Makes the directory and the keys, or finds those that an earlier server of the sandbox has made.
    fn create(sandbox_dir: &Path) -> Self {
        let directory = sandbox_dir.join("ssh");
        let files = Self {
            host_key: directory.join("host_key"),
            user_key: directory.join("user_key"),
            authorized_keys: directory.join("authorized_keys"),
            known_hosts: directory.join("known_hosts"),
            directory,
        };
        if !files.directory.exists() {
            fs::create_dir_all(&files.directory).expect("the sandbox is writable");
            let host = generate_key(&files.host_key);
            fs::write(&files.known_hosts, format!("{HOST_ALIAS} {host}")).expect("the sandbox is writable");
            let user = generate_key(&files.user_key);
            fs::write(&files.authorized_keys, user).expect("the sandbox is writable");
        }
        files
    }

    /// A file of one server: its `config`, `log` or `pid`.
    fn at(&self, port: u16, name: &str) -> PathBuf {
        self.directory.join(format!("{port}.{name}"))
    }

    fn sshd_config(&self, sandbox_dir: &Path, port: u16, user: &str) -> String {
        // Replaces what the session would have from the login: the home, so that no start file of the shell is read,
        // and the path, so that the server's git is the client's.
        let variables: String = environment(sandbox_dir, Path::new("/dev/null"))
            .into_iter()
            .map(|(name, value)| format!(" \"{name}={}\"", text(Path::new(&value))))
            .collect();
        format!(
            "ListenAddress {}:{port}\n\
             HostKey \"{}\"\n\
             AuthorizedKeysFile \"{}\"\n\
             PidFile \"{}\"\n\
             AllowUsers {user}\n\
             PermitRootLogin prohibit-password\n\
             PasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n\
             StrictModes no\n\
             UsePAM no\n\
             UseDNS no\n\
             PermitUserRC no\n\
             DisableForwarding yes\n\
             MaxStartups 1000\n\
             MaxSessions 1000\n\
             AcceptEnv GIT_PROTOCOL\n\
             SetEnv{variables}\n",
            Ipv4Addr::LOCALHOST,
            text(&self.host_key),
            text(&self.authorized_keys),
            text(&self.at(port, "pid")),
        )
    }
}

/// Makes a key without a passphrase at `path` and returns the line of its public half.
fn generate_key(path: &Path) -> String {
    let output = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", HOST_ALIAS, "-f"])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .expect("ssh-keygen was found a moment ago");
    assert!(output.status.success(), "ssh-keygen failed: {}", String::from_utf8_lossy(&output.stderr));
    fs::read_to_string(path.with_extension("pub")).expect("ssh-keygen has written both halves")
}

/// A port that is free now; sshd does not take 0 for "any".
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback has a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}

fn find_sshd() -> Result<PathBuf, String> {
    SSHD_DIRECTORIES
        .iter()
        .map(|directory| Path::new(directory).join("sshd"))
        .find(|path| path.is_file())
        .or_else(|| find_in_path("sshd"))
        .ok_or_else(|| format!("sshd is neither in PATH nor in {}", SSHD_DIRECTORIES.join(", ")))
}

fn find_in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}

/// What `id` says about who runs the tests.
fn id(option: &str) -> String {
    let output = Command::new("id").arg(option).output().expect("id is installed");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "id {option}: {error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
