//! What those ask who run Nexus: does it live, is it ready, and which configuration does it run?

use std::sync::Arc;

use http::StatusCode;
use nexus_core::{Health, Log, iso8601_ms};
use nexus_http::{Access, Reply, Route};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::app::Generation;

/// What the face's handlers share.
#[derive(Clone)]
pub(crate) struct Operations {
    pub(crate) log: Log,
    /// Cancelled when the application begins to stop.
    pub(crate) draining: CancellationToken,
    pub(crate) generation: Generation,
}

/// The routes of the face.
pub(crate) fn routes(operations: &Operations) -> [Route; 2] {
    let state = Arc::new(operations.clone());
    let live = Route::get("/livez", Access::Open, |_| async {
        Ok(Reply::json(StatusCode::OK, &json!({ "live": true })))
    });
    let ready = Route::get("/readyz", Access::Open, move |_| {
        let reply = ready(&state);
        async move { Ok(reply) }
    });
    [live.probe(), ready.probe()]
}

impl Operations {
    /// Why nobody should be sent here now; nothing when they may be.
    pub(crate) fn not_ready(&self) -> Option<&'static str> {
        match self.log.health() {
            _ if self.draining.is_cancelled() => Some("draining"),
            Health::Healthy => None,
            Health::Full => Some("storage-full"),
            Health::Unavailable => Some("storage-unavailable"),
            Health::Failed => Some("storage-failed"),
        }
    }

    /// What operators see of the configuration; no secrets.
    pub(crate) fn described(&self) -> Value {
        self.generation.get().described.clone()
    }

    /// Which configuration runs, and the last reload if it failed; no secrets.
    pub(crate) fn configuration(&self) -> [Value; 2] {
        let state = self.generation.get();
        let running = json!({
            "generation": state.number,
            "fingerprint": state.fingerprint,
            "since": iso8601_ms(state.since_us),
        });
        let failed = state.failed.as_ref().map(|failed| {
            json!({
                "at": iso8601_ms(failed.at_us),
                "problems": failed.problems,
            })
        });
        [running, json!(failed)]
    }
}

/// A reload that failed does not make it less ready: what ran before goes on.
fn ready(operations: &Operations) -> Reply {
    let not_ready = operations.not_ready();
    let [configuration, failed_reload] = operations.configuration();
    let answer = json!({
        "ready": not_ready.is_none(),
        "reason": not_ready,
        "configuration": configuration,
        "failed_reload": failed_reload,
    });
    let status = if not_ready.is_none() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Reply::json(status, &answer)
}
