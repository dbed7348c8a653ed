//! Secrets: while one is replaced both sign, and then the old one does no more.

use std::time::Duration;

use nexus_auth::{Auth, AuthOptions, NodeOptions, Secret, SignedRequest};
use nexus_core::{Catalogue, Clock};
use nexus_testkit::receiver::{Received, Receiver};
use nexus_webhooks::Error;
use serde_json::json;

use crate::support::{DAY_US, NOW_US, SECOND_US, World, operator, payments_to};

/// Whether a receiver that has this secret takes the request, by each of its two signatures.
fn takes(secret: &Secret, received: &Received, now_us: i64) -> [bool; 2] {
    let options = AuthOptions {
        default_secrets: vec![Secret::new("a-secret-of-at-least-32-characters").into()],
        nodes: vec![NodeOptions::new("nexus").secret(secret.clone())],
        ..AuthOptions::default()
    };
    let auth = Auth::new(&options, &Catalogue::known(), Clock::manual(now_us)).unwrap();
    ["x-nexus-signature", "webhook-signature"].map(|left_out| {
        let mut headers = received.headers.clone();
        headers.remove(left_out);
        headers.insert("x-nexus-node", "nexus".parse().unwrap());
        let request = SignedRequest {
            headers: &headers,
            body: &received.body,
            path_node: None,
        };
        auth.verify(&request).is_ok()
    })
}

#[tokio::test]
async fn both_secrets_sign_while_one_is_replaced_and_then_the_new_one_alone() {
    let world = World::new().await;
    let stub = Receiver::agreeable().await;
    let running = world.run().await;
    let created = running.create(&payments_to(&stub.hook())).await.unwrap();
    let id = created.endpoint.id.clone();
    let old = created.secret;
    let sent = async |nth: usize| {
        world.pay([format!("tx-{nth}")]).await;
        stub.wait(nth).await.remove(nth - 1)
    };
    let before = sent(1).await;
    assert_eq!(takes(&old, &before, NOW_US), [true, true]);

    let rotated = running
        .endpoints
        .rotate(&operator(), &id, None)
        .await
        .unwrap();
    let new = rotated.secret;
    assert_eq!(takes(&new, &before, NOW_US), [false, false]);
    let during = sent(2).await;
    assert_eq!(takes(&old, &during, NOW_US), [true, true]);
    assert_eq!(takes(&new, &during, NOW_US), [true, true]);

    // The grace is a day; it goes on over a restart.
    running.engine.drain().await;
    let running = world.run().await;
    world.clock.advance_us(DAY_US - SECOND_US);
    let now_us = world.clock.now_us();
    let during = sent(3).await;
    assert_eq!(takes(&old, &during, now_us), [true, true]);
    world.clock.advance_us(SECOND_US);
    let now_us = world.clock.now_us();
    let after = sent(4).await;
    assert_eq!(takes(&old, &after, now_us), [false, false]);
    assert_eq!(takes(&new, &after, now_us), [true, true]);
    let secrets = running.endpoints.get(&id).unwrap().secrets;
    assert_eq!(secrets.len(), 1);
    assert_eq!((secrets[0].number, &secrets[0].expires_at), (2, &None));
    running.engine.drain().await;
}

#[tokio::test]
async fn a_secret_that_leaked_is_retired_at_once() {
    let world = World::new().await;
    let stub = Receiver::agreeable().await;
    let running = world.run().await;
    let created = running.create(&payments_to(&stub.hook())).await.unwrap();
    let (id, old) = (created.endpoint.id.clone(), created.secret);
    let refused = running.endpoints.retire(&operator(), &id, 1).await;
    assert!(matches!(refused, Err(Error::NewestSecret)), "{refused:?}");
    running
        .endpoints
        .rotate(&operator(), &id, None)
        .await
        .unwrap();
    let refused = running.endpoints.retire(&operator(), &id, 7).await;
    assert!(matches!(refused, Err(Error::SecretNotFound { number: 7 })));
    running.endpoints.retire(&operator(), &id, 1).await.unwrap();
    world.pay(["tx-1".to_owned()]).await;
    let received = stub.wait(1).await.remove(0);
    assert_eq!(takes(&old, &received, NOW_US), [false, false]);

    // No grace at all is the same in one step.
    let none = Some(Duration::ZERO);
    let third = running
        .endpoints
        .rotate(&operator(), &id, none)
        .await
        .unwrap();
    assert_eq!((third.number, third.endpoint.secrets.len()), (3, 1));
    // At most four sign at once.
    for _ in 0..3 {
        running
            .endpoints
            .rotate(&operator(), &id, None)
            .await
            .unwrap();
    }
    let refused = running.endpoints.rotate(&operator(), &id, None).await;
    assert!(matches!(refused, Err(Error::TooMany { limit: 4, .. })));
    running.engine.drain().await;
}

