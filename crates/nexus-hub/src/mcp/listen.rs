//! GET, what a client is told beside the answers to its requests, or goes on with after it lost a stream; and
//! DELETE, the end of a session.

use std::sync::Arc;

use http::StatusCode;
use nexus_http::{Call, Problem, Reply};

use super::{
    Shared,
    channel::Reader,
    guard::{self, Accepts, Refusal, refuse},
    metadata,
    post::{self, session},
    session::{STANDING, Session},
    sse::{Ends, EventId, EventStream},
};
use crate::message::INVALID_REQUEST;

/// Answers a GET with a stream.
///
/// # Errors
/// Who asks may not, or the request was not sent to this server.
pub(crate) fn listen(shared: &Shared, call: &Call) -> Result<Reply, Problem> {
    guard::check_origin(call)?;
    guard::check_host(call, &shared.options)?;
    let visitor = shared.door.admit(call);
    let visitor = visitor.map_err(|problem| metadata::challenge(problem, call, &shared.options))?;
    let found = guard::version(&call.headers)
        .and_then(|_| session(shared, call, &visitor.caller))
        .and_then(|session| Ok((resumed(&session, call)?, session)));
    let ((reader, ends), session) = match found {
        Ok(found) => found,
        Err(refusal) => return Ok(refusal.into_reply()),
    };
    session.heard(&visitor.caller);
    let interval = shared.options.comment_interval;
    Ok(post::streaming(move |draining| {
        EventStream::new(reader, session, visitor, interval, (ends, draining))
    }))
}

/// Which stream is meant, from where on.
fn resumed(session: &Arc<Session>, call: &Call) -> Result<(Reader, Ends), Refusal> {
    if !Accepts::of(&call.headers).stream {
        let why = "the client has to accept text/event-stream";
        return Err(refuse(StatusCode::NOT_ACCEPTABLE, INVALID_REQUEST, why));
    }
    let last = call.headers.get(guard::LAST_EVENT_ID);
    let Some(last) = last.filter(|last| !last.is_empty()) else {
        return Ok((session.standing.read(None), Ends::WithTheServer));
    };
    let last = last.to_str().ok().and_then(EventId::parse);
    match last {
        Some(EventId {
            stream: STANDING,
            number,
        }) => Ok((session.standing.read(Some(number)), Ends::WithTheServer)),
        Some(EventId { stream, number }) => {
            let channel = session.streams.find(stream).ok_or_else(|| {
                let why = "what followed this event is no longer kept";
                refuse(StatusCode::BAD_REQUEST, INVALID_REQUEST, why)
            })?;
            Ok((channel.read(Some(number)), Ends::WithItsAnswer))
        }
        None => {
            let why = "`Last-Event-ID` is no id of an event of this session";
            Err(refuse(StatusCode::BAD_REQUEST, INVALID_REQUEST, why))
        }
    }
}

/// Answers a DELETE: the session is over.
///
/// # Errors
/// As [`listen`].
pub(crate) fn leave(shared: &Shared, call: &Call) -> Result<Reply, Problem> {
    guard::check_origin(call)?;
    guard::check_host(call, &shared.options)?;
    let visitor = shared.door.admit(call);
    let visitor = visitor.map_err(|problem| metadata::challenge(problem, call, &shared.options))?;
    let found = guard::version(&call.headers).and_then(|_| session(shared, call, &visitor.caller));
    Ok(match found {
        Ok(session) => {
            shared.sessions.remove(&session);
            shared.end(&session);
            Reply::empty(StatusCode::NO_CONTENT)
        }
        Err(refusal) => refusal.into_reply(),
    })
}
