//! Texts to and from a server that speaks something else than face v1.

use futures_util::{SinkExt, StreamExt};
use nexus_client::{Error, TextSocket};
use tokio::net::TcpListener;
use tokio_tungstenite::{accept_async, tungstenite::Message};
use url::Url;

use crate::support::soon;

#[tokio::test]
async fn texts_are_carried_both_ways_and_a_goodbye_is_heard() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("ws://{}/any?key=k", listener.local_addr().unwrap());
    let url: Url = url.parse().unwrap();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut peer = accept_async(stream).await.unwrap();
        let heard = peer.next().await.unwrap().unwrap();
        peer.send(Message::Ping("x".into())).await.unwrap();
        peer.send(Message::text("not json {")).await.unwrap();
        let mut rest = Vec::new();
        while let Some(Ok(message)) = peer.next().await {
            rest.push(message);
        }
        (heard, rest)
    });
    let mut socket = TextSocket::connect(&url).await.unwrap();
    socket.send("hello \u{e9}".to_owned()).await.unwrap();
    assert_eq!(soon("a text", socket.next()).await.unwrap(), "not json {");
    socket.close().await;
    let (heard, rest) = soon("the end", server).await.unwrap();
    assert_eq!(heard, Message::text("hello \u{e9}"));
    assert!(rest.iter().any(Message::is_close), "{rest:?}");
}

#[tokio::test]
async fn what_is_no_websocket_is_said() {
    for url in ["http://localhost:1", "mailto:a@b"] {
        let refused = TextSocket::connect(&url.parse().unwrap()).await;
        assert!(
            matches!(refused, Err(Error::Invalid { .. })),
            "{url}: {refused:?}"
        );
    }
    let closed = TextSocket::connect(&"ws://127.0.0.1:9".parse().unwrap()).await;
    assert!(matches!(closed, Err(Error::Lost { .. })), "{closed:?}");
}
