//! One attempt: hop limit, `once`, time limit, panics.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use futures_util::FutureExt;
use nexus_core::{
    Attempt, Causes, Event, Exchange, Log, Mode, NewEvent, Once, ReactorError, ReactorOptions,
    SharedReactor,
};

use crate::{
    DeliveryId,
    backoff::Backoff,
    failpoints::{Failpoint, Failpoints},
};

/// Why an attempt failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// For people; no secrets.
    pub(crate) detail: String,
    /// Not to be tried before.
    pub(crate) after: Option<Duration>,
    /// What it means for those that come after it.
    pub(crate) kind: FailureKind,
}

/// What a failure means for the attempts that come after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// It may pass.
    Passing,
    /// Trying this event again cannot help.
    Lasting,
    /// The event cannot run at all; nobody was asked.
    Unasked,
    /// The receiver is gone for good.
    Gone,
}

impl Failure {
    fn retry(detail: impl Into<String>) -> Self {
        Self {
            detail: detail.into(),
            after: None,
            kind: FailureKind::Passing,
        }
    }

    /// What was done cannot be kept, and never will.
    pub(crate) fn lasting(detail: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Lasting,
            ..Self::retry(detail)
        }
    }

    /// The event cannot run at all.
    pub(crate) fn unasked(detail: impl Into<String>) -> Self {
        Self {
            kind: FailureKind::Unasked,
            ..Self::retry(detail)
        }
    }
}

impl From<ReactorError> for Failure {
    fn from(error: ReactorError) -> Self {
        match error {
            ReactorError::Retry { detail, after } => Self {
                after,
                ..Self::retry(detail)
            },
            ReactorError::Final { detail } => Self::lasting(detail),
            ReactorError::Gone { detail } => Self {
                kind: FailureKind::Gone,
                ..Self::retry(detail)
            },
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

/// An attempt that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) ending: Ending,
    /// What was asked of the outside, and what it answered.
    pub(crate) exchange: Option<Exchange>,
}

impl From<Ending> for Ran {
    fn from(ending: Ending) -> Self {
        Self {
            ending,
            exchange: None,
        }
    }
}

/// What an ending says of the receiver.
#[derive(Debug, Clone)]
pub(crate) enum Sign {
    /// It does what it is there for.
    Works,
    /// Nothing.
    Nothing,
    /// It did not do it.
    Fails(FailureKind, Arc<str>),
}

impl Ending {
    /// What it says of the receiver.
    pub(crate) fn sign(&self) -> Sign {
        match self {
            Self::Succeeded(_) => Sign::Works,
            Self::Already => Sign::Nothing,
            Self::Failed(failure) if failure.kind == FailureKind::Unasked => Sign::Nothing,
            Self::Failed(failure) => Sign::Fails(failure.kind, failure.detail.as_str().into()),
        }
    }
}

/// What runs the attempts of one target.
pub(crate) struct Runner {
    pub(crate) log: Log,
    pub(crate) reactor: SharedReactor,
    pub(crate) options: ReactorOptions,
    /// The name that its records are kept under: that of the reactor, or of a replay to it.
    pub(crate) name: Arc<str>,
    pub(crate) mode: Mode,
    /// The scope of its `once` keys, `reactor:<name>`, in a replay too.
    pub(crate) scope: Arc<str>,
    pub(crate) hops_max: u32,
    pub(crate) backoff: Backoff,
    pub(crate) failpoints: Failpoints,
}

impl Runner {
    /// Whether it only shows what would be done: then nothing is emitted and no key is settled.
    pub(crate) fn is_rehearsal(&self) -> bool {
        !self.mode.calls_out()
    }

    /// Whether what is given up is kept as a dead letter. A replay can be asked for again instead.
    pub(crate) fn keeps_dead_letters(&self) -> bool {
        self.mode == Mode::Live
    }

    /// Whether how each event ended is kept for people.
    pub(crate) fn keeps_outcomes(&self) -> bool {
        self.options.keeps_outcomes || self.mode != Mode::Live
    }

    /// The event's `once` key. A reactor that panics over it gets no second chance: the key decides
    /// what may run beside what, so the event cannot run without it.
    pub(crate) fn once_key(&self, event: &Event) -> Result<Option<Arc<str>>, Failure> {
        catch_unwind(AssertUnwindSafe(|| self.reactor.once(event)))
            .map(|key| key.map(Into::into))
            .map_err(|panic| {
                Failure::unasked(format!("panicked over its once key: {}", message(&*panic)))
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
    ) -> Ran {
        self.failpoints.reach(Failpoint::AttemptBegins).await;
        let ran = self.run(event, once, number).await;
        self.failpoints.reach(Failpoint::AttemptEnded).await;
        ran
    }

    async fn run(&self, event: &Arc<Event>, once: Option<&Arc<str>>, number: u32) -> Ran {
        if event.causes().hops >= self.hops_max {
            return Ending::Failed(self.too_many_hops(event).await).into();
        }
        if let Some(key) = once
            && self.is_done(key).await
        {
            return Ending::Already.into();
        }
        let idempotency_key = once
            .cloned()
            .unwrap_or_else(|| format!("{}:{}", self.options.name, event.id).into());
        let delivery_id = DeliveryId::new(self.name.clone(), event.seq);
        let attempt = Attempt::new(
            event.clone(),
            number,
            idempotency_key,
            delivery_id.to_string().into(),
            self.mode,
        );
        let kept = attempt.clone();
        let reacting = AssertUnwindSafe(async { self.reactor.react(attempt).await }).catch_unwind();
        let ending = match tokio::time::timeout(self.options.timeout, reacting).await {
            Err(_) => Ending::Failed(Failure::retry(format!(
                "took longer than {:?}",
                self.options.timeout
            ))),
            Ok(Err(panic)) => {
                Ending::Failed(Failure::retry(format!("panicked: {}", message(&*panic))))
            }
            Ok(Ok(Err(error))) => Ending::Failed(self.failure(error)),
            Ok(Ok(Ok(_))) if self.is_rehearsal() => Ending::Succeeded(Vec::new()),
            Ok(Ok(Ok(reaction))) => {
                let follow = |new| following(new, event);
                Ending::Succeeded(reaction.emit.into_iter().map(follow).collect())
            }
        };
        Ran {
            ending,
            exchange: kept.take_exchange(),
        }
    }

    fn failure(&self, error: ReactorError) -> Failure {
        let mut failure = Failure::from(error);
        if failure.kind == FailureKind::Gone && self.mode != Mode::Live {
            // Nobody resumes a replay; it goes on without what cannot be done.
            failure.kind = FailureKind::Lasting;
        }
        failure
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
        Failure::unasked(format!(
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
