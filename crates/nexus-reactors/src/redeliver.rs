//! Another attempt at a delivery: counted before it runs, settled in the commit of what it emits.

use std::sync::Arc;

use nexus_core::{Change, Command, Event, Seq};

use crate::{
    attempt::{Ending, Failure, Runner},
    backoff::Backoff,
    delivery::{self, Delivery},
    ledger::{Ledger, Wanted, Written},
};

/// What became of a delivery.
#[derive(Debug)]
pub(crate) enum Concluded {
    /// It is settled and gone.
    Done,
    /// It waits for its next attempt.
    Waiting { due_us: i64 },
    /// It was given up.
    Dead(Box<Delivery>),
    /// Somebody else changed it, or the log is closed.
    Lost(Written),
}

/// Makes the next attempt at a delivery.
pub(crate) async fn redeliver(runner: &Runner, ledger: &Ledger, seq: u64) -> Concluded {
    let key = delivery::key(&runner.options.name, seq);
    let record = match ledger.read(&key).await {
        Some(Some(record)) => record,
        Some(None) => return Concluded::Done,
        None => return Concluded::Lost(Written::Closed),
    };
    let Some(delivery) = Delivery::decode(&record) else {
        tracing::error!(record = %key, "a delivery record is damaged");
        return Concluded::Lost(Written::Lost);
    };
    let mut delivery = delivery.recovered();
    delivery.attempts += 1;
    let Some(event) = read_event(ledger, seq).await else {
        let failure = Failure::lasting("the event is no longer in the log");
        return conclude(
            runner,
            ledger,
            delivery,
            record.revision,
            Ending::Failed(failure),
        )
        .await;
    };
    delivery.running = true;
    let command = Command {
        changes: vec![delivery.put(&runner.options.name, record.due_us)],
        ..Command::default()
    };
    let wanted = Wanted::Body(delivery.encode());
    let revision = match ledger.write(command, &key, record.revision, &wanted).await {
        Written::Stored(revision) => revision,
        other => return Concluded::Lost(other),
    };
    let ending = runner
        .attempt(&event, delivery.once.as_ref(), delivery.attempts)
        .await;
    conclude(runner, ledger, delivery, revision, ending).await
}

/// Settles a delivery whose first attempt was still running when it became one.
pub(crate) async fn conclude_moved(
    runner: &Runner,
    ledger: &Ledger,
    seq: u64,
    ending: Ending,
) -> Concluded {
    let key = delivery::key(&runner.options.name, seq);
    match ledger.read(&key).await {
        Some(Some(record)) => match Delivery::decode(&record) {
            Some(delivery) => conclude(runner, ledger, delivery, record.revision, ending).await,
            None => Concluded::Lost(Written::Lost),
        },
        Some(None) => Concluded::Done,
        None => Concluded::Lost(Written::Closed),
    }
}

/// Writes how an attempt ended.
async fn conclude(
    runner: &Runner,
    ledger: &Ledger,
    mut delivery: Delivery,
    revision: u64,
    ending: Ending,
) -> Concluded {
    let name = &runner.options.name;
    let key = delivery::key(name, delivery.seq);
    let failure = match ending {
        Ending::Already => return delete(ledger, &key, revision).await,
        Ending::Succeeded(events) => {
            let command = Command {
                events,
                once: delivery.once.as_ref().map(|once| runner.once(once)),
                changes: vec![Change::Delete(key.clone())],
                ..Command::default()
            };
            match ledger.write(command, &key, revision, &Wanted::Gone).await {
                Written::Stored(_) => return Concluded::Done,
                Written::Replayed => return delete(ledger, &key, revision).await,
                Written::Refused(why) => Failure::lasting(refused(&why)),
                other => return Concluded::Lost(other),
            }
        }
        Ending::Failed(failure) => failure,
    };
    let (clock, random) = (runner.log.clock(), runner.log.random());
    let due_us = delivery.fail(
        &failure,
        None,
        &runner.options.retry,
        random.fraction(),
        clock.now_us(),
    );
    let command = Command {
        changes: vec![delivery.put(name, due_us)],
        ..Command::default()
    };
    let wanted = Wanted::Body(delivery.encode());
    match ledger.write(command, &key, revision, &wanted).await {
        Written::Stored(_) => due_us.map_or_else(
            || Concluded::Dead(Box::new(delivery)),
            |due_us| Concluded::Waiting { due_us },
        ),
        other => Concluded::Lost(other),
    }
}

/// What a dead letter says whose events the log refused.
pub(crate) fn refused(why: &str) -> String {
    format!("the log refused what it emitted: {why}")
}

async fn delete(ledger: &Ledger, key: &nexus_core::Key, revision: u64) -> Concluded {
    let command = Command {
        changes: vec![Change::Delete(key.clone())],
        ..Command::default()
    };
    match ledger.write(command, key, revision, &Wanted::Gone).await {
        Written::Stored(_) => Concluded::Done,
        other => Concluded::Lost(other),
    }
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
