//! Sessions that are let in and stay, to speak over something else than requests: the rights are those of the
//! routes, and so are the answers.

use std::sync::Arc;

use bytes::Bytes;
use nexus_auth::{Auth, Grant};
use nexus_core::{Causes, Coded, Digest, Position, Scope, Seq, sha256};
use nexus_http::{Call, Problem};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{Face, FaceOptions, Trust, caller::credential, events, is_own_fault, problem, work};
use crate::{Connection, Error, Handle, Profile, SessionId, WorkId};

/// Lets sessions in.
#[derive(Clone)]
pub struct Guests(Face);

/// A connection of a session that was let in. The session is connected while it has one.
pub struct Guest {
    face: Face,
    id: SessionId,
    pass: Pass,
    /// Where what it says comes from.
    causes: Causes,
    connection: Connection,
}

/// By what it was let in.
enum Pass {
    /// Everybody is who they say.
    Open,
    /// The session's own token.
    Token(Digest),
    /// The token of somebody who operates.
    Operator(Box<Grant>),
}

/// Whether a guest may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// It may.
    Granted,
    /// What it was let in by does not count any more.
    Revoked,
    /// Its session was signed off.
    SignedOff,
}

/// What a guest said, and what is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// In a word: `published`, `claimed`.
    pub status: &'static str,
    /// The whole answer, an object.
    pub body: Value,
    /// The event that was published in the session's own words.
    pub said: Option<Seq>,
}

impl Guests {
    /// Lets sessions in as the routes with these options do; together they keep one pace.
    #[must_use]
    pub fn new(agents: &Handle, auth: &Auth, options: FaceOptions) -> Self {
        Self(Face {
            agents: agents.clone(),
            auth: auth.clone(),
            options: Arc::new(options),
        })
    }

    /// Lets the session in that the path names as `session_id`, with the `role` and the `capabilities` that
    /// the query says.
    ///
    /// # Errors
    /// The refusals of the face: a bad name, nobody who may be it, too many connections.
    pub async fn admit(&self, call: &Call) -> Result<Guest, Problem> {
        let face = &self.0;
        let caller = face.caller(call)?;
        let named = call.param("session_id").unwrap_or_default();
        let id = SessionId::parse(named).map_err(problem)?;
        caller.act_as(&id)?;
        let pass = face.pass(call)?;
        let connected = face.agents.connect(&id, profile(call)).await;
        Ok(Guest {
            connection: connected.map_err(|error| face.refuse(error))?,
            face: face.clone(),
            id,
            pass,
            causes: call.causes(),
        })
    }

    /// Tells when [`Guest::stay`] of any guest may have become another.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.agents.rights_changes()
    }
}

impl Guest {
    /// Its session.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// The operator's token that it was let in by, if it was.
    #[must_use]
    pub fn grant(&self) -> Option<Grant> {
        match &self.pass {
            Pass::Operator(grant) => Some((**grant).clone()),
            Pass::Open | Pass::Token(_) => None,
        }
    }

    /// Whether it may stay.
    #[must_use]
    pub fn stay(&self) -> Stay {
        if !self.connection.counts() {
            return Stay::SignedOff;
        }
        let holds = match &self.pass {
            Pass::Open => true,
            Pass::Token(digest) => {
                self.face.agents.session_of_digest(digest).as_ref() == Some(&self.id)
            }
            Pass::Operator(grant) => {
                let renewed = self.face.auth.renew(grant);
                renewed.is_ok_and(|grant| grant.principal.scopes().has(Scope::Operate))
            }
        };
        if holds { Stay::Granted } else { Stay::Revoked }
    }

    /// A sign of life: what its session holds, it holds for another while.
    pub fn heard(&self) {
        self.connection.heard();
    }

    /// Every message to its session up to here was received by it.
    ///
    /// # Errors
    /// What the log says.
    pub async fn received(&self) -> Result<Position, Problem> {
        let received = self.face.agents.received(&self.id).await;
        received.map_err(|error| self.face.refuse(error))
    }

    /// Keeps that every message to its session up to a position was received by it.
    ///
    /// # Errors
    /// What the log says.
    pub async fn keep_received(&self, through: Position) -> Result<(), Problem> {
        let kept = self.face.agents.keep_received(&self.id, through).await;
        kept.map_err(|error| self.face.refuse(error))
    }

