//! Headers that an endpoint adds to its deliveries: which may be there, and how they are sealed.

use http::{HeaderMap, HeaderName, HeaderValue};
use indexmap::IndexMap;
use nexus_auth::Secret;
use nexus_http::Fault;
use zeroize::Zeroizing;

use crate::options::{HEADER_VALUE_BYTES_MAX, HEADERS_MAX};

/// What the transport, the signature or the format decides.
const TAKEN: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];
/// How the names begin that are taken whole.
const TAKEN_PREFIXES: &[&str] = &["nexus-", "proxy-", "webhook-", "x-nexus-"];

/// Judges the headers that an endpoint asks for.
pub(crate) fn check(
    headers: Option<&IndexMap<String, Secret>>,
    faults: &mut Vec<Fault>,
) -> HeaderMap {
    let mut checked = HeaderMap::new();
    let Some(headers) = headers else {
        return checked;
    };
    if headers.len() > HEADERS_MAX {
        let detail = format!("must be at most {HEADERS_MAX}");
        faults.push(Fault::new("/headers", detail));
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
            refuse("is set by Nexus or by the transport");
            continue;
        }
        if value.expose().len() > HEADER_VALUE_BYTES_MAX {
            refuse("its value is too long");
            continue;
        }
        let Ok(mut value) = HeaderValue::from_str(value.expose()) else {
            refuse("its value has characters that a header cannot hold");
            continue;
        };
        if checked.contains_key(&name) {
            refuse("is there twice");
            continue;
        }
        value.set_sensitive(true);
        checked.insert(name, value);
    }
    checked
}

fn is_taken(name: &HeaderName) -> bool {
    let name = name.as_str();
    TAKEN.contains(&name) || TAKEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The names, sorted, for people.
pub(crate) fn names(headers: &HeaderMap) -> Vec<String> {
    let mut names: Vec<String> = headers
        .keys()
        .map(|name| name.as_str().to_owned())
        .collect();
    names.sort();
    names
}

/// One text that holds them all, to be sealed: a line each. Neither a name nor a value has a line break.
pub(crate) fn write(headers: &HeaderMap) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::new());
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b":", value.as_bytes(), b"\n"] {
            text.extend_from_slice(part);
        }
    }
    text
}

/// Reads what [`write`] wrote; nothing when it is something else.
pub(crate) fn read(text: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for line in text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let mut value = HeaderValue::from_bytes(&line[colon + 1..]).ok()?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(headers: &[(&str, &str)]) -> (HeaderMap, Vec<Fault>) {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Secret::new(*value)))
            .collect();
        let mut faults = Vec::new();
        let checked = check(Some(&headers), &mut faults);
        (checked, faults)
    }

    #[test]
    fn what_nexus_or_the_transport_sets_cannot_be_set() {
        for name in [
            "Host",
            "Content-Length",
            "content-type",
            "Transfer-Encoding",
            "Connection",
            "Proxy-Authorization",
            "webhook-signature",
            "Webhook-Id",
            "X-Nexus-Signature",
            "Nexus-Attempt",
            "traceparent",
            "User-Agent",
        ] {
            let (headers, faults) = checked(&[(name, "x")]);
            assert!(headers.is_empty(), "{name}");
            assert_eq!(faults[0].pointer, format!("/headers/{name}"));
        }
    }

    #[test]
    fn what_is_sealed_reads_back() {
        let (headers, faults) = checked(&[
            ("Authorization", "Bearer a:b"),
            ("X-Tenant", ""),
            ("x-a", "caf\u{e9}"),
        ]);
        assert_eq!(faults, []);
        assert_eq!(names(&headers), ["authorization", "x-a", "x-tenant"]);
        assert_eq!(read(&write(&headers)).unwrap(), headers);
        assert!(format!("{headers:?}").contains("Sensitive"));
        assert_eq!(read(b"no colon"), None);
    }

    #[test]
    fn values_and_names_are_judged() {
        let long = "x".repeat(HEADER_VALUE_BYTES_MAX + 1);
        for (name, value) in [("a b", "x"), ("", "x"), ("x-a", "a\nb"), ("x-a", &long)] {
            assert_eq!(checked(&[(name, value)]).1.len(), 1, "{name:?}");
        }
        assert_eq!(checked(&[("x-a", "1"), ("X-A", "2")]).1.len(), 1);
        let many: Vec<String> = (0..=HEADERS_MAX).map(|n| format!("x-{n}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "1")).collect();
        assert_eq!(checked(&many).1[0].pointer, "/headers");
    }
}
