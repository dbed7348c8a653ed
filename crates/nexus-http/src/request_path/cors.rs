//! Which pages may call from a browser.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::Reply;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const TRUE: HeaderValue = HeaderValue::from_static("true");
/// How long a browser may remember the answer to a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
/// What a page may read beside the headers that are always readable.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "etag, idempotent-replayed, link, location, mcp-session-id, nexus-position, nexus-recovered, nexus-recovery-reason, ratelimit, ratelimit-policy, retry-after, www-authenticate, x-request-id",
);

/// The origin of a request, as far as CORS is concerned.
#[derive(Debug)]
pub(crate) enum Origin {
    /// No page of a browser, or a foreign one: no CORS header is written.
    None,
    /// A page that may call.
    Allowed {
        origin: HeaderValue,
        /// It is on the list by name, so that its browser may send the cookie of a stream.
        with_credentials: bool,
    },
}

impl Origin {
    pub(crate) fn of(headers: &HeaderMap, allowed: &[String]) -> Self {
        match headers.get(header::ORIGIN) {
            Some(origin) if is_allowed(origin, headers, allowed) => Self::Allowed {
                origin: origin.clone(),
                with_credentials: is_listed(origin, allowed),
            },
            _ => Self::None,
        }
    }

    /// Lets the page read the answer.
    pub(crate) fn answer(&self, headers: &mut HeaderMap) {
        if let Self::Allowed {
            origin,
            with_credentials,
        } = self
        {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            if *with_credentials {
                headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
            }
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
    }

    /// Answers OPTIONS for a path that exists.
    pub(crate) fn options(&self, request: &HeaderMap, allow: &HeaderValue) -> Reply {
        let mut reply = Reply::empty(StatusCode::NO_CONTENT).header(header::ALLOW, allow.clone());
        let preflight = request.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if matches!(self, Self::Allowed { .. }) && preflight {
            let headers = &mut reply.headers;
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow.clone());
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
            // Any header: credentials are explicit here. The one cookie there is only opens a stream, and only
            // for pages that are known by name.
            if let Some(wanted) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
            }
        }
        reply
    }
}

/// Whether an origin is on the list (`*` allows all) or is the server's own.
pub(crate) fn is_allowed(origin: &HeaderValue, headers: &HeaderMap, allowed: &[String]) -> bool {
    allowed.iter().any(|allowed| allowed == "*")
        || is_listed(origin, allowed)
        || is_own(origin, headers)
}

/// Whether a page may use a cookie: it is the server's own or one on the list by name, and of the same site.
///
/// Every browser that can send such a cookie says one of the two, so who says neither is none.
pub(crate) fn may_use_cookies(headers: &HeaderMap, allowed: &[String]) -> bool {
    let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
    match headers.get(header::ORIGIN) {
        Some(origin) => {
            let is_same_site = matches!(site, None | Some(b"same-origin" | b"same-site"));
            is_same_site && (is_listed(origin, allowed) || is_own(origin, headers))
        }
        None => site == Some(b"same-origin"),
    }
}

fn is_listed(origin: &HeaderValue, allowed: &[String]) -> bool {
    allowed.iter().any(|allowed| {
        let allowed = allowed.trim_end_matches('/').as_bytes();
        allowed.eq_ignore_ascii_case(origin.as_bytes())
    })
}

/// The scheme is not compared: behind a proxy that ends TLS the server does not know its own.
fn is_own(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let origin = origin.to_str().unwrap_or_default();
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

    #[test]
    fn cookies_are_for_known_pages_of_the_same_site() {
        let allowed = [String::from("http://a.example:81"), String::from("*")];
        let cases = [
            (Some("http://a.example:81"), Some("same-site"), true),
            (Some("http://a.example:81"), Some("same-origin"), true),
            (Some("http://a.example:81"), None, true),
            (Some("http://a.example:81"), Some("cross-site"), false),
            (Some("http://hub.example:3000"), None, true),
            // Everyone may call, but not with a cookie.
            (Some("http://b.example"), Some("same-site"), false),
            (Some("http://b.example"), None, false),
            (Some("null"), Some("same-origin"), false),
            (None, Some("same-origin"), true),
            (None, Some("same-site"), false),
            (None, Some("none"), false),
            (None, None, false),
        ];
        for (origin, site, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("hub.example:3000"));
            for (name, value) in [(header::ORIGIN, origin), (SEC_FETCH_SITE, site)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            let may = may_use_cookies(&headers, &allowed);
            assert_eq!(may, expected, "{origin:?} {site:?}");
        }
    }
}
