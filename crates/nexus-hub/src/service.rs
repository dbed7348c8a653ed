//! The loop of the hub: reads each server's lists when it is new, has told of a change, or they are old; and
//! passes on what servers say by themselves.

mod pace;
mod sayings;

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::{json, value::RawValue};
use tokio::{
    sync::{broadcast, watch},
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};

use self::{
    pace::Pace,
    sayings::{Allowed, Sayings},
};
use crate::{
    Changed, Error, Hub, HubChange, Notice, ServerId,
    catalogue::{
        running::{Occasion, may_pass},
        sync::{Kinds, sync},
    },
    handle::Shared,
    router::{redaction, subscribing, subscriptions::Line},
};

/// A message of a server's log.
const LOGGED: &str = "notifications/message";
/// Somebody did what a server sent them to an address for.
const ELICITED: &str = "notifications/elicitation/complete";
/// A list that is doubted is read again after this.
const DOUBT: Duration = Duration::from_secs(60);

/// The loop of the hub. Nothing is read by itself while it does not run.
pub struct Service {
    shared: Arc<Shared>,
    notices: broadcast::Receiver<Notice>,
    workers: HashMap<ServerId, Worker>,
    sayings: Sayings,
}

/// The task that reads the lists of one server, one after the other.
struct Worker {
    stale: watch::Sender<Kinds>,
    task: AbortHandle,
}

impl Service {
    pub(crate) fn new(shared: Arc<Shared>, notices: broadcast::Receiver<Notice>) -> Self {
        Self {
            shared,
            notices,
            workers: HashMap::new(),
            sayings: Sayings::default(),
        }
    }

    /// The hub that it runs for.
    #[must_use]
    pub fn hub(&self) -> Hub {
        Hub(self.shared.clone())
    }

    /// Runs until it is dropped: it ends with the process, or with whoever runs it.
    pub async fn run(mut self) {
        loop {
            tokio::select! {
                () = self.shared.wake.notified() => {
                    let woken = std::mem::take(&mut *self.shared.woken.lock());
                    woken.iter().for_each(|id| self.wake(id));
                }
                notice = self.notices.recv() => match notice {
                    Ok(notice) => self.hear(&notice),
                    Err(broadcast::error::RecvError::Lagged(missed)) => self.missed(missed),
                    // The pool is gone: nothing is said any more.
                    Err(broadcast::error::RecvError::Closed) => return,
                },
            }
        }
    }

    /// A server is new, other, or gone.
    fn wake(&mut self, id: &ServerId) {
        let server = self.shared.server(id).ok();
        if let Some(server) = server.filter(|server| server.server.enabled) {
            let is_first = !self.workers.contains_key(id);
            let due = if is_first && server.known.is_some() {
                // What is kept of it may be old, and is good enough to wait for others.
                Kinds::NONE
            } else {
                Kinds::ALL
            };
            self.stale(id, due);
        } else {
            self.workers.remove(id);
        }
    }

    /// What is known of a server's lists is old.
    fn stale(&mut self, id: &ServerId, kinds: Kinds) {
        let worker = self
            .workers
            .entry(id.clone())
            .or_insert_with(|| Worker::start(self.shared.clone(), id.clone()));
        worker.stale.send_if_modified(|stale| {
            *stale = stale.and(kinds);
            kinds != Kinds::NONE
        });
    }

    fn hear(&mut self, notice: &Notice) {
        let kinds = match &notice.changed {
            Changed::Tools => Kinds::TOOLS,
            Changed::Resources => Kinds::RESOURCES,
            Changed::Prompts => Kinds::PROMPTS,
            Changed::Missed => {
                subscribing::tell_all(&self.shared, &line(notice));
                Kinds::ALL
            }
            Changed::ResourceUpdated(uri) => {
                return subscribing::tell(&self.shared, &line(notice), uri);
            }
            Changed::Gone | Changed::Closed => {
                return subscribing::restore(&self.shared, line(notice));
            }
            Changed::Notified { method, params } => {
                return self.pass_on(notice, method, params.as_ref());
            }
        };
        // What one of many connections has of its own is no reason to read the list of all.
        let is_of_list = self.shared.server(&notice.server).is_ok_and(|server| {
            let scope = server.running.scope_of(&server.server.scope());
            notice.scope.is_none() || notice.scope == scope
        });
        if is_of_list && self.workers.contains_key(&notice.server) {
            self.stale(&notice.server, kinds);
        }
    }

