//! Events on their way from a connection into the log: many at once, kept in the order they came.

use std::{
    slice,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{
    future::BoxFuture,
    stream::{FuturesUnordered, Stream},
};
use nexus_core::{Causes, Command, Error, Log, NewEvent, Once, Principal, Receipt, Source};

use crate::{WsOptions, v1::Refusal};

/// Where a connection's events come from: what its upgrade said.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) request_id: Arc<str>,
    pub(crate) remote: Arc<str>,
    pub(crate) traceparent: Option<Arc<str>>,
}

impl Origin {
    /// Adds to an event's causes what the connection says; what the event says of its own trace stays.
    pub(crate) fn add_to(&self, causes: &mut Causes) {
        causes.request_id = Some(self.request_id.as_ref().to_owned());
        causes.remote = Some(self.remote.as_ref().to_owned());
        if causes.traceparent.is_none() {
            causes.traceparent = self.traceparent.as_deref().map(str::to_owned);
        }
    }
}

type Published<T> = (T, Result<Receipt, Error>);

/// The events of one connection that wait for their answers, each with what its answer needs.
pub(crate) struct Publishes<T> {
    /// Made with the first: most connections never publish.
    flying: Option<Box<FuturesUnordered<BoxFuture<'static, Published<T>>>>>,
    landed: Vec<Published<T>>,
}

impl<T> Default for Publishes<T> {
    fn default() -> Self {
        Self {
            flying: None,
            landed: Vec::new(),
        }
    }
}

impl<T: Send + 'static> Publishes<T> {
    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        let flying = self.flying.as_ref().map_or(0, |flying| flying.len());
        flying + self.landed.len()
    }

    /// Sends a command on its way. It is queued before this returns, so that those of one connection are kept
    /// in the order they came.
    pub(crate) fn begin(
        &mut self,
        log: &Log,
        principal: Principal,
        command: Command,
        answer: T,
        context: &mut Context<'_>,
    ) {
        let log = log.clone();
        let mut publish: BoxFuture<'static, Published<T>> =
            Box::pin(async move { (answer, log.submit(&principal, command).await) });
        match publish.as_mut().poll(context) {
            Poll::Ready(published) => self.landed.push(published),
            Poll::Pending => self.flying.get_or_insert_default().push(publish),
        }
    }

    /// The next that is done; nothing when none is.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Option<Published<T>> {
        if let Some(published) = self.landed.pop() {
            return Some(published);
        }
        let flying = self.flying.as_mut()?;
        match std::pin::Pin::new(&mut **flying).poll_next(context) {
            Poll::Ready(Some(published)) => Some(published),
            Poll::Ready(None) => {
                self.flying = None;
                None
            }
            Poll::Pending => None,
        }
    }
}

/// Asks whether a source may publish now.
pub(crate) fn admit(options: &WsOptions, source: &Source) -> Result<(), Refusal> {
    let Some(limit) = &options.publish_limit else {
        return Ok(());
    };
    limit.take(source).map_err(|retry_after_s| {
        Refusal::new("rate-limited", "events come faster than they may").after(retry_after_s)
    })
}

/// One event, counted once if its sender gave it a name: a key of the request, else the event's own id.
pub(crate) fn command(log: &Log, sender: &Source, event: NewEvent, key: Option<&str>) -> Command {
    let now_us = log.clock().now_us();
    let once = Once::of_events(sender, key, slice::from_ref(&event), now_us);
    Command {
        once,
        ..Command::event(event)
    }
}
