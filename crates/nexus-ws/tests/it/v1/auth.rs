//! Who may open a connection of face v1, and what becomes of it when that changes.

use std::time::Duration;

use nexus_auth::AuthOptions;
use nexus_core::{Clock, LogOptions, Scope};
use nexus_ws::WsOptions;
use serde_json::json;
use tokio_tungstenite::tungstenite::{Message, error::Error};

use super::{PATH, PROTOCOL};
use crate::harness::{
    ADMIN_TOKEN, Client, Hub, ORIGIN, PATIENCE, STREAM_TOKEN, auth_options, token, until,
};

/// A target, headers, and the status they are answered with.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], u16);

async fn status(hub: &Hub, target: &str, headers: &[(&str, &str)]) -> u16 {
    match Client::open(hub.address, hub.request(target, headers), None).await {
        Ok(_) => 101,
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
    }
}

async fn stranger(hub: &Hub) -> Client {
    let request = hub.request(PATH, &[("sec-websocket-protocol", PROTOCOL)]);
    Client::open(hub.address, request, None).await.unwrap()
}

#[tokio::test]
async fn the_handshake_says_who_may() {
    let hub = Hub::start().await;
    let bearer = format!("Bearer {STREAM_TOKEN}");
    let v1 = ("sec-websocket-protocol", PROTOCOL);
    let cases: &[Case<'_>] = &[
        (PATH, &[("authorization", &bearer), v1], 101),
        ("/api/stream", &[("authorization", &bearer)], 101),
        (PATH, &[v1], 101),
        (PATH, &[("authorization", "Bearer wrong"), v1], 401),
        (
            PATH,
            &[
                ("authorization", &bearer),
                ("sec-websocket-protocol", "mqtt"),
            ],
            400,
        ),
        (
            PATH,
            &[
                ("authorization", &bearer),
                ("sec-websocket-protocol", "mqtt, nexus.v1.json"),
            ],
            101,
        ),
        (PATH, &[("sec-websocket-protocol", "cloudevents.json")], 401),
        (PATH, &[v1, ("origin", "https://evil.example")], 403),
        (PATH, &[v1, ("origin", ORIGIN)], 101),
    ];
    for (target, headers, expected) in cases {
        assert_eq!(
            status(&hub, target, headers).await,
            *expected,
            "{target} {headers:?}"
        );
    }
}

#[tokio::test]
async fn the_first_message_may_say_who_it_is() {
    let hub = Hub::start().await;
    let mut client = stranger(&hub).await;
    client
        .send(&json!({"type": "auth", "token": STREAM_TOKEN}))
        .await;
    assert_eq!(client.next().await["type"], "hello");
    client.subscribe_v1("a", &["payment.*"]).await;
    hub.pay(1).await;
    assert_eq!(client.events_of(1, 1).await, [1]);
}

#[tokio::test]
async fn a_token_in_the_address_is_not_taken() {
    let hub = Hub::start().await;
    let target = format!("{PATH}?token={STREAM_TOKEN}");
    let mut client = Client::open(hub.address, hub.request(&target, &[]), None)
        .await
        .unwrap();
    client
        .send(&json!({"type": "subscribe", "id": "a", "patterns": [">"]}))
        .await;
    assert_eq!(client.next().await["code"], "unauthorized");
    assert_eq!(u16::from(client.closed().await.0.code), 4500);
}

