//! `POST /api/v1/events`: events in, all of a request or none.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use nexus_core::{
    Command, Digest, Error, Guard, Kind, NewEvent, Once, Position, Principal, Receipt, Seq, Source,
    sha256, write_decimal, write_position, write_time, write_uuid,
};
use nexus_http::{Call, Problem, Reply};

use super::{
    Answered, V1, answer,
    body::Body,
    faults::{explain, is_about_an_event},
};
use crate::{
    faces::request::{self, IDEMPOTENT_REPLAYED},
    limits::Allowance,
};

const EXPECTED_LAST: HeaderName = HeaderName::from_static("nexus-expected-last-sequence");

pub(super) async fn publish(v1: &V1, call: &Call) -> Answered {
    let principal = v1.callers.publisher(call)?;
    let body = Body::of(call);
    let guard = expected_last(v1, &call.headers)?;
    let catalogue = v1.log.catalogue();
    let refuse = |error| {
        if is_about_an_event(&error) {
            explain(&body, &v1.log, &catalogue, &principal, error)
        } else {
            told(v1, error)
        }
    };
    let read = body.read(&catalogue);
    // Also what cannot be read costs its sender something.
    let count = read.as_ref().map_or(1, Vec::len);
    let cost = u32::try_from(count).unwrap_or(u32::MAX);
    let limits = &v1.callers.node_limits;
    let allowance = limits.take(principal.source(), cost)?;
    let mut events = read.map_err(refuse)?;
    if events.is_empty() {
        let detail = "there is no event in the body";
        return Err(Problem::new(Kind::Malformed, "invalid-request", detail));
    }
    let once = once(v1, call, &principal, &body, &events)?;
    let of_request = request::causes(call);
    for event in &mut events {
        request::add_causes(&mut event.causes, &of_request);
    }
    let topic = body.is_one().then(|| events[0].event_type.topic.clone());
    let command = Command {
        events,
        once,
        guards: guard.into_iter().collect(),
        changes: Vec::new(),
    };
    let receipt = v1.log.submit(&principal, command).await.map_err(refuse)?;
    let reply = match topic {
        Some(topic) => stored_one(v1, topic.as_str(), &receipt),
        None => stored_many(v1, &receipt),
    };
    Ok(with_headers(reply, &receipt, allowance))
}

/// The condition that the log ends with a certain event, given by its number or its position.
fn expected_last(v1: &V1, headers: &HeaderMap) -> Result<Option<Guard>, Problem> {
    let Some(value) = headers.get(EXPECTED_LAST) else {
        return Ok(None);
    };
    let epoch = v1.log.head().epoch;
    let text = value.to_str().unwrap_or_default();
    let position = match text.parse::<u64>() {
        Ok(seq) if i64::try_from(seq).is_ok() => Some(v1.log.position(Seq::new(seq))),
        _ => text.parse::<Position>().ok(),
    };
    match position {
        Some(position) if position.epoch == epoch => Ok(Some(Guard::LastSeq(position.seq))),
        Some(_) => {
            let detail =
                "the expected last event is of another log: this one was made anew or restored";
            Err(Problem::new(Kind::Stale, "stale", detail))
        }
        None => {
            let detail = "Nexus-Expected-Last-Sequence must be a sequence number or a position";
            Err(Problem::new(Kind::Malformed, "invalid-request", detail))
        }
    }
}

/// The key under which the request counts once: the sender's own, else the ids of its events.
fn once(
    v1: &V1,
    call: &Call,
    principal: &Principal,
    body: &Body<'_>,
    events: &[NewEvent],
) -> Result<Option<Once>, Problem> {
    let sender = principal.source();
    let expires_us = request::key_expires_us(v1.log.clock());
    let under =
        |scope: &Source, key: &str| Once::request(scope, key, body.fingerprint(), expires_us);
    if let Some(key) = request::key(&call.headers)? {
        return Ok(Some(under(sender, key)));
    }
    let in_scope = |scope: String, key: &str| Once {
        scope: scope.into(),
        ..under(sender, key)
    };
    if let [event] = events
        && body.is_one()
    {
        let causes = &event.causes;
        let Some(id) = &causes.origin_id else {
            return Ok(None);
        };
        return Ok(Some(match &causes.origin_source {
            // Of CloudEvents, source and id are unique together. No source has a line break.
            Some(source) => in_scope(format!("{sender}\n{source}"), id),
            None => under(sender, id),
        }));
    }
    Ok(ids_digest(events).map(|digest| {
        let key: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        in_scope(format!("{sender}\nids"), &key)
    }))
}

