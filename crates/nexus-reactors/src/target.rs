//! One target: the loop that reads the log for a reactor, runs it, and settles every event.
//!
//! The loop owns everything and waits in one place. Attempts run in tasks of their own and tell it how
//! they ended. One write of the cursor record is under way at a time; what ends meanwhile goes into the
//! next, so that many successes share a commit.

mod drain;
mod open;
mod run;
mod settle;
mod window;

use std::{
    collections::{BTreeMap, VecDeque},
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use nexus_core::{Cursor, CursorPage, Error, Event, Key, Ordering};
use tokio::{sync::watch, task::JoinSet, time::Instant};

use crate::{
    EngineOptions,
    alert::Alerts,
    attempt::{Ending, Runner},
    lanes::{Lanes, OnceKeys},
    ledger::{Ledger, Written},
    progress::Progress,
    redeliver::Concluded,
    status::{Now, Status},
    waiting::Waiting,
};
pub(crate) use open::{Common, cursor_key};
use settle::{Settle, Writing};

/// At most about this many events wait in memory to be run.
const READY_MAX: usize = 1_000;
/// While only events pass that do not match, the window is moved on at most this often.
const MOVE_ON_EVERY: Duration = Duration::from_millis(20);
/// The wall clock may jump: what is due is looked at again after this time at the latest.
const CLOCK_CHECK: Duration = Duration::from_secs(1);
/// How long the loop leaves the store alone after it could not be read.
const READ_RETRY: Duration = Duration::from_millis(250);

/// The loop of one reactor.
pub(crate) struct Target {
    runner: Arc<Runner>,
    ledger: Ledger,
    options: EngineOptions,
    alerts: Alerts,
    status: Arc<Status>,

    /// The cursor record: its name, its revision, who we are in it, how often we wrote it.
    cursor_key: Key,
    revision: u64,
    engine: Arc<str>,
    writes: u64,
    /// What is settled in the log, and what was passed because it does not match.
    progress: Progress,
    /// Nothing beyond this runs; it is in the log.
    opened: u64,
    /// Up to here, what is not settled may have been running when the process before ended.
    suspect_through: u64,
    write: Option<Pin<Box<dyn Future<Output = Written> + Send>>>,
    writing: Writing,
    /// What ended and is not written.
    finished: Vec<Settle>,
    finished_since: Option<Instant>,
    /// At most this many successes that emit go into a write: one, after a write was refused.
    emitters_max: usize,
    written_at: Instant,
    written_position: u64,
    /// Whether the cursor record is still ours: once it is not, nothing more is written.
    is_ours: bool,

    cursor: Cursor,
    scanned: u64,
    read_again_at: Option<Instant>,
    /// Matching events that were read and not begun.
    ready: VecDeque<Arc<Event>>,
    /// Jobs whose turn has come, and that only wait for a free place.
    resumed: VecDeque<u64>,
    jobs: BTreeMap<u64, Job>,
    attempts: JoinSet<Ended>,
    lanes: Lanes,
    once_keys: OnceKeys,

    waiting: Waiting,
    dead: usize,
    suspect_running: Option<u64>,
    retries_running: usize,
    /// Whether the last job that began was a retry: with one place they take turns.
    retried_last: bool,
}

/// An event that was begun and has not ended.
struct Job {
    key: Option<Arc<str>>,
    once: Option<Arc<str>>,
    /// Whether the `once` key is in its hands.
    holds_once: bool,
    /// The event; nothing for a retry, which reads it itself.
    event: Option<Arc<Event>>,
    stage: Stage,
    /// Whether there is a delivery record of it.
    is_delivery: bool,
    began: Instant,
    /// How the attempt ended while the delivery record was being written.
    ended: Option<Ending>,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It waits for its ordering key, or has it and waits for a free place.
    BehindKey,
    /// It waits for its `once` key, or has it and waits for a free place.
    BehindOnce,
    Running,
    /// It runs, and its delivery record is being written.
    Moving,
}

/// What a task tells the loop.
enum Ended {
    /// The first attempt at an event.
    First(u64, Ending),
    /// An attempt at a delivery, which is written already.
    Delivery(u64, Concluded),
}

/// Why the loop wakes up.
enum Wake {
    Ended(Ended),
    Written(Written),
    Page(Result<CursorPage, Error>),
    Time,
    Stop,
}

impl Target {
    /// Runs until it is told to stop, another engine takes over, or the log is closed.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            self.start_ready();
            if self.write.is_none() {
                self.make_room();
                if self.is_write_due() {
                    self.begin_write(false);
                }
            }
            self.tell();
            match self.wake(&mut stop).await {
                Wake::Ended(ended) => self.take_ended(ended),
                Wake::Written(written) => {
                    if !self.take_written(written) {
                        break;
                    }
                }
                Wake::Page(Ok(page)) => self.take_page(page),
                Wake::Page(Err(Error::Closed)) => break,
                Wake::Page(Err(Error::Pruned { through })) => self.pass_pruned(through.seq.get()),
                Wake::Page(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, reactor = %self.status.name, "the log could not be read");
                    self.read_again_at = Some(Instant::now() + READ_RETRY);
                }
                Wake::Time => {}
                Wake::Stop => {
                    self.drain().await;
                    break;
                }
            }
        }
        self.tell();
        self.status.stopped();
    }

    /// Waits for whatever happens next.
    async fn wake(&mut self, stop: &mut watch::Receiver<bool>) -> Wake {
        let wants_events = self.wants_events();
        let timer = self.timer();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Wake::Stop,
            written = flight(&mut self.write) => Wake::Written(written),
            Some(ended) = self.attempts.join_next(), if !self.attempts.is_empty() => match ended {
                Ok(ended) => Wake::Ended(ended),
                // What a reactor does is caught within the attempt; this is an end by force.
                Err(error) => {
                    tracing::error!(%error, "an attempt ended by force");
                    Wake::Stop
                }
            },
            page = self.cursor.next(), if wants_events => Wake::Page(page),
            () = sleep_until(timer) => Wake::Time,
        }
    }

    /// Whether there is room for more events.
    fn wants_events(&self) -> bool {
        self.ready.len() < READY_MAX
            && !self.is_full()
            && self.read_again_at.is_none_or(|at| at <= Instant::now())
    }

    /// Whether so many deliveries wait that new events have to.
    fn is_full(&self) -> bool {
        let unwritten = self.finished.len() + self.writing.items.len();
        if self.waiting.len() + unwritten < self.options.waiting_max {
            return false;
        }
        let unwritten = self.finished.iter().chain(&self.writing.items);
        let becoming = unwritten.filter(|settle| settle.delivery.is_some()).count();
        self.waiting.len() + becoming >= self.options.waiting_max
    }

    /// When there is something to do even if nothing happens.
    fn timer(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut timers = vec![self.read_again_at.filter(|at| *at > now)];
        if self.write.is_none() {
            timers.push(self.finished_since.map(|since| since + self.options.linger));
            timers.push(self.move_on_at());
            if self.is_window_full() {
                let running = |job: &&Job| !job.is_delivery && job.stage == Stage::Running;
                let oldest = self
                    .jobs
                    .values()
                    .filter(running)
                    .map(|job| job.began)
                    .min();
                timers.push(oldest.map(|began| began + self.options.slow_attempt));
            }
        }
        if self.has_place() && self.may_retry() {
            timers.push(
                self.waiting
                    .next_due_us(self.suspect_running.is_none())
                    .map(|due_us| {
                        let left_us = due_us
                            .saturating_sub(self.runner.log.clock().now_us())
                            .max(0);
                        let left = Duration::from_micros(u64::try_from(left_us).unwrap_or(0));
                        now + left.min(CLOCK_CHECK)
                    }),
            );
        }
        timers.into_iter().flatten().min()
    }

    /// Takes a page of events. Those that do not match are settled by being passed.
    fn take_page(&mut self, page: CursorPage) {
        self.read_again_at = None;
        for event in page.events {
            let seq = event.seq.get();
            self.progress.settle(self.scanned + 1, seq - 1);
            self.scanned = seq;
            if self.progress.is_settled(seq) {
                continue;
            }
            if seq <= self.suspect_through {
                self.suspect(&event);
            } else {
                self.ready.push_back(event);
            }
        }
        self.progress.settle(self.scanned + 1, page.through.get());
        self.scanned = self.scanned.max(page.through.get());
    }

    /// Passes over what retention was forced to remove before its turn.
    fn pass_pruned(&mut self, through: u64) {
        tracing::warn!(
            reactor = %self.status.name, after = self.scanned, through,
            "retention removed events before their turn"
        );
        self.progress.settle(self.scanned + 1, through);
        self.scanned = self.scanned.max(through);
    }

    /// The lane of an event.
    fn lane_of(&self, event: &Event) -> Option<Arc<str>> {
        match self.runner.options.ordering {
            Ordering::None => None,
            Ordering::Key => event.key.clone(),
            // One lane for all.
            Ordering::All => Some("".into()),
        }
    }

    fn tell(&self) {
        let is_full = self.is_full();
        if is_full && !self.status.get().is_full {
            let (name, waiting) = (&self.status.name, self.waiting.len());
            tracing::warn!(reactor = %name, waiting, "a reactor takes no new events: too many deliveries wait");
            self.alerts.send(&format!("full:{name}"), || {
                format!("{name} takes no new events: {waiting} deliveries wait")
            });
        }
        self.status.set(Now {
            position: self.progress.position(),
            waiting: self.waiting.len(),
            dead: self.dead,
            oldest_us: self.waiting.oldest_us(),
            running: self.attempts.len(),
            is_full,
            is_stopped: false,
        });
    }
}

/// The write that is under way; waits for ever when there is none.
async fn flight(write: &mut Option<Pin<Box<dyn Future<Output = Written> + Send>>>) -> Written {
    let written = match write {
        Some(write) => write.await,
        None => return pending().await,
    };
    *write = None;
    written
}

async fn sleep_until(timer: Option<Instant>) {
    match timer {
        Some(at) => tokio::time::sleep_until(at).await,
        None => pending().await,
    }
}
