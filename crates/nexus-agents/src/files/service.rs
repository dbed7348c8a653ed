//! The loop: follows the log, and writes the files within a second of what happened.

use std::{sync::Arc, time::Duration};

use nexus_core::{Cursor, Error as LogError};
use parking_lot::Mutex;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    Dependency, Error, Handle,
    files::{
        FilesOptions,
        disk::Disk,
        folder::Folder,
        follower::Follower,
        messages::{self, MayGo},
        place,
        shared::Outcome,
    },
};

/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How soon it is looked again at a file that others are writing.
const LATER: Duration = Duration::from_millis(50);
/// When what is old is looked for the first time, and then how often.
const PRUNE_FIRST: Duration = Duration::from_secs(60);
const PRUNE_INTERVAL: Duration = Duration::from_secs(3_600);
/// Writing takes at most about this part of the time …
const GATHER_TIMES: u32 = 8;
/// … but what happens is in the files within a second.
const GATHER_MAX: Duration = Duration::from_millis(500);
/// How often it is tried to write what happened, when the process is about to end.
const LAST_TRIES: usize = 3;

/// The loop of the files. Nothing is written while it does not run.
pub struct FilesService {
    cursor: Cursor,
    follower: Follower,
    folder: Arc<Mutex<Folder>>,
    options: FilesOptions,
    dependency: Dependency,
    trouble: Option<String>,
    /// How long writing took the last time.
    took: Duration,
    /// When the files are written; nothing while there is nothing to write.
    due: Option<Instant>,
}

impl FilesService {
    /// Reads what the entries say of sessions, so that their tokens count from the first request on, and finds
    /// how far the files are behind the log. Files that cannot be read or written are no error: the loop tries
    /// again, and tells the dependency.
    ///
    /// # Errors
    /// [`Error::Log`] when the log cannot be read, or it cannot be noted where the files begin.
    pub async fn open(
        agents: Handle,
        options: FilesOptions,
        dependency: Dependency,
    ) -> Result<Self, Error> {
        let clock = agents.log().clock().clone();
        let folder = Folder::new(options.path.clone(), Disk::default(), clock);
        Self::over(agents, options, dependency, folder).await
    }

    pub(crate) async fn over(
        agents: Handle,
        options: FilesOptions,
        dependency: Dependency,
        folder: Folder,
    ) -> Result<Self, Error> {
        let begins = place::begin(&agents).await?;
        let cursor = place::cursor(&agents, begins).await?;
        let folder = Arc::new(Mutex::new(folder));
        let read = folder.clone();
        if let Some(roster) = blocking(move || Ok(read.lock().roster())).await? {
            agents.set_roster(roster);
        }
        Ok(Self {
            follower: Follower::new(agents, cursor.position()),
            cursor,
            folder,
            options,
            dependency,
            trouble: None,
            took: Duration::ZERO,
            // How everything stands is written first of all: it may have changed while nobody wrote.
            due: Some(Instant::now()),
        })
    }