#[tokio::test]
async fn secrets_and_headers_are_sealed_and_never_shown() {
    let world = World::new().await;
    let stub = Receiver::agreeable().await;
    let running = world.run().await;
    let mut input = payments_to(&stub.hook());
    let header = Secret::new("Bearer of-the-receiver");
    input.headers = Some([("Authorization".to_owned(), header)].into_iter().collect());
    let created = running.create(&input).await.unwrap();
    let secret = created.secret.expose().to_owned();
    let shown = serde_json::to_string(&running.endpoints.list()).unwrap();
    for hidden in [secret.as_str(), "of-the-receiver"] {
        assert!(!shown.contains(hidden), "{shown}");
        assert!(!format!("{created:?} {input:?}").contains(hidden));
        for family in ["endpoint", "sealed"] {
            let query = nexus_core::RecordQuery {
                family: nexus_core::Family::new(family),
                by: nexus_core::RecordsBy::All,
                after_key: None,
                records_max: 100,
            };
            let records = world.log.records(&query).await.unwrap();
            assert!(!records.is_empty());
            for record in records {
                let body = String::from_utf8_lossy(&record.body).into_owned();
                assert!(!body.contains(hidden), "{body}");
            }
        }
    }
    assert!(
        shown.contains(r#""header_names":["authorization"]"#),
        "{shown}"
    );
    running.engine.drain().await;
}

#[tokio::test]
async fn what_a_receiver_repeats_of_a_header_is_not_shown() {
    let world = World::new().await;
    let running = world.run().await;
    let stub = Receiver::new(|_, received| {
        let header = received.header("authorization").to_owned();
        ("401 Unauthorized", "", format!("unknown: {header}"))
    })
    .await;
    let mut input = payments_to(&stub.hook());
    let header = Secret::new("Bearer of-the-receiver");
    input.headers = Some([("Authorization".to_owned(), header)].into_iter().collect());
    let created = running.create(&input).await.unwrap();
    let tested = running.endpoints.test(&created.endpoint.id).await.unwrap();
    assert_eq!(tested.error.as_deref(), Some("answered 401: unknown: …"));
    assert_eq!(&*tested.exchange.answer, "unknown: …".as_bytes());
    assert!(!format!("{tested:?}").contains("of-the-receiver"));
    running.engine.drain().await;
}

#[tokio::test]
async fn headers_are_not_sent_to_another_host_by_who_does_not_know_them() {
    let world = World::new().await;
    let (stub, other) = (Receiver::agreeable().await, Receiver::agreeable().await);
    let running = world.run().await;
    let mut input = payments_to(&stub.hook());
    let headers = [("x-key".to_owned(), Secret::new("k-3f81"))];
    input.headers = Some(headers.into_iter().collect());
    let created = running.create(&input).await.unwrap().endpoint;
    let mut revision = created.revision;
    let mut change = async |patch: serde_json::Value| {
        let patch = serde_json::from_value(patch).unwrap();
        let endpoints = &running.endpoints;
        let operator = operator();
        let changed = endpoints.change(&operator, &created.id, revision, patch);
        let changed = changed.await?;
        revision = changed.revision;
        Ok::<_, Error>(changed)
    };
    let refused = change(json!({ "url": other.hook() })).await.unwrap_err();
    let Error::Invalid { faults } = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(faults[0].pointer, "/headers");
    let same_host = format!("{}/elsewhere", stub.hook());
    change(json!({ "url": same_host })).await.unwrap();
    let moved = json!({ "url": other.hook(), "headers": { "x-key": "k-other" } });
    change(moved).await.unwrap();
    let bare = change(json!({ "url": stub.hook(), "headers": null })).await;
    assert!(bare.unwrap().header_names.is_empty());
    change(json!({ "url": other.hook() })).await.unwrap();
    running.engine.drain().await;
}

#[tokio::test]
async fn an_endpoint_whose_secret_is_lost_waits_for_a_new_one() {
    let world = World::new().await;
    let stub = Receiver::agreeable().await;
    let running = world.run().await;
    let created = running.create(&payments_to(&stub.hook())).await.unwrap();
    let id = created.endpoint.id.clone();
    running.engine.drain().await;
    let sealed = nexus_core::Key::new(
        nexus_core::Family::new("sealed"),
        format!("endpoint/{id}/secret-1"),
    );
    let lost = nexus_core::Command {
        changes: vec![nexus_core::Change::Delete(sealed)],
        ..nexus_core::Command::default()
    };
    let nexus = nexus_core::Principal::nexus();
    world.log.submit(&nexus, lost).await.unwrap();
    world.pay(["tx-1".to_owned()]).await;

    let running = world.run().await;
    let view = running.endpoints.get(&id).unwrap();
    assert!(!view.enabled && view.why.is_some(), "{view:?}");
    let refused = running.endpoints.enable(&operator(), &id).await;
    assert!(matches!(refused, Err(Error::Broken { .. })), "{refused:?}");
    // A change of something else does not let it run without a secret.
    let patch = serde_json::from_str(r#"{"description":"lost"}"#).unwrap();
    let operator = operator();
    let endpoints = &running.endpoints;
    let changed = endpoints.change(&operator, &id, view.revision, patch);
    let changed = changed.await.unwrap();
    assert!(!changed.enabled && changed.why == view.why, "{changed:?}");
    let rotated = running.endpoints.rotate(&operator, &id, None).await;
    let new = rotated.unwrap().secret;
    let received = stub.wait(1).await.remove(0);
    assert_eq!(takes(&new, &received, NOW_US), [true, true]);
    assert!(running.endpoints.get(&id).unwrap().enabled);
    running.engine.drain().await;
}
