//! What the files are told: what happened since they were written, and how everything stands now.

use std::collections::{HashMap, HashSet, VecDeque};

use nexus_core::{CursorPage, Error as LogError, Event, Key, Position, Seq};
use serde::Deserialize;

use crate::{
    Error, Handle, SessionId, Status,
    files::{
        card::Card,
        folder::Round,
        note::{self, Note},
        place::{self, Reading},
    },
    session::activity::{ACTIVITY, Activity},
    work::kept,
};

/// So many files may wait to be written before no further event is read.
const NOTES_MAX: usize = 10_000;
/// So many heartbeats are written at once: what happens meanwhile does not wait for those of a thousand sessions.
const BEATS_AT_ONCE: usize = 50;
/// How far the log may go on without anything for the files until that is noted.
const PASSED_MAX: u64 = 10_000;

/// Follows the log for the files.
#[derive(Debug)]
pub(crate) struct Follower {
    agents: Handle,
    notes: VecDeque<Note>,
    /// Heartbeats that are due. They wait for what happened.
    beats: VecDeque<Note>,
    /// Sessions of which something was heard that the files do not say yet.
    touched: HashMap<SessionId, Touch>,
    /// When each session was last heard of, in microseconds since 1970.
    heard: HashMap<SessionId, i64>,
    reading: Reading,
    settled: Seq,
    /// Whether anything was read for the files since it was noted how far they are.
    is_news: bool,
}

/// What was heard of a session.
#[derive(Debug, Clone, Copy)]
struct Touch {
    at_us: i64,
    is_gone: bool,
}

/// What the events of sessions say of whom.
#[derive(Deserialize)]
struct Who {
    session_id: SessionId,
}

impl Follower {
    pub(crate) fn new(agents: Handle, begins: Position) -> Self {
        Self {
            agents,
            notes: VecDeque::new(),
            beats: VecDeque::new(),
            touched: HashMap::new(),
            heard: HashMap::new(),
            reading: Reading::behind(begins.seq),
            settled: begins.seq,
            is_news: false,
        }
    }

    pub(crate) fn agents(&self) -> &Handle {
        &self.agents
    }

    /// Whether more may be read before something is written.
    pub(crate) fn has_room(&self) -> bool {
        self.notes.len() < NOTES_MAX
    }

    /// Takes what was read; whether the files have to be written.
    pub(crate) fn take(&mut self, page: &CursorPage) -> bool {
        for event in &page.events {
            self.take_event(event);
        }
        self.reading.reach(page.through);
        self.is_news |= !page.events.is_empty();
        let passed = page.through.get().saturating_sub(self.settled.get());
        !page.events.is_empty() || passed > PASSED_MAX
    }

    fn take_event(&mut self, event: &Event) {
        self.reading.take(event.seq, event.time_us);
        self.notes.extend(note::of_event(event));
        let is_gone = event.topic.as_str() == "session.disconnected";
        if let Some(id) = whose(event) {
            self.heard.insert(id.clone(), event.time_us);
            let at_us = event.time_us;
            self.touched.insert(id, Touch { at_us, is_gone });
        }
    }

    /// Gives every session that is connected a heartbeat.
    pub(crate) fn beat(&mut self) {
        let now_us = self.agents.log().clock().now_us();
        // Those that could not be written until now would say nothing more.
        self.beats.clear();
        for session in self.agents.connected() {
            let work = session.current_work.as_deref();
            let beat = note::still_there(&session.id, work, now_us);
            self.beats.push_back(beat);
            self.heard.insert(session.id, now_us);
        }
    }

    /// What is to be written now.
    pub(crate) async fn begin(&mut self) -> Result<Round, Error> {
        // What was heard of is on the board before it is asked how everything stands.
        self.agents.caught_up(self.reading.through()).await;
        let mut cards: Vec<Card> = self
            .agents
            .sessions()
            .into_iter()
            .map(|view| {
                let heard_us = self.heard.get(&view.id).copied();
                Card::of(view, heard_us)
            })
            .collect();
        let known: HashSet<&SessionId> = cards.iter().map(|card| &card.id).collect();
        let unknown = self.touched.iter();
        let unknown = unknown.filter(|(id, _)| !known.contains(id));
        let mut strangers = Vec::new();
        for (id, touch) in unknown {
            strangers.extend(self.stranger(id, *touch).await?);
        }
        cards.extend(strangers);
        Ok(Round {
            notes: std::mem::take(&mut self.notes),
            beats: self
                .beats
                .drain(..BEATS_AT_ONCE.min(self.beats.len()))
                .collect(),
            cards,
        })
    }

    /// What is said of somebody who claimed work or told a status without ever being connected, and of who was
    /// signed off; nothing of who only spoke.
    async fn stranger(&self, id: &SessionId, touch: Touch) -> Result<Option<Card>, LogError> {
        let key = Key::new(ACTIVITY, id.shared());
        let record = self.agents.log().record(&key).await?;
        let activity = record.as_ref().and_then(Activity::read);
        if activity.is_none() && !touch.is_gone {
            return Ok(None);
        }
        let is_added = activity.is_some();
        let doing = activity.map_or((Status::Inactive, None), |activity| {
            let work = activity.current_work.map(|work| work.to_string());
            (activity.status, work)
        });
        Ok(Some(Card {
            id: id.clone(),
            role: None,
            goal: None,
            capabilities: Vec::new(),
            doing: Some(doing),
            heard_us: Some(touch.at_us),
            registered_us: touch.at_us,
            is_added,
        }))
    }

    /// Takes back what was not written.
    pub(crate) fn end(&mut self, round: Round) {
        for note in round.notes.into_iter().rev() {
            self.notes.push_front(note);
        }
        for beat in round.beats.into_iter().rev() {
            self.beats.push_front(beat);
        }
    }

    /// Whether heartbeats are left to be written.
    pub(crate) fn has_beats(&self) -> bool {
        !self.beats.is_empty()
    }

    /// Notes how far the files are where the log went on without anything for them: retention waits for them. Only
    /// for when everything that was read is in the files.
    pub(crate) async fn pass(&mut self) {
        self.is_news = true;
        self.settle().await;
    }

    /// Everything that was read is in the files: notes how far they are. That it could not be noted means only that
    /// it is written once more.
    pub(crate) async fn settle(&mut self) {
        self.touched.clear();
        let log = self.agents.log().clone();
        let known: HashSet<SessionId> =
            self.agents.sessions().into_iter().map(|it| it.id).collect();
        self.heard.retain(|id, _| known.contains(id));
        let settled = self.reading.settled(log.head().seq);
        let passed = settled.get().saturating_sub(self.settled.get());
        if settled <= self.settled || (!self.is_news && passed <= PASSED_MAX) {
            return;
        }
        let position = log.position(settled);
        match place::note(&self.agents, position).await {
            Ok(()) => {
                self.settled = settled;
                self.is_news = false;
            }
            Err(LogError::Closed) => {}
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "it could not be noted how far the files of agents are"
            ),
        }
    }
}

/// The session that an event tells of; nothing if it tells of none.
fn whose(event: &Event) -> Option<SessionId> {
    match event.topic.as_str() {
        "session.connected" | "session.disconnected" => {
            let who: Who = serde_json::from_slice(&event.payload).ok()?;
            Some(who.session_id)
        }
        "work.claimed" | "work.released" | "work.completed" | "work.expired" => {
            Some(kept::payload(event)?.claimed_by)
        }
        _ => SessionId::of_source(&event.source),
    }
}
