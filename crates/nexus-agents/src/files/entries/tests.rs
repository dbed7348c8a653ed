//! Whose entry is whose, in files as they are found.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Map, json};

use super::*;
use crate::files::card::tests::card;

const NOW_US: i64 = 1_763_704_900_000_000;

fn merged(found: &Value, ids: &[&str]) -> Value {
    let cards: Vec<Card> = ids.iter().map(|id| card(id)).collect();
    let found = found.to_string();
    let merged = merge(&found, 0, &cards, &Numbers::new(), NOW_US).unwrap();
    serde_json::from_str(&merged.written.unwrap_or(found)).unwrap()
}

/// Which session stands under which key.
fn keys(entries: &Value) -> BTreeMap<String, String> {
    let entries = entries.as_object().unwrap().iter();
    entries
        .filter_map(|(key, entry)| Some((key.clone(), entry["session_id"].as_str()?.to_owned())))
        .collect()
}

fn expect(entries: &Value, expected: &[(&str, &str)]) {
    let expected = expected
        .iter()
        .map(|(key, id)| (key.to_string(), id.to_string()));
    assert_eq!(keys(entries), expected.collect());
}

#[test]
fn a_session_stands_under_its_number() {
    let entries = merged(
        &json!({}),
        &["session-5", "alpha", "worker-5", "session-12"],
    );
    expect(
        &entries,
        &[
            ("5", "session-5"),
            ("12", "session-12"),
            ("13", "worker-5"),
            ("14", "alpha"),
        ],
    );
    for (key, entry) in entries.as_object().unwrap() {
        assert_eq!(entry["number"].to_string(), *key);
    }
}

#[test]
fn an_entry_is_found_by_its_session_before_its_key() {
    let found = json!({
        "13": {"session_id": "session-collective-mind", "terminal": "s001"},
        "5": {"session_id": "session-1763247310", "number": 11},
        "odd key": {"session_id": "session-7", "number": 7},
    });
    let entries = merged(
        &found,
        &["session-collective-mind", "session-5", "session-7"],
    );
    expect(
        &entries,
        &[
            ("13", "session-collective-mind"),
            ("5", "session-1763247310"),
            ("odd key", "session-7"),
            ("14", "session-5"),
        ],
    );
    assert_eq!(entries["13"]["terminal"], "s001");
    assert_eq!(entries["5"], found["5"]);
    assert_eq!(entries["odd key"]["number"], 7);
}

#[test]
fn an_entry_without_a_session_is_found_by_its_key() {
    let found = json!({
        "1": {"role": "Forge"}, "2": {"session_id": 2, "role": "Architect"},
        "3": {"session_id": null}, "session-x": {"role": "X"},
    });
    let entries = merged(
        &found,
        &["session-1", "session-2", "session-3", "session-x"],
    );
    expect(
        &entries,
        &[
            ("1", "session-1"),
            ("2", "session-2"),
            ("3", "session-3"),
            ("session-x", "session-x"),
        ],
    );
    assert_eq!(entries["1"]["role"], "Forge");
    assert_eq!(entries["session-x"]["number"], 4);
}

#[test]
fn what_is_no_entry_is_left_alone() {
    let found =
        json!({"5": "busy", "6": [1], "7": null, "_comment": "by hand", "8": {"session_id": 9}});
    let entries = merged(&found, &["session-5", "session-7", "session-8"]);
    for key in ["5", "6", "7", "_comment", "8"] {
        assert_eq!(entries[key], found[key], "{key}");
    }
    expect(
        &entries,
        &[("9", "session-5"), ("10", "session-7"), ("11", "session-8")],
    );
}

#[test]
fn who_is_only_updated_is_not_added() {
    let mut gone = card("session-5");
    gone.is_added = false;
    let merged = merge("{}", 0, &[gone], &Numbers::new(), NOW_US).unwrap();
    assert!(merged.written.is_none());
}

#[test]
fn numbers_that_are_times_are_not_counted_on() {
    let entries = merged(&json!({}), &["session-1763247310", "alpha", "session-2"]);
    expect(
        &entries,
        &[
            ("1763247310", "session-1763247310"),
            ("2", "session-2"),
            ("3", "alpha"),
        ],
    );
    let long = merged(&json!({}), &["s-1234567890123456"]);
    expect(&long, &[("1", "s-1234567890123456")]);
}

