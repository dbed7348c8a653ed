//! Writing to the log as a reactor: whatever the storage does, each write ends in a known way.

use std::sync::Arc;

use bytes::Bytes;
use nexus_core::{Coded, Command, Error, Guard, Key, Kind, Log, Principal, Record};

use crate::backoff::Backoff;

/// How a write ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// All of it is kept; this is the revision of the record that it put, zero if it put none.
    Stored(u64),
    /// Nothing of it is kept, because its `once` key was settled before.
    Replayed,
    /// Nothing of it is kept, because its events break a rule; trying again cannot help.
    Refused(String),
    /// Nothing of it is kept, because somebody else changed the record.
    Lost,
    /// The log is closed.
    Closed,
}

/// What the guarded record looks like if the write was kept.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// It has this body.
    Body(Bytes),
    /// It is gone.
    Gone,
}

/// Writes as one reactor.
#[derive(Clone)]
pub(crate) struct Ledger {
    pub(crate) log: Log,
    pub(crate) principal: Principal,
    pub(crate) backoff: Backoff,
}

impl Ledger {
    /// Writes a command that is guarded by the revision of one record. Waits for the storage as long as
    /// it takes: an outside effect is not repeated because of it.
    pub(crate) async fn write(
        &self,
        mut command: Command,
        key: &Key,
        revision: u64,
        wanted: &Wanted,
    ) -> Written {
        command.guards.push(Guard::Revision(key.clone(), revision));
        let mut wait = self.backoff.clone();
        loop {
            let error = match self.log.submit(&self.principal, command.clone()).await {
                Ok(receipt) if receipt.replayed => return Written::Replayed,
                Ok(receipt) => return Written::Stored(receipt.revision),
                Err(error) => error,
            };
            match &error {
                Error::Closed => return Written::Closed,
                Error::Refused { .. } | Error::OutcomeUnknown => {
                    let Some(record) = self.read(key).await else {
                        return Written::Closed;
                    };
                    match found(record.as_ref(), wanted, revision) {
                        // The outcome was unknown, and it turns out that nothing was kept.
                        None => {}
                        Some(written) => return written,
                    }
                }
                _ => match error.kind() {
                    Kind::Unavailable | Kind::Unknown => {}
                    Kind::Internal => return Written::Closed,
                    _ => return Written::Refused(describe(&error)),
                },
            }
            wait.pause(&error, "a reactor waits for the log").await;
        }
    }

    /// Reads a record, however long it takes; nothing when the log is closed.
    pub(crate) async fn read(&self, key: &Key) -> Option<Option<Record>> {
        let mut wait = self.backoff.clone();
        loop {
            match self.log.record(key).await {
                Ok(record) => return Some(record),
                Err(Error::Closed) => return None,
                Err(error) => wait.pause(&error, "a record could not be read").await,
            }
        }
    }
}

/// What the record says of a write: nothing if it was not kept and may be tried again.
fn found(record: Option<&Record>, wanted: &Wanted, revision: u64) -> Option<Written> {
    match (record, wanted) {
        (Some(record), Wanted::Body(body)) if record.body == *body => {
            Some(Written::Stored(record.revision))
        }
        (None, Wanted::Gone) => Some(Written::Stored(0)),
        (Some(record), _) if record.revision == revision => None,
        _ => Some(Written::Lost),
    }
}

/// An error with the first of its details, for the person who reads a dead letter.
fn describe(error: &Error) -> String {
    match error {
        Error::InvalidPayload { problems } => problems.first().map_or_else(
            || error.to_string(),
            |problem| format!("{error}: {} {}", problem.pointer, problem.detail),
        ),
        _ => error.to_string(),
    }
}

/// A short name for one engine, so that its records are told from another's.
pub(crate) fn engine_id(log: &Log) -> Arc<str> {
    format!("{:016x}", log.random().number()).into()
}
