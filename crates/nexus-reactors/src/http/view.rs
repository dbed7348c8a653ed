//! How targets, deliveries and replays are written on the whole API.

use std::{borrow::Cow, sync::Arc};

use nexus_core::{Exchange, Log, Ordering, iso8601};
use nexus_http::ETag;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    AttemptInfo, BreakerState, DeliveryId, DeliveryInfo, DeliveryState, OutcomeInfo, OutcomeState,
    ReplayInfo, ReplayState, TargetInfo, TargetState,
};

/// A target.
#[derive(Serialize)]
pub(super) struct TargetView {
    name: Arc<str>,
    on: Vec<Arc<str>>,
    filter: Option<Arc<str>>,
    ordering: &'static str,
    state: &'static str,
    why: Option<Arc<str>>,
    since: Option<String>,
    position: String,
    lag: u64,
    waiting: usize,
    dead: usize,
    running: usize,
    is_full: bool,
    breaker: BreakerView,
}

#[derive(Serialize)]
struct BreakerView {
    state: &'static str,
    until: Option<String>,
}

impl TargetView {
    pub(super) fn new(info: &TargetInfo) -> Self {
        Self {
            name: info.name.clone(),
            on: info.on.clone(),
            filter: info.filter.clone(),
            ordering: match info.ordering {
                Ordering::None => "none",
                Ordering::Key => "key",
                Ordering::All => "all",
            },
            state: state(info),
            why: info.why.clone(),
            since: info.since_us.map(iso8601),
            position: info.position.to_string(),
            lag: info.lag,
            waiting: info.waiting,
            dead: info.dead,
            running: info.running,
            is_full: info.is_full,
            breaker: match info.breaker {
                BreakerState::Closed => breaker("closed", None),
                BreakerState::Open { until_us } => breaker("open", Some(until_us)),
                BreakerState::Probing => breaker("probing", None),
            },
        }
    }
}

fn breaker(state: &'static str, until_us: Option<i64>) -> BreakerView {
    BreakerView {
        state,
        until: until_us.map(iso8601),
    }
}

/// What a target is doing; one whose loop has ended is stopped, whatever was asked of it.
pub(super) fn state(info: &TargetInfo) -> &'static str {
    match info.state {
        TargetState::Running if info.is_stopped => "stopped",
        state => state.as_str(),
    }
}

/// The version of what can be changed of a target: whether it runs.
pub(super) fn target_etag(info: &TargetInfo) -> ETag {
    let since_us = info.since_us.unwrap_or_default();
    ETag::of_parts(&[info.state as u64, since_us.unsigned_abs()])
}

/// The version of a delivery: it changes with each attempt.
pub(super) fn delivery_etag(info: &DeliveryInfo) -> ETag {
    ETag::of_revision(info.revision)
}

/// A delivery or dead letter, as a list has it.
#[derive(Serialize)]
pub(super) struct DeliveryView<'a> {
    id: String,
    reactor: &'a str,
    state: &'static str,
    event: EventView<'a>,
    key: Option<&'a str>,
    target_url: Option<&'a str>,
    attempts: u32,
    crashes: u32,
    error: &'a str,
    created_at: String,
    next_attempt_at: Option<String>,
    failed_at: Option<String>,
}

/// Which event something is about.
#[derive(Serialize)]
pub(super) struct EventView<'a> {
    pub(super) id: String,
    pub(super) position: String,
    pub(super) seq: u64,
    pub(super) topic: &'a str,
}

impl<'a> DeliveryView<'a> {
    pub(super) fn new(log: &Log, info: &'a DeliveryInfo) -> Self {
        Self {
            id: DeliveryId::new(info.target.clone(), info.seq).to_string(),
            reactor: &info.target,
            state: match info.state {
                DeliveryState::Waiting => "waiting",
                DeliveryState::Dead => "dead",
            },
            event: EventView {
                id: info.event_id.to_string(),
                position: log.position(info.seq).to_string(),
                seq: info.seq.get(),
                topic: &info.topic,
            },
            key: info.key.as_deref(),
            target_url: info.target_url.as_deref(),
            attempts: info.attempts,
            crashes: info.crashes,
            error: info.final_error(),
            created_at: iso8601(info.created_us),
            next_attempt_at: info.due_us.map(iso8601),
            failed_at: info.failed_us.map(iso8601),
        }
    }
}

