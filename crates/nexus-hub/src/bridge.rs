//! The endpoint over standard streams, for clients that start a command: each line that they write goes to a
//! hub that runs somewhere, and each message of that hub is a line that they read.
//!
//! The bridge keeps nothing but the session. When the hub was started again meanwhile, the client is greeted
//! for it once more and does not notice.

mod exchange;
mod listening;

use std::{
    collections::HashSet,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::HeaderValue;
use nexus_auth::Secret;
use nexus_outbound::Client;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use url::Url;

use crate::{
    INTERNAL_ERROR, INVALID_REQUEST, Id, Incoming, MessageError, PARSE_ERROR, RpcError, message,
    upstream::stdio::lines::{Line, Lines},
};

/// Messages that wait to be written.
const LINES_WAITING_MAX: usize = 256;

/// How the bridge reaches its hub.
#[derive(Debug, Clone)]
pub struct BridgeOptions {
    /// The endpoint, `http://127.0.0.1:3000/mcp`.
    pub url: Url,
    /// The token of whoever uses it.
    pub token: Option<Secret>,
    /// Requests that run at once; the client waits with more.
    pub requests_max: usize,
    /// Bytes of a line.
    pub message_bytes_max: usize,
    /// How long the hub may say nothing on a stream; it says that it is there far more often.
    pub silence: Duration,
    /// How long to wait before the hub is asked again that cannot be reached, at first and at most.
    pub backoff: (Duration, Duration),
}

impl BridgeOptions {
    /// The usual limits, for a hub at an address.
    #[must_use]
    pub fn new(url: Url, token: Option<Secret>) -> Self {
        Self {
            url,
            token,
            requests_max: 64,
            message_bytes_max: 16 * 1024 * 1024,
            silence: Duration::from_secs(60),
            backoff: (Duration::from_secs(1), Duration::from_secs(30)),
        }
    }
}

/// What the parts of the bridge share.
struct Link {
    client: Client,
    options: BridgeOptions,
    output: mpsc::Sender<Bytes>,
    /// The session that the hub gave.
    session: Mutex<Option<Session>>,
    /// What the client greeted with, to greet a hub that was started again.
    greeting: Mutex<Option<Bytes>>,
    /// Held by whoever greets.
    greets: tokio::sync::Mutex<()>,
    /// Requests that their client does not want any more.
    cancelled: Mutex<HashSet<Id>>,
    is_listening: AtomicBool,
}

#[derive(Debug, Clone)]
struct Session {
    id: HeaderValue,
    version: Option<HeaderValue>,
}

/// Relays until the input ends, then ends the session.
///
/// # Errors
/// Reading the input or writing the output failed.
pub async fn bridge<R, W>(
    client: Client,
    options: BridgeOptions,
    input: R,
    output: W,
) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (lines, waiting) = mpsc::channel(LINES_WAITING_MAX);
    let mut input = Lines::new(input, options.message_bytes_max);
    let link = Arc::new(Link {
        client,
        options,
        output: lines,
        session: Mutex::new(None),
        greeting: Mutex::new(None),
        greets: tokio::sync::Mutex::new(()),
        cancelled: Mutex::default(),
        is_listening: AtomicBool::new(false),
    });
    let mut writing = tokio::spawn(write(waiting, output));
    let mut tasks = JoinSet::new();
    let relaying = relay(&link, &mut input, &mut tasks);
    let relayed = tokio::select! {
        relayed = relaying => relayed,
        // Nobody reads any more.
        written = &mut writing => return written.unwrap_or_else(|panic| Err(io::Error::other(panic))),
    };
    // The client is gone: what runs for it is of no use.
    tasks.shutdown().await;
    link.leave().await;
    drop(link);
    writing.abort();
    relayed
}

/// Writes what the hub says, line by line.
async fn write<W: AsyncWrite + Unpin>(
    mut waiting: mpsc::Receiver<Bytes>,
    mut output: W,
) -> io::Result<()> {
    while let Some(line) = waiting.recv().await {
        output.write_all(&line).await?;
        output.write_all(b"\n").await?;
        if waiting.is_empty() {
            output.flush().await?;
        }
    }
    Ok(())
}

/// Takes what the client says, line by line.
async fn relay<R: AsyncRead + Unpin>(
    link: &Arc<Link>,
    input: &mut Lines<R>,
    tasks: &mut JoinSet<()>,
) -> io::Result<()> {
    let turns = Arc::new(Semaphore::new(link.options.requests_max));
    while let Some(line) = input.next().await? {
        while tasks.try_join_next().is_some() {}
        let text = match line {
            Line::Text(text) if text.trim_ascii().is_empty() => continue,
            Line::Text(text) => text,
            Line::TooLong(_) => {
                let why = "the line is too long";
                link.refuse(None, RpcError::new(INVALID_REQUEST, why)).await;
                continue;
            }
        };
        match Incoming::parse(&text, link.options.message_bytes_max) {
            Ok(Incoming::Request { id, method, .. }) if &*method == "initialize" => {
                link.begin(&id, text).await;
            }
            Ok(Incoming::Request { id, .. }) => {
                let turn = turns.clone().acquire_owned().await;
                let link = link.clone();
                tasks.spawn(async move {
                    let _turn = turn;
                    link.request(&id, text).await;
                });
            }
            Ok(message) => {
                link.note(&message);
                link.tell(text).await;
                let is_greeted = matches!(
                    &message,
                    Incoming::Notification { method, .. } if &**method == "notifications/initialized"
                );
                if is_greeted && !link.is_listening.swap(true, Ordering::Relaxed) {
                    let link = link.clone();
                    tasks.spawn(async move { link.listen().await });
                }
            }
            Err(error) => {
                let code = match error {
                    MessageError::Malformed { .. } => PARSE_ERROR,
                    _ => INVALID_REQUEST,
                };
                link.refuse(None, RpcError::new(code, error.to_string()))
                    .await;
            }
        }
    }
    Ok(())
}

impl Link {
    /// Says something to the client.
    async fn say(&self, line: impl Into<Bytes>) {
        // Who reads is gone: then the bridge ends.
        let _ = self.output.send(line.into()).await;
    }

    async fn refuse(&self, id: Option<&Id>, error: RpcError) {
        self.say(message::response(id, &Err(error))).await;
    }

    /// The hub gave no answer, for a reason in words.
    async fn failed(&self, id: &Id, why: &str) {
        self.refuse(Some(id), RpcError::new(INTERNAL_ERROR, why))
            .await;
    }

    /// Remembers what the client does not want any more.
    fn note(&self, message: &Incoming) {
        #[derive(serde::Deserialize)]
        struct Cancelled {
            #[serde(rename = "requestId")]
            request_id: serde_json::Value,
        }
        let Incoming::Notification {
            method,
            params: Some(params),
        } = message
        else {
            return;
        };
        if &**method != "notifications/cancelled" {
            return;
        }
        let cancelled = serde_json::from_str::<Cancelled>(params.get());
        let id = cancelled
            .ok()
            .and_then(|cancelled| match cancelled.request_id {
                serde_json::Value::Number(number) => number.as_i64().map(Id::Number),
                serde_json::Value::String(text) => Some(Id::Text(text.into())),
                _ => None,
            });
        if let Some(id) = id {
            self.cancelled.lock().insert(id);
        }
    }

    fn is_cancelled(&self, id: &Id) -> bool {
        self.cancelled.lock().contains(id)
    }
}
