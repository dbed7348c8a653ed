//! Promises about pages: bounds, times, identifiers.

use nexus_core::{Command, EventQuery, NewEvent, Order, Pages, PatternSet, Principal, Seq, Source};
use uuid::Uuid;

use super::harness::{BEGIN_US, Subject, open, patterns};

/// A page stops at its number of events, at its bytes, and at its rows looked at, and says where.
pub async fn pages_are_bounded<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    let payload = format!(r#"{{"x":"{}"}}"#, "y".repeat(92));
    assert_eq!(payload.len(), 100);
    let events = vec![opened.event("test.sized", &payload); 50];
    let command = Command {
        events,
        ..Command::default()
    };
    opened.submit(command).await.unwrap();
    let all = EventQuery::page(Seq::ZERO, Seq::new(50), PatternSet::everything());
    for order in [Order::Ascending, Order::Descending] {
        let page = |events_max, bytes_max, examined_max| EventQuery {
            order,
            events_max,
            bytes_max,
            examined_max,
            ..all.clone()
        };
        for (query, count) in [
            (page(1_000, 1 << 20, 20_000), 50),
            (page(50, 1 << 20, 20_000), 50),
            (page(49, 1 << 20, 20_000), 49),
            (page(1, 1 << 20, 20_000), 1),
            (page(1_000, 5_000, 20_000), 50),
            (page(1_000, 4_999, 20_000), 49),
            (page(1_000, 100, 20_000), 1),
            (page(1_000, 0, 20_000), 1),
            (page(1_000, 1 << 20, 50), 50),
            (page(1_000, 1 << 20, 7), 7),
            (page(0, 1 << 20, 20_000), 0),
        ] {
            let found = opened.pages.events(&query).await.unwrap();
            assert_eq!(found.events.len(), count, "{query:?}");
            assert_eq!(found.done, count == 50, "{query:?}");
            let count = count as u64;
            let reached = match order {
                Order::Ascending => Seq::new(count),
                Order::Descending => Seq::new(51 - count),
            };
            assert_eq!(found.reached, reached, "{query:?}");
        }
    }
    let empty = EventQuery::page(Seq::new(7), Seq::new(7), PatternSet::everything());
    let found = opened.pages.events(&empty).await.unwrap();
    assert!(found.events.is_empty() && found.done);
    opened.close().await;
}

/// An event among many others is found without reading through all of them, from either end.
pub async fn a_rare_topic_is_found_in_few_pages<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    let mut rare = Vec::new();
    for n in 0..30 {
        if n == 3 || n == 20 {
            rare.push(opened.publish(&["rare.one"]).await.first);
        }
        opened.publish(&vec!["common.one"; 1_000]).await;
    }
    for (wanted, expected) in [
        (patterns(&["rare.one"]), rare.clone()),
        (patterns(&["rare.*", "absent.topic"]), rare.clone()),
        (patterns(&["absent.topic"]), Vec::new()),
        (PatternSet::default(), Vec::new()),
    ] {
        let found: Vec<Seq> = opened.read(wanted).await.iter().map(|e| e.seq).collect();
        assert_eq!(found, expected);
    }
    let both = patterns(&["*.one", "rare.*"]);
    assert_eq!(opened.read(both).await.len(), 30_002);
    let mut query = EventQuery::page(Seq::ZERO, opened.log.head().seq, patterns(&["rare.one"]));
    query.order = Order::Descending;
    let mut found = Vec::new();
    for page in 0.. {
        assert!(page < 4, "20,000 rows are looked at each time");
        let page = opened.pages.events(&query).await.unwrap();
        found.extend(page.events.iter().map(|event| event.seq));
        if page.done {
            assert_eq!(page.reached, Seq::new(1));
            break;
        }
        query.through = page.reached.previous();
    }
    rare.reverse();
    assert_eq!(found, rare);
    opened.close().await;
}

