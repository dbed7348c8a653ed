//! Reads an answer that means no, and what follows from it for a stream.

use std::time::Duration;

use http::{HeaderMap, header::RETRY_AFTER};
use serde_json::{Map, Value};

use crate::{Error, Refusal, error::is_final};

/// The longest wait that a server is believed to want.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Members of a problem that are told otherwise, or say nothing more.
const TOLD: [&str; 10] = [
    "type",
    "title",
    "status",
    "detail",
    "code",
    "retryable",
    "success",
    "error",
    "message",
    "timestamp",
];

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum Lost {
    /// Come back, not before the time that the server asked for.
    Back { why: Error, after: Option<Duration> },
    /// It makes no sense to come back.
    Over(Error),
}

impl Lost {
    pub(crate) fn back(why: Error) -> Self {
        Self::Back { why, after: None }
    }

    /// The server closed the stream.
    pub(crate) fn closed(code: u16, reason: &str) -> Self {
        let reason = reason.to_owned();
        let why = Error::Closed { code, reason };
        if is_final(code) {
            Self::Over(why)
        } else {
            Self::back(why)
        }
    }

    pub(crate) fn refused(refusal: Refusal) -> Self {
        let (again, after) = (refusal.retryable, refusal.retry_after);
        let why = Error::Refused(Box::new(refusal));
        if again {
            Self::Back { why, after }
        } else {
            Self::Over(why)
        }
    }
}

/// What a problem of the server says; also what somebody between says who knows no problems.
pub(crate) fn read_refusal(status: u16, headers: &HeaderMap, body: &[u8]) -> Refusal {
    let mut members: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let text = |members: &Map<String, Value>, name: &str| {
        let text = members.get(name).and_then(Value::as_str);
        text.map(str::to_owned)
    };
    let code = text(&members, "code").unwrap_or_else(|| format!("http-{status}"));
    let message = text(&members, "detail")
        .or_else(|| text(&members, "title"))
        .unwrap_or_else(|| format!("status {status}"));
    let said = members.get("retryable").and_then(Value::as_bool);
    members.retain(|name, _| !TOLD.contains(&name.as_str()));
    let seconds = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let seconds = seconds.and_then(|text| text.trim().parse().ok());
    Refusal {
        status: Some(status),
        code,
        message,
        retryable: said.unwrap_or(matches!(status, 408 | 425 | 429 | 502..=504)),
        retry_after: seconds.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX)),
        details: members,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_whole() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "5".parse().unwrap());
        let body = br#"{"type":"urn:x","status":503,"detail":"the disk is full","code":"storage-full","retryable":true,"request_id":"r","errors":[{"pointer":"/a"}]}"#;
        let refusal = read_refusal(503, &headers, body);
        assert_eq!(
            (&*refusal.code, &*refusal.message),
            ("storage-full", "the disk is full")
        );
        assert_eq!(refusal.retry_after, Some(Duration::from_secs(5)));
        assert!(refusal.retryable);
        assert_eq!(refusal.details.len(), 2);
        assert_eq!(refusal.details["errors"][0]["pointer"], "/a");
    }

    #[test]
    fn an_answer_of_somebody_between_is_told_too() {
        for (status, again) in [(502, true), (429, true), (404, false), (500, false)] {
            let refusal = read_refusal(status, &HeaderMap::new(), b"<html>");
            assert_eq!(refusal.retryable, again, "{status}");
            assert_eq!(refusal.code, format!("http-{status}"));
        }
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "99999999999".parse().unwrap());
        assert_eq!(
            read_refusal(503, &headers, b"").retry_after,
            Some(RETRY_AFTER_MAX)
        );
    }
}
