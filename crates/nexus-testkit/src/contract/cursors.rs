//! Promises about cursors while everything goes on at once: publishing, pruning, restarts.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
};

use nexus_core::{
    Command, Error, Filter, From, Log, LogOptions, NewEvent, Position, Principal, Random, Recovery,
    Selector, Seq,
};
use tokio::task::JoinSet;

use super::harness::{BEGIN_US, Opened, Subject, open_with, patterns};

const LIVES: usize = 3;
const PUBLISHERS: usize = 3;
const REQUESTS: usize = 40;
const TOPICS: [&str; 3] = ["test.a", "test.b", "other.c"];
const WANTED: [&[&str]; 4] = [&[">"], &["test.*"], &["test.b", "other.c"], &["other.*"]];

/// Every event that was acknowledged: its topic, by its number.
type Acknowledged = Arc<Mutex<BTreeMap<Seq, &'static str>>>;

/// What became of one reader.
struct Reader {
    wanted: usize,
    /// Only events with an even number.
    is_filtered: bool,
    position: Position,
    got: Vec<Seq>,
    /// What it was told that it would not get.
    missed: Vec<RangeInclusive<Seq>>,
}

impl Reader {
    fn selector(&self) -> Selector {
        let filter = Filter::new("seq % 2 == 0", |event| event.seq.get().is_multiple_of(2));
        Selector {
            patterns: patterns(WANTED[self.wanted]),
            filter: self.is_filtered.then_some(filter),
        }
    }

    fn wants(&self, seq: Seq, topic: &str) -> bool {
        let topic = nexus_core::Topic::parse(topic).unwrap();
        patterns(WANTED[self.wanted]).matches(&topic)
            && (!self.is_filtered || seq.get().is_multiple_of(2))
    }

    /// Reads until the log is closed.
    async fn read(mut self, log: Log) -> Self {
        let from = From::After(self.position);
        let (mut cursor, start) = log.cursor(from, self.selector()).await.unwrap();
        if start.position != self.position {
            assert_eq!(start.recovery, Recovery::Pruned);
            self.miss(start.position);
        }
        loop {
            match cursor.next().await {
                Ok(page) => self.got.extend(page.events.iter().map(|event| event.seq)),
                Err(Error::Pruned { through }) => self.miss(through),
                Err(Error::Closed) => return self,
                Err(error) => panic!("{error:?}"),
            }
            self.position = cursor.position();
        }
    }

    fn miss(&mut self, through: Position) {
        self.missed.push(self.position.seq.next()..=through.seq);
        self.position = through;
    }
}

/// While events are published and old ones are removed, and after each restart, every reader gets each
/// event that it wants once, in order, or was told that it is gone.
pub async fn readers_miss_nothing_that_they_are_not_told_of<S: Subject>(subject: S) {
    let acknowledged = Acknowledged::default();
    let mut readers: Vec<Reader> = Vec::new();
    let mut clock = nexus_core::Clock::manual(BEGIN_US);
    for _ in 0..LIVES {
        let options = LogOptions {
            ring_events_max: 64,
            ..LogOptions::default()
        };
        let opened = open_with(&subject, clock, options).await;
        // In each life more readers come, who do not want what was before.
        let head = opened.log.head();
        readers.extend((0..WANTED.len() * 2).map(|n| Reader {
            wanted: n / 2,
            is_filtered: n % 2 == 0,
            position: head,
            got: Vec::new(),
            missed: vec![Seq::ZERO..=head.seq],
        }));
        let mut reading = JoinSet::new();
        for reader in readers.drain(..) {
            reading.spawn(reader.read(opened.log.clone()));
        }
        live(&opened, &acknowledged).await;
        clock = opened.close().await;
        readers = reading.join_all().await;
    }
    let acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(
        acknowledged.len() as u64,
        acknowledged.last_key_value().unwrap().0.get()
    );
    for reader in readers {
        let expected: Vec<Seq> = acknowledged
            .iter()
            .filter(|(seq, topic)| reader.wants(**seq, topic))
            .map(|(seq, _)| *seq)
            .filter(|seq| !reader.missed.iter().any(|missed| missed.contains(seq)))
            .collect();
        assert_eq!(reader.got, expected);
    }
}

/// Publishes and prunes at once.
async fn live<P: nexus_core::Pages>(opened: &Opened<P>, acknowledged: &Acknowledged) {
    let mut publishing = JoinSet::new();
    for _ in 0..PUBLISHERS {
        let events = TOPICS.map(|topic| opened.event(topic, "{}"));
        publishing.spawn(publish(opened.log.clone(), events, acknowledged.clone()));
    }
    let log = opened.log.clone();
    let pruning = tokio::spawn(async move {
        let random = Random::system();
        loop {
            let through = random.number() % (log.head().seq.get() + 1);
            match log.prune(Seq::new(through)).await {
                Ok(_) => tokio::task::yield_now().await,
                Err(Error::Closed) => return,
                Err(error) => panic!("{error:?}"),
            }
        }
    });
    publishing.join_all().await;
    opened.log.close();
    pruning.await.unwrap();
}

async fn publish(log: Log, events: [NewEvent; TOPICS.len()], acknowledged: Acknowledged) {
    let random = Random::system();
    let below = |bound: usize| usize::try_from(random.number() % bound as u64).unwrap();
    for _ in 0..REQUESTS {
        let chosen: Vec<usize> = (0..=below(30)).map(|_| below(TOPICS.len())).collect();
        let command = Command {
            events: chosen.iter().map(|n| events[*n].clone()).collect(),
            ..Command::default()
        };
        let receipt = log.submit(&Principal::nexus(), command).await.unwrap();
        let topics = chosen.iter().map(|n| TOPICS[*n]);
        let numbered = (receipt.first.get()..).map(Seq::new).zip(topics);
        let mut acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        acknowledged.extend(numbered);
    }
}
