//! Replays: a range of the log, shown to a target again.

use std::{sync::Arc, time::Duration};

use nexus_core::{Exchange, Mode, Reaction, ReactorError, Seq};
use nexus_reactors::{Error, Handle, OutcomeState, ReplayId, ReplayRequest, ReplayState};
use parking_lot::Mutex;

use crate::support::{Scripted, World, mint, options, until};

fn request(after: u64, through: u64, outbound: bool) -> ReplayRequest {
    ReplayRequest {
        target: "mint".into(),
        after: Seq::new(after),
        through: Seq::new(through),
        rate_per_second: 1_000.0,
        outbound,
    }
}

async fn ended(handle: &Handle, id: &ReplayId) -> nexus_reactors::ReplayInfo {
    until("the replay has ended", || async {
        let replays = handle.replays().await.unwrap();
        replays
            .iter()
            .any(|it| it.id == *id && it.state != ReplayState::Running)
    })
    .await;
    let replays = handle.replays().await.unwrap();
    replays.into_iter().find(|it| it.id == *id).unwrap()
}

/// A reactor that mints and notes the mode of each attempt.
fn minter(world: &World, modes: &Arc<Mutex<Vec<(u64, Mode)>>>) -> Scripted {
    let (log, modes) = (world.log.clone(), modes.clone());
    Scripted::new("mint", move |attempt| {
        modes.lock().push((attempt.event.seq.get(), attempt.mode));
        attempt.exchange(Exchange {
            url: "https://factory.example/api/mint".into(),
            status: attempt.mode.calls_out().then_some(200),
            ..Exchange::default()
        });
        let reaction = Reaction::emit(mint(&log));
        async { Ok(reaction) }
    })
}

async fn settled(handle: &Handle) {
    until("all are settled", || async {
        let target = handle.target("mint").unwrap();
        target.lag == 0 && target.waiting == 0
    })
    .await;
}

#[tokio::test]
async fn a_replay_shows_its_range_again_marked_and_ends_by_itself() {
    let world = World::new().await;
    let modes = Arc::new(Mutex::default());
    let engine = world.engine(vec![minter(&world, &modes).shared()]).await;
    let handle = engine.handle();
    for n in 1..=10 {
        world.pay(&format!("tx-{n}")).await;
        settled(&handle).await;
    }
    let payments: Vec<u64> = modes.lock().drain(..).map(|(seq, _)| seq).collect();
    assert_eq!(
        (payments.len(), world.count("mint.requested").await),
        (10, 10)
    );
    let id = handle
        .replay(request(payments[2] - 1, payments[6], true))
        .await
        .unwrap();
    let replay = ended(&handle, &id).await;
    assert_eq!(
        (replay.state, replay.position.get()),
        (ReplayState::Done, payments[6])
    );
    let mut shown = modes.lock().clone();
    shown.sort_unstable_by_key(|(seq, _)| *seq);
    let expected = payments[2..=6]
        .iter()
        .map(|seq| (*seq, Mode::Replay { outbound: true }));
    assert!(shown.into_iter().eq(expected));
    assert_eq!(world.count("mint.requested").await, 15);
    let outcomes = handle.replay_outcomes(&id, None, 100).await.unwrap();
    assert_eq!(outcomes.items.len(), 5);
    assert!(matches!(
        handle.cancel_replay(&id).await,
        Err(Error::Conflict { .. })
    ));
    assert_eq!(handle.targets().len(), 1);
    engine.drain().await;
}

#[tokio::test]
async fn without_outbound_nothing_is_emitted_and_what_would_be_sent_is_kept() {
    let world = World::new().await;
    let modes = Arc::new(Mutex::default());
    let reactor = || {
        let mut reactor = minter(&world, &modes);
        reactor.once = true;
        reactor.shared()
    };
    let engine = world.engine(vec![]).await;
    let handle = engine.handle();
    for n in 1..=3 {
        world.pay(&format!("tx-{n}")).await;
    }
    handle.add(reactor()).await.unwrap();
    let id = handle.replay(request(0, 3, false)).await.unwrap();
    ended(&handle, &id).await;
    assert_eq!(world.count("mint.requested").await, 0);
    let shown = modes.lock().clone();
    assert!(shown.len() == 3 && shown.iter().all(|(_, mode)| !mode.calls_out()));
    let outcomes = handle.replay_outcomes(&id, None, 100).await.unwrap();
    let exchange = outcomes.items[0].exchange.as_ref().unwrap();
    assert_eq!(
        (&*exchange.url, exchange.status),
        ("https://factory.example/api/mint", None)
    );
    // No key was settled by looking: the real thing still happens.
    let id = handle.replay(request(0, 3, true)).await.unwrap();
    ended(&handle, &id).await;
    assert_eq!(world.count("mint.requested").await, 3);
}

#[tokio::test]
async fn what_a_key_stands_for_is_not_done_again_in_a_replay() {
    let world = World::new().await;
    let modes = Arc::new(Mutex::default());
    let mut reactor = minter(&world, &modes);
    reactor.once = true;
    let engine = world.engine(vec![reactor.shared()]).await;
    let handle = engine.handle();
    for n in 1..=3 {
        world.pay(&format!("tx-{n}")).await;
    }
    settled(&handle).await;
    modes.lock().clear();
    let through = world.log.head().seq.get();
    let id = handle.replay(request(0, through, true)).await.unwrap();
    ended(&handle, &id).await;
    assert!(modes.lock().is_empty(), "no call");
    assert_eq!(world.count("mint.requested").await, 3);
    let outcomes = handle.replay_outcomes(&id, None, 100).await.unwrap();
    let already = |outcome: &nexus_reactors::OutcomeInfo| outcome.state == OutcomeState::Already;
    assert!(outcomes.items.len() == 3 && outcomes.items.iter().all(already));
}

