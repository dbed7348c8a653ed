//! Each frame of the contract, and what is said to those that are none.

use nexus_core::{LogOptions, Seq};
use nexus_ws::WsOptions;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use super::position_of;
use crate::harness::{Client, Hub, PUBLISH_TOKEN, payment};

#[tokio::test]
async fn a_connection_is_greeted_with_where_the_log_is() {
    let hub = Hub::start().await;
    for number in 1..=3 {
        hub.pay(number).await;
    }
    let mut client = hub.open_v1(crate::harness::ADMIN_TOKEN, None).await;
    assert_eq!(client.protocol.as_deref(), Some("nexus.v1.json"));
    let epoch = hub.log.head().epoch.to_string();
    let server = format!("nexus/{}", env!("CARGO_PKG_VERSION"));
    let hello = client.next().await;
    assert_eq!(
        hello,
        json!({"type": "hello", "epoch": epoch, "head": 3, "earliest": 1, "server": server})
    );
    let pruned = hub.log.prune(Seq::new(2)).await.unwrap();
    let mut later = hub.open_v1(crate::harness::ADMIN_TOKEN, None).await;
    assert_eq!(later.next().await["earliest"], pruned.get() + 1);
}

#[tokio::test]
async fn an_event_has_the_members_of_the_contract() {
    let hub = Hub::start().await;
    let mut client = hub.connect_v1().await;
    let answer = client.subscribe_v1("a", &["payment.*"]).await;
    let epoch = hub.log.head().epoch;
    assert_eq!(
        answer,
        json!({"type": "subscribed", "id": "a", "sub": 1, "recovered": true, "position": format!("{epoch}-0")})
    );
    let receipt = hub.pay(7).await;
    let text = match client.message().await {
        Message::Text(text) => text,
        other => panic!("{other:?}"),
    };
    let event = hub.log.event(receipt.first).await.unwrap().unwrap();
    let time = nexus_core::iso8601(event.time_us);
    let expected = format!(
        r#"{{"type":"event","sub":1,"id":"{id}","position":"{epoch}-1","seq":1,"topic":"payment.received","name":"PAYMENT_RECEIVED","source":"nexus","key":"tx-7","time":"{time}","payload":{payload},"correlation_id":"{id}","causation_id":null,"origin_id":null,"occurred_at":null}}"#,
        id = event.id,
        payload = payment(7),
    );
    assert_eq!(text.as_str(), expected);
}

#[tokio::test]
async fn a_ping_is_answered_with_the_head() {
    let hub = Hub::start().await;
    let mut client = hub.connect_v1().await;
    hub.pay(1).await;
    crate::harness::until("the event is seen", || hub.log.head().seq.get() == 1).await;
    client.send(&json!({"type": "ping", "ref": "x"})).await;
    assert_eq!(
        client.next().await,
        json!({"type": "pong", "ref": "x", "head": 1})
    );
    client.send(&json!({"type": "ping"})).await;
    assert_eq!(client.next().await, json!({"type": "pong", "head": 1}));
}

