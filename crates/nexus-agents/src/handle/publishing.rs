//! What sessions say: their events, and what follows from them in the same breath.

use nexus_core::{
    Causes, Command, Json, NewEvent, Once, PatternSet, Principal, ProtocolEvent, Publish, Receipt,
    Scope,
};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{Handle, sessions::to_the_end};
use crate::{
    Error, Match, Profile, SessionId, options::OFFERS_MAX, session::activity::Activity,
    work::kept::json,
};

/// What a session published, and to whom it was offered.
#[derive(Debug, Clone)]
pub struct Published {
    /// What was kept.
    pub receipt: Receipt,
    /// The best matches for a request for help.
    pub matches: Vec<Match>,
}

#[derive(Serialize)]
struct Offer<'a> {
    to: &'a SessionId,
    from: &'a SessionId,
    help_event_id: Option<String>,
    matched: usize,
    request: &'a RawValue,
}

/// What sessions may publish as themselves. Work and sessions are told by Nexus: they are outcomes.
const SAID_BY_SESSIONS: [&str; 5] = [
    "help.needed",
    "capability.broadcast",
    "status.update",
    "message.broadcast",
    "message.direct",
];

impl Handle {
    /// A session, with what it may do: read, and say what sessions say.
    ///
    /// # Errors
    /// None; the patterns are fixed.
    pub fn principal(&self, id: &SessionId) -> Result<Principal, Error> {
        let patterns = PatternSet::parse(SAID_BY_SESSIONS)?;
        let scopes = [Scope::Read, Scope::Publish].into_iter().collect();
        Ok(Principal::new(
            id.source(),
            Publish::Matching(patterns),
            scopes,
        ))
    }

    /// Publishes an event of a session. A status and capabilities are kept in the same commit; a request for
    /// help is then offered to those that fit best.
    ///
    /// # Errors
    /// [`Error::Invalid`], and what the log says.
    pub async fn publish(&self, id: &SessionId, event: NewEvent) -> Result<Published, Error> {
        self.publish_once(id, event, None).await
    }

    /// As [`Handle::publish`], once for a key: what was published under it before is answered again, and
    /// nothing follows from it a second time.
    ///
    /// # Errors
    /// As [`Handle::publish`], and that the key stands for another event.
    pub async fn publish_once(
        &self,
        id: &SessionId,
        event: NewEvent,
        once: Option<Once>,
    ) -> Result<Published, Error> {
        let (handle, id) = (self.clone(), id.clone());
        to_the_end(async move { handle.publish_now(&id, event, once).await }).await
    }

    async fn publish_now(
        &self,
        id: &SessionId,
        event: NewEvent,
        once: Option<Once>,
    ) -> Result<Published, Error> {
        let began = Instant::now();
        let principal = self.principal(id)?;
        // Nothing of what is not allowed is looked into.
        self.log().check(&principal, &event)?;
        let known = event.event_type.known();
        let payload = event.payload.clone();
        let mut command = Command {
            once,
            ..Command::event(event)
        };
        let mut matches = Vec::new();
        let receipt = match known {
            Some(ProtocolEvent::StatusUpdate) => {
                if let Some(activity) = Activity::said(&payload) {
                    command.changes.push(activity.put(id));
                }
                self.log().submit(&principal, command).await?
            }
            Some(ProtocolEvent::CapabilityBroadcast) => {
                self.broadcast_capabilities(id, &principal, &payload, command)
                    .await?
            }
            Some(ProtocolEvent::HelpNeeded) => {
                let receipt = self.log().submit(&principal, command).await?;
                if !receipt.replayed {
                    matches = self.offer(id, &payload, &receipt).await;
                }
                receipt
            }
            _ => self.log().submit(&principal, command).await?,
        };
        self.delivered(receipt.last, began).await;
        Ok(Published { receipt, matches })
    }

    async fn broadcast_capabilities(
        &self,
        id: &SessionId,
        principal: &Principal,
        payload: &[u8],
        command: Command,
    ) -> Result<Receipt, Error> {
        let profile = Profile {
            capabilities: Some(strings(payload, &["capabilities"])),
            ..Profile::default()
        };
        profile.check()?;
        if self.session(id).is_err() {
            // Somebody who was never here has no record that could change.
            return Ok(self.log().submit(principal, command).await?);
        }
        let _gate = self.enter(id).await?;
        let mut kept = self.kept(id);
        kept.say(profile);
        self.keep(principal, id, kept, command).await
    }

    /// Offers a request for help to those that fit best; whom. That it could not be offered does not undo
    /// that it was told.
    async fn offer(&self, from: &SessionId, payload: &[u8], receipt: &Receipt) -> Vec<Match> {
        let skills = strings(payload, &["capabilities", "capabilities_needed"]);
        let mut matches = self.find(&skills, true);
        matches.retain(|found| found.session.id != *from);
        matches.truncate(OFFERS_MAX);
        let Ok(request) = serde_json::from_slice::<&RawValue>(payload) else {
            return Vec::new();
        };
        let known = self
            .log()
            .catalogue()
            .known_type(ProtocolEvent::HelpOffered);
        let offers = matches.iter().map(|found| {
            let offer = Offer {
                to: &found.session.id,
                from,
                help_event_id: receipt.first_id.map(|id| id.to_string()),
                matched: found.matched,
                request,
            };
            let mut event = NewEvent::new(known.clone(), json(&offer));
            event.causes = Causes {
                correlation_id: receipt.first_id,
                causation_id: receipt.first_id,
                hops: 1,
                ..Causes::default()
            };
            event
        });
        let command = Command {
            events: offers.collect(),
            ..Command::default()
        };
        if !command.events.is_empty()
            && let Err(error) = self.log().submit(&Principal::nexus(), command).await
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error, session = %from,
                "a request for help could not be offered"
            );
            return Vec::new();
        }
        matches
    }
}

/// The texts of the first of the members that is there.
fn strings(payload: &[u8], members: &[&str]) -> Vec<String> {
    let Ok(payload) = Json::parse(payload) else {
        return Vec::new();
    };
    let found = members.iter().find_map(|member| match payload.get(member) {
        Some(Json::Array(items)) => Some(items),
        _ => None,
    });
    let texts = found.into_iter().flatten().filter_map(Json::as_str);
    texts.map(str::to_owned).collect()
}
