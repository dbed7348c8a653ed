//! Callers of tools over MCP's Streamable HTTP: each has a session and a connection, and one request in flight.

use std::{
    cell::{Cell, RefCell},
    fmt::Write as _,
    io,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use bytes::{Buf, BytesMut};
use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::http;

const LATENCY_US_MAX: u64 = 60_000_000;
const REVISION: &str = "2025-11-25";
/// How long a server may take until it has the tool.
const READY_WITHIN: Duration = Duration::from_secs(20);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// What the tool is told and has to say.
const TEXT: &str = "the same words each time, to be said again";

#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// The server, on loopback.
    #[arg(long)]
    pub(crate) address: SocketAddr,
    #[arg(long, default_value = "/mcp")]
    path: String,
    /// Lets in, where somebody asks for it.
    #[arg(long)]
    token: Option<String>,
    /// What the tool that says what it was told is called there.
    #[arg(long, default_value = crate::upstream::TOOL)]
    tool: String,
    /// Asks for the list of tools instead of calling one.
    #[arg(long)]
    list: bool,
    #[arg(long, default_value_t = 1)]
    pub(crate) callers: usize,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Seconds of the same load before them, which are not.
    #[arg(long, default_value_t = 1)]
    warmup_seconds: u64,
    /// Ends after so many requests, if that is sooner.
    #[arg(long, default_value_t = u64::MAX)]
    requests_max: u64,
}

/// Where callers come in.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) path: String,
    /// Lets in, where somebody asks for it.
    pub(crate) token: Option<String>,
}

impl Options {
    fn door(&self) -> Door {
        Door {
            address: self.address,
            path: self.path.clone(),
            token: self.token.clone(),
        }
    }

    pub(crate) fn seconds_in_all(&self) -> u64 {
        self.seconds.saturating_add(self.warmup_seconds)
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    requests: u64,
    per_second: f64,
    p50_us: u64,
    p99_us: u64,
    /// How long the body of the last answer was.
    body_bytes: usize,
}

struct Shared {
    measured_from: Cell<Instant>,
    measured_until: Instant,
    /// Requests that may still be sent.
    left: Cell<u64>,
    latencies_us: RefCell<Histogram<u64>>,
    last_answer: Cell<Instant>,
    body_bytes: Cell<usize>,
}

/// Every request has to be answered as it should: one that is not ends the run.
pub(crate) async fn run(options: &Options) -> io::Result<Report> {
    let door = options.door();
    wait_for_tool(&door, &options.tool).await?;
    let mut sessions = Vec::with_capacity(options.callers);
    for _ in 0..options.callers {
        sessions.push(Session::begin(&door).await?);
    }
    let measured_from = Instant::now() + Duration::from_secs(options.warmup_seconds);
    let shared = Rc::new(Shared {
        measured_from: Cell::new(measured_from),
        measured_until: measured_from + Duration::from_secs(options.seconds),
        left: Cell::new(options.requests_max),
        latencies_us: RefCell::new(
            Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).map_err(io::Error::other)?,
        ),
        last_answer: Cell::new(measured_from),
        body_bytes: Cell::new(0),
    });
    let calling: Vec<JoinHandle<io::Result<()>>> = sessions
        .into_iter()
        .map(|session| {
            let (shared, options) = (Rc::clone(&shared), options.clone());
            tokio::task::spawn_local(async move { ask_until(session, &options, &shared).await })
        })
        .collect();
    for caller in calling {
        caller.await.map_err(io::Error::other)??;
    }
    let latencies_us = shared.latencies_us.borrow();
    if latencies_us.is_empty() {
        return Err(io::Error::other("nothing was measured"));
    }
    let took = shared.last_answer.get() - shared.measured_from.get();
    Ok(Report {
        requests: latencies_us.len(),
        per_second: latencies_us.len() as f64 / took.as_secs_f64().max(1e-9),
        p50_us: latencies_us.value_at_quantile(0.50),
        p99_us: latencies_us.value_at_quantile(0.99),
        body_bytes: shared.body_bytes.get(),
    })
}

