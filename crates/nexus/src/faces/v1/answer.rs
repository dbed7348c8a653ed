//! The envelope of the face, written by hand: what is in it is JSON already.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use nexus_core::{Catalogue, Clock, Event, Position, iso8601_ms};
use nexus_http::Reply;

pub(super) const NEXUS_POSITION: HeaderName = HeaderName::from_static("nexus-position");

const JSON: &str = "application/json";

/// The longest part of an envelope that is not its data, rounded up.
const ENVELOPE_BYTES: usize = 192;

/// Wraps what `data` and `meta` write. What they write has to be JSON.
pub(super) fn enveloped(
    status: StatusCode,
    clock: &Clock,
    data_bytes: usize,
    data: impl FnOnce(&mut Vec<u8>),
    meta: Option<&str>,
) -> Reply {
    let mut body = Vec::with_capacity(ENVELOPE_BYTES + data_bytes);
    body.extend_from_slice(b"{\"success\":true,\"data\":");
    data(&mut body);
    if let Some(meta) = meta {
        body.extend_from_slice(b",\"meta\":");
        body.extend_from_slice(meta.as_bytes());
    }
    body.extend_from_slice(b",\"timestamp\":\"");
    body.extend_from_slice(iso8601_ms(clock.now_us()).as_bytes());
    body.extend_from_slice(b"\"}");
    Reply::bytes(status, JSON, Bytes::from(body))
}

/// A header that says where in the log something is.
pub(super) fn position_header(position: Position) -> HeaderValue {
    // Hexadecimal digits, a hyphen and digits.
    HeaderValue::from_str(&position.to_string()).unwrap_or(HeaderValue::from_static(""))
}

/// What an event is called. A topic that is no longer declared keeps the name it had by default.
pub(super) fn with_name<T>(
    catalogue: &Catalogue,
    event: &Event,
    write: impl FnOnce(&str) -> T,
) -> T {
    match catalogue.get(&event.topic) {
        Some(event_type) => write(&event_type.name),
        None => write(&event.topic.as_str().to_uppercase().replace('.', "_")),
    }
}
