//! The smallest whole Nexus: a log, `dispatch` and `on_event`.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use tokio::task::AbortHandle;

use crate::{
    Catalogue, Clock, Error, Event, Log, LogOptions, Memory, NewEvent, Pattern, PatternSet,
    Principal, ProtocolEvent, Random, Receipt, Topic,
};

/// A log with the two things that most programs want of it: to say what happened, and to hear of it.
#[derive(Debug, Clone)]
pub struct Nexus {
    log: Log,
}

impl Nexus {
    /// Over a log that is already open.
    #[must_use]
    pub fn new(log: Log) -> Self {
        Self { log }
    }

    /// Over a log in memory, with the known events. Needs a tokio runtime.
    ///
    /// # Errors
    /// None today; the signature is that of opening any log.
    pub async fn in_memory() -> Result<Self, Error> {
        let random = Random::system();
        let memory = Memory::new(&random);
        let (log, service) = Log::open(
            memory.clone(),
            memory,
            Catalogue::known(),
            LogOptions::default(),
            Clock::System,
            random,
        )
        .await?;
        tokio::spawn(service.run());
        Ok(Self { log })
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// A known event with a payload, ready to be dispatched.
    #[must_use]
    pub fn event(&self, event: ProtocolEvent, payload: impl Into<Bytes>) -> NewEvent {
        NewEvent::new(self.log.catalogue().known_type(event), payload)
    }

    /// Publishes one event and returns after it is kept.
    ///
    /// # Errors
    /// As [`Log::submit`].
    pub async fn dispatch(&self, principal: &Principal, event: NewEvent) -> Result<Receipt, Error> {
        self.log.dispatch(principal, event).await
    }

    /// Runs a handler for every matching event from now on, one after the other, in order.
    ///
    /// For work that must finish whatever happens, write a [`crate::Reactor`] instead: a handler hears
    /// only of what happens while it is there.
    pub fn on_event<F, R>(&self, patterns: impl Into<PatternSet>, handler: F) -> Subscription
    where
        F: Fn(Arc<Event>) -> R + Send + 'static,
        R: Future<Output = ()> + Send,
    {
        let mut cursor = self.log.live_cursor(patterns.into());
        let task = tokio::spawn(async move {
            loop {
                match cursor.next().await {
                    Ok(page) => {
                        for event in page.events {
                            handler(event).await;
                        }
                    }
                    Err(Error::Closed) => return,
                    Err(error) => {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "a handler could not read the log"
                        );
                        tokio::time::sleep(READ_RETRY).await;
                    }
                }
            }
        });
        Subscription {
            task: task.abort_handle(),
        }
    }
}

/// How long a handler waits when the store cannot be read.
const READ_RETRY: std::time::Duration = std::time::Duration::from_millis(250);

/// A running handler. It goes on when this is dropped; [`Subscription::stop`] ends it.
#[derive(Debug)]
pub struct Subscription {
    task: AbortHandle,
}

impl Subscription {
    /// Ends the handler, also in the middle of an event.
    pub fn stop(&self) {
        self.task.abort();
    }
}

impl From<ProtocolEvent> for PatternSet {
    fn from(event: ProtocolEvent) -> Self {
        #[allow(clippy::expect_used, reason = "a test reads every known topic")]
        let topic = Topic::parse(event.topic()).expect("known topics are valid");
        [Pattern::from(&topic)].into_iter().collect()
    }
}

impl From<Pattern> for PatternSet {
    fn from(pattern: Pattern) -> Self {
        [pattern].into_iter().collect()
    }
}
