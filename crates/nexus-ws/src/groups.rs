//! All groups: who joins which, which of them a commit concerns, and the bound over their segments.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use nexus_core::{Batch, Log, Seq};
use parking_lot::Mutex;

use crate::{
    address,
    group::{Concerned, Group, Taken},
    segment::Segment,
    selection::Selection,
    signal::Signal,
    topic_index::TopicIndex,
    wanted::{Topics, Wanted},
};

/// Every group that has a reader.
#[derive(Debug)]
pub(crate) struct Groups {
    index: Mutex<Index>,
    evictions: Mutex<Evictions>,
    /// Every group was told of everything up to here.
    announced: AtomicU64,
    encodings: AtomicU64,
    segments_bytes_max: usize,
    segment_bytes_max: usize,
}

#[derive(Debug)]
struct Index {
    groups: HashMap<Arc<Selection>, Arc<Group>>,
    /// The same by what they ask for.
    by_pattern: TopicIndex<Arc<Group>>,
    /// What comes after this is announced to the groups of the index.
    announcing: Seq,
    readers: u64,
}

/// A group that asks for a topic of a batch.
struct Asking {
    number: u64,
    group: Arc<Group>,
    /// Which of the batch's topics.
    topic: usize,
}

#[derive(Debug, Default)]
struct Evictions {
    /// Oldest first. Groups and segments that are gone stay until their turn comes.
    queue: VecDeque<(Weak<Group>, Weak<Segment>, usize)>,
    bytes: usize,
}

/// A reader's place in a group; given up when dropped.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) group: Arc<Group>,
    reader: u64,
    groups: Arc<Groups>,
}

impl Groups {
    pub(crate) fn new(head: Seq, segments_bytes_max: usize, segment_bytes_max: usize) -> Self {
        Self {
            index: Mutex::new(Index {
                groups: HashMap::new(),
                by_pattern: TopicIndex::default(),
                announcing: head,
                readers: 0,
            }),
            evictions: Mutex::default(),
            announced: AtomicU64::new(head.get()),
            encodings: AtomicU64::new(0),
            segments_bytes_max,
            segment_bytes_max,
        }
    }

    /// Joins the readers with this selection.
    pub(crate) fn join(self: &Arc<Self>, selection: Selection, signal: Arc<Signal>) -> Membership {
        let mut index = self.index.lock();
        index.readers += 1;
        let reader = index.readers;
        let group = match index.groups.get(&selection) {
            Some(group) => group.clone(),
            None => {
                let group = Group::new(reader, Arc::new(selection), index.announcing);
                index.insert(Arc::new(group))
            }
        };
        group.enter(reader, signal);
        Membership {
            group,
            reader,
            groups: self.clone(),
        }
    }

    /// Tells the groups that a batch concerns, and no others.
    pub(crate) fn announce(&self, batch: &Batch) {
        let topics = Topics::of(batch);
        let asking = {
            let mut index = self.index.lock();
            if batch.last <= index.announcing {
                return;
            }
            index.announcing = batch.last;
            index.asking(&topics)
        };
        let mut parties = None;
        for of_group in asking.chunk_by(|one, next| one.number == next.number) {
            let Some(Asking { group, .. }) = of_group.first() else {
                continue;
            };
            let mut places = of_group.iter().map(|asking| asking.topic);
            let wanted = topics.wanted(places.clone());
            let is_for_all = !group.selection.format().has_addresses()
                || places.any(|place| topics.is_for_all(place));
            let concerned = if is_for_all {
                Concerned::All
            } else {
                Concerned::Sessions(parties.get_or_insert_with(|| address::parties(batch)))
            };
            self.tell(group, (batch.first, batch.last), concerned, wanted);
        }
        self.announced_through(batch.last);
    }

    /// Tells every group that there may be something for it up to here: what was in the batches is not
    /// in memory any more.
    pub(crate) fn announce_unseen(&self, through: Seq) {
        let (first, groups): (_, Vec<_>) = {
            let mut index = self.index.lock();
            let first = index.announcing.next();
            index.announcing = index.announcing.max(through);
            (first, index.groups.values().cloned().collect())
        };
        for group in &groups {
            self.tell(group, (first, through), Concerned::All, Wanted::Any);
        }
        self.announced_through(through);
    }

    fn tell(
        &self,
        group: &Arc<Group>,
        range: (Seq, Seq),
        concerned: Concerned<'_>,
        wanted: Wanted<'_>,
    ) {
        if let Some(passed) = group.announce(range, concerned, wanted) {
            self.admit(group, &passed);
        }
    }

