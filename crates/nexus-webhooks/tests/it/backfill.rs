//! Where an endpoint begins, and that it goes on where it stopped.

use nexus_core::iso8601;
use nexus_testkit::receiver::Receiver;
use nexus_webhooks::EndpointInput;

use crate::support::{DAY_US, NOW_US, World, operator, payments_to, until};

/// The transactions that a receiver was sent, in the order of their numbers.
fn transactions(stub: &Receiver) -> Vec<String> {
    let mut sent: Vec<(u64, String)> = stub
        .received()
        .iter()
        .map(|received| {
            let event = received.json();
            let transaction = event["payload"]["transactionId"].as_str().unwrap();
            (event["seq"].as_u64().unwrap(), transaction.to_owned())
        })
        .collect();
    sent.sort();
    sent.into_iter()
        .map(|(_, transaction)| transaction)
        .collect()
}

fn named(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{kind}-{n}")).collect()
}

#[tokio::test]
async fn an_endpoint_begins_yesterday_and_gets_exactly_those_once() {
    const OLD: usize = 600;
    const YESTERDAY: usize = 300;
    let world = World::new().await;
    // 10,000 events: those before yesterday, those since, and what nobody asks for between them.
    world.pay(named("old", OLD)).await;
    for _ in 0..4 {
        world.noise(1_000).await;
    }
    world.clock.advance_us(DAY_US);
    let since = iso8601(NOW_US + DAY_US);
    world.pay(named("yesterday", YESTERDAY)).await;
    for _ in 0..5 {
        world.noise(1_000).await;
    }
    world.clock.advance_us(DAY_US);
    world.pay(named("today", 100)).await;
    assert_eq!(world.log.head().seq.get(), 10_000);

    let stub = Receiver::agreeable().await;
    let running = world.run().await;
    let input = EndpointInput {
        start: Some(since),
        ..payments_to(&stub.hook())
    };
    let counted = running
        .endpoints
        .dry_run(&operator(), &input)
        .await
        .unwrap();
    assert_eq!((counted.events, counted.is_complete), (400, true));
    assert_eq!(counted.begin.seq.get(), 4_600);
    let created = running.create(&input).await.unwrap();
    let mut expected = named("yesterday", YESTERDAY);
    expected.extend(named("today", 100));
    stub.wait(expected.len()).await;

    // Disabled, it is sent nothing; enabled again, it goes on where it was.
    let id = &*created.endpoint.id;
    let disabled = running.endpoints.disable(&operator(), id).await.unwrap();
    assert_eq!((disabled.enabled, disabled.state), (false, "paused"));
    world.pay(named("meanwhile", 50)).await;
    let running = restarted(&world, running).await;
    assert_eq!(running.endpoints.get(id).unwrap().state, "paused");
    world.pay(named("later", 50)).await;
    assert_eq!(transactions(&stub), expected);
    running.endpoints.enable(&operator(), id).await.unwrap();
    expected.extend(named("meanwhile", 50));
    expected.extend(named("later", 50));
    stub.wait(expected.len()).await;
    until("it is at the end of the log", || async {
        running.endpoints.get(id).unwrap().lag == Some(0)
    })
    .await;
    assert_eq!(transactions(&stub), expected, "each once");
    let told = ["endpoint.created", "endpoint.disabled", "endpoint.enabled"];
    for topic in told {
        assert_eq!(world.all(topic).await.len(), 1, "{topic}");
    }
    running.engine.drain().await;
}

/// The process ends in order and begins anew.
async fn restarted(world: &World, running: crate::support::Running) -> crate::support::Running {
    running.engine.drain().await;
    world.run().await
}

#[tokio::test]
async fn an_endpoint_begins_where_it_was_asked_to() {
    let world = World::new().await;
    let middle = world.pay(named("a", 3)).await;
    world.pay(named("b", 2)).await;
    let running = world.run().await;
    for (start, backlog) in [
        (None, 0),
        (Some("latest".to_owned()), 0),
        (Some("earliest".to_owned()), 5),
        (Some(middle.to_string()), 2),
        (Some(iso8601(NOW_US)), 5),
    ] {
        let stub = Receiver::agreeable().await;
        let input = EndpointInput {
            start: start.clone(),
            ..payments_to(&stub.hook())
        };
        let counted = running
            .endpoints
            .dry_run(&operator(), &input)
            .await
            .unwrap();
        assert_eq!(counted.events, backlog, "{start:?}");
        let created = running.create(&input).await.unwrap();
        stub.wait(usize::try_from(backlog).unwrap()).await;
        let id = &*created.endpoint.id;
        until("it is at the end of the log", || async {
            running.endpoints.get(id).unwrap().lag == Some(0)
        })
        .await;
        assert_eq!(stub.received().len() as u64, backlog, "{start:?}");
        running
            .endpoints
            .delete(&operator(), id, None)
            .await
            .unwrap();
    }
    running.engine.drain().await;
}

#[tokio::test]
async fn an_endpoint_that_is_made_disabled_waits_with_its_place() {
    let world = World::new().await;
    let stub = Receiver::agreeable().await;
    let running = world.run().await;
    let input = EndpointInput {
        enabled: Some(false),
        ..payments_to(&stub.hook())
    };
    let created = running.create(&input).await.unwrap();
    assert_eq!(created.endpoint.state, "paused");
    world.pay(named("early", 3)).await;
    let running = restarted(&world, running).await;
    assert_eq!(stub.received().len(), 0);
    let id = &*created.endpoint.id;
    running.endpoints.enable(&operator(), id).await.unwrap();
    stub.wait(3).await;
    assert_eq!(transactions(&stub), named("early", 3));
    running.engine.drain().await;
}
