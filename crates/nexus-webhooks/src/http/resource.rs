//! Making, reading, changing and deleting endpoints; enabling, disabling and trying them.

use ::http::{HeaderValue, Method, StatusCode, header};
use nexus_http::{Call, ETag, Problem, Reply, Route};
use nexus_reactors::http::ExchangeView;
use serde::{Deserialize, Serialize};

use super::{Answered, Api, id, operator, problem};
use crate::{
    Backlog, EndpointView,
    input::{EndpointInput, EndpointPatch},
};

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

pub(super) fn routes(api: &Api) -> Vec<Route> {
    let one = "/api/v1/endpoints/{id}";
    vec![
        api.route(Method::GET, "/api/v1/endpoints", |api, call| async move {
            api.list(&call)
        }),
        api.route(Method::POST, "/api/v1/endpoints", |api, call| async move {
            api.create(&call).await
        }),
        api.route(Method::GET, one, |api, call| async move { api.show(&call) }),
        api.route(Method::PATCH, one, |api, call| async move {
            api.change(&call).await
        }),
        api.route(Method::DELETE, one, |api, call| async move {
            api.delete(&call).await
        }),
        api.route(
            Method::POST,
            "/api/v1/endpoints/{id}/enable",
            |api, call| async move { api.enable(&call).await },
        ),
        api.route(
            Method::POST,
            "/api/v1/endpoints/{id}/disable",
            |api, call| async move { api.disable(&call).await },
        ),
        api.route(
            Method::POST,
            "/api/v1/endpoints/{id}/test",
            |api, call| async move { api.test(&call).await },
        ),
    ]
}

/// A body that has nothing to say.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Serialize)]
struct CreatedView<'a> {
    #[serde(flatten)]
    endpoint: &'a EndpointView,
    secret: &'a str,
}

#[derive(Serialize)]
struct BacklogView {
    start: String,
    events: u64,
    counted_through: String,
    complete: bool,
}

impl From<Backlog> for BacklogView {
    fn from(backlog: Backlog) -> Self {
        Self {
            start: backlog.begin.to_string(),
            events: backlog.events,
            counted_through: backlog.counted_through.to_string(),
            complete: backlog.is_complete,
        }
    }
}

#[derive(Serialize)]
struct TestedView<'a> {
    delivered: bool,
    error: Option<&'a str>,
    exchange: ExchangeView<'a>,
}

/// The version of an endpoint. One of the configuration has none of its own: it cannot be changed here.
fn etag(endpoint: &EndpointView) -> ETag {
    ETag::of_revision(endpoint.revision)
}

impl Api {
    fn list(&self, call: &Call) -> Answered {
        self.operator(call)?;
        call.refuse_unknown_query(&["limit", "cursor"])?;
        let limit = call.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
        let after = call.query("cursor").unwrap_or_default();
        let mut endpoints = self.endpoints.list();
        endpoints.retain(|endpoint| *endpoint.id > *after);
        let has_more = endpoints.len() > limit;
        endpoints.truncate(limit);
        let last = endpoints.last().filter(|_| has_more);
        let next = last.map(|endpoint| endpoint.id.clone());
        let clock = self.log().clock();
        Ok(Reply::page(call, clock, &endpoints, next.as_deref()))
    }

    fn show(&self, call: &Call) -> Answered {
        self.operator(call)?;
        call.refuse_unknown_query(&[])?;
        let endpoint = self.endpoints.get(id(call)).map_err(problem)?;
        Ok(self.told(&endpoint))
    }

    async fn create(&self, call: &Call) -> Answered {
        let caller = self.reader(call)?;
        call.refuse_unknown_query(&["dry_run"])?;
        let is_dry_run = match call.query("dry_run").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => {
                let detail = "`dry_run` must be `true` or `false`";
                return Err(Problem::invalid_request(detail));
            }
        };
        let input: EndpointInput = call.json()?;
        let operator = operator(&caller, call);
        let clock = self.log().clock();
        if is_dry_run {
            let counted = self.endpoints.dry_run(&operator, &input).await;
            let view = BacklogView::from(counted.map_err(problem)?);
            return Ok(Reply::enveloped(StatusCode::OK, clock, &view, None::<&()>));
        }
        let created = self.endpoints.create(&operator, &input).await;
        let created = created.map_err(problem)?;
        let view = CreatedView {
            endpoint: &created.endpoint,
            secret: created.secret.expose(),
        };
        let location = format!("/api/v1/endpoints/{}", created.endpoint.id);
        // Hexadecimal digits and hyphens.
        let location = HeaderValue::from_str(&location)
            .unwrap_or(HeaderValue::from_static("/api/v1/endpoints"));
        Ok(
            Reply::enveloped(StatusCode::CREATED, clock, &view, None::<&()>)
                .etag(&etag(&created.endpoint))
                .header(header::LOCATION, location)
                .header(header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        )
    }

    async fn change(&self, call: &Call) -> Answered {
        let caller = self.reader(call)?;
        call.refuse_unknown_query(&[])?;
        let seen = self.endpoints.get(id(call)).map_err(problem)?;
        call.require_if_match(&etag(&seen))?;
        let patch: EndpointPatch = call.json()?;
        let operator = operator(&caller, call);
        let changed = self
            .endpoints
            .change(&operator, id(call), seen.revision, patch);
        Ok(self.told(&changed.await.map_err(problem)?))
    }

    async fn delete(&self, call: &Call) -> Answered {
        let caller = self.operator(call)?;
        call.refuse_unknown_query(&[])?;
        let seen = self.endpoints.get(id(call)).map_err(problem)?;
        call.check_if_match(&etag(&seen))?;
        let revision = call
            .headers
            .contains_key(header::IF_MATCH)
            .then_some(seen.revision);
        let operator = operator(&caller, call);
        let deleted = self.endpoints.delete(&operator, id(call), revision).await;
        deleted.map_err(problem)?;
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    }

    async fn enable(&self, call: &Call) -> Answered {
        let caller = self.begin_action(call)?;
        let operator = operator(&caller, call);
        let enabled = self.endpoints.enable(&operator, id(call)).await;
        Ok(self.told(&enabled.map_err(problem)?))
    }

    async fn disable(&self, call: &Call) -> Answered {
        let caller = self.begin_action(call)?;
        let operator = operator(&caller, call);
        let disabled = self.endpoints.disable(&operator, id(call)).await;
        Ok(self.told(&disabled.map_err(problem)?))
    }

    async fn test(&self, call: &Call) -> Answered {
        self.begin_action(call)?;
        let tested = self.endpoints.test(id(call)).await.map_err(problem)?;
        let view = TestedView {
            delivered: tested.is_delivered,
            error: tested.error.as_deref(),
            exchange: ExchangeView::new(&tested.exchange),
        };
        let clock = self.log().clock();
        Ok(Reply::enveloped(StatusCode::OK, clock, &view, None::<&()>))
    }

    fn begin_action(&self, call: &Call) -> Result<nexus_core::Principal, Problem> {
        let caller = self.operator(call)?;
        call.refuse_unknown_query(&[])?;
        let Nothing {} = call.json_or_default()?;
        Ok(caller)
    }

    fn told(&self, endpoint: &EndpointView) -> Reply {
        let clock = self.log().clock();
        let reply = Reply::enveloped(StatusCode::OK, clock, endpoint, None::<&()>);
        reply.etag(&etag(endpoint))
    }
}
