//! Engines that end without warning: dropping one is what a crash leaves behind.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering as Atomic},
    },
    time::Duration,
};

use nexus_core::{Fault, Outcome, Reaction, ReactorError, WriteError};

use crate::support::{Scripted, World, mint, until};

#[tokio::test]
async fn whenever_the_engine_ends_each_payment_is_minted_once_in_the_log() {
    let world = World::new().await;
    const PAYMENTS: usize = 300;
    let failed = Arc::new(AtomicU32::new(0));
    let reactor = || {
        let (log, failed) = (world.log.clone(), failed.clone());
        Scripted::new("mint", move |attempt| {
            let reaction = Reaction::emit(mint(&log));
            let fails = attempt.event.seq.get() % 7 == 0
                && attempt.number < 3
                && failed.fetch_add(1, Atomic::SeqCst) < 200;
            async move {
                tokio::task::yield_now().await;
                if fails {
                    Err(ReactorError::retry("now and then"))
                } else {
                    Ok(reaction)
                }
            }
        })
    };
    // Claims its place before the first payment.
    drop(world.engine(vec![reactor().shared()]).await);
    for n in 0..PAYMENTS {
        world.pay(&format!("tx-{n}")).await;
    }
    // Three crashes during one event would give it up, so the fuse is long.
    let mut options = crate::support::options();
    options.crashes_max = 1_000;
    for round in 0..40_u64 {
        let engine = world
            .engine_with(vec![reactor().shared()], options.clone())
            .await;
        tokio::time::sleep(Duration::from_micros(round * 137 % 3_000)).await;
        drop(engine);
    }
    let engine = world.engine_with(vec![reactor().shared()], options).await;
    let handle = engine.handle();
    until("all are settled", || async {
        handle.stats().pending == 0 && handle.lag()[0].events == 0
    })
    .await;
    engine.drain().await;
    assert_eq!(world.count("mint.requested").await, PAYMENTS);
    let mut causes: Vec<_> = world
        .all()
        .await
        .iter()
        .filter(|event| event.topic.as_str() == "mint.requested")
        .map(|event| event.causes().causation_id)
        .collect();
    causes.sort();
    causes.dedup();
    assert_eq!(causes.len(), PAYMENTS, "each once");
    assert!(world.deliveries().await.is_empty());
}

#[tokio::test]
async fn what_was_running_runs_alone_and_the_third_crash_parks_it() {
    let world = World::new().await;
    let reached = Arc::new(AtomicBool::new(false));
    let deadly = || {
        let reached = reached.clone();
        Scripted::new("mint", move |attempt| {
            let reached = reached.clone();
            async move {
                if attempt.event.seq.get() == 1 {
                    // Here the process would end.
                    reached.store(true, Atomic::SeqCst);
                    std::future::pending::<()>().await;
                }
                Ok(Reaction::nothing())
            }
        })
    };
    let mut engine = world.engine(vec![deadly().shared()]).await;
    world.pay("deadly").await;
    world.pay("harmless").await;
    for crash in 1..=3 {
        until("it runs", || async { reached.load(Atomic::SeqCst) }).await;
        reached.store(false, Atomic::SeqCst);
        drop(engine);
        let reactor = deadly();
        let ran = reactor.ran();
        engine = world.engine(vec![reactor.shared()]).await;
        let handle = engine.handle();
        if crash < 3 {
            until("it runs again", || async { !ran.lock().is_empty() }).await;
            assert_eq!(handle.stats().dead_letters, 0, "crash {crash}");
        } else {
            let letters = handle.dead_letters(10).await.unwrap();
            assert_eq!(letters.len(), 1);
            assert_eq!(letters[0].final_error, "crashed three times");
            until("the harmless one is settled", || async {
                handle.stats().pending == 0 && handle.lag()[0].events == 0
            })
            .await;
            assert!(!ran.lock().iter().any(|(seq, _)| *seq == 1));
        }
    }
}

#[tokio::test]
async fn an_attempt_that_draining_cuts_short_is_no_crash() {
    let world = World::new().await;
    let reactor = || Scripted::new("slow", |_| std::future::pending());
    let mut options = crate::support::options();
    options.drain_timeout = Duration::from_millis(10);
    world
        .engine_with(vec![reactor().shared()], options.clone())
        .await
        .drain()
        .await;
    world.pay("tx-1").await;
    for _ in 0..5 {
        let slow = reactor();
        let ran = slow.ran();
        let engine = world
            .engine_with(vec![slow.shared()], options.clone())
            .await;
        until("it runs", || async { !ran.lock().is_empty() }).await;
        engine.drain().await;
    }
    let quick = Scripted::new("slow", |_| async { Ok(Reaction::nothing()) });
    let engine = world.engine_with(vec![quick.shared()], options).await;
    let handle = engine.handle();
    until("it is settled", || async { handle.stats().pending == 0 }).await;
    assert_eq!(handle.stats().dead_letters, 0);
}

