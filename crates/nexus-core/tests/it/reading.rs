//! Cursors: every matching event once, in order, from memory or from the store.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use nexus_core::{
    Change, Command, Cursor, Epoch, Error, Event, Family, Fence, Filter, From, Key, Log,
    LogOptions, NewEvent, Pattern, PatternSet, Position, Principal, ProtocolEvent,
    RECORDS_PAGE_MAX, Recovery, Selector, Seq,
};
use proptest::prelude::*;

use crate::faulty::{Rig, rig};

/// Whoever is woken sees to it themselves.
struct Unheard;

impl std::task::Wake for Unheard {
    fn wake(self: Arc<Self>) {}
}

/// A ring so small that readers fall out of it all the time.
async fn small_ring() -> Rig {
    rig(LogOptions {
        ring_events_max: 8,
        ..LogOptions::default()
    })
    .await
    .unwrap()
}

fn event(log: &Log, n: u64) -> NewEvent {
    let known = |event| log.catalogue().known_type(event);
    if n.is_multiple_of(3) {
        NewEvent::new(
            known(ProtocolEvent::MintFailed),
            format!(r#"{{"error":"{n}"}}"#),
        )
    } else {
        NewEvent::new(
            known(ProtocolEvent::PaymentFailed),
            format!(r#"{{"orderId":"{n}"}}"#),
        )
    }
}

async fn publish(log: &Log, counts: impl IntoIterator<Item = u64>) {
    let mut n = log.head().seq.get();
    for count in counts {
        let events = (0..count)
            .map(|_| {
                n += 1;
                event(log, n)
            })
            .collect();
        log.submit(
            &Principal::nexus(),
            Command {
                events,
                ..Command::default()
            },
        )
        .await
        .unwrap();
    }
}

async fn read_through(cursor: &mut Cursor, through: u64) -> Vec<Arc<Event>> {
    let mut events = Vec::new();
    while cursor.position().seq.get() < through {
        events.extend(cursor.next().await.unwrap().events);
    }
    events
}

fn seqs(events: &[Arc<Event>]) -> Vec<u64> {
    events.iter().map(|event| event.seq.get()).collect()
}

#[tokio::test]
async fn from_anywhere_it_is_the_same_log() {
    let rig = small_ring().await;
    publish(&rig.log, [5, 1, 20, 3, 30, 2]).await;
    let (mut all, start) = rig
        .log
        .cursor(From::Earliest, PatternSet::everything())
        .await
        .unwrap();
    assert_eq!(start.recovery, Recovery::Recovered);
    let events = read_through(&mut all, 61).await;
    assert_eq!(seqs(&events), (1..=61).collect::<Vec<_>>());
    let position = rig.log.position(Seq::new(40));
    let mints = PatternSet::from(Pattern::parse("mint.*").unwrap());
    let (mut some, _) = rig.log.cursor(From::After(position), mints).await.unwrap();
    let expected: Vec<u64> = (41..=61).filter(|n| n % 3 == 0).collect();
    assert_eq!(seqs(&read_through(&mut some, 61).await), expected);
    assert!(some.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_place_that_is_not_there_is_said() {
    let rig = small_ring().await;
    publish(&rig.log, [5]).await;
    let head = rig.log.head();
    let from = |position| {
        rig.log
            .cursor(From::After(position), PatternSet::everything())
    };
    let (_, start) = from(Position {
        epoch: Epoch::new(!head.epoch.get()),
        seq: Seq::new(2),
    })
    .await
    .unwrap();
    assert_eq!(
        (start.recovery, start.position),
        (Recovery::OtherEpoch, head)
    );
    let (_, start) = from(rig.log.position(Seq::new(6))).await.unwrap();
    assert_eq!((start.recovery, start.position), (Recovery::Ahead, head));
    let (_, start) = from(head).await.unwrap();
    assert_eq!(
        (start.recovery, start.position),
        (Recovery::Recovered, head)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_are_dropped_in_the_middle_lose_nothing() {
    let rig = small_ring().await;
    let readers: Vec<_> = (0..8_u64)
        .map(|n| {
            let log = rig.log.clone();
            tokio::spawn(async move {
                let (mut cursor, _) = log.cursor(From::Earliest, PatternSet::everything()).await?;
                let mut events = Vec::new();
                let mut cancelled = n;
                while events.len() < 2_000 {
                    // Every other read is given up when it is not ready at once.
                    cancelled += 1;
                    if cancelled % 2 == 0 {
                        tokio::select! {
                            biased;
                            page = cursor.next() => events.extend(page?.events),
                            () = tokio::task::yield_now() => {}
                        }
                    } else {
                        events.extend(cursor.next().await?.events);
                    }
                }
                Ok::<_, Error>(events)
            })
        })
        .collect();
    let publishers: Vec<_> = (0..4)
        .map(|_| {
            let log = rig.log.clone();
            tokio::spawn(async move { publish(&log, [1, 7, 2, 40].repeat(10)).await })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    for reader in readers {
        assert_eq!(
            seqs(&reader.await.unwrap().unwrap()),
            (1..=2_000).collect::<Vec<_>>()
        );
    }
}

/// Pages of a reader from somewhere in memory: how many events, and how far.
async fn pages(rig: &Rig, after: u64, selector: Selector) -> Vec<(usize, u64)> {
    let from = From::After(rig.log.position(Seq::new(after)));
    let (mut cursor, _) = rig.log.cursor(from, selector).await.unwrap();
    let mut pages = Vec::new();
    while let Some(page) = cursor.try_next().await.unwrap() {
        pages.push((page.events.len(), page.through.get()));
    }
    pages
}

#[tokio::test]
async fn a_page_from_memory_is_cut_inside_a_batch() {
    let rig = rig(LogOptions::default()).await.unwrap();
    publish(&rig.log, [600; 3]).await;
    let everything = || Selector::from(PatternSet::everything());
    assert_eq!(
        pages(&rig, 0, everything()).await,
        [(1_000, 1_000), (800, 1_800)]
    );
    // A filter that wants nothing: the reader moves on all the same, a bounded way at a time.
    let nothing = Selector {
        filter: Some(Filter::new("false", |_| false)),
        ..everything()
    };
    assert_eq!(pages(&rig, 0, nothing).await, [(0, 1_200), (0, 1_800)]);
    let payload = format!(r#"{{"orderId":"o","x":"{}"}}"#, "x".repeat(200 << 10));
    let event_type = rig.log.catalogue().known_type(ProtocolEvent::PaymentFailed);
    let large = vec![NewEvent::new(event_type, payload); 12];
    let command = Command {
        events: large,
        ..Command::default()
    };
    rig.log.submit(&Principal::nexus(), command).await.unwrap();
    assert_eq!(
        pages(&rig, 1_800, everything()).await,
        [(5, 1_805), (5, 1_810), (2, 1_812)]
    );
}

#[tokio::test]
async fn a_reader_that_wants_little_lets_others_have_their_turn() {
    let rig = rig(LogOptions::default()).await.unwrap();
    publish(&rig.log, [500; 100]).await;
    let nothing = Selector {
        patterns: PatternSet::everything(),
        filter: Some(Filter::new("false", |_| false)),
    };
    let (mut cursor, _) = rig.log.cursor(From::Earliest, nothing).await.unwrap();
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = turns.clone();
    let other = tokio::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    // On the one thread there is, nothing here waits: only giving way lets the other task run.
    for _ in 0..20 {
        let from = From::After(rig.log.position(Seq::ZERO));
        while cursor.position().seq < rig.log.head().seq {
            assert!(cursor.next().await.unwrap().events.is_empty());
        }
        let patterns = PatternSet::everything();
        let filter = Some(Filter::new("false", |_| false));
        let selector = Selector { patterns, filter };
        (cursor, _) = rig.log.cursor(from, selector).await.unwrap();
    }
    assert!(turns.load(Ordering::Relaxed) > 2);
    other.abort();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever batches were committed, wherever a reader begins, whatever it wants: it gets what a
    /// plain vector says.
    #[test]
    fn reading_follows_the_model(
        counts in prop::collection::vec(1_u64..30, 1..12), start in 0_u64..100, pattern in 0_usize..4,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let rig = small_ring().await;
            publish(&rig.log, counts.iter().copied()).await;
            let total: u64 = counts.iter().sum();
            let start = start.min(total);
            let pattern = Pattern::parse([">", "payment.*", "mint.failed", "vote.cast"][pattern]).unwrap();
            let (mut cursor, _) =
                rig.log.cursor(From::After(rig.log.position(Seq::new(start))), PatternSet::from(pattern.clone())).await.unwrap();
            let got = seqs(&read_through(&mut cursor, total).await);
            let expected: Vec<u64> = (start + 1..=total)
                .filter(|n| match pattern.as_str() {
                    ">" => true,
                    "payment.*" => n % 3 != 0,
                    "mint.failed" => n % 3 == 0,
                    _ => false,
                })
                .collect();
            prop_assert_eq!(got, expected);
            Ok(())
        })?;
    }
}

/// Each time that it runs it holds few events against its filter, wherever they come from, and misses none.
#[tokio::test]
async fn a_filter_that_costs_much_lets_others_run() {
    const AT_ONCE: usize = 32;
    let held = Arc::new(AtomicUsize::new(0));
    let counted = held.clone();
    let even = Filter::new("even", move |event| {
        counted.fetch_add(1, Ordering::SeqCst);
        event.seq.get().is_multiple_of(2)
    });
    for rig in [
        small_ring().await,
        rig(LogOptions::default()).await.unwrap(),
    ] {
        publish(&rig.log, [300, 200, 100, 1]).await;
        let mut heads = rig.log.head_changes();
        heads.wait_for(|head| head.get() == 601).await.unwrap();
        let selector = Selector {
            patterns: PatternSet::everything(),
            filter: Some(even.clone()),
        };
        let (mut cursor, _) = rig.log.cursor(From::Earliest, selector).await.unwrap();
        let waker = Arc::new(Unheard).into();
        let mut found = Vec::new();
        while cursor.position().seq.get() < 601 {
            let mut next = std::pin::pin!(cursor.next());
            loop {
                held.store(0, Ordering::SeqCst);
                let polled = next.as_mut().poll(&mut Context::from_waker(&waker));
                assert!(held.load(Ordering::SeqCst) <= AT_ONCE);
                if let Poll::Ready(page) = polled {
                    found.extend(seqs(&page.unwrap().events));
                    break;
                }
                // So that the storage may answer meanwhile.
                tokio::task::yield_now().await;
            }
        }
        let expected: Vec<u64> = (1..=601).filter(|seq| seq % 2 == 0).collect();
        assert_eq!(found, expected);
    }
}

const NOTE: Family = Family::new("note");

async fn note(log: &Log, scope: &str, names: impl Iterator<Item = String>) {
    let put = |name: String| Change::Put {
        key: Key::new(NOTE, name),
        owner: None,
        scope: scope.into(),
        state: "".into(),
        due_us: None,
        fence: Fence::Keep,
        body: "{}".into(),
    };
    let command = Command {
        changes: names.map(put).collect(),
        ..Command::default()
    };
    log.submit(&Principal::nexus(), command).await.unwrap();
}

#[tokio::test]
async fn all_records_come_once_and_a_page_at_a_time() {
    for count in [0, 1, RECORDS_PAGE_MAX, 2 * RECORDS_PAGE_MAX + 3] {
        let rig = rig(LogOptions::default()).await.unwrap();
        let names: Vec<String> = (0..count).map(|n| format!("{n:06}")).collect();
        for some in names.chunks(200) {
            note(&rig.log, "one", some.iter().cloned()).await;
        }
        note(&rig.log, "other", std::iter::once("x".into())).await;
        let mut pages = rig.log.all_records(NOTE, Some("one".into()));
        let mut found = Vec::new();
        while let Some(page) = pages.next().await.unwrap() {
            assert!(!page.is_empty() && page.len() <= RECORDS_PAGE_MAX);
            found.extend(page.into_iter().map(|record| record.key.key.to_string()));
        }
        assert_eq!(found, names);
        assert!(pages.next().await.unwrap().is_none());
        let all = rig.log.all_records(NOTE, None).collect().await.unwrap();
        assert_eq!(all.len(), count + 1);
    }
}

#[tokio::test]
async fn who_removes_what_it_reads_misses_nothing() {
    let rig = rig(LogOptions::default()).await.unwrap();
    let count = RECORDS_PAGE_MAX + 7;
    for from in (0..count).step_by(200) {
        let some = (from..count.min(from + 200)).map(|n| format!("{n:06}"));
        note(&rig.log, "", some).await;
    }
    let mut pages = rig.log.all_records(NOTE, None);
    let mut seen = 0;
    while let Some(page) = pages.next().await.unwrap() {
        seen += page.len();
        for some in page.chunks(200) {
            let gone = some.iter().map(|record| Change::Delete(record.key.clone()));
            let command = Command {
                changes: gone.collect(),
                ..Command::default()
            };
            rig.log.submit(&Principal::nexus(), command).await.unwrap();
        }
    }
    assert_eq!(seen, count);
}
