//! Which pages open the WebSocket of a session.

use std::net::TcpStream;

use tokio_tungstenite::tungstenite::{
    Error, HandshakeError, client,
    client::IntoClientRequest,
    http::{HeaderValue, header::ORIGIN},
};

use super::{Bus, Mode, bus::OPERATOR, bus::bearer};

/// The status of the answer to a page of this origin.
fn status(bus: &Bus, origin: &str) -> u16 {
    let mut request = bus.socket_url("me").into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
    let authorization = HeaderValue::from_str(&bearer(OPERATOR)).unwrap();
    headers.insert("authorization", authorization);
    let stream = TcpStream::connect(bus.daemon.address()).unwrap();
    match client::client(request, stream) {
        Ok((_, answer)) => answer.status().as_u16(),
        Err(HandshakeError::Failure(Error::Http(answer))) => answer.status().as_u16(),
        Err(error) => panic!("{origin} got neither a socket nor an answer: {error}"),
    }
}

#[test]
fn pages_of_this_machine_connect_in_dev_and_no_others() {
    for (mode, local) in [(Mode::Open, 101), (Mode::Token, 403)] {
        let bus = Bus::start(mode);
        let own = format!("http://{}", bus.daemon.address());
        for (origin, expected) in [
            (own.as_str(), 101),
            ("http://localhost:5173", local),
            ("http://127.0.0.1:8000", local),
            ("http://[::1]:8000", local),
            ("https://evil.example", 403),
            ("http://localhost.evil.example", 403),
            ("null", 403),
        ] {
            assert_eq!(status(&bus, origin), expected, "{mode:?} {origin}");
        }
    }
}
