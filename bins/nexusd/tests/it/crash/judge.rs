//! The end of a run: what the clients know against the log that the last daemon left.

use std::{fmt, path::Path, sync::Arc};

use nexus_core::{
    Catalogue, Clock, Epoch, Event, From, Log, LogOptions, PatternSet, Position, Random,
};
use nexus_store::{Sqlite, SqliteOptions};
use nexus_testkit::oracle::{Judged, Oracle};

use super::{
    publisher::token_of,
    record::{Known, fingerprint},
};

/// The file of the log in the data folder.
const DATABASE: &str = "nexus-log.db";

/// How a run went, when nothing was wrong with it.
pub(crate) struct Verdict {
    judged: Judged,
    /// Events in the log.
    pub(crate) events: usize,
    /// How often a daemon wrote down that it started.
    starts: usize,
    /// Events that readers saw.
    pub(crate) seen: usize,
    /// Requests that were sent again under their key and then answered.
    pub(crate) sent_again: usize,
    /// How many of those had been kept at first.
    pub(crate) replayed: usize,
}

impl Verdict {
    /// Requests that were refused for certain.
    pub(crate) fn refused(&self) -> usize {
        self.judged.failed
    }

    /// Requests of which nobody knows what became of them.
    fn open(&self) -> usize {
        self.judged.open - self.starts
    }

    /// Those of them that were kept.
    pub(crate) fn open_kept(&self) -> usize {
        self.judged.open_kept - self.starts
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} acknowledged, {} refused, {} open ({} kept), {} sent again ({} had been kept); \
             {} events in the log, {} of them starts; {} read by readers; nothing lost, changed or double",
            self.judged.ok,
            self.refused(),
            self.open(),
            self.open_kept(),
            self.sent_again,
            self.replayed,
            self.events,
            self.starts,
            self.seen,
        )
    }
}

/// Judges a run in which the daemon lived so often.
///
/// # Panics
/// With the first thing that is wrong.
pub(super) async fn judge(known: Known, data: &Path, lives: usize) -> Verdict {
    let (log, epoch) = read_log(data).await;
    let mut oracle = Oracle::default();
    let journal = String::from_utf8(known.journal).unwrap();
    journal.lines().for_each(|line| oracle.line(line).unwrap());
    // A life begins with an event of its own, which no publisher sent.
    let starts: Vec<String> = log.iter().filter_map(|event| start_of(event)).collect();
    for start in &starts {
        oracle.line(&format!("@invoke {start}")).unwrap();
    }
    assert!(starts.len() <= lives, "{starts:?} in {lives} lives");
    let token = |event: &Event| start_of(event).or_else(|| token_of(event));
    let judged = oracle.judge(&log, token).unwrap();
    assert!(
        known.seen.len() <= log.len(),
        "readers saw what is not in the log"
    );
    for (event, seen) in log.iter().zip(&known.seen) {
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
        seen: known.seen.len(),
        sent_again: known.sent_again,
        replayed: known.replayed,
    }
}

/// A token for the event with which a life begins.
fn start_of(event: &Event) -> Option<String> {
    (event.topic.as_str() == "nexus.start").then(|| format!("start-{}", event.seq))
}

/// The whole log, read by the store alone.
async fn read_log(data: &Path) -> (Vec<Arc<Event>>, Epoch) {
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
