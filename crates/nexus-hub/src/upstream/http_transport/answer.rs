//! What the answer to a POST means.

use std::{sync::atomic::Ordering, time::Duration};

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use tokio::time::sleep;

use super::{
    CallError, Http, Id, Incoming, Opened,
    exchange::failed,
    sse::{Event, Parser},
};
use crate::INVALID_REQUEST;

/// So much is read of a refusal.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
/// So much of the challenge of a server is kept.
const CHALLENGE_CHARS_MAX: usize = 1_000;
/// What a connection still brings after the answer is read for so long and so far, so that the next
/// request finds it free.
const REST_TIMEOUT: Duration = Duration::from_secs(1);
const REST_BYTES_MAX: usize = 64 * 1024;
/// How long a stream is left alone that ended before its answer, unless the server says it.
const RESUME_AFTER: Duration = Duration::from_millis(500);
/// At most so long, whatever the server says.
const RESUME_AFTER_MAX: Duration = Duration::from_secs(30);
/// A stream is asked for again so often without bringing anything.
const RESUMES_MAX: u32 = 5;
/// What servers of the first SDKs say when they do not know a session, beside the status 400.
const NO_SUCH_SESSION: i64 = -32_000;

/// What became of a request that was sent.
pub(super) enum Judged {
    /// It has its outcome.
    Answered,
    /// The server does not know the session, and did not work on the request.
    SessionLost,
}

/// How a stream ended.
enum Ended {
    /// The request that it was opened for has its outcome.
    Answered,
    /// Without.
    Early(CallError),
}

impl Http {
    /// Reads an answer to its end.
    pub(super) async fn judge(
        &self,
        opened: Opened,
        id: i64,
        has_session: bool,
    ) -> Result<Judged, CallError> {
        if opened.status == 404 && has_session {
            return Ok(Judged::SessionLost);
        }
        if !opened.is_success() {
            return self.refused(opened, id, has_session).await;
        }
        match media_type(&opened) {
            "application/json" => {
                let body = self.body(opened, self.0.limits.message_bytes_max).await?;
                self.take(&body, Some(id));
            }
            "text/event-stream" => self.follow(opened, id).await?,
            _ => {
                let why = "it is neither JSON nor a stream of events";
                return Err(CallError::Garbage { why });
            }
        }
        if self.0.calls.is_waiting(id) {
            let why = "it does not answer the request";
            return Err(CallError::Garbage { why });
        }
        Ok(Judged::Answered)
    }

    /// A status that means failure. Some servers say in the body what JSON-RPC has to say about it.
    async fn refused(
        &self,
        opened: Opened,
        id: i64,
        has_session: bool,
    ) -> Result<Judged, CallError> {
        let refusal = refusal(&opened);
        if matches!(refusal, CallError::Unauthorized { .. }) {
            return Err(refusal);
        }
        let status = opened.status;
        let Ok(body) = self.body(opened, REFUSAL_BYTES_MAX).await else {
            return Err(refusal);
        };
        let body = self.0.redactor.message(&body);
        let Ok(Incoming::Response {
            id: named,
            outcome: Err(error),
        }) = Incoming::parse(&body, body.len())
        else {
            return Err(refusal);
        };
        let may_be_forgotten =
            has_session && named.is_none() && self.0.may_forget_with_400.load(Ordering::Relaxed);
        let is_session_code = matches!(error.code, NO_SUCH_SESSION | INVALID_REQUEST);
        if status == 400 && is_session_code && may_be_forgotten {
            return Ok(Judged::SessionLost);
        }
        if named.is_some_and(|named| named != Id::Number(id)) {
            return Err(refusal);
        }
        self.0.calls.settle(id, Err(CallError::Rpc(error)));
        Ok(Judged::Answered)
    }

