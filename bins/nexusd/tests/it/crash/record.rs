//! What all clients of a run write down: what was asked and told, and what readers saw.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use nexus_core::{Digest, Seq, sha256};
use nexus_testkit::oracle::Journal;

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

/// What clients knew in the end.
pub(super) struct Known {
    /// The lines of the journal.
    pub(super) journal: Vec<u8>,
    /// What readers saw of event 1, 2, 3 …
    pub(super) seen: Vec<Digest>,
    /// Requests that were sent again under their key and then answered.
    pub(super) sent_again: usize,
    /// How many of those had been kept at first.
    pub(super) replayed: usize,
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

    /// What was written down, when everyone is done.
    pub(super) fn into_known(self) -> Known {
        Known {
            journal: self.journal.into_inner(),
            seen: self.seen.into_inner().unwrap(),
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
