//! What goes on with a server without its catalogue becoming another: how it is, and what it was asked last.

use std::{fmt, sync::Arc, time::Duration};

use nexus_core::{Coded, Kind, Random};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    CallError, CatalogueOptions, Error, Isolation, ItemKind, Raw, Redactor, Request, Scope,
    Transport, Upstream, UpstreamConfig, Upstreams,
    breaker::{Circuit, CircuitLimits, CircuitState, Passage, Sign},
    router::redaction,
};

/// A server as it is reached now. Another configuration makes another one.
pub(crate) struct Running {
    pub(crate) config: UpstreamConfig,
    /// Takes the server's secrets out of what it says; nothing when it was given none.
    pub(crate) redactor: Option<Redactor>,
    pub(crate) circuit: Circuit,
    /// Lists are read by one at a time.
    pub(crate) syncing: tokio::sync::Mutex<()>,
    health: Mutex<Health>,
}

/// How a server was when something was last asked of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    /// When it last did what was asked, in microseconds since 1970.
    pub(crate) worked_us: Option<i64>,
    /// When its lists were last read, in microseconds since 1970.
    pub(crate) synced_us: Option<i64>,
    /// How it failed since.
    pub(crate) failure: Option<Failure>,
    /// Whether it wants other credentials.
    pub(crate) needs_auth: bool,
    /// Lists, by their place, that came empty although they had been full before.
    emptied: [Option<Emptied>; 4],
}

/// A list that came empty although it had been full before.
#[derive(Debug, Clone, Copy)]
struct Emptied {
    since: Instant,
    times: u32,
}

/// Who wants to know what a server offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// The loop of the hub.
    ByItself,
    /// Somebody who may change the server.
    ByHand,
}

/// A list that was full is not believed to be empty before it came so often.
const EMPTY_TIMES_MIN: u32 = 3;
/// The same, when somebody looks.
const EMPTY_TIMES_BY_HAND: u32 = 2;

/// How a server failed.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) at_us: i64,
}

impl Health {
    /// The lists that came empty although they had been full, and that are not believed.
    pub(crate) fn doubted(&self) -> Vec<ItemKind> {
        let doubted = |kind: &ItemKind| self.emptied[kind.place()].is_some();
        ItemKind::ALL.into_iter().filter(doubted).collect()
    }
}

impl Running {
    pub(crate) fn new(config: UpstreamConfig, options: &CatalogueOptions, random: Random) -> Self {
        let limits = CircuitLimits {
            failures: options.circuit_failures,
            open: options.circuit_open,
            open_max: options.circuit_open_max,
        };
        Self {
            redactor: redactor(&config.transport),
            config,
            circuit: Circuit::new(limits, random),
            syncing: tokio::sync::Mutex::default(),
            health: Mutex::default(),
        }
    }

    /// Whose connection is asked for a user and a session; nothing when it is for all.
    pub(crate) fn scope_of(&self, scope: &Scope) -> Option<Scope> {
        match self.config.isolation {
            Isolation::Shared => None,
            Isolation::PerUser => Some(Scope {
                user: scope.user.clone(),
                session: None,
            }),
            Isolation::PerSession => Some(scope.clone()),
        }
    }

