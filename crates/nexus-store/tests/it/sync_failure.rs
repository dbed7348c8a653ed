//! The disk fails to sync, once: the process must stop rather than go on.

use std::process::Command;

use nexus_testkit::oracle::Oracle;

use super::child::{EXIT_FATAL, Running, judge, skip};

/// One failed sync of the writer: no wrong answer, exit 74, and a clean start afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_stops_the_process_and_the_log_stays_whole() {
    // Later than the syncs of starting up, of which one is of a folder: SQLite passes over its failure.
    let moments: &[u32] = if std::env::var_os("NEXUS_DEEP").is_some() {
        &[9, 13, 21, 34, 55, 89, 144]
    } else {
        &[9, 40]
    };
    failing("fsync,fdatasync", moments).await;
}

/// The same for the database, which is synced beside the writer: nothing that was acknowledged rests on it
/// yet, but a disk that loses what it is given is not written to any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_of_what_is_copied_stops_the_process_too() {
    // SQLite itself calls only fsync.
    failing("fdatasync", &[1]).await;
}

async fn failing(calls: &str, moments: &[u32]) {
    if !can_trace() {
        skip("strace is missing or may not trace");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut oracle = Oracle::default();
    let mut first = Running::start(folder.path(), "before", &[]);
    first.read_oks(&mut oracle, 1_000);
    first.kill(&mut oracle);
    let trace = format!("trace={calls}");
    for when in moments {
        let inject = format!("inject={calls}:error=EIO:when={when}");
        let tracer = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &trace,
            "-e",
            &inject,
        ];
        let child = Running::start(folder.path(), &format!("sync{when}"), &tracer);
        let status = child.wait(&mut oracle);
        assert_eq!(status.code(), Some(EXIT_FATAL), "sync number {when}");
    }
    let judged = judge(folder.path(), &mut oracle).await;
    println!("{judged:?}");
}

fn can_trace() -> bool {
    Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|status| status.success())
}
