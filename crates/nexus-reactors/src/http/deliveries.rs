//! `/api/v1/deliveries`: what is on its way and did not succeed at once, with its attempts.

use ::http::{Method, StatusCode};
use nexus_core::{Kind, Principal, Topic};
use nexus_http::{Call, Problem, Reply, Route};

use super::{
    Answered, TargetApi,
    selection::Filter,
    view::{DeliveryDetails, DeliveryView, FailureView, delivery_etag},
};
use crate::{DeliveryId, DeliveryInfo, DeliveryQuery, DeliveryState};

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;
/// What is rare is looked for in at most this many pages; what was found until then is the answer.
const PAGES_MAX: usize = 4;

pub(super) fn routes(api: &TargetApi) -> Vec<Route> {
    vec![
        api.route(Method::GET, "/api/v1/deliveries", |api, call| async move {
            api.deliveries(&call, DeliveryState::Waiting).await
        }),
        api.route(
            Method::GET,
            "/api/v1/deliveries/{id}",
            |api, call| async move { api.delivery(&call, None).await },
        ),
    ]
}

impl TargetApi {
    /// A page of the deliveries in one state. A query may narrow it down, also to the other state.
    pub(super) async fn deliveries(&self, call: &Call, state: DeliveryState) -> Answered {
        let caller = self.operator(call)?;
        let known = [
            "reactor", "topic", "since", "until", "state", "limit", "cursor",
        ];
        call.refuse_unknown_query(&known)?;
        let filter = Filter::of_query(call)?;
        let limit = call.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
        let state = match call.query("state").as_deref() {
            None => state,
            Some("waiting") => DeliveryState::Waiting,
            Some("dead") => DeliveryState::Dead,
            Some(_) => {
                let detail = "`state` must be `waiting` or `dead`";
                return Err(Problem::invalid_request(detail));
            }
        };
        let mut next = call.place()?;
        let mut found = Vec::new();
        for _ in 0..PAGES_MAX {
            let query = DeliveryQuery {
                target: filter.reactor.clone(),
                state,
                after: next.take(),
                limit: limit - found.len(),
            };
            let page = self.handle.deliveries(query).await?;
            let readable = page.items.into_iter();
            found.extend(
                readable.filter(|info| may_see(&caller, &info.topic) && filter.takes(info)),
            );
            next = page.next;
            if next.is_none() || found.len() >= limit {
                break;
            }
        }
        let data: Vec<_> = found
            .iter()
            .map(|info| DeliveryView::new(self.log(), info))
            .collect();
        Ok(Reply::page_to(
            call,
            self.log().clock(),
            &data,
            next.as_deref(),
        ))
    }

    /// One delivery with its attempts; only in this state, if one is given.
    pub(super) async fn delivery(&self, call: &Call, state: Option<DeliveryState>) -> Answered {
        let caller = self.operator(call)?;
        call.refuse_unknown_query(&[])?;
        let info = self.find_delivery(&caller, call, state).await?;
        let event = self.log().event(info.seq).await?;
        let details = DeliveryDetails {
            delivery: DeliveryView::new(self.log(), &info),
            // The sender's own text; what is in the log is JSON.
            payload: event
                .as_ref()
                .and_then(|event| serde_json::from_slice(&event.payload).ok()),
            failures: info.errors.iter().map(FailureView::new).collect(),
        };
        let clock = self.log().clock();
        let reply = Reply::enveloped(StatusCode::OK, clock, &details, None::<&()>);
        Ok(reply.etag(&delivery_etag(&info)))
    }

    /// The delivery that the path names, if the caller may see it.
    pub(super) async fn find_delivery(
        &self,
        caller: &Principal,
        call: &Call,
        state: Option<DeliveryState>,
    ) -> Result<DeliveryInfo, Problem> {
        let found = match call.param("id").unwrap_or_default().parse::<DeliveryId>() {
            Ok(id) => self.handle.delivery(&id.record()).await?,
            Err(_) => None,
        };
        // Who may not see it does not learn that it is there.
        found
            .filter(|info| {
                state.is_none_or(|state| info.state == state) && may_see(caller, &info.topic)
            })
            .ok_or_else(|| not_found(state))
    }
}

pub(super) fn not_found(state: Option<DeliveryState>) -> Problem {
    let detail = match state {
        Some(DeliveryState::Dead) => "there is no dead letter with this id",
        _ => "there is no delivery with this id: it ended, or never was",
    };
    Problem::new(Kind::NotFound, "not-found", detail)
}

/// Whether someone who operates may see what became of events of a topic.
pub(super) fn may_see(caller: &Principal, topic: &str) -> bool {
    Topic::parse(topic).is_ok_and(|topic| caller.readable().matches(&topic))
}
