//! `GET /events/log`: the newest events, for people and simple clients.

use std::sync::Arc;

use http::StatusCode;
use nexus_core::{
    Catalogue, Event, EventQuery, NameForm, Order, PatternSet, Principal, Scope, Seq,
};
use nexus_http::{Call, Problem, Reply};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Answered, Neo};

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// A rare event is looked for in at most this many pages; what was found until then is the answer.
const PAGES_MAX: usize = 16;

#[derive(Serialize)]
struct Answer<'a> {
    count: usize,
    limit: usize,
    events: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: Uuid,
    seq: u64,
    event: String,
    payload: &'a RawValue,
    source: &'a str,
    timestamp: i64,
}

pub(super) async fn log(neo: Arc<Neo>, call: Call) -> Answered {
    let principal = neo.reader(&call, Scope::Read)?;
    let limit = call.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
    let catalogue = neo.log.catalogue();
    let (patterns, form) = match call.query("event") {
        None => (PatternSet::everything(), NameForm::Name),
        Some(text) => {
            let (pattern, form) = catalogue.resolve_pattern(&text)?;
            (pattern.into(), form)
        }
    };
    let events = newest(&neo, &principal, patterns, limit).await?;
    let entries = events
        .iter()
        .map(|event| entry(event, &catalogue, form))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Reply::json(
        StatusCode::OK,
        &Answer {
            count: entries.len(),
            limit,
            events: entries,
        },
    ))
}

async fn newest(
    neo: &Neo,
    principal: &Principal,
    patterns: PatternSet,
    limit: usize,
) -> Result<Vec<Arc<Event>>, Problem> {
    // Not only up to the head that readers are told of: whoever just got an answer finds their own event.
    let mut query = EventQuery::page(Seq::ZERO, neo.log.stored().seq, patterns);
    query.order = Order::Descending;
    let mut found = Vec::new();
    for _ in 0..PAGES_MAX {
        query.events_max = limit - found.len();
        let page = neo.log.events(&query).await?;
        found.extend(
            page.events
                .into_iter()
                .filter(|event| principal.may_read(event)),
        );
        if page.done || found.len() >= limit {
            break;
        }
        query.through = page.reached.previous();
    }
    Ok(found)
}

fn entry<'a>(
    event: &'a Event,
    catalogue: &Catalogue,
    form: NameForm,
) -> Result<Entry<'a>, Problem> {
    let name = catalogue
        .get(&event.topic)
        .map_or(event.topic.as_str(), |event_type| event_type.name_in(form));
    let payload = serde_json::from_slice(&event.payload).map_err(|error| {
        let detail = format!("the payload of event {} cannot be read: {error}", event.seq);
        Problem::from(nexus_core::Error::Damaged { detail })
    })?;
    Ok(Entry {
        id: event.id,
        seq: event.seq.get(),
        event: name.to_owned(),
        payload,
        source: event.source.as_str(),
        timestamp: event.time_us / 1000,
    })
}
