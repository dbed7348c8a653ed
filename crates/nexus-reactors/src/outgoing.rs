//! Calls to outside nodes: what an answer means, and which failures may pass.

use std::{error::Error as _, time::Duration};

use ::http::{HeaderMap, header::RETRY_AFTER};
use nexus_core::{Clock, ReactorError};
use nexus_outbound::{Answer, Client, Error, Outgoing};

/// This much of an answer is told to people.
const ANSWER_CHARS_MAX: usize = 200;

/// Makes a call. An answer of 2xx is success.
///
/// # Errors
/// Network errors, timeouts, 408, 425, 429 and 5xx may pass, and `Retry-After` is honoured; every other
/// answer stays.
pub(crate) async fn call(
    client: &Client,
    outgoing: Outgoing,
    clock: &Clock,
) -> Result<Answer, ReactorError> {
    let answer = client
        .send(outgoing)
        .await
        .map_err(|error| failed(&error))?;
    if answer.is_success() {
        return Ok(answer);
    }
    let detail = describe(&answer);
    Err(match answer.status {
        408 | 425 | 429 | 500..=599 => ReactorError::Retry {
            detail,
            after: retry_after(&answer.headers, clock.now_us()),
        },
        _ => ReactorError::final_(detail),
    })
}

/// Why no answer came.
pub(crate) fn failed(error: &Error) -> ReactorError {
    let mut detail = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        detail = format!("{detail}: {cause}");
        source = cause.source();
    }
    if error.is_transient() {
        ReactorError::retry(detail)
    } else {
        ReactorError::final_(detail)
    }
}

fn describe(answer: &Answer) -> String {
    let body = String::from_utf8_lossy(&answer.body);
    let body: String = body
        .chars()
        .filter(|c| !c.is_control())
        .take(ANSWER_CHARS_MAX)
        .collect();
    if body.is_empty() {
        format!("answered {}", answer.status)
    } else {
        format!("answered {}: {body}", answer.status)
    }
}

/// How long a receiver wants to be left alone, as `Retry-After` says: seconds, or a date.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now_us: i64) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    let left_us = until.as_microsecond().checked_sub(now_us)?;
    u64::try_from(left_us).ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now_us = 784_111_770_000_000;
        for (text, expected_s) in [
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", None),
            ("soon", None),
            ("-1", None),
        ] {
            let headers = [(RETRY_AFTER, text.parse().unwrap())].into_iter().collect();
            let expected = expected_s.map(Duration::from_secs);
            assert_eq!(retry_after(&headers, now_us), expected, "{text}");
        }
    }

    #[test]
    fn an_answer_is_told_in_short() {
        let answer = |body: &str| Answer {
            status: 503,
            headers: HeaderMap::new(),
            body: Bytes::from(body.to_owned()),
            is_cut: false,
        };
        assert_eq!(describe(&answer("")), "answered 503");
        assert_eq!(describe(&answer("down\n")), "answered 503: down");
        assert!(describe(&answer(&"x".repeat(10_000))).len() < 300);
    }
}
