//! One message to the hub, and what comes back: JSON, or a stream that is gone on with when it breaks.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use nexus_outbound::{Opened, Outgoing, Trust};
use serde::Deserialize;

use super::{Link, Session};
use crate::{Id, Incoming, upstream::http_transport::sse};

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
pub(super) const STREAM: &str = "text/event-stream";
const NOT_FOUND: u16 = 404;
/// How often a stream that broke is gone on with, without anything new on it.
const RESUMES_MAX: u32 = 10;

/// How far a stream was read.
pub(super) struct Read {
    /// The id of the last event, if it had one.
    pub(super) last: Option<String>,
    /// Whether the answer that was waited for was on it.
    is_answered: bool,
}

#[derive(Deserialize)]
struct Welcomed {
    #[serde(rename = "protocolVersion")]
    protocol_version: String,
}

impl Link {
    /// Passes the client's greeting on, and remembers it.
    pub(super) async fn begin(&self, id: &Id, text: Bytes) {
        let _greets = self.greets.lock().await;
        *self.session.lock() = None;
        *self.greeting.lock() = Some(text.clone());
        match self.greet(text).await {
            Ok(welcome) => self.say(welcome).await,
            Err(why) => self.failed(id, &why).await,
        }
    }

    /// Greets the hub; the welcome, or why there is none.
    async fn greet(&self, greeting: Bytes) -> Result<Bytes, String> {
        let mut opened = self.post(greeting, None).await?;
        if !opened.is_success() {
            return Err(refused(&mut opened).await);
        }
        let id = opened.headers.get(SESSION_ID).cloned();
        let welcome = self.body(&mut opened).await?;
        let message = Incoming::parse(&welcome, self.options.message_bytes_max);
        if let (
            Some(id),
            Ok(Incoming::Response {
                outcome: Ok(result),
                ..
            }),
        ) = (id, message)
        {
            let welcomed = serde_json::from_str::<Welcomed>(result.get()).ok();
            let version = welcomed.and_then(|it| HeaderValue::try_from(it.protocol_version).ok());
            *self.session.lock() = Some(Session { id, version });
        }
        Ok(welcome)
    }

    /// Begins again after the hub forgot the session: it was started again, or nothing was heard for long.
    pub(super) async fn begin_again(&self, forgotten: &Session) -> Result<(), String> {
        let _greets = self.greets.lock().await;
        let is_same = |session: &Session| session.id == forgotten.id;
        if !self.session.lock().as_ref().is_some_and(is_same) {
            // Somebody else did.
            return Ok(());
        }
        let greeting = self.greeting.lock().clone();
        let greeting = greeting.ok_or("the client has not said `initialize`")?;
        *self.session.lock() = None;
        if let Err(why) = self.greet(greeting).await {
            // To be tried again with the next message.
            *self.session.lock() = Some(forgotten.clone());
            return Err(why);
        }
        let greeted = crate::notification("notifications/initialized", None);
        let session = self.session.lock().clone();
        self.post(greeted.into(), session.as_ref())
            .await
            .map(|_| ())
    }

    /// Passes on what has no answer.
    pub(super) async fn tell(&self, text: Bytes) {
        let session = self.session.lock().clone();
        match self.post(text, session.as_ref()).await {
            Ok(opened) if opened.is_success() => {}
            Ok(opened) => tracing::warn!(status = opened.status, "the hub refused a message"),
            Err(why) => tracing::warn!(why, "the hub did not get a message"),
        }
    }

    /// Passes a request on, and its answer back.
    pub(super) async fn request(&self, id: &Id, text: Bytes) {
        if let Err(why) = self.answered(id, text).await
            && !self.is_cancelled(id)
        {
            self.failed(id, &why).await;
        }
        self.cancelled.lock().remove(id);
    }

    async fn answered(&self, id: &Id, text: Bytes) -> Result<(), String> {
        let mut session = self.session.lock().clone();
        let mut opened = self.post(text.clone(), session.as_ref()).await?;
        if let (NOT_FOUND, Some(forgotten)) = (opened.status, &session) {
            // Nothing of it was done: it can be sent again.
            self.begin_again(forgotten).await?;
            session = self.session.lock().clone();
            opened = self.post(text, session.as_ref()).await?;
        }
        if !opened.is_success() {
            return Err(refused(&mut opened).await);
        }
        if is_stream(&opened.headers) {
            return self.follow(id, opened, session.as_ref()).await;
        }
        let body = self.body(&mut opened).await?;
        if !body.is_empty() {
            self.say(one_line(body)).await;
        }
        Ok(())
    }

    /// Reads the stream of a request until its answer is there, and goes on with it where it broke.
    async fn follow(
        &self,
        id: &Id,
        mut opened: Opened,
        session: Option<&Session>,
    ) -> Result<(), String> {
        let mut last = None;
        let mut resumes = 0;
        loop {
            let read = self.read(&mut opened, Some(id)).await;
            if read.is_answered || self.is_cancelled(id) {
                return Ok(());
            }
            if read.last.is_some() {
                resumes = 0;
                last = read.last;
            }
            let lost = "the connection to the hub was lost; it may have done what was asked";
            let id = last.clone().ok_or(lost)?;
            loop {
                if resumes >= RESUMES_MAX {
                    return Err(lost.to_owned());
                }
                resumes += 1;
                tokio::time::sleep(self.options.backoff.0).await;
                match self.get(session, Some(&id)).await {
                    Ok(again) if again.is_success() => {
                        opened = again;
                        break;
                    }
                    Ok(_) => return Err(lost.to_owned()),
                    Err(_) => {}
                }
            }
        }
    }

