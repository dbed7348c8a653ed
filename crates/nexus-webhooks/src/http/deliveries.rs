//! What was sent to an endpoint: the log of its deliveries, replays and dry runs.

use ::http::Method;
use nexus_core::{Principal, Topic};
use nexus_http::{Call, Problem, Reply, Route};
use nexus_reactors::{DeliveryQuery, DeliveryState};

use super::{Answered, Api, id, problem, view::DeliveryView};
use crate::{Error, delivery::target_name};

const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 200;

pub(super) fn routes(api: &Api) -> Vec<Route> {
    let replays = "/api/v1/endpoints/{id}/replays";
    let replay = "/api/v1/endpoints/{id}/replays/{replay}";
    vec![
        api.route(
            Method::GET,
            "/api/v1/endpoints/{id}/deliveries",
            |api, call| async move { api.deliveries(&call).await },
        ),
        api.route(
            Method::POST,
            "/api/v1/endpoints/{id}/replay",
            |api, call| async move {
                let at = format!("/api/v1/endpoints/{}/replays", id(&call));
                api.targets.replay(&call, &api.target(&call)?, &at).await
            },
        ),
        api.route(Method::GET, replays, |api, call| async move {
            api.targets.replays(&call, &api.target(&call)?).await
        }),
        api.route(Method::GET, replay, |api, call| async move {
            let replay = call.param("replay").unwrap_or_default();
            let target = api.target(&call)?;
            api.targets.show_replay(&call, &target, replay).await
        }),
        api.route(Method::DELETE, replay, |api, call| async move {
            let replay = call.param("replay").unwrap_or_default();
            let target = api.target(&call)?;
            api.targets.cancel_replay(&call, &target, replay).await
        }),
        api.route(
            Method::POST,
            "/api/v1/endpoints/{id}/dry-run",
            |api, call| async move { api.targets.dry_run(&call, &api.target(&call)?).await },
        ),
    ]
}

impl Api {
    /// The engine's name of the endpoint that the path names.
    fn target(&self, call: &Call) -> Result<String, Problem> {
        // Before anybody learns which endpoints there are.
        self.operator(call)?;
        self.endpoints.get(id(call)).map_err(problem)?;
        Ok(target_name(id(call)))
    }

    /// How the last events ended, newest first; with `state=waiting`, those that wait for another attempt,
    /// the one that is due next first. Only those of events that the caller may read.
    async fn deliveries(&self, call: &Call) -> Answered {
        let caller = self.operator(call)?;
        call.refuse_unknown_query(&["state", "limit", "cursor"])?;
        let target = self.target(call)?;
        let limit = call.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
        let after = call.place()?;
        let (handle, log) = (self.endpoints.engine(), self.log());
        let refused = |error| problem(Error::Engine(error));
        match call.query("state").as_deref() {
            None | Some("ended") => {
                let page = handle.outcomes(&target, after.as_deref(), limit).await;
                let page = page.map_err(refused)?;
                let seen = page.items.iter().filter(|one| may_see(&caller, &one.topic));
                let data: Vec<_> = seen.map(|one| DeliveryView::ended(log, one)).collect();
                let next = page.next.as_deref();
                Ok(Reply::page_to(call, log.clock(), &data, next))
            }
            Some("waiting") => {
                let query = DeliveryQuery {
                    target: Some(target.as_str().into()),
                    state: DeliveryState::Waiting,
                    after,
                    limit,
                };
                let page = handle.deliveries(query).await.map_err(refused)?;
                let seen = page.items.iter().filter(|one| may_see(&caller, &one.topic));
                let data: Vec<_> = seen.map(|one| DeliveryView::waiting(log, one)).collect();
                let next = page.next.as_deref();
                Ok(Reply::page_to(call, log.clock(), &data, next))
            }
            Some(_) => {
                let detail = "`state` must be `ended` or `waiting`";
                Err(Problem::invalid_request(detail))
            }
        }
    }
}

/// Whether somebody may read events of the topic. Whoever asks here operates, so private ones too.
fn may_see(caller: &Principal, topic: &str) -> bool {
    Topic::parse(topic).is_ok_and(|topic| caller.readable().matches(&topic))
}
