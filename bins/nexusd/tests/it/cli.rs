//! The commands of the daemon, their exit codes, and how it ends and goes on.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
};

use serde_json::{Value, json};

use crate::support::{
    By, Daemon, DaemonOptions, Process, Reader, SECRET, Tool, need, nexusd, sign,
};

/// Runs a command in a folder; its exit code, and what it wrote.
fn run(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = nexusd(folder, arguments);
    command.envs(environment.iter().copied());
    let (status, stdout, stderr) = Process::run(&mut command);
    (status.code().expect("it was not killed"), stdout, stderr)
}

fn vote(voter: &str) -> Value {
    json!({ "event": "VOTE_CAST", "payload": { "proposalId": "p", "voterId": voter, "decision": "for" } })
}

#[test]
fn every_problem_of_the_configuration_is_listed_and_exit_is_78() {
    let folder = tempfile::tempdir().unwrap();
    let file = "
        [server]
        prot = 3000
        [limits]
        body_bytes = 12
        [[nodes]]
        id = \"flowpay\"
        publish = [\"PAYMENT_RECIEVED\"]
    ";
    fs::write(folder.path().join("nexus.toml"), file).unwrap();
    let environment = [
        ("NEXUS_ENV", "production"),
        ("NEXUS_SECRET", "short"),
        ("PORT", "eighty"),
    ];
    for command in ["check", "serve"] {
        let (code, stdout, stderr) = run(folder.path(), &[command], &environment);
        assert_eq!(code, 78, "{command}: {stderr}");
        assert_eq!(stdout, "", "{command}");
        let problems: Vec<&str> = stderr
            .lines()
            .filter(|line| line.starts_with("  - "))
            .collect();
        for named in [
            "server.prot",
            "limits.body_bytes",
            "PORT",
            "NEXUS_SECRET",
            "PAYMENT_RECIEVED",
        ] {
            let told = problems.iter().filter(|line| line.contains(named)).count();
            assert_eq!(told, 1, "{command}: {named} in {stderr}");
        }
        assert_eq!(problems.len(), 5, "{command}: {stderr}");
        assert!(!stderr.contains("short"), "a secret was printed: {stderr}");
    }
    assert!(
        !folder.path().join("data").exists(),
        "nothing is made for what is refused"
    );
}

#[test]
fn a_variable_that_is_no_text_does_not_end_the_daemon() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let folder = tempfile::tempdir().unwrap();
    let mut command = nexusd(folder.path(), &["check"]);
    command
        .env("NEXUS_SECRET", SECRET)
        .env("OTHER", OsStr::from_bytes(b"\xff\xfe"));
    let (status, stdout, stderr) = Process::run(&mut command);
    assert_eq!(status.code(), Some(0), "{stderr}");
    assert_eq!(stdout.trim_end(), "the configuration is valid");
}

#[test]
fn dev_refuses_production() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, stderr) = run(
        folder.path(),
        &["dev"],
        &[("NEXUS_ENV", "production"), ("PORT", "0")],
    );
    assert_eq!(code, 78, "{stderr}");
    assert!(stderr.contains("serve"), "{stderr}");
}

#[test]
fn a_valid_configuration_passes_check_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = run(folder.path(), &["check"], &[("NEXUS_SECRET", SECRET)]);
    assert_eq!(
        (code, stdout.as_str()),
        (0, "the configuration is valid"),
        "{stderr}"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// The file before the command would be that of `serve`, and `check` would silently read another.
#[test]
fn a_configuration_before_the_command_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let environment = [("NEXUS_SECRET", SECRET)];
    let (code, _, stderr) = run(
        folder.path(),
        &["--config", "nexus.toml", "check"],
        &environment,
    );
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("check"), "{stderr}");
}

#[test]
fn a_port_in_use_is_exit_69() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let environment = [
        ("NEXUS_SECRET", SECRET),
        ("NEXUS_HOST", "127.0.0.1"),
        ("PORT", port.as_str()),
    ];
    let (code, _, stderr) = run(folder.path(), &["serve"], &environment);
    assert_eq!(code, 69, "{stderr}");
    assert!(stderr.contains(&port), "{stderr}");
}

#[test]
fn a_second_daemon_on_the_same_data_is_exit_75() {
    let daemon = DaemonOptions::serve().start();
    let environment = [
        ("NEXUS_SECRET", SECRET),
        ("NEXUS_HOST", "127.0.0.1"),
        ("PORT", "0"),
    ];
    let (code, _, stderr) = run(daemon.folder(), &["serve"], &environment);
    assert_eq!(code, 75, "{stderr}");
    let (code, _, stderr) = run(daemon.folder(), &["migrate"], &environment);
    assert_eq!(code, 75, "migrate while a daemon runs: {stderr}");
    assert_eq!(
        daemon.publish(&vote("v")).status,
        200,
        "the first one is not disturbed"
    );
}

