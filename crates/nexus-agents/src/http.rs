//! The face of the agents: the routes of an event bus for sessions, on a port of its own.

mod caller;
mod events;
mod frame;
mod history;
mod members;
mod pace;
mod sessions;
mod work;

use std::{future::Future, sync::Arc};

use ::http::{Method, StatusCode};
use nexus_auth::Auth;
use nexus_core::{Coded, Kind, iso8601};
use nexus_http::{Access, Call, Problem, Reply, Route};
use serde_json::json;

use crate::{Error, Handle, http::pace::Pace};

pub use pace::EVENTS_PER_MINUTE;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaceOptions {
    /// Who may act as whom.
    pub trust: Trust,
    /// So many events a minute a session publishes; zero for no limit.
    pub events_per_minute: u32,
}

impl Default for FaceOptions {
    fn default() -> Self {
        Self {
            trust: Trust::Token,
            events_per_minute: EVENTS_PER_MINUTE,
        }
    }
}

/// What the handlers share.
#[derive(Clone)]
struct Face {
    agents: Handle,
    auth: Auth,
    trust: Trust,
    pace: Arc<Pace>,
}

/// The routes of the face.
#[must_use]
pub fn routes(agents: &Handle, auth: &Auth, options: FaceOptions) -> Vec<Route> {
    let face = Face {
        agents: agents.clone(),
        auth: auth.clone(),
        trust: options.trust,
        pace: Arc::new(Pace::new(options.events_per_minute)),
    };
    let health = {
        let face = face.clone();
        Route::get("/health", Access::Open, move |_: Call| {
            let face = face.clone();
            async move { Ok(face.health()) }
        })
        .probe()
    };
    let routes = [
        vec![health],
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
            handler(face.clone(), call)
        })
    }

    fn health(&self) -> Reply {
        let now_us = self.agents.log().clock().now_us();
        Reply::json(
            StatusCode::OK,
            &json!({
                "status": "active",
                "service": SERVICE,
                "version": env!("CARGO_PKG_VERSION"),
                "timestamp": iso8601(now_us),
            }),
        )
    }
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
