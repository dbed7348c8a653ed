//! Calls to outside nodes: what is kept of them, what an answer means, and which failures may pass.

use std::{error::Error as _, time::Duration};

use ::http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, RETRY_AFTER},
};
use bytes::Bytes;
use nexus_core::{Attempt, Clock, Exchange, ReactorError};
use nexus_outbound::{Answer, Client, Error, Outgoing};
use tokio::time::Instant;
use url::Url;

/// This much of an answer is told to people.
const ANSWER_CHARS_MAX: usize = 200;
/// The header that is the same for every attempt at one event.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// How the names of headers end that prove who sends: with one of them and the body beside it, anybody could
/// send the same again.
const SIGNATURE_END: &str = "signature";
/// Headers that are secrets, also if nobody marked them so.
const SECRET: [HeaderName; 4] = [
    AUTHORIZATION,
    PROXY_AUTHORIZATION,
    COOKIE,
    HeaderName::from_static("x-api-key"),
];

/// Makes the call of an attempt and keeps what was asked and answered with it. An answer of 2xx is success.
///
/// Gives nothing where the attempt is a replay that calls nobody: then it keeps what it would have asked.
///
/// # Errors
/// Network errors, timeouts, 408, 425, 429 and 5xx may pass, and `Retry-After` is honoured; every other
/// answer stays.
pub async fn call(
    client: &Client,
    outgoing: Outgoing,
    attempt: &Attempt,
    clock: &Clock,
) -> Result<Option<Answer>, ReactorError> {
    call_hiding(client, outgoing, attempt, clock, &|_| {}).await
}

