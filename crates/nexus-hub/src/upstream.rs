//! A server that Nexus is a client of: what is asked of it, what it says by itself, and how that ends.
//!
//! Each connection belongs to one server and one scope, stands in the pool [`Upstreams`], and speaks to a
//! child process over its standard streams or to an address over Streamable HTTP. What a server answers is
//! handed on as it wrote it.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
use http::HeaderName;
use nexus_auth::Secret;
use nexus_core::Principal;
use nexus_outbound::Trust;
use serde_json::value::RawValue;
use tokio::{sync::broadcast, time::Instant};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{Raw, RpcError, UpstreamLimits};

mod about;
mod asked;
mod calls;
mod connection;
mod error;
mod handshake;
pub(crate) mod http_transport;
mod patience;
mod pool;
mod redact;
pub(crate) mod stdio;

pub use about::{About, ClientCapabilities};
pub use error::{CallError, Waited};
pub use pool::{Notice, Upstreams};
pub use redact::Redactor;

/// The name of a server: what its record is kept under.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(Arc<str>);

impl ServerId {
    /// A name as its record has it.
    #[must_use]
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a server is reached, and for whom.
#[derive(Debug, Clone)]
pub struct UpstreamConfig {
    /// Which server.
    pub id: ServerId,
    /// Goes up whenever anything else here changes: connections made for another revision are closed.
    pub revision: u64,
    /// The way to it.
    pub transport: Transport,
    /// Who may share a connection.
    pub isolation: Isolation,
    /// What Nexus says it can do for the server, as `initialize` carries it.
    pub capabilities: ClientCapabilities,
    /// How long and how much.
    pub limits: UpstreamLimits,
}

/// The way to a server.
#[derive(Debug, Clone)]
pub enum Transport {
    /// Streamable HTTP.
    Http {
        /// Its one address.
        url: Url,
        /// Where the address came from: one that is foreign may not be private.
        trust: Trust,
        /// What is sent with each request, mostly credentials.
        headers: Vec<(HeaderName, Secret)>,
    },
    /// A child process.
    Stdio {
        /// The program, by its path or to be found in `PATH`. No shell is involved.
        program: String,
        /// Its arguments, one by one. They can be read by everyone on the machine: no secrets.
        args: Vec<String>,
        /// Its environment, beside the few variables that [`PoolOptions::environment`] gives to all.
        ///
        /// [`PoolOptions::environment`]: crate::PoolOptions::environment
        env: Vec<(String, Secret)>,
    },
}

impl Transport {
    pub(crate) fn is_process(&self) -> bool {
        matches!(self, Self::Stdio { .. })
    }
}

/// Who may share a connection to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// Everyone: the server keeps nothing between calls, and its credentials are not a user's.
    Shared,
    /// The sessions of one user.
    PerUser,
    /// One session of one user: the server keeps state, as a browser does.
    PerSession,
}

/// For whom a connection is wanted. What of it counts depends on the server's [`Isolation`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// The user.
    pub user: Arc<str>,
    /// The user's session; without one, the user's own scope is taken.
    pub session: Option<Arc<str>>,
}

/// One request to a server.
pub struct Request {
    /// The method, `tools/call` and the like.
    pub method: Arc<str>,
    /// Its parameters. A progress token in them is the caller's: progress is told to `peer` under it.
    pub params: Option<Raw>,
    /// Until when an answer is of use. The server's own limits hold beside it.
    pub deadline: Instant,
    /// Ends the request early; the server is told.
    pub cancel: CancellationToken,
    /// Who asks: what the server can turn to while it works on the request.
    pub peer: Option<Arc<dyn Peer>>,
    /// With whose rights it is asked. Never told to other servers: Nexus's own tools decide by it.
    pub principal: Option<Principal>,
}

