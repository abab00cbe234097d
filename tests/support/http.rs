//! Smart HTTP in-process: a small web server in front of the real `git http-backend`.
//!
//! Guarantees: loopback only; a request that has arrived whole is carried out whole, even when the client has gone
//! away by then, as on a real host (dropping the server is what kills a running backend); a fault decides whether the
//! backend runs and what is answered, never what the backend does. Bodies are held in memory, up to [`BODY_LIMIT`].
//!
//! The bridge is CGI (RFC 3875) as `git help http-backend` describes it. The server has no git configuration beyond
//! the repositories' own and lets everybody push.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, thread};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

use super::sandbox::environment;

/// The largest request and the largest answer, in bytes.
const BODY_LIMIT: usize = 512 << 20;

/// How a request that asks for references begins, with protocol 2.
const LIST: &[u8] = b"command=ls-refs";

/// How long a dropped server waits for its threads.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// What goes wrong on the server, until the fault is set to something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// A push is carried out, and the connection closes without a byte of an answer.
    DropResponse,
    /// A push is carried out and answered with 502.
    BadGatewayAfter,
    /// A push is answered with 502 and not carried out.
    BadGatewayBefore,
    /// Every request is answered with 502 and not carried out.
    Outage,
    /// Every request is answered with 401, as with a missing or expired token.
    Unauthorized,
    /// Every request of a push, its `info/refs` first, is answered with 403, as with a token that may only read.
    Forbidden,
}

impl Fault {
    fn strikes(self, service: Service) -> bool {
        match self {
            Self::None => false,
            Self::DropResponse | Self::BadGatewayAfter | Self::BadGatewayBefore => service == Service::ReceivePack,
            Self::Unauthorized | Self::Outage => true,
            Self::Forbidden => service.is_push(),
        }
    }
}

/// How many requests have arrived, whatever the answer was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    /// `GET info/refs`, of fetches and of pushes.
    pub info_refs: usize,
    /// Those of them that begin a push, also one that the client gives up when it sees the references.
    pub info_refs_of_pushes: usize,
    /// `POST git-upload-pack`: two or more for a fetch with protocol 2, of which the first lists references.
    pub upload_pack: usize,
    /// `POST git-receive-pack`: one for a push. The empty probe that git sends ahead of a large one does not count.
    pub receive_pack: usize,
    /// Pushes that were carried out and whose answer was not given.
    pub answers_dropped: usize,
    /// Requests that were refused by a fault and not carried out.
    pub refused: usize,
}

/// A running server; dropping it stops it.
pub struct HttpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Only taken by `drop`.
    runtime: Option<Runtime>,
}

impl HttpServer {
    /// Serves every repository under `root`, for reading and writing, from now on.
    pub fn start(root: &Path) -> Self {
        let shared = Arc::new(Shared { root: root.to_owned(), backend: backend(root), settings: Mutex::default() });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("http-server")
            .enable_all()
            .build()
            .expect("threads can be started");
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback has a free port");
        listener.set_nonblocking(true).expect("a fresh listener can be changed");
        let address = listener.local_addr().expect("a bound listener has an address");
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("the listener does not block");
            // Without this a short answer may wait 40 ms for the client's acknowledgement. A connection that has
            // died already is found out when it is read.
            let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
            axum::serve(listener, router).await
        });
        Self { address, shared, runtime: Some(runtime) }
    }

    /// The address of a repository, by its path under the root.
    pub fn url(&self, repo_name: &str) -> String {
        format!("http://{}/{repo_name}", self.address)
    }

    /// Sets what goes wrong from now on.
    ///
    /// Under [`Fault::DropResponse`] one `git push` is carried out twice: curl sends a request again, by itself and at
    /// once, when a connection that has answered before closes without a byte. With the fault set for one request
    /// only, the repetition is answered, and git reports a push that has landed as `[remote rejected]`.
    pub fn set_fault(&self, fault: Fault) {
        self.shared.settings().faults = VecDeque::from([(fault, usize::MAX)]);
    }

    /// Sets what goes wrong with the next `requests` requests that the fault concerns; after that nothing does.
    pub fn set_fault_times(&self, fault: Fault, requests: usize) {
        self.shared.settings().faults = VecDeque::from([(fault, requests)]);
    }

    /// Lets these faults strike after those that are set already, each so many of the requests that it concerns.
    pub fn add_faults(&self, faults: &[(Fault, usize)]) {
        self.shared.settings().faults.extend(faults);
    }

    /// Holds every answer back: `fetch` for the requests of fetches and clones, `push` for those of pushes.
    ///
    /// The delay is per request, as a slow line's would be: a push is two requests, a fetch two or three.
    pub fn set_delay(&self, fetch: Duration, push: Duration) {
        self.shared.settings().delay = (fetch, push);
    }

    /// Moves the server away: one fetch takes `fetch` longer in all, and one push that is not given up half-way takes
    /// `push` longer, with protocol 2. To be added to what [`HttpServer::set_delay`] asks for.
    ///
    /// Both consist of two requests that are waited for: `info/refs` and the listing of references, `info/refs` and
    /// the pack. Half of the time goes to each of the two; and of that, half passes before the request is carried
    /// out and half before its answer arrives, as on a line. So what a client learns is old by then, and what it asks
    /// for happens later. Requests do not wait for each other. That objects are fetched, too, takes no more time.
    pub fn set_distance(&self, fetch: Duration, push: Duration) {
        self.shared.settings().distance = (fetch, push);
    }

    /// What has been asked so far.
    pub fn requests(&self) -> Requests {
        self.shared.settings().requests
    }

    /// What the backend wrote to standard error, and what the bridge had to say about it.
    pub fn log(&self) -> String {
        self.shared.settings().log.clone()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(SHUTDOWN);
        }
        let log = self.log();
        if thread::panicking() && !log.is_empty() {
            eprintln!("--- log of the HTTP server at {}\n{log}", self.address);
        }
    }
}