/// The ids of all events in one; nothing when an event has none.
fn ids_digest(events: &[NewEvent]) -> Option<Digest> {
    let mut ids = Vec::new();
    for event in events {
        let id = event.causes.origin_id.as_deref()?;
        let source = event.causes.origin_source.as_deref().unwrap_or_default();
        for part in [source, id] {
            ids.extend_from_slice(&part.len().to_le_bytes());
            ids.extend_from_slice(part.as_bytes());
        }
    }
    Some(sha256(&ids))
}

/// An error of the log, in the words of this face.
fn told(v1: &V1, error: Error) -> Problem {
    let expected = match &error {
        Error::Refused {
            guard: Guard::LastSeq(expected),
            ..
        } => *expected,
        _ => return Problem::from(error),
    };
    let last = v1.log.stored();
    let mut problem = Problem::from(error);
    problem.detail = format!("the log does not end with event {expected}, and nothing was stored");
    // It may have grown again since the decision.
    problem.with("position", last.to_string())
}

fn stored_one(v1: &V1, topic: &str, receipt: &Receipt) -> Reply {
    let data = |out: &mut Vec<u8>| {
        out.extend_from_slice(b"{\"id\":");
        match receipt.first_id {
            Some(id) => {
                out.push(b'"');
                write_uuid(out, id);
                out.push(b'"');
            }
            // The first answer again, and retention has removed the event since.
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"position\":\"");
        write_position(out, receipt.epoch, receipt.last);
        out.extend_from_slice(b"\",\"seq\":");
        write_decimal(out, receipt.last.get());
        out.extend_from_slice(b",\"topic\":\"");
        out.extend_from_slice(topic.as_bytes());
        out.extend_from_slice(b"\",\"time\":\"");
        write_time(out, receipt.time_us);
        out.extend_from_slice(b"\"}");
    };
    const DATA_BYTES: usize = 320;
    let reply = answer::enveloped(StatusCode::CREATED, v1.log.clock(), DATA_BYTES, data, None);
    let path = match receipt.first_id {
        Some(id) => format!("/api/v1/events/{id}"),
        None => format!("/api/v1/events/{}", receipt.position()),
    };
    match HeaderValue::from_str(&path) {
        Ok(path) => reply.header(header::LOCATION, path),
        Err(_) => reply,
    }
}

/// The events of a request have consecutive numbers in the order in which they were sent, so that first and
/// last say where each is.
fn stored_many(v1: &V1, receipt: &Receipt) -> Reply {
    let count = receipt.last.get() - receipt.first.previous().get();
    let data = |out: &mut Vec<u8>| {
        out.extend_from_slice(b"{\"first\":\"");
        write_position(out, receipt.epoch, receipt.first);
        out.extend_from_slice(b"\",\"last\":\"");
        write_position(out, receipt.epoch, receipt.last);
        out.extend_from_slice(b"\",\"count\":");
        write_decimal(out, count);
        out.extend_from_slice(b",\"time\":\"");
        write_time(out, receipt.time_us);
        out.extend_from_slice(b"\"}");
    };
    const DATA_BYTES: usize = 192;
    answer::enveloped(StatusCode::CREATED, v1.log.clock(), DATA_BYTES, data, None)
}

fn with_headers(reply: Reply, receipt: &Receipt, allowance: Option<Allowance>) -> Reply {
    let position = answer::position_header(receipt.position());
    let mut reply = reply.header(answer::NEXUS_POSITION, position);
    if receipt.replayed {
        reply = reply.header(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    for (name, value) in allowance.into_iter().flat_map(Allowance::headers) {
        reply = reply.header(name, value);
    }
    reply
}
