//! The handshake of RFC 6455: what a client offers, and the headers that answer it.

use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use nexus_http::Problem;
use tungstenite::handshake::derive_accept_key;

use crate::Error;

/// More offered subprotocols than this are not looked at.
const OFFERED_MAX: usize = 8;
const VERSION: HeaderValue = HeaderValue::from_static("13");
pub(super) const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const UPGRADE: HeaderValue = HeaderValue::from_static("Upgrade");

/// The subprotocols that the client offers.
pub(super) fn offered(headers: &HeaderMap) -> Vec<&str> {
    headers
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|value| !value.is_empty())
        .take(OFFERED_MAX)
        .collect()
}

/// The headers of the answer, with the subprotocol that was chosen.
pub(super) fn answer(request: &HeaderMap, chosen: Option<&str>) -> Result<HeaderMap, Problem> {
    if only(request, &header::SEC_WEBSOCKET_VERSION) != Some(b"13") {
        let refusal = Problem::from(Error::Version);
        return Err(refusal.header(header::SEC_WEBSOCKET_VERSION, VERSION));
    }
    let key = only(request, &header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
    let accept = derive_accept_key(key.ok_or(Error::Key)?);
    let accept = HeaderValue::try_from(accept).map_err(|_| Error::Key)?;
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::CONNECTION, UPGRADE);
    headers.insert(header::UPGRADE, WEBSOCKET);
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(chosen) = chosen.and_then(|chosen| HeaderValue::from_str(chosen).ok()) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, chosen);
    }
    Ok(headers)
}

fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.as_bytes())
}

fn is_key(key: &[u8]) -> bool {
    BASE64.decode(key).is_ok_and(|key| key.len() == 16)
}
