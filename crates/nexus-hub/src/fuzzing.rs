//! What must hold for every byte that a server sends. For the fuzzer and for tests, not for users.
#![allow(clippy::expect_used, reason = "what does not hold has to panic")]

use std::{
    collections::HashSet,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, ReadBuf};

use crate::{
    Alias, Incoming, NAME_CHARS_MAX, Raw, ServerId,
    message::{
        meta::{text_member, token_of, with_meta, with_progress_token, with_token, without},
        scan::Scan,
    },
    names,
    upstream::{
        http_transport::sse::{Event, Parser},
        stdio::lines::{Line, Lines},
    },
};

/// Panics when something does not hold. The first byte chooses how long a message may be, the second in what
/// pieces the others arrive.
pub fn check_messages(input: &[u8]) {
    let [longest, piece, bytes @ ..] = input else {
        return;
    };
    let message_bytes_max = 16 << (longest % 8);
    let piece_bytes = 1 + usize::from(*piece);
    check_message(bytes);
    check_scan(bytes, piece_bytes);
    check_lines(bytes, message_bytes_max, piece_bytes);
    check_events(bytes, message_bytes_max, piece_bytes);
    check_names(bytes);
}

/// What is understood is written again as one line that means the same.
fn check_message(bytes: &[u8]) {
    assert!(bytes.is_empty() || Incoming::parse(bytes, bytes.len() - 1).is_err());
    let Ok(message) = Incoming::parse(bytes, bytes.len()) else {
        return;
    };
    let line = message.encode();
    assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
    let again = Incoming::parse(&line, line.len()).expect("what was written is read");
    assert_eq!(again.encode(), line);
    match message {
        Incoming::Request { params, .. } | Incoming::Notification { params, .. } => {
            if let Some(params) = params {
                check_params(&params);
            }
        }
        Incoming::Response { id, .. } => {
            let mut scan = Scan::default();
            scan.read(bytes);
            // An escaped name is passed over; whatever is found is right.
            assert!(scan.answered().is_none() || scan.answered() == id);
        }
    }
}

/// Members are set, read and left out without the others' changing.
fn check_params(params: &Raw) {
    let before = token_of(Some(params));
    let (with, given) = with_token(Some(params.clone()), 7);
    let with = with.expect("parameters stay");
    if with.get() != params.get() {
        assert_eq!(
            token_of(Some(&with)).map(|token| token.get().to_owned()),
            Some("7".into())
        );
        let given = given.map(|token| token.get().to_owned());
        assert_eq!(given, before.map(|token| token.get().to_owned()));
    }
    if let Some(set) = with_meta(params, "nexus/x", "[1]") {
        assert!(set.get().contains("\"nexus/x\":[1]"));
    }
    if let Some(rest) = without(params, "_meta") {
        assert!(token_of(Some(&rest)).is_none());
    }
    let token = serde_json::value::RawValue::from_string("8".into()).expect("it is JSON");
    let _ = with_progress_token(params, &token);
    let _ = text_member(Some(params), "uri");
}

/// Whose answer it is does not depend on the pieces.
fn check_scan(bytes: &[u8], piece_bytes: usize) {
    let (mut whole, mut cut) = (Scan::default(), Scan::default());
    whole.read(bytes);
    for piece in bytes.chunks(piece_bytes) {
        cut.read(piece);
    }
    assert_eq!(whole.answered(), cut.answered());
}

/// Nor do lines, and none that is held is longer than it may be.
fn check_lines(bytes: &[u8], line_bytes_max: usize, piece_bytes: usize) {
    let whole = lines(bytes, line_bytes_max, usize::MAX);
    assert_eq!(whole, lines(bytes, line_bytes_max, piece_bytes));
    assert_eq!(
        whole.len(),
        bytes.iter().filter(|byte| **byte == b'\n').count()
    );
    let is_short = |line: &Line| match line {
        Line::Text(text) => text.len() <= line_bytes_max,
        Line::TooLong(_) => true,
    };
    assert!(whole.iter().all(is_short));
}

fn lines(bytes: &[u8], line_bytes_max: usize, piece_bytes: usize) -> Vec<Line> {
    let mut lines = Lines::new(Pieces { bytes, piece_bytes }, line_bytes_max);
    let mut found = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match pin!(lines.next()).poll(&mut context) {
            Poll::Ready(Ok(Some(line))) => found.push(line),
            Poll::Ready(_) => return found,
            // The input is there; it is only another's turn.
            Poll::Pending => {}
        }
    }
}

/// A reader that gives a few bytes at a time.
struct Pieces<'a> {
    bytes: &'a [u8],
    piece_bytes: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = self
            .piece_bytes
            .min(buffer.remaining())
            .min(self.bytes.len());
        let (piece, rest) = self.bytes.split_at(length);
        buffer.put_slice(piece);
        self.bytes = rest;
        Poll::Ready(Ok(()))
    }
}

/// Nor do the events of a stream.
fn check_events(bytes: &[u8], event_bytes_max: usize, piece_bytes: usize) {
    let whole = events(bytes, event_bytes_max, usize::MAX);
    assert_eq!(whole, events(bytes, event_bytes_max, piece_bytes));
    // A line has its name beside its value.
    let is_short = |event: &Event| event.data.len() <= event_bytes_max + 64;
    assert!(whole.0.iter().all(is_short));
}

/// The events, and whether one was too large.
fn events(bytes: &[u8], event_bytes_max: usize, piece_bytes: usize) -> (Vec<Event>, bool) {
    let mut parser = Parser::new(event_bytes_max);
    let mut events = Vec::new();
    for piece in bytes.chunks(piece_bytes) {
        if parser.take(piece, &mut events).is_err() {
            return (events, true);
        }
    }
    (events, false)
}

/// Whatever a server calls its tools, each gets a name of its own that every client takes.
fn check_names(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut seen = HashSet::new();
    let originals: Vec<&str> = text
        .lines()
        .filter(|name| !name.is_empty() && seen.insert(*name))
        .collect();
    let alias = Alias::parse("fuzz").expect("it is an alias");
    let names = names::assign(&alias, &ServerId::new("s"), &originals, |_| false);
    assert_eq!(names.len(), originals.len());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    for name in &names {
        assert!((1..=NAME_CHARS_MAX).contains(&name.len()), "{name}");
        assert!(name.chars().all(is_plain), "{name}");
    }
    let distinct: HashSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_the_fuzzer_is_given_first_holds() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/messages");
        let inputs: Vec<_> = fs::read_dir(corpus).unwrap().collect();
        assert!(inputs.len() >= 5);
        for input in inputs {
            check_messages(&fs::read(input.unwrap().path()).unwrap());
        }
    }

    proptest! {
        #[test]
        fn every_sequence_of_bytes_holds(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            check_messages(&bytes);
        }

        #[test]
        fn what_looks_like_messages_holds(
            start in any::<[u8; 2]>(),
            text in r#"([\[\]{}:,"\\\n]|id|method|result|data: |event: |_meta|"id":7|[0-9a-c ]){0,80}"#,
        ) {
            check_messages(&[&start[..], text.as_bytes()].concat());
        }
    }
}
