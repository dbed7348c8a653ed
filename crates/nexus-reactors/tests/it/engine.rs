//! Success, failure, retries, dead letters, and what they cost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering as Atomic},
    },
    time::Duration,
};

use nexus_core::{Fault, Outcome, Reaction, ReactorError, WriteError};

use crate::support::{Scripted, World, mint, options, runs, until};

#[tokio::test]
async fn success_costs_no_row_and_few_commits() {
    let world = World::new().await;
    let reactor = Scripted::new("free", |_| async { Ok(Reaction::nothing()) });
    let ran = reactor.ran();
    // Long, so that the number of commits does not depend on how fast the machine is.
    let mut options = options();
    options.linger = Duration::from_millis(300);
    options.position_every = Duration::from_secs(60);
    let engine = world.engine_with(vec![reactor.shared()], options).await;
    for batch in 0..10 {
        let payload = |n| format!(r#"{{"transactionId":"{batch}-{n}","amount":1,"payerId":"p"}}"#);
        let events = (0..100).map(|n| world.payment(payload(n))).collect();
        let command = nexus_core::Command {
            events,
            ..Default::default()
        };
        world
            .log
            .submit(&nexus_core::Principal::nexus(), command)
            .await
            .unwrap();
    }
    let handle = engine.handle();
    until("all are settled", || async {
        handle.lag()[0].position.get() == 1_000
    })
    .await;
    assert_eq!(ran.lock().len(), 1_000);
    assert!(world.deliveries().await.is_empty());
    let commits = world.commits.load(Atomic::SeqCst);
    assert!(commits <= 10 + 40, "{commits} commits for 1,000 successes");
    engine.drain().await;
    let cursor = world.cursor("free").await;
    assert_eq!(
        (&cursor["position"], &cursor["opened"]),
        (&1_000.into(), &1_000.into())
    );
}

#[tokio::test]
async fn what_a_reactor_emits_follows_from_the_event() {
    let world = World::new().await;
    let log = world.log.clone();
    let reactor = Scripted::new("mint", move |_| {
        let reaction = Reaction::emit(mint(&log));
        async { Ok(reaction) }
    });
    let engine = world.engine(vec![reactor.shared()]).await;
    world.pay("tx-1").await;
    until("it is minted", || async {
        world.count("mint.requested").await == 1
    })
    .await;
    engine.drain().await;
    let events = world.all().await;
    let causes = events[1].causes();
    assert_eq!(events[1].source.as_str(), "reactor:mint");
    assert_eq!(causes.causation_id, Some(events[0].id));
    assert_eq!(causes.correlation_id, Some(events[0].id));
    assert_eq!(causes.hops, 1);
}

#[tokio::test]
async fn two_failures_then_success_mints_once_and_leaves_nothing() {
    let world = World::new().await;
    let log = world.log.clone();
    let reactor = Scripted::new("mint", move |attempt| {
        let reaction = Reaction::emit(mint(&log));
        async move {
            if attempt.number < 3 {
                return Err(ReactorError::retry("the factory answered 503"));
            }
            Ok(reaction)
        }
    });
    let ran = reactor.ran();
    let engine = world.engine(vec![reactor.shared()]).await;
    world.pay("tx-1").await;
    until("it is minted", || async {
        world.count("mint.requested").await == 1
    })
    .await;
    until("nothing waits", || async {
        engine.handle().stats().pending == 0
    })
    .await;
    assert_eq!(*ran.lock(), [(1, 1), (1, 2), (1, 3)]);
    assert!(world.deliveries().await.is_empty());
    engine.drain().await;
}

#[tokio::test]
async fn failing_always_ends_as_a_dead_letter_after_six_attempts() {
    let world = World::new().await;
    let reactor = Scripted::new("mint", |attempt| async move {
        Err(ReactorError::retry(format!("no {}", attempt.number)))
    });
    let ran = reactor.ran();
    let engine = world.engine(vec![reactor.shared()]).await;
    let handle = engine.handle();
    let seq = world.pay("tx-1").await;
    until("it is given up", || async {
        handle.stats().dead_letters == 1
    })
    .await;
    let attempts: Vec<u32> = ran.lock().iter().map(|(_, number)| *number).collect();
    assert_eq!(attempts, [1, 2, 3, 4, 5, 6]);
    let letters = handle.dead_letters(10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!((letters[0].seq, letters[0].attempts), (seq, 6));
    assert_eq!(letters[0].final_error, "no 6");
    assert!(
        letters[0]
            .payload
            .as_ref()
            .unwrap()
            .starts_with(br#"{"transactionId":"tx-1""#)
    );
    engine.drain().await;
    let engine = world
        .engine(vec![
            Scripted::new("mint", |_| async { panic!("not again") }).shared(),
        ])
        .await;
    assert_eq!(engine.handle().stats().dead_letters, 1, "it is kept");
}

#[tokio::test]
async fn a_final_failure_is_not_tried_again() {
    let world = World::new().await;
    let reactor = Scripted::new("mint", |_| async {
        Err(ReactorError::final_("answered 404"))
    });
    let ran = reactor.ran();
    let engine = world.engine(vec![reactor.shared()]).await;
    world.pay("tx-1").await;
    until("it is given up", || async {
        engine.handle().stats().dead_letters == 1
    })
    .await;
    assert_eq!(*ran.lock(), [(1, 1)]);
}

#[tokio::test]
async fn panics_and_overlong_attempts_are_failures_of_one_event_only() {
    let world = World::new().await;
    let mut reactor = Scripted::new("mint", |attempt| async move {
        match (attempt.event.seq.get(), attempt.number) {
            (1, 1) => panic!("on purpose"),
            (2, 1) => std::future::pending().await,
            _ => Ok(Reaction::nothing()),
        }
    });
    reactor.options.timeout = Duration::from_millis(10);
    let ran = reactor.ran();
    let engine = world.engine(vec![reactor.shared()]).await;
    for n in 0..10 {
        world.pay(&format!("tx-{n}")).await;
    }
    let handle = engine.handle();
    until("all are settled", || async {
        handle.stats().pending == 0 && handle.lag()[0].position.get() == 10
    })
    .await;
    let runs = runs(&ran);
    assert_eq!((runs[&1], runs[&2]), (2, 2));
    assert!((3..=10).all(|seq| runs[&seq] == 1));
    assert_eq!(handle.stats().dead_letters, 0);
}

#[tokio::test]
async fn a_poison_event_does_not_hold_up_others() {
    let world = World::new().await;
    let mut reactor = Scripted::new("mint", |attempt| async move {
        match attempt.event.seq.get() {
            1 => Err(ReactorError::retry("poison")),
            _ => Ok(Reaction::nothing()),
        }
    });
    reactor.options.retry.first = Duration::from_secs(3_600);
    let engine = world.engine(vec![reactor.shared()]).await;
    for n in 0..5 {
        world.pay(&format!("tx-{n}")).await;
    }
    let handle = engine.handle();
    until("all others are settled", || async {
        handle.lag()[0].position.get() == 5
    })
    .await;
    let stats = handle.stats();
    assert_eq!((stats.pending, stats.dead_letters), (1, 0));
    assert!(stats.oldest_retry_us.is_some());
    engine.drain().await;
}

#[tokio::test]
async fn a_once_key_runs_once_for_three_events() {
    let world = World::new().await;
    let log = world.log.clone();
    let mut reactor = Scripted::new("mint", move |_| {
        let reaction = Reaction::emit(mint(&log));
        async {
            tokio::task::yield_now().await;
            Ok(reaction)
        }
    });
    reactor.once = true;
    let ran = reactor.ran();
    let engine = world.engine(vec![reactor.shared()]).await;
    for _ in 0..3 {
        world.pay("tx-1").await;
    }
    world.pay("tx-2").await;
    let handle = engine.handle();
    until("all are settled", || async { handle.lag()[0].events == 0 }).await;
    assert_eq!(ran.lock().len(), 2);
    assert_eq!(world.count("mint.requested").await, 2);
    engine.drain().await;
}

#[tokio::test]
async fn a_chain_without_end_is_cut_and_named() {
    let world = World::new().await;
    let event_type = world.payment(String::new()).event_type;
    let reactor = Scripted::new("loop", move |attempt| {
        let next = nexus_core::NewEvent::new(event_type.clone(), attempt.event.payload.clone());
        async { Ok(Reaction::emit(next)) }
    });
    let engine = world.engine(vec![reactor.shared()]).await;
    world.pay("tx-1").await;
    let handle = engine.handle();
    until("it is given up", || async {
        handle.stats().dead_letters == 1
    })
    .await;
    assert_eq!(
        world.all().await.len(),
        17,
        "the event from outside and 16 reactions"
    );
    let letter = &handle.dead_letters(1).await.unwrap()[0];
    assert!(
        letter.final_error.contains("payment.received #1 by nexus"),
        "{}",
        letter.final_error
    );
    assert!(
        letter
            .final_error
            .contains("-> payment.received #2 by reactor:loop")
    );
}

#[tokio::test]
async fn what_the_log_refuses_is_a_dead_letter_of_its_own_event_only() {
    let world = World::new().await;
    let log = world.log.clone();
    let reactor = Scripted::new("mint", move |attempt| {
        let mut event = mint(&log);
        if attempt.event.seq.get() == 2 {
            event.payload = "[]".into();
        }
        async { Ok(Reaction::emit(event)) }
    });
    let engine = world.engine(vec![reactor.shared()]).await;
    let command = nexus_core::Command {
        events: (0..4)
            .map(|n| {
                world.payment(format!(
                    r#"{{"transactionId":"{n}","amount":1,"payerId":"p"}}"#
                ))
            })
            .collect(),
        ..Default::default()
    };
    world
        .log
        .submit(&nexus_core::Principal::nexus(), command)
        .await
        .unwrap();
    until("three are minted", || async {
        world.count("mint.requested").await == 3
    })
    .await;
    let handle = engine.handle();
    until("one is given up", || async {
        handle.stats().dead_letters == 1
    })
    .await;
    let letter = &handle.dead_letters(1).await.unwrap()[0];
    assert_eq!(letter.seq.get(), 2);
    assert!(
        letter.final_error.contains("refused"),
        "{}",
        letter.final_error
    );
}

#[tokio::test]
async fn a_failing_storage_does_not_repeat_the_outside_effect() {
    let world = World::new().await;
    let effects = Arc::new(AtomicU32::new(0));
    let (log, seen) = (world.log.clone(), effects.clone());
    let faults = world.faults.clone();
    let reactor = Scripted::new("mint", move |_| {
        seen.fetch_add(1, Atomic::SeqCst);
        // The next commits fail: disk full, connection lost, and one of unknown outcome.
        let fault = |fault, outcome| WriteError {
            outcome,
            fault,
            source: "injected".into(),
        };
        faults.lock().extend([
            fault(Fault::Transient, Outcome::Unknown),
            fault(Fault::Transient, Outcome::NotStored),
            fault(Fault::Full, Outcome::NotStored),
        ]);
        let reaction = Reaction::emit(mint(&log));
        async { Ok(reaction) }
    });
    let engine = world.engine(vec![reactor.shared()]).await;
    world.pay("tx-1").await;
    let handle = engine.handle();
    until("it is settled", || async {
        handle.lag()[0].position.get() >= 1
    })
    .await;
    engine.drain().await;
    // The writer does not know that its last commit happened; the next one brings it to light.
    world.noise(1).await;
    until("the log has caught up", || async {
        world.count("status.update").await == 1
    })
    .await;
    assert_eq!(effects.load(Atomic::SeqCst), 1);
    assert_eq!(world.count("mint.requested").await, 1);
}

#[tokio::test]
async fn an_attempt_that_runs_on_when_the_window_is_full_becomes_a_delivery() {
    let world = World::new().await;
    let gate = Arc::new(tokio::sync::Notify::new());
    let open = gate.clone();
    let log = world.log.clone();
    let reactor = Scripted::new("mint", move |attempt| {
        let (gate, reaction) = (gate.clone(), Reaction::emit(mint(&log)));
        async move {
            if attempt.event.seq.get() == 1 {
                gate.notified().await;
                return Ok(reaction);
            }
            Ok(Reaction::nothing())
        }
    });
    let ran = reactor.ran();
    let mut options = options();
    options.window = 16;
    let engine = world.engine_with(vec![reactor.shared()], options).await;
    for n in 0..100 {
        world.pay(&format!("tx-{n}")).await;
    }
    let handle = engine.handle();
    until("the others are settled", || async {
        handle.lag()[0].position.get() == 100
    })
    .await;
    assert_eq!(handle.stats().pending, 1);
    open.notify_one();
    until("it is settled", || async { handle.stats().pending == 0 }).await;
    assert_eq!(world.count("mint.requested").await, 1);
    assert!(world.deliveries().await.is_empty());
    assert_eq!(ran.lock().len(), 100, "it ran once");
}

#[tokio::test]
async fn too_many_deliveries_stop_the_target_until_some_are_settled() {
    let world = World::new().await;
    let healthy = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_healthy = healthy.clone();
    let mut reactor = Scripted::new("mint", move |_| {
        let is_healthy = is_healthy.load(Atomic::SeqCst);
        async move {
            if is_healthy {
                Ok(Reaction::nothing())
            } else {
                Err(ReactorError::retry("down"))
            }
        }
    });
    reactor.options.retry.attempts = 1_000_000;
    reactor.options.concurrency = 4;
    let mut options = options();
    options.waiting_max = 10;
    let engine = world.engine_with(vec![reactor.shared()], options).await;
    for n in 0..50 {
        world.pay(&format!("tx-{n}")).await;
    }
    let handle = engine.handle();
    until("it is full", || async { handle.lag()[0].is_full }).await;
    let waiting = handle.stats().pending;
    assert!(
        (10..=14).contains(&waiting),
        "{waiting}: the limit, and what was running"
    );
    assert!(handle.lag()[0].events > 0, "its lag shows");
    healthy.store(true, Atomic::SeqCst);
    until("all are settled", || async {
        handle.stats().pending == 0 && handle.lag()[0].events == 0
    })
    .await;
    assert!(world.deliveries().await.is_empty());
}

#[tokio::test]
async fn an_idle_reactor_on_a_busy_log_writes_seldom() {
    let world = World::new().await;
    let reactor = Scripted::new("idle", |_| async { Ok(Reaction::nothing()) });
    let mut options = options();
    options.position_every = Duration::from_secs(60);
    let engine = world.engine_with(vec![reactor.shared()], options).await;
    let before = world.commits.load(Atomic::SeqCst);
    for _ in 0..100 {
        world.noise(200).await;
    }
    let handle = engine.handle();
    until("it is at the head", || async {
        handle.lag()[0].events == 0
    })
    .await;
    let written = world.commits.load(Atomic::SeqCst) - before - 100;
    assert!(written <= 30, "{written} writes for 20,000 events");
    engine.drain().await;
    assert_eq!(world.cursor("idle").await["position"], 20_000);
}

#[tokio::test]
async fn people_are_told_once_of_what_was_given_up() {
    let world = World::new().await;
    let reactor = Scripted::new("mint", |_| async {
        Err(ReactorError::final_("answered 404"))
    });
    let (alerts, mut told) = nexus_reactors::Alerts::channel(world.log.clock().clone());
    let engine =
        nexus_reactors::Engine::start(world.log.clone(), vec![reactor.shared()], options(), alerts)
            .await
            .unwrap();
    world.pay("tx-1").await;
    world.pay("tx-2").await;
    until("both are given up", || async {
        engine.handle().stats().dead_letters == 2
    })
    .await;
    engine.drain().await;
    let alert = told.recv().await.unwrap();
    assert_eq!(
        alert.message,
        "mint gave up on payment.received #1 after 1 attempts: answered 404"
    );
    assert!(told.recv().await.is_none(), "one for a cause");
}

#[tokio::test]
async fn a_failure_gives_its_once_key_to_the_next_event() {
    let world = World::new().await;
    let log = world.log.clone();
    let mut reactor = Scripted::new("mint", move |attempt| {
        let reaction = Reaction::emit(mint(&log));
        async move {
            match attempt.event.seq.get() {
                1 => Err(ReactorError::final_("not this one")),
                _ => Ok(reaction),
            }
        }
    });
    reactor.once = true;
    let ran = reactor.ran();
    let engine = world.engine(vec![reactor.shared()]).await;
    for _ in 0..3 {
        world.pay("tx-1").await;
    }
    let handle = engine.handle();
    until("all are settled", || async { handle.lag()[0].events == 0 }).await;
    assert_eq!(
        *ran.lock(),
        [(1, 1), (2, 1)],
        "the third finds the key settled"
    );
    assert_eq!(world.count("mint.requested").await, 1);
    assert_eq!(handle.stats().dead_letters, 1);
}

#[tokio::test]
async fn names_are_checked() {
    let world = World::new().await;
    let named = |name: &str| Scripted::new(name, |_| async { Ok(Reaction::nothing()) }).shared();
    for reactors in [
        vec![named("a"), named("a")],
        vec![named("A b")],
        vec![named("")],
    ] {
        let started = nexus_reactors::Engine::start(
            world.log.clone(),
            reactors,
            options(),
            nexus_reactors::Alerts::none(),
        );
        assert!(started.await.is_err());
    }
}