#[tokio::test]
async fn neither_is_one_that_is_cut_short_while_it_is_moved_out_of_the_window() {
    const FAULTS: usize = 9;
    let world = World::new().await;
    let faults = world.faults.clone();
    let reactor = Scripted::new("slow", move |attempt| {
        // From here on nothing is written but that they are moved out, and not at once.
        if attempt.event.seq.get() == 1 {
            faults.lock().extend((0..FAULTS).map(|_| WriteError {
                outcome: Outcome::NotStored,
                fault: Fault::Transient,
                source: "injected".into(),
            }));
        }
        std::future::pending()
    });
    let ran = reactor.ran();
    let mut options = crate::support::options();
    options.window = 4;
    options.drain_timeout = Duration::from_millis(10);
    let engine = world.engine_with(vec![reactor.shared()], options).await;
    let payment = |n| {
        world.payment(format!(
            r#"{{"transactionId":"{n}","amount":1,"payerId":"p"}}"#
        ))
    };
    let command = nexus_core::Command {
        events: (0..8).map(payment).collect(),
        ..Default::default()
    };
    world
        .log
        .submit(&nexus_core::Principal::nexus(), command)
        .await
        .unwrap();
    until("they are being moved out", || async {
        ran.lock().len() == 4 && world.faults.lock().len() < FAULTS
    })
    .await;
    engine.drain().await;
    let deliveries = world.deliveries().await;
    assert_eq!(deliveries.len(), 4);
    for record in deliveries {
        let body: serde_json::Value = serde_json::from_slice(&record.body).unwrap();
        assert_eq!(
            (&body["running"], &body["crashes"]),
            (&false.into(), &0.into())
        );
    }
}

#[tokio::test]
async fn a_second_engine_takes_over_and_the_first_stops() {
    let world = World::new().await;
    let log = world.log.clone();
    let reactor = || {
        let log = log.clone();
        Scripted::new("mint", move |_| {
            let reaction = Reaction::emit(mint(&log));
            async { Ok(reaction) }
        })
    };
    let first = world.engine(vec![reactor().shared()]).await;
    let second = world.engine(vec![reactor().shared()]).await;
    for n in 0..20 {
        world.pay(&format!("tx-{n}")).await;
    }
    until("all are minted", || async {
        world.count("mint.requested").await == 20
    })
    .await;
    until("the first has stopped", || async {
        first.handle().lag()[0].is_stopped
    })
    .await;
    until("nothing is behind", || async {
        second.handle().lag()[0].events == 0
    })
    .await;
    assert_eq!(world.count("mint.requested").await, 20);
}

#[tokio::test]
async fn a_once_key_is_settled_for_every_engine_that_follows() {
    let world = World::new().await;
    let log = world.log.clone();
    let reactor = || {
        let log = log.clone();
        let mut reactor = Scripted::new("mint", move |_| {
            let reaction = Reaction::emit(mint(&log));
            async { Ok(reaction) }
        });
        reactor.once = true;
        reactor
    };
    let engine = world.engine(vec![reactor().shared()]).await;
    world.pay("tx-1").await;
    until("it is minted", || async {
        world.count("mint.requested").await == 1
    })
    .await;
    drop(engine);
    let second = reactor();
    let ran = second.ran();
    let engine = world.engine(vec![second.shared()]).await;
    world.pay("tx-1").await;
    let handle = engine.handle();
    until("it is settled", || async {
        handle.stats().pending == 0 && handle.lag()[0].events == 0
    })
    .await;
    assert!(ran.lock().is_empty());
    assert_eq!(world.count("mint.requested").await, 1);
}

#[tokio::test]
async fn what_was_moved_out_of_the_window_is_found_after_a_crash() {
    let world = World::new().await;
    let mut options = crate::support::options();
    options.window = 16;
    let log = world.log.clone();
    let reactor = |hangs: bool| {
        let log = log.clone();
        Scripted::new("mint", move |attempt| {
            let reaction = Reaction::emit(mint(&log));
            async move {
                if attempt.event.seq.get() == 1 {
                    if hangs {
                        std::future::pending::<()>().await;
                    }
                    return Ok(reaction);
                }
                Ok(Reaction::nothing())
            }
        })
    };
    let engine = world
        .engine_with(vec![reactor(true).shared()], options.clone())
        .await;
    for n in 0..40 {
        world.pay(&format!("tx-{n}")).await;
    }
    let handle = engine.handle();
    until("it is moved out", || async {
        handle.stats().pending == 1 && handle.lag()[0].position.get() == 40
    })
    .await;
    drop(engine);
    let second = reactor(false);
    let ran = second.ran();
    let engine = world.engine_with(vec![second.shared()], options).await;
    until("it is settled", || async {
        engine.handle().stats().pending == 0
    })
    .await;
    assert_eq!(
        *ran.lock().first().unwrap(),
        (1, 1),
        "the same attempt again"
    );
    assert_eq!(world.count("mint.requested").await, 1);
    assert!(world.deliveries().await.is_empty());
}
