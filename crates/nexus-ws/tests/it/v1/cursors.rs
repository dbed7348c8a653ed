//! Durable cursors: acknowledged positions that the server keeps.

use std::time::Duration;

use futures_util::SinkExt;
use nexus_core::Source;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::position_of;
use crate::harness::{ADMIN_TOKEN, Client, Hub, NODE_SECRET, PATIENCE, until};

fn subscribe(from: Option<&str>) -> Value {
    let mut subscribe = json!({"id": "a", "patterns": ["payment.*"], "cursor": "orders"});
    if let Some(from) = from {
        subscribe["from"] = from.into();
    }
    subscribe
}

async fn acknowledge(client: &mut Client, hub: &Hub, seq: u64) -> Value {
    let position = hub.log.position(nexus_core::Seq::new(seq));
    client
        .send(&json!({"type": "ack", "id": "a", "position": position.to_string()}))
        .await;
    client.next_of(&["acked", "error"]).await
}

#[tokio::test]
async fn a_consumer_that_comes_back_goes_on_where_it_acknowledged() {
    let hub = Hub::start().await;
    for number in 1..=3 {
        hub.pay(number).await;
    }
    let mut client = hub.connect_v1().await;
    let answer = client.subscribe_with(subscribe(Some("earliest"))).await;
    assert_eq!(position_of(&answer).seq.get(), 0);
    assert_eq!(client.events_of(1, 3).await, [1, 2, 3]);
    let acked = acknowledge(&mut client, &hub, 2).await;
    let expected = hub.log.position(nexus_core::Seq::new(2)).to_string();
    assert_eq!(
        acked,
        json!({"type": "acked", "id": "a", "position": expected})
    );
    drop(client);
    hub.pay(4).await;
    let mut again = hub.connect_v1().await;
    let answer = again.subscribe_with(subscribe(Some("latest"))).await;
    assert_eq!(answer["recovered"], true);
    assert_eq!(
        position_of(&answer).seq.get(),
        2,
        "what is kept counts, not `from`"
    );
    assert_eq!(again.events_of(1, 2).await, [3, 4]);
}

#[tokio::test]
async fn a_new_cursor_is_kept_before_anything_is_acknowledged() {
    let hub = Hub::start().await;
    hub.pay(1).await;
    until("it is seen", || hub.log.head().seq.get() == 1).await;
    let mut client = hub.connect_v1().await;
    client.subscribe_with(subscribe(None)).await;
    drop(client);
    hub.pay(2).await;
    let mut again = hub.connect_v1().await;
    again.subscribe_with(subscribe(None)).await;
    assert_eq!(again.events_of(1, 1).await, [2], "it was not lost between");
}

