//! The board: what is held, who is there, and when something runs out. In memory, fed by the log in order, and
//! made again from its records at each start.

pub(crate) mod applying;
pub(crate) mod deadlines;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use nexus_core::{Digest, Seq};
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::Notify, time::Instant};

use crate::{
    AgentsOptions, SessionId, SessionView, WorkId,
    board::deadlines::{Deadlines, Due},
    session::{Presence, activity::Activity, kept::Kept},
    work::{Claim, Term},
};

/// The board, shared by the handles and the service.
#[derive(Debug)]
pub(crate) struct Board {
    state: Mutex<State>,
    /// Told when something may run out earlier than was known.
    pub(crate) sooner: Notify,
}

/// What is on the board.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) options: AgentsOptions,
    pub(crate) work: HashMap<WorkId, Held>,
    /// What each session holds; no empty sets.
    pub(crate) claims: HashMap<SessionId, BTreeSet<WorkId>>,
    pub(crate) sessions: HashMap<SessionId, Session>,
    pub(crate) tokens: HashMap<Digest, SessionId>,
    pub(crate) deadlines: Deadlines,
}

/// A claim that is held.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) claim: Claim,
    /// Until when it is held by its own term.
    until: Instant,
    /// Its lease is over, and the log is being told: it is not renewed any more.
    pub(crate) is_ending: bool,
}

/// A session that is known.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) kept: Kept,
    pub(crate) activity: Activity,
    pub(crate) presence: Presence,
    /// Until when its claims are held without another sign of life.
    heard_until: Instant,
    pub(crate) last_event_us: Option<i64>,
    /// Whether the log knows it: until then there is only its gate.
    pub(crate) is_kept: bool,
    /// Of no other session before or after, also of this name: an older connection ends nothing of a newer one.
    pub(crate) era: u64,
    /// Held by whoever changes what is kept of the session, across the commit.
    pub(crate) gate: Arc<tokio::sync::Mutex<()>>,
}

/// Sessions are told apart by it, also when one is signed off and comes back under its name.
static ERAS: AtomicU64 = AtomicU64::new(0);

impl Session {
    pub(crate) fn new(kept: Kept) -> Self {
        Self {
            kept,
            activity: Activity::gone(),
            presence: Presence::Registered,
            heard_until: Instant::now(),
            last_event_us: None,
            is_kept: false,
            era: ERAS.fetch_add(1, Ordering::Relaxed),
            gate: Arc::default(),
        }
    }
}