    /// Passes on what a server tells by itself, without its credentials.
    fn pass_on(&mut self, notice: &Notice, method: &Arc<str>, params: Option<&Arc<RawValue>>) {
        let is_for_one = notice.scope.is_some();
        // That somebody did what a server sent them to an address for, is told to nobody else.
        let is_wanted = match &**method {
            LOGGED => true,
            ELICITED => is_for_one,
            _ => false,
        };
        let Ok(server) = self.shared.server(&notice.server) else {
            return;
        };
        if !is_wanted {
            return;
        }
        let said = |method: Arc<str>, params| HubChange::Said {
            server: notice.server.clone(),
            scope: notice.scope.clone(),
            method,
            params,
        };
        let bytes = params.map_or(0, |params| params.get().len());
        match self.sayings.take(&notice.server, bytes, Instant::now()) {
            Allowed::Yes => {
                let redactor = server.running.redactor.as_ref();
                let clean = params
                    .zip(redactor)
                    .and_then(|(params, redactor)| redaction::json(redactor, params.get()));
                let params = clean.map(Arc::from).or_else(|| params.cloned());
                self.shared.tell(said(method.clone(), params));
            }
            Allowed::NoMore => {
                let alias = &server.server.alias;
                let why = format!("{alias} says more than is passed on; some of it is left out");
                let params = json!({ "level": "warning", "logger": "nexus", "data": why });
                let params = serde_json::value::to_raw_value(&params).ok();
                self.shared.tell(said(LOGGED.into(), params.map(Arc::from)));
            }
            Allowed::No => {}
        }
    }

    fn missed(&mut self, missed: u64) {
        tracing::warn!(
            missed,
            "servers said more than could be heard; all lists are read again"
        );
        let all: Vec<ServerId> = self.workers.keys().cloned().collect();
        for id in all {
            self.stale(&id, Kinds::ALL);
        }
        // One of them may have been lost.
        for line in self.shared.subscriptions.lines() {
            subscribing::restore(&self.shared, line);
        }
    }
}

fn line(notice: &Notice) -> Line {
    Line {
        server: notice.server.clone(),
        scope: notice.scope.clone(),
    }
}

impl Worker {
    fn start(shared: Arc<Shared>, id: ServerId) -> Self {
        let (stale, is_stale) = watch::channel(Kinds::NONE);
        let work = work(shared, id, stale.clone(), is_stale);
        Self {
            stale,
            task: tokio::spawn(work).abort_handle(),
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads a server's lists again and again. Changes that are told within a moment are read as one, and one that is
/// told while a list is read is read after it.
async fn work(
    shared: Arc<Shared>,
    id: ServerId,
    stale: watch::Sender<Kinds>,
    mut is_stale: watch::Receiver<Kinds>,
) {
    let mut next = Instant::now() + jittered(&shared, first_interval(&shared, &id));
    let mut retry = shared.options.sync_retry;
    let mut pace = Pace::default();
    loop {
        tokio::select! {
            is_told = told(&mut is_stale) => {
                if !is_told {
                    return;
                }
                sleep(shared.options.debounce.max(pace.take(Instant::now()))).await;
            }
            () = sleep_until(next) => {
                stale.send_modify(|stale| *stale = Kinds::ALL);
            }
        }
        let kinds = stale.send_replace(Kinds::NONE);
        match sync(&shared, &id, kinds, Occasion::ByItself).await {
            Ok(report) => {
                retry = shared.options.sync_retry;
                let interval = if report.doubted.is_empty() {
                    shared.options.sync_interval
                } else {
                    DOUBT.min(shared.options.sync_interval)
                };
                next = Instant::now() + jittered(&shared, interval);
            }
            Err(Error::UnknownServer { .. }) if shared.server(&id).is_err() => return,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error, server = %id,
                    "the lists of a server could not be read; what is known of it stays"
                );
                let wait = if may_pass(&error) {
                    retry
                } else {
                    shared.options.sync_interval
                };
                next = Instant::now() + jittered(&shared, wait);
                retry = (retry * 2).min(shared.options.sync_interval);
            }
        }
    }
}

/// Waits for a change that was told; whether there can still be one.
async fn told(stale: &mut watch::Receiver<Kinds>) -> bool {
    stale.wait_for(|stale| *stale != Kinds::NONE).await.is_ok()
}

/// A server of which something is kept is read soon, one that is new at once by its wake.
fn first_interval(shared: &Shared, id: &ServerId) -> Duration {
    /// So that a start does not ask all servers at one moment.
    const SOON: Duration = Duration::from_secs(30);
    let is_known = shared.server(id).is_ok_and(|server| server.known.is_some());
    if is_known {
        SOON.min(shared.options.sync_interval)
    } else {
        shared.options.sync_interval
    }
}

/// Not all at one moment: a quarter more or less.
fn jittered(shared: &Shared, interval: Duration) -> Duration {
    interval.mul_f64(0.75 + shared.log.random().fraction() / 2.0)
}
