//! What must hold for every byte that a client sends. For the fuzzer and for tests, not for users.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, ReadBuf};

use super::inbound::{Inbound, Received};
use crate::{agents, neo, v1};

/// Panics when something does not hold. The first byte chooses how long a message may be, the second in
/// what pieces the others arrive.
pub fn check_frames(input: &[u8]) {
    let [longest, piece, bytes @ ..] = input else {
        return;
    };
    let message_bytes_max = 16 << (longest % 8);
    let whole = receive(bytes, message_bytes_max, usize::MAX);
    let pieces = receive(bytes, message_bytes_max, 1 + usize::from(*piece));
    let is_whole = |received: &[Received]| received.last() == Some(&Received::Gone);
    if is_whole(&whole) && is_whole(&pieces) {
        assert_eq!(messages(&whole, true), messages(&pieces, true));
    } else {
        // What breaks a connection may be seen earlier or later, as its bytes arrive. But nothing is heard
        // differently before.
        let (whole, pieces) = (messages(&whole, false), messages(&pieces, false));
        let shorter = whole.len().min(pieces.len());
        assert_eq!(whole[..shorter], pieces[..shorter]);
    }
    for received in &whole {
        if let Received::Text(text) = received {
            assert!(text.len() <= message_bytes_max);
            neo::check_message(text);
            v1::check_message(text);
            agents::check_message(text);
        }
    }
}

/// The messages among what was heard, with those that were skipped or without.
fn messages(received: &[Received], with_skipped: bool) -> Vec<&Received> {
    let is_message = |one: &&Received| match one {
        Received::Text(_) | Received::Binary => true,
        Received::TooLarge => with_skipped,
        _ => false,
    };
    received.iter().filter(is_message).collect()
}

/// Everything that a connection hears, until its end.
fn receive(bytes: &[u8], message_bytes_max: usize, piece: usize) -> Vec<Received> {
    let mut socket = Pieces { bytes, piece };
    let mut inbound = Inbound::new(message_bytes_max, message_bytes_max);
    let mut control = Vec::new();
    let mut received = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    loop {
        let next = inbound.poll_next(&mut socket, &mut context, &mut control);
        let Poll::Ready(next) = next else {
            unreachable!("the socket always has something to say");
        };
        // A frame of a client has at least two bytes, and each gives at most one of these.
        assert!(received.len() <= bytes.len() + 1);
        let is_end = matches!(
            next,
            Received::Gone | Received::Broken(..) | Received::Close
        );
        received.push(next);
        if is_end {
            return received;
        }
        // As the connection does it.
        control.clear();
    }
}

/// A socket whose client sends its bytes in pieces and hangs up.
struct Pieces<'b> {
    bytes: &'b [u8],
    piece: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = self.piece.min(buffer.remaining()).min(self.bytes.len());
        let (now, later) = self.bytes.split_at(count);
        buffer.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_the_fuzzer_found_still_holds() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/frames");
        let inputs: Vec<_> = fs::read_dir(corpus).unwrap().collect();
        assert!(inputs.len() >= 5);
        for input in inputs {
            check_frames(&fs::read(input.unwrap().path()).unwrap());
        }
    }

    proptest! {
        #[test]
        fn every_sequence_of_bytes_holds(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            check_frames(&bytes);
        }
    }
}
