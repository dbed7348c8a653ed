//! A server whose every word the test says itself.

#[path = "support/http.rs"]
mod http;
#[path = "support/peer.rs"]
mod peer;

pub(crate) use http::Request;
pub(crate) use peer::Peer;

use std::{net::SocketAddr, time::Duration};

use nexus_client::{Client, ClientBuilder, Item, RetryPolicy, Subscription};
use nexus_core::Random;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// How long anything may take that a test waits for. Only a failing test waits that long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const TOKEN: &str = "a-token";

/// Something that has to happen in time.
#[track_caller]
pub(crate) fn soon<F: Future>(what: &str, future: F) -> impl Future<Output = F::Output> {
    let what = format!("{what} ({})", std::panic::Location::caller());
    async move {
        let done = timeout(PATIENCE, future).await;
        done.unwrap_or_else(|_| panic!("in vain waited for: {what}"))
    }
}

/// A port that a test listens on.
pub(crate) struct Server {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A client that comes back at once.
    pub(crate) fn client(&self) -> ClientBuilder {
        let retry = RetryPolicy {
            first: Duration::from_millis(1),
            max: Duration::from_millis(20),
            stable_after: Duration::from_secs(60),
        };
        Client::builder(self.url())
            .token(TOKEN)
            .retry(retry)
            .random(Random::seeded(1))
    }

    /// The next connection.
    pub(crate) async fn connection(&self) -> TcpStream {
        let (stream, _) = soon("a connection", self.listener.accept()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// The next connection, as a WebSocket.
    pub(crate) async fn peer(&self) -> Peer {
        Peer::accept(self.connection().await).await
    }

    /// The next request over HTTP.
    pub(crate) async fn request(&self) -> Request {
        Request::read(self.connection().await).await
    }
}

pub(crate) const EPOCH: &str = "7f3a09c2";

pub(crate) fn position(seq: u64) -> String {
    format!("{EPOCH}-{seq}")
}

/// An event as the server writes it, without the braces.
pub(crate) fn event_members(position: &str, payload: &str) -> String {
    let seq = position.split('-').next_back().unwrap();
    format!(
        r#""id":"01930000-0000-7000-8000-{seq:0>12}","position":"{position}","seq":{seq},"topic":"order.paid","name":"ORDER_PAID","source":"node:shop","key":null,"time":"2026-11-21T06:00:00.123456Z","payload":{payload},"correlation_id":null,"causation_id":null,"origin_id":null,"occurred_at":null"#
    )
}

/// The number of the next event.
pub(crate) async fn next_seq(subscription: &mut Subscription) -> u64 {
    match soon("an event", subscription.next()).await {
        Some(Ok(Item::Event(event))) => event.seq,
        other => panic!("no event: {other:?}"),
    }
}

/// The numbers of the next events.
pub(crate) async fn next_seqs(subscription: &mut Subscription, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        seqs.push(next_seq(subscription).await);
    }
    seqs
}
