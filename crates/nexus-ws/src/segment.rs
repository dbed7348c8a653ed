//! Segments: what a range of the log is for a group, encoded once for every reader of it.

use std::{ops::Range, sync::Arc, time::Duration};

use nexus_core::{Catalogue, Epoch, Event, Seq, Topic};
use tokio::time::Instant;

use crate::{
    address::Address,
    agents::{Sight, View},
    format::{Format, Naming},
    selection::{Entry, Selection},
};

/// A message of a batch has at most this many bytes, or one event: what a connection is in the middle of
/// it has to finish.
pub(crate) const BATCH_BYTES_MAX: usize = 64 << 10;

/// A filter may be slow, and what it looks at be much: after so long others have their turn.
pub(crate) const TURN: Duration = Duration::from_millis(2);

/// What a selection holds of `(after, through]`.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) after: Seq,
    pub(crate) through: Seq,
    pub(crate) bytes: Vec<u8>,
    /// Where each event starts, by sequence.
    index: Vec<(Seq, u32)>,
    /// For whom each event is, if not all readers of the group see the same.
    addresses: Vec<Address>,
    /// How many events were looked at for it.
    #[cfg(test)]
    looked_at: usize,
}

/// What one of several readers sees next of a segment that they share.
#[derive(Debug)]
pub(crate) enum Seen {
    /// Events that stand together.
    Slice(Slice),
    /// Nothing that follows.
    Nothing,
    /// Whether the next event is for the reader is known in a moment.
    NotYet,
}

impl Segment {
    /// A range in which there is nothing.
    pub(crate) fn nothing(after: Seq, through: Seq) -> Self {
        Self {
            after,
            through,
            bytes: Vec::new(),
            index: Vec::new(),
            addresses: Vec::new(),
            #[cfg(test)]
            looked_at: 0,
        }
    }

    /// What the segment has next for a reader: everything, or for a batch what one message takes. Nothing
    /// when there is none.
    pub(crate) fn slice(self: Arc<Self>, after: Seq, format: Format) -> Option<Slice> {
        let first = self.index.partition_point(|(indexed, _)| *indexed <= after);
        let rest = self.index.get(first + 1..)?;
        let start = self.start_of(first);
        let mut next = self.index.len();
        let bytes_max = start + BATCH_BYTES_MAX;
        if format.is_batch() && self.bytes.len() > bytes_max {
            let fitting = rest.partition_point(|(_, start)| *start as usize <= bytes_max);
            next = first + fitting.max(1);
        }
        let mut slice = self.part(first..next, after);
        slice.end -= format.separator_bytes();
        Some(slice)
    }

    /// What the segment has next for a reader who sees part of it.
    pub(crate) fn seen(self: Arc<Self>, after: Seq, view: &View) -> Seen {
        let sight = |place: usize| {
            let ((seq, _), address) = (self.index.get(place)?, self.addresses.get(place)?);
            Some(view.sight(*seq, address))
        };
        let mut first = self.index.partition_point(|(indexed, _)| *indexed <= after);
        loop {
            match sight(first) {
                None => return Seen::Nothing,
                Some(Sight::NotYet) => return Seen::NotYet,
                Some(Sight::Hidden) => first += 1,
                Some(Sight::Shown) => break,
            }
        }
        let mut next = first + 1;
        while sight(next) == Some(Sight::Shown) {
            next += 1;
        }
        Seen::Slice(self.part(first..next, after))
    }

    /// Some of its events, at least one, for a reader that is before them.
    fn part(self: Arc<Self>, places: Range<usize>, after: Seq) -> Slice {
        let last = self.index[places.end - 1].0;
        let is_end = places.end == self.index.len();
        Slice {
            start: self.start_of(places.start),
            end: self.start_of(places.end),
            after,
            through: if is_end { self.through } else { last },
            last,
            segment: self,
        }
    }

    /// Where an event starts, by its place in the segment; behind the last one it ends.
    fn start_of(&self, place: usize) -> usize {
        let start = self.index.get(place).map(|(_, start)| *start as usize);
        start.unwrap_or(self.bytes.len())
    }