#[tokio::test]
async fn a_replay_survives_a_restart_and_a_crash() {
    let world = World::new().await;
    let modes = Arc::new(Mutex::default());
    for n in 1..=40 {
        world.pay(&format!("tx-{n}")).await;
    }
    let mut options = options();
    options.crashes_max = 1_000;
    let start = async || {
        let reactor = minter(&world, &modes).shared();
        world.engine_with(vec![reactor], options.clone()).await
    };
    let mut engine = start().await;
    let mut request = request(0, 40, true);
    request.rate_per_second = 200.0;
    let id = engine.handle().replay(request).await.unwrap();
    for round in 0..4 {
        let shown = modes.lock().len();
        until("it goes on", || async { modes.lock().len() > shown + 2 }).await;
        if round % 2 == 0 {
            engine.drain().await;
        } else {
            drop(engine);
        }
        engine = start().await;
    }
    let handle = engine.handle();
    let replay = ended(&handle, &id).await;
    assert_eq!((replay.state, replay.dead), (ReplayState::Done, 0));
    assert_eq!(
        world.count("mint.requested").await,
        40,
        "each in the log once"
    );
    assert!(world.deliveries().await.is_empty());
}

#[tokio::test]
async fn a_replay_is_cancelled_where_it_is() {
    let world = World::new().await;
    let modes = Arc::new(Mutex::default());
    for n in 1..=50 {
        world.pay(&format!("tx-{n}")).await;
    }
    let engine = world.engine(vec![minter(&world, &modes).shared()]).await;
    let handle = engine.handle();
    let mut slow = request(0, 50, true);
    // It is far from its end when it is cancelled, also after the machine stood still.
    slow.rate_per_second = 4.0;
    let id = handle.replay(slow).await.unwrap();
    until("it has begun", || async { modes.lock().len() >= 2 }).await;
    handle.cancel_replay(&id).await.unwrap();
    let shown = modes.lock().len();
    let replay = handle.replays().await.unwrap().remove(0);
    assert_eq!(replay.state, ReplayState::Cancelled);
    assert_eq!(replay.position.get(), shown as u64);
    drop(engine);
    let engine = world.engine(vec![minter(&world, &modes).shared()]).await;
    world.pay("one more").await;
    settled(&engine.handle()).await;
    assert_eq!(modes.lock().len(), shown + 1, "it does not come back");
}

#[tokio::test]
async fn what_fails_in_a_replay_is_an_outcome_and_no_dead_letter() {
    let world = World::new().await;
    let reactor = Scripted::new("mint", |attempt| async move {
        match (attempt.mode, attempt.event.seq.get()) {
            (Mode::Live, _) => Ok(Reaction::nothing()),
            (_, 1) => Err(ReactorError::gone("answered 410")),
            (_, 2) => Err(ReactorError::retry("down")),
            _ => Ok(Reaction::nothing()),
        }
    });
    let engine = world.engine(vec![reactor.shared()]).await;
    let handle = engine.handle();
    for n in 1..=3 {
        world.pay(&format!("tx-{n}")).await;
    }
    settled(&handle).await;
    let id = handle.replay(request(0, 3, true)).await.unwrap();
    let replay = ended(&handle, &id).await;
    assert_eq!(replay.dead, 2);
    assert!(world.deliveries().await.is_empty());
    let outcomes = handle.replay_outcomes(&id, None, 10).await.unwrap().items;
    let error = |seq: u64| {
        let outcome = outcomes
            .iter()
            .find(|outcome| outcome.seq.get() == seq)
            .unwrap();
        outcome.error.clone()
    };
    assert_eq!(error(1).as_deref(), Some("answered 410"));
    assert_eq!(error(2).as_deref(), Some("down"));
    assert_eq!(error(3), None);
    let target = handle.target("mint").unwrap();
    assert_eq!(
        target.state,
        nexus_reactors::TargetState::Running,
        "what is live goes on"
    );
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let world = World::new().await;
    let mut options = options();
    options.replays_max = 1;
    let reactor = Scripted::new("mint", |_| async { Ok(Reaction::nothing()) });
    let engine = world.engine_with(vec![reactor.shared()], options).await;
    let handle = engine.handle();
    for n in 1..=9 {
        world.pay(&format!("tx-{n}")).await;
    }
    for (after, through, rate) in [(5, 5, 1.0), (9, 20, 1.0), (0, 9, 0.0), (0, 9, f64::NAN)] {
        let mut request = request(after, through, true);
        request.rate_per_second = rate;
        let refused = handle.replay(request).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    let mut unable = Scripted::new("mint", |_| async { Ok(Reaction::nothing()) });
    unable.rehearses = false;
    handle.add(unable.shared()).await.unwrap();
    let refused = handle.replay(request(0, 9, false)).await;
    assert!(
        matches!(refused, Err(Error::Conflict { .. })),
        "{refused:?}"
    );
    let mut unknown = request(0, 9, true);
    unknown.target = "nobody".into();
    assert!(matches!(
        handle.replay(unknown).await,
        Err(Error::NotFound { .. })
    ));
    let mut slow = request(0, 9, true);
    slow.rate_per_second = 0.1;
    let id = handle.replay(slow.clone()).await.unwrap();
    assert!(matches!(
        handle.replay(slow).await,
        Err(Error::Conflict { .. })
    ));
    handle.cancel_replay(&id).await.unwrap();
    let missing = handle.cancel_replay(&ReplayId::new("none")).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })));
    tokio::time::timeout(Duration::from_secs(60), engine.drain())
        .await
        .unwrap();
}
