//! A group: readers with equal selections, and the segments they share.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use nexus_core::{Event, Log, PAGE_EVENTS_MAX, Seq};
use parking_lot::Mutex;

use crate::{
    segment::{Encoder, Segment},
    selection::Selection,
    signal::Signal,
    wanted::{Ahead, Wanted},
};

/// What a group has for a reader.
#[derive(Debug)]
pub(crate) enum Taken {
    /// A segment that covers what follows the reader; it may begin before.
    Segment(Arc<Segment>),
    /// The segment was just encoded. Whether it was kept for others: then the bound over all segments has to
    /// hear of it.
    Encoded { segment: Arc<Segment>, kept: bool },
    /// Nothing that matches follows yet.
    UpToDate,
    /// Memory does not go back so far.
    Behind,
}

/// Whom a batch concerns, of the readers of a group.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Concerned<'a> {
    All,
    /// Connections of these sessions.
    Sessions(&'a [Box<str>]),
}

impl Concerned<'_> {
    fn is(self, reader: &Signal) -> bool {
        match self {
            Self::All => true,
            Self::Sessions(sessions) => reader
                .session()
                .is_some_and(|session| sessions.iter().any(|party| **party == **session)),
        }
    }
}

/// Readers with equal selections.
#[derive(Debug)]
pub(crate) struct Group {
    /// What it is known by among all groups that ever were.
    pub(crate) number: u64,
    pub(crate) selection: Arc<Selection>,
    /// Everything up to here that matches was announced to the readers; nothing beyond it was.
    tail: AtomicU64,
    kept: Mutex<Kept>,
    readers: Mutex<HashMap<u64, Arc<Signal>>>,
}

#[derive(Debug)]
struct Kept {
    /// By what they follow; ranges never overlap and end at the tail.
    segments: BTreeMap<Seq, Arc<Segment>>,
    /// What is known of what follows them.
    ahead: Ahead,
}

impl Group {
    pub(crate) fn new(number: u64, selection: Arc<Selection>, announced: Seq) -> Self {
        Self {
            number,
            selection,
            tail: AtomicU64::new(announced.get()),
            kept: Mutex::new(Kept {
                segments: BTreeMap::new(),
                ahead: Ahead::new(announced),
            }),
            readers: Mutex::default(),
        }
    }

    pub(crate) fn tail(&self) -> Seq {
        Seq::new(self.tail.load(Ordering::SeqCst))
    }

    pub(crate) fn enter(&self, reader: u64, signal: Arc<Signal>) {
        self.readers.lock().insert(reader, signal);
    }

    /// Takes a reader out, and says whether the group is now empty.
    pub(crate) fn leave(&self, reader: u64) -> bool {
        let mut readers = self.readers.lock();
        readers.remove(&reader);
        readers.is_empty()
    }

    /// Tells the readers of a batch that holds something for them; whatever was between the batch
    /// before and this one did not. Gives the range that was passed, so that it is counted.
    ///
    /// Who is not concerned sleeps on, and passes the batch when there is something else.
    pub(crate) fn announce(
        &self,
        (first, last): (Seq, Seq),
        concerned: Concerned<'_>,
        wanted: Wanted<'_>,
    ) -> Option<Arc<Segment>> {
        let passed = {
            let mut kept = self.kept.lock();
            let tail = self.tail();
            if last <= tail {
                return None;
            }
            // So that a reader that slept meanwhile need not look through what was not for it.
            let passed = (first.previous() > tail)
                .then(|| Arc::new(Segment::nothing(tail, first.previous())));
            if let Some(passed) = &passed {
                kept.segments.insert(tail, passed.clone());
            }
            kept.ahead.announce(last, wanted);
            self.tail.store(last.get(), Ordering::SeqCst);
            passed
        };
        for reader in self.readers.lock().values() {
            if concerned.is(reader) {
                reader.events();
            }
        }
        passed
    }

    /// What follows a reader. Encodes it if nobody did or it was evicted: once, for all, under the
    /// group's lock, for at most one segment.
    pub(crate) fn take(&self, after: Seq, log: &Log, segment_bytes_max: usize) -> Taken {
        if after >= self.tail() {
            return Taken::UpToDate;
        }
        let mut kept = self.kept.lock();
        let Kept { segments, ahead } = &mut *kept;
        if let Some((_, segment)) = segments.range(..=after).next_back()
            && segment.through > after
        {
            return Taken::Segment(segment.clone());
        }
        let next = segments.range(after.next()..).next();
        let through = next.map_or_else(|| self.tail(), |(begins, _)| *begins);
        let wanted = ahead.within(after, through);
        let range = (after, through);
        let Some(segment) = self.encode(range, wanted.as_deref(), log, segment_bytes_max) else {
            return Taken::Behind;
        };
        ahead.forget(segment.through);
        let segment = Arc::new(segment);
        // What nobody shares is not kept either.
        let kept = self.readers.lock().len() > 1;
        if kept {
            segments.insert(after, segment.clone());
        }
        Taken::Encoded { segment, kept }
    }

    /// Forgets a segment, if it is still that one.
    pub(crate) fn evict(&self, segment: &Segment) {
        let segments = &mut self.kept.lock().segments;
        if let Some(kept) = segments.get(&segment.after)
            && std::ptr::eq(&raw const **kept, segment)
        {
            segments.remove(&segment.after);
        }
    }

