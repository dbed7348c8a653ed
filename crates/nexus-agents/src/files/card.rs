//! What the bus says of a session in the files, and how it is put into an entry that may be there already.

use nexus_core::{iso8601, parse_iso8601_us};
use serde_json::{Value, json};

use crate::{
    Presence, SessionId, SessionView, Status, files::document::Document,
    session::kept::ROLE_UNKNOWN,
};

/// A time in a file is not believed that is so far ahead.
const AHEAD_US_MAX: i64 = 60_000_000;

/// What the bus says of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Card {
    pub(crate) id: SessionId,
    /// What it is for; nothing if nobody said.
    pub(crate) role: Option<String>,
    pub(crate) goal: Option<String>,
    pub(crate) capabilities: Vec<String>,
    /// How it is and what it does; nothing if it never came to the bus.
    pub(crate) doing: Option<(Status, Option<String>)>,
    /// When it was last heard of, in microseconds since 1970.
    pub(crate) heard_us: Option<i64>,
    /// When the bus first knew it, in microseconds since 1970.
    pub(crate) registered_us: i64,
    /// Whether an entry is made for it where there is none.
    pub(crate) is_added: bool,
}

impl Card {
    /// What is said of a session that the bus knows.
    pub(crate) fn of(view: SessionView, heard_us: Option<i64>) -> Self {
        let was_never_here =
            view.presence == Presence::Registered && view.status == Status::Inactive;
        Self {
            doing: (!was_never_here).then_some((view.status, view.current_work)),
            role: (view.role != ROLE_UNKNOWN).then_some(view.role),
            goal: view.goal,
            capabilities: view.capabilities,
            heard_us,
            registered_us: view.registered_us,
            is_added: true,
            id: view.id,
        }
    }

    /// Puts it into an entry, under a number. What the bus does not know of stays as it was found.
    pub(crate) fn put_into(&self, entry: &mut Document<'_>, number: u64, now_us: i64) {
        entry.set("session_id", &json!(self.id));
        entry.set("number", &json!(number));
        let role = self.role.clone().or_else(|| entry.text("role"));
        entry.set("role", &json!(role.as_deref().unwrap_or(ROLE_UNKNOWN)));
        if self.goal.is_some() || entry.get("goal").is_none() {
            entry.set("goal", &json!(self.goal));
        }
        match &self.doing {
            Some((status, current_work)) => {
                entry.set("status", &json!(status));
                entry.set("current_work", &json!(current_work));
            }
            // Others may know how it is.
            None => {
                let found = entry.text("status").map(Value::from);
                entry.set("status", &found.unwrap_or(json!(Status::Inactive)));
                if entry.get("current_work").is_none() {
                    entry.set("current_work", &Value::Null);
                }
            }
        }
        let has_list = matches!(entry.value("capabilities"), Value::Array(_));
        if !self.capabilities.is_empty() || !has_list {
            entry.set("capabilities", &json!(self.capabilities));
        }
        self.put_heartbeat(entry, now_us);
        if entry.text("registered_at").is_none() {
            entry.set("registered_at", &json!(iso8601(self.registered_us)));
        }
    }

    /// The later of what was found and what is known: what was heard before a restart is not unheard.
    fn put_heartbeat(&self, entry: &mut Document<'_>, now_us: i64) {
        let found_us = entry
            .text("last_heartbeat")
            .and_then(|text| time_us(&text))
            .filter(|found_us| *found_us <= now_us.saturating_add(AHEAD_US_MAX));
        let known_us = self.heard_us.unwrap_or(self.registered_us);
        if found_us.is_none_or(|found_us| found_us < known_us) {
            entry.set("last_heartbeat", &json!(iso8601(known_us)));
        }
    }
}

/// A time as others write it too: without saying that it is UTC.
fn time_us(text: &str) -> Option<i64> {
    parse_iso8601_us(text).or_else(|| parse_iso8601_us(&format!("{text}Z")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn card(id: &str) -> Card {
        Card {
            id: SessionId::parse(id).unwrap(),
            role: None,
            goal: None,
            capabilities: Vec::new(),
            doing: Some((Status::Active, None)),
            heard_us: None,
            registered_us: 1_763_704_800_000_000,
            is_added: true,
        }
    }

    fn put(card: &Card, found: &str) -> Value {
        let mut entry = Document::parse(found).unwrap();
        card.put_into(&mut entry, 5, 1_763_704_900_000_000);
        serde_json::from_str(&entry.write(1)).unwrap()
    }

    #[test]
    fn a_new_entry_has_every_member() {
        let put = put(&card("session-5"), "{}");
        assert_eq!(
            put,
            json!({
                "session_id": "session-5", "number": 5, "role": "Unknown", "goal": null,
                "status": "active", "current_work": null, "capabilities": [],
                "last_heartbeat": "2025-11-21T06:00:00.000000Z",
                "registered_at": "2025-11-21T06:00:00.000000Z",
            })
        );
    }

    #[test]
    fn what_the_bus_does_not_know_stays() {
        let found = r#"{"session_id":"session-5","number":5,"role":"Nexus","goal":"Build","terminal":"s002",
            "capabilities":["python"],"status":"idle","registered_at":"2025-11-15T22:15:00Z",
            "last_heartbeat":"2025-11-21T06:01:00"}"#;
        let mut working = card("session-5");
        working.doing = Some((Status::Working, Some("Deploy".into())));
        let put = put(&working, found);
        assert_eq!(
            put,
            json!({
                "session_id": "session-5", "number": 5, "role": "Nexus", "goal": "Build",
                "terminal": "s002", "capabilities": ["python"], "status": "working",
                "registered_at": "2025-11-15T22:15:00Z", "last_heartbeat": "2025-11-21T06:01:00",
                "current_work": "Deploy",
            })
        );
    }

    #[test]
    fn what_has_the_wrong_type_is_put_right() {
        let found = r#"{"session_id":5,"number":"5","role":["x"],"status":7,"current_work":{},
            "capabilities":"python","last_heartbeat":1763704800,"registered_at":false,"goal":3}"#;
        let put = put(&card("session-5"), found);
        assert_eq!(put["number"], 5);
        assert_eq!(put["role"], "Unknown");
        assert_eq!(put["capabilities"], json!([]));
        assert_eq!(put["current_work"], Value::Null);
        assert_eq!(put["registered_at"], "2025-11-21T06:00:00.000000Z");
        assert_eq!(put["last_heartbeat"], "2025-11-21T06:00:00.000000Z");
        // Nobody told the bus a goal: what stands there is somebody else's.
        assert_eq!(put["goal"], 3);
    }

    #[test]
    fn who_never_came_is_as_others_say() {
        let mut registered = card("session-5");
        registered.doing = None;
        assert_eq!(
            put(&registered, r#"{"status":"active"}"#)["status"],
            "active"
        );
        assert_eq!(put(&registered, "{}")["status"], "inactive");
    }

    #[test]
    fn a_time_that_is_far_ahead_is_not_believed() {
        let found = r#"{"last_heartbeat":"2099-01-01T00:00:00Z"}"#;
        let put = put(&card("session-5"), found);
        assert_eq!(put["last_heartbeat"], "2025-11-21T06:00:00.000000Z");
    }
}
