//! Clients that do not read.

use std::time::Duration;

use futures_util::StreamExt;
use nexus_core::LogOptions;
use nexus_ws::WsOptions;
use serde_json::json;

use crate::harness::{ADMIN_TOKEN, Hub, PATIENCE, resume_position, until};

const EVENTS: u64 = 3_000;

async fn publish_much(hub: &Hub) {
    let note = "x".repeat(4_000);
    for number in 1..=EVENTS {
        let payload =
            format!(r#"{{"note":"{note}","transactionId":"t{number}","amount":1,"payerId":"p"}}"#);
        hub.publish("payment.received", &payload).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_take_nothing_keep_nothing_in_memory() {
    const CLIENTS: u64 = 40;
    let options = WsOptions {
        give_back: Duration::from_millis(50),
        write_stall: PATIENCE * 10,
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    publish_much(&hub).await;
    let mut stalled = Vec::new();
    for number in 0..CLIENTS {
        let mut client = hub.open_v1(ADMIN_TOKEN, Some(4_096)).await;
        client.next_of(&["hello"]).await;
        // Each at another place, so that they share nothing.
        let from = hub.log.position(nexus_core::Seq::new(number * 20));
        let subscribe = json!({
            "id": "a", "patterns": ["payment.*"], "from": from.to_string(), "batch": number % 2 == 0,
        });
        client.subscribe_with(subscribe).await;
        stalled.push(client);
    }
    let mut most = 0;
    until("what waits is given back", || {
        let waiting = hub.edge.waiting_bytes();
        most = most.max(waiting);
        // A frame of each at most, or one message of a batch.
        most > 0 && waiting < usize::try_from(CLIENTS).unwrap() * 80 * 1_024
    })
    .await;
    assert_eq!(hub.edge.connections(), usize::try_from(CLIENTS).unwrap());
    // Nothing was lost by it, and nothing comes twice.
    for (number, mut client) in (0..CLIENTS).zip(stalled) {
        let first = number * 20 + 1;
        let expected: Vec<u64> = (first..=EVENTS).collect();
        assert_eq!(client.events_of(1, expected.len()).await, expected);
    }
    until("nothing waits", || hub.edge.waiting_bytes() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stands_still_is_closed_and_can_resume() {
    let options = WsOptions {
        give_back: Duration::from_millis(100),
        // Who reads again must not stand still for so long because the machine does.
        write_stall: Duration::from_secs(3),
        close: PATIENCE,
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    let mut still = hub.open_v1(ADMIN_TOKEN, Some(4_096)).await;
    still.next_of(&["hello"]).await;
    still.subscribe_v1("a", &["payment.*"]).await;
    publish_much(&hub).await;
    until("it is given up", || hub.edge.groups() == 0).await;
    let (frame, last) = still.closed().await;
    assert_eq!(u16::from(frame.code), 4008);
    let position = resume_position(&frame);
    assert_eq!(Some(position.seq.get()), last, "it is told what it got");
    let mut again = hub.connect_v1().await;
    let subscribe = json!({"id": "a", "patterns": ["payment.*"], "from": position.to_string()});
    let answer = again.subscribe_with(subscribe).await;
    assert_eq!(answer["recovered"], true);
    let rest: Vec<u64> = (position.seq.get() + 1..=EVENTS).collect();
    assert_eq!(again.events_of(1, rest.len()).await, rest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_merely_slow_stays_and_misses_nothing() {
    let options = WsOptions {
        give_back: Duration::from_millis(2),
        write_stall: Duration::from_secs(20),
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    for batch in [false, true] {
        let mut slow = hub.open_v1(ADMIN_TOKEN, Some(4_096)).await;
        slow.next_of(&["hello"]).await;
        let subscribe = json!({"id": "a", "patterns": [">"], "from": "earliest", "batch": batch});
        if !batch {
            publish_much(&hub).await;
        }
        slow.subscribe_with(subscribe).await;
        let mut seqs = Vec::new();
        while seqs.len() < usize::try_from(EVENTS).unwrap() {
            // It stops now and then, for longer than a connection keeps what waits.
            if seqs.len() % 500 < 20 {
                tokio::time::sleep(Duration::from_millis(6)).await;
            }
            seqs.extend(slow.events_of(1, 1).await);
            while let std::task::Poll::Ready(Some(Ok(message))) =
                futures_util::poll!(slow.socket.next())
            {
                let text = message.into_text().unwrap();
                let value: serde_json::Value = serde_json::from_str(&text).unwrap();
                let frames = value.as_array().cloned().unwrap_or(vec![value]);
                seqs.extend(frames.iter().filter_map(|frame| frame["seq"].as_u64()));
                if seqs.len() % 7 == 0 {
                    break;
                }
            }
        }
        assert_eq!(seqs, (1..=EVENTS).collect::<Vec<u64>>());
    }
}
