//! The secrets of an endpoint: rotate, list, retire.

use std::time::Duration;

use ::http::{HeaderValue, Method, StatusCode, header};
use nexus_http::{Call, Reply, Route};
use serde::{Deserialize, Serialize};

use super::{Answered, Api, id, operator, problem};
use crate::{Error, SecretView};

pub(super) fn routes(api: &Api) -> Vec<Route> {
    let all = "/api/v1/endpoints/{id}/secrets";
    vec![
        api.route(
            Method::GET,
            all,
            |api, call| async move { api.secrets(&call) },
        ),
        api.route(Method::POST, all, |api, call| async move {
            api.rotate(&call).await
        }),
        api.route(
            Method::DELETE,
            "/api/v1/endpoints/{id}/secrets/{number}",
            |api, call| async move { api.retire(&call).await },
        ),
    ]
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// How long the secrets of before sign beside the new one, in seconds.
    grace_s: Option<u64>,
}

#[derive(Serialize)]
struct RotatedView<'a> {
    number: u64,
    secret: &'a str,
    secrets: &'a [SecretView],
}

impl Api {
    fn secrets(&self, call: &Call) -> Answered {
        self.operator(call)?;
        call.refuse_unknown_query(&[])?;
        let endpoint = self.endpoints.get(id(call)).map_err(problem)?;
        let clock = self.log().clock();
        let secrets = &endpoint.secrets;
        Ok(Reply::enveloped(
            StatusCode::OK,
            clock,
            secrets,
            None::<&()>,
        ))
    }

    async fn rotate(&self, call: &Call) -> Answered {
        let caller = self.operator(call)?;
        call.refuse_unknown_query(&[])?;
        let asked: Rotation = call.json_or_default()?;
        let grace = asked.grace_s.map(Duration::from_secs);
        let operator = operator(&caller, call);
        let rotated = self.endpoints.rotate(&operator, id(call), grace).await;
        let rotated = rotated.map_err(problem)?;
        let view = RotatedView {
            number: rotated.number,
            secret: rotated.secret.expose(),
            secrets: &rotated.endpoint.secrets,
        };
        let clock = self.log().clock();
        let reply = Reply::enveloped(StatusCode::CREATED, clock, &view, None::<&()>);
        Ok(reply.header(header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
    }

    async fn retire(&self, call: &Call) -> Answered {
        let caller = self.operator(call)?;
        call.refuse_unknown_query(&[])?;
        let number = call.param("number").and_then(|text| text.parse().ok());
        let number: u64 = number.ok_or_else(|| problem(Error::SecretNotFound { number: 0 }))?;
        let operator = operator(&caller, call);
        let retired = self.endpoints.retire(&operator, id(call), number).await;
        retired.map_err(problem)?;
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    }
}
