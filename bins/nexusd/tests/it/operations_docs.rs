//! Every script of the operations guide is run, as it stands there.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    integration_docs::blocks,
    support::{Answer, Daemon, DaemonOptions, Process, Tool, get, need, post, sign, until},
};

const GUIDE: &str = include_str!("../../../../docs/operations.md");
const ADMIN: &str = "the-admin-token-of-40-characters-........";
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// A script of the guide in a folder, with `nexusd` where it is looked for.
fn script(name: &str, folder: &Path, arguments: &[&str], daemon: &Daemon) -> Command {
    let mut all = blocks(GUIDE, "example").into_iter();
    let block = all
        .find(|block| block.name == name)
        .expect("the guide has it");
    fs::write(folder.join(name), block.text).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_nexusd"));
    let mut path = program.parent().unwrap().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let mut command = Command::new("bash");
    command.arg(name).args(arguments).current_dir(folder);
    command
        .env("PATH", path)
        .env("NEXUS_URL", daemon.url())
        .env("NEXUS_ADDRESS", daemon.address().to_string())
        .env("NEXUS_PID", daemon.process().id().to_string())
        .env("NEXUS_ADMIN_TOKEN", ADMIN)
        .env("NEXUS_SECRET", crate::support::SECRET)
        .env("DATA_DIR", daemon.folder().join("data"));
    command
}

/// Runs a script to its end; what it printed.
#[track_caller]
fn run(command: &mut Command) -> String {
    let (status, stdout, stderr) = Process::run(command);
    assert!(status.success(), "{stdout} {stderr}");
    stdout
}

fn read(printed: &str) -> Value {
    serde_json::from_str::<Value>(printed).unwrap()["data"].clone()
}

fn options() -> DaemonOptions {
    DaemonOptions::serve().env("NEXUS_ADMIN_TOKEN", ADMIN)
}

/// What a node says of itself, under a secret.
fn publish(daemon: &Daemon, secret: &str) -> Answer {
    let event = json!({ "event": "STATUS_UPDATE", "payload": { "status": "idle" } });
    let body = event.to_string();
    let signature = sign(secret, &body);
    let headers = [
        ("X-Nexus-Node", "courier"),
        ("X-Nexus-Signature", signature.as_str()),
    ];
    post(daemon.address(), "/events", &headers, &body)
}

#[test]
fn every_script_of_the_guide_is_run_by_a_test() {
    let marked = blocks(GUIDE, "example").len();
    let fences = GUIDE.lines().filter(|line| line.starts_with("```bash"));
    assert_eq!((marked, fences.count()), (5, 5));
}

#[test]
fn a_node_is_made_and_its_secret_replaced_as_the_guide_says() {
    if !need(&[Tool::Shell]) {
        return;
    }
    let daemon = options().env("VAULT_ENCRYPTION_KEY", KEY).start();
    let folder = TempDir::new().unwrap();
    let script =
        |name: &str, arguments: &[&str]| run(&mut script(name, folder.path(), arguments, &daemon));
    let made = read(&script("make-node.sh", &[]));
    let old = made["secret"]["secret"].as_str().unwrap();
    assert_eq!(publish(&daemon, old).status, 200);

    let added = read(&script("node-secret.sh", &["add", "courier"]));
    let new = added["secret"].as_str().unwrap();
    assert_eq!(publish(&daemon, old).status, 200);
    let watched = read(&script("node-secret.sh", &["watch", "courier"]));
    assert_eq!(
        (&watched[0]["uses"], &watched[1]["uses"]),
        (&json!(1), &json!(0))
    );
    let retired = read(&script("node-secret.sh", &["retire", "courier", "1"]));
    assert!(retired["not_after"].is_string(), "{retired}");
    assert_eq!(publish(&daemon, old).status, 200, "in its grace period");
    script("node-secret.sh", &["retire", "courier", "1", "0"]);
    assert_eq!(publish(&daemon, old).status, 401);
    assert_eq!(publish(&daemon, new).status, 200);
}

#[test]
fn the_vault_key_is_replaced_as_the_guide_says() {
    if !need(&[Tool::Shell]) {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (key, previous) = (
        folder.path().join("vault-key"),
        folder.path().join("previous"),
    );
    for file in [&key, &previous] {
        fs::write(file, KEY).unwrap();
    }
    let files = [
        ("VAULT_ENCRYPTION_KEY_FILE", key.to_str().unwrap()),
        (
            "VAULT_PREVIOUS_ENCRYPTION_KEY_FILE",
            previous.to_str().unwrap(),
        ),
    ];
    let with_files = files
        .iter()
        .fold(options(), |options, (name, file)| options.env(name, *file));
    let daemon = with_files.start();
    let made = read(&run(&mut script(
        "make-node.sh",
        folder.path(),
        &[],
        &daemon,
    )));
    let secret = made["secret"]["secret"].as_str().unwrap();

    let printed = run(script("replace-vault-key.sh", folder.path(), &[], &daemon).envs(files));
    assert!(
        printed.contains("1 secrets were sealed anew, and all 1 are under the key"),
        "{printed}"
    );
    until("the end of the second reload", || {
        let state = get(daemon.address(), "/readyz", &[]).json();
        (state["configuration"]["generation"] == 3).then_some(())
    });
    let now = fs::read_to_string(&key).unwrap();
    assert_ne!(now.trim(), KEY);
    assert_eq!(fs::read_to_string(&previous).unwrap(), now);
    assert_eq!(publish(&daemon, secret).status, 200);
    let daemon = daemon.restart();
    assert_eq!(publish(&daemon, secret).status, 200);
}

#[test]
fn backups_are_made_kept_and_rehearsed_as_the_guide_says() {
    if !need(&[Tool::Shell]) {
        return;
    }
    let daemon = options().start();
    let event = json!({ "event": "STATUS_UPDATE", "payload": { "status": "idle" } });
    assert_eq!(daemon.publish(&event).status, 200);
    let (folder, backups) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for day in 10..30 {
        let old = format!("nexus-202001{day}T000000Z.db");
        fs::write(backups.path().join(old), "an old backup").unwrap();
    }
    let to = backups.path().to_str().unwrap();
    let printed = run(&mut script("backup.sh", folder.path(), &[to], &daemon));
    assert!(printed.contains("the chain holds"), "{printed}");
    let mut names: Vec<_> = fs::read_dir(backups.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    assert_eq!(names.len(), 14);
    assert!(names[0].ends_with("nexus-20200117T000000Z.db"), "{names:?}");
    let newest = names[13].to_str().unwrap();
    let printed = run(&mut script(
        "rehearse.sh",
        folder.path(),
        &[newest],
        &daemon,
    ));
    // The daemon writes down its own start beside that.
    for events in ["restored 0 events", "the chain holds: 0 events"] {
        assert!(!printed.contains(events), "{printed}");
        assert!(printed.contains(&events[..8]), "{printed}");
    }
    assert_eq!(get(daemon.address(), "/health/ready", &[]).status, 200);
}
