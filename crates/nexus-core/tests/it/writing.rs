//! The writer: grouping, limits, conditions and keys.

use nexus_core::{
    Change, Command, Error, EventQuery, Family, Guard, Key, LogOptions, NewEvent, Once, PatternSet,
    Principal, ProtocolEvent, Publish, Scopes, Seq, Source,
};

use crate::{
    faulty::rig,
    helpers::{eventually, payment, publish, stored},
};

#[tokio::test]
async fn what_waits_together_is_committed_together() {
    let rig = rig(LogOptions::default()).await.unwrap();
    let permits = rig.switches.hold_commits().await;
    let publishers: Vec<_> = (0..100)
        .map(|n| {
            let log = rig.log.clone();
            tokio::spawn(async move { log.dispatch(&Principal::nexus(), payment(&log, n)).await })
        })
        .collect();
    // The first is in the commit that waits; the others queue behind it.
    tokio::task::yield_now().await;
    drop(permits);
    let mut seqs = Vec::new();
    for publisher in publishers {
        seqs.push(publisher.await.unwrap().unwrap().first.get());
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=100).collect::<Vec<_>>());
    let batches = rig.switches.batches.lock().clone();
    assert!(
        batches.len() < 100,
        "a hundred publishers share commits: {batches:?}"
    );
}

/// With one thread, the announcer cannot have run when the publisher is answered.
#[tokio::test]
async fn a_publisher_finds_its_event_as_soon_as_it_is_answered() {
    let rig = rig(LogOptions::default()).await.unwrap();
    for n in 0..100 {
        let receipt = publish(&rig.log, n).await.unwrap();
        assert_eq!(rig.log.stored(), receipt.position());
        let newest = EventQuery::page(
            receipt.first.previous(),
            rig.log.stored().seq,
            PatternSet::everything(),
        );
        let page = rig.log.events(&newest).await.unwrap();
        assert_eq!(page.events[0].id, receipt.first_id.unwrap());
    }
}

#[tokio::test]
async fn a_request_is_never_split_and_a_batch_is_bounded() {
    let rig = rig(LogOptions {
        batch_events_max: 10,
        request_events_max: 8,
        ..LogOptions::default()
    })
    .await
    .unwrap();
    let command = |count: usize| Command {
        events: (0..count).map(|n| payment(&rig.log, n)).collect(),
        ..Command::default()
    };
    let nexus = Principal::nexus();
    let results = tokio::join!(
        rig.log.submit(&nexus, command(8)),
        rig.log.submit(&nexus, command(8)),
        rig.log.submit(&nexus, command(8)),
    );
    for receipt in [results.0.unwrap(), results.1.unwrap(), results.2.unwrap()] {
        assert_eq!(receipt.last.get() - receipt.first.get(), 7);
    }
    assert!(
        rig.switches
            .batches
            .lock()
            .iter()
            .all(|events| *events == 8)
    );
    let refused = rig.log.submit(&Principal::nexus(), command(9)).await;
    assert!(matches!(
        refused,
        Err(Error::TooLarge {
            what: "request",
            ..
        })
    ));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let rig = rig(LogOptions {
        queue_requests_max: 4,
        ..LogOptions::default()
    })
    .await
    .unwrap();
    let permits = rig.switches.hold_commits().await;
    let publishers: Vec<_> = (0..20)
        .map(|n| {
            let log = rig.log.clone();
            tokio::spawn(async move { log.dispatch(&Principal::nexus(), payment(&log, n)).await })
        })
        .collect();
    eventually("some are refused while the others wait", || {
        publishers
            .iter()
            .filter(|publisher| publisher.is_finished())
            .count()
            >= 10
    })
    .await;
    drop(permits);
    let mut kept = 0;
    for publisher in publishers {
        match publisher.await.unwrap() {
            Ok(_) => kept += 1,
            Err(error) => assert!(matches!(error, Error::Overloaded), "{error:?}"),
        }
    }
    assert!(kept > 0);
    assert_eq!(stored(&rig.log).await, kept);
}

