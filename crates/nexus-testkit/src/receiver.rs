//! An outside node: answers over HTTP what a test says, and keeps what it was sent.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use url::Url;

/// How long [`Receiver::wait`] waits before it says that nothing came.
const WAIT: Duration = Duration::from_secs(30);

/// What the receiver was sent.
#[derive(Debug, Clone)]
pub struct Received {
    /// Method and target.
    pub line: String,
    /// The headers, each as it came.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Received {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A header; empty when it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// A status line's end, headers and a body: `"200 OK"`, `"Retry-After: 1\r\n"`, `"{}"`.
pub type Answer = (&'static str, &'static str, String);

/// A node at an address of this machine.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// Answers the n-th request, counted from 0, with what the function gives.
    pub async fn new<F>(answer: F) -> Self
    where
        F: Fn(usize, &Received) -> Answer + Send + Sync + 'static,
    {
        Self::at("127.0.0.1", answer).await
    }

    /// The same at another address of this machine.
    pub async fn at<F>(address: &str, answer: F) -> Self
    where
        F: Fn(usize, &Received) -> Answer + Send + Sync + 'static,
    {
        let answer = move |number: usize, received: &Received| Some(answer(number, received));
        Self::begin(address, answer).await
    }

    /// One that takes everything.
    pub async fn agreeable() -> Self {
        Self::new(|_, _| ("200 OK", "", String::new())).await
    }

    /// One that takes everything and never answers.
    pub async fn silent() -> Self {
        Self::begin("127.0.0.1", |_, _| None).await
    }

    async fn begin<F>(address: &str, answer: F) -> Self
    where
        F: Fn(usize, &Received) -> Option<Answer> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::<Vec<Received>>::default());
        let kept = received.clone();
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (kept, answer) = (kept.clone(), answer.clone());
                tokio::spawn(async move {
                    let _ = serve(socket, &kept, &*answer).await;
                });
            }
        });
        Self { address, received }
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> Url {
        format!("http://{}", self.address).parse().unwrap()
    }

    /// Where it is, as the address of a webhook.
    #[must_use]
    pub fn hook(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Everything that it was sent so far, in order.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().clone()
    }

    /// Waits for so many requests.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn wait(&self, count: usize) -> Vec<Received> {
        let deadline = Instant::now() + WAIT;
        loop {
            let received = self.received();
            if received.len() >= count {
                return received;
            }
            let got = received.len();
            assert!(Instant::now() < deadline, "{got} of {count} requests came");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn serve(
    mut socket: TcpStream,
    kept: &Mutex<Vec<Received>>,
    answer: &(dyn Fn(usize, &Received) -> Option<Answer> + Send + Sync),
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let Some(head_bytes) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else {
            if socket.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..head_bytes]).into_owned();
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default();
        let headers: HeaderMap = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect();
        let length = headers.get("content-length").map_or(0, |length| {
            length.to_str().unwrap().parse::<usize>().unwrap()
        });
        while bytes.len() < head_bytes + 4 + length {
            if socket.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
        let body = bytes[head_bytes + 4..head_bytes + 4 + length].to_vec();
        bytes.drain(..head_bytes + 4 + length);
        let line = line.trim_end_matches(" HTTP/1.1").to_owned();
        let received = Received {
            line,
            headers,
            body,
        };
        let number = {
            let mut kept = kept.lock();
            kept.push(received.clone());
            kept.len() - 1
        };
        let Some((status, headers, body)) = answer(number, &received) else {
            // Until the other side has had enough.
            while socket.read_buf(&mut bytes).await? > 0 {
                bytes.clear();
            }
            return Ok(());
        };
        let length = body.len();
        let reply = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}");
        socket.write_all(reply.as_bytes()).await?;
    }
}
