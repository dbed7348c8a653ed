//! What a session says in the words of an event: that is told as it is, or it is something that the session does
//! with work, which is decided and told by its outcome.

use bytes::Bytes;
use nexus_core::{Causes, Json, NewEvent, Seq};
use uuid::Uuid;

use super::Handle;
use crate::{Error, Match, SessionId, WorkId};

/// What came of what a session said.
#[derive(Debug, Clone)]
pub struct Told {
    /// The event that tells it; nothing when it was told before.
    pub event: Option<ToldEvent>,
    /// The best matches for a request for help; nothing if it was none.
    pub matches: Option<Vec<Match>>,
    /// Whether it is told in the session's own words, and not as what it did with work.
    pub is_verbatim: bool,
}

/// The event that tells something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToldEvent {
    /// Its identifier.
    pub id: Uuid,
    /// Its number.
    pub seq: Seq,
    /// When it was kept, in microseconds since 1970.
    pub time_us: i64,
}

/// What a session does with work when it says an event of it.
enum WorkAct {
    Claim,
    Release,
    Complete,
}

impl WorkAct {
    fn of(event_type: &str) -> Option<Self> {
        match event_type {
            "work.claim" | "work.claimed" | "WORK_CLAIMED" => Some(Self::Claim),
            "work.released" | "WORK_RELEASED" => Some(Self::Release),
            "work.completed" | "WORK_COMPLETED" => Some(Self::Complete),
            _ => None,
        }
    }
}

impl Handle {
    /// Does what a session says. An event of work is an attempt to do it, and is told only if it is granted;
    /// any other is told as it was said.
    ///
    /// # Errors
    /// As [`Handle::publish`], and for work as [`Handle::claim`], [`Handle::release`] and
    /// [`Handle::complete`].
    pub async fn say(
        &self,
        id: &SessionId,
        event_type: &str,
        payload: Bytes,
        causes: Causes,
    ) -> Result<Told, Error> {
        if let Some(act) = WorkAct::of(event_type) {
            return self.act(id, &act, &payload).await;
        }
        let named = self.log().catalogue().resolve(event_type)?;
        let is_help = named.event_type.topic.as_str() == "help.needed";
        let mut event = NewEvent::new(named.event_type, payload);
        event.causes = causes;
        let published = self.publish(id, event).await?;
        let receipt = published.receipt;
        let told = receipt.first_id.map(|id| ToldEvent {
            id,
            seq: receipt.first,
            time_us: receipt.time_us,
        });
        Ok(Told {
            event: told,
            matches: is_help.then_some(published.matches),
            is_verbatim: true,
        })
    }

    async fn act(&self, by: &SessionId, act: &WorkAct, payload: &[u8]) -> Result<Told, Error> {
        let payload = Json::parse(payload)?;
        let text = |names: &[&str]| {
            let found = names.iter().find_map(|name| payload.get(name)?.as_str());
            found.map(str::to_owned)
        };
        let work_id = text(&["work_id", "work_item"]).ok_or(Error::Invalid {
            what: "payload.work_id",
            why: "is required",
        })?;
        let work_id = WorkId::parse(&work_id)?;
        let token = token(&payload)?;
        let told = match act {
            WorkAct::Claim => {
                let description = text(&["work_description", "description", "work_item"]);
                let description = description.unwrap_or_else(|| work_id.to_string());
                let granted = self.claim(by, &work_id, &description, None).await?;
                Some(granted.claim.token)
            }
            WorkAct::Complete => self.complete(by, &work_id, token).await?.told,
            WorkAct::Release => self.release(by, &work_id, token).await?.told,
        };
        let event = match told {
            Some(seq) => self.log().event(seq).await?,
            None => None,
        };
        Ok(Told {
            event: event.map(|event| ToldEvent {
                id: event.id,
                seq: event.seq,
                time_us: event.time_us,
            }),
            matches: None,
            is_verbatim: false,
        })
    }
}

/// The claim that is meant, if one is named.
fn token(payload: &Json<'_>) -> Result<Option<Seq>, Error> {
    let number = match payload.get("fencing_token") {
        None => return Ok(None),
        Some(Json::Number(number)) => crate::number::whole(*number),
        Some(_) => None,
    };
    number.map(Seq::new).map(Some).ok_or(Error::Invalid {
        what: "fencing_token",
        why: "must be a whole number, not below zero",
    })
}