    /// Encodes the beginning of a range, all of it if there is room; of its events only those that are wanted, if
    /// that is known.
    fn encode(
        &self,
        (after, through): (Seq, Seq),
        wanted: Option<&[Seq]>,
        log: &Log,
        segment_bytes_max: usize,
    ) -> Option<Segment> {
        let epoch = log.head().epoch;
        let catalogue = log.catalogue();
        let mut encoder = Encoder::new(&self.selection, epoch, catalogue, after, segment_bytes_max);
        if let Some(wanted) = wanted {
            if push_all(&mut encoder, &gather(wanted, log)?) {
                encoder.reach(through);
            }
        } else {
            for batch in log.recent_after(after, PAGE_EVENTS_MAX)? {
                let events = batch.after(after);
                let until = events.partition_point(|event| event.seq <= through);
                if !push_all(&mut encoder, &events[..until]) {
                    break;
                }
            }
        }
        let segment = encoder.finish();
        // Memory that holds nothing of the range would let a reader turn on the spot.
        (segment.through > after).then_some(segment)
    }
}

/// Adds events while there is room and time; says whether there was for all of them.
fn push_all(encoder: &mut Encoder<'_>, events: &[Arc<Event>]) -> bool {
    encoder.reserve(events);
    // Whoever announces waits for the group, and with it every other group.
    events
        .iter()
        .all(|event| encoder.push(event) && !encoder.is_long())
}

/// Events by their numbers, which grow; nothing when memory does not hold them all.
fn gather(seqs: &[Seq], log: &Log) -> Option<Vec<Arc<Event>>> {
    let mut events = Vec::with_capacity(seqs.len());
    while let Some(next) = seqs.get(events.len()) {
        let batches = log.recent_after(next.previous(), 1)?;
        let batch = batches.first()?;
        let of_batch = seqs[events.len()..]
            .iter()
            .take_while(|seq| **seq <= batch.last);
        let found: Option<Vec<_>> = of_batch
            .map(|seq| batch.after(seq.previous()).first().cloned())
            .collect();
        let found = found.filter(|found| !found.is_empty())?;
        events.extend(found);
    }
    Some(events)
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, time::Instant};

    use nexus_core::{Command, Filter, Nexus, PatternSet, Principal, ProtocolEvent};

    use super::*;
    use crate::{format::Format, segment::TURN, selection::Rights};

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl std::task::Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn only_the_sessions_that_are_concerned_are_woken() {
        let everything = PatternSet::everything();
        let selection =
            Selection::of_patterns(Format::Agents, &everything, None, &Rights::with_view());
        let group = Group::new(1, Arc::new(selection), Seq::ZERO);
        let mut readers = Vec::new();
        for (reader, session) in [(1, "a"), (2, "b"), (3, "b")] {
            let (signal, wakes) = (
                Signal::of_session(session.into()),
                Arc::new(Wakes::default()),
            );
            signal.waker.register(&wakes.clone().into());
            let signal = Arc::new(signal);
            signal.wait();
            group.enter(reader, signal.clone());
            readers.push((signal, wakes));
        }
        let woken = || {
            readers
                .iter()
                .map(|(_, wakes)| wakes.0.load(Ordering::SeqCst))
        };
        let at = |seq| (Seq::new(seq), Seq::new(seq));
        group.announce(at(1), Concerned::Sessions(&["b".into()]), Wanted::Any);
        assert_eq!(woken().collect::<Vec<_>>(), [0, 1, 1]);
        assert_eq!(group.tail(), Seq::new(1));
        group.announce(at(2), Concerned::All, Wanted::Any);
        assert_eq!(
            woken().collect::<Vec<_>>(),
            [1, 1, 1],
            "the others do not wait"
        );
    }

    /// However many events wait, a filter that is slow keeps the group no longer than a turn and one event.
    #[tokio::test]
    async fn a_slow_filter_does_not_keep_the_group() {
        const EVENTS: usize = 20;
        let nexus = Nexus::in_memory().await.unwrap();
        let principal = Principal::nexus();
        let failed = nexus.event(ProtocolEvent::PaymentFailed, r#"{"orderId":"o"}"#);
        let command = Command {
            events: vec![failed; EVENTS],
            ..Command::default()
        };
        let receipt = nexus.log().submit(&principal, command).await.unwrap();
        let mut heads = nexus.log().head_changes();
        heads.wait_for(|head| *head == receipt.last).await.unwrap();

        let looked_at = Arc::new(AtomicUsize::new(0));
        let counted = looked_at.clone();
        let slow = Filter::new("slow", move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            let begun = Instant::now();
            while begun.elapsed() < TURN {
                std::hint::spin_loop();
            }
            false
        });
        let everything = PatternSet::everything();
        let rights = Rights::of(&principal);
        let selection = Selection::of_patterns(Format::Neo, &everything, Some(slow), &rights);
        let group = Group::new(1, Arc::new(selection), Seq::ZERO);
        group.announce((receipt.first, receipt.last), Concerned::All, Wanted::Any);
        let mut position = Seq::ZERO;
        for taken in 1..=EVENTS {
            let Taken::Encoded { segment, .. } = group.take(position, nexus.log(), 1 << 20) else {
                panic!("nothing follows {position}");
            };
            assert_eq!(looked_at.load(Ordering::SeqCst), taken);
            position = segment.through;
        }
        assert_eq!(position, receipt.last);
        assert!(matches!(
            group.take(position, nexus.log(), 1 << 20),
            Taken::UpToDate
        ));
    }
}
