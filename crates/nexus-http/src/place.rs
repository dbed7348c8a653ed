//! A place in the log, or an event of it, that a caller names; and the answer when it is not there.

use std::sync::Arc;

use nexus_core::{Error, Event, Kind, Log, Position, Principal};
use uuid::Uuid;

use crate::Problem;

/// The event that a caller names by its id or its position.
///
/// # Errors
/// `not-found` when there is none, or none that they may read: who may not read it does not learn that it is
/// there. What the log says.
pub async fn named_event(
    log: &Log,
    principal: &Principal,
    name: &str,
) -> Result<Arc<Event>, Problem> {
    let found = find(log, name).await?;
    found
        .filter(|event| principal.may_read(event))
        .ok_or_else(|| {
            let detail = "there is no event with this id that you may read";
            Problem::new(Kind::NotFound, "not-found", detail)
        })
}

async fn find(log: &Log, name: &str) -> Result<Option<Arc<Event>>, Error> {
    if let Ok(id) = Uuid::parse_str(name) {
        return log.event_by_id(id).await;
    }
    match name.parse::<Position>() {
        Ok(position) if position.epoch == log.head().epoch => log.event(position.seq).await,
        _ => Ok(None),
    }
}

impl Problem {
    /// What was asked for cannot go on from where it was asked to, but from `go_on_from`: never is there a
    /// gap that nobody is told of.
    #[must_use]
    pub fn gone(code: &'static str, detail: &str, go_on_from: Position) -> Self {
        Self::new(Kind::Gone, code, detail).with("position", go_on_from.to_string())
    }

    /// Refuses a position that is of another log, or that this one has not reached. Everything that is
    /// stored counts, not only what live readers were told of: whoever just got an answer finds their own
    /// event.
    ///
    /// # Errors
    /// `epoch` or `ahead`, with the position that the log has reached.
    pub fn unless_reached(log: &Log, named: Position) -> Result<(), Self> {
        let stored = log.stored();
        if named.epoch != stored.epoch {
            let detail = "the position is of another log: this one was made anew or restored";
            return Err(Self::gone("epoch", detail, stored));
        }
        if named.seq > stored.seq {
            return Err(Self::gone("ahead", "the log has not come that far", stored));
        }
        Ok(())
    }
}
