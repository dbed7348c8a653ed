//! A session's WebSocket, with which a test says one frame at a time.

use std::{collections::VecDeque, net::TcpStream, time::Instant};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{
    Error, HandshakeError, Message, WebSocket, client,
    client::IntoClientRequest,
    http::{HeaderValue, header::AUTHORIZATION},
};

use super::{Bus, Identity};
use crate::support::PATIENCE;

/// A connection of a session.
pub(super) struct Socket {
    socket: WebSocket<TcpStream>,
    /// Frames that came before one that was waited for.
    passed: VecDeque<Value>,
    asked: u64,
}

impl Socket {
    /// Connects; else the status of the refusal.
    pub(super) fn open(bus: &Bus, id: &str, authorization: Option<&str>) -> Result<Self, u16> {
        let mut request = bus.socket_url(id).into_client_request().unwrap();
        if let Some(value) = authorization {
            let value = HeaderValue::from_str(value).unwrap();
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let stream = TcpStream::connect(bus.daemon.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match client::client(request, stream) {
            Ok((socket, _)) => Ok(Self {
                socket,
                passed: VecDeque::new(),
                asked: 0,
            }),
            Err(HandshakeError::Failure(Error::Http(answer))) => Err(answer.status().as_u16()),
            Err(error) => panic!("{id} got neither a socket nor an answer: {error}"),
        }
    }

    /// Connects a session as itself.
    #[track_caller]
    pub(super) fn of(bus: &Bus, who: &Identity) -> Self {
        let authorization = who.authorization();
        let socket = Self::open(bus, &who.id, authorization.as_deref());
        socket.unwrap_or_else(|status| panic!("{} is refused: {status}", who.id))
    }

    /// Subscribes, and waits until that is so.
    #[track_caller]
    pub(super) fn subscribe(&mut self, topics: &[&str]) {
        let answer = self.ask(json!({ "action": "subscribe", "topics": topics }));
        assert_eq!(answer["status"], "subscribed", "{answer}");
    }

    pub(super) fn send(&mut self, frame: &Value) {
        let message = Message::text(frame.to_string());
        self.socket.send(message).unwrap();
    }

    /// Sends a frame and waits for its answer: an acknowledgement, or an error.
    #[track_caller]
    pub(super) fn ask(&mut self, mut frame: Value) -> Value {
        self.asked += 1;
        let reference = format!("r{}", self.asked);
        frame["ref"] = json!(reference);
        self.send(&frame);
        let answer = self.frame(&format!("the answer to {frame}"), |answer| {
            answer["ref"] == reference.as_str()
        });
        let event_type = answer["event_type"].as_str();
        assert!(
            matches!(event_type, Some("system.ack" | "system.error")),
            "{answer}"
        );
        answer
    }

    /// The next frame that fits; those before it stay.
    #[track_caller]
    pub(super) fn frame(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.passed.iter().position(&fits) {
            return self.passed.remove(at).unwrap();
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let frame = self.receive(what, deadline);
            if fits(&frame) {
                return frame;
            }
            self.passed.push_back(frame);
        }
    }

    /// Every frame until one fits, that one among them.
    #[track_caller]
    pub(super) fn through(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        let last = self.frame(what, fits);
        let mut frames: Vec<Value> = self.passed.drain(..).collect();
        frames.push(last);
        frames
    }

    #[track_caller]
    fn receive(&mut self, what: &str, deadline: Instant) -> Value {
        loop {
            // Pings go on for ever.
            assert!(Instant::now() < deadline, "in vain waited for: {what}");
            let message = self.socket.read();
            let message = message.unwrap_or_else(|error| panic!("no {what}: {error}"));
            match message {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(frame) => panic!("no {what}: closed with {frame:?}"),
                _ => {}
            }
        }
    }
}
