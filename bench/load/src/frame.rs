//! Frames of a WebSocket, as a client writes and reads them.

use std::io;

use bytes::{Buf, BytesMut};

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xa;

const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
/// The longest that a length of one byte says, and what stands for a length of two and of eight.
const SHORT_MAX: u8 = 125;
const IN_TWO_BYTES: u8 = 126;
const IN_EIGHT_BYTES: u8 = 127;
/// No server under load sends a longer frame.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Appends a client's frame; the mask of zeros leaves the payload as it is.
pub(crate) fn write_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) -> io::Result<()> {
    out.push(FINAL | opcode);
    match u8::try_from(payload.len()) {
        Ok(short @ 0..=SHORT_MAX) => out.push(MASKED | short),
        _ => {
            out.push(MASKED | IN_TWO_BYTES);
            let length = u16::try_from(payload.len()).map_err(io::Error::other)?;
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    Ok(())
}

/// Where the next frame of a server stands in what was received: its opcode, its payload's begin and length.
fn next_frame(received: &[u8]) -> io::Result<Option<(u8, usize, usize)>> {
    let [first, second, rest @ ..] = received else {
        return Ok(None);
    };
    let (begin, length) = match second & !MASKED {
        IN_TWO_BYTES => match rest.first_chunk() {
            Some(bytes) => (4, usize::from(u16::from_be_bytes(*bytes))),
            None => return Ok(None),
        },
        IN_EIGHT_BYTES => match rest.first_chunk() {
            Some(bytes) => (
                10,
                usize::try_from(u64::from_be_bytes(*bytes)).map_err(io::Error::other)?,
            ),
            None => return Ok(None),
        },
        short => (2, usize::from(short)),
    };
    if length > FRAME_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let is_whole = received.len() >= begin + length;
    Ok(is_whole.then_some((first & 0x0f, begin, length)))
}

/// Takes every whole frame from what was received.
pub(crate) fn take_frames(
    received: &mut BytesMut,
    mut found: impl FnMut(u8, &[u8]),
) -> io::Result<()> {
    while let Some((opcode, begin, length)) = next_frame(received)? {
        found(opcode, &received[begin..begin + length]);
        received.advance(begin + length);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a server writes it: without a mask.
    fn of_server(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        write_frame(&mut frame, opcode, payload).unwrap();
        frame[1] &= !MASKED;
        let mask = frame.len() - payload.len() - 4;
        frame.drain(mask..mask + 4);
        frame
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let long = [b'x'; 300];
        let frames: [(u8, &[u8]); 4] = [(TEXT, b"{}"), (PING, b""), (TEXT, &long), (CLOSE, b"ab")];
        let stream: Vec<u8> = frames
            .iter()
            .flat_map(|(opcode, payload)| of_server(*opcode, payload))
            .collect();
        for piece_bytes in [1, 2, 7, stream.len()] {
            let mut received = BytesMut::new();
            let mut found = Vec::new();
            for piece in stream.chunks(piece_bytes) {
                received.extend_from_slice(piece);
                take_frames(&mut received, |opcode, payload| {
                    found.push((opcode, payload.to_vec()));
                })
                .unwrap();
            }
            let expected = frames.map(|(opcode, payload)| (opcode, payload.to_vec()));
            assert_eq!(found, expected, "{piece_bytes}");
            assert!(received.is_empty());
        }
    }

    #[test]
    fn a_frame_that_no_server_sends_is_an_error() {
        let mut received = BytesMut::from(&[FINAL | TEXT, IN_EIGHT_BYTES, 0xff][..]);
        assert!(take_frames(&mut received, |_, _| {}).is_ok());
        received.extend_from_slice(&[0; 7]);
        assert!(take_frames(&mut received, |_, _| {}).is_err());
    }
}
