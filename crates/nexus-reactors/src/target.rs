//! One target: the loop that reads the log for a reactor, runs it, and settles every event.
//!
//! The loop owns everything and waits in one place. Attempts run in tasks of their own and tell it how
//! they ended. One write of the cursor record is under way at a time; what ends meanwhile goes into the
//! next, so that many successes share a commit.

mod control;
mod drain;
mod hold;
mod open;
mod read;
mod run;
mod settle;
mod timing;
mod window;
mod write;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::{Future, pending},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use nexus_core::{CursorPage, Error, Event, Key};
use tokio::{
    sync::{broadcast, mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use crate::{
    EngineOptions,
    alert::{Alerts, full_cause, full_message},
    attempt::{Ran, Runner},
    circuit::Circuit,
    failpoints::Failpoint,
    handle::TargetChange,
    lanes::{Lanes, OnceKeys},
    ledger::{Ledger, Written},
    outcome::Outcomes,
    pace::Pace,
    progress::Progress,
    redeliver::Concluded,
    replay::Replay,
    standing::Standing,
    status::{Now, Status},
    waiting::Waiting,
};
use control::Chore;
pub(crate) use control::{Command, Done, discard};
pub(crate) use open::{Common, cursor_key};
use read::Reader;
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
    /// Whether it runs, and why not. What is not written yet waits with those who asked for it.
    standing: Standing,
    unwritten_standing: Option<Vec<Done>>,
    changes: broadcast::Sender<TargetChange>,
    /// What it shows again; nothing for a target that follows the log.
    replay: Option<Replay>,
    /// What is settled in the log, and what was passed because it does not match.
    progress: Progress,
    /// Nothing beyond this runs; it is in the log.
    opened: u64,
    /// Up to here, what is not settled may have been running when the process before ended.
    suspect_through: u64,
    write: Option<Flight>,
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

    reader: Reader,
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
    outcomes: Outcomes,
    circuit: Circuit,
    pace: Pace,
    /// Since when everything failed, in microseconds since 1970, if the target gives up some time.
    failing_since_us: Option<i64>,
    written_failing_since_us: Option<i64>,
    commands: mpsc::Receiver<Command>,
    /// What others asked for, being done.
    chores: JoinSet<Chore>,
    /// The dead letters that those are about: one thing at a time.
    in_hand: BTreeSet<u64>,
    suspect_running: Option<u64>,
    retries_running: usize,
    /// Whether the last job that began was a retry: with one place they take turns.
    retried_last: bool,
}

type Flight = Pin<Box<dyn Future<Output = Written> + Send>>;

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
    ended: Option<Ran>,
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
    First(u64, Ran),
    /// An attempt at a delivery, which is written already.
    Delivery(u64, Concluded),
}

/// Why the loop wakes up.
enum Wake {
    Ended(Ended),
    Written(Written),
    Page(Result<CursorPage, Error>),
    Command(Command),
    Chore(Chore),
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
            if self.is_through() {
                self.reader.end();
                self.end_replay(&mut stop).await;
                break;
            }
            match self.wake(&mut stop).await {
                Wake::Ended(ended) => self.take_ended(ended),
                Wake::Written(written) => {
                    if !self.take_written(written) {
                        break;
                    }
                }
                Wake::Page(Ok(page)) => {
                    self.options.failpoints.reach(Failpoint::PageRead).await;
                    self.take_page(page);
                }
                Wake::Page(Err(Error::Closed)) => break,
                Wake::Page(Err(Error::Pruned { through })) => self.pass_pruned(through.seq.get()),
                Wake::Page(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, reactor = %self.status.name, "the log could not be read");
                    self.read_again_at = Some(Instant::now() + READ_RETRY);
                }
                Wake::Command(command) => self.command(command),
                Wake::Chore(chore) => self.take_chore(chore),
                Wake::Time => {}
                Wake::Stop => {
                    self.reader.end();
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
            Some(chore) = self.chores.join_next(), if !self.chores.is_empty() => {
                chore.map_or(Wake::Time, Wake::Chore)
            }
            Some(command) = self.commands.recv() => Wake::Command(command),
            page = self.reader.next(wants_events) => Wake::Page(page),
            () = sleep_until(timer) => Wake::Time,
        }
    }

    fn tell(&self) {
        let is_full = self.takes_no_more();
        if is_full && !self.status.is_full() {
            let (name, waiting, dead) = (&self.status.name, self.waiting.len(), self.dead);
            tracing::warn!(reactor = %name, waiting, dead, "a reactor takes no new events: too many deliveries");
            self.alerts
                .send(&full_cause(name), || full_message(name, waiting, dead));
        }
        self.status.set(Now {
            position: self.progress.position(),
            waiting: self.waiting.len(),
            dead: self.dead,
            oldest_us: self.waiting.oldest_us(),
            running: self.attempts.len(),
            is_full,
            is_stopped: false,
            standing: self.standing.clone(),
            breaker: self.circuit.state(),
        });
    }
}

/// The write that is under way; waits for ever when there is none.
async fn flight(write: &mut Option<Flight>) -> Written {
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