    /// Lets a request through, unless the server is left alone now.
    pub(crate) fn enter(&self, alias: &str) -> Result<Passage<'_>, Error> {
        self.circuit.enter(Instant::now()).map_err(|wait| {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            Error::CircuitOpen {
                server: alias.into(),
                retry_after_s: u32::try_from(seconds).unwrap_or(u32::MAX).max(1),
            }
        })
    }

    /// A connection to the server.
    pub(crate) async fn connect(
        &self,
        upstreams: &Upstreams,
        scope: &Scope,
    ) -> Result<Arc<dyn Upstream>, CallError> {
        upstreams.get(&self.config, scope).await
    }

    /// Takes note of how a request ended, and gives what it says of the server.
    pub(crate) fn note(&self, outcome: Result<(), &CallError>, now_us: i64) -> Sign {
        let mut health = self.health.lock();
        let sign = match outcome {
            Ok(()) => Sign::Works,
            // It refuses what somebody wants, and so it works.
            Err(CallError::Rpc(_)) => Sign::Works,
            // Whoever asks for much gets much: that is no failure.
            Err(CallError::TooLarge { .. }) => Sign::Nothing,
            Err(error) if error.is_failure() => Sign::Fails,
            Err(_) => Sign::Nothing,
        };
        match outcome {
            Ok(()) | Err(CallError::Rpc(_)) => {
                health.worked_us = Some(now_us);
                health.failure = None;
                health.needs_auth = false;
            }
            Err(CallError::Cancelled) => {}
            Err(error) => {
                health.needs_auth |= matches!(error, CallError::Unauthorized { .. });
                health.failure = Some(Failure {
                    code: error.code(),
                    message: self.without_secrets(told(error)),
                    at_us: now_us,
                });
            }
        }
        sign
    }

    /// Its lists were read.
    pub(crate) fn synced(&self, now_us: i64) {
        self.health.lock().synced_us = Some(now_us);
    }

    pub(crate) fn health(&self) -> Health {
        self.health.lock().clone()
    }

    pub(crate) fn circuit_state(&self) -> CircuitState {
        self.circuit.state()
    }

    /// Takes note of a list that came empty; whether it is to be believed. Some servers answer so when they have
    /// lost who is asking, or what they stand before: then they do for a while.
    pub(crate) fn believe_empty(
        &self,
        place: usize,
        was_full: bool,
        occasion: Occasion,
        after: Duration,
    ) -> bool {
        let now = Instant::now();
        let doubted = &mut self.health.lock().emptied[place];
        if !was_full {
            *doubted = None;
            return true;
        }
        let emptied = doubted.get_or_insert(Emptied {
            since: now,
            times: 0,
        });
        emptied.times = emptied.times.saturating_add(1);
        let is_believed = match occasion {
            Occasion::ByHand => emptied.times >= EMPTY_TIMES_BY_HAND,
            Occasion::ByItself => {
                emptied.times >= EMPTY_TIMES_MIN
                    && now.saturating_duration_since(emptied.since) >= after
            }
        };
        if is_believed {
            *doubted = None;
        }
        is_believed
    }

    /// Takes note of a list that came full.
    pub(crate) fn came_full(&self, place: usize) {
        self.health.lock().emptied[place] = None;
    }

    /// A text for people, without the server's secrets.
    fn without_secrets(&self, text: String) -> String {
        match &self.redactor {
            Some(redactor) => redactor.text(text.as_bytes()),
            None => text,
        }
    }

    /// What the server answered, without its credentials.
    pub(crate) fn clean(&self, outcome: Result<Raw, CallError>) -> Result<Raw, CallError> {
        match &self.redactor {
            Some(redactor) => redaction::outcome(redactor, outcome),
            None => outcome,
        }
    }

    /// A text that the server wrote, without its credentials.
    pub(crate) fn clean_text(&self, text: &Arc<str>) -> Arc<str> {
        let redactor = self.redactor.as_ref();
        let clean = redactor.and_then(|redactor| redaction::plain(redactor, text));
        clean.map_or_else(|| text.clone(), Arc::from)
    }

    /// Asks for something that belongs to no call of anybody.
    pub(crate) async fn ask(
        &self,
        upstream: &dyn Upstream,
        method: &'static str,
        params: Option<Raw>,
        deadline: Instant,
        now_us: impl Fn() -> i64,
    ) -> Result<Raw, CallError> {
        let request = Request::new(method, params, deadline);
        let outcome = self.clean(upstream.request(request).await);
        self.note(outcome.as_ref().map(|_| ()), now_us());
        outcome
    }
}

/// Knows what may not be told of a way to a server; nothing when that has no secrets.
fn redactor(transport: &Transport) -> Option<Redactor> {
    let redactor = match transport {
        Transport::Http { url, headers, .. } => Redactor::of_address(url, headers),
        Transport::Stdio { env, .. } => Redactor::new(env.iter().map(|(_, secret)| secret)),
    };
    (!redactor.is_empty()).then_some(redactor)
}

/// An error with what it came from, in one line.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// Whether asking again later may help at all.
pub(crate) fn may_pass(error: &Error) -> bool {
    !matches!(
        error.kind(),
        Kind::Malformed | Kind::NotFound | Kind::Forbidden
    )
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("server", &self.config.id)
            .finish_non_exhaustive()
    }
}
