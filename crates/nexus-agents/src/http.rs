//! The face of the agents: the routes of an event bus for sessions, on a port of its own.

mod caller;
mod events;
mod guest;
mod history;
mod members;
mod sessions;
mod udc;
mod work;

use std::{future::Future, sync::Arc};

use ::http::Method;
use nexus_auth::Auth;
use nexus_core::{Coded, Kind, iso8601};
use nexus_http::{Access, Call, Problem, Reply, Route};

use crate::{Dependency, Error, Handle, Pace};

pub use guest::{Answer, Guest, Guests, Stay};

/// What a handler gives back.
type Answered = Result<Reply, Problem>;

/// What the service is called by its clients.
const SERVICE: &str = "nexus-event-bus";

/// Who may act as whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// A session is who it says it is.
    Open,
    /// A session proves itself by its token.
    Token,
}

/// How the face behaves.
#[derive(Debug, Clone)]
pub struct FaceOptions {
    /// Who may act as whom.
    pub trust: Trust,
    /// How often a session publishes, over this face and all others.
    pub pace: Pace,
    /// How many connections there may be at once, as clients are told.
    pub connections_max: usize,
    /// How long events are kept, as clients are told.
    pub event_retention: String,
    /// What is used outside of this process.
    pub dependencies: Vec<Dependency>,
}

impl Default for FaceOptions {
    fn default() -> Self {
        Self {
            trust: Trust::Token,
            pace: Pace::default(),
            connections_max: nexus_http::CONNECTIONS_MAX,
            event_retention: "unlimited".to_owned(),
            dependencies: Vec::new(),
        }
    }
}

/// What the handlers share.
#[derive(Clone)]
struct Face {
    agents: Handle,
    auth: Auth,
    options: Arc<FaceOptions>,
}

/// The routes of the face.
#[must_use]
pub fn routes(agents: &Handle, auth: &Auth, options: FaceOptions) -> Vec<Route> {
    let face = Face {
        agents: agents.clone(),
        auth: auth.clone(),
        options: Arc::new(options),
    };
    let routes = [
        udc::routes(&face),
        sessions::routes(&face),
        work::routes(&face),
        events::routes(&face),
    ];
    routes.into_iter().flatten().collect()
}

impl Face {
    fn route<F, R>(&self, method: Method, path: &str, access: Access, handler: F) -> Route
    where
        F: Fn(Face, Call) -> R + Send + Sync + 'static,
        R: Future<Output = Answered> + Send + 'static,
    {
        let face = self.clone();
        Route::new(method, path, access, move |call| {
            let agents = face.agents.clone();
            let answering = handler(face.clone(), call);
            async move {
                let answered = answering.await;
                if let Err(problem) = &answered
                    && is_own_fault(problem.kind)
                {
                    agents.failed();
                }
                answered
            }
        })
    }
}

/// Whether it went wrong on this side. What a client did wrong is not counted.
fn is_own_fault(kind: Kind) -> bool {
    matches!(kind, Kind::Internal | Kind::Unavailable | Kind::Unknown)
}

/// A refusal, with what its clients look at.
fn problem(error: Error) -> Problem {
    let extra = match &error {
        Error::WorkHeld {
            claimed_by,
            lease_expires_us,
            ..
        } => vec![
            ("claimed_by", claimed_by.to_string()),
            ("lease_expires_at", iso8601(*lease_expires_us)),
        ],
        Error::WorkCompleted { completed_by, .. } => {
            vec![("completed_by", completed_by.to_string())]
        }
        _ => Vec::new(),
    };
    // What the log refused is told in its words.
    let detail = match &error {
        Error::Log(inner) if inner.kind() != Kind::Internal => Some(inner.to_string()),
        _ => None,
    };
    let mut problem = Problem::from(error);
    if let Some(detail) = detail {
        problem.detail = detail;
    }
    extra
        .into_iter()
        .fold(problem, |problem, (name, value)| problem.with(name, value))
}
