//! Another attempt at a delivery: counted before it runs, settled in the commit of what it emits.

use std::sync::Arc;

use nexus_core::{Change, Command, Event, Exchange, Key, Seq};

use crate::{
    attempt::{Ending, Failure, Ran, Runner, Sign},
    backoff::Backoff,
    delivery::{self, Delivery},
    failpoints::Failpoint,
    handle::OutcomeState,
    ledger::{Ledger, Wanted, Written},
    outcome::Outcome,
};

/// What became of a delivery.
#[derive(Debug)]
pub(crate) struct Concluded {
    pub(crate) end: End,
    /// What the attempt says of the receiver.
    pub(crate) sign: Sign,
    /// The outcome that was written with it: when it ended, and the name of the record.
    pub(crate) outcome: Option<(i64, Key)>,
}

/// How a delivery goes on.
#[derive(Debug)]
pub(crate) enum End {
    /// It is settled and gone.
    Done,
    /// It waits for its next attempt.
    Waiting {
        due_us: i64,
        /// Whether one at it has failed already.
        has_failed: bool,
    },
    /// It was given up.
    Dead(Box<Delivery>),
    /// Somebody else changed it, or the log is closed.
    Lost(Written),
}

impl From<End> for Concluded {
    fn from(end: End) -> Self {
        Self {
            end,
            sign: Sign::Nothing,
            outcome: None,
        }
    }
}

/// Makes the next attempt at a delivery.
pub(crate) async fn redeliver(runner: &Runner, ledger: &Ledger, seq: u64) -> Concluded {
    let key = delivery::key(&runner.name, seq);
    let record = match ledger.read(&key).await {
        Some(Some(record)) => record,
        Some(None) => return End::Done.into(),
        None => return End::Lost(Written::Closed).into(),
    };
    let Some(delivery) = Delivery::decode(&record) else {
        tracing::error!(record = %key, "a delivery record is damaged");
        return End::Lost(Written::Lost).into();
    };
    let mut delivery = delivery.recovered();
    delivery.attempts += 1;
    let Some(event) = read_event(ledger, seq).await else {
        let failure = Failure::unasked("the event is no longer in the log");
        let ran = Ending::Failed(failure).into();
        return conclude(runner, ledger, delivery, record.revision, ran).await;
    };
    delivery.running = true;
    let command = Command {
        changes: vec![delivery.put(&runner.name, record.due_us)],
        ..Command::default()
    };
    let wanted = Wanted::Body(delivery.encode());
    runner.failpoints.reach(Failpoint::RetryBegins).await;
    let revision = match ledger.write(command, &key, record.revision, &wanted).await {
        Written::Stored(revision) => revision,
        other => return End::Lost(other).into(),
    };
    runner.failpoints.reach(Failpoint::RetryCounted).await;
    let ran = runner
        .attempt(&event, delivery.once.as_ref(), delivery.attempts)
        .await;
    conclude(runner, ledger, delivery, revision, ran).await
}

/// Settles a delivery whose first attempt was still running when it became one.
pub(crate) async fn conclude_moved(
    runner: &Runner,
    ledger: &Ledger,
    seq: u64,
    ran: Ran,
) -> Concluded {
    let key = delivery::key(&runner.name, seq);
    match ledger.read(&key).await {
        Some(Some(record)) => match Delivery::decode(&record) {
            Some(delivery) => conclude(runner, ledger, delivery, record.revision, ran).await,
            None => End::Lost(Written::Lost).into(),
        },
        Some(None) => End::Done.into(),
        None => End::Lost(Written::Closed).into(),
    }
}

/// Writes how an attempt ended.
async fn conclude(
    runner: &Runner,
    ledger: &Ledger,
    delivery: Delivery,
    revision: u64,
    ran: Ran,
) -> Concluded {
    let sign = ran.ending.sign();
    runner.failpoints.reach(Failpoint::ConclusionBegins).await;
    let (end, outcome) = Conclusion {
        runner,
        ledger,
        key: delivery::key(&runner.name, delivery.seq),
        revision,
    }
    .write(delivery, ran)
    .await;
    runner.failpoints.reach(Failpoint::ConclusionEnded).await;
    Concluded { end, sign, outcome }
}

/// The write that settles a delivery, or says when it is tried again.
struct Conclusion<'a> {
    runner: &'a Runner,
    ledger: &'a Ledger,
    key: Key,
    revision: u64,
}

type Kept = Option<(i64, Key)>;

