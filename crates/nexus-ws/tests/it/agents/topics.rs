//! What sessions subscribe to, and what they get.

use nexus_ws::WsOptions;
use serde_json::json;

use super::Bus;

#[tokio::test]
async fn an_event_has_the_members_of_the_contract() {
    let bus = Bus::start().await;
    let mut client = bus.subscribed("session-5", &["help.*"]).await;
    let payload = json!({ "task": "debug", "priority": "high" });
    let receipt = bus.say("session-1", "help.needed", &payload).await;
    let frame = client.next().await;
    let timestamp = nexus_core::iso8601(receipt.time_us);
    assert!(timestamp.ends_with('Z'));
    assert_eq!(
        frame,
        json!({
            "event_id": receipt.first_id, "event_type": "help.needed", "session_id": "session-1",
            "timestamp": timestamp, "payload": payload, "seq": receipt.first.get(),
            "position": receipt.position().to_string(),
        })
    );
}

#[tokio::test]
async fn who_asks_for_no_answer_gets_only_events() {
    let bus = Bus::start().await;
    let mut client = bus.connect("me").await;
    client
        .send(&json!({ "action": "subscribe", "topics": ["status.*"] }))
        .await;
    client
        .send(&json!({ "action": "publish", "event_type": "help.needed", "payload": { "task": "t" } }))
        .await;
    // Answered in their order, so that this is the last.
    client
        .ask(json!({ "action": "unsubscribe", "topics": ["help.*"] }))
        .await;
    bus.status("you").await;
    assert_eq!(client.types(1).await, ["status.update"]);
}

#[tokio::test]
async fn topics_are_a_set_and_an_event_comes_once() {
    let bus = Bus::start().await;
    let mut client = bus.subscribed("me", &["work.*", "work.claimed"]).await;
    let again = client.topics(&["WORK_CLAIMED", "work.*", "help.*"]).await;
    let topics = json!(["help.*", "work.*", "work.claimed"]);
    assert_eq!(again["payload"]["topics"], topics);
    bus.say("you", "work.claimed", &json!({ "work_id": "w" }))
        .await;
    bus.status("you").await;
    assert_eq!(client.types(1).await, ["work.claimed"]);
    let ended = client
        .ask(json!({ "action": "unsubscribe", "topics": ["work.*", "work.claimed"] }))
        .await;
    assert_eq!(ended["payload"]["topics"], json!(["help.*"]));
    bus.say("you", "work.claimed", &json!({ "work_id": "w" }))
        .await;
    bus.say("you", "help.needed", &json!({ "task": "t" })).await;
    assert_eq!(client.types(1).await, ["help.needed"]);
    bus.is_quiet("me", &mut [&mut client]).await;
}

#[tokio::test]
async fn what_was_before_a_subscription_is_not_sent() {
    let bus = Bus::start().await;
    let mut client = bus.connect("me").await;
    bus.status("you").await;
    client.topics(&["status.*"]).await;
    let next = bus.status("you").await;
    assert_eq!(client.seqs(1).await, [next.first.get()]);
}

#[tokio::test]
async fn people_are_told_who_comes_once_something_is_subscribed_to() {
    let bus = Bus::start().await;
    let mut silent = bus.connect("silent").await;
    let mut work = bus.subscribed("work", &["work.*"]).await;
    let mut all = bus.subscribed("all", &["*"]).await;
    bus.came("session-3").await;
    let told = work.next().await;
    assert_eq!(told["message"], "Session #3 connected");
    assert_eq!(told["payload"]["message"], "Session #3 connected");
    assert_eq!(
        (&told["event_type"], &told["session_id"]),
        (&json!("system.notification"), &json!("nexus"))
    );
    assert!(told["timestamp"].is_string());
    let expected = ["session.connected", "system.notification"];
    assert_eq!(all.types(2).await, expected);
    bus.is_quiet("silent", &mut [&mut silent]).await;
    work.ask(json!({ "action": "unsubscribe", "topics": ["work.*"] }))
        .await;
    bus.came("session-4").await;
    bus.is_quiet("work", &mut [&mut work]).await;
}

