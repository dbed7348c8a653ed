//! Retention in a running daemon: old events go, and whoever reads is told what is gone.

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpSocket, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        http::{HeaderValue, header::AUTHORIZATION},
    },
};

use crate::support::{Daemon, DaemonOptions, PATIENCE, SECRET, nexusd, until};

/// What a reader of events that are gone is closed with.
const EVENTS_REMOVED: u16 = 4010;

fn daemon(events: u64) -> DaemonOptions {
    DaemonOptions::dev()
        .env("NEXUS__RETENTION__EVENTS", events.to_string())
        .env("NEXUS__RETENTION__INTERVAL_MS", "100")
}

fn publish(daemon: &Daemon, text: &str) {
    let vote = json!({ "proposalId": "p", "voterId": "v", "decision": "for", "note": text });
    let body = json!({ "event": "VOTE_CAST", "payload": vote });
    let answer = daemon.publish(&body);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The number in a position.
fn seq(position: &Value) -> u64 {
    let (_, seq) = position.as_str().unwrap().split_once('-').unwrap();
    seq.parse().unwrap()
}

/// Waits until so many events are gone; gives what the daemon says of retention then.
fn until_pruned(daemon: &Daemon, through: u64) -> Value {
    until("old events go", || {
        let health = daemon.read("/health/detailed", SECRET);
        let retention = health["retention"].clone();
        (seq(&retention["prunedThrough"]) >= through).then_some(retention)
    })
}

/// Connects with little room for what it does not read, and subscribes to everything.
async fn subscribe(daemon: &Daemon, from: &str) -> WebSocketStream<tokio::net::TcpStream> {
    let address = daemon.address();
    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    let bearer = HeaderValue::try_from(format!("Bearer {SECRET}")).unwrap();
    request.headers_mut().insert(AUTHORIZATION, bearer);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let socket = socket.connect(address).await.unwrap();
    let (mut socket, _) = client_async(request, socket).await.unwrap();
    let subscribe = json!({ "action": "subscribe", "events": [">"], "from": from });
    let subscribe = Message::text(subscribe.to_string());
    socket.send(subscribe).await.unwrap();
    socket
}

async fn frame(socket: &mut WebSocketStream<tokio::net::TcpStream>) -> Message {
    let next = timeout(PATIENCE, socket.next()).await;
    next.expect("a frame in time").unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_events_go_and_a_reader_that_comes_back_is_told() {
    let daemon = daemon(50).start();
    for n in 0..150 {
        publish(&daemon, &format!("{n}"));
    }
    // The shipped reactors had to pass the events first.
    let retention = until_pruned(&daemon, 100);
    assert_eq!(retention["failed"], false);
    assert_eq!(retention["pinnedBy"], json!([]));
    let position = retention["prunedThrough"].as_str().unwrap();
    let (epoch, _) = position.split_once('-').unwrap();
    let mut socket = subscribe(&daemon, &format!("{epoch}-5")).await;
    let subscribed = frame(&mut socket).await;
    let subscribed: Value = serde_json::from_str(subscribed.to_text().unwrap()).unwrap();
    assert_eq!(subscribed["recovered"], false, "{subscribed}");
    assert_eq!(subscribed["reason"], "pruned", "{subscribed}");
    let first: Value = serde_json::from_str(frame(&mut socket).await.to_text().unwrap()).unwrap();
    // It goes on meanwhile with what came last.
    let now = until_pruned(&daemon, 100);
    let begins = [&retention, &now].map(|retention| seq(&retention["prunedThrough"]) + 1);
    assert!(
        (begins[0]..=begins[1]).contains(&seq(&first["position"])),
        "{first}, {begins:?}"
    );
    drop(socket);
    daemon.terminate();
    let (status, _, folder) = daemon.end();
    assert!(status.success());
    let verified = nexusd(folder.path(), &["verify"])
        .env("NEXUS_SECRET", SECRET)
        .output()
        .unwrap();
    let said = String::from_utf8(verified.stdout).unwrap();
    assert!(verified.status.success(), "{said}");
    assert!(
        said.contains(&format!("the proof begins behind {epoch}-")),
        "{said}"
    );
}

/// A reader that is overtaken by force is closed: it learns that something is missing, and gets nothing from
/// behind the gap as if nothing were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_overtaken_by_force_is_closed() {
    const EVENTS: u64 = 200;
    let large = "x".repeat(200 << 10);
    let daemon = daemon(20)
        .env("NEXUS__RETENTION__FORCE", "true")
        .env("NEXUS__LIMITS__RING_EVENTS", "16")
        .env("NEXUS__LIMITS__RING_BYTES", "1048576")
        .env("NEXUS__LIMITS__WRITE_STALL_TIMEOUT_MS", "60000")
        .start();
    let mut socket = subscribe(&daemon, "earliest").await;
    let subscribed = frame(&mut socket).await;
    assert!(subscribed.to_text().unwrap().contains("subscribed"));
    // It reads nothing of this, which is more than the system keeps for it.
    for _ in 0..EVENTS {
        publish(&daemon, &large);
    }
    let retention = until_pruned(&daemon, EVENTS - 20);
    let pruned = seq(&retention["prunedThrough"]);
    let mut last = None;
    let close = loop {
        match frame(&mut socket).await {
            Message::Text(text) => {
                let event: Value = serde_json::from_str(&text).unwrap();
                let now = seq(&event["position"]);
                assert!(
                    last.is_none_or(|last| now == last + 1),
                    "a gap before {now}"
                );
                last = Some(now);
            }
            Message::Close(close) => break close.expect("it says why"),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("not a frame of this face: {other:?}"),
        }
    };
    assert_eq!(u16::from(close.code), EVENTS_REMOVED, "{}", close.reason);
    assert!(last < Some(pruned), "{last:?} of {pruned}");
    // It comes back where it was, and learns what is gone.
    let from = format!("{}-{}", position_epoch(&retention), last.unwrap_or(0));
    let mut socket = subscribe(&daemon, &from).await;
    let subscribed: Value =
        serde_json::from_str(frame(&mut socket).await.to_text().unwrap()).unwrap();
    assert_eq!(subscribed["reason"], "pruned", "{subscribed}");
}

fn position_epoch(retention: &Value) -> String {
    let position = retention["prunedThrough"].as_str().unwrap();
    position.split('-').next().unwrap().to_owned()
}
