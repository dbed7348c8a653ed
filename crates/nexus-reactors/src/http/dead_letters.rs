//! `/api/v1/dead-letters`: what was given up, another chance for it, and an end to it.

use ::http::{Method, StatusCode};
use futures_util::{StreamExt, stream};
use nexus_core::{Coded, Principal};
use nexus_http::{Call, Problem, Reply, Route};
use serde::Serialize;

use super::{
    Answered, TargetApi,
    deliveries::may_see,
    selection::{Asked, Filter, Selection},
    targets::Nothing,
    view::{DeliveryView, delivery_etag},
};
use crate::{DeliveryId, DeliveryInfo, DeliveryQuery, DeliveryState, Error};

/// One request changes at most this many dead letters.
const CHANGED_MAX: usize = 10_000;
/// So many are changed at once: they share commits.
const AT_ONCE: usize = 64;
/// So many are read at once.
const READ_MAX: usize = 500;
/// At most so many refusals are told one by one.
const REFUSALS_MAX: usize = 100;

/// What is done with a dead letter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Retry,
    Discard,
}

impl Act {
    const fn done(self) -> &'static str {
        match self {
            Self::Retry => "retried",
            Self::Discard => "discarded",
        }
    }
}

/// What became of many.
#[derive(Serialize)]
struct Many {
    #[serde(skip_serializing_if = "Option::is_none")]
    retried: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discarded: Option<usize>,
    /// How many could not be.
    refused: usize,
    /// Why not; the first hundred.
    refusals: Vec<Refusal>,
    /// Whether there may be more than one request changes.
    has_more: bool,
}

#[derive(Serialize)]
struct Refusal {
    id: String,
    code: &'static str,
    detail: String,
}

pub(super) fn routes(api: &TargetApi) -> Vec<Route> {
    let one = "/api/v1/dead-letters/{id}";
    vec![
        api.route(
            Method::GET,
            "/api/v1/dead-letters",
            |api, call| async move { api.deliveries(&call, DeliveryState::Dead).await },
        ),
        api.route(Method::GET, one, |api, call| async move {
            api.delivery(&call, Some(DeliveryState::Dead)).await
        }),
        api.route(Method::DELETE, one, |api, call| async move {
            api.act_on_one(&call, Act::Discard).await
        }),
        api.route(
            Method::POST,
            "/api/v1/dead-letters/{id}/retry",
            |api, call| async move { api.act_on_one(&call, Act::Retry).await },
        ),
        api.route(
            Method::POST,
            "/api/v1/dead-letters/retry",
            |api, call| async move { api.act_on_many(&call, Act::Retry).await },
        ),
        api.route(
            Method::POST,
            "/api/v1/dead-letters/discard",
            |api, call| async move { api.act_on_many(&call, Act::Discard).await },
        ),
    ]
}

impl TargetApi {
    async fn act_on_one(&self, call: &Call, act: Act) -> Answered {
        let caller = self.operator(call)?;
        call.refuse_unknown_query(&[])?;
        let Nothing {} = call.json_or_default()?;
        let dead = Some(DeliveryState::Dead);
        let info = self.find_delivery(&caller, call, dead).await?;
        call.check_if_match(&delivery_etag(&info))?;
        self.act(&info.id, act).await?;
        tracing::info!(letter = %info.id, by = %caller.source(), "a dead letter was {}", act.done());
        match act {
            Act::Discard => Ok(Reply::empty(StatusCode::NO_CONTENT)),
            Act::Retry => self.told_of_retried(&info).await,
        }
    }

    /// The delivery that a dead letter has become; it may have succeeded already.
    async fn told_of_retried(&self, info: &DeliveryInfo) -> Answered {
        let clock = self.log().clock();
        let now = self.handle.delivery(&info.id).await?;
        let view = now.as_ref().map(|now| DeliveryView::new(self.log(), now));
        Ok(Reply::enveloped(
            StatusCode::ACCEPTED,
            clock,
            &view,
            None::<&()>,
        ))
    }

