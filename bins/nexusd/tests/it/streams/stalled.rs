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
/// How often the memory of the daemon is looked at, and at what distance.
const SAMPLES: u32 = 20;
const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// What a connection of a reader that stands still may cost the daemon.
const STALLED_BYTES_MAX: u64 = 256 * 1024;

/// A reader that takes a little and then nothing.
struct Still {
    socket: WebSocketStream<TcpStream>,
    subscribed_at: Position,
}

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
        let subscribed_at = loop {
            let message = timeout(PATIENCE, socket.next()).await.unwrap();
            let frame: Value = match message.unwrap().unwrap() {
                Message::Text(text) => serde_json::from_str(&text).unwrap(),
                _ => continue,
            };
            if frame["type"] == "subscribed" {
                break frame["position"].as_str().unwrap().parse().unwrap();
            }
        };
        Self {
            socket,
            subscribed_at,
        }
    }

    /// The next frame; at the end the close code and its reason, if the daemon still waited for somebody to
    /// hear them.
    async fn frame(&mut self) -> Result<Value, Option<(u16, String)>> {
        loop {
            let message = timeout(PATIENCE, self.socket.next()).await;
            match message.expect("a frame in time") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => {
                    let frame = frame.expect("a code");
                    return Err(Some((frame.code.into(), frame.reason.to_string())));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(None),
            }
        }
    }

    /// Reads on to the end: where it is, what it got, and whether it heard why it was closed.
    async fn rest(mut self) -> Ended {
        let mut seqs = Vec::new();
        let mut position = self.subscribed_at;
        loop {
            match self.frame().await {
                Ok(frame) if frame["type"] == "event" => {
                    seqs.push(frame["seq"].as_u64().unwrap());
                    position = frame["position"].as_str().unwrap().parse().unwrap();
                }
                Ok(_) => {}
                Err(farewell) => {
                    if let Some((code, reason)) = &farewell {
                        assert_eq!(*code, 4008, "{reason}");
                        let told = reason.split(' ').next_back().unwrap().parse::<Position>();
                        let told = told.unwrap();
                        assert_eq!(told, position, "it is told what it got");
                    }
                    return Ended {
                        seqs,
                        position,
                        heard: farewell.is_some(),
                    };
                }
            }
        }
    }
}

/// What became of a reader that was closed.
struct Ended {
    seqs: Vec<u64>,
    position: Position,
    heard: bool,
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
    // Longer than the others may stand still because the machine does: only who reads nothing is closed.
    let (readers, still, stall) = if is_deep() {
        (1_000, 50, Duration::from_secs(20))
    } else {
        (50, 5, Duration::from_secs(3))
    };
    let daemon = daemon()
        .env(
            "NEXUS__LIMITS__WRITE_STALL_TIMEOUT_MS",
            stall.as_millis().to_string(),
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
    let heard = standing.iter().filter(|ended| ended.heard).count();
    // The daemon does not wait for ever: on a machine that stands still meanwhile it may be nobody.
    println!("{heard} of {still} were still there to hear why they were closed");
    for ended in standing {
        let mut seqs = ended.seqs;
        assert!(seqs.len() < expected.len());
        let again = client.subscribe([TOPIC]).from(Start::After(ended.position));
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

/// The readers come when the log is full, and after a few of them, so that what grows is theirs alone and
/// not what all share.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_stands_still_costs_little_memory() {
    const FIRST: usize = 8;
    const STILL: usize = 200;
    // They are not given up while they are looked at.
    let daemon = daemon()
        .env("NEXUS__LIMITS__WRITE_STALL_TIMEOUT_MS", "600000")
        .start();
    let client = client(daemon.address()).build().unwrap();
    publish(&client).await;
    // Without what publishing left behind, which would be used again and hide what grows.
    let daemon = tokio::task::block_in_place(|| daemon.restart());
    let mut standing = Vec::new();
    for _ in 0..FIRST {
        standing.push(Still::subscribe(daemon.address(), "earliest").await);
    }
    let before = most_private_bytes(&daemon).await;
    for _ in 0..STILL {
        standing.push(Still::subscribe(daemon.address(), "earliest").await);
    }
    let after = most_private_bytes(&daemon).await;
    let each = after.saturating_sub(before) / STILL as u64;
    println!(
        "{STILL} readers that stand still cost at most {} KiB of private memory each",
        each / 1024
    );
    assert!(each <= STALLED_BYTES_MAX, "{each} bytes each");
    drop(standing);
    stop(daemon);
}

/// The most that is seen while readers fill up, stand, and give back what waits for them.
async fn most_private_bytes(daemon: &Daemon) -> u64 {
    let mut most = private_bytes(daemon);
    for _ in 0..SAMPLES {
        tokio::time::sleep(SAMPLE_EVERY).await;
        most = most.max(private_bytes(daemon));
    }
    most
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
