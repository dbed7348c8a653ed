//! What comes back: whole, bounded in size and time, and never a hang.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use nexus_core::Coded;
use nexus_outbound::{Client, Error, Keep, OutboundOptions, Trust};
use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::support::*;

const PAUSE: Duration = Duration::from_millis(2);

#[tokio::test]
async fn what_is_sent_arrives_and_the_answer_comes_back() {
    let server = Server::start(Then::Echo).await;
    let mut call = get(&server.url(), Trust::Configured);
    call.method = Method::POST;
    call.headers
        .insert("idempotency-key", "mint:tx-1".parse().unwrap());
    call.body = Bytes::from_static(br#"{"amount":1250}"#);
    let answer = client().send(call).await.unwrap();
    assert!(answer.is_success());
    let request = String::from_utf8_lossy(&answer.body).to_lowercase();
    assert!(request.starts_with("post /path http/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{\"amount\":1250}"), "{request}");
    for expected in [
        format!("host: {}", server.address),
        "idempotency-key: mint:tx-1".to_owned(),
        "user-agent: nexus/".to_owned(),
        "content-length: 15".to_owned(),
    ] {
        assert!(request.contains(&expected), "{expected} in {request}");
    }
}

#[tokio::test]
async fn a_status_that_means_failure_is_an_answer() {
    let answer = "HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 4\r\n\r\nlate";
    let server = Server::start(Then::Answer(answer.into())).await;
    let answer = client()
        .send(get(&server.url(), Trust::Configured))
        .await
        .unwrap();
    assert_eq!((answer.status, &answer.body[..]), (503, &b"late"[..]));
    assert_eq!(answer.headers["retry-after"], "7");
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_bound() {
    const LIMIT: usize = 1000;
    let client = Client::new(&OutboundOptions {
        answer_bytes_max: LIMIT,
        ..OutboundOptions::default()
    })
    .unwrap();
    let of_length = |length: usize| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        Then::Answer(head + &"x".repeat(length))
    };
    let exact = Server::start(of_length(LIMIT)).await;
    let answer = client
        .send(get(&exact.url(), Trust::Configured))
        .await
        .unwrap();
    assert_eq!(answer.body.len(), LIMIT);

    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    for then in [
        of_length(LIMIT + 1),
        // Said to be huge, and never sent.
        Then::Answer("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999\r\n\r\n".into()),
        // Of no known length, and without an end.
        Then::Repeat(chunked, "10\r\nxxxxxxxxxxxxxxxx\r\n", PAUSE),
        Then::Repeat("HTTP/1.0 200 OK\r\n\r\n", "yyyyyyyyyyyyyyyy", PAUSE),
    ] {
        let server = Server::start(then).await;
        let error = client
            .send(get(&server.url(), Trust::Configured))
            .await
            .unwrap_err();
        let too_large = matches!(
            error,
            Error::AnswerTooLarge {
                limit_bytes: LIMIT,
                status: 200
            }
        );
        assert!(too_large && !error.is_transient(), "{error:?}");
    }
}

#[tokio::test]
async fn the_beginning_of_an_answer_is_enough_where_the_call_says_so() {
    let of_length = |length: usize| {
        let head = format!("HTTP/1.1 503 Busy\r\ncontent-length: {length}\r\n\r\n");
        Then::Answer(head + &"x".repeat(length))
    };
    let chunked = "HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\n";
    let client = client();
    for (then, keep, expected, is_cut) in [
        (of_length(10), 10, 10, false),
        (of_length(11), 10, 10, true),
        (of_length(1), 0, 0, true),
        (of_length(0), 0, 0, false),
        (of_length(1 << 20), 4096, 4096, true),
        // The client's own bound stays.
        (of_length(1 << 20), usize::MAX, 64 * 1024, true),
        (
            Then::Repeat(chunked, "10\r\nxxxxxxxxxxxxxxxx\r\n", PAUSE),
            40,
            40,
            true,
        ),
    ] {
        let server = Server::start(then).await;
        let mut call = get(&server.url(), Trust::Configured);
        call.keep = Keep::First(keep);
        let answer = client.send(call).await.unwrap();
        let kept = (answer.status, answer.body.len(), answer.is_cut);
        assert_eq!(kept, (503, expected, is_cut));
    }
}

#[tokio::test]
async fn an_answer_is_not_unpacked() {
    // A few bytes that would become many.
    let packed = "\u{1f}packed, and said to be";
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n{packed}",
        packed.len()
    );
    let server = Server::start(Then::Answer(answer)).await;
    let call = get(&server.url(), Trust::Configured);
    let answer = client().send(call).await.unwrap();
    assert_eq!(answer.body, packed);
    let server = Server::start(Then::Echo).await;
    let call = get(&server.url(), Trust::Configured);
    let asked = client().send(call).await.unwrap().body;
    let asked = String::from_utf8_lossy(&asked).to_lowercase();
    assert!(!asked.contains("accept-encoding"), "{asked}");
}

