//! CloudEvents over a WebSocket, both ways.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::error::Error;

use super::PATH;
use crate::harness::{ADMIN_TOKEN, Client, Hub, STREAM_TOKEN};

async fn open(hub: &Hub, query: &str, token: &str) -> Result<Client, Error> {
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", &*bearer),
        ("sec-websocket-protocol", "cloudevents.json"),
    ];
    let request = hub.request(&format!("{PATH}{query}"), &headers);
    Client::open(hub.address, request, None).await
}

fn cloud_event(id: &str, amount: u64) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": "/shop", "type": "payment.received", "subject": "payer-7",
        "time": "2026-11-21T06:00:00Z", "data": {"transactionId": id, "amount": amount, "payerId": "payer-7"},
    })
}

#[tokio::test]
async fn what_is_sent_is_published_and_what_is_asked_for_is_received() {
    let hub = Hub::start().await;
    let query = "?patterns=payment.*&filter=payload.amount%20%3E%205";
    let mut reader = open(&hub, query, STREAM_TOKEN).await.unwrap();
    assert_eq!(reader.protocol.as_deref(), Some("cloudevents.json"));
    let mut writer = open(&hub, "", ADMIN_TOKEN).await.unwrap();
    for (id, amount) in [("one", 5), ("two", 6)] {
        writer.send(&cloud_event(id, amount)).await;
        let answer = writer.next().await;
        assert_eq!(
            (&answer["type"], &answer["subject"]),
            (&json!("nexus.published"), &json!(id))
        );
        assert_eq!(
            (&answer["specversion"], &answer["source"]),
            (&json!("1.0"), &json!("/nexus"))
        );
    }
    let event = reader.next().await;
    assert_eq!(
        (&event["specversion"], &event["type"]),
        (&json!("1.0"), &json!("payment.received"))
    );
    assert_eq!(event["data"], cloud_event("two", 6)["data"]);
    assert_eq!(event["subject"], "payer-7");
    assert_eq!(event["sequence"], "00000000000000000002");
    // The same event again, by its source and id, is no second one.
    writer.send(&cloud_event("two", 6)).await;
    let answer = writer.next().await;
    assert_eq!(
        (&answer["data"]["replayed"], hub.log.stored().seq.get()),
        (&json!(true), 2)
    );
}

#[tokio::test]
async fn what_is_wrong_is_answered_by_an_event() {
    let hub = Hub::start().await;
    let mut client = open(&hub, "", ADMIN_TOKEN).await.unwrap();
    let mut unknown = cloud_event("a", 1);
    unknown["type"] = "no.such".into();
    let mut without = cloud_event("b", 1);
    without["specversion"] = "0.3".into();
    for (message, id, code) in [
        (unknown, json!("a"), "invalid-event-type"),
        (without, json!("b"), "invalid-request"),
        (json!([]), json!(null), "malformed-json"),
    ] {
        client.send(&message).await;
        let answer = client.next().await;
        assert_eq!(answer["type"], "nexus.refused");
        assert_eq!(
            (&answer["subject"], &answer["data"]["code"]),
            (&id, &json!(code)),
            "{answer}"
        );
    }
    client.send(&cloud_event("c", 1)).await;
    assert_eq!(
        client.next().await["type"],
        "nexus.published",
        "the connection stays"
    );
}

#[tokio::test]
async fn a_reader_goes_on_where_it_was_or_is_told() {
    let hub = Hub::start().await;
    for number in 1..=4 {
        hub.pay(number).await;
    }
    let epoch = hub.log.head().epoch;
    let mut reader = open(&hub, &format!("?from={epoch}-2"), STREAM_TOKEN)
        .await
        .unwrap();
    assert_eq!(reader.next().await["sequence"], "00000000000000000003");
    let mut elsewhere = open(&hub, "?from=00000000-2", STREAM_TOKEN).await.unwrap();
    let gap = elsewhere.next().await;
    assert_eq!(
        (&gap["type"], &gap["data"]["reason"]),
        (&json!("nexus.gap"), &json!("epoch"))
    );
}

#[tokio::test]
async fn a_question_that_is_none_is_refused_before_the_upgrade() {
    let hub = Hub::start().await;
    for query in [
        "?patterns=NO_SUCH_EVENT",
        "?filter=payload.a%20%3E",
        "?from=soon",
        "?x=1",
    ] {
        match open(&hub, query, STREAM_TOKEN).await {
            Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), 400, "{query}"),
            _ => panic!("{query}"),
        }
    }
}
