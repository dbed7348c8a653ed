//! The edge's routes: who may open a socket, and the handshake.

use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use hyper_util::rt::TokioIo;
use nexus_auth::Grant;
use nexus_core::Scope;
use nexus_http::{Access, Call, Form, Problem, Reply, Route};
use tungstenite::handshake::derive_accept_key;

use crate::{
    Edge, Error,
    neo::Neo,
    socket::{self, Bounds},
    sse,
};

/// Where face v1 streams, as a WebSocket or as server-sent events.
const STREAMS: [&str; 2] = ["/api/v1/stream", "/api/stream"];
/// More offered subprotocols than this are not tried as tokens.
const OFFERED_MAX: usize = 8;
const VERSION: HeaderValue = HeaderValue::from_static("13");
const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
const UPGRADE: HeaderValue = HeaderValue::from_static("Upgrade");

impl Edge {
    /// The routes of the neo face's WebSocket, GET `/` and `/ws`, and of face v1's streams.
    #[must_use]
    pub fn routes(&self) -> Vec<Route> {
        let route = |path| {
            let edge = self.clone();
            Route::get(path, Access::Stream, move |call| {
                let edge = edge.clone();
                async move { edge.upgrade(&call) }
            })
        };
        let mut routes = vec![route("/"), route("/ws")];
        for path in STREAMS {
            let edge = self.clone();
            let stream = Route::get(path, Access::Stream, move |call| {
                let edge = edge.clone();
                async move { sse::answer(&edge, &call).await }
            });
            routes.push(stream.form(Form::V1));
            routes.extend(sse::cookie_routes(self, path));
        }
        routes
    }

    /// Answers a request for a WebSocket, for whoever has a route of their own at such a path.
    ///
    /// # Errors
    /// The refusals of the contract: no upgrade, a foreign origin, no token, a broken handshake.
    pub fn upgrade(&self, call: &Call) -> Result<Reply, Problem> {
        if !call.is_websocket_upgrade() {
            return Err(no_upgrade(call));
        }
        if !call.is_origin_allowed() {
            return Err(Error::OriginRefused.into());
        }
        let offered = offered(&call.headers);
        let (grant, used) = self.authenticate(call, &offered)?;
        let headers = handshake(&call.headers, &offered, used)?;
        let seat = self.seat();
        let shared = self.0.shared.clone();
        Ok(Reply::upgrade(headers, move |socket, draining| {
            let face = Neo::new(shared.clone(), &seat, &grant);
            let bounds = Bounds {
                message_bytes_max: shared.options.message_bytes_max,
                messages_per_second_max: shared.options.messages_per_second_max,
            };
            let socket = TokioIo::new(socket);
            socket::serve(socket, face, bounds, seat, Some(grant), draining)
        }))
    }

    /// Who it is, and which of the offered subprotocols was the token.
    fn authenticate(
        &self,
        call: &Call,
        offered: &[&str],
    ) -> Result<(Grant, Option<usize>), Problem> {
        let anonymous = call.take_anonymous_token()?;
        let auth = &self.0.shared.auth;
        let (grant, used) = if call.headers.contains_key(header::AUTHORIZATION) {
            (auth.reader_grant(&call.headers), None)
        } else if let Some((used, grant)) = offered
            .iter()
            .enumerate()
            .find_map(|(index, token)| Some((index, auth.grant(token).ok()?)))
        {
            (Ok(grant), Some(used))
        } else {
            // Browsers cannot set headers, and old clients know nothing else: only this face takes it.
            let token = call.query("token").unwrap_or_default();
            (auth.grant(&token), None)
        };
        let grant = grant?;
        anonymous.give_back();
        auth.require(&grant.principal, Scope::Read)?;
        Ok((grant, used))
    }
}

fn no_upgrade(call: &Call) -> Problem {
    if call.path() == "/" {
        return Error::NothingHere.into();
    }
    Problem::from(Error::UpgradeRequired).header(header::UPGRADE, WEBSOCKET)
}

/// The subprotocols that the client offers.
fn offered(headers: &HeaderMap) -> Vec<&str> {
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

/// The headers of the answer.
fn handshake(
    request: &HeaderMap,
    offered: &[&str],
    used: Option<usize>,
) -> Result<HeaderMap, Problem> {
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
    // Clients that offer some give up when none is chosen. Not the token, if there is another.
    let others = offered.iter().enumerate();
    let mut others = others.filter(|(index, _)| Some(*index) != used);
    let chosen = others.next().map(|(_, value)| *value);
    let chosen = chosen.or_else(|| offered.get(used?).copied());
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
