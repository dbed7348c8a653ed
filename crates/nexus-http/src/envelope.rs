//! The envelope of face v1 around what an answer has to say.

use bytes::Bytes;
use http::StatusCode;
use nexus_core::{Clock, iso8601_ms};
use serde::Serialize;

use crate::Reply;

/// The longest part of an envelope that is neither data nor meta, rounded up.
const ENVELOPE_BYTES: usize = 96;

impl Reply {
    /// An answer in the envelope of face v1: `{"success":true,"data":…,"meta":…,"timestamp":…}`. What cannot be
    /// written as JSON is as bad as for [`Reply::json`].
    #[must_use]
    pub fn enveloped(
        status: StatusCode,
        clock: &Clock,
        data: &impl Serialize,
        meta: Option<&impl Serialize>,
    ) -> Self {
        #[derive(Serialize)]
        struct Envelope<'a, D, M> {
            success: bool,
            data: &'a D,
            #[serde(skip_serializing_if = "Option::is_none")]
            meta: Option<&'a M>,
            timestamp: String,
        }
        let timestamp = iso8601_ms(clock.now_us());
        Self::json(
            status,
            &Envelope {
                success: true,
                data,
                meta,
                timestamp,
            },
        )
    }

    /// The same around what is JSON already: `data` writes it, about `data_bytes` bytes.
    #[must_use]
    pub fn enveloped_raw(
        status: StatusCode,
        clock: &Clock,
        data_bytes: usize,
        data: impl FnOnce(&mut Vec<u8>),
        meta: Option<&str>,
    ) -> Self {
        let meta_bytes = meta.map_or(0, str::len);
        let mut body = Vec::with_capacity(ENVELOPE_BYTES + data_bytes + meta_bytes);
        body.extend_from_slice(b"{\"success\":true,\"data\":");
        data(&mut body);
        if let Some(meta) = meta {
            body.extend_from_slice(b",\"meta\":");
            body.extend_from_slice(meta.as_bytes());
        }
        body.extend_from_slice(b",\"timestamp\":\"");
        body.extend_from_slice(iso8601_ms(clock.now_us()).as_bytes());
        body.extend_from_slice(b"\"}");
        Self::bytes(status, "application/json", Bytes::from(body))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn written_or_wrapped_an_envelope_is_the_same() {
        let clock = Clock::manual(1_795_266_339_414_739);
        for meta in [None, Some(json!({"next_cursor": null, "has_more": false}))] {
            let data = json!([{"a": 1}, "é"]);
            let whole = Reply::enveloped(StatusCode::CREATED, &clock, &data, meta.as_ref());
            let text = meta.as_ref().map(Value::to_string);
            let write = |out: &mut Vec<u8>| out.extend_from_slice(data.to_string().as_bytes());
            let raw = Reply::enveloped_raw(StatusCode::CREATED, &clock, 8, write, text.as_deref());
            assert_eq!(whole.body, raw.body);
            assert_eq!(whole.headers, raw.headers);
            let body: Value = serde_json::from_slice(&raw.body).unwrap();
            assert_eq!(body["success"], true);
            assert_eq!(body["data"], data);
            assert_eq!(body.get("meta"), meta.as_ref());
            assert_eq!(body["timestamp"], "2026-11-21T13:05:39.414Z");
        }
    }
}
