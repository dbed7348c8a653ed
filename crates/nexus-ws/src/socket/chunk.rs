//! A slice of a segment on its way to one socket: how much of it was written, and where it may end.

use std::io::IoSlice;

use nexus_core::Seq;

use super::frame;
use crate::{format::Format, segment::Slice};

/// The header of a text frame and a bracket.
const HEAD_BYTES_MAX: usize = 11;

/// A slice of a segment on its way to one socket.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Which of the connection's readers it is for.
    pub(crate) reader: u32,
    slice: Slice,
    /// What stands before and behind the slice, where the slice is the inside of one message.
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: usize,
    tail: &'static [u8],
    /// How much of head, slice and tail was written …
    at: usize,
    /// … and where it ends.
    end: usize,
}

impl Chunk {
    /// A slice for one of the connection's readers.
    pub(crate) fn new(reader: u32, slice: Slice, format: Format) -> Self {
        let mut chunk = Self {
            reader,
            end: slice.bytes().len(),
            slice,
            head: [0; HEAD_BYTES_MAX],
            head_bytes: 0,
            tail: b"",
            at: 0,
        };
        if format.is_batch() {
            let mut head = Vec::with_capacity(HEAD_BYTES_MAX);
            frame::text_header(&mut head, chunk.end + 2);
            head.push(b'[');
            chunk.head[..head.len()].copy_from_slice(&head);
            chunk.head_bytes = head.len();
            chunk.tail = b"]";
            chunk.end += chunk.head_bytes + chunk.tail.len();
        }
        chunk
    }

    /// How much is to be written.
    pub(crate) fn bytes_left(&self) -> usize {
        self.end - self.at
    }

    /// Counts bytes as written, at most so many; says how many they were.
    pub(crate) fn advance(&mut self, count: usize) -> usize {
        let taken = count.min(self.bytes_left());
        self.at += taken;
        taken
    }

    /// Ends it behind the frame that is being written, and says how far the reader then is.
    pub(crate) fn cut(&mut self) -> Seq {
        self.end_at(self.end_of_frame())
    }

    /// The same, but if no frame is being written, behind the next.
    pub(crate) fn cut_behind_frame(&mut self) -> Seq {
        let end = if self.is_message() {
            self.end
        } else {
            self.slice.end_of_event(self.at + 1)
        };
        self.end_at(end)
    }

    fn end_at(&mut self, end: usize) -> Seq {
        self.end = end.min(self.end);
        if !self.is_message() {
            return self.slice.reached(self.end);
        }
        if self.end == 0 {
            self.slice.after
        } else {
            self.slice.through
        }
    }

    /// Whether a frame is begun and not ended.
    pub(crate) fn is_inside_frame(&self) -> bool {
        self.at < self.end_of_frame()
    }

    fn is_message(&self) -> bool {
        self.head_bytes > 0
    }

    /// Where the frame ends that is being written; where it is when it is between two.
    fn end_of_frame(&self) -> usize {
        match (self.is_message(), self.at) {
            (true, 0) => 0,
            (true, _) => self.end,
            (false, at) => self.slice.end_of_event(at),
        }
    }

