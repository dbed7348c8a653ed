//! The example runs: a payment comes in, and the reactor's event follows.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use nexus_testkit::program::{Program, Says};
use ring::hmac;

const SECRET: &str = "example-secret-0123456789abcdef0123456789";

#[test]
fn an_identity_is_verified_for_each_payment() {
    let program = Program::start(
        env!("CARGO_BIN_EXE_example-custom-reactor"),
        SECRET,
        Says::Err,
    )
    .unwrap();
    let body = r#"{"event":"PAYMENT_RECEIVED","payload":{"transactionId":"t","amount":1,"payerId":"payer \"7\""}}"#;
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = HEXLOWER.encode(hmac::sign(&key, body.as_bytes()).as_ref());
    let answer = program.ask(&format!(
        "POST /events HTTP/1.1\r\nHost: nexus\r\nConnection: close\r\nX-Nexus-Signature: {signature}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len(),
    )).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let started = Instant::now();
    loop {
        let log = program.ask(&format!(
            "GET /events/log?event=IDENTITY_VERIFIED HTTP/1.1\r\nHost: nexus\r\nConnection: close\r\n\
             Authorization: Bearer {SECRET}\r\n\r\n",
        )).unwrap();
        if log.contains(r#""payload":{"payerId":"payer \"7\""},"source":"reactor:verify-payer""#) {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{log}");
    }
}
