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
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    AgentsOptions, SessionId, SessionView, WorkId,
    board::deadlines::{Deadlines, Due},
    files::roster::Roster,
    session::{Presence, activity::Activity, kept::Kept},
    work::{Claim, Term},
};

/// The board, shared by the handles and the service.
#[derive(Debug)]
pub(crate) struct Board {
    state: Mutex<State>,
    /// Told when something may run out earlier than was known.
    pub(crate) sooner: Notify,
    /// Told when a session is known otherwise than before, or no longer.
    pub(crate) known: Notify,
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
    /// What the files say of sessions.
    pub(crate) roster: Roster,
    pub(crate) deadlines: Deadlines,
    /// Told when it may have changed who may be which session, or that there is one.
    rights: watch::Sender<u64>,
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
                roster: Roster::default(),
                deadlines: Deadlines::default(),
                rights: watch::Sender::new(0),
            }),
            sooner: Notify::new(),
            known: Notify::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    /// Says that it may have changed who may be which session.
    pub(crate) fn rights_changed(&self) {
        self.rights.send_modify(|changes| *changes += 1);
    }

    /// Tells when that is so.
    pub(crate) fn rights_changes(&self) -> watch::Receiver<u64> {
        self.rights.subscribe()
    }

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

    /// Claims that ended early leave their deadlines behind, and so do sessions that come and go: those are dropped
    /// before they are most of all.
    fn tidy_deadlines(&mut self) {
        const FEW: usize = 1_024;
        if self.deadlines.len() <= 2 * (self.work.len() + self.sessions.len()) + FEW {
            return;
        }
        let (work, sessions) = (&self.work, &self.sessions);
        self.deadlines.tidy(|at, due| match due {
            Due::Claim(work_id, token) => work
                .get(work_id)
                .is_some_and(|held| held.claim.token == *token),
            // One that comes before the session's time is over finds that it may still come back.
            Due::Session(id) => sessions.get(id).is_some_and(
                |session| matches!(session.presence, Presence::Grace(until) if until <= at),
            ),
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
        self.tidy_deadlines();
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
            // What it holds for a time of its own was held longer as long as it was there.
            Presence::Registered | Presence::Offline => self.look_again(id),
        }
    }

    /// Puts the claims of a session back into the queue, each by its own term.
    fn look_again(&mut self, id: &SessionId) {
        let work = self.claims.get(id).into_iter().flatten();
        for held in work.filter_map(|work_id| self.work.get(work_id)) {
            let due = Due::Claim(held.claim.work_id.clone(), held.claim.token);
            self.deadlines.add(held.until, due);
        }
    }

    /// The sessions that nobody registered, that are not there, hold nothing and were last heard of before a
    /// time, in microseconds since 1970.
    pub(crate) fn strangers(&self, before_us: i64) -> Vec<SessionId> {
        let is_stranger = |id: &SessionId, session: &Session| {
            let last_us = session.last_event_us.or(session.kept.connected_us);
            session.is_kept
                && session.kept.token().is_none()
                && !session.presence.is_connected()
                && last_us.unwrap_or(session.kept.registered_us) < before_us
                && self.claims_of(id) == 0
        };
        let sessions = self.sessions.iter();
        sessions
            .filter(|(id, session)| is_stranger(id, session))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// How many claims a session holds.
    pub(crate) fn claims_of(&self, id: &SessionId) -> usize {
        self.claims.get(id).map_or(0, BTreeSet::len)
    }

    /// A session as others see it.
    pub(crate) fn view(&self, id: &SessionId) -> Option<SessionView> {
        let session = self.sessions.get(id).filter(|session| session.is_kept)?;
        Some(SessionView {
            id: id.clone(),
            role: session.kept.role.clone(),
            goal: session.kept.goal.clone(),
            capabilities: session.kept.capabilities.clone(),
            presence: session.presence,
            status: session.activity.status,
            current_work: session
                .activity
                .current_work
                .as_ref()
                .map(|work| work.to_string()),
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
        if before != token {
            self.rights_changed();
        }
        let session = self.sessions.entry(id.clone());
        let session = session.or_insert_with(|| Session::new(kept.clone()));
        session.kept = kept;
        session.is_kept = true;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn claim(id: &SessionId, term: Term, token: u64) -> Claim {
        Claim {
            work_id: WorkId::parse("w").unwrap(),
            claimed_by: id.clone(),
            description: String::new(),
            claimed_us: 1,
            token: Seq::new(token),
            term,
        }
    }

    fn state(id: &SessionId) -> State {
        let mut state = Board::new(AgentsOptions::default()).state.into_inner();
        state.set_kept(id, Kept::new(1));
        state
    }

    fn until(state: &State) -> Instant {
        state.held_until(&state.work[&WorkId::parse("w").unwrap()])
    }

    proptest! {
        /// Whatever happens to a session while it holds work, its lease is only made longer, and there is
        /// always somebody who looks at it no later than it ends, or sees then that it goes on.
        #[test]
        fn a_lease_only_grows_while_its_session_is_there(
            steps in prop::collection::vec((0..4_usize, 0..40_u64), 1..100), is_bound: bool,
        ) {
            let id = SessionId::parse("me").unwrap();
            let mut state = state(&id);
            let mut now = Instant::now();
            state.set_presence(&id, Presence::Online(1), now);
            let term = if is_bound { Term::Connection } else { Term::Seconds(60) };
            state.hold(claim(&id, term, 1), now);
            for (step, seconds) in steps {
                let before = until(&state);
                now += Duration::from_secs(seconds);
                match step {
                    0 => state.heard(&id, now),
                    1 => {
                        let renewed = state.renew(&WorkId::parse("w").unwrap(), now);
                        prop_assert_eq!(renewed, Some(until(&state)));
                        prop_assert!(until(&state) >= now + state.lasting(term));
                    }
                    2 => state.set_presence(&id, Presence::Online(1), now),
                    _ => {
                        let back = now + state.options.grace;
                        state.set_presence(&id, Presence::Grace(back), now);
                        prop_assert!(until(&state) > back, "it may come back until then");
                    }
                }
                prop_assert!(until(&state) >= before);
                let first = state.deadlines.first();
                prop_assert!(first.is_some_and(|first| first <= until(&state)));
            }
        }
    }

    #[test]
    fn a_claim_that_is_told_again_is_not_younger() {
        let id = SessionId::parse("me").unwrap();
        let (mut state, now) = (state(&id), Instant::now());
        state.hold(claim(&id, Term::Seconds(60), 7), now);
        assert_eq!(until(&state), now + Duration::from_secs(60));
        assert_eq!(state.claims_of(&id), 1);
        state.keep_only(&HashSet::from([Seq::new(7)]));
        assert_eq!(state.claims_of(&id), 1);
        state.keep_only(&HashSet::new());
        assert_eq!((state.claims_of(&id), state.work.len()), (0, 0));
    }

    #[test]
    fn deadlines_of_what_ended_early_are_dropped() {
        let id = SessionId::parse("me").unwrap();
        let (mut state, now) = (state(&id), Instant::now());
        for token in 1..10_000 {
            state.hold(claim(&id, Term::Seconds(60), token), now);
            assert!(state.deadlines.len() < 1_100, "{token}");
        }
        let last = state.deadlines.pop(now + Duration::from_secs(61));
        assert!(last.is_some());
    }

    #[test]
    fn a_session_that_comes_and_goes_leaves_no_deadlines_behind() {
        let id = SessionId::parse("me").unwrap();
        let (mut state, mut now) = (state(&id), Instant::now());
        state.hold(claim(&id, Term::Seconds(60), 1), now);
        let grace = state.options.grace;
        for time in 0..10_000 {
            now += Duration::from_millis(1);
            let last = now + grace;
            for presence in [
                Presence::Online(1),
                Presence::Grace(last),
                Presence::Offline,
                Presence::Online(1),
                Presence::Grace(last),
            ] {
                state.set_presence(&id, presence, now);
                assert!(state.deadlines.len() < 1_100, "{time}");
            }
        }
        let mut due = std::iter::from_fn(|| state.deadlines.pop(now + grace));
        assert!(due.any(|due| due == Due::Session(id.clone())));
        let mut due = std::iter::from_fn(|| state.deadlines.pop(now + Duration::from_secs(60)));
        assert!(due.any(|due| matches!(due, Due::Claim(..))));
    }

    #[test]
    fn a_token_counts_until_it_is_replaced() {
        let id = SessionId::parse("me").unwrap();
        let mut state = state(&id);
        for hash in [[1; 32], [2; 32]] {
            let mut kept = Kept::new(1);
            kept.set_token(&hash);
            state.set_kept(&id, kept);
            assert_eq!(state.tokens.len(), 1);
            assert_eq!(state.tokens.get(&hash), Some(&id));
        }
        state.set_kept(&id, Kept::new(1));
        assert!(state.tokens.is_empty());
    }
}
