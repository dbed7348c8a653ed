//! The files that are written once: a heartbeat, a message. Made from events, the same at every time.

use std::path::PathBuf;

use nexus_core::{Event, iso8601};
use serde::{Deserialize, Serialize};

use crate::{
    SessionId,
    files::name::{stem, who},
    work::kept,
};

/// What a session that does nothing in particular is connected to.
const BUS: &str = "nexus-event-bus";

/// A file that is written once, under the first free name of its second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// Where it belongs, below the folder of all files.
    pub(crate) folder: PathBuf,
    /// With what its name begins.
    pub(crate) stem: String,
    /// Whose it is.
    pub(crate) who: String,
    pub(crate) text: String,
}

#[derive(Serialize, Deserialize)]
struct Heartbeat {
    session_id: String,
    timestamp: String,
    action: String,
    target: String,
}

#[derive(Serialize, Deserialize)]
struct Message {
    from: String,
    to: String,
    timestamp: String,
    subject: String,
    message: String,
    priority: String,
}

/// What the events of messages say.
#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    to: Option<String>,
    message: String,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default)]
    priority: Option<String>,
}

/// What the events of sessions say of whom.
#[derive(Deserialize)]
struct Who {
    session_id: SessionId,
}

/// The folder of heartbeats.
pub(crate) const HEARTBEATS: &str = "heartbeats";
/// The folder of messages to everybody.
pub(crate) const BROADCAST: &str = "messages/broadcast";
/// The folder with a folder for each session that was sent messages.
pub(crate) const DIRECT: &str = "messages/direct";

/// The file that an event makes; nothing if it makes none, or was erased.
pub(crate) fn of_event(event: &Event) -> Option<Note> {
    match event.topic.as_str() {
        "session.connected" => came_or_went(event, "connected"),
        "session.disconnected" => came_or_went(event, "disconnected"),
        "work.claimed" => work(event, "claimed"),
        "work.completed" => work(event, "completed"),
        "message.broadcast" => {
            let said: Said = serde_json::from_slice(&event.payload).ok()?;
            let folder = PathBuf::from(BROADCAST);
            Some(message(event, folder, "broadcast", said))
        }
        "message.direct" => {
            let said: Said = serde_json::from_slice(&event.payload).ok()?;
            // The name of a session is one step of a path, and never one upwards.
            let to = SessionId::parse(said.to.as_deref()?).ok()?;
            let folder = PathBuf::from(DIRECT).join(to.as_str());
            Some(message(event, folder, to.as_str(), said))
        }
        _ => None,
    }
}

/// The heartbeat of a session that is connected.
pub(crate) fn still_there(id: &SessionId, current_work: Option<&str>, time_us: i64) -> Note {
    heartbeat(id, time_us, "heartbeat", current_work.unwrap_or(BUS))
}

fn came_or_went(event: &Event, action: &str) -> Option<Note> {
    let who: Who = serde_json::from_slice(&event.payload).ok()?;
    Some(heartbeat(&who.session_id, event.time_us, action, BUS))
}

fn work(event: &Event, action: &str) -> Option<Note> {
    let payload = kept::payload(event)?;
    let target = payload.work_id.as_str();
    Some(heartbeat(
        &payload.claimed_by,
        event.time_us,
        action,
        target,
    ))
}

fn heartbeat(id: &SessionId, time_us: i64, action: &str, target: &str) -> Note {
    Note {
        folder: PathBuf::from(HEARTBEATS),
        stem: stem(time_us),
        who: id.to_string(),
        text: text(&Heartbeat {
            session_id: id.to_string(),
            timestamp: iso8601(time_us),
            action: action.to_owned(),
            target: target.to_owned(),
        }),
    }
}

fn message(event: &Event, folder: PathBuf, to: &str, said: Said) -> Note {
    let source = event.source.as_str();
    let from = source.strip_prefix("session:").unwrap_or(source);
    Note {
        folder,
        stem: stem(event.time_us),
        who: who(&event.source),
        text: text(&Message {
            from: from.to_owned(),
            to: to.to_owned(),
            timestamp: iso8601(event.time_us),
            subject: said.subject.unwrap_or_default(),
            message: said.message,
            priority: said.priority.unwrap_or_else(|| "normal".to_owned()),
        }),
    }
}

/// Whether a file is a heartbeat that the bus wrote: to the byte what it would write again, under a name that
/// begins with the same second.
pub(crate) fn is_our_heartbeat(stem_found: &str, text_found: &str) -> bool {
    const ACTIONS: [&str; 5] = [
        "connected",
        "disconnected",
        "claimed",
        "completed",
        "heartbeat",
    ];
    let Ok(read) = serde_json::from_str::<Heartbeat>(text_found) else {
        return false;
    };
    is_of_second(stem_found, &read.timestamp)
        && ACTIONS.contains(&read.action.as_str())
        && text(&read) == text_found
}

