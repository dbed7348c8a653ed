//! The disk fails to sync, once: the daemon must stop rather than go on.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use super::{Load, is_deep, loaded, skip, stop};
use crate::support::{Process, SECRET, nexusd};

/// What the daemon exits with when it can no longer trust its storage.
const EXIT_STORAGE: i32 = 74;
/// How long it may take from the failure to the exit.
const EXIT_WITHIN: Duration = Duration::from_secs(10);
const PUBLISHERS: usize = 16;
const READERS: usize = 2;

/// One failed sync under load: no wrong answer, exit 74, and a clean start afterwards.
#[test]
fn a_failed_sync_stops_the_daemon_and_the_log_stays_whole() {
    if !can_trace() {
        return skip("strace is not installed, or may not trace");
    }
    let moments: &[u32] = if is_deep() {
        &[40, 41, 43, 47, 60, 90, 150, 300, 600]
    } else {
        &[40, 150]
    };
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut load = Load::new(PUBLISHERS, READERS);
    for moment in moments {
        let (mut process, address) = start(folder.path(), &data, *moment);
        load.begin(address);
        let status = process.end();
        let ended = SystemTime::now();
        load.end();
        assert_eq!(
            status.code(),
            Some(EXIT_STORAGE),
            "sync {moment}: {}",
            process.stderr()
        );
        let failed = failed_at(&folder.path().join(TRACE));
        let exit_after = ended.duration_since(failed).unwrap();
        println!(
            "sync {moment} failed; exit 74 after {} ms",
            exit_after.as_millis()
        );
        assert!(exit_after < EXIT_WITHIN, "{exit_after:?}");
    }
    let daemon = loaded(&data).start();
    load.begin(daemon.address());
    load.until_read(1_000);
    stop(daemon);
    load.end();
    let daemon = loaded(&data).start();
    load.settle(&daemon);
    stop(daemon);
    let verdict = load.judge(&data);
    println!("{} failed syncs: {verdict}", moments.len());
    assert_eq!(verdict.seen, verdict.events, "readers saw everything");
}

/// Where the tracer writes down every sync.
const TRACE: &str = "trace";

/// Starts a daemon in which one sync, counted from the start in each thread, fails.
fn start(folder: &Path, data: &Path, moment: u32) -> (Process, SocketAddr) {
    let daemon = nexusd(folder, &["serve"]);
    let mut command = Command::new("strace");
    command
        .args(["-f", "--seccomp-bpf", "-qq", "-ttt", "-o", TRACE])
        .args(["-e", "trace=fsync,fdatasync", "-e"])
        .arg(format!("inject=fsync,fdatasync:error=EIO:when={moment}"))
        .arg(daemon.get_program())
        .args(daemon.get_args())
        .current_dir(folder)
        .env_clear()
        .envs(
            daemon
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .envs([
            ("NEXUS_HOST", "127.0.0.1"),
            ("PORT", "0"),
            ("AGENTS_PORT", "0"),
            ("LOG_FORMAT", "json"),
        ])
        .env("NEXUS_SECRET", SECRET)
        .env("NEXUS__LIMITS__NODE_EVENTS_PER_SECOND", "0")
        .env("DATA_DIR", data);
    let process = Process::start(&mut command);
    let (_, ready) = process.error_line(0, |line| line.contains("\"message\":\"ready\""));
    let ready: Value = serde_json::from_str(&ready).unwrap();
    let address = ready["address"].as_str().unwrap().parse().unwrap();
    (process, address)
}

/// When the tracer made a sync fail.
fn failed_at(trace: &Path) -> SystemTime {
    let trace = fs::read_to_string(trace).unwrap();
    let failed: Vec<&str> = trace
        .lines()
        .filter(|line| line.ends_with("(INJECTED)"))
        .collect();
    let seconds = failed
        .first()
        .and_then(|line| line.split_whitespace().nth(1));
    let seconds: f64 = seconds
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("no sync failed: {failed:?}"));
    UNIX_EPOCH + Duration::from_secs_f64(seconds)
}

pub(crate) fn can_trace() -> bool {
    Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "true"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
