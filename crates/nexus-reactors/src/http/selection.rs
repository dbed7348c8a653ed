//! Which deliveries are meant: by target, topic and time; and of dead letters also by their ids.

use std::sync::Arc;

use nexus_core::{Pattern, Topic, parse_iso8601_us};
use nexus_http::{Call, Problem};
use serde::Deserialize;

use crate::{DeliveryId, DeliveryInfo};

/// A request may name this many dead letters.
const IDS_MAX: usize = 1_000;

/// Which deliveries; without anything said, all.
#[derive(Debug, Default)]
pub(super) struct Filter {
    pub(super) reactor: Option<Arc<str>>,
    topic: Option<Pattern>,
    /// Those that were given up (or, while they wait, began to fail) at or after this time …
    since_us: Option<i64>,
    /// … and before this one.
    until_us: Option<i64>,
}

impl Filter {
    pub(super) fn of_query(call: &Call) -> Result<Self, Problem> {
        let topic = call.query("topic");
        Ok(Self {
            reactor: call.query("reactor").map(|name| name.as_ref().into()),
            topic: topic.map(|text| Pattern::parse(&text)).transpose()?,
            since_us: call.query_time_us("since")?,
            until_us: call.query_time_us("until")?,
        })
    }

    pub(super) fn takes(&self, info: &DeliveryInfo) -> bool {
        let time_us = info.failed_us.unwrap_or(info.created_us);
        let is_of_topic = |pattern: &Pattern| {
            Topic::parse(&info.topic).is_ok_and(|topic| pattern.matches(&topic))
        };
        self.reactor
            .as_ref()
            .is_none_or(|name| info.target == *name)
            && self.topic.as_ref().is_none_or(is_of_topic)
            && self.since_us.is_none_or(|since_us| time_us >= since_us)
            && self.until_us.is_none_or(|until_us| time_us < until_us)
    }
}

/// Which dead letters are meant, as a body says it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    ids: Option<Vec<String>>,
    all: Option<bool>,
    reactor: Option<String>,
    topic: Option<String>,
    since: Option<String>,
    until: Option<String>,
}

/// Which dead letters are meant.
#[derive(Debug)]
pub(super) enum Selection {
    /// These.
    Ids(Vec<DeliveryId>),
    /// Those that it takes.
    Of(Filter),
}

impl Asked {
    /// What was asked for: `ids`, or `all`, or a filter. Nothing said is not everything: a slip shall not
    /// discard all there is.
    pub(super) fn selection(self) -> Result<Selection, Problem> {
        let has_filter = self.reactor.is_some()
            || self.topic.is_some()
            || self.since.is_some()
            || self.until.is_some();
        match (self.ids.as_deref(), self.all, has_filter) {
            (Some(ids), None, false) => read_ids(ids).map(Selection::Ids),
            (None, Some(true), false) => Ok(Selection::Of(Filter::default())),
            (None, None, true) => self.filter().map(Selection::Of),
            _ => Err(Problem::invalid_request(
                "say which: `ids`, or `all` as true, or some of `reactor`, `topic`, `since`, `until`",
            )),
        }
    }

    fn filter(self) -> Result<Filter, Problem> {
        Ok(Filter {
            reactor: self.reactor.map(Into::into),
            topic: self.topic.map(|text| Pattern::parse(&text)).transpose()?,
            since_us: time("since", self.since.as_deref())?,
            until_us: time("until", self.until.as_deref())?,
        })
    }
}

fn read_ids(ids: &[String]) -> Result<Vec<DeliveryId>, Problem> {
    if ids.is_empty() || ids.len() > IDS_MAX {
        let detail = format!("`ids` must be a list of 1 to {IDS_MAX} dead letters");
        return Err(Problem::invalid_request(detail));
    }
    let read = |id: &String| {
        id.parse::<DeliveryId>().map_err(|_| {
            let detail = "`ids` must be a list of ids as `payment-to-mint.1042`";
            Problem::invalid_request(detail)
        })
    };
    ids.iter().map(read).collect()
}

fn time(name: &str, text: Option<&str>) -> Result<Option<i64>, Problem> {
    let Some(text) = text else {
        return Ok(None);
    };
    parse_iso8601_us(text).map(Some).ok_or_else(|| {
        Problem::invalid_request(format!("`{name}` must be a time as RFC 3339 writes it"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(body: &str) -> Result<Selection, Problem> {
        serde_json::from_str::<Asked>(body).unwrap().selection()
    }

    #[test]
    fn nothing_said_is_not_everything() {
        for body in [
            "{}",
            r#"{"all":false}"#,
            r#"{"all":true,"reactor":"mint"}"#,
            r#"{"ids":["mint.1"],"all":true}"#,
            r#"{"ids":["mint.1"],"topic":"payment.*"}"#,
            r#"{"ids":[]}"#,
            r#"{"ids":["mint/1"]}"#,
            r#"{"since":"yesterday"}"#,
            r#"{"topic":"*.."}"#,
        ] {
            assert!(select(body).is_err(), "{body}");
        }
        assert!(matches!(select(r#"{"all":true}"#), Ok(Selection::Of(_))));
        let ids = select(r#"{"ids":["mint.1","mint.2"]}"#);
        assert!(matches!(ids, Ok(Selection::Ids(ids)) if ids.len() == 2));
        let some = select(r#"{"reactor":"mint","since":"2026-11-21T06:00:00Z"}"#);
        assert!(matches!(some, Ok(Selection::Of(filter)) if filter.reactor.is_some()));
    }
}
