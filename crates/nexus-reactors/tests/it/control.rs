//! Targets that come, go, stand still and go on while the engine runs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering as Atomic},
    },
    time::Duration,
};

use nexus_core::{
    Blocked, Clock, Command, Filter, From, Ordering, Principal, Reaction, ReactorError,
};
use nexus_reactors::{EngineOptions, Error, Handle, TargetState};
use parking_lot::Mutex;

use crate::support::{Scripted, World, mint, options, runs, until};

/// Waits until a target has nothing left to do.
async fn idle(handle: &Handle, name: &str) {
    until("it is idle", || async {
        let target = handle.target(name).unwrap();
        target.lag == 0 && target.waiting == 0 && target.running == 0
    })
    .await;
}

fn counting(name: &str) -> Scripted {
    Scripted::new(name, |_| async { Ok(Reaction::nothing()) })
}

#[tokio::test]
async fn targets_come_and_go_while_the_engine_runs() {
    let world = World::new().await;
    let engine = world.engine(vec![]).await;
    let handle = engine.handle();
    world.pay("before it was there").await;
    let first = counting("late");
    let ran = first.ran();
    handle.add(first.shared()).await.unwrap();
    world.pay("tx-1").await;
    idle(&handle, "late").await;
    assert_eq!(*ran.lock(), [(2, 1)]);
    handle.remove("late", false).await.unwrap();
    assert!(handle.targets().is_empty());
    world.pay("while it is away").await;
    let again = counting("late");
    let ran = again.ran();
    handle.add(again.shared()).await.unwrap();
    idle(&handle, "late").await;
    assert_eq!(*ran.lock(), [(3, 1)], "it goes on where it was");
    handle.remove("late", true).await.unwrap();
    world.pay("forgotten").await;
    let anew = counting("late");
    let ran = anew.ran();
    handle.add(anew.shared()).await.unwrap();
    world.pay("tx-2").await;
    idle(&handle, "late").await;
    assert_eq!(*ran.lock(), [(5, 1)], "forgotten, it begins anew");
    let missing = handle.remove("nobody", false).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })));
    engine.drain().await;
    assert!(matches!(
        handle.add(counting("x").shared()).await,
        Err(Error::Ended)
    ));
}

#[tokio::test]
async fn what_is_forgotten_leaves_nothing_behind() {
    let world = World::new().await;
    let mut reactor = Scripted::new("gone", |attempt| async move {
        match attempt.event.seq.get() {
            1 => Err(ReactorError::final_("no")),
            2 => Err(ReactorError::retry("not yet")),
            _ => Ok(Reaction::nothing()),
        }
    });
    reactor.options.retry.first = Duration::from_secs(3_600);
    reactor.options.keeps_outcomes = true;
    let engine = world.engine(vec![reactor.shared()]).await;
    let handle = engine.handle();
    for n in 0..4 {
        world.pay(&format!("tx-{n}")).await;
    }
    until("all are settled", || async {
        handle.target("gone").unwrap().lag == 0
    })
    .await;
    handle.pause("gone", "").await.unwrap();
    assert_eq!(world.deliveries().await.len(), 2);
    assert_eq!(
        handle.outcomes("gone", None, 10).await.unwrap().items.len(),
        3
    );
    handle.remove("gone", true).await.unwrap();
    assert!(world.deliveries().await.is_empty());
    assert!(
        handle
            .outcomes("gone", None, 10)
            .await
            .unwrap()
            .items
            .is_empty()
    );
    handle.add(counting("gone").shared()).await.unwrap();
    let target = handle.target("gone").unwrap();
    assert_eq!(
        (target.state, target.dead, target.waiting),
        (TargetState::Running, 0, 0)
    );
}

