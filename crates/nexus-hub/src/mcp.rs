//! The MCP endpoint: Streamable HTTP for clients, at `/mcp` with everything that its caller may use, and at
//! `/mcp/{namespace}` with one server or a named set.
//!
//! A client begins a session with `initialize`; its requests are POSTs, answered with JSON or with a stream
//! that it can come back to; what it is told beside them goes over the stream of a GET. What servers ask it
//! while they work for it stands on the stream of the request, and its answers are POSTs again.
//!
//! In reading order: who may come in (`visitor`), what a request says before its body and in it (`guard`,
//! `version`, `body`), sessions (`session`, `sessions`), their streams (`channel`, `sse`) and how much is held for
//! them (`budget`), and what is done (`greeting`, `post`, `answer`, `tasks`, `roots`, `listen`, `changes`).

mod answer;
mod body;
mod budget;
mod changes;
mod channel;
mod greeting;
mod guard;
mod listen;
mod metadata;
mod options;
mod peer;
mod post;
mod roots;
mod session;
mod sessions;
mod sse;
mod tasks;
mod version;
mod visitor;

use std::{fmt, sync::Arc};

use http::Method;
use nexus_core::Random;
use nexus_http::{Access, Call, Route};
use tokio_util::sync::CancellationToken;

use self::{session::Session, sessions::Sessions};
use crate::{Hub, Jobs};

pub use options::{
    BATCH_MAX, CALLER_BYTES_MAX, COMMENT_INTERVAL, ENDED_STREAM_KEPT, ENDED_STREAMS_MAX,
    MESSAGE_BYTES_MAX, McpOptions, PROGRESS_PER_QUESTION_MAX, QUESTION_TIMEOUT,
    QUESTIONS_PER_SESSION_MAX, REQUEST_TIMEOUT, REQUESTS_PER_SESSION_MAX, RETRY_MS,
    SESSION_BYTES_MAX, SESSION_IDLE, SESSIONS_BYTES_MAX, SESSIONS_MAX, SESSIONS_PER_CALLER_MAX,
    STREAM_AFTER, STREAM_BYTES_MAX, STREAM_MESSAGES_MAX,
};
pub use visitor::{Door, Others};

/// Where the endpoint is.
pub const PATH: &str = "/mcp";

/// The endpoint. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct Mcp(Arc<Shared>);

struct Shared {
    hub: Hub,
    door: Door,
    options: Arc<McpOptions>,
    sessions: Sessions,
    /// Where there are none, nobody is offered tasks.
    jobs: Option<Jobs>,
}

impl Mcp {
    /// An endpoint before a hub. [`Mcp::run`] has to run for its clients to be told of changes, and for
    /// sessions to end that nothing is heard of.
    #[must_use]
    pub fn new(hub: Hub, door: Door, options: McpOptions, random: Random) -> Self {
        Self(Arc::new(Shared {
            sessions: Sessions::new(&options, random),
            hub,
            door,
            options: Arc::new(options),
            jobs: None,
        }))
    }

    /// The same with tasks: calls of tools that go on when nobody waits for them. To be said before anything
    /// else is done with it.
    #[must_use]
    pub fn with_tasks(self, jobs: Jobs) -> Self {
        match Arc::try_unwrap(self.0) {
            Ok(shared) => Self(Arc::new(Shared {
                jobs: Some(jobs),
                ..shared
            })),
            Err(shared) => Self(shared),
        }
    }

    /// Its routes, and those of the documents that tell clients how to get a token.
    #[must_use]
    pub fn routes(&self) -> Vec<Route> {
        let mut routes = metadata::routes(&self.0.options);
        for path in [PATH.to_owned(), format!("{PATH}/{{namespace}}")] {
            let shared = self.0.clone();
            let post = Route::post(path.clone(), Access::Read, move |call: Call| {
                post::post(shared.clone(), call)
            });
            let shared = self.0.clone();
            let get = Route::get(path.clone(), Access::Stream, move |call: Call| {
                let listening = listen::listen(&shared, &call);
                async move { listening }
            });
            let shared = self.0.clone();
            let delete = Route::new(Method::DELETE, path, Access::Read, move |call: Call| {
                let left = listen::leave(&shared, &call);
                async move { left }
            });
            let bytes_max = self.0.options.message_bytes_max;
            routes.extend([post.body_bytes_max(bytes_max), get, delete]);
        }
        routes
    }

    /// Tells clients of what changes, and ends sessions that nothing is heard of, until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        changes::run(&self.0, &stop).await;
    }

    /// Ends every session: their clients begin anew.
    pub fn end_sessions(&self) {
        for session in self.0.sessions.all() {
            self.0.sessions.remove(&session);
            self.0.end(&session);
        }
    }

    /// How many sessions there are.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.0.sessions.len()
    }
}

impl Shared {
    /// Ends a session that is no longer known.
    fn end(&self, session: &Session) {
        session.end();
        self.hub.session_ended(&session.id);
        let (hub, caller) = (self.hub.clone(), session.caller());
        let session = session.id.clone();
        // What was connected for it alone; a child process takes a moment to end.
        tokio::spawn(async move { hub.upstreams().end_session(&caller.user, &session).await });
    }
}

impl fmt::Debug for Mcp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mcp")
            .field("sessions", &self.sessions())
            .finish_non_exhaustive()
    }
}
