//! The vault of a running daemon: its key is replaced while it runs, and a kill in the middle of that loses
//! nothing.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Answer, Daemon, DaemonOptions, Process, nexusd, request, sign};

const ADMIN: &str = "the-admin-token-of-40-characters-........";

/// A key, as `nexusd keys generate` prints it.
fn generate() -> String {
    let folder = tempfile::tempdir().unwrap();
    let (status, stdout, stderr) = Process::run(&mut nexusd(folder.path(), &["keys", "generate"]));
    assert!(status.success(), "{stderr}");
    let key = stdout.trim().to_owned();
    assert!(
        key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{key}"
    );
    key
}

/// The keys of a daemon stand in files, which is how they can change while it runs.
fn write_keys(folder: &Path, key: &str, previous: &str) {
    let file = if previous.is_empty() {
        format!("[vault]\nkey = \"{key}\"\n")
    } else {
        format!("[vault]\nkey = \"{key}\"\nprevious_key = \"{previous}\"\n")
    };
    fs::write(folder.join("nexus.toml"), file).unwrap();
}

fn start(key: &str) -> Daemon {
    let folder = tempfile::tempdir().unwrap();
    write_keys(folder.path(), key, "");
    let options = DaemonOptions::serve().env("NEXUS_ADMIN_TOKEN", ADMIN);
    let options = options.env("NEXUS__LIMITS__ANONYMOUS_REQUESTS_PER_SECOND", "0");
    Daemon::start(options, folder)
}

fn ask(daemon: &Daemon, method: &str, path: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {ADMIN}");
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let headers = [("Authorization", bearer.as_str())];
    request(daemon.address(), method, path, &headers, &body)
}

/// Makes so many nodes; their secrets.
fn make_nodes(daemon: &Daemon, count: usize) -> Vec<String> {
    let made = (0..count).map(|n| {
        let id = format!("node-{n}");
        let body = json!({ "id": id, "publish": ["vote.*"] });
        let answer = ask(daemon, "POST", "/api/v1/nodes", &body);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let secret = &answer.json()["data"]["secret"]["secret"];
        secret.as_str().unwrap().to_owned()
    });
    made.collect()
}

/// Every node signs with the secret that was sealed.
#[track_caller]
fn check_nodes(daemon: &Daemon, secrets: &[String]) {
    for (n, secret) in secrets.iter().enumerate() {
        let body = json!({ "topic": "vote.cast", "payload": { "proposalId": "p", "voterId": n, "decision": "for" } });
        let body = body.to_string();
        let (node, signature) = (format!("node-{n}"), sign(secret, &body));
        let headers = [
            ("X-Nexus-Node", node.as_str()),
            ("X-Nexus-Signature", signature.as_str()),
        ];
        let answer = request(daemon.address(), "POST", "/api/v1/events", &headers, &body);
        assert_eq!(answer.status, 201, "{node}: {}", answer.text());
    }
}

/// Runs a command beside the daemon; its exit code, and what it wrote.
fn keys(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = nexusd(folder, &[&["keys"], arguments].concat());
    command.env("NEXUS_ADMIN_TOKEN", ADMIN);
    command.env("NEXUS_SECRET", "a-secret-of-40-characters-..............");
    let (status, stdout, stderr) = Process::run(&mut command);
    (status.code().expect("it was not killed"), stdout, stderr)
}

/// Whether a daemon starts on the data with this key alone; why not, if it does not.
fn refusal(options: &DaemonOptions, folder: &TempDir) -> (i32, String) {
    let (status, _, stderr) = Process::run(&mut options.command(folder.path()));
    (status.code().expect("it was not killed"), stderr)
}

