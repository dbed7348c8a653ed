//! `GET /api/v1/events/{id}`: one event, by its id or its position.

use http::StatusCode;
use nexus_core::{Scope, write_event};
use nexus_http::{Call, Reply, named_event};

use super::{Answered, V1, answer};

pub(super) async fn event(v1: &V1, call: &Call) -> Answered {
    let principal = v1.callers.reader(call, Scope::Read)?;
    let id = call.param("id").unwrap_or_default();
    let event = named_event(&v1.log, &principal, id).await?;
    let position = v1.log.position(event.seq);
    let catalogue = v1.log.catalogue();
    let data = |out: &mut Vec<u8>| {
        answer::with_name(&catalogue, &event, |name| {
            write_event(out, position.epoch, &event, name);
        });
    };
    let reply = Reply::enveloped_raw(StatusCode::OK, v1.log.clock(), event.weight(), data, None);
    Ok(reply.header(answer::NEXUS_POSITION, answer::position_header(position)))
}
