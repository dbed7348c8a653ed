//! The files of the agents when the daemon is killed again and again while it writes them.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use serde_json::{Value, json};

use super::{Bus, Identity, Mode};
use crate::{crash::is_deep, support::until};

/// As another tool left it.
const SESSIONS: &str =
    r#"{"9": {"session_id": "session-9", "status": "active", "terminal": "s009", "cost": 1.10}}"#;

/// What a file says that was written once, by its folder: how often each is there.
type Notes = BTreeMap<(String, String), usize>;

/// Lets two sessions do something of everything that becomes a file.
fn burst(bus: &Bus, round: usize) {
    let [one, two] = ["session-1", "session-2"].map(|id| bus.identity(id));
    let post = |by: &Identity, path: &str, body: &Value| {
        let (status, answer) = bus.post(by, path, body);
        assert_eq!(status, 200, "{path}: {answer}");
    };
    let say = |by: &Identity, event_type: &str, payload: Value| {
        let body = json!({ "event_type": event_type, "session_id": by.id, "payload": payload });
        post(by, "/events", &body);
    };
    let work = json!({ "session_id": one.id, "work_id": format!("w{round}"), "work_description": "Do it" });
    post(&one, "/work/claim", &work);
    for n in 0..8 {
        let message = format!("{round}.{n}");
        say(&one, "message.broadcast", json!({ "message": message }));
        say(
            &two,
            "message.direct",
            json!({ "to": one.id, "message": message }),
        );
    }
    post(&one, "/work/complete", &work);
    let task = json!({ "status": "working", "task": format!("round {round}") });
    say(&two, "status.update", task);
}

/// What the log says that has to be there.
fn expected(bus: &Bus) -> Notes {
    let mut notes = Notes::new();
    let mut add = |folder: &str, what: &Value| {
        let note = (folder.to_owned(), what.as_str().unwrap().to_owned());
        *notes.entry(note).or_default() += 1;
    };
    // Who is one of the two ends of what is said directly.
    let messages = bus.read("/events/history?event_type=message.*&session_id=session-1&limit=1000");
    for event in messages["events"].as_array().unwrap() {
        let folder = match event["payload"]["to"].as_str() {
            Some(to) => format!("messages/direct/{to}"),
            None => "messages/broadcast".to_owned(),
        };
        add(&folder, &event["payload"]["message"]);
    }
    for event in bus.history("work.*") {
        let action = event["event_type"].as_str().unwrap().replace("work.", "");
        let work_id = event["payload"]["work_id"].as_str().unwrap();
        add("heartbeats", &json!(format!("{action} {work_id}")));
    }
    notes
}

/// What is there; nothing while something is half written.
fn found(root: &Path) -> Option<Notes> {
    let mut notes = Notes::new();
    for folder in [
        "messages/broadcast",
        "messages/direct/session-1",
        "heartbeats",
    ] {
        for entry in fs::read_dir(root.join(folder)).ok()? {
            let path = entry.ok()?.path();
            // Whatever has a name is whole, also in the moment after a kill.
            if path.extension().is_some_and(|end| end == "json") {
                let text = fs::read_to_string(&path).ok()?;
                let file: Value = serde_json::from_str(&text).unwrap();
                let what = match file["message"].as_str() {
                    Some(message) => message.to_owned(),
                    None => format!("{} {}", file["action"].as_str()?, file["target"].as_str()?),
                };
                *notes.entry((folder.to_owned(), what)).or_default() += 1;
            }
        }
    }
    Some(notes)
}

/// Both files at this moment, which are whole at every moment.
fn entries(root: &Path) -> [Value; 2] {
    let read = |name| fs::read(root.join(name)).unwrap();
    let parse = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).unwrap();
    let ssot = parse(read("SSOT.json"));
    [
        parse(read("claude_sessions.json")),
        ssot["claude_sessions"].clone(),
    ]
}

#[test]
fn files_are_put_right_after_every_kill() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data/coordination");
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("claude_sessions.json"), SESSIONS).unwrap();
    let mut bus = Bus::within(Mode::Open, Bus::options(Mode::Open), folder);
    until("the first files", || found_any(&root));
    let rounds = if is_deep() { 40 } else { 8 };
    for round in 0..rounds {
        burst(&bus, round);
        // Somewhere between the first of it and the last that is written.
        let moment = u64::try_from(round % 16).unwrap();
        super::bus::pass(Duration::from_millis(90 + 13 * moment));
        bus.daemon.process().kill();
        let (_, options, folder) = bus.daemon.end();
        let [sessions, _] = entries(&root);
        assert_eq!(sessions["9"]["terminal"], "s009");
        bus = Bus::within(Mode::Open, options, folder);
    }
    let expected = expected(&bus);
    assert!(
        expected.len() >= 18 * rounds,
        "{} are expected",
        expected.len()
    );
    let last = format!("round {}", rounds - 1);
    until("the files equal the log", || {
        let settled = entries(&root).iter().all(|entries| {
            entries["1"]["status"] == "active"
                && entries["1"]["current_work"].is_null()
                && entries["2"]["current_work"] == *last
        });
        (settled && found(&root).as_ref() == Some(&expected)).then_some(())
    });
    let [sessions, _] = entries(&root);
    let before: Value = serde_json::from_str(SESSIONS).unwrap();
    assert_eq!(sessions["9"], before["9"]);
    for folder in [
        "",
        "heartbeats",
        "messages/broadcast",
        "messages/direct/session-1",
    ] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.starts_with('.') && !name.contains("broken"), "{name}");
        }
    }
}

fn found_any(root: &Path) -> Option<()> {
    root.join("SSOT.json").exists().then_some(())
}
