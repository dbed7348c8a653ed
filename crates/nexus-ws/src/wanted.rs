//! Which events of a commit a group wants: found once for all groups, so that none looks at the events of others.

use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
};

use nexus_core::{Batch, Seq, Topic};

use crate::address::Audience;

/// A group that wants more than one event in so many looks at each of them: that is as fast, and needs no memory.
const SPARSE: usize = 4;
/// At most so many events are known ahead of the readers of a group; behind them everything is looked at again.
const AHEAD_MAX: usize = 256;

/// The topics of a batch, each with its events.
#[derive(Debug)]
pub(crate) struct Topics<'b> {
    topics: Vec<(&'b Topic, Vec<Seq>)>,
    events: usize,
}

/// What a group wants of what is announced to it.
#[derive(Debug)]
pub(crate) enum Wanted<'t> {
    /// Any of it: each event has to be looked at.
    Any,
    /// These events at most, in their order.
    These(Cow<'t, [Seq]>),
}

impl<'b> Topics<'b> {
    pub(crate) fn of(batch: &'b Batch) -> Self {
        let mut topics: Vec<(&Topic, Vec<Seq>)> = Vec::new();
        let mut places: HashMap<&Topic, usize> = HashMap::new();
        let mut last = usize::MAX;
        for event in &batch.events {
            // Neighbours often have one topic.
            if topics
                .get(last)
                .is_none_or(|(topic, _)| **topic != event.topic)
            {
                last = *places.entry(&event.topic).or_insert_with(|| {
                    topics.push((&event.topic, Vec::new()));
                    topics.len() - 1
                });
            }
            if let Some((_, seqs)) = topics.get_mut(last) {
                seqs.push(event.seq);
            }
        }
        Self {
            topics,
            events: batch.events.len(),
        }
    }

    /// Every topic once.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'b Topic> {
        self.topics.iter().map(|(topic, _)| *topic)
    }

    /// Whether the events of a topic, told by its place, are for everybody who may read it.
    pub(crate) fn is_for_all(&self, place: usize) -> bool {
        let topic = self.topics.get(place);
        topic.is_none_or(|(topic, _)| Audience::of(topic) == Audience::Everybody)
    }

    /// What a group wants of the batch that wants these topics, told by their places, each once.
    pub(crate) fn wanted(&self, places: impl Iterator<Item = usize> + Clone) -> Wanted<'_> {
        let count: usize = places.clone().map(|place| self.seqs(place).len()).sum();
        if count * SPARSE > self.events {
            return Wanted::Any;
        }
        let mut some = places.clone();
        if let (Some(only), None) = (some.next(), some.next()) {
            return Wanted::These(self.seqs(only).into());
        }
        let mut merged: Vec<Seq> = places
            .flat_map(|place| self.seqs(place).iter().copied())
            .collect();
        merged.sort_unstable();
        Wanted::These(merged.into())
    }

    fn seqs(&self, place: usize) -> &[Seq] {
        self.topics.get(place).map_or(&[], |(_, seqs)| seqs)
    }
}

/// What is known of the events that were announced to a group and not yet encoded.
#[derive(Debug)]
pub(crate) struct Ahead {
    /// Of what follows this, up to what was announced last, all that is wanted is known.
    since: Seq,
    seqs: VecDeque<Seq>,
}

impl Ahead {
    /// Nothing was announced behind this.
    pub(crate) fn new(since: Seq) -> Self {
        Self {
            since,
            seqs: VecDeque::new(),
        }
    }

    /// Something was announced, up to here.
    pub(crate) fn announce(&mut self, last: Seq, wanted: Wanted<'_>) {
        match wanted {
            Wanted::Any => *self = Self::new(last),
            Wanted::These(seqs) => {
                self.seqs.extend(seqs.iter());
                while self.seqs.len() > AHEAD_MAX
                    && let Some(oldest) = self.seqs.pop_front()
                {
                    self.since = oldest;
                }
            }
        }
    }

    /// The events in `(after, through]` that are wanted, as far as topics tell; nothing when that is not known.
    pub(crate) fn within(&self, after: Seq, through: Seq) -> Option<Vec<Seq>> {
        let is_within = |seq: &Seq| *seq > after && *seq <= through;
        (after >= self.since).then(|| self.seqs.iter().copied().filter(is_within).collect())
    }

    /// What is up to here was encoded.
    pub(crate) fn forget(&mut self, through: Seq) {
        while self.seqs.front().is_some_and(|seq| *seq <= through) {
            self.seqs.pop_front();
        }
        self.since = self.since.max(through);
    }
}
