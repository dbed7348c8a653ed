//! The actions that do something: calls, and what is changed.

use ::http::StatusCode;
use nexus_core::iso8601;
use nexus_http::{Call, Reply};
use serde_json::{Value, json};

use super::{Answered, Api, action::Asked, looking::with_result, problem};
use crate::{Caller, Invocation, Invoked, JobView, ServerInput, ServerPatch};

/// How long calls take that are said to take a moment, some seconds, and long.
const EXPECTED_S: [i64; 3] = [5, 30, 120];

impl Api {
    /// Does what an action says, to its end, also when the caller goes away; a call alone is ended then.
    pub(super) async fn change(
        &self,
        caller: &Caller,
        action: &str,
        asked: &Asked<'_>,
        call: &Call,
    ) -> Answered {
        match action {
            "invoke" => self.invoke(caller, asked, call).await,
            "add_server" => {
                let input: ServerInput = asked.config()?;
                let (registry, caller) = (self.registry.clone(), caller.clone());
                let added = to_the_end(async move { registry.add(&caller, &input).await }).await;
                let server = added.map_err(problem)?;
                Ok(Reply::json(
                    StatusCode::OK,
                    &json!({ "server_id": server.id }),
                ))
            }
            "update_server" => {
                let id = asked.needed("serverId")?.to_owned();
                let patch: ServerPatch = asked.config()?;
                let (registry, caller) = (self.registry.clone(), caller.clone());
                let changing = async move { registry.change(&caller, &id, None, patch).await };
                to_the_end(changing).await.map_err(problem)?;
                Ok(success(json!({})))
            }
            "delete_server" => {
                let id = asked.needed("serverId")?.to_owned();
                let (registry, caller) = (self.registry.clone(), caller.clone());
                let removing = async move { registry.remove(&caller, &id, None).await };
                to_the_end(removing).await.map_err(problem)?;
                Ok(success(json!({})))
            }
            "sync_tools" => {
                let id = asked.text("serverId")?;
                let synced = self.registry.sync(caller, id).await.map_err(problem)?;
                Ok(success(json!(synced)))
            }
            "set_tool_permission" => {
                let tool = asked.needed("toolName")?;
                let allowed = asked.flag("allowed")?;
                let refuse = || nexus_http::Problem::invalid_request("`allowed` must be given");
                let allowed = allowed.ok_or_else(refuse)?;
                self.permit(caller, tool, allowed).await?;
                Ok(success(json!({})))
            }
            // The only one that is left.
            _ => {
                let id = asked.needed("jobId")?;
                self.jobs.cancel(caller, id).await.map_err(problem)?;
                Ok(success(json!({})))
            }
        }
    }

    async fn invoke(&self, caller: &Caller, asked: &Asked<'_>, call: &Call) -> Answered {
        let invocation = Invocation {
            tool: asked.needed("toolName")?.to_owned(),
            arguments: asked.object("params")?,
            wants_job: asked.flag("async")?.unwrap_or(false),
            causes: call.causes(),
        };
        let tool = invocation.tool.clone();
        let invoked = self.jobs.invoke(caller, invocation).await;
        Ok(match invoked.map_err(problem)? {
            Invoked::Result(result) => with_result(&result, b",\"sync\":true}"),
            Invoked::Job(job) => {
                let told = json!({
                    "job_id": job.job_id,
                    "status": job.status,
                    "estimated_completion": self.expected(caller, &tool, &job),
                    "sync": false,
                });
                Reply::json(StatusCode::OK, &told)
            }
        })
    }

    /// When a job may be done, by what is known of its tool.
    pub(super) fn expected(&self, caller: &Caller, tool: &str, job: &JobView) -> String {
        use crate::EstimatedDuration::{Fast, Medium, Slow};
        let view = self.hub().view(caller, "").ok();
        let item = view.as_ref().and_then(|view| view.tools().get(tool));
        let [fast, medium, slow] = EXPECTED_S;
        let expected_s = match item.map(|item| item.metadata().estimated_duration) {
            Some(Fast) => fast,
            Some(Medium) => medium,
            Some(Slow) | None => slow,
        };
        let begun_us = nexus_core::parse_iso8601_us(&job.created_at);
        let begun_us = begun_us.unwrap_or_else(|| self.clock().now_us());
        iso8601(begun_us.saturating_add(expected_s * 1_000_000))
    }
}

/// Goes on when the caller goes away: half of a change would be in the log and not in force.
pub(super) async fn to_the_end<T, F>(work: F) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Nobody aborts it but a runtime that ends.
            Err(_) => std::future::pending().await,
        },
    }
}

fn success(more: Value) -> Reply {
    let mut told = json!({ "success": true });
    if let (Some(told), Value::Object(more)) = (told.as_object_mut(), more) {
        told.extend(more);
    }
    Reply::json(StatusCode::OK, &told)
}
