//! What a request says before its body is looked at: which server it was sent to, from which page, in which
//! revision, and which answers its client can read.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use nexus_core::Kind;
use nexus_http::{Call, Problem, Reply};
use serde_json::{Value, json};

use super::{McpOptions, sse, version::Version};
use crate::message::INVALID_REQUEST;

pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Proxies that collect answers before they pass them on are asked not to.
pub(crate) const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What an answer is that is no stream.
pub(crate) const JSON: &str = "application/json";

/// Which answers a client can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepts {
    pub(crate) json: bool,
    pub(crate) stream: bool,
}

impl Accepts {
    /// Reads `Accept`; who does not say takes everything.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(header::ACCEPT);
        let mut accepts = Self {
            json: false,
            stream: false,
        };
        let mut says = false;
        for range in lines
            .iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
        {
            says = true;
            let range = range.split(';').next().unwrap_or_default().trim();
            let is = |names: [&str; 3]| names.iter().any(|name| range.eq_ignore_ascii_case(name));
            accepts.json |= is([JSON, "application/*", "*/*"]);
            accepts.stream |= is([sse::CONTENT_TYPE, "text/*", "*/*"]);
        }
        if says {
            accepts
        } else {
            Self {
                json: true,
                stream: true,
            }
        }
    }
}

/// Refuses what a page sends that its browser should not have let.
///
/// # Errors
/// `origin-refused`.
pub(crate) fn check_origin(call: &Call) -> Result<(), Problem> {
    if call.is_origin_allowed() {
        return Ok(());
    }
    let detail = "pages of this origin may not call";
    Err(Problem::new(Kind::Forbidden, "origin-refused", detail))
}

/// Refuses what was sent to a name that is not the server's: a page can have its own name lead here, and its
/// browser then takes the answers for its own.
///
/// # Errors
/// `host-refused`.
pub(crate) fn check_host(call: &Call, options: &McpOptions) -> Result<(), Problem> {
    let host = call.headers.get(header::HOST).map(HeaderValue::as_bytes);
    if host.is_some_and(|host| is_host_allowed(host, options)) {
        return Ok(());
    }
    let detail = "the server is not known by this name";
    Err(Problem::new(Kind::Forbidden, "host-refused", detail))
}

fn is_host_allowed(host: &[u8], options: &McpOptions) -> bool {
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    let name = without_port(host);
    // An address cannot be made to lead elsewhere.
    let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if is_address || name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let mut allowed = options.allowed_hosts.iter();
    allowed.any(|allowed| allowed.eq_ignore_ascii_case(name) || allowed.eq_ignore_ascii_case(host))
        || (options.allowed_hosts.is_empty() && !options.loopback_only)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The revision that a request is in.
///
/// # Errors
/// One that is not spoken here.
pub(crate) fn version(headers: &HeaderMap) -> Result<Version, Refusal> {
    let Some(value) = headers.get(PROTOCOL_VERSION) else {
        return Ok(Version::WITHOUT_HEADER);
    };
    let version = value.to_str().ok().and_then(Version::parse);
    version.ok_or_else(|| {
        let why = "this revision of the protocol is not spoken here";
        let refusal = refuse(StatusCode::BAD_REQUEST, INVALID_REQUEST, why);
        Refusal {
            data: Some(json!({ "supported": Version::names() })),
            ..refusal
        }
    })
}

/// Why a message is not taken, as MCP's clients read it.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: i64,
    message: Box<str>,
    data: Option<Value>,
}

pub(crate) fn refuse(status: StatusCode, code: i64, message: &str) -> Refusal {
    Refusal {
        status,
        code,
        message: message.into(),
        data: None,
    }
}

impl Refusal {
    /// The answer that says it. It names no request: which it was may not even be known.
    pub(crate) fn into_reply(self) -> Reply {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(data) = self.data {
            error["data"] = data;
        }
        let body = json!({ "jsonrpc": "2.0", "id": null, "error": error });
        Reply::json(self.status, &body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_reads_is_what_it_says() {
        let cases = [
            (vec![], (true, true)),
            (vec!["application/json, text/event-stream"], (true, true)),
            (vec!["application/json", "text/event-stream"], (true, true)),
            (vec!["text/event-stream;q=0.9"], (false, true)),
            (vec!["Application/JSON"], (true, false)),
            (vec!["*/*"], (true, true)),
            (vec!["text/html"], (false, false)),
        ];
        for (lines, (json, stream)) in cases {
            let mut headers = HeaderMap::new();
            for line in &lines {
                headers.append(header::ACCEPT, HeaderValue::from_static(line));
            }
            assert_eq!(Accepts::of(&headers), Accepts { json, stream }, "{lines:?}");
        }
    }

    #[test]
    fn a_name_that_was_made_to_lead_here_is_refused() {
        let here = McpOptions::default();
        let named = McpOptions {
            allowed_hosts: vec!["Nexus.Example".to_owned(), "other.example:8443".to_owned()],
            ..McpOptions::default()
        };
        let anywhere = McpOptions {
            loopback_only: false,
            ..McpOptions::default()
        };
        let cases = [
            ("localhost", [true, true, true]),
            ("LOCALHOST:3000", [true, true, true]),
            ("127.0.0.1:3000", [true, true, true]),
            ("[::1]:3000", [true, true, true]),
            ("[::1]", [true, true, true]),
            ("10.1.2.3", [true, true, true]),
            ("nexus.example:3000", [false, true, true]),
            ("other.example:8443", [false, true, true]),
            ("other.example", [false, false, true]),
            ("evil.example.com", [false, false, true]),
            ("localhost.evil.example", [false, false, true]),
            ("127.0.0.1.evil.example", [false, false, true]),
        ];
        for (host, expected) in cases {
            let allowed =
                [&here, &named, &anywhere].map(|options| is_host_allowed(host.as_bytes(), options));
            assert_eq!(allowed, expected, "{host}");
        }
    }

    #[test]
    fn a_revision_that_is_not_spoken_is_refused() {
        let mut headers = HeaderMap::new();
        assert_eq!(version(&headers).ok(), Some(Version::WITHOUT_HEADER));
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static("2025-11-25"));
        assert_eq!(version(&headers).ok(), Some(Version::LATEST));
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static("1999-01-01"));
        assert!(version(&headers).is_err());
    }
}
