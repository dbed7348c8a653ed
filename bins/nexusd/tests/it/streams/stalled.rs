//! Readers that stop reading: they are closed, told where they are, and lose nothing; nor do the others.

use std::{fs, net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt, future::join_all};
use nexus_client::{Batch, Client, Publish, Start, Subscription};
use nexus_core::Position;
use serde_json::{Value, json};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use super::{TOKEN, TOPIC, client, daemon, next_seq, seqs_through};
use crate::{
    crash::{is_deep, stop},
    support::{Daemon, PATIENCE},
};

/// Together more than the sockets between two processes hold.
const EVENTS: u64 = 1_500;
const PAYLOAD_BYTES: usize = 4 * 1024;
const STALL: Duration = Duration::from_millis(1_000);
/// What a connection of a reader that stands still may cost the daemon.
const STALLED_BYTES_MAX: u64 = 256 * 1024;

/// A reader that takes a little and then nothing.
struct Still(WebSocketStream<TcpStream>);

impl Still {
    async fn subscribe(address: SocketAddr, from: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // So that little is on its way.
        socket.set_recv_buffer_size(4096).unwrap();
        let socket = socket.connect(address).await.unwrap();
        let url = format!("ws://{address}/api/v1/stream");
        let mut request = url.into_client_request().unwrap();
        let bearer = HeaderValue::try_from(format!("Bearer {TOKEN}")).unwrap();
        request.headers_mut().insert("authorization", bearer);
        let (mut socket, _) = client_async(request, socket).await.unwrap();
        let subscribe =
            json!({ "type": "subscribe", "id": "a", "patterns": [TOPIC], "from": from });
        socket
            .send(Message::text(subscribe.to_string()))
            .await
            .unwrap();
        let mut still = Self(socket);
        while still.frame().await.unwrap()["type"] != "subscribed" {}
        still
    }

    /// The next frame; the close code and its reason at the end.
    async fn frame(&mut self) -> Result<Value, (u16, String)> {
        loop {
            let message = timeout(PATIENCE, self.0.next())
                .await
                .expect("a frame in time");
            match message
                .expect("a word of farewell")
                .expect("a word of farewell")
            {
                Message::Text(text) => return Ok(serde_json::from_str(&text).unwrap()),
                Message::Close(frame) => {
                    let frame = frame.expect("a code");
                    return Err((frame.code.into(), frame.reason.to_string()));
                }
                _ => {}
            }
        }
    }

    /// Reads on until it is closed: what it got, and where it was told to go on.
    async fn rest(mut self) -> (Vec<u64>, Position) {
        let mut seqs = Vec::new();
        loop {
            match self.frame().await {
                Ok(frame) if frame["type"] == "event" => seqs.push(frame["seq"].as_u64().unwrap()),
                Ok(_) => {}
                Err((code, reason)) => {
                    assert_eq!(code, 4008, "{reason}");
                    let told = reason.split(' ').next_back().unwrap();
                    return (seqs, told.parse().unwrap());
                }
            }
        }
    }
}

/// Fills the log; the numbers of its events.
async fn publish(client: &Client) -> Vec<u64> {
    const BATCH: u64 = 100;
    let filling = "x".repeat(PAYLOAD_BYTES);
    let event = |n| {
        Publish::new(
            TOPIC,
            &json!({ "proposalId": format!("p-{n}"), "x": filling }),
        )
    };
    let mut seqs = Vec::new();
    for batch in 0..EVENTS / BATCH {
        let events: Batch = (batch * BATCH..(batch + 1) * BATCH).map(event).collect();
        let receipt = client.publish_all(events).await.unwrap();
        seqs.extend(receipt.first.seq.get()..=receipt.last.seq.get());
    }
    seqs
}

