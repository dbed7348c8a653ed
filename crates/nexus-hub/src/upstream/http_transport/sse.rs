//! Reads the events of `text/event-stream`, however they are cut into pieces.

use std::time::Duration;

/// One event.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its kind; empty when it was not said.
    pub(crate) kind: String,
    pub(crate) data: Vec<u8>,
    /// Where the stream stands with it, if it was said.
    pub(crate) id: Option<String>,
}

/// An event is larger than is read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Puts pieces together, as the HTML standard reads them, except that an event without data is given too
/// if it has an id: it says how far the stream has come.
#[derive(Debug)]
pub(crate) struct Parser {
    line: Vec<u8>,
    /// The last piece ended with a CR, so that an LF at the start of the next belongs to it.
    is_after_cr: bool,
    has_begun: bool,
    has_data: bool,
    event: Event,
    event_bytes_max: usize,
    retry: Option<Duration>,
}

const BOM: &[u8] = b"\xef\xbb\xbf";

impl Parser {
    pub(crate) fn new(event_bytes_max: usize) -> Self {
        Self {
            line: Vec::new(),
            is_after_cr: false,
            has_begun: false,
            has_data: false,
            event: Event::default(),
            event_bytes_max,
            retry: None,
        }
    }

    /// How long the server wants to be left alone before it is asked for more, if it said so.
    pub(crate) fn retry(&self) -> Option<Duration> {
        self.retry
    }

    /// Takes the next piece, and adds the events that are complete with it.
    pub(crate) fn take(&mut self, piece: &[u8], events: &mut Vec<Event>) -> Result<(), TooLarge> {
        let mut rest = piece;
        if self.is_after_cr && !rest.is_empty() {
            self.is_after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
            self.line.extend_from_slice(&rest[..end]);
            let is_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if is_cr {
                self.is_after_cr = rest.is_empty();
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
            self.check()?;
            events.extend(self.end_line());
        }
        self.line.extend_from_slice(rest);
        self.check()
    }

    fn check(&self) -> Result<(), TooLarge> {
        let bytes = self.line.len() + self.event.data.len() + self.event.kind.len();
        // A line has its name beside its value.
        if bytes > self.event_bytes_max.saturating_add(64) {
            return Err(TooLarge);
        }
        Ok(())
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = std::mem::take(&mut self.line);
        let mut text = &line[..];
        if !std::mem::replace(&mut self.has_begun, true) {
            text = text.strip_prefix(BOM).unwrap_or(text);
        }
        if text.is_empty() {
            return self.end_event();
        }
        let (name, value) = match memchr::memchr(b':', text) {
            Some(at) => (&text[..at], &text[at + 1..]),
            None => (text, &[][..]),
        };
        self.set(name, value.strip_prefix(b" ").unwrap_or(value));
        None
    }

    fn set(&mut self, name: &[u8], value: &[u8]) {
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"event" => self.event.kind = text(),
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push(b'\n');
                }
                self.event.data.extend_from_slice(value);
            }
            b"id" if !value.contains(&0) => self.event.id = Some(text()),
            b"retry" => {
                let ms = text().parse().map(Duration::from_millis);
                self.retry = ms.ok().or(self.retry);
            }
            // Comments have an empty name; others are not known.
            _ => {}
        }
    }

    fn end_event(&mut self) -> Option<Event> {
        let event = std::mem::take(&mut self.event);
        let has_data = std::mem::take(&mut self.has_data);
        (has_data || event.id.is_some()).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8], piece_bytes: usize) -> (Vec<Event>, Option<Duration>) {
        let mut parser = Parser::new(1_000);
        let mut events = Vec::new();
        for piece in text.chunks(piece_bytes) {
            parser.take(piece, &mut events).unwrap();
        }
        (events, parser.retry())
    }

    fn event(kind: &str, data: &str, id: Option<&str>) -> Event {
        Event {
            kind: kind.to_owned(),
            data: data.as_bytes().to_vec(),
            id: id.map(str::to_owned),
        }
    }

    #[test]
    fn reads_what_the_standard_has() {
        let text = "\u{feff}: hello\r\n\r\nid: 1\revent: message\rdata: {\"a\":\rdata:1}\r\r\
                    data\n\nid: 2\n\nretry: 10\nretry: soon\nweather: fine\n\ndata:  two\n\ndata: cut";
        let expected = [
            event("message", "{\"a\":\n1}", Some("1")),
            event("", "", None),
            event("", "", Some("2")),
            event("", " two", None),
        ];
        for piece_bytes in [1, 2, 3, 7, 1_000] {
            let (events, retry) = read(text.as_bytes(), piece_bytes);
            assert_eq!(events, expected, "{piece_bytes}");
            assert_eq!(retry, Some(Duration::from_millis(10)));
        }
    }

    #[test]
    fn an_event_that_is_too_large_is_not_held() {
        let mut parser = Parser::new(1_000);
        let mut events = Vec::new();
        let large = format!("data: {}\n\n", "x".repeat(1_000));
        assert_eq!(parser.take(large.as_bytes(), &mut events), Ok(()));
        assert_eq!(events.len(), 1);
        let larger = "data: x\n".repeat(2_000);
        assert_eq!(parser.take(larger.as_bytes(), &mut events), Err(TooLarge));
        let mut parser = Parser::new(1_000);
        assert_eq!(parser.take(&[b'x'; 5_000], &mut events), Err(TooLarge));
    }

    proptest! {
        #[test]
        fn what_is_read_does_not_depend_on_the_pieces(
            lines in prop::collection::vec("(data|id|event|retry|:)?:? ?[ -~]{0,10}(\n|\r|\r\n)", 0..30),
            piece_bytes in 1_usize..20,
        ) {
            let text = lines.concat();
            let whole = read(text.as_bytes(), text.len().max(1));
            prop_assert_eq!(read(text.as_bytes(), piece_bytes), whole);
        }
    }
}
