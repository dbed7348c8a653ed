//! Headers that every answer has.

use http::{HeaderMap, HeaderName, HeaderValue, header};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

const SECURITY: [(HeaderName, HeaderValue); 3] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];

/// Headers of a request that hold credentials.
const CREDENTIALS: [HeaderName; 3] = [
    header::AUTHORIZATION,
    header::COOKIE,
    // Clients that cannot set another header put a token there.
    header::SEC_WEBSOCKET_PROTOCOL,
];

/// Marks the credentials of a request, so that they are not shown where it is printed.
pub(crate) fn hide_credentials(headers: &mut HeaderMap) {
    for name in &CREDENTIALS {
        if let header::Entry::Occupied(mut values) = headers.entry(name) {
            values
                .iter_mut()
                .for_each(|value| value.set_sensitive(true));
        }
    }
}

/// Adds what keeps browsers from guessing, framing, telling and caching.
pub(crate) fn secure(headers: &mut HeaderMap) {
    for (name, value) in SECURITY {
        headers.insert(name, value);
    }
    // A handler that serves files may know better.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_not_printed() {
        let mut headers = HeaderMap::new();
        for name in &CREDENTIALS {
            headers.append(name, HeaderValue::from_static("the-secret"));
            headers.append(name, HeaderValue::from_static("the-secret, too"));
        }
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/html"));
        hide_credentials(&mut headers);
        let printed = format!("{headers:?}");
        assert!(!printed.contains("the-secret"), "{printed}");
        assert!(printed.contains("text/html"), "{printed}");
    }
}
