//! Pruning as the writer does it: one small step at a time, between batches, so that nobody waits long.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{Log, Pruned, ring::Ring};
use crate::{Error, Seq};

/// Behind the request that is being worked on, at most this many wait.
const REQUESTS_MAX: usize = 4;
/// After a step the writer leaves pruning alone for this many times as long as the step took: so pruning
/// has at most a tenth of its time, however much there is to remove.
const REST: u32 = 9;

/// Somebody wants everything up to an event removed.
pub(crate) struct Request {
    through: Seq,
    answer: oneshot::Sender<Result<Seq, Error>>,
}

/// What the writer knows of pruning: one request at a time.
pub(crate) struct Pruning {
    requests: mpsc::Receiver<Request>,
    ring: Arc<Ring>,
    current: Option<Request>,
    step_at: Instant,
}

impl Pruning {
    pub(crate) fn new(ring: Arc<Ring>) -> (mpsc::Sender<Request>, Self) {
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let pruning = Self {
            requests,
            ring,
            current: None,
            step_at: Instant::now(),
        };
        (sender, pruning)
    }

    /// Waits until a step is due; for ever if none will be. May be dropped at any time.
    pub(crate) async fn due(&mut self) {
        if self.current.is_none() {
            match self.requests.recv().await {
                Some(request) => self.current = Some(request),
                None => std::future::pending().await,
            }
        }
        tokio::time::sleep_until(self.step_at).await;
    }

    /// How far the step goes that is due now. Readers are warned before it begins.
    pub(crate) fn step_due(&mut self) -> Option<Seq> {
        if self.current.is_none() {
            self.current = self.requests.try_recv().ok();
        }
        let through = self.current.as_ref()?.through;
        if Instant::now() < self.step_at {
            return None;
        }
        self.ring.set_pruning(through);
        Some(through)
    }

    /// A step is done, and took so long.
    pub(crate) fn stepped(&mut self, step: Pruned, took: Duration) {
        self.step_at = Instant::now() + took * REST;
        if step.done
            && let Some(request) = self.current.take()
        {
            // A caller that went away changes nothing.
            let _ = request.answer.send(Ok(step.through));
        }
    }

    /// What was asked for is given up; what is done of it stays done.
    pub(crate) fn give_up(&mut self, why: Error) {
        if let Some(request) = self.current.take() {
            let _ = request.answer.send(Err(why));
        }
    }

    /// Gives up what was asked for, and takes nothing more: the log is closing.
    pub(crate) fn close(&mut self) {
        self.requests.close();
        self.current = None;
        // Whoever waits finds its answer dropped.
        while self.requests.try_recv().is_ok() {}
    }
}

impl Log {
    /// Removes the oldest events up to `through`, in small steps between the writer's batches, and returns
    /// when they are gone. Whole batches go, and never the newest: so it may stop earlier, and gives the
    /// last event that is gone.
    ///
    /// Asks nobody who still needs them: [`Retention`](super::Retention) does.
    ///
    /// # Errors
    /// [`Error::StorageFull`] and [`Error::NotPruned`] when a step fails; those before it are done.
    /// [`Error::Closed`].
    pub async fn prune(&self, through: Seq) -> Result<Seq, Error> {
        let (answer, answered) = oneshot::channel();
        // What readers do not see yet is not taken from them.
        let through = through.min(self.0.ring.head());
        let request = Request { through, answer };
        self.0
            .prunes
            .send(request)
            .await
            .map_err(|_| Error::Closed)?;
        answered.await.unwrap_or(Err(Error::Closed))
    }

    /// The last event that retention removed, if that is behind `after`: whoever has just read what follows
    /// `after` from the store may then have missed something. Costs nothing as long as retention is far
    /// behind.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub async fn pruned_since(&self, after: Seq) -> Result<Option<Seq>, Error> {
        if after >= self.0.ring.pruning() {
            return Ok(None);
        }
        let pruned = self.pruned_through().await?;
        Ok((after < pruned).then_some(pruned))
    }
}
