//! Which events wait for which.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering as Atomic},
    },
    time::Duration,
};

use nexus_core::{Ordering, Reaction, ReactorError};

use crate::support::{Scripted, World, until};

/// A reactor whose events 1 and 2 of key `a` fail until the switch is on.
fn failing_first(ordering: Ordering, healthy: &Arc<AtomicBool>) -> Scripted {
    let healthy = healthy.clone();
    let mut reactor = Scripted::new("ordered", move |attempt| {
        let healthy = healthy.load(Atomic::SeqCst);
        async move {
            if attempt.event.seq.get() == 1 && !healthy {
                return Err(ReactorError::retry("down"));
            }
            Ok(Reaction::nothing())
        }
    });
    reactor.options.ordering = ordering;
    reactor.options.retry.attempts = 1_000_000;
    reactor
}

#[tokio::test]
async fn behind_a_failure_only_its_own_key_waits() {
    let world = World::new().await;
    let healthy = Arc::new(AtomicBool::new(false));
    let reactor = failing_first(Ordering::Key, &healthy);
    let ran = reactor.ran();
    let engine = world.engine(vec![reactor.shared()]).await;
    for key in ["a", "a", "b", "a", "b"] {
        world.pay(key).await;
    }
    let handle = engine.handle();
    until("every event is settled or waits", || async {
        handle.lag()[0].position.get() == 5 && handle.stats().pending == 3
    })
    .await;
    let others: Vec<u64> = ran
        .lock()
        .iter()
        .map(|(seq, _)| *seq)
        .filter(|seq| *seq != 1)
        .collect();
    assert_eq!(others, [3, 5]);
    healthy.store(true, Atomic::SeqCst);
    until("nothing waits", || async { handle.stats().pending == 0 }).await;
    let of_a: Vec<u64> = ran
        .lock()
        .iter()
        .map(|(seq, _)| *seq)
        .filter(|seq| [2, 4].contains(seq))
        .collect();
    assert_eq!(of_a, [2, 4]);
    assert!(world.deliveries().await.is_empty());
}

#[tokio::test]
async fn a_blocked_key_stays_blocked_over_a_restart() {
    let world = World::new().await;
    let healthy = Arc::new(AtomicBool::new(false));
    let first = failing_first(Ordering::Key, &healthy);
    let engine = world.engine(vec![first.shared()]).await;
    for key in ["a", "a", "a"] {
        world.pay(key).await;
    }
    until("all wait", || async {
        engine.handle().stats().pending == 3
    })
    .await;
    engine.drain().await;
    let second = failing_first(Ordering::Key, &healthy);
    let ran = second.ran();
    let engine = world.engine(vec![second.shared()]).await;
    world.pay("a").await;
    until("the new one waits too", || async {
        engine.handle().stats().pending == 4
    })
    .await;
    assert!(ran.lock().iter().all(|(seq, _)| *seq == 1));
    healthy.store(true, Atomic::SeqCst);
    until("nothing waits", || async {
        engine.handle().stats().pending == 0
    })
    .await;
    let order: Vec<u64> = ran
        .lock()
        .iter()
        .map(|(seq, _)| *seq)
        .filter(|seq| *seq > 1)
        .collect();
    assert_eq!(order, [2, 3, 4]);
}

#[tokio::test]
async fn events_of_one_key_never_overlap() {
    let world = World::new().await;
    let busy = Arc::new(AtomicBool::new(false));
    let is_busy = busy.clone();
    let mut reactor = Scripted::new("ordered", move |_| {
        let busy = is_busy.clone();
        async move {
            assert!(!busy.swap(true, Atomic::SeqCst), "two at once");
            tokio::time::sleep(Duration::from_millis(1)).await;
            busy.store(false, Atomic::SeqCst);
            Ok(Reaction::nothing())
        }
    });
    reactor.options.ordering = Ordering::Key;
    let ran = reactor.ran();
    let engine = world.engine(vec![reactor.shared()]).await;
    for _ in 0..20 {
        world.pay("a").await;
    }
    until("all ran", || async {
        engine.handle().lag()[0].position.get() == 20
    })
    .await;
    let order: Vec<u64> = ran.lock().iter().map(|(seq, _)| *seq).collect();
    assert_eq!(order, (1..=20).collect::<Vec<_>>());
    assert!(world.deliveries().await.is_empty());
}

#[tokio::test]
async fn in_full_order_everything_stops_at_a_failure() {
    let world = World::new().await;
    let healthy = Arc::new(AtomicBool::new(false));
    let reactor = failing_first(Ordering::All, &healthy);
    let ran = reactor.ran();
    let engine = world.engine(vec![reactor.shared()]).await;
    for key in ["a", "b", "c"] {
        world.pay(key).await;
    }
    let handle = engine.handle();
    until("the first was tried again", || async {
        ran.lock().len() >= 3
    })
    .await;
    assert!(ran.lock().iter().all(|(seq, _)| *seq == 1));
    assert_eq!(handle.stats().pending, 1, "those behind it stay in the log");
    healthy.store(true, Atomic::SeqCst);
    until("all are settled", || async {
        handle.stats().pending == 0 && handle.lag()[0].position.get() == 3
    })
    .await;
    let order: Vec<u64> = ran
        .lock()
        .iter()
        .map(|(seq, _)| *seq)
        .filter(|seq| *seq > 1)
        .collect();
    assert_eq!(order, [2, 3]);
}
