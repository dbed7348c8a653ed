//! Events that cannot be reacted to, among many that can.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use nexus_core::{Command, Event, NewEvent, Principal, Random, Reaction, ReactorError, Record};

use crate::support::{Scripted, World, mint, runs, until};

const EVENTS: u64 = 10_000;
const PUBLISHED_AT_ONCE: u64 = 1_000;

/// One event of a hundred, at random but the same each time.
fn poison() -> HashSet<u64> {
    let random = Random::seeded(11);
    let mut poison = HashSet::new();
    while poison.len() < EVENTS as usize / 100 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is small"
        )]
        poison.insert((random.fraction() * EVENTS as f64) as u64);
    }
    poison
}

/// The number of the transaction that an event is about: what follows from some stands between others.
fn number(event: &Event) -> u64 {
    let key = event.key.as_deref().unwrap();
    key.strip_prefix("tx-").unwrap().parse().unwrap()
}

fn seq_of(record: &Record) -> u64 {
    let body: serde_json::Value = serde_json::from_slice(&record.body).unwrap();
    body["seq"].as_u64().unwrap()
}

async fn publish_all(world: &World) {
    for first in (0..EVENTS).step_by(PUBLISHED_AT_ONCE as usize) {
        let event = |n: u64| -> NewEvent {
            let payload = format!(r#"{{"transactionId":"tx-{n}","amount":1,"payerId":"p"}}"#);
            world.payment(payload)
        };
        let command = Command {
            events: (first..first + PUBLISHED_AT_ONCE).map(event).collect(),
            ..Default::default()
        };
        let publisher = Principal::nexus();
        world.log.submit(&publisher, command).await.unwrap();
    }
}

#[tokio::test]
async fn exactly_the_poison_is_given_up_and_the_rest_is_done_once() {
    let world = World::new().await;
    let (log, poisoned) = (world.log.clone(), poison());
    let bad = poisoned.clone();
    let mut reactor = Scripted::new("mint", move |attempt| {
        let number = number(&attempt.event);
        let (bad, reaction) = (bad.contains(&number), Reaction::emit(mint(&log)));
        async move {
            match number % 4 {
                _ if !bad => Ok(reaction),
                0 => Err(ReactorError::final_("it makes no sense")),
                1 => Err(ReactorError::retry("it makes no sense today")),
                2 => panic!("it makes no sense at all"),
                _ => std::future::pending().await,
            }
        }
    });
    reactor.options.concurrency = 64;
    reactor.options.retry.attempts = 3;
    reactor.options.timeout = Duration::from_millis(50);
    let ran = reactor.ran();
    let engine = world.engine(vec![reactor.shared()]).await;
    publish_all(&world).await;
    let handle = engine.handle();
    until("all poison is given up, and nothing is left", || async {
        let stats = handle.stats();
        let is_read = handle.lag()[0].events == 0;
        is_read && stats.pending == 0 && stats.dead_letters >= poisoned.len()
    })
    .await;
    engine.drain().await;

    let events = world.all().await;
    let (mut payments, mut followed) = (HashMap::new(), HashMap::<_, u32>::new());
    for event in &events {
        if event.topic.as_str() == "payment.received" {
            payments.insert(event.seq.get(), event);
        } else {
            let cause = event.causes().causation_id.unwrap();
            *followed.entry(cause).or_default() += 1;
        }
    }
    assert_eq!(payments.len() as u64, EVENTS);

    let records = world.deliveries().await;
    assert!(records.iter().all(|record| &*record.state == "dead"));
    let dead = records
        .iter()
        .map(|record| number(payments[&seq_of(record)]));
    let dead: HashSet<u64> = dead.collect();
    assert_eq!((records.len(), &dead), (poisoned.len(), &poisoned));

    // What follows from each good event is in the log once, and nothing follows from a bad one.
    let runs = runs(&ran);
    for (seq, event) in payments {
        let is_bad = poisoned.contains(&number(event));
        let attempts = match number(event) % 4 {
            _ if !is_bad => 1,
            0 => 1,
            _ => 3,
        };
        let times = u32::from(!is_bad);
        assert_eq!(runs[&seq], attempts, "#{seq}");
        assert_eq!(
            followed.get(&event.id).copied().unwrap_or(0),
            times,
            "#{seq}"
        );
    }
}
