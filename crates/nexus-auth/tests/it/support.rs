//! Options and signatures for the tests; codes are made with `ring` alone, not with the crate's signer.

use data_encoding::{BASE64, HEXLOWER};
use http::{HeaderMap, HeaderName, HeaderValue};
use nexus_auth::{Auth, AuthOptions, Error, NodeOptions, Secret, SignedRequest};
use nexus_core::{Catalogue, Clock, Principal};
use ring::hmac;

pub(crate) const NOW_S: i64 = 1_763_712_000;
pub(crate) const DEFAULT: &str = "default-secret-0123456789abcdef0123456789";
pub(crate) const FLOWPAY: &str = "flowpay-secret-0123456789abcdef0123456789";
pub(crate) const FACTORY: &str = "factory-secret-0123456789abcdef0123456789";
pub(crate) const BODY: &[u8] =
    br#"{"event":"PAYMENT_RECEIVED","payload":{"transactionId":"tx_1"}}"#;

pub(crate) fn clock() -> Clock {
    Clock::manual(NOW_S * 1_000_000)
}

/// `NEXUS_SECRET` and nothing else.
pub(crate) fn smallest() -> AuthOptions {
    AuthOptions {
        default_secrets: vec![Secret::new(DEFAULT).into()],
        ..AuthOptions::default()
    }
}

/// The smallest set-up with a `[[nodes]]` entry for flowpay.
pub(crate) fn with_flowpay() -> AuthOptions {
    AuthOptions {
        nodes: vec![NodeOptions::new("flowpay").secret(Secret::new(FLOWPAY))],
        ..smallest()
    }
}

pub(crate) fn auth(options: &AuthOptions) -> Auth {
    Auth::new(options, &Catalogue::known(), clock()).unwrap()
}

pub(crate) fn refusals(options: &AuthOptions) -> Vec<String> {
    match Auth::new(options, &Catalogue::known(), clock()) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn code(key: &[u8], message: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, message).as_ref().to_vec()
}

pub(crate) fn hex(secret: &str, body: &[u8]) -> String {
    HEXLOWER.encode(&code(secret.as_bytes(), body))
}

pub(crate) fn standard(key: &[u8], id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let message = [format!("{id}.{timestamp_s}.").as_bytes(), body].concat();
    format!("v1,{}", BASE64.encode(&code(key, &message)))
}

pub(crate) fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(
            HeaderName::try_from(*name).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    headers
}

pub(crate) fn verify(
    auth: &Auth,
    pairs: &[(&str, &str)],
    path_node: Option<&str>,
    body: &[u8],
) -> Result<Principal, Error> {
    auth.verify(&SignedRequest {
        headers: &headers(pairs),
        body,
        path_node,
    })
}

/// Who it is, or that it is nobody.
pub(crate) fn who(result: Result<Principal, Error>) -> Option<String> {
    match result {
        Ok(principal) => Some(principal.source().to_string()),
        Err(Error::Unauthorized) => None,
        Err(other) => panic!("{other}"),
    }
}
