//! What the neo face's clients say and are told.

use futures_util::SinkExt;
use nexus_core::{LogOptions, Principal, Publish, Scope, Source};
use nexus_ws::WsOptions;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Hub, PATIENCE, payment};

#[tokio::test]
async fn an_event_arrives_in_the_form_of_its_subscription() {
    let hub = Hub::start().await;
    let forms = [
        ("PAYMENT_RECEIVED", "PAYMENT_RECEIVED"),
        ("FLOWPAY:PAYMENT_RECEIVED", "FLOWPAY:PAYMENT_RECEIVED"),
        ("payment.received", "payment.received"),
        ("payment.*", "payment.received"),
        ("*", "payment.received"),
    ];
    let mut clients = Vec::new();
    for (subscribed, _) in forms {
        let mut client = hub.connect().await;
        let head = hub.log.head().to_string();
        assert_eq!(
            client.subscribe(&[subscribed]).await,
            json!({"status": "subscribed", "events": [subscribed], "validEvents": [subscribed], "position": head})
        );
        clients.push(client);
    }
    let payload = "{ \"transactionId\":\"tx\", \"amount\": 100.50, \"payerId\":\"p\"}";
    let receipt = hub.publish("PAYMENT_RECEIVED", payload).await;
    for (client, (_, form)) in clients.iter_mut().zip(forms) {
        let Message::Text(text) = client.message().await else {
            panic!()
        };
        assert!(
            text.contains(payload),
            "the payload is as it was sent: {text}"
        );
        let frame: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(frame["event"], form);
        assert_eq!(frame["timestamp"], receipt.time_us / 1_000);
        assert_eq!(frame["event_id"], receipt.first_id.unwrap().to_string());
        assert_eq!(frame["seq"], receipt.first.get());
        assert_eq!(frame["position"], receipt.position().to_string());
        assert_eq!(frame.as_object().unwrap().len(), 6);
    }
}

