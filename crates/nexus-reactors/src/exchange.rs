//! How an exchange with the outside is kept in a record: as text, because people read it.

use std::borrow::Cow;

use bytes::Bytes;
use nexus_core::Exchange;
use serde::{Deserialize, Serialize};

/// An [`Exchange`] in a record. What is not text is kept as far as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    method: String,
    url: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    body: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    answer: String,
    duration_us: u64,
}

impl Kept {
    /// About how many bytes of a record it takes.
    pub(crate) fn weight(&self) -> usize {
        self.body.len() + self.answer.len() + self.url.len()
    }
}

impl From<Exchange> for Kept {
    fn from(exchange: Exchange) -> Self {
        Self {
            method: exchange.method,
            url: exchange.url,
            headers: exchange.headers,
            body: text(&exchange.body),
            status: exchange.status,
            answer: text(&exchange.answer),
            duration_us: exchange.duration_us,
        }
    }
}

impl From<Kept> for Exchange {
    fn from(kept: Kept) -> Self {
        Self {
            method: kept.method,
            url: kept.url,
            headers: kept.headers,
            body: kept.body.into(),
            status: kept.status,
            answer: kept.answer.into(),
            duration_us: kept.duration_us,
        }
    }
}

fn text(bytes: &Bytes) -> String {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => text.to_owned(),
        Cow::Owned(text) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_back_as_it_was_kept() {
        let exchange = Exchange {
            method: "POST".into(),
            url: "https://factory.example/api/mint".into(),
            headers: vec![("content-type".into(), "application/json".into())],
            body: r#"{"amount":"1250"}"#.into(),
            status: Some(503),
            answer: "down".into(),
            duration_us: 1_500,
        };
        let text = serde_json::to_string(&Kept::from(exchange.clone())).unwrap();
        let kept: Kept = serde_json::from_str(&text).unwrap();
        assert_eq!(Exchange::from(kept), exchange);
    }

    #[test]
    fn what_is_no_text_is_kept_as_far_as_it_is() {
        let exchange = Exchange {
            answer: b"ok \xff".as_slice().into(),
            ..Exchange::default()
        };
        assert_eq!(
            &*Exchange::from(Kept::from(exchange)).answer,
            "ok \u{fffd}".as_bytes()
        );
    }
}
