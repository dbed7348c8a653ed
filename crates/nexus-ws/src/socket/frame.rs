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

/// Appends a text frame whose body is written by somebody else.
pub(crate) fn text_with(out: &mut Vec<u8>, write_body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    // Most bodies have a length of two bytes; for the others the body is moved.
    out.extend_from_slice(&[TEXT, 126, 0, 0]);
    let body = out.len();
    write_body(out);
    let body_bytes = out.len() - body;
    match u16::try_from(body_bytes) {
        Ok(length @ 126..) => out[start + 2..body].copy_from_slice(&length.to_be_bytes()),
        _ => {
            let mut header = Vec::with_capacity(10);
            text_header(&mut header, body_bytes);
            out.splice(start..body, header);
        }
    }
}

/// Appends a ping that says something; at most 125 bytes, or it says nothing.
pub(crate) fn ping(out: &mut Vec<u8>, says: &[u8]) {
    match u8::try_from(says.len()) {
        Ok(length @ ..126) => {
            out.extend_from_slice(&[PING, length]);
            out.extend_from_slice(says);
        }
        _ => out.extend_from_slice(&[PING, 0]),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_one_two_and_eight_bytes() {
        for (body_bytes, header_bytes) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let body = "x".repeat(body_bytes);
            let mut out = b"before".to_vec();
            text(&mut out, &body);
            assert_eq!(out.len(), 6 + header_bytes + body_bytes);
            let mut same = b"before".to_vec();
            text_with(&mut same, |out| out.extend_from_slice(body.as_bytes()));
            assert_eq!(same, out);
        }
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
