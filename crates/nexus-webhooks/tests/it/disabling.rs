//! Receivers that fail: what is tried again and when, and what disables an endpoint.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use nexus_testkit::receiver::Receiver;
use serde_json::Value;

use crate::support::{DAY_US, SECOND_US, World, operator, payments_to, until};

/// A receiver that answers this, until it is switched to taking everything.
async fn failing(answer: &'static str, headers: &'static str) -> (Receiver, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(false));
    let is_well = well.clone();
    let stub = Receiver::new(move |_, _| {
        if is_well.load(Ordering::SeqCst) {
            ("200 OK", "", String::new())
        } else {
            (answer, headers, String::from("no"))
        }
    });
    (stub.await, well)
}

#[tokio::test]
async fn a_receiver_that_is_gone_disables_its_endpoint_and_nothing_is_lost() {
    let world = World::new().await;
    let (stub, well) = failing("410 Gone", "").await;
    let running = world.run().await;
    let created = running.create(&payments_to(&stub.hook())).await.unwrap();
    let id = &*created.endpoint.id;
    world.pay([String::from("tx-1")]).await;
    until("it is disabled", || async {
        running.endpoints.get(id).unwrap().state == "disabled"
    })
    .await;
    until("that is told", || async {
        !world.all("endpoint.disabled").await.is_empty()
    })
    .await;
    world.pay([String::from("tx-2")]).await;
    let view = running.endpoints.get(id).unwrap();
    assert!(!view.enabled && view.since.is_some());
    assert_eq!(view.why.as_deref(), Some("answered 410: no"));

    // Neither a restart nor time changes that, and it is told once.
    running.engine.drain().await;
    let running = world.run().await;
    world.clock.advance_us(DAY_US);
    assert_eq!(running.endpoints.get(id).unwrap().state, "disabled");
    assert_eq!(stub.received().len(), 1);
    well.store(true, Ordering::SeqCst);
    running.endpoints.enable(&operator(), id).await.unwrap();
    stub.wait(3).await;
    let mut sent: Vec<String> = stub.received()[1..]
        .iter()
        .map(|received| received.json()["payload"]["transactionId"].to_string())
        .collect();
    sent.sort();
    assert_eq!(sent, ["\"tx-1\"", "\"tx-2\""]);
    let told = world.all("endpoint.disabled").await;
    assert_eq!(told.len(), 1);
    let payload: Value = serde_json::from_slice(&told[0].payload).unwrap();
    assert_eq!(payload["endpoint"], id);
    assert_eq!(payload["by"], "nexus");
    assert_eq!(payload["why"], "answered 410: no");
    assert_eq!(told[0].source.as_str(), "nexus");
    running.engine.drain().await;
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let world = World::new().await;
    let elsewhere = Receiver::agreeable().await;
    let location = format!("Location: {}\r\n", elsewhere.hook());
    let headers: &'static str = Box::leak(location.into_boxed_str());
    let (stub, well) = failing("307 Temporary Redirect", headers).await;
    let running = world.run().await;
    let created = running.create(&payments_to(&stub.hook())).await.unwrap();
    let id = &*created.endpoint.id;
    world.pay([String::from("tx-1")]).await;
    // The schedule of Standard Webhooks: 5 s, up to a tenth longer.
    let wait_us = running.next_due_us(id).await - world.clock.now_us();
    assert!((5_000_000..=5_500_000).contains(&wait_us), "{wait_us}");
    well.store(true, Ordering::SeqCst);
    world.clock.advance_us(wait_us);
    let received = stub.wait(2).await;
    assert_eq!(received[0].body, received[1].body, "the same bytes");
    assert_eq!(
        received[0].header("webhook-id"),
        received[1].header("webhook-id")
    );
    assert_eq!(received[0].header("nexus-attempt"), "1");
    assert_eq!(received[1].header("nexus-attempt"), "2");
    assert_ne!(
        received[0].header("webhook-timestamp"),
        received[1].header("webhook-timestamp"),
        "signed anew"
    );
    assert_eq!(elsewhere.received().len(), 0);
    running.engine.drain().await;
}

#[tokio::test]
async fn retry_after_only_lengthens_the_wait() {
    let world = World::new().await;
    let (stub, well) = failing("503 Service Unavailable", "Retry-After: 60\r\n").await;
    let running = world.run().await;
    let created = running.create(&payments_to(&stub.hook())).await.unwrap();
    let id = &*created.endpoint.id;
    world.pay([String::from("tx-1")]).await;
    let wait_us = running.next_due_us(id).await - world.clock.now_us();
    assert_eq!(wait_us, 60 * SECOND_US);
    well.store(true, Ordering::SeqCst);
    world.clock.advance_us(wait_us);
    stub.wait(2).await;
    running.engine.drain().await;
}

#[tokio::test]
async fn five_days_of_failures_disable_an_endpoint_which_then_resumes_where_it_stopped() {
    let world = World::new().await;
    let (stub, well) = failing("500 Internal Server Error", "").await;
    let running = world.run().await;
    let created = running.create(&payments_to(&stub.hook())).await.unwrap();
    let id = &*created.endpoint.id;
    let state = || running.endpoints.get(id).unwrap().state;
    // A payment every day, of which none arrives.
    for day in 0..5 {
        assert_eq!(state(), "running", "day {day}");
        let before = stub.received().len();
        world.pay([format!("day-{day}")]).await;
        stub.wait(before + 1).await;
        // The first failure is counted on its own day.
        running.next_due_us(id).await;
        world.clock.advance_us(DAY_US);
    }
    // The next failure is five days after the first, whether it is that of a new event or of one that waits.
    world.pay([String::from("day-5")]).await;
    until("it is disabled", || async { state() == "disabled" }).await;
    until("that is told", || async {
        !world.all("endpoint.disabled").await.is_empty()
    })
    .await;
    world.pay([String::from("day-6")]).await;

    well.store(true, Ordering::SeqCst);
    let failed = stub.received().len();
    running.endpoints.enable(&operator(), id).await.unwrap();
    // Those that waited for another attempt come when they are due, a day later at the latest.
    let taken = || {
        let received = stub.received();
        let mut taken: Vec<String> = received[failed..]
            .iter()
            .map(|one| one.json()["payload"]["transactionId"].to_string())
            .collect();
        taken.sort();
        taken
    };
    until("all are taken", || async {
        world.clock.advance_us(600 * SECOND_US);
        taken().len() >= 7
    })
    .await;
    let expected: Vec<String> = (0..7).map(|day| format!("\"day-{day}\"")).collect();
    assert_eq!(taken(), expected);
    assert_eq!(world.all("endpoint.disabled").await.len(), 1);
    assert_eq!(world.all("endpoint.enabled").await.len(), 1);
    running.engine.drain().await;
}
