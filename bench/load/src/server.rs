//! The servers that are compared: how one subscribes to each, and how one publishes to it.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use clap::ValueEnum;
use data_encoding::HEXLOWER;
use ring::hmac;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    connection::{Answer, Exchange},
    frame::{TEXT, write_frame},
    http,
    marked::{self, Mark},
};

/// A subscriber is asked for nothing else before its subscription is confirmed.
const GREETING_BYTES_MAX: usize = 16 << 10;
/// Any 16 bytes do.
const WEBSOCKET_KEY: &str = "YmVuY2gtbG9hZC1rZXktMQ==";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// `/api/v1/stream` and `POST /api/v1/events`: durable before it is delivered.
    Nexus,
    /// Core NATS: kept nowhere.
    Nats,
    /// The reference stack: durable, `POST /events` and a WebSocket.
    Reference,
    /// A stream with `appendfsync always`, `XADD` and `XREAD BLOCK`.
    Redis,
}

/// A server under load.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) address: SocketAddr,
    pub(crate) secret: String,
    /// How many topics there are.
    pub(crate) topics: usize,
    /// What the topic is called where there is one; else `payment.received`.
    pub(crate) only_topic: Option<String>,
    /// How many bytes a payload has beyond the shortest.
    pub(crate) padding: usize,
}

impl Server {
    /// The topic with this number.
    fn topic(&self, topic: usize) -> String {
        if self.topics > 1 {
            format!("bench.topic_{topic}")
        } else if let Some(only) = &self.only_topic {
            only.clone()
        } else if self.kind == Kind::Reference {
            String::from("PAYMENT_RECEIVED")
        } else {
            String::from("payment.received")
        }
    }

    /// The same server, with another topic.
    pub(crate) fn on(&self, topic: &str) -> Self {
        Self {
            topics: 1,
            only_topic: Some(topic.to_owned()),
            ..self.clone()
        }
    }

    /// Opens a connection that is subscribed to one topic, and gives what came behind the confirmation;
    /// `from` is where it begins in the log, where the server has one.
    pub(crate) async fn subscribe(
        &self,
        topic: usize,
        from: Option<&str>,
    ) -> io::Result<(TcpStream, Vec<u8>)> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let topic = self.topic(topic);
        let rest = match self.kind {
            Kind::Nexus => {
                let headers = format!(
                    "Sec-WebSocket-Protocol: nexus.v1.json\r\nAuthorization: Bearer {}\r\n",
                    self.secret
                );
                upgrade(&mut stream, "/api/v1/stream", &headers).await?;
                let from = from.map_or_else(String::new, |from| format!(",\"from\":\"{from}\""));
                let subscribe =
                    format!(r#"{{"type":"subscribe","id":"a","patterns":["{topic}"]{from}}}"#);
                send_text(&mut stream, &subscribe).await?;
                await_text(&mut stream, b"\"type\":\"subscribed\"").await?
            }
            Kind::Reference => {
                upgrade(&mut stream, "/", "Sec-WebSocket-Protocol: bench\r\n").await?;
                let subscribe = format!(r#"{{"action":"subscribe","events":["{topic}"]}}"#);
                send_text(&mut stream, &subscribe).await?;
                await_text(&mut stream, b"\"status\":\"subscribed\"").await?
            }
            Kind::Nats => {
                let subscribe = format!(
                    "CONNECT {{\"verbose\":false,\"pedantic\":false}}\r\nSUB {topic} 1\r\nPING\r\n"
                );
                stream.write_all(subscribe.as_bytes()).await?;
                await_text(&mut stream, b"PONG\r\n").await?
            }
            Kind::Redis => Vec::new(),
        };
        Ok((stream, rest))
    }

    /// What one publishing connection sends: `batch` events at a time.
    pub(crate) fn publisher(&self, publisher: usize, batch: usize) -> Publisher {
        let topics = (0..self.topics).map(|topic| self.topic(topic)).collect();
        Publisher {
            server: self.clone(),
            key: hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes()),
            publisher,
            batch,
            topics,
            next: 0,
            step: 1,
            body: Vec::new(),
            request: Vec::new(),
        }
    }
}

/// Writes the requests of one publishing connection.
#[derive(Debug)]
pub(crate) struct Publisher {
    server: Server,
    key: hmac::Key,
    publisher: usize,
    batch: usize,
    topics: Vec<String>,
    next: u64,
    step: u64,
    body: Vec<u8>,
    request: Vec<u8>,
}

impl Publisher {
    /// Numbers its events from `first` on in steps, so that several publishers share one numbering.
    pub(crate) fn numbered(mut self, first: u64, step: u64) -> Self {
        self.next = first;
        self.step = step;
        self
    }

