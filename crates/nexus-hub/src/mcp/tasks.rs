//! Tasks: calls of tools whose client does not wait for them. Each is a durable job, so that it is there for
//! other sessions of its user and for every other face as well.

use std::sync::Arc;

use nexus_core::{Causes, RawObject};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    answer::{FORBIDDEN, told},
    channel::Message,
    greeting::raw,
    post::Request,
    session::Session,
};
use crate::{
    Caller, Error, JobState, JobView, Jobs, METHOD_NOT_FOUND, Raw, RpcError,
    message::{
        self, INTERNAL_ERROR, INVALID_PARAMS,
        meta::{raw_member, text_member, with_meta, without},
    },
};

const GET: &str = "tasks/get";
const RESULT: &str = "tasks/result";
const LIST: &str = "tasks/list";
const CANCEL: &str = "tasks/cancel";
/// What can be asked of tasks.
pub(crate) const METHODS: [&str; 4] = [GET, RESULT, LIST, CANCEL];

const CALL: &str = "tools/call";
/// The member by which a call says that it is to be a task.
const TASK: &str = "task";
/// Under which a result says whose it is.
const RELATED: &str = "io.modelcontextprotocol/related-task";
/// How soon it is worth asking again how far a task is, in milliseconds.
const POLL_INTERVAL_MS: u64 = 1_000;
/// Tasks on one page of the list.
const PAGE_TASKS: usize = 50;
/// The digits of a cursor.
const CURSOR_DIGITS: usize = 32;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    task_id: String,
}

#[derive(Deserialize, Default)]
struct Paged {
    #[serde(default)]
    cursor: Option<String>,
}

/// Whether the client of a session can have tasks.
pub(crate) fn are_offered(shared: &Shared, session: &Session) -> bool {
    shared.jobs.is_some() && session.version.has_tasks()
}

/// The parameters of a request without what says that it is to be a task: a server would take it as said to
/// itself.
pub(crate) fn without_task(method: &str, params: Option<&RawValue>) -> Option<Raw> {
    let params = params?;
    let is_task = method == CALL && raw_member(Some(params), TASK).is_some();
    let cleaned = is_task.then(|| without(params, TASK)).flatten();
    Some(cleaned.unwrap_or_else(|| params.to_owned()))
}

/// The answer to a request that is about tasks; nothing for all others.
pub(crate) async fn answer(
    shared: &Shared,
    session: &Arc<Session>,
    caller: &Caller,
    request: &Request,
    cancel: &CancellationToken,
) -> Option<Result<Raw, RpcError>> {
    let jobs = shared
        .jobs
        .as_ref()
        .filter(|_| session.version.has_tasks())?;
    let tasks = Tasks {
        shared,
        jobs,
        session,
        caller,
    };
    let params = request.params.as_deref();
    Some(match &*request.method {
        CALL if raw_member(params, TASK).is_some() => tasks.begin(params?).await,
        GET => tasks.get(params).await,
        RESULT => tokio::select! {
            biased;
            () = cancel.cancelled() => Err(RpcError::new(INTERNAL_ERROR, "nobody waits for it")),
            () = tokio::time::sleep(shared.options.request_timeout) => {
                Err(RpcError::new(INTERNAL_ERROR, "the task has not ended; ask again"))
            }
            result = tasks.result(params) => result,
        },
        LIST => tasks.list(params).await,
        CANCEL => tasks.cancel(params).await,
        _ => return None,
    })
}

/// The tasks of one session's client.
struct Tasks<'a> {
    shared: &'a Shared,
    jobs: &'a Jobs,
    session: &'a Arc<Session>,
    caller: &'a Caller,
}