#[test]
fn the_vault_key_is_replaced_while_the_daemon_runs() {
    let (old, new) = (generate(), generate());
    let daemon = start(&old);
    let secrets = make_nodes(&daemon, 5);
    let address = daemon.address().to_string();

    write_keys(daemon.folder(), &new, &old);
    let (taken, told) = daemon.reload();
    assert!(taken, "{told}");
    check_nodes(&daemon, &secrets);
    let (code, stdout, stderr) = keys(daemon.folder(), &["rotate", "--address", &address]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.starts_with("5 secrets were sealed anew, and all 5 are under the key "),
        "{stdout}"
    );
    check_nodes(&daemon, &secrets);

    // A daemon that has not read its configuration yet is not said to have done it.
    write_keys(daemon.folder(), &generate(), &new);
    let (code, _, stderr) = keys(daemon.folder(), &["rotate", "--address", &address]);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("is not the configured one"), "{stderr}");

    // The old key is taken out, also without a restart.
    write_keys(daemon.folder(), &new, "");
    let (taken, told) = daemon.reload();
    assert!(taken, "{told}");
    let (_, stdout, _) = keys(daemon.folder(), &["rotate", "--address", &address]);
    assert!(
        stdout.starts_with("0 secrets were sealed anew, and all 5 "),
        "{stdout}"
    );
    let daemon = daemon.restart();
    check_nodes(&daemon, &secrets);

    // The old one does not open it any more, nor does none.
    daemon.terminate();
    let (_, options, folder) = daemon.end();
    write_keys(folder.path(), &old, "");
    let (code, stderr) = refusal(&options, &folder);
    assert_eq!(code, 78, "{stderr}");
    assert!(stderr.contains("the vault key is wrong"), "{stderr}");
    assert!(!stderr.contains(&old) && !stderr.contains(&new), "{stderr}");
    fs::write(folder.path().join("nexus.toml"), "").unwrap();
    let (code, stderr) = refusal(&options, &folder);
    assert_eq!(code, 78, "{stderr}");
    assert!(stderr.contains("no vault key is set"), "{stderr}");
}

#[test]
fn the_vault_key_is_replaced_while_no_daemon_runs() {
    let (old, new) = (generate(), generate());
    let daemon = start(&old);
    let secrets = make_nodes(&daemon, 3);
    daemon.terminate();
    let (_, options, folder) = daemon.end();
    write_keys(folder.path(), &new, &old);
    let (code, stdout, stderr) = keys(folder.path(), &["rotate"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("3 secrets were sealed anew"), "{stdout}");
    write_keys(folder.path(), &new, "");
    let daemon = Daemon::start(options, folder);
    check_nodes(&daemon, &secrets);

    // A lost key: what is sealed can be given up, and the log lives on.
    daemon.terminate();
    let (_, options, folder) = daemon.end();
    write_keys(folder.path(), &generate(), "");
    assert_eq!(refusal(&options, &folder).0, 78);
    let (code, _, stderr) = keys(folder.path(), &["forget"]);
    assert_eq!(code, 2, "{stderr}");
    let (code, stdout, stderr) = keys(folder.path(), &["forget", "--remove-every-secret"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.starts_with("3 secrets are gone"), "{stdout}");
    let daemon = Daemon::start(options, folder);
    let listed = ask(&daemon, "GET", "/api/v1/nodes", &Value::Null).json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 4, "{listed}");
    assert_eq!(
        ask(
            &daemon,
            "POST",
            "/api/v1/nodes/node-0/secrets",
            &Value::Null
        )
        .status,
        201
    );
}

#[test]
fn a_daemon_that_is_killed_while_the_key_is_replaced_reads_everything_again() {
    const NODES: usize = 200;
    let (old, new) = (generate(), generate());
    let mut daemon = start(&old);
    let secrets = make_nodes(&daemon, NODES);
    let keys_before = (old, new);
    let (mut current, mut next) = keys_before;
    let mut unfinished = 0;
    for round in 0..6_u64 {
        write_keys(daemon.folder(), &next, &current);
        let (taken, told) = daemon.reload();
        assert!(taken, "{told}");
        let address = daemon.address();
        let rotating = std::thread::spawn(move || {
            let bearer = format!("Bearer {ADMIN}");
            let headers = format!(
                "POST /api/v1/vault/rotate HTTP/1.1\r\nHost: nexus\r\nAuthorization: {bearer}\r\nContent-Length: 0\r\n\r\n"
            );
            let Ok(mut socket) = std::net::TcpStream::connect(address) else {
                return false;
            };
            let mut answer = [0; 12];
            std::io::Write::write_all(&mut socket, headers.as_bytes()).is_ok()
                && std::io::Read::read_exact(&mut socket, &mut answer).is_ok()
                && answer.ends_with(b"200")
        });
        // From before the first commit to after the last one.
        std::thread::sleep(std::time::Duration::from_micros(round * 1_500));
        daemon.process().kill();
        unfinished += usize::from(!rotating.join().unwrap());
        let (_, options, folder) = daemon.end();
        daemon = Daemon::start(options, folder);
        check_nodes(&daemon, &secrets);
        let answer = ask(&daemon, "POST", "/api/v1/vault/rotate", &Value::Null);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["data"]["sealed"], NODES);
        // The old key is needed no more.
        write_keys(daemon.folder(), &next, "");
        daemon = daemon.restart();
        check_nodes(&daemon, &secrets);
        std::mem::swap(&mut current, &mut next);
    }
    assert!(
        unfinished > 0,
        "no kill came before the end of the rotation"
    );
}
