//! A cookie that opens streams: an `EventSource` of a browser cannot set headers, and a token does not belong
//! in a URL.

use http::{HeaderValue, StatusCode, header};
use nexus_core::{Kind, Scope};
use nexus_http::{Call, Problem, Reply};

use crate::{Edge, Error};

/// The name of the cookie; its value is the token.
pub(super) const NAME: &str = "nexus_stream";

/// Puts the token that the request came with into a cookie, which only streams at this path get.
pub(super) fn set(edge: &Edge, call: &Call, path: &str) -> Result<Reply, Problem> {
    if !call.is_origin_allowed() {
        return Err(Error::OriginRefused.into());
    }
    let anonymous = call.take_anonymous_token()?;
    let auth = &edge.0.shared.auth;
    let principal = auth.bearer(&call.headers)?;
    anonymous.give_back();
    auth.require(&principal, Scope::Read)?;
    let token = token(call).ok_or_else(|| {
        let detail = "the token has characters that a cookie cannot hold";
        Problem::new(Kind::Malformed, "invalid-request", detail)
    })?;
    Ok(answer(call, path, token, ""))
}

/// Has the browser forget the cookie.
pub(super) fn clear(call: &Call, path: &str) -> Result<Reply, Problem> {
    if !call.is_origin_allowed() {
        return Err(Error::OriginRefused.into());
    }
    Ok(answer(call, path, "", "; Max-Age=0"))
}

/// The token of the `Authorization` header, if a cookie can hold it.
fn token(call: &Call) -> Option<&str> {
    let credential = call.headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (_, token) = credential.split_once(' ')?;
    let token = token.trim();
    let fits = token
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\'));
    (fits && !token.is_empty()).then_some(token)
}

fn answer(call: &Call, path: &str, token: &str, more: &str) -> Reply {
    // Not for scripts, not for other sites, and for nothing but streams.
    let secure = if call.is_https() { "; Secure" } else { "" };
    let cookie = format!("{NAME}={token}; Path={path}; HttpOnly; SameSite=Strict{more}{secure}");
    let reply = Reply::empty(StatusCode::NO_CONTENT);
    match HeaderValue::try_from(cookie) {
        Ok(mut cookie) => {
            cookie.set_sensitive(true);
            reply.header(header::SET_COOKIE, cookie)
        }
        Err(_) => reply,
    }
}
