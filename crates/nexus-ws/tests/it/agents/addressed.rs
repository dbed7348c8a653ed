//! What is for one session alone.

use nexus_core::Seq;
use serde_json::json;

use super::Bus;
use crate::harness::until;

#[tokio::test]
async fn a_message_reaches_only_whom_it_is_to() {
    let bus = Bus::start().await;
    let mut to = bus.connect("to").await;
    let mut to_again = bus.subscribed("to", &["message.*"]).await;
    let mut other = bus.subscribed("other", &["*"]).await;
    let mut from = bus.subscribed("from", &["*"]).await;
    let mut echoing = bus.connect("from").await;
    echoing
        .ask(json!({ "action": "subscribe", "topics": ["message.*"], "echo": true }))
        .await;
    bus.message("from", "to", "a secret").await;
    for client in [&mut to, &mut to_again, &mut echoing] {
        let frame = client.next().await;
        assert_eq!(frame["payload"]["message"], "a secret");
        assert_eq!(frame["session_id"], "from");
    }
    bus.is_quiet("to", &mut [&mut to, &mut to_again]).await;
    bus.is_quiet("other", &mut [&mut other]).await;
    bus.is_quiet("from", &mut [&mut from, &mut echoing]).await;
    // A replay tells each no more than the first time.
    for (client, first) in [(&mut other, "quiet"), (&mut to, "a secret")] {
        client
            .ask(json!({ "action": "replay", "from": "earliest" }))
            .await;
        assert_eq!(client.next().await["payload"]["message"], first);
    }
}

#[tokio::test]
async fn a_message_wakes_nobody_else() {
    let bus = Bus::start().await;
    let mut to = bus.connect("to").await;
    let mut others = Vec::new();
    for number in 0..10 {
        others.push(bus.connect(&format!("other-{number}")).await);
    }
    assert_eq!(bus.hub.edge.groups(), 1, "all of them share");
    for number in 0..3 {
        bus.message("from", "to", &number.to_string()).await;
        let frame = to.next().await;
        assert_eq!(frame["payload"]["message"], number.to_string());
    }
    for (number, other) in others.iter_mut().enumerate() {
        bus.is_quiet(&format!("other-{number}"), &mut [other]).await;
    }
}

#[tokio::test]
async fn messages_are_kept_for_a_session_that_is_away() {
    let bus = Bus::start().await;
    bus.message("from", "to", "before it was ever here").await;
    bus.message("from", "other", "for another").await;
    let mut to = bus.connect("to").await;
    let first = to.next().await;
    assert_eq!(first["payload"]["message"], "before it was ever here");
    let live = bus.message("from", "to", "while it is here").await;
    assert_eq!(to.seqs(1).await, [live.first.get()]);
    // It answers pings, and so it is known what it received.
    let received = async {
        until("the messages are received", || {
            bus.sessions.received("to") >= live.first
        })
        .await;
    };
    tokio::select! {
        () = received => {}
        frame = to.next() => panic!("{frame}"),
    }
    drop(to);
    let kept = bus.message("from", "to", "while it is away").await;
    bus.status("from").await;
    let mut back = bus.connect("to").await;
    assert_eq!(back.seqs(1).await, [kept.first.get()]);
    bus.is_quiet("to", &mut [&mut back]).await;
}

#[tokio::test]
async fn a_message_that_was_not_received_comes_again() {
    let bus = Bus::start().await;
    let message = bus.message("from", "to", "hello").await;
    for _ in 0..2 {
        // It reads no further, and so answers no ping.
        let mut client = bus.connect("to").await;
        assert_eq!(client.seqs(1).await, [message.first.get()]);
    }
    assert_eq!(bus.sessions.received("to"), Seq::ZERO);
}

#[tokio::test]
async fn help_is_offered_to_whom_it_is_offered() {
    let bus = Bus::start().await;
    let offer = |to: &str| json!({ "to": to, "from": "you", "request": { "task": "t" } });
    bus.say("you", "help.offered", &offer("best")).await;
    let mut best = bus.connect("best").await;
    let mut other = bus.subscribed("other", &["help.*", "help.offered"]).await;
    bus.is_quiet("best", &mut [&mut best]).await;
    let offered = bus.say("you", "help.offered", &offer("best")).await;
    assert_eq!(best.seqs(1).await, [offered.first.get()]);
    bus.is_quiet("other", &mut [&mut other]).await;
}