    /// Publishes an event, or does what that says of work.
    ///
    /// # Errors
    /// As `POST /events`.
    pub async fn publish(
        &self,
        event_type: &str,
        payload: Bytes,
        ttl_s: Option<u32>,
    ) -> Result<Answer, Problem> {
        self.face.paced(&self.id)?;
        let causes = Causes {
            ttl_s,
            ..self.causes.clone()
        };
        let agents = &self.face.agents;
        let told = agents.say(&self.id, event_type, payload, causes).await;
        let told = told.map_err(|error| self.face.refuse(error))?;
        let said = told.event.filter(|_| told.is_verbatim);
        Ok(Answer {
            status: "published",
            body: events::published(&told),
            said: said.map(|event| event.seq),
        })
    }

    /// Claims work.
    ///
    /// # Errors
    /// As `POST /work/claim`.
    pub async fn claim(
        &self,
        work_id: &str,
        description: Option<&str>,
        lease_s: Option<u64>,
    ) -> Result<Answer, Problem> {
        let work_id = WorkId::parse(work_id).map_err(problem)?;
        self.face.work_paced(&self.id)?;
        let description = description.unwrap_or(work_id.as_str());
        let agents = &self.face.agents;
        let granted = agents
            .claim(&self.id, &work_id, description, lease_s)
            .await
            .map_err(|error| self.face.refuse(error))?;
        Ok(answer("claimed", work::view("claimed", &granted)))
    }

    /// Holds a claim for longer.
    ///
    /// # Errors
    /// As `POST /work/renew`.
    pub async fn renew(&self, work_id: &str, token: Option<Seq>) -> Result<Answer, Problem> {
        let work_id = WorkId::parse(work_id).map_err(problem)?;
        let granted = self.face.agents.renew(&self.id, &work_id, token).await;
        let granted = granted.map_err(|error| self.face.refuse(error))?;
        Ok(answer("renewed", work::view("renewed", &granted)))
    }

    /// Gives work back.
    ///
    /// # Errors
    /// As `POST /work/release`.
    pub async fn release(&self, work_id: &str, token: Option<Seq>) -> Result<Answer, Problem> {
        let work_id = WorkId::parse(work_id).map_err(problem)?;
        self.face.work_paced(&self.id)?;
        let ended = self.face.agents.release(&self.id, &work_id, token).await;
        let work_id = ended.map_err(|error| self.face.refuse(error))?.work_id;
        let body = json!({ "status": "released", "work_id": work_id });
        Ok(answer("released", body))
    }

    /// Says that work is done.
    ///
    /// # Errors
    /// As `POST /work/complete`.
    pub async fn complete(&self, work_id: &str, token: Option<Seq>) -> Result<Answer, Problem> {
        let work_id = WorkId::parse(work_id).map_err(problem)?;
        self.face.work_paced(&self.id)?;
        let ended = self.face.agents.complete(&self.id, &work_id, token).await;
        let work_id = ended.map_err(|error| self.face.refuse(error))?.work_id;
        let body = json!({ "status": "completed", "work_id": work_id });
        Ok(answer("completed", body))
    }
}

impl Face {
    /// By what somebody is let in who was found to be allowed to.
    fn pass(&self, call: &Call) -> Result<Pass, Problem> {
        if self.options.trust == Trust::Open {
            return Ok(Pass::Open);
        }
        let token = credential(&call.headers).ok_or(nexus_auth::Error::Unauthorized)?;
        Ok(if self.agents.session_of_token(&token).is_some() {
            Pass::Token(sha256(token.as_bytes()))
        } else {
            Pass::Operator(Box::new(self.auth.grant(&token)?))
        })
    }

    /// A refusal; what went wrong on this side is counted, and told to the log alone.
    fn refuse(&self, error: Error) -> Problem {
        if is_own_fault(error.kind()) {
            self.agents.failed();
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "something could not be done for a session"
            );
        }
        problem(error)
    }
}

fn answer(status: &'static str, body: Value) -> Answer {
    Answer {
        status,
        body,
        said: None,
    }
}

/// What the query says of the session. A list may be written with commas.
fn profile(call: &Call) -> Profile {
    let text = |name| call.query(name).filter(|text| !text.is_empty());
    let capabilities = call.query_all("capabilities").flat_map(|list| {
        let names = list.split(',').map(|name| name.trim().to_owned());
        names.filter(|name| !name.is_empty()).collect::<Vec<_>>()
    });
    let capabilities: Vec<String> = capabilities.collect();
    Profile {
        role: text("role").map(std::borrow::Cow::into_owned),
        goal: text("goal").map(std::borrow::Cow::into_owned),
        capabilities: (!capabilities.is_empty()).then_some(capabilities),
    }
}
