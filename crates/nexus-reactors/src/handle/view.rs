//! What people and other crates are told of targets and deliveries.

use std::{sync::Arc, time::Duration};

use nexus_core::{Exchange, Mode, Ordering, Position, Seq};
use uuid::Uuid;

/// Whether a target runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetState {
    /// It does.
    Running,
    /// Somebody paused it.
    Paused,
    /// It was disabled: its receiver is gone, or nothing succeeded for too long.
    Disabled,
}

impl TargetState {
    /// The name, `running`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Disabled => "disabled",
        }
    }
}

/// The state of a target has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetChange {
    /// The target.
    pub name: Arc<str>,
    /// What it is now.
    pub state: TargetState,
    /// Why, for people; nothing when it was resumed.
    pub why: Option<Arc<str>>,
    /// When, in microseconds since 1970.
    pub time_us: i64,
}

/// Whether a target's receiver is left alone because nothing works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// No: attempts are made, or there is no breaker.
    Closed,
    /// Yes, until this time, in microseconds since 1970.
    Open {
        /// When one attempt will be made.
        until_us: i64,
    },
    /// One attempt is being made, to see.
    Probing,
}

/// How a target stands.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetInfo {
    /// Its name.
    pub name: Arc<str>,
    /// The patterns of the events that it runs for.
    pub on: Vec<Arc<str>>,
    /// The text of its condition.
    pub filter: Option<Arc<str>>,
    /// Which events wait for which.
    pub ordering: Ordering,
    /// What it is for.
    pub mode: Mode,
    /// Whether it runs.
    pub state: TargetState,
    /// Why it does not, for people.
    pub why: Option<Arc<str>>,
    /// Since when it is in this state, in microseconds since 1970; nothing when it always was.
    pub since_us: Option<i64>,
    /// Every event up to here is settled for it.
    pub position: Position,
    /// How many events follow that.
    pub lag: u64,
    /// How many deliveries wait.
    pub waiting: usize,
    /// How many deliveries were given up and are kept.
    pub dead: usize,
    /// How many attempts are running.
    pub running: usize,
    /// Whether it takes no new events because too many deliveries wait, or too many dead letters are kept.
    pub is_full: bool,
    /// Whether its loop has ended: it failed, or another engine took over.
    pub is_stopped: bool,
    /// Whether its receiver is left alone.
    pub breaker: BreakerState,
    /// How many attempts succeeded since it was started.
    pub succeeded: u64,
    /// How many attempts failed since it was started.
    pub failed: u64,
}

/// What a delivery is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// It waits for another attempt, or is being attempted.
    Waiting,
    /// It was given up: a dead letter.
    Dead,
}

/// Which deliveries.
#[derive(Debug, Clone)]
pub struct DeliveryQuery {
    /// Only those of this target.
    pub target: Option<Arc<str>>,
    /// Those in this state.
    pub state: DeliveryState,
    /// Behind the page that gave this.
    pub after: Option<Arc<str>>,
    /// At most this many.
    pub limit: usize,
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What was found; may be short or empty although more follows.
    pub items: Vec<T>,
    /// Where to go on; nothing at the end.
    pub next: Option<Arc<str>>,
}

/// One event on its way to one target that did not succeed at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryInfo {
    /// Its name, `<target>/<seq>`.
    pub id: Arc<str>,
    /// The revision of its record: it changes with everything that becomes of it.
    pub revision: u64,
    /// The target.
    pub target: Arc<str>,
    /// The event's number.
    pub seq: Seq,
    /// The event's identifier.
    pub event_id: Uuid,
    /// The event's topic.
    pub topic: Arc<str>,
    /// The ordering key that it blocks.
    pub key: Option<Arc<str>>,
    /// What it is doing.
    pub state: DeliveryState,
    /// Where it goes, for people.
    pub target_url: Option<String>,
    /// How many attempts were begun, since it was last retried by hand.
    pub attempts: u32,
    /// How many attempts ended with the process.
    pub crashes: u32,
    /// When the first attempt failed, in microseconds since 1970.
    pub created_us: i64,
    /// When the next attempt is due, in microseconds since 1970; nothing for a dead letter.
    pub due_us: Option<i64>,
    /// When it was given up, in microseconds since 1970.
    pub failed_us: Option<i64>,
    /// What went wrong, oldest first; the oldest are forgotten.
    pub errors: Vec<AttemptInfo>,
}

impl DeliveryInfo {
    /// The last error; empty if there was none.
    #[must_use]
    pub fn final_error(&self) -> &str {
        self.errors.last().map_or("", |attempt| &attempt.error)
    }
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptInfo {
    /// When it ended, in microseconds since 1970.
    pub time_us: i64,
    /// Which attempt it was, from 1.
    pub number: u32,
    /// What went wrong, for people; no secrets.
    pub error: String,
    /// What was asked and answered; only the last few are kept.
    pub exchange: Option<Exchange>,
}

/// How an event ended for a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutcomeState {
    /// It succeeded.
    Done,
    /// What it would have done was done before, under the same `once` key.
    Already,
    /// It was given up.
    Dead,
}

/// How an event ended for a target that keeps outcomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeInfo {
    /// The target.
    pub target: Arc<str>,
    /// The event's number.
    pub seq: Seq,
    /// The event's identifier.
    pub event_id: Uuid,
    /// The event's topic.
    pub topic: Arc<str>,
    /// How it ended.
    pub state: OutcomeState,
    /// How many attempts were made.
    pub attempts: u32,
    /// When it ended, in microseconds since 1970.
    pub time_us: i64,
    /// The last error, of a dead letter.
    pub error: Option<String>,
    /// What was asked and answered last.
    pub exchange: Option<Exchange>,
}

/// What is to be shown to a target again.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayRequest {
    /// The target.
    pub target: Arc<str>,
    /// The events behind this one …
    pub after: Seq,
    /// … up to and including this one.
    pub through: Seq,
    /// How many attempts are begun in a second at most.
    pub rate_per_second: f64,
    /// Whether calls to the outside are made.
    pub outbound: bool,
}

/// The name of a replay.
#[derive(
    Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct ReplayId(pub(crate) Arc<str>);

impl ReplayId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The replay with this name, whether there is one or not.
    #[must_use]
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }
}

/// How a replay stands.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayInfo {
    /// Its name.
    pub id: ReplayId,
    /// What was asked for.
    pub request: ReplayRequest,
    /// When it was asked for, in microseconds since 1970.
    pub created_us: i64,
    /// What it is doing.
    pub state: ReplayState,
    /// When it ended, in microseconds since 1970.
    pub ended_us: Option<i64>,
    /// Every event up to here was shown.
    pub position: Seq,
    /// How many deliveries of it wait.
    pub waiting: usize,
    /// How many of its events were given up; they are dead letters of the replay.
    pub dead: usize,
}

/// What a replay is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayState {
    /// It runs, or waits for its target to be there again.
    Running,
    /// It came to its end.
    Done,
    /// Somebody cancelled it.
    Cancelled,
}

/// How long outcomes are kept.
pub const OUTCOMES_KEPT: Duration = Duration::from_secs(7 * 86_400);
/// At most this many outcomes of a target are kept.
pub const OUTCOMES_MAX: usize = 1_000;
