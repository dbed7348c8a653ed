//! How what becomes of a job gets into the log: the record and the event that tells of it, at once.

use std::time::Duration;

use nexus_core::{
    Causes, Coded, Command, Guard, Kind, NewEvent, Principal, Publish, Record, Scopes,
};
use tokio::time::Instant;

use super::{
    Jobs,
    record::{self, Kept},
};
use crate::{Error, caller::source_of};

/// So long is waited between two attempts at most.
const PAUSE_MAX: Duration = Duration::from_secs(5);
const PAUSE_MIN: Duration = Duration::from_millis(50);

impl Jobs {
    /// Keeps a job as it is now, and tells of each state in `told`. The revision that it has then.
    ///
    /// `seen` is the revision that the change is about; nothing when there is none yet.
    pub(super) async fn keep(
        &self,
        id: &str,
        seen: Option<u64>,
        told: &[&Kept],
        causes: &Causes,
    ) -> Result<u64, Error> {
        let Some(now) = told.last() else {
            return Ok(seen.unwrap_or_default());
        };
        let guard = match seen {
            Some(revision) => Guard::Revision(record::key(id), revision),
            None => Guard::Absent(record::key(id)),
        };
        let catalogue = self.log().catalogue();
        let events: Vec<NewEvent> = told
            .iter()
            .map(|kept| kept.event(id, &catalogue, causes))
            .collect();
        let command = Command {
            events,
            guards: vec![guard],
            changes: vec![now.put(id, self.options())],
            ..Command::default()
        };
        let receipt = self.log().submit(&telling_of(&now.user)?, command).await?;
        Ok(receipt.revision)
    }

    /// As [`Jobs::keep`], also when the log refuses for a while: what became of a job must not be lost
    /// because a disk is full for a moment.
    pub(super) async fn keep_surely(
        &self,
        id: &str,
        seen: u64,
        now: &Kept,
        causes: &Causes,
    ) -> Result<u64, Error> {
        let until = Instant::now() + self.options().keep_trying;
        let mut pause = PAUSE_MIN;
        loop {
            let error = match self.keep(id, Some(seen), &[now], causes).await {
                Ok(revision) => return Ok(revision),
                Err(error) => error,
            };
            // It may be in the log although it was not said so.
            if let Ok(Some(record)) = self.record(id).await
                && record.revision > seen
            {
                return match Kept::decode(&record) {
                    Some(kept) if kept.state == now.state => Ok(record.revision),
                    _ => Err(error),
                };
            }
            let may_pass = matches!(error.kind(), Kind::Unavailable | Kind::Unknown);
            if !may_pass || Instant::now() >= until {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    pub(super) async fn record(&self, id: &str) -> Result<Option<Record>, Error> {
        Ok(self.log().record(&record::key(id)).await?)
    }
}

/// Nexus, telling what came of something that a user began: the event is of the user, so that they may read
/// it, and its topic is one that no user may publish.
pub(super) fn telling_of(user: &str) -> Result<Principal, Error> {
    let source = source_of(user)?;
    Ok(Principal::new(source, Publish::Anything, Scopes::NONE))
}
