//! Reads the lines of `text/event-stream`, however they are cut into pieces.

/// An event of the stream.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct SseEvent {
    /// Its kind; empty when it was not said.
    pub(crate) event: String,
    pub(crate) data: String,
    /// The id that counts from here on, if one was said with this event.
    pub(crate) id: Option<String>,
}

/// The largest event that is read: the server sends at most one event of the log in one.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An event is larger than is read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {EVENT_BYTES_MAX} bytes")]
pub(crate) struct TooLarge;

/// Puts pieces together. Follows the event stream interpretation of the HTML standard, except that an
/// event without data is given too if it has an id, because that says how far the stream has come.
#[derive(Debug, Default)]
pub(crate) struct SseParser {
    line: Vec<u8>,
    /// The last piece ended with a CR, so that an LF at the start of the next belongs to it.
    after_cr: bool,
    begun: bool,
    event: SseEvent,
    has_data: bool,
}

const BOM: &[u8] = b"\xef\xbb\xbf";

impl SseParser {
    /// Takes the next piece, and gives the events that are complete with it.
    pub(crate) fn take(
        &mut self,
        piece: &[u8],
        mut give: impl FnMut(SseEvent),
    ) -> Result<(), TooLarge> {
        let mut rest = piece;
        if self.after_cr && !rest.is_empty() {
            self.after_cr = false;
            rest = rest.strip_prefix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.line.extend_from_slice(&rest[..end]);
            let is_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            if is_cr {
                self.after_cr = rest.is_empty();
                rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
            if let Some(event) = self.end_line() {
                give(event);
            }
            self.check()?;
        }
        self.line.extend_from_slice(rest);
        self.check()
    }

    fn check(&self) -> Result<(), TooLarge> {
        let bytes = self.line.len() + self.event.data.len() + self.event.event.len();
        if bytes > EVENT_BYTES_MAX {
            return Err(TooLarge);
        }
        Ok(())
    }

    fn end_line(&mut self) -> Option<SseEvent> {
        let line = std::mem::take(&mut self.line);
        let mut text = &line[..];
        if !std::mem::replace(&mut self.begun, true) {
            text = text.strip_prefix(BOM).unwrap_or(text);
        }
        if text.is_empty() {
            return self.end_event();
        }
        let text = String::from_utf8_lossy(text);
        let (field, value) = text.split_once(':').unwrap_or((&text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.event),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            // Comments have an empty name; `retry` is the client's own business; others are not known.
            _ => {}
        }
        // The room is used again for the next line.
        self.line = line;
        self.line.clear();
        None
    }

    fn end_event(&mut self) -> Option<SseEvent> {
        let event = std::mem::take(&mut self.event);
        let has_data = std::mem::take(&mut self.has_data);
        (has_data || event.id.is_some()).then_some(event)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(pieces: &[&[u8]]) -> Vec<SseEvent> {
        let mut parser = SseParser::default();
        let mut events = Vec::new();
        for piece in pieces {
            parser.take(piece, |event| events.push(event)).unwrap();
        }
        events
    }

    fn event(event: &str, data: &str, id: Option<&str>) -> SseEvent {
        SseEvent {
            event: event.to_owned(),
            data: data.to_owned(),
            id: id.map(str::to_owned),
        }
    }

    #[test]
    fn reads_what_the_standard_has() {
        let text = "\u{feff}: hello\n\nid: 7f3a09c2-1\nevent: payment.received\ndata: {\"a\":\ndata:1}\n\n\
                    data\n\nid: 7f3a09c2-2\n\nretry: 10\nweather: fine\n\ndata:  two\n\ndata: unfinished";
        let expected = [
            event("payment.received", "{\"a\":\n1}", Some("7f3a09c2-1")),
            event("", "", None),
            event("", "", Some("7f3a09c2-2")),
            event("", " two", None),
        ];
        for ending in ["\n", "\r\n", "\r"] {
            assert_eq!(
                parse(&[text.replace('\n', ending).as_bytes()]),
                expected,
                "{ending:?}"
            );
        }
    }

    #[test]
    fn an_event_is_bounded() {
        let mut parser = SseParser::default();
        let line = vec![b'x'; EVENT_BYTES_MAX];
        assert_eq!(parser.take(&line, |_| {}), Ok(()));
        assert_eq!(parser.take(b"x", |_| {}), Err(TooLarge));
        let mut parser = SseParser::default();
        let mut line = b"data:".to_vec();
        line.resize(1 << 20, b'x');
        line.push(b'\n');
        let ends: Vec<_> = (0..5).map(|_| parser.take(&line, |_| {})).collect();
        assert_eq!(ends[2], Ok(()));
        assert_eq!(ends[4], Err(TooLarge));
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(
            text in "(data|id|event|:|: |x|\n|\r|\r\n|é|\u{feff}){0,60}",
            cuts in prop::collection::vec(0_usize..120, 0..8),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < bytes.len()).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            pieces.push(&bytes[from..]);
            prop_assert_eq!(parse(&pieces), parse(&[bytes]));
        }

        #[test]
        fn what_is_written_is_read(data in "[^\r\n\0]{1,40}(\n[^\r\n\0]{0,40}){0,3}", id in "[a-z0-9-]{1,20}") {
            let lines: String = data.split('\n').map(|line| format!("data: {line}\n")).collect();
            let text = format!("id: {id}\n{lines}\n");
            prop_assert_eq!(parse(&[text.as_bytes()]), [event("", &data, Some(&id))]);
        }
    }
}