impl Tasks<'_> {
    /// Begins a task: it is in the log when this returns.
    async fn begin(&self, params: &RawValue) -> Result<Raw, RpcError> {
        // Whatever the tool does, a task is written.
        if !self.caller.may_act() {
            let why = "a token that only reads begins no task";
            return Err(RpcError::new(FORBIDDEN, why));
        }
        let name = text_member(Some(params), "name");
        let name = name.ok_or_else(|| RpcError::new(INVALID_PARAMS, "`name` must be a text"))?;
        let namespace = &self.session.namespace;
        let view = self.shared.hub.view(self.caller, namespace);
        let view = view.map_err(|error| told(CALL, &error))?;
        let item = view.tool(&name).map_err(|error| told(CALL, &error))?;
        if forbids_tasks(item.json()) {
            let why = "this tool cannot be called as a task";
            return Err(RpcError::new(METHOD_NOT_FOUND, why));
        }
        let params = without(params, TASK).unwrap_or_else(|| params.to_owned());
        let begun = self
            .jobs
            .start_call(self.caller, namespace, &name, params, Causes::default());
        let job = begun.await.map_err(|error| told(CALL, &error))?;
        self.follow(&job.job_id);
        Ok(raw(&json!({ "task": self.view(&job) })))
    }

    async fn get(&self, params: Option<&RawValue>) -> Result<Raw, RpcError> {
        let job = self.jobs.get(self.caller, &named(params)?).await;
        let job = job.map_err(|error| refused(&error))?;
        Ok(raw(&self.view(&job)))
    }

    /// What the call gave, as soon as it is there.
    async fn result(&self, params: Option<&RawValue>) -> Result<Raw, RpcError> {
        let id = named(params)?;
        let job = self.jobs.ended(self.caller, &id).await;
        let job = job.map_err(|error| refused(&error))?;
        let failed = |text: &str| {
            let about = json!({ "code": job.code, "retriable": job.retriable });
            raw(&json!({
                "content": [{ "type": "text", "text": text }],
                "isError": true,
                "_meta": { "nexus/error": about },
            }))
        };
        let result = match (&job.result, job.status) {
            (Some(result), _) => (**result).to_owned(),
            (None, JobState::Cancelled) => {
                return Err(RpcError::new(INVALID_PARAMS, "the task was cancelled"));
            }
            (None, _) => failed(job.error.as_deref().unwrap_or("the task gave no result")),
        };
        let related = json!({ "taskId": job.job_id }).to_string();
        Ok(with_meta(&result, RELATED, &related).unwrap_or(result))
    }

    async fn list(&self, params: Option<&RawValue>) -> Result<Raw, RpcError> {
        let paged: Paged = match params {
            Some(params) => serde_json::from_str(params.get())
                .map_err(|_| RpcError::new(INVALID_PARAMS, "`cursor` has to be a text"))?,
            None => Paged::default(),
        };
        let is_cursor = |cursor: &String| {
            cursor.len() == CURSOR_DIGITS && cursor.bytes().all(|digit| digit.is_ascii_hexdigit())
        };
        if !paged.cursor.as_ref().is_none_or(is_cursor) {
            return Err(RpcError::new(INVALID_PARAMS, "there is no such `cursor`"));
        }
        let after = paged.cursor.map(Arc::from);
        let page = self.jobs.list(self.caller, false, None, after, PAGE_TASKS);
        let page = page.await.map_err(|error| refused(&error))?;
        let tasks: Vec<Value> = page.jobs.iter().map(|job| self.view(job)).collect();
        let mut listed = json!({ "tasks": tasks });
        if let Some(next) = page.next {
            listed["nextCursor"] = (*next).into();
        }
        Ok(raw(&listed))
    }

    async fn cancel(&self, params: Option<&RawValue>) -> Result<Raw, RpcError> {
        if !self.caller.may_act() {
            let why = "a token that only reads cancels no task";
            return Err(RpcError::new(FORBIDDEN, why));
        }
        let job = self.jobs.cancel(self.caller, &named(params)?).await;
        let job = job.map_err(|error| refused(&error))?;
        Ok(raw(&self.view(&job)))
    }

    /// Tells the client that a task has ended, if it is still there then and listens.
    fn follow(&self, id: &Arc<str>) {
        let (jobs, caller, id) = (self.jobs.clone(), self.caller.clone(), id.clone());
        let (session, over) = (Arc::downgrade(self.session), self.session.ended());
        tokio::spawn(async move {
            let job = tokio::select! {
                () = over.cancelled() => return,
                job = jobs.ended(&caller, &id) => job,
            };
            let (Ok(job), Some(session)) = (job, session.upgrade()) else {
                return;
            };
            if session.standing.has_listener() {
                let status = raw(&view(&jobs, &job));
                let text = message::notification("notifications/tasks/status", Some(&status));
                // Who does not take it asks.
                let _ = session.say(&session.standing, text, Message::Notification);
            }
        });
    }

    fn view(&self, job: &JobView) -> Value {
        view(self.jobs, job)
    }
}

/// A job as MCP shows tasks.
fn view(jobs: &Jobs, job: &JobView) -> Value {
    let ended_badly = || job.result.as_deref().is_some_and(is_error);
    let status = match job.status {
        JobState::Pending | JobState::Running => "working",
        JobState::Completed if ended_badly() => "failed",
        JobState::Completed => "completed",
        JobState::Failed => "failed",
        JobState::Cancelled => "cancelled",
    };
    let last = job.completed_at.as_ref().or(job.started_at.as_ref());
    let kept_ms = jobs.options().keep_ended.as_millis();
    let mut view = json!({
        "taskId": job.job_id,
        "status": status,
        "createdAt": job.created_at,
        "lastUpdatedAt": last.unwrap_or(&job.created_at),
        "ttl": u64::try_from(kept_ms).unwrap_or(u64::MAX),
        "pollInterval": POLL_INTERVAL_MS,
    });
    let progress = job.progress.as_ref();
    let said = progress.and_then(|progress| progress.message.as_ref());
    if let Some(message) = job.error.as_ref().or(said) {
        view["statusMessage"] = message.as_str().into();
    }
    view
}

/// Whether a tool says of its own result that it failed.
fn is_error(result: &RawValue) -> bool {
    raw_member(Some(result), "isError").as_deref() == Some("true")
}

/// Whether a tool says that it is not to be called as a task.
fn forbids_tasks(tool: &[u8]) -> bool {
    let tool = RawObject::parse(tool).ok().flatten();
    let execution = tool.and_then(|tool| tool.get("execution"));
    let execution = execution.and_then(|text| RawObject::parse(text.as_bytes()).ok()?);
    let support = execution.and_then(|execution| execution.text("taskSupport").ok()?);
    support.as_deref() == Some("forbidden")
}

fn named(params: Option<&RawValue>) -> Result<String, RpcError> {
    let text = params.map_or("{}", RawValue::get);
    let named = serde_json::from_str::<Named>(text).map(|named| named.task_id);
    named.map_err(|_| RpcError::new(INVALID_PARAMS, "`taskId` must be a text"))
}

/// What failed about a task that was asked about.
fn refused(error: &Error) -> RpcError {
    match error {
        // One that has ended cannot be cancelled: what was asked for is wrong, says MCP.
        Error::JobEnded { .. } => RpcError::new(INVALID_PARAMS, error.to_string()),
        error => told("tasks", error),
    }
}