    /// How many bytes it weighs in memory.
    pub(crate) fn weight(&self) -> usize {
        const FIXED_BYTES: usize = 192;
        let addresses: usize = self.addresses.iter().map(Address::weight).sum();
        let index = self.index.capacity() * size_of::<(Seq, u32)>();
        FIXED_BYTES + self.bytes.capacity() + index + addresses
    }

    #[cfg(test)]
    pub(crate) fn looked_at(&self) -> usize {
        self.looked_at
    }

    #[cfg(test)]
    pub(crate) fn events(&self) -> usize {
        self.index.len()
    }

    #[cfg(test)]
    pub(crate) fn append(&mut self, seq: Seq, bytes: &[u8]) {
        let start = u32::try_from(self.bytes.len()).unwrap();
        self.index.push((seq, start));
        self.bytes.extend_from_slice(bytes);
        self.through = seq;
    }
}

/// A part of a segment for one reader: whole events, and what the reader has passed with them.
#[derive(Debug, Clone)]
pub(crate) struct Slice {
    segment: Arc<Segment>,
    start: usize,
    end: usize,
    /// How far the reader was before it …
    pub(crate) after: Seq,
    /// … and is when it has taken it.
    pub(crate) through: Seq,
    /// The last event in it.
    pub(crate) last: Seq,
}

impl Slice {
    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.segment.bytes[self.start..self.end]
    }

    /// How many bytes it keeps in memory: the whole segment.
    pub(crate) fn weight(&self) -> usize {
        self.segment.weight()
    }

    /// For whom its events are, if not all readers of the group see the same.
    pub(crate) fn addresses(&self) -> &[Address] {
        let index = &self.segment.index;
        let place = |offset: usize| index.partition_point(|(_, start)| (*start as usize) < offset);
        let events = place(self.start)..place(self.end);
        self.segment.addresses.get(events).unwrap_or_default()
    }

    /// Where the event ends that an offset lies in; an offset between two is an end already.
    pub(crate) fn end_of_event(&self, offset: usize) -> usize {
        let at = self.start + offset;
        let next = self
            .segment
            .index
            .partition_point(|(_, start)| (*start as usize) < at);
        self.segment.start_of(next).min(self.end) - self.start
    }

    /// How far a reader is that got everything before an offset between two events.
    pub(crate) fn reached(&self, offset: usize) -> Seq {
        if offset >= self.end - self.start {
            return self.through;
        }
        let at = self.start + offset;
        let next = self
            .segment
            .index
            .partition_point(|(_, start)| (*start as usize) < at);
        let last = next
            .checked_sub(1)
            .and_then(|last| self.segment.index.get(last));
        last.map_or(self.after, |(seq, _)| self.after.max(*seq))
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

/// Writes the segment of a range, event by event.
pub(crate) struct Encoder<'a> {
    selection: &'a Selection,
    epoch: Epoch,
    catalogue: Arc<Catalogue>,
    segment: Segment,
    bytes_max: usize,
    /// Neighbours often have one topic.
    last: Option<Known<'a>>,
    /// When it has been at it for long; never without a filter.
    turn_ends: Option<Instant>,
}

/// What was found out about a topic.
struct Known<'a> {
    topic: Topic,
    entry: Option<&'a Entry>,
    name: Arc<str>,
}

/// Everything of an event that is not payload or causes, rounded up.
const EVENT_BYTES: usize = 384;

impl<'a> Encoder<'a> {
    /// An encoder of what follows `after`, for one segment of at most `bytes_max` bytes or one event.
    pub(crate) fn new(
        selection: &'a Selection,
        epoch: Epoch,
        catalogue: Arc<Catalogue>,
        after: Seq,
        bytes_max: usize,
    ) -> Self {
        Self {
            selection,
            epoch,
            catalogue,
            segment: Segment::nothing(after, after),
            bytes_max: bytes_max.min(u32::MAX as usize),
            last: None,
            turn_ends: selection.has_filter().then(|| Instant::now() + TURN),
        }
    }

    /// Whether it has looked at events for so long that others should have their turn before the next.
    pub(crate) fn is_long(&self) -> bool {
        self.turn_ends.is_some_and(|end| end <= Instant::now())
    }

