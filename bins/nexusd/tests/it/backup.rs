//! `nexusd backup` and `nexusd restore`: beside a daemon under load, into a new machine, and what they refuse.

#[path = "backup/kills.rs"]
mod kills;
#[path = "backup/secrets.rs"]
mod secrets;

use std::{fs, path::Path};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    client_async,
    tungstenite::{
        Message,
        client::IntoClientRequest,
        http::{HeaderValue, header::AUTHORIZATION},
    },
};

use crate::{
    crash::{Load, is_deep, loaded, skip, stop},
    disk::SmallDisk,
    support::{Daemon, DaemonOptions, PATIENCE, Process, SECRET, get, nexusd, post, request, sign},
};

const ADMIN: &str = "the-admin-token-of-40-characters-........";
const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const PUBLISHERS: usize = 16;
const READERS: usize = 2;

/// Runs a command where the log is in `data`; its exit code, and what it wrote. It is given no secret.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    run_with(folder, arguments, &[])
}

fn run_with(
    folder: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> (i32, String, String) {
    let mut command = nexusd(folder, arguments);
    command.envs(environment.iter().copied());
    let (status, stdout, stderr) = Process::run(&mut command);
    (status.code().expect("it was not killed"), stdout, stderr)
}

#[track_caller]
fn done(ran: (i32, String, String)) -> String {
    let (code, stdout, stderr) = ran;
    assert_eq!(code, 0, "{stdout} {stderr}");
    stdout
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn vote(voter: &str) -> Value {
    json!({ "event": "VOTE_CAST", "payload": { "proposalId": "p", "voterId": voter, "decision": "for" } })
}

/// The number of the position that stands last in some line.
fn last_seq(said: &str) -> u64 {
    let mut positions = said
        .split(|letter: char| letter.is_whitespace() || letter == ';')
        .filter_map(|word| word.split_once('-'))
        .filter(|(epoch, _)| epoch.len() == 8)
        .filter_map(|(_, seq)| seq.parse().ok());
    positions
        .next_back()
        .unwrap_or_else(|| panic!("no position: {said}"))
}

/// Each backup has everything that was acknowledged before it began, and nobody notices that it is made.
#[test]
fn a_busy_daemon_is_backed_up_while_it_goes_on() {
    let backups = if is_deep() { 100 } else { 4 };
    let (data, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let daemon = loaded(data.path()).start();
    let environment = [("DATA_DIR", text(data.path()))];
    let mut load = Load::new(PUBLISHERS, READERS);
    load.begin(daemon.address());
    let to = other.path().join("backup.db");
    for _ in 0..backups {
        load.until_read(300);
        let newest = daemon.read("/events/log?limit=1", SECRET);
        let acknowledged = newest["events"][0]["seq"].as_u64().unwrap();
        let backup = ["backup", text(&to), "--force"];
        let said = done(run_with(other.path(), &backup, &environment));
        assert!(said.contains("the chain holds"), "{said}");
        assert!(said.contains("not in a backup: the vault's key"), "{said}");
        let verified = done(run(other.path(), &["verify", text(&to)]));
        assert_eq!(last_seq(&verified), last_seq(&said));
        assert!(last_seq(&said) >= acknowledged, "{acknowledged}: {said}");
    }
    load.until_read(300);
    stop(daemon);
    load.end();
    let daemon = loaded(data.path()).start();
    load.settle(&daemon);
    stop(daemon);
    let verdict = load.judge(data.path());
    println!("{backups} backups: {verdict}");
    assert_eq!(verdict.seen, verdict.events, "readers saw everything");
    assert_eq!(verdict.refused(), 0);
}

/// What a subscription from some place is told.
fn subscribed(daemon: &Daemon, from: &str) -> Value {
    let subscribing = async {
        let address = daemon.address();
        let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
        let bearer = HeaderValue::try_from(format!("Bearer {SECRET}")).unwrap();
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let socket = TcpStream::connect(address).await.unwrap();
        let (mut socket, _) = client_async(request, socket).await.unwrap();
        let subscribe = json!({ "action": "subscribe", "events": [">"], "from": from });
        let subscribe = Message::text(subscribe.to_string());
        socket.send(subscribe).await.unwrap();
        let frame = timeout(PATIENCE, socket.next()).await;
        let frame = frame.expect("a frame in time").unwrap().unwrap();
        serde_json::from_str(frame.to_text().unwrap()).unwrap()
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(subscribing)
}

/// Events, nodes and sealed secrets are there; whoever read on the old machine learns that it is another log.
#[test]
fn a_backup_becomes_the_log_of_a_new_machine() {
    let options = DaemonOptions::serve()
        .env("NEXUS_ADMIN_TOKEN", ADMIN)
        .env("VAULT_ENCRYPTION_KEY", KEY);
    let daemon = options.clone().start();
    let bearer = format!("Bearer {ADMIN}");
    let node = json!({ "id": "courier", "publish": ["vote.*"] }).to_string();
    let headers = [("Authorization", bearer.as_str())];
    let made = request(daemon.address(), "POST", "/api/v1/nodes", &headers, &node);
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();
    let secret = made["data"]["secret"]["secret"].as_str().unwrap();
    let kept = daemon.publish(&vote("kept")).json();
    let backup = daemon.folder().join("backup.db");
    done(run(daemon.folder(), &["backup", text(&backup)]));
    let lost = daemon.publish(&vote("lost")).json();

    let folder = tempfile::tempdir().unwrap();
    let said = done(run(folder.path(), &["restore", text(&backup)]));
    assert!(
        said.contains("restored ") && said.contains("the chain holds"),
        "{said}"
    );
    let epoch = kept["position"]
        .as_str()
        .unwrap()
        .split_once('-')
        .unwrap()
        .0;
    assert!(said.contains(&format!("a position of {epoch} ")), "{said}");
    assert!(said.contains("not in a backup: the vault's key"), "{said}");
    let restored = Daemon::start(options, folder);
    let voters: Vec<_> = restored
        .log("VOTE_CAST")
        .iter()
        .map(|event| event["payload"]["voterId"].clone())
        .collect();
    assert_eq!(voters, ["kept"]);
    assert_eq!(restored.publish(&vote("new")).status, 200);
    for old in [&kept["position"], &lost["position"]] {
        let old = old.as_str().unwrap();
        let told = subscribed(&restored, old);
        assert_eq!(told["recovered"], false, "{told}");
        assert_eq!(told["reason"], "epoch", "{told}");
        let path = format!("/api/v1/events?from={old}");
        let gone = get(restored.address(), &path, &headers);
        assert_eq!((gone.status, &gone.json()["code"]), (410, &json!("epoch")));
    }
    let body = vote("courier's").to_string();
    let signature = sign(secret, &body);
    let signed = [
        ("X-Nexus-Node", "courier"),
        ("X-Nexus-Signature", &signature),
    ];
    let answer = post(restored.address(), "/events", &signed, &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Nobody touched the old one.
    assert_eq!(daemon.publish(&vote("more")).status, 200);
}

#[test]
fn nothing_is_restored_over_a_daemon_that_runs_or_a_log_that_was_not_to_go() {
    let daemon = DaemonOptions::serve().start();
    assert_eq!(daemon.publish(&vote("first")).status, 200);
    let backup = daemon.folder().join("backup.db");
    let (file, flag) = (text(&backup).to_owned(), "--force");
    done(run(daemon.folder(), &["backup", &file]));
    let (code, _, stderr) = run(daemon.folder(), &["backup", &file]);
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains(flag), "{stderr}");
    let (code, _, stderr) = run(daemon.folder(), &["restore", &file, flag]);
    assert_eq!(code, 75, "a daemon runs: {stderr}");
    assert_eq!(daemon.publish(&vote("second")).status, 200);
    daemon.terminate();
    let (_, options, folder) = daemon.end();
    let before = done(run(folder.path(), &["verify", "data/nexus-log.db"]));

    let (code, _, stderr) = run(folder.path(), &["restore", &file]);
    assert_eq!(code, 2, "a log is there: {stderr}");
    assert!(stderr.contains(flag), "{stderr}");
    fs::write(
        folder.path().join("notes"),
        "somebody's notes, and no database".repeat(4),
    )
    .unwrap();
    for (file, arguments) in [
        ("notes", &["restore", "notes", flag][..]),
        ("none", &["restore", "none", flag]),
        ("data/nexus-log.db", &["restore", "data/nexus-log.db", flag]),
        ("data/nexus-log.db", &["backup", "data/nexus-log.db", flag]),
    ] {
        let (code, _, stderr) = run(folder.path(), arguments);
        assert_eq!(code, 74, "{arguments:?}: {stderr}");
        assert!(stderr.contains(file), "{stderr}");
    }
    assert_eq!(
        done(run(folder.path(), &["verify", "data/nexus-log.db"])),
        before
    );

    // Elsewhere nothing is in the way.
    done(run(
        folder.path(),
        &["restore", &file, "--into", "rehearsal"],
    ));
    let rehearsed = done(run(folder.path(), &["verify", "rehearsal/nexus-log.db"]));
    assert_ne!(rehearsed, before);
    let said = done(run(folder.path(), &["restore", &file, flag]));
    let aside = "data/nexus-log.db.before-restore-1";
    assert!(said.contains(aside), "{said}");
    let aside = format!("{aside}/nexus-log.db");
    assert_eq!(done(run(folder.path(), &["verify", &aside])), before);
    let daemon = Daemon::start(options, folder);
    assert_eq!(daemon.log("VOTE_CAST").len(), 1);
}

#[test]
fn what_cannot_be_backed_up_is_told_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, stderr) = run(folder.path(), &["backup", "x.db"]);
    assert_eq!(code, 74, "there is no log: {stderr}");
    for url in ["postgres://nexus@db/nexus", "postgresql://nexus@db/nexus"] {
        let environment = [("DATABASE_URL", url)];
        for arguments in [["backup", "x.db"], ["restore", "x.db"]] {
            let (code, _, stderr) = run_with(folder.path(), &arguments, &environment);
            assert_eq!(code, 78, "{stderr}");
            assert!(stderr.contains("pg_dump"), "{stderr}");
        }
    }
    fs::write(
        folder.path().join("nexus.toml"),
        "[storage]\ndata_dri = \"x\"\n",
    )
    .unwrap();
    let (code, _, stderr) = run(folder.path(), &["backup", "x.db"]);
    assert_eq!(code, 78, "{stderr}");
    assert!(stderr.contains("storage.data_dri"), "{stderr}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_disk_without_space_is_told_and_keeps_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        return skip("a disk cannot be mounted here");
    };
    let daemon = DaemonOptions::serve().start();
    assert_eq!(daemon.publish(&vote("v")).status, 200);
    let filler = disk.fill();
    let to = disk.path().join("backup.db");
    let (code, _, stderr) = run(daemon.folder(), &["backup", text(&to)]);
    assert_eq!(code, 74, "{stderr}");
    assert!(stderr.contains("there is no space for it"), "{stderr}");
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 1, "the filler");
    fs::remove_file(filler).unwrap();
    done(run(daemon.folder(), &["backup", text(&to)]));
}
