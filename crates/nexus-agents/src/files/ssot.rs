//! `SSOT.json`: the members that the bus keeps in it, and everything else as it was found.

use nexus_core::iso8601;
use serde_json::{Value, json};

use crate::files::{
    card::Card,
    document::Document,
    entries::{self, Numbers},
};

/// Puts every card into the file, under its number. Nothing if it is no object, or its sessions are not where they belong;
/// `is_forced` says that those were kept elsewhere, and may go. The text; nothing in it if nothing changed.
pub(crate) fn merge(
    found: &str,
    cards: &[Card],
    numbers: &Numbers,
    now_us: i64,
    is_forced: bool,
) -> Option<Option<String>> {
    const SESSIONS: &str = "claude_sessions";
    let mut document = Document::parse(found)?;
    let sessions = document.get(SESSIONS).filter(|text| *text != "null");
    let is_missing = sessions.is_none();
    let merged = match entries::merge(sessions.unwrap_or("{}"), 1, cards, numbers, now_us) {
        Some(merged) => merged,
        None if is_forced => entries::merge("{}", 1, cards, numbers, now_us)?,
        None => return None,
    };
    match merged.written {
        Some(written) => document.set_written(SESSIONS, written),
        None if is_missing => document.set_written(SESSIONS, "{}".to_owned()),
        None => {}
    }
    let found = document.get("session_count").unwrap_or("{}").to_owned();
    let mut count = Document::parse(&found).unwrap_or_default();
    count.set("registered", &json!(merged.count.registered));
    count.set("active", &json!(merged.count.active));
    count.set("idle", &json!(merged.count.idle));
    if count.is_changed() {
        document.set_written("session_count", count.write(1));
    }
    if document.is_changed() || document.text("last_update").is_none() {
        document.set("last_update", &Value::from(iso8601(now_us)));
    }
    Some(document.is_changed().then(|| document.write(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::card::tests::card;

    const NOW_US: i64 = 1_763_704_900_000_000;

    fn merged(found: &str, ids: &[&str]) -> Value {
        let cards: Vec<Card> = ids.iter().map(|id| card(id)).collect();
        let text = merge(found, &cards, &Numbers::new(), NOW_US, false)
            .unwrap()
            .unwrap();
        assert_eq!(
            merge(&text, &cards, &Numbers::new(), NOW_US + 1, false),
            Some(None)
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_new_file_has_what_the_bus_keeps() {
        let file = merged("{}", &["session-5"]);
        assert_eq!(file["last_update"], "2025-11-21T06:01:40.000000Z");
        let count = json!({"registered": 1, "active": 1, "idle": 0});
        assert_eq!(file["session_count"], count);
        assert_eq!(file["claude_sessions"]["5"]["session_id"], "session-5");
        assert_eq!(merged("{}", &[])["claude_sessions"], json!({}));
    }

    #[test]
    fn everything_else_is_left_as_found() {
        let found = r#"{"last_update":"2025-11-21T08:15:21Z","session_count":{"total_processes":3,"registered":23,
            "unregistered":-20,"active":1,"idle":2},"terminals":["s000","s001"],
            "claude_sessions":{"2":{"session_id":"session-2","status":"idle","terminal":"s002"}},
            "services":{"total":2,"price":1.10}}"#;
        let text = merge(found, &[card("session-5")], &Numbers::new(), NOW_US, false)
            .unwrap()
            .unwrap();
        assert!(text.contains("\"price\":1.10"), "{text}");
        let file: Value = serde_json::from_str(&text).unwrap();
        let count =
            json!({"total_processes":3,"registered":2,"unregistered":-20,"active":1,"idle":1});
        assert_eq!(file["session_count"], count);
        assert_eq!(file["terminals"], json!(["s000", "s001"]));
        assert_eq!(file["claude_sessions"]["2"]["terminal"], "s002");
    }

    #[test]
    fn sessions_that_are_no_object_are_kept_until_they_are_kept_elsewhere() {
        let found = r#"{"claude_sessions":[{"session_id":"session-1"}],"session_count":14,"last_update":7}"#;
        assert_eq!(merge(found, &[], &Numbers::new(), NOW_US, false), None);
        let text = merge(found, &[card("session-5")], &Numbers::new(), NOW_US, true)
            .unwrap()
            .unwrap();
        let file: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(file["session_count"]["registered"], 1);
        assert_eq!(merge("[]", &[], &Numbers::new(), NOW_US, true), None);
    }
}