#[tokio::test]
async fn a_stranger_may_say_little_before_it_is_known() {
    let options = WsOptions {
        stranger_message_bytes_max: 1_000,
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    let mut client = stranger(&hub).await;
    // Although the token is right.
    let padding = "x".repeat(1_000);
    let long = json!({"type": "auth", "token": STREAM_TOKEN, "padding": padding});
    client.send(&long).await;
    assert_eq!(client.next().await["code"], "too-large");
    assert_eq!(u16::from(client.closed().await.0.code), 4500);
    // Who is known may say more.
    let patterns: Vec<String> = (0..100).map(|n| format!("payment.kind_{n:03}.*")).collect();
    let long = json!({"type": "subscribe", "id": "a", "patterns": patterns});
    let auth = json!({"type": "auth", "token": STREAM_TOKEN});
    let mut client = stranger(&hub).await;
    client.send(&auth).await;
    client.send(&long).await;
    assert_eq!(client.next().await["type"], "hello");
    assert_eq!(client.next().await["type"], "subscribed");
    let bearer = format!("Bearer {STREAM_TOKEN}");
    let headers = [
        ("authorization", &*bearer),
        ("sec-websocket-protocol", PROTOCOL),
    ];
    let request = hub.request(PATH, &headers);
    let mut client = Client::open(hub.address, request, None).await.unwrap();
    client.send(&long).await;
    assert_eq!(client.next().await["type"], "hello");
    assert_eq!(client.next().await["type"], "subscribed");
}

#[tokio::test]
async fn a_stranger_with_a_bad_token_is_closed() {
    let hub = Hub::start().await;
    for first in [
        json!({"type": "auth", "token": "wrong"}),
        json!({"type": "ping"}),
        json!({"type": "auth"}),
        json!([1]),
    ] {
        let mut client = stranger(&hub).await;
        client.send(&first).await;
        let (frame, _) = client.closed().await;
        assert_eq!(u16::from(frame.code), 4500, "{first} {frame:?}");
        assert!(!frame.reason.contains("wrong"));
    }
}

#[tokio::test]
async fn a_stranger_has_so_much_time_and_there_are_so_many_places() {
    let options = WsOptions {
        unauthenticated_max: 2,
        // Longer than all that happens before it is over, on a machine that is busy.
        authentication: Duration::from_secs(3),
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    let mut first = stranger(&hub).await;
    let mut second = stranger(&hub).await;
    assert_eq!(status(&hub, PATH, &[]).await, 503);
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let known = status(&hub, PATH, &[("authorization", &bearer)]).await;
    assert_eq!(known, 101, "who is known needs no place");
    second
        .send(&json!({"type": "auth", "token": STREAM_TOKEN}))
        .await;
    assert_eq!(second.next().await["type"], "hello");
    stranger(&hub).await;
    let (frame, _) = first.closed().await;
    assert_eq!(u16::from(frame.code), 4500);
    second.send(&json!({"type": "ping"})).await;
    assert_eq!(
        second.next().await["type"],
        "pong",
        "who said who it is stays"
    );
}

#[tokio::test]
async fn a_token_that_is_taken_away_closes_its_connections() {
    let hub = Hub::start().await;
    let mut reading = hub.connect_v1_as(STREAM_TOKEN).await;
    reading.subscribe_v1("a", &[">"]).await;
    let mut idle = hub.connect_v1_as(STREAM_TOKEN).await;
    let mut operator = hub.connect_v1().await;
    let mut options = auth_options();
    options.tokens.retain(|token| token.name != "stream");
    hub.auth.replace(&options, &hub.log.catalogue()).unwrap();
    for client in [&mut reading, &mut idle] {
        let (frame, _) = client.closed().await;
        assert_eq!(u16::from(frame.code), 4500);
    }
    operator.send(&json!({"type": "ping"})).await;
    assert_eq!(operator.next().await["type"], "pong");
}

#[tokio::test]
async fn a_token_that_may_not_read_any_more_is_closed() {
    let hub = Hub::start().await;
    let mut reading = hub.connect_v1_as(STREAM_TOKEN).await;
    reading.subscribe_v1("a", &[">"]).await;
    let mut options = auth_options();
    options.tokens[0] = token("stream", STREAM_TOKEN, &[Scope::Publish]);
    hub.auth.replace(&options, &hub.log.catalogue()).unwrap();
    let (frame, _) = reading.closed().await;
    assert_eq!(u16::from(frame.code), 4503);
}

#[tokio::test]
async fn a_token_that_expires_closes_its_connections() {
    let clock = Clock::manual(1_000_000);
    let mut expiring = token("guest", STREAM_TOKEN, &[Scope::Read]);
    expiring.not_after_us = Some(1_300_000);
    let options = AuthOptions {
        tokens: vec![expiring],
        ..auth_options()
    };
    let hub = Hub::over(
        clock.clone(),
        options,
        WsOptions::default(),
        LogOptions::default(),
    )
    .await;
    let mut client = stranger(&hub).await;
    client
        .send(&json!({"type": "auth", "token": STREAM_TOKEN}))
        .await;
    client.next_of(&["hello"]).await;
    clock.advance_us(300_001);
    let (frame, _) = client.closed().await;
    assert_eq!(u16::from(frame.code), 4005);
}

#[tokio::test]
async fn who_answers_no_ping_is_closed() {
    let options = WsOptions {
        // It answers while it subscribes, for which it has so long.
        ping: Duration::from_millis(100),
        pong: Duration::from_millis(1_500),
        close: PATIENCE,
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    // It reads nothing, and so answers nothing.
    let mut client = hub.connect_v1().await;
    client.subscribe_v1("a", &["payment.*"]).await;
    until("it is given up", || hub.edge.groups() == 0).await;
    let (frame, _) = client.closed().await;
    assert_eq!(u16::from(frame.code), 4000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_server_goes_away_what_is_under_way_is_answered_first() {
    let hub = Hub::start().await;
    let mut client = hub.connect_v1().await;
    client.subscribe_v1("a", &["mint.*"]).await;
    let publish = json!({"type": "publish", "ref": 1, "topic": "status.update", "payload": {"status": "idle"}});
    client.send(&publish).await;
    client.next_of(&["published"]).await;
    hub.shutdown.cancel();
    let mut told = None;
    let frame = loop {
        match client.message().await {
            Message::Text(text) => {
                let frame: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(frame["type"], "position", "{frame}");
                told = Some(super::position_of(&frame));
            }
            Message::Close(frame) => break frame.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(u16::from(frame.code), 4012);
    assert_eq!(told, Some(hub.log.head()));
    assert_eq!(told, Some(crate::harness::resume_position(&frame)));
    drop(client);
    hub.running.await.unwrap();
}
