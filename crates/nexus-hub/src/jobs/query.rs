//! Looking at jobs, waiting for them, and ending them early.

use std::sync::Arc;

use nexus_core::{Causes, RecordQuery, RecordsBy, iso8601};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    Jobs, Live, id,
    progress::ProgressView,
    record::{JOB, JobFailure, JobState, Kept, Outcome},
};
use crate::{Caller, Error};

/// A list is looked through at most so far for one page of it.
const LOOKED_AT_MAX: usize = 2_000;
/// This many records are read at once.
const PAGE_RECORDS: usize = 200;

/// A job as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct JobView {
    /// Its id.
    pub job_id: Arc<str>,
    /// The tool, as its caller named it.
    pub tool: Arc<str>,
    /// How far it is.
    pub status: JobState,
    /// The result of one that completed, as the server wrote it.
    pub result: Option<Arc<RawValue>>,
    /// Why one that failed did.
    pub error: Option<String>,
    /// The code of that.
    pub code: Option<String>,
    /// Whether asking again may help one that failed.
    pub retriable: bool,
    /// What the server says of its progress, of one that runs here.
    pub progress: Option<ProgressView>,
    /// Whose it is.
    pub user: Arc<str>,
    /// When it was asked for.
    pub created_at: String,
    /// When its server was asked.
    pub started_at: Option<String>,
    /// When it ended.
    pub completed_at: Option<String>,
}

/// Some jobs of a list, and where it goes on.
#[derive(Debug)]
pub struct JobPage {
    /// The jobs, newest first.
    pub jobs: Vec<JobView>,
    /// Behind which the next page begins, if there is one.
    pub next: Option<Arc<str>>,
}

impl Jobs {
    /// One job of the caller's; of anybody's for an operator.
    ///
    /// # Errors
    /// [`Error::UnknownJob`], and what the log says.
    pub async fn get(&self, caller: &Caller, id: &str) -> Result<JobView, Error> {
        if let Some(live) = self.live(id) {
            return may_see(caller, &live.user)
                .then(|| self.view_of_live(&live))
                .ok_or_else(|| unknown(id));
        }
        let (kept, _) = self.kept(caller, id).await?;
        Ok(view(id.into(), &kept, None))
    }

    /// The caller's jobs, newest first; of anybody's for an operator who says so.
    ///
    /// # Errors
    /// What the log says.
    pub async fn list(
        &self,
        caller: &Caller,
        everybodys: bool,
        state: Option<JobState>,
        after: Option<Arc<str>>,
        limit: usize,
    ) -> Result<JobPage, Error> {
        let by = match everybodys && caller.is_operator {
            true => RecordsBy::All,
            false => RecordsBy::Scope(caller.user.clone()),
        };
        let mut query = RecordQuery {
            family: JOB,
            by,
            after_key: after,
            records_max: PAGE_RECORDS,
        };
        let mut jobs = Vec::new();
        let mut looked_at = 0;
        loop {
            let page = self.log().records(&query).await?;
            let is_last = page.len() < PAGE_RECORDS;
            for record in page {
                looked_at += 1;
                let id = record.key.key.clone();
                let kept = Kept::decode(&record);
                let wanted = kept.filter(|kept| state.is_none_or(|state| kept.state == state));
                if let Some(kept) = wanted {
                    let progress = self.live(&id).and_then(|live| live.progress.last());
                    jobs.push(view(id.clone(), &kept, progress));
                }
                query.after_key = Some(id);
                if jobs.len() == limit || looked_at == LOOKED_AT_MAX {
                    let next = query.after_key.take();
                    return Ok(JobPage { jobs, next });
                }
            }
            if is_last {
                return Ok(JobPage { jobs, next: None });
            }
        }
    }

    /// Ends a job early. Its server is told; what it had done by then stays done.
    ///
    /// # Errors
    /// [`Error::UnknownJob`], [`Error::JobEnded`], and what the log says.
    pub async fn cancel(&self, caller: &Caller, id: &str) -> Result<JobView, Error> {
        if let Some(live) = self.live(id) {
            if !may_see(caller, &live.user) {
                return Err(unknown(id));
            }
            live.cancel.cancel();
            let ended = ended(&live).await;
            if ended.state == JobState::Cancelled {
                return Ok(view(live.id.clone(), &ended, None));
            }
        }
        let (kept, revision) = self.kept(caller, id).await?;
        if kept.state.has_ended() {
            return Err(Error::JobEnded {
                state: kept.state.as_str(),
            });
        }
        // Nobody runs it: what became of it could not be kept.
        let cancelled = kept.ended(Outcome::Cancelled, self.now_us());
        let causes = Causes::default();
        self.keep(id, Some(revision), &[&cancelled], &causes)
            .await?;
        Ok(view(id.into(), &cancelled, None))
    }

    /// Waits until a job has ended.
    ///
    /// # Errors
    /// [`Error::UnknownJob`], and what the log says.
    pub async fn ended(&self, caller: &Caller, id: &str) -> Result<JobView, Error> {
        if let Some(live) = self.live(id).filter(|live| may_see(caller, &live.user)) {
            ended(&live).await;
        }
        self.get(caller, id).await
    }

    /// What is kept of a job that the caller may see, and its revision.
    async fn kept(&self, caller: &Caller, id: &str) -> Result<(Kept, u64), Error> {
        if !id::is_one(id) {
            return Err(unknown(id));
        }
        let record = self.record(id).await?.ok_or_else(|| unknown(id))?;
        let kept = Kept::decode(&record).ok_or_else(|| Error::Damaged {
            what: format!("the job {id}"),
        })?;
        match may_see(caller, &kept.user) {
            true => Ok((kept, record.revision)),
            false => Err(unknown(id)),
        }
    }

    pub(super) fn view_of_live(&self, live: &Live) -> JobView {
        let kept = live.kept.borrow().clone();
        view(live.id.clone(), &kept, live.progress.last())
    }
}

/// What is kept of a job when nobody works on it any more: it has ended, unless that could not be kept.
async fn ended(live: &Live) -> Kept {
    live.over.cancelled().await;
    live.kept.borrow().clone()
}

/// Jobs are their owner's and operators'; for everybody else they are not there.
fn may_see(caller: &Caller, user: &Arc<str>) -> bool {
    caller.is_operator || caller.user == *user
}

fn unknown(id: &str) -> Error {
    const TOLD_CHARS_MAX: usize = 64;
    Error::UnknownJob {
        id: id.chars().take(TOLD_CHARS_MAX).collect(),
    }
}

fn view(job_id: Arc<str>, kept: &Kept, progress: Option<ProgressView>) -> JobView {
    let failure: Option<&JobFailure> = kept.failure.as_ref();
    JobView {
        job_id,
        tool: kept.tool.clone(),
        status: kept.state,
        result: kept.result.clone(),
        error: failure.map(|failure| failure.message.clone()),
        code: failure.map(|failure| failure.code.clone()),
        retriable: failure.is_some_and(|failure| failure.retriable),
        progress: progress.filter(|_| !kept.state.has_ended()),
        user: kept.user.clone(),
        created_at: iso8601(kept.created_us),
        started_at: kept.started_us.map(iso8601),
        completed_at: kept.ended_us.map(iso8601),
    }
}
