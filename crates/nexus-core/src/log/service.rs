//! The writer: the one task that holds the write connection. It groups what is queued into commits.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::{
    LogOptions,
    announcer::Announcements,
    backend::{Fault, Outcome, Wanted, WriteError, committed},
    command::Health,
    decide,
    erased::ErasedBackend,
    plan::{Append, Plan, Verdict},
    pruning::Pruning,
};
use crate::{Clock, Error, Seq};

/// One queued request.
pub(crate) struct Request {
    pub(crate) append: Append,
    pub(crate) weight: usize,
    pub(crate) answer: oneshot::Sender<Result<Answer, Error>>,
}

/// What a request that was kept gets back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) range: Option<(Seq, Seq)>,
    pub(crate) time_us: i64,
    pub(crate) revision: u64,
    pub(crate) replayed: bool,
}

/// The storage failed in a way that writing on could make worse.
#[derive(Debug, thiserror::Error)]
#[error("the storage failed: the log is closed to protect what is in it")]
pub struct Fatal {
    /// What the backend says.
    #[source]
    pub source: WriteError,
}

/// What the writer does next.
enum Next {
    Request(Box<Request>),
    /// Tries whether there is space and a connection again.
    Retry,
    /// Removes old events, a few.
    Prune,
    /// Does what has become due in the storage while nothing was written.
    Maintain,
    /// Takes no more requests.
    Close,
    /// Every request is done.
    Done,
}

/// The writer's loop; owns the queue's receiver and the backend.
pub struct Service {
    pub(crate) queue: mpsc::Receiver<Request>,
    pub(crate) queued_bytes: Arc<AtomicUsize>,
    pub(crate) backend: Box<dyn ErasedBackend>,
    pub(crate) announcements: Announcements,
    pub(crate) pruning: Pruning,
    pub(crate) health: watch::Sender<Health>,
    pub(crate) closing: watch::Receiver<bool>,
    pub(crate) clock: Clock,
    pub(crate) options: LogOptions,
    /// A request that did not fit into the batch before.
    pub(crate) carried: Option<Request>,
}

impl Service {
    /// Runs until the log is closed and its queue is empty.
    ///
    /// # Errors
    /// [`Fatal`] when the storage can no longer be trusted; the process must then stop.
    pub async fn run(mut self) -> Result<(), Fatal> {
        let result = self.work().await;
        if result.is_err() {
            self.health.send_replace(Health::Failed);
            self.refuse_queued();
        } else {
            self.backend.close().await;
        }
        result
    }

    async fn work(&mut self) -> Result<(), Fatal> {
        let mut retry_at = Instant::now();
        loop {
            let is_ill = self.health.borrow().may_heal();
            if is_ill && retry_at <= Instant::now() {
                self.recover().await?;
                retry_at = Instant::now() + self.options.full_retry;
                continue;
            }
            // Between two batches, also when there is always a next one.
            if let Some(through) = self.pruning.step_due() {
                self.prune(through).await?;
                continue;
            }
            match self.next(is_ill.then_some(retry_at)).await {
                Next::Request(request) => self.take_batch(*request).await?,
                Next::Retry | Next::Prune => {}
                Next::Maintain => self.maintain().await?,
                Next::Close => {
                    self.queue.close();
                    self.pruning.close();
                }
                Next::Done => return Ok(()),
            }
        }
    }

    /// Says to what still waits that nothing of it was tried.
    fn refuse_queued(&mut self) {
        self.queue.close();
        let queued = std::iter::from_fn(|| self.queue.try_recv().ok());
        for request in self.carried.take().into_iter().chain(queued) {
            let _ = request.answer.send(Err(Error::Closed));
        }
    }