#[tokio::test]
async fn a_target_that_is_replaced_under_load_runs_each_event_once() {
    const PAYMENTS: usize = 400;
    let world = Arc::new(World::new().await);
    let ran = Arc::new(Mutex::new(Vec::new()));
    let reactor = || {
        let mut reactor = Scripted::new("mint", |_| async {
            tokio::task::yield_now().await;
            Ok(Reaction::nothing())
        });
        reactor.ran = ran.clone();
        reactor.shared()
    };
    let engine = world.engine(vec![reactor()]).await;
    let handle = engine.handle();
    let publisher = tokio::spawn({
        let world = world.clone();
        async move {
            for n in 0..PAYMENTS {
                world.pay(&format!("tx-{n}")).await;
                tokio::task::yield_now().await;
            }
        }
    });
    let mut replaced = 0;
    while !publisher.is_finished() {
        handle.add(reactor()).await.unwrap();
        replaced += 1;
    }
    assert!(replaced > 1, "{replaced}");
    idle(&handle, "mint").await;
    let runs = runs(&ran);
    assert_eq!(runs.len(), PAYMENTS);
    assert!(runs.values().all(|times| *times == 1));
}

#[tokio::test]
async fn a_paused_target_begins_nothing_shows_its_lag_and_goes_on_where_it_was() {
    let world = World::new().await;
    let engine = world.engine(vec![counting("mint").shared()]).await;
    let handle = engine.handle();
    let mut changes = handle.changes();
    world.pay("tx-1").await;
    idle(&handle, "mint").await;
    handle.pause("mint", "the factory moves").await.unwrap();
    for n in 2..=5 {
        world.pay(&format!("tx-{n}")).await;
    }
    let target = handle.target("mint").unwrap();
    assert_eq!((target.state, target.lag), (TargetState::Paused, 4));
    engine.drain().await;

    let reactor = counting("mint");
    let ran = reactor.ran();
    // One that runs beside it shows that the engine had time enough to begin something.
    let engine = world
        .engine(vec![reactor.shared(), counting("beside").shared()])
        .await;
    let handle = engine.handle();
    world.pay("tx-6").await;
    idle(&handle, "beside").await;
    let target = handle.target("mint").unwrap();
    assert_eq!(
        (target.state, target.lag),
        (TargetState::Paused, 5),
        "also after a restart"
    );
    assert_eq!(target.why.as_deref(), Some("the factory moves"));
    assert!(ran.lock().is_empty());
    let mut later = handle.changes();
    handle.resume("mint").await.unwrap();
    idle(&handle, "mint").await;
    let mut seqs: Vec<_> = ran.lock().iter().map(|(seq, _)| *seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [2, 3, 4, 5, 6]);
    assert_eq!(changes.recv().await.unwrap().state, TargetState::Paused);
    assert_eq!(later.recv().await.unwrap().state, TargetState::Running);
    let missing = handle.pause("nobody", "").await;
    assert!(matches!(missing, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn deliveries_of_a_paused_target_wait() {
    let world = World::new().await;
    let healthy = Arc::new(AtomicBool::new(false));
    let is_healthy = healthy.clone();
    let reactor = Scripted::new("mint", move |_| {
        let is_healthy = is_healthy.load(Atomic::SeqCst);
        async move {
            match is_healthy {
                true => Ok(Reaction::nothing()),
                false => Err(ReactorError::retry("down")),
            }
        }
    });
    let ran = reactor.ran();
    let engine = world.engine(vec![reactor.shared()]).await;
    let handle = engine.handle();
    world.pay("tx-1").await;
    until("it failed", || async { !ran.lock().is_empty() }).await;
    handle.pause("mint", "").await.unwrap();
    until("what ran has ended", || async {
        handle.target("mint").unwrap().running == 0
    })
    .await;
    let before = ran.lock().len();
    assert_eq!(handle.target("mint").unwrap().waiting, 1);
    healthy.store(true, Atomic::SeqCst);
    handle.resume("mint").await.unwrap();
    idle(&handle, "mint").await;
    assert_eq!(ran.lock().len(), before + 1);
}

#[tokio::test]
async fn a_receiver_that_is_gone_disables_its_target_and_the_event_waits() {
    let world = World::new().await;
    let is_back = Arc::new(AtomicBool::new(false));
    let back = is_back.clone();
    let reactor = || {
        let back = back.clone();
        let mut reactor = Scripted::new("shop", move |_| {
            let is_back = back.load(Atomic::SeqCst);
            async move {
                match is_back {
                    true => Ok(Reaction::nothing()),
                    false => Err(ReactorError::gone("answered 410")),
                }
            }
        });
        reactor.options.concurrency = 1;
        reactor
    };
    let first = reactor();
    let ran = first.ran();
    let engine = world.engine(vec![first.shared()]).await;
    let handle = engine.handle();
    let mut changes = handle.changes();
    for n in 1..=3 {
        world.pay(&format!("tx-{n}")).await;
    }
    let change = changes.recv().await.unwrap();
    assert_eq!(
        (&*change.name, change.state),
        ("shop", TargetState::Disabled)
    );
    assert_eq!(change.why.as_deref(), Some("answered 410"));
    assert_eq!(ran.lock().len(), 1, "nobody asks again");
    assert_eq!(handle.target("shop").unwrap().waiting, 1);
    engine.drain().await;
    let engine = world.engine(vec![reactor().shared()]).await;
    let handle = engine.handle();
    let target = handle.target("shop").unwrap();
    assert_eq!((target.state, target.lag), (TargetState::Disabled, 2));
    is_back.store(true, Atomic::SeqCst);
    handle.resume("shop").await.unwrap();
    idle(&handle, "shop").await;
    assert_eq!(handle.target("shop").unwrap().dead, 0);
}

/// Nothing has failed where a receiver is gone: what stands behind it in its order waits with it, also where it
/// would not behind a failure.
#[tokio::test]
async fn behind_a_receiver_that_is_gone_nothing_is_parked() {
    let world = World::new().await;
    let is_back = Arc::new(AtomicBool::new(false));
    let back = is_back.clone();
    let mut reactor = Scripted::new("shop", move |_| {
        let is_back = back.load(Atomic::SeqCst);
        async move {
            match is_back {
                true => Ok(Reaction::nothing()),
                false => Err(ReactorError::gone("answered 410")),
            }
        }
    });
    reactor.options.ordering = Ordering::Key;
    reactor.options.on_blocked = Blocked::Park;
    let ran = reactor.ran();
    let engine = world.engine(vec![reactor.shared()]).await;
    let handle = engine.handle();
    // In one commit, so that all are begun before the first has ended.
    let payment = r#"{"transactionId":"tx","amount":1,"payerId":"payer"}"#;
    let command = Command {
        events: vec![world.payment(payment.to_owned()); 3],
        ..Command::default()
    };
    let principal = Principal::nexus();
    world.log.submit(&principal, command).await.unwrap();
    until("it is disabled, and all of them are kept", || async {
        let target = handle.target("shop").unwrap();
        target.state == TargetState::Disabled && target.waiting + target.dead == 3
    })
    .await;
    assert_eq!(handle.target("shop").unwrap().dead, 0);
    is_back.store(true, Atomic::SeqCst);
    handle.resume("shop").await.unwrap();
    idle(&handle, "shop").await;
    assert_eq!(handle.target("shop").unwrap().dead, 0);
    let seqs: Vec<u64> = ran.lock().iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, [1, 1, 2, 3], "all in their order");
}

#[tokio::test]
async fn a_target_for_which_nothing_succeeds_for_too_long_is_disabled_also_over_a_restart() {
    const DAY_US: i64 = 86_400_000_000;
    let clock = Clock::manual(1_800_000_000_000_000);
    let world = World::with_clock(clock.clone()).await;
    let fails = Arc::new(AtomicBool::new(true));
    let reactor = || {
        let fails = fails.clone();
        let mut reactor = Scripted::new("shop", move |_| {
            let fails = fails.load(Atomic::SeqCst);
            async move {
                match fails {
                    true => Err(ReactorError::final_("answered 404")),
                    false => Ok(Reaction::nothing()),
                }
            }
        });
        reactor.options.gives_up_after = Some(Duration::from_secs(5 * 86_400));
        reactor.shared()
    };
    let mut engine = world.engine(vec![reactor()]).await;
    let pay = async |engine: &nexus_reactors::Engine| {
        world.pay("tx").await;
        let handle = engine.handle();
        until("it is settled", || async {
            let target = handle.target("shop").unwrap();
            target.lag == 0 && target.running == 0
        })
        .await;
        handle.target("shop").unwrap().state
    };
    assert_eq!(pay(&engine).await, TargetState::Running);
    clock.advance_us(4 * DAY_US);
    fails.store(false, Atomic::SeqCst);
    assert_eq!(pay(&engine).await, TargetState::Running);
    fails.store(true, Atomic::SeqCst);
    clock.advance_us(2 * DAY_US);
    assert_eq!(
        pay(&engine).await,
        TargetState::Running,
        "a success began the time anew"
    );
    engine.drain().await;
    engine = world.engine(vec![reactor()]).await;
    clock.advance_us(4 * DAY_US);
    assert_eq!(pay(&engine).await, TargetState::Running);
    clock.advance_us(DAY_US);
    assert_eq!(pay(&engine).await, TargetState::Disabled);
    let handle = engine.handle();
    let why = handle.target("shop").unwrap().why.unwrap();
    assert!(why.contains("answered 404"), "{why}");
    handle.resume("shop").await.unwrap();
    assert_eq!(
        pay(&engine).await,
        TargetState::Running,
        "whoever resumes it gives it time"
    );
}

/// A receiver is not to blame for what was not asked of it.
#[tokio::test]
async fn what_counts_as_failing_is_not_the_time_in_which_nothing_ran() {
    const DAY_US: i64 = 86_400_000_000;
    let clock = Clock::manual(1_800_000_000_000_000);
    let world = World::with_clock(clock.clone()).await;
    let reactor = || {
        let mut reactor = Scripted::new("shop", |_| async { Err(ReactorError::final_("no")) });
        reactor.options.gives_up_after = Some(Duration::from_secs(5 * 86_400));
        reactor.shared()
    };
    // What a failure after so many days leaves the target as.
    let fail_after = async |engine: &nexus_reactors::Engine, days: i64| {
        clock.advance_us(days * DAY_US);
        world.pay("tx").await;
        let handle = engine.handle();
        until("it is settled", || async {
            let target = handle.target("shop").unwrap();
            target.lag == 0 && target.running == 0
        })
        .await;
        handle.target("shop").unwrap().state
    };
    let engine = world.engine(vec![reactor()]).await;
    assert_eq!(fail_after(&engine, 0).await, TargetState::Running);
    assert_eq!(fail_after(&engine, 3).await, TargetState::Running);
    engine.drain().await;
    clock.advance_us(10 * DAY_US);
    let engine = world.engine(vec![reactor()]).await;
    assert_eq!(fail_after(&engine, 0).await, TargetState::Running);
    assert_eq!(fail_after(&engine, 1).await, TargetState::Running);
    assert_eq!(fail_after(&engine, 1).await, TargetState::Disabled);
    engine.drain().await;
}

#[tokio::test]
async fn an_event_that_does_not_meet_the_condition_is_passed_without_a_trace() {
    let world = World::new().await;
    let mut reactor = counting("odd");
    reactor.options.filter = Some(Filter::new("seq % 2 == 1", |event| {
        event.seq.get() % 2 == 1
    }));
    reactor.options.begin = Some(From::Earliest);
    let ran = reactor.ran();
    for n in 1..=10 {
        world.pay(&format!("tx-{n}")).await;
    }
    let engine = world.engine(vec![reactor.shared()]).await;
    let handle = engine.handle();
    idle(&handle, "odd").await;
    let mut seqs: Vec<_> = ran.lock().iter().map(|(seq, _)| *seq).collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [1, 3, 5, 7, 9]);
    assert!(world.deliveries().await.is_empty());
    assert_eq!(
        handle.target("odd").unwrap().filter.as_deref(),
        Some("seq % 2 == 1")
    );
}

#[tokio::test]
async fn a_receiver_with_which_nothing_works_is_left_alone_and_then_asked_once() {
    const OPEN: Duration = Duration::from_millis(300);
    let world = World::new().await;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let mut reactor = Scripted::new("shop", move |_| {
        let mut asked = seen.lock();
        asked.push(tokio::time::Instant::now());
        // The first probe fails as well.
        let works = asked.len() > 4;
        async move {
            match works {
                true => Ok(Reaction::nothing()),
                false => Err(ReactorError::retry("down")),
            }
        }
    });
    reactor.options.concurrency = 1;
    reactor.options.retry.first = Duration::ZERO;
    reactor.options.breaker = Some(nexus_core::Breaker {
        failures: 3,
        open: OPEN,
    });
    let engine = world.engine(vec![reactor.shared()]).await;
    let handle = engine.handle();
    for n in 0..20 {
        world.pay(&format!("tx-{n}")).await;
    }
    until("all are done", || async {
        asked.lock().len() == 24 && handle.target("shop").unwrap().waiting == 0
    })
    .await;
    let asked = asked.lock().clone();
    assert!(asked[3] - asked[2] >= OPEN, "left alone");
    assert!(asked[4] - asked[3] >= OPEN, "asked once");
    let breaker = handle.target("shop").unwrap().breaker;
    assert_eq!(breaker, nexus_reactors::BreakerState::Closed);
    assert_eq!(
        handle.target("shop").unwrap().dead,
        0,
        "nothing was given up meanwhile"
    );
}

#[tokio::test]
async fn a_target_begins_no_more_in_a_second_than_it_may() {
    const EVERY: Duration = Duration::from_millis(20);
    let world = World::new().await;
    let begun = Arc::new(Mutex::new(Vec::new()));
    let seen = begun.clone();
    let mut reactor = Scripted::new("shop", move |attempt| {
        seen.lock().push(tokio::time::Instant::now());
        let fails = attempt.number == 1 && attempt.event.seq.get() % 3 == 0;
        async move {
            match fails {
                true => Err(ReactorError::retry("again")),
                false => Ok(Reaction::nothing()),
            }
        }
    });
    reactor.options.rate_per_second = Some(50.0);
    let start = tokio::time::Instant::now();
    let engine = world.engine(vec![reactor.shared()]).await;
    for n in 0..30 {
        world.pay(&format!("tx-{n}")).await;
    }
    let handle = engine.handle();
    until("all are done", || async {
        begun.lock().len() == 40 && handle.target("shop").unwrap().waiting == 0
    })
    .await;
    let begun = begun.lock().clone();
    for (n, at) in (0_u32..).zip(&begun) {
        assert!(*at - start >= EVERY * n, "the {n}. after {:?}", *at - start);
    }
}

#[tokio::test]
async fn a_dead_letter_that_is_retried_has_all_its_attempts_again() {
    let world = World::new().await;
    let healthy = Arc::new(AtomicBool::new(false));
    let is_healthy = healthy.clone();
    let log = world.log.clone();
    let reactor = Scripted::new("mint", move |_| {
        let is_healthy = is_healthy.load(Atomic::SeqCst);
        let reaction = Reaction::emit(mint(&log));
        async move {
            match is_healthy {
                true => Ok(reaction),
                false => Err(ReactorError::retry("down")),
            }
        }
    });
    let ran = reactor.ran();
    let engine = world.engine(vec![reactor.shared()]).await;
    let handle = engine.handle();
    world.pay("tx-1").await;
    until("it is given up", || async {
        handle.stats().dead_letters == 1
    })
    .await;
    let id = handle.dead_letters(1).await.unwrap()[0].id.clone();
    handle.retry(&id).await.unwrap();
    until("it is given up again", || async {
        handle.stats().dead_letters == 1 && ran.lock().len() == 12
    })
    .await;
    let letter = handle.delivery(&id).await.unwrap().unwrap();
    assert_eq!(letter.errors.len(), 12, "what went wrong before is kept");
    healthy.store(true, Atomic::SeqCst);
    // Of many at the same time one is the one.
    let retries = (0..10).map(|_| handle.retry(&id));
    let answers = futures_util::future::join_all(retries).await;
    let retried = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(retried, 1, "{answers:?}");
    idle(&handle, "mint").await;
    assert_eq!(ran.lock().len(), 13);
    assert_eq!(world.count("mint.requested").await, 1);
    assert!(world.deliveries().await.is_empty());
    assert!(matches!(
        handle.retry(&id).await,
        Err(Error::NotFound { .. })
    ));
    assert!(matches!(
        handle.discard(&id).await,
        Err(Error::NotFound { .. })
    ));
}

#[tokio::test]
async fn a_dead_letter_of_a_target_that_does_not_run_can_be_discarded_and_not_retried() {
    let world = World::new().await;
    let reactor = Scripted::new("mint", |_| async { Err(ReactorError::final_("no")) });
    let engine = world.engine(vec![reactor.shared()]).await;
    let handle = engine.handle();
    world.pay("tx-1").await;
    until("it is given up", || async {
        handle.stats().dead_letters == 1
    })
    .await;
    let id = handle.dead_letters(1).await.unwrap()[0].id.clone();
    handle.remove("mint", false).await.unwrap();
    assert!(matches!(
        handle.retry(&id).await,
        Err(Error::NotRunning { .. })
    ));
    assert!(matches!(
        handle.retry("mint/7").await,
        Err(Error::NotFound { .. })
    ));
    handle.discard(&id).await.unwrap();
    assert!(world.deliveries().await.is_empty());
}

/// Whoever discards lets no target come or go meanwhile, and waits for the storage as long as it takes.
#[tokio::test]
async fn an_engine_ends_in_time_although_somebody_waits_for_a_full_disk() {
    let world = World::new().await;
    let reactor = Scripted::new("mint", |_| async { Err(ReactorError::final_("no")) });
    let mut options = crate::support::options();
    options.drain_timeout = Duration::from_millis(10);
    let engine = world.engine_with(vec![reactor.shared()], options).await;
    let handle = engine.handle();
    world.pay("tx-1").await;
    until("it is given up", || async {
        handle.stats().dead_letters == 1
    })
    .await;
    let id = handle.dead_letters(1).await.unwrap()[0].id.clone();
    world.is_full.store(true, Atomic::SeqCst);
    let discarding = tokio::spawn({
        let (handle, id) = (handle.clone(), id.clone());
        async move { handle.discard(&id).await }
    });
    until("the log is found to be full", || async {
        world.log.health() == nexus_core::Health::Full
    })
    .await;
    let drained = tokio::time::timeout(Duration::from_secs(60), engine.drain()).await;
    assert!(drained.is_ok(), "it waits for the storage");
    assert!(!discarding.is_finished(), "nobody was told that it is done");
    discarding.abort();
    world.is_full.store(false, Atomic::SeqCst);
    assert_eq!(world.deliveries().await.len(), 1, "it is still there");
}

#[tokio::test]
async fn outcomes_are_kept_for_people_within_their_bounds() {
    let world = World::new().await;
    let mut reactor = Scripted::new("shop", |attempt| async move {
        attempt.exchange(nexus_core::Exchange {
            method: "POST".into(),
            url: format!("https://shop.example/{}", attempt.number),
            status: Some(if attempt.number == 1 { 503 } else { 200 }),
            ..Default::default()
        });
        match (attempt.event.seq.get(), attempt.number) {
            (1, _) => Err(ReactorError::final_("answered 404")),
            (2, 1) => Err(ReactorError::retry("answered 503")),
            _ => Ok(Reaction::nothing()),
        }
    });
    reactor.options.keeps_outcomes = true;
    reactor.options.concurrency = 1;
    let engine = world.engine(vec![reactor.shared()]).await;
    let handle = engine.handle();
    for n in 0..3 {
        world.pay(&format!("tx-{n}")).await;
        idle(&handle, "shop").await;
    }
    let outcomes = handle.outcomes("shop", None, 2).await.unwrap();
    let seqs: Vec<_> = outcomes
        .items
        .iter()
        .map(|outcome| outcome.seq.get())
        .collect();
    assert_eq!(seqs, [3, 2], "newest first");
    assert_eq!(outcomes.items[1].attempts, 2);
    let exchange = outcomes.items[1].exchange.as_ref().unwrap();
    assert_eq!(
        (&*exchange.url, exchange.status),
        ("https://shop.example/2", Some(200))
    );
    let rest = handle
        .outcomes("shop", outcomes.next.as_deref(), 2)
        .await
        .unwrap();
    assert_eq!((rest.items.len(), rest.next), (1, None));
    assert_eq!(rest.items[0].error.as_deref(), Some("answered 404"));
    assert_eq!(rest.items[0].state, nexus_reactors::OutcomeState::Dead);
    for _ in 0..12 {
        let payment = |n| {
            world.payment(format!(
                r#"{{"transactionId":"{n}","amount":1,"payerId":"p"}}"#
            ))
        };
        let command = nexus_core::Command {
            events: (0..100).map(payment).collect(),
            ..Default::default()
        };
        world
            .log
            .submit(&nexus_core::Principal::nexus(), command)
            .await
            .unwrap();
    }
    idle(&handle, "shop").await;
    let mut kept = Vec::new();
    let mut after = None;
    loop {
        let page = handle
            .outcomes("shop", after.as_deref(), 300)
            .await
            .unwrap();
        kept.extend(page.items.iter().map(|outcome| outcome.seq.get()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    kept.sort_unstable();
    let newest: Vec<_> = (204..=1_203).collect();
    assert_eq!(kept, newest);
}

#[tokio::test]
async fn attempts_of_a_target_never_exceed_its_concurrency() {
    let world = World::new().await;
    let (running, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (now, peak) = (running.clone(), most.clone());
    let mut reactor = Scripted::new("mint", move |_| {
        let now = now.clone();
        peak.fetch_max(now.fetch_add(1, Atomic::SeqCst) + 1, Atomic::SeqCst);
        async move {
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            now.fetch_sub(1, Atomic::SeqCst);
            Ok(Reaction::nothing())
        }
    });
    reactor.options.concurrency = 5;
    let engine = world.engine_with(vec![reactor.shared()], options()).await;
    for n in 0..100 {
        world.pay(&format!("tx-{n}")).await;
    }
    idle(&engine.handle(), "mint").await;
    assert!((2..=5).contains(&most.load(Atomic::SeqCst)), "{most:?}");
}

/// Its receiver is slow, so that it takes long to be drained; nobody else waits for that.
#[tokio::test]
async fn a_change_waits_for_no_target_but_its_own() {
    let world = World::new().await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let closed = gate.clone();
    let slow = Scripted::new("slow", move |_| {
        let gate = closed.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(Reaction::nothing())
        }
    });
    let ran = slow.ran();
    let options = EngineOptions {
        drain_timeout: Duration::from_secs(3_600),
        slow_attempt: Duration::from_secs(3_600),
        ..options()
    };
    let engine = world.engine_with(vec![slow.shared()], options).await;
    let handle = engine.handle();
    world.pay("tx-1").await;
    until("it runs", || async { !ran.lock().is_empty() }).await;
    let replacing = tokio::spawn({
        let (handle, next) = (handle.clone(), counting("slow").shared());
        async move { handle.add(next).await }
    });
    // Nothing else runs here: now the one that ran is being drained, and the other waits for it.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let other = counting("other");
    let ran_other = other.ran();
    handle.add(other.shared()).await.unwrap();
    world.pay("tx-2").await;
    until("the other runs", || async { !ran_other.lock().is_empty() }).await;
    handle.add(counting("other").shared()).await.unwrap();
    handle.remove("other", true).await.unwrap();
    assert!(!replacing.is_finished());
    gate.add_permits(2);
    replacing.await.unwrap().unwrap();
    idle(&handle, "slow").await;
    engine.drain().await;
}
