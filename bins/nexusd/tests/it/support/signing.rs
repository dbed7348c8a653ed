//! Signatures, computed by the tests themselves.

use data_encoding::{BASE64, HEXLOWER};
use ring::hmac;

use super::Received;

/// The plain signature of a body.
pub(crate) fn sign(secret: &str, body: &str) -> String {
    hmac_hex(secret, body.as_bytes())
}

pub(crate) fn hmac_hex(secret: &str, message: &[u8]) -> String {
    HEXLOWER.encode(code(secret, message).as_ref())
}

/// Whether a request carries the three headers of Standard Webhooks, and they fit.
pub(crate) fn is_signed_standard(secret: &str, request: &Received) -> bool {
    let (Some(id), Some(timestamp), Some(signature)) = (
        request.header("webhook-id"),
        request.header("webhook-timestamp"),
        request.header("webhook-signature"),
    ) else {
        return false;
    };
    let message = [
        id.as_bytes(),
        b".",
        timestamp.as_bytes(),
        b".",
        &request.body,
    ]
    .concat();
    signature == format!("v1,{}", BASE64.encode(code(secret, &message).as_ref()))
}

fn code(secret: &str, message: &[u8]) -> hmac::Tag {
    hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
        message,
    )
}
