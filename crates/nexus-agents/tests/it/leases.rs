//! Leases: what ends them, and what does not.

use std::time::{Duration, Instant};

use nexus_agents::{AgentsOptions, Error, Profile, Term};
use nexus_core::Clock;

use crate::support::{World, memory_log, options, session, until, work};

const HOUR_US: i64 = 3_600_000_000;

fn short() -> AgentsOptions {
    AgentsOptions {
        lease: Duration::from_secs(1),
        // Longer than the machine may stand still between two signs of life.
        silence: Duration::from_millis(1_500),
        ..options()
    }
}

#[tokio::test]
async fn a_late_holder_is_stopped_by_its_token() {
    let world = World::over(memory_log(Clock::System).await, short()).await;
    let (late, next, item) = (session("late"), session("next"), work("w"));
    let old = world.agents.claim(&late, &item, "d", None).await.unwrap();
    assert_eq!(old.claim.term, Term::Seconds(1));
    until("the lease runs out", async || {
        world.agents.claims(None).is_empty()
    })
    .await;
    let new = world
        .agents
        .claim(&next, &item, "d", Some(60))
        .await
        .unwrap();
    assert!(new.claim.token > old.claim.token);
    for token in [None, Some(old.claim.token)] {
        let refused = world.agents.complete(&late, &item, token).await;
        assert!(
            matches!(refused, Err(Error::StaleClaim { .. })),
            "{refused:?}"
        );
    }
    world.agents.complete(&next, &item, None).await.unwrap();
    let expected = [
        "work.claimed",
        "work.expired",
        "work.claimed",
        "work.completed",
    ];
    assert_eq!(world.topics(&["work.*"]).await, expected);
}

#[tokio::test]
async fn a_connection_holds_work_while_it_is_heard_of() {
    let world = World::over(memory_log(Clock::System).await, short()).await;
    let (me, item) = (session("me"), work("w"));
    let connection = world.agents.connect(&me, Profile::default()).await.unwrap();
    let granted = world.agents.claim(&me, &item, "d", None).await.unwrap();
    assert_eq!(granted.claim.term, Term::Connection);
    let since = Instant::now();
    while since.elapsed() < 2 * short().silence {
        tokio::time::sleep(Duration::from_millis(50)).await;
        connection.heard();
    }
    assert_eq!(world.agents.claims(Some(&me)).len(), 1, "it was heard of");
    until("its silence ends the lease", async || {
        world.agents.claims(None).is_empty()
    })
    .await;
    assert_eq!(
        world.topics(&["work.*"]).await,
        ["work.claimed", "work.expired"]
    );
    assert!(connection.counts());
}

#[tokio::test]
async fn a_clock_that_is_set_changes_no_lease() {
    let clock = Clock::manual(1_763_704_800_000_000);
    let world = World::over(memory_log(clock.clone()).await, options()).await;
    let (me, other, item) = (session("me"), session("other"), work("w"));
    let granted = world.agents.claim(&me, &item, "d", Some(60)).await.unwrap();
    for by_us in [HOUR_US, -2 * HOUR_US, 50 * HOUR_US] {
        clock.advance_us(by_us);
        let refused = world.agents.claim(&other, &item, "d", None).await;
        assert!(
            matches!(refused, Err(Error::WorkHeld { .. })),
            "{refused:?}"
        );
        let token = Some(granted.claim.token);
        let renewed = world.agents.renew(&me, &item, token).await.unwrap();
        let left_us = renewed.lease_expires_us - clock.now_us();
        assert!((59_000_000..=60_000_000).contains(&left_us), "{left_us}");
    }
    assert_eq!(world.topics(&["work.*"]).await, ["work.claimed"]);
}

#[tokio::test]
async fn after_a_restart_every_lease_begins_anew_and_nothing_is_claimed_twice() {
    let world = World::new().await;
    let (me, other) = (session("me"), session("other"));
    let _connection = world.agents.connect(&me, Profile::default()).await.unwrap();
    let bound = world
        .agents
        .claim(&me, &work("a"), "d", None)
        .await
        .unwrap();
    let timed = world
        .agents
        .claim(&other, &work("b"), "d", Some(60))
        .await
        .unwrap();
    world
        .agents
        .claim(&me, &work("c"), "d", None)
        .await
        .unwrap();
    world.agents.complete(&me, &work("c"), None).await.unwrap();

    let world = world.restart(options()).await;
    let held = world.agents.claims(None);
    let claims: Vec<_> = held.iter().map(|granted| &granted.claim).collect();
    assert_eq!(claims, [&bound.claim, &timed.claim]);
    for (granted, lasting_us) in held.iter().zip([30_000_000, 60_000_000]) {
        let left_us = granted.lease_expires_us - world.log.clock().now_us();
        assert!(
            left_us > lasting_us - 5_000_000,
            "{left_us} of {lasting_us}"
        );
    }
    for item in ["a", "b"] {
        let refused = world
            .agents
            .claim(&session("third"), &work(item), "d", None)
            .await;
        assert!(
            matches!(refused, Err(Error::WorkHeld { .. })),
            "{refused:?}"
        );
    }
    let refused = world.agents.claim(&me, &work("c"), "d", None).await;
    assert!(
        matches!(refused, Err(Error::WorkCompleted { .. })),
        "{refused:?}"
    );
    // It comes back, and goes on with the token that it has.
    let back = world.agents.connect(&me, Profile::default()).await.unwrap();
    let token = Some(bound.claim.token);
    world.agents.complete(&me, &work("a"), token).await.unwrap();
    assert_eq!(world.topics(&["session.*"]).await, ["session.connected"]);
    drop(back);
}

#[tokio::test]
async fn completed_work_is_remembered_for_a_time() {
    let clock = Clock::manual(1_763_704_800_000_000);
    let world = World::over(memory_log(clock.clone()).await, options()).await;
    let (me, item) = (session("me"), work("w"));
    world.agents.claim(&me, &item, "d", None).await.unwrap();
    world.agents.complete(&me, &item, None).await.unwrap();
    clock.advance_us(30 * 24 * HOUR_US - 1_000_000);
    let refused = world.agents.claim(&me, &item, "d", None).await;
    assert!(
        matches!(refused, Err(Error::WorkCompleted { .. })),
        "{refused:?}"
    );
    clock.advance_us(2_000_000);
    let refused = world.agents.renew(&me, &item, None).await;
    assert!(
        matches!(refused, Err(Error::UnknownWork { .. })),
        "{refused:?}"
    );
    world.agents.claim(&me, &item, "d", None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hears_that_work_is_free_gets_it() {
    let world = World::new().await;
    let (me, next, item) = (session("me"), session("next"), work("w"));
    for _ in 0..200 {
        let patterns = nexus_core::PatternSet::parse(["work.released"]).unwrap();
        let mut heard = world.log.live_cursor(patterns);
        let held = world.agents.claim(&me, &item, "d", None).await.unwrap();
        let agents = world.agents.clone();
        let (releasing, released) = (me.clone(), item.clone());
        let release = tokio::spawn(async move {
            let token = Some(held.claim.token);
            agents.release(&releasing, &released, token).await.unwrap();
        });
        while heard.next().await.unwrap().events.is_empty() {}
        world.agents.claim(&next, &item, "d", None).await.unwrap();
        release.await.unwrap();
        world.agents.release(&next, &item, None).await.unwrap();
    }
}