    /// The number of the next event.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    fn mark(&mut self) -> (Mark, usize) {
        let mark = Mark {
            publisher: self.publisher,
            number: self.next,
        };
        // Never more topics than fit.
        let topic = usize::try_from(self.next / self.step).unwrap_or(0) % self.topics.len();
        self.next += self.step;
        (mark, topic)
    }

    fn write_http(&mut self, path: &str, name: &str) {
        self.body.clear();
        if self.batch > 1 {
            self.body.push(b'[');
        }
        for index in 0..self.batch {
            if index > 0 {
                self.body.push(b',');
            }
            let (mark, topic) = self.mark();
            let topic = &self.topics[topic];
            // Writing to a vector cannot fail.
            let _ = write!(self.body, r#"{{"{name}":"{topic}","payload":"#);
            marked::write_payload(&mut self.body, mark, self.server.padding);
            self.body.push(b'}');
        }
        if self.batch > 1 {
            self.body.push(b']');
        }
        let signature = HEXLOWER.encode(hmac::sign(&self.key, &self.body).as_ref());
        let _ = write!(
            self.request,
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nX-Nexus-Signature: {signature}\r\n\r\n",
            self.server.address,
            self.body.len()
        );
        self.request.extend_from_slice(&self.body);
    }

    fn write_nats(&mut self) {
        for _ in 0..self.batch {
            let (mark, topic) = self.mark();
            self.body.clear();
            marked::write_payload(&mut self.body, mark, self.server.padding);
            let (topic, bytes) = (&self.topics[topic], self.body.len());
            let _ = write!(self.request, "PUB {topic} {bytes}\r\n");
            self.request.extend_from_slice(&self.body);
            self.request.extend_from_slice(b"\r\n");
        }
        // Answered behind everything before it.
        self.request.extend_from_slice(b"PING\r\n");
    }

    fn write_redis(&mut self) {
        for _ in 0..self.batch {
            let (mark, _) = self.mark();
            self.body.clear();
            marked::write_payload(&mut self.body, mark, self.server.padding);
            let bytes = self.body.len();
            let _ = write!(
                self.request,
                "*5\r\n$4\r\nXADD\r\n$6\r\nevents\r\n$1\r\n*\r\n$4\r\nbody\r\n${bytes}\r\n"
            );
            self.request.extend_from_slice(&self.body);
            self.request.extend_from_slice(b"\r\n");
        }
    }
}

impl Exchange for Publisher {
    fn greeting(&self) -> &'static [u8] {
        match self.server.kind {
            Kind::Nats => b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n",
            _ => b"",
        }
    }

    fn request(&mut self) -> &[u8] {
        self.request.clear();
        match self.server.kind {
            Kind::Nexus => self.write_http("/api/v1/events", "topic"),
            Kind::Reference => self.write_http("/events", "event"),
            Kind::Nats => self.write_nats(),
            Kind::Redis => self.write_redis(),
        }
        &self.request
    }

    fn answer(&self, received: &[u8]) -> Answer {
        match self.server.kind {
            Kind::Nexus | Kind::Reference => http::answer(received),
            Kind::Nats => nats_answer(received),
            Kind::Redis => crate::redis::answers(received, self.batch),
        }
    }
}

/// PONG, perhaps behind INFO and the server's own PING.
fn nats_answer(received: &[u8]) -> Answer {
    const PONG: &[u8] = b"PONG\r\n";
    let Some(at) = memchr::memmem::find(received, PONG) else {
        return Answer::Partial;
    };
    Answer::Whole {
        bytes: at + PONG.len(),
        ok: memchr::memmem::find(&received[..at], b"-ERR").is_none(),
    }
}

/// Makes a connection a WebSocket; `headers` are whole lines.
pub(crate) async fn upgrade(stream: &mut TcpStream, path: &str, headers: &str) -> io::Result<()> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {WEBSOCKET_KEY}\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > GREETING_BYTES_MAX {
            return Err(refused(&head));
        }
        head.push(stream.read_u8().await?);
    }
    if head.starts_with(b"HTTP/1.1 101") {
        Ok(())
    } else {
        Err(refused(&head))
    }
}

async fn send_text(stream: &mut TcpStream, text: &str) -> io::Result<()> {
    let mut frame = Vec::with_capacity(text.len() + 8);
    write_frame(&mut frame, TEXT, text.as_bytes())?;
    stream.write_all(&frame).await
}

/// Reads until some text came, and gives what was read behind it.
async fn await_text(stream: &mut TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
    let mut received = Vec::new();
    loop {
        if let Some(at) = memchr::memmem::find(&received, text) {
            return Ok(received.split_off(at + text.len()));
        }
        if received.len() > GREETING_BYTES_MAX || stream.read_buf(&mut received).await? == 0 {
            return Err(refused(&received));
        }
    }
}

fn refused(received: &[u8]) -> io::Error {
    let said = String::from_utf8_lossy(&received[..received.len().min(200)]).into_owned();
    io::Error::other(format!("the server said: {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(kind: Kind, topics: usize) -> Server {
        Server {
            kind,
            address: ([127, 0, 0, 1], 3000).into(),
            secret: String::from("secret"),
            topics,
            only_topic: None,
            padding: 0,
        }
    }

    #[test]
    fn a_batch_is_a_signed_array_over_the_topics() {
        let mut publisher = server(Kind::Nexus, 2).publisher(1, 3);
        let request = String::from_utf8(publisher.request().to_vec()).unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /api/v1/events HTTP/1.1\r\n"));
        let events: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(events[1]["topic"], "bench.topic_1");
        assert_eq!(events[2]["payload"]["mark"], "0001-0000000002");
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        let signature = head.split_once("X-Nexus-Signature: ").unwrap().1;
        let signature = HEXLOWER.decode(signature.as_bytes()).unwrap();
        hmac::verify(&key, body.as_bytes(), &signature).unwrap();
        assert_eq!(publisher.next(), 3);
    }

    #[test]
    fn nats_is_asked_to_answer_behind_the_batch() {
        let mut publisher = server(Kind::Nats, 1).publisher(0, 2);
        let request = String::from_utf8(publisher.request().to_vec()).unwrap();
        assert_eq!(request.matches("PUB payment.received ").count(), 2);
        assert!(request.ends_with("\r\nPING\r\n"));
        let ok = |bytes| Answer::Whole { bytes, ok: true };
        assert_eq!(nats_answer(b"INFO {}\r\nPONG\r\nxx"), ok(15));
        assert_eq!(nats_answer(b"INFO {}\r\nPON"), Answer::Partial);
    }
}
