//! Server frames as bytes: written once, sent to many.

/// Opcodes with the bit that says the message ends here; servers do not mask.
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// A close frame carries at most this many bytes of reason.
pub(crate) const REASON_BYTES_MAX: usize = 123;

/// Appends the header of a text frame whose body has this many bytes.
pub(crate) fn text_header(out: &mut Vec<u8>, body_bytes: usize) {
    out.push(TEXT);
    if let Ok(short) = u8::try_from(body_bytes)
        && short < 126
    {
        out.push(short);
    } else if let Ok(middle) = u16::try_from(body_bytes) {
        out.push(126);
        out.extend_from_slice(&middle.to_be_bytes());
    } else {
        out.push(127);
        out.extend_from_slice(&(body_bytes as u64).to_be_bytes());
    }
}

/// Appends a text frame.
pub(crate) fn text(out: &mut Vec<u8>, body: &str) {
    text_header(out, body.len());
    out.extend_from_slice(body.as_bytes());
}

/// Appends an empty ping.
pub(crate) fn ping(out: &mut Vec<u8>) {
    out.extend_from_slice(&[PING, 0]);
}

/// Appends a close frame; a reason that is too long is cut.
pub(crate) fn close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    // 2 + 123 fits into the seven bits of a control frame's length.
    let length = u8::try_from(2 + end).unwrap_or(2);
    out.extend_from_slice(&[CLOSE, length]);
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(&reason.as_bytes()[..end]);
}

/// Where the frame ends that `offset` lies in, in bytes that are whole frames of a server. An offset
/// between two frames is an end already.
pub(crate) fn end_of_frame(frames: &[u8], start: usize, offset: usize) -> usize {
    let mut end = start;
    while end < offset {
        let Some(length) = frame_length(&frames[end..]) else {
            return frames.len();
        };
        end += length;
    }
    end.min(frames.len())
}

fn frame_length(frames: &[u8]) -> Option<usize> {
    Some(match frames.get(1)? {
        126 => 4 + usize::from(u16::from_be_bytes([*frames.get(2)?, *frames.get(3)?])),
        127 => {
            let length: [u8; 8] = frames.get(2..10)?.try_into().ok()?;
            10 + usize::try_from(u64::from_be_bytes(length)).ok()?
        }
        short => 2 + usize::from(*short),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_one_two_and_eight_bytes() {
        for (body_bytes, header_bytes) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let mut out = Vec::new();
            text(&mut out, &"x".repeat(body_bytes));
            assert_eq!(out.len(), header_bytes + body_bytes);
            assert_eq!(frame_length(&out), Some(out.len()));
        }
    }

    #[test]
    fn finds_the_end_of_the_frame_that_is_being_written() {
        let mut out = Vec::new();
        text(&mut out, "one");
        text(&mut out, &"2".repeat(300));
        let second = 5 + 4 + 300;
        for (offset, end) in [(0, 0), (1, 5), (5, 5), (6, second), (second, second)] {
            assert_eq!(end_of_frame(&out, 0, offset), end, "{offset}");
        }
        assert_eq!(end_of_frame(&out, 5, 7), second);
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        let mut out = Vec::new();
        close(&mut out, 4008, &"é".repeat(100));
        assert_eq!(out[1], 2 + 122);
        assert_eq!(u16::from_be_bytes([out[2], out[3]]), 4008);
        assert!(std::str::from_utf8(&out[4..]).is_ok());
    }
}
