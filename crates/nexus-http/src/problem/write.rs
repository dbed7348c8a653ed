//! How a problem is written: the members of each form, and the headers that go with a kind.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use nexus_core::{Clock, Kind, iso8601_ms};
use serde::Serialize;
use serde_json::{Map, Value};

use super::Problem;
use crate::{Form, Reply};

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer realm=\"nexus\"");

/// What a problem has to know of the request that it answers.
pub(crate) struct ProblemContext<'a> {
    pub(crate) form: Form,
    pub(crate) request_id: &'a str,
    /// The path of the request, without its query.
    pub(crate) instance: &'a str,
    pub(crate) clock: &'a Clock,
}

/// What [`Members`] writes itself.
const STANDARD: [&str; 12] = [
    "type",
    "title",
    "status",
    "detail",
    "instance",
    "code",
    "request_id",
    "retryable",
    "success",
    "error",
    "message",
    "timestamp",
];

/// The members, in the order in which people read them.
#[derive(Serialize)]
struct Members<'a> {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retryable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<bool>,
    error: ErrorMember<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

/// `error` is the title for one face, the detail for another, and an object for the third.
#[derive(Serialize)]
#[serde(untagged)]
enum ErrorMember<'a> {
    Text(&'a str),
    Object {
        message: &'a str,
        code: &'static str,
    },
}

impl Problem {
    /// Writes the problem for a client.
    pub(crate) fn into_reply(mut self, context: &ProblemContext<'_>) -> Reply {
        // A member that stood there twice would be read in two ways.
        self.extra
            .retain(|name, _| !STANDARD.contains(&name.as_str()));
        let mut reply = Reply::json(self.status(), &self.members(context));
        reply.headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
        if self.kind == Kind::Unauthenticated {
            reply.headers.insert(header::WWW_AUTHENTICATE, BEARER);
        }
        if let Some(seconds) = self.retry_after_s {
            reply.headers.insert(header::RETRY_AFTER, seconds.into());
        }
        for (name, value) in self.headers {
            reply.headers.insert(name, value);
        }
        reply
    }

    fn members<'a>(&'a self, context: &ProblemContext<'a>) -> Members<'a> {
        let title = self.title();
        let v1 = context.form == Form::V1;
        Members {
            r#type: format!("urn:nexus:problem:{}", self.code),
            title,
            status: self.status().as_u16(),
            detail: &self.detail,
            instance: Some(context.instance).filter(|path| v1 && !path.is_empty()),
            code: self.code,
            request_id: context.request_id,
            retryable: v1.then(|| self.is_retryable()),
            success: v1.then_some(false),
            error: match context.form {
                Form::Neo => ErrorMember::Text(title),
                Form::Hub => ErrorMember::Text(&self.detail),
                Form::V1 => ErrorMember::Object {
                    message: &self.detail,
                    code: self.code,
                },
            },
            message: (!v1).then_some(self.detail.as_str()),
            timestamp: v1.then(|| iso8601_ms(context.clock.now_us())),
            extra: &self.extra,
        }
    }

    fn is_retryable(&self) -> bool {
        self.retry_after_s.is_some()
            || matches!(
                self.kind,
                Kind::Timeout | Kind::Limited | Kind::Unavailable | Kind::Unknown
            )
    }
}

/// A whole answer for a request whose head could not be read, so that nothing is known of its client.
pub(crate) fn early_problem(status: StatusCode, request_id: &str, clock: &Clock) -> Bytes {
    let problem = match status {
        StatusCode::REQUEST_TIMEOUT => Problem::new(
            Kind::Timeout,
            "timeout",
            "the head of the request took too long",
        ),
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE | StatusCode::URI_TOO_LONG => Problem::new(
            Kind::HeadersTooLarge,
            "headers-too-large",
            "the request line and headers are larger than the limit",
        ),
        StatusCode::SERVICE_UNAVAILABLE => Problem::new(
            Kind::Unavailable,
            "unavailable",
            "there are too many connections",
        )
        .retry_after_s(1),
        _ => Problem::new(
            Kind::Malformed,
            "invalid-request",
            "the request is not valid HTTP/1.1",
        ),
    };
    let reply = problem.into_reply(&ProblemContext {
        form: Form::Neo,
        request_id,
        instance: "",
        clock,
    });
    let mut head = format!(
        "HTTP/1.1 {}\r\nconnection: close\r\ncontent-length: {}\r\nx-request-id: {request_id}\r\n",
        reply.status,
        reply.body.len(),
    )
    .into_bytes();
    let plain = [
        ("x-content-type-options", b"nosniff".as_slice()),
        ("cache-control", b"no-store".as_slice()),
    ];
    let headers = reply
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .chain(plain);
    for (name, value) in headers {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(&reply.body);
    Bytes::from(head)
}
