//! `GET /api/v1/events`: the log in pages, in both directions.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use nexus_core::{
    Event, EventQuery, Log, Order, PAGE_BYTES_MAX, Position, Principal, Scope, Seq,
    write_cloud_event, write_event,
};
use nexus_http::{Call, Problem, Reply};

use super::{
    Answered, V1, answer,
    body::CLOUD_EVENTS,
    page_cursor::PageCursor,
    question::{Question, Range},
};

/// What is rare is looked for in at most this many pages of the store; what was found until then is the
/// answer.
const STORE_PAGES_MAX: usize = 4;

/// What a page has, and where the next begins.
struct Page {
    events: Vec<Arc<Event>>,
    /// The last event that was looked at, matching or not.
    looked_at: Seq,
    has_more: bool,
}

pub(super) async fn list(v1: &V1, call: &Call) -> Answered {
    let principal = v1.callers.reader(call, Scope::Read)?;
    let question = Question::read(call, &v1.log.catalogue())?;
    let range = question.range(&v1.log).await?;
    let mut page = read(&v1.log, &principal, &question, range).await?;
    check_pruned(&v1.log, &question, range, &mut page).await?;
    let looked_at = v1.log.position(page.looked_at);
    let next = page.has_more.then_some(PageCursor {
        order: question.order,
        looked_at,
    });
    let mut reply = if wants_cloud_events(&call.headers) {
        cloud_events(&page.events)
    } else {
        own_form(v1, &page.events, &meta(&question, looked_at, next))
    };
    if question.order == Order::Ascending {
        reply = reply.header(answer::NEXUS_POSITION, answer::position_header(looked_at));
    }
    if let Some(link) = next.and_then(|next| call.next_link(&next.to_string())) {
        reply = reply.header(header::LINK, link);
    }
    Ok(reply.header(header::VARY, HeaderValue::from_static("accept")))
}

/// Reads pages of the store until the answer is full.
async fn read(
    log: &Log,
    principal: &Principal,
    question: &Question,
    range: Range,
) -> Result<Page, Problem> {
    // What they may not read need not be looked at.
    let patterns = if question.patterns.is_everything() {
        principal.readable()
    } else {
        &question.patterns
    };
    let mut query = EventQuery {
        order: question.order,
        source: question.source.clone(),
        key: question.key.clone(),
        ..EventQuery::page(range.after, range.through, patterns.clone())
    };
    let mut page = Page {
        events: Vec::new(),
        looked_at: match question.order {
            Order::Ascending => range.after,
            Order::Descending => range.through.next(),
        },
        has_more: range.after < range.through,
    };
    let mut bytes = 0;
    for _ in 0..STORE_PAGES_MAX {
        let is_full = page.events.len() >= question.limit || bytes >= PAGE_BYTES_MAX;
        if is_full || !page.has_more {
            break;
        }
        query.events_max = question.limit - page.events.len();
        query.bytes_max = PAGE_BYTES_MAX - bytes;
        let read = log.events(&query).await?;
        let readable = read.events.into_iter();
        for event in readable.filter(|event| principal.may_read(event)) {
            bytes += event.payload.len();
            page.events.push(event);
        }
        page.looked_at = read.reached;
        page.has_more = !read.done;
        match question.order {
            Order::Ascending => query.after = read.reached,
            Order::Descending => query.through = read.reached.previous(),
        }
    }
    Ok(page)
}

/// Retention may have passed the page while it was read, or the place that it was to go on from.
async fn check_pruned(
    log: &Log,
    question: &Question,
    range: Range,
    page: &mut Page,
) -> Result<(), Problem> {
    let Some(pruned) = log.pruned_since(range.after).await? else {
        return Ok(());
    };
    if range.resumed_after.is_some() {
        let detail = "what follows the position was removed from the log";
        return Err(Problem::gone("pruned", detail, log.position(pruned)));
    }
    if question.order == Order::Ascending {
        // As if it had been asked for a moment later: from the oldest that is kept, without a gap.
        page.events.retain(|event| event.seq > pruned);
        page.looked_at = page.looked_at.max(pruned);
    }
    Ok(())
}

fn meta(question: &Question, looked_at: Position, next: Option<PageCursor>) -> String {
    let next_cursor = next.map_or_else(|| "null".to_owned(), |next| format!("\"{next}\""));
    let has_more = next.is_some();
    match question.order {
        // Where somebody who comes back later goes on.
        Order::Ascending => format!(
            "{{\"next_cursor\":{next_cursor},\"has_more\":{has_more},\"position\":\"{looked_at}\"}}"
        ),
        Order::Descending => {
            format!("{{\"next_cursor\":{next_cursor},\"has_more\":{has_more}}}")
        }
    }
}

fn own_form(v1: &V1, events: &[Arc<Event>], meta: &str) -> Reply {
    let catalogue = v1.log.catalogue();
    let epoch = v1.log.head().epoch;
    let write_all = |out: &mut Vec<u8>| {
        write_array(out, events, |out, event| {
            answer::with_name(&catalogue, event, |name| {
                write_event(out, epoch, event, name);
            });
        });
    };
    let clock = v1.log.clock();
    Reply::enveloped_raw(StatusCode::OK, clock, weight(events), write_all, Some(meta))
}

fn cloud_events(events: &[Arc<Event>]) -> Reply {
    let mut body = Vec::with_capacity(weight(events));
    write_array(&mut body, events, write_cloud_event);
    Reply::bytes(StatusCode::OK, CLOUD_EVENTS, Bytes::from(body))
}

fn write_array(
    out: &mut Vec<u8>,
    events: &[Arc<Event>],
    mut write: impl FnMut(&mut Vec<u8>, &Event),
) {
    out.push(b'[');
    for (n, event) in events.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write(out, event);
    }
    out.push(b']');
}

/// About as many bytes as the events take when they are written.
fn weight(events: &[Arc<Event>]) -> usize {
    const NAMES_BYTES: usize = 256;
    events
        .iter()
        .map(|event| NAMES_BYTES + event.weight())
        .sum()
}

fn wants_cloud_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    accepted
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let essence = range.split(';').next().unwrap_or_default();
            essence.trim().eq_ignore_ascii_case(CLOUD_EVENTS)
        })
}
