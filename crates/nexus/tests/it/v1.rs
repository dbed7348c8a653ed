//! A client of the whole API.

use serde_json::{Value, json};

use crate::running::{ADMIN_TOKEN, Answer, Running, ask, request};

/// Asks with an operator's token, unless the headers bring another.
pub async fn send(
    nexus: &Running,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let mut all = headers.to_vec();
    let proofs = ["authorization", "x-nexus-signature"];
    let brings_its_own = headers
        .iter()
        .any(|(name, _)| proofs.contains(&name.to_ascii_lowercase().as_str()));
    if !brings_its_own {
        all.push(("Authorization", &bearer));
    }
    ask(nexus.address, &request(method, path, &all, body)).await
}

pub async fn post(nexus: &Running, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Answer {
    send(nexus, "POST", "/api/v1/events", headers, body.as_ref()).await
}

pub async fn get(nexus: &Running, path: &str) -> Answer {
    send(nexus, "GET", path, &[], b"").await
}

/// A vote, whose payload tells which one it is.
pub fn vote(n: usize) -> Value {
    json!({
        "topic": "vote.cast",
        "payload": { "proposalId": format!("p-{}", n % 3), "voterId": n, "decision": "for" },
    })
}

/// Checks an answer of success and its envelope; gives its data.
#[track_caller]
pub fn data(answer: &Answer, status: u16) -> &Value {
    assert_eq!(answer.status, status, "{answer:#?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.body["success"], true, "{answer:#?}");
    assert!(answer.body["timestamp"].is_string(), "{answer:#?}");
    &answer.body["data"]
}

/// The pointers of a refusal.
pub fn pointers(answer: &Answer) -> Vec<&str> {
    let errors = answer.body["errors"].as_array();
    let errors = errors.unwrap_or_else(|| panic!("{answer:#?}"));
    errors
        .iter()
        .map(|error| {
            error["pointer"]
                .as_str()
                .unwrap_or_else(|| panic!("{error}"))
        })
        .collect()
}

/// The sequence that a position tells.
pub fn seq(position: &Value) -> u64 {
    let text = position.as_str().unwrap();
    text.split_once('-').unwrap().1.parse().unwrap()
}

/// How many events of a topic the log has.
pub async fn count(nexus: &Running, topic: &str) -> usize {
    let answer = get(
        nexus,
        &format!("/api/v1/events?limit=1000&patterns={topic}"),
    )
    .await;
    data(&answer, 200).as_array().unwrap().len()
}