#[test]
fn who_has_a_number_elsewhere_has_it_here_too() {
    let id = |id| SessionId::parse(id).unwrap();
    let elsewhere = Numbers::from([(id("alpha"), 14), (id("beta"), 2), (id("session-9"), 8)]);
    let cards = ["alpha", "beta", "session-9", "session-14"].map(card);
    let found = r#"{"2":{"session_id":"session-2"},"8":{"role":"R"}}"#;
    let merged = merge(found, 1, &cards, &elsewhere, NOW_US).unwrap();
    let entries: Value = serde_json::from_str(&merged.written.unwrap()).unwrap();
    expect(
        &entries,
        &[
            ("2", "session-2"),
            ("8", "session-9"),
            ("14", "alpha"),
            ("15", "beta"),
            ("16", "session-14"),
        ],
    );
    assert_eq!(merged.numbers[&id("session-14")], 16);
    assert_eq!(entries["8"]["role"], "R");
}

#[test]
fn entries_are_counted() {
    let found = json!({
        "1": {"status": "active"}, "2": {"status": "working"}, "3": {"status": "idle"},
        "4": {"status": "inactive"}, "5": {"status": 7}, "6": "x",
    });
    let merged = merge(&found.to_string(), 0, &[], &Numbers::new(), NOW_US).unwrap();
    let expected = Count {
        registered: 5,
        active: 2,
        idle: 1,
    };
    assert_eq!(merged.count, expected);
}

fn entry() -> impl Strategy<Value = Value> {
    let member = prop_oneof![
        Just(("terminal", json!("s002"))),
        Just(("number", json!(3))),
        Just(("number", json!("3"))),
        Just(("role", json!({"x": [1, null]}))),
        Just(("status", json!("idle"))),
        Just(("token", json!("secret"))),
        "[a-d]-?[0-9]{0,2}".prop_map(|id| ("session_id", json!(id))),
        Just(("session_id", Value::Null)),
    ];
    let object = prop::collection::vec(member, 0..5).prop_map(|members| {
        let members = members.into_iter();
        Value::Object(
            members
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    });
    prop_oneof![6 => object, 1 => Just(json!("text")), 1 => Just(json!([1])), 1 => Just(Value::Null)]
}

proptest! {
    /// Whatever was found and whoever comes: every session has one entry of its own, no member and no entry
    /// is lost, and doing it again changes nothing.
    #[test]
    fn every_session_has_its_entry_and_nobody_loses_theirs(
        found in prop::collection::btree_map("[0-9]{1,2}|[a-d]-?[0-9]{0,2}|x y", entry(), 0..8),
        ids in prop::collection::btree_set("[a-d]-?[0-9]{0,2}", 0..8),
    ) {
        let found = Value::Object(found.into_iter().collect::<Map<_, _>>());
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let once = merged(&found, &ids);
        prop_assert_eq!(&merged(&once, &ids), &once);
        let keys = keys(&once);
        for id in &ids {
            let own = keys.values().filter(|session| session == id).count();
            let before = keys_before(&found, id);
            prop_assert_eq!(own, before.max(1), "{}", id);
        }
        for (key, entry) in found.as_object().unwrap() {
            let now = &once[key];
            let Some(entry) = entry.as_object() else {
                prop_assert_eq!(now, entry);
                continue;
            };
            let is_ours = now["session_id"].as_str().is_some_and(|id| ids.contains(&id));
            if !is_ours {
                prop_assert_eq!(now.as_object(), Some(entry));
            }
            for name in entry.keys() {
                prop_assert!(now.get(name).is_some(), "{} of {}", name, key);
            }
            prop_assert_eq!(now.get("token"), entry.get("token"));
            prop_assert_eq!(now.get("terminal"), entry.get("terminal"));
        }
        for (key, entry) in once.as_object().unwrap() {
            if found.get(key).is_none() {
                prop_assert_eq!(entry["number"].to_string(), key.clone());
            }
        }
    }
}

fn keys_before(found: &Value, id: &str) -> usize {
    keys(found)
        .values()
        .filter(|session| *session == id)
        .count()
}
