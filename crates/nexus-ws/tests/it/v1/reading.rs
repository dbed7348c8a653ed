//! How subscriptions read: each once, in order, from where they say.

use nexus_core::{Epoch, LogOptions, Position, Seq};
use nexus_ws::WsOptions;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::position_of;
use crate::harness::{Hub, MINT_TOKEN, auth_options, until};

#[tokio::test]
async fn a_subscription_goes_on_where_it_was() {
    let hub = Hub::start().await;
    for number in 1..=10 {
        hub.pay(number).await;
    }
    let epoch = hub.log.head().epoch;
    let mut client = hub.connect_v1().await;
    for (id, from, first) in [
        ("a", "earliest".to_owned(), 1),
        ("b", format!("{epoch}-4"), 5),
        ("c", format!("{epoch}-9"), 10),
    ] {
        let answer = client
            .subscribe_with(json!({"id": id, "patterns": ["payment.*"], "from": from}))
            .await;
        assert_eq!(answer["recovered"], true);
        assert_eq!(position_of(&answer).seq.get(), first - 1);
        let sub = answer["sub"].as_u64().unwrap();
        let expected: Vec<u64> = (first..=10).collect();
        assert_eq!(client.events_of(sub, expected.len()).await, expected);
    }
}

#[tokio::test]
async fn a_place_that_is_not_there_is_said_with_the_reason() {
    let hub = Hub::start().await;
    for number in 1..=10 {
        hub.pay(number).await;
    }
    until("they are seen", || hub.log.head().seq.get() == 10).await;
    let pruned = hub.log.prune(Seq::new(4)).await.unwrap();
    assert!(pruned > Seq::ZERO);
    let here = hub.log.head().epoch;
    let position = |epoch, seq| Position {
        epoch,
        seq: Seq::new(seq),
    };
    let mut client = hub.connect_v1().await;
    for (from, reason, begins) in [
        (position(Epoch::new(here.get() ^ 1), 3), "epoch", 10),
        (position(here, 0), "pruned", pruned.get()),
        (position(here, 77), "ahead", 10),
    ] {
        let answer = client
            .subscribe_with(json!({"id": reason, "patterns": [">"], "from": from.to_string()}))
            .await;
        assert_eq!(answer["recovered"], false, "{answer}");
        assert_eq!(answer["reason"], reason);
        assert_eq!(position_of(&answer), position(here, begins));
    }
}

#[tokio::test]
async fn a_filter_chooses_among_the_events_of_a_pattern() {
    let hub = Hub::start().await;
    let mut client = hub.connect_v1().await;
    let subscribe = json!({"id": "a", "patterns": ["payment.*"], "filter": "payload.amount > 7 || payload.amount == 2"});
    client.subscribe_with(subscribe).await;
    for number in 1..=9 {
        hub.pay(number).await;
    }
    assert_eq!(client.events_of(1, 3).await, [2, 8, 9]);
}

