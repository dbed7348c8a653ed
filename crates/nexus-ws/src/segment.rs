//! Segments: finished frames of a range of the log, encoded once for every reader of a group.

use nexus_core::{Epoch, Event, Seq};

use crate::{
    frame,
    selection::{Entry, Selection},
};

/// The frames of what a selection holds of `(after, through]`.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) after: Seq,
    pub(crate) through: Seq,
    pub(crate) bytes: Vec<u8>,
    /// Where the frame of each event starts, by sequence.
    index: Vec<(Seq, u32)>,
}

impl Segment {
    /// A range in which there is nothing.
    pub(crate) fn nothing(after: Seq, through: Seq) -> Self {
        Self {
            after,
            through,
            bytes: Vec::new(),
            index: Vec::new(),
        }
    }

    /// Where the first frame after a sequence starts.
    pub(crate) fn start_after(&self, seq: Seq) -> usize {
        let next = self.index.partition_point(|(indexed, _)| *indexed <= seq);
        self.index
            .get(next)
            .map_or(self.bytes.len(), |(_, start)| *start as usize)
    }

    /// How far a reader is that got everything before an offset between two frames.
    pub(crate) fn reached(&self, offset: usize) -> Seq {
        if offset >= self.bytes.len() {
            return self.through;
        }
        let next = self
            .index
            .partition_point(|(_, start)| (*start as usize) < offset);
        match next.checked_sub(1).and_then(|last| self.index.get(last)) {
            Some((seq, _)) => *seq,
            None => self.after,
        }
    }

    /// How many bytes it weighs in memory.
    pub(crate) fn weight(&self) -> usize {
        const FIXED_BYTES: usize = 192;
        FIXED_BYTES + self.bytes.capacity() + self.index.capacity() * size_of::<(Seq, u32)>()
    }

    #[cfg(test)]
    pub(crate) fn events(&self) -> usize {
        self.index.len()
    }
}

/// Writes the segment of a range, event by event.
pub(crate) struct Encoder<'a> {
    selection: &'a Selection,
    epoch: Epoch,
    segment: Segment,
    bytes_max: usize,
    /// Neighbours often have one topic.
    last: Option<(&'a Event, Option<&'a Entry>)>,
    tail: Vec<u8>,
}

/// Everything of a frame that is not name, payload or number, rounded up.
const FRAME_BYTES: usize = 176;

impl<'a> Encoder<'a> {
    /// An encoder of what follows `after`, for one segment of at most `bytes_max` bytes or one event.
    pub(crate) fn new(
        selection: &'a Selection,
        epoch: Epoch,
        after: Seq,
        bytes_max: usize,
    ) -> Self {
        Self {
            selection,
            epoch,
            segment: Segment::nothing(after, after),
            bytes_max,
            last: None,
            tail: Vec::with_capacity(FRAME_BYTES),
        }
    }

    /// Makes room for events that are about to come.
    pub(crate) fn reserve(&mut self, events: &[std::sync::Arc<Event>]) {
        let expected: usize = events
            .iter()
            .map(|event| event.payload.len() + FRAME_BYTES + event.topic.as_str().len())
            .sum();
        let left = self.bytes_max.saturating_sub(self.segment.bytes.len());
        self.segment.bytes.reserve(expected.min(left));
        self.segment.index.reserve(events.len());
    }

    /// Adds an event. Says no, and adds nothing, when the segment is full.
    pub(crate) fn push(&mut self, event: &'a Event) -> bool {
        let entry = match self.last {
            Some((last, entry)) if last.topic == event.topic => entry,
            _ => self.selection.entry(&event.topic),
        };
        self.last = Some((event, entry));
        if let Some(entry) = entry
            && self.selection.may_see(event)
            && !self.write(event, entry)
        {
            return false;
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
        }
        segment
    }

    fn write(&mut self, event: &Event, entry: &Entry) -> bool {
        const BEFORE_NAME: &[u8] = b"{\"event\":";
        const BEFORE_PAYLOAD: &[u8] = b",\"payload\":";
        self.write_tail(event);
        let topic = event.topic.as_str();
        let name_bytes = entry
            .name
            .as_ref()
            .map_or(topic.len() + 2, |name| name.len());
        let body_bytes = BEFORE_NAME.len()
            + name_bytes
            + BEFORE_PAYLOAD.len()
            + event.payload.len()
            + self.tail.len();
        let out = &mut self.segment.bytes;
        let Ok(start) = u32::try_from(out.len()) else {
            return false;
        };
        if !out.is_empty() && out.len() + body_bytes > self.bytes_max {
            return false;
        }
        self.segment.index.push((event.seq, start));
        frame::text_header(out, body_bytes);
        out.extend_from_slice(BEFORE_NAME);
        match &entry.name {
            Some(name) => out.extend_from_slice(name.as_bytes()),
            None => {
                out.push(b'"');
                out.extend_from_slice(topic.as_bytes());
                out.push(b'"');
            }
        }
        out.extend_from_slice(BEFORE_PAYLOAD);
        out.extend_from_slice(&event.payload);
        out.extend_from_slice(&self.tail);
        true
    }