/// As [`call`]; what is kept of it has gone through `hide`, which takes out what else is secret.
pub(crate) async fn call_hiding(
    client: &Client,
    outgoing: Outgoing,
    attempt: &Attempt,
    clock: &Clock,
    hide: &(dyn Fn(&mut Exchange) + Sync),
) -> Result<Option<Answer>, ReactorError> {
    match send_hiding(client, outgoing, attempt, hide).await {
        Ok(Some(answer)) if answer.is_success() => Ok(Some(answer)),
        // What people are told of a refusal may repeat what was sent.
        Ok(Some(answer)) => judged(hidden(answer, hide), clock.now_us()).map(Some),
        Ok(None) => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

/// Makes the call of an attempt and keeps what was asked and answered with it, whatever the answer is.
///
/// Gives nothing where the attempt is a replay that calls nobody: then it keeps what it would have asked.
///
/// # Errors
/// As [`Client::send`].
pub async fn send(
    client: &Client,
    outgoing: Outgoing,
    attempt: &Attempt,
) -> Result<Option<Answer>, Error> {
    send_hiding(client, outgoing, attempt, &|_| {}).await
}

async fn send_hiding(
    client: &Client,
    outgoing: Outgoing,
    attempt: &Attempt,
    hide: &(dyn Fn(&mut Exchange) + Sync),
) -> Result<Option<Answer>, Error> {
    let mut exchange = asked(&outgoing);
    hide(&mut exchange);
    // What an attempt that runs out of time leaves behind.
    attempt.exchange(exchange.clone());
    if !attempt.mode.calls_out() {
        return Ok(None);
    }
    let began = Instant::now();
    let answer = client.send(outgoing).await;
    exchange.duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    match &answer {
        Ok(answer) => {
            exchange.status = Some(answer.status);
            exchange.answer = answer.body.clone();
        }
        Err(Error::AnswerTooLarge { status, .. }) => exchange.status = Some(*status),
        Err(_) => {}
    }
    hide(&mut exchange);
    attempt.exchange(exchange);
    answer.map(Some)
}

/// An answer with a body that people may see.
fn hidden(answer: Answer, hide: &(dyn Fn(&mut Exchange) + Sync)) -> Answer {
    let mut exchange = Exchange {
        answer: answer.body,
        ..Exchange::default()
    };
    hide(&mut exchange);
    Answer {
        body: exchange.answer,
        ..answer
    }
}

/// The key as a header can carry it: what it cannot is percent-encoded, so that two keys stay two.
pub(crate) fn idempotency_key(attempt: &Attempt) -> Result<HeaderValue, ReactorError> {
    let mut text = String::with_capacity(attempt.idempotency_key.len());
    for byte in attempt.idempotency_key.bytes() {
        if (byte.is_ascii_graphic() && byte != b'%') || byte == b' ' {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    HeaderValue::from_str(&text)
        .map_err(|_| ReactorError::final_("the idempotency key cannot be sent in a header"))
}

/// What is kept of a call, without what may be secret.
fn asked(outgoing: &Outgoing) -> Exchange {
    let headers = outgoing.headers.iter().map(|(name, value)| {
        let is_secret =
            value.is_sensitive() || SECRET.contains(name) || name.as_str().ends_with(SIGNATURE_END);
        let value = if is_secret { "***".into() } else { text(value) };
        (name.as_str().to_owned(), value)
    });
    Exchange {
        method: outgoing.method.as_str().to_owned(),
        url: shown(&outgoing.url),
        headers: headers.collect(),
        body: outgoing.body.clone(),
        status: None,
        answer: Bytes::new(),
        duration_us: 0,
    }
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// An address as people are shown it: without user and password, and without what its query holds.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Only addresses without a host have no place for these.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    if url.query().is_some() {
        url.set_query(Some("***"));
    }
    url.into()
}

/// What an answer means.
///
/// # Errors
/// 408, 425, 429 and 5xx may pass, and `Retry-After` is honoured; every other answer but 2xx stays.
pub fn judged(answer: Answer, now_us: i64) -> Result<Answer, ReactorError> {
    if answer.is_success() {
        return Ok(answer);
    }
    let detail = describe(&answer);
    Err(if may_pass(answer.status) {
        let after = retry_after(&answer.headers, now_us);
        ReactorError::Retry { detail, after }
    } else {
        ReactorError::final_(detail)
    })
}

/// Whether the same call may be answered otherwise later.
fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// Why no answer came.
#[must_use]
pub fn failed(error: &Error) -> ReactorError {
    let mut detail = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        detail = format!("{detail}: {cause}");
        source = cause.source();
    }
    let may_pass = match error {
        // However much it says, the status is what counts.
        Error::AnswerTooLarge { status, .. } => may_pass(*status),
        error => error.is_transient(),
    };
    if may_pass {
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

/// How long the receiver wants to be left alone: `Retry-After` in seconds, or as a date.
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
    use ::http::{Method, header::CONTENT_TYPE};
    use nexus_outbound::Trust;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status,
            headers: HeaderMap::new(),
            body: Bytes::from(body.to_owned()),
            is_cut: false,
        }
    }

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
        assert_eq!(describe(&answer(503, "")), "answered 503");
        assert_eq!(describe(&answer(503, "down\n")), "answered 503: down");
        assert!(describe(&answer(503, &"x".repeat(10_000))).len() < 300);
    }

    #[test]
    fn which_answers_may_pass() {
        let mut wait = answer(429, "");
        wait.headers.insert(RETRY_AFTER, "7".parse().unwrap());
        let error = judged(wait, 0).unwrap_err();
        let after = Some(Duration::from_secs(7));
        assert!(matches!(error, ReactorError::Retry { after: it, .. } if it == after));
        let too_large = |status| {
            failed(&Error::AnswerTooLarge {
                status,
                limit_bytes: 1,
            })
        };
        for status in [408, 425, 429, 500, 503, 599] {
            let error = judged(answer(status, ""), 0).unwrap_err();
            assert!(matches!(error, ReactorError::Retry { .. }), "{status}");
            let error = too_large(status);
            assert!(matches!(error, ReactorError::Retry { .. }), "{status}");
        }
        for status in [199, 301, 304, 400, 404, 410, 422, 600] {
            let error = judged(answer(status, ""), 0).unwrap_err();
            assert!(matches!(error, ReactorError::Final { .. }), "{status}");
        }
        assert!(matches!(too_large(200), ReactorError::Final { .. }));
        assert!(judged(answer(204, ""), 0).is_ok());
    }

    #[test]
    fn what_is_kept_of_a_call_holds_no_secret() {
        let url = "https://ana:hunter2@shop.example/hook?key=hunter2#hunter2";
        let mut call = Outgoing::new(Method::POST, url.parse().unwrap(), Trust::Foreign);
        call.body = Bytes::from_static(b"{}");
        for name in SECRET {
            call.headers.insert(name, "hunter2".parse().unwrap());
        }
        for name in ["x-nexus-signature", "webhook-signature"] {
            call.headers.insert(name, "hunter2".parse().unwrap());
        }
        let mut marked: HeaderValue = "hunter2".parse().unwrap();
        marked.set_sensitive(true);
        call.headers.insert("x-own", marked);
        let json = HeaderValue::from_static("application/json");
        call.headers.insert(CONTENT_TYPE, json);
        let exchange = asked(&call);
        assert_eq!(exchange.url, "https://shop.example/hook?***");
        assert!(!format!("{exchange:?}").contains("hunter2"), "{exchange:?}");
        let kept = |name: &str| exchange.headers.iter().find(|(header, _)| header == name);
        assert_eq!(kept("x-own").unwrap().1, "***");
        assert_eq!(kept("content-type").unwrap().1, "application/json");
        assert_eq!((&*exchange.method, &*exchange.body), ("POST", &b"{}"[..]));
    }
}
