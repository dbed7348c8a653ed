//! Endpoints that are made at the same time, and one that is changed while it is made.

use std::time::Duration;

use nexus_webhooks::Error;

use crate::support::{World, operator, payments_to};

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn those_who_make_endpoints_at_once_do_not_make_too_many() {
    const MAX: usize = 3;
    let world = World::new().await;
    let running = world.run_with(|_, options| options.endpoints_max = MAX);
    let running = running.await;
    let making = (0..4 * MAX).map(|_| {
        let endpoints = running.endpoints.clone();
        tokio::spawn(async move {
            let input = payments_to("http://127.0.0.1:8099/hook");
            endpoints.create(&operator(), &input).await
        })
    });
    let mut made = 0;
    // All are begun before the first is waited for.
    for making in making.collect::<Vec<_>>() {
        match making.await.unwrap() {
            Ok(_) => made += 1,
            Err(Error::TooMany { limit, .. }) => assert_eq!(limit, MAX),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((made, running.endpoints.list().len()), (MAX, MAX));
    running.engine.drain().await;
}

#[tokio::test]
async fn who_changes_an_endpoint_that_is_being_made_waits_until_it_runs() {
    let world = World::new().await;
    let running = world.run().await;
    let input = payments_to("http://127.0.0.1:8099/hook");
    let endpoints = &running.endpoints;
    let making = async { running.create(&input).await.unwrap().endpoint.id };
    // At the first moment at which anybody can know of it, when the engine does not yet.
    let disabling = async {
        while endpoints.list().is_empty() {
            tokio::task::yield_now().await;
        }
        let id = endpoints.list().remove(0).id;
        endpoints.disable(&operator(), &id).await.unwrap()
    };
    // In this order, so that nothing runs between the listing and the look at it.
    let both = async { tokio::join!(biased; making, disabling) };
    let (id, disabled) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    assert_eq!(disabled.state, "paused");
    assert_eq!(endpoints.get(&id).unwrap().state, "paused");
    running.engine.drain().await;
}
