//! Secrets that can be told from everything else, looked for in a backup and in the files of the log.

use std::{fs, path::Path};

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use serde_json::{Value, json};

use super::{ADMIN, KEY, done, run, text, vote};
use crate::support::{Daemon, DaemonOptions, SECRET, request};

const HEADER: &str = "canary-header-5d1e0a9b-backup";
const VARIABLE: &str = "canary-variable-77c2e41f-backup";
const QUERY: &str = "canary-query-e90b13d4-backup";

#[track_caller]
fn ask(daemon: &Daemon, path: &str, body: &Value) -> Value {
    let bearer = format!("Bearer {ADMIN}");
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    let answer = request(daemon.address(), "POST", path, &headers, &body.to_string());
    assert!(
        answer.status < 300,
        "{path}: {} {}",
        answer.status,
        answer.text()
    );
    answer.json()
}

/// Each way in which a secret could stand in some bytes.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let bytes = secret.as_bytes();
    let mut forms = vec![
        bytes.to_vec(),
        HEXLOWER.encode(bytes).into_bytes(),
        // Without its end, which is another one in the middle of a text.
        BASE64.encode(&bytes[..bytes.len() / 3 * 3]).into_bytes(),
    ];
    let decoded = secret
        .strip_prefix("whsec_")
        .map(|key| BASE64.decode(key.as_bytes()))
        .unwrap_or_else(|| HEXLOWER_PERMISSIVE.decode(bytes));
    forms.extend(decoded.ok().filter(|decoded| decoded.len() >= 16));
    forms
}

#[track_caller]
fn check(file: &Path, secrets: &[String]) {
    let bytes = fs::read(file).unwrap();
    for secret in secrets {
        for form in forms(secret) {
            let found = bytes.windows(form.len()).any(|window| window == form);
            assert!(!found, "{secret} stands in {}", file.display());
        }
    }
}

#[test]
fn no_secret_stands_in_a_backup_or_in_the_files_of_the_log() {
    let daemon = DaemonOptions::dev()
        .env("NEXUS_ADMIN_TOKEN", ADMIN)
        .env("VAULT_ENCRYPTION_KEY", KEY)
        .start();
    let node = json!({ "id": "courier", "publish": ["vote.*"] });
    let node = ask(&daemon, "/api/v1/nodes", &node);
    let endpoint = json!({
        "url": format!("http://127.0.0.1:8099/hook?key={QUERY}"), "patterns": ["payment.*"],
        "headers": { "X-Api-Key": HEADER },
    });
    let endpoint = ask(&daemon, "/api/v1/endpoints", &endpoint);
    let server = json!({ "action": "add_server", "config": {
        "name": "notes", "transport": "stdio", "command": "npx", "args": ["-y", "x@1.2.3"],
        "env": { "API_KEY": VARIABLE }, "enabled": false,
    } });
    ask(&daemon, "/functions/v1/nexus-hub", &server);
    assert_eq!(daemon.publish(&vote("v")).status, 200);
    let secret = |value: &Value| value.as_str().expect("it is shown once").to_owned();
    let secrets = [
        secret(&node["data"]["secret"]["secret"]),
        secret(&endpoint["data"]["secret"]),
        HEADER.to_owned(),
        VARIABLE.to_owned(),
        SECRET.to_owned(),
        ADMIN.to_owned(),
        KEY.to_owned(),
    ];
    let data = daemon.folder().join("data");
    let backup = daemon.folder().join("backup.db");
    done(run(daemon.folder(), &["backup", text(&backup)]));
    // They are there, sealed: it would be no wonder otherwise.
    let bytes = fs::read(&backup).unwrap();
    for id in ["courier", "notes", secret(&endpoint["data"]["id"]).as_str()] {
        let id = id.as_bytes();
        assert!(bytes.windows(id.len()).any(|window| window == id), "{id:?}");
    }
    for file in [
        backup,
        data.join("nexus-log.db"),
        data.join("nexus-log.db-wal"),
    ] {
        check(&file, &secrets);
    }
}
