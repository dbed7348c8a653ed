//! Reactors: code that runs for matching events until it finishes.

mod attempt;
mod options;

use std::{future::Future, sync::Arc, time::Duration};

pub use attempt::{
    Attempt, EXCHANGE_ANSWER_BYTES_MAX, EXCHANGE_BODY_BYTES_MAX, EXCHANGE_HEADERS_MAX, Exchange,
    Mode,
};
pub use options::{Blocked, Breaker, Ordering, ReactorOptions, RetrySchedule};

use crate::{Event, NewEvent, log::Boxed};

/// What follows from an event.
#[derive(Debug, Default)]
pub struct Reaction {
    /// Events to publish, as this reactor; kept in one commit with its progress.
    pub emit: Vec<NewEvent>,
}

impl Reaction {
    /// Nothing follows.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// One event follows.
    #[must_use]
    pub fn emit(event: NewEvent) -> Self {
        Self { emit: vec![event] }
    }
}

/// Why an attempt failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReactorError {
    /// Trying again may help.
    #[error("{detail}")]
    Retry {
        /// What happened, for people; no secrets.
        detail: String,
        /// The receiver asked not to be tried before.
        after: Option<Duration>,
    },
    /// Trying again cannot help.
    #[error("{detail}")]
    Final {
        /// What happened, for people; no secrets.
        detail: String,
    },
    /// The receiver is gone for good, and says so: the reactor is disabled, and the event waits until it
    /// is resumed.
    #[error("{detail}")]
    Gone {
        /// What happened, for people; no secrets.
        detail: String,
    },
}

impl ReactorError {
    /// A failure that may pass.
    #[must_use]
    pub fn retry(detail: impl Into<String>) -> Self {
        Self::Retry {
            detail: detail.into(),
            after: None,
        }
    }

    /// The receiver is gone for good.
    #[must_use]
    pub fn gone(detail: impl Into<String>) -> Self {
        Self::Gone {
            detail: detail.into(),
        }
    }

    /// A failure that stays.
    #[must_use]
    pub fn final_(detail: impl Into<String>) -> Self {
        Self::Final {
            detail: detail.into(),
        }
    }
}

/// Code that runs for matching events until it finishes. All that a reactor crate has to implement.
///
/// Inside the log its effects happen exactly once. Outside they happen at least once, with the same
/// [`Attempt::idempotency_key`] each time.
///
/// ```
/// use nexus_core::{Attempt, PatternSet, Reaction, Reactor, ReactorError, ReactorOptions};
///
/// struct Greeter;
///
/// impl Reactor for Greeter {
///     fn options(&self) -> ReactorOptions {
///         ReactorOptions::new("greeter", PatternSet::parse(["session.connected"]).unwrap_or_default())
///     }
///
///     async fn react(&self, attempt: Attempt) -> Result<Reaction, ReactorError> {
///         println!("welcome, {}", attempt.event.source);
///         Ok(Reaction::nothing())
///     }
/// }
/// ```
pub trait Reactor: Send + Sync + 'static {
    /// What the engine needs to know; asked once, at start.
    fn options(&self) -> ReactorOptions;

    /// What happens only once, whatever event brings it: a fact key such as `mint:<transaction>`. The
    /// second event with a key that is settled is settled without running.
    fn once(&self, event: &Event) -> Option<String> {
        let _ = event;
        None
    }

    /// What the delivery is, for people who read a dead letter: the address it goes to.
    fn target_url(&self) -> Option<String> {
        None
    }

    /// Whether it keeps to [`Mode::Replay`] without `outbound`: it calls nothing outside, and keeps with
    /// [`Attempt::exchange`] what it would have sent. A reactor that does not say so is never asked to:
    /// nobody can try it on past events without effects.
    fn rehearses(&self) -> bool {
        false
    }

    /// Runs for one event.
    ///
    /// # Errors
    /// [`ReactorError`] says whether trying again may help.
    fn react(
        &self,
        attempt: Attempt,
    ) -> impl Future<Output = Result<Reaction, ReactorError>> + Send;
}

/// [`Reactor`] behind a pointer, erased once and called once per event.
pub trait ErasedReactor: Send + Sync {
    /// See [`Reactor::options`].
    fn options(&self) -> ReactorOptions;
    /// See [`Reactor::once`].
    fn once(&self, event: &Event) -> Option<String>;
    /// See [`Reactor::target_url`].
    fn target_url(&self) -> Option<String>;
    /// See [`Reactor::rehearses`].
    fn rehearses(&self) -> bool;
    /// See [`Reactor::react`].
    fn react(&self, attempt: Attempt) -> Boxed<'_, Result<Reaction, ReactorError>>;
}

impl<R: Reactor> ErasedReactor for R {
    fn options(&self) -> ReactorOptions {
        Reactor::options(self)
    }
    fn once(&self, event: &Event) -> Option<String> {
        Reactor::once(self, event)
    }
    fn target_url(&self) -> Option<String> {
        Reactor::target_url(self)
    }
    fn rehearses(&self) -> bool {
        Reactor::rehearses(self)
    }
    fn react(&self, attempt: Attempt) -> Boxed<'_, Result<Reaction, ReactorError>> {
        Box::pin(Reactor::react(self, attempt))
    }
}

/// A reactor of any type.
pub type SharedReactor = Arc<dyn ErasedReactor>;
