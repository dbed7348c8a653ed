//! `/api/v1/reactors`: how every target stands; pause and resume.

use ::http::{Method, StatusCode};
use nexus_core::{Kind, Source};
use nexus_http::{Call, Problem, Reply, Route};
use serde::Deserialize;

use super::{
    Answered, TargetApi,
    view::{TargetView, target_etag},
};
use crate::TargetInfo;

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

pub(super) fn routes(api: &TargetApi) -> Vec<Route> {
    vec![
        api.route(Method::GET, "/api/v1/reactors", |api, call| async move {
            api.targets(&call)
        }),
        api.route(
            Method::GET,
            "/api/v1/reactors/{name}",
            |api, call| async move { api.target(&call, name(&call)) },
        ),
        api.route(
            Method::POST,
            "/api/v1/reactors/{name}/pause",
            |api, call| async move { api.pause(&call, name(&call)).await },
        ),
        api.route(
            Method::POST,
            "/api/v1/reactors/{name}/resume",
            |api, call| async move { api.resume(&call, name(&call)).await },
        ),
    ]
}

/// The target that the path names.
pub(super) fn name(call: &Call) -> &str {
    call.param("name").unwrap_or_default()
}

/// A body that has nothing to say.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

impl TargetApi {
    /// All targets, by name.
    fn targets(&self, call: &Call) -> Answered {
        self.operator(call)?;
        call.refuse_unknown_query(&["limit", "cursor"])?;
        let limit = call.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
        let after = call.query("cursor").unwrap_or_default();
        let mut targets = self.handle.targets();
        targets.retain(|info| *info.name > *after);
        targets.sort_by(|a, b| a.name.cmp(&b.name));
        let has_more = targets.len() > limit;
        targets.truncate(limit);
        let next = targets.last().filter(|_| has_more).map(|info| &*info.name);
        let data: Vec<TargetView> = targets.iter().map(TargetView::new).collect();
        Ok(Reply::page(call, self.log().clock(), &data, next))
    }

    /// `GET` of one target: how it stands.
    ///
    /// # Errors
    /// `not-found`, and what [`TargetApi::operator`] says.
    pub fn target(&self, call: &Call, target: &str) -> Answered {
        self.operator(call)?;
        call.refuse_unknown_query(&[])?;
        Ok(self.told(&self.find(target)?))
    }

    /// `POST`: it begins nothing new until it is resumed, also after a restart.
    ///
    /// # Errors
    /// `not-found`, `stale` when `If-Match` names another version, and what [`TargetApi::operator`] and the
    /// log say.
    pub async fn pause(&self, call: &Call, target: &str) -> Answered {
        let by = self.begin_change(call, target)?;
        self.handle
            .pause(target, &format!("paused by {by}"))
            .await?;
        Ok(self.told(&self.find(target)?))
    }

    /// `POST`: it goes on where it stopped.
    ///
    /// # Errors
    /// As for [`TargetApi::pause`].
    pub async fn resume(&self, call: &Call, target: &str) -> Answered {
        let by = self.begin_change(call, target)?;
        self.handle.resume(target).await?;
        tracing::info!(reactor = target, %by, "somebody resumed it");
        Ok(self.told(&self.find(target)?))
    }

    /// Who changes the state of a target that is there, and is the version that they saw.
    fn begin_change(&self, call: &Call, target: &str) -> Result<Source, Problem> {
        let caller = self.operator(call)?;
        let Nothing {} = call.json_or_default()?;
        call.check_if_match(&target_etag(&self.find(target)?))?;
        Ok(caller.source().clone())
    }

    /// A target that runs here.
    pub(super) fn find(&self, target: &str) -> Result<TargetInfo, Problem> {
        self.handle.target(target).ok_or_else(no_target)
    }

    fn told(&self, info: &TargetInfo) -> Reply {
        let clock = self.log().clock();
        let view = TargetView::new(info);
        Reply::enveloped(StatusCode::OK, clock, &view, None::<&()>).etag(&target_etag(info))
    }
}

/// No target of this name runs here.
pub(super) fn no_target() -> Problem {
    let detail = "there is no reactor with this name";
    Problem::new(Kind::NotFound, "not-found", detail)
}
