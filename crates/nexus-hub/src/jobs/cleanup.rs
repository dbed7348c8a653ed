//! Jobs that are no longer kept: removed on schedule, and never one that somebody runs.

use nexus_core::{Causes, Change, Command, Guard, Principal, Record, RecordQuery, RecordsBy};
use tokio_util::sync::CancellationToken;

use super::{
    Jobs,
    record::{self, JOB, JobFailure, JobState, Kept, Outcome},
    writing::telling_of,
};
use crate::Error;

/// This many records are read at once, and removed in one commit.
const PAGE_RECORDS: usize = 200;

impl Jobs {
    /// Removes jobs whose time has come, again and again until `stop` is cancelled.
    pub async fn run_cleanup(self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.clean_up().await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "jobs that are no longer kept could not be removed");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.options().cleanup_interval) => {}
            }
        }
    }

    /// Removes jobs whose time has come. How many there were.
    ///
    /// # Errors
    /// What the log says.
    pub async fn clean_up(&self) -> Result<usize, Error> {
        let mut removed = 0;
        for state in JobState::ALL {
            removed += match state.has_ended() {
                true => self.remove_ended(state).await?,
                false => self.remove_orphans(state).await?,
            };
        }
        Ok(removed)
    }

    async fn due(&self, state: JobState) -> Result<Vec<Record>, Error> {
        let query = RecordQuery {
            family: JOB,
            by: RecordsBy::Due(state.as_str().into(), self.now_us()),
            after_key: None,
            records_max: PAGE_RECORDS,
        };
        Ok(self.log().records(&query).await?)
    }

    /// What has ended does not change any more, so that nobody is in the way.
    async fn remove_ended(&self, state: JobState) -> Result<usize, Error> {
        let mut removed = 0;
        loop {
            let page = self.due(state).await?;
            let is_last = page.len() < PAGE_RECORDS;
            removed += page.len();
            let keys = page.into_iter().map(|record| record.key);
            let command = Command {
                changes: keys.map(Change::Delete).collect(),
                ..Command::default()
            };
            if !command.changes.is_empty() {
                self.log().submit(&Principal::nexus(), command).await?;
            }
            if is_last {
                return Ok(removed);
            }
        }
    }

    /// Jobs that are not finished and that nobody runs: it is said of them in the log that they failed, and
    /// they go.
    async fn remove_orphans(&self, state: JobState) -> Result<usize, Error> {
        let page = self.due(state).await?;
        let orphans = page
            .iter()
            .filter(|record| self.live(&record.key.key).is_none());
        let mut removed = 0;
        for record in orphans {
            removed += usize::from(self.remove_orphan(record).await?);
        }
        Ok(removed)
    }

    async fn remove_orphan(&self, record: &Record) -> Result<bool, Error> {
        let Some(kept) = Kept::decode(record) else {
            self.remove(record).await?;
            return Ok(true);
        };
        let failure = JobFailure {
            code: "orphaned".into(),
            message: "nobody worked on the job any more".into(),
            retriable: true,
        };
        let id = &record.key.key;
        let failed = kept.ended(Outcome::Failed(failure), self.now_us());
        let event = failed.event(id, &self.log().catalogue(), &Causes::default());
        let guard = Guard::Revision(record::key(id), record.revision);
        let command = Command {
            events: vec![event],
            guards: vec![guard],
            changes: vec![Change::Delete(record.key.clone())],
            ..Command::default()
        };
        match self.log().submit(&telling_of(&failed.user)?, command).await {
            // It was finished meanwhile.
            Err(nexus_core::Error::Refused { .. }) => Ok(false),
            removed => {
                removed?;
                Ok(true)
            }
        }
    }

    pub(super) async fn remove(&self, record: &Record) -> Result<(), Error> {
        let command = Command {
            changes: vec![Change::Delete(record.key.clone())],
            ..Command::default()
        };
        self.log().submit(&Principal::nexus(), command).await?;
        Ok(())
    }
}
