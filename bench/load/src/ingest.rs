//! Signed `POST /events` over HTTP/1.1, written into one buffer whose changing bytes are overwritten.

use std::net::SocketAddr;

use data_encoding::HEXLOWER;
use ring::hmac;

use crate::{
    connection::{Answer, Exchange},
    payment::Payments,
};

const SIGNATURE_DIGITS: usize = 64;
const LENGTH_HEADER: &[u8] = b"content-length:";

/// The requests of one connection.
#[derive(Debug)]
pub(crate) struct Ingest {
    key: hmac::Key,
    payments: Payments,
    request: Vec<u8>,
    signature_at: usize,
    body_at: usize,
}

impl Ingest {
    pub(crate) fn new(address: SocketAddr, path: &str, secret: &str, payments: Payments) -> Self {
        let body_bytes = payments.body_bytes();
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
             Content-Length: {body_bytes}\r\nX-Nexus-Signature: "
        )
        .into_bytes();
        let signature_at = request.len();
        request.resize(signature_at + SIGNATURE_DIGITS, b'0');
        request.extend_from_slice(b"\r\n\r\n");
        let body_at = request.len();
        request.resize(body_at + body_bytes, b' ');
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
            payments,
            request,
            signature_at,
            body_at,
        }
    }
}

impl Exchange for Ingest {
    fn request(&mut self) -> &[u8] {
        let body = self.payments.next_body();
        let signature = hmac::sign(&self.key, body);
        self.request[self.body_at..].copy_from_slice(body);
        HEXLOWER.encode_mut(
            signature.as_ref(),
            &mut self.request[self.signature_at..self.signature_at + SIGNATURE_DIGITS],
        );
        &self.request
    }

    fn answer(&self, received: &[u8]) -> Answer {
        read_answer(received).unwrap_or(Answer::Broken)
    }
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
            ok: status == b"200",
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

    fn ingest() -> Ingest {
        let address = SocketAddr::from(([127, 0, 0, 1], 3000));
        Ingest::new(address, "/events", "secret", Payments::new(1, 2))
    }

    #[test]
    fn a_request_carries_the_signature_of_its_body() {
        let mut ingest = ingest();
        for _ in 0..2 {
            let request = String::from_utf8(ingest.request().to_vec()).unwrap();
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            let signature = head.split_once("X-Nexus-Signature: ").unwrap().1;
            let signature = HEXLOWER.decode(signature.as_bytes()).unwrap();
            let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
            hmac::verify(&key, body.as_bytes(), &signature).unwrap();
            assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
        }
    }

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
