//! What a receiver is sent: formats, headers, rights, order; and what people see of it.

use std::time::Duration;

use nexus_core::{Causes, Principal, ProtocolEvent, Publish, Scope, Source};
use nexus_testkit::receiver::Receiver;
use nexus_webhooks::{EndpointInput, Format, Operator, Ordering};
use serde_json::{Value, json};

use crate::support::{World, operator, payments_to, until};

#[tokio::test]
async fn each_format_is_sent_with_the_headers_of_the_contract() {
    let world = World::new().await;
    let running = world.run().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let formats = [Format::Nexus, Format::Neo, Format::CloudEvents];
    let mut stubs = Vec::new();
    for format in formats {
        let stub = Receiver::agreeable().await;
        let secret = nexus_auth::Secret::new("Bearer of-the-receiver");
        let input = EndpointInput {
            format: Some(format),
            headers: Some([("Authorization".to_owned(), secret)].into_iter().collect()),
            ..payments_to(&format!("{}?code=of-the-receiver", stub.hook()))
        };
        let id = running.create(&input).await.unwrap().endpoint.id;
        stubs.push((stub, id));
    }
    let payload = r#"{"transactionId":"tx-1", "amount":12.50,"payerId":"p"}"#;
    let mut event = world.event(ProtocolEvent::PaymentReceived, payload.to_owned());
    event.causes.traceparent = Some(trace.to_owned());
    let receipt = world
        .log
        .dispatch(&Principal::nexus(), event)
        .await
        .unwrap();
    let event_id = receipt.first_id.unwrap().to_string();
    for (format, (stub, id)) in formats.into_iter().zip(&stubs) {
        let received = stub.wait(1).await.remove(0);
        assert_eq!(received.line, "POST /hook?code=of-the-receiver");
        for (name, expected) in [
            ("webhook-id", event_id.clone()),
            ("nexus-position", receipt.position().to_string()),
            ("nexus-attempt", "1".into()),
            (
                "nexus-delivery-id",
                format!("endpoint-{id}.{}", receipt.first),
            ),
            ("idempotency-key", format!("endpoint-{id}:{event_id}")),
            ("traceparent", trace.into()),
            (
                "user-agent",
                concat!("Nexus/", env!("CARGO_PKG_VERSION")).into(),
            ),
            ("authorization", "Bearer of-the-receiver".into()),
            ("nexus-replay", String::new()),
        ] {
            assert_eq!(received.header(name), expected, "{name}");
        }
        let body = received.json();
        let (content_type, expected) = match format {
            Format::Nexus => ("application/json", ("topic", "payment.received")),
            Format::Neo => ("application/json", ("event", "PAYMENT_RECEIVED")),
            Format::CloudEvents => ("application/cloudevents+json", ("type", "payment.received")),
        };
        assert_eq!(received.header("content-type"), content_type);
        assert_eq!(body[expected.0], expected.1);
        let text = String::from_utf8(received.body).unwrap();
        match format {
            // What JavaScript would write, for receivers that verify what they have parsed.
            Format::Neo => assert_eq!(
                text,
                concat!(
                    r#"{"event":"PAYMENT_RECEIVED","payload":{"transactionId":"tx-1","amount":12.5,"payerId":"p"},"#,
                    r#""timestamp":"2026-11-21T13:00:00.000Z"}"#
                )
            ),
            _ => assert!(text.contains(payload), "byte for byte: {text}"),
        }
        let target = format!("endpoint-{id}");
        let handle = running.engine.handle();
        let kept = async || handle.outcomes(&target, None, 10).await.unwrap().items;
        until("the outcome is kept", || async { kept().await.len() == 1 }).await;
        let kept = format!("{:?}", kept().await);
        assert!(!kept.contains("of-the-receiver"), "{kept}");
        assert!(kept.contains("status: Some(200)"), "{kept}");
    }
    running.engine.drain().await;
}

#[tokio::test]
async fn an_endpoint_is_sent_what_matches_and_what_its_owner_may_read() {
    let world = World::new().await;
    let running = world.run().await;
    let scopes = [Scope::Operate, Scope::Read].into_iter().collect();
    let reads = nexus_core::PatternSet::parse(["payment.*"]).unwrap();
    let ana = Principal::new(Source::user("ana"), Publish::Nothing, scopes).reading(reads);
    let ana = Operator {
        principal: &ana,
        causes: Causes::default(),
    };
    let (narrow, wide) = (Receiver::agreeable().await, Receiver::agreeable().await);
    let everything = |url: String| EndpointInput {
        url: Some(url),
        patterns: Some(vec![">".into()]),
        filter: Some("topic != 'endpoint.created'".into()),
        ..EndpointInput::default()
    };
    let of_ana = everything(narrow.hook());
    let counted = running.endpoints.dry_run(&ana, &of_ana).await.unwrap();
    assert_eq!(counted.events, 0);
    let of_ana = running.endpoints.create(&ana, &of_ana).await.unwrap();
    assert_eq!(&*of_ana.endpoint.owner, "user:ana");
    running.create(&everything(wide.hook())).await.unwrap();
    world.noise(2).await;
    world.pay(["tx-1".to_owned(), "tx-2".to_owned()]).await;
    wide.wait(4).await;
    let received = narrow.wait(2).await;
    assert!(
        received
            .iter()
            .all(|one| one.json()["topic"] == "payment.received")
    );
    until("she is at the end", || async {
        running.endpoints.get(&of_ana.endpoint.id).unwrap().lag == Some(0)
    })
    .await;
    assert_eq!(narrow.received().len(), 2);
    running.engine.drain().await;
}

