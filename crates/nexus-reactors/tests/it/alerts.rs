//! Alerts on their way to people: what a chat or a webhook is sent, and when.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering as Atomic},
    },
    time::Duration,
};

use nexus_core::{Clock, Reaction, ReactorError};
use nexus_outbound::{Client, OutboundOptions};
use nexus_reactors::{
    Alert, AlertFormat, AlertLimits, AlertState, AlertWatch, AlertWebhook, Alerts, Engine,
};
use nexus_testkit::receiver::Receiver;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::{Scripted, World, options, until};

const MINUTE_US: i64 = 60 * 1_000_000;

fn client() -> Client {
    Client::new(&OutboundOptions::default()).unwrap()
}

async fn answering(status: &'static str, headers: &'static str) -> Receiver {
    Receiver::new(move |_, _| (status, headers, "ok".into())).await
}

fn bodies(stub: &Receiver) -> Vec<Value> {
    let body =
        |call: &nexus_testkit::receiver::Received| serde_json::from_slice(&call.body).unwrap();
    stub.received().iter().map(body).collect()
}

/// Waits for the next alert.
async fn next(told: &mut mpsc::Receiver<Alert>) -> Alert {
    let alert = tokio::time::timeout(Duration::from_secs(30), told.recv()).await;
    alert.unwrap().unwrap()
}

#[tokio::test]
async fn each_receiver_is_sent_what_it_documents() {
    let message = "mint gave up on payment.received #1: <!channel> & \"more\"";
    let discord = json!({ "content": message, "allowed_mentions": { "parse": [] } });
    let slack = "mint gave up on payment.received #1: &lt;!channel&gt; &amp; \"more\"";
    let json = json!({
        "cause": "dead-letter:mint", "state": "raised", "message": message, "untold": 0,
        "time": "2025-11-21T06:00:00.000Z",
    });
    for (format, expected) in [
        (AlertFormat::Discord, discord),
        (AlertFormat::Slack, json!({ "text": slack })),
        (AlertFormat::Json, json),
    ] {
        // Discord answers 204, Slack `ok`.
        let stub = answering("204 No Content", "").await;
        let (alerts, told) = Alerts::channel(Clock::manual(1_763_704_800_000_000));
        let url = stub.url().join("/api/webhooks/1/secret").unwrap();
        let sending = tokio::spawn(AlertWebhook::new(client(), url, format).run(told));
        alerts.send("dead-letter:mint", || message.to_owned());
        alerts.send("dead-letter:mint", || "within the quarter hour".to_owned());
        alerts.recovered("dead-letter:mint", || "mint succeeds again".to_owned());
        drop(alerts);
        sending.await.unwrap();
        let received = stub.received();
        assert_eq!(received[0].line, "POST /api/webhooks/1/secret");
        assert_eq!(received[0].header("content-type"), "application/json");
        let bodies = bodies(&stub);
        assert_eq!(bodies.len(), 2, "one for the cause, one for its end");
        assert_eq!(bodies[0], expected);
        let over = bodies[1].to_string();
        assert!(over.contains("mint succeeds again"), "{over}");
    }
}

#[tokio::test]
async fn an_alert_that_is_not_taken_is_sent_again_a_few_times() {
    // Busy once, and then never again.
    let stub = Receiver::new(|number, _| match number {
        0 => ("429 Too Many Requests", "retry-after: 0\r\n", String::new()),
        _ => ("200 OK", "", String::new()),
    });
    let stub = stub.await;
    let refusing = answering("404 Not Found", "").await;
    for (stub, sent) in [(&stub, 2), (&refusing, 1)] {
        let (alerts, told) = Alerts::channel(Clock::System);
        let webhook = AlertWebhook::new(client(), stub.url(), AlertFormat::Json);
        let shown = format!("{webhook:?}");
        assert!(!shown.contains("127.0.0.1"), "{shown}");
        alerts.send("a", || "something".to_owned());
        drop(alerts);
        webhook.run(told).await;
        assert_eq!(stub.received().len(), sent);
    }
}

/// A world with one reactor that works while the switch is on, and the watch over it.
async fn watched(clock: &Clock, works: &Arc<AtomicBool>) -> (World, Engine, mpsc::Receiver<Alert>) {
    let world = World::with_clock(clock.clone()).await;
    let works = works.clone();
    let mut reactor = Scripted::new("mint", move |_| {
        let works = works.load(Atomic::SeqCst);
        async move {
            match works {
                true => Ok(Reaction::nothing()),
                false => Err(ReactorError::final_("answered 404")),
            }
        }
    });
    reactor.options.breaker = None;
    let (alerts, told) = Alerts::channel(clock.clone());
    let engine = Engine::start(
        world.log.clone(),
        vec![reactor.shared()],
        options(),
        alerts.clone(),
    );
    let engine = engine.await.unwrap();
    let limits = AlertLimits {
        every: Duration::from_millis(2),
        ..AlertLimits::default()
    };
    tokio::spawn(AlertWatch::new(alerts, engine.handle(), limits).run());
    (world, engine, told)
}

#[tokio::test]
async fn people_are_told_of_dead_letters_and_that_they_are_over() {
    let clock = Clock::manual(1_763_704_800_000_000);
    let works = Arc::new(AtomicBool::new(false));
    let (world, engine, mut told) = watched(&clock, &works).await;
    for n in 0..3 {
        world.pay(&format!("tx-{n}")).await;
    }
    until("all are given up", || async {
        engine.handle().stats().dead_letters == 3
    })
    .await;
    let raised = next(&mut told).await;
    assert_eq!(
        (raised.cause.as_str(), raised.state),
        ("dead-letter:mint", AlertState::Raised)
    );
    works.store(true, Atomic::SeqCst);
    // Payments go on, and so does time.
    let (mut minutes, mut over) = (0, None);
    until("it is over", || {
        minutes += 1;
        clock.advance_us(MINUTE_US);
        over = told.try_recv().ok();
        let is_over = over.is_some();
        let pay = world.pay("later");
        async move {
            pay.await;
            is_over
        }
    })
    .await;
    assert!(
        minutes > 5,
        "not before there were no new ones for five minutes"
    );
    let over = over.unwrap();
    assert_eq!(
        (over.cause.as_str(), over.state),
        ("dead-letter:mint", AlertState::Over)
    );
    assert_eq!(over.message, "mint succeeds again; dead letters kept: 3");
    assert_eq!(over.untold, 2);
    engine.drain().await;
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn people_are_told_of_a_full_disk_and_of_space() {
    let clock = Clock::manual(1_763_704_800_000_000);
    let (world, engine, mut told) = watched(&clock, &Arc::new(AtomicBool::new(true))).await;
    let payload = r#"{"transactionId":"tx-1","amount":1,"payerId":"p"}"#;
    let payment = world.payment(payload.into());
    world.is_full.store(true, Atomic::SeqCst);
    let refused = world
        .log
        .dispatch(&nexus_core::Principal::nexus(), payment)
        .await;
    assert!(refused.is_err());
    let raised = next(&mut told).await;
    assert_eq!(
        (raised.cause.as_str(), raised.state),
        ("storage", AlertState::Raised)
    );
    assert_eq!(raised.message, "no event can be stored: the disk is full");
    world.is_full.store(false, Atomic::SeqCst);
    let over = next(&mut told).await;
    assert_eq!(
        (over.cause.as_str(), over.state),
        ("storage", AlertState::Over)
    );
    drop(engine);
}
