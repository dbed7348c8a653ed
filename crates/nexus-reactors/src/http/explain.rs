//! `/api/v1/events/{id}/explain`: where an event went, and why not elsewhere.

use std::sync::Arc;

use ::http::Method;
use futures_util::{StreamExt, TryStreamExt, stream};
use nexus_core::{Event, Seq, iso8601};
use nexus_http::{Call, Reply, Route, named_event};
use serde::Serialize;

use super::{
    Answered, TargetApi,
    view::{EventView, ReplayView, replay_state},
};
use crate::{DeliveryId, Error, Explanation, Fate, Handle, ReplayInfo};

const LIMIT_DEFAULT: usize = 1_000;
const LIMIT_MAX: usize = 1_000;
/// So many targets are looked at at once.
const AT_ONCE: usize = 16;

pub(super) fn routes(api: &TargetApi) -> Vec<Route> {
    vec![api.route(
        Method::GET,
        "/api/v1/events/{id}/explain",
        |api, call| async move { api.explain(&call).await },
    )]
}

#[derive(Serialize)]
struct Explained<'a> {
    event: EventView<'a>,
    time: String,
    targets: Vec<TargetFate<'a>>,
    replays: Vec<ReplayFate<'a>>,
}

/// What became of the event for one target.
#[derive(Serialize)]
struct TargetFate<'a> {
    reactor: &'a str,
    fate: &'static str,
    why: String,
    position: String,
    lag: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    halted: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
}

/// Whether a replay has come to the event.
#[derive(Serialize)]
struct ReplayFate<'a> {
    is_past: bool,
    why: String,
    #[serde(flatten)]
    replay: ReplayView<'a>,
}

impl TargetApi {
    async fn explain(&self, call: &Call) -> Answered {
        let caller = self.operator(call)?;
        call.refuse_unknown_query(&["reactor", "limit", "cursor"])?;
        let limit = call.limit(LIMIT_DEFAULT, LIMIT_MAX)?;
        let id = call.param("id").unwrap_or_default();
        let event = named_event(self.log(), &caller, id).await?;
        let after = call.query("cursor").unwrap_or_default();
        let only = call.query("reactor");
        let mut names = self.handle.known_targets().await?;
        names.retain(|name| **name > *after && only.as_ref().is_none_or(|only| **name == **only));
        let has_more = names.len() > limit;
        names.truncate(limit);
        let explained: Vec<Option<Explanation>> = stream::iter(names.clone())
            .map(|name| explain_one(self.handle.clone(), name, event.clone()))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let replays = self.handle.replays_of(&event).await?;
        let data = Explained {
            event: EventView {
                id: event.id.to_string(),
                position: self.log().position(event.seq).to_string(),
                seq: event.seq.get(),
                topic: event.topic.as_str(),
            },
            time: iso8601(event.time_us),
            targets: explained.iter().flatten().map(TargetFate::new).collect(),
            replays: replays
                .iter()
                .filter(|info| {
                    only.as_ref()
                        .is_none_or(|only| *info.request.target == **only)
                })
                .map(|info| self.replay_fate(info, event.seq))
                .collect(),
        };
        let next = names.last().filter(|_| has_more);
        let next = next.map(|name| &**name);
        Ok(Reply::page(call, self.log().clock(), &data, next))
    }

    fn replay_fate<'a>(&self, info: &'a ReplayInfo, seq: Seq) -> ReplayFate<'a> {
        let is_past = seq <= info.position;
        let mode = if info.request.outbound {
            "with calls to the outside"
        } else {
            "without calls to the outside"
        };
        let why = match is_past {
            true => format!("it was shown again, {mode}"),
            false => format!(
                "the replay, {mode}, is {} and not there",
                replay_state(info.state)
            ),
        };
        ReplayFate {
            is_past,
            why,
            replay: ReplayView::new(self.log(), info),
        }
    }
}

/// Owns what it needs, so that many can run at once.
async fn explain_one(
    handle: Handle,
    name: Arc<str>,
    event: Arc<Event>,
) -> Result<Option<Explanation>, Error> {
    handle.explain(&name, &event).await
}

impl<'a> TargetFate<'a> {
    fn new(explanation: &'a Explanation) -> Self {
        let fate = &explanation.fate;
        let mut told = Self {
            reactor: &explanation.target,
            fate: fate.as_str(),
            why: why(explanation),
            position: explanation.position.to_string(),
            lag: explanation.lag,
            halted: explanation.halted.as_deref(),
            delivery: None,
            attempts: None,
            error: None,
            next_attempt_at: None,
            ended_at: None,
        };
        match fate {
            Fate::Waiting(info) | Fate::Dead(info) => {
                let id = DeliveryId::new(info.target.clone(), info.seq);
                told.delivery = Some(id.to_string());
                told.attempts = Some(info.attempts);
                told.error = Some(info.final_error()).filter(|error| !error.is_empty());
                told.next_attempt_at = info.due_us.map(iso8601);
                told.ended_at = info.failed_us.map(iso8601);
            }
            Fate::Discarded(info) | Fate::Succeeded(info) => {
                told.attempts = Some(info.attempts);
                told.error = info.error.as_deref();
                told.ended_at = Some(iso8601(info.time_us));
            }
            _ => {}
        }
        told
    }
}

/// The answer in a sentence.
fn why(explanation: &Explanation) -> String {
    let halted = |text: String| match &explanation.halted {
        Some(why) => format!("{text}; the reactor does nothing now: {why}"),
        None => text,
    };
    match &explanation.fate {
        Fate::NotMatched => "its topic matches none of the reactor's patterns".to_owned(),
        Fate::Filtered { filter } => format!("it does not meet the condition {filter}"),
        Fate::BeforeBeginning { began } => {
            format!(
                "the reactor began behind {began}, and what was there before is not its business"
            )
        }
        Fate::NotReached => halted(format!(
            "its turn has not come: the reactor is at {}",
            explanation.position
        )),
        Fate::Begun => {
            halted("it is being tried or comes next, and its end is not written yet".to_owned())
        }
        Fate::Waiting(info) if info.attempts == 0 => {
            halted("it waits for its first attempt, behind another".to_owned())
        }
        Fate::Waiting(info) => halted(format!(
            "attempt {} did not succeed, and another will be made",
            info.attempts
        )),
        Fate::Dead(info) => format!("it was given up after {}", attempts(info.attempts)),
        Fate::Discarded(info) => format!(
            "it was given up after {}, and its dead letter was discarded",
            attempts(info.attempts)
        ),
        Fate::Succeeded(info) => format!("it succeeded after {}", attempts(info.attempts)),
        Fate::Emitted { first, last } if first == last => {
            format!("it succeeded, and {first} followed from it")
        }
        Fate::Emitted { first, last } => {
            format!("it succeeded, and {first} to {last} followed from it")
        }
        Fate::Already { once, by } => {
            let by = by.map_or_else(
                || "another event".to_owned(),
                |by| format!("the event {by}"),
            );
            format!("what it asks for was done before, under the key {once}, for {by}")
        }
        Fate::Settled => {
            "it is settled: it succeeded, or its dead letter was discarded; the log keeps \
                          no more of that"
                .to_owned()
        }
    }
}

fn attempts(count: u32) -> String {
    match count {
        1 => "one attempt".to_owned(),
        count => format!("{count} attempts"),
    }
}
