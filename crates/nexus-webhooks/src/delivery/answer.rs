//! What is kept of an answer for people: its first bytes, without what was sent and is secret.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use nexus_core::EXCHANGE_ANSWER_BYTES_MAX;
use nexus_outbound::Opened;
use url::Url;

use super::LEFT_OUT;

/// How long the body of an answer may take; what it says is for people only.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);
/// What is shorter stands in an answer by chance, and is no secret.
const SECRET_BYTES_MIN: usize = 6;

/// What was sent that nobody is shown. Receivers repeat what they were asked, in an error above all.
pub(super) struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    pub(super) fn of(headers: &HeaderMap, url: &Url) -> Self {
        let mut secrets = Vec::new();
        for value in headers.values().filter(|value| value.is_sensitive()) {
            let value = value.as_bytes();
            secrets.push(value.to_vec());
            // What follows the name of a scheme, as after `Bearer`.
            secrets.extend(
                value
                    .rsplit(|byte| *byte == b' ')
                    .next()
                    .map(<[u8]>::to_vec),
            );
        }
        secrets.extend(url.query().map(|query| query.as_bytes().to_vec()));
        secrets.extend(
            url.query_pairs()
                .map(|(_, value)| value.as_bytes().to_vec()),
        );
        secrets.retain(|secret| secret.len() >= SECRET_BYTES_MIN);
        // The whole before a part of it.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    fn longest(&self) -> usize {
        self.0.first().map_or(0, Vec::len)
    }

    /// The first bytes without them; `answer` goes on for as long as one of them may, so that none is cut through.
    fn left_out(&self, answer: &[u8]) -> Bytes {
        let mut clean = BytesMut::with_capacity(answer.len().min(EXCHANGE_ANSWER_BYTES_MAX));
        let mut at = 0;
        while at < answer.len() && at < EXCHANGE_ANSWER_BYTES_MAX {
            let rest = &answer[at..];
            if let Some(secret) = self.0.iter().find(|secret| rest.starts_with(secret)) {
                clean.extend_from_slice(LEFT_OUT.as_bytes());
                at += secret.len();
            } else {
                clean.extend_from_slice(&rest[..1]);
                at += 1;
            }
        }
        clean.freeze()
    }
}

/// The first part of an answer's body. Its status has been said: whether the rest comes does not matter.
pub(super) async fn read_some(opened: &mut Opened, secrets: &Secrets) -> Bytes {
    let bytes_max = EXCHANGE_ANSWER_BYTES_MAX + secrets.longest();
    let mut body = BytesMut::new();
    let reading = async {
        while body.len() < bytes_max {
            match opened.chunk().await {
                Ok(Some(chunk)) => {
                    let room = bytes_max - body.len();
                    body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                }
                Ok(None) | Err(_) => return,
            }
        }
    };
    let _ = tokio::time::timeout(TIMEOUT, reading).await;
    secrets.left_out(&body)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn secrets() -> Secrets {
        let mut headers = HeaderMap::new();
        for (name, value, is_sensitive) in [
            ("authorization", "Bearer 0123456789", true),
            ("x-mode", "live", true),
            ("x-nexus-topic", "payment.received", false),
        ] {
            let mut value = HeaderValue::from_static(value);
            value.set_sensitive(is_sensitive);
            headers.insert(name, value);
        }
        let url = Url::parse("https://example.com/in?key=s%2Fecret-1&to=a").unwrap();
        Secrets::of(&headers, &url)
    }

    #[test]
    fn what_a_receiver_repeats_of_what_is_secret_is_left_out() {
        let secrets = secrets();
        for (said, kept) in [
            ("", ""),
            ("no Bearer 0123456789!", "no …!"),
            ("token 0123456789", "token …"),
            ("01234567890123456789", "……"),
            ("/in?key=s%2Fecret-1&to=a", "/in?…"),
            (r#"{"key":"s/ecret-1","to":"a"}"#, r#"{"key":"…","to":"a"}"#),
            (
                "payment.received live 012345678",
                "payment.received live 012345678",
            ),
        ] {
            assert_eq!(secrets.left_out(said.as_bytes()), kept, "{said}");
        }
    }

    #[test]
    fn what_is_secret_is_left_out_also_where_the_answer_is_cut() {
        let secrets = secrets();
        for before in EXCHANGE_ANSWER_BYTES_MAX - 12..EXCHANGE_ANSWER_BYTES_MAX + 2 {
            let said = format!("{}0123456789 and more, and more", "x".repeat(before));
            let bytes_read = said
                .len()
                .min(EXCHANGE_ANSWER_BYTES_MAX + secrets.longest());
            let kept = secrets.left_out(&said.as_bytes()[..bytes_read]);
            let kept = std::str::from_utf8(&kept).unwrap();
            assert!(!kept.contains('0'), "{before}");
        }
    }
}
