//! One request over HTTP, and its answer.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::soon;

/// A request that was read whole.
pub(crate) struct Request {
    stream: TcpStream,
    /// The method and the path with its query.
    pub(crate) line: String,
    headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) async fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        let reading = async {
            loop {
                if let Some(request) = parse(&bytes) {
                    return request;
                }
                assert_ne!(
                    stream.read_buf(&mut bytes).await.unwrap(),
                    0,
                    "half a request"
                );
            }
        };
        let (line, headers, body) = soon("a request", reading).await;
        Self {
            stream,
            line,
            headers,
            body,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Answers and closes.
    pub(crate) async fn answer(self, status: u16, headers: &str, body: &str) {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} Said\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n"
        );
        self.write(&(head + body)).await;
    }

    /// Answers that an event was stored.
    pub(crate) async fn stored(self, position: &str) {
        let body = format!(
            r#"{{"success":true,"data":{{"id":"01930000-0000-7000-8000-000000000007","position":"{position}","seq":7,"topic":"order.paid","time":"2026-11-21T06:00:00.123456Z"}},"timestamp":"2026-11-21T06:00:00.123Z"}}"#
        );
        self.answer(201, "", &body).await;
    }

    /// Begins an event stream.
    pub(crate) async fn stream(mut self, position: &str) -> Stream {
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nnexus-position: {position}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        self.stream.write_all(head.as_bytes()).await.unwrap();
        Stream(self.stream)
    }

    /// Ends the connection without an answer.
    pub(crate) fn hang_up(self) {}

    async fn write(mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
        self.stream.shutdown().await.unwrap();
    }
}

/// The body of an answer that goes on.
pub(crate) struct Stream(TcpStream);

impl Stream {
    pub(crate) async fn say(&mut self, text: &str) {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        self.0.write_all(chunk.as_bytes()).await.unwrap();
    }

    /// Ends the body in order.
    pub(crate) async fn end(mut self) {
        self.0.write_all(b"0\r\n\r\n").await.unwrap();
    }

    /// Waits until the client has gone away.
    pub(crate) async fn left(mut self) {
        let mut rest = [0; 16];
        // A reset is an end too.
        let _ = soon("the end of the stream", self.0.read(&mut rest)).await;
    }
}

type Parsed = (String, BTreeMap<String, String>, String);

fn parse(bytes: &[u8]) -> Option<Parsed> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let line = lines.next()?.strip_suffix(" HTTP/1.1")?.to_owned();
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers
        .get("content-length")
        .map_or(0, |text| text.parse().unwrap());
    (body.len() >= length).then(|| (line, headers, body.to_owned()))
}
