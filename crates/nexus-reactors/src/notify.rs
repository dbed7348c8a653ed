//! Telling a node of an event: signed, in the format that live nodes verify.

use std::{sync::Arc, time::Duration};

use ::http::{HeaderValue, Method, header::CONTENT_TYPE};
use bytes::Bytes;
use nexus_auth::Auth;
use nexus_core::{Attempt, Catalogue, Clock, Event, Exchange, NameForm, ReactorError, iso8601_ms};
use nexus_outbound::{Answer, Client, Outgoing};

use crate::{
    js,
    nodes::{Nodes, below},
    outgoing,
};

/// Where a node is told, unless configured.
pub(crate) const PATH: &str = "api/webhook/nexus";

/// Tells one node of events.
#[derive(Debug)]
pub(crate) struct Notifier {
    pub(crate) receiver: Arc<str>,
    /// Where below the node's address.
    pub(crate) path: String,
    /// Which name of an event it is told; nothing: the one that the node wants.
    pub(crate) names: Option<NameForm>,
    /// How long the receiver may take to answer.
    pub(crate) timeout: Duration,
    pub(crate) client: Client,
    pub(crate) nodes: Nodes,
    pub(crate) auth: Auth,
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) clock: Clock,
}

/// What came of telling a node.
#[derive(Debug)]
pub(crate) enum Told {
    /// Nobody knows where it is.
    Nowhere,
    /// The attempt calls nobody.
    NotCalled,
    /// It answered with success.
    Answered {
        /// What it was sent.
        body: Bytes,
        /// What it said.
        answer: Answer,
    },
}

impl Notifier {
    /// Where the node is, for people.
    pub(crate) fn shown(&self) -> Option<String> {
        self.nodes.shown(&self.receiver, &self.path)
    }

    /// Tells the node of the event of an attempt, with another payload if one is given. What is kept of it
    /// has gone through `hide`.
    pub(crate) async fn tell(
        &self,
        attempt: &Attempt,
        payload: Option<&str>,
        hide: &(dyn Fn(&mut Exchange) + Sync),
    ) -> Result<Told, ReactorError> {
        let Some(address) = self.nodes.find(&self.receiver).await? else {
            return Ok(Told::Nowhere);
        };
        let body = self
            .body(&attempt.event, payload)
            .ok_or_else(|| ReactorError::final_("the payload cannot be sent"))?;
        let body = Bytes::from(body);
        let signer = self.auth.signer(&self.receiver).ok_or_else(|| {
            ReactorError::final_(format!(
                "there is no secret to sign with for {}",
                self.receiver
            ))
        })?;
        let url = below(&address.url, &self.path);
        let mut call = Outgoing::new(Method::POST, url, address.trust);
        call.timeout = self.timeout;
        call.headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let now_s = self.clock.now_us().div_euclid(1_000_000);
        let id = attempt.event.id.to_string();
        call.headers.extend(signer.sign(&id, now_s, &body));
        call.body = body.clone();
        let answer = outgoing::call_hiding(&self.client, call, attempt, &self.clock, hide).await?;
        Ok(answer.map_or(Told::NotCalled, |answer| Told::Answered { body, answer }))
    }

    /// What the receiver is sent: the same bytes at every attempt.
    fn body(&self, event: &Event, payload: Option<&str>) -> Option<String> {
        let wanted = || self.auth.node(&self.receiver).map(|node| node.names);
        let names = self.names.or_else(wanted).unwrap_or(NameForm::Name);
        let name = match self.catalogue.get(&event.topic) {
            Some(event_type) => event_type.name_in(names),
            None => event.topic.as_str(),
        };
        match payload {
            Some(payload) => write(name, payload, event.time_us),
            None => write_neo_event(event, name),
        }
    }
}

/// An event as the receivers of the NEO protocol read it, `{"event","payload","timestamp"}`, under one of
/// its names: byte for byte what JavaScript would write, because they verify what they have parsed and
/// written again. Nothing when the payload cannot be written so.
#[must_use]
pub fn write_neo_event(event: &Event, name: &str) -> Option<String> {
    write(
        name,
        std::str::from_utf8(&event.payload).ok()?,
        event.time_us,
    )
}

fn write(name: &str, payload: &str, time_us: i64) -> Option<String> {
    // Topics and names are plain ASCII without quotation marks.
    let name = js::stringify(&format!("\"{name}\""))?;
    let payload = js::stringify(payload)?;
    let time = iso8601_ms(time_us);
    Some(format!(
        r#"{{"event":{name},"payload":{payload},"timestamp":"{time}"}}"#
    ))
}
