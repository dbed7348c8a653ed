//! Signs what Nexus sends to a node, and what a node sends to Nexus.

use std::fmt;

use data_encoding::{BASE64, HEXLOWER};
use http::{HeaderName, HeaderValue};

use crate::{
    Error, SIGNATURE_HEADER, Secret, WEBHOOK_ID_HEADER, WEBHOOK_SIGNATURE_HEADER,
    WEBHOOK_TIMESTAMP_HEADER,
    secret::{Keys, tag},
    signature::standard_code,
};

/// Signs with one secret. Take a new one for each message: secrets are replaced while Nexus runs.
///
/// ```
/// use nexus_auth::{SIGNATURE_HEADER, Secret, Signer};
///
/// let signer = Signer::from_secret(&Secret::new("a-secret-of-at-least-32-characters"))?;
/// let body = br#"{"event":"VOTE_CAST","payload":{}}"#;
/// let headers = signer.sign("msg-1", 1_763_712_000, body);
/// assert_eq!((headers.len(), &headers[0].0), (4, &SIGNATURE_HEADER));
/// # Ok::<(), nexus_auth::Error>(())
/// ```
#[derive(Clone)]
pub struct Signer {
    keys: Keys,
}

impl Signer {
    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys }
    }

    /// What signs with this secret: for a node that sends to Nexus.
    ///
    /// # Errors
    /// [`Error::SecretInvalid`] when no key can be made of it.
    pub fn from_secret(secret: &Secret) -> Result<Self, Error> {
        let keys = secret.keys().map_err(|why| Error::SecretInvalid {
            owner: String::from("the signer"),
            why,
        })?;
        Ok(Self { keys })
    }

    /// The headers to send with a body: `X-Nexus-Signature` as bare lower-case hexadecimal, and the
    /// three of Standard Webhooks.
    ///
    /// Those three are left out for an id that they cannot carry (empty, with a dot, or with what a
    /// header cannot hold), because no receiver could verify it. `timestamp_s` is in seconds since 1970.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp_s: i64, body: &[u8]) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = Vec::with_capacity(4);
        let mut add = |name, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.push((name, value));
            }
        };
        let plain = HEXLOWER.encode(&tag(&self.keys.plain, body));
        add(SIGNATURE_HEADER, &plain);
        if !id.is_empty() && id.bytes().all(|b| b.is_ascii_graphic() && b != b'.') {
            let timestamp = timestamp_s.to_string();
            let code = standard_code(&self.keys.standard, id, &timestamp, body);
            let code = format!("v1,{}", BASE64.encode(&code));
            add(WEBHOOK_ID_HEADER, id);
            add(WEBHOOK_TIMESTAMP_HEADER, &timestamp);
            add(WEBHOOK_SIGNATURE_HEADER, &code);
        }
        headers
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer")
    }
}