#[tokio::test]
async fn what_is_not_in_the_log_cannot_be_acknowledged() {
    let hub = Hub::start().await;
    hub.pay(1).await;
    let mut client = hub.connect_v1().await;
    client.subscribe_with(subscribe(Some("earliest"))).await;
    client.events_of(1, 1).await;
    let error = acknowledge(&mut client, &hub, 9).await;
    assert_eq!(
        (&error["code"], &error["id"]),
        (&json!("unknown-position"), &json!("a"))
    );
    assert_eq!(acknowledge(&mut client, &hub, 1).await["type"], "acked");
    // Backwards changes nothing.
    assert_eq!(acknowledge(&mut client, &hub, 0).await["type"], "acked");
    let owner = owner(&hub).await;
    let kept = hub
        .log
        .durable_cursor(&owner, "orders")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.position.seq.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_connection_brought_can_be_acknowledged() {
    const EVENTS: u64 = 2_000;
    let hub = Hub::start().await;
    let mut client = hub.connect_v1().await;
    client.subscribe_with(subscribe(None)).await;
    let note = "x".repeat(1_000);
    for number in 1..=EVENTS {
        let payload =
            format!(r#"{{"note":"{note}","transactionId":"t{number}","amount":1,"payerId":"p"}}"#);
        hub.publish("payment.received", &payload).await;
    }
    let count = usize::try_from(EVENTS).unwrap();
    assert_eq!(client.events_of(1, count).await.len(), count);
    // The connection is lost before anything is acknowledged. The next one brings it all again, and has not
    // sent much of it when the client says that it has it.
    drop(client);
    let mut again = hub.open_v1(ADMIN_TOKEN, Some(4_096)).await;
    again.next_of(&["hello"]).await;
    let answer = again.subscribe_with(subscribe(None)).await;
    assert_eq!(position_of(&answer).seq.get(), 0);
    let acked = acknowledge(&mut again, &hub, EVENTS).await;
    assert_eq!(acked["type"], "acked", "{acked}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_with_the_last_words_is_kept() {
    let hub = Hub::start().await;
    let mut client = hub.connect_v1().await;
    client.subscribe_with(subscribe(None)).await;
    for number in 1..=20 {
        hub.pay(number).await;
    }
    assert_eq!(client.events_of(1, 20).await.len(), 20);
    for seq in 1..=20 {
        let position = hub.log.position(nexus_core::Seq::new(seq)).to_string();
        let ack = json!({"type": "ack", "id": "a", "position": position}).to_string();
        client.socket.feed(Message::text(ack)).await.unwrap();
    }
    // In one write with the close frame: nothing is waited for.
    client.socket.close(None).await.unwrap();
    let owner = owner(&hub).await;
    until("the connection is over", || hub.edge.connections() == 0).await;
    for _ in 0..PATIENCE.as_millis() {
        let kept = hub.log.durable_cursor(&owner, "orders").await.unwrap();
        if kept.unwrap().position.seq.get() == 20 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("the last acknowledgement was lost");
}

async fn owner(hub: &Hub) -> Source {
    let cursors = hub.log.durable_cursors().await.unwrap();
    cursors[0].owner.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_acknowledgements_the_last_is_kept() {
    let hub = Hub::start().await;
    let mut client = hub.connect_v1().await;
    client.subscribe_with(subscribe(None)).await;
    for number in 1..=200 {
        hub.pay(number).await;
    }
    assert_eq!(client.events_of(1, 200).await.len(), 200);
    for seq in 1..=200 {
        let position = hub.log.position(nexus_core::Seq::new(seq)).to_string();
        client
            .send(&json!({"type": "ack", "id": "a", "position": position}))
            .await;
    }
    let mut last = 0;
    while last < 200 {
        let acked = position_of(&client.next_of(&["acked"]).await).seq.get();
        assert!(acked > last);
        last = acked;
    }
    let kept = hub
        .log
        .durable_cursor(&owner(&hub).await, "orders")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.position.seq.get(), 200);
}

#[tokio::test]
async fn the_second_consumer_of_a_cursor_takes_it_over() {
    let hub = Hub::start().await;
    let mut first = hub.connect_v1().await;
    first.subscribe_with(subscribe(None)).await;
    let mut elsewhere = hub.connect_v1_as(NODE_SECRET).await;
    elsewhere.subscribe_with(subscribe(None)).await;
    let refused = first
        .subscribe_with(json!({"id": "b", "patterns": [">"], "cursor": "orders"}))
        .await;
    assert_eq!(refused["code"], "conflict", "not twice in one connection");
    let mut second = hub.connect_v1_as(ADMIN_TOKEN).await;
    second.subscribe_with(subscribe(None)).await;
    let (frame, _) = first.closed().await;
    assert_eq!(u16::from(frame.code), 4509);
    hub.pay(1).await;
    assert_eq!(second.events_of(1, 1).await, [1]);
    assert_eq!(
        elsewhere.events_of(1, 1).await,
        [1],
        "another owner's is another"
    );
    // What is given up can be taken without closing anybody.
    second
        .send(&json!({"type": "unsubscribe", "id": "a"}))
        .await;
    second.next_of(&["unsubscribed"]).await;
    let mut third = hub.connect_v1().await;
    third.subscribe_with(subscribe(None)).await;
    second.send(&json!({"type": "ping"})).await;
    assert_eq!(second.next().await["type"], "pong");
}
