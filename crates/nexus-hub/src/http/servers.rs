//! `/api/v1/servers`: adding, reading, changing and removing servers; asking them what they offer.

use ::http::{HeaderValue, Method, StatusCode, header};
use nexus_http::{Call, ETag, Reply, Route};
use serde::Deserialize;

use super::{Answered, Api, problem, tools::Approving};
use crate::{ServerId, ServerInput, ServerPatch, ServerView};

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

pub(super) fn routes(api: &Api) -> Vec<Route> {
    let all = "/api/v1/servers";
    let one = "/api/v1/servers/{id}";
    let at = |rest: &str| format!("{one}/{rest}");
    vec![
        api.route(
            Method::GET,
            all,
            |api, call| async move { api.servers(&call) },
        ),
        // What is in the log has to be in force: each change goes on to its end.
        api.route(Method::POST, all, |api, call| async move {
            api.add_server(&call).await
        })
        .to_the_end(),
        api.route(
            Method::POST,
            "/api/v1/servers/validate",
            |api, call| async move { api.validate_server(&call) },
        ),
        api.route(
            Method::GET,
            one,
            |api, call| async move { api.server(&call) },
        ),
        api.route(Method::PATCH, one, |api, call| async move {
            api.change_server(&call).await
        })
        .to_the_end(),
        api.route(Method::DELETE, one, |api, call| async move {
            api.remove_server(&call).await
        })
        .to_the_end(),
        api.route(Method::POST, &at("enable"), |api, call| async move {
            api.switch_server(&call, true).await
        })
        .to_the_end(),
        api.route(Method::POST, &at("disable"), |api, call| async move {
            api.switch_server(&call, false).await
        })
        .to_the_end(),
        api.route(Method::POST, &at("sync"), |api, call| async move {
            api.sync_server(&call).await
        }),
        api.route(Method::POST, &at("approve"), |api, call| async move {
            api.approve_instructions(&call).await
        })
        .to_the_end(),
        api.route(Method::GET, &at("health"), |api, call| async move {
            api.server_health(&call).await
        }),
    ]
}

/// A body that has nothing to say.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn etag(server: &ServerView) -> ETag {
    ETag::of_revision(server.revision)
}

fn id(call: &Call) -> &str {
    call.param("id").unwrap_or_default()
}

impl Api {
    fn servers(&self, call: &Call) -> Answered {
        let caller = self.caller(call)?;
        call.refuse_unknown_query(&["limit", "cursor"])?;
        let limit = call.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
        let after = call.query("cursor").unwrap_or_default();
        let mut servers = self.registry.list(&caller);
        servers.retain(|server| *server.id > *after);
        let has_more = servers.len() > limit;
        servers.truncate(limit);
        let last = servers.last().filter(|_| has_more);
        let next = last.map(|server| server.id.clone());
        Ok(Reply::page(call, self.clock(), &servers, next.as_deref()))
    }

    fn server(&self, call: &Call) -> Answered {
        let caller = self.caller(call)?;
        call.refuse_unknown_query(&[])?;
        let server = self.registry.get(&caller, id(call)).map_err(problem)?;
        Ok(self.told(&server))
    }

    fn validate_server(&self, call: &Call) -> Answered {
        let caller = self.actor(call)?;
        call.refuse_unknown_query(&[])?;
        let input: ServerInput = call.json()?;
        let validated = self.registry.validate(&caller, &input).map_err(problem)?;
        Ok(Reply::enveloped(
            StatusCode::OK,
            self.clock(),
            &validated,
            None::<&()>,
        ))
    }

    async fn add_server(&self, call: &Call) -> Answered {
        let caller = self.actor(call)?;
        call.refuse_unknown_query(&[])?;
        let input: ServerInput = call.json()?;
        let server = self.registry.add(&caller, &input).await.map_err(problem)?;
        let location = format!("/api/v1/servers/{}", server.id);
        // Hexadecimal digits and hyphens.
        let location =
            HeaderValue::from_str(&location).unwrap_or(HeaderValue::from_static("/api/v1/servers"));
        let reply = Reply::enveloped(StatusCode::CREATED, self.clock(), &server, None::<&()>);
        Ok(reply
            .etag(&etag(&server))
            .header(header::LOCATION, location))
    }

    async fn change_server(&self, call: &Call) -> Answered {
        let caller = self.actor(call)?;
        call.refuse_unknown_query(&[])?;
        let seen = self.registry.get(&caller, id(call)).map_err(problem)?;
        call.require_if_match(&etag(&seen))?;
        let patch: ServerPatch = call.json()?;
        let changing = self
            .registry
            .change(&caller, id(call), Some(seen.revision), patch);
        Ok(self.told(&changing.await.map_err(problem)?))
    }

    async fn remove_server(&self, call: &Call) -> Answered {
        let caller = self.actor(call)?;
        call.refuse_unknown_query(&[])?;
        let seen = self.registry.get(&caller, id(call)).map_err(problem)?;
        call.check_if_match(&etag(&seen))?;
        let is_seen = call.headers.contains_key(header::IF_MATCH);
        let revision = is_seen.then_some(seen.revision);
        let removing = self.registry.remove(&caller, id(call), revision);
        removing.await.map_err(problem)?;
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    }

    async fn switch_server(&self, call: &Call, enabled: bool) -> Answered {
        let caller = self.actor(call)?;
        call.refuse_unknown_query(&[])?;
        let Nothing {} = call.json_or_default()?;
        let patch = ServerPatch::enabled(enabled);
        let switching = self.registry.change(&caller, id(call), None, patch);
        Ok(self.told(&switching.await.map_err(problem)?))
    }

    async fn sync_server(&self, call: &Call) -> Answered {
        let caller = self.actor(call)?;
        call.refuse_unknown_query(&[])?;
        let Nothing {} = call.json_or_default()?;
        let synced = self.registry.sync(&caller, Some(id(call))).await;
        let synced = synced.map_err(problem)?;
        Ok(Reply::enveloped(
            StatusCode::OK,
            self.clock(),
            &synced,
            None::<&()>,
        ))
    }

    /// Says that somebody has looked at how a server wants to be used now.
    async fn approve_instructions(&self, call: &Call) -> Answered {
        let caller = self.actor(call)?;
        call.refuse_unknown_query(&[])?;
        let seen = call.json::<Approving>()?.seen()?;
        let server = ServerId::new(id(call));
        let approved = self.hub().approve_instructions(&caller, &server, seen);
        approved.await.map_err(problem)?;
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    }

    /// How a server is, as far as is known.
    async fn server_health(&self, call: &Call) -> Answered {
        let caller = self.caller(call)?;
        call.refuse_unknown_query(&[])?;
        let server = self.registry.get(&caller, id(call)).map_err(problem)?;
        let health = serde_json::json!({
            "id": server.id,
            "health": server.health,
            "message": server.message,
        });
        Ok(Reply::enveloped(
            StatusCode::OK,
            self.clock(),
            &health,
            None::<&()>,
        ))
    }

    fn told(&self, server: &ServerView) -> Reply {
        let reply = Reply::enveloped(StatusCode::OK, self.clock(), server, None::<&()>);
        reply.etag(&etag(server))
    }
}
