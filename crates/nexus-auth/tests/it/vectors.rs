//! The vectors, which were computed outside of every implementation.

use nexus_auth::{Auth, AuthOptions, Secret, Signer};
use nexus_core::{Catalogue, Clock};
use serde_json::Value;

use crate::support::{verify, who};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/signature.json")).unwrap()
}

fn auth_at(secret: &str, now_s: i64) -> Auth {
    let options = AuthOptions {
        default_secrets: vec![Secret::new(secret).into()],
        ..AuthOptions::default()
    };
    let clock = Clock::manual(now_s * 1_000_000);
    Auth::new(&options, &Catalogue::known(), clock).unwrap()
}

/// Runs each case of a section; gives how many there were.
fn run(section: &Value, holds: impl Fn(&str, &Value) -> bool) -> usize {
    let secret = section["secret"].as_str().unwrap();
    let mut count = 0;
    for (list, expected) in [("ok", true), ("refused", false)] {
        for case in section[list].as_array().unwrap() {
            assert_eq!(holds(secret, case), expected, "{list}: {}", case["name"]);
            count += 1;
        }
    }
    count
}

fn text<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().unwrap()
}

#[test]
fn plain_signatures_agree_with_the_vectors() {
    let count = run(&vectors()["plain_hex"], |secret, case| {
        let signature = [("x-nexus-signature", text(case, "signature"))];
        let body = text(case, "body").as_bytes();
        who(verify(&auth_at(secret, 0), &signature, None, body)).is_some()
    });
    assert!(count >= 14, "{count}");
}

#[test]
fn standard_webhooks_agree_with_the_vectors() {
    let count = run(&vectors()["standard_webhooks"], |secret, case| {
        let timestamp = case["timestamp"].to_string();
        let pairs = [
            ("webhook-id", text(case, "id")),
            ("webhook-timestamp", timestamp.as_str()),
            ("webhook-signature", text(case, "signature")),
        ];
        let auth = auth_at(secret, case["now"].as_i64().unwrap());
        who(verify(&auth, &pairs, None, text(case, "body").as_bytes())).is_some()
    });
    assert!(count >= 15, "{count}");
}

#[test]
fn the_signer_writes_what_the_vectors_hold() {
    let vectors = vectors();
    let section = &vectors["plain_hex"];
    let case = &section["ok"][0];
    let auth = auth_at(text(section, "secret"), 0);
    let body = text(case, "body").as_bytes();
    let headers = auth.signer("anyone").unwrap().sign("id", 0, body);
    assert_eq!(headers[0].1, text(case, "signature"));
    let of_secret = Signer::from_secret(&Secret::new(text(section, "secret"))).unwrap();
    assert_eq!(of_secret.sign("id", 0, body), headers);

    let section = &vectors["standard_webhooks"];
    let case = &section["ok"][0];
    let auth = auth_at(text(section, "secret"), 0);
    let timestamp_s = case["timestamp"].as_i64().unwrap();
    let body = text(case, "body").as_bytes();
    let signer = auth.signer("anyone").unwrap();
    let headers = signer.sign(text(case, "id"), timestamp_s, body);
    let value = |name: &str| {
        headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.clone())
    };
    assert_eq!(value("webhook-id").unwrap(), text(case, "id"));
    assert_eq!(value("webhook-timestamp").unwrap(), timestamp_s.to_string());
    assert_eq!(value("webhook-signature").unwrap(), text(case, "signature"));
}
