//! `POST /events`: one signed event in.

use http::{HeaderMap, HeaderName};
use nexus_core::{Causes, Command, Kind, NewEvent, Once, Principal, RawObject, sha256};
use nexus_http::{Call, Problem};

use super::{Answered, Neo, answer, object};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");

/// A request key has at most this many bytes.
const REQUEST_KEY_BYTES_MAX: usize = 255;

/// A request key is kept for a day.
const REQUEST_KEY_LIFETIME_US: i64 = 86_400_000_000;

pub(super) async fn events(neo: &Neo, call: &Call) -> Answered {
    let principal = neo.signer(call, None)?;
    publish(neo, call, &principal, &object(call)?).await
}

/// Publishes `{"event","payload"}` for somebody who is known.
pub(super) async fn publish(
    neo: &Neo,
    call: &Call,
    principal: &Principal,
    body: &RawObject<'_>,
) -> Answered {
    let name = body.text("event")?.unwrap_or_default();
    let named = neo.log.catalogue().resolve(&name)?;
    let payload = body.get("payload").ok_or_else(|| {
        Problem::new(
            Kind::Malformed,
            "missing-payload",
            "the body must have a member `payload`",
        )
    })?;
    let event = NewEvent {
        causes: causes(call),
        ..NewEvent::new(named.event_type, call.body.slice_ref(payload.as_bytes()))
    };
    let once = request_key(&call.headers)?
        .map(|key| Once::request(principal.source(), key, sha256(&call.body), expires_us(neo)));
    let command = Command {
        once,
        ..Command::event(event)
    };
    let receipt = neo.log.submit(principal, command).await?;
    Ok(answer::dispatched(&name, &receipt))
}

fn expires_us(neo: &Neo) -> i64 {
    neo.log.clock().now_us() + REQUEST_KEY_LIFETIME_US
}

/// The key under which the sender wants this request to count once: their own, else the id of the
/// webhook.
fn request_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers
        .get(IDEMPOTENCY_KEY)
        .or_else(|| headers.get(WEBHOOK_ID))
    else {
        return Ok(None);
    };
    let key = value
        .to_str()
        .ok()
        .filter(|key| (1..=REQUEST_KEY_BYTES_MAX).contains(&key.len()));
    key.map(Some).ok_or_else(|| {
        let detail = "an idempotency key has 1 to 255 visible ASCII characters";
        Problem::new(Kind::Malformed, "invalid-request", detail)
    })
}

/// What the request says of where an event came from.
pub(super) fn causes(call: &Call) -> Causes {
    Causes {
        request_id: Some(call.request_id.as_ref().to_owned()),
        remote: Some(call.remote.to_string()),
        traceparent: call.traceparent.as_deref().map(str::to_owned),
        ..Causes::default()
    }
}