/// Its receiver does not answer, so that it takes long to be changed; nobody else waits for that.
#[tokio::test]
async fn a_change_waits_for_no_receiver_but_its_own() {
    let world = World::new().await;
    let running = world.run_with(|engine, _| engine.drain_timeout = Duration::from_secs(3_600));
    let running = running.await;
    let (silent, other) = (Receiver::silent().await, Receiver::agreeable().await);
    let patient = EndpointInput {
        timeout_ms: Some(30_000),
        ..payments_to(&silent.hook())
    };
    let slow = running.create(&patient).await.unwrap().endpoint;
    let quick = running.create(&payments_to(&other.hook())).await.unwrap();
    let quick = quick.endpoint;
    world.pay(["tx-1".to_owned()]).await;
    silent.wait(1).await;
    let described = |text: &str| serde_json::from_value(json!({ "description": text })).unwrap();
    let changing = tokio::spawn({
        let (endpoints, id, patch) = (running.endpoints.clone(), slow.id.clone(), described("a"));
        async move {
            endpoints
                .change(&operator(), &id, slow.revision, patch)
                .await
        }
    });
    until("it is being changed", || async {
        let view = running.endpoints.get(&slow.id).unwrap();
        view.description.as_deref() == Some("a")
    })
    .await;
    // Each of these is done long before the receiver is given up.
    let others = async {
        let by = operator();
        let (endpoints, id) = (&running.endpoints, &*quick.id);
        let changed = endpoints.change(&by, id, quick.revision, described("b"));
        let revision = changed.await.unwrap().revision;
        endpoints.rotate(&by, id, None).await.unwrap();
        endpoints.disable(&by, id).await.unwrap();
        endpoints.enable(&by, id).await.unwrap();
        assert!(endpoints.get(id).unwrap().revision > revision);
        endpoints.delete(&by, id, None).await.unwrap();
        let made = running.create(&payments_to(&other.hook())).await.unwrap();
        made.endpoint.id
    };
    let made = tokio::time::timeout(Duration::from_secs(20), others).await;
    assert!(made.is_ok() && !changing.is_finished());
    changing.abort();
}

#[tokio::test]
async fn a_change_goes_on_from_the_same_place() {
    let world = World::new().await;
    let running = world.run().await;
    let (before, after) = (Receiver::agreeable().await, Receiver::agreeable().await);
    let input = EndpointInput {
        ordering: Some(Ordering::All),
        ..payments_to(&before.hook())
    };
    let created = running.create(&input).await.unwrap();
    let id = &*created.endpoint.id;
    world.pay((0..20).map(|n| format!("tx-{n:02}"))).await;
    before.wait(5).await;
    let patch = serde_json::json!({ "url": after.hook(), "rate": null, "description": "moved" });
    let patch = serde_json::from_value(patch).unwrap();
    let revision = created.endpoint.revision;
    let by = operator();
    let changed = running.endpoints.change(&by, id, revision, patch).await;
    let changed = changed.unwrap();
    assert_eq!(changed.description.as_deref(), Some("moved"));
    world.pay((20..40).map(|n| format!("tx-{n:02}"))).await;
    until("all were sent", || async {
        running.endpoints.get(id).unwrap().lag == Some(0)
    })
    .await;
    let sent: Vec<String> = [before.received(), after.received()]
        .concat()
        .iter()
        .map(|one| {
            one.json()["payload"]["transactionId"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let expected: Vec<String> = (0..40).map(|n| format!("tx-{n:02}")).collect();
    assert_eq!(sent, expected, "in order, each once");
    assert!(!after.received().is_empty());
    let told = world.all("endpoint.changed").await;
    let payload: Value = serde_json::from_slice(&told[0].payload).unwrap();
    assert_eq!(
        payload["changed"],
        serde_json::json!(["url", "rate", "description"])
    );
    running.engine.drain().await;
}

#[tokio::test]
async fn a_test_is_sent_at_once_and_is_no_event() {
    let world = World::new().await;
    let running = world.run().await;
    let stub = Receiver::new(|_, _| ("422 Unprocessable", "", "what is this?".into())).await;
    let created = running.create(&payments_to(&stub.hook())).await.unwrap();
    let id = &*created.endpoint.id;
    running.endpoints.disable(&operator(), id).await.unwrap();
    let head = world.log.head();
    let tested = running.endpoints.test(id).await.unwrap();
    assert!(!tested.is_delivered);
    assert_eq!(tested.error.as_deref(), Some("answered 422: what is this?"));
    assert_eq!(tested.exchange.status, Some(422));
    assert_eq!(&*tested.exchange.answer, b"what is this?");
    let received = stub.received();
    assert_eq!(received[0].json()["topic"], "endpoint.test");
    assert_eq!(received[0].json()["payload"]["endpoint"], id);
    assert_eq!(world.log.head(), head, "nothing happened");
    running.engine.drain().await;
}

#[tokio::test]
async fn a_long_or_slow_answer_is_judged_by_its_status() {
    let world = World::new().await;
    let running = world.run().await;
    let long = Receiver::new(|_, _| ("200 OK", "", "x".repeat(1 << 20))).await;
    let created = running.create(&payments_to(&long.hook())).await.unwrap();
    let tested = running.endpoints.test(&created.endpoint.id).await.unwrap();
    assert!(tested.is_delivered, "{tested:?}");
    assert_eq!(tested.exchange.answer.len(), 4 << 10);
    running.engine.drain().await;
}
