//! `/api/v1/tools`: which there are, who may use them, those that wait for a review, and calling them.

use std::sync::Arc;

use ::http::{Method, StatusCode};
use nexus_core::{Json, RawObject};
use nexus_http::{Call, Problem, Reply, Route};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    Answered, Api,
    listing::ToolView,
    looking::{category, is_object},
    problem,
};
use crate::{Caller, Fingerprint, Invocation, Invoked, Raw, ToolFilter};

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

pub(super) fn routes(api: &Api) -> Vec<Route> {
    let at = |rest: &str| format!("/api/v1/tools/{{name}}{rest}");
    vec![
        api.route(Method::GET, "/api/v1/tools", |api, call| async move {
            api.tools(&call)
        }),
        api.route(
            Method::GET,
            "/api/v1/tools/waiting",
            |api, call| async move { api.waiting(&call) },
        ),
        api.route(
            Method::GET,
            &at(""),
            |api, call| async move { api.tool(&call) },
        ),
        api.route(Method::POST, &at("/call"), |api, call| async move {
            api.call_tool(&call).await
        }),
        api.route(Method::GET, &at("/permissions"), |api, call| async move {
            api.permissions(&call)
        }),
        api.route(Method::POST, &at("/permissions"), |api, call| async move {
            api.set_permission(&call).await
        })
        .to_the_end(),
        api.route(Method::POST, &at("/approve"), |api, call| async move {
            api.approve(&call).await
        })
        .to_the_end(),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Permitting {
    allowed: bool,
    /// For whom; only an operator can name somebody else.
    #[serde(default)]
    user: Option<String>,
    /// For all of whom nothing else is said; for operators.
    #[serde(default)]
    everybody: bool,
}

/// What was looked at: whoever does not say it may approve what came since.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Approving {
    /// By which the text is known.
    fingerprint: String,
}

impl Approving {
    pub(super) fn seen(&self) -> Result<Fingerprint, Problem> {
        let refuse = || Problem::invalid_request("`fingerprint` must be one that was shown");
        Fingerprint::parse(&self.fingerprint).ok_or_else(refuse)
    }
}

fn name(call: &Call) -> &str {
    call.param("name").unwrap_or_default()
}

impl Api {
    fn tools(&self, call: &Call) -> Answered {
        let caller = self.caller(call)?;
        call.refuse_unknown_query(&["limit", "cursor", "category", "tags", "q", "server"])?;
        let limit = call.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
        let after = call.query("cursor").unwrap_or_default();
        let server = call.query("server");
        let tags = call.query("tags");
        let tags = tags.as_deref().unwrap_or_default().split(',');
        let filter = ToolFilter {
            category: category(call.query("category").as_deref())?,
            tags: tags.filter(|tag| !tag.is_empty()).map(Arc::from).collect(),
            query: call.query("q").map(|text| text.into_owned()),
        };
        let view = self.view(&caller)?;
        let items = view.tools().items().iter();
        let shown: Vec<ToolView<'_>> = items
            .filter(|item| *item.name() > *after)
            .filter(|item| filter.is_empty() || filter.matches(item))
            .filter(|item| match &server {
                Some(server) => item.server().is_some_and(|of| of.as_str() == &**server),
                None => true,
            })
            .take(limit + 1)
            .map(|item| ToolView::new(item))
            .collect();
        let has_more = shown.len() > limit;
        let shown = &shown[..shown.len().min(limit)];
        let next = shown.last().filter(|_| has_more).map(ToolView::name);
        Ok(Reply::page(call, self.clock(), &shown, next))
    }

    fn tool(&self, call: &Call) -> Answered {
        let caller = self.caller(call)?;
        call.refuse_unknown_query(&[])?;
        let view = self.view(&caller)?;
        let item = view.tool(name(call)).map_err(problem)?;
        let tool = ToolView::new(item);
        Ok(Reply::enveloped(
            StatusCode::OK,
            self.clock(),
            &tool,
            None::<&()>,
        ))
    }

    /// Calls a tool: 200 with its result, or 202 with a job.
    async fn call_tool(&self, call: &Call) -> Answered {
        let caller = self.actor(call)?;
        call.refuse_unknown_query(&[])?;
        let (arguments, wants_job) = calling(call)?;
        let invocation = Invocation {
            tool: name(call).to_owned(),
            arguments,
            wants_job,
            causes: call.causes(),
        };
        let invoked = self.jobs.invoke(&caller, invocation).await;
        match invoked.map_err(problem)? {
            Invoked::Result(result) => Ok(self.answered(&result)),
            Invoked::Job(job) => {
                let expected = self.expected(&caller, name(call), &job);
                let meta = json!({ "estimated_completion": expected });
                let clock = self.clock();
                Ok(Reply::enveloped(
                    StatusCode::ACCEPTED,
                    clock,
                    &*job,
                    Some(&meta),
                ))
            }
        }
    }

    fn permissions(&self, call: &Call) -> Answered {
        let caller = self.caller(call)?;
        call.refuse_unknown_query(&[])?;
        let permissions = self.hub().permissions(&caller, name(call));
        let permissions = permissions.map_err(problem)?;
        Ok(Reply::enveloped(
            StatusCode::OK,
            self.clock(),
            &permissions,
            None::<&()>,
        ))
    }

    async fn set_permission(&self, call: &Call) -> Answered {
        let caller = self.actor(call)?;
        call.refuse_unknown_query(&[])?;
        let asked: Permitting = call.json()?;
        if asked.everybody {
            if asked.user.is_some() {
                let why = "`user` and `everybody` must not be given together";
                return Err(Problem::invalid_request(why));
            }
            let set = self
                .hub()
                .set_permission_of_all(&caller, name(call), asked.allowed)
                .await;
            set.map_err(problem)?;
            return Ok(Reply::empty(StatusCode::NO_CONTENT));
        }
        let caller = match asked.user {
            None => caller,
            Some(user) if caller.is_operator => super::action::as_user(caller, "user", &user)?,
            Some(user) if *caller.user == *user => caller,
            Some(_) => return Err(problem(crate::Error::Forbidden { who: "an operator" })),
        };
        self.permit(&caller, name(call), asked.allowed).await?;
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    }

    /// Lets a user use a tool, or not.
    pub(super) async fn permit(
        &self,
        caller: &Caller,
        tool: &str,
        allowed: bool,
    ) -> Result<(), Problem> {
        let set = self.hub().set_permission(caller, tool, allowed).await;
        set.map_err(problem)
    }

    /// What has changed and waits until somebody has looked at it.
    fn waiting(&self, call: &Call) -> Answered {
        let caller = self.caller(call)?;
        call.refuse_unknown_query(&[])?;
        let waiting = self.hub().waiting(&caller);
        Ok(Reply::enveloped(
            StatusCode::OK,
            self.clock(),
            &waiting,
            None::<&()>,
        ))
    }

    /// Says that somebody has looked at a tool that has changed.
    async fn approve(&self, call: &Call) -> Answered {
        let caller = self.actor(call)?;
        call.refuse_unknown_query(&[])?;
        let seen = call.json::<Approving>()?.seen()?;
        let approved = self.hub().approve_text(&caller, name(call), seen).await;
        approved.map_err(problem)?;
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    }
}

/// The arguments of a call, as they were written, and whether a job is wanted.
fn calling(call: &Call) -> Result<(Option<Raw>, bool), Problem> {
    if call.body.trim_ascii().is_empty() {
        return Ok((None, false));
    }
    let wrong = |what: &str| Problem::invalid_request(format!("the body is wrong: {what}"));
    let body = Json::parse(&call.body)?;
    let raw = RawObject::parse(&call.body)?;
    let raw = raw.ok_or_else(|| wrong("must be an object"))?;
    if raw
        .members()
        .any(|(name, _)| !matches!(name, "arguments" | "async"))
    {
        return Err(wrong("it may have `arguments` and `async`"));
    }
    let wants_job = match body.get("async") {
        None => false,
        Some(Json::Bool(wanted)) => *wanted,
        Some(_) => return Err(wrong("`async` must be true or false")),
    };
    let arguments = raw
        .get("arguments")
        .map(|text| RawValue::from_string(text.to_owned()));
    let arguments = arguments
        .transpose()
        .map_err(nexus_core::Error::malformed_json)?;
    match arguments.as_deref() {
        Some(given) if !is_object(given) => Err(wrong("`arguments` must be an object")),
        _ => Ok((arguments, wants_job)),
    }
}