#[tokio::test]
async fn subscriptions_are_numbered_and_written_each_in_its_order() {
    let hub = Hub::start().await;
    let mut client = hub.connect_v1().await;
    for (id, patterns, sub) in [
        ("x", "payment.*", 1),
        ("y", ">", 2),
        ("z", "mint.failed", 3),
    ] {
        let answer = client.subscribe_v1(id, &[patterns]).await;
        assert_eq!(answer["sub"], sub);
    }
    for number in 1..=20 {
        hub.pay(number).await;
        hub.publish("mint.failed", r#"{"error":"gas"}"#).await;
    }
    let mut seen = [(); 4].map(|()| Vec::new());
    while seen.iter().map(Vec::len).sum::<usize>() < 80 {
        let frame = client.next_of(&["event"]).await;
        let sub = usize::try_from(frame["sub"].as_u64().unwrap()).unwrap();
        seen[sub].push(frame["seq"].as_u64().unwrap());
    }
    let odd: Vec<u64> = (1..=40).step_by(2).collect();
    let even: Vec<u64> = (2..=40).step_by(2).collect();
    assert_eq!(seen, [vec![], odd, (1..=40).collect(), even]);
}

#[tokio::test]
async fn one_that_has_much_to_read_does_not_hold_up_another() {
    let hub = Hub::start().await;
    let note = "x".repeat(2_000);
    for number in 1..=400 {
        let payload =
            format!(r#"{{"note":"{note}","transactionId":"t{number}","amount":1,"payerId":"p"}}"#);
        hub.publish("payment.received", &payload).await;
    }
    hub.publish("mint.failed", r#"{"error":"gas"}"#).await;
    let mut client = hub.connect_v1().await;
    client
        .subscribe_with(json!({"id": "much", "patterns": ["payment.*"], "from": "earliest"}))
        .await;
    client
        .subscribe_with(json!({"id": "little", "patterns": ["mint.*"], "from": "earliest"}))
        .await;
    let mut much = 0;
    loop {
        let frame = client.next_of(&["event"]).await;
        if frame["sub"] == 2 {
            break;
        }
        much += 1;
    }
    assert!(much < 400, "it was not last");
}

#[tokio::test]
async fn a_batch_is_one_message_and_holds_each_event_once() {
    let hub = Hub::start().await;
    let mut client = hub.connect_v1().await;
    let subscribe =
        json!({"id": "a", "patterns": ["payment.*"], "batch": true, "from": "earliest"});
    for number in 1..=300 {
        hub.pay(number).await;
    }
    client.subscribe_with(subscribe).await;
    let mut seqs = Vec::new();
    let mut messages = 0;
    while seqs.len() < 300 {
        let message = client.next().await;
        let Value::Array(frames) = message else {
            panic!("{message}");
        };
        messages += 1;
        for frame in frames {
            assert_eq!(
                (&frame["type"], &frame["sub"]),
                (&json!("event"), &json!(1))
            );
            seqs.push(frame["seq"].as_u64().unwrap());
        }
    }
    assert_eq!(seqs, (1..=300).collect::<Vec<u64>>());
    assert!(messages < 20, "{messages}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_with_equal_subscriptions_get_the_same_bytes() {
    let hub = Hub::start().await;
    let mut clients = Vec::new();
    for number in 0..10 {
        let mut client = hub.connect_v1().await;
        let patterns = if number % 2 == 0 {
            ["payment.*", "mint.*"]
        } else {
            ["mint.*", "payment.*"]
        };
        client.subscribe_v1("any", &patterns).await;
        clients.push(client);
    }
    assert_eq!(
        hub.edge.groups(),
        1,
        "the order of patterns does not matter"
    );
    hub.pay(1).await;
    let mut texts = Vec::new();
    for client in &mut clients {
        match client.message().await {
            Message::Text(text) => texts.push(text),
            other => panic!("{other:?}"),
        }
    }
    texts.dedup();
    assert_eq!((texts.len(), hub.edge.encodings()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_subscription_follows_the_answer_to_its_end() {
    let hub = Hub::start().await;
    for batch in [false, true] {
        let mut client = hub.connect_v1().await;
        client
            .subscribe_with(json!({"id": "goes", "patterns": ["payment.*"], "batch": batch}))
            .await;
        client.subscribe_v1("stays", &["payment.*"]).await;
        let log = hub.log.clone();
        let principal = nexus_core::Principal::nexus();
        let publishing = tokio::spawn(async move {
            for number in 0..400 {
                let known = log
                    .catalogue()
                    .resolve("payment.received")
                    .unwrap()
                    .event_type;
                let event = nexus_core::NewEvent::new(known, crate::harness::payment(number));
                log.dispatch(&principal, event).await.unwrap();
            }
        });
        let mut seen = Vec::new();
        seen.push(client.next_of(&["event"]).await);
        client
            .send(&json!({"type": "unsubscribe", "id": "goes"}))
            .await;
        loop {
            let frame = client.next().await;
            if frame["type"] == "unsubscribed" {
                assert_eq!(frame, json!({"type": "unsubscribed", "id": "goes"}));
                break;
            }
            seen.push(frame);
        }
        publishing.await.unwrap();
        let last = hub.log.stored().seq.get();
        seen.retain(|frame| frame["sub"] == 2);
        while seen.last().is_none_or(|frame| frame["seq"] != last) {
            let frame = client.next_of(&["event"]).await;
            assert_eq!(frame["sub"], 2, "{frame}");
            seen.push(frame);
        }
        let seqs: Vec<u64> = seen
            .iter()
            .map(|frame| frame["seq"].as_u64().unwrap())
            .collect();
        assert_eq!(seqs, (last - 399..=last).collect::<Vec<u64>>());
    }
}

#[tokio::test]
async fn each_subscription_is_within_the_rights_of_its_reader() {
    let hub = Hub::start().await;
    let mut client = hub.connect_v1_as(MINT_TOKEN).await;
    let refused = client.subscribe_v1("a", &["payment.received"]).await;
    assert_eq!(refused["code"], "not-permitted");
    client.subscribe_v1("b", &[">"]).await;
    hub.pay(1).await;
    hub.publish("mint.failed", r#"{"error":"gas"}"#).await;
    assert_eq!(client.events_of(1, 1).await, [2]);

    let mut options = auth_options();
    options.tokens[2].read = Some(vec!["payment.*".into()]);
    hub.auth.replace(&options, &hub.log.catalogue()).unwrap();
    // From some moment on it reads payments and no mints.
    let mut payments = 0;
    let mut number = 2;
    while payments < 3 {
        hub.publish("mint.failed", r#"{"error":"gas"}"#).await;
        hub.pay(number).await;
        number += 1;
        let frame = client.next_of(&["event"]).await;
        if frame["topic"] == "payment.received" {
            payments += 1;
        } else {
            assert_eq!(payments, 0, "mints came after payments");
        }
    }
}

#[tokio::test]
async fn private_events_reach_only_those_they_concern() {
    let hub = Hub::start().await;
    let mut operator = hub.connect_v1().await;
    operator.subscribe_v1("a", &[">"]).await;
    let mut other = hub.connect_v1_as(crate::harness::STREAM_TOKEN).await;
    other.subscribe_v1("a", &[">"]).await;
    hub.publish("message.direct", r#"{"to":"two","message":"x"}"#)
        .await;
    hub.pay(2).await;
    assert_eq!(operator.events_of(1, 2).await, [1, 2]);
    assert_eq!(other.events_of(1, 1).await, [2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_far_behind_reads_from_the_store_and_meets_its_group() {
    let log_options = LogOptions {
        ring_events_max: 50,
        ..LogOptions::default()
    };
    let hub = Hub::with(WsOptions::default(), log_options).await;
    for number in 1..=900 {
        hub.pay(number).await;
    }
    let mut client = hub.connect_v1().await;
    let from = |id: &str, batch: bool| json!({"id": id, "patterns": [">"], "from": "earliest", "batch": batch});
    client.subscribe_with(from("a", false)).await;
    assert_eq!(
        client.events_of(1, 900).await,
        (1..=900).collect::<Vec<u64>>()
    );
    client
        .send(&json!({"type": "unsubscribe", "id": "a"}))
        .await;
    client.next_of(&["unsubscribed"]).await;
    client.subscribe_with(from("b", true)).await;
    for number in 901..=950 {
        hub.pay(number).await;
    }
    assert_eq!(
        client.events_of(2, 950).await,
        (1..=950).collect::<Vec<u64>>()
    );
    assert!(hub.edge.pages() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_groups_come_and_go_while_events_are_published() {
    let hub = Hub::start().await;
    let mut clients = Vec::new();
    for number in 0..10 {
        let mut client = hub.connect_v1().await;
        for filter in 0..100 {
            let least = number * 100 + filter;
            let text = format!("payload.amount > {least}");
            let subscribe =
                json!({"id": format!("f{filter}"), "patterns": ["payment.*"], "filter": text});
            client.subscribe_with(subscribe).await;
        }
        clients.push(client);
    }
    assert_eq!(hub.edge.groups(), 1_000);
    // Only those whose bound is below 250 want it.
    hub.pay(250).await;
    for (number, client) in clients.iter_mut().enumerate() {
        let wanted = 250_usize.saturating_sub(number * 100).min(100);
        let mut subs = Vec::new();
        for _ in 0..wanted {
            subs.push(client.next_of(&["event"]).await["sub"].as_u64().unwrap());
        }
        subs.sort_unstable();
        assert_eq!(subs, (1..=wanted as u64).collect::<Vec<u64>>());
    }
    for client in &mut clients {
        for filter in 0..50 {
            let id = format!("f{filter}");
            client.send(&json!({"type": "unsubscribe", "id": id})).await;
            client.next_of(&["unsubscribed"]).await;
        }
    }
    assert_eq!(hub.edge.groups(), 500);
    drop(clients);
    until("all have left", || hub.edge.groups() == 0).await;
}
