//! The other end of a WebSocket.

use std::io::Write;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
        http::{HeaderMap, HeaderValue},
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::{event_members, position, soon};

/// A connection that a client opened.
pub(crate) struct Peer {
    stream: WebSocketStream<TcpStream>,
    pub(crate) headers: HeaderMap,
}

impl Peer {
    pub(crate) async fn accept(stream: TcpStream) -> Self {
        let mut headers = HeaderMap::new();
        #[allow(clippy::result_large_err, reason = "the shape that the library wants")]
        let callback = |request: &Request, mut response: Response| {
            headers = request.headers().clone();
            assert_eq!(request.uri().path(), "/api/v1/stream");
            let protocol = HeaderValue::from_static("nexus.v1.json");
            response
                .headers_mut()
                .insert("sec-websocket-protocol", protocol);
            Ok(response)
        };
        let accepted = accept_hdr_async(stream, callback);
        let stream = soon("a handshake", accepted).await.unwrap();
        Self { stream, headers }
    }

    /// Takes the subscription and says where it begins; gives what was asked.
    pub(crate) async fn subscribed(&mut self, from: u64) -> Value {
        let asked = self.heard().await;
        assert_eq!(asked["type"], "subscribe", "{asked}");
        self.say(r#"{"type":"hello","epoch":"7f3a09c2","head":9,"earliest":1,"server":"nexus/1"}"#)
            .await;
        let at = position(from);
        self.say(&format!(
            r#"{{"type":"subscribed","id":"s","sub":1,"recovered":true,"position":"{at}"}}"#
        ))
        .await;
        asked
    }

    /// The next frame of the client.
    pub(crate) async fn heard(&mut self) -> Value {
        loop {
            match soon("a frame", self.stream.next()).await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("no frame: {other:?}"),
            }
        }
    }

    /// Waits for the end of the connection; gives the code with which the client closed it.
    pub(crate) async fn end(mut self) -> Option<u16> {
        loop {
            match soon("the end", self.stream.next()).await {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn say_event(&mut self, seq: u64) {
        self.say_event_at(&position(seq), "{}").await;
    }

    pub(crate) async fn say_event_at(&mut self, position: &str, payload: &str) {
        let members = event_members(position, payload);
        let frame = format!(r#"{{"type":"event","sub":1,{members}}}"#);
        self.say(&frame).await;
    }

    pub(crate) async fn say_events(&mut self, seqs: impl IntoIterator<Item = u64>) {
        for seq in seqs {
            self.say_event(seq).await;
        }
    }

    /// Closes in order.
    pub(crate) async fn close(mut self, code: Option<u16>) {
        let frame = code.map(|code| CloseFrame {
            code: CloseCode::from(code),
            reason: "said by the test".into(),
        });
        self.stream.close(frame).await.unwrap();
        while let Some(Ok(_)) = soon("the end", self.stream.next()).await {}
    }

    /// Breaks off with a reset.
    pub(crate) fn reset(self) {
        self.stream.into_inner().set_zero_linger().unwrap();
    }

    /// Ends the connection in the middle of a frame.
    pub(crate) fn cut(self, bytes: &[u8]) {
        let mut stream = self.stream.into_inner().into_std().unwrap();
        stream.write_all(bytes).unwrap();
    }
}