    /// Others had theirs.
    pub(crate) fn take_turn(&mut self) {
        self.turn_ends = self.turn_ends.map(|_| Instant::now() + TURN);
    }

    /// Makes room for events that are about to come.
    pub(crate) fn reserve(&mut self, events: &[Arc<Event>]) {
        let expected: usize = events
            .iter()
            .map(|event| event.payload.len() + event.causes.len() + EVENT_BYTES)
            .sum();
        let left = self.bytes_max.saturating_sub(self.segment.bytes.len());
        self.segment.bytes.reserve(expected.min(left));
        self.segment.index.reserve(events.len());
    }

    /// Adds an event. Says no, and adds nothing, when the segment is full.
    pub(crate) fn push(&mut self, event: &Event) -> bool {
        #[cfg(test)]
        {
            self.segment.looked_at += 1;
        }
        if !matches!(&self.last, Some(known) if known.topic == event.topic) {
            self.last = Some(self.look_up(&event.topic));
        }
        if let Some(Known {
            entry: Some(entry),
            name,
            ..
        }) = &self.last
            && self.selection.shows(event)
        {
            let naming = Naming {
                epoch: self.epoch,
                name,
                subscribed: entry.name.as_deref(),
                is_asked: entry.is_asked,
            };
            let out = &mut self.segment.bytes;
            let start = out.len();
            // What is in a segment is found with 32 bits.
            let Ok(indexed) = u32::try_from(start) else {
                return false;
            };
            self.selection.format().write(out, event, naming);
            if start > 0 && out.len() > self.bytes_max {
                out.truncate(start);
                return false;
            }
            self.segment.index.push((event.seq, indexed));
            if self.selection.format().has_addresses() {
                self.segment.addresses.push(Address::of(event));
            }
        }
        self.segment.through = event.seq;
        true
    }

    /// Says that nothing more is to come up to here.
    pub(crate) fn reach(&mut self, through: Seq) {
        self.segment.through = self.segment.through.max(through);
    }

    /// The segment.
    pub(crate) fn finish(self) -> Segment {
        let mut segment = self.segment;
        // What was reserved for events that were not wanted would count against the bound.
        if segment.bytes.capacity() > segment.bytes.len() + segment.bytes.len() / 4 {
            segment.bytes.shrink_to_fit();
            segment.index.shrink_to_fit();
            segment.addresses.shrink_to_fit();
        }
        segment
    }

    fn look_up(&self, topic: &Topic) -> Known<'a> {
        let entry = self.selection.entry(topic);
        let name = match self.catalogue.get(topic) {
            Some(event_type) => event_type.name.clone(),
            None => topic.as_str().to_uppercase().replace('.', "_").into(),
        };
        Known {
            topic: topic.clone(),
            entry,
            name,
        }
    }
}

#[cfg(test)]
mod tests {
    use nexus_core::{Filter, Pattern, Principal, Source};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::selection::Rights;

    fn event(seq: u64, topic: &str, payload: &str) -> Arc<Event> {
        Arc::new(Event {
            seq: Seq::new(seq),
            id: Uuid::from_u128(7),
            topic: Topic::parse(topic).unwrap(),
            source: Source::nexus(),
            key: None,
            time_us: 1_763_712_000_123_456,
            causes: "{}".into(),
            payload: payload.to_owned().into(),
        })
    }

    fn selection(format: Format, text: &str, filter: Option<Filter>) -> Selection {
        let pattern = Pattern::parse(text).unwrap();
        let entries = vec![Entry::new(text, pattern)];
        Selection::new(format, entries, filter, &Rights::of(&Principal::nexus()))
    }

    fn encode(selection: &Selection, events: &[Arc<Event>], bytes_max: usize) -> Segment {
        let catalogue = Arc::new(Catalogue::known());
        let mut encoder = Encoder::new(selection, Epoch::new(1), catalogue, Seq::ZERO, bytes_max);
        encoder.reserve(events);
        for event in events {
            if !encoder.push(event) {
                return encoder.finish();
            }
        }
        encoder.finish()
    }