/// The same of a message.
pub(crate) fn is_our_message(stem_found: &str, text_found: &str) -> bool {
    let Ok(read) = serde_json::from_str::<Message>(text_found) else {
        return false;
    };
    is_of_second(stem_found, &read.timestamp) && text(&read) == text_found
}

fn is_of_second(stem_found: &str, timestamp: &str) -> bool {
    let time_us = nexus_core::parse_iso8601_us(timestamp);
    time_us.is_some_and(|time_us| stem(time_us) == stem_found)
}

/// Text and names always serialise.
fn text(value: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::path::Component;

    use nexus_core::{Seq, Source, Topic};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn event(topic: &str, source: Source, payload: &Value) -> Event {
        Event {
            seq: Seq::new(1),
            id: "0199-0000-7000-8000-000000000000"
                .parse()
                .unwrap_or_default(),
            topic: Topic::parse(topic).unwrap(),
            source,
            key: None,
            time_us: 1_763_704_800_123_456,
            causes: "{}".into(),
            payload: payload.to_string().into(),
        }
    }

    fn read(note: &Note) -> Value {
        serde_json::from_str(&note.text).unwrap()
    }

    #[test]
    fn a_claim_is_a_heartbeat_of_who_claimed() {
        let payload = json!({"work_id": "w/1", "work_description": "Do it", "claimed_by": "session-5",
            "claimed_at": "2025-11-21T06:00:00Z"});
        let note = of_event(&event(
            "work.claimed",
            Source::session("session-5"),
            &payload,
        ))
        .unwrap();
        assert_eq!(note.folder, PathBuf::from("heartbeats"));
        assert_eq!(
            (note.stem.as_str(), note.who.as_str()),
            ("2025-11-21_06-00-00", "session-5")
        );
        assert_eq!(
            read(&note),
            json!({"session_id": "session-5", "timestamp": "2025-11-21T06:00:00.123456Z",
                "action": "claimed", "target": "w/1"})
        );
        assert!(is_our_heartbeat(&note.stem, &note.text));
    }

    #[test]
    fn messages_are_filed_by_who_gets_them() {
        let payload = json!({"message": "hi", "to": "session-7", "priority": "high"});
        let broadcast = event("message.broadcast", Source::session("session-5"), &payload);
        let broadcast = of_event(&broadcast).unwrap();
        assert_eq!(broadcast.folder, PathBuf::from("messages/broadcast"));
        assert_eq!(
            read(&broadcast),
            json!({"from": "session-5", "to": "broadcast", "timestamp": "2025-11-21T06:00:00.123456Z",
                "subject": "", "message": "hi", "priority": "high"})
        );
        let direct = of_event(&event("message.direct", Source::node("flow"), &payload)).unwrap();
        assert_eq!(direct.folder, PathBuf::from("messages/direct/session-7"));
        assert_eq!(
            (read(&direct)["from"].as_str(), direct.who.as_str()),
            (Some("node:flow"), "node-flow")
        );
        for topic in ["work.released", "status.update", "help.needed"] {
            assert_eq!(
                of_event(&event(topic, Source::nexus(), &payload)),
                None,
                "{topic}"
            );
        }
        let erased = event("message.broadcast", Source::nexus(), &Value::Null);
        assert_eq!(of_event(&erased), None);
    }

    #[test]
    fn heartbeats_of_others_are_not_ours() {
        let ours = still_there(&SessionId::parse("s").unwrap(), None, 1_763_704_800_000_000);
        assert!(is_our_heartbeat(&ours.stem, &ours.text));
        assert!(!is_our_heartbeat("2025-11-21_06-00-01", &ours.text));
        assert!(!is_our_heartbeat(&ours.stem, ours.text.trim_end()));
        let started = ours.text.replace("\"heartbeat\"", "\"started\"");
        assert!(!is_our_heartbeat(&ours.stem, &started));
        let more = ours.text.replace("\n}", ",\n  \"phase\": \"ACTIVE\"\n}");
        assert!(!is_our_heartbeat(&ours.stem, &more));
        assert!(!is_our_heartbeat(&ours.stem, "{"));
    }

    proptest! {
        /// Whoever writes to whom, the file is below the folder that it belongs to.
        #[test]
        fn a_note_is_filed_inside_its_folder(to in "\\PC{0,12}|[a-z./]{0,12}", from in "\\PC{0,12}") {
            let payload = json!({"message": "m", "to": to});
            let note = of_event(&event("message.direct", Source::node(&from), &payload));
            if let Some(note) = note {
                prop_assert!(note.folder.starts_with("messages/direct"));
                prop_assert!(note.folder.components().all(|part| matches!(part, Component::Normal(_))));
                prop_assert!(!note.who.contains('/'));
            }
        }
    }
}
