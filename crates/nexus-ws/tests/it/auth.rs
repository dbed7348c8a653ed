//! Who may open a socket.

use nexus_auth::{AuthOptions, Secret};
use nexus_core::{Clock, LogOptions, Scope};
use nexus_ws::WsOptions;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::error::Error;

use crate::harness::{
    ADMIN_TOKEN, Client, Hub, MINT_TOKEN, NODE_SECRET, ORIGIN, PUBLISH_TOKEN, STREAM_TOKEN,
    auth_options, token,
};

/// A target, headers, and the status they are answered with.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], u16);

async fn status(hub: &Hub, target: &str, headers: &[(&str, &str)]) -> u16 {
    match Client::open(hub.address, hub.request(target, headers), None).await {
        Ok(mut client) => {
            assert_eq!(
                client.subscribe(&["PAYMENT_RECEIVED"]).await["status"],
                "subscribed"
            );
            101
        }
        Err(Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_token_may_stand_in_three_places_and_must_be_right() {
    let hub = Hub::start().await;
    let bearer = |token: &str| format!("Bearer {token}");
    let own = format!("http://{}", hub.address);
    let cases: &[Case<'_>] = &[
        ("/ws", &[("authorization", &bearer(STREAM_TOKEN))], 101),
        ("/", &[("authorization", &bearer(NODE_SECRET))], 101),
        ("/", &[("authorization", &bearer(ADMIN_TOKEN))], 101),
        ("/ws", &[("sec-websocket-protocol", STREAM_TOKEN)], 101),
        (
            "/ws",
            &[("sec-websocket-protocol", &format!("nexus, {STREAM_TOKEN}"))],
            101,
        ),
        (&format!("/ws?token={STREAM_TOKEN}"), &[], 101),
        (&format!("/?x=1&token={NODE_SECRET}"), &[], 101),
        ("/ws", &[], 401),
        ("/", &[], 401),
        ("/ws?token=", &[], 401),
        ("/ws?token=wrong", &[], 401),
        ("/ws", &[("authorization", "Bearer wrong")], 401),
        (
            &format!("/ws?token={STREAM_TOKEN}"),
            &[("authorization", "Bearer wrong")],
            401,
        ),
        ("/ws", &[("sec-websocket-protocol", "wrong, worse")], 401),
        ("/ws", &[("authorization", &bearer(PUBLISH_TOKEN))], 403),
        (
            &format!("/ws?token={STREAM_TOKEN}"),
            &[("origin", "https://evil.example")],
            403,
        ),
        (
            &format!("/ws?token={STREAM_TOKEN}"),
            &[("origin", "null")],
            403,
        ),
        (
            &format!("/ws?token={STREAM_TOKEN}"),
            &[("origin", ORIGIN)],
            101,
        ),
        (
            &format!("/ws?token={STREAM_TOKEN}"),
            &[("origin", &own)],
            101,
        ),
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
async fn one_offered_subprotocol_is_echoed_and_not_the_token_if_there_is_another() {
    let hub = Hub::start().await;
    for (offered, echoed) in [
        (STREAM_TOKEN.to_owned(), STREAM_TOKEN),
        (format!("{STREAM_TOKEN}, neo"), "neo"),
        (format!("neo, {STREAM_TOKEN}"), "neo"),
    ] {
        let request = hub.request("/ws", &[("sec-websocket-protocol", &offered)]);
        let client = Client::open(hub.address, request, None).await.unwrap();
        assert_eq!(client.protocol.as_deref(), Some(echoed));
    }
}

/// The head of the answer to a request that is written by hand.
async fn raw(hub: &Hub, head: &str) -> String {
    let mut stream = TcpStream::connect(hub.address).await.unwrap();
    let request = format!("{head}Host: x\r\nAuthorization: Bearer {STREAM_TOKEN}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4_096];
    let count = stream.read(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer[..count]).to_lowercase()
}

#[tokio::test]
async fn a_broken_handshake_is_refused() {
    let hub = Hub::start().await;
    let upgrade = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let answer = raw(
        &hub,
        &format!("GET /ws HTTP/1.1\r\n{upgrade}{key}{version}"),
    )
    .await;
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    // The example of RFC 6455.
    assert!(
        answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="),
        "{answer}"
    );
    for (head, expected) in [
        (format!("{upgrade}{version}"), "sec-websocket-key"),
        (
            format!("{upgrade}{version}Sec-WebSocket-Key: short\r\n"),
            "16 bytes",
        ),
        (
            format!("{upgrade}{key}Sec-WebSocket-Version: 8\r\n"),
            "sec-websocket-version: 13",
        ),
        (format!("{upgrade}{key}"), "sec-websocket-version: 13"),
        (String::new(), "upgrade: websocket"),
    ] {
        let answer = raw(&hub, &format!("GET /ws HTTP/1.1\r\n{head}")).await;
        assert!(answer.starts_with("http/1.1 400 "), "{answer}");
        assert!(
            answer.contains(expected) || expected == "sec-websocket-key",
            "{answer}"
        );
    }
    let answer = raw(&hub, "GET / HTTP/1.1\r\n").await;
    assert!(answer.starts_with("http/1.1 404 "), "{answer}");
}

#[tokio::test]
async fn a_reader_gets_only_what_it_may_read() {
    let hub = Hub::start().await;
    let request = hub.request(&format!("/ws?token={MINT_TOKEN}"), &[]);
    let mut client = Client::open(hub.address, request, None).await.unwrap();
    let answer = client
        .subscribe(&["*", "PAYMENT_RECEIVED", "MINT_FAILED"])
        .await;
    assert_eq!(answer["validEvents"], json!(["*", "MINT_FAILED"]));
    assert_eq!(answer["invalidEvents"], json!(["PAYMENT_RECEIVED"]));
    hub.pay(1).await;
    hub.publish("mint.failed", r#"{"error":"gas"}"#).await;
    assert_eq!(client.seqs(1).await, [2]);
}

#[tokio::test]
async fn a_token_that_is_taken_away_closes_its_sockets_and_no_others() {
    let hub = Hub::start().await;
    let request = hub.request(&format!("/ws?token={STREAM_TOKEN}"), &[]);
    let mut revoked = Client::open(hub.address, request, None).await.unwrap();
    revoked.subscribe(&["payment.*"]).await;
    let request = hub.request(&format!("/ws?token={MINT_TOKEN}"), &[]);
    let mut narrowed = Client::open(hub.address, request, None).await.unwrap();
    narrowed.subscribe(&["*"]).await;
    let mut operator = hub.connect().await;
    operator.subscribe(&["*"]).await;

    let mut options = auth_options();
    options.tokens.retain(|token| token.name != "stream");
    options.tokens[1].read = Some(vec!["payment.*".into()]);
    hub.auth.replace(&options, &hub.log.catalogue()).unwrap();

    let (frame, _) = revoked.closed().await;
    assert_eq!(u16::from(frame.code), 4500);
    hub.publish("mint.failed", r#"{"error":"gas"}"#).await;
    hub.pay(2).await;
    assert_eq!(operator.seqs(2).await, [1, 2]);
    // The same socket goes on with its new rights, once it has heard of them.
    let seen = narrowed.seqs(1).await;
    assert!(seen == [2] || seen == [1], "{seen:?}");
    hub.publish("mint.failed", r#"{"error":"gas"}"#).await;
    hub.pay(4).await;
    let seen = narrowed.seqs(if seen == [1] { 2 } else { 1 }).await;
    assert_eq!(seen.last(), Some(&4));
}

#[tokio::test]
async fn a_token_that_expires_closes_its_sockets() {
    let clock = Clock::manual(1_000_000);
    let mut expiring = token(
        "guest",
        "a-token-for-one-second-0123456789ab",
        &[Scope::Read],
    );
    expiring.not_after_us = Some(1_300_000);
    let options = AuthOptions {
        admin_token: Some(Secret::new(ADMIN_TOKEN)),
        tokens: vec![expiring],
        ..AuthOptions::default()
    };
    let hub = Hub::over(
        clock.clone(),
        options,
        WsOptions::default(),
        LogOptions::default(),
    )
    .await;
    let target = "/ws?token=a-token-for-one-second-0123456789ab";
    let mut client = Client::open(hub.address, hub.request(target, &[]), None)
        .await
        .unwrap();
    client.subscribe(&["payment.*"]).await;
    clock.advance_us(300_001);
    let (frame, _) = client.closed().await;
    assert_eq!(u16::from(frame.code), 4005);
}