    async fn next(&mut self, retry_at: Option<Instant>) -> Next {
        if let Some(carried) = self.carried.take() {
            return Next::Request(Box::new(carried));
        }
        tokio::select! {
            biased;
            // First, so that callers who never stop asking cannot keep the log from closing.
            _ = self.closing.wait_for(|closing| *closing), if !self.queue.is_closed() => Next::Close,
            request = self.queue.recv() => request.map_or(Next::Done, |request| Next::Request(Box::new(request))),
            () = tokio::time::sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => Next::Retry,
            () = self.pruning.due() => Next::Prune,
            () = self.backend.maintenance_due() => Next::Maintain,
        }
    }

    /// Takes what is queued behind the first request, without waiting for more.
    async fn take_batch(&mut self, first: Request) -> Result<(), Fatal> {
        let mut events = first.append.events.len();
        let mut bytes = first.weight;
        let mut requests = vec![first];
        while events < self.options.batch_events_max && bytes < self.options.batch_bytes_max {
            let Ok(request) = self.queue.try_recv() else {
                break;
            };
            events += request.append.events.len();
            bytes += request.weight;
            if events > self.options.batch_events_max || bytes > self.options.batch_bytes_max {
                self.carried = Some(request);
                break;
            }
            requests.push(request);
        }
        let taken: usize = requests.iter().map(|request| request.weight).sum();
        self.queued_bytes.fetch_sub(taken, Ordering::Relaxed);
        let health = *self.health.borrow();
        if health.may_heal() {
            // Events wait for space; what needs little, such as giving a claim back, may still go on.
            let (refused, rest): (Vec<_>, Vec<_>) = requests
                .into_iter()
                .partition(|request| !request.append.events.is_empty());
            for request in refused {
                let refusal = health.refusal().unwrap_or(Error::Closed);
                let _ = request.answer.send(Err(refusal));
            }
            requests = rest;
        }
        if requests.is_empty() {
            return Ok(());
        }
        self.write(requests).await
    }

    async fn write(&mut self, requests: Vec<Request>) -> Result<(), Fatal> {
        let (appends, answers): (Vec<_>, Vec<_>) = requests
            .into_iter()
            .map(|request| (request.append, request.answer))
            .unzip();
        let (head, loaded) = match self.backend.begin(&wanted(&appends)).await {
            Ok(begun) => begun,
            Err(mut error) => {
                error.outcome = Outcome::NotStored;
                return self.fail(error, None, answers, Vec::new()).await;
            }
        };
        let (plan, verdicts) = decide(&head, loaded, appends, self.clock.now_us());
        match self.backend.commit(&plan).await {
            Ok(()) => {
                self.announce_and_answer(plan, answers, verdicts).await;
                self.maintain().await
            }
            Err(error) => self.fail(error, Some(plan), answers, verdicts).await,
        }
    }

    async fn maintain(&mut self) -> Result<(), Fatal> {
        match self.backend.maintain().await {
            Ok(()) => Ok(()),
            Err(error) => self.fail(error, None, Vec::new(), Vec::new()).await,
        }
    }

    async fn announce_and_answer(
        &mut self,
        plan: Plan,
        answers: Vec<Answers>,
        verdicts: Vec<Verdict>,
    ) {
        let time_us = plan.head.time_us;
        if let Some(batch) = committed(plan) {
            self.announcements.committed(batch).await;
        }
        for (answer, verdict) in answers.into_iter().zip(verdicts) {
            // A caller that went away changes nothing.
            let _ = answer.send(match verdict {
                Verdict::Stored { range, revision } => Ok(Answer {
                    range,
                    time_us,
                    revision,
                    replayed: false,
                }),
                Verdict::Replayed { range } => Ok(Answer {
                    range,
                    time_us,
                    revision: 0,
                    replayed: true,
                }),
                Verdict::Refused(error) => Err(error),
            });
        }
    }

