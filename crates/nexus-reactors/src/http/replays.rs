//! `/api/v1/reactors/{name}/replay` and `/replays`: showing the past to a target again.

use ::http::{HeaderValue, Method, StatusCode, header};
use nexus_core::Kind;
use nexus_http::{Call, ETag, Problem, Reply, Route};
use serde::Deserialize;

use super::{
    Answered, TargetApi,
    deliveries::may_see,
    place,
    targets::name,
    view::{OutcomeView, ReplayView},
};
use crate::{ReplayId, ReplayInfo, ReplayRequest};

/// How many attempts a replay begins in a second unless it is said.
const RATE_PER_SECOND_DEFAULT: f64 = 10.0;
const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

/// What is to be shown again.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    from: String,
    through: Option<String>,
    rate_per_second: Option<f64>,
    #[serde(default)]
    outbound: bool,
}

pub(super) fn routes(api: &TargetApi) -> Vec<Route> {
    let path = "/api/v1/reactors/{name}/replays/{id}";
    vec![
        api.route(
            Method::POST,
            "/api/v1/reactors/{name}/replay",
            |api, call| async move {
                let at = format!("/api/v1/reactors/{}/replays", name(&call));
                api.replay(&call, name(&call), &at).await
            },
        ),
        api.route(
            Method::GET,
            "/api/v1/reactors/{name}/replays",
            |api, call| async move { api.replays(&call, name(&call)).await },
        ),
        api.route(Method::GET, path, |api, call| async move {
            api.show_replay(&call, name(&call), id(&call)).await
        }),
        api.route(
            Method::GET,
            "/api/v1/reactors/{name}/replays/{id}/outcomes",
            |api, call| async move { api.replay_outcomes(&call, name(&call), id(&call)).await },
        ),
        api.route(Method::DELETE, path, |api, call| async move {
            api.cancel_replay(&call, name(&call), id(&call)).await
        }),
    ]
}

fn id(call: &Call) -> &str {
    call.param("id").unwrap_or_default()
}

impl TargetApi {
    /// `POST`: shows a range of the past to a target again, slowly, marked as a replay, and without calls to
    /// the outside unless they are asked for. `replays_at` is the path under which the caller finds it.
    ///
    /// # Errors
    /// `not-found`; `invalid-request` for a body or range that is wrong; `epoch`, `ahead` or `pruned` for a
    /// place that cannot be begun from; what [`TargetApi::operator`] and the engine say.
    pub async fn replay(&self, call: &Call, target: &str, replays_at: &str) -> Answered {
        let caller = self.operator(call)?;
        let asked: Asked = call.json()?;
        let target = self.find(target)?.name;
        let rate_per_second = asked.rate_per_second.unwrap_or(RATE_PER_SECOND_DEFAULT);
        if !(rate_per_second.is_finite() && rate_per_second > 0.0) {
            let detail = "`rate_per_second` must be a number above 0";
            return Err(Problem::invalid_request(detail));
        }
        let request = ReplayRequest {
            target: target.clone(),
            after: place::after(self.log(), &asked.from).await?,
            through: place::through(self.log(), asked.through.as_deref()).await?,
            rate_per_second,
            outbound: asked.outbound,
        };
        let (after, through) = (request.after, request.through);
        if after >= through {
            let detail = "there is nothing between `from` and `through`";
            return Err(Problem::invalid_request(detail));
        }
        let id = self.handle.replay(request).await?;
        let by = caller.source();
        let outbound = asked.outbound;
        tracing::info!(reactor = %target, %by, %after, %through, outbound, id = id.as_str(), "a replay begins");
        let reply = self.told_of(StatusCode::ACCEPTED, &self.replay_of(&target, &id).await?);
        Ok(
            match HeaderValue::from_str(&format!("{replays_at}/{}", id.as_str())) {
                Ok(location) => reply.header(header::LOCATION, location),
                Err(_) => reply,
            },
        )
    }