/// What a source sent, or what has a key, is found among many others; a page looks at no more than it may,
/// whether it finds anything or not.
pub async fn a_source_and_a_key_are_found_in_bounded_pages<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    let rare = Principal::reactor("rare");
    let mut expected = Vec::new();
    for n in 0..30_u32 {
        let keyed = |topic, key: String| NewEvent {
            key: Some(key.into()),
            ..opened.event(topic, "{}")
        };
        let events = (0..1_000).map(|m| keyed(["test.a", "test.b"][m % 2], format!("k{m}")));
        let command = Command {
            events: events.collect(),
            ..Command::default()
        };
        opened.submit(command).await.unwrap();
        if n % 10 == 3 {
            let event = keyed("test.b", "k7".to_owned());
            let receipt = opened.log.dispatch(&rare, event).await.unwrap();
            opened.announced(receipt.last).await;
            expected.push(receipt.last);
        }
    }
    let by_source = EventQuery {
        source: Some(rare.source().clone()),
        ..EventQuery::page(Seq::ZERO, opened.log.head().seq, PatternSet::everything())
    };
    let by_topic = EventQuery {
        patterns: patterns(&["test.b"]),
        ..by_source.clone()
    };
    let by_all = EventQuery {
        key: Some("k7".into()),
        ..by_topic.clone()
    };
    for query in [&by_source, &by_topic, &by_all] {
        for order in [Order::Ascending, Order::Descending] {
            let query = EventQuery {
                order,
                examined_max: 2_000,
                ..query.clone()
            };
            let (mut found, pages) = walk(&opened.pages, query).await;
            assert!(pages <= 16, "{pages} pages for 30,003 events");
            if order == Order::Descending {
                found.reverse();
            }
            assert_eq!(found, expected);
        }
    }
    let nobody = EventQuery {
        source: Some(Source::reactor("nobody")),
        ..by_all
    };
    assert_eq!(walk(&opened.pages, nobody).await.0, Vec::new());
    let one = EventQuery {
        examined_max: 1,
        through: Seq::new(3),
        ..by_source
    };
    assert_eq!(walk(&opened.pages, one).await, (Vec::new(), 3));
    opened.close().await;
}

/// Every event that a query asks for, and how many pages it took.
async fn walk<P: Pages>(pages: &P, mut query: EventQuery) -> (Vec<Seq>, usize) {
    let mut found = Vec::new();
    for count in 1.. {
        let page = pages.events(&query).await.unwrap();
        found.extend(page.events.iter().map(|event| event.seq));
        if page.done {
            return (found, count);
        }
        match query.order {
            Order::Ascending => query.after = page.reached,
            Order::Descending => query.through = page.reached.previous(),
        }
    }
    unreachable!("there are fewer pages than numbers")
}

/// The last event at or before a time.
pub async fn times_are_found_by_search<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    assert_eq!(opened.log.last_before(i64::MAX).await.unwrap(), Seq::ZERO);
    let mut batches = Vec::new();
    for n in 0..40_usize {
        opened.clock.advance_us(1_000);
        let receipt = opened.publish(&vec!["test.timed"; n % 4 + 1]).await;
        batches.push((receipt.time_us, receipt.last));
    }
    let mut before = Seq::ZERO;
    for (time_us, last) in batches {
        let at = |time_us| opened.log.last_before(time_us);
        assert_eq!(at(time_us - 1).await.unwrap(), before);
        assert_eq!(at(time_us).await.unwrap(), last);
        assert_eq!(at(time_us + 1).await.unwrap(), last);
        before = last;
    }
    assert_eq!(opened.log.last_before(BEGIN_US).await.unwrap(), Seq::ZERO);
    assert_eq!(opened.log.last_before(i64::MIN).await.unwrap(), Seq::ZERO);
    assert_eq!(opened.log.last_before(i64::MAX).await.unwrap(), before);
    opened.close().await;
}

/// An event is found by its identifier, and no other is.
pub async fn events_are_found_by_identifier<S: Subject>(subject: S) {
    let opened = open(&subject).await;
    opened.publish(&["test.a", "test.b", "test.c"]).await;
    for event in opened.read(PatternSet::everything()).await {
        let found = opened.log.event_by_id(event.id).await.unwrap();
        assert_eq!(found, Some(event.clone()));
        let next = Uuid::from_u128(event.id.as_u128() ^ 1);
        assert_eq!(opened.log.event_by_id(next).await.unwrap(), None);
        assert_eq!(opened.log.event(event.seq).await.unwrap(), Some(event));
    }
    assert_eq!(opened.log.event(Seq::ZERO).await.unwrap(), None);
    assert_eq!(opened.log.event(Seq::new(4)).await.unwrap(), None);
    assert_eq!(opened.log.pruned_through().await.unwrap(), Seq::ZERO);
    opened.close().await;
}