    #[test]
    fn a_segment_is_sliced_where_a_reader_is() {
        let selection = selection(Format::Neo, "a.b", None);
        let events = [
            event(1, "a.b", "{}"),
            event(2, "a.c", "{}"),
            event(3, "a.b", "{}"),
        ];
        let mut segment = encode(&selection, &events, 1 << 20);
        segment.through = Seq::new(9);
        assert_eq!(segment.events(), 2);
        let segment = Arc::new(segment);
        let all = segment.clone().slice(Seq::ZERO, Format::Neo).unwrap();
        let second = segment.clone().slice(Seq::new(1), Format::Neo).unwrap();
        let same = segment.clone().slice(Seq::new(2), Format::Neo).unwrap();
        assert_eq!(second.bytes(), same.bytes());
        assert!(segment.slice(Seq::new(3), Format::Neo).is_none());
        let first_bytes = all.bytes().len() - second.bytes().len();
        assert_eq!((all.through, all.last), (Seq::new(9), Seq::new(3)));
        for (offset, end) in [(0, 0), (1, first_bytes), (first_bytes, first_bytes)] {
            assert_eq!(all.end_of_event(offset), end);
        }
        assert_eq!(all.end_of_event(first_bytes + 1), all.bytes().len());
        assert_eq!(all.reached(0), Seq::ZERO);
        assert_eq!(all.reached(first_bytes), Seq::new(1));
        assert_eq!(all.reached(all.bytes().len()), Seq::new(9));
        assert_eq!(same.reached(0), Seq::new(2));
    }

    #[test]
    fn a_segment_is_bounded_but_takes_one_event_of_any_size() {
        let selection = selection(Format::V1 { sub: 1 }, "a.b", None);
        let large = format!("{{\"x\":\"{}\"}}", "y".repeat(70_000));
        let events = [event(1, "a.b", &large), event(2, "a.b", "{}")];
        let segment = encode(&selection, &events, 1_000);
        assert_eq!((segment.events(), segment.through), (1, Seq::new(1)));
        assert_eq!(segment.bytes[1], 127);
    }

    #[test]
    fn what_a_filter_refuses_is_passed() {
        let large = Filter::new("large", |event| event.payload.len() > 2);
        let selection = selection(Format::Neo, ">", Some(large));
        let events = [event(1, "a.b", "{}"), event(2, "a.b", "{\"a\":1}")];
        let segment = encode(&selection, &events, 1_000);
        assert_eq!((segment.events(), segment.through), (1, Seq::new(2)));
    }

    proptest! {
        /// Wherever messages of a batch are begun, a reader gets each event once, in order, and each
        /// message is bounded.
        #[test]
        fn batches_cut_anywhere_give_each_event_once(
            sizes in prop::collection::vec(0_usize..40_000, 1..40), begin in 0_u64..40, wanted in any::<u64>(),
        ) {
            let format = Format::V1Batch { sub: 1 };
            let selection = selection(format, "a.b", None);
            let events: Vec<_> = sizes.iter().enumerate().map(|(index, size)| {
                let topic = if wanted >> (index % 64) & 1 == 1 { "a.b" } else { "a.c" };
                event(index as u64 + 1, topic, &format!("{{\"x\":\"{}\"}}", "y".repeat(*size)))
            }).collect();
            let segment = Arc::new(encode(&selection, &events, usize::MAX));
            let mut position = Seq::new(begin.min(sizes.len() as u64));
            let mut seen = Vec::new();
            let expected: Vec<u64> = events.iter().filter(|event| event.topic.as_str() == "a.b")
                .map(|event| event.seq.get()).filter(|seq| *seq > position.get()).collect();
            while let Some(slice) = segment.clone().slice(position, format) {
                let message = [b"[", slice.bytes(), b"]"].concat();
                let read: Vec<serde_json::Value> = serde_json::from_slice(&message).unwrap();
                prop_assert!(slice.bytes().len() <= BATCH_BYTES_MAX || read.len() == 1);
                seen.extend(read.iter().map(|event| event["seq"].as_u64().unwrap()));
                prop_assert_eq!(Some(&slice.last.get()), seen.last());
                prop_assert!(slice.through > position);
                position = slice.through;
            }
            prop_assert_eq!(seen, expected);
        }
    }
}
