//! Sockets that are handed over to another protocol.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper_util::rt::TokioIo;
use nexus_http::{Access, Call, Reply, Route, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Running, get, options, routes, soon};

const UPGRADE: &str = "connection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n";

fn switching() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers
}

/// Echoes until the server drains, and then says so.
fn echo() -> Route {
    Route::get("/ws", Access::Stream, |call: Call| async move {
        if !call.is_websocket_upgrade() {
            return Ok(Reply::empty(StatusCode::UPGRADE_REQUIRED));
        }
        Ok(Reply::upgrade(switching(), |socket, draining| async move {
            let mut socket = TokioIo::new(socket);
            let mut buffer = [0; 1024];
            loop {
                tokio::select! {
                    () = draining.cancelled() => {
                        let _ = socket.write_all(b"bye").await;
                        let _ = socket.shutdown().await;
                        return;
                    }
                    read = socket.read(&mut buffer) => match read {
                        Ok(read) if read > 0 => {
                            let _ = socket.write_all(&buffer[..read]).await;
                        }
                        _ => return,
                    },
                }
            }
        }))
    })
}

#[tokio::test]
async fn the_socket_is_handed_over_and_told_when_the_server_drains() {
    let server = Running::start(vec![echo()], options()).await;
    let mut client = server.client().await;
    // What comes with the request belongs to the new protocol.
    client.send(&format!("{}early", get("/ws", UPGRADE))).await;
    let answer = client.head().await;
    assert_eq!(answer.status(), 101);
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    assert!(answer.header("x-request-id").is_some());
    client.expect("early").await;
    client.send("late").await;
    client.expect("late").await;

    server.shutdown.cancel();
    client.expect("bye").await;
    assert!(client.is_closed().await);
    soon(server.ended).await.unwrap();
}

#[tokio::test]
async fn no_deadline_of_http_holds_for_an_upgraded_socket() {
    let short = Duration::from_secs(1);
    let options = ServerOptions {
        head_timeout: short,
        idle_timeout: short,
        body_timeout: short,
        write_timeout: short,
        ..options()
    };
    let server = Running::start(vec![echo()], options).await;
    let mut client = server.client().await;
    client.send(&get("/ws", UPGRADE)).await;
    assert_eq!(client.head().await.status(), 101);
    tokio::time::sleep(short * 2).await;
    client.send("still here").await;
    client.expect("still here").await;
}

#[tokio::test]
async fn an_upgraded_socket_keeps_its_place_until_it_ends() {
    let mut routes = routes();
    routes.push(echo());
    let options = ServerOptions {
        connections_max: 1,
        ..options()
    };
    let server = Running::start(routes, options).await;
    let mut socket = server.client().await;
    socket.send(&get("/ws", UPGRADE)).await;
    assert_eq!(socket.head().await.status(), 101);
    server
        .get("/hello", "")
        .await
        .assert_problem(503, "unavailable");
    drop(socket);
    soon(async {
        while server.get("/hello", "").await.status() != 200 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_socket_that_does_not_listen_is_ended() {
    let deaf = Route::get("/ws", Access::Stream, |_| async {
        Ok(Reply::upgrade(
            switching(),
            |socket, _draining| async move {
                let _socket = socket;
                std::future::pending::<()>().await;
            },
        ))
    });
    let options = ServerOptions {
        drain_timeout: Duration::from_millis(50),
        ..options()
    };
    let server = Running::start(vec![deaf], options).await;
    let mut client = server.client().await;
    client.send(&get("/ws", UPGRADE)).await;
    assert_eq!(client.head().await.status(), 101);
    server.shutdown.cancel();
    soon(server.ended).await.unwrap();
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn an_upgrade_that_was_not_asked_for_is_refused() {
    let always = Route::get("/ws", Access::Stream, |_| async {
        Ok(Reply::upgrade(switching(), |_, _| async {}))
    });
    let server = Running::start(vec![always], options()).await;
    server
        .get("/ws", "")
        .await
        .assert_problem(400, "invalid-request");
}
