//! How connections end.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use nexus_core::LogOptions;
use nexus_ws::WsOptions;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::harness::{Hub, PATIENCE, resume_position, until};

/// An answer has longer to come than the machine may stand still before nothing is read any more.
fn quick() -> WsOptions {
    WsOptions {
        ping: Duration::from_millis(100),
        pong: Duration::from_millis(1_500),
        close: Duration::from_millis(100),
        ..WsOptions::default()
    }
}

#[tokio::test]
async fn who_does_not_answer_pings_is_closed() {
    let hub = Hub::with(quick(), LogOptions::default()).await;
    let mut silent = hub.connect().await;
    silent.subscribe(&["PAYMENT_RECEIVED"]).await;
    hub.pay(1).await;
    // Nothing reads, so nothing answers.
    until("the silent one is closed", || hub.edge.connections() == 0).await;
    let mut sent = Vec::new();
    silent
        .socket
        .get_mut()
        .read_to_end(&mut sent)
        .await
        .unwrap();
    assert!(sent.windows(2).any(|frame| frame == [0x89, 0]), "a ping");
    let reason = format!("no pong; resume from {}", hub.log.head());
    let length = u8::try_from(2 + reason.len()).unwrap();
    let close = [
        &[0x88, length][..],
        &4000_u16.to_be_bytes(),
        reason.as_bytes(),
    ]
    .concat();
    assert!(sent.ends_with(&close), "{}", String::from_utf8_lossy(&sent));
}

#[tokio::test]
async fn who_answers_pings_stays() {
    // An answer has long to come, also on a machine that is busy; there are more pings than that.
    let options = WsOptions {
        ping: Duration::from_millis(100),
        pong: Duration::from_secs(2),
        ..WsOptions::default()
    };
    let hub = Hub::with(options, LogOptions::default()).await;
    let mut client = hub.connect().await;
    client.subscribe(&["PAYMENT_RECEIVED"]).await;
    let mut pings = 0;
    while pings < 25 {
        let Message::Ping(_) = client.message().await else {
            panic!()
        };
        pings += 1;
    }
    hub.pay(1).await;
    assert_eq!(client.seqs(1).await, [1]);
}

#[tokio::test]
async fn a_ping_of_the_client_is_answered_between_events() {
    let hub = Hub::start().await;
    let mut client = hub.connect().await;
    client.subscribe(&["PAYMENT_RECEIVED"]).await;
    client
        .socket
        .send(Message::Ping("are you there".into()))
        .await
        .unwrap();
    assert_eq!(
        client.message().await,
        Message::Pong("are you there".into())
    );
    hub.pay(1).await;
    assert_eq!(client.seqs(1).await, [1]);
}

#[tokio::test]
async fn a_client_that_leaves_is_forgotten() {
    let hub = Hub::start().await;
    let mut polite = hub.connect().await;
    polite.subscribe(&["PAYMENT_RECEIVED"]).await;
    let mut rude = hub.connect().await;
    rude.subscribe(&["MINT_FAILED"]).await;
    assert_eq!((hub.edge.connections(), hub.edge.groups()), (2, 2));
    let frame = CloseFrame {
        code: CloseCode::Normal,
        reason: "bye".into(),
    };
    polite.socket.close(Some(frame.clone())).await.unwrap();
    assert_eq!(polite.message().await, Message::Close(Some(frame)));
    assert!(
        polite.socket.next().await.is_none(),
        "the server ends the connection"
    );
    drop(rude);
    until("both are gone", || {
        hub.edge.connections() == 0 && hub.edge.groups() == 0
    })
    .await;
}

#[tokio::test]
async fn draining_tells_each_reader_where_to_go_on() {
    let hub = Hub::start().await;
    let mut caught_up = hub.connect().await;
    caught_up.subscribe(&["PAYMENT_RECEIVED"]).await;
    let mut elsewhere = hub.connect().await;
    elsewhere.subscribe(&["MINT_FAILED"]).await;
    let mut idle = hub.connect().await;
    for number in 1..=3 {
        hub.pay(number).await;
    }
    assert_eq!(caught_up.seqs(3).await, [1, 2, 3]);
    hub.shutdown.cancel();
    for client in [&mut caught_up, &mut elsewhere, &mut idle] {
        let (frame, _) = client.closed().await;
        assert_eq!(u16::from(frame.code), 4012);
        assert!(frame.reason.len() <= 123);
        assert_eq!(resume_position(&frame), hub.log.head());
        // Answers the close frame.
        assert!(client.socket.next().await.is_none_or(|end| end.is_err()));
    }
    timeout(PATIENCE, hub.running)
        .await
        .expect("within the drain time")
        .unwrap();
    assert_eq!(hub.edge.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_in_the_middle_of_a_stream_loses_nothing() {
    let hub = Hub::start().await;
    for number in 1..=200 {
        let note = "x".repeat(40_000);
        let payload =
            format!(r#"{{"note":"{note}","transactionId":"{number}","amount":1,"payerId":"p"}}"#);
        hub.publish("payment.received", &payload).await;
    }
    let mut client = hub.connect_small().await;
    client
        .subscribe_from(&["PAYMENT_RECEIVED"], "earliest")
        .await;
    assert_eq!(client.seqs(2).await, [1, 2]);
    hub.shutdown.cancel();
    let (frame, last) = client.closed().await;
    assert_eq!(u16::from(frame.code), 4012);
    assert_eq!(resume_position(&frame).seq.get(), last.unwrap_or(2));
}

#[tokio::test]
async fn who_breaks_the_protocol_is_told_so() {
    // An unmasked text, a text that is not UTF-8, a frame with a reserved bit.
    for (bytes, code) in [
        (&[0x81, 0x01, b'x'][..], 1002),
        (&[0x81, 0x82, 0, 0, 0, 0, 0xff, 0xfe], 1007),
        (&[0xc1, 0x81, 0, 0, 0, 0, b'x'], 1002),
    ] {
        let hub = Hub::start().await;
        let mut client = hub.connect().await;
        client.socket.get_mut().write_all(bytes).await.unwrap();
        let (frame, _) = client.closed().await;
        assert_eq!(u16::from(frame.code), code, "{bytes:?}");
        drop(client);
        until("it is gone", || hub.edge.connections() == 0).await;
    }
}