    /// Passes on what is on a stream, until it ends, or until the answer to a request was on it.
    pub(super) async fn read(&self, opened: &mut Opened, wanted: Option<&Id>) -> Read {
        let mut parser = sse::Parser::new(self.options.message_bytes_max);
        let (mut events, mut read) = (
            Vec::new(),
            Read {
                last: None,
                is_answered: false,
            },
        );
        loop {
            let piece = match opened.chunk().await {
                Ok(Some(piece)) => piece,
                Ok(None) | Err(_) => return read,
            };
            let taken = parser.take(&piece, &mut events);
            for event in events.drain(..) {
                if event.id.is_some() {
                    read.last = event.id;
                }
                if event.data.is_empty() {
                    continue;
                }
                let data = Bytes::from(event.data);
                read.is_answered |= wanted.is_some_and(|id| self.answers(&data, id));
                self.say(one_line(data)).await;
            }
            if read.is_answered || taken.is_err() {
                return read;
            }
        }
    }

    fn answers(&self, text: &[u8], wanted: &Id) -> bool {
        let message = Incoming::parse(text, self.options.message_bytes_max);
        matches!(message, Ok(Incoming::Response { id: Some(id), .. }) if id == *wanted)
    }

    async fn post(&self, body: Bytes, session: Option<&Session>) -> Result<Opened, String> {
        let mut call = self.outgoing(Method::POST, session);
        let json = HeaderValue::from_static("application/json");
        call.headers.insert(header::CONTENT_TYPE, json);
        let both = HeaderValue::from_static("application/json, text/event-stream");
        call.headers.insert(header::ACCEPT, both);
        call.body = body;
        // An answer that takes long begins as a stream.
        call.timeout = self.options.silence;
        self.open(call).await
    }

    pub(super) async fn get(
        &self,
        session: Option<&Session>,
        last: Option<&str>,
    ) -> Result<Opened, String> {
        let mut call = self.outgoing(Method::GET, session);
        let stream = HeaderValue::from_static(STREAM);
        call.headers.insert(header::ACCEPT, stream);
        if let Some(last) = last.and_then(|last| HeaderValue::try_from(last).ok()) {
            call.headers.insert(LAST_EVENT_ID, last);
        }
        call.timeout = self.options.silence;
        self.open(call).await
    }

    /// Ends the session: the client is gone.
    pub(super) async fn leave(&self) {
        let session = self.session.lock().take();
        if let Some(session) = session {
            let mut call = self.outgoing(Method::DELETE, Some(&session));
            call.timeout = self.options.backoff.0;
            // A hub that does not hear it ends the session by itself, later.
            let _ = self.open(call).await;
        }
    }

    async fn open(&self, call: Outgoing) -> Result<Opened, String> {
        let opened = self.client.open(call, self.options.silence).await;
        opened.map_err(|error| format!("the hub cannot be reached: {error}"))
    }

    fn outgoing(&self, method: Method, session: Option<&Session>) -> Outgoing {
        let url = self.options.url.clone();
        let mut call = Outgoing::new(method, url, Trust::Configured);
        if let Some(session) = session {
            call.headers.insert(SESSION_ID, session.id.clone());
            if let Some(version) = &session.version {
                call.headers.insert(PROTOCOL_VERSION, version.clone());
            }
        }
        let token = self.options.token.as_ref();
        let bearer = token.and_then(|token| {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose())).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        if let Some(bearer) = bearer {
            call.headers.insert(header::AUTHORIZATION, bearer);
        }
        call
    }

    /// A whole body, as long as it is not too long.
    async fn body(&self, opened: &mut Opened) -> Result<Bytes, String> {
        let mut body = BytesMut::new();
        while let Some(piece) = opened
            .chunk()
            .await
            .map_err(|error| format!("the connection to the hub was lost: {error}"))?
        {
            body.extend_from_slice(&piece);
            if body.len() > self.options.message_bytes_max {
                return Err("the answer of the hub is too long".to_owned());
            }
        }
        Ok(body.freeze())
    }
}

pub(super) fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(STREAM.as_bytes()))
}

/// Why the hub refused, as far as it says.
async fn refused(opened: &mut Opened) -> String {
    const TOLD_BYTES_MAX: usize = 1_024;
    let status = opened.status;
    let piece = opened.chunk().await.ok().flatten().unwrap_or_default();
    let said = String::from_utf8_lossy(&piece[..piece.len().min(TOLD_BYTES_MAX)]).into_owned();
    match status {
        401 => "the hub does not know the token (401)".to_owned(),
        _ => format!("the hub answered with status {status}: {said}"),
    }
}

/// JSON as one line: a line break in it is space between its parts.
fn one_line(text: Bytes) -> Bytes {
    if !text.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
        return text;
    }
    let mut text = Vec::from(text);
    for byte in &mut text {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    text.into()
}
