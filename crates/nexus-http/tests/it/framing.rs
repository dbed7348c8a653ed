//! What is not HTTP/1.1, or is it in two ways: refused, and one request never becomes two.

use std::time::Duration;

use nexus_core::Random;
use nexus_http::ServerOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Running, get, options, post, routes, soon};

#[tokio::test]
async fn what_cannot_be_parsed_is_400_and_the_end_of_the_connection() {
    let server = Running::start(routes(), options()).await;
    let requests = [
        "GET /hello HTTP/9.9\r\nhost: a\r\n\r\n",
        "GET /hello HTP/1.1\r\nhost: a\r\n\r\n",
        "GET /hello\r\nhost: a\r\n\r\n",
        "G<T /hello HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /he\0llo HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /hello HTTP/1.1\r\nhost: a\0b\r\n\r\n",
        "GET /hello HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n",
        "GET /hello HTTP/1.1\r\nhost: a\r\nx: a\r\n folded\r\n\r\n",
        "GET /hello HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET /hello HTTP/1.1\r\n: a\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: +2\r\n\r\n{}",
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: -2\r\n\r\n{}",
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999\r\n\r\n{}",
        "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    for request in requests {
        let mut client = server.client().await;
        let answer = client.ask(request).await;
        answer.assert_problem(400, "invalid-request");
        assert_eq!(answer.header("connection"), Some("close"), "{request:?}");
    }
}

#[tokio::test]
async fn a_chunk_that_is_not_well_framed_is_400() {
    let server = Running::start(routes(), options()).await;
    for chunk in [
        "zz\r\n{}\r\n0\r\n\r\n",
        "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}x",
    ] {
        let request =
            format!("POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{chunk}");
        let answer = server.ask(&request).await;
        answer.assert_problem(400, "invalid-request");
        assert_eq!(answer.header("connection"), Some("close"));
    }
}

#[tokio::test]
async fn a_length_beside_chunks_does_not_smuggle_a_request() {
    let server = Running::start(routes(), options()).await;
    let hidden = "0\r\n\r\nGET /hello HTTP/1.1\r\nhost: a\r\n\r\n";
    let lines = [
        format!(
            "content-length: {}\r\ntransfer-encoding: chunked\r\n",
            hidden.len()
        ),
        format!(
            "transfer-encoding: chunked\r\ncontent-length: {}\r\n",
            hidden.len()
        ),
    ];
    for lines in lines {
        let mut client = server.client().await;
        let request = format!("POST /echo HTTP/1.1\r\nhost: a\r\n{lines}\r\n{hidden}");
        let answer = client.ask(&request).await;
        assert_eq!(answer.json()["bytes"], 0);
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.is_closed().await, "the hidden request was answered");
    }
}

#[tokio::test]
async fn a_request_needs_exactly_one_host() {
    let server = Running::start(routes(), options()).await;
    for lines in ["", "host: a\r\nhost: b\r\n"] {
        let request = format!("GET /hello HTTP/1.1\r\n{lines}\r\n");
        server
            .ask(&request)
            .await
            .assert_problem(400, "invalid-request");
    }
    // HTTP/1.0 did not know it.
    let answer = server.ask("GET /hello HTTP/1.0\r\n\r\n").await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn line_ends_without_cr_are_still_one_request() {
    let server = Running::start(routes(), options()).await;
    let mut client = server.client().await;
    let answer = client
        .ask("GET /hello HTTP/1.1\nhost: a\nconnection: close\n\n")
        .await;
    assert_eq!(answer.status(), 200);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn too_many_or_too_large_headers_are_431() {
    let server = Running::start(routes(), options()).await;
    let many = |count: usize| "x-many: 1\r\n".repeat(count);
    // The host is one of the 64.
    assert_eq!(server.get("/hello", &many(63)).await.status(), 200);
    let large = |bytes: usize| format!("x-large: {}\r\n", "x".repeat(bytes));
    assert_eq!(server.get("/hello", &large(15_000)).await.status(), 200);

    let long_path = format!("/{}", "x".repeat(17_000));
    let requests = [
        get("/hello", &many(64)),
        get("/hello", &many(5_000)),
        get("/hello", &large(17_000)),
        get("/hello", &large(100_000)),
        get(&long_path, ""),
    ];
    for request in requests {
        let mut client = server.client().await;
        let answer = client.ask(&request).await;
        answer.assert_problem(431, "headers-too-large");
        assert_eq!(answer.header("connection"), Some("close"));
    }
}

#[tokio::test]
async fn requests_sent_together_are_answered_in_order() {
    let server = Running::start(routes(), options()).await;
    let mut client = server.client().await;
    let mut requests = String::new();
    for number in 0..50 {
        let lines = format!("x-request-id: number-{number}\r\n");
        requests.push_str(&post("/echo", &lines, &"x".repeat(number)));
    }
    client.send(&requests).await;
    for number in 0..50 {
        let answer = client.answer().await;
        assert_eq!(answer.json()["bytes"], number);
        assert_eq!(
            answer.header("x-request-id").unwrap(),
            format!("number-{number}")
        );
    }
}

#[tokio::test]
async fn a_request_with_any_byte_changed_is_answered_or_closed_and_harms_nobody() {
    let options = ServerOptions {
        // What a change leaves waiting, for more or for another request, must end soon.
        idle_timeout: Duration::from_millis(20),
        head_timeout: Duration::from_millis(20),
        body_timeout: Duration::from_millis(20),
        ..options()
    };
    let server = Running::start(routes(), options).await;
    let random = Random::seeded(20_261_121);
    let whole = post(
        "/echo",
        "x-nexus-node: flowpay\r\nconnection: close\r\n",
        "{\"a\":1}",
    );
    for at in 0..whole.len() {
        let mut changed = whole.clone().into_bytes();
        changed[at] = random.bytes::<1>()[0];
        let mut client = server.client().await;
        // A server that has read enough may have closed before all was written.
        let _ = client.stream.write_all(&changed).await;
        let mut answer = Vec::new();
        let _ = soon(client.stream.read_to_end(&mut answer)).await;
        let status = answer
            .get(9..12)
            .map(|status| String::from_utf8_lossy(status).into_owned());
        let known = [
            "200", "400", "404", "405", "408", "413", "415", "431", "204",
        ];
        let is_known = status
            .as_deref()
            .is_none_or(|status| known.contains(&status));
        assert!(
            is_known,
            "{:?}: {status:?}",
            String::from_utf8_lossy(&changed)
        );
    }
    // With such deadlines a busy machine may be too slow once, but not for ever.
    soon(async {
        loop {
            let mut client = server.client().await;
            let _ = client.stream.write_all(get("/hello", "").as_bytes()).await;
            let mut answer = [0; 12];
            let read = client.stream.read_exact(&mut answer).await;
            if read.is_ok() && answer.ends_with(b" 200") {
                return;
            }
        }
    })
    .await;
}
