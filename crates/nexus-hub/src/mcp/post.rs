//! POST: what a client asks, tells and answers. A request that is done at once is answered with JSON; one
//! that has more to say, or takes long, with a stream.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use nexus_http::{Call, Problem, Reply};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::{
    Shared, answer, body,
    channel::{Beginning, Channel},
    greeting,
    guard::{self, Accepts, JSON, Refusal, refuse},
    metadata,
    peer::SessionPeer,
    roots,
    session::Session,
    sse::{self, Ends, EventStream},
    visitor::Visitor,
};
use crate::{
    Caller, Id, Incoming, Raw, RpcError, ToolFilter,
    message::{self, INVALID_REQUEST},
};

/// No session of this id is the caller's: its client begins another.
const SESSION_NOT_FOUND: i64 = -32_001;

/// A request of a client.
pub(crate) struct Request {
    pub(crate) id: Id,
    pub(crate) method: Box<str>,
    pub(crate) params: Option<Raw>,
}

/// Ends a stream when nobody owes anything to it any more, however that came.
struct Owed(Arc<Channel>);

impl Drop for Owed {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Answers a POST.
///
/// # Errors
/// Who asks may not, or the request was not sent to this server. What is wrong with the message itself is
/// answered in the words of MCP.
pub(crate) async fn post(shared: Arc<Shared>, call: Call) -> Result<Reply, Problem> {
    guard::check_origin(&call)?;
    // Before anything is told by the name that it was called by.
    guard::check_host(&call, &shared.options)?;
    let visitor = shared.door.admit(&call);
    let visitor =
        visitor.map_err(|problem| metadata::challenge(problem, &call, &shared.options))?;
    let answered = take(&shared, &call, visitor).await;
    Ok(answered.unwrap_or_else(Refusal::into_reply))
}

async fn take(shared: &Arc<Shared>, call: &Call, visitor: Visitor) -> Result<Reply, Refusal> {
    let accepts = Accepts::of(&call.headers);
    if !accepts.json && !accepts.stream {
        let why = "the client has to accept application/json and text/event-stream";
        return Err(refuse(StatusCode::NOT_ACCEPTABLE, INVALID_REQUEST, why));
    }
    guard::version(&call.headers)?;
    let (messages, is_batch) = body::read(&call.body, shared.options.message_bytes_max)?;
    if let [Incoming::Request { id, method, params }] = &messages[..]
        && **method == *greeting::METHOD
        && !is_batch
    {
        return greeting::greet(shared, call, &visitor.caller, id, params.as_deref());
    }
    let session = session(shared, call, &visitor.caller)?;
    if is_batch && !session.version.has_batches() {
        let why = "several messages in one body are no part of this revision of the protocol";
        return Err(refuse(StatusCode::BAD_REQUEST, INVALID_REQUEST, why));
    }
    let caller = session.heard(&visitor.caller);
    let filter = answer::filter(call);
    let requests: Vec<Request> = messages
        .into_iter()
        .filter_map(|message| told(shared, &session, message))
        .collect();
    if requests.is_empty() {
        return Ok(Reply::empty(StatusCode::ACCEPTED));
    }
    if accepts.json
        && let [request] = &requests[..]
        && let Some(text) = answer::at_once(shared, &session, &caller, request, &filter)
    {
        let parts = session.hold(&request.id, text);
        return Ok(Reply::in_parts(StatusCode::OK, JSON, parts));
    }
    let work = Work {
        shared,
        session: &session,
        caller,
        filter,
        accepts,
    };
    Ok(work.run(requests, visitor).await)
}

/// The session that a request is of.
pub(crate) fn session(
    shared: &Shared,
    call: &Call,
    caller: &Caller,
) -> Result<Arc<Session>, Refusal> {
    let Some(id) = call.headers.get(guard::SESSION_ID) else {
        let why = "the request names no session: begin with `initialize`";
        return Err(refuse(StatusCode::BAD_REQUEST, INVALID_REQUEST, why));
    };
    let owner = caller.principal.source();
    let namespace = call.param("namespace").unwrap_or_default();
    let found = id.to_str().ok();
    let found = found.and_then(|id| shared.sessions.find(id, owner, namespace));
    found.ok_or_else(|| {
        let why = "there is no such session";
        refuse(StatusCode::NOT_FOUND, SESSION_NOT_FOUND, why)
    })
}

/// Takes what wants no answer, and gives what does.
fn told(shared: &Arc<Shared>, session: &Arc<Session>, message: Incoming) -> Option<Request> {
    #[derive(Deserialize)]
    struct Cancelled {
        #[serde(rename = "requestId")]
        request_id: CancelledId,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum CancelledId {
        Number(i64),
        Text(Box<str>),
    }
    match message {
        Incoming::Request { id, method, params } => return Some(Request { id, method, params }),
        Incoming::Response { id, outcome } => session.questions.answered(id.as_ref(), outcome),
        Incoming::Notification { method, params } => match (&*method, params) {
            ("notifications/cancelled", Some(params)) => {
                if let Ok(cancelled) = serde_json::from_str::<Cancelled>(params.get()) {
                    session.cancel(&match cancelled.request_id {
                        CancelledId::Number(number) => Id::Number(number),
                        CancelledId::Text(text) => Id::Text(text),
                    });
                }
            }
            ("notifications/progress", Some(params)) => session.questions.progressed(&params),
            ("notifications/roots/list_changed", _) => roots::changed(shared, session),
            _ => {}
        },
    }
    None
}

/// The requests of one body, and for whom they are.
struct Work<'a> {
    shared: &'a Arc<Shared>,
    session: &'a Arc<Session>,
    caller: Caller,
    filter: ToolFilter,
    accepts: Accepts,
}

impl Work<'_> {
    /// Works on requests, and answers as soon as it is known how.
    async fn run(self, requests: Vec<Request>, visitor: Visitor) -> Reply {
        let channel = self.session.streams.open();
        let owed = Arc::new(Owed(channel.clone()));
        for request in requests {
            self.begin(request, &owed);
        }
        drop(owed);
        let options = &self.shared.options;
        let patience = match self.accepts {
            // There is no other way to answer: what takes too long ends by its own deadline.
            Accepts { stream: false, .. } => options.request_timeout * 2,
            Accepts { json: false, .. } => Duration::ZERO,
            Accepts { .. } => options.stream_after,
        };
        match channel.begins(patience).await {
            Beginning::Whole(answers) if self.accepts.json => whole(self.session, answers),
            Beginning::Whole(_) | Beginning::Stream => {
                stream(self.shared, self.session, visitor, &channel)
            }
        }
    }

