//! A live reader that goes on where it was, over any number of lives of the daemon.

use std::{net::SocketAddr, sync::Arc};

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest,
        http::{HeaderValue, header::AUTHORIZATION},
        protocol::CloseFrame,
    },
};

use super::record::{Record, fingerprint};
use crate::support::{PATIENCE, SECRET};

/// What a daemon closes a stream with when it stops.
const GOING_AWAY: u16 = 4012;

/// One reader of everything, from the beginning.
pub(super) struct Reader {
    number: usize,
    /// The number of the last event it saw, and where that is.
    last: u64,
    position: Option<String>,
    /// Where the daemon that stopped told it to resume.
    told: Option<String>,
    record: Arc<Record>,
}

/// A frame of the daemon: an event, or the answer to a subscription.
#[derive(Deserialize)]
struct Frame<'f> {
    status: Option<&'f str>,
    recovered: Option<bool>,
    seq: Option<u64>,
    position: Option<&'f str>,
    event: Option<&'f str>,
    event_id: Option<&'f str>,
    timestamp: Option<i64>,
    #[serde(borrow)]
    payload: Option<&'f RawValue>,
}

impl Reader {
    pub(super) fn new(number: usize, record: Arc<Record>) -> Self {
        Self {
            number,
            last: 0,
            position: None,
            told: None,
            record,
        }
    }

    /// Follows until the connection ends.
    pub(super) async fn follow(mut self, address: SocketAddr) -> Self {
        if let Some(mut socket) = self.subscribe(address).await {
            while let Some(Ok(message)) = socket.next().await {
                self.take(&message);
            }
        }
        self
    }

    /// Follows through this event.
    pub(super) async fn follow_through(mut self, address: SocketAddr, seq: u64) -> Self {
        let reading = async {
            let mut socket = self.subscribe(address).await.expect("the daemon is well");
            while self.last < seq {
                let message = socket.next().await.expect("the daemon is well");
                self.take(&message.unwrap());
            }
        };
        let read = timeout(PATIENCE, reading).await;
        read.unwrap_or_else(|_| panic!("a reader got stuck before event {seq}"));
        assert_eq!(self.last, seq);
        self
    }

    /// Where the daemon said to resume when it stopped, if it said so since the last time.
    pub(super) fn take_told(&mut self) -> Option<String> {
        self.told.take()
    }

    /// The place of the last event that it saw.
    pub(super) fn position(&self) -> Option<&str> {
        self.position.as_deref()
    }

    /// Connects and subscribes to everything from where it was; nothing when the daemon ends before.
    async fn subscribe(&mut self, address: SocketAddr) -> Option<WebSocketStream<TcpStream>> {
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        let bearer = HeaderValue::try_from(format!("Bearer {SECRET}")).unwrap();
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let socket = TcpStream::connect(address).await.ok()?;
        let mut socket = match client_async(request, socket).await {
            Ok((socket, _)) => socket,
            Err(Error::Http(refused)) => panic!("refused: {refused:?}"),
            Err(_) => return None,
        };
        let from = self.position.as_deref().unwrap_or("earliest");
        let subscribe = json!({ "action": "subscribe", "events": [">"], "from": from });
        let sent = socket.send(Message::text(subscribe.to_string())).await;
        sent.ok().map(|()| socket)
    }

    fn take(&mut self, message: &Message) {
        match message {
            Message::Text(text) => self.take_frame(text),
            Message::Close(Some(close)) => self.take_close(close),
            Message::Ping(_) | Message::Pong(_) | Message::Close(None) => {}
            other => panic!("not a frame of this face: {other:?}"),
        }
    }

    fn take_frame(&mut self, text: &str) {
        let frame: Frame<'_> = serde_json::from_str(text).unwrap();
        if frame.status.is_some() {
            assert_eq!(frame.recovered, Some(true), "nothing is lost: {text}");
            return;
        }
        let seq = frame.seq.unwrap_or_else(|| panic!("no event: {text}"));
        assert_eq!(seq, self.last + 1, "each event once and in order: {text}");
        let position = frame.position.unwrap();
        let seen = fingerprint(
            position,
            frame.event_id.unwrap(),
            frame.event.unwrap(),
            frame.timestamp.unwrap(),
            frame.payload.unwrap().get().as_bytes(),
        );
        self.record.saw(self.number, seq, seen);
        self.last = seq;
        self.position = Some(position.to_owned());
    }

    fn take_close(&mut self, close: &CloseFrame) {
        assert_eq!(u16::from(close.code), GOING_AWAY, "{}", close.reason);
        let position = close.reason.split(' ').next_back();
        self.told = position.map(str::to_owned);
    }
}
