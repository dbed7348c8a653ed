//! `GET /events/history`: what happened, for who comes late.

use std::sync::Arc;

use ::http::StatusCode;
use bytes::Bytes;
use nexus_core::{
    Event, EventQuery, Kind, Order, PAGE_BYTES_MAX, PatternSet, Position, Principal, Seq,
    parse_iso8601_us, write_agent_event, write_position,
};
use nexus_http::{Call, Problem, Reply};

use super::{Answered, Face, problem};
use crate::SessionId;

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;
/// What is rare is looked for in at most this many pages of the store.
const STORE_PAGES_MAX: usize = 4;

/// What is asked for.
struct Question {
    patterns: PatternSet,
    limit: usize,
    /// Events behind this …
    after: Seq,
    /// … through this.
    through: Seq,
    /// From which end they are counted.
    order: Order,
}

/// What was found, the oldest first.
struct Found {
    events: Vec<Arc<Event>>,
    /// Everything up to here was looked at.
    looked_at: Seq,
    has_more: bool,
}

pub(super) async fn list(face: &Face, call: &Call) -> Answered {
    let caller = face.caller(call)?;
    let says = call.query("session_id").map(|id| SessionId::parse(&id));
    let says = says.transpose().map_err(problem)?;
    let reader = caller.reader(says.as_ref());
    let question = Question::read(face, call).await?;
    let found = question.ask(face, &reader).await?;
    let epoch = face.agents.log().head().epoch;
    let mut body = Vec::new();
    body.extend_from_slice(b"{\"count\":");
    body.extend_from_slice(found.events.len().to_string().as_bytes());
    body.extend_from_slice(b",\"events\":[");
    for (n, event) in found.events.iter().enumerate() {
        if n > 0 {
            body.push(b',');
        }
        write_agent_event(&mut body, epoch, event);
    }
    body.extend_from_slice(b"],\"position\":\"");
    write_position(&mut body, epoch, found.looked_at);
    body.extend_from_slice(b"\",\"next\":");
    if found.has_more {
        body.push(b'"');
        write_position(&mut body, epoch, found.looked_at);
        body.extend_from_slice(b"\"}");
    } else {
        body.extend_from_slice(b"null}");
    }
    let body = Bytes::from(body);
    Ok(Reply::bytes(StatusCode::OK, "application/json", body))
}

/// Whether its sender wanted it told for a time that is over.
fn is_over(event: &Event, now_us: i64) -> bool {
    const SECOND_US: i64 = 1_000_000;
    let ttl_s = event.causes().ttl_s;
    ttl_s.is_some_and(|ttl_s| now_us - event.time_us >= i64::from(ttl_s) * SECOND_US)
}

impl Question {
    async fn read(face: &Face, call: &Call) -> Result<Self, Problem> {
        let log = face.agents.log();
        let catalogue = log.catalogue();
        let mut patterns = Vec::new();
        for list in call.query_all("event_type") {
            for text in list.split(',').filter(|text| !text.is_empty()) {
                patterns.push(catalogue.resolve_pattern(text)?.0);
            }
        }
        let mut question = Self {
            patterns: if patterns.is_empty() {
                PatternSet::everything()
            } else {
                patterns.into_iter().collect()
            },
            limit: call.limit(LIMIT_DEFAULT, LIMIT_MAX)?,
            after: log.pruned_through().await?,
            through: log.stored().seq,
            order: Order::Descending,
        };
        if let Some(since) = call.query("since").filter(|since| !since.is_empty()) {
            question.begin(face, &since).await?;
        }
        if let Some(after) = call.query("after").filter(|after| !after.is_empty()) {
            let position = after.parse::<Position>()?;
            question.resume(face, position)?;
            question.order = Order::Ascending;
        }
        Ok(question)
    }

    /// Begins at a time, or behind a position.
    async fn begin(&mut self, face: &Face, since: &str) -> Result<(), Problem> {
        if let Ok(position) = since.parse::<Position>() {
            return self.resume(face, position);
        }
        // An offset's `+` that nobody escaped arrives as a space; and Python writes UTC without saying so.
        let time_us = parse_iso8601_us(since)
            .or_else(|| parse_iso8601_us(&since.replace(' ', "+")))
            .or_else(|| parse_iso8601_us(&format!("{since}Z")));
        let time_us = time_us.ok_or_else(|| {
            Problem::invalid_request("`since` must be a time as ISO 8601 writes it, or a position")
        })?;
        let before = face.agents.log().last_before(time_us.saturating_sub(1));
        self.after = self.after.max(before.await?);
        Ok(())
    }

    fn resume(&mut self, face: &Face, position: Position) -> Result<(), Problem> {
        let end = face.agents.log().stored();
        if position.epoch != end.epoch || position.seq > end.seq {
            let detail = format!("{position} is not in this log, which ends at {end}");
            return Err(Problem::new(Kind::Gone, "unknown-position", detail));
        }
        self.after = self.after.max(position.seq);
        Ok(())
    }

    async fn ask(self, face: &Face, reader: &Principal) -> Result<Found, Problem> {
        let mut found = Found {
            events: Vec::new(),
            looked_at: self.after,
            has_more: self.after < self.through,
        };
        let mut query = EventQuery {
            order: self.order,
            ..EventQuery::page(self.after, self.through, self.patterns.clone())
        };
        let now_us = face.agents.log().clock().now_us();
        let (mut bytes, mut events_min) = (0, LIMIT_DEFAULT);
        for _ in 0..STORE_PAGES_MAX {
            let is_full = found.events.len() >= self.limit || bytes >= PAGE_BYTES_MAX;
            if is_full || !found.has_more {
                break;
            }
            // What is for others, or over, does not count: there may be much of it before what is looked for.
            query.events_max = (self.limit - found.events.len()).max(events_min);
            events_min = LIMIT_MAX;
            query.bytes_max = PAGE_BYTES_MAX - bytes;
            let page = face.agents.log().events(&query).await?;
            found.looked_at = page.reached;
            found.has_more = !page.done;
            let events = page.events.into_iter();
            let mut readable = events
                .filter(|event| reader.may_read(event) && !is_over(event, now_us))
                .peekable();
            while found.events.len() < self.limit
                && let Some(event) = readable.next()
            {
                bytes += event.payload.len();
                if found.events.len() + 1 == self.limit && readable.peek().is_some() {
                    found.looked_at = event.seq;
                    found.has_more = true;
                }
                found.events.push(event);
            }
            match self.order {
                Order::Ascending => query.after = found.looked_at,
                Order::Descending => query.through = found.looked_at.previous(),
            }
        }
        if self.order == Order::Descending {
            // The last of what matches: whoever goes on, goes on behind all of it.
            found.events.reverse();
            found.looked_at = self.through;
            found.has_more = false;
        } else if !found.has_more {
            found.looked_at = self.through.max(self.after);
        }
        Ok(found)
    }
}
