//! `POST /api/v1/events`: events in, all of a request or none.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use nexus_core::{
    Command, Error, Guard, Kind, Once, Position, Receipt, Seq, write_decimal, write_position,
    write_time, write_uuid,
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
    let key = request::key(&call.headers)?;
    let now_us = v1.log.clock().now_us();
    let once = Once::of_events(principal.source(), key, &events, now_us);
    let of_request = call.causes();
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
        // A number is digits: the standard library also takes a sign.
        Ok(seq) if !text.starts_with('+') && i64::try_from(seq).is_ok() => {
            Some(v1.log.position(Seq::new(seq)))
        }
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
    let reply = Reply::enveloped_raw(StatusCode::CREATED, v1.log.clock(), DATA_BYTES, data, None);
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
    Reply::enveloped_raw(StatusCode::CREATED, v1.log.clock(), DATA_BYTES, data, None)
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
