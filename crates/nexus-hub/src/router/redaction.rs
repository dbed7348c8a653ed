//! Takes a server's credentials out of what it says, also where they are written with escapes.
//!
//! What is read from a server has its credentials taken out where it is read, as they are written plainly. Some
//! servers write a slash or a plus sign as an escape, and then only the decoded text shows it.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use memchr::memmem;
use serde_json::value::RawValue;

use crate::{
    CallError, ClientCapabilities, Following, Peer, Raw, Redactor, RpcError,
    catalogue::running::Running, router::params,
};

/// JSON without the credentials in its texts; nothing when there are none.
pub(crate) fn json(redactor: &Redactor, json: &str) -> Option<Raw> {
    let bytes = json.as_bytes();
    let has_escapes = [&b"\\u"[..], b"\\/"]
        .iter()
        .any(|escape| memmem::find(bytes, escape).is_some());
    if !has_escapes {
        return None;
    }
    let mut out = Vec::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(start) = memchr::memchr(b'"', &bytes[at..]).map(|found| at + found) {
        let end = end_of_text(bytes, start);
        if let Some(clean) = clean_text(redactor, &json[start..end]) {
            out.extend_from_slice(&bytes[copied..start]);
            out.extend_from_slice(&clean);
            copied = end;
        }
        at = end;
    }
    if copied == 0 {
        return None;
    }
    out.extend_from_slice(&bytes[copied..]);
    params::raw(out)
}

/// Behind the quote that ends the text which begins at `start`.
fn end_of_text(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &json[at..]) {
        at += found + 1;
        if json[at - 1] == b'"' {
            return at;
        }
        // What is escaped is no quote; JSON ends within no escape.
        at = (at + 1).min(json.len());
    }
    json.len()
}

fn clean_text(redactor: &Redactor, quoted: &str) -> Option<Vec<u8>> {
    if !quoted.contains('\\') {
        return None;
    }
    let text: String = serde_json::from_str(quoted).ok()?;
    plain(redactor, &text).map(|clean| params::json_text(&clean))
}

/// A decoded text without credentials; nothing when there are none.
pub(crate) fn plain(redactor: &Redactor, text: &str) -> Option<String> {
    match redactor.message(text.as_bytes()) {
        std::borrow::Cow::Borrowed(_) => None,
        std::borrow::Cow::Owned(clean) => Some(String::from_utf8_lossy(&clean).into_owned()),
    }
}

/// What a server answered, without its credentials.
pub(crate) fn outcome(
    redactor: &Redactor,
    outcome: Result<Raw, CallError>,
) -> Result<Raw, CallError> {
    match outcome {
        Ok(answer) => Ok(json(redactor, answer.get()).unwrap_or(answer)),
        Err(CallError::Rpc(error)) => Err(CallError::Rpc(rpc_error(redactor, error))),
        Err(other) => Err(other),
    }
}

fn rpc_error(redactor: &Redactor, error: RpcError) -> RpcError {
    let data = error
        .data
        .map(|data| json(redactor, data.get()).unwrap_or(data));
    RpcError {
        code: error.code,
        message: plain(redactor, &error.message).unwrap_or(error.message),
        data,
    }
}

/// Whoever asked, told and asked by a server without that server's credentials.
pub(crate) struct CleanPeer {
    pub(crate) inner: Arc<dyn Peer>,
    pub(crate) running: Arc<Running>,
}

impl CleanPeer {
    fn clean(&self, params: Option<Raw>) -> Option<Raw> {
        let params = params?;
        let redactor = self.running.redactor.as_ref();
        let clean = redactor.and_then(|redactor| json(redactor, RawValue::get(&params)));
        Some(clean.unwrap_or(params))
    }
}

impl Peer for CleanPeer {
    fn notify(&self, method: &str, params: Option<Raw>) {
        self.inner.notify(method, self.clean(params));
    }

    fn ask(&self, method: &str, params: Option<Raw>) -> BoxFuture<'_, Result<Raw, RpcError>> {
        self.inner.ask(method, self.clean(params))
    }

    fn ask_following(
        &self,
        method: &str,
        params: Option<Raw>,
        following: Following,
    ) -> BoxFuture<'_, Result<Raw, RpcError>> {
        self.inner
            .ask_following(method, self.clean(params), following)
    }

    fn capabilities(&self) -> &ClientCapabilities {
        self.inner.capabilities()
    }
}

#[cfg(test)]
mod tests {
    use nexus_auth::Secret;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const KEY: &str = "ab+cd/ef0123456789";

    fn redactor() -> Redactor {
        Redactor::new(&[Secret::new(KEY)])
    }

    #[test]
    fn credentials_are_found_however_they_are_escaped() {
        let redactor = redactor();
        for written in [
            r"ab\u002Bcd/ef0123456789",
            r"ab+cd\/ef0123456789",
            r"\u0061b+cd\u002fef01234567\u00389",
        ] {
            let text = format!(r#"{{"a":["x\"y","key {written}."],"b":1.50}}"#);
            let clean = json(&redactor, &text).unwrap();
            assert_eq!(clean.get(), r#"{"a":["x\"y","key [redacted]."],"b":1.50}"#);
        }
        assert!(json(&redactor, r#"{"a":"caf\u00e9 \/"}"#).is_none());
        let error = RpcError::new(1, format!("wrong key {KEY}"));
        assert_eq!(rpc_error(&redactor, error).message, "wrong key [redacted]");
    }

    proptest! {
        /// Nothing but texts with a credential changes, and no credential is left.
        #[test]
        fn everything_else_stays(texts in prop::collection::vec(
            prop_oneof![".{0,12}".prop_map(String::from), Just(KEY.to_owned())], 0..6), escaped: bool,
        ) {
            let values = Value::from(texts.clone());
            let mut text = values.to_string().replace('/', "\\/");
            if escaped {
                text = text.replace('+', "\\u002b");
            }
            let clean = json(&redactor(), &text);
            let expected = Value::from(texts.into_iter()
                .map(|text| text.replace(KEY, "[redacted]")).collect::<Vec<_>>());
            let read: Value = match &clean {
                Some(clean) => serde_json::from_str(clean.get()).unwrap(),
                None => serde_json::from_str(&text).unwrap(),
            };
            prop_assert_eq!(read, expected);
        }
    }
}
