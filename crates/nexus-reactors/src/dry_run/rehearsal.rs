//! One reactor tried on one event: whether it would run, and what it would do.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use nexus_core::{Attempt, Event, Exchange, Log, Mode, Once, ReactorOptions, SharedReactor, Topic};

use crate::{DeliveryId, Error};

/// One attempt takes no longer than this.
const ATTEMPT_MAX: Duration = Duration::from_secs(2);

/// What a reactor would do for an event.
#[derive(Debug)]
pub enum Rehearsal {
    /// Nothing: the topic does not match.
    NotMatched,
    /// Nothing: the condition is not met.
    Filtered,
    /// It would run.
    Runs {
        /// What it would send; nothing if it sends nothing.
        request: Option<Exchange>,
        /// What it would emit, as far as that is known without an answer.
        emits: Vec<Emitted>,
        /// Whether what it does is done already, under its `once` key: it would not be done again.
        is_done: bool,
    },
    /// It would run and fail.
    Fails {
        /// Why, for people.
        error: String,
    },
    /// It would run, and what it does cannot be known without effects.
    Unknown,
}

/// An event that would follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// What it is.
    pub topic: Topic,
    /// A JSON object.
    pub payload: Bytes,
}

impl Rehearsal {
    /// Whether it would run, however that ends.
    pub(super) fn is_run(&self) -> bool {
        !matches!(self, Self::NotMatched | Self::Filtered)
    }

    /// Whether it comes to the same. Headers are left out: a signature tells the time.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let said = |request: &Option<Exchange>| {
            request.as_ref().map(|request| {
                (
                    request.method.clone(),
                    request.url.clone(),
                    request.body.clone(),
                )
            })
        };
        match (self, other) {
            (Self::NotMatched | Self::Filtered, Self::NotMatched | Self::Filtered)
            | (Self::Unknown, Self::Unknown) => true,
            (
                Self::Runs { request, emits, .. },
                Self::Runs {
                    request: other_request,
                    emits: other_emits,
                    ..
                },
            ) => said(request) == said(other_request) && emits == other_emits,
            (Self::Fails { error }, Self::Fails { error: other }) => error == other,
            _ => false,
        }
    }

    /// About how many bytes it holds.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Runs { request, emits, .. } => {
                let request = request.as_ref().map_or(0, |request| {
                    let headers = request.headers.iter();
                    let headers: usize =
                        headers.map(|(name, value)| name.len() + value.len()).sum();
                    request.url.len() + headers + request.body.len() + request.answer.len()
                });
                let emits: usize = emits.iter().map(|emitted| emitted.payload.len()).sum();
                request + emits
            }
            Self::Fails { error } => error.len(),
            Self::NotMatched | Self::Filtered | Self::Unknown => 0,
        }
    }
}

/// A reactor that is tried.
pub(super) struct Subject {
    reactor: SharedReactor,
    pub(super) options: ReactorOptions,
}

/// Whether a reactor would run for an event.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Meets {
    Runs,
    Filtered,
    NotMatched,
}

impl Subject {
    pub(super) fn new(reactor: SharedReactor) -> Self {
        let options = reactor.options();
        Self { reactor, options }
    }

    pub(super) fn meets(&self, event: &Event) -> Meets {
        if !self.options.on.matches(&event.topic) {
            return Meets::NotMatched;
        }
        match &self.options.filter {
            Some(filter) if !filter.matches(event) => Meets::Filtered,
            _ => Meets::Runs,
        }
    }

    /// What it would do, which has no effects.
    pub(super) async fn rehearse(
        &self,
        log: &Log,
        event: &Arc<Event>,
        meets: Meets,
    ) -> Result<Rehearsal, Error> {
        match meets {
            Meets::NotMatched => return Ok(Rehearsal::NotMatched),
            Meets::Filtered => return Ok(Rehearsal::Filtered),
            Meets::Runs if !self.reactor.rehearses() => return Ok(Rehearsal::Unknown),
            Meets::Runs => {}
        }
        let fails = |error: &str| Rehearsal::Fails {
            error: error.to_owned(),
        };
        let name = &self.options.name;
        let Ok(once) = catch_unwind(AssertUnwindSafe(|| self.reactor.once(event))) else {
            return Ok(fails("panicked over its once key"));
        };
        let is_done = match &once {
            Some(once) => log
                .once(&Once::fact(format!("reactor:{name}"), once.as_str()))
                .await?
                .is_some(),
            None => false,
        };
        let attempt = Attempt::new(
            event.clone(),
            1,
            once.unwrap_or_else(|| format!("{name}:{}", event.id))
                .into(),
            DeliveryId::new(name.clone(), event.seq).to_string().into(),
            Mode::Replay { outbound: false },
        );
        let shown = attempt.clone();
        let reacting = AssertUnwindSafe(async { self.reactor.react(attempt).await }).catch_unwind();
        let time_max = self.options.timeout.min(ATTEMPT_MAX);
        Ok(match tokio::time::timeout(time_max, reacting).await {
            Err(_) => fails("took too long"),
            Ok(Err(_)) => fails("panicked"),
            Ok(Ok(Err(error))) => fails(&error.to_string()),
            Ok(Ok(Ok(reaction))) => {
                let emitted = reaction.emit.into_iter().map(|new| Emitted {
                    topic: new.event_type.topic.clone(),
                    payload: new.payload,
                });
                Rehearsal::Runs {
                    emits: emitted.collect(),
                    request: shown.take_exchange(),
                    is_done,
                }
            }
        })
    }
}