#[test]
fn migrate_goes_up_and_down() {
    let daemon = DaemonOptions::serve().start();
    daemon.terminate();
    let (_, _, folder) = daemon.end();
    let environment = [("NEXUS_SECRET", SECRET)];
    let (code, newest, stderr) = run(folder.path(), &["migrate"], &environment);
    assert_eq!(code, 0, "{stderr}");
    let (code, _, stderr) = run(folder.path(), &["migrate", "--to", "0"], &environment);
    assert_eq!(code, 2);
    assert!(stderr.contains("--remove-the-log"), "{stderr}");
    let (code, kept, stderr) = run(folder.path(), &["verify"], &environment);
    assert!(code == 0 && kept.contains("1 events"), "{kept}{stderr}");
    let down = ["migrate", "--to", "0", "--remove-the-log"];
    let (code, none, stderr) = run(folder.path(), &down, &environment);
    assert_eq!(
        (code, none.as_str()),
        (0, "the database has schema version 0"),
        "{stderr}"
    );
    assert_ne!(newest, none);
    let (code, again, _) = run(folder.path(), &["migrate"], &environment);
    assert_eq!((code, again), (0, newest));
    let (code, _, stderr) = run(folder.path(), &["migrate", "--to", "9999"], &environment);
    assert_eq!(code, 74, "{stderr}");
}

#[test]
fn migrate_makes_a_database_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let environment = [("NEXUS_SECRET", SECRET)];
    let (code, version, stderr) = run(folder.path(), &["migrate"], &environment);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        version.starts_with("the database has schema version "),
        "{version}"
    );
    let (code, verified, stderr) = run(folder.path(), &["verify"], &environment);
    assert_eq!(code, 0, "{stderr}");
    assert!(verified.contains("0 events"), "{verified}");
}

#[test]
fn verify_notices_one_changed_byte() {
    let daemon = DaemonOptions::serve().start();
    for voter in ["anna", "berta-berta", "clara"] {
        assert_eq!(daemon.publish(&vote(voter)).status, 200);
    }
    daemon.terminate();
    let (status, _, folder) = daemon.end();
    assert!(status.success());
    let environment = [("NEXUS_SECRET", SECRET)];
    let (code, stdout, stderr) = run(folder.path(), &["verify"], &environment);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains('4'), "the start and three votes: {stdout}");

    let database = folder.path().join("data/nexus-log.db");
    let mut bytes = fs::read(&database).unwrap();
    let at = bytes
        .windows(11)
        .position(|window| window == b"berta-berta")
        .expect("the vote is in the file");
    bytes[at] ^= 0x20;
    fs::write(&database, bytes).unwrap();
    let (code, _, stderr) = run(folder.path(), &["verify"], &environment);
    assert_eq!(code, 74, "{stderr}");
}

#[test]
fn a_database_of_something_else_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    let file = folder.path().join("data/nexus-log.db");
    let foreign = b"these are the notes of somebody else, and no database";
    fs::write(&file, foreign).unwrap();
    let environment = [
        ("NEXUS_SECRET", SECRET),
        ("NEXUS_HOST", "127.0.0.1"),
        ("PORT", "0"),
    ];
    let (code, _, stderr) = run(folder.path(), &["serve"], &environment);
    assert_eq!(code, 74, "{stderr}");
    assert_eq!(fs::read(&file).unwrap(), foreign);
}

#[test]
fn keys_new_makes_a_new_secret_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let make = |arguments: &[&str]| {
        let (code, secret, stderr) = run(folder.path(), arguments, &[]);
        assert_eq!(code, 0, "{stderr}");
        secret
    };
    let secret = make(&["keys", "new"]);
    assert!(
        secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{secret}"
    );
    assert_ne!(secret, make(&["keys", "new"]));
    assert!(make(&["keys", "new", "--standard"]).starts_with("whsec_"));
}

