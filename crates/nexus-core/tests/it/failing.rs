//! Honest answers when the storage fails, and an end that everybody hears of.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use nexus_core::{
    Change, Command, Error, Family, Fault, From, Health, Key, LogOptions, Outcome, PatternSet,
    Principal, Seq,
};

use crate::{
    faulty::{Failure, rig},
    helpers::{eventually, payment, publish, stored},
};

#[tokio::test]
async fn failures_are_answered_honestly() {
    let rig = rig(LogOptions::default()).await.unwrap();
    let fail = |outcome, stored| {
        *rig.switches.fail_commit.lock() = Some(Failure {
            fault: Fault::Transient,
            outcome,
            stored,
        });
    };
    fail(Outcome::NotStored, false);
    assert!(matches!(
        publish(&rig.log, 1).await,
        Err(Error::NotStored { .. })
    ));
    assert_eq!(stored(&rig.log).await, 0);
    fail(Outcome::Unknown, false);
    assert!(matches!(
        publish(&rig.log, 1).await,
        Err(Error::OutcomeUnknown)
    ));
    // The commit was reported as failed, and the log shows that it happened: so it is answered as kept.
    fail(Outcome::Unknown, true);
    let receipt = publish(&rig.log, 1).await.unwrap();
    assert_eq!(receipt.first, Seq::new(1));
    assert_eq!(publish(&rig.log, 1).await.unwrap().first, Seq::new(2));
    assert_eq!(rig.log.health(), Health::Healthy);
}

#[tokio::test]
async fn a_full_disk_makes_the_log_read_only_until_space_returns() {
    let rig = rig(LogOptions {
        full_retry: Duration::from_millis(5),
        ..LogOptions::default()
    })
    .await
    .unwrap();
    publish(&rig.log, 1).await.unwrap();
    rig.switches.full.store(true, Ordering::SeqCst);
    assert!(matches!(
        publish(&rig.log, 1).await,
        Err(Error::StorageFull)
    ));
    assert!(matches!(
        publish(&rig.log, 1).await,
        Err(Error::StorageFull)
    ));
    assert_eq!(
        (rig.log.health(), stored(&rig.log).await),
        (Health::Full, 1)
    );
    rig.switches.full.store(false, Ordering::SeqCst);
    // Callers who keep asking do not keep it from healing.
    let started = Instant::now();
    let receipt = loop {
        match publish(&rig.log, 1).await {
            Ok(receipt) => break receipt,
            Err(error) => assert!(matches!(error, Error::StorageFull), "{error:?}"),
        }
        assert!(started.elapsed() < Duration::from_secs(60));
        tokio::task::yield_now().await;
    };
    assert_eq!(receipt.first, Seq::new(2));
}

#[tokio::test]
async fn a_fatal_failure_closes_the_log() {
    let rig = rig(LogOptions::default()).await.unwrap();
    let failure = Failure {
        fault: Fault::Fatal,
        outcome: Outcome::Unknown,
        stored: false,
    };
    *rig.switches.fail_commit.lock() = Some(failure);
    let answer = rig
        .log
        .dispatch(&Principal::nexus(), payment(&rig.log, 1))
        .await;
    assert!(matches!(answer, Err(Error::OutcomeUnknown)));
    assert!(rig.service.await.unwrap().is_err());
    assert_eq!(rig.log.health(), Health::Failed);
    let answer = rig
        .log
        .dispatch(&Principal::nexus(), payment(&rig.log, 1))
        .await;
    assert!(matches!(answer, Err(Error::Closed)));
}

#[tokio::test]
async fn closing_finishes_what_was_taken() {
    let rig = rig(LogOptions::default()).await.unwrap();
    let publishers: Vec<_> = (0..50)
        .map(|n| {
            let log = rig.log.clone();
            tokio::spawn(async move { log.dispatch(&Principal::nexus(), payment(&log, n)).await })
        })
        .collect();
    tokio::task::yield_now().await;
    rig.log.close();
    rig.service.await.unwrap().unwrap();
    let mut kept = 0;
    for publisher in publishers {
        match publisher.await.unwrap() {
            Ok(_) => kept += 1,
            Err(error) => assert!(matches!(error, Error::Closed), "{error:?}"),
        }
    }
    assert_eq!(stored(&rig.log).await, kept);
}

/// A failure of the next commit that leaves the connection to be replaced.
fn transient(outcome: Outcome, stored: bool) -> Option<Failure> {
    Some(Failure {
        fault: Fault::Transient,
        outcome,
        stored,
    })
}

#[tokio::test]
async fn what_an_earlier_failure_stored_is_announced_without_another_commit() {
    // Nothing is tried again by itself while the test runs.
    let options = LogOptions {
        full_retry: Duration::from_secs(3_600),
        ..LogOptions::default()
    };
    let rig = rig(options).await.unwrap();
    *rig.switches.fail_commit.lock() = transient(Outcome::Unknown, true);
    rig.switches.fail_reopen.store(2, Ordering::SeqCst);
    assert!(matches!(
        publish(&rig.log, 1).await,
        Err(Error::OutcomeUnknown)
    ));
    eventually("the log looks once for a connection", || {
        rig.switches.fail_reopen.load(Ordering::SeqCst) == 0
    })
    .await;
    assert_eq!((rig.log.head().seq, stored(&rig.log).await), (Seq::ZERO, 1));
    // What has no event is tried all the same; it fails, and a connection is found.
    *rig.switches.fail_commit.lock() = transient(Outcome::NotStored, false);
    let change = Change::put(Key::new(Family::new("test"), "one"), "{}");
    let command = Command {
        changes: vec![change],
        ..Command::default()
    };
    let refused = rig.log.submit(&Principal::nexus(), command).await;
    assert!(matches!(refused, Err(Error::NotStored { .. })));
    eventually("readers see the event", || {
        rig.log.head().seq == Seq::new(1)
    })
    .await;
    assert_eq!(rig.log.health(), Health::Healthy);
}