    /// `GET`: the replays of a target, newest first.
    ///
    /// # Errors
    /// `not-found`, `invalid-request` for a query that is wrong, and what [`TargetApi::operator`] and the log say.
    pub async fn replays(&self, call: &Call, target: &str) -> Answered {
        self.operator(call)?;
        call.refuse_unknown_query(&["limit", "cursor"])?;
        let limit = call.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
        let mut replays = self.handle.replays().await?;
        replays.retain(|info| *info.request.target == *target);
        if replays.is_empty() {
            self.find(target)?;
        }
        let order = |info: &ReplayInfo| (std::cmp::Reverse(info.created_us), info.id.clone());
        replays.sort_by_key(order);
        if let Some(after) = call.query("cursor") {
            let after = replays.iter().position(|info| *info.id.as_str() == *after);
            let after = after
                .ok_or_else(|| Problem::invalid_request("`cursor` must be one that a page gave"))?;
            replays.drain(..=after);
        }
        let has_more = replays.len() > limit;
        replays.truncate(limit);
        let data: Vec<_> = replays
            .iter()
            .map(|info| ReplayView::new(self.log(), info))
            .collect();
        let next = replays
            .last()
            .filter(|_| has_more)
            .map(|info| info.id.as_str());
        Ok(Reply::page(call, self.log().clock(), &data, next))
    }

    /// `GET` of one replay: how far it is.
    ///
    /// # Errors
    /// `not-found`, and what [`TargetApi::operator`] and the log say.
    pub async fn show_replay(&self, call: &Call, target: &str, id: &str) -> Answered {
        self.operator(call)?;
        call.refuse_unknown_query(&[])?;
        let info = self.replay_of(target, &ReplayId::new(id)).await?;
        Ok(self.told_of(StatusCode::OK, &info))
    }

    /// `DELETE`: it begins nothing more.
    ///
    /// # Errors
    /// `not-found`, `conflict` when it has ended, `stale` when `If-Match` names another version, and what [`TargetApi::operator`] and the
    /// log say.
    pub async fn cancel_replay(&self, call: &Call, target: &str, id: &str) -> Answered {
        let caller = self.operator(call)?;
        call.refuse_unknown_query(&[])?;
        let id = ReplayId::new(id);
        let info = self.replay_of(target, &id).await?;
        call.check_if_match(&etag(&info))?;
        self.handle.cancel_replay(&id).await?;
        tracing::info!(reactor = target, by = %caller.source(), id = id.as_str(), "a replay is cancelled");
        Ok(self.told_of(StatusCode::OK, &self.replay_of(target, &id).await?))
    }

    /// `GET`: how the last events of a replay ended, newest first; without calls, what would have been sent.
    ///
    /// # Errors
    /// As for [`TargetApi::show_replay`].
    pub async fn replay_outcomes(&self, call: &Call, target: &str, id: &str) -> Answered {
        let caller = self.operator(call)?;
        call.refuse_unknown_query(&["limit", "cursor"])?;
        let limit = call.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
        let after = call.place()?;
        let id = self.replay_of(target, &ReplayId::new(id)).await?.id;
        let page = self
            .handle
            .replay_outcomes(&id, after.as_deref(), limit)
            .await?;
        let readable = page
            .items
            .iter()
            .filter(|info| may_see(&caller, &info.topic));
        let data: Vec<_> = readable
            .map(|info| OutcomeView::new(self.log(), info))
            .collect();
        Ok(Reply::page_to(
            call,
            self.log().clock(),
            &data,
            page.next.as_deref(),
        ))
    }

    async fn replay_of(&self, target: &str, id: &ReplayId) -> Result<ReplayInfo, Problem> {
        let replays = self.handle.replays().await?;
        let mut found = replays
            .into_iter()
            .filter(|info| info.id == *id && *info.request.target == *target);
        found.next().ok_or_else(|| {
            let detail = "this reactor has no replay with this id";
            Problem::new(Kind::NotFound, "not-found", detail)
        })
    }

    fn told_of(&self, status: StatusCode, info: &ReplayInfo) -> Reply {
        let view = ReplayView::new(self.log(), info);
        Reply::enveloped(status, self.log().clock(), &view, None::<&()>).etag(&etag(info))
    }
}

/// The version of what can be changed of a replay: whether it runs.
fn etag(info: &ReplayInfo) -> ETag {
    ETag::of_parts(&[info.state as u64])
}