    /// What stands behind the payload.
    fn write_tail(&mut self, event: &Event) {
        let tail = &mut self.tail;
        tail.clear();
        tail.extend_from_slice(b",\"timestamp\":");
        let time_ms = event.time_us.div_euclid(1_000);
        decimal(tail, u64::try_from(time_ms).unwrap_or(0));
        tail.extend_from_slice(b",\"event_id\":\"");
        let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
        tail.extend_from_slice(event.id.hyphenated().encode_lower(&mut id).as_bytes());
        tail.extend_from_slice(b"\",\"seq\":");
        let number = tail.len();
        decimal(tail, event.seq.get());
        let number = number..tail.len();
        tail.extend_from_slice(b",\"position\":\"");
        for shift in (0..8).rev() {
            let digit = (self.epoch.get() >> (shift * 4)) & 0xf;
            tail.push(b"0123456789abcdef"[digit as usize]);
        }
        tail.push(b'-');
        tail.extend_from_within(number);
        tail.extend_from_slice(b"\"}");
    }
}

fn decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut first = digits.len();
    loop {
        first -= 1;
        digits[first] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nexus_core::{Pattern, Position, Principal, Source, Topic};
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

    fn selection(text: &str) -> Selection {
        let pattern = Pattern::parse(text).unwrap();
        let entries = vec![Entry::new(text, pattern)];
        Selection::new(entries, &Rights::of(&Principal::nexus()))
    }

    fn body(frames: &[u8]) -> &[u8] {
        match frames[1] {
            126 => &frames[4..],
            127 => &frames[10..],
            _ => &frames[2..],
        }
    }

    #[test]
    fn a_frame_has_the_members_of_the_contract_in_their_order() {
        let selection = selection("payment.*");
        let epoch = Epoch::new(0x7f3a_09c2);
        let mut encoder = Encoder::new(&selection, epoch, Seq::new(1041), 1 << 10);
        let event = event(1042, "payment.received", "{\"a\": 1.50 }");
        assert!(encoder.push(&event));
        let segment = encoder.finish();
        let position = Position {
            epoch,
            seq: Seq::new(1042),
        };
        let expected = format!(
            r#"{{"event":"payment.received","payload":{{"a": 1.50 }},"timestamp":1763712000123,"event_id":"{}","seq":1042,"position":"{position}"}}"#,
            Uuid::from_u128(7),
        );
        assert_eq!(std::str::from_utf8(body(&segment.bytes)).unwrap(), expected);
        assert_eq!(segment.through, Seq::new(1042));
    }

    #[test]
    fn a_segment_is_sliced_where_a_reader_is() {
        let selection = selection("a.b");
        let mut encoder = Encoder::new(&selection, Epoch::new(1), Seq::new(0), 1 << 20);
        let events = [
            event(1, "a.b", "{}"),
            event(2, "a.c", "{}"),
            event(3, "a.b", "{}"),
        ];
        encoder.reserve(&events);
        for event in &events {
            assert!(encoder.push(event));
        }
        encoder.reach(Seq::new(9));
        let segment = encoder.finish();
        assert_eq!(segment.events(), 2);
        let second = segment.start_after(Seq::new(1));
        assert_eq!(second, segment.start_after(Seq::new(2)));
        assert_eq!(second, frame::end_of_frame(&segment.bytes, 0, 1));
        assert_eq!(segment.start_after(Seq::new(3)), segment.bytes.len());
        assert_eq!(segment.reached(0), Seq::new(0));
        assert_eq!(segment.reached(second), Seq::new(1));
        assert_eq!(segment.reached(segment.bytes.len()), Seq::new(9));
    }

    #[test]
    fn a_segment_is_bounded_but_takes_one_event_of_any_size() {
        let selection = selection("a.b");
        let large = format!("{{\"x\":\"{}\"}}", "y".repeat(70_000));
        let events = [event(1, "a.b", &large), event(2, "a.b", "{}")];
        let mut encoder = Encoder::new(&selection, Epoch::new(1), Seq::new(0), 1_000);
        assert!(encoder.push(&events[0]));
        assert!(!encoder.push(&events[1]));
        let segment = encoder.finish();
        assert_eq!((segment.events(), segment.through), (1, Seq::new(1)));
        assert_eq!(segment.bytes[1], 127);
    }

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 7, 10, 1_763_712_000_123, u64::MAX] {
            let mut out = Vec::new();
            decimal(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
