//! The ways in which a session can claim work and end its claim: all of them come to the same.

use serde_json::{Value, json};

use super::{Bus, Identity, Socket};

/// Something that a session does with work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Claim,
    Renew,
    Release,
    Complete,
}

/// A way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// `POST /work/…`.
    Routes,
    /// `POST /events` with an event about work.
    Events,
    /// A frame for it.
    Frames,
    /// A frame that publishes an event about work.
    Publishing,
}

pub(super) const DOORS: [Door; 4] = [Door::Routes, Door::Events, Door::Frames, Door::Publishing];

/// A session at a door.
pub(super) struct Visitor<'b> {
    bus: &'b Bus,
    door: Door,
    pub(super) who: Identity,
    socket: Option<Socket>,
}

/// What came of an act.
pub(super) enum Outcome {
    /// It was done, as this tells.
    Done(Value),
    /// It was refused with this code.
    Refused(String),
}

impl Act {
    pub(super) const ALL: [Self; 4] = [Self::Claim, Self::Renew, Self::Release, Self::Complete];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Renew => "renew",
            Self::Release => "release",
            Self::Complete => "complete",
        }
    }

    /// What is told when it was done.
    pub(super) fn done(self) -> &'static str {
        match self {
            Self::Claim => "claimed",
            Self::Renew => "renewed",
            Self::Release => "released",
            Self::Complete => "completed",
        }
    }

    /// The event that says it; there is none of a longer lease.
    fn event_type(self) -> Option<String> {
        (self != Self::Renew).then(|| format!("work.{}", self.done()))
    }
}

impl Door {
    /// Whether this can be done there.
    pub(super) fn offers(self, act: Act) -> bool {
        matches!(self, Self::Routes | Self::Frames) || act != Act::Renew
    }

    fn has_socket(self) -> bool {
        matches!(self, Self::Frames | Self::Publishing)
    }
}

impl<'b> Visitor<'b> {
    pub(super) fn new(bus: &'b Bus, door: Door, id: &str) -> Self {
        let who = bus.identity(id);
        let socket = door.has_socket().then(|| Socket::of(bus, &who));
        Self {
            bus,
            door,
            who,
            socket,
        }
    }

    pub(super) fn door(&self) -> Door {
        self.door
    }

    /// Does something with work, under a fencing token if one is given.
    #[track_caller]
    pub(super) fn act(&mut self, act: Act, work_id: &str, token: Option<u64>) -> Outcome {
        let mut members = json!({ "work_id": work_id });
        if let Some(token) = token {
            members["fencing_token"] = json!(token);
        }
        match self.door {
            Door::Routes | Door::Events => self.post(act, members),
            Door::Frames | Door::Publishing => self.say(act, members),
        }
    }

    #[track_caller]
    fn post(&self, act: Act, mut members: Value) -> Outcome {
        let id = self.who.id.as_str();
        let (path, body) = if self.door == Door::Routes {
            members["session_id"] = json!(id);
            (format!("/work/{}", act.name()), members)
        } else {
            let event =
                json!({ "event_type": act.event_type(), "session_id": id, "payload": members });
            ("/events".to_owned(), event)
        };
        let (status, answer) = self.bus.post(&self.who, &path, &body);
        if status == 200 {
            assert_eq!(answer["status"], self.status(act), "{answer}");
            return Outcome::Done(answer);
        }
        let code = answer["code"].as_str().unwrap().to_owned();
        let expected = if code == "not-found" { 404 } else { 409 };
        assert_eq!(status, expected, "{answer}");
        assert!(answer["detail"].is_string(), "{answer}");
        Outcome::Refused(code)
    }

    #[track_caller]
    fn say(&mut self, act: Act, mut members: Value) -> Outcome {
        let frame = if self.door == Door::Frames {
            members["action"] = json!(act.name());
            members
        } else {
            json!({ "action": "publish", "event_type": act.event_type(), "payload": members })
        };
        let expected = self.status(act);
        let answer = self.socket.as_mut().unwrap().ask(frame);
        if answer["event_type"] == "system.ack" {
            assert_eq!(answer["status"], expected, "{answer}");
            return Outcome::Done(answer["payload"].clone());
        }
        assert_eq!(answer["code"], answer["payload"]["code"], "{answer}");
        Outcome::Refused(answer["code"].as_str().unwrap().to_owned())
    }

    /// What it is told when something was done.
    fn status(&self, act: Act) -> &'static str {
        match self.door {
            Door::Routes | Door::Frames => act.done(),
            Door::Events | Door::Publishing => "published",
        }
    }
}

impl Outcome {
    /// The code of the refusal; nothing where it was done.
    pub(super) fn code(&self) -> &str {
        match self {
            Self::Done(_) => "",
            Self::Refused(code) => code,
        }
    }

    /// The token that was told.
    pub(super) fn token(&self) -> Option<u64> {
        match self {
            Self::Done(told) => told["fencing_token"].as_u64(),
            Self::Refused(_) => None,
        }
    }
}
