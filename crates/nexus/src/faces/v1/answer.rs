//! What the face's answers have in common beside their envelope: where in the log something is, and what an
//! event is called.

use http::{HeaderName, HeaderValue};
use nexus_core::{Catalogue, Event, Position};

pub(super) const NEXUS_POSITION: HeaderName = HeaderName::from_static("nexus-position");

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
