//! `/api/v1/jobs`: which there are, how far they are, and ending them early.

use ::http::{Method, StatusCode};
use nexus_http::{Call, Problem, Reply, Route};

use super::{Answered, Api, problem};
use crate::JobState;

const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 200;

pub(super) fn routes(api: &Api) -> Vec<Route> {
    let one = "/api/v1/jobs/{id}";
    vec![
        api.route(Method::GET, "/api/v1/jobs", |api, call| async move {
            api.list_jobs(&call).await
        }),
        api.route(
            Method::GET,
            one,
            |api, call| async move { api.job(&call).await },
        ),
        api.route(Method::DELETE, one, |api, call| async move {
            api.cancel_job(&call).await
        }),
        api.route(
            Method::POST,
            "/api/v1/jobs/{id}/cancel",
            |api, call| async move { api.cancel_job(&call).await },
        ),
    ]
}

fn id(call: &Call) -> &str {
    call.param("id").unwrap_or_default()
}

impl Api {
    /// The caller's jobs, newest first; everybody's with `all=true`, for operators.
    async fn list_jobs(&self, call: &Call) -> Answered {
        let caller = self.caller(call)?;
        call.refuse_unknown_query(&["limit", "cursor", "status", "all"])?;
        let limit = call.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
        let after = call.place()?;
        let state = match call.query("status") {
            None => None,
            Some(text) => Some(JobState::parse(&text).ok_or_else(|| {
                let known: Vec<&str> = JobState::ALL.into_iter().map(JobState::as_str).collect();
                let known = known.join(", ");
                Problem::invalid_request(format!("`status` must be one of: {known}"))
            })?),
        };
        let everybodys = match call.query("all").as_deref() {
            None | Some("false") => false,
            Some("true") if caller.is_operator => true,
            Some("true") => {
                return Err(problem(crate::Error::Forbidden { who: "an operator" }));
            }
            Some(_) => {
                return Err(Problem::invalid_request("`all` must be `true` or `false`"));
            }
        };
        let page = self
            .jobs
            .list(&caller, everybodys, state, after, limit)
            .await;
        let page = page.map_err(problem)?;
        Ok(Reply::page_to(
            call,
            self.clock(),
            &page.jobs,
            page.next.as_deref(),
        ))
    }

    async fn job(&self, call: &Call) -> Answered {
        let caller = self.caller(call)?;
        call.refuse_unknown_query(&[])?;
        let job = self.jobs.get(&caller, id(call)).await.map_err(problem)?;
        Ok(Reply::enveloped(
            StatusCode::OK,
            self.clock(),
            &job,
            None::<&()>,
        ))
    }

    async fn cancel_job(&self, call: &Call) -> Answered {
        let caller = self.actor(call)?;
        call.refuse_unknown_query(&[])?;
        let job = self.jobs.cancel(&caller, id(call)).await.map_err(problem)?;
        Ok(Reply::enveloped(
            StatusCode::OK,
            self.clock(),
            &job,
            None::<&()>,
        ))
    }
}
