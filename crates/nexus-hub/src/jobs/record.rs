//! The record of a job: what was asked, what became of it, and which changes it can go through.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use nexus_core::{Causes, Change, Family, Fence, Key, NewEvent, ProtocolEvent, Record};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json, value::RawValue};

use super::JobsOptions;

/// The family of the records of jobs.
pub(crate) const JOB: Family = Family::new("job");

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// It waits for its turn; the server has not been asked.
    Pending,
    /// The server works on it.
    Running,
    /// The server gave a result.
    Completed,
    /// It gave none.
    Failed,
    /// Somebody did not want it any more.
    Cancelled,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The state as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Reads a state; nothing if there is none of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether nothing can follow.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Completed | Self::Failed | Self::Cancelled => true,
        }
    }

    /// What is told when a job becomes this.
    pub(crate) const fn event(self) -> ProtocolEvent {
        match self {
            Self::Pending => ProtocolEvent::JobCreated,
            Self::Running => ProtocolEvent::JobStarted,
            Self::Completed => ProtocolEvent::JobCompleted,
            Self::Failed => ProtocolEvent::JobFailed,
            Self::Cancelled => ProtocolEvent::JobCancelled,
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a job gave no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFailure {
    /// The stable code.
    pub code: String,
    /// What went wrong, for people.
    pub message: String,
    /// Whether asking again may help. What was asked may have been done already, except when the job never
    /// started.
    pub retriable: bool,
}

/// The body of a record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The tool, as its caller named it.
    pub(crate) tool: Arc<str>,
    /// Whose it is.
    pub(crate) user: Arc<str>,
    pub(crate) state: JobState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<Arc<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<JobFailure>,
    pub(crate) created_us: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started_us: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_us: Option<i64>,
}

/// The name of a job's record.
pub(crate) fn key(id: &str) -> Key {
    Key::new(JOB, id)
}

impl Kept {
    pub(crate) fn new(tool: &str, user: &Arc<str>, now_us: i64) -> Self {
        Self {
            tool: tool.into(),
            user: user.clone(),
            state: JobState::Pending,
            result: None,
            failure: None,
            created_us: now_us,
            started_us: None,
            ended_us: None,
        }
    }

    pub(crate) fn started(self, now_us: i64) -> Self {
        Self {
            state: JobState::Running,
            started_us: Some(now_us),
            ..self
        }
    }

    pub(crate) fn ended(self, outcome: Outcome, now_us: i64) -> Self {
        let (state, result, failure) = match outcome {
            Outcome::Completed(result) => (JobState::Completed, Some(result), None),
            Outcome::Failed(failure) => (JobState::Failed, None, Some(failure)),
            Outcome::Cancelled => (JobState::Cancelled, None, None),
        };
        Self {
            state,
            result,
            failure,
            ended_us: Some(now_us),
            ..self
        }
    }

    /// The change that keeps it, until it may go.
    pub(crate) fn put(&self, id: &str, options: &JobsOptions) -> Change {
        let (since_us, kept) = match self.ended_us {
            Some(ended_us) => (ended_us, options.keep_ended),
            None => (
                self.started_us.unwrap_or(self.created_us),
                options.keep_orphans,
            ),
        };
        Change::Put {
            key: key(id),
            owner: Some(self.user.clone()),
            scope: self.user.clone(),
            state: self.state.as_str().into(),
            due_us: Some(since_us.saturating_add(microseconds(kept))),
            fence: Fence::Keep,
            // Strings, numbers and what is JSON already always serialise.
            body: Bytes::from(serde_json::to_vec(self).unwrap_or_default()),
        }
    }

    /// Reads a record; nothing when it is damaged.
    pub(crate) fn decode(record: &Record) -> Option<Self> {
        serde_json::from_slice(&record.body).ok()
    }

    /// What is told of it: everything but its result, which may be large.
    pub(crate) fn payload(&self, id: &str) -> String {
        let mut payload = Map::new();
        payload.insert("job_id".into(), json!(id));
        payload.insert("status".into(), json!(self.state));
        payload.insert("tool".into(), json!(self.tool));
        payload.insert("user".into(), json!(self.user));
        if let Some(failure) = &self.failure {
            payload.insert("error".into(), json!(failure.message));
            payload.insert("code".into(), json!(failure.code));
            payload.insert("retriable".into(), json!(failure.retriable));
        }
        Value::from(payload).to_string()
    }

    /// The event that tells of what it is now.
    pub(crate) fn event(
        &self,
        id: &str,
        catalogue: &nexus_core::Catalogue,
        causes: &Causes,
    ) -> NewEvent {
        let event_type = catalogue.known_type(self.state.event());
        let mut event = NewEvent::new(event_type, self.payload(id));
        event.key = Some(id.into());
        event.causes = causes.clone();
        event
    }
}

/// How a job ended.
pub(crate) enum Outcome {
    Completed(Arc<RawValue>),
    Failed(JobFailure),
    Cancelled,
}

pub(crate) fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(change: Change) -> Record {
        let Change::Put {
            key,
            owner,
            scope,
            state,
            due_us,
            body,
            ..
        } = change
        else {
            panic!("a record is put")
        };
        Record {
            key,
            owner,
            scope,
            state,
            due_us,
            revision: 1,
            fence: None,
            body,
        }
    }

    #[test]
    fn what_is_kept_reads_back_and_has_its_time() {
        let options = JobsOptions::default();
        let user: Arc<str> = "ana".into();
        let result: Arc<RawValue> = RawValue::from_string(r#"{"content":[],"x":1.50}"#.into())
            .unwrap()
            .into();
        let job = Kept::new("brave_web_search", &user, 1_000).started(2_000);
        let pending = record(job.put("j", &options));
        assert_eq!(
            pending.due_us,
            Some(2_000 + microseconds(options.keep_orphans))
        );
        let job = job.ended(Outcome::Completed(result), 3_000);
        let ended = record(job.put("j", &options));
        assert_eq!(ended.due_us, Some(3_000 + microseconds(options.keep_ended)));
        assert_eq!(&*ended.state, "completed");
        assert_eq!(&*ended.scope, "ana");
        let again = Kept::decode(&ended).unwrap();
        assert_eq!(again.result.unwrap().get(), r#"{"content":[],"x":1.50}"#);
        assert_eq!(again.state, JobState::Completed);
    }

    #[test]
    fn a_result_is_not_told_and_a_failure_is() {
        let user: Arc<str> = "ana".into();
        let raw: Arc<RawValue> = RawValue::from_string("\"canary\"".into()).unwrap().into();
        let job = Kept::new("t", &user, 1).started(2);
        let told = job.clone().ended(Outcome::Completed(raw), 3).payload("j");
        assert!(!told.contains("canary"), "{told}");
        let failure = JobFailure {
            code: "server-gone".into(),
            message: "it is gone".into(),
            retriable: true,
        };
        let told = job.ended(Outcome::Failed(failure), 3).payload("j");
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["status"], "failed");
        assert_eq!(told["retriable"], true);
        assert_eq!(told["job_id"], "j");
    }

    #[test]
    fn states_are_written_as_they_are_read() {
        for state in JobState::ALL {
            assert_eq!(JobState::parse(state.as_str()), Some(state));
            assert_eq!(json!(state), state.as_str());
        }
        assert_eq!(JobState::parse("done"), None);
    }
}