#[test]
fn healthcheck_tells_who_is_ready() {
    let daemon = DaemonOptions::serve().start();
    let port = daemon.address().port().to_string();
    let (code, stdout, _) = run(daemon.folder(), &["healthcheck"], &[("PORT", &port)]);
    assert_eq!((code, stdout.as_str()), (0, "ready"));
    let url = daemon.url();
    let (code, ..) = run(daemon.folder(), &["healthcheck", "--url", &url], &[]);
    assert_eq!(code, 0);
    // Wherever the port is set, and whatever else is wrong there.
    let text = format!("[server]\nport = {port}\nhost = \"0.0.0.0\"\nnonsense = 1\n");
    for (file, arguments) in [
        ("nexus.toml", &["healthcheck"][..]),
        ("other.toml", &["healthcheck", "--config", "other.toml"]),
    ] {
        let file = daemon.folder().join(file);
        std::fs::write(&file, &text).unwrap();
        let (code, _, stderr) = run(daemon.folder(), arguments, &[]);
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
        std::fs::remove_file(file).unwrap();
    }
    daemon.terminate();
    let (_, _, folder) = daemon.end();
    let (code, _, stderr) = run(folder.path(), &["healthcheck"], &[("PORT", &port)]);
    assert_eq!(code, 69, "{stderr}");
}

#[test]
fn a_second_start_goes_on_where_the_first_ended() {
    let daemon = DaemonOptions::serve().start();
    println!("ready after: {} ms", daemon.ready_after.as_millis());
    let first = daemon.publish(&vote("before")).json();
    let daemon = daemon.restart();
    println!(
        "ready after: {} ms, on a log that was there",
        daemon.ready_after.as_millis()
    );
    let second = daemon.publish(&vote("after")).json();
    let position = |answer: &Value| {
        let text = answer["position"].as_str().unwrap();
        let (epoch, seq) = text.split_once('-').unwrap();
        (epoch.to_owned(), seq.parse::<u64>().unwrap())
    };
    let ((epoch, before), (same, after)) = (position(&first), position(&second));
    // Between the two the second start is in the log.
    assert_eq!((same, after), (epoch, before + 2));
    let voters: Vec<_> = daemon
        .log("VOTE_CAST")
        .iter()
        .map(|event| event["payload"]["voterId"].clone())
        .collect();
    assert_eq!(voters, ["before", "after"]);
    assert_eq!(daemon.log("NEXUS_START").len(), 2);
}

#[test]
fn sigterm_tells_a_stream_where_to_resume_and_exits_0() {
    if !need(&[Tool::Node]) {
        return;
    }
    let daemon = DaemonOptions::serve().start();
    let reader = Reader::start(
        Tool::Node,
        daemon.address(),
        SECRET,
        By::Header,
        "VOTE_CAST",
        None,
    );
    reader.subscribed();
    let seen = daemon.publish(&vote("seen")).json();
    reader.events_through(seen["seq"].as_u64().unwrap());
    daemon.terminate();
    let (_, closed) = reader.line(0, |line| line["closed"].is_number());
    assert_eq!(closed["closed"], 4012, "{closed}");
    let reason = closed["reason"].as_str().unwrap();
    let position = reason.split_whitespace().last().unwrap().to_owned();
    assert_eq!(position, seen["position"].as_str().unwrap(), "{reason}");
    let (status, options, folder) = daemon.end();
    assert_eq!(status.code(), Some(0));

    let daemon = Daemon::start(options, folder);
    let missed = daemon.publish(&vote("missed")).json();
    let address = daemon.address();
    let reader = Reader::start(
        Tool::Node,
        address,
        SECRET,
        By::Header,
        "VOTE_CAST",
        Some(&position),
    );
    let events = reader.events_through(missed["seq"].as_u64().unwrap());
    assert_eq!(reader.subscribed()["recovered"], true);
    let voters: Vec<_> = events
        .iter()
        .map(|event| event["payload"]["voterId"].clone())
        .collect();
    assert_eq!(voters, ["missed"]);
}

#[test]
fn a_request_in_flight_is_finished_before_the_end() {
    let daemon = DaemonOptions::serve().start();
    let body = vote("in flight").to_string();
    let mut socket = TcpStream::connect(daemon.address()).unwrap();
    let head = format!(
        "POST /events HTTP/1.1\r\nHost: nexus\r\nX-Nexus-Signature: {}\r\nContent-Length: {}\r\n\
         Expect: 100-continue\r\n\r\n",
        sign(SECRET, &body),
        body.len(),
    );
    socket.write_all(head.as_bytes()).unwrap();
    // Nexus says so when it waits for the body: then the request is in flight.
    let mut go_on = [0; 25];
    socket.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    let (first, rest) = body.split_at(body.len() / 2);
    socket.write_all(first.as_bytes()).unwrap();
    daemon.terminate();
    daemon
        .process()
        .error_line(0, |line| line.contains("stopping"));
    socket.write_all(rest.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (status, options, folder) = daemon.end();
    assert_eq!(status.code(), Some(0));
    let daemon = Daemon::start(options, folder);
    assert_eq!(daemon.log("VOTE_CAST").len(), 1);
}