#[tokio::test]
async fn an_event_that_matches_twice_is_sent_once_in_the_form_of_the_first() {
    let hub = Hub::start().await;
    let mut client = hub.connect().await;
    client
        .subscribe(&["FLOWPAY:PAYMENT_RECEIVED", "payment.*"])
        .await;
    let answer = client.subscribe(&["PAYMENT_RECEIVED", "MINT_FAILED"]).await;
    let all = [
        "FLOWPAY:PAYMENT_RECEIVED",
        "payment.*",
        "PAYMENT_RECEIVED",
        "MINT_FAILED",
    ];
    assert_eq!(answer["events"], json!(all));
    assert_eq!(
        answer["validEvents"],
        json!(["PAYMENT_RECEIVED", "MINT_FAILED"])
    );
    hub.pay(1).await;
    hub.publish("mint.failed", r#"{"error":"gas"}"#).await;
    let names = [
        client.next().await["event"].clone(),
        client.next().await["event"].clone(),
    ];
    assert_eq!(names, ["FLOWPAY:PAYMENT_RECEIVED", "MINT_FAILED"]);
}

#[tokio::test]
async fn invalid_events_are_named_and_the_valid_ones_taken() {
    let hub = Hub::start().await;
    let mut client = hub.connect().await;
    let answer = client
        .subscribe(&["PAYMENT_RECEIVED", "NOPE", "no.such", "payment.*"])
        .await;
    assert_eq!(answer["status"], "subscribed");
    assert_eq!(
        answer["validEvents"],
        json!(["PAYMENT_RECEIVED", "payment.*"])
    );
    assert_eq!(answer["invalidEvents"], json!(["NOPE", "no.such"]));
    let answer = client.subscribe(&["NOPE"]).await;
    assert_eq!(answer["validEvents"], json!([]));
    assert_eq!(answer["events"], json!(["PAYMENT_RECEIVED", "payment.*"]));
}

#[tokio::test]
async fn what_was_unsubscribed_does_not_come_and_what_was_added_loses_nothing() {
    let hub = Hub::start().await;
    let mut client = hub.connect().await;
    client.subscribe(&["payment.*", "MINT_FAILED"]).await;
    hub.pay(1).await;
    assert_eq!(client.seqs(1).await, [1]);
    client
        .send(&json!({"action": "unsubscribe", "events": ["payment.*", "never.there"]}))
        .await;
    assert_eq!(
        client.answer().await,
        json!({"status": "unsubscribed", "events": ["MINT_FAILED"]})
    );
    hub.pay(2).await;
    hub.publish("mint.failed", r#"{"error":"gas"}"#).await;
    assert_eq!(client.seqs(1).await, [3]);
    client.subscribe(&["payment.received"]).await;
    hub.pay(4).await;
    assert_eq!(client.seqs(1).await, [4]);
    client
        .send(&json!({"action": "unsubscribe", "events": ["payment.received", "MINT_FAILED"]}))
        .await;
    assert_eq!(client.answer().await["events"], json!([]));
    hub.pay(5).await;
    // An empty connection begins anew, with what happens next.
    client.subscribe(&["payment.received"]).await;
    hub.pay(6).await;
    assert_eq!(client.seqs(1).await, [6]);
}

#[tokio::test]
async fn what_is_no_message_is_answered_and_the_connection_stays() {
    let hub = Hub::start().await;
    let mut client = hub.connect().await;
    for (text, error) in [
        ("", "Invalid message format"),
        ("nonsense", "Invalid message format"),
        ("[1,2]", "Invalid message format"),
        (r#"{"action":"subscribe"}"#, "Invalid message format"),
        (
            r#"{"action":"subscribe","events":["PAYMENT_RECEIVED"],"from":"x"}"#,
            "Invalid message format",
        ),
        (r#"{"action":"dance"}"#, "Unknown action"),
        ("{}", "Unknown action"),
    ] {
        client.send_text(text).await;
        let answer = client.answer().await;
        assert_eq!(answer["error"], error, "{text}");
        assert!(answer["message"].is_string());
    }
    client
        .socket
        .send(Message::binary(vec![0xff; 10]))
        .await
        .unwrap();
    assert_eq!(client.answer().await["error"], "Invalid message format");
    let answer = client.subscribe(&["PAYMENT_RECEIVED"]).await;
    assert_eq!(answer["status"], "subscribed");
    assert_eq!(answer["events"], json!(["PAYMENT_RECEIVED"]));
}

#[tokio::test]
async fn a_message_that_is_too_large_is_skipped_and_the_connection_stays() {
    let hub = Hub::start().await;
    let mut client = hub.connect().await;
    for bytes in [10 * 1_024 + 1, 70_000, 3_000_000] {
        client.send_text(&"x".repeat(bytes)).await;
        assert_eq!(
            client.answer().await["error"],
            "Message too large",
            "{bytes}"
        );
    }
    // Also one that only grows too large, and ends within a character.
    use tokio_tungstenite::tungstenite::protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    };
    let text = "é".repeat(4_000).into_bytes();
    let (begin, rest) = text.split_at(4_001);
    for (part, opcode, last) in [
        (begin, Data::Text, false),
        (rest, Data::Continue, false),
        (begin, Data::Continue, true),
    ] {
        let frame = Frame::message(part.to_vec(), OpCode::Data(opcode), last);
        client.socket.send(Message::Frame(frame)).await.unwrap();
    }
    assert_eq!(client.answer().await["error"], "Message too large");
    assert_eq!(
        client.subscribe(&["PAYMENT_RECEIVED"]).await["status"],
        "subscribed"
    );
    hub.pay(1).await;
    assert_eq!(client.seqs(1).await, [1]);
}

#[tokio::test]
async fn too_many_messages_a_second_are_refused_and_the_connection_stays() {
    // Few, so that the number that is refused does not depend on how fast the machine is.
    let options = WsOptions {
        messages_per_second_max: 1,
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    let mut client = hub.connect().await;
    for _ in 0..30 {
        client.socket.feed(Message::text("{}")).await.unwrap();
    }
    client.socket.flush().await.unwrap();
    let mut errors = Vec::new();
    for _ in 0..30 {
        errors.push(client.answer().await["error"].as_str().unwrap().to_owned());
    }
    assert_eq!(errors[0], "Unknown action", "the first is taken");
    assert!(errors.iter().any(|error| error == "Rate limit exceeded"));
    let deadline = Instant::now() + PATIENCE;
    while client.subscribe(&["PAYMENT_RECEIVED"]).await["status"] != "subscribed" {
        assert!(Instant::now() < deadline, "it is allowed again in time");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(WsOptions::default().messages_per_second_max, 10);
}

#[tokio::test]
async fn a_connection_has_at_most_128_patterns() {
    let hub = Hub::start().await;
    let mut client = hub.connect().await;
    let texts: Vec<String> = (0..129).map(|number| format!("a{number}.*")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(
        client.subscribe(&texts).await["error"],
        "Too many subscriptions"
    );
    let answer = client.subscribe(&texts[..128]).await;
    assert_eq!(answer["events"].as_array().unwrap().len(), 128);
    // The same again is no more.
    assert_eq!(client.subscribe(&texts[..5]).await["status"], "subscribed");
    assert_eq!(
        client.subscribe(&texts[128..]).await["error"],
        "Too many subscriptions"
    );
}

#[tokio::test]
async fn a_direct_message_is_shown_to_operators_alone() {
    let hub = Hub::start().await;
    let mut operator = hub.connect().await;
    operator.subscribe(&["message.*"]).await;
    let request = hub.request(
        "/ws",
        &[(
            "authorization",
            &format!("Bearer {}", crate::harness::STREAM_TOKEN),
        )],
    );
    let mut reader = crate::harness::Client::open(hub.address, request, None)
        .await
        .unwrap();
    reader.subscribe(&["message.*"]).await;
    let session = Principal::new(
        Source::session("one"),
        Publish::Unreserved,
        [Scope::Read].into_iter().collect(),
    );
    hub.publish_as(
        &session,
        "MESSAGE_DIRECT",
        r#"{"to":"two","message":"psst"}"#,
    )
    .await;
    hub.publish_as(&session, "MESSAGE_BROADCAST", r#"{"message":"hello"}"#)
        .await;
    assert_eq!(operator.seqs(2).await, [1, 2]);
    assert_eq!(reader.seqs(1).await, [2]);
}

#[tokio::test]
async fn payments_of_every_size_arrive_unchanged() {
    let hub = Hub::start().await;
    let mut client = hub.connect().await;
    client.subscribe(&["payment.received"]).await;
    for bytes in [0, 60, 200, 60_000, 66_000, 250_000] {
        let payload = payment(1).replace("payer-7", "p").replacen(
            '{',
            &format!("{{\"note\":\"{}\",", "é".repeat(bytes / 2)),
            1,
        );
        hub.publish("payment.received", &payload).await;
        let Message::Text(text) = client.message().await else {
            panic!()
        };
        assert!(text.contains(&payload), "{bytes}");
    }
}