#[tokio::test]
async fn what_is_wrong_is_said_and_the_connection_stays() {
    let options = WsOptions {
        v1_message_bytes_max: 2_000,
        patterns_max: 3,
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    let mut client = hub.connect_v1().await;
    client.subscribe_v1("a", &["payment.*", "mint.*"]).await;
    for (message, code) in [
        (json!([]), "malformed-json"),
        (json!({"type": "dance"}), "unknown-type"),
        (json!({"type": "auth", "token": "x"}), "conflict"),
        (
            json!({"type": "subscribe", "id": "a", "patterns": ["vote.cast"]}),
            "conflict",
        ),
        (json!({"type": "subscribe", "id": "b"}), "invalid-request"),
        (
            json!({"type": "subscribe", "id": "b", "patterns": ["NO_SUCH_EVENT"]}),
            "invalid-event-type",
        ),
        (
            json!({"type": "subscribe", "id": "b", "patterns": ["vote.*", "work.*"]}),
            "too-many",
        ),
        (
            json!({"type": "subscribe", "id": "b", "patterns": [">"], "filter": "payload.a >"}),
            "invalid-filter",
        ),
        (
            json!({"type": "subscribe", "id": "b", "patterns": [">"], "cursor": "a/b"}),
            "invalid-request",
        ),
        (json!({"type": "unsubscribe", "id": "b"}), "not-found"),
        (
            json!({"type": "ack", "id": "b", "position": "7f3a09c2-1"}),
            "not-found",
        ),
        (
            json!({"type": "ack", "id": "a", "position": "7f3a09c2-1"}),
            "invalid-request",
        ),
        (
            json!({"type": "publish", "ref": 1, "topic": "nothing.known", "payload": {}}),
            "invalid-event-type",
        ),
        (
            json!({"type": "publish", "ref": 1, "topic": "work.claimed", "payload": {}}),
            "not-permitted",
        ),
        (
            json!({"type": "publish", "ref": 1, "topic": "payment.received", "payload": {}}),
            "invalid-payload",
        ),
        (
            json!({"type": "publish", "ref": 1, "payload": {}}),
            "invalid-request",
        ),
        (json!({"type": "ping", "pong": 1}), "invalid-request"),
        (
            json!({"type": "ping", "ref": "x".repeat(3_000)}),
            "too-large",
        ),
    ] {
        let error = client.refused(&message).await;
        assert_eq!(error["type"], "error", "{message}: {error}");
        assert_eq!(error["code"], code, "{message}: {error}");
        let reference = if message["type"] == "publish" {
            &message["ref"]
        } else {
            &json!(null)
        };
        if code != "too-large" {
            assert_eq!(&error["ref"], reference, "{message}: {error}");
        }
    }
    client.socket_send_binary().await;
    assert_eq!(client.next().await["code"], "malformed-json");
    hub.pay(1).await;
    assert_eq!(client.events_of(1, 1).await, [1], "it goes on as before");
}

impl Client {
    async fn socket_send_binary(&mut self) {
        use futures_util::SinkExt;
        self.socket
            .send(Message::binary(vec![1, 2, 3]))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_filter_that_is_none_is_refused_with_its_place() {
    let hub = Hub::start().await;
    let mut client = hub.connect_v1().await;
    let error = client
        .subscribe_with(json!({"id": "a", "patterns": [">"], "filter": "payload.amount > 1 &&\n  sauce == 'x'"}))
        .await;
    assert_eq!(
        (&error["code"], &error["line"], &error["column"]),
        (&json!("invalid-filter"), &json!(2), &json!(3))
    );
}

#[tokio::test]
async fn messages_may_be_limited_in_a_second() {
    let options = WsOptions {
        v1_messages_per_second_max: 2,
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    let mut client = hub.connect_v1().await;
    // So many that it is met, however long the machine stands still between two of them.
    for _ in 0..30 {
        client.send(&json!({"type": "ping"})).await;
    }
    let mut limited = 0;
    for _ in 0..30 {
        limited += usize::from(client.next().await["code"] == "rate-limited");
    }
    assert!(limited >= 2, "{limited}");
}

#[tokio::test]
async fn who_may_only_publish_reads_nothing() {
    let hub = Hub::start().await;
    let mut client = hub.connect_v1_as(PUBLISH_TOKEN).await;
    let error = client.subscribe_v1("a", &[">"]).await;
    assert_eq!(error["code"], "not-permitted");
}

#[tokio::test]
async fn a_reader_that_was_passed_over_is_told_how_far_it_is() {
    let options = WsOptions {
        position_every: std::time::Duration::from_millis(80),
        position_events: u64::MAX,
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    let mut client = hub.connect_v1().await;
    client.subscribe_v1("a", &["mint.*"]).await;
    let filtered = json!({"id": "b", "patterns": ["payment.*"], "filter": "payload.amount > 1000"});
    client.subscribe_with(filtered).await;
    for number in 1..=5 {
        hub.pay(number).await;
    }
    let mut told = [0; 3];
    while told[1] < 5 || told[2] < 5 {
        let frame = client.next().await;
        assert_eq!(frame["type"], "position", "{frame}");
        let sub = usize::try_from(frame["sub"].as_u64().unwrap()).unwrap();
        let position = position_of(&frame);
        assert!(position.seq.get() > told[sub], "only when it has moved");
        told[sub] = position.seq.get();
    }
    client.send(&json!({"type": "ping"})).await;
    assert_eq!(client.next().await["type"], "pong", "and then no more");
}

#[tokio::test]
async fn a_reader_whose_filter_refuses_much_is_told_sooner() {
    let options = WsOptions {
        position_every: std::time::Duration::from_secs(3_600),
        position_events: 100,
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    for number in 1..=250 {
        hub.pay(number).await;
    }
    let mut client = hub.connect_v1().await;
    let subscribe = json!({"id": "a", "patterns": [">"], "filter": "payload.amount > 1000", "from": "earliest"});
    client.subscribe_with(subscribe).await;
    let frame = client.next().await;
    assert_eq!(
        (&frame["type"], &frame["sub"]),
        (&json!("position"), &json!(1))
    );
    assert!(position_of(&frame).seq.get() >= 100);
}
