//! Sessions: registering, connecting, finding.

use std::{fmt, sync::Arc};

use nexus_auth::Secret;
use nexus_core::{Command, Digest, NewEvent, Principal, ProtocolEvent, Receipt, sha256};
use serde::Serialize;
use tokio::{
    sync::{OwnedMutexGuard, watch},
    time::Instant,
};

use super::{Handle, leaving::Leaving};
use crate::{
    Error, Match, Profile, SessionId, SessionView,
    board::Session,
    session::{
        activity::Activity,
        kept::{Kept, key},
        matching,
        presence::{Input, Told},
    },
    work::kept::json,
};

/// A connection of a session. The session is connected while it has one; dropping it ends it.
pub struct Connection {
    handle: Handle,
    id: SessionId,
    era: u64,
}

/// Nobody else changes what is kept of the session.
pub(super) struct Entered {
    handle: Handle,
    id: SessionId,
    _guard: OwnedMutexGuard<()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        // Nothing came of it: then there is no such session, and its place is free.
        let mut state = self.handle.board().lock();
        if state
            .sessions
            .get(&self.id)
            .is_some_and(|session| !session.is_kept)
        {
            state.sessions.remove(&self.id);
        }
    }
}

#[derive(Serialize)]
struct Connected<'a> {
    session_id: &'a SessionId,
    role: &'a str,
    capabilities: &'a [String],
}

impl Handle {
    /// Makes a session known, or lets it say anew what it is for; gives its token, which is shown once and
    /// replaces the one before.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::TooMany`], and what the log says.
    pub async fn register(&self, id: &SessionId, profile: Profile) -> Result<Secret, Error> {
        profile.check()?;
        let (handle, id) = (self.clone(), id.clone());
        to_the_end(async move {
            let _gate = handle.enter(&id).await?;
            let token = Secret::generate(handle.log().random());
            let mut kept = handle.kept(&id);
            kept.say(profile);
            kept.set_token(&sha256(token.expose().as_bytes()));
            handle
                .keep(&Principal::nexus(), &id, kept, Command::default())
                .await?;
            Ok(token)
        })
        .await
    }

    /// The session that a token is of: that of its registration, or of its entry in the files.
    #[must_use]
    pub fn session_of_token(&self, token: &str) -> Option<SessionId> {
        self.session_of_digest(&sha256(token.as_bytes()))
    }

    /// The same by the hash of the token, which is all that is kept of it.
    pub(crate) fn session_of_digest(&self, digest: &Digest) -> Option<SessionId> {
        let state = self.board().lock();
        let registered = state.tokens.get(digest);
        registered
            .or_else(|| state.roster.session_of(digest))
            .cloned()
    }

    /// Tells when it may have changed whose a token is, or that a session is known.
    #[must_use]
    pub fn rights_changes(&self) -> watch::Receiver<u64> {
        self.board().lock().rights_changes()
    }

    /// Begins a connection of a session, which is made known if it is not.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::TooMany`], and what the log says.
    pub async fn connect(&self, id: &SessionId, profile: Profile) -> Result<Connection, Error> {
        profile.check()?;
        let (handle, id) = (self.clone(), id.clone());
        to_the_end(async move { handle.connect_now(id, profile).await }).await
    }

    async fn connect_now(&self, id: SessionId, profile: Profile) -> Result<Connection, Error> {
        let _gate = self.enter(&id).await?;
        let before = self.kept(&id);
        let mut kept = before.clone();
        kept.say(profile);
        if let Some(listed) = self.board().lock().roster.profile(&id) {
            kept.fill(listed);
        }
        if self.step(&id, Input::Connect)? == Told::Connected {
            kept.is_connected = true;
            kept.connected_us = Some(self.log().clock().now_us());
            let payload = Connected {
                session_id: &id,
                role: &kept.role,
                capabilities: &kept.capabilities,
            };
            let known = self
                .log()
                .catalogue()
                .known_type(ProtocolEvent::SessionConnected);
            let command = Command {
                events: vec![NewEvent::new(known, json(&payload))],
                changes: vec![Activity::free().put(&id)],
                ..Command::default()
            };
            self.keep(&Self::telling_of(&id), &id, kept, command)
                .await?;
        } else if kept != before {
            self.keep(&Principal::nexus(), &id, kept, Command::default())
                .await?;
        }
        let mut state = self.board().lock();
        let now = Instant::now();
        let grace = state.options.grace;
        // A connection that ended meanwhile counts: it is stepped from where the session is now.
        if let Some(session) = state.sessions.get(&id)
            && let Ok((presence, _)) = session.presence.step(Input::Connect, now, grace)
        {
            state.set_presence(&id, presence, now);
        }
        let era = state.sessions.get(&id).map_or(0, |session| session.era);
        drop(state);
        Ok(Connection {
            handle: self.clone(),
            id,
            era,
        })
    }

    /// Signs a session off: its work is free, its token counts no more, and it is forgotten.
    ///
    /// # Errors
    /// [`Error::UnknownSession`], and what the log says.
    pub async fn sign_off(&self, id: &SessionId) -> Result<(), Error> {
        let (handle, id) = (self.clone(), id.clone());
        to_the_end(async move { handle.leave(&id, Leaving::SignedOff).await }).await
    }

