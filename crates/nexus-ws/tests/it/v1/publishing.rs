//! Publishing over the connection.

use std::collections::HashSet;

use nexus_core::{LogOptions, PatternSet, Seq};
use nexus_ws::{PublishLimit, WsOptions};
use serde_json::{Value, json};

use super::position_of;
use crate::harness::{ADMIN_TOKEN, Hub, PUBLISH_TOKEN, auth_options, payment, token};

fn payment_frame(reference: u64) -> String {
    format!(
        r#"{{"type":"publish","ref":{reference},"event":"PAYMENT_RECEIVED","payload":{}}}"#,
        payment(reference)
    )
}

#[tokio::test]
async fn what_is_published_is_answered_when_it_is_kept() {
    let hub = Hub::start().await;
    let mut client = hub.connect_v1_as(PUBLISH_TOKEN).await;
    let text = r#"{"type":"publish","ref":"r-1","topic":"status.update","payload":{"status": "idle", "n": 1.50 },"key":"k","id":"mine","time":"2026-01-02T03:04:05Z"}"#;
    client.send_text(text).await;
    let answer = client.next().await;
    assert_eq!(
        (&answer["type"], &answer["ref"]),
        (&json!("published"), &json!("r-1"))
    );
    let event = hub
        .log
        .event(position_of(&answer).seq)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(answer["id"], event.id.to_string());
    assert_eq!(event.source.as_str(), "user:writer");
    assert_eq!(event.key.as_deref(), Some("k"));
    assert_eq!(
        &*event.payload, br#"{"status": "idle", "n": 1.50 }"#,
        "as it was sent"
    );
    let causes = event.causes();
    assert_eq!(causes.origin_id.as_deref(), Some("mine"));
    assert_eq!(causes.occurred_at.as_deref(), Some("2026-01-02T03:04:05Z"));
    assert_eq!(causes.remote.as_deref(), Some("127.0.0.1"));
    assert!(causes.request_id.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_be_on_their_way_and_are_kept_in_their_order() {
    const COUNT: u64 = 2_000;
    let options = WsOptions {
        publishes_max: 64,
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    let mut client = hub.connect_v1().await;
    let mut waiting: HashSet<u64> = (1..=COUNT).collect();
    for reference in 1..=COUNT {
        client.send_text(&payment_frame(reference)).await;
    }
    while !waiting.is_empty() {
        let answer = client.next_of(&["published", "error"]).await;
        assert_eq!(answer["type"], "published", "{answer}");
        assert!(waiting.remove(&answer["ref"].as_u64().unwrap()));
    }
    let (mut cursor, _) = hub
        .log
        .cursor(nexus_core::From::Earliest, PatternSet::everything())
        .await
        .unwrap();
    let mut amounts = Vec::new();
    while let Some(page) = cursor.try_next().await.unwrap() {
        for event in page.events {
            let payload: Value = serde_json::from_slice(&event.payload).unwrap();
            amounts.push(payload["amount"].as_u64().unwrap());
        }
    }
    assert_eq!(amounts, (1..=COUNT).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_key_makes_it_count_once() {
    let hub = Hub::start().await;
    let mut client = hub.connect_v1().await;
    let publish = |reference: u64, status: &str| json!({"type": "publish", "ref": reference, "topic": "status.update", "payload": {"status": status}, "idempotency_key": "k-1"});
    client.send(&publish(1, "idle")).await;
    let first = client.next().await;
    assert_eq!(first.get("replayed"), None);
    client.send(&publish(2, "idle")).await;
    let again = client.next().await;
    assert_eq!(
        (&again["ref"], &again["replayed"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(
        (&again["position"], &again["id"]),
        (&first["position"], &first["id"])
    );
    // In whatever order its members are.
    let turned = r#"{"payload":{"status":"idle"},"event":"STATUS_UPDATE","idempotency_key":"k-1","ref":5,"type":"publish"}"#;
    client.send_text(turned).await;
    let turned = client.next().await;
    assert_eq!(
        (&turned["ref"], &turned["replayed"]),
        (&json!(5), &json!(true))
    );
    client.send(&publish(3, "working")).await;
    let mismatch = client.next().await;
    assert_eq!(
        (&mismatch["ref"], &mismatch["code"]),
        (&json!(3), &json!("idempotency-mismatch"))
    );
    // An id of the sender's own is such a key.
    let own = json!({"type": "publish", "ref": 4, "topic": "status.update", "payload": {"status": "idle"}, "id": "own"});
    client.send(&own).await;
    client.send(&own).await;
    let (one, two) = (client.next().await, client.next().await);
    assert_eq!(one["position"], two["position"]);
    assert_eq!(hub.log.stored().seq, Seq::new(2));
}

#[tokio::test]
async fn what_is_wrong_with_an_event_is_said_with_its_place() {
    let hub = Hub::start().await;
    let mut client = hub.connect_v1().await;
    let error = client
        .refused(&json!({"type": "publish", "ref": 1, "topic": "payment.received", "payload": {"payerId": 7, "amount": 1, "orderId": "o"}}))
        .await;
    assert_eq!(
        (&error["code"], &error["ref"]),
        (&json!("invalid-payload"), &json!(1))
    );
    assert_eq!(error["errors"][0]["pointer"], "/payerId");
    let error = client
        .refused(&json!({"type": "publish", "ref": 2, "topic": "payment.received", "payload": [], "colour": "red"}))
        .await;
    let pointers: Vec<&str> = error["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|each| each["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(pointers, ["/colour", "/payload"]);
    assert_eq!(hub.log.stored().seq, Seq::ZERO);
}

#[tokio::test]
async fn a_right_that_was_taken_away_counts_from_the_next_event() {
    let hub = Hub::start().await;
    let mut client = hub.connect_v1_as(PUBLISH_TOKEN).await;
    client.send_text(&payment_frame(1)).await;
    assert_eq!(client.next().await["type"], "published");
    let mut options = auth_options();
    let narrowed = nexus_auth::TokenOptions {
        publish: Some(vec!["status.*".into()]),
        ..token("writer", PUBLISH_TOKEN, &[nexus_core::Scope::Publish])
    };
    options.tokens[1] = narrowed;
    hub.auth.replace(&options, &hub.log.catalogue()).unwrap();
    client.send_text(&payment_frame(2)).await;
    assert_eq!(client.next().await["code"], "not-permitted");
}

#[tokio::test]
async fn a_source_publishes_no_faster_than_it_may() {
    let options = WsOptions {
        publish_limit: Some(PublishLimit::new(|source| {
            if source.as_str() == "user:writer" {
                Err(3)
            } else {
                Ok(())
            }
        })),
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    let mut limited = hub.connect_v1_as(PUBLISH_TOKEN).await;
    limited.send_text(&payment_frame(1)).await;
    let error = limited.next().await;
    assert_eq!(
        (&error["code"], &error["retry_after"], &error["ref"]),
        (&json!("rate-limited"), &json!(3), &json!(1))
    );
    let mut other = hub.connect_v1().await;
    other.send_text(&payment_frame(1)).await;
    assert_eq!(other.next().await["type"], "published");
}

#[tokio::test]
async fn what_one_publishes_another_reads() {
    let hub = Hub::start().await;
    let mut reader = hub.connect_v1().await;
    reader.subscribe_v1("a", &["payment.*"]).await;
    let mut writer = hub.connect_v1_as(ADMIN_TOKEN).await;
    for reference in 1..=50 {
        writer.send_text(&payment_frame(reference)).await;
    }
    assert_eq!(
        reader.events_of(1, 50).await,
        (1..=50).collect::<Vec<u64>>()
    );
}