#[tokio::test]
async fn an_answer_of_a_gigabyte_is_left_after_its_bound() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1073741824\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let piece = || "y".repeat(1 << 16);
    let framed = format!("{:x}\r\n{}\r\n", 1 << 16, piece());
    for (head, piece, keep) in [
        (chunked, framed.as_str(), Keep::Whole),
        (chunked, framed.as_str(), Keep::First(4096)),
        (head, piece().as_str(), Keep::First(4096)),
    ] {
        let server = Flood::start(head, piece.to_owned(), 1 << 30).await;
        let mut call = get(&server.url(), Trust::Configured);
        call.keep = keep;
        match client().send(call).await {
            Ok(answer) => assert_eq!((answer.body.len(), answer.is_cut), (4096, true)),
            Err(error) => assert_eq!(error.code(), "outbound-answer-too-large"),
        }
        // What left the server are the buffers of two sockets, and no more: nobody took it.
        let sent = server.sent_when_closed().await;
        assert!(sent < 32 << 20, "{sent} bytes were sent");
    }
}

#[tokio::test]
async fn a_slow_answer_ends_with_the_calls_time() {
    const TIMEOUT: Duration = Duration::from_millis(150);
    let head = "HTTP/1.1 200 OK\r\n";
    for then in [
        // Nothing at all, headers without an end, a body without an end.
        Then::Answer(String::new()),
        Then::Repeat(head, "x: y\r\n", PAUSE * 10),
        Then::Repeat(
            "HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n",
            "z",
            PAUSE,
        ),
    ] {
        let server = Server::start(then).await;
        let mut call = get(&server.url(), Trust::Configured);
        call.timeout = TIMEOUT;
        let error = client().send(call).await.unwrap_err();
        let timed_out = matches!(error, Error::Timeout { timeout: TIMEOUT });
        assert!(timed_out && error.is_transient(), "{error:?}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_told_from_one_that_never_stood() {
    for then in [
        Then::Close(""),
        Then::Close("HTTP/1.1 200 OK\r\n"),
        Then::Close("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"),
        Then::Close("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        Then::Close("this is not HTTP\r\n\r\n"),
    ] {
        let server = Server::start(then).await;
        let error = client()
            .send(get(&server.url(), Trust::Configured))
            .await
            .unwrap_err();
        assert_eq!(error.code(), "outbound-interrupted", "{error:?}");
        assert!(error.is_transient());
    }
    // A port that was free a moment ago.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let call = get(&format!("http://{closed}/"), Trust::Configured);
    let error = client().send(call).await.unwrap_err();
    assert_eq!(error.code(), "outbound-unreachable", "{error:?}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn https_speaks_tls_without_a_provider_for_the_whole_process() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let heard = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut first = [0; 3];
        stream.read_exact(&mut first).await.unwrap();
        first
    });
    let error = client()
        .send(get(&url, Trust::Configured))
        .await
        .unwrap_err();
    assert_eq!(error.code(), "outbound-unreachable", "{error:?}");
    // A TLS record that holds a handshake.
    assert_eq!(heard.await.unwrap()[..2], [0x16, 0x03]);
    assert!(rustls::crypto::CryptoProvider::get_default().is_none());
}

#[tokio::test]
async fn an_opened_answer_comes_piece_by_piece_until_its_silence_is_too_long() {
    /// Before it, what was said must have come, however busy the machine is.
    const SILENCE: Duration = Duration::from_secs(1);
    const PATIENCE: Duration = Duration::from_secs(30);
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-from: 7\r\n\r\n";
    let endless = Server::start(Then::Repeat(chunked, "4\r\nmore\r\n", PAUSE)).await;
    // As much as is wanted: the bound of a whole answer is not that of a stream.
    let client = Client::new(&OutboundOptions {
        answer_bytes_max: 8,
        ..OutboundOptions::default()
    })
    .unwrap();
    let call = get(&endless.url(), Trust::Configured);
    let mut opened = client.open(call, PATIENCE).await.unwrap();
    assert!(opened.is_success());
    assert_eq!(opened.headers["x-from"], "7");
    let mut received = Vec::new();
    while received.len() < 64 {
        received.extend_from_slice(&opened.chunk().await.unwrap().unwrap());
    }
    assert!(received.starts_with(b"moremoremore"));

    let silent = Server::start(Then::Answer(format!("{chunked}4\r\nonce\r\n"))).await;
    let call = get(&silent.url(), Trust::Configured);
    let mut opened = client.open(call, SILENCE).await.unwrap();
    assert_eq!(&opened.chunk().await.unwrap().unwrap()[..], b"once");
    let error = opened.chunk().await.unwrap_err();
    assert!(
        matches!(error, Error::Timeout { timeout: SILENCE }),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_opened_answer_tells_its_end_from_a_connection_that_breaks() {
    let whole = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nend\r\n0\r\n\r\n";
    let broken = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nend\r\n3\r\nn";
    for (answer, ends) in [(whole, true), (broken, false)] {
        let server = Server::start(Then::Close(answer)).await;
        let call = get(&server.url(), Trust::Configured);
        let mut opened = client().open(call, Duration::from_secs(10)).await.unwrap();
        let mut received = Vec::new();
        let end = loop {
            match opened.chunk().await {
                Ok(Some(piece)) => received.extend_from_slice(&piece),
                Ok(None) => break true,
                Err(error) => {
                    assert_eq!(error.code(), "outbound-interrupted", "{error:?}");
                    break false;
                }
            }
        };
        assert_eq!((end, received.starts_with(b"end")), (ends, true));
    }
    let refused = get("http://10.0.0.1/", Trust::Foreign);
    let refused = client().open(refused, PAUSE).await.unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused:?}");
}
