//! The engine over HTTP: neo's list of retries, and the reactors, deliveries and dead letters of the whole
//! API, each in a file of its own.

mod dead_letters;
mod deliveries;
mod dry_run;
mod explain;
mod neo;
mod place;
mod replays;
mod selection;
mod targets;
mod view;

use std::{future::Future, sync::Arc};

use ::http::Method;
use nexus_auth::Auth;
use nexus_core::{Log, Principal, Scope, SharedReactor};
use nexus_http::{Access, Call, Form, Problem, Reply, Route};

pub use view::ExchangeView;

use crate::Handle;

/// Reads a rule that somebody proposes for a target: its name, and the rule as JSON. What is wrong with the rule
/// is a problem with `errors`.
pub type Propose = dyn Fn(&str, &str) -> Result<SharedReactor, Problem> + Send + Sync;

/// What an operator may ask of targets. The engine's own routes use it; so may the routes of whatever is a
/// target under another name, as endpoints are: its methods take the target's name beside the call.
#[derive(Clone)]
pub struct TargetApi {
    handle: Handle,
    auth: Auth,
    propose: Option<Arc<Propose>>,
}

/// What a handler gives back.
type Answered = Result<Reply, Problem>;

impl TargetApi {
    /// What may be asked of the targets of an engine.
    #[must_use]
    pub fn new(handle: Handle, auth: Auth) -> Self {
        Self {
            handle,
            auth,
            propose: None,
        }
    }

    /// The same, with what reads the rules that somebody proposes for a dry run.
    #[must_use]
    pub fn with_proposals(mut self, propose: Arc<Propose>) -> Self {
        self.propose = Some(propose);
        self
    }

    /// Who asks, by a token with the scope `operate`.
    ///
    /// # Errors
    /// `unauthorized`, `not-permitted`, and `rate-limited` when the address tried too often.
    pub fn operator(&self, call: &Call) -> Result<Principal, Problem> {
        let caller = call.identify(|headers| self.auth.bearer(headers))?;
        self.auth.require(&caller, Scope::Operate)?;
        Ok(caller)
    }

    fn log(&self) -> &Log {
        self.handle.log()
    }

    /// A route of the whole API that answers as an operator's `handler` does.
    fn route<F, R>(&self, method: Method, path: &str, handler: F) -> Route
    where
        F: Fn(TargetApi, Call) -> R + Send + Sync + 'static,
        R: Future<Output = Answered> + Send + 'static,
    {
        let api = self.clone();
        let handler = move |call| handler(api.clone(), call);
        Route::new(method, path, Access::Operate, handler).form(Form::V1)
    }
}

/// The engine's routes: those of neo, and under `/api/v1` (and `/api`) those of the whole API.
#[must_use]
pub fn routes(api: &TargetApi) -> Vec<Route> {
    let whole = [
        targets::routes(api),
        replays::routes(api),
        dry_run::routes(api),
        deliveries::routes(api),
        dead_letters::routes(api),
        explain::routes(api),
    ];
    let whole = Route::aliased(whole.into_iter().flatten().collect());
    let neo = neo::routes(&api.handle, &api.auth);
    neo.into_iter().chain(whole).collect()
}
