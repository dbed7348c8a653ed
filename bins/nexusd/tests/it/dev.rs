//! `nexusd dev`: what it prints works when it is pasted.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::support::{Process, Tool, need, nexusd, until};

/// The commands that `dev` printed, block by block.
fn printed_commands(text: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in text.lines() {
        match line.strip_prefix("    ") {
            Some(command) => blocks.last_mut().unwrap().push_str(&format!("{command}\n")),
            None => blocks.push(String::new()),
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

/// As a person would run it, with the program in the place of the command that builds it.
fn pasted(folder: &Path, commands: &str) -> Command {
    let program = env!("CARGO_BIN_EXE_nexusd");
    let commands = commands.replace("cargo run --release -p nexusd --", program);
    let mut bash = Command::new("bash");
    bash.current_dir(folder).args(["-c", &commands]);
    for name in ["NEXUS_SECRET", "NEXUS_ADMIN_TOKEN", "DATA_DIR", "PORT"] {
        bash.env_remove(name);
    }
    bash
}

#[test]
fn the_printed_commands_send_an_event_and_show_it() {
    if !need(&[Tool::Shell]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let daemon = Process::start(nexusd(folder.path(), &["dev"]).env("PORT", "0"));
    daemon.line(0, |line| line.contains("Stop with Ctrl-C"));
    let [tail, send, read, agents] = &printed_commands(&daemon.stdout())[..] else {
        panic!("four blocks of commands: {}", daemon.stdout());
    };

    let tail = Process::start(&mut pasted(folder.path(), tail));
    tail.error_line(0, |line| line.contains("following"));
    let (status, answer, error) = Process::run(&mut pasted(folder.path(), send));
    assert!(status.success(), "{error}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["status"], "dispatched");

    let (_, line) = tail.line(0, |line| line.contains("payment.received"));
    let event: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["position"], answer["position"]);
    assert_eq!(event["payload"]["payerId"], "payer-7");

    // The last block uses what the one before it set, as in one shell.
    let both = format!("{send}{read}");
    let (status, text, error) = Process::run(&mut pasted(folder.path(), &both));
    assert!(status.success(), "{error}");
    // Answers end without a line end.
    let mut answers = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let read = answers.nth(1).unwrap().unwrap();
    let payments = read["events"].as_array().unwrap().iter();
    assert_eq!(
        payments
            .filter(|event| event["event"] == "PAYMENT_RECEIVED")
            .count(),
        2
    );

    let (status, text, error) = Process::run(&mut pasted(folder.path(), agents));
    assert!(status.success(), "{error}");
    let mut answers = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let claimed = answers.next().unwrap().unwrap();
    assert_eq!(claimed["status"], "claimed", "{claimed}");
    let listed = answers.next().unwrap().unwrap();
    assert_eq!(listed["claims"][0]["claimed_by"], "session-3", "{listed}");
    tail.line(0, |line| line.contains("work.claimed"));
}

#[test]
fn a_signature_is_required_in_dev_too() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Process::start(nexusd(folder.path(), &["dev"]).env("PORT", "0"));
    let (_, line) = daemon.line(0, |line| line.contains("Nexus listens on http://"));
    let address = line
        .split(['/', ' '])
        .find_map(|word| word.parse().ok())
        .unwrap();
    let body =
        r#"{"event":"VOTE_CAST","payload":{"proposalId":"p","voterId":"v","decision":"for"}}"#;
    let answer = crate::support::post(address, "/events", &[], body);
    assert_eq!(
        (answer.status, answer.json()["code"].as_str()),
        (401, Some("unauthorized"))
    );
}

#[test]
fn the_secret_is_made_once_and_only_its_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().unwrap();
    let secret = |_: usize| {
        let mut daemon = Process::start(nexusd(folder.path(), &["dev"]).env("PORT", "0"));
        let (_, line) = daemon.line(0, |line| line.contains("SECRET="));
        daemon.terminate();
        assert!(daemon.end().success());
        line
    };
    assert_eq!(secret(1), secret(2));
    let file = folder.path().join("data/dev-secret");
    let mode = until("the file", || std::fs::metadata(&file).ok())
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}
