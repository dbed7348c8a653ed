//! Which pages may call from a browser.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::Reply;

/// How long a browser may remember the answer to a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
/// What a page may read beside the headers that are always readable.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "etag, idempotent-replayed, link, location, nexus-position, ratelimit, ratelimit-policy, retry-after, x-request-id",
);

/// The origin of a request, as far as CORS is concerned.
#[derive(Debug)]
pub(crate) enum Origin {
    /// No page of a browser, or a foreign one: no CORS header is written.
    None,
    /// A page that may call.
    Allowed(HeaderValue),
}

impl Origin {
    pub(crate) fn of(headers: &HeaderMap, allowed: &[String]) -> Self {
        match headers.get(header::ORIGIN) {
            Some(origin) if is_allowed(origin, headers, allowed) => Self::Allowed(origin.clone()),
            _ => Self::None,
        }
    }

    /// Lets the page read the answer.
    pub(crate) fn answer(&self, headers: &mut HeaderMap) {
        if let Self::Allowed(origin) = self {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
    }

    /// Answers OPTIONS for a path that exists.
    pub(crate) fn options(&self, request: &HeaderMap, allow: &HeaderValue) -> Reply {
        let mut reply = Reply::empty(StatusCode::NO_CONTENT).header(header::ALLOW, allow.clone());
        let preflight = request.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if matches!(self, Self::Allowed(_)) && preflight {
            let headers = &mut reply.headers;
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow.clone());
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
            // Any header: credentials are explicit here, there are no cookies that a page could misuse.
            if let Some(wanted) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
            }
        }
        reply
    }
}

/// Whether an origin is on the list (`*` allows all) or is the server's own.
pub(crate) fn is_allowed(origin: &HeaderValue, headers: &HeaderMap, allowed: &[String]) -> bool {
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    let listed = allowed.iter().any(|allowed| {
        allowed == "*" || allowed.trim_end_matches('/').eq_ignore_ascii_case(origin)
    });
    listed || is_own(origin, headers)
}

/// The scheme is not compared: behind a proxy that ends TLS the server does not know its own.
fn is_own(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    match (origin.split_once("://"), host) {
        (Some(("http" | "https", authority)), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_allowed_by_list_or_by_host() {
        let allowed = [
            String::from("https://console.example"),
            String::from("http://a.example:81/"),
        ];
        let cases = [
            ("https://console.example", true),
            ("HTTPS://CONSOLE.example", true),
            ("http://a.example:81", true),
            ("http://hub.example:3000", true),
            ("https://hub.example:3000", true),
            ("http://hub.example", false),
            ("https://console.example.evil", false),
            ("https://evil.example", false),
            ("ftp://hub.example:3000", false),
            ("null", false),
            ("", false),
        ];
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("hub.example:3000"));
        for (origin, expected) in cases {
            let origin = HeaderValue::from_str(origin).unwrap();
            assert_eq!(
                is_allowed(&origin, &headers, &allowed),
                expected,
                "{origin:?}"
            );
        }
        let foreign = HeaderValue::from_static("https://evil.example");
        assert!(is_allowed(&foreign, &headers, &[String::from("*")]));
    }
}
