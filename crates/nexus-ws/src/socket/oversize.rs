//! Skips messages that are too long, so that their connection can stay: tungstenite can only refuse.
//!
//! Looks at frame headers alone. A message that is too long in its first frame is left out. One that
//! becomes too long later is ended where it is: its further frames are passed on empty. If that cuts it
//! inside a character, the connection ends after all. Of a connection that is being closed no message is passed
//! on at all, however short.

use std::collections::VecDeque;

/// A header of a client's frame has at most this many bytes: two, eight of length, four of mask.
const HEADER_BYTES_MAX: usize = 14;
const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const CONTROL: u8 = 0x08;
const MASKED: u8 = 0x80;

/// A message that was too long.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Oversize {
    /// How many messages were passed on completely before it.
    pub(crate) after: u64,
    /// Whether its beginning was passed on, so that a message appears that has to be dropped.
    pub(crate) truncated: bool,
}

/// The filter of one connection.
pub(crate) struct Filter {
    message_bytes_max: u64,
    /// The same for the first message, until it has begun.
    first_message_bytes_max: Option<u64>,
    header: [u8; HEADER_BYTES_MAX],
    header_bytes: usize,
    /// Of the frame whose header is through.
    payload_left: u64,
    passing: bool,
    /// Of the message that is open, and how many it may have.
    message_bytes: u64,
    open_bytes_max: u64,
    message: OpenMessage,
    completed: u64,
    /// Control frames alone are passed on.
    is_closing: bool,
    pub(crate) oversize: VecDeque<Oversize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OpenMessage {
    Passing,
    Truncated,
    Skipped,
}

impl Filter {
    pub(crate) fn new(message_bytes_max: usize, first_message_bytes_max: usize) -> Self {
        let first_message_bytes_max = first_message_bytes_max.min(message_bytes_max);
        Self {
            message_bytes_max: message_bytes_max as u64,
            first_message_bytes_max: Some(first_message_bytes_max as u64),
            open_bytes_max: 0,
            header: [0; HEADER_BYTES_MAX],
            header_bytes: 0,
            payload_left: 0,
            passing: true,
            message_bytes: 0,
            message: OpenMessage::Passing,
            completed: 0,
            is_closing: false,
            oversize: VecDeque::new(),
        }
    }

    /// From now on passes on control frames alone: nobody wants messages any more. Says whether that leaves a
    /// frame without its end, so that whoever reads it has to begin anew.
    pub(crate) fn begin_closing(&mut self) -> bool {
        self.is_closing = true;
        let is_control = self.header[0] & CONTROL != 0;
        let is_cut = self.payload_left > 0 && self.passing && !is_control;
        self.passing &= !is_cut;
        is_cut
    }

    /// Appends to `out` what of `input` is to be read.
    pub(crate) fn run(&mut self, mut input: &[u8], out: &mut Vec<u8>) {
        while !input.is_empty() {
            if self.payload_left > 0 {
                let left = usize::try_from(self.payload_left).unwrap_or(usize::MAX);
                let (payload, rest) = input.split_at(left.min(input.len()));
                if self.passing {
                    out.extend_from_slice(payload);
                }
                self.payload_left -= payload.len() as u64;
                input = rest;
                continue;
            }
            self.header[self.header_bytes] = input[0];
            self.header_bytes += 1;
            input = &input[1..];
            if self.header_bytes == self.header_length() {
                self.begin_frame(out);
                self.header_bytes = 0;
            }
        }
    }

    /// How long the header is, as far as its first bytes tell.
    fn header_length(&self) -> usize {
        if self.header_bytes < 2 {
            return 2;
        }
        let length_bytes = match self.header[1] & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask_bytes = if self.header[1] & MASKED == 0 { 0 } else { 4 };
        2 + length_bytes + mask_bytes
    }

    fn payload_length(&self) -> u64 {
        match self.header[1] & !MASKED {
            126 => u64::from(u16::from_be_bytes([self.header[2], self.header[3]])),
            127 => {
                let mut length = [0; 8];
                length.copy_from_slice(&self.header[2..10]);
                u64::from_be_bytes(length)
            }
            short => u64::from(short),
        }
    }

    fn begin_frame(&mut self, out: &mut Vec<u8>) {
        let length = self.payload_length();
        self.payload_left = length;
        let opcode = self.header[0] & OPCODE;
        if opcode & CONTROL != 0 {
            self.pass(out);
            return;
        }
        if self.is_closing {
            self.passing = false;
            return;
        }
        if opcode != 0 {
            self.message = OpenMessage::Passing;
            self.message_bytes = 0;
            let first = self.first_message_bytes_max.take();
            self.open_bytes_max = first.unwrap_or(self.message_bytes_max);
        }
        self.message_bytes = self.message_bytes.saturating_add(length);
        if self.message == OpenMessage::Passing && self.message_bytes > self.open_bytes_max {
            let truncated = opcode == 0;
            self.message = if truncated {
                OpenMessage::Truncated
            } else {
                OpenMessage::Skipped
            };
            let after = self.completed;
            self.oversize.push_back(Oversize { after, truncated });
        }
        match self.message {
            OpenMessage::Passing => self.pass(out),
            OpenMessage::Truncated => {
                // The same frame without payload: FIN and opcode, no length, a mask of zeros.
                out.extend_from_slice(&[self.header[0], MASKED, 0, 0, 0, 0]);
                self.passing = false;
            }
            OpenMessage::Skipped => self.passing = false,
        }
        if self.header[0] & FIN != 0 && self.message != OpenMessage::Skipped {
            self.completed += 1;
        }
    }

