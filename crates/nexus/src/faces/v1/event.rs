//! `GET /api/v1/events/{id}`: one event, by its id or its position.

use std::sync::Arc;

use http::StatusCode;
use nexus_core::{Error, Event, Kind, Position, Scope, write_event};
use nexus_http::{Call, Problem, Reply};
use uuid::Uuid;

use super::{Answered, V1, answer};

pub(super) async fn event(v1: &V1, call: &Call) -> Answered {
    let principal = v1.callers.reader(call, Scope::Read)?;
    let found = find(v1, call.param("id").unwrap_or_default()).await?;
    // Who may not read it does not learn that it is there.
    let Some(event) = found.filter(|event| principal.may_read(event)) else {
        let detail = "there is no event with this id that you may read";
        return Err(Problem::new(Kind::NotFound, "not-found", detail));
    };
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

async fn find(v1: &V1, text: &str) -> Result<Option<Arc<Event>>, Error> {
    if let Ok(id) = Uuid::parse_str(text) {
        return v1.log.event_by_id(id).await;
    }
    match text.parse::<Position>() {
        Ok(position) if position.epoch == v1.log.head().epoch => v1.log.event(position.seq).await,
        _ => Ok(None),
    }
}