    /// A session.
    ///
    /// # Errors
    /// [`Error::UnknownSession`].
    pub fn session(&self, id: &SessionId) -> Result<SessionView, Error> {
        let view = self.board().lock().view(id);
        view.ok_or_else(|| Error::UnknownSession { id: id.clone() })
    }

    /// Every session that is connected, by name.
    #[must_use]
    pub fn connected(&self) -> Vec<SessionView> {
        let mut views = self.sessions();
        views.retain(|view| view.presence.is_connected());
        views
    }

    /// Every session that is known, by name.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionView> {
        let state = self.board().lock();
        let mut views: Vec<_> = state
            .sessions
            .keys()
            .filter_map(|id| state.view(id))
            .collect();
        drop(state);
        views.sort_by(|a, b| a.id.cmp(&b.id));
        views
    }

    /// The connected sessions that have one of the skills at least, those that fit best first; only those
    /// that are free, if that is asked for.
    #[must_use]
    pub fn find(&self, skills: &[String], only_available: bool) -> Vec<Match> {
        let mut sessions = self.connected();
        if only_available {
            sessions.retain(SessionView::is_available);
        }
        matching::rank(sessions, skills)
    }

    /// Waits until nobody else changes what is kept of a session, and keeps others from it. Makes place for a
    /// session that is not known.
    pub(super) async fn enter(&self, id: &SessionId) -> Result<Entered, Error> {
        loop {
            let gate = self.gate(id)?;
            let guard = gate.clone().lock_owned().await;
            let state = self.board().lock();
            // It was signed off meanwhile, and came back with another gate.
            let is_same = |session: &Session| Arc::ptr_eq(&session.gate, &gate);
            if state.sessions.get(id).is_some_and(is_same) {
                return Ok(Entered {
                    handle: self.clone(),
                    id: id.clone(),
                    _guard: guard,
                });
            }
        }
    }

    fn gate(&self, id: &SessionId) -> Result<Arc<tokio::sync::Mutex<()>>, Error> {
        let mut state = self.board().lock();
        let limit = state.options.sessions_max;
        if !state.sessions.contains_key(id) && state.sessions.len() >= limit {
            return Err(Error::TooMany {
                what: "sessions",
                limit,
            });
        }
        let now_us = self.log().clock().now_us();
        let session = state.sessions.entry(id.clone());
        let session = session.or_insert_with(|| Session::new(Kept::new(now_us)));
        Ok(session.gate.clone())
    }

    pub(super) fn kept(&self, id: &SessionId) -> Kept {
        let state = self.board().lock();
        let kept = state.sessions.get(id).map(|session| session.kept.clone());
        kept.unwrap_or_else(|| Kept::new(self.log().clock().now_us()))
    }

    /// What would be told if that happened to a session.
    pub(super) fn step(&self, id: &SessionId, input: Input) -> Result<Told, Error> {
        let state = self.board().lock();
        let presence = state.sessions.get(id).map(|session| session.presence);
        let presence = presence.unwrap_or(crate::Presence::Offline);
        let stepped = presence.step(input, Instant::now(), state.options.grace);
        stepped.map(|(_, told)| told).map_err(|_| Error::TooMany {
            what: "connections of the session",
            limit: crate::options::CONNECTIONS_PER_SESSION_MAX,
        })
    }

    /// Keeps what a session is now, with a command that goes with it. Whoever calls holds its gate.
    pub(super) async fn keep(
        &self,
        principal: &Principal,
        id: &SessionId,
        kept: Kept,
        mut command: Command,
    ) -> Result<Receipt, Error> {
        command.changes.push(kept.put(id));
        match self.log().submit(principal, command).await {
            // It was said before, and may not be so any more.
            Ok(receipt) if receipt.replayed => Ok(receipt),
            Ok(receipt) => {
                self.board().lock().set_kept(id, kept);
                self.board().known.notify_one();
                self.caught_up(receipt.last).await;
                Ok(receipt)
            }
            Err(error) => {
                // It may be in the log all the same.
                let record = self.log().record(&key(id)).await?;
                if let Some(kept) = record.as_ref().and_then(Kept::read) {
                    self.board().lock().set_kept(id, kept);
                }
                Err(error.into())
            }
        }
    }
}

impl Connection {
    /// Whose it is.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// A sign of life: the work of the session is held for another while.
    pub fn heard(&self) {
        self.handle.board().lock().heard(&self.id, Instant::now());
    }

    /// Whether it still counts: a session that was signed off has no connection.
    #[must_use]
    pub fn counts(&self) -> bool {
        let state = self.handle.board().lock();
        state
            .sessions
            .get(&self.id)
            .is_some_and(|session| session.era == self.era)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let board = self.handle.board();
        let mut state = board.lock();
        let (now, grace) = (Instant::now(), state.options.grace);
        let Some(session) = state.sessions.get(&self.id) else {
            return;
        };
        if session.era == self.era
            && let Ok((presence, _)) = session.presence.step(Input::Disconnect, now, grace)
        {
            state.set_presence(&self.id, presence, now);
        }
        drop(state);
        board.sooner.notify_one();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Does something to its end, also when the caller goes away: what the log was told, the board has to know.
pub(super) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::spawn(work).await {
        Ok(done) => done,
        Err(_) => Err(Error::Log(nexus_core::Error::OutcomeUnknown)),
    }
}
