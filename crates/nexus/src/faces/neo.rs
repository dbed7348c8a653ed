//! What the NEO nodes speak: signed events and webhooks in, the log and health out.
//!
//! A face is thin: decode, call the log, encode. What an event may be and who may publish it is decided
//! behind it, in [`nexus_core::Log::submit`] and [`nexus_auth::Auth`].

mod answer;
mod factory;
mod flowpay;
mod health;
mod mapped;
mod publish;
mod read;
mod webhook;

use std::{sync::Arc, time::Instant};

use nexus_core::{Log, Principal, RawObject, RetentionHandle, Scope};
use nexus_http::{Access, Call, Problem, Reply, Route};
use nexus_reactors::Handle as Reactors;

pub(crate) use mapped::NodeMappings;

use super::{Callers, Operations};

/// What the face's handlers share.
pub(crate) struct Neo {
    pub(crate) log: Log,
    pub(crate) callers: Callers,
    pub(crate) reactors: Reactors,
    pub(crate) retention: RetentionHandle,
    pub(crate) started: Instant,
    pub(crate) mappings: NodeMappings,
    pub(crate) operations: Operations,
}

/// What a handler gives back.
type Answered = Result<Reply, Problem>;

/// The routes of the face, each also under `/api`.
pub(crate) fn routes(neo: &Arc<Neo>) -> Vec<Route> {
    let mut routes = Vec::new();
    for prefix in ["", "/api"] {
        let at = |path: &str| format!("{prefix}{path}");
        routes.push(publish_route(neo, at("/events")));
        for webhooks in webhook_roots(prefix) {
            routes.extend(webhook_routes(neo, webhooks));
        }
        let own = neo.clone();
        routes.push(Route::get(at("/events/log"), Access::Read, move |call| {
            read::log(own.clone(), call)
        }));
        for (path, answer) in [
            ("/health", health::health as fn(&Neo) -> Reply),
            ("/health/live", health::live),
            ("/health/ready", health::ready),
        ] {
            let own = neo.clone();
            let route = Route::get(at(path), Access::Open, move |_| {
                let reply = answer(&own);
                async move { Ok(reply) }
            });
            routes.push(route.probe());
        }
        let own = neo.clone();
        let detailed = move |call| health::detailed(own.clone(), call);
        routes.push(Route::get(
            at("/health/detailed"),
            Access::Operate,
            detailed,
        ));
    }
    routes
}

/// Live nodes send to `/api/webhooks/…`, the documents say `/webhook/…`.
fn webhook_roots(prefix: &str) -> &'static [&'static str] {
    if prefix.is_empty() {
        &["/webhook"]
    } else {
        &["/api/webhook", "/api/webhooks"]
    }
}

fn publish_route(neo: &Arc<Neo>, path: String) -> Route {
    let own = neo.clone();
    Route::post(path, Access::Signed, move |call| {
        let neo = own.clone();
        async move { publish::events(&neo, &call).await }
    })
}

fn webhook_routes(neo: &Arc<Neo>, root: &str) -> [Route; 3] {
    let (flowpay, factory, other) = (neo.clone(), neo.clone(), neo.clone());
    [
        Route::post(format!("{root}/flowpay"), Access::Signed, move |call| {
            let neo = flowpay.clone();
            async move { flowpay::receive(&neo, &call).await }
        }),
        Route::post(format!("{root}/factory"), Access::Signed, move |call| {
            let neo = factory.clone();
            async move { factory::receive(&neo, &call).await }
        }),
        Route::post(format!("{root}/{{node}}"), Access::Signed, move |call| {
            let neo = other.clone();
            async move { mapped::receive(&neo, &call).await }
        }),
    ]
}

impl Neo {
    /// Who signed the request, for one event. `path_node` is whose webhook it came in by.
    fn signer(&self, call: &Call, path_node: Option<&str>) -> Result<Principal, Problem> {
        let principal = self.callers.signer(call, path_node)?;
        self.callers.node_limits.take(principal.source(), 1)?;
        Ok(principal)
    }

    /// Who reads, if they have the scope.
    fn reader(&self, call: &Call, scope: Scope) -> Result<Principal, Problem> {
        self.callers.reader(call, scope)
    }
}

/// The body as an object.
fn object(call: &Call) -> Result<RawObject<'_>, Problem> {
    RawObject::parse(&call.body)?.ok_or_else(|| {
        Problem::new(
            nexus_core::Kind::Malformed,
            "invalid-request",
            "the body must be a JSON object",
        )
    })
}
