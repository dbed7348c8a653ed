//! What all clients of a run wrote down: what was asked and told, and what readers saw.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use nexus_core::{
    Catalogue, Clock, Digest, Event, From, Log, LogOptions, PatternSet, Position, Random, Seq,
    sha256,
};
use nexus_store::{Sqlite, SqliteOptions};
use nexus_testkit::oracle::{Journal, Judged, Oracle};

use super::publisher::token_of;

/// The file of the log in the data folder.
const DATABASE: &str = "nexus-log.db";

/// What clients know. It is in the memory of the test, which outlives the daemon.
pub(super) struct Record {
    pub(super) journal: Journal<Vec<u8>>,
    oks: AtomicUsize,
    refused: AtomicUsize,
    sent_again: AtomicUsize,
    replayed: AtomicUsize,
    /// How many events each reader saw.
    read: Vec<AtomicUsize>,
    /// What readers saw of event 1, 2, 3 …
    seen: Mutex<Vec<Digest>>,
}

/// How a run went, when nothing was wrong with it.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// What the oracle counted; among what is open are the starts.
    pub(crate) judged: Judged,
    /// Events in the log.
    pub(crate) events: usize,
    /// How often a daemon wrote down that it started.
    pub(crate) starts: usize,
    /// Events that readers saw.
    pub(crate) seen: usize,
    /// Requests that were sent again under their key and then answered.
    pub(crate) sent_again: usize,
    /// How many of those had been kept at first.
    pub(crate) replayed: usize,
}

impl Verdict {
    /// Events in the log whose publishers were not told so.
    pub(crate) fn kept_unanswered(&self) -> usize {
        self.judged.open_kept - self.starts
    }
}

impl Record {
    pub(super) fn new(readers: usize) -> Self {
        Self {
            journal: Journal::new(Vec::new()),
            oks: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            sent_again: AtomicUsize::new(0),
            replayed: AtomicUsize::new(0),
            read: (0..readers).map(|_| AtomicUsize::new(0)).collect(),
            seen: Mutex::default(),
        }
    }

    pub(super) fn ok(&self, token: &str, seq: Seq) {
        self.journal.ok(token, seq);
        self.oks.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self, token: &str) {
        self.journal.fail(token);
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sent_again(&self, replayed: bool) {
        self.sent_again.fetch_add(1, Ordering::Relaxed);
        self.replayed
            .fetch_add(usize::from(replayed), Ordering::Relaxed);
    }

    pub(super) fn oks(&self) -> usize {
        self.oks.load(Ordering::Relaxed)
    }

    /// How many events every reader saw.
    pub(super) fn read_by_all(&self) -> usize {
        let read = self.read.iter().map(|read| read.load(Ordering::Relaxed));
        read.min().unwrap_or_default()
    }

    /// How many events some reader saw.
    pub(super) fn read_by_any(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    pub(super) fn refusals(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }

    /// A reader saw this as event `seq`; it sees them all and in order.
    ///
    /// # Panics
    /// When it is not what another reader saw.
    pub(super) fn saw(&self, reader: usize, seq: u64, frame: Digest) {
        let at = usize::try_from(seq - 1).unwrap();
        self.read[reader].store(at + 1, Ordering::Relaxed);
        let mut seen = self.seen.lock().unwrap();
        match seen.get(at) {
            Some(first) => assert_eq!(*first, frame, "readers saw different events {seq}"),
            None => {
                assert_eq!(at, seen.len(), "a reader saw what follows first");
                seen.push(frame);
            }
        }
    }

    /// Compares what the clients know with the log that the last daemon left.
    pub(super) async fn judge(self, data: &Path, lives: usize) -> Verdict {
        let (log, epoch) = read_log(data).await;
        let mut oracle = Oracle::default();
        let lines = String::from_utf8(self.journal.into_inner()).unwrap();
        lines.lines().for_each(|line| oracle.line(line).unwrap());
        // Each life begins with an event of its own, which nobody sent.
        let start = |event: &Event| format!("start-{}", event.seq);
        let starts: Vec<_> = log.iter().filter(|event| is_start(event)).collect();
        for event in &starts {
            oracle.line(&format!("@invoke {}", start(event))).unwrap();
        }
        assert!(
            starts.len() <= lives,
            "{} starts in {lives} lives",
            starts.len()
        );
        let judged = oracle
            .judge(&log, |event| {
                if is_start(event) {
                    Some(start(event))
                } else {
                    token_of(event)
                }
            })
            .unwrap();
        let seen = self.seen.into_inner().unwrap();
        assert!(
            seen.len() <= log.len(),
            "readers saw what is not in the log"
        );
        for (event, seen) in log.iter().zip(&seen) {
            let position = Position {
                epoch,
                seq: event.seq,
            };
            let kept = fingerprint(
                &position.to_string(),
                &event.id.to_string(),
                event.topic.as_str(),
                event.time_us / 1000,
                &event.payload,
            );
            assert_eq!(*seen, kept, "readers saw another event {}", event.seq);
        }
        let verified = Sqlite::verify(&data.join(DATABASE)).await.unwrap();
        assert_eq!(verified.last.get(), log.len() as u64, "the chain is whole");
        Verdict {
            judged,
            events: log.len(),
            starts: starts.len(),
            seen: seen.len(),
            sent_again: self.sent_again.into_inner(),
            replayed: self.replayed.into_inner(),
        }
    }
}

/// Everything that a frame tells of an event.
pub(super) fn fingerprint(
    position: &str,
    id: &str,
    topic: &str,
    time_ms: i64,
    payload: &[u8],
) -> Digest {
    let head = format!("{position} {id} {topic} {time_ms} ");
    sha256(&[head.as_bytes(), payload].concat())
}

fn is_start(event: &Event) -> bool {
    event.topic.as_str() == "nexus.start"
}

/// The whole log, read by the store alone.
async fn read_log(data: &Path) -> (Vec<Arc<Event>>, nexus_core::Epoch) {
    let (clock, random) = (Clock::System, Random::system());
    let options = SqliteOptions::new(data.join(DATABASE));
    let (backend, pages) = Sqlite::open(options, clock.clone(), random.clone())
        .await
        .unwrap();
    let (log, service) = Log::open(
        backend,
        pages,
        Catalogue::known(),
        LogOptions::default(),
        clock,
        random,
    )
    .await
    .unwrap();
    let service = tokio::spawn(service.run());
    let (mut cursor, _) = log
        .cursor(From::Earliest, PatternSet::everything())
        .await
        .unwrap();
    let mut events = Vec::new();
    while let Some(page) = cursor.try_next().await.unwrap() {
        events.extend(page.events);
    }
    let epoch = log.head().epoch;
    log.close();
    drop((log, cursor));
    service.await.unwrap().unwrap();
    (events, epoch)
}
