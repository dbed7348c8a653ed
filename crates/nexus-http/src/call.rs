//! A request as a handler sees it: read, bounded and identified.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, header};
use nexus_core::Causes;

use crate::{
    Problem,
    connection::ConnectionState,
    rate_limit::AnonymousToken,
    request_path::{client_address, cors},
    router::Params,
};

/// A request, with its body already read.
#[derive(Debug)]
pub struct Call {
    /// The method; HEAD for a GET route that was asked so.
    pub method: Method,
    /// The target, as it was sent. Use [`Call::path`] for decisions.
    pub uri: Uri,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The request's id: the client's, if it is sane, else one of ours.
    pub request_id: Arc<str>,
    /// The client's address, behind trusted proxies.
    pub remote: IpAddr,
    /// The trace that the request belongs to, if the client named one.
    pub traceparent: Option<Arc<str>>,
    pub(crate) path: Option<String>,
    pub(crate) params: Params,
    pub(crate) connection: Arc<ConnectionState>,
}

impl Call {
    /// The path that was routed: percent-decoded once.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_else(|| self.uri.path())
    }

    /// What the events that follow from this request say of it.
    #[must_use]
    pub fn causes(&self) -> Causes {
        Causes {
            request_id: Some(self.request_id.as_ref().to_owned()),
            remote: Some(self.remote.to_string()),
            traceparent: self.traceparent.as_deref().map(str::to_owned),
            ..Causes::default()
        }
    }

    /// A parameter of the route's pattern.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.get(name)
    }

    /// The first value of a name in the query, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query_all(name).next()
    }

    /// Every value of a name in the query, decoded, in order.
    pub fn query_all<'a>(&'a self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        self.uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(move |pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode_query(key) == name).then(|| decode_query(value))
            })
    }

    /// The parameter `limit` of a list: by default `default`, and never more than `max`.
    ///
    /// # Errors
    /// `invalid-request` when it is no number above zero.
    pub fn limit(&self, default: usize, max: usize) -> Result<usize, Problem> {
        let Some(text) = self.query("limit") else {
            return Ok(default);
        };
        match text.parse::<usize>() {
            Ok(limit) if limit > 0 => Ok(limit.min(max)),
            _ => Err(Problem::invalid_request(format!(
                "`limit` must be a number from 1 to {max}"
            ))),
        }
    }

    /// Whether the client asks for a WebSocket.
    #[must_use]
    pub fn is_websocket_upgrade(&self) -> bool {
        self.method == Method::GET
            && has_token(&self.headers, header::CONNECTION, "upgrade")
            && has_token(&self.headers, header::UPGRADE, "websocket")
    }

    /// Whether the request's `Origin` may call: it is absent (no browser), the server's own, or allowed.
    #[must_use]
    pub fn is_origin_allowed(&self) -> bool {
        self.headers.get(header::ORIGIN).is_none_or(|origin| {
            let allowed = &self.connection.path.options.allowed_origins;
            cors::is_allowed(origin, &self.headers, allowed)
        })
    }

    /// Whether a cookie of this request may count as its credential: it comes from a page of the same site that
    /// is the server's own or allowed by name.
    #[must_use]
    pub fn may_use_cookies(&self) -> bool {
        cors::may_use_cookies(&self.headers, &self.connection.path.options.allowed_origins)
    }

    /// The value of a cookie: the first of that name.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        cookie(&self.headers, name)
    }

    /// Whether the client came by https, as a trusted proxy says; Nexus itself speaks plain HTTP.
    #[must_use]
    pub fn is_https(&self) -> bool {
        let trusted = &self.connection.path.options.trusted_proxies;
        client_address::is_https(self.connection.peer, &self.headers, trusted)
    }

    /// Finds out who asks, by `verify`. A failure costs the address one of its tokens for callers that are
    /// not authenticated, taken before anything is verified, so that guessing is as slow as any stranger.
    ///
    /// # Errors
    /// `rate-limited` when the address has none left, and what `verify` says.
    pub fn identify<T, E: Into<Problem>>(
        &self,
        verify: impl FnOnce(&HeaderMap) -> Result<T, E>,
    ) -> Result<T, Problem> {
        let token = self.take_anonymous_token()?;
        let caller = verify(&self.headers).map_err(Into::into)?;
        token.give_back();
        Ok(caller)
    }

    /// Takes one of the address's tokens for callers that are not authenticated.
    ///
    /// Call it before a credential is verified, and give the token back once the caller is known: so a
    /// failed verification costs a token, and it cannot be tried when there is none. A route with
    /// [`Access::Open`](crate::Access::Open) has paid before its handler runs and does not call this.
    ///
    /// # Errors
    /// `rate-limited` when the address has none left.
    pub fn take_anonymous_token(&self) -> Result<AnonymousToken<'_>, Problem> {
        self.connection.path.limits.take_anonymous(self.remote)
    }
}

/// Whether a comma-separated header has a token, in any case.
fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|value| value.trim().eq_ignore_ascii_case(token))
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then_some(value)
        })
}

/// Decodes `%XX` and `+`; what is not valid stays as it is.
fn decode_query(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (
            byte,
            bytes.get(at + 1..at + 3).and_then(crate::router::hex_byte),
        ) {
            (b'%', Some(value)) => {
                decoded.push(value);
                at += 3;
                continue;
            }
            (b'+', _) => decoded.push(b' '),
            _ => decoded.push(byte),
        }
        at += 1;
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_once() {
        let cases = [
            ("a", "a"),
            ("a+b%20c", "a b c"),
            ("%25", "%"),
            ("%2525", "%25"),
            ("100%", "100%"),
            ("%zz", "%zz"),
            ("%f", "%f"),
            ("%C3%A9", "é"),
            ("%ff", "\u{fffd}"),
        ];
        for (sent, seen) in cases {
            assert_eq!(decode_query(sent), seen, "{sent}");
        }
    }

    #[test]
    fn cookies_are_found_by_their_whole_name() {
        let mut headers = HeaderMap::new();
        for line in ["a=1; bb=2", "c=x=y;a=3", "d"] {
            headers.append(header::COOKIE, line.parse().unwrap());
        }
        let cases = [
            ("a", Some("1")),
            ("b", None),
            ("bb", Some("2")),
            ("c", Some("x=y")),
            ("d", None),
        ];
        for (name, value) in cases {
            assert_eq!(cookie(&headers, name), value, "{name}");
        }
    }
}
