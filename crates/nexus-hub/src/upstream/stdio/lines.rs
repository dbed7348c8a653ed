//! Cuts a stream into lines of bounded length.

use std::io;

use bytes::{Bytes, BytesMut};
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{Id, message::scan::Scan};

/// What is read at once at least.
const READ_BYTES: usize = 8 * 1024;
/// What is read at once of a line that is let go of.
const SKIPPED_BYTES: usize = 64 * 1024;
/// Room that is larger is given back after it was needed.
const ROOM_BYTES_KEPT: usize = 256 * 1024;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// All of it, without its end.
    Text(Bytes),
    /// It was longer than is held; the request that it answers, if it is an answer.
    TooLong(Option<Id>),
}

/// The lines of an input.
pub(crate) struct Lines<R> {
    input: R,
    buffer: BytesMut,
    /// So much of the buffer has no line end in it.
    searched: usize,
    line_bytes_max: usize,
    /// What was seen of a line that is too long to be held.
    skipped: Option<Scan>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(input: R, line_bytes_max: usize) -> Self {
        Self {
            input,
            buffer: BytesMut::new(),
            searched: 0,
            line_bytes_max,
            skipped: None,
        }
    }

    /// The next line; nothing at the end. What follows the last line end is no line: it may be cut off.
    ///
    /// Nothing is lost when the future is dropped before it is ready.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(length) = memchr(b'\n', &self.buffer[self.searched..]) {
                let line = self.take(self.searched + length);
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            if self.skipped.is_some() || self.searched > self.line_bytes_max {
                self.skip();
            }
            let room_bytes = match &self.skipped {
                Some(_) => SKIPPED_BYTES,
                None => READ_BYTES,
            };
            self.buffer.reserve(room_bytes);
            if self.input.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Takes a line of this length out of the buffer.
    fn take(&mut self, length: usize) -> Line {
        let mut line = self.buffer.split_to(length + 1).freeze();
        line.truncate(length);
        self.searched = 0;
        if length > ROOM_BYTES_KEPT {
            // The rest moves, so that the room of a long line does not stay.
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        let is_too_long = length > self.line_bytes_max;
        match self.skipped.take() {
            None if !is_too_long => Line::Text(line),
            scan => {
                let mut scan = scan.unwrap_or_default();
                scan.read(&line);
                Line::TooLong(scan.answered())
            }
        }
    }

    /// Lets go of what was read of a line that is too long.
    fn skip(&mut self) {
        match &mut self.skipped {
            Some(scan) => {
                scan.read(&self.buffer);
                self.buffer.clear();
            }
            None => {
                self.skipped.insert(Scan::default()).read(&self.buffer);
                self.buffer = BytesMut::new();
            }
        }
        self.searched = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 64;

    async fn read(text: &[u8], piece_bytes: usize) -> Vec<Line> {
        let mut lines = Lines::new(Pieces { text, piece_bytes }, MAX);
        let mut found = Vec::new();
        while let Some(line) = lines.next().await.unwrap() {
            found.push(line);
        }
        found
    }

    /// A reader that gives a few bytes at a time.
    struct Pieces<'a> {
        text: &'a [u8],
        piece_bytes: usize,
    }

    impl AsyncRead for Pieces<'_> {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
            buffer: &mut tokio::io::ReadBuf<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            let length = self.piece_bytes.min(buffer.remaining());
            let (piece, rest) = self.text.split_at(length.min(self.text.len()));
            buffer.put_slice(piece);
            self.text = rest;
            std::task::Poll::Ready(Ok(()))
        }
    }

    fn text(text: &str) -> Line {
        Line::Text(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_let_go_of_and_those_around_it_are_not() {
        let long = format!(r#"{{"id":7,"result":"{}"}}"#, "x".repeat(100_000));
        let input = format!("one\n{long}\ntwo\n\nthree");
        for piece_bytes in [1, 7, 64, 1_000, 1_000_000] {
            let found = read(input.as_bytes(), piece_bytes).await;
            let expected = [
                text("one"),
                Line::TooLong(Some(Id::Number(7))),
                text("two"),
                text(""),
            ];
            assert_eq!(found, expected, "{piece_bytes}");
        }
    }

    #[tokio::test]
    async fn no_more_is_held_than_a_line_may_have() {
        let input = vec![b'x'; 1_000_000];
        let mut lines = Lines::new(&input[..], MAX);
        assert_eq!(lines.next().await.unwrap(), None);
        assert!(lines.buffer.capacity() <= 2 * SKIPPED_BYTES + MAX);
    }

    proptest! {
        #[test]
        fn lines_are_found_however_they_are_cut(
            wanted in prop::collection::vec("[ -~]{0,64}", 0..20), piece_bytes in 1_usize..200,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let input: String = wanted.iter().map(|line| format!("{line}\n")).collect();
            let found = runtime.block_on(read(input.as_bytes(), piece_bytes));
            let wanted: Vec<_> = wanted.iter().map(|line| text(line)).collect();
            prop_assert_eq!(found, wanted);
        }
    }
}
