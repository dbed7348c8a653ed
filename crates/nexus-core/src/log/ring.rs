//! The ring: recent batches in memory, for readers near the head.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;
use tokio::sync::watch;

use super::{Batch, LogOptions};
use crate::Seq;

/// Recent batches, shared by every reader. The writer puts in what it committed, the announcer what is missing.
pub(crate) struct Ring {
    kept: RwLock<Kept>,
    head: watch::Sender<Seq>,
    /// The newest event that was said to be in the store; the head follows a moment later.
    stored: AtomicU64,
    /// Retention may have removed what is up to here, or be about to.
    pruning: AtomicU64,
    /// Whether nothing will follow.
    closed: AtomicBool,
    events_max: usize,
    bytes_max: usize,
}

struct Kept {
    batches: VecDeque<(Arc<Batch>, usize)>,
    /// The event before the oldest batch: who has read less must ask the store.
    floor: Seq,
    events: usize,
    bytes: usize,
}

impl Kept {
    fn last(&self) -> Seq {
        let newest = self.batches.back();
        newest.map_or(self.floor, |(batch, _)| batch.last)
    }
}

impl Ring {
    pub(crate) fn new(head: Seq, options: &LogOptions) -> Self {
        let kept = Kept {
            batches: VecDeque::new(),
            floor: head,
            events: 0,
            bytes: 0,
        };
        Self {
            kept: RwLock::new(kept),
            head: watch::Sender::new(head),
            stored: AtomicU64::new(head.get()),
            pruning: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            events_max: options.ring_events_max,
            bytes_max: options.ring_bytes_max,
        }
    }

    /// The newest event that readers may see.
    pub(crate) fn head(&self) -> Seq {
        *self.head.borrow()
    }

    /// The newest event that is known to be in the store.
    pub(crate) fn stored(&self) -> Seq {
        Seq::new(self.stored.load(Ordering::Acquire))
    }

    /// The store has everything through this event.
    pub(crate) fn set_stored(&self, through: Seq) {
        self.stored.fetch_max(through.get(), Ordering::Release);
    }

    /// How far retention may have gone. Whoever reads the store from before this may miss something.
    pub(crate) fn pruning(&self) -> Seq {
        Seq::new(self.pruning.load(Ordering::Acquire))
    }

    /// Retention is about to remove what is up to here. Said before it does, so that no reader can see the
    /// outcome and not the warning.
    pub(crate) fn set_pruning(&self, through: Seq) {
        self.pruning.fetch_max(through.get(), Ordering::AcqRel);
    }

    /// Tells when the head moves.
    pub(crate) fn changes(&self) -> watch::Receiver<Seq> {
        self.head.subscribe()
    }

    /// Nothing will follow: wakes every reader, so that those at the head learn it.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.head.send_modify(|_| {});
    }

    /// Whether nothing will follow.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Takes the batch if it is the one that follows, forgets the oldest beyond the bounds, and wakes every
    /// reader. Says whether it did.
    pub(crate) fn push(&self, batch: Arc<Batch>) -> bool {
        let bytes = batch.events.iter().map(|event| event.weight()).sum();
        let last = batch.last;
        {
            let mut kept = self.kept.write();
            if batch.first != kept.last().next() {
                return false;
            }
            kept.events += batch.events.len();
            kept.bytes += bytes;
            kept.batches.push_back((batch, bytes));
            // The newest batch stays, whatever its size.
            while kept.batches.len() > 1
                && (kept.events > self.events_max || kept.bytes > self.bytes_max)
            {
                if let Some((oldest, bytes)) = kept.batches.pop_front() {
                    kept.events -= oldest.events.len();
                    kept.bytes -= bytes;
                    kept.floor = oldest.last;
                }
            }
        }
        // Another batch may have come in behind this one, and been told of, by now.
        self.head.send_if_modified(|head| {
            let is_newer = *head < last;
            *head = last.max(*head);
            is_newer
        });
        true
    }

    /// The batches that hold what follows `after`, at most about `events_max` events of them; nothing
    /// when the ring does not go back so far.
    pub(crate) fn after(&self, after: Seq, events_max: usize) -> Option<Vec<Arc<Batch>>> {
        let kept = self.kept.read();
        if after < kept.floor {
            return None;
        }
        let from = kept
            .batches
            .partition_point(|(batch, _)| batch.last <= after);
        let mut events = 0;
        let found = kept
            .batches
            .iter()
            .skip(from)
            .take_while(|(batch, _)| {
                let wanted = events < events_max;
                events += batch.events.len();
                wanted
            })
            .map(|(batch, _)| batch.clone())
            .collect();
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::{Source, Topic, Validated};

    fn batch(first: u64, last: u64) -> Arc<Batch> {
        let event = Validated::for_test(
            Uuid::nil(),
            Topic::parse("a.b").unwrap(),
            Source::nexus(),
            Bytes::from_static(b"{}"),
        );
        let events = (first..=last)
            .map(|seq| Arc::new(event.clone().numbered(Seq::new(seq), 1)))
            .collect();
        Arc::new(Batch {
            first: Seq::new(first),
            last: Seq::new(last),
            events,
        })
    }

    #[test]
    fn keeps_what_is_recent_and_says_when_it_does_not_reach() {
        let ring = Ring::new(
            Seq::new(4),
            &LogOptions {
                ring_events_max: 5,
                ..LogOptions::default()
            },
        );
        assert!(ring.after(Seq::new(3), 10).is_none());
        assert_eq!(ring.after(Seq::new(4), 10).unwrap().len(), 0);
        assert!(ring.push(batch(5, 7)));
        assert!(ring.push(batch(8, 9)));
        let found = ring.after(Seq::new(5), 10).unwrap();
        assert_eq!(found[0].after(Seq::new(5))[0].seq, Seq::new(6));
        assert_eq!(found.len(), 2);
        assert!(ring.push(batch(10, 10)));
        assert!(
            ring.after(Seq::new(6), 10).is_none(),
            "the oldest batch was forgotten"
        );
        assert_eq!(ring.after(Seq::new(7), 10).unwrap().len(), 2);
        assert_eq!(
            ring.after(Seq::new(7), 1).unwrap().len(),
            1,
            "a read is bounded"
        );
        assert_eq!(ring.head(), Seq::new(10));
    }

    #[test]
    fn takes_nothing_twice_and_nothing_too_early() {
        let ring = Ring::new(Seq::new(4), &LogOptions::default());
        assert!(!ring.push(batch(6, 6)), "5 is missing");
        assert!(ring.push(batch(5, 6)));
        assert!(!ring.push(batch(5, 6)));
        assert!(!ring.push(batch(6, 7)));
        assert_eq!(ring.head(), Seq::new(6));
        assert!(ring.push(batch(7, 7)));
        assert_eq!(ring.after(Seq::new(4), 10).unwrap().len(), 2);
    }

    #[test]
    fn a_batch_larger_than_the_ring_is_still_readable() {
        let ring = Ring::new(
            Seq::ZERO,
            &LogOptions {
                ring_events_max: 2,
                ..LogOptions::default()
            },
        );
        assert!(ring.push(batch(1, 10)));
        assert_eq!(ring.after(Seq::ZERO, 100).unwrap()[0].events.len(), 10);
    }
}