/// What the test and the request handlers share.
struct Shared {
    root: PathBuf,
    backend: PathBuf,
    settings: Mutex<Settings>,
}

#[derive(Default)]
struct Settings {
    /// The faults, one after the other, and how many more requests each strikes.
    faults: VecDeque<(Fault, usize)>,
    /// For fetches and for pushes.
    delay: (Duration, Duration),
    /// For fetches and for pushes.
    distance: (Duration, Duration),
    requests: Requests,
    log: String,
}

impl Shared {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        // No invariant spans two fields, so what a panicking thread left is as good as before.
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the request and says what is to go wrong with it, and how long it and its answer are on their way.
    fn admit(&self, service: Service) -> (Fault, Way) {
        let mut settings = self.settings();
        match service {
            Service::InfoRefs { push } => {
                settings.requests.info_refs += 1;
                settings.requests.info_refs_of_pushes += usize::from(push);
            }
            Service::UploadPack { .. } => settings.requests.upload_pack += 1,
            Service::ReceivePack => settings.requests.receive_pack += 1,
            Service::ReceivePackProbe | Service::Other => {}
        }
        let (delay, distance) = if service.is_push() {
            (settings.delay.1, settings.distance.1)
        } else {
            (settings.delay.0, settings.distance.0)
        };
        let each_way = if service.is_waited_for() { distance / 4 } else { Duration::ZERO };
        let way = Way { there: each_way, back: each_way + delay };
        while settings.faults.front().is_some_and(|(_, left)| *left == 0) {
            settings.faults.pop_front();
        }
        let Some((fault, left)) = settings.faults.front_mut() else { return (Fault::None, way) };
        let fault = *fault;
        if !fault.strikes(service) {
            return (Fault::None, way);
        }
        if *left < usize::MAX {
            *left -= 1;
        }
        match fault {
            Fault::DropResponse | Fault::BadGatewayAfter => settings.requests.answers_dropped += 1,
            _ => settings.requests.refused += 1,
        }
        (fault, way)
    }
}

/// How long a request and its answer are on their way.
#[derive(Clone, Copy)]
struct Way {
    there: Duration,
    back: Duration,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    InfoRefs {
        push: bool,
    },
    UploadPack {
        /// Whether it asks for references (protocol 2), not for objects.
        lists: bool,
    },
    ReceivePack,
    /// A lone flush packet, sent ahead of a push too large for one buffer to find out whether it is allowed.
    ReceivePackProbe,
    /// Single files, as the dumb protocol reads them.
    Other,
}

impl Service {
    fn of(head: &Parts, body: &[u8]) -> Self {
        let path = head.uri.path();
        if path.ends_with("/info/refs") {
            Self::InfoRefs { push: head.uri.query() == Some("service=git-receive-pack") }
        } else if path.ends_with("/git-upload-pack") {
            Self::UploadPack { lists: body.windows(LIST.len()).any(|part| part == LIST) }
        } else if !path.ends_with("/git-receive-pack") {
            Self::Other
        } else if body == b"0000" {
            Self::ReceivePackProbe
        } else {
            Self::ReceivePack
        }
    }

    fn is_push(self) -> bool {
        matches!(self, Self::InfoRefs { push: true } | Self::ReceivePack | Self::ReceivePackProbe)
    }

    /// Whether it is one of the two requests that every fetch and every push has.
    fn is_waited_for(self) -> bool {
        matches!(self, Self::InfoRefs { .. } | Self::UploadPack { lists: true } | Self::ReceivePack)
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    // Fails also when the client goes away in the middle; then nobody reads the status.
    let Ok(body) = axum::body::to_bytes(body, BODY_LIMIT).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let service = Service::of(&head, &body);
    let (fault, way) = shared.admit(service);
    let response = match fault {
        Fault::Unauthorized => (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic realm=\"test\"")]).into_response(),
        Fault::Forbidden => StatusCode::FORBIDDEN.into_response(),
        Fault::BadGatewayBefore | Fault::Outage => StatusCode::BAD_GATEWAY.into_response(),
        Fault::None | Fault::DropResponse | Fault::BadGatewayAfter => {
            // A task of its own: this one is dropped when the client hangs up.
            let task = tokio::spawn(async move {
                pass(way.there).await;
                carry_out(shared, head, body).await
            });
            task.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
        }
    };
    pass(way.back).await;
    match fault {
        Fault::BadGatewayAfter => StatusCode::BAD_GATEWAY.into_response(),
        // Unwinding the connection's task closes the connection before anything is written to it. This starts no
        // panic hook, so nothing is printed.
        Fault::DropResponse => std::panic::resume_unwind(Box::new("the answer is dropped")),
        _ => response,
    }
}