#[tokio::test]
async fn too_many_bytes_in_the_queue_are_refused_too() {
    let rig = rig(LogOptions {
        queue_bytes_max: 1_000,
        ..LogOptions::default()
    })
    .await
    .unwrap();
    let permits = rig.switches.hold_commits().await;
    let first = {
        let log = rig.log.clone();
        tokio::spawn(async move { log.dispatch(&Principal::nexus(), payment(&log, 1)).await })
    };
    eventually("the first is being written", || {
        rig.switches.commits.available_permits() == 0
    })
    .await;
    let mut others = Vec::new();
    for n in 0..10 {
        let log = rig.log.clone();
        others.push(tokio::spawn(async move {
            log.dispatch(&Principal::nexus(), payment(&log, n)).await
        }));
    }
    eventually("one is refused", || {
        others.iter().any(tokio::task::JoinHandle::is_finished)
    })
    .await;
    drop(permits);
    first.await.unwrap().unwrap();
    let mut refused = 0;
    for other in others {
        refused += usize::from(matches!(other.await.unwrap(), Err(Error::Overloaded)));
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn permission_payload_and_conditions_are_checked() {
    let rig = rig(LogOptions {
        payload_bytes_max: 100,
        ..LogOptions::default()
    })
    .await
    .unwrap();
    let log = &rig.log;
    let factory = Principal::new(
        Source::node("smart-factory"),
        Publish::Matching(PatternSet::parse(["mint.*"]).unwrap()),
        Scopes::NONE,
    );
    assert!(matches!(
        log.dispatch(&factory, payment(log, 1)).await,
        Err(Error::NotPermitted { .. })
    ));
    let known = |event| log.catalogue().known_type(event);
    let reserved = NewEvent::new(known(ProtocolEvent::WorkClaimed), r#"{"work_id":"w"}"#);
    assert!(matches!(
        log.dispatch(&Principal::reactor("r"), reserved).await,
        Err(Error::NotPermitted { .. })
    ));
    for (payload, code) in [
        ("{}", "invalid-payload"),
        ("[]", "invalid-payload"),
        ("{", "malformed-json"),
        (
            &format!(r#"{{"error":"{}"}}"#, "x".repeat(100)),
            "too-large",
        ),
    ] {
        let event = NewEvent::new(known(ProtocolEvent::MintFailed), payload.to_owned());
        let error = log.dispatch(&factory, event).await.unwrap_err();
        assert_eq!(nexus_core::Coded::code(&error), code, "{payload}");
    }
    let key = Key::new(Family::new("test"), "one");
    let put = |guard| Command {
        guards: vec![guard],
        changes: vec![Change::put(key.clone(), "{}")],
        ..Command::default()
    };
    let receipt = log
        .submit(&factory, put(Guard::Absent(key.clone())))
        .await
        .unwrap();
    assert_eq!((receipt.first, receipt.first_id), (Seq::ZERO, None));
    let refused = log.submit(&factory, put(Guard::Absent(key.clone()))).await;
    assert!(matches!(
        refused,
        Err(Error::Refused { found: Some(_), .. })
    ));
    let record = log.record(&key).await.unwrap().unwrap();
    log.submit(&factory, put(Guard::Revision(key.clone(), record.revision)))
        .await
        .unwrap();
    assert!(
        log.submit(&factory, put(Guard::Revision(key.clone(), record.revision)))
            .await
            .is_err()
    );
    assert!(
        log.submit(&factory, put(Guard::LastSeq(Seq::new(1))))
            .await
            .is_err()
    );
    log.submit(&factory, put(Guard::LastSeq(Seq::ZERO)))
        .await
        .unwrap();
}

#[tokio::test]
async fn the_first_answer_is_given_again() {
    let rig = rig(LogOptions::default()).await.unwrap();
    let log = &rig.log;
    let command = || Command {
        once: Some(Once::fact("flowpay", "tx-1:received")),
        ..Command::event(payment(log, 1))
    };
    let first = log.submit(&Principal::nexus(), command()).await.unwrap();
    log.dispatch(&Principal::nexus(), payment(log, 2))
        .await
        .unwrap();
    let again = log.submit(&Principal::nexus(), command()).await.unwrap();
    assert!(again.replayed && !first.replayed);
    assert_eq!(
        (again.first, again.first_id, again.time_us),
        (first.first, first.first_id, first.time_us)
    );
    assert_eq!(stored(log).await, 2);
    assert!(
        log.once(&Once::fact("flowpay", "tx-1:received"))
            .await
            .unwrap()
            .is_some()
    );
    assert!(
        log.once(&Once::fact("flowpay", "tx-2:received"))
            .await
            .unwrap()
            .is_none()
    );
}