/// Waits until the daemon has given up so many.
fn wait_for_closings(daemon: &Daemon, count: usize) {
    let mut from = 0;
    for _ in 0..count {
        let is_closing = |line: &str| line.contains("\"code\":4008");
        from = daemon.process().error_line(from, is_closing).0 + 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_stop_reading_are_closed_and_nobody_loses_anything() {
    let (readers, still) = if is_deep() { (1_000, 50) } else { (50, 5) };
    let daemon = daemon()
        .env(
            "NEXUS__LIMITS__WRITE_STALL_TIMEOUT_MS",
            STALL.as_millis().to_string(),
        )
        .env("LOG_LEVEL", "debug")
        .start();
    let client = client(daemon.address()).build().unwrap();
    let (told_last, last) = watch::channel(None);
    let mut reading = Vec::new();
    for number in 0..readers - still {
        let subscribe = client.subscribe([TOPIC]).batch(number % 2 == 0);
        let mut stream = subscribe.from(Start::Earliest).open().unwrap();
        stream.live().await;
        reading.push(tokio::spawn(follow(stream, last.clone())));
    }
    let mut standing = Vec::new();
    for _ in 0..still {
        standing.push(Still::subscribe(daemon.address(), "latest").await);
    }
    let expected = publish(&client).await;
    let end = *expected.last().unwrap();
    told_last.send_replace(Some(end));
    tokio::task::block_in_place(|| wait_for_closings(&daemon, still));
    // At once, as long as the daemon waits for somebody to hear its farewell.
    let standing = join_all(standing.into_iter().map(Still::rest)).await;
    for (mut seqs, told) in standing {
        assert!(seqs.len() < expected.len());
        let got = seqs.last().copied().unwrap_or(0);
        assert_eq!(got, told.seq.get(), "it is told what it got");
        let again = client.subscribe([TOPIC]).from(Start::After(told));
        let mut again = again.batch(true).open().unwrap();
        seqs.extend(seqs_through(&mut again, end).await);
        assert!(seqs == expected, "{} of {}", seqs.len(), expected.len());
    }
    for reading in reading {
        let seqs = reading.await.unwrap();
        assert!(seqs == expected, "{} of {}", seqs.len(), expected.len());
    }
    stop(daemon);
}

/// Reads through the last event, once that is known.
async fn follow(mut stream: Subscription, mut last: watch::Receiver<Option<u64>>) -> Vec<u64> {
    let mut seqs = Vec::new();
    loop {
        let end = *last.borrow_and_update();
        if end.is_some_and(|end| seqs.last() == Some(&end)) {
            return seqs;
        }
        tokio::select! {
            seq = next_seq(&mut stream) => seqs.push(seq),
            _ = last.changed(), if end.is_none() => {}
        }
    }
}

/// The readers come when the log is full, so that what grows is theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_stands_still_costs_little_memory() {
    let still = if is_deep() { 200 } else { 50 };
    // They are not given up while they are looked at.
    let daemon = daemon()
        .env("NEXUS__LIMITS__WRITE_STALL_TIMEOUT_MS", "600000")
        .start();
    let client = client(daemon.address()).build().unwrap();
    let expected = publish(&client).await;
    // Whatever is made once is made before.
    let first = Still::subscribe(daemon.address(), "earliest").await;
    let before = private_bytes(&daemon);
    let mut standing = Vec::new();
    for _ in 0..still {
        standing.push(Still::subscribe(daemon.address(), "earliest").await);
    }
    let each = private_bytes(&daemon).saturating_sub(before) / still;
    println!(
        "{still} readers that stand still cost {} KiB of private memory each",
        each / 1024
    );
    assert!(each <= STALLED_BYTES_MAX, "{each} bytes each");
    drop((first, standing, expected));
    stop(daemon);
}

fn private_bytes(daemon: &Daemon) -> u64 {
    let path = format!("/proc/{}/smaps_rollup", daemon.process().id());
    let rollup = fs::read_to_string(path).unwrap();
    let kib = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.unwrap().parse::<u64>().unwrap()
    };
    (kib("Private_Clean:") + kib("Private_Dirty:")) * 1024
}