#[tokio::test]
async fn broadcast_is_what_is_said_to_all() {
    let bus = Bus::start().await;
    let mut client = bus.subscribed("me", &["broadcast"]).await;
    bus.status("you").await;
    bus.say("you", "message.broadcast", &json!({ "message": "hello" }))
        .await;
    bus.say(
        "you",
        "system.notification",
        &json!({ "message": "maintenance" }),
    )
    .await;
    let said = client.next().await;
    assert_eq!(said["payload"]["message"], "hello");
    let told = client.next().await;
    assert_eq!(told["event_type"], "system.notification");
    assert_eq!(told["message"], "maintenance");
    bus.is_quiet("me", &mut [&mut client]).await;
}

#[tokio::test]
async fn topics_that_are_none_and_too_many_change_nothing() {
    let options = WsOptions {
        patterns_max: 2,
        ..WsOptions::default()
    };
    let bus = Bus::with(options, Default::default()).await;
    let mut client = bus.subscribed("me", &["work.*"]).await;
    let subscribe = |topics: &[&str]| json!({ "action": "subscribe", "topics": topics });
    let unknown = client.code(subscribe(&["help.*", "no.such"])).await;
    assert_eq!(unknown, "invalid-event-type");
    let many = client.code(subscribe(&["help.*", "status.*"])).await;
    assert_eq!(many, "too-many");
    let same = client.topics(&["help.*", "work.*", "help.*"]).await;
    assert_eq!(same["payload"]["topics"], json!(["help.*", "work.*"]));
}

#[tokio::test]
async fn connections_with_the_same_topics_share_what_is_encoded() {
    const SESSIONS: usize = 20;
    let bus = Bus::start().await;
    let mut clients = Vec::new();
    for number in 0..SESSIONS {
        let topics = if number % 2 == 0 {
            ["work.*", "help.*"]
        } else {
            ["help.*", "work.*"]
        };
        let name = format!("session-{number}");
        clients.push(bus.subscribed(&name, &topics).await);
    }
    assert_eq!(bus.hub.edge.groups(), 1);
    let before = bus.hub.edge.encodings();
    bus.say("you", "help.needed", &json!({ "task": "t" })).await;
    for client in &mut clients {
        assert_eq!(client.types(1).await, ["help.needed"]);
    }
    assert_eq!(bus.hub.edge.encodings() - before, 1);
}

#[tokio::test]
async fn a_replay_sends_again_what_follows_a_position_once_and_in_order() {
    let bus = Bus::start().await;
    let mut seqs = Vec::new();
    let first = bus.status("you").await;
    for _ in 0..5 {
        seqs.push(bus.status("you").await.first.get());
        bus.say("you", "help.needed", &json!({ "task": "t" })).await;
    }
    let mut client = bus.subscribed("me", &["status.*"]).await;
    let replay = |from: &str| json!({ "action": "replay", "from": from });
    let position = first.position().to_string();
    let answer = client.ask(replay(&position)).await;
    assert_eq!(answer["status"], "replaying", "{answer}");
    assert_eq!(
        answer["payload"],
        json!({ "position": position, "recovered": true })
    );
    seqs.push(bus.status("you").await.first.get());
    assert_eq!(client.seqs(6).await, seqs);
    // Again, from a time and from the beginning.
    client.ask(replay("1970-01-01T00:00:00Z")).await;
    seqs.insert(0, first.first.get());
    assert_eq!(client.seqs(7).await, seqs);
    client.ask(replay("earliest")).await;
    assert_eq!(client.seqs(7).await, seqs);
    client.ask(replay("latest")).await;
    bus.is_quiet("me", &mut [&mut client]).await;
    let lost = client.ask(replay("00000001-3")).await;
    assert_eq!(lost["payload"]["reason"], "epoch", "{lost}");
}
