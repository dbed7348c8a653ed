//! All groups: who joins which, which of them a commit concerns, and the bound over their segments.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use nexus_core::{Batch, Log, Seq, Topic};
use parking_lot::Mutex;

use crate::{
    address::{self, Audience},
    group::{Concerned, Group, Taken},
    segment::Segment,
    selection::Selection,
    signal::Signal,
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
    /// Which groups want a topic, by their numbers, as far as it was asked.
    by_topic: HashMap<Topic, HashMap<u64, Arc<Group>>>,
    /// What comes after this is announced to the groups of the index.
    announcing: Seq,
    readers: u64,
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
                by_topic: HashMap::new(),
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
        let concerned = {
            let mut index = self.index.lock();
            if batch.last <= index.announcing {
                return;
            }
            index.announcing = batch.last;
            index.concerned(batch)
        };
        let is_for_some = concerned.iter().any(|(_, is_for_all)| !is_for_all);
        let parties = if is_for_some {
            address::parties(batch)
        } else {
            Vec::new()
        };
        self.tell(concerned, &parties, batch.first, batch.last);
    }

    /// Tells every group that there may be something for it up to here: what was in the batches is not
    /// in memory any more.
    pub(crate) fn announce_unseen(&self, through: Seq) {
        let (first, groups): (_, Vec<_>) = {
            let mut index = self.index.lock();
            let first = index.announcing.next();
            index.announcing = index.announcing.max(through);
            let groups = index.groups.values().cloned();
            (first, groups.map(|group| (group, true)).collect())
        };
        self.tell(groups, &[], first, through);
    }

    fn tell(&self, groups: Vec<(Arc<Group>, bool)>, parties: &[Box<str>], first: Seq, last: Seq) {
        for (group, is_for_all) in groups {
            let concerned = if is_for_all {
                Concerned::All
            } else {
                Concerned::Sessions(parties)
            };
            if let Some(passed) = group.announce(first, last, concerned) {
                self.admit(&group, &passed);
            }
        }
        // Only now: who is told of it, and has nothing to take, is as far as this.
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
        for (topic, wanting) in &mut self.by_topic {
            if group.selection.wants(topic) {
                wanting.insert(group.number, group.clone());
            }
        }
        group
    }

    fn remove(&mut self, group: &Group) {
        self.groups.remove(&group.selection);
        for wanting in self.by_topic.values_mut() {
            wanting.remove(&group.number);
        }
    }

    /// The groups that want something of a batch, each with whether that is for all of its readers.
    fn concerned(&mut self, batch: &Batch) -> Vec<(Arc<Group>, bool)> {
        /// Topics that were asked for; with an open catalogue there is no end of them.
        const TOPICS_MAX: usize = 4_096;
        let mut topics: Vec<&Topic> = Vec::new();
        for event in &batch.events {
            // Neighbours often have one topic; batches have few.
            if !topics.iter().rev().any(|topic| **topic == event.topic) {
                topics.push(&event.topic);
            }
        }
        let mut concerned: Vec<(Arc<Group>, bool)> = Vec::new();
        for topic in &topics {
            if !self.by_topic.contains_key(*topic) {
                if self.by_topic.len() >= TOPICS_MAX {
                    self.by_topic.clear();
                }
                let wanting = self.groups.values();
                let wanting = wanting.filter(|group| group.selection.wants(topic));
                let wanting = wanting.map(|group| (group.number, group.clone())).collect();
                self.by_topic.insert((*topic).clone(), wanting);
            }
            let is_for_all = Audience::of(topic) == Audience::Everybody;
            let wanting = self.by_topic.get(*topic).into_iter();
            concerned.extend(wanting.flat_map(HashMap::values).map(|group| {
                let has_parties = group.selection.format().has_addresses();
                (group.clone(), is_for_all || !has_parties)
            }));
        }
        if topics.len() > 1 {
            concerned.sort_unstable_by_key(|(group, _)| group.number);
            concerned.dedup_by(|(group, is_for_all), (kept, is_kept_for_all)| {
                *is_kept_for_all |= group.number == kept.number && *is_for_all;
                group.number == kept.number
            });
        }
        concerned
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