impl Request {
    /// A request that nobody follows and that only its deadline ends.
    #[must_use]
    pub fn new(method: impl Into<Arc<str>>, params: Option<Raw>, deadline: Instant) -> Self {
        Self {
            method: method.into(),
            params,
            deadline,
            cancel: CancellationToken::new(),
            peer: None,
            principal: None,
        }
    }
}

impl fmt::Debug for Request {
    /// Leaves out what may be secret: the parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Takes the progress that a client tells of a question, under the token that the server gave it. It must not
/// wait.
pub type Following = Arc<dyn Fn(Raw) + Send + Sync>;

/// Whoever asked: told and asked by the server while it works on the request.
pub trait Peer: Send + Sync {
    /// Is told something about the request: its progress, a message of the server's log.
    ///
    /// Called in the order that the server said it, from the task that reads the server: it must not wait.
    fn notify(&self, method: &str, params: Option<Raw>);

    /// Is asked something: to sample a model, for input of a person, for its roots. Dropping the future
    /// withdraws the question.
    fn ask(&self, method: &str, params: Option<Raw>) -> BoxFuture<'_, Result<Raw, RpcError>>;

    /// As [`Peer::ask`], by somebody who wants to hear how far the answer is.
    fn ask_following(
        &self,
        method: &str,
        params: Option<Raw>,
        _following: Following,
    ) -> BoxFuture<'_, Result<Raw, RpcError>> {
        self.ask(method, params)
    }

    /// What it declared it can do.
    fn capabilities(&self) -> &ClientCapabilities;
}

/// One connected server.
///
/// `dyn`, because the pool holds servers of all transports and Nexus's own beside them.
pub trait Upstream: Send + Sync {
    /// Asks the server. Dropping the future cancels the request, and the server is told.
    fn request(&self, request: Request) -> BoxFuture<'_, Result<Raw, CallError>>;

    /// Tells the server something that has no answer.
    fn notify<'a>(
        &'a self,
        method: &'a str,
        params: Option<Raw>,
    ) -> BoxFuture<'a, Result<(), CallError>>;

    /// The roots of the one client that the connection is for are others. A server that asked for them is told,
    /// and this client is asked when it asks again. Nothing happens where several share a connection.
    fn roots_changed(&self, _client: Arc<dyn Peer>) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    /// What the server said about itself when it was connected.
    fn about(&self) -> Arc<About>;

    /// What the server says by itself, from now on. Whoever lags behind has to take everything as changed.
    fn changes(&self) -> broadcast::Receiver<Changed>;

    /// Whether requests can reach it.
    fn is_open(&self) -> bool;

    /// What is known about its health beside its answers.
    fn vitals(&self) -> Vitals {
        Vitals::default()
    }

    /// Ends the connection. Requests that are under way fail.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// What a server says by itself.
#[derive(Debug, Clone)]
pub enum Changed {
    /// Its tools are others now.
    Tools,
    /// Its resources or templates are others now.
    Resources,
    /// Its prompts are others now.
    Prompts,
    /// A resource that was subscribed to has other content now.
    ResourceUpdated(Arc<str>),
    /// Something else that belongs to no request that could be told apart: a message of its log, the end of
    /// an elicitation.
    Notified {
        /// What is told.
        method: Arc<str>,
        /// The details.
        params: Option<Arc<RawValue>>,
    },
    /// More than could be kept: anything may be another now, its lists and what was subscribed to.
    Missed,
    /// The connection was lost. The next request makes a new one.
    Gone,
    /// The connection was closed by Nexus, because it was idle, or in the way, or changed.
    Closed,
}

/// What is known about a connection's health.
#[derive(Debug, Clone, Default)]
pub struct Vitals {
    /// The child's process id.
    pub process_id: Option<u32>,
    /// The last of what it wrote to its standard error, without secrets.
    pub stderr: String,
    /// How many lines or messages it wrote that were no messages.
    pub garbage: u64,
    /// How many requests are being worked on.
    pub in_flight: usize,
}
