//! What a receiver is sent: the body in the endpoint's format, and the headers that say what it is.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_TYPE, USER_AGENT},
};
use nexus_core::{
    Attempt, Catalogue, Event, Mode, Position, is_traceparent, write_cloud_event, write_event,
};
use nexus_reactors::write_neo_event;

use crate::input::Format;

const DELIVERY_ID: HeaderName = HeaderName::from_static("nexus-delivery-id");
const ATTEMPT: HeaderName = HeaderName::from_static("nexus-attempt");
const POSITION: HeaderName = HeaderName::from_static("nexus-position");
const REPLAY: HeaderName = HeaderName::from_static("nexus-replay");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

const AGENT: HeaderValue = HeaderValue::from_static(concat!("Nexus/", env!("CARGO_PKG_VERSION")));

/// The body, the same bytes at every attempt. Nothing when the format cannot carry the event.
pub(crate) fn body(
    format: Format,
    event: &Event,
    position: Position,
    catalogue: &Catalogue,
) -> Option<Bytes> {
    let mut out = Vec::new();
    match format {
        Format::Nexus => with_name(catalogue, event, |name| {
            write_event(&mut out, position.epoch, event, name);
        }),
        Format::Neo => {
            out = with_name(catalogue, event, |name| write_neo_event(event, name))?.into_bytes();
        }
        Format::CloudEvents => write_cloud_event(&mut out, event),
    }
    Some(out.into())
}

/// What an event is called. A topic that is no longer declared keeps the name it had by default.
fn with_name<T>(catalogue: &Catalogue, event: &Event, write: impl FnOnce(&str) -> T) -> T {
    match catalogue.get(&event.topic) {
        Some(event_type) => write(&event_type.name),
        None => write(&event.topic.as_str().to_uppercase().replace('.', "_")),
    }
}

/// What says what the message is; the signature is not among it.
pub(crate) fn headers(attempt: &Attempt, format: Format, position: Position) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(16);
    let content_type = match format {
        Format::Nexus | Format::Neo => "application/json",
        Format::CloudEvents => "application/cloudevents+json",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(USER_AGENT, AGENT);
    headers.insert(ATTEMPT, attempt.number.into());
    let mut set = |name, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    };
    set(DELIVERY_ID, &attempt.delivery_id);
    set(POSITION, &position.to_string());
    set(IDEMPOTENCY_KEY, &attempt.idempotency_key);
    if let Some(trace) = attempt.event.causes().traceparent
        && is_traceparent(&trace)
    {
        set(TRACEPARENT, &trace);
    }
    if matches!(attempt.mode, Mode::Replay { .. }) {
        set(REPLAY, "?1");
    }
    headers
}
