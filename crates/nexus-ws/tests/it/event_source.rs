//! A client of server-sent events that shows every line, as the HTML standard reads them.

use std::net::SocketAddr;

use nexus_core::Position;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use crate::harness::{ADMIN_TOKEN, PATIENCE};

/// What came between two empty lines.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) id: Option<String>,
    pub(crate) event: Option<String>,
    pub(crate) data: Vec<String>,
    pub(crate) retry: Option<u64>,
    pub(crate) comments: usize,
}

impl Block {
    fn parse(text: &str) -> Self {
        let mut block = Self::default();
        for line in text.lines() {
            let (field, value) = line.split_once(':').unwrap();
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => block.comments += 1,
                "id" => block.id = Some(value.to_owned()),
                "event" => block.event = Some(value.to_owned()),
                "data" => block.data.push(value.to_owned()),
                "retry" => block.retry = Some(value.parse().unwrap()),
                other => panic!("{other}"),
            }
        }
        block
    }

    pub(crate) fn is_event(&self) -> bool {
        self.event.as_deref().is_some_and(|name| name.contains('.'))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data.concat())
            .unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn position(&self) -> Position {
        self.id.as_deref().expect("an id").parse().unwrap()
    }
}

/// An answer and the stream behind it. It asks by HTTP/1.0, so that nothing stands between the bytes.
pub(crate) struct EventSource {
    stream: TcpStream,
    unread: Vec<u8>,
    pub(crate) head: String,
    /// The id that a browser would come back with.
    pub(crate) last_event_id: Option<String>,
}

impl EventSource {
    /// Opens a stream as the operator.
    pub(crate) async fn open(address: SocketAddr, query: &str, lines: &str) -> Self {
        let bearer = format!("authorization: Bearer {ADMIN_TOKEN}\r\n{lines}");
        let source = Self::ask(address, "GET", &format!("/api/v1/stream{query}"), &bearer).await;
        assert_eq!(source.status(), 200, "{}", source.head);
        source
    }

    /// Goes on where another stream ended.
    pub(crate) async fn resume(&self, address: SocketAddr, query: &str) -> Self {
        let last = self.last_event_id.as_deref().unwrap();
        Self::open(address, query, &format!("last-event-id: {last}\r\n")).await
    }

    /// Sends a request and reads the head of the answer.
    pub(crate) async fn ask(address: SocketAddr, method: &str, target: &str, lines: &str) -> Self {
        Self::ask_with(TcpSocket::new_v4().unwrap(), address, method, target, lines).await
    }

    /// The same over a socket of one's own.
    pub(crate) async fn ask_with(
        socket: TcpSocket,
        address: SocketAddr,
        method: &str,
        target: &str,
        lines: &str,
    ) -> Self {
        let mut stream = socket.connect(address).await.unwrap();
        let request = format!("{method} {target} HTTP/1.0\r\nhost: {address}\r\n{lines}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut source = Self {
            stream,
            unread: Vec::new(),
            head: String::new(),
            last_event_id: None,
        };
        source.head = source.until(b"\r\n\r\n").await.expect("an answer");
        source
    }

    pub(crate) fn status(&self) -> u16 {
        self.head[9..12].parse().unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body of an answer that is no stream, as JSON.
    pub(crate) async fn json(mut self) -> Value {
        while self.read().await {}
        serde_json::from_slice(&self.unread).unwrap()
    }

    /// The next block; nothing at the end.
    pub(crate) async fn block(&mut self) -> Option<Block> {
        let text = self.until(b"\n\n").await?;
        let block = Block::parse(&text);
        if block.id.is_some() {
            self.last_event_id.clone_from(&block.id);
        }
        Some(block)
    }

    /// The next block that is an event or tells of something: what a page would be called for.
    pub(crate) async fn event(&mut self) -> Option<Block> {
        loop {
            let block = self.block().await?;
            if !block.data.is_empty() {
                return Some(block);
            }
        }
    }

    /// The sequence numbers of the next events.
    pub(crate) async fn seqs(&mut self, count: usize) -> Vec<u64> {
        let mut seqs = Vec::with_capacity(count);
        while seqs.len() < count {
            let block = self.event().await.expect("more events");
            assert!(block.is_event(), "{block:?}");
            let seq = block.json()["seq"].as_u64().unwrap();
            assert_eq!(block.position().seq.get(), seq);
            seqs.push(seq);
        }
        seqs
    }

    /// Reads to the end; gives what it is told there, and the last event before.
    pub(crate) async fn ended(&mut self) -> (Option<Block>, Option<u64>) {
        let (mut end, mut last) = (None, None);
        while let Some(block) = self.event().await {
            if block.is_event() {
                last = block.json()["seq"].as_u64();
            } else {
                end = Some(block);
            }
        }
        (end, last)
    }

    /// What stands before the next end mark; nothing when the stream is over.
    async fn until(&mut self, mark: &[u8]) -> Option<String> {
        let mut looked = 0;
        loop {
            let found = self.unread[looked..]
                .windows(mark.len())
                .position(|part| part == mark);
            if let Some(found) = found {
                let taken: Vec<u8> = self.unread.drain(..looked + found + mark.len()).collect();
                return Some(String::from_utf8(taken).unwrap().trim_end().to_owned());
            }
            looked = self.unread.len().saturating_sub(mark.len());
            if !self.read().await {
                return None;
            }
        }
    }

    async fn read(&mut self) -> bool {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await;
        // A reset is an end as well.
        read.expect("something in time").unwrap_or(0) > 0
    }
}
