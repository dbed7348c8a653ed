//! `POST /events`: one signed event in.

use std::slice;

use nexus_core::{Command, Kind, NewEvent, Once, Principal, RawObject};
use nexus_http::{Call, Problem};

use super::{Answered, Neo, answer, object};
use crate::faces::request;

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
        causes: call.causes(),
        ..NewEvent::new(named.event_type, call.body.slice_ref(payload.as_bytes()))
    };
    let once = Once::of_events(
        principal.source(),
        request::key(&call.headers)?,
        slice::from_ref(&event),
        neo.log.clock().now_us(),
    );
    let command = Command {
        once,
        ..Command::event(event)
    };
    let receipt = neo.log.submit(principal, command).await?;
    Ok(answer::dispatched(&name, &receipt))
}
