//! Lays a text out: one pass from left to right.

use super::{DEPTH_MAX, Kind, Laid};

/// The values of a text that is JSON; nothing for another.
pub(super) fn lay_out(text: &[u8]) -> Option<Vec<Laid>> {
    // Places fit 32 bits.
    u32::try_from(text.len()).ok()?;
    let mut reader = Reader {
        text,
        at: 0,
        cells: Vec::with_capacity(16),
    };
    reader.value(DEPTH_MAX)?;
    reader.skip_space();
    (reader.at == text.len()).then_some(reader.cells)
}

/// Lays values out from left to right.
struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    cells: Vec<Laid>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, depth_left: usize) -> Option<()> {
        self.skip_space();
        let (start, cell) = (self.at, self.cells.len());
        self.cells.push(Laid {
            kind: Kind::Null,
            start: 0,
            end: 0,
            after: 0,
        });
        let kind = match self.peek()? {
            b'{' => self.object(depth_left.checked_sub(1)?)?,
            b'[' => self.array(depth_left.checked_sub(1)?)?,
            b'"' => self.string()?,
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.word()?,
        };
        self.cells[cell] = Laid {
            kind,
            start: small(start),
            end: small(self.at),
            after: small(self.cells.len()),
        };
        Some(())
    }

    fn object(&mut self, depth_left: usize) -> Option<Kind> {
        self.at += 1;
        if !self.take(b'}') {
            loop {
                self.skip_space();
                let start = self.at;
                self.string()?;
                self.cells.push(Laid {
                    kind: Kind::Text,
                    start: small(start),
                    end: small(self.at),
                    after: small(self.cells.len() + 1),
                });
                if !self.take(b':') {
                    return None;
                }
                self.value(depth_left)?;
                if self.take(b'}') {
                    break;
                }
                if !self.take(b',') {
                    return None;
                }
            }
        }
        Some(Kind::Object)
    }

    fn array(&mut self, depth_left: usize) -> Option<Kind> {
        self.at += 1;
        if !self.take(b']') {
            loop {
                self.value(depth_left)?;
                if self.take(b']') {
                    break;
                }
                if !self.take(b',') {
                    return None;
                }
            }
        }
        Some(Kind::Array)
    }

    fn string(&mut self) -> Option<Kind> {
        if self.peek()? != b'"' {
            return None;
        }
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(Kind::Text)
    }

    fn number(&mut self) -> Kind {
        while matches!(
            self.peek(),
            Some(b'+' | b'-' | b'.' | b'e' | b'E' | b'0'..=b'9')
        ) {
            self.at += 1;
        }
        Kind::Number
    }

    fn word(&mut self) -> Option<Kind> {
        let rest = self.text.get(self.at..)?;
        let (word, kind) = [
            ("null", Kind::Null),
            ("true", Kind::Bool),
            ("false", Kind::Bool),
        ]
        .into_iter()
        .find(|(word, _)| rest.starts_with(word.as_bytes()))?;
        self.at += word.len();
        Some(kind)
    }
}

/// A text is below 4 GiB, which is checked before it is read.
fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
