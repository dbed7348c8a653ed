//! Publishing over a WebSocket: many under way, each stored once.

use std::time::Duration;

use nexus_client::{Error, Pending, Publish, Publisher};
use nexus_core::{Coded, Kind};
use serde_json::{Value, json};

use crate::support::*;

async fn send(publisher: &Publisher, n: u64) -> Pending {
    let event = Publish::new("order.paid", &json!({ "n": n }));
    soon("room in the window", publisher.send(event))
        .await
        .unwrap()
}

async fn published(peer: &mut Peer, asked: &Value, seq: u64) {
    let (reference, at) = (&asked["ref"], position(seq));
    peer.say(&format!(
        r#"{{"type":"published","ref":{reference},"position":"{at}","id":null}}"#
    ))
    .await;
}

#[tokio::test]
async fn many_are_under_way_and_what_was_not_answered_is_sent_again_in_order() {
    let server = Server::start().await;
    let client = server.client().window(4).build().unwrap();
    let publisher = client.publisher();
    let mut pending = Vec::new();
    for n in 1..=4 {
        pending.push(send(&publisher, n).await);
    }
    let mut peer = server.peer().await;
    let mut asked = Vec::new();
    for n in 1..=4 {
        let frame = peer.heard().await;
        assert_eq!(
            (&frame["type"], &frame["topic"]),
            (&json!("publish"), &json!("order.paid"))
        );
        assert_eq!(frame["payload"]["n"], n);
        asked.push(frame);
    }
    // The window is full: the fifth waits.
    let fifth = tokio::spawn({
        let publisher = publisher.clone();
        async move {
            let pending = send(&publisher, 5).await;
            Some(pending)
        }
    });
    // Answers may come in any order.
    published(&mut peer, &asked[1], 2).await;
    let second = soon("an answer", pending.remove(1)).await.unwrap();
    assert_eq!(second.position.to_string(), position(2));
    pending.extend(soon("the fifth", fifth).await.unwrap());
    assert_eq!(peer.heard().await["payload"]["n"], 5);
    peer.reset();

    let mut peer = server.peer().await;
    for n in [1, 3, 4, 5] {
        let again = peer.heard().await;
        assert_eq!(again["payload"]["n"], n);
        if n < 5 {
            let first = &asked[n as usize - 1];
            assert_eq!(again["idempotency_key"], first["idempotency_key"]);
        }
        published(&mut peer, &again, n).await;
    }
    for (pending, seq) in pending.into_iter().zip([1, 3, 4, 5]) {
        assert_eq!(
            soon("an answer", pending)
                .await
                .unwrap()
                .position
                .to_string(),
            position(seq)
        );
    }
}

#[tokio::test]
async fn what_is_refused_is_told_and_what_fails_for_the_moment_is_sent_again() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let publisher = client.publisher();
    let (bad, good) = (send(&publisher, 1).await, send(&publisher, 2).await);
    let mut peer = server.peer().await;
    let (first, second) = (peer.heard().await, peer.heard().await);
    let error = |asked: &Value, rest: &str| {
        let reference = &asked["ref"];
        format!(r#"{{"type":"error","ref":{reference},"message":"said",{rest}}}"#)
    };
    peer.say(&error(
        &first,
        r#""code":"invalid-payload","errors":[{"pointer":"/payload"}]"#,
    ))
    .await;
    let refused = soon("an answer", bad).await;
    let Err(Error::Refused(refusal)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(refusal.details["errors"][0]["pointer"], "/payload");
    peer.say(&error(&second, r#""code":"storage-full","retry_after":0"#))
        .await;
    let mut peer = server.peer().await;
    let again = peer.heard().await;
    assert_eq!(again["idempotency_key"], second["idempotency_key"]);
    published(&mut peer, &again, 2).await;
    soon("an answer", good).await.unwrap();

    let condition = Publish::raw("order.paid", "{}").expected_last_sequence(1);
    assert!(matches!(
        publisher.send(condition).await,
        Err(Error::Invalid { .. })
    ));
    // A connection that is refused for good: what was sent may be stored, what was not is not.
    let sent = send(&publisher, 3).await;
    peer.heard().await;
    peer.reset();
    server.request().await.answer(401, "", "").await;
    assert_eq!(
        soon("an answer", sent).await.unwrap_err().kind(),
        Kind::Unknown
    );
    let unsent = send(&publisher, 4).await;
    server.request().await.answer(401, "", "").await;
    assert_eq!(
        soon("an answer", unsent).await.unwrap_err().kind(),
        Kind::Unauthenticated
    );
    // Another token may have more luck.
    let with_luck = send(&publisher, 5).await;
    let mut peer = server.peer().await;
    let asked = peer.heard().await;
    published(&mut peer, &asked, 5).await;
    soon("an answer", with_luck).await.unwrap();
}

#[tokio::test]
async fn what_nobody_answers_in_time_is_given_up() {
    let server = Server::start().await;
    let within = |time| {
        let client = server.client().request_timeouts(time, time);
        client.build().unwrap()
    };
    // Long enough that it is sent, also on a machine that stands still meanwhile.
    let client = within(Duration::from_secs(2));
    let publisher = client.publisher();
    let pending = send(&publisher, 1).await;
    let mut peer = server.peer().await;
    let asked = peer.heard().await;
    let error = soon("the end of its time", pending).await.unwrap_err();
    let key = asked["idempotency_key"].as_str().unwrap();
    assert!(
        matches!(&error, Error::Unknown { idempotency_key, .. } if idempotency_key == key),
        "{error:?}"
    );
    // Nobody listens: what was never sent is not stored.
    let client = within(Duration::from_millis(100));
    drop((peer, server));
    let pending = send(&client.publisher(), 2).await;
    let error = soon("the end of its time", pending).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
}

#[tokio::test]
async fn draining_waits_for_every_answer() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let publisher = client.publisher();
    let (one, two) = (send(&publisher, 1).await, send(&publisher, 2).await);
    let mut peer = server.peer().await;
    let (first, second) = (peer.heard().await, peer.heard().await);
    let draining = tokio::spawn({
        let client = client.clone();
        async move { client.drain().await }
    });
    published(&mut peer, &first, 1).await;
    soon("an answer", one).await.unwrap();
    assert!(!draining.is_finished());
    published(&mut peer, &second, 2).await;
    soon("an answer", two).await.unwrap();
    soon("the end of draining", draining)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(peer.end().await, Some(1000));
    let late = publisher.send(Publish::raw("order.paid", "{}")).await;
    assert!(matches!(late, Err(Error::Draining)));
}

#[tokio::test]
async fn a_publisher_that_is_dropped_finishes_what_it_was_given() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let publisher = client.publisher();
    let pending = send(&publisher, 1).await;
    drop(publisher);
    let mut peer = server.peer().await;
    let asked = peer.heard().await;
    published(&mut peer, &asked, 1).await;
    soon("an answer", pending).await.unwrap();
    assert_eq!(peer.end().await, Some(1000));
}