    /// Has a request worked on, also when its client goes away: it may come back for the answer, and nothing
    /// that was begun is left half done.
    fn begin(&self, request: Request, owed: &Arc<Owed>) {
        let (shared, session) = (self.shared.clone(), self.session.clone());
        let caller = self.caller.clone();
        if let Some(text) = answer::at_once(&shared, &session, &caller, &request, &self.filter) {
            return session.give(&owed.0, &request.id, text.whole());
        }
        let bytes = request
            .params
            .as_ref()
            .map_or(0, |params| params.get().len());
        let running = match session.begin(&request.id, bytes) {
            Ok(running) => running,
            Err(error) => return give(&session, &owed.0, &request.id, &Err(error)),
        };
        let peer = SessionPeer {
            session: session.clone(),
            channel: self.accepts.stream.then(|| owed.0.clone()),
            question_timeout: shared.options.question_timeout,
        };
        let owed = owed.clone();
        tokio::spawn(async move {
            let cancel = running.cancel.clone();
            let working = answer::answer(&shared, &session, &caller, &request, peer, &cancel);
            let outcome = tokio::select! {
                biased;
                () = cancel.cancelled() => None,
                outcome = working => Some(outcome),
            };
            // Its id is free before its client can know that.
            drop(running);
            if let Some(outcome) = outcome {
                give(&session, &owed.0, &request.id, &outcome);
            }
        });
    }
}

fn give(session: &Session, channel: &Channel, id: &Id, outcome: &Result<Raw, RpcError>) {
    let answer = message::response(Some(id), outcome);
    session.give(channel, id, answer);
}

/// The answers as one body.
fn whole(session: &Session, mut answers: Vec<Bytes>) -> Reply {
    match answers.len() {
        // The client cancelled: it is owed nothing.
        0 => Reply::empty(StatusCode::ACCEPTED),
        1 => json(answers.swap_remove(0)),
        _ => {
            let mut body = vec![b'['];
            for (at, answer) in answers.iter().enumerate() {
                if at > 0 {
                    body.push(b',');
                }
                body.extend_from_slice(answer);
            }
            body.push(b']');
            json(session.hold_anyway(body))
        }
    }
}

pub(crate) fn json(body: Bytes) -> Reply {
    Reply::bytes(StatusCode::OK, JSON, body)
}

/// The answers as a stream, which the client can come back to.
fn stream(
    shared: &Shared,
    session: &Arc<Session>,
    visitor: Visitor,
    channel: &Arc<Channel>,
) -> Reply {
    session.streams.keep(channel);
    let reader = channel.read(None);
    let (session, interval) = (session.clone(), shared.options.comment_interval);
    streaming(move |draining| {
        let ends = (Ends::WithItsAnswer, draining);
        EventStream::new(reader, session, visitor, interval, ends)
    })
}

pub(crate) fn streaming<F, B>(make: F) -> Reply
where
    F: FnOnce(CancellationToken) -> B + Send + 'static,
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    Reply::stream(StatusCode::OK, sse::CONTENT_TYPE, make)
        .header(guard::X_ACCEL_BUFFERING, HeaderValue::from_static("no"))
}