/// A delivery with everything that is kept of its attempts.
#[derive(Serialize)]
pub(super) struct DeliveryDetails<'a> {
    #[serde(flatten)]
    pub(super) delivery: DeliveryView<'a>,
    /// The event's; nothing when it is no longer in the log.
    pub(super) payload: Option<&'a RawValue>,
    pub(super) failures: Vec<FailureView<'a>>,
}

/// An attempt that failed.
#[derive(Serialize)]
pub(super) struct FailureView<'a> {
    attempt: u32,
    time: String,
    error: &'a str,
    exchange: Option<ExchangeView<'a>>,
}

impl<'a> FailureView<'a> {
    pub(super) fn new(info: &'a AttemptInfo) -> Self {
        Self {
            attempt: info.number,
            time: iso8601(info.time_us),
            error: &info.error,
            exchange: info.exchange.as_ref().map(ExchangeView::new),
        }
    }
}

/// What was asked of the outside and what it answered. Bodies are text as far as they are.
#[derive(Debug, Serialize)]
pub struct ExchangeView<'a> {
    method: &'a str,
    url: &'a str,
    headers: &'a [(String, String)],
    body: Cow<'a, str>,
    status: Option<u16>,
    answer: Cow<'a, str>,
    duration_us: u64,
}

impl<'a> ExchangeView<'a> {
    /// As it is written.
    #[must_use]
    pub fn new(exchange: &'a Exchange) -> Self {
        Self {
            method: &exchange.method,
            url: &exchange.url,
            headers: &exchange.headers,
            body: String::from_utf8_lossy(&exchange.body),
            status: exchange.status,
            answer: String::from_utf8_lossy(&exchange.answer),
            duration_us: exchange.duration_us,
        }
    }
}

/// How an event ended.
#[derive(Serialize)]
pub(super) struct OutcomeView<'a> {
    event: EventView<'a>,
    state: &'static str,
    attempts: u32,
    error: Option<&'a str>,
    ended_at: String,
    exchange: Option<ExchangeView<'a>>,
}

impl<'a> OutcomeView<'a> {
    pub(super) fn new(log: &Log, info: &'a OutcomeInfo) -> Self {
        Self {
            event: EventView {
                id: info.event_id.to_string(),
                position: log.position(info.seq).to_string(),
                seq: info.seq.get(),
                topic: &info.topic,
            },
            state: match info.state {
                OutcomeState::Done => "done",
                OutcomeState::Already => "already_done",
                OutcomeState::Dead => "dead",
            },
            attempts: info.attempts,
            error: info.error.as_deref(),
            ended_at: iso8601(info.time_us),
            exchange: info.exchange.as_ref().map(ExchangeView::new),
        }
    }
}

/// A replay.
#[derive(Serialize)]
pub(super) struct ReplayView<'a> {
    id: &'a str,
    reactor: &'a str,
    state: &'static str,
    from: String,
    through: String,
    position: String,
    rate_per_second: f64,
    outbound: bool,
    waiting: usize,
    dead: usize,
    created_at: String,
    ended_at: Option<String>,
}

impl<'a> ReplayView<'a> {
    pub(super) fn new(log: &Log, info: &'a ReplayInfo) -> Self {
        let request = &info.request;
        Self {
            id: info.id.as_str(),
            reactor: &request.target,
            state: replay_state(info.state),
            from: log.position(request.after).to_string(),
            through: log.position(request.through).to_string(),
            position: log.position(info.position).to_string(),
            rate_per_second: request.rate_per_second,
            outbound: request.outbound,
            waiting: info.waiting,
            dead: info.dead,
            created_at: iso8601(info.created_us),
            ended_at: info.ended_us.map(iso8601),
        }
    }
}

pub(super) fn replay_state(state: ReplayState) -> &'static str {
    match state {
        ReplayState::Running => "running",
        ReplayState::Done => "done",
        ReplayState::Cancelled => "cancelled",
    }
}
