//! What a request says it is signed with: reads the headers, computes the code, compares.

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use http::{HeaderMap, HeaderName, header::HeaderValue};
use ring::hmac;
use subtle::{Choice, ConstantTimeEq};

use crate::{TIMESTAMP_TOLERANCE_S, secret::Keys, secret::tag, secret::tag_bytes};

/// Names the node that signed.
pub const NODE_HEADER: HeaderName = HeaderName::from_static("x-nexus-node");
/// Carries the code of the body, in hexadecimal.
pub const SIGNATURE_HEADER: HeaderName = HeaderName::from_static("x-nexus-signature");
/// The same, as FlowPay calls it; read on `/webhook/flowpay` only.
pub const FLOWPAY_SIGNATURE_HEADER: HeaderName = HeaderName::from_static("x-flowpay-signature");
/// The message's id, of Standard Webhooks.
pub const WEBHOOK_ID_HEADER: HeaderName = HeaderName::from_static("webhook-id");
/// When the message was signed, in seconds since 1970, of Standard Webhooks.
pub const WEBHOOK_TIMESTAMP_HEADER: HeaderName = HeaderName::from_static("webhook-timestamp");
/// The code of id, time and body, of Standard Webhooks.
pub const WEBHOOK_SIGNATURE_HEADER: HeaderName = HeaderName::from_static("webhook-signature");

/// The node whose webhooks may be signed under [`FLOWPAY_SIGNATURE_HEADER`].
const FLOWPAY_NODE: &str = "flowpay";
/// Codes beyond this many are not looked at.
const CODES_MAX: usize = 16;

/// What a request says, understood. It holds at least one code.
pub(crate) enum Claim<'a> {
    /// A code over the body.
    Plain(Codes),
    /// A code over id, time and body.
    Standard {
        id: &'a str,
        timestamp: &'a str,
        codes: Codes,
    },
}

impl<'a> Claim<'a> {
    /// What the headers claim; nothing when there is no signature in them that could be right.
    ///
    /// Headers of Standard Webhooks, when all three are there, are the claim: they cover more, so that
    /// no one may fall back to the weaker form by adding the other header.
    pub(crate) fn read(
        headers: &'a HeaderMap,
        path_node: Option<&str>,
        now_s: i64,
    ) -> Option<Self> {
        let has = |name| headers.contains_key(name);
        if has(WEBHOOK_ID_HEADER) && has(WEBHOOK_TIMESTAMP_HEADER) && has(WEBHOOK_SIGNATURE_HEADER)
        {
            return Self::standard(headers, now_s);
        }
        let mut codes = Codes::default();
        codes.add_hex(headers, &SIGNATURE_HEADER);
        if path_node == Some(FLOWPAY_NODE) {
            codes.add_hex(headers, &FLOWPAY_SIGNATURE_HEADER);
        }
        (codes.count > 0).then_some(Self::Plain(codes))
    }

    fn standard(headers: &'a HeaderMap, now_s: i64) -> Option<Self> {
        let id = only(headers, &WEBHOOK_ID_HEADER)?;
        // The signed text is `id.timestamp.body`: with a dot in the id it would be ambiguous.
        if id.is_empty() || id.contains('.') {
            return None;
        }
        let timestamp = only(headers, &WEBHOOK_TIMESTAMP_HEADER)?;
        if !timestamp.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let seconds: i64 = timestamp.parse().ok()?;
        if now_s.checked_sub(seconds)?.unsigned_abs() > TIMESTAMP_TOLERANCE_S.unsigned_abs() {
            return None;
        }
        let mut codes = Codes::default();
        for value in texts(headers, &WEBHOOK_SIGNATURE_HEADER) {
            for part in value.split_ascii_whitespace() {
                if let Some(encoded) = part.strip_prefix("v1,") {
                    codes.add(&BASE64, encoded);
                }
            }
        }
        (codes.count > 0).then_some(Self::Standard {
            id,
            timestamp,
            codes,
        })
    }

    /// Whether a key makes one of the codes. Takes the same time whichever of them it is.
    pub(crate) fn holds(&self, keys: &Keys, body: &[u8]) -> bool {
        let (code, codes) = match self {
            Self::Plain(codes) => (tag(&keys.plain, body), codes),
            Self::Standard {
                id,
                timestamp,
                codes,
            } => (standard_code(&keys.standard, id, timestamp, body), codes),
        };
        let mut equal = Choice::from(0);
        for claimed in &codes.codes[..codes.count] {
            equal |= claimed.ct_eq(&code);
        }
        equal.into()
    }
}

/// The code that Standard Webhooks asks for.
pub(crate) fn standard_code(key: &hmac::Key, id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        context.update(part);
    }
    tag_bytes(&context.sign())
}

/// The codes of a request that are well formed.
#[derive(Default)]
pub(crate) struct Codes {
    codes: [[u8; 32]; CODES_MAX],
    count: usize,
}

impl Codes {
    /// Adds what a header holds: hexadecimal, also after `sha256=`, several separated by commas.
    fn add_hex(&mut self, headers: &HeaderMap, name: &HeaderName) {
        for value in texts(headers, name) {
            for part in value.split(',') {
                let part = part.trim();
                let hex = part.strip_prefix("sha256=").unwrap_or(part);
                self.add(&HEXLOWER_PERMISSIVE, hex);
            }
        }
    }

    fn add(&mut self, encoding: &data_encoding::Encoding, text: &str) {
        // Large enough for any text of the lengths that 32 bytes can have in either encoding.
        let mut bytes = [0; 48];
        let Ok(length @ 32..=48) = encoding.decode_len(text.len()) else {
            return;
        };
        if let Ok(32) = encoding.decode_mut(text.as_bytes(), &mut bytes[..length])
            && let Some(slot) = self.codes.get_mut(self.count)
        {
            slot.copy_from_slice(&bytes[..32]);
            self.count += 1;
        }
    }
}

/// The values of a header that are text.
fn texts<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    values.filter_map(|value: &HeaderValue| value.to_str().ok())
}

/// The value of a header that is there once.
pub(crate) fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    match values.next() {
        None => value.to_str().ok().map(str::trim),
        Some(_) => None,
    }
}
