//! The route of the sessions' WebSocket, and who may open one there.

use std::sync::Arc;

use http::{Uri, header};
use hyper_util::rt::TokioIo;
use nexus_core::From;
use nexus_http::{Access, Call, Problem, Reply, Route};
use tokio::sync::watch;

use super::handshake;
use crate::{
    Coordinator, Edge, Error, SessionConnection, SessionOptions,
    agents::Agents,
    handle::Shared,
    socket::{self, Bounds},
};

/// Where a session connects.
const PATH: &str = "/ws/session/{session_id}";

/// What lets sessions in.
struct Door<C> {
    edge: Edge,
    coordinator: C,
    options: SessionOptions,
}

impl Edge {
    /// The route of the sessions' WebSocket, GET `/ws/session/{session_id}`. Needs a tokio runtime.
    #[must_use]
    pub fn session_routes<C: Coordinator>(
        &self,
        coordinator: C,
        options: SessionOptions,
    ) -> Vec<Route> {
        tokio::spawn(recheck(
            Arc::downgrade(&self.0.shared),
            coordinator.changes(),
        ));
        let door = Arc::new(Door {
            edge: self.clone(),
            coordinator,
            options,
        });
        vec![Route::get(PATH, Access::Stream, move |call| {
            let door = door.clone();
            async move { door.open(&call).await }
        })]
    }
}

impl<C: Coordinator> Door<C> {
    /// Answers a request for a session's WebSocket.
    async fn open(&self, call: &Call) -> Result<Reply, Problem> {
        if !call.is_websocket_upgrade() {
            let refusal = Problem::from(Error::UpgradeRequired);
            return Err(refusal.header(header::UPGRADE, handshake::WEBSOCKET));
        }
        if !self.is_origin_allowed(call) {
            return Err(Error::OriginRefused.into());
        }
        // Clients that offer some give up when none is chosen.
        let chosen = handshake::offered(&call.headers).first().copied();
        let headers = handshake::answer(&call.headers, chosen)?;
        let name = call.param("session_id").unwrap_or_default();
        let shared = self.edge.0.shared.clone();
        // Before it is asked who it is: whoever has a seat hears of rights that change from then on.
        let seat = self.edge.seat_of_session(name);
        let session = self.coordinator.connect(call).await?;
        let start = shared.start(From::After(session.received())).await?;
        let lasting = self.options.lasting.clone();
        Ok(Reply::upgrade(headers, move |socket, draining| {
            let options = &shared.options;
            let bounds = Bounds {
                message_bytes_max: options.session_message_bytes_max,
                first_message_bytes_max: options.session_message_bytes_max,
                messages_per_second_max: options.v1_messages_per_second_max,
                ping: options.session_ping,
            };
            let grant = session.grant();
            let face = Agents::new(shared.clone(), &seat, session, start);
            let socket = TokioIo::new(socket);
            let serve = move |draining| socket::serve(socket, face, bounds, seat, grant, draining);
            async move {
                match lasting {
                    Some(lasting) => lasting.serve(serve),
                    None => serve(draining).await,
                }
            }
        }))
    }

    fn is_origin_allowed(&self, call: &Call) -> bool {
        call.is_origin_allowed()
            || (self.options.allows_loopback_origins
                && call
                    .headers
                    .get(header::ORIGIN)
                    .and_then(|origin| origin.to_str().ok())
                    .is_some_and(is_loopback))
    }
}

/// Whether an origin is a page that this machine serves.
fn is_loopback(origin: &str) -> bool {
    let Ok(origin) = origin.parse::<Uri>() else {
        return false;
    };
    let is_web = matches!(origin.scheme_str(), Some("http" | "https"));
    let is_here = |host: &str| {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let address = address.parse::<std::net::IpAddr>();
        host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
    };
    is_web && origin.host().is_some_and(is_here)
}

/// Has the sessions' connections ask again whenever it may have changed who may be there.
async fn recheck(shared: std::sync::Weak<Shared>, mut changes: watch::Receiver<u64>) {
    while changes.changed().await.is_ok() {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        shared.recheck_sessions();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_machine_are_loopback() {
        for origin in [
            "http://localhost:5173",
            "https://LOCALHOST",
            "http://127.0.0.1:8450",
            "http://127.9.9.9",
            "http://[::1]:3000",
        ] {
            assert!(is_loopback(origin), "{origin}");
        }
        for origin in [
            "null",
            "",
            "localhost",
            "file://localhost",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://10.0.0.1",
            "http://[::2]",
        ] {
            assert!(!is_loopback(origin), "{origin}");
        }
    }
}
