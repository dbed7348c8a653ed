//! What sessions say and do.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use futures_util::SinkExt;
use nexus_ws::WsOptions;

use super::{Bus, coordinator::HELD};

fn status() -> Value {
    json!({ "action": "publish", "event_type": "status.update", "payload": { "status": "idle" } })
}

#[tokio::test]
async fn what_a_connection_says_comes_to_all_others() {
    let bus = Bus::start().await;
    let mut me = bus.subscribed("me", &["status.*", "work.*"]).await;
    let mut me_elsewhere = bus.subscribed("me", &["status.*"]).await;
    let mut other = bus.subscribed("other", &["status.*"]).await;
    let answer = me.ask(status()).await;
    assert_eq!(answer["event_type"], "system.ack");
    assert_eq!(
        (&answer["status"], &answer["session_id"]),
        (&json!("published"), &json!("nexus"))
    );
    assert!(answer["timestamp"].is_string());
    let seq = answer["payload"]["seq"].as_u64().unwrap();
    assert_eq!(me_elsewhere.seqs(1).await, [seq]);
    assert_eq!(other.seqs(1).await, [seq]);
    // Said by its session elsewhere, and what is told of its work, it gets.
    let elsewhere = bus.status("me").await;
    assert_eq!(me.seqs(1).await, [elsewhere.first.get()]);
    me.send(&json!({ "action": "claim", "work_id": "w" })).await;
    assert_eq!(me.types(1).await, ["work.claimed"]);
    let claimed = json!({ "action": "publish", "event_type": "work.claimed", "payload": { "work_item": "v" } });
    me.send(&claimed).await;
    assert_eq!(me.next().await["payload"]["work_item"], "v");
    bus.is_quiet("me", &mut [&mut me]).await;
}

#[tokio::test]
async fn an_echo_is_sent_to_who_asks_for_it() {
    let bus = Bus::start().await;
    let mut me = bus.connect("me").await;
    me.ask(json!({ "action": "subscribe", "topics": ["status.*"], "echo": true }))
        .await;
    me.send(&status()).await;
    assert_eq!(me.types(1).await, ["status.update"]);
    me.topics(&["status.*"]).await;
    me.ask(status()).await;
    bus.is_quiet("me", &mut [&mut me]).await;
}

/// However the answers to what is said and the events of it come, none of a connection's own is sent back, and
/// each of the others' is, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_say_much_each_get_the_words_of_all_others() {
    const EACH: usize = 100;
    let bus = Bus::start().await;
    let mut clients = Vec::new();
    for name in ["a", "b", "a", "c"] {
        clients.push(bus.subscribed(name, &["message.*"]).await);
    }
    let talking = clients.into_iter().enumerate().map(|(place, mut client)| {
        tokio::spawn(async move {
            let mut heard = [0; 4];
            let mut last = 0;
            for number in 0..EACH {
                let payload = json!({ "message": number.to_string(), "subject": place.to_string() });
                let say = json!({ "action": "publish", "event_type": "message.broadcast", "payload": payload });
                client.send(&say).await;
            }
            while heard.iter().sum::<usize>() < 3 * EACH {
                let frame = client.next().await;
                let seq = frame["seq"].as_u64().unwrap_or_else(|| panic!("{frame}"));
                assert!(seq > last, "{seq} after {last}");
                last = seq;
                let of: usize = frame["payload"]["subject"].as_str().unwrap().parse().unwrap();
                assert_eq!(frame["payload"]["message"], heard[of].to_string());
                heard[of] += 1;
            }
            assert_eq!(heard[place], 0);
        })
    });
    for talked in talking.collect::<Vec<_>>() {
        talked.await.unwrap();
    }
}

#[tokio::test]
async fn work_is_answered_by_what_came_of_it() {
    let bus = Bus::start().await;
    let mut me = bus.connect("me").await;
    for (action, status) in [
        ("claim", "claimed"),
        ("renew", "renewed"),
        ("release", "released"),
        ("complete", "completed"),
    ] {
        let answer = me.ask(json!({ "action": action, "work_id": "w" })).await;
        assert_eq!(answer["status"], status);
        assert_eq!(answer["payload"]["work_id"], "w");
    }
    let refused = me.ask(json!({ "action": "claim", "work_id": HELD })).await;
    assert_eq!(refused["event_type"], "system.error");
    for told in [&refused, &refused["payload"]] {
        assert_eq!(
            (&told["code"], &told["claimed_by"]),
            (&json!("work-held"), &json!("other"))
        );
        assert!(told["message"].is_string());
    }
    // Also who wants no answers is told what is refused.
    me.send(&json!({ "action": "claim", "work_id": HELD }))
        .await;
    let refused = me.next().await;
    assert_eq!(
        (&refused["code"], refused.get("ref")),
        (&json!("work-held"), None)
    );
}

#[tokio::test]
async fn what_is_wrong_is_told_and_the_connection_stays() {
    let options = WsOptions {
        session_message_bytes_max: 1_000,
        ..WsOptions::default()
    };
    let bus = Bus::with(options, Default::default()).await;
    let mut me = bus.connect("me").await;
    for (text, code) in [
        ("{", "malformed-json"),
        ("[{\"action\":\"publish\"}]", "malformed-json"),
        ("\"subscribe\"", "malformed-json"),
        (
            r#"{"action":"subscribe","action":"publish"}"#,
            "malformed-json",
        ),
        (&"x".repeat(1_001), "too-large"),
    ] {
        me.send_text(text).await;
        let refused = me.next().await;
        assert_eq!(
            (&refused["event_type"], &refused["code"]),
            (&json!("system.error"), &json!(code))
        );
        assert_eq!(refused["session_id"], "nexus");
    }
    me.socket.send(Message::binary(vec![1])).await.unwrap();
    assert_eq!(me.next().await["code"], "malformed-json");
    let publish = |event_type: &str, payload: Value| json!({ "action": "publish", "event_type": event_type, "payload": payload });
    for (frame, code) in [
        (json!({ "action": "dance" }), "invalid-request"),
        (json!({ "action": "publish" }), "invalid-request"),
        (publish("no.such", json!({})), "invalid-event-type"),
        (publish("status.update", json!({})), "invalid-payload"),
        (publish("status.update", json!([])), "invalid-payload"),
        (publish("session.connected", json!({})), "not-permitted"),
        (publish("system.notification", json!({})), "not-permitted"),
    ] {
        assert_eq!(me.code(frame.clone()).await, code, "{frame}");
    }
    let mut as_another = status();
    as_another["session_id"] = json!("you");
    assert_eq!(me.code(as_another.clone()).await, "not-permitted");
    as_another["session_id"] = json!("me");
    let answer = me.ask(as_another).await;
    assert_eq!(answer["status"], "published");
}
