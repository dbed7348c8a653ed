//! The tasks of a server, connections and upgraded sockets, and how they end.

use std::{
    future::Future,
    mem,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// All tasks of a server.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    running: Mutex<JoinSet<()>>,
    draining: CancellationToken,
    /// The same as the token, to be read without its lock.
    is_draining: AtomicBool,
}

impl Tasks {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running.lock();
        running.spawn(task);
        // Forgets those that have ended, so that the set holds what runs.
        while running.try_join_next().is_some() {}
    }

    /// Forgets the tasks that have ended, also when no new one comes.
    pub(crate) fn forget_ended(&self) {
        while self.running.lock().try_join_next().is_some() {}
    }

    pub(crate) fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// Tells every task to end, waits for them, and ends those that do not; says how many that were.
    pub(crate) async fn drain(&self, patience: Duration) -> usize {
        self.is_draining.store(true, Ordering::Release);
        self.draining.cancel();
        let deadline = Instant::now() + patience;
        loop {
            let mut ending = mem::take(&mut *self.running.lock());
            // A connection may start an upgraded socket while it ends, so there may be a next round.
            if ending.is_empty() {
                return 0;
            }
            loop {
                match timeout_at(deadline, ending.join_next()).await {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    // What is left of this round is aborted when it is dropped.
                    Err(_) => return ending.len() + self.abort(),
                }
            }
        }
    }

    /// Ends every task where it stands.
    pub(crate) fn abort(&self) -> usize {
        let mut running = self.running.lock();
        let left = running.len();
        running.abort_all();
        left
    }
}
