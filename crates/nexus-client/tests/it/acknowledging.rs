//! Durable streams: what is acknowledged arrives, and draining waits for it.

use std::time::Duration;

use nexus_client::{Error, Item, Start};
use serde_json::json;

use crate::support::*;

fn ack(seq: u64) -> serde_json::Value {
    json!({ "type": "ack", "id": "s", "position": position(seq) })
}

async fn acked(peer: &mut Peer, seq: u64) {
    let at = position(seq);
    peer.say(&format!(r#"{{"type":"acked","id":"s","position":"{at}"}}"#))
        .await;
}

#[tokio::test]
async fn acknowledgements_are_sent_until_they_are_confirmed() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let subscribe = client.subscribe([">"]).durable("billing");
    let mut stream = subscribe.from(Start::Earliest).open().unwrap();
    let mut peer = server.peer().await;
    let asked = peer.subscribed(0).await;
    assert_eq!(
        (&asked["cursor"], &asked["from"]),
        (&json!("billing"), &json!("earliest"))
    );
    peer.say_events(1..=5).await;
    assert_eq!(next_seqs(&mut stream, 5).await, [1, 2, 3, 4, 5]);
    stream.ack(position(1).parse().unwrap()).unwrap();
    assert_eq!(peer.heard().await, ack(1));
    // Of those that come while one is on its way, only the newest is sent.
    for seq in 2..=4 {
        stream.ack(position(seq).parse().unwrap()).unwrap();
    }
    acked(&mut peer, 1).await;
    assert_eq!(peer.heard().await, ack(4));
    assert_eq!(stream.acknowledged(), Some(position(1).parse().unwrap()));
    // What was not confirmed is sent again.
    peer.reset();
    let mut peer = server.peer().await;
    let asked = peer.subscribed(5).await;
    assert_eq!(
        (&asked["cursor"], &asked["from"]),
        (&json!("billing"), &json!(position(5)))
    );
    assert_eq!(peer.heard().await, ack(4));
    // The server may know better, which is no reason to ask again.
    acked(&mut peer, 5).await;
    peer.say_event(6).await;
    assert_eq!(next_seq(&mut stream).await, 6);
    stream.ack(position(6).parse().unwrap()).unwrap();
    assert_eq!(peer.heard().await, ack(6));
    acked(&mut peer, 6).await;
    // What was removed was here before: nothing is missing.
    peer.reset();
    let mut peer = server.peer().await;
    peer.heard().await;
    let at = position(3);
    peer.say(&format!(
        r#"{{"type":"subscribed","id":"s","sub":1,"recovered":false,"reason":"pruned","position":"{at}"}}"#
    ))
    .await;
    peer.say_events(4..=7).await;
    assert_eq!(next_seq(&mut stream).await, 7);
    peer.close(Some(4509)).await;
    let end = soon("the end", stream.next()).await;
    assert!(
        matches!(end, Some(Err(Error::Closed { code: 4509, .. }))),
        "{end:?}"
    );

    let other = client.subscribe([">"]).open().unwrap();
    let not_durable = other.ack(position(1).parse().unwrap());
    assert!(matches!(not_durable, Err(Error::Invalid { .. })));
}

#[tokio::test]
async fn what_was_acknowledged_of_a_log_that_is_no_more_is_not_said_to_the_next() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let mut stream = client.subscribe([">"]).durable("billing").open().unwrap();
    let mut peer = server.peer().await;
    peer.subscribed(0).await;
    peer.say_event(1).await;
    assert_eq!(next_seq(&mut stream).await, 1);
    stream.ack(position(1).parse().unwrap()).unwrap();
    assert_eq!(peer.heard().await, ack(1));
    peer.reset();
    // The log is restored before the answer comes.
    let mut peer = server.peer().await;
    peer.heard().await;
    peer.say(
        r#"{"type":"subscribed","id":"s","sub":1,"recovered":false,"reason":"epoch","position":"0000abcd-0"}"#,
    )
    .await;
    let gap = soon("the gap", stream.next()).await;
    assert!(matches!(gap, Some(Ok(Item::Gap { .. }))), "{gap:?}");
    let later: nexus_core::Position = "0000abcd-4".parse().unwrap();
    stream.ack(later).unwrap();
    let heard = peer.heard().await;
    assert_eq!(heard["position"], json!(later.to_string()));
}

#[tokio::test]
async fn draining_waits_for_the_event_in_hand_and_its_acknowledgement() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let mut stream = client.subscribe([">"]).durable("billing").open().unwrap();
    let mut peer = server.peer().await;
    peer.subscribed(0).await;
    peer.say_events(1..=3).await;
    assert_eq!(next_seq(&mut stream).await, 1);
    let draining = tokio::spawn({
        let client = client.clone();
        async move { client.drain().await }
    });
    while !matches!(client.subscribe([">"]).open(), Err(Error::Draining)) {
        tokio::task::yield_now().await;
    }
    // Nothing more is given, and the event that is in hand is waited for.
    assert!(soon("the end", stream.next()).await.is_none());
    assert!(!draining.is_finished());
    stream.ack(position(1).parse().unwrap()).unwrap();
    assert_eq!(peer.heard().await, ack(1));
    assert!(!draining.is_finished());
    acked(&mut peer, 1).await;
    soon("draining", draining).await.unwrap().unwrap();
    assert_eq!(peer.end().await, Some(1000));
}

/// A reader whose filter passes over much acknowledges how far it is, not which event it had last.
#[tokio::test]
async fn draining_is_content_with_what_is_acknowledged_beyond_the_last_event() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let mut stream = client.subscribe([">"]).durable("billing").open().unwrap();
    let mut peer = server.peer().await;
    peer.subscribed(0).await;
    peer.say_event(1).await;
    assert_eq!(next_seq(&mut stream).await, 1);
    stream.ack(position(5).parse().unwrap()).unwrap();
    assert_eq!(peer.heard().await, ack(5));
    acked(&mut peer, 5).await;
    soon("draining", client.drain()).await.unwrap();
    assert_eq!(peer.end().await, Some(1000));
}

#[tokio::test]
async fn a_dropped_stream_still_sends_its_last_acknowledgement() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let mut stream = client.subscribe([">"]).durable("billing").open().unwrap();
    let mut peer = server.peer().await;
    peer.subscribed(0).await;
    peer.say_events(1..=2).await;
    assert_eq!(next_seqs(&mut stream, 2).await, [1, 2]);
    stream.ack(position(1).parse().unwrap()).unwrap();
    drop(stream);
    assert_eq!(peer.heard().await, ack(1));
    // Also over a connection that has to be made for it.
    peer.reset();
    let mut peer = server.peer().await;
    peer.subscribed(2).await;
    assert_eq!(peer.heard().await, ack(1));
    acked(&mut peer, 1).await;
    assert_eq!(peer.end().await, Some(1000));
    soon("draining", client.drain()).await.unwrap();
}

#[tokio::test]
async fn draining_gives_up_what_nobody_confirms() {
    let server = Server::start().await;
    let client = server
        .client()
        .drain_timeout(Duration::from_millis(100))
        .build()
        .unwrap();
    let mut stream = client.subscribe([">"]).durable("billing").open().unwrap();
    let mut peer = server.peer().await;
    peer.subscribed(0).await;
    peer.say_event(1).await;
    assert_eq!(next_seq(&mut stream).await, 1);
    stream.ack(position(1).parse().unwrap()).unwrap();
    let drained = soon("draining", client.drain()).await;
    assert!(
        matches!(drained, Err(Error::TimedOut { .. })),
        "{drained:?}"
    );
    assert_eq!(peer.heard().await, ack(1));
}