#[tokio::test]
async fn a_storage_that_cannot_be_reached_is_not_said_to_be_full() {
    let options = LogOptions {
        full_retry: Duration::from_millis(5),
        ..LogOptions::default()
    };
    let rig = rig(options).await.unwrap();
    *rig.switches.fail_commit.lock() = transient(Outcome::NotStored, false);
    rig.switches.fail_reopen.store(usize::MAX, Ordering::SeqCst);
    assert!(matches!(
        publish(&rig.log, 1).await,
        Err(Error::NotStored { .. })
    ));
    eventually("it is said", || rig.log.health() == Health::Unavailable).await;
    assert!(matches!(
        publish(&rig.log, 1).await,
        Err(Error::NotStored { .. })
    ));
    let nothing = rig.log.prune(Seq::new(1)).await;
    assert!(
        matches!(nothing, Err(Error::NotPruned { .. })),
        "{nothing:?}"
    );
    // There is a connection, but no space: that is another thing to say.
    rig.switches.full.store(true, Ordering::SeqCst);
    eventually("it is full", || rig.log.health() == Health::Full).await;
    rig.switches.full.store(false, Ordering::SeqCst);
    rig.switches.fail_reopen.store(0, Ordering::SeqCst);
    eventually("it is well again", || rig.log.health() == Health::Healthy).await;
    assert_eq!(publish(&rig.log, 2).await.unwrap().first, Seq::new(1));
}

#[tokio::test]
async fn a_hole_that_cannot_be_read_is_filled_as_soon_as_it_can() {
    let rig = rig(LogOptions::default()).await.unwrap();
    rig.switches.unreadable.store(true, Ordering::SeqCst);
    *rig.switches.fail_commit.lock() = transient(Outcome::Unknown, true);
    rig.switches.fail_reopen.store(1, Ordering::SeqCst);
    assert!(matches!(
        publish(&rig.log, 1).await,
        Err(Error::OutcomeUnknown)
    ));
    eventually("the log is found to go further", || {
        rig.log.stored().seq == Seq::new(1)
    })
    .await;
    // A batch that follows the hole waits for it.
    assert_eq!(publish(&rig.log, 2).await.unwrap().first, Seq::new(2));
    assert_eq!(rig.log.head().seq, Seq::ZERO);
    rig.switches.unreadable.store(false, Ordering::SeqCst);
    eventually("readers see both events", || {
        rig.log.head().seq == Seq::new(2)
    })
    .await;
}

#[tokio::test]
async fn what_only_waited_when_the_storage_failed_was_not_tried() {
    let rig = rig(LogOptions::default()).await.unwrap();
    let permits = rig.switches.hold_commits().await;
    let spawn = |n| {
        let log = rig.log.clone();
        tokio::spawn(async move { publish(&log, n).await })
    };
    let first = spawn(0);
    // With one thread, the first is in its commit when everybody else waits.
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let waiting: Vec<_> = (1..4).map(spawn).collect();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    *rig.switches.fail_commit.lock() = Some(Failure {
        fault: Fault::Fatal,
        outcome: Outcome::Unknown,
        stored: false,
    });
    drop(permits);
    assert!(matches!(first.await.unwrap(), Err(Error::OutcomeUnknown)));
    for answer in waiting {
        assert!(matches!(answer.await.unwrap(), Err(Error::Closed)));
    }
}

#[tokio::test]
async fn callers_who_never_stop_do_not_keep_the_log_from_closing() {
    let rig = rig(LogOptions::default()).await.unwrap();
    let publishers: Vec<_> = (0..16)
        .map(|n| {
            let log = rig.log.clone();
            tokio::spawn(async move { while publish(&log, n).await.is_ok() {} })
        })
        .collect();
    eventually("they publish", || rig.log.head().seq > Seq::new(100)).await;
    rig.log.close();
    tokio::time::timeout(Duration::from_secs(60), rig.service)
        .await
        .expect("the writer ends")
        .unwrap()
        .unwrap();
    for publisher in publishers {
        publisher.await.unwrap();
    }
}

#[tokio::test]
async fn readers_read_to_the_end_and_learn_that_it_is_the_end() {
    let rig = rig(LogOptions::default()).await.unwrap();
    let cursor = rig.log.cursor(From::Earliest, PatternSet::everything());
    let (mut cursor, _) = cursor.await.unwrap();
    let mut waiting = rig
        .log
        .live_cursor(PatternSet::parse(["vote.cast"]).unwrap());
    let reader = tokio::spawn(async move {
        loop {
            if let Err(error) = waiting.next().await {
                return error;
            }
        }
    });
    publish(&rig.log, 1).await.unwrap();
    publish(&rig.log, 2).await.unwrap();
    rig.log.close();
    rig.service.await.unwrap().unwrap();
    let mut read = 0;
    let end = tokio::time::timeout(Duration::from_secs(60), async {
        loop {
            match cursor.next().await {
                Ok(page) => read += page.events.len(),
                Err(error) => return error,
            }
        }
    });
    assert!(matches!(end.await, Ok(Error::Closed)));
    assert_eq!(read, 2);
    let end = tokio::time::timeout(Duration::from_secs(60), reader).await;
    assert!(matches!(end, Ok(Ok(Error::Closed))));
}