/// Lets time pass.
async fn pass(time: Duration) {
    if !time.is_zero() {
        // tokio's timer is a feature of its own; a thread of the blocking pool does as well.
        drop(tokio::task::spawn_blocking(move || thread::sleep(time)).await);
    }
}

/// Runs the backend, keeps what it logs, and makes an answer of whatever happens.
async fn carry_out(shared: Arc<Shared>, head: Parts, body: Bytes) -> Response {
    let result = run_backend(&shared, &head, &body).await;
    let mut settings = shared.settings();
    match result {
        Ok((response, stderr)) => {
            settings.log.push_str(&stderr);
            response
        }
        Err(error) => {
            settings.log.push_str(&format!("{} {}: {error}\n", head.method, head.uri));
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// One CGI call; returns the answer and what the backend wrote to standard error.
async fn run_backend(shared: &Shared, head: &Parts, body: &[u8]) -> io::Result<(Response, String)> {
    let mut child = tokio::process::Command::new(&shared.backend)
        .env_clear()
        .envs(environment(&shared.root, Path::new("/dev/null")))
        .envs(cgi_variables(shared, head, body.len()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().expect("standard input is piped");
    let stdout = child.stdout.take().expect("standard output is piped");
    let mut stderr = child.stderr.take().expect("standard error is piped");
    let (mut output, mut log) = (Vec::new(), Vec::new());
    let mut stdout = stdout.take(BODY_LIMIT as u64);
    let write = async move {
        // A backend that refuses the request does not read it; its answer says why.
        drop(stdin.write_all(body).await);
        drop(stdin);
    };
    let ((), read, logged) = tokio::join!(write, stdout.read_to_end(&mut output), stderr.read_to_end(&mut log));
    read.and(logged)?;
    if output.len() == BODY_LIMIT {
        return Err(io::Error::other("the answer is larger than this server holds"));
    }
    let status = child.wait().await?;
    let log = String::from_utf8_lossy(&log).into_owned();
    let response =
        parse_cgi(output).ok_or_else(|| io::Error::other(format!("no CGI answer ({status}), stderr: {log}")))?;
    Ok((response, log))
}

fn cgi_variables(shared: &Shared, head: &Parts, length: usize) -> Vec<(&'static str, String)> {
    let header = |name: &str| header(&head.headers, name);
    let protocol = header("git-protocol");
    vec![
        ("GIT_PROJECT_ROOT", super::sandbox::text(&shared.root).to_owned()),
        ("GIT_HTTP_EXPORT_ALL", "1".to_owned()),
        // A named user is what makes the backend accept pushes.
        ("REMOTE_USER", "ada".to_owned()),
        ("REMOTE_ADDR", Ipv4Addr::LOCALHOST.to_string()),
        ("SERVER_PROTOCOL", format!("{:?}", head.version)),
        ("REQUEST_METHOD", head.method.to_string()),
        ("PATH_INFO", percent_decode(head.uri.path())),
        ("QUERY_STRING", head.uri.query().unwrap_or_default().to_owned()),
        ("CONTENT_TYPE", header(CONTENT_TYPE.as_str())),
        // Also of a chunked request, which has been put together by now.
        ("CONTENT_LENGTH", length.to_string()),
        ("HTTP_CONTENT_ENCODING", header("content-encoding")),
        ("HTTP_GIT_PROTOCOL", protocol.clone()),
        ("GIT_PROTOCOL", protocol),
    ]
}

/// The header's value, or nothing where there is none, which is how CGI programs take it.
fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// Splits a CGI answer into status, headers and body; `None` where it has no head.
fn parse_cgi(output: Vec<u8>) -> Option<Response> {
    let end = output.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&output[..end]).ok()?.to_owned();
    let mut response = Response::new(Body::from(Bytes::from(output).slice(end + 4..)));
    for line in head.lines() {
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("status") {
            *response.status_mut() = value.get(..3)?.parse().ok()?;
        } else {
            response.headers_mut().append(name.parse::<HeaderName>().ok()?, value.parse().ok()?);
        }
    }
    Some(response)
}

fn percent_decode(path: &str) -> String {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = tail.get(..2).filter(|_| first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                rest = &tail[2..];
            }
            None => {
                decoded.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// The backend of the git that is first in `PATH`.
fn backend(root: &Path) -> PathBuf {
    let output = Command::new("git")
        .arg("--exec-path")
        .env_clear()
        .envs(environment(root, Path::new("/dev/null")))
        .output()
        .expect("git is installed");
    let directory = String::from_utf8(output.stdout).expect("git's directory has a name in UTF-8");
    let backend = Path::new(directory.trim_end()).join("git-http-backend");
    assert!(backend.is_file(), "{} is missing: install all of git", backend.display());
    backend
}
