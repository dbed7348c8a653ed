//! Retention: what goes by the limits, what holds it, and what is told.

use std::{sync::atomic::Ordering, time::Duration};

use nexus_core::{
    Change, Command, Error, Family, Fence, Key, Log, LogOptions, Pin, PinSource, Position,
    Principal, Retention, RetentionOptions, RetentionStatus, Seq, Source,
};

use crate::{
    faulty::rig,
    helpers::{eventually, payment, publish},
};

/// A log of so many batches, one event each and a second apart.
async fn batches(log: &Log, count: usize) {
    for _ in 0..count {
        log.clock().advance_us(1_000_000);
        publish(log, 1).await.unwrap();
    }
    eventually("it is announced", || log.head() == log.stored()).await;
}

fn keep_events(events: u64) -> RetentionOptions {
    RetentionOptions {
        events: Some(events),
        ..RetentionOptions::default()
    }
}

/// Looks once; gives what was found in the end.
async fn look(log: &Log, options: RetentionOptions, sources: Vec<PinSource>) -> RetentionStatus {
    let (mut retention, handle) = Retention::new(log.clone(), options, sources);
    retention.look().await.unwrap();
    handle.status()
}

async fn pruned(log: &Log) -> u64 {
    log.pruned_through().await.unwrap().get()
}

#[tokio::test]
async fn each_limit_removes_what_is_beyond_it() {
    let log = rig(LogOptions::default()).await.unwrap().log;
    batches(&log, 20).await;
    let status = look(&log, RetentionOptions::default(), Vec::new()).await;
    assert_eq!((pruned(&log).await, status.pinned_by), (0, Vec::new()));
    assert!(status.used_bytes > 20 * 100, "{}", status.used_bytes);
    let now_us = log.clock().now_us();
    assert_eq!(status.last_run_us, Some(now_us));
    look(&log, keep_events(15), Vec::new()).await;
    assert_eq!(pruned(&log).await, 5);
    // The event of ten seconds ago is exactly so old, and goes.
    let by_age = RetentionOptions {
        age: Some(Duration::from_secs(10)),
        ..RetentionOptions::default()
    };
    look(&log, by_age, Vec::new()).await;
    assert_eq!(pruned(&log).await, 10);
    let half = log.used_bytes().await.unwrap() / 2;
    let by_bytes = RetentionOptions {
        bytes: Some(half),
        ..RetentionOptions::default()
    };
    let status = look(&log, by_bytes, Vec::new()).await;
    assert_eq!((pruned(&log).await, status.pruned_through.get()), (15, 15));
    assert!(status.used_bytes <= half);
    // Nothing is left to remove but the newest, which stays.
    look(&log, keep_events(0), Vec::new()).await;
    assert_eq!(pruned(&log).await, 19);
}

#[tokio::test]
async fn a_durable_cursor_holds_what_it_has_not_acknowledged() {
    let log = rig(LogOptions::default()).await.unwrap().log;
    batches(&log, 10).await;
    let owner = Source::user("ana");
    let at = |seq| log.position(Seq::new(seq));
    log.acknowledge(&owner, "orders", at(4)).await.unwrap();
    let status = look(&log, keep_events(1), Vec::new()).await;
    assert_eq!(pruned(&log).await, 4);
    assert_eq!(
        status.pinned_by,
        [Pin::new("cursor user:ana/orders", Seq::new(4))]
    );
    assert_eq!(status.wanted_through, Seq::new(9));
    log.acknowledge(&owner, "orders", at(7)).await.unwrap();
    look(&log, keep_events(1), Vec::new()).await;
    assert_eq!(pruned(&log).await, 7);
    log.remove_durable_cursor(&owner, "orders").await.unwrap();
    let status = look(&log, keep_events(1), Vec::new()).await;
    assert_eq!((pruned(&log).await, status.pinned_by), (9, Vec::new()));
}

#[tokio::test]
async fn an_open_claim_holds_the_event_that_granted_it() {
    let log = rig(LogOptions::default()).await.unwrap().log;
    batches(&log, 3).await;
    let key = Key::new(Family::new("claim"), "work-7");
    let mut claim = Change::put(key.clone(), "{}");
    if let Change::Put { fence, .. } = &mut claim {
        *fence = Fence::Event(0);
    }
    let command = Command {
        events: vec![payment(&log, 1)],
        changes: vec![claim],
        ..Command::default()
    };
    let granted = log.submit(&Principal::nexus(), command).await.unwrap();
    batches(&log, 3).await;
    let status = look(&log, keep_events(1), Vec::new()).await;
    assert_eq!(
        status.pinned_by,
        [Pin::new("claim work-7", granted.first.previous())]
    );
    assert!(log.event(granted.first).await.unwrap().is_some());
    let command = Command {
        changes: vec![Change::Delete(key)],
        ..Command::default()
    };
    log.submit(&Principal::nexus(), command).await.unwrap();
    look(&log, keep_events(1), Vec::new()).await;
    assert!(log.event(granted.first).await.unwrap().is_none());
}