impl Conclusion<'_> {
    async fn write(&self, delivery: Delivery, ran: Ran) -> (End, Kept) {
        let Ran { ending, exchange } = ran;
        match ending {
            Ending::Already => self.delete(&delivery).await,
            Ending::Failed(failure) => self.fail(delivery, &failure, exchange).await,
            Ending::Succeeded(events) => {
                let once = delivery.once.as_ref();
                let done = self.outcome(&delivery, OutcomeState::Done, exchange.clone());
                let command = Command {
                    events,
                    once: once
                        .filter(|_| !self.runner.is_rehearsal())
                        .map(|once| self.runner.once(once)),
                    changes: self.with(&done, Change::Delete(self.key.clone())),
                    ..Command::default()
                };
                match self.commit(command, &Wanted::Gone).await {
                    Written::Stored(_) => (End::Done, self.kept(done)),
                    Written::Replayed => self.delete(&delivery).await,
                    Written::Refused(why) => {
                        let failure = Failure::lasting(refused(&why));
                        self.fail(delivery, &failure, exchange).await
                    }
                    other => (End::Lost(other), None),
                }
            }
        }
    }

    /// What it would have done was done before: it is settled without anything.
    async fn delete(&self, delivery: &Delivery) -> (End, Kept) {
        let already = self.outcome(delivery, OutcomeState::Already, None);
        let command = Command {
            changes: self.with(&already, Change::Delete(self.key.clone())),
            ..Command::default()
        };
        match self.commit(command, &Wanted::Gone).await {
            Written::Stored(_) => (End::Done, self.kept(already)),
            other => (End::Lost(other), None),
        }
    }

    async fn fail(
        &self,
        mut delivery: Delivery,
        failure: &Failure,
        exchange: Option<Exchange>,
    ) -> (End, Kept) {
        let runner = self.runner;
        let (clock, random) = (runner.log.clock(), runner.log.random());
        let due_us = delivery.fail(
            failure,
            exchange,
            &runner.options.retry,
            random.fraction(),
            clock.now_us(),
        );
        let (is_dead, has_failed) = (due_us.is_none(), delivery.has_failed());
        let dead = Some(Outcome::dead(&delivery)).filter(|_| is_dead && runner.keeps_outcomes());
        let is_kept = !is_dead || runner.keeps_dead_letters();
        let (change, wanted) = if is_kept {
            let wanted = Wanted::Body(delivery.encode());
            (delivery.put(&runner.name, due_us), wanted)
        } else {
            (Change::Delete(self.key.clone()), Wanted::Gone)
        };
        let command = Command {
            changes: self.with(&dead, change),
            ..Command::default()
        };
        match self.commit(command, &wanted).await {
            Written::Stored(_) => {
                let end = due_us.map_or_else(
                    || End::Dead(Box::new(delivery)),
                    |due_us| End::Waiting { due_us, has_failed },
                );
                (end, self.kept(dead))
            }
            other => (End::Lost(other), None),
        }
    }

    async fn commit(&self, command: Command, wanted: &Wanted) -> Written {
        self.ledger
            .write(command, &self.key, self.revision, wanted)
            .await
    }

    /// How it ended, for people, if the target keeps that.
    fn outcome(
        &self,
        delivery: &Delivery,
        state: OutcomeState,
        exchange: Option<Exchange>,
    ) -> Option<Outcome> {
        let now_us = self.runner.log.clock().now_us();
        self.runner
            .keeps_outcomes()
            .then(|| Outcome::of(delivery, state, exchange, now_us))
    }

    fn with(&self, outcome: &Option<Outcome>, change: Change) -> Vec<Change> {
        let outcome = outcome.as_ref().map(|kept| kept.put(&self.runner.name));
        outcome.into_iter().chain([change]).collect()
    }

    fn kept(&self, outcome: Option<Outcome>) -> Kept {
        outcome.map(|outcome| (outcome.time_us(), outcome.key(&self.runner.name)))
    }
}

/// What a dead letter says whose events the log refused.
pub(crate) fn refused(why: &str) -> String {
    format!("the log refused what it emitted: {why}")
}

async fn read_event(ledger: &Ledger, seq: u64) -> Option<Arc<Event>> {
    let mut wait: Backoff = ledger.backoff.clone();
    loop {
        match ledger.log.event(Seq::new(seq)).await {
            Ok(event) => return event,
            Err(error) => wait.pause(&error, "an event could not be read").await,
        }
    }
}
