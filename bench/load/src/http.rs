//! Where an HTTP/1.1 answer ends, and what it says.

use std::borrow::Cow;

use crate::connection::Answer;

/// An answer whose last byte is there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Whole<'a> {
    /// How many bytes it has with its head.
    pub(crate) bytes: usize,
    pub(crate) ok: bool,
    /// Its first line and headers.
    pub(crate) head: &'a [u8],
    /// Its body, without the frames of chunks.
    pub(crate) body: Cow<'a, [u8]>,
}

impl<'a> Whole<'a> {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        self.head
            .split(|byte| *byte == b'\n')
            .find_map(|line| value_of(line, name))
    }
}

/// Reads an answer that may not be whole yet.
pub(crate) fn answer(received: &[u8]) -> Answer {
    match read(received) {
        Some(Some(whole)) => Answer::Whole {
            bytes: whole.bytes,
            ok: whole.ok,
        },
        Some(None) => Answer::Partial,
        None => Answer::Broken,
    }
}

/// Reads an answer: `Some(None)` when more bytes are needed, `None` when it is not HTTP with a length or chunks.
pub(crate) fn read(received: &[u8]) -> Option<Option<Whole<'_>>> {
    let Some(head_bytes) = memchr::memmem::find(received, b"\r\n\r\n") else {
        return Some(None);
    };
    let (head, rest) = (&received[..head_bytes], &received[head_bytes + 4..]);
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = lines.next()?.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    let body = if lines.clone().any(is_chunked) {
        chunks(rest)?
    } else if matches!(status, b"204" | b"304") {
        Some((0, Cow::default()))
    } else {
        let length = lines.find_map(|line| value_of(line, "content-length"))?;
        let body = rest.get(..length.parse().ok()?);
        body.map(|body| (body.len(), Cow::Borrowed(body)))
    };
    Some(body.map(|(body_bytes, body)| Whole {
        bytes: head_bytes + 4 + body_bytes,
        ok: status.starts_with(b"2"),
        head,
        body,
    }))
}

fn is_chunked(line: &[u8]) -> bool {
    value_of(line, "transfer-encoding").is_some_and(|how| how.eq_ignore_ascii_case("chunked"))
}

fn value_of<'a>(line: &'a [u8], name: &str) -> Option<&'a str> {
    let (named, value) = line.split_at_checked(name.len())?;
    let value = value.strip_prefix(b":")?;
    if !named.eq_ignore_ascii_case(name.as_bytes()) {
        return None;
    }
    Some(std::str::from_utf8(value).ok()?.trim())
}

/// The bytes that chunks take, and what is in them; `Some(None)` when the last is not there yet.
#[allow(clippy::option_option, reason = "broken, not whole yet, whole")]
fn chunks(received: &[u8]) -> Option<Option<(usize, Cow<'_, [u8]>)>> {
    let (mut at, mut parts) = (0, Vec::new());
    loop {
        let Some(line) = memchr::memmem::find(&received[at..], b"\r\n") else {
            return Some(None);
        };
        let size = std::str::from_utf8(&received[at..at + line]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        let from = at + line + 2;
        let until = from.checked_add(size)?;
        let Some(end) = received.get(until..until.checked_add(2)?) else {
            return Some(None);
        };
        if end != b"\r\n" {
            return None;
        }
        at = until + 2;
        if size == 0 {
            let body = match parts[..] {
                [only] => Cow::Borrowed(only),
                _ => Cow::Owned(parts.concat()),
            };
            return Some(Some((at, body)));
        }
        parts.push(&received[from..until]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let received = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\n{}";
        for end in 0..received.len() {
            assert_eq!(answer(&received[..end]), Answer::Partial);
        }
        let whole = read(received).unwrap().unwrap();
        assert_eq!((whole.bytes, whole.ok), (received.len(), true));
        assert_eq!(whole.body.as_ref(), b"{}");
        assert_eq!(whole.header("content-type"), Some("a/b"));
        assert_eq!(
            answer(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\nHTTP"),
            Answer::Whole {
                bytes: 38,
                ok: false
            }
        );
        assert_eq!(answer(b"SSH-2.0\r\n\r\n"), Answer::Broken);
        assert_eq!(answer(b"HTTP/1.1 200 OK\r\n\r\n"), Answer::Broken);
    }

    #[test]
    fn chunks_are_put_together() {
        let received =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0a;x\r\n0123456789\r\n0\r\n\r\n";
        for end in 0..received.len() {
            assert_eq!(answer(&received[..end]), Answer::Partial);
        }
        let whole = read(received).unwrap().unwrap();
        assert_eq!(whole.bytes, received.len());
        assert_eq!(whole.body.as_ref(), b"abc0123456789");
        let broken = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n";
        assert_eq!(answer(broken), Answer::Broken);
    }
}
