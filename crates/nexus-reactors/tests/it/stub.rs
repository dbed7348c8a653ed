//! An outside node: answers what a test says, and keeps what it was sent.

use std::{net::SocketAddr, sync::Arc};

use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use url::Url;

/// What the node was sent.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Method and target.
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

/// An outside node.
pub(crate) struct Stub {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Stub {
    /// Answers the n-th request, counted from 0, with the status line's end, headers and body that the
    /// function gives: `"200 OK"`, `"Retry-After: 1\r\n"`, `"{}"`.
    pub(crate) async fn new<F>(answer: F) -> Self
    where
        F: Fn(usize, &Received) -> (&'static str, &'static str, String) + Send + Sync + 'static,
    {
        Self::at("127.0.0.1", answer).await
    }

    /// The same at another address of this machine.
    pub(crate) async fn at<F>(address: &str, answer: F) -> Self
    where
        F: Fn(usize, &Received) -> (&'static str, &'static str, String) + Send + Sync + 'static,
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

    pub(crate) fn url(&self) -> Url {
        format!("http://{}", self.address).parse().unwrap()
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().clone()
    }
}

async fn serve(
    mut socket: TcpStream,
    kept: &Mutex<Vec<Received>>,
    answer: &(dyn Fn(usize, &Received) -> (&'static str, &'static str, String) + Send + Sync),
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
            socket.read_buf(&mut bytes).await?;
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
        let (status, headers, body) = answer(number, &received);
        let length = body.len();
        let reply = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}");
        socket.write_all(reply.as_bytes()).await?;
    }
}
