//! Publishing by a tool, and what there is to publish.

use nexus_agents::SessionId;
use nexus_core::{
    Causes, Command, Error, NewEvent, Once, REQUEST_KEY_BYTES_MAX, Receipt, Scope, iso8601,
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tokio::time::Instant;

use super::{
    Context, Told, read_arguments,
    refusal::{Refusal, require},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish {
    event: String,
    payload: Box<RawValue>,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    idempotency_key: Option<String>,
    #[serde(default)]
    correlation_id: Option<uuid::Uuid>,
}

/// The ordering key of an event has at most this many bytes.
const KEY_BYTES_MAX: usize = 255;

pub(super) async fn publish(context: &Context<'_>, arguments: Option<&RawValue>) -> Told {
    require(context.caller, Scope::Publish)?;
    let publish: Publish = read_arguments(arguments)?;
    let named = context.log.catalogue().resolve(&publish.event)?;
    let topic = named.event_type.topic.clone();
    let key = publish.key.filter(|key| !key.is_empty());
    if key.as_ref().is_some_and(|key| key.len() > KEY_BYTES_MAX) {
        let why = format!("`key` has at most {KEY_BYTES_MAX} bytes");
        return Err(Refusal::invalid(why));
    }
    let request_key = publish.idempotency_key.as_deref();
    let is_good = |key: &str| (1..=REQUEST_KEY_BYTES_MAX).contains(&key.len());
    if !request_key.is_none_or(is_good) {
        let why = format!("`idempotency_key` has 1 to {REQUEST_KEY_BYTES_MAX} bytes");
        return Err(Refusal::invalid(why));
    }
    context.limits.take(context.caller.source(), 1)?;
    let payload: Box<str> = publish.payload.into();
    let mut event = NewEvent::new(named.event_type, payload.into_string());
    event.key = key.map(Into::into);
    event.causes = Causes {
        correlation_id: publish.correlation_id,
        ..Causes::default()
    };
    let receipt = match SessionId::of_source(context.caller.source()) {
        Some(session) => by_session(context, &session, event, request_key).await?,
        None => by_anybody(context, event, request_key).await?,
    };
    Ok(json!({
        "id": receipt.first_id,
        "position": receipt.position(),
        "seq": receipt.last.get(),
        "topic": topic.as_str(),
        "time": iso8601(receipt.time_us),
        "replayed": receipt.replayed,
    }))
}

/// What a session says, with all that follows from it.
async fn by_session(
    context: &Context<'_>,
    session: &SessionId,
    event: NewEvent,
    request_key: Option<&str>,
) -> Result<Receipt, Refusal> {
    context.pace.take(session, Instant::now())?;
    let once = once(context, &event, request_key);
    let published = context.agents.publish_once(session, event, once);
    Ok(published.await?.receipt)
}

async fn by_anybody(
    context: &Context<'_>,
    event: NewEvent,
    request_key: Option<&str>,
) -> Result<Receipt, Refusal> {
    let once = once(context, &event, request_key);
    let command = Command {
        once,
        ..Command::event(event)
    };
    Ok(context.log.submit(context.caller, command).await?)
}

/// The key of a request, which counts among those of its caller alone: over every face the same.
fn once(context: &Context<'_>, event: &NewEvent, request_key: Option<&str>) -> Option<Once> {
    let (source, now_us) = (context.caller.source(), context.log.clock().now_us());
    let events = std::slice::from_ref(event);
    Once::of_events(source, Some(request_key?), events, now_us)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Topics {
    #[serde(default)]
    prefix: Option<String>,
}

/// The events that there are, and which of them the caller may publish.
pub(super) fn topics(context: &Context<'_>, arguments: Option<&RawValue>) -> Told {
    require(context.caller, Scope::Read)?;
    let asked: Topics = read_arguments(arguments)?;
    let prefix = asked.prefix.unwrap_or_default();
    let may_say = context.caller.scopes().has(Scope::Publish);
    let catalogue = context.log.catalogue();
    let types = catalogue.types().iter();
    let topics: Vec<Value> = types
        .filter(|event| event.topic.as_str().starts_with(&prefix))
        .map(|event| {
            let may_publish = may_say && context.caller.may_publish(&event.topic, event.reserved);
            json!({
                "topic": event.topic.as_str(),
                "name": event.name,
                "may_publish": may_publish,
            })
        })
        .collect();
    Ok(json!({ "topics": topics }))
}

/// The log's error for a name that is none, as resources tell it.
pub(super) fn is_unknown(error: &Error) -> bool {
    matches!(
        error,
        Error::UnknownEvent { .. } | Error::InvalidName { .. }
    )
}
