//! Where nodes are found when the directory is slow, wrong, or asked by many.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering as Atomic},
};

use nexus_core::{Clock, Command, Principal};
use nexus_outbound::{Client, OutboundOptions};
use nexus_reactors::{Directory, Engine, NodeAddresses, Nodes, PaymentToMint};
use nexus_testkit::receiver::Receiver;

use crate::support::{World, until};

const START_US: i64 = 1_763_704_800_000_000;
const MINUTE_US: i64 = 60 * 1_000_000;

/// A reactor that finds its factory in a directory.
async fn minting(world: &World, directory: &Receiver, clock: &Clock) -> (Engine, Nodes) {
    let client = Client::new(&OutboundOptions {
        allow_loopback: true,
        ..OutboundOptions::default()
    })
    .unwrap();
    let addresses = listed_in(directory);
    let nodes = Nodes::new(addresses, client.clone(), clock.clone());
    let reactor = PaymentToMint::new(client, nodes.clone(), None, clock.clone());
    (world.engine(vec![reactor.shared()]).await, nodes)
}

fn listed_in(directory: &Receiver) -> NodeAddresses {
    NodeAddresses {
        directory: Some(Directory {
            url: directory.url(),
            key: None,
        }),
        ..NodeAddresses::default()
    }
}

fn entry(factory: &Receiver) -> String {
    let url = factory.url();
    format!(r#"{{"id":"smart-factory","hosting":{{"productionUrl":"{url}"}}}}"#)
}

async fn factory() -> Receiver {
    Receiver::new(|_, _| ("200 OK", "", "{}".into())).await
}

#[tokio::test]
async fn the_directory_is_asked_once_for_all_that_want_to_know() {
    let world = World::new().await;
    let factory = factory().await;
    let found = entry(&factory);
    let directory = Receiver::new(move |_, _| ("200 OK", "", found.clone())).await;
    let (engine, _) = minting(&world, &directory, &Clock::manual(START_US)).await;
    let payment = |n: u32| {
        let payload = format!(r#"{{"transactionId":"tx-{n}","amount":1,"payerId":"p"}}"#);
        world.payment(payload)
    };
    let command = Command {
        events: (0..64).map(payment).collect(),
        ..Default::default()
    };
    world
        .log
        .submit(&Principal::nexus(), command)
        .await
        .unwrap();
    until("all are minted", || async {
        world.count("mint.requested").await == 64
    })
    .await;
    assert_eq!(factory.received().len(), 64);
    assert_eq!(directory.received().len(), 1);
    engine.drain().await;
}

#[tokio::test]
async fn an_old_address_is_better_than_what_makes_no_sense() {
    let world = World::new().await;
    let factory = factory().await;
    let found = entry(&factory);
    // A page for people, an error, nothing that could be read, and at last an empty list.
    let answers = [
        ("200 OK", found),
        ("200 OK", "<html>maintenance</html>".into()),
        ("500 Oops", String::new()),
        ("200 OK", "[]".into()),
    ];
    let asked = Arc::new(AtomicUsize::new(0));
    let number = asked.clone();
    let directory = Receiver::new(move |_, _| {
        number.fetch_add(1, Atomic::SeqCst);
        let (status, body) = answers[(number.load(Atomic::SeqCst) - 1).min(3)].clone();
        (status, "", body)
    });
    let directory = directory.await;
    let clock = Clock::manual(START_US);
    let (engine, nodes) = minting(&world, &directory, &clock).await;
    for (payments, minutes, was_asked) in [(1, 11, 1), (2, 0, 2), (3, 1, 2), (4, 1, 3)] {
        world.pay(&format!("tx-{payments}")).await;
        until("it is minted", || async {
            world.count("mint.requested").await == payments
        })
        .await;
        assert_eq!(factory.received().len(), payments, "it was found");
        assert_eq!(asked.load(Atomic::SeqCst), was_asked);
        clock.advance_us(minutes * MINUTE_US);
    }
    // The directory says that there is none: the event is emitted without asking anybody.
    world.pay("tx-5").await;
    until("it is emitted", || async {
        world.count("mint.requested").await == 5
    })
    .await;
    assert_eq!(factory.received().len(), 4);

    // Another directory counts at once.
    let other = self::factory().await;
    let found = entry(&other);
    let directory = Receiver::new(move |_, _| ("200 OK", "", found.clone())).await;
    nodes.replace(listed_in(&directory));
    world.pay("tx-6").await;
    until("it is minted", || async {
        world.count("mint.requested").await == 6
    })
    .await;
    assert_eq!((factory.received().len(), other.received().len()), (4, 1));
    engine.drain().await;
}
