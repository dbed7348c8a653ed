//! What a request says beside its body: the key under which it counts once, and where its events come from.

use http::{HeaderMap, HeaderName};
use nexus_core::{Causes, Kind, REQUEST_KEY_BYTES_MAX};
use nexus_http::Problem;

pub(super) const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");

/// The key under which the sender wants this request to count once: their own, else the id of the
/// webhook.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers
        .get(IDEMPOTENCY_KEY)
        .or_else(|| headers.get(WEBHOOK_ID))
    else {
        return Ok(None);
    };
    let key = value
        .to_str()
        .ok()
        .filter(|key| (1..=REQUEST_KEY_BYTES_MAX).contains(&key.len()));
    key.map(Some).ok_or_else(|| {
        let detail = "an idempotency key has 1 to 255 visible ASCII characters";
        Problem::new(Kind::Malformed, "invalid-request", detail)
    })
}

/// Adds to an event's causes what its request says; what the event says of its own trace stays.
pub(super) fn add_causes(causes: &mut Causes, of_request: &Causes) {
    causes.request_id.clone_from(&of_request.request_id);
    causes.remote.clone_from(&of_request.remote);
    if causes.traceparent.is_none() {
        causes.traceparent.clone_from(&of_request.traceparent);
    }
}