    async fn body(&self, mut opened: Opened, limit_bytes: usize) -> Result<Vec<u8>, CallError> {
        // What says that it is too large is not read at all.
        let said = opened.headers.get(CONTENT_LENGTH);
        let said: Option<usize> = said.and_then(|length| length.to_str().ok()?.parse().ok());
        if said.is_some_and(|length| length > limit_bytes) {
            return Err(CallError::TooLarge { limit_bytes });
        }
        let mut body = Vec::with_capacity(said.unwrap_or_default());
        while let Some(chunk) = self.chunk(&mut opened).await? {
            if body.len() + chunk.len() > limit_bytes {
                return Err(CallError::TooLarge { limit_bytes });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    pub(super) async fn chunk(
        &self,
        opened: &mut Opened,
    ) -> Result<Option<bytes::Bytes>, CallError> {
        let chunk = opened.chunk().await;
        chunk.map_err(|error| failed(error, self.0.limits.total))
    }

    /// Reads the stream that answers a request, and goes on with it where it ends before the answer.
    async fn follow(&self, mut opened: Opened, id: i64) -> Result<(), CallError> {
        let mut place = Place::default();
        let mut resumes = 0;
        loop {
            let before = place.last_event_id.clone();
            let mut parser = Parser::new(self.0.limits.message_bytes_max);
            let reading = self.read_stream(&mut opened, &mut parser, Some(id), &mut place);
            let why = match reading.await {
                Ended::Answered => {
                    drain(opened);
                    return Ok(());
                }
                // Reading on where it is too large or silent would end in the same.
                Ended::Early(error @ (CallError::TooLarge { .. } | CallError::Timeout { .. })) => {
                    return Err(error);
                }
                Ended::Early(error) => error,
            };
            resumes = if place.last_event_id == before {
                resumes + 1
            } else {
                0
            };
            opened = loop {
                if place.last_event_id.is_none() || resumes > RESUMES_MAX {
                    return Err(why);
                }
                sleep(place.retry.unwrap_or(RESUME_AFTER).min(RESUME_AFTER_MAX)).await;
                match self.resume(&place).await {
                    Some(opened) => break opened,
                    None => resumes += 1,
                }
            };
        }
    }

    /// Opens a stream again behind what was read of it; nothing when that does not work now.
    async fn resume(&self, place: &Place) -> Option<Opened> {
        let last = place.last_event_id.as_deref();
        let silence = self.0.limits.total;
        let opened = self
            .open_stream(&self.session(), last, silence)
            .await
            .ok()?;
        let is_stream = opened.is_success() && media_type(&opened) == "text/event-stream";
        is_stream.then_some(opened)
    }

    /// Reads a stream until it ends, or the request that it was opened for has its outcome.
    async fn read_stream(
        &self,
        opened: &mut Opened,
        parser: &mut Parser,
        during: Option<i64>,
        place: &mut Place,
    ) -> Ended {
        let limit_bytes = self.0.limits.message_bytes_max;
        let mut events = Vec::new();
        loop {
            let chunk = match self.chunk(opened).await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => {
                    let why = String::from("the stream ended before the answer");
                    return Ended::Early(CallError::Gone { why });
                }
                Err(error) => return Ended::Early(error),
            };
            let taken = parser.take(&chunk, &mut events);
            for event in events.drain(..) {
                self.take_event(&event, during);
                place.last_event_id = event.id.or(place.last_event_id.take());
            }
            place.retry = parser.retry().or(place.retry);
            if during.is_some_and(|id| !self.0.calls.is_waiting(id)) {
                return Ended::Answered;
            }
            if taken.is_err() {
                return Ended::Early(CallError::TooLarge { limit_bytes });
            }
        }
    }

    fn take_event(&self, event: &Event, during: Option<i64>) {
        // Events of other kinds are not of this transport; those without data only say where it stands.
        if !event.data.is_empty() && matches!(event.kind.as_str(), "" | "message") {
            self.take(&event.data, during);
        }
    }

    /// Reads a stream that belongs to no request, until it ends. How it ends does not matter.
    pub(super) async fn read_on(
        &self,
        opened: &mut Opened,
        parser: &mut Parser,
        place: &mut Place,
    ) {
        let _ = self.read_stream(opened, parser, None, place).await;
    }
}

/// How far a stream was read.
#[derive(Default)]
pub(super) struct Place {
    pub(super) last_event_id: Option<String>,
    pub(super) retry: Option<Duration>,
}

/// Reads what is left of an answer, aside, so that its connection can be used again.
fn drain(mut opened: Opened) {
    tokio::spawn(async move {
        let reading = async {
            let mut bytes = 0;
            while let Ok(Some(chunk)) = opened.chunk().await {
                bytes += chunk.len();
                if bytes > REST_BYTES_MAX {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(REST_TIMEOUT, reading).await;
    });
}

/// What a status that means failure says by itself.
pub(super) fn refusal(opened: &Opened) -> CallError {
    let status = opened.status;
    let text = |name| Some(opened.headers.get(name)?.to_str().ok()?.to_owned());
    let challenge = text(WWW_AUTHENTICATE);
    if status == 401 || (status == 403 && challenge.is_some()) {
        let short = |text: String| text.chars().take(CHALLENGE_CHARS_MAX).collect();
        return CallError::Unauthorized {
            status,
            challenge: challenge.map(short),
        };
    }
    CallError::Status {
        status,
        retry_after_s: text(RETRY_AFTER).and_then(|seconds| seconds.parse().ok()),
    }
}

/// The type of an answer's body, without its parameters.
pub(super) fn media_type(opened: &Opened) -> &'static str {
    let value = opened.headers.get(CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    let value = value.split(';').next().unwrap_or("").trim();
    ["application/json", "text/event-stream"]
        .into_iter()
        .find(|known| value.eq_ignore_ascii_case(known))
        .unwrap_or("")
}
