//! The edge's routes, and who may open a socket at which of them.

mod handshake;
mod sessions;

use std::sync::Arc;

use http::{HeaderName, header};
use hyper_util::rt::TokioIo;
use nexus_auth::Grant;
use nexus_core::{Scope, Start};
use nexus_http::{Access, Call, Form, Problem, Reply, Route};
use tokio::time::Instant;

use crate::{
    Edge, Error,
    cloud_events::{self, CloudEvents},
    format::Format,
    handle::Shared,
    neo::Neo,
    publishing::Origin,
    selection::{Rights, Selection},
    socket::{self, Bounds},
    sse::{self, Asked},
    v1::{self, Stranger, V1},
};

/// Where face v1 streams, as a WebSocket or as server-sent events.
const STREAMS: [&str; 2] = ["/api/v1/stream", "/api/stream"];
/// Headers that a signature stands in.
const SIGNATURES: [HeaderName; 2] = [
    HeaderName::from_static("x-nexus-signature"),
    HeaderName::from_static("webhook-signature"),
];

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
                async move {
                    if call.is_websocket_upgrade() {
                        edge.upgrade_v1(&call).await
                    } else {
                        sse::answer(&edge, &call).await
                    }
                }
            });
            routes.push(stream.form(Form::V1));
            routes.extend(sse::cookie_routes(self, path));
        }
        routes
    }

    /// Answers a request for a WebSocket of the neo face, for whoever has a route of their own at such a
    /// path.
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
        let offered = handshake::offered(&call.headers);
        // Before it is asked who it is: whoever has a seat hears of rights that change from then on.
        let seat = self.seat();
        let (grant, used) = self.authenticate(call, &offered)?;
        // Clients that offer some give up when none is chosen. Not the token, if there is another.
        let others = offered.iter().enumerate();
        let mut others = others.filter(|(index, _)| Some(*index) != used);
        let chosen = others.next().map(|(_, value)| *value);
        let chosen = chosen.or_else(|| offered.get(used?).copied());
        let headers = handshake::answer(&call.headers, chosen)?;
        let shared = self.0.shared.clone();
        Ok(Reply::upgrade(headers, move |socket, draining| {
            let face = Neo::new(shared.clone(), &seat, &grant);
            let bounds = Bounds {
                message_bytes_max: shared.options.message_bytes_max,
                first_message_bytes_max: shared.options.message_bytes_max,
                messages_per_second_max: shared.options.messages_per_second_max,
                ping: shared.options.ping,
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

    /// Answers a request for a WebSocket of face v1, in one of its two languages.
    async fn upgrade_v1(&self, call: &Call) -> Result<Reply, Problem> {
        if !call.is_origin_allowed() {
            return Err(Error::OriginRefused.into());
        }
        let offered = handshake::offered(&call.headers);
        let known = |name: &&&str| [v1::PROTOCOL, cloud_events::PROTOCOL].contains(*name);
        let chosen = offered.iter().find(known).copied();
        if chosen.is_none() && !offered.is_empty() {
            return Err(Error::Subprotocol.into());
        }
        let headers = handshake::answer(&call.headers, chosen)?;
        let shared = self.0.shared.clone();
        // Before it is asked who it is, as above.
        let seat = self.seat();
        let grant = self.authenticate_v1(call)?;
        let origin = Origin {
            request_id: call.request_id.clone(),
            remote: call.remote.to_string().into(),
            traceparent: call.traceparent.clone(),
        };
        let message_bytes_max = shared.options.v1_message_bytes_max;
        let bounds = Bounds {
            message_bytes_max,
            first_message_bytes_max: match &grant {
                Some(_) => message_bytes_max,
                None => shared.options.stranger_message_bytes_max,
            },
            messages_per_second_max: shared.options.v1_messages_per_second_max,
            ping: shared.options.ping,
        };
        if chosen == Some(cloud_events::PROTOCOL) {
            let grant = grant.ok_or(nexus_auth::Error::Unauthorized)?;
            let wanted = self.wanted(call, &grant).await?;
            return Ok(Reply::upgrade(headers, move |socket, draining| {
                let face = CloudEvents::new(shared, origin, &seat, wanted);
                let socket = TokioIo::new(socket);
                socket::serve(socket, face, bounds, seat, Some(grant), draining)
            }));
        }
        let stranger = match &grant {
            Some(_) => None,
            None => Some(stranger(&shared)?),
        };
        let rights = grant.as_ref().map(|grant| Rights::of(&grant.principal));
        Ok(Reply::upgrade(headers, move |socket, draining| {
            let face = V1::new(shared, origin, rights, stranger);
            let socket = TokioIo::new(socket);
            socket::serve(socket, face, bounds, seat, grant, draining)
        }))
    }

    /// Who it is; nobody if the request says nothing of that, so that the first message may.
    fn authenticate_v1(&self, call: &Call) -> Result<Option<Grant>, Problem> {
        let anonymous = call.take_anonymous_token()?;
        let has = |name: &HeaderName| call.headers.contains_key(name);
        if !has(&header::AUTHORIZATION) && !SIGNATURES.iter().any(has) {
            anonymous.spend();
            return Ok(None);
        }
        let auth = &self.0.shared.auth;
        let grant = auth.reader_grant(&call.headers)?;
        anonymous.give_back();
        if !v1::may_connect(grant.principal.scopes()) {
            auth.require(&grant.principal, Scope::Read)?;
        }
        Ok(Some(grant))
    }

    /// Which events the query of a connection asks for; none if it has no query.
    async fn wanted(
        &self,
        call: &Call,
        grant: &Grant,
    ) -> Result<Option<(Selection, Start)>, Problem> {
        if call.uri.query().unwrap_or_default().is_empty() {
            return Ok(None);
        }
        let shared = &self.0.shared;
        shared.auth.require(&grant.principal, Scope::Read)?;
        let rights = Rights::of(&grant.principal);
        let asked = Asked::read(call, shared, &rights)?;
        let start = shared.start(asked.from).await?;
        Ok(Some((asked.selection(Format::CloudEvents, &rights), start)))
    }
}

/// A place for a socket that has still to say who it is.
fn stranger(shared: &Shared) -> Result<Stranger, Problem> {
    let strangers: Arc<_> = shared.strangers.clone();
    let place = strangers.try_acquire_owned();
    Ok(Stranger {
        _place: place.map_err(|_| Error::TooManyStrangers)?,
        until: Instant::now() + shared.options.authentication,
    })
}

fn no_upgrade(call: &Call) -> Problem {
    if call.path() == "/" {
        return Error::NothingHere.into();
    }
    Problem::from(Error::UpgradeRequired).header(header::UPGRADE, handshake::WEBSOCKET)
}
