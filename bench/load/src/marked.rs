//! Events that carry a mark, by which a reader knows which it got, whatever it was wrapped in.

use std::io::Write;

use memchr::memmem::Finder;

/// What stands before a mark.
const BEFORE: &[u8] = b"\"mark\":\"";
const PUBLISHER_DIGITS: usize = 4;
const NUMBER_DIGITS: usize = 10;
const MARK_BYTES: usize = PUBLISHER_DIGITS + 1 + NUMBER_DIGITS;

/// Which event of which publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) publisher: usize,
    pub(crate) number: u64,
}

/// Appends a payload that carries the mark, and `padding` bytes more; all are of one length.
pub(crate) fn write_payload(out: &mut Vec<u8>, mark: Mark, padding: usize) {
    let Mark { publisher, number } = mark;
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        r#"{{"transactionId":"tx-1234567","amount":1250,"payerId":"payer-7","mark":"{publisher:0PUBLISHER_DIGITS$}-{number:0NUMBER_DIGITS$}""#
    );
    if padding > 0 {
        out.extend_from_slice(b",\"padding\":\"");
        out.resize(out.len() + padding, b'x');
        out.push(b'"');
    }
    out.push(b'}');
}

/// Appends the payload of a message to all that carries the mark; all are of one length.
pub(crate) fn write_message(out: &mut Vec<u8>, mark: Mark) {
    let Mark { publisher, number } = mark;
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        r#"{{"message":"Said to everybody who listens","mark":"{publisher:0PUBLISHER_DIGITS$}-{number:0NUMBER_DIGITS$}"}}"#
    );
}

/// The first mark in a text.
pub(crate) fn find(text: &[u8]) -> Option<Mark> {
    let at = memchr::memmem::find(text, BEFORE)? + BEFORE.len();
    read(text.get(at..at + MARK_BYTES)?)
}

/// Finds the marks in a stream of bytes.
#[derive(Debug)]
pub(crate) struct Scanner {
    finder: Finder<'static>,
    /// The end of what was seen, in which a mark may have begun.
    rest: Vec<u8>,
}

impl Scanner {
    pub(crate) fn new() -> Self {
        Self {
            finder: Finder::new(BEFORE),
            rest: Vec::new(),
        }
    }

    /// Takes the next bytes, and gives every mark that is now complete, in order.
    pub(crate) fn scan(&mut self, bytes: &[u8], mut found: impl FnMut(Mark)) {
        self.rest.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(begin) = self.finder.find(&self.rest[at..]) {
            let mark_at = at + begin + BEFORE.len();
            let Some(mark) = self.rest.get(mark_at..mark_at + MARK_BYTES) else {
                at += begin;
                self.rest.drain(..at);
                return;
            };
            if let Some(mark) = read(mark) {
                found(mark);
            }
            at = mark_at + MARK_BYTES;
        }
        let kept = (self.rest.len() - at).min(BEFORE.len() - 1);
        self.rest.drain(..self.rest.len() - kept);
    }
}

fn read(mark: &[u8]) -> Option<Mark> {
    let (publisher, number) = std::str::from_utf8(mark).ok()?.split_once('-')?;
    Some(Mark {
        publisher: publisher.parse().ok()?,
        number: number.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_mark_of_a_text_is_found() {
        let mark = Mark {
            publisher: 3,
            number: 42,
        };
        let mut text = b"{\"payload\":".to_vec();
        write_payload(&mut text, mark, 10);
        assert_eq!(find(&text), Some(mark));
        assert_eq!(find(&text[..text.len() - 30]), None);
        assert_eq!(find(b"{}"), None);
    }

    #[test]
    fn marks_are_found_however_the_bytes_are_cut() {
        let marks: Vec<Mark> = (0..20)
            .map(|number| Mark {
                publisher: 3,
                number: number * 1_000_003,
            })
            .collect();
        let mut stream = b"HTTP/1.1 101 \"mark\"\r\n\r\n".to_vec();
        for mark in &marks {
            stream.extend_from_slice(b"\x81\x7e\x01\x20{\"type\":\"event\",\"payload\":");
            write_payload(&mut stream, *mark, 0);
            stream.push(b'}');
        }
        for piece_bytes in [1, 2, 7, 64, stream.len()] {
            let mut scanner = Scanner::new();
            let mut found = Vec::new();
            for piece in stream.chunks(piece_bytes) {
                scanner.scan(piece, |mark| found.push(mark));
            }
            assert_eq!(found, marks, "{piece_bytes}");
            assert!(scanner.rest.len() < BEFORE.len() + MARK_BYTES);
        }
    }

    #[test]
    fn payloads_are_json_of_one_length() {
        let lengths: Vec<usize> = [0, 7, 1_234_567_890]
            .into_iter()
            .map(|number| {
                let mut payload = Vec::new();
                let mark = Mark {
                    publisher: 12,
                    number,
                };
                write_payload(&mut payload, mark, 10);
                let json: serde_json::Value = serde_json::from_slice(&payload).unwrap();
                assert_eq!(json["mark"].as_str().unwrap().len(), MARK_BYTES);
                payload.len()
            })
            .collect();
        assert!(lengths.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
