//! A page of a list as face v1 answers with it: its data, and where the next page begins.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use http::{HeaderValue, StatusCode, header};
use nexus_core::Clock;
use serde::Serialize;

use crate::{Call, Problem, Reply};

#[derive(Serialize)]
struct Meta<'a> {
    next_cursor: Option<&'a str>,
    has_more: bool,
}

impl Reply {
    /// One page of a list: `meta` says how to get the next one, and so does the header `Link`.
    #[must_use]
    pub fn page(
        call: &Call,
        clock: &Clock,
        data: &impl Serialize,
        next_cursor: Option<&str>,
    ) -> Self {
        let meta = Meta {
            next_cursor,
            has_more: next_cursor.is_some(),
        };
        let reply = Self::enveloped(StatusCode::OK, clock, data, Some(&meta));
        match next_cursor.and_then(|next| call.next_link(next)) {
            Some(link) => reply.header(header::LINK, link),
            None => reply,
        }
    }

    /// The same, of a list that goes on behind a place which says nothing to clients: [`Call::place`] reads it
    /// again.
    #[must_use]
    pub fn page_to(
        call: &Call,
        clock: &Clock,
        data: &impl Serialize,
        next_place: Option<&str>,
    ) -> Self {
        let next_cursor = next_place.map(|place| BASE64URL_NOPAD.encode(place.as_bytes()));
        Self::page(call, clock, data, next_cursor.as_deref())
    }
}

impl Call {
    /// The place behind which a list is to go on, as [`Reply::page_to`] gave it in `cursor`.
    ///
    /// # Errors
    /// `invalid-request` when no page gave it.
    pub fn place(&self) -> Result<Option<Arc<str>>, Problem> {
        let Some(cursor) = self.query("cursor") else {
            return Ok(None);
        };
        let bytes = BASE64URL_NOPAD.decode(cursor.as_bytes()).ok();
        let place = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let refuse = || Problem::invalid_request("`cursor` must be one that a page gave");
        place.map(|place| Some(place.into())).ok_or_else(refuse)
    }

    /// The value of `Link` that leads to the same list, one page on. The cursor has to be made of what
    /// stands in a query as it is: letters, digits, `-`, `.`, `_`, `~`, `:`.
    #[must_use]
    pub fn next_link(&self, cursor: &str) -> Option<HeaderValue> {
        let mut query = String::new();
        for pair in self.uri.query().unwrap_or_default().split('&') {
            if pair.is_empty() || pair.split('=').next() == Some("cursor") {
                continue;
            }
            for byte in pair.bytes() {
                // As it was sent, except that a header has no letters beyond ASCII.
                match byte {
                    0x21..=0x7e => query.push(char::from(byte)),
                    _ => query.push_str(&format!("%{byte:02X}")),
                }
            }
            query.push('&');
        }
        let path = self.path();
        HeaderValue::from_str(&format!("<{path}?{query}cursor={cursor}>; rel=\"next\"")).ok()
    }
}
