//! How what was sent and answered is written.

use nexus_core::{Log, iso8601};
use nexus_reactors::{AttemptInfo, DeliveryInfo, OutcomeInfo, OutcomeState, http::ExchangeView};
use serde::Serialize;

/// One event on its way to an endpoint, or at the end of it.
#[derive(Serialize)]
pub(super) struct DeliveryView<'a> {
    event_id: String,
    position: String,
    topic: &'a str,
    state: &'static str,
    attempts: u32,
    error: Option<&'a str>,
    /// When it ended; of one that waits, when the last attempt did.
    time: String,
    next_attempt_at: Option<String>,
    exchange: Option<ExchangeView<'a>>,
}

impl<'a> DeliveryView<'a> {
    /// One that has ended.
    pub(super) fn ended(log: &Log, outcome: &'a OutcomeInfo) -> Self {
        Self {
            event_id: outcome.event_id.to_string(),
            position: log.position(outcome.seq).to_string(),
            topic: &outcome.topic,
            state: match outcome.state {
                OutcomeState::Done | OutcomeState::Already => "delivered",
                OutcomeState::Dead => "dead",
            },
            attempts: outcome.attempts,
            error: outcome.error.as_deref(),
            time: iso8601(outcome.time_us),
            next_attempt_at: None,
            exchange: outcome.exchange.as_ref().map(ExchangeView::new),
        }
    }

    /// One that waits for another attempt.
    pub(super) fn waiting(log: &Log, delivery: &'a DeliveryInfo) -> Self {
        let last: Option<&AttemptInfo> = delivery.errors.last();
        let time_us = last.map_or(delivery.created_us, |attempt| attempt.time_us);
        Self {
            event_id: delivery.event_id.to_string(),
            position: log.position(delivery.seq).to_string(),
            topic: &delivery.topic,
            state: "waiting",
            attempts: delivery.attempts,
            error: last.map(|attempt| attempt.error.as_str()),
            time: iso8601(time_us),
            next_attempt_at: delivery.due_us.map(iso8601),
            exchange: last
                .and_then(|attempt| attempt.exchange.as_ref())
                .map(ExchangeView::new),
        }
    }
}
