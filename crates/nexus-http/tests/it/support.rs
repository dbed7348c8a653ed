//! A server to test, and a client that sends what it is told to, well formed or not.

use std::{future::Future, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use nexus_http::{Access, Call, Reply, Route, Server, ServerOptions};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Nothing in these tests takes this long unless it is broken.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits, but not for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it took too long")
}

/// Options that do not get in the way: no rates, short patience when draining.
pub(crate) fn options() -> ServerOptions {
    ServerOptions {
        anonymous_rate: None,
        ..ServerOptions::default()
    }
}

/// `GET /hello`, `POST /echo` (JSON), `GET /panic`.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        Route::get("/hello", Access::Open, |_| async {
            Ok(Reply::json(StatusCode::OK, &"hello"))
        }),
        Route::post("/echo", Access::Open, |call: Call| async move {
            let seen = json!({
                "bytes": call.body.len(),
                "path": call.path(),
                "remote": call.remote.to_string(),
                "request_id": &*call.request_id,
                "traceparent": call.traceparent.as_deref(),
            });
            Ok(Reply::json(StatusCode::OK, &seen))
        }),
        Route::get("/panic", Access::Open, |_| async { panic!("on purpose") }),
    ]
}

/// A server that runs until it is shut down or the test ends.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) ended: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(routes: Vec<Route>, options: ServerOptions) -> Self {
        let address = ([127, 0, 0, 1], 0).into();
        let server = Server::bind(address, routes, options).await.unwrap();
        let address = server.local_addr();
        let shutdown = CancellationToken::new();
        let ended = tokio::spawn(server.run(shutdown.clone()));
        Self {
            address,
            shutdown,
            ended,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client {
            stream,
            unread: Vec::new(),
        }
    }

    /// Sends one request on a connection of its own.
    pub(crate) async fn ask(&self, request: &str) -> Answer {
        self.client().await.ask(request).await
    }

    /// GET with these extra header lines.
    pub(crate) async fn get(&self, path: &str, lines: &str) -> Answer {
        self.ask(&get(path, lines)).await
    }
}

/// A GET request; `lines` are further header lines, each with its CRLF.
pub(crate) fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: hub.example\r\n{lines}\r\n")
}

/// A POST request with a body of a declared length.
pub(crate) fn post(path: &str, lines: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: hub.example\r\ncontent-length: {length}\r\n{lines}\r\n{body}"
    )
}

/// One connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

impl Client {
    pub(crate) async fn send(&mut self, text: &str) {
        soon(self.stream.write_all(text.as_bytes())).await.unwrap();
    }

    pub(crate) async fn ask(&mut self, request: &str) -> Answer {
        self.send(request).await;
        self.answer().await
    }

    /// The next answer, with its body.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        let length = answer
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        while self.unread.len() < length {
            assert!(self.read().await > 0, "the body ended early");
        }
        answer.body = Bytes::from(self.unread.drain(..length).collect::<Vec<_>>());
        answer
    }

    /// The head of the next answer.
    pub(crate) async fn head(&mut self) -> Answer {
        loop {
            let end = self.unread.windows(4).position(|part| part == b"\r\n\r\n");
            if let Some(end) = end {
                let head: Vec<u8> = self.unread.drain(..end + 4).collect();
                return Answer {
                    head: String::from_utf8(head).unwrap(),
                    body: Bytes::new(),
                };
            }
            let read = self.read().await;
            assert!(read > 0, "closed after {:?}", self.unread);
        }
    }

    /// Whether the server ends the connection without another byte.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && self.read().await == 0
    }

    /// Exactly these bytes come next.
    pub(crate) async fn expect(&mut self, text: &str) {
        while self.unread.len() < text.len() {
            assert!(self.read().await > 0, "closed after {:?}", self.unread);
        }
        let read: Vec<u8> = self.unread.drain(..text.len()).collect();
        assert_eq!(String::from_utf8(read).unwrap(), text);
    }

    async fn read(&mut self) -> usize {
        // A reset is an end as well.
        soon(self.stream.read_buf(&mut self.unread))
            .await
            .unwrap_or(0)
    }
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head[9..12].parse().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that it is a problem with this status and code, and whole.
    pub(crate) fn assert_problem(&self, status: u16, code: &str) {
        assert_eq!(self.status(), status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], format!("urn:nexus:problem:{code}"));
        assert_eq!(problem["error"], problem["title"]);
        assert_eq!(problem["message"], problem["detail"]);
        assert_eq!(problem["request_id"], self.header("x-request-id").unwrap());
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"));
    }
}