    fn pass(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.header[..self.header_bytes]);
        self.passing = true;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            0..126 => frame.push(MASKED | u8::try_from(payload.len()).unwrap()),
            126..65_536 => {
                frame.push(MASKED | 126);
                frame.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
            }
            length => {
                frame.push(MASKED | 127);
                frame.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        frame
    }

    fn run(input: &[u8], piece: usize) -> (Vec<u8>, Vec<(u64, bool)>) {
        run_with(&mut Filter::new(200, 200), input, piece)
    }

    fn run_with(filter: &mut Filter, input: &[u8], piece: usize) -> (Vec<u8>, Vec<(u64, bool)>) {
        let mut out = Vec::new();
        for piece in input.chunks(piece) {
            filter.run(piece, &mut out);
        }
        let oversize = filter.oversize.iter();
        let oversize = oversize.map(|oversize| (oversize.after, oversize.truncated));
        (out, oversize.collect())
    }

    #[test]
    fn a_message_that_is_too_long_is_left_out() {
        let (small, large) = (frame(0x81, b"small"), frame(0x81, &[b'x'; 70_000]));
        let input = [&small[..], &large, &small, &frame(0x82, &[1; 201]), &small].concat();
        for piece in [1, 3, 4_096, input.len()] {
            let (out, oversize) = run(&input, piece);
            assert_eq!(out, [&small[..], &small, &small].concat());
            assert_eq!(oversize, [(1, false), (2, false)]);
        }
    }

    #[test]
    fn the_first_message_may_have_to_be_shorter() {
        let (small, long) = (frame(0x81, &[b'x'; 20]), frame(0x81, &[b'x'; 21]));
        let (begins, ends) = (frame(0x01, &[b'x'; 15]), frame(0x80, &[b'x'; 6]));
        let ping = frame(0x89, b"a longer ping than 20 bytes");
        for piece in [1, 3, 4_096] {
            let run = |parts: &[&[u8]]| run_with(&mut Filter::new(200, 20), &parts.concat(), piece);
            let input = [&ping[..], &small, &long, &long].concat();
            assert_eq!(run(&[&input]), (input, vec![]), "only the first");
            assert_eq!(run(&[&long, &long]), (long.clone(), vec![(0, false)]));
            let (_, oversize) = run(&[&begins, &ping, &ends, &long]);
            assert_eq!(oversize, [(0, true)], "also in pieces");
        }
    }

    #[test]
    fn of_who_is_being_closed_control_frames_alone_pass() {
        let (ping, close) = (frame(0x89, b"ping"), frame(0x88, &4000_u16.to_be_bytes()));
        let later = [&frame(0x81, b"")[..], &ping, &frame(0x02, b"x"), &close].concat();
        let large = frame(0x81, &[b'x'; 70_000]);
        let part = frame(0x01, b"part");
        // What was begun when the closing did, how much of it came before, and whether a frame is cut.
        for (begun, came, is_cut) in [
            (&large, 0, false),
            (&large, 5, false),
            (&large, 20, true),
            (&large, 69_000, true),
            (&large, large.len(), false),
            (&part, part.len(), false),
            (&ping, 3, false),
            (&ping, 8, false),
        ] {
            for piece in [1, 7, 4_096] {
                let mut filter = Filter::new(320 << 10, 320 << 10);
                run_with(&mut filter, &begun[..came], piece);
                assert_eq!(
                    filter.begin_closing(),
                    is_cut,
                    "{came} in pieces of {piece}"
                );
                let input = [&begun[came..], &later].concat();
                let (out, oversize) = run_with(&mut filter, &input, piece);
                let of_begun = if begun == &ping {
                    // A header is passed on when it is whole.
                    &ping[if came < 6 { 0 } else { came }..]
                } else {
                    b""
                };
                assert_eq!(
                    out,
                    [of_begun, &ping, &close].concat(),
                    "{came} in pieces of {piece}"
                );
                assert!(oversize.is_empty());
            }
        }
    }

    #[test]
    fn a_message_that_grows_too_long_is_ended() {
        let begins = frame(0x01, &[b'x'; 150]);
        let ping = frame(0x89, b"ping");
        let input = [
            &begins[..],
            &ping,
            &frame(0x00, &[b'x'; 60]),
            &frame(0x80, b"end"),
            &ping,
        ];
        let (out, oversize) = run(&input.concat(), 7);
        let expected = [
            &begins[..],
            &ping,
            &frame(0x00, b""),
            &frame(0x80, b""),
            &ping,
        ];
        assert_eq!(out, expected.concat());
        assert_eq!(oversize, [(0, true)]);
    }

    #[test]
    fn a_fragment_that_is_too_long_takes_its_message_with_it() {
        let small = frame(0x81, b"small");
        let input = [&frame(0x01, &[b'x'; 201])[..], &frame(0x80, b"end"), &small];
        let (out, oversize) = run(&input.concat(), 5);
        assert_eq!((out, oversize), (small, vec![(0, false)]));
    }

    proptest! {
        #[test]
        fn what_is_short_enough_passes_unchanged(
            sizes in prop::collection::vec(0_usize..=200, 0..20), piece in 1_usize..300,
        ) {
            let input: Vec<u8> = sizes.iter().flat_map(|size| frame(0x81, &vec![b'a'; *size])).collect();
            let (out, oversize) = run(&input, piece);
            prop_assert_eq!(out, input);
            prop_assert!(oversize.is_empty());
        }

        #[test]
        fn any_bytes_are_taken(input in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let (out, _) = run(&input, 13);
            prop_assert!(out.len() <= input.len() * 3);
        }
    }
}
