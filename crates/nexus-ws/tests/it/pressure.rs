//! Readers that are slow, stand still, or talk too much.

use std::time::Duration;

use futures_util::SinkExt;
use nexus_core::LogOptions;
use nexus_ws::WsOptions;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Client, Hub, PATIENCE, resume_position, until};

/// Enough that no kernel keeps it: 480 events of 48 KiB.
const EVENTS: u64 = 480;

async fn publish_much(hub: &Hub) {
    for number in 1..=EVENTS {
        let note = "x".repeat(48 << 10);
        let payload =
            format!(r#"{{"note":"{note}","transactionId":"t{number}","amount":1,"payerId":"p"}}"#);
        hub.publish("payment.received", &payload).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stands_still_is_closed_loses_nothing_and_holds_up_nobody() {
    let options = WsOptions {
        // Those who read must not stand still for so long because the machine does.
        write_stall: Duration::from_secs(3),
        close: PATIENCE,
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    let mut still = hub.connect_small().await;
    // By its topic, and so in a group of its own.
    still.subscribe(&["payment.received"]).await;
    let mut reading = Vec::new();
    for _ in 0..3 {
        let mut client = hub.connect().await;
        client.subscribe(&["PAYMENT_RECEIVED"]).await;
        reading.push(tokio::spawn(async move {
            client.seqs(usize::try_from(EVENTS).unwrap()).await
        }));
    }
    let expected: Vec<u64> = (1..=EVENTS).collect();
    publish_much(&hub).await;
    for reading in reading {
        let seqs = timeout(PATIENCE, reading).await.expect("promptly").unwrap();
        assert_eq!(seqs, expected);
    }
    // The others have left by now.
    until("it is given up", || hub.edge.groups() == 0).await;
    until("it alone is left, and may still read why", || {
        hub.edge.connections() == 1
    })
    .await;
    let (frame, last) = still.closed().await;
    assert_eq!(u16::from(frame.code), 4008, "{frame:?}");
    let position = resume_position(&frame);
    let last = last.unwrap_or(0);
    assert_eq!(position.seq.get(), last, "it is told what it got");
    assert!(last < EVENTS);
    let mut again = hub.connect().await;
    let answer = again
        .subscribe_from(&["PAYMENT_RECEIVED"], &position.to_string())
        .await;
    assert_eq!(answer["recovered"], true);
    let rest: Vec<u64> = (last + 1..=EVENTS).collect();
    assert_eq!(again.seqs(rest.len()).await, rest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_merely_slow_reads_from_the_store_and_stays() {
    let options = WsOptions {
        write_stall: Duration::from_secs(5),
        segments_bytes_max: 1 << 20,
        ..WsOptions::default()
    };
    let log_options = LogOptions {
        ring_bytes_max: 1 << 20,
        ..LogOptions::default()
    };
    let hub = Hub::with(options, log_options).await;
    let mut slow = hub.connect_small().await;
    slow.subscribe(&["PAYMENT_RECEIVED"]).await;
    publish_much(&hub).await;
    let mut seqs = Vec::new();
    for _ in 0..EVENTS / 20 {
        seqs.extend(slow.seqs(20).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(seqs, (1..=EVENTS).collect::<Vec<u64>>());
    assert!(hub.edge.pages() > 0, "memory did not go back so far");
    assert_eq!(hub.edge.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_talks_without_listening_is_not_read_any_more_and_then_closed() {
    let options = WsOptions {
        write_stall: Duration::from_millis(300),
        close: Duration::from_millis(200),
        messages_per_second_max: 0,
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    let mut client: Client = hub.connect_small().await;
    let deadline = Instant::now() + PATIENCE;
    while client
        .socket
        .send(Message::text("x".repeat(100)))
        .await
        .is_ok()
    {
        assert!(Instant::now() < deadline, "it may talk for ever");
    }
    until("the connection ends", || hub.edge.connections() == 0).await;
}
