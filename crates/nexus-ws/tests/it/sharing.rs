//! Readers who want the same share the work.

use nexus_core::LogOptions;
use nexus_ws::WsOptions;
use serde_json::json;

use crate::harness::Hub;

#[tokio::test]
async fn readers_with_equal_subscriptions_share_what_is_encoded() {
    let hub = Hub::start().await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = hub.connect().await;
        client.subscribe(&["PAYMENT_RECEIVED", "mint.*"]).await;
        clients.push(client);
    }
    assert_eq!(hub.edge.groups(), 1);
    for number in 1..=20 {
        hub.pay(number).await;
        for client in &mut clients {
            assert_eq!(client.seqs(1).await, [number]);
        }
    }
    assert_eq!(
        hub.edge.encodings(),
        20,
        "once for each commit, not for each reader"
    );
    let mut other = hub.connect().await;
    other.subscribe(&["mint.*", "PAYMENT_RECEIVED"]).await;
    assert_eq!(hub.edge.groups(), 2, "another order is another form");
}

#[tokio::test]
async fn a_commit_concerns_only_the_groups_that_want_it() {
    let hub = Hub::start().await;
    let mut mints = hub.connect().await;
    mints.subscribe(&["MINT_FAILED"]).await;
    let mut payments = hub.connect().await;
    payments.subscribe(&["payment.*"]).await;
    for number in 1..=30 {
        hub.pay(number).await;
        assert_eq!(payments.seqs(1).await, [number]);
    }
    assert_eq!(hub.edge.encodings(), 30);
    hub.publish("mint.failed", r#"{"error":"gas"}"#).await;
    assert_eq!(mints.seqs(1).await, [31]);
    assert_eq!(
        hub.edge.encodings(),
        31,
        "what was not for it was not looked at"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_that_were_evicted_are_made_again() {
    let options = WsOptions {
        segments_bytes_max: 1,
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    for number in 1..=300 {
        hub.pay(number).await;
    }
    let expected: Vec<u64> = (1..=310).collect();
    let mut clients = Vec::new();
    for round in 0..5 {
        let mut client = hub.connect().await;
        client
            .subscribe_from(&["PAYMENT_RECEIVED"], "earliest")
            .await;
        clients.push(client);
        hub.pay(300 + 2 * round).await;
        hub.pay(301 + 2 * round).await;
    }
    for client in &mut clients {
        assert_eq!(client.seqs(310).await, expected);
    }
    assert!(hub.edge.encodings() > 5, "nothing could be kept");
    assert_eq!(hub.edge.pages(), 0, "memory goes back far enough");
}

#[tokio::test]
async fn what_has_no_room_in_a_message_is_not_encoded_again() {
    const EVENTS: u64 = 400;
    let hub = Hub::start().await;
    let note = "x".repeat(1_000);
    for number in 1..=EVENTS {
        let payload =
            format!(r#"{{"note":"{note}","transactionId":"t{number}","amount":1,"payerId":"p"}}"#);
        hub.publish("payment.received", &payload).await;
    }
    // Alone in its group, so that nobody else keeps a segment; messages of a batch are smaller than those.
    let mut client = hub.connect_v1().await;
    let subscribe =
        json!({"id": "a", "patterns": ["payment.*"], "from": "earliest", "batch": true});
    client.subscribe_with(subscribe).await;
    let expected: Vec<u64> = (1..=EVENTS).collect();
    assert_eq!(client.events_of(1, expected.len()).await, expected);
    assert!(hub.edge.encodings() <= 3, "{}", hub.edge.encodings());
}
