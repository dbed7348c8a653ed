//! The reactor of an endpoint: one signed request for each event, and what its answer means.

mod answer;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::{HeaderMap, Method};
use nexus_core::{
    Attempt, Event, Exchange, Filter, From, Log, PatternSet, Position, Reaction, Reactor,
    ReactorError, ReactorOptions,
};
use nexus_outbound::{Client, Outgoing, Trust};
use nexus_reactors::retry_after;
use tokio::time::Instant;

use self::answer::{Secrets, read_some};
use crate::{
    EndpointsOptions,
    error::chain,
    keys::Keys,
    message,
    settings::{Selection, Settings},
};

/// What the engine waits longer than the receiver is given.
const TIMEOUT_SLACK: Duration = Duration::from_secs(5);
/// This much of an answer stands in the text of an error.
const ANSWER_CHARS_MAX: usize = 200;
/// In the place of what is secret, or of no use to people.
const LEFT_OUT: &str = "…";

/// The condition that comes with an owner who may not read everything, as people read it.
const OWNER_MAY_READ: &str = "its owner may read it";

/// Sends events to one endpoint.
pub(crate) struct Delivery {
    pub(crate) options: ReactorOptions,
    pub(crate) settings: Arc<Settings>,
    /// The endpoint's own headers.
    pub(crate) headers: HeaderMap,
    pub(crate) trust: Trust,
    /// Replaced while it runs, when a secret is rotated.
    pub(crate) keys: Arc<ArcSwap<Keys>>,
    pub(crate) client: Client,
    pub(crate) log: Log,
}

/// The name of the engine's target for an endpoint.
pub(crate) fn target_name(id: &str) -> String {
    format!("endpoint-{id}")
}

/// How the engine runs an endpoint.
pub(crate) fn options(
    id: &str,
    settings: &Settings,
    selection: Selection,
    reads: &PatternSet,
    begin: Position,
    of_all: &EndpointsOptions,
) -> ReactorOptions {
    let mut options = ReactorOptions::new(&target_name(id), selection.patterns);
    options.filter = within(reads, selection.filter);
    options.timeout = settings.timeout() + TIMEOUT_SLACK;
    options.retry = settings.schedule();
    options.ordering = settings.engine_ordering();
    options.concurrency = settings.concurrency;
    options.begin = Some(From::After(begin));
    options.rate_per_second = settings.rate;
    options.breaker = Some(of_all.breaker);
    options.keeps_outcomes = true;
    options.gives_up_after = Some(of_all.disable_after);
    options
}

/// The condition, within what the owner may read.
fn within(reads: &PatternSet, filter: Option<Filter>) -> Option<Filter> {
    if reads.is_everything() {
        return filter;
    }
    let reads = reads.clone();
    let text: Arc<str> = match &filter {
        Some(filter) => format!("{}, and {OWNER_MAY_READ}", filter.text()).into(),
        None => OWNER_MAY_READ.into(),
    };
    Some(Filter::new(text, move |event: &Event| {
        reads.matches(&event.topic) && filter.as_ref().is_none_or(|one| one.matches(event))
    }))
}

impl Reactor for Delivery {
    fn options(&self) -> ReactorOptions {
        self.options.clone()
    }

    fn target_url(&self) -> Option<String> {
        Some(self.settings.shown_url())
    }

    fn rehearses(&self) -> bool {
        true
    }

    async fn react(&self, attempt: Attempt) -> Result<Reaction, ReactorError> {
        let call = self.message(&attempt)?;
        let shown = self.shown(&call);
        // What an attempt that runs out of time leaves behind.
        attempt.exchange(shown.clone());
        if !attempt.mode.calls_out() {
            return Ok(Reaction::nothing());
        }
        let (exchange, result) = self.send(call, shown).await;
        attempt.exchange(exchange);
        result.map(|()| Reaction::nothing())
    }
}

impl Delivery {
    /// What is sent: the body, what says what it is, and what proves it.
    fn message(&self, attempt: &Attempt) -> Result<Outgoing, ReactorError> {
        let event = &attempt.event;
        let position = self.log.position(event.seq);
        let format = self.settings.format;
        let body = message::body(format, event, position, &self.log.catalogue())
            .ok_or_else(|| ReactorError::final_("the payload cannot be sent in this format"))?;
        let now_us = self.log.clock().now_us();
        let signed = self.keys.load().sign(&event.id.to_string(), now_us, &body);
        let signed = signed.ok_or_else(|| ReactorError::retry("no secret signs any more"))?;
        let mut call = Outgoing::new(Method::POST, self.settings.url.clone(), self.trust);
        call.timeout = self.settings.timeout();
        call.headers = self.headers.clone();
        // Names of these are refused among the endpoint's own.
        call.headers
            .extend(message::headers(attempt, format, position));
        call.headers.extend(signed);
        call.body = body;
        Ok(call)
    }

