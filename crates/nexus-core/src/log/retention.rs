//! Retention: removes what is older, more or larger than wanted, as far as nobody still needs it.
//!
//! [`policy`] decides, [`pins`] says who needs what, the loop here does it, a little at a time.

mod pins;
mod policy;

use std::time::Duration;

use tokio::sync::watch;

pub use self::pins::{Pin, PinSource};
use self::policy::{Shrinking, View};
use super::Log;
use crate::{Error, Seq};

/// So many events are removed before it is asked again who needs what.
const EVENTS_PER_ASKING: u64 = 50_000;
/// Of what holds the log, this many are named.
const PINS_NAMED_MAX: usize = 16;

/// How much of the log is kept. Each limit that is set counts; with none, everything is kept.
#[derive(Debug, Clone)]
pub struct RetentionOptions {
    /// Events older than this may go.
    pub age: Option<Duration>,
    /// When there are more events than this, the oldest may go.
    pub events: Option<u64>,
    /// When the database uses more bytes than this, the oldest events may go.
    pub bytes: Option<u64>,
    /// Whether they go also when somebody still needs them.
    pub force: bool,
    /// How often it is looked.
    pub interval: Duration,
}

impl Default for RetentionOptions {
    fn default() -> Self {
        Self {
            age: None,
            events: None,
            bytes: None,
            force: false,
            interval: Duration::from_secs(60),
        }
    }
}

/// What retention found when it last looked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionStatus {
    /// The last event that is gone; zero if none is.
    pub pruned_through: Seq,
    /// The last event that is to go by the limits; zero if none is.
    pub wanted_through: Seq,
    /// Who needs what is to go, those that need the most first, and only the first of many. With `force`
    /// it goes all the same.
    pub pinned_by: Vec<Pin>,
    /// How many bytes the log and everything beside it use.
    pub used_bytes: u64,
    /// Whether the limit of bytes is passed over: what is beside the events is too large for it, so that
    /// removing events would end with an empty log. It is tried again when that has changed.
    pub size_futile: bool,
    /// When it looked, in microseconds since 1970; nothing if it did not yet.
    pub last_run_us: Option<i64>,
    /// Whether it failed then: nothing is removed until it succeeds.
    pub failed: bool,
}

/// Tells what retention found; cheap to clone.
#[derive(Debug, Clone)]
pub struct RetentionHandle(watch::Receiver<RetentionStatus>);

impl RetentionHandle {
    /// What it found when it last looked.
    #[must_use]
    pub fn status(&self) -> RetentionStatus {
        self.0.borrow().clone()
    }

    /// Tells when it has looked again.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<RetentionStatus> {
        self.0.clone()
    }
}

/// The loop that keeps the log within its limits.
pub struct Retention {
    log: Log,
    options: RetentionOptions,
    sources: Vec<PinSource>,
    status: watch::Sender<RetentionStatus>,
    /// What was said last of what holds the log.
    told: Vec<String>,
    shrinking: Shrinking,
}

impl Retention {
    /// Retention of a log. Durable cursors and records with a fence hold it; so does what `sources` name.
    #[must_use]
    pub fn new(
        log: Log,
        options: RetentionOptions,
        sources: Vec<PinSource>,
    ) -> (Self, RetentionHandle) {
        let (status, receiver) = watch::channel(RetentionStatus::default());
        let retention = Self {
            log,
            options,
            sources,
            status,
            told: Vec::new(),
            shrinking: Shrinking::default(),
        };
        (retention, RetentionHandle(receiver))
    }

    /// Looks again and again, until the log is closed.
    pub async fn run(mut self) {
        let mut closing = self.log.closing();
        loop {
            match self.look().await {
                Ok(()) => {}
                Err(Error::Closed) => return,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "retention could not do its work; it tries again"
                    );
                    self.status.send_modify(|status| status.failed = true);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(self.options.interval) => {}
                _ = closing.wait_for(|closing| *closing) => return,
            }
        }
    }

    /// Looks once, and removes what may go.
    ///
    /// # Errors
    /// [`Error::Read`], and as [`Log::prune`]: what was removed before stays removed.
    pub async fn look(&mut self) -> Result<(), Error> {
        self.shrinking.begin();
        loop {
            let view = self.view().await?;
            let by_size = self.by_size(&view);
            let wanted = policy::wanted(&self.options, &view, by_size);
            let pins = if wanted > view.pruned {
                self.pins(wanted).await?
            } else {
                Vec::new()
            };
            let allowed = policy::allowed(wanted, &pins, self.options.force);
            self.tell(&view, wanted, by_size, pins);
            // Not all at once: whoever comes back meanwhile is asked, too.
            let through = allowed.min(view.pruned.plus(EVENTS_PER_ASKING));
            if through <= view.pruned || self.log.prune(through).await? <= view.pruned {
                return Ok(());
            }
        }
    }

    async fn view(&self) -> Result<View, Error> {
        let now_us = self.log.clock().now_us();
        // Before anything else: nobody can come to need what is before the end of the log by then.
        let head = self.log.head().seq;
        let aged = match self.options.age {
            Some(age) => {
                let age_us = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
                self.log.last_before(now_us.saturating_sub(age_us)).await?
            }
            None => Seq::ZERO,
        };
        Ok(View {
            head,
            pruned: self.log.pruned_through().await?,
            aged,
            used_bytes: self.log.used_bytes().await?,
            now_us,
        })
    }

    /// Whether the limit of bytes counts now; says so when it no longer does.
    fn by_size(&mut self, view: &View) -> bool {
        let Some(bytes_max) = self.options.bytes else {
            return true;
        };
        let by_size = self.shrinking.goes_on(bytes_max, view);
        if !by_size && !self.status.borrow().size_futile {
            tracing::warn!(
                used_bytes = view.used_bytes,
                bytes_max,
                "what is beside the events is too large for `retention.bytes`: removing more of them would \
                 not help, so they stay"
            );
        }
        by_size
    }

    /// Everybody who needs something of what is to go, those that need the most first.
    async fn pins(&self, wanted: Seq) -> Result<Vec<Pin>, Error> {
        let mut pins = pins::of_log(&self.log, PINS_NAMED_MAX).await?;
        for source in &self.sources {
            pins.extend(source.ask().await?);
        }
        pins.retain(|pin| pin.after < wanted);
        pins.sort();
        pins.truncate(PINS_NAMED_MAX);
        Ok(pins)
    }

    /// Says what was found, in the log of the process only when somebody else holds the log than before.
    fn tell(&mut self, view: &View, wanted: Seq, by_size: bool, pins: Vec<Pin>) {
        let mut names: Vec<String> = pins.iter().map(|pin| pin.what.clone()).collect();
        names.sort();
        names.dedup();
        if names != self.told {
            if let Some(pin) = pins.first() {
                tracing::warn!(
                    pinned_by = ?names, after = %pin.after, %wanted, force = self.options.force,
                    "events that are to go by the limits of retention are still needed"
                );
            } else {
                tracing::info!(%wanted, "nothing holds back retention any more");
            }
            self.told = names;
        }
        self.status.send_replace(RetentionStatus {
            pruned_through: view.pruned,
            wanted_through: wanted,
            pinned_by: pins,
            used_bytes: view.used_bytes,
            size_futile: !by_size,
            last_run_us: Some(view.now_us),
            failed: false,
        });
    }
}
