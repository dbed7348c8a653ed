//! Who may open a connection.

use std::sync::atomic::Ordering;

use nexus_ws::SessionOptions;
use tokio_tungstenite::tungstenite::{error::Error, http::StatusCode};

use super::{Bus, coordinator::STRANGER, header};
use crate::harness::until;

fn status(refused: Result<crate::harness::Client, Error>) -> StatusCode {
    match refused {
        Err(Error::Http(answer)) => answer.status(),
        Err(error) => panic!("{error}"),
        Ok(_) => StatusCode::SWITCHING_PROTOCOLS,
    }
}

#[tokio::test]
async fn who_may_not_be_the_session_gets_no_socket() {
    let bus = Bus::start().await;
    let refused = bus.open(bus.request(STRANGER)).await;
    assert_eq!(status(refused), StatusCode::UNAUTHORIZED);
    let mut no_upgrade = bus.request("me");
    no_upgrade.headers_mut().insert("upgrade", header("h2c"));
    assert_eq!(status(bus.open(no_upgrade).await), StatusCode::BAD_REQUEST);
    assert_eq!(bus.sessions.connected.load(Ordering::SeqCst), 0);
    until("no seat is left", || bus.hub.edge.connections() == 0).await;
}

#[tokio::test]
async fn pages_of_this_machine_may_connect_where_that_is_allowed() {
    for allows_loopback_origins in [true, false] {
        let options = SessionOptions {
            allows_loopback_origins,
            ..SessionOptions::default()
        };
        let bus = Bus::with(Default::default(), options).await;
        for (origin, is_local) in [
            ("http://localhost:5173", true),
            ("http://127.0.0.1", true),
            ("https://evil.example", false),
            ("null", false),
        ] {
            let mut request = bus.request("me");
            request.headers_mut().insert("origin", header(origin));
            let expected = if is_local && allows_loopback_origins {
                StatusCode::SWITCHING_PROTOCOLS
            } else {
                StatusCode::FORBIDDEN
            };
            assert_eq!(status(bus.open(request).await), expected, "{origin}");
        }
        let mut own = bus.request("me");
        let origin = format!("http://{}", bus.address);
        own.headers_mut().insert("origin", header(&origin));
        assert_eq!(status(bus.open(own).await), StatusCode::SWITCHING_PROTOCOLS);
    }
}

#[tokio::test]
async fn a_subprotocol_that_is_offered_is_taken() {
    let bus = Bus::start().await;
    let mut request = bus.request("me");
    let offered = header("bus.v1, other");
    request
        .headers_mut()
        .insert("sec-websocket-protocol", offered);
    let client = bus.open(request).await.unwrap();
    assert_eq!(client.protocol.as_deref(), Some("bus.v1"));
}