    /// One step of what was asked for.
    async fn prune(&mut self, through: Seq) -> Result<(), Fatal> {
        let health = *self.health.borrow();
        if health.may_heal() {
            // What room there is belongs to those who give something back.
            self.pruning.give_up(match health.refusal() {
                Some(Error::NotStored { source }) => Error::NotPruned { source },
                refusal => refusal.unwrap_or(Error::Closed),
            });
            return Ok(());
        }
        let begun = Instant::now();
        let mut result = self.backend.prune(through).await;
        if result.is_ok()
            && let Err(error) = self.backend.maintain().await
        {
            result = Err(error);
        }
        match result {
            Ok(step) => {
                self.pruning.stepped(step, begun.elapsed());
                Ok(())
            }
            Err(error) => {
                self.pruning.give_up(match error.fault {
                    Fault::Full => Error::StorageFull,
                    Fault::Transient | Fault::Fatal => Error::NotPruned {
                        source: error.source.to_string().into(),
                    },
                });
                self.fail(error, None, Vec::new(), Vec::new()).await
            }
        }
    }

    /// Answers honestly after a failure, and gets a connection that works again.
    async fn fail(
        &mut self,
        error: WriteError,
        plan: Option<Plan>,
        answers: Vec<Answers>,
        verdicts: Vec<Verdict>,
    ) -> Result<(), Fatal> {
        tracing::error!(error = &error as &dyn std::error::Error, fault = ?error.fault, outcome = ?error.outcome, "writing to the log failed");
        if error.fault == Fault::Fatal {
            // Readers and callers learn of it before the process stops.
            self.health.send_replace(Health::Failed);
            refuse(answers, &error);
            return Err(Fatal { source: error });
        }
        let reopened = self.backend.reopen().await;
        match (&reopened, plan) {
            (Ok(head), Some(plan)) if !plan.events.is_empty() && *head == plan.head => {
                // The commit did happen, although it was reported as failed.
                self.announce_and_answer(plan, answers, verdicts).await;
            }
            _ => refuse(answers, &error),
        }
        match reopened {
            Ok(head) => {
                // Also what an earlier failure left in the log without anyone having been told.
                self.announcements.reached(head.last).await;
                self.health.send_replace(Health::Healthy);
                Ok(())
            }
            Err(error) if error.fault == Fault::Fatal => Err(Fatal { source: error }),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the log is read-only until it can be written again"
                );
                self.health.send_replace(Health::after(error.fault));
                Ok(())
            }
        }
    }

    /// Tries whether there is space and a connection again.
    async fn recover(&mut self) -> Result<(), Fatal> {
        match self.backend.reopen().await {
            Ok(head) => {
                tracing::info!(%head.last, "the log can be written again");
                self.announcements.reached(head.last).await;
                self.health.send_replace(Health::Healthy);
                Ok(())
            }
            Err(error) if error.fault == Fault::Fatal => Err(Fatal { source: error }),
            Err(error) => {
                self.health.send_replace(Health::after(error.fault));
                Ok(())
            }
        }
    }
}

type Answers = oneshot::Sender<Result<Answer, Error>>;

/// Says of each request what is known: nothing was kept, or it cannot be said.
fn refuse(answers: Vec<Answers>, error: &WriteError) {
    for answer in answers {
        let _ = answer.send(Err(match (error.outcome, error.fault) {
            (Outcome::Unknown, _) => Error::OutcomeUnknown,
            (Outcome::NotStored, Fault::Full) => Error::StorageFull,
            (Outcome::NotStored, _) => Error::NotStored {
                source: error.source.to_string().into(),
            },
        }));
    }
}

fn wanted(appends: &[Append]) -> Wanted {
    let mut wanted = Wanted::default();
    for append in appends {
        let guarded = append.guards.iter().filter_map(|guard| guard.key());
        let changed = append.changes.iter().map(|change| change.key());
        wanted.records.extend(guarded.chain(changed).cloned());
        wanted
            .once
            .extend(append.once.as_ref().map(crate::Once::stored_key));
    }
    wanted.records.sort();
    wanted.records.dedup();
    wanted.once.sort_unstable();
    wanted.once.dedup();
    wanted
}