    /// What people may see of it.
    fn shown(&self, call: &Outgoing) -> Exchange {
        let headers = call.headers.iter().map(|(name, value)| {
            let is_code = name.as_str().ends_with("signature");
            let value = match value.to_str() {
                Ok(text) if !value.is_sensitive() && !is_code => text,
                _ => LEFT_OUT,
            };
            (name.as_str().to_owned(), value.to_owned())
        });
        Exchange {
            method: call.method.to_string(),
            url: self.settings.shown_url(),
            headers: headers.collect(),
            body: call.body.clone(),
            ..Exchange::default()
        }
    }

    /// Makes the call, and says what came of it.
    async fn send(
        &self,
        call: Outgoing,
        mut exchange: Exchange,
    ) -> (Exchange, Result<(), ReactorError>) {
        let began = Instant::now();
        let secrets = Secrets::of(&call.headers, &call.url);
        let opened = self.client.open(call, answer::TIMEOUT).await;
        let result = match opened {
            Err(error) => Err(ReactorError::retry(chain(&error))),
            Ok(mut opened) => {
                exchange.answer = read_some(&mut opened, &secrets).await;
                exchange.status = Some(opened.status);
                let now_us = self.log.clock().now_us();
                judge(opened.status, &opened.headers, &exchange.answer, now_us)
            }
        };
        exchange.duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        (exchange, result)
    }
}

/// What an answer means: 2xx is success, 410 says that nobody will ever take it, everything else may pass.
fn judge(status: u16, headers: &HeaderMap, answer: &[u8], now_us: i64) -> Result<(), ReactorError> {
    let detail = || {
        let text = String::from_utf8_lossy(answer);
        let printable = text.chars().filter(|c| !c.is_control());
        let text: String = printable.take(ANSWER_CHARS_MAX).collect();
        match (status, text.as_str()) {
            (300..=399, _) => format!("answered {status}: redirects are not followed"),
            (_, "") => format!("answered {status}"),
            (_, text) => format!("answered {status}: {text}"),
        }
    };
    match status {
        200..=299 => Ok(()),
        410 => Err(ReactorError::gone(detail())),
        _ => Err(ReactorError::Retry {
            detail: detail(),
            after: retry_after(headers, now_us),
        }),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::header::RETRY_AFTER;
    use nexus_core::Topic;

    use super::*;

    fn judged(status: u16, retry_after: Option<&'static str>) -> Result<(), ReactorError> {
        let mut headers = HeaderMap::new();
        if let Some(text) = retry_after {
            headers.insert(RETRY_AFTER, http::HeaderValue::from_static(text));
        }
        judge(status, &headers, b"said\nso", 0)
    }

    #[test]
    fn only_2xx_is_success_and_only_410_is_for_good() {
        for status in [200, 201, 202, 204, 299] {
            assert!(judged(status, None).is_ok(), "{status}");
        }
        for status in [
            100, 300, 301, 302, 307, 308, 400, 401, 404, 429, 500, 503, 599,
        ] {
            let error = judged(status, None).unwrap_err();
            assert!(
                matches!(error, ReactorError::Retry { after: None, .. }),
                "{status}: {error}"
            );
        }
        assert!(matches!(
            judged(410, Some("5")),
            Err(ReactorError::Gone { .. })
        ));
        let error = judged(503, Some("120")).unwrap_err();
        assert_eq!(error.to_string(), "answered 503: saidso");
        let asked = Some(Duration::from_secs(120));
        assert!(matches!(error, ReactorError::Retry { after, .. } if after == asked));
    }

    #[test]
    fn rights_narrow_what_is_sent() {
        let reads = PatternSet::parse(["payment.*"]).unwrap();
        assert_eq!(within(&PatternSet::everything(), None), None);
        let filter = within(&reads, None).unwrap();
        let event = |topic: &str| Event {
            seq: nexus_core::Seq::new(1),
            id: uuid::Uuid::nil(),
            topic: Topic::parse(topic).unwrap(),
            source: nexus_core::Source::nexus(),
            key: None,
            time_us: 0,
            causes: Bytes::from_static(b"{}"),
            payload: Bytes::from_static(b"{}"),
        };
        assert!(filter.matches(&event("payment.received")));
        assert!(!filter.matches(&event("vote.cast")));
        let never = Filter::new("false", |_| false);
        let both = within(&reads, Some(never)).unwrap();
        assert!(!both.matches(&event("payment.received")));
        assert_eq!(both.text(), "false, and its owner may read it");
    }
}
