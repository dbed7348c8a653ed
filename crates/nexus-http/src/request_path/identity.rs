//! Who a request is: its id and its trace.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use http::{HeaderMap, HeaderName, HeaderValue};
use nexus_core::{Random, is_traceparent};

use super::headers::X_REQUEST_ID;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const REQUEST_ID_BYTES_MAX: usize = 128;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// The id of a request, as text and as a header.
pub(crate) struct Identity {
    pub(crate) request_id: Arc<str>,
    pub(crate) header: HeaderValue,
}

impl Identity {
    /// Takes the client's id if it is sane, else makes one.
    pub(crate) fn of(headers: &HeaderMap, ids: &RequestIds) -> Self {
        if let Some(value) = headers.get(X_REQUEST_ID)
            && let Ok(text) = value.to_str()
            && is_sane(text)
        {
            return Self {
                request_id: Arc::from(text),
                header: value.clone(),
            };
        }
        ids.next()
    }
}

/// Makes request ids: a part drawn once for each server, and a counter.
///
/// They only have to be unique, not secret, so a counter does, and costs no system call.
#[derive(Debug)]
pub(crate) struct RequestIds {
    server: u64,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new(random: &Random) -> Self {
        Self {
            server: u64::from_be_bytes(random.bytes()),
            next: AtomicU64::new(1),
        }
    }

    /// The next id, 32 hexadecimal digits.
    pub(crate) fn next(&self) -> Identity {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let mut text = [0; 32];
        for (number, digits) in [self.server, count].into_iter().zip(text.chunks_mut(16)) {
            for (at, digit) in digits.iter_mut().enumerate() {
                *digit = HEX[usize::from((number >> (60 - 4 * at)) as u8 & 15)];
            }
        }
        // Both hold, because hexadecimal digits are ASCII.
        let request_id = std::str::from_utf8(&text).unwrap_or_default();
        Identity {
            request_id: Arc::from(request_id),
            header: HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("")),
        }
    }
}

/// An id that can stand in a log line and in a header without harm.
fn is_sane(text: &str) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| {
            byte.is_ascii_alphanumeric()
                || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'=' | b'@')
        })
}

/// The W3C trace context of a request, if it is well formed.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<Arc<str>> {
    let value = headers.get(TRACEPARENT)?.to_str().ok()?;
    is_traceparent(value).then(|| Arc::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_clients_are_taken_only_when_sane() {
        let ids = RequestIds::new(&Random::seeded(7));
        let cases = [
            ("abc-123", true),
            ("a/b+c=", true),
            ("", false),
            ("with space", false),
            ("semi;colon", false),
            ("<script>", false),
        ];
        for (sent, taken) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_str(sent).unwrap());
            let identity = Identity::of(&headers, &ids);
            assert_eq!(&*identity.request_id == sent, taken, "{sent}");
            assert_eq!(identity.header.as_bytes(), identity.request_id.as_bytes());
        }
        let mut headers = HeaderMap::new();
        headers.insert(
            X_REQUEST_ID,
            HeaderValue::from_str(&"a".repeat(129)).unwrap(),
        );
        assert_eq!(Identity::of(&headers, &ids).request_id.len(), 32);
    }

    #[test]
    fn made_ids_differ() {
        let ids = RequestIds::new(&Random::seeded(7));
        let made: std::collections::HashSet<_> = (0..1000).map(|_| ids.next().request_id).collect();
        assert_eq!(made.len(), 1000);
    }
}