    /// What is to be written, as pieces of memory; says how many they are. What finds no room comes later.
    pub(crate) fn pieces<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        self.pieces_to(self.end, out)
    }

    /// The same to the end of the frame that is being written.
    pub(crate) fn pieces_of_frame<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        self.pieces_to(self.end_of_frame().min(self.end), out)
    }

    fn pieces_to<'a>(&'a self, end: usize, out: &mut [IoSlice<'a>]) -> usize {
        let mut begins = 0;
        let mut count = 0;
        for part in [&self.head[..self.head_bytes], self.slice.bytes(), self.tail] {
            let from = self.at.clamp(begins, begins + part.len()) - begins;
            let to = end.clamp(begins, begins + part.len()) - begins;
            begins += part.len();
            if from < to
                && let Some(piece) = out.get_mut(count)
            {
                *piece = IoSlice::new(&part[from..to]);
                count += 1;
            }
        }
        count
    }

    /// A copy of what is to be written.
    pub(crate) fn rest(&self) -> Vec<u8> {
        let mut pieces = [IoSlice::new(&[]); 3];
        let count = self.pieces(&mut pieces);
        let mut rest = Vec::with_capacity(self.bytes_left());
        for piece in &pieces[..count] {
            rest.extend_from_slice(piece);
        }
        rest
    }

    /// How many bytes it keeps in memory: the segment that it is of.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + self.slice.weight()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::segment::Segment;

    /// Frames of one to some bytes, or objects with a comma behind each.
    fn slice(format: Format, sizes: &[usize]) -> (Slice, Vec<Vec<u8>>) {
        let mut segment = Segment::nothing(Seq::ZERO, Seq::ZERO);
        let mut events = Vec::new();
        for (size, seq) in sizes.iter().zip(1..) {
            let mut event = Vec::new();
            let body = format!("\"{}\"", "x".repeat(*size));
            if format.is_batch() {
                event.extend_from_slice(body.as_bytes());
            } else {
                frame::text(&mut event, &body);
            }
            let mut bytes = event.clone();
            if format.is_batch() {
                bytes.push(b',');
            }
            segment.append(Seq::new(seq), &bytes);
            events.push(event);
        }
        let slice = Arc::new(segment).slice(Seq::ZERO, format).unwrap();
        (slice, events)
    }

    #[test]
    fn a_batch_is_one_message() {
        let (slice, events) = slice(Format::V1Batch { sub: 1 }, &[3, 4]);
        let chunk = Chunk::new(1, slice, Format::V1Batch { sub: 1 });
        let body = [b"[", &events[0][..], b",", &events[1], b"]"].concat();
        let mut message = Vec::new();
        frame::text(&mut message, std::str::from_utf8(&body).unwrap());
        assert_eq!(chunk.rest(), message);
    }

    #[test]
    fn a_message_that_is_begun_is_finished_and_another_is_dropped() {
        let format = Format::V1Batch { sub: 1 };
        let (slice, _) = slice(format, &[3, 4]);
        let mut untouched = Chunk::new(1, slice.clone(), format);
        assert!(!untouched.is_inside_frame());
        assert_eq!(untouched.cut(), Seq::ZERO);
        assert_eq!(untouched.bytes_left(), 0);
        let mut begun = Chunk::new(1, slice, format);
        let bytes = begun.bytes_left();
        assert_eq!(begun.advance(1), 1);
        assert!(begun.is_inside_frame());
        assert_eq!(begun.cut(), Seq::new(2));
        assert_eq!(begun.bytes_left(), bytes - 1);
    }

    proptest! {
        /// Whatever was written when it is cut, whole frames were or will be, and the reader is told how many.
        #[test]
        fn a_cut_keeps_whole_frames(sizes in prop::collection::vec(0_usize..300, 1..20), at in any::<prop::sample::Index>()) {
            let (slice, frames) = slice(Format::Neo, &sizes);
            let all = frames.concat();
            let mut chunk = Chunk::new(1, slice, Format::Neo);
            let written = at.index(all.len() + 1);
            prop_assert_eq!(chunk.advance(written), written);
            let inside = chunk.is_inside_frame();
            let reached = usize::try_from(chunk.cut().get()).unwrap();
            let kept = frames[..reached].concat();
            prop_assert_eq!(chunk.rest(), &kept[written..]);
            prop_assert_eq!(inside, kept.len() > written);
            prop_assert!(reached == 0 || kept.len() - frames[reached - 1].len() < written);
        }

        /// The same when one frame has to stay: the one that is being written, or the next.
        #[test]
        fn one_frame_stays(sizes in prop::collection::vec(0_usize..300, 1..20), at in any::<prop::sample::Index>()) {
            let (slice, frames) = slice(Format::Neo, &sizes);
            let mut chunk = Chunk::new(1, slice, Format::Neo);
            let written = at.index(frames.concat().len());
            chunk.advance(written);
            let reached = usize::try_from(chunk.cut_behind_frame().get()).unwrap();
            let kept = frames[..reached].concat();
            prop_assert_eq!(chunk.rest(), &kept[written..]);
            prop_assert!(kept.len() > written && kept.len() - frames[reached - 1].len() <= written);
        }
    }
}