    async fn act_on_many(&self, call: &Call, act: Act) -> Answered {
        let caller = self.operator(call)?;
        call.refuse_unknown_query(&[])?;
        let selection = call.json::<Asked>()?.selection()?;
        let mut many = Many {
            retried: (act == Act::Retry).then_some(0),
            discarded: (act == Act::Discard).then_some(0),
            refused: 0,
            refusals: Vec::new(),
            has_more: false,
        };
        match selection {
            Selection::Ids(ids) => {
                let letters = self.letters(&caller, ids, &mut many).await?;
                self.act_on_each(letters, act, &mut many).await?;
            }
            Selection::Of(filter) => self.act_on_all(&caller, &filter, act, &mut many).await?,
        }
        let count = many.retried.or(many.discarded).unwrap_or_default();
        tracing::info!(count, refused = many.refused, by = %caller.source(), "dead letters were {}", act.done());
        Ok(Reply::enveloped(
            StatusCode::OK,
            self.log().clock(),
            &many,
            None::<&()>,
        ))
    }

    /// What fails again while this goes on is newer than what is still to be looked at, so each is met once.
    async fn act_on_all(
        &self,
        caller: &Principal,
        filter: &Filter,
        act: Act,
        many: &mut Many,
    ) -> Result<(), Problem> {
        let mut next = None;
        let mut changed = 0;
        loop {
            let query = DeliveryQuery {
                target: filter.reactor.clone(),
                state: DeliveryState::Dead,
                after: next,
                limit: READ_MAX.min(CHANGED_MAX - changed),
            };
            let page = self.handle.deliveries(query).await?;
            let mut letters = page.items;
            letters.retain(|info| may_see(caller, &info.topic) && filter.takes(info));
            changed += letters.len();
            let ids = letters
                .into_iter()
                .map(|info| DeliveryId::new(info.target, info.seq));
            self.act_on_each(ids.collect(), act, many).await?;
            next = page.next;
            if next.is_none() || changed >= CHANGED_MAX {
                many.has_more = next.is_some();
                return Ok(());
            }
        }
    }

    /// Those of the named that are dead letters which the caller may see.
    async fn letters(
        &self,
        caller: &Principal,
        ids: Vec<DeliveryId>,
        many: &mut Many,
    ) -> Result<Vec<DeliveryId>, Problem> {
        let mut letters = Vec::with_capacity(ids.len());
        for id in ids {
            let found = self.handle.delivery(&id.record()).await?;
            match found
                .filter(|info| info.state == DeliveryState::Dead && may_see(caller, &info.topic))
            {
                Some(_) => letters.push(id),
                None => {
                    let name = id.to_string();
                    let what = "dead letter";
                    many.refuse(name.clone(), &Error::NotFound { what, name });
                }
            }
        }
        // What is named twice is meant once.
        letters.sort_unstable();
        letters.dedup();
        Ok(letters)
    }

    async fn act_on_each(
        &self,
        letters: Vec<DeliveryId>,
        act: Act,
        many: &mut Many,
    ) -> Result<(), Problem> {
        let acting = letters.into_iter().map(|id| async move {
            let acted = self.act(&id.record(), act).await;
            (id, acted)
        });
        let mut acting = stream::iter(acting).buffer_unordered(AT_ONCE);
        while let Some((id, acted)) = acting.next().await {
            match acted {
                Ok(()) => many.count(act),
                // The log is not there: nothing more will work, and what was done stays done.
                Err(Error::Log(error)) => return Err(error.into()),
                Err(error) => many.refuse(id.to_string(), &error),
            }
        }
        Ok(())
    }

    async fn act(&self, id: &str, act: Act) -> Result<(), Error> {
        match act {
            Act::Retry => self.handle.retry(id).await,
            Act::Discard => self.handle.discard(id).await,
        }
    }
}

impl Many {
    fn count(&mut self, act: Act) {
        let count = match act {
            Act::Retry => &mut self.retried,
            Act::Discard => &mut self.discarded,
        };
        *count = count.map(|count| count + 1);
    }

    fn refuse(&mut self, id: String, error: &Error) {
        self.refused += 1;
        if self.refusals.len() < REFUSALS_MAX {
            self.refusals.push(Refusal {
                id,
                code: error.code(),
                detail: error.to_string(),
            });
        }
    }
}
