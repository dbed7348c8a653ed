//! Pages against a model: random logs and questions, answered by plain filtering.

use std::sync::Arc;

use nexus_core::{
    Command, Event, EventQuery, NewEvent, Order, Pages, PatternSet, Principal, Random, Seq, Source,
};

use super::harness::{Subject, open, patterns};

const QUESTIONS: usize = 300;
const PATTERNS: [&str; 9] = [
    ">",
    "a.*",
    "*.x",
    "a.x",
    "b.y",
    "a.b.*",
    "many.*",
    "none.at_all",
    "many.t7",
];

const SENDERS: [&str; 3] = ["s1", "s2", "s3"];
const NOBODY: [&str; 1] = ["nobody"];
const KEYS: [Option<&str>; 4] = [None, Some("k1"), Some("k2"), Some("ké\"'")];

/// Whatever the bounds, order and patterns are: pages that are walked to the end give what the model
/// gives, no page is larger than it may be, and each says truly how far it looked.
pub async fn pages_equal_the_model<S: Subject>(subject: S) {
    let seed = Random::system().number();
    println!("seed {seed}");
    let random = Random::seeded(seed);
    let below = |bound: usize| usize::try_from(random.number() % bound as u64).unwrap();
    let opened = open(&subject).await;
    let mut topics: Vec<String> = ["a.x", "a.y", "b.x", "b.y", "a.b.x"]
        .map(Into::into)
        .to_vec();
    // More topics than are merged from an index.
    topics.extend((0..90).map(|n| format!("many.t{n}")));
    for _ in 0..25 {
        let events = (0..=below(40)).map(|_| {
            // Half of the events are of the first topics.
            let most = if below(2) == 0 { 5 } else { topics.len() };
            let payload = format!(r#"{{"x":"{}"}}"#, "y".repeat(below(300)));
            NewEvent {
                key: KEYS[below(KEYS.len())].map(Into::into),
                ..opened.event(&topics[below(most)], &payload)
            }
        });
        let command = Command {
            events: events.collect(),
            ..Command::default()
        };
        let sender = Principal::reactor(SENDERS[below(SENDERS.len())]);
        let receipt = opened.log.submit(&sender, command).await.unwrap();
        opened.announced(receipt.last).await;
    }
    let log = opened.read(PatternSet::everything()).await;
    for _ in 0..QUESTIONS {
        let chosen: Vec<&str> = (0..=below(3))
            .map(|_| PATTERNS[below(PATTERNS.len())])
            .collect();
        // Also behind the last event.
        let end = log.len() + 1 + [0, 40][below(2)];
        let (a, b) = (below(end) as u64, below(end) as u64);
        let is_narrowed = below(2) == 0;
        let sender = SENDERS.get(below(2 * SENDERS.len()));
        let source = sender
            .or(NOBODY.get(below(10)))
            .map(|name| Source::reactor(name));
        let key = KEYS[below(KEYS.len())];
        let query = EventQuery {
            after: Seq::new(a.min(b)),
            through: Seq::new(a.max(b)),
            order: [Order::Ascending, Order::Descending][below(2)],
            patterns: patterns(&chosen),
            source: source.filter(|_| is_narrowed),
            key: key.filter(|_| is_narrowed).map(Into::into),
            events_max: 1 + below(60),
            bytes_max: below(4_000),
            examined_max: 1 + below(120),
        };
        compare(&opened.pages, &log, query).await;
    }
    opened.close().await;
}

async fn compare<P: Pages>(pages: &P, log: &[Arc<Event>], mut query: EventQuery) {
    let asked = query.clone();
    let mut expected: Vec<&Arc<Event>> = log
        .iter()
        .filter(|event| event.seq > query.after && event.seq <= query.through)
        .filter(|event| query.patterns.matches(&event.topic))
        .filter(|event| {
            query
                .source
                .as_ref()
                .is_none_or(|source| event.source == *source)
        })
        .filter(|event| query.key.is_none() || event.key == query.key)
        .collect();
    if query.order == Order::Descending {
        expected.reverse();
    }
    let mut found = Vec::new();
    loop {
        let page = pages.events(&query).await.unwrap();
        assert!(page.events.len() <= query.events_max, "{query:?}");
        let bytes: usize = page.events.iter().map(|event| event.payload.len()).sum();
        assert!(
            bytes <= query.bytes_max || page.events.len() == 1,
            "{query:?}"
        );
        let end = match query.order {
            Order::Ascending => query.through,
            Order::Descending => query.after.next(),
        };
        assert_eq!(
            page.done,
            page.reached == end || query.after == query.through,
            "{query:?}"
        );
        for event in &page.events {
            let within = match query.order {
                Order::Ascending => event.seq <= page.reached,
                Order::Descending => event.seq >= page.reached,
            };
            assert!(within, "an event behind what was reached: {query:?}");
        }
        found.extend(page.events);
        if page.done {
            break;
        }
        // Goes on behind what was reached; so whatever was passed over wrongly is missing in the end.
        let goes_on = match query.order {
            Order::Ascending => page.reached > query.after,
            Order::Descending => page.reached <= query.through,
        };
        assert!(goes_on, "a page that stands still: {query:?}");
        match query.order {
            Order::Ascending => query.after = page.reached,
            Order::Descending => query.through = page.reached.previous(),
        }
    }
    assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{asked:?}");
}
