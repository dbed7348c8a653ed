//! Reading the log by a tool: the latest events, or those behind a position, waiting for the next if there is
//! none yet.

use std::{sync::Arc, time::Duration};

use nexus_core::{
    Catalogue, Event, EventQuery, Log, Order, PAGE_BYTES_MAX, PatternSet, Position, Principal,
    Scope, Seq, write_event,
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::time::{Instant, timeout_at};

use super::{
    Context, Told, read_arguments,
    refusal::{Refusal, require},
};

/// Events of an answer, unless asked otherwise, and at most.
const LIMIT_DEFAULT: usize = 50;
pub(super) const LIMIT_MAX: usize = 200;
/// How long a call may wait for an event.
pub(super) const WAIT_MS_MAX: u64 = 25_000;
/// What is rare is looked for in at most this many pages of the store.
const STORE_PAGES_MAX: usize = 4;
/// Patterns of one call.
const PATTERNS_MAX: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    #[serde(default)]
    patterns: Vec<String>,
    #[serde(default)]
    after: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    wait_ms: Option<u64>,
}

/// What was found.
pub(super) struct Found {
    pub(super) events: Vec<Arc<Event>>,
    /// Everything up to here was looked at.
    pub(super) looked_at: Seq,
    pub(super) has_more: bool,
}

pub(super) async fn read(context: &Context<'_>, arguments: Option<&RawValue>) -> Told {
    require(context.caller, Scope::Read)?;
    let asked: Read = read_arguments(arguments)?;
    let limit = asked.limit.unwrap_or(LIMIT_DEFAULT);
    let wait_ms = asked.wait_ms.unwrap_or(0);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let why = format!("`limit` is a number from 1 to {LIMIT_MAX}");
        return Err(Refusal::invalid(why));
    }
    if wait_ms > WAIT_MS_MAX {
        let why = format!("`wait_ms` is a number from 0 to {WAIT_MS_MAX}");
        return Err(Refusal::invalid(why));
    }
    if asked.patterns.len() > PATTERNS_MAX {
        let why = format!("there may be {PATTERNS_MAX} patterns");
        return Err(Refusal::invalid(why));
    }
    let patterns = patterns(&context.log.catalogue(), &asked.patterns)?;
    let found = match asked.after {
        None => latest(context.log, context.caller, &patterns, limit).await?,
        Some(after) => {
            let after = after.parse::<Position>()?;
            let until = Instant::now() + Duration::from_millis(wait_ms);
            following(context, &patterns, after, limit, until).await?
        }
    };
    Ok(told(context.log, &found))
}

/// The patterns that texts stand for; everything if there are none.
fn patterns(catalogue: &Catalogue, texts: &[String]) -> Result<PatternSet, Refusal> {
    if texts.is_empty() {
        return Ok(PatternSet::everything());
    }
    let patterns = texts
        .iter()
        .map(|text| catalogue.resolve_pattern(text).map(|(pattern, _)| pattern));
    Ok(patterns.collect::<Result<_, _>>()?)
}

pub(super) fn told(log: &Log, found: &Found) -> Value {
    let (catalogue, epoch) = (log.catalogue(), log.head().epoch);
    let events = found.events.iter().map(|event| {
        let mut text = Vec::new();
        // A topic that is no longer declared keeps the name it had by default.
        match catalogue.get(&event.topic) {
            Some(known) => write_event(&mut text, epoch, event, &known.name),
            None => {
                let name = event.topic.as_str().to_uppercase().replace('.', "_");
                write_event(&mut text, epoch, event, &name);
            }
        }
        serde_json::from_slice::<Value>(&text).unwrap_or_default()
    });
    json!({
        "events": events.collect::<Vec<_>>(),
        "position": log.position(found.looked_at),
        "has_more": found.has_more,
    })
}

/// The latest events that somebody may read, the oldest of them first.
pub(super) async fn latest(
    log: &Log,
    reader: &Principal,
    patterns: &PatternSet,
    limit: usize,
) -> Result<Found, nexus_core::Error> {
    let (after, through) = (log.pruned_through().await?, log.stored().seq);
    let mut query = EventQuery {
        order: Order::Descending,
        ..EventQuery::page(after, through, patterns.clone())
    };
    let mut found = page(log, reader, &mut query, limit).await?;
    found.events.reverse();
    // Whoever goes on, goes on behind all of it.
    found.looked_at = through;
    found.has_more = false;
    Ok(found)
}

/// What follows a position; if that is nothing yet, what comes until a moment.
async fn following(
    context: &Context<'_>,
    patterns: &PatternSet,
    after: Position,
    limit: usize,
    until: Instant,
) -> Result<Found, Refusal> {
    let log = context.log;
    let end = log.stored();
    if after.epoch != end.epoch || after.seq > end.seq {
        let error = nexus_core::Error::UnknownPosition {
            position: after,
            end,
        };
        return Err(error.into());
    }
    let mut heads = log.head_changes();
    let mut seq = after.seq;
    loop {
        // Marked as seen before the page is read: what comes after it wakes us.
        heads.borrow_and_update();
        let through = log.stored().seq;
        let mut query = EventQuery::page(seq, through, patterns.clone());
        let found = page(log, context.caller, &mut query, limit).await?;
        // Asked behind the page: what was removed before it was read is known by now.
        if let Some(pruned) = log.pruned_since(seq).await? {
            let through = log.position(pruned);
            return Err(nexus_core::Error::Pruned { through }.into());
        }
        let is_over = !found.events.is_empty() || found.has_more;
        if is_over || timeout_at(until, heads.changed()).await.is_err() {
            return Ok(found);
        }
        seq = found.looked_at;
    }
}

/// Reads pages of the store until there is enough.
async fn page(
    log: &Log,
    reader: &Principal,
    query: &mut EventQuery,
    limit: usize,
) -> Result<Found, nexus_core::Error> {
    let mut found = Found {
        events: Vec::new(),
        looked_at: query.after,
        has_more: query.after < query.through,
    };
    let mut bytes = 0;
    for _ in 0..STORE_PAGES_MAX {
        let is_full = found.events.len() >= limit || bytes >= PAGE_BYTES_MAX;
        if is_full || !found.has_more {
            break;
        }
        query.events_max = limit - found.events.len();
        query.bytes_max = PAGE_BYTES_MAX - bytes;
        let page = log.events(query).await?;
        let readable = page.events.into_iter();
        for event in readable.filter(|event| reader.may_read(event)) {
            bytes += event.payload.len();
            found.events.push(event);
        }
        found.looked_at = page.reached;
        found.has_more = !page.done;
        match query.order {
            Order::Ascending => query.after = page.reached,
            Order::Descending => query.through = page.reached.previous(),
        }
    }
    Ok(found)
}
