//! Face v1 over a WebSocket.

#[path = "v1/auth.rs"]
mod auth;
#[path = "v1/cloud_events.rs"]
mod cloud_events;
#[path = "v1/cursors.rs"]
mod cursors;
#[path = "v1/frames.rs"]
mod frames;
#[path = "v1/pressure.rs"]
mod pressure;
#[path = "v1/publishing.rs"]
mod publishing;
#[path = "v1/reading.rs"]
mod reading;

use nexus_core::Position;
use serde_json::{Value, json};

use crate::harness::{ADMIN_TOKEN, Client, Hub};

pub(crate) const PATH: &str = "/api/v1/stream";
pub(crate) const PROTOCOL: &str = "nexus.v1.json";

impl Hub {
    /// A client of face v1 that was greeted.
    pub(crate) async fn connect_v1(&self) -> Client {
        self.connect_v1_as(ADMIN_TOKEN).await
    }

    pub(crate) async fn connect_v1_as(&self, token: &str) -> Client {
        let mut client = self.open_v1(token, None).await;
        let hello = client.next().await;
        assert_eq!(hello["type"], "hello", "{hello}");
        client
    }

    pub(crate) async fn open_v1(&self, token: &str, receive_buffer_bytes: Option<u32>) -> Client {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("authorization", &*bearer),
            ("sec-websocket-protocol", PROTOCOL),
        ];
        let request = self.request(PATH, &headers);
        Client::open(self.address, request, receive_buffer_bytes)
            .await
            .unwrap()
    }
}

impl Client {
    /// Subscribes with `id` and gives the answer.
    pub(crate) async fn subscribe_v1(&mut self, id: &str, patterns: &[&str]) -> Value {
        self.subscribe_with(json!({"id": id, "patterns": patterns}))
            .await
    }

    pub(crate) async fn subscribe_with(&mut self, mut subscribe: Value) -> Value {
        subscribe["type"] = "subscribe".into();
        self.send(&subscribe).await;
        let answer = self.next_of(&["subscribed", "error"]).await;
        assert_eq!(answer["id"], subscribe["id"], "{answer}");
        answer
    }

    /// The next frame of one of these types; others are passed over.
    pub(crate) async fn next_of(&mut self, types: &[&str]) -> Value {
        loop {
            let frame = self.next().await;
            if types.iter().any(|name| frame["type"] == *name) {
                return frame;
            }
        }
    }

    /// The numbers of the next events of a subscription; fails at another frame, but for positions.
    pub(crate) async fn events_of(&mut self, sub: u64, count: usize) -> Vec<u64> {
        let mut seqs = Vec::with_capacity(count);
        while seqs.len() < count {
            let message = self.next().await;
            let frames = match message {
                Value::Array(frames) => frames,
                frame => vec![frame],
            };
            for frame in frames {
                match frame["type"].as_str() {
                    Some("position") => {}
                    Some("event") if frame["sub"] == sub => {
                        seqs.push(frame["seq"].as_u64().unwrap());
                    }
                    _ => panic!("{frame}"),
                }
            }
        }
        seqs
    }

    /// The code of the error that answers a message.
    pub(crate) async fn refused(&mut self, message: &Value) -> Value {
        self.send(message).await;
        self.next_of(&["error", "subscribed", "published", "acked", "unsubscribed"])
            .await
    }
}

pub(crate) fn position_of(frame: &Value) -> Position {
    frame["position"].as_str().unwrap().parse().unwrap()
}