impl Board {
    pub(crate) fn new(options: AgentsOptions) -> Self {
        Self {
            state: Mutex::new(State {
                options,
                work: HashMap::new(),
                claims: HashMap::new(),
                sessions: HashMap::new(),
                tokens: HashMap::new(),
                deadlines: Deadlines::default(),
            }),
            sooner: Notify::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// Until when a claim is held, as far as is known now.
    pub(crate) fn held_until(&self, held: &Held) -> Instant {
        let session = self.sessions.get(&held.claim.claimed_by);
        match session.filter(|session| session.presence.is_connected()) {
            Some(session) => held.until.max(session.heard_until),
            None => held.until,
        }
    }

    /// How long a claim lasts from its beginning, or from a renewal.
    pub(crate) fn lasting(&self, term: Term) -> std::time::Duration {
        match term {
            Term::Connection => self.options.silence,
            Term::Seconds(seconds) => std::time::Duration::from_secs(seconds),
        }
    }

    /// By what a session holds what it claims now.
    pub(crate) fn term(&self, id: &SessionId, lease_s: Option<u64>) -> Term {
        let is_online = self
            .sessions
            .get(id)
            .is_some_and(|session| matches!(session.presence, Presence::Online(_)));
        if is_online {
            Term::Connection
        } else {
            Term::Seconds(lease_s.unwrap_or(self.options.lease.as_secs()))
        }
    }

    /// Puts a claim on the board; from now on it lasts.
    pub(crate) fn hold(&mut self, claim: Claim, now: Instant) {
        let until = now + self.lasting(claim.term);
        self.tidy_deadlines();
        self.deadlines
            .add(until, Due::Claim(claim.work_id.clone(), claim.token));
        self.claims
            .entry(claim.claimed_by.clone())
            .or_default()
            .insert(claim.work_id.clone());
        let held = Held {
            until,
            is_ending: false,
            claim,
        };
        if let Some(before) = self.work.insert(held.claim.work_id.clone(), held.clone())
            && before.claim.claimed_by != held.claim.claimed_by
        {
            self.forget_claim(&before.claim.claimed_by, &held.claim.work_id);
        }
    }

    /// Claims that ended early leave their deadlines behind: those are dropped before they are most of all.
    fn tidy_deadlines(&mut self) {
        const FEW: usize = 1_024;
        if self.deadlines.len() <= 2 * (self.work.len() + self.sessions.len()) + FEW {
            return;
        }
        let work = &self.work;
        self.deadlines.retain(|due| match due {
            Due::Claim(work_id, token) => work
                .get(work_id)
                .is_some_and(|held| held.claim.token == *token),
            Due::Session(_) => true,
        });
    }

    /// Lets a claim last anew; until when it is held now.
    pub(crate) fn renew(&mut self, work_id: &WorkId, now: Instant) -> Option<Instant> {
        let term = self.work.get(work_id)?.claim.term;
        let until = now + self.lasting(term);
        let held = self.work.get_mut(work_id)?;
        held.until = held.until.max(until);
        let held = self.work.get(work_id)?;
        Some(self.held_until(held))
    }

    /// Takes every claim off the board that is not among these.
    pub(crate) fn keep_only(&mut self, tokens: &HashSet<Seq>) {
        self.work
            .retain(|_, held| tokens.contains(&held.claim.token));
        let work = &self.work;
        self.claims.retain(|_, claims| {
            claims.retain(|work_id| work.contains_key(work_id));
            !claims.is_empty()
        });
    }

    fn forget_claim(&mut self, id: &SessionId, work_id: &WorkId) {
        if let Some(claims) = self.claims.get_mut(id) {
            claims.remove(work_id);
            if claims.is_empty() {
                self.claims.remove(id);
            }
        }
    }

    /// A sign of life of a session.
    pub(crate) fn heard(&mut self, id: &SessionId, now: Instant) {
        let silence = self.options.silence;
        if let Some(session) = self.sessions.get_mut(id) {
            session.heard_until = session.heard_until.max(now + silence);
        }
    }

    /// What a session became; its claims are held at least as long as it may come back.
    pub(crate) fn set_presence(&mut self, id: &SessionId, presence: Presence, now: Instant) {
        let silence = self.options.silence;
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        session.presence = presence;
        match presence {
            Presence::Online(_) => session.heard_until = session.heard_until.max(now + silence),
            Presence::Grace(until) => {
                session.heard_until = session.heard_until.max(until + silence);
                self.deadlines.add(until, Due::Session(id.clone()));
            }
            Presence::Registered | Presence::Offline => {}
        }
    }

    /// How many claims a session holds.
    pub(crate) fn claims_of(&self, id: &SessionId) -> usize {
        self.claims.get(id).map_or(0, BTreeSet::len)
    }

    /// A session as others see it.
    pub(crate) fn view(&self, id: &SessionId) -> Option<SessionView> {
        let session = self.sessions.get(id).filter(|session| session.is_kept)?;
        let activity = if session.presence.is_connected() {
            session.activity.clone()
        } else {
            Activity::gone()
        };
        Some(SessionView {
            id: id.clone(),
            role: session.kept.role.clone(),
            goal: session.kept.goal.clone(),
            capabilities: session.kept.capabilities.clone(),
            presence: session.presence,
            status: activity.status,
            current_work: activity.current_work.map(|work| work.to_string()),
            claims: self.claims_of(id),
            registered_us: session.kept.registered_us,
            connected_us: session.kept.connected_us,
            last_event_us: session.last_event_us,
        })
    }

    /// Sets what is kept of a session, and by which token it is known.
    pub(crate) fn set_kept(&mut self, id: &SessionId, kept: Kept) {
        let token = kept.token();
        let session = self.sessions.get_mut(id);
        let before = session.as_ref().and_then(|session| session.kept.token());
        if before != token
            && let Some(before) = before
        {
            self.tokens.remove(&before);
        }
        if let Some(token) = token {
            self.tokens.insert(token, id.clone());
        }
        let session = self.sessions.entry(id.clone());
        let session = session.or_insert_with(|| Session::new(kept.clone()));
        session.kept = kept;
        session.is_kept = true;
    }
}
