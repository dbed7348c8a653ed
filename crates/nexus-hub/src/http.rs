//! The faces of the hub that are not MCP: one address that takes actions, and the resources of the whole API.
//!
//! Both ask for a token with the scope `read`, and for `publish` beside it where something is done. Who asks
//! is a user: their servers, permissions and jobs count, and those of others are not there for them.

mod action;
mod doing;
mod jobs;
mod listing;
mod looking;
mod reading;
mod servers;
mod tools;

use std::future::Future;

use ::http::Method;
use nexus_auth::Auth;
use nexus_core::{Clock, Coded, Kind, Scope};
use nexus_http::{Access, Call, Form, Problem, Reply, Route};
use serde_json::json;

use crate::{Caller, Error, Hub, Jobs, Registry};

/// What a handler gives back.
type Answered = Result<Reply, Problem>;

/// What the handlers share.
#[derive(Clone)]
struct Api {
    registry: Registry,
    jobs: Jobs,
    auth: Auth,
}

/// The routes of the action API and of `/api/v1/servers`, `tools`, `resources`, `prompts` and `jobs`, each of
/// those also under `/api`.
#[must_use]
pub fn routes(registry: &Registry, jobs: &Jobs, auth: &Auth) -> Vec<Route> {
    let api = Api {
        registry: registry.clone(),
        jobs: jobs.clone(),
        auth: auth.clone(),
    };
    let resources = [
        servers::routes(&api),
        tools::routes(&api),
        reading::routes(&api),
        jobs::routes(&api),
    ];
    let mut routes = Route::aliased(resources.into_iter().flatten().collect());
    routes.extend(action::routes(&api));
    routes
}

impl Api {
    fn route<F, R>(&self, method: Method, path: &str, handler: F) -> Route
    where
        F: Fn(Api, Call) -> R + Send + Sync + 'static,
        R: Future<Output = Answered> + Send + 'static,
    {
        let api = self.clone();
        let handler = move |call| handler(api.clone(), call);
        Route::new(method, path, Access::Read, handler).form(Form::V1)
    }

    /// Who asks, by a token that may read.
    fn caller(&self, call: &Call) -> Result<Caller, Problem> {
        let principal = call.identify(|headers| self.auth.bearer(headers))?;
        self.auth.require(&principal, Scope::Read)?;
        Ok(Caller::of(principal))
    }

    /// The same for who wants something done: a token that may only read calls no tool.
    fn actor(&self, call: &Call) -> Result<Caller, Problem> {
        let caller = self.caller(call)?;
        self.auth.require(&caller.principal, Scope::Publish)?;
        Ok(caller)
    }

    fn hub(&self) -> &Hub {
        self.registry.hub()
    }

    fn clock(&self) -> &Clock {
        self.registry.log().clock()
    }
}

/// A refusal, with what its clients look at.
fn problem(error: Error) -> Problem {
    let errors = match &error {
        Error::InvalidServer { faults } => Some(json!(faults)),
        _ => None,
    };
    // What a part of Nexus refused is told in the words of that part.
    let detail = match &error {
        Error::Vault(inner) => Some(inner.to_string()),
        Error::Log(inner) => Some(inner.to_string()),
        _ => None,
    };
    let is_internal = error.kind() == Kind::Internal;
    let mut problem = Problem::from(error);
    if let Some(detail) = detail.filter(|_| !is_internal) {
        problem.detail = detail;
    }
    if let Some(seconds) = problem.retry_after_s {
        problem = problem.with("retry_after", seconds);
    }
    match errors {
        Some(errors) => problem.with("errors", errors),
        None => problem,
    }
}
