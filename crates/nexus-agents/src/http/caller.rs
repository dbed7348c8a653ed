//! Who asks, and as whom they may act.

use ::http::{HeaderMap, header};
use data_encoding::BASE64;
use nexus_core::{Kind, Principal, Publish, Scope, Source};
use nexus_http::{Call, Problem};
use tokio::time::Instant;

use super::{Face, Trust, problem};
use crate::SessionId;

/// Who asks.
#[derive(Debug, Clone)]
pub(super) enum Caller {
    /// Somebody, where everybody is who they say.
    Anybody,
    /// A session, by its token.
    Session(SessionId),
    /// Whoever else has a token.
    Principal(Principal),
}

impl Face {
    /// Who asks. In open mode nobody has to prove it.
    pub(super) fn caller(&self, call: &Call) -> Result<Caller, Problem> {
        match self.options.trust {
            Trust::Open => Ok(Caller::Anybody),
            Trust::Token => call.identify(|headers| self.verify(headers)),
        }
    }

    /// Counts an event that a session is about to publish, whichever way it does.
    pub(super) fn paced(&self, id: &SessionId) -> Result<(), Problem> {
        let paced = self.options.pace.take(id, Instant::now());
        paced.map_err(problem)
    }

    /// Counts what a session is about to do with work.
    pub(super) fn work_paced(&self, id: &SessionId) -> Result<(), Problem> {
        let paced = self.options.pace.take_work(id, Instant::now());
        paced.map_err(problem)
    }

    fn verify(&self, headers: &HeaderMap) -> Result<Caller, nexus_auth::Error> {
        let authorization = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '));
        match authorization {
            Some((scheme, credentials)) if scheme.eq_ignore_ascii_case("basic") => {
                self.by_password(credentials.trim())
            }
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                match self.agents.session_of_token(token.trim()) {
                    Some(session) => Ok(Caller::Session(session)),
                    None => self.auth.bearer(headers).map(Caller::Principal),
                }
            }
            _ => Err(nexus_auth::Error::Unauthorized),
        }
    }

    /// A session by its name and token, the only form that a client which is given just a URL can send; or whoever
    /// else has the token, for the session that they name.
    fn by_password(&self, credentials: &str) -> Result<Caller, nexus_auth::Error> {
        let unauthorized = nexus_auth::Error::Unauthorized;
        let (id, token) = name_and_password(credentials).ok_or(unauthorized)?;
        match self.agents.session_of_token(&token) {
            Some(session) if session.as_str() == id => Ok(Caller::Session(session)),
            Some(_) => Err(nexus_auth::Error::Unauthorized),
            None => self.auth.token(&token).map(Caller::Principal),
        }
    }
}

/// The token that somebody proves themselves by.
pub(super) fn credential(headers: &HeaderMap) -> Option<String> {
    let authorization = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = authorization.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("basic") {
        Some(name_and_password(credentials.trim())?.1)
    } else {
        Some(credentials.trim().to_owned())
    }
}

fn name_and_password(credentials: &str) -> Option<(String, String)> {
    let decoded = BASE64.decode(credentials.as_bytes()).ok()?;
    let (name, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

impl Caller {
    /// Whether they may act as a session: they are it, or they operate.
    pub(super) fn act_as(&self, id: &SessionId) -> Result<(), Problem> {
        match self {
            Self::Session(session) if session == id => Ok(()),
            Self::Session(session) => Err(forbidden(format!("{session} may not act as {id}"))),
            Self::Anybody | Self::Principal(_) => self.operate(),
        }
    }

    /// Whether they may change who is a session.
    pub(super) fn operate(&self) -> Result<(), Problem> {
        match self {
            Self::Anybody => Ok(()),
            Self::Principal(principal) if principal.scopes().has(Scope::Operate) => Ok(()),
            Self::Session(_) | Self::Principal(_) => {
                Err(forbidden("this needs the scope `operate`".to_owned()))
            }
        }
    }

    /// Who reads. Whom nobody knows reads what is for everybody; in open mode they may say who they are.
    pub(super) fn reader(&self, says: Option<&SessionId>) -> Principal {
        let reader = |source| {
            let scopes = [Scope::Read].into_iter().collect();
            Principal::new(source, Publish::Nothing, scopes)
        };
        match (self, says) {
            (Self::Principal(principal), _) => principal.clone(),
            (Self::Session(session), _) => reader(session.source()),
            (Self::Anybody, Some(session)) => reader(session.source()),
            (Self::Anybody, None) => reader(Source::user("anybody")),
        }
    }
}

fn forbidden(detail: String) -> Problem {
    Problem::new(Kind::Forbidden, "not-permitted", detail)
}
