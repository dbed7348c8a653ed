//! The example runs: a route of the service makes an event, beside the routes of Nexus.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use nexus_testkit::program::{Program, Says};

const SECRET: &str = "example-secret-0123456789abcdef0123456789";

#[test]
fn an_order_that_is_paid_is_in_the_log() {
    let program =
        Program::start(env!("CARGO_BIN_EXE_example-embed-http"), SECRET, Says::Out).unwrap();
    let answer = program.ask(
        "POST /orders/o-1/paid HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    ).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let log = program
        .ask(&format!(
            "GET /events/log?event=PAYMENT_RECEIVED HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\
         Authorization: Bearer {SECRET}\r\n\r\n",
        ))
        .unwrap();
    assert!(
        log.contains(r#""orderId":"o-1""#) && log.contains(r#""source":"node:shop""#),
        "{log}"
    );
}
