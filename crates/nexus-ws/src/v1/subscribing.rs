//! How a subscription begins: what may be asked for, and where it starts.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use nexus_core::{Catalogue, Coded, Error, Filter, From, Kind, PatternSet, Scope, Start};
use nexus_expr::compile_filter_with;

use super::{
    V1, acknowledging,
    answers::Answer,
    consumers::{CursorName, Lease},
    protocol::Subscribe,
    refusal::{About, Refusal},
    subscriptions::Subscription,
};
use crate::{
    format::Format,
    reader::Reader,
    selection::{Rights, Selection},
    socket::Link,
};

/// A subscription whose start is being looked up.
pub(super) struct Starting {
    id: Arc<str>,
    patterns: PatternSet,
    filter: Option<Filter>,
    batch: bool,
    lease: Option<Lease>,
    start: BoxFuture<'static, Result<Start, Error>>,
}

impl Starting {
    /// The durable cursor that it will read with.
    pub(super) fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }
}

impl V1 {
    /// Checks what is asked for, and begins to look up where it starts.
    pub(super) fn begin(&self, subscribe: Subscribe, link: &Link) -> Result<Starting, Refusal> {
        let grant = link.grant.as_ref();
        let principal = grant.map(|grant| &grant.principal);
        let may_read = principal.filter(|principal| principal.scopes().has(Scope::Read));
        let (Some(principal), Some(rights)) = (may_read, &self.rights) else {
            let message = "the token has no scope read";
            return Err(Refusal::new("not-permitted", message));
        };
        if self
            .subscriptions
            .iter()
            .any(|each| each.id == subscribe.id)
        {
            let message = "there is a subscription with this id";
            return Err(Refusal::new("conflict", message));
        }
        let catalogue = self.shared.log.catalogue();
        let patterns = resolve(&subscribe.patterns, &catalogue, rights)?;
        let patterns_max = self.shared.options.patterns_max;
        if self.subscriptions.patterns() + patterns.iter().count() > patterns_max {
            let message = format!("a connection has at most {patterns_max} patterns");
            return Err(Refusal::new("too-many", message));
        }
        let filter = subscribe.filter.as_deref();
        let filter = filter.map(|text| compile_filter_with(text, &catalogue));
        let filter = filter.transpose().map_err(Refusal::of_filter)?;
        let cursor = subscribe.cursor.map(|name| CursorName {
            owner: principal.source().clone(),
            name,
        });
        let (lease, start) = match cursor {
            None => {
                let from = subscribe.from.unwrap_or(From::Latest);
                (None, self.shared.start(from))
            }
            Some(cursor) => {
                let mut others = self.subscriptions.iter().filter_map(|each| {
                    let durable = each.durable.as_ref()?;
                    Some(&durable.lease.cursor)
                });
                if others.any(|other| *other == cursor) {
                    let message = "another subscription of this connection has the cursor";
                    return Err(Refusal::new("conflict", message));
                }
                let log = self.shared.log.clone();
                let start = acknowledging::begin(log, cursor.clone(), subscribe.from);
                let signal = link.seat.signal.clone();
                let lease = self.shared.consumers.take(cursor, signal);
                (Some(lease), Box::pin(start) as BoxFuture<'static, _>)
            }
        };
        Ok(Starting {
            id: subscribe.id,
            patterns,
            filter,
            batch: subscribe.batch,
            lease,
            start,
        })
    }

    /// Finishes a subscription whose start is known now.
    pub(super) fn poll_starting(&mut self, link: &mut Link, context: &mut Context<'_>) -> bool {
        let Some(starting) = &mut self.starting else {
            return false;
        };
        let Poll::Ready(start) = starting.start.as_mut().poll(context) else {
            return false;
        };
        let (Some(starting), Some(rights)) = (self.starting.take(), &self.rights) else {
            return false;
        };
        let id = starting.id.clone();
        let start = match start {
            Ok(start) => start,
            Err(error) => {
                // What a client asked for wrongly is told to the client alone.
                if matches!(error.kind(), Kind::Internal | Kind::Unavailable) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a subscription could not be started"
                    );
                }
                let refusal = Refusal::of(&error).about(About::Id(id));
                link.outbound.answer(&refusal.to_json());
                return true;
            }
        };
        let sub = self.subscriptions.number();
        let format = if starting.batch {
            Format::V1Batch { sub }
        } else {
            Format::V1 { sub }
        };
        let count = starting.patterns.iter().count();
        let selection = Selection::of_patterns(format, &starting.patterns, starting.filter, rights);
        let signal = link.seat.signal.clone();
        let reader = Reader::new(self.shared.clone(), signal, selection, start.position.seq);
        let answer = Answer::subscribed(&id, sub, start);
        link.outbound.answer(&answer.to_json());
        let lease = starting.lease;
        let subscription = Subscription::new(id, sub, reader, count, lease, start.position);
        self.subscriptions.add(subscription);
        true
    }
}

/// The patterns that are named, if something that they stand for may be read.
pub(crate) fn resolve(
    texts: &[String],
    catalogue: &Catalogue,
    rights: &Rights,
) -> Result<PatternSet, Refusal> {
    let mut patterns = Vec::with_capacity(texts.len());
    for text in texts {
        let resolved = catalogue.resolve_pattern(text);
        let (pattern, _) = resolved.map_err(|error| Refusal::of(&error))?;
        if !rights.may_read(&pattern) {
            let message = format!("{pattern} may not be read with this token");
            return Err(Refusal::new("not-permitted", message));
        }
        patterns.push(pattern);
    }
    Ok(patterns.into_iter().collect())
}
