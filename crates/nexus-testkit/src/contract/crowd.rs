//! Promises that hold when many ask at once.

use std::{collections::HashSet, future::Future};

use nexus_core::{Command, From, LogOptions, PatternSet, Principal, Seq};
use tokio::task::JoinSet;

use super::harness::{BEGIN_US, Subject, open, open_with};

/// Runs futures at the same time, on this task, and gives their results in order.
pub async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, done) in waiting.iter_mut().zip(&mut done) {
            if done.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(output) => *done = Some(output),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(())
        }
    })
    .await;
    done.into_iter().map(Option::unwrap).collect()
}

/// Every publisher's events keep their order, none is lost or doubled, and each is what its receipt says.
pub async fn sixty_four_publishers_share_one_order<S: Subject>(subject: S) {
    const PUBLISHERS: usize = 64;
    const REQUESTS: usize = 20;
    let opened = open(&subject).await;
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let log = opened.log.clone();
        let event = opened.event("test.crowd", "{}");
        publishers.spawn(async move {
            let mut receipts = Vec::new();
            for n in 0..REQUESTS {
                let mut events = vec![event.clone(); n % 3 + 1];
                for event in &mut events {
                    event.payload = format!(r#"{{"from":"{publisher}-{n}"}}"#).into();
                }
                let command = Command {
                    events,
                    ..Command::default()
                };
                let receipt = log.submit(&Principal::nexus(), command).await.unwrap();
                receipts.push((publisher, n, receipt));
            }
            receipts
        });
    }
    let receipts = publishers.join_all().await;
    let lasts = receipts
        .iter()
        .flatten()
        .map(|(_, _, receipt)| receipt.last);
    opened.announced(lasts.max().unwrap()).await;
    let events = opened.read(PatternSet::everything()).await;
    let mut numbers = HashSet::new();
    for of_one in &receipts {
        let mut last = Seq::ZERO;
        for (publisher, n, receipt) in of_one {
            assert!(receipt.first > last, "its requests are in its order");
            last = receipt.last;
            assert_eq!(receipt.last.get() - receipt.first.get(), (n % 3) as u64);
            let expected = format!(r#"{{"from":"{publisher}-{n}"}}"#);
            for seq in receipt.first.get()..=receipt.last.get() {
                assert!(numbers.insert(seq), "two receipts name event {seq}");
                let event = &events[usize::try_from(seq).unwrap() - 1];
                assert_eq!(event.payload, expected);
                assert_eq!(event.time_us, receipt.time_us);
            }
        }
    }
    assert_eq!(numbers.len(), events.len());
    opened.close().await;
}

/// A cursor that begins at the first event, while others publish, gets every event once and in order: from
/// the store at first, from memory when it has caught up.
pub async fn a_cursor_from_far_behind_catches_up_under_load<S: Subject>(subject: S) {
    const HISTORY: u64 = 5_000;
    const TOTAL: u64 = 15_000;
    let options = LogOptions {
        ring_events_max: 512,
        ..LogOptions::default()
    };
    let clock = nexus_core::Clock::manual(BEGIN_US);
    let opened = open_with(&subject, clock, options).await;
    while opened.log.head().seq.get() < HISTORY {
        opened.publish(&vec!["test.old"; 500]).await;
    }
    let behind = opened.log.recent_after(Seq::ZERO, 1);
    assert!(
        behind.is_none(),
        "memory does not go back to the first event"
    );
    let mut publishers = JoinSet::new();
    for _ in 0..4 {
        let log = opened.log.clone();
        let event = opened.event("test.new", "{}");
        publishers.spawn(async move {
            while log.head().seq.get() < TOTAL {
                let command = Command {
                    events: vec![event.clone(); 20],
                    ..Command::default()
                };
                log.submit(&Principal::nexus(), command).await.unwrap();
            }
        });
    }
    let everything = PatternSet::everything();
    let (mut cursor, _) = opened.log.cursor(From::Earliest, everything).await.unwrap();
    let mut expected = 1;
    while expected <= TOTAL {
        let page = cursor.next().await.unwrap();
        for event in page.events {
            assert_eq!(event.seq, Seq::new(expected));
            expected += 1;
        }
    }
    publishers.join_all().await;
    opened.close().await;
}
