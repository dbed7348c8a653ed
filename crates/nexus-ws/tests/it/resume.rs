//! Where a reader begins, and that it gets each event once from there.

use std::collections::HashMap;

use nexus_core::{Command, LogOptions, NewEvent, Principal};
use nexus_ws::WsOptions;
use serde_json::json;

use crate::harness::{Hub, payment};

/// A small generator, so that a run can be repeated.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

const KINDS: [(&str, &str); 3] = [
    (
        "payment.received",
        r#"{"transactionId":"t","amount":1,"payerId":"p"}"#,
    ),
    ("mint.failed", r#"{"error":"gas"}"#),
    (
        "vote.cast",
        r#"{"proposalId":"1","voterId":"v","decision":"for"}"#,
    ),
];

/// Publishes events of random topics in batches of random sizes; gives the topic of each.
async fn publish_some(hub: &Hub, dice: &mut Dice, count: usize) -> Vec<&'static str> {
    let mut topics = Vec::new();
    while topics.len() < count {
        let size = 1 + dice.below(12);
        let mut events = Vec::new();
        for _ in 0..size {
            let (topic, payload) = KINDS[usize::try_from(dice.below(3)).unwrap()];
            let event_type = hub.log.catalogue().resolve(topic).unwrap().event_type;
            events.push(NewEvent::new(event_type, payload));
            topics.push(topic);
        }
        let command = Command {
            events,
            ..Command::default()
        };
        hub.log.submit(&Principal::nexus(), command).await.unwrap();
    }
    topics
}

/// Little of everything, so that every way of reading is taken.
async fn tight_hub() -> Hub {
    let options = WsOptions {
        segment_bytes_max: 700,
        segments_bytes_max: 6_000,
        page_bytes_max: 500,
        ..WsOptions::default()
    };
    let log_options = LogOptions {
        ring_events_max: 60,
        ..LogOptions::default()
    };
    Hub::with(options, log_options).await
}

