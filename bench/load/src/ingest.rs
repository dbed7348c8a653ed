//! Signed `POST /events` over HTTP/1.1, written into one buffer whose changing bytes are overwritten.

use std::net::SocketAddr;

use data_encoding::HEXLOWER;
use ring::hmac;

use crate::{
    connection::{Answer, Exchange},
    http,
    payment::Payments,
};

const SIGNATURE_DIGITS: usize = 64;

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
        http::answer(received)
    }
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
}