#[tokio::test]
async fn by_force_it_goes_all_the_same() {
    let log = rig(LogOptions::default()).await.unwrap().log;
    batches(&log, 10).await;
    let needed = || {
        PinSource::new(|| async {
            Ok(vec![
                Pin::new("the second", Seq::new(6)),
                Pin::new("the first", Seq::new(2)),
                Pin::new("far ahead", Seq::new(1_000)),
            ])
        })
    };
    let expected = [
        Pin::new("the first", Seq::new(2)),
        Pin::new("the second", Seq::new(6)),
    ];
    let status = look(&log, keep_events(1), vec![needed()]).await;
    assert_eq!(
        (pruned(&log).await, status.pinned_by),
        (2, expected.to_vec())
    );
    let options = RetentionOptions {
        force: true,
        ..keep_events(1)
    };
    let status = look(&log, options, vec![needed()]).await;
    assert_eq!(status.pruned_through, Seq::new(9));
    assert_eq!(pruned(&log).await, 9);
}

#[tokio::test]
async fn who_cannot_be_asked_is_not_passed_over() {
    let log = rig(LogOptions::default()).await.unwrap().log;
    batches(&log, 10).await;
    let silent = PinSource::new(|| async {
        Err(Error::Read {
            source: "injected".into(),
        })
    });
    let (mut retention, _) = Retention::new(log.clone(), keep_events(1), vec![silent]);
    assert!(matches!(retention.look().await, Err(Error::Read { .. })));
    assert_eq!(pruned(&log).await, 0);
}

/// A cursor of another life of the log begins with what happens next, wherever it is.
#[tokio::test]
async fn a_cursor_of_another_epoch_holds_nothing() {
    let log = rig(LogOptions::default()).await.unwrap().log;
    batches(&log, 10).await;
    let other = Position {
        epoch: nexus_core::Epoch::new(log.head().epoch.get() ^ 1),
        seq: Seq::new(2),
    };
    let key = Key::new(Family::new("durable_cursor"), "user:ana/orders");
    let command = Command {
        changes: vec![Change::put(key, format!(r#"{{"position":"{other}"}}"#))],
        ..Command::default()
    };
    log.submit(&Principal::nexus(), command).await.unwrap();
    assert_eq!(log.durable_cursors().await.unwrap().len(), 1);
    look(&log, keep_events(1), Vec::new()).await;
    assert_eq!(pruned(&log).await, 9);
}

/// The loop goes on by itself, says when it could not do its work, heals with the storage, and ends with
/// the log.
#[tokio::test]
async fn it_looks_again_and_again_until_the_log_closes() {
    let options = LogOptions {
        full_retry: Duration::from_millis(5),
        ..LogOptions::default()
    };
    let rig = rig(options).await.unwrap();
    let options = RetentionOptions {
        interval: Duration::from_millis(1),
        ..keep_events(3)
    };
    let (retention, handle) = Retention::new(rig.log.clone(), options, Vec::new());
    let running = tokio::spawn(retention.run());
    let mut found = handle.changes();
    batches(&rig.log, 10).await;
    found
        .wait_for(|status| status.pruned_through == Seq::new(7))
        .await
        .unwrap();
    rig.switches.full.store(true, Ordering::SeqCst);
    // It is pruning that finds the disk full, or the event before it.
    let _ = publish(&rig.log, 1).await;
    let _ = rig.log.prune(rig.log.head().seq).await;
    rig.switches.full.store(false, Ordering::SeqCst);
    eventually("it heals", || {
        rig.log.health() == nexus_core::Health::Healthy
    })
    .await;
    batches(&rig.log, 10).await;
    found
        .wait_for(|status| status.pruned_through >= Seq::new(17) && !status.failed)
        .await
        .unwrap();
    rig.log.close();
    running.await.unwrap();
    rig.service.await.unwrap().unwrap();
}

/// What is asked of a log that is full, or closed, is answered.
#[tokio::test]
async fn pruning_is_refused_when_nothing_can_be_written() {
    let options = LogOptions {
        full_retry: Duration::from_secs(3_600),
        ..LogOptions::default()
    };
    let rig = rig(options).await.unwrap();
    batches(&rig.log, 3).await;
    rig.switches.full.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        // The first finds it out, the second is not tried.
        let refused = rig.log.prune(Seq::new(2)).await;
        assert!(matches!(refused, Err(Error::StorageFull)), "{refused:?}");
        assert_eq!(rig.log.health(), nexus_core::Health::Full);
    }
    rig.log.close();
    rig.service.await.unwrap().unwrap();
    let refused = rig.log.prune(Seq::new(2)).await;
    assert!(matches!(refused, Err(Error::Closed)), "{refused:?}");
}