#[tokio::test]
async fn a_reader_says_where_it_begins() {
    let hub = Hub::start().await;
    for number in 1..=5 {
        hub.pay(number).await;
    }
    let position = |seq| hub.log.position(nexus_core::Seq::new(seq)).to_string();
    let other = if position(1).starts_with("00000000") {
        "00000001-3"
    } else {
        "00000000-3"
    };
    let ahead = position(9);
    for (from, begins, reason) in [
        ("earliest", 0, None),
        ("latest", 5, None),
        (&*position(2), 2, None),
        (&*position(0), 0, None),
        (&*position(5), 5, None),
        (&*ahead, 5, Some("ahead")),
        (other, 5, Some("epoch")),
    ] {
        let mut client = hub.connect().await;
        let answer = client.subscribe_from(&["PAYMENT_RECEIVED"], from).await;
        let mut expected = json!({
            "status": "subscribed", "events": ["PAYMENT_RECEIVED"], "validEvents": ["PAYMENT_RECEIVED"],
            "recovered": reason.is_none(), "position": position(begins),
        });
        if let Some(reason) = reason {
            expected["reason"] = reason.into();
        }
        assert_eq!(answer, expected, "{from}");
        let missed: Vec<u64> = (begins + 1..=5).collect();
        assert_eq!(client.seqs(missed.len()).await, missed, "{from}");
    }
    // A position that is none leaves the connection as it was.
    let mut client = hub.connect().await;
    let answer = client.subscribe_from(&["PAYMENT_RECEIVED"], "7f3a").await;
    assert_eq!(answer["error"], "Invalid message format");
    let answer = client
        .subscribe_from(&["PAYMENT_RECEIVED"], &position(4))
        .await;
    assert_eq!(answer["recovered"], true);
    hub.pay(6).await;
    assert_eq!(client.seqs(2).await, [5, 6]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_comes_and_goes_gets_each_event_once_in_order() {
    let hub = tight_hub().await;
    let mut dice = Dice(7);
    let mut topics = publish_some(&hub, &mut dice, 300).await;
    for (subscribed, wanted) in [
        (
            &["*"][..],
            &["payment.received", "mint.failed", "vote.cast"][..],
        ),
        (
            &["VOTE_CAST", "payment.*"],
            &["payment.received", "vote.cast"],
        ),
        (&["MINT_FAILED"], &["mint.failed"]),
    ] {
        let mut position = "earliest".to_owned();
        let mut seen = Vec::new();
        loop {
            topics.extend(publish_some(&hub, &mut dice, 10).await);
            let count = topics.iter().filter(|topic| wanted.contains(topic)).count();
            if seen.len() >= 400.min(count) {
                break;
            }
            let mut client = hub.connect().await;
            assert_eq!(
                client.subscribe_from(subscribed, &position).await["recovered"],
                true
            );
            let left = count - seen.len();
            let some = 1 + usize::try_from(dice.below(60)).unwrap();
            for _ in 0..some.min(left) {
                let frame = client.next().await;
                seen.push(frame["seq"].as_u64().unwrap());
                position = frame["position"].as_str().unwrap().to_owned();
            }
        }
        let expected = (1..)
            .zip(&topics)
            .filter(|(_, topic)| wanted.contains(topic));
        let expected: Vec<u64> = expected.map(|(seq, _)| seq).take(seen.len()).collect();
        assert_eq!(seen, expected, "{subscribed:?}");
    }
    assert!(
        hub.edge.pages() > 0,
        "memory is small, so the store was read"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_that_are_added_with_a_start_are_caught_up_exactly() {
    for seed in 1..=12 {
        let hub = tight_hub().await;
        let mut dice = Dice(seed);
        let mut topics = publish_some(&hub, &mut dice, 100).await;
        let mut client = hub.connect().await;
        // Who subscribed what from where, as sequences; what is live begins at the head of that moment.
        let mut asked: Vec<(&str, u64)> = Vec::new();
        let mut seen: HashMap<u64, usize> = HashMap::new();
        for text in ["VOTE_CAST", "payment.*", "MINT_FAILED", "*"] {
            let from = dice.below(topics.len() as u64 + 1);
            let position = hub.log.position(nexus_core::Seq::new(from)).to_string();
            let message = json!({"action": "subscribe", "events": [text], "from": position});
            client.send(&message).await;
            asked.push((text, from));
            loop {
                let frame = client.next().await;
                match frame["seq"].as_u64() {
                    Some(seq) => *seen.entry(seq).or_default() += 1,
                    None => {
                        assert_eq!(frame["recovered"], true, "{frame}");
                        break;
                    }
                }
            }
            topics.extend(publish_some(&hub, &mut dice, 20).await);
        }
        let matches = |text: &str, topic: &str| match text {
            "*" => true,
            "payment.*" => topic == "payment.received",
            "VOTE_CAST" => topic == "vote.cast",
            _ => topic == "mint.failed",
        };
        let expected: Vec<u64> = (1..)
            .zip(&topics)
            .filter(|(seq, topic)| {
                asked
                    .iter()
                    .any(|(text, from)| seq > from && matches(text, topic))
            })
            .map(|(seq, _)| seq)
            .collect();
        while seen.values().sum::<usize>() < expected.len() {
            let seq = client.next().await["seq"].as_u64().unwrap();
            *seen.entry(seq).or_default() += 1;
        }
        let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "seed {seed}: {twice:?}");
        let mut seen: Vec<u64> = seen.into_keys().collect();
        seen.sort_unstable();
        assert_eq!(seen, expected, "seed {seed}");
    }
}

#[tokio::test]
async fn a_replay_uses_the_form_of_the_first_subscription() {
    let hub = Hub::start().await;
    hub.pay(1).await;
    let mut client = hub.connect().await;
    client.subscribe(&["FLOWPAY:PAYMENT_RECEIVED"]).await;
    client.subscribe_from(&["payment.*"], "earliest").await;
    assert_eq!(client.next().await["event"], "FLOWPAY:PAYMENT_RECEIVED");
    hub.publish("payment.failed", r#"{"orderId":"1"}"#).await;
    assert_eq!(client.next().await["event"], "payment.failed");
}

#[tokio::test]
async fn a_long_past_is_read_in_pages_and_met_by_the_present() {
    let log_options = LogOptions {
        ring_events_max: 10,
        ..LogOptions::default()
    };
    let hub = Hub::with(WsOptions::default(), log_options).await;
    for first in 0..20 {
        let event_type = hub
            .log
            .catalogue()
            .resolve("payment.received")
            .unwrap()
            .event_type;
        let events =
            (0..150).map(|number| NewEvent::new(event_type.clone(), payment(first * 150 + number)));
        let command = Command {
            events: events.collect(),
            ..Command::default()
        };
        hub.log.submit(&Principal::nexus(), command).await.unwrap();
    }
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = hub.connect().await;
        client
            .subscribe_from(&["PAYMENT_RECEIVED"], "earliest")
            .await;
        clients.push(client);
    }
    hub.pay(3_001).await;
    let expected: Vec<u64> = (1..=3_001).collect();
    for client in &mut clients {
        assert_eq!(client.seqs(3_001).await, expected);
    }
    assert!(hub.edge.pages() >= 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_unsubscribed_is_not_replayed_any_more() {
    const OLD: u64 = 3_000;
    let hub = Hub::start().await;
    let note = "x".repeat(4_000);
    for _ in 0..OLD {
        let payload = format!(r#"{{"error":"gas","note":"{note}"}}"#);
        hub.publish("mint.failed", &payload).await;
    }
    let mut client = hub.connect_small().await;
    client.subscribe(&["PAYMENT_RECEIVED"]).await;
    hub.pay(1).await;
    assert_eq!(client.seqs(1).await, [OLD + 1]);
    let from = json!({"action": "subscribe", "events": ["MINT_FAILED"], "from": "earliest"});
    client.send(&from).await;
    client
        .send(&json!({"action": "unsubscribe", "events": ["MINT_FAILED"]}))
        .await;
    assert_eq!(client.answer().await["status"], "subscribed");
    assert_eq!(client.answer().await["status"], "unsubscribed");
    hub.pay(2).await;
    // What was handed over before comes still; the rest of the replay does not.
    let mut replayed = 0;
    while client.next().await["event"] == "MINT_FAILED" {
        replayed += 1;
    }
    assert!(replayed < OLD / 10, "{replayed}");
}
