//! Lists for people: deliveries and outcomes, newest first, page by page.

use std::sync::Arc;

use nexus_core::{Record, RecordQuery, RecordsBy};

use super::{DeliveryInfo, DeliveryQuery, DeliveryState, Handle, OutcomeInfo, Page};
use crate::{
    Error,
    delivery::{self, DEAD, DELIVERY, Delivery, WAITING},
    outcome::{self, OUTCOME, Outcome},
};

/// A page looks at no more than this many records.
const EXAMINED_MAX: usize = 1_000;
/// This many records are read at once, because a record may hold what was asked and answered.
const READ_MAX: usize = 100;

impl Handle {
    /// The deliveries in one state: dead letters with the newest first, those that wait with the one that is
    /// due next first. Also those of targets that no longer run.
    ///
    /// A page looks at a bounded number of records: it may be short and say where to go on.
    ///
    /// # Errors
    /// [`Error::InvalidPage`] when `after` is of no page of this kind, and [`Error::Log`] when the log cannot
    /// be read.
    pub async fn deliveries(&self, query: DeliveryQuery) -> Result<Page<DeliveryInfo>, Error> {
        let state: Arc<str> = match query.state {
            DeliveryState::Waiting => WAITING.into(),
            DeliveryState::Dead => DEAD.into(),
        };
        let mut place = match &query.after {
            Some(after) => Place::parse(after).ok_or(Error::InvalidPage)?,
            None => Place {
                due_us: i64::MIN,
                key: "".into(),
            },
        };
        let mut page = Page {
            items: Vec::new(),
            next: None,
        };
        let mut examined = 0;
        loop {
            let asked = RecordQuery {
                family: DELIVERY,
                by: RecordsBy::DueAfter(state.clone(), place.due_us),
                after_key: Some(place.key.clone()),
                records_max: READ_MAX.min(query.limit.saturating_add(1)),
            };
            let records = self.log().records(&asked).await?;
            for record in &records {
                if page.items.len() >= query.limit || examined >= EXAMINED_MAX {
                    page.next = Some(place.to_text());
                    return Ok(page);
                }
                examined += 1;
                place = Place {
                    due_us: record.due_us.unwrap_or_default(),
                    key: record.key.key.clone(),
                };
                if query
                    .target
                    .as_ref()
                    .is_none_or(|target| record.scope == *target)
                {
                    page.items.extend(info(record));
                }
            }
            if records.len() < asked.records_max {
                return Ok(page);
            }
        }
    }

    /// A delivery or dead letter by its name, `<target>/<seq>`; nothing when there is none.
    ///
    /// # Errors
    /// [`Error::Log`] when the log cannot be read.
    pub async fn delivery(&self, id: &str) -> Result<Option<DeliveryInfo>, Error> {
        let Some((target, seq)) = delivery::parse_id(id) else {
            return Ok(None);
        };
        let record = self.log().record(&delivery::key(target, seq)).await?;
        Ok(record.as_ref().and_then(info))
    }

    /// How the last events of a target ended, newest first, if it keeps that.
    ///
    /// # Errors
    /// [`Error::InvalidPage`] when `after` is of no page of this kind, and [`Error::Log`] when the log cannot
    /// be read.
    pub async fn outcomes(
        &self,
        target: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<OutcomeInfo>, Error> {
        let scope: Arc<str> = target.into();
        if after.is_some_and(|after| !after.bytes().all(|b| b.is_ascii_digit() || b == b'-')) {
            return Err(Error::InvalidPage);
        }
        let mut query = RecordQuery {
            family: OUTCOME,
            by: RecordsBy::Scope(scope.clone()),
            after_key: after.map(|after| format!("{target}/{after}").into()),
            records_max: READ_MAX,
        };
        let now_us = self.log().clock().now_us();
        let mut page = Page {
            items: Vec::new(),
            next: None,
        };
        loop {
            query.records_max = READ_MAX.min(limit + 1 - page.items.len());
            let records = self.log().records(&query).await?;
            for record in &records {
                let Some(outcome) = Outcome::decode(record) else {
                    tracing::error!(record = %record.key, "an outcome record is damaged");
                    // Passed over, or a page that begins with it would be read for ever.
                    query.after_key = Some(record.key.key.clone());
                    continue;
                };
                // They are listed by time, so what follows is too old as well.
                if !outcome::is_kept(outcome.time_us(), now_us) {
                    return Ok(page);
                }
                if page.items.len() >= limit {
                    page.next = query
                        .after_key
                        .as_deref()
                        .and_then(|key| suffix(key, target));
                    return Ok(page);
                }
                page.items.push(outcome.into_info(&scope));
                query.after_key = Some(record.key.key.clone());
            }
            if records.len() < query.records_max {
                return Ok(page);
            }
        }
    }
}

fn info(record: &Record) -> Option<DeliveryInfo> {
    let Some(delivery) = Delivery::decode(record) else {
        tracing::error!(record = %record.key, "a delivery record is damaged");
        return None;
    };
    Some(delivery.into_info(record))
}

/// The part of an outcome's name that comes after its target: where a page goes on.
fn suffix(key: &str, target: &str) -> Option<Arc<str>> {
    let suffix = key.strip_prefix(target)?.strip_prefix('/')?;
    Some(suffix.into())
}

/// Where a page of deliveries goes on: behind this record.
struct Place {
    due_us: i64,
    key: Arc<str>,
}

impl Place {
    fn to_text(&self) -> Arc<str> {
        format!("{}:{}", self.due_us, self.key).into()
    }

    fn parse(text: &str) -> Option<Self> {
        let (due_us, key) = text.split_once(':')?;
        Some(Self {
            due_us: due_us.parse().ok()?,
            key: key.into(),
        })
    }
}
