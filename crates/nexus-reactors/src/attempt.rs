//! One attempt: hop limit, `once`, time limit, panics.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use nexus_core::{
    Attempt, Causes, Event, Log, Mode, NewEvent, Once, ReactorError, ReactorOptions, SharedReactor,
};

use crate::backoff::Backoff;

/// Why an attempt failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// For people; no secrets.
    pub(crate) detail: String,
    /// Not to be tried before.
    pub(crate) after: Option<Duration>,
    /// Trying again cannot help.
    pub(crate) is_final: bool,
}

impl Failure {
    fn retry(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            after: None,
            is_final: false,
        }
    }

    pub(crate) fn lasting(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            after: None,
            is_final: true,
        }
    }
}

impl From<ReactorError> for Failure {
    fn from(error: ReactorError) -> Self {
        match error {
            ReactorError::Retry { detail, after } => Self {
                detail,
                after,
                is_final: false,
            },
            ReactorError::Final { detail } => Self::lasting(detail),
            // A kind of failure that is not known here may pass.
            other => Self::retry(other.to_string()),
        }
    }
}

/// How an attempt ended.
#[derive(Debug)]
pub(crate) enum Ending {
    /// These events follow.
    Succeeded(Vec<NewEvent>),
    /// What it would have done was done before.
    Already,
    /// It did not work.
    Failed(Failure),
}

/// What runs the attempts of one reactor.
pub(crate) struct Runner {
    pub(crate) log: Log,
    pub(crate) reactor: SharedReactor,
    pub(crate) options: ReactorOptions,
    /// The scope of its `once` keys, `reactor:<name>`.
    pub(crate) scope: Arc<str>,
    pub(crate) hops_max: u32,
    pub(crate) backoff: Backoff,
}

impl Runner {
    /// The event's `once` key. A reactor that panics over it gets no second chance: the key decides
    /// what may run beside what, so the event cannot run without it.
    pub(crate) fn once_key(&self, event: &Event) -> Result<Option<Arc<str>>, Failure> {
        catch_unwind(AssertUnwindSafe(|| self.reactor.once(event)))
            .map(|key| key.map(Into::into))
            .map_err(|panic| {
                Failure::lasting(format!("panicked over its once key: {}", message(&*panic)))
            })
    }

    /// Where deliveries go, for people.
    pub(crate) fn target_url(&self) -> Option<String> {
        catch_unwind(AssertUnwindSafe(|| self.reactor.target_url())).unwrap_or(None)
    }

    /// The promise that stands behind a `once` key.
    pub(crate) fn once(&self, key: &Arc<str>) -> Once {
        Once::fact(self.scope.clone(), key.clone())
    }

    /// Runs once for an event, whatever the reactor does.
    pub(crate) async fn attempt(
        &self,
        event: &Arc<Event>,
        once: Option<&Arc<str>>,
        number: u32,
    ) -> Ending {
        if event.causes().hops >= self.hops_max {
            return Ending::Failed(self.too_many_hops(event).await);
        }
        if let Some(key) = once
            && self.is_done(key).await
        {
            return Ending::Already;
        }
        let idempotency_key = once
            .cloned()
            .unwrap_or_else(|| format!("{}:{}", self.options.name, event.id).into());
        let delivery_id = format!("{}/{}", self.options.name, event.seq).into();
        let attempt = Attempt::new(
            event.clone(),
            number,
            idempotency_key,
            delivery_id,
            Mode::Live,
        );
        let reacting = AssertUnwindSafe(async { self.reactor.react(attempt).await }).catch_unwind();
        match tokio::time::timeout(self.options.timeout, reacting).await {
            Err(_) => Ending::Failed(Failure::retry(format!(
                "took longer than {:?}",
                self.options.timeout
            ))),
            Ok(Err(panic)) => {
                Ending::Failed(Failure::retry(format!("panicked: {}", message(&*panic))))
            }
            Ok(Ok(Err(error))) => Ending::Failed(error.into()),
            Ok(Ok(Ok(reaction))) => {
                let follow = |new| following(new, event);
                Ending::Succeeded(reaction.emit.into_iter().map(follow).collect())
            }
        }
    }

    /// Whether the key was settled. The outside effect waits for the answer, however long it takes.
    async fn is_done(&self, key: &Arc<str>) -> bool {
        let once = self.once(key);
        let mut wait = self.backoff.clone();
        loop {
            match self.log.once(&once).await {
                Ok(entry) => return entry.is_some(),
                Err(error) => wait.pause(&error, "a once key could not be read").await,
            }
        }
    }

    /// Names the chain of reactions that led to the event, as far as it can be read.
    async fn too_many_hops(&self, event: &Arc<Event>) -> Failure {
        let mut chain = vec![link(event)];
        let mut cause = event.causes().causation_id;
        while let Some(id) = cause
            && chain.len() <= self.hops_max as usize
        {
            let Ok(Some(event)) = self.log.event_by_id(id).await else {
                break;
            };
            chain.push(link(&event));
            cause = event.causes().causation_id;
        }
        chain.reverse();
        Failure::lasting(format!(
            "{} reactions lie behind this event, at most {} may: {}",
            event.causes().hops,
            self.hops_max,
            chain.join(" -> ")
        ))
    }
}

fn link(event: &Event) -> String {
    format!("{} #{} by {}", event.topic, event.seq, event.source)
}

/// The event with the causes that every event of a reactor has. What the reactor said itself stays, but
/// it cannot make the chain shorter than it is.
fn following(mut new: NewEvent, event: &Event) -> NewEvent {
    let follows = Causes::following(event);
    let causes = &mut new.causes;
    causes.correlation_id = causes.correlation_id.or(follows.correlation_id);
    causes.causation_id = causes.causation_id.or(follows.causation_id);
    causes.request_id = causes.request_id.take().or(follows.request_id);
    causes.traceparent = causes.traceparent.take().or(follows.traceparent);
    causes.hops = causes.hops.max(follows.hops);
    new
}

/// What a panic says.
fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
