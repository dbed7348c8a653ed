//! What each event of the log changes on the board. Applying one again changes nothing more.

use nexus_core::Event;
use serde::Deserialize;
use tokio::time::Instant;

use crate::{SessionId, board::State, session::activity::Activity, work::kept};

/// What the events of sessions say of whom.
#[derive(Deserialize)]
struct Who {
    session_id: SessionId,
}

impl State {
    /// Takes over what an event says.
    pub(crate) fn apply(&mut self, event: &Event, now: Instant) {
        if let Some(id) = SessionId::of_source(&event.source) {
            self.seen(&id, event.time_us);
        }
        match event.topic.as_str() {
            "work.claimed" => self.claimed(event, now),
            "work.released" | "work.completed" | "work.expired" => self.ended(event),
            "session.connected" => self.came_or_went(event, Activity::free()),
            "session.disconnected" => self.came_or_went(event, Activity::gone()),
            "status.update" => {
                let id = SessionId::of_source(&event.source);
                if let (Some(id), Some(activity)) = (id, Activity::said(&event.payload)) {
                    self.set_activity(&id, activity);
                }
            }
            _ => {}
        }
    }

    fn claimed(&mut self, event: &Event, now: Instant) {
        let Some(claim) = kept::granted(event) else {
            return;
        };
        // A claim that was read from the records at the start is not younger for being told again.
        let is_older = |token| token >= claim.token;
        let known = self.work.get(&claim.work_id);
        if known.is_some_and(|held| is_older(held.claim.token)) {
            return;
        }
        self.seen(&claim.claimed_by, event.time_us);
        self.set_activity(&claim.claimed_by, Activity::working(&claim.description));
        self.hold(claim, now);
    }

    fn ended(&mut self, event: &Event) {
        let Some(payload) = kept::payload(event) else {
            return;
        };
        let token = payload.fencing_token;
        let held = self.work.get(&payload.work_id);
        if held.is_none_or(|held| Some(held.claim.token.get()) != token) {
            return;
        }
        self.work.remove(&payload.work_id);
        self.forget_claim(&payload.claimed_by, &payload.work_id);
        self.set_activity(&payload.claimed_by, Activity::free());
        if event.topic.as_str() == "work.completed" {
            self.seen(&payload.claimed_by, event.time_us);
        }
    }

    fn came_or_went(&mut self, event: &Event, activity: Activity) {
        if let Ok(who) = serde_json::from_slice::<Who>(&event.payload) {
            self.seen(&who.session_id, event.time_us);
            self.set_activity(&who.session_id, activity);
        }
    }

    fn seen(&mut self, id: &SessionId, time_us: i64) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.last_event_us = session.last_event_us.max(Some(time_us));
        }
    }

    pub(crate) fn set_activity(&mut self, id: &SessionId, activity: Activity) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.activity = activity;
        }
    }
}