    /// Runs until it is stopped, or the log is closed; then writes what happened until then.
    pub async fn run(mut self, stop: CancellationToken) {
        self.tidy().await;
        let mut look = every(self.options.look, self.options.look);
        let mut heartbeat = every(self.options.heartbeat, self.options.heartbeat);
        let mut pass = every(self.options.pass, self.options.pass);
        let mut prune = every(PRUNE_FIRST, PRUNE_INTERVAL);
        let agents = self.follower.agents().clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                page = self.cursor.next(), if self.follower.has_room() => match page {
                    Ok(page) => {
                        if self.follower.take(&page) {
                            self.due_in(self.gather());
                        }
                    }
                    Err(LogError::Closed) => break,
                    Err(error) => report_unread(&error).await,
                },
                () = agents.known_changed() => self.due_in(self.gather()),
                () = until(self.due) => {
                    self.write().await;
                    look.reset();
                }
                _ = look.tick() => {
                    if self.is_changed().await {
                        self.due_in(Duration::ZERO);
                    }
                }
                _ = heartbeat.tick() => {
                    self.follower.beat();
                    self.due_in(Duration::ZERO);
                }
                _ = pass.tick(), if self.due.is_none() => self.follower.pass().await,
                _ = prune.tick() => self.prune().await,
            }
        }
        self.finish().await;
    }

    /// How long more is waited for. Where a thousand sessions make writing slow, more is written at once.
    fn gather(&self) -> Duration {
        let slow = (self.took * GATHER_TIMES).min(GATHER_MAX);
        self.options.gather.max(slow)
    }

    fn due_in(&mut self, after: Duration) {
        let at = Instant::now() + after;
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// Writes everything; what failed, and what others are writing, is due again soon.
    async fn write(&mut self) -> bool {
        self.due = None;
        let began = Instant::now();
        let written = match self.follower.begin().await {
            Ok(mut round) => {
                let folder = self.folder.clone();
                let done = blocking(move || {
                    let written = folder.lock().write(&mut round, Instant::now());
                    Ok((round, written))
                });
                match done.await {
                    Ok((round, written)) => {
                        self.follower.end(round);
                        written
                    }
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        let is_done = match &written {
            Ok(written) => {
                if let Some(roster) = written.roster.clone() {
                    self.follower.agents().set_roster(roster);
                }
                written.outcome == Outcome::Settled
            }
            Err(_) => false,
        };
        let is_failed = written.is_err();
        self.report(written.err().as_ref());
        self.took = began.elapsed();
        if is_done {
            self.follower.settle().await;
            if self.follower.has_beats() {
                self.due_in(LATER);
            }
        } else {
            self.due_in(if is_failed { RETRY } else { LATER });
        }
        is_done
    }

    /// Whether others wrote the files. What cannot be looked at is written, which tells why not.
    async fn is_changed(&mut self) -> bool {
        let folder = self.folder.clone();
        let looked = blocking(move || folder.lock().is_changed(Instant::now()));
        match looked.await {
            Ok(is_changed) => is_changed,
            // The next attempt says it again and again; once is enough.
            Err(_) => self.due.is_none(),
        }
    }

    /// Removes what a process left behind that ended while it wrote. Where that fails, writing says why.
    pub(crate) async fn tidy(&self) {
        let folder = self.folder.clone();
        let _ = blocking(move || folder.lock().tidy()).await;
    }

    /// Removes heartbeats that are old, and the oldest messages where there are too many.
    pub(crate) async fn prune(&self) {
        self.prune_heartbeats().await;
        if let Err(error) = self.prune_messages().await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                error,
                "old messages could not be removed; it is tried again"
            );
        }
    }

    async fn prune_messages(&self) -> Result<(), Error> {
        let (root, kept) = (self.options.path.clone(), self.options.messages_kept);
        let crowded = blocking(move || messages::crowded(&root, kept)).await?;
        let disk = self.folder.lock().disk().clone();
        for crowded in crowded {
            let may_go = match &crowded.to {
                None => MayGo::All,
                Some(id) => messages::received(self.follower.agents(), id).await?,
            };
            let disk = disk.clone();
            blocking(move || crowded.thin(kept, &may_go, &disk)).await?;
        }
        Ok(())
    }

    async fn prune_heartbeats(&self) {
        let kept = i64::try_from(self.options.heartbeats_kept.as_micros()).unwrap_or(i64::MAX);
        let now_us = self.follower.agents().log().clock().now_us();
        let folder = self.folder.clone();
        let pruned = blocking(move || folder.lock().prune(now_us.saturating_sub(kept))).await;
        if let Err(error) = pruned {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(
                error,
                "old heartbeats could not be removed; it is tried again"
            );
        }
    }

    /// Writes what happened until now; whether the files are as they should be.
    pub(crate) async fn catch_up(&mut self) -> bool {
        while self.follower.has_room()
            && let Ok(Some(page)) = self.cursor.try_next().await
        {
            self.follower.take(&page);
        }
        self.write().await
    }

    /// Writes what happened before the end, as far as that goes.
    async fn finish(mut self) {
        for _ in 0..LAST_TRIES {
            if self.catch_up().await {
                return;
            }
            sleep(LATER).await;
        }
        tracing::warn!(
            "the files of agents are behind; what is missing is written at the next start"
        );
    }

    /// Tells how the files are, once each time that changes.
    fn report(&mut self, error: Option<&Error>) {
        self.dependency.set_available(error.is_none());
        let trouble = error.map(chain);
        match (&trouble, &self.trouble) {
            (Some(trouble), None) => {
                self.follower.agents().failed();
                tracing::warn!(
                    trouble,
                    "the files of agents cannot be written; it is tried again"
                );
            }
            (None, Some(_)) => tracing::info!("the files of agents are written again"),
            _ => {}
        }
        self.trouble = trouble;
    }
}

async fn report_unread(error: &LogError) {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "the events for the files of agents could not be read; it is tried again"
    );
    sleep(RETRY).await;
}

/// An error with what it came from.
fn chain(error: &Error) -> String {
    use std::error::Error as _;
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Does what waits for the disk where nobody else waits for it.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(Error::Contended {
            what: "the disk".to_owned(),
        }),
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn every(first: Duration, period: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + first, period.max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
