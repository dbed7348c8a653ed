//! Headers that a server is sent beside those of the protocol: which may be there.

use http::{HeaderName, HeaderValue};
use indexmap::IndexMap;
use nexus_auth::Secret;
use nexus_http::Fault;

use super::options::{HEADERS_MAX, VALUE_BYTES_MAX};

/// What the transport or the protocol decides.
const TAKEN: &[&str] = &[
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "last-event-id",
    "origin",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];
/// How the names begin that are taken whole.
const TAKEN_PREFIXES: &[&str] = &[
    "mcp-",
    "nexus-",
    "proxy-",
    "sec-",
    "x-forwarded-",
    "x-nexus-",
];

/// Judges the headers that a server is to be sent.
pub(super) fn check(
    headers: Option<&IndexMap<String, Secret>>,
    faults: &mut Vec<Fault>,
) -> Vec<(HeaderName, Secret)> {
    let mut checked: Vec<(HeaderName, Secret)> = Vec::new();
    let Some(headers) = headers else {
        return checked;
    };
    if headers.len() > HEADERS_MAX {
        faults.push(Fault::new(
            "/headers",
            format!("must be at most {HEADERS_MAX}"),
        ));
        return checked;
    }
    for (name, value) in headers {
        let pointer = Fault::place("/headers", name);
        let mut refuse = |why: &str| faults.push(Fault::new(pointer.clone(), why));
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            refuse("is no name of a header");
            continue;
        };
        if is_taken(&name) {
            refuse("is set by Nexus, by the protocol or by the transport");
        } else if value.expose().len() > VALUE_BYTES_MAX {
            refuse("its value is too long");
        } else if HeaderValue::from_str(value.expose()).is_err() {
            refuse("its value has characters that a header cannot hold");
        } else if checked.iter().any(|(other, _)| *other == name) {
            refuse("is there twice");
        } else {
            checked.push((name, value.clone()));
        }
    }
    checked
}

fn is_taken(name: &HeaderName) -> bool {
    let name = name.as_str();
    TAKEN.contains(&name) || TAKEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(headers: &[(&str, &str)]) -> Vec<Fault> {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Secret::new(*value)))
            .collect();
        let mut faults = Vec::new();
        check(Some(&headers), &mut faults);
        faults
    }

    #[test]
    fn what_nexus_the_protocol_or_the_transport_sets_cannot_be_set() {
        for name in [
            "Host",
            "Content-Type",
            "Accept",
            "Transfer-Encoding",
            "Connection",
            "Upgrade",
            "Mcp-Session-Id",
            "MCP-Protocol-Version",
            "Last-Event-ID",
            "Proxy-Authorization",
            "X-Forwarded-For",
            "Origin",
            "Sec-Fetch-Site",
            "traceparent",
        ] {
            assert_eq!(
                faults(&[(name, "x")])[0].pointer,
                format!("/headers/{name}")
            );
        }
    }

    #[test]
    fn credentials_are_passed_on_and_values_are_judged() {
        let ordinary = [
            ("Authorization", "Bearer abc"),
            ("X-Goog-Api-Key", "k"),
            ("X-MCP-Toolsets", "repos,issues"),
        ];
        assert_eq!(faults(&ordinary), []);
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        for (name, value) in [
            ("a b", "x"),
            ("", "x"),
            ("x-a", "a\r\nb: c"),
            ("x-a", &long),
        ] {
            assert_eq!(faults(&[(name, value)]).len(), 1, "{name:?}");
        }
        assert_eq!(faults(&[("x-a", "1"), ("X-A", "2")]).len(), 1);
    }
}
