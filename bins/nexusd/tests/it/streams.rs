//! Streams under load and under attack: whoever reads gets each event once and in order, whatever happens
//! to the connection, to the pace, and to the right to read.

#[path = "streams/behind.rs"]
mod behind;
#[path = "streams/line.rs"]
mod line;
#[path = "streams/load.rs"]
mod load;
#[path = "streams/rights.rs"]
mod rights;
#[path = "streams/stalled.rs"]
mod stalled;
#[path = "streams/storm.rs"]
mod storm;

use std::{net::SocketAddr, time::Duration};

use nexus_client::{Client, ClientBuilder, Item, RetryPolicy, Subscription};
use tokio::time::timeout;

use crate::support::{DaemonOptions, PATIENCE};

/// The operator's token.
pub(crate) const TOKEN: &str = "admin-token-0123456789abcdef0123456789";
/// What the tests publish; no reactor runs for it.
const TOPIC: &str = "proposal.created";

/// A daemon that takes as much as it can from this one machine.
fn daemon() -> DaemonOptions {
    DaemonOptions::serve()
        .env("NEXUS_ADMIN_TOKEN", TOKEN)
        .env("NEXUS__LIMITS__NODE_EVENTS_PER_SECOND", "0")
        .env("NEXUS__LIMITS__ANONYMOUS_REQUESTS_PER_SECOND", "0")
        .env("NEXUS__LIMITS__CONNECTIONS_PER_ADDRESS", "10000")
}

/// A client that notices soon when a connection is dead, and comes back soon.
fn client(address: SocketAddr) -> ClientBuilder {
    let retry = RetryPolicy {
        first: Duration::from_millis(5),
        max: Duration::from_millis(100),
        stable_after: Duration::from_secs(1),
    };
    Client::builder(format!("http://{address}"))
        .token(TOKEN)
        .retry(retry)
        .heartbeat(Duration::from_millis(300), Duration::from_millis(900))
        .sse_silence_max(Duration::from_secs(2))
}

/// The number of the next event.
///
/// # Panics
/// When there is none in time, when some are missing, when the stream ends.
async fn next_seq(stream: &mut Subscription) -> u64 {
    let next = timeout(PATIENCE, stream.next()).await;
    match next.unwrap_or_else(|_| panic!("no event came: {:?}", stream.state())) {
        Some(Ok(Item::Event(event))) => event.seq,
        other => panic!("no event: {other:?}"),
    }
}

/// Every number until this one.
async fn seqs_through(stream: &mut Subscription, last: u64) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.last().is_none_or(|seq| *seq < last) {
        seqs.push(next_seq(stream).await);
    }
    seqs
}
