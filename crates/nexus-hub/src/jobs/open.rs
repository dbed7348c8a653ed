//! Opening: of every job that an earlier process did not finish it is said that it failed.

use std::{collections::HashMap, sync::Arc};

use nexus_core::{Causes, Log, Record, RecordQuery, RecordsBy};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{
    Jobs, JobsOptions, Shared,
    record::{JOB, JobFailure, JobState, Kept, Outcome},
};
use crate::{Error, Hub};

/// This many records are read at once.
const PAGE_RECORDS: usize = 200;
/// Behind every time that a record can have.
const END_OF_TIME_US: i64 = i64::MAX;

impl Jobs {
    /// Opens the jobs of a log. Those that were not finished failed, because nobody works on them any more;
    /// they are not begun again, because their servers may have done what was asked.
    ///
    /// # Errors
    /// What the log says.
    pub async fn open(log: Log, hub: Hub, options: JobsOptions) -> Result<Self, Error> {
        let jobs = Self(Arc::new(Shared {
            turns: Semaphore::new(options.running_max),
            live: Mutex::new(HashMap::new()),
            log,
            hub,
            options,
        }));
        for state in [JobState::Pending, JobState::Running] {
            jobs.fail_unfinished(state).await?;
        }
        Ok(jobs)
    }

    async fn fail_unfinished(&self, state: JobState) -> Result<(), Error> {
        loop {
            let query = RecordQuery {
                family: JOB,
                by: RecordsBy::Due(state.as_str().into(), END_OF_TIME_US),
                after_key: None,
                records_max: PAGE_RECORDS,
            };
            // Each that is told of leaves this list.
            let page = self.log().records(&query).await?;
            for record in &page {
                self.fail_one(record, state).await?;
            }
            if page.len() < PAGE_RECORDS {
                return Ok(());
            }
        }
    }

    async fn fail_one(&self, record: &Record, state: JobState) -> Result<(), Error> {
        let id = &record.key.key;
        let Some(kept) = Kept::decode(record) else {
            tracing::error!(job = %id, "the record of a job is damaged");
            return self.remove(record).await;
        };
        let (code, message) = match state {
            JobState::Pending => ("not-started", "Nexus ended before the job began"),
            _ => (
                "interrupted",
                "Nexus ended while the job ran: what was asked may have been done",
            ),
        };
        let failed = kept.ended(
            Outcome::Failed(JobFailure {
                code: code.into(),
                message: message.into(),
                retriable: true,
            }),
            self.now_us(),
        );
        let causes = Causes::default();
        self.keep(id, Some(record.revision), &[&failed], &causes)
            .await?;
        tracing::warn!(job = %id, tool = %failed.tool, code, "a job was not finished");
        Ok(())
    }
}