    /// Every group was told. Only now: who is told of it, and has nothing to take, is as far as this.
    fn announced_through(&self, last: Seq) {
        self.announced.fetch_max(last.get(), Ordering::SeqCst);
    }

    /// Everything up to here was announced.
    pub(crate) fn announced(&self) -> Seq {
        Seq::new(self.announced.load(Ordering::SeqCst))
    }

    /// How many segments were encoded so far.
    pub(crate) fn encodings(&self) -> u64 {
        self.encodings.load(Ordering::Relaxed)
    }

    /// How many groups there are.
    pub(crate) fn count(&self) -> usize {
        self.index.lock().groups.len()
    }

    fn leave(&self, group: &Arc<Group>, reader: u64) {
        let mut index = self.index.lock();
        // Under the lock of the index, so that nobody joins a group that is being taken out.
        if group.leave(reader) {
            index.remove(group);
        }
    }

    /// Counts a new segment, and evicts the oldest when there are too many bytes.
    fn admit(&self, group: &Arc<Group>, segment: &Arc<Segment>) {
        let weight = segment.weight();
        let mut evicted = Vec::new();
        {
            let mut evictions = self.evictions.lock();
            evictions.bytes += weight;
            let entry = (Arc::downgrade(group), Arc::downgrade(segment), weight);
            evictions.queue.push_back(entry);
            while evictions.bytes > self.segments_bytes_max && evictions.queue.len() > 1 {
                let Some((group, segment, weight)) = evictions.queue.pop_front() else {
                    break;
                };
                evictions.bytes -= weight;
                evicted.push((group, segment));
            }
        }
        // Not under the lock: a group locks its own.
        for (group, segment) in evicted {
            if let (Some(group), Some(segment)) = (group.upgrade(), segment.upgrade()) {
                group.evict(&segment);
            }
        }
    }
}

impl Index {
    fn insert(&mut self, group: Arc<Group>) -> Arc<Group> {
        self.groups.insert(group.selection.clone(), group.clone());
        for pattern in group.selection.patterns().iter() {
            self.by_pattern.insert(pattern, group.number, group.clone());
        }
        group
    }

    fn remove(&mut self, group: &Group) {
        self.groups.remove(&group.selection);
        for pattern in group.selection.patterns().iter() {
            self.by_pattern.remove(pattern, group.number);
        }
    }

    /// The groups that want something of a batch, by their numbers, each once for each topic.
    fn asking(&self, topics: &Topics<'_>) -> Vec<Asking> {
        let mut asking = Vec::new();
        for (place, topic) in topics.iter().enumerate() {
            self.by_pattern.matching(topic, |number, group| {
                if group.selection.may_read(topic) {
                    asking.push(Asking {
                        number,
                        group: group.clone(),
                        topic: place,
                    });
                }
            });
        }
        let key = |asking: &Asking| (asking.number, asking.topic);
        asking.sort_unstable_by_key(key);
        // Who asks for a topic by several patterns.
        asking.dedup_by_key(|asking| key(asking));
        asking
    }
}

impl Membership {
    /// What follows a reader; see [`Group::take`].
    pub(crate) fn take(&self, after: Seq, log: &Log) -> Taken {
        let format = self.group.selection.format();
        let bytes_max = format.segment_bytes_max(self.groups.segment_bytes_max);
        let taken = self.group.take(after, log, bytes_max);
        if let Taken::Encoded { segment, kept } = &taken {
            self.groups.encodings.fetch_add(1, Ordering::Relaxed);
            if *kept {
                self.groups.admit(&self.group, segment);
            }
        }
        taken
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.groups.leave(&self.group, self.reader);
    }
}

#[cfg(test)]
mod tests {
    use nexus_core::{Command, Filter, Nexus, PatternSet, Principal, ProtocolEvent, Random};

    use super::*;
    use crate::{format::Format, selection::Rights};

