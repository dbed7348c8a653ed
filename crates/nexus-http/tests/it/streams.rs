//! Answers that are written for as long as they last.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::StatusCode;
use http_body_util::StreamBody;
use hyper::body::Frame;
use nexus_http::{Access, Call, Reply, Route, ServerOptions};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::support::{Running, get, options, routes, soon};

type Piece = Result<Frame<Bytes>, Infallible>;

fn piece(bytes: impl Into<Bytes>) -> Piece {
    Ok(Frame::data(bytes.into()))
}

/// `GET /stream`: what the test sends, then `bye` once the server drains.
fn told() -> (mpsc::UnboundedSender<&'static str>, Route) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let route = Route::get("/stream", Access::Stream, move |_: Call| {
        let receiver = receiver.lock().unwrap().take();
        async move {
            Ok(Reply::stream(
                StatusCode::OK,
                "text/event-stream",
                move |draining| {
                    let texts = stream::unfold(receiver.unwrap(), |mut receiver| async {
                        Some((receiver.recv().await?, receiver))
                    });
                    let pieces = texts.map(piece).take_until(draining.cancelled_owned());
                    StreamBody::new(pieces.chain(stream::iter([piece("bye")])))
                },
            ))
        }
    });
    (sender, route)
}

fn chunk(text: &str) -> String {
    format!("{:X}\r\n{text}\r\n", text.len())
}

#[tokio::test]
async fn pieces_are_sent_as_they_come_and_end_with_the_server() {
    let (pieces, route) = told();
    let server = Running::start(vec![route], options()).await;
    let mut client = server.client().await;
    client
        .send(&get("/stream", "accept-encoding: gzip\r\n"))
        .await;
    let head = client.head().await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(head.header("transfer-encoding"), Some("chunked"));
    assert_eq!(head.header("content-encoding"), None);
    assert_eq!(head.header("content-length"), None);
    assert!(head.header("x-request-id").is_some());
    for text in ["one", "two"] {
        pieces.send(text).unwrap();
        client.expect(&chunk(text)).await;
    }
    server.shutdown.cancel();
    client.expect(&chunk("bye")).await;
    client.expect("0\r\n\r\n").await;
    assert!(client.is_closed().await);
    soon(server.ended).await.unwrap();
}

