//! A client that is slow at any point is let go, and told why where it can be.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use nexus_http::{Access, Reply, Route, ServerOptions};
use tokio::{io::AsyncWriteExt, time::sleep};

use super::support::{Running, get, options, post, routes, soon};

/// Short for a test, and long enough for a busy machine to do what should come before it.
const SHORT: Duration = Duration::from_secs(1);

fn with(change: impl FnOnce(&mut ServerOptions)) -> ServerOptions {
    let mut options = options();
    change(&mut options);
    options
}

#[tokio::test]
async fn a_head_that_does_not_end_is_408() {
    let server = Running::start(routes(), with(|options| options.head_timeout = SHORT)).await;
    // The time of the server may begin before this thread goes on.
    let started = Instant::now();
    let mut client = server.client().await;
    client.send("GET /hello HTTP/1.1\r\nhost: hub.ex").await;
    client.answer().await.assert_problem(408, "timeout");
    assert!(started.elapsed() >= SHORT);
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn a_head_that_drips_is_408_all_the_same() {
    let server = Running::start(routes(), with(|options| options.head_timeout = SHORT)).await;
    let mut client = server.client().await;
    client.send("GET /hello HTTP/1.1\r\nx-drip: ").await;
    // Drips until the server has had enough; each drop would restart a naive timer.
    let refused = async {
        while client.stream.write_all(b"x").await.is_ok() {
            sleep(SHORT / 10).await;
        }
    };
    soon(refused).await;
}

#[tokio::test]
async fn a_connection_without_a_byte_is_closed() {
    let server = Running::start(routes(), with(|options| options.head_timeout = SHORT)).await;
    assert!(server.client().await.is_closed().await);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_not_before_its_time() {
    let server = Running::start(routes(), with(|options| options.idle_timeout = SHORT)).await;
    let mut client = server.client().await;
    let mut asked = Instant::now();
    for _ in 0..3 {
        asked = Instant::now();
        let answer = client.ask(&get("/hello", "")).await;
        assert_eq!(answer.status(), 200);
    }
    assert!(client.is_closed().await);
    // It was not idle before it was asked.
    assert!(asked.elapsed() >= SHORT);
}

#[tokio::test]
async fn the_head_deadline_holds_for_later_requests_too() {
    let options = with(|options| options.head_timeout = SHORT);
    let server = Running::start(routes(), options).await;
    let mut client = server.client().await;
    assert_eq!(client.ask(&get("/hello", "")).await.status(), 200);
    // Longer than the head's deadline, which does not run yet.
    sleep(SHORT * 2).await;
    client.send("GET /hel").await;
    client.answer().await.assert_problem(408, "timeout");
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let server = Running::start(routes(), with(|options| options.body_timeout = SHORT)).await;
    let requests = [
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n",
        "POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n12345",
        "POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n",
    ];
    for request in requests {
        let mut client = server.client().await;
        let answer = client.ask(request).await;
        answer.assert_problem(408, "timeout");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(client.is_closed().await);
    }
}

#[tokio::test]
async fn a_handler_may_take_longer_than_every_deadline() {
    let slow = Route::post("/slow", Access::Open, |_| async {
        sleep(SHORT * 3).await;
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    });
    let options = with(|options| {
        options.head_timeout = SHORT;
        options.body_timeout = SHORT;
        options.idle_timeout = SHORT;
        options.write_timeout = SHORT;
    });
    let server = Running::start(vec![slow], options).await;
    assert_eq!(server.ask(&post("/slow", "", "{}")).await.status(), 204);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go() {
    let large = Route::get("/large", Access::Open, |_| async {
        let body = Bytes::from(vec![b'x'; 32 << 20]);
        Ok(Reply::bytes(StatusCode::OK, "text/plain", body))
    });
    let options = with(|options| {
        options.write_timeout = SHORT;
        options.connections_max = 1;
    });
    let mut routes = routes();
    routes.push(large);
    let server = Running::start(routes, options).await;
    let mut stuck = server.client().await;
    stuck.send(&get("/large", "")).await;
    assert_eq!(stuck.head().await.status(), 200);
    // There is one place, so another client is served only once the first one has lost it.
    let replaced = async {
        while server.get("/hello", "").await.status() != 200 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    soon(replaced).await;
}
