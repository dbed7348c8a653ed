//! Promises about events: numbers, contents, restarts, idempotency.

use nexus_core::{Command, Error, From, Once, PatternSet, Seq, Source};

use super::harness::{BEGIN_US, Subject, open, open_with};

/// Events are numbered 1, 2, 3 … in the order of their requests, and all of a batch share its time.
pub async fn numbers_follow_without_gaps<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    let mut expected = 0;
    for size in [1_usize, 2, 3, 5, 17, 63, 64, 65, 255, 256, 257, 600, 1_000] {
        let receipt = opened.publish(&vec!["test.numbered"; size]).await;
        assert_eq!(receipt.first, Seq::new(expected + 1));
        expected += size as u64;
        assert_eq!(receipt.last, Seq::new(expected));
        assert_eq!(opened.log.head().seq, receipt.last);
    }
    let events = opened.read(PatternSet::everything()).await;
    let numbers: Vec<u64> = events.iter().map(|event| event.seq.get()).collect();
    assert_eq!(numbers, (1..=expected).collect::<Vec<_>>());
    assert!(events.is_sorted_by_key(|event| event.time_us));
    assert!(events.is_sorted_by(|a, b| a.id < b.id));
    opened.close().await;
}

/// Every byte, also of keys and causes, is what was sent.
pub async fn events_come_back_as_they_were_sent<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(200 << 10));
    let payloads = [
        "{}",
        r#" { "n" : 1e2, "same": 1.00, "big": 123456789012345678901234567890 } "#,
        r#"{"text":"\u0000 \ud83d\ude00 ünï"}"#,
        &long,
    ];
    let mut sent = Vec::new();
    for (n, payload) in payloads.iter().enumerate() {
        for key in [
            None,
            Some(""),
            Some("a key, and a \u{0} in it"),
            Some("ключ"),
        ] {
            let mut event = opened.event(&format!("test.topic{n}"), payload);
            event.key = key.map(Into::into);
            event.causes.origin_id = key.map(|key| format!("origin of {key}"));
            event.causes.hops = u32::try_from(n).unwrap();
            sent.push(event);
        }
    }
    for event in &sent {
        let command = Command::event(event.clone());
        opened.submit(command).await.unwrap();
    }
    let kept = opened.read(PatternSet::everything()).await;
    assert_eq!(kept.len(), sent.len());
    for (sent, kept) in sent.iter().zip(kept) {
        assert_eq!(kept.payload, sent.payload);
        assert_eq!(kept.key, sent.key);
        assert_eq!(kept.topic, sent.event_type.topic);
        assert_eq!(kept.source, Source::nexus());
        let causes = kept.causes();
        assert_eq!(causes.origin_id, sent.causes.origin_id);
        assert_eq!(causes.hops, sent.causes.hops);
        assert_eq!(causes.correlation_id, Some(kept.id));
    }
    opened.close().await;
}

/// After a restart the log goes on where it was: same epoch, same events, the next number.
pub async fn a_restart_keeps_everything<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    let before = opened.publish(&["test.a", "test.b"]).await;
    let events = opened.read(PatternSet::everything()).await;
    let mut clock = opened.close().await;
    for life in 0..3 {
        // Also when the clock was set back meanwhile.
        clock.advance_us(-1_000_000);
        let opened = open_with(&subject, clock, Default::default()).await;
        assert_eq!(opened.log.head().epoch, before.epoch);
        assert_eq!(opened.log.head().seq, Seq::new(2 + life));
        let now = opened.read(PatternSet::everything()).await;
        assert_eq!(now[..2], events[..]);
        let receipt = opened.publish(&["test.c"]).await;
        assert_eq!(receipt.first, Seq::new(3 + life));
        assert!(receipt.time_us > now.last().unwrap().time_us);
        let (mut cursor, start) = opened
            .log
            .cursor(From::After(before.position()), PatternSet::everything())
            .await
            .unwrap();
        assert_eq!(start.position, before.position());
        let page = cursor.try_next().await.unwrap().unwrap();
        assert_eq!(page.events[0].seq, Seq::new(3));
        clock = opened.close().await;
    }
}

/// The same request is answered as the first was, another under its key is refused, and after its time
/// the key is free.
pub async fn a_request_key_replays_and_expires<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    let sender = Source::node("shop");
    let command = |fingerprint: u8, opened: &super::Opened<S::Pages>| Command {
        events: vec![opened.event("test.paid", "{}"); 2],
        once: Some(Once::request(
            &sender,
            "key-1",
            [fingerprint; 32],
            BEGIN_US + 1_000_000,
        )),
        ..Command::default()
    };
    let first = opened.submit(command(1, &opened)).await.unwrap();
    assert!(!first.replayed);
    let clock = opened.close().await;
    let opened = open_with(&subject, clock, Default::default()).await;
    let again = opened.submit(command(1, &opened)).await.unwrap();
    assert!(again.replayed);
    assert_eq!(
        (again.first, again.last, again.first_id, again.time_us),
        (first.first, first.last, first.first_id, first.time_us)
    );
    let other = opened.submit(command(2, &opened)).await;
    assert!(matches!(other, Err(Error::IdempotencyMismatch)));
    opened.clock.advance_us(1_000_000);
    let mut late = command(2, &opened);
    late.once = Some(Once::request(&sender, "key-1", [2; 32], i64::MAX));
    let late = opened.submit(late).await.unwrap();
    assert!(!late.replayed);
    assert_eq!(late.first, first.last.next());
    let again = opened.submit(command(2, &opened)).await.unwrap();
    assert_eq!((again.replayed, again.first), (true, late.first));
    opened.close().await;
}

/// What happened outside is kept once, whatever the second request says, and for ever.
pub async fn a_fact_happens_once<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    let fact = |n: usize, opened: &super::Opened<S::Pages>| Command {
        events: vec![opened.event("test.fact", &format!(r#"{{"n":{n}}}"#))],
        once: Some(Once::fact("flowpay", "tx-1:paid")),
        ..Command::default()
    };
    let first = opened.submit(fact(0, &opened)).await.unwrap();
    // Twins in one batch as well as later ones.
    let twins = (1..20).map(|n| opened.submit(fact(n, &opened)));
    for twin in twins {
        let twin = twin.await.unwrap();
        assert_eq!((twin.replayed, twin.first), (true, first.first));
    }
    opened.clock.advance_us(100 * 365 * 86_400 * 1_000_000);
    let late = opened.submit(fact(99, &opened)).await.unwrap();
    assert!(late.replayed);
    let entry = opened.log.once(&Once::fact("flowpay", "tx-1:paid")).await;
    assert_eq!(
        entry.unwrap().unwrap().range,
        Some((first.first, first.last))
    );
    let kept = opened.read(PatternSet::everything()).await;
    assert_eq!(kept.len(), 1);
    assert_eq!(&kept[0].payload[..], br#"{"n":0}"#);
    opened.close().await;
}
