//! Where an HTTP/1.1 answer ends, and whether it says that it was done.

use crate::connection::Answer;

const LENGTH_HEADER: &[u8] = b"content-length:";

/// Reads an answer that may not be whole yet.
pub(crate) fn answer(received: &[u8]) -> Answer {
    read_answer(received).unwrap_or(Answer::Broken)
}

/// `None` when it is not HTTP with a length.
fn read_answer(received: &[u8]) -> Option<Answer> {
    let Some(head_bytes) = received.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Some(Answer::Partial);
    };
    let head = &received[..head_bytes];
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = lines.next()?.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    let length = lines.find_map(length_of)?;
    let bytes = head_bytes + 4 + length;
    Some(if received.len() < bytes {
        Answer::Partial
    } else {
        Answer::Whole {
            bytes,
            ok: status.starts_with(b"2"),
        }
    })
}

fn length_of(line: &[u8]) -> Option<usize> {
    let (name, value) = line.split_at_checked(LENGTH_HEADER.len())?;
    if !name.eq_ignore_ascii_case(LENGTH_HEADER) {
        return None;
    }
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\n{}";
        for end in 0..answer.len() {
            assert_eq!(read_answer(&answer[..end]), Some(Answer::Partial));
        }
        let whole = Answer::Whole {
            bytes: answer.len(),
            ok: true,
        };
        assert_eq!(read_answer(answer), Some(whole));
        assert_eq!(
            read_answer(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\nHTTP"),
            Some(Answer::Whole {
                bytes: 38,
                ok: false
            })
        );
        assert_eq!(read_answer(b"SSH-2.0\r\n\r\n"), None);
    }
}