    const EVENTS: [(ProtocolEvent, &str); 4] = [
        (ProtocolEvent::PaymentFailed, r#"{"orderId":"o"}"#),
        (ProtocolEvent::MintFailed, r#"{"error":"e"}"#),
        (ProtocolEvent::StatusUpdate, r#"{"status":"idle"}"#),
        (ProtocolEvent::ProposalCreated, r#"{"proposalId":"p"}"#),
    ];
    const PATTERNS: [&[&str]; 8] = [
        &["payment.failed"],
        &["payment.*"],
        &["*.failed", "mint.*"],
        &[">"],
        &["status.update", "proposal.created", "status.*"],
        &["vote.cast"],
        &["*.created"],
        &["mint.failed"],
    ];

    fn selection(patterns: &[&str], filter: Option<Filter>) -> Selection {
        let patterns = PatternSet::parse(patterns.iter().copied()).unwrap();
        let rights = Rights::of(&Principal::nexus());
        Selection::of_patterns(Format::Neo, &patterns, filter, &rights)
    }

    /// What a reader of a group gets from somewhere on, and where it is then.
    fn take(membership: &Membership, log: &Log, mut after: Seq) -> (Vec<u8>, Seq) {
        let mut bytes = Vec::new();
        loop {
            let segment = match membership.take(after, log) {
                Taken::Segment(segment) | Taken::Encoded { segment, .. } => segment,
                Taken::UpToDate => return (bytes, after),
                Taken::Behind => panic!("all of it is in memory"),
            };
            assert!(segment.after <= after && segment.through > after);
            // No reader here begins in the middle of a segment.
            bytes.extend_from_slice(&segment.bytes);
            after = segment.through;
        }
    }

    /// What is announced by topic, and kept of that, changes nothing of what is read: it is as if each group
    /// looked at each event.
    #[tokio::test]
    async fn what_a_group_reads_is_what_it_asks_for() {
        let random = Random::seeded(11);
        let below = |count: usize| usize::try_from(random.number() % count as u64).unwrap();
        for round in 0..12 {
            let nexus = Nexus::in_memory().await.unwrap();
            let log = nexus.log();
            let groups = Arc::new(Groups::new(Seq::ZERO, 1 << 20, 4 << 10));
            let odd = Filter::new("odd", |event| event.seq.get() % 2 == 1);
            let mut readers: Vec<(Membership, Seq, Vec<u8>)> = PATTERNS
                .iter()
                .flat_map(|patterns| [None, Some(odd.clone())].map(|filter| (patterns, filter)))
                .map(|(patterns, filter)| {
                    let selection = selection(patterns, filter);
                    let membership = groups.join(selection, Arc::default());
                    (membership, Seq::ZERO, Vec::new())
                })
                .collect();
            for _ in 0..20 {
                let events = (0..=below(80)).map(|_| {
                    let (event, payload) = EVENTS[below(EVENTS.len()).min(below(8))];
                    nexus.event(event, payload)
                });
                let command = Command {
                    events: events.collect(),
                    ..Command::default()
                };
                let receipt = log.submit(&Principal::nexus(), command).await.unwrap();
                let mut heads = log.head_changes();
                heads.wait_for(|head| *head == receipt.last).await.unwrap();
                if below(10) == 0 {
                    groups.announce_unseen(receipt.last);
                } else {
                    for batch in log.recent_after(groups.announced(), 1_000).unwrap() {
                        groups.announce(&batch);
                    }
                }
                for (membership, after, got) in &mut readers {
                    if below(3) > 0 {
                        let (bytes, through) = take(membership, log, *after);
                        got.extend(bytes);
                        *after = through;
                    }
                }
            }
            for (membership, after, mut got) in readers {
                got.extend(take(&membership, log, after).0);
                let naive = Arc::new(Groups::new(Seq::ZERO, 1 << 20, 4 << 10));
                let selection = Selection::clone(&membership.group.selection);
                let naive_reader = naive.join(selection, Arc::default());
                naive.announce_unseen(log.head().seq);
                let (expected, _) = take(&naive_reader, log, Seq::ZERO);
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let selection = &membership.group.selection;
                assert_eq!(text(&got), text(&expected), "round {round}, {selection:?}");
            }
            assert_eq!(groups.count(), 0);
        }
    }

    /// Of what others want nothing is looked at.
    #[tokio::test]
    async fn a_group_looks_only_at_what_it_may_want() {
        const MANY: usize = 200;
        let nexus = Nexus::in_memory().await.unwrap();
        let log = nexus.log();
        let groups = Arc::new(Groups::new(Seq::ZERO, 1 << 20, 1 << 20));
        let reader = groups.join(selection(&["mint.*"], None), Arc::default());
        let mut events = vec![nexus.event(EVENTS[0].0, EVENTS[0].1); MANY];
        for place in [20, 150] {
            events[place] = nexus.event(EVENTS[1].0, EVENTS[1].1);
        }
        let command = Command {
            events,
            ..Command::default()
        };
        let receipt = log.submit(&Principal::nexus(), command).await.unwrap();
        let mut heads = log.head_changes();
        heads.wait_for(|head| *head == receipt.last).await.unwrap();
        for batch in log.recent_after(Seq::ZERO, MANY).unwrap() {
            groups.announce(&batch);
        }
        let Taken::Encoded { segment, .. } = reader.take(Seq::ZERO, log) else {
            panic!("something follows");
        };
        assert_eq!((segment.events(), segment.looked_at()), (2, 2));
        assert_eq!(segment.through, receipt.last);
    }
}
