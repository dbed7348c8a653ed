//! `/api/v1/endpoints`: endpoints as a resource of the whole API.

mod deliveries;
mod resource;
mod secrets;
mod view;

use std::future::Future;

use ::http::Method;
use nexus_auth::Auth;
use nexus_core::{Coded, Log, Principal, Scope};
use nexus_http::{Access, Call, Form, Problem, Reply, Route};
use nexus_reactors::http::TargetApi;
use serde_json::json;

use crate::{Endpoints, Error, Operator};

/// What a handler gives back.
type Answered = Result<Reply, Problem>;

/// What the handlers share.
#[derive(Clone)]
struct Api {
    endpoints: Endpoints,
    targets: TargetApi,
    auth: Auth,
}

/// The routes of endpoints, each under `/api/v1` and `/api`. Replays and dry runs are those of the engine's
/// targets, under the name of the endpoint.
#[must_use]
pub fn routes(endpoints: &Endpoints, targets: &TargetApi, auth: &Auth) -> Vec<Route> {
    let api = Api {
        endpoints: endpoints.clone(),
        targets: targets.clone(),
        auth: auth.clone(),
    };
    let routes = [
        resource::routes(&api),
        secrets::routes(&api),
        deliveries::routes(&api),
    ];
    Route::aliased(routes.into_iter().flatten().collect())
}

impl Api {
    fn route<F, R>(&self, method: Method, path: &str, handler: F) -> Route
    where
        F: Fn(Api, Call) -> R + Send + Sync + 'static,
        R: Future<Output = Answered> + Send + 'static,
    {
        let api = self.clone();
        let handler = move |call| handler(api.clone(), call);
        let is_read = method == Method::GET;
        let route = Route::new(method, path, Access::Operate, handler).form(Form::V1);
        // An endpoint that is kept and does not run would be found out only by the next start.
        if is_read { route } else { route.to_the_end() }
    }

    /// Who asks, by a token with the scope `operate`.
    fn operator(&self, call: &Call) -> Result<Principal, Problem> {
        self.targets.operator(call)
    }

    /// The same for who wants to be sent events: nobody has Nexus read for them what they may not.
    fn reader(&self, call: &Call) -> Result<Principal, Problem> {
        let caller = self.operator(call)?;
        self.auth.require(&caller, Scope::Read)?;
        Ok(caller)
    }

    fn log(&self) -> &Log {
        self.endpoints.log()
    }
}

/// The endpoint that the path names.
fn id(call: &Call) -> &str {
    call.param("id").unwrap_or_default()
}

/// Who asks, and what the events that tell of it follow from.
fn operator<'a>(principal: &'a Principal, call: &Call) -> Operator<'a> {
    Operator {
        principal,
        causes: call.causes(),
    }
}

/// A refusal, with every place that is wrong.
fn problem(error: Error) -> Problem {
    let errors = match &error {
        Error::Invalid { faults } => Some(json!(faults)),
        _ => None,
    };
    // What a part of Nexus refused is told in the words of that part.
    let detail = match &error {
        Error::Vault(inner) => Some(inner.to_string()),
        Error::Engine(inner) => Some(inner.to_string()),
        Error::Log(inner) => Some(inner.to_string()),
        _ => None,
    };
    let is_internal = error.kind() == nexus_core::Kind::Internal;
    let mut problem = Problem::from(error);
    if let Some(detail) = detail.filter(|_| !is_internal) {
        problem.detail = detail;
    }
    match errors {
        Some(errors) => problem.with("errors", errors),
        None => problem,
    }
}