#[tokio::test]
async fn no_deadline_holds_while_a_stream_is_open_and_the_next_request_has_its_own() {
    let short = Duration::from_secs(1);
    let options = ServerOptions {
        head_timeout: short,
        idle_timeout: short,
        body_timeout: short,
        write_timeout: short,
        ..options()
    };
    let (pieces, route) = told();
    let mut all = routes();
    all.push(route);
    let server = Running::start(all, options).await;
    let mut client = server.client().await;
    client.send(&get("/stream", "")).await;
    assert_eq!(client.head().await.status(), 200);
    // What is shown is that nothing happens, for longer than any deadline.
    tokio::time::sleep(short * 2).await;
    pieces.send("still here").unwrap();
    client.expect(&chunk("still here")).await;
    drop(pieces);
    client.expect(&chunk("bye")).await;
    client.expect("0\r\n\r\n").await;
    // The connection goes on, and is idle again.
    let answer = client.ask(&get("/hello", "")).await;
    assert_eq!(answer.status(), 200);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn an_old_client_gets_a_stream_that_ends_with_the_connection() {
    let (pieces, route) = told();
    let server = Running::start(vec![route], options()).await;
    let mut client = server.client().await;
    client.send("GET /stream HTTP/1.0\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.header("transfer-encoding"), None);
    pieces.send("one").unwrap();
    client.expect("one").await;
    drop(pieces);
    client.expect("bye").await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn head_gets_the_headers_and_starts_nothing() {
    let started = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&started);
    let route = Route::get("/stream", Access::Stream, move |_: Call| {
        let seen = Arc::clone(&seen);
        async move {
            Ok(Reply::stream(
                StatusCode::OK,
                "text/event-stream",
                move |_| {
                    seen.store(true, Ordering::Relaxed);
                    StreamBody::new(stream::iter([piece("one")]))
                },
            ))
        }
    });
    let mut all = routes();
    all.push(route);
    let server = Running::start(all, options()).await;
    let mut client = server.client().await;
    client
        .send("HEAD /stream HTTP/1.1\r\nhost: hub.example\r\n\r\n")
        .await;
    let head = client.head().await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    let answer = client.ask(&get("/hello", "")).await;
    assert_eq!(answer.body, "\"hello\"");
    assert!(!started.load(Ordering::Relaxed));
}

/// A stream without end, and how much of it was asked for.
fn endless() -> (Route, Arc<AtomicU64>, CancellationToken) {
    let asked = Arc::new(AtomicU64::new(0));
    let dropped = CancellationToken::new();
    let (counter, guard) = (Arc::clone(&asked), dropped.clone());
    let route = Route::get("/stream", Access::Stream, move |_: Call| {
        let (counter, guard) = (Arc::clone(&counter), guard.clone().drop_guard());
        async move {
            Ok(Reply::stream(
                StatusCode::OK,
                "text/event-stream",
                move |_| {
                    let large = Bytes::from(vec![b'x'; PIECE_BYTES]);
                    StreamBody::new(stream::repeat_with(move || {
                        let _ = &guard;
                        counter.fetch_add(1, Ordering::Relaxed);
                        piece(large.clone())
                    }))
                },
            ))
        }
    });
    (route, asked, dropped)
}

const PIECE_BYTES: usize = 256 * 1024;

#[tokio::test]
async fn a_client_that_takes_nothing_of_a_stream_is_let_go() {
    let (route, asked, dropped) = endless();
    let options = ServerOptions {
        write_timeout: Duration::from_millis(500),
        ..options()
    };
    let server = Running::start(vec![route], options).await;
    let mut client = server.client().await;
    client.send(&get("/stream", "")).await;
    assert_eq!(client.head().await.status(), 200);
    soon(dropped.cancelled()).await;
    // All that was asked for is in the buffers of the system now, but for two pieces.
    let asked = asked.load(Ordering::Relaxed);
    let mut received = 0;
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        match soon(tokio::io::AsyncReadExt::read(
            &mut client.stream,
            &mut buffer,
        ))
        .await
        {
            Ok(read) if read > 0 => received += read as u64,
            _ => break,
        }
    }
    let held = asked - received / PIECE_BYTES as u64;
    assert!(
        held <= 3,
        "{held} pieces were held for a client that took none"
    );
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_stream() {
    let dropped = CancellationToken::new();
    let guard = dropped.clone();
    let route = Route::get("/stream", Access::Stream, move |_: Call| {
        let guard = guard.clone().drop_guard();
        async move {
            Ok(Reply::stream(
                StatusCode::OK,
                "text/event-stream",
                move |_| {
                    let silent = stream::pending::<Piece>().map(move |piece| {
                        let _ = &guard;
                        piece
                    });
                    StreamBody::new(silent)
                },
            ))
        }
    });
    let server = Running::start(vec![route], options()).await;
    let mut client = server.client().await;
    client.send(&get("/stream", "")).await;
    assert_eq!(client.head().await.status(), 200);
    drop(client);
    soon(dropped.cancelled()).await;
}

#[tokio::test]
async fn a_stream_that_does_not_listen_is_cut_off() {
    let route = Route::get("/stream", Access::Stream, |_: Call| async {
        Ok(Reply::stream(StatusCode::OK, "text/event-stream", |_| {
            StreamBody::new(stream::pending::<Piece>())
        }))
    });
    let options = ServerOptions {
        drain_timeout: Duration::from_millis(50),
        ..options()
    };
    let server = Running::start(vec![route], options).await;
    let mut client = server.client().await;
    client.send(&get("/stream", "")).await;
    assert_eq!(client.head().await.status(), 200);
    server.shutdown.cancel();
    soon(server.ended).await.unwrap();
    assert!(client.is_closed().await);
}