/// A server may have to ask others first what they have.
pub(crate) async fn wait_for_tool(door: &Door, tool: &str) -> io::Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    let quoted = format!("\"{tool}\"");
    loop {
        let found = async {
            let mut session = Session::begin(door).await?;
            let list = session.ask("tools/list", "{}").await?;
            session.end().await?;
            Ok::<_, io::Error>(memchr::memmem::find(&list, quoted.as_bytes()).is_some())
        };
        match found.await {
            Ok(true) => return Ok(()),
            Err(error) if Instant::now() >= deadline => return Err(error),
            Ok(false) if Instant::now() >= deadline => {
                return Err(io::Error::other(format!("there is no tool {quoted}")));
            }
            _ => sleep(ASK_AGAIN_AFTER).await,
        }
    }
}

/// A call of the tool that says what it is told.
pub(crate) fn echo(tool: &str) -> String {
    format!(r#"{{"name":"{tool}","arguments":{{"text":"{TEXT}"}}}}"#)
}

async fn ask_until(mut session: Session, options: &Options, shared: &Shared) -> io::Result<()> {
    let call = echo(&options.tool);
    let (method, params, has) = if options.list {
        ("tools/list", "{}", options.tool.as_str())
    } else {
        ("tools/call", call.as_str(), TEXT)
    };
    let has = memchr::memmem::Finder::new(has);
    loop {
        let sent_at = Instant::now();
        let left = shared.left.get();
        if sent_at >= shared.measured_until || left == 0 {
            return session.end().await;
        }
        shared.left.set(left - 1);
        // A server that is fast enough would be warm only when nothing is left to ask.
        if left <= options.requests_max / 4 * 3 && sent_at < shared.measured_from.get() {
            shared.measured_from.set(sent_at);
        }
        let body = session.ask(method, params).await?;
        let answered_at = Instant::now();
        if has.find(&body).is_none() {
            let said = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
            return Err(io::Error::other(format!("{method} was answered {said}")));
        }
        if sent_at >= shared.measured_from.get() {
            let took = answered_at - sent_at;
            let took_us = u64::try_from(took.as_micros()).unwrap_or(LATENCY_US_MAX);
            shared
                .latencies_us
                .borrow_mut()
                .saturating_record(took_us.max(1));
            shared.last_answer.set(answered_at);
            shared.body_bytes.set(body.len());
        }
    }
}

/// One session on one connection.
pub(crate) struct Session {
    address: SocketAddr,
    stream: TcpStream,
    received: BytesMut,
    /// What every request has but its length: the headers of the session among it.
    head: String,
    path: String,
    next_id: u64,
}

impl Session {
    pub(crate) async fn begin(door: &Door) -> io::Result<Self> {
        let stream = TcpStream::connect(door.address).await?;
        stream.set_nodelay(true)?;
        let mut head = format!(
            "Host: {}\r\nAccept: application/json, text/event-stream\r\nContent-Type: application/json\r\n",
            door.address
        );
        if let Some(token) = &door.token {
            // Writing to a string cannot fail.
            let _ = write!(head, "Authorization: Bearer {token}\r\n");
        }
        let mut session = Self {
            address: door.address,
            stream,
            received: BytesMut::with_capacity(8 << 10),
            head,
            path: door.path.clone(),
            next_id: 0,
        };
        let about = format!(
            r#"{{"protocolVersion":"{REVISION}","capabilities":{{}},"clientInfo":{{"name":"bench-load","version":"1"}}}}"#
        );
        let (id, _) = session.exchange("initialize", &about).await?;
        if let Some(id) = id {
            let _ = write!(session.head, "Mcp-Session-Id: {id}\r\n");
        }
        let _ = write!(session.head, "MCP-Protocol-Version: {REVISION}\r\n");
        let ready = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        session.send("POST", ready).await?;
        session.receive().await?;
        Ok(session)
    }

    /// Goes on over another connection, when nothing more is wanted of what was asked over this one.
    pub(crate) async fn reconnect(&mut self) -> io::Result<()> {
        self.stream = TcpStream::connect(self.address).await?;
        self.stream.set_nodelay(true)?;
        self.received.clear();
        Ok(())
    }

    /// Asks, and returns the body of the answer, of a stream with what its events are framed in.
    pub(crate) async fn ask(&mut self, method: &str, params: &str) -> io::Result<Vec<u8>> {
        let (_, body) = self.exchange(method, params).await?;
        Ok(body)
    }

    async fn exchange(
        &mut self,
        method: &str,
        params: &str,
    ) -> io::Result<(Option<String>, Vec<u8>)> {
        self.next_id += 1;
        let id = self.next_id;
        let message =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        self.send("POST", &message).await?;
        let (session, body) = self.receive().await?;
        if memchr::memmem::find(&body, b"\"result\"").is_none() {
            let said = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
            return Err(io::Error::other(format!("{method} was answered {said}")));
        }
        Ok((session, body))
    }

    /// Tells the server that nobody comes back.
    pub(crate) async fn end(mut self) -> io::Result<()> {
        self.send("DELETE", "").await?;
        // Whether it keeps sessions is its own affair.
        let _ = self.receive().await;
        Ok(())
    }

    async fn send(&mut self, method: &str, body: &str) -> io::Result<()> {
        let (path, head, length) = (&self.path, &self.head, body.len());
        let request =
            format!("{method} {path} HTTP/1.1\r\n{head}Content-Length: {length}\r\n\r\n{body}");
        self.stream.write_all(request.as_bytes()).await
    }

    /// The session that the answer names, and its body.
    async fn receive(&mut self) -> io::Result<(Option<String>, Vec<u8>)> {
        let answer = timeout(ANSWER_WITHIN, self.receive_whole()).await;
        answer.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    async fn receive_whole(&mut self) -> io::Result<(Option<String>, Vec<u8>)> {
        loop {
            let whole = http::read(&self.received).ok_or(io::ErrorKind::InvalidData)?;
            if let Some(whole) = whole {
                if !whole.ok {
                    let said = String::from_utf8_lossy(whole.head).into_owned();
                    let body = String::from_utf8_lossy(&whole.body).into_owned();
                    return Err(io::Error::other(format!("refused: {said} {body}")));
                }
                let session = whole.header("mcp-session-id").map(str::to_owned);
                let (bytes, body) = (whole.bytes, whole.body.into_owned());
                self.received.advance(bytes);
                return Ok((session, body));
            }
            if self.received.len() >= ANSWER_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.received.reserve(8 << 10);
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{net::TcpListener, task::LocalSet};

    use super::*;
    use crate::upstream;

    #[tokio::test]
    async fn callers_hear_what_they_said_until_there_is_nothing_left_to_ask() {
        let local = LocalSet::new();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        local.spawn_local(upstream::over_http(listener, upstream::Mood::Well));
        let options = Options {
            address,
            path: String::from("/mcp"),
            token: None,
            tool: String::from(upstream::TOOL),
            list: false,
            callers: 3,
            seconds: 30,
            warmup_seconds: 0,
            requests_max: 30,
        };
        let report = local.run_until(run(&options)).await.unwrap();
        assert_eq!(report.requests, 30);
        assert!(report.per_second > 0.0);
        let missing = Options {
            tool: String::from("unknown"),
            ..options
        };
        let session = local
            .run_until(Session::begin(&missing.door()))
            .await
            .unwrap();
        let asked = async {
            let mut session = session;
            session
                .ask("tools/call", r#"{"name":"unknown"}"#)
                .await
                .map(|_| ())
        };
        assert!(local.run_until(asked).await.is_err());
    }
}
